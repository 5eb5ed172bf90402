//! Variants of a loop: the same computation for inputs with or without nulls.
//!
//! The runtime counts the nulls of each batch's columns and runs the variant made for them. In a
//! variant without nulls most validity disappears: a value that cannot be null has no validity to
//! compute.

use super::op::Op;
use super::pipeline::{Inst, Loop, Step, ValueId};
use super::types::{Lit, Ty};

/// What is known of a join's table once it is built.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TableFacts {
    /// No key has two rows.
    pub unique: bool,
    /// Per column whether it has nulls.
    pub nullable: Vec<bool>,
}

impl Loop {
    /// The loop for inputs that can hold nulls where `nullable` says so: sets the inputs' flags and
    /// infers every value's nullability anew. Inputs beyond the end of `nullable` stay as they are.
    /// Outputs keep their declared nullability, which is the schema's. Meant for flags that are
    /// false where the loop's own are true: columns that happen to have no nulls.
    #[must_use]
    pub fn with_nullable(&self, nullable: &[bool]) -> Loop {
        let mut out = self.clone();
        for (input, flag) in out.inputs.iter_mut().zip(nullable) {
            input.nullable = *flag;
        }
        out.infer_nullability();
        out
    }

    /// Infers the nullability of all values from that of the inputs. Values whose arguments do not
    /// fit their op (which the verifier reports) are left as they are.
    pub(super) fn infer_nullability(&mut self) {
        for step in &self.steps {
            let (Step::Let(v) | Step::Expand(v)) = step else { continue };
            let inst = &self.values[v.index()];
            let inferred = if let Op::Input(i) = inst.op {
                self.inputs.get(i as usize).map(|input| input.nullable)
            } else {
                let args = inst.args.iter().map(|a| &self.values[a.index()]);
                let sig: Vec<(Ty, bool)> = args.map(|a| (a.ty, a.nullable)).collect();
                inst.op.infer(&sig).ok().map(|(_, nullable)| nullable)
            };
            if let Some(nullable) = inferred {
                self.values[v.index()].nullable = nullable;
            }
        }
    }

    /// The loop for the tables that its joins turned out to have, one fact each: where keys are unique an
    /// expansion is a mere filter, and columns without nulls are not nullable. Other facts leave it alone.
    #[must_use]
    pub fn for_tables(&self, facts: &[TableFacts]) -> Loop {
        let unique = |join: u32| facts.get(join as usize).is_some_and(|f| f.unique);
        let mut out = Loop { steps: vec![], ..self.clone() };
        for inst in &mut out.values {
            if let Op::Fetch { join, column, nullable, .. } = &mut inst.op
                && let Some(fact) = facts.get(*join as usize)
            {
                *nullable &= fact.nullable.get(*column as usize).copied().unwrap_or(true);
            }
        }
        for step in &self.steps {
            let Step::Expand(v) = *step else {
                out.steps.push(*step);
                continue;
            };
            let Op::Expand { join, outer } = self.value(v).op else { continue };
            if !unique(join) {
                out.steps.push(*step);
                continue;
            }
            let entry = self.value(v).args[0];
            let mut add = |op: Op, args: Vec<ValueId>, ty: Ty| {
                let id = ValueId(out.values.len() as u32);
                out.values.push(Inst { op, args, under: None, ty, nullable: false });
                out.steps.push(Step::Let(id));
                id
            };
            if outer {
                // The entry itself, under another name.
                let never = add(Op::Const(Lit::Bool(false)), vec![], Ty::Bool);
                out.values[v.index()].op = Op::NullIf;
                out.values[v.index()].args = vec![entry, never];
            } else {
                let found = add(Op::IsValid, vec![entry], Ty::Bool);
                let zero = add(Op::Const(Lit::U32(0)), vec![], Ty::U32);
                out.values[v.index()].op = Op::Coalesce;
                out.values[v.index()].args = vec![entry, zero];
                out.steps.push(Step::Filter(found));
            }
            out.steps.push(Step::Let(v));
        }
        out.infer_nullability();
        out
    }

    /// The form in which a loop is compiled and interpreted: the variant for these nulls,
    /// simplified, with filters turned into masks where that pays. Deterministic, so both back ends
    /// get the same loop from the same arguments, and the same float sums.
    #[must_use]
    pub fn prepared(&self, nullable: &[bool]) -> Loop {
        self.with_nullable(nullable).simplified().filters_to_masks().simplified()
    }
}

#[cfg(test)]
mod tests {
    use super::super::verify;
    use super::*;

    #[test]
    fn a_variant_without_nulls_has_no_nullable_values() {
        let text = "loop {
  input 0: i64? as Int64
  input 1: i64? as Int64
  v0 = input 0
  v1 = input 1
  v2 = add v0, v1
  v3 = coalesce v0, v2
  v4 = cmp.lt v3, v1
  filter v4
  emit v2 as Int64?
}";
        let nullable: Loop = text.parse().unwrap();
        verify(&nullable).unwrap();
        assert!(nullable.values.iter().all(|v| v.nullable));
        let half = nullable.with_nullable(&[false, true]);
        verify(&half).unwrap();
        assert_eq!(
            half.values.iter().map(|v| v.nullable).collect::<Vec<_>>(),
            [false, true, true, false, true]
        );
        let none = nullable.with_nullable(&[false, false]);
        verify(&none).unwrap();
        assert!(none.values.iter().all(|v| !v.nullable));
        assert_eq!(none.with_nullable(&[true, true]), nullable);
    }
}
