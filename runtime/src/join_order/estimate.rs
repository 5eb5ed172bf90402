//! How many rows a plan gives, about: enough to tell orders of joins apart.
//!
//! The rows of tables are known, and what a filter keeps of a table in memory is tried on a sample of it.
//! Everything else is a guess by the form of what is asked.

use super::Plan;
use crate::source::MemoryTable;
use crate::udf::entries::calls_udf;
use arrow::array::{Array, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};
use datafusion::common::cast::as_boolean_array;
use datafusion::common::stats::Precision;
use datafusion::common::{JoinType, ScalarValue};
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::expressions::{BinaryExpr, Column, InListExpr, LikeExpr, NotExpr};
use datafusion::physical_expr::split_conjunction;
use datafusion::physical_expr_common::physical_expr::is_volatile;
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateInputMode};
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::joins::HashJoinExec;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::union::UnionExec;
use datafusion::physical_plan::{PhysicalExpr, StatisticsArgs, StatisticsContext};
use std::collections::HashSet;
use std::sync::Arc;

/// Rows of a source that says nothing.
const UNKNOWN: f64 = 1e6;
/// Groups per row of what is grouped.
const GROUPS: f64 = 0.2;
/// Pieces of a table that a filter is tried on, and rows of each.
const PIECES: usize = 8;
const PIECE_ROWS: usize = 512;

/// Of a plan.
#[derive(Clone, Copy, Debug)]
pub(super) struct Estimate {
    pub rows: f64,
    /// Without the filters on the way: how many different keys there may be.
    pub base: f64,
}

pub(super) fn estimate(plan: &Plan) -> Estimate {
    let of = within(plan);
    match plan.fetch() {
        Some(fetch) => Estimate { rows: of.rows.min(fetch as f64), ..of },
        None => of,
    }
}

fn within(plan: &Plan) -> Estimate {
    if let Some(filter) = plan.downcast_ref::<FilterExec>() {
        let below = estimate(filter.input());
        let kept = kept_by(filter.predicate(), filter.input());
        return Estimate { rows: below.rows * kept, ..below };
    }
    if let Some(aggregate) = plan.downcast_ref::<AggregateExec>() {
        let below = estimate(aggregate.input());
        if aggregate.group_expr().is_true_no_grouping() {
            return Estimate { rows: 1.0, base: 1.0 };
        }
        if aggregate.mode().input_mode() == AggregateInputMode::Partial {
            return below;
        }
        let rows = (below.rows * GROUPS).max(1.0);
        return Estimate { rows, base: rows };
    }
    if let Some(join) = plan.downcast_ref::<HashJoinExec>() {
        return joined(join);
    }
    if plan.is::<UnionExec>() {
        let all = plan.children().into_iter().map(estimate);
        return all.fold(Estimate { rows: 0.0, base: 0.0 }, |a, b| Estimate {
            rows: a.rows + b.rows,
            base: a.base + b.base,
        });
    }
    match plan.children().as_slice() {
        [only] => estimate(only),
        [] => {
            let rows = known_rows(plan);
            Estimate { rows, base: rows }
        }
        several => {
            let rows = several.iter().map(|c| estimate(c).rows).fold(1.0, f64::max);
            Estimate { rows, base: rows }
        }
    }
}

fn joined(join: &HashJoinExec) -> Estimate {
    let (left, right) = (estimate(join.left()), estimate(join.right()));
    let keys = left.base.min(right.base).max(1.0);
    let pairs = left.rows * right.rows / keys;
    // What share of its keys one side still has.
    let share = |of: Estimate| (of.rows / of.base.max(1.0)).min(1.0);
    let rows = match join.join_type() {
        JoinType::Inner => pairs,
        JoinType::Left => pairs.max(left.rows),
        JoinType::Right => pairs.max(right.rows),
        JoinType::Full => pairs.max(left.rows + right.rows),
        JoinType::LeftSemi => left.rows * share(right),
        JoinType::RightSemi => right.rows * share(left),
        JoinType::LeftAnti => left.rows * (1.0 - share(right)).max(0.1),
        JoinType::RightAnti => right.rows * (1.0 - share(left)).max(0.1),
        JoinType::LeftMark => left.rows,
        JoinType::RightMark => right.rows,
    };
    Estimate { rows: rows.max(1.0), base: left.base.max(right.base) }
}

fn known_rows(plan: &Plan) -> f64 {
    if let Some(table) = MemoryTable::of(plan) {
        return table.rows() as f64;
    }
    let statistics = StatisticsContext::new().compute(plan.as_ref(), &StatisticsArgs::new());
    match statistics.map(|s| s.num_rows) {
        Ok(Precision::Exact(rows) | Precision::Inexact(rows)) => rows as f64,
        Ok(Precision::Absent) | Err(_) => UNKNOWN,
    }
}

/// The share of its rows that a filter keeps.
fn kept_by(predicate: &Arc<dyn PhysicalExpr>, input: &Plan) -> f64 {
    tried(predicate, input)
        .unwrap_or_else(|| split_conjunction(predicate).into_iter().map(guessed).product::<f64>().max(1e-6))
}

