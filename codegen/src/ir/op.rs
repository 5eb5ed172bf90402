//! The operations, their signatures and what each does on every input.
//!
//! Unless an op's text says otherwise it is strict: its result is valid iff all arguments are
//! valid, and it is evaluated (and can fail) only where they are. "Fails" means: the query errs if
//! the row is live and the instruction's `under` holds there. Signatures live in [`Op::infer`],
//! which the builder and the verifier share.

use super::types::{Lit, Ty};

/// What integer arithmetic does when the result does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Overflow {
    /// Two's complement; the only choice for floats, where it means plain IEEE 754.
    Wrap,
    /// The instruction fails.
    Err,
    /// The result is null (TRY_CAST).
    Null,
}

/// What a conversion does with a value that has no counterpart (CAST, TRY_CAST).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OnFail {
    Err,
    Null,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CmpOp {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
}

/// Whether a transcendental function may come from the vectorized kernels (within 1 ulp of libm)
/// or must be libm itself because the result feeds something that would show the last bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Precision {
    Fast,
    Libm,
}

/// Functions of one float. From `Sqrt` to `Signum` they are exact and ignore [`Precision`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MathFn {
    Sqrt,
    Floor,
    Ceil,
    Trunc,
    /// Half away from zero, as `f64::round`.
    Round,
    /// -1, 0 or 1; zeros of either sign give 0.0 and every NaN gives the positive quiet one, as
    /// DataFusion's `signum`.
    Signum,
    Exp,
    Ln,
    Log2,
    Log10,
    Sin,
    Cos,
    Tan,
    Asin,
    Acos,
    Atan,
    Sinh,
    Cosh,
    Tanh,
    Asinh,
    Acosh,
    Atanh,
    Cbrt,
    Ln1p,
    Expm1,
}

impl MathFn {
    /// Whether [`Precision`] matters.
    pub fn is_transcendental(self) -> bool {
        match self {
            MathFn::Sqrt | MathFn::Floor | MathFn::Ceil | MathFn::Trunc | MathFn::Round | MathFn::Signum => {
                false
            }
            MathFn::Exp
            | MathFn::Ln
            | MathFn::Log2
            | MathFn::Log10
            | MathFn::Sin
            | MathFn::Cos
            | MathFn::Tan
            | MathFn::Asin
            | MathFn::Acos
            | MathFn::Atan
            | MathFn::Sinh
            | MathFn::Cosh
            | MathFn::Tanh
            | MathFn::Asinh
            | MathFn::Acosh
            | MathFn::Atanh
            | MathFn::Cbrt
            | MathFn::Ln1p
            | MathFn::Expm1 => true,
        }
    }
}

/// Functions of two floats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MathBin {
    Pow,
    Atan2,
}

/// The unit of a temporal integer: days for dates (`I32`), else `I64` ticks since the epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TimeUnit {
    Day,
    Second,
    Milli,
    Micro,
    Nano,
}

/// Calendar fields of a date or a timestamp without zone (proleptic Gregorian, UTC).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DatePart {
    Year,
    Quarter,
    Month,
    /// ISO week, 1 to 53.
    Week,
    Day,
    /// Sunday is 0.
    DayOfWeek,
    /// 1 to 366.
    DayOfYear,
    Hour,
    Minute,
    /// Whole seconds within the minute.
    Second,
    /// Seconds within the minute in milliseconds, 0 to 59,999.
    Millisecond,
    /// Seconds within the minute in microseconds.
    Microsecond,
    /// Nanoseconds within the second (more does not fit the result's type).
    Nanosecond,
}

impl DatePart {
    /// Whether the part is one of the time of day.
    pub fn is_clock(self) -> bool {
        match self {
            DatePart::Year
            | DatePart::Quarter
            | DatePart::Month
            | DatePart::Week
            | DatePart::Day
            | DatePart::DayOfWeek
            | DatePart::DayOfYear => false,
            DatePart::Hour
            | DatePart::Minute
            | DatePart::Second
            | DatePart::Millisecond
            | DatePart::Microsecond
            | DatePart::Nanosecond => true,
        }
    }

    /// Whether some values of the unit lie outside the calendar and so have no such part.
    pub fn can_be_null(self, unit: TimeUnit) -> bool {
        match unit {
            TimeUnit::Day => !self.is_clock(),
            TimeUnit::Second | TimeUnit::Milli | TimeUnit::Micro => true,
            TimeUnit::Nano => false,
        }
    }
}

