//! A function that runs in worker processes, as the boundary calls it.

use super::error::{Exception, WorkerError};
use super::{Pool, Transport, WorkerFunction};
use crate::cancel;
use crate::udf::{Batch, BatchFunction, CallError, Failure, FunctionSpec, Isolation};
use arrow::array::ArrayRef;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;
use tokio::runtime::{Handle, RuntimeFlavor};

/// A Python function whose calls a pool of worker processes makes.
#[derive(Debug)]
pub struct PooledFunction {
    pool: Arc<Pool>,
    function: WorkerFunction,
}

impl PooledFunction {
    /// `pickled` is what cloudpickle makes of the function, or of the class to be instantiated once
    /// per worker; `search_path` is `sys.path`, by which it finds modules there.
    pub fn new(
        spec: &FunctionSpec,
        pool: Arc<Pool>,
        pickled: Vec<u8>,
        search_path: Vec<String>,
    ) -> PooledFunction {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let transport = match spec.isolation {
            // Not asked for here by anyone; shared memory serves it as well.
            Isolation::InProcess | Isolation::Process => Transport::SharedMemory,
            Isolation::Socket => Transport::Socket,
        };
        let function = WorkerFunction {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            alive: Arc::default(),
            kind: spec.kind.word(),
            params: spec.params.iter().map(|p| (p.name.clone(), p.data_type.clone())).collect(),
            returns: spec.returns.clone(),
            transport,
            timeout: spec.timeout,
            memory_limit: spec.memory_limit,
            pickled,
            search_path,
        };
        PooledFunction { pool, function }
    }

    fn failed(&self, error: WorkerError) -> CallError {
        let returns = &self.function.returns;
        let (message, trace) = (error.to_string(), error.trace());
        let traced = trace.clone();
        let failure = |exception: Exception, message: String| Failure {
            message,
            trace: traced,
            source: Some(Arc::new(exception)),
        };
        match error {
            WorkerError::FailedRow(failed) => {
                let ordinary = failed.exception.ordinary;
                let message = if failed.misfit { misfit(returns, &message) } else { message };
                let failure = failure(failed.exception, message);
                if ordinary {
                    CallError::Failed { row: Some(failed.row), failure }
                } else {
                    CallError::Interrupted(failure)
                }
            }
            WorkerError::Raised(exception) if exception.ordinary => {
                CallError::Failed { row: None, failure: failure(*exception, message) }
            }
            WorkerError::Raised(exception) => CallError::Interrupted(failure(*exception, message)),
            WorkerError::Trouble { exception, .. } => CallError::Fault(failure(*exception, message)),
            WorkerError::WrongResult(text) => CallError::WrongResult(text),
            WorkerError::WrongType { got } => CallError::WrongType { expected: returns.to_string(), got },
            // The boundary knows the rows.
            WorkerError::WrongLength { got } => CallError::WrongLength { expected: 0, got },
            WorkerError::Exited { .. }
            | WorkerError::Killed { .. }
            | WorkerError::TimedOut { .. }
            | WorkerError::MemoryLimit { .. }
            | WorkerError::Cancelled
            | WorkerError::NotStarted { .. }
            | WorkerError::Broken { .. }
            | WorkerError::Forked => {
                CallError::Fault(Failure { message, trace, source: Some(Arc::new(error)) })
            }
        }
    }
}

fn misfit(returns: &arrow::datatypes::DataType, message: &str) -> String {
    format!("its result does not fit {returns}: {message}")
}

impl BatchFunction for PooledFunction {
    fn call(&self, batch: &Batch<'_>) -> Result<ArrayRef, CallError> {
        let started = Instant::now();
        let call = || {
            let (args, rows, keeps) = (batch.args(), batch.rows(), batch.keeps_failures());
            self.pool.call(&self.function, args, rows, keeps, &cancel::is_cancelled)
        };
        // This thread only waits: its other tasks go on elsewhere meanwhile.
        let shares = Handle::try_current().is_ok_and(|h| h.runtime_flavor() == RuntimeFlavor::MultiThread);
        let output = if shares { tokio::task::block_in_place(call) } else { call() };
        let output = output.map_err(|error| match self.failed(error) {
            CallError::WrongLength { got, .. } => CallError::WrongLength { expected: batch.rows(), got },
            error => error,
        })?;
        batch.spent_converting(started.elapsed().saturating_sub(output.in_function));
        for failed in output.failures {
            let message = &failed.exception.message;
            let message =
                if failed.misfit { misfit(&self.function.returns, message) } else { message.clone() };
            let source = Some(Arc::new(failed.exception) as _);
            batch.fail_row(failed.row, Failure { message, trace: None, source });
        }
        Ok(output.column)
    }
}
