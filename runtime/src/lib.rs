//! fuseline's runtime: fused stages as operators of DataFusion plans.
//!
//! [`fuse`] adds optimizer rules and the settings `fuseline.*` to a session. The physical one
//! ([`rule`]) replaces runs of operators by [`FusedExec`], which streams batches through compiled
//! loops morsel by morsel ([`emit`], [`aggregate`]). Everything else runs on DataFusion's operators. The
//! logical one ([`udf::hoist`]) puts user-defined functions where they can be fused.

pub mod aggregate;
mod barrier;
pub mod bounds;
mod calls;
pub mod cancel;
pub mod code_cache;
pub mod config;
mod cores;
pub mod emit;
pub mod errors;
pub mod explain;
pub mod fused_exec;
pub mod group;
mod inlined;
mod join;
mod join_order;
mod kept;
pub mod memory;
pub mod metrics;
pub mod not_fused;
mod own_thread;
pub mod program;
#[cfg(feature = "python")]
pub mod python;
pub mod rule;
mod scan;
mod series;
pub mod source;
mod split;
pub mod udf;
pub mod workers;

pub use config::{Backend, FuselineOptions, FusionMode, ScanFilters, Vectors};
pub use explain::{as_fused, explain_codegen, fused_stages};
pub use fused_exec::FusedExec;
pub use not_fused::NotFusedExec;
pub use rule::FuseRule;

use barrier::BehindBarriers;
use datafusion::execution::SessionStateBuilder;
use datafusion::optimizer::OptimizerRule;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::prelude::SessionConfig;
use join_order::JoinOrderRule;
use series::SeriesRule;
use std::sync::Arc;
use udf::hoist::HoistRule;
use udf::pruning::PruningRule;

/// Adds fusion to a session: the optimizer rules, after all others, and the settings `fuseline.*`
/// (those already set stay). Doing it twice is doing it once.
pub fn fuse(mut builder: SessionStateBuilder) -> SessionStateBuilder {
    cancel::install();
    let config = builder.config().get_or_insert_with(SessionConfig::new);
    let options = config.options_mut();
    if options.extensions.get::<FuselineOptions>().is_none() {
        options.extensions.insert(FuselineOptions::default());
    }
    let logical = |rules: &[Arc<dyn OptimizerRule + Send + Sync>]| {
        rules.iter().any(|rule| rule.name() == HoistRule::NAME)
    };
    let present = builder.optimizer().as_ref().is_some_and(|o| logical(&o.rules))
        || builder.optimizer_rules().as_ref().is_some_and(|rules| logical(rules));
    if !present {
        let (before, after) = (Arc::new(HoistRule), Arc::new(HoistRule));
        builder = builder.with_analyzer_rule(before).with_optimizer_rule(after);
    }
    let physical = |rules: &[Arc<dyn PhysicalOptimizerRule + Send + Sync>]| {
        rules.iter().any(|rule| rule.name() == FuseRule::NAME)
    };
    let present = builder.physical_optimizers().as_ref().is_some_and(|o| physical(&o.rules))
        || builder.physical_optimizer_rules().as_ref().is_some_and(|rules| physical(rules));
    if present {
        return builder;
    }
    let rules = builder.physical_optimizers().take().unwrap_or_default().rules;
    let mut rules: Vec<_> = rules.into_iter().map(BehindBarriers::around).collect();
    // Before DataFusion chooses the sides of joins.
    rules.insert(0, Arc::new(SeriesRule));
    // And ours where it has chosen them, or before everything else if it does not.
    let chosen = rules.iter().position(|r| r.name() == "join_selection").map_or(1, |at| at + 1);
    rules.insert(chosen, Arc::new(JoinOrderRule));
    builder
        .with_physical_optimizer_rules(rules)
        .with_physical_optimizer_rule(Arc::new(PruningRule))
        .with_physical_optimizer_rule(Arc::new(FuseRule))
}
