//! Python functions, for programs that run inside Python (feature `python`).

pub use fuseline_runtime::python::gate::{close, enter};
pub use fuseline_runtime::python::{
    PythonException, PythonFunction, exception, function_of_body, interrupt, pyarrow, source,
};
