//! What crosses a cut between two loops, and the values that it stands for.

use crate::expr::Col;
use arrow::datatypes::{DataType, FieldRef};
use fuseline_codegen::ir::{Agg, Input, Ty, ValueId};

/// Something that crosses a cut.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Carried {
    pub col: Col,
    pub field: FieldRef,
}

impl Carried {
    /// Whether this is the column wanted, in the Arrow type wanted.
    pub(super) fn serves(&self, want: &Col) -> bool {
        match (&self.col, want) {
            (Col::Value { id: a, .. }, Col::Value { id: b, data_type }) => {
                a == b && (data_type.is_null() || data_type == self.field.data_type())
            }
            (Col::Source(a), Col::Source(b)) => a == b,
            (Col::Call(a), Col::Call(b)) => a == b,
            (Col::Source(_) | Col::Call(_) | Col::Value { .. }, _) => false,
        }
    }
}

pub(super) fn position(columns: &[Carried], col: &Col) -> Result<usize, String> {
    columns
        .iter()
        .position(|c| c.serves(col))
        .ok_or_else(|| format!("column {col:?} does not reach its segment"))
}

/// A computed column whose Arrow type does not matter.
pub(super) fn any_type(id: ValueId) -> Col {
    Col::Value { id, data_type: DataType::Null }
}

/// The values among the columns.
pub(super) fn computed(cols: &[Col]) -> impl Iterator<Item = ValueId> {
    cols.iter().filter_map(|c| match c {
        Col::Value { id, .. } => Some(*id),
        Col::Source(_) | Col::Call(_) => None,
    })
}

/// The values that aggregates read, in their order.
pub(super) fn operands(aggs: &[Agg]) -> impl Iterator<Item = ValueId> {
    aggs.iter().flat_map(|a| a.arg.into_iter().chain(a.filter))
}

/// Gives the values that aggregates read their new names, in the order of [`operands`].
pub(super) fn rename(
    aggs: &mut [Agg],
    next: &mut impl FnMut() -> Result<ValueId, &'static str>,
) -> Result<(), String> {
    for agg in aggs {
        if let Some(v) = &mut agg.arg {
            *v = next()?;
        }
        if let Some(v) = &mut agg.filter {
            *v = next()?;
        }
    }
    Ok(())
}

/// Whether a filtering loop carries a column of this type itself.
pub(super) fn compacts(data_type: &DataType) -> bool {
    Input::physical(data_type).is_some_and(|ty| ty != Ty::Str)
}

/// The Arrow type in which a computed value crosses a cut.
pub(super) fn natural(ty: Ty) -> DataType {
    ty.natural()
}
