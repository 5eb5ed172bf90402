//! The words of the text form for the parameters of operations.

use super::super::agg::AggFunc;
use super::super::op::{Bound, CmpOp, DatePart, MathBin, MathFn, Overflow, Precision, TimeUnit, TruncTo};

/// A parameter that is written as one word.
pub(super) trait Named: Sized {
    fn name(&self) -> &'static str;
    fn from_name(name: &str) -> Option<Self>;
}

macro_rules! names {
    ($($ty:ident { $($variant:ident = $name:literal),* $(,)? })*) => { $(
        impl Named for $ty {
            fn name(&self) -> &'static str {
                match self { $($ty::$variant => $name,)* }
            }
            fn from_name(name: &str) -> Option<Self> {
                match name { $($name => Some($ty::$variant),)* _ => None }
            }
        }
    )* };
}

names! {
    Overflow { Wrap = "wrap", Err = "err", Null = "null" }
    CmpOp { Eq = "eq", Ne = "ne", Lt = "lt", Le = "le", Gt = "gt", Ge = "ge" }
    Precision { Fast = "fast", Libm = "libm" }
    MathFn {
        Sqrt = "sqrt", Floor = "floor", Ceil = "ceil", Trunc = "trunc", Round = "round",
        Signum = "signum", Exp = "exp", Ln = "ln", Log2 = "log2", Log10 = "log10", Sin = "sin",
        Cos = "cos", Tan = "tan", Asin = "asin", Acos = "acos", Atan = "atan", Sinh = "sinh",
        Cosh = "cosh", Tanh = "tanh", Asinh = "asinh", Acosh = "acosh", Atanh = "atanh",
        Cbrt = "cbrt", Ln1p = "ln_1p", Expm1 = "exp_m1",
    }
    MathBin { Pow = "pow", Atan2 = "atan2" }
    TimeUnit {
        Day = "day", Second = "second", Milli = "milli", Micro = "micro", Nano = "nano",
    }
    DatePart {
        Year = "year", Quarter = "quarter", Month = "month", Week = "week", Day = "day",
        DayOfWeek = "day_of_week", DayOfYear = "day_of_year", Hour = "hour", Minute = "minute",
        Second = "second", Millisecond = "millisecond", Microsecond = "microsecond",
        Nanosecond = "nanosecond",
    }
    TruncTo {
        Year = "year", Quarter = "quarter", Month = "month", Week = "week", Day = "day",
        Hour = "hour", Minute = "minute", Second = "second", Millisecond = "millisecond",
        Microsecond = "microsecond",
    }
    Bound { Chars = "chars", Bytes = "bytes" }
    AggFunc { Count = "count", Sum = "sum", Min = "min", Max = "max", Spread = "spread" }
}
