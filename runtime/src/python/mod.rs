//! Python functions behind the boundary; only here does the engine know pyo3.
//!
//! [`PythonFunction`] is a [`BatchFunction`] around a Python callable of one of four kinds:
//! [`scalar`], [`numpy`], [`pandas`], and pyarrow arrays ([`pyarrow`]). [`gate`] enters Python,
//! [`to_python`] and [`from_python`] convert values, [`memory`] shares buffers, [`allocator`] lends NumPy ours, [`exception`] carries
//! exceptions through the engine. Worker processes run the same code on the columns they are sent.
//!
//! pyarrow, NumPy and pandas are imported when a function first needs them.

mod allocator;
pub mod exception;
pub mod from_python;
pub mod gate;
mod helper;
pub mod interrupt;
pub mod memory;
mod numpy;
mod pandas;
pub mod pyarrow;
mod scalar;
pub mod source;
pub mod to_python;

pub use exception::PythonException;

use crate::udf::{Batch, BatchFunction, CallError, Failure, FunctionSpec, Gate, Kind};
use arrow::array::ArrayRef;
use gate::{PYTHON, enter};
use pyo3::prelude::*;
use pyo3::types::{PyTuple, PyType};
use std::sync::Arc;

/// A Python function of this process.
pub struct PythonFunction {
    spec: Arc<FunctionSpec>,
    /// The function, or the class whose instance it is.
    callable: Py<PyAny>,
    /// The instance of a class, made when a batch first comes. Not a `OnceLock`: making it runs
    /// Python, which may switch threads while it holds the lock.
    instance: pyo3::sync::PyOnceLock<Py<PyAny>>,
    is_class: bool,
    loops: scalar::Loops,
}

impl PythonFunction {
    /// A callable, or a class with `__call__`, which is instantiated without arguments.
    pub fn new(spec: Arc<FunctionSpec>, callable: &Bound<'_, PyAny>) -> PythonFunction {
        PythonFunction {
            spec,
            is_class: callable.is_instance_of::<PyType>(),
            callable: callable.clone().unbind(),
            instance: pyo3::sync::PyOnceLock::new(),
            loops: scalar::Loops::default(),
        }
    }

    pub fn spec(&self) -> &Arc<FunctionSpec> {
        &self.spec
    }

    fn function<'py>(&'py self, py: Python<'py>) -> Result<&'py Bound<'py, PyAny>, CallError> {
        if !self.is_class {
            return Ok(self.callable.bind(py));
        }
        let made = self.instance.get_or_try_init(py, || self.callable.call0(py));
        made.map(|i| i.bind(py)).map_err(|error| {
            let failure = exception::failure(py, error, true);
            let message = format!("its class could not be instantiated: {}", failure.message);
            CallError::Fault(Failure { message, ..failure })
        })
    }

    /// One batch, with the GIL held.
    pub fn call_attached(&self, py: Python<'_>, batch: &Batch<'_>) -> Result<ArrayRef, CallError> {
        let function = self.function(py)?;
        let returns = &self.spec.returns;
        let outcome = match self.spec.kind {
            Kind::Scalar => return scalar::call(py, function, &self.loops, returns, batch),
            Kind::Numpy => numpy::call(py, function, returns, batch),
            Kind::Pandas => pandas::call(py, function, returns, batch),
            Kind::Arrow => arrow_call(py, function, returns, batch),
            Kind::Native => {
                return Err(CallError::WrongResult("is native, and has no Python code".to_owned()));
            }
        };
        outcome.unwrap_or_else(|error| Err(exception::call_error(py, error, None)))
    }
}

impl BatchFunction for PythonFunction {
    fn call(&self, batch: &Batch<'_>) -> Result<ArrayRef, CallError> {
        let (result, waited) = enter(|py| self.call_attached(py, batch));
        batch.spent_waiting(waited);
        result.unwrap_or_else(|| {
            Err(CallError::Fault(Failure::new("the Python interpreter has ended, so it cannot be called")))
        })
    }

    fn gate(&self) -> Option<&'static dyn Gate> {
        Some(&PYTHON)
    }
}

/// Calls the function on pyarrow arrays.
fn arrow_call(
    py: Python<'_>,
    function: &Bound<'_, PyAny>,
    returns: &arrow::datatypes::DataType,
    batch: &Batch<'_>,
) -> PyResult<Result<ArrayRef, CallError>> {
    let started = std::time::Instant::now();
    let args = batch.args().iter().map(|a| pyarrow::export(py, a)).collect::<PyResult<Vec<_>>>();
    let args = match args.and_then(|args| PyTuple::new(py, args)) {
        Ok(args) => args,
        Err(error) => return Ok(Err(exception::fault(py, error))),
    };
    batch.spent_converting(started.elapsed());
    let result = function.call1(args)?;
    let started = std::time::Instant::now();
    let array = pyarrow::import(&result, returns);
    batch.spent_converting(started.elapsed());
    array
}

/// The function that the body of CREATE FUNCTION stands for.
///
/// # Errors
/// The exception of compiling it.
pub fn function_of_body<'py>(
    py: Python<'py>,
    name: &str,
    params: &[String],
    body: &str,
) -> PyResult<Bound<'py, PyAny>> {
    helper::helper(py)?.body_of.bind(py).call1((name, params.to_vec(), body))
}
