//! Arrow columns as buffers in a region, and back.
//!
//! A column is written as its nodes in depth-first order, each `[rows, nulls, [buffer, ...]]`, and a
//! buffer as `[offset, bytes]` in the region or null where there is none (no validity bitmap without
//! nulls). The buffers are those of Arrow's columnar format. Bitmaps start at bit 0, offsets at 0, and
//! buffers at multiples of 64 bytes, so that readers need no case for slices.
//!
//! Which types there are: [`plain`] maps each type to one of few layouts (no views, dictionaries or
//! run ends), and [`tree`] describes it for the worker with the format strings of Arrow's C interface.

use arrow::array::{
    Array, ArrayData, ArrayRef, AsArray, GenericByteArray, GenericListArray, OffsetSizeTrait, make_array,
};
use arrow::buffer::{Buffer, OffsetBuffer};
use arrow::compute::cast;
use arrow::datatypes::{ByteArrayType, DataType, Field, FieldRef};
use arrow::error::ArrowError;
use arrow::ffi::FFI_ArrowSchema;
use serde_json::{Value, json};
use std::sync::Arc;

use super::sys::Mapping;

/// Buffers start at multiples of this.
const ALIGNMENT: usize = 64;

/// The type whose layout carries a type.
pub fn plain(data_type: &DataType) -> DataType {
    let of = |field: &FieldRef| -> FieldRef {
        Arc::new(Field::new(field.name(), plain(field.data_type()), field.is_nullable()))
    };
    match data_type {
        DataType::Utf8View => DataType::Utf8,
        DataType::BinaryView => DataType::Binary,
        DataType::Dictionary(_, values) => plain(values),
        DataType::RunEndEncoded(_, values) => plain(values.data_type()),
        DataType::List(field) | DataType::ListView(field) => DataType::List(of(field)),
        DataType::LargeList(field) | DataType::LargeListView(field) => DataType::LargeList(of(field)),
        DataType::FixedSizeList(field, size) => DataType::FixedSizeList(of(field), *size),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(of).collect()),
        // Fixed widths, bytes with offsets, and what `write` refuses.
        other => other.clone(),
    }
}

/// A type for the worker: `{"format": "+l", "children": [{"format": "g", "name": "item"}]}`.
///
/// # Errors
/// A type that Arrow's C interface does not know.
pub fn tree(data_type: &DataType) -> Result<Value, ArrowError> {
    let format = FFI_ArrowSchema::try_from(data_type)?.format().to_owned();
    let child = |field: &FieldRef| -> Result<Value, ArrowError> {
        let mut child = tree(field.data_type())?;
        child["name"] = json!(field.name());
        Ok(child)
    };
    let children: Vec<Value> = match data_type {
        DataType::List(field) | DataType::LargeList(field) | DataType::FixedSizeList(field, _) => {
            vec![child(field)?]
        }
        DataType::Struct(fields) => fields.iter().map(child).collect::<Result<_, _>>()?,
        _ => vec![],
    };
    Ok(json!({ "format": format, "children": children }))
}

/// Columns on their way into a region.
#[derive(Default)]
pub struct Writer {
    nodes: Vec<Value>,
    parts: Vec<(usize, Buffer)>,
    end: usize,
}

impl Writer {
    /// Adds a column.
    ///
    /// # Errors
    /// A type without a plain layout (maps, unions).
    pub fn add(&mut self, column: &ArrayRef) -> Result<(), ArrowError> {
        let plain = plain(column.data_type());
        if plain == *column.data_type() { self.write(column) } else { self.write(&cast(column, &plain)?) }
    }

    /// Bytes that the region must have.
    pub fn len(&self) -> usize {
        self.end
    }

    /// Copies everything into the region, which is as long as [`Writer::len`] at least, and gives
    /// the description.
    pub fn finish(self, region: &mut Mapping) -> Value {
        for (offset, part) in &self.parts {
            region.write(*offset, part.as_slice());
        }
        Value::Array(self.nodes)
    }

    fn place(&mut self, buffer: Buffer) -> Value {
        let offset = self.end;
        let bytes = buffer.len();
        self.end = (offset + bytes).next_multiple_of(ALIGNMENT);
        if bytes > 0 {
            self.parts.push((offset, buffer));
        }
        json!([offset, bytes])
    }

    fn node(&mut self, array: &dyn Array, buffers: Vec<Buffer>) {
        let nulls = array.nulls().filter(|n| n.null_count() > 0);
        let mut places = vec![match nulls {
            Some(nulls) => self.place(nulls.inner().sliced()),
            None => Value::Null,
        }];
        places.extend(buffers.into_iter().map(|b| self.place(b)));
        self.nodes.push(json!([array.len(), nulls.map_or(0, |n| n.null_count()), places]));
    }

