//! When memory runs out: states as rows for DataFusion's final aggregate, which spills to disk.
//!
//! The workers stop where they are. Each becomes a partition of a [`StatesExec`] that emits the states it
//! has, then goes on through its share with an empty table, emitting states whenever that has become too
//! large. Over it stands the final aggregate that the stage had replaced, exchange included; in place of a
//! single aggregate one in the mode `Final`.

use super::partition::PartitionStream;
use super::worker::Worker;
use arrow::datatypes::SchemaRef;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Result, internal_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::EquivalenceProperties;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_plan::ExecutionPlanProperties;
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType, replace_children_if_necessary};
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PhysicalExpr, PlanProperties,
};
use fuseline_planner::GroupColumn;
use parking_lot::Mutex;
use std::fmt;
use std::sync::Arc;

/// The operators that a grouping stage stands for, from which the final aggregate is made.
#[derive(Clone)]
pub struct Replaced {
    /// The topmost aggregate.
    pub top: Arc<dyn ExecutionPlan>,
    /// What lies between it and the partial aggregate, if that is another one.
    pub exchange: Option<Arc<dyn ExecutionPlan>>,
}

/// What lies between the halves of the aggregate that is first of the absorbed operators; in place of a
/// single one, whose rows came by key, the exchange that its states need.
///
/// # Errors
/// Those of making that exchange.
pub fn exchange(absorbed: &[Arc<dyn ExecutionPlan>]) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let Some(top) = absorbed.first() else { return Ok(None) };
    let Some(aggregate) = top.downcast_ref::<AggregateExec>() else { return Ok(None) };
    match aggregate.mode() {
        AggregateMode::Single | AggregateMode::SinglePartitioned => {
            let replaced = Replaced { top: Arc::clone(top), exchange: None };
            let partial: Arc<dyn ExecutionPlan> = Arc::new(replaced.partial()?);
            let schema = partial.schema();
            let keys = (0..aggregate.group_expr().expr().len())
                .map(|i| Arc::new(Column::new(schema.field(i).name(), i)) as Arc<dyn PhysicalExpr>)
                .collect();
            let partitions = top.output_partitioning().partition_count();
            Ok(Some(Arc::new(RepartitionExec::try_new(partial, Partitioning::Hash(keys, partitions))?)))
        }
        AggregateMode::Partial
        | AggregateMode::Final
        | AggregateMode::FinalPartitioned
        | AggregateMode::PartialReduce => Ok(absorbed.get(1).cloned()),
    }
}

impl Replaced {
    /// The schema of the states.
    pub fn states_schema(&self) -> Result<SchemaRef> {
        match &self.exchange {
            Some(exchange) => Ok(exchange.schema()),
            None => Ok(self.partial()?.schema()),
        }
    }

    fn aggregate(&self) -> Result<&AggregateExec> {
        match self.top.downcast_ref::<AggregateExec>() {
            Some(aggregate) => Ok(aggregate),
            None => internal_err!("a grouping stage replaced {}", self.top.name()),
        }
    }

    /// The partial aggregate that would have come before a single one.
    fn partial(&self) -> Result<AggregateExec> {
        let top = self.aggregate()?;
        AggregateExec::try_new(
            AggregateMode::Partial,
            top.group_expr().clone(),
            top.aggr_expr().to_vec(),
            top.filter_expr().to_vec(),
            Arc::clone(top.input()),
            top.input_schema(),
        )
    }

    /// The final aggregate over these states.
    fn over(&self, states: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
        if let Some(exchange) = &self.exchange {
            let exchange = replace_children_if_necessary(Arc::clone(exchange), vec![states])?;
            return replace_children_if_necessary(Arc::clone(&self.top), vec![exchange]);
        }
        let top = self.aggregate()?;
        Ok(Arc::new(AggregateExec::try_new(
            AggregateMode::Final,
            top.group_expr().as_final(),
            top.aggr_expr().to_vec(),
            vec![None; top.aggr_expr().len()],
            states,
            top.input_schema(),
        )?))
    }
}

/// Has DataFusion finish what the workers began; one stream per output partition.
pub(super) fn finish(
    workers: Vec<Worker>,
    replaced: &Replaced,
    states: &Arc<[GroupColumn]>,
    context: &Arc<TaskContext>,
) -> Result<Vec<SendableRecordBatchStream>> {
    let schema = replaced.states_schema()?;
    let partitions = workers.len();
    let batch_size = context.session_config().batch_size();
    let streams = workers
        .into_iter()
        .map(|w| Some(PartitionStream::new(w, Arc::clone(states), Arc::clone(&schema), batch_size)))
        .collect();
    let properties = PlanProperties::new(
        EquivalenceProperties::new(schema),
        Partitioning::UnknownPartitioning(partitions),
        EmissionType::Final,
        Boundedness::Bounded,
    );
    let states = StatesExec { streams: Mutex::new(streams), properties: Arc::new(properties) };
    let plan = replaced.over(Arc::new(states))?;
    let outputs = plan.properties().output_partitioning().partition_count();
    (0..outputs).map(|p| plan.execute(p, Arc::clone(context))).collect()
}

/// The workers as a plan. It can be executed once.
struct StatesExec {
    streams: Mutex<Vec<Option<PartitionStream>>>,
    properties: Arc<PlanProperties>,
}

impl fmt::Debug for StatesExec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StatesExec").finish_non_exhaustive()
    }
}

impl DisplayAs for StatesExec {
    fn fmt_as(&self, _t: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StatesExec")
    }
}

impl ExecutionPlan for StatesExec {
    fn name(&self) -> &'static str {
        "StatesExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![]
    }

    fn apply_expressions(
        &self,
        _f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        _children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn execute(&self, partition: usize, _context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        match self.streams.lock().get_mut(partition).and_then(Option::take) {
            Some(stream) => Ok(Box::pin(stream)),
            None => internal_err!("the states of worker {partition} were asked for twice"),
        }
    }
}
