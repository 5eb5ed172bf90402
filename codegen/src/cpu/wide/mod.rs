//! Lane loops in AVX-512, which Cranelift cannot write: it has no vectors beyond 128 bits, and loops over
//! data in the cache are bound by the number of instructions.
//!
//! Cranelift's frame stays as it is: chunk loop, filters, calls, scalar loops. A lane phase of which all is
//! known here ([`compile`] says so, or gives an [`Unsupported`]) becomes a function of its own, which the
//! frame calls with a list of addresses. The way of a phase: [`lower`] (with `ops`, `compare`, `cast`)
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

/// Why a phase stays with 128-bit lanes: what there is no wide code for.
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
    if folded.order.len() <= UNROLLED {
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
