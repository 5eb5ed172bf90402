//! Between arrow arrays and the interpreter's columns.

use super::super::pipeline::{Input, Loop};
use super::super::types::Ty;
use super::column::{Column, Data, Native};
use crate::run::{EvalError, Morsel};
use arrow::array::{
    Array, ArrayData, ArrayRef, AsArray, BooleanArray, LargeStringArray, StringArray, StringViewArray,
    make_array,
};
use arrow::buffer::{Buffer, NullBuffer, ScalarBuffer};
use arrow::datatypes::{ArrowNativeType, DataType};
use std::sync::Arc;

/// Checks that a morsel's arrays are what the loop describes.
pub(super) fn check(source: &Loop, morsel: &Morsel<'_>) -> Result<(), EvalError> {
    let fail = |message: String| Err(EvalError::Binding(message));
    if morsel.inputs.len() != source.inputs.len() {
        return fail(format!(
            "the loop reads {} columns, {} given",
            source.inputs.len(),
            morsel.inputs.len()
        ));
    }
    for (input, array) in source.inputs.iter().zip(morsel.inputs) {
        let name = &input.name;
        if array.data_type() != &input.data_type {
            return fail(format!("column {name} is {}, not {}", array.data_type(), input.data_type));
        }
        if Input::physical(array.data_type()) != Some(input.ty) {
            return fail(format!("column {name}: {} is not represented as {}", input.data_type, input.ty));
        }
        if array.len() != morsel.rows {
            return fail(format!("column {name} has {} rows, the morsel {}", array.len(), morsel.rows));
        }
        if !input.nullable && array.logical_null_count() > 0 {
            return fail(format!("column {name} has nulls, but the loop was made for none"));
        }
    }
    Ok(())
}

fn misfit(data_type: &DataType, ty: Ty) -> EvalError {
    EvalError::Binding(format!("an array of type {data_type} does not hold {ty}"))
}

/// Rows `start..start + len` of an array whose type has the representation `ty`.
pub(super) fn load<'a>(
    array: &'a ArrayRef,
    ty: Ty,
    start: usize,
    len: usize,
) -> Result<Column<'a>, EvalError> {
    match ty {
        Ty::Bool => {
            let array = array.as_boolean_opt().ok_or_else(|| misfit(array.data_type(), ty))?;
            Ok(collect(start, len, |i| array.is_valid(i).then(|| array.value(i))))
        }
        Ty::I8 => primitive::<i8>(array, start, len),
        Ty::I16 => primitive::<i16>(array, start, len),
        Ty::I32 => primitive::<i32>(array, start, len),
        Ty::I64 => primitive::<i64>(array, start, len),
        Ty::I128 => primitive::<i128>(array, start, len),
        Ty::U8 => primitive::<u8>(array, start, len),
        Ty::U16 => primitive::<u16>(array, start, len),
        Ty::U32 => primitive::<u32>(array, start, len),
        Ty::U64 => primitive::<u64>(array, start, len),
        Ty::F32 => primitive::<f32>(array, start, len),
        Ty::F64 => primitive::<f64>(array, start, len),
        Ty::Str => text(array, start, len),
    }
}

/// These rows of an array, null where there is none.
pub(super) fn pick<'a>(array: &'a ArrayRef, ty: Ty, rows: &[Option<usize>]) -> Result<Column<'a>, EvalError> {
    macro_rules! numbers {
        ($ty:ty) => {{
            let data = array.to_data();
            let fits = data.data_type().primitive_width() == Some(size_of::<$ty>());
            let [buffer] = data.buffers() else { return Err(misfit(array.data_type(), ty)) };
            if !fits {
                return Err(misfit(array.data_type(), ty));
            }
            let values = ScalarBuffer::<$ty>::new(buffer.clone(), data.offset(), data.len());
            Ok(Column::from_options(
                rows.iter().map(|row| row.filter(|r| array.is_valid(*r)).map(|r| values[r])),
            ))
        }};
    }
    match ty {
        Ty::Bool => {
            let bools = array.as_boolean_opt().ok_or_else(|| misfit(array.data_type(), ty))?;
            let at = |row: &Option<usize>| row.filter(|r| bools.is_valid(*r)).map(|r| bools.value(r));
            Ok(Column::from_options(rows.iter().map(at)))
        }
        Ty::I8 => numbers!(i8),
        Ty::I16 => numbers!(i16),
        Ty::I32 => numbers!(i32),
        Ty::I64 => numbers!(i64),
        Ty::I128 => numbers!(i128),
        Ty::U8 => numbers!(u8),
        Ty::U16 => numbers!(u16),
        Ty::U32 => numbers!(u32),
        Ty::U64 => numbers!(u64),
        Ty::F32 => numbers!(f32),
        Ty::F64 => numbers!(f64),
        Ty::Str => {
            let array: &'a dyn Array = array.as_ref();
            let text = strings(array)?;
            Ok(Column::from_options(rows.iter().map(|row| row.and_then(&text))))
        }
    }
}

