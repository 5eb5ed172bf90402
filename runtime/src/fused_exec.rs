//! `FusedExec`: a stage as an operator of a DataFusion plan.
//!
//! It stands where the operators it absorbed stood, and promises what the topmost of them promised:
//! its `PlanProperties` are that operator's own. The absorbed operators are kept, unexecuted, for
//! their statistics, expressions and texts.
//!
//! An emitting stage has as many partitions as the operators it replaced. When a round-robin
//! repartition was among them, tables in memory and ranges are dealt out directly (see
//! [`crate::source`]); any other child gets a `RepartitionExec` back. An aggregating stage has one
//! partition and runs all of its child's. A grouping one has those of the aggregate on top; see
//! [`crate::group`].

use crate::aggregate::{AggregateInput, AggregateJob, aggs, run_aggregate};
use crate::bounds::Bounds;
use crate::emit::{EmitParts, EmitStream, drops_rows};
use crate::group::{Grouping, PartitionStream, Worker, WorkerParts, output_stream};
use crate::join::{Builds, Tables};
use crate::kept::Passes;
use crate::memory::StageMemory;
use crate::metrics::StageMetrics;
use crate::own_thread::{Place, run_stream};
use crate::program::Program;
use crate::source::{MemoryTable, MorselStream, range_share};
use crate::udf::entries;
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Result, Statistics, internal_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::execution_plan::CardinalityEffect;
use datafusion::physical_plan::joins::HashJoinExec;
use datafusion::physical_plan::metrics::{ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    ChildStats, DisplayAs, DisplayFormatType, Distribution, ExecutionPlan, ExecutionPlanProperties,
    InputDistributionRequirements, Partitioning, PhysicalExpr, PlanProperties, StatisticsArgs,
    StatisticsContext,
};
use fuseline_codegen::ir::{AggFunc, Sink};
use fuseline_planner::stage::{GroupScope, Limit, PlannedStage, Source, Stage, StageSink};
use futures::future::{BoxFuture, FutureExt};
use futures::stream::TryStreamExt;
use std::fmt;
use std::sync::Arc;

/// Runs a fused stage.
#[derive(Clone)]
pub struct FusedExec {
    id: usize,
    program: Arc<Program>,
    /// What the stage replaced, top first; the first is what it has its properties from.
    absorbed: Arc<[Arc<dyn ExecutionPlan>]>,
    child: Option<Arc<dyn ExecutionPlan>>,
    input: Input,
    /// Output partitions.
    partitions: usize,
    limit: Limit,
    /// Of a stage that groups. Copies of the operator that may run on their own have their own.
    grouping: Option<Arc<Grouping>>,
    properties: Arc<PlanProperties>,
    /// The build sides of its joins.
    builds: Builds,
    /// What an absorbed aggregate owed to the scan.
    bounds: Option<Arc<Bounds>>,
    metrics: ExecutionPlanMetricsSet,
}

/// A program whose tables are still being built.
pub type Ready = BoxFuture<'static, Result<Arc<Program>>>;

/// How the rows get in.
#[derive(Clone)]
enum Input {
    Range {
        rows: u64,
    },
    Memory(Arc<MemoryTable>),
    /// By executing the child.
    Child,
}

/// The child that is streamed through, and the build sides.
type Children = (Option<Arc<dyn ExecutionPlan>>, Vec<Arc<dyn ExecutionPlan>>);

