//! NumPy arrays as columns, through `__array_interface__`: the address, type, shape and strides of the
//! memory. Nothing here needs NumPy itself.
//!
//! Contiguous numbers become Arrow arrays over the same memory. What needs another form (strides, bools
//! of a byte, NaT, days) is read chunk by chunk when it is scanned.
//!
//! The Python object that owns the memory is kept, so NumPy does not move or free it. Its values may
//! change while a query runs, as with any view in NumPy; a query then sees old or new values.

use std::panic::AssertUnwindSafe;
use std::ptr::NonNull;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, FixedSizeListArray, make_array};
use arrow::buffer::{BooleanBuffer, Buffer, MutableBuffer, NullBuffer};
use arrow::datatypes::{DataType, Field, TimeUnit};
use arrow::error::ArrowError;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use super::table::Column;

/// A one-dimensional array, or a two-dimensional one whose rows are lists of a fixed size.
pub struct NumpyArray {
    owner: Arc<Owner>,
    data: *const u8,
    rows: usize,
    /// Bytes from one row to the next.
    row_stride: isize,
    /// Items in a row and the bytes from one to the next, for a two-dimensional array.
    row_items: Option<(usize, isize)>,
    item: Item,
    /// All of the memory, if it is contiguous. Chunks are slices of it, and so known to adjoin.
    whole: Option<Buffer>,
}

// SAFETY: `data` points into memory that `owner` keeps; it is only read.
unsafe impl Send for NumpyArray {}
// SAFETY: as above.
unsafe impl Sync for NumpyArray {}

/// Keeps the memory of an array. Dropped without the GIL, the reference is given back by whoever holds
/// the GIL next.
struct Owner {
    // Nothing is ever done with the object, so no panic can leave it half done.
    _object: AssertUnwindSafe<Py<PyAny>>,
}

/// What an item is in NumPy, and what it becomes.
#[derive(Clone, Debug)]
enum Item {
    /// The same bytes in both.
    Number(DataType),
    /// A byte; a bit in Arrow.
    Bool,
    /// 64 bits, of which the smallest value is NaT.
    Moment(DataType),
    /// Days in 64 bits, or NaT; 32 bits in Arrow.
    Day,
}

impl Item {
    /// The item of a type as `__array_interface__` spells it; `None` for one that is not known here.
    fn parse(text: &str) -> Option<Item> {
        let (order, kind) = text.split_at_checked(1)?;
        let native = if cfg!(target_endian = "little") { "<" } else { ">" };
        if order != "|" && order != native {
            return None;
        }
        let moment = |unit: &str| {
            Some(match unit {
                "[s]" => TimeUnit::Second,
                "[ms]" => TimeUnit::Millisecond,
                "[us]" => TimeUnit::Microsecond,
                "[ns]" => TimeUnit::Nanosecond,
                _ => return None,
            })
        };
        Some(match kind {
            "b1" => Item::Bool,
            "i1" => Item::Number(DataType::Int8),
            "i2" => Item::Number(DataType::Int16),
            "i4" => Item::Number(DataType::Int32),
            "i8" => Item::Number(DataType::Int64),
            "u1" => Item::Number(DataType::UInt8),
            "u2" => Item::Number(DataType::UInt16),
            "u4" => Item::Number(DataType::UInt32),
            "u8" => Item::Number(DataType::UInt64),
            "f2" => Item::Number(DataType::Float16),
            "f4" => Item::Number(DataType::Float32),
            "f8" => Item::Number(DataType::Float64),
            "M8[D]" => Item::Day,
            _ => {
                if let Some(unit) = kind.strip_prefix("M8") {
                    Item::Moment(DataType::Timestamp(moment(unit)?, None))
                } else {
                    Item::Moment(DataType::Duration(moment(kind.strip_prefix("m8")?)?))
                }
            }
        })
    }

    fn data_type(&self) -> DataType {
        match self {
            Item::Number(data_type) | Item::Moment(data_type) => data_type.clone(),
            Item::Bool => DataType::Boolean,
            Item::Day => DataType::Date32,
        }
    }

    /// Bytes in NumPy.
    fn size(&self) -> usize {
        match self {
            Item::Number(data_type) => data_type.primitive_width().unwrap_or(1),
            Item::Bool => 1,
            Item::Moment(_) | Item::Day => 8,
        }
    }
}

