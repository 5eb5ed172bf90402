//! Reading a settled table: keys and states of consecutive groups as arrow arrays.

use super::Groups;
use super::layout::{KeyPlace, order_form};
use crate::ir::{AggFunc, Ty};
use crate::run::EvalError;
use arrow::array::{
    ArrayData, ArrayRef, BooleanArray, LargeStringBuilder, StringBuilder, StringViewBuilder, make_array,
};
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer};
use arrow::datatypes::DataType;
use fuseline_kernels::group::text::{NULL_HEADER, is_long};
use fuseline_kernels::group::{CellKind, Spread, read_text, read_wide};
use std::ops::Range;
use std::sync::Arc;

impl Groups {
    /// Key `index` of some groups.
    ///
    /// # Errors
    /// [`EvalError::Binding`] when the key's array type does not hold its values, which the verifier
    /// excludes.
    pub fn key_array(&self, index: usize, rows: Range<usize>) -> Result<ArrayRef, EvalError> {
        let place = &self.layout.keys[index];
        if place.ty == Ty::Str {
            return self.text_array(place, rows);
        }
        let nulls = place.null.and_then(|(word, bit)| {
            let valid: BooleanBuffer = self.words(rows.clone(), word).map(|w| w >> bit & 1 == 0).collect();
            Some(NullBuffer::new(valid)).filter(|n| n.null_count() > 0)
        });
        let words = self.words(rows.clone(), place.word).map(|w| w >> place.shift);
        let values = match place.ty {
            Ty::Bool => {
                let bits: BooleanBuffer = words.map(|w| w & 1 == 1).collect();
                return Ok(Arc::new(BooleanArray::new(bits, nulls)));
            }
            Ty::I128 => {
                let wide: Vec<i128> = rows.clone().map(|g| self.wide(g, place.word)).collect();
                Buffer::from_vec(wide)
            }
            Ty::I8 | Ty::U8 => Buffer::from_vec(words.map(|w| w as u8).collect()),
            Ty::I16 | Ty::U16 => Buffer::from_vec(words.map(|w| w as u16).collect()),
            Ty::I32 | Ty::U32 | Ty::F32 => Buffer::from_vec(words.map(|w| w as u32).collect()),
            Ty::I64 | Ty::U64 | Ty::F64 | Ty::Str => Buffer::from_vec(words.collect()),
        };
        array(&place.data_type, rows.len(), values, nulls)
    }

    fn text_array(&self, place: &KeyPlace, rows: Range<usize>) -> Result<ArrayRef, EvalError> {
        let count = rows.len();
        strings(rows.map(|group| self.text(group, place)), count, &place.data_type)
    }

    /// The string of a group's key: in its own words, or where the pointer points.
    fn text(&self, group: usize, place: &KeyPlace) -> Option<&str> {
        let record = self.table.record(group);
        let header = record[place.word];
        if header == NULL_HEADER {
            return None;
        }
        let len = header as u32 as usize;
        let bytes: &[u8] = match place.pointer {
            Some(pointer) if is_long(header) => {
                // SAFETY: the table's arena holds a copy of that length, as long as the table lives.
                unsafe { std::slice::from_raw_parts(record[pointer] as *const u8, len) }
            }
            Some(_) | None => {
                // The prefix is the upper half of the header, and the rest follows it in memory.
                debug_assert!(cfg!(target_endian = "little") && len <= 12);
                let words = record[place.word..place.word + 2].as_ptr().cast::<u8>();
                // SAFETY: two words hold 16 bytes, of which the string is those from the fifth on.
                unsafe { std::slice::from_raw_parts(words.add(4), len) }
            }
        };
        // SAFETY: keys are whole strings of valid UTF-8.
        Some(unsafe { std::str::from_utf8_unchecked(bytes) })
    }

    /// The text of a minimum or maximum.
    fn kept_text(&self, group: usize, agg: usize) -> Option<&str> {
        let word = self.layout.shape.cells[agg].word;
        // SAFETY: the cell has two words, and the table or what it came from keeps the text; texts are valid UTF-8.
        unsafe {
            read_text(self.table.record(group)[word..].as_ptr()).map(|t| std::str::from_utf8_unchecked(t))
        }
    }

    fn wide(&self, group: usize, word: usize) -> i128 {
        let words = &self.table.record(group)[word..word + 2];
        // SAFETY: two words.
        unsafe { read_wide(words.as_ptr()) }
    }