impl FusedExec {
    /// A stage numbered `id` in place of `original`. `child` is the planned child, itself possibly
    /// rewritten. `partitioning_matters` says that an operator above relies on which rows are in which
    /// partition.
    ///
    /// # Errors
    /// `Internal` when the stage and the plan do not fit each other.
    pub fn try_new(
        id: usize,
        program: Arc<Program>,
        original: &Arc<dyn ExecutionPlan>,
        planned: &PlannedStage,
        (child, builds): Children,
        partitioning_matters: bool,
    ) -> Result<FusedExec> {
        let absorbed = absorbed(original, planned.child.as_ref())?;
        let stage = program.stage();
        let partitions = match &stage.sink {
            StageSink::Aggregate { .. } => 1,
            StageSink::Emit(_) | StageSink::Group { .. } => planned.partitions,
        };
        let properties = Arc::clone(original.properties());
        if properties.output_partitioning().partition_count() != partitions {
            return internal_err!(
                "fused stage *({id}) has {partitions} partitions in place of {}",
                properties.output_partitioning().partition_count()
            );
        }
        let round_robin = absorbed.iter().find_map(exchange_target);
        let child = match child {
            Some(child) => Some(adapt_child(child, stage, partitions, round_robin)?),
            None => None,
        };
        let input = input_of(stage, child.as_ref())?;
        let limit = stage.limit;
        let grouping = Grouping::of(&program, &absorbed, &properties, partitioning_matters)?.map(Arc::new);
        let bounds = Bounds::of(&absorbed).map(Arc::new);
        let builds = Builds::new(id, &stage.joins, builds);
        Ok(FusedExec {
            id,
            program,
            absorbed,
            child,
            input,
            partitions,
            limit,
            grouping,
            properties,
            builds,
            bounds,
            metrics: ExecutionPlanMetricsSet::new(),
        })
    }

    /// The number in `*(n)`.
    pub fn id(&self) -> usize {
        self.id
    }

    pub fn stage(&self) -> &Arc<Stage> {
        self.program.stage()
    }

    pub fn program(&self) -> &Arc<Program> {
        &self.program
    }

    /// Exactly how many rows an output partition has, where no row is dropped on the way and the source
    /// knows.
    pub fn exact_rows(&self, partition: usize) -> Option<usize> {
        if drops_rows(self.stage())
            || self.aggregates()
            || !self.limit.is_none()
            || partition >= self.partitions
        {
            return None;
        }
        match &self.input {
            Input::Range { rows } => {
                let share = range_share(*rows, partition, self.partitions);
                usize::try_from(share.end - share.start).ok()
            }
            Input::Memory(table) => {
                table.deal(self.partitions).get(partition).map(|p| p.iter().map(|x| x.rows()).sum())
            }
            Input::Child => {
                let child = self.child.as_ref().filter(|c| c.children().is_empty())?;
                let args = StatisticsArgs::new().with_partition(Some(partition));
                match StatisticsContext::new().compute(child.as_ref(), &args).ok()?.num_rows {
                    Precision::Exact(rows) => Some(rows),
                    Precision::Inexact(_) | Precision::Absent => None,
                }
            }
        }
    }

