//! Comparison, three-valued logic and choice.

use super::super::op::CmpOp;
use super::super::types::Lit;
use super::column::{Column, with_native};
use super::rows::{Fault, Rows, argument, first_ty};
use crate::run::EvalError;
use std::cmp::Ordering;

type Evaluated<'a> = Result<Column<'a>, EvalError>;

/// The order of SQL values: floats by total order after -0.0 became 0.0, strings by bytes.
pub(super) trait Ordered: Copy {
    fn order(self, other: Self) -> Ordering;
}

macro_rules! plainly_ordered {
    ($($t:ty),*) => { $(
        impl Ordered for $t {
            fn order(self, other: Self) -> Ordering { self.cmp(&other) }
        }
    )* };
}
plainly_ordered!(bool, i8, i16, i32, i64, i128, u8, u16, u32, u64);

impl Ordered for &str {
    fn order(self, other: Self) -> Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}

impl Ordered for f32 {
    fn order(self, other: Self) -> Ordering {
        // Adding 0.0 turns -0.0 into 0.0 and could change a NaN; the test leaves NaNs alone.
        let plain = |x: f32| if x == 0.0 { 0.0 } else { x };
        plain(self).total_cmp(&plain(other))
    }
}

impl Ordered for f64 {
    fn order(self, other: Self) -> Ordering {
        let plain = |x: f64| if x == 0.0 { 0.0 } else { x };
        plain(self).total_cmp(&plain(other))
    }
}

fn holds(op: CmpOp, order: Ordering) -> bool {
    match op {
        CmpOp::Eq => order.is_eq(),
        CmpOp::Ne => order.is_ne(),
        CmpOp::Lt => order.is_lt(),
        CmpOp::Le => order.is_le(),
        CmpOp::Gt => order.is_gt(),
        CmpOp::Ge => order.is_ge(),
    }
}

pub(super) fn cmp<'a>(op: CmpOp, args: &[&Column<'a>], rows: &mut Rows<'_, 'a>) -> Evaluated<'a> {
    with_native!(first_ty(args)?, T => rows.strict2(args, |a: T, b: T| Ok(Some(holds(op, a.order(b))))))
}

pub(super) fn distinct<'a>(args: &[&Column<'a>], rows: &Rows<'_, 'a>) -> Evaluated<'a> {
    with_native!(first_ty(args)?, T => {
        let (a, av) = argument::<T>(args, 0)?;
        let (b, bv) = argument::<T>(args, 1)?;
        Ok(Column::from_options((0..rows.n).map(|i| {
            Some(av[i] != bv[i] || (av[i] && a[i].order(b[i]).is_ne()))
        })))
    })
}

pub(super) fn in_set<'a>(set: &'a [Lit], args: &[&Column<'a>], rows: &mut Rows<'_, 'a>) -> Evaluated<'a> {
    with_native!(first_ty(args)?, T => {
        let list: Vec<Column<'a>> = set.iter().map(|l| Column::constant(l, 1)).collect();
        let list: Vec<T> = list.iter().map(|c| Ok(argument::<T>(&[c], 0)?.0[0])).collect::<Result<_, _>>()?;
        rows.strict1(args, |a: T| Ok(Some(list.iter().any(|l| a.order(*l).is_eq()))))
    })
}

pub(super) fn and<'a>(args: &[&Column<'a>], rows: &Rows<'_, 'a>) -> Evaluated<'a> {
    let (a, av) = argument::<bool>(args, 0)?;
    let (b, bv) = argument::<bool>(args, 1)?;
    Ok(Column::from_options((0..rows.n).map(|i| {
        let (a, b) = (av[i].then_some(a[i]), bv[i].then_some(b[i]));
        match (a, b) {
            (Some(false), _) | (_, Some(false)) => Some(false),
            (Some(true), Some(true)) => Some(true),
            (None, _) | (_, None) => None,
        }
    })))
}

pub(super) fn or<'a>(args: &[&Column<'a>], rows: &Rows<'_, 'a>) -> Evaluated<'a> {
    let (a, av) = argument::<bool>(args, 0)?;
    let (b, bv) = argument::<bool>(args, 1)?;
    Ok(Column::from_options((0..rows.n).map(|i| {
        let (a, b) = (av[i].then_some(a[i]), bv[i].then_some(b[i]));
        match (a, b) {
            (Some(true), _) | (_, Some(true)) => Some(true),
            (Some(false), Some(false)) => Some(false),
            (None, _) | (_, None) => None,
        }
    })))
}

pub(super) fn is_valid<'a>(args: &[&Column<'a>]) -> Evaluated<'a> {
    with_native!(first_ty(args)?, T => {
        let (_, valid) = argument::<T>(args, 0)?;
        Ok(Column::from_options(valid.iter().map(|v| Some(*v))))
    })
}

pub(super) fn is_true<'a>(args: &[&Column<'a>]) -> Evaluated<'a> {
    let (a, valid) = argument::<bool>(args, 0)?;
    Ok(Column::from_options(a.iter().zip(valid).map(|(a, v)| Some(*a && *v))))
}

pub(super) fn select<'a>(args: &[&Column<'a>], rows: &Rows<'_, 'a>) -> Evaluated<'a> {
    let (c, cv) = argument::<bool>(args, 0)?;
    with_native!(first_ty(&args[1..])?, T => {
        let (a, av) = argument::<T>(args, 1)?;
        let (b, bv) = argument::<T>(args, 2)?;
        Ok(Column::from_options((0..rows.n).map(|i| {
            if c[i] && cv[i] { av[i].then_some(a[i]) } else { bv[i].then_some(b[i]) }
        })))
    })
}

pub(super) fn coalesce<'a>(args: &[&Column<'a>], rows: &Rows<'_, 'a>) -> Evaluated<'a> {
    with_native!(first_ty(args)?, T => {
        let (a, av) = argument::<T>(args, 0)?;
        let (b, bv) = argument::<T>(args, 1)?;
        Ok(Column::from_options((0..rows.n).map(|i| {
            if av[i] { Some(a[i]) } else { bv[i].then_some(b[i]) }
        })))
    })
}

pub(super) fn null_if<'a>(args: &[&Column<'a>], rows: &Rows<'_, 'a>) -> Evaluated<'a> {
    let (c, cv) = argument::<bool>(args, 1)?;
    with_native!(first_ty(args)?, T => {
        let (a, av) = argument::<T>(args, 0)?;
        Ok(Column::from_options((0..rows.n).map(|i| (av[i] && !(c[i] && cv[i])).then_some(a[i]))))
    })
}

pub(super) fn guard<'a>(message: &str, args: &[&Column<'a>], rows: &mut Rows<'_, 'a>) -> Evaluated<'a> {
    with_native!(first_ty(args)?, T => rows.strict2::<T, bool, T>(args, |a, holds| {
        if holds { Ok(Some(a)) } else { Err(Fault::Function(message.to_owned())) }
    }))
}
