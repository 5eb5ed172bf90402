//! What becomes of each output column: made by the loop, shared with an input, or a repeated constant.

use super::schedule::emitted_outside;
use crate::ir::{Emit, Lit, Loop, Op, Sink, Ty, ValueId};
use arrow::datatypes::DataType;

/// A buffer, or for strings a builder, that the loop writes.
#[derive(Debug)]
pub(super) struct Slot {
    pub value: ValueId,
    pub ty: Ty,
    /// Whether a validity bitmap is written.
    pub nullable: bool,
    /// The array type of a string slot.
    pub text: Option<DataType>,
}

/// Where an output column comes from.
#[derive(Debug)]
pub(super) enum Column {
    Passenger,
    /// The morsel's own array, under this type.
    Input {
        index: usize,
        data_type: DataType,
    },
    /// All rows hold this.
    Constant {
        lit: Lit,
        data_type: DataType,
    },
    Slot {
        slot: usize,
        data_type: DataType,
    },
}

#[derive(Debug)]
pub(super) struct Outputs {
    pub slots: Vec<Slot>,
    pub columns: Vec<Column>,
}

impl Outputs {
    pub(super) fn of(lp: &Loop) -> Outputs {
        let mut out = Outputs { slots: Vec::new(), columns: Vec::new() };
        let Sink::Emit(columns) = &lp.sink else { return out };
        for emit in columns {
            let outside = emitted_outside(lp, emit);
            let Emit::Value { value, data_type, .. } = emit else {
                out.columns.push(Column::Passenger);
                continue;
            };
            let inst = lp.value(*value);
            let column = match &inst.op {
                Op::Const(lit) => Column::Constant { lit: lit.clone(), data_type: data_type.clone() },
                Op::Input(i) if outside => Column::Input { index: *i as usize, data_type: data_type.clone() },
                _computed => {
                    let text = (inst.ty == Ty::Str).then(|| data_type.clone());
                    let known = out.slots.iter().position(|s| s.value == *value && s.text == text);
                    let slot = known.unwrap_or_else(|| {
                        let slot = Slot { value: *value, ty: inst.ty, nullable: inst.nullable, text };
                        out.slots.push(slot);
                        out.slots.len() - 1
                    });
                    Column::Slot { slot, data_type: data_type.clone() }
                }
            };
            out.columns.push(column);
        }
        out
    }

    /// The slot whose buffer holds the value as the loop computes it: fixed-width values only.
    pub(super) fn direct(&self, value: ValueId) -> Option<usize> {
        self.slots.iter().position(|s| s.value == value && s.ty.width().is_some() && s.ty != Ty::Str)
    }
}
