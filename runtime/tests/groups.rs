//! Aggregates by group: the same answers as unfused, in stages that hold the whole aggregate, whatever the
//! partitions, morsels, batches and memory.

use crate::support::{plan, run, session, sorted_text, text, unfused};
use arrow::array::{
    ArrayRef, Decimal128Array, DictionaryArray, Float32Array, Float64Array, Int8Array, Int64Array,
    LargeStringArray, RecordBatch, StringArray, UInt64Array,
};
use arrow::datatypes::{Int8Type, Schema};
use datafusion::datasource::MemTable;
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::physical_plan::displayable;
use datafusion::prelude::SessionContext;
use fuseline_runtime::fused_stages;
use std::sync::Arc;

/// Keys and values as they come: skewed, all equal, all distinct, with nulls, at the ends of their types.
/// Floats are multiples of 1/4, so that sums are exact in any order.
fn keys(rows: usize) -> RecordBatch {
    let mut state = 88_172_645_463_325_252u64;
    let mut random = move |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    };
    let r: Vec<u64> = (0..rows).map(|_| random(1 << 40)).collect();
    let some = |i: usize, m: u64| (!r[i].is_multiple_of(m)).then_some(i);
    let text = |i: usize| match r[i] % 5 {
        0 => String::new(),
        1 => format!("t{}", r[i] % 7),
        2 => format!("twelve by{:03}", r[i] % 50),
        3 => format!("a string longer than twelve bytes, number {}", r[i] % 300),
        _ => "ä".repeat((r[i] % 12) as usize),
    };
    let all = || 0..rows;
    let floats = [0.0, -0.0, f64::NAN, 1.5, f64::INFINITY, f64::NEG_INFINITY];
    let columns: Vec<(&str, ArrayRef, bool)> = vec![
        ("one", Arc::new(all().map(|_| Some(7)).collect::<Int64Array>()), false),
        (
            "every",
            Arc::new(
                all()
                    .map(|i| Some((i as i64).wrapping_mul(0x9E37_79B9_7F4A_7C15_u64 as i64)))
                    .collect::<Int64Array>(),
            ),
            false,
        ),
        (
            "skewed",
            Arc::new(
                all()
                    .map(|i| {
                        some(i, 9).map(|i| if !r[i].is_multiple_of(3) { 1 } else { (r[i] % 5000) as i64 })
                    })
                    .collect::<Int64Array>(),
            ),
            true,
        ),
        ("dense", Arc::new(all().map(|i| Some((r[i] % 1000) as i64 - 500)).collect::<Int64Array>()), false),
        (
            "tiny",
            Arc::new(all().map(|i| some(i, 5).map(|i| (r[i] % 256) as u8 as i8)).collect::<Int8Array>()),
            true,
        ),
        (
            "wide",
            Arc::new(
                all()
                    .map(|i| Some([0, 1, u64::MAX, u64::MAX - 1, 1 << 63][(r[i] % 5) as usize]))
                    .collect::<UInt64Array>(),
            ),
            false,
        ),
        (
            "f",
            Arc::new(
                all().map(|i| some(i, 11).map(|i| floats[(r[i] % 6) as usize])).collect::<Float64Array>(),
            ),
            true,
        ),
        (
            "f32",
            Arc::new(all().map(|i| Some((r[i] % 9) as f32 / 4.0 - 1.0)).collect::<Float32Array>()),
            false,
        ),
        (
            "dec",
            Arc::new(
                all()
                    .map(|i| some(i, 6).map(|i| i128::from(r[i] % 40) - 20))
                    .collect::<Decimal128Array>()
                    .with_precision_and_scale(12, 2)
                    .unwrap(),
            ),
            true,
        ),
        ("s", Arc::new(all().map(|i| some(i, 8).map(text)).collect::<StringArray>()), true),
        ("large", Arc::new(all().map(|i| Some(text(i))).collect::<LargeStringArray>()), false),
        (
            "dict",
            Arc::new(
                all()
                    .map(|i| some(i, 4).map(|i| ["x", "y", "a word of some length"][(r[i] % 3) as usize]))
                    .collect::<DictionaryArray<Int8Type>>(),
            ),
            true,
        ),
        (
            "x",
            Arc::new(
                all()
                    .map(|i| some(i, 10).map(|i| (r[i] % 4000) as f64 / 4.0 - 500.0))
                    .collect::<Float64Array>(),
            ),
            true,
        ),
        ("y", Arc::new(all().map(|i| Some((r[i] % 100) as i64 - 50)).collect::<Int64Array>()), false),
    ];
    let schema = Schema::new(
        columns
            .iter()
            .map(|(name, c, nullable)| arrow::datatypes::Field::new(*name, c.data_type().clone(), *nullable))
            .collect::<Vec<_>>(),
    );
    RecordBatch::try_new(Arc::new(schema), columns.into_iter().map(|c| c.1).collect()).unwrap()
}

