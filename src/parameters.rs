//! Binding values to the parameters of a statement: `$1`, `?`, `$name`.
//!
//! Values are bound as syntax and as literals of the plan; nothing is ever pasted into SQL text. Two
//! steps are needed, because the planner decides types before it lets a caller bind anything:
//!
//! 1. In the parsed statement a number, string, bool or NULL takes the parameter's place. It means
//!    there what a literal of SQL means, so LIMIT and the arguments of table functions take it too.
//!    Other values have no literal: their parameter stays, inside a cast that says its type.
//! 2. In the logical plan the parameters that are left become literals.

use std::collections::{BTreeSet, HashMap};
use std::ops::ControlFlow;

use datafusion::arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::{ParamValues, ScalarValue};
use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::parser::{CopyToSource, Statement};
use datafusion::sql::sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList, FunctionArguments, Ident, ObjectName,
    Statement as SqlStatement, Value, visit_expressions_mut,
};

use crate::error::{Error, Result, translate};

/// Values for parameters.
#[derive(Debug, Default, Clone)]
pub(crate) enum Values {
    #[default]
    None,
    Positional(Vec<ScalarValue>),
    Named(HashMap<String, ScalarValue>),
}

impl Values {
    /// Whether `?`s in the text stand for values.
    pub(crate) fn is_positional(&self) -> bool {
        matches!(self, Self::Positional(_))
    }

    /// The parameters that have a value, as they are written.
    fn given(&self) -> BTreeSet<String> {
        match self {
            Self::None => BTreeSet::new(),
            Self::Positional(values) => (1..=values.len()).map(|n| format!("${n}")).collect(),
            Self::Named(values) => values.keys().map(|name| format!("${name}")).collect(),
        }
    }

    fn get(&self, parameter: &str) -> Option<&ScalarValue> {
        let name = parameter.strip_prefix('$')?;
        match self {
            Self::None => None,
            Self::Positional(values) => values.get(name.parse::<usize>().ok()?.checked_sub(1)?),
            Self::Named(values) => values.get(name),
        }
    }

    /// The first step, on the parsed statement. `sql` is its text.
    ///
    /// # Errors
    /// [`Error::Plan`] for a parameter without a value and for a value without a parameter.
    pub(crate) fn bind_statement(&self, statement: &mut Statement, sql: &str) -> Result<()> {
        // Only a text with these can have parameters, and those of PREPARE get their values later.
        let prepares = matches!(statement, Statement::Statement(inner)
            if matches!(inner.as_ref(), SqlStatement::Prepare { .. }));
        if matches!(self, Self::None) && (prepares || !sql.contains(['$', '?'])) {
            return Ok(());
        }
        let mut wanted = BTreeSet::new();
        self.visit(statement, &mut wanted);
        let given = self.given();
        if let Some(missing) = wanted.difference(&given).next() {
            return Err(Error::plan(format!(
                "parameter {missing} has no value: {}",
                match self {
                    Self::None => "no values were given".to_string(),
                    Self::Positional(values) if values.len() == 1 => {
                        "1 value was given by position".to_string()
                    }
                    Self::Positional(values) => format!("{} values were given by position", values.len()),
                    Self::Named(_) => format!("values were given for {}", list(&given)),
                }
            )));
        }
        if let Some(unused) = given.difference(&wanted).next() {
            return Err(Error::plan(if wanted.is_empty() {
                format!("a value was given for {unused}, and the statement has no parameters")
            } else {
                format!("a value was given for {unused}, and the statement has only {}", list(&wanted))
            }));
        }
        Ok(())
    }

    fn visit(&self, statement: &mut Statement, wanted: &mut BTreeSet<String>) {
        match statement {
            Statement::Statement(inner) => self.replace(inner.as_mut(), wanted),
            Statement::CopyTo(copy) => {
                if let CopyToSource::Query(query) = &mut copy.source {
                    self.replace(query.as_mut(), wanted);
                }
            }
            Statement::Explain(explain) => self.visit(explain.statement.as_mut(), wanted),
            Statement::CreateExternalTable(_) | Statement::Reset(_) => {}
        }
    }

    /// Replaces the parameters that have a value and notes all of them.
    fn replace<T: datafusion::sql::sqlparser::ast::VisitMut>(
        &self,
        syntax: &mut T,
        wanted: &mut BTreeSet<String>,
    ) {
        let _ = visit_expressions_mut(syntax, |expr| {
            let name = match expr {
                Expr::Value(value) => match &value.value {
                    Value::Placeholder(name) => name.clone(),
                    _ => return ControlFlow::<()>::Continue(()),
                },
                _ => return ControlFlow::Continue(()),
            };
            let new = self.get(&name).and_then(|value| syntax_of(value, expr));
            wanted.insert(name);
            if let Some(new) = new {
                *expr = new;
            }
            ControlFlow::Continue(())
        });
    }

