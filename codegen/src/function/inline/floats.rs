//! Floats in lanes: Python's comparisons out of the loop's total order, floor division, roundings, and the functions of
//! `math` with their errors.

use super::paths::Path;
use super::{Inliner, Made, refused};
use crate::function::{Compare, FloatTest, Math1, Math2, Op as Fop, Rounding, Value};
use crate::ir::op::{MathBin, MathFn, OnFail, Overflow, Precision};
use crate::ir::{CmpOp, Lit, Op, Ty, ValueId};
use fuseline_kernels::python::math;

/// Added and taken away again, it rounds floats below 2**51 to whole ones, halves to even.
const ROUNDER: f64 = 6_755_399_441_055_744.0;
const ROUNDED_BELOW: f64 = 2_251_799_813_685_248.0;
/// 2**63.
const BEYOND: f64 = 9_223_372_036_854_775_808.0;

impl Inliner<'_, '_> {
    pub(super) fn float_constant(&self, x: ValueId) -> Option<f64> {
        match &self.b.value(x).op {
            Op::Const(Lit::F64(x)) => Some(*x),
            _other => None,
        }
    }

    fn abs(&mut self, x: ValueId) -> Made<ValueId> {
        self.inst(Op::Abs(Overflow::Wrap), &[x])
    }

    fn binary(&mut self, op: Op, x: ValueId, y: f64) -> Made<ValueId> {
        let y = self.float(y);
        self.inst(op, &[x, y])
    }

    /// Whether a float is not NaN; `None` if it never is.
    fn number(&mut self, x: ValueId) -> Made<Option<ValueId>> {
        if self.numbers.contains(&x) {
            return Ok(None);
        }
        // In the loop's order NaN without a sign is above infinity.
        let size = self.abs(x)?;
        self.binary(Op::Cmp(CmpOp::Le), size, f64::INFINITY).map(Some)
    }

    fn finite(&mut self, x: ValueId) -> Made<ValueId> {
        let size = self.abs(x)?;
        self.binary(Op::Cmp(CmpOp::Lt), size, f64::INFINITY)
    }

    /// Python's comparison: with NaN all are false but `!=`.
    pub(super) fn compare_floats(&mut self, compare: Compare, x: ValueId, y: ValueId) -> Made<ValueId> {
        if compare == Compare::Ne {
            let equal = self.compare_floats(Compare::Eq, x, y)?;
            return self.not(equal);
        }
        let mut made = self.inst(Op::Cmp(compare), &[x, y])?;
        // What equals a number is one.
        let enough = compare == Compare::Eq && (self.numbers.contains(&x) || self.numbers.contains(&y));
        for operand in [x, y] {
            if !enough && let Some(number) = self.number(operand)? {
                made = self.and(made, number)?;
            }
        }
        Ok(made)
    }

    fn compare_with(&mut self, compare: Compare, x: ValueId, y: f64) -> Made<ValueId> {
        let y = self.float(y);
        self.compare_floats(compare, x, y)
    }

    fn bail_at_zero(&mut self, y: ValueId, path: &Path) -> Made<()> {
        match self.float_constant(y) {
            Some(0.0) => self.bail_on(path),
            Some(_) => Ok(()),
            None => {
                let zero = self.compare_with(Compare::Eq, y, 0.0)?;
                self.bail_if(zero, path)
            }
        }
    }

    pub(super) fn true_div_floats(&mut self, x: ValueId, y: ValueId, path: &Path) -> Made<ValueId> {
        self.bail_at_zero(y, path)?;
        self.inst(Op::Div, &[x, y])
    }

    /// A zero with the sign of a float that is neither zero nor NaN.
    fn zero_like(&mut self, x: ValueId) -> Made<ValueId> {
        let negative = self.binary(Op::Cmp(CmpOp::Lt), x, 0.0)?;
        let (minus, plus) = (self.float(-0.0), self.float(0.0));
        self.select(negative, minus, plus)
    }

