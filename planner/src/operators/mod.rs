//! From a run of DataFusion operators to a stage.
//!
//! [`plan_stage`] walks from a plan node downward while operators can be absorbed, then builds the
//! stage's program from the bottom up. What it absorbs: filters, projections, limits above them,
//! round-robin exchanges (the runtime deals out rows itself), the probe sides of hash joins, aggregates at the top, by
//! group or not, and generated ranges at the bottom. Where joins keep rows of their build sides, several programs
//! are made of one run ([`passes`]).

mod aggregate;
mod grouped;
mod join;
mod kept;
mod matches;
mod passes;
mod range;

use crate::expr::{Col, Ctx, Expr, Scope, StageBuilder, is_expensive, mistyped_case, sql};
use crate::options::{FusionMode, PlanOptions};
use crate::stage::{Call, FusedOperator, GroupScope, Limit, PlannedStage, Source};
use crate::support::{Reason, Support};
use aggregate::Aggregates;
use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::physical_expr::split_conjunction;
use datafusion::physical_plan::aggregates::AggregateExec;
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::displayable;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::joins::HashJoinExec;
use datafusion::physical_plan::limit::{GlobalLimitExec, LocalLimitExec};
use datafusion::physical_plan::placeholder_row::PlaceholderRowExec;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties, Partitioning};
use fuseline_codegen::ir::{Op, Sink, ValueId};
use grouped::Grouped;
use join::Joined;
use passes::Passes;
use range::Range;
pub use range::series_rows;
use std::sync::Arc;

pub(crate) type Plan = Arc<dyn ExecutionPlan>;

/// One operator that computes something, in the order from the root down.
enum Step {
    Filter(Plan),
    Project(Plan),
    Join(Joined),
}

/// The absorbed run.
#[derive(Default)]
struct Run {
    limit: Limit,
    aggregates: Option<Aggregates>,
    grouped: Option<Grouped>,
    steps: Vec<Step>,
    operators: Vec<FusedOperator>,
    /// The partition count that the topmost dropped exchange gave.
    partitions: Option<usize>,
    range: Option<Range>,
    child: Option<Plan>,
    /// Why the child, a filter or projection, was not absorbed.
    refused: Option<Reason>,
}

impl Run {
    /// Whether it aggregates, by group or not.
    fn aggregates(&self) -> bool {
        self.aggregates.is_some() || self.grouped.is_some()
    }

    /// From the root down.
    fn joins_down(&self) -> impl Iterator<Item = &Joined> {
        self.steps.iter().filter_map(|s| match s {
            Step::Join(joined) => Some(joined),
            Step::Filter(_) | Step::Project(_) => None,
        })
    }

    /// From the source up, in the order of their numbers.
    fn joins(&self) -> impl Iterator<Item = &Joined> {
        let down: Vec<&Joined> = self.joins_down().collect();
        down.into_iter().rev()
    }

    /// A limit that applies to what a node below puts out; whether it can be one of the stage.
    fn take_fetch(&mut self, fetch: Option<usize>) -> bool {
        let Some(fetch) = fetch else { return true };
        let only_projections = self.steps.iter().all(|s| matches!(s, Step::Project(_)));
        if self.aggregates() || !only_projections || self.partitions.is_some() {
            return false;
        }
        self.limit = over(self.limit, Limit { skip: 0, fetch: Some(fetch) });
        true
    }

    /// Whether what it aggregates are the rows of all partitions.
    fn takes_all_partitions(&self) -> bool {
        self.aggregates.is_some() || self.grouped.as_ref().is_some_and(|g| g.scope == GroupScope::All)
    }
}

/// Absorbs the maximal run of operators from `root` downward.
///
/// `None`: `root` is no operator that stages absorb (or fusing it gains nothing and the mode is
/// `on`), so its children should be tried. `Unsupported`: it would be, but for the reason given;
/// its children should be tried too.
pub fn plan_stage(root: &Plan, options: &PlanOptions) -> Option<Support<PlannedStage>> {
    if options.mode == FusionMode::Off {
        return None;
    }
    let run = match match_run(root, options)? {
        Support::Supported(run) => run,
        Support::Unsupported(reason) => return Some(Support::Unsupported(reason)),
    };
    let text = one_line(root);
    match build(root, run, options) {
        Ok(planned) if options.mode == FusionMode::On && !pays(&planned) => None,
        Ok(planned) => Some(Support::Supported(planned)),
        Err(reason) => Some(Support::Unsupported(Reason::new(text, reason))),
    }
}

