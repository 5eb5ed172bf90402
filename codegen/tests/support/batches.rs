//! Random batches: every encoding, nulls over garbage, slices, and the values where things go wrong.

use super::data::array_of;
use super::random::Random;
use arrow::array::{Array, ArrayRef};
use arrow::datatypes::{DataType, TimeUnit};
use fuseline_codegen::ir::{Input, Lit, Ty};

/// Row counts around the borders of groups and chunks.
pub fn row_count(r: &mut Random) -> usize {
    match r.below(100) {
        0..3 => 0,
        3..8 => 1,
        8..90 => r.pick(&[2, 3, 7, 8, 9, 15, 16, 17, 31, 63, 64, 65, 100, 129]),
        90..98 => r.pick(&[1023, 1024, 1025, 1031]),
        _ => r.pick(&[2047, 2048, 2049, 3000]),
    }
}

/// A random type that a loop can read.
pub fn data_type(r: &mut Random) -> DataType {
    let time_unit = |r: &mut Random| {
        r.pick(&[TimeUnit::Second, TimeUnit::Millisecond, TimeUnit::Microsecond, TimeUnit::Nanosecond])
    };
    match r.below(26) {
        0 | 1 => DataType::Boolean,
        2 => DataType::Int8,
        3 => DataType::Int16,
        4 | 5 => DataType::Int32,
        6..9 => DataType::Int64,
        9 => DataType::UInt8,
        10 => DataType::UInt16,
        11 => DataType::UInt32,
        12 => DataType::UInt64,
        13 => DataType::Float32,
        14..17 => DataType::Float64,
        17 => DataType::Date32,
        18 => match time_unit(r) {
            unit @ (TimeUnit::Second | TimeUnit::Millisecond) => DataType::Time32(unit),
            unit @ (TimeUnit::Microsecond | TimeUnit::Nanosecond) => DataType::Time64(unit),
        },
        19 => DataType::Timestamp(time_unit(r), r.percent(30).then(|| "+01:00".into())),
        20 => r.pick(&[DataType::Date64, DataType::Duration(TimeUnit::Microsecond)]),
        21 | 22 => {
            let precision = r.between(1, 38);
            DataType::Decimal128(precision as u8, r.between(0, precision.min(10)) as i8)
        }
        23 | 24 => string_type(r),
        _ => {
            let key = r.pick(&[
                DataType::Int8,
                DataType::Int16,
                DataType::Int32,
                DataType::Int64,
                DataType::UInt8,
                DataType::UInt16,
                DataType::UInt32,
                DataType::UInt64,
            ]);
            DataType::Dictionary(Box::new(key), Box::new(string_type(r)))
        }
    }
}

pub fn string_type(r: &mut Random) -> DataType {
    r.pick(&[DataType::Utf8, DataType::LargeUtf8, DataType::Utf8View])
}

/// How far values stray: tame columns keep most arithmetic from failing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Range {
    Tame,
    Wild,
}

const STRINGS: [&str; 24] = [
    "",
    "a",
    "ab",
    "abc",
    "abcd",
    "abcde",
    "b%c",
    "a_c",
    "\\",
    "Ab",
    "AB",
    "é",
    "naïve",
    "ß",
    "😀",
    "x😀y",
    "hello world",
    "twelve bytes",
    "thirteen byte",
    "a longer string than a view holds",
    "a longer string than a view hides",
    "PROMO BRUSHED COPPER",
    "k\u{212A}",
    "nul\0nul",
];