/// Granularities of [`Op::DateTrunc`]; weeks begin on Monday. Years, quarters, months and weeks are
/// coarse: they need the calendar. The others have a fixed length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TruncTo {
    Year,
    Quarter,
    Month,
    Week,
    Day,
    Hour,
    Minute,
    Second,
    Millisecond,
    Microsecond,
}

impl TruncTo {
    /// Whether the unit is longer than a day.
    pub fn is_coarse(self) -> bool {
        match self {
            TruncTo::Year | TruncTo::Quarter | TruncTo::Month | TruncTo::Week => true,
            TruncTo::Day
            | TruncTo::Hour
            | TruncTo::Minute
            | TruncTo::Second
            | TruncTo::Millisecond
            | TruncTo::Microsecond => false,
        }
    }
}

/// What a string's length is counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Bound {
    Chars,
    Bytes,
}

/// Tests of a string against a constant.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum StrTest {
    StartsWith(String),
    EndsWith(String),
    Contains(String),
    /// SQL LIKE as arrow's `like`/`ilike` kernels do it: `%`, `_`, backslash escapes.
    Like {
        pattern: String,
        case_insensitive: bool,
    },
}

/// An operation. The comment gives the signature; `T` is any type of the class named.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    /// `() -> T`: column `.0` of [`super::Loop::inputs`].
    Input(u32),
    /// `() -> T`.
    Const(Lit),
    /// `() -> I64`: the row's index in the source (the morsel's base plus its position before any
    /// filter). What a generated range is made from.
    RowIndex,

    /// `(T, T) -> T` over ints and floats. Floats: of two NaNs the first operand's is the result,
    /// of one that one, quieted (so do `Sub`, `Mul` and `Div`).
    Add(Overflow),
    Sub(Overflow),
    Mul(Overflow),
    /// `(T, T) -> T`. Ints: truncates; a zero divisor and MIN / -1 fail. Floats: IEEE 754.
    Div,
    /// `(T, T) -> T`. Ints: sign of the dividend; a zero divisor fails, MIN % -1 is 0.
    /// Floats: `fmod`.
    Rem,
    /// `(T) -> T` over signed ints and floats (sign flip).
    Neg(Overflow),
    /// `(T) -> T` over signed ints and floats.
    Abs(Overflow),
    /// `(T, T) -> T` over ints.
    BitAnd,
    BitOr,
    BitXor,
    /// `(T, T) -> T` over ints; the count is taken modulo the width; `Shr` is arithmetic for
    /// signed types.
    Shl,
    Shr,

    /// `(T, T) -> Bool`. Floats by total order after -0.0 became 0.0; strings by bytes;
    /// false < true.
    Cmp(CmpOp),
    /// `(T, T) -> Bool`, never null: IS DISTINCT FROM, with the equality of `Cmp`.
    Distinct,
    /// `(Bool, Bool) -> Bool`, three-valued.
    And,
    Or,
    /// `(Bool) -> Bool`.
    Not,
    /// `(T) -> Bool`, never null.
    IsValid,
    /// `(Bool) -> Bool`, never null: true and valid.
    IsTrue,

    /// `(Bool, T, T) -> T`: the second where the first is true and valid, else the third.
    Select,
    /// `(T, T) -> T`: the first where it is valid, else the second.
    Coalesce,
    /// `(T, Bool) -> T`: the first, made null where the second is true and valid.
    NullIf,
    /// `(T, Bool) -> T`: the first; fails with this message (an [`crate::run::EvalError::Function`])
    /// where the second is false. What a function's domain check becomes: sqrt of a negative number.
    Guard(String),
    /// `(T) -> Bool`: whether the value equals one of the literals (none null, all of type `T`),
    /// by the equality of `Cmp`.
    InSet(Vec<Lit>),

    /// `(T) -> .0` among Bool, ints (I128 excluded) and floats. Int to int and float to int fail
    /// when out of range (floats truncate toward zero first; NaN fails); to float rounds to
    /// nearest even; Bool is 0 or 1; number to Bool is `!= 0`.
    Cast(Ty, OnFail),
    /// `(I128) -> I128`: multiplies by 10^delta, or for negative delta divides, rounding half away
    /// from zero; fails on overflow or when more than `precision` digits result.
    DecRescale {
        delta: i8,
        precision: u8,
        /// The result's scale; for messages only.
        scale: i8,
        fail: OnFail,
    },
    /// `(int) -> I128`: times 10^scale; fails when more than `precision` digits result. A negative
    /// scale divides, truncating.
    DecFromInt {
        scale: i8,
        precision: u8,
        fail: OnFail,
    },
    /// `(I128) -> .to`, an int type: over 10^scale, truncating; fails when out of range.
    DecToInt {
        scale: i8,
        to: Ty,
        fail: OnFail,
    },
    /// `(float) -> I128`: `(x * 10^scale).round()`; fails on NaN, infinities and more than
    /// `precision` digits.
    DecFromFloat {
        scale: i8,
        precision: u8,
        fail: OnFail,
    },
    /// `(I128) -> F64 or F32`: `x as f64 / 10^scale`, for F32 then rounded.
    DecToFloat {
        scale: i8,
        to: Ty,
    },
    /// `(I128, I128) -> I128`: `(a * 10^left_pow) / (b * 10^right_pow)`, truncating; fails on
    /// overflow and on zero.
    DecDiv {
        left_pow: u8,
        right_pow: u8,
    },

    /// `(float) -> float`.
    Math(MathFn, Precision),
    /// `(float, float) -> float`.
    MathBin(MathBin, Precision),

    /// `(I32 days | I64 ticks) -> I32`. Null, as in arrow, outside chrono's calendar, which goes
    /// from -262143-01-01 to 262142-12-31; clock parts of a date are 0 even there.
    DatePart {
        part: DatePart,
        unit: TimeUnit,
    },
    /// `(I32 days | I64 ticks) -> the same`: the start of the calendar unit that holds it. To a
    /// coarse unit it fails, as DataFusion does, when the ticks or the result do not fit 64 bits
    /// of nanoseconds, or the days 32 bits. To others it cannot fail: ticks longer than the unit
    /// are left alone, and less than a unit above the minimum the result wraps.
    DateTrunc {
        to: TruncTo,
        unit: TimeUnit,
    },

    /// `(I32 days | I64 ticks) -> the same`: plus the interval, or minus it. Months come first, and end
    /// on the month's last day where it is shorter; then days, then nanoseconds, of which a date takes
    /// whole days (truncating). Fails, as in arrow, when value, result or a step between them lies outside
    /// chrono's calendar, or the result does not fit. No part of the interval is its type's minimum.
    AddInterval {
        unit: TimeUnit,
        months: i32,
        days: i32,
        nanos: i64,
        subtract: bool,
    },

    /// `(Str) -> Bool`.
    StrTest(StrTest),
    /// `(Str) -> I32`.
    StrLen(Bound),
    /// `(Str, I64) -> Str` or `(Str, I64, I64) -> Str`: SQL substr over code points, positions
    /// from 1, a start below 1 uses up length; a negative length fails, and so does the start
    /// `i64::MIN`.
    Substr,

    /// `(T, ...) -> U32`, at most 16: the entry of the key in the table of a join, null where no build row
    /// has it. Keys are equal as for GROUP BY, except that NULLs are only if `null_equal` says so.
    Probe {
        join: u32,
        null_equal: bool,
    },
    /// `(U32) -> U32`: the build rows of an entry. Only in a [`super::Step::Expand`], which has a row for each
    /// of them; with `outer` also one, null, for a row without entry.
    Expand {
        join: u32,
        outer: bool,
    },
    /// `(U32) -> .ty`: a column of the build side at a build row.
    Fetch {
        join: u32,
        column: u32,
        ty: Ty,
        nullable: bool,
    },
}

