//! The names of operations in text, and the list of all that have no constant.

use super::{CharClass, Compare, DateField, FloatTest, Math1, Math2, Op, Rounding, StrTest, Strip};
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::LazyLock;

const COMPARES: [(Compare, &str); 6] = [
    (Compare::Eq, "eq"),
    (Compare::Ne, "ne"),
    (Compare::Lt, "lt"),
    (Compare::Le, "le"),
    (Compare::Gt, "gt"),
    (Compare::Ge, "ge"),
];

const FUNCTIONS: [(Math1, &str); 25] = [
    (Math1::Sqrt, "sqrt"),
    (Math1::Exp, "exp"),
    (Math1::Exp2, "exp2"),
    (Math1::Expm1, "expm1"),
    (Math1::Log, "log"),
    (Math1::Log2, "log2"),
    (Math1::Log10, "log10"),
    (Math1::Log1p, "log1p"),
    (Math1::Sin, "sin"),
    (Math1::Cos, "cos"),
    (Math1::Tan, "tan"),
    (Math1::Asin, "asin"),
    (Math1::Acos, "acos"),
    (Math1::Atan, "atan"),
    (Math1::Sinh, "sinh"),
    (Math1::Cosh, "cosh"),
    (Math1::Tanh, "tanh"),
    (Math1::Asinh, "asinh"),
    (Math1::Acosh, "acosh"),
    (Math1::Atanh, "atanh"),
    (Math1::Cbrt, "cbrt"),
    (Math1::Erf, "erf"),
    (Math1::Erfc, "erfc"),
    (Math1::Degrees, "degrees"),
    (Math1::Radians, "radians"),
];

const FUNCTIONS2: [(Math2, &str); 5] = [
    (Math2::Pow, "math_pow"),
    (Math2::Atan2, "atan2"),
    (Math2::Hypot, "hypot"),
    (Math2::Fmod, "fmod"),
    (Math2::Copysign, "copysign"),
];

const ROUNDINGS: [(Rounding, &str); 4] = [
    (Rounding::Floor, "floor"),
    (Rounding::Ceil, "ceil"),
    (Rounding::Trunc, "trunc"),
    (Rounding::Even, "even"),
];

const FLOAT_TESTS: [(FloatTest, &str); 4] = [
    (FloatTest::IsNan, "is_nan"),
    (FloatTest::IsInf, "is_inf"),
    (FloatTest::IsFinite, "is_finite"),
    (FloatTest::IsInteger, "is_integer"),
];

const CLASSES: [(CharClass, &str); 7] = [
    (CharClass::Digit, "digit"),
    (CharClass::Alpha, "alpha"),
    (CharClass::Alnum, "alnum"),
    (CharClass::Space, "space"),
    (CharClass::Upper, "upper"),
    (CharClass::Lower, "lower"),
    (CharClass::Ascii, "ascii"),
];

const ENDS: [(Strip, &str); 3] = [(Strip::Both, "both"), (Strip::Left, "left"), (Strip::Right, "right")];

const TESTS: [(StrTest, &str); 3] =
    [(StrTest::StartsWith, "starts_with"), (StrTest::EndsWith, "ends_with"), (StrTest::Contains, "contains")];

const FIELDS: [(DateField, &str); 13] = [
    (DateField::Year, "year"),
    (DateField::Month, "month"),
    (DateField::Day, "day"),
    (DateField::Weekday, "weekday"),
    (DateField::IsoWeekday, "iso_weekday"),
    (DateField::IsoYear, "iso_year"),
    (DateField::IsoWeek, "iso_week"),
    (DateField::DayOfYear, "day_of_year"),
    (DateField::ToOrdinal, "to_ordinal"),
    (DateField::Hour, "hour"),
    (DateField::Minute, "minute"),
    (DateField::Second, "second"),
    (DateField::Microsecond, "microsecond"),
];

