//! The lane loop: one pass over a chunk in groups of 8 rows held in 128-bit vectors.
//!
//! Invariants: the loop runs over `ceil(n / 8)` groups, so rows behind `n` are computed too; they hold
//! readable garbage, never trap, and are masked out ([`Lanes::live`]) wherever they would be seen:
//! aggregates and failures. Stores of such rows land in padding.

use super::CompileError;
use super::bools::{BoolId, Bools, Form};
use super::classify::constant;
use super::emitter::{Emitter, FLAGS, vector_bits};
use super::prefetch::emit_prefetch;
use super::schedule::{Need, Phase};
use crate::ir::{GROUP, Lit, Ty, ValueId};
use cranelift::codegen::ir::ConstantData;
use cranelift::prelude::*;
use std::collections::HashMap;

/// The lanes of one value for a group: 1, 2 or 4 vectors of one type. Also holds a scalar as "one".
#[derive(Clone, Copy, Debug)]
pub(super) struct Vecs {
    pub v: [Value; 4],
    pub n: usize,
    pub ty: Type,
}

impl Vecs {
    pub(super) fn one(v: Value, ty: Type) -> Vecs {
        Vecs { v: [v; 4], n: 1, ty }
    }

    pub(super) fn of(list: &[Value], ty: Type) -> Vecs {
        let mut v = [list[0]; 4];
        v[..list.len()].copy_from_slice(list);
        Vecs { v, n: list.len(), ty }
    }

    pub(super) fn list(&self) -> &[Value] {
        &self.v[..self.n]
    }
}

/// The data part of a value in lanes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Data {
    Vecs(Vecs),
    Bool(BoolId),
    /// Only its validity is known here.
    Absent,
}

/// A value in lanes; without `valid` no row is null.
#[derive(Clone, Copy, Debug)]
pub(super) struct LaneValue {
    pub data: Data,
    pub valid: Option<BoolId>,
}

/// The vector type of a value's lanes; `None` for types that have none.
pub(super) fn lane_type(ty: Ty) -> Option<Type> {
    Some(match ty {
        Ty::I8 | Ty::U8 => types::I8X16,
        Ty::I16 | Ty::U16 => types::I16X8,
        Ty::I32 | Ty::U32 => types::I32X4,
        Ty::I64 | Ty::U64 => types::I64X2,
        Ty::F32 => types::F32X4,
        Ty::F64 => types::F64X2,
        Ty::Bool | Ty::I128 | Ty::Str => return None,
    })
}

/// The integer vector type with lanes of the same width.
pub(super) fn int_lanes(ty: Type) -> Type {
    match ty.lane_bits() {
        8 => types::I8X16,
        16 => types::I16X8,
        32 => types::I32X4,
        _sixty_four => types::I64X2,
    }
}

/// A literal's bits, sign- or zero-extended to 64.
pub(super) fn literal_bits(lit: &Lit) -> u64 {
    match lit {
        Lit::Null(_) | Lit::Str(_) => 0,
        Lit::Bool(v) => u64::from(*v),
        Lit::I8(v) => *v as u64,
        Lit::I16(v) => *v as u64,
        Lit::I32(v) => *v as u64,
        Lit::I64(v) => *v as u64,
        Lit::I128(v) => *v as u64,
        Lit::U8(v) => u64::from(*v),
        Lit::U16(v) => u64::from(*v),
        Lit::U32(v) => u64::from(*v),
        Lit::U64(v) => *v,
        Lit::F32(v) => u64::from(v.to_bits()),
        Lit::F64(v) => v.to_bits(),
    }
}

/// A lane loop being emitted.
pub(super) struct Lanes<'a, 'f, 'l> {
    pub e: &'a mut Emitter<'f, 'l>,
    pub bools: Bools,
    values: Vec<Option<LaneValue>>,
    /// The group's first row in the chunk.
    pub row: Value,
    byte: Option<Value>,
    pub live_masks: Option<Value>,
    /// Bits of rows that failed, gathered over the loop.
    pub failed: Option<Variable>,
    /// Per counter, the mask of rows that count.
    pub count_masks: HashMap<usize, BoolId>,
    /// Range tests made so far, by value and bounds.
    pub ranges: HashMap<(ValueId, i128, i128), BoolId>,
}

