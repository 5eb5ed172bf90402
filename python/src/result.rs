//! `fuseline.Result`: a planned statement. A query runs each time its rows are asked for, and nothing
//! is kept between; the rows of a command, which ran once, are kept.

use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Field, Schema, SchemaRef, UInt64Type};
use arrow::error::ArrowError;
use arrow::ffi::FFI_ArrowSchema;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
// Not tokio's: its tasks inherit the query's cancellation.
use datafusion::common::runtime::JoinSet;
use fuseline::{Inputs, Partition, Query, Session, StatementKind};
use fuseline_cli::TableText;
use futures::{StreamExt, TryStreamExt};
use parking_lot::Mutex;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyCapsule, PyDict, PyList, PyTuple};

use crate::error::{Error, SqlError};
use crate::output::arrow::{Batches, batches_capsule, import, stream_capsule};
use crate::output::batches::RecordBatches;
use crate::output::column::{Item, Shape, type_for_pyarrow};
use crate::output::cursor::Cursor;
use crate::output::gather::{Gathered, gather};
use crate::output::memory::{Keeper, Memory};
use crate::output::rows::push_rows;
use crate::output::{html, profile};
use crate::wait::Threads;

/// Bytes that partitions may compute ahead of a reader who takes a result batch by batch.
const STREAM_BUFFER: usize = 128 * 1024 * 1024;
/// Rows of a result in a notebook.
const HTML_ROWS: usize = 20;

/// The result of `Connection.sql`: its rows are computed each time they are asked for.
///
/// A result is also an Arrow stream (`__arrow_c_stream__`), so whatever reads Arrow can read it, and
/// an iterable of `pyarrow.RecordBatch`.
#[pyclass(module = "fuseline", frozen)]
pub struct Result {
    session: Session,
    sql: String,
    inputs: Inputs,
    query: Arc<Query>,
    threads: Arc<Threads>,
    /// The rows of a command.
    done: Option<Vec<RecordBatch>>,
    /// Where `fetchone` is.
    cursor: Mutex<Option<Cursor>>,
}

#[pymethods]
impl Result {
    /// The names of the columns.
    #[getter]
    fn columns(&self) -> Vec<String> {
        self.query.schema().fields().iter().map(|field| field.name().clone()).collect()
    }

