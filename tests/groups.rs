//! ClickBench's queries on real rows, and H2O's questions on generated ones, with fusion forced: the answers of
//! stock DataFusion, and how much of the plans runs in stages.
//!
//! Queries are compared without their LIMIT: among equal counts it may keep any. With `FUSELINE_NIGHTLY` H2O's
//! tables are larger.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::DataFusionError;
use datafusion::datasource::MemTable;
use datafusion::prelude::{SessionConfig, SessionContext};
use fuseline::Session;

use crate::answers::{Answer, Verdict, compare};
use crate::share::Share;
use crate::suites;

/// Runs all queries on both sides; gives how much of the fused plans is in stages, and what differs.
async fn side_by_side(
    stock: &SessionContext,
    ours: &Session,
    queries: &[(String, String)],
) -> (Share, Vec<String>) {
    let (mut share, mut wrong) = (Share::default(), vec![]);
    for (name, sql) in queries {
        let sql = sql.trim().trim_end_matches(';');
        let sql = sql.split(" LIMIT ").next().unwrap_or(sql);
        let expected = async {
            let batches = stock.sql(sql).await?.collect().await?;
            Ok::<_, DataFusionError>(batches)
        };
        let expected = match expected.await {
            Ok(batches) => Answer::of(&batches).expect("it prints"),
            Err(e) => {
                wrong.push(format!("{name}: stock fails: {e}"));
                continue;
            }
        };
        match suites::run(ours, sql).await {
            Err(e) => wrong.push(format!("{name}: {e}\n    {sql}")),
            Ok(outcome) => {
                let here = Share::of(outcome.plan.as_ref());
                println!("{name:12} {here}");
                share.add(here);
                let actual = Answer::of(&outcome.batches).expect("it prints");
                if let Verdict::Different(what) = compare(expected, actual, true) {
                    wrong.push(format!("{name}: {what}\n    {sql}"));
                }
            }
        }
    }
    (share, wrong)
}

fn report(suite: &str, queries: usize, share: &Share, wrong: &[String]) {
    println!("{suite}, {queries} queries: {share}");
    assert!(wrong.is_empty(), "{} of {queries} differ:\n{}", wrong.len(), wrong.join("\n"));
}

fn stock() -> SessionContext {
    SessionContext::new_with_config(SessionConfig::new().with_target_partitions(2))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clickbench_with_fusion_forced() {
    let Some(dir) = suites::folder("clickbench") else {
        return;
    };
    let file = dir.join("hits_mini.parquet");
    let create = format!("CREATE EXTERNAL TABLE hits STORED AS PARQUET LOCATION '{}'", file.display());
    let (stock, ours) = (stock(), suites::session("force", 2, 8192));
    stock.sql(&create).await.expect("a table");
    suites::run(&ours, &create).await.expect("a table");
    let queries: Vec<(String, String)> = (0..43)
        .map(|i| {
            let path = dir.join("queries").join(format!("q{i}.sql"));
            let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            let sql = text.lines().filter(|l| !l.starts_with("--")).collect::<Vec<_>>().join(" ");
            (format!("q{i}"), sql)
        })
        .collect();
    let (share, wrong) = side_by_side(&stock, &ours, &queries).await;
    report("clickbench", queries.len(), &share, &wrong);
    let (fused, _) = share.kind("aggregates");
    assert!(fused >= 60, "only {fused} aggregates ran in stages");
}

/// The table of H2O's group-by questions: three columns of strings and three of integers to group by.
fn h2o(rows: usize) -> RecordBatch {
    let mut state = 88_172_645_463_325_252u64;
    let mut random = move |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) % below
    };
    let large = (rows / 100) as u64;
    let mut text = |below: u64, width: usize| -> ArrayRef {
        Arc::new((0..rows).map(|_| Some(format!("id{:0width$}", random(below) + 1))).collect::<StringArray>())
    };
    let (id1, id2, id3) = (text(100, 3), text(100, 3), text(large, 10));
    let mut state = 12_345u64;
    let mut random = move |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let mut number = |below: u64| -> Vec<i64> { (0..rows).map(|_| random(below) as i64 + 1).collect() };
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("id1", id1),
        ("id2", id2),
        ("id3", id3),
        ("id4", Arc::new(Int64Array::from(number(100)))),
        ("id5", Arc::new(Int32Array::from_iter_values(number(100).into_iter().map(|v| v as i32)))),
        ("id6", Arc::new(Int64Array::from(number(large)))),
        ("v1", Arc::new(Int64Array::from(number(5)))),
        ("v2", Arc::new(Int32Array::from_iter_values(number(15).into_iter().map(|v| v as i32)))),
        (
            "v3",
            Arc::new(Float64Array::from_iter_values(number(100_000_000).into_iter().map(|v| v as f64 / 1e6))),
        ),
    ];
    let fields: Vec<Field> =
        columns.iter().map(|(name, c)| Field::new(*name, c.data_type().clone(), true)).collect();
    debug_assert!(fields.iter().any(|f| *f.data_type() == DataType::Utf8));
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns.into_iter().map(|c| c.1).collect())
        .expect("a batch")
}

