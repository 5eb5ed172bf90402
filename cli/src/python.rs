//! Where SQL needs Python: inside an interpreter it is there, and otherwise the Python package's own
//! command takes over.

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use fuseline::Session;

use crate::error::CliError;

/// What the Python package brings.
pub trait PythonSupport {
    /// Lets the session make functions in Python, and registers those of the files.
    ///
    /// # Errors
    /// One sentence about the file that is wrong.
    fn prepare(&self, session: &Session, files: &[PathBuf]) -> Result<(), String>;
}

const INSTALL: &str = "this SQL needs Python functions, and for them the Python package: \
                       pip install fuseline (into the environment that is active)";

/// Runs the same command line with `python -m fuseline`, and returns its exit code. `typed` is what
/// was read from standard input.
pub fn take_over(args: &[OsString], typed: Option<String>) -> Result<i32, CliError> {
    let python = interpreter();
    let has_package = Command::new(&python)
        .args(["-c", "import importlib.util, sys; sys.exit(importlib.util.find_spec('fuseline') is None)"])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !has_package {
        return Err(CliError::Query(INSTALL.to_string()));
    }
    let mut command = Command::new(&python);
    command.args(["-m", "fuseline"]).args(args);
    if typed.is_some() {
        command.stdin(Stdio::piped());
    }
    let fail = |e: std::io::Error| CliError::Query(format!("cannot run {}: {e}", python.display()));
    let mut child = command.spawn().map_err(fail)?;
    if let (Some(typed), Some(mut stdin)) = (typed, child.stdin.take()) {
        // It may end before it has read everything, and then says why itself.
        let _ = stdin.write_all(typed.as_bytes());
    }
    Ok(child.wait().map_err(fail)?.code().unwrap_or(1))
}

/// The interpreter of the active environment.
fn interpreter() -> PathBuf {
    let of = |variable: &str| std::env::var_os(variable).map(|home| Path::new(&home).join("bin/python"));
    of("VIRTUAL_ENV").or_else(|| of("CONDA_PREFIX")).filter(|p| p.exists()).unwrap_or("python3".into())
}
