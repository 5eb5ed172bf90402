//! Keys that a join cannot use are not grouped.
//!
//! ```text
//! part(filtered) JOIN lineitem, semi-joined with    avg by l_partkey of all of lineitem
//!                                                   ^ only groups of the filtered parts meet anything
//! ```
//!
//! Where one side of a join is grouped by a key of the join, and the values that the other side has of that key
//! come from a table of which a filter keeps little, a semi join with that table goes below the groups. The
//! table is read twice; it is a scan with a filter, and groups that nobody meets cost more.

use super::Plan;
use super::estimate::estimate;
use super::graph::right_semi;
use crate::udf::entries::calls_udf;
use datafusion::common::{JoinSide, JoinType, NullEquality, Result};
use datafusion::datasource::source::DataSourceExec;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr_common::physical_expr::is_volatile;
use datafusion::physical_plan::PhysicalExpr;
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateInputMode};
use datafusion::physical_plan::execution_plan::{replace_children_if_necessary, reset_plan_states};
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::joins::HashJoinExec;
use datafusion::physical_plan::projection::{ProjectionExec, ProjectionExpr};
use std::sync::Arc;

/// What a filter may keep of a table at most.
const SELECTIVE: f64 = 0.2;
/// Fewer rows are grouped as they are.
const LEAST_ROWS: f64 = 50_000.0;

/// A column of a filtered table, and the share of its rows that is kept.
struct Source {
    table: Plan,
    column: usize,
    share: f64,
}

/// The join over fewer groups, where that pays.
///
/// # Errors
/// Those of making operators.
pub(super) fn with_fewer_groups(plan: &Plan) -> Result<Option<Plan>> {
    let Some(join) = plan.downcast_ref::<HashJoinExec>() else { return Ok(None) };
    if join.null_equality() != NullEquality::NullEqualsNothing || join.null_aware {
        return Ok(None);
    }
    // Rows of this side that meet nothing are of no consequence.
    let (left_free, right_free) = match join.join_type() {
        JoinType::Inner | JoinType::LeftSemi | JoinType::RightSemi => (true, true),
        JoinType::Left | JoinType::LeftAnti | JoinType::LeftMark => (false, true),
        JoinType::Right | JoinType::RightAnti | JoinType::RightMark => (true, false),
        JoinType::Full => (false, false),
    };
    for (left_is_grouped, free) in [(false, right_free), (true, left_free)] {
        let (grouped, other) =
            if left_is_grouped { (join.left(), join.right()) } else { (join.right(), join.left()) };
        if !free {
            continue;
        }
        for (l, r) in join.on() {
            let (key, met) = if left_is_grouped { (l, r) } else { (r, l) };
            let (Some(key), Some(met)) = (key.downcast_ref::<Column>(), met.downcast_ref::<Column>()) else {
                continue;
            };
            let Some(source) = source_of(other, met.index()).filter(|s| s.share < SELECTIVE) else {
                continue;
            };
            let Some(fewer) = below_groups(grouped, key.index(), &source)? else { continue };
            let sides =
                if left_is_grouped { vec![fewer, Arc::clone(other)] } else { vec![Arc::clone(other), fewer] };
            return replace_children_if_necessary(Arc::clone(plan), sides).map(Some);
        }
    }
    Ok(None)
}

