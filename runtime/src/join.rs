//! Build sides: executing their plans, and making the tables that a stage probes.
//!
//! A build side is executed when the first of the stage's partitions is, and its table is shared by all of
//! them; of a join whose sides are partitioned alike every partition has a table of its own. Nothing of the
//! probe side is read before. What is known once a table is there goes two ways: into the stage's program
//! ([`Program::with_tables`](crate::program::Program::with_tables)), and as bounds of the keys to the scan of
//! the probe side.
//!
//! Memory: what was collected and what the table will take are reserved before they are there; a refusal is
//! the pool's own error.

use crate::kept::KeptSide;
use crate::scan::KeyMember;
use crate::source::MemoryTable;
use arrow::array::{ArrayRef, RecordBatch, new_empty_array};
use arrow::compute::{cast, concat};
use arrow::datatypes::{DataType, Schema};
use datafusion::common::runtime::JoinSet;
use datafusion::common::{DataFusionError, Result, ScalarValue, internal_err, resources_err};
use datafusion::execution::TaskContext;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::functions_aggregate::min_max::{MaxAccumulator, MinAccumulator};
use datafusion::logical_expr::{Accumulator, Operator};
use datafusion::physical_expr::expressions::{BinaryExpr, DynamicFilterPhysicalExpr, IsNullExpr, Literal};
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties, PhysicalExpr};
use fuseline_codegen::joins::{JoinLayout, JoinSide};
use fuseline_planner::stage::{JoinPlan, KeptColumn};
use futures::StreamExt;
use futures::future::{BoxFuture, FutureExt, Shared};
use parking_lot::Mutex;
use std::sync::{Arc, Weak};

/// Tables number rows with 32 bits, and keep two numbers for themselves.
const MOST_ROWS: usize = u32::MAX as usize - 1;

/// The tables of a stage, by the number of their join.
#[derive(Debug, Default)]
pub struct Tables {
    pub sides: Vec<Arc<JoinSide>>,
    /// Of joins that keep rows of their build side.
    pub kept: Vec<Option<Arc<KeptSide>>>,
    /// What they hold of the pool.
    _reserved: Vec<Arc<MemoryReservation>>,
}

#[derive(Clone)]
struct Built {
    side: Arc<JoinSide>,
    kept: Option<Arc<KeptSide>>,
    reserved: Arc<MemoryReservation>,
}

type Building = Shared<BoxFuture<'static, std::result::Result<Built, Arc<DataFusionError>>>>;

/// The build side of one join of a stage that is being executed.
#[derive(Default)]
struct Slot(Mutex<Option<Running>>);

struct Running {
    context: Weak<TaskContext>,
    building: Building,
    joined: Vec<bool>,
}

/// The build sides of a stage. Copies of the operator that may run on their own have their own.
#[derive(Clone)]
pub struct Builds {
    id: usize,
    plans: Arc<[JoinPlan]>,
    children: Vec<Arc<dyn ExecutionPlan>>,
    slots: Arc<[Slot]>,
}

impl Builds {
    pub fn new(id: usize, plans: &[JoinPlan], children: Vec<Arc<dyn ExecutionPlan>>) -> Builds {
        let slots = plans.iter().map(|_| Slot::default()).collect();
        Builds { id, plans: plans.into(), children, slots }
    }

    pub fn is_empty(&self) -> bool {
        self.plans.is_empty()
    }

    pub fn children(&self) -> &[Arc<dyn ExecutionPlan>] {
        &self.children
    }

    /// The same for a copy that runs on its own, perhaps over other plans.
    pub fn fresh(&self, children: Vec<Arc<dyn ExecutionPlan>>) -> Builds {
        Builds::new(self.id, &self.plans, children)
    }

    /// Filters of scans that the joins fill.
    pub fn dynamic_filters(&self) -> impl Iterator<Item = &Arc<dyn PhysicalExpr>> {
        self.plans.iter().filter_map(|p| p.dynamic_filter.as_ref())
    }

