//! The forms of a boolean in lanes, how one becomes another, and the widths of lanes that this needs.

use super::bools::Form;
use super::emitter::{FLAGS, vector_bits};
use super::lanes::{Lanes, Vecs};
use crate::ir::GROUP;
use cranelift::prelude::*;
use fuseline_kernels::abi::{LIVE_MASKS, LiveMasks};
use std::mem::offset_of;

impl Lanes<'_, '_, '_> {
    /// The rows of this group that exist.
    pub(super) fn live(&mut self, form: Form) -> Vecs {
        let base = match self.live_masks {
            Some(base) => base,
            None => {
                let b = &mut self.e.b;
                let left = b.ins().isub(self.e.n, self.row);
                let group = b.ins().iconst(types::I64, GROUP as i64);
                let left = b.ins().umin(left, group);
                let offset = b.ins().ishl_imm_u(left, i64::from(size_of::<LiveMasks>().trailing_zeros()));
                let table = b.ins().iconst(types::I64, LIVE_MASKS.as_ptr() as i64);
                let base = b.ins().iadd(table, offset);
                self.live_masks = Some(base);
                base
            }
        };
        let b = &mut self.e.b;
        let at = match form {
            Form::Bits => {
                let bits = b.ins().uload8(types::I64, FLAGS, base, offset_of!(LiveMasks, bits) as i32);
                return Vecs::one(bits, types::I64);
            }
            Form::W8 => {
                let half = b.ins().load(types::I64, FLAGS, base, offset_of!(LiveMasks, lanes8) as i32);
                let wide = b.ins().scalar_to_vector(types::I64X2, half);
                return Vecs::one(b.ins().bitcast(types::I8X16, vector_bits(), wide), types::I8X16);
            }
            Form::W16 => offset_of!(LiveMasks, lanes16),
            Form::W32 => offset_of!(LiveMasks, lanes32),
            Form::W64 => offset_of!(LiveMasks, lanes64),
        };
        let ty = form.lane_type();
        let list: Vec<Value> =
            (0..form.vectors()).map(|k| b.ins().load(ty, FLAGS, base, (at + 16 * k) as i32)).collect();
        Vecs::of(&list, ty)
    }

    /// The same boolean for all rows.
    pub(super) fn all(&mut self, form: Form, value: bool) -> Vecs {
        if form == Form::Bits {
            let bits = self.e.b.ins().iconst(types::I64, if value { 0xFF } else { 0 });
            return Vecs::one(bits, types::I64);
        }
        self.splat(form.lane_type(), if value { u64::MAX } else { 0 })
    }

    pub(super) fn complement(&mut self, a: Vecs, form: Form) -> Vecs {
        if form == Form::Bits {
            let flipped = self.e.b.ins().bxor_imm_u(a.v[0], 0xFF);
            return Vecs::one(flipped, types::I64);
        }
        self.map1(a, a.ty, |b, x| b.ins().bnot(x))
    }

    /// From one form to another.
    pub(super) fn convert(&mut self, a: Vecs, from: Form, to: Form) -> Vecs {
        if from == to {
            return a;
        }
        match from {
            Form::Bits => self.bits_to_masks(a.v[0], to),
            Form::W8 => {
                if to == Form::Bits {
                    let bits = self.e.b.ins().vhigh_bits(types::I64, a.v[0]);
                    let bits = self.e.b.ins().band_imm_u(bits, 0xFF);
                    return Vecs::one(bits, types::I64);
                }
                let wide = self.e.b.ins().swiden_low(a.v[0]);
                self.convert(Vecs::one(wide, types::I16X8), Form::W16, to)
            }
            Form::W16 => {
                if to < from {
                    let narrow = self.e.b.ins().snarrow(a.v[0], a.v[0]);
                    return self.convert(Vecs::one(narrow, types::I8X16), Form::W8, to);
                }
                let wide = self.widen_masks(a, types::I32X4);
                self.convert(wide, Form::W32, to)
            }
            Form::W32 => {
                if to < from {
                    let narrow = self.e.b.ins().snarrow(a.v[0], a.v[1]);
                    return self.convert(Vecs::one(narrow, types::I16X8), Form::W16, to);
                }
                self.widen_masks(a, types::I64X2)
            }
            Form::W64 => {
                let narrow = self.low_halves(a);
                self.convert(narrow, Form::W32, to)
            }
        }
    }

    /// Where 64-bit lanes with nothing but the sign and the low 15 bits equal `wanted`. Unless wide masks
    /// are asked for, two vectors are packed to one before they are compared: saturation keeps the sign
    /// as the upper half's and the low bits as they are.
    pub(super) fn equal_lanes(&mut self, a: Vecs, wanted: u64, form: Form) -> Vecs {
        if form == Form::W64 {
            let wanted = self.splat(a.ty, wanted);
            return self.map2(a, wanted, |f, x, y| f.ins().icmp(IntCC::Equal, x, y));
        }
        let words = self.cast(a, types::I32X4);
        let mut list = Vec::with_capacity(2);
        for pair in words.list().chunks_exact(2) {
            list.push(self.e.b.ins().snarrow(pair[0], pair[1]));
        }
        let packed = self.cast(Vecs::of(&list, types::I16X8), types::I32X4);
        let wanted = self.splat(types::I32X4, wanted >> 63 << 31 | wanted & 0x7FFF);
        let same = self.map2(packed, wanted, |f, x, y| f.ins().icmp(IntCC::Equal, x, y));
        self.convert(same, Form::W32, form)
    }

    /// Masks of twice the width: every lane is repeated, one instruction a vector. (Sign extension gives
    /// the same, but of the upper half only after a move.)
    fn widen_masks(&mut self, a: Vecs, to: Type) -> Vecs {
        let width = a.ty.lane_type().bytes() as u8;
        let repeat = |from: u8| -> [u8; 16] {
            std::array::from_fn(|at| from + at as u8 / (2 * width) * width + at as u8 % width)
        };
        let bytes = self.cast(a, types::I8X16);
        let mut list = Vec::with_capacity(4);
        for v in bytes.list() {
            for half in [0, 8] {
                list.push(self.shuffle(*v, *v, repeat(half)));
            }
        }
        self.cast(Vecs::of(&list, types::I8X16), to)
    }

    /// Twice as wide lanes: 1 vector of 16 bits to 2, or 2 of 32 bits to 4; from 8 bits only the low
    /// half is used.
    pub(super) fn widen(&mut self, a: Vecs, to: Type, signed: bool) -> Vecs {
        let mut list = Vec::with_capacity(4);
        for v in a.list() {
            let b = &mut self.e.b;
            if signed {
                list.push(b.ins().swiden_low(*v));
                if to != types::I16X8 {
                    list.push(b.ins().swiden_high(*v));
                }
            } else {
                list.push(b.ins().uwiden_low(*v));
                if to != types::I16X8 {
                    list.push(b.ins().uwiden_high(*v));
                }
            }
        }
        Vecs::of(&list, to)
    }

    /// The low 32 bits of 64-bit lanes.
    pub(super) fn low_halves(&mut self, a: Vecs) -> Vecs {
        const EVEN: [u8; 16] = [0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27];
        let bytes = self.cast(a, types::I8X16);
        let low = self.shuffle(bytes.v[0], bytes.v[1], EVEN);
        let high = self.shuffle(bytes.v[2], bytes.v[3], EVEN);
        self.cast(Vecs::of(&[low, high], types::I8X16), types::I32X4)
    }

    /// Eight bits as masks. Wide masks are read from a table, one row per byte: 8 rows in 4 vectors
    /// would take 9 instructions to compute, where loads fold into the operations that use them.
    fn bits_to_masks(&mut self, bits: Value, form: Form) -> Vecs {
        let ty = form.lane_type();
        let width = ty.lane_type().bytes() as usize;
        let table = match form {
            Form::W32 => MASKS_32.0.as_ptr().cast::<u8>(),
            Form::W64 => MASKS_64.0.as_ptr().cast::<u8>(),
            Form::Bits | Form::W8 | Form::W16 => return self.bits_to_narrow_masks(bits, ty, width),
        };
        let base = self.e.b.ins().iconst(types::I64, table as i64);
        let offset = self.e.b.ins().ishl_imm_u(bits, (8 * width).trailing_zeros() as i64);
        let at = self.e.b.ins().iadd(base, offset);
        let mut list = Vec::with_capacity(4);
        for k in 0..form.vectors() {
            let flags = MemFlagsData::trusted().with_readonly().with_can_move();
            list.push(self.e.b.ins().load(ty, flags, at, 16 * k as i32));
        }
        Vecs::of(&list, ty)
    }

    fn bits_to_narrow_masks(&mut self, bits: Value, ty: Type, width: usize) -> Vecs {
        let lane = self.e.b.ins().ireduce(ty.lane_type(), bits);
        let all = self.e.b.ins().splat(ty, lane);
        let mut bytes = [0u8; 16];
        for row in 0..8 {
            bytes[row * width..][..width].copy_from_slice(&(1u64 << row).to_le_bytes()[..width]);
        }
        let select = self.vconst(ty, bytes);
        let one = self.e.b.ins().band(all, select);
        Vecs::one(self.e.b.ins().icmp(IntCC::Equal, one, select), ty)
    }
}

/// Per byte the masks of its bits, the lowest first; aligned so that no load crosses a cache line.
#[repr(align(64))]
struct MaskTable<T>([[T; 8]; 256]);

static MASKS_32: MaskTable<u32> = {
    let mut table = [[0; 8]; 256];
    let mut at = 0;
    while at < 256 * 8 {
        table[at / 8][at % 8] = if ((at / 8) >> (at % 8)) & 1 == 1 { u32::MAX } else { 0 };
        at += 1;
    }
    MaskTable(table)
};

static MASKS_64: MaskTable<u64> = {
    let mut table = [[0; 8]; 256];
    let mut at = 0;
    while at < 256 * 8 {
        table[at / 8][at % 8] = if ((at / 8) >> (at % 8)) & 1 == 1 { u64::MAX } else { 0 };
        at += 1;
    }
    MaskTable(table)
};
