//! Random tables: every column type that fuses, with the values that break things.
//!
//! Column 0 is `rid`, the row's number: projections return it, so that answers can be compared whatever
//! order rows come back in. Arrays are cut out of longer ones, so that offsets are not 0, and into
//! batches of uneven length. Values are mostly small (so that comparisons hit), with the edges of the
//! type, NaN, signed zeros and infinities mixed in; now and then a column has no NULL, or nothing else.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, DictionaryArray, Float32Array,
    Float64Array, Int8Array, Int16Array, Int32Array, Int64Array, LargeStringArray, ListArray, StringArray,
    StringViewArray, UInt8Array, UInt16Array, UInt32Array, UInt64Array,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Int32Type, Schema, SchemaRef, TimeUnit};
use arrow::record_batch::RecordBatch;

use super::random::Random;

/// What SQL sees in a column or expression; the exact arrow type is DataFusion's to work out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Family {
    Bool,
    Int,
    Float,
    Decimal,
    Text,
    Date,
    Timestamp,
    Time,
    /// Types that only ride along: lists and binaries.
    Passenger,
}

#[derive(Clone, Debug)]
pub struct Column {
    pub name: String,
    pub family: Family,
    pub array: ArrayRef,
}

/// A table: its columns in full length, and the row numbers at which batches end.
#[derive(Clone, Debug)]
pub struct Table {
    pub columns: Vec<Column>,
    pub cuts: Vec<usize>,
    pub rows: usize,
}

/// Row counts: none, one, around the group of 8, the validity word of 64 and the chunk of 1,024, more.
const ROWS: &[usize] =
    &[0, 1, 2, 7, 8, 9, 63, 64, 65, 100, 100, 300, 1000, 1023, 1024, 1025, 2048, 3000, 5000];

impl Table {
    pub fn random(random: &mut Random) -> Self {
        let rows = *random.pick(ROWS);
        let mut columns = vec![Column {
            name: "rid".into(),
            family: Family::Int,
            array: Arc::new(Int64Array::from_iter_values(0..rows as i64)),
        }];
        for number in 0..5 + random.below(8) {
            let (family, array) = column(random, rows);
            columns.push(Column { name: format!("c{number}"), family, array });
        }
        let mut cuts: Vec<usize> = (0..random.below(4)).map(|_| random.below(rows + 1)).collect();
        cuts.push(rows);
        cuts.sort_unstable();
        cuts.dedup();
        Self { columns, cuts, rows }
    }

    pub fn schema(&self) -> SchemaRef {
        let fields: Vec<Field> = self
            .columns
            .iter()
            .map(|c| Field::new(&c.name, c.array.data_type().clone(), c.array.logical_null_count() > 0))
            .collect();
        Arc::new(Schema::new(fields))
    }

    pub fn batches(&self) -> Vec<RecordBatch> {
        let schema = self.schema();
        let mut start = 0;
        self.cuts
            .iter()
            .map(|&end| {
                let columns = self.columns.iter().map(|c| c.array.slice(start, end - start)).collect();
                start = end;
                RecordBatch::try_new(Arc::clone(&schema), columns).expect("columns fit")
            })
            .collect()
    }

    /// The rows of `keep` alone, in one batch, by row position.
    pub fn with_rows(&self, from: usize, to: usize) -> Self {
        let columns = self
            .columns
            .iter()
            .map(|c| Column { array: c.array.slice(from, to - from), ..c.clone() })
            .collect();
        Self { columns, cuts: vec![to - from], rows: to - from }
    }

    /// Schema and the first rows, for a report.
    pub fn describe(&self) -> String {
        let types: Vec<String> =
            self.columns.iter().map(|c| format!("{} {}", c.name, c.array.data_type())).collect();
        let first: Vec<RecordBatch> = self
            .batches()
            .into_iter()
            .filter(|b| b.num_rows() > 0)
            .take(1)
            .map(|b| b.slice(0, b.num_rows().min(3)))
            .collect();
        let rows =
            arrow::util::pretty::pretty_format_batches(&first).map(|t| t.to_string()).unwrap_or_default();
        format!("{} rows, batches end at {:?}\n{}\n{rows}", self.rows, self.cuts, types.join(", "))
    }
}

/// Where a column's NULLs are: in percent.
fn null_percent(random: &mut Random) -> usize {
    *random.pick(&[0, 0, 0, 10, 10, 10, 50, 90, 100])
}

/// Cuts `rows` rows out of a longer array that `build` makes, so that the offset is seldom 0.
fn offset(random: &mut Random, rows: usize, build: impl FnOnce(&mut Random, usize) -> ArrayRef) -> ArrayRef {
    let before = *random.pick(&[0, 0, 1, 3, 8, 13]);
    build(random, before + rows + 2).slice(before, rows)
}

/// Makes a column of so many rows.
type Build = Box<dyn FnOnce(&mut Random, usize) -> ArrayRef>;

