//! Bytes of x86-64 instructions: EVEX (vectors), VEX (masks) and the few scalar ones that a loop needs.
//!
//! Cranelift has no 512-bit vectors and the assembler of `iced-x86` takes longer to build than all of this
//! crate, so the three prefixes are written here. Only what is needed: a memory operand is a base, an
//! index scaled by 1 to 8 and a displacement, or a place in the constants behind the code. Tests here
//! and in `mod.rs` have `iced-x86` decode what came out.

/// A general purpose register by its number.
pub(super) type Gpr = u8;

pub(super) const RAX: Gpr = 0;
pub(super) const RCX: Gpr = 1;
pub(super) const RDX: Gpr = 2;
pub(super) const RBX: Gpr = 3;
pub(super) const RSP: Gpr = 4;
pub(super) const RBP: Gpr = 5;
pub(super) const RSI: Gpr = 6;
pub(super) const RDI: Gpr = 7;

/// The opcode maps and the implied prefixes, as EVEX and VEX number them.
pub(super) const MAP_0F: u8 = 1;
pub(super) const MAP_0F38: u8 = 2;
pub(super) const MAP_0F3A: u8 = 3;
pub(super) const NP: u8 = 0;
pub(super) const P66: u8 = 1;
pub(super) const PF3: u8 = 2;
pub(super) const PF2: u8 = 3;

/// What selects an EVEX or VEX instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Code {
    pub map: u8,
    pub prefix: u8,
    pub w: u8,
    pub opcode: u8,
}

pub(super) const fn code(map: u8, prefix: u8, w: u8, opcode: u8) -> Code {
    Code { map, prefix, w, opcode }
}

/// A memory operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mem {
    At {
        base: Gpr,
        index: Option<(Gpr, u8)>,
        disp: i32,
    },
    /// Bytes from the start of the constants.
    Pool(u32),
}

pub(super) fn at(base: Gpr, disp: i32) -> Mem {
    Mem::At { base, index: None, disp }
}

/// `base + index * width + disp`.
pub(super) fn indexed(base: Gpr, index: Gpr, width: usize, disp: i32) -> Mem {
    Mem::At { base, index: Some((index, width.trailing_zeros() as u8)), disp }
}

/// The operand that may be a register or memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rm {
    Reg(u8),
    Mem(Mem),
}

/// The parts of an EVEX instruction.
#[derive(Clone, Copy, Debug)]
pub(super) struct Evex {
    pub code: Code,
    /// 0, 1 and 2 for 128, 256 and 512 bits.
    pub length: u8,
    pub reg: u8,
    pub vvvv: u8,
    pub rm: Rm,
    /// 0 for none.
    pub mask: u8,
    pub zeroing: bool,
    pub broadcast: bool,
    /// Bytes that a memory operand has: what short displacements count in.
    pub memory: usize,
    pub imm: Option<u8>,
}

/// A place in the code that jumps go back to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Label(usize);

/// A jump whose goal is yet to come.
#[derive(Debug)]
#[must_use]
pub(super) struct Jump(usize);

/// Code under construction, with its constants.
#[derive(Default)]
pub(super) struct Asm {
    bytes: Vec<u8>,
    pool: Vec<u8>,
    /// Where a displacement to a constant lies, what it counts from, and which constant.
    fixups: Vec<(usize, usize, u32)>,
}

impl Asm {
    // ---- constants ----------------------------------------------------------------------------

    /// Places bytes, a power of two of them, among the constants.
    pub(super) fn constant(&mut self, bytes: &[u8]) -> Mem {
        debug_assert!(bytes.len().is_power_of_two());
        let found = self.pool.chunks_exact(bytes.len()).position(|c| c == bytes);
        let offset = found.map_or_else(
            || {
                self.pool.resize(self.pool.len().next_multiple_of(bytes.len()), 0);
                self.pool.extend_from_slice(bytes);
                self.pool.len() - bytes.len()
            },
            |at| at * bytes.len(),
        );
        Mem::Pool(offset as u32)
    }

