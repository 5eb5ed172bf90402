//! Where the borrowed test material lies, and the sessions that run it.
//!
//! The material (SQL suites, corrupt files, TPC-H queries) is not part of this repository: it is read
//! from `$FUSELINE_SUITES`, by default `../shared/suites` beside the workspace root. A test whose
//! folder is absent prints `skipped: ...` and passes, so that a bare checkout stays testable.
//!
//! Every suite runs with `fuseline.fusion = 'force'`, because its tables hold a handful of rows and a
//! row threshold would send all of them to DataFusion's own operators; and every suite counts how many
//! plans held a `FusedExec`, because a pass in which nothing fused proves nothing about fuseline.

use std::path::PathBuf;
use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use datafusion::physical_plan::ExecutionPlan;
use fuseline::Session;
use futures::FutureExt;

/// The folder `name` of the test material, or `None` (after saying so) when it is absent.
pub fn folder(name: &str) -> Option<PathBuf> {
    let root = match std::env::var_os("FUSELINE_SUITES") {
        Some(dir) => PathBuf::from(dir),
        None => PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/suites"),
    };
    let dir = root.join(name);
    match dir.canonicalize() {
        Ok(dir) => Some(dir),
        Err(_) => {
            println!("skipped: no {} (set FUSELINE_SUITES)", dir.display());
            None
        }
    }
}

/// Whether the long forms run: all files and all cases, tens of minutes instead of a few.
pub fn nightly() -> bool {
    std::env::var_os("FUSELINE_NIGHTLY").is_some_and(|v| v == "1")
}

/// What runs fused loops: compiled code, or what `$FUSELINE_BACKEND` says (`interp` for the interpreter).
pub fn backend() -> String {
    std::env::var("FUSELINE_BACKEND").unwrap_or_else(|_| "cpu".into())
}

/// A session with the given `fuseline.fusion` mode, thread count and DataFusion batch size (rows).
pub fn session(fusion: &str, threads: usize, batch_rows: usize) -> Session {
    Session::builder()
        .threads(threads)
        .set("fuseline.fusion", fusion)
        .set("fuseline.backend", backend())
        .set("datafusion.execution.batch_size", batch_rows.to_string())
        .set("datafusion.catalog.information_schema", "true")
        .build()
        .expect("a session with valid settings")
}

/// What one statement gave: its physical plan, when it had one, and its rows.
pub struct Outcome {
    pub plan: Option<Arc<dyn ExecutionPlan>>,
    pub batches: Vec<RecordBatch>,
}

/// Runs one statement to its end; errors and panics alike come back as text, a panic marked as such.
pub async fn run(session: &Session, sql: &str) -> Result<Outcome, String> {
    let work = async {
        let query = session.sql(sql).await.map_err(|e| e.to_string())?;
        // DDL has no plan of its own; an error of planning shows in `collect` as well.
        let plan = query.plan().ok();
        let batches = query.collect().await.map_err(|e| e.to_string())?;
        Ok(Outcome { plan, batches })
    };
    match std::panic::AssertUnwindSafe(work).catch_unwind().await {
        Ok(result) => result,
        Err(payload) => Err(format!("PANIC: {}", panic_text(payload.as_ref()))),
    }
}

/// The message of a caught panic.
pub fn panic_text(payload: &(dyn std::any::Any + Send)) -> String {
    payload
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| payload.downcast_ref::<&str>().map(|s| s.to_string()))
        .unwrap_or_else(|| "a panic without text".into())
}

/// Operators of a physical plan: how many are fused stages, and how many are not.
#[derive(Clone, Copy, Default, Debug)]
pub struct Operators {
    pub fused: usize,
    pub unfused: usize,
}

impl Operators {
    /// Counts the operators of `plan` and of all its children.
    pub fn of(plan: Option<&Arc<dyn ExecutionPlan>>) -> Self {
        let mut count = Self::default();
        if let Some(plan) = plan {
            count.visit(plan);
        }
        count
    }

    fn visit(&mut self, plan: &Arc<dyn ExecutionPlan>) {
        if plan.name() == "FusedExec" {
            self.fused += 1;
        } else {
            self.unfused += 1;
        }
        for child in plan.children() {
            self.visit(child);
        }
    }
}

/// A runtime for one worker thread of a suite: its tasks stay on that worker and one helper.
pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_stack_size(16 << 20)
        .enable_all()
        .build()
        .expect("a tokio runtime")
}
