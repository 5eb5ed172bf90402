//! Evaluating a function row by row: strictness, `under`, and the note of the first failure.

use super::super::types::Ty;
use super::column::{Column, Native};
use crate::run::EvalError;

/// Why a row failed, before it is known which row of the morsel it was.
#[derive(Clone, Debug)]
pub(super) enum Fault {
    DivideByZero,
    Overflow(String),
    Cast(String),
    Function(String),
}

impl Fault {
    pub fn at(self, row: usize) -> EvalError {
        match self {
            Fault::DivideByZero => EvalError::DivideByZero { row },
            Fault::Overflow(message) => EvalError::Overflow { row, message },
            Fault::Cast(message) => EvalError::Cast { row, message },
            Fault::Function(message) => EvalError::Function { row, message },
        }
    }
}

/// What a function gives for a row: a value, a null, or a failure.
pub(super) type RowResult<T> = Result<Option<T>, Fault>;

/// The rows an instruction works on.
pub(super) struct Rows<'r, 'a> {
    pub n: usize,
    under: Option<&'r Column<'a>>,
    fault: Option<(usize, Fault)>,
}

impl<'r, 'a> Rows<'r, 'a> {
    pub fn new(n: usize, under: Option<&'r Column<'a>>) -> Rows<'r, 'a> {
        Rows { n, under, fault: None }
    }

    /// The first row that failed, if any.
    pub fn into_fault(self) -> Option<(usize, Fault)> {
        self.fault
    }

    fn active(&self, i: usize) -> bool {
        self.under.is_none_or(|u| u.is_true(i))
    }

    /// The result of row `i`, computed only where the instruction counts; a failure is noted and
    /// becomes a null.
    fn row<T>(&mut self, i: usize, compute: impl FnOnce() -> RowResult<T>) -> Option<T> {
        if !self.active(i) {
            return None;
        }
        match compute() {
            Ok(value) => value,
            Err(fault) => {
                if self.fault.is_none() {
                    self.fault = Some((i, fault));
                }
                None
            }
        }
    }

    /// A function of one argument, evaluated where it is valid.
    pub fn strict1<A: Native<'a>, R: Native<'a>>(
        &mut self,
        args: &[&Column<'a>],
        f: impl Fn(A) -> RowResult<R>,
    ) -> Result<Column<'a>, EvalError> {
        let (a, av) = argument::<A>(args, 0)?;
        Ok(Column::from_options((0..self.n).map(|i| if av[i] { self.row(i, || f(a[i])) } else { None })))
    }

    /// A function of two arguments, evaluated where both are valid.
    pub fn strict2<A: Native<'a>, B: Native<'a>, R: Native<'a>>(
        &mut self,
        args: &[&Column<'a>],
        f: impl Fn(A, B) -> RowResult<R>,
    ) -> Result<Column<'a>, EvalError> {
        let (a, av) = argument::<A>(args, 0)?;
        let (b, bv) = argument::<B>(args, 1)?;
        Ok(Column::from_options(
            (0..self.n).map(|i| if av[i] && bv[i] { self.row(i, || f(a[i], b[i])) } else { None }),
        ))
    }

    /// A function of three arguments, evaluated where all are valid.
    pub fn strict3<A: Native<'a>, B: Native<'a>, C: Native<'a>, R: Native<'a>>(
        &mut self,
        args: &[&Column<'a>],
        f: impl Fn(A, B, C) -> RowResult<R>,
    ) -> Result<Column<'a>, EvalError> {
        let (a, av) = argument::<A>(args, 0)?;
        let (b, bv) = argument::<B>(args, 1)?;
        let (c, cv) = argument::<C>(args, 2)?;
        Ok(Column::from_options(
            (0..self.n).map(
                |i| {
                    if av[i] && bv[i] && cv[i] { self.row(i, || f(a[i], b[i], c[i])) } else { None }
                },
            ),
        ))
    }
}

/// Values and validity of an argument.
pub(super) fn argument<'c, 'a, T: Native<'a>>(
    args: &[&'c Column<'a>],
    i: usize,
) -> Result<(&'c [T], &'c [bool]), EvalError> {
    let column = args.get(i).ok_or_else(|| EvalError::Binding(format!("argument {i} is missing")))?;
    let values = T::slice(&column.data).ok_or_else(|| mistyped(column.ty(), T::TY))?;
    Ok((values, &column.valid))
}

/// The type of the first argument.
pub(super) fn first_ty(args: &[&Column<'_>]) -> Result<Ty, EvalError> {
    args.first().map(|c| c.ty()).ok_or_else(|| EvalError::Binding("argument 0 is missing".to_owned()))
}

pub(super) fn mistyped(found: Ty, wanted: Ty) -> EvalError {
    EvalError::Binding(format!("an argument is {found} where {wanted} is expected"))
}

pub(super) fn unexpected(found: Ty) -> EvalError {
    EvalError::Binding(format!("an argument of type {found} is not taken here"))
}
