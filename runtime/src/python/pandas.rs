//! Kind pandas: columns as Series, a call a batch.
//!
//! Numbers and times are Series over Arrow's memory, as for NumPy; other types, and columns with
//! NULLs, are Series of objects, with None for NULL. So NaN stays NaN, and None is NULL.

use crate::python::allocator::with_our_allocator;
use crate::python::helper::helper;
use crate::python::numpy::{column, from_numpy, to_numpy};
use crate::python::to_python::to_list;
use crate::udf::{Batch, CallError};
use arrow::array::{Array, ArrayRef};
use arrow::datatypes::DataType;
use pyo3::exceptions::PyImportError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyList, PyTuple};

static SERIES: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

fn series(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    let class = SERIES.get_or_try_init(py, || {
        let module = py.import("pandas").map_err(|cause| {
            let error = PyImportError::new_err("functions of this kind need pandas: pip install pandas");
            error.set_cause(py, Some(cause));
            error
        })?;
        Ok::<_, PyErr>(module.getattr("Series")?.unbind())
    })?;
    Ok(class.bind(py))
}

fn to_series<'py>(py: Python<'py>, array: &ArrayRef) -> PyResult<Bound<'py, PyAny>> {
    let options = PyDict::new(py);
    options.set_item("copy", false)?;
    let lists = matches!(array.data_type(), DataType::FixedSizeList(..));
    let values = if array.logical_null_count() > 0 || lists {
        helper(py)?.objects.bind(py).call1((to_list(py, array)?,))?
    } else {
        to_numpy(py, array)?
    };
    if values.getattr("dtype")?.getattr("kind")?.extract::<String>()? == "O" {
        options.set_item("dtype", "object")?;
    }
    series(py)?.call((values,), Some(&options))
}

/// Calls the function on Series.
pub fn call(
    py: Python<'_>,
    function: &Bound<'_, PyAny>,
    returns: &DataType,
    batch: &Batch<'_>,
) -> PyResult<Result<ArrayRef, CallError>> {
    let started = std::time::Instant::now();
    let args = batch.args().iter().map(|a| to_series(py, a)).collect::<PyResult<Vec<_>>>();
    let args = match args.and_then(|args| PyTuple::new(py, args)) {
        Ok(args) => args,
        Err(error) => return Ok(Err(crate::python::exception::fault(py, error))),
    };
    batch.spent_converting(started.elapsed());
    let result = with_our_allocator(py, || function.call1(args))?;
    let started = std::time::Instant::now();
    let array = from_series(&result, returns, batch.rows());
    batch.spent_converting(started.elapsed());
    array
}

fn from_series(
    result: &Bound<'_, PyAny>,
    returns: &DataType,
    rows: usize,
) -> PyResult<Result<ArrayRef, CallError>> {
    let py = result.py();
    if !result.is_instance(series(py)?)? {
        // NumPy's arrays are as good; its words fit whatever else it is.
        let array = from_numpy(result.clone(), returns, rows)?;
        return Ok(array.map_err(|error| match error {
            CallError::WrongResult(text) => CallError::WrongResult(text.replace("a NumPy array", "a Series")),
            other => other,
        }));
    }
    let got = result.len()?;
    if got != rows {
        return Ok(Err(CallError::WrongLength { expected: rows, got }));
    }
    let dtype = result.getattr("dtype")?;
    let plain = dtype.hasattr("byteorder")?;
    let kind: String = dtype.getattr("kind")?.extract()?;
    if plain && kind != "O" {
        // A copy: pandas may share the block with other Series.
        let values = result.call_method0("to_numpy")?;
        return from_numpy(values, returns, rows);
    }
    let floats = returns.is_floating();
    let items = helper(py)?.series_items.bind(py).call1((result, floats))?.cast_into::<PyList>()?;
    column(&items, returns)
}
