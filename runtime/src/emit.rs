//! The stream of one output partition of a stage that emits rows.
//!
//! It works morsel by morsel, so that dropping it stops the work after at most one, a LIMIT reads
//! no more than it needs, and other tasks of the runtime get their turn. What a selective filter
//! leaves is gathered into batches of the session's size, as `FilterExec` does.

use crate::errors::from_panic;
use crate::kept::Passes;
use crate::memory::StageMemory;
use crate::metrics::StageMetrics;
use crate::program::{MorselOutput, Program};
use crate::source::{MorselRows, MorselStream};
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::common::{Result, internal_err};
use datafusion::execution::RecordBatchStream;
use datafusion::physical_plan::coalesce::LimitedBatchCoalescer;
use fuseline_codegen::ir::CHUNK;
use fuseline_planner::stage::{Limit, Stage};
use futures::Stream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// What an [`EmitStream`] is made of.
pub struct EmitParts {
    pub id: usize,
    pub program: Arc<Program>,
    pub schema: SchemaRef,
    pub source: MorselStream,
    pub limit: Limit,
    pub metrics: StageMetrics,
    pub memory: StageMemory,
    /// The session's batch size.
    pub batch_size: usize,
}

/// Whether fewer rows may leave than enter, or others.
pub fn drops_rows(stage: &Stage) -> bool {
    !stage.later.is_empty() || stage.segments.iter().any(|s| s.loop_.has_filter())
}

/// Runs one partition and gives its batches in order.
pub struct EmitStream {
    id: usize,
    program: Arc<Program>,
    schema: SchemaRef,
    /// `None` when the partition is finished, so that what it held is released at once.
    source: Option<MorselStream>,
    /// What may follow when the source is through.
    passes: Passes,
    /// Rows that were read but did not fit into the memory that the pool gave.
    held: Option<MorselRows>,
    /// Present where a filter may leave small batches.
    coalescer: Option<LimitedBatchCoalescer>,
    skip: usize,
    /// Rows still wanted.
    left: Option<usize>,
    /// Rows to take next; grows from a small start under a LIMIT.
    next_rows: usize,
    most_rows: usize,
    metrics: StageMetrics,
    memory: StageMemory,
}

impl EmitStream {
    pub fn new(parts: EmitParts) -> EmitStream {
        let most_rows = parts.program.options().morsel_rows;
        let next_rows = match parts.limit.fetch {
            Some(n) => n.saturating_add(parts.limit.skip).clamp(CHUNK, most_rows),
            None => most_rows,
        };
        let filters = drops_rows(parts.program.stage());
        EmitStream {
            coalescer: filters.then(|| {
                LimitedBatchCoalescer::new(Arc::clone(&parts.schema), parts.batch_size.max(1), None)
            }),
            id: parts.id,
            passes: Passes::of(&parts.program),
            program: parts.program,
            schema: parts.schema,
            source: Some(parts.source),
            held: None,
            skip: parts.limit.skip,
            left: parts.limit.fetch,
            next_rows,
            most_rows,
            metrics: parts.metrics,
            memory: parts.memory,
        }
    }

    fn finish(&mut self) -> Result<()> {
        self.source = None;
        self.held = None;
        self.memory.free();
        match &mut self.coalescer {
            Some(c) => c.finish(),
            None => Ok(()),
        }
    }

    /// The source is through: goes on with what follows, if that is for this partition to run.
    fn next_pass(&mut self) -> Result<()> {
        let Some((program, rows)) = self.passes.next()? else { return self.finish() };
        self.memory.go_on(&program);
        self.most_rows = program.options().morsel_rows;
        self.next_rows = self.most_rows;
        self.program = program;
        self.source = Some(MorselStream::of_kept(rows));
        Ok(())
    }

    fn run(&self, rows: MorselRows) -> Result<RecordBatch> {
        let run = AssertUnwindSafe(|| self.program.run(rows.batch, rows.row_base, &self.metrics));
        match catch_unwind(run) {
            Ok(Ok(MorselOutput::Batch(batch))) => Ok(batch),
            Ok(Ok(MorselOutput::Silent)) => Ok(RecordBatch::new_empty(Arc::clone(&self.schema))),
            Ok(Ok(MorselOutput::Aggregate(_) | MorselOutput::Grouped)) => {
                internal_err!("an emitting stage aggregated")
            }
            Ok(Err(e)) => Err(e),
            Err(panic) => Err(from_panic(self.id, panic.as_ref())),
        }
    }

    /// Applies OFFSET and LIMIT.
    fn cut(&mut self, batch: RecordBatch) -> RecordBatch {
        let mut batch = batch;
        if self.skip > 0 {
            let skipped = self.skip.min(batch.num_rows());
            self.skip -= skipped;
            batch = batch.slice(skipped, batch.num_rows() - skipped);
        }
        if let Some(left) = &mut self.left {
            if batch.num_rows() > *left {
                batch = batch.slice(0, *left);
            }
            *left -= batch.num_rows();
        }
        batch
    }

    fn poll_batch(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<RecordBatch>>> {
        loop {
            if let Some(batch) = self.coalescer.as_mut().and_then(|c| c.next_completed_batch()) {
                return Poll::Ready(Some(Ok(batch)));
            }
            if self.source.is_some() && self.left == Some(0) {
                self.finish()?;
                continue;
            }
            let Some(source) = &mut self.source else {
                return Poll::Ready(None);
            };
            let turn = ready!(tokio::task::coop::poll_proceed(cx));
            let read = match self.held.take() {
                Some(held) => held,
                None => match ready!(source.poll_next(cx, self.next_rows)) {
                    Some(Ok(morsel)) => morsel,
                    Some(Err(e)) => return self.fail(e),
                    None => {
                        self.next_pass()?;
                        continue;
                    }
                },
            };
            let morsel = match self.memory.reserve(read.batch.num_rows()) {
                Ok(rows) => {
                    if rows < read.batch.num_rows() {
                        self.most_rows = rows;
                    }
                    let (morsel, rest) = read.split(rows);
                    self.held = rest;
                    morsel
                }
                Err(e) => return self.fail(e),
            };
            turn.made_progress();
            self.next_rows = (self.next_rows * 2).min(self.most_rows);
            self.metrics.morsels.add(1);
            self.metrics.input_rows.add(morsel.batch.num_rows());
            let elapsed = self.metrics.baseline.elapsed_compute().clone();
            let _timer = elapsed.timer();
            let batch = match self.run(morsel) {
                Ok(batch) => self.cut(batch),
                Err(e) => return self.fail(e),
            };
            if batch.num_rows() == 0 {
                continue;
            }
            match &mut self.coalescer {
                Some(c) => {
                    c.push_batch(batch)?;
                }
                None => return Poll::Ready(Some(Ok(batch))),
            }
        }
    }

    /// Ends the stream with an error; rows gathered so far are dropped.
    fn fail(&mut self, e: datafusion::common::DataFusionError) -> Poll<Option<Result<RecordBatch>>> {
        self.source = None;
        self.held = None;
        self.coalescer = None;
        self.memory.free();
        Poll::Ready(Some(Err(e)))
    }
}

impl Stream for EmitStream {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let poll = self.poll_batch(cx);
        self.metrics.baseline.record_poll(poll)
    }
}

impl RecordBatchStream for EmitStream {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
}
