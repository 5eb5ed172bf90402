//! Asks the processor for memory that a lane loop will read soon.
//!
//! A loop of 128-bit lanes over data in memory is held up by its own width: the operations that wait for
//! a missing line fill the processor's scheduler after some 64 rows, so it looks no further ahead, and
//! its automatic prefetchers stop at every page. One prefetch per line and group, a page ahead, brings
//! counting over 64-bit integers from 1.35 to 0.95 ns a row; loops of 512-bit vectors take 1.1.
//!
//! Cranelift has no prefetch instruction. So one is emitted as a 16-bit load whose result nobody uses,
//! marked by its source location, and after compilation [`patch`] turns these loads into `prefetcht0`
//! of the same address. The two have the same encoding but for the opcode's last byte and the register
//! field:
//!
//! ```text
//! movzx r, m16   [REX] 0F B7 /r
//! prefetcht0 m   [REX] 0F 18 /1
//! ```
//!
//! The loads must not survive: they may lie beyond the end of a column. Code in which not all are found
//! is refused. On other processors none are emitted.

use super::CompileError;
use cranelift::codegen::ir::SourceLoc;
use cranelift::codegen::{Final, MachSrcLoc, ir};
use cranelift::prelude::*;
use iced_x86::{Decoder, DecoderOptions};

/// Bytes ahead: a page, so that the address translation is there too when it is needed.
pub(super) const AHEAD: i32 = 4096;

/// The source location of loads to be patched. Nothing else in generated code has one.
const MARK: u32 = 1;

/// Asks for the line `AHEAD` bytes behind `at`. Gives the number of loads emitted.
pub(super) fn emit_prefetch(b: &mut FunctionBuilder<'_>, at: Value) -> usize {
    emit_prefetch_at(b, at, AHEAD)
}

/// Asks for the line `offset` bytes behind `at`.
pub(super) fn emit_prefetch_at(b: &mut FunctionBuilder<'_>, at: Value, offset: i32) -> usize {
    if cfg!(not(target_arch = "x86_64")) {
        return 0;
    }
    b.set_srcloc(SourceLoc::new(MARK));
    // A load that may trap is kept although nobody uses its result.
    b.ins().uload16(types::I64, ir::MemFlagsData::new(), at, offset);
    b.set_srcloc(SourceLoc::default());
    1
}

/// Turns the marked loads of `code`, which must be `expected`, into prefetches.
///
/// # Errors
/// [`CompileError::Backend`] if there are more or fewer; then the code must not run.
pub(super) fn patch(
    code: &mut [u8],
    places: &[MachSrcLoc<Final>],
    expected: usize,
) -> Result<(), CompileError> {
    let mut found = 0;
    for place in places.iter().filter(|p| p.loc.bits() == MARK) {
        let mut rest = code.get_mut(place.start as usize..place.end as usize).unwrap_or_default();
        // Neighbours share a place, and registers may be moved between them.
        while !rest.is_empty() {
            let inst = Decoder::new(64, rest, DecoderOptions::NONE).decode();
            if inst.is_invalid() {
                break;
            }
            found += usize::from(to_prefetch(rest));
            rest = rest.get_mut(inst.len()..).unwrap_or_default();
        }
    }
    if found == expected {
        return Ok(());
    }
    Err(CompileError::Backend(format!("{found} of {expected} prefetches found")))
}

/// Rewrites the instruction that `bytes` begin with if it is `movzx r, m16`.
fn to_prefetch(bytes: &mut [u8]) -> bool {
    const REX: u8 = 0x40;
    const REX_R: u8 = 0x04;
    let prefixed = usize::from(bytes.first().is_some_and(|b| b & 0xF0 == REX));
    match bytes.get_mut(prefixed..) {
        // A register instead of an address would be no load.
        Some([0x0F, opcode @ 0xB7, modrm, ..]) if *modrm >> 6 != 3 => {
            *opcode = 0x18;
            *modrm = *modrm & 0b11_000_111 | 1 << 3;
        }
        Some(_) | None => return false,
    }
    if prefixed == 1 {
        bytes[0] &= !REX_R;
    }
    true
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;
    use crate::cpu::{CompileOptions, Vectors};
    use iced_x86::Mnemonic;

    #[test]
    fn loads_become_prefetches_of_the_same_address() {
        // movzx r15, word ptr [r12 + r9 * 8 + 4096] and movzx eax, word ptr [rdi + 4096].
        // Then with no displacement, with one byte, and relative to the instruction.
        let loads: [&[u8]; 5] = [
            &[0x4F, 0x0F, 0xB7, 0xBC, 0xCC, 0x00, 0x10, 0x00, 0x00],
            &[0x0F, 0xB7, 0x87, 0x00, 0x10, 0x00, 0x00],
            &[0x48, 0x0F, 0xB7, 0x04, 0x24],
            &[0x41, 0x0F, 0xB7, 0x55, 0x7F],
            &[0x0F, 0xB7, 0x05, 0x00, 0x10, 0x00, 0x00],
        ];
        for load in loads {
            let mut code = load.to_vec();
            let before = Decoder::new(64, load, DecoderOptions::NONE).decode();
            assert_eq!(before.mnemonic(), Mnemonic::Movzx);
            assert!(to_prefetch(&mut code));
            let after = Decoder::new(64, &code, DecoderOptions::NONE).decode();
            assert_eq!((after.mnemonic(), after.len()), (Mnemonic::Prefetcht0, load.len()));
            let address = |i: &iced_x86::Instruction| {
                (i.memory_base(), i.memory_index(), i.memory_index_scale(), i.memory_displacement64())
            };
            assert_eq!(address(&after), address(&before));
        }
    }

    #[test]
    fn no_load_is_left_in_a_loop_over_several_columns() {
        let text = "loop {
  input 0: f64 as Float64
  input 1: f64 as Float64
  input 2: i64 as Int64
  v0 = input 0
  v1 = input 1
  v2 = input 2
  v3 = add v0, v1
  v4 = add v2, v2
  aggregate sum(v3): f64, sum(v4): i64
}";
        let source: crate::ir::Loop = text.parse().unwrap();
        let options = CompileOptions { vectors: Vectors::Narrow, ..CompileOptions::default() };
        let listing = super::super::listing(&source, &options).unwrap();
        assert_eq!(listing.disasm.matches("prefetcht0").count(), 3, "{}", listing.disasm);
        assert!(!listing.disasm.contains("movzx"), "{}", listing.disasm);
    }

    #[test]
    fn what_is_no_load_is_refused() {
        // movzx eax, cx; mov rax, [rdi]; a lone prefix.
        for code in [&[0x0F, 0xB7, 0xC1][..], &[0x48, 0x8B, 0x07], &[0x48]] {
            assert!(!to_prefetch(&mut code.to_vec()));
        }
    }
}
