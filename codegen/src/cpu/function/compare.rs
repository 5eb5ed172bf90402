//! Comparisons of numbers, of ints with floats, and of texts.

use super::frame::Emitter;
use super::ops::Val;
use crate::function::{Base, Compare};
use cranelift::prelude::*;
use fuseline_kernels::python::call;

fn signed(compare: Compare) -> IntCC {
    match compare {
        Compare::Eq => IntCC::Equal,
        Compare::Ne => IntCC::NotEqual,
        Compare::Lt => IntCC::SignedLessThan,
        Compare::Le => IntCC::SignedLessThanOrEqual,
        Compare::Gt => IntCC::SignedGreaterThan,
        Compare::Ge => IntCC::SignedGreaterThanOrEqual,
    }
}

/// Python's: a NaN is unequal to everything.
fn float(compare: Compare) -> FloatCC {
    match compare {
        Compare::Eq => FloatCC::Equal,
        Compare::Ne => FloatCC::NotEqual,
        Compare::Lt => FloatCC::LessThan,
        Compare::Le => FloatCC::LessThanOrEqual,
        Compare::Gt => FloatCC::GreaterThan,
        Compare::Ge => FloatCC::GreaterThanOrEqual,
    }
}

impl Emitter<'_, '_> {
    pub(super) fn compare(&mut self, compare: Compare, base: Base, a: Value, b: Value) -> Value {
        match base {
            Base::Float => self.b.ins().fcmp(float(compare), a, b),
            // Bools are 0 and 1.
            Base::Bool | Base::Int | Base::Date | Base::DateTime | Base::Str => {
                self.b.ins().icmp(signed(compare), a, b)
            }
        }
    }

    /// Whether an order (-1, 0, 1, or 2 for none) is one of a comparison.
    pub(super) fn order_is(&mut self, order: Value, compare: Compare) -> Value {
        match compare {
            Compare::Eq => self.b.ins().icmp_imm_s(IntCC::Equal, order, 0),
            Compare::Ne => self.b.ins().icmp_imm_s(IntCC::NotEqual, order, 0),
            Compare::Lt => self.b.ins().icmp_imm_s(IntCC::Equal, order, -1),
            Compare::Le => self.b.ins().icmp_imm_s(IntCC::SignedLessThanOrEqual, order, 0),
            Compare::Gt => self.b.ins().icmp_imm_s(IntCC::Equal, order, 1),
            Compare::Ge => self.b.ins().icmp_imm_u(IntCC::UnsignedLessThanOrEqual, order, 1),
        }
    }

    /// Ints that floats hold exactly are compared as floats; the kernel compares the others.
    pub(super) fn compare_int_float(&mut self, compare: Compare, a: Value, b: Value) -> Val {
        const EXACT: i64 = 1 << 53;
        let [near, far, after] = std::array::from_fn(|_| self.b.create_block());
        self.b.append_block_param(after, types::I8);
        self.b.set_cold_block(far);
        let from = self.b.ins().iadd_imm_s(a, EXACT);
        let exact = self.b.ins().icmp_imm_u(IntCC::UnsignedLessThanOrEqual, from, 2 * EXACT);
        self.b.ins().brif(exact, near, &[], far, &[]);
        self.b.switch_to_block(near);
        self.b.seal_block(near);
        let x = self.b.ins().fcvt_from_sint(types::F64, a);
        let result = self.b.ins().fcmp(float(compare), x, b);
        self.b.ins().jump(after, &[result.into()]);
        self.b.switch_to_block(far);
        self.b.seal_block(far);
        self.call(call::rt_py_compare_int_float, &[a, b]);
        let order = self.word(0, types::I64);
        let result = self.order_is(order, compare);
        self.b.ins().jump(after, &[result.into()]);
        self.b.switch_to_block(after);
        self.b.seal_block(after);
        Val::of(self.b.block_params(after)[0])
    }

    /// Equality looks at the lengths first. The other comparisons are the kernel's.
    pub(super) fn compare_texts(&mut self, compare: Compare, a: Val, b: Val) -> Option<Val> {
        let equal = match compare {
            Compare::Eq => true,
            Compare::Ne => false,
            Compare::Lt | Compare::Le | Compare::Gt | Compare::Ge => return None,
        };
        let (a_len, b_len) = (a.len?, b.len?);
        let [look, after] = std::array::from_fn(|_| self.b.create_block());
        self.b.append_block_param(after, types::I8);
        let same_len = self.b.ins().icmp(IntCC::Equal, a_len, b_len);
        let no = self.b.ins().iconst(types::I8, 0);
        self.b.ins().brif(same_len, look, &[], after, &[no.into()]);
        self.b.switch_to_block(look);
        self.b.seal_block(look);
        let same = self.call_plain(call::rt_py_same_bytes as *const () as u64, &[a.data, b.data, a_len]);
        let same = self.b.ins().ireduce(types::I8, same);
        self.b.ins().jump(after, &[same.into()]);
        self.b.switch_to_block(after);
        self.b.seal_block(after);
        let same = self.b.block_params(after)[0];
        Some(Val::of(if equal { same } else { self.b.ins().bxor_imm_u(same, 1) }))
    }
}
