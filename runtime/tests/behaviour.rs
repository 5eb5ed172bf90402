//! What only a running stage shows.

use crate::support::{big_batch, fused, plan, run, session, sorted_text, unfused};
use arrow::array::{AsArray, RecordBatch, StringViewArray};
use arrow::datatypes::{DataType, Field, Float64Type, Int64Type, Schema};
use datafusion::common::DataFusionError;
use datafusion::datasource::MemTable;
use datafusion::execution::SessionStateBuilder;
use datafusion::execution::memory_pool::GreedyMemoryPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::physical_plan::metrics::MetricsSet;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties, collect, execute_stream};
use datafusion::prelude::{SessionConfig, SessionContext};
use fuseline_runtime::{FusedExec, FuselineOptions, as_fused, fuse, fused_stages};
use futures::StreamExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

fn metric(set: &MetricsSet, name: &str) -> usize {
    set.sum_by_name(name).map_or(0, |v| v.as_usize())
}

async fn fused_plan(context: &SessionContext, sql: &str) -> (Arc<dyn ExecutionPlan>, Arc<dyn ExecutionPlan>) {
    let plan = plan(context, sql).await;
    let stages = fused_stages(&plan);
    assert_eq!(stages.len(), 1, "{sql}");
    (plan, Arc::clone(&stages[0]))
}

fn stage(plan: &Arc<dyn ExecutionPlan>) -> &FusedExec {
    as_fused(plan).unwrap()
}

#[tokio::test]
async fn a_limit_stops_reading_early() {
    let context = fused();
    let plan = plan(&context, "SELECT id + 1 FROM big WHERE k = 3 LIMIT 7").await;
    // The last stage is the one above the scan.
    let stage = fused_stages(&plan).pop().unwrap();
    let rows: usize =
        collect(plan, context.task_ctx()).await.unwrap().iter().map(RecordBatch::num_rows).sum();
    assert_eq!(rows, 7);
    let read = metric(&stage.metrics().unwrap(), "input_rows");
    assert!(read > 0 && read <= 8192, "{read} rows were read for 7");
}

#[tokio::test]
async fn limits_and_offsets_give_as_many_rows_as_unfused() {
    let (plain, ours) = (unfused(), fused());
    for sql in [
        "SELECT id + 1 FROM big LIMIT 10",
        "SELECT id FROM big WHERE k = 3 LIMIT 100 OFFSET 50",
        "SELECT id FROM big WHERE k = 3 OFFSET 29990",
        "SELECT id * 2 FROM big WHERE id >= 299990 LIMIT 100",
        "SELECT i + 1 FROM t WHERE n < 50 LIMIT 0",
        "SELECT value * 2 FROM range(0, 100000) LIMIT 5",
        "SELECT x FROM (SELECT id + 1 AS x FROM big ORDER BY id LIMIT 1000) WHERE x > 10",
    ] {
        let count = |batches: Vec<RecordBatch>| batches.iter().map(RecordBatch::num_rows).sum::<usize>();
        let expected = count(run(&plain, sql).await.unwrap().0);
        assert_eq!(count(run(&ours, sql).await.unwrap().0), expected, "{sql}");
    }
}

