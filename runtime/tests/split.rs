//! Operators that are not fused, whose expressions are.

use crate::support::{fused, plan, run, session, sorted_text, text, unfused};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::physical_plan::aggregates::AggregateExec;
use datafusion::physical_plan::expressions::{Column, Literal};
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::{displayable, execution_plan::ExecutionPlan};
use fuseline_runtime::fused_stages;
use std::sync::Arc;

fn shown(plan: &Arc<dyn ExecutionPlan>) -> String {
    displayable(plan.as_ref()).indent(false).to_string()
}

/// Whether an aggregate or sort of the plan evaluates more than columns and constants.
fn computes(plan: &Arc<dyn ExecutionPlan>) -> bool {
    let mut found = false;
    if plan.is::<AggregateExec>() || plan.is::<SortExec>() {
        plan.apply_expressions(&mut |e| {
            found |= !e.is::<Column>() && !e.is::<Literal>();
            Ok(TreeNodeRecursion::Continue)
        })
        .unwrap();
    }
    found || plan.children().into_iter().any(computes)
}

/// Queries whose aggregates and sorts evaluate nothing themselves once split.
const SPLIT: [&str; 13] = [
    "SELECT n % 7 AS g, count(*) FROM t GROUP BY n % 7",
    "SELECT n % 7 AS g, sum(i * 2), min(f + 1), count(i - n) FROM t WHERE i > 0 GROUP BY n % 7",
    "SELECT n, sum(i) FILTER (WHERE f > 3), avg(f * 4) FILTER (WHERE b) FROM t GROUP BY n",
    "SELECT b, max(substr(s, 2)), count(DISTINCT n % 3) FROM t GROUP BY b",
    "SELECT n % 3 AS g, b, sum(i + 1) FROM t GROUP BY GROUPING SETS ((n % 3), (b), ())",
    "SELECT n % 3 AS g, n % 4 AS h, sum(i + 1) FROM t GROUP BY ROLLUP (n % 3, n % 4)",
    "SELECT median(n * 2), stddev(f + 1) FROM t",
    "SELECT median(100 / n) FILTER (WHERE n > 0) FROM t",
    "SELECT approx_median(i + 1), count(*) FROM t WHERE n < 0",
    "SELECT i, n FROM t WHERE n < 9 ORDER BY i + n, n, i, v, s, d, f, day, ts, dec",
    "SELECT i, n, v, day FROM t ORDER BY abs(i) DESC NULLS LAST, n * 3, i, v, day LIMIT 20",
    "SELECT id FROM big ORDER BY id % 1000 DESC, id",
    "SELECT id, k FROM big ORDER BY (id * 7919) % 10007, id LIMIT 50 OFFSET 7",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn expressions_of_aggregates_and_sorts_run_in_stages() {
    let (plain, ours) = (unfused(), session(&[("fuseline.fusion", "require"), ("fuseline.verify", "true")]));
    for sql in SPLIT {
        let unsplit = plan(&plain, sql).await;
        assert!(computes(&unsplit), "{sql}\n{}", shown(&unsplit));
        let split = plan(&ours, sql).await;
        assert!(!fused_stages(&split).is_empty(), "{sql}\n{}", shown(&split));
        let (expected, _) = run(&plain, sql).await.unwrap();
        let (given, _) = run(&ours, sql).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
        if sql.contains("ORDER BY i") || sql.contains("ORDER BY abs") || sql.contains("big") {
            let rows = |batches| {
                datafusion::arrow::util::pretty::pretty_format_batches(batches).unwrap().to_string()
            };
            assert_eq!(rows(&given), rows(&expected), "{sql}");
        } else {
            assert_eq!(sorted_text(&given), sorted_text(&expected), "{sql}");
        }
    }
}

#[tokio::test]
async fn a_split_operator_keeps_its_schema_and_place() {
    let ours = fused();
    let shown_plan =
        text(&ours, "EXPLAIN SELECT n % 7 AS g, median(i * 2) FROM t WHERE i > 0 GROUP BY n % 7").await;
    assert!(
        shown_plan.contains("AggregateExec: mode=Partial, gby=[CAST(n AS Int64) % 7@0 as t.n % Int64(7)]"),
        "{shown_plan}"
    );
    assert!(
        shown_plan.contains("*(1) ProjectionExec") || shown_plan.contains("*(2) ProjectionExec"),
        "{shown_plan}"
    );
    assert!(shown_plan.contains("FilterExec: i@"), "the filter below joins the stage: {shown_plan}");
    let sorted = text(&ours, "EXPLAIN SELECT i FROM t ORDER BY i % 5, i").await;
    assert!(sorted.contains("SortPreservingMergeExec: [i % "), "{sorted}");
    assert!(sorted.contains("ProjectionExec: expr=[i@0 as i]"), "the key is dropped above: {sorted}");
}

#[tokio::test]
async fn what_stays_whole_says_why() {
    let ours = session(&[("fuseline.fusion", "require")]);
    for (sql, words) in [
        ("SELECT sum(i) OVER (PARTITION BY n % 3 ORDER BY i + 1) FROM t", "WindowAggExec"),
        ("SELECT approx_percentile_cont(0.5) WITHIN GROUP (ORDER BY i + 1) FROM t", "in an order"),
        ("SELECT n, array_agg(i ORDER BY i + 1, f, v) FROM t GROUP BY n", "+ 1"),
        ("SELECT a.n FROM t a JOIN t b ON a.i + b.i > 990", "JoinExec"),
    ] {
        let error = run(&ours, sql).await.unwrap_err().to_string();
        assert!(error.contains("fuseline.fusion = 'require'"), "{sql}: {error}");
        assert!(error.contains(words), "{sql}: {error}");
        // Without the demand the same query runs.
        let (expected, _) = run(&unfused(), sql).await.unwrap();
        let (given, _) = run(&fused(), sql).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
        assert_eq!(sorted_text(&given), sorted_text(&expected), "{sql}");
    }
}

#[tokio::test]
async fn tiny_inputs_and_prunable_topks_stay_whole_by_default() {
    let on = session(&[]);
    let stages = |sql: &'static str| {
        let on = on.clone();
        async move { fused_stages(&plan(&on, sql).await).len() }
    };
    assert_eq!(stages("SELECT n % 7, count(*) FROM one GROUP BY n % 7").await, 0);
    assert_eq!(stages("SELECT id % 7, count(*) FROM big GROUP BY id % 7").await, 1);
    assert_eq!(stages("SELECT id FROM big ORDER BY CAST(id AS INT) LIMIT 3").await, 0);
    assert_eq!(stages("SELECT id FROM big ORDER BY id % 77, id LIMIT 3").await, 1);
}

