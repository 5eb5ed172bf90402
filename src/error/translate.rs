//! From a `DataFusionError` tower to one [`Error`].
//!
//! The variant is decided by the innermost error, because that is where the cause is; wrappers only
//! say through which code it travelled. The one wrapper that adds something is `Diagnostic`: it knows
//! the place in the SQL and words the message for a person.

use std::error::Error as StdError;
use std::io;
use std::path::PathBuf;

use datafusion::arrow::error::ArrowError;
use datafusion::common::SchemaError;
use datafusion::common::diagnostic::Diagnostic;
use datafusion::error::DataFusionError;
use datafusion::parquet::errors::ParquetError;
use datafusion::sql::sqlparser::parser::ParserError;
use fuseline_runtime::udf::UdfError;
use object_store::Error as StoreError;

use super::{Error, Position, position};
use crate::suggest::nearest;

/// Peels `error` to one message; `sql` is the text that spans refer to.
pub(crate) fn translate(error: &DataFusionError, sql: Option<&str>) -> Error {
    match peel(error, sql) {
        // The limit on spilling is reported as text, through any of the layers.
        Error::Execution { message } if message.contains("max_temp_directory_size") => {
            Error::Resources { message }
        }
        other => other,
    }
}

fn peel(error: &DataFusionError, sql: Option<&str>) -> Error {
    match error {
        DataFusionError::Context(_, inner) => translate(inner, sql),
        DataFusionError::Shared(inner) => translate(inner, sql),
        DataFusionError::Diagnostic(diagnostic, inner) => {
            with_diagnostic(translate(inner, sql), diagnostic, sql)
        }
        DataFusionError::Collection(errors) => match errors.first() {
            Some(first) => translate(first, sql),
            None => Error::Internal { message: "an error without a cause".into() },
        },
        DataFusionError::External(inner) => translate_external(inner.as_ref(), sql),
        DataFusionError::ArrowError(inner, _) => translate_arrow(inner, sql),
        DataFusionError::ParquetError(inner) => translate_parquet(inner, sql),
        DataFusionError::ObjectStore(inner) => translate_store(inner, sql),
        DataFusionError::IoError(inner) => translate_io(inner, sql),
        DataFusionError::SQL(inner, _) => translate_parser(inner, sql),
        DataFusionError::SchemaError(inner, _) => Error::plan(schema_message(inner)),
        DataFusionError::Plan(message) => Error::plan(plan_message(message)),
        DataFusionError::Configuration(message) => Error::Setting { message: tidy(message) },
        DataFusionError::Execution(message) | DataFusionError::Substrait(message) => {
            Error::Execution { message: tidy(message) }
        }
        DataFusionError::NotImplemented(message) => Error::Unsupported { message: tidy(message) },
        DataFusionError::ResourcesExhausted(message) => Error::Resources {
            message: format!(
                "not enough memory or disk space: {}; raise the memory limit, or lower \
                 datafusion.execution.target_partitions so that fewer partitions share it",
                tidy(message).trim_end_matches('.')
            ),
        },
        DataFusionError::ExecutionJoin(inner) if inner.is_cancelled() => Error::Cancelled,
        DataFusionError::ExecutionJoin(inner) => Error::Internal { message: inner.to_string() },
        DataFusionError::Internal(message) => Error::Internal {
            message: tidy(message.split("This issue was likely caused by a bug").next().unwrap_or(message)),
        },
        DataFusionError::Ffi(message) => Error::Execution { message: tidy(message) },
    }
}

/// True if the innermost error came from reading bytes of a file: decoding, decompressing, I/O.
/// The session then looks for the file (and line) that is to blame.
pub(crate) fn is_about_data(error: &DataFusionError) -> bool {
    match error {
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => is_about_data(inner),
        DataFusionError::Shared(inner) => is_about_data(inner),
        DataFusionError::Collection(errors) => errors.first().is_some_and(is_about_data),
        DataFusionError::ParquetError(_) | DataFusionError::ObjectStore(_) | DataFusionError::IoError(_) => {
            true
        }
        DataFusionError::ArrowError(inner, _) => is_about_data_arrow(inner),
        DataFusionError::External(inner) => {
            let inner = inner.as_ref();
            if let Some(inner) = inner.downcast_ref::<DataFusionError>() {
                is_about_data(inner)
            } else if let Some(inner) = inner.downcast_ref::<ArrowError>() {
                is_about_data_arrow(inner)
            } else {
                inner.is::<ParquetError>() || inner.is::<StoreError>() || inner.is::<io::Error>()
            }
        }
        DataFusionError::Execution(_)
        | DataFusionError::Internal(_)
        | DataFusionError::SQL(..)
        | DataFusionError::SchemaError(..)
        | DataFusionError::Plan(_)
        | DataFusionError::Configuration(_)
        | DataFusionError::Substrait(_)
        | DataFusionError::NotImplemented(_)
        | DataFusionError::ResourcesExhausted(_)
        | DataFusionError::Ffi(_) => false,
        // Readers panic on some damaged files, some of them on tasks of their own.
        DataFusionError::ExecutionJoin(inner) => inner.is_panic(),
    }
}

