//! Which operations are kernels, and which words they get besides their operands. The interpreter and the Cranelift
//! back end both go by this list; what is not in it each computes itself.

use super::{Base, CharClass, Compare, Const, DateField, Function, Math1, Math2, Op, StrTest, Strip, Type};
use fuseline_kernels::python::call::{self, Kernel};
use fuseline_kernels::python::format::{Kind, Spec};
use fuseline_kernels::python::math::{self, Function1};
use fuseline_kernels::python::table::{Cell, Keys, Table};
use fuseline_kernels::python::{case, date};
use std::sync::Arc;

/// What an operation's kernel gets behind its operands.
#[derive(Clone, Debug)]
pub(crate) enum Extra {
    Nothing,
    Word(i64),
    Spec(Arc<Spec>),
    Table(Arc<Table>),
}

impl Extra {
    /// The word. Valid as long as `self` lives.
    pub(crate) fn word(&self) -> Option<u64> {
        match self {
            Extra::Nothing => None,
            Extra::Word(word) => Some(*word as u64),
            Extra::Spec(spec) => Some(Arc::as_ptr(spec) as u64),
            Extra::Table(table) => Some(Arc::as_ptr(table) as u64),
        }
    }
}

/// A kernel and what it gets.
pub(crate) struct Call {
    pub kernel: Kernel,
    pub extra: Extra,
    /// What the word of the result means.
    pub reading: Reading,
}

/// From a kernel's result to the operation's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    /// The value itself.
    Value,
    /// A value and whether it is there.
    Cell,
    /// -1, 0, 1 for less, equal, greater, and 2 for none of them.
    Order(Compare),
}

/// The captured tables of a function, built.
#[derive(Clone, Debug)]
pub(crate) struct Tables(Vec<Arc<Table>>);

impl Tables {
    /// Builds them. Their cells point to the texts of `function`, which must outlive them without change; the
    /// function is behind an `Arc` so that moving it does not move them.
    pub(crate) fn of(function: &Arc<Function>) -> Tables {
        let cell = |value: &Option<Const>| -> Cell {
            match value {
                None => [0, 0, 0],
                Some(Const::Bool(b)) => [u64::from(*b), 0, 1],
                Some(Const::Int(i)) => [*i as u64, 0, 1],
                Some(Const::Float(bits)) => [*bits, 0, 1],
                Some(Const::Str(s)) => [s.as_ptr() as u64, s.len() as u64, 1],
            }
        };
        let build = |table: &super::Table| {
            let cells = table.entries.iter().map(|(_, value)| cell(value)).collect();
            let keys = match table.keys {
                Base::Int => Keys::Int(
                    table
                        .entries
                        .iter()
                        .map(|(key, _)| if let Const::Int(i) = key { *i } else { 0 })
                        .collect(),
                ),
                Base::Str | Base::Bool | Base::Float | Base::Date | Base::DateTime => Keys::Str(
                    table.entries.iter().map(|(key, _)| key.as_text().unwrap_or_default().into()).collect(),
                ),
            };
            Arc::new(Table::new(keys, cells))
        };
        Tables(function.tables.iter().map(build).collect())
    }
}

/// Reads a format specification for values of this type.
pub(crate) fn spec(spec: &str, ty: Type) -> Option<Spec> {
    let kind = match ty {
        Type::INT => Kind::Int,
        Type::FLOAT => Kind::Float,
        Type::STR => Kind::Str,
        _other => return None,
    };
    Spec::parse(spec, kind)
}

/// Whether `format(x, spec)` of a value of this type is one that [`Op::Format`] takes.
pub fn knows_format(text: &str, ty: Type) -> bool {
    spec(text, ty).is_some()
}

fn ends(strip: Strip) -> i64 {
    match strip {
        Strip::Both => case::LEFT | case::RIGHT,
        Strip::Left => case::LEFT,
        Strip::Right => case::RIGHT,
    }
}

fn field(field: DateField) -> i64 {
    match field {
        DateField::Year => date::YEAR,
        DateField::Month => date::MONTH,
        DateField::Day => date::DAY_OF_MONTH,
        DateField::Weekday => date::WEEKDAY,
        DateField::IsoWeekday => date::ISO_WEEKDAY,
        DateField::IsoYear => date::ISO_YEAR,
        DateField::IsoWeek => date::ISO_WEEK,
        DateField::DayOfYear => date::DAY_OF_YEAR,
        DateField::ToOrdinal => date::TO_ORDINAL,
        DateField::Hour => date::HOUR,
        DateField::Minute => date::MINUTE,
        DateField::Second => date::SECOND,
        DateField::Microsecond => date::MICROSECOND,
    }
}