    /// The tables for partition `partition` of `partitions`, once they are there.
    ///
    /// # Errors
    /// When a build side cannot be executed.
    pub fn tables(
        &self,
        partition: usize,
        partitions: usize,
        context: &Arc<TaskContext>,
    ) -> Result<BoxFuture<'static, Result<Arc<Tables>>>> {
        let mut building = Vec::with_capacity(self.plans.len());
        for ((plan, child), slot) in self.plans.iter().zip(&self.children).zip(self.slots.iter()) {
            let start = |only: Option<usize>| {
                let job = BuildJob {
                    partitions: if only.is_some() { 1 } else { partitions },
                    id: self.id,
                    plan: plan.clone(),
                    child: Arc::clone(child),
                    only,
                    context: Arc::clone(context),
                };
                async move { job.run().await.map_err(Arc::new) }.boxed().shared()
            };
            building.push(if plan.by_partition {
                start(Some(partition))
            } else {
                slot.join(partition, partitions, context, || start(None))?
            });
        }
        Ok(async move {
            let mut tables = Tables::default();
            // From the lowest join up: their filters may reach into the build sides above.
            for one in building {
                let built = one.await.map_err(DataFusionError::Shared)?;
                tables.sides.push(built.side);
                tables.kept.push(built.kept);
                tables._reserved.push(built.reserved);
            }
            Ok(Arc::new(tables))
        }
        .boxed())
    }
}

impl Slot {
    /// What the other partitions of the same query have begun, or a new start.
    fn join(
        &self,
        partition: usize,
        partitions: usize,
        context: &Arc<TaskContext>,
        start: impl FnOnce() -> Building,
    ) -> Result<Building> {
        let mut slot = self.0.lock();
        let fits = slot.as_ref().is_some_and(|s| {
            std::ptr::eq(s.context.as_ptr(), Arc::as_ptr(context)) && s.joined.get(partition) == Some(&false)
        });
        if !fits {
            let joined = vec![false; partitions.max(partition + 1)];
            *slot = Some(Running { context: Arc::downgrade(context), building: start(), joined });
        }
        let Some(running) = slot.as_mut() else { return internal_err!("a build side was lost") };
        running.joined[partition] = true;
        let building = running.building.clone();
        if running.joined.iter().all(|j| *j) {
            *slot = None;
        }
        Ok(building)
    }
}

/// Building the table of one join.
struct BuildJob {
    id: usize,
    plan: JoinPlan,
    child: Arc<dyn ExecutionPlan>,
    /// The partition of the build side; `None`: all.
    only: Option<usize>,
    /// Partitions of the stage that probe the table.
    partitions: usize,
    context: Arc<TaskContext>,
}

/// What is held of a batch: its keys, then the columns that loops fetch, then others that rows leave with.
type Columns = [Vec<ArrayRef>; 3];

impl BuildJob {
    async fn run(self) -> Result<Built> {
        let reserved = MemoryConsumer::new(format!("FusedExec *({}) build side of a join", self.id))
            .register(self.context.memory_pool());
        let reserved = Arc::new(reserved);
        let (batches, in_place) = self.collect(&reserved).await?;
        let rows: usize = batches.iter().map(|[keys, ..]| keys.first().map_or(0, |k| k.len())).sum();
        if rows >= MOST_ROWS {
            return resources_err!(
                "the build side of a join has {rows} rows, and a table takes {MOST_ROWS}; join the smaller \
                 side first, or SET fuseline.fusion = 'off'"
            );
        }
        let layout = JoinLayout::of(&self.plan.tys, self.plan.null_equal);
        let words = if layout.integer().is_some() { 0 } else { layout.key_words() };
        let copies = if batches.len() > 1 { bytes(&batches) } else { 0 };
        let table = fuseline_kernels::join::JoinTable::memory_for(rows, words);
        reserved.try_grow(copies.saturating_add(table))?;
        let schema = self.child.schema();
        let mut keys = vec![];
        for (at, expr) in self.plan.keys.iter().enumerate() {
            let arrays: Vec<&ArrayRef> = batches.iter().map(|b| &b[0][at]).collect();
            keys.push(joined(&arrays, &expr.data_type(&schema)?)?);
        }
        let mut columns = vec![];
        for (at, column) in self.plan.columns.iter().enumerate() {
            let arrays: Vec<&ArrayRef> = batches.iter().map(|b| &b[1][at]).collect();
            columns.push(joined(&arrays, schema.field(*column).data_type())?);
        }
        let mut others = vec![];
        for (at, column) in others_of(&self.plan, &schema).into_iter().enumerate() {
            let arrays: Vec<&ArrayRef> = batches.iter().map(|b| &b[2][at]).collect();
            others.push((column, whole(&arrays, schema.field(column).data_type())?));
        }
        drop(batches);
        let bounds = self.bounds(&keys)?;
        let key_type = keys.first().map(|k| k.data_type().clone());
        let kept = self.plan.kept.as_ref().map(|kept| {
            let fetched = self.plan.columns.iter().copied().zip(columns.iter().cloned());
            // Where a column is in both lists, the other one has it in its own type.
            let all = others.iter().cloned().chain(fetched).collect();
            Arc::new(KeptSide::new(kept, all, keys.first(), self.partitions))
        });
        let threads = self.context.session_config().target_partitions();
        let mut side = JoinSide::build(keys, layout, columns, threads).map_err(crate::errors::from_eval)?;
        if kept.is_some() {
            side.track_visits();
        }
        let columns = side.columns();
        let held = side.table().memory()
            + columns
                .iter()
                .chain(others.iter().map(|(_, c)| c))
                .map(|c| c.get_buffer_memory_size())
                .sum::<usize>();
        // Not more than was asked for, but what lies in the table of somebody else is not ours.
        reserved.try_resize(if in_place && copies == 0 { side.table().memory() } else { held })?;
        let side = Arc::new(side);
        self.tell_scan(bounds, key_type, &side)?;
        Ok(Built { side, kept, reserved })
    }

