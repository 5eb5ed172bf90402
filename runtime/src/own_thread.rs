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

use crate::metrics::StageMetrics;
use crate::program::Program;
use crate::udf::Gate;
use datafusion::common::runtime::JoinSet;
use datafusion::common::{Result, internal_err};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchReceiverStreamBuilder;
use futures::StreamExt;
use std::future::Future;
use tokio::runtime::Handle;

/// Batches that may wait for their reader: what is computed in vain when it wants no more.
const AHEAD: usize = 1;

/// Where a stage's work runs.
#[derive(Clone, Copy)]
pub enum Place {
    /// On tokio's workers, in turns with other tasks.
    Shared,
    /// On a thread of its own, which often enters what is named.
    Own(Option<&'static dyn Gate>),
}

impl Place {
    pub fn of(program: &Program, metrics: &StageMetrics) -> Place {
        if metrics.udfs.is_empty() { Place::Shared } else { Place::Own(program.gate()) }
    }
}

/// The stream, polled in its place.
pub fn run_stream(mut stream: SendableRecordBatchStream, place: Place) -> SendableRecordBatchStream {
    let gate = match place {
        Place::Shared => return stream,
        Place::Own(gate) => gate,
    };
    let mut channel = RecordBatchReceiverStreamBuilder::new(stream.schema(), AHEAD);
    let sender = channel.tx();
    channel.spawn_blocking(move || {
        let work = async move {
            while let Some(batch) = stream.next().await {
                let last = batch.is_err();
                if sender.send(batch).await.is_err() || last {
                    break;
                }
            }
        };
        hosted(gate, work);
        Ok(())
    });
    channel.build()
}

/// Starts work in a set, in its place.
pub fn spawn<T: Send + 'static>(
    set: &mut JoinSet<Result<T>>,
    place: Place,
    work: impl Future<Output = Result<T>> + Send + 'static,
) {
    match place {
        Place::Shared => set.spawn(work),
        Place::Own(gate) => set.spawn_blocking(move || match hosted(gate, work) {
            Some(outcome) => outcome,
            None => internal_err!("a gate did not run the work that it hosts"),
        }),
    };
}

/// The outcome of work on this thread; `None` if the gate did not run it.
fn hosted<T>(gate: Option<&'static dyn Gate>, work: impl Future<Output = T>) -> Option<T> {
    let mut work = Some(work);
    let mut outcome = None;
    let mut run = || outcome = work.take().map(|work| Handle::current().block_on(work));
    match gate {
        Some(gate) => gate.host(&mut run),
        None => run(),
    }
    outcome
}
