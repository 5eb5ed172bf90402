//! Rows as tuples of Python values.
//!
//! Decimals become `decimal.Decimal`, dates and times the classes of `datetime` (nanoseconds are
//! rounded down to microseconds), lists `list`, structs `dict`, maps a list of pairs. A type without
//! a counterpart in Python (intervals of months) becomes its text.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Date32Type, Date64Type, DurationMicrosecondType, Float16Type, Float32Type, Float64Type,
    Int8Type, Int16Type, Int32Type, Int64Type, Time64MicrosecondType, TimeUnit, TimestampMicrosecondType,
    UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow::error::ArrowError;
use arrow::util::display::array_value_to_string;
use pyo3::IntoPyObjectExt;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyDict, PyList, PyTuple};

use crate::error::Error;

const DAY_OF_EPOCH: i64 = 719_163;
const MICROS_PER_SECOND: i64 = 1_000_000;
const MILLIS_PER_DAY: i64 = 86_400_000;

/// Appends the rows of `batch` to `list`.
pub fn push_rows(list: &Bound<'_, PyList>, batch: &RecordBatch) -> PyResult<()> {
    let py = list.py();
    let columns = batch.columns().iter().map(prepare).collect::<PyResult<Vec<_>>>()?;
    for row in 0..batch.num_rows() {
        let values = columns.iter().map(|column| value(py, column, row)).collect::<PyResult<Vec<_>>>()?;
        list.append(PyTuple::new(py, values)?)?;
    }
    Ok(())
}

fn arrow_error(error: ArrowError) -> PyErr {
    Error::new_err(format!("cannot make Python values: {error}"))
}

/// The array with fewer kinds of types: dictionaries resolved, one string type, times in
/// microseconds. Lists and structs do this when their items are visited.
fn prepare(array: &ArrayRef) -> PyResult<ArrayRef> {
    let target = match array.data_type() {
        DataType::Dictionary(_, values) => values.as_ref().clone(),
        DataType::RunEndEncoded(_, values) => values.data_type().clone(),
        DataType::LargeUtf8 | DataType::Utf8View => DataType::Utf8,
        DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => DataType::Binary,
        DataType::Timestamp(unit, zone) if *unit != TimeUnit::Microsecond => {
            DataType::Timestamp(TimeUnit::Microsecond, zone.clone())
        }
        DataType::Time32(_) | DataType::Time64(TimeUnit::Nanosecond) => {
            DataType::Time64(TimeUnit::Microsecond)
        }
        DataType::Duration(unit) if *unit != TimeUnit::Microsecond => {
            DataType::Duration(TimeUnit::Microsecond)
        }
        _ => return Ok(array.clone()),
    };
    let array = cast(array, &target).map_err(arrow_error)?;
    prepare(&array)
}

fn value(py: Python<'_>, array: &ArrayRef, row: usize) -> PyResult<Py<PyAny>> {
    if array.is_null(row) || array.data_type() == &DataType::Null {
        return Ok(py.None());
    }
    match array.data_type() {
        DataType::Boolean => array.as_boolean().value(row).into_py_any(py),
        DataType::Int8 => array.as_primitive::<Int8Type>().value(row).into_py_any(py),
        DataType::Int16 => array.as_primitive::<Int16Type>().value(row).into_py_any(py),
        DataType::Int32 => array.as_primitive::<Int32Type>().value(row).into_py_any(py),
        DataType::Int64 => array.as_primitive::<Int64Type>().value(row).into_py_any(py),
        DataType::UInt8 => array.as_primitive::<UInt8Type>().value(row).into_py_any(py),
        DataType::UInt16 => array.as_primitive::<UInt16Type>().value(row).into_py_any(py),
        DataType::UInt32 => array.as_primitive::<UInt32Type>().value(row).into_py_any(py),
        DataType::UInt64 => array.as_primitive::<UInt64Type>().value(row).into_py_any(py),
        DataType::Float16 => f32::from(array.as_primitive::<Float16Type>().value(row)).into_py_any(py),
        DataType::Float32 => array.as_primitive::<Float32Type>().value(row).into_py_any(py),
        DataType::Float64 => array.as_primitive::<Float64Type>().value(row).into_py_any(py),
        DataType::Utf8 => array.as_string::<i32>().value(row).into_py_any(py),
        DataType::Binary => Ok(PyBytes::new(py, array.as_binary::<i32>().value(row)).into_any().unbind()),
        DataType::Decimal32(_, _)
        | DataType::Decimal64(_, _)
        | DataType::Decimal128(_, _)
        | DataType::Decimal256(_, _) => {
            let text = array_value_to_string(array, row).map_err(arrow_error)?;
            class(py, &DECIMAL, "decimal", "Decimal")?.call1((text,)).map(Bound::unbind)
        }
        DataType::Date32 => date(py, array.as_primitive::<Date32Type>().value(row).into()),
        DataType::Date64 => {
            let millis = array.as_primitive::<Date64Type>().value(row);
            date(py, millis.div_euclid(MILLIS_PER_DAY))
        }
        DataType::Time64(_) => time(py, array.as_primitive::<Time64MicrosecondType>().value(row)),
        DataType::Timestamp(_, zone) => {
            let micros = array.as_primitive::<TimestampMicrosecondType>().value(row);
            timestamp(py, micros, zone.as_deref())
        }
        DataType::Duration(_) => {
            let micros = array.as_primitive::<DurationMicrosecondType>().value(row);
            timedelta(py, micros).map(Bound::unbind)
        }
        DataType::List(_) => list(py, &array.as_list::<i32>().value(row)),
        DataType::LargeList(_) => list(py, &array.as_list::<i64>().value(row)),
        DataType::FixedSizeList(_, _) => list(py, &array.as_fixed_size_list().value(row)),
        DataType::Struct(fields) => {
            let dict = PyDict::new(py);
            for (field, column) in fields.iter().zip(array.as_struct().columns()) {
                // One row at a time: a slice keeps `prepare` from converting the whole column.
                let item = prepare(&column.slice(row, 1))?;
                dict.set_item(field.name(), value(py, &item, 0)?)?;
            }
            Ok(dict.into_any().unbind())
        }
        DataType::Map(_, _) => {
            let entries = array.as_map().value(row);
            let keys = prepare(entries.column(0))?;
            let values = prepare(entries.column(1))?;
            let pairs = (0..entries.len())
                .map(|i| Ok((value(py, &keys, i)?, value(py, &values, i)?)))
                .collect::<PyResult<Vec<_>>>()?;
            pairs.into_py_any(py)
        }
        _ => array_value_to_string(array, row).map_err(arrow_error)?.into_py_any(py),
    }
}

