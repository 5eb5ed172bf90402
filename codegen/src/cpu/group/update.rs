//! Updating the cells of a chunk's groups.
//!
//! All loads of a row come before its first store, and four rows in turn go to four copies of the cells. The cells
//! of a row are those of its record, or those by its value where the whole chunk lies in that range.

use super::keys::{extended, key_bits, or_zero};
use super::{Emitter, Grouping};
use crate::cpu::CompileError;
use crate::cpu::classify::constant;
use crate::cpu::emitter::FLAGS;
use crate::cpu::scalar::Scalars;
use crate::cpu::schedule::{Need, operands};
use crate::cpu::sink::is_text_extreme;
use crate::ir::{Agg, AggFunc, Ty, ValueId};
use cranelift::prelude::*;
use fuseline_kernels::abi::{GroupRef, RECORD_COPIES};
use fuseline_kernels::group::{Cell, CellKind};
use std::mem::offset_of;

impl<'l> Emitter<'_, 'l> {
    /// Updates the records of the groups whose numbers are known.
    pub(super) fn update_cells(&mut self, g: &Grouping<'l>) -> Result<(), CompileError> {
        if g.aggs.iter().all(is_text_extreme) {
            return Ok(());
        }
        self.copied_rows(g, offset_of!(GroupRef, records), |e, row, records| {
            let number = e.load_number(g, row);
            let offset = e.b.ins().imul_imm_s(number, g.stride);
            let record = e.b.ins().iadd(records, offset);
            e.update_row(g, row, record, 0)
        })
    }

    /// Offers the chunk's texts to the minima and maxima of its groups.
    pub(super) fn offer_texts(&mut self, g: &Grouping<'l>) -> Result<(), CompileError> {
        for (agg, cell) in g.aggs.iter().zip(&g.layout.shape.cells) {
            let Some(arg) = agg.arg.filter(|_| is_text_extreme(agg)) else { continue };
            let null = self.b.ins().iconst(types::I64, 0);
            let filter = match agg.filter {
                None => null,
                Some(filter) => self.bits_hold(filter)?,
            };
            let texts = self.buffer_of(arg)?;
            let valid = self.mem[arg.index()].valid.unwrap_or(null);
            let least = usize::from(agg.func == AggFunc::Min);
            let cell = self.b.ins().iconst(types::I64, (2 * cell.word + least) as i64);
            let args = [g.table, self.n, g.numbers, texts, valid, filter, cell];
            self.call("rt_group_offer_text", &args)?;
        }
        Ok(())
    }

    /// Updates cells by value: all keys are NULL or in the range.
    pub(super) fn update_by_value(&mut self, g: &Grouping<'l>) -> Result<(), CompileError> {
        let base = self.table_field(g, offset_of!(GroupRef, dense_base));
        let len = self.table_field(g, offset_of!(GroupRef, dense_len));
        let present = self.table_field(g, offset_of!(GroupRef, present));
        let one = self.b.ins().iconst(types::I8, 1);
        let key_words = g.layout.shape.key_words() as i64 * 8;
        self.copied_rows(g, offset_of!(GroupRef, direct), |e, row, cells| {
            let (value, valid) = key_bits(e, row, g.keys[0].value, &g.layout.keys[0])?;
            let place = e.b.ins().isub(value, base);
            let place = match valid {
                Some(valid) => e.b.ins().select(valid, place, len),
                None => place,
            };
            let at = e.b.ins().iadd(present, place);
            let offset = e.b.ins().imul_imm_s(place, g.stride - key_words);
            let cells = e.b.ins().iadd(cells, offset);
            e.update_row(g, row, cells, g.layout.shape.key_words())?;
            e.b.ins().store(FLAGS, one, at, 0);
            Ok(())
        })
    }

    /// A loop over the rows, four at a time, each with the pointer to its copy, which lie at `first` in the
    /// table.
    fn copied_rows(
        &mut self,
        g: &Grouping<'l>,
        first: usize,
        mut body: impl FnMut(&mut Self, Value, Value) -> Result<(), CompileError>,
    ) -> Result<(), CompileError> {
        let mut copies = Vec::with_capacity(RECORD_COPIES);
        for copy in 0..RECORD_COPIES {
            copies.push(self.table_field(g, first + copy * size_of::<usize>()));
        }
        let zero = self.b.ins().iconst(types::I64, 0);
        let whole = self.b.ins().band_imm_s(self.n, -(RECORD_COPIES as i64));
        let n = self.n;
        self.row_loop((zero, whole, RECORD_COPIES as i64), |e, row| {
            for (k, at) in copies.iter().enumerate() {
                let row = e.b.ins().iadd_imm_u(row, k as i64);
                body(e, row, *at)?;
            }
            Ok(())
        })?;
        self.row_loop((whole, n, 1), |e, row| {
            let copy = e.b.ins().band_imm_u(row, RECORD_COPIES as i64 - 1);
            let at = e.b.ins().ishl_imm_u(copy, 3);
            let at = e.b.ins().iadd(g.table, at);
            let at = e.b.ins().load(types::I64, FLAGS, at, first as i32);
            body(e, row, at)
        })
    }

    /// Updates the cells of a row; of the record before them `skipped` words are not there.
    fn update_row(
        &mut self,
        g: &Grouping<'l>,
        row: Value,
        record: Value,
        skipped: usize,
    ) -> Result<(), CompileError> {
        let mut rows = Scalars::at_row(self, row);
        // All loads come before the first store.
        let cells = || g.aggs.iter().zip(&g.layout.shape.cells).filter(|(agg, _)| !is_text_extreme(agg));
        let reads: Vec<(ValueId, Need)> = cells().flat_map(|(agg, _)| operands(agg)).collect();
        for (v, need) in merged(reads) {
            if constant(rows.e.lp, v).is_none() {
                rows.load(v, need);
            }
        }
        for (agg, cell) in cells() {
            let mut counts = None;
            if let Some(filter) = agg.filter {
                counts = Some(rows.holds(filter)?);
            }
            if let Some(arg) = agg.arg {
                let valid = rows.value(arg)?.valid;
                counts = rows.and_opt(counts, valid);
            }
            let cell = Cell { kind: cell.kind, word: cell.word - skipped };
            update_cell(&mut rows, agg, cell, record, counts)?;
        }
        Ok(())
    }
}

