//! Rows filtered by the Parquet reader: the same answers as without, and what is filtered where.

use crate::support::{plan, run, session, sorted_text};
use arrow::array::{
    ArrayRef, Date32Array, Decimal128Array, DictionaryArray, Float64Array, Int32Array, Int64Array,
    RecordBatch, StringArray, StringViewArray,
};
use arrow::datatypes::{DataType, Int32Type};
use datafusion::datasource::file_format::options::ParquetReadOptions;
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::file::properties::{EnabledStatistics, WriterProperties};
use datafusion::physical_plan::{ExecutionPlan, collect, displayable};
use datafusion::prelude::SessionContext;
use fuseline_runtime::fused_stages;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

/// Rows of a file: `id` ascending, `k` and `f` with nulls, texts short and long, a dictionary, dates, decimals.
fn rows(from: i64, n: usize) -> Vec<(&'static str, ArrayRef)> {
    // Residues of all kinds, without a pattern.
    let r = |i: usize, m: i64| {
        (((from + i as i64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15u64 as i64)) >> 13).rem_euclid(m)
    };
    let words = ["AIR", "MAIL", "RAIL", "SHIP", "TRUCK", "", "a word that does not fit into a view"];
    let word = |i: usize| (r(i, 13) != 0).then(|| words[r(i, 7) as usize]);
    let ids = 0..n;
    vec![
        ("id", Arc::new(ids.clone().map(|i| from + i as i64).collect::<Int64Array>())),
        (
            "k",
            Arc::new(ids.clone().map(|i| (r(i, 11) != 0).then(|| r(i, 1000) as i32)).collect::<Int32Array>()),
        ),
        ("z", Arc::new(ids.clone().map(|i| Some(r(i, 4) as i32)).collect::<Int32Array>())),
        (
            "f",
            Arc::new(
                ids.clone()
                    .map(|i| (r(i, 9) != 0).then(|| r(i, 400) as f64 / 4.0 - 50.0))
                    .collect::<Float64Array>(),
            ),
        ),
        ("s", Arc::new(ids.clone().map(word).collect::<StringArray>())),
        ("v", Arc::new(ids.clone().map(word).collect::<StringViewArray>())),
        ("d", Arc::new(ids.clone().map(word).collect::<DictionaryArray<Int32Type>>())),
        (
            "wide",
            Arc::new(
                ids.clone().map(|i| Some(format!("{}", r(i, 1 << 40)).repeat(8))).collect::<StringArray>(),
            ),
        ),
        ("day", Arc::new(ids.clone().map(|i| Some(r(i, 2500) as i32)).collect::<Date32Array>())),
        (
            "dec",
            Arc::new(
                ids.map(|i| (r(i, 17) != 0).then(|| i128::from(r(i, 10_000))))
                    .collect::<Decimal128Array>()
                    .with_precision_and_scale(15, 2)
                    .unwrap(),
            ),
        ),
    ]
}

fn write(path: &Path, columns: Vec<(&'static str, ArrayRef)>, pages: bool) {
    let mut properties = WriterProperties::builder()
        .set_max_row_group_row_count(Some(10_000))
        .set_data_page_row_count_limit(1_000)
        .set_write_batch_size(500);
    if pages {
        properties = properties.set_bloom_filter_enabled(true);
    } else {
        properties = properties.set_statistics_enabled(EnabledStatistics::Chunk);
    }
    let fields = columns.into_iter().map(|(name, c)| (name, c, true));
    let batch = RecordBatch::try_from_iter_with_nullable(fields).unwrap();
    let file = File::create(path).unwrap();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties.build())).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

/// Several files, with and without pages' statistics: one lacks a column, one has them in another order, one has
/// `k` as a wider integer, one is empty.
fn write_all(folder: &Path) {
    std::fs::create_dir_all(folder).unwrap();
    write(&folder.join("a.parquet"), rows(0, 60_000), true);
    write(&folder.join("b.parquet"), rows(60_000, 30_000), false);
    let mut lacking = rows(90_000, 15_000);
    lacking.retain(|(name, _)| *name != "f" && *name != "v");
    write(&folder.join("c.parquet"), lacking, true);
    let mut turned = rows(105_000, 15_000);
    turned.reverse();
    write(&folder.join("d.parquet"), turned, true);
    write(&folder.join("e.parquet"), rows(120_000, 0), true);
}