fn register(context: &SessionContext) {
    let all = keys(30_000);
    let schema = all.schema();
    let add = |name: &str, partitions: Vec<Vec<RecordBatch>>| {
        let table = MemTable::try_new(Arc::clone(&schema), partitions).unwrap();
        context.register_table(name, Arc::new(table)).unwrap();
    };
    add("g", vec![vec![all.slice(0, 20_011), all.slice(20_011, 0)], vec![all.slice(20_011, 9_989)]]);
    add("ones", vec![(0..300).map(|i| all.slice(i, 1)).collect()]);
    add("g0", vec![vec![]]);
}

const QUERIES: &[&str] = &[
    "SELECT one, count(*), sum(x), avg(x), min(y), max(y) FROM g GROUP BY one",
    "SELECT every, count(*), sum(y) FROM g GROUP BY every",
    "SELECT skewed, count(*), count(x), sum(x), avg(x), min(x), max(x) FROM g GROUP BY skewed",
    "SELECT dense, sum(y), sum(x), avg(y) FROM g GROUP BY dense",
    "SELECT tiny, max(dec), min(dec), sum(dec), avg(dec) FROM g GROUP BY tiny",
    "SELECT wide, count(*), max(wide) FROM g GROUP BY wide",
    "SELECT f, count(*), sum(y) FROM g GROUP BY f",
    "SELECT f32, f, count(*) FROM g GROUP BY f32, f",
    "SELECT dec, sum(y) FROM g GROUP BY dec",
    "SELECT s, count(*), sum(y), avg(x) FROM g GROUP BY s",
    "SELECT large, count(*) FROM g GROUP BY large",
    "SELECT dict, count(*), sum(x) FROM g GROUP BY dict",
    "SELECT s, dict, tiny, count(*), sum(y) FROM g GROUP BY s, dict, tiny",
    "SELECT dense, s, min(y), max(y) FROM g GROUP BY dense, s",
    "SELECT y % 3, x > 0, count(*) FROM g GROUP BY y % 3, x > 0",
    "SELECT DISTINCT s FROM g",
    "SELECT DISTINCT dense, tiny FROM g WHERE x > 0",
    "SELECT count(DISTINCT s) FROM g GROUP BY tiny",
    "SELECT dense, sum(y) FILTER (WHERE x > 0), count(*) FILTER (WHERE s IS NULL) FROM g GROUP BY dense",
    "SELECT tiny, count(x) FILTER (WHERE y > 0), avg(y) FILTER (WHERE x < 0) FROM g GROUP BY tiny",
    "SELECT dense, bool_and(x > 0), bool_or(y > 0), bool_or(x > 499) FILTER (WHERE y < 0) FROM g GROUP BY dense",
    "SELECT s, bool_and(tiny > 0) FROM g GROUP BY s",
    "SELECT bool_and(x > 0), bool_or(x > 0), bool_and(x > 0) FILTER (WHERE y > 1000) FROM g",
    "SELECT upper(s), sum(length(s)) FROM g WHERE y > 0 AND s LIKE '%e%' GROUP BY upper(s)",
    "SELECT k, count(*) FROM (SELECT y + 1 AS k, x FROM g WHERE x IS NOT NULL) GROUP BY k HAVING count(*) > 2",
    "SELECT skewed, sum(y) AS n FROM g GROUP BY skewed ORDER BY n DESC, skewed LIMIT 7",
    "SELECT a.dense, a.n, b.m FROM (SELECT dense, count(*) n FROM g GROUP BY dense) a JOIN (SELECT dense, sum(y) m FROM g GROUP BY dense) b ON a.dense = b.dense",
    "SELECT dense, sum(n) FROM (SELECT dense, s, count(*) n FROM g GROUP BY dense, s) GROUP BY dense",
    "SELECT value % 1000, count(*), sum(value) FROM range(0, 200000) GROUP BY value % 1000",
    "SELECT cast(dense AS int), date '2020-01-01' + cast(tiny AS int), count(*) FROM g GROUP BY 1, 2",
    "SELECT dense, count(*), sum(x) FROM g0 GROUP BY dense",
    "SELECT DISTINCT s FROM g0",
    "SELECT s, dense, count(*), sum(x) FROM ones GROUP BY s, dense",
    "SELECT tiny, count(*) FROM g WHERE y > 1000 GROUP BY tiny",
    "SELECT dense, min(s), max(s), count(s) FROM g GROUP BY dense",
    "SELECT s, min(large), max(large), max(dict), min(s) FROM g GROUP BY s",
    "SELECT tiny, max(s) FILTER (WHERE x > 0), min(upper(s)), min(concat(s, large)) FROM g GROUP BY tiny",
    "SELECT every, min(s), max(large), sum(y) FROM g GROUP BY every",
    "SELECT one, min(s), max(large) FROM ones GROUP BY one",
    "SELECT large, min(s) FROM g WHERE y > 0 GROUP BY large",
    "SELECT dense, max(s) FROM g0 GROUP BY dense",
    "SELECT dense, round(stddev(x), 6), round(var_pop(x), 4), round(stddev_pop(y), 6), round(var_samp(y) FILTER (WHERE x > 0), 4) FROM g GROUP BY dense",
    "SELECT tiny, round(stddev_samp(dec), 6), round(var(x), 4), avg(x), stddev(f), var_pop(f) FROM g GROUP BY tiny",
    "SELECT s, round(stddev(y), 6), count(*) FROM g GROUP BY s",
    "SELECT every, stddev(x), stddev_pop(y), var(x), var_pop(x) FROM g GROUP BY every",
    "SELECT f, var_pop(f), stddev(y + 1e9) > 0 FROM g GROUP BY f",
    "SELECT round(stddev(x), 6), round(stddev_pop(x), 6), round(var(y), 4), round(var_pop(y) FILTER (WHERE x > 0), 4), var(f), avg(x) FROM g",
    "SELECT stddev(x), stddev_pop(x), var(f), var_pop(f), count(*) FROM g0",
    "SELECT stddev(x), stddev_pop(x), var(y), var_pop(y), var_pop(1.0 / (y - y)) FROM (SELECT * FROM ones LIMIT 1)",
    "SELECT round(stddev(x + 1e9), 4) FROM g",
    "SELECT y + 1, concat('x', y), count(*), sum(y) FROM g GROUP BY y + 1, concat('x', y)",
    "SELECT dense FROM g GROUP BY dense UNION ALL SELECT y FROM g GROUP BY y",
];

