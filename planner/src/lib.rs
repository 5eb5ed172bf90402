//! From DataFusion's physical plans to fuseline's stages.
//!
//! [`plan_stage`] takes a plan node, absorbs the maximal run of operators from it downward, and
//! returns the [`Stage`] that does the same. Whatever cannot be fused is a value with a reason.

mod expr;
pub mod finals;
pub mod group_columns;
mod operators;
pub mod options;
mod precision;
pub mod python_udf;
mod segments;
pub mod stage;
pub mod support;
#[cfg(test)]
mod tests;

pub use expr::ASK_PYTHON;
pub use finals::{FinalColumn, Finish, SpreadResult};
pub use group_columns::GroupColumn;
pub use operators::{plan_stage, series_rows};
pub use options::{FusionMode, PlanOptions};
pub use stage::{Call, FusedOperator, GroupScope, Limit, PlannedStage, Segment, Source, Stage, StageSink};
pub use support::{Reason, Support};
