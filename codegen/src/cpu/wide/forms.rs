//! Which AVX-512 instruction an operation is, by the width of its lanes.

use super::asm::{Code, MAP_0F, MAP_0F3A, MAP_0F38, NP, P66, PF2, PF3, code};
use super::code::{BinOp, Convert, ShiftOp, Test, UnOp};

/// Bytes of a vector as the instructions number lengths.
pub(super) fn length(bytes: usize) -> u8 {
    match bytes {
        64 => 2,
        32 => 1,
        _sixteen_or_eight => 0,
    }
}

/// One of four codes by the width of the lanes.
fn by_width(width: u8, codes: [Code; 4]) -> Code {
    codes[usize::from(width.trailing_zeros() as u8).min(3)]
}

/// Integers of all widths under one prefix and map: opcodes by width, with W set for 64 bits.
fn ints(width: u8, map: u8, opcodes: [u8; 4]) -> Code {
    let wide = u8::from(width == 8);
    code(map, P66, wide, opcodes[usize::from(width.trailing_zeros() as u8).min(3)])
}

/// Shifts by lanes: of 16 bits, and of more.
fn by_lane(width: u8, opcodes: [u8; 2]) -> Code {
    match width {
        8 => code(MAP_0F38, P66, 1, opcodes[1]),
        4 => code(MAP_0F38, P66, 0, opcodes[1]),
        _two => code(MAP_0F38, P66, 1, opcodes[0]),
    }
}

fn float(width: u8, opcode: u8) -> Code {
    if width == 8 { code(MAP_0F, P66, 1, opcode) } else { code(MAP_0F, NP, 0, opcode) }
}

pub(super) fn bin(op: BinOp, width: u8) -> Code {
    // Bits have no lanes; the wider form repeats eight bytes of memory, as constants are.
    let logic = |opcode| code(MAP_0F, P66, 1, opcode);
    match op {
        BinOp::Add => ints(width, MAP_0F, [0xFC, 0xFD, 0xFE, 0xD4]),
        BinOp::Sub => ints(width, MAP_0F, [0xF8, 0xF9, 0xFA, 0xFB]),
        // There is none of bytes.
        BinOp::Mul => match width {
            8 => code(MAP_0F38, P66, 1, 0x40),
            4 => code(MAP_0F38, P66, 0, 0x40),
            _two => code(MAP_0F, P66, 0, 0xD5),
        },
        BinOp::And => logic(0xDB),
        BinOp::Or => logic(0xEB),
        BinOp::Xor => logic(0xEF),
        BinOp::Min => match width {
            2 => code(MAP_0F, P66, 0, 0xEA),
            _other => ints(width, MAP_0F38, [0x38, 0x38, 0x39, 0x39]),
        },
        BinOp::Max => match width {
            2 => code(MAP_0F, P66, 0, 0xEE),
            _other => ints(width, MAP_0F38, [0x3C, 0x3C, 0x3D, 0x3D]),
        },
        BinOp::MinUnsigned => match width {
            1 => code(MAP_0F, P66, 0, 0xDA),
            _other => ints(width, MAP_0F38, [0x3A, 0x3A, 0x3B, 0x3B]),
        },
        BinOp::ShiftLeft => by_lane(width, [0x12, 0x47]),
        BinOp::ShiftRight => by_lane(width, [0x10, 0x45]),
        BinOp::ShiftArithmetic => by_lane(width, [0x11, 0x46]),
        // There is none of bytes here.
        BinOp::Permute => match width {
            8 => code(MAP_0F38, P66, 1, 0x36),
            4 => code(MAP_0F38, P66, 0, 0x36),
            _two => code(MAP_0F38, P66, 1, 0x8D),
        },
        BinOp::FAdd => float(width, 0x58),
        BinOp::FSub => float(width, 0x5C),
        BinOp::FMul => float(width, 0x59),
        BinOp::FDiv => float(width, 0x5E),
    }
}

