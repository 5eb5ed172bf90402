//! The operations of a function, their types, and when they bail.
//!
//! They mean what Python's operations on values of these types mean, to the last bit. "Bails" says for which
//! operands the row is given to Python, be it because Python raises there, because its result does not fit, or because
//! the exact answer is not worth compiling. Operands are never None unless the text says so. Texts are counted in code
//! points; an operation "on ASCII" bails when an operand is not ASCII and the answer could depend on it.

use super::{Base, Compare, TableId, Type};

/// Functions of one float, of Python's `math`. Those that raise for an operand (domain, overflow) bail there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Math1 {
    Sqrt,
    Exp,
    Exp2,
    Expm1,
    Log,
    Log2,
    Log10,
    Log1p,
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
    Erf,
    Erfc,
    /// `math.degrees`, `math.radians`: one multiplication.
    Degrees,
    Radians,
}

/// Functions of two floats. Those that raise for their operands bail there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Math2 {
    /// `math.pow`.
    Pow,
    Atan2,
    Hypot,
    Fmod,
    Copysign,
}

/// To which whole number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rounding {
    Floor,
    Ceil,
    Trunc,
    /// To the nearest, halves to even.
    Even,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FloatTest {
    IsNan,
    IsInf,
    IsFinite,
    /// `x.is_integer()`.
    IsInteger,
}

/// `str.isdigit` and the like, on ASCII.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CharClass {
    Digit,
    Alpha,
    Alnum,
    Space,
    Upper,
    Lower,
    /// Any text: answers for all code points.
    Ascii,
}

/// Which end `strip` works on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Strip {
    Both,
    Left,
    Right,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StrTest {
    StartsWith,
    EndsWith,
    Contains,
}

/// Fields of dates and times, as ints. The clock's are those of a datetime only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DateField {
    Year,
    Month,
    Day,
    /// Monday is 0.
    Weekday,
    /// Monday is 1.
    IsoWeekday,
    IsoYear,
    IsoWeek,
    /// `timetuple().tm_yday`.
    DayOfYear,
    ToOrdinal,
    Hour,
    Minute,
    Second,
    Microsecond,
}

