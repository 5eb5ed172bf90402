//! Suite `loops`: fuseline against hand-written Rust loops, on the same buffers, in one process.
//!
//! Hypothesis: a SQL pipeline costs at most 1.3 times the best loop that the compiler makes for this
//! very processor when the data comes from memory, and at most 2.0 times with the data in the
//! second-level cache, where arithmetic shows.
//!
//! Axes: pipeline; place of the data (memory: `--rows` rows once; cache: `--cached-rows` rows again and
//! again until as many rows went by); threads. Per cell the formulations of the hand-written loop and
//! fuseline run interleaved, `--repeat` times, and medians are compared; the fastest formulation counts.
//!
//! What is timed: of fuseline from the call of `Session::sql` to the end of the result stream, every
//! batch dropped as it comes, with planning and compiling already cached (`cold` is the first call). Of
//! the loop the call, with its threads' start. Both read the same Arrow buffers. In the cache form the
//! table is a list of batches that all share one set of arrays.
//!
//! Machine: any; the figures are ratios taken in one run, and the JSON form names the processor.

use std::sync::Arc;
use std::time::Instant;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Field, Float64Type, Int64Type, Schema};
use arrow::record_batch::RecordBatch;
use clap::ValueEnum;
use datafusion::physical_plan::ExecutionPlan;
use fuseline::Session;
use futures::StreamExt;
use serde_json::json;

use crate::hand::{Addresses, HandLoops};
use crate::pipelines::{Answer, PIPELINES, Pipeline};
use crate::report::{Report, median};
use crate::{Failure, LoopsArguments};

/// Where the data lies.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum, Debug)]
pub enum Place {
    Memory,
    Cache,
}

/// Relative error between the two sums; they add in different orders.
const TOLERANCE: f64 = 1e-9;

pub fn run(arguments: &LoopsArguments, report: &mut Report) -> Result<(), Failure> {
    let hand = HandLoops::compile()?;
    println!(
        "{:<24} {:<7} {:>7} {:>8} {:>9} {:>6}  {:<18} {:>8}",
        "pipeline", "place", "threads", "hand", "fuseline", "ratio", "best formulation", "cold ms"
    );
    println!("{:<41} {:>8} {:>9}", "", "ns/row", "ns/row");
    for pipeline in PIPELINES {
        if arguments.only.as_ref().is_some_and(|part| !pipeline.name.contains(part.as_str())) {
            continue;
        }
        for place in [Place::Memory, Place::Cache] {
            if arguments.place.is_some_and(|only| only != place) {
                continue;
            }
            cell(pipeline, place, arguments, &hand, report)?;
        }
    }
    Ok(())
}

