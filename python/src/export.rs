//! Arrow data to Python: an ArrowArrayStream in a capsule. Buffers are not copied.

use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchIterator};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::ffi_stream::FFI_ArrowArrayStream;
use arrow::record_batch::RecordBatchReader;
use datafusion::execution::SendableRecordBatchStream;
use futures::StreamExt;
use pyo3::prelude::*;
use pyo3::types::PyCapsule;

use crate::wait::Threads;

/// A capsule for batches that are all there.
pub fn batches_capsule(
    py: Python<'_>,
    schema: SchemaRef,
    batches: Vec<RecordBatch>,
) -> PyResult<Bound<'_, PyCapsule>> {
    let reader = RecordBatchIterator::new(batches.into_iter().map(Ok), schema);
    capsule(py, Box::new(reader))
}

/// A capsule that pulls the batches of a running query as its reader asks for them.
pub fn stream_capsule(
    py: Python<'_>,
    stream: SendableRecordBatchStream,
    threads: Arc<Threads>,
) -> PyResult<Bound<'_, PyCapsule>> {
    let schema = stream.schema();
    capsule(py, Box::new(StreamReader { schema, stream: Some(stream), threads }))
}

fn capsule(py: Python<'_>, reader: Box<dyn RecordBatchReader + Send>) -> PyResult<Bound<'_, PyCapsule>> {
    PyCapsule::new_with_value(py, FFI_ArrowArrayStream::new(reader), c"arrow_array_stream")
}

/// Reads a query from any thread, with the GIL held or not.
struct StreamReader {
    schema: SchemaRef,
    /// None when it has ended or failed.
    stream: Option<SendableRecordBatchStream>,
    threads: Arc<Threads>,
}

impl Iterator for StreamReader {
    type Item = Result<RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut stream = self.stream.take()?;
        let outcome = Python::try_attach(|py| {
            self.threads.run(py, async move {
                let batch = stream.next().await.transpose()?;
                Ok((batch, stream))
            })
        });
        match outcome {
            Some(Ok((Some(batch), stream))) => {
                self.stream = Some(stream);
                Some(Ok(batch))
            }
            Some(Ok((None, _))) => None,
            Some(Err(error)) => Some(Err(ArrowError::ComputeError(error.to_string()))),
            None => Some(Err(ArrowError::ComputeError("the interpreter has ended".to_string()))),
        }
    }
}

impl RecordBatchReader for StreamReader {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }
}
