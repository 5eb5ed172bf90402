//! Intervals of floats.

use super::{Bounds, Range};
use crate::function::{Math1, kernel};

/// Numbers between two ends, both included, and perhaps NaN. There are none if `low > high`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Interval {
    pub low: f64,
    pub high: f64,
    pub nan: bool,
}

/// How far libm, or a vector kernel within a unit of it, may be from the true value: units in the last place.
const SLACK: i64 = 4;

impl Interval {
    pub(super) const ALL: Interval = Interval { low: f64::NEG_INFINITY, high: f64::INFINITY, nan: true };

    pub(super) fn point(x: f64) -> Interval {
        if x.is_nan() {
            Interval { low: f64::INFINITY, high: f64::NEG_INFINITY, nan: true }
        } else {
            Interval { low: x, high: x, nan: false }
        }
    }

    pub(super) fn of(bounds: Bounds) -> Interval {
        match bounds.range {
            Range::Float { low, high, nan } => Interval { low, high, nan },
            Range::Nothing | Range::Bool { .. } | Range::Int { .. } | Range::Any => Interval::ALL,
        }
    }

    pub(super) fn bounds(self) -> Bounds {
        Bounds::float(self.low, self.high, self.nan)
    }

    fn is_empty(self) -> bool {
        self.low > self.high
    }

    pub(super) fn holds(self, x: f64) -> bool {
        (self.low..=self.high).contains(&x)
    }

    fn has_infinity(self) -> bool {
        !self.is_empty() && (self.low == f64::NEG_INFINITY || self.high == f64::INFINITY)
    }

    /// The hull of results at the corners; one that is NaN says nothing about the numbers between.
    fn hull(results: &[f64], nan: bool) -> Interval {
        let mut out = Interval { low: f64::INFINITY, high: f64::NEG_INFINITY, nan };
        for x in results {
            if x.is_nan() {
                out.nan = true;
            } else {
                out.low = out.low.min(*x);
                out.high = out.high.max(*x);
            }
        }
        out
    }

    fn with(self, other: Interval, op: impl Fn(f64, f64) -> f64) -> Interval {
        let nan = self.nan || other.nan;
        if self.is_empty() || other.is_empty() {
            return Interval { nan, ..Interval::point(f64::NAN) };
        }
        let corners = [
            op(self.low, other.low),
            op(self.low, other.high),
            op(self.high, other.low),
            op(self.high, other.high),
        ];
        Interval::hull(&corners, nan)
    }

    pub(super) fn add(self, other: Interval) -> Interval {
        let sum = self.with(other, |a, b| a + b);
        // Opposite infinities have no sum, but what lies between them and the other ends does.
        if sum.nan && (self.has_infinity() && other.has_infinity()) { Interval::ALL } else { sum }
    }

    pub(super) fn neg(self) -> Interval {
        Interval { low: -self.high, high: -self.low, nan: self.nan }
    }

    pub(super) fn mul(self, other: Interval) -> Interval {
        let risky = (self.has_infinity() && other.holds(0.0)) || (other.has_infinity() && self.holds(0.0));
        let product = self.with(other, |a, b| a * b);
        if risky { Interval { nan: true, ..product.join(Interval::point(0.0)) } } else { product }
    }

    fn join(self, other: Interval) -> Interval {
        Interval { low: self.low.min(other.low), high: self.high.max(other.high), nan: self.nan || other.nan }
    }

    /// The quotient; a divisor that may be zero gives anything (where it is zero Python raises, or numpy goes on).
    pub(super) fn div(self, other: Interval) -> Interval {
        if other.holds(0.0) || (self.has_infinity() && other.has_infinity()) {
            return Interval::ALL;
        }
        self.with(other, |a, b| a / b)
    }

    pub(super) fn abs(self) -> Interval {
        if self.is_empty() || self.low >= 0.0 {
            return self;
        }
        if self.high <= 0.0 {
            return self.neg();
        }
        Interval { low: 0.0, high: self.high.max(-self.low), nan: self.nan }
    }

    /// A function that never falls and is computed exactly or by one rounding.
    pub(super) fn rising(self, f: impl Fn(f64) -> f64) -> Interval {
        if self.is_empty() {
            return self;
        }
        Interval::hull(&[f(self.low), f(self.high)], self.nan)
    }

    pub(super) fn widened(self) -> Interval {
        if self.is_empty() {
            return self;
        }
        Interval { low: steps(self.low, -SLACK), high: steps(self.high, SLACK), nan: self.nan }
    }

    fn within(self, low: f64, high: f64) -> Interval {
        Interval { low: self.low.max(low), high: self.high.min(high), nan: self.nan }
    }

    /// A function of `math`. Where it raises for some operands, the others are looked at.
    pub(super) fn math(self, function: Math1) -> Interval {
        let libm = |x: f64| kernel::libm(function)(x);
        let on = |low: f64, high: f64| {
            let inside = self.within(low, high);
            inside.rising(libm).widened()
        };
        const ALL: (f64, f64) = (f64::NEG_INFINITY, f64::INFINITY);
        if self.is_empty() {
            return self;
        }
        match function {
            Math1::Sqrt => {
                // Correctly rounded.
                let inside = self.within(-0.0, f64::INFINITY);
                inside.rising(f64::sqrt)
            }
            Math1::Exp | Math1::Exp2 => {
                let out = on(ALL.0, ALL.1);
                Interval { low: out.low.max(0.0), ..out }
            }
            Math1::Expm1
            | Math1::Atan
            | Math1::Sinh
            | Math1::Tanh
            | Math1::Asinh
            | Math1::Cbrt
            | Math1::Erf => on(ALL.0, ALL.1),
            Math1::Degrees | Math1::Radians => self.rising(libm),
            Math1::Log | Math1::Log2 | Math1::Log10 => on(0.0, f64::INFINITY),
            Math1::Log1p => on(-1.0, f64::INFINITY),
            Math1::Asin | Math1::Atanh => on(-1.0, 1.0),
            Math1::Acosh => on(1.0, f64::INFINITY),
            Math1::Acos => Interval { low: 0.0, high: 3.2, nan: self.nan },
            Math1::Erfc => Interval { low: 0.0, high: 2.0, nan: self.nan },
            Math1::Sin | Math1::Cos => Interval { low: -1.0, high: 1.0, nan: self.nan },
            Math1::Cosh => Interval { low: 1.0, high: f64::INFINITY, nan: self.nan },
            Math1::Tan => Interval { nan: self.nan, ..Interval::ALL },
        }
    }
}

/// The float some steps further.
fn steps(x: f64, n: i64) -> f64 {
    let mut x = x;
    for _step in 0..n.abs() {
        x = if n > 0 { x.next_up() } else { x.next_down() };
    }
    x
}