/// Each value once, with all that is needed of it.
fn merged(reads: Vec<(ValueId, Need)>) -> Vec<(ValueId, Need)> {
    let mut out: Vec<(ValueId, Need)> = Vec::new();
    for (v, need) in reads {
        match out.iter_mut().find(|(known, _)| *known == v) {
            Some((_, known)) => known.merge(need),
            None => out.push((v, need)),
        }
    }
    out
}

/// Accumulates a row, if it counts.
fn update_cell(
    rows: &mut Scalars<'_, '_, '_>,
    agg: &Agg,
    cell: Cell,
    record: Value,
    counts: Option<Value>,
) -> Result<(), CompileError> {
    let offset = (cell.word * 8) as i32;
    let missing = || CompileError::Backend("an aggregate lacks its argument".to_owned());
    match cell.kind {
        CellKind::Sum64 => {
            let x = match agg.func {
                AggFunc::Count => match counts {
                    Some(one) => rows.e.b.ins().uextend(types::I64, one),
                    None => rows.e.b.ins().iconst(types::I64, 1),
                },
                AggFunc::Sum | AggFunc::Min | AggFunc::Max | AggFunc::Spread => {
                    let x = rows.data(agg.arg.ok_or_else(missing)?)?;
                    or_zero(rows, counts, x)
                }
            };
            let b = &mut rows.e.b;
            let before = b.ins().load(types::I64, FLAGS, record, offset);
            let after = b.ins().iadd(before, x);
            b.ins().store(FLAGS, after, record, offset);
        }
        CellKind::SumF64 => {
            let mut x = rows.data(agg.arg.ok_or_else(missing)?)?;
            let b = &mut rows.e.b;
            if let Some(counts) = counts {
                let zero = b.ins().f64const(0.0);
                x = b.ins().select(counts, x, zero);
            }
            let before = b.ins().load(types::F64, FLAGS, record, offset);
            let after = b.ins().fadd(before, x);
            b.ins().store(FLAGS, after, record, offset);
        }
        CellKind::Min64 | CellKind::Max64 => {
            let x = extended(rows, agg.arg.ok_or_else(missing)?, agg.ty)?;
            let x = ordered(rows, agg.ty, x);
            let b = &mut rows.e.b;
            let x = match counts {
                Some(counts) => {
                    let neutral = b.ins().iconst(types::I64, cell.kind.start()[0] as i64);
                    b.ins().select(counts, x, neutral)
                }
                None => x,
            };
            let before = b.ins().load(types::I64, FLAGS, record, offset);
            let less = b.ins().icmp(IntCC::SignedLessThan, x, before);
            let after = if cell.kind == CellKind::Min64 {
                b.ins().select(less, x, before)
            } else {
                b.ins().select(less, before, x)
            };
            b.ins().store(FLAGS, after, record, offset);
        }
        // A kernel's, once per chunk.
        CellKind::TextMin | CellKind::TextMax => {}
        CellKind::Spread => {
            let x = rows.data(agg.arg.ok_or_else(missing)?)?;
            let b = &mut rows.e.b;
            let before = [
                b.ins().load(types::I64, FLAGS, record, offset),
                b.ins().load(types::F64, FLAGS, record, offset + 8),
                b.ins().load(types::F64, FLAGS, record, offset + 16),
            ];
            let after = rows.spread_with(before, x);
            for (k, (before, after)) in before.into_iter().zip(after).enumerate() {
                let after = match counts {
                    Some(counts) => rows.choose(counts, after, before),
                    None => after,
                };
                rows.e.b.ins().store(FLAGS, after, record, offset + 8 * k as i32);
            }
        }
        CellKind::Sum128 | CellKind::Min128 | CellKind::Max128 => {
            let x = rows.data(agg.arg.ok_or_else(missing)?)?;
            let before = rows.e.b.ins().load(types::I128, FLAGS, record, offset);
            let after = if cell.kind == CellKind::Sum128 {
                rows.e.b.ins().iadd(before, x)
            } else {
                let less = rows.e.b.ins().icmp(IntCC::SignedLessThan, x, before);
                let least = cell.kind == CellKind::Min128;
                let (yes, no) = if least { (x, before) } else { (before, x) };
                rows.choose(less, yes, no)
            };
            let after = match counts {
                Some(counts) => rows.choose(counts, after, before),
                None => after,
            };
            rows.e.b.ins().store(FLAGS, after, record, offset);
        }
    }
    Ok(())
}

/// As `order_form` of the interpreter.
fn ordered(rows: &mut Scalars<'_, '_, '_>, ty: Ty, bits: Value) -> Value {
    let b = &mut rows.e.b;
    match ty {
        Ty::U64 => {
            let sign = b.ins().iconst(types::I64, i64::MIN);
            b.ins().bxor(bits, sign)
        }
        Ty::F64 | Ty::F32 => {
            let sign = b.ins().sshr_imm_u(bits, 63);
            let flip = b.ins().ushr_imm_u(sign, if ty == Ty::F64 { 1 } else { 33 });
            b.ins().bxor(bits, flip)
        }
        Ty::Bool | Ty::I8 | Ty::I16 | Ty::I32 | Ty::I64 | Ty::I128 | Ty::U8 | Ty::U16 | Ty::U32 | Ty::Str => {
            bits
        }
    }
}
