//! How many rows `range(...)` and `generate_series(...)` give, for whoever chooses the sides of a join.
//!
//! DataFusion's plan of a series has no statistics, so a join of a billion generated rows with a table of
//! a thousand would build a table of the billion whenever they are written first. The first physical
//! rule puts [`SeriesExec`] around the series, which shows itself as what it wraps and knows the
//! number of rows.
//!
//! The number is given as an estimate although it is exact: `count(*)` over a series stays a query that
//! visits its rows, which is what people measure with it.

use datafusion::common::config::ConfigOptions;
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{Result, Statistics, internal_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::metrics::MetricsSet;
use datafusion::physical_plan::{
    ChildrenPropertiesMode, DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties,
    ReplaceChildrenOptions, StatisticsArgs,
};
use fuseline_planner::series_rows;
use std::fmt;
use std::sync::Arc;

/// Wraps every series of a plan.
#[derive(Debug)]
pub(crate) struct SeriesRule;

impl PhysicalOptimizerRule for SeriesRule {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _config: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        plan.transform_up(|node| match series_rows(&node) {
            Some(rows) if SeriesExec::of(node.as_ref()).is_none() => {
                let rows = usize::try_from(rows).unwrap_or(usize::MAX);
                Ok(Transformed::yes(Arc::new(SeriesExec { inner: node, rows }) as Arc<dyn ExecutionPlan>))
            }
            Some(_) | None => Ok(Transformed::no(node)),
        })
        .data()
    }

    fn name(&self) -> &str {
        "fuseline_series"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// A series with the number of its rows.
#[derive(Debug)]
struct SeriesExec {
    inner: Arc<dyn ExecutionPlan>,
    rows: usize,
}

impl SeriesExec {
    /// The wrapper itself, which `downcast_ref` looks through.
    fn of(plan: &dyn ExecutionPlan) -> Option<&SeriesExec> {
        (plan as &dyn std::any::Any).downcast_ref()
    }
}

impl DisplayAs for SeriesExec {
    fn fmt_as(&self, t: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt_as(t, f)
    }
}

impl ExecutionPlan for SeriesExec {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn downcast_delegate(&self) -> Option<&dyn ExecutionPlan> {
        Some(self.inner.as_ref())
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.inner.properties()
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![]
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        self.inner.apply_expressions(f)
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        if children.is_empty() { Ok(self) } else { internal_err!("a series has no children") }
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn reset_state(self: Arc<Self>) -> Result<Arc<dyn ExecutionPlan>> {
        let inner = Arc::clone(&self.inner).reset_state()?;
        Ok(Arc::new(SeriesExec { inner, rows: self.rows }))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        self.inner.execute(partition, context)
    }

    fn metrics(&self) -> Option<MetricsSet> {
        self.inner.metrics()
    }

    fn statistics_from_inputs(
        &self,
        _input_stats: &[Arc<Statistics>],
        _args: &StatisticsArgs,
    ) -> Result<Arc<Statistics>> {
        // All rows are in its one partition; all its columns take 8 bytes.
        let width = 8 * self.schema().fields().len();
        let mut statistics = Statistics::new_unknown(&self.schema());
        statistics.num_rows = Precision::Inexact(self.rows);
        statistics.total_byte_size = Precision::Inexact(self.rows.saturating_mul(width));
        Ok(Arc::new(statistics))
    }
}
