//! Arrow data from Python through the Arrow PyCapsule interface: pyarrow, polars, pandas, nanoarrow
//! and others offer it. Buffers are not copied; the producer's memory is released when the last
//! array here is dropped.

use std::ffi::CStr;

use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, StructArray, make_array};
use arrow::datatypes::{DataType, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::ffi::{FFI_ArrowArray, FFI_ArrowSchema, from_ffi};
use arrow::ffi_stream::{ArrowArrayStreamReader, FFI_ArrowArrayStream};
use arrow::record_batch::RecordBatchReader;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyCapsule, PyTuple};

use crate::error::Error;

const STREAM: &CStr = c"arrow_array_stream";
const SCHEMA: &CStr = c"arrow_schema";
const ARRAY: &CStr = c"arrow_array";

/// The schema and batches of a table-like object.
pub fn import_table(data: &Bound<'_, PyAny>) -> PyResult<(SchemaRef, Vec<RecordBatch>)> {
    if data.hasattr("__arrow_c_stream__")? {
        import_stream(data)
    } else if data.hasattr("__arrow_c_array__")? {
        import_structs(data)
    } else {
        Err(PyTypeError::new_err(format!(
            "an object of type {} is no table: a table is Arrow data (anything with \
             __arrow_c_stream__ or __arrow_c_array__), a Polars or pandas frame, or a dict of NumPy arrays",
            data.get_type().fully_qualified_name()?
        )))
    }
}

fn arrow_error(error: ArrowError) -> PyErr {
    Error::new_err(format!("cannot read the Arrow data: {error}"))
}

fn import_stream(data: &Bound<'_, PyAny>) -> PyResult<(SchemaRef, Vec<RecordBatch>)> {
    let py = data.py();
    let capsule = data.call_method0("__arrow_c_stream__")?.cast_into::<PyCapsule>()?;
    let pointer = capsule.pointer_checked(Some(STREAM))?.cast::<FFI_ArrowArrayStream>();
    // SAFETY: a capsule of this name holds a valid ArrowArrayStream (the PyCapsule interface says
    // so). `from_raw` moves it out and leaves a released one, which the capsule's destructor skips.
    let reader = unsafe { ArrowArrayStreamReader::from_raw(pointer.as_ptr()) }.map_err(arrow_error)?;
    let schema = reader.schema();
    // A stream may be a generator that computes, or reads files: other threads need not wait.
    let batches: Result<Vec<RecordBatch>, ArrowError> = py.detach(|| reader.collect());
    let batches = match batches {
        Ok(batches) => batches,
        // The producer's own exception, where it left one, says more.
        Err(error) => return Err(PyErr::take(py).unwrap_or_else(|| arrow_error(error))),
    };
    Ok((schema, batches))
}

/// One array, of any type.
///
/// # Errors
/// When the object does not offer one.
pub fn import_array(data: &Bound<'_, PyAny>) -> PyResult<ArrayRef> {
    let pair = data.call_method0("__arrow_c_array__")?.cast_into::<PyTuple>()?;
    let schema = pair.get_item(0)?.cast_into::<PyCapsule>()?;
    let array = pair.get_item(1)?.cast_into::<PyCapsule>()?;
    let schema = schema.pointer_checked(Some(SCHEMA))?.cast::<FFI_ArrowSchema>();
    let array = array.pointer_checked(Some(ARRAY))?.cast::<FFI_ArrowArray>();
    // SAFETY: a capsule of this name holds a valid ArrowSchema, and `from_raw` moves it out.
    let schema = unsafe { FFI_ArrowSchema::from_raw(schema.as_ptr()) };
    // SAFETY: a capsule of this name holds a valid ArrowArray, and `from_raw` moves it out.
    let array = unsafe { FFI_ArrowArray::from_raw(array.as_ptr()) };
    // SAFETY: the two capsules came from one call, so the schema describes the array.
    let imported = unsafe { from_ffi(array, &schema) }.map_err(arrow_error)?;
    Ok(make_array(imported))
}

/// The Arrow type that an object with `__arrow_c_schema__` stands for.
///
/// # Errors
/// When the object does not offer one, or the type is not known here.
pub fn import_type(data: &Bound<'_, PyAny>) -> PyResult<DataType> {
    let capsule = data.call_method0("__arrow_c_schema__")?.cast_into::<PyCapsule>()?;
    let pointer = capsule.pointer_checked(Some(SCHEMA))?.cast::<FFI_ArrowSchema>();
    // SAFETY: a capsule of this name holds a valid ArrowSchema, and `from_raw` moves it out.
    let schema = unsafe { FFI_ArrowSchema::from_raw(pointer.as_ptr()) };
    DataType::try_from(&schema).map_err(arrow_error)
}

fn import_structs(data: &Bound<'_, PyAny>) -> PyResult<(SchemaRef, Vec<RecordBatch>)> {
    let imported = import_array(data)?;
    let DataType::Struct(fields) = imported.data_type().clone() else {
        return Err(PyTypeError::new_err(format!(
            "an array of type {} is no table: a table, or an array of structs, is needed",
            imported.data_type()
        )));
    };
    let rows = imported.len();
    let structs = StructArray::from(imported.to_data());
    if structs.null_count() > 0 {
        return Err(Error::new_err("an array of structs that has nulls is no table"));
    }
    let schema = SchemaRef::new(Schema::new(fields));
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    let columns = structs.into_parts().1;
    let batch = RecordBatch::try_new_with_options(schema.clone(), columns, &options).map_err(arrow_error)?;
    Ok((schema, vec![batch]))
}
