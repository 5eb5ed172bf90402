//! User-defined functions of a session: registering native ones, CREATE FUNCTION, DROP FUNCTION.
//!
//! CREATE FUNCTION is read here and not by DataFusion's parser, which knows no WITH in it:
//!
//! ```sql
//! CREATE [OR REPLACE] FUNCTION name(x DOUBLE, n INT DEFAULT 2) RETURNS DOUBLE
//!     LANGUAGE python [WITH (kind = numpy, on_error = null, ...)] AS $$ ... $$
//! ```
//!
//! What a body means is up to its language, which the embedder registers; this crate brings none.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use datafusion::arrow::array::{RecordBatch, RecordBatchOptions};
use datafusion::arrow::datatypes::{DataType, Schema};
use datafusion::common::config::Dialect;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::logical_expr::{Expr, ScalarUDF, TryCast};
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};
use fuseline_runtime::udf::{
    ArgDefault, BatchFunction, BoundaryUdf, CollectedErrors, ErrorsFunction, FunctionOptions, FunctionSpec,
    Param, SpecError,
};
use parking_lot::Mutex;

use crate::error::{Error, Result, position, translate};
use crate::session::Session;
use crate::statement::{Offsets, is_blank, tokens};

/// Makes functions out of the bodies of CREATE FUNCTION.
pub trait FunctionLanguage: Send + Sync {
    /// The function with this body. `options` holds what WITH said; the language fills in what it
    /// knows better, and builds the spec.
    ///
    /// # Errors
    /// A sentence that says what is wrong with the body.
    fn create(
        &self,
        session: &Session,
        definition: FunctionDefinition,
    ) -> Result<(FunctionSpec, Arc<dyn BatchFunction>)>;
}

/// A CREATE FUNCTION statement whose types are known.
#[derive(Debug, Clone)]
pub struct FunctionDefinition {
    /// The function's name.
    pub name: String,
    /// Its parameters.
    pub params: Vec<Param>,
    /// The type of its results.
    pub returns: DataType,
    /// What WITH says.
    pub options: FunctionOptions,
    /// The text between the `$$`.
    pub body: String,
}

/// The functions of a session.
#[derive(Default)]
pub(crate) struct Functions {
    /// Whether CREATE FUNCTION is allowed.
    pub(crate) allow_create: bool,
    pub(crate) collected: Arc<CollectedErrors>,
    /// All functions that were registered, for [`Session::refresh_functions`].
    pub(crate) registered: Mutex<Vec<Weak<dyn BatchFunction>>>,
    pub(crate) languages: Mutex<HashMap<String, Arc<dyn FunctionLanguage>>>,
}

impl From<SpecError> for Error {
    fn from(error: SpecError) -> Error {
        Error::Setting { message: error.to_string() }
    }
}

impl Session {
    /// Registers a function over batches of rows, replacing a function of that name. SQL finds it
    /// by its name in lower case, and as it is written in double quotes.
    ///
    /// # Errors
    /// [`Error::Plan`] for parameters that DataFusion does not take.
    pub fn register_function(&self, spec: FunctionSpec, function: Arc<dyn BatchFunction>) -> Result<()> {
        let collected = Arc::clone(&self.inner.functions.collected);
        let udf = BoundaryUdf::try_new(Arc::new(spec), function, collected)?;
        let function = Arc::downgrade(udf.function());
        self.context().register_udf(ScalarUDF::from(udf));
        let mut registered = self.inner.functions.registered.lock();
        registered.retain(|f| f.strong_count() > 0);
        registered.push(function);
        drop(registered);
        self.inner.plans.clear();
        Ok(())
    }

    /// Lets functions see whether what they were made of has changed: a query starts.
    pub(crate) fn refresh_functions(&self) {
        let functions: Vec<_> =
            self.inner.functions.registered.lock().iter().filter_map(Weak::upgrade).collect();
        let mut changed = false;
        for function in functions {
            changed |= function.refresh();
        }
        if changed {
            // EXPLAIN's texts are in them.
            self.inner.plans.clear();
        }
    }

