//! Joins, row by row: looking a key up, the pairs of an entry, a build row's values.

use super::super::op::Op;
use super::super::types::Ty;
use super::arrays;
use super::column::{Column, Data};
use super::rows::argument;
use super::sink::key_word;
use crate::joins::JoinSide;
use crate::run::{EvalError, Morsel};

fn side<'a>(morsel: &Morsel<'a>, join: u32) -> Result<&'a JoinSide, EvalError> {
    let sides: &'a [_] = morsel.joins;
    match sides.get(join as usize) {
        Some(side) => Ok(side),
        None => Err(EvalError::Binding(format!("join {join} has no build side"))),
    }
}

/// The entry of each row's key.
pub(super) fn probe<'a>(
    morsel: &Morsel<'a>,
    join: u32,
    keys: &[&Column<'a>],
) -> Result<Column<'a>, EvalError> {
    let side = side(morsel, join)?;
    if side.layout().tys() != keys.iter().map(|k| k.ty()).collect::<Vec<_>>() {
        return Err(EvalError::Binding(format!("the keys of join {join} are of other types")));
    }
    let rows = keys.first().map_or(0, |k| k.valid.len());
    Ok(Column::from_options((0..rows).map(|j| {
        let words: Vec<_> = keys.iter().map(|k| key_word(k, j)).collect();
        side.find(&words)
    })))
}

/// For each row of each pair its position among the entries, and the build row.
pub(super) fn pairs(
    morsel: &Morsel<'_>,
    op: &Op,
    entries: &Column<'_>,
) -> Result<Vec<(usize, Option<u32>)>, EvalError> {
    let Op::Expand { join, outer } = op else {
        return Err(EvalError::Binding(format!("{op:?} makes no pairs")));
    };
    let side = side(morsel, *join)?;
    let (values, valid) = argument::<u32>(&[entries], 0)?;
    let mut pairs = vec![];
    for (i, entry) in values.iter().enumerate() {
        if valid[i] {
            pairs.extend(side.table().rows_of(*entry).iter().map(|row| (i, Some(*row))));
        } else if *outer {
            pairs.push((i, None));
        }
    }
    Ok(pairs)
}

/// A column of the build side.
pub(super) fn fetch<'a>(
    morsel: &Morsel<'a>,
    (join, column, ty): (u32, u32, Ty),
    args: &[&Column<'a>],
) -> Result<Column<'a>, EvalError> {
    let side = side(morsel, join)?;
    let (rows, valid) = argument::<u32>(args, 0)?;
    let rows: Vec<Option<usize>> = rows.iter().zip(valid).map(|(r, v)| v.then_some(*r as usize)).collect();
    arrays::pick(side.column(column, ty)?, ty, &rows)
}

/// Notes the build rows that matched.
pub(super) fn visit(morsel: &Morsel<'_>, join: u32, rows: &Column<'_>) -> Result<(), EvalError> {
    let side = side(morsel, join)?;
    let Data::U32(values) = &rows.data else {
        return Err(EvalError::Binding("a build row is no u32".to_owned()));
    };
    for (row, valid) in values.iter().zip(&rows.valid) {
        if *valid {
            side.table().visit(*row);
        }
    }
    Ok(())
}