    fn with_child(
        &self,
        child: Arc<dyn ExecutionPlan>,
        builds: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<FusedExec> {
        if let Source::Child(schema) = &self.stage().source
            && child.schema().fields() != schema.fields()
        {
            return internal_err!(
                "fused stage *({}) was compiled for columns {schema} and given {}",
                self.id,
                child.schema()
            );
        }
        let input = input_of(self.stage(), Some(&child))?;
        let mut new = FusedExec { input, ..self.fresh(builds) };
        let given = child.output_partitioning().partition_count();
        if !self.takes_all_partitions() && matches!(new.input, Input::Child) && given != self.partitions {
            new.partitions = given;
            let partitioning = Partitioning::UnknownPartitioning(given);
            new.properties =
                Arc::new(PlanProperties::clone(&self.properties).with_partitioning(partitioning));
        }
        new.child = Some(child);
        Ok(new)
    }

    /// A copy that runs on its own.
    fn fresh(&self, builds: Vec<Arc<dyn ExecutionPlan>>) -> FusedExec {
        let grouping = self.grouping.as_ref().map(|g| Arc::new(g.fresh()));
        let builds = self.builds.fresh(builds);
        FusedExec { grouping, builds, metrics: ExecutionPlanMetricsSet::new(), ..self.clone() }
    }

    /// By group or not.
    fn aggregates(&self) -> bool {
        match self.stage().sink {
            StageSink::Aggregate { .. } | StageSink::Group { .. } => true,
            StageSink::Emit(_) => false,
        }
    }

    fn takes_all_partitions(&self) -> bool {
        takes_all_partitions(self.stage())
    }

    /// Whether rows leave in the order in which the child has them, partition by partition.
    fn keeps_child_partitions(&self) -> bool {
        let child = self.child.as_ref().map(|c| c.output_partitioning().partition_count());
        !self.aggregates() && child == Some(self.partitions)
    }

    fn child(&self) -> Result<&Arc<dyn ExecutionPlan>> {
        match &self.child {
            Some(child) => Ok(child),
            None => internal_err!("fused stage *({}) has no child", self.id),
        }
    }

    fn execute_emit(
        &self,
        partition: usize,
        metrics: StageMetrics,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let source = self.share(partition, self.partitions, &context)?;
        let place = Place::of(&self.program, &metrics);
        let parts = EmitParts {
            id: self.id,
            program: Arc::clone(&self.program),
            schema: self.schema(),
            source,
            limit: self.limit,
            metrics,
            memory: StageMemory::new(self.id, partition, &self.program, &context),
            batch_size: context.session_config().batch_size(),
        };
        let stream: SendableRecordBatchStream = match self.ready(partition, self.partitions, &context)? {
            None => Box::pin(EmitStream::new(parts)),
            Some(ready) => self.later(async move {
                let program = ready.await?;
                Ok(Box::pin(EmitStream::new(EmitParts { program, ..parts })) as SendableRecordBatchStream)
            }),
        };
        Ok(run_stream(stream, place))
    }

    /// The program over the tables of the stage's joins, once they are there; `None` without joins.
    fn ready(
        &self,
        partition: usize,
        partitions: usize,
        context: &Arc<TaskContext>,
    ) -> Result<Option<Ready>> {
        if self.builds.is_empty() {
            return Ok(None);
        }
        let tables = self.builds.tables(partition, partitions, context)?;
        let program = Arc::clone(&self.program);
        Ok(Some(
            async move {
                let tables: Arc<Tables> = tables.await?;
                Ok(Arc::new(program.with_tables(tables)?))
            }
            .boxed(),
        ))
    }

    /// A stream that is known only later.
    fn later(
        &self,
        stream: impl Future<Output = Result<SendableRecordBatchStream>> + Send + 'static,
    ) -> SendableRecordBatchStream {
        let stream = futures::stream::once(stream).try_flatten();
        Box::pin(RecordBatchStreamAdapter::new(self.schema(), stream))
    }

    /// The rows of one of `shares` shares.
    fn share(&self, share: usize, shares: usize, context: &Arc<TaskContext>) -> Result<MorselStream> {
        Ok(match &self.input {
            Input::Range { rows } => {
                let share = range_share(*rows, share, shares);
                MorselStream::Range { next: share.start, end: share.end }
            }
            Input::Memory(table) => match table.deal(shares).into_iter().nth(share) {
                Some(pieces) => MorselStream::Memory { table: Arc::clone(table), pieces: pieces.into() },
                None => return internal_err!("there is no partition {share} of a table in memory"),
            },
            Input::Child => {
                let stream = self.child()?.execute(share, Arc::clone(context))?;
                MorselStream::Child { stream, rest: None }
            }
        })
    }

    fn execute_group(
        &self,
        grouping: &Arc<Grouping>,
        partition: usize,
        metrics: StageMetrics,
        context: &Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let worker = |share: usize, shares: usize| -> Result<Worker> {
            let parts = WorkerParts {
                id: self.id,
                partition: share,
                program: Arc::clone(&self.program),
                metrics: metrics.clone(),
                source: self.share(share, shares, context)?,
            };
            Worker::new(parts, context)
        };
        let batch_size = context.session_config().batch_size();
        let run = match grouping.scope {
            GroupScope::States => {
                let mut worker = worker(partition, self.partitions)?;
                let (columns, schema) = (Arc::clone(&grouping.columns), self.schema());
                let stream: SendableRecordBatchStream =
                    match self.ready(partition, self.partitions, context)? {
                        None => Box::pin(PartitionStream::new(worker, columns, schema, batch_size)),
                        Some(ready) => self.later(async move {
                            worker.program = ready.await?;
                            worker.follow(Passes::of(&worker.program));
                            let stream = PartitionStream::new(worker, columns, schema, batch_size);
                            Ok(Box::pin(stream) as SendableRecordBatchStream)
                        }),
                    };
                return Ok(run_stream(stream, Place::of(&self.program, &metrics)));
            }
            GroupScope::Partition => {
                let ready = self.ready(partition, self.partitions, context)?;
                grouping.start(vec![worker(partition, self.partitions)?], ready, 1, context)?
            }
            GroupScope::All => grouping.runs.join(partition, self.partitions, context, || {
                let shares = match &self.input {
                    Input::Range { .. } | Input::Memory(_) => {
                        context.session_config().target_partitions().max(1)
                    }
                    Input::Child => self.child()?.output_partitioning().partition_count(),
                };
                let workers = (0..shares).map(|s| worker(s, shares)).collect::<Result<_>>()?;
                grouping.start(workers, self.ready(0, 1, context)?, self.partitions, context)
            })?,
        };
        let output = if grouping.scope == GroupScope::All { partition } else { 0 };
        Ok(output_stream(run, output, grouping.shape(batch_size), metrics))
    }

    fn execute_aggregate(
        &self,
        metrics: StageMetrics,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        // Before the scan starts, which may look at its filter at once.
        if let Some(bounds) = &self.bounds {
            bounds.begin(aggs(&self.program)?)?;
        }
        let input = match &self.input {
            Input::Range { rows } => AggregateInput::Range { rows: *rows },
            Input::Memory(table) => AggregateInput::Memory(Arc::clone(table)),
            Input::Child => {
                let child = self.child()?;
                let partitions = child.output_partitioning().partition_count();
                AggregateInput::Children(
                    (0..partitions).map(|p| child.execute(p, Arc::clone(&context))).collect::<Result<_>>()?,
                )
            }
        };
        let workers = context.session_config().target_partitions().max(1);
        let baseline = metrics.baseline.clone();
        let bounds = self.bounds.clone();
        let job = AggregateJob {
            id: self.id,
            program: Arc::clone(&self.program),
            pass: None,
            metrics,
            context,
            bounds,
            workers,
        };
        let ready = self.ready(0, 1, &job.context)?;
        let row = async move {
            let mut job = job;
            if let Some(ready) = ready {
                job.program = ready.await?;
            }
            let batch = run_aggregate(Arc::new(job), input).await?;
            baseline.record_output(batch.num_rows());
            baseline.done();
            Ok(batch)
        };
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), futures::stream::once(row))))
    }
}