/// Keys of a join at most; more are left to others.
pub const MOST_JOIN_KEYS: usize = 16;

impl Op {
    /// The result's type and nullability for arguments of these types and nullabilities, or what
    /// is wrong with them. For [`Op::Input`] the caller knows better and must not ask.
    pub fn infer(&self, args: &[(Ty, bool)]) -> Result<(Ty, bool), String> {
        let strict = args.iter().any(|a| a.1);
        let ty = |i: usize| -> Result<Ty, String> {
            args.get(i).map(|a| a.0).ok_or_else(|| format!("{self:?} lacks argument {i}"))
        };
        let want = |ok: bool| -> Result<(), String> {
            if ok { Ok(()) } else { Err(format!("{self:?} does not take arguments of types {args:?}")) }
        };
        let arity = |n: usize| want(args.len() == n);
        let same2 = || -> Result<Ty, String> {
            arity(2)?;
            want(args[0].0 == args[1].0)?;
            Ok(args[0].0)
        };
        let or_null = |fail: OnFail| strict || fail == OnFail::Null;
        Ok(match self {
            Op::Input(_) => return Err("an input's type comes from its column".to_owned()),
            Op::Const(lit) => {
                arity(0)?;
                (lit.ty(), lit.is_null())
            }
            Op::RowIndex => {
                arity(0)?;
                (Ty::I64, false)
            }
            Op::Add(o) | Op::Sub(o) | Op::Mul(o) => {
                let t = same2()?;
                want(t.is_int() || (t.is_float() && *o == Overflow::Wrap))?;
                (t, strict || *o == Overflow::Null)
            }
            Op::Div | Op::Rem => {
                let t = same2()?;
                want(t.is_numeric())?;
                (t, strict)
            }
            Op::Neg(o) | Op::Abs(o) => {
                arity(1)?;
                let t = ty(0)?;
                want(t.is_signed_int() || (t.is_float() && *o == Overflow::Wrap))?;
                (t, strict || *o == Overflow::Null)
            }
            Op::BitAnd | Op::BitOr | Op::BitXor | Op::Shl | Op::Shr => {
                let t = same2()?;
                want(t.is_int() && t != Ty::I128)?;
                (t, strict)
            }
            Op::Cmp(_) => {
                same2()?;
                (Ty::Bool, strict)
            }
            Op::Distinct => {
                same2()?;
                (Ty::Bool, false)
            }
            Op::And | Op::Or => {
                want(same2()? == Ty::Bool)?;
                (Ty::Bool, strict)
            }
            Op::Not => {
                arity(1)?;
                want(ty(0)? == Ty::Bool)?;
                (Ty::Bool, strict)
            }
            Op::IsValid => {
                arity(1)?;
                (Ty::Bool, false)
            }
            Op::IsTrue => {
                arity(1)?;
                want(ty(0)? == Ty::Bool)?;
                (Ty::Bool, false)
            }
            Op::Select => {
                arity(3)?;
                want(ty(0)? == Ty::Bool && args[1].0 == args[2].0)?;
                (args[1].0, args[1].1 || args[2].1)
            }
            Op::Coalesce => {
                let t = same2()?;
                (t, args[0].1 && args[1].1)
            }
            Op::NullIf => {
                arity(2)?;
                want(ty(1)? == Ty::Bool)?;
                (args[0].0, true)
            }
            Op::Guard(_) => {
                arity(2)?;
                want(ty(1)? == Ty::Bool)?;
                (ty(0)?, strict)
            }
            Op::InSet(set) => {
                arity(1)?;
                let t = ty(0)?;
                want(set.iter().all(|l| !l.is_null() && l.ty() == t))?;
                (Ty::Bool, strict)
            }
            Op::Cast(to, fail) => {
                arity(1)?;
                let plain = |t: Ty| t == Ty::Bool || (t.is_numeric() && t != Ty::I128);
                want(plain(ty(0)?) && plain(*to))?;
                (
                    *to,
                    if self.can_fail(&[args[0].0]) || *fail == OnFail::Null {
                        or_null(*fail)
                    } else {
                        strict
                    },
                )
            }
            Op::DecRescale { fail, .. } => {
                arity(1)?;
                want(ty(0)? == Ty::I128)?;
                (Ty::I128, or_null(*fail))
            }
            Op::DecFromInt { fail, .. } => {
                arity(1)?;
                want(ty(0)?.is_int() && ty(0)? != Ty::I128)?;
                (Ty::I128, or_null(*fail))
            }
            Op::DecToInt { to, fail, .. } => {
                arity(1)?;
                want(ty(0)? == Ty::I128 && to.is_int() && *to != Ty::I128)?;
                (*to, or_null(*fail))
            }
            Op::DecFromFloat { fail, .. } => {
                arity(1)?;
                want(ty(0)?.is_float())?;
                (Ty::I128, or_null(*fail))
            }
            Op::DecToFloat { to, .. } => {
                arity(1)?;
                want(ty(0)? == Ty::I128 && to.is_float())?;
                (*to, strict)
            }
            Op::DecDiv { .. } => {
                want(same2()? == Ty::I128)?;
                (Ty::I128, strict)
            }
            Op::Math(..) => {
                arity(1)?;
                want(ty(0)?.is_float())?;
                (ty(0)?, strict)
            }
            Op::MathBin(..) => {
                let t = same2()?;
                want(t.is_float())?;
                (t, strict)
            }
            Op::DatePart { part, unit } => {
                arity(1)?;
                want(ty(0)? == unit.ty())?;
                (Ty::I32, strict || part.can_be_null(*unit))
            }
            Op::DateTrunc { unit, .. } | Op::AddInterval { unit, .. } => {
                arity(1)?;
                want(ty(0)? == unit.ty())?;
                (unit.ty(), strict)
            }
            Op::StrTest(_) => {
                arity(1)?;
                want(ty(0)? == Ty::Str)?;
                (Ty::Bool, strict)
            }
            Op::StrLen(_) => {
                arity(1)?;
                want(ty(0)? == Ty::Str)?;
                (Ty::I32, strict)
            }
            Op::Substr => {
                want(args.len() == 2 || args.len() == 3)?;
                want(args[0].0 == Ty::Str && args[1..].iter().all(|a| a.0 == Ty::I64))?;
                (Ty::Str, strict)
            }
            Op::Probe { .. } => {
                want(!args.is_empty() && args.len() <= MOST_JOIN_KEYS)?;
                (Ty::U32, true)
            }
            Op::Expand { outer, .. } => {
                arity(1)?;
                want(ty(0)? == Ty::U32)?;
                (Ty::U32, *outer)
            }
            Op::Fetch { ty: of, nullable, .. } => {
                arity(1)?;
                want(ty(0)? == Ty::U32)?;
                (*of, *nullable || strict)
            }
        })
    }

