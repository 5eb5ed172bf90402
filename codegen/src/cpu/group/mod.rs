//! The end of a chunk of a grouping loop: find every row's group, then update the groups' cells.
//!
//! Keys and arguments lie in chunk buffers or in their columns by now. Finding goes one of these ways, as
//! the table says when the chunk begins:
//!
//! * an integer indexes an array of group numbers, or, while all of the chunk's lie in a small range, the cells
//!   themselves, and then there is nothing to find;
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
//! [`keys`] makes words of the keys, [`update`] updates.
//!
//! Invariant: up to the update nothing of the chunk is in the cells, and nothing after it can fail.

mod keys;
mod update;

use super::CompileError;
use super::emitter::{Emitter, FLAGS};
use super::prefetch::emit_prefetch_at;
use super::schedule::Need;
use super::schedule::group_reads;
use super::sink::is_text_extreme;
use crate::groups::GroupLayout;
use crate::ir::{Agg, CHUNK, GroupKey, Loop, Op, Sink, Ty, ValueId};
use arrow::datatypes::DataType;
use cranelift::prelude::*;
use fuseline_kernels::abi::{ColumnRef, GroupRef, LoopContext};
use fuseline_kernels::group::hash_table::SLOT_SHIFT;
use keys::key_bits;
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

/// Of a value that is a column of strings between offsets: which one, the kernel that packs it, and the bytes of
/// an offset.
fn text_column_type(lp: &Loop, v: ValueId) -> Option<(usize, &'static str, usize)> {
    let Op::Input(index) = lp.value(v).op else { return None };
    match &lp.inputs[index as usize].data_type {
        DataType::Utf8 => Some((index as usize, "rt_group_pack_utf8", 4)),
        DataType::LargeUtf8 => Some((index as usize, "rt_group_pack_large_utf8", 8)),
        _other => None,
    }
}

