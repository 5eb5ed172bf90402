//! The shell: reads statements with line editing and history, runs them, goes on after errors.
//!
//! Enter runs what is typed when it ends in `;` and else opens a further line. Ctrl-C stops the
//! query that runs, or drops what is typed; Ctrl-D leaves. Lines that begin with a dot are commands
//! to the shell itself.

use std::env;
use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;

use clap::ValueEnum;
use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::DefaultHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{Config, Editor, Helper};

use crate::args::{Format, Source};
use crate::complete::is_complete;
use crate::error::CliError;
use crate::output::Destination;
use crate::runner::Runner;
use crate::{report, script};

const HISTORY: usize = 2000;

const HELP: &str = "\
Statements end with ';' and may span lines. Ctrl-C stops a query, Ctrl-D leaves.
  .help            this text
  .tables          the tables and views
  .schema NAME     the columns of a table
  .format [NAME]   how results are written: table, csv, tsv, json, jsonl, markdown
  .timing [on|off] print the time of each statement
  .quit            leave
";

/// What Enter does.
struct Statements;

impl Validator for Statements {
    fn validate(&self, context: &mut ValidationContext) -> rustyline::Result<ValidationResult> {
        let text = context.input();
        Ok(if text.trim_start().starts_with('.') || is_complete(text) {
            ValidationResult::Valid(None)
        } else {
            ValidationResult::Incomplete
        })
    }
}

impl Completer for Statements {
    type Candidate = String;
}
impl Hinter for Statements {
    type Hint = String;
}
impl Highlighter for Statements {}
impl Helper for Statements {}

/// Whether the shell goes on.
#[derive(PartialEq, Eq)]
enum Next {
    Prompt,
    Leave,
}

/// Runs the shell until the person leaves it.
pub fn run(runner: &mut Runner) -> Result<(), CliError> {
    let unusable = |e: ReadlineError| CliError::Query(format!("cannot use the terminal: {e}"));
    let config = Config::builder()
        .max_history_size(HISTORY)
        .and_then(|builder| builder.history_ignore_dups(true))
        .map_err(unusable)?
        .auto_add_history(true)
        .build();
    let mut editor: Editor<Statements, DefaultHistory> = Editor::with_config(config).map_err(unusable)?;
    editor.set_helper(Some(Statements));
    let history = history_file();
    if let Some(path) = &history {
        // No history yet is no fault.
        let _ = editor.load_history(path);
    }
    say(&format!("fuseline {}. Type SQL ending in ';', or .help\n", env!("CARGO_PKG_VERSION")))?;
    loop {
        match editor.readline("fuseline> ") {
            Ok(line) => {
                // Saved at once: a shell that is killed keeps its history.
                if let Some(path) = &history {
                    let _ = editor.append_history(path);
                }
                if enter(runner, &line)? == Next::Leave {
                    return Ok(());
                }
            }
            Err(ReadlineError::Interrupted) => {}
            Err(ReadlineError::Eof) => return Ok(()),
            Err(error) => return Err(unusable(error)),
        }
    }
}

fn enter(runner: &mut Runner, line: &str) -> Result<Next, CliError> {
    let line = line.trim();
    if line.is_empty() {
        return Ok(Next::Prompt);
    }
    if line.starts_with('.') {
        return dot_command(runner, line);
    }
    runner.forget_interrupts();
    match run_text(runner, line) {
        Ok(()) => Ok(Next::Prompt),
        Err(CliError::BrokenPipe) => Err(CliError::BrokenPipe),
        Err(error @ (CliError::Query(_) | CliError::Usage(_) | CliError::Interrupted)) => {
            report(&error);
            Ok(Next::Prompt)
        }
    }
}

fn run_text(runner: &mut Runner, sql: &str) -> Result<(), CliError> {
    let source = Source::Text(sql.to_string());
    for statement in script::statements(runner.session(), &source)? {
        runner.run(&statement.sql, Destination::stdout())?.commit()?;
    }
    Ok(())
}

fn dot_command(runner: &mut Runner, line: &str) -> Result<Next, CliError> {
    let mut words = line.trim_end_matches(';').split_whitespace();
    let command = words.next().unwrap_or_default();
    let argument = words.next();
    match (command, argument) {
        (".quit" | ".exit" | ".q", _) => return Ok(Next::Leave),
        (".help" | ".h", _) => say(HELP)?,
        (".tables", _) => say(&tables(runner))?,
        (".schema", Some(name)) => match enter(runner, &format!("DESCRIBE {name};"))? {
            Next::Prompt | Next::Leave => {}
        },
        (".schema", None) => say("usage: .schema NAME\n")?,
        (".timing", argument) => {
            match argument {
                Some("on") => runner.timing = true,
                Some("off") => runner.timing = false,
                Some(_) | None => runner.timing = !runner.timing,
            }
            say(if runner.timing { "timing is on\n" } else { "timing is off\n" })?;
        }
        (".format", Some(name)) => match Format::from_str(name, true) {
            Ok(format) if !format.is_binary() => runner.format = format,
            Ok(_) => say("a binary format is not for a terminal: use COPY ... TO 'file'\n")?,
            Err(_) => say("the formats are table, csv, tsv, json, jsonl, markdown\n")?,
        },
        (".format", None) => {
            let value = runner.format.to_possible_value();
            say(&format!("{}\n", value.as_ref().map_or("", |value| value.get_name())))?;
        }
        (other, _) => say(&format!("unknown command {other}: try .help\n"))?,
    }
    Ok(Next::Prompt)
}

/// The names of the tables and views, one a line; those outside the default schema with its name.
fn tables(runner: &Runner) -> String {
    let context = runner.session().context();
    let state = context.state();
    let defaults = &state.config_options().catalog;
    let mut names = Vec::new();
    for catalog_name in context.catalog_names() {
        let Some(catalog) = context.catalog(&catalog_name) else {
            continue;
        };
        for schema_name in catalog.schema_names() {
            if schema_name == "information_schema" {
                continue;
            }
            let Some(schema) = catalog.schema(&schema_name) else {
                continue;
            };
            let default = catalog_name == defaults.default_catalog && schema_name == defaults.default_schema;
            names.extend(
                schema.table_names().into_iter().map(|table| {
                    if default { table } else { format!("{catalog_name}.{schema_name}.{table}") }
                }),
            );
        }
    }
    names.sort();
    if names.is_empty() {
        return "no tables: CREATE TABLE, or query files directly, as in FROM 'x.parquet'\n".to_string();
    }
    names.join("\n") + "\n"
}

fn say(text: &str) -> Result<(), CliError> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(|e| CliError::writing("standard output", &e))
}

/// Where the history is kept: the user's state folder, made when it is missing.
fn history_file() -> Option<PathBuf> {
    let state = match env::var_os("XDG_STATE_HOME").filter(|folder| !folder.is_empty()) {
        Some(folder) => PathBuf::from(folder),
        None => PathBuf::from(env::var_os("HOME")?).join(".local").join("state"),
    };
    let folder = state.join("fuseline");
    fs::create_dir_all(&folder).ok()?;
    Some(folder.join("history"))
}