/// An operation. The comment gives the signature; `T?` is an optional `T`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    // Constants and variables.
    Bool(bool),
    Int(i64),
    /// By its bits.
    Float(u64),
    Str(String),
    /// `() -> date / datetime`: the days or microseconds since 1970.
    Date(i64),
    DateTime(i64),
    /// `() -> T?`: None.
    None(Base),
    /// `() -> T`: the local's value.
    Get(super::Local),

    // None.
    /// `(T) -> T?`.
    Some,
    /// `(T?) -> Bool`.
    IsNone,
    /// `(T?) -> T`; bails where it is None.
    Unwrap,

    // Choice. Both operands are computed before: only what cannot bail and costs little stands in them.
    /// `(Bool, T, T) -> T`, T any type, optional too.
    Select,
    /// `(Bool) -> Bool`.
    Not,
    /// `(Bool, Bool) -> Bool`.
    And,
    Or,
    Xor,

    // Ints: each bails when the result does not fit 64 bits.
    /// `(Int, Int) -> Int` and `(Float, Float) -> Float` (IEEE 754, one rounding each, never fused).
    Add,
    Sub,
    Mul,
    /// `(Int) -> Int`, `(Float) -> Float`.
    Neg,
    Abs,
    /// `(Int, Int) -> Float`: bails on zero and on operands beyond 2**53. `(Float, Float) -> Float`: bails on zero.
    TrueDiv,
    /// `(Int, Int) -> Int`, `(Float, Float) -> Float`: Python's floor division and its remainder, whose sign is the
    /// divisor's; floats by CPython's `float_divmod`. Bail on zero and on MIN // -1.
    FloorDiv,
    Mod,
    /// `(Int, Int) -> Int`: bails on a negative exponent and on overflow (0 ** 0 is 1).
    /// `(Float, Float) -> Float`: Python's `**`; bails where that raises or is complex.
    Pow,
    /// `(Int, Int) -> Int`: bails on negative counts and, to the left, on overflow.
    Shl,
    Shr,
    /// `(Int, Int) -> Int`.
    BitAnd,
    BitOr,
    BitXor,
    /// `(Int) -> Int`: ~x.
    Invert,
    /// `(Int, Int) -> Int`.
    Gcd,

    // Conversions.
    /// `(Bool) -> Int`.
    BoolToInt,
    /// `(Int) -> Float`, to nearest even.
    IntToFloat,
    /// `(Float) -> Int`: `int()`, `math.floor`, `math.ceil`, `round(x)` (half to even); each bails on NaN, infinities
    /// and results beyond 64 bits.
    Trunc,
    Floor,
    Ceil,
    RoundEven,
    /// `(Float) -> Float`: a whole float; zeros keep the sign, NaN and infinities stay. numpy's `floor`, `rint`, ...
    Whole(Rounding),
    /// `(Float) -> Float`: the nearest value of single precision, as numpy's `float32` has it.
    ToSingle,
    /// `(Float, Int) -> Float`: `round(x, n)`, correctly rounded as CPython does; bails where that raises.
    RoundDigits,
    /// `(Int, Int) -> Int`: `round(i, n)`.
    RoundInt,

    // Comparisons.
    /// `(T, T) -> Bool`: ints, floats (ordered, NaN is unequal to all), bools, texts by code points, dates, datetimes.
    Cmp(Compare),
    /// `(Int, Float) -> Bool`: exact.
    CmpIntFloat(Compare),

    // math.
    /// `(Float) -> Float`. `fast`: the value flows by arithmetic to the result only, so that a vector kernel within
    /// 1 ulp may compute it; else libm does.
    Math1 {
        function: Math1,
        fast: bool,
    },
    /// `(Float, Float) -> Float`.
    Math2 {
        function: Math2,
        fast: bool,
    },
    /// `(Float, Float) -> Float`: the quotient of IEEE 754; never bails. numpy's `/`.
    IeeeDiv,
    /// `(Float) -> Float`: as `Math1`, but where that raises this is what the C library gives; never bails. numpy's.
    IeeeMath1 {
        function: Math1,
        fast: bool,
    },
    /// `(Float) -> Bool`.
    FloatTest(FloatTest),

    // Texts.
    /// `(Str) -> Int`: code points.
    Len,
    /// `(Str, Int) -> Str`: `s[i]`, negative from the end; bails where it raises.
    CharAt,
    /// `(Str, Int, Int) -> Str`: `s[a:b]`, with Python's clamping and negative bounds. `s[a:]` has `i64::MAX` for b,
    /// `s[:b]` has 0 for a.
    Slice,
    /// `(Str) -> Str`: `s[::-1]`.
    Reverse,
    /// `(Str, Str) -> Str`.
    Concat,
    /// `(Str, Int) -> Str`: bails beyond 1 MiB.
    Repeat,
    /// `(Str, Str, Int, Int) -> Int`: `s.find(t, a, b)`, bounds as `Slice`; -1 if there is none.
    Find,
    RFind,
    /// `(Str, Str) -> Bool`: the first starts with, ends with, contains the second.
    Test(StrTest),
    /// `(Str, Str) -> Int`: `s.count(t)`.
    Count,
    /// `(Str) -> Str`, on ASCII.
    Lower,
    Upper,
    Title,
    Capitalize,
    SwapCase,
    /// `(Str) -> Str`: white space; on ASCII (only the ends matter).
    StripSpace(Strip),
    /// `(Str, Str) -> Str`: the characters of the second.
    StripChars(Strip),
    /// `(Str, Str) -> Str`.
    RemovePrefix,
    RemoveSuffix,
    /// `(Str, Str, Str, Int) -> Str`: `s.replace(old, new, count)`, all for a negative count.
    Replace,
    /// `(Str, Str, Int) -> Int`: `len(s.split(sep, maxsplit))`, any number for a negative one; bails on an empty
    /// separator.
    SplitCount,
    /// `(Str, Str, Int, Int) -> Str`: `s.split(sep, maxsplit)[i]`, i may be negative; bails where it raises.
    SplitAt,
    /// `(Str) -> Int` and `(Str, Int) -> Str`: `s.split()` at white space, on ASCII.
    WordCount,
    WordAt,
    /// `(Str, Str, Int) -> Str`: part i (0, 1, 2) of `s.partition(sep)`, `s.rpartition(sep)`; bails on an empty one.
    PartitionAt,
    RPartitionAt,
    /// `(Str) -> Bool`.
    Is(CharClass),
    /// `(Str, Int) -> Str`.
    ZFill,
    /// `(Str, Int, Str) -> Str`: the last is one character, else bails.
    LJust,
    RJust,
    Center,
    /// `(Str) -> Int`: `int(s)`, base 10, with white space, sign and underscores as Python has them; bails on what it
    /// refuses, on other digits than ASCII's and beyond 64 bits.
    ParseInt,
    /// `(Str, Int) -> Int`: `int(s, base)`.
    ParseIntBase,
    /// `(Str) -> Float`: `float(s)`; bails on what it refuses.
    ParseFloat,
    /// `(Int) -> Str`.
    IntToStr,
    /// `(Float) -> Str`: `repr`, the shortest that reads back.
    FloatToStr,
    /// `(Bool) -> Str`.
    BoolToStr,
    /// `(Int) -> Str`, `(Float) -> Str`, `(Str) -> Str`: `format(x, spec)`; the spec was checked to be one of those
    /// that `format.rs` knows.
    Format(String),
    /// `(Str) -> Int`: bails unless it is one character.
    Ord,
    /// `(Int) -> Str`: bails outside Unicode and on surrogates.
    Chr,

    // Captured tables.
    /// `(K) -> Bool`: whether the key is in the table.
    Has(TableId),
    /// `(K) -> V`: the key's value; bails where there is none.
    Lookup(TableId),

    // Dates.
    /// `(Date or DateTime) -> Int`.
    Field(DateField),
    /// `(DateTime) -> Date`.
    DateOf,
    /// `(Date) -> DateTime`: its midnight.
    DateTimeOf,
    /// `(Date, Date) -> Int`: days between. `(DateTime, DateTime) -> Int`: microseconds between.
    DateDiff,
    /// `(Date, Int) -> Date`: plus days. `(DateTime, Int) -> DateTime`: plus microseconds. Bail outside the years 1 to
    /// 9999.
    DateAdd,
    /// `(Int, Int, Int) -> Date`: year, month, day; bails where it raises.
    MakeDate,
}

