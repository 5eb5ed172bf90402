//! One column of one partition of a result, on its way into NumPy's form.
//!
//! ```text
//! batches:   |0000|1111|2222|          each a piece of Arrow memory
//! View:      slices of one array, one behind the other: nothing is copied
//! Placed:    the rows' final place is known: copied there at once
//! Grown:     it is not: copied into a region of the partition's own
//! Kept:      no form of numbers (strings, lists, decimals): pyarrow converts it later
//! ```
//!
//! A column starts as a view and stays one while its batches follow each other in memory. That is so
//! for a column that a query hands on as it was registered, and for a result of one batch.
//!
//! Nulls: among floats and times there is a value for them (NaN, NaT), which is written when a batch is
//! copied. For integers and bools a bitmap is kept beside.

use std::ptr;
use std::sync::{Arc, OnceLock};

use arrow::array::{Array, ArrayData, ArrayRef, AsArray, BooleanBufferBuilder};
use arrow::buffer::{Buffer, NullBuffer};
use arrow::compute::cast;
use arrow::datatypes::{DataType, TimeUnit};

use super::region::{OutOfMemory, Region};

/// What a value is in NumPy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item {
    Int(&'static str),
    Float(&'static str),
    /// A byte.
    Bool,
    /// 64 bits, the smallest value is NaT.
    Moment(&'static str),
    /// Days in 64 bits.
    Day,
}

impl Item {
    /// As `__array_interface__` spells it, without the byte order.
    pub fn typestr(self) -> &'static str {
        match self {
            Item::Int(text) | Item::Float(text) | Item::Moment(text) => text,
            Item::Bool => "b1",
            Item::Day => "M8[D]",
        }
    }

    /// Bytes.
    pub fn size(self) -> usize {
        match self {
            Item::Int(text) | Item::Float(text) => usize::from(text.as_bytes()[1] - b'0'),
            Item::Bool => 1,
            Item::Moment(_) | Item::Day => 8,
        }
    }

    /// Whether Arrow has the same bytes, nulls aside.
    fn is_as_in_arrow(self) -> bool {
        match self {
            Item::Int(_) | Item::Float(_) | Item::Moment(_) => true,
            Item::Bool | Item::Day => false,
        }
    }

    fn of(data_type: &DataType) -> Option<Item> {
        Some(match data_type {
            DataType::Int8 => Item::Int("i1"),
            DataType::Int16 => Item::Int("i2"),
            DataType::Int32 => Item::Int("i4"),
            DataType::Int64 => Item::Int("i8"),
            DataType::UInt8 => Item::Int("u1"),
            DataType::UInt16 => Item::Int("u2"),
            DataType::UInt32 => Item::Int("u4"),
            DataType::UInt64 => Item::Int("u8"),
            DataType::Float16 => Item::Float("f2"),
            DataType::Float32 => Item::Float("f4"),
            DataType::Float64 => Item::Float("f8"),
            DataType::Boolean => Item::Bool,
            DataType::Timestamp(TimeUnit::Second, None) => Item::Moment("M8[s]"),
            DataType::Timestamp(TimeUnit::Millisecond, None) => Item::Moment("M8[ms]"),
            DataType::Timestamp(TimeUnit::Microsecond, None) => Item::Moment("M8[us]"),
            DataType::Timestamp(TimeUnit::Nanosecond, None) => Item::Moment("M8[ns]"),
            DataType::Duration(TimeUnit::Second) => Item::Moment("m8[s]"),
            DataType::Duration(TimeUnit::Millisecond) => Item::Moment("m8[ms]"),
            DataType::Duration(TimeUnit::Microsecond) => Item::Moment("m8[us]"),
            DataType::Duration(TimeUnit::Nanosecond) => Item::Moment("m8[ns]"),
            _ => return None,
        })
    }
}

/// How a column lies in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    pub item: Item,
    /// Items in a row, for lists of a fixed size.
    pub items: Option<usize>,
}

