//! Python's exceptions: `fuseline.Error` and a subclass for each thing a caller may do about it.

use pyo3::create_exception;
use pyo3::exceptions::PyException;
use pyo3::prelude::*;

create_exception!(fuseline, Error, PyException, "Any error of fuseline.");
create_exception!(fuseline, SqlError, Error, "The SQL is wrong, or not supported.");
create_exception!(fuseline, SettingError, Error, "A setting that does not exist or fit.");
create_exception!(fuseline, FileError, Error, "A file that cannot be read or written.");
create_exception!(fuseline, ExecutionError, Error, "The query failed while it ran.");
create_exception!(fuseline, ResourceError, Error, "The memory limit or disk space was not enough.");

/// The exception for an error of the facade; its text is the error's one message.
pub fn to_py(error: fuseline::Error) -> PyErr {
    use fuseline::Error as E;
    let message = error.to_string();
    match error {
        E::Syntax { .. } | E::Plan { .. } | E::Unsupported { .. } => SqlError::new_err(message),
        E::Setting { .. } => SettingError::new_err(message),
        E::File { .. } => FileError::new_err(message),
        E::Execution { .. } | E::Internal { .. } => ExecutionError::new_err(message),
        E::Function(_) => ExecutionError::new_err(message),
        E::Resources { .. } => ResourceError::new_err(message),
        E::Cancelled => Error::new_err(message),
    }
}
