//! What a fused min or max tells the scan below it while it runs.
//!
//! DataFusion pushes a dynamic filter of an ungrouped `min(a), max(b)` down to the scan: only rows with
//! `a < least so far OR b > greatest so far` still matter, so files and row groups without any can be left
//! out. A stage that replaces the aggregate takes over its duty: every morsel's states tighten the bounds.
//!
//! Invariants:
//! * the filter must let every row pass that could change *any* of the aggregates, so there are bounds only
//!   where all of them are minima and maxima of plain columns (DataFusion's own operator forgets those of
//!   expressions);
//! * a run begins with a filter that lets everything pass, whatever an earlier run left.

use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::expressions::{BinaryExpr, Column, DynamicFilterPhysicalExpr, Literal};
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode};
use datafusion::physical_plan::{ExecutionPlan, PhysicalExpr};
use fuseline_codegen::ir::{Agg, AggState};
use fuseline_planner::FinalColumn;
use parking_lot::Mutex;
use std::sync::Arc;

/// A dynamic filter and what it is made from.
#[derive(Debug)]
pub struct Bounds {
    filter: Arc<dyn PhysicalExpr>,
    /// Per aggregate of the plan: its column, and whether it is a minimum.
    columns: Vec<(Arc<dyn PhysicalExpr>, bool)>,
    /// The states so far, and the values that the filter was last made from.
    state: Mutex<(Vec<AggState>, Vec<ScalarValue>)>,
}

impl Bounds {
    /// The bounds that one of the absorbed operators owed to the scan.
    pub fn of(absorbed: &[Arc<dyn ExecutionPlan>]) -> Option<Bounds> {
        let partial = absorbed
            .iter()
            .filter_map(|plan| plan.downcast_ref::<AggregateExec>())
            .find(|aggregate| *aggregate.mode() == AggregateMode::Partial)?;
        let filter = partial
            .dynamic_expressions_produced()
            .into_iter()
            .find(|e| e.is::<DynamicFilterPhysicalExpr>())?;
        let columns = partial
            .aggr_expr()
            .iter()
            .map(|aggregate| {
                let least = match aggregate.fun().name() {
                    "min" => true,
                    "max" => false,
                    _ => return None,
                };
                let [column] = aggregate.expressions().try_into().ok()?;
                let column: Arc<dyn PhysicalExpr> = column;
                column.is::<Column>().then_some((column, least))
            })
            .collect::<Option<_>>()?;
        Some(Bounds { filter, columns, state: Mutex::default() })
    }

    /// The filter, for whoever asks what the stage produces.
    pub fn filter(&self) -> &Arc<dyn PhysicalExpr> {
        &self.filter
    }

    /// Before the first row.
    pub fn begin(&self, aggs: &[Agg]) -> Result<()> {
        let mut state = self.state.lock();
        *state = (aggs.iter().map(AggState::empty).collect(), Vec::new());
        self.update(true_filter())
    }

    /// Takes a morsel's states in. The order of morsels does not matter to minima and maxima.
    pub fn observe(&self, states: &[AggState], aggs: &[Agg], finals: &[FinalColumn]) -> Result<()> {
        let mut state = self.state.lock();
        let (so_far, used) = &mut *state;
        for ((total, more), agg) in so_far.iter_mut().zip(states).zip(aggs) {
            total.merge(more, agg);
        }
        let values = finals.iter().map(|f| f.finish(so_far)).collect::<Result<Vec<_>>>()?;
        if values == *used {
            return Ok(());
        }
        let mut filter: Option<Arc<dyn PhysicalExpr>> = None;
        for ((column, least), value) in self.columns.iter().zip(&values) {
            if value.is_null() {
                // Nothing seen yet, so any row matters.
                return Ok(());
            }
            let operator = if *least { Operator::Lt } else { Operator::Gt };
            let bound = Arc::new(Literal::new(value.clone()));
            let better: Arc<dyn PhysicalExpr> =
                Arc::new(BinaryExpr::new(Arc::clone(column), operator, bound));
            filter = Some(match filter {
                None => better,
                Some(others) => Arc::new(BinaryExpr::new(others, Operator::Or, better)),
            });
        }
        *used = values;
        self.update(filter.unwrap_or_else(true_filter))
    }

    /// After the last row: no bound will change any more.
    pub fn complete(&self) {
        if let Some(filter) = self.dynamic() {
            filter.mark_complete();
        }
    }

    fn dynamic(&self) -> Option<&DynamicFilterPhysicalExpr> {
        self.filter.downcast_ref()
    }

    fn update(&self, filter: Arc<dyn PhysicalExpr>) -> Result<()> {
        self.dynamic().map_or(Ok(()), |dynamic| dynamic.update(filter))
    }
}

fn true_filter() -> Arc<dyn PhysicalExpr> {
    Arc::new(Literal::new(ScalarValue::Boolean(Some(true))))
}
