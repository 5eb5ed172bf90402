//! Operations: what is a few instructions is written here, everything else is a call of its kernel.

use super::frame::{Emitter, register};
use crate::cpu::CompileError;
use crate::function::kernel::{self, Reading, kernel};
use crate::function::{Base, FloatTest, Math1, Op, Rounding, Type, Value as Id};
use cranelift::prelude::*;
use fuseline_kernels::python::{date, math};
use std::rc::Rc;

/// A value of the function in registers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Val {
    /// The number, 0 or 1 for bools, the address of a text; anything where it is None.
    pub data: Value,
    /// The bytes of a text.
    pub len: Option<Value>,
    /// Of an optional value: 1, or 0 where it is None.
    pub valid: Option<Value>,
}

impl Val {
    pub(super) fn of(data: Value) -> Val {
        Val { data, len: None, valid: None }
    }

    pub(super) fn of_text(data: Value, len: Value) -> Val {
        Val { data, len: Some(len), valid: None }
    }
}

impl Emitter<'_, '_> {
    pub(super) fn value(&self, id: Id) -> Result<Val, CompileError> {
        let value = self.values.get(id.0 as usize).copied().flatten();
        value.ok_or_else(|| CompileError::Backend(format!("v{} is not defined", id.0)))
    }

    fn note_constant(&mut self, id: Id, op: &Op) {
        match op {
            Op::Int(i) => {
                self.known_ints.insert(id, *i);
            }
            Op::Str(s) => {
                self.known_texts.insert(id, s.as_bytes().into());
            }
            _variable => {}
        }
    }

    /// The value of a constant int.
    pub(super) fn known_int(&self, id: Id) -> Option<i64> {
        self.known_ints.get(&id).copied()
    }

    /// The bytes of a constant text.
    pub(super) fn known_text(&self, id: Id) -> Option<Rc<[u8]>> {
        self.known_texts.get(&id).map(Rc::clone)
    }

    /// Writes an operation.
    pub(super) fn operation(&mut self, id: Id, op: &Op, args: &[Id]) -> Result<Val, CompileError> {
        let types: Vec<Type> = args.iter().map(|a| self.job.types.of(*a)).collect();
        let ty = self.job.types.of(id);
        let operands = args.iter().map(|a| self.value(*a)).collect::<Result<Vec<Val>, _>>()?;
        self.note_constant(id, op);
        if let Some(result) = self.text(op, &types, args, &operands) {
            return Ok(result);
        }
        if let Some(result) = self.inline(op, &types, &operands) {
            return Ok(result);
        }
        if let Some(call) = kernel(op, &types, self.job.tables) {
            let mut words: Vec<Value> = Vec::new();
            for operand in &operands {
                words.push(operand.data);
                words.extend(operand.len);
            }
            if let Some(extra) = call.extra.word() {
                let word = self.address(extra);
                words.push(word);
                self.kept.extras.push(call.extra);
            }
            self.call(call.kernel, &words);
            return Ok(self.result(call.reading, ty));
        }
        self.own(op, &types, &operands, ty)
    }

    /// The result of the kernel that was just called.
    fn result(&mut self, reading: Reading, ty: Type) -> Val {
        match reading {
            Reading::Order(compare) => {
                let order = self.word(0, types::I64);
                Val::of(self.order_is(order, compare))
            }
            Reading::Value | Reading::Cell => {
                // A bool is the low byte of its word.
                let data = self.word(0, register(ty.base));
                let len = (ty.base == Base::Str).then(|| self.word(1, types::I64));
                let valid = ty.optional.then(|| self.word(2, types::I8));
                Val { data, len, valid }
            }
        }
    }

