//! Python's exceptions on their way through the engine.

use crate::python::helper::helper;
use crate::udf::{CallError, Failure};
use pyo3::exceptions::PyException;
use pyo3::prelude::*;
use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

/// The exception itself, as the source of an error: whoever is in Python can raise it again.
#[derive(Debug)]
pub struct PythonException(pub PyErr);

impl fmt::Display for PythonException {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl StdError for PythonException {}

/// "ZeroDivisionError: division by zero".
pub fn one_line(py: Python<'_>, error: &PyErr) -> String {
    let class = error.get_type(py).qualname().map(|n| n.to_string()).unwrap_or_else(|_| "Exception".into());
    match error.value(py).str() {
        Ok(text) if text.len().is_ok_and(|n| n > 0) => format!("{class}: {text}"),
        Ok(_) | Err(_) => class,
    }
}

/// An exception as a failure, with its traceback as text if `traced`.
pub fn failure(py: Python<'_>, error: PyErr, traced: bool) -> Failure {
    let message = one_line(py, &error);
    let trace = traced
        .then(|| {
            helper(py).and_then(|h| h.trace_of.call1(py, (error.value(py),))?.extract::<String>(py)).ok()
        })
        .flatten()
        .filter(|trace| !trace.is_empty())
        .map(|trace| format!("Traceback (most recent call last):\n{trace}{message}"));
    Failure { message, trace, source: Some(Arc::new(PythonException(error))) }
}

/// What an exception out of a function means. SystemExit and KeyboardInterrupt are no failures of a
/// row: they end the query.
pub fn call_error(py: Python<'_>, error: PyErr, row: Option<usize>) -> CallError {
    let ordinary = error.is_instance_of::<PyException>(py);
    let failure = failure(py, error, true);
    if ordinary { CallError::Failed { row, failure } } else { CallError::Interrupted(failure) }
}

/// What went wrong between the engine and Python, and is not the function's fault.
pub fn fault(py: Python<'_>, error: PyErr) -> CallError {
    CallError::Fault(failure(py, error, true))
}