    /// The finished code, its constants behind it. To be placed at a multiple of 64.
    pub(super) fn finish(mut self) -> Vec<u8> {
        if self.pool.is_empty() {
            return self.bytes;
        }
        // What is not code is no instruction either: a listing ends here.
        let start = self.bytes.len().next_multiple_of(64);
        self.bytes.resize(start, 0xCC);
        for (place, from, offset) in std::mem::take(&mut self.fixups) {
            let distance = (start + offset as usize) as i64 - from as i64;
            self.bytes[place..place + 4].copy_from_slice(&(distance as i32).to_le_bytes());
        }
        self.bytes.extend_from_slice(&self.pool);
        self.bytes
    }

    /// Bytes of code so far.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    // ---- operands -----------------------------------------------------------------------------

    /// ModRM, SIB and displacement; `unit` is what a short displacement counts in, `trailing` the bytes
    /// of the instruction that follow.
    fn operand(&mut self, reg: u8, rm: Rm, unit: usize, trailing: usize) {
        let reg = (reg & 7) << 3;
        match rm {
            Rm::Reg(r) => self.bytes.push(0xC0 | reg | r & 7),
            Rm::Mem(Mem::Pool(offset)) => {
                self.bytes.push(reg | 5);
                let place = self.bytes.len();
                self.bytes.extend([0; 4]);
                self.fixups.push((place, place + 4 + trailing, offset));
            }
            Rm::Mem(Mem::At { base, index, disp }) => {
                let unit = unit as i32;
                let short = i8::try_from(disp / unit).ok().filter(|_| disp % unit == 0);
                // rbp and r13 have no form without a displacement.
                let mode = match (disp, short) {
                    (0, _) if base & 7 != RBP => 0x00,
                    (_, Some(_)) => 0x40,
                    (_, None) => 0x80,
                };
                match index {
                    None if base & 7 != RSP => self.bytes.push(mode | reg | base & 7),
                    None => self.bytes.extend([mode | reg | 4, 0x20 | base & 7]),
                    Some((index, scale)) => {
                        debug_assert_ne!(index, RSP);
                        self.bytes.extend([mode | reg | 4, scale << 6 | (index & 7) << 3 | base & 7]);
                    }
                }
                match (mode, short) {
                    (0x00, _) => {}
                    (0x40, Some(short)) => self.bytes.push(short as u8),
                    (_, _) => self.bytes.extend(disp.to_le_bytes()),
                }
            }
        }
    }

    /// Bits 3 of the registers that an operand addresses with: of the index and of the base.
    fn address_bits(rm: Rm) -> (u8, u8) {
        match rm {
            Rm::Reg(r) => (0, r >> 3 & 1),
            Rm::Mem(Mem::Pool(_)) => (0, 0),
            Rm::Mem(Mem::At { base, index, .. }) => (index.map_or(0, |i| i.0 >> 3 & 1), base >> 3 & 1),
        }
    }

    // ---- vectors and masks --------------------------------------------------------------------

    pub(super) fn evex(&mut self, i: Evex) {
        let (mut x, b) = Asm::address_bits(i.rm);
        if let Rm::Reg(r) = i.rm {
            x = r >> 4 & 1;
        }
        let r = i.reg >> 3 & 1;
        let r_high = i.reg >> 4 & 1;
        self.bytes.push(0x62);
        self.bytes.push((r ^ 1) << 7 | (x ^ 1) << 6 | (b ^ 1) << 5 | (r_high ^ 1) << 4 | i.code.map);
        self.bytes.push(i.code.w << 7 | (!i.vvvv & 0xF) << 3 | 1 << 2 | i.code.prefix);
        let v_high = i.vvvv >> 4 & 1;
        self.bytes.push(
            u8::from(i.zeroing) << 7
                | i.length << 5
                | u8::from(i.broadcast) << 4
                | (v_high ^ 1) << 3
                | i.mask,
        );
        self.bytes.push(i.code.opcode);
        self.operand(i.reg, i.rm, i.memory.max(1), usize::from(i.imm.is_some()));
        self.bytes.extend(i.imm);
    }

