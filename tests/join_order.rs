//! The order of joins: random queries over tables of several sizes, of keys and foreign keys, give what stock
//! DataFusion gives, and plans that the rule should change are changed.

use std::sync::Arc;

use datafusion::physical_plan::{ExecutionPlan, displayable};
use fuseline::Session;

use crate::answers::{Answer, Verdict, compare};
use crate::differential::random::Random;
use crate::suites;

/// Rows of `t0` and so on; the last ones are the large ones.
const ROWS: [usize; 5] = [30, 200, 1_000, 5_000, 60_000];

/// `id` is unique, `f0` to `f4` are ids of the other tables, with some NULLs and some that no table has.
async fn tables(session: &Session) {
    for (t, rows) in ROWS.iter().enumerate() {
        let keys: Vec<String> = ROWS
            .iter()
            .enumerate()
            .map(|(k, others)| {
                let (factor, missing) = (7_919 + 2 * k, others + others / 10);
                format!("CASE WHEN value % 23 = {k} THEN NULL ELSE value * {factor} % {missing} END AS f{k}")
            })
            .collect();
        let sql = format!(
            "CREATE TABLE t{t} AS SELECT value AS id, {}, value * 31 % 1009 AS v, \
             'text ' || CAST(value % 50 AS varchar) AS s FROM range(0, {rows})",
            keys.join(", ")
        );
        suites::run(session, &sql).await.expect("a table");
    }
}

/// The same tables as Parquet files in a folder.
async fn on_files(session: &Session, folder: &str) {
    tables(session).await;
    for t in 0..ROWS.len() {
        let file = format!("{folder}/t{t}.parquet");
        for sql in [
            format!("COPY t{t} TO '{file}'"),
            format!("DROP TABLE t{t}"),
            format!("CREATE EXTERNAL TABLE t{t} STORED AS PARQUET LOCATION '{file}'"),
        ] {
            suites::run(session, &sql).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
        }
    }
}

/// A query that joins three to five of the tables by keys, some twice.
fn query(r: &mut Random) -> String {
    let count = 3 + r.below(3);
    let of: Vec<usize> = (0..count).map(|_| r.below(ROWS.len())).collect();
    let mut conditions: Vec<String> = vec![];
    let mut turned = false;
    for b in 1..count {
        // From a row to the one that it refers to, and once the other way round: more would make too many pairs.
        let a = r.below(b);
        conditions.push(if !turned && r.chance(40) {
            turned = true;
            format!("a{b}.f{} = a{a}.id", of[a])
        } else {
            format!("a{a}.f{} = a{b}.id", of[b])
        });
    }
    if r.chance(30) {
        let (a, b) = (r.below(count), r.below(count));
        if a != b {
            conditions.push(format!("a{a}.f{} = a{b}.f{}", of[0], of[0]));
        }
    }
    for (a, t) in of.iter().enumerate() {
        match r.below(8) {
            0 => conditions.push(format!("a{a}.v % 10 = 3")),
            1 => conditions.push(format!("a{a}.v < 100")),
            2 => conditions.push(format!("a{a}.s LIKE '%7'")),
            3 => {
                let k = r.below(ROWS.len());
                conditions.push(format!("a{a}.f{k} IN (SELECT id FROM t{k} WHERE v % 7 = 2)"));
            }
            4 => {
                let k = r.below(ROWS.len());
                conditions
                    .push(format!("a{a}.v < (SELECT 1.5 * avg(x.v) FROM t{k} AS x WHERE x.f{t} = a{a}.id)"));
            }
            5 => {
                let k = r.below(ROWS.len());
                let not = if r.chance(50) { "NOT " } else { "" };
                conditions.push(format!(
                    "{not}EXISTS (SELECT 1 FROM t{k} AS x WHERE x.f{t} = a{a}.id AND x.v > a{a}.v + 500)"
                ));
            }
            _ => {}
        }
    }
    if r.chance(40) {
        let (a, b) = (r.below(count), r.below(count));
        // The second can fail, so it waits until all is joined.
        conditions.push(if r.chance(50) {
            format!("(a{a}.v > a{b}.v OR a{a}.s = a{b}.s)")
        } else {
            format!("1000 / (a{a}.v * a{a}.v + 1) <= a{b}.v")
        });
    }
    let names: Vec<String> = of.iter().enumerate().map(|(a, t)| format!("t{t} AS a{a}")).collect();
    let sums: Vec<String> = (0..count).map(|a| format!("sum(a{a}.v), max(a{a}.s)")).collect();
    let group = if r.chance(30) { Some(r.below(count)) } else { None };
    let (key, by) = match group {
        Some(a) => (format!("a{a}.s, "), format!(" GROUP BY a{a}.s ORDER BY a{a}.s")),
        None => (String::new(), String::new()),
    };
    format!(
        "SELECT {key}count(*), {} FROM {} WHERE {}{by}",
        sums.join(", "),
        names.join(", "),
        conditions.join(" AND ")
    )
}

fn session(fusion: &str) -> Session {
    // An order that makes far too many pairs is an error here, and not the end of the machine.
    let builder = Session::builder().threads(2).set("fuseline.fusion", fusion).memory_limit(1 << 30);
    builder.build().expect("a session")
}

