//! Functions of NumPy that choose between values.

use super::array::{Arr, all_scalars};
use super::dtype::{DType, Kind};
use crate::python_udf::sym::{R, Seq, Sym};
use crate::python_udf::translate::Translator;
use fuseline_codegen::function::{Compare, FloatTest, Op, Value};

impl Translator {
    /// `np.where(condition, a, b)`; both are computed.
    pub fn array_where(&mut self, condition: &Sym, a: &Sym, b: &Sym) -> R<Sym> {
        let dtype = self.common(&[a, b])?;
        let holds = self.array_truth(condition)?;
        let (x, y) = (self.brought(a, dtype)?, self.brought(b, dtype)?);
        let value = self.op(Op::Select, vec![holds, x, y])?;
        Ok(Arr::sym(value, dtype, all_scalars(&[condition, a, b])))
    }

    /// `np.select`: the first condition that holds.
    pub fn array_select(&mut self, conditions: &Sym, choices: &Sym, default: &Sym) -> R<Sym> {
        let list = |t: &Translator, sym: &Sym| match sym {
            Sym::Seq(seq) => match &**seq {
                Seq::Items(items, _) => Ok(items.clone()),
                _ => t.no("'numpy.select' of such lists is not compiled"),
            },
            _ => t.no("'numpy.select' takes lists"),
        };
        let (conditions, choices) = (list(self, conditions)?, list(self, choices)?);
        if conditions.len() != choices.len() || conditions.is_empty() {
            return self.no("'numpy.select' takes as many choices as conditions");
        }
        let all: Vec<&Sym> = choices.iter().chain([default]).collect();
        let dtype = self.common(&all)?;
        let mut value = self.brought(default, dtype)?;
        for (condition, choice) in conditions.iter().zip(&choices).rev() {
            let Sym::Array(Arr { value: holds, dtype: DType::Bool, .. }) = condition else {
                return self.no("'numpy.select' takes conditions that are arrays of bools");
            };
            let choice = self.brought(choice, dtype)?;
            value = self.op(Op::Select, vec![*holds, choice, value])?;
        }
        let scalar = all_scalars(&conditions.iter().chain(all).collect::<Vec<_>>());
        Ok(Arr::sym(value, dtype, scalar))
    }

    /// The smaller or greater. A NaN is the result, unless `numbers`: then it is the other one.
    pub fn array_extreme(&mut self, a: &Sym, b: &Sym, least: bool, numbers: bool) -> R<Sym> {
        let dtype = self.common(&[a, b])?;
        let (x, y) = (self.brought(a, dtype)?, self.brought(b, dtype)?);
        let value = match dtype {
            DType::Bool => self.op(if least { Op::And } else { Op::Or }, vec![x, y])?,
            DType::Int(..) | DType::Float32 | DType::Float64 => {
                let better = Op::Cmp(if least { Compare::Le } else { Compare::Ge });
                let mut first = self.op(better, vec![x, y])?;
                if dtype.is_float() {
                    let nan = self.op(Op::FloatTest(FloatTest::IsNan), vec![if numbers { y } else { x }])?;
                    first = self.op(Op::Or, vec![first, nan])?;
                    let other = |s: &Sym| match s {
                        Sym::Int(v) => *v != 0,
                        Sym::Float(v) => *v != 0.0,
                        _ => false,
                    };
                    if !other(a) && !other(b) {
                        self.same_zeros(x, y)?;
                    }
                }
                self.op(Op::Select, vec![first, x, y])?
            }
        };
        Ok(Arr::sym(value, dtype, all_scalars(&[a, b])))
    }

    /// Bails where both are zero and one of them is -0.0: which of them NumPy takes depends on the processor.
    fn same_zeros(&mut self, x: Value, y: Value) -> R<()> {
        let (zero, one) = (self.constant_float(0.0)?, self.constant_float(1.0)?);
        let differ = self.op(Op::Cmp(Compare::Ne), vec![x, y])?;
        let other = self.op(Op::Cmp(Compare::Ne), vec![x, zero])?;
        // 1 / 0.0 is not 1 / -0.0.
        let (p, q) = (self.op(Op::IeeeDiv, vec![one, x])?, self.op(Op::IeeeDiv, vec![one, y])?);
        let alike = self.op(Op::Cmp(Compare::Eq), vec![p, q])?;
        let fine = self.op(Op::Or, vec![differ, other])?;
        let fine = self.op(Op::Or, vec![fine, alike])?;
        self.demand(fine)
    }

    /// `np.clip`.
    pub fn array_clip(&mut self, x: &Sym, low: Option<Sym>, high: Option<Sym>) -> R<Sym> {
        let low = low.filter(|s| !matches!(s, Sym::None));
        let high = high.filter(|s| !matches!(s, Sym::None));
        let x = Sym::Array(self.as_array(x)?);
        let all: Vec<&Sym> = [Some(&x), low.as_ref(), high.as_ref()].into_iter().flatten().collect();
        let dtype = self.common(&all)?;
        let scalar = all_scalars(&all);
        if dtype == DType::Bool {
            return self.no("'numpy.clip' of bools is not compiled");
        }
        let value = self.brought(&x, dtype)?;
        let mut clipped = Arr::sym(value, dtype, scalar);
        for (bound, least) in [(&low, false), (&high, true)] {
            if let Some(bound) = bound {
                clipped = self.array_extreme(&clipped, bound, least, false)?;
            }
        }
        Ok(clipped)
    }

