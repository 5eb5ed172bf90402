//! What can go wrong in a [`crate::Session`], as one clear message for a person.
//!
//! DataFusion wraps an error in as many layers as the code it passed through ("Error during planning:
//! External error: ..."), and each layer prints its own prefix. Everything that leaves this crate is an
//! [`Error`] instead: `translate` peels the layers, picks the variant that tells the caller what to
//! do, and keeps exactly one message.
//!
//! Invariants:
//! * `Display` is complete: a caller prints it and nothing else. It never ends in a line break.
//! * A [`Position`] always points into the SQL text the caller passed in.
//! * An `Error` that travels through DataFusion (a stream item must be a `DataFusionError`) comes back
//!   unchanged: it rides in `DataFusionError::External` and `From<DataFusionError>` takes it out again.

mod translate;

use std::fmt;
use std::path::PathBuf;

use datafusion::error::DataFusionError;
use fuseline_runtime::udf::UdfError;

pub(crate) use translate::{NO_TABLE, io_message, is_about_data, root_io_error, translate};

/// `Result` with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A place in the SQL text, with the line it is on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// 1-based line in the SQL text.
    pub line: usize,
    /// 1-based column, in characters.
    pub column: usize,
    /// The line of SQL, a line break, and carets below the place.
    pub snippet: String,
}

/// An error of a [`crate::Session`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// The text is not SQL.
    Syntax {
        /// What was expected and what was found.
        message: String,
        /// 1-based line in the SQL text.
        line: usize,
        /// 1-based column, in characters.
        column: usize,
        /// The line of SQL, a line break, and carets below the place.
        snippet: String,
    },
    /// The SQL cannot be given a meaning: unknown table or column, types that do not fit.
    Plan {
        /// What is wrong, with a suggestion where there is one.
        message: String,
        /// Where in the SQL, if DataFusion says so.
        position: Option<Position>,
    },
    /// A setting that does not exist, or a value it does not take.
    Setting {
        /// Names the setting, the value and what would be valid.
        message: String,
    },
    /// A file or folder that is missing, unreadable, damaged, or cannot be written.
    File {
        /// The path as the user wrote it, or as the folder listing gave it.
        path: PathBuf,
        /// 1-based physical line for text formats.
        line: Option<u64>,
        /// What is wrong with it.
        message: String,
    },
    /// The query ran and met a value it cannot compute with: division by zero, a cast that fails.
    Execution {
        /// What happened.
        message: String,
    },
    /// A user-defined function failed, or gave what it must not give.
    Function(Box<UdfError>),
    /// SQL or a file format that is understood but not implemented.
    Unsupported {
        /// What is missing.
        message: String,
    },
    /// The memory limit or the space for spilling was not enough.
    Resources {
        /// Which limit, who asked, and the setting to change.
        message: String,
    },
    /// The query was stopped before it ended.
    Cancelled,
    /// A fault in fuseline or DataFusion (a panic, a broken invariant); the session stays usable.
    Internal {
        /// What is known about it.
        message: String,
    },
}

impl Error {
    /// A file error without a line.
    pub(crate) fn file(path: impl Into<PathBuf>, message: impl Into<String>) -> Self {
        Self::File { path: path.into(), line: None, message: message.into() }
    }

    /// A planning error without a position.
    pub(crate) fn plan(message: impl Into<String>) -> Self {
        Self::Plan { message: message.into(), position: None }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Syntax { message, line, column, snippet } => {
                write!(f, "syntax error at line {line}, column {column}: {message}")?;
                write_snippet(f, *line, snippet)
            }
            Self::Plan { message, position: None } => f.write_str(message),
            Self::Plan { message, position: Some(at) } => {
                write!(f, "{message} (line {}, column {})", at.line, at.column)?;
                write_snippet(f, at.line, &at.snippet)
            }
            Self::File { path, line: None, message } => write!(f, "{}: {message}", path.display()),
            Self::File { path, line: Some(line), message } => {
                write!(f, "{}, line {line}: {message}", path.display())
            }
            Self::Setting { message } | Self::Execution { message } | Self::Resources { message } => {
                f.write_str(message)
            }
            Self::Function(error) => write!(f, "{error}"),
            Self::Unsupported { message } => write!(f, "not supported: {message}"),
            Self::Cancelled => f.write_str("cancelled"),
            Self::Internal { message } => write!(f, "internal error (please report it): {message}"),
        }
    }
}