    /// Removes a user-defined function; false if there is none of that name.
    ///
    /// # Errors
    /// [`Error::Plan`] if the name is that of a function of the system.
    pub fn drop_function(&self, name: &str) -> Result<bool> {
        if !self.has_function(name)? {
            return Ok(false);
        }
        let state = self.context().state_ref();
        let mut state = state.write();
        datafusion::execution::FunctionRegistry::deregister_udf(&mut *state, name)
            .map_err(|e| translate(&e, None))?;
        drop(state);
        self.inner.plans.clear();
        Ok(true)
    }

    /// Whether there is a user-defined function of that name.
    fn has_function(&self, name: &str) -> Result<bool> {
        let state = self.context().state_ref();
        let state = state.read();
        match state.scalar_functions().get(name) {
            None => Ok(false),
            Some(udf) if udf.inner().is::<BoundaryUdf>() => Ok(true),
            Some(_) => Err(Error::plan(format!("'{name}' is a function of the system"))),
        }
    }

    /// The rows on which functions with `on_error = 'collect'` failed; in SQL the table function
    /// `fuseline_errors()`.
    pub fn collected_errors(&self) -> &Arc<CollectedErrors> {
        &self.inner.functions.collected
    }

    /// Lets CREATE FUNCTION make functions in a language.
    pub fn register_language(&self, name: &str, language: Arc<dyn FunctionLanguage>) {
        self.inner.functions.languages.lock().insert(name.to_ascii_lowercase(), language);
    }

    /// The language, in lower case, of a CREATE FUNCTION statement; `None` for every other statement.
    ///
    /// # Errors
    /// [`Error::Syntax`] for one that is written wrong.
    pub fn function_language(&self, sql: &str) -> Result<Option<String>> {
        let dialect = self.context().state_ref().read().config_options().sql_parser.dialect;
        Ok(parse_create_function(sql, dialect)?.map(|create| create.language))
    }

    /// The type that SQL knows by this name, such as `DOUBLE` or `BIGINT[]`. Text and bytes have
    /// their plain encodings.
    ///
    /// # Errors
    /// [`Error::Plan`] if there is no such type.
    pub fn sql_type(&self, name: &str) -> Result<DataType> {
        let state = self.context().state();
        let unknown = |why: String| Error::plan(format!("'{name}' is no type: {why}"));
        let expr = state
            .create_logical_expr(&format!("TRY_CAST(NULL AS {name})"), &DFSchema::empty())
            .map_err(|e| unknown(translate(&e, None).to_string()))?;
        match expr {
            Expr::TryCast(TryCast { field, .. }) => Ok(plain(field.data_type())),
            other => Err(unknown(format!("it reads as {other}"))),
        }
    }

    pub(crate) fn register_errors_table(&self) {
        let collected = Arc::clone(&self.inner.functions.collected);
        self.context().register_udtf(CollectedErrors::TABLE, Arc::new(ErrorsFunction(collected)));
    }

    pub(crate) fn create_function(&self, create: &CreateFunction) -> Result<()> {
        let functions = &self.inner.functions;
        if !functions.allow_create {
            return Err(Error::plan(
                "CREATE FUNCTION runs code, and this session does not allow it; open the connection with \
                 allow_create_function=True",
            ));
        }
        if !create.or_replace && self.has_function(&create.name)? {
            return Err(Error::plan(format!(
                "function '{}' exists already; CREATE OR REPLACE FUNCTION replaces it",
                create.name
            )));
        }
        let language = functions.languages.lock().get(&create.language).cloned();
        let Some(language) = language else {
            let hint = match create.language.as_str() {
                "python" => "; the Python package has it: pip install fuseline, then python -m fuseline",
                _ => "",
            };
            return Err(Error::Unsupported {
                message: format!("functions in the language '{}' in this program{hint}", create.language),
            });
        };
        let mut params = Vec::with_capacity(create.params.len());
        for (name, data_type, default) in &create.params {
            let data_type = self.sql_type(data_type)?;
            let default = match default {
                Some(text) => Some(ArgDefault::Value(self.constant(text, &data_type)?)),
                None => None,
            };
            params.push(Param { name: name.clone(), data_type, default });
        }
        let mut options = FunctionOptions::default();
        for (option, value) in &create.options {
            options.set(option, value)?;
        }
        let definition = FunctionDefinition {
            name: create.name.clone(),
            params,
            returns: self.sql_type(&create.returns)?,
            options,
            body: create.body.clone(),
        };
        let (spec, function) = language.create(self, definition)?;
        self.register_function(spec, function)
    }