impl<'l> Emitter<'_, 'l> {
    /// Notes that all rows before this chunk are in the table, for a caller whose call fails later.
    pub(super) fn note_done(&mut self) {
        if let Sink::Group { .. } = &self.lp.sink {
            let offset = offset_of!(LoopContext, done_rows) as i32;
            self.b.ins().store(FLAGS, self.chunk_row, self.context, offset);
            let none = self.b.ins().iconst(types::I64, 0);
            self.b.ins().store(FLAGS, none, self.context, offset_of!(LoopContext, done_parts) as i32);
        }
    }

    /// Finds and updates the groups of the chunk's rows, if the loop groups.
    pub(super) fn emit_group(&mut self) -> Result<(), CompileError> {
        let Sink::Group { keys, aggs } = &self.lp.sink else { return Ok(()) };
        let Some(layout) = GroupLayout::of(self.lp) else { return Ok(()) };
        for (v, need) in group_reads(self.lp) {
            // Texts that only keys read are packed from where they lie.
            let compared = aggs.iter().any(|a| is_text_extreme(a) && a.arg == Some(v));
            let packed_only = !compared && text_column_type(self.lp, v).is_some();
            self.ensure(v, if packed_only { Need::VALID } else { need })?;
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
        let (resolve, update, done) = (self.b.create_block(), self.b.create_block(), self.b.create_block());
        if g.layout.shape.integer {
            let (by_value, hashed, pack) =
                (self.b.create_block(), self.b.create_block(), self.b.create_block());
            if !g.aggs.is_empty() && !g.aggs.iter().any(is_text_extreme) {
                self.update_if_in_range(&g, done)?;
            }
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
        self.update_cells(&g)?;
        self.offer_texts(&g)?;
        self.b.ins().jump(done, &[]);
        self.start(done);
        if self.lp.has_expansion() {
            let at = offset_of!(LoopContext, done_parts) as i32;
            let parts = self.b.ins().load(types::I64, FLAGS, self.context, at);
            let parts = self.b.ins().iadd_imm_u(parts, 1);
            self.b.ins().store(FLAGS, parts, self.context, at);
        }
        Ok(())
    }

    /// Updates cells by value and goes on to `done`, if there are such and all of the chunk's keys are in their
    /// range.
    fn update_if_in_range(&mut self, g: &Grouping<'l>, done: Block) -> Result<(), CompileError> {
        let (look, by_value, after) = (self.b.create_block(), self.b.create_block(), self.b.create_block());
        let direct = self.table_field(g, offset_of!(GroupRef, direct));
        self.b.ins().brif(direct, look, &[], after, &[]);
        self.start(look);
        let outside = self.outside_of_range(g)?;
        self.b.ins().brif(outside, after, &[], by_value, &[]);
        self.start(by_value);
        self.update_by_value(g)?;
        self.b.ins().jump(done, &[]);
        self.start(after);
        Ok(())
    }

    /// Not 0 if a key of the chunk is neither NULL nor in the range of the index.
    fn outside_of_range(&mut self, g: &Grouping<'_>) -> Result<Value, CompileError> {
        let base = self.table_field(g, offset_of!(GroupRef, dense_base));
        let len = self.table_field(g, offset_of!(GroupRef, dense_len));
        let (key, place) = (g.keys[0].value, &g.layout.keys[0]);
        let mem = self.mem[key.index()];
        let kernel = match place.ty {
            Ty::I64 | Ty::U64 => Some("rt_group_outside_i64"),
            Ty::I32 => Some("rt_group_outside_i32"),
            Ty::I16 => Some("rt_group_outside_i16"),
            Ty::Bool | Ty::I8 | Ty::U8 | Ty::U16 | Ty::U32 | Ty::I128 | Ty::F32 | Ty::F64 | Ty::Str => None,
        };
        if let (Some(kernel), Some(data), None) = (kernel, mem.data, mem.valid)
            && let Some(outside) = self.call(kernel, &[self.n, data, base, len])?
        {
            return Ok(outside);
        }
        let any = self.b.declare_var(types::I8);
        let none = self.b.ins().iconst(types::I8, 0);
        self.b.def_var(any, none);
        self.all_rows(|e, row| {
            let (value, valid) = key_bits(e, row, key, place)?;
            let at = e.b.ins().isub(value, base);
            let mut outside = e.b.ins().icmp(IntCC::UnsignedGreaterThanOrEqual, at, len);
            if let Some(valid) = valid {
                outside = e.b.ins().band(outside, valid);
            }
            let before = e.b.use_var(any);
            let after = e.b.ins().bor(before, outside);
            e.b.def_var(any, after);
            Ok(())
        })?;
        let any = self.b.use_var(any);
        Ok(self.b.ins().uextend(types::I64, any))
    }

    /// The kernel that packs the strings of a column, its offsets at the chunk's first row, and its bytes.
    fn text_column(&mut self, key: ValueId) -> Option<(&'static str, Value, Value)> {
        let (index, kernel, width) = text_column_type(self.lp, key)?;
        let offsets = self.column_at(index, offset_of!(ColumnRef, data), width);
        let (data, _) = self.column_aux(index);
        Some((kernel, offsets, data))
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

    /// Packs and hashes keys, and looks at the first slot of each; or goes straight on to `update` where each
    /// key just gets a record.
    fn find_by_hash(&mut self, g: &Grouping<'_>, update: Block) -> Result<(), CompileError> {
        let mut long: Option<Value> = None;
        for (key, place) in g.keys.iter().zip(&g.layout.keys) {
            let Some(pointer) = place.pointer else { continue };
            let mem = self.mem[key.value.index()];
            let stride = self.b.ins().iconst(types::I64, g.key_bytes / 8);
            let null = self.b.ins().iconst(types::I64, 0);
            let valid = mem.valid.unwrap_or(null);
            let out = self.b.ins().iadd_imm_u(g.packed, place.word as i64 * 8);
            let pointers = self.b.ins().iadd_imm_u(g.packed, pointer as i64 * 8);
            let count = match (mem.data, self.text_column(key.value)) {
                (Some(texts), _) => {
                    self.call("rt_group_pack_text", &[self.n, texts, valid, stride, out, pointers])?
                }
                (None, Some((kernel, offsets, data))) => {
                    self.call(kernel, &[self.n, offsets, data, valid, stride, out, pointers])?
                }
                (None, None) => return Err(CompileError::Backend("a key's text is nowhere".to_owned())),
            };
            if let Some(count) = count {
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
}
