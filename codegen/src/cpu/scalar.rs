//! The scalar loop: one row per iteration, for what has no lanes: 128-bit decimals, division by
//! anything but powers of two, floats to ints.
//!
//! Booleans and validity are 0 or 1 in an `i8`. They come in as bits and leave as bytes, which one
//! kernel call packs after the loop. Only rows that exist are visited.

use super::CompileError;
use super::classify::constant;
use super::emitter::{Emitter, FLAGS};
use super::schedule::{Need, Phase};
use crate::ir::{Lit, Ty, ValueId};
use cranelift::prelude::*;

/// The machine type of a value in a scalar loop.
pub(super) fn scalar_type(ty: Ty) -> Type {
    match ty {
        Ty::Bool | Ty::I8 | Ty::U8 => types::I8,
        Ty::I16 | Ty::U16 => types::I16,
        Ty::I32 | Ty::U32 => types::I32,
        Ty::I64 | Ty::U64 => types::I64,
        Ty::I128 | Ty::Str => types::I128,
        Ty::F32 => types::F32,
        Ty::F64 => types::F64,
    }
}

/// One row of a value; without `valid` no row is null.
#[derive(Clone, Copy, Debug)]
pub(super) struct ScalarValue {
    pub data: Option<Value>,
    pub valid: Option<Value>,
}

/// A scalar loop being emitted.
pub(super) struct Scalars<'a, 'f, 'l> {
    pub e: &'a mut Emitter<'f, 'l>,
    values: Vec<Option<ScalarValue>>,
    row: Value,
    failed: Option<Variable>,
    /// Where helpers write 128-bit results.
    pub result_slot: Value,
}

/// Bytes that become bits after the loop.
struct Packed {
    bytes: Value,
    bits: Value,
}

impl<'f, 'l> Emitter<'f, 'l> {
    pub(super) fn emit_scalar(&mut self, phase: &Phase) -> Result<(), CompileError> {
        for (v, need) in &phase.loads {
            self.ensure(*v, *need)?;
        }
        for (v, need) in &phase.stores {
            self.place(*v, *need)?;
        }
        let mut packed: Vec<Packed> = Vec::new();
        let mut targets: Vec<(ValueId, Option<Value>, Option<Value>)> = Vec::new();
        for (v, need) in &phase.stores {
            let mem = self.mem[v.index()];
            let is_bool = self.lp.value(*v).ty == Ty::Bool;
            let mut bytes_for = |e: &mut Self, bits: Option<Value>| {
                bits.map(|bits| {
                    let bytes = e.buffer(Ty::U8);
                    packed.push(Packed { bytes, bits });
                    bytes
                })
            };
            let data = mem.data.filter(|_| need.data);
            let data = if is_bool { bytes_for(self, data) } else { data };
            let valid = bytes_for(self, mem.valid.filter(|_| need.valid));
            targets.push((*v, data, valid));
        }
        let fallible = phase.insts.iter().any(|v| {
            let inst = self.lp.value(*v);
            let tys: Vec<Ty> = inst.args.iter().map(|a| self.lp.value(*a).ty).collect();
            inst.op.can_fail(&tys)
        });
        let failed = fallible.then(|| {
            let var = self.b.declare_var(types::I8);
            let zero = self.b.ins().iconst(types::I8, 0);
            self.b.def_var(var, zero);
            var
        });
        let slot = self.reserve(16);
        let result_slot = self.scratch_at(slot);
        let loaded = self.open_aggs(&phase.aggs);
        self.count_rows(&phase.aggs);
        let body = self.b.create_block();
        let after = self.b.create_block();
        let first = self.b.ins().iconst(types::I64, 0);
        self.b.append_block_param(body, types::I64);
        self.b.ins().jump(body, &[first.into()]);
        self.b.switch_to_block(body);
        let row = self.b.block_params(body)[0];
        let count = self.lp.values.len();
        let mut rows = Scalars { e: self, values: vec![None; count], row, failed, result_slot };
        // Whatever comes from outside is loaded first: later code may branch, and values loaded in a
        // branch would not be known behind it.
        for (v, need) in &phase.loads {
            rows.load(*v, *need);
        }
        for v in &phase.insts {
            rows.e.note(*v);
            let value = rows.emit_row(*v)?;
            rows.values[v.index()] = Some(value);
        }
        rows.feed_aggs(&phase.aggs)?;
        for (v, data, valid) in targets {
            rows.store(v, data, valid)?;
        }
        let next = self.b.ins().iadd_imm_s(row, 1);
        let more = self.b.ins().icmp(IntCC::UnsignedLessThan, next, self.n);
        self.b.ins().brif(more, body, &[next.into()], after, &[]);
        self.b.seal_block(body);
        self.b.switch_to_block(after);
        self.b.seal_block(after);
        if let Some(var) = failed {
            let failed = self.b.use_var(var);
            self.bail_if(failed);
        }
        self.close_aggs(&phase.aggs, &loaded);
        for Packed { bytes, bits } in packed {
            self.call("rt_bytes_to_bits", &[self.n, bytes, bits])?;
        }
        Ok(())
    }
}

impl<'a, 'f, 'l> Scalars<'a, 'f, 'l> {
    /// One row of a loop that computes nothing and so cannot fail.
    pub(super) fn at_row(e: &'a mut Emitter<'f, 'l>, row: Value) -> Scalars<'a, 'f, 'l> {
        let values = vec![None; e.lp.values.len()];
        let result_slot = e.scratch;
        Scalars { e, values, row, failed: None, result_slot }
    }
}

impl Scalars<'_, '_, '_> {
    pub(super) fn load(&mut self, id: ValueId, need: Need) {
        let mem = self.e.mem[id.index()];
        let ty = self.e.lp.value(id).ty;
        let valid = match mem.valid {
            Some(at) if need.valid => Some(self.load_bit(at)),
            Some(_) | None => None,
        };
        let data = match mem.data {
            Some(at) if need.data => Some(match ty.width() {
                None => self.load_bit(at),
                Some(width) => {
                    let at = self.address(at, width);
                    self.e.b.ins().load(scalar_type(ty), FLAGS, at, 0)
                }
            }),
            Some(_) | None => None,
        };
        self.values[id.index()] = Some(ScalarValue { data, valid });
    }

