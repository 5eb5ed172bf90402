//! Stopping Python functions of a query that was given up, or of a program that ends.
//!
//! An exception is set in the thread that runs the function; pure Python raises it within a few
//! milliseconds, native code when it comes back to Python.

use crate::cancel::{self, Cancellation};
use parking_lot::Mutex;
use pyo3::ffi;
use pyo3::prelude::*;
use std::cell::Cell;
use std::os::raw::c_long;
use std::time::{Duration, Instant};

/// A thread that is inside Python for a query.
struct Running {
    thread: c_long,
    query: Option<Cancellation>,
    interrupted: bool,
}

/// Changed only with the GIL held.
static RUNNING: Mutex<Vec<Running>> = Mutex::new(Vec::new());

thread_local! {
    static THREAD: Cell<c_long> = const { Cell::new(0) };
}

fn thread_id(py: Python<'_>) -> c_long {
    if THREAD.get() == 0 {
        let id = py.import("threading").and_then(|t| t.call_method0("get_ident")?.extract::<u64>());
        THREAD.set(id.map_or(0, |id| id as c_long));
    }
    THREAD.get()
}

/// This thread is inside as long as the value lives, which must be no longer than the GIL is held.
pub struct Inside(c_long);

impl Inside {
    pub fn new(py: Python<'_>) -> Inside {
        let thread = thread_id(py);
        cancel::on_cancel(notice);
        RUNNING.lock().push(Running { thread, query: cancel::current(), interrupted: false });
        Inside(thread)
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        let mut running = RUNNING.lock();
        let Some(at) = running.iter().rposition(|r| r.thread == self.0) else { return };
        if running.swap_remove(at).interrupted {
            // SAFETY: the GIL is held. An exception that was not raised any more must not hit whatever
            // this thread runs next.
            unsafe { ffi::PyThreadState_SetAsyncExc(self.0, std::ptr::null_mut()) };
        }
    }
}

fn raise_in(which: impl Fn(&Running) -> bool) -> bool {
    let mut found = false;
    for running in RUNNING.lock().iter_mut().filter(|r| which(r)) {
        found = true;
        running.interrupted = true;
        // SAFETY: the GIL is held, and KeyboardInterrupt is a class that is always there.
        unsafe { ffi::PyThreadState_SetAsyncExc(running.thread, ffi::PyExc_KeyboardInterrupt) };
    }
    found
}

/// Whether a function is still to be told that its query was given up. It is told once: a second exception
/// would hit the `finally` that the first one runs.
fn is_due(running: &Running) -> bool {
    !running.interrupted && running.query.as_ref().is_some_and(Cancellation::is_cancelled)
}

/// Raises KeyboardInterrupt in the functions of queries that were given up.
pub fn interrupt_cancelled(_py: Python<'_>) {
    raise_in(is_due);
}

/// The same from wherever a query is given up: by a task that drops what it waited for, long after the one
/// that started it has ended.
fn notice() {
    // Released before the wait for the GIL, whose holder may want it.
    let any = RUNNING.lock().iter().any(is_due);
    if any {
        Python::try_attach(interrupt_cancelled);
    }
}

/// Raises KeyboardInterrupt in all functions and waits until they have ended, but not for ever: for
/// the end of the program, when [`crate::python::gate::close`] lets nobody enter any more.
pub fn interrupt_all(py: Python<'_>, patience: Duration) {
    let started = Instant::now();
    while raise_in(|_| true) && started.elapsed() < patience {
        py.detach(|| std::thread::sleep(Duration::from_millis(5)));
    }
}
