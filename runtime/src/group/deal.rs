//! Which output partition gets which groups.
//!
//! Where somebody above relies on the partitioning that the replaced plan promised, DataFusion's own
//! partitioner deals the rows out. Otherwise any division will do: few groups stay together, many are cut
//! evenly.

use super::groups_batch;
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::common::runtime::JoinSet;
use datafusion::common::{DataFusionError, Result};
use datafusion::execution::memory_pool::MemoryReservation;
use datafusion::physical_plan::metrics::Time;
use datafusion::physical_plan::repartition::BatchPartitioner;
use datafusion::physical_plan::{PhysicalExpr, SendableRecordBatchStream};
use fuseline_codegen::groups::Groups;
use fuseline_planner::GroupColumn;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Merged groups, and the memory that they were given.
pub struct Merged {
    pub parts: Vec<Groups>,
    pub reservation: MemoryReservation,
}

/// What an output partition hands on.
pub enum Output {
    /// Groups of these parts.
    Groups(Arc<Merged>, Vec<(usize, Range<usize>)>),
    /// Rows that are ready, and the memory that they take.
    Batches(Vec<RecordBatch>, Arc<MemoryReservation>),
    /// What DataFusion's final aggregate makes of states.
    Stream(SendableRecordBatchStream),
}

/// How rows are made of groups.
#[derive(Clone)]
pub struct Shape {
    pub columns: Arc<[GroupColumn]>,
    pub schema: SchemaRef,
    pub batch_size: usize,
}

impl Shape {
    /// The groups of a part in pieces of a batch.
    pub fn pieces(&self, rows: Range<usize>) -> impl Iterator<Item = Range<usize>> + use<> {
        let (size, end) = (self.batch_size.max(1), rows.end);
        rows.step_by(size).map(move |at| at..(at + size).min(end))
    }

    pub fn batch(&self, groups: &Groups, rows: Range<usize>) -> Result<RecordBatch> {
        groups_batch(groups, rows, &self.columns, &self.schema)
    }
}

/// Cuts the groups into `outputs` shares, in their order.
pub(super) fn evenly(merged: Merged, outputs: usize, shape: &Shape) -> Vec<Output> {
    let total: usize = merged.parts.iter().map(Groups::len).sum();
    let share = total.div_ceil(outputs.max(1)).max(shape.batch_size);
    let mut shares: Vec<Vec<(usize, Range<usize>)>> = vec![vec![]; outputs];
    let (mut to, mut room) = (0, share);
    for (part, groups) in merged.parts.iter().enumerate() {
        let mut at = 0;
        while at < groups.len() {
            if room == 0 && to + 1 < outputs {
                (to, room) = (to + 1, share);
            }
            let left = groups.len() - at;
            let count = if to + 1 < outputs { left.min(room) } else { left };
            shares[to].push((part, at..at + count));
            room = room.saturating_sub(count);
            at += count;
        }
    }
    let merged = Arc::new(merged);
    shares.into_iter().map(|pieces| Output::Groups(Arc::clone(&merged), pieces)).collect()
}

/// Deals rows out by the hash of these expressions over them, as a hash exchange would. As many tasks as there
/// are outputs share the parts. `rows` is what was reserved for the rows before anything was merged, when the pool
/// could still refuse and the states be spilled.
pub(super) async fn by_hash(
    merged: Merged,
    rows: MemoryReservation,
    keys: &[Arc<dyn PhysicalExpr>],
    outputs: usize,
    shape: &Shape,
) -> Result<Vec<Output>> {
    // Rows are there beside the groups until all are dealt.
    let reservation = Arc::new(rows);
    let made = Arc::new(AtomicUsize::new(0));
    let merged = Arc::new(merged);
    let parts = merged.parts.len();
    let share = parts.div_ceil(outputs).max(1);
    let mut tasks = JoinSet::new();
    for first in (0..parts).step_by(share) {
        let (merged, shape, reservation) = (Arc::clone(&merged), shape.clone(), Arc::clone(&reservation));
        let made = Arc::clone(&made);
        let mut partitioner = BatchPartitioner::new_hash_partitioner(keys.to_vec(), outputs, Time::new())?;
        tasks.spawn(async move {
            let mut dealt: Vec<Vec<RecordBatch>> = vec![vec![]; outputs];
            for groups in &merged.parts[first..(first + share).min(parts)] {
                for rows in shape.pieces(0..groups.len()) {
                    partitioner.partition(shape.batch(groups, rows)?, |to, batch| {
                        let bytes = batch.get_array_memory_size();
                        let so_far = made.fetch_add(bytes, Ordering::Relaxed) + bytes;
                        // Rows are rarely larger than the groups that they come from.
                        if so_far > reservation.size() {
                            reservation.try_grow(bytes)?;
                        }
                        dealt[to].push(batch);
                        Ok(())
                    })?;
                    tokio::task::yield_now().await;
                }
            }
            Ok::<_, DataFusionError>((first, dealt))
        });
    }
    let mut all = vec![];
    while let Some(done) = tasks.join_next().await {
        all.push(done.map_err(|e| DataFusionError::ExecutionJoin(Box::new(e)))??);
    }
    all.sort_by_key(|(first, _)| *first);
    let mut dealt: Vec<Vec<RecordBatch>> = vec![vec![]; outputs];
    for (_, batches) in all {
        for (to, batches) in dealt.iter_mut().zip(batches) {
            to.extend(batches);
        }
    }
    // Of what was reserved for more rows than there are.
    let made = made.load(Ordering::Relaxed);
    if made < reservation.size() {
        reservation.try_resize(made)?;
    }
    Ok(dealt.into_iter().map(|b| Output::Batches(b, Arc::clone(&reservation))).collect())
}
