//! The physical optimizer rule that puts fused stages into a plan.
//!
//! It runs after all of DataFusion's rules, from the root down: at each node it asks the planner for
//! the longest run of operators that starts there. What the planner does not take stays as it is,
//! with the reason beside it for EXPLAIN; only what it computes on each row may still become a stage below
//! it ([`crate::split`]). Scans are never absorbed, so pruning stays as it was; those of Parquet files may filter
//! rows while they read ([`crate::scan`]).

use crate::config::{FuselineOptions, FusionMode};
use crate::fused_exec::FusedExec;
use crate::inlined::Inlined;
use crate::not_fused::NotFusedExec;
use crate::program::Program;
use crate::scan;
use crate::source::MemoryTable;
use crate::split::Split;
use crate::udf::entries::{body_of, calls_udf, stage_calls_udf};
use crate::udf::lazy::{lazy_operator, lazy_plan};
use crate::udf::share::share_calls;
use datafusion::common::config::ConfigOptions;
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DataFusionError, Result};
use datafusion::physical_expr::expressions::{Column, DynamicFilterPhysicalExpr, Literal};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateInputMode};
use datafusion::physical_plan::analyze::AnalyzeExec;
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::execution_plan::replace_children_if_necessary;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::joins::HashJoinExec;
use datafusion::physical_plan::limit::{GlobalLimitExec, LocalLimitExec};
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;
use datafusion::physical_plan::union::{InterleaveExec, UnionExec};
use datafusion::physical_plan::{
    Distribution, ExecutionPlan, Partitioning, PhysicalExpr, StatisticsArgs, StatisticsContext,
};
use fuseline_planner::stage::{GroupScope, PlannedStage, Source, Stage, StageSink};
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
            FusionMode::On | FusionMode::Force => Rewrite::new(options).node(plan, Above::USER),
            FusionMode::Require => {
                let plan = Rewrite::new(options).node(plan, Above::USER)?;
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

/// What a plan's surroundings do with its rows.
#[derive(Clone, Copy)]
struct Above {
    /// They reach the user as they are.
    is_final: bool,
    /// Some operator relies on the order that the plan promises.
    reads_order: bool,
    /// Some operator relies on which rows are in which partition.
    reads_partitions: bool,
}

impl Above {
    const USER: Above = Above { is_final: true, reads_order: false, reads_partitions: false };

    /// For a child of an operator that stays.
    fn below(self, plan: &dyn ExecutionPlan, child: usize) -> Above {
        let exchanges = plan.is::<RepartitionExec>() || plan.is::<CoalescePartitionsExec>();
        let reads_partitions = match plan.input_distribution_requirements().into_per_child().get(child) {
            Some(Distribution::UnspecifiedDistribution) | None => self.reads_partitions && !exchanges,
            Some(Distribution::SinglePartition) => false,
            // By key, and what may come.
            Some(_) => true,
        };
        Above {
            is_final: self.is_final && hands_on(plan),
            reads_order: if keeps_order(plan) { self.reads_order } else { reads_order(plan) },
            // An interleave asks for nothing, but merges partitions of the same number.
            reads_partitions: reads_partitions || plan.is::<InterleaveExec>(),
        }
    }

    /// For the child of a stage. The stage promises the order that the operators promised, whatever its
    /// child still promises.
    fn below_stage(self, stage: &Stage) -> Above {
        let reads_partitions = match &stage.sink {
            StageSink::Emit(_) | StageSink::Group { scope: GroupScope::States, .. } => self.reads_partitions,
            StageSink::Group { scope: GroupScope::Partition, .. } => true,
            StageSink::Aggregate { .. } | StageSink::Group { scope: GroupScope::All, .. } => false,
        };
        let reads_partitions = reads_partitions || stage.joins.iter().any(|j| j.by_partition);
        Above { is_final: false, reads_order: false, reads_partitions }
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

    fn node(&mut self, plan: Arc<dyn ExecutionPlan>, above: Above) -> Result<Arc<dyn ExecutionPlan>> {
        if let Some(scan) = scan::adaptive(&plan, &self.options) {
            return Ok(scan);
        }
        let options = PlanOptions {
            mode: self.options.fusion,
            exact_libm: self.options.exact_libm,
            output_is_final: above.is_final,
            is_boundary: Some(calls_udf),
            partitions_are_free: !above.reads_partitions,
            body_of: None,
            bodies_are_nullable: false,
        };
        let reason = match plan_stage(&plan, &options) {
            Some(Support::Supported(planned)) => match self.fuse(&plan, planned, &options, above)? {
                Ok(fused) => return Ok(fused),
                Err(reason) => reason,
            },
            Some(Support::Unsupported(reason)) => Some(reason),
            None => None,
        };
        let reason = match self.split(&plan, above)? {
            Ok(split) => return Ok(split),
            Err(why) => why.or(reason),
        };
        let plan = share_calls(plan)?;
        let children: Vec<Arc<dyn ExecutionPlan>> = plan
            .children()
            .into_iter()
            .cloned()
            .enumerate()
            .map(|(i, c)| self.node(c, above.below(plan.as_ref(), i)))
            .collect::<Result<_>>()?;
        let plan = lazy_operator(replace_children_if_necessary(plan, children)?)?;
        Ok(match reason {
            Some(reason) if is_worth_a_note(plan.as_ref())? => Arc::new(NotFusedExec::new(plan, reason)),
            Some(_) | None => plan,
        })
    }

    /// The operator over a stage that computes its expressions, or why not (without words where there is
    /// nothing to gain, or none to split).
    fn split(
        &mut self,
        plan: &Arc<dyn ExecutionPlan>,
        above: Above,
    ) -> Result<std::result::Result<Arc<dyn ExecutionPlan>, Option<Reason>>> {
        let thorough = self.options.fusion != FusionMode::On;
        let Some(split) = Split::of(plan, above.reads_order, thorough)? else {
            if computed_expression(plan.as_ref())?.is_none() {
                return Ok(Err(None));
            }
            let why = if plan.is::<AggregateExec>() {
                "it aggregates rows in an order that is matched with its input's"
            } else if sorts(plan.as_ref()) && above.reads_order {
                "an operator above relies on the order by its expressions"
            } else {
                return Ok(Err(None));
            };
            return Ok(Err(Some(Reason::new(plan.name(), why))));
        };
        let options = PlanOptions {
            mode: self.options.fusion,
            exact_libm: self.options.exact_libm,
            output_is_final: false,
            is_boundary: Some(calls_udf),
            partitions_are_free: false,
            body_of: None,
            bodies_are_nullable: false,
        };
        let planned = match plan_stage(&split.projection, &options) {
            Some(Support::Supported(planned)) => planned,
            Some(Support::Unsupported(reason)) => return Ok(Err(Some(reason))),
            None => return Ok(Err(None)),
        };
        let before = self.stages;
        let computed = match self.fuse(&split.projection, planned, &options, above.below(plan.as_ref(), 0))? {
            Ok(computed) => computed,
            Err(reason) => return Ok(Err(reason)),
        };
        match split.put_back(computed)? {
            Some(operator) => Ok(Ok(operator)),
            None => {
                self.stages = before;
                Ok(Err(Some(Reason::new(plan.name(), "over computed columns it would be another operator"))))
            }
        }
    }

    /// The stage as an operator, or why not (without words where nothing would be gained).
    fn fuse(
        &mut self,
        plan: &Arc<dyn ExecutionPlan>,
        planned: PlannedStage,
        options: &PlanOptions,
        above: Above,
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
            Ok(program) => Arc::new(program.with_inlined(self.inlined(plan, &planned, options))),
            Err(why) => return Ok(Err(Some(Reason::new(plan.name(), why)))),
        };
        self.stages += 1;
        let id = self.stages;
        let below = above.below_stage(&planned.stage);
        let child = planned.child.clone().map(|c| self.node(c, below)).transpose()?;
        let mut builds = Vec::with_capacity(planned.builds.len());
        for (build, join) in planned.builds.iter().zip(&planned.stage.joins) {
            let above = Above { is_final: false, reads_order: false, reads_partitions: join.by_partition };
            builds.push(self.node(Arc::clone(build), above)?);
        }
        let children = (child, builds);
        Ok(Ok(Arc::new(FusedExec::try_new(id, program, plan, &planned, children, above.reads_partitions)?)))
    }
}

impl Rewrite {
    /// The stage with its functions as parts of the loops, if all of them have bodies that loops can hold.
    fn inlined(
        &self,
        plan: &Arc<dyn ExecutionPlan>,
        planned: &PlannedStage,
        options: &PlanOptions,
    ) -> Option<Inlined> {
        if !stage_calls_udf(&planned.stage) {
            return None;
        }
        let bodies_are_nullable = !matches!(planned.stage.sink, StageSink::Emit(_));
        let options = PlanOptions { body_of: Some(body_of), bodies_are_nullable, ..*options };
        let Some(Support::Supported(inlined)) = plan_stage(plan, &options) else { return None };
        // Nothing may be left of a morsel that is run again, nor of what a function did that is called.
        if stage_calls_udf(&inlined.stage) {
            return None;
        }
        Inlined::new(planned, inlined, |stage| Program::compile(Arc::new(stage), &self.options).ok())
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

/// Whether an operator's rows come in the order of its input's, and nothing but its parents cares.
fn keeps_order(plan: &dyn ExecutionPlan) -> bool {
    plan.is::<ProjectionExec>()
        || plan.is::<FilterExec>()
        || plan.is::<GlobalLimitExec>()
        || plan.is::<LocalLimitExec>()
        || plan.is::<CooperativeExec>()
        || plan.is::<AnalyzeExec>()
}

/// Whether an operator may rely on the order of its input. Those that certainly do not are listed.
fn reads_order(plan: &dyn ExecutionPlan) -> bool {
    let any_order = plan.is::<CoalescePartitionsExec>() || plan.is::<SortExec>();
    !any_order
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
fn is_worth_a_note(plan: &dyn ExecutionPlan) -> Result<bool> {
    if plan.is::<FilterExec>()
        || plan.is::<ProjectionExec>()
        || plan.is::<AggregateExec>()
        || plan.is::<HashJoinExec>()
    {
        return Ok(true);
    }
    Ok(sorts(plan) && computed_expression(plan)?.is_some())
}

fn sorts(plan: &dyn ExecutionPlan) -> bool {
    plan.is::<SortExec>() || plan.is::<SortPreservingMergeExec>()
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

/// An expression that the node evaluates and that is more than a column or a constant.
fn computed_expression(node: &dyn ExecutionPlan) -> Result<Option<String>> {
    let plain = |e: &Arc<dyn PhysicalExpr>| {
        e.is::<Column>() || e.is::<Literal>() || e.is::<DynamicFilterPhysicalExpr>()
    };
    if let Some(aggregate) = node.downcast_ref::<AggregateExec>()
        && aggregate.mode().input_mode() == AggregateInputMode::Partial
    {
        // Arguments and filters are those of the aggregate below, whose states this one merges.
        let keys = aggregate.group_expr().input_exprs();
        return Ok(keys.iter().find(|e| !plain(e)).map(ToString::to_string));
    }
    let mut found = None;
    node.apply_expressions(&mut |e: &Arc<dyn PhysicalExpr>| {
        if plain(e) {
            return Ok(TreeNodeRecursion::Continue);
        }
        found = Some(e.to_string());
        Ok(TreeNodeRecursion::Stop)
    })?;
    Ok(found)
}