    fn write(&mut self, array: &ArrayRef) -> Result<(), ArrowError> {
        match array.data_type() {
            DataType::Null => self.nodes.push(json!([array.len(), array.len(), []])),
            DataType::Boolean => self.node(array, vec![array.as_boolean().values().sliced()]),
            DataType::Utf8 => self.bytes(array.as_string::<i32>()),
            DataType::LargeUtf8 => self.bytes(array.as_string::<i64>()),
            DataType::Binary => self.bytes(array.as_binary::<i32>()),
            DataType::LargeBinary => self.bytes(array.as_binary::<i64>()),
            DataType::List(_) => return self.list(array.as_list::<i32>()),
            DataType::LargeList(_) => return self.list(array.as_list::<i64>()),
            DataType::FixedSizeList(_, size) => {
                let list = array.as_fixed_size_list();
                self.node(array, vec![]);
                let used = array.len() * usize::try_from(*size).unwrap_or(0);
                return self.write(&list.values().slice(0, used));
            }
            DataType::Struct(_) => {
                self.node(array, vec![]);
                for column in array.as_struct().columns() {
                    self.write(column)?;
                }
            }
            DataType::FixedSizeBinary(width) => {
                self.fixed(array, usize::try_from(*width).unwrap_or(0))?;
            }
            other => match other.primitive_width() {
                Some(width) => self.fixed(array, width)?,
                None => {
                    return Err(ArrowError::NotYetImplemented(format!(
                        "{other} cannot be handed to a worker process; cast it to another type"
                    )));
                }
            },
        }
        Ok(())
    }

    fn fixed(&mut self, array: &ArrayRef, width: usize) -> Result<(), ArrowError> {
        let data = array.to_data();
        let values = data
            .buffers()
            .first()
            .ok_or_else(|| ArrowError::ComputeError(format!("{} without values", array.data_type())))?;
        let values = values.slice_with_length(data.offset() * width, array.len() * width);
        self.node(array, vec![values]);
        Ok(())
    }

    fn bytes<T: ByteArrayType>(&mut self, array: &GenericByteArray<T>) {
        let (offsets, first, last) = from_zero(array.offsets());
        let values = array.values().slice_with_length(first, last - first);
        self.node(array, vec![offsets, values]);
    }

    fn list<O: OffsetSizeTrait>(&mut self, array: &GenericListArray<O>) -> Result<(), ArrowError> {
        let (offsets, first, last) = from_zero(array.offsets());
        self.node(array, vec![offsets]);
        self.write(&array.values().slice(first, last - first))
    }
}

/// Offsets that start at 0, and what they started and ended at.
fn from_zero<O: OffsetSizeTrait>(offsets: &OffsetBuffer<O>) -> (Buffer, usize, usize) {
    let first = offsets[0];
    let last = offsets[offsets.len() - 1];
    let buffer = if first.is_zero() {
        offsets.inner().inner().clone()
    } else {
        offsets.iter().map(|o| *o - first).collect::<Vec<O>>().into()
    };
    (buffer, first.as_usize(), last.as_usize())
}

/// Reads columns that a worker described. Whatever it says is checked: offsets, lengths, UTF-8.
pub struct Reader<'a> {
    nodes: std::slice::Iter<'a, Value>,
    region: &'a Buffer,
}

impl<'a> Reader<'a> {
    pub fn new(nodes: &'a Value, region: &'a Buffer) -> Reader<'a> {
        Reader { nodes: nodes.as_array().map_or([].iter(), |n| n.iter()), region }
    }

    /// The next column, which is of a [`plain`] type.
    ///
    /// # Errors
    /// What does not fit the type or the region.
    pub fn read(&mut self, data_type: &DataType) -> Result<ArrayRef, ArrowError> {
        self.data(data_type).map(make_array)
    }

    fn data(&mut self, data_type: &DataType) -> Result<ArrayData, ArrowError> {
        let node = self.nodes.next().ok_or_else(|| broken("a column is missing"))?;
        let rows = node[0].as_u64().ok_or_else(|| broken("no number of rows"))?;
        let rows = usize::try_from(rows).map_err(|_| broken("too many rows"))?;
        let no_buffers = Vec::new();
        let places = node[2].as_array().unwrap_or(&no_buffers);
        let mut builder = ArrayData::builder(data_type.clone()).len(rows);
        let mut places = places.iter();
        if *data_type != DataType::Null {
            let validity = places.next().ok_or_else(|| broken("no validity"))?;
            if !validity.is_null() {
                let bits = self.buffer(validity)?;
                if bits.len() < rows.div_ceil(8) {
                    return Err(broken("its validity is short"));
                }
                builder = builder.null_bit_buffer(Some(bits));
            }
        }
        for place in places {
            builder = builder.add_buffer(self.buffer(place)?);
        }
        match data_type {
            DataType::List(field) | DataType::LargeList(field) | DataType::FixedSizeList(field, _) => {
                builder = builder.add_child_data(self.data(field.data_type())?);
            }
            DataType::Struct(fields) => {
                for field in fields {
                    builder = builder.add_child_data(self.data(field.data_type())?);
                }
            }
            _ => {}
        }
        // Checks everything, also that text is UTF-8: the worker may have scribbled over its memory.
        builder.build()
    }

    fn buffer(&self, place: &Value) -> Result<Buffer, ArrowError> {
        let number = |i: usize| place[i].as_u64().and_then(|n| usize::try_from(n).ok());
        let (Some(offset), Some(bytes)) = (number(0), number(1)) else {
            return Err(broken("a buffer without place"));
        };
        let end = offset.checked_add(bytes).ok_or_else(|| broken("a buffer beyond its region"))?;
        if end > self.region.len() || offset % ALIGNMENT != 0 {
            return Err(broken("a buffer beyond its region"));
        }
        Ok(self.region.slice_with_length(offset, bytes))
    }
}

