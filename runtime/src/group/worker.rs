//! A worker: takes the rows of a share through the stage into its table, morsel by morsel.
//!
//! Before each morsel it reserves what the table may need after it. Strings are known only afterwards, so
//! they are reserved for with the next morsel. Where the pool has no room for a whole morsel's groups it is
//! asked for a chunk's; when it refuses even those, the worker stops and says so.

use crate::errors::from_panic;
use crate::kept::Passes;
use crate::metrics::StageMetrics;
use crate::program::Program;
use crate::source::{MorselRows, MorselStream};
use datafusion::common::{DataFusionError, Result};
use datafusion::execution::TaskContext;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryLimit, MemoryReservation};
use fuseline_codegen::groups::Groups;
use fuseline_codegen::ir::CHUNK;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

/// What a [`Worker`] is made of.
pub struct WorkerParts {
    pub id: usize,
    pub partition: usize,
    pub program: Arc<Program>,
    pub metrics: StageMetrics,
    pub source: MorselStream,
}

/// After so long, and not after every morsel, a worker gives way to other tasks.
const TURN: Duration = Duration::from_millis(1);

/// The most values that a range of keys may have to be indexed by value: 64 MB of numbers.
const MOST_DENSE: usize = 1 << 24;

/// Rows of a morsel whose groups will be dealt out: as many as the small table for them holds.
const DEALT_MORSEL: usize = 1 << 14;

/// A smaller memory limit is left to the groups themselves.
const LEAST_FOR_DENSE: usize = 16 << 20;

/// Up to which range keys of about so many rows are indexed by value. Such an index is reserved for only
/// once it is there, so it must be small beside what the pool has.
fn dense_limit(rows: usize, context: &TaskContext) -> usize {
    let limit = rows.min(MOST_DENSE);
    match context.memory_pool().memory_limit() {
        // An index by value buys speed with memory, of which cells by value take some hundred kilobytes more.
        MemoryLimit::Finite(bytes) if bytes < LEAST_FOR_DENSE => 0,
        MemoryLimit::Finite(bytes) => limit.min(bytes / 64),
        MemoryLimit::Infinite | MemoryLimit::Unknown => limit,
    }
}

/// How a worker came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Consumed {
    /// All rows are in the table.
    All,
    /// There was no memory for more groups, or another worker found none.
    Refused,
}

pub struct Worker {
    id: usize,
    pub program: Arc<Program>,
    /// Which of its later programs is being run; `None`: itself.
    pass: Option<Arc<Program>>,
    /// What may follow when the source is through.
    passes: Passes,
    pub(super) metrics: StageMetrics,
    source: Option<MorselStream>,
    /// Rows that were read but did not fit.
    held: Option<MorselRows>,
    pub(super) groups: Groups,
    reservation: MemoryReservation,
    /// When it gave way last.
    turn: Instant,
}

impl Worker {
    /// # Errors
    /// `Internal` when the stage does not group.
    pub fn new(parts: WorkerParts, context: &TaskContext) -> Result<Worker> {
        let dense_limit = dense_limit(parts.source.known_rows().unwrap_or(0), context);
        let reservation =
            MemoryConsumer::new(format!("FusedExec *({}) groups of partition {}", parts.id, parts.partition))
                .with_can_spill(true)
                .register(context.memory_pool());
        Ok(Worker {
            id: parts.id,
            groups: parts.program.new_groups(dense_limit)?,
            program: parts.program,
            pass: None,
            passes: Passes::default(),
            metrics: parts.metrics,
            source: Some(parts.source),
            held: None,
            reservation,
            turn: Instant::now(),
        })
    }

    fn running(&self) -> &Arc<Program> {
        self.pass.as_ref().unwrap_or(&self.program)
    }

    /// Has it see to all that follows its source by itself, with those it shares tables with.
    pub fn follow(&mut self, passes: Passes) {
        self.passes = passes;
    }

    /// Has it go on with these rows.
    pub(super) fn go_on(&mut self, program: &Arc<Program>, source: MorselStream) {
        (self.pass, self.source) = (Some(Arc::clone(program)), Some(source));
    }

    /// Reads rows into the table until there are no more, or no more memory, or `stop` is set.
    pub(super) fn poll_consume(
        &mut self,
        cx: &mut Context<'_>,
        stop: Option<&AtomicBool>,
    ) -> Poll<Result<Consumed>> {
        loop {
            if stop.is_some_and(|s| s.load(Ordering::Relaxed)) {
                return Poll::Ready(Ok(Consumed::Refused));
            }
            let turn = ready!(tokio::task::coop::poll_proceed(cx));
            let read = match self.held.take() {
                Some(held) => held,
                None => {
                    let most = self.running().options().morsel_rows;
                    let most = if self.groups.is_dealing() { most.min(DEALT_MORSEL) } else { most };
                    let Some(source) = &mut self.source else { return Poll::Ready(Ok(Consumed::All)) };
                    match ready!(source.poll_next(cx, most)) {
                        Some(Ok(rows)) => rows,
                        Some(Err(e)) => return Poll::Ready(Err(e)),
                        None => match self.passes.next()? {
                            Some((program, rows)) => {
                                self.pass = Some(program);
                                self.source = Some(MorselStream::of_kept(rows));
                                continue;
                            }
                            None => {
                                self.source = None;
                                return Poll::Ready(Ok(Consumed::All));
                            }
                        },
                    }
                }
            };
            turn.made_progress();
            let Some(rows) = self.reserve(read.batch.num_rows())? else {
                self.held = Some(read);
                return Poll::Ready(Ok(Consumed::Refused));
            };
            let (now, later) = read.split(rows);
            self.held = later;
            self.run(now)?;
            if self.turn.elapsed() >= TURN {
                // A task that is aborted ends where it waits.
                self.turn = Instant::now();
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
    }

    /// How many of the next rows there is memory for; `None` when the table must be given up.
    fn reserve(&mut self, rows: usize) -> Result<Option<usize>> {
        if self.running().is_silent() {
            return Ok(Some(rows));
        }
        let held = self.groups.memory();
        for rows in [rows, rows.min(CHUNK)] {
            match self.reservation.try_resize(held + self.groups.growth(rows)) {
                Ok(()) => return Ok(Some(rows)),
                Err(DataFusionError::ResourcesExhausted(_)) => {}
                Err(e) => return Err(e),
            }
        }
        if self.groups.is_empty() {
            // Giving it up would gain nothing: the error names the setting.
            self.reservation.try_resize(held + self.groups.growth(rows.min(CHUNK)))?;
        }
        Ok(None)
    }

    fn run(&mut self, rows: MorselRows) -> Result<()> {
        self.metrics.morsels.add(1);
        self.metrics.input_rows.add(rows.batch.num_rows());
        let _timer = self.metrics.baseline.elapsed_compute().timer();
        let program = Arc::clone(self.running());
        let (groups, metrics) = (&mut self.groups, &self.metrics);
        let run = AssertUnwindSafe(|| program.run_into(rows.batch, rows.row_base, metrics, groups));
        match catch_unwind(run) {
            Ok(result) => result,
            Err(panic) => Err(from_panic(self.id, panic.as_ref())),
        }
    }

    /// Takes the groups so far, those in the table settled, with what was reserved for them.
    pub(super) fn take_groups(&mut self) -> Result<(Groups, MemoryReservation)> {
        let mut groups = std::mem::replace(&mut self.groups, self.program.new_groups(0)?);
        groups.settle();
        let reservation = self.reservation.take();
        Ok((groups, reservation))
    }
}
