//! The keys of a chunk as words: one integer by itself, or packed rows and their hashes.

use super::{Emitter, Grouping};
use crate::cpu::CompileError;
use crate::cpu::classify::constant;
use crate::cpu::emitter::FLAGS;
use crate::cpu::scalar::Scalars;
use crate::cpu::schedule::Need;
use crate::groups::KeyPlace;
use crate::ir::{Ty, ValueId};
use cranelift::prelude::*;
use fuseline_kernels::group::hash_table::hash_factor;

impl Emitter<'_, '_> {
    /// Packs keys, and stores hashes if there is a buffer for them.
    pub(super) fn pack_keys(&mut self, g: &Grouping<'_>, hashes: Option<Value>) -> Result<(), CompileError> {
        let words = g.layout.shape.words;
        let texts: Vec<usize> = g.layout.shape.texts.clone();
        self.all_rows(|e, row| {
            let offset = e.b.ins().imul_imm_s(row, g.key_bytes);
            let packed = e.b.ins().iadd(g.packed, offset);
            // The parts of each word.
            let mut parts: Vec<Option<Value>> = vec![None; words];
            let mut rows = Scalars::at_row(e, row);
            for (key, place) in g.keys.iter().zip(&g.layout.keys) {
                if place.ty != Ty::Str {
                    pack_part(&mut rows, key.value, place, &mut parts)?;
                }
            }
            let mut hash: Option<Value> = None;
            for (at, part) in parts.into_iter().enumerate() {
                let offset = (at * 8) as i32;
                let is_text = texts.iter().any(|t| *t == at || *t + 1 == at);
                let word = match part {
                    Some(part) => part,
                    None if is_text => {
                        if hashes.is_none() {
                            continue;
                        }
                        e.b.ins().load(types::I64, FLAGS, packed, offset)
                    }
                    None => e.b.ins().iconst(types::I64, 0),
                };
                if !is_text {
                    e.b.ins().store(FLAGS, word, packed, offset);
                }
                if hashes.is_some() {
                    let mixed = match hash {
                        Some(hash) => e.b.ins().bxor(hash, word),
                        None => word,
                    };
                    let high = e.b.ins().ushr_imm_u(mixed, 32);
                    let mixed = e.b.ins().bxor(mixed, high);
                    hash = Some(e.b.ins().imul_imm_s(mixed, hash_factor() as i64));
                }
            }
            if let (Some(hash), Some(hashes)) = (hash, hashes) {
                let at = e.b.ins().ishl_imm_u(row, 3);
                let at = e.b.ins().iadd(hashes, at);
                e.b.ins().store(FLAGS, hash, at, 0);
            }
            Ok(())
        })
    }
}

/// A key that is one integer: extended, and whether it is valid if it can be null.
pub(super) fn key_bits(
    e: &mut Emitter<'_, '_>,
    row: Value,
    key: ValueId,
    place: &KeyPlace,
) -> Result<(Value, Option<Value>), CompileError> {
    let mut rows = Scalars::at_row(e, row);
    if constant(rows.e.lp, key).is_none() {
        rows.load(key, Need::BOTH);
    }
    let bits = extended(&mut rows, key, place.ty)?;
    let valid = rows.value(key)?.valid;
    Ok((bits, valid))
}

/// The bits of a number of at most 64 bits, sign- or zero-extended.
pub(super) fn extended(rows: &mut Scalars<'_, '_, '_>, v: ValueId, ty: Ty) -> Result<Value, CompileError> {
    let x = rows.data(v)?;
    let b = &mut rows.e.b;
    Ok(match ty {
        Ty::I8 | Ty::I16 | Ty::I32 => b.ins().sextend(types::I64, x),
        Ty::Bool | Ty::U8 | Ty::U16 | Ty::U32 => b.ins().uextend(types::I64, x),
        Ty::I64 | Ty::U64 => x,
        Ty::F64 => b.ins().bitcast(types::I64, MemFlagsData::new(), x),
        Ty::F32 => {
            let bits = b.ins().bitcast(types::I32, MemFlagsData::new(), x);
            b.ins().sextend(types::I64, bits)
        }
        Ty::I128 | Ty::Str => return Err(CompileError::Backend(format!("{ty} is wider than a word"))),
    })
}

/// Adds a key's bits to its words.
fn pack_part(
    rows: &mut Scalars<'_, '_, '_>,
    key: ValueId,
    place: &KeyPlace,
    parts: &mut [Option<Value>],
) -> Result<(), CompileError> {
    if constant(rows.e.lp, key).is_none() {
        rows.load(key, Need::BOTH);
    }
    let valid = rows.value(key)?.valid;
    if place.ty == Ty::I128 {
        let x = rows.data(key)?;
        let (low, high) = rows.e.b.ins().isplit(x);
        for (at, half) in [(place.word, low), (place.word + 1, high)] {
            let half = or_zero(rows, valid, half);
            add(rows, &mut parts[at], half);
        }
    } else {
        let mut bits = extended(rows, key, place.ty)?;
        let mask = place.mask();
        if !place.extended && mask != u64::MAX {
            bits = rows.e.b.ins().band_imm_u(bits, mask as i64);
        }
        if place.ty.is_float() {
            // -0.0 has the sign bit alone.
            let b = &mut rows.e.b;
            let sign = if place.ty == Ty::F64 { 1u64 << 63 } else { 1 << 31 };
            let sign = b.ins().iconst(types::I64, sign as i64);
            let negative_zero = b.ins().icmp(IntCC::Equal, bits, sign);
            let zero = b.ins().iconst(types::I64, 0);
            bits = b.ins().select(negative_zero, zero, bits);
        }
        let bits = or_zero(rows, valid, bits);
        let bits = shifted(rows, bits, place.shift);
        add(rows, &mut parts[place.word], bits);
    }
    if let (Some((word, bit)), Some(valid)) = (place.null, valid) {
        let b = &mut rows.e.b;
        let null = b.ins().bxor_imm_u(valid, 1);
        let null = b.ins().uextend(types::I64, null);
        let null = shifted(rows, null, bit);
        add(rows, &mut parts[word], null);
    }
    Ok(())
}

pub(super) fn or_zero(rows: &mut Scalars<'_, '_, '_>, valid: Option<Value>, bits: Value) -> Value {
    let b = &mut rows.e.b;
    match valid {
        Some(valid) => {
            let zero = b.ins().iconst(types::I64, 0);
            b.ins().select(valid, bits, zero)
        }
        None => bits,
    }
}

fn shifted(rows: &mut Scalars<'_, '_, '_>, bits: Value, by: u32) -> Value {
    if by == 0 { bits } else { rows.e.b.ins().ishl_imm_u(bits, i64::from(by)) }
}

fn add(rows: &mut Scalars<'_, '_, '_>, word: &mut Option<Value>, bits: Value) {
    *word = Some(match *word {
        Some(word) => rows.e.b.ins().bor(word, bits),
        None => bits,
    });
}