    /// `x // y` or `x % y`, by the steps of `fuseline_kernels::python::float::divmod`.
    pub(super) fn floor_div_floats(
        &mut self,
        x: ValueId,
        y: ValueId,
        modulo: bool,
        path: &Path,
    ) -> Made<ValueId> {
        self.bail_at_zero(y, path)?;
        let rest = self.inst(Op::Rem, &[x, y])?;
        // As CPython: a NaN is "not zero".
        let none = self.binary(Op::Cmp(CmpOp::Eq), rest, 0.0)?;
        let (below, divisor_below) =
            (self.compare_with(Compare::Lt, rest, 0.0)?, self.compare_with(Compare::Lt, y, 0.0)?);
        let differ = self.inst(Op::Cmp(CmpOp::Ne), &[below, divisor_below])?;
        let some = self.not(none)?;
        let adjust = self.and(differ, some)?;
        if modulo {
            let adjusted = self.inst(Op::Add(Overflow::Wrap), &[rest, y])?;
            let zero = self.zero_like(y)?;
            let nonzero = self.select(adjust, adjusted, rest)?;
            return self.select(none, zero, nonzero);
        }
        let whole = self.inst(Op::Sub(Overflow::Wrap), &[x, rest])?;
        let quotient = self.inst(Op::Div, &[whole, y])?;
        let less = self.binary(Op::Sub(Overflow::Wrap), quotient, 1.0)?;
        let quotient = self.select(adjust, less, quotient)?;
        let floor = self.inst(Op::Math(MathFn::Floor, Precision::Libm), &[quotient])?;
        let above = self.inst(Op::Sub(Overflow::Wrap), &[quotient, floor])?;
        let up = self.compare_with(Compare::Gt, above, 0.5)?;
        let next = self.binary(Op::Add(Overflow::Wrap), floor, 1.0)?;
        let rounded = self.select(up, next, floor)?;
        // A zero takes the sign of x / y, which dividing by it shows.
        let ratio = self.inst(Op::Div, &[x, y])?;
        let one = self.float(1.0);
        let inverse = self.inst(Op::Div, &[one, ratio])?;
        let zero = self.zero_like(inverse)?;
        let nothing = self.binary(Op::Cmp(CmpOp::Eq), quotient, 0.0)?;
        self.select(nothing, zero, rounded)
    }

    /// A float as an int, rounded first; bails beyond 64 bits.
    pub(super) fn int_of(&mut self, whole: ValueId, path: &Path) -> Made<ValueId> {
        // NaN is above or below all in the loop's order, so both fail.
        let above = self.binary(Op::Cmp(CmpOp::Ge), whole, -BEYOND)?;
        let below = self.binary(Op::Cmp(CmpOp::Lt), whole, BEYOND)?;
        let fits = self.and(above, below)?;
        self.bail_unless(fits, path)?;
        let zero = self.float(0.0);
        let harmless = self.inst(Op::Select, &[fits, whole, zero])?;
        self.inst(Op::Cast(Ty::I64, OnFail::Err), &[harmless])
    }

    pub(super) fn whole(&mut self, function: MathFn, x: ValueId) -> Made<ValueId> {
        self.inst(Op::Math(function, Precision::Libm), &[x])
    }

    /// The nearest whole float, halves to even. The sign of a zero is lost.
    pub(super) fn round_even(&mut self, x: ValueId) -> Made<ValueId> {
        let up = self.binary(Op::Add(Overflow::Wrap), x, ROUNDER)?;
        let rounded = self.binary(Op::Sub(Overflow::Wrap), up, ROUNDER)?;
        let size = self.abs(x)?;
        let small = self.binary(Op::Cmp(CmpOp::Lt), size, ROUNDED_BELOW)?;
        // Above they may have a half, which rounding away from zero moves too far.
        let away = self.whole(MathFn::Round, x)?;
        let half = self.binary(Op::Mul(Overflow::Wrap), x, 0.5)?;
        let half = self.whole(MathFn::Round, half)?;
        let even = self.binary(Op::Mul(Overflow::Wrap), half, 2.0)?;
        let truncated = self.whole(MathFn::Trunc, x)?;
        let rest = self.inst(Op::Sub(Overflow::Wrap), &[x, truncated])?;
        let rest = self.abs(rest)?;
        let tie = self.binary(Op::Cmp(CmpOp::Eq), rest, 0.5)?;
        let large = self.select(tie, even, away)?;
        self.select(small, rounded, large)
    }