    /// A VEX instruction with `length` 0 or 1, on masks and general registers.
    pub(super) fn vex(&mut self, code: Code, length: u8, reg: u8, vvvv: u8, rm: Rm) {
        let (x, b) = Asm::address_bits(rm);
        let r = reg >> 3 & 1;
        self.bytes.push(0xC4);
        self.bytes.push((r ^ 1) << 7 | (x ^ 1) << 6 | (b ^ 1) << 5 | code.map);
        self.bytes.push(code.w << 7 | (!vvvv & 0xF) << 3 | length << 2 | code.prefix);
        self.bytes.push(code.opcode);
        self.operand(reg, rm, 1, 0);
    }

    pub(super) fn vzeroupper(&mut self) {
        self.bytes.extend([0xC5, 0xF8, 0x77]);
    }

    // ---- scalars ------------------------------------------------------------------------------

    /// A 64-bit instruction of one opcode byte.
    fn scalar(&mut self, opcode: u8, reg: u8, rm: Rm, trailing: usize) {
        let (x, b) = Asm::address_bits(rm);
        self.bytes.push(0x48 | (reg >> 3 & 1) << 2 | x << 1 | b);
        self.bytes.push(opcode);
        self.operand(reg, rm, 1, trailing);
    }

    pub(super) fn mov(&mut self, to: Gpr, from: Rm) {
        self.scalar(0x8B, to, from, 0);
    }

    pub(super) fn add(&mut self, to: Gpr, from: Rm) {
        self.scalar(0x03, to, from, 0);
    }

    pub(super) fn sub(&mut self, to: Gpr, from: Rm) {
        self.scalar(0x2B, to, from, 0);
    }

    pub(super) fn cmp(&mut self, a: Gpr, b: Rm) {
        self.scalar(0x3B, a, b, 0);
    }

    pub(super) fn add_imm(&mut self, to: Gpr, imm: i32) {
        self.immediate(0, to, imm);
    }

    pub(super) fn and_imm(&mut self, to: Gpr, imm: i32) {
        self.immediate(4, to, imm);
    }

    pub(super) fn sub_imm(&mut self, to: Gpr, imm: i32) {
        self.immediate(5, to, imm);
    }

    fn immediate(&mut self, which: u8, to: Gpr, imm: i32) {
        match i8::try_from(imm) {
            Ok(short) => {
                self.scalar(0x83, which, Rm::Reg(to), 1);
                self.bytes.push(short as u8);
            }
            Err(_) => {
                self.scalar(0x81, which, Rm::Reg(to), 4);
                self.bytes.extend(imm.to_le_bytes());
            }
        }
    }

    /// Sets a register to zero.
    pub(super) fn clear(&mut self, r: Gpr) {
        self.scalar(0x33, r, Rm::Reg(r), 0);
    }

    pub(super) fn push(&mut self, r: Gpr) {
        self.bytes.extend([0x40 | r >> 3 & 1, 0x50 | r & 7]);
    }

    pub(super) fn pop(&mut self, r: Gpr) {
        self.bytes.extend([0x40 | r >> 3 & 1, 0x58 | r & 7]);
    }

    pub(super) fn prefetch(&mut self, mem: Mem) {
        let (x, b) = Asm::address_bits(Rm::Mem(mem));
        self.bytes.extend([0x40 | x << 1 | b, 0x0F, 0x18]);
        self.operand(1, Rm::Mem(mem), 1, 0);
    }

    pub(super) fn ret(&mut self) {
        self.bytes.push(0xC3);
    }