fn named<T: PartialEq>(list: &[(T, &'static str)], wanted: &T) -> &'static str {
    // The lists have every variant: `every_operation_has_a_name_of_its_own` goes through them.
    list.iter().find(|(variant, _)| variant == wanted).map_or("unnamed", |(_, name)| name)
}

impl Op {
    /// The name in text, without the constant.
    pub fn name(&self) -> Cow<'static, str> {
        let joined = |prefix: &str, name: &str| Cow::Owned(format!("{prefix}.{name}"));
        Cow::Borrowed(match self {
            Op::Bool(_) => "bool",
            Op::Int(_) => "int",
            Op::Float(_) => "float",
            Op::Str(_) => "str",
            Op::Date(_) => "date",
            Op::DateTime(_) => "datetime",
            Op::None(_) => "none",
            Op::Get(_) => "get",
            Op::Some => "some",
            Op::IsNone => "is_none",
            Op::Unwrap => "unwrap",
            Op::Select => "select",
            Op::Not => "not",
            Op::And => "and",
            Op::Or => "or",
            Op::Xor => "xor",
            Op::Add => "add",
            Op::Sub => "sub",
            Op::Mul => "mul",
            Op::Neg => "neg",
            Op::Abs => "abs",
            Op::TrueDiv => "true_div",
            Op::FloorDiv => "floor_div",
            Op::Mod => "mod",
            Op::Pow => "pow",
            Op::Shl => "shl",
            Op::Shr => "shr",
            Op::BitAnd => "bit_and",
            Op::BitOr => "bit_or",
            Op::BitXor => "bit_xor",
            Op::Invert => "invert",
            Op::Gcd => "gcd",
            Op::BoolToInt => "bool_to_int",
            Op::IntToFloat => "int_to_float",
            Op::Trunc => "trunc",
            Op::Floor => "floor",
            Op::Ceil => "ceil",
            Op::RoundEven => "round_even",
            Op::Whole(rounding) => return joined("whole", named(&ROUNDINGS, rounding)),
            Op::ToSingle => "to_single",
            Op::RoundDigits => "round_digits",
            Op::RoundInt => "round_int",
            Op::Cmp(op) => return joined("cmp", named(&COMPARES, op)),
            Op::CmpIntFloat(op) => return joined("cmp_int_float", named(&COMPARES, op)),
            Op::Math1 { function, fast } => {
                return joined(named(&FUNCTIONS, function), if *fast { "fast" } else { "libm" });
            }
            Op::Math2 { function, fast } => {
                return joined(named(&FUNCTIONS2, function), if *fast { "fast" } else { "libm" });
            }
            Op::IeeeDiv => "ieee_div",
            Op::IeeeMath1 { function, fast } => {
                let (name, how) = (named(&FUNCTIONS, function), if *fast { "fast" } else { "libm" });
                return Cow::Owned(format!("ieee_{name}.{how}"));
            }
            Op::FloatTest(test) => named(&FLOAT_TESTS, test),
            Op::Len => "len",
            Op::CharAt => "char_at",
            Op::Slice => "slice",
            Op::Reverse => "reverse",
            Op::Concat => "concat",
            Op::Repeat => "repeat",
            Op::Find => "find",
            Op::RFind => "rfind",
            Op::Test(test) => named(&TESTS, test),
            Op::Count => "count",
            Op::Lower => "lower",
            Op::Upper => "upper",
            Op::Title => "title",
            Op::Capitalize => "capitalize",
            Op::SwapCase => "swap_case",
            Op::StripSpace(ends) => return joined("strip_space", named(&ENDS, ends)),
            Op::StripChars(ends) => return joined("strip_chars", named(&ENDS, ends)),
            Op::RemovePrefix => "remove_prefix",
            Op::RemoveSuffix => "remove_suffix",
            Op::Replace => "replace",
            Op::SplitCount => "split_count",
            Op::SplitAt => "split_at",
            Op::WordCount => "word_count",
            Op::WordAt => "word_at",
            Op::PartitionAt => "partition_at",
            Op::RPartitionAt => "rpartition_at",
            Op::Is(class) => return joined("is", named(&CLASSES, class)),
            Op::ZFill => "zfill",
            Op::LJust => "ljust",
            Op::RJust => "rjust",
            Op::Center => "center",
            Op::ParseInt => "parse_int",
            Op::ParseIntBase => "parse_int_base",
            Op::ParseFloat => "parse_float",
            Op::IntToStr => "int_to_str",
            Op::FloatToStr => "float_to_str",
            Op::BoolToStr => "bool_to_str",
            Op::Format(_) => "format",
            Op::Ord => "ord",
            Op::Chr => "chr",
            Op::Has(_) => "has",
            Op::Lookup(_) => "lookup",
            Op::Field(field) => return joined("field", named(&FIELDS, field)),
            Op::DateOf => "date_of",
            Op::DateTimeOf => "datetime_of",
            Op::DateDiff => "date_diff",
            Op::DateAdd => "date_add",
            Op::MakeDate => "make_date",
        })
    }

    /// All operations that have no constant.
    pub fn plain() -> &'static [Op] {
        &PLAIN.0
    }

    /// The operation without constant that has this name.
    pub fn plain_by_name(name: &str) -> Option<&'static Op> {
        PLAIN.1.get(name).map(|at| &PLAIN.0[*at])
    }
}

