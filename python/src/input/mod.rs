//! Python objects as tables: what `register` takes and what a variable named in FROM may be.
//!
//! Anything with the Arrow PyCapsule interface is taken as it lies ([`arrow`]). pandas frames and dicts
//! of arrays are taken apart column by column in Python (`fuseline/_tables.py`); their columns are
//! NumPy memory ([`numpy`]), Arrow data, or objects that are converted when they are scanned
//! ([`table`], [`scan`]).

pub mod arrow;
mod numpy;
mod scan;
mod table;

use std::sync::Arc;

use ::arrow::array::RecordBatch;
use ::arrow::datatypes::SchemaRef;
use datafusion::catalog::TableProvider;
use fuseline::Session;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::error::to_py;
use table::{Column, ColumnTable};

/// A table from Python.
pub enum Imported {
    /// Arrow memory in batches.
    Batches(SchemaRef, Vec<RecordBatch>),
    /// Columns, some of which are converted as they are read.
    Columns(ColumnTable),
}

impl Imported {
    /// Takes a table-like object; nothing of it is copied.
    ///
    /// # Errors
    /// TypeError for an object that is no table, or has a column that cannot be one.
    pub fn from_python(data: &Bound<'_, PyAny>) -> PyResult<Imported> {
        if is_columns(data)? {
            let columns = data.py().import("fuseline._tables")?.call_method1("columns", (data,))?;
            let (rows, columns): (usize, Vec<(String, Bound<'_, PyAny>)>) = columns.extract()?;
            let columns = columns
                .into_iter()
                .map(|(name, column)| Ok((name.clone(), import_column(&name, &column)?)))
                .collect::<PyResult<Vec<_>>>()?;
            return ColumnTable::try_new(rows, columns)?.into_imported();
        }
        let (schema, batches) = arrow::import_table(data)?;
        Ok(Imported::Batches(schema, batches))
    }

    /// The table for the engine; `name` is for messages.
    ///
    /// # Errors
    /// When a batch does not have the columns of the schema.
    pub fn into_provider(self, name: &str) -> PyResult<Arc<dyn TableProvider>> {
        match self {
            Imported::Batches(schema, batches) => Session::memory_table(name, schema, batches).map_err(to_py),
            Imported::Columns(table) => Ok(Arc::new(table)),
        }
    }
}

/// Whether the object is a dict of columns or a pandas frame, which may offer Arrow too, but copies for
/// it.
fn is_columns(data: &Bound<'_, PyAny>) -> PyResult<bool> {
    if data.is_instance_of::<PyDict>() {
        return Ok(true);
    }
    // An object of pandas exists only where pandas is imported.
    let modules = data.py().import("sys")?.getattr("modules")?;
    let pandas = modules.call_method1("get", ("pandas",))?;
    if pandas.is_none() {
        return Ok(false);
    }
    for class in ["DataFrame", "Series"] {
        // A module that is still being imported may lack them.
        if let Ok(class) = pandas.getattr(class)
            && data.is_instance(&class)?
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A column that `fuseline._tables` made.
fn import_column(name: &str, column: &Bound<'_, PyAny>) -> PyResult<Column> {
    if column.hasattr("convert")? {
        return table::Converted::import(column).map(Column::Converted);
    }
    if let Some(array) = numpy::NumpyArray::import(name, column)? {
        return Ok(array.into_column());
    }
    let (schema, batches) = arrow::import_table(column)?;
    if schema.fields().len() != 1 {
        return Err(PyTypeError::new_err(format!("column '{name}' is a table, not a column")));
    }
    let data_type = schema.field(0).data_type().clone();
    Ok(Column::Arrow(data_type, batches.iter().map(|batch| batch.column(0).clone()).collect()))
}
