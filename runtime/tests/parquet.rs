//! Files: the scan below a stage prunes exactly as it does unfused.

use crate::inlined::register;
use crate::support::{big_batch, fused, plan, session, sorted_text, unfused};
use arrow::array::{ArrayRef, AsArray, Int64Array};
use arrow::datatypes::{DataType, Int64Type};
use datafusion::datasource::file_format::options::ParquetReadOptions;
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::file::properties::WriterProperties;
use datafusion::physical_plan::execution_plan::reset_plan_states;
use datafusion::physical_plan::{ExecutionPlan, collect};
use datafusion::prelude::SessionContext;
use fuseline_runtime::fused_stages;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

fn write(path: &Path, rows: usize) {
    let properties = WriterProperties::builder()
        .set_max_row_group_row_count(Some(10_000))
        .set_data_page_row_count_limit(1_000)
        .set_write_batch_size(500)
        .build();
    let batch = big_batch(rows);
    let mut writer =
        ArrowWriter::try_new(File::create(path).unwrap(), batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

/// All pruning metrics of the scans of a plan that has run.
fn pruning(plan: &Arc<dyn ExecutionPlan>) -> Vec<String> {
    let mut found = Vec::new();
    let mut todo = vec![Arc::clone(plan)];
    while let Some(node) = todo.pop() {
        todo.extend(node.children().into_iter().cloned());
        if node.name() == "DataSourceExec"
            && let Some(metrics) = node.metrics()
        {
            let metrics = metrics.aggregate_by_name();
            found.extend(
                metrics
                    .iter()
                    .map(|m| m.to_string())
                    .filter(|m| m.contains("pruned") || m.contains("output_rows=")),
            );
        }
    }
    found.sort();
    found
}

async fn run(context: &SessionContext, sql: &str) -> (Vec<String>, Vec<String>, usize) {
    let plan = plan(context, sql).await;
    let batches = collect(Arc::clone(&plan), context.task_ctx()).await.unwrap();
    (sorted_text(&batches), pruning(&plan), fused_stages(&plan).len())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pruning_is_that_of_the_unfused_plan() {
    let folder = tempfile::tempdir().unwrap();
    write(&folder.path().join("a.parquet"), 100_000);
    // What the reader filters beside is in scan.rs.
    let ours = session(&[("fuseline.fusion", "force"), ("fuseline.scan_filters", "off")]);
    let plain = unfused();
    for context in [&plain, &ours] {
        let path = folder.path().to_str().unwrap();
        context.register_parquet("p", path, ParquetReadOptions::default()).await.unwrap();
    }
    for sql in [
        "SELECT id, x FROM p WHERE id > 95000",
        "SELECT id + k FROM p WHERE id BETWEEN 20500 AND 20600 AND k < 5",
        "SELECT sum(id), count(*) FROM p WHERE id < 15000",
        "SELECT count(*) FROM p WHERE id > 1000000",
        "SELECT id FROM p WHERE k = 3 LIMIT 5000000",
    ] {
        let (expected, expected_pruning, _) = run(&plain, sql).await;
        let (given, given_pruning, stages) = run(&ours, sql).await;
        assert!(stages > 0, "{sql}");
        assert_eq!(given, expected, "{sql}");
        assert_eq!(given_pruning, expected_pruning, "{sql}");
        assert!(!given_pruning.is_empty(), "{sql}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn float_sums_over_several_files_do_not_depend_on_who_reads_which() {
    let folder = tempfile::tempdir().unwrap();
    for (i, rows) in [30_000, 7, 50_000, 12_345, 1_000].into_iter().enumerate() {
        write(&folder.path().join(format!("{i}.parquet")), rows);
    }
    let context = fused();
    let path = folder.path().to_str().unwrap();
    context.register_parquet("p", path, ParquetReadOptions::default()).await.unwrap();
    let mut seen = Vec::new();
    for _ in 0..10 {
        let (rows, _, stages) = run(&context, "SELECT sum(x * 1.1), avg(x) FROM p WHERE k <> 4").await;
        assert_eq!(stages, 1);
        seen.push(rows);
    }
    assert!(seen.iter().all(|s| s == &seen[0]), "{seen:?}");
}

/// Rows that the scans of a plan gave, in all its runs.
fn scanned_rows(plan: &Arc<dyn ExecutionPlan>) -> usize {
    let own = match plan.metrics() {
        Some(metrics) if plan.name() == "DataSourceExec" => metrics.output_rows().unwrap_or(0),
        Some(_) | None => 0,
    };
    own + plan.children().into_iter().map(scanned_rows).sum::<usize>()
}

/// A minimum or maximum tells the scan what still matters, as it does unfused; and afresh at every run.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn minima_prune_the_files_that_are_left() {
    let folder = tempfile::tempdir().unwrap();
    let (files, rows) = (12, 20_000);
    for i in 0..files {
        write(&folder.path().join(format!("{i:02}.parquet")), rows);
    }
    let path = folder.path().to_str().unwrap();
    // DataFusion's own operator begins a second run with the bounds of the first, and finds nothing.
    for (context, runs) in [(unfused(), 1), (fused(), 2)] {
        context.register_parquet("p", path, ParquetReadOptions::default()).await.unwrap();
        for (sql, prunes) in [
            ("SELECT min(id) FROM p WHERE k <> 4", true),
            ("SELECT min(id), max(k) FROM p WHERE k <> 4", true),
            // What an expression needs, the scan cannot tell.
            ("SELECT min(id), sum(k) FROM p WHERE k <> 4", false),
        ] {
            let plan = plan(&context, sql).await;
            let mut scanned = 0;
            for run in 1..=runs {
                let again =
                    if run > 1 { reset_plan_states(Arc::clone(&plan)).unwrap() } else { Arc::clone(&plan) };
                let batches = collect(Arc::clone(&again), context.task_ctx()).await.unwrap();
                assert!(sorted_text(&batches).iter().any(|l| l.starts_with("| 0 ")), "{sql}, run {run}");
                // Metrics add up over the runs of a scan.
                let total = scanned_rows(&again);
                let read = if total > scanned { total - scanned } else { total };
                scanned = total;
                assert_eq!(read < files * rows * 9 / 10, prunes, "{sql}, run {run}: {read} rows were read");
            }
        }
    }
}

/// Only where every aggregate is a bound may rows be left out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_aggregate_of_an_expression_forbids_pruning() {
    let folder = tempfile::tempdir().unwrap();
    for i in 0..12 {
        write(&folder.path().join(format!("{i:02}.parquet")), 1_000 * (1 + i));
    }
    let context = fused();
    let path = folder.path().to_str().unwrap();
    context.register_parquet("p", path, ParquetReadOptions::default()).await.unwrap();
    let (rows, _, stages) = run(&context, "SELECT min(id), max(id + k) FROM p WHERE k <> 40").await;
    assert!(stages > 0);
    assert!(rows.iter().any(|l| l.contains("12008")), "{rows:?}");
}

/// A filter over a function whose body is known prunes by the statistics of its operand, and loses no row: not where the
/// function falls, nor where there is no result.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn filters_over_functions_prune_row_groups() {
    let folder = tempfile::tempdir().unwrap();
    write(&folder.path().join("a.parquet"), 100_000);
    let path = folder.path().to_str().unwrap();
    for context in [unfused(), fused()] {
        context.register_parquet("p", path, ParquetReadOptions::default()).await.unwrap();
        let function = |name: &str, ty: &str, body: &str, data_type: &DataType| {
            let text = format!("function \"{name}\"(\"x\": {ty}) -> {ty} {{ v0 = get l0 {body} }}");
            let nobody = |_: &[ArrayRef], _: usize| -> ArrayRef { panic!("nothing bails") };
            register(&context, &text, &[("x", data_type.clone())], data_type.clone(), nobody)
        };
        let (int, float) = (DataType::Int64, DataType::Float64);
        function("line", "int", "v1 = int 2 v2 = mul v0, v1 v3 = int 1 v4 = add v2, v3 return v4", &int);
        function("falls", "int", "v1 = int 3 v2 = sub v1, v0 return v2", &int);
        function("far", "float", "v1 = float 5000.0 v2 = sub v0, v1 v3 = abs v2 return v3", &float);
        function("root", "float", "v1 = sqrt.libm v0 return v1", &float);
        function("wave", "float", "v1 = sin.libm v0 return v1", &float);
        for (condition, same, most) in [
            ("line(id) > 190000", "id * 2 + 1 > 190000", 10_000),
            ("line(id) BETWEEN 41001 AND 41201", "id BETWEEN 20500 AND 20600", 10_000),
            ("41 = line(id)", "id = 20", 10_000),
            ("line(id) > 190000 AND k = 3", "id * 2 + 1 > 190000 AND k = 3", 10_000),
            ("falls(id) >= -5", "id <= 8", 10_000),
            ("far(x) > 4500.5", "x < 499.5 OR x > 9500.5", 20_000),
            ("root(x) < 7", "x < 49", 10_000),
            ("wave(x) > 2", "id < 0", 0),
            ("wave(x) > 0.5", "sin(x) > 0.5", 100_000),
            ("NOT line(id) > 7", "id < 4", 10_000),
        ] {
            let (expected, _, _) = run(&context, &format!("SELECT id FROM p WHERE {same}")).await;
            let plan = plan(&context, &format!("SELECT id FROM p WHERE {condition}")).await;
            let batches = collect(Arc::clone(&plan), context.task_ctx()).await.unwrap();
            assert_eq!(sorted_text(&batches), expected, "{condition}");
            let scanned = scanned_rows(&plan);
            assert!(scanned <= most, "{condition}: {scanned} rows were read, {:?}", pruning(&plan));
        }
    }
}

/// A row for which Python may raise is not left out by what other rows have.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exceptions_are_not_lost_with_row_groups() {
    let folder = tempfile::tempdir().unwrap();
    write(&folder.path().join("a.parquet"), 100_000);
    let context = fused();
    let path = folder.path().to_str().unwrap();
    context.register_parquet("p", path, ParquetReadOptions::default()).await.unwrap();
    // 1000 // (x - 50000): what the row in the middle gives only Python knows, here 2000.
    let text = "function \"f\"(\"x\": int) -> int { v0 = get l0 v1 = int 50000 v2 = sub v0, v1 v3 = int 1000
        v4 = floor_div v3, v2 return v4 }";
    let python = |args: &[ArrayRef], _: usize| -> ArrayRef {
        let x = args[0].as_primitive::<Int64Type>();
        let asked = |x: i64| if x == 50_000 { 2000 } else { panic!("{x} is not to be asked") };
        Arc::new(x.iter().map(|x| x.map(asked)).collect::<Int64Array>())
    };
    let asked = register(&context, text, &[("x", DataType::Int64)], DataType::Int64, python);
    for (condition, rows) in [("f(id) > 1500", 1), ("f(id) = 1", 500)] {
        let plan = plan(&context, &format!("SELECT id FROM p WHERE {condition}")).await;
        let batches = collect(Arc::clone(&plan), context.task_ctx()).await.unwrap();
        assert_eq!(batches.iter().map(|b| b.num_rows()).sum::<usize>(), rows, "{condition}");
        assert!(asked.swap(0, Ordering::Relaxed) > 0, "{condition}");
    }
}