/// Operations, and their places by name.
type Named = (Vec<Op>, HashMap<Cow<'static, str>, usize>);

static PLAIN: LazyLock<Named> = LazyLock::new(|| {
    let mut ops = vec![
        Op::Some,
        Op::IsNone,
        Op::Unwrap,
        Op::Select,
        Op::Not,
        Op::And,
        Op::Or,
        Op::Xor,
        Op::Add,
        Op::Sub,
        Op::Mul,
        Op::Neg,
        Op::Abs,
        Op::TrueDiv,
        Op::FloorDiv,
        Op::Mod,
        Op::Pow,
        Op::Shl,
        Op::Shr,
        Op::BitAnd,
        Op::BitOr,
        Op::BitXor,
        Op::Invert,
        Op::Gcd,
        Op::BoolToInt,
        Op::IntToFloat,
        Op::Trunc,
        Op::Floor,
        Op::Ceil,
        Op::RoundEven,
        Op::ToSingle,
        Op::RoundDigits,
        Op::RoundInt,
        Op::IeeeDiv,
        Op::Len,
        Op::CharAt,
        Op::Slice,
        Op::Reverse,
        Op::Concat,
        Op::Repeat,
        Op::Find,
        Op::RFind,
        Op::Count,
        Op::Lower,
        Op::Upper,
        Op::Title,
        Op::Capitalize,
        Op::SwapCase,
        Op::RemovePrefix,
        Op::RemoveSuffix,
        Op::Replace,
        Op::SplitCount,
        Op::SplitAt,
        Op::WordCount,
        Op::WordAt,
        Op::PartitionAt,
        Op::RPartitionAt,
        Op::ZFill,
        Op::LJust,
        Op::RJust,
        Op::Center,
        Op::ParseInt,
        Op::ParseIntBase,
        Op::ParseFloat,
        Op::IntToStr,
        Op::FloatToStr,
        Op::BoolToStr,
        Op::Ord,
        Op::Chr,
        Op::DateOf,
        Op::DateTimeOf,
        Op::DateDiff,
        Op::DateAdd,
        Op::MakeDate,
    ];
    for (compare, _) in COMPARES {
        ops.extend([Op::Cmp(compare), Op::CmpIntFloat(compare)]);
    }
    for fast in [false, true] {
        ops.extend(FUNCTIONS.iter().map(|(function, _)| Op::Math1 { function: *function, fast }));
        ops.extend(FUNCTIONS.iter().map(|(function, _)| Op::IeeeMath1 { function: *function, fast }));
        ops.extend(FUNCTIONS2.iter().map(|(function, _)| Op::Math2 { function: *function, fast }));
    }
    ops.extend(ROUNDINGS.iter().map(|(rounding, _)| Op::Whole(*rounding)));
    ops.extend(FLOAT_TESTS.iter().map(|(test, _)| Op::FloatTest(*test)));
    ops.extend(TESTS.iter().map(|(test, _)| Op::Test(*test)));
    ops.extend(CLASSES.iter().map(|(class, _)| Op::Is(*class)));
    ops.extend(FIELDS.iter().map(|(field, _)| Op::Field(*field)));
    for (ends, _) in ENDS {
        ops.extend([Op::StripSpace(ends), Op::StripChars(ends)]);
    }
    let by_name = ops.iter().enumerate().map(|(at, op)| (op.name(), at)).collect();
    (ops, by_name)
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_has_a_name_of_its_own() {
        for op in Op::plain() {
            assert_eq!(Op::plain_by_name(&op.name()), Some(op));
            assert!(!op.name().contains("unnamed"));
        }
        assert_eq!(Op::plain_by_name("int"), None);
    }
}
