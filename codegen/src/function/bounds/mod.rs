//! Which results a function can have for operands within bounds, and which operands a wanted result needs: what lets a
//! predicate over a function prune row groups by the statistics of its column.
//!
//! The bounds hold for what *Python* returns, also on rows that bail in compiled code: an int that leaves 64 bits goes on
//! as "anything" ([`Bounds::ANYTHING`]). Where Python raises there is no result, so nothing is said. Floats are enclosed
//! exactly where operations round correctly, because rounding is monotone; results of libm are widened by a few units in
//! the last place.

mod floats;
mod search;
mod walk;

pub use search::{Needed, Span, Wanted, needed_operands};
pub use walk::{Exceptions, possible};

use super::interp::Datum;
use super::{Base, Compare, Type};

/// The values that may be, besides None.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Range {
    /// No value at all: always None, or always an error.
    Nothing,
    Bool {
        no: bool,
        yes: bool,
    },
    /// Ints, and dates and datetimes as days and microseconds: both ends included.
    Int {
        low: i64,
        high: i64,
    },
    /// Both ends included; `low > high` if only NaN may be.
    Float {
        low: f64,
        high: f64,
        nan: bool,
    },
    /// Anything whatever.
    Any,
}

/// What a value may be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bounds {
    pub range: Range,
    pub none: bool,
}

impl Bounds {
    pub const ANYTHING: Bounds = Bounds { range: Range::Any, none: true };
    pub const NONE: Bounds = Bounds { range: Range::Nothing, none: true };

    pub fn of(range: Range) -> Bounds {
        Bounds { range, none: false }
    }

    pub fn int(low: i64, high: i64) -> Bounds {
        Bounds::of(Range::Int { low, high })
    }

    pub fn float(low: f64, high: f64, nan: bool) -> Bounds {
        Bounds::of(Range::Float { low, high, nan })
    }

    fn bool(no: bool, yes: bool) -> Bounds {
        Bounds::of(Range::Bool { no, yes })
    }

    /// All values of a type that are within 64 bits: what a column may hold.
    pub fn of_type(ty: Type) -> Bounds {
        let range = match ty.base {
            Base::Bool => Range::Bool { no: true, yes: true },
            Base::Int | Base::Date | Base::DateTime => Range::Int { low: i64::MIN, high: i64::MAX },
            Base::Float => Range::Float { low: f64::NEG_INFINITY, high: f64::INFINITY, nan: true },
            Base::Str => Range::Any,
        };
        Bounds { range, none: ty.optional }
    }

    /// Whether a value is within.
    pub fn contains(&self, value: &Datum) -> bool {
        match (value, self.range) {
            (Datum::None, _) => self.none,
            (_, Range::Any) => true,
            (Datum::Bool(b), Range::Bool { no, yes }) => {
                if *b {
                    yes
                } else {
                    no
                }
            }
            (Datum::Int(i) | Datum::Date(i) | Datum::DateTime(i), Range::Int { low, high }) => {
                (low..=high).contains(i)
            }
            (Datum::Float(x), Range::Float { low, high, nan }) => {
                if x.is_nan() {
                    nan
                } else {
                    (low..=high).contains(x)
                }
            }
            (
                Datum::Bool(_)
                | Datum::Int(_)
                | Datum::Float(_)
                | Datum::Str(_)
                | Datum::Date(_)
                | Datum::DateTime(_),
                _,
            ) => false,
        }
    }

    /// Whether `value compare constant` may hold in SQL, where None compares with nothing and NaN is above all numbers,
    /// or below them if it has a sign, which nobody knows here.
    pub fn may_compare(&self, compare: Compare, constant: &Datum) -> bool {
        let (less, equal, greater) = match (self.range, constant) {
            (Range::Nothing, _) => return false,
            (Range::Int { low, high }, Datum::Int(c) | Datum::Date(c) | Datum::DateTime(c)) => {
                (low < *c, (low..=high).contains(c), high > *c)
            }
            (Range::Float { low, high, nan: false }, Datum::Float(c)) if !c.is_nan() => {
                (low < *c, (low..=high).contains(c), high > *c)
            }
            (Range::Bool { no, yes }, Datum::Bool(c)) => (no && *c, if *c { yes } else { no }, yes && !*c),
            (Range::Int { .. } | Range::Float { .. } | Range::Bool { .. } | Range::Any, _) => return true,
        };
        match compare {
            Compare::Eq => equal,
            Compare::Ne => less || greater,
            Compare::Lt => less,
            Compare::Le => less || equal,
            Compare::Gt => greater,
            Compare::Ge => greater || equal,
        }
    }

    /// The values of both.
    fn join(self, other: Bounds) -> Bounds {
        let range = match (self.range, other.range) {
            (Range::Nothing, range) | (range, Range::Nothing) => range,
            (Range::Bool { no: a, yes: b }, Range::Bool { no: c, yes: d }) => {
                Range::Bool { no: a || c, yes: b || d }
            }
            (Range::Int { low: a, high: b }, Range::Int { low: c, high: d }) => {
                Range::Int { low: a.min(c), high: b.max(d) }
            }
            (Range::Float { low: a, high: b, nan: m }, Range::Float { low: c, high: d, nan: n }) => {
                Range::Float { low: a.min(c), high: b.max(d), nan: m || n }
            }
            (Range::Bool { .. } | Range::Int { .. } | Range::Float { .. } | Range::Any, _) => Range::Any,
        };
        Bounds { range, none: self.none || other.none }
    }
}