    /// A count or an integer sum of some groups; of a sum of 64 bits the bits.
    pub fn counts(&self, agg: usize, rows: Range<usize>) -> impl Iterator<Item = u64> + '_ {
        self.words(rows, self.layout.shape.cells[agg].word)
    }

    /// A sum of floats of some groups.
    pub fn floats(&self, agg: usize, rows: Range<usize>) -> impl Iterator<Item = f64> + '_ {
        self.counts(agg, rows).map(f64::from_bits).map(|sum| if sum.is_nan() { f64::NAN } else { sum })
    }

    /// 128-bit states of some groups.
    pub fn wides(&self, agg: usize, rows: Range<usize>) -> impl Iterator<Item = i128> + '_ {
        let word = self.layout.shape.cells[agg].word;
        rows.map(move |group| self.wide(group, word))
    }

    /// What variances are made of, of some groups.
    pub fn spreads(&self, agg: usize, rows: Range<usize>) -> impl Iterator<Item = Spread> + '_ {
        let word = self.layout.shape.cells[agg].word;
        rows.map(move |group| {
            let words = &self.table.record(group)[word..word + 3];
            // SAFETY: three words.
            unsafe { Spread::read(words.as_ptr()) }.with_one_nan()
        })
    }

    /// The states of an aggregate as an array of this type, which has the representation of the state:
    /// null where `valid` says so.
    ///
    /// # Errors
    /// [`EvalError::Binding`] when the representation is another one.
    pub fn agg_array(
        &self,
        agg: usize,
        rows: Range<usize>,
        data_type: &DataType,
        valid: Option<NullBuffer>,
    ) -> Result<ArrayRef, EvalError> {
        let (func, ty) = self.layout.aggs[agg];
        let len = rows.len();
        let words = self.counts(agg, rows.clone());
        let values = match self.layout.shape.cells[agg].kind {
            CellKind::Sum128 | CellKind::Min128 | CellKind::Max128 => {
                Buffer::from_vec(self.wides(agg, rows).collect::<Vec<i128>>())
            }
            CellKind::SumF64 => Buffer::from_vec(self.floats(agg, rows).collect::<Vec<f64>>()),
            CellKind::TextMin | CellKind::TextMax => {
                let texts = rows.map(|group| self.kept_text(group, agg));
                return strings(texts, len, data_type);
            }
            CellKind::Spread => {
                return Err(EvalError::Binding("the spread of values has several columns".to_owned()));
            }
            CellKind::Sum64 => Buffer::from_vec(words.collect::<Vec<u64>>()),
            CellKind::Min64 | CellKind::Max64 => {
                debug_assert!(func != AggFunc::Count);
                let words = words.map(|w| order_form(ty, w));
                match ty.width() {
                    Some(1) => Buffer::from_vec(words.map(|w| w as u8).collect()),
                    Some(2) => Buffer::from_vec(words.map(|w| w as u16).collect()),
                    Some(4) => Buffer::from_vec(words.map(|w| w as u32).collect()),
                    Some(_) | None => Buffer::from_vec(words.collect::<Vec<u64>>()),
                }
            }
        };
        array(data_type, len, values, valid.filter(|n| n.null_count() > 0))
    }
}

/// So many texts as an array of this type.
fn strings<'t>(
    texts: impl Iterator<Item = Option<&'t str>>,
    count: usize,
    data_type: &DataType,
) -> Result<ArrayRef, EvalError> {
    /// Appends every text.
    macro_rules! build {
        ($builder:expr) => {{
            let mut builder = $builder;
            for text in texts {
                builder.append_option(text);
            }
            Ok(Arc::new(builder.finish()))
        }};
    }
    match data_type {
        DataType::Utf8 => build!(StringBuilder::with_capacity(count, 0)),
        DataType::LargeUtf8 => build!(LargeStringBuilder::with_capacity(count, 0)),
        DataType::Utf8View => build!(StringViewBuilder::with_capacity(count)),
        other => Err(EvalError::Binding(format!("text does not leave as {other}"))),
    }
}

fn array(
    data_type: &DataType,
    len: usize,
    values: Buffer,
    nulls: Option<NullBuffer>,
) -> Result<ArrayRef, EvalError> {
    let data = ArrayData::builder(data_type.clone()).len(len).add_buffer(values).nulls(nulls).build();
    Ok(make_array(data.map_err(|e| EvalError::Binding(e.to_string()))?))
}