fn column(random: &mut Random, rows: usize) -> (Family, ArrayRef) {
    let nulls = null_percent(random);
    let edges = *random.pick(&[0, 5, 5, 30]);
    let kind = random.below(30);
    let (family, build): (Family, Build) = match kind {
        0 | 1 => (
            Family::Bool,
            Box::new(move |r, n| {
                Arc::new(BooleanArray::from_iter((0..n).map(|_| (!r.chance(nulls)).then(|| r.chance(50)))))
            }),
        ),
        2..=9 => (Family::Int, Box::new(move |r, n| integers(r, n, kind - 2, nulls, edges))),
        10..=12 => (
            Family::Float,
            Box::new(move |r, n| {
                Arc::new(Float64Array::from_iter(
                    (0..n).map(|_| (!r.chance(nulls)).then(|| double(r, edges))),
                ))
            }),
        ),
        13 => (
            Family::Float,
            Box::new(move |r, n| {
                Arc::new(Float32Array::from_iter(
                    (0..n).map(|_| (!r.chance(nulls)).then(|| single(r, edges))),
                ))
            }),
        ),
        14..=16 => (Family::Decimal, Box::new(move |r, n| decimals(r, n, nulls, edges))),
        17..=22 => (Family::Text, Box::new(move |r, n| texts(r, n, kind - 17, nulls))),
        23 | 24 => (
            Family::Date,
            Box::new(move |r, n| {
                Arc::new(Date32Array::from_iter(
                    (0..n).map(|_| (!r.chance(nulls)).then(|| r.between(-3000, 30000) as i32)),
                ))
            }),
        ),
        25..=27 => (Family::Timestamp, Box::new(move |r, n| timestamps(r, n, nulls))),
        28 => (Family::Time, Box::new(move |r, n| times(r, n, nulls))),
        _ => (Family::Passenger, Box::new(move |r, n| passengers(r, n, nulls))),
    };
    (family, offset(random, rows, build))
}

/// A small number, or with `edges` percent an edge of `bits`-bit integers.
fn integer(random: &mut Random, low: i128, high: i128, edges: usize) -> i128 {
    if random.chance(edges) {
        let near = i128::from(random.between(0, 2));
        return if random.chance(50) { high - near } else { low + near };
    }
    let small = if random.chance(80) { random.between(-10, 20) } else { random.between(-300, 70_000) };
    i128::from(small).clamp(low, high)
}

fn integers(random: &mut Random, n: usize, kind: usize, nulls: usize, edges: usize) -> ArrayRef {
    macro_rules! build {
        ($array:ty, $native:ty) => {
            Arc::new(<$array>::from_iter((0..n).map(|_| {
                (!random.chance(nulls))
                    .then(|| integer(random, <$native>::MIN.into(), <$native>::MAX.into(), edges) as $native)
            })))
        };
    }
    match kind {
        0 => build!(Int8Array, i8),
        1 => build!(Int16Array, i16),
        2 => build!(Int32Array, i32),
        3 => build!(Int64Array, i64),
        4 => build!(UInt8Array, u8),
        5 => build!(UInt16Array, u16),
        6 => build!(UInt32Array, u32),
        _ => build!(UInt64Array, u64),
    }
}

fn double(random: &mut Random, edges: usize) -> f64 {
    if random.chance(edges) {
        *random.pick(&[
            0.0,
            -0.0,
            f64::NAN,
            f64::INFINITY,
            f64::NEG_INFINITY,
            f64::MAX,
            f64::MIN,
            f64::MIN_POSITIVE,
            5e-324,
            0.5,
            2.5,
            -2.5,
            9_007_199_254_740_993.0,
            9.3e18,
            1e-10,
        ])
    } else if random.chance(50) {
        random.between(-10, 20) as f64
    } else {
        (random.unit() - 0.3) * 1000.0
    }
}

fn single(random: &mut Random, edges: usize) -> f32 {
    if random.chance(edges) {
        *random.pick(&[
            0.0,
            -0.0,
            f32::NAN,
            f32::INFINITY,
            f32::NEG_INFINITY,
            f32::MAX,
            f32::MIN_POSITIVE,
            1e-45,
            0.5,
            -2.5,
            16_777_217.0,
        ])
    } else if random.chance(50) {
        random.between(-10, 20) as f32
    } else {
        ((random.unit() - 0.3) * 1000.0) as f32
    }
}

fn decimals(random: &mut Random, n: usize, nulls: usize, edges: usize) -> ArrayRef {
    let (precision, scale) =
        *random.pick(&[(5u8, 2i8), (15, 2), (15, 2), (18, 0), (20, 4), (38, 10), (38, 0)]);
    let limit = 10i128.pow(u32::from(precision)) - 1;
    let values = (0..n).map(|_| {
        (!random.chance(nulls)).then(|| {
            if random.chance(edges) {
                *random.pick(&[limit, -limit, limit - 1, 1, -1])
            } else if random.chance(50) {
                (i128::from(random.between(-10, 20)) * 10i128.pow(scale.unsigned_abs().into()))
                    .clamp(-limit, limit)
            } else {
                i128::from(random.between(-50_000, 90_000))
            }
        })
    });
    Arc::new(
        Decimal128Array::from_iter(values)
            .with_precision_and_scale(precision, scale)
            .expect("a valid precision"),
    )
}