fn collect<'a, T: Native<'a>>(start: usize, len: usize, row: impl Fn(usize) -> Option<T>) -> Column<'a> {
    Column::from_options((start..start + len).map(row))
}

/// The numbers of a primitive array, whatever they mean to SQL.
fn primitive<'a, T: Native<'a> + ArrowNativeType>(
    array: &'a ArrayRef,
    start: usize,
    len: usize,
) -> Result<Column<'a>, EvalError> {
    let data = array.to_data();
    let fits = data.data_type().primitive_width() == Some(size_of::<T>());
    match data.buffers() {
        [buffer] if fits => {
            let values = ScalarBuffer::<T>::new(buffer.clone(), data.offset(), data.len());
            Ok(collect(start, len, |i| array.is_valid(i).then(|| values[i])))
        }
        _ => Err(misfit(array.data_type(), T::TY)),
    }
}

fn text<'a>(array: &'a ArrayRef, start: usize, len: usize) -> Result<Column<'a>, EvalError> {
    let array: &'a dyn Array = array.as_ref();
    if let Some(dictionary) = array.as_any_dictionary_opt() {
        let values = dictionary.values();
        if values.is_empty() {
            return Ok(collect(start, len, |_| None::<&'a str>));
        }
        let rows = array.slice(start, len);
        let keys = rows.as_any_dictionary().normalized_keys();
        let values = strings(values.as_ref())?;
        return Ok(collect(0, len, |i| if rows.is_valid(i) { values(keys[i]) } else { None }));
    }
    let rows = strings(array)?;
    Ok(collect(start, len, rows))
}

/// The string of a row.
type StringOf<'a> = Box<dyn Fn(usize) -> Option<&'a str> + 'a>;

/// The strings of a plain, large or view array by row.
fn strings(array: &dyn Array) -> Result<StringOf<'_>, EvalError> {
    if let Some(a) = array.as_string_opt::<i32>() {
        return Ok(Box::new(move |i| a.is_valid(i).then(|| a.value(i))));
    }
    if let Some(a) = array.as_string_opt::<i64>() {
        return Ok(Box::new(move |i| a.is_valid(i).then(|| a.value(i))));
    }
    if let Some(a) = array.as_string_view_opt() {
        return Ok(Box::new(move |i| a.is_valid(i).then(|| a.value(i))));
    }
    Err(misfit(array.data_type(), Ty::Str))
}

/// Makes an array of a column.
pub(super) fn store(column: Column<'_>, data_type: &DataType) -> Result<ArrayRef, EvalError> {
    if Input::physical(data_type) != Some(column.ty()) {
        return Err(misfit(data_type, column.ty()));
    }
    let nulls = column.valid.contains(&false).then(|| NullBuffer::from(column.valid.as_slice()));
    match column.data {
        Data::Bool(v) => Ok(Arc::new(BooleanArray::new(v.into(), nulls))),
        Data::I8(v) => numbers(Buffer::from_vec(v), column.valid.len(), nulls, data_type),
        Data::I16(v) => numbers(Buffer::from_vec(v), column.valid.len(), nulls, data_type),
        Data::I32(v) => numbers(Buffer::from_vec(v), column.valid.len(), nulls, data_type),
        Data::I64(v) => numbers(Buffer::from_vec(v), column.valid.len(), nulls, data_type),
        Data::I128(v) => numbers(Buffer::from_vec(v), column.valid.len(), nulls, data_type),
        Data::U8(v) => numbers(Buffer::from_vec(v), column.valid.len(), nulls, data_type),
        Data::U16(v) => numbers(Buffer::from_vec(v), column.valid.len(), nulls, data_type),
        Data::U32(v) => numbers(Buffer::from_vec(v), column.valid.len(), nulls, data_type),
        Data::U64(v) => numbers(Buffer::from_vec(v), column.valid.len(), nulls, data_type),
        Data::F32(v) => numbers(Buffer::from_vec(v), column.valid.len(), nulls, data_type),
        Data::F64(v) => numbers(Buffer::from_vec(v), column.valid.len(), nulls, data_type),
        Data::Str(v) => {
            let rows = v.iter().zip(&column.valid).map(|(text, valid)| valid.then_some(*text));
            match data_type {
                DataType::Utf8 => Ok(Arc::new(rows.collect::<StringArray>())),
                DataType::LargeUtf8 => Ok(Arc::new(rows.collect::<LargeStringArray>())),
                DataType::Utf8View => Ok(Arc::new(rows.collect::<StringViewArray>())),
                other => Err(misfit(other, Ty::Str)),
            }
        }
    }
}

fn numbers(
    values: Buffer,
    len: usize,
    nulls: Option<NullBuffer>,
    data_type: &DataType,
) -> Result<ArrayRef, EvalError> {
    let data = ArrayData::builder(data_type.clone()).len(len).add_buffer(values).nulls(nulls).build();
    Ok(make_array(data.map_err(|e| EvalError::Binding(e.to_string()))?))
}
