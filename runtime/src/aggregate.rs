//! Ungrouped aggregates: all the input's morsels on all cores, one row out.
//!
//! Ranges and tables in memory are cut into morsels up front and handed to whichever worker is
//! free; other children give one worker per partition. Either way the states are merged in the
//! order of the rows, so a float sum has the same bits at every run. Workers belong to a `JoinSet`:
//! dropping the stream aborts them, at the latest after the morsel at hand.

use crate::bounds::Bounds;
use crate::errors::from_panic;
use crate::kept::KeptRows;
use crate::memory::StageMemory;
use crate::metrics::StageMetrics;
use crate::own_thread::{Place, spawn};
use crate::program::{MorselOutput, Program};
use crate::source::{MemoryTable, MorselRows, Piece, range_morsel};
use arrow::array::{ArrayRef, RecordBatch};
use datafusion::common::runtime::JoinSet;
use datafusion::common::{DataFusionError, Result, internal_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use fuseline_codegen::ir::{Agg, AggState, Sink};
use fuseline_planner::stage::StageSink;
use futures::StreamExt;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Rows of a generated range per morsel: no memory is touched, so only the price of a morsel and
/// the delay of a cancellation count.
const RANGE_MORSEL: u64 = 1 << 20;

/// What a stage aggregates.
pub enum AggregateInput {
    Range { rows: u64 },
    Memory(Arc<MemoryTable>),
    Children(Vec<SendableRecordBatchStream>),
}

/// Everything a worker needs.
#[derive(Clone)]
pub struct AggregateJob {
    pub id: usize,
    pub program: Arc<Program>,
    /// Which of its later programs is being run; `None`: itself.
    pub pass: Option<Arc<Program>>,
    /// Shared by all workers; the times add up over them.
    pub metrics: StageMetrics,
    pub context: Arc<TaskContext>,
    /// What the scan below wants to know meanwhile.
    pub bounds: Option<Arc<Bounds>>,
    /// At most this many workers for ranges and tables in memory.
    pub workers: usize,
}

impl AggregateJob {
    fn running(&self) -> &Arc<Program> {
        self.pass.as_ref().unwrap_or(&self.program)
    }
}

/// The one row of an aggregating stage.
///
/// # Errors
/// The first error a worker meets; the other workers are then stopped.
pub async fn run_aggregate(job: Arc<AggregateJob>, input: AggregateInput) -> Result<RecordBatch> {
    let mut states = match input {
        AggregateInput::Range { rows } => {
            let count = usize::try_from(rows.div_ceil(RANGE_MORSEL))
                .map_err(|_| DataFusionError::Execution(format!("a range of {rows} rows is too long")))?;
            let read = move |i: usize| {
                let start = i as u64 * RANGE_MORSEL;
                range_morsel(start, (rows - start).min(RANGE_MORSEL) as usize)
            };
            run_indexed(&job, count, Arc::new(read)).await?
        }
        AggregateInput::Memory(table) => {
            let morsels: Vec<Piece> = table.morsels(job.program.options().morsel_rows);
            let count = morsels.len();
            let read = move |i: usize| match morsels.get(i) {
                Some(piece) => Ok(MorselRows { batch: table.read(*piece)?, row_base: 0 }),
                None => internal_err!("there is no morsel {i}"),
            };
            run_indexed(&job, count, Arc::new(read)).await?
        }
        AggregateInput::Children(streams) => run_streams(&job, streams).await?,
    };
    for later in job.program.later() {
        let job = Arc::new(AggregateJob { pass: Some(Arc::clone(later)), ..AggregateJob::clone(&job) });
        let rows = KeptRows::of(later)?;
        let most = later.options().morsel_rows.max(1);
        let count = rows.rows().div_ceil(most);
        let read = move |i: usize| rows.read(i * most..rows.rows().min((i + 1) * most));
        let more = run_indexed(&job, count, Arc::new(read)).await?;
        merge(&mut states, &more, aggs(&job.program)?);
    }
    if let Some(bounds) = &job.bounds {
        bounds.complete();
    }
    let _timer = job.metrics.baseline.elapsed_compute().timer();
    finish(&job.program, &states)
}

type Read = dyn Fn(usize) -> Result<MorselRows> + Send + Sync;

/// Workers take morsels by number until none is left.
async fn run_indexed(job: &Arc<AggregateJob>, count: usize, read: Arc<Read>) -> Result<Vec<AggState>> {
    let merged = Arc::new(Mutex::new(InOrder::new(aggs(&job.program)?)));
    let next = Arc::new(AtomicUsize::new(0));
    let stop = StopOnDrop::default();
    let mut workers = JoinSet::new();
    let place = Place::of(&job.program, &job.metrics);
    for partition in 0..job.workers.min(count) {
        let (job, read, merged) = (Arc::clone(job), Arc::clone(&read), Arc::clone(&merged));
        let (next, stop) = (Arc::clone(&next), Arc::clone(&stop.0));
        let work = async move {
            let memory = StageMemory::new(job.id, partition, job.running(), &job.context);
            let mut turn = Turn::begin();
            loop {
                let i = next.fetch_add(1, Ordering::Relaxed);
                if i >= count || stop.load(Ordering::Relaxed) {
                    return Ok(());
                }
                let states = run_morsel(&job, &memory, read(i)?)?;
                merged.lock().add(i, states);
                turn.give_way().await;
            }
        };
        spawn(&mut workers, place, work);
    }
    join_all(workers).await?;
    let mut merged = merged.lock();
    merged.finish()
}

/// One worker per stream; their states are merged in the order of the partitions.
async fn run_streams(
    job: &Arc<AggregateJob>,
    streams: Vec<SendableRecordBatchStream>,
) -> Result<Vec<AggState>> {
    let merged = Arc::new(Mutex::new(InOrder::new(aggs(&job.program)?)));
    let stop = StopOnDrop::default();
    let mut workers = JoinSet::new();
    let place = Place::of(&job.program, &job.metrics);
    for (partition, mut stream) in streams.into_iter().enumerate() {
        let (job, merged, stop) = (Arc::clone(job), Arc::clone(&merged), Arc::clone(&stop.0));
        let work = async move {
            let aggs = aggs(&job.program)?;
            let memory = StageMemory::new(job.id, partition, job.running(), &job.context);
            let mut own = empty(aggs);
            let most = job.program.options().morsel_rows;
            let mut turn = Turn::begin();
            while let Some(batch) = stream.next().await {
                let batch = batch?;
                let mut at = 0;
                while at < batch.num_rows() {
                    if stop.load(Ordering::Relaxed) {
                        return Ok(());
                    }
                    let rows = most.min(batch.num_rows() - at);
                    let morsel = MorselRows { batch: batch.slice(at, rows), row_base: 0 };
                    merge(&mut own, &run_morsel(&job, &memory, morsel)?, aggs);
                    at += rows;
                    turn.give_way().await;
                }
            }
            drop(stream);
            merged.lock().add(partition, own);
            Ok(())
        };
        spawn(&mut workers, place, work);
    }
    join_all(workers).await?;
    let mut merged = merged.lock();
    merged.finish()
}

/// A worker's time on its thread. It gives way to other tasks about once a millisecond and not after every
/// morsel: the scheduler looks at its timers and sockets each time, which costs as much as summing ten
/// thousand rows.
struct Turn(Instant);

impl Turn {
    const LENGTH: Duration = Duration::from_millis(1);

    fn begin() -> Turn {
        Turn(Instant::now())
    }

    /// Between two morsels.
    async fn give_way(&mut self) {
        if self.0.elapsed() >= Turn::LENGTH {
            tokio::task::yield_now().await;
            self.0 = Instant::now();
        }
    }
}

fn run_morsel(job: &AggregateJob, memory: &StageMemory, rows: MorselRows) -> Result<Vec<AggState>> {
    let _timer = job.metrics.baseline.elapsed_compute().timer();
    let count = rows.batch.num_rows();
    job.metrics.morsels.add(1);
    job.metrics.input_rows.add(count);
    // Cutting a morsel in two would change which rows a float sum adds up together, and with it the
    // last bit; so here the pool's refusal of less than the whole is an error.
    memory.reserve_whole(count)?;
    let run = AssertUnwindSafe(|| job.running().run(rows.batch, rows.row_base, &job.metrics));
    match catch_unwind(run) {
        Ok(Ok(MorselOutput::Aggregate(states))) => {
            if let (Some(bounds), StageSink::Aggregate { finals, .. }) =
                (&job.bounds, &job.program.stage().sink)
            {
                bounds.observe(&states, aggs(&job.program)?, finals)?;
            }
            Ok(states)
        }
        Ok(Ok(MorselOutput::Silent)) => Ok(empty(aggs(&job.program)?)),
        Ok(Ok(MorselOutput::Batch(_) | MorselOutput::Grouped)) => {
            internal_err!("an aggregating stage emitted rows")
        }
        Ok(Err(e)) => Err(e),
        Err(panic) => Err(from_panic(job.id, panic.as_ref())),
    }
}

/// Waits for all workers; the first error or panic ends them all.
async fn join_all(mut workers: JoinSet<Result<()>>) -> Result<()> {
    while let Some(done) = workers.join_next().await {
        match done {
            Ok(result) => result?,
            Err(e) => return Err(DataFusionError::ExecutionJoin(Box::new(e))),
        }
    }
    Ok(())
}

/// Tells the workers to stop between morsels when the query that waits for them is dropped.
#[derive(Default)]
struct StopOnDrop(Arc<AtomicBool>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The aggregates of the last loop.
pub fn aggs(program: &Program) -> Result<&[Agg]> {
    match program.stage().ending().segments.last().map(|s| &s.loop_.sink) {
        Some(Sink::Aggregate(aggs)) => Ok(aggs),
        Some(Sink::Emit(_) | Sink::Group { .. }) | None => {
            internal_err!("the last loop of an aggregating stage emits rows")
        }
    }
}

fn empty(aggs: &[Agg]) -> Vec<AggState> {
    aggs.iter().map(AggState::empty).collect()
}

fn merge(into: &mut [AggState], later: &[AggState], aggs: &[Agg]) {
    for ((a, b), agg) in into.iter_mut().zip(later).zip(aggs) {
        a.merge(b, agg);
    }
}

/// Merges states strictly by their number, whatever order they arrive in; those that came too early
/// wait.
struct InOrder {
    aggs: Vec<Agg>,
    total: Vec<AggState>,
    next: usize,
    waiting: BTreeMap<usize, Vec<AggState>>,
}

impl InOrder {
    fn new(aggs: &[Agg]) -> InOrder {
        InOrder { aggs: aggs.to_vec(), total: empty(aggs), next: 0, waiting: BTreeMap::new() }
    }

    fn add(&mut self, number: usize, states: Vec<AggState>) {
        self.waiting.insert(number, states);
        while let Some(states) = self.waiting.remove(&self.next) {
            merge(&mut self.total, &states, &self.aggs);
            self.next += 1;
        }
    }

    fn finish(&mut self) -> Result<Vec<AggState>> {
        match self.waiting.first_key_value() {
            None => Ok(std::mem::take(&mut self.total)),
            Some(_) => internal_err!("morsel {} of a fused aggregate is missing", self.next),
        }
    }
}

fn finish(program: &Program, states: &[AggState]) -> Result<RecordBatch> {
    match &program.stage().sink {
        StageSink::Aggregate { finals, schema } => {
            let columns: Vec<ArrayRef> =
                finals.iter().map(|f| f.finish(states)?.to_array_of_size(1)).collect::<Result<_>>()?;
            crate::program::with_rows(schema, columns, 1)
        }
        StageSink::Emit(_) | StageSink::Group { .. } => {
            internal_err!("a stage of another kind was run as an aggregate")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fuseline_codegen::ir::{AggFunc, AggValue, Ty, ValueId};

    #[test]
    fn states_are_merged_by_number_not_by_arrival() {
        let sum = Agg { func: AggFunc::Sum, arg: Some(ValueId(0)), filter: None, ty: Ty::F64 };
        let values = [1e16, 1.0, -1e16, 3.0, 0.5];
        let state = |v: f64| vec![AggState { count: 1, value: AggValue::Float(v) }];
        let in_order = values.iter().fold(0.0, |a, b| a + b);
        for arrival in [[4, 3, 2, 1, 0], [0, 1, 2, 3, 4], [2, 0, 4, 1, 3]] {
            let mut merged = InOrder::new(std::slice::from_ref(&sum));
            for i in arrival {
                merged.add(i, state(values[i]));
            }
            let total = merged.finish().unwrap();
            assert_eq!(total, [AggState { count: 5, value: AggValue::Float(in_order) }]);
        }
        let mut gap = InOrder::new(&[sum]);
        gap.add(1, state(1.0));
        assert!(gap.finish().is_err());
    }
}