    /// Whether the op can make the query err, given its arguments' types; only such ops may carry
    /// `under`.
    pub fn can_fail(&self, args: &[Ty]) -> bool {
        match self {
            Op::Add(o) | Op::Sub(o) | Op::Mul(o) | Op::Neg(o) | Op::Abs(o) => *o == Overflow::Err,
            Op::Div | Op::Rem => args.first().is_some_and(|t| t.is_int()),
            Op::Cast(to, fail) => {
                *fail == OnFail::Err && args.first().is_some_and(|from| !cast_is_total(*from, *to))
            }
            Op::DecRescale { fail, .. }
            | Op::DecFromInt { fail, .. }
            | Op::DecToInt { fail, .. }
            | Op::DecFromFloat { fail, .. } => *fail == OnFail::Err,
            Op::DecDiv { .. } | Op::AddInterval { .. } | Op::Substr | Op::Guard(_) => true,
            Op::DateTrunc { to, .. } => to.is_coarse(),
            Op::Input(_)
            | Op::Const(_)
            | Op::RowIndex
            | Op::BitAnd
            | Op::BitOr
            | Op::BitXor
            | Op::Shl
            | Op::Shr
            | Op::Cmp(_)
            | Op::Distinct
            | Op::And
            | Op::Or
            | Op::Not
            | Op::IsValid
            | Op::IsTrue
            | Op::Select
            | Op::Coalesce
            | Op::NullIf
            | Op::InSet(_)
            | Op::DecToFloat { .. }
            | Op::Math(..)
            | Op::MathBin(..)
            | Op::DatePart { .. }
            | Op::StrTest(_)
            | Op::StrLen(_)
            | Op::Probe { .. }
            | Op::Expand { .. }
            | Op::Fetch { .. } => false,
        }
    }
}