/// Lanes of what the last operand repeats, where it does.
pub(super) fn repeats(op: BinOp, width: u8) -> usize {
    match op {
        BinOp::And | BinOp::Or | BinOp::Xor => 8,
        BinOp::Add
        | BinOp::Sub
        | BinOp::Mul
        | BinOp::Min
        | BinOp::Max
        | BinOp::MinUnsigned
        | BinOp::ShiftLeft
        | BinOp::ShiftRight
        | BinOp::ShiftArithmetic
        | BinOp::Permute
        | BinOp::FAdd
        | BinOp::FSub
        | BinOp::FMul
        | BinOp::FDiv => usize::from(width),
    }
}

pub(super) fn unary(op: UnOp, width: u8) -> (Code, Option<u8>) {
    match op {
        UnOp::Abs => (ints(width, MAP_0F38, [0x1C, 0x1D, 0x1E, 0x1F]), None),
        UnOp::Sqrt => (float(width, 0x51), None),
        UnOp::Round(mode) if width == 8 => (code(MAP_0F3A, P66, 1, 0x09), Some(mode)),
        UnOp::Round(mode) => (code(MAP_0F3A, P66, 0, 0x08), Some(mode)),
    }
}

/// The code, and which instruction of the opcode's group it is. Not of bytes.
pub(super) fn shift(op: ShiftOp, width: u8) -> (Code, u8) {
    let group = match op {
        ShiftOp::Left => 6,
        ShiftOp::Right => 2,
        ShiftOp::Arithmetic => 4,
    };
    let code = match (width, op) {
        (8, ShiftOp::Arithmetic) => code(MAP_0F, P66, 1, 0x72),
        (8, ShiftOp::Left | ShiftOp::Right) => code(MAP_0F, P66, 1, 0x73),
        (4, _) => code(MAP_0F, P66, 0, 0x72),
        (_two, _) => code(MAP_0F, P66, 0, 0x71),
    };
    (code, group)
}

pub(super) fn blend(width: u8) -> Code {
    by_width(
        width,
        [
            code(MAP_0F38, P66, 0, 0x66),
            code(MAP_0F38, P66, 1, 0x66),
            code(MAP_0F38, P66, 0, 0x64),
            code(MAP_0F38, P66, 1, 0x64),
        ],
    )
}

/// Moves between memory and registers, by lanes so that a mask fits; the store is one opcode away.
pub(super) fn load(width: u8) -> Code {
    by_width(
        width,
        [
            code(MAP_0F, PF2, 0, 0x6F),
            code(MAP_0F, PF2, 1, 0x6F),
            code(MAP_0F, PF3, 0, 0x6F),
            code(MAP_0F, PF3, 1, 0x6F),
        ],
    )
}

pub(super) const STORE_OPCODE: u8 = 0x7F;
/// Eight bytes to and from the low half of a 128-bit register.
pub(super) const LOAD_HALF: Code = code(MAP_0F, PF3, 1, 0x7E);
pub(super) const STORE_HALF: Code = code(MAP_0F, P66, 1, 0xD6);

/// Repeats eight bytes of memory, or a general register.
pub(super) const BROADCAST: Code = code(MAP_0F38, P66, 1, 0x59);
pub(super) const BROADCAST_REGISTER: Code = code(MAP_0F38, P66, 1, 0x7C);

/// From lanes of `from` bytes to wider ones.
pub(super) fn widen(from: u8, to: u8, signed: bool) -> Code {
    let opcode = match (from, to) {
        (1, 2) => 0x20,
        (1, 4) => 0x21,
        (1, _) => 0x22,
        (2, 4) => 0x23,
        (2, _) => 0x24,
        (_four, _) => 0x25,
    };
    code(MAP_0F38, P66, 0, if signed { opcode } else { opcode + 0x10 })
}

/// From lanes of `from` bytes to narrower ones.
pub(super) fn narrow(from: u8, to: u8) -> Code {
    let opcode = match (from, to) {
        (2, _) => 0x30,
        (4, 1) => 0x31,
        (8, 1) => 0x32,
        (4, _) => 0x33,
        (8, 2) => 0x34,
        (_eight, _) => 0x35,
    };
    code(MAP_0F38, PF3, 0, opcode)
}