    /// The names and types of the columns, as a pyarrow.Schema. Nothing is run for it.
    #[getter]
    fn schema<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        import(slf.py(), "pyarrow", "schema")?.call_method1("schema", (slf,))
    }

    /// All rows as a pyarrow.Table.
    fn to_arrow<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let pyarrow = import(py, "pyarrow", "to_arrow")?;
        let batches = Batches::new(self.query.schema(), self.collect(py)?);
        pyarrow.call_method1("table", (batches,))
    }

    /// All rows as a pandas.DataFrame.
    ///
    /// Numbers and times come without pyarrow, in memory that is written once; a column that the query
    /// hands on as it was registered is a read-only view of the registered memory. NULL is NaN among
    /// numbers and NaT among times; integers with NULLs become floats. Other types are converted by
    /// pyarrow.
    fn to_pandas<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        import(py, "pandas", "to_pandas")?;
        let (rows, columns, rest) = self.gathered(py, false)?;
        py.import("fuseline._results")?.call_method1("to_pandas", (self.columns(), rows, columns, rest))
    }

    /// All rows as a polars.DataFrame.
    fn to_polars<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let polars = import(py, "polars", "to_polars")?;
        let batches = Batches::new(self.query.schema(), self.collect(py)?);
        polars.call_method1("DataFrame", (batches,))
    }

    /// All rows as a dict of NumPy arrays by column name.
    ///
    /// A list of a fixed size is a row of a two-dimensional array, a date `datetime64[D]`. NULL is NaN
    /// among numbers and NaT among times and dates; integers with NULLs become floats. Columns of other
    /// types, and bools with NULLs, are arrays of objects.
    fn to_numpy<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        import(py, "numpy", "to_numpy")?;
        let (_, columns, rest) = self.gathered(py, true)?;
        py.import("fuseline._results")?.call_method1("to_numpy", (self.columns(), columns, rest))
    }

    /// All rows as a dict of torch tensors by column name, which share memory with what `to_numpy`
    /// gives: a column that the query hands on as it was registered shares the registered memory.
    ///
    /// Raises TypeError for a column that is not of numbers.
    fn to_torch<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        import(py, "torch", "to_torch")?;
        let (_, columns, rest) = self.gathered(py, true)?;
        py.import("fuseline._results")?.call_method1("to_torch", (self.columns(), columns, rest))
    }

    /// All rows as a list of tuples of Python values; after `fetchone`, the rows that are left.
    fn fetchall<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let cursor = self.cursor.lock().take();
        if let Some(mut cursor) = cursor {
            return cursor.rest(py);
        }
        let list = PyList::empty(py);
        self.for_each(py, |batch| push_rows(&list, &batch))?;
        Ok(list)
    }

    /// The next row as a tuple of Python values, None after the last one.
    ///
    /// The first call starts the query. Rows are taken as they are asked for, so the first few rows of
    /// a long result are cheap.
    fn fetchone(&self, py: Python<'_>) -> PyResult<Option<Py<PyTuple>>> {
        let cursor = self.cursor.lock().take();
        let mut cursor = match cursor {
            Some(cursor) => cursor,
            None => Cursor::new(self.stream(py)?, self.threads.clone()),
        };
        let row = cursor.next(py)?;
        *self.cursor.lock() = Some(cursor);
        Ok(row)
    }

    /// Prints the first rows as a table.
    #[pyo3(signature = (max_rows=40))]
    fn show(&self, py: Python<'_>, max_rows: usize) -> PyResult<()> {
        let failed = |e: fuseline_cli::CliError| Error::new_err(e.to_string());
        let mut table = TableText::new(&self.query.schema(), max_rows).map_err(failed)?;
        self.for_each(py, |batch| table.write(&batch).map_err(failed))?;
        let text = table.finish().map_err(failed)?;
        // Through Python's own print, so that notebooks and redirections see it.
        py.import("builtins")?.call_method1("print", (text,))?;
        Ok(())
    }

    /// The plan of the query, fused operators marked with the number of their stage: `*(1)`.
    fn explain(&self, py: Python<'_>) -> PyResult<String> {
        let sql = match self.query.kind() {
            StatementKind::Explain => self.sql.clone(),
            StatementKind::Query | StatementKind::Command => format!("EXPLAIN {}", self.sql),
        };
        let batches = self.run_text(py, sql)?;
        last_column(&batches).map_err(|e| Error::new_err(e.to_string()))
    }

    /// Plans and runs the query anew, drops its rows, and gives its figures as a dict:
    ///
    /// - rows: rows of the result
    /// - planning_seconds, compile_seconds (a part of it), run_seconds
    /// - stages: for each fused stage id, operators, rows_in, rows_out, morsels, seconds (all threads
    ///   together), compile_seconds, call_seconds (inside functions that are not compiled), functions
    /// - functions: for each user-defined function calls, rows, failed_rows, function_time,
    ///   conversion_time, wait_time (in seconds), over all stages
    /// - plan: the root operator: operator, text, stage, metrics and inputs, which are operators too
    fn profile<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let query = self.query.clone();
        let figures = self.threads.run(py, async move { query.profile().await })?;
        profile::profile(py, &figures)
    }

    /// Writes all rows to a Parquet file, which appears whole or not at all, and gives their number.
    ///
    /// path: the file.
    /// compression: uncompressed, snappy, gzip(level), lz4, zstd(level) or brotli(level).
    #[pyo3(signature = (path, *, compression=None))]
    fn write_parquet(&self, py: Python<'_>, path: PathBuf, compression: Option<&str>) -> PyResult<u64> {
        if self.query.kind() != StatementKind::Query {
            return Err(SqlError::new_err("only the result of a query can be written"));
        }
        let Some(path) = path.to_str() else {
            return Err(PyValueError::new_err(format!("the path {} is not Unicode", path.display())));
        };
        // Without a semicolon and comments behind it.
        let statements = self.session.split(&self.sql).map_err(crate::error::to_py)?;
        let query = statements.first().map_or(self.sql.as_str(), String::as_str);
        let mut copy = format!("COPY ({query}\n) TO {} STORED AS PARQUET", quoted(path));
        if let Some(compression) = compression {
            copy += &format!(" OPTIONS ('format.compression' {})", quoted(compression));
        }
        let counts = self.run_text(py, copy)?;
        let count = counts.first().and_then(|batch| batch.columns().first()).cloned();
        Ok(count.map_or(0, |count| count.as_primitive::<UInt64Type>().values().iter().sum()))
    }

    /// The batches of the result, each a pyarrow.RecordBatch, computed as they are asked for: the rows
    /// of a table or file come in the order in which they lie there, and the memory that waits for its
    /// turn is bounded.
    fn __iter__(&self, py: Python<'_>) -> PyResult<RecordBatches> {
        import(py, "pyarrow", "iteration over batches")?;
        Ok(RecordBatches::new(self.stream(py)?, self.threads.clone()))
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
        stream_capsule(py, self.stream(py)?, self.threads.clone())
    }

    /// The Arrow PyCapsule interface: the schema, without running the query.
    fn __arrow_c_schema__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyCapsule>> {
        let schema = FFI_ArrowSchema::try_from(self.query.schema().as_ref())
            .map_err(|e| Error::new_err(e.to_string()))?;
        PyCapsule::new_with_value(py, schema, c"arrow_schema")
    }

    /// The first rows as a table for notebooks.
    fn _repr_html_(&self, py: Python<'_>) -> PyResult<String> {
        let mut stream = self.stream(py)?;
        let (batches, more) = self.threads.run(py, async move {
            let mut batches = Vec::new();
            let mut rows = 0;
            while let Some(batch) = stream.next().await {
                let batch = batch?;
                let room = HTML_ROWS - rows;
                if batch.num_rows() > room {
                    batches.push(batch.slice(0, room));
                    return Ok((batches, true));
                }
                rows += batch.num_rows();
                batches.push(batch);
            }
            Ok((batches, false))
        })?;
        html::table(&self.query.schema(), &batches, more).map_err(|e| Error::new_err(e.to_string()))
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
        inputs: Inputs,
        query: Arc<Query>,
        threads: Arc<Threads>,
        done: Option<Vec<RecordBatch>>,
    ) -> Result {
        Result { session, sql, inputs, query, threads, done, cursor: Mutex::new(None) }
    }

    /// The batches in order, some of them computed ahead.
    fn stream(&self, py: Python<'_>) -> PyResult<SendableRecordBatchStream> {
        if let Some(batches) = &self.done {
            return Ok(ready(self.query.schema(), batches));
        }
        let query = self.query.clone();
        self.threads.run(py, async move { query.stream_in_order(STREAM_BUFFER).await })
    }

    /// Gives each batch in order to `work`, which has the GIL.
    fn for_each(&self, py: Python<'_>, mut work: impl FnMut(RecordBatch) -> PyResult<()>) -> PyResult<()> {
        let mut stream = self.stream(py)?;
        loop {
            let (batch, rest) = self.threads.run(py, async move {
                let batch = stream.next().await.transpose()?;
                Ok((batch, stream))
            })?;
            let Some(batch) = batch else {
                return Ok(());
            };
            stream = rest;
            work(batch)?;
            py.check_signals()?;
        }
    }

    /// All batches in order; all partitions are computed at once.
    fn collect(&self, py: Python<'_>) -> PyResult<Vec<RecordBatch>> {
        if let Some(batches) = &self.done {
            return Ok(batches.clone());
        }
        let query = self.query.clone();
        self.threads.run(py, async move { collect(query.partitions().await?).await })
    }

    /// All rows in NumPy's form: their number; the columns, each with an array of bools for its
    /// validity or None, or None for a column that has no such form; those columns as an Arrow table.
    #[allow(clippy::type_complexity, reason = "it is a tuple for Python")]
    fn gathered<'py>(
        &self,
        py: Python<'py>,
        numpy: bool,
    ) -> PyResult<(usize, Bound<'py, PyList>, Option<Batches>)> {
        let (query, done) = (self.query.clone(), self.done.clone());
        let schema = self.query.schema();
        let (rows, columns) = self.threads.run(py, async move {
            let partitions = match done {
                Some(batches) => {
                    let rows = batches.iter().map(RecordBatch::num_rows).sum();
                    vec![Partition { rows: Some(rows), batches: ready(query.schema(), &batches) }]
                }
                None => query.partitions().await?,
            };
            gather(query.schema(), partitions, numpy).await
        })?;
        let list = PyList::empty(py);
        let mut fields = Vec::new();
        let mut kept = Vec::new();
        for (i, column) in columns.into_iter().enumerate() {
            match column {
                Gathered::Array(memory, validity) => {
                    let validity = validity.map(bytes_of).transpose()?;
                    list.append((memory, validity))?;
                }
                Gathered::Kept(arrays) => {
                    list.append(py.None())?;
                    fields.push(Field::new(
                        i.to_string(),
                        type_for_pyarrow(schema.field(i).data_type()),
                        true,
                    ));
                    kept.push(arrays);
                }
            }
        }
        let rest = if fields.is_empty() { None } else { Some(table(Schema::new(fields), kept)?) };
        Ok((rows, list, rest))
    }

    /// Runs another statement with the parameters and tables of this one.
    fn run_text(&self, py: Python<'_>, sql: String) -> PyResult<Vec<RecordBatch>> {
        let (session, inputs) = (self.session.clone(), self.inputs.clone());
        self.threads.run(py, async move {
            let query = session.sql_with(&sql, &inputs).await?;
            query.collect().await
        })
    }
}

