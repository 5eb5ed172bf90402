//! From text to one parsed statement: splitting scripts, `EXPLAIN CODEGEN`, parsing.
//!
//! Everything here works on the tokens of DataFusion's own SQL parser, so comments, strings and
//! `$$ ... $$` bodies are what the parser says they are.

use datafusion::common::config::Dialect;
use datafusion::error::DataFusionError;
use datafusion::execution::SessionState;
use datafusion::sql::parser::{DFParserBuilder, Statement};
use datafusion::sql::sqlparser::dialect::dialect_from_str;
use datafusion::sql::sqlparser::tokenizer::{Location, Token, TokenWithSpan, Tokenizer};

use crate::error::{Error, Result, position, translate};

/// Turns line and column of a token into byte offsets.
pub(crate) struct Offsets<'a> {
    text: &'a str,
    /// Byte offset at which each line starts.
    lines: Vec<usize>,
}

impl<'a> Offsets<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        let lines = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { text, lines }
    }

    pub(crate) fn byte(&self, at: Location) -> usize {
        let Some(&start) = self.lines.get((at.line as usize).saturating_sub(1)) else {
            return self.text.len();
        };
        self.text[start..]
            .char_indices()
            .nth((at.column as usize).saturating_sub(1))
            .map_or(self.text.len(), |(offset, _)| start + offset)
    }
}

pub(crate) fn tokens(text: &str, dialect: Dialect) -> Result<Vec<TokenWithSpan>> {
    let dialect = sql_dialect(dialect)?;
    Tokenizer::new(dialect.as_ref(), text).tokenize_with_location().map_err(|error| {
        let (line, column) = (error.location.line as usize, error.location.column as usize);
        let (line, column) = (line.max(1), column.max(1));
        Error::Syntax {
            message: error.message,
            line,
            column,
            snippet: position(text, line, column, None).snippet,
        }
    })
}

fn sql_dialect(dialect: Dialect) -> Result<Box<dyn datafusion::sql::sqlparser::dialect::Dialect>> {
    dialect_from_str(dialect).ok_or_else(|| Error::Setting {
        message: format!("the SQL dialect '{dialect}' is not known; there are: {}", Dialect::available()),
    })
}

pub(crate) fn is_blank(token: &TokenWithSpan) -> bool {
    matches!(token.token, Token::Whitespace(_) | Token::EOF)
}

/// The statements of a script, without the semicolons between them and the comments around them.
///
/// # Errors
/// [`Error::Syntax`] if a string, comment or `$$` body does not end.
pub(crate) fn split(script: &str, dialect: Dialect) -> Result<Vec<String>> {
    let offsets = Offsets::new(script);
    let mut statements = Vec::new();
    // Byte range from the first to the last token of the statement.
    let mut range: Option<(usize, usize)> = None;
    for token in tokens(script, dialect)? {
        if token.token == Token::SemiColon {
            if let Some((from, to)) = range.take() {
                statements.push(script[from..to].to_string());
            }
        } else if !is_blank(&token) {
            let to = offsets.byte(token.span.end);
            let from = range.map_or_else(|| offsets.byte(token.span.start), |(from, _)| from);
            range = Some((from, to));
        }
    }
    if let Some((from, to)) = range {
        statements.push(script[from..to].to_string());
    }
    Ok(statements)
}

/// For `EXPLAIN CODEGEN <query>` the text of the query, with blanks in front so that places in it are
/// places in `sql`. `None` for every other statement.
pub(crate) fn explain_codegen(sql: &str, dialect: Dialect) -> Result<Option<String>> {
    // Most statements are told apart without tokens.
    if !contains_word(sql, "codegen") || !contains_word(sql, "explain") {
        return Ok(None);
    }
    let tokens = tokens(sql, dialect)?;
    let mut words = tokens.iter().filter(|token| !is_blank(token));
    let is = |token: Option<&TokenWithSpan>, wanted: &str| {
        matches!(token.map(|t| &t.token), Some(Token::Word(word))
            if word.quote_style.is_none() && word.value.eq_ignore_ascii_case(wanted))
    };
    if !is(words.next(), "explain") {
        return Ok(None);
    }
    let codegen = words.next();
    if !is(codegen, "codegen") {
        return Ok(None);
    }
    let end = codegen.map_or(0, |token| Offsets::new(sql).byte(token.span.end));
    let blanks: String = sql[..end].chars().map(|c| if c == '\n' { '\n' } else { ' ' }).collect();
    Ok(Some(blanks + &sql[end..]))
}

