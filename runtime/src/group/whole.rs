//! Rows that are grouped together: all workers, then the merge, then the output partitions.
//!
//! The output partitions of an operator are executed one by one, but the work is the same for all of them,
//! so they share a [`Run`]: a future that whoever polls it drives on, and that ends with the last of them.

use super::deal::{Merged, Output, Shape, by_hash, evenly};
use super::merge::merge;
use super::spill::{Replaced, finish};
use super::worker::{Consumed, Worker};
use crate::fused_exec::Ready;
use crate::kept::{KeptRows, Passes};
use crate::metrics::StageMetrics;
use crate::own_thread::{Place, spawn};
use crate::program::Program;
use crate::source::MorselStream;
use arrow::array::RecordBatch;
use datafusion::common::runtime::JoinSet;
use datafusion::common::{DataFusionError, Result, internal_err};
use datafusion::execution::memory_pool::MemoryConsumer;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::PhysicalExpr;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use fuseline_codegen::groups::Groups;
use fuseline_planner::GroupColumn;
use futures::future::{BoxFuture, FutureExt, Shared};
use futures::stream::{self, StreamExt, TryStreamExt};
use parking_lot::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

/// What is to be done with the tables of all workers.
pub struct WholeJob {
    pub shape: Shape,
    pub states: Arc<[GroupColumn]>,
    pub replaced: Replaced,
    /// Output partitions, and the expressions by whose hash rows are dealt to them; without, it is nobody's
    /// business.
    pub outputs: usize,
    pub hash: Option<Vec<Arc<dyn PhysicalExpr>>>,
    pub context: Arc<TaskContext>,
}

type Outputs = Arc<Mutex<Vec<Option<Output>>>>;
/// The outputs of a job, once.
pub type Run = Shared<BoxFuture<'static, std::result::Result<Outputs, Arc<DataFusionError>>>>;

/// The runs of an operator that wait for some of its partitions to be executed.
#[derive(Default)]
pub struct WholeRuns(Mutex<Option<Slot>>);

struct Slot {
    context: Weak<TaskContext>,
    run: Run,
    joined: Vec<bool>,
}

impl WholeRuns {
    /// The run that output partition `partition` of `outputs` belongs to: the one that the others of the
    /// same query have begun, or a new one.
    ///
    /// # Errors
    /// Those of `start`.
    pub fn join(
        &self,
        partition: usize,
        outputs: usize,
        context: &Arc<TaskContext>,
        start: impl FnOnce() -> Result<Run>,
    ) -> Result<Run> {
        let mut slot = self.0.lock();
        let fits = slot
            .as_ref()
            .is_some_and(|s| std::ptr::eq(s.context.as_ptr(), Arc::as_ptr(context)) && !s.joined[partition]);
        if !fits {
            let (context, run) = (Arc::downgrade(context), start()?);
            *slot = Some(Slot { context, run, joined: vec![false; outputs] });
        }
        let Some(known) = slot.as_mut() else { return internal_err!("a run was lost") };
        known.joined[partition] = true;
        let run = known.run.clone();
        if known.joined.iter().all(|j| *j) {
            *slot = None;
        }
        Ok(run)
    }
}

impl WholeJob {
    /// The job as a run.
    pub fn start(self, mut workers: Vec<Worker>, ready: Option<Ready>) -> Run {
        async move {
            if let Some(ready) = ready {
                let program = ready.await.map_err(Arc::new)?;
                workers.iter_mut().for_each(|w| w.program = Arc::clone(&program));
            }
            let outputs = self.run(workers).await.map_err(Arc::new)?;
            Ok(Arc::new(Mutex::new(outputs.into_iter().map(Some).collect::<Vec<_>>())))
        }
        .boxed()
        .shared()
    }

    async fn run(self, workers: Vec<Worker>) -> Result<Vec<Output>> {
        let (mut workers, refused) = run_passes(workers).await?;
        let held: usize = workers.iter().map(|w| w.groups.memory()).sum();
        let reservation = MemoryConsumer::new("FusedExec merged groups").register(self.context.memory_pool());
        let several = workers.iter().filter(|w| !w.groups.is_empty()).count() > 1;
        // One table is what it is; several and their merger are there together for a while, and so are groups and
        // the rows that are made of them to be dealt out.
        let merging = if several { held } else { 0 };
        let by_key = self.hash.as_ref().filter(|_| self.outputs > 1);
        let rows = if by_key.is_some() { held } else { 0 };
        if refused || (merging + rows > 0 && reservation.try_resize(merging + rows).is_err()) {
            drop(reservation);
            let streams = finish(workers, &self.replaced, &self.states, &self.context)?;
            return Ok(streams.into_iter().map(Output::Stream).collect());
        }
        let Some(first) = workers.first() else { return internal_err!("nobody groups") };
        let compute = first.metrics.baseline.elapsed_compute().clone();
        let mut tables: Vec<Groups> = Vec::with_capacity(workers.len());
        let mut reservations = Vec::with_capacity(workers.len());
        for worker in &mut workers {
            let (groups, reservation) = worker.take_groups()?;
            tables.push(groups);
            reservations.push(reservation);
        }
        drop(workers);
        let _timer = compute.timer();
        let parts = merge(tables, self.outputs).await?;
        drop(reservations);
        let held = parts.iter().map(Groups::memory).sum();
        // Less than before, so this is not refused unless others took what was given back.
        let rows = reservation.split(rows);
        reservation.try_resize(held)?;
        let merged = Merged { parts, reservation };
        match by_key {
            Some(keys) => by_hash(merged, rows, keys, self.outputs, &self.shape).await,
            None => Ok(evenly(merged, self.outputs, &self.shape)),
        }
    }
}

