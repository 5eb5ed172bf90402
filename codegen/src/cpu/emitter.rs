//! The frame of a compiled loop: entry, chunk loop, memory, calls, and the end of a chunk. Filters between
//! segments are in `filters.rs`.
//!
//! A function runs over all rows of a call in chunks of 1024. Within a chunk the phases of a segment
//! come one after another; pointers to what they exchange are plain SSA values ([`Mem`]), because a
//! chunk's code is straight apart from the loops inside phases. A filter that keeps no row jumps to the
//! next chunk; one that keeps all rows keeps the pointers; otherwise what is still needed is packed.

use super::CompileError;
use super::constants::Constants;
use super::outputs::Outputs;
use super::schedule::{End, Need, Phase, Schedule, is_free};
use super::sink::{AggVars, Counts};
use super::wide::Wide;
use crate::cpu::classify::Kind;
use crate::ir::{CHUNK, GROUP, Loop, Op, Ty, ValueId};
use cranelift::codegen::ir::{Endianness, SigRef, Signature};
use cranelift::codegen::isa::{CallConv, TargetIsa};
use cranelift::prelude::*;
use fuseline_kernels::abi::{ColumnRef, LoopContext, OutputRef, STATUS_BAIL, STATUS_OK};
use fuseline_kernels::symbols::{self, MachineType};
use std::collections::HashMap;
use std::mem::offset_of;

/// Accesses to buffers never fault; they need not be aligned.
pub(super) const FLAGS: MemFlagsData = MemFlagsData::new().with_notrap();

/// Reinterpretation between vector types.
pub(super) fn vector_bits() -> MemFlagsData {
    MemFlagsData::new().with_endianness(Endianness::Little)
}

/// Where a value's chunk lies, if it lies anywhere.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Mem {
    pub data: Option<Value>,
    /// The data lies in the column itself, which nobody writes to.
    pub in_column: bool,
    /// Staged validity bits.
    pub valid: Option<Value>,
}

/// A loop being compiled.
pub(super) struct Emitter<'f, 'l> {
    pub b: FunctionBuilder<'f>,
    pub lp: &'l Loop,
    pub schedule: &'l Schedule,
    pub outputs: &'l Outputs,
    pub constants: &'l mut Constants,
    pub context: Value,
    pub scratch: Value,
    /// Per value, in the current segment.
    pub mem: Vec<Mem>,
    /// The chunk's first row in the call.
    pub chunk_row: Value,
    /// Rows of the chunk that are still alive; at least 1 wherever phases run.
    pub n: Value,
    /// Rows emitted so far.
    pub out_row: Variable,
    pub aggs: Vec<AggVars>,
    pub counts: Counts,
    pub scratch_size: usize,
    /// Prefetches emitted.
    pub prefetches: usize,
    /// Program positions with the IR value that the code from there on computes, for listings.
    pub notes: Vec<(codegen::ir::Inst, ValueId)>,
    pub row_base: Value,
    pub(super) segment: usize,
    pub(super) mask: Option<Value>,
    pub(super) bail: Block,
    pub(super) next_chunk: Block,
    /// Where the next pairs of rows are made, of every expansion so far; not sealed.
    pub(super) pairs: Vec<Block>,
    signatures: HashMap<(&'static [MachineType], Option<MachineType>), SigRef>,
    call_conv: CallConv,
    pub(super) selection: Option<Value>,
    /// Whether the call's row count is known to be a multiple of 8.
    pub whole_groups: bool,
    /// Whether code was made that relies on it.
    pub relied_on_whole_groups: bool,
    /// Rows per chunk: [`CHUNK`] wherever chunk buffers hold more than bits.
    pub chunk_rows: usize,
    pub wide: Wide,
    /// Lane phases emitted as loops of Cranelift's vectors.
    narrow_loops: usize,
}

/// What emitting a function leaves behind.
pub(super) struct Emitted {
    pub scratch_size: usize,
    pub prefetches: usize,
    pub notes: Vec<(codegen::ir::Inst, ValueId)>,
    /// Whether the function is wrong for row counts that are no multiple of 8.
    pub whole_groups_only: bool,
    /// Code that goes in front of the function.
    pub wide: Wide,
    pub narrow_loops: usize,
}

pub(super) fn signature(isa: &dyn TargetIsa) -> Signature {
    let mut signature = Signature::new(isa.default_call_conv());
    signature.params.push(AbiParam::new(types::I64));
    signature.returns.push(AbiParam::new(types::I64));
    signature
}

/// What is compiled: a loop that was scheduled.
#[derive(Clone, Copy)]
pub(super) struct Job<'l> {
    pub lp: &'l Loop,
    pub schedule: &'l Schedule,
    pub outputs: &'l Outputs,
    /// Promise that every call's row count is a multiple of 8, so that no group of the first segment
    /// needs a look at which of its rows exist.
    pub whole_groups: bool,
}