    /// The value of a constant expression.
    fn constant(&self, text: &str, data_type: &DataType) -> Result<ScalarValue> {
        let state = self.context().state();
        let schema = DFSchema::empty();
        let value = || -> datafusion::error::Result<ScalarValue> {
            let expr = state.create_logical_expr(text, &schema)?;
            let expr = state.create_physical_expr(expr, &schema)?;
            let one = RecordBatchOptions::new().with_row_count(Some(1));
            let batch = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), vec![], &one)?;
            let array = expr.evaluate(&batch)?.into_array(1)?;
            ScalarValue::try_from_array(&array, 0)?.cast_to(data_type)
        };
        value().map_err(|e| {
            let why = translate(&e, None);
            Error::plan(format!("the default {text} is no constant of type {data_type}: {why}"))
        })
    }
}

/// The type with plain encodings of text and bytes, which every kind of function reads.
fn plain(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Utf8View | DataType::LargeUtf8 => DataType::Utf8,
        DataType::BinaryView | DataType::LargeBinary => DataType::Binary,
        DataType::List(item) => {
            let inner = plain(item.data_type());
            DataType::List(Arc::new(item.as_ref().clone().with_data_type(inner)))
        }
        DataType::FixedSizeList(item, n) => {
            let inner = plain(item.data_type());
            DataType::FixedSizeList(Arc::new(item.as_ref().clone().with_data_type(inner)), *n)
        }
        other => other.clone(),
    }
}

/// CREATE FUNCTION as it is written.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct CreateFunction {
    or_replace: bool,
    name: String,
    /// Name, type and default as SQL text.
    params: Vec<(String, String, Option<String>)>,
    returns: String,
    /// In lower case.
    pub(crate) language: String,
    options: Vec<(String, String)>,
    body: String,
}

/// Reads the statement if it is CREATE FUNCTION with a LANGUAGE; `None` for every other.
///
/// # Errors
/// [`Error::Syntax`] for one that is written wrong.
pub(crate) fn parse_create_function(sql: &str, dialect: Dialect) -> Result<Option<CreateFunction>> {
    // Most statements are told apart without tokens.
    let start = sql.trim_start();
    let begins = |word: &str| start.get(..word.len()).is_some_and(|s| s.eq_ignore_ascii_case(word));
    if !(begins("create") || start.starts_with("--") || start.starts_with("/*")) {
        return Ok(None);
    }
    let all = tokens(sql, dialect)?;
    let tokens: Vec<&TokenWithSpan> = all.iter().filter(|t| !is_blank(t)).collect();
    let mut reader = Reader { sql, offsets: Offsets::new(sql), tokens, next: 0 };
    if !reader.word("create") {
        return Ok(None);
    }
    let or_replace = reader.word("or") && reader.word("replace");
    if !reader.word("function") || !reader.tokens.iter().any(|t| is_word(&t.token, "language")) {
        return Ok(None);
    }
    reader.create(or_replace).map(Some)
}

fn is_word(token: &Token, wanted: &str) -> bool {
    matches!(token, Token::Word(w) if w.quote_style.is_none() && w.value.eq_ignore_ascii_case(wanted))
}