    /// Operations that have a kernel, but are written out where that pays.
    fn inline(&mut self, op: &Op, types: &[Type], args: &[Val]) -> Option<Val> {
        match (op, args) {
            (Op::Cmp(compare), [a, b]) if types[0] == Type::STR => self.compare_texts(*compare, *a, *b),
            (Op::CmpIntFloat(compare), [a, b]) => Some(self.compare_int_float(*compare, a.data, b.data)),
            (Op::BoolToStr, [a]) => {
                let ([yes, no], [yes_len, no_len]) = (["True", "False"].map(str::as_ptr), [4, 5]);
                let (yes, no) = (self.address(yes as u64), self.address(no as u64));
                let (yes_len, no_len) = (self.address(yes_len), self.address(no_len));
                let data = self.b.ins().select(a.data, yes, no);
                Some(Val::of_text(data, self.b.ins().select(a.data, yes_len, no_len)))
            }
            _kernel => None,
        }
    }

    /// Operations without a kernel.
    fn own(&mut self, op: &Op, types: &[Type], args: &[Val], ty: Type) -> Result<Val, CompileError> {
        let float = types.first() == Some(&Type::FLOAT);
        Ok(match (op, args) {
            (Op::Bool(b), _) => Val::of(self.b.ins().iconst(types::I8, i64::from(*b))),
            (Op::Int(i) | Op::Date(i) | Op::DateTime(i), _) => Val::of(self.b.ins().iconst(types::I64, *i)),
            (Op::Float(bits), _) => Val::of(self.b.ins().f64const(Ieee64::with_bits(*bits))),
            (Op::Str(s), _) => {
                let bytes = self.kept.constants.text_bytes(s);
                let (data, len) = (self.address(bytes as u64), self.address(s.len() as u64));
                Val::of_text(data, len)
            }
            (Op::None(_), _) => self.none(ty),
            (Op::Get(local), _) => self.get(local.0 as usize, ty),
            (Op::Some, [a]) => Val { valid: Some(self.b.ins().iconst(types::I8, 1)), ..*a },
            (Op::IsNone, [a]) => Val::of(self.b.ins().bxor_imm_u(valid(a)?, 1)),
            (Op::Unwrap, [a]) => {
                self.bail_unless(valid(a)?);
                Val { valid: None, ..*a }
            }
            (Op::Select, [c, a, b]) => self.select(c.data, *a, *b),
            (Op::Not, [a]) => Val::of(self.b.ins().bxor_imm_u(a.data, 1)),
            (Op::And | Op::BitAnd, [a, b]) => Val::of(self.b.ins().band(a.data, b.data)),
            (Op::Or | Op::BitOr, [a, b]) => Val::of(self.b.ins().bor(a.data, b.data)),
            (Op::Xor | Op::BitXor, [a, b]) => Val::of(self.b.ins().bxor(a.data, b.data)),
            (Op::Invert, [a]) => Val::of(self.b.ins().bnot(a.data)),
            (Op::Add, [a, b]) if float => Val::of(self.b.ins().fadd(a.data, b.data)),
            (Op::Sub, [a, b]) if float => Val::of(self.b.ins().fsub(a.data, b.data)),
            (Op::Mul, [a, b]) if float => Val::of(self.b.ins().fmul(a.data, b.data)),
            (Op::Neg, [a]) if float => Val::of(self.b.ins().fneg(a.data)),
            (Op::Abs, [a]) if float => Val::of(self.b.ins().fabs(a.data)),
            (Op::Add | Op::Sub | Op::Mul, [a, b]) => {
                let (result, overflow) = match op {
                    Op::Add => self.b.ins().sadd_overflow(a.data, b.data),
                    Op::Sub => self.b.ins().ssub_overflow(a.data, b.data),
                    _mul => self.b.ins().smul_overflow(a.data, b.data),
                };
                self.bail_if(overflow);
                Val::of(result)
            }
            (Op::Neg | Op::Abs, [a]) => {
                let least = self.b.ins().icmp_imm_s(IntCC::Equal, a.data, i64::MIN);
                self.bail_if(least);
                Val::of(if *op == Op::Neg { self.b.ins().ineg(a.data) } else { self.b.ins().iabs(a.data) })
            }
            (Op::TrueDiv, [a, b]) => Val::of(self.true_div(a.data, b.data, float)),
            (Op::FloorDiv | Op::Mod, [a, b]) => Val::of(self.floor_div(a.data, b.data, *op == Op::Mod)),
            (Op::Shl, [a, n]) => Val::of(self.shift_left(a.data, n.data)),
            (Op::Shr, [a, n]) => {
                let negative = self.b.ins().icmp_imm_s(IntCC::SignedLessThan, n.data, 0);
                self.bail_if(negative);
                let most = self.b.ins().iconst(types::I64, 63);
                let n = self.b.ins().umin(n.data, most);
                Val::of(self.b.ins().sshr(a.data, n))
            }
            (Op::BoolToInt, [a]) => Val::of(self.b.ins().uextend(types::I64, a.data)),
            (Op::IntToFloat, [a]) => Val::of(self.b.ins().fcvt_from_sint(types::F64, a.data)),
            (Op::Trunc, [x]) => {
                let whole = self.b.ins().trunc(x.data);
                Val::of(self.int_of(whole))
            }
            (Op::Floor, [x]) => {
                let whole = self.b.ins().floor(x.data);
                Val::of(self.int_of(whole))
            }
            (Op::Ceil, [x]) => {
                let whole = self.b.ins().ceil(x.data);
                Val::of(self.int_of(whole))
            }
            (Op::RoundEven, [x]) => {
                let whole = self.b.ins().nearest(x.data);
                Val::of(self.int_of(whole))
            }
            (Op::ToSingle, [x]) => {
                // A NaN keeps its bits, as the interpreter says.
                let single = self.b.ins().fdemote(types::F32, x.data);
                let double = self.b.ins().fpromote(types::F64, single);
                let quiet = self.b.ins().fadd(x.data, x.data);
                let nan = self.b.ins().fcmp(FloatCC::Unordered, x.data, x.data);
                Val::of(self.b.ins().select(nan, quiet, double))
            }
            (Op::Whole(rounding), [x]) => Val::of(match rounding {
                Rounding::Floor => self.b.ins().floor(x.data),
                Rounding::Ceil => self.b.ins().ceil(x.data),
                Rounding::Trunc => self.b.ins().trunc(x.data),
                Rounding::Even => self.b.ins().nearest(x.data),
            }),
            (Op::Cmp(compare), [a, b]) => Val::of(self.compare(*compare, types[0].base, a.data, b.data)),
            (Op::Math1 { function, .. }, [x]) => Val::of(self.math(*function, x.data)),
            (Op::IeeeDiv, [a, b]) => Val::of(self.b.ins().fdiv(a.data, b.data)),
            (Op::IeeeMath1 { function, .. }, [x]) => Val::of(self.math_unchecked(*function, x.data)),
            (Op::FloatTest(test), [x]) => Val::of(self.float_test(*test, x.data)),
            (Op::DateOf, [a]) => {
                let day = self.b.ins().iconst(types::I64, date::DAY);
                Val::of(self.floor_div_positive(a.data, day))
            }
            (Op::DateTimeOf, [a]) => Val::of(self.b.ins().imul_imm_s(a.data, date::DAY)),
            // Within Python's years differences fit.
            (Op::DateDiff, [a, b]) => Val::of(self.b.ins().isub(a.data, b.data)),
            (op, _) => return Err(CompileError::Backend(format!("{op:?} is neither written nor called"))),
        })
    }

