//! The states of a partition's groups, for an aggregate above to merge.
//!
//! States may leave more than once for a group. So when there is no memory for more groups, those that are
//! there leave, and the table starts anew.

use super::groups_batch;
use super::worker::{Consumed, Worker};
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::common::Result;
use datafusion::execution::RecordBatchStream;
use datafusion::execution::memory_pool::MemoryReservation;
use fuseline_codegen::groups::Groups;
use fuseline_planner::GroupColumn;
use futures::Stream;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// Groups on their way out.
struct Leaving {
    groups: Groups,
    next: usize,
    _reservation: MemoryReservation,
}

/// The states of one output partition.
pub struct PartitionStream {
    worker: Worker,
    columns: Arc<[GroupColumn]>,
    schema: SchemaRef,
    batch_size: usize,
    leaving: Option<Leaving>,
    done: bool,
}

impl PartitionStream {
    pub fn new(
        worker: Worker,
        columns: Arc<[GroupColumn]>,
        schema: SchemaRef,
        batch_size: usize,
    ) -> PartitionStream {
        PartitionStream { worker, columns, schema, batch_size: batch_size.max(1), leaving: None, done: false }
    }

    fn poll_batch(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<RecordBatch>>> {
        loop {
            if let Some(leaving) = &mut self.leaving {
                let rows = leaving.next..leaving.groups.len().min(leaving.next + self.batch_size);
                if !rows.is_empty() {
                    leaving.next = rows.end;
                    let _timer = self.worker.metrics.baseline.elapsed_compute().timer();
                    let batch = groups_batch(&leaving.groups, rows, &self.columns, &self.schema);
                    return Poll::Ready(Some(batch));
                }
                self.leaving = None;
            }
            if self.done {
                return Poll::Ready(None);
            }
            match ready!(self.worker.poll_consume(cx, None)) {
                Ok(Consumed::All) => self.done = true,
                Ok(Consumed::Refused) => {}
                Err(e) => {
                    self.done = true;
                    return Poll::Ready(Some(Err(e)));
                }
            }
            match self.worker.take_groups() {
                Ok((groups, _reservation)) => self.leaving = Some(Leaving { groups, next: 0, _reservation }),
                Err(e) => {
                    self.done = true;
                    return Poll::Ready(Some(Err(e)));
                }
            }
        }
    }
}

impl Stream for PartitionStream {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let poll = self.poll_batch(cx);
        self.worker.metrics.baseline.record_poll(poll)
    }
}

impl RecordBatchStream for PartitionStream {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
}
