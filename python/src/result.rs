//! `fuseline.Result`: a planned statement. A query runs each time its rows are asked for, and nothing
//! is kept between; the rows of a command, which ran once, are kept.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use arrow::ffi::FFI_ArrowSchema;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use fuseline::{Query, Session, StatementKind};
use pyo3::exceptions::PyImportError;
use pyo3::prelude::*;
use pyo3::types::{PyCapsule, PyList};

use crate::error::Error;
use crate::export::{batches_capsule, stream_capsule};
use crate::rows::push_rows;
use crate::wait::Threads;

/// The result of `Connection.sql`.
#[pyclass(module = "fuseline", frozen)]
pub struct Result {
    session: Session,
    sql: String,
    query: Arc<Query>,
    threads: Arc<Threads>,
    /// The rows of a command.
    done: Option<Vec<RecordBatch>>,
}

#[pymethods]
impl Result {
    /// The names of the columns.
    #[getter]
    fn columns(&self) -> Vec<String> {
        self.query.schema().fields().iter().map(|field| field.name().clone()).collect()
    }

    /// All rows as a pyarrow.Table.
    fn to_arrow(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let pyarrow = py.import("pyarrow").map_err(|cause| {
            let error = PyImportError::new_err("to_arrow needs pyarrow: pip install pyarrow");
            error.set_cause(py, Some(cause));
            error
        })?;
        let batches = Batches { query: self.query.clone(), batches: self.collect(py)? };
        Ok(pyarrow.call_method1("table", (Bound::new(py, batches)?,))?.unbind())
    }

    /// All rows as a list of tuples of Python values.
    fn fetchall(&self, py: Python<'_>) -> PyResult<Py<PyList>> {
        let list = PyList::empty(py);
        for batch in self.collect(py)? {
            push_rows(&list, &batch)?;
        }
        Ok(list.unbind())
    }

    /// Prints the first rows as a table.
    #[pyo3(signature = (max_rows=40))]
    fn show(&self, py: Python<'_>, max_rows: usize) -> PyResult<()> {
        let text = self.table(py, max_rows)?;
        // Through Python's own print, so that notebooks and redirections see it.
        py.import("builtins")?.call_method1("print", (text,))?;
        Ok(())
    }

    /// The plan of the query, fused operators marked.
    fn explain(&self, py: Python<'_>) -> PyResult<String> {
        let sql = match self.query.kind() {
            StatementKind::Explain => self.sql.clone(),
            StatementKind::Query | StatementKind::Command => format!("EXPLAIN {}", self.sql),
        };
        let session = self.session.clone();
        let batches = self.threads.run(py, async move {
            let query = session.sql(&sql).await?;
            query.collect().await
        })?;
        last_column(&batches).map_err(|e| Error::new_err(e.to_string()))
    }

    /// The Arrow PyCapsule interface: a stream that runs the query as it is read.
    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_stream__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<Py<PyAny>>,
    ) -> PyResult<Bound<'py, PyCapsule>> {
        // A wish that producers may ignore, says the interface.
        drop(requested_schema);
        if let Some(batches) = &self.done {
            return batches_capsule(py, self.query.schema(), batches.clone());
        }
        let query = self.query.clone();
        let stream = self.threads.run(py, async move { query.stream().await })?;
        stream_capsule(py, stream, self.threads.clone())
    }

    /// The Arrow PyCapsule interface: the schema, without running the query.
    fn __arrow_c_schema__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyCapsule>> {
        let schema = FFI_ArrowSchema::try_from(self.query.schema().as_ref())
            .map_err(|e| Error::new_err(e.to_string()))?;
        PyCapsule::new_with_value(py, schema, c"arrow_schema")
    }

    fn __repr__(&self) -> String {
        format!("<fuseline.Result with columns {}>", self.columns().join(", "))
    }
}

impl Result {
    /// The result of `sql`, planned as `query`. `done` are the rows of a command that has run; a
    /// query runs when its rows are asked for.
    pub fn new(
        session: Session,
        sql: String,
        query: Arc<Query>,
        threads: Arc<Threads>,
        done: Option<Vec<RecordBatch>>,
    ) -> Result {
        Result { session, sql, query, threads, done }
    }

    fn collect(&self, py: Python<'_>) -> PyResult<Vec<RecordBatch>> {
        if let Some(batches) = &self.done {
            return Ok(batches.clone());
        }
        let query = self.query.clone();
        self.threads.run(py, async move { query.collect().await })
    }

    fn table(&self, py: Python<'_>, max_rows: usize) -> PyResult<String> {
        let batches = self.collect(py)?;
        fuseline_cli::table_text(&self.query.schema(), &batches, max_rows)
            .map_err(|e| Error::new_err(e.to_string()))
    }
}

/// The text in the last column of an EXPLAIN, plan after plan.
fn last_column(batches: &[RecordBatch]) -> std::result::Result<String, ArrowError> {
    let options = FormatOptions::default();
    let mut plans = Vec::new();
    for batch in batches {
        let Some(column) = batch.columns().last() else {
            continue;
        };
        let formatter = ArrayFormatter::try_new(column.as_ref(), &options)?;
        for row in 0..batch.num_rows() {
            plans.push(formatter.value(row).try_to_string()?);
        }
    }
    Ok(plans.join("\n"))
}

/// Fetched rows on their way to pyarrow.
#[pyclass(frozen)]
struct Batches {
    query: Arc<Query>,
    batches: Vec<RecordBatch>,
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
        batches_capsule(py, self.query.schema(), self.batches.clone())
    }
}
