//! From arrow arrays to the structs that a call shares with the code, and results back into arrays.

use super::{BatchResult, CompiledFunction};
use crate::function::{Base, Type};
use arrow::array::{
    Array, ArrayData, ArrayRef, AsArray, BooleanArray, StringArray, downcast_primitive_array, make_array,
};
use arrow::buffer::{BooleanBuffer, Buffer, MutableBuffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, TimeUnit};
use fuseline_kernels::python::arena::Arena;
use fuseline_kernels::python::output::TextOutput;
use std::sync::Arc;

/// What the code gets.
#[repr(C)]
pub(super) struct Call {
    pub rows: u64,
    pub arena: *mut Arena,
    pub columns: *const Column,
    /// Zeroed room for a value per row; not of texts and bools, which take a byte.
    pub values: *mut u8,
    /// A byte per row, where the result may be None.
    pub valid: *mut u8,
    /// Room for a number per row.
    pub bailed: *mut u32,
    pub text: *mut TextOutput,
}

/// A parameter's column.
#[repr(C)]
pub(super) struct Column {
    /// Values; of texts the offsets, or pairs of address and length.
    pub data: *const u8,
    /// The first bit, of bools.
    pub data_bit: u64,
    /// Bits, of an optional parameter.
    pub valid: *const u8,
    pub valid_bit: u64,
    /// The bytes of texts with offsets.
    pub aux: *const u8,
}

/// Why a batch could not be run: a fault of the caller's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("function {function}: {message}")]
pub struct RunError {
    pub function: String,
    pub message: String,
}

/// Whether columns of an arrow type can be a parameter of a type.
pub fn supports_parameter(ty: Type, data_type: &DataType) -> bool {
    match ty.base {
        Base::Bool => *data_type == DataType::Boolean,
        Base::Int => data_type.is_integer(),
        Base::Float => matches!(data_type, DataType::Float32 | DataType::Float64),
        Base::Str => matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View),
        Base::Date => *data_type == DataType::Date32,
        Base::DateTime => {
            matches!(data_type, DataType::Timestamp(unit, None) if *unit != TimeUnit::Nanosecond)
        }
    }
}

/// Whether results of a type can be a column of an arrow type.
pub fn supports_result(ty: Type, data_type: &DataType) -> bool {
    match ty.base {
        Base::Bool => *data_type == DataType::Boolean,
        Base::Int => data_type.is_integer(),
        Base::Float => matches!(data_type, DataType::Float32 | DataType::Float64),
        Base::Str => *data_type == DataType::Utf8,
        Base::Date => *data_type == DataType::Date32,
        Base::DateTime => *data_type == DataType::Timestamp(TimeUnit::Microsecond, None),
    }
}

/// Addresses and lengths of texts.
type Pairs = Vec<[u64; 2]>;

fn pairs<'a>(texts: impl Iterator<Item = Option<&'a str>>, ascii: &mut bool) -> Pairs {
    let pair = |t: Option<&str>| {
        let t = t.unwrap_or_default();
        *ascii = *ascii && t.is_ascii();
        [t.as_ptr() as u64, t.len() as u64]
    };
    texts.map(pair).collect()
}

/// Points a column at an array; `kept` holds what was made for it, `ascii` learns of texts that are not.
fn bind(array: &ArrayRef, kept: &mut Vec<Pairs>, ascii: &mut bool) -> Option<Column> {
    fn values<T>(values: &[T]) -> *const u8 {
        values.as_ptr().cast()
    }
    let nothing = std::ptr::null();
    let mut column = Column { data: nothing, data_bit: 0, valid: nothing, valid_bit: 0, aux: nothing };
    let array: &dyn Array = array.as_ref();
    match array.data_type() {
        DataType::Boolean => {
            let bits = array.as_boolean().values();
            column.data = bits.values().as_ptr();
            column.data_bit = bits.offset() as u64;
        }
        DataType::Utf8 => {
            let text = array.as_string::<i32>();
            column.data = values(text.value_offsets());
            column.aux = text.value_data().as_ptr();
            if let [first, .., last] = text.value_offsets() {
                *ascii = *ascii && text.value_data()[*first as usize..*last as usize].is_ascii();
            }
        }
        DataType::LargeUtf8 => {
            kept.push(pairs(array.as_string::<i64>().iter(), ascii));
            column.data = values(kept.last()?);
        }
        DataType::Utf8View => {
            kept.push(pairs(array.as_string_view().iter(), ascii));
            column.data = values(kept.last()?);
        }
        _numbers => {
            column.data = downcast_primitive_array!(array => values(array.values()), _other => return None);
        }
    }
    Some(column)
}