    /// `np.sign`.
    pub fn array_sign(&mut self, x: &Sym) -> R<Sym> {
        let a = self.as_array(x)?;
        let constants = match a.dtype {
            DType::Bool => return self.no("'numpy.sign' of bools is a TypeError"),
            DType::Int(..) => [-1, 0, 1].map(Op::Int),
            DType::Float32 | DType::Float64 => [-1.0, 0.0, 1.0f64].map(|v| Op::Float(v.to_bits())),
        };
        let [minus, zero, plus] = constants;
        let (minus, zero, plus) = (self.op(minus, vec![])?, self.op(zero, vec![])?, self.op(plus, vec![])?);
        let compare = |t: &mut Translator, c: Compare| t.op(Op::Cmp(c), vec![a.value, zero]);
        let (above, below, none) =
            (compare(self, Compare::Gt)?, compare(self, Compare::Lt)?, compare(self, Compare::Eq)?);
        // What is none of them is NaN.
        let value = self.op(Op::Select, vec![none, zero, a.value])?;
        let value = self.op(Op::Select, vec![below, minus, value])?;
        let value = self.op(Op::Select, vec![above, plus, value])?;
        Ok(Arr::sym(value, a.dtype, a.scalar))
    }

    /// `np.full_like`: an array of one value.
    pub fn array_full(&mut self, like: &Sym, fill: &Sym, dtype: Option<Sym>) -> R<Sym> {
        let Sym::Array(like) = like else { return self.no("an array like this one is not compiled") };
        let dtype = match dtype {
            Some(Sym::None) | None => like.dtype,
            Some(dtype) => self.dtype_named(&dtype)?,
        };
        let filled = match (fill, dtype) {
            (Sym::Int(v @ 0..=1), DType::Bool) => Arr::sym(self.op(Op::Bool(*v == 1), vec![])?, dtype, false),
            (fill, dtype) => match (self.kind_of(fill)?, dtype.is_float()) {
                (Kind::WeakInt, _) | (Kind::WeakFloat, true) => {
                    Arr::sym(self.brought(fill, dtype)?, dtype, false)
                }
                (Kind::WeakFloat | Kind::Typed(_), _) => self.as_type(fill, dtype)?,
            },
        };
        match filled {
            Sym::Array(a) => Ok(Sym::Array(Arr { scalar: like.scalar, ..a })),
            other => Ok(other),
        }
    }

    /// `np.nan_to_num` of doubles.
    pub fn array_numbers(&mut self, x: &Sym, nan: Option<Sym>, infinities: [Option<Sym>; 2]) -> R<Sym> {
        let a = self.as_array(x)?;
        if a.dtype != DType::Float64 {
            return self.no(format!("'numpy.nan_to_num' of {} is not compiled", a.dtype.name()));
        }
        let given = |s: Option<Sym>, default: f64| match s {
            None | Some(Sym::None) => Sym::Float(default),
            Some(other) => other,
        };
        let [above, below] = infinities;
        let mut value = a.value;
        let nan = self.brought(&given(nan, 0.0), DType::Float64)?;
        let is_nan = self.op(Op::FloatTest(FloatTest::IsNan), vec![a.value])?;
        value = self.op(Op::Select, vec![is_nan, nan, value])?;
        for (infinity, other) in
            [(f64::INFINITY, given(above, f64::MAX)), (f64::NEG_INFINITY, given(below, f64::MIN))]
        {
            let (infinity, other) = (self.constant_float(infinity)?, self.brought(&other, DType::Float64)?);
            let here = self.op(Op::Cmp(Compare::Eq), vec![a.value, infinity])?;
            value = self.op(Op::Select, vec![here, other, value])?;
        }
        Ok(Arr::sym(value, a.dtype, a.scalar))
    }

    /// `np.isin` of constants.
    pub fn array_isin(&mut self, x: &Sym, members: &Sym) -> R<Sym> {
        let Sym::Seq(seq) = members else { return self.no("'numpy.isin' of this is not compiled") };
        let Seq::Items(items, _) = &**seq else { return self.no("'numpy.isin' of this is not compiled") };
        let ints = items.iter().all(|i| matches!(i, Sym::Int(_)));
        let floats = items.iter().all(|i| matches!(i, Sym::Float(_)));
        let a = self.as_array(x)?;
        let same = (ints && matches!(a.dtype, DType::Int(..))) || (floats && a.dtype == DType::Float64);
        if !same || items.is_empty() || items.len() > 64 {
            return self.no("'numpy.isin' of these is not compiled");
        }
        let mut found: Option<Value> = None;
        for item in items.clone() {
            let Sym::Array(equal) = self.array_compare(&Sym::Array(a), ruff_python_ast::CmpOp::Eq, &item)?
            else {
                return self.no("this is no array");
            };
            found = Some(match found {
                Some(before) => self.op(Op::Or, vec![before, equal.value])?,
                None => equal.value,
            });
        }
        match found {
            Some(value) => Ok(Arr::sym(value, DType::Bool, a.scalar)),
            None => self.no("'numpy.isin' of nothing"),
        }
    }
}