    fn none(&mut self, ty: Type) -> Val {
        let zero = self.b.ins().iconst(types::I64, 0);
        let data = match ty.base {
            Base::Bool => self.b.ins().iconst(types::I8, 0),
            Base::Float => self.b.ins().f64const(0.0),
            // Nobody reads a text of no bytes, but it has an address.
            Base::Str => self.address("".as_ptr() as u64),
            Base::Int | Base::Date | Base::DateTime => zero,
        };
        let len = (ty.base == Base::Str).then_some(zero);
        Val { data, len, valid: Some(self.b.ins().iconst(types::I8, 0)) }
    }

    fn get(&mut self, at: usize, ty: Type) -> Val {
        let place = self.locals[at];
        debug_assert_eq!(ty.optional, place.valid.is_some());
        Val {
            data: self.b.use_var(place.data),
            len: place.len.map(|v| self.b.use_var(v)),
            valid: place.valid.map(|v| self.b.use_var(v)),
        }
    }

    fn select(&mut self, condition: Value, a: Val, b: Val) -> Val {
        let mut both = |p: Option<Value>, q: Option<Value>| match (p, q) {
            (Some(p), Some(q)) => Some(self.b.ins().select(condition, p, q)),
            (None, _) | (_, None) => None,
        };
        let (len, valid) = (both(a.len, b.len), both(a.valid, b.valid));
        Val { data: self.b.ins().select(condition, a.data, b.data), len, valid }
    }

