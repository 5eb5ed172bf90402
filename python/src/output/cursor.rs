//! Rows one by one, for `fetchone`.

use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::execution::SendableRecordBatchStream;
use futures::StreamExt;
use pyo3::prelude::*;
use pyo3::types::{PyList, PyTuple};

use super::rows::push_rows;
use crate::wait::Threads;

/// Rows made into Python values at a time.
const ROWS: usize = 256;

/// A place in a running query.
pub struct Cursor {
    /// None at the end.
    stream: Option<SendableRecordBatchStream>,
    threads: Arc<Threads>,
    batch: Option<RecordBatch>,
    /// Rows of the batch that are in `rows` already.
    taken: usize,
    /// Python values of the next rows, the last row first.
    rows: Vec<Py<PyTuple>>,
}

impl Cursor {
    pub fn new(stream: SendableRecordBatchStream, threads: Arc<Threads>) -> Cursor {
        Cursor { stream: Some(stream), threads, batch: None, taken: 0, rows: Vec::new() }
    }

    /// The next row, None after the last one.
    ///
    /// # Errors
    /// The query's; there are no rows after it.
    pub fn next(&mut self, py: Python<'_>) -> PyResult<Option<Py<PyTuple>>> {
        loop {
            if let Some(row) = self.rows.pop() {
                return Ok(Some(row));
            }
            if let Some(batch) = &self.batch
                && self.taken < batch.num_rows()
            {
                let rows = ROWS.min(batch.num_rows() - self.taken);
                let list = PyList::empty(py);
                push_rows(&list, &batch.slice(self.taken, rows))?;
                self.taken += rows;
                self.rows = list.extract::<Vec<Py<PyTuple>>>()?;
                self.rows.reverse();
                continue;
            }
            let Some(mut stream) = self.stream.take() else {
                return Ok(None);
            };
            let (batch, stream) = self.threads.run(py, async move {
                let batch = stream.next().await.transpose()?;
                Ok((batch, stream))
            })?;
            if batch.is_some() {
                self.stream = Some(stream);
            }
            self.batch = batch;
            self.taken = 0;
        }
    }

    /// All rows from here on.
    ///
    /// # Errors
    /// The query's.
    pub fn rest<'py>(&mut self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let list = PyList::empty(py);
        while let Some(row) = self.next(py)? {
            list.append(row)?;
        }
        Ok(list)
    }
}
