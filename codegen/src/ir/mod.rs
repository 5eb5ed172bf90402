//! The intermediate representation: what one fused loop computes, with nothing of any machine in it.
//!
//! Every value is a pair (value, valid). There is no control flow: SQL's laziness (CASE, AND, OR)
//! is predication, an operand `under` on each instruction that can fail. Behaviour on overflow,
//! division by zero and failed casts is spelled out in the operation, never implied.

pub mod agg;
pub mod build;
mod divisible;
pub mod interp;
mod mask;
pub mod op;
pub mod pipeline;
mod simplify;
pub mod text;
pub mod types;
mod variant;
pub mod verify;

pub use agg::{Agg, AggFunc, AggState, AggValue};
pub use build::LoopBuilder;
pub use fuseline_kernels::group::Spread;
pub use op::{
    Bound, CmpOp, DatePart, MOST_JOIN_KEYS, MathBin, MathFn, OnFail, Op, Overflow, Precision, StrTest,
    TimeUnit, TruncTo,
};
pub use pipeline::{Emit, GroupKey, Input, Inst, Loop, Sink, Step, ValueId};
pub use types::{Lit, Ty};
pub use variant::TableFacts;
pub use verify::{VerifyError, verify};

/// Rows a compiled loop works on at a time: small enough that a handful of staged columns stay in
/// the L1 cache. Part of the semantics: float sums are assigned to running sums by the row's
/// position in its chunk (see [`agg`]), and the interpreter cuts chunks in the same places.
pub const CHUNK: usize = 1024;

/// Rows one iteration of a lane loop handles, and the number of running sums of a float sum.
pub const GROUP: usize = 8;
