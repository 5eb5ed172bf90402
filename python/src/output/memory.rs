//! A column's memory as Python sees it: an object with `__array_interface__`, which NumPy takes without
//! a copy and keeps for as long as it uses it.

use arrow::buffer::{Buffer, MutableBuffer};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::column::{Shape, View};
use super::region::Region;

/// Who owns the bytes.
#[derive(Debug)]
pub enum Keeper {
    Region(Region),
    /// An array of a result, which nobody else has.
    Own(MutableBuffer),
    /// Memory that others have too: read-only.
    Shared(Buffer),
    View(View),
}

impl Keeper {
    /// The buffer of an array: our own if nobody else has it.
    pub fn from_buffer(buffer: Buffer) -> Keeper {
        match buffer.into_mutable() {
            Ok(own) => Keeper::Own(own),
            Err(shared) => Keeper::Shared(shared),
        }
    }

    pub fn bytes(&self) -> &[u8] {
        match self {
            Keeper::Region(region) => region.bytes(),
            Keeper::Own(buffer) => buffer.as_slice(),
            Keeper::Shared(buffer) => buffer.as_slice(),
            Keeper::View(view) => view.bytes(),
        }
    }

    fn is_read_only(&self) -> bool {
        match self {
            Keeper::Region(_) | Keeper::Own(_) => false,
            Keeper::Shared(_) | Keeper::View(_) => true,
        }
    }
}

/// One column of a result.
#[pyclass(frozen)]
pub struct Memory {
    shape: Shape,
    keeper: Keeper,
}

impl Memory {
    pub fn new(shape: Shape, keeper: Keeper) -> Memory {
        Memory { shape, keeper }
    }
}

#[pymethods]
impl Memory {
    #[getter]
    fn __array_interface__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let bytes = self.keeper.bytes();
        let items = bytes.len() / self.shape.item.size();
        let interface = PyDict::new(py);
        interface.set_item("version", 3)?;
        let order = if self.shape.item.size() == 1 { "|" } else { "<" };
        interface.set_item("typestr", format!("{order}{}", self.shape.item.typestr()))?;
        // No bytes need no memory, but an address that every type may have.
        let address = if bytes.is_empty() { 64 } else { bytes.as_ptr() as usize };
        interface.set_item("data", (address, self.keeper.is_read_only()))?;
        match self.shape.items {
            None => interface.set_item("shape", (items,))?,
            Some(0) => interface.set_item("shape", (0, 0))?,
            Some(row) => interface.set_item("shape", (items / row, row))?,
        }
        Ok(interface)
    }
}