pub(super) fn convert(how: Convert) -> Code {
    match how {
        Convert::I32ToF64 => code(MAP_0F, PF3, 0, 0xE6),
        Convert::U32ToF64 => code(MAP_0F, PF3, 0, 0x7A),
        Convert::I64ToF64 => code(MAP_0F, PF3, 1, 0xE6),
        Convert::U64ToF64 => code(MAP_0F, PF3, 1, 0x7A),
        Convert::I32ToF32 => code(MAP_0F, NP, 0, 0x5B),
        Convert::U32ToF32 => code(MAP_0F, PF2, 0, 0x7A),
        Convert::I64ToF32 => code(MAP_0F, NP, 1, 0x5B),
        Convert::U64ToF32 => code(MAP_0F, PF2, 1, 0x7A),
        Convert::F64ToI64 => code(MAP_0F, P66, 1, 0x7A),
        Convert::F64ToU64 => code(MAP_0F, P66, 1, 0x78),
        Convert::F64ToI32 => code(MAP_0F, P66, 1, 0xE6),
        Convert::F64ToU32 => code(MAP_0F, NP, 1, 0x78),
        Convert::F32ToI64 => code(MAP_0F, P66, 0, 0x7A),
        Convert::F32ToU64 => code(MAP_0F, P66, 0, 0x78),
        Convert::F32ToI32 => code(MAP_0F, PF3, 0, 0x5B),
        Convert::F32ToU32 => code(MAP_0F, NP, 0, 0x78),
        Convert::F32ToF64 => code(MAP_0F, NP, 0, 0x5A),
        Convert::F64ToF32 => code(MAP_0F, P66, 1, 0x5A),
    }
}

/// The code, and the relation.
pub(super) fn test(test: Test, width: u8) -> (Code, Option<u8>) {
    // 64-bit and 16-bit lanes set W.
    let w = u8::from(width == 8 || width == 2);
    let narrow = width <= 2;
    match test {
        Test::Int { pred, signed } => {
            let base = if narrow { 0x3E } else { 0x1E };
            (code(MAP_0F3A, P66, w, base + u8::from(signed)), Some(pred as u8))
        }
        Test::Bits => (code(MAP_0F38, P66, w, if narrow { 0x26 } else { 0x27 }), None),
        Test::NoBits => (code(MAP_0F38, PF3, w, if narrow { 0x26 } else { 0x27 }), None),
        Test::FloatEq => (float(width, 0xC2), Some(0)),
        Test::Unordered => (float(width, 0xC2), Some(3)),
        Test::FloatNe => (float(width, 0xC2), Some(4)),
        Test::Ordered => (float(width, 0xC2), Some(7)),
    }
}

/// The upper half of a vector of so many bytes.
pub(super) fn upper_half(bytes: usize) -> Code {
    if bytes == 64 { code(MAP_0F3A, P66, 1, 0x3B) } else { code(MAP_0F3A, P66, 0, 0x39) }
}

// Masks, of 8 bits; all but the complement and moves have length 1.
pub(super) const MASK_AND: Code = code(MAP_0F, P66, 0, 0x41);
pub(super) const MASK_ANDN: Code = code(MAP_0F, P66, 0, 0x42);
pub(super) const MASK_OR: Code = code(MAP_0F, P66, 0, 0x45);
pub(super) const MASK_XNOR: Code = code(MAP_0F, P66, 0, 0x46);
pub(super) const MASK_XOR: Code = code(MAP_0F, P66, 0, 0x47);
pub(super) const MASK_NOT: Code = code(MAP_0F, P66, 0, 0x44);
pub(super) const MASK_LOAD: Code = code(MAP_0F, P66, 0, 0x90);
pub(super) const MASK_STORE: Code = code(MAP_0F, P66, 0, 0x91);
/// To the low half of a general register, the rest of which becomes zero.
pub(super) const MASK_TO_REGISTER: Code = code(MAP_0F, P66, 0, 0x93);