fn is_about_data_arrow(error: &ArrowError) -> bool {
    match error {
        ArrowError::ExternalError(inner) => match inner.downcast_ref::<DataFusionError>() {
            Some(inner) => is_about_data(inner),
            None => !inner.is::<Error>(),
        },
        ArrowError::ParseError(_)
        | ArrowError::CsvError(_)
        | ArrowError::JsonError(_)
        | ArrowError::IoError(_, _)
        | ArrowError::IpcError(_)
        | ArrowError::ParquetError(_)
        | ArrowError::AvroError(_)
        | ArrowError::SchemaError(_)
        | ArrowError::InvalidArgumentError(_) => true,
        ArrowError::NotYetImplemented(_)
        | ArrowError::CastError(_)
        | ArrowError::MemoryError(_)
        | ArrowError::ComputeError(_)
        | ArrowError::DivideByZero
        | ArrowError::ArithmeticOverflow(_)
        | ArrowError::CDataInterface(_)
        | ArrowError::DictionaryKeyOverflowError
        | ArrowError::RunEndIndexOverflowError
        | ArrowError::OffsetOverflowError(_) => false,
    }
}

/// The `io::Error` at the bottom of `error`, if there is one.
pub(crate) fn root_io_error<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a io::Error> {
    let mut at = Some(error);
    let mut found = None;
    while let Some(error) = at {
        if let Some(io) = error.downcast_ref::<io::Error>() {
            found = Some(io);
            // An io::Error of kind Other often carries the real one.
            match io.get_ref() {
                Some(inner) => {
                    at = Some(inner);
                    continue;
                }
                None => return found,
            }
        }
        at = error.source();
    }
    found
}

