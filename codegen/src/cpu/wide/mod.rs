//! Lane loops in AVX-512, which Cranelift cannot write: it has no vectors beyond 128 bits, and loops over
//! data in the cache are bound by the number of instructions.
//!
//! Cranelift's frame stays as it is: chunk loop, filters, calls, scalar loops. A lane phase
//! becomes a function of its own, which the frame calls with a list of addresses. If one of a loop's has
//! something that is [`Unsupported`], the whole loop is compiled with 128-bit lanes; some instructions are
//! lanes here and scalar loops there, so the cut into phases differs ([`super::classify`]). The way of a phase: [`lower`] (with `ops`, `compare`, `cast`)
//! makes straight-line SSA over a group of 8 rows ([`code`]), [`fold`] joins what one instruction can do,
//! [`registers`] allocates, [`write`] encodes with [`asm`]. Results are the same bits as of 128-bit lanes:
//! eight running sums of floats are one register, nothing is fused, the first of two NaNs counts.
//!
//! Code is position-independent and lies in front of the frame's; the frame finds it by the start of the
//! code, which is part of the call's context.

mod asm;
mod cast;
mod code;
mod compare;
mod fold;
mod forms;
mod frame;
mod lower;
mod ops;
mod registers;
mod write;

pub(super) use frame::Wide;

use code::Place;
use write::{FIRST_ROW, ROWS, SCRATCH, WORDS};

use super::schedule::Phase;
use crate::ir::Loop;
use std::sync::LazyLock;

/// Why a loop stays with 128-bit lanes: what there is no wide code for.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Unsupported(String);

/// Where the running parts of an aggregate lie between loops, as offsets in working memory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Home {
    /// Eight float sums, or 16 bytes.
    pub value: usize,
    /// Two 64-bit counters, which aggregates that count the same rows share.
    pub count: usize,
    /// Whether an earlier phase or the frame counts these rows.
    pub is_counted: bool,
}

/// A phase to compile.
struct Request<'l> {
    lp: &'l Loop,
    phase: &'l Phase,
    /// Whether inputs lie in their columns and not in chunk buffers.
    reads_columns: bool,
    /// Whether all 8 rows of every group exist.
    whole_groups: bool,
    /// Whether a short loop may do two groups at a time.
    unrolled: bool,
    /// One per aggregate of the loop.
    homes: Vec<Home>,
}

/// A wide loop.
struct Function {
    code: Vec<u8>,
    /// Bytes of instructions, which constants follow.
    length: usize,
    /// What the addresses behind [`WORDS`] are of.
    places: Vec<Place>,
    relies_on_whole_groups: bool,
    /// Whether the result can be anything but 0.
    can_fail: bool,
}

/// Whether this machine and its calling convention have wide loops.
pub(super) fn is_available() -> bool {
    static AVAILABLE: LazyLock<bool> = LazyLock::new(detect);
    *AVAILABLE
}

#[cfg(all(target_arch = "x86_64", not(windows)))]
fn detect() -> bool {
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
}

#[cfg(not(all(target_arch = "x86_64", not(windows))))]
fn detect() -> bool {
    false
}

/// Loops of at most so many instructions a group do two groups at a time.
const UNROLLED: usize = 24;

