//! From DataFusion's physical plans to fuseline's stages.
//!
//! [`plan_stage`] takes a plan node, absorbs the maximal run of operators from it downward, and
//! returns the [`Stage`] that does the same. Whatever cannot be fused is a value with a reason.

mod expr;
pub mod finals;
mod operators;
pub mod options;
mod precision;
mod segments;
pub mod stage;
pub mod support;
#[cfg(test)]
mod tests;

pub use finals::{FinalColumn, Finish};
pub use operators::plan_stage;
pub use options::{FusionMode, PlanOptions};
pub use stage::{Call, FusedOperator, Limit, PlannedStage, Segment, Source, Stage, StageSink};
pub use support::{Reason, Support};