/// Emits the whole function.
pub(super) fn emit(
    mut b: FunctionBuilder<'_>,
    isa: &dyn TargetIsa,
    job: Job<'_>,
    constants: &mut Constants,
) -> Result<Emitted, CompileError> {
    let Job { lp, schedule, outputs, whole_groups } = job;
    let entry = b.create_block();
    b.append_block_params_for_function_params(entry);
    b.switch_to_block(entry);
    b.seal_block(entry);
    let context = b.block_params(entry)[0];
    let field = |b: &mut FunctionBuilder<'_>, at: usize| b.ins().load(types::I64, FLAGS, context, at as i32);
    let rows = field(&mut b, offset_of!(LoopContext, rows));
    let scratch = field(&mut b, offset_of!(LoopContext, scratch));
    let row_base = field(&mut b, offset_of!(LoopContext, row_base));
    let emitted = field(&mut b, offset_of!(LoopContext, out_rows));
    let out_row = b.declare_var(types::I64);
    b.def_var(out_row, emitted);
    let (chunk, next_chunk, done, bail) =
        (b.create_block(), b.create_block(), b.create_block(), b.create_block());
    b.append_block_param(chunk, types::I64);
    let mut e = Emitter {
        b,
        lp,
        schedule,
        outputs,
        constants,
        context,
        scratch,
        mem: vec![Mem::default(); lp.values.len()],
        chunk_row: rows,
        n: rows,
        out_row,
        aggs: Vec::new(),
        counts: Counts::default(),
        scratch_size: 0,
        prefetches: 0,
        notes: Vec::new(),
        row_base,
        segment: 0,
        mask: None,
        bail,
        next_chunk,
        pairs: Vec::new(),
        signatures: HashMap::new(),
        call_conv: isa.default_call_conv(),
        selection: None,
        whole_groups,
        relied_on_whole_groups: false,
        chunk_rows: CHUNK,
        wide: Wide::default(),
        narrow_loops: 0,
    };
    e.declare_aggs()?;
    if schedule.wide {
        e.plan_wide()?;
    }
    e.fill_constants()?;
    let zero = e.b.ins().iconst(types::I64, 0);
    e.b.ins().brif(rows, chunk, &[zero.into()], done, &[]);

    e.b.switch_to_block(chunk);
    let row = e.b.block_params(chunk)[0];
    let left = e.b.ins().isub(rows, row);
    let full = e.b.ins().iconst(types::I64, e.chunk_rows as i64);
    e.n = e.b.ins().umin(left, full);
    e.chunk_row = row;
    e.note_done();
    e.emit_chunk()?;
    let next_piece = e.next_chunk;
    e.b.ins().jump(next_piece, &[]);
    for block in std::mem::take(&mut e.pairs) {
        e.b.seal_block(block);
    }

    e.b.switch_to_block(next_chunk);
    e.b.seal_block(next_chunk);
    let next = e.b.ins().iadd_imm_s(row, e.chunk_rows as i64);
    let more = e.b.ins().icmp(IntCC::UnsignedLessThan, next, rows);
    e.b.ins().brif(more, chunk, &[next.into()], done, &[]);
    e.b.seal_block(chunk);

    e.b.switch_to_block(done);
    e.b.seal_block(done);
    e.store_aggs();
    let out = e.b.use_var(out_row);
    e.b.ins().store(FLAGS, out, context, offset_of!(LoopContext, out_rows) as i32);
    let ok = e.b.ins().iconst(types::I64, STATUS_OK);
    e.b.ins().return_(&[ok]);

    e.b.switch_to_block(bail);
    e.b.seal_block(bail);
    e.b.set_cold_block(bail);
    let status = e.b.ins().iconst(types::I64, STATUS_BAIL);
    e.b.ins().return_(&[status]);
    let Emitter { b, scratch_size, prefetches, notes, relied_on_whole_groups, wide, narrow_loops, .. } = e;
    b.finalize(isa.frontend_config());
    Ok(Emitted {
        scratch_size,
        prefetches,
        notes,
        whole_groups_only: relied_on_whole_groups,
        wide,
        narrow_loops,
    })
}

