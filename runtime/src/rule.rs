//! The physical optimizer rule that puts fused stages into a plan.
//!
//! It runs after all of DataFusion's rules, from the root down: at each node it asks the planner for
//! the longest run of operators that starts there. What the planner does not take stays as it is,
//! with the reason beside it for EXPLAIN. Scans are never absorbed, so pruning stays as it was.

use crate::config::{FuselineOptions, FusionMode};
use crate::fused_exec::FusedExec;
use crate::not_fused::NotFusedExec;
use crate::program::Program;
use crate::source::MemoryTable;
use crate::udf::entries::{calls_udf, stage_calls_udf};
use crate::udf::lazy::{lazy_operator, lazy_plan};
use crate::udf::share::share_calls;
use datafusion::common::config::ConfigOptions;
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DataFusionError, Result};
use datafusion::physical_expr::expressions::{Column, DynamicFilterPhysicalExpr, Literal};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::aggregates::AggregateExec;
use datafusion::physical_plan::analyze::AnalyzeExec;
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::execution_plan::replace_children_if_necessary;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::limit::{GlobalLimitExec, LocalLimitExec};
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::union::UnionExec;
use datafusion::physical_plan::{
    ExecutionPlan, Partitioning, PhysicalExpr, StatisticsArgs, StatisticsContext,
};
use fuseline_planner::stage::{PlannedStage, Source};
use fuseline_planner::support::{Reason, Support};
use fuseline_planner::{PlanOptions, plan_stage};
use std::sync::Arc;

/// Fuses what can be fused, as `fuseline.fusion` says.
#[derive(Debug, Default)]
pub struct FuseRule;

impl FuseRule {
    pub const NAME: &'static str = "fuseline";
}

impl PhysicalOptimizerRule for FuseRule {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        config: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let options = FuselineOptions::of(config);
        match options.fusion {
            FusionMode::Off => lazy_plan(plan),
            FusionMode::On | FusionMode::Force => Rewrite::new(options).node(plan, true),
            FusionMode::Require => {
                let plan = Rewrite::new(options).node(plan, true)?;
                require_fused(&plan)?;
                Ok(plan)
            }
        }
    }

    fn name(&self) -> &str {
        FuseRule::NAME
    }

    fn schema_check(&self) -> bool {
        true
    }
}

struct Rewrite {
    options: FuselineOptions,
    /// The number of the last stage.
    stages: usize,
}

impl Rewrite {
    fn new(options: FuselineOptions) -> Rewrite {
        Rewrite { options, stages: 0 }
    }

    /// Rewrites a plan whose rows reach the user as they are iff `is_final`.
    fn node(&mut self, plan: Arc<dyn ExecutionPlan>, is_final: bool) -> Result<Arc<dyn ExecutionPlan>> {
        let options = PlanOptions {
            mode: self.options.fusion,
            exact_libm: self.options.exact_libm,
            output_is_final: is_final,
            is_boundary: Some(calls_udf),
        };
        let reason = match plan_stage(&plan, &options) {
            Some(Support::Supported(planned)) => match self.fuse(&plan, planned)? {
                Ok(fused) => return Ok(fused),
                Err(reason) => reason,
            },
            Some(Support::Unsupported(reason)) => Some(reason),
            None => None,
        };
        let plan = share_calls(plan)?;
        let is_final = is_final && hands_on(plan.as_ref());
        let children: Vec<Arc<dyn ExecutionPlan>> =
            plan.children().into_iter().cloned().map(|c| self.node(c, is_final)).collect::<Result<_>>()?;
        let plan = lazy_operator(replace_children_if_necessary(plan, children)?)?;
        Ok(match reason {
            Some(reason) if is_worth_a_note(plan.as_ref()) => Arc::new(NotFusedExec::new(plan, reason)),
            Some(_) | None => plan,
        })
    }