async fn tables(folder: &Path, settings: &[(&str, &str)]) -> SessionContext {
    let context = session(settings);
    let t = folder.join("t");
    context.register_parquet("p", t.to_str().unwrap(), ParquetReadOptions::default()).await.unwrap();
    let hive = ParquetReadOptions::default().table_partition_cols(vec![("part".to_owned(), DataType::Int32)]);
    context.register_parquet("h", folder.join("h").to_str().unwrap(), hive).await.unwrap();
    context
}

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    write_all(&folder.path().join("t"));
    for part in 1..=3 {
        let at = folder.path().join(format!("h/part={part}"));
        std::fs::create_dir_all(&at).unwrap();
        write(&at.join("x.parquet"), rows(part * 1_000, 25_000), part != 2);
    }
    folder
}

const FORCED: [(&str, &str); 3] =
    [("fuseline.fusion", "force"), ("fuseline.verify", "true"), ("fuseline.scan_filters", "always")];

/// The sum of a metric of all scans.
fn metric(plan: &Arc<dyn ExecutionPlan>, name: &str) -> usize {
    let own = match plan.metrics() {
        Some(metrics) if plan.name() == "DataSourceExec" => {
            metrics.sum_by_name(name).map_or(0, |m| m.as_usize())
        }
        Some(_) | None => 0,
    };
    own + plan.children().into_iter().map(|c| metric(c, name)).sum::<usize>()
}

/// Predicates, and whether the reader may filter by them.
const PREDICATES: [(&str, bool); 34] = [
    ("k = 77", true),
    ("k < 30", true),
    ("k <> 5", true),
    ("k IS NULL", true),
    ("k IS NOT NULL AND z = 2", true),
    ("k IN (1, 2, 3, 500)", true),
    ("k NOT IN (1, 2, 3, 500)", true),
    ("k BETWEEN 10 AND 20 OR z = 3", true),
    ("f > 49", true),
    ("f = 0", true),
    ("f IS NULL", true),
    ("NOT (f > 0)", true),
    ("s = 'RAIL'", true),
    ("s = ''", true),
    ("s LIKE '%word%'", true),
    ("s NOT LIKE 'A%'", true),
    ("s > 'RAIL'", true),
    ("s IN ('AIR', 'SHIP') AND k < 100", true),
    ("v = 'a word that does not fit into a view'", true),
    ("v LIKE '%I%' AND day < DATE '1971-01-01'", true),
    ("d = 'MAIL'", true),
    ("d LIKE '%IL' AND z = 1", true),
    ("d IS NULL", true),
    ("wide LIKE '%777%'", true),
    ("day >= DATE '1976-01-01'", true),
    ("dec < 1.50", true),
    ("dec BETWEEN 5 AND 6 AND s = 'SHIP'", true),
    ("id BETWEEN 20500 AND 20600", true),
    ("id > 1000000", true),
    ("k + z = 100", true),
    // Unknown to loops, or able to fail.
    ("regexp_like(s, '^A.R$')", false),
    ("id % 1000 = 7", false),
    ("z <> 0 AND 100 / (z * z + 1) > 40", true),
    ("CAST(z AS VARCHAR) = '3' AND 12 % (z * z + 1) = 0", true),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_are_those_of_the_unfused_plan() {
    let folder = folder();
    let plain = tables(folder.path(), &[("fuseline.fusion", "off")]).await;
    let forced = tables(folder.path(), &FORCED).await;
    let interpreted = [FORCED.as_slice(), &[("fuseline.backend", "interp")]].concat();
    let interpreted = tables(folder.path(), &interpreted).await;
    let auto = tables(folder.path(), &FORCED[..2]).await;
    for (predicate, filters) in PREDICATES {
        for sql in [
            format!("SELECT * FROM p WHERE {predicate}"),
            format!("SELECT count(*), sum(id), min(wide), max(k) FROM p WHERE {predicate}"),
            format!("SELECT part, s, count(*), sum(dec) FROM h WHERE {predicate} GROUP BY part, s"),
            format!("SELECT id, part FROM h WHERE part <> 2 AND {predicate}"),
            format!("SELECT id FROM h WHERE {predicate} AND part + z > 3"),
        ] {
            let (expected, stages) = run(&plain, &sql).await.unwrap();
            assert_eq!(stages, 0);
            let expected = sorted_text(&expected);
            for (name, context) in [("always", &forced), ("interp", &interpreted), ("auto", &auto)] {
                let plan = plan(context, &sql).await;
                assert!(!fused_stages(&plan).is_empty(), "{sql}");
                let given = collect(Arc::clone(&plan), context.task_ctx()).await.unwrap();
                assert_eq!(sorted_text(&given), expected, "{sql}, {name}");
                let seen = metric(&plan, "pushdown_rows_pruned") + metric(&plan, "pushdown_rows_matched");
                if name != "auto" && filters && predicate != "id > 1000000" {
                    assert!(seen > 0, "{sql}, {name}: the reader did not filter");
                }
                if !filters && !sql.contains("part") {
                    assert_eq!(seen, 0, "{sql}, {name}");
                }
            }
        }
    }
}

/// Row groups, pages and bloom filters see the predicates that they saw.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pruning_is_that_of_the_unfused_plan() {
    let folder = folder();
    let plain = tables(folder.path(), &[("fuseline.fusion", "off")]).await;
    let forced = tables(folder.path(), &FORCED).await;
    let mut bloom = 0;
    for sql in [
        "SELECT id, wide FROM p WHERE id > 95000",
        "SELECT wide FROM p WHERE id BETWEEN 20500 AND 20600 AND k < 500",
        "SELECT wide FROM p WHERE s = 'nothing of the kind'",
        "SELECT wide FROM p WHERE k = 5555 AND z < 3",
        "SELECT wide FROM p WHERE id = 31234 AND 100 / z > 40",
        "SELECT wide FROM h WHERE id = 12345 AND part = 2",
        "SELECT count(*) FROM p WHERE id > 1000000",
    ] {
        let mut seen = vec![];
        for context in [&plain, &forced] {
            let plan = plan(context, sql).await;
            let given = collect(Arc::clone(&plan), context.task_ctx()).await.unwrap();
            let mut pruning = vec![];
            for node in scans(&plan) {
                let metrics = node.metrics().unwrap().aggregate_by_name();
                let metrics = metrics.iter().map(|m| m.to_string());
                pruning.extend(metrics.filter(|m| m.contains("pruned") && !m.contains("pushdown")));
            }
            pruning.sort();
            bloom += pruning
                .iter()
                .filter(|m| m.starts_with("row_groups_pruned_bloom") && !m.contains("=0"))
                .count();
            assert!(pruning.len() > 3, "{sql}: {pruning:?}");
            seen.push((sorted_text(&given), pruning));
        }
        assert_eq!(seen[0], seen[1], "{sql}");
    }
    assert!(bloom > 0, "no bloom filter was asked");
}

