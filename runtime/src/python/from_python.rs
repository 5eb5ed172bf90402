//! Lists of Python objects as columns: the reverse of [`crate::python::to_python`].
//!
//! A value that does not fit the column's type is a failure of its row, not of the column. None is
//! NULL. Like Python, a column of floats takes ints, and a column of ints takes whatever has
//! `__index__`, but no float; what does not fit the width is an OverflowError.

use crate::python::exception::failure;
use crate::python::helper::helper;
use crate::python::pyarrow;
use crate::python::to_python::{arrow_error, simpler};
use crate::udf::Failure;
use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, BinaryBuilder, BooleanBuilder, FixedSizeListArray, ListArray,
    NullBufferBuilder, PrimitiveArray, StringBuilder, new_null_array,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, DecimalType, DurationMicrosecondType, FieldRef, Float32Type,
    Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, Time64MicrosecondType, TimeUnit,
    TimestampMicrosecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use pyo3::exceptions::{PyOverflowError, PyTypeError, PyValueError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyList, PyString};
use std::sync::Arc;

/// Rows whose value does not fit, and why.
pub type Misfits = Vec<(usize, Failure)>;

/// The list as a column of the type; rows that do not fit are NULL in it.
///
/// # Errors
/// The exception of what is no row's fault.
pub fn from_list(list: &Bound<'_, PyList>, data_type: &DataType) -> PyResult<(ArrayRef, Misfits)> {
    let py = list.py();
    let mut misfits = Misfits::new();
    let array: ArrayRef = match data_type {
        DataType::Null => new_null_array(data_type, list.len()),
        DataType::Float64 => one_block::<Float64Type>(list, &mut misfits)?,
        DataType::Float32 => numbers::<Float32Type>(list, &mut misfits, |o| float(o).map(|v| v as f32))?,
        DataType::Int64 => one_block::<Int64Type>(list, &mut misfits)?,
        DataType::Int32 => numbers::<Int32Type>(list, &mut misfits, narrow::<i32>)?,
        DataType::Int16 => numbers::<Int16Type>(list, &mut misfits, narrow::<i16>)?,
        DataType::Int8 => numbers::<Int8Type>(list, &mut misfits, narrow::<i8>)?,
        DataType::UInt32 => numbers::<UInt32Type>(list, &mut misfits, narrow::<u32>)?,
        DataType::UInt16 => numbers::<UInt16Type>(list, &mut misfits, narrow::<u16>)?,
        DataType::UInt8 => numbers::<UInt8Type>(list, &mut misfits, narrow::<u8>)?,
        DataType::UInt64 => numbers::<UInt64Type>(list, &mut misfits, |o| o.extract::<u64>())?,
        DataType::Boolean => {
            let mut builder = BooleanBuilder::with_capacity(list.len());
            each(list, &mut misfits, |o| o.map(truth).transpose(), |v| builder.append_option(v))?;
            Arc::new(builder.finish())
        }
        DataType::Utf8 => return texts(list),
        DataType::Binary => {
            let mut builder = BinaryBuilder::with_capacity(list.len(), list.len() * 16);
            each(
                list,
                &mut misfits,
                |o| {
                    o.map(|o| match o.cast::<PyBytes>() {
                        Ok(bytes) => Ok(bytes.as_bytes().to_vec()),
                        Err(_) if o.is_instance_of::<PyString>() => Err(expected("bytes", o)),
                        Err(_) => o.extract::<Vec<u8>>().map_err(|_| expected("bytes", o)),
                    })
                    .transpose()
                },
                |v| builder.append_option(v),
            )?;
            Arc::new(builder.finish())
        }
        DataType::Date32 => {
            let days = &helper(py)?.days_of_date;
            numbers::<Date32Type>(list, &mut misfits, |o| days.call1(py, (o,))?.extract::<i32>(py))?
        }
        DataType::Timestamp(TimeUnit::Microsecond, zone) => {
            let helper = helper(py)?;
            let micros = match zone {
                None => &helper.micros_of_instant,
                Some(_) => &helper.micros_of_instant_in,
            };
            retyped(micros_by::<TimestampMicrosecondType>(list, &mut misfits, micros)?, data_type)?
        }
        DataType::Time64(TimeUnit::Microsecond) => {
            micros_by::<Time64MicrosecondType>(list, &mut misfits, &helper(py)?.micros_of_clock)?
        }
        DataType::Duration(TimeUnit::Microsecond) => {
            micros_by::<DurationMicrosecondType>(list, &mut misfits, &helper(py)?.micros_of_span)?
        }
        DataType::Decimal128(precision, scale) => {
            let digits = &helper(py)?.digits_of_decimal;
            let array = numbers::<Decimal128Type>(list, &mut misfits, |o| {
                let v = digits.call1(py, (o, *scale))?.extract::<i128>(py)?;
                Decimal128Type::validate_decimal_precision(v, *precision, *scale)
                    .map_err(|e| PyOverflowError::new_err(e.to_string()))?;
                Ok(v)
            })?;
            retyped(array, data_type)?
        }
        DataType::List(item) => lists(list, &mut misfits, item, None)?,
        DataType::FixedSizeList(item, n) => lists(list, &mut misfits, item, Some(*n))?,
        other => match simpler(other).filter(|_| !matches!(other, DataType::Dictionary(..))) {
            Some(simpler) => {
                let (array, misfits) = from_list(list, &simpler)?;
                return Ok((cast(&array, other).map_err(arrow_error)?, misfits));
            }
            None => pyarrow::from_list(list, other)?,
        },
    };
    Ok((array, misfits))
}