impl<'f, 'l> Emitter<'f, 'l> {
    pub(super) fn emit_lanes(&mut self, phase: &Phase) -> Result<(), CompileError> {
        for (v, need) in &phase.loads {
            self.ensure(*v, *need)?;
        }
        for (v, need) in &phase.stores {
            self.place(*v, *need)?;
        }
        let mask = phase.mask.map(|f| (f, self.mask_buffer()));
        let fallible = phase.insts.iter().any(|v| {
            let inst = self.lp.value(*v);
            let tys: Vec<Ty> = inst.args.iter().map(|a| self.lp.value(*a).ty).collect();
            inst.op.can_fail(&tys)
        });
        let failed = fallible.then(|| {
            let var = self.b.declare_var(types::I64);
            let zero = self.b.ins().iconst(types::I64, 0);
            self.b.def_var(var, zero);
            var
        });
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
        let mut lanes = Lanes {
            e: self,
            bools: Bools::default(),
            values: vec![None; count],
            row,
            byte: None,
            live_masks: None,
            failed,
            count_masks: HashMap::new(),
            ranges: HashMap::new(),
        };
        for v in &phase.insts {
            lanes.e.note(*v);
            let value = lanes.emit_inst(*v)?;
            lanes.values[v.index()] = Some(value);
        }
        lanes.feed_aggs(&phase.aggs)?;
        for (v, need) in &phase.stores {
            lanes.store(*v, *need)?;
        }
        if let Some((f, buffer)) = mask {
            let holds = lanes.holds(f)?;
            lanes.store_bits(holds, buffer);
        }
        let next = self.b.ins().iadd_imm_s(row, GROUP as i64);
        let more = self.b.ins().icmp(IntCC::UnsignedLessThan, next, self.n);
        self.b.ins().brif(more, body, &[next.into()], after, &[]);
        self.b.seal_block(body);
        self.b.switch_to_block(after);
        self.b.seal_block(after);
        if let Some(var) = failed {
            let bits = self.b.use_var(var);
            self.bail_if(bits);
        }
        self.close_aggs(&phase.aggs, &loaded);
        Ok(())
    }
}