    /// All rows of the build side, and whether they lie in a table in memory.
    async fn collect(&self, reserved: &Arc<MemoryReservation>) -> Result<(Vec<Columns>, bool)> {
        if self.only.is_none()
            && let Some(table) = MemoryTable::of(&self.child)
        {
            let mut batches = vec![];
            for piece in table.morsels(usize::MAX) {
                batches.push(columns_of(&self.plan, &table.read(piece)?)?);
            }
            return Ok((batches, true));
        }
        let partitions = match self.only {
            Some(one) => one..one + 1,
            None => 0..self.child.output_partitioning().partition_count(),
        };
        let mut tasks = JoinSet::new();
        for partition in partitions {
            let mut stream = self.child.execute(partition, Arc::clone(&self.context))?;
            let (plan, reserved) = (self.plan.clone(), Arc::clone(reserved));
            tasks.spawn(async move {
                let mut batches = vec![];
                while let Some(batch) = stream.next().await {
                    let batch = batch?;
                    if batch.num_rows() > 0 {
                        let columns = columns_of(&plan, &batch)?;
                        reserved.try_grow(bytes(std::slice::from_ref(&columns)))?;
                        batches.push(columns);
                    }
                }
                Ok::<_, DataFusionError>((partition, batches))
            });
        }
        let mut all = vec![];
        while let Some(done) = tasks.join_next().await {
            all.push(done.map_err(|e| DataFusionError::ExecutionJoin(Box::new(e)))??);
        }
        // The order of the rows is that of their partitions, at every run.
        all.sort_by_key(|(partition, _)| *partition);
        Ok((all.into_iter().flat_map(|(_, batches)| batches).collect(), false))
    }

    /// The bounds of the keys, if a scan waits for them.
    fn bounds(&self, keys: &[ArrayRef]) -> Result<Option<Arc<dyn PhysicalExpr>>> {
        if self.plan.dynamic_filter.is_none() || self.only.is_some() {
            return Ok(None);
        }
        bounds(&self.plan, keys)
    }

    /// Leaves the probe side's scan the bounds of the keys, and, where they are single integers, the keys.
    fn tell_scan(
        &self,
        bounds: Option<Arc<dyn PhysicalExpr>>,
        key_type: Option<DataType>,
        side: &Arc<JoinSide>,
    ) -> Result<()> {
        let Some(filter) = &self.plan.dynamic_filter else { return Ok(()) };
        let Some(dynamic) = filter.downcast_ref::<DynamicFilterPhysicalExpr>() else { return Ok(()) };
        if let Some(bounds) = bounds {
            // A NULL among probed keys matters to NOT IN although it is no key.
            let null_aware = self.plan.kept.as_ref().is_some_and(|k| k.null_aware);
            let member = match (self.plan.probe_keys.as_slice(), key_type) {
                ([probe], Some(of)) if !null_aware => KeyMember::of(probe, &of, side),
                _several => None,
            };
            dynamic.update(match member {
                Some(member) => Arc::new(BinaryExpr::new(bounds, Operator::And, Arc::new(member))),
                None => bounds,
            })?;
        }
        dynamic.mark_complete();
        Ok(())
    }
}

