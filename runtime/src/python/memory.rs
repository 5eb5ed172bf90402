//! Memory shared between Arrow and NumPy, in both directions without a copy.
//!
//! Arrow's buffers never change, so Python sees them read-only. NumPy's arrays may change; one
//! becomes an Arrow buffer only if nobody but us refers to it, or if it is itself a view of an Arrow
//! buffer: a function that keeps its result and writes to it again gets a copy taken.

use arrow::buffer::Buffer;
use pyo3::exceptions::PyBufferError;
use pyo3::ffi;
use pyo3::prelude::*;
use std::ffi::c_int;
use std::panic::AssertUnwindSafe;
use std::ptr::NonNull;
use std::sync::Arc;

/// An Arrow buffer as a Python object that others may read.
#[pyclass(frozen, module = "fuseline")]
pub struct ArrowMemory {
    buffer: Buffer,
}

impl ArrowMemory {
    pub fn new(buffer: Buffer) -> ArrowMemory {
        ArrowMemory { buffer }
    }
}

#[pymethods]
impl ArrowMemory {
    /// # Safety
    /// Python calls it with a view to fill in.
    unsafe fn __getbuffer__(slf: Bound<'_, Self>, view: *mut ffi::Py_buffer, flags: c_int) -> PyResult<()> {
        if view.is_null() {
            return Err(PyBufferError::new_err("there is no view to fill"));
        }
        let buffer = &slf.get().buffer;
        // SAFETY: `view` is not null, and the memory is alive as long as the object, to which the
        // view gets a reference. Read-only, so the pointer is never written through.
        let filled = unsafe {
            ffi::PyBuffer_FillInfo(
                view,
                slf.as_ptr(),
                buffer.as_ptr().cast_mut().cast(),
                buffer.len() as isize,
                1,
                flags,
            )
        };
        if filled == 0 { Ok(()) } else { Err(PyErr::fetch(slf.py())) }
    }
}

/// Keeps the object that owns some memory. `Buffer` asks for unwind safety, which a reference that
/// nobody looks through has.
struct Owner(#[expect(dead_code, reason = "held, not read")] AssertUnwindSafe<Py<PyAny>>);

/// The memory of an object that offers it contiguously, as long as the object is alive.
///
/// # Errors
/// BufferError if the memory is strided.
pub fn borrow(object: &Bound<'_, PyAny>) -> PyResult<Buffer> {
    let mut view = std::mem::MaybeUninit::<ffi::Py_buffer>::zeroed();
    // SAFETY: the GIL is held, the object is alive, and `view` has room for a Py_buffer.
    let got = unsafe { ffi::PyObject_GetBuffer(object.as_ptr(), view.as_mut_ptr(), ffi::PyBUF_C_CONTIGUOUS) };
    if got != 0 {
        return Err(PyErr::fetch(object.py()));
    }
    // SAFETY: PyObject_GetBuffer succeeded, so the view is filled in.
    let mut view = unsafe { view.assume_init() };
    let (pointer, bytes) = (view.buf.cast::<u8>(), view.len as usize);
    // SAFETY: the view was obtained above and is released once. The memory stays: it belongs to the
    // object, which the buffer below keeps, and nobody else has a reference with which to resize it.
    unsafe { ffi::PyBuffer_Release(&raw mut view) };
    let owner = Owner(AssertUnwindSafe(object.clone().unbind()));
    match NonNull::new(pointer) {
        Some(pointer) if bytes > 0 => {
            // SAFETY: `pointer` is valid for `bytes` bytes as long as the owner is alive.
            Ok(unsafe { Buffer::from_custom_allocation(pointer, bytes, Arc::new(owner)) })
        }
        Some(_) | None => Ok(Buffer::from(Vec::<u8>::new())),
    }
}

/// Whether nobody can change the memory of a NumPy array that a function has returned: only we have
/// it, and what it is a view of is only its own, or Arrow's.
///
/// `array` must be the only reference that we hold.
pub fn is_ours(array: &Bound<'_, PyAny>) -> PyResult<bool> {
    if references(array) > 1 {
        return Ok(false);
    }
    let mut base = array.getattr("base")?;
    loop {
        if base.is_none() || base.is_instance_of::<ArrowMemory>() {
            return Ok(true);
        }
        // One reference is the view's, the other ours.
        if references(&base) > 2 || !base.hasattr("base")? {
            return Ok(false);
        }
        base = base.getattr("base")?;
    }
}

fn references(object: &Bound<'_, PyAny>) -> isize {
    // SAFETY: the GIL is held and the object is alive.
    unsafe { ffi::Py_REFCNT(object.as_ptr()) }
}
