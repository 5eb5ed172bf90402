//! fuseline's runtime: fused stages as operators of DataFusion plans.
//!
//! [`fuse`] adds one physical optimizer rule and the settings `fuseline.*` to a session. The rule
//! ([`rule`]) replaces runs of operators by [`FusedExec`], which streams batches through compiled
//! loops morsel by morsel ([`emit`], [`aggregate`]). Everything else runs on DataFusion's operators.

pub mod aggregate;
pub mod bounds;
mod calls;
pub mod cancel;
pub mod code_cache;
pub mod config;
pub mod emit;
pub mod errors;
pub mod explain;
pub mod fused_exec;
pub mod memory;
pub mod metrics;
pub mod not_fused;
pub mod program;
#[cfg(feature = "python")]
pub mod python;
pub mod rule;
pub mod source;
mod split;
pub mod udf;
pub mod workers;

pub use config::{Backend, FuselineOptions, FusionMode, Vectors};
pub use explain::{as_fused, explain_codegen, fused_stages};
pub use fused_exec::FusedExec;
pub use not_fused::NotFusedExec;
pub use rule::FuseRule;

use datafusion::execution::SessionStateBuilder;
use datafusion::prelude::SessionConfig;
use std::sync::Arc;

/// Adds fusion to a session: the optimizer rule, after all others, and the settings `fuseline.*`
/// (those already set stay). Doing it twice is doing it once.
pub fn fuse(mut builder: SessionStateBuilder) -> SessionStateBuilder {
    cancel::install();
    let config = builder.config().get_or_insert_with(SessionConfig::new);
    let options = config.options_mut();
    if options.extensions.get::<FuselineOptions>().is_none() {
        options.extensions.insert(FuselineOptions::default());
    }
    let present = |rules: &[Arc<
        dyn datafusion::physical_optimizer::PhysicalOptimizerRule + Send + Sync,
    >]| { rules.iter().any(|r| r.name() == FuseRule::NAME) };
    let present = builder.physical_optimizers().as_ref().is_some_and(|o| present(&o.rules))
        || builder.physical_optimizer_rules().as_ref().is_some_and(|r| present(r));
    if present { builder } else { builder.with_physical_optimizer_rule(Arc::new(FuseRule)) }
}