    /// This place, to jump back to; where loops begin, a multiple of 32.
    pub(super) fn loop_start(&mut self) -> Label {
        // One long no-operation after the other.
        const NOPS: [&[u8]; 8] = [
            &[0x90],
            &[0x66, 0x90],
            &[0x0F, 0x1F, 0x00],
            &[0x0F, 0x1F, 0x40, 0x00],
            &[0x0F, 0x1F, 0x44, 0x00, 0x00],
            &[0x66, 0x0F, 0x1F, 0x44, 0x00, 0x00],
            &[0x0F, 0x1F, 0x80, 0x00, 0x00, 0x00, 0x00],
            &[0x0F, 0x1F, 0x84, 0x00, 0x00, 0x00, 0x00, 0x00],
        ];
        let mut missing = self.bytes.len().next_multiple_of(32) - self.bytes.len();
        while missing > 0 {
            let now = missing.min(8);
            self.bytes.extend(NOPS[now - 1]);
            missing -= now;
        }
        Label(self.bytes.len())
    }

    /// Jumps ahead if the last comparison found its first operand not below the second, as unsigned
    /// numbers.
    pub(super) fn jump_if_done(&mut self) -> Jump {
        self.bytes.extend([0x0F, 0x83, 0, 0, 0, 0]);
        Jump(self.bytes.len())
    }

    /// The goal of a jump is here.
    pub(super) fn land(&mut self, jump: Jump) {
        let distance = (self.bytes.len() - jump.0) as i32;
        self.bytes[jump.0 - 4..jump.0].copy_from_slice(&distance.to_le_bytes());
    }

