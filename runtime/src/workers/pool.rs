//! The pool of a session's workers.
//!
//! A worker is started when a call finds none idle, up to one per thread of the session; beyond that
//! calls wait. All functions share the workers: the one that has the function already is preferred,
//! else the one that was used last. A worker that ended is replaced at the next call that needs one.

use super::error::WorkerError;
use super::process::Interpreter;
use super::worker::Worker;
use super::{Output, WorkerFunction};
use arrow::array::ArrayRef;
use parking_lot::{Condvar, Mutex, MutexGuard};
use std::time::Duration;

/// How often a call that waits for a worker looks for cancellation.
const TICK: Duration = Duration::from_millis(50);

/// How long the pool's lock is waited for. It is held for moments, unless this process was forked
/// while another thread held it: then for ever.
const LOCK: Duration = Duration::from_secs(5);

/// Workers, started as they are needed. Dropping the pool ends them.
#[derive(Debug)]
pub struct Pool {
    interpreter: Interpreter,
    most: usize,
    state: Mutex<State>,
    returned: Condvar,
}

#[derive(Debug)]
struct State {
    /// The process whose workers these are. After a fork the child starts its own.
    owner: u32,
    /// The last one was used last.
    idle: Vec<Worker>,
    /// Those that are starting or busy.
    busy: usize,
}

impl Pool {
    /// A pool of at most `most` workers, and one at least; none is started yet.
    pub fn new(interpreter: Interpreter, most: usize) -> Pool {
        Pool {
            interpreter,
            most: most.max(1),
            state: Mutex::new(State { owner: std::process::id(), idle: Vec::new(), busy: 0 }),
            returned: Condvar::new(),
        }
    }

    /// Calls a function on the columns of one batch, in a worker; blocks until it has answered.
    /// With `keeps_failures` rows that fail are listed in the output; else the first one is an error.
    /// `cancelled` is asked every 50 ms: once it says true, the worker is killed.
    ///
    /// # Errors
    /// [`WorkerError`]; after any of them the pool can be called again.
    pub fn call(
        &self,
        function: &WorkerFunction,
        columns: &[ArrayRef],
        rows: usize,
        keeps_failures: bool,
        cancelled: &dyn Fn() -> bool,
    ) -> Result<Output, WorkerError> {
        let mut seat = self.take(function, cancelled)?;
        let worker = match &mut seat.worker {
            Some(worker) => worker,
            none => none.insert(Worker::start(&self.interpreter, cancelled)?),
        };
        worker.call(function, columns, rows, keeps_failures, cancelled)
    }

    /// The processes that are idle.
    pub fn idle_pids(&self) -> Vec<u32> {
        self.state.lock().idle.iter().map(Worker::pid).collect()
    }

    fn lock(&self) -> Result<MutexGuard<'_, State>, WorkerError> {
        let mut state = self.state.try_lock_for(LOCK).ok_or(WorkerError::Forked)?;
        let here = std::process::id();
        if state.owner != here {
            // The parent's workers, and its calls. Dropping them here closes descriptors only.
            *state = State { owner: here, idle: Vec::new(), busy: 0 };
        }
        Ok(state)
    }

    /// The right to have a worker, and an idle one if there is one.
    fn take(&self, function: &WorkerFunction, cancelled: &dyn Fn() -> bool) -> Result<Seat<'_>, WorkerError> {
        let mut state = self.lock()?;
        loop {
            let mut at = state.idle.iter().rposition(|w| w.has(function));
            // A fresh interpreter is dearer than loading one more function.
            if at.is_none() && !state.idle.is_empty() {
                at = Some(state.idle.len() - 1);
            }
            if let Some(at) = at {
                let mut worker = state.idle.remove(at);
                if !worker.usable() {
                    // Somebody killed it while it was idle: no call was harmed.
                    continue;
                }
                state.busy += 1;
                return Ok(Seat { pool: self, worker: Some(worker) });
            }
            if state.busy < self.most {
                state.busy += 1;
                return Ok(Seat { pool: self, worker: None });
            }
            self.returned.wait_for(&mut state, TICK);
            if cancelled() {
                return Err(WorkerError::Cancelled);
            }
        }
    }
}

/// Gives the worker back, also when the caller panics.
struct Seat<'a> {
    pool: &'a Pool,
    worker: Option<Worker>,
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        let worker = self.worker.take().and_then(|mut w| w.usable().then_some(w));
        let mut state = self.pool.state.lock();
        state.busy -= 1;
        if let Some(worker) = worker {
            state.idle.push(worker);
        }
        drop(state);
        self.pool.returned.notify_one();
    }
}