#[tokio::test]
async fn one_huge_batch_is_dealt_to_all_partitions() {
    let context = fused();
    let (plan, fused) = fused_plan(&context, "SELECT id, x * 2.0 AS y FROM big WHERE k < 9").await;
    assert_eq!(plan.output_partitioning().partition_count(), 2);
    let mut shares = Vec::new();
    for p in 0..2 {
        let mut stream = fused.execute(p, context.task_ctx()).unwrap();
        let mut ids: Vec<i64> = Vec::new();
        while let Some(batch) = stream.next().await {
            ids.extend(batch.unwrap().column(0).as_primitive::<Int64Type>().values());
        }
        shares.push(ids);
    }
    assert!(shares.iter().all(|s| s.len() > 100_000), "{} and {}", shares[0].len(), shares[1].len());
    let all: Vec<i64> = shares.concat();
    let expected: Vec<i64> = (0..300_000).filter(|i| i % 10 < 9).collect();
    assert_eq!(all, expected, "shares are contiguous and in order");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_aggregate_over_one_huge_batch_runs_many_morsels() {
    let context = fused();
    let (plan, stage) = fused_plan(&context, "SELECT sum(id) FROM big").await;
    let batches = collect(plan, context.task_ctx()).await.unwrap();
    assert_eq!(batches[0].column(0).as_primitive::<Int64Type>().value(0), 299_999 * 300_000 / 2);
    let metrics = stage.metrics().unwrap();
    assert_eq!(metric(&metrics, "morsels"), 300_000usize.div_ceil(65_536));
    assert_eq!(metric(&metrics, "input_rows"), 300_000);
    assert_eq!(metrics.output_rows(), Some(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn float_sums_are_the_same_at_every_run() {
    // Values of very different sizes: any other order of addition shows in the last bits.
    let values: Vec<f64> = (0..400_000u64)
        .map(|i| {
            let r = (i.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407)) >> 20;
            (r % 1_000_003) as f64 * 10f64.powi((r % 17) as i32 - 8)
        })
        .collect();
    let schema = Arc::new(Schema::new(vec![Field::new("x", DataType::Float64, false)]));
    let batch = |v: &[f64]| {
        let column = Arc::new(arrow::array::Float64Array::from(v.to_vec()));
        RecordBatch::try_new(Arc::clone(&schema), vec![column]).unwrap()
    };
    let context = fused();
    let one = vec![vec![batch(&values)]];
    let many: Vec<Vec<RecordBatch>> =
        values.chunks(150_000).map(|p| p.chunks(7_001).map(batch).collect()).collect();
    for (name, partitions) in [("one_batch", one), ("many_batches", many)] {
        let table = MemTable::try_new(Arc::clone(&schema), partitions).unwrap();
        context.register_table(name, Arc::new(table)).unwrap();
        let sql = format!("SELECT sum(x), avg(x) FROM {name} WHERE x > 0.001");
        let mut seen: Vec<[u64; 2]> = Vec::new();
        for _ in 0..20 {
            let (batches, stages) = run(&context, &sql).await.unwrap();
            assert_eq!(stages, 1);
            seen.push([0, 1].map(|c| batches[0].column(c).as_primitive::<Float64Type>().value(0).to_bits()));
        }
        assert!(seen.iter().all(|s| s == &seen[0]), "{name}: {seen:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_query_stops() {
    let context = fused();
    let sql = "SELECT sum(value % 7 * 3) FROM range(0, 1000000000000)";
    let (plan, stage) = fused_plan(&context, sql).await;
    let mut stream = execute_stream(plan, context.task_ctx()).unwrap();
    let waited = tokio::time::timeout(Duration::from_millis(200), stream.next()).await;
    assert!(waited.is_err(), "a trillion rows took less than 0.2 s");
    drop(stream);
    tokio::time::sleep(Duration::from_millis(200)).await;
    let before = metric(&stage.metrics().unwrap(), "morsels");
    assert!(before > 0);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(metric(&stage.metrics().unwrap(), "morsels"), before, "workers went on");
}

#[tokio::test]
async fn an_emitting_stage_lets_others_run() {
    let context = fused();
    let sql = "SELECT value FROM range(0, 1000000000000) WHERE value % 1000003 = 1000004";
    let (plan, _) = fused_plan(&context, sql).await;
    let mut stream = execute_stream(plan, context.task_ctx()).unwrap();
    let start = Instant::now();
    // Single-threaded: without yielding between morsels the timer would never fire.
    let waited = tokio::time::timeout(Duration::from_millis(200), stream.next()).await;
    assert!(waited.is_err());
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}

#[tokio::test]
async fn unfiltered_passengers_are_not_copied_and_views_move_only_views() {
    let context = fused();
    let words: Vec<String> = (0..10_000).map(|i| format!("a string too long for a view: {i}")).collect();
    let words = StringViewArray::from_iter_values(&words);
    let numbers: arrow::array::Int64Array = (0..10_000).collect();
    let schema = Schema::new(vec![
        Field::new("w", DataType::Utf8View, false),
        Field::new("n", DataType::Int64, false),
    ]);
    let batch =
        RecordBatch::try_new(Arc::new(schema), vec![Arc::new(words.clone()), Arc::new(numbers)]).unwrap();
    let table = MemTable::try_new(batch.schema(), vec![vec![batch]]).unwrap();
    context.register_table("w", Arc::new(table)).unwrap();

    let (batches, _) = run(&context, "SELECT w, n + 1 FROM w").await.unwrap();
    let out = batches[0].column(0).as_string_view();
    let base = words.views().inner().as_ptr() as usize;
    let view = out.views().inner().as_ptr() as usize;
    assert!((base..base + 16 * 10_000).contains(&view), "the views were copied");

    let (batches, _) = run(&context, "SELECT w FROM w WHERE n % 10 <> 3").await.unwrap();
    for batch in &batches {
        let out = batch.column(0).as_string_view();
        let ours: Vec<*const u8> = out.data_buffers().iter().map(|b| b.as_ptr()).collect();
        let theirs: Vec<*const u8> = words.data_buffers().iter().map(|b| b.as_ptr()).collect();
        assert!(ours.iter().all(|b| theirs.contains(b)), "bytes of strings were copied");
    }
}

#[tokio::test]
async fn small_leftovers_are_gathered() {
    let context = fused();
    let (batches, _) = run(&context, "SELECT id FROM big WHERE id % 100 = 0").await.unwrap();
    let sizes: Vec<usize> = batches.iter().map(RecordBatch::num_rows).collect();
    assert_eq!(sizes.iter().sum::<usize>(), 3000);
    assert!(sizes.len() <= 2, "{sizes:?}");
}

fn small_memory(bytes: usize) -> SessionContext {
    let runtime = RuntimeEnvBuilder::new().with_memory_pool(Arc::new(GreedyMemoryPool::new(bytes)));
    let mut config = SessionConfig::new().with_target_partitions(2);
    let mut options = FuselineOptions::default();
    options.set("fusion", "force").unwrap();
    config.options_mut().extensions.insert(options);
    let builder = SessionStateBuilder::new()
        .with_default_features()
        .with_config(config)
        .with_runtime_env(runtime.build_arc().unwrap());
    let context = SessionContext::new_with_state(fuse(builder).build());
    let big = big_batch(300_000);
    let table = MemTable::try_new(big.schema(), vec![vec![big]]).unwrap();
    context.register_table("big", Arc::new(table)).unwrap();
    context
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn little_memory_makes_small_morsels_and_none_a_typed_error() {
    let sql = "SELECT id + 1, x * 2.0 FROM big WHERE k > 1";
    let context = small_memory(400_000);
    let (plan, stage) = fused_plan(&context, sql).await;
    let rows: usize =
        collect(plan, context.task_ctx()).await.unwrap().iter().map(RecordBatch::num_rows).sum();
    assert_eq!(rows, 240_000);
    let morsels = metric(&stage.metrics().unwrap(), "morsels");
    assert!(morsels > 20, "{morsels} morsels");
    assert_eq!(context.runtime_env().memory_pool.reserved(), 0, "memory was not given back");

    let context = small_memory(1_000);
    let error = run(&context, sql).await.unwrap_err();
    assert!(matches!(error.find_root(), DataFusionError::ResourcesExhausted(_)), "{error}");
    assert!(error.to_string().contains("FusedExec"), "{error}");
}

#[tokio::test]
async fn a_plan_runs_again_and_survives_new_children() {
    let context = fused();
    let (plan, fused) = fused_plan(&context, "SELECT id + 1 FROM big WHERE k = 3").await;
    let first = collect(Arc::clone(&plan), context.task_ctx()).await.unwrap();
    let again = collect(Arc::clone(&plan), context.task_ctx()).await.unwrap();
    assert_eq!(sorted_text(&first), sorted_text(&again));
    let reset = datafusion::physical_plan::execution_plan::reset_plan_states(plan).unwrap();
    let reset_stage = fused_stages(&reset)[0].clone();
    assert_eq!(metric(&reset_stage.metrics().unwrap(), "morsels"), 0);
    assert_eq!(sorted_text(&first), sorted_text(&collect(reset, context.task_ctx()).await.unwrap()));
    assert!(Arc::clone(&fused).with_fetch(Some(3)).is_some());
    let limited = fused.with_fetch(Some(3)).unwrap();
    assert_eq!(limited.fetch(), Some(3));
    let rows: usize =
        collect(limited, context.task_ctx()).await.unwrap().iter().map(RecordBatch::num_rows).sum();
    assert_eq!(rows, 6, "three rows from each of two partitions");
    assert_eq!(stage(&fused).id(), 1);
}

/// Claimed orderings hold: a table sorted on `id` keeps giving sorted partitions.
#[tokio::test]
async fn sorted_input_stays_sorted() {
    use datafusion::prelude::col;
    let context = fused();
    let big = big_batch(100_000);
    let table = MemTable::try_new(big.schema(), vec![vec![big]])
        .unwrap()
        .with_sort_order(vec![vec![col("id").sort(true, false)]]);
    context.register_table("sorted", Arc::new(table)).unwrap();
    let sql = "SELECT id, x + 1.0 AS y FROM sorted WHERE k <> 2 ORDER BY id";
    let (batches, stages) = run(&context, sql).await.unwrap();
    assert_eq!(stages, 1);
    let ids: Vec<i64> =
        batches.iter().flat_map(|b| b.column(0).as_primitive::<Int64Type>().values().to_vec()).collect();
    assert_eq!(ids, (0..100_000).filter(|i| i % 10 != 2).collect::<Vec<i64>>());
}

#[tokio::test]
async fn settings_decide_what_is_fused() {
    let sql = "SELECT i + 1 FROM one WHERE n >= 0";
    let stages =
        |mode: &'static str| async move { run(&session(&[("fuseline.fusion", mode)]), sql).await.unwrap().1 };
    assert_eq!(stages("on").await, 0, "one row is not worth it");
    assert_eq!(stages("off").await, 0);
    assert_eq!(stages("force").await, 1);
    let context = session(&[]);
    context.sql("SET fuseline.fusion = 'force'").await.unwrap();
    assert_eq!(run(&context, sql).await.unwrap().1, 1);
    let error = context.sql("SET fuseline.fusion = 'sometimes'").await.unwrap_err().to_string();
    assert!(error.contains("on, off, force, require"), "{error}");
}

#[tokio::test]
async fn require_names_what_is_outside() {
    let context = session(&[("fuseline.fusion", "require")]);
    let (_, stages) = run(&context, "SELECT i + 1, upper(s) FROM t WHERE n > 3").await.unwrap();
    assert!(stages > 0);
    let (_, stages) =
        run(&context, "SELECT n, count(*) FROM t WHERE i > 3 GROUP BY n ORDER BY n").await.unwrap();
    assert!(stages > 0);
    let error =
        run(&context, "SELECT row_number() OVER (ORDER BY n + 1) FROM t").await.unwrap_err().to_string();
    assert!(error.contains("fuseline.fusion = 'require'") && error.contains("n@"), "{error}");
}
