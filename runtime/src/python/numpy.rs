//! Kind numpy: columns as NumPy arrays, a call a batch.
//!
//! Numbers, times and fixed-size lists of numbers (2-D arrays) are views of Arrow's memory; Boolean
//! and Date32 are converted; all other types are arrays of objects. With `null_handling = 'call'` a
//! column with NULLs is a masked array, or an array of objects with None.

use crate::python::allocator::with_our_allocator;
use crate::python::from_python::from_list;
use crate::python::helper::helper;
use crate::python::memory::{ArrowMemory, borrow, is_ours};
use crate::python::to_python::{arrow_error, to_list};
use crate::udf::{Batch, CallError};
use arrow::array::{
    Array, ArrayData, ArrayRef, AsArray, BooleanArray, FixedSizeListArray, UInt8Array, make_array,
};
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Date32Type, TimeUnit};
use pyo3::exceptions::PyImportError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyList, PyModule, PyTuple};
use std::sync::Arc;

/// What is needed of NumPy.
struct NumPy {
    frombuffer: Py<PyAny>,
    ndarray: Py<PyAny>,
    masked_array: Py<PyAny>,
    ascontiguousarray: Py<PyAny>,
    dtypes: Py<PyDict>,
}

static NUMPY: PyOnceLock<NumPy> = PyOnceLock::new();

fn numpy(py: Python<'_>) -> PyResult<&NumPy> {
    NUMPY.get_or_try_init(py, || {
        let module: Bound<'_, PyModule> = py.import("numpy").map_err(|cause| {
            let error = PyImportError::new_err("functions of this kind need NumPy: pip install numpy");
            error.set_cause(py, Some(cause));
            error
        })?;
        let dtypes = PyDict::new(py);
        let make = module.getattr("dtype")?;
        for name in DTYPES {
            dtypes.set_item(name, make.call1((name,))?)?;
        }
        Ok(NumPy {
            frombuffer: module.getattr("frombuffer")?.unbind(),
            ndarray: module.getattr("ndarray")?.unbind(),
            masked_array: module.getattr("ma")?.getattr("MaskedArray")?.unbind(),
            ascontiguousarray: module.getattr("ascontiguousarray")?.unbind(),
            dtypes: dtypes.unbind(),
        })
    })
}

const DTYPES: [&str; 21] = [
    "float64",
    "float32",
    "float16",
    "int64",
    "int32",
    "int16",
    "int8",
    "uint64",
    "uint32",
    "uint16",
    "uint8",
    "bool",
    "datetime64[D]",
    "datetime64[s]",
    "datetime64[ms]",
    "datetime64[us]",
    "datetime64[ns]",
    "timedelta64[s]",
    "timedelta64[ms]",
    "timedelta64[us]",
    "timedelta64[ns]",
];

/// The dtype of a column of this type; `None`: objects.
fn dtype_name(data_type: &DataType) -> Option<&'static str> {
    Some(match data_type {
        DataType::Float64 => "float64",
        DataType::Float32 => "float32",
        DataType::Float16 => "float16",
        DataType::Int64 => "int64",
        DataType::Int32 => "int32",
        DataType::Int16 => "int16",
        DataType::Int8 => "int8",
        DataType::UInt64 => "uint64",
        DataType::UInt32 => "uint32",
        DataType::UInt16 => "uint16",
        DataType::UInt8 => "uint8",
        DataType::Boolean => "bool",
        DataType::Date32 => "datetime64[D]",
        DataType::Timestamp(TimeUnit::Second, None) => "datetime64[s]",
        DataType::Timestamp(TimeUnit::Millisecond, None) => "datetime64[ms]",
        DataType::Timestamp(TimeUnit::Microsecond, None) => "datetime64[us]",
        DataType::Timestamp(TimeUnit::Nanosecond, None) => "datetime64[ns]",
        DataType::Duration(TimeUnit::Second) => "timedelta64[s]",
        DataType::Duration(TimeUnit::Millisecond) => "timedelta64[ms]",
        DataType::Duration(TimeUnit::Microsecond) => "timedelta64[us]",
        DataType::Duration(TimeUnit::Nanosecond) => "timedelta64[ns]",
        _ => return None,
    })
}

fn dtype<'py>(py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyAny>> {
    numpy(py)?.dtypes.bind(py).as_any().get_item(name)
}

/// The column as an array.
///
/// # Errors
/// The exception of making it.
pub fn to_numpy<'py>(py: Python<'py>, array: &ArrayRef) -> PyResult<Bound<'py, PyAny>> {
    let nulls = array.logical_nulls().filter(|n| n.null_count() > 0);
    let Some(data) = values(py, array)? else {
        return helper(py)?.objects.bind(py).call1((to_list(py, array)?,));
    };
    let Some(nulls) = nulls else { return Ok(data) };
    let mask: UInt8Array = (0..nulls.len()).map(|i| u8::from(nulls.is_null(i))).collect();
    let mask = view(py, mask.values().inner().clone(), "bool")?;
    if let DataType::FixedSizeList(_, _) = array.data_type() {
        return helper(py)?.objects.bind(py).call1((to_list(py, array)?,));
    }
    numpy(py)?.masked_array.bind(py).call1((data, mask))
}

