//! Streams that run on a thread of their own.
//!
//! A stage that calls functions of the user's blocks its thread: while it waits for the GIL, and for as
//! long as the function likes, which may run SQL on the same session. On a thread of tokio's that means to
//! hand the thread's other tasks to another one at every call, and to come back elsewhere: some ten
//! microseconds and a cold cache per batch, several times what a small NumPy function takes. So such a stage
//! has a thread from tokio's pool for blocking work from its first batch to its last. Others get its
//! batches through a channel, and go on with them while the next is made.
//!
//! Invariants: batches come in order; a stream that is dropped stops after the batch at hand; the thread sees
//! the query's cancellation.

use datafusion::common::runtime::JoinSet;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchReceiverStreamBuilder;
use futures::StreamExt;
use std::future::Future;
use tokio::runtime::Handle;

/// Batches that may wait for their reader: what is computed in vain when it wants no more.
const AHEAD: usize = 1;

/// The stream, polled by a thread of its own.
pub fn on_own_thread(mut stream: SendableRecordBatchStream) -> SendableRecordBatchStream {
    let mut channel = RecordBatchReceiverStreamBuilder::new(stream.schema(), AHEAD);
    let sender = channel.tx();
    channel.spawn_blocking(move || {
        Handle::current().block_on(async move {
            while let Some(batch) = stream.next().await {
                let last = batch.is_err();
                if sender.send(batch).await.is_err() || last {
                    break;
                }
            }
        });
        Ok(())
    });
    channel.build()
}

/// Starts work in a set: as a task, or if it `blocks` on a thread of its own.
pub fn spawn<T: Send + 'static>(
    set: &mut JoinSet<T>,
    blocks: bool,
    work: impl Future<Output = T> + Send + 'static,
) {
    if blocks {
        set.spawn_blocking(move || Handle::current().block_on(work));
    } else {
        set.spawn(work);
    }
}