/// A CASE whose arms have several types has the type that its rows happen to give it: such an operator is
/// DataFusion's.
#[tokio::test]
async fn a_case_of_mixed_types_is_left_alone() {
    let ours = fused();
    let case = "CASE WHEN CAST(NULL AS BOOLEAN) THEN round(TRY_CAST(f AS DECIMAL(20,6)), 1) \
                ELSE CAST(14 AS DECIMAL(5,2)) / NULLIF(CAST(-6 AS DECIMAL(5,2)), 0) END";
    for sql in [
        format!("SELECT avg({case}) FROM t WHERE n > 3"),
        format!("SELECT n, avg({case}) FROM t WHERE n > 3 GROUP BY n"),
        format!("SELECT CAST({case} AS DOUBLE) + 1 FROM t WHERE n > 3"),
        format!("SELECT i + 1 FROM t WHERE CAST({case} AS DOUBLE) > -3 ORDER BY i"),
    ] {
        let (expected, _) = run(&unfused(), &sql).await.unwrap();
        let (given, _) = run(&ours, &sql).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
        assert_eq!(sorted_text(&given), sorted_text(&expected), "{sql}");
        let shown = text(&ours, &format!("EXPLAIN {sql}")).await;
        assert!(shown.contains("it holds a CASE of type Decimal128(20, 1)"), "{shown}");
    }
}
