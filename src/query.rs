//! One statement, planned: what [`crate::Session::sql`] gives back.
//!
//! The plan is made by `sql`, so that mistakes show before anything runs; it is executed by
//! [`Query::stream`] or [`Query::collect`]. A physical plan carries the state of one execution, so a
//! second run of the same `Query` starts again from the SQL text (out of the plan cache, mostly).
//!
//! Four ways to run it differ in how the partitions of the plan come together: [`Query::stream`] gives
//! batches as they come, [`Query::stream_in_order`] partition by partition, [`Query::partitions`] gives
//! each partition as a stream, [`Query::profile`] none of them but their figures.
//!
//! Streams made here translate every error into one [`Error`], look up the file and line to blame for
//! broken data, and turn a panic below them into [`Error::Internal`]. Dropping a stream cancels the
//! query; dropping the stream of a COPY removes what it has written.

use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use fuseline_runtime::cancel::Cancellation;
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use parking_lot::Mutex;

use crate::copy::CopyTarget;
use crate::error::{Error, Result, is_about_data, panic_text, translate};
use crate::files::diagnose;
use crate::functions::CreateFunction;
use crate::in_order;
use crate::inputs::Inputs;
use crate::insert::Insertion;
use crate::local_store::WriteLog;
use crate::partitions::{self, Partition};
use crate::profile::{OperatorProfile, Profile};
use crate::progress::{Progress, Snapshot};
use crate::session::Session;

/// What sort of statement a [`Query`] is, for callers that print its result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatementKind {
    /// Has a result: SELECT, VALUES, SHOW, DESCRIBE.
    Query,
    /// Changes something: DDL, SET, INSERT, COPY. The result is empty or one row with a count.
    Command,
    /// The result is a plan as text: EXPLAIN, EXPLAIN ANALYZE, EXPLAIN CODEGEN.
    Explain,
}

/// A planned statement; nothing of it has run yet.
pub struct Query {
    pub(crate) session: Session,
    pub(crate) sql: Arc<str>,
    /// Values and tables that came with the text.
    pub(crate) inputs: Inputs,
    pub(crate) kind: StatementKind,
    pub(crate) schema: SchemaRef,
    pub(crate) work: Mutex<Option<Work>>,
    /// The physical plan, where there is one.
    pub(crate) physical: Option<Arc<dyn ExecutionPlan>>,
    pub(crate) running: Arc<Mutex<Option<RunningPlan>>>,
    pub(crate) started: AtomicBool,
}

/// What is left to do; taken by the first run.
pub(crate) enum Work {
    /// Run the physical plan.
    Plan(Arc<dyn ExecutionPlan>),
    /// Run the physical plan, which writes to the target's staging folder; then publish it.
    Copy(Arc<dyn ExecutionPlan>, CopyTarget),
    /// Run the physical plan, which adds files to this folder; keep them only if it ends well.
    Insert(Arc<dyn ExecutionPlan>, PathBuf),
    /// Hand the plan to the session: DDL, SET, PREPARE.
    Statement(Box<LogicalPlan>),
    /// Make a function: CREATE FUNCTION.
    Function(Box<CreateFunction>),
    /// The result is here already.
    Rows(RecordBatch),
}

/// A plan that was started, and its metrics at that moment.
pub(crate) struct RunningPlan {
    pub(crate) plan: Arc<dyn ExecutionPlan>,
    pub(crate) before: Snapshot,
}

impl RunningPlan {
    pub(crate) fn new(plan: &Arc<dyn ExecutionPlan>) -> Self {
        Self { plan: Arc::clone(plan), before: Snapshot::of(plan) }
    }
}

impl std::fmt::Debug for Query {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Query").field("sql", &self.sql).field("kind", &self.kind).finish_non_exhaustive()
    }
}

impl Query {
    /// What sort of statement this is.
    pub fn kind(&self) -> StatementKind {
        self.kind
    }

    /// The columns of the result; none for most commands.
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    /// The physical plan, with the fused stages in it. Executing it directly bypasses the error
    /// handling of [`Query::stream`], and for COPY the publishing of the file.
    ///
    /// # Errors
    /// [`Error::Plan`] for a command that has none (DDL, SET).
    pub fn plan(&self) -> Result<Arc<dyn ExecutionPlan>> {
        self.physical.clone().ok_or_else(|| Error::plan("this statement has no physical plan"))
    }

