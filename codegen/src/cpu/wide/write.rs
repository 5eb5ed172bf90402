//! Writes a wide loop: entry, groups, exit.
//!
//! The function gets one pointer, to a list of 64-bit words ([`WORDS`] and the addresses behind them), and
//! returns the bits of failed rows. Registers: `rdi` that list, `rsi` the group's first row, `rdx` the
//! number of rows, `rcx` the group's byte in bitmaps, `rax` whatever is needed for a moment; the others
//! hold addresses, which are indexed by `rsi` or `rcx`, as far as they go.

use super::asm::{Asm, Evex, Gpr, Mem, RAX, RBP, RBX, RCX, RDI, RDX, RSI, RSP, Rm, at, indexed};
use super::code::{BinOp, Carried, Id, Inst, Op, Ptr};
use super::fold::{Folded, takes_constant};
use super::forms;
use super::registers::{Allocation, Loc, MASK_SPILL, VECTOR_SPILL, VECTOR_TEMP};
use crate::cpu::prefetch::AHEAD;
use crate::ir::GROUP;

/// Words of the list before the addresses.
pub(super) const ROWS: usize = 0;
/// The number of the first row in the source.
pub(super) const FIRST_ROW: usize = 1;
pub(super) const SCRATCH: usize = 2;
pub(super) const WORDS: usize = 3;

/// Registers for addresses; those the caller wants back come last.
const POINTERS: [Gpr; 9] = [8, 9, 10, 11, RBX, 12, 13, 14, 15];
const CALLERS: usize = 4;

const PAGE: usize = 4096;

struct Writer<'a> {
    asm: Asm,
    folded: &'a Folded,
    allocation: &'a Allocation,
    pointers: usize,
}

/// The function's bytes, its constants included, and how many of them are instructions.
pub(super) fn write(folded: &Folded, allocation: &Allocation, pointers: usize) -> (Vec<u8>, usize) {
    let mut w = Writer { asm: Asm::default(), folded, allocation, pointers };
    let used = pointers.min(POINTERS.len());
    w.enter(used);
    let (pairs, singles) = folded.order.split_at(folded.last_part);
    if !pairs.is_empty() {
        // The rows that fill two groups, then the rest.
        w.asm.and_imm(RDX, -2 * GROUP as i32);
        w.groups(pairs, 2);
        w.asm.mov(RDX, Rm::Mem(word(ROWS)));
    }
    w.groups(singles, 1);
    w.leave(used);
    let length = w.asm.len();
    (w.asm.finish(), length)
}

