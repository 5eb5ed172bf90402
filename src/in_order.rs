//! The partitions of a plan as one stream: first all of partition 0, then all of partition 1, ..., while
//! the later ones are computed already.
//!
//! For a scan of a table or of files this is the order in which the rows lie there. What arrives before
//! its turn waits in memory: at most `buffer` bytes of all later partitions together, then they pause
//! until there is room. The partition whose turn it is pauses only when its reader does.
//!
//! Where partitions share a producer (a repartition that deals batches out as they come), holding one
//! back fills that producer's memory instead. Such plans are merged by arrival, as DataFusion does it.
//!
//! Whatever the plan, its batches are made by tasks and wait in queues, so a reader that finds one ready
//! has it at once, without waking anybody.

use std::any::Any;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use datafusion::arrow::array::{Array, AsArray, RecordBatch};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::Result as DataFusionResult;
// Not tokio's: its tasks inherit the query's cancellation.
use datafusion::common::runtime::JoinSet;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::execution_plan::EmissionType;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties, execute_stream};
use futures::{FutureExt, StreamExt, stream};
use tokio::sync::Notify;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// Starts `plan`.
pub(crate) fn execute(
    plan: &Arc<dyn ExecutionPlan>,
    context: Arc<TaskContext>,
    buffer: usize,
) -> DataFusionResult<SendableRecordBatchStream> {
    let partitions = plan.output_partitioning().partition_count();
    let parts = if partitions < 2 || shares_a_producer(plan) {
        vec![execute_stream(Arc::clone(plan), context)?]
    } else {
        (0..partitions).map(|p| plan.execute(p, Arc::clone(&context))).collect::<DataFusionResult<_>>()?
    };
    let room = Arc::new(Room {
        turn: AtomicUsize::new(0),
        held: AtomicUsize::new(0),
        buffer,
        changed: Notify::new(),
    });
    let mut producers = JoinSet::new();
    let mut queues = Vec::with_capacity(parts.len());
    for (partition, batches) in parts.into_iter().enumerate() {
        let (sender, receiver) = unbounded_channel();
        let queue = Arc::new(AtomicUsize::new(0));
        queues.push((receiver, Arc::clone(&queue)));
        producers.spawn(produce(batches, sender, Arc::clone(&room), partition, queue));
    }
    queues.reverse();
    let merged = Merged { queues, room, _producers: producers };
    let batches = stream::unfold(merged, |mut merged| async move {
        let item = merged.next().await?;
        Some((item, merged))
    });
    Ok(Box::pin(RecordBatchStreamAdapter::new(plan.schema(), batches)))
}

/// Whether partitions of `plan` get their rows from one operator below as it has them. An operator that
/// gives its first row only after its last input row has drained whatever is below it.
fn shares_a_producer(plan: &Arc<dyn ExecutionPlan>) -> bool {
    if plan.is::<RepartitionExec>() {
        return true;
    }
    if plan.pipeline_behavior() == EmissionType::Final || plan.output_partitioning().partition_count() == 1 {
        return false;
    }
    plan.children().into_iter().any(shares_a_producer)
}

/// What the partitions may hold.
struct Room {
    /// The partition that is being read.
    turn: AtomicUsize,
    /// Bytes that wait in all queues.
    held: AtomicUsize,
    buffer: usize,
    changed: Notify,
}

impl Room {
    /// Waits until `partition`, whose own queue is `queue` bytes long, may add to it.
    async fn wait(&self, partition: usize, queue: &AtomicUsize) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let held = if self.turn.load(Ordering::SeqCst) == partition {
                queue.load(Ordering::SeqCst)
            } else {
                self.held.load(Ordering::SeqCst)
            };
            if held < self.buffer {
                return;
            }
            changed.await;
        }
    }
}

enum Item {
    Batch(DataFusionResult<RecordBatch>, usize),
    Panic(Box<dyn Any + Send>),
}

async fn produce(
    mut batches: SendableRecordBatchStream,
    sender: UnboundedSender<Item>,
    room: Arc<Room>,
    partition: usize,
    queue: Arc<AtomicUsize>,
) {
    loop {
        room.wait(partition, &queue).await;
        let item = match AssertUnwindSafe(batches.next()).catch_unwind().await {
            Ok(Some(Ok(batch))) => {
                let bytes = held_bytes(&batch);
                queue.fetch_add(bytes, Ordering::SeqCst);
                room.held.fetch_add(bytes, Ordering::SeqCst);
                Item::Batch(Ok(batch), bytes)
            }
            Ok(Some(Err(error))) => Item::Batch(Err(error), 0),
            Ok(None) => return,
            Err(panic) => Item::Panic(panic),
        };
        let last = !matches!(item, Item::Batch(Ok(_), _));
        if sender.send(item).is_err() || last {
            return;
        }
    }
}

/// The reader's side.
struct Merged {
    /// Those not yet read to their end, the next one last.
    queues: Vec<(UnboundedReceiver<Item>, Arc<AtomicUsize>)>,
    room: Arc<Room>,
    /// Dropping them stops the producers.
    _producers: JoinSet<()>,
}

impl Merged {
    async fn next(&mut self) -> Option<DataFusionResult<RecordBatch>> {
        loop {
            let (receiver, queue) = self.queues.last_mut()?;
            match receiver.recv().await {
                Some(Item::Batch(batch, bytes)) => {
                    queue.fetch_sub(bytes, Ordering::SeqCst);
                    self.room.held.fetch_sub(bytes, Ordering::SeqCst);
                    self.room.changed.notify_waiters();
                    if batch.is_err() {
                        self.queues.clear();
                    }
                    return Some(batch);
                }
                // Whoever reads the stream catches panics of its plan.
                Some(Item::Panic(panic)) => resume_unwind(panic),
                None => {
                    self.queues.pop();
                    self.room.turn.fetch_add(1, Ordering::SeqCst);
                    self.room.changed.notify_waiters();
                }
            }
        }
    }
}

/// The bytes of the batch's own rows; what they are slices of may be far bigger.
fn held_bytes(batch: &RecordBatch) -> usize {
    let column = |column: &dyn Array| match column.data_type() {
        DataType::Utf8View => column.as_string_view().total_buffer_bytes_used() + 16 * column.len(),
        DataType::BinaryView => column.as_binary_view().total_buffer_bytes_used() + 16 * column.len(),
        _ => column.to_data().get_slice_memory_size().unwrap_or_else(|_| column.get_array_memory_size()),
    };
    batch.columns().iter().map(|c| column(c.as_ref())).sum()
}
