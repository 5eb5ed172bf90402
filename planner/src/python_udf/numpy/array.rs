//! Arrays as the translator has them, and their conversion.

use super::dtype::{DType, INT64, Kind, promoted};
use crate::python_udf::sym::{R, Sym};
use crate::python_udf::translate::Translator;
use fuseline_codegen::function::{Base, Compare, FloatTest, Op, Type, Value};

/// The value of an array at the row at hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arr {
    pub value: Value,
    pub dtype: DType,
    /// It is a scalar of NumPy's: typed like an array, but none.
    pub scalar: bool,
}

impl Arr {
    pub fn sym(value: Value, dtype: DType, scalar: bool) -> Sym {
        Sym::Array(Arr { value, dtype, scalar })
    }
}

/// Whether all of these are scalars, so that their result is.
pub fn all_scalars(operands: &[&Sym]) -> bool {
    !operands.iter().any(|s| matches!(s, Sym::Array(a) if !a.scalar))
}

impl Translator {
    /// What an operand is to promotion.
    pub fn kind_of(&self, sym: &Sym) -> R<Kind> {
        match sym {
            Sym::Array(a) => Ok(Kind::Typed(a.dtype)),
            Sym::Bool(_) => Ok(Kind::Typed(DType::Bool)),
            Sym::Int(_) => Ok(Kind::WeakInt),
            Sym::Float(_) => Ok(Kind::WeakFloat),
            Sym::Val(_, ty) if !ty.optional && ty.base == Base::Int => Ok(Kind::WeakInt),
            Sym::Val(_, ty) if !ty.optional && ty.base == Base::Float => Ok(Kind::WeakFloat),
            Sym::Val(_, ty) if !ty.optional && ty.base == Base::Bool => Ok(Kind::Typed(DType::Bool)),
            other => self.no(format!("an array with {} is not compiled", other.describe())),
        }
    }

    /// The type that operands are brought to.
    pub fn common(&self, operands: &[&Sym]) -> R<DType> {
        let kinds = operands.iter().map(|s| self.kind_of(s)).collect::<R<Vec<_>>>()?;
        match promoted(&kinds) {
            Some(dtype) => Ok(dtype),
            None => self.no("an array of that type is not compiled"),
        }
    }

    /// An operand as a value of a type that it is promoted to.
    pub fn brought(&mut self, sym: &Sym, to: DType) -> R<Value> {
        match sym {
            Sym::Array(a) => self.widened(a.value, a.dtype, to),
            Sym::Bool(b) => {
                let value = self.op(Op::Bool(*b), vec![])?;
                self.widened(value, DType::Bool, to)
            }
            Sym::Int(v) => match to {
                DType::Float64 => self.constant_float(*v as f64),
                DType::Float32 if v.unsigned_abs() <= 1 << 24 => self.constant_float(*v as f64),
                DType::Float32 => self.no(format!("{v} as a float32 is not compiled")),
                DType::Int(..) => {
                    let (low, high) = to.range();
                    if *v < low || *v > high {
                        return self.no(format!("{v} is no {}: NumPy raises OverflowError", to.name()));
                    }
                    self.op(Op::Int(*v), vec![])
                }
                DType::Bool => self.no("an int as a bool is not compiled"),
            },
            Sym::Float(v) => match to {
                DType::Float64 => self.constant_float(*v),
                DType::Float32 => {
                    let single = *v as f32;
                    if single.is_infinite() && v.is_finite() {
                        return self.no(format!("{v} is no float32: NumPy warns"));
                    }
                    self.constant_float(f64::from(single))
                }
                DType::Bool | DType::Int(..) => self.no("a float as an int is not compiled"),
            },
            Sym::Val(value, ty) if !ty.optional => match (ty.base, to) {
                (Base::Bool, _) => self.widened(*value, DType::Bool, to),
                (Base::Int, DType::Int(..)) => self.fitted(*value, to),
                (Base::Int, DType::Float64) => self.op(Op::IntToFloat, vec![*value]),
                (Base::Float, DType::Float64) => Ok(*value),
                (Base::Float, DType::Float32) => self.op(Op::ToSingle, vec![*value]),
                (Base::Int | Base::Float | Base::Str | Base::Date | Base::DateTime, _) => {
                    self.no(format!("{} as {} is not compiled", sym.describe(), to.name()))
                }
            },
            other => self.no(format!("an array with {} is not compiled", other.describe())),
        }
    }

    /// An operand as an array: Python's own scalars get NumPy's default type.
    pub fn as_array(&mut self, sym: &Sym) -> R<Arr> {
        if let Sym::Array(a) = sym {
            return Ok(*a);
        }
        let dtype = match self.kind_of(sym)? {
            Kind::Typed(dtype) => dtype,
            Kind::WeakInt => INT64,
            Kind::WeakFloat => DType::Float64,
        };
        Ok(Arr { value: self.brought(sym, dtype)?, dtype, scalar: true })
    }

    pub fn constant_float(&mut self, v: f64) -> R<Value> {
        self.op(Op::Float(v.to_bits()), vec![])
    }