/// Runs all workers to their ends, then over what is kept of build sides; whether memory ran out.
async fn run_passes(workers: Vec<Worker>) -> Result<(Vec<Worker>, bool)> {
    let later: Vec<Arc<Program>> = workers.first().map_or(vec![], |w| w.program.later().to_vec());
    let (mut workers, mut refused) = consume(workers).await?;
    for (done, program) in later.iter().enumerate() {
        if refused {
            // Whoever finishes in their stead has the rest run behind the last of them.
            let waiting = Arc::new(AtomicUsize::new(workers.len()));
            workers.iter_mut().for_each(|w| w.follow(Passes::among(&later[done..], &waiting)));
            break;
        }
        let rows = Arc::new(KeptRows::of(program)?);
        let shares = workers.len();
        for (at, worker) in workers.iter_mut().enumerate() {
            let left = rows.share(at, shares);
            worker.go_on(program, MorselStream::Kept { rows: Arc::clone(&rows), left });
        }
        (workers, refused) = consume(workers).await?;
    }
    Ok((workers, refused))
}

/// Runs all workers to their ends; they come back in their order, and with them whether memory ran out.
async fn consume(workers: Vec<Worker>) -> Result<(Vec<Worker>, bool)> {
    let stop = Arc::new(AtomicBool::new(false));
    let mut tasks = JoinSet::new();
    for (at, mut worker) in workers.into_iter().enumerate() {
        let stop = Arc::clone(&stop);
        let place = Place::of(&worker.program, &worker.metrics);
        let work = async move {
            let end = futures::future::poll_fn(|cx| worker.poll_consume(cx, Some(&stop))).await?;
            if end == Consumed::Refused {
                stop.store(true, Ordering::Relaxed);
            }
            Ok::<_, DataFusionError>((at, worker, end))
        };
        spawn(&mut tasks, place, work);
    }
    let (mut done, mut refused) = (vec![], false);
    while let Some(task) = tasks.join_next().await {
        let (at, worker, end) = task.map_err(|e| DataFusionError::ExecutionJoin(Box::new(e)))??;
        refused |= end == Consumed::Refused;
        done.push((at, worker));
    }
    done.sort_by_key(|(at, _)| *at);
    Ok((done.into_iter().map(|(_, worker)| worker).collect(), refused))
}

/// The rows of one output partition of a run.
pub fn output_stream(
    run: Run,
    partition: usize,
    shape: Shape,
    metrics: StageMetrics,
) -> SendableRecordBatchStream {
    let shape = Arc::new(shape);
    let schema = Arc::clone(&shape.schema);
    let batches = stream::once(async move {
        let outputs = run.await.map_err(DataFusionError::Shared)?;
        let output = outputs.lock().get_mut(partition).and_then(Option::take);
        match output {
            Some(output) => Ok(output_batches(output, shape)),
            None => internal_err!("partition {partition} of a grouping stage was asked for twice"),
        }
    })
    .try_flatten();
    let baseline = metrics.baseline;
    let counted = batches.inspect(move |batch| {
        if let Ok(batch) = batch {
            baseline.record_output(batch.num_rows());
        }
    });
    Box::pin(RecordBatchStreamAdapter::new(schema, counted))
}

fn output_batches(output: Output, shape: Arc<Shape>) -> stream::BoxStream<'static, Result<RecordBatch>> {
    match output {
        Output::Stream(stream) => stream,
        Output::Batches(batches, reservation) => {
            // Each batch is the reader's once it has left.
            let leave = move |batch: RecordBatch| {
                reservation.shrink(batch.get_array_memory_size());
                Ok(batch)
            };
            stream::iter(batches.into_iter().map(leave)).boxed()
        }
        Output::Groups(merged, shares) => {
            let pieces: Vec<_> = shares
                .into_iter()
                .flat_map(|(part, rows)| shape.pieces(rows).map(move |piece| (part, piece)))
                .collect();
            let batch =
                move |(part, rows): (usize, std::ops::Range<usize>)| shape.batch(&merged.parts[part], rows);
            stream::iter(pieces.into_iter().map(batch)).boxed()
        }
    }
}
