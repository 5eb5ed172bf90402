//! Grouping stages: workers that fill tables, and what becomes of the tables.
//!
//! A [`worker::Worker`] takes the rows of one share through the stage into a table of its own. Where each
//! partition is grouped by itself, [`partition`] hands its table on. Where all rows are grouped together,
//! [`whole`] runs the workers of all shares, [`merge`] makes one set of groups of their tables, and
//! [`deal`] gives every output partition the groups that it is due. When the memory pool refuses a table
//! its growth, [`spill`] has the states go on as rows to DataFusion's own final aggregate, which spills.
//!
//! A worker whose table grows too large has dealt its records to parts of the hash space by then
//! (`fuseline_codegen::groups`); [`merge`] makes the groups of each part, and of tables that are worth it.
//!
//! Invariants:
//! * shares are contiguous and fixed before the first row is read, rows of a share come in order, and
//!   tables are merged in the order of the shares: a float sum is the same at every run with as many
//!   shares;
//! * nothing leaves a stage before all its rows were read, unless as states.

mod deal;
mod merge;
mod partition;
mod spill;
mod whole;
mod worker;

pub use partition::PartitionStream;
pub use whole::output_stream;
pub use worker::{Worker, WorkerParts};

use crate::fused_exec::Ready;
use crate::program::{Program, with_rows};
use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::SchemaRef;
use datafusion::common::{Result, internal_err};
use datafusion::execution::TaskContext;
use datafusion::execution::memory_pool::MemoryLimit;
use datafusion::physical_plan::{ExecutionPlan, Partitioning, PhysicalExpr, PlanProperties};
use deal::Shape;
use fuseline_codegen::groups::{Groups, MayDeal};
use fuseline_planner::GroupColumn;
use fuseline_planner::stage::{GroupScope, StageSink};
use spill::Replaced;
use std::ops::Range;
use std::sync::Arc;
use whole::{Run, WholeJob, WholeRuns};

/// What a grouping operator knows beyond its program.
pub struct Grouping {
    pub scope: GroupScope,
    pub columns: Arc<[GroupColumn]>,
    states: Arc<[GroupColumn]>,
    schema: SchemaRef,
    replaced: Replaced,
    /// The expressions by whose hash rows are dealt to the partitions, where somebody relies on it.
    hash: Option<Vec<Arc<dyn PhysicalExpr>>>,
    pub runs: WholeRuns,
}

impl Grouping {
    /// `None` when the stage does not group. `absorbed` are the operators it replaces, top first, and
    /// `properties` those of the first.
    ///
    /// # Errors
    /// `Internal` when there is no operator on top.
    pub fn of(
        program: &Program,
        absorbed: &[Arc<dyn ExecutionPlan>],
        properties: &PlanProperties,
        partitioning_matters: bool,
    ) -> Result<Option<Grouping>> {
        let StageSink::Group { columns, states, scope, schema } = &program.stage().sink else {
            return Ok(None);
        };
        let Some(top) = absorbed.first() else { return internal_err!("a stage replaces nothing") };
        let exchange = if *scope == GroupScope::All { spill::exchange(absorbed)? } else { None };
        let hash = match properties.output_partitioning() {
            Partitioning::Hash(keys, _) if partitioning_matters => Some(keys.clone()),
            Partitioning::Hash(..)
            | Partitioning::RoundRobinBatch(_)
            | Partitioning::Range(..)
            | Partitioning::UnknownPartitioning(_) => None,
        };
        Ok(Some(Grouping {
            scope: *scope,
            columns: columns.as_slice().into(),
            states: states.as_slice().into(),
            schema: Arc::clone(schema),
            replaced: Replaced { top: Arc::clone(top), exchange },
            hash,
            runs: WholeRuns::default(),
        }))
    }

    /// The same for a copy of the operator that runs on its own.
    pub fn fresh(&self) -> Grouping {
        Grouping {
            scope: self.scope,
            columns: Arc::clone(&self.columns),
            states: Arc::clone(&self.states),
            schema: Arc::clone(&self.schema),
            replaced: self.replaced.clone(),
            hash: self.hash.clone(),
            runs: WholeRuns::default(),
        }
    }

    pub fn shape(&self, batch_size: usize) -> Shape {
        let (columns, schema) = (Arc::clone(&self.columns), Arc::clone(&self.schema));
        Shape { columns, schema, batch_size }
    }

    /// Groups the rows of all these workers together, once the program is ready if it waits for tables.
    ///
    /// # Errors
    /// None so far: what fails, fails when the run is polled.
    pub fn start(
        &self,
        mut workers: Vec<Worker>,
        ready: Option<Ready>,
        outputs: usize,
        context: &Arc<TaskContext>,
    ) -> Result<Run> {
        let may = if workers.len() > 1 { MayDeal::Always } else { MayDeal::Hashed };
        // Memory beside a limit is for nobody to keep.
        let limit = context.memory_pool().memory_limit();
        let keep = !matches!(limit, MemoryLimit::Finite(_));
        for worker in &mut workers {
            worker.groups.allow_dealing(may, keep);
        }
        let job = WholeJob {
            shape: self.shape(context.session_config().batch_size()),
            states: Arc::clone(&self.states),
            replaced: self.replaced.clone(),
            outputs,
            hash: self.hash.clone(),
            context: Arc::clone(context),
        };
        Ok(job.start(workers, ready))
    }
}

/// Some groups of a settled table as a batch.
pub(crate) fn groups_batch(
    groups: &Groups,
    rows: Range<usize>,
    columns: &[GroupColumn],
    schema: &SchemaRef,
) -> Result<RecordBatch> {
    let arrays: Vec<ArrayRef> = columns
        .iter()
        .zip(schema.fields())
        .map(|(column, field)| column.array(groups, rows.clone(), field.data_type()))
        .collect::<Result<_>>()?;
    with_rows(schema, arrays, rows.len())
}