/// Whether fusing can gain anything: there is something to compute, on more than one row.
fn pays(planned: &PlannedStage) -> bool {
    let one_row = |child: &Plan| {
        child.is::<PlaceholderRowExec>()
            || child.downcast_ref::<AggregateExec>().is_some_and(|a| {
                a.group_expr().is_true_no_grouping() && a.properties().partitioning.partition_count() == 1
            })
    };
    planned.computes && !planned.child.as_ref().is_some_and(one_row)
}

/// The plan's own line of EXPLAIN.
pub(crate) fn one_line(plan: &Plan) -> String {
    displayable(plan.as_ref()).one_line().to_string().trim_end().to_owned()
}

fn match_run(root: &Plan, options: &PlanOptions) -> Option<Support<Run>> {
    let mut run = Run::default();
    let mut node = Arc::clone(root);
    // Limits.
    loop {
        let inner = if let Some(l) = node.downcast_ref::<GlobalLimitExec>() {
            run.limit = over(run.limit, Limit { skip: l.skip(), fetch: l.fetch() });
            Arc::clone(l.input())
        } else if let Some(l) = node.downcast_ref::<LocalLimitExec>() {
            run.limit = over(run.limit, Limit { skip: 0, fetch: Some(l.fetch()) });
            Arc::clone(l.input())
        } else {
            break;
        };
        run.operators.push(FusedOperator { text: one_line(&node) });
        node = inner;
    }
    if run.limit.is_none() {
        match Aggregates::match_at(&node) {
            None => {}
            Some(Err(reason)) => return Some(Support::Unsupported(reason)),
            Some(Ok(aggregates)) => {
                run.operators.extend(aggregates.operators.iter().cloned());
                node = Arc::clone(&aggregates.input);
                run.aggregates = Some(aggregates);
            }
        }
    }
    if run.limit.is_none() && run.aggregates.is_none() {
        match Grouped::match_at(&node) {
            None => {}
            Some(Err(reason)) => return Some(Support::Unsupported(reason)),
            Some(Ok(grouped)) => {
                run.operators.extend(grouped.operators.iter().cloned());
                node = Arc::clone(&grouped.input);
                run.grouped = Some(grouped);
            }
        }
    }
    match_steps(&mut run, node, options);
    if !run.aggregates() && run.steps.is_empty() {
        return run.refused.map(Support::Unsupported);
    }
    if run.aggregates() && run.steps.is_empty() && run.child.as_ref().is_some_and(|c| c.is::<HashJoinExec>())
    {
        // Its reason is shown at the join itself.
        run.refused = None;
    }
    Some(Support::Supported(run))
}

/// The limit that results from applying `outer` to what `inner` leaves.
fn over(outer: Limit, inner: Limit) -> Limit {
    let left = inner.fetch.map(|f| f.saturating_sub(outer.skip));
    let fetch = match (outer.fetch, left) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    };
    Limit { skip: inner.skip.saturating_add(outer.skip), fetch }
}

