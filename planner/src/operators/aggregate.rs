//! Ungrouped aggregates: sum, count, min, max, avg, bool_and, bool_or, variances and standard deviations, each
//! with an optional FILTER.
//!
//! DataFusion plans them as one `Single` aggregate, or as `Partial` ones under an exchange into one
//! partition and a `Final`; both become the sink of one stage, since the runtime merges the states
//! of all its morsels itself.

use super::{Plan, one_line};
use crate::expr::{Ctx, Expr, Scope, StageBuilder, data_type, mistyped_case};
use crate::finals::{FinalColumn, Finish, SpreadResult};
use crate::stage::FusedOperator;
use crate::support::Reason;
use arrow::datatypes::{DataType, Schema};
use datafusion::logical_expr::AggregateUDF;
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;
use datafusion::physical_expr::expressions::{IsNotNullExpr, Literal};
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode};
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::{ExecutionPlan, PhysicalExpr};
use fuseline_codegen::ir::{Agg, AggFunc, Input, OnFail, Op, Ty, ValueId};
use std::sync::Arc;

/// The most digits a decimal may have for its average to be taken over an i128 sum: 10^10 rows fit.
const AVG_MAX_PRECISION: u8 = 28;

/// A function that stages compute.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Known {
    Count,
    Sum,
    Min,
    Max,
    Avg,
    Spread(SpreadResult),
}

/// Ungrouped aggregates at the top of a run.
pub(super) struct Aggregates {
    pub operators: Vec<FusedOperator>,
    pub input: Plan,
    functions: Vec<(Known, Arc<AggregateFunctionExpr>, Option<Expr>)>,
}

impl Aggregates {
    /// `None`: no ungrouped aggregate, or half of one. `Err`: one that stages do not compute.
    pub fn match_at(plan: &Plan) -> Option<Result<Aggregates, Reason>> {
        let exec = plan.downcast_ref::<AggregateExec>()?;
        if !exec.group_expr().is_true_no_grouping() {
            return None;
        }
        let mut operators = vec![FusedOperator { text: one_line(plan) }];
        let first = match exec.mode() {
            AggregateMode::Single | AggregateMode::SinglePartitioned => exec,
            AggregateMode::Final | AggregateMode::FinalPartitioned => {
                let mut below = exec.input();
                if let Some(exchange) = below.downcast_ref::<CoalescePartitionsExec>() {
                    if exchange.fetch().is_some() {
                        return None;
                    }
                    operators.push(FusedOperator { text: one_line(below) });
                    below = exchange.input();
                }
                let partial = below.downcast_ref::<AggregateExec>()?;
                if *partial.mode() != AggregateMode::Partial || !partial.group_expr().is_true_no_grouping() {
                    return None;
                }
                operators.push(FusedOperator { text: one_line(below) });
                partial
            }
            AggregateMode::Partial | AggregateMode::PartialReduce => return None,
        };
        let mut functions = vec![];
        for (function, filter) in first.aggr_expr().iter().zip(first.filter_expr()) {
            let args = function.expressions();
            let mistyped = args.iter().chain(filter).find_map(|e| mistyped_case(e, &first.input().schema()));
            match mistyped.map_or_else(|| support(function), Err) {
                Ok(known) => functions.push((known, function.clone(), filter.clone())),
                Err(why) => return Some(Err(Reason::new(function.name(), why))),
            }
        }
        Some(Ok(Aggregates { operators, input: first.input().clone(), functions }))
    }

    /// The loop's aggregates and how the output row comes from them. Equal states are kept once:
    /// sum(x) and avg(x) share theirs.
    pub fn plan(&self, b: &mut StageBuilder, scope: &Scope) -> Result<(Vec<Agg>, Vec<FinalColumn>), String> {
        b.enter();
        let mut aggs: Vec<Agg> = vec![];
        let mut finals = vec![];
        for (known, function, filter) in &self.functions {
            let mut filter = match filter {
                Some(f) => Some(b.value_as(f, Ty::Bool, scope, Ctx::default())?),
                None => None,
            };
            // An argument counts, and can fail, only on the rows that pass the filter.
            let cx = match filter {
                Some(f) => Ctx { under: Some(b.total(Op::IsTrue, &[f])?) },
                None => Ctx::default(),
            };
            let output = function.field().data_type().clone();
            let (func, arg) = match known {
                Known::Count => (AggFunc::Count, counted(b, function, scope, cx, &mut filter)?),
                Known::Sum | Known::Avg => (AggFunc::Sum, Some(argument(b, function, scope, cx)?)),
                Known::Min => (AggFunc::Min, Some(ordered(b, function, scope, cx)?)),
                Known::Max => (AggFunc::Max, Some(ordered(b, function, scope, cx)?)),
                Known::Spread(_) => (AggFunc::Spread, Some(argument(b, function, scope, cx)?)),
            };
            let ty = match (func, arg) {
                (AggFunc::Count, _) | (_, None) => Ty::I64,
                (_, Some(v)) => b.ir.ty(v),
            };
            let agg = Agg { func, arg, filter, ty };
            let index = aggs.iter().position(|a| *a == agg).unwrap_or_else(|| {
                aggs.push(agg);
                aggs.len() - 1
            });
            let how = match known {
                Known::Count => Finish::Count,
                Known::Sum | Known::Min | Known::Max => Finish::Value,
                Known::Spread(wanted) => Finish::Spread(*wanted),
                Known::Avg => match avg_sum_scale(function, &scope.schema)? {
                    None => Finish::AvgFloat,
                    Some((sum_scale, wide)) => Finish::AvgDecimal { sum_scale, wide },
                },
            };
            finals.push(FinalColumn { agg: index, how, data_type: output });
        }
        Ok((aggs, finals))
    }
}

