//! What can go wrong in a user-defined function: typed, and worded once.
//!
//! A function reports a [`CallError`], which knows rows of its batch only. The boundary adds the
//! function's name and the row's argument values and hands on a [`UdfError`], which travels through
//! DataFusion in `DataFusionError::External` and comes out of the facade unchanged.

use datafusion::common::DataFusionError;
use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

/// What a function says about a row or batch that it could not compute.
#[derive(Clone, Debug, Default)]
pub struct Failure {
    /// One line: "ZeroDivisionError: division by zero".
    pub message: String,
    /// Where in the function, over several lines: a traceback, or what a dying worker printed.
    pub trace: Option<String>,
    /// The error object itself, such as the Python exception.
    pub source: Option<Arc<dyn StdError + Send + Sync>>,
}

impl Failure {
    pub fn new(message: impl Into<String>) -> Failure {
        Failure { message: message.into(), trace: None, source: None }
    }
}

/// Why a batch was not computed.
#[derive(Clone, Debug)]
pub enum CallError {
    /// The function failed, on this row of the batch if it knows.
    Failed { row: Option<usize>, failure: Failure },
    /// It gave a column of another type than it was declared to.
    WrongType { expected: String, got: String },
    /// It gave another number of results than rows.
    WrongLength { expected: usize, got: usize },
    /// It gave something that is no column, in words.
    WrongResult(String),
    /// It asked the program to end (SystemExit, KeyboardInterrupt): never turned into NULL.
    Interrupted(Failure),
    /// The place where it runs broke: a worker died, hung or passed its memory limit.
    Fault(Failure),
}

impl CallError {
    /// A failure of the whole batch.
    pub fn failed(message: impl Into<String>) -> CallError {
        CallError::Failed { row: None, failure: Failure::new(message) }
    }
}

/// What sort of error a [`UdfError`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UdfErrorKind {
    /// The function failed on its arguments.
    Raised,
    WrongType,
    WrongLength,
    WrongResult,
    /// It asked the program to end.
    Interrupted,
    /// Its worker died, hung or passed a limit.
    Fault,
    /// Native code panicked.
    Panicked,
}

/// The error of a query whose user-defined function failed.
#[derive(Clone, Debug)]
pub struct UdfError {
    pub udf: String,
    pub kind: UdfErrorKind,
    /// What happened, in one sentence without the function's name.
    pub message: String,
    /// The row among those of the batch that reached the call, from 0; where it is known.
    pub row: Option<usize>,
    /// The row's arguments: "x = 1.5, y = NULL".
    pub arguments: Option<String>,
    pub trace: Option<String>,
    pub source: Option<Arc<dyn StdError + Send + Sync>>,
}

impl UdfError {
    /// The message without the trace.
    pub fn summary(&self) -> String {
        let place = match (self.row, &self.arguments) {
            (Some(row), Some(arguments)) if arguments.is_empty() => format!(" on row {row}"),
            (Some(row), Some(arguments)) => format!(" on row {row} ({arguments})"),
            (Some(row), None) => format!(" on row {row}"),
            (None, _) => String::new(),
        };
        match self.kind {
            UdfErrorKind::Raised => format!("UDF '{}' failed{place}: {}", self.udf, self.message),
            UdfErrorKind::WrongType | UdfErrorKind::WrongLength | UdfErrorKind::WrongResult => {
                format!("UDF '{}'{place} {}", self.udf, self.message)
            }
            UdfErrorKind::Interrupted => format!("UDF '{}' was interrupted: {}", self.udf, self.message),
            UdfErrorKind::Fault => format!("UDF '{}': {}", self.udf, self.message),
            UdfErrorKind::Panicked => format!("UDF '{}' panicked: {}", self.udf, self.message),
        }
    }
}

impl fmt::Display for UdfError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.summary())?;
        match &self.trace {
            Some(trace) => write!(f, "\n{}", trace.trim_end()),
            None => Ok(()),
        }
    }
}

impl StdError for UdfError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_ref().map(|e| e.as_ref() as &(dyn StdError + 'static))
    }
}

/// Errors are the same if they read the same.
impl PartialEq for UdfError {
    fn eq(&self, other: &UdfError) -> bool {
        self.kind == other.kind && self.to_string() == other.to_string()
    }
}

impl Eq for UdfError {}

impl From<UdfError> for DataFusionError {
    fn from(error: UdfError) -> DataFusionError {
        DataFusionError::External(Box::new(error))
    }
}
