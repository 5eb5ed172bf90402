//! Registering Python functions: what `fuseline/_udf.py` found out about a function becomes a
//! function of the session.
//!
//! A type comes as a text (a name that SQL or Arrow knows), as an object with `__arrow_c_schema__`
//! (pyarrow's types), or as the pair ("list", type).

use std::path::PathBuf;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use fuseline::python::source::PythonCompiler;
use fuseline::python::{PythonFunction, function_of_body, pyarrow};
use fuseline::udf::{
    ArgDefault, BatchFunction, Compile, CompiledUdf, FunctionOptions, FunctionSpec, Isolation, Param,
    SpecError,
};
use fuseline::{Error as SessionError, FunctionDefinition, FunctionLanguage, Session};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple};

use crate::connection::Connection;
use crate::error::{SettingError, to_py};
use crate::workers;

/// What `_udf.Function.definition` returns.
#[derive(FromPyObject)]
struct Definition<'py> {
    name: String,
    function: Bound<'py, PyAny>,
    params: Vec<(String, Bound<'py, PyAny>, bool)>,
    returns: Bound<'py, PyAny>,
    options: Vec<(String, String)>,
}

/// Makes a `_udf.Function` a function of the connection.
#[pyfunction]
pub fn register_function(
    py: Python<'_>,
    connection: &Connection,
    function: &Bound<'_, PyAny>,
) -> PyResult<()> {
    let session = connection.session()?;
    register(py, &session, function)
}

/// Removes a function; an error if there is none of that name.
#[pyfunction]
pub fn drop_function(connection: &Connection, name: &str) -> PyResult<()> {
    let session = connection.session()?;
    if session.drop_function(name).map_err(to_py)? {
        Ok(())
    } else {
        Err(crate::error::SqlError::new_err(format!("there is no function '{name}'")))
    }
}

fn register(py: Python<'_>, session: &Session, function: &Bound<'_, PyAny>) -> PyResult<()> {
    let definition: Definition<'_> = function.call_method0("definition")?.extract()?;
    let mut options = FunctionOptions::default();
    for (option, value) in &definition.options {
        options.set(option, value).map_err(|e| SettingError::new_err(e.to_string()))?;
    }
    let mut params = Vec::with_capacity(definition.params.len());
    for (name, given, has_default) in &definition.params {
        let data_type = data_type(session, given)?;
        let default = has_default.then_some(ArgDefault::Omitted);
        params.push(Param { name: name.clone(), data_type, default });
    }
    let returns = data_type(session, &definition.returns)?;
    let spec =
        options.build(definition.name, params, returns).map_err(|e| SettingError::new_err(e.to_string()))?;
    let function = batch_function(session, &spec, &definition.function)?;
    py.detach(|| session.register_function(spec, function)).map_err(to_py)
}

/// The function where its isolation wants it.
fn batch_function(
    session: &Session,
    spec: &FunctionSpec,
    callable: &Bound<'_, PyAny>,
) -> PyResult<Arc<dyn BatchFunction>> {
    let own = Arc::new(spec.clone());
    let inner: Arc<dyn BatchFunction> = match spec.isolation {
        Isolation::InProcess => Arc::new(PythonFunction::new(Arc::clone(&own), callable)),
        Isolation::Process | Isolation::Socket => workers::pooled(session, spec, callable)?,
    };
    let compiling = PythonCompiler::new(own, callable);
    let function = CompiledUdf::new(inner, Box::new(compiling));
    if let (Compile::Require, Some(reason)) = (spec.compile, function.reason()) {
        let refused = SpecError::CannotCompile { udf: spec.name.clone(), reason };
        return Err(SettingError::new_err(refused.to_string()));
    }
    Ok(Arc::new(function))
}

fn data_type(session: &Session, given: &Bound<'_, PyAny>) -> PyResult<DataType> {
    if let Ok(name) = given.cast::<PyString>() {
        let name = name.to_str()?;
        return session.sql_type(name).or_else(|error| {
            // Arrow's names: "Duration(Microsecond)".
            name.parse::<DataType>().map_err(|_| to_py(error))
        });
    }
    if let Ok(pair) = given.cast::<PyTuple>() {
        let item = data_type(session, &pair.get_item(1)?)?;
        return Ok(DataType::List(Arc::new(Field::new_list_field(item, true))));
    }
    if given.hasattr("__arrow_c_schema__")? {
        return pyarrow::import_type(given);
    }
    Err(PyTypeError::new_err(format!("{} is no type of a column", given.repr()?)))
}

/// LANGUAGE python.
pub struct PythonLanguage;

impl FunctionLanguage for PythonLanguage {
    fn create(
        &self,
        session: &Session,
        definition: FunctionDefinition,
    ) -> fuseline::Result<(FunctionSpec, Arc<dyn BatchFunction>)> {
        let FunctionDefinition { name, params, returns, options, body } = definition;
        let spec = options.build(name, params, returns)?;
        let names: Vec<String> = spec.params.iter().map(|p| p.name.clone()).collect();
        let made = Python::try_attach(|py| {
            let callable = function_of_body(py, &spec.name, &names, &body)?;
            batch_function(session, &spec, &callable)
        });
        match made {
            Some(Ok(function)) => Ok((spec, function)),
            Some(Err(error)) => Err(SessionError::Plan {
                message: format!("the body of function '{}': {}", spec.name, message(&error)),
                position: None,
            }),
            None => Err(SessionError::Internal { message: "the interpreter has ended".into() }),
        }
    }
}

fn message(error: &PyErr) -> String {
    Python::attach(|py| fuseline::python::exception::one_line(py, error))
}

/// What the command line needs of Python.
pub struct CommandLine;

impl fuseline_cli::PythonSupport for CommandLine {
    fn prepare(&self, session: &Session, files: &[PathBuf]) -> Result<(), String> {
        session.register_language("python", Arc::new(PythonLanguage));
        if files.is_empty() {
            return Ok(());
        }
        let loaded = Python::try_attach(|py| -> PyResult<()> {
            let load = py.import("fuseline._udf")?.getattr("load_file")?;
            for file in files {
                for function in load.call1((file,))?.try_iter()? {
                    register(py, session, &function?)?;
                }
            }
            Ok(())
        });
        match loaded {
            Some(Ok(())) => Ok(()),
            Some(Err(error)) => Err(message(&error)),
            None => Err("the interpreter has ended".into()),
        }
    }
}