    /// The stage as an operator, or why not (without words where nothing would be gained).
    fn fuse(
        &mut self,
        plan: &Arc<dyn ExecutionPlan>,
        planned: PlannedStage,
    ) -> Result<std::result::Result<Arc<dyn ExecutionPlan>, Option<Reason>>> {
        if !planned.computes {
            return Ok(Err(None));
        }
        if self.options.fusion == FusionMode::On
            && let Some(rows) = exact_rows(&planned)
            && rows < self.options.min_rows
            // A stage enters a function once per batch and says so in EXPLAIN: that always pays.
            && !stage_calls_udf(&planned.stage)
        {
            let why =
                format!("its input has only {rows} rows (fuseline.min_rows = {})", self.options.min_rows);
            return Ok(Err(Some(Reason::new(plan.name(), why))));
        }
        let program = match Program::compile(Arc::new(planned.stage.clone()), &self.options) {
            Ok(program) => Arc::new(program),
            Err(why) => return Ok(Err(Some(Reason::new(plan.name(), why)))),
        };
        self.stages += 1;
        let id = self.stages;
        let child = planned.child.clone().map(|c| self.node(c, false)).transpose()?;
        Ok(Ok(Arc::new(FusedExec::try_new(id, program, plan, &planned, child)?)))
    }
}

/// Whether an operator hands rows on without looking at them.
fn hands_on(plan: &dyn ExecutionPlan) -> bool {
    if let Some(projection) = plan.downcast_ref::<ProjectionExec>() {
        return projection.expr().iter().all(|e| e.expr.is::<Column>());
    }
    if let Some(repartition) = plan.downcast_ref::<RepartitionExec>() {
        return matches!(repartition.partitioning(), Partitioning::RoundRobinBatch(_));
    }
    plan.is::<GlobalLimitExec>()
        || plan.is::<LocalLimitExec>()
        || plan.is::<CoalescePartitionsExec>()
        || plan.is::<CooperativeExec>()
        || plan.is::<UnionExec>()
        || plan.is::<AnalyzeExec>()
}

/// The number of rows that enter a stage, where it is known for sure.
fn exact_rows(planned: &PlannedStage) -> Option<usize> {
    if let Source::Range { rows, .. } = &planned.stage.source {
        return usize::try_from(*rows).ok();
    }
    let child = planned.child.as_ref()?;
    // Statistics of a table in memory would be computed from all its arrays.
    if let Some(table) = MemoryTable::of(child) {
        return Some(table.rows());
    }
    match StatisticsContext::new().compute(child.as_ref(), &StatisticsArgs::new()).ok()?.num_rows {
        Precision::Exact(rows) => Some(rows),
        Precision::Inexact(_) | Precision::Absent => None,
    }
}

/// Whether a reader of EXPLAIN would expect the operator to be fused.
fn is_worth_a_note(plan: &dyn ExecutionPlan) -> bool {
    plan.is::<FilterExec>()
        || plan.is::<ProjectionExec>()
        || plan.downcast_ref::<AggregateExec>().is_some_and(|a| a.group_expr().is_empty())
}

/// Errs if a filter, projection or scalar expression runs outside the fused stages of a plan.
fn require_fused(plan: &Arc<dyn ExecutionPlan>) -> Result<()> {
    plan.apply(|node| {
        // A scan's predicate only prunes; rows are filtered above it.
        if (node.as_ref() as &dyn std::any::Any).is::<FusedExec>() || node.children().is_empty() {
            return Ok(TreeNodeRecursion::Continue);
        }
        let outside = match node.downcast_ref::<FilterExec>() {
            Some(filter) => Some(filter.predicate().to_string()),
            None => computed_expression(node.as_ref())?,
        };
        let Some(expression) = outside else {
            return Ok(TreeNodeRecursion::Continue);
        };
        let why = match NotFusedExec::of(node.as_ref()) {
            Some(noted) => noted.reason().to_string(),
            None => format!("{} is not an operator that is fused", node.name()),
        };
        Err(DataFusionError::Plan(format!(
            "fuseline.fusion = 'require', but {} evaluates {expression} outside a fused stage: {why}",
            node.name()
        )))
    })?;
    Ok(())
}

/// An expression of the node that is more than a column or a constant.
fn computed_expression(node: &dyn ExecutionPlan) -> Result<Option<String>> {
    let mut found = None;
    node.apply_expressions(&mut |e: &Arc<dyn PhysicalExpr>| {
        let plain = e.is::<Column>() || e.is::<Literal>() || e.is::<DynamicFilterPhysicalExpr>();
        if plain {
            return Ok(TreeNodeRecursion::Continue);
        }
        found = Some(e.to_string());
        Ok(TreeNodeRecursion::Stop)
    })?;
    Ok(found)
}
