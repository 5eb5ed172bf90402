//! Keeps filters from being pushed through projections that compute something volatile.
//!
//! DataFusion's physical `FilterPushdown` replaces a projection's columns in a filter by their expressions, whatever these
//! are: of `SELECT y FROM (SELECT f(x) AS y FROM t WHERE x < 9) WHERE y > 3` it makes `f(x) > 3 AND x < 9` below the
//! projection, which calls `f` on all rows and then once more. Its logical rules know better. So while that rule runs, such
//! projections are hidden behind a [`BarrierExec`], which takes no filters; the rule still goes on below them.

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{Result, internal_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr_common::physical_expr::is_volatile;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::{
    ChildrenPropertiesMode, DisplayAs, DisplayFormatType, ExecutionPlan, PhysicalExpr, PlanProperties,
    ReplaceChildrenOptions,
};
use std::fmt;
use std::sync::Arc;

/// The name that both of DataFusion's rules which push filters begin with.
const PUSHES_FILTERS: &str = "FilterPushdown";

/// A rule that does not see volatile projections.
#[derive(Debug)]
pub struct BehindBarriers(Arc<dyn PhysicalOptimizerRule + Send + Sync>);

impl BehindBarriers {
    /// The rule, kept from volatile projections if it pushes filters.
    pub fn around(
        rule: Arc<dyn PhysicalOptimizerRule + Send + Sync>,
    ) -> Arc<dyn PhysicalOptimizerRule + Send + Sync> {
        if rule.name().starts_with(PUSHES_FILTERS) { Arc::new(BehindBarriers(rule)) } else { rule }
    }
}

impl PhysicalOptimizerRule for BehindBarriers {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        config: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        if !plan.exists(|node| Ok(computes_volatile(node)))? {
            return self.0.optimize(plan, config);
        }
        let hidden = plan.transform_up(|node| {
            if !computes_volatile(&node) {
                return Ok(Transformed::no(node));
            }
            Ok(Transformed::yes(Arc::new(BarrierExec { inner: node }) as Arc<dyn ExecutionPlan>))
        });
        let optimized = self.0.optimize(hidden.data()?, config)?;
        let shown = optimized.transform_up(|node| match node.downcast_ref::<BarrierExec>() {
            Some(barrier) => Ok(Transformed::yes(Arc::clone(&barrier.inner))),
            None => Ok(Transformed::no(node)),
        });
        shown.data()
    }

    fn name(&self) -> &str {
        self.0.name()
    }

    fn schema_check(&self) -> bool {
        self.0.schema_check()
    }
}

fn computes_volatile(plan: &Arc<dyn ExecutionPlan>) -> bool {
    let projection = plan.downcast_ref::<ProjectionExec>();
    projection.is_some_and(|p| p.expr().iter().any(|e| is_volatile(&e.expr)))
}

/// A projection through which no filter is pushed.
#[derive(Debug)]
struct BarrierExec {
    inner: Arc<dyn ExecutionPlan>,
}

impl DisplayAs for BarrierExec {
    fn fmt_as(&self, t: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt_as(t, f)
    }
}

impl ExecutionPlan for BarrierExec {
    fn name(&self) -> &str {
        "BarrierExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.inner.properties()
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        self.inner.children()
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
        options: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let inner = Arc::clone(&self.inner).replace_children(children, options)?;
        Ok(Arc::new(BarrierExec { inner }))
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn execute(&self, _partition: usize, _context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        internal_err!("a barrier is there only while a plan is made")
    }
}
