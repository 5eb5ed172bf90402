//! Joins in a loop: looking keys up, fetching columns of the build side, and going on with pairs of rows.
//!
//! A lookup and a fetch are kernel calls on chunk buffers. An expansion makes a loop inside the chunk loop:
//! each turn asks for at most a chunk of pairs, repeats what is still needed of the rows for them, and all
//! that follows in the function runs per piece of pairs instead of per chunk: what would go on with the next
//! chunk asks for the next pairs.
//!
//! Invariant: behind an expansion outputs have room for the piece at hand, whatever filters leave of it.

use super::CompileError;
use super::emitter::{Emitter, FLAGS};
use super::schedule::{End, Need};
use crate::ir::{CHUNK, Inst, Op, Sink, Ty, ValueId};
use crate::joins::JoinLayout;
use cranelift::prelude::*;
use fuseline_kernels::abi::{BuildRef, JoinRef, LoopContext};
use fuseline_kernels::join::kernels::{Expansion, PAIRS};
use fuseline_kernels::symbols::MachineType;
use std::mem::offset_of;

const _: () = assert!(PAIRS == CHUNK);

impl Emitter<'_, '_> {
    fn join_field(&mut self, join: u32, field: usize) -> Value {
        let joins = self.b.ins().load(types::I64, FLAGS, self.context, offset_of!(LoopContext, joins) as i32);
        let at = join as usize * size_of::<JoinRef>() + field;
        self.b.ins().load(types::I64, FLAGS, joins, at as i32)
    }

    fn build_field(&mut self, join: u32, column: u32, field: usize) -> Value {
        let columns = self.join_field(join, offset_of!(JoinRef, columns));
        let at = column as usize * size_of::<BuildRef>() + field;
        self.b.ins().load(types::I64, FLAGS, columns, at as i32)
    }

    fn null(&mut self) -> Value {
        self.b.ins().iconst(types::I64, 0)
    }

    /// Entries of keys; gives the bits of those found.
    pub(super) fn emit_probe(
        &mut self,
        (join, null_equal): (u32, bool),
        inst: &Inst,
        out: Value,
    ) -> Result<Value, CompileError> {
        let tys: Vec<Ty> = inst.args.iter().map(|a| self.lp.value(*a).ty).collect();
        let layout = JoinLayout::of(&tys, null_equal);
        let table = self.join_field(join, offset_of!(JoinRef, table));
        let found = self.buffer(Ty::Bool);
        let null = self.null();
        if let Some(ty) = layout.integer() {
            let keys = self.buffer_of(inst.args[0])?;
            let valid = self.mem[inst.args[0].index()].valid.unwrap_or(null);
            self.call(&format!("rt_join_probe_{ty}"), &[table, self.n, keys, valid, out, found])?;
            return Ok(found);
        }
        let columns = self.reserve(16 * inst.args.len());
        let columns = self.scratch_at(columns);
        for (at, key) in inst.args.iter().enumerate() {
            let data = self.buffer_of(*key)?;
            let valid = self.mem[key.index()].valid.unwrap_or(null);
            self.b.ins().store(FLAGS, data, columns, at as i32 * 16);
            self.b.ins().store(FLAGS, valid, columns, at as i32 * 16 + 8);
        }
        let packed = self.reserve(CHUNK * layout.key_words() * 8);
        let packed = self.scratch_at(packed);
        self.call("rt_join_probe_packed", &[table, self.n, columns, packed, out, found])?;
        Ok(found)
    }

