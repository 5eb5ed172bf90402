//! Suite `compile`: what compiling costs, over the stages of TPC-H's 22 queries.
//!
//! Hypothesis: a stage of up to 100 IR operations compiles within a millisecond (median), so that
//! compiling pays off for queries of a few milliseconds, and no tiering is needed.
//!
//! Axes: stage. Each query runs once in a fresh session, so that nothing comes from the code cache; time,
//! IR operations and bytes of code are the stage's own metrics (`EXPLAIN ANALYZE` shows the same).
//! The scale of the data does not matter to compiling; it is small.
//!
//! Machine: any; the JSON form names the processor.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::record_batch::{RecordBatch, RecordBatchReader};
use datafusion::physical_plan::ExecutionPlan;
use fuseline::Session;
use serde_json::json;
use tpchgen::generators::{
    CustomerGenerator, LineItemGenerator, NationGenerator, OrderGenerator, PartGenerator, PartSuppGenerator,
    RegionGenerator, SupplierGenerator,
};
use tpchgen_arrow::{
    CustomerArrow, LineItemArrow, NationArrow, OrderArrow, PartArrow, PartSuppArrow, RegionArrow,
    SupplierArrow,
};

use crate::Failure;
use crate::report::{Report, median};

/// Stages of up to this many IR operations are what the hypothesis speaks of.
const MOST_OPERATIONS: usize = 100;

/// Looking code up takes less than this, compiling always more.
const CACHE_HIT_NANOSECONDS: usize = 10_000;

/// One compiled stage.
struct Stage {
    query: usize,
    milliseconds: f64,
    operations: usize,
    bytes: usize,
}

pub fn run(queries: Option<&Path>, scale: f64, report: &mut Report) -> Result<(), Failure> {
    let folder = match queries {
        Some(folder) => folder.to_path_buf(),
        None => std::env::var_os("FUSELINE_SUITES")
            .map_or_else(|| PathBuf::from("../shared/suites"), PathBuf::from)
            .join("tpch/queries"),
    };
    let tables = tables(scale)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut stages = Vec::new();
    println!("{:<6} {:>6} {:>8} {:>8}", "query", "ops", "bytes", "ms");
    for number in 1..=22 {
        let path = folder.join(format!("q{number:02}.sql"));
        let sql = std::fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        let session = Session::builder().threads(1).set("fuseline.fusion", "force").build()?;
        for (name, batches) in &tables {
            session.register_batches(name, batches[0].schema(), batches.clone())?;
        }
        runtime.block_on(async {
            let query = session.sql(sql.trim().trim_end_matches(';')).await?;
            let plan = query.plan()?;
            query.collect().await?;
            gather(&plan, number, &mut stages);
            Ok::<_, Failure>(())
        })?;
    }
    for stage in &stages {
        println!(
            "Q{:<5} {:>6} {:>8} {:>8.3}",
            stage.query, stage.operations, stage.bytes, stage.milliseconds
        );
        report.add(json!({
            "suite": "compile",
            "query": stage.query,
            "ir_operations": stage.operations,
            "code_bytes": stage.bytes,
            "compile_ms": stage.milliseconds,
        }));
    }
    let small: Vec<f64> = stages
        .iter()
        .filter(|stage| stage.operations <= MOST_OPERATIONS)
        .map(|stage| stage.milliseconds)
        .collect();
    if small.is_empty() {
        return Err("no stage was compiled".into());
    }
    let largest = small.iter().copied().fold(0.0, f64::max);
    println!(
        "{} stages, {} of up to {MOST_OPERATIONS} operations: median {:.3} ms, largest {largest:.3} ms",
        stages.len(),
        small.len(),
        median(&small)
    );
    report.add(json!({
        "suite": "compile",
        "stages": stages.len(),
        "median_ms": median(&small),
        "largest_ms": largest,
    }));
    Ok(())
}

/// The stages of a plan that were compiled when it ran.
fn gather(plan: &Arc<dyn ExecutionPlan>, query: usize, stages: &mut Vec<Stage>) {
    if plan.name() == "FusedExec"
        && let Some(metrics) = plan.metrics()
    {
        let value = |name: &str| metrics.sum_by_name(name).map_or(0, |v| v.as_usize());
        let nanoseconds = value("compile_time");
        // A stage that equals an earlier one of the same query came from the cache.
        if nanoseconds > CACHE_HIT_NANOSECONDS {
            stages.push(Stage {
                query,
                milliseconds: nanoseconds as f64 / 1e6,
                operations: value("ir_ops"),
                bytes: value("code_bytes"),
            });
        }
    }
    for child in plan.children() {
        gather(child, query, stages);
    }
}

/// TPC-H's eight tables in memory.
fn tables(scale: f64) -> Result<Vec<(&'static str, Vec<RecordBatch>)>, Failure> {
    fn read(reader: impl RecordBatchReader) -> Result<Vec<RecordBatch>, Failure> {
        Ok(reader.collect::<Result<_, _>>()?)
    }
    Ok(vec![
        ("nation", read(NationArrow::new(NationGenerator::new(scale, 1, 1)))?),
        ("region", read(RegionArrow::new(RegionGenerator::new(scale, 1, 1)))?),
        ("part", read(PartArrow::new(PartGenerator::new(scale, 1, 1)))?),
        ("supplier", read(SupplierArrow::new(SupplierGenerator::new(scale, 1, 1)))?),
        ("partsupp", read(PartSuppArrow::new(PartSuppGenerator::new(scale, 1, 1)))?),
        ("customer", read(CustomerArrow::new(CustomerGenerator::new(scale, 1, 1)))?),
        ("orders", read(OrderArrow::new(OrderGenerator::new(scale, 1, 1)))?),
        ("lineitem", read(LineItemArrow::new(LineItemGenerator::new(scale, 1, 1)))?),
    ])
}
