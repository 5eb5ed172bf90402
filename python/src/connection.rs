//! `fuseline.Connection`: a session and its threads.

use std::path::PathBuf;
use std::sync::Arc;

use fuseline::{Inputs, Query, Session, StatementKind};
use parking_lot::Mutex;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use crate::error::{Error, SettingError, to_py};
use crate::input::Imported;
use crate::result::Result;
use crate::udf::PythonLanguage;
use crate::wait::Threads;
use crate::{locals, parameters};

/// A session with its tables, settings and threads.
///
/// Threads of Python may share a connection.
#[pyclass(module = "fuseline", frozen)]
pub struct Connection {
    /// None once it is closed.
    state: Mutex<Option<Open>>,
}

/// An open connection.
#[derive(Clone)]
pub struct Open {
    pub session: Session,
    pub threads: Arc<Threads>,
}

#[pymethods]
impl Connection {
    #[new]
    #[pyo3(signature = (
        *, threads=None, memory_limit=None, temp_dir=None, allow_create_function=false, settings=Vec::new()
    ))]
    fn new(
        threads: Option<usize>,
        memory_limit: Option<Bound<'_, PyAny>>,
        temp_dir: Option<PathBuf>,
        allow_create_function: bool,
        settings: Vec<(String, String)>,
    ) -> PyResult<Connection> {
        if threads == Some(0) {
            return Err(SettingError::new_err("threads must be at least 1"));
        }
        let mut builder = Session::builder().allow_create_function(allow_create_function);
        if let Some(threads) = threads {
            builder = builder.threads(threads);
        }
        if let Some(limit) = memory_limit {
            builder = builder.memory_limit(size(&limit)?);
        }
        if let Some(folder) = temp_dir {
            builder = builder.temp_dir(folder);
        }
        for (key, value) in &settings {
            builder = builder.set(key, value);
        }
        let session = builder.build().map_err(to_py)?;
        session.register_language("python", Arc::new(PythonLanguage));
        let threads = Threads::start(threads)?;
        Ok(Connection { state: Mutex::new(Some(Open { session, threads })) })
    }

    /// Makes data a table, in place of a table of that name.
    ///
    /// data: Arrow data (anything with `__arrow_c_stream__` or `__arrow_c_array__`), a Polars or pandas
    /// frame, or a dict of NumPy arrays of one length (two-dimensional ones become lists of a fixed
    /// size). Nothing is copied; memory that is not in Arrow's form, such as a column with strides, is
    /// copied chunk by chunk each time it is scanned. The index of a pandas frame is left out.
    ///
    /// Raises TypeError for an object that is no table, or a column that cannot be one.
    fn register(&self, name: &str, data: &Bound<'_, PyAny>) -> PyResult<()> {
        let open = self.open()?;
        let provider = Imported::from_python(data)?.into_provider(name)?;
        let py = data.py();
        py.detach(|| open.session.register_table(name, provider)).map_err(to_py)
    }

    /// Plans one statement. A query runs when its result is asked for, a command at once.
    ///
    /// The values of `?` or `$1`, `$2`, ... follow the text, those of `$name` are given by name. They
    /// are bound as typed values, never pasted into the text.
    ///
    /// A name in FROM that no table has may be that of a local or global variable of the caller.
    #[pyo3(signature = (sql, /, *values, **named_values))]
    fn sql(
        &self,
        py: Python<'_>,
        sql: String,
        values: &Bound<'_, PyTuple>,
        named_values: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Result> {
        let open = self.open()?;
        let mut inputs = Inputs::new();
        match (values.is_empty(), named_values) {
            (true, Some(named)) => inputs = inputs.named(parameters::named(named)?),
            (true, None) => {}
            (false, None) => inputs = inputs.positional(parameters::positional(values)?),
            (false, Some(_)) => {
                return Err(PyTypeError::new_err("parameters are given by position or by name, not both"));
            }
        }
        let (query, inputs) = open.plan(py, &sql, inputs)?;
        let query = Arc::new(query);
        let done = match query.kind() {
            StatementKind::Query | StatementKind::Explain => None,
            StatementKind::Command => {
                let work = query.clone();
                Some(open.threads.run(py, async move { work.collect().await })?)
            }
        };
        Ok(Result::new(open.session, sql, inputs, query, open.threads, done))
    }

    /// Ends the connection: nothing more can be asked of it. Results it gave stay usable.
    fn close(&self) {
        self.state.lock().take();
    }

    fn __enter__(this: Py<Self>) -> Py<Self> {
        this
    }

    #[pyo3(signature = (*_args))]
    fn __exit__(&self, _args: &Bound<'_, PyTuple>) -> bool {
        self.close();
        false
    }
}

/// A number of bytes, or a text such as "2GiB".
fn size(limit: &Bound<'_, PyAny>) -> PyResult<usize> {
    if let Ok(bytes) = limit.extract::<usize>() {
        return Ok(bytes);
    }
    let text: String = limit
        .extract()
        .map_err(|_| PyTypeError::new_err("memory_limit is a number of bytes or a text such as \"2GiB\""))?;
    fuseline_cli::parse_size(&text).map_err(|e| SettingError::new_err(format!("memory_limit '{text}': {e}")))
}

impl Connection {
    /// Its session.
    pub fn session(&self) -> PyResult<Session> {
        Ok(self.open()?.session)
    }

    fn open(&self) -> PyResult<Open> {
        self.state.lock().clone().ok_or_else(|| Error::new_err("the connection is closed"))
    }
}

impl Open {
    /// Plans a statement; where that fails for want of a table, again with the caller's variables.
    fn plan(&self, py: Python<'_>, sql: &str, mut inputs: Inputs) -> PyResult<(Query, Inputs)> {
        let plan = |inputs: Inputs| {
            let (session, text) = (self.session.clone(), sql.to_string());
            self.threads.run_for(py, async move { session.sql_with(&text, &inputs).await })
        };
        let error = match plan(inputs.clone())? {
            Ok(query) => return Ok((query, inputs)),
            Err(error @ fuseline::Error::Plan { .. }) => error,
            Err(error) => return Err(to_py(error)),
        };
        let (session, text) = (self.session.clone(), sql.to_string());
        let missing = self.threads.run_for(py, async move { session.missing_tables(&text).await })?;
        let mut found = false;
        for name in missing.unwrap_or_default() {
            if let Some(table) = locals::table(py, &name)? {
                inputs = inputs.table(name, table);
                found = true;
            }
        }
        if !found {
            return Err(to_py(error));
        }
        let query = plan(inputs.clone())?.map_err(to_py)?;
        Ok((query, inputs))
    }
}