impl Lanes<'_, '_, '_> {
    // ---- values -------------------------------------------------------------------------------

    /// A value computed in this loop, or loaded, or a constant.
    pub(super) fn value(&mut self, id: ValueId) -> Result<LaneValue, CompileError> {
        if let Some(value) = self.values[id.index()] {
            return Ok(value);
        }
        let value = if let Some(lit) = constant(self.e.lp, id) {
            self.constant_value(&lit.clone())
        } else {
            self.load(id)?
        };
        self.values[id.index()] = Some(value);
        Ok(value)
    }

    /// Whether the value was computed or loaded in this loop already.
    pub(super) fn is_known(&self, id: ValueId) -> bool {
        self.values[id.index()].is_some()
    }

    fn constant_value(&mut self, lit: &Lit) -> LaneValue {
        let valid = lit.is_null().then(|| self.bools.constant(false));
        let data = match (lane_type(lit.ty()), lit.ty()) {
            (Some(ty), _) => Data::Vecs(self.splat(ty, literal_bits(lit))),
            (None, Ty::Bool) => Data::Bool(self.bools.constant(*lit == Lit::Bool(true))),
            (None, _) => Data::Absent,
        };
        LaneValue { data, valid }
    }

    /// Reads the group from the chunk buffers or the column.
    fn load(&mut self, id: ValueId) -> Result<LaneValue, CompileError> {
        let mem = self.e.mem[id.index()];
        let valid = mem.valid.map(|at| self.load_bits(at));
        let ty = self.e.lp.value(id).ty;
        let data = match (mem.data, lane_type(ty)) {
            (Some(at), Some(lanes)) => {
                // Narrower columns take several groups per line and are not what holds a loop up.
                if mem.in_column && ty.width() == Some(8) {
                    let at = self.address(at, 8);
                    self.e.prefetches += emit_prefetch(&mut self.e.b, at);
                }
                // Nobody writes to columns, and what is known to be constant is loaded where it is used
                // first, not here, where it would take a register from now on.
                let flags = if mem.in_column { FLAGS.with_readonly().with_can_move() } else { FLAGS };
                Data::Vecs(self.load_lanes(at, lanes, ty, flags))
            }
            (Some(at), None) if ty == Ty::Bool => Data::Bool(self.load_bits(at)),
            (Some(_), None) | (None, _) => Data::Absent,
        };
        Ok(LaneValue { data, valid })
    }

    fn load_lanes(&mut self, base: Value, lanes: Type, ty: Ty, flags: MemFlagsData) -> Vecs {
        let width = ty.width().unwrap_or(8);
        let at = self.address(base, width);
        if width == 1 {
            // Eight bytes; the upper half of the vector is never looked at.
            let eight = self.e.b.ins().load(types::I64, flags, at, 0);
            let wide = self.e.b.ins().scalar_to_vector(types::I64X2, eight);
            let v = self.e.b.ins().bitcast(lanes, vector_bits(), wide);
            return Vecs::one(v, lanes);
        }
        // Floats are loaded as integers. A float load that becomes the memory operand of an addition may
        // change places with the other operand, and of two NaNs the first one counts.
        let int = int_lanes(lanes);
        let mut list = Vec::with_capacity(4);
        for k in 0..GROUP * width / 16 {
            list.push(self.e.b.ins().load(int, flags, at, 16 * k as i32));
        }
        self.cast(Vecs::of(&list, int), lanes)
    }

    /// Where the group starts in a buffer of values `width` bytes wide.
    fn address(&mut self, base: Value, width: usize) -> Value {
        let offset = match width {
            1 => self.row,
            _more => self.e.b.ins().ishl_imm_u(self.row, i64::from(width.trailing_zeros())),
        };
        self.e.b.ins().iadd(base, offset)
    }

    fn byte_index(&mut self) -> Value {
        if let Some(byte) = self.byte {
            return byte;
        }
        let byte = self.e.b.ins().ushr_imm_u(self.row, 3);
        self.byte = Some(byte);
        byte
    }

    pub(super) fn load_bits(&mut self, base: Value) -> BoolId {
        let byte = self.byte_index();
        let at = self.e.b.ins().iadd(base, byte);
        let bits = self.e.b.ins().uload8(types::I64, FLAGS, at, 0);
        self.bools.bits(bits)
    }

    pub(super) fn store_bits(&mut self, value: BoolId, base: Value) {
        let bits = Bools::make(self, value, Form::Bits).v[0];
        let byte = self.byte_index();
        let at = self.e.b.ins().iadd(base, byte);
        self.e.b.ins().istore8(FLAGS, bits, at, 0);
    }

    fn store(&mut self, id: ValueId, need: Need) -> Result<(), CompileError> {
        let value = self.value(id)?;
        let mem = self.e.mem[id.index()];
        if need.data
            && let Some(base) = mem.data
        {
            match value.data {
                Data::Vecs(vecs) => self.store_lanes(vecs, base),
                Data::Bool(b) => self.store_bits(b, base),
                Data::Absent => {}
            }
        }
        if need.valid
            && let Some(base) = mem.valid
        {
            let valid = match value.valid {
                Some(v) => v,
                None => self.bools.constant(true),
            };
            self.store_bits(valid, base);
        }
        Ok(())
    }

    fn store_lanes(&mut self, vecs: Vecs, base: Value) {
        let width = vecs.ty.lane_type().bytes() as usize;
        let at = self.address(base, width);
        if width == 1 {
            let wide = self.e.b.ins().bitcast(types::I64X2, vector_bits(), vecs.v[0]);
            let eight = self.e.b.ins().extractlane(wide, 0);
            self.e.b.ins().store(FLAGS, eight, at, 0);
            return;
        }
        for (k, v) in vecs.list().iter().enumerate() {
            self.e.b.ins().store(FLAGS, *v, at, 16 * k as i32);
        }
    }

    /// The vectors of a value that has lanes.
    pub(super) fn vecs(&mut self, id: ValueId) -> Result<Vecs, CompileError> {
        match self.value(id)?.data {
            Data::Vecs(vecs) => Ok(vecs),
            Data::Bool(_) | Data::Absent => {
                Err(CompileError::Backend(format!("value {} has no lanes", id.0)))
            }
        }
    }

    /// The vectors of a value as integers of its width.
    pub(super) fn int_vecs(&mut self, id: ValueId) -> Result<Vecs, CompileError> {
        let vecs = self.vecs(id)?;
        Ok(self.cast(vecs, int_lanes(vecs.ty)))
    }

    pub(super) fn boolean(&mut self, id: ValueId) -> Result<BoolId, CompileError> {
        match self.value(id)?.data {
            Data::Bool(b) => Ok(b),
            Data::Vecs(_) | Data::Absent => {
                Err(CompileError::Backend(format!("value {} is no boolean", id.0)))
            }
        }
    }

    /// Where a boolean value is true and valid.
    pub(super) fn holds(&mut self, id: ValueId) -> Result<BoolId, CompileError> {
        let value = self.boolean(id)?;
        Ok(match self.value(id)?.valid {
            Some(valid) => self.bools.and(value, valid),
            None => value,
        })
    }

    /// Where all arguments are valid; `None` when none of them can be null.
    pub(super) fn all_valid(&mut self, args: &[ValueId]) -> Result<Option<BoolId>, CompileError> {
        let mut all = None;
        for a in args {
            let valid = self.value(*a)?.valid;
            all = self.bools.and_opt(all, valid);
        }
        Ok(all)
    }

    /// The rows of the group that exist.
    pub(super) fn live_rows(&mut self) -> BoolId {
        if self.e.all_rows_exist() { self.bools.constant(true) } else { self.bools.live() }
    }

    /// Records that the instruction fails where `fails` holds, as far as rows count.
    pub(super) fn fail(
        &mut self,
        inst: ValueId,
        fails: BoolId,
        valid: Option<BoolId>,
    ) -> Result<(), CompileError> {
        let mut fails = fails;
        if let Some(valid) = valid {
            fails = self.bools.and(fails, valid);
        }
        if let Some(under) = self.e.lp.value(inst).under {
            let under = self.holds(under)?;
            fails = self.bools.and(fails, under);
        }
        let live = self.live_rows();
        fails = self.bools.and(fails, live);
        if self.bools.known(fails) == Some(false) {
            return Ok(());
        }
        let bits = Bools::make(self, fails, Form::Bits).v[0];
        if let Some(var) = self.failed {
            let before = self.e.b.use_var(var);
            let after = self.e.b.ins().bor(before, bits);
            self.e.b.def_var(var, after);
        }
        Ok(())
    }

    // ---- vectors ------------------------------------------------------------------------------

    pub(super) fn map1(
        &mut self,
        a: Vecs,
        ty: Type,
        mut f: impl FnMut(&mut FunctionBuilder<'_>, Value) -> Value,
    ) -> Vecs {
        let mut out = a;
        for k in 0..a.n {
            out.v[k] = f(&mut self.e.b, a.v[k]);
        }
        out.ty = ty;
        out
    }

    pub(super) fn map2(
        &mut self,
        a: Vecs,
        b: Vecs,
        mut f: impl FnMut(&mut FunctionBuilder<'_>, Value, Value) -> Value,
    ) -> Vecs {
        debug_assert_eq!(a.n, b.n);
        let mut out = a;
        for k in 0..a.n {
            out.v[k] = f(&mut self.e.b, a.v[k], b.v[k]);
        }
        out
    }

    /// Reinterprets the bits.
    pub(super) fn cast(&mut self, a: Vecs, ty: Type) -> Vecs {
        if a.ty == ty {
            return a;
        }
        self.map1(a, ty, move |b, x| b.ins().bitcast(ty, vector_bits(), x))
    }

    /// A vector constant.
    pub(super) fn vconst(&mut self, ty: Type, bytes: [u8; 16]) -> Value {
        let handle = self.e.b.func.dfg.constants.insert(ConstantData::from(&bytes[..]));
        self.e.b.ins().vconst(ty, handle)
    }

    /// The low bits of `bits` in every lane of as many vectors as the type needs.
    pub(super) fn splat(&mut self, ty: Type, bits: u64) -> Vecs {
        let width = ty.lane_type().bytes() as usize;
        let mut bytes = [0u8; 16];
        for lane in bytes.chunks_exact_mut(width) {
            lane.copy_from_slice(&bits.to_le_bytes()[..width]);
        }
        let v = self.vconst(ty, bytes);
        Vecs { v: [v; 4], n: Form::of_width(width).vectors(), ty }
    }

    /// `mask ? a : b`.
    pub(super) fn blend(&mut self, mask: BoolId, a: Vecs, b: Vecs) -> Vecs {
        match self.bools.known(mask) {
            Some(true) => return a,
            Some(false) => return b,
            None => {}
        }
        let int = int_lanes(a.ty);
        let mask = Bools::make(self, mask, Form::of_width(int.lane_type().bytes() as usize));
        let (x, y) = (self.cast(a, int), self.cast(b, int));
        let mut out = x;
        for k in 0..out.n {
            out.v[k] = self.e.b.ins().bitselect(mask.v[k], x.v[k], y.v[k]);
        }
        self.cast(out, a.ty)
    }

    /// `mask ? a : 0`.
    pub(super) fn keep(&mut self, mask: BoolId, a: Vecs) -> Vecs {
        if self.bools.known(mask) == Some(true) {
            return a;
        }
        let int = int_lanes(a.ty);
        let mask = Bools::make(self, mask, Form::of_width(int.lane_type().bytes() as usize));
        let x = self.cast(a, int);
        let kept = self.map2(x, mask, |b, x, m| b.ins().band(x, m));
        self.cast(kept, a.ty)
    }

    /// Compares integer lanes.
    pub(super) fn icmp(&mut self, cc: IntCC, a: Vecs, b: Vecs) -> BoolId {
        let made = self.map2(a, b, |f, x, y| f.ins().icmp(cc, x, y));
        self.bools.masks(made)
    }

    pub(super) fn shuffle(&mut self, a: Value, b: Value, bytes: [u8; 16]) -> Value {
        let mask = self.e.b.func.dfg.immediates.push(ConstantData::from(&bytes[..]));
        self.e.b.ins().shuffle(a, b, mask)
    }
}
