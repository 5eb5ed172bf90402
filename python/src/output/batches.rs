//! Iteration over a result, a `pyarrow.RecordBatch` at a time.

use datafusion::execution::SendableRecordBatchStream;
use futures::StreamExt;
use parking_lot::Mutex;
use pyo3::prelude::*;

use super::arrow::batch_to_pyarrow;
use crate::error::{Error, to_py};
use crate::wait::Threads;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// The batches of a running query. It computes ahead only as far as its buffer goes.
#[pyclass(module = "fuseline", frozen)]
pub struct RecordBatches {
    /// None when it has ended or failed, or while a thread waits for a batch.
    stream: Mutex<State>,
    threads: Arc<Threads>,
}

enum State {
    Ready(SendableRecordBatchStream),
    Busy,
    Ended,
}

impl RecordBatches {
    pub fn new(stream: SendableRecordBatchStream, threads: Arc<Threads>) -> RecordBatches {
        RecordBatches { stream: Mutex::new(State::Ready(stream)), threads }
    }
}

#[pymethods]
impl RecordBatches {
    fn __iter__(this: Py<Self>) -> Py<Self> {
        this
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let mut stream = match std::mem::replace(&mut *self.stream.lock(), State::Busy) {
            State::Ready(stream) => stream,
            State::Ended => {
                *self.stream.lock() = State::Ended;
                return Ok(None);
            }
            State::Busy => return Err(Error::new_err("another thread is waiting for the next batch")),
        };
        // A batch that waits in its queue is taken at once: starting work and being woken takes longer than
        // many a batch. Batches are made by tasks, so that polling the stream here only looks.
        let look = || stream.poll_next_unpin(&mut Context::from_waker(Waker::noop()));
        let ready = self.threads.within(look)?;
        let next = match ready {
            Poll::Ready(batch) => batch.transpose().map(|batch| (batch, stream)).map_err(|e| to_py(e.into())),
            Poll::Pending => self.threads.run(py, async move {
                let batch = stream.next().await.transpose()?;
                Ok((batch, stream))
            }),
        };
        match next {
            Ok((Some(batch), stream)) => {
                *self.stream.lock() = State::Ready(stream);
                batch_to_pyarrow(py, batch).map(Some)
            }
            Ok((None, _)) => {
                *self.stream.lock() = State::Ended;
                Ok(None)
            }
            Err(error) => {
                *self.stream.lock() = State::Ended;
                Err(error)
            }
        }
    }
}