    /// Where the latest run of this query is; all zero before the first.
    pub fn progress(&self) -> Progress {
        match self.running.lock().as_ref() {
            Some(running) => Snapshot::of(&running.plan).since(running.before),
            None => Progress::default(),
        }
    }

    /// Runs the statement and gives its result batch by batch. A query runs as the stream is polled,
    /// a command without a physical plan (DDL, SET) has ended when this returns. Needs a tokio runtime.
    ///
    /// The stream's errors are `DataFusionError`s that hold an [`Error`]; `Error::from` takes it out.
    ///
    /// # Errors
    /// Whatever keeps the statement from starting.
    pub async fn stream(&self) -> Result<SendableRecordBatchStream> {
        let work = self.take_work().await?;
        self.run(work, Delivery::AsItComes).await
    }

    /// As [`Query::stream`], with the plan's partitions one after the other: the rows of a table or
    /// file come in the order in which they lie there, while later ones are computed already. At most
    /// about `buffer` bytes wait for their turn; then the later partitions pause. Plans whose
    /// partitions share a producer give their batches as they come.
    ///
    /// # Errors
    /// As [`Query::stream`].
    pub async fn stream_in_order(&self, buffer: usize) -> Result<SendableRecordBatchStream> {
        let work = self.take_work().await?;
        self.run(work, Delivery::InOrder { buffer }).await
    }

    /// Runs the statement as several streams, to be polled by several tasks at once. The result is the
    /// rows of the first, then those of the second, and so on. A command gives one.
    ///
    /// # Errors
    /// As [`Query::stream`].
    pub async fn partitions(&self) -> Result<Vec<Partition>> {
        let plan = match self.take_work().await? {
            Work::Plan(plan) => plan,
            other @ (Work::Copy(..)
            | Work::Insert(..)
            | Work::Statement(_)
            | Work::Function(_)
            | Work::Rows(_)) => {
                let batches = self.run(other, Delivery::AsItComes).await?;
                return Ok(vec![Partition { rows: None, batches }]);
            }
        };
        *self.running.lock() = Some(RunningPlan::new(&plan));
        let context = self.session.context().task_ctx();
        let wanted = context.session_config().target_partitions();
        let cancellation = Arc::new(CancelOnDrop(Cancellation::within_current()));
        let start = || partitions::execute(&plan, &context, wanted);
        let started = self.guarded(|| cancellation.0.sync_scope(start))?;
        Ok(started
            .into_iter()
            .map(|Partition { rows, batches }| {
                let schema = plan.schema();
                let (plan, sql) = (Arc::clone(&plan), Arc::clone(&self.sql));
                let running = Running { batches, plan, sql, cancellation: Arc::clone(&cancellation) };
                Partition { rows, batches: boxed(schema, running.into_stream()) }
            })
            .collect())
    }

    /// Plans the query anew, runs it to its end, drops its rows and says what that cost.
    ///
    /// # Errors
    /// As [`Query::stream`]; [`Error::Plan`] for a statement that is not a query.
    pub async fn profile(&self) -> Result<Profile> {
        if self.kind != StatementKind::Query {
            return Err(Error::plan("only a query can be profiled"));
        }
        let begin = Instant::now();
        let again = Box::pin(self.session.sql_with(&self.sql, &self.inputs)).await?;
        let planning = begin.elapsed();
        let plan = again.plan()?;
        let begin = Instant::now();
        let mut batches = again.stream().await?;
        let mut rows = 0;
        while let Some(batch) = batches.next().await {
            rows += batch?.num_rows() as u64;
        }
        Ok(Profile { planning, running: begin.elapsed(), rows, plan: OperatorProfile::of(&plan) })
    }

    /// What is to be run: the plan that was made, or for a second run a new one.
    async fn take_work(&self) -> Result<Work> {
        let first = !self.started.swap(true, Ordering::SeqCst);
        let work = if first { self.work.lock().take() } else { None };
        if let Some(work) = work {
            return Ok(work);
        }
        let again = Box::pin(self.session.sql_with(&self.sql, &self.inputs)).await?;
        again.started.store(true, Ordering::SeqCst);
        let work = again.work.lock().take();
        work.ok_or_else(|| Error::Internal { message: "a planned statement has nothing to do".into() })
    }

