//! Runs one statement: plans and executes it on the runtime's threads, and writes the batches as
//! they arrive, while it listens for Ctrl-C and draws the progress bar.
//!
//! The query runs in a task of its own, and this thread only waits, on timers and signals of its
//! own: those of the query's threads are looked at only when a thread is idle. So Ctrl-C is answered
//! at once whatever the query is doing, and a panic inside a query becomes an error message.

use std::any::Any;
use std::io::{self, IsTerminal, Write};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{DataType, SchemaRef, UInt64Type};
use fuseline::{Cancellation, Query, Session, StatementKind};
use futures::StreamExt;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::args::{Format, Options};
use crate::error::CliError;
use crate::output::{self, Destination, Limits};
use crate::progress::Bar;

/// Batches that may wait to be written. Small: a result is produced no faster than it is written.
const QUEUE: usize = 4;
/// How often the progress bar moves.
const TICK: Duration = Duration::from_millis(100);
/// How long an interrupted query may take to put its temporary files away.
const GRACE: Duration = Duration::from_millis(300);
/// Rows of a table on a terminal.
const TERMINAL_ROWS: usize = 40;

/// What a query's task sends.
enum Event {
    /// The statement is planned and starts to run.
    Started(Arc<Query>),
    /// Some rows.
    Rows(RecordBatch),
}

/// Runs statements in one session.
pub struct Runner {
    session: Session,
    /// Where queries run.
    workers: Runtime,
    /// Where this thread waits.
    waiter: Runtime,
    /// Ends at the next Ctrl-C.
    interrupt: Interrupt,
    /// How results are written.
    pub format: Format,
    /// Whether the time of each statement is printed.
    pub timing: bool,
    max_rows: Option<usize>,
    /// Results written so far.
    results: usize,
}

impl Runner {
    /// Starts the threads.
    pub fn new(session: Session, options: &Options) -> Result<Runner, CliError> {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder.enable_all().thread_name("fuseline");
        if let Some(threads) = options.threads {
            builder.worker_threads(usize::from(threads));
        }
        let fail = |e: io::Error| CliError::Query(format!("cannot start threads: {e}"));
        let workers = builder.build().map_err(fail)?;
        let waiter = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(fail)?;
        Ok(Runner {
            session,
            workers,
            waiter,
            interrupt: next_interrupt(),
            format: options.format,
            timing: options.timing,
            max_rows: options.max_rows,
            results: 0,
        })
    }

    /// The session.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// Forgets signals that came while nothing ran. The shell calls this before each statement; a
    /// script does not, so that Ctrl-C between two of its statements ends it.
    pub fn forget_interrupts(&mut self) {
        self.interrupt = next_interrupt();
    }

    /// Runs one statement and writes its result to `destination`, which comes back unless something
    /// failed.
    pub fn run(&mut self, sql: &str, destination: Destination) -> Result<Destination, CliError> {
        let started = Instant::now();
        let (sender, receiver) = mpsc::channel(QUEUE);
        let cancellation = Cancellation::default();
        let (inside, work) =
            (cancellation.clone(), query_task(self.session.clone(), sql.to_string(), sender));
        let task = self.workers.spawn(async move { inside.scope(work).await });
        let mut statement = Running { task, receiver, bar: Bar::new(), query: None, ended: false };
        let result = self.write_result(&mut statement, destination);
        statement.bar.clear();
        if result.is_err() {
            // Also after a failed write: nobody reads the rest of the result.
            statement.task.abort();
            // Functions that are being called do not notice that.
            cancellation.cancel();
            if !statement.task.is_finished() {
                self.waiter.block_on(async {
                    let _ = tokio::time::timeout(GRACE, &mut statement.task).await;
                });
            }
        }
        let destination = result?;
        if self.timing {
            let seconds = started.elapsed().as_secs_f64();
            let _ = writeln!(io::stderr(), "Time: {seconds:.3} s");
        }
        Ok(destination)
    }

    fn write_result(
        &mut self,
        statement: &mut Running,
        destination: Destination,
    ) -> Result<Destination, CliError> {
        let Some(Event::Started(query)) = self.next(statement)? else {
            // The task ended without an error before it started anything.
            return Ok(destination);
        };
        let kind = query.kind();
        let schema = query.schema();
        statement.query = Some(query);
        let mut rows_of_command = Vec::new();
        match kind {
            StatementKind::Command => {
                rows_of_command = self.run_command(statement)?;
                if is_row_count(&schema) {
                    tell_row_count(&rows_of_command);
                    return Ok(destination);
                }
                if rows_of_command.iter().all(|batch| batch.num_rows() == 0) {
                    return Ok(destination);
                }
            }
            StatementKind::Query | StatementKind::Explain => {}
        }
        if self.format.is_binary() && self.results > 0 {
            return Err(CliError::Usage(
                "a parquet or arrow file holds one result, and this is the second query".to_string(),
            ));
        }
        self.results += 1;
        let plan = match kind {
            StatementKind::Explain => true,
            StatementKind::Query | StatementKind::Command => false,
        };
        let limits = self.limits(&destination);
        // Without limits every row is printed, so what lies between bar and rows must be clean.
        let prints_while_running = destination.is_terminal();
        let mut sink = output::sink(self.format, schema, plan, limits, destination)?;
        for batch in rows_of_command {
            sink.write(&batch)?;
        }
        let buffered = self.format == Format::Table && limits.rows.is_some();
        while let Some(event) = self.next(statement)? {
            match event {
                Event::Started(_) => {}
                Event::Rows(batch) => {
                    if prints_while_running && !buffered && batch.num_rows() > 0 {
                        statement.bar.clear();
                    }
                    sink.write(&batch)?;
                }
            }
        }
        statement.bar.clear();
        let mut destination = sink.finish()?;
        destination.flush_all()?;
        Ok(destination)
    }

