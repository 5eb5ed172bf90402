//! Arrow data to Python: an ArrowArrayStream in a capsule. Buffers are not copied.

use std::sync::Arc;

use arrow::array::{Array, RecordBatch, RecordBatchIterator, StructArray};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::ffi::{FFI_ArrowArray, FFI_ArrowSchema};
use arrow::ffi_stream::FFI_ArrowArrayStream;
use arrow::record_batch::RecordBatchReader;
use datafusion::execution::SendableRecordBatchStream;
use futures::StreamExt;
use pyo3::exceptions::PyImportError;
use pyo3::prelude::*;
use pyo3::types::PyCapsule;

use crate::error::Error;
use crate::wait::Threads;

/// Imports a package that not everybody has.
///
/// # Errors
/// ImportError that says what needs it.
pub fn import<'py>(py: Python<'py>, package: &str, what: &str) -> PyResult<Bound<'py, PyModule>> {
    py.import(package).map_err(|cause| {
        let error = PyImportError::new_err(format!("{what} needs {package}: pip install {package}"));
        error.set_cause(py, Some(cause));
        error
    })
}

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

/// Batches on their way to a package that reads Arrow streams.
#[pyclass(frozen)]
pub struct Batches {
    schema: SchemaRef,
    batches: Vec<RecordBatch>,
}

impl Batches {
    pub fn new(schema: SchemaRef, batches: Vec<RecordBatch>) -> Batches {
        Batches { schema, batches }
    }
}

#[pymethods]
impl Batches {
    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_stream__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<Py<PyAny>>,
    ) -> PyResult<Bound<'py, PyCapsule>> {
        drop(requested_schema);
        batches_capsule(py, self.schema.clone(), self.batches.clone())
    }
}

/// A batch on its way to pyarrow.
#[pyclass(frozen)]
struct Batch(RecordBatch);

#[pymethods]
impl Batch {
    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_array__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<Py<PyAny>>,
    ) -> PyResult<(Bound<'py, PyCapsule>, Bound<'py, PyCapsule>)> {
        drop(requested_schema);
        let structs = StructArray::from(self.0.clone()).into_data();
        let schema =
            FFI_ArrowSchema::try_from(self.0.schema().as_ref()).map_err(|e| Error::new_err(e.to_string()))?;
        Ok((
            PyCapsule::new_with_value(py, schema, c"arrow_schema")?,
            PyCapsule::new_with_value(py, FFI_ArrowArray::new(&structs), c"arrow_array")?,
        ))
    }
}

/// The batch as a `pyarrow.RecordBatch`.
pub fn batch_to_pyarrow(py: Python<'_>, batch: RecordBatch) -> PyResult<Bound<'_, PyAny>> {
    import(py, "pyarrow", "iteration over batches")?.call_method1("record_batch", (Batch(batch),))
}
