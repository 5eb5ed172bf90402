//! The end of a chunk of a grouping loop: find every row's group, then update the groups' cells.
//!
//! Keys and arguments lie in chunk buffers or in their columns by now. Finding goes one of two ways, as
//! the table says when the chunk begins:
//!
//! * an integer indexes an array of group numbers;
//! * otherwise keys are packed into rows of words and hashed, and each is compared with one group: that
//!   of the first slot of its hash or, where that has another tag, of the second.
//!
//! Neither way branches on a row: a row that is not found there is noted in a list, and the kernel
//! `rt_group_resolve` goes on from the list, which for most chunks is empty. Once the table has outgrown
//! the near caches, slots and records are prefetched for the whole chunk before they are looked at.
//!
//! Updating is a loop of its own over the group numbers. Four rows in turn go to four copies of the cells
//! (see [`fuseline_kernels::group::hash_table`]), because an addition to a cell that was just written
//! waits for the store.
//!
//! Invariant: up to the update nothing of the chunk is in the cells, and nothing after it can fail.

use super::CompileError;
use super::classify::constant;
use super::emitter::{Emitter, FLAGS};
use super::prefetch::emit_prefetch_at;
use super::scalar::Scalars;
use super::schedule::{Need, group_reads};
use crate::groups::{GroupLayout, KeyPlace};
use crate::ir::{Agg, AggFunc, CHUNK, GroupKey, Sink, Ty, ValueId};
use cranelift::prelude::*;
use fuseline_kernels::abi::{GroupRef, LoopContext, RECORD_COPIES};
use fuseline_kernels::group::hash_table::{SLOT_SHIFT, hash_factor};
use fuseline_kernels::group::{Cell, CellKind};
use std::mem::offset_of;

/// What the parts of a chunk's end share.
struct Grouping<'l> {
    layout: GroupLayout,
    keys: &'l [GroupKey],
    aggs: &'l [Agg],
    table: Value,
    /// Group numbers of the chunk's rows, 32 bits each.
    numbers: Value,
    /// Packed keys.
    packed: Value,
    /// Rows that were not found, 16 bits each; a row may be listed twice.
    missed: Value,
    missed_count: Variable,
    /// Bytes of a packed key and of a record.
    key_bytes: i64,
    stride: i64,
}