/// The same values as a type of the same memory.
fn retyped(array: ArrayRef, data_type: &DataType) -> PyResult<ArrayRef> {
    let data = array.into_data().into_builder().data_type(data_type.clone()).build().map_err(arrow_error)?;
    Ok(arrow::array::make_array(data))
}

fn expected(what: &str, got: &Bound<'_, PyAny>) -> PyErr {
    let class = got.get_type().name().map(|n| n.to_string()).unwrap_or_else(|_| "object".into());
    PyTypeError::new_err(format!("expected {what}, got {class}"))
}

/// Visits the items. `read` gets `None` for None; a row whose reading raises counts as None.
fn each<'py, T>(
    list: &Bound<'py, PyList>,
    misfits: &mut Misfits,
    mut read: impl FnMut(Option<&Bound<'py, PyAny>>) -> PyResult<Option<T>>,
    mut put: impl FnMut(Option<T>),
) -> PyResult<()> {
    let py = list.py();
    for row in 0..list.len() {
        let item = list.get_item(row)?;
        let value = if item.is_none() { Ok(None) } else { read(Some(&item)) };
        put(match value {
            Ok(value) => value,
            Err(_) if is_missing(&item) => None,
            Err(error) => {
                misfits.push((row, failure(py, error, false)));
                None
            }
        });
    }
    Ok(())
}

/// Whether the value stands for a missing one in pandas: NA or NaT.
fn is_missing(item: &Bound<'_, PyAny>) -> bool {
    item.get_type().name().is_ok_and(|n| n == "NAType" || n == "NaTType")
}

