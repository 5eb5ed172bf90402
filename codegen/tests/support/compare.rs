//! Comparing what two ways of running a loop gave, bit for bit.

use super::data::lits_of;
use fuseline_codegen::ir::{AggState, AggValue, Emit, Loop, Sink};
use fuseline_codegen::run::{EvalError, LoopOutput};

pub type Outcome = Result<LoopOutput, EvalError>;

/// How the outcome differs from what is right, if it does.
pub fn difference(source: &Loop, right: &Outcome, outcome: &Outcome) -> Option<String> {
    match (right, outcome) {
        (Err(a), Err(b)) => (a != b).then(|| format!("the error is {b:?}, not {a:?}")),
        (Err(a), Ok(_)) => Some(format!("there is no error, but {a:?} is due")),
        (Ok(_), Err(b)) => Some(format!("the error {b:?} is out of place")),
        (Ok(a), Ok(b)) => outputs(source, a, b),
    }
}

fn outputs(source: &Loop, right: &LoopOutput, found: &LoopOutput) -> Option<String> {
    if right.rows != found.rows {
        return Some(format!("{} rows, not {}", found.rows, right.rows));
    }
    if right.selection != found.selection {
        return Some(format!("selection {:?}, not {:?}", found.selection, right.selection));
    }
    if right.columns.len() != found.columns.len() {
        return Some(format!("{} columns, not {}", found.columns.len(), right.columns.len()));
    }
    for (i, (a, b)) in right.columns.iter().zip(&found.columns).enumerate() {
        let (a, b) = match (a, b) {
            (None, None) => continue,
            (Some(a), Some(b)) => (a, b),
            (a, b) => return Some(format!("column {i} is {b:?}, not {a:?}")),
        };
        if a.data_type() != b.data_type() || a.len() != b.len() {
            return Some(format!(
                "column {i} is {} x {}, not {} x {}",
                b.len(),
                b.data_type(),
                a.len(),
                a.data_type()
            ));
        }
        if let Err(e) = b.to_data().validate_full() {
            return Some(format!("column {i} is malformed: {e}"));
        }
        if let Sink::Emit(emits) = &source.sink
            && let Emit::Value { nullable: false, .. } = &emits[i]
            && b.null_count() > 0
        {
            return Some(format!("column {i} has nulls"));
        }
        let (a, b) = (lits_of(a), lits_of(b));
        if let Some(row) = (0..a.len()).find(|&row| a[row] != b[row]) {
            return Some(format!("column {i}, row {row}: {}, not {}", b[row], a[row]));
        }
    }
    if right.aggs.len() != found.aggs.len() {
        return Some(format!("{} aggregates, not {}", found.aggs.len(), right.aggs.len()));
    }
    let differs = |a: &AggState, b: &AggState| a.count != b.count || bits(a) != bits(b);
    let at = (0..right.aggs.len()).find(|&i| differs(&right.aggs[i], &found.aggs[i]))?;
    Some(format!("aggregate {at} is {:?}, not {:?}", found.aggs[at], right.aggs[at]))
}

/// The bits of a state's value, where it means something.
fn bits(state: &AggState) -> (u8, u128, &str) {
    let counts = state.count > 0;
    match &state.value {
        AggValue::Int(v) => (0, if counts { *v as u128 } else { 0 }, ""),
        AggValue::Float(v) => (1, if counts { u128::from(v.to_bits()) } else { 0 }, ""),
        AggValue::Spread(v) => {
            let wide = u128::from(v.mean.to_bits()) << 64 | u128::from(v.squares.to_bits());
            (3, if counts { wide } else { 0 }, "")
        }
        AggValue::Text(v) => (2, 0, if counts { v } else { "" }),
    }
}
