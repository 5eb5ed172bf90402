//! The extension module `fuseline._fuseline`: a thin layer of Python classes over the facade crate.
//! The package `fuseline` (python/fuseline) re-exports what users see.
//!
//! `connection` has the session, `result` a planned statement, `wait` lets Python's signals through
//! while a query runs. `input` makes Python objects tables, `locals` finds them by name, `parameters`
//! makes them values; `output` makes results Python objects.

mod connection;
mod error;
mod input;
mod locals;
mod output;
mod parameters;
mod result;
mod udf;
mod wait;
mod workers;

use std::ffi::OsString;
use std::time::Duration;

use pyo3::prelude::*;

/// Arrays and results are large and short-lived; see the binary, which makes the same choice.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Runs the `fuseline` command line, the program's name first, and returns its exit code.
#[pyfunction]
fn command_line(py: Python<'_>, args: Vec<OsString>) -> i32 {
    py.detach(|| fuseline_cli::main_with_python(args, &udf::CommandLine))
}

/// How long the end of the interpreter waits for functions that are running.
const PATIENCE: Duration = Duration::from_secs(2);

/// Called when the interpreter is about to end, while everything still works.
#[pyfunction]
fn at_exit(py: Python<'_>) {
    // First nobody enters any more, then those inside are asked to leave.
    py.detach(|| fuseline::python::close(Duration::ZERO));
    fuseline::python::interrupt::interrupt_all(py, PATIENCE);
    py.detach(|| fuseline::python::close(PATIENCE));
}

#[pymodule]
mod _fuseline {
    use pyo3::prelude::*;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        // A panic is caught and becomes an exception; the default hook would print a second message. Whoever
        // looks for a fault sets RUST_BACKTRACE and sees all of it.
        if std::env::var_os("RUST_BACKTRACE").is_none() {
            std::panic::set_hook(Box::new(|_| {}));
        }
        let at_exit = wrap_pyfunction!(super::at_exit, module)?;
        module.py().import("atexit")?.call_method1("register", (at_exit,))?;
        Ok(())
    }

    #[pymodule_export]
    use super::command_line;
    #[pymodule_export]
    use super::connection::Connection;
    #[pymodule_export]
    use super::error::{Error, ExecutionError, FileError, ResourceError, SettingError, SqlError, UdfError};
    #[pymodule_export]
    use super::output::batches::RecordBatches;
    #[pymodule_export]
    use super::result::Result;
    #[pymodule_export]
    use super::udf::{drop_function, register_function};

    /// The version of the package.
    #[pymodule_export]
    const VERSION: &str = env!("CARGO_PKG_VERSION");
}
