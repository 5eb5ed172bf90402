//! Packing a key and updating a cell, one row at a time: what the interpreter does.

use super::layout::{KeyPlace, order_form};
use crate::ir::{AggFunc, AggValue, Ty};
use fuseline_kernels::group::text::{NULL_HEADER, text_words};
use fuseline_kernels::group::{Cell, CellKind, Spread, read_wide};
use fuseline_kernels::strings::StrRef;

/// One row of a key.
#[derive(Clone, Copy, Debug)]
pub(crate) enum KeyWord<'a> {
    Null,
    /// Sign- or zero-extended; of a float the bits.
    Number(i128),
    Text(&'a str),
}

impl KeyWord<'_> {
    /// Writes the key's part of a packed key that was all 0. A text's bytes must outlive the words' use.
    pub fn pack(self, place: &KeyPlace, words: &mut [u64]) {
        match self {
            KeyWord::Null => match place.null {
                Some((word, bit)) => words[word] |= 1 << bit,
                None => words[place.word] = NULL_HEADER,
            },
            KeyWord::Text(text) => {
                let text = StrRef::new(text.as_bytes());
                // SAFETY: the string is borrowed.
                let [header, second] = unsafe { text_words(&text) };
                (words[place.word], words[place.word + 1]) = (header, second);
                if let Some(pointer) = place.pointer {
                    words[pointer] = text.ptr as u64;
                }
            }
            KeyWord::Number(value) => match place.ty {
                Ty::I128 => {
                    words[place.word] = value as u64;
                    words[place.word + 1] = (value >> 64) as u64;
                }
                Ty::F64 => words[place.word] = if value as u64 == 1 << 63 { 0 } else { value as u64 },
                Ty::F32 => {
                    let bits = value as u32;
                    let bits = if bits == 1 << 31 { 0 } else { bits };
                    words[place.word] |= u64::from(bits) << place.shift;
                }
                Ty::Bool
                | Ty::I8
                | Ty::I16
                | Ty::I32
                | Ty::I64
                | Ty::U8
                | Ty::U16
                | Ty::U32
                | Ty::U64
                | Ty::Str => {
                    words[place.word] |= place.cut(value as u64) << place.shift;
                }
            },
        }
    }
}

impl KeyPlace {
    /// The bits of an extended integer that are stored: all of them where the word is the key's alone.
    fn cut(&self, value: u64) -> u64 {
        if self.extended { value } else { value & self.mask() }
    }

    /// The bits that the key's type takes.
    pub(crate) fn mask(&self) -> u64 {
        match self.ty.width() {
            Some(bytes @ 1..=4) => (1 << (8 * bytes)) - 1,
            Some(_) => u64::MAX,
            None => 1,
        }
    }
}

/// Accumulates the value of a row that counts.
pub(crate) fn update_cell(record: &mut [u64], cell: Cell, func: AggFunc, ty: Ty, value: &AggValue) {
    let at = &mut record[cell.word..cell.word + cell.kind.words()];
    let bits = match (value, ty) {
        (AggValue::Float(v), Ty::F32) => i64::from((*v as f32).to_bits() as i32) as u64,
        (AggValue::Float(v), _) => v.to_bits(),
        (AggValue::Int(v), _) => *v as u64,
        // A count does not look.
        (AggValue::Text(_) | AggValue::Spread(_), _) => 0,
    };
    match cell.kind {
        CellKind::Sum64 => at[0] = at[0].wrapping_add(if func == AggFunc::Count { 1 } else { bits }),
        CellKind::SumF64 => at[0] = (f64::from_bits(at[0]) + f64::from_bits(bits)).to_bits(),
        CellKind::Min64 => at[0] = (at[0] as i64).min(order_form(ty, bits) as i64) as u64,
        CellKind::Max64 => at[0] = (at[0] as i64).max(order_form(ty, bits) as i64) as u64,
        // A table's own, since it keeps them.
        CellKind::TextMin | CellKind::TextMax => {}
        CellKind::Spread => {
            // SAFETY: the cell has three words.
            unsafe { Spread::read(at.as_ptr()).with(f64::from_bits(bits)).write(at.as_mut_ptr()) }
        }
        CellKind::Sum128 | CellKind::Min128 | CellKind::Max128 => {
            let AggValue::Int(v) = *value else { return };
            // SAFETY: the cell has two words.
            let before = unsafe { read_wide(at.as_ptr()) };
            let after = match cell.kind {
                CellKind::Min128 => before.min(v),
                CellKind::Max128 => before.max(v),
                CellKind::Sum128
                | CellKind::Sum64
                | CellKind::SumF64
                | CellKind::Min64
                | CellKind::Max64
                | CellKind::Spread
                | CellKind::TextMin
                | CellKind::TextMax => before.wrapping_add(v),
            };
            (at[0], at[1]) = (after as u64, (after >> 64) as u64);
        }
    }
}
