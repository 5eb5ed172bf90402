//! Columns for the parameters of functions, and their rows as values.

use crate::support::random::Random;
use arrow::array::*;
use arrow::compute::cast;
use arrow::datatypes::*;
use fuseline_codegen::cpu::function::{supports_parameter, supports_result};
use fuseline_codegen::function::interp::Datum;
use fuseline_codegen::function::{Base, Type};
use std::sync::Arc;

const COLUMNS: &[DataType] = &[
    DataType::Boolean,
    DataType::Int8,
    DataType::Int16,
    DataType::Int32,
    DataType::Int64,
    DataType::UInt8,
    DataType::UInt16,
    DataType::UInt32,
    DataType::UInt64,
    DataType::Float32,
    DataType::Float64,
    DataType::Utf8,
    DataType::LargeUtf8,
    DataType::Utf8View,
    DataType::Date32,
    DataType::Timestamp(TimeUnit::Second, None),
    DataType::Timestamp(TimeUnit::Millisecond, None),
    DataType::Timestamp(TimeUnit::Microsecond, None),
];

/// A column type for a parameter; mostly the widest.
pub fn parameter_type(r: &mut Random, ty: Type) -> DataType {
    let fitting: Vec<DataType> = COLUMNS.iter().filter(|t| supports_parameter(ty, t)).cloned().collect();
    match ty.base {
        Base::Int if r.percent(60) => DataType::Int64,
        Base::Float if r.percent(80) => DataType::Float64,
        Base::Bool | Base::Int | Base::Float | Base::Str | Base::Date | Base::DateTime => r.pick(&fitting),
    }
}

/// A column type for a result.
pub fn result_type(r: &mut Random, ty: Type) -> DataType {
    let fitting: Vec<DataType> = COLUMNS.iter().filter(|t| supports_result(ty, t)).cloned().collect();
    match ty.base {
        Base::Int if r.percent(60) => DataType::Int64,
        Base::Bool | Base::Int | Base::Float | Base::Str | Base::Date | Base::DateTime => r.pick(&fitting),
    }
}

pub fn int(r: &mut Random) -> i64 {
    match r.below(10) {
        0..=4 => r.between(-12, 12),
        5 | 6 => r.between(-10_000, 10_000),
        7 => r.bits() as i64,
        8 => r.bits() as i64 >> r.below(63),
        _ => r.pick(&[
            i64::MIN,
            i64::MIN + 1,
            i64::MAX,
            i64::MAX - 1,
            1 << 53,
            -(1 << 53),
            (1 << 53) + 1,
            1 << 31,
            -(1 << 31) - 1,
        ]),
    }
}

pub fn float(r: &mut Random) -> f64 {
    match r.below(10) {
        0..=2 => r.between(-40, 40) as f64 / 4.0,
        3..=4 => r.between(-100_000, 100_000) as f64 / 100.0,
        5 => int(r) as f64,
        6 => f64::from_bits(r.bits()),
        7 => (r.bits() as f64 / 1e19) - 0.5,
        _ => r.pick(&[
            0.0,
            -0.0,
            f64::NAN,
            -f64::NAN,
            f64::INFINITY,
            f64::NEG_INFINITY,
            f64::MAX,
            f64::MIN_POSITIVE,
            5e-324,
            0.5,
            2.5,
            1e16,
            9_223_372_036_854_775_808.0,
            -9_223_372_036_854_775_808.0,
            1.0,
            -1.0,
            710.0,
        ]),
    }
}

pub fn text(r: &mut Random) -> String {
    const WORDS: &[&str] = &[
        "",
        "a",
        "ab",
        "abc",
        "aa",
        " ",
        ",",
        "12",
        "-7",
        "3.5",
        "1_000",
        " 42\n",
        "True",
        "é",
        "ß",
        "日本",
        "😀",
        "\u{a0}",
        "x=1",
        "Hello World",
        "a,b,,c",
        "nan",
        "inf",
        "1e5",
        "0x1F",
        "they're",
        "AbC",
        "\t",
    ];
    let words = r.below(4);
    (0..words).map(|_| r.pick(WORDS)).collect::<Vec<_>>().concat()
}

fn option<T>(r: &mut Random, nulls: bool, make: impl Fn(&mut Random) -> T) -> Option<T> {
    if nulls && r.percent(20) { None } else { Some(make(r)) }
}

