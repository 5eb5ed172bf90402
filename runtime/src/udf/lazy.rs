//! AND and OR whose right side is evaluated only where the left does not decide, for operators that
//! are not fused.
//!
//! DataFusion evaluates the right side on all rows unless few pass the left. That is no matter for
//! its own functions; a user-defined one must never see a row that the left side excludes.
//!
//! Functions stand in filters, projections and the filters of joins only: [`crate::udf::hoist`] has
//! moved them out of all other operators. A gap: for a nested-loop join DataFusion computes what its
//! filter says about one side below the join, once per row of that side, excluded or not.

use crate::udf::entries::calls_udf;
use crate::udf::share::share_calls;
use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::{and_kleene, not, or_kleene};
use arrow::datatypes::{DataType, FieldRef, Schema};
use datafusion::common::Result;
use datafusion::common::cast::as_boolean_array;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::logical_expr::{ColumnarValue, Operator};
use datafusion::physical_expr::expressions::BinaryExpr;
use datafusion::physical_plan::filter::{FilterExec, FilterExecBuilder};
use datafusion::physical_plan::joins::utils::JoinFilter;
use datafusion::physical_plan::joins::{
    HashJoinExec, NestedLoopJoinExec, NestedLoopJoinExecBuilder, SortMergeJoinExec, SymmetricHashJoinExec,
};
use datafusion::physical_plan::projection::{ProjectionExec, ProjectionExpr};
use datafusion::physical_plan::{ExecutionPlan, PhysicalExpr};
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// `left AND right` or `left OR right`, lazy.
#[derive(Debug)]
struct LazyLogic {
    left: Arc<dyn PhysicalExpr>,
    right: Arc<dyn PhysicalExpr>,
    and: bool,
    /// What it stands for, for EXPLAIN and types.
    original: Arc<dyn PhysicalExpr>,
}

impl PartialEq for LazyLogic {
    fn eq(&self, other: &LazyLogic) -> bool {
        self.and == other.and && self.left.eq(&other.left) && self.right.eq(&other.right)
    }
}

impl Eq for LazyLogic {}

impl Hash for LazyLogic {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.left.hash(state);
        self.right.hash(state);
    }
}

impl fmt::Display for LazyLogic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.left, if self.and { "AND" } else { "OR" }, self.right)
    }
}

impl PhysicalExpr for LazyLogic {
    fn data_type(&self, _input_schema: &Schema) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn nullable(&self, input_schema: &Schema) -> Result<bool> {
        self.original.nullable(input_schema)
    }

    fn return_field(&self, input_schema: &Schema) -> Result<FieldRef> {
        self.original.return_field(input_schema)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        let rows = batch.num_rows();
        let left = self.left.evaluate(batch)?.into_array(rows)?;
        let left = as_boolean_array(&left)?;
        // The right side matters where the left is not false (AND), not true (OR); NULL is neither.
        let values = if self.and { left.clone() } else { not(left)? };
        let open: BooleanArray = values.iter().map(|v| Some(v.unwrap_or(true))).collect();
        if open.true_count() == 0 {
            return Ok(ColumnarValue::Array(Arc::new(left.clone())));
        }
        let right = self.right.evaluate_selection(batch, &open)?.into_array(rows)?;
        let right = as_boolean_array(&right)?;
        let result = if self.and { and_kleene(left, right)? } else { or_kleene(left, right)? };
        Ok(ColumnarValue::Array(Arc::new(result)))
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.left, &self.right]
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn PhysicalExpr>>,
    ) -> Result<Arc<dyn PhysicalExpr>> {
        let original = Arc::clone(&self.original).with_new_children(children.clone())?;
        match <[_; 2]>::try_from(children) {
            Ok([left, right]) => Ok(Arc::new(LazyLogic { left, right, and: self.and, original })),
            Err(_) => Ok(self),
        }
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.original.fmt_sql(f)
    }
}

/// The expression with lazy AND and OR above user-defined functions; `None` if there are none.
fn lazy(expr: &Arc<dyn PhysicalExpr>) -> Result<Option<Arc<dyn PhysicalExpr>>> {
    if !calls_udf(expr) {
        return Ok(None);
    }
    let changed = Arc::clone(expr).transform_up(|e| {
        let Some(binary) = e.downcast_ref::<BinaryExpr>() else {
            return Ok(Transformed::no(e));
        };
        let and = match binary.op() {
            Operator::And => true,
            Operator::Or => false,
            _ => return Ok(Transformed::no(e)),
        };
        if !calls_udf(binary.right()) {
            return Ok(Transformed::no(e));
        }
        let (left, right) = (Arc::clone(binary.left()), Arc::clone(binary.right()));
        Ok(Transformed::yes(Arc::new(LazyLogic { left, right, and, original: e }) as _))
    })?;
    Ok(changed.transformed.then_some(changed.data))
}