const WORDS: &[&str] = &[
    "",
    "a",
    "A",
    "ab",
    "abc",
    "abcabc",
    "b",
    "B",
    "ß",
    "äöü",
    "日本",
    "日本語テキスト",
    "%",
    "_",
    "a%b",
    "a_b",
    "a\\b",
    "12",
    "-5",
    "3.14",
    "true",
    "1999-12-31",
    "hello",
    "Hello World",
    "hello world, long",
    "exactly12byt",
    "thirteen byte",
    "a string that is certainly not inlined",
    "a string that is certainly not inlinee",
    " padded ",
    "x\ty",
    "🦀🦀",
];

fn text(random: &mut Random) -> String {
    if random.chance(70) {
        random.pick(WORDS).to_string()
    } else {
        (0..random.below(16)).map(|_| *random.pick(&['a', 'b', 'c', 'A', '%', 'é'])).collect()
    }
}

fn texts(random: &mut Random, n: usize, kind: usize, nulls: usize) -> ArrayRef {
    if kind >= 4 {
        // A dictionary with repeated and unused values. No NULL among the values: DataFusion's text
        // functions take such a value for an empty string (`left`, `substr`), so it cannot judge.
        let size = 1 + random.below(12);
        let values = StringArray::from_iter_values((0..size).map(|_| text(random)));
        let keys =
            Int32Array::from_iter((0..n).map(|_| (!random.chance(nulls)).then(|| random.below(size) as i32)));
        let dictionary: ArrayRef = Arc::new(DictionaryArray::<Int32Type>::new(keys, Arc::new(values)));
        if kind == 4 {
            return dictionary;
        }
        let narrow = DataType::Dictionary(Box::new(DataType::Int8), Box::new(DataType::Utf8));
        return cast(&dictionary, &narrow).expect("twelve values fit 8-bit keys");
    }
    let values = (0..n).map(|_| (!random.chance(nulls)).then(|| text(random)));
    match kind {
        0 => Arc::new(LargeStringArray::from_iter(values)),
        1 | 2 => Arc::new(StringArray::from_iter(values)),
        _ => Arc::new(StringViewArray::from_iter(values)),
    }
}

fn timestamps(random: &mut Random, n: usize, nulls: usize) -> ArrayRef {
    let unit = *random.pick(&[
        TimeUnit::Second,
        TimeUnit::Millisecond,
        TimeUnit::Microsecond,
        TimeUnit::Nanosecond,
        TimeUnit::Nanosecond,
    ]);
    let zone: Option<Arc<str>> =
        random.pick(&[None, None, None, Some("UTC"), Some("+02:00")]).map(Into::into);
    let per_second = match unit {
        TimeUnit::Second => 1,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Microsecond => 1_000_000,
        TimeUnit::Nanosecond => 1_000_000_000,
    };
    let values = Int64Array::from_iter((0..n).map(|_| {
        (!random.chance(nulls)).then(|| {
            // 1927 to 2064, half of them whole days.
            let seconds = if random.chance(50) {
                random.between(-15_000, 35_000) * 86_400
            } else {
                random.between(-1_300_000_000, 3_000_000_000)
            };
            let part = if random.chance(50) { 0 } else { random.between(0, per_second - 1) };
            seconds * per_second + part
        })
    }));
    cast(&values, &DataType::Timestamp(unit, zone)).expect("numbers are timestamps")
}

fn times(random: &mut Random, n: usize, nulls: usize) -> ArrayRef {
    let seconds = Int32Array::from_iter(
        (0..n).map(|_| (!random.chance(nulls)).then(|| random.between(0, 86_399) as i32)),
    );
    let seconds = cast(&seconds, &DataType::Time32(TimeUnit::Second)).expect("seconds of a day");
    let target = random
        .pick(&[
            DataType::Time32(TimeUnit::Second),
            DataType::Time32(TimeUnit::Millisecond),
            DataType::Time64(TimeUnit::Microsecond),
            DataType::Time64(TimeUnit::Nanosecond),
        ])
        .clone();
    cast(&seconds, &target).expect("a finer unit")
}

fn passengers(random: &mut Random, n: usize, nulls: usize) -> ArrayRef {
    if random.chance(50) {
        Arc::new(BinaryArray::from_iter(
            (0..n).map(|_| (!random.chance(nulls)).then(|| text(random).into_bytes())),
        ))
    } else {
        Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>((0..n).map(|_| {
            (!random.chance(nulls)).then(|| (0..random.below(3)).map(|i| Some(i as i32)).collect::<Vec<_>>())
        })))
    }
}