impl<'l> Emitter<'_, 'l> {
    fn emit_chunk(&mut self) -> Result<(), CompileError> {
        let schedule: &'l Schedule = self.schedule;
        for (at, segment) in schedule.segments.iter().enumerate() {
            self.segment = at;
            self.mask = None;
            for (phase_at, phase) in segment.phases.iter().enumerate() {
                self.emit_phase(phase, phase_at)?;
            }
            match segment.end {
                End::Filter(predicate) => self.emit_filter(predicate, &segment.carry)?,
                End::Expand(v) => self.emit_expand(v, &segment.carry)?,
                End::Visit(join, row) => self.emit_visit(join, row, &segment.carry)?,
                End::Sink => self.emit_chunk_end()?,
            }
        }
        Ok(())
    }

    fn emit_phase(&mut self, phase: &Phase, at: usize) -> Result<(), CompileError> {
        if let Some(placed) = self.wide.of(self.segment, at).cloned() {
            return self.emit_wide(phase, &placed);
        }
        match phase.kind {
            // Counting rows needs no loop.
            Kind::Lanes if phase.insts.is_empty() && self.only_count_rows(&phase.aggs) => {
                let loaded = self.open_aggs(&phase.aggs);
                self.count_rows(&phase.aggs);
                self.close_aggs(&phase.aggs, &loaded);
                Ok(())
            }
            Kind::Lanes => {
                self.narrow_loops += 1;
                self.emit_lanes(phase)
            }
            Kind::Scalar => self.emit_scalar(phase),
            Kind::Call => self.emit_calls(phase),
        }
    }

    /// Whether the current segment is the one that the sink belongs to.
    pub(super) fn in_last_segment(&self) -> bool {
        self.segment + 1 == self.schedule.segments.len()
    }

    /// Whether no filter has been applied yet.
    pub(super) fn in_first_segment(&self) -> bool {
        self.segment == 0
    }

    /// Whether all 8 rows of every group exist in the current segment; notes that code relies on it.
    pub(super) fn all_rows_exist(&mut self) -> bool {
        let known = self.whole_groups && self.segment == 0;
        self.relied_on_whole_groups |= known;
        known
    }

    // ---- memory -------------------------------------------------------------------------------

    /// Sets `size` bytes of working memory aside, and gives their offset.
    pub(super) fn reserve(&mut self, size: usize) -> usize {
        let at = self.scratch_size;
        self.scratch_size += size.next_multiple_of(64);
        at
    }

    pub(super) fn scratch_at(&mut self, offset: usize) -> Value {
        self.b.ins().iadd_imm_u(self.scratch, offset as i64)
    }

    /// A buffer for a chunk of values of this type; staged bits for booleans.
    pub(super) fn buffer(&mut self, ty: Ty) -> Value {
        // A chunk, and a group of padding.
        let rows = self.chunk_rows + GROUP;
        let size = ty.width().map_or(rows.div_ceil(64) * 8, |w| w * rows);
        let at = self.reserve(size);
        self.scratch_at(at)
    }

    /// The buffer for the mask that the segment's filter uses.
    pub(super) fn mask_buffer(&mut self) -> Value {
        let buffer = self.buffer(Ty::Bool);
        self.mask = Some(buffer);
        buffer
    }

    fn column_field(&mut self, input: usize, field: usize) -> Value {
        let columns =
            self.b.ins().load(types::I64, FLAGS, self.context, offset_of!(LoopContext, columns) as i32);
        let at = input * size_of::<ColumnRef>() + field;
        self.b.ins().load(types::I64, FLAGS, columns, at as i32)
    }

    pub(super) fn output_field(&mut self, slot: usize, field: usize) -> Value {
        let outputs =
            self.b.ins().load(types::I64, FLAGS, self.context, offset_of!(LoopContext, outputs) as i32);
        let at = slot * size_of::<OutputRef>() + field;
        self.b.ins().load(types::I64, FLAGS, outputs, at as i32)
    }

    /// Where the next row of an output goes.
    pub(super) fn output_position(&mut self, slot: usize, ty: Ty) -> Value {
        let base = self.output_field(slot, offset_of!(OutputRef, data));
        let row = self.b.use_var(self.out_row);
        let offset = self.b.ins().imul_imm_u(row, ty.width().unwrap_or(1) as i64);
        self.b.ins().iadd(base, offset)
    }

    /// Gives a value that is about to be computed the memory it will be read from.
    pub(super) fn place(&mut self, v: ValueId, need: Need) -> Result<(), CompileError> {
        let inst = self.lp.value(v);
        let (ty, nullable) = (inst.ty, inst.nullable);
        if need.data {
            let at = match self.outputs.direct(v) {
                Some(slot) if self.in_last_segment() => self.output_position(slot, ty),
                Some(_) | None => self.buffer(ty),
            };
            self.mem[v.index()].data = Some(at);
        }
        if need.valid && nullable {
            let at = self.buffer(Ty::Bool);
            self.mem[v.index()].valid = Some(at);
        }
        Ok(())
    }

    /// Makes sure that a value from outside the phase can be read from memory: columns are staged on
    /// first use in a chunk.
    pub(super) fn ensure(&mut self, v: ValueId, need: Need) -> Result<(), CompileError> {
        let inst = self.lp.value(v);
        let Op::Input(index) = inst.op else { return Ok(()) };
        let index = index as usize;
        if need.valid && inst.nullable && self.mem[v.index()].valid.is_none() {
            let bitmap = self.column_field(index, offset_of!(ColumnRef, valid));
            let bit = self.column_field(index, offset_of!(ColumnRef, valid_bit));
            self.mem[v.index()].valid = Some(self.stage_bits(bitmap, bit)?);
        }
        if need.data && self.mem[v.index()].data.is_none() {
            let at = match inst.ty {
                Ty::Bool => {
                    let bitmap = self.column_field(index, offset_of!(ColumnRef, data));
                    let bit = self.column_field(index, offset_of!(ColumnRef, data_bit));
                    self.stage_bits(bitmap, bit)?
                }
                Ty::Str => self.load_strings(v, index)?,
                Ty::I8
                | Ty::I16
                | Ty::I32
                | Ty::I64
                | Ty::I128
                | Ty::U8
                | Ty::U16
                | Ty::U32
                | Ty::U64
                | Ty::F32
                | Ty::F64 => {
                    let width = inst.ty.width().unwrap_or(1);
                    self.mem[v.index()].in_column = true;
                    self.column_at(index, offset_of!(ColumnRef, data), width)
                }
            };
            self.mem[v.index()].data = Some(at);
        }
        Ok(())
    }

    /// A column's array at the chunk's first row.
    pub(super) fn column_at(&mut self, index: usize, field: usize, width: usize) -> Value {
        let base = self.column_field(index, field);
        let offset = self.b.ins().imul_imm_u(self.chunk_row, width as i64);
        self.b.ins().iadd(base, offset)
    }

    pub(super) fn column_aux(&mut self, index: usize) -> (Value, Value) {
        (
            self.column_field(index, offset_of!(ColumnRef, aux)),
            self.column_field(index, offset_of!(ColumnRef, aux_len)),
        )
    }

    fn stage_bits(&mut self, bitmap: Value, bit: Value) -> Result<Value, CompileError> {
        let buffer = self.buffer(Ty::Bool);
        let bit = self.b.ins().iadd(bit, self.chunk_row);
        self.call("rt_stage_bits", &[bitmap, bit, self.n, buffer])?;
        Ok(buffer)
    }

    // ---- calls and failures -------------------------------------------------------------------

    /// Calls a kernel by name.
    pub(super) fn call(&mut self, name: &str, args: &[Value]) -> Result<Option<Value>, CompileError> {
        let symbol = symbols::lookup(name)
            .ok_or_else(|| CompileError::Unsupported(format!("there is no kernel {name}")))?;
        Ok(self.call_at(symbol.address(), symbol.params, symbol.ret, args))
    }

    pub(super) fn call_at(
        &mut self,
        address: *const u8,
        params: &'static [MachineType],
        ret: Option<MachineType>,
        args: &[Value],
    ) -> Option<Value> {
        let callee = self.b.ins().iconst(types::I64, address as i64);
        self.call_value(callee, params, ret, args)
    }

    pub(super) fn call_value(
        &mut self,
        callee: Value,
        params: &'static [MachineType],
        ret: Option<MachineType>,
        args: &[Value],
    ) -> Option<Value> {
        debug_assert_eq!(params.len(), args.len());
        let machine = |t: MachineType| match t {
            MachineType::Ptr | MachineType::I64 => types::I64,
            MachineType::I32 => types::I32,
            MachineType::F64 => types::F64,
        };
        let sig = match self.signatures.get(&(params, ret)) {
            Some(sig) => *sig,
            None => {
                let mut signature = Signature::new(self.call_conv);
                signature.params.extend(params.iter().map(|t| AbiParam::new(machine(*t))));
                signature.returns.extend(ret.map(|t| AbiParam::new(machine(t))));
                let sig = self.b.import_signature(signature);
                self.signatures.insert((params, ret), sig);
                sig
            }
        };
        let call = self.b.ins().call_indirect(sig, callee, args);
        self.b.inst_results(call).first().copied()
    }

    /// Leaves the function with [`STATUS_BAIL`] if the value is not zero.
    pub(super) fn bail_if(&mut self, failed: Value) {
        let go_on = self.b.create_block();
        self.b.ins().brif(failed, self.bail, &[], go_on, &[]);
        self.b.switch_to_block(go_on);
        self.b.seal_block(go_on);
    }

    /// Remembers that the code from here on computes this value.
    pub(super) fn note(&mut self, v: ValueId) {
        if let Some(block) = self.b.current_block()
            && let Some(inst) = self.b.func.layout.last_inst(block)
        {
            self.notes.push((inst, v));
        }
    }

    // ---- the end of a chunk -------------------------------------------------------------------

    /// Feeds aggregates of text, finds groups, appends bitmaps, strings and row ids, and moves the output
    /// position on.
    fn emit_chunk_end(&mut self) -> Result<(), CompileError> {
        self.emit_group()?;
        self.feed_text_aggs()?;
        let out_row = self.b.use_var(self.out_row);
        let outputs = self.outputs;
        for (at, slot) in outputs.slots.iter().enumerate() {
            // Columns that leave as they came were read by no phase so far.
            if is_free(self.lp, slot.value) {
                self.ensure(slot.value, Need::BOTH)?;
            }
            let mem = self.mem[slot.value.index()];
            let valid = if slot.nullable { mem.valid } else { None };
            if let Some(text) = &slot.text {
                let null = self.b.ins().iconst(types::I64, 0);
                let refs = mem.data.unwrap_or(null);
                let builder = self.output_field(at, offset_of!(OutputRef, data));
                let name = super::bind::append_kernel(text)?;
                let failed = self.call(name, &[builder, self.n, refs, valid.unwrap_or(null)])?;
                if let Some(failed) = failed {
                    self.bail_if(failed);
                }
            }
            if slot.ty == Ty::Bool
                && let Some(bits) = mem.data
            {
                let bitmap = self.output_field(at, offset_of!(OutputRef, data));
                self.call("rt_append_bits", &[bitmap, out_row, bits, self.n])?;
            }
            if let Some(bits) = valid {
                let bitmap = self.output_field(at, offset_of!(OutputRef, valid));
                self.call("rt_append_bits", &[bitmap, out_row, bits, self.n])?;
            }
        }
        if let Some(selection) = self.selection {
            let target =
                self.b.ins().load(types::I64, FLAGS, self.context, offset_of!(LoopContext, selection) as i32);
            let offset = self.b.ins().ishl_imm_u(out_row, 2);
            let target = self.b.ins().iadd(target, offset);
            let first =
                self.b.ins().load(types::I64, FLAGS, self.context, offset_of!(LoopContext, first_row) as i32);
            let base = self.b.ins().iadd(first, self.chunk_row);
            let base = self.b.ins().ireduce(types::I32, base);
            self.call("rt_rowid_sel", &[selection, self.n, base, target])?;
        }
        let out = self.b.ins().iadd(out_row, self.n);
        self.b.def_var(self.out_row, out);
        Ok(())
    }
}
