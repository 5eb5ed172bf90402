//! The functions of NumPy and the methods of arrays.

use super::array::{Arr, all_scalars};
use super::dtype::DType;
use crate::python_udf::calls::Named;
use crate::python_udf::sym::{R, Sym};
use crate::python_udf::translate::Translator;
use fuseline_codegen::function::{FloatTest, Math1, Math2, Op, Rounding};
use ruff_python_ast::{CmpOp, Operator, UnaryOp};

/// What the name of a function says to the operators.
enum Form {
    Binary(Operator),
    Compare(CmpOp),
    Math(Math1),
    Whole(Rounding),
    Test(FloatTest),
}

fn form(name: &str) -> Option<Form> {
    Some(match name {
        "add" => Form::Binary(Operator::Add),
        "subtract" => Form::Binary(Operator::Sub),
        "multiply" => Form::Binary(Operator::Mult),
        "divide" | "true_divide" => Form::Binary(Operator::Div),
        "floor_divide" => Form::Binary(Operator::FloorDiv),
        "mod" | "remainder" => Form::Binary(Operator::Mod),
        "bitwise_and" => Form::Binary(Operator::BitAnd),
        "bitwise_or" => Form::Binary(Operator::BitOr),
        "bitwise_xor" => Form::Binary(Operator::BitXor),
        "left_shift" | "bitwise_left_shift" => Form::Binary(Operator::LShift),
        "right_shift" | "bitwise_right_shift" => Form::Binary(Operator::RShift),
        "equal" => Form::Compare(CmpOp::Eq),
        "not_equal" => Form::Compare(CmpOp::NotEq),
        "less" => Form::Compare(CmpOp::Lt),
        "less_equal" => Form::Compare(CmpOp::LtE),
        "greater" => Form::Compare(CmpOp::Gt),
        "greater_equal" => Form::Compare(CmpOp::GtE),
        "sqrt" => Form::Math(Math1::Sqrt),
        "exp" => Form::Math(Math1::Exp),
        "exp2" => Form::Math(Math1::Exp2),
        "expm1" => Form::Math(Math1::Expm1),
        "log" => Form::Math(Math1::Log),
        "log2" => Form::Math(Math1::Log2),
        "log10" => Form::Math(Math1::Log10),
        "log1p" => Form::Math(Math1::Log1p),
        "sin" => Form::Math(Math1::Sin),
        "cos" => Form::Math(Math1::Cos),
        "tan" => Form::Math(Math1::Tan),
        "arcsin" | "asin" => Form::Math(Math1::Asin),
        "arccos" | "acos" => Form::Math(Math1::Acos),
        "arctan" | "atan" => Form::Math(Math1::Atan),
        "sinh" => Form::Math(Math1::Sinh),
        "cosh" => Form::Math(Math1::Cosh),
        "tanh" => Form::Math(Math1::Tanh),
        "arcsinh" | "asinh" => Form::Math(Math1::Asinh),
        "arccosh" | "acosh" => Form::Math(Math1::Acosh),
        "arctanh" | "atanh" => Form::Math(Math1::Atanh),
        "cbrt" => Form::Math(Math1::Cbrt),
        "radians" | "deg2rad" => Form::Math(Math1::Radians),
        "degrees" | "rad2deg" => Form::Math(Math1::Degrees),
        "floor" => Form::Whole(Rounding::Floor),
        "ceil" => Form::Whole(Rounding::Ceil),
        "trunc" | "fix" => Form::Whole(Rounding::Trunc),
        "rint" => Form::Whole(Rounding::Even),
        "isnan" => Form::Test(FloatTest::IsNan),
        "isinf" => Form::Test(FloatTest::IsInf),
        "isfinite" => Form::Test(FloatTest::IsFinite),
        _ => return None,
    })
}