/// Batches that are there already, as a stream.
fn ready(schema: SchemaRef, batches: &[RecordBatch]) -> SendableRecordBatchStream {
    // Owned: the stream outlives the borrow.
    let batches: Vec<RecordBatch> = batches.to_vec();
    let batches = futures::stream::iter(batches.into_iter().map(Ok));
    Box::pin(RecordBatchStreamAdapter::new(schema, batches))
}

async fn collect(partitions: Vec<Partition>) -> fuseline::Result<Vec<RecordBatch>> {
    let mut tasks = JoinSet::new();
    for (p, partition) in partitions.into_iter().enumerate() {
        tasks.spawn(async move { partition.batches.try_collect::<Vec<_>>().await.map(|all| (p, all)) });
    }
    let mut parts = Vec::new();
    while let Some(done) = tasks.join_next().await {
        let part = done.map_err(|e| fuseline::Error::Internal { message: e.to_string() })?;
        parts.push(part?);
    }
    parts.sort_by_key(|(p, _)| *p);
    Ok(parts.into_iter().flat_map(|(_, batches)| batches).collect())
}

/// A text as a string of SQL.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// Bits as NumPy's bools.
fn bytes_of(bits: arrow::buffer::BooleanBuffer) -> PyResult<Memory> {
    let mut region = crate::output::region::Region::new();
    let rows = bits.len();
    let bits: ArrayRef = Arc::new(BooleanArray::new(bits, None));
    let at = region.grow(rows)?;
    for (i, bit) in bits.as_boolean().values().iter().enumerate() {
        // SAFETY: `grow` gave as many bytes as there are bits.
        unsafe { at.add(i).write(u8::from(bit)) };
    }
    Ok(Memory::new(Shape { item: Item::Bool, items: None }, Keeper::Region(region)))
}

/// Columns of the same batches as a table.
fn table(schema: Schema, columns: Vec<Vec<ArrayRef>>) -> PyResult<Batches> {
    let schema = Arc::new(schema);
    let count = columns.first().map_or(0, Vec::len);
    let mut batches = Vec::with_capacity(count);
    for i in 0..count {
        let arrays: Vec<ArrayRef> = columns.iter().map(|column| column[i].clone()).collect();
        let rows = arrays.first().map_or(0, |array| array.len());
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let batch = RecordBatch::try_new_with_options(Arc::clone(&schema), arrays, &options);
        batches.push(batch.map_err(|e| Error::new_err(e.to_string()))?);
    }
    Ok(Batches::new(schema, batches))
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
