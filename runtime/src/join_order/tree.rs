//! What of a plan is a tree of inner joins: those by columns, semi joins by columns alone, and projections and
//! filters above them that can be looked through.

use super::Plan;
use crate::udf::entries::calls_udf;
use datafusion::common::{JoinType, NullEquality, Result, internal_err};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr_common::physical_expr::is_volatile;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::PhysicalExpr;
use datafusion::physical_plan::execution_plan::replace_children_if_necessary;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::joins::HashJoinExec;
use datafusion::physical_plan::projection::ProjectionExec;
use std::sync::Arc;

/// The tree as it was, over these tables and these plans of semi joins, in the order in which it was taken apart.
pub(super) fn put_back(
    plan: &Plan,
    tables: &mut dyn Iterator<Item = Plan>,
    semis: &mut dyn Iterator<Item = Plan>,
) -> Result<Plan> {
    if plan.fetch().is_none() {
        if let Some(join) = plan.downcast_ref::<HashJoinExec>() {
            if is_plain_inner(join) {
                let left = put_back(join.left(), tables, semis)?;
                let right = put_back(join.right(), tables, semis)?;
                return replace_children_if_necessary(Arc::clone(plan), vec![left, right]);
            }
            if let Some((main, ..)) = as_semi(join) {
                let main_is_left = Arc::ptr_eq(main, join.left());
                let main = put_back(main, tables, semis)?;
                let Some(other) = semis.next() else { return internal_err!("a semi join was lost") };
                let sides = if main_is_left { vec![main, other] } else { vec![other, main] };
                return replace_children_if_necessary(Arc::clone(plan), sides);
            }
        }
        if leads_to_join(plan)
            && let [only] = plan.children().as_slice()
        {
            let child = put_back(only, tables, semis)?;
            return replace_children_if_necessary(Arc::clone(plan), vec![child]);
        }
    }
    match tables.next() {
        Some(table) => Ok(table),
        None => internal_err!("a table was lost among joins"),
    }
}

/// Projections and filters over an inner or semi join.
pub(super) fn leads_to_join(plan: &Plan) -> bool {
    if plan.fetch().is_some() {
        return false;
    }
    if let Some(join) = plan.downcast_ref::<HashJoinExec>() {
        return is_plain_inner(join) || as_semi(join).is_some_and(|(main, ..)| leads_to_join(main));
    }
    if let Some(projection) = plan.downcast_ref::<ProjectionExec>() {
        return projection.expr().iter().all(|e| e.expr.is::<Column>()) && leads_to_join(projection.input());
    }
    match plan.downcast_ref::<FilterExec>() {
        Some(filter) => {
            let movable = !is_volatile(filter.predicate()) && !calls_udf(filter.predicate());
            movable && leads_to_join(filter.input())
        }
        None => false,
    }
}

pub(super) fn is_plain_inner(join: &HashJoinExec) -> bool {
    *join.join_type() == JoinType::Inner
        && join.null_equality() == NullEquality::NullEqualsNothing
        && join.fetch().is_none()
        && join.on().iter().all(|(l, r)| l.is::<Column>() && r.is::<Column>())
        && join.filter().is_none_or(|f| !is_volatile(f.expression()) && !calls_udf(f.expression()))
}

/// Of a semi join by keys alone: the side that is kept, the other one, and the columns of both.
pub(super) type SemiParts<'a> = (&'a Plan, &'a Plan, Vec<(usize, usize)>);

pub(super) fn as_semi(join: &HashJoinExec) -> Option<SemiParts<'_>> {
    if join.filter().is_some()
        || join.null_equality() != NullEquality::NullEqualsNothing
        || join.fetch().is_some()
    {
        return None;
    }
    let keys = |flip: bool| -> Option<Vec<(usize, usize)>> {
        let pair = |l: &Arc<dyn PhysicalExpr>, r: &Arc<dyn PhysicalExpr>| {
            let (l, r) = (l.downcast_ref::<Column>()?.index(), r.downcast_ref::<Column>()?.index());
            Some(if flip { (r, l) } else { (l, r) })
        };
        join.on().iter().map(|(l, r)| pair(l, r)).collect()
    };
    match join.join_type() {
        JoinType::LeftSemi => Some((join.left(), join.right(), keys(false)?)),
        JoinType::RightSemi => Some((join.right(), join.left(), keys(true)?)),
        JoinType::Inner
        | JoinType::Left
        | JoinType::Right
        | JoinType::Full
        | JoinType::LeftAnti
        | JoinType::RightAnti
        | JoinType::LeftMark
        | JoinType::RightMark => None,
    }
}
