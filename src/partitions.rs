//! The partitions of a query, each a stream of its own, for callers that run them all at once and keep
//! the whole result.
//!
//! Such a caller can put rows where they belong from the first one on, if it knows how many rows each
//! partition has. For plans that neither add nor drop rows of a table in memory or of a generated
//! range, it does.

use std::sync::Arc;

use datafusion::common::stats::Precision;
use datafusion::error::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::statistics::{StatisticsArgs, StatisticsContext};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use fuseline_runtime::as_fused;
use fuseline_runtime::source::MemoryTable;
use futures::stream;

/// One partition of a running query. The rows of a query are those of its partitions in order.
pub struct Partition {
    /// Exactly how many rows it has, where that is known.
    pub rows: Option<usize>,
    /// Its batches. Nothing is computed before it is polled.
    pub batches: SendableRecordBatchStream,
}

impl std::fmt::Debug for Partition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Partition").field("rows", &self.rows).finish_non_exhaustive()
    }
}

/// Starts all partitions of `plan`; `wanted` is into how many a table that is read whole is divided.
pub(crate) fn execute(
    plan: &Arc<dyn ExecutionPlan>,
    context: &Arc<TaskContext>,
    wanted: usize,
) -> Result<Vec<Partition>, DataFusionError> {
    if let Some(table) = MemoryTable::of(plan) {
        return Ok(table_partitions(table, plan, wanted));
    }
    (0..plan.output_partitioning().partition_count())
        .map(|partition| {
            let rows = exact_rows(plan, partition);
            Ok(Partition { rows, batches: plan.execute(partition, Arc::clone(context))? })
        })
        .collect()
}

/// A table in memory, which DataFusion would hand out as one partition.
fn table_partitions(table: MemoryTable, plan: &Arc<dyn ExecutionPlan>, wanted: usize) -> Vec<Partition> {
    let table = Arc::new(table);
    let partitions = plan.output_partitioning().partition_count().max(wanted);
    table
        .deal(partitions)
        .into_iter()
        .map(|pieces| {
            let rows = pieces.iter().map(|piece| piece.rows()).sum();
            let table = Arc::clone(&table);
            let batches = stream::iter(pieces.into_iter().map(move |piece| table.read(piece)));
            let batches = Box::pin(RecordBatchStreamAdapter::new(plan.schema(), batches));
            Partition { rows: Some(rows), batches: batches as SendableRecordBatchStream }
        })
        .collect()
}

/// The rows of a partition, where its operators are known to keep every row.
fn exact_rows(plan: &Arc<dyn ExecutionPlan>, partition: usize) -> Option<usize> {
    if let Some(fused) = as_fused(plan) {
        return fused.exact_rows(partition);
    }
    if plan.is::<ProjectionExec>() {
        return exact_rows(plan.children().first()?, partition);
    }
    if !plan.children().is_empty() {
        return None;
    }
    let args = StatisticsArgs::new().with_partition(Some(partition));
    match StatisticsContext::new().compute(plan.as_ref(), &args).ok()?.num_rows {
        Precision::Exact(rows) => Some(rows),
        Precision::Inexact(_) | Precision::Absent => None,
    }
}
