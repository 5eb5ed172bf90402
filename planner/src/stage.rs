//! A stage: what one `FusedExec` does, in the form that the runtime executes.
//!
//! A stage reads a [`Source`], passes each morsel through its [`Segment`]s in order, and ends in a
//! [`StageSink`]. A segment is one compiled loop followed by batch calls; most stages have exactly
//! one segment and no call. The batch that enters the first segment has the source's columns; the
//! batch that enters a later one has the columns of the previous segment's `output`.
//!
//! Invariants:
//! * `Segment::inputs[i]` is the column (of the batch entering the segment) that `loop_.inputs[i]`
//!   reads, and `Emit::Passenger { column }` counts the same batch's columns;
//! * a loop with no values and no filter is a mere reordering of columns: nothing to compile;
//! * only the last segment of a stage may have an `Aggregate` or `Group` sink, and it has one iff the
//!   stage's sink is of that kind;
//! * `Op::RowIndex` appears only in the first segment, and only over a `Source::Range`;
//! * the limit applies to each output partition separately, and never to an aggregate, by group or not.

use crate::finals::FinalColumn;
use crate::group_columns::GroupColumn;
use arrow::datatypes::{FieldRef, SchemaRef};
use datafusion::physical_plan::{ExecutionPlan, PhysicalExpr};
use fuseline_codegen::ir::Loop;
use std::sync::Arc;

/// Where a stage's rows come from.
#[derive(Clone, Debug)]
pub enum Source {
    /// The batches of the child plan, which have this schema.
    Child(SchemaRef),
    /// Rows made inside the loop from `Op::RowIndex` (its value on the first row of a morsel is the
    /// morsel's first row, counted from 0); the entering batch has no columns.
    Range {
        rows: u64,
        /// The operator it replaces, for EXPLAIN.
        text: String,
    },
}

/// A function that generated code does not know, run once per batch on arrow arrays.
#[derive(Clone, Debug)]
pub struct Call {
    /// What EXPLAIN and metrics call it: the expression as the query has it.
    pub name: String,
    /// Over the segment's output columns before this call's own (so, over the loop's columns and
    /// the results of earlier calls). May be constant, and may be volatile: evaluate it once.
    pub expr: Arc<dyn PhysicalExpr>,
    /// A Bool column of the segment's output: the expression is evaluated only on the rows where it
    /// is true and valid; elsewhere the result is null. `None`: on all rows.
    pub under: Option<usize>,
    /// The result column's field; nullable whenever `under` is there.
    pub field: FieldRef,
}

/// One loop and the calls on its output.
#[derive(Clone, Debug)]
pub struct Segment {
    pub loop_: Arc<Loop>,
    pub inputs: Vec<usize>,
    /// Each appends its result as one column. Empty in the last segment.
    pub calls: Vec<Call>,
    /// The loop's columns followed by the calls' results. For an aggregate or group sink: no columns.
    pub output: SchemaRef,
}

/// A join whose table the loops probe; they know it by its position in [`Stage::joins`].
#[derive(Clone, Debug)]
pub struct JoinPlan {
    /// Of the build side, over its plan's columns, and their representations.
    pub keys: Vec<Arc<dyn PhysicalExpr>>,
    pub tys: Vec<fuseline_codegen::ir::Ty>,
    pub null_equal: bool,
    /// The columns of the build side that loops fetch, in their numbering.
    pub columns: Vec<usize>,
    /// Partition `p` of the build side meets partition `p` of the stage; otherwise all meet all.
    pub by_partition: bool,
    /// What the join owes to the scan of its probe side, and the keys of that side that it is about.
    pub dynamic_filter: Option<Arc<dyn PhysicalExpr>>,
    pub probe_keys: Vec<Arc<dyn PhysicalExpr>>,
    /// The operator, for messages.
    pub text: String,
}

/// What becomes of the rows.
#[derive(Clone, Debug)]
pub enum StageSink {
    /// Batches of this schema; the last segment's columns in order.
    Emit(SchemaRef),
    /// One row, when all rows were seen: `finals` from the merged states of the last loop's sink.
    Aggregate { finals: Vec<FinalColumn>, schema: SchemaRef },
    /// A row per group, when all rows were seen: `columns` from the table that the last loop filled.
    /// `states` are the same as a `Partial` aggregate of DataFusion's has them.
    Group { columns: Vec<GroupColumn>, states: Vec<GroupColumn>, scope: GroupScope, schema: SchemaRef },
}

/// Which rows are grouped together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupScope {
    /// Those of each partition by themselves, and not for good: states leave, for somebody else to merge.
    States,
    /// Those of each partition by themselves.
    Partition,
    /// All. The groups are dealt to the output partitions as the replaced plan promised.
    All,
}

/// `LIMIT fetch OFFSET skip` on an output partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limit {
    pub skip: usize,
    pub fetch: Option<usize>,
}

impl Limit {
    pub fn is_none(&self) -> bool {
        self.skip == 0 && self.fetch.is_none()
    }
}

/// A DataFusion operator that a stage absorbed.
#[derive(Clone, Debug)]
pub struct FusedOperator {
    /// As EXPLAIN shows it unfused, without indentation.
    pub text: String,
}

/// One fused run of operators.
#[derive(Clone, Debug)]
pub struct Stage {
    pub source: Source,
    /// Never empty.
    pub segments: Vec<Segment>,
    pub sink: StageSink,
    pub limit: Limit,
    /// Top first. The source is not among them, except a `Source::Range`.
    pub operators: Vec<FusedOperator>,
    /// What became a batch call, and why; for EXPLAIN.
    pub notes: Vec<crate::support::Reason>,
    pub joins: Vec<JoinPlan>,
}

impl Stage {
    pub fn schema(&self) -> &SchemaRef {
        match &self.sink {
            StageSink::Emit(schema)
            | StageSink::Aggregate { schema, .. }
            | StageSink::Group { schema, .. } => schema,
        }
    }
}

/// A stage and what it takes its rows from.
#[derive(Clone, Debug)]
pub struct PlannedStage {
    pub stage: Stage,
    /// The plan below the absorbed operators; `None` iff the source is a range.
    pub child: Option<Arc<dyn ExecutionPlan>>,
    /// The build sides of `stage.joins`.
    pub builds: Vec<Arc<dyn ExecutionPlan>>,
    /// The partition count the absorbed operators gave their parent, when it differs from the
    /// child's: a round-robin repartition was dropped because the runtime deals out morsels itself.
    /// For an aggregate sink it is 1.
    pub partitions: usize,
    /// Something is computed, filtered or aggregated (rather than columns only renamed, reordered
    /// or limited). Without it fusing gains nothing.
    pub computes: bool,
}
