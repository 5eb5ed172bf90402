//! Python's exceptions: `fuseline.Error` and a subclass for each thing a caller may do about it.

use fuseline::python::PythonException;
use fuseline::udf;
use fuseline::workers::Exception;
use pyo3::create_exception;
use pyo3::exceptions::PyException;
use pyo3::prelude::*;

use crate::workers::original;

create_exception!(fuseline, Error, PyException, "Any error of fuseline.");
create_exception!(fuseline, SqlError, Error, "The SQL is wrong, or not supported.");
create_exception!(fuseline, SettingError, Error, "A setting that does not exist or fit.");
create_exception!(fuseline, FileError, Error, "A file that cannot be read or written.");
create_exception!(fuseline, ExecutionError, Error, "The query failed while it ran.");
create_exception!(fuseline, ResourceError, Error, "The memory limit or disk space was not enough.");
create_exception!(
    fuseline,
    UdfError,
    ExecutionError,
    "A user-defined function failed. It has the attributes udf (its name), row (among the rows of the \
     batch that reached it, from 0) and arguments (a text), both None where they are not known; the \
     exception that the function raised is its __cause__."
);

/// The exception for an error of the facade; its text is the error's one message.
pub fn to_py(error: fuseline::Error) -> PyErr {
    use fuseline::Error as E;
    let message = error.to_string();
    match error {
        E::Syntax { .. } | E::Plan { .. } | E::Unsupported { .. } => SqlError::new_err(message),
        E::Setting { .. } => SettingError::new_err(message),
        E::File { .. } => FileError::new_err(message),
        E::Execution { .. } | E::Internal { .. } => ExecutionError::new_err(message),
        E::Resources { .. } => ResourceError::new_err(message),
        E::Cancelled => Error::new_err(message),
        E::Function(error) => Python::attach(|py| function_error(py, &error)),
    }
}

/// The error of a function, with the exception that it raised as its cause. What asks the program to
/// end (SystemExit, KeyboardInterrupt) goes on its way as it is.
fn function_error(py: Python<'_>, error: &udf::UdfError) -> PyErr {
    if let Some(exception) = error.source.as_ref().and_then(|s| s.downcast_ref::<Exception>()) {
        return worker_error(py, error, exception);
    }
    let raised = error.source.as_ref().and_then(|s| s.downcast_ref::<PythonException>());
    if let (udf::UdfErrorKind::Interrupted, Some(PythonException(raised))) = (error.kind, raised) {
        return raised.clone_ref(py);
    }
    let Some(PythonException(raised)) = raised else {
        return attributed(py, UdfError::new_err(error.to_string()), error);
    };
    // The cause brings its traceback along.
    let exception = UdfError::new_err(error.summary());
    exception.set_cause(py, Some(raised.clone_ref(py)));
    attributed(py, exception, error)
}

/// The same for a function in a worker process: its traceback comes as text, in the message.
fn worker_error(py: Python<'_>, error: &udf::UdfError, exception: &Exception) -> PyErr {
    let original = original(py, exception);
    match (error.kind, original) {
        (udf::UdfErrorKind::Interrupted, Some(original)) => original,
        (_, Some(original)) => {
            let exception = UdfError::new_err(error.to_string());
            exception.set_cause(py, Some(original));
            attributed(py, exception, error)
        }
        (_, None) => attributed(py, UdfError::new_err(error.to_string()), error),
    }
}

fn attributed(py: Python<'_>, exception: PyErr, error: &udf::UdfError) -> PyErr {
    let value = exception.value(py);
    let set = value
        .setattr("udf", &error.udf)
        .and_then(|()| value.setattr("row", error.row))
        .and_then(|()| value.setattr("arguments", error.arguments.as_deref()));
    match set {
        Ok(()) => exception,
        Err(error) => error,
    }
}
