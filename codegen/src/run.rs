//! What running a loop takes and gives, whichever back end runs it.
//!
//! Both the interpreter and compiled code turn a [`Morsel`] into a [`LoopOutput`] or an
//! [`EvalError`], so a test compares them by comparing these. Compiled code only detects that
//! something failed; it then hands the same morsel to the interpreter, whose error is precise.

use crate::ir::{AggState, Loop};
use arrow::array::{ArrayRef, UInt32Array};

/// Some consecutive rows of a source.
#[derive(Clone, Debug)]
pub struct Morsel<'a> {
    /// One array per [`Loop::inputs`], each of `rows` rows and of the input's `data_type`.
    pub inputs: &'a [ArrayRef],
    pub rows: usize,
    /// What `Op::RowIndex` is on the first row.
    pub row_base: i64,
}

/// What a loop made of a morsel.
#[derive(Clone, Debug, Default)]
pub struct LoopOutput {
    /// Rows that passed every filter; for an aggregate sink the rows that reached it (all of them
    /// where filters were turned into masks).
    pub rows: usize,
    /// For an emitting sink one entry per output column: the array, or `None` for a passenger.
    pub columns: Vec<Option<ArrayRef>>,
    /// Which rows of the morsel survived, when [`Loop::needs_selection`].
    pub selection: Option<UInt32Array>,
    /// For an aggregate sink one state per aggregate, over this morsel.
    pub aggs: Vec<AggState>,
    /// Compiled code gave the morsel up, and the interpreter has run it.
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
    fn run(&self, morsel: &Morsel<'_>) -> Result<LoopOutput, EvalError>;
}
