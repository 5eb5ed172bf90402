//! Hash joins: fused, interpreted and with 128-bit vectors they give what DataFusion's own operator gives, over
//! keys of all kinds and build sides of all shapes; and the plans of those that stages take show them inside.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::physical_plan::{ExecutionPlan, displayable};
use fuseline::Session;

use crate::answers::{Answer, Verdict, compare};
use crate::suites;
use crate::udf::text;

/// Rows and distinct keys of the build side, then of the probe side.
type Shape = (usize, usize, usize, usize);

const SHAPES: &[(&str, Shape)] = &[
    ("all distinct", (100, 100, 5000, 150)),
    ("duplicates", (300, 60, 6000, 90)),
    ("all equal", (40, 1, 3000, 1)),
    ("no build rows", (0, 10, 1000, 10)),
    ("no probe rows", (500, 100, 0, 150)),
    ("more than a chunk per key", (2500, 1, 20, 1)),
];

const KEYS: &[&str] = &[
    "p.k = b.k",
    "p.k32 = b.k32",
    "p.u8 = b.u8",
    "p.nk = b.nk",
    "(p.nk IS NOT DISTINCT FROM b.nk)",
    "p.s = b.s",
    "(p.s IS NOT DISTINCT FROM b.s)",
    "p.s2 = b.s2",
    "p.fk = b.fk",
    "p.dk = b.dk",
    "p.k * 1000003 = b.k * 1000003",
    // Few keys in a range too wide for an array by value.
    "(p.k - 50) * 4099 = (b.k - 50) * 4099",
    "CAST(p.k32 * 4099 AS int) = CAST(b.k32 * 4099 AS int)",
    "p.k * 4099 = b.k * 4099 AND p.s2 = b.s2",
    "p.k = b.k AND p.s2 = b.s2",
    "p.bo = b.bo AND p.k32 = b.k32",
    "(p.nk IS NOT DISTINCT FROM b.nk) AND p.fk = b.fk AND p.s = b.s",
];

/// How a query runs; the first is what others are compared with.
const MODES: &[(&str, &[(&str, &str)])] = &[
    ("stock", &[("fuseline.fusion", "off")]),
    ("compiled", &[("fuseline.fusion", "force"), ("fuseline.verify", "true")]),
    ("interpreted", &[("fuseline.fusion", "force"), ("fuseline.backend", "interp")]),
    ("narrow", &[("fuseline.fusion", "force"), ("fuseline.vectors", "128")]),
    (
        "partitioned",
        &[
            ("fuseline.fusion", "force"),
            ("datafusion.optimizer.hash_join_single_partition_threshold", "0"),
            ("datafusion.optimizer.hash_join_single_partition_threshold_rows", "0"),
        ],
    ),
    ("small batches", &[("fuseline.fusion", "force"), ("datafusion.execution.batch_size", "3")]),
];

fn columns(prefix: i64, keys: usize) -> String {
    format!(
        "value AS id, value % {keys} AS k, CAST(value % {a} AS int) AS k32, \
         arrow_cast(value % 11, 'UInt8') AS u8, \
         CASE WHEN value % {b} = 0 THEN NULL ELSE value % {c} END AS nk, \
         CASE WHEN value % 17 = 0 THEN NULL ELSE 'key number ' || CAST(value % {d} AS varchar) END AS s, \
         CAST(value % 20 AS varchar) AS s2, value % 2 = 0 AS bo, \
         CASE WHEN value % 5 = 0 THEN {zero} ELSE CAST(value % 9 AS double) END AS fk, \
         CAST(value % 100 AS decimal(12,2)) AS dk, CASE WHEN value % 3 = 0 THEN NULL ELSE value END AS nv",
        a = 50 + prefix,
        b = 7 + prefix,
        c = 40 + prefix,
        d = 30 + prefix,
        zero = if prefix == 0 { "-0.0" } else { "0.0" },
    )
}

async fn session(mode: &[(&str, &str)], (build, build_keys, probe, probe_keys): Shape) -> Session {
    let mut builder = Session::builder().threads(2);
    for (name, value) in mode {
        builder = builder.set(*name, *value);
    }
    let session = builder.build().expect("a session");
    let tables = [
        ("b", build, columns(0, build_keys)),
        ("p", probe, columns(5, probe_keys)),
        ("b2", build / 3, columns(2, build_keys)),
    ];
    for (name, rows, columns) in tables {
        let sql = format!("CREATE TABLE {name} AS SELECT {columns} FROM range(0, {rows})");
        suites::run(&session, &sql).await.expect("a table");
    }
    session
}