/// The function of libm, or one multiplication, that computes a function of `math`.
pub(crate) fn libm(function: Math1) -> Function1 {
    match function {
        Math1::Sqrt => math::rt_py_sqrt,
        Math1::Exp => math::rt_py_exp,
        Math1::Exp2 => math::rt_py_exp2,
        Math1::Expm1 => math::rt_py_expm1,
        Math1::Log => math::rt_py_log,
        Math1::Log2 => math::rt_py_log2,
        Math1::Log10 => math::rt_py_log10,
        Math1::Log1p => math::rt_py_log1p,
        Math1::Sin => math::rt_py_sin,
        Math1::Cos => math::rt_py_cos,
        Math1::Tan => math::rt_py_tan,
        Math1::Asin => math::rt_py_asin,
        Math1::Acos => math::rt_py_acos,
        Math1::Atan => math::rt_py_atan,
        Math1::Sinh => math::rt_py_sinh,
        Math1::Cosh => math::rt_py_cosh,
        Math1::Tanh => math::rt_py_tanh,
        Math1::Asinh => math::rt_py_asinh,
        Math1::Acosh => math::rt_py_acosh,
        Math1::Atanh => math::rt_py_atanh,
        Math1::Cbrt => math::rt_py_cbrt,
        Math1::Erf => math::rt_py_erf,
        Math1::Erfc => math::rt_py_erfc,
        Math1::Degrees => math::rt_py_degrees,
        Math1::Radians => math::rt_py_radians,
    }
}

