//! Aggregates by group, and DISTINCT: the keys and arguments of an `AggregateExec` as the end of a stage.
//!
//! DataFusion plans most of them as a `Partial` aggregate per partition, an exchange by hash, and a
//! `FinalPartitioned` one. A stage takes all three: its workers fill tables that the runtime merges. Where
//! only one of the halves is there the stage stands for that: a `Partial` aggregate hands its states on in
//! DataFusion's own form, a `Single` one groups each partition by itself.
//!
//! What an SQL aggregate needs is spread over cells of the table: a sum over an argument that can be NULL
//! is a sum and a count, an average is the same two. Equal cells are kept once.
//!
//! Minima and maxima of floats are by total order, as they are without groups. DataFusion's own by group
//! depend on the order of rows where there are NaNs, and never find an infinity that is all there is.

use super::aggregate::{Known, argument, avg_sum_scale, counted, ordered, support};
use super::{Plan, one_line};
use crate::expr::{Ctx, Expr, Scope, StageBuilder, mistyped_case};
use crate::group_columns::GroupColumn;
use crate::stage::{FusedOperator, GroupScope};
use crate::support::Reason;
use arrow::datatypes::{DataType, SchemaRef};
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode};
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties, InputOrderMode, Partitioning};
use fuseline_codegen::ir::{Agg, AggFunc, GroupKey, Input, Op, Ty};
use std::sync::Arc;

/// A function by group, with its FILTER.
struct Function {
    known: Known,
    function: Arc<AggregateFunctionExpr>,
    filter: Option<Expr>,
}

/// Aggregates by group at the top of a run.
pub(super) struct Grouped {
    pub operators: Vec<FusedOperator>,
    pub input: Plan,
    pub scope: GroupScope,
    /// Of what leaves.
    schema: SchemaRef,
    keys: Vec<Expr>,
    functions: Vec<Function>,
}

/// What a grouping stage ends in.
pub(super) struct GroupEnd {
    pub keys: Vec<GroupKey>,
    pub aggs: Vec<Agg>,
    /// The results, and the states.
    pub columns: Vec<GroupColumn>,
    pub states: Vec<GroupColumn>,
}

impl Grouped {
    /// `None`: no aggregate by group, or the upper half of one whose lower half is not below it. `Err`: one
    /// that stages do not compute.
    pub fn match_at(plan: &Plan) -> Option<Result<Grouped, Reason>> {
        let top = plan.downcast_ref::<AggregateExec>()?;
        if top.group_expr().is_true_no_grouping() {
            return None;
        }
        let mut operators = vec![FusedOperator { text: one_line(plan) }];
        let (first, scope) = match top.mode() {
            AggregateMode::Partial => (top, GroupScope::States),
            AggregateMode::Single | AggregateMode::SinglePartitioned => (top, GroupScope::Partition),
            AggregateMode::Final | AggregateMode::FinalPartitioned => {
                let exchange = top.input();
                operators.push(FusedOperator { text: one_line(exchange) });
                let below = exchanged(exchange)?;
                operators.push(FusedOperator { text: one_line(below) });
                let first = below.downcast_ref::<AggregateExec>()?;
                if *first.mode() != AggregateMode::Partial {
                    return None;
                }
                (first, GroupScope::All)
            }
            AggregateMode::PartialReduce => return None,
        };
        Some(
            Grouped::of(top, first, scope, operators)
                .map_err(|(what, why)| Reason::new(what.unwrap_or_else(|| one_line(plan)), why)),
        )
    }

    fn of(
        top: &AggregateExec,
        first: &AggregateExec,
        scope: GroupScope,
        operators: Vec<FusedOperator>,
    ) -> Result<Grouped, (Option<String>, String)> {
        let whole = |why: &str| Err((None, why.to_owned()));
        for exec in [top, first] {
            if !exec.group_expr().is_single() {
                return whole("stages do not compute grouping sets");
            }
            if *exec.input_order_mode() != InputOrderMode::Linear {
                return whole("its input is sorted by the keys, so DataFusion groups it as it comes");
            }
            if exec.limit_options().is_some() {
                return whole("DataFusion stops at a limit on its groups");
            }
        }
        for field in top.schema().fields().iter().take(first.group_expr().expr().len()) {
            if Input::physical(field.data_type()).is_none() {
                return Err((None, format!("no stage groups by the type {}", field.data_type())));
            }
        }
        let schema = first.input().schema();
        if let Some(why) = first.group_expr().expr().iter().find_map(|(e, _)| mistyped_case(e, &schema)) {
            return Err((None, why));
        }
        let mut functions = vec![];
        for (function, filter) in first.aggr_expr().iter().zip(first.filter_expr()) {
            let args = function.expressions();
            let mistyped = args.iter().chain(filter).find_map(|e| mistyped_case(e, &schema));
            let known = mistyped.map_or_else(|| support(function), Err);
            let known = known.map_err(|why| (Some(function.name().to_owned()), why))?;
            functions.push(Function { known, function: function.clone(), filter: filter.clone() });
        }
        Ok(Grouped {
            operators,
            input: Arc::clone(first.input()),
            scope,
            schema: top.schema(),
            keys: first.group_expr().expr().iter().map(|(e, _)| Arc::clone(e)).collect(),
            functions,
        })
    }