fn questions(dir: &std::path::Path, kind: &str) -> Vec<(String, String)> {
    let path = dir.join(format!("datafusion/{kind}.sql"));
    let text = std::fs::read_to_string(path).expect("the questions");
    text.split(';')
        .map(|q| q.lines().filter(|l| !l.trim_start().starts_with("--")).collect::<Vec<_>>().join(" "))
        .filter(|q| !q.trim().is_empty())
        .enumerate()
        .map(|(i, sql)| (format!("question {}", i + 1), sql))
        .collect()
}

/// The tables of H2O's join questions: `x` has `rows` rows, and meets tables of three sizes, each of unique keys
/// of which one in ten is in no row of `x`, as one in ten of its own is in none of theirs.
fn h2o_joins(rows: usize) -> Vec<(&'static str, RecordBatch)> {
    let sizes = [("small", (rows / 10_000).max(10)), ("medium", rows / 100), ("large", rows)];
    let mut state = 3_141_592_653u64;
    let mut random = move |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let text = |keys: &[i64]| -> ArrayRef {
        Arc::new(keys.iter().map(|k| Some(format!("id{k}"))).collect::<StringArray>())
    };
    let batch = |columns: Vec<(String, ArrayRef)>| {
        RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, c)| (n, c, true)))
            .expect("a batch")
    };
    let mut keys_of_x = vec![];
    let mut tables = vec![];
    for (at, (name, size)) in sizes.into_iter().enumerate() {
        // Of 11 tenths as many keys x has the first ten, the table the last.
        let tenth = size / 10;
        keys_of_x.push((0..rows).map(|_| random(size) as i64 + 1).collect::<Vec<_>>());
        let mut keys: Vec<i64> = (tenth..size + tenth).map(|k| k as i64 + 1).collect();
        for i in (1..keys.len()).rev() {
            keys.swap(i, random(i + 1));
        }
        let mut columns: Vec<(String, ArrayRef)> = vec![];
        let ids: Vec<Vec<i64>> = sizes[..at]
            .iter()
            .map(|(_, other)| keys.iter().map(|key| key % (*other as i64) + 1).collect())
            .chain([keys.clone()])
            .collect();
        for (k, ids) in ids.iter().enumerate() {
            columns.push((format!("id{}", k + 1), Arc::new(Int64Array::from(ids.clone()))));
        }
        for (k, ids) in ids.iter().enumerate() {
            columns.push((format!("id{}", k + 4), text(ids)));
        }
        let v2 = (0..size).map(|_| random(100_000_000) as f64 / 1e6);
        columns.push(("v2".into(), Arc::new(Float64Array::from_iter_values(v2))));
        tables.push((name, batch(columns)));
    }
    let mut columns: Vec<(String, ArrayRef)> = vec![];
    for (k, keys) in keys_of_x.iter().enumerate() {
        columns.push((format!("id{}", k + 1), Arc::new(Int64Array::from(keys.clone()))));
    }
    for (k, keys) in keys_of_x.iter().enumerate() {
        columns.push((format!("id{}", k + 4), text(keys)));
    }
    let v1 = (0..rows).map(|_| random(100_000_000) as f64 / 1e6);
    columns.push(("v1".into(), Arc::new(Float64Array::from_iter_values(v1))));
    tables.push(("x", batch(columns)));
    tables
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h2o_joins_with_fusion_forced() {
    let Some(dir) = suites::folder("h2o") else {
        return;
    };
    let queries = questions(&dir, "join");
    let (stock, ours) = (stock(), suites::session("force", 2, 8192));
    for (name, batch) in h2o_joins(if suites::nightly() { 300_000 } else { 30_000 }) {
        let memory = MemTable::try_new(batch.schema(), vec![vec![batch.clone()]]).expect("a table");
        stock.register_table(name, Arc::new(memory)).expect("it registers");
        ours.register_batches(name, batch.schema(), vec![batch]).expect("it registers");
    }
    let (share, wrong) = side_by_side(&stock, &ours, &queries).await;
    report("h2o join", queries.len(), &share, &wrong);
    assert_eq!(share.kind("joins"), (5, 0), "every join is in a stage");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h2o_group_by_with_fusion_forced() {
    let Some(dir) = suites::folder("h2o") else {
        return;
    };
    let queries = questions(&dir, "groupby");
    let batch = h2o(if suites::nightly() { 1_000_000 } else { 100_000 });
    let (stock, ours) = (stock(), suites::session("force", 2, 8192));
    let memory = MemTable::try_new(batch.schema(), vec![vec![batch.clone()]]).expect("a table");
    stock.register_table("x", Arc::new(memory)).expect("it registers");
    ours.register_batches("x", batch.schema(), vec![batch]).expect("it registers");
    let (share, wrong) = side_by_side(&stock, &ours, &queries).await;
    report("h2o group by", queries.len(), &share, &wrong);
    let (fused, _) = share.kind("aggregates");
    assert!(fused >= 12, "only {fused} aggregates ran in stages");
}