    /// A whole float that keeps the sign of zeros.
    pub(super) fn rounded(&mut self, rounding: Rounding, x: ValueId) -> Made<ValueId> {
        match rounding {
            Rounding::Floor => self.whole(MathFn::Floor, x),
            Rounding::Ceil => self.whole(MathFn::Ceil, x),
            Rounding::Trunc => self.whole(MathFn::Trunc, x),
            Rounding::Even => {
                let rounded = self.round_even(x)?;
                let zero = self.binary(Op::Mul(Overflow::Wrap), x, 0.0)?;
                let is_zero = self.binary(Op::Cmp(CmpOp::Eq), rounded, 0.0)?;
                self.select(is_zero, zero, rounded)
            }
        }
    }

    /// `round(x, n)` for a constant n, by the way of `fuseline_kernels::python::round`: the rounded product decides, at
    /// a half its error does.
    pub(super) fn round_digits(&mut self, x: ValueId, n: ValueId, path: &Path) -> Made<ValueId> {
        let Some(n @ 0..=15) = self.int_constant(n) else {
            return refused("round() to a variable or unusual number of digits");
        };
        // Exact: floats hold the powers up to 10 ** 22. With more digits than these most products are too large.
        let power = 10_f64.powi(n as i32);
        let scaled = self.binary(Op::Mul(Overflow::Wrap), x, power)?;
        let size = self.abs(scaled)?;
        let small = self.binary(Op::Cmp(CmpOp::Lt), size, ROUNDED_BELOW)?;
        // From 2 ** 52 on all floats are whole; NaN is beyond too.
        let size = self.abs(x)?;
        let fraction = self.binary(Op::Cmp(CmpOp::Lt), size, 2.0 * ROUNDED_BELOW)?;
        let large = self.not(small)?;
        let bad = self.and(large, fraction)?;
        self.bail_if(bad, path)?;
        let up = self.binary(Op::Add(Overflow::Wrap), scaled, ROUNDER)?;
        let whole = self.binary(Op::Sub(Overflow::Wrap), up, ROUNDER)?;
        let rest = self.inst(Op::Sub(Overflow::Wrap), &[scaled, whole])?;
        let error = self.product_error(x, power, scaled)?;
        let at_half = self.binary(Op::Cmp(CmpOp::Eq), rest, 0.5)?;
        let more = self.binary(Op::Cmp(CmpOp::Gt), error, 0.0)?;
        let go_up = self.and(at_half, more)?;
        let next = self.binary(Op::Add(Overflow::Wrap), whole, 1.0)?;
        let at_minus_half = self.binary(Op::Cmp(CmpOp::Eq), rest, -0.5)?;
        let less = self.binary(Op::Cmp(CmpOp::Lt), error, 0.0)?;
        let go_down = self.and(at_minus_half, less)?;
        let before = self.binary(Op::Sub(Overflow::Wrap), whole, 1.0)?;
        let whole = self.select(go_up, next, whole)?;
        let whole = self.select(go_down, before, whole)?;
        let rounded = self.binary(Op::Div, whole, power)?;
        // Zeros keep the sign, and what has no fraction is returned as it is.
        let zero = self.binary(Op::Mul(Overflow::Wrap), x, 0.0)?;
        let is_zero = self.binary(Op::Cmp(CmpOp::Eq), whole, 0.0)?;
        let rounded = self.select(is_zero, zero, rounded)?;
        self.select(fraction, rounded, x)
    }

    /// `x * c - product`, exactly (Dekker): both factors are split into halves whose products are exact.
    fn product_error(&mut self, x: ValueId, c: f64, product: ValueId) -> Made<ValueId> {
        const SPLITTER: f64 = 134_217_729.0;
        let c_high = {
            let t = SPLITTER * c;
            t - (t - c)
        };
        let c_low = c - c_high;
        let t = self.binary(Op::Mul(Overflow::Wrap), x, SPLITTER)?;
        let u = self.inst(Op::Sub(Overflow::Wrap), &[t, x])?;
        let high = self.inst(Op::Sub(Overflow::Wrap), &[t, u])?;
        let low = self.inst(Op::Sub(Overflow::Wrap), &[x, high])?;
        let hh = self.binary(Op::Mul(Overflow::Wrap), high, c_high)?;
        let mut error = self.inst(Op::Sub(Overflow::Wrap), &[hh, product])?;
        for (part, factor) in [(high, c_low), (low, c_high), (low, c_low)] {
            let more = self.binary(Op::Mul(Overflow::Wrap), part, factor)?;
            error = self.inst(Op::Add(Overflow::Wrap), &[error, more])?;
        }
        Ok(error)
    }

