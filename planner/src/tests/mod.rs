//! Plans SQL through a DataFusion session, runs the stages on the interpreter, and compares with
//! what DataFusion itself computes. One binary: each test binary links all of DataFusion.

mod aggregates;
mod calls;
mod data;
mod expressions;
mod filters;
mod golden;
mod run;
mod shapes;

use crate::{FusionMode, PlanOptions, PlannedStage, Support, plan_stage};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::{SessionConfig, SessionContext};
use std::sync::Arc;

type Plan = Arc<dyn ExecutionPlan>;

/// A session with the table `t` (see [`data`]) in `partitions` partitions.
fn session(partitions: usize) -> SessionContext {
    let config = SessionConfig::new().with_target_partitions(partitions);
    let context = SessionContext::new_with_config(config);
    data::register(&context);
    context
}

fn options() -> PlanOptions {
    PlanOptions { mode: FusionMode::Force, ..PlanOptions::default() }
}

/// A runtime for one test.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    runtime.expect("a runtime").block_on(future)
}

async fn try_physical(context: &SessionContext, sql: &str) -> Result<Plan, String> {
    let frame = context.sql(sql).await.map_err(|e| e.to_string())?;
    frame.create_physical_plan().await.map_err(|e| e.to_string())
}

async fn physical(context: &SessionContext, sql: &str) -> Plan {
    try_physical(context, sql).await.unwrap_or_else(|e| panic!("{sql}: {e}"))
}

/// The topmost stage of the plan.
fn first_stage(plan: &Plan, options: &PlanOptions) -> Option<PlannedStage> {
    match plan_stage(plan, options) {
        Some(Support::Supported(stage)) => Some(stage),
        Some(Support::Unsupported(_)) | None => {
            plan.children().into_iter().find_map(|c| first_stage(c, options))
        }
    }
}

fn show(plan: &Plan) -> String {
    datafusion::physical_plan::displayable(plan.as_ref()).indent(false).to_string()
}