/// The values whatever is null; `None` for types without a dtype.
fn values<'py>(py: Python<'py>, array: &ArrayRef) -> PyResult<Option<Bound<'py, PyAny>>> {
    if let DataType::FixedSizeList(_, n) = array.data_type() {
        let lists = array.as_fixed_size_list();
        let width = (*n).max(0) as usize;
        let items = lists.values().slice(lists.value_offset(0) as usize, lists.len() * width);
        if width == 0 || items.null_count() > 0 || items.data_type().is_nested() {
            return Ok(None);
        }
        let Some(items) = values(py, &items)? else { return Ok(None) };
        return Ok(Some(items.call_method1("reshape", (lists.len(), width))?));
    }
    let Some(name) = dtype_name(array.data_type()) else { return Ok(None) };
    let buffer = match array.data_type() {
        DataType::Boolean => {
            let bits = array.as_boolean().values();
            Buffer::from_iter(bits.iter().map(u8::from))
        }
        DataType::Date32 => {
            let days = array.as_primitive::<Date32Type>().values();
            Buffer::from_iter(days.iter().map(|d| i64::from(*d)))
        }
        _ => {
            let data: ArrayData = array.to_data();
            let width = array.data_type().primitive_width().unwrap_or(1);
            match data.buffers().first() {
                Some(buffer) => buffer.slice_with_length(data.offset() * width, data.len() * width),
                None => return Ok(None),
            }
        }
    };
    view(py, buffer, name).map(Some)
}

fn view<'py>(py: Python<'py>, buffer: Buffer, name: &str) -> PyResult<Bound<'py, PyAny>> {
    let memory = Bound::new(py, ArrowMemory::new(buffer))?;
    numpy(py)?.frombuffer.bind(py).call1((memory, dtype(py, name)?))
}

/// Calls the function on arrays.
pub fn call(
    py: Python<'_>,
    function: &Bound<'_, PyAny>,
    returns: &DataType,
    batch: &Batch<'_>,
) -> PyResult<Result<ArrayRef, CallError>> {
    let started = std::time::Instant::now();
    let args = batch.args().iter().map(|a| to_numpy(py, a)).collect::<PyResult<Vec<_>>>();
    let args = match args.and_then(|args| PyTuple::new(py, args)) {
        Ok(args) => args,
        Err(error) => return Ok(Err(crate::python::exception::fault(py, error))),
    };
    batch.spent_converting(started.elapsed());
    let result = with_our_allocator(py, || function.call1(args))?;
    let started = std::time::Instant::now();
    let array = from_numpy(result, returns, batch.rows());
    batch.spent_converting(started.elapsed());
    array
}

/// What a function returned, as a column.
///
/// # Errors
/// The exception of reading it.
pub fn from_numpy(
    result: Bound<'_, PyAny>,
    returns: &DataType,
    rows: usize,
) -> PyResult<Result<ArrayRef, CallError>> {
    let py = result.py();
    let numpy = numpy(py)?;
    if !result.is_instance(numpy.ndarray.bind(py))? {
        let what = if result.is_none() { "None".to_owned() } else { class_name(&result)? };
        return Ok(Err(CallError::WrongResult(format!(
            "returned {what}, not a NumPy array with a value for each of {rows} rows"
        ))));
    }
    let shape: Vec<usize> = result.getattr("shape")?.extract()?;
    match shape.first() {
        None => {
            return Ok(Err(CallError::WrongResult(format!(
                "returned an array without dimensions, not one with a value for each of {rows} rows"
            ))));
        }
        Some(got) if *got != rows => {
            return Ok(Err(CallError::WrongLength { expected: rows, got: *got }));
        }
        Some(_) => {}
    }
    if result.is_instance(numpy.masked_array.bind(py))? {
        return masked(&result, returns, rows);
    }
    let wide = shape.len() > 1;
    let width = match returns {
        DataType::FixedSizeList(_, n) => Some((*n).max(0) as usize),
        _ => None,
    };
    if wide && (shape.len() > 2 || width != Some(shape[1])) {
        let shown: Vec<String> = shape.iter().map(ToString::to_string).collect();
        return Ok(Err(CallError::WrongResult(format!(
            "returned an array of shape ({}), but was declared to return {returns}",
            shown.join(", ")
        ))));
    }
    let kind: String = result.getattr("dtype")?.getattr("kind")?.extract()?;
    if matches!(kind.as_str(), "O" | "U" | "S" | "T") {
        return objects(&result, returns);
    }
    match (returns, wide) {
        (DataType::FixedSizeList(item, n), true) => {
            Ok(flat(result, item.data_type(), rows * (*n).max(0) as usize)?.and_then(|items| {
                FixedSizeListArray::try_new(item.clone(), *n, items, None)
                    .map(|a| Arc::new(a) as ArrayRef)
                    .map_err(|e| CallError::failed(e.to_string()))
            }))
        }
        _ => flat(result, returns, rows),
    }
}

