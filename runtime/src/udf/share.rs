//! A call that a filter and the projection above it have in common is made once, where neither is
//! fused.
//!
//! ```text
//! Projection: f(x) + 1                    Projection: __function_1 + 1
//!   Filter: y > 0 AND f(x) > 2      ->      Filter: __function_1 > 2
//!                                             Projection: x, y, f(x) AS __function_1
//!                                               Filter: y > 0
//! ```
//!
//! Only calls of immutable and stable functions are shared, and only those that the filter makes for
//! every row that gets so far: not one behind OR or in an arm of a CASE. In fused stages the planner
//! does this (`planner/src/expr/bind.rs`); repeated calls within one operator DataFusion shares. A gap:
//! what a filter repeats DataFusion computes below it, where the projection above does not look.

use crate::udf::entries::boundary_of;
use arrow::datatypes::SchemaRef;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{Result, internal_err};
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::expressions::{BinaryExpr, CaseExpr, Column};
use datafusion::physical_expr::utils::collect_columns;
use datafusion::physical_expr::{ScalarFunctionExpr, conjunction, split_conjunction};
use datafusion::physical_expr_common::physical_expr::is_volatile;
use datafusion::physical_plan::filter::{FilterExec, FilterExecBuilder};
use datafusion::physical_plan::projection::{ProjectionExec, ProjectionExpr};
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::{ExecutionPlan, Partitioning, PhysicalExpr};
use std::sync::Arc;

type Expr = Arc<dyn PhysicalExpr>;

/// The operator, if it is a projection over a filter, with their common calls made once.
///
/// # Errors
/// DataFusion's, should an operator not take the expressions.
pub fn share_calls(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    let mut plan = plan;
    // Each step makes one call of the projection a column.
    while let Some(next) = share_one(&plan)? {
        plan = next;
    }
    Ok(plan)
}

fn share_one(plan: &Arc<dyn ExecutionPlan>) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let Some(projection) = plan.downcast_ref::<ProjectionExec>() else { return Ok(None) };
    // Where a table has few partitions, rows are dealt out in between.
    let (dealt, under) = match projection.input().downcast_ref::<RepartitionExec>() {
        Some(dealing)
            if matches!(dealing.partitioning(), Partitioning::RoundRobinBatch(_))
                && !dealing.preserve_order() =>
        {
            (Some(dealing.partitioning().clone()), dealing.input())
        }
        Some(_) | None => (None, projection.input()),
    };
    let Some(filter) = under.downcast_ref::<FilterExec>() else { return Ok(None) };
    let input = filter.input();
    let above: Vec<Expr> = projection
        .expr()
        .iter()
        .map(|e| through(&e.expr, filter.projection().as_deref(), &input.schema()))
        .collect::<Result<_>>()?;
    let conjuncts = split_conjunction(filter.predicate());
    let common = conjuncts.iter().enumerate().find_map(|(k, conjunct)| {
        let mut sure = Vec::new();
        sure_calls(conjunct, &mut sure);
        let call = sure.into_iter().find(|c| !is_volatile(c) && above.iter().any(|e| contains(e, c)))?;
        Some((k, call))
    });
    let Some((k, call)) = common else { return Ok(None) };

    let mut below = Arc::clone(input);
    if k > 0 {
        let first = conjunction(conjuncts[..k].iter().map(|c| Arc::clone(c)));
        below = Arc::new(FilterExecBuilder::new(first, below).build()?);
    }
    let schema = input.schema();
    let name = (1..)
        .map(|n| format!("__function_{n}"))
        .find(|name| schema.column_with_name(name).is_none())
        .unwrap_or_default();
    let width = schema.fields().len();
    let mut columns: Vec<ProjectionExpr> = schema
        .fields()
        .iter()
        .enumerate()
        .map(|(i, f)| ProjectionExpr::new(Arc::new(Column::new(f.name(), i)), f.name().clone()))
        .collect();
    columns.push(ProjectionExpr::new(Arc::clone(&call), name.clone()));
    let below = Arc::new(ProjectionExec::try_new(columns, below)?);
    let column: Expr = Arc::new(Column::new(&name, width));
    let rest = conjuncts[k..].iter().map(|c| replaced(c, &call, &column)).collect::<Result<Vec<_>>>()?;
    let rest = FilterExecBuilder::new(conjunction(rest), below)
        .with_default_selectivity(filter.default_selectivity())
        .with_batch_size(filter.batch_size())
        .with_fetch(ExecutionPlan::fetch(filter))
        .build()?;
    let exprs: Vec<ProjectionExpr> = projection
        .expr()
        .iter()
        .zip(&above)
        .map(|(e, above)| Ok(ProjectionExpr::new(replaced(above, &call, &column)?, e.alias.clone())))
        .collect::<Result<_>>()?;
    // The filter hands on what the projection still reads.
    let mut read: Vec<usize> =
        exprs.iter().flat_map(|e| collect_columns(&e.expr)).map(|c| c.index()).collect();
    read.sort_unstable();
    read.dedup();
    let mut kept = Vec::with_capacity(exprs.len());
    for e in exprs {
        kept.push(ProjectionExpr::new(narrowed(&e.expr, &read)?, e.alias));
    }
    let mut rest: Arc<dyn ExecutionPlan> =
        Arc::new(FilterExecBuilder::from(&rest).apply_projection(Some(read))?.build()?);
    if let Some(partitioning) = dealt {
        rest = Arc::new(RepartitionExec::try_new(rest, partitioning)?);
    }
    Ok(Some(Arc::new(ProjectionExec::try_new(kept, rest)?)))
}

