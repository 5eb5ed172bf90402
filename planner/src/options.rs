//! The settings that planning depends on.

use datafusion::physical_expr::ScalarFunctionExpr;
use datafusion::physical_plan::PhysicalExpr;
use fuseline_codegen::function::Function;
use std::sync::Arc;

/// `fuseline.fusion`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum FusionMode {
    /// Fuse where it pays.
    #[default]
    On,
    /// Leave every plan alone.
    Off,
    /// Fuse all that can be fused, whatever it gains.
    Force,
    /// As `Force`, and refuse a plan that filters, projects or computes outside a fused stage.
    Require,
}

/// Whether an expression enters user code.
pub type IsBoundary = fn(&Arc<dyn PhysicalExpr>) -> bool;

/// The body of a function that a call's expression is of, if it is known.
pub type BodyOf = fn(&ScalarFunctionExpr) -> Option<Arc<Function>>;

/// What `plan_stage` needs to know besides the plan.
#[derive(Clone, Copy, Debug, Default)]
pub struct PlanOptions {
    pub mode: FusionMode,
    /// Call libm for every transcendental function, also where a faster kernel within 1 ulp would do.
    pub exact_libm: bool,
    /// Nothing above the stage compares, groups, sorts, joins on or computes from its output: it
    /// reaches the user as it is (through limits, exchanges without keys, unions). Only then may
    /// floats in the output come from kernels within 1 ulp of libm.
    pub output_is_final: bool,
    /// Nobody above relies on which rows are in which partition, so that a join may take in the exchanges
    /// below it.
    pub partitions_are_free: bool,
    /// Whether a call's expression enters user code, for which a stage pays also where nothing else
    /// is computed.
    pub is_boundary: Option<IsBoundary>,
    /// Has functions whose bodies are known become part of the loops. Such a stage may fail with
    /// [`crate::ASK_PYTHON`]; then the morsel is one for the stage that was planned without this.
    pub body_of: Option<BodyOf>,
    /// What such bodies give counts as nullable, as calls do, so that a stage with an aggregate has the same states as the one
    /// with calls.
    pub bodies_are_nullable: bool,
}
