//! From a run of DataFusion operators to a stage.
//!
//! [`plan_stage`] walks from a plan node downward while operators can be absorbed, then builds the
//! stage's program from the bottom up. What it absorbs: filters, projections, limits above them,
//! round-robin exchanges (the runtime deals out rows itself), the probe sides of hash joins, aggregates at the top, by
//! group or not, and generated ranges at the bottom.

mod aggregate;
mod grouped;
mod join;
mod range;

use crate::expr::{Col, Ctx, Expr, Scope, StageBuilder, is_expensive, mistyped_case, sql};
use crate::finals::FinalColumn;
use crate::options::{FusionMode, PlanOptions};
use crate::segments::{Ending, cut};
use crate::stage::{FusedOperator, GroupScope, Limit, PlannedStage, Source, Stage, StageSink};
use crate::support::{Reason, Support};
use aggregate::Aggregates;
use arrow::datatypes::{Schema, SchemaRef};
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
use fuseline_codegen::ir::{Agg, Op, Sink, ValueId, verify};
use grouped::{GroupEnd, Grouped};
use join::Joined;
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
            if let Some(fetch) = filter.fetch() {
                let only_projections = run.steps.iter().all(|s| matches!(s, Step::Project(_)));
                if run.aggregates() || !only_projections || run.partitions.is_some() {
                    break;
                }
                run.limit = over(run.limit, Limit { skip: 0, fetch: Some(fetch) });
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
            match Joined::match_at(&node, free, run.limit.is_none()) {
                Ok(joined) => {
                    run.operators.push(FusedOperator { text: one_line(&node) });
                    run.operators
                        .extend(joined.exchanges.iter().map(|e| FusedOperator { text: one_line(e) }));
                    if let Some(n) = joined.merged {
                        run.partitions.get_or_insert(n);
                        if let Some(grouped) = &mut run.grouped
                            && grouped.scope == GroupScope::Partition
                        {
                            // Rows of a key no longer come in one partition.
                            grouped.scope = GroupScope::All;
                        }
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
    let mut b = StageBuilder::new(child_schema.clone(), *options);
    let mut scope = match &run.range {
        Some(range) => range.scope(&mut b)?,
        None => {
            Scope { cols: (0..child_schema.fields().len()).map(Col::Source).collect(), schema: child_schema }
        }
    };
    let (mut joins, mut builds) = (vec![], vec![]);
    for step in run.steps.iter().rev() {
        scope = match step {
            Step::Filter(plan) => filter(&mut b, plan, scope)?,
            Step::Project(plan) => project(&mut b, plan, scope)?,
            Step::Join(joined) => {
                let (plan, scope) = joined.plan(&mut b, joins.len() as u32, scope)?;
                joins.push(plan);
                builds.push(Arc::clone(&joined.build));
                scope
            }
        };
    }
    let (ending, sink) = match (&run.aggregates, &run.grouped) {
        (Some(aggregates), _) => {
            let (aggs, finals): (Vec<Agg>, Vec<FinalColumn>) = aggregates.plan(&mut b, &scope)?;
            (Ending::Aggregate(aggs), StageSink::Aggregate { finals, schema: root.schema() })
        }
        (None, Some(grouped)) => {
            let GroupEnd { keys, aggs, columns, states } = grouped.plan(&mut b, &scope)?;
            let columns = if grouped.scope == GroupScope::States { states.clone() } else { columns };
            let scope = grouped.scope;
            let sink = StageSink::Group { columns, states, scope, schema: root.schema() };
            (Ending::Group { keys, aggs }, sink)
        }
        (None, None) => {
            let schema: SchemaRef = root.schema();
            (Ending::Emit { cols: scope.cols, schema: schema.clone() }, StageSink::Emit(schema))
        }
    };
    let notes = b.notes();
    let mut segments = cut(b, ending)?;
    join::settle_columns(&mut segments, &mut joins);
    for segment in &segments {
        // Cheap, and a mistake of the planner's must not reach a compiler.
        verify(&segment.loop_).map_err(|e| format!("internal error: {e}"))?;
    }
    let computes = !joins.is_empty()
        || segments.iter().any(|s| {
            s.loop_.has_filter()
                || matches!(s.loop_.sink, Sink::Aggregate(_) | Sink::Group { .. })
                || s.loop_.values.iter().any(|v| !matches!(v.op, Op::Input(_) | Op::Const(_)))
                || options.is_boundary.is_some_and(|is| s.calls.iter().any(|c| is(&c.expr)))
        });
    let partitions = match (&run.aggregates, &run.grouped) {
        (Some(_), _) => 1,
        (None, Some(_)) => grouped::partitions(root),
        (None, None) => run.partitions.unwrap_or(child_partitions),
    };
    Ok(PlannedStage {
        stage: Stage { source, segments, sink, limit: run.limit, operators: run.operators, notes, joins },
        child: run.child,
        builds,
        partitions,
        computes,
    })
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
