//! The `fuseline` command: SQL from arguments, files, standard input or a shell; results as tables,
//! CSV, JSON, Markdown, Parquet or Arrow.
//!
//! It is a library so that two programs are the same: the binary that cargo builds, and the console
//! script of the Python package, which calls [`main`] with Python's arguments.
//!
//! `args` parses the command line, `runner` runs one statement at a time and can be interrupted,
//! `output` writes results, `repl` is the shell, `complete` knows where a typed statement ends.

mod args;
mod complete;
mod error;
mod output;
mod progress;
mod python;
mod repl;
mod runner;
mod script;

use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use fuseline::Session;

use crate::args::{Format, Options, Source};
use crate::output::{Destination, Limits, Sink};
use crate::runner::Runner;

pub use crate::args::parse_size;
pub use crate::error::CliError;
pub use crate::python::PythonSupport;

/// Runs the command line `args`, the program's name first, and returns the exit code: 0, 1 for a
/// query error, 2 for wrong usage, 130 after Ctrl-C. Never panics and never calls `exit`.
///
/// Where SQL needs Python, `python -m fuseline` of the active environment takes over.
pub fn main(args: impl IntoIterator<Item = OsString>) -> i32 {
    start(args.into_iter().collect(), None)
}

/// As [`main`], inside a Python interpreter.
pub fn main_with_python(
    args: impl IntoIterator<Item = OsString>,
    python: &(dyn PythonSupport + Sync),
) -> i32 {
    start(args.into_iter().collect(), Some(python))
}

fn start(args: Vec<OsString>, python: Option<&(dyn PythonSupport + Sync)>) -> i32 {
    let rest: Vec<OsString> = args.iter().skip(1).cloned().collect();
    let (options, sources) = match args::parse(args) {
        Ok(parsed) => parsed,
        Err(error) => {
            // Help and version are "errors" to the parser, with exit code 0 and standard output.
            let _ = error.print();
            return error.exit_code();
        }
    };
    // A panic in a query becomes an error message (see `runner`); the default hook would print a
    // second one. Whoever looks for a fault sets RUST_BACKTRACE and sees all of it.
    if std::env::var_os("RUST_BACKTRACE").is_none() {
        std::panic::set_hook(Box::new(|_| {}));
    }
    match run(&options, sources, &rest, python) {
        Ok(code) => code,
        Err(error) => {
            report(&error);
            error.exit_code()
        }
    }
}

/// Rows as the table that the command prints, batch by batch. Only the rows that are shown are kept.
pub struct TableText {
    sink: Box<dyn Sink>,
}

impl TableText {
    /// A table that shows at most `max_rows` rows (0 for all) and counts the others.
    ///
    /// # Errors
    /// When the columns cannot be shown.
    pub fn new(schema: &SchemaRef, max_rows: usize) -> Result<TableText, CliError> {
        let limits = Limits { rows: (max_rows > 0).then_some(max_rows), width: None };
        let sink = output::sink(Format::Table, schema.clone(), false, limits, Destination::memory())?;
        Ok(TableText { sink })
    }

    /// Adds rows.
    ///
    /// # Errors
    /// When a value cannot be shown.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<(), CliError> {
        self.sink.write(batch)
    }

    /// The text, without its last line end.
    ///
    /// # Errors
    /// When a value cannot be shown.
    pub fn finish(self) -> Result<String, CliError> {
        let text = self.sink.finish()?.into_text()?;
        Ok(text.trim_end().to_string())
    }
}

/// Prints the one message of an error. A failure to print it has nobody to be told to.
fn report(error: &CliError) {
    match error {
        CliError::BrokenPipe => {}
        CliError::Query(_) | CliError::Usage(_) | CliError::Interrupted => {
            let _ = writeln!(io::stderr(), "error: {error}");
        }
    }
}

fn run(
    options: &Options,
    mut sources: Vec<Source>,
    args: &[OsString],
    python: Option<&(dyn PythonSupport + Sync)>,
) -> Result<i32, CliError> {
    let shell = sources.is_empty() && io::stdin().is_terminal() && options.output.is_none();
    if shell && !io::stdout().is_terminal() {
        return Err(CliError::Usage("no SQL was given (see fuseline --help)".to_string()));
    }
    if sources.is_empty() && !shell {
        sources.push(Source::Stdin);
    }
    if options.format.is_binary() && options.output.is_none() && io::stdout().is_terminal() {
        return Err(CliError::Usage(format!(
            "{} is binary and not for a terminal: write it to a file with -o, or to a pipe",
            match options.format {
                Format::Parquet => "parquet",
                Format::Arrow
                | Format::Table
                | Format::Csv
                | Format::Tsv
                | Format::Json
                | Format::Jsonl
                | Format::Markdown => "arrow",
            }
        )));
    }
    let session = session(options)?;
    let mut scripts = Vec::new();
    match python {
        Some(python) => python.prepare(&session, &options.udfs).map_err(CliError::Query)?,
        None if !options.udfs.is_empty() => return python::take_over(args, None),
        None => {}
    }
    if !shell {
        for source in &sources {
            scripts.push(script::statements(&session, source)?);
        }
        let needs_python = |s: &script::Statement| {
            session.function_language(&s.sql).is_ok_and(|language| language.as_deref() == Some("python"))
        };
        if python.is_none() && scripts.iter().flatten().any(needs_python) {
            let from_stdin = sources.iter().position(|s| *s == Source::Stdin);
            let typed = from_stdin.and_then(|i| scripts.get(i)).map(|s| script::joined(s));
            return python::take_over(args, typed);
        }
    }
    let mut runner = Runner::new(session, options)?;
    let result = if shell { repl::run(&mut runner) } else { run_scripts(&mut runner, options, &scripts) };
    runner.shut_down();
    result.map(|()| 0)
}

fn session(options: &Options) -> Result<Session, CliError> {
    // Whoever types SQL here can run programs anyhow.
    let mut builder = Session::builder().allow_create_function(true);
    if let Some(threads) = options.threads {
        builder = builder.threads(usize::from(threads));
    }
    if let Some(bytes) = options.memory_limit {
        builder = builder.memory_limit(bytes);
    }
    for (key, value) in &options.settings {
        builder = builder.set(key, value);
    }
    // A session is built from the options alone, so what fails here is an option.
    builder.build().map_err(|e| CliError::Usage(e.to_string()))
}

fn run_scripts(
    runner: &mut Runner,
    options: &Options,
    scripts: &[Vec<script::Statement>],
) -> Result<(), CliError> {
    let mut destination = match &options.output {
        Some(path) => Destination::file(path)?,
        None => Destination::stdout(),
    };
    for statement in scripts.iter().flatten() {
        destination = runner.run(&statement.sql, destination).map_err(|error| statement.place(error))?;
    }
    destination.commit()
}
