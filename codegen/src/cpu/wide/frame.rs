//! How Cranelift's frame runs wide loops: which phases have one, and the call.
//!
//! A loop that is nothing but one wide phase over columns has no use for chunks: what it reads lies in
//! the columns and what it makes goes to the outputs. It runs over [`LONG_CHUNK`] rows at a time, and
//! entering and leaving the function costs nothing.

use super::{FIRST_ROW, Function, Home, Place, ROWS, Request, SCRATCH, WORDS, compile};
use crate::cpu::CompileError;
use crate::cpu::classify::Kind;
use crate::cpu::emitter::{Emitter, FLAGS};
use crate::cpu::schedule::{Phase, Schedule, is_free, text_agg_reads};
use crate::ir::{CHUNK, Op, Sink, Ty};
use cranelift::prelude::*;
use fuseline_kernels::abi::LoopContext;
use fuseline_kernels::symbols::MachineType;
use std::mem::offset_of;

/// Rows at a time where there is nothing but a wide loop. Their validity bits fill a quarter of an L1 cache.
const LONG_CHUNK: usize = 1 << 16;

/// A wide loop in the code of a function.
#[derive(Clone, Debug)]
pub(in crate::cpu) struct Placed {
    /// From the start of the code.
    pub offset: usize,
    /// Bytes of instructions; constants follow.
    pub length: usize,
    places: Vec<Place>,
    can_fail: bool,
}

/// The wide loops of a function.
#[derive(Default)]
pub(in crate::cpu) struct Wide {
    /// By segment and phase.
    phases: Vec<Vec<Option<Placed>>>,
    /// Functions with their constants, each at a multiple of 64.
    pub code: Vec<u8>,
}

impl Wide {
    fn add(&mut self, function: Function) -> Placed {
        let offset = self.code.len();
        self.code.extend_from_slice(&function.code);
        // Padding that no listing takes for instructions.
        self.code.resize(self.code.len().next_multiple_of(64), 0xCC);
        Placed { offset, length: function.length, places: function.places, can_fail: function.can_fail }
    }

    /// The loop of a phase, if it has one.
    pub(in crate::cpu) fn of(&self, segment: usize, phase: usize) -> Option<&Placed> {
        self.phases.get(segment)?.get(phase)?.as_ref()
    }

    /// All loops.
    pub(in crate::cpu) fn all(&self) -> impl Iterator<Item = &Placed> {
        self.phases.iter().flatten().flatten()
    }
}

impl Emitter<'_, '_> {
    /// Compiles the lane phases. Behind [`Emitter::declare_aggs`], before anything else.
    ///
    /// # Errors
    /// [`CompileError::Unsupported`] if one of them has no wide form.
    pub(in crate::cpu) fn plan_wide(&mut self) -> Result<(), CompileError> {
        let schedule: &Schedule = self.schedule;
        let mut counted = vec![false; self.counters()];
        for (at, segment) in schedule.segments.iter().enumerate() {
            let mut list = Vec::with_capacity(segment.phases.len());
            for phase in &segment.phases {
                list.push(self.plan_phase(phase, at, &counted)?);
                for counter in self.counters_of(&phase.aggs) {
                    counted[counter] = true;
                }
            }
            self.wide.phases.push(list);
        }
        if self.needs_no_chunks() {
            self.chunk_rows = LONG_CHUNK;
        }
        Ok(())
    }

    fn plan_phase(
        &mut self,
        phase: &Phase,
        segment: usize,
        counted: &[bool],
    ) -> Result<Option<Placed>, CompileError> {
        let counts_rows = phase.insts.is_empty() && self.only_count_rows(&phase.aggs);
        if phase.kind != Kind::Lanes || counts_rows {
            return Ok(None);
        }
        let homes: Vec<Home> = self.homes(counted);
        let request = Request {
            lp: self.lp,
            phase,
            reads_columns: segment == 0,
            whole_groups: self.whole_groups && segment == 0,
            unrolled: self.schedule.unrolled,
            homes,
        };
        let function = compile(&request)
            .map_err(|reason| CompileError::Unsupported(format!("wide lanes: {}", reason.0)))?;
        self.relied_on_whole_groups |= function.relies_on_whole_groups;
        Ok(Some(self.wide.add(function)))
    }

