//! Tables and sessions for the tests.

use arrow::array::{
    ArrayRef, BooleanArray, Date32Array, Decimal128Array, DictionaryArray, Float64Array, Int32Array,
    Int64Array, RecordBatch, StringArray, StringViewArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Int32Type, Schema, TimeUnit};
use arrow::util::pretty::pretty_format_batches;
use datafusion::datasource::MemTable;
use datafusion::execution::SessionStateBuilder;
use datafusion::physical_plan::{ExecutionPlan, collect};
use datafusion::prelude::{SessionConfig, SessionContext};
use fuseline_runtime::{FuselineOptions, fuse, fused_stages};
use std::sync::Arc;

/// A session with the tables of these tests, `fuseline.*` set as given.
pub fn session(settings: &[(&str, &str)]) -> SessionContext {
    let mut options = FuselineOptions::default();
    let mut config = SessionConfig::new().with_target_partitions(2);
    for (key, value) in settings {
        match key.strip_prefix("fuseline.") {
            Some(key) => options.set(key, value).unwrap(),
            None => config.options_mut().set(key, value).unwrap(),
        }
    }
    config.options_mut().extensions.insert(options);
    let builder = SessionStateBuilder::new().with_default_features().with_config(config);
    let context = SessionContext::new_with_state(fuse(builder).build());
    register(&context);
    context
}

pub fn fused() -> SessionContext {
    session(&[("fuseline.fusion", "force"), ("fuseline.verify", "true")])
}

pub fn unfused() -> SessionContext {
    session(&[("fuseline.fusion", "off")])
}

fn register(context: &SessionContext) {
    let small: Vec<RecordBatch> = (0..5).map(|i| mixed(i, 700)).collect();
    // Slices with an offset that is no multiple of 8, an empty batch, a batch of one row.
    let odd = vec![
        mixed(9, 2000).slice(13, 1500),
        mixed(10, 10).slice(3, 0),
        mixed(11, 10).slice(7, 1),
        mixed(12, 5000).slice(1, 4000),
    ];
    let schema = small[0].schema();
    let add = |name: &str, partitions: Vec<Vec<RecordBatch>>| {
        let table = MemTable::try_new(Arc::clone(&schema), partitions).unwrap();
        context.register_table(name, Arc::new(table)).unwrap();
    };
    add("t", vec![small, odd]);
    add("empty", vec![vec![]]);
    add("one", vec![vec![mixed(3, 1)]]);
    let big = big_batch(300_000);
    let table = MemTable::try_new(big.schema(), vec![vec![big]]).unwrap();
    context.register_table("big", Arc::new(table)).unwrap();
}

/// One batch without nulls: `id` ascending, `x` = id * 0.1, `k` = id % 10.
pub fn big_batch(rows: usize) -> RecordBatch {
    let id: Vec<i64> = (0..rows as i64).collect();
    let x: Vec<f64> = id.iter().map(|i| *i as f64 * 0.1).collect();
    let k: Vec<i64> = id.iter().map(|i| i % 10).collect();
    let schema = Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("x", DataType::Float64, false),
        Field::new("k", DataType::Int64, false),
    ]);
    let columns: Vec<ArrayRef> =
        vec![Arc::new(Int64Array::from(id)), Arc::new(Float64Array::from(x)), Arc::new(Int64Array::from(k))];
    RecordBatch::try_new(Arc::new(schema), columns).unwrap()
}

/// A batch of many types with nulls; float values are multiples of 1/4, so that sums are exact in
/// any order.
fn mixed(seed: i64, rows: usize) -> RecordBatch {
    let r = |i: usize, m: i64| (i as i64 * 7_919 + seed * 104_729 + (i as i64 * i as i64) % 31).rem_euclid(m);
    let some = |i: usize, m: i64| (r(i, m) != 0).then_some(i);
    let words = ["apple", "banana", "", "a long enough string to leave the view", "Ärger", "apple pie"];
    let word = |i: usize| words[r(i, 6) as usize];
    let rows = 0..rows;
    let columns: Vec<(&str, ArrayRef, bool)> = vec![
        (
            "i",
            Arc::new(rows.clone().map(|i| some(i, 5).map(|i| r(i, 1000) - 500)).collect::<Int64Array>()),
            true,
        ),
        ("n", Arc::new(rows.clone().map(|i| Some(r(i, 100) as i32)).collect::<Int32Array>()), false),
        (
            "f",
            Arc::new(
                rows.clone()
                    .map(|i| some(i, 7).map(|i| (r(i, 4000) - 2000) as f64 / 4.0))
                    .collect::<Float64Array>(),
            ),
            true,
        ),
        (
            "b",
            Arc::new(rows.clone().map(|i| some(i, 4).map(|i| r(i, 2) == 0)).collect::<BooleanArray>()),
            true,
        ),
        ("s", Arc::new(rows.clone().map(|i| some(i, 6).map(word)).collect::<StringArray>()), true),
        ("v", Arc::new(rows.clone().map(|i| some(i, 9).map(word)).collect::<StringViewArray>()), true),
        (
            "d",
            Arc::new(rows.clone().map(|i| some(i, 8).map(word)).collect::<DictionaryArray<Int32Type>>()),
            true,
        ),
        (
            "day",
            Arc::new(rows.clone().map(|i| some(i, 11).map(|i| r(i, 20_000) as i32)).collect::<Date32Array>()),
            true,
        ),
        (
            "ts",
            Arc::new(
                rows.clone()
                    .map(|i| some(i, 10).map(|i| r(i, 1_000_000) * 1_700_000_123))
                    .collect::<TimestampMicrosecondArray>(),
            ),
            true,
        ),
        (
            "dec",
            Arc::new(
                rows.map(|i| some(i, 12).map(|i| i128::from(r(i, 100_000) - 50_000)))
                    .collect::<Decimal128Array>()
                    .with_precision_and_scale(15, 2)
                    .unwrap(),
            ),
            true,
        ),
    ];
    let fields: Vec<Field> = columns
        .iter()
        .map(|(name, c, nullable)| Field::new(*name, c.data_type().clone(), *nullable))
        .collect();
    debug_assert_eq!(fields[8].data_type(), &DataType::Timestamp(TimeUnit::Microsecond, None));
    let columns = columns.into_iter().map(|c| c.1).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
}

pub async fn plan(context: &SessionContext, sql: &str) -> Arc<dyn ExecutionPlan> {
    context.sql(sql).await.unwrap().create_physical_plan().await.unwrap()
}

/// The result, and in how many fused stages it was computed.
pub async fn run(
    context: &SessionContext,
    sql: &str,
) -> datafusion::common::Result<(Vec<RecordBatch>, usize)> {
    let plan = context.sql(sql).await?.create_physical_plan().await?;
    let stages = fused_stages(&plan).len();
    Ok((collect(plan, context.task_ctx()).await?, stages))
}

/// The rows as text, sorted: what two runs must have in common.
pub fn sorted_text(batches: &[RecordBatch]) -> Vec<String> {
    let text = pretty_format_batches(batches).unwrap().to_string();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

pub async fn text(context: &SessionContext, sql: &str) -> String {
    let (batches, _) = run(context, sql).await.unwrap();
    pretty_format_batches(&batches).unwrap().to_string()
}