/// The operators from `original` down to, and without, `child`.
fn absorbed(
    original: &Arc<dyn ExecutionPlan>,
    child: Option<&Arc<dyn ExecutionPlan>>,
) -> Result<Arc<[Arc<dyn ExecutionPlan>]>> {
    let mut nodes = Vec::new();
    let mut node = original;
    loop {
        if child.is_some_and(|c| Arc::ptr_eq(c, node)) {
            return Ok(nodes.into());
        }
        nodes.push(Arc::clone(node));
        match node.children().as_slice() {
            [] if child.is_none() => return Ok(nodes.into()),
            [only] => node = *only,
            [_, probe] if node.is::<HashJoinExec>() => node = *probe,
            _ => return internal_err!("{} is not above the child of its fused stage", original.name()),
        }
    }
}

/// The partitions that an absorbed exchange made.
fn exchange_target(node: &Arc<dyn ExecutionPlan>) -> Option<usize> {
    match node.downcast_ref::<RepartitionExec>()?.partitioning() {
        Partitioning::RoundRobinBatch(n) | Partitioning::Hash(_, n) => Some(*n),
        Partitioning::Range(..) | Partitioning::UnknownPartitioning(_) => None,
    }
}

/// Gives a child the partitions that the absorbed operators had, where the stage itself does not
/// deal rows out; and for float sums a child whose batches come in the same order at every run.
fn adapt_child(
    child: Arc<dyn ExecutionPlan>,
    stage: &Stage,
    partitions: usize,
    round_robin: Option<usize>,
) -> Result<Arc<dyn ExecutionPlan>> {
    if MemoryTable::of(&child).is_some() {
        return Ok(child);
    }
    let given = child.output_partitioning().partition_count();
    let wanted = match &stage.sink {
        // From several partitions a round robin mixes batches by arrival; each is run on its own.
        StageSink::Aggregate { .. } | StageSink::Group { scope: GroupScope::All, .. } => {
            round_robin.filter(|n| *n > 1 && given == 1)
        }
        StageSink::Emit(_) | StageSink::Group { .. } => Some(partitions).filter(|n| *n != given),
    };
    let child = if sums_floats(stage) {
        // Files would otherwise go to whichever partition asks first.
        child.with_preserve_order(true).unwrap_or(child)
    } else {
        child
    };
    Ok(match wanted {
        Some(n) => Arc::new(RepartitionExec::try_new(child, Partitioning::RoundRobinBatch(n))?),
        None => child,
    })
}