    /// Runs the statement and gives its whole result.
    ///
    /// # Errors
    /// Whatever keeps the statement from ending.
    pub async fn collect(&self) -> Result<Vec<RecordBatch>> {
        let mut stream = self.stream().await?;
        let mut batches = Vec::new();
        while let Some(batch) = stream.next().await {
            batches.push(batch?);
        }
        Ok(batches)
    }

    async fn run(&self, work: Work, delivery: Delivery) -> Result<SendableRecordBatchStream> {
        match work {
            Work::Plan(plan) => {
                let running = self.start(plan, delivery)?;
                let schema = running.plan.schema();
                Ok(boxed(schema, running.into_stream()))
            }
            Work::Copy(plan, mut target) => {
                target.begin()?;
                let running = self.start(plan, Delivery::AsItComes)?;
                let schema = running.plan.schema();
                let target = Target::Copy(target, self.session.inner.writes.clone());
                Ok(boxed(schema, write_stream(running, target)))
            }
            Work::Insert(plan, folder) => {
                let inner = &self.session.inner;
                let turns = Arc::clone(&inner.insert_turns);
                let insertion = Insertion::begin(folder, inner.writes.clone(), turns).await;
                let running = self.start(plan, Delivery::AsItComes)?;
                let schema = running.plan.schema();
                Ok(boxed(schema, write_stream(running, Target::Insert(insertion))))
            }
            Work::Statement(plan) => {
                let schema = Arc::new(Schema::empty());
                // Boxed for the same reason as in `Session::sql_with`.
                self.session.run_statement(*plan, &self.sql, &self.running).boxed().await?;
                let nothing = EmptyExec::new(Arc::clone(&schema));
                Ok(nothing.execute(0, self.session.context().task_ctx())?)
            }
            Work::Function(create) => {
                self.session.create_function(&create)?;
                let nothing = EmptyExec::new(Arc::new(Schema::empty()));
                Ok(nothing.execute(0, self.session.context().task_ctx())?)
            }
            Work::Rows(batch) => {
                let schema = batch.schema();
                Ok(boxed(schema, stream::iter([Ok(batch)])))
            }
        }
    }

    fn start(&self, plan: Arc<dyn ExecutionPlan>, delivery: Delivery) -> Result<Running> {
        *self.running.lock() = Some(RunningPlan::new(&plan));
        let context = self.session.context().task_ctx();
        let cancellation = Arc::new(CancelOnDrop(Cancellation::within_current()));
        let start = || match delivery {
            Delivery::AsItComes => execute_stream(Arc::clone(&plan), context),
            Delivery::InOrder { buffer } => in_order::execute(&plan, context, buffer),
        };
        let batches = self.guarded(|| cancellation.0.sync_scope(start))?;
        Ok(Running { batches, plan, sql: Arc::clone(&self.sql), cancellation })
    }

    /// Starts something that may fail or panic.
    fn guarded<T>(&self, start: impl FnOnce() -> Result<T, DataFusionError>) -> Result<T> {
        match std::panic::catch_unwind(AssertUnwindSafe(start)) {
            Ok(Ok(started)) => Ok(started),
            Ok(Err(error)) => Err(translate(&error, Some(&self.sql))),
            Err(panic) => Err(Error::Internal { message: panic_text(panic.as_ref()) }),
        }
    }
}

/// How the partitions of a plan become one stream.
#[derive(Debug, Clone, Copy)]
enum Delivery {
    AsItComes,
    InOrder { buffer: usize },
}

/// A started plan.
struct Running {
    batches: SendableRecordBatchStream,
    plan: Arc<dyn ExecutionPlan>,
    sql: Arc<str>,
    /// Shared by the partitions of one plan: they may have tasks in common.
    cancellation: Arc<CancelOnDrop>,
}

/// Reaches functions that are being called when nobody wants their results any more.
struct CancelOnDrop(Cancellation);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

impl Running {
    /// The batches, up to the first error.
    fn into_stream(self) -> impl futures::Stream<Item = Result<RecordBatch, DataFusionError>> + Send {
        stream::unfold(Some(self), |state| async move {
            let mut running = state?;
            match running.next().await {
                Some(Ok(batch)) => Some((Ok(batch), Some(running))),
                Some(Err(Failure::Panic(said))) => {
                    let error = explain_panic(said, &running.plan, &running.sql).await;
                    Some((Err(error.into()), None))
                }
                Some(Err(Failure::Error(error))) => {
                    let error = explain(&error, &running.plan, &running.sql).await;
                    Some((Err(error.into()), None))
                }
                None => None,
            }
        })
    }