    pub(super) fn float_test(&mut self, test: FloatTest, x: ValueId) -> Made<ValueId> {
        match test {
            FloatTest::IsNan => match self.number(x)? {
                Some(number) => self.not(number),
                None => Ok(self.lit(Lit::Bool(false))),
            },
            FloatTest::IsInf => {
                let size = self.abs(x)?;
                self.binary(Op::Cmp(CmpOp::Eq), size, f64::INFINITY)
            }
            FloatTest::IsFinite => self.finite(x),
            FloatTest::IsInteger => {
                let floor = self.whole(MathFn::Floor, x)?;
                let same = self.inst(Op::Cmp(CmpOp::Eq), &[floor, x])?;
                let finite = self.finite(x)?;
                self.and(same, finite)
            }
        }
    }

    /// `x ** y` and `math.pow`: libm's `pow` gives what Python gives, or something that is not finite where it raises.
    pub(super) fn pow_floats(&mut self, x: ValueId, y: ValueId, fast: bool, path: &Path) -> Made<ValueId> {
        let made = self.inst(Op::MathBin(MathBin::Pow, precision(fast)), &[x, y])?;
        self.bail_where_not_finite(made, &[x, y], path)?;
        Ok(made)
    }

    /// Rows bail whose result is not finite though no operand is NaN: more than those for which Python raises.
    fn bail_where_not_finite(&mut self, result: ValueId, operands: &[ValueId], path: &Path) -> Made<()> {
        let finite = self.finite(result)?;
        let mut bad = self.not(finite)?;
        for operand in operands {
            if let Some(number) = self.number(*operand)? {
                bad = self.and(bad, number)?;
            }
        }
        self.bail_if(bad, path)
    }

    pub(super) fn math(&mut self, function: Math1, x: ValueId, fast: bool, path: &Path) -> Made<ValueId> {
        /// Where `math` raises.
        enum Raises {
            Never,
            /// For operands that compare so.
            When(Compare, f64),
            /// For sizes that compare so.
            Size(Compare, f64),
            /// For numbers so large, or so small, that the result overflows. The result itself is not looked at:
            /// somebody who compares it would need it to the last bit, and get it from libm.
            Beyond(f64),
        }
        use Compare::{Eq, Gt, Le, Lt};
        use Raises::{Beyond, Never, Size, When};
        // A little less than the last operands that do not overflow.
        const EXP: f64 = 709.78;
        const SINH: f64 = 710.47;
        let (loops, raises) = match function {
            Math1::Sqrt => (MathFn::Sqrt, When(Lt, 0.0)),
            Math1::Exp => (MathFn::Exp, Beyond(EXP)),
            Math1::Expm1 => (MathFn::Expm1, Beyond(EXP)),
            Math1::Log => (MathFn::Ln, When(Le, 0.0)),
            Math1::Log2 => (MathFn::Log2, When(Le, 0.0)),
            Math1::Log10 => (MathFn::Log10, When(Le, 0.0)),
            Math1::Log1p => (MathFn::Ln1p, When(Le, -1.0)),
            Math1::Sin => (MathFn::Sin, Size(Eq, f64::INFINITY)),
            Math1::Cos => (MathFn::Cos, Size(Eq, f64::INFINITY)),
            Math1::Tan => (MathFn::Tan, Size(Eq, f64::INFINITY)),
            Math1::Asin => (MathFn::Asin, Size(Gt, 1.0)),
            Math1::Acos => (MathFn::Acos, Size(Gt, 1.0)),
            Math1::Atan => (MathFn::Atan, Never),
            Math1::Sinh => (MathFn::Sinh, Beyond(SINH)),
            Math1::Cosh => (MathFn::Cosh, Beyond(SINH)),
            Math1::Tanh => (MathFn::Tanh, Never),
            Math1::Degrees => return self.binary(Op::Mul(Overflow::Wrap), x, math::DEGREES),
            Math1::Radians => return self.binary(Op::Mul(Overflow::Wrap), x, math::RADIANS),
            // The loop's are Rust's own, which are not the C library's.
            Math1::Exp2
            | Math1::Asinh
            | Math1::Acosh
            | Math1::Atanh
            | Math1::Cbrt
            | Math1::Erf
            | Math1::Erfc => {
                return refused(format!("{function:?} has no form in lanes"));
            }
        };
        let made = self.inst(Op::Math(loops, precision(fast)), &[x])?;
        match raises {
            Never => {}
            // Excluded by what is known of the operand, so that nobody compares it: then a fast kernel may compute it.
            When(Lt, bound) if self.floors.get(&x).is_some_and(|floor| *floor >= bound) => {}
            When(Le, bound) if self.floors.get(&x).is_some_and(|floor| *floor > bound) => {}
            When(compare, bound) => {
                let bad = self.compare_with(compare, x, bound)?;
                self.bail_if(bad, path)?;
            }
            Size(compare, bound) => {
                let size = self.abs(x)?;
                let bad = self.compare_with(compare, size, bound)?;
                self.bail_if(bad, path)?;
            }
            Beyond(bound) => {
                let of = if bound == SINH { self.abs(x)? } else { x };
                let beyond = self.binary(Op::Cmp(CmpOp::Gt), of, bound)?;
                let finite = self.finite(x)?;
                let bad = self.and(beyond, finite)?;
                self.bail_if(bad, path)?;
            }
        }
        Ok(made)
    }

