//! The two sides of the boundary: what a function is given, and what it must be able to do.

use crate::udf::error::{CallError, Failure};
use arrow::array::ArrayRef;
use fuseline_codegen::function::Function;
use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::time::Duration;

/// A function over batches of rows.
///
/// It is called from several threads at once. It must compute each row from that row's arguments
/// alone: how rows are cut into batches is not defined, and when a batch fails, parts of it may be
/// tried again to find the row that is to blame (never for a volatile function).
pub trait BatchFunction: Send + Sync {
    /// The results of a batch: `batch.rows()` of them, of the declared type, a null for NULL.
    ///
    /// # Errors
    /// [`CallError`]: the boundary words it and, as the function's `on_error` says, fails the query
    /// or makes the rows NULL.
    fn call(&self, batch: &Batch<'_>) -> Result<ArrayRef, CallError>;

    /// How it runs, in a few words for EXPLAIN: "compiled", or why it is not.
    fn how(&self) -> Option<String> {
        None
    }

    /// Called when a query that may use it starts: what it was made of may have changed. Says whether it has.
    fn refresh(&self) -> bool {
        false
    }

    /// What must be entered before the call, such as Python's interpreter. Calls of one boundary
    /// that share it are made inside one entry.
    fn gate(&self) -> Option<&'static dyn Gate> {
        None
    }

    /// What the function does to a row, if that is known: then it may become part of a loop, and is called only for
    /// morsels in which a row bails. Such a function has no effects.
    fn body(&self) -> Option<Arc<Function>> {
        None
    }
}

/// Something that is entered and left at a cost, such as Python's interpreter with its lock.
pub trait Gate: Send + Sync {
    /// Runs the work inside and says how long entering took. Entries may be nested. If it cannot
    /// be entered, the work runs outside, and its calls say what is wrong.
    fn enter(&self, work: &mut dyn FnMut()) -> Duration;

    /// Runs, outside, the work of a thread that will enter often, and keeps meanwhile what every entry of
    /// the thread needs.
    fn host(&self, work: &mut dyn FnMut()) {
        work();
    }
}

/// Some rows, as columns of arguments.
pub struct Batch<'a> {
    args: &'a [ArrayRef],
    rows: usize,
    keeps_failures: bool,
    failures: RefCell<Vec<(usize, Failure)>>,
    converting: Cell<Duration>,
    waiting: Cell<Duration>,
    compiled: Cell<(usize, usize)>,
    demoted: Cell<bool>,
}

impl<'a> Batch<'a> {
    /// `keeps_failures`: see [`Batch::keeps_failures`].
    pub fn new(args: &'a [ArrayRef], rows: usize, keeps_failures: bool) -> Batch<'a> {
        Batch {
            args,
            rows,
            keeps_failures,
            failures: RefCell::default(),
            converting: Cell::default(),
            waiting: Cell::default(),
            compiled: Cell::default(),
            demoted: Cell::default(),
        }
    }

    /// The arguments that the call gives, in the order of the parameters, of the parameters' types,
    /// each with [`Batch::rows`] values. Trailing parameters whose default the function itself knows
    /// may be missing.
    pub fn args(&self) -> &'a [ArrayRef] {
        self.args
    }

    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Whether the query goes on without the rows that fail. A function that works row by row then
    /// reports each with [`Batch::fail_row`] instead of returning an error.
    pub fn keeps_failures(&self) -> bool {
        self.keeps_failures
    }

    /// Says that a row failed; its result is NULL whatever the returned column holds.
    pub fn fail_row(&self, row: usize, failure: Failure) {
        self.failures.borrow_mut().push((row, failure));
    }

    /// Counts rows that compiled code computed, and those that it gave to the language itself.
    pub fn ran_compiled(&self, computed: usize, bailed: usize) {
        let (a, b) = self.compiled.get();
        self.compiled.set((a + computed, b + bailed));
    }

    /// What [`Batch::ran_compiled`] counted.
    pub fn compiled(&self) -> (usize, usize) {
        self.compiled.get()
    }

    /// Counts time that went into converting arguments or results.
    pub fn spent_converting(&self, time: Duration) {
        self.converting.set(self.converting.get() + time);
    }

    /// Counts time that went into waiting for a lock.
    pub fn spent_waiting(&self, time: Duration) {
        self.waiting.set(self.waiting.get() + time);
    }

    /// Counts the batch as one that compiled code was not tried on.
    pub fn count_demoted(&self) {
        self.demoted.set(true);
    }

    /// Whether there is compiled code that was not tried.
    pub fn is_demoted(&self) -> bool {
        self.demoted.get()
    }

    /// Rows reported by [`Batch::fail_row`], and why each failed.
    pub fn take_failures(&self) -> Vec<(usize, Failure)> {
        self.failures.take()
    }

    /// The time spent converting and waiting so far.
    pub fn times(&self) -> (Duration, Duration) {
        (self.converting.get(), self.waiting.get())
    }
}
