//! Two answers to one query, compared row for row.
//!
//! Text is compared verbatim, floats within a relative 1e-9 (sums in another order differ in the last
//! bits; the exact allowance is the differential test's business), and column types must agree. Rows
//! without an ORDER BY are compared as a multiset: sorted first by their exact cells, then by floats.

use std::cmp::Ordering;

use arrow::array::{Array, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type};
use arrow::record_batch::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};

/// Relative error allowed between two floats.
const FLOAT_TOLERANCE: f64 = 1e-9;

/// One value: its text, and its number where it is a float.
#[derive(Clone, Debug)]
pub struct Cell {
    pub text: String,
    pub float: Option<f64>,
}

/// The rows of an answer in printable form.
pub struct Answer {
    pub names: Vec<String>,
    pub types: Vec<DataType>,
    pub rows: Vec<Vec<Cell>>,
}

impl Answer {
    /// Prints batches cell by cell; NULL reads `NULL`.
    pub fn of(batches: &[RecordBatch]) -> Result<Self, String> {
        let (names, types) = batches.first().map_or_else(Default::default, |batch| {
            let schema = batch.schema();
            schema.fields().iter().map(|f| (f.name().clone(), f.data_type().clone())).unzip()
        });
        let options = FormatOptions::default().with_null("NULL");
        let mut rows = Vec::new();
        for batch in batches {
            let start = rows.len();
            rows.extend((0..batch.num_rows()).map(|_| Vec::with_capacity(batch.num_columns())));
            for column in batch.columns() {
                let floats = match column.data_type() {
                    DataType::Float16 | DataType::Float32 | DataType::Float64 => {
                        Some(cast(column, &DataType::Float64).map_err(|e| e.to_string())?)
                    }
                    _ => None,
                };
                let format = ArrayFormatter::try_new(column, &options).map_err(|e| e.to_string())?;
                for row in 0..batch.num_rows() {
                    // A value that cannot be printed (a date out of range) is still a value.
                    let text = match format.value(row).try_to_string() {
                        Ok(text) => text,
                        Err(error) => format!("<{error}>"),
                    };
                    let float = floats
                        .as_ref()
                        .filter(|_| column.is_valid(row))
                        .map(|f| f.as_primitive::<Float64Type>().value(row));
                    rows[start + row].push(Cell { text, float });
                }
            }
        }
        Ok(Self { names, types, rows })
    }

    /// Orders rows by their exact cells, then by their floats.
    fn sorted(mut self) -> Self {
        self.rows.sort_by(|a, b| {
            let exact = |row: &[Cell]| -> Vec<String> {
                row.iter().filter(|c| c.float.is_none()).map(|c| c.text.clone()).collect()
            };
            exact(a).cmp(&exact(b)).then_with(|| {
                a.iter()
                    .zip(b)
                    .filter_map(|(x, y)| Some(x.float?.total_cmp(&y.float?)))
                    .find(|o| *o != Ordering::Equal)
                    .unwrap_or(Ordering::Equal)
            })
        });
        self
    }
}

/// How two answers relate.
#[derive(Debug, PartialEq)]
pub enum Verdict {
    Same,
    /// Same rows in another order, under an ORDER BY (ties may do that).
    Reordered,
    /// What differs first.
    Different(String),
}

/// Compares two answers; `ordered` says that the query has an ORDER BY.
pub fn compare(left: Answer, right: Answer, ordered: bool) -> Verdict {
    if !left.types.is_empty() && !right.types.is_empty() && left.types != right.types {
        return Verdict::Different(format!("types {:?} and {:?}", left.types, right.types));
    }
    if left.rows.len() != right.rows.len() {
        return Verdict::Different(format!("{} and {} rows", left.rows.len(), right.rows.len()));
    }
    let in_order = difference(&left, &right);
    if in_order.is_none() {
        return Verdict::Same;
    }
    match difference(&left.sorted(), &right.sorted()) {
        None if ordered => Verdict::Reordered,
        None => Verdict::Same,
        Some(text) => Verdict::Different(text),
    }
}

fn difference(left: &Answer, right: &Answer) -> Option<String> {
    for (number, (a, b)) in left.rows.iter().zip(&right.rows).enumerate() {
        for (column, (x, y)) in a.iter().zip(b).enumerate() {
            if !close(x, y) {
                return Some(format!("row {number}, column {column}: {} and {}", x.text, y.text));
            }
        }
    }
    None
}

fn close(x: &Cell, y: &Cell) -> bool {
    match (x.float, y.float) {
        (Some(a), Some(b)) => {
            a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= FLOAT_TOLERANCE * a.abs().max(b.abs())
        }
        (None, None) => x.text == y.text,
        _ => false,
    }
}

#[test]
fn comparison_tells_rows_apart() {
    use arrow::array::{ArrayRef, Float64Array, Int32Array};
    use std::sync::Arc;
    let batch = |k: Vec<i32>, v: Vec<Option<f64>>| {
        let columns: Vec<(&str, ArrayRef)> =
            vec![("k", Arc::new(Int32Array::from(k))), ("v", Arc::new(Float64Array::from(v)))];
        Answer::of(&[RecordBatch::try_from_iter_with_nullable(
            columns.into_iter().map(|(n, a)| (n, a, true)),
        )
        .unwrap()])
        .unwrap()
    };
    let base = || batch(vec![1, 2], vec![Some(0.5), None]);
    assert_eq!(compare(base(), base(), true), Verdict::Same);
    let swapped = || batch(vec![2, 1], vec![None, Some(0.5)]);
    assert_eq!(compare(base(), swapped(), false), Verdict::Same);
    assert_eq!(compare(base(), swapped(), true), Verdict::Reordered);
    let other = batch(vec![1, 2], vec![Some(0.5), Some(0.0)]);
    assert!(matches!(compare(base(), other, false), Verdict::Different(_)));
    let close = batch(vec![1, 2], vec![Some(0.5 + 1e-12), None]);
    assert_eq!(compare(base(), close, true), Verdict::Same);
    let far = batch(vec![1, 2], vec![Some(0.5 + 1e-6), None]);
    assert!(matches!(compare(base(), far, true), Verdict::Different(_)));
}