/// Functions and methods that look at more than one row.
fn looks_around(name: &str) -> bool {
    const SUCH: &[&str] = &[
        "all",
        "amax",
        "amin",
        "any",
        "argmax",
        "argmin",
        "argpartition",
        "argsort",
        "average",
        "bincount",
        "convolve",
        "corrcoef",
        "count_nonzero",
        "cumprod",
        "cumsum",
        "diff",
        "digitize",
        "dot",
        "ediff1d",
        "flip",
        "gradient",
        "histogram",
        "interp",
        "max",
        "mean",
        "median",
        "min",
        "nanmax",
        "nanmean",
        "nanmin",
        "nanstd",
        "nansum",
        "nonzero",
        "partition",
        "percentile",
        "prod",
        "ptp",
        "quantile",
        "roll",
        "searchsorted",
        "sort",
        "std",
        "sum",
        "take",
        "trapezoid",
        "unique",
        "var",
    ];
    SUCH.contains(&name)
}

impl Translator {
    /// A call of `numpy.name`.
    pub fn numpy_call(&mut self, name: &str, args: &[Sym], named: &Named) -> R<Sym> {
        if self.target.dtype.is_none() {
            return self.no(format!("'numpy.{name}' is compiled in functions of kind numpy only"));
        }
        if looks_around(name) {
            return self.no(format!("'numpy.{name}' looks at more than one row, so it stays Python"));
        }
        let keyword = |what: &str| named.iter().find(|(n, _)| &**n == what).map(|(_, v)| v.clone());
        let allowed: &[&str] = match name {
            "clip" => &["a", "a_min", "a_max", "min", "max"],
            "round" | "around" => &["a", "decimals"],
            "select" => &["condlist", "choicelist", "default"],
            "zeros_like" | "ones_like" | "empty_like" => &["a", "dtype"],
            "full_like" => &["a", "fill_value", "dtype"],
            "nan_to_num" => &["x", "nan", "posinf", "neginf"],
            _ => &[],
        };
        if let Some((other, _)) = named.iter().find(|(n, _)| !allowed.contains(&&**n)) {
            return self.no(format!("`{other}=` of 'numpy.{name}' is not compiled"));
        }
        if let Some(form) = form(name) {
            return match (form, args) {
                (Form::Binary(op), [a, b]) => {
                    let (a, b) = self.one_typed(a, b)?;
                    self.array_binary(&a, op, &b)
                }
                (Form::Compare(op), [a, b]) => {
                    let (a, b) = self.one_typed(a, b)?;
                    self.array_compare(&a, op, &b)
                }
                (Form::Math(function), [x]) => self.array_math(function, x),
                (Form::Whole(rounding), [x]) => {
                    let a = self.as_array(x)?;
                    if !a.dtype.is_float() {
                        return self.no(format!("'numpy.{name}' of {} is not compiled", a.dtype.name()));
                    }
                    let value = self.op(Op::Whole(rounding), vec![a.value])?;
                    Ok(Arr::sym(value, a.dtype, a.scalar))
                }
                (Form::Test(test), [x]) => {
                    let a = self.as_array(x)?;
                    let value = if a.dtype.is_float() {
                        self.op(Op::FloatTest(test), vec![a.value])?
                    } else {
                        self.op(Op::Bool(test == FloatTest::IsFinite), vec![])?
                    };
                    Ok(Arr::sym(value, DType::Bool, a.scalar))
                }
                (_, _) => self.no(format!("'numpy.{name}' with these arguments is not compiled")),
            };
        }
        match (name, args) {
            ("abs" | "absolute" | "fabs", [x]) => {
                let a = self.as_array(x)?;
                if name == "fabs" && a.dtype != DType::Float64 {
                    return self.no(format!("'numpy.fabs' of {} is not compiled", a.dtype.name()));
                }
                if a.dtype == DType::Bool {
                    return Ok(Sym::Array(a));
                }
                let value = self.op(Op::Abs, vec![a.value])?;
                let value = self.fitted(value, a.dtype)?;
                Ok(Arr::sym(value, a.dtype, a.scalar))
            }
            ("negative", [x]) => {
                let a = self.as_array(x)?;
                self.array_unary(UnaryOp::USub, a)
            }
            ("positive", [x]) => {
                let a = self.as_array(x)?;
                self.array_unary(UnaryOp::UAdd, a)
            }
            ("invert" | "bitwise_not" | "bitwise_invert", [x]) => {
                let a = self.as_array(x)?;
                self.array_unary(UnaryOp::Invert, a)
            }
            ("square", [x]) => {
                let a = Sym::Array(self.as_array(x)?);
                self.array_binary(&a, Operator::Mult, &a)
            }
            ("reciprocal", [x]) => {
                let a = self.double(name, x)?;
                let one = self.constant_float(1.0)?;
                let value = self.divided(one, a.value)?;
                Ok(Arr::sym(value, a.dtype, a.scalar))
            }
            ("power" | "pow", [a, b]) => {
                let (a, b) = (self.as_array(a)?, self.as_array(b)?);
                self.array_binary(&Sym::Array(a), Operator::Pow, &Sym::Array(b))
            }
            ("hypot" | "arctan2" | "atan2" | "fmod" | "copysign", [a, b]) => {
                let (x, y) = (self.double(name, a)?, self.double(name, b)?);
                let function = match name {
                    "hypot" => Math2::Hypot,
                    "fmod" => Math2::Fmod,
                    "copysign" => Math2::Copysign,
                    _ => Math2::Atan2,
                };
                let value = self.op(Op::Math2 { function, fast: false }, vec![x.value, y.value])?;
                Ok(Arr::sym(value, DType::Float64, all_scalars(&[a, b])))
            }
            ("sign", [x]) => self.array_sign(x),
            ("minimum" | "maximum" | "fmin" | "fmax", [a, b]) => {
                let (a, b) = self.one_typed(a, b)?;
                self.array_extreme(&a, &b, name.ends_with("min") || name == "minimum", name.starts_with('f'))
            }
            ("logical_and" | "logical_or" | "logical_xor", [a, b]) => {
                let (x, y) = (self.array_truth(a)?, self.array_truth(b)?);
                let op = match name {
                    "logical_and" => Op::And,
                    "logical_or" => Op::Or,
                    _ => Op::Xor,
                };
                let value = self.op(op, vec![x, y])?;
                Ok(Arr::sym(value, DType::Bool, all_scalars(&[a, b])))
            }
            ("logical_not", [x]) => {
                let truth = self.array_truth(x)?;
                let value = self.op(Op::Not, vec![truth])?;
                Ok(Arr::sym(value, DType::Bool, all_scalars(&[x])))
            }
            ("where", [condition, a, b]) => self.array_where(condition, a, b),
            ("clip", args) => {
                let at = |i: usize| args.get(i).cloned();
                let Some(x) = at(0).or(keyword("a")) else { return self.no("'numpy.clip' of what?") };
                let low = at(1).or(keyword("a_min")).or(keyword("min"));
                let high = at(2).or(keyword("a_max")).or(keyword("max"));
                self.array_clip(&x, low, high)
            }
            ("select", args) => {
                let at = |i: usize, name: &str| args.get(i).cloned().or(keyword(name));
                let (Some(conditions), Some(choices)) = (at(0, "condlist"), at(1, "choicelist")) else {
                    return self.no("'numpy.select' needs conditions and choices");
                };
                let default = at(2, "default").unwrap_or(Sym::Int(0));
                self.array_select(&conditions, &choices, &default)
            }
            ("round" | "around", [x, rest @ ..]) => {
                let decimals = rest.first().cloned().or(keyword("decimals")).unwrap_or(Sym::Int(0));
                self.array_round(x, &decimals)
            }
            ("zeros_like" | "ones_like" | "empty_like", [x]) => {
                // What is in an array that is not filled nobody knows.
                if name == "empty_like" {
                    return self.no("'numpy.empty_like' gives anything, so it stays Python");
                }
                let fill = Sym::Int(i64::from(name == "ones_like"));
                self.array_full(x, &fill, keyword("dtype"))
            }
            ("full_like", [x, fill]) => {
                let fill = fill.clone();
                self.array_full(x, &fill, keyword("dtype"))
            }
            ("nan_to_num", [x]) => {
                self.array_numbers(x, keyword("nan"), [keyword("posinf"), keyword("neginf")])
            }
            ("isin", [x, members]) => self.array_isin(x, members),
            (name, [x]) if DType::by_name(name).is_some() && !matches!(x, Sym::Array(a) if !a.scalar) => {
                let dtype = self.dtype_named(&Sym::Known(format!("numpy.{name}").into()))?;
                if matches!((x, dtype), (Sym::Int(_), DType::Int(..))) {
                    let value = self.brought(x, dtype)?;
                    return Ok(Arr::sym(value, dtype, true));
                }
                self.as_type(x, dtype)
            }
            _ => self.no(format!("'numpy.{name}' is not compiled, so it stays Python")),
        }
    }

