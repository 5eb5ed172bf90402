//! Functions for worker processes: pickled by `fuseline/_ship.py`, run by `fuseline/_worker.py`.

use std::path::PathBuf;
use std::sync::Arc;

use fuseline::Session;
use fuseline::udf::{BatchFunction, FunctionSpec};
use fuseline::workers::{Exception, Interpreter, PooledFunction};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::error::SettingError;

/// The function behind the session's pool of workers.
pub fn pooled(
    session: &Session,
    spec: &FunctionSpec,
    callable: &Bound<'_, PyAny>,
) -> PyResult<Arc<dyn BatchFunction>> {
    let py = callable.py();
    let ship = py.import("fuseline._ship")?;
    let refused = |error: PyErr| {
        let said = SettingError::new_err(error.value(py).to_string());
        said.set_cause(py, Some(error));
        said
    };
    let (pickled, search_path): (Vec<u8>, Vec<String>) =
        ship.call_method1("ship", (callable, &spec.name)).map_err(refused)?.extract()?;
    let (executable, script): (PathBuf, PathBuf) =
        ship.call_method1("interpreter", (&spec.name,)).map_err(refused)?.extract()?;
    let pool = session.workers(|| Interpreter { executable, script });
    Ok(Arc::new(PooledFunction::new(spec, pool, pickled, search_path)))
}

/// The exception that a worker pickled; `None` if it cannot be loaded here.
pub fn original(py: Python<'_>, exception: &Exception) -> Option<PyErr> {
    if exception.pickled.is_empty() {
        return None;
    }
    let bytes = PyBytes::new(py, &exception.pickled);
    let loaded = py.import("pickle").ok()?.call_method1("loads", (bytes,)).ok()?;
    if !loaded.is_instance_of::<pyo3::exceptions::PyBaseException>() {
        return None;
    }
    if let Some(trace) = exception.traceback() {
        // Frames do not travel; without a note the traceback would look empty.
        let _ = loaded.call_method1("add_note", (format!("In the worker process:\n{trace}"),));
    }
    Some(PyErr::from_value(loaded))
}