    fn address(&mut self, base: Value, width: usize) -> Value {
        let offset = match width {
            1 => self.row,
            _more => self.e.b.ins().ishl_imm_u(self.row, i64::from(width.trailing_zeros())),
        };
        self.e.b.ins().iadd(base, offset)
    }

    fn load_bit(&mut self, base: Value) -> Value {
        let b = &mut self.e.b;
        let byte = b.ins().ushr_imm_u(self.row, 3);
        let at = b.ins().iadd(base, byte);
        let bits = b.ins().uload8(types::I32, FLAGS, at, 0);
        let shift = b.ins().band_imm_u(self.row, 7);
        let bit = b.ins().ushr(bits, shift);
        let bit = b.ins().band_imm_u(bit, 1);
        b.ins().ireduce(types::I8, bit)
    }

    fn store(&mut self, id: ValueId, data: Option<Value>, valid: Option<Value>) -> Result<(), CompileError> {
        let value = self.value(id)?;
        let width = self.e.lp.value(id).ty.width().unwrap_or(1);
        if let Some(base) = data {
            let x = self.data(id)?;
            let at = self.address(base, width);
            self.e.b.ins().store(FLAGS, x, at, 0);
        }
        if let Some(base) = valid {
            let x = match value.valid {
                Some(x) => x,
                None => self.e.b.ins().iconst(types::I8, 1),
            };
            let at = self.address(base, 1);
            self.e.b.ins().store(FLAGS, x, at, 0);
        }
        Ok(())
    }

    /// A value computed or loaded in this loop, or a constant.
    pub(super) fn value(&mut self, id: ValueId) -> Result<ScalarValue, CompileError> {
        if let Some(value) = self.values[id.index()] {
            return Ok(value);
        }
        match constant(self.e.lp, id) {
            // Not remembered: it may be asked for in a branch first.
            Some(lit) => {
                let lit = lit.clone();
                let valid = lit.is_null().then(|| self.e.b.ins().iconst(types::I8, 0));
                Ok(ScalarValue { data: Some(self.literal(&lit)), valid })
            }
            None => Err(CompileError::Backend(format!("value {} is not at hand", id.0))),
        }
    }

    pub(super) fn literal(&mut self, lit: &Lit) -> Value {
        let bits = super::lanes::literal_bits(lit);
        match lit.ty() {
            Ty::F64 => self.e.b.ins().f64const(f64::from_bits(bits)),
            Ty::F32 => self.e.b.ins().f32const(f32::from_bits(bits as u32)),
            Ty::I128 => self.wide_const(lit.as_i128().unwrap_or(0)),
            Ty::Str => self.wide_const(0),
            ty @ (Ty::Bool | Ty::I8 | Ty::I16 | Ty::I32 | Ty::I64 | Ty::U8 | Ty::U16 | Ty::U32 | Ty::U64) => {
                let ty = scalar_type(ty);
                let bits = if ty == types::I64 { bits } else { bits & ((1u64 << ty.bits()) - 1) };
                self.e.b.ins().iconst(ty, bits as i64)
            }
        }
    }

    pub(super) fn wide_const(&mut self, value: i128) -> Value {
        let b = &mut self.e.b;
        let low = b.ins().iconst(types::I64, value as i64);
        let high = b.ins().iconst(types::I64, (value >> 64) as i64);
        b.ins().iconcat(low, high)
    }

    pub(super) fn data(&mut self, id: ValueId) -> Result<Value, CompileError> {
        self.value(id)?
            .data
            .ok_or_else(|| CompileError::Backend(format!("the data of value {} is not at hand", id.0)))
    }

    /// Where a boolean is true and valid, as 0 or 1.
    pub(super) fn holds(&mut self, id: ValueId) -> Result<Value, CompileError> {
        let x = self.data(id)?;
        Ok(match self.value(id)?.valid {
            Some(valid) => self.e.b.ins().band(x, valid),
            None => x,
        })
    }

    pub(super) fn and_opt(&mut self, a: Option<Value>, b: Option<Value>) -> Option<Value> {
        match (a, b) {
            (Some(a), Some(b)) => Some(self.e.b.ins().band(a, b)),
            (a, b) => a.or(b),
        }
    }

    pub(super) fn all_valid(&mut self, args: &[ValueId]) -> Result<Option<Value>, CompileError> {
        let mut all = None;
        for a in args {
            let valid = self.value(*a)?.valid;
            all = self.and_opt(all, valid);
        }
        Ok(all)
    }

    /// Records that the instruction fails where `fails` (0 or 1) is 1 and the row counts.
    pub(super) fn fail(
        &mut self,
        inst: ValueId,
        fails: Value,
        valid: Option<Value>,
    ) -> Result<(), CompileError> {
        let mut fails = fails;
        if let Some(valid) = valid {
            fails = self.e.b.ins().band(fails, valid);
        }
        if let Some(under) = self.e.lp.value(inst).under {
            let under = self.holds(under)?;
            fails = self.e.b.ins().band(fails, under);
        }
        if let Some(var) = self.failed {
            let before = self.e.b.use_var(var);
            let after = self.e.b.ins().bor(before, fails);
            self.e.b.def_var(var, after);
        }
        Ok(())
    }
}