/// Reads tokens one after the other.
struct Reader<'a> {
    sql: &'a str,
    offsets: Offsets<'a>,
    tokens: Vec<&'a TokenWithSpan>,
    next: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.next).map(|t| &t.token)
    }

    /// Takes the word if it comes next.
    fn word(&mut self, wanted: &str) -> bool {
        let found = self.peek().is_some_and(|t| is_word(t, wanted));
        self.next += usize::from(found);
        found
    }

    fn take(&mut self, wanted: &Token) -> bool {
        let found = self.peek() == Some(wanted);
        self.next += usize::from(found);
        found
    }

    fn wrong<T>(&self, expected: &str) -> Result<T> {
        let (line, column, found) = match self.tokens.get(self.next) {
            Some(t) => {
                (t.span.start.line as usize, t.span.start.column as usize, format!("found {}", t.token))
            }
            None => {
                let text = self.sql.trim_end();
                let column = text.lines().last().map_or(0, |l| l.chars().count()) + 1;
                (text.lines().count().max(1), column, "but the text ends here".to_owned())
            }
        };
        Err(Error::Syntax {
            message: format!("expected {expected}, {found}"),
            line,
            column,
            snippet: position(self.sql, line, column, None).snippet,
        })
    }

    /// A name, in lower case unless it is quoted.
    fn name(&mut self, what: &str) -> Result<String> {
        match self.peek() {
            Some(Token::Word(w)) => {
                let name =
                    if w.quote_style.is_some() { w.value.clone() } else { w.value.to_ascii_lowercase() };
                self.next += 1;
                Ok(name)
            }
            Some(_) | None => self.wrong(what),
        }
    }

    /// The text up to a token outside of parentheses that ends it.
    fn text(&mut self, what: &str, ends: impl Fn(&Token) -> bool) -> Result<String> {
        let first = self.next;
        let mut depth = 0usize;
        while let Some(token) = self.peek() {
            if depth == 0 && ends(token) {
                break;
            }
            match token {
                Token::LParen | Token::LBracket | Token::Lt => depth += 1,
                Token::RParen | Token::RBracket | Token::Gt => depth = depth.saturating_sub(1),
                _ => {}
            }
            self.next += 1;
        }
        match (self.tokens.get(first), self.next.checked_sub(1).and_then(|last| self.tokens.get(last))) {
            (Some(from), Some(to)) if self.next > first => {
                let (from, to) = (self.offsets.byte(from.span.start), self.offsets.byte(to.span.end));
                Ok(self.sql[from..to].to_owned())
            }
            _ => self.wrong(what),
        }
    }

    fn create(mut self, or_replace: bool) -> Result<CreateFunction> {
        let name = self.name("the function's name")?;
        if !self.take(&Token::LParen) {
            return self.wrong("'(' and the parameters");
        }
        let mut params = Vec::new();
        while !self.take(&Token::RParen) {
            let param = self.name("a parameter's name")?;
            let is_default = |t: &Token| is_word(t, "default") || *t == Token::Eq;
            let data_type =
                self.text("a type", |t| matches!(t, Token::Comma | Token::RParen) || is_default(t))?;
            let default = if self.word("default") || self.take(&Token::Eq) {
                Some(self.text("a constant", |t| matches!(t, Token::Comma | Token::RParen))?)
            } else {
                None
            };
            params.push((param, data_type, default));
            if !self.take(&Token::Comma) && self.peek() != Some(&Token::RParen) {
                return self.wrong("',' or ')'");
            }
        }
        if !self.word("returns") {
            return self.wrong("RETURNS and a type");
        }
        let ends = |t: &Token| ["language", "with", "as"].iter().any(|w| is_word(t, w));
        let returns = self.text("a type", ends)?;
        let (mut language, mut options) = (None, Vec::new());
        loop {
            if self.word("language") {
                language = Some(match self.peek() {
                    Some(Token::SingleQuotedString(text)) => {
                        let text = text.to_ascii_lowercase();
                        self.next += 1;
                        text
                    }
                    Some(_) | None => self.name("the name of a language")?.to_ascii_lowercase(),
                });
            } else if self.word("with") {
                options = self.options()?;
            } else {
                break;
            }
        }
        let Some(language) = language else {
            return self.wrong("LANGUAGE and its name");
        };
        if !self.word("as") {
            return self.wrong("AS and the function's body between $$ and $$");
        }
        let body = match self.peek() {
            Some(Token::DollarQuotedString(body)) => body.value.clone(),
            Some(Token::SingleQuotedString(body)) => body.clone(),
            Some(_) | None => return self.wrong("the function's body between $$ and $$"),
        };
        self.next += 1;
        self.take(&Token::SemiColon);
        if self.next < self.tokens.len() {
            return self.wrong("the end of the statement");
        }
        Ok(CreateFunction { or_replace, name, params, returns, language, options, body })
    }

    /// `(option = value, ...)`.
    fn options(&mut self) -> Result<Vec<(String, String)>> {
        if !self.take(&Token::LParen) {
            return self.wrong("'(' and options");
        }
        let mut options = Vec::new();
        while !self.take(&Token::RParen) {
            let option = self.name("an option")?;
            if !self.take(&Token::Eq) {
                return self.wrong("'='");
            }
            let value = match self.peek() {
                Some(Token::SingleQuotedString(text)) => {
                    let text = text.clone();
                    self.next += 1;
                    text
                }
                Some(_) | None => self.text("a value", |t| matches!(t, Token::Comma | Token::RParen))?,
            };
            options.push((option, value));
            if !self.take(&Token::Comma) && self.peek() != Some(&Token::RParen) {
                return self.wrong("',' or ')'");
            }
        }
        Ok(options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(sql: &str) -> Result<Option<CreateFunction>> {
        parse_create_function(sql, Dialect::Generic)
    }

    #[test]
    fn everything_a_statement_may_hold() {
        let create = parse(
            "-- a function\nCREATE OR REPLACE FUNCTION Twice(x DOUBLE, \"N\" DECIMAL(10, 2) DEFAULT 1.5)\n\
             RETURNS INT[] LANGUAGE Python WITH (on_error = null, timeout = 1.5, kind = 'numpy')\n\
             AS $$ return x * 2; $$;",
        )
        .unwrap()
        .unwrap();
        assert!(create.or_replace);
        assert_eq!((create.name.as_str(), create.language.as_str()), ("twice", "python"));
        assert_eq!(create.params[0], ("x".into(), "DOUBLE".into(), None));
        assert_eq!(create.params[1], ("N".into(), "DECIMAL(10, 2)".into(), Some("1.5".into())));
        assert_eq!(create.returns, "INT[]");
        let options = [("on_error", "null"), ("timeout", "1.5"), ("kind", "numpy")];
        assert_eq!(create.options, options.map(|(o, v)| (o.to_owned(), v.to_owned())));
        assert_eq!(create.body, " return x * 2; ");
    }

    #[test]
    fn other_statements_are_left_alone() {
        assert_eq!(parse("CREATE TABLE t AS SELECT 1").unwrap(), None);
        assert_eq!(parse("SELECT 'create function f() language python'").unwrap(), None);
        assert_eq!(parse("-- create\nSELECT 1").unwrap(), None);
    }

    #[test]
    fn mistakes_are_pointed_at() {
        let message = |sql: &str| parse(sql).unwrap_err().to_string();
        let text = message("CREATE FUNCTION f(x DOUBLE) LANGUAGE python AS $$x$$");
        assert!(text.contains("expected RETURNS and a type, found LANGUAGE"), "{text}");
        let text = message("CREATE FUNCTION f(x) RETURNS INT LANGUAGE python AS $$x$$");
        assert!(text.contains("expected a type, found )"), "{text}");
        let text = message("CREATE FUNCTION f() RETURNS INT LANGUAGE python");
        assert!(text.contains("but the text ends here"), "{text}");
    }
}
