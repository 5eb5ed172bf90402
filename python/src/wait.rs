//! Running asynchronous work from Python.
//!
//! The work runs on the connection's threads with the GIL released. The calling thread waits, and
//! between short waits asks Python for signals, so Ctrl-C raises KeyboardInterrupt here and aborts
//! the work, whatever it is doing.
//!
//! Threads do not survive a fork. A child process that goes on with a connection gets new ones, unless
//! work was running at the moment of the fork: what that work held is held forever in the child, so it
//! gets an error that says what to do.

use std::future::Future;
use std::mem;
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::Duration;

use fuseline::Cancellation;
use fuseline::python::interrupt::interrupt_cancelled;
use parking_lot::Mutex;
use pyo3::prelude::*;
use tokio::runtime::{Handle, Runtime};
use tokio::task::JoinHandle;

use crate::error::{ExecutionError, to_py};

/// How long Python's signals may wait.
const POLL: Duration = Duration::from_millis(50);

/// The threads of a connection. Dropping the last owner stops them without waiting for them: Python
/// may drop it with the GIL held.
pub struct Threads {
    count: Option<usize>,
    pool: Mutex<Pool>,
}

/// The threads of one process.
struct Pool {
    /// None once it is dropped.
    runtime: Option<Runtime>,
    process: u32,
    /// Works that have been started and have not ended.
    running: Arc<AtomicUsize>,
}

impl Pool {
    fn start(count: Option<usize>) -> PyResult<Pool> {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder.enable_all().thread_name("fuseline");
        if let Some(count) = count {
            builder.worker_threads(count);
        }
        let runtime =
            builder.build().map_err(|e| ExecutionError::new_err(format!("cannot start threads: {e}")))?;
        Ok(Pool { runtime: Some(runtime), process: process::id(), running: Arc::default() })
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let Some(runtime) = self.runtime.take() else {
            return;
        };
        if self.process == process::id() {
            runtime.shutdown_background();
        } else {
            // Its threads are the parent's, and nobody here would answer.
            mem::forget(runtime);
        }
    }
}

/// Counts a work as running.
struct Running(Arc<AtomicUsize>);

impl Running {
    fn new(count: &Arc<AtomicUsize>) -> Running {
        count.fetch_add(1, Ordering::SeqCst);
        Running(count.clone())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Threads {
    /// Starts `count` threads; one per core when there is no count.
    pub fn start(count: Option<usize>) -> PyResult<Arc<Threads>> {
        Ok(Arc::new(Threads { count, pool: Mutex::new(Pool::start(count)?) }))
    }

    /// The threads of this process.
    fn handle(&self) -> PyResult<(Handle, Running)> {
        let mut pool = self.pool.lock();
        if pool.process != process::id() {
            if pool.running.load(Ordering::SeqCst) > 0 {
                return Err(ExecutionError::new_err(
                    "this process was forked while a query ran on this connection, which cannot be used \
                     here: open a new connection after the fork",
                ));
            }
            *pool = Pool::start(self.count)?;
        }
        let runtime = pool.runtime.as_ref();
        let runtime =
            runtime.ok_or_else(|| ExecutionError::new_err("the threads of this connection have ended"))?;
        Ok((runtime.handle().clone(), Running::new(&pool.running)))
    }

    /// Runs something short on this thread as if it were one of the connection's, on which tasks can be
    /// started.
    pub fn within<T>(&self, work: impl FnOnce() -> T) -> PyResult<T> {
        let (runtime, _running) = self.handle()?;
        let _guard = runtime.enter();
        Ok(work())
    }

    /// Starts work whose outcome `Task::wait` hands over.
    pub fn spawn<T: Send + 'static>(
        &self,
        work: impl Future<Output = fuseline::Result<T>> + Send + 'static,
    ) -> PyResult<Task<T>> {
        let (runtime, running) = self.handle()?;
        let (sender, receiver) = mpsc::sync_channel(1);
        let cancellation = Cancellation::default();
        let inside = cancellation.clone();
        let handle = runtime.spawn(async move {
            let outcome = inside.scope(work).await;
            // Before the caller hears of it: it may fork next.
            drop(running);
            // The receiver is gone when the wait was interrupted.
            let _ = sender.send(outcome);
        });
        Ok(Task { handle, cancellation, ended: AtomicBool::new(false), receiver: Mutex::new(receiver) })
    }

    /// Runs work and waits for it.
    pub fn run<T: Send + 'static>(
        &self,
        py: Python<'_>,
        work: impl Future<Output = fuseline::Result<T>> + Send + 'static,
    ) -> PyResult<T> {
        self.spawn(work)?.wait(py)?.map_err(to_py)
    }

    /// Runs work and waits for it; the work's own failure is not yet an exception.
    pub fn run_for<T: Send + 'static>(
        &self,
        py: Python<'_>,
        work: impl Future<Output = fuseline::Result<T>> + Send + 'static,
    ) -> PyResult<fuseline::Result<T>> {
        self.spawn(work)?.wait(py)
    }
}

/// Work on its way. Dropping it aborts the work.
pub struct Task<T> {
    handle: JoinHandle<()>,
    /// Reaches what abort does not: functions that are being called.
    cancellation: Cancellation,
    /// The work was done, and its outcome taken.
    ended: AtomicBool,
    // Only the waiting thread receives; the lock makes the receiver shareable with `detach`.
    receiver: Mutex<Receiver<fuseline::Result<T>>>,
}

impl<T: Send> Task<T> {
    /// Waits with the GIL released for the work's outcome. Fails with the exception that a signal
    /// handler raised.
    pub fn wait(&self, py: Python<'_>) -> PyResult<fuseline::Result<T>> {
        loop {
            match py.detach(|| self.receiver.lock().recv_timeout(POLL)) {
                Ok(outcome) => {
                    // What failed may have left parts behind that still run.
                    self.ended.store(outcome.is_ok(), Ordering::Relaxed);
                    return Ok(outcome);
                }
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
        // Not once the work is done: what it made may live on, such as a query that has been started.
        if !self.ended.load(Ordering::Relaxed) {
            self.cancellation.cancel();
            // Functions in Python look at nothing while they run.
            Python::try_attach(interrupt_cancelled);
        }
    }
}