impl Shape {
    /// The shape of a type, or `None` if it has no form of numbers. `numpy` asks for the forms that
    /// pandas has not: dates as days, lists as rows of a matrix.
    pub fn of(data_type: &DataType, numpy: bool) -> Option<Shape> {
        match data_type {
            DataType::FixedSizeList(field, items) if numpy => {
                let item = Item::of(field.data_type())?;
                Some(Shape { item, items: Some(usize::try_from(*items).ok()?) })
            }
            DataType::Date32 if numpy => Some(Shape { item: Item::Day, items: None }),
            other => Some(Shape { item: Item::of(other)?, items: None }),
        }
    }

    /// Bytes of a row.
    pub fn row_bytes(self) -> usize {
        self.item.size() * self.items.unwrap_or(1)
    }
}

/// The final memory of a column, when it is known how long it is. Made when it is first needed.
#[derive(Debug)]
pub struct Destination {
    bytes: usize,
    region: OnceLock<Region>,
}

impl Destination {
    pub fn new(bytes: usize) -> Destination {
        Destination { bytes, region: OnceLock::new() }
    }

    fn start(&self) -> Result<*mut u8, OutOfMemory> {
        if self.region.get().is_none() {
            // Two partitions may both make one; the second is dropped, untouched.
            let _ = self.region.set(Region::with_length(self.bytes)?);
        }
        Ok(self.region.get().map_or(ptr::null_mut(), |region| region.start().as_ptr()))
    }

    /// The region, if any partition has written to it.
    pub fn into_region(self) -> Option<Region> {
        self.region.into_inner()
    }

    /// Copies bytes to a place.
    pub fn write(&self, at: usize, bytes: &[u8]) -> Result<(), OutOfMemory> {
        assert!(at + bytes.len() <= self.bytes, "a partition has more rows than it said");
        let start = self.start()?;
        // SAFETY: the place lies within the region, and no two partitions write to the same one.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), start.add(at), bytes.len()) };
        Ok(())
    }
}

/// Consecutive bytes of memory that somebody owns.
#[derive(Debug)]
pub struct View {
    /// The first piece; it keeps all of the memory.
    first: Buffer,
    bytes: usize,
}

impl View {
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: the view was put together from buffers of one allocation, each of which began where
        // the one before ended.
        unsafe { std::slice::from_raw_parts(self.first.as_ptr(), self.bytes) }
    }

    /// Adds `next` if it follows, in the same allocation.
    pub fn extend(&mut self, next: &Buffer) -> bool {
        let end = self.first.as_ptr() as usize + self.bytes;
        if next.data_ptr() != self.first.data_ptr() || next.as_ptr() as usize != end {
            return false;
        }
        self.bytes += next.len();
        true
    }

    /// Whether both look into the same allocation.
    pub fn is_of_one_array_with(&self, other: &View) -> bool {
        self.first.data_ptr() == other.first.data_ptr()
    }

    /// Adds what another partition has, if it follows.
    pub fn join(&mut self, next: &View) -> bool {
        let end = self.first.as_ptr() as usize + self.bytes;
        if next.first.data_ptr() != self.first.data_ptr() || next.first.as_ptr() as usize != end {
            return false;
        }
        self.bytes += next.bytes;
        true
    }

    /// Its memory, if it is all in the one buffer.
    pub fn into_buffer(self) -> Result<Buffer, View> {
        if self.first.len() == self.bytes { Ok(self.first) } else { Err(self) }
    }
}

/// Where the rows of a partition's column are.
#[derive(Debug)]
pub enum Rows {
    None,
    View(View),
    /// In the destination.
    Placed,
    Grown(Region),
    Kept(Vec<ArrayRef>),
}

/// One column of one partition.
#[derive(Debug)]
pub struct ColumnPart {
    /// `None`: the arrays are kept.
    shape: Option<Shape>,
    /// The final memory, and the first byte of this partition in it.
    destination: Option<(Arc<Destination>, usize)>,
    pub rows: Rows,
    /// Bytes so far.
    pub bytes: usize,
    /// Which items are valid; made with the first null.
    pub validity: Option<BooleanBufferBuilder>,
}