    /// A column at build rows; gives its validity, if it has any.
    pub(super) fn emit_fetch(
        &mut self,
        (join, column, nullable): (u32, u32, bool),
        inst: &Inst,
        out: Value,
    ) -> Result<Option<Value>, CompileError> {
        let rows = self.buffer_of(inst.args[0])?;
        let there = self.mem[inst.args[0].index()].valid;
        let null = self.null();
        let found = there.unwrap_or(null);
        let data = self.build_field(join, column, offset_of!(BuildRef, data));
        let name = match inst.ty.width() {
            None => "rt_join_fetch_bits",
            Some(1) => "rt_join_fetch_1",
            Some(2) => "rt_join_fetch_2",
            Some(4) => "rt_join_fetch_4",
            Some(8) => "rt_join_fetch_8",
            Some(_) => "rt_join_fetch_16",
        };
        self.call(name, &[self.n, rows, found, data, out])?;
        if !nullable {
            return Ok(there);
        }
        let bits = self.build_field(join, column, offset_of!(BuildRef, valid));
        let valid = self.buffer(Ty::Bool);
        self.call("rt_join_fetch_bits", &[self.n, rows, found, bits, valid])?;
        Ok(Some(valid))
    }

    pub(super) fn emit_visit(
        &mut self,
        join: u32,
        row: ValueId,
        carry: &[(ValueId, Need)],
    ) -> Result<(), CompileError> {
        self.ensure(row, Need::BOTH)?;
        let rows = self.buffer_of(row)?;
        let null = self.null();
        let valid = self.mem[row.index()].valid.unwrap_or(null);
        let table = self.join_field(join, offset_of!(JoinRef, table));
        self.call("rt_join_visit", &[table, self.n, rows, valid])?;
        let to_outputs = self.segment + 2 == self.schedule.segments.len();
        for (v, need) in carry {
            self.ensure(*v, *need)?;
            if let Some(from) = self.mem[v.index()].data
                && need.data
                && to_outputs
                && self.outputs.direct(*v).is_some()
            {
                let n = self.n;
                let mask = self.full_mask(n)?;
                let to = self.target(*v);
                let ty = self.lp.value(*v).ty;
                self.pack(ty, mask, from, to)?;
                self.mem[v.index()].data = Some(to);
            }
        }
        // What follows counts as behind a filter: buffers are no longer columns.
        for mem in &mut self.mem {
            mem.in_column = false;
        }
        Ok(())
    }

    /// From here on a row is a pair.
    pub(super) fn emit_expand(&mut self, v: ValueId, carry: &[(ValueId, Need)]) -> Result<(), CompileError> {
        let Op::Expand { join, outer } = self.lp.value(v).op else {
            return Err(CompileError::Backend(format!("{v} makes no pairs")));
        };
        let entry = self.lp.value(v).args[0];
        self.ensure(entry, Need::BOTH)?;
        for (v, need) in carry {
            self.ensure(*v, *need)?;
        }
        let entries = self.buffer_of(entry)?;
        let null = self.null();
        let found = self.mem[entry.index()].valid.unwrap_or(null);
        let request = self.reserve(size_of::<Expansion>());
        let request = self.scratch_at(request);
        let (positions, rows, paired) = (self.buffer(Ty::U16), self.buffer(Ty::U32), self.buffer(Ty::Bool));
        let outer_flag = self.b.ins().iconst(types::I64, i64::from(outer));
        let fields = [
            (offset_of!(Expansion, n), self.n),
            (offset_of!(Expansion, entries), entries),
            (offset_of!(Expansion, found), found),
            (offset_of!(Expansion, outer), outer_flag),
            (offset_of!(Expansion, row), null),
            (offset_of!(Expansion, pair), null),
            (offset_of!(Expansion, positions), positions),
            (offset_of!(Expansion, rows), rows),
            (offset_of!(Expansion, paired), paired),
        ];
        for (at, value) in fields {
            self.b.ins().store(FLAGS, value, request, at as i32);
        }
        let table = self.join_field(join, offset_of!(JoinRef, table));
        let (more, some) = (self.b.create_block(), self.b.create_block());
        self.b.ins().jump(more, &[]);
        self.b.switch_to_block(more);
        let made = self.call("rt_join_expand", &[table, request])?.unwrap_or(null);
        self.b.ins().brif(made, some, &[], self.next_chunk, &[]);
        self.b.switch_to_block(some);
        self.b.seal_block(some);
        self.pairs.push(more);
        self.next_chunk = more;
        let is_last =
            !self.schedule.segments[self.segment + 1..].iter().any(|s| matches!(s.end, End::Expand(_)));
        if is_last && matches!(self.lp.sink, Sink::Emit(_)) {
            self.make_room(made);
        }
        for (v, need) in carry {
            let mem = self.mem[v.index()];
            let ty = self.lp.value(*v).ty;
            if need.data
                && let Some(from) = mem.data
            {
                let to = self.target(*v);
                self.repeat(ty, (positions, made), from, to)?;
                self.mem[v.index()].data = Some(to);
            }
            if need.valid
                && let Some(from) = mem.valid
            {
                let to = self.buffer(Ty::Bool);
                self.repeat(Ty::Bool, (positions, made), from, to)?;
                self.mem[v.index()].valid = Some(to);
            }
        }
        for mem in &mut self.mem {
            mem.in_column = false;
        }
        let mem = &mut self.mem[v.index()];
        (mem.data, mem.valid) = (Some(rows), outer.then_some(paired));
        if self.segment + 2 == self.schedule.segments.len() && self.outputs.direct(v).is_some() {
            let mask = self.full_mask(made)?;
            let to = self.target(v);
            self.call("rt_compress_4", &[mask, made, rows, to])?;
            self.mem[v.index()].data = Some(to);
        }
        if self.lp.needs_selection() {
            self.selection = Some(match self.selection {
                None => positions,
                Some(before) => {
                    let buffer = self.buffer(Ty::U16);
                    self.call("rt_compose_sel", &[before, positions, made, buffer])?;
                    buffer
                }
            });
        }
        self.n = made;
        Ok(())
    }

