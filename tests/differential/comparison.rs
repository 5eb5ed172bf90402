//! Two answers to one random query, compared by the rules of its columns.
//!
//! Equal means: same column types, same rows by `rid`, same NULLs, same values bit for bit, where all
//! NaNs are one value. Float sums may differ by n * 2^-52 * sum|x|, averages by that over n, minima and
//! maxima of floats in the sign of a zero, transcendental functions at an output by their units in the last
//! place. Sorted rows must come in the same order.
//! Under a LIMIT the number of rows must agree, and each must be a row of the unlimited answer.

use std::collections::HashMap;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::{DataType, Float16Type, Float32Type, Float64Type, Int64Type};
use arrow::record_batch::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};

use super::expressions::Allowance;
use super::queries::{Query, Rule, Shape};

/// One value in a form that compares exactly.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Null,
    Float(f64),
    Single(f32),
    Text(String),
}

/// An answer: types and rows.
#[derive(Clone, Debug)]
pub struct Rows {
    pub types: Vec<DataType>,
    pub rows: Vec<Vec<Value>>,
}

impl Rows {
    pub fn of(batches: &[RecordBatch]) -> Result<Self, String> {
        let Some(first) = batches.first() else {
            return Ok(Self { types: Vec::new(), rows: Vec::new() });
        };
        let all = concat_batches(&first.schema(), batches).map_err(|e| e.to_string())?;
        let columns = all.columns().iter().map(values).collect::<Result<Vec<Vec<Value>>, String>>()?;
        let rows = (0..all.num_rows())
            .map(|row| columns.iter().map(|column| column[row].clone()).collect())
            .collect();
        let types = first.schema().fields().iter().map(|f| f.data_type().clone()).collect();
        Ok(Self { types, rows })
    }

    /// Sorts by the first columns, the keys of groups.
    fn by_keys(mut self, keys: usize) -> Self {
        self.rows.sort_by_cached_key(|row| format!("{:?}", &row[..keys]));
        self
    }

    /// Sorts by the first column, `rid`.
    fn by_rid(mut self) -> Self {
        self.rows.sort_by_cached_key(|row| match &row[0] {
            Value::Text(text) => text.parse::<i64>().unwrap_or(i64::MAX),
            Value::Null | Value::Float(_) | Value::Single(_) => i64::MAX,
        });
        self
    }
}

fn values(column: &ArrayRef) -> Result<Vec<Value>, String> {
    let nulls = column.logical_nulls();
    let valid = |row: usize| nulls.as_ref().is_none_or(|n| n.is_valid(row));
    let rows = 0..column.len();
    Ok(match column.data_type() {
        DataType::Float64 => {
            let column = column.as_primitive::<Float64Type>();
            rows.map(|r| if valid(r) { Value::Float(column.value(r)) } else { Value::Null }).collect()
        }
        DataType::Float32 => {
            let column = column.as_primitive::<Float32Type>();
            rows.map(|r| if valid(r) { Value::Single(column.value(r)) } else { Value::Null }).collect()
        }
        DataType::Float16 => {
            let column = column.as_primitive::<Float16Type>();
            rows.map(|r| if valid(r) { Value::Single(column.value(r).to_f32()) } else { Value::Null })
                .collect()
        }
        // Temporal values as their numbers: text would lose nothing, but refuses years out of range.
        DataType::Timestamp(_, _) | DataType::Time64(_) | DataType::Date64 => {
            let column = cast(column, &DataType::Int64).map_err(|e| e.to_string())?;
            let column = column.as_primitive::<Int64Type>().clone();
            rows.map(|r| if valid(r) { Value::Text(column.value(r).to_string()) } else { Value::Null })
                .collect()
        }
        DataType::Date32 | DataType::Time32(_) => {
            let column = cast(column, &DataType::Int32).map_err(|e| e.to_string())?;
            let column = cast(&column, &DataType::Int64).map_err(|e| e.to_string())?;
            let column = column.as_primitive::<Int64Type>().clone();
            rows.map(|r| if valid(r) { Value::Text(column.value(r).to_string()) } else { Value::Null })
                .collect()
        }
        _ => {
            let options = FormatOptions::default();
            let format = ArrayFormatter::try_new(column, &options).map_err(|e| e.to_string())?;
            let mut found = Vec::with_capacity(column.len());
            for row in rows {
                found.push(if valid(row) {
                    Value::Text(format.value(row).try_to_string().map_err(|e| e.to_string())?)
                } else {
                    Value::Null
                });
            }
            found
        }
    })
}

/// Same value, bit for bit; NaN is one value.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Float(a), Value::Float(b)) => a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan(),
        (Value::Single(a), Value::Single(b)) => a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan(),
        (Value::Null, Value::Null) => true,
        (Value::Text(a), Value::Text(b)) => a == b,
        _ => false,
    }
}

/// Distance in units in the last place, by the order of bit patterns.
fn ulps_64(a: f64, b: f64) -> u64 {
    let order = |x: f64| {
        let bits = x.to_bits() as i64;
        if bits < 0 { i64::MIN.wrapping_sub(bits) } else { bits }
    };
    order(a).abs_diff(order(b))
}