/// One pipeline in one place, at every thread count.
fn cell(
    pipeline: &Pipeline,
    place: Place,
    arguments: &LoopsArguments,
    hand: &HandLoops,
    report: &mut Report,
) -> Result<(), Failure> {
    let (rows, passes) = match place {
        Place::Memory => (arguments.rows, 1),
        Place::Cache => (arguments.cached_rows, (arguments.rows / arguments.cached_rows).max(2)),
    };
    let columns: Vec<ArrayRef> =
        pipeline.columns.iter().enumerate().map(|(i, (_, kind))| kind.column(rows, i as u64 + 1)).collect();
    let addresses = addresses(&columns);
    let fields: Vec<Field> = pipeline
        .columns
        .iter()
        .zip(&columns)
        .map(|((name, _), column)| Field::new(*name, column.data_type().clone(), column.null_count() > 0))
        .collect();
    let schema = Arc::new(Schema::new(fields));
    let whole = RecordBatch::try_new(Arc::clone(&schema), columns)?;
    let batches: Vec<RecordBatch> = match place {
        Place::Memory => (0..rows)
            .step_by(arguments.batch_rows)
            .map(|at| whole.slice(at, arguments.batch_rows.min(rows - at)))
            .collect(),
        Place::Cache => vec![whole; passes],
    };
    let total_rows = (rows * passes) as f64;

    for &threads in &arguments.threads {
        let mut builder = Session::builder().threads(threads);
        for setting in &arguments.settings {
            let (key, value) = setting.split_once('=').ok_or_else(|| format!("--set {setting}: no `=`"))?;
            builder = builder.set(key, value);
        }
        let session = builder.build()?;
        session.register_batches("t", Arc::clone(&schema), batches.clone())?;
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build()?;

        let begin = Instant::now();
        let first = runtime.block_on(drain(&session, pipeline.sql))?;
        let cold = begin.elapsed().as_secs_f64();
        let mut fuseline = Vec::new();
        let mut loops = vec![Vec::new(); pipeline.hand.len()];
        for _ in 0..arguments.repeat {
            for (name, times) in pipeline.hand.iter().zip(&mut loops) {
                let begin = Instant::now();
                let found = hand.run(name, &addresses, rows, passes, threads)?;
                times.push(begin.elapsed().as_secs_f64());
                // The table of the cache form holds the rows `passes` times.
                let found = found * passes as f64;
                if (found - first.answer(pipeline)).abs() > TOLERANCE * found.abs() {
                    return Err(format!(
                        "{}: the loop {name} gives {found}, fuseline {}",
                        pipeline.name,
                        first.answer(pipeline)
                    )
                    .into());
                }
            }
            let begin = Instant::now();
            runtime.block_on(drain(&session, pipeline.sql))?;
            fuseline.push(begin.elapsed().as_secs_f64());
        }
        let nanoseconds = |times: &[f64]| median(times) * 1e9 / total_rows;
        let (best, hand_time) = pipeline
            .hand
            .iter()
            .zip(loops.iter().map(|times| nanoseconds(times)))
            .min_by(|a, b| a.1.total_cmp(&b.1))
            .ok_or("a pipeline has a hand-written loop")?;
        let fuseline_time = nanoseconds(&fuseline);
        let ratio = fuseline_time / hand_time;
        let place_name = match place {
            Place::Memory => "memory",
            Place::Cache => "cache",
        };
        println!(
            "{:<24} {place_name:<7} {threads:>7} {hand_time:>8.3} {fuseline_time:>9.3} {ratio:>6.2}  \
             {best:<18} {:>8.1}{}",
            pipeline.name,
            cold * 1e3,
            if first.fused { "" } else { "  NOT FUSED" }
        );
        report.add(json!({
            "suite": "loops",
            "pipeline": pipeline.name,
            "sql": pipeline.sql,
            "place": place_name,
            "threads": threads,
            "rows": rows,
            "passes": passes,
            "hand_ns_per_row": hand_time,
            "hand_formulation": best,
            "fuseline_ns_per_row": fuseline_time,
            "ratio": ratio,
            "cold_ms": cold * 1e3,
            "bytes_per_row": pipeline.bytes,
            "fused": first.fused,
        }));
    }
    Ok(())
}

/// Addresses of the value buffers, each followed by that of the validity bitmap where there are NULLs.
fn addresses(columns: &[ArrayRef]) -> Addresses {
    let mut found = Vec::new();
    for column in columns {
        let data = column.to_data();
        found.push(data.buffers()[0].as_ptr());
        if let Some(nulls) = data.nulls() {
            found.push(nulls.validity().as_ptr());
        }
    }
    Addresses(found)
}

/// What a query gave.
struct Drained {
    rows: usize,
    number: f64,
    fused: bool,
}

impl Drained {
    fn answer(&self, pipeline: &Pipeline) -> f64 {
        match pipeline.answer {
            Answer::Number => self.number,
            Answer::Rows => self.rows as f64,
        }
    }
}

/// Runs a query to its end and drops every batch as it comes.
async fn drain(session: &Session, sql: &str) -> Result<Drained, Failure> {
    let query = session.sql(sql).await?;
    let fused = is_fused(&query.plan()?);
    let mut stream = query.stream().await?;
    let mut drained = Drained { rows: 0, number: f64::NAN, fused };
    while let Some(batch) = stream.next().await {
        let batch = batch?;
        drained.rows += batch.num_rows();
        if batch.num_columns() > 0 && batch.num_rows() > 0 {
            let column = batch.column(0);
            drained.number = match column.data_type() {
                DataType::Float64 => column.as_primitive::<Float64Type>().value(0),
                DataType::Int64 => column.as_primitive::<Int64Type>().value(0) as f64,
                _ => f64::NAN,
            };
        }
    }
    Ok(drained)
}

/// Whether a plan holds a fused stage.
pub fn is_fused(plan: &Arc<dyn ExecutionPlan>) -> bool {
    plan.name() == "FusedExec" || plan.children().into_iter().any(is_fused)
}