fn queries() -> Vec<String> {
    let mut all = vec![];
    for key in KEYS {
        for condition in ["", " AND p.nv + b.nv > 100"] {
            // DataFusion builds the smaller side, so either order makes both kinds of each join.
            for (left, right) in [("p", "b"), ("b", "p")] {
                for join in ["JOIN", "LEFT JOIN", "FULL JOIN"] {
                    all.push(format!(
                        "SELECT count(*), sum(p.id), sum(b.id), count(b.nv), count(p.nv), min(b.s), max(p.s2) \
                         FROM {left} {join} {right} ON {key}{condition}"
                    ));
                }
                for exists in ["EXISTS", "NOT EXISTS", "id % 5 = 0 OR EXISTS"] {
                    all.push(format!(
                        "SELECT count(*), sum(id), max(s) FROM {left} \
                         WHERE {exists} (SELECT 1 FROM {right} WHERE {key}{condition})"
                    ));
                }
            }
            all.push(format!(
                "SELECT b.k32, count(*), sum(p.id), min(p.nk) FROM p JOIN b ON {key}{condition} \
                 GROUP BY 1 ORDER BY 1"
            ));
            all.push(format!(
                "SELECT b.k32, p.bo, count(*), count(p.nv), sum(p.id), avg(p.k) FROM b LEFT JOIN p ON {key}{condition} \
                 WHERE p.id IS NULL OR p.id % 3 > 0 GROUP BY 1, 2 ORDER BY 1, 2"
            ));
            all.push(format!(
                "SELECT p.s2, count(*), count(b.id), sum(b.nv) FROM b FULL JOIN p ON {key}{condition} \
                 GROUP BY 1 ORDER BY 1"
            ));
            all.push(format!(
                "SELECT b.id, b.s, b.nv, b.k32 + 1 FROM b \
                 WHERE NOT EXISTS (SELECT 1 FROM p WHERE {key}{condition} AND p.id % 3 = 0) ORDER BY 1"
            ));
            all.push(format!(
                "SELECT b.id, upper(b.s2), b.nv, p.id AS other, p.s, p.dk FROM b \
                 LEFT JOIN (SELECT * FROM p WHERE id % 61 < 3) AS p ON {key}{condition} ORDER BY 1, 4"
            ));
        }
        all.push(format!(
            "SELECT p.id, b.id AS other, b.s, b.nv, b.bo, p.s, b.dk, b.fk + p.fk FROM p JOIN b ON {key} \
             WHERE p.id % 61 < 3 ORDER BY 1, 2"
        ));
        all.push(format!(
            "SELECT p.id, b.id AS other, b.s, upper(b.s2) || p.s2 FROM p LEFT JOIN b ON {key} \
             WHERE p.id % 61 < 3 ORDER BY 1, 2"
        ));
        all.push(format!(
            "SELECT b2.k32, count(*), sum(b.nv) FROM p JOIN b ON {key} JOIN b AS b2 ON p.k32 = b2.k32 \
             WHERE b2.id < 50 GROUP BY 1 ORDER BY 1"
        ));
        // Rows that one join keeps go through another.
        all.push(format!(
            "SELECT b2.k32, count(*), count(p.id), sum(b.nv) FROM b2 LEFT JOIN \
             (b LEFT JOIN p ON {key}) ON b2.k = b.k32 GROUP BY 1 ORDER BY 1"
        ));
        all.push(format!(
            "SELECT count(*), sum(b2.id), max(b2.s) FROM b2 WHERE b2.k NOT IN \
             (SELECT b.k FROM b LEFT JOIN p ON {key} WHERE p.id IS NULL OR b.id % 2 = 0)"
        ));
    }
    for (left, right) in [("p", "b"), ("b", "p")] {
        for column in ["k", "nk", "s"] {
            for limit in ["", "WHERE id < 0", "WHERE nk IS NOT NULL AND s IS NOT NULL"] {
                all.push(format!(
                    "SELECT count(*), sum(id) FROM {left} WHERE {column} NOT IN \
                     (SELECT {column} FROM {right} {limit})"
                ));
            }
        }
    }
    all
}

/// Joins inside and outside of stages.
fn count(plan: &Arc<dyn ExecutionPlan>) -> (usize, usize) {
    let line = displayable(plan.as_ref()).one_line().to_string();
    let fused = if plan.name() == "FusedExec" { line.matches(") HashJoinExec").count() } else { 0 };
    let left = usize::from(line.starts_with("HashJoinExec"));
    plan.children().into_iter().map(count).fold((fused, left), |a, b| (a.0 + b.0, a.1 + b.1))
}