/// Compiles a lane phase.
///
/// # Errors
/// [`Unsupported`] if anything in it has no wide form.
fn compile(request: &Request<'_>) -> Result<Function, Unsupported> {
    let mut lowered = lower::lower(request, false)?;
    let mut folded = fold::fold(&lowered.body);
    let mut allocation = registers::allocate(&folded);
    if request.unrolled && folded.order.len() <= UNROLLED {
        let twice = lower::lower(request, true)?;
        let folded_twice = fold::fold(&twice.body);
        let allocated = registers::allocate(&folded_twice);
        if allocated.vector_slots + allocated.mask_slots == 0 {
            (lowered, folded, allocation) = (twice, folded_twice, allocated);
        }
    }
    let places = lowered.body.places;
    let (code, length) = write::write(&folded, &allocation, places.len());
    Ok(Function {
        code,
        length,
        places,
        relies_on_whole_groups: lowered.relies_on_whole_groups,
        can_fail: lowered.failed.is_some(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::schedule::schedule;
    use crate::ir::verify;
    use iced_x86::{CpuidFeature, Decoder, DecoderOptions, FlowControl};

    /// Loops with everything that lanes do to values of this type.
    fn loops(ty: &str, data_type: &str, float: bool) -> Vec<String> {
        let mut lines = vec![
            "cmp.lt v0, v1",
            "cmp.eq v0, v1",
            "cmp.ge v0, v2",
            "distinct v0, v1",
            "add v0, v1",
            "sub v0, v1",
            "mul v0, v1",
            "coalesce v0, v1",
        ];
        if float {
            lines.extend(["div v0, v1", "neg v0", "abs v0", "cmp.lt v0, v0"]);
            lines.extend(["math.sqrt.fast v0", "math.floor.fast v0", "math.round.fast v0"]);
            lines.extend(["math.signum.fast v0", "try_cast.i8 v0", "try_cast.u32 v0"]);
            lines.extend(["try_cast.i64 v0", "cast.u64 v0", "cast.f32 v0"]);
        } else {
            lines.extend(["add.null v0, v1", "sub.err v0, v1", "div v0, v2", "rem v0, v2"]);
            lines.extend(["bit_and v0, v1", "bit_xor v0, v2", "try_cast.i8 v0", "try_cast.u32 v0"]);
            lines.extend([
                "try_cast.i64 v0",
                "try_cast.f64 v0",
                "try_cast.f32 v0",
                "shl v0, v1",
                "shr v0, v1",
                "in_set(4, 5, 6, 7) v0",
            ]);
        }
        let head = format!(
            "loop {{\n  input 0: {ty}? as {data_type}\n  input 1: {ty} as {data_type}\n  v0 = input 0\n  \
             v1 = input 1\n  v2: {ty} = const 4\n"
        );
        let mut out: Vec<String> = lines
            .iter()
            .map(|line| format!("{head}  v3 = {line}\n  v4 = is_valid v3\n  aggregate count(v3) filter v4: i64, min(v1): {ty}\n}}"))
            .collect();
        out.push(format!("{head}  aggregate min(v0): {ty}, max(v1): {ty}\n}}"));
        out
    }

    #[test]
    fn code_is_what_every_machine_with_the_features_runs() {
        let allowed = [
            CpuidFeature::INTEL8086,
            CpuidFeature::INTEL386,
            CpuidFeature::X64,
            CpuidFeature::MULTIBYTENOP,
            CpuidFeature::SSE,
            CpuidFeature::AVX,
            CpuidFeature::AVX512F,
            CpuidFeature::AVX512VL,
            CpuidFeature::AVX512BW,
            CpuidFeature::AVX512DQ,
        ];
        let mut seen = 0;
        let types = [
            ("i8", "Int8"),
            ("i16", "Int16"),
            ("i32", "Int32"),
            ("i64", "Int64"),
            ("u8", "UInt8"),
            ("u16", "UInt16"),
            ("u32", "UInt32"),
            ("u64", "UInt64"),
            ("f32", "Float32"),
            ("f64", "Float64"),
        ];
        for (ty, data_type) in types {
            for text in loops(ty, data_type, ty.starts_with('f')) {
                let lp: Loop = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
                verify(&lp).unwrap();
                let schedule = schedule(&lp, true).unwrap();
                for phase in &schedule.segments[0].phases {
                    let home = Home { value: 64, count: 128, is_counted: false };
                    let request = Request {
                        lp: &lp,
                        phase,
                        reads_columns: true,
                        whole_groups: false,
                        unrolled: true,
                        homes: vec![home; 2],
                    };
                    let function = compile(&request).unwrap_or_else(|e| panic!("{text}: {}", e.0));
                    let code = &function.code[..function.length];
                    let mut decoder = Decoder::new(64, code, DecoderOptions::NONE);
                    let mut last = None;
                    while decoder.can_decode() {
                        let inst = decoder.decode();
                        assert!(!inst.is_invalid(), "{text}");
                        for feature in inst.cpuid_features() {
                            assert!(allowed.contains(feature), "{inst:?} needs {feature:?}");
                        }
                        last = Some(inst.flow_control());
                        seen += 1;
                    }
                    assert_eq!(last, Some(FlowControl::Return), "{text}");
                }
            }
        }
        assert!(seen > 5000, "{seen}");
    }
}
