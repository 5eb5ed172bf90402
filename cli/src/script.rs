//! Scripts: where the SQL text comes from, its statements, and their place in it.
//!
//! The parser gives positions relative to the text it parses. A statement of a script is therefore
//! handed over behind as many line ends and blanks as stand before it in the script: then "line 7,
//! column 3" means line 7, column 3 of the file.

use std::io::{self, Read};

use fuseline::Session;

use crate::args::Source;
use crate::error::CliError;

/// One statement of a script.
pub struct Statement {
    /// The SQL, padded so that positions in it are positions in the script.
    pub sql: String,
    /// "script.sql:12", or nothing where the SQL was given as an argument.
    place: Option<String>,
}

impl Statement {
    /// Puts the statement's place before the message.
    pub fn place(&self, error: CliError) -> CliError {
        match (error, &self.place) {
            (CliError::Query(message), Some(place)) => CliError::Query(format!("{place}: {message}")),
            (error, _) => error,
        }
    }
}

/// The statements of a source, which is read as a whole before the first of them runs.
pub fn statements(session: &Session, source: &Source) -> Result<Vec<Statement>, CliError> {
    let (script, name) = match source {
        Source::Text(sql) => (sql.clone(), None),
        Source::File(path) => {
            let name = path.display().to_string();
            let bytes =
                std::fs::read(path).map_err(|e| CliError::Query(format!("cannot read {name}: {e}")))?;
            (decode(bytes, &name)?, Some(name))
        }
        Source::Stdin => {
            let name = "standard input";
            let mut bytes = Vec::new();
            io::stdin()
                .read_to_end(&mut bytes)
                .map_err(|e| CliError::Query(format!("cannot read {name}: {e}")))?;
            (decode(bytes, name)?, Some("<stdin>".to_string()))
        }
    };
    let parts = session.split(&script).map_err(|e| match &name {
        Some(name) => CliError::Query(format!("{name}: {e}")),
        None => CliError::from(e),
    })?;
    let mut from = 0;
    let mut found = Vec::with_capacity(parts.len());
    for part in parts {
        // The pieces are slices of the script; should one not be, it just has no place.
        let Some(offset) = script[from..].find(&part).map(|at| from + at) else {
            found.push(Statement { sql: part, place: None });
            continue;
        };
        from = offset + part.len();
        let before = &script[..offset];
        let line = before.matches('\n').count();
        let column = before.rsplit('\n').next().map_or(0, |text| text.chars().count());
        let mut sql = "\n".repeat(line);
        sql.extend(std::iter::repeat_n(' ', column));
        sql.push_str(&part);
        let place = name.as_ref().map(|name| format!("{name}:{}", line + 1));
        found.push(Statement { sql, place });
    }
    Ok(found)
}

/// The statements as one script again.
pub fn joined(statements: &[Statement]) -> String {
    statements.iter().map(|s| s.sql.trim_start().to_owned() + ";\n").collect()
}

fn decode(bytes: Vec<u8>, name: &str) -> Result<String, CliError> {
    match String::from_utf8(bytes) {
        Ok(text) => Ok(text.strip_prefix('\u{feff}').map(str::to_string).unwrap_or(text)),
        Err(error) => {
            let good = error.utf8_error().valid_up_to();
            let line = error.as_bytes()[..good].iter().filter(|&&b| b == b'\n').count() + 1;
            Err(CliError::Query(format!("{name}:{line}: the text is not UTF-8")))
        }
    }
}
