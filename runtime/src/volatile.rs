//! Filters do not go through projections whose expressions are volatile.
//!
//! DataFusion's physical rules push a filter, or the bound that a sort with a limit learns, through a projection by
//! putting the projection's expressions in place of its columns. The expression is then evaluated twice: below, also on
//! rows that a filter further down excludes, and again in the projection, where a volatile one gives something else.
//! A volatile function runs once per surviving row, so in a plan with such a projection these rules are left out.

use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::physical_expr_common::physical_expr::is_volatile;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::projection::ProjectionExec;
use std::fmt;
use std::sync::Arc;

/// One of the rules that push filters down, for plans in which that is right.
pub struct WhereNotVolatile(Arc<dyn PhysicalOptimizerRule + Send + Sync>);

impl WhereNotVolatile {
    /// The rules, those that push filters down replaced.
    pub fn around(rules: &mut [Arc<dyn PhysicalOptimizerRule + Send + Sync>]) {
        for rule in rules.iter_mut().filter(|r| r.name().starts_with("FilterPushdown")) {
            *rule = Arc::new(WhereNotVolatile(Arc::clone(rule)));
        }
    }
}

impl fmt::Debug for WhereNotVolatile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WhereNotVolatile({:?})", self.0)
    }
}

impl PhysicalOptimizerRule for WhereNotVolatile {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn schema_check(&self) -> bool {
        self.0.schema_check()
    }

    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        config: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let mut volatile = false;
        plan.apply(|node| {
            let projection = node.downcast_ref::<ProjectionExec>();
            volatile |= projection.is_some_and(|p| p.expr().iter().any(|e| is_volatile(&e.expr)));
            Ok(if volatile { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
        })?;
        if volatile { Ok(plan) } else { self.0.optimize(plan, config) }
    }
}