fn translate_external(error: &(dyn StdError + Send + Sync + 'static), sql: Option<&str>) -> Error {
    if let Some(error) = error.downcast_ref::<Error>() {
        error.clone()
    } else if let Some(error) = error.downcast_ref::<UdfError>() {
        Error::Function(Box::new(error.clone()))
    } else if let Some(error) = error.downcast_ref::<DataFusionError>() {
        translate(error, sql)
    } else if let Some(error) = error.downcast_ref::<ArrowError>() {
        translate_arrow(error, sql)
    } else if let Some(error) = error.downcast_ref::<ParquetError>() {
        translate_parquet(error, sql)
    } else if let Some(error) = error.downcast_ref::<StoreError>() {
        translate_store(error, sql)
    } else if let Some(error) = error.downcast_ref::<io::Error>() {
        translate_io(error, sql)
    } else {
        Error::Execution { message: tidy(&error.to_string()) }
    }
}

fn translate_arrow(error: &ArrowError, sql: Option<&str>) -> Error {
    let message = match error {
        ArrowError::ExternalError(inner) => return translate_external(inner.as_ref(), sql),
        ArrowError::IoError(_, inner) => return translate_io(inner, sql),
        ArrowError::DivideByZero => "division by zero".into(),
        ArrowError::NotYetImplemented(message) => {
            return Error::Unsupported { message: tidy(message) };
        }
        ArrowError::MemoryError(message) => {
            return Error::Resources { message: tidy(message) };
        }
        ArrowError::CastError(message)
        | ArrowError::ParseError(message)
        | ArrowError::SchemaError(message)
        | ArrowError::ComputeError(message)
        | ArrowError::ArithmeticOverflow(message)
        | ArrowError::CsvError(message)
        | ArrowError::JsonError(message)
        | ArrowError::AvroError(message)
        | ArrowError::IpcError(message)
        | ArrowError::InvalidArgumentError(message)
        | ArrowError::ParquetError(message)
        | ArrowError::CDataInterface(message) => tidy(message),
        ArrowError::DictionaryKeyOverflowError
        | ArrowError::RunEndIndexOverflowError
        | ArrowError::OffsetOverflowError(_) => error.to_string(),
    };
    Error::Execution { message }
}

fn translate_parquet(error: &ParquetError, sql: Option<&str>) -> Error {
    match error {
        ParquetError::External(inner) => translate_external(inner.as_ref(), sql),
        ParquetError::NYI(message) => Error::Unsupported { message: tidy(message) },
        other => Error::Execution { message: tidy(&other.to_string()) },
    }
}

fn translate_store(error: &StoreError, sql: Option<&str>) -> Error {
    if let StoreError::NotFound { path, .. } = error {
        return Error::file(absolute(path), "no such file");
    }
    if let Some(io) = root_io_error(error) {
        return translate_io(io, sql);
    }
    Error::Execution { message: tidy(&error.to_string()) }
}

/// Object store paths are absolute paths without the leading slash.
fn absolute(path: &str) -> PathBuf {
    if path.starts_with('/') { PathBuf::from(path) } else { PathBuf::from(format!("/{path}")) }
}

fn translate_io(error: &io::Error, sql: Option<&str>) -> Error {
    match error.get_ref() {
        Some(inner) => translate_external(inner, sql),
        None => Error::Execution { message: io_message(error) },
    }
}

/// An I/O error in words, without "(os error 28)".
pub(crate) fn io_message(error: &io::Error) -> String {
    let text = error.to_string();
    match text.find(" (os error") {
        Some(at) => lower_first(&text[..at]),
        None => text,
    }
}

/// `sqlparser` writes the place into the text: "... at Line: 1, Column: 8".
fn translate_parser(error: &ParserError, sql: Option<&str>) -> Error {
    let text = match error {
        ParserError::TokenizerError(text) | ParserError::ParserError(text) => text.as_str(),
        ParserError::RecursionLimitExceeded => {
            return Error::plan("the SQL is nested too deeply; raise datafusion.sql_parser.recursion_limit");
        }
    };
    let (message, place) = split_place(text);
    let sql = sql.unwrap_or("");
    // The end of the text has no place of its own.
    let (line, column) = place.unwrap_or_else(|| end_of(sql));
    let found = position(sql, line, column, None);
    Error::Syntax { message: parser_message(message), line, column, snippet: found.snippet }
}

/// "Expected: X, found: Y" in a sentence of ours.
fn parser_message(message: &str) -> String {
    let message = message.trim();
    match message.strip_prefix("Expected: ").and_then(|rest| rest.rsplit_once(", found: ")) {
        Some((wanted, "EOF")) => format!("expected {wanted}, but the text ends here"),
        Some((wanted, found)) => format!("expected {wanted}, found {found}"),
        None => lower_first(message),
    }
}

fn split_place(text: &str) -> (&str, Option<(usize, usize)>) {
    let Some((message, place)) = text.rsplit_once(" at Line: ") else {
        return (text, None);
    };
    let Some((line, column)) = place.split_once(", Column: ") else {
        return (text, None);
    };
    match (line.trim().parse(), column.trim().parse()) {
        (Ok(line), Ok(column)) if line > 0 => (message, Some((line, column))),
        _ => (text, None),
    }
}

/// The place just behind the last character that is not white space.
fn end_of(sql: &str) -> (usize, usize) {
    let text = sql.trim_end();
    let line = text.lines().count().max(1);
    let column = text.lines().last().map_or(0, |l| l.chars().count()) + 1;
    (line, column)
}

/// Rewords the plan errors that people meet most.
fn plan_message(message: &str) -> String {
    let message = tidy(message);
    // Our own words about a call of a user-defined function, wrapped by whoever asked for them.
    if let Some((_, ours)) = message.split_once("user-defined coercion failed with: UDF ") {
        let ours = ours.split(" No function matches the given name").next().unwrap_or(ours);
        return format!("UDF {}", ours.trim_end_matches('.'));
    }
    if let Some(rest) = message.strip_prefix("Invalid function '") {
        let mut message = String::from("there is no function '") + &rest.replace(".\nDid", "; did");
        if message.ends_with('.') {
            message.pop();
        }
        return message;
    }
    if let Some(table) = message.strip_prefix("table '").and_then(|rest| rest.strip_suffix("' not found")) {
        let table = table.strip_prefix("datafusion.public.").unwrap_or(table);
        return format!("{NO_TABLE}'{table}'");
    }
    message
}

/// How the message about an unknown table starts; the session adds suggestions behind the name.
pub(crate) const NO_TABLE: &str = "there is no table ";

fn schema_message(error: &SchemaError) -> String {
    match error {
        SchemaError::FieldNotFound { field, valid_fields } => {
            let mut message = format!("column '{}' does not exist", field.flat_name());
            let near = nearest(field.name(), valid_fields.iter().map(|c| c.name()));
            match near {
                // Differs in case only: unquoted names are folded to lower case.
                Some(near) if near.to_lowercase() == field.name().to_lowercase() => {
                    message += &format!("; write \"{near}\" in double quotes to keep its case");
                }
                Some(near) => message += &format!("; did you mean '{near}'?"),
                None if !valid_fields.is_empty() => {
                    const SHOWN: usize = 12;
                    let mut names: Vec<&str> = valid_fields.iter().map(|c| c.name()).collect();
                    names.dedup();
                    let more = names.len().saturating_sub(SHOWN);
                    names.truncate(SHOWN);
                    message += &format!("; there are: {}", names.join(", "));
                    if more > 0 {
                        message += &format!(" and {more} more");
                    }
                }
                None => {}
            }
            message
        }
        SchemaError::AmbiguousReference { field } => format!(
            "column '{}' is ambiguous: more than one table has it; write the table's name before it",
            field.name()
        ),
        SchemaError::DuplicateQualifiedField { name, .. }
        | SchemaError::DuplicateUnqualifiedField { name } => {
            format!("column '{name}' appears twice; give one of them another name with AS")
        }
    }
}

/// Adds the place (and, where ours says less, the hints) of a diagnostic.
fn with_diagnostic(error: Error, diagnostic: &Diagnostic, sql: Option<&str>) -> Error {
    let Error::Plan { message, position: None } = error else {
        return error;
    };
    let position: Option<Position> = match (sql, diagnostic.span) {
        (Some(sql), Some(span)) if span.start.line > 0 => Some(position(
            sql,
            span.start.line as usize,
            span.start.column as usize,
            (span.end.line == span.start.line).then_some(span.end.column as usize),
        )),
        _ => None,
    };
    Error::Plan { message, position }
}

/// Prefixes that layers print before the message of the layer below.
const PREFIXES: [&str; 16] = [
    "Error during planning: ",
    "External error: ",
    "Execution error: ",
    "Arrow error: ",
    "Parquet error: ",
    "Parser error: ",
    "Csv error: ",
    "Json error: ",
    "Ipc error: ",
    "Compute error: ",
    "Cast error: ",
    "Schema error: ",
    "Invalid argument error: ",
    "Object Store error: ",
    "IO error: ",
    "Invalid or Unsupported Configuration: ",
];

/// Takes layer prefixes and backtraces out of a message that was put together from others.
pub(crate) fn tidy(message: &str) -> String {
    let message = message.split("\n\nbacktrace: ").next().unwrap_or(message).trim();
    let mut text = message.to_string();
    for prefix in PREFIXES {
        if text.contains(prefix) {
            text = text.replace(prefix, "");
        }
    }
    text
}

fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    match chars.next() {
        // "SQL ..." and "CREATE ..." stay as they are.
        Some(first) if chars.clone().next().is_some_and(char::is_lowercase) => {
            first.to_lowercase().chain(chars).collect()
        }
        _ => text.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn layers_are_peeled() {
        let tower = DataFusionError::Context(
            "type_coercion".into(),
            Box::new(DataFusionError::Shared(Arc::new(DataFusionError::External(Box::new(
                DataFusionError::ArrowError(Box::new(ArrowError::DivideByZero), None),
            ))))),
        );
        assert_eq!(translate(&tower, None).to_string(), "division by zero");
        let text = DataFusionError::Plan("External error: Error during planning: no\n\nbacktrace: 1".into());
        assert_eq!(translate(&text, None).to_string(), "no");
    }

    #[test]
    fn a_parser_error_gets_its_place() {
        let error = DataFusionError::SQL(
            Box::new(ParserError::ParserError(
                "Expected: an expression, found: FROM at Line: 1, Column: 8".into(),
            )),
            None,
        );
        let error = translate(&error, Some("SELECT FROM t"));
        assert_eq!(
            error.to_string(),
            "syntax error at line 1, column 8: expected an expression, found FROM\n  \
             1 | SELECT FROM t\n    |        ^"
        );
    }

    #[test]
    fn the_end_of_the_text_is_a_place() {
        let error = DataFusionError::SQL(
            Box::new(ParserError::ParserError("Expected: an expression, found: EOF".into())),
            None,
        );
        match translate(&error, Some("SELECT\n 1 + \n")) {
            Error::Syntax { message, line, column, .. } => {
                assert_eq!(message, "expected an expression, but the text ends here");
                assert_eq!((line, column), (2, 5));
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn io_errors_lose_their_number() {
        let full = io::Error::from_raw_os_error(28);
        assert_eq!(io_message(&full), "no space left on device");
    }
}
