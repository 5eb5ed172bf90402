//! Python variables as tables: a name in FROM that no table has is looked for among the local variables
//! of the code that called, then among its globals.
//!
//! SQL folds names to lower case, so where no variable has the exact name, one that differs in case
//! only is taken.

use datafusion::catalog::TableProvider;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use std::sync::Arc;

use crate::error::SqlError;
use crate::input::Imported;

/// The variable `name` of the calling code as a table; `None` if there is no such variable.
///
/// # Errors
/// SqlError for a variable that is no table.
pub fn table(py: Python<'_>, name: &str) -> PyResult<Option<Arc<dyn TableProvider>>> {
    // Code in Rust has no frame: this is the one that called it.
    let frame = py.import("sys")?.call_method0("_getframe")?;
    for scope in ["f_locals", "f_globals"] {
        let variables = frame.getattr(scope)?;
        let Some((variable, value)) = find(py, &variables, name)? else {
            continue;
        };
        let imported = Imported::from_python(&value).map_err(|cause| {
            let error = SqlError::new_err(format!(
                "there is no table '{name}', and the Python variable '{variable}' cannot be one: {}",
                cause.value(py)
            ));
            error.set_cause(py, Some(cause));
            error
        })?;
        return Ok(Some(imported.into_provider(name)?));
    }
    Ok(None)
}

/// The variable, and its name as Python has it.
fn find<'py>(
    py: Python<'py>,
    variables: &Bound<'py, PyAny>,
    name: &str,
) -> PyResult<Option<(String, Bound<'py, PyAny>)>> {
    // Since Python 3.13 the locals of a function are a view, not a dict.
    let all = PyDict::new(py);
    all.call_method1("update", (variables,))?;
    if let Some(value) = all.get_item(name)? {
        return Ok(Some((name.to_string(), value)));
    }
    for (key, value) in all.iter() {
        let Ok(key) = key.extract::<String>() else {
            continue;
        };
        if key.to_lowercase() == name {
            return Ok(Some((key, value)));
        }
    }
    Ok(None)
}
