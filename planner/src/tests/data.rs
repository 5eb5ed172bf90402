//! The table that the tests read: a column of each type, values at the edges, nulls everywhere.

use arrow::array::*;
use arrow::datatypes::{Field, Int32Type, Schema};
use datafusion::datasource::MemTable;
use datafusion::prelude::SessionContext;
use std::sync::Arc;

/// Rows of `t`.
pub(super) const ROWS: usize = 96;

fn pick<T: Copy>(values: &[T], salt: usize) -> Vec<Option<T>> {
    (0..ROWS)
        .map(|i| {
            let h = (i as u64 * 0x9E37_79B9 + salt as u64 * 0x85EB_CA6B).wrapping_mul(0xC2B2_AE3D_27D4_EB4F);
            let h = (h >> 33) as usize;
            // A column with an odd salt has nulls.
            if salt % 2 == 1 && h.is_multiple_of(7) { None } else { Some(values[(h / 7) % values.len()]) }
        })
        .collect()
}

/// Small numbers, so that arithmetic on them stays in range; the `*_edge` columns hold extremes.
pub(super) fn batch() -> RecordBatch {
    let mut fields = vec![];
    let mut columns: Vec<ArrayRef> = vec![];
    let mut add = |name: &str, array: ArrayRef| {
        fields.push(Field::new(name, array.data_type().clone(), array.null_count() > 0));
        columns.push(array);
    };
    add("b", Arc::new(BooleanArray::from(pick(&[true, false], 1))));
    add("c", Arc::new(BooleanArray::from(pick(&[true, true, false], 3))));
    add("i8", Arc::new(Int8Array::from(pick(&[0, 1, -1, 7, 100, -100, 127, -128], 5))));
    add("i16", Arc::new(Int16Array::from(pick(&[0, 1, -1, 300, i16::MAX, i16::MIN], 7))));
    add("i32", Arc::new(Int32Array::from(pick(&[0, 1, -1, 2, 5, 42, -17, 100_000], 9))));
    add("i64", Arc::new(Int64Array::from(pick(&[0i64, 1, -1, 3, 10, 1_000_000_007], 11))));
    add("k", Arc::new(Int64Array::from(pick(&[1i64, 2, 3, 4, 5, 6, 7, 8, 9, 10], 2))));
    add("i32_edge", Arc::new(Int32Array::from(pick(&[0, 1, i32::MAX, i32::MIN, i32::MIN + 1], 13))));
    add("i64_edge", Arc::new(Int64Array::from(pick(&[0, 1, -1, i64::MAX, i64::MIN], 15))));
    add("u8", Arc::new(UInt8Array::from(pick(&[0u8, 1, 9, 200, 255], 17))));
    add("u32", Arc::new(UInt32Array::from(pick(&[0u32, 1, 77, u32::MAX], 19))));
    add("u64", Arc::new(UInt64Array::from(pick(&[0u64, 1, 12345, u64::MAX], 21))));
    let f64s = [0.0, -0.0, 1.0, -1.5, 2.5, 0.1, 1e10, -3.25, 0.5, 123.456];
    add("f64", Arc::new(Float64Array::from(pick(&f64s, 23))));
    add("p", Arc::new(Float64Array::from(pick(&[0.25, 0.5, 1.0, 2.0, 9.0, 1e-3, 77.7], 24))));
    let edges = [0.0, -0.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e300, 5e-324, -1e19, 0.5];
    add("f64_edge", Arc::new(Float64Array::from(pick(&edges, 25))));
    let f32s = [0.0f32, -0.0, 1.5, -2.5, 0.1, f32::NAN, f32::INFINITY, 3.0e7];
    add("f32", Arc::new(Float32Array::from(pick(&f32s, 27))));
    let dec = |values: &[i128], salt, p, s| {
        Arc::new(Decimal128Array::from(pick(values, salt)).with_precision_and_scale(p, s).expect("decimals"))
    };
    add("d", dec(&[0, 1, -1, 12345, -99999, 250, 150, -150], 29, 10, 2));
    add("d2", dec(&[0, 100, -100, 31415, 5, 15_000, -25], 31, 15, 4));
    add("dk", dec(&[100, 250, 1, 33_333], 32, 12, 2));
    add("s", Arc::new(StringArray::from(pick(TEXTS, 33))));
    add("sv", Arc::new(StringViewArray::from(pick(TEXTS, 35))));
    add("ls", Arc::new(LargeStringArray::from(pick(TEXTS, 37))));
    let dict: DictionaryArray<Int32Type> = pick(&["red", "green", "blue", ""], 39).into_iter().collect();
    add("sd", Arc::new(dict));
    add("date", Arc::new(Date32Array::from(pick(&[0, 19_000, -1, 11_016, -719_162, 59], 41))));
    add("date64", Arc::new(Date64Array::from(pick(&[0, 86_400_000, -86_400_000, 1_641_600_000_000], 43))));
    let seconds = [0i64, 1, -1, 1_700_000_000, -1_000_000_000, 951_782_400, 86_399];
    let at = |factor: i64| seconds.map(|s| s * factor + factor / 3);
    add("ts_s", Arc::new(TimestampSecondArray::from(pick(&at(1), 45))));
    add("ts_ms", Arc::new(TimestampMillisecondArray::from(pick(&at(1_000), 47))));
    add("ts_us", Arc::new(TimestampMicrosecondArray::from(pick(&at(1_000_000), 49))));
    add("ts", Arc::new(TimestampNanosecondArray::from(pick(&at(1_000_000_000), 51))));
    add("ts_utc", Arc::new(TimestampMicrosecondArray::from(pick(&at(1_000_000), 53)).with_timezone("UTC")));
    add(
        "ts_ny",
        Arc::new(TimestampMicrosecondArray::from(pick(&at(1_000_000), 55)).with_timezone("America/New_York")),
    );
    add("time", Arc::new(Time64MicrosecondArray::from(pick(&[0, 1, 86_399_999_999, 3_600_000_000], 57))));
    let mut lists = ListBuilder::new(Int64Builder::new());
    for i in 0..ROWS {
        if i % 5 == 0 {
            lists.append_null();
        } else {
            lists.append_value([Some(i as i64), None, Some(7)]);
        }
    }
    add("list", Arc::new(lists.finish()));
    let bytes: BinaryArray = pick(&[b"ab".as_slice(), b"", b"\xff"], 59).into_iter().collect();
    add("bin", Arc::new(bytes));
    let schema = Arc::new(Schema::new(fields));
    RecordBatch::try_new(schema, columns).expect("the table")
}

const TEXTS: &[&str] = &[
    "",
    "a",
    "abc",
    "ABC",
    "hello world",
    "100%",
    "a_b",
    "grüße",
    "日本語",
    "x",
    "hello",
    "special requests",
];

/// Registers `t` in three batches of one partition.
pub(super) fn register(context: &SessionContext) {
    let batch = batch();
    let parts = vec![batch.slice(0, 50), batch.slice(50, 1), batch.slice(51, ROWS - 51)];
    let table = MemTable::try_new(batch.schema(), vec![parts]).expect("a table");
    context.register_table("t", Arc::new(table)).expect("registered");
}