    /// Whether the loop is one wide phase that exchanges nothing but bits with the frame.
    fn needs_no_chunks(&self) -> bool {
        match self.lp.sink {
            Sink::Emit(_) | Sink::Aggregate(_) => {}
            // The end of a chunk has buffers for that many rows, and copies are dealt by their position in it.
            Sink::Group { .. } => return false,
        }
        let [segment] = &self.schedule.segments[..] else { return false };
        let [phase] = &segment.phases[..] else { return false };
        let reads_columns = phase.loads.iter().all(|(v, _)| {
            let inst = self.lp.value(*v);
            matches!(inst.op, Op::Input(_)) && inst.ty != Ty::Str
        });
        let fills_outputs = phase.stores.iter().all(|(v, need)| {
            !need.data || self.lp.value(*v).ty == Ty::Bool || self.outputs.direct(*v).is_some()
        });
        let takes_no_columns = self.outputs.slots.iter().all(|slot| !is_free(self.lp, slot.value));
        let feeds_kernels = !text_agg_reads(self.lp).is_empty();
        self.wide.of(0, 0).is_some() && reads_columns && fills_outputs && takes_no_columns && !feeds_kernels
    }

    /// Calls the wide loop of a phase.
    pub(in crate::cpu) fn emit_wide(&mut self, phase: &Phase, placed: &Placed) -> Result<(), CompileError> {
        for (v, need) in &phase.loads {
            self.ensure(*v, *need)?;
        }
        for (v, need) in &phase.stores {
            self.place(*v, *need)?;
        }
        let mask = phase.mask.map(|_| self.mask_buffer());
        // Rows that all count are counted here.
        let loaded = self.open_aggs(&phase.aggs);
        self.count_rows(&phase.aggs);
        self.close_aggs(&phase.aggs, &loaded);
        self.rows_counted(&phase.aggs);

        let list = self.reserve(8 * (WORDS + placed.places.len()));
        let list = self.scratch_at(list);
        let first_row = self.b.ins().iadd(self.row_base, self.chunk_row);
        for (word, value) in [(ROWS, self.n), (FIRST_ROW, first_row), (SCRATCH, self.scratch)] {
            self.b.ins().store(FLAGS, value, list, 8 * word as i32);
        }
        for (at, place) in placed.places.iter().enumerate() {
            let address = match place {
                Place::Data(v) | Place::StoreData(v) => self.mem[v.index()].data,
                Place::Valid(v) | Place::StoreValid(v) => match self.mem[v.index()].valid {
                    Some(valid) => Some(valid),
                    None => Some(self.all_valid()?),
                },
                Place::Mask => mask,
            };
            let address = address
                .ok_or_else(|| CompileError::Backend(format!("{place:?} of a wide loop is nowhere")))?;
            self.b.ins().store(FLAGS, address, list, 8 * (WORDS + at) as i32);
        }
        let code = self.b.ins().load(types::I64, FLAGS, self.context, offset_of!(LoopContext, code) as i32);
        let function = self.b.ins().iadd_imm_u(code, placed.offset as i64);
        let failed = self.call_value(function, &[MachineType::Ptr], Some(MachineType::I64), &[list]);
        if placed.can_fail
            && let Some(failed) = failed
        {
            self.bail_if(failed);
        }
        Ok(())
    }

    /// Validity of a value that a call declared nullable and never makes null.
    fn all_valid(&mut self) -> Result<Value, CompileError> {
        let buffer = self.buffer(Ty::Bool);
        let zero = self.b.ins().iconst(types::I64, 0);
        let rows = self.b.ins().iconst(types::I64, CHUNK as i64);
        self.call("rt_fill_ones", &[buffer, zero, rows])?;
        Ok(buffer)
    }
}
