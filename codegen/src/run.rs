//! What running a loop takes and gives, whichever back end runs it.
//!
//! Both the interpreter and compiled code turn a [`Morsel`] into a [`LoopOutput`] or an
//! [`EvalError`], so a test compares them by comparing these. Compiled code only detects that
//! something failed; it then hands the same morsel to the interpreter, whose error is precise.

use crate::groups::Groups;
use crate::ir::{AggState, Loop};
use crate::joins::JoinSide;
use arrow::array::{ArrayRef, UInt32Array};
use std::sync::Arc;

/// Some consecutive rows of a source.
#[derive(Clone, Debug)]
pub struct Morsel<'a> {
    /// One array per [`Loop::inputs`], each of `rows` rows and of the input's `data_type`.
    pub inputs: &'a [ArrayRef],
    pub rows: usize,
    /// What `Op::RowIndex` is on the first row.
    pub row_base: i64,
    /// The build sides of the loop's joins, by number.
    pub joins: &'a [Arc<JoinSide>],
}

/// What a loop made of a morsel.
#[derive(Clone, Debug, Default)]
pub struct LoopOutput {
    /// Rows that passed every filter; for an aggregate sink the rows that reached it (all of them
    /// where filters were turned into masks).
    pub rows: usize,
    /// For an emitting sink one entry per output column: the array, or `None` for a passenger. For a
    /// grouping one that ran over a table of its own: the keys, then the states in their own types.
    pub columns: Vec<Option<ArrayRef>>,
    /// Which rows of the morsel survived, when [`Loop::needs_selection`].
    pub selection: Option<UInt32Array>,
    /// For an aggregate sink one state per aggregate, over this morsel.
    pub aggs: Vec<AggState>,
    /// Compiled code gave the morsel up, and the interpreter has run it, or the rest of it.
    pub bailed: bool,
}

/// Why a row could not be evaluated. The wording follows Arrow's, so that a query fails with the
/// same words whether it was fused or not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EvalError {
    #[error("Divide by zero error")]
    DivideByZero { row: usize },
    #[error("Arithmetic overflow: {message}")]
    Overflow { row: usize, message: String },
    #[error("Cast error: {message}")]
    Cast { row: usize, message: String },
    /// Anything else a function refuses, in its own words.
    #[error("{message}")]
    Function { row: usize, message: String },
    /// The arrays of a morsel do not fit the loop: a bug in the caller, reported, never a panic.
    #[error("internal error: {0}")]
    Binding(String),
}

impl EvalError {
    /// The row of the morsel (before any filter), where one is to blame.
    pub fn row(&self) -> Option<usize> {
        match self {
            EvalError::DivideByZero { row }
            | EvalError::Overflow { row, .. }
            | EvalError::Cast { row, .. }
            | EvalError::Function { row, .. } => Some(*row),
            EvalError::Binding(_) => None,
        }
    }
}

/// A loop in executable form.
pub trait RunLoop: Send + Sync {
    fn source(&self) -> &Loop;
    /// Runs the loop over a morsel; a grouping one over a table of its own, whose groups are the output.
    fn run(&self, morsel: &Morsel<'_>) -> Result<LoopOutput, EvalError>;

    /// Runs a grouping loop over a morsel, into a table of its layout. An error leaves the table with some
    /// of the morsel's rows.
    fn run_into(&self, morsel: &Morsel<'_>, groups: &mut Groups) -> Result<LoopOutput, EvalError>;
}

/// What a grouping loop gives by itself: the groups of its morsel in the order in which they appeared.
pub(crate) fn into_columns(groups: &mut Groups, out: LoopOutput) -> Result<LoopOutput, EvalError> {
    groups.settle();
    let rows = groups.len();
    let layout = groups.layout();
    let mut columns = Vec::new();
    for key in 0..layout.keys.len() {
        columns.push(Some(groups.key_array(key, 0..rows)?));
    }
    for (agg, (_, ty)) in layout.aggs.iter().enumerate() {
        let data_type = ty.natural();
        columns.push(Some(groups.agg_array(agg, 0..rows, &data_type, None)?));
    }
    Ok(LoopOutput { rows, columns, ..out })
}