/// The text with its `?`s numbered (`$1`, `$2`, ...), or `None` if it has none.
///
/// # Errors
/// [`Error::Plan`] if the text has numbered parameters too.
pub(crate) fn number_parameters(sql: &str, dialect: Dialect) -> Result<Option<String>> {
    if !sql.contains('?') {
        return Ok(None);
    }
    let offsets = Offsets::new(sql);
    let mut numbered = String::with_capacity(sql.len() + 8);
    let mut copied = 0;
    let mut count = 0;
    let mut named = None;
    for token in tokens(sql, dialect)? {
        match &token.token {
            Token::Placeholder(text) if text == "?" => {
                let at = offsets.byte(token.span.start);
                count += 1;
                numbered += &sql[copied..at];
                numbered += &format!("${count}");
                copied = at + 1;
            }
            Token::Placeholder(text) => named = Some(text.clone()),
            _ => {}
        }
    }
    match named {
        Some(named) if count > 0 => {
            Err(Error::plan(format!("the parameters are '?' or numbered, not both: there is {named} too")))
        }
        Some(_) | None if count == 0 => Ok(None),
        Some(_) | None => Ok(Some(numbered + &sql[copied..])),
    }
}

fn contains_word(text: &str, lower: &str) -> bool {
    text.as_bytes().windows(lower.len()).any(|window| window.eq_ignore_ascii_case(lower.as_bytes()))
}

/// Parses exactly one statement; a semicolon may follow it.
///
/// # Errors
/// [`Error::Syntax`] for text that is not SQL, is empty, or holds more than one statement.
pub(crate) fn parse(sql: &str, state: &SessionState) -> Result<Statement> {
    let options = &state.config_options().sql_parser;
    let dialect = sql_dialect(options.dialect)?;
    let parsed = DFParserBuilder::new(sql)
        .with_dialect(dialect.as_ref())
        .with_recursion_limit(options.recursion_limit.get())
        .build()
        .and_then(|mut parser| parser.parse_statements());
    let mut statements = match parsed {
        Ok(statements) => statements,
        Err(error) => return Err(syntax(&error, sql)),
    };
    match (statements.pop_front(), statements.len()) {
        (Some(statement), 0) => Ok(statement),
        (None, _) => Err(Error::Syntax {
            message: "there is no statement".into(),
            line: 1,
            column: 1,
            snippet: position(sql, 1, 1, None).snippet,
        }),
        (Some(_), more) => Err(Error::Syntax {
            message: format!("expected one statement, found {}", more + 1),
            line: 1,
            column: 1,
            snippet: position(sql, 1, 1, None).snippet,
        }),
    }
}

/// A parser error is a syntax error even where DataFusion's own parser reports it as a diagnostic.
fn syntax(error: &DataFusionError, sql: &str) -> Error {
    match translate(error, Some(sql)) {
        Error::Plan { message, position: Some(at) } => {
            Error::Syntax { message, line: at.line, column: at.column, snippet: at.snippet }
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split_generic(script: &str) -> Vec<String> {
        split(script, Dialect::Generic).unwrap()
    }

    #[test]
    fn scripts_are_split_at_semicolons_between_statements() {
        assert_eq!(
            split_generic("select 1; -- a; b\n select ';' ;; /* ; */\nselect $$;$$"),
            ["select 1", "select ';'", "select $$;$$"]
        );
        assert_eq!(
            split_generic("create function f() language python as $x$ a; 'b $x$; select 'ü;' -- ;"),
            ["create function f() language python as $x$ a; 'b $x$", "select 'ü;'"]
        );
        assert!(split_generic(" ; -- nothing\n;").is_empty());
    }

    #[test]
    fn a_string_that_never_ends_is_reported_where_it_starts() {
        match split("select 1;\nselect 'abc", Dialect::Generic) {
            Err(Error::Syntax { line: 2, column, .. }) => assert_eq!(column, 8),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn question_marks_are_numbered_outside_of_strings() {
        let of = |sql| number_parameters(sql, Dialect::Generic).unwrap();
        assert_eq!(of("select ? + x, '?' -- ?\nfrom t where ü = ?").as_deref(), {
            Some("select $1 + x, '?' -- ?\nfrom t where ü = $2")
        });
        assert_eq!(of("select '?', $1"), None);
        assert!(number_parameters("select ?, $2", Dialect::Generic).is_err());
    }

    #[test]
    fn explain_codegen_is_found_behind_comments() {
        let of = |sql| explain_codegen(sql, Dialect::Generic).unwrap();
        assert_eq!(
            of("-- x\nExplain /* y */ CODEGEN select 1").as_deref(),
            Some(format!("    \n{}select 1", " ".repeat("Explain /* y */ CODEGEN ".len())).as_str())
        );
        assert_eq!(of("explain select 1 as codegen"), None);
        assert_eq!(of("explain \"codegen\""), None);
        assert_eq!(of("select 'explain codegen'"), None);
    }
}
