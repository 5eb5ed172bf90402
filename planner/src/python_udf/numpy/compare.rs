//! Comparisons of arrays: each gives an array of bools.

use super::array::{Arr, all_scalars};
use super::dtype::{DType, INT64, Kind};
use crate::python_udf::sym::{R, Sym};
use crate::python_udf::translate::Translator;
use fuseline_codegen::function::{Compare, Op, Value};
use ruff_python_ast::CmpOp;

impl Translator {
    pub fn array_compare(&mut self, a: &Sym, op: CmpOp, b: &Sym) -> R<Sym> {
        let compare = match op {
            CmpOp::Eq => Compare::Eq,
            CmpOp::NotEq => Compare::Ne,
            CmpOp::Lt => Compare::Lt,
            CmpOp::LtE => Compare::Le,
            CmpOp::Gt => Compare::Gt,
            CmpOp::GtE => Compare::Ge,
            CmpOp::Is | CmpOp::IsNot => {
                let truth = self.compare(a, op, b)?;
                return self.truth_sym(truth);
            }
            CmpOp::In | CmpOp::NotIn => {
                return self.no("`in` with an array looks at all rows, so it stays Python");
            }
        };
        let (of_a, of_b) = (self.kind_of(a)?, self.kind_of(b)?);
        let dtype = match (of_a, of_b) {
            // Beside a Python int, ints of any size are compared as what they are.
            (Kind::Typed(DType::Int(..) | DType::Bool), Kind::WeakInt)
            | (Kind::WeakInt, Kind::Typed(DType::Int(..) | DType::Bool)) => INT64,
            (_, _) => self.common(&[a, b])?,
        };
        let dtype = if dtype == DType::Bool { INT64 } else { dtype };
        let (x, y) = (self.brought(a, dtype)?, self.brought(b, dtype)?);
        let value = self.op(Op::Cmp(compare), vec![x, y])?;
        Ok(Arr::sym(value, DType::Bool, all_scalars(&[a, b])))
    }

    /// Whether values are not zero: what `logical_and`, `where` and the like take for true.
    pub fn array_truth(&mut self, sym: &Sym) -> R<Value> {
        match self.as_type(sym, DType::Bool)? {
            Sym::Array(a) => Ok(a.value),
            _ => self.no("this is no array"),
        }
    }
}
