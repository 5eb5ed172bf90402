//! Operators of arrays.

use super::array::{Arr, all_scalars};
use super::dtype::{DType, Kind};
use crate::python_udf::sym::{R, Sym};
use crate::python_udf::translate::Translator;
use fuseline_codegen::function::{Math1, Op, Value};
use ruff_python_ast::{Operator, UnaryOp};

impl Translator {
    pub fn array_unary(&mut self, op: UnaryOp, a: Arr) -> R<Sym> {
        let value = match (op, a.dtype) {
            (UnaryOp::Not, _) => return self.no_truth(),
            (UnaryOp::Invert, DType::Bool) => self.op(Op::Not, vec![a.value])?,
            (UnaryOp::Invert, DType::Int(_, true)) => self.op(Op::Invert, vec![a.value])?,
            (UnaryOp::Invert, DType::Int(_, false)) => {
                let most = self.op(Op::Int(a.dtype.range().1), vec![])?;
                self.op(Op::Sub, vec![most, a.value])?
            }
            (UnaryOp::Invert, DType::Float32 | DType::Float64)
            | (UnaryOp::USub | UnaryOp::UAdd, DType::Bool) => {
                return self.no(format!(
                    "`{}` of an array of {} is a TypeError",
                    op.as_str(),
                    a.dtype.name()
                ));
            }
            (UnaryOp::UAdd, _) => a.value,
            (UnaryOp::USub, _) => {
                let value = self.op(Op::Neg, vec![a.value])?;
                self.fitted(value, a.dtype)?
            }
        };
        Ok(Arr::sym(value, a.dtype, a.scalar))
    }

    pub fn no_truth<T>(&self) -> R<T> {
        self.no(
            "an array has no one truth value (`&`, `|`, `~` and np.where are for arrays), so it stays Python",
        )
    }

    pub fn array_binary(&mut self, a: &Sym, op: Operator, b: &Sym) -> R<Sym> {
        let scalar = all_scalars(&[a, b]);
        let dtype = self.common(&[a, b])?;
        let typed = |t: &mut Translator, dtype: DType| -> R<(Value, Value)> {
            Ok((t.brought(a, dtype)?, t.brought(b, dtype)?))
        };
        let refused =
            |t: &Translator| t.no(format!("`{}` of arrays of {} is not compiled", op.as_str(), dtype.name()));
        match op {
            Operator::Add | Operator::Sub | Operator::Mult => {
                let (x, y) = typed(self, dtype)?;
                let made = match (op, dtype) {
                    (Operator::Add, DType::Bool) => Op::Or,
                    (Operator::Mult, DType::Bool) => Op::And,
                    (_, DType::Bool) => return refused(self),
                    (Operator::Add, _) => Op::Add,
                    (Operator::Sub, _) => Op::Sub,
                    (_, _) => Op::Mul,
                };
                let value = self.op(made, vec![x, y])?;
                let value = self.fitted(value, dtype)?;
                Ok(Arr::sym(value, dtype, scalar))
            }
            Operator::Div => {
                let dtype = if dtype.is_float() { dtype } else { DType::Float64 };
                let (x, y) = typed(self, dtype)?;
                let value = self.divided(x, y)?;
                let value = self.fitted(value, dtype)?;
                Ok(Arr::sym(value, dtype, scalar))
            }
            Operator::FloorDiv | Operator::Mod => {
                if matches!(dtype, DType::Bool | DType::Float32) {
                    return refused(self);
                }
                let (x, y) = typed(self, dtype)?;
                let made = if op == Operator::Mod { Op::Mod } else { Op::FloorDiv };
                let value = self.op(made, vec![x, y])?;
                let value = self.fitted(value, dtype)?;
                Ok(Arr::sym(value, dtype, scalar))
            }
            Operator::Pow => self.array_power(a, b, dtype, scalar),
            Operator::LShift | Operator::RShift => {
                if !matches!(dtype, DType::Int(..)) {
                    return refused(self);
                }
                let (x, y) = typed(self, dtype)?;
                let made = if op == Operator::LShift { Op::Shl } else { Op::Shr };
                let value = self.op(made, vec![x, y])?;
                let value = self.fitted(value, dtype)?;
                Ok(Arr::sym(value, dtype, scalar))
            }
            Operator::BitAnd | Operator::BitOr | Operator::BitXor => {
                let (x, y) = typed(self, dtype)?;
                let made = match (op, dtype) {
                    (_, DType::Float32 | DType::Float64) => return refused(self),
                    (Operator::BitAnd, DType::Bool) => Op::And,
                    (Operator::BitOr, DType::Bool) => Op::Or,
                    (_, DType::Bool) => Op::Xor,
                    (Operator::BitAnd, DType::Int(..)) => Op::BitAnd,
                    (Operator::BitOr, DType::Int(..)) => Op::BitOr,
                    (_, DType::Int(..)) => Op::BitXor,
                };
                let value = self.op(made, vec![x, y])?;
                Ok(Arr::sym(value, dtype, scalar))
            }
            Operator::MatMult => self.no("`@` looks at more than one row, so it stays Python"),
        }
    }

    /// The quotient of floats: a row with a zero below bails, if NumPy warns.
    pub fn divided(&mut self, x: Value, y: Value) -> R<Value> {
        let silent = self.errors.divide && self.errors.invalid;
        self.op(if silent { Op::IeeeDiv } else { Op::TrueDiv }, vec![x, y])
    }

    /// `a ** b`. NumPy has shorter ways for some exponents that are Python's own numbers.
    fn array_power(&mut self, a: &Sym, b: &Sym, dtype: DType, scalar: bool) -> R<Sym> {
        if matches!(dtype, DType::Bool | DType::Float32) {
            return self.no(format!("`**` of arrays of {} is not compiled", dtype.name()));
        }
        let exponent = match b {
            Sym::Int(n) => Some(*n as f64),
            Sym::Float(v) => Some(*v),
            _ => None,
        };
        let typed = self.kind_of(a)?;
        if let (Some(n), Kind::Typed(of)) = (exponent, typed) {
            let x = self.brought(a, of)?;
            let float = of == DType::Float64;
            if (n == 1.0 || n == 2.0) && of == dtype {
                let value = if n == 2.0 { self.op(Op::Mul, vec![x, x])? } else { x };
                let value = self.fitted(value, dtype)?;
                return Ok(Arr::sym(value, dtype, scalar));
            }
            if float && n == 0.5 {
                return self.array_math(Math1::Sqrt, &Arr::sym(x, of, scalar));
            }
            if float && n == -1.0 {
                let one = self.constant_float(1.0)?;
                let value = self.divided(one, x)?;
                return Ok(Arr::sym(value, of, scalar));
            }
        }
        let (x, y) = (self.brought(a, dtype)?, self.brought(b, dtype)?);
        let value = self.op(Op::Pow, vec![x, y])?;
        let value = self.fitted(value, dtype)?;
        Ok(Arr::sym(value, dtype, scalar))
    }
}
