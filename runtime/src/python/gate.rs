//! Entering Python: once for all functions of a boundary.
//!
//! Who enters may wait for the GIL, and then run the user's code for long, even SQL on the same
//! session. So a thread of a multi-threaded tokio runtime first hands its other tasks to a
//! replacement: then nothing waits for it, and one thread is enough for a query inside a function.

use crate::udf::Gate;
use pyo3::prelude::*;
use std::cell::Cell;
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

struct Leave(bool);

impl Drop for Leave {
    fn drop(&mut self) {
        INSIDE.set(self.0);
    }
}

/// Runs work with the GIL held; also says how long it waited. `None`: the interpreter has ended.
pub fn enter<T>(work: impl for<'py> FnOnce(Python<'py>) -> T) -> (Option<T>, Duration) {
    let started = Instant::now();
    let mut waited = Duration::ZERO;
    let attached = || {
        Python::try_attach(|py| {
            waited = started.elapsed();
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
}