fn broken(what: &str) -> ArrowError {
    ArrowError::InvalidArgumentError(format!("its answer is damaged: {what}"))
}

#[cfg(test)]
mod tests {
    use super::super::region::{Region, Shelf};
    use super::*;
    use arrow::array::{
        BooleanArray, DictionaryArray, FixedSizeListArray, Float64Array, Int32Array, ListArray, NullArray,
        StringArray, StringViewArray, StructArray,
    };
    use arrow::datatypes::{Float64Type, Int32Type, Int64Type};

    fn through(column: &ArrayRef) -> ArrayRef {
        let mut writer = Writer::default();
        writer.add(column).unwrap();
        let (mut region, _file) = Region::new(writer.len()).unwrap();
        let nodes = writer.finish(&mut region.mapping);
        let len = region.mapping.len();
        let buffer = Arc::new(Shelf::default()).hold(region, len);
        Reader::new(&nodes, &buffer).read(&plain(column.data_type())).unwrap()
    }

    fn same(column: impl Array + 'static) {
        let column: ArrayRef = Arc::new(column);
        assert_eq!(&through(&column), &column);
        for (offset, length) in [(0, 0), (1, 2), (column.len() - 1, 1)] {
            let part = column.slice(offset, length);
            assert_eq!(&through(&part), &part);
        }
    }

    #[test]
    fn columns_and_their_slices_come_back_as_they_were() {
        same(Float64Array::from(vec![Some(1.5), None, Some(-0.0), Some(f64::NAN)]));
        same(Float64Array::from(vec![1.0; 1000]));
        same(BooleanArray::from((0..70).map(|i| (i % 7 != 0).then_some(i % 3 == 0)).collect::<Vec<_>>()));
        same(StringArray::from(vec![Some("ä"), None, Some(""), Some("long enough to be no view")]));
        same(NullArray::new(5));
        let lists = [Some(vec![Some(1), None]), None, Some(vec![]), Some(vec![Some(3)])];
        let list = ListArray::from_iter_primitive::<Int64Type, _, _>(lists);
        same(list.clone());
        let pairs = (0..5).map(|i| (i != 2).then(|| vec![Some(f64::from(i)), None]));
        same(FixedSizeListArray::from_iter_primitive::<Float64Type, _, _>(pairs, 2));
        let fields = vec![
            (
                Arc::new(Field::new("a", DataType::Int32, true)),
                Arc::new(Int32Array::from(vec![1, 2, 3, 4])) as _,
            ),
            (Arc::new(Field::new("b", list.data_type().clone(), true)), Arc::new(list) as ArrayRef),
        ];
        same(StructArray::from(fields));
    }

    #[test]
    fn other_encodings_arrive_plain() {
        let words = ["a", "b", "a", "a text that is longer than a view"];
        let view: ArrayRef = Arc::new(StringViewArray::from_iter_values(words));
        let dictionary: DictionaryArray<Int32Type> = words.into_iter().collect();
        let expected: ArrayRef = Arc::new(StringArray::from_iter_values(words));
        assert_eq!(&through(&view), &expected);
        assert_eq!(&through(&(Arc::new(dictionary) as ArrayRef)), &expected);
    }

    #[test]
    fn damaged_answers_are_errors() {
        let (mut region, _file) = Region::new(1).unwrap();
        region.mapping.write(0, &[0xff; 64]);
        let buffer = Arc::new(Shelf::default()).hold(region, 4096);
        let read = |nodes: Value, data_type: DataType| {
            let read = Reader::new(&nodes, &buffer).read(&data_type);
            read.expect_err("damaged").to_string()
        };
        read(json!([]), DataType::Int64);
        read(json!([[1, 0, [null, [8192, 8]]]]), DataType::Int64);
        read(json!([[1, 0, [null, [8, 8]]]]), DataType::Int64);
        read(json!([[1000, 0, [null, [0, 8]]]]), DataType::Int64);
        read(json!([[1, 0, [[0, 0], [0, 8]]]]), DataType::Int64);
        read(json!([[1, 0, [null, [0, 8], [0, 4]]]]), DataType::Utf8);
        read(json!([[1, 0, [null]]]), DataType::Utf8);
        read(json!([["x", 0, []]]), DataType::Null);
    }
}