    async fn next(&mut self) -> Option<Result<RecordBatch, Failure>> {
        let next = self.cancellation.0.scope(self.batches.next());
        match AssertUnwindSafe(next).catch_unwind().await {
            Ok(Some(Ok(batch))) => Some(Ok(batch)),
            Ok(Some(Err(error))) => Some(Err(Failure::Error(error))),
            Ok(None) => None,
            Err(panic) => Some(Err(Failure::Panic(panic_text(panic.as_ref())))),
        }
    }
}

enum Failure {
    Error(DataFusionError),
    /// What the panic said.
    Panic(String),
}

/// Writes, publishes, and only then gives the row with the count.
fn write_stream(
    mut running: Running,
    target: Target,
) -> impl futures::Stream<Item = Result<RecordBatch, DataFusionError>> + Send {
    let whole = async move {
        let mut counts = Vec::new();
        loop {
            match running.next().await {
                Some(Ok(batch)) => counts.push(batch),
                None => break,
                Some(Err(Failure::Panic(said))) => {
                    let error = explain_panic(said, &running.plan, &running.sql).await;
                    return Err(error.into());
                }
                Some(Err(Failure::Error(error))) => {
                    let error = match target.failed_write() {
                        Some(failed) => failed,
                        None => explain(&error, &running.plan, &running.sql).await,
                    };
                    // Writers must have stopped before their folder goes.
                    drop(running);
                    drop(target);
                    return Err(error.into());
                }
            }
        }
        drop(running);
        // Flushing a big file takes a while; not on a thread that polls streams.
        match tokio::task::spawn_blocking(move || target.publish()).await {
            Ok(Ok(())) => Ok(stream::iter(counts.into_iter().map(Ok))),
            Ok(Err(error)) => Err(DataFusionError::from(error)),
            Err(error) => Err(DataFusionError::ExecutionJoin(Box::new(error))),
        }
    };
    stream::once(whole).try_flatten()
}

/// What becomes of the files that a plan writes; dropping it removes them.
enum Target {
    Copy(CopyTarget, WriteLog),
    Insert(Insertion),
}

impl Target {
    fn failed_write(&self) -> Option<Error> {
        match self {
            Self::Copy(target, log) => target.failed_write(log),
            Self::Insert(insertion) => insertion.failed_write(),
        }
    }

    fn publish(self) -> Result<()> {
        match self {
            Self::Copy(target, _) => target.commit(),
            Self::Insert(insertion) => {
                insertion.keep();
                Ok(())
            }
        }
    }
}

fn boxed(
    schema: SchemaRef,
    batches: impl futures::Stream<Item = Result<RecordBatch, DataFusionError>> + Send + 'static,
) -> SendableRecordBatchStream {
    Box::pin(RecordBatchStreamAdapter::new(schema, batches.boxed()))
}

/// The error of a running plan for a person: with the file and line, if data is to blame.
pub(crate) async fn explain(error: &DataFusionError, plan: &Arc<dyn ExecutionPlan>, sql: &str) -> Error {
    let plain = translate(error, Some(sql));
    if matches!(plain, Error::File { .. }) || !is_about_data(error) {
        return plain;
    }
    let suspects = diagnose::suspects(plan, sql);
    if suspects.is_empty() {
        return plain;
    }
    let ragged = plain.to_string().contains("number of fields");
    let search = tokio::task::spawn_blocking(move || diagnose::first_fault(&suspects, ragged));
    match search.await {
        Ok(Some(found)) => found,
        Ok(None) | Err(_) => plain,
    }
}

/// A panic for a person: readers panic on some damaged files, so look for one first.
pub(crate) async fn explain_panic(said: String, plan: &Arc<dyn ExecutionPlan>, sql: &str) -> Error {
    let suspects = diagnose::suspects(plan, sql);
    let search = tokio::task::spawn_blocking(move || diagnose::first_fault(&suspects, false));
    match search.await {
        Ok(Some(found)) => found,
        Ok(None) | Err(_) => Error::Internal { message: said },
    }
}
