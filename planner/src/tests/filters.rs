//! Filters, alone and combined with projections: rows and values as DataFusion has them.

use super::run::{difference, run};
use super::{block_on, first_stage, options, session, show, try_physical};
use arrow::compute::concat_batches;
use datafusion::physical_plan::collect;

#[test]
fn queries() {
    let queries = [
        "SELECT i64, s, f64 FROM t WHERE i32 > 0",
        "SELECT * FROM t WHERE i32 > 0",
        "SELECT list, bin, sd FROM t WHERE i64 >= 1 AND s LIKE '%a%'",
        "SELECT i32 + 1 AS x, upper(s) AS y, list FROM t WHERE b",
        "SELECT s FROM t WHERE b AND c AND i32 IS NOT NULL",
        "SELECT k FROM t WHERE b OR c",
        "SELECT k FROM t WHERE f64 > 0 AND sqrt(f64) > 1",
        "SELECT k FROM t WHERE i32 <> 0 AND 100 / i32 > 3",
        "SELECT k FROM t WHERE upper(s) = 'ABC'",
        "SELECT k, s FROM t WHERE i32 > 0 AND upper(s) LIKE 'H%' AND length(s) > 4",
        "SELECT k, upper(s) FROM t WHERE reverse(s) <> 'a' AND i64 > 0",
        "SELECT k + 1, i32 * 2 FROM (SELECT * FROM t WHERE i32 > 0) WHERE k > 4",
        "SELECT a + 1, a * 2 FROM (SELECT i32 * 3 AS a FROM t) WHERE a > 6",
        "SELECT u, length(u) FROM (SELECT upper(s) AS u, i32 FROM t) WHERE i32 > 0 AND u > 'A'",
        "SELECT 1 FROM t WHERE i32 > 0",
        "SELECT k FROM t WHERE false",
        "SELECT k FROM t WHERE NULL",
        "SELECT k FROM t WHERE i32 IN (1, 5, NULL)",
        "SELECT k FROM t WHERE i32 NOT IN (1, 5)",
        "SELECT d * 2, d / dk FROM t WHERE d BETWEEN -10 AND 200",
        "SELECT k FROM t WHERE date >= DATE '1999-01-01' AND date < DATE '2022-01-11'",
        "SELECT k FROM t WHERE CASE WHEN i32 > 0 THEN b ELSE c END",
        "SELECT s, sv, ls FROM t WHERE s = sv OR ls = 'x' OR sd = 'red'",
        "SELECT k FROM t WHERE list IS NOT NULL AND i32 > 0",
        "SELECT k FROM t WHERE list[1] > 10",
        "SELECT k, i32 FROM t WHERE i32 > 0 LIMIT 5",
        "SELECT k, i32 + 1 FROM t WHERE i32 > 0 LIMIT 5 OFFSET 3",
        "SELECT k + 1 FROM t LIMIT 7",
        "SELECT concat(s, x) FROM (SELECT s, CAST(i32 + 1 AS VARCHAR) AS x FROM t WHERE i32 >= 0) WHERE length(x) > 1",
        "SELECT upper(s) AS a, upper(s) AS b, lower(upper(s)) AS c FROM t WHERE k > 3 AND k % 2 = 1",
    ];
    let failures: Vec<String> = block_on(async {
        let context = session(1);
        let mut failures = vec![];
        for sql in queries {
            let plan = match try_physical(&context, sql).await {
                Ok(plan) => plan,
                Err(e) => {
                    failures.push(format!("{sql}\n    {e}"));
                    continue;
                }
            };
            let expected = collect(plan.clone(), context.task_ctx()).await;
            let expected = expected.and_then(|b| Ok(concat_batches(&plan.schema(), &b)?));
            let Some(planned) = first_stage(&plan, &options()) else {
                // Constant predicates leave nothing to fuse.
                if !sql.contains("false") && !sql.contains("WHERE NULL") && !sql.contains("SELECT 1") {
                    failures.push(format!("{sql}\n    not fused:\n{}", show(&plan)));
                }
                continue;
            };
            let child = planned.child.clone().expect("a child");
            let batches = collect(child, context.task_ctx()).await.expect("the child's rows");
            let problem = match (expected, run(&planned.stage, &batches)) {
                (Ok(expected), Ok(got)) if expected.num_columns() == got.num_columns() => {
                    difference(&got, &expected)
                }
                (Ok(_), Ok(_)) => Some(format!("the stage is not the whole plan:\n{}", show(&plan))),
                (Err(_), _) => None,
                (Ok(_), Err(e)) => Some(format!("only the stage errs: {e}")),
            };
            if let Some(problem) = problem {
                failures.push(format!("{sql}\n    {problem}\n{}", show(&plan)));
            }
        }
        failures
    });
    assert!(failures.is_empty(), "{} failed:\n{}", failures.len(), failures.join("\n"));
}
