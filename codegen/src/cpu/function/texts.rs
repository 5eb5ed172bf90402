//! Operations on texts that are a few instructions: comparisons with short constants, and in the variant for ASCII, where
//! code points are bytes, lengths, indices, slices and searches.

use super::frame::Emitter;
use super::ops::Val;
use crate::cpu::emitter::FLAGS;
use crate::function::{Compare, Op, StrTest, Type, Value as Id};
use cranelift::prelude::*;
use fuseline_kernels::python::call;

/// Longest constant that is compared without a call.
const SHORT: usize = 24;

impl Emitter<'_, '_> {
    /// An operation on texts, if it has a short form.
    pub(super) fn text(&mut self, op: &Op, types: &[Type], ids: &[Id], args: &[Val]) -> Option<Val> {
        match (op, args) {
            (Op::Cmp(Compare::Eq | Compare::Ne), [a, b]) if types[0] == Type::STR => {
                let (text, known) = match (self.known_text(ids[0]), self.known_text(ids[1])) {
                    (_, Some(known)) => (a, known),
                    (Some(known), None) => (b, known),
                    (None, None) => return None,
                };
                let same = self.compare_known(*text, &known, IntCC::Equal, false)?;
                let differ = *op == Op::Cmp(Compare::Ne);
                Some(Val::of(if differ { self.b.ins().bxor_imm_u(same, 1) } else { same }))
            }
            (Op::Test(StrTest::StartsWith), [s, _]) => {
                let known = self.known_text(ids[1])?;
                self.compare_known(*s, &known, IntCC::UnsignedGreaterThanOrEqual, false).map(Val::of)
            }
            (Op::Test(StrTest::EndsWith), [s, _]) => {
                let known = self.known_text(ids[1])?;
                self.compare_known(*s, &known, IntCC::UnsignedGreaterThanOrEqual, true).map(Val::of)
            }
            (Op::Test(StrTest::Contains), [s, t]) => {
                let nowhere = self.b.ins().iconst(types::I64, 0);
                let at = self.find(false, *s, *t, nowhere)?;
                Some(Val::of(self.b.ins().icmp_imm_s(IntCC::SignedGreaterThanOrEqual, at, 0)))
            }
            _in_ascii if !self.job.ascii => None,
            (Op::Len, [s]) => Some(Val::of(s.len?)),
            (Op::CharAt, [s, i]) => {
                let len = s.len?;
                let at = self.counted_from_end(i.data, self.known_int(ids[1]), len);
                let inside = self.b.ins().icmp(IntCC::UnsignedLessThan, at, len);
                self.bail_unless(inside);
                let one = self.b.ins().iconst(types::I64, 1);
                Some(Val::of_text(self.b.ins().iadd(s.data, at), one))
            }
            (Op::Slice, [s, a, b]) => {
                let len = s.len?;
                let from = self.clamped(a.data, self.known_int(ids[1]), len);
                let to = self.clamped(b.data, self.known_int(ids[2]), len);
                let size = self.b.ins().isub(to, from);
                let zero = self.b.ins().iconst(types::I64, 0);
                let size = self.b.ins().smax(size, zero);
                Some(Val::of_text(self.b.ins().iadd(s.data, from), size))
            }
            (Op::Find, [s, t, a, _]) if self.known_int(ids[3]) == Some(i64::MAX) => {
                self.find(false, *s, *t, a.data).map(Val::of)
            }
            (Op::RFind, [s, t, a, _]) if self.known_int(ids[3]) == Some(i64::MAX) => {
                self.find(true, *s, *t, a.data).map(Val::of)
            }
            _called => None,
        }
    }

    fn find(&mut self, last: bool, s: Val, t: Val, from: Value) -> Option<Value> {
        let function = if last { call::rt_py_rfind_bytes } else { call::rt_py_find_bytes };
        let args = [s.data, s.len?, t.data, t.len?, from];
        Some(self.call_plain(function as *const () as u64, &args))
    }

    /// An index that counts from the end if it is negative.
    fn counted_from_end(&mut self, index: Value, known: Option<i64>, len: Value) -> Value {
        match known {
            Some(i) if i >= 0 => index,
            Some(_) => self.b.ins().iadd(index, len),
            None => {
                let negative = self.b.ins().icmp_imm_s(IntCC::SignedLessThan, index, 0);
                let other = self.b.ins().iadd(index, len);
                self.b.ins().select(negative, other, index)
            }
        }
    }

    /// A bound of a slice.
    fn clamped(&mut self, index: Value, known: Option<i64>, len: Value) -> Value {
        match known {
            Some(0) => return index,
            // Also `i64::MAX`, which is how no bound is said.
            Some(i) if i > u32::MAX.into() => return len,
            Some(_) | None => {}
        }
        let zero = self.b.ins().iconst(types::I64, 0);
        let at = self.counted_from_end(index, known, len);
        let at = self.b.ins().smax(at, zero);
        self.b.ins().smin(at, len)
    }

    /// Whether the length of a text compares so with a constant's, and the constant's bytes stand at its start or end.
    fn compare_known(&mut self, text: Val, known: &[u8], lengths: IntCC, at_end: bool) -> Option<Value> {
        if known.len() > SHORT {
            return None;
        }
        let len = text.len?;
        let size = known.len() as i64;
        let long_enough = self.b.ins().icmp_imm_u(lengths, len, size);
        if known.is_empty() {
            return Some(long_enough);
        }
        let [look, after] = std::array::from_fn(|_| self.b.create_block());
        self.b.append_block_param(after, types::I8);
        let no = self.b.ins().iconst(types::I8, 0);
        self.b.ins().brif(long_enough, look, &[], after, &[no.into()]);
        self.b.switch_to_block(look);
        self.b.seal_block(look);
        let mut start = text.data;
        if at_end {
            let end = self.b.ins().iadd(start, len);
            start = self.b.ins().iadd_imm_s(end, -size);
        }
        let mut differ: Option<Value> = None;
        let mut at = 0;
        while at < known.len() {
            let width = [8, 4, 2, 1].into_iter().find(|w| at + w <= known.len()).unwrap_or(1);
            let mut word = [0; 8];
            word[..width].copy_from_slice(&known[at..at + width]);
            let ty = types::Type::int(width as u16 * 8).unwrap_or(types::I8);
            let found = self.b.ins().load(ty, FLAGS, start, at as i32);
            let found = if width < 8 { self.b.ins().uextend(types::I64, found) } else { found };
            let wanted = self.b.ins().iconst(types::I64, i64::from_le_bytes(word));
            let other = self.b.ins().bxor(found, wanted);
            differ = Some(match differ {
                Some(before) => self.b.ins().bor(before, other),
                None => other,
            });
            at += width;
        }
        let same = self.b.ins().icmp_imm_s(IntCC::Equal, differ?, 0);
        self.b.ins().jump(after, &[same.into()]);
        self.b.switch_to_block(after);
        self.b.seal_block(after);
        Some(self.b.block_params(after)[0])
    }
}