fn scans(plan: &Arc<dyn ExecutionPlan>) -> Vec<Arc<dyn ExecutionPlan>> {
    if plan.name() == "DataSourceExec" {
        return vec![Arc::clone(plan)];
    }
    plan.children().into_iter().flat_map(scans).collect()
}

/// What the reader may evaluate is written beside the scan; what could fail, or calls something, is not there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn predicates_that_can_fail_wait_for_those_before_them() {
    let folder = folder();
    let forced = tables(folder.path(), &FORCED).await;
    for (sql, in_reader) in [
        (
            "SELECT wide FROM p WHERE z <> 0 AND 100 / z > 40 AND k = 3",
            "row_filter_if_selective=[z@2 != 0, k@1 = 3]",
        ),
        ("SELECT wide FROM p WHERE CAST(s AS INT) = 3 AND k = 3", "row_filter_if_selective=[k@1 = 3]"),
        ("SELECT wide FROM p WHERE random() < 2 AND k = 3", "row_filter_if_selective=[k@1 = 3]"),
        ("SELECT wide FROM p WHERE regexp_like(s, '^A.R$') AND k = 3", "row_filter_if_selective=[k@1 = 3]"),
    ] {
        let plan = plan(&forced, sql).await;
        let text = displayable(plan.as_ref()).indent(false).to_string();
        assert!(text.contains(in_reader), "{sql}\n{text}");
    }
    let (rows, _) = run(&forced, "SELECT count(wide) FROM p WHERE z <> 0 AND 100 / z > 40").await.unwrap();
    assert!(sorted_text(&rows).len() > 1);
    let error = run(&forced, "SELECT count(wide) FROM p WHERE k = 4 AND 100 / z > 40").await;
    assert!(error.is_err_and(|e| e.to_string().to_lowercase().contains("divide by zero")));
}

/// A limit counts rows behind the filter.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_count_rows_that_pass() {
    let folder = folder();
    let forced = tables(folder.path(), &FORCED).await;
    for (sql, rows) in [
        ("SELECT id FROM p WHERE k = 77 LIMIT 5", 5),
        ("SELECT id FROM p WHERE k = 77 LIMIT 5 OFFSET 3", 5),
        ("SELECT id FROM p LIMIT 7", 7),
        ("SELECT id FROM h WHERE part = 2 LIMIT 7", 7),
    ] {
        let (batches, _) = run(&forced, sql).await.unwrap();
        assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), rows, "{sql}");
    }
}