/// Writes the two lines of a snippet below a message, the SQL marked by its line number.
fn write_snippet(f: &mut fmt::Formatter<'_>, line: usize, snippet: &str) -> fmt::Result {
    let gutter = line.to_string();
    let mut lines = snippet.lines();
    if let Some(sql) = lines.next() {
        write!(f, "\n  {gutter} | {sql}")?;
    }
    if let Some(carets) = lines.next() {
        write!(f, "\n  {:width$} | {carets}", "", width = gutter.len())?;
    }
    Ok(())
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Function(error) => std::error::Error::source(error.as_ref()),
            Self::Syntax { .. }
            | Self::Plan { .. }
            | Self::Setting { .. }
            | Self::File { .. }
            | Self::Execution { .. }
            | Self::Unsupported { .. }
            | Self::Resources { .. }
            | Self::Cancelled
            | Self::Internal { .. } => None,
        }
    }
}

impl From<DataFusionError> for Error {
    /// Without the SQL text, so positions are lost; `Session` itself translates with it.
    fn from(error: DataFusionError) -> Self {
        translate(&error, None)
    }
}

impl From<Error> for DataFusionError {
    fn from(error: Error) -> Self {
        DataFusionError::External(Box::new(error))
    }
}

/// What a panic said.
pub(crate) fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_string())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a message".into())
}

/// The snippet for a place in `sql`: its line and carets under `[column, end)` (at least one).
///
/// Long lines are cut around the place, and tabs become single spaces so that the carets stay below
/// what they point at.
pub(crate) fn position(sql: &str, line: usize, column: usize, end: Option<usize>) -> Position {
    const BEFORE: usize = 60;
    const WIDTH: usize = 110;
    let text: Vec<char> = sql
        .lines()
        .nth(line.saturating_sub(1))
        .unwrap_or("")
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    let at = column.saturating_sub(1).min(text.len());
    let from = if at > BEFORE + 15 { at - BEFORE } else { 0 };
    let to = text.len().min(from + WIDTH);
    let mut shown = String::new();
    let mut indent = at - from;
    if from > 0 {
        shown.push_str("...");
        indent += 3;
    }
    shown.extend(&text[from..to]);
    if to < text.len() {
        shown.push_str("...");
    }
    let stop = end.map_or(at + 1, |end| end.saturating_sub(1)).min(to.max(at + 1));
    let carets = "^".repeat(stop.saturating_sub(at).max(1));
    Position { line, column, snippet: format!("{shown}\n{}{carets}", " ".repeat(indent)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_caret_is_below_the_place() {
        let at = position("SELECT a,\n\tb FROM t", 2, 2, Some(3));
        assert_eq!(at.snippet, " b FROM t\n ^");
        let error = Error::Plan { message: "column 'b' not found".into(), position: Some(at) };
        assert_eq!(error.to_string(), "column 'b' not found (line 2, column 2)\n  2 |  b FROM t\n    |  ^");
    }

    #[test]
    fn a_long_line_is_cut_around_the_place() {
        let sql = format!("SELECT {} FROM t", "x, ".repeat(200));
        let at = position(&sql, 1, 400, Some(401));
        let mut lines = at.snippet.lines();
        let shown = lines.next().unwrap();
        let carets = lines.next().unwrap();
        assert!(shown.len() < 120 && shown.starts_with("...") && shown.ends_with("..."));
        let caret = carets.find('^').unwrap();
        assert_eq!(shown.as_bytes()[caret], sql.as_bytes()[399]);
    }

    #[test]
    fn a_place_after_the_end_still_has_a_caret() {
        assert_eq!(position("SELECT", 1, 7, None).snippet, "SELECT\n      ^");
        assert_eq!(position("", 1, 1, None).snippet, "\n^");
    }

    #[test]
    fn an_error_survives_the_way_through_datafusion() {
        let error = Error::file("x.parquet", "no such file");
        let there = DataFusionError::Context("reading".into(), Box::new(error.clone().into()));
        assert_eq!(Error::from(there), error);
    }
}