    fn true_div(&mut self, a: Value, b: Value, float: bool) -> Value {
        if float {
            let zero = self.b.ins().f64const(0.0);
            let by_zero = self.b.ins().fcmp(FloatCC::Equal, b, zero);
            self.bail_if(by_zero);
            return self.b.ins().fdiv(a, b);
        }
        let by_zero = self.b.ins().icmp_imm_s(IntCC::Equal, b, 0);
        self.bail_if(by_zero);
        const EXACT: i64 = 1 << 53;
        for x in [a, b] {
            let from = self.b.ins().iadd_imm_s(x, EXACT);
            let beyond = self.b.ins().icmp_imm_u(IntCC::UnsignedGreaterThan, from, 2 * EXACT);
            self.bail_if(beyond);
        }
        let (a, b) = (self.b.ins().fcvt_from_sint(types::F64, a), self.b.ins().fcvt_from_sint(types::F64, b));
        self.b.ins().fdiv(a, b)
    }

    /// `a // b` or `a % b` of ints.
    fn floor_div(&mut self, a: Value, b: Value, remainder: bool) -> Value {
        let by_zero = self.b.ins().icmp_imm_s(IntCC::Equal, b, 0);
        self.bail_if(by_zero);
        let minus_one = self.b.ins().icmp_imm_s(IntCC::Equal, b, -1);
        let least = self.b.ins().icmp_imm_s(IntCC::Equal, a, i64::MIN);
        let overflow = self.b.ins().band(minus_one, least);
        self.bail_if(overflow);
        let quotient = self.b.ins().sdiv(a, b);
        let product = self.b.ins().imul(quotient, b);
        let rest = self.b.ins().isub(a, product);
        let differ = self.b.ins().bxor(rest, b);
        let other_sign = self.b.ins().icmp_imm_s(IntCC::SignedLessThan, differ, 0);
        let some = self.b.ins().icmp_imm_s(IntCC::NotEqual, rest, 0);
        let adjust = self.b.ins().band(other_sign, some);
        if remainder {
            let adjusted = self.b.ins().iadd(rest, b);
            self.b.ins().select(adjust, adjusted, rest)
        } else {
            let one = self.b.ins().uextend(types::I64, adjust);
            self.b.ins().isub(quotient, one)
        }
    }

    /// `a // b` for a positive constant.
    fn floor_div_positive(&mut self, a: Value, b: Value) -> Value {
        let quotient = self.b.ins().sdiv(a, b);
        let product = self.b.ins().imul(quotient, b);
        let below = self.b.ins().icmp(IntCC::SignedLessThan, a, product);
        let one = self.b.ins().uextend(types::I64, below);
        self.b.ins().isub(quotient, one)
    }