/// Tries a predicate on some rows of a table in memory; on all of a small one.
fn tried(predicate: &Arc<dyn PhysicalExpr>, input: &Plan) -> Option<f64> {
    if is_volatile(predicate) || calls_udf(predicate) {
        return None;
    }
    let table = MemoryTable::of(input)?;
    let (mut seen, mut kept) = (0usize, 0usize);
    for batch in table.sample(PIECES, PIECE_ROWS) {
        let batch = batch.ok()?;
        let result = predicate.evaluate(&batch).ok()?.into_array(batch.num_rows()).ok()?;
        seen += batch.num_rows();
        kept += as_boolean_array(&result).ok()?.true_count();
    }
    // That none was seen does not mean that there is none.
    if seen == 0 { None } else { Some((kept as f64).max(0.3) / seen as f64) }
}

/// A guess by the form of a condition.
fn guessed(condition: &Arc<dyn PhysicalExpr>) -> f64 {
    if let Some(binary) = condition.downcast_ref::<BinaryExpr>() {
        let columns = [binary.left(), binary.right()].iter().all(|e| e.is::<Column>());
        return match binary.op() {
            Operator::And => guessed(binary.left()) * guessed(binary.right()),
            Operator::Or => (guessed(binary.left()) + guessed(binary.right())).min(1.0),
            Operator::Eq if columns => 0.2,
            Operator::Eq => 0.05,
            Operator::NotEq => 0.9,
            Operator::Lt | Operator::LtEq | Operator::Gt | Operator::GtEq => 0.4,
            _other => 0.3,
        };
    }
    if let Some(list) = condition.downcast_ref::<InListExpr>() {
        let share = (list.list().len() as f64 * 0.05).min(0.5);
        return if list.negated() { 1.0 - share } else { share };
    }
    if let Some(like) = condition.downcast_ref::<LikeExpr>() {
        return if like.negated() { 0.9 } else { 0.1 };
    }
    if let Some(not) = condition.downcast_ref::<NotExpr>() {
        return 1.0 - guessed(not.arg()).min(0.9);
    }
    0.3
}

/// At most how many different values a column has, where its range or a sample tells.
pub(super) fn different(plan: &Plan, column: usize) -> Option<f64> {
    if let Some(table) = MemoryTable::of(plan) {
        return sampled(&table, column);
    }
    if let Some(filter) = plan.downcast_ref::<FilterExec>() {
        let below = filter.projection().as_ref().map_or(column, |p| p[column]);
        return different(filter.input(), below);
    }
    if let Some(projection) = plan.downcast_ref::<ProjectionExec>() {
        let below = projection.expr().get(column)?.expr.downcast_ref::<Column>()?.index();
        return different(projection.input(), below);
    }
    if let Some(join) = plan.downcast_ref::<HashJoinExec>() {
        let column = join.projection.as_ref().map_or(column, |p| p[column]);
        return match join.join_type() {
            JoinType::LeftSemi | JoinType::LeftAnti => different(join.left(), column),
            JoinType::RightSemi | JoinType::RightAnti => different(join.right(), column),
            JoinType::Inner
            | JoinType::Left
            | JoinType::Right
            | JoinType::Full
            | JoinType::LeftMark
            | JoinType::RightMark => None,
        };
    }
    if !plan.children().is_empty() {
        return None;
    }
    let statistics = StatisticsContext::new().compute(plan.as_ref(), &StatisticsArgs::new()).ok()?;
    let of = statistics.column_statistics.get(column)?;
    if let Some(count) = of.distinct_count.get_value() {
        return Some(*count as f64);
    }
    let number = |v: &ScalarValue| match v.cast_to(&DataType::Int64) {
        Ok(ScalarValue::Int64(Some(n))) if v.data_type().is_integer() => Some(n as f64),
        Ok(_) | Err(_) => None,
    };
    let (least, most) = (number(of.min_value.get_value()?)?, number(of.max_value.get_value()?)?);
    Some(most - least + 1.0)
}

/// Of integers the range of a sample; of others how many differ, where that is few.
fn sampled(table: &MemoryTable, column: usize) -> Option<f64> {
    let (mut least, mut most) = (i64::MAX, i64::MIN);
    let (mut texts, mut seen) = (HashSet::new(), 0);
    for batch in table.sample(PIECES, PIECE_ROWS) {
        let batch = batch.ok()?;
        let array = batch.columns().get(column)?;
        if array.data_type().is_integer() {
            let numbers = cast(array, &DataType::Int64).ok()?;
            let numbers = numbers.as_primitive::<Int64Type>();
            least = least.min(arrow::compute::min(numbers).unwrap_or(i64::MAX));
            most = most.max(arrow::compute::max(numbers).unwrap_or(i64::MIN));
        } else {
            let shown = cast(array, &DataType::Utf8).ok()?;
            texts.extend(shown.as_string::<i32>().iter().flatten().map(str::to_owned));
            seen += shown.len();
        }
    }
    if least <= most {
        return Some(most as f64 - least as f64 + 1.0);
    }
    // Where hardly any comes twice, there are as many as rows.
    if texts.len() * 4 < seen { Some(texts.len() as f64) } else { None }
}