    /// Jumps back if the last comparison found its first operand below the second, as unsigned numbers.
    pub(super) fn jump_if_below(&mut self, to: Label) {
        self.bytes.extend([0x0F, 0x82]);
        let distance = to.0 as i64 - (self.bytes.len() as i64 + 4);
        self.bytes.extend((distance as i32).to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use iced_x86::{Decoder, DecoderOptions, Formatter, IntelFormatter};

    fn shown(build: impl FnOnce(&mut Asm)) -> String {
        let mut asm = Asm::default();
        build(&mut asm);
        let bytes = asm.finish();
        let instruction = Decoder::with_ip(64, &bytes, 0, DecoderOptions::NONE).decode();
        let mut text = String::new();
        IntelFormatter::new().format(&instruction, &mut text);
        text
    }

    const ADD: Evex = Evex {
        code: code(MAP_0F, P66, 1, 0xD4),
        length: 2,
        reg: 1,
        vvvv: 2,
        rm: Rm::Reg(3),
        mask: 0,
        zeroing: false,
        broadcast: false,
        memory: 64,
        imm: None,
    };

    #[test]
    fn vector_registers_and_masks() {
        assert_eq!(shown(|a| a.evex(ADD)), "vpaddq zmm1,zmm2,zmm3");
        let high = Evex { reg: 9, vvvv: 18, rm: Rm::Reg(31), mask: 3, ..ADD };
        assert_eq!(shown(|a| a.evex(high)), "vpaddq zmm9{k3},zmm18,zmm31");
        let high = Evex { reg: 25, vvvv: 13, rm: Rm::Reg(14), mask: 7, zeroing: true, length: 1, ..ADD };
        assert_eq!(shown(|a| a.evex(high)), "vpaddq ymm25{k7}{z},ymm13,ymm14");
        let other = Evex { reg: 16, vvvv: 7, rm: Rm::Reg(23), ..ADD };
        assert_eq!(shown(|a| a.evex(other)), "vpaddq zmm16,zmm7,zmm23");
    }

    #[test]
    fn memory_operands() {
        let load =
            |mem, broadcast, memory| shown(|a| a.evex(Evex { rm: Rm::Mem(mem), broadcast, memory, ..ADD }));
        assert_eq!(load(at(RDI, 0), false, 64), "vpaddq zmm1,zmm2,[rdi]");
        assert_eq!(load(at(RSP, 128), false, 64), "vpaddq zmm1,zmm2,[rsp+80h]");
        assert_eq!(load(at(12, 1), false, 64), "vpaddq zmm1,zmm2,[r12+1]");
        assert_eq!(load(at(13, 0), false, 64), "vpaddq zmm1,zmm2,[r13]");
        assert_eq!(load(at(RBP, -64), false, 64), "vpaddq zmm1,zmm2,[rbp-40h]");
        assert_eq!(load(indexed(8, RSI, 8, 0), false, 64), "vpaddq zmm1,zmm2,[r8+rsi*8]");
        assert_eq!(load(indexed(13, 9, 4, 0), false, 64), "vpaddq zmm1,zmm2,[r13+r9*4]");
        assert_eq!(load(indexed(RAX, RSI, 1, 640), false, 64), "vpaddq zmm1,zmm2,[rax+rsi+280h]");
        assert_eq!(load(at(RBX, 24), true, 8), "vpaddq zmm1,zmm2,[rbx+18h]{1to8}");
        let pool = shown(|a| {
            let seven = a.constant(&7u64.to_le_bytes());
            a.evex(Evex { rm: Rm::Mem(seven), broadcast: true, memory: 8, imm: None, ..ADD });
        });
        assert_eq!(pool, "vpaddq zmm1,zmm2,[40h]{1to8}");
    }

    #[test]
    fn mask_instructions() {
        let and = code(MAP_0F, P66, 0, 0x41);
        assert_eq!(shown(|a| a.vex(and, 1, 3, 1, Rm::Reg(7))), "kandb k3,k1,k7");
        let load = code(MAP_0F, P66, 0, 0x90);
        assert_eq!(shown(|a| a.vex(load, 0, 2, 0, Rm::Mem(indexed(14, RCX, 1, 0)))), "kmovb k2,[r14+rcx]");
        let store = code(MAP_0F, P66, 0, 0x91);
        assert_eq!(shown(|a| a.vex(store, 0, 5, 0, Rm::Mem(indexed(15, 10, 1, 4)))), "kmovb [r15+r10+4],k5");
        let get = code(MAP_0F, P66, 0, 0x93);
        assert_eq!(shown(|a| a.vex(get, 0, RAX, 0, Rm::Reg(4))), "kmovb eax,k4");
    }

    #[test]
    fn scalar_instructions() {
        assert_eq!(shown(|a| a.mov(15, Rm::Mem(at(RDI, 72)))), "mov r15,[rdi+48h]");
        assert_eq!(shown(|a| a.mov(RBP, Rm::Reg(RSP))), "mov rbp,rsp");
        assert_eq!(shown(|a| a.add(RAX, Rm::Reg(9))), "add rax,r9");
        assert_eq!(shown(|a| a.sub(RAX, Rm::Reg(RSI))), "sub rax,rsi");
        assert_eq!(shown(|a| a.cmp(RSI, Rm::Reg(RDX))), "cmp rsi,rdx");
        assert_eq!(shown(|a| a.add_imm(RSI, 8)), "add rsi,8");
        assert_eq!(shown(|a| a.sub_imm(RSP, 4096)), "sub rsp,1000h");
        assert_eq!(shown(|a| a.and_imm(RSP, -64)), "and rsp,0FFFFFFFFFFFFFFC0h");
        assert_eq!(shown(|a| a.clear(RCX)), "xor rcx,rcx");
        assert_eq!(shown(|a| a.push(12)), "push r12");
        assert_eq!(shown(|a| a.pop(RBX)), "pop rbx");
        assert_eq!(shown(|a| a.prefetch(indexed(12, RSI, 8, 4096))), "prefetcht0 [r12+rsi*8+1000h]");
        assert_eq!(shown(Asm::vzeroupper), "vzeroupper");
    }
}