impl<'l> Emitter<'_, 'l> {
    /// Notes that all rows before this chunk are in the table, for a caller whose call fails later.
    pub(super) fn note_done(&mut self) {
        if let Sink::Group { .. } = &self.lp.sink {
            let offset = offset_of!(LoopContext, done_rows) as i32;
            self.b.ins().store(FLAGS, self.chunk_row, self.context, offset);
        }
    }

    /// Finds and updates the groups of the chunk's rows, if the loop groups.
    pub(super) fn emit_group(&mut self) -> Result<(), CompileError> {
        let Sink::Group { keys, aggs } = &self.lp.sink else { return Ok(()) };
        let Some(layout) = GroupLayout::of(self.lp) else { return Ok(()) };
        for (v, need) in group_reads(self.lp) {
            self.ensure(v, need)?;
        }
        let (key_words, record_words) = (layout.shape.key_words(), layout.shape.record_words());
        let table =
            self.b.ins().load(types::I64, FLAGS, self.context, offset_of!(LoopContext, groups) as i32);
        let numbers = self.buffer(Ty::U32);
        let packed = self.reserve(CHUNK * key_words * 8);
        let packed = self.scratch_at(packed);
        let missed = self.reserve(2 * CHUNK * 2);
        let missed = self.scratch_at(missed);
        let missed_count = self.b.declare_var(types::I64);
        let zero = self.b.ins().iconst(types::I64, 0);
        self.b.def_var(missed_count, zero);
        let g = Grouping {
            keys,
            aggs,
            table,
            numbers,
            packed,
            missed,
            missed_count,
            key_bytes: key_words as i64 * 8,
            stride: record_words as i64 * 8,
            layout,
        };
        let (resolve, update) = (self.b.create_block(), self.b.create_block());
        if g.layout.shape.integer {
            let (by_value, hashed, pack) =
                (self.b.create_block(), self.b.create_block(), self.b.create_block());
            let dense = self.table_field(&g, offset_of!(GroupRef, dense));
            self.b.ins().brif(dense, by_value, &[], hashed, &[]);
            self.start(by_value);
            self.find_by_value(&g, dense)?;
            let missed = self.b.use_var(g.missed_count);
            self.b.ins().brif(missed, pack, &[], update, &[]);
            self.start(pack);
            self.pack_keys(&g, None)?;
            self.b.ins().jump(resolve, &[]);
            self.start(hashed);
        }
        self.find_by_hash(&g, update)?;
        let missed = self.b.use_var(g.missed_count);
        self.b.ins().brif(missed, resolve, &[], update, &[]);
        self.start(resolve);
        let missed = self.b.use_var(g.missed_count);
        let failed = self.call("rt_group_resolve", &[g.table, missed, g.missed, g.packed, g.numbers])?;
        let status = failed.unwrap_or(missed);
        self.b.ins().brif(status, self.bail, &[], update, &[]);
        self.start(update);
        self.update_cells(&g)
    }

    /// Goes on in a block to which all jumps have been made.
    fn start(&mut self, block: Block) {
        self.b.switch_to_block(block);
        self.b.seal_block(block);
    }

    fn table_field(&mut self, g: &Grouping<'_>, offset: usize) -> Value {
        self.b.ins().load(types::I64, FLAGS, g.table, offset as i32)
    }

    /// A loop over rows `from..to` in steps; `to - from` is a multiple of the step.
    fn row_loop(
        &mut self,
        (from, to, step): (Value, Value, i64),
        mut body: impl FnMut(&mut Self, Value) -> Result<(), CompileError>,
    ) -> Result<(), CompileError> {
        let (rows, after) = (self.b.create_block(), self.b.create_block());
        self.b.append_block_param(rows, types::I64);
        let some = self.b.ins().icmp(IntCC::UnsignedLessThan, from, to);
        self.b.ins().brif(some, rows, &[from.into()], after, &[]);
        self.b.switch_to_block(rows);
        let row = self.b.block_params(rows)[0];
        body(self, row)?;
        let next = self.b.ins().iadd_imm_s(row, step);
        let more = self.b.ins().icmp(IntCC::UnsignedLessThan, next, to);
        self.b.ins().brif(more, rows, &[next.into()], after, &[]);
        self.b.seal_block(rows);
        self.start(after);
        Ok(())
    }

    fn all_rows(
        &mut self,
        body: impl FnMut(&mut Self, Value) -> Result<(), CompileError>,
    ) -> Result<(), CompileError> {
        let zero = self.b.ins().iconst(types::I64, 0);
        let n = self.n;
        self.row_loop((zero, n, 1), body)
    }

    /// Emits code that runs only while the table is beyond the near caches.
    fn if_far(
        &mut self,
        g: &Grouping<'_>,
        body: impl FnOnce(&mut Self) -> Result<(), CompileError>,
    ) -> Result<(), CompileError> {
        let (far, after) = (self.b.create_block(), self.b.create_block());
        let is_far = self.table_field(g, offset_of!(GroupRef, far));
        self.b.ins().brif(is_far, far, &[], after, &[]);
        self.start(far);
        body(self)?;
        self.b.ins().jump(after, &[]);
        self.start(after);
        Ok(())
    }

    fn prefetch_record(&mut self, g: &Grouping<'_>, records: Value, number: Value) {
        let offset = self.b.ins().imul_imm_s(number, g.stride);
        let record = self.b.ins().iadd(records, offset);
        self.prefetches += emit_prefetch_at(&mut self.b, record, 0);
        // A record that does not fit a line may begin in one and end in the next.
        if 64 % g.stride != 0 {
            self.prefetches += emit_prefetch_at(&mut self.b, record, (g.stride - 1) as i32);
        }
    }

    fn store_number(&mut self, g: &Grouping<'_>, row: Value, number: Value) {
        let at = self.b.ins().ishl_imm_u(row, 2);
        let at = self.b.ins().iadd(g.numbers, at);
        self.b.ins().store(FLAGS, number, at, 0);
    }

    fn load_number(&mut self, g: &Grouping<'_>, row: Value) -> Value {
        let at = self.b.ins().ishl_imm_u(row, 2);
        let at = self.b.ins().iadd(g.numbers, at);
        self.b.ins().uload32(FLAGS, at, 0)
    }

    /// Lists the row if `miss` (0 or 1) is 1.
    fn note_missed(&mut self, g: &Grouping<'_>, row: Value, miss: Value) {
        let count = self.b.use_var(g.missed_count);
        let at = self.b.ins().ishl_imm_u(count, 1);
        let at = self.b.ins().iadd(g.missed, at);
        self.b.ins().istore16(FLAGS, row, at, 0);
        let one = self.b.ins().uextend(types::I64, miss);
        let count = self.b.ins().iadd(count, one);
        self.b.def_var(g.missed_count, count);
    }

    // ---- finding --------------------------------------------------------------------------------

    /// Looks integers up in the array.
    fn find_by_value(&mut self, g: &Grouping<'_>, dense: Value) -> Result<(), CompileError> {
        let base = self.table_field(g, offset_of!(GroupRef, dense_base));
        let len = self.table_field(g, offset_of!(GroupRef, dense_len));
        let null = self.b.ins().iadd_imm_s(len, 1);
        let (key, place) = (g.keys[0].value, &g.layout.keys[0]);
        let entry_at = |e: &mut Self, row: Value| -> Result<Value, CompileError> {
            let (value, valid) = key_bits(e, row, key, place)?;
            let index = e.b.ins().isub(value, base);
            let index = e.b.ins().umin(index, len);
            let index = match valid {
                Some(valid) => e.b.ins().select(valid, index, null),
                None => index,
            };
            let at = e.b.ins().ishl_imm_u(index, 2);
            Ok(e.b.ins().iadd(dense, at))
        };
        self.if_far(g, |e| {
            e.all_rows(|e, row| {
                let at = entry_at(e, row)?;
                e.prefetches += emit_prefetch_at(&mut e.b, at, 0);
                Ok(())
            })
        })?;
        let any = self.b.declare_var(types::I32);
        let none = self.b.ins().iconst(types::I32, 0);
        self.b.def_var(any, none);
        self.all_rows(|e, row| {
            let at = entry_at(e, row)?;
            let entry = e.b.ins().load(types::I32, FLAGS, at, 0);
            // All ones where there is no such group.
            let number = e.b.ins().iadd_imm_s(entry, -1);
            e.store_number(g, row, number);
            let before = e.b.use_var(any);
            let after = e.b.ins().bor(before, number);
            e.b.def_var(any, after);
            Ok(())
        })?;
        // Once a table knows its values nothing is missed, and then nothing more is paid for the list. A
        // number with its highest bit set looks like a miss until it is looked at.
        let (list, listed) = (self.b.create_block(), self.b.create_block());
        let found = self.b.use_var(any);
        let missed = self.b.ins().icmp_imm_s(IntCC::SignedLessThan, found, 0);
        self.b.ins().brif(missed, list, &[], listed, &[]);
        self.start(list);
        self.all_rows(|e, row| {
            let number = e.load_number(g, row);
            let miss = e.b.ins().icmp_imm_u(IntCC::Equal, number, i64::from(u32::MAX));
            e.note_missed(g, row, miss);
            Ok(())
        })?;
        self.b.ins().jump(listed, &[]);
        self.start(listed);
        self.if_far(g, |e| {
            let records = e.table_field(g, offset_of!(GroupRef, records));
            e.all_rows(|e, row| {
                let number = e.load_number(g, row);
                e.prefetch_record(g, records, number);
                Ok(())
            })
        })
    }

    /// Packs keys, and stores hashes if there is a buffer for them.
    fn pack_keys(&mut self, g: &Grouping<'_>, hashes: Option<Value>) -> Result<(), CompileError> {
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

    /// Packs and hashes keys, and looks at the first slot of each; or goes straight on to `update` where each
    /// key just gets a record.
    fn find_by_hash(&mut self, g: &Grouping<'_>, update: Block) -> Result<(), CompileError> {
        let mut long: Option<Value> = None;
        for (key, place) in g.keys.iter().zip(&g.layout.keys) {
            let Some(pointer) = place.pointer else { continue };
            let mem = self.mem[key.value.index()];
            let texts =
                mem.data.ok_or_else(|| CompileError::Backend("a key's text is nowhere".to_owned()))?;
            let stride = self.b.ins().iconst(types::I64, g.key_bytes / 8);
            let null = self.b.ins().iconst(types::I64, 0);
            let out = self.b.ins().iadd_imm_u(g.packed, place.word as i64 * 8);
            let pointers = self.b.ins().iadd_imm_u(g.packed, pointer as i64 * 8);
            let args = [self.n, texts, mem.valid.unwrap_or(null), stride, out, pointers];
            if let Some(count) = self.call("rt_group_pack_text", &args)? {
                long = Some(match long {
                    Some(before) => self.b.ins().iadd(before, count),
                    None => count,
                });
            }
        }
        let hashes = self.reserve(CHUNK * 8);
        let hashes = self.scratch_at(hashes);
        self.pack_keys(g, Some(hashes))?;
        let (append, look) = (self.b.create_block(), self.b.create_block());
        let appends = self.table_field(g, offset_of!(GroupRef, append));
        self.b.ins().brif(appends, append, &[], look, &[]);
        self.start(append);
        let failed = self.call("rt_group_append", &[g.table, self.n, g.packed, g.numbers])?;
        let status = failed.unwrap_or(appends);
        self.b.ins().brif(status, self.bail, &[], update, &[]);
        self.start(look);
        let slots = self.table_field(g, offset_of!(GroupRef, slots));
        let mask = self.table_field(g, offset_of!(GroupRef, mask));
        let records = self.table_field(g, offset_of!(GroupRef, records));
        let slot_at = |e: &mut Self, row: Value| {
            let at = e.b.ins().ishl_imm_u(row, 3);
            let at = e.b.ins().iadd(hashes, at);
            let hash = e.b.ins().load(types::I64, FLAGS, at, 0);
            let slot = e.b.ins().ushr_imm_u(hash, i64::from(SLOT_SHIFT));
            let slot = e.b.ins().band(slot, mask);
            let slot = e.b.ins().ishl_imm_u(slot, 3);
            (hash, e.b.ins().iadd(slots, slot))
        };
        // The slot that may hold the row's group, and the tag that it must have then.
        let candidate = |e: &mut Self, row: Value| {
            let (hash, at) = slot_at(e, row);
            let tag = e.b.ins().ushr_imm_u(hash, 32);
            let tag = e.b.ins().bor_imm_u(tag, 1);
            let first = e.b.ins().load(types::I64, FLAGS, at, 0);
            let second = e.b.ins().load(types::I64, FLAGS, at, 8);
            let found = e.b.ins().ushr_imm_u(first, 32);
            let same = e.b.ins().icmp(IntCC::Equal, found, tag);
            (tag, e.b.ins().select(same, first, second))
        };
        self.if_far(g, |e| {
            e.all_rows(|e, row| {
                let (_, at) = slot_at(e, row);
                e.prefetches += emit_prefetch_at(&mut e.b, at, 0);
                Ok(())
            })?;
            e.all_rows(|e, row| {
                let (_, slot) = candidate(e, row);
                let number = e.b.ins().ireduce(types::I32, slot);
                let number = e.b.ins().uextend(types::I64, number);
                e.prefetch_record(g, records, number);
                Ok(())
            })
        })?;
        self.all_rows(|e, row| {
            let (tag, slot) = candidate(e, row);
            let narrow = e.b.ins().ireduce(types::I32, slot);
            e.store_number(g, row, narrow);
            // Words that differ leave bits.
            let found = e.b.ins().ushr_imm_u(slot, 32);
            let mut differ = e.b.ins().bxor(tag, found);
            let number = e.b.ins().uextend(types::I64, narrow);
            let offset = e.b.ins().imul_imm_s(number, g.stride);
            let record = e.b.ins().iadd(records, offset);
            let offset = e.b.ins().imul_imm_s(row, g.key_bytes);
            let packed = e.b.ins().iadd(g.packed, offset);
            for word in 0..g.layout.shape.words as i32 {
                let a = e.b.ins().load(types::I64, FLAGS, packed, word * 8);
                let b = e.b.ins().load(types::I64, FLAGS, record, word * 8);
                let bits = e.b.ins().bxor(a, b);
                differ = e.b.ins().bor(differ, bits);
            }
            let miss = e.b.ins().icmp_imm_u(IntCC::NotEqual, differ, 0);
            e.note_missed(g, row, miss);
            Ok(())
        })?;
        if let Some(long) = long {
            let (check, after) = (self.b.create_block(), self.b.create_block());
            self.b.ins().brif(long, check, &[], after, &[]);
            self.start(check);
            let count = self.b.use_var(g.missed_count);
            let args = [g.table, self.n, g.packed, g.numbers, count, g.missed];
            if let Some(count) = self.call("rt_group_check_texts", &args)? {
                self.b.def_var(g.missed_count, count);
            }
            self.b.ins().jump(after, &[]);
            self.start(after);
        }
        Ok(())
    }

    // ---- updating -------------------------------------------------------------------------------

    fn update_cells(&mut self, g: &Grouping<'l>) -> Result<(), CompileError> {
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

/// A key that is one integer: extended, and whether it is valid if it can be null.
fn key_bits(
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
fn extended(rows: &mut Scalars<'_, '_, '_>, v: ValueId, ty: Ty) -> Result<Value, CompileError> {
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

fn or_zero(rows: &mut Scalars<'_, '_, '_>, valid: Option<Value>, bits: Value) -> Value {
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
