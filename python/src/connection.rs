//! `fuseline.Connection`: a session and its threads.

use std::path::PathBuf;
use std::sync::Arc;

use fuseline::{Session, StatementKind};
use parking_lot::Mutex;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;

use crate::error::{Error, SettingError, to_py};
use crate::import::import_table;
use crate::result::Result;
use crate::udf::PythonLanguage;
use crate::wait::Threads;

/// A session with its tables, settings and threads.
#[pyclass(module = "fuseline", frozen)]
pub struct Connection {
    /// None once it is closed.
    state: Mutex<Option<Open>>,
}

#[derive(Clone)]
struct Open {
    session: Session,
    threads: Arc<Threads>,
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

    /// Makes Arrow data a table; its buffers are used where they lie.
    fn register(&self, name: &str, data: &Bound<'_, PyAny>) -> PyResult<()> {
        let open = self.open()?;
        let (schema, batches) = import_table(data)?;
        let py = data.py();
        py.detach(|| open.session.register_batches(name, schema, batches)).map_err(to_py)
    }

    /// Plans one statement. A query runs when its result is asked for, a command at once.
    fn sql(&self, py: Python<'_>, sql: String) -> PyResult<Result> {
        let open = self.open()?;
        let (session, text) = (open.session.clone(), sql.clone());
        let query = open.threads.run(py, async move { session.sql(&text).await })?;
        let query = Arc::new(query);
        let done = match query.kind() {
            StatementKind::Query | StatementKind::Explain => None,
            StatementKind::Command => {
                let work = query.clone();
                Some(open.threads.run(py, async move { work.collect().await })?)
            }
        };
        Ok(Result::new(open.session, sql, query, open.threads, done))
    }

    /// Ends the connection: nothing more can be asked of it. Results it gave stay usable.
    fn close(&self) {
        self.state.lock().take();
    }

    fn __enter__(this: Py<Self>) -> Py<Self> {
        this
    }

    #[pyo3(signature = (*_args))]
    fn __exit__(&self, _args: &Bound<'_, pyo3::types::PyTuple>) -> bool {
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