/// The kernel of an operation on operands of these types; `None` for those that each reader computes itself.
pub(crate) fn kernel(op: &Op, args: &[Type], tables: &Tables) -> Option<Call> {
    let plain = |kernel: Kernel| Some(Call { kernel, extra: Extra::Nothing, reading: Reading::Value });
    let with =
        |kernel: Kernel, word: i64| Some(Call { kernel, extra: Extra::Word(word), reading: Reading::Value });
    let first = args.first().copied();
    let float = first == Some(Type::FLOAT);
    match op {
        Op::Bool(_)
        | Op::Int(_)
        | Op::Float(_)
        | Op::Str(_)
        | Op::Date(_)
        | Op::DateTime(_)
        | Op::None(_)
        | Op::Get(_)
        | Op::Some
        | Op::IsNone
        | Op::Unwrap
        | Op::Select
        | Op::Not
        | Op::And
        | Op::Or
        | Op::Xor
        | Op::Add
        | Op::Sub
        | Op::Mul
        | Op::Neg
        | Op::Abs
        | Op::TrueDiv
        | Op::Shl
        | Op::Shr
        | Op::BitAnd
        | Op::BitOr
        | Op::BitXor
        | Op::Invert
        | Op::BoolToInt
        | Op::IntToFloat
        | Op::Trunc
        | Op::Floor
        | Op::Ceil
        | Op::RoundEven
        | Op::Whole(_)
        | Op::ToSingle
        | Op::Math1 { .. }
        | Op::IeeeDiv
        | Op::IeeeMath1 { .. }
        | Op::FloatTest(_)
        | Op::DateOf
        | Op::DateTimeOf
        | Op::DateDiff => None,
        Op::FloorDiv if float => plain(call::rt_py_float_floor_div),
        Op::Mod if float => plain(call::rt_py_float_mod),
        Op::FloorDiv | Op::Mod => None,
        Op::Pow => plain(if float { call::rt_py_float_pow } else { call::rt_py_int_pow }),
        Op::Gcd => plain(call::rt_py_gcd),
        Op::RoundDigits => plain(call::rt_py_round_digits),
        Op::RoundInt => plain(call::rt_py_round_int),
        Op::Cmp(compare) if first == Some(Type::STR) => match compare {
            Compare::Eq => plain(call::rt_py_equal_text),
            Compare::Ne | Compare::Lt | Compare::Le | Compare::Gt | Compare::Ge => Some(Call {
                kernel: call::rt_py_compare_text,
                extra: Extra::Nothing,
                reading: Reading::Order(*compare),
            }),
        },
        Op::Cmp(_) => None,
        Op::CmpIntFloat(compare) => Some(Call {
            kernel: call::rt_py_compare_int_float,
            extra: Extra::Nothing,
            reading: Reading::Order(*compare),
        }),
        Op::Math2 { function, .. } => plain(match function {
            Math2::Pow => call::rt_py_math_pow,
            Math2::Atan2 => call::rt_py_atan2,
            Math2::Hypot => call::rt_py_hypot,
            Math2::Fmod => call::rt_py_fmod,
            Math2::Copysign => call::rt_py_copysign,
        }),
        Op::Len => plain(call::rt_py_len),
        Op::CharAt => plain(call::rt_py_char_at),
        Op::Slice => plain(call::rt_py_slice),
        Op::Reverse => plain(call::rt_py_reverse),
        Op::Concat => plain(call::rt_py_concat),
        Op::Repeat => plain(call::rt_py_repeat),
        Op::Find => plain(call::rt_py_find),
        Op::RFind => plain(call::rt_py_rfind),
        Op::Test(test) => plain(match test {
            StrTest::StartsWith => call::rt_py_starts_with,
            StrTest::EndsWith => call::rt_py_ends_with,
            StrTest::Contains => call::rt_py_contains,
        }),
        Op::Count => plain(call::rt_py_count),
        Op::Lower => plain(call::rt_py_lower),
        Op::Upper => plain(call::rt_py_upper),
        Op::Title => plain(call::rt_py_title),
        Op::Capitalize => plain(call::rt_py_capitalize),
        Op::SwapCase => plain(call::rt_py_swap_case),
        Op::StripSpace(strip) => with(call::rt_py_strip_space, ends(*strip)),
        Op::StripChars(strip) => with(call::rt_py_strip_chars, ends(*strip)),
        Op::RemovePrefix => plain(call::rt_py_remove_prefix),
        Op::RemoveSuffix => plain(call::rt_py_remove_suffix),
        Op::Replace => plain(call::rt_py_replace),
        Op::SplitCount => plain(call::rt_py_split_count),
        Op::SplitAt => plain(call::rt_py_split_at),
        Op::WordCount => plain(call::rt_py_word_count),
        Op::WordAt => plain(call::rt_py_word_at),
        Op::PartitionAt => plain(call::rt_py_partition_at),
        Op::RPartitionAt => plain(call::rt_py_rpartition_at),
        Op::Is(class) => plain(match class {
            CharClass::Digit => call::rt_py_is_digit,
            CharClass::Alpha => call::rt_py_is_alpha,
            CharClass::Alnum => call::rt_py_is_alnum,
            CharClass::Space => call::rt_py_is_space,
            CharClass::Upper => call::rt_py_is_upper,
            CharClass::Lower => call::rt_py_is_lower,
            CharClass::Ascii => call::rt_py_is_ascii,
        }),
        Op::ZFill => plain(call::rt_py_zfill),
        Op::LJust => plain(call::rt_py_ljust),
        Op::RJust => plain(call::rt_py_rjust),
        Op::Center => plain(call::rt_py_center),
        Op::ParseInt => plain(call::rt_py_parse_int),
        Op::ParseIntBase => plain(call::rt_py_parse_int_base),
        Op::ParseFloat => plain(call::rt_py_parse_float),
        Op::IntToStr => plain(call::rt_py_int_to_str),
        Op::FloatToStr => plain(call::rt_py_float_to_str),
        Op::BoolToStr => plain(call::rt_py_bool_to_str),
        Op::Format(text) => {
            let spec = spec(text, first?)?;
            let kernel: Kernel = match spec.kind() {
                Kind::Int => call::rt_py_format_int,
                Kind::Float => call::rt_py_format_float,
                Kind::Str => call::rt_py_format_str,
            };
            Some(Call { kernel, extra: Extra::Spec(Arc::new(spec)), reading: Reading::Value })
        }
        Op::Ord => plain(call::rt_py_ord),
        Op::Chr => plain(call::rt_py_chr),
        Op::Has(table) => {
            let text = first == Some(Type::STR);
            let kernel: Kernel = if text { call::rt_py_has_str } else { call::rt_py_has_int };
            let table = tables.0.get(table.0 as usize)?;
            Some(Call { kernel, extra: Extra::Table(Arc::clone(table)), reading: Reading::Value })
        }
        Op::Lookup(table) => {
            let text = first == Some(Type::STR);
            let kernel: Kernel = if text { call::rt_py_lookup_str } else { call::rt_py_lookup_int };
            let table = tables.0.get(table.0 as usize)?;
            Some(Call { kernel, extra: Extra::Table(Arc::clone(table)), reading: Reading::Cell })
        }
        Op::Field(which) => {
            let datetime = first == Some(Type::of(Base::DateTime));
            let kernel: Kernel = if datetime { call::rt_py_datetime_field } else { call::rt_py_date_field };
            with(kernel, field(*which))
        }
        Op::DateAdd => {
            let datetime = first == Some(Type::of(Base::DateTime));
            plain(if datetime { call::rt_py_add_micros } else { call::rt_py_add_days })
        }
        Op::MakeDate => plain(call::rt_py_make_date),
    }
}