/// A column with values of all kinds; with nulls if it may.
pub fn column(r: &mut Random, data_type: &DataType, nullable: bool, rows: usize) -> ArrayRef {
    let nulls = nullable && r.percent(80);
    let lead = r.below(9);
    let rows = rows + lead;
    macro_rules! numbers {
        ($ty:ty, $make:expr) => {
            Arc::new((0..rows).map(|_| option(r, nulls, $make)).collect::<PrimitiveArray<$ty>>()) as ArrayRef
        };
    }
    let whole: ArrayRef = match data_type {
        DataType::Boolean => {
            Arc::new((0..rows).map(|_| option(r, nulls, |r| r.percent(50))).collect::<BooleanArray>())
        }
        DataType::Int8 => numbers!(Int8Type, |r| int(r) as i8),
        DataType::Int16 => numbers!(Int16Type, |r| int(r) as i16),
        DataType::Int32 => numbers!(Int32Type, |r| int(r) as i32),
        DataType::Int64 => numbers!(Int64Type, int),
        DataType::UInt8 => numbers!(UInt8Type, |r| int(r) as u8),
        DataType::UInt16 => numbers!(UInt16Type, |r| int(r) as u16),
        DataType::UInt32 => numbers!(UInt32Type, |r| int(r) as u32),
        DataType::UInt64 => numbers!(UInt64Type, |r| int(r) as u64),
        DataType::Float32 => numbers!(Float32Type, |r| float(r) as f32),
        DataType::Float64 => numbers!(Float64Type, float),
        DataType::Date32 => numbers!(Date32Type, |r| match r.below(8) {
            0 => int(r) as i32,
            1 => r.pick(&[-719_162, -719_163, 2_932_896, 2_932_897]),
            _ => r.between(-30_000, 40_000) as i32,
        }),
        DataType::Timestamp(unit, _) => {
            let per_second = match unit {
                TimeUnit::Second => 1,
                TimeUnit::Millisecond => 1000,
                TimeUnit::Microsecond | TimeUnit::Nanosecond => 1_000_000,
            };
            let micros: Int64Array = (0..rows)
                .map(|_| {
                    option(r, nulls, |r| match r.below(8) {
                        0 => int(r),
                        1 => {
                            r.pick(&[-62_135_596_800, -62_135_596_801, 253_402_300_799, 253_402_300_800])
                                * per_second
                        }
                        _ => {
                            r.between(-3_000_000_000, 4_000_000_000) * per_second
                                + r.between(0, per_second - 1)
                        }
                    })
                })
                .collect();
            cast(&micros, data_type).unwrap()
        }
        _texts => {
            // Batches that are all ASCII have code of their own.
            let ascii = r.percent(60);
            let any = |r: &mut Random| {
                let text = text(r);
                if ascii { text.replace(|c: char| !c.is_ascii(), "") } else { text }
            };
            let texts: StringArray = (0..rows).map(|_| option(r, nulls, any)).collect();
            cast(&texts, data_type).unwrap()
        }
    };
    whole.slice(lead, rows - lead)
}

/// A row's value; `None` if Python has none.
pub fn datum(array: &ArrayRef, row: usize) -> Option<Datum> {
    if array.is_null(row) {
        return Some(Datum::None);
    }
    macro_rules! ints {
        ($($ty:ident => $arrow:ty),*; $($other:pat => $made:expr),* $(,)?) => {
            match array.data_type() {
                $(DataType::$ty => Datum::Int(i64::try_from(array.as_primitive::<$arrow>().value(row)).ok()?),)*
                $($other => $made,)*
            }
        };
    }
    let micros = |factor: i64, value: i64| {
        let micros = value.checked_mul(factor)?;
        (-62_135_596_800_000_000..253_402_300_800_000_000)
            .contains(&micros)
            .then_some(Datum::DateTime(micros))
    };
    Some(ints! {
        Int8 => Int8Type, Int16 => Int16Type, Int32 => Int32Type, Int64 => Int64Type, UInt8 => UInt8Type,
        UInt16 => UInt16Type, UInt32 => UInt32Type, UInt64 => UInt64Type;
        DataType::Boolean => Datum::Bool(array.as_boolean().value(row)),
        DataType::Float32 => Datum::Float(f64::from(array.as_primitive::<Float32Type>().value(row))),
        DataType::Float64 => Datum::Float(array.as_primitive::<Float64Type>().value(row)),
        DataType::Utf8 => Datum::Str(array.as_string::<i32>().value(row).to_owned()),
        DataType::LargeUtf8 => Datum::Str(array.as_string::<i64>().value(row).to_owned()),
        DataType::Utf8View => Datum::Str(array.as_string_view().value(row).to_owned()),
        DataType::Date32 => {
            let days = i64::from(array.as_primitive::<Date32Type>().value(row));
            (-719_162..=2_932_896).contains(&days).then_some(Datum::Date(days))?
        },
        DataType::Timestamp(TimeUnit::Second, _) => {
            micros(1_000_000, array.as_primitive::<TimestampSecondType>().value(row))?
        },
        DataType::Timestamp(TimeUnit::Millisecond, _) => {
            micros(1000, array.as_primitive::<TimestampMillisecondType>().value(row))?
        },
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            micros(1, array.as_primitive::<TimestampMicrosecondType>().value(row))?
        },
        other => panic!("no rows of {other}"),
    })
}

/// What becomes of a result in a column of this type; `None` if it does not fit.
pub fn narrowed(datum: Datum, data_type: &DataType) -> Option<Datum> {
    let within = |i: i64, low: i64, high: i64| (low..=high).contains(&i).then_some(Datum::Int(i));
    match (datum, data_type) {
        (Datum::Int(i), DataType::Int8) => within(i, i8::MIN.into(), i8::MAX.into()),
        (Datum::Int(i), DataType::Int16) => within(i, i16::MIN.into(), i16::MAX.into()),
        (Datum::Int(i), DataType::Int32) => within(i, i32::MIN.into(), i32::MAX.into()),
        (Datum::Int(i), DataType::UInt8) => within(i, 0, u8::MAX.into()),
        (Datum::Int(i), DataType::UInt16) => within(i, 0, u16::MAX.into()),
        (Datum::Int(i), DataType::UInt32) => within(i, 0, u32::MAX.into()),
        (Datum::Int(i), DataType::UInt64) => within(i, 0, i64::MAX),
        (Datum::Float(x), DataType::Float32) => Some(Datum::Float(f64::from(x as f32))),
        (datum, _) => Some(datum),
    }
}
