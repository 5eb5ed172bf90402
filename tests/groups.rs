//! ClickBench's queries on real rows, and H2O's group-by questions on generated ones, with fusion forced:
//! the answers of stock DataFusion, and how many of the plans' aggregates run in stages.
//!
//! Queries are compared without their LIMIT: among equal counts it may keep any.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::DataFusionError;
use datafusion::datasource::MemTable;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::{SessionConfig, SessionContext};
use fuseline::Session;

use crate::answers::{Answer, Verdict, compare};
use crate::suites;

/// Aggregates of a plan: in stages, and left to DataFusion.
#[derive(Default)]
struct Aggregates {
    fused: usize,
    left: usize,
}

impl Aggregates {
    fn count(&mut self, plan: &Arc<dyn ExecutionPlan>) {
        let line = datafusion::physical_plan::displayable(plan.as_ref()).one_line().to_string();
        if plan.name() == "FusedExec" {
            self.fused += line.matches(") AggregateExec").count();
        } else {
            self.left += usize::from(line.starts_with("AggregateExec"));
        }
        plan.children().into_iter().for_each(|c| self.count(c));
    }
}

/// Runs all queries on both sides; gives the aggregates of the fused plans, and what differs.
async fn side_by_side(
    stock: &SessionContext,
    ours: &Session,
    queries: &[(String, String)],
) -> (Aggregates, Vec<String>) {
    let (mut aggregates, mut wrong) = (Aggregates::default(), vec![]);
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
                outcome.plan.iter().for_each(|p| aggregates.count(p));
                let actual = Answer::of(&outcome.batches).expect("it prints");
                if let Verdict::Different(what) = compare(expected, actual, true) {
                    wrong.push(format!("{name}: {what}\n    {sql}"));
                }
            }
        }
    }
    (aggregates, wrong)
}

fn report(suite: &str, queries: usize, aggregates: &Aggregates, wrong: &[String]) {
    println!(
        "{suite}: {queries} queries, {} aggregates in stages, {} left to DataFusion",
        aggregates.fused, aggregates.left
    );
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
    let (aggregates, wrong) = side_by_side(&stock, &ours, &queries).await;
    report("clickbench", queries.len(), &aggregates, &wrong);
    assert!(aggregates.fused >= 60, "only {} aggregates ran in stages", aggregates.fused);
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h2o_group_by_with_fusion_forced() {
    let Some(dir) = suites::folder("h2o") else {
        return;
    };
    let text = std::fs::read_to_string(dir.join("datafusion/groupby.sql")).expect("the questions");
    let queries: Vec<(String, String)> = text
        .split(';')
        .map(|q| q.lines().filter(|l| !l.trim_start().starts_with("--")).collect::<Vec<_>>().join(" "))
        .filter(|q| !q.trim().is_empty())
        .enumerate()
        .map(|(i, sql)| (format!("question {}", i + 1), sql))
        .collect();
    let batch = h2o(100_000);
    let (stock, ours) = (stock(), suites::session("force", 2, 8192));
    let memory = MemTable::try_new(batch.schema(), vec![vec![batch.clone()]]).expect("a table");
    stock.register_table("x", Arc::new(memory)).expect("it registers");
    ours.register_batches("x", batch.schema(), vec![batch]).expect("it registers");
    let (aggregates, wrong) = side_by_side(&stock, &ours, &queries).await;
    report("h2o", queries.len(), &aggregates, &wrong);
    assert!(aggregates.fused >= 12, "only {} aggregates ran in stages", aggregates.fused);
}
