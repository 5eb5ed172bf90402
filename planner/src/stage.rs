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
//! * of a stage with `later` ones, these have the same sink, and states of the same form; a silent one emits
//!   no column that anybody but its joins wants;
//! * the limit applies to each output partition separately, and never to an aggregate, by group or not.

use crate::finals::FinalColumn;
use crate::group_columns::GroupColumn;
use arrow::datatypes::{DataType, FieldRef, SchemaRef};
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
    /// The build side of a join, once all rows that meet it are through: the columns of its [`Kept`].
    Kept { join: usize, schema: SchemaRef },
}

/// What a [`Call`] does, over the segment's output columns before its own (so, over the loop's columns and
/// the results of earlier calls).
#[derive(Clone, Debug)]
pub enum Work {
    /// May be constant, and may be volatile: evaluate it once.
    Expr(Arc<dyn PhysicalExpr>),
    /// Whether a row has a partner that meets a join's condition: a loop over these columns, whose surviving
    /// rows are the pairs that do. It carries its first column along and emits nothing else.
    Matches { loop_: Arc<Loop>, columns: Vec<usize> },
}

/// What is run once per batch on arrow arrays: a function that generated code does not know, mostly.
#[derive(Clone, Debug)]
pub struct Call {
    /// What EXPLAIN and metrics call it: the expression as the query has it.
    pub name: String,
    pub work: Work,
    /// A Bool column of the segment's output: the expression is evaluated only on the rows where it
    /// is true and valid; elsewhere the result is null. `None`: on all rows.
    pub under: Option<usize>,
    /// The result column's field; nullable whenever `under` is there.
    pub field: FieldRef,
}

impl Call {
    pub fn expr(&self) -> Option<&Arc<dyn PhysicalExpr>> {
        match &self.work {
            Work::Expr(expr) => Some(expr),
            Work::Matches { .. } => None,
        }
    }
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

impl Segment {
    fn loops_mut(&mut self) -> impl Iterator<Item = &mut Arc<Loop>> {
        let of_calls = self.calls.iter_mut().filter_map(|c| match &mut c.work {
            Work::Expr(_) => None,
            Work::Matches { loop_, .. } => Some(loop_),
        });
        std::iter::once(&mut self.loop_).chain(of_calls)
    }
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
    /// Of a join of which rows of the build side leave when all others are through.
    pub kept: Option<Kept>,
}

/// How a join remembers what becomes of the rows of its build side.
#[derive(Clone, Debug)]
pub struct Kept {
    /// The columns of the batch that a later stage reads.
    pub columns: Vec<KeptColumn>,
    /// Loops note entries, not rows.
    pub by_entry: bool,
    /// NOT IN: the silent stage emits for each row whether its key is NULL. With such a row no row of the
    /// build side leaves, and with any row none whose own key is NULL.
    pub null_aware: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeptColumn {
    /// Of the build side's plan, in its own type.
    Build(usize),
    /// Whether the row met another one.
    Visited,
    /// In place of a column of the probe side.
    Null(DataType),
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
    /// Its rows meet this join at last, and go no further.
    pub silent: Option<usize>,
    /// What is run afterwards, one by one, over rows that were kept of build sides.
    pub later: Vec<Stage>,
}

impl Stage {
    /// The stage and those that are run after it.
    pub fn passes(&self) -> impl Iterator<Item = &Stage> {
        std::iter::once(self).chain(&self.later)
    }

    /// One whose last loop ends in the sink.
    pub fn ending(&self) -> &Stage {
        self.later.last().unwrap_or(self)
    }

    /// All loops of the stage and of those that are run after it, with those of its calls.
    pub fn loops_mut(&mut self) -> impl Iterator<Item = &mut Arc<Loop>> {
        let own = self.segments.iter_mut().flat_map(Segment::loops_mut);
        own.chain(self.later.iter_mut().flat_map(|s| &mut s.segments).flat_map(Segment::loops_mut))
    }

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