/// Keys of a join's build side, and the least rows of a TopK, reach the rows of the scan.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dynamic_filters_reach_the_rows() {
    let folder = folder();
    let plain = tables(folder.path(), &[("fuseline.fusion", "off")]).await;
    let forced = tables(folder.path(), &FORCED).await;
    let auto = tables(folder.path(), &FORCED[..2]).await;
    for context in [&plain, &forced, &auto] {
        for sql in [
            "CREATE TABLE few AS SELECT * FROM (VALUES (3), (40007), (99999), (NULL)) AS v(x)",
            "CREATE TABLE days AS SELECT DATE '1970-01-01' + x AS day FROM (VALUES (1), (900), (2400)) AS v(x)",
        ] {
            context.sql(sql).await.unwrap().collect().await.unwrap();
        }
    }
    for (sql, most) in [
        ("SELECT p.id, p.wide FROM p JOIN few ON p.id = few.x", Some(10)),
        ("SELECT count(*), max(p.wide) FROM p JOIN few ON p.id = few.x", Some(10)),
        ("SELECT p.id, p.wide FROM p WHERE p.id IN (SELECT x FROM few)", Some(10)),
        ("SELECT p.s, count(*) FROM p JOIN days ON p.day = days.day GROUP BY p.s", Some(1_000)),
        ("SELECT p.id, few.x FROM p LEFT JOIN few ON p.id = few.x WHERE p.k = 8", None),
        ("SELECT p.id FROM p WHERE p.k = 8 AND p.id NOT IN (SELECT x FROM few WHERE x IS NOT NULL)", None),
        ("SELECT id, k, wide FROM p ORDER BY id LIMIT 10", None),
        ("SELECT id, f, wide FROM p ORDER BY f DESC NULLS LAST, id LIMIT 10", None),
        ("SELECT min(id), max(id) FROM p WHERE k <> 4", None),
    ] {
        let (expected, _) = run(&plain, sql).await.unwrap();
        for context in [&forced, &auto] {
            // A plan that is run again looks at its tables again.
            for _ in 0..2 {
                let plan = plan(context, sql).await;
                let given = collect(Arc::clone(&plan), context.task_ctx()).await.unwrap();
                assert_eq!(sorted_text(&given), sorted_text(&expected), "{sql}");
                if let Some(most) = most
                    && std::ptr::eq(context, &forced)
                {
                    let matched = metric(&plan, "pushdown_rows_matched");
                    assert!(matched <= most, "{sql}: {matched} rows left the reader");
                }
            }
        }
    }
}

/// Where a sample says that it pays, and only there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sample_decides() {
    let folder = folder();
    let auto = tables(folder.path(), &[("fuseline.fusion", "force")]).await;
    for (sql, filters) in [
        // One row in a thousand, and a wide column beside the predicate's.
        ("SELECT sum(length(wide)), max(dec) FROM p WHERE k = 77", true),
        ("SELECT max(wide), max(dec), max(s) FROM h WHERE k = 77", true),
        // Half of the rows.
        ("SELECT sum(length(wide)) FROM p WHERE k < 500", false),
        // Nothing but the predicate's columns.
        ("SELECT count(*) FROM p WHERE k = 77", false),
        // One row in five, one by one.
        ("SELECT sum(length(wide)) FROM p WHERE k % 5 = 1", false),
    ] {
        let plan = plan(&auto, sql).await;
        collect(Arc::clone(&plan), auto.task_ctx()).await.unwrap();
        let seen = metric(&plan, "pushdown_rows_pruned") + metric(&plan, "pushdown_rows_matched");
        assert_eq!(seen > 0, filters, "{sql}: {seen} rows went through a row filter");
    }
}

/// Each row group is read by one core, however few files there are.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn few_row_groups_are_spread_over_the_cores() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(folder.path().join("t")).unwrap();
    std::fs::create_dir_all(folder.path().join("h/part=1")).unwrap();
    write(&folder.path().join("t/a.parquet"), rows(0, 20_000), true);
    write(&folder.path().join("h/part=1/a.parquet"), rows(0, 10), true);
    let small = ("datafusion.optimizer.repartition_file_min_size", "1");
    let context = tables(folder.path(), &[("fuseline.fusion", "force"), small]).await;
    // A core that is late finds its share taken by the other one; not always, unless one never has a share.
    let mut shares = [0; 2];
    for _ in 0..50 {
        let plan = plan(&context, "SELECT sum(k), count(wide) FROM p").await;
        collect(Arc::clone(&plan), context.task_ctx()).await.unwrap();
        let [scan] = scans(&plan).try_into().unwrap();
        shares = [0; 2];
        for metric in scan.metrics().unwrap().iter() {
            if metric.value().name() == "output_rows"
                && let Some(partition) = metric.partition()
            {
                shares[partition] += metric.value().as_usize();
            }
        }
        if shares == [10_000, 10_000] {
            break;
        }
    }
    assert_eq!(shares, [10_000, 10_000]);
}
