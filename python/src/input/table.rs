//! A table of columns of different making. Columns that are Arrow data are read where they lie; the
//! others are converted chunk by chunk as they are scanned, and only those that the query needs.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{DataFusionError, Result as DataFusionResult};
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use super::Imported;
use super::arrow::{import_array, import_type};
use super::numpy::NumpyArray;
use super::scan::ScanExec;
use crate::error::Error;

/// Rows converted at a time: the size of a morsel.
const CHUNK_ROWS: usize = 65_536;

/// One column.
#[derive(Debug)]
pub enum Column {
    /// Arrow data, in chunks.
    Arrow(DataType, Vec<ArrayRef>),
    /// NumPy memory that is not in Arrow's form.
    Numpy(NumpyArray),
    /// Objects that Python converts.
    Converted(Converted),
}

impl Column {
    fn rows(&self) -> usize {
        match self {
            Column::Arrow(_, chunks) => chunks.iter().map(|chunk| chunk.len()).sum(),
            Column::Numpy(array) => array.rows(),
            Column::Converted(converted) => converted.rows,
        }
    }

    fn data_type(&self) -> DataType {
        match self {
            Column::Arrow(data_type, _) => data_type.clone(),
            Column::Numpy(array) => array.data_type(),
            Column::Converted(converted) => converted.data_type.clone(),
        }
    }

    /// Rows that lie in one chunk.
    fn read(&self, rows: &Range<usize>) -> DataFusionResult<ArrayRef> {
        match self {
            Column::Arrow(data_type, chunks) => {
                let mut start = rows.start;
                for chunk in chunks {
                    if start < chunk.len() {
                        return Ok(chunk.slice(start, rows.len()));
                    }
                    start -= chunk.len();
                }
                Ok(arrow::array::new_empty_array(data_type))
            }
            Column::Numpy(array) => Ok(array.read(rows.start, rows.len())?),
            Column::Converted(converted) => converted.read(rows),
        }
    }
}

/// A column of Python objects, or of a pandas type of its own. `convert(start, stop)` of the object in
/// `fuseline._tables` makes an Arrow array of some rows.
#[derive(Debug)]
pub struct Converted {
    object: Py<PyAny>,
    name: String,
    data_type: DataType,
    rows: usize,
}

impl Converted {
    /// Takes the object: attributes `name`, `type` (with `__arrow_c_schema__`) and `__len__`.
    ///
    /// # Errors
    /// When they are not there.
    pub fn import(object: &Bound<'_, PyAny>) -> PyResult<Converted> {
        Ok(Converted {
            name: object.getattr("name")?.extract()?,
            data_type: import_type(&object.getattr("type")?)?,
            rows: object.len()?,
            object: object.clone().unbind(),
        })
    }

    fn read(&self, rows: &Range<usize>) -> DataFusionResult<ArrayRef> {
        let (converted, _) = fuseline::python::enter(|py| {
            let array = self.object.bind(py).call_method1("convert", (rows.start, rows.end));
            array.and_then(|array| import_array(&array)).map_err(|error| {
                DataFusionError::Execution(format!("column '{}' cannot be converted: {error}", self.name))
            })
        });
        let array = converted
            .unwrap_or_else(|| Err(DataFusionError::Execution("the interpreter has ended".to_string())))?;
        if array.len() != rows.len() {
            return Err(DataFusionError::Execution(format!(
                "column '{}' gave {} rows in place of {}",
                self.name,
                array.len(),
                rows.len()
            )));
        }
        if *array.data_type() == self.data_type { Ok(array) } else { Ok(cast(&array, &self.data_type)?) }
    }
}

/// A table of columns.
#[derive(Debug)]
pub struct ColumnTable {
    data: Arc<Data>,
}

/// What the table and its scans share.
#[derive(Debug)]
pub struct Data {
    schema: SchemaRef,
    columns: Vec<Column>,
    rows: usize,
}