impl Op {
    /// The type of the result, or what is wrong with the operands. `locals`, `tables`: of the function.
    ///
    /// # Errors
    /// A sentence for the verifier.
    pub fn infer(&self, args: &[Type], locals: &[Type], tables: &[super::Table]) -> Result<Type, String> {
        const B: Type = Type::BOOL;
        const I: Type = Type::INT;
        const F: Type = Type::FLOAT;
        const S: Type = Type::STR;
        let is = |signature: &[Type], result: Type| {
            if args == signature {
                Ok(result)
            } else {
                let list = |types: &[Type]| types.iter().map(Type::to_string).collect::<Vec<_>>().join(", ");
                Err(format!("takes ({}), not ({})", list(signature), list(args)))
            }
        };
        // The operand's type decides, and there must be one.
        let first = args.first().copied();
        let of = |allowed: &[Type], count: usize, result: Option<Type>| match first {
            Some(t) if allowed.contains(&t) => is(&vec![t; count], result.unwrap_or(t)),
            Some(t) => Err(format!("does not take {t}")),
            None => Err("has no operands".to_owned()),
        };
        const DATE: Type = Type::of(Base::Date);
        const DATETIME: Type = Type::of(Base::DateTime);
        match self {
            Op::Bool(_) => is(&[], B),
            Op::Int(_) => is(&[], I),
            Op::Float(_) => is(&[], F),
            Op::Str(_) => is(&[], S),
            Op::Date(_) => is(&[], DATE),
            Op::DateTime(_) => is(&[], DATETIME),
            Op::None(base) => is(&[], Type::or_none(*base)),
            Op::Get(local) => match locals.get(local.0 as usize) {
                Some(ty) => is(&[], *ty),
                None => Err(format!("there is no local {}", local.0)),
            },
            Op::Some | Op::IsNone | Op::Unwrap => {
                let [t] = args else { return Err("takes one operand".to_owned()) };
                let wanted = !matches!(self, Op::Some);
                if t.optional != wanted {
                    return Err(format!("does not take {t}"));
                }
                Ok(match self {
                    Op::Some => Type::or_none(t.base),
                    Op::IsNone => B,
                    _ => Type::of(t.base),
                })
            }
            Op::Select => match args {
                [c, a, b] if *c == B && a == b => Ok(*a),
                _ => Err("takes a bool and two operands of one type".to_owned()),
            },
            Op::Not => is(&[B], B),
            Op::And | Op::Or | Op::Xor => is(&[B, B], B),
            Op::Add | Op::Sub | Op::Mul | Op::FloorDiv | Op::Mod | Op::Pow => of(&[I, F], 2, None),
            Op::Neg | Op::Abs => of(&[I, F], 1, None),
            Op::TrueDiv => of(&[I, F], 2, Some(F)),
            Op::Shl | Op::Shr | Op::BitAnd | Op::BitOr | Op::BitXor | Op::Gcd | Op::RoundInt => {
                is(&[I, I], I)
            }
            Op::Invert => is(&[I], I),
            Op::BoolToInt => is(&[B], I),
            Op::IntToFloat => is(&[I], F),
            Op::Trunc | Op::Floor | Op::Ceil | Op::RoundEven => is(&[F], I),
            Op::Whole(_) | Op::ToSingle => is(&[F], F),
            Op::RoundDigits => is(&[F, I], F),
            Op::Cmp(_) => of(&[B, I, F, S, DATE, DATETIME], 2, Some(B)),
            Op::CmpIntFloat(_) => is(&[I, F], B),
            Op::Math1 { .. } | Op::IeeeMath1 { .. } => is(&[F], F),
            Op::Math2 { .. } | Op::IeeeDiv => is(&[F, F], F),
            Op::FloatTest(_) => is(&[F], B),
            Op::Len | Op::WordCount | Op::ParseInt | Op::Ord => is(&[S], I),
            Op::CharAt | Op::Repeat | Op::WordAt | Op::ZFill => is(&[S, I], S),
            Op::Slice => is(&[S, I, I], S),
            Op::Concat | Op::RemovePrefix | Op::RemoveSuffix | Op::StripChars(_) => is(&[S, S], S),
            Op::Find | Op::RFind => is(&[S, S, I, I], I),
            Op::Test(_) => is(&[S, S], B),
            Op::Count => is(&[S, S], I),
            Op::Reverse
            | Op::Lower
            | Op::Upper
            | Op::Title
            | Op::Capitalize
            | Op::SwapCase
            | Op::StripSpace(_) => is(&[S], S),
            Op::Replace => is(&[S, S, S, I], S),
            Op::SplitCount => is(&[S, S, I], I),
            Op::SplitAt => is(&[S, S, I, I], S),
            Op::PartitionAt | Op::RPartitionAt => is(&[S, S, I], S),
            Op::Is(_) => is(&[S], B),
            Op::LJust | Op::RJust | Op::Center => is(&[S, I, S], S),
            Op::ParseIntBase => is(&[S, I], I),
            Op::ParseFloat => is(&[S], F),
            Op::IntToStr | Op::Chr => is(&[I], S),
            Op::FloatToStr => is(&[F], S),
            Op::BoolToStr => is(&[B], S),
            Op::Format(_) => of(&[I, F, S], 1, Some(S)),
            Op::Has(table) | Op::Lookup(table) => match tables.get(table.0 as usize) {
                Some(t) => {
                    let result = if matches!(self, Op::Has(_)) { B } else { t.values };
                    is(&[Type::of(t.keys)], result)
                }
                None => Err(format!("there is no table {}", table.0)),
            },
            Op::Field(field) => match field {
                DateField::Hour | DateField::Minute | DateField::Second | DateField::Microsecond => {
                    is(&[DATETIME], I)
                }
                DateField::Year
                | DateField::Month
                | DateField::Day
                | DateField::Weekday
                | DateField::IsoWeekday
                | DateField::IsoYear
                | DateField::IsoWeek
                | DateField::DayOfYear
                | DateField::ToOrdinal => of(&[DATE, DATETIME], 1, Some(I)),
            },
            Op::DateOf => is(&[DATETIME], DATE),
            Op::DateTimeOf => is(&[DATE], DATETIME),
            Op::DateDiff => of(&[DATE, DATETIME], 2, Some(I)),
            Op::DateAdd => match first {
                Some(t) if t == DATE || t == DATETIME => is(&[t, I], t),
                _ => Err("takes a date or datetime and an int".to_owned()),
            },
            Op::MakeDate => is(&[I, I, I], DATE),
        }
    }
}