/// Operators that aggregate outside of a fused stage.
fn unfused_aggregates(plan: &Arc<dyn datafusion::physical_plan::ExecutionPlan>) -> Vec<String> {
    let text = displayable(plan.as_ref()).indent(false).to_string();
    text.lines().map(str::trim_start).filter(|l| l.starts_with("AggregateExec")).map(str::to_owned).collect()
}

async fn check(settings: &[(&str, &str)]) {
    let plain = unfused();
    register(&plain);
    let mut with: Vec<(&str, &str)> = vec![("fuseline.fusion", "force"), ("fuseline.verify", "true")];
    with.extend(settings);
    let ours = session(&with);
    register(&ours);
    let mut wrong = Vec::new();
    for sql in QUERIES {
        let expected = match run(&plain, sql).await {
            Ok((expected, _)) => expected,
            Err(e) => {
                wrong.push(format!("{sql}\n    fails unfused: {e}"));
                continue;
            }
        };
        let planned = plan(&ours, sql).await;
        let outside = unfused_aggregates(&planned);
        if fused_stages(&planned).is_empty() || !outside.is_empty() {
            let text = displayable(planned.as_ref()).indent(false).to_string();
            wrong.push(format!("{sql}\n    does not group in a stage:\n{text}"));
            continue;
        }
        match run(&ours, sql).await {
            Err(e) => wrong.push(format!("{sql}\n    fails: {e}")),
            Ok((given, _)) => {
                let (a, b) = (sorted_text(&expected), sorted_text(&given));
                if a != b {
                    let first = a.iter().zip(&b).find(|(x, y)| x != y);
                    wrong.push(format!("{sql}\n    {} and {} lines, first {first:?}", a.len(), b.len()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{settings:?}: {} queries:\n{}", wrong.len(), wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn groups_equal_unfused() {
    check(&[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_partition_equals_unfused() {
    check(&[("datafusion.execution.target_partitions", "1")]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn groups_do_not_depend_on_partitions_morsels_and_batches() {
    check(&[
        ("fuseline.morsel_rows", "1024"),
        ("datafusion.execution.target_partitions", "5"),
        ("datafusion.execution.batch_size", "100"),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn interpreted_groups_equal_unfused() {
    check(&[("fuseline.backend", "interp")]).await;
}

/// So many groups that workers deal them out to parts: numbers near each other and far apart, several keys,
/// strings, half of the rows in few groups, and where somebody relies on the partitioning.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dealt_groups_equal_unfused() {
    let rows = "range(0, 1000000)";
    let queries = [
        format!("SELECT value * 7919 % 900007 AS k, count(*), sum(value), max(value) FROM {rows} GROUP BY 1"),
        format!("SELECT value * 7919000009 AS k, sum(value) FROM {rows} GROUP BY 1"),
        format!("SELECT value * 3 AS k, value % 2 = 0 AS l, avg(value) FROM {rows} GROUP BY 1, 2"),
        format!("SELECT nullif(value % 800000, 5) * 79190009 AS k, count(*) FROM {rows} GROUP BY 1"),
        format!("SELECT concat('a somewhat longer word ', value) AS k, count(*) FROM {rows} GROUP BY 1"),
        format!(
            "SELECT CASE WHEN value > 600000 THEN value % 7 ELSE value END AS k, sum(value) FROM {rows} GROUP BY 1"
        ),
        format!(
            "SELECT a.k, a.n, b.n FROM (SELECT value * 7919 AS k, count(*) n FROM {rows} GROUP BY 1) a \
                 JOIN (SELECT value * 7919 AS k, sum(value) n FROM {rows} GROUP BY 1) b ON a.k = b.k"
        ),
    ];
    let plain = unfused();
    for settings in [[("datafusion.execution.target_partitions", "2")], [("fuseline.backend", "interp")]] {
        let ours = session(&[("fuseline.fusion", "force"), settings[0]]);
        for sql in &queries {
            let planned = plan(&ours, sql).await;
            assert!(!fused_stages(&planned).is_empty() && unfused_aggregates(&planned).is_empty(), "{sql}");
            let (expected, given) = (run(&plain, sql).await.unwrap().0, run(&ours, sql).await.unwrap().0);
            assert!(sorted_text(&expected) == sorted_text(&given), "{sql}");
        }
    }
}

/// Without memory for the groups the states go on to DataFusion's aggregate.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn groups_spill() {
    for partitions in ["1", "3"] {
        let ours = limited(partitions, 24 << 20);
        let sql = "SELECT count(*), sum(n), sum(s), min(k), max(k) FROM (SELECT value * 7919 AS k, count(*) AS n, \
                   sum(value) AS s FROM range(0, 2000000) GROUP BY value * 7919)";
        assert!(unfused_aggregates(&plan(&ours, sql).await).is_empty());
        let given = text(&ours, sql).await;
        assert!(given.contains("| 2000000  | 2000000"), "{partitions}: {given}");
        assert!(given.contains("1999999000000") && given.contains("15837992081"), "{partitions}: {given}");
    }
}

/// A session in which all operators together may hold so many bytes.
fn limited(partitions: &str, bytes: usize) -> SessionContext {
    let ours = session(&[
        ("fuseline.fusion", "force"),
        ("datafusion.execution.target_partitions", partitions),
        ("datafusion.execution.batch_size", "1024"),
        ("fuseline.morsel_rows", "8192"),
    ]);
    let runtime =
        RuntimeEnvBuilder::new().with_memory_pool(Arc::new(FairSpillPool::new(bytes))).build_arc().unwrap();
    let state = datafusion::execution::SessionStateBuilder::new_from_existing(ours.state())
        .with_runtime_env(runtime)
        .build();
    SessionContext::new_with_state(state)
}

/// The states of variances and texts go to DataFusion's aggregate as its own do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn variances_and_texts_spill() {
    let sql = "SELECT count(*), sum(n), min(t), max(t), min(u), max(u), sum(v) FROM (SELECT value % 600000 * 7919 AS k, \
               count(*) AS n, max(CASE WHEN value < 600000 THEN 'a text of some length' ELSE 'b' END) AS t, \
               min(CASE WHEN value % 3 = 0 THEN 'some longer text, again' ELSE 'short' END) AS u, \
               var_pop(value) AS v FROM range(0, 1200000) GROUP BY value % 600000 * 7919)";
    let expected = text(&unfused(), sql).await;
    for partitions in ["1", "3"] {
        let ours = limited(partitions, 48 << 20);
        assert!(unfused_aggregates(&plan(&ours, sql).await).is_empty());
        assert_eq!(text(&ours, sql).await, expected, "{partitions}");
    }
}

/// Ten million groups fit 256 MB of memory, and files.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_million_groups_in_256_megabytes() {
    let groups = "SELECT value * 7919 AS k, count(*) AS n, sum(value) AS s FROM range(0, 10000000) GROUP BY value * 7919";
    let sql = format!("SELECT count(*), sum(n), sum(s), min(k), max(k) FROM ({groups})");
    let ours = limited("2", 256 << 20);
    assert!(unfused_aggregates(&plan(&ours, &sql).await).is_empty());
    let given = text(&ours, &sql).await;
    assert!(given.contains("| 10000000 | 10000000"), "{given}");
    assert!(given.contains("49999995000000") && given.contains("79189992081"), "{given}");
}

/// What stages do not do stays DataFusion's, with its reason.
#[tokio::test]
async fn other_groupings_fall_back() {
    let ours = session(&[("fuseline.fusion", "force")]);
    register(&ours);
    for (sql, word) in [
        ("SELECT dense, tiny, count(*) FROM g GROUP BY GROUPING SETS ((dense), (tiny))", "grouping sets"),
        ("SELECT dense, array_agg(y) FROM g GROUP BY dense", "no stage computes"),
        ("SELECT count(DISTINCT s), count(DISTINCT dense) FROM g", "distinct"),
        ("SELECT 1, 'text', count(*) FROM g GROUP BY 1, 'text'", "sorted"),
    ] {
        let shown = text(&ours, &format!("EXPLAIN {sql}")).await;
        assert!(shown.contains(word), "{sql}\n{shown}");
        run(&ours, sql).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
    }
}

/// A sum of floats has the same bits at every run.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn float_sums_repeat() {
    let ours = session(&[("fuseline.fusion", "force"), ("datafusion.execution.target_partitions", "4")]);
    let sql = "SELECT value % 37 AS k, sum(1.0 / (value + 1)) AS s FROM range(0, 300000) GROUP BY value % 37";
    let first = sorted_text(&run(&ours, sql).await.unwrap().0);
    for _ in 0..5 {
        assert_eq!(sorted_text(&run(&ours, sql).await.unwrap().0), first);
    }
}
