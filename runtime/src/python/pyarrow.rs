//! Arrays to pyarrow and back, through the Arrow C data interface: nothing is copied.

use crate::python::to_python::arrow_error;
use crate::udf::CallError;
use arrow::array::{Array, ArrayRef, make_array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field};
use arrow::ffi::{FFI_ArrowArray, FFI_ArrowSchema, from_ffi, to_ffi};
use pyo3::exceptions::PyImportError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyCapsule, PyList, PyTuple};
use std::ffi::CStr;

const SCHEMA: &CStr = c"arrow_schema";
const ARRAY: &CStr = c"arrow_array";

/// What is needed of pyarrow.
struct PyArrow {
    import_array: Py<PyAny>,
    import_field: Py<PyAny>,
    array: Py<PyAny>,
}

static PYARROW: PyOnceLock<PyArrow> = PyOnceLock::new();

fn pyarrow(py: Python<'_>) -> PyResult<&PyArrow> {
    PYARROW.get_or_try_init(py, || {
        let module = py.import("pyarrow").map_err(|cause| {
            let error =
                PyImportError::new_err("functions of this kind or type need pyarrow: pip install pyarrow");
            error.set_cause(py, Some(cause));
            error
        })?;
        Ok(PyArrow {
            import_array: module.getattr("Array")?.getattr("_import_from_c")?.unbind(),
            import_field: module.getattr("DataType")?.getattr("_import_from_c")?.unbind(),
            array: module.getattr("array")?.unbind(),
        })
    })
}

/// The array as a pyarrow.Array over the same memory.
pub fn export<'py>(py: Python<'py>, array: &ArrayRef) -> PyResult<Bound<'py, PyAny>> {
    let import = pyarrow(py)?.import_array.bind(py);
    let (mut array, mut schema) = to_ffi(&array.to_data()).map_err(arrow_error)?;
    // pyarrow moves both structs out and leaves released ones, which Rust drops without effect.
    let pointers = (&raw mut array as usize, &raw mut schema as usize);
    import.call1(pointers)
}

/// The pyarrow.DataType of a type.
pub fn export_type<'py>(py: Python<'py>, data_type: &DataType) -> PyResult<Bound<'py, PyAny>> {
    let mut schema = FFI_ArrowSchema::try_from(data_type).map_err(arrow_error)?;
    pyarrow(py)?.import_field.bind(py).call1((&raw mut schema as usize,))
}

/// The type that an object with `__arrow_c_schema__` stands for.
///
/// # Errors
/// The exception of asking it.
pub fn import_type(object: &Bound<'_, PyAny>) -> PyResult<DataType> {
    let capsule = object.call_method0("__arrow_c_schema__")?.cast_into::<PyCapsule>()?;
    let pointer = capsule.pointer_checked(Some(SCHEMA))?.cast::<FFI_ArrowSchema>();
    // SAFETY: a capsule of this name holds a valid ArrowSchema, which lives as long as the capsule.
    let schema = unsafe { pointer.as_ref() };
    Ok(Field::try_from(schema).map_err(arrow_error)?.data_type().clone())
}

/// What a function returned as an array of the type, or what it is instead.
pub fn import(result: &Bound<'_, PyAny>, expected: &DataType) -> PyResult<Result<ArrayRef, CallError>> {
    let mut result = result.clone();
    // The results of pyarrow's functions may come in chunks.
    if result.hasattr("chunks")? && result.hasattr("combine_chunks")? {
        result = result.call_method0("combine_chunks")?;
    }
    if !result.hasattr("__arrow_c_array__")? {
        let class = result.get_type().qualname()?;
        return Ok(Err(CallError::WrongResult(format!("returned {class}, not an Arrow array"))));
    }
    let pair = result.call_method0("__arrow_c_array__")?.cast_into::<PyTuple>()?;
    let schema = pair.get_item(0)?.cast_into::<PyCapsule>()?;
    let array = pair.get_item(1)?.cast_into::<PyCapsule>()?;
    let schema = schema.pointer_checked(Some(SCHEMA))?.cast::<FFI_ArrowSchema>();
    let array = array.pointer_checked(Some(ARRAY))?.cast::<FFI_ArrowArray>();
    // SAFETY: a capsule of this name holds a valid ArrowSchema, and `from_raw` moves it out.
    let schema = unsafe { FFI_ArrowSchema::from_raw(schema.as_ptr()) };
    // SAFETY: a capsule of this name holds a valid ArrowArray, and `from_raw` moves it out.
    let array = unsafe { FFI_ArrowArray::from_raw(array.as_ptr()) };
    // SAFETY: the two capsules came from one call, so the schema describes the array.
    let mut data = unsafe { from_ffi(array, &schema) }.map_err(arrow_error)?;
    data.align_buffers();
    let array = make_array(data);
    if array.data_type() == expected {
        return Ok(Ok(array));
    }
    if same_but_for_encoding(array.data_type(), expected) {
        return Ok(Ok(cast(&array, expected).map_err(arrow_error)?));
    }
    let (expected, got) = (expected.to_string(), array.data_type().to_string());
    Ok(Err(CallError::WrongType { expected, got }))
}

/// Whether only the encoding of text and bytes, or the names of nested fields, differ.
fn same_but_for_encoding(a: &DataType, b: &DataType) -> bool {
    use DataType as D;
    match (a, b) {
        (D::Utf8 | D::LargeUtf8 | D::Utf8View, D::Utf8 | D::LargeUtf8 | D::Utf8View) => true,
        (D::Binary | D::LargeBinary | D::BinaryView, D::Binary | D::LargeBinary | D::BinaryView) => true,
        (D::List(a) | D::LargeList(a), D::List(b) | D::LargeList(b)) => {
            same_but_for_encoding(a.data_type(), b.data_type())
        }
        (D::FixedSizeList(a, n), D::FixedSizeList(b, m)) => {
            n == m && same_but_for_encoding(a.data_type(), b.data_type())
        }
        (a, b) => a.equals_datatype(b),
    }
}

/// A list of Python objects as pyarrow reads them.
pub fn from_list(list: &Bound<'_, PyList>, data_type: &DataType) -> PyResult<ArrayRef> {
    let py = list.py();
    let data_type_there = export_type(py, data_type)?;
    let array = pyarrow(py)?.array.bind(py).call1((list, data_type_there))?;
    import(&array, data_type)?.map_err(|_| {
        pyo3::exceptions::PyTypeError::new_err(format!("pyarrow made another type of {data_type}"))
    })
}
