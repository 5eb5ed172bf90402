//! Literals to arrays and back, and columns as text.

use arrow::array::{
    Array, ArrayData, ArrayRef, AsArray, BooleanArray, DictionaryArray, Int32Array, LargeStringArray,
    StringArray, StringViewArray, make_array,
};
use arrow::buffer::{Buffer, NullBuffer, ScalarBuffer};
use arrow::compute::cast;
use arrow::datatypes::{ArrowNativeType, DataType, Int32Type};
use fuseline_codegen::ir::{Input, Lit, Ty};
use std::sync::Arc;

/// An array of these values; where `valid` is false the value lies hidden under a null. `values`
/// are of the type's representation, none null.
pub fn array_of(data_type: &DataType, values: &[Lit], valid: &[bool]) -> ArrayRef {
    let nulls = valid.contains(&false).then(|| NullBuffer::from(valid));
    let n = values.len();
    macro_rules! numbers {
        ($variant:ident) => {{
            let v: Vec<_> = values
                .iter()
                .map(|l| if let Lit::$variant(v) = l { *v } else { panic!("{l} is no {data_type}") })
                .collect();
            let data = ArrayData::builder(data_type.clone()).len(n).add_buffer(Buffer::from_vec(v));
            make_array(data.nulls(nulls).build().unwrap())
        }};
    }
    match Input::physical(data_type).unwrap_or_else(|| panic!("{data_type} is not representable")) {
        Ty::Bool => {
            let v: Vec<bool> = values.iter().map(|l| *l == Lit::Bool(true)).collect();
            Arc::new(BooleanArray::new(v.into(), nulls))
        }
        Ty::I8 => numbers!(I8),
        Ty::I16 => numbers!(I16),
        Ty::I32 => numbers!(I32),
        Ty::I64 => numbers!(I64),
        Ty::I128 => numbers!(I128),
        Ty::U8 => numbers!(U8),
        Ty::U16 => numbers!(U16),
        Ty::U32 => numbers!(U32),
        Ty::U64 => numbers!(U64),
        Ty::F32 => numbers!(F32),
        Ty::F64 => numbers!(F64),
        Ty::Str => strings_of(data_type, values, nulls),
    }
}

fn text(lit: &Lit) -> &str {
    if let Lit::Str(s) = lit { s } else { panic!("{lit} is no string") }
}

fn strings_of(data_type: &DataType, values: &[Lit], nulls: Option<NullBuffer>) -> ArrayRef {
    let texts = values.iter().map(text);
    match data_type {
        DataType::Utf8 => with_nulls(&StringArray::from_iter_values(texts), nulls),
        DataType::LargeUtf8 => with_nulls(&LargeStringArray::from_iter_values(texts), nulls),
        DataType::Utf8View => with_nulls(&StringViewArray::from_iter_values(texts), nulls),
        DataType::Dictionary(_, value_type) => {
            let mut distinct: Vec<&str> = Vec::new();
            let keys: Vec<i32> = texts
                .map(|t| {
                    let known = distinct.iter().position(|d| *d == t).unwrap_or(distinct.len());
                    if known == distinct.len() {
                        distinct.push(t);
                    }
                    known as i32
                })
                .collect();
            let table: Vec<Lit> = distinct.iter().map(|s| Lit::Str((*s).to_owned())).collect();
            // Every other null is a null of the dictionary's values, not of its keys.
            let null_value = nulls.is_some().then_some(table.len());
            let mut table_valid = vec![true; table.len()];
            let mut table = table;
            if null_value.is_some() {
                table.push(Lit::Str("hidden".to_owned()));
                table_valid.push(false);
            }
            let (mut keys, mut key_valid) = (keys, vec![true; values.len()]);
            for row in 0..values.len() {
                if nulls.as_ref().is_some_and(|n| n.is_null(row)) {
                    match null_value {
                        Some(value) if row % 2 == 0 => keys[row] = value as i32,
                        Some(_) | None => key_valid[row] = false,
                    }
                }
            }
            let table = array_of(value_type, &table, &table_valid);
            let key_nulls = key_valid.contains(&false).then(|| NullBuffer::from(key_valid));
            let keys = Int32Array::new(keys.into(), key_nulls);
            let dictionary = DictionaryArray::<Int32Type>::try_new(keys, table).unwrap();
            cast(&dictionary, data_type).unwrap()
        }
        other => panic!("{other} holds no strings"),
    }
}

fn with_nulls(array: &dyn Array, nulls: Option<NullBuffer>) -> ArrayRef {
    make_array(array.to_data().into_builder().nulls(nulls).build().unwrap())
}

/// The values of an array, nulls as `Lit::Null`.
pub fn lits_of(array: &dyn Array) -> Vec<Lit> {
    let ty = Input::physical(array.data_type()).expect("a representable type");
    fn numbers<T: ArrowNativeType>(array: &dyn Array, ty: Ty, lit: impl Fn(T) -> Lit) -> Vec<Lit> {
        let data = array.to_data();
        let values = ScalarBuffer::<T>::new(data.buffers()[0].clone(), data.offset(), data.len());
        (0..array.len()).map(|i| if array.is_valid(i) { lit(values[i]) } else { Lit::Null(ty) }).collect()
    }
    match ty {
        Ty::Bool => {
            let a = array.as_boolean();
            (0..a.len()).map(|i| if a.is_valid(i) { Lit::Bool(a.value(i)) } else { Lit::Null(ty) }).collect()
        }
        Ty::I8 => numbers(array, ty, Lit::I8),
        Ty::I16 => numbers(array, ty, Lit::I16),
        Ty::I32 => numbers(array, ty, Lit::I32),
        Ty::I64 => numbers(array, ty, Lit::I64),
        Ty::I128 => numbers(array, ty, Lit::I128),
        Ty::U8 => numbers(array, ty, Lit::U8),
        Ty::U16 => numbers(array, ty, Lit::U16),
        Ty::U32 => numbers(array, ty, Lit::U32),
        Ty::U64 => numbers(array, ty, Lit::U64),
        Ty::F32 => numbers(array, ty, Lit::F32),
        Ty::F64 => numbers(array, ty, Lit::F64),
        Ty::Str => {
            let plain = cast(array, &DataType::Utf8).unwrap();
            let plain = plain.as_string::<i32>();
            plain.iter().map(|s| s.map_or(Lit::Null(ty), |s| Lit::Str(s.to_owned()))).collect()
        }
    }
}

/// A column as it stands in golden files: `[1, null, 3]`.
pub fn shown(array: &dyn Array) -> String {
    let lits: Vec<String> = lits_of(array).iter().map(Lit::to_string).collect();
    format!("[{}]", lits.join(", "))
}
