//! Running asynchronous work from Python.
//!
//! The work runs on the connection's threads with the GIL released. The calling thread waits, and
//! between short waits asks Python for signals, so Ctrl-C raises KeyboardInterrupt here and aborts
//! the work, whatever it is doing.

use std::future::Future;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::Duration;

use parking_lot::Mutex;
use pyo3::prelude::*;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

use crate::error::{ExecutionError, to_py};

/// How long Python's signals may wait.
const POLL: Duration = Duration::from_millis(50);

/// The threads of a connection. Dropping the last owner stops them without waiting for them: Python
/// may drop it with the GIL held.
pub struct Threads(Option<Runtime>);

impl Threads {
    /// Starts `count` threads; one per core when there is no count.
    pub fn start(count: Option<usize>) -> PyResult<Arc<Threads>> {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder.enable_all().thread_name("fuseline");
        if let Some(count) = count {
            builder.worker_threads(count);
        }
        let runtime =
            builder.build().map_err(|e| ExecutionError::new_err(format!("cannot start threads: {e}")))?;
        Ok(Arc::new(Threads(Some(runtime))))
    }

    /// Starts work whose outcome `Task::wait` hands over.
    pub fn spawn<T: Send + 'static>(
        &self,
        work: impl Future<Output = fuseline::Result<T>> + Send + 'static,
    ) -> PyResult<Task<T>> {
        let runtime = self
            .0
            .as_ref()
            .ok_or_else(|| ExecutionError::new_err("the threads of this connection have ended"))?;
        let (sender, receiver) = mpsc::sync_channel(1);
        let handle = runtime.spawn(async move {
            // The receiver is gone when the wait was interrupted.
            let _ = sender.send(work.await);
        });
        Ok(Task { handle, receiver: Mutex::new(receiver) })
    }

    /// Runs work and waits for it.
    pub fn run<T: Send + 'static>(
        &self,
        py: Python<'_>,
        work: impl Future<Output = fuseline::Result<T>> + Send + 'static,
    ) -> PyResult<T> {
        self.spawn(work)?.wait(py)
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// Work on its way. Dropping it aborts the work.
pub struct Task<T> {
    handle: JoinHandle<()>,
    // Only the waiting thread receives; the lock makes the receiver shareable with `detach`.
    receiver: Mutex<Receiver<fuseline::Result<T>>>,
}

impl<T: Send> Task<T> {
    /// Waits with the GIL released. Fails with the work's error, or with the exception that a signal
    /// handler raised.
    pub fn wait(&self, py: Python<'_>) -> PyResult<T> {
        loop {
            match py.detach(|| self.receiver.lock().recv_timeout(POLL)) {
                Ok(outcome) => return outcome.map_err(to_py),
                Err(RecvTimeoutError::Timeout) => py.check_signals()?,
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(ExecutionError::new_err("internal error: the query panicked"));
                }
            }
        }
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.handle.abort();
    }
}