    /// Notes what the result of an operation is not below. Rounding is monotone, so the floor of a sum is that of the
    /// rounded one too.
    pub(super) fn note_floor(&mut self, op: &Fop, args: &[Value], made: ValueId) -> Made<()> {
        if self.b.ty(made) != Ty::F64 || self.floors.contains_key(&made) {
            return Ok(());
        }
        // A little more than one unit beyond what the true functions give: kernels may be off by one.
        const ONE: f64 = 1.0 + 4.0 * f64::EPSILON;
        let ids = args.iter().map(|a| self.value(*a)).collect::<Made<Vec<ValueId>>>()?;
        let floor = |at: usize| ids.get(at).and_then(|id| self.floors.get(id)).copied();
        let known = match op {
            Fop::Abs => Some(0.0),
            Fop::Add => floor(0).zip(floor(1)).map(|(a, b)| a + b).filter(|sum| !sum.is_nan()),
            Fop::Mul if ids.first() == ids.get(1) => Some(0.0),
            Fop::Mul => floor(0).zip(floor(1)).filter(|(a, b)| *a >= 0.0 && *b >= 0.0).map(|_both| 0.0),
            Fop::Math1 { function, .. } | Fop::IeeeMath1 { function, .. } => match function {
                Math1::Sqrt | Math1::Exp | Math1::Exp2 | Math1::Acos | Math1::Cosh | Math1::Erfc => Some(0.0),
                Math1::Expm1 | Math1::Sin | Math1::Cos | Math1::Tanh | Math1::Erf => Some(-ONE),
                Math1::Asin | Math1::Atan => Some(-2.0),
                Math1::Log1p | Math1::Sinh | Math1::Asinh | Math1::Cbrt | Math1::Degrees | Math1::Radians => {
                    floor(0).filter(|x| *x >= 0.0).map(|_above| 0.0)
                }
                Math1::Log | Math1::Log2 | Math1::Log10 | Math1::Tan | Math1::Acosh | Math1::Atanh => None,
            },
            Fop::Math2 { function: Math2::Hypot, .. } => Some(0.0),
            _unknown => None,
        };
        if let Some(known) = known {
            self.floors.insert(made, known);
        }
        Ok(())
    }

    pub(super) fn math2(
        &mut self,
        function: Math2,
        x: ValueId,
        y: ValueId,
        fast: bool,
        path: &Path,
    ) -> Made<ValueId> {
        match function {
            Math2::Pow => self.pow_floats(x, y, fast, path),
            Math2::Atan2 => self.inst(Op::MathBin(MathBin::Atan2, precision(fast)), &[x, y]),
            Math2::Fmod => {
                let made = self.inst(Op::Rem, &[x, y])?;
                self.bail_where_not_finite(made, &[x, y], path)?;
                Ok(made)
            }
            Math2::Hypot | Math2::Copysign => refused(format!("{function:?} has no form in lanes")),
        }
    }
}

fn precision(fast: bool) -> Precision {
    if fast { Precision::Fast } else { Precision::Libm }
}