/// The predicate that every row with a partner passes; `None` where nothing is known.
fn bounds(plan: &JoinPlan, keys: &[ArrayRef]) -> Result<Option<Arc<dyn PhysicalExpr>>> {
    if keys.first().is_some_and(|k| k.is_empty()) {
        return Ok(Some(Arc::new(Literal::new(ScalarValue::Boolean(Some(false))))));
    }
    let mut all: Option<Arc<dyn PhysicalExpr>> = None;
    for (key, probe) in keys.iter().zip(&plan.probe_keys) {
        let (Ok(mut least), Ok(mut most)) =
            (MinAccumulator::try_new(key.data_type()), MaxAccumulator::try_new(key.data_type()))
        else {
            continue;
        };
        least.update_batch(std::slice::from_ref(key))?;
        most.update_batch(std::slice::from_ref(key))?;
        let (least, most) = (least.evaluate()?, most.evaluate()?);
        if least.is_null() || most.is_null() || is_nan(&least) || is_nan(&most) {
            continue;
        }
        let compare = |op, value| -> Arc<dyn PhysicalExpr> {
            Arc::new(BinaryExpr::new(Arc::clone(probe), op, Arc::new(Literal::new(value))))
        };
        let mut within: Arc<dyn PhysicalExpr> = Arc::new(BinaryExpr::new(
            compare(Operator::GtEq, least),
            Operator::And,
            compare(Operator::LtEq, most),
        ));
        let null_aware = plan.kept.as_ref().is_some_and(|k| k.null_aware);
        if null_aware || (plan.null_equal && key.null_count() > 0) {
            let null = Arc::new(IsNullExpr::new(Arc::clone(probe)));
            within = Arc::new(BinaryExpr::new(within, Operator::Or, null));
        }
        all = Some(match all {
            None => within,
            Some(before) => Arc::new(BinaryExpr::new(before, Operator::And, within)),
        });
    }
    Ok(all)
}

fn is_nan(value: &ScalarValue) -> bool {
    match value {
        ScalarValue::Float32(Some(v)) => v.is_nan(),
        ScalarValue::Float64(Some(v)) => v.is_nan(),
        _other => false,
    }
}

fn columns_of(plan: &JoinPlan, batch: &RecordBatch) -> Result<Columns> {
    let rows = batch.num_rows();
    let keys = plan.keys.iter().map(|e| e.evaluate(batch)?.into_array(rows)).collect::<Result<_>>()?;
    let column = |c: usize| Arc::clone(batch.column(c));
    let fetched = plan.columns.iter().copied().map(column).collect();
    let others = others_of(plan, batch.schema_ref()).into_iter().map(column).collect();
    Ok([keys, fetched, others])
}

/// Columns that rows of the build side leave with and that loops do not fetch, or not in their own type.
fn others_of(plan: &JoinPlan, schema: &Schema) -> Vec<usize> {
    let columns = plan.kept.iter().flat_map(|k| &k.columns).filter_map(|c| match c {
        KeptColumn::Build(column) => Some(*column),
        KeptColumn::Visited | KeptColumn::Null(_) => None,
    });
    let held = |c: &usize| {
        plan.columns.contains(c) && !matches!(schema.field(*c).data_type(), DataType::Dictionary(..))
    };
    columns.filter(|c| !held(c)).collect()
}

fn bytes(batches: &[Columns]) -> usize {
    batches.iter().flatten().flatten().map(|a| a.get_buffer_memory_size()).sum()
}

/// One array of all; of a dictionary its values.
fn joined(arrays: &[&ArrayRef], data_type: &DataType) -> Result<ArrayRef> {
    let plain = match data_type {
        DataType::Dictionary(_, values) => (**values).clone(),
        other => other.clone(),
    };
    let arrays: Vec<ArrayRef> = arrays
        .iter()
        .map(|a| if *a.data_type() == plain { Ok(Arc::clone(a)) } else { Ok(cast(a, &plain)?) })
        .collect::<Result<_>>()?;
    whole(&arrays.iter().collect::<Vec<_>>(), &plain)
}

/// One array of all, in their own type.
fn whole(arrays: &[&ArrayRef], data_type: &DataType) -> Result<ArrayRef> {
    match arrays {
        [] => Ok(new_empty_array(data_type)),
        [one] => Ok(Arc::clone(one)),
        several => {
            let several: Vec<&dyn arrow::array::Array> = several.iter().map(|a| a.as_ref()).collect();
            Ok(concat(&several)?)
        }
    }
}