    /// The second step, on the plan.
    ///
    /// # Errors
    /// When the plan does not take a value of its type.
    pub(crate) fn bind_plan(&self, plan: LogicalPlan, sql: &str) -> Result<LogicalPlan> {
        let values = match self {
            Self::None => return Ok(plan),
            Self::Positional(values) => ParamValues::from(values.clone()),
            Self::Named(values) => ParamValues::from(values.clone()),
        };
        plan.with_param_values(values).map_err(|e| translate(&e, Some(sql)))
    }
}

fn list(names: &BTreeSet<String>) -> String {
    names.iter().cloned().collect::<Vec<_>>().join(", ")
}

/// What stands for a value in the statement in place of `parameter`; `None` leaves that.
fn syntax_of(value: &ScalarValue, parameter: &Expr) -> Option<Expr> {
    let literal = |value: Value| Some(Expr::Value(value.with_empty_span()));
    match value {
        ScalarValue::Null => literal(Value::Null),
        ScalarValue::Boolean(Some(value)) => literal(Value::Boolean(*value)),
        ScalarValue::Int64(Some(value)) => literal(Value::Number(value.to_string(), false)),
        // Smaller ones would be read as Int64.
        ScalarValue::UInt64(Some(value)) if i64::try_from(*value).is_err() => {
            literal(Value::Number(value.to_string(), false))
        }
        ScalarValue::Utf8(Some(value)) => literal(Value::SingleQuotedString(value.clone())),
        other => Some(cast(parameter.clone(), type_text(&other.data_type())?)),
    }
}

/// `arrow_cast(expr, 'text')`.
fn cast(expr: Expr, text: String) -> Expr {
    let text = Expr::Value(Value::SingleQuotedString(text).with_empty_span());
    let args = [expr, text].map(|arg| FunctionArg::Unnamed(FunctionArgExpr::Expr(arg)));
    Expr::Function(Function {
        name: ObjectName::from(vec![Ident::new("arrow_cast")]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args: args.into(),
            clauses: Vec::new(),
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}

/// A type as `arrow_cast` reads it; `None` for one without such a text.
fn type_text(data_type: &DataType) -> Option<String> {
    let unit = |unit: &TimeUnit| match unit {
        TimeUnit::Second => "Second",
        TimeUnit::Millisecond => "Millisecond",
        TimeUnit::Microsecond => "Microsecond",
        TimeUnit::Nanosecond => "Nanosecond",
    };
    Some(match data_type {
        DataType::Timestamp(u, None) => format!("Timestamp({}, None)", unit(u)),
        DataType::Timestamp(u, Some(zone)) => format!("Timestamp({}, Some(\"{zone}\"))", unit(u)),
        DataType::Duration(u) => format!("Duration({})", unit(u)),
        DataType::Time32(u) => format!("Time32({})", unit(u)),
        DataType::Time64(u) => format!("Time64({})", unit(u)),
        DataType::Decimal128(precision, scale) => format!("Decimal128({precision}, {scale})"),
        DataType::Decimal256(precision, scale) => format!("Decimal256({precision}, {scale})"),
        DataType::Boolean => "Boolean".to_string(),
        DataType::Int8 => "Int8".to_string(),
        DataType::Int16 => "Int16".to_string(),
        DataType::Int32 => "Int32".to_string(),
        DataType::Int64 => "Int64".to_string(),
        DataType::UInt8 => "UInt8".to_string(),
        DataType::UInt16 => "UInt16".to_string(),
        DataType::UInt32 => "UInt32".to_string(),
        DataType::UInt64 => "UInt64".to_string(),
        DataType::Float16 => "Float16".to_string(),
        DataType::Float32 => "Float32".to_string(),
        DataType::Float64 => "Float64".to_string(),
        DataType::Date32 => "Date32".to_string(),
        DataType::Date64 => "Date64".to_string(),
        DataType::Utf8 => "Utf8".to_string(),
        DataType::LargeUtf8 => "LargeUtf8".to_string(),
        DataType::Utf8View => "Utf8View".to_string(),
        DataType::Binary => "Binary".to_string(),
        DataType::LargeBinary => "LargeBinary".to_string(),
        _ => return None,
    })
}