    /// A value of a type that promotion widens.
    fn widened(&mut self, value: Value, from: DType, to: DType) -> R<Value> {
        match (from, to) {
            (a, b) if a == b => Ok(value),
            (DType::Bool, DType::Int(..)) => self.op(Op::BoolToInt, vec![value]),
            (DType::Bool, DType::Float32 | DType::Float64) => {
                let int = self.op(Op::BoolToInt, vec![value])?;
                self.op(Op::IntToFloat, vec![int])
            }
            (DType::Int(..), DType::Int(..)) | (DType::Float32, DType::Float64) => Ok(value),
            (DType::Int(..), DType::Float32 | DType::Float64) => self.op(Op::IntToFloat, vec![value]),
            (a, b) => self.no(format!("{} as {} is not compiled", a.name(), b.name())),
        }
    }

    /// The result of an operation as a value of the type: bails where NumPy wraps, and rounds to single precision.
    pub fn fitted(&mut self, value: Value, dtype: DType) -> R<Value> {
        match dtype {
            DType::Bool | DType::Int(64, _) | DType::Float64 => Ok(value),
            DType::Float32 => self.op(Op::ToSingle, vec![value]),
            DType::Int(..) => {
                let (low, high) = dtype.range();
                let (low, high) = (self.op(Op::Int(low), vec![])?, self.op(Op::Int(high), vec![])?);
                let above = self.op(Op::Cmp(Compare::Ge), vec![value, low])?;
                let below = self.op(Op::Cmp(Compare::Le), vec![value, high])?;
                let inside = self.op(Op::And, vec![above, below])?;
                self.demand(inside)?;
                Ok(value)
            }
        }
    }

    /// `operand.astype(to)`.
    pub fn as_type(&mut self, operand: &Sym, to: DType) -> R<Sym> {
        let a = self.as_array(operand)?;
        let x = a.value;
        let value = match (a.dtype, to) {
            (from, to) if from == to => x,
            (DType::Int(..), DType::Bool) => {
                let zero = self.op(Op::Int(0), vec![])?;
                self.op(Op::Cmp(Compare::Ne), vec![x, zero])?
            }
            (DType::Float32 | DType::Float64, DType::Bool) => {
                let zero = self.constant_float(0.0)?;
                self.op(Op::Cmp(Compare::Ne), vec![x, zero])?
            }
            (DType::Int(..), DType::Int(bits, signed)) => self.wrapped(x, a.dtype, bits, signed)?,
            (DType::Int(bits, _), DType::Float32) => {
                if bits == 64 {
                    // Rounding twice is rounding once as long as the first one is exact.
                    let most = self.op(Op::Int(1 << 53), vec![])?;
                    let size = self.op(Op::Abs, vec![x])?;
                    let exact = self.op(Op::Cmp(Compare::Le), vec![size, most])?;
                    self.demand(exact)?;
                }
                let float = self.op(Op::IntToFloat, vec![x])?;
                self.op(Op::ToSingle, vec![float])?
            }
            (DType::Float64, DType::Float32) => {
                let single = self.op(Op::ToSingle, vec![x])?;
                if !self.errors.over {
                    let finite = self.op(Op::FloatTest(FloatTest::IsInf), vec![single])?;
                    let finite = self.op(Op::Not, vec![finite])?;
                    let was = self.op(Op::FloatTest(FloatTest::IsInf), vec![x])?;
                    let fine = self.op(Op::Or, vec![finite, was])?;
                    self.demand(fine)?;
                }
                single
            }
            (DType::Float32 | DType::Float64, DType::Int(..)) => {
                let int = self.op(Op::Trunc, vec![x])?;
                self.fitted(int, to)?
            }
            (from, to) => self.widened(x, from, to)?,
        };
        Ok(Arr::sym(value, to, a.scalar))
    }

    /// The low bits of an int.
    fn wrapped(&mut self, x: Value, from: DType, bits: u8, signed: bool) -> R<Value> {
        let (low, high) = from.range();
        let (least, most) = DType::Int(bits, signed).range();
        if bits == 64 || (low >= least && high <= most) {
            return Ok(x);
        }
        let mask = self.op(Op::Int((1i64 << bits) - 1), vec![])?;
        let low = self.op(Op::BitAnd, vec![x, mask])?;
        if !signed {
            return Ok(low);
        }
        let half = self.op(Op::Int(1i64 << (bits - 1)), vec![])?;
        let turned = self.op(Op::BitXor, vec![low, half])?;
        self.op(Op::Sub, vec![turned, half])
    }

    /// What `dtype=` or `astype` names.
    pub fn dtype_named(&self, sym: &Sym) -> R<DType> {
        let name = match sym {
            Sym::Str(name) => name.clone(),
            Sym::Known(name) => name.strip_prefix("numpy.").unwrap_or(name).into(),
            other => return self.no(format!("{} as a type of arrays is not compiled", other.describe())),
        };
        match DType::by_name(&name) {
            Some(dtype) => Ok(dtype),
            None => self.no(format!("arrays of type '{name}' are not compiled")),
        }
    }

    /// The end of the row: the array must be of the column's type, or NumPy's answer is an error.
    pub fn fits_column(&mut self, value: &Sym) -> R<Sym> {
        let (Some(returns), Sym::Array(a)) = (self.target.dtype, value) else {
            return self.no(format!("it returns {}, not an array", value.describe()));
        };
        if a.scalar {
            return self.no("it returns one value, not an array with one for each row");
        }
        if a.dtype != returns {
            return self.no(format!(
                "it returns an array of {}, but is declared to return {}",
                a.dtype.name(),
                returns.name()
            ));
        }
        Ok(Sym::Val(a.value, Type::of(a.dtype.base())))
    }
}