    /// A call of a method of an array.
    pub fn array_method(&mut self, a: Arr, name: &str, args: &[Sym], named: &Named) -> R<Sym> {
        if looks_around(name) {
            return self.no(format!("'.{name}' of an array looks at more than one row, so it stays Python"));
        }
        let x = Sym::Array(a);
        match (name, args) {
            ("astype", [dtype]) if named.iter().all(|(n, _)| &**n == "copy") => {
                let dtype = self.dtype_named(dtype)?;
                self.as_type(&x, dtype)
            }
            ("clip" | "round", args) => {
                let all: Vec<Sym> = std::iter::once(x).chain(args.iter().cloned()).collect();
                self.numpy_call(name, &all, named)
            }
            ("copy", []) if named.is_empty() => Ok(x),
            _ => self.no(format!("'.{name}' of an array is not compiled, so it stays Python")),
        }
    }

    /// Operands of which one is typed.
    fn one_typed(&mut self, a: &Sym, b: &Sym) -> R<(Sym, Sym)> {
        let typed = |s: &Sym| matches!(s, Sym::Array(_));
        if typed(a) || typed(b) {
            return Ok((a.clone(), b.clone()));
        }
        Ok((Sym::Array(self.as_array(a)?), Sym::Array(self.as_array(b)?)))
    }