fn takes_all_partitions(stage: &Stage) -> bool {
    match &stage.sink {
        StageSink::Aggregate { .. } => true,
        StageSink::Group { scope, .. } => *scope == GroupScope::All,
        StageSink::Emit(_) => false,
    }
}

fn sums_floats(stage: &Stage) -> bool {
    stage.ending().segments.last().is_some_and(|s| match &s.loop_.sink {
        Sink::Aggregate(aggs) | Sink::Group { aggs, .. } => {
            aggs.iter().any(|a| matches!(a.func, AggFunc::Sum | AggFunc::Spread) && a.ty.is_float())
        }
        Sink::Emit(_) => false,
    })
}

fn input_of(stage: &Stage, child: Option<&Arc<dyn ExecutionPlan>>) -> Result<Input> {
    match (&stage.source, child) {
        (Source::Range { rows, .. }, None) => Ok(Input::Range { rows: *rows }),
        (Source::Child(_), Some(child)) => Ok(match MemoryTable::of(child) {
            Some(table) => Input::Memory(Arc::new(table)),
            None => Input::Child,
        }),
        (Source::Range { .. }, Some(_)) => internal_err!("a generated range with a child plan"),
        (Source::Child(_), None) => internal_err!("a fused stage without its child plan"),
        (Source::Kept { .. }, _) => internal_err!("a stage that begins with what another one keeps"),
    }
}

impl fmt::Debug for FusedExec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FusedExec")
            .field("id", &self.id)
            .field("stage", self.stage())
            .field("child", &self.child)
            .finish_non_exhaustive()
    }
}

impl DisplayAs for FusedExec {
    fn fmt_as(&self, t: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stage = self.stage();
        let id = self.id;
        match t {
            DisplayFormatType::Default | DisplayFormatType::Verbose => {
                f.write_str("FusedExec: ")?;
                for (i, op) in stage.operators.iter().enumerate() {
                    let arrow = if i == 0 { "" } else { " <- " };
                    write!(f, "{arrow}*({id}) {}", op.text)?;
                }
                if self.limit != stage.limit
                    && let Some(fetch) = self.limit.fetch
                {
                    write!(f, ", fetch={fetch}")?;
                }
                for (i, entry) in entries::describe(stage).iter().enumerate() {
                    write!(f, "{}{entry}", if i == 0 { "; enters " } else { "; " })?;
                }
                for (i, note) in stage.notes.iter().enumerate() {
                    write!(f, "{}{note}", if i == 0 { "; called per batch: " } else { "; " })?;
                }
                Ok(())
            }
            DisplayFormatType::TreeRender => {
                for op in &stage.operators {
                    writeln!(f, "*({id}) {}", op.text)?;
                }
                Ok(())
            }
        }
    }
}