/// The plan with a semi join below its groups, if it is grouped by this column.
fn below_groups(plan: &Plan, column: usize, source: &Source) -> Result<Option<Plan>> {
    if plan.fetch().is_some() {
        return Ok(None);
    }
    if let Some(projection) = plan.downcast_ref::<ProjectionExec>() {
        let Some(below) = projection.expr()[column].expr.downcast_ref::<Column>() else { return Ok(None) };
        return over(plan, below_groups(projection.input(), below.index(), source)?);
    }
    if let Some(filter) = plan.downcast_ref::<FilterExec>() {
        let below = filter.projection().as_ref().map_or(column, |p| p[column]);
        return over(plan, below_groups(filter.input(), below, source)?);
    }
    let Some(aggregate) = plan.downcast_ref::<AggregateExec>() else { return Ok(None) };
    let groups = aggregate.group_expr();
    let Some((key, _)) = groups.expr().get(column).filter(|_| groups.is_single()) else { return Ok(None) };
    if aggregate.mode().input_mode() == AggregateInputMode::Partial {
        return over(plan, below_groups(aggregate.input(), column, source)?);
    }
    let input = aggregate.input();
    let Some(key) = key.downcast_ref::<Column>() else { return Ok(None) };
    let (build, probe) = (source.table.schema(), input.schema());
    let same_type = build.field(source.column).data_type() == probe.field(key.index()).data_type();
    if !same_type || estimate(input).rows < LEAST_ROWS {
        return Ok(None);
    }
    let name = build.field(source.column).name();
    let keys: Vec<ProjectionExpr> =
        vec![ProjectionExpr::new(Arc::new(Column::new(name, source.column)), name.clone())];
    // A scan deals its files to its partitions; a copy that shared the dealing would find them taken.
    let again = reset_plan_states(Arc::clone(&source.table))?;
    let keys = Arc::new(ProjectionExec::try_new(keys, again)?);
    let on: Vec<(Arc<dyn PhysicalExpr>, Arc<dyn PhysicalExpr>)> =
        vec![(Arc::new(Column::new(name, 0)), Arc::new(key.clone()))];
    over(plan, Some(right_semi(keys, Arc::clone(input), on)?))
}

fn over(plan: &Plan, child: Option<Plan>) -> Result<Option<Plan>> {
    match child {
        Some(child) => replace_children_if_necessary(Arc::clone(plan), vec![child]).map(Some),
        None => Ok(None),
    }
}

/// Where all values of a column come from that a plan gives, NULLs aside: the most selective such table.
fn source_of(plan: &Plan, column: usize) -> Option<Source> {
    if plan.fetch().is_some() {
        return None;
    }
    if let Some(projection) = plan.downcast_ref::<ProjectionExec>() {
        let below = projection.expr().get(column)?.expr.downcast_ref::<Column>()?.index();
        return source_of(projection.input(), below);
    }
    if let Some(filter) = plan.downcast_ref::<FilterExec>() {
        // Files and tables in memory, which can be read twice; another source may give its rows once.
        if filter.input().is::<DataSourceExec>() {
            let foreign = is_volatile(filter.predicate()) || calls_udf(filter.predicate());
            let of = estimate(plan);
            let share = of.rows / of.base.max(1.0);
            return (!foreign).then(|| Source { table: Arc::clone(plan), column, share });
        }
        let below = filter.projection().as_ref().map_or(column, |p| p[column]);
        return source_of(filter.input(), below);
    }
    let join = plan.downcast_ref::<HashJoinExec>()?;
    let column = join.projection.as_ref().map_or(column, |p| p[column]);
    let width = join.left().schema().fields().len();
    let side = match join.join_type() {
        JoinType::Inner | JoinType::Left | JoinType::Right | JoinType::Full => {
            if column < width {
                JoinSide::Left
            } else {
                JoinSide::Right
            }
        }
        JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark => JoinSide::Left,
        JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark => JoinSide::Right,
    };
    let pairs =
        matches!(join.join_type(), JoinType::Inner | JoinType::Left | JoinType::Right | JoinType::Full);
    let (own, own_column) = match side {
        JoinSide::Left if column < width => (join.left(), column),
        JoinSide::Right => {
            let below = if pairs { column - width } else { column };
            (join.right(), below)
        }
        // The mark itself.
        JoinSide::Left | JoinSide::None => return None,
    };
    if own_column >= own.schema().fields().len() {
        return None;
    }
    let mut best = source_of(own, own_column);
    // What it is equal to on the other side has the same values, where every row has a partner.
    if matches!(join.join_type(), JoinType::Inner | JoinType::LeftSemi | JoinType::RightSemi) {
        for (l, r) in join.on() {
            let (mine, others) = if side == JoinSide::Left { (l, r) } else { (r, l) };
            let is_it = mine.downcast_ref::<Column>().is_some_and(|c| c.index() == own_column);
            if let (true, Some(others)) = (is_it, others.downcast_ref::<Column>()) {
                let other = if side == JoinSide::Left { join.right() } else { join.left() };
                if let Some(source) = source_of(other, others.index())
                    && best.as_ref().is_none_or(|b| source.share < b.share)
                {
                    best = Some(source);
                }
            }
        }
    }
    best
}