impl NumpyArray {
    /// Takes an array; `None` for an object that is none. A zone for its times may lie in an attribute
    /// `zone` of a wrapper with the array in `values`.
    ///
    /// # Errors
    /// TypeError for a type or shape that no column can have.
    pub fn import(name: &str, object: &Bound<'_, PyAny>) -> PyResult<Option<NumpyArray>> {
        let zone: Option<String> = match object.getattr("zone") {
            Ok(zone) => zone.extract()?,
            Err(_) => None,
        };
        let values = if zone.is_some() { object.getattr("values")? } else { object.clone() };
        let Ok(interface) = values.getattr("__array_interface__") else {
            return Ok(None);
        };
        let interface = interface.cast_into::<PyDict>()?;
        let entry = |key: &str| interface.get_item(key);
        let required = |key: &str| {
            entry(key)?.ok_or_else(|| PyTypeError::new_err(format!("column '{name}': no {key} of an array")))
        };
        let typestr: String = required("typestr")?.extract()?;
        let shape: Vec<usize> = required("shape")?.extract()?;
        let data: usize = required("data")?.cast_into::<PyTuple>()?.get_item(0)?.extract()?;
        let Some(mut item) = Item::parse(&typestr) else {
            return Err(PyTypeError::new_err(format!(
                "column '{name}' has the NumPy type {typestr}, which no column can have"
            )));
        };
        if let (Some(zone), Item::Moment(DataType::Timestamp(_, place))) = (zone, &mut item) {
            *place = Some(zone.into());
        }
        let size = item.size() as isize;
        let (rows, items) = match shape[..] {
            [rows] => (rows, None),
            [rows, items] => (rows, Some(items)),
            _ => {
                return Err(PyTypeError::new_err(format!(
                    "column '{name}' has {} dimensions; a column has one, or two for lists of a fixed size",
                    shape.len()
                )));
            }
        };
        let strides: Option<Vec<isize>> = match entry("strides")? {
            Some(strides) if !strides.is_none() => Some(strides.extract()?),
            Some(_) | None => None,
        };
        let (row_stride, row_items) = match (strides.as_deref(), items) {
            (Some([row]), None) => (*row, None),
            (Some([row, item]), Some(items)) => (*row, Some((items, *item))),
            (_, None) => (size, None),
            (_, Some(items)) => (size * items as isize, Some((items, size))),
        };
        let mut array = NumpyArray {
            owner: Arc::new(Owner { _object: AssertUnwindSafe(values.clone().unbind()) }),
            data: data as *const u8,
            rows,
            row_stride,
            row_items,
            item,
            whole: None,
        };
        array.whole = array.contiguous().then(|| array.all_items());
        Ok(Some(array))
    }

    /// As a column: Arrow data if the memory has its form already.
    pub fn into_column(self) -> Column {
        match (&self.item, self.whole.is_some()) {
            (Item::Number(_), true) => Column::Arrow(self.data_type(), vec![self.read_all()]),
            (Item::Number(_) | Item::Bool | Item::Moment(_) | Item::Day, _) => Column::Numpy(self),
        }
    }

    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The type in Arrow.
    pub fn data_type(&self) -> DataType {
        match self.row_items {
            None => self.item.data_type(),
            Some((items, _)) => DataType::FixedSizeList(self.list_field(), items as i32),
        }
    }

    fn list_field(&self) -> Arc<Field> {
        Arc::new(Field::new_list_field(self.item.data_type(), true))
    }

    /// Whether the items follow each other without gaps, aligned as their type needs it.
    fn contiguous(&self) -> bool {
        let size = self.item.size();
        let dense = match self.row_items {
            None => self.row_stride == size as isize,
            Some((items, stride)) => {
                (stride == size as isize || items <= 1) && self.row_stride == (size * items) as isize
            }
        };
        (dense || self.rows == 0) && (self.data as usize).is_multiple_of(size)
    }

    fn read_all(&self) -> ArrayRef {
        let items = self.row_items.map_or(1, |(items, _)| items);
        let values = self.number(self.bytes(0, self.rows), self.rows * items);
        self.in_rows(values, self.rows)
    }

