//! Paths: on which rows a statement would run. Also the bools that they are made of, with what is known of opposites, so
//! that a guard that a branch has already excluded (`if y == 0: return 0` before `x / y`) leaves nothing.

use super::{Inliner, Made};
use crate::ir::{Lit, Op, ValueId};

/// The rows that get to a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Path {
    All,
    Where(Rows),
    Nowhere,
}

/// Rows on which a condition holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rows {
    pub condition: ValueId,
    /// Conditions that all hold there.
    pub all_of: Vec<ValueId>,
}

impl Inliner<'_, '_> {
    /// `not a`, the same value for the same operand, and `a` for its opposite.
    pub(super) fn not(&mut self, a: ValueId) -> Made<ValueId> {
        if let Some(not) = self.negated.get(&a) {
            return Ok(*not);
        }
        let known = match &self.b.value(a).op {
            Op::Const(Lit::Bool(b)) => Some(!b),
            _other => None,
        };
        let not = match known {
            Some(b) => self.lit(Lit::Bool(b)),
            None => self.inst(Op::Not, &[a])?,
        };
        self.negated.insert(a, not);
        self.negated.insert(not, a);
        Ok(not)
    }

    pub(super) fn and(&mut self, a: ValueId, b: ValueId) -> Made<ValueId> {
        match (self.known(a), self.known(b)) {
            (Some(true), _) => Ok(b),
            (_, Some(true)) => Ok(a),
            (Some(false), _) => Ok(a),
            (_, Some(false)) => Ok(b),
            (None, None) if a == b => Ok(a),
            (None, None) => self.inst(Op::And, &[a, b]),
        }
    }

    pub(super) fn or(&mut self, a: ValueId, b: ValueId) -> Made<ValueId> {
        match (self.known(a), self.known(b)) {
            (Some(false), _) => Ok(b),
            (_, Some(false)) => Ok(a),
            (Some(true), _) => Ok(a),
            (_, Some(true)) => Ok(b),
            (None, None) if a == b => Ok(a),
            (None, None) => self.inst(Op::Or, &[a, b]),
        }
    }

    /// The value of a constant bool.
    fn known(&self, a: ValueId) -> Option<bool> {
        match &self.b.value(a).op {
            Op::Const(Lit::Bool(b)) => Some(*b),
            _other => None,
        }
    }

    /// The rows of a path on which a condition holds too.
    pub(super) fn narrowed(&mut self, path: &Path, condition: ValueId) -> Made<Path> {
        match self.known(condition) {
            Some(true) => return Ok(path.clone()),
            Some(false) => return Ok(Path::Nowhere),
            None => {}
        }
        Ok(match path {
            Path::Nowhere => Path::Nowhere,
            Path::All => Path::Where(Rows { condition, all_of: vec![condition] }),
            Path::Where(rows) => {
                if rows.all_of.contains(&condition) {
                    return Ok(path.clone());
                }
                let opposite = self.negated.get(&condition);
                if opposite.is_some_and(|not| rows.all_of.contains(not)) {
                    return Ok(Path::Nowhere);
                }
                let both = self.and(rows.condition, condition)?;
                let all_of = rows.all_of.iter().copied().chain([condition]).collect();
                Path::Where(Rows { condition: both, all_of })
            }
        })
    }

    /// The rows of two paths, neither of which is nowhere.
    pub(super) fn either(&mut self, a: &Path, b: &Path) -> Made<Path> {
        Ok(match (a, b) {
            (Path::Nowhere, other) | (other, Path::Nowhere) => other.clone(),
            (Path::All, _) | (_, Path::All) => Path::All,
            (Path::Where(a), Path::Where(b)) => {
                let condition = self.or(a.condition, b.condition)?;
                let mut all_of: Vec<ValueId> =
                    a.all_of.iter().copied().filter(|c| b.all_of.contains(c)).collect();
                all_of.push(condition);
                Path::Where(Rows { condition, all_of })
            }
        })
    }

    /// The rows of a path bail where a condition (never null) holds.
    pub(super) fn bail_if(&mut self, condition: ValueId, path: &Path) -> Made<()> {
        let path = self.narrowed(path, condition)?;
        self.bail_on(&path)
    }

    /// The rows of a path bail unless a condition holds.
    pub(super) fn bail_unless(&mut self, condition: ValueId, path: &Path) -> Made<()> {
        let not = self.not(condition)?;
        self.bail_if(not, path)
    }

    /// The rows of a path bail.
    pub(super) fn bail_on(&mut self, path: &Path) -> Made<()> {
        let condition = match path {
            Path::Nowhere => return Ok(()),
            Path::All => self.lit(Lit::Bool(true)),
            Path::Where(rows) => rows.condition,
        };
        self.bail = Some(match self.bail {
            Some(before) => self.or(before, condition)?,
            None => condition,
        });
        Ok(())
    }
}
