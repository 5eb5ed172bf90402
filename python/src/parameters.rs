//! Python values as typed values for a statement's parameters.
//!
//! int is Int64 (UInt64 or a decimal where it does not fit), float Float64, str Utf8, bytes Binary,
//! `Decimal` a decimal of its own precision, the classes of `datetime` their Arrow types in
//! microseconds, a list or tuple a list. Subclasses count (NumPy's float64 is a float). Other objects
//! are asked for `item()`, as NumPy's scalars, `as_py()`, as pyarrow's, or are refused.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::new_empty_array;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field};
use datafusion::common::ScalarValue;
use pyo3::exceptions::{PyOverflowError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyByteArray, PyBytes, PyDict, PyFloat, PyInt, PyList, PyString, PyTuple};

/// Days from the first day of year 1 to 1970.
const DAY_OF_EPOCH: i64 = 719_163;
const MICROS_PER_SECOND: i64 = 1_000_000;

/// Values by position.
pub fn positional(values: &Bound<'_, PyTuple>) -> PyResult<Vec<ScalarValue>> {
    let value = |(i, value): (usize, Bound<'_, PyAny>)| scalar(&value).map_err(|e| at(&value, i + 1, e));
    values.iter().enumerate().map(value).collect()
}

/// Values by name.
pub fn named(values: &Bound<'_, PyDict>) -> PyResult<HashMap<String, ScalarValue>> {
    let value = |(name, value): (Bound<'_, PyAny>, Bound<'_, PyAny>)| {
        let name: String = name.extract()?;
        let value = scalar(&value).map_err(|e| at(&value, &name, e))?;
        Ok((name, value))
    };
    values.iter().map(value).collect()
}

/// Says which parameter it is that has no such value.
fn at(value: &Bound<'_, PyAny>, which: impl std::fmt::Display, error: PyErr) -> PyErr {
    let py = value.py();
    if error.is_instance_of::<PyTypeError>(py) || error.is_instance_of::<PyOverflowError>(py) {
        let text = format!("parameter ${which}: {}", error.value(py));
        return PyErr::from_type(error.get_type(py), text);
    }
    error
}

fn scalar(value: &Bound<'_, PyAny>) -> PyResult<ScalarValue> {
    if value.is_none() {
        return Ok(ScalarValue::Null);
    }
    // bool is an int to Python, so it comes first.
    if let Ok(value) = value.cast::<PyBool>() {
        return Ok(ScalarValue::Boolean(Some(value.is_true())));
    }
    if value.is_instance_of::<PyInt>() {
        return integer(value);
    }
    if let Ok(value) = value.cast::<PyFloat>() {
        return Ok(ScalarValue::Float64(Some(value.value())));
    }
    if value.is_instance_of::<PyString>() {
        return Ok(ScalarValue::Utf8(Some(value.extract()?)));
    }
    if value.is_instance_of::<PyBytes>() || value.is_instance_of::<PyByteArray>() {
        return Ok(ScalarValue::Binary(Some(value.extract()?)));
    }
    if value.is_instance_of::<PyList>() || value.is_instance_of::<PyTuple>() {
        return list(value);
    }
    if let Some(value) = moment(value)? {
        return Ok(value);
    }
    if value.is_instance(&value.py().import("decimal")?.getattr("Decimal")?)? {
        return decimal(value);
    }
    for method in ["item", "as_py"] {
        if value.hasattr(method)? {
            let plain = value.call_method0(method)?;
            // NumPy gives longdouble back as itself.
            if !plain.get_type().is(value.get_type()) {
                return scalar(&plain);
            }
        }
    }
    if value.is_instance(&value.py().import("uuid")?.getattr("UUID")?)? {
        return Ok(ScalarValue::Utf8(Some(value.str()?.extract()?)));
    }
    Err(PyTypeError::new_err(format!(
        "a value of type {} is no SQL value",
        value.get_type().fully_qualified_name()?
    )))
}

fn integer(value: &Bound<'_, PyAny>) -> PyResult<ScalarValue> {
    if let Ok(value) = value.extract::<i64>() {
        return Ok(ScalarValue::Int64(Some(value)));
    }
    if let Ok(value) = value.extract::<u64>() {
        return Ok(ScalarValue::UInt64(Some(value)));
    }
    let text: String = value.str()?.extract()?;
    from_digits(&text, 0)
}

fn decimal(value: &Bound<'_, PyAny>) -> PyResult<ScalarValue> {
    // A sign, digits, and the power of ten of the last of them; a letter for NaN and infinity.
    let parts = value.call_method0("as_tuple")?.cast_into::<PyTuple>()?;
    let exponent: i32 = parts
        .get_item(2)?
        .extract()
        .map_err(|_| PyTypeError::new_err(format!("the decimal {value} is no SQL value")))?;
    let negative: u8 = parts.get_item(0)?.extract()?;
    let digits: Vec<u8> = parts.get_item(1)?.extract()?;
    let mut text: String = digits.iter().map(|digit| char::from(b'0' + digit)).collect();
    for _ in 0..exponent.clamp(0, 100) {
        text.push('0');
    }
    let scale = usize::try_from(-exponent).unwrap_or(0);
    while text.len() < scale {
        text.insert(0, '0');
    }
    if negative == 1 {
        text.insert(0, '-');
    }
    from_digits(&text, scale)
}

/// A decimal of an integer's digits, the last `scale` of them after the point.
fn from_digits(text: &str, scale: usize) -> PyResult<ScalarValue> {
    let digits = text.trim_start_matches('-').trim_start_matches('0').len().max(scale).max(1);
    let too_long = || PyOverflowError::new_err(format!("{digits} digits do not fit into a number of SQL"));
    let (precision, scale) =
        (u8::try_from(digits).map_err(|_| too_long())?, i8::try_from(scale).map_err(|_| too_long())?);
    if precision <= 38 {
        let value: i128 = text.parse().map_err(|_| too_long())?;
        return Ok(ScalarValue::Decimal128(Some(value), precision, scale));
    }
    let value = arrow::datatypes::i256::from_string(text).ok_or_else(too_long)?;
    if precision > 76 {
        return Err(too_long());
    }
    Ok(ScalarValue::Decimal256(Some(value), precision, scale))
}

/// A value of one of the classes of `datetime`.
fn moment(value: &Bound<'_, PyAny>) -> PyResult<Option<ScalarValue>> {
    let module = value.py().import("datetime")?;
    let is = |class: &str| value.is_instance(&module.getattr(class)?);
    // Every datetime is a date, so it comes first.
    if is("datetime")? {
        let part = |name: &str| value.getattr(name)?.extract::<i64>();
        let days = value.call_method0("toordinal")?.extract::<i64>()? - DAY_OF_EPOCH;
        let seconds = days * 86_400 + part("hour")? * 3600 + part("minute")? * 60 + part("second")?;
        let micros = seconds * MICROS_PER_SECOND + part("microsecond")?;
        let offset = value.call_method0("utcoffset")?;
        if offset.is_none() {
            return Ok(Some(ScalarValue::TimestampMicrosecond(Some(micros), None)));
        }
        let micros = micros - duration(&offset)?;
        return Ok(Some(ScalarValue::TimestampMicrosecond(Some(micros), Some("UTC".into()))));
    }
    if is("date")? {
        let days = value.call_method0("toordinal")?.extract::<i64>()? - DAY_OF_EPOCH;
        return Ok(Some(ScalarValue::Date32(Some(days as i32))));
    }
    if is("timedelta")? {
        return Ok(Some(ScalarValue::DurationMicrosecond(Some(duration(value)?))));
    }
    if is("time")? {
        let part = |name: &str| value.getattr(name)?.extract::<i64>();
        let seconds = part("hour")? * 3600 + part("minute")? * 60 + part("second")?;
        let micros = seconds * MICROS_PER_SECOND + part("microsecond")?;
        return Ok(Some(ScalarValue::Time64Microsecond(Some(micros))));
    }
    Ok(None)
}

/// The microseconds of a timedelta.
fn duration(value: &Bound<'_, PyAny>) -> PyResult<i64> {
    let part = |name: &str| value.getattr(name)?.extract::<i64>();
    let seconds = part("days")? * 86_400 + part("seconds")?;
    seconds
        .checked_mul(MICROS_PER_SECOND)
        .and_then(|micros| micros.checked_add(part("microseconds").ok()?))
        .ok_or_else(|| PyOverflowError::new_err(format!("{value} does not fit into 64 bits of microseconds")))
}

/// A list, its items in the type that all of them have.
fn list(value: &Bound<'_, PyAny>) -> PyResult<ScalarValue> {
    let items = value.try_iter()?.map(|item| scalar(&item?)).collect::<PyResult<Vec<_>>>()?;
    let mut item_type = DataType::Null;
    for item in &items {
        item_type = common_type(&item_type, &item.data_type()).ok_or_else(|| {
            PyTypeError::new_err(format!("a list of {item_type} and {} is no SQL value", item.data_type()))
        })?;
    }
    let arrow_error = |e: &dyn std::fmt::Display| PyTypeError::new_err(e.to_string());
    let values = if items.is_empty() {
        new_empty_array(&item_type)
    } else {
        let arrays = items
            .iter()
            .map(|item| {
                cast(&item.to_array().map_err(|e| arrow_error(&e))?, &item_type).map_err(|e| arrow_error(&e))
            })
            .collect::<PyResult<Vec<_>>>()?;
        let arrays: Vec<_> = arrays.iter().map(AsRef::as_ref).collect();
        arrow::compute::concat(&arrays).map_err(|e| arrow_error(&e))?
    };
    let field = Arc::new(Field::new_list_field(item_type, true));
    let offsets = arrow::buffer::OffsetBuffer::from_lengths([values.len()]);
    let list = arrow::array::ListArray::try_new(field, offsets, values, None).map_err(|e| arrow_error(&e))?;
    Ok(ScalarValue::List(Arc::new(list)))
}

fn common_type(a: &DataType, b: &DataType) -> Option<DataType> {
    use DataType::{Float64, Int64, Null, UInt64};
    Some(match (a, b) {
        (a, b) if a == b => a.clone(),
        (Null, other) | (other, Null) => other.clone(),
        (Int64 | UInt64, Float64) | (Float64, Int64 | UInt64) => Float64,
        (DataType::Decimal128(p, s), DataType::Decimal128(q, t)) => {
            let scale = *s.max(t);
            let whole = (*p as i8 - s).max(*q as i8 - t);
            DataType::Decimal128(u8::try_from(whole + scale).ok().filter(|p| *p <= 38)?, scale)
        }
        _ => return None,
    })
}
