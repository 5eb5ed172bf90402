//! Conditions of joins beyond equal keys: what they read, whether they can fail, and how they are put back.

use super::Plan;
use super::graph::Col;
use arrow::datatypes::Schema;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{JoinSide, Result, internal_err};
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::expressions::{
    BinaryExpr, Column, InListExpr, IsNotNullExpr, IsNullExpr, Literal, NotExpr,
};
use datafusion::physical_plan::PhysicalExpr;
use datafusion::physical_plan::joins::utils::{ColumnIndex, JoinFilter};
use std::sync::Arc;

pub(super) struct Condition {
    /// Its `Column(i)` is `cols[i]`.
    pub expr: Arc<dyn PhysicalExpr>,
    pub cols: Vec<Col>,
    /// It cannot fail, so it may see rows that it would not have seen.
    pub early: bool,
}

/// The columns that a condition reads.
pub(super) fn used(condition: &Condition) -> impl Iterator<Item = Col> + '_ {
    let columns = datafusion::physical_expr::utils::collect_columns(&condition.expr);
    let cols: Vec<Col> = columns.iter().map(|c| condition.cols[c.index()]).collect();
    cols.into_iter()
}

/// Conditions as the filter of a join. Not as an operator above it: DataFusion moves such a filter down, also
/// one that may fail.
pub(super) fn join_filter(
    conditions: &[&Condition],
    (build, build_cols): (&Plan, &[Col]),
    (probe, probe_cols): (&Plan, &[Col]),
) -> Result<Option<JoinFilter>> {
    let (mut indices, mut fields, mut cols) = (vec![], vec![], Vec::<Col>::new());
    for col in conditions.iter().flat_map(|c| used(c)) {
        if cols.contains(&col) {
            continue;
        }
        let of = |plan: &Plan, all: &[Col], side: JoinSide| {
            let index = all.iter().position(|c| *c == col)?;
            Some((ColumnIndex { index, side }, Arc::clone(&plan.schema().fields()[index])))
        };
        let found = of(build, build_cols, JoinSide::Left).or_else(|| of(probe, probe_cols, JoinSide::Right));
        let Some((index, field)) = found else {
            return internal_err!("a condition lost a column among reordered joins");
        };
        indices.push(index);
        fields.push(field);
        cols.push(col);
    }
    let mut all: Option<Arc<dyn PhysicalExpr>> = None;
    for condition in conditions {
        let expr = over(condition, &cols)?;
        all = Some(match all {
            None => expr,
            Some(before) => Arc::new(BinaryExpr::new(before, Operator::And, expr)),
        });
    }
    Ok(all.map(|expr| JoinFilter::new(expr, indices, Arc::new(Schema::new(fields)))))
}

/// A condition over these columns.
pub(super) fn over(condition: &Condition, cols: &[Col]) -> Result<Arc<dyn PhysicalExpr>> {
    Arc::clone(&condition.expr)
        .transform_down(|e| {
            let Some(column) = e.downcast_ref::<Column>() else { return Ok(Transformed::no(e)) };
            let col = condition.cols[column.index()];
            match cols.iter().position(|c| *c == col) {
                Some(index) => {
                    let moved: Arc<dyn PhysicalExpr> = Arc::new(Column::new(column.name(), index));
                    Ok(Transformed::yes(moved))
                }
                None => internal_err!("a condition lost a column among reordered joins"),
            }
        })
        .data()
}

/// Comparisons of columns and constants, and what combines them.
pub(super) fn cannot_fail(expr: &Arc<dyn PhysicalExpr>) -> bool {
    let mut safe = true;
    // The visitor itself never errs.
    let _ = expr.apply(|e| {
        let known = e.is::<Column>()
            || e.is::<Literal>()
            || e.is::<NotExpr>()
            || e.is::<IsNullExpr>()
            || e.is::<IsNotNullExpr>()
            || e.is::<InListExpr>()
            || e.downcast_ref::<BinaryExpr>().is_some_and(|b| {
                matches!(
                    b.op(),
                    Operator::Eq
                        | Operator::NotEq
                        | Operator::Lt
                        | Operator::LtEq
                        | Operator::Gt
                        | Operator::GtEq
                        | Operator::And
                        | Operator::Or
                )
            });
        safe &= known;
        Ok(if safe { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop })
    });
    safe
}
