//! Kind scalar: a Python call a row.
//!
//! The rows go through in blocks that stay in the cache: arguments become lists of Python objects, a
//! loop in Python calls the function (see `rows.py`), and the list of results becomes a column.

use crate::python::exception::{call_error, failure, fault};
use crate::python::from_python::from_list;
use crate::python::helper::helper;
use crate::python::to_python::to_list;
use crate::udf::{Batch, CallError};
use arrow::array::{Array, ArrayRef};
use arrow::compute::concat;
use arrow::datatypes::DataType;
use parking_lot::Mutex;
use pyo3::prelude::*;
use pyo3::types::{PyList, PyTuple};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

/// Rows in a block: its objects stay in the first-level cache.
const BLOCK: usize = 512;

/// The loops by the number of arguments.
#[derive(Default)]
pub struct Loops(Mutex<HashMap<usize, Arc<Pair>>>);

struct Pair {
    until_error: Py<PyAny>,
    past_errors: Py<PyAny>,
}

impl Loops {
    fn of(&self, py: Python<'_>, arguments: usize) -> PyResult<Arc<Pair>> {
        if let Some(pair) = self.0.lock().get(&arguments) {
            return Ok(Arc::clone(pair));
        }
        let (until_error, past_errors) = helper(py)?.loops.call1(py, (arguments,))?.extract(py)?;
        let pair = Arc::new(Pair { until_error, past_errors });
        self.0.lock().insert(arguments, Arc::clone(&pair));
        Ok(pair)
    }
}

/// Calls the function for each row.
pub fn call(
    py: Python<'_>,
    function: &Bound<'_, PyAny>,
    loops: &Loops,
    returns: &DataType,
    batch: &Batch<'_>,
) -> Result<ArrayRef, CallError> {
    let loops = loops.of(py, batch.args().len()).map_err(|e| fault(py, e))?;
    let mut blocks: Vec<ArrayRef> = Vec::with_capacity(batch.rows().div_ceil(BLOCK));
    for from in (0..batch.rows()).step_by(BLOCK) {
        let rows = BLOCK.min(batch.rows() - from);
        blocks.push(block(py, function, &loops, returns, batch, from, rows)?);
    }
    match blocks.as_slice() {
        [one] => Ok(Arc::clone(one)),
        many => {
            let many: Vec<&dyn Array> = many.iter().map(AsRef::as_ref).collect();
            concat(&many).map_err(|e| CallError::failed(e.to_string()))
        }
    }
}

fn block(
    py: Python<'_>,
    function: &Bound<'_, PyAny>,
    loops: &Pair,
    returns: &DataType,
    batch: &Batch<'_>,
    from: usize,
    rows: usize,
) -> Result<ArrayRef, CallError> {
    let started = Instant::now();
    let mut arguments: Vec<Bound<'_, PyAny>> = Vec::with_capacity(batch.args().len() + 2);
    arguments.push(function.clone());
    arguments.push(rows.into_pyobject(py).map_err(|e| fault(py, e.into()))?.into_any());
    for array in batch.args() {
        let list = to_list(py, &array.slice(from, rows)).map_err(|e| fault(py, e))?;
        arguments.push(list.into_any());
    }
    let arguments = PyTuple::new(py, arguments).map_err(|e| fault(py, e))?;
    batch.spent_converting(started.elapsed());
    let results = if batch.keeps_failures() {
        let outcome = loops.past_errors.bind(py).call1(arguments).map_err(|e| call_error(py, e, None))?;
        let (results, failures): (Bound<'_, PyList>, Vec<(usize, Bound<'_, PyAny>)>) =
            outcome.extract().map_err(|e| fault(py, e))?;
        for (row, exception) in failures {
            batch.fail_row(from + row, failure(py, PyErr::from_value(exception), false));
        }
        results
    } else {
        let outcome = loops.until_error.bind(py).call1(arguments).map_err(|e| call_error(py, e, None))?;
        let (results, row, exception): (Option<Bound<'_, PyList>>, usize, Bound<'_, PyAny>) =
            outcome.extract().map_err(|e| fault(py, e))?;
        match results {
            Some(results) => results,
            None => return Err(call_error(py, PyErr::from_value(exception), Some(from + row))),
        }
    };
    let started = Instant::now();
    let (array, misfits) = from_list(&results, returns).map_err(|e| fault(py, e))?;
    drop(results);
    batch.spent_converting(started.elapsed());
    for (row, failure) in misfits {
        let failure = crate::udf::Failure {
            message: format!("its result does not fit {returns}: {}", failure.message),
            ..failure
        };
        if !batch.keeps_failures() {
            return Err(CallError::Failed { row: Some(from + row), failure });
        }
        batch.fail_row(from + row, failure);
    }
    Ok(array)
}