fn ulps_32(a: f32, b: f32) -> u64 {
    let order = |x: f32| {
        let bits = x.to_bits() as i32;
        if bits < 0 { i32::MIN.wrapping_sub(bits) } else { bits }
    };
    u64::from(order(a).abs_diff(order(b)))
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Float(x) => Some(*x),
        Value::Single(x) => Some(f64::from(*x)),
        Value::Text(text) => text.parse().ok(),
        Value::Null => None,
    }
}

/// Compares one row by the rules; gives the first column that differs.
fn row_difference(rules: &[Rule], expected: &[Value], actual: &[Value]) -> Option<usize> {
    (0..rules.len()).find(|&i| {
        let (a, b) = (&expected[i], &actual[i]);
        if same(a, b) {
            return false;
        }
        match rules[i] {
            Rule::Value(Allowance::Exact) => true,
            // They only bound the error of the column before; their own may be as large.
            Rule::Bound => false,
            Rule::Value(Allowance::Ulps(allowed)) => match (a, b) {
                (Value::Float(a), Value::Float(b)) => ulps_64(*a, *b) > u64::from(allowed),
                (Value::Single(a), Value::Single(b)) => ulps_32(*a, *b) > u64::from(allowed),
                _ => true,
            },
            Rule::Extreme => number(a) != Some(0.0) || number(b) != Some(0.0),
            Rule::Sum | Rule::Average => {
                let (Some(x), Some(y)) = (number(a), number(b)) else {
                    return true;
                };
                let absolute = number(&expected[i + 1]).unwrap_or(0.0);
                let count = number(&expected[i + 2]).unwrap_or(0.0);
                if !absolute.is_finite() {
                    // A sum that overflows on the way depends on the order of additions.
                    return false;
                }
                let mut bound = count * f64::EPSILON * absolute;
                if rules[i] == Rule::Average {
                    // And the division rounds.
                    bound = bound / count + y.abs() * f64::EPSILON;
                }
                (x - y).abs() > bound
            }
        }
    })
}

/// Compares fuseline's answer with the unfused one (for a LIMIT: the unlimited one). `None` is equal.
pub fn difference(query: &Query, expected: Rows, actual: Rows) -> Option<String> {
    if !expected.types.is_empty() && !actual.types.is_empty() && expected.types != actual.types {
        return Some(format!("types {:?}, unfused {:?}", actual.types, expected.types));
    }
    let mut rules: Vec<Rule> = query.outputs.iter().map(|o| o.rule).collect();
    match query.shape {
        Shape::Rows | Shape::Sorted(_) => rules.insert(0, Rule::Value(Allowance::Exact)),
        Shape::Grouped(ref keys) => {
            rules.splice(0..0, keys.iter().map(|_| Rule::Value(Allowance::Exact)));
        }
        Shape::Aggregate => {}
    }
    let (expected, actual) = match query.shape {
        Shape::Rows => (expected.by_rid(), actual.by_rid()),
        Shape::Grouped(ref keys) => (expected.by_keys(keys.len()), actual.by_keys(keys.len())),
        Shape::Aggregate | Shape::Sorted(_) => (expected, actual),
    };
    if let Some((count, offset)) = query.limit {
        let wanted = expected.rows.len().saturating_sub(offset).min(count);
        if actual.rows.len() != wanted {
            return Some(format!("{} rows under the limit, not {wanted}", actual.rows.len()));
        }
        let by_rid: HashMap<String, &Vec<Value>> =
            expected.rows.iter().map(|row| (format!("{:?}", row[0]), row)).collect();
        let mut seen = std::collections::HashSet::new();
        for row in &actual.rows {
            let rid = format!("{:?}", row[0]);
            if !seen.insert(rid.clone()) {
                return Some(format!("row {rid} twice"));
            }
            let Some(expected) = by_rid.get(&rid) else {
                return Some(format!("row {rid} is not in the unlimited answer"));
            };
            if let Some(i) = row_difference(&rules, expected, row) {
                return Some(format!("column {i} of {row:?}, unfused {expected:?}"));
            }
        }
        return None;
    }
    if expected.rows.len() != actual.rows.len() {
        return Some(format!("{} rows, unfused {}", actual.rows.len(), expected.rows.len()));
    }
    for (expected, actual) in expected.rows.iter().zip(&actual.rows) {
        if let Some(i) = row_difference(&rules, expected, actual) {
            return Some(format!("column {i} of {actual:?}, unfused {expected:?}"));
        }
    }
    None
}

/// Compares interpreter and compiled code: bit for bit in every column, sums included. Sums of groups are
/// DataFusion's own, who adds up partitions as they come.
pub fn exact_difference(query: &Query, interpreted: Rows, compiled: Rows) -> Option<String> {
    if interpreted.rows.len() != compiled.rows.len() {
        return Some(format!(
            "{} rows compiled, {} interpreted",
            compiled.rows.len(),
            interpreted.rows.len()
        ));
    }
    let (interpreted, compiled) = match query.shape {
        Shape::Grouped(_) => return difference(query, interpreted, compiled),
        Shape::Rows => (interpreted.by_rid(), compiled.by_rid()),
        Shape::Aggregate | Shape::Sorted(_) => (interpreted, compiled),
    };
    for (a, b) in interpreted.rows.iter().zip(&compiled.rows) {
        if let Some(i) = (0..a.len()).find(|&i| !same(&a[i], &b[i])) {
            return Some(format!("column {i}: compiled {b:?}, interpreted {a:?}"));
        }
    }
    None
}
