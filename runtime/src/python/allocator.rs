//! NumPy's arrays out of the engine's allocator while a function runs.
//!
//! NumPy takes large arrays from the C library, which gives freed memory back to the kernel: results
//! that a query keeps until its end cost a page fault every 4 KiB, several times what `x + 1` costs.
//! The engine's allocator keeps memory. NumPy lets a program bring its own allocator (NEP 49); every
//! array remembers the one it came from, so arrays that outlive the call are freed rightly.
//!
//! Each block starts with a header that holds its size, because NumPy does not always know it.

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyCapsule;
use std::alloc::{Layout, alloc, alloc_zeroed, dealloc, realloc};
use std::ffi::{CStr, c_char, c_void};

/// Bytes before each block, and its alignment: a cache line.
const HEADER: usize = 64;
/// Places of the functions in NumPy's table, the same since NumPy 1.22.
const SET_HANDLER: usize = 304;
const HANDLER_NAME: &CStr = c"mem_handler";

/// NumPy's `PyDataMem_Handler`, version 1.
#[repr(C)]
struct Handler {
    name: [c_char; 127],
    version: u8,
    ctx: *mut c_void,
    malloc: unsafe extern "C" fn(*mut c_void, usize) -> *mut c_void,
    calloc: unsafe extern "C" fn(*mut c_void, usize, usize) -> *mut c_void,
    realloc: unsafe extern "C" fn(*mut c_void, *mut c_void, usize) -> *mut c_void,
    free: unsafe extern "C" fn(*mut c_void, *mut c_void, usize),
}

// SAFETY: the struct holds functions only, and a context that is never looked at.
unsafe impl Sync for Handler {}

static HANDLER: Handler = Handler {
    name: {
        let mut name = [0; 127];
        let text = b"fuseline";
        let mut i = 0;
        while i < text.len() {
            name[i] = text[i] as c_char;
            i += 1;
        }
        name
    },
    version: 1,
    ctx: std::ptr::null_mut(),
    malloc: np_malloc,
    calloc: np_calloc,
    realloc: np_realloc,
    free: np_free,
};

fn layout(size: usize) -> Option<Layout> {
    Layout::from_size_align(size.checked_add(HEADER)?, HEADER).ok()
}

/// The block behind the header of a new allocation.
///
/// # Safety
/// `start` is null or the start of an allocation with `layout(size)`.
unsafe fn block(start: *mut u8, size: usize) -> *mut c_void {
    if start.is_null() {
        return std::ptr::null_mut();
    }
    // SAFETY: the allocation has at least HEADER bytes, aligned for a usize.
    unsafe {
        start.cast::<usize>().write(size);
        start.add(HEADER).cast()
    }
}

unsafe extern "C" fn np_malloc(_ctx: *mut c_void, size: usize) -> *mut c_void {
    match layout(size) {
        // SAFETY: the layout's size is at least HEADER, not zero.
        Some(layout) => unsafe { block(alloc(layout), size) },
        None => std::ptr::null_mut(),
    }
}

unsafe extern "C" fn np_calloc(_ctx: *mut c_void, items: usize, width: usize) -> *mut c_void {
    let size = items.checked_mul(width);
    match size.and_then(|size| Some((size, layout(size)?))) {
        // SAFETY: as in `np_malloc`.
        Some((size, layout)) => unsafe { block(alloc_zeroed(layout), size) },
        None => std::ptr::null_mut(),
    }
}

unsafe extern "C" fn np_realloc(ctx: *mut c_void, old: *mut c_void, size: usize) -> *mut c_void {
    if old.is_null() {
        // SAFETY: as in `np_malloc`.
        return unsafe { np_malloc(ctx, size) };
    }
    // SAFETY: NumPy gives back what one of these functions gave it, so the header is before it.
    unsafe {
        let start = old.cast::<u8>().sub(HEADER);
        let old_size = start.cast::<usize>().read();
        match (layout(old_size), layout(size)) {
            (Some(old), Some(new)) => block(realloc(start, old, new.size()), size),
            (None, _) | (_, None) => std::ptr::null_mut(),
        }
    }
}

unsafe extern "C" fn np_free(_ctx: *mut c_void, old: *mut c_void, _size: usize) {
    if old.is_null() {
        return;
    }
    // SAFETY: as in `np_realloc`.
    unsafe {
        let start = old.cast::<u8>().sub(HEADER);
        if let Some(layout) = layout(start.cast::<usize>().read()) {
            dealloc(start, layout);
        }
    }
}

/// NumPy's function that exchanges the allocator, and the capsule of ours.
struct Exchange {
    set: unsafe extern "C" fn(*mut ffi::PyObject) -> *mut ffi::PyObject,
    ours: Py<PyAny>,
}

static EXCHANGE: PyOnceLock<Option<Exchange>> = PyOnceLock::new();

/// `None` for a NumPy that is built otherwise: then its own allocator serves.
fn exchange(py: Python<'_>) -> Option<&Exchange> {
    EXCHANGE.get_or_init(py, || find(py).ok()).as_ref()
}

fn find(py: Python<'_>) -> PyResult<Exchange> {
    let module =
        py.import("numpy._core._multiarray_umath").or_else(|_| py.import("numpy.core._multiarray_umath"))?;
    let table = module.getattr("_ARRAY_API")?.cast_into::<PyCapsule>()?;
    let table = table.pointer_checked(None)?.cast::<*mut c_void>();
    // SAFETY: the capsule holds NumPy's table of functions, which has had this function at this
    // place since 1.22; older ones are refused at import (pyproject asks for more). The table lives as
    // long as the process.
    let set = unsafe { table.as_ptr().add(SET_HANDLER).read() };
    // SAFETY: the function at that place has this signature.
    let set = unsafe {
        std::mem::transmute::<*mut c_void, unsafe extern "C" fn(*mut ffi::PyObject) -> *mut ffi::PyObject>(
            set,
        )
    };
    let pointer = (&raw const HANDLER).cast_mut().cast::<c_void>();
    // SAFETY: the handler is static; a capsule without a destructor.
    let ours = unsafe {
        Bound::from_owned_ptr_or_err(py, ffi::PyCapsule_New(pointer, HANDLER_NAME.as_ptr(), None))?
    };
    Ok(Exchange { set, ours: ours.unbind() })
}

/// Runs a function of the user's while NumPy takes memory from the engine's allocator.
pub fn with_our_allocator<T>(py: Python<'_>, work: impl FnOnce() -> T) -> T {
    let Some(exchange) = exchange(py) else { return work() };
    // SAFETY: the GIL is held, and `ours` is a capsule as NumPy wants it.
    let former = unsafe { Bound::from_owned_ptr_or_opt(py, (exchange.set)(exchange.ours.as_ptr())) };
    let result = work();
    match former {
        Some(former) => {
            // SAFETY: the GIL is held; `former` is what NumPy gave us. It returns ours, a new reference.
            drop(unsafe { Bound::from_owned_ptr_or_opt(py, (exchange.set)(former.as_ptr())) });
        }
        // NumPy would not have ours.
        None => drop(PyErr::take(py)),
    }
    result
}