    /// An operand of a function of doubles.
    fn double(&mut self, name: &str, x: &Sym) -> R<Arr> {
        let a = self.as_array(x)?;
        // NumPy computes smaller ints in smaller floats.
        let small = matches!(a.dtype, DType::Bool | DType::Float32 | DType::Int(8 | 16, _));
        if small && (matches!(x, Sym::Array(_)) || a.dtype == DType::Bool) {
            return self.no(format!("'numpy.{name}' of {} is not compiled", a.dtype.name()));
        }
        Ok(Arr {
            value: self.brought(&Sym::Array(a), DType::Float64)?,
            dtype: DType::Float64,
            scalar: a.scalar,
        })
    }

    /// A function of one float: a row bails where NumPy warns.
    pub fn array_math(&mut self, function: Math1, x: &Sym) -> R<Sym> {
        if let Sym::Array(a) = x
            && a.dtype == DType::Float32
            && function == Math1::Sqrt
        {
            // Rounded once in either precision.
            let root = self.op(self.math_op(function), vec![a.value])?;
            let value = self.fitted(root, a.dtype)?;
            return Ok(Arr::sym(value, a.dtype, a.scalar));
        }
        let a = self.double(&format!("{function:?}").to_lowercase(), x)?;
        let value = self.op(self.math_op(function), vec![a.value])?;
        Ok(Arr::sym(value, DType::Float64, a.scalar))
    }

    /// The operation of a function: unless NumPy is silent a row bails where it warns, which is where `math` raises.
    fn math_op(&self, function: Math1) -> Op {
        let overflows =
            matches!(function, Math1::Exp | Math1::Exp2 | Math1::Expm1 | Math1::Sinh | Math1::Cosh);
        let silent = if overflows { self.errors.over } else { self.errors.divide && self.errors.invalid };
        if silent { Op::IeeeMath1 { function, fast: false } } else { Op::Math1 { function, fast: false } }
    }

    /// `np.round`: a multiplication, a rounding, a division.
    fn array_round(&mut self, x: &Sym, decimals: &Sym) -> R<Sym> {
        let a = self.as_array(x)?;
        let (DType::Float64, Sym::Int(n @ 0..=22)) = (a.dtype, decimals) else {
            return self.no("rounding this array so is not compiled");
        };
        let mut value = a.value;
        let scale = self.constant_float(10f64.powi(*n as i32))?;
        if *n > 0 {
            value = self.op(Op::Mul, vec![value, scale])?;
        }
        value = self.op(Op::Whole(Rounding::Even), vec![value])?;
        if *n > 0 {
            value = self.op(Op::IeeeDiv, vec![value, scale])?;
        }
        Ok(Arr::sym(value, a.dtype, a.scalar))
    }
}
