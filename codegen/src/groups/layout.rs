//! Where keys and aggregates lie in a record.
//!
//! A key that is one integer takes a word, extended to 64 bits so that it can index an array, and a second
//! word for NULL if it can be. Otherwise strings and 16-byte values take two words, 8-byte values one, and
//! narrower ones share words, widest first, with one bit per nullable key that is no string behind them.
//! Example: `(i32, bool?, text, f64)` is `f64 | header | digest | i32 + bool << 32 + null << 40` and the
//! text's pointer.
//!
//! The layout follows from the sink and the types of its values, which all variants of a loop share.

use crate::ir::{Agg, AggFunc, GroupKey, Loop, Sink, Ty};
use arrow::datatypes::DataType;
use fuseline_kernels::group::{Cell, CellKind, TableShape};

/// Where a key lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyPlace {
    pub ty: Ty,
    pub data_type: DataType,
    /// The (first) word.
    pub word: usize,
    /// Its lowest bit in that word.
    pub shift: u32,
    /// The word and bit that are set for NULL; strings have a header for it instead.
    pub null: Option<(usize, u32)>,
    pub nullable: bool,
    /// The word of a string's pointer.
    pub pointer: Option<usize>,
    /// It is the only key, an integer, and has word 0 for itself, extended.
    pub extended: bool,
}

/// What a table's records are made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupLayout {
    pub keys: Vec<KeyPlace>,
    pub aggs: Vec<(AggFunc, Ty)>,
    pub shape: TableShape,
}

impl GroupLayout {
    /// The layout of a loop's table; `None` if it does not group.
    pub fn of(source: &Loop) -> Option<GroupLayout> {
        let Sink::Group { keys, aggs } = &source.sink else { return None };
        let mut keys: Vec<KeyPlace> = keys
            .iter()
            .map(|GroupKey { value, data_type, nullable }| KeyPlace {
                ty: source.value(*value).ty,
                data_type: data_type.clone(),
                word: 0,
                shift: 0,
                null: None,
                nullable: *nullable,
                pointer: None,
                extended: false,
            })
            .collect();
        let mut shape = TableShape { words: 0, texts: vec![], integer: false, cells: vec![] };
        if let [key] = keys.as_mut_slice()
            && is_integer(key.ty)
        {
            shape.integer = true;
            key.extended = true;
            key.null = key.nullable.then_some((1, 0));
            shape.words = if key.nullable { 2 } else { 1 };
        } else {
            place(&mut keys, &mut shape);
        }
        let mut word = shape.key_words();
        for agg in aggs {
            let kind = cell_kind(agg);
            shape.cells.push(Cell { kind, word });
            word += kind.words();
        }
        let aggs = aggs.iter().map(|a| (a.func, a.ty)).collect();
        Some(GroupLayout { keys, aggs, shape })
    }
}

fn is_integer(ty: Ty) -> bool {
    match ty {
        Ty::Bool | Ty::I8 | Ty::I16 | Ty::I32 | Ty::I64 | Ty::U8 | Ty::U16 | Ty::U32 | Ty::U64 => true,
        Ty::I128 | Ty::F32 | Ty::F64 | Ty::Str => false,
    }
}

/// Gives keys their places in a packed key.
pub(crate) fn place(keys: &mut [KeyPlace], shape: &mut TableShape) {
    let width = |ty: Ty| ty.width().unwrap_or(1);
    for key in keys.iter_mut().filter(|k| width(k.ty) >= 8) {
        key.word = shape.words;
        shape.words += width(key.ty) / 8;
        if key.ty == Ty::Str {
            shape.texts.push(key.word);
        }
    }
    let mut bits = shape.words * 64;
    for bytes in [4, 2, 1] {
        for key in keys.iter_mut().filter(|k| width(k.ty) == bytes) {
            (key.word, key.shift) = (bits / 64, (bits % 64) as u32);
            bits += bytes * 8;
        }
    }
    for key in keys.iter_mut().filter(|k| k.nullable && k.ty != Ty::Str) {
        key.null = Some((bits / 64, (bits % 64) as u32));
        bits += 1;
    }
    shape.words = bits.div_ceil(64);
    for (pointer, word) in (shape.words..).zip(&shape.texts) {
        for key in keys.iter_mut().filter(|k| k.word == *word && k.ty == Ty::Str) {
            key.pointer = Some(pointer);
        }
    }
}