    /// The loop's keys and aggregates, and how the output columns come from them.
    pub fn plan(&self, b: &mut StageBuilder, scope: &Scope) -> Result<GroupEnd, String> {
        b.enter();
        let mut end = GroupEnd { keys: vec![], aggs: vec![], columns: vec![], states: vec![] };
        for (i, expr) in self.keys.iter().enumerate() {
            let field = self.schema.field(i);
            let data_type = match field.data_type() {
                DataType::Dictionary(_, values) => (**values).clone(),
                other => other.clone(),
            };
            let ty = Input::physical(&data_type).ok_or_else(|| format!("no loop holds {data_type}"))?;
            let value = b.value_as(expr, ty, scope, Ctx::default())?;
            // Strings mark NULL in themselves, and the values of a dictionary may hold some that no schema
            // admits to.
            let nullable = field.is_nullable() || b.ir.nullable(value) || ty == Ty::Str;
            end.keys.push(GroupKey { value, data_type, nullable });
            end.columns.push(GroupColumn::Key(i));
            end.states.push(GroupColumn::Key(i));
        }
        for f in &self.functions {
            self.function(b, scope, f, &mut end)?;
        }
        Ok(end)
    }

    fn function(
        &self,
        b: &mut StageBuilder,
        scope: &Scope,
        f: &Function,
        end: &mut GroupEnd,
    ) -> Result<(), String> {
        let mut filter = match &f.filter {
            Some(filter) => Some(b.value_as(filter, Ty::Bool, scope, Ctx::default())?),
            None => None,
        };
        // An argument counts, and can fail, only on the rows that pass the filter.
        let cx = match filter {
            Some(filter) => Ctx { under: Some(b.total(Op::IsTrue, &[filter])?) },
            None => Ctx::default(),
        };
        let (func, arg) = match f.known {
            Known::Count => (AggFunc::Count, counted(b, &f.function, scope, cx, &mut filter)?),
            Known::Sum | Known::Avg => (AggFunc::Sum, Some(argument(b, &f.function, scope, cx)?)),
            Known::Min => (AggFunc::Min, Some(ordered(b, &f.function, scope, cx)?)),
            Known::Max => (AggFunc::Max, Some(ordered(b, &f.function, scope, cx)?)),
            Known::Spread(_) => (AggFunc::Spread, Some(argument(b, &f.function, scope, cx)?)),
        };
        let mut cell = |agg: Agg| {
            end.aggs.iter().position(|a| *a == agg).unwrap_or_else(|| {
                end.aggs.push(agg);
                end.aggs.len() - 1
            })
        };
        // How many rows an aggregate has seen: all of the group's where none can be left out.
        let counts = arg.filter(|a| b.ir.nullable(*a));
        let count = Agg { func: AggFunc::Count, arg: counts, filter, ty: Ty::I64 };
        if func == AggFunc::Count {
            let column = GroupColumn::Count { agg: cell(count) };
            end.columns.push(column);
            end.states.push(column);
            return Ok(());
        }
        let ty = arg.map_or(Ty::I64, |v| b.ir.ty(v));
        let agg = cell(Agg { func, arg, filter, ty });
        if let Known::Spread(wanted) = f.known {
            end.columns.push(GroupColumn::Spread { agg, wanted });
            end.states.push(GroupColumn::SpreadCount { agg });
            end.states.push(GroupColumn::SpreadMean { agg });
            end.states.push(GroupColumn::SpreadSquares { agg });
            return Ok(());
        }
        if f.known == Known::Avg {
            let count = cell(count);
            end.states.push(GroupColumn::CountState { agg: count });
            end.states.push(GroupColumn::Value { agg, count: Some(count) });
            end.columns.push(match avg_sum_scale(&f.function, &scope.schema)? {
                None => GroupColumn::AvgFloat { agg, count },
                Some((sum_scale, wide)) => GroupColumn::AvgDecimal { agg, count, sum_scale, wide },
            });
            return Ok(());
        }
        let always = counts.is_none() && filter.is_none();
        let count = if always { None } else { Some(cell(count)) };
        let truth = *f.function.field().data_type() == DataType::Boolean;
        let column =
            if truth { GroupColumn::Truth { agg, count } } else { GroupColumn::Value { agg, count } };
        end.columns.push(column);
        end.states.push(column);
        Ok(())
    }
}

/// What an exchange between the halves of an aggregate takes in.
fn exchanged(exchange: &Plan) -> Option<&Plan> {
    if let Some(all) = exchange.downcast_ref::<CoalescePartitionsExec>() {
        return all.fetch().is_none().then(|| all.input());
    }
    let repartition = exchange.downcast_ref::<RepartitionExec>()?;
    match repartition.partitioning() {
        Partitioning::Hash(..) if !repartition.preserve_order() => Some(repartition.input()),
        Partitioning::Hash(..)
        | Partitioning::RoundRobinBatch(_)
        | Partitioning::Range(..)
        | Partitioning::UnknownPartitioning(_) => None,
    }
}

/// The partitions that a grouping stage has in place of `root`.
pub(super) fn partitions(root: &Plan) -> usize {
    root.output_partitioning().partition_count()
}