/// A join's filter with lazy AND and OR; `None` if it needs none.
fn lazy_filter(filter: Option<&JoinFilter>) -> Result<Option<JoinFilter>> {
    let Some(filter) = filter else { return Ok(None) };
    let (columns, schema) = (filter.column_indices().to_vec(), Arc::clone(filter.schema()));
    Ok(lazy(filter.expression())?.map(|expression| JoinFilter::new(expression, columns, schema)))
}

/// The join with a lazy filter; `None` if it is no join, or needs none.
fn lazy_join(plan: &Arc<dyn ExecutionPlan>) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    if let Some(join) = plan.downcast_ref::<HashJoinExec>() {
        let filter = lazy_filter(join.filter())?;
        return filter.map(|f| join.builder().with_filter(Some(f)).build_exec()).transpose();
    }
    if let Some(join) = plan.downcast_ref::<NestedLoopJoinExec>() {
        let Some(filter) = lazy_filter(join.filter())? else { return Ok(None) };
        return Ok(Some(Arc::new(NestedLoopJoinExecBuilder::from(join).with_filter(Some(filter)).build()?)));
    }
    if let Some(join) = plan.downcast_ref::<SortMergeJoinExec>() {
        let Some(filter) = lazy_filter(join.filter().as_ref())? else { return Ok(None) };
        return Ok(Some(Arc::new(SortMergeJoinExec::try_new(
            Arc::clone(join.left()),
            Arc::clone(join.right()),
            join.on().to_vec(),
            Some(filter),
            join.join_type(),
            join.sort_options().to_vec(),
            join.null_equality(),
        )?)));
    }
    if let Some(join) = plan.downcast_ref::<SymmetricHashJoinExec>() {
        let Some(filter) = lazy_filter(join.filter())? else { return Ok(None) };
        return Ok(Some(Arc::new(SymmetricHashJoinExec::try_new(
            Arc::clone(join.left()),
            Arc::clone(join.right()),
            join.on().to_vec(),
            Some(filter),
            join.join_type(),
            join.null_equality(),
            join.left_sort_exprs().cloned(),
            join.right_sort_exprs().cloned(),
            join.partition_mode(),
        )?)));
    }
    Ok(None)
}

/// The operator with lazy expressions, where it is a filter, projection or join that needs them.
///
/// # Errors
/// DataFusion's, should the operator not take its own expressions back.
pub fn lazy_operator(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    if let Some(filter) = plan.downcast_ref::<FilterExec>() {
        return Ok(match lazy(filter.predicate())? {
            Some(predicate) => Arc::new(FilterExecBuilder::from(filter).with_predicate(predicate).build()?),
            None => plan,
        });
    }
    if let Some(projection) = plan.downcast_ref::<ProjectionExec>() {
        let mut changed = false;
        let mut exprs = Vec::with_capacity(projection.expr().len());
        for e in projection.expr() {
            let expr = lazy(&e.expr)?;
            changed |= expr.is_some();
            exprs.push(ProjectionExpr {
                expr: expr.unwrap_or_else(|| Arc::clone(&e.expr)),
                alias: e.alias.clone(),
            });
        }
        if changed {
            return Ok(Arc::new(ProjectionExec::try_new(exprs, Arc::clone(projection.input()))?));
        }
    }
    Ok(lazy_join(&plan)?.unwrap_or(plan))
}

/// A whole plan with lazy expressions, and without calls that filters and projections repeat.
///
/// # Errors
/// As [`lazy_operator`] and [`share_calls`].
pub fn lazy_plan(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    let plan = plan
        .transform_down(|node| {
            let before = Arc::clone(&node);
            let after = share_calls(node)?;
            Ok(if Arc::ptr_eq(&before, &after) { Transformed::no(after) } else { Transformed::yes(after) })
        })
        .data()?;
    plan.transform_up(|node| {
        let before = Arc::clone(&node);
        let after = lazy_operator(node)?;
        Ok(if Arc::ptr_eq(&before, &after) { Transformed::no(after) } else { Transformed::yes(after) })
    })
    .data()
}