impl Writer<'_> {
    /// A loop from `rsi` up to `rdx`, so many groups at a time.
    fn groups(&mut self, order: &[Id], groups: usize) {
        let has_bits =
            |id: &Id| matches!(self.folded.insts[id.index()].op, Op::LoadBits(_) | Op::StoreBits(_));
        let has_bits = order.iter().any(has_bits);
        self.asm.cmp(RSI, Rm::Reg(RDX));
        let done = self.asm.jump_if_done();
        let top = self.asm.loop_start();
        for id in order {
            self.emit(*id);
        }
        self.asm.add_imm(RSI, (groups * GROUP) as i32);
        if has_bits {
            self.asm.add_imm(RCX, groups as i32);
        }
        self.asm.cmp(RSI, Rm::Reg(RDX));
        self.asm.jump_if_below(top);
        self.asm.land(done);
    }

    // ---- entry and exit -----------------------------------------------------------------------

    fn enter(&mut self, used: usize) {
        self.asm.push(RBP);
        self.asm.mov(RBP, Rm::Reg(RSP));
        for saved in POINTERS[..used].iter().skip(CALLERS) {
            self.asm.push(*saved);
        }
        let stack = 64 * self.allocation.vector_slots + 8 * self.allocation.mask_slots;
        // Page by page, so that the stack's end is not stepped over.
        for _ in 0..stack / PAGE {
            self.asm.sub_imm(RSP, PAGE as i32);
            self.asm.mov(RAX, Rm::Mem(at(RSP, 0)));
        }
        if stack > 0 {
            self.asm.sub_imm(RSP, (stack % PAGE).next_multiple_of(64) as i32);
            self.asm.and_imm(RSP, -64);
        }
        self.asm.mov(RDX, Rm::Mem(word(ROWS)));
        for (ptr, register) in POINTERS[..used].iter().enumerate() {
            self.asm.mov(*register, Rm::Mem(word(WORDS + ptr)));
        }
        self.asm.clear(RSI);
        self.asm.clear(RCX);
        for id in &self.folded.constants {
            self.load_constant(*id);
        }
        for id in &self.folded.carried {
            self.begin(*id);
        }
    }

    fn leave(&mut self, used: usize) {
        // Partial results first: what failed is the last thing that uses rax.
        let carried = &self.folded.carried;
        for id in carried {
            self.end(*id);
        }
        match carried.iter().find(|id| self.folded.insts[id.index()].op == Op::Carried(Carried::Failed)) {
            Some(id) => {
                let mask = self.mask(*id, 0);
                self.asm.vex(forms::MASK_TO_REGISTER, 0, RAX, 0, Rm::Reg(mask));
            }
            None => self.asm.clear(RAX),
        }
        self.asm.vzeroupper();
        let saved = used.saturating_sub(CALLERS);
        self.asm.mov(RSP, Rm::Reg(RBP));
        if saved > 0 {
            self.asm.sub_imm(RSP, 8 * saved as i32);
        }
        for register in POINTERS[..used].iter().skip(CALLERS).rev() {
            self.asm.pop(*register);
        }
        self.asm.pop(RBP);
        self.asm.ret();
    }

    fn load_constant(&mut self, id: Id) {
        let to = self.result(id);
        match self.inst(id).op {
            Op::Const(0) => self.vector(forms::bin(BinOp::Xor, 8), 64, to, to, Rm::Reg(to)),
            Op::Const(bits) => {
                let mem = self.asm.constant(&bits.to_le_bytes());
                self.evex(Evex { memory: 8, ..plain(forms::BROADCAST, 64, to, 0, Rm::Mem(mem)) });
            }
            Op::Table(table) => {
                let mem =
                    self.asm.constant(&self.folded.tables[usize::from(table)].map(u64::to_le_bytes).concat());
                self.vector(forms::load(8), 64, to, 0, Rm::Mem(mem));
            }
            _placed => unreachable!("only constants and tables are loaded before the loop"),
        }
        self.keep_result(id, to);
    }

    /// What a carried value is before the first group.
    fn begin(&mut self, id: Id) {
        let Op::Carried(carried) = self.inst(id).op else { return };
        let to = self.result(id);
        match carried {
            Carried::Floats { home } => {
                self.asm.mov(RAX, Rm::Mem(word(SCRATCH)));
                self.vector(forms::load(8), 64, to, 0, Rm::Mem(at(RAX, home as i32)));
            }
            Carried::Ints { .. } => self.vector(forms::bin(BinOp::Xor, 8), 64, to, to, Rm::Reg(to)),
            Carried::Extreme { width, least, .. } => {
                // What loses against every row.
                let bits = 8 * u32::from(width);
                let highest = (1u64 << (bits - 1)) - 1;
                let neutral = if least { highest } else { !highest };
                let mut lanes = [0; 8];
                for lane in lanes.chunks_exact_mut(usize::from(width)) {
                    lane.copy_from_slice(&neutral.to_le_bytes()[..usize::from(width)]);
                }
                let mem = self.asm.constant(&lanes);
                self.evex(Evex { memory: 8, ..plain(forms::BROADCAST, 64, to, 0, Rm::Mem(mem)) });
            }
            Carried::Failed => {
                self.asm.vex(forms::MASK_XOR, 1, to, to, Rm::Reg(to));
                return self.keep_mask(id, to);
            }
        }
        self.keep_result(id, to);
    }

    /// Takes a carried value home.
    fn end(&mut self, id: Id) {
        let Op::Carried(carried) = self.inst(id).op else { return };
        let (home, op, width) = match carried {
            Carried::Floats { home } => {
                let from = self.operand(id, 0);
                self.asm.mov(RAX, Rm::Mem(word(SCRATCH)));
                let store = super::asm::Code { opcode: forms::STORE_OPCODE, ..forms::load(8) };
                return self.vector(store, 64, from, 0, Rm::Mem(at(RAX, home as i32)));
            }
            Carried::Ints { home, .. } => (home, BinOp::Add, 8),
            Carried::Extreme { home, width, least, .. } => {
                (home, if least { BinOp::Min } else { BinOp::Max }, width)
            }
            Carried::Failed => return,
        };
        let all = self.operand(id, 0);
        // Halves until the lanes are as many as at home.
        let mut bytes = 8 * usize::from(width);
        while bytes > 16 {
            self.evex(Evex {
                imm: Some(1),
                ..plain(forms::upper_half(bytes), bytes, all, 0, Rm::Reg(VECTOR_TEMP))
            });
            bytes /= 2;
            self.vector(forms::bin(op, width), bytes, all, all, Rm::Reg(VECTOR_TEMP));
        }
        self.asm.mov(RAX, Rm::Mem(word(SCRATCH)));
        let mem = Rm::Mem(at(RAX, home as i32));
        self.vector(forms::bin(op, width), 16, all, all, mem);
        let store = super::asm::Code { opcode: forms::STORE_OPCODE, ..forms::load(8) };
        self.vector(store, 16, all, 0, mem);
    }

    // ---- operands -----------------------------------------------------------------------------

    fn inst(&self, id: Id) -> Inst {
        self.folded.insts[id.index()]
    }

    fn slot(&self, id: Id) -> Mem {
        match self.allocation.at[id.index()] {
            Loc::Slot(slot) if self.inst(id).op.makes_mask() => {
                at(RSP, (64 * self.allocation.vector_slots + 8 * usize::from(slot)) as i32)
            }
            Loc::Slot(slot) => at(RSP, 64 * i32::from(slot)),
            Loc::Reg(_) | Loc::Nowhere => unreachable!("only values on the stack have slots"),
        }
    }

    /// The register of a vector, loaded if it lies on the stack; `which` operand it is.
    fn operand(&mut self, id: Id, which: usize) -> u8 {
        if let Loc::Reg(register) = self.allocation.at[id.index()] {
            return register;
        }
        let (slot, to) = (self.slot(id), VECTOR_SPILL[which]);
        self.vector(forms::load(8), 64, to, 0, Rm::Mem(slot));
        to
    }

    fn mask(&mut self, id: Id, which: usize) -> u8 {
        if let Loc::Reg(register) = self.allocation.at[id.index()] {
            return register;
        }
        let (slot, to) = (self.slot(id), MASK_SPILL[which]);
        self.asm.vex(forms::MASK_LOAD, 0, to, 0, Rm::Mem(slot));
        to
    }

    /// Where a vector is to be made.
    fn result(&self, id: Id) -> u8 {
        match self.allocation.at[id.index()] {
            Loc::Reg(register) => register,
            Loc::Slot(_) | Loc::Nowhere if self.inst(id).op.makes_mask() => MASK_SPILL[0],
            Loc::Slot(_) | Loc::Nowhere => VECTOR_SPILL[0],
        }
    }

    fn keep_result(&mut self, id: Id, register: u8) {
        if let Loc::Slot(_) = self.allocation.at[id.index()] {
            let slot = self.slot(id);
            let store = super::asm::Code { opcode: forms::STORE_OPCODE, ..forms::load(8) };
            self.vector(store, 64, register, 0, Rm::Mem(slot));
        }
    }

    fn keep_mask(&mut self, id: Id, register: u8) {
        if let Loc::Slot(_) = self.allocation.at[id.index()] {
            let slot = self.slot(id);
            self.asm.vex(forms::MASK_STORE, 0, register, 0, Rm::Mem(slot));
        }
    }

    /// The group's values of `width` bytes behind an address.
    fn group(&mut self, ptr: Ptr, width: u8, group: u8) -> Mem {
        let base = self.pointer(ptr);
        indexed(base, RSI, usize::from(width), bytes_before(group, width))
    }

    fn group_bits(&mut self, ptr: Ptr, group: u8) -> Mem {
        let base = self.pointer(ptr);
        indexed(base, RCX, 1, i32::from(group))
    }

    fn pointer(&mut self, ptr: Ptr) -> Gpr {
        debug_assert!(usize::from(ptr.0) < self.pointers);
        match POINTERS.get(usize::from(ptr.0)) {
            Some(register) => *register,
            None => {
                self.asm.mov(RAX, Rm::Mem(word(WORDS + usize::from(ptr.0))));
                RAX
            }
        }
    }

    // ---- instructions -------------------------------------------------------------------------

    fn evex(&mut self, evex: Evex) {
        self.asm.evex(evex);
    }

    fn vector(&mut self, code: super::asm::Code, bytes: usize, reg: u8, vvvv: u8, rm: Rm) {
        self.evex(plain(code, bytes, reg, vvvv, rm));
    }

    /// The last operand of an instruction on lanes of so many bytes: a register, a load, or a constant
    /// that is repeated.
    fn last(&mut self, inst: &Inst, lanes: u8, repeated: usize) -> (Rm, bool, usize) {
        let Some(id) = inst.b else { return (Rm::Reg(0), false, 1) };
        let operand = self.inst(id);
        if self.folded.in_memory[id.index()] {
            match operand.op {
                Op::Load(ptr) => {
                    return (Rm::Mem(self.group(ptr, lanes, operand.group)), false, 8 * usize::from(lanes));
                }
                Op::Const(bits) if takes_constant(inst, &operand) => {
                    let mem = self.asm.constant(&bits.to_le_bytes());
                    return (Rm::Mem(mem), true, repeated);
                }
                _other => {}
            }
        }
        (Rm::Reg(self.operand(id, 1)), false, 1)
    }

    fn emit(&mut self, id: Id) {
        let inst = self.inst(id);
        let width = inst.width;
        let bytes = 8 * usize::from(width);
        // Masks have registers of their own, so they are at hand together with two vectors.
        let vector_mask = |w: &mut Self| inst.mask.map_or(0, |m| w.mask(m, 0));
        match inst.op {
            Op::Const(_) | Op::Table(_) => self.load_constant(id),
            Op::Carried(_) => {}
            Op::FirstRow | Op::RowsLeft => {
                if inst.op == Op::FirstRow {
                    self.asm.mov(RAX, Rm::Mem(word(FIRST_ROW)));
                    self.asm.add(RAX, Rm::Reg(RSI));
                    if inst.group > 0 {
                        self.asm.add_imm(RAX, GROUP as i32 * i32::from(inst.group));
                    }
                } else {
                    self.asm.mov(RAX, Rm::Reg(RDX));
                    self.asm.sub(RAX, Rm::Reg(RSI));
                }
                let to = self.result(id);
                self.vector(forms::BROADCAST_REGISTER, 64, to, 0, Rm::Reg(RAX));
                self.keep_result(id, to);
            }
            Op::Load(ptr) => {
                let (mem, to) = (self.group(ptr, width, inst.group), self.result(id));
                if width == 1 {
                    self.evex(Evex { memory: 8, ..plain(forms::LOAD_HALF, 16, to, 0, Rm::Mem(mem)) });
                } else {
                    self.vector(forms::load(width), bytes, to, 0, Rm::Mem(mem));
                }
                self.keep_result(id, to);
            }
            Op::Bin(op) => {
                let a = inst.a.map_or(0, |a| self.operand(a, 0));
                let (rm, broadcast, memory) = self.last(&inst, width, forms::repeats(op, width));
                let to = self.result(id);
                self.evex(Evex { broadcast, memory, ..plain(forms::bin(op, width), bytes, to, a, rm) });
                self.keep_result(id, to);
            }
            Op::Un(op) => {
                let (rm, _, memory) = self.last(&inst, width, 0);
                let (to, (code, imm)) = (self.result(id), forms::unary(op, width));
                self.evex(Evex { memory, imm, ..plain(code, bytes, to, 0, rm) });
                self.keep_result(id, to);
            }
            Op::Shift(op, count) => {
                let (rm, _, memory) = self.last(&inst, width, 0);
                let (to, (code, group)) = (self.result(id), forms::shift(op, width));
                self.evex(Evex { memory, imm: Some(count), ..plain(code, bytes, group, to, rm) });
                self.keep_result(id, to);
            }
            Op::Blend => {
                let a = inst.a.map_or(0, |a| self.operand(a, 0));
                let (rm, broadcast, memory) = self.last(&inst, width, usize::from(width));
                let (mask, to) = (vector_mask(self), self.result(id));
                let code = forms::blend(width);
                self.evex(Evex { broadcast, memory, mask, ..plain(code, bytes, to, a, rm) });
                self.keep_result(id, to);
            }
            Op::Keep => {
                let (rm, _, memory) = self.last(&inst, width, 0);
                let (mask, to) = (vector_mask(self), self.result(id));
                let code = forms::load(width);
                self.evex(Evex { memory, mask, zeroing: true, ..plain(code, bytes, to, 0, rm) });
                self.keep_result(id, to);
            }
            Op::Widen { from, signed } => {
                let (rm, _, memory) = self.last(&inst, from, 0);
                let to = self.result(id);
                self.evex(Evex { memory, ..plain(forms::widen(from, width, signed), bytes, to, 0, rm) });
                self.keep_result(id, to);
            }
            Op::Narrow { from } => {
                let from_register = inst.b.map_or(0, |b| self.operand(b, 1));
                let to = self.result(id);
                let code = forms::narrow(from, width);
                self.vector(code, 8 * usize::from(from), from_register, 0, Rm::Reg(to));
                self.keep_result(id, to);
            }
            Op::Convert(how) => {
                let from = how.operand_width();
                let (rm, _, memory) = self.last(&inst, from, 0);
                let to = self.result(id);
                let bytes = bytes.max(8 * usize::from(from));
                self.evex(Evex { memory, ..plain(forms::convert(how), bytes, to, 0, rm) });
                self.keep_result(id, to);
            }
            Op::Test(test) => {
                let a = inst.a.map_or(0, |a| self.operand(a, 0));
                let (rm, broadcast, memory) = self.last(&inst, width, usize::from(width));
                let (mask, to) = (vector_mask(self), self.result(id));
                let (code, imm) = forms::test(test, width);
                self.evex(Evex { broadcast, memory, imm, mask, ..plain(code, bytes, to, a, rm) });
                self.keep_mask(id, to);
            }
            Op::LoadBits(ptr) => {
                let (mem, to) = (self.group_bits(ptr, inst.group), self.result(id));
                self.asm.vex(forms::MASK_LOAD, 0, to, 0, Rm::Mem(mem));
                self.keep_mask(id, to);
            }
            Op::MaskConst(value) => {
                let to = self.result(id);
                let code = if value { forms::MASK_XNOR } else { forms::MASK_XOR };
                self.asm.vex(code, 1, to, to, Rm::Reg(to));
                self.keep_mask(id, to);
            }
            Op::MaskAnd | Op::MaskAndn | Op::MaskOr => {
                let code = match inst.op {
                    Op::MaskAnd => forms::MASK_AND,
                    Op::MaskAndn => forms::MASK_ANDN,
                    _or => forms::MASK_OR,
                };
                let a = inst.a.map_or(0, |a| self.mask(a, 0));
                let b = inst.b.map_or(0, |b| self.mask(b, 1));
                let to = self.result(id);
                self.asm.vex(code, 1, to, a, Rm::Reg(b));
                self.keep_mask(id, to);
            }
            Op::MaskNot => {
                let b = inst.b.map_or(0, |b| self.mask(b, 1));
                let to = self.result(id);
                self.asm.vex(forms::MASK_NOT, 0, to, 0, Rm::Reg(b));
                self.keep_mask(id, to);
            }
            Op::Store(ptr) => {
                let from = inst.b.map_or(0, |b| self.operand(b, 1));
                let mem = Rm::Mem(self.group(ptr, width, inst.group));
                if width == 1 {
                    self.evex(Evex { memory: 8, ..plain(forms::STORE_HALF, 16, from, 0, mem) });
                } else {
                    let store = super::asm::Code { opcode: forms::STORE_OPCODE, ..forms::load(width) };
                    self.vector(store, bytes, from, 0, mem);
                }
            }
            Op::StoreBits(ptr) => {
                let from = inst.b.map_or(0, |b| self.mask(b, 1));
                let mem = self.group_bits(ptr, inst.group);
                self.asm.vex(forms::MASK_STORE, 0, from, 0, Rm::Mem(mem));
            }
            Op::Prefetch(ptr) => {
                let base = self.pointer(ptr);
                let ahead = AHEAD + bytes_before(inst.group, width);
                self.asm.prefetch(indexed(base, RSI, usize::from(width), ahead));
            }
            Op::Accumulate(op) => {
                let Some(carried) = inst.a else { return };
                let sum = self.operand(carried, 0);
                let (rm, broadcast, memory) = self.last(&inst, width, forms::repeats(op, width));
                let mask = vector_mask(self);
                let code = forms::bin(op, width);
                if op == BinOp::FAdd && mask != 0 && !broadcast {
                    // An addition that keeps lanes of its own result is slower to hand it on to the next,
                    // and a float sum is one chain of them. Rows that do not count add 0.0.
                    let load = plain(forms::load(width), bytes, VECTOR_TEMP, 0, rm);
                    self.evex(Evex { memory, mask, zeroing: true, ..load });
                    self.vector(code, bytes, sum, sum, Rm::Reg(VECTOR_TEMP));
                } else {
                    self.evex(Evex { broadcast, memory, mask, ..plain(code, bytes, sum, sum, rm) });
                }
                self.keep_result(carried, sum);
            }
            Op::Collect => {
                let Some(carried) = inst.a else { return };
                let bits = self.mask(carried, 0);
                let b = inst.b.map_or(0, |b| self.mask(b, 1));
                self.asm.vex(forms::MASK_OR, 1, bits, bits, Rm::Reg(b));
                self.keep_mask(carried, bits);
            }
        }
    }
}

/// How far behind the first group of its part a group begins.
fn bytes_before(group: u8, width: u8) -> i32 {
    GROUP as i32 * i32::from(group) * i32::from(width)
}

/// A word of the list.
fn word(index: usize) -> Mem {
    at(RDI, 8 * index as i32)
}

/// An instruction on vectors of so many bytes without a mask.
fn plain(code: super::asm::Code, bytes: usize, reg: u8, vvvv: u8, rm: Rm) -> Evex {
    Evex {
        code,
        length: forms::length(bytes),
        reg,
        vvvv,
        rm,
        mask: 0,
        zeroing: false,
        broadcast: false,
        memory: bytes,
        imm: None,
    }
}