/// Filters, projections and what stands between them. Operators that only matter in a run
/// (exchanges, wrappers) are absorbed when something worth fusing follows, or as the run's last
/// ones over its child.
fn match_steps(run: &mut Run, mut node: Plan, options: &PlanOptions) {
    loop {
        run.refused = refusal(&node);
        if run.refused.is_some() {
            break;
        }
        if let Some(filter) = node.downcast_ref::<FilterExec>() {
            if !run.take_fetch(filter.fetch()) {
                break;
            }
            run.operators.push(FusedOperator { text: one_line(&node) });
            run.steps.push(Step::Filter(Arc::clone(&node)));
            node = Arc::clone(filter.input());
        } else if let Some(projection) = node.downcast_ref::<ProjectionExec>() {
            run.operators.push(FusedOperator { text: one_line(&node) });
            run.steps.push(Step::Project(Arc::clone(&node)));
            node = Arc::clone(projection.input());
        } else if node.is::<HashJoinExec>() {
            let regroups = run.grouped.as_ref().is_some_and(|g| g.scope != GroupScope::States);
            let free = options.partitions_are_free || run.aggregates.is_some() || regroups;
            let no_limit = run.limit.is_none() && node.fetch().is_none();
            let mixes = |j: &Joined| {
                j.keeps() && run.joins_down().any(|k| k.keeps() && k.by_partition != j.by_partition)
            };
            let joined = match Joined::match_at(&node, free, no_limit) {
                Ok(joined) if mixes(&joined) => {
                    Err("its build side is partitioned as that of another join is not".to_owned())
                }
                Ok(_) if !run.take_fetch(node.fetch()) => Err("a limit ends it early".to_owned()),
                matched => matched,
            };
            match joined {
                Ok(joined) => {
                    run.operators.push(FusedOperator { text: one_line(&node) });
                    run.operators
                        .extend(joined.exchanges.iter().map(|e| FusedOperator { text: one_line(e) }));
                    if let Some(n) = joined.merged {
                        run.partitions.get_or_insert(n);
                    }
                    if (joined.merged.is_some() || (joined.keeps() && !joined.by_partition))
                        && let Some(grouped) = &mut run.grouped
                        && grouped.scope == GroupScope::Partition
                    {
                        // Rows of a key no longer come in one partition, or those of the build side in any.
                        grouped.scope = GroupScope::All;
                    }
                    node = Arc::clone(&joined.probe);
                    run.steps.push(Step::Join(joined));
                }
                Err(why) => {
                    run.refused = Some(Reason::new(one_line(&node), why));
                    break;
                }
            }
        } else if let Some(range) = Range::match_at(&node) {
            run.operators.push(FusedOperator { text: one_line(&node) });
            run.range = Some(range);
            return;
        } else if let Some(exchange) = node.downcast_ref::<RepartitionExec>() {
            let Partitioning::RoundRobinBatch(n) = exchange.partitioning() else { break };
            if exchange.preserve_order() || (run.steps.is_empty() && !run.aggregates()) {
                break;
            }
            // A limit applies to the partitions above the exchange.
            if !run.limit.is_none() {
                break;
            }
            run.partitions.get_or_insert(*n);
            run.operators.push(FusedOperator { text: one_line(&node) });
            node = Arc::clone(exchange.input());
        } else if let Some(exchange) = node.downcast_ref::<CoalescePartitionsExec>()
            && run.takes_all_partitions()
            && exchange.fetch().is_none()
        {
            // An aggregate takes the rows of all partitions anyhow.
            run.operators.push(FusedOperator { text: one_line(&node) });
            node = Arc::clone(exchange.input());
        } else if let Some(wrapper) = node.downcast_ref::<CooperativeExec>() {
            let inner = Arc::clone(wrapper.input());
            let follows = inner.is::<FilterExec>()
                || inner.is::<ProjectionExec>()
                || inner.is::<HashJoinExec>()
                || Range::match_at(&inner).is_some();
            if !follows {
                break;
            }
            node = inner;
        } else {
            break;
        }
    }
    run.child = Some(node);
}

/// Why a filter or projection can be no part of any stage, whatever is around it.
fn refusal(node: &Plan) -> Option<Reason> {
    let why = if let Some(filter) = node.downcast_ref::<FilterExec>() {
        mistyped_case(filter.predicate(), &filter.input().schema())
    } else if let Some(projection) = node.downcast_ref::<ProjectionExec>() {
        let schema = projection.input().schema();
        projection.expr().iter().find_map(|e| mistyped_case(&e.expr, &schema))
    } else {
        None
    };
    why.map(|why| Reason::new(one_line(node), why))
}