/// Runs compiled code over a batch.
pub(super) fn run(
    compiled: &CompiledFunction,
    args: &[ArrayRef],
    rows: usize,
) -> Result<BatchResult, RunError> {
    let function = &*compiled.function;
    let wrong = |message: String| RunError { function: function.name.clone(), message };
    if args.len() != compiled.params.len() {
        return Err(wrong(format!("{} columns, not {}", args.len(), compiled.params.len())));
    }
    if u32::try_from(rows).is_err() {
        return Err(wrong(format!("{rows} rows at once")));
    }
    let mut kept = Vec::new();
    let mut ascii = true;
    let mut columns = Vec::with_capacity(args.len());
    // For optional parameters without nulls.
    let mut ones: Vec<u8> = Vec::new();
    for ((array, data_type), param) in args.iter().zip(&compiled.params).zip(&function.params) {
        let name = &param.name;
        if array.data_type() != data_type || array.len() != rows {
            let (found, len) = (array.data_type(), array.len());
            return Err(wrong(format!("{name} has {len} rows of {found}, not {rows} of {data_type}")));
        }
        let nulls = array.nulls().filter(|n| n.null_count() > 0);
        if nulls.is_some() && !param.ty.optional {
            return Err(wrong(format!("{name} has nulls")));
        }
        let mut column =
            bind(array, &mut kept, &mut ascii).ok_or_else(|| wrong(format!("{name} is {data_type}")))?;
        if let Some(nulls) = nulls {
            column.valid = nulls.validity().as_ptr();
            column.valid_bit = nulls.offset() as u64;
        } else if param.ty.optional {
            ones.resize(rows.div_ceil(8), 0xFF);
            column.valid = ones.as_ptr();
        }
        columns.push(column);
    }
    let mut out = Out::new(compiled, rows);
    let mut bailed: Vec<u32> = Vec::with_capacity(rows);
    let mut arena = Arena::new();
    let call = Call {
        rows: rows as u64,
        arena: &raw mut arena,
        columns: columns.as_ptr(),
        values: out.values.as_mut_ptr(),
        valid: out.valid.as_mut_ptr(),
        bailed: bailed.as_mut_ptr(),
        text: &raw mut out.text,
    };
    let texts = function.params.iter().any(|p| p.ty.base == Base::Str);
    let code = if texts && ascii { compiled.ascii_code() } else { &compiled.code };
    let entry = code.memory.entry();
    // SAFETY: the code was made for a `Call`, and entry's type takes its address as one that it does not look into;
    // columns have `rows` rows of the types that it was made for, and outputs room for as many.
    let count = unsafe {
        let entry: unsafe extern "C" fn(*const Call) -> i64 = std::mem::transmute(entry);
        let count = entry(&raw const call) as usize;
        bailed.set_len(count);
        count
    };
    debug_assert!(count <= rows);
    Ok(BatchResult { values: out.finish(compiled, rows, &bailed), bailed })
}

/// Room for results.
struct Out {
    values: MutableBuffer,
    valid: Vec<u8>,
    text: TextOutput,
}

/// Bits of bytes that are 0 or 1.
fn bits(bytes: &[u8]) -> BooleanBuffer {
    BooleanBuffer::collect_bool(bytes.len(), |at| bytes[at] != 0)
}

impl Out {
    fn new(compiled: &CompiledFunction, rows: usize) -> Out {
        let returns = compiled.function.returns;
        let text = returns.base == Base::Str;
        let width = match &compiled.result {
            DataType::Utf8 => 0,
            DataType::Boolean => 1,
            numbers => numbers.primitive_width().unwrap_or(8),
        };
        Out {
            values: MutableBuffer::from_len_zeroed(rows * width),
            valid: vec![0; if returns.optional { rows } else { 0 }],
            text: TextOutput::with_capacity(if text { rows } else { 0 }),
        }
    }

    fn finish(self, compiled: &CompiledFunction, rows: usize, bailed: &[u32]) -> ArrayRef {
        let nulls = if compiled.function.returns.optional {
            Some(NullBuffer::new(bits(&self.valid)))
        } else if bailed.is_empty() {
            None
        } else {
            let mut valid = MutableBuffer::new(rows.div_ceil(8)).with_bitset(rows.div_ceil(8), true);
            for row in bailed {
                arrow::util::bit_util::unset_bit(valid.as_slice_mut(), *row as usize);
            }
            Some(NullBuffer::new(BooleanBuffer::new(valid.into(), 0, rows)))
        };
        let nulls = nulls.filter(|n| n.null_count() > 0);
        match &compiled.result {
            DataType::Boolean => Arc::new(BooleanArray::new(bits(self.values.as_slice()), nulls)),
            DataType::Utf8 => {
                let offsets = OffsetBuffer::new(ScalarBuffer::from(self.text.offsets));
                let bytes = Buffer::from_vec(self.text.bytes);
                // SAFETY: whole texts were appended, each with its end, which only grows.
                Arc::new(unsafe { StringArray::new_unchecked(offsets, bytes, nulls) })
            }
            numbers => {
                let data =
                    ArrayData::builder(numbers.clone()).len(rows).add_buffer(self.values.into()).nulls(nulls);
                // SAFETY: one buffer of `rows` values of a primitive type.
                make_array(unsafe { data.build_unchecked() })
            }
        }
    }
}