impl TimeUnit {
    /// The integer type that holds values of this unit.
    pub fn ty(self) -> Ty {
        match self {
            TimeUnit::Day => Ty::I32,
            TimeUnit::Second | TimeUnit::Milli | TimeUnit::Micro | TimeUnit::Nano => Ty::I64,
        }
    }
}

/// Whether every value of `from` has a counterpart in `to`, in the sense of [`Op::Cast`].
pub fn cast_is_total(from: Ty, to: Ty) -> bool {
    if from == to || to.is_float() || to == Ty::Bool || from == Ty::Bool {
        return true;
    }
    match (int_range(from), int_range(to)) {
        (Some((a, b)), Some((c, d))) => c <= a && b <= d,
        _ => false,
    }
}

/// The least and greatest value of an int type; `None` for other types. (U64 fits in i128.)
pub fn int_range(ty: Ty) -> Option<(i128, i128)> {
    Some(match ty {
        Ty::I8 => (i128::from(i8::MIN), i128::from(i8::MAX)),
        Ty::I16 => (i128::from(i16::MIN), i128::from(i16::MAX)),
        Ty::I32 => (i128::from(i32::MIN), i128::from(i32::MAX)),
        Ty::I64 => (i128::from(i64::MIN), i128::from(i64::MAX)),
        Ty::I128 => (i128::MIN, i128::MAX),
        Ty::U8 => (0, i128::from(u8::MAX)),
        Ty::U16 => (0, i128::from(u16::MAX)),
        Ty::U32 => (0, i128::from(u32::MAX)),
        Ty::U64 => (0, i128::from(u64::MAX)),
        Ty::Bool | Ty::F32 | Ty::F64 | Ty::Str => return None,
    })
}