/// A random value of a representation, not null.
pub fn value(r: &mut Random, ty: Ty, range: Range) -> Lit {
    let wild = range == Range::Wild;
    macro_rules! int {
        ($variant:ident, $t:ty) => {{
            let small = r.between(if <$t>::MIN == 0 { 0 } else { -9 }, 9) as $t;
            Lit::$variant(match r.below(10) {
                0..2 if wild => r.pick(&[<$t>::MIN, <$t>::MAX, <$t>::MIN + 1, <$t>::MAX - 1]),
                2..5 if wild => r.bits() as $t,
                5 if wild => <$t>::MAX / 2,
                0..7 => small,
                _ => (r.bits() % 100) as $t,
            })
        }};
    }
    macro_rules! float {
        ($variant:ident, $t:ty, $bits:ty) => {{
            Lit::$variant(match r.below(12) {
                0..3 if wild => r.pick(&[
                    0.0,
                    -0.0,
                    <$t>::NAN,
                    -<$t>::NAN,
                    <$t>::INFINITY,
                    <$t>::NEG_INFINITY,
                    <$t>::MIN_POSITIVE,
                    <$t>::MAX,
                    <$t>::MIN,
                    <$t>::EPSILON,
                    <$t>::from_bits(1),
                ]),
                3 if wild => {
                    // Quiet NaNs only: what a signalling NaN becomes depends on the instruction.
                    let x = <$t>::from_bits(r.bits() as $bits);
                    if x.is_nan() { <$t>::NAN } else { x }
                }
                4 if wild => (r.bits() as i64) as $t,
                0..6 => r.between(-9, 9) as $t,
                6..9 => r.between(-100_000, 100_000) as $t / 1000.0,
                _ => r.between(-20, 20) as $t / 2.0,
            })
        }};
    }
    match ty {
        Ty::Bool => Lit::Bool(r.percent(50)),
        Ty::I8 => int!(I8, i8),
        Ty::I16 => int!(I16, i16),
        Ty::I32 if r.percent(25) => Lit::I32(r.between(-30_000, 30_000) as i32),
        Ty::I32 => int!(I32, i32),
        // Near the present as seconds, and up to nanoseconds.
        Ty::I64 if r.percent(25) => {
            let scale = r.pick(&[1, 1_000, 1_000_000, 1_000_000_000]);
            Lit::I64(r.between(-2_000_000_000, 4_000_000_000) * scale + r.between(0, 999))
        }
        Ty::I64 => int!(I64, i64),
        Ty::I128 => Lit::I128(match r.below(10) {
            0 if wild => r.pick(&[i128::MIN, i128::MAX, 10_i128.pow(38) - 1, 1 - 10_i128.pow(38)]),
            1..3 if wild => (i128::from(r.bits()) << 64 | i128::from(r.bits())) >> r.below(128),
            0..5 => i128::from(r.between(-99, 99)),
            _ => i128::from(r.between(-1_000_000_000, 1_000_000_000)),
        }),
        Ty::U8 => int!(U8, u8),
        Ty::U16 => int!(U16, u16),
        Ty::U32 => int!(U32, u32),
        Ty::U64 => int!(U64, u64),
        Ty::F32 => float!(F32, f32, u32),
        Ty::F64 => float!(F64, f64, u64),
        Ty::Str => Lit::Str(match r.below(10) {
            0 => r.pick(&STRINGS).repeat(r.below(4)),
            1 => format!("{}{}", r.pick(&STRINGS), r.pick(&STRINGS)),
            _ => r.pick(&STRINGS).to_owned(),
        }),
    }
}

/// A random column of `rows` rows; without nulls if not `nullable`.
pub fn column(r: &mut Random, data_type: &DataType, nullable: bool, rows: usize, range: Range) -> ArrayRef {
    let ty = Input::physical(data_type).expect("a representable type");
    let (front, back) = if r.percent(40) { (r.below(20), r.below(5)) } else { (0, 0) };
    let all = front + rows + back;
    let is_dictionary = matches!(data_type, DataType::Dictionary(..));
    let pool: Vec<Lit> = (0..1 + r.below(12)).map(|_| value(r, ty, range)).collect();
    let from_pool = is_dictionary || r.percent(20);
    let values: Vec<Lit> =
        (0..all).map(|_| if from_pool { r.pick(&pool) } else { value(r, ty, range) }).collect();
    let nulls = if nullable { r.pick(&[0, 0, 2, 30, 30, 60, 100]) } else { 0 };
    let valid: Vec<bool> = (0..all).map(|_| !r.percent(nulls)).collect();
    let column = array_of(data_type, &values, &valid);
    if front + back == 0 { column } else { column.slice(front, rows) }
}
