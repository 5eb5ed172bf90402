//! Columns as lists of Python objects: what functions of kind scalar see, and what NumPy and pandas
//! see of types that they have no memory layout for.
//!
//! | Arrow | Python |
//! |---|---|
//! | integers, floats, Boolean | int, float, bool |
//! | text, bytes | str, bytes |
//! | Date32 | datetime.date |
//! | Timestamp | datetime.datetime, with a zone if the type has one; rounded down to microseconds |
//! | Time, Duration | datetime.time, datetime.timedelta |
//! | Decimal128 | decimal.Decimal |
//! | List, FixedSizeList | list |
//! | everything else | what pyarrow makes of it |

use crate::python::helper::helper;
use crate::python::pyarrow;
use arrow::array::{Array, ArrayRef, AsArray, PrimitiveArray};
use arrow::compute::cast;
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Decimal128Type, DecimalType, DurationMicrosecondType,
    Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, Time64MicrosecondType,
    TimeUnit, TimestampMicrosecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use pyo3::exceptions::PyRuntimeError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyList;
use std::os::raw::{c_char, c_long};

/// The column as a list, None for NULL.
///
/// # Errors
/// The exception of making a value.
pub fn to_list<'py>(py: Python<'py>, array: &ArrayRef) -> PyResult<Bound<'py, PyList>> {
    to_list_in(py, array, None)
}

/// As [`to_list`], in a list of the caller's if it has the right length, holds numbers, and nobody
/// else refers to it. A number that is made just before its predecessor is dropped takes the memory
/// that was dropped before, which is in the first-level cache.
///
/// # Errors
/// As [`to_list`].
pub fn to_list_in<'py>(
    py: Python<'py>,
    array: &ArrayRef,
    old: Option<Bound<'py, PyList>>,
) -> PyResult<Bound<'py, PyList>> {
    match array.data_type() {
        DataType::Float64 => numbers::<Float64Type>(py, array, old, |v| {
            // SAFETY: the GIL is held; the function returns a new reference or null.
            unsafe { ffi::PyFloat_FromDouble(v) }
        }),
        DataType::Float32 => numbers::<Float32Type>(py, array, old, |v| {
            // SAFETY: as above.
            unsafe { ffi::PyFloat_FromDouble(f64::from(v)) }
        }),
        DataType::Float16 => numbers::<Float16Type>(py, array, old, |v| {
            // SAFETY: as above.
            unsafe { ffi::PyFloat_FromDouble(f64::from(v)) }
        }),
        DataType::Int64 => numbers::<Int64Type>(py, array, old, |v| {
            // SAFETY: as above.
            unsafe { ffi::PyLong_FromLongLong(v) }
        }),
        DataType::Int32 => numbers::<Int32Type>(py, array, old, |v| long(c_long::from(v))),
        DataType::Int16 => numbers::<Int16Type>(py, array, old, |v| long(c_long::from(v))),
        DataType::Int8 => numbers::<Int8Type>(py, array, old, |v| long(c_long::from(v))),
        DataType::UInt64 => numbers::<UInt64Type>(py, array, old, |v| {
            // SAFETY: as above.
            unsafe { ffi::PyLong_FromUnsignedLongLong(v) }
        }),
        DataType::UInt32 => numbers::<UInt32Type>(py, array, old, |v| {
            // SAFETY: as above.
            unsafe { ffi::PyLong_FromLongLong(i64::from(v)) }
        }),
        DataType::UInt16 => numbers::<UInt16Type>(py, array, old, |v| long(c_long::from(v))),
        DataType::UInt8 => numbers::<UInt8Type>(py, array, old, |v| long(c_long::from(v))),
        DataType::Boolean => {
            let values = array.as_boolean();
            fill(py, array, |i| {
                // SAFETY: the GIL is held; the function returns a new reference.
                Ok(unsafe { ffi::PyBool_FromLong(c_long::from(values.value(i))) })
            })
        }
        DataType::Utf8 => {
            let values = array.as_string::<i32>();
            fill(py, array, |i| Ok(text(values.value(i))))
        }
        DataType::Binary => {
            let values = array.as_binary::<i32>();
            fill(py, array, |i| {
                let v = values.value(i);
                // SAFETY: the pointer and length are those of a slice.
                Ok(unsafe { ffi::PyBytes_FromStringAndSize(v.as_ptr().cast(), v.len() as isize) })
            })
        }
        DataType::Date32 => {
            let (values, make) = (array.as_primitive::<Date32Type>(), &helper(py)?.date);
            fill(py, array, |i| called(py, make, i64::from(values.value(i)) + 719_163))
        }
        DataType::Timestamp(TimeUnit::Microsecond, None) => {
            let (values, make) = (array.as_primitive::<TimestampMicrosecondType>(), &helper(py)?.instant);
            fill(py, array, |i| called(py, make, values.value(i)))
        }
        DataType::Timestamp(TimeUnit::Microsecond, Some(zone)) => {
            let helper = helper(py)?;
            let zone = helper.zone.call1(py, (zone.as_ref(),))?;
            let values = array.as_primitive::<TimestampMicrosecondType>();
            fill(py, array, |i| Ok(helper.instant_in.call1(py, (values.value(i), &zone))?.into_ptr()))
        }
        DataType::Time64(TimeUnit::Microsecond) => {
            let (values, make) = (array.as_primitive::<Time64MicrosecondType>(), &helper(py)?.clock);
            fill(py, array, |i| called(py, make, values.value(i)))
        }
        DataType::Duration(TimeUnit::Microsecond) => {
            let (values, make) = (array.as_primitive::<DurationMicrosecondType>(), &helper(py)?.span);
            fill(py, array, |i| called(py, make, values.value(i)))
        }
        DataType::Decimal128(precision, scale) => {
            let (values, make) = (array.as_primitive::<Decimal128Type>(), &helper(py)?.decimal);
            fill(py, array, |i| {
                let digits = Decimal128Type::format_decimal(values.value(i), *precision, *scale);
                Ok(make.call1(py, (digits,))?.into_ptr())
            })
        }
        DataType::List(_) => {
            let values = array.as_list::<i32>();
            fill(py, array, |i| Ok(to_list(py, &values.value(i))?.into_any().unbind().into_ptr()))
        }
        DataType::FixedSizeList(_, _) => {
            let values = array.as_fixed_size_list();
            fill(py, array, |i| Ok(to_list(py, &values.value(i))?.into_any().unbind().into_ptr()))
        }
        other => match simpler(other) {
            Some(simpler) => to_list(py, &cast(array, &simpler).map_err(arrow_error)?),
            None => Ok(pyarrow::export(py, array)?.call_method0("to_pylist")?.cast_into::<PyList>()?),
        },
    }
}