fn shown(plan: Option<&Arc<dyn ExecutionPlan>>) -> String {
    plan.map_or_else(String::new, |p| displayable(p.as_ref()).indent(false).to_string())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_joins_give_what_datafusion_gives() {
    let (stock, ours, asked) = (session("off"), session("force"), session("force"));
    for session in [&stock, &ours, &asked] {
        tables(session).await;
    }
    suites::run(&asked, "SET fuseline.reorder_joins = false").await.expect("a setting");
    let queries = if suites::nightly() { 2_000 } else { 150 };
    let mut changed = 0;
    for seed in 0..queries {
        let sql = query(&mut Random::new(seed));
        let expected = suites::run(&stock, &sql).await.unwrap_or_else(|e| panic!("{seed}: {sql}: {e}"));
        let actual = suites::run(&ours, &sql).await.unwrap_or_else(|e| panic!("{seed}: {sql}: {e}"));
        let as_written = asked.sql(&sql).await.expect("it plans").plan().ok();
        changed += usize::from(shown(actual.plan.as_ref()) != shown(as_written.as_ref()));
        let (expected, actual) = (Answer::of(&expected.batches), Answer::of(&actual.batches));
        let (expected, actual) = (expected.expect("it prints"), actual.expect("it prints"));
        if let Verdict::Different(what) = compare(expected, actual, true) {
            panic!("seed {seed}: {what}\n    {sql}");
        }
    }
    println!("{changed} of {queries} plans changed");
    assert!(changed * 2 >= queries as usize, "only {changed} of {queries} plans changed: this tests little");
}

/// The large table is probed through all joins of one stage, whatever is written first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_table_is_probed_and_small_ones_are_built() {
    let ours = session("on");
    tables(&ours).await;
    let sql = "SELECT sum(a.v + c.v) FROM t4 AS a, t3 AS b, t2 AS c, t1 AS d \
               WHERE a.f3 = b.id AND b.f2 = c.id AND a.f1 = d.id AND d.v % 50 = 3";
    let outcome = suites::run(&ours, sql).await.expect("it runs");
    let plan = shown(outcome.plan.as_ref());
    // The rows of the large table meet the filtered one first, which few of them pass.
    let large = plan.lines().find(|l| l.contains("FusedExec") && l.contains("f1")).expect("a stage");
    assert!(large.contains(", f1") && large.matches("HashJoinExec").count() == 1, "{plan}");
    let depth = |l: &str| l.len() - l.trim_start().len();
    let below: Vec<&str> = plan.lines().skip_while(|l| *l != large).skip(1).take(2).collect();
    assert!(below.iter().all(|l| depth(l) > depth(large)), "{plan}");
    assert!(below[0].contains("DataSourceExec") && below[1].contains("FilterExec: v@"), "{plan}");
}

/// Only groups are made that the join can use. The filtered table is then read twice, in one query.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn groups_that_meet_nothing_are_not_made() {
    let folder = tempfile::tempdir().expect("a folder");
    let (in_memory, on_disk, stock) = (session("on"), session("on"), session("off"));
    tables(&in_memory).await;
    tables(&stock).await;
    on_files(&on_disk, folder.path().to_str().expect("a name of text")).await;
    for sql in [
        "SELECT count(*) FROM t3 AS a WHERE a.v % 100 = 7 \
         AND a.v < (SELECT 1.5 * avg(x.v) FROM t4 AS x WHERE x.f3 = a.id)",
        "SELECT sum(b.v) FROM t4 AS b, t3 AS a WHERE b.f3 = a.id AND a.v % 100 = 7 \
         AND b.v < (SELECT 1.2 * avg(x.v) FROM t4 AS x WHERE x.f3 = a.id)",
    ] {
        let expected = suites::run(&stock, sql).await.expect("it runs");
        for ours in [&in_memory, &on_disk] {
            let outcome = suites::run(ours, sql).await.expect("it runs");
            let plan = shown(outcome.plan.as_ref());
            let groups = plan.lines().find(|l| l.contains("gby=[f3@")).expect("groups");
            assert!(groups.contains("join_type=RightSemi"), "{plan}");
            let actual = Answer::of(&outcome.batches).expect("it prints");
            if let Verdict::Different(what) =
                compare(Answer::of(&expected.batches).expect("it prints"), actual, true)
            {
                panic!("{what}\n    {sql}\n{plan}");
            }
        }
    }
}

/// Scans of files deal them to their partitions, in plans that were put together anew.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_joins_of_files_give_what_datafusion_gives() {
    let folder = tempfile::tempdir().expect("a folder");
    let (stock, ours) = (session("off"), session("force"));
    tables(&stock).await;
    on_files(&ours, folder.path().to_str().expect("a name of text")).await;
    for seed in 0..if suites::nightly() { 500 } else { 40 } {
        let sql = query(&mut Random::new(seed));
        let expected = suites::run(&stock, &sql).await.unwrap_or_else(|e| panic!("{seed}: {sql}: {e}"));
        let actual = suites::run(&ours, &sql).await.unwrap_or_else(|e| panic!("{seed}: {sql}: {e}"));
        let (expected, actual) = (Answer::of(&expected.batches), Answer::of(&actual.batches));
        let (expected, actual) = (expected.expect("it prints"), actual.expect("it prints"));
        if let Verdict::Different(what) = compare(expected, actual, true) {
            panic!("seed {seed}: {what}\n    {sql}");
        }
    }
}