    /// Runs a command to its end. What it returns is small: counts, a few names.
    fn run_command(&mut self, statement: &mut Running) -> Result<Vec<RecordBatch>, CliError> {
        let mut batches = Vec::new();
        while let Some(event) = self.next(statement)? {
            match event {
                Event::Started(_) => {}
                Event::Rows(batch) => batches.push(batch),
            }
        }
        statement.bar.clear();
        Ok(batches)
    }

    fn limits(&self, destination: &Destination) -> Limits {
        let terminal = destination.is_terminal();
        let rows = match self.max_rows {
            Some(0) => None,
            Some(rows) => Some(rows),
            None => terminal.then_some(TERMINAL_ROWS),
        };
        let width = if terminal {
            terminal_size::terminal_size().map(|(width, _)| usize::from(width.0))
        } else {
            None
        };
        Limits { rows, width }
    }

    fn next(&mut self, statement: &mut Running) -> Result<Option<Event>, CliError> {
        self.waiter.block_on(statement.next(&mut self.interrupt))
    }

    /// Stops the threads without waiting for a query that does not hear.
    pub fn shut_down(self) {
        self.workers.shutdown_background();
    }
}

/// Ends at a Ctrl-C.
type Interrupt = Pin<Box<dyn Future<Output = ()>>>;

fn next_interrupt() -> Interrupt {
    Box::pin(async {
        // Once this was polled, Ctrl-C no longer ends the process by itself.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    })
}

/// COPY and INSERT give one column with the number of rows they wrote.
fn is_row_count(schema: &SchemaRef) -> bool {
    match schema.fields().as_ref() {
        [field] => field.name() == "count" && field.data_type() == &DataType::UInt64,
        _ => false,
    }
}

/// Tells a person how many rows a command wrote; a program reads results only.
fn tell_row_count(batches: &[RecordBatch]) {
    if !io::stderr().is_terminal() {
        return;
    }
    let rows: u64 =
        batches.iter().flat_map(|batch| batch.column(0).as_primitive::<UInt64Type>().iter().flatten()).sum();
    let unit = if rows == 1 { "row" } else { "rows" };
    let _ = writeln!(io::stderr(), "{rows} {unit} written");
}

/// A statement that runs in its task.
struct Running {
    task: JoinHandle<Result<(), fuseline::Error>>,
    receiver: mpsc::Receiver<Event>,
    bar: Bar,
    query: Option<Arc<Query>>,
    /// The task's outcome was taken.
    ended: bool,
}

impl Running {
    /// The next event; none at the end; the error when the statement failed or was interrupted.
    async fn next(&mut self, interrupt: &mut Interrupt) -> Result<Option<Event>, CliError> {
        loop {
            tokio::select! {
                biased;
                () = interrupt.as_mut() => {
                    *interrupt = next_interrupt();
                    return Err(CliError::Interrupted);
                }
                event = self.receiver.recv() => {
                    if let Some(event) = event {
                        return Ok(Some(event));
                    }
                    if self.ended {
                        return Ok(None);
                    }
                    self.ended = true;
                    return match (&mut self.task).await {
                        Ok(result) => result.map(|()| None).map_err(CliError::from),
                        Err(error) if error.is_panic() => Err(panic_error(error.into_panic())),
                        Err(_) => Err(CliError::Interrupted),
                    };
                }
                () = tokio::time::sleep(TICK) => {
                    self.bar.tick(self.query.as_ref().map(|query| query.progress()));
                }
            }
        }
    }
}

fn panic_error(panic: Box<dyn Any + Send>) -> CliError {
    let message = match (panic.downcast_ref::<String>(), panic.downcast_ref::<&str>()) {
        (Some(text), _) => text.as_str(),
        (None, Some(text)) => text,
        (None, None) => "no message",
    };
    CliError::Query(format!("internal error: {message}"))
}

async fn query_task(
    session: Session,
    sql: String,
    sender: mpsc::Sender<Event>,
) -> Result<(), fuseline::Error> {
    let query = Arc::new(session.sql(&sql).await?);
    if sender.send(Event::Started(query.clone())).await.is_err() {
        return Ok(());
    }
    let mut stream = query.stream().await?;
    while let Some(batch) = stream.next().await {
        if sender.send(Event::Rows(batch?)).await.is_err() {
            // Whoever wrote the result has stopped.
            return Ok(());
        }
    }
    Ok(())
}