impl ExecutionPlan for FusedExec {
    fn name(&self) -> &'static str {
        "FusedExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        self.child.iter().chain(self.builds.children()).collect()
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        let builds = self.builds.children().iter().map(|_| false);
        self.child.iter().map(|_| self.keeps_child_partitions()).chain(builds).collect()
    }

    fn input_distribution_requirements(&self) -> InputDistributionRequirements {
        let any = self.children().iter().map(|_| Distribution::UnspecifiedDistribution).collect();
        InputDistributionRequirements::new(any)
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        self.children().iter().map(|_| false).collect()
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        for node in self.absorbed.iter() {
            if node.apply_expressions(f)? == TreeNodeRecursion::Stop {
                return Ok(TreeNodeRecursion::Stop);
            }
        }
        Ok(TreeNodeRecursion::Continue)
    }

    fn dynamic_expressions_produced(&self) -> Vec<Arc<dyn PhysicalExpr>> {
        self.bounds.iter().map(|b| b.filter()).chain(self.builds.dynamic_filters()).cloned().collect()
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        if children.len() != self.children().len() {
            return internal_err!("fused stage *({}) was given a wrong number of children", self.id);
        }
        let builds = children.split_off(usize::from(self.child.is_some()));
        match children.pop() {
            Some(child) => Ok(Arc::new(self.with_child(child, builds)?)),
            None => Ok(Arc::new(self.fresh(builds))),
        }
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        if partition >= self.partitions {
            return internal_err!("fused stage *({}) has no partition {partition}", self.id);
        }
        let metrics = StageMetrics::new(&self.metrics, partition, self.stage());
        if partition == 0 {
            metrics.compile_time.add_duration(self.program.planned_compile_time);
            metrics.ir_ops.add(self.program.ir_ops);
            metrics.code_bytes.add(self.program.planned_code_bytes);
        }
        if let Some(grouping) = &self.grouping {
            self.execute_group(grouping, partition, metrics, &context)
        } else if self.aggregates() {
            self.execute_aggregate(metrics, context)
        } else {
            self.execute_emit(partition, metrics, context)
        }
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn child_stats_requests(&self, _partition: Option<usize>) -> Vec<ChildStats> {
        self.children().iter().map(|_| ChildStats::Skip).collect()
    }

    fn statistics_from_inputs(
        &self,
        _input_stats: &[Arc<Statistics>],
        args: &StatisticsArgs,
    ) -> Result<Arc<Statistics>> {
        match self.absorbed.first() {
            Some(top) => StatisticsContext::new().compute(top.as_ref(), args),
            None => Ok(Arc::new(Statistics::new_unknown(&self.schema()))),
        }
    }

    fn fetch(&self) -> Option<usize> {
        if self.limit.skip == 0 { self.limit.fetch } else { None }
    }

    fn with_fetch(&self, limit: Option<usize>) -> Option<Arc<dyn ExecutionPlan>> {
        // A limit must not keep a partition from coming to its end, which others wait for.
        if self.aggregates() || self.limit.skip > 0 || !self.stage().later.is_empty() {
            return None;
        }
        // A limit of the query itself must not be lost to a laxer one.
        let fetch = match (limit, self.stage().limit.fetch) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        Some(Arc::new(FusedExec {
            limit: Limit { skip: 0, fetch },
            metrics: ExecutionPlanMetricsSet::new(),
            ..self.clone()
        }))
    }

    fn cardinality_effect(&self) -> CardinalityEffect {
        let filters = drops_rows(self.stage());
        if !self.builds.is_empty() && !self.aggregates() {
            CardinalityEffect::Unknown
        } else if filters || self.aggregates() || !self.limit.is_none() {
            CardinalityEffect::LowerEqual
        } else {
            CardinalityEffect::Equal
        }
    }
}