    /// Rows as an Arrow array; copied only where the memory does not have that form.
    ///
    /// # Errors
    /// For a day that does not fit into 32 bits.
    pub fn read(&self, start: usize, rows: usize) -> Result<ArrayRef, ArrowError> {
        let items = self.row_items.map_or(1, |(items, _)| items);
        let count = rows * items;
        let bytes = || self.bytes(start, rows);
        let values = match &self.item {
            Item::Number(_) => self.number(bytes(), count),
            Item::Bool => {
                let bytes = bytes();
                Arc::new(BooleanArray::new(BooleanBuffer::collect_bool(count, |i| bytes[i] != 0), None))
            }
            Item::Moment(data_type) => {
                let bytes = bytes();
                let values = bytes.typed_data::<i64>();
                let nulls = not_a_time(values);
                let data = arrow::array::ArrayData::builder(data_type.clone())
                    .len(count)
                    .nulls(nulls)
                    .add_buffer(bytes.clone())
                    .build()?;
                make_array(data)
            }
            Item::Day => {
                let bytes = bytes();
                let values = bytes.typed_data::<i64>();
                let nulls = not_a_time(values);
                let mut days = Vec::with_capacity(count);
                for day in values {
                    days.push(match i32::try_from(*day) {
                        Ok(day) => day,
                        Err(_) if *day == i64::MIN => 0,
                        Err(_) => {
                            return Err(ArrowError::CastError(format!(
                                "a date {day} days from 1970 does not fit into a column of dates"
                            )));
                        }
                    });
                }
                Arc::new(arrow::array::Date32Array::try_new(days.into(), nulls)?)
            }
        };
        Ok(self.in_rows(values, rows))
    }

    fn in_rows(&self, values: ArrayRef, rows: usize) -> ArrayRef {
        match self.row_items {
            None => values,
            Some((items, _)) => {
                let size = items as i32;
                let list =
                    FixedSizeListArray::try_new_with_length(self.list_field(), size, values, None, rows);
                // The values are rows * items of the field's type.
                Arc::new(list.expect("the values of a two-dimensional array fill its rows"))
            }
        }
    }

    fn number(&self, bytes: Buffer, count: usize) -> ArrayRef {
        let data =
            arrow::array::ArrayData::builder(self.item.data_type()).len(count).add_buffer(bytes).build();
        // Aligned, and as long as count says.
        make_array(data.expect("numbers of NumPy are numbers of Arrow"))
    }

    /// The memory of a contiguous array.
    fn all_items(&self) -> Buffer {
        let bytes = self.rows * self.row_items.map_or(1, |(items, _)| items) * self.item.size();
        match NonNull::new(self.data.cast_mut()) {
            Some(start) if bytes > 0 => {
                // SAFETY: `__array_interface__` says that the memory from `data` on holds rows * items
                // items, and strides that they have no gaps; `owner` keeps it.
                unsafe { Buffer::from_custom_allocation(start, bytes, Arc::clone(&self.owner) as _) }
            }
            Some(_) | None => Buffer::from(MutableBuffer::new(0)),
        }
    }

    /// The items of some rows: where they lie, or copied together if there are gaps.
    fn bytes(&self, start: usize, rows: usize) -> Buffer {
        let row_bytes = self.row_items.map_or(1, |(items, _)| items) * self.item.size();
        match &self.whole {
            Some(whole) => whole.slice_with_length(start * row_bytes, rows * row_bytes),
            None => self.gather(start, rows),
        }
    }

    fn gather(&self, start: usize, rows: usize) -> Buffer {
        match self.item.size() {
            1 => self.gather_items::<u8>(start, rows),
            2 => self.gather_items::<u16>(start, rows),
            4 => self.gather_items::<u32>(start, rows),
            _ => self.gather_items::<u64>(start, rows),
        }
    }

    fn gather_items<T: arrow::datatypes::ArrowNativeType>(&self, start: usize, rows: usize) -> Buffer {
        let (items, item_stride) = self.row_items.unwrap_or((1, 0));
        let mut out: Vec<T> = Vec::with_capacity(rows * items);
        for row in start..start + rows {
            let row = self.data.wrapping_offset(row as isize * self.row_stride);
            for item in 0..items {
                let at = row.wrapping_offset(item as isize * item_stride).cast::<T>();
                // SAFETY: row and item are within the shape, so the strides lead to an item of this size
                // in memory that `owner` keeps. It need not be aligned.
                out.push(unsafe { at.read_unaligned() });
            }
        }
        Buffer::from_vec(out)
    }
}

/// Which values are not NaT; `None` if none is.
fn not_a_time(values: &[i64]) -> Option<NullBuffer> {
    values
        .contains(&i64::MIN)
        .then(|| NullBuffer::new(BooleanBuffer::collect_bool(values.len(), |i| values[i] != i64::MIN)))
}

impl std::fmt::Debug for NumpyArray {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NumpyArray").field("rows", &self.rows).field("item", &self.item).finish()
    }
}