fn numbers<T: ArrowPrimitiveType>(
    list: &Bound<'_, PyList>,
    misfits: &mut Misfits,
    read: impl Fn(&Bound<'_, PyAny>) -> PyResult<T::Native>,
) -> PyResult<ArrayRef> {
    let mut values: Vec<T::Native> = Vec::with_capacity(list.len());
    let mut nulls = NullBufferBuilder::new(list.len());
    each(
        list,
        misfits,
        |o| o.map(&read).transpose(),
        |v| {
            values.push(v.unwrap_or_default());
            nulls.append(v.is_some());
        },
    )?;
    Ok(Arc::new(PrimitiveArray::<T>::new(values.into(), nulls.finish())))
}

fn micros_by<T: ArrowPrimitiveType<Native = i64>>(
    list: &Bound<'_, PyList>,
    misfits: &mut Misfits,
    micros: &Py<PyAny>,
) -> PyResult<ArrayRef> {
    let py = list.py();
    numbers::<T>(list, misfits, |o| micros.call1(py, (o,))?.extract::<i64>(py))
}

/// Numbers that Python's C interface reads in one step.
pub trait Plain: ArrowPrimitiveType {
    /// `None` iff it has set an exception. The GIL is held, and the object is alive.
    fn read(object: *mut ffi::PyObject) -> Option<Self::Native>;
}

impl Plain for Float64Type {
    fn read(object: *mut ffi::PyObject) -> Option<f64> {
        raw_float(object)
    }
}

impl Plain for Int64Type {
    fn read(object: *mut ffi::PyObject) -> Option<i64> {
        raw_int(object)
    }
}

/// A column of such numbers, list by list, without a reference of our own to each item.
pub struct PlainColumn<T: Plain> {
    values: Vec<T::Native>,
    nulls: NullBufferBuilder,
}

impl<T: Plain> PlainColumn<T> {
    pub fn with_capacity(rows: usize) -> PlainColumn<T> {
        PlainColumn { values: Vec::with_capacity(rows), nulls: NullBufferBuilder::new(rows) }
    }

    /// Adds the list's items; rows in `misfits` are those of the list.
    ///
    /// # Errors
    /// The exception of what is no row's fault.
    pub fn append(&mut self, list: &Bound<'_, PyList>, misfits: &mut Misfits) -> PyResult<()> {
        let py = list.py();
        // SAFETY: None lives as long as the interpreter.
        let none = unsafe { ffi::Py_None() };
        // Valid rows that `nulls` has not been told of.
        let mut valid = 0;
        for row in 0..list.len() {
            // SAFETY: the GIL is held. The reference is borrowed from the list, which only we have; it
            // is null, with an exception, should somebody have shortened it all the same.
            let item = unsafe { ffi::PyList_GetItem(list.as_ptr(), row as isize) };
            if item.is_null() {
                return Err(PyErr::fetch(py));
            }
            let value = if item == none { None } else { T::read(item) };
            if let Some(value) = value {
                self.values.push(value);
                valid += 1;
                continue;
            }
            if item != none {
                let error = PyErr::fetch(py);
                if !is_missing(&list.get_item(row)?) {
                    misfits.push((row, failure(py, error, false)));
                }
            }
            self.values.push(T::Native::default());
            self.nulls.append_n_non_nulls(valid);
            self.nulls.append_null();
            valid = 0;
        }
        self.nulls.append_n_non_nulls(valid);
        Ok(())
    }

    pub fn finish(mut self) -> ArrayRef {
        Arc::new(PrimitiveArray::<T>::new(self.values.into(), self.nulls.finish()))
    }
}

fn one_block<T: Plain>(list: &Bound<'_, PyList>, misfits: &mut Misfits) -> PyResult<ArrayRef> {
    let mut column = PlainColumn::<T>::with_capacity(list.len());
    column.append(list, misfits)?;
    Ok(column.finish())
}

fn raw_float(o: *mut ffi::PyObject) -> Option<f64> {
    // SAFETY: callers hold the GIL and the object is alive.
    let v = unsafe { ffi::PyFloat_AsDouble(o) };
    // SAFETY: the GIL is held.
    (v != -1.0 || unsafe { ffi::PyErr_Occurred() }.is_null()).then_some(v)
}

fn raw_int(o: *mut ffi::PyObject) -> Option<i64> {
    // SAFETY: callers hold the GIL and the object is alive.
    let v = unsafe { ffi::PyLong_AsLongLong(o) };
    // SAFETY: the GIL is held.
    (v != -1 || unsafe { ffi::PyErr_Occurred() }.is_null()).then_some(v)
}

fn float(o: &Bound<'_, PyAny>) -> PyResult<f64> {
    raw_float(o.as_ptr()).ok_or_else(|| PyErr::fetch(o.py()))
}

fn int(o: &Bound<'_, PyAny>) -> PyResult<i64> {
    raw_int(o.as_ptr()).ok_or_else(|| PyErr::fetch(o.py()))
}

fn narrow<T: TryFrom<i64>>(o: &Bound<'_, PyAny>) -> PyResult<T> {
    let v = int(o)?;
    T::try_from(v)
        .map_err(|_| PyOverflowError::new_err(format!("{v} does not fit {}", std::any::type_name::<T>())))
}

fn truth(o: &Bound<'_, PyAny>) -> PyResult<bool> {
    if let Ok(v) = o.cast::<PyBool>() {
        return Ok(v.is_true());
    }
    // NumPy's own class.
    if o.get_type().name().is_ok_and(|n| n == "bool" || n == "bool_") {
        return o.is_truthy();
    }
    Err(expected("a bool", o))
}

/// Text, copied from the strings' own UTF-8.
fn texts(list: &Bound<'_, PyList>) -> PyResult<(ArrayRef, Misfits)> {
    let mut misfits = Misfits::new();
    let mut builder = StringBuilder::with_capacity(list.len(), list.len() * 16);
    let py = list.py();
    for row in 0..list.len() {
        let item = list.get_item(row)?;
        if item.is_none() || is_missing(&item) {
            builder.append_null();
            continue;
        }
        let text = match item.cast::<PyString>() {
            Ok(text) => text.to_str(),
            Err(_) => Err(expected("a str", &item)),
        };
        match text {
            Ok(text) => builder.append_value(text),
            Err(error) => {
                misfits.push((row, failure(py, error, false)));
                builder.append_null();
            }
        }
    }
    Ok((Arc::new(builder.finish()), misfits))
}

/// Lists of one type of item, of `size` items each if it is given.
fn lists(
    list: &Bound<'_, PyList>,
    misfits: &mut Misfits,
    item: &FieldRef,
    size: Option<i32>,
) -> PyResult<ArrayRef> {
    let py = list.py();
    let items_of = &helper(py)?.items_of_list;
    let all = PyList::empty(py);
    let mut lengths: Vec<usize> = Vec::with_capacity(list.len());
    let mut valid: Vec<bool> = Vec::with_capacity(list.len());
    let filler = size.map_or(0, |n| n.max(0) as usize);
    for row in 0..list.len() {
        let value = list.get_item(row)?;
        let items = if value.is_none() || is_missing(&value) {
            Ok(None)
        } else {
            items_of.bind(py).call1((&value,)).and_then(|items| {
                let n = items.len()?;
                if size.is_some() && n != filler {
                    return Err(PyValueError::new_err(format!("expected {filler} items, got {n}")));
                }
                Ok(Some((items, n)))
            })
        };
        let items = items.unwrap_or_else(|error| {
            misfits.push((row, failure(py, error, false)));
            None
        });
        valid.push(items.is_some());
        match items {
            Some((items, n)) => {
                for item in items.try_iter()? {
                    all.append(item?)?;
                }
                lengths.push(n);
            }
            None => {
                for _ in 0..filler {
                    all.append(py.None())?;
                }
                lengths.push(filler);
            }
        }
    }
    let (values, inner) = from_list(&all, item.data_type())?;
    // An item that does not fit is a failure of its row.
    let mut ends = lengths.iter().scan(0, |end, n| {
        *end += n;
        Some(*end)
    });
    let (mut row, mut end) = (0, ends.next().unwrap_or(0));
    for (at, failure) in inner {
        while at >= end {
            row += 1;
            end = match ends.next() {
                Some(end) => end,
                None => break,
            };
        }
        if valid[row] {
            valid[row] = false;
            misfits.push((row, failure));
        }
    }
    misfits.sort_by_key(|(row, _)| *row);
    let nulls = Some(NullBuffer::from(valid)).filter(|n| n.null_count() > 0);
    Ok(match size {
        Some(n) => {
            Arc::new(FixedSizeListArray::try_new(item.clone(), n, values, nulls).map_err(arrow_error)?)
        }
        None => Arc::new(
            ListArray::try_new(item.clone(), OffsetBuffer::from_lengths(lengths), values, nulls)
                .map_err(arrow_error)?,
        ),
    })
}
