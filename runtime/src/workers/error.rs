//! What can go wrong with a worker, each with the words that a user reads after the function's name.

use std::fmt;
use std::time::Duration;

/// An exception that was raised in a worker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exception {
    /// One line: "ValueError: too bad".
    pub message: String,
    /// Python's lines about where; empty where that is not the function.
    pub trace: String,
    /// Whether it is an Exception; SystemExit and KeyboardInterrupt are not.
    pub ordinary: bool,
    /// The exception object, pickled; empty where it cannot be.
    pub pickled: Vec<u8>,
}

impl Exception {
    /// The traceback as Python prints it.
    pub fn traceback(&self) -> Option<String> {
        let known = !self.trace.is_empty();
        known.then(|| format!("Traceback (most recent call last):\n{}{}", self.trace, self.message))
    }
}

impl fmt::Display for Exception {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Exception {}

/// A row that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedRow {
    /// Within the batch.
    pub row: usize,
    /// Whether the function returned, but what does not fit the type.
    pub misfit: bool,
    pub exception: Exception,
}

/// Why a call gave no result.
#[derive(Clone, Debug, thiserror::Error)]
pub enum WorkerError {
    /// The function failed on a row.
    #[error("{}", .0.exception)]
    FailedRow(Box<FailedRow>),
    /// The function failed on the batch.
    #[error("{0}")]
    Raised(Box<Exception>),
    /// It returned what is no column.
    #[error("{0}")]
    WrongResult(String),
    /// It returned a column of another type.
    #[error("it returned {got}")]
    WrongType { got: String },
    /// It returned a column of another length.
    #[error("it returned {got} values")]
    WrongLength { got: usize },
    /// Something else in the worker failed: loading the function, converting its arguments.
    #[error("{what}{exception}")]
    Trouble { what: String, exception: Box<Exception> },
    #[error("its worker process exited with code {code}")]
    Exited { code: i32, trace: String },
    #[error("its worker process was killed by {signal}{}", hint(.signal))]
    Killed { signal: String, trace: String },
    #[error(
        "it took longer than its timeout of {} s for a batch of {rows} rows, and its worker process was \
         killed",
        .timeout.as_secs_f64()
    )]
    TimedOut { timeout: Duration, rows: usize, trace: String },
    #[error(
        "its worker process had {} of memory, more than its memory_limit of {}, and was killed",
        bytes(*.used), bytes(*.limit)
    )]
    MemoryLimit { used: usize, limit: usize, trace: String },
    /// The worker, which was busy with the query, was killed.
    #[error("the query was cancelled")]
    Cancelled,
    #[error("no worker process can be started: {message}")]
    NotStarted { message: String },
    /// The worker sent what is no answer, or the system refused a call.
    #[error("its worker process failed: {message}")]
    Broken { message: String },
    /// The pool's lock was held when this process was forked.
    #[error(
        "this process was forked while a function was being called, so its connection cannot call \
         functions in worker processes; make a new connection after the fork"
    )]
    Forked,
}

impl WorkerError {
    /// Where it happened: a traceback, or what the dying worker's faulthandler wrote.
    pub fn trace(&self) -> Option<String> {
        match self {
            Self::FailedRow(failed) => failed.exception.traceback(),
            Self::Raised(exception) | Self::Trouble { exception, .. } => exception.traceback(),
            Self::Exited { trace, .. }
            | Self::Killed { trace, .. }
            | Self::TimedOut { trace, .. }
            | Self::MemoryLimit { trace, .. } => Some(trace.clone()).filter(|t| !t.is_empty()),
            Self::WrongResult(_)
            | Self::WrongType { .. }
            | Self::WrongLength { .. }
            | Self::Cancelled
            | Self::NotStarted { .. }
            | Self::Broken { .. }
            | Self::Forked => None,
        }
    }
}

fn hint(signal: &str) -> &'static str {
    if signal == "SIGKILL" { ", perhaps because the system ran out of memory" } else { "" }
}

fn bytes(count: usize) -> String {
    format!("{:.1} MiB", count as f64 / f64::from(1 << 20))
}
