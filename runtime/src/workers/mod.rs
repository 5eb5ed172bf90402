//! Worker processes: Python functions that may crash, hang or leak without harm to this process, and
//! that run on as many cores as the session has threads.
//!
//! [`Pool`] hands a batch to one of its workers, which are interpreters that run `fuseline/_worker.py`.
//! Functions travel once per worker as cloudpickle bytes; columns travel through memory that both
//! sides have mapped ([`region`], [`layout`]), or as Arrow IPC over the socket ([`ipc`]). Requests and
//! answers are [`frame`]s. Nothing here knows Python's C interface, so it is built and tested without.
//!
//! | what happens to the worker | how this side learns it | [`WorkerError`] |
//! |---|---|---|
//! | the function raises | an answer says so | `Raised`, `FailedRow` |
//! | `os._exit`, a signal | the socket ends, the process is waited for | `Exited`, `Killed` |
//! | it hangs | the wait is longer than the timeout | `TimedOut` |
//! | it fills the memory | its private resident pages, looked at every 10 ms | `MemoryLimit` |
//! | the query is cancelled | the caller says so, asked every 50 ms | `Cancelled` |
//!
//! Memory is limited by watching what is resident, not by RLIMIT_AS: an interpreter with numpy and
//! pyarrow reserves gigabytes of addresses that it never touches, and what meets RLIMIT_AS within a C
//! library tends to be an abort instead of an error.
//!
//! Workers never outlive this process: idle ones read the end of their socket, busy ones have asked
//! the kernel to be killed with the thread that started them. Shared memory has no names, so nothing
//! is left behind.

mod error;
mod frame;
mod function;
mod ipc;
mod layout;
mod pool;
mod process;
mod region;
mod sys;
mod worker;

#[cfg(test)]
mod tests;

pub use error::{Exception, FailedRow, WorkerError};
pub use function::PooledFunction;
pub use pool::Pool;
pub use process::Interpreter;

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;
use std::sync::Arc;
use std::time::Duration;

/// How columns get to a worker and back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Through memory that both have mapped.
    SharedMemory,
    /// As an Arrow IPC stream over the socket.
    Socket,
}

/// The loops and conversions that worker processes share with functions of this process.
const ROWS: &str = include_str!("../python/rows.py");

/// A function as workers know it.
#[derive(Clone, Debug)]
pub struct WorkerFunction {
    /// Differs from all other functions of the pool.
    pub id: u64,
    /// Workers forget the function once this is dropped with its last clone.
    pub alive: Arc<()>,
    /// `scalar`, `numpy`, `arrow` or `pandas`.
    pub kind: &'static str,
    pub params: Vec<(String, DataType)>,
    pub returns: DataType,
    pub transport: Transport,
    /// How long one batch may take.
    pub timeout: Option<Duration>,
    /// Bytes of private memory that the worker may have while it works for this function.
    pub memory_limit: Option<usize>,
    /// What cloudpickle made of the function, or of the class to be instantiated.
    pub pickled: Vec<u8>,
    /// `sys.path`, so that workers import what this process can.
    pub search_path: Vec<String>,
}

/// What a worker made of a batch.
#[derive(Clone, Debug)]
pub struct Output {
    pub column: ArrayRef,
    /// The rows that failed, where they are kept; anything is in the column there.
    pub failures: Vec<FailedRow>,
    pub in_function: Duration,
    pub in_conversion: Duration,
}