/// Of a decimal average: the scale of its sum, and whether the sum has more digits of headroom than 38.
/// `None`: a float one.
pub(super) fn avg_sum_scale(
    f: &AggregateFunctionExpr,
    schema: &Schema,
) -> Result<Option<(i8, bool)>, String> {
    match f.field().data_type() {
        DataType::Float64 => Ok(None),
        DataType::Decimal128(..) => match data_type(&f.expressions()[0], schema)? {
            DataType::Decimal128(p, s) => Ok(Some((s, p.saturating_add(13) > 38))),
            other => Err(format!("an average of {other}")),
        },
        other => Err(format!("an average of type {other}")),
    }
}

/// Whether stages compute the aggregate, from the types alone.
pub(super) fn support(f: &AggregateFunctionExpr) -> Result<Known, String> {
    let known = known(f.fun()).ok_or("no stage computes this aggregate function")?;
    if f.is_distinct() && !matches!(known, Known::Min | Known::Max) {
        return Err("stages do not aggregate distinct values".to_owned());
    }
    let output = f.field();
    let output = output.data_type();
    let supported = match known {
        Known::Count => *output == DataType::Int64,
        Known::Sum => matches!(
            output,
            DataType::Int64
                | DataType::UInt64
                | DataType::Float64
                | DataType::Decimal128(..)
                | DataType::Duration(_)
        ),
        Known::Min | Known::Max => Input::physical(output).is_some(),
        Known::Avg => match output {
            DataType::Float64 => true,
            // The output has 4 digits more than the argument, up to 38.
            DataType::Decimal128(p, _) => *p <= AVG_MAX_PRECISION + 4,
            _ => false,
        },
        Known::Spread(_) => *output == DataType::Float64,
    };
    if supported { Ok(known) } else { Err(format!("no stage computes it for the type {output}")) }
}

fn known(f: &AggregateUDF) -> Option<Known> {
    use datafusion::functions_aggregate as agg;
    let own = |u: Arc<AggregateUDF>| u.as_ref() == f;
    let spread = |sample, root| Known::Spread(SpreadResult { sample, root });
    match f.name() {
        "count" if own(agg::count::count_udaf()) => Some(Known::Count),
        "sum" if own(agg::sum::sum_udaf()) => Some(Known::Sum),
        "min" if own(agg::min_max::min_udaf()) => Some(Known::Min),
        "max" if own(agg::min_max::max_udaf()) => Some(Known::Max),
        // Of booleans, false is the lesser.
        "bool_and" if own(agg::bool_and_or::bool_and_udaf()) => Some(Known::Min),
        "bool_or" if own(agg::bool_and_or::bool_or_udaf()) => Some(Known::Max),
        "avg" if own(agg::average::avg_udaf()) => Some(Known::Avg),
        "var" if own(agg::variance::var_samp_udaf()) => Some(spread(true, false)),
        "var_pop" if own(agg::variance::var_pop_udaf()) => Some(spread(false, false)),
        "stddev" if own(agg::stddev::stddev_udaf()) => Some(spread(true, true)),
        "stddev_pop" if own(agg::stddev::stddev_pop_udaf()) => Some(spread(false, true)),
        _ => None,
    }
}

pub(super) fn argument(
    b: &mut StageBuilder,
    f: &AggregateFunctionExpr,
    scope: &Scope,
    cx: Ctx,
) -> Result<ValueId, String> {
    let [arg] = f.expressions().try_into().map_err(|_| "it takes one argument")?;
    b.value(&arg, scope, cx)
}

/// What a minimum or maximum is of: booleans become small integers, which have the same order.
pub(super) fn ordered(
    b: &mut StageBuilder,
    f: &AggregateFunctionExpr,
    scope: &Scope,
    cx: Ctx,
) -> Result<ValueId, String> {
    let v = argument(b, f, scope, cx)?;
    if b.ir.ty(v) == Ty::Bool { b.total(Op::Cast(Ty::U8, OnFail::Err), &[v]) } else { Ok(v) }
}

/// What count counts: rows where every argument is valid. An argument whose type no loop holds is
/// tested by a call, and joins the filter.
pub(super) fn counted(
    b: &mut StageBuilder,
    f: &AggregateFunctionExpr,
    scope: &Scope,
    cx: Ctx,
    filter: &mut Option<ValueId>,
) -> Result<Option<ValueId>, String> {
    let args = f.expressions();
    if let [arg] = args.as_slice() {
        if arg.downcast_ref::<Literal>().is_some_and(|l| !l.value().is_null()) {
            return Ok(None);
        }
        if let Ok(v) = b.value(arg, scope, cx) {
            return Ok(if b.ir.nullable(v) { Some(v) } else { None });
        }
    }
    for arg in args {
        let test: Expr = Arc::new(IsNotNullExpr::new(Arc::clone(&arg) as Arc<dyn PhysicalExpr>));
        let valid = b.value_as(&test, Ty::Bool, scope, cx)?;
        *filter = Some(match *filter {
            None => valid,
            Some(f) => b.total(Op::And, &[f, valid])?,
        });
    }
    Ok(None)
}
