//! Updating the cells of a chunk's groups.
//!
//! All loads of a row come before its first store, and four rows in turn go to four copies of the cells.

use super::keys::{extended, or_zero};
use super::{Emitter, Grouping};
use crate::cpu::CompileError;
use crate::cpu::classify::constant;
use crate::cpu::emitter::FLAGS;
use crate::cpu::scalar::Scalars;
use crate::cpu::schedule::{Need, group_reads};
use crate::ir::{Agg, AggFunc, Ty, ValueId};
use cranelift::prelude::*;
use fuseline_kernels::abi::{GroupRef, RECORD_COPIES};
use fuseline_kernels::group::{Cell, CellKind};
use std::mem::offset_of;

impl<'l> Emitter<'_, 'l> {
    pub(super) fn update_cells(&mut self, g: &Grouping<'l>) -> Result<(), CompileError> {
        if g.aggs.is_empty() {
            return Ok(());
        }
        let mut copies = Vec::with_capacity(RECORD_COPIES);
        let first = offset_of!(GroupRef, records);
        for copy in 0..RECORD_COPIES {
            copies.push(self.table_field(g, first + copy * size_of::<usize>()));
        }
        let zero = self.b.ins().iconst(types::I64, 0);
        let whole = self.b.ins().band_imm_s(self.n, -(RECORD_COPIES as i64));
        let n = self.n;
        self.row_loop((zero, whole, RECORD_COPIES as i64), |e, row| {
            for (k, records) in copies.iter().enumerate() {
                let row = e.b.ins().iadd_imm_u(row, k as i64);
                e.update_row(g, row, *records)?;
            }
            Ok(())
        })?;
        self.row_loop((whole, n, 1), |e, row| {
            let copy = e.b.ins().band_imm_u(row, RECORD_COPIES as i64 - 1);
            let at = e.b.ins().ishl_imm_u(copy, 3);
            let at = e.b.ins().iadd(g.table, at);
            let records = e.b.ins().load(types::I64, FLAGS, at, first as i32);
            e.update_row(g, row, records)
        })
    }

    fn update_row(&mut self, g: &Grouping<'l>, row: Value, records: Value) -> Result<(), CompileError> {
        let number = self.load_number(g, row);
        let offset = self.b.ins().imul_imm_s(number, g.stride);
        let record = self.b.ins().iadd(records, offset);
        let mut rows = Scalars::at_row(self, row);
        // All loads come before the first store.
        let reads: Vec<(ValueId, Need)> = group_reads(rows.e.lp).into_iter().skip(g.keys.len()).collect();
        for (v, need) in merged(reads) {
            if constant(rows.e.lp, v).is_none() {
                rows.load(v, need);
            }
        }
        for (agg, cell) in g.aggs.iter().zip(&g.layout.shape.cells) {
            let mut counts = None;
            if let Some(filter) = agg.filter {
                counts = Some(rows.holds(filter)?);
            }
            if let Some(arg) = agg.arg {
                let valid = rows.value(arg)?.valid;
                counts = rows.and_opt(counts, valid);
            }
            update_cell(&mut rows, agg, *cell, record, counts)?;
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
                AggFunc::Sum | AggFunc::Min | AggFunc::Max => {
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
