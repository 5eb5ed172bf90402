//! What happens between two segments: the mask of the rows that a filter keeps, and the packing of what
//! is read behind it. A filter that keeps no row jumps to the next chunk; one that keeps all moves only what
//! goes to outputs.

use super::CompileError;
use super::classify::constant;
use super::emitter::Emitter;
use super::schedule::Need;
use crate::ir::{Lit, Ty, ValueId};
use cranelift::prelude::*;

impl Emitter<'_, '_> {
    pub(super) fn emit_filter(
        &mut self,
        predicate: ValueId,
        carry: &[(ValueId, Need)],
    ) -> Result<(), CompileError> {
        let mask = match (constant(self.lp, predicate), self.mask) {
            (Some(lit), _) => self.constant_mask(*lit == Lit::Bool(true))?,
            (None, Some(mask)) => mask,
            (None, None) => self.mask_in_memory(predicate)?,
        };
        let counted = self.call("rt_count_bits", &[mask, self.n])?;
        let kept = counted.unwrap_or(self.n);
        let some = self.b.create_block();
        self.b.ins().brif(kept, some, &[], self.next_chunk, &[]);
        self.b.switch_to_block(some);
        self.b.seal_block(some);
        // Columns are staged whole before they are packed; both ways below start from them.
        for (v, need) in carry {
            self.ensure(*v, *need)?;
        }
        let is_last = self.segment + 2 == self.schedule.segments.len();
        let mut moved: Vec<(ValueId, bool, Value)> = Vec::new();
        let mut direct: Vec<(ValueId, Value)> = Vec::new();
        for (v, need) in carry {
            let mem = self.mem[v.index()];
            if need.data
                && let Some(at) = mem.data
            {
                match self.outputs.direct(*v) {
                    Some(_) if is_last => direct.push((*v, at)),
                    Some(_) | None => moved.push((*v, true, at)),
                }
            }
            if need.valid
                && let Some(at) = mem.valid
            {
                moved.push((*v, false, at));
            }
        }
        for (v, from) in direct {
            let ty = self.lp.value(v).ty;
            let slot = self.outputs.direct(v).unwrap_or(0);
            let to = self.output_position(slot, ty);
            self.pack(ty, mask, from, to)?;
            self.mem[v.index()].data = Some(to);
        }
        if !moved.is_empty() {
            let pack = self.b.create_block();
            let go_on = self.b.create_block();
            for _ in &moved {
                self.b.append_block_param(go_on, types::I64);
            }
            let all = self.b.ins().icmp(IntCC::Equal, kept, self.n);
            let here: Vec<codegen::ir::BlockArg> = moved.iter().map(|m| m.2.into()).collect();
            self.b.ins().brif(all, go_on, &here, pack, &[]);
            self.b.switch_to_block(pack);
            self.b.seal_block(pack);
            let mut packed: Vec<codegen::ir::BlockArg> = Vec::new();
            for (v, is_data, from) in &moved {
                let ty = if *is_data { self.lp.value(*v).ty } else { Ty::Bool };
                let to = self.buffer(ty);
                self.pack(ty, mask, *from, to)?;
                packed.push(to.into());
            }
            self.b.ins().jump(go_on, &packed);
            self.b.switch_to_block(go_on);
            self.b.seal_block(go_on);
            for (at, (v, is_data, _)) in moved.iter().enumerate() {
                let pointer = self.b.block_params(go_on)[at];
                let mem = &mut self.mem[v.index()];
                if *is_data {
                    mem.data = Some(pointer);
                } else {
                    mem.valid = Some(pointer);
                }
            }
        }
        // From here on values lie in chunk buffers, or may.
        for mem in &mut self.mem {
            mem.in_column = false;
        }
        if self.lp.needs_selection() {
            self.narrow_selection(mask)?;
        }
        self.n = kept;
        Ok(())
    }

    /// A mask of all rows or of none. The optimizer leaves such filters to nobody, so it need not be
    /// quick.
    fn constant_mask(&mut self, all: bool) -> Result<Value, CompileError> {
        let buffer = self.buffer(Ty::Bool);
        let zero = self.b.ins().iconst(types::I64, 0);
        let rows = if all { self.n } else { zero };
        self.call("rt_andnot_bits", &[buffer, buffer, self.n, buffer])?;
        self.call("rt_fill_ones", &[buffer, zero, rows])?;
        Ok(buffer)
    }

    /// The mask of a predicate that no lane loop computed.
    fn mask_in_memory(&mut self, predicate: ValueId) -> Result<Value, CompileError> {
        self.ensure(predicate, Need::BOTH)?;
        let mem = self.mem[predicate.index()];
        let data =
            mem.data.ok_or_else(|| CompileError::Backend("a filter's operand is nowhere".to_owned()))?;
        match mem.valid {
            None => Ok(data),
            Some(valid) => {
                let buffer = self.buffer(Ty::Bool);
                self.call("rt_and_bits", &[data, valid, self.n, buffer])?;
                Ok(buffer)
            }
        }
    }

    /// Packs the rows of a buffer that the mask keeps.
    pub(super) fn pack(&mut self, ty: Ty, mask: Value, from: Value, to: Value) -> Result<(), CompileError> {
        let name = match ty.width() {
            None => "rt_compress_bits",
            Some(1) => "rt_compress_1",
            Some(2) => "rt_compress_2",
            Some(4) => "rt_compress_4",
            Some(8) => "rt_compress_8",
            Some(_) => "rt_compress_16",
        };
        self.call(name, &[mask, self.n, from, to])?;
        Ok(())
    }

    /// Keeps the row numbers of the chunk that are still alive.
    fn narrow_selection(&mut self, mask: Value) -> Result<(), CompileError> {
        let buffer = self.buffer(Ty::U16);
        match self.selection {
            None => self.call("rt_mask_to_sel", &[mask, self.n, buffer])?,
            Some(before) => self.call("rt_compress_2", &[mask, self.n, before, buffer])?,
        };
        self.selection = Some(buffer);
        Ok(())
    }
}