/// Counts the joins of a plan's stages by kind, and whether they have a condition.
fn kinds_of(plan: &Arc<dyn ExecutionPlan>, kinds: &mut BTreeMap<(String, bool), usize>) {
    if plan.name() == "FusedExec" {
        let line = displayable(plan.as_ref()).one_line().to_string();
        for join in line.split("HashJoinExec: ").skip(1) {
            let join = join.split(" <- ").next().unwrap_or_default();
            let kind = join.split("join_type=").nth(1).unwrap_or_default();
            let kind = kind.split([',', ' ']).next().unwrap_or_default().trim().to_owned();
            let kind = if join.contains("null_aware") { "NotIn".to_owned() } else { kind };
            *kinds.entry((kind, join.contains("filter="))).or_default() += 1;
        }
    }
    plan.children().into_iter().for_each(|c| kinds_of(c, kinds));
}

/// Whether DataFusion knows from a table's size that nothing can come of a join.
fn without_join(plan: &Arc<dyn ExecutionPlan>) -> bool {
    !displayable(plan.as_ref()).indent(false).to_string().contains("Join")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn joins_give_what_datafusion_gives() {
    // Every kind of join, without and with a condition.
    let mut kinds: BTreeMap<(String, bool), usize> = BTreeMap::new();
    for (name, shape) in SHAPES {
        let mut sessions = vec![];
        for (mode, settings) in MODES {
            sessions.push((mode, session(settings, *shape).await));
        }
        let (mut fused, mut left) = (0, 0);
        for sql in queries() {
            let (_, stock) = &sessions[0];
            let expected = suites::run(stock, &sql).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
            for (mode, ours) in &sessions[1..] {
                let outcome = suites::run(ours, &sql).await;
                let outcome = outcome.unwrap_or_else(|e| panic!("{name}, {mode}: {sql}: {e}"));
                if let Some(plan) = &outcome.plan {
                    let (inside, outside) = count(plan);
                    kinds_of(plan, &mut kinds);
                    (fused, left) = (fused + inside, left + outside);
                    assert!(outside == 0, "{name}, {mode}: not fused: {sql}");
                    assert!(inside > 0 || without_join(plan), "{name}, {mode}: no join in a stage: {sql}");
                }
                let expected = Answer::of(&expected.batches).expect("it prints");
                let actual = Answer::of(&outcome.batches).expect("it prints");
                if let Verdict::Different(what) = compare(expected, actual, true) {
                    panic!("{name}, {mode}: {what}\n    {sql}");
                }
            }
        }
        println!("{name}: {fused} joins in stages, {left} left to DataFusion");
        assert!(fused >= 500, "{name}: {fused} joins fused, {left} not");
    }
    println!("{kinds:?}");
    for kind in [
        "Inner",
        "Left",
        "Right",
        "Full",
        "LeftSemi",
        "LeftAnti",
        "LeftMark",
        "RightSemi",
        "RightAnti",
        "RightMark",
    ] {
        for condition in [false, true] {
            assert!(kinds.contains_key(&(kind.to_owned(), condition)), "{kind}, {condition}: {kinds:?}");
        }
    }
    assert!(kinds.contains_key(&("NotIn".to_owned(), false)), "{kinds:?}");
}

/// One stage from the probe side's scan through two probes to the aggregate.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pipeline_stays_whole_across_probes() {
    let ours = session(MODES[1].1, (300, 60, 6000, 90)).await;
    for sql in [
        "SELECT sum(p.id + b.nv) FROM p JOIN b ON p.k = b.k JOIN b AS c ON p.k32 = c.k32 WHERE b.nv > 3",
        "SELECT c.k32, sum(p.id) FROM p JOIN b ON p.k = b.k JOIN b AS c ON p.k32 = c.k32 GROUP BY 1",
    ] {
        let plan = suites::run(&ours, sql).await.expect("it runs").plan.expect("a plan");
        let mut node = &plan;
        while node.name() != "FusedExec" {
            node = node.children()[0];
        }
        let line = displayable(node.as_ref()).one_line().to_string();
        assert_eq!(line.matches("*(1) HashJoinExec").count(), 2, "{line}");
        assert!(line.contains("*(1) AggregateExec"), "{line}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_build_side_that_does_not_fit_is_an_error_that_names_the_setting() {
    let ours = Session::builder().threads(2).set("fuseline.fusion", "force").memory_limit(8 << 20);
    let ours = ours.build().expect("a session");
    let sql = "SELECT count(*) FROM range(0, 3000000) AS p JOIN \
               (SELECT value * 7919 AS k, value AS v FROM range(0, 1000000)) AS b ON p.value = b.k";
    let plan = text(&ours, &format!("EXPLAIN {sql}")).await;
    assert!(plan.contains("*(1) HashJoinExec"), "{plan}");
    let error = ours.sql(sql).await.expect("a plan").collect().await.expect_err("it does not fit");
    assert!(matches!(error, fuseline::Error::Resources { .. }), "{error:?}");
    let error = error.to_string();
    assert!(error.contains("build side of a join") && error.contains("raise the memory limit"), "{error}");
}