fn list(py: Python<'_>, items: &ArrayRef) -> PyResult<Py<PyAny>> {
    let items = prepare(items)?;
    let values = (0..items.len()).map(|i| value(py, &items, i)).collect::<PyResult<Vec<_>>>()?;
    values.into_py_any(py)
}

static DECIMAL: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
static DATE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
static TIME: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
static DATETIME: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
static TIMEDELTA: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
static ZONE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
static UTC: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

/// A class of Python's library, looked up once.
fn class<'py>(
    py: Python<'py>,
    cell: &'static PyOnceLock<Py<PyAny>>,
    module: &str,
    name: &str,
) -> PyResult<&'py Bound<'py, PyAny>> {
    cell.get_or_try_init(py, || py.import(module)?.getattr(name).map(Bound::unbind))
        .map(|class| class.bind(py))
}

fn date(py: Python<'_>, days: i64) -> PyResult<Py<PyAny>> {
    let date = class(py, &DATE, "datetime", "date")?;
    date.call_method1("fromordinal", (days + DAY_OF_EPOCH,)).map(Bound::unbind)
}

fn time(py: Python<'_>, micros: i64) -> PyResult<Py<PyAny>> {
    let seconds = micros / MICROS_PER_SECOND;
    let parts = (seconds / 3600, seconds / 60 % 60, seconds % 60, micros % MICROS_PER_SECOND);
    class(py, &TIME, "datetime", "time")?.call1(parts).map(Bound::unbind)
}

fn timedelta(py: Python<'_>, micros: i64) -> PyResult<Bound<'_, PyAny>> {
    // Days, seconds, microseconds.
    class(py, &TIMEDELTA, "datetime", "timedelta")?.call1((0, 0, micros))
}

fn timestamp(py: Python<'_>, micros: i64, zone: Option<&str>) -> PyResult<Py<PyAny>> {
    let datetime = class(py, &DATETIME, "datetime", "datetime")?;
    let Some(zone) = zone else {
        return datetime.call1((1970, 1, 1))?.add(timedelta(py, micros)?).map(Bound::unbind);
    };
    let timezone = class(py, &UTC, "datetime", "timezone")?;
    let utc = timezone.getattr("utc")?;
    let epoch = datetime.call1((1970, 1, 1, 0, 0, 0, 0, &utc))?;
    let moment = epoch.add(timedelta(py, micros)?)?;
    let place = match fixed_offset(zone) {
        Some(0) => utc,
        Some(minutes) => timezone.call1((timedelta(py, minutes * 60 * MICROS_PER_SECOND)?,))?,
        None => class(py, &ZONE, "zoneinfo", "ZoneInfo")?.call1((zone,))?,
    };
    moment.call_method1("astimezone", (place,)).map(Bound::unbind)
}

/// The minutes of a zone such as "+02:00"; none for a zone with a name.
fn fixed_offset(zone: &str) -> Option<i64> {
    if zone.eq_ignore_ascii_case("utc") || zone.eq_ignore_ascii_case("z") {
        return Some(0);
    }
    let (sign, digits) = match zone.strip_prefix('+') {
        Some(rest) => (1, rest),
        None => (-1, zone.strip_prefix('-')?),
    };
    let digits: String = digits.chars().filter(|c| *c != ':').collect();
    if digits.len() < 2 || !digits.chars().all(|c| c.is_ascii_digit()) {
        return None;
    }
    let hours: i64 = digits[..2].parse().ok()?;
    let minutes: i64 = if digits.len() >= 4 { digits[2..4].parse().ok()? } else { 0 };
    Some(sign * (hours * 60 + minutes))
}