    fn shift_left(&mut self, a: Value, n: Value) -> Value {
        let negative = self.b.ins().icmp_imm_s(IntCC::SignedLessThan, n, 0);
        self.bail_if(negative);
        let few = self.b.ins().icmp_imm_s(IntCC::SignedLessThan, n, 64);
        let shifted = self.b.ins().ishl(a, n);
        let back = self.b.ins().sshr(shifted, n);
        let same = self.b.ins().icmp(IntCC::Equal, back, a);
        let fits = self.b.ins().band(few, same);
        let zero = self.b.ins().icmp_imm_s(IntCC::Equal, a, 0);
        let fine = self.b.ins().bor(fits, zero);
        self.bail_unless(fine);
        shifted
    }

    /// A whole float as an int; bails beyond 64 bits and for NaN.
    fn int_of(&mut self, whole: Value) -> Value {
        const BEYOND: f64 = 9_223_372_036_854_775_808.0;
        let (least, beyond) = (self.b.ins().f64const(-BEYOND), self.b.ins().f64const(BEYOND));
        let above = self.b.ins().fcmp(FloatCC::GreaterThanOrEqual, whole, least);
        let below = self.b.ins().fcmp(FloatCC::LessThan, whole, beyond);
        let fits = self.b.ins().band(above, below);
        self.bail_unless(fits);
        self.b.ins().fcvt_to_sint_sat(types::I64, whole)
    }

    fn math_unchecked(&mut self, function: Math1, x: Value) -> Value {
        let factor = match function {
            Math1::Degrees => math::DEGREES,
            Math1::Radians => math::RADIANS,
            Math1::Sqrt => return self.b.ins().sqrt(x),
            called => return self.call_float(kernel::libm(called), x),
        };
        let factor = self.b.ins().f64const(factor);
        self.b.ins().fmul(x, factor)
    }

    fn math(&mut self, function: Math1, x: Value) -> Value {
        let result = self.math_unchecked(function, x);
        if matches!(function, Math1::Degrees | Math1::Radians) {
            return result;
        }
        // `math::checked`: what is not finite may be an error.
        let finite = self.is_finite(result);
        let on = self.b.create_block();
        let check = self.b.create_block();
        self.b.set_cold_block(check);
        self.b.ins().brif(finite, on, &[], check, &[]);
        self.b.switch_to_block(check);
        self.b.seal_block(check);
        let x_finite = self.is_finite(x);
        let nan = self.b.ins().fcmp(FloatCC::Unordered, result, result);
        let x_number = self.b.ins().fcmp(FloatCC::Ordered, x, x);
        let domain = self.b.ins().band(nan, x_number);
        let raises = self.b.ins().bor(domain, x_finite);
        self.b.ins().brif(raises, self.bail, &[], on, &[]);
        self.b.switch_to_block(on);
        self.b.seal_block(on);
        result
    }

    fn is_finite(&mut self, x: Value) -> Value {
        let size = self.b.ins().fabs(x);
        let infinity = self.b.ins().f64const(f64::INFINITY);
        self.b.ins().fcmp(FloatCC::LessThan, size, infinity)
    }

    fn float_test(&mut self, test: FloatTest, x: Value) -> Value {
        match test {
            FloatTest::IsNan => self.b.ins().fcmp(FloatCC::Unordered, x, x),
            FloatTest::IsInf => {
                let size = self.b.ins().fabs(x);
                let infinity = self.b.ins().f64const(f64::INFINITY);
                self.b.ins().fcmp(FloatCC::Equal, size, infinity)
            }
            FloatTest::IsFinite => self.is_finite(x),
            FloatTest::IsInteger => {
                let floor = self.b.ins().floor(x);
                let same = self.b.ins().fcmp(FloatCC::Equal, floor, x);
                let finite = self.is_finite(x);
                self.b.ins().band(same, finite)
            }
        }
    }
}

fn valid(value: &Val) -> Result<Value, CompileError> {
    value.valid.ok_or_else(|| CompileError::Backend("a value that is never None".to_owned()))
}