fn cell_kind(agg: &Agg) -> CellKind {
    match (agg.func, agg.ty) {
        (AggFunc::Count, _) => CellKind::Sum64,
        (AggFunc::Sum, Ty::F64 | Ty::F32) => CellKind::SumF64,
        (AggFunc::Sum, Ty::I128) => CellKind::Sum128,
        (AggFunc::Sum, _) => CellKind::Sum64,
        (AggFunc::Min, Ty::Str) => CellKind::TextMin,
        (AggFunc::Max, Ty::Str) => CellKind::TextMax,
        (AggFunc::Min, Ty::I128) => CellKind::Min128,
        (AggFunc::Min, _) => CellKind::Min64,
        (AggFunc::Max, Ty::I128) => CellKind::Max128,
        (AggFunc::Max, _) => CellKind::Max64,
        (AggFunc::Spread, _) => CellKind::Spread,
    }
}

/// From the bits of a number to the signed form that orders as the numbers do, and back: the mapping is
/// its own inverse. `bits` are sign- or zero-extended as the type has it; F32 sign-extended.
pub(crate) fn order_form(ty: Ty, bits: u64) -> u64 {
    match ty {
        Ty::U64 => bits ^ 1 << 63,
        Ty::F64 | Ty::F32 => {
            let sign = (bits as i64 >> 63) as u64;
            // Of a single only the low half is looked at.
            bits ^ sign >> if ty == Ty::F64 { 1 } else { 33 }
        }
        Ty::Bool | Ty::I8 | Ty::I16 | Ty::I32 | Ty::I64 | Ty::I128 | Ty::U8 | Ty::U16 | Ty::U32 | Ty::Str => {
            bits
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_do_not_overlap() {
        let text = "loop {
  input 0: i32 as Int32
  input 1: bool? as Boolean
  input 2: str? as Utf8
  input 3: f64 as Float64
  input 4: i128? as Decimal128(38, 2)
  input 5: str as Utf8View
  v0 = input 0
  v1 = input 1
  v2 = input 2
  v3 = input 3
  v4 = input 4
  v5 = input 5
  group v0 as Int32, v1 as Boolean?, v2 as Utf8?, v3 as Float64, v4 as Decimal128(38, 2)?, v5 as Utf8View
  aggregate count(*): i64, min(v4): i128, sum(v3): f64
}";
        let source: Loop = text.parse().unwrap();
        crate::ir::verify(&source).unwrap();
        let layout = GroupLayout::of(&source).unwrap();
        let shape = &layout.shape;
        assert_eq!((shape.words, shape.texts.as_slice()), (8, &[0, 5][..]));
        let mut used = vec![0u64; shape.words];
        let mut take = |word: usize, shift: u32, bits: u32| {
            let mask = if bits == 64 { u64::MAX } else { ((1 << bits) - 1) << shift };
            assert_eq!(used[word] & mask, 0);
            used[word] |= mask;
        };
        for key in &layout.keys {
            match key.ty.width() {
                Some(16) => {
                    take(key.word, 0, 64);
                    take(key.word + 1, 0, 64);
                }
                width => take(key.word, key.shift, width.unwrap_or(1) as u32 * 8),
            }
            if let Some((word, bit)) = key.null {
                take(word, bit, 1);
            }
        }
        let cells: Vec<usize> = shape.cells.iter().map(|c| c.word).collect();
        assert_eq!((cells, shape.record_words()), (vec![10, 11, 13], 14));
    }

    #[test]
    fn order_forms_order() {
        let floats = [f64::NEG_INFINITY, -1.5, -0.0, 0.0, 1e-300, 2.0, f64::INFINITY, f64::NAN];
        let forms: Vec<i64> = floats.iter().map(|f| order_form(Ty::F64, f.to_bits()) as i64).collect();
        assert!(forms.windows(2).all(|w| w[0] < w[1]));
        let singles = [f32::MIN, -1.5, -0.0, 0.0, 2.0, f32::INFINITY];
        let form = |f: &f32| order_form(Ty::F32, i64::from(f.to_bits() as i32) as u64) as i64;
        assert!(singles.iter().map(form).collect::<Vec<_>>().windows(2).all(|w| w[0] < w[1]));
        for f in floats {
            assert_eq!(order_form(Ty::F64, order_form(Ty::F64, f.to_bits())), f.to_bits());
        }
        for f in singles {
            assert_eq!(order_form(Ty::F32, form(&f) as u64) as u32, f.to_bits());
        }
        assert!((order_form(Ty::U64, 1) as i64) < order_form(Ty::U64, u64::MAX) as i64);
    }
}
