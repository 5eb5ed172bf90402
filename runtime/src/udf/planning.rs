//! Telling planning from running.
//!
//! DataFusion computes an immutable call over constants while it plans. That would call a function
//! for an EXPLAIN, and on rows that a CASE excludes; so while a plan is made, the boundary refuses,
//! and DataFusion leaves the call in the plan.

use std::cell::Cell;
use std::pin::pin;

thread_local! {
    static PLANNING: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread is making a plan.
pub fn is_planning() -> bool {
    PLANNING.get()
}

struct Restore(bool);

impl Drop for Restore {
    fn drop(&mut self) {
        PLANNING.set(self.0);
    }
}

/// Makes a plan: user-defined functions are not called meanwhile.
pub fn planning<T>(plan: impl FnOnce() -> T) -> T {
    let _restore = Restore(PLANNING.replace(true));
    plan()
}

/// As [`planning`], for plans that are made asynchronously.
pub async fn planning_async<F: Future>(plan: F) -> F::Output {
    let mut plan = pin!(plan);
    std::future::poll_fn(move |cx| planning(|| plan.as_mut().poll(cx))).await
}