/// The calls of user-defined functions that evaluating the expression makes on every row.
fn sure_calls(expr: &Expr, found: &mut Vec<Expr>) {
    if boundary_of(expr).is_some() {
        found.push(Arc::clone(expr));
    }
    if let Some(binary) = expr.downcast_ref::<BinaryExpr>()
        && matches!(binary.op(), Operator::And | Operator::Or)
    {
        return sure_calls(binary.left(), found);
    }
    if expr.is::<CaseExpr>()
        || expr.downcast_ref::<ScalarFunctionExpr>().is_some_and(|f| f.fun().short_circuits())
    {
        // The first operand: the value or condition that decides about all others.
        return expr.children().first().into_iter().for_each(|c| sure_calls(c, found));
    }
    expr.children().into_iter().for_each(|c| sure_calls(c, found));
}

fn contains(expr: &Expr, call: &Expr) -> bool {
    let mut found = false;
    // The visitor itself never errs.
    let _ = expr.apply(|e| {
        found |= e.eq(call);
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    });
    found
}

fn replaced(expr: &Expr, call: &Expr, column: &Expr) -> Result<Expr> {
    Arc::clone(expr)
        .transform_down(|e| {
            Ok(if e.eq(call) { Transformed::yes(Arc::clone(column)) } else { Transformed::no(e) })
        })
        .data()
}

/// An expression over the filter's output as one over its input.
fn through(expr: &Expr, projection: Option<&[usize]>, input: &SchemaRef) -> Result<Expr> {
    mapped(expr, |column| {
        let index = match projection {
            Some(columns) => *columns.get(column.index())?,
            None => column.index(),
        };
        Some(Column::new(input.fields().get(index)?.name(), index))
    })
}

/// An expression over all columns as one over those of `columns`, which are in ascending order.
fn narrowed(expr: &Expr, columns: &[usize]) -> Result<Expr> {
    mapped(expr, |column| Some(Column::new(column.name(), columns.binary_search(&column.index()).ok()?)))
}

fn mapped(expr: &Expr, map: impl Fn(&Column) -> Option<Column>) -> Result<Expr> {
    Arc::clone(expr)
        .transform_down(|e| {
            let Some(column) = e.downcast_ref::<Column>() else { return Ok(Transformed::no(e)) };
            match map(column) {
                Some(column) => Ok(Transformed::yes(Arc::new(column) as Expr)),
                None => internal_err!("a projection reads {column}, which the filter below lacks"),
            }
        })
        .data()
}
