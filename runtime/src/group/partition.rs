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
use fuseline_codegen::groups::{DealtGroups, Groups};
use fuseline_planner::GroupColumn;
use futures::Stream;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// Groups on their way out: those at hand, then the parts from `part` on that others were dealt to. What is at
/// hand may refer to the parts, so it goes first.
struct Leaving {
    groups: Option<Groups>,
    next: usize,
    dealt: Option<DealtGroups>,
    part: usize,
    _reservation: MemoryReservation,
}

impl Leaving {
    fn of(groups: Groups, reservation: MemoryReservation) -> Leaving {
        let (groups, dealt) = match groups.dealt_parts() {
            Some(parts) => (None, Some(groups.into_dealt(parts))),
            None => (Some(groups), None),
        };
        Leaving { groups, next: 0, dealt, part: 0, _reservation: reservation }
    }

    /// The next groups, at most so many.
    fn next(&mut self, most: usize) -> Option<(&Groups, Range<usize>)> {
        while self.groups.as_ref().is_none_or(|g| self.next >= g.len()) {
            let dealt = self.dealt.as_ref().filter(|d| self.part < d.parts())?;
            self.groups = Some(dealt.part(self.part));
            (self.next, self.part) = (0, self.part + 1);
        }
        let groups = self.groups.as_ref()?;
        let rows = self.next..groups.len().min(self.next + most);
        self.next = rows.end;
        Some((groups, rows))
    }
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
                let _timer = self.worker.metrics.baseline.elapsed_compute().timer();
                if let Some((groups, rows)) = leaving.next(self.batch_size) {
                    return Poll::Ready(Some(groups_batch(groups, rows, &self.columns, &self.schema)));
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
                Ok((groups, reservation)) => self.leaving = Some(Leaving::of(groups, reservation)),
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