/// A type of the table above with the same values.
pub fn simpler(data_type: &DataType) -> Option<DataType> {
    Some(match data_type {
        DataType::LargeUtf8 | DataType::Utf8View => DataType::Utf8,
        DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => DataType::Binary,
        DataType::Dictionary(_, values) => values.as_ref().clone(),
        DataType::Date64 => DataType::Date32,
        DataType::Timestamp(TimeUnit::Second | TimeUnit::Millisecond | TimeUnit::Nanosecond, zone) => {
            DataType::Timestamp(TimeUnit::Microsecond, zone.clone())
        }
        DataType::Time32(_) | DataType::Time64(TimeUnit::Nanosecond) => {
            DataType::Time64(TimeUnit::Microsecond)
        }
        DataType::Duration(TimeUnit::Second | TimeUnit::Millisecond | TimeUnit::Nanosecond) => {
            DataType::Duration(TimeUnit::Microsecond)
        }
        DataType::LargeList(item) => DataType::List(item.clone()),
        _ => return None,
    })
}

/// An error of arrow as an exception.
pub fn arrow_error(error: arrow::error::ArrowError) -> PyErr {
    PyRuntimeError::new_err(error.to_string())
}

fn long(v: c_long) -> *mut ffi::PyObject {
    // SAFETY: callers hold the GIL; the function returns a new reference or null.
    unsafe { ffi::PyLong_FromLong(v) }
}

fn text(v: &str) -> *mut ffi::PyObject {
    // SAFETY: callers hold the GIL; the pointer and length are those of a slice of UTF-8.
    unsafe { ffi::PyUnicode_FromStringAndSize(v.as_ptr().cast::<c_char>(), v.len() as isize) }
}

fn called(py: Python<'_>, make: &Py<PyAny>, v: i64) -> PyResult<*mut ffi::PyObject> {
    Ok(make.call1(py, (v,))?.into_ptr())
}

fn numbers<'py, T: ArrowPrimitiveType>(
    py: Python<'py>,
    array: &ArrayRef,
    old: Option<Bound<'py, PyList>>,
    make: impl Fn(T::Native) -> *mut ffi::PyObject,
) -> PyResult<Bound<'py, PyList>> {
    let values: &PrimitiveArray<T> = array.as_primitive::<T>();
    let slice = values.values();
    let old = old.filter(|list| {
        // SAFETY: the GIL is held and the list is alive.
        let references = unsafe { ffi::Py_REFCNT(list.as_ptr()) };
        references == 1 && list.len() == slice.len()
    });
    let Some(list) = old else { return fill(py, array, |i| Ok(make(slice[i]))) };
    let nulls = array.nulls().filter(|n| n.null_count() > 0);
    for (i, value) in slice.iter().enumerate() {
        let item = match nulls {
            // SAFETY: None is alive as long as the interpreter; a new reference to it.
            Some(nulls) if nulls.is_null(i) => unsafe { ffi::Py_NewRef(ffi::Py_None()) },
            Some(_) | None => make(*value),
        };
        if item.is_null() {
            return Err(PyErr::fetch(py));
        }
        // SAFETY: `list` is a list with more than `i` slots (dropping numbers and None runs no code
        // that could shorten it), and takes over the reference.
        unsafe { ffi::PyList_SetItem(list.as_ptr(), i as isize, item) };
    }
    Ok(list)
}

/// A list with `make(i)`, a new reference, at the valid rows and None at the others.
fn fill<'py>(
    py: Python<'py>,
    array: &ArrayRef,
    make: impl Fn(usize) -> PyResult<*mut ffi::PyObject>,
) -> PyResult<Bound<'py, PyList>> {
    let nulls = array.logical_nulls().filter(|n| n.null_count() > 0);
    // SAFETY: the GIL is held; the list is new, and every slot is filled below before anybody sees
    // it (on an early return it is dropped, which slots that are still null allow).
    let list = unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyList_New(array.len() as isize))? };
    for i in 0..array.len() {
        let item = match &nulls {
            // SAFETY: None is alive as long as the interpreter; a new reference to it.
            Some(nulls) if nulls.is_null(i) => unsafe { ffi::Py_NewRef(ffi::Py_None()) },
            Some(_) | None => make(i)?,
        };
        if item.is_null() {
            return Err(PyErr::fetch(py));
        }
        // SAFETY: `list` is a list with more than `i` slots, and takes over the reference.
        unsafe { ffi::PyList_SetItem(list.as_ptr(), i as isize, item) };
    }
    Ok(list.cast_into::<PyList>()?)
}
