//! What is counted per function and partition of a stage: EXPLAIN ANALYZE prints it.
//!
//! A function runs deep inside DataFusion's expressions, which hand no metrics down. So the stage
//! says on its thread whose metrics count while its calls run ([`scope`]), and the boundary asks.

use crate::udf::function::Batch;
use datafusion::physical_plan::metrics::{Count, ExecutionPlanMetricsSet, MetricBuilder, Time};
use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

/// The counts of one function in one partition of a stage.
#[derive(Clone, Debug)]
pub struct UdfMetrics {
    /// Whose counts these are: see `BoundaryUdf::id`.
    pub id: usize,
    /// Batches handed over.
    pub calls: Count,
    /// Rows in them.
    pub rows: Count,
    /// Rows whose failure became NULL.
    pub failed_rows: Count,
    /// Rows that compiled code computed.
    pub compiled_rows: Count,
    /// Rows that compiled code gave to Python.
    pub bailed_rows: Count,
    /// Batches that compiled code was not tried on, because most rows before had bailed.
    pub demoted_calls: Count,
    /// Inside the function itself.
    pub function_time: Time,
    /// Converting arguments and results.
    pub conversion_time: Time,
    /// Waiting to enter (Python: for the GIL).
    pub wait_time: Time,
}

impl UdfMetrics {
    pub fn new(set: &ExecutionPlanMetricsSet, partition: usize, id: usize, name: &str) -> UdfMetrics {
        let count = |what: &str| MetricBuilder::new(set).counter(format!("udf_{name}_{what}"), partition);
        let time = |what: &str| MetricBuilder::new(set).subset_time(format!("udf_{name}_{what}"), partition);
        UdfMetrics {
            id,
            calls: count("calls"),
            rows: count("rows"),
            failed_rows: count("failed_rows"),
            compiled_rows: count("compiled_rows"),
            bailed_rows: count("bailed_rows"),
            demoted_calls: count("demoted_calls"),
            function_time: time("function_time"),
            conversion_time: time("conversion_time"),
            wait_time: time("wait_time"),
        }
    }

    /// Counts what compiled code did of a batch.
    pub fn record_compiled(&self, batch: &Batch<'_>) {
        let (done, bailed) = batch.compiled();
        self.compiled_rows.add(done);
        self.bailed_rows.add(bailed);
        self.demoted_calls.add(usize::from(batch.is_demoted()));
    }

    /// Counts the rows of a morsel whose loop had the function in it.
    pub fn record_inlined(&self, rows: usize) {
        self.rows.add(rows);
        self.compiled_rows.add(rows);
    }

    /// Counts one call.
    pub fn record(&self, rows: usize, total: Duration, (converting, waiting): (Duration, Duration)) {
        self.calls.add(1);
        self.rows.add(rows);
        self.function_time.add_duration(total.saturating_sub(converting + waiting));
        self.conversion_time.add_duration(converting);
        self.wait_time.add_duration(waiting);
    }
}

thread_local! {
    static CURRENT: RefCell<Option<Arc<[UdfMetrics]>>> = const { RefCell::new(None) };
}

/// Runs calls whose metrics are these. May be nested: a function may run a query on its own thread.
pub fn scope<T>(metrics: &Arc<[UdfMetrics]>, work: impl FnOnce() -> T) -> T {
    /// Puts the former metrics back, also after a panic.
    struct Restore(Option<Arc<[UdfMetrics]>>);
    impl Drop for Restore {
        fn drop(&mut self) {
            let former = self.0.take();
            CURRENT.with(|c| *c.borrow_mut() = former);
        }
    }
    let former = CURRENT.with(|c| c.borrow_mut().replace(Arc::clone(metrics)));
    let _restore = Restore(former);
    work()
}

/// The metrics of a function on this thread, if a stage is running it.
pub fn current(id: usize) -> Option<UdfMetrics> {
    CURRENT.with(|c| c.borrow().as_ref().and_then(|m| m.iter().find(|m| m.id == id).cloned()))
}