    /// A mask of `n` rows.
    fn full_mask(&mut self, n: Value) -> Result<Value, CompileError> {
        let (buffer, zero) = (self.buffer(Ty::Bool), self.null());
        self.call("rt_andnot_bits", &[buffer, buffer, n, buffer])?;
        self.call("rt_fill_ones", &[buffer, zero, n])?;
        Ok(buffer)
    }

    /// Where a value lies that is moved at the end of the current segment: in its output, if only the sink
    /// follows.
    fn target(&mut self, v: ValueId) -> Value {
        let ty = self.lp.value(v).ty;
        match self.outputs.direct(v) {
            Some(slot) if self.segment + 2 == self.schedule.segments.len() => self.output_position(slot, ty),
            Some(_) | None => self.buffer(ty),
        }
    }

    /// Copies the rows at these positions.
    fn repeat(
        &mut self,
        ty: Ty,
        (positions, n): (Value, Value),
        from: Value,
        to: Value,
    ) -> Result<(), CompileError> {
        let name = match ty.width() {
            None => "rt_gather_bits",
            Some(1) => "rt_gather_1",
            Some(2) => "rt_gather_2",
            Some(4) => "rt_gather_4",
            Some(8) => "rt_gather_8",
            Some(_) => "rt_gather_16",
        };
        self.call(name, &[from, positions, n, to])?;
        Ok(())
    }

    /// Makes sure that outputs have room for so many more rows.
    fn make_room(&mut self, rows: Value) {
        const PARAMS: &[MachineType] = &[MachineType::Ptr, MachineType::I64, MachineType::I64];
        let field = |e: &mut Self, at: usize| e.b.ins().load(types::I64, FLAGS, e.context, at as i32);
        let used = self.b.use_var(self.out_row);
        let needed = self.b.ins().iadd(used, rows);
        let capacity = field(self, offset_of!(LoopContext, capacity));
        let lacks = self.b.ins().icmp(IntCC::UnsignedGreaterThan, needed, capacity);
        let (grow, after) = (self.b.create_block(), self.b.create_block());
        self.b.ins().brif(lacks, grow, &[], after, &[]);
        self.b.switch_to_block(grow);
        self.b.seal_block(grow);
        self.b.set_cold_block(grow);
        let callee = field(self, offset_of!(LoopContext, grow));
        let failed = self.call_value(callee, PARAMS, Some(MachineType::I64), &[self.context, used, needed]);
        let failed = failed.unwrap_or(used);
        self.b.ins().brif(failed, self.bail, &[], after, &[]);
        self.b.switch_to_block(after);
        self.b.seal_block(after);
    }
}
