//! Kind scalar: a Python call a row.
//!
//! The rows go through in blocks that stay in the cache: arguments become lists of Python objects, a
//! loop in Python calls the function (see `rows.py`), and the list of results becomes a column. Lists
//! of numbers are filled again for the next block, so its objects take the memory of the last one's.

use crate::python::exception::{call_error, failure, fault};
use crate::python::from_python::{Misfits, PlainColumn, from_list};
use crate::python::helper::helper;
use crate::python::to_python::to_list_in;
use crate::udf::{Batch, CallError};
use arrow::array::{Array, ArrayRef};
use arrow::compute::concat;
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use parking_lot::Mutex;
use pyo3::prelude::*;
use pyo3::types::{PyList, PyTuple};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

/// Rows in a block: its objects stay in the first-level cache.
const BLOCK: usize = 256;

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

/// The results so far: numbers go straight into one column, others become a column a block.
enum Results {
    Floats(PlainColumn<Float64Type>),
    Ints(PlainColumn<Int64Type>),
    Blocks(Vec<ArrayRef>),
}

impl Results {
    fn new(returns: &DataType, rows: usize) -> Results {
        match returns {
            DataType::Float64 => Results::Floats(PlainColumn::with_capacity(rows)),
            DataType::Int64 => Results::Ints(PlainColumn::with_capacity(rows)),
            _ => Results::Blocks(Vec::with_capacity(rows.div_ceil(BLOCK))),
        }
    }

    fn append(&mut self, list: &Bound<'_, PyList>, returns: &DataType) -> PyResult<Misfits> {
        let mut misfits = Misfits::new();
        match self {
            Results::Floats(column) => column.append(list, &mut misfits)?,
            Results::Ints(column) => column.append(list, &mut misfits)?,
            Results::Blocks(blocks) => {
                let (array, misfits) = from_list(list, returns)?;
                blocks.push(array);
                return Ok(misfits);
            }
        }
        Ok(misfits)
    }

    fn finish(self) -> Result<ArrayRef, CallError> {
        match self {
            Results::Floats(column) => Ok(column.finish()),
            Results::Ints(column) => Ok(column.finish()),
            Results::Blocks(blocks) => match blocks.as_slice() {
                [one] => Ok(Arc::clone(one)),
                many => {
                    let many: Vec<&dyn Array> = many.iter().map(AsRef::as_ref).collect();
                    concat(&many).map_err(|e| CallError::failed(e.to_string()))
                }
            },
        }
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
    let mut results = Results::new(returns, batch.rows());
    let mut lists: Vec<Option<Bound<'_, PyList>>> = vec![None; batch.args().len()];
    for from in (0..batch.rows()).step_by(BLOCK) {
        let rows = BLOCK.min(batch.rows() - from);
        block(py, function, &loops, batch, from, rows, &mut lists, |batch, list| {
            let misfits = results.append(list, returns).map_err(|e| fault(py, e))?;
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
            Ok(())
        })?;
    }
    results.finish()
}

/// Some rows. `lists` are those of the arguments of the block before, to be filled again.
#[expect(clippy::too_many_arguments, reason = "the state of one loop, which ends here")]
fn block<'py>(
    py: Python<'py>,
    function: &Bound<'py, PyAny>,
    loops: &Pair,
    batch: &Batch<'_>,
    from: usize,
    rows: usize,
    lists: &mut [Option<Bound<'py, PyList>>],
    take: impl FnOnce(&Batch<'_>, &Bound<'py, PyList>) -> Result<(), CallError>,
) -> Result<(), CallError> {
    let started = Instant::now();
    let mut arguments: Vec<Bound<'_, PyAny>> = Vec::with_capacity(batch.args().len() + 2);
    arguments.push(function.clone());
    arguments.push(rows.into_pyobject(py).map_err(|e| fault(py, e.into()))?.into_any());
    for (array, list) in batch.args().iter().zip(&mut *lists) {
        let filled = to_list_in(py, &array.slice(from, rows), list.take()).map_err(|e| fault(py, e))?;
        arguments.push(filled.clone().into_any());
        *list = Some(filled);
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
    let taken = take(batch, &results);
    drop(results);
    batch.spent_converting(started.elapsed());
    taken
}