impl ColumnPart {
    pub fn new(shape: Option<Shape>, destination: Option<(Arc<Destination>, usize)>) -> ColumnPart {
        let rows = if shape.is_some() { Rows::None } else { Rows::Kept(Vec::new()) };
        ColumnPart { shape, destination, rows, bytes: 0, validity: None }
    }

    /// Adds the rows of a batch.
    pub fn push(&mut self, array: &ArrayRef) -> Result<(), fuseline::Error> {
        if array.is_empty() {
            return Ok(());
        }
        let Some(shape) = self.shape else {
            let Rows::Kept(arrays) = &mut self.rows else {
                return Err(fuseline::Error::Internal { message: "a column changed its form".into() });
            };
            arrays.push(for_pyarrow(array)?);
            return Ok(());
        };
        let values = Values::of(array, shape);
        self.note_nulls(&values, shape.item);
        let bytes = values.len * shape.item.size();
        if shape.item.is_as_in_arrow() && values.written_nulls(shape.item).is_none() {
            let buffer = values.buffer(shape.item);
            let follows = match &mut self.rows {
                Rows::None => {
                    self.rows = Rows::View(View { first: buffer, bytes });
                    true
                }
                Rows::View(view) => view.extend(&buffer),
                Rows::Placed | Rows::Grown(_) | Rows::Kept(_) => false,
            };
            if follows {
                self.bytes += bytes;
                return Ok(());
            }
        }
        self.stop_viewing()?;
        let at = self.reserve(bytes)?;
        // SAFETY: `reserve` gave `bytes` bytes that nobody else writes.
        unsafe { values.write(shape.item, at) };
        Ok(())
    }

    /// Copies what was viewed so far to where the column's rows go.
    fn stop_viewing(&mut self) -> Result<(), OutOfMemory> {
        let view = match std::mem::replace(&mut self.rows, Rows::None) {
            Rows::View(view) => Some(view),
            Rows::None => None,
            other @ (Rows::Placed | Rows::Grown(_) | Rows::Kept(_)) => {
                self.rows = other;
                return Ok(());
            }
        };
        self.rows = if self.destination.is_some() { Rows::Placed } else { Rows::Grown(Region::new()) };
        self.bytes = 0;
        if let Some(view) = view {
            let bytes = view.bytes();
            let at = self.reserve(bytes.len())?;
            // SAFETY: `reserve` gave as many bytes, which are no part of the view.
            unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), at, bytes.len()) };
        }
        Ok(())
    }

    /// The place of the next `bytes` bytes.
    fn reserve(&mut self, bytes: usize) -> Result<*mut u8, OutOfMemory> {
        let at = match (&mut self.rows, &self.destination) {
            (Rows::Grown(region), _) => region.grow(bytes)?,
            (_, Some((destination, first))) => {
                let at = first + self.bytes;
                assert!(at + bytes <= destination.bytes, "a partition has more rows than it said");
                // SAFETY: within the destination.
                unsafe { destination.start()?.add(at) }
            }
            (_, None) => unreachable!("a column that is copied has a region or a destination"),
        };
        self.bytes += bytes;
        Ok(at)
    }

    fn note_nulls(&mut self, values: &Values, item: Item) {
        if !matches!(item, Item::Int(_) | Item::Bool) {
            return;
        }
        match (&mut self.validity, &values.nulls) {
            (None, None) => {}
            (Some(validity), None) => validity.append_n(values.len, true),
            (Some(validity), Some(nulls)) => validity.append_buffer(nulls.inner()),
            (None, Some(nulls)) => {
                let before = self.bytes / item.size();
                let mut validity = BooleanBufferBuilder::new(before + values.len);
                validity.append_n(before, true);
                validity.append_buffer(nulls.inner());
                self.validity = Some(validity);
            }
        }
    }
}

/// The items of an array, those of lists flattened.
struct Values {
    data: ArrayData,
    len: usize,
    nulls: Option<NullBuffer>,
}

