//! Entering Python: once for all functions of a boundary.
//!
//! Who enters may wait for the GIL, and then run the user's code for long, even SQL on the same
//! session. So a thread of a multi-threaded tokio runtime first hands its other tasks to a
//! replacement: then nothing waits for it, and one thread is enough for a query inside a function.
//!
//! A thread that is inside when the interpreter ends would be ended by Python, in the middle of Rust
//! code. So Python calls [`close`] before: nobody enters any more, and those inside may leave.

use crate::python::interrupt::Inside;
use crate::udf::Gate;
use pyo3::ffi;
use pyo3::prelude::*;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::runtime::{Handle, RuntimeFlavor};

/// Python's interpreter.
pub struct PythonGate;

/// The one interpreter.
pub static PYTHON: PythonGate = PythonGate;

thread_local! {
    /// Whether this thread is inside already.
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// Whether the interpreter is about to end.
static CLOSED: AtomicBool = AtomicBool::new(false);
/// Threads that are inside or wait to enter.
static VISITORS: AtomicUsize = AtomicUsize::new(0);

/// A thread that is inside or waits to enter.
struct Visit;

impl Visit {
    /// `None` when the interpreter is about to end.
    fn begin() -> Option<Visit> {
        VISITORS.fetch_add(1, Ordering::SeqCst);
        let visit = Visit;
        // Counted first: `close` sees either the visit or its end.
        if CLOSED.load(Ordering::SeqCst) { None } else { Some(visit) }
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        VISITORS.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Lets nobody enter from now on, and waits, at most `patience`, for those inside to leave. Call it
/// without the GIL, which they need.
pub fn close(patience: Duration) {
    CLOSED.store(true, Ordering::SeqCst);
    let begin = Instant::now();
    while VISITORS.load(Ordering::SeqCst) > 0 && begin.elapsed() < patience {
        std::thread::sleep(Duration::from_millis(1));
    }
}

struct Leave(bool);

impl Drop for Leave {
    fn drop(&mut self) {
        INSIDE.set(self.0);
    }
}

/// Runs work with the GIL held; also says how long it waited. `None`: the interpreter has ended.
pub fn enter<T>(work: impl for<'py> FnOnce(Python<'py>) -> T) -> (Option<T>, Duration) {
    let started = Instant::now();
    let visit = Visit::begin();
    // Who is inside already goes on to its end.
    if visit.is_none() && !INSIDE.get() {
        return (None, Duration::ZERO);
    }
    let mut waited = Duration::ZERO;
    let attached = || {
        Python::try_attach(|py| {
            waited = started.elapsed();
            let _inside = if INSIDE.get() { None } else { Some(Inside::new(py)) };
            let _leave = Leave(INSIDE.replace(true));
            work(py)
        })
    };
    let shares_thread =
        || Handle::try_current().is_ok_and(|h| h.runtime_flavor() == RuntimeFlavor::MultiThread);
    let result =
        if !INSIDE.get() && shares_thread() { tokio::task::block_in_place(attached) } else { attached() };
    (result, waited)
}

impl Gate for PythonGate {
    fn enter(&self, work: &mut dyn FnMut()) -> Duration {
        let mut ran = false;
        let (_, waited) = enter(|_| {
            ran = true;
            work();
        });
        if !ran {
            work();
        }
        waited
    }

    /// Without this, Python makes a thread state for every entry, and unmaps its stack at the end of it:
    /// the processors then wait for each other to forget the pages, twice as long as a small function takes.
    fn host(&self, work: &mut dyn FnMut()) {
        let Some(visit) = Visit::begin() else { return work() };
        // SAFETY: the interpreter lives, as the visit keeps `close` waiting, which Python calls before its
        // end; the pair of calls below ends what this begins, on the same thread.
        let (state, thread) = unsafe { (ffi::PyGILState_Ensure(), ffi::PyEval_SaveThread()) };
        drop(visit);
        // What the work unwinds with must not skip the end of this.
        let outcome = catch_unwind(AssertUnwindSafe(work));
        if let Some(_visit) = Visit::begin() {
            // SAFETY: `thread` is this thread's state, which `PyEval_SaveThread` gave; the interpreter lives,
            // as above. Where it has ended, the state has ended with it.
            unsafe {
                ffi::PyEval_RestoreThread(thread);
                ffi::PyGILState_Release(state);
            }
        }
        if let Err(panic) = outcome {
            resume_unwind(panic);
        }
    }
}