fn class_name(object: &Bound<'_, PyAny>) -> PyResult<String> {
    Ok(object.get_type().qualname()?.to_string())
}

/// An array of plain values, in any shape, as a column of `items` values.
fn flat(result: Bound<'_, PyAny>, returns: &DataType, items: usize) -> PyResult<Result<ArrayRef, CallError>> {
    let py = result.py();
    let got = result.getattr("dtype")?;
    let wrong = |got: &Bound<'_, PyAny>| -> PyResult<Result<ArrayRef, CallError>> {
        let got = format!("{} (NumPy)", got.str()?);
        Ok(Err(CallError::WrongType { expected: returns.to_string(), got }))
    };
    let Some(name) = dtype_name(returns) else { return wrong(&got) };
    let expected = dtype(py, name)?;
    let mut result = result;
    if !got.is(&expected) && !got.eq(&expected)? {
        // Times of another unit are the same times.
        let (a, b): (String, String) =
            (got.getattr("kind")?.extract()?, expected.getattr("kind")?.extract()?);
        if a == b && (a == "M" || a == "m") {
            result = result.call_method1("astype", (&expected,))?;
        } else {
            return wrong(&got);
        }
    }
    if name.contains('[') {
        return times(&result, returns);
    }
    let buffer = if is_ours(&result)? { borrow(&result).ok() } else { None };
    let buffer = match buffer {
        Some(buffer) => buffer,
        None => {
            let whole = numpy(py)?.ascontiguousarray.bind(py).call1((&result,))?;
            Buffer::from_slice_ref(borrow(&whole)?.as_slice())
        }
    };
    if returns == &DataType::Boolean {
        let bytes = buffer.as_slice();
        let bits = BooleanBuffer::collect_bool(bytes.len(), |i| bytes[i] != 0);
        return Ok(Ok(Arc::new(BooleanArray::new(bits, None))));
    }
    let width = returns.primitive_width().unwrap_or(1);
    let buffer = if buffer.as_ptr().align_offset(width) == 0 {
        buffer
    } else {
        Buffer::from_slice_ref(buffer.as_slice())
    };
    let data = ArrayData::builder(returns.clone()).len(items).add_buffer(buffer).build();
    Ok(Ok(make_array(data.map_err(arrow_error)?)))
}

/// Instants and spans: NaT is NULL.
fn times(result: &Bound<'_, PyAny>, returns: &DataType) -> PyResult<Result<ArrayRef, CallError>> {
    let py = result.py();
    let whole = numpy(py)?.ascontiguousarray.bind(py).call1((result,))?.call_method1("view", ("int64",))?;
    let buffer = Buffer::from_slice_ref(borrow(&whole)?.as_slice());
    let values = arrow::array::Int64Array::new(buffer.into(), None);
    let nulls: NullBuffer = values.values().iter().map(|v| *v != i64::MIN).collect();
    let nulls = Some(nulls).filter(|n| n.null_count() > 0);
    let values = arrow::array::Int64Array::new(values.values().clone(), nulls);
    let array: ArrayRef = Arc::new(values);
    let array = if returns == &DataType::Date32 { cast(&array, &DataType::Int32) } else { Ok(array) };
    cast(&array.map_err(arrow_error)?, returns).map(Ok).map_err(arrow_error)
}

/// A masked array: masked values are NULL.
fn masked(
    result: &Bound<'_, PyAny>,
    returns: &DataType,
    rows: usize,
) -> PyResult<Result<ArrayRef, CallError>> {
    let py = result.py();
    let mask = py.import("numpy")?.getattr("ma")?.call_method1("getmaskarray", (result,))?;
    let mask = from_numpy(mask, &DataType::Boolean, rows)?;
    let data = from_numpy(result.getattr("data")?, returns, rows)?;
    Ok(match (mask, data) {
        (Ok(mask), Ok(data)) => {
            arrow::compute::nullif(&data, mask.as_boolean()).map_err(|e| CallError::failed(e.to_string()))
        }
        (Err(error), _) | (_, Err(error)) => Err(error),
    })
}

/// An array of objects or text.
fn objects(result: &Bound<'_, PyAny>, returns: &DataType) -> PyResult<Result<ArrayRef, CallError>> {
    let py = result.py();
    let items = helper(py)?.object_items.bind(py).call1((result,))?.cast_into::<PyList>()?;
    column(&items, returns)
}

/// A list of results, all of which must fit.
pub fn column(items: &Bound<'_, PyList>, returns: &DataType) -> PyResult<Result<ArrayRef, CallError>> {
    let (array, misfits) = from_list(items, returns)?;
    Ok(match misfits.into_iter().next() {
        None => Ok(array),
        Some((row, failure)) => Err(CallError::WrongResult(format!(
            "returned a value on row {row} that does not fit {returns}: {}",
            failure.message
        ))),
    })
}