fn build(root: &Plan, run: Run, options: &PlanOptions) -> Result<PlannedStage, String> {
    let (source, child_schema, child_partitions) = match (&run.range, &run.child) {
        (Some(range), _) => (range.source(), Arc::new(Schema::empty()), 1),
        (None, Some(child)) => {
            let schema = child.schema();
            (Source::Child(schema.clone()), schema, child.output_partitioning().partition_count())
        }
        (None, None) => return Err("the run has no source".to_owned()),
    };
    let pads = run.steps.iter().any(|s| matches!(s, Step::Join(j) if j.pads()));
    let mut b =
        StageBuilder::new(if pads { nullable(&child_schema) } else { child_schema.clone() }, *options);
    b.all_nullable = pads;
    let scope = match &run.range {
        Some(range) => range.scope(&mut b)?,
        None => {
            Scope { cols: (0..child_schema.fields().len()).map(Col::Source).collect(), schema: child_schema }
        }
    };
    let stage = Passes::new(root, &run, options).stage(source, b, scope)?;
    let builds = run.joins().map(|j| Arc::clone(&j.build)).collect();
    let computes = !stage.joins.is_empty()
        || stage.segments.iter().any(|s| {
            s.loop_.has_filter()
                || matches!(s.loop_.sink, Sink::Aggregate(_) | Sink::Group { .. })
                || s.loop_.values.iter().any(|v| !matches!(v.op, Op::Input(_) | Op::Const(_)))
                || options.is_boundary.is_some_and(|is| s.calls.iter().filter_map(Call::expr).any(is))
        });
    let partitions = match (&run.aggregates, &run.grouped) {
        (Some(_), _) => 1,
        (None, Some(_)) => grouped::partitions(root),
        (None, None) => run.partitions.unwrap_or(child_partitions),
    };
    Ok(PlannedStage { stage, child: run.child, builds, partitions, computes })
}

/// The columns as ones that may be NULL.
fn nullable(schema: &SchemaRef) -> SchemaRef {
    let fields: Vec<Field> = schema.fields().iter().map(|f| f.as_ref().clone().with_nullable(true)).collect();
    Arc::new(Schema::new(fields))
}

/// Drops rows. Expensive conjuncts (batch calls above all) come after a filter on those before
/// them, so that they see only rows that are left; cheap ones are one predicate.
fn filter(b: &mut StageBuilder, plan: &Plan, scope: Scope) -> Result<Scope, String> {
    let exec = plan.downcast_ref::<FilterExec>().ok_or("no filter")?;
    b.enter();
    let mut pending: Option<ValueId> = None;
    for conjunct in split_conjunction(exec.predicate()) {
        if is_expensive(conjunct)
            && let Some(predicate) = pending.take()
        {
            push_filter(b, predicate)?;
        }
        let cx = match pending {
            None => Ctx::default(),
            Some(p) => Ctx { under: Some(b.total(Op::IsTrue, &[p])?) },
        };
        let value = predicate(b, conjunct, &scope, cx)?;
        pending = Some(match pending {
            None => value,
            Some(p) => b.total(Op::And, &[p, value])?,
        });
    }
    if let Some(predicate) = pending {
        push_filter(b, predicate)?;
    }
    let Some(projection) = exec.projection().as_ref() else {
        return Ok(Scope { schema: plan.schema(), ..scope });
    };
    let cols = projection.iter().map(|i| scope.cols[*i].clone()).collect();
    Ok(Scope { schema: plan.schema(), cols })
}

fn predicate(b: &mut StageBuilder, e: &Expr, scope: &Scope, cx: Ctx) -> Result<ValueId, String> {
    b.value_as(e, fuseline_codegen::ir::Ty::Bool, scope, cx).map_err(|why| format!("`{}`: {why}", sql(e)))
}

fn push_filter(b: &mut StageBuilder, predicate: ValueId) -> Result<(), String> {
    b.ir.filter(predicate)?;
    b.filters.push(predicate);
    Ok(())
}

fn project(b: &mut StageBuilder, plan: &Plan, scope: Scope) -> Result<Scope, String> {
    let exec = plan.downcast_ref::<ProjectionExec>().ok_or("no projection")?;
    b.enter();
    let mut cols = vec![];
    for e in exec.expr() {
        let col = b.output(&e.expr, &scope, Ctx::default());
        cols.push(col.map_err(|why| format!("`{}`: {why}", sql(&e.expr)))?);
    }
    Ok(Scope { schema: plan.schema(), cols })
}