impl Values {
    fn of(array: &ArrayRef, shape: Shape) -> Values {
        let Some(items) = shape.items else {
            let data = array.to_data();
            let nulls = array.nulls().filter(|nulls| nulls.null_count() > 0).cloned();
            return Values { len: data.len(), data, nulls };
        };
        let lists = array.as_fixed_size_list();
        let len = lists.len() * items;
        let values = lists.values().slice(lists.value_offset(0) as usize, len);
        // An item is null if it is one, or if its list is.
        let of_lists = lists.nulls().map(|nulls| nulls.expand(items));
        let nulls = NullBuffer::union(of_lists.as_ref(), values.nulls());
        Values { data: values.to_data(), len, nulls: nulls.filter(|nulls| nulls.null_count() > 0) }
    }

    /// The nulls, where there is a value for them that must be written.
    fn written_nulls(&self, item: Item) -> Option<&NullBuffer> {
        match item {
            Item::Float(_) | Item::Moment(_) | Item::Day => self.nulls.as_ref(),
            Item::Int(_) | Item::Bool => None,
        }
    }

    fn buffer(&self, item: Item) -> Buffer {
        let size = item.size();
        self.data.buffers()[0].slice_with_length(self.data.offset() * size, self.len * size)
    }

    /// Writes the items to `at`.
    ///
    /// # Safety
    /// `at` is valid for as many bytes as the items take, and no part of the array.
    unsafe fn write(&self, item: Item, at: *mut u8) {
        let size = item.size();
        match item {
            Item::Bool => {
                let bits = arrow::util::bit_iterator::BitIterator::new(
                    self.data.buffers()[0].as_slice(),
                    self.data.offset(),
                    self.len,
                );
                for (i, bit) in bits.enumerate() {
                    // SAFETY: `i` is less than the number of items.
                    unsafe { at.add(i).write(u8::from(bit)) };
                }
            }
            Item::Day => {
                let days = &self.data.buffers()[0].typed_data::<i32>()[self.data.offset()..][..self.len];
                for (i, day) in days.iter().enumerate() {
                    // SAFETY: as above; the memory is aligned or not, so it is written as bytes.
                    unsafe { at.cast::<i64>().add(i).write_unaligned(i64::from(*day)) };
                }
            }
            Item::Int(_) | Item::Float(_) | Item::Moment(_) => {
                let bytes = self.buffer(item);
                // SAFETY: promised by the caller.
                unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), at, bytes.len()) };
            }
        }
        let Some(nulls) = self.written_nulls(item) else {
            return;
        };
        let nothing: [u8; 8] = match (item, size) {
            (Item::Float(_), 2) => wide(&HALF_NAN.to_ne_bytes()),
            (Item::Float(_), 4) => wide(&f32::NAN.to_ne_bytes()),
            (Item::Float(_), _) => f64::NAN.to_ne_bytes(),
            (Item::Moment(_) | Item::Day | Item::Int(_) | Item::Bool, _) => i64::MIN.to_ne_bytes(),
        };
        for i in 0..self.len {
            if nulls.is_null(i) {
                // SAFETY: `i` is less than the number of items.
                unsafe { ptr::copy_nonoverlapping(nothing.as_ptr(), at.add(i * size), size) };
            }
        }
    }
}

/// NaN as a 16-bit float.
const HALF_NAN: u16 = 0x7e00;

fn wide(bytes: &[u8]) -> [u8; 8] {
    let mut out = [0; 8];
    out[..bytes.len()].copy_from_slice(bytes);
    out
}

/// The array in a type that every pyarrow converts.
fn for_pyarrow(array: &ArrayRef) -> Result<ArrayRef, fuseline::Error> {
    let target = match array.data_type() {
        DataType::Utf8View => DataType::LargeUtf8,
        DataType::BinaryView => DataType::LargeBinary,
        _ => return Ok(Arc::clone(array)),
    };
    cast(array, &target).map_err(|e| fuseline::Error::Execution { message: e.to_string() })
}

/// The type that [`for_pyarrow`] gives.
pub fn type_for_pyarrow(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Utf8View => DataType::LargeUtf8,
        DataType::BinaryView => DataType::LargeBinary,
        other => other.clone(),
    }
}