impl ColumnTable {
    /// A table of columns by name.
    ///
    /// # Errors
    /// When the columns do not all have `rows` rows.
    pub fn try_new(rows: usize, columns: Vec<(String, Column)>) -> PyResult<ColumnTable> {
        let mut fields = Vec::with_capacity(columns.len());
        for (name, column) in &columns {
            if column.rows() != rows {
                return Err(PyValueError::new_err(format!(
                    "column '{name}' has {} rows, others have {rows}",
                    column.rows()
                )));
            }
            fields.push(Field::new(name, column.data_type(), true));
        }
        let columns = columns.into_iter().map(|(_, column)| column).collect();
        Ok(ColumnTable { data: Arc::new(Data { schema: Arc::new(Schema::new(fields)), columns, rows }) })
    }

    /// The table in its simplest form: batches, if all columns are Arrow data.
    ///
    /// # Errors
    /// When the columns do not fit together.
    pub fn into_imported(self) -> PyResult<Imported> {
        if !self.data.columns.iter().all(|column| matches!(column, Column::Arrow(..))) {
            return Ok(Imported::Columns(self));
        }
        let all: Vec<usize> = (0..self.data.columns.len()).collect();
        let batches = self.data.batches(&self.data.schema, &all);
        let batches = batches.map_err(|error| Error::new_err(format!("cannot read the table: {error}")))?;
        Ok(Imported::Batches(Arc::clone(&self.data.schema), batches))
    }
}

impl Data {
    /// Row numbers at which a chunk of one of the columns starts, and the end.
    fn cuts(&self, columns: &[usize]) -> Vec<usize> {
        let mut cuts = vec![0, self.rows];
        for column in columns {
            if let Column::Arrow(_, chunks) = &self.columns[*column] {
                let mut end = 0;
                for chunk in chunks {
                    end += chunk.len();
                    cuts.push(end);
                }
            }
        }
        cuts.sort_unstable();
        cuts.dedup();
        cuts
    }

    /// Some columns of some rows, which lie in one chunk of each.
    pub fn read(
        &self,
        schema: &SchemaRef,
        columns: &[usize],
        rows: &Range<usize>,
    ) -> DataFusionResult<RecordBatch> {
        let arrays =
            columns.iter().map(|c| self.columns[*c].read(rows)).collect::<DataFusionResult<Vec<_>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
        Ok(RecordBatch::try_new_with_options(Arc::clone(schema), arrays, &options)?)
    }

    /// Columns of Arrow data as batches that share their memory.
    fn batches(&self, schema: &SchemaRef, columns: &[usize]) -> DataFusionResult<Vec<RecordBatch>> {
        self.pieces(columns).iter().map(|rows| self.read(schema, columns, rows)).collect()
    }

    /// The rows in pieces of at most a chunk.
    pub fn pieces(&self, columns: &[usize]) -> Vec<Range<usize>> {
        let mut pieces = Vec::new();
        for cut in self.cuts(columns).windows(2) {
            let mut start = cut[0];
            while start < cut[1] {
                let end = cut[1].min(start + CHUNK_ROWS);
                pieces.push(start..end);
                start = end;
            }
        }
        pieces
    }
}

#[async_trait::async_trait]
impl TableProvider for ColumnTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.data.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        _limit: Option<usize>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        let columns = projection.cloned().unwrap_or_else(|| (0..self.data.columns.len()).collect());
        let schema = Arc::new(self.data.schema.project(&columns)?);
        if columns.iter().all(|c| matches!(self.data.columns[*c], Column::Arrow(..))) {
            let batches = self.data.batches(&schema, &columns)?;
            return Ok(MemorySourceConfig::try_new_exec(&[batches], schema, None)?);
        }
        let partitions = state.config().target_partitions();
        Ok(Arc::new(ScanExec::new(Arc::clone(&self.data), schema, columns, partitions)))
    }
}
