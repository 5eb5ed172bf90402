//! Which operands a wanted result needs: the outermost ones for which [`possible`] does not exclude it, found by halving.
//!
//! Halves of a range are looked at from the outside in, so for a monotone function the search takes some 64 steps from
//! each side. Ranges of floats are halved by their bits, in the order of the numbers.

use super::walk::possible;
use super::{Bounds, Range};
use crate::function::interp::Datum;
use crate::function::{Base, Compare, Function};

/// The operands that may give a wanted result.
#[derive(Clone, Debug, PartialEq)]
pub enum Needed {
    /// None of them, so no row at all.
    Nothing,
    /// Only those from `low` to `high`, both included, where there are such ends; no None. Without `high` NaN too, as in
    /// SQL's `x >= low`.
    Within { low: Option<Datum>, high: Option<Datum> },
    /// Nothing is excluded.
    Anything,
}

/// Looks at a half at most so often; the outermost operand found so far is right, if not the best.
const MOST_LOOKS: usize = 600;

/// Which values of parameter `at` may give a result for which `result compare constant` holds in SQL, whatever the other
/// operands are. A NaN in a column counts as one without sign, which SQL has above all numbers.
pub fn needed_operands(function: &Function, at: usize, compare: Compare, constant: &Datum) -> Needed {
    let Some(param) = function.params.get(at) else { return Needed::Anything };
    let results = |bounds: Bounds| {
        let mut args: Vec<Bounds> = function.params.iter().map(|p| Bounds::of_type(p.ty)).collect();
        args[at] = bounds;
        possible(function, &args)
    };
    let base = param.ty.base;
    if param.ty.optional && results(Bounds::NONE).may_compare(compare, constant) {
        return Needed::Anything;
    }
    let mut nan = false;
    if base == Base::Float {
        let only_nan = Bounds::of(Range::Float { low: f64::INFINITY, high: f64::NEG_INFINITY, nan: true });
        let result = results(only_nan);
        nan = match result.range {
            // It goes through, and is above all numbers again.
            Range::Float { low, high, nan: true } if low > high => match compare {
                Compare::Gt | Compare::Ge | Compare::Ne => true,
                Compare::Lt | Compare::Le | Compare::Eq => false,
            },
            Range::Nothing | Range::Bool { .. } | Range::Int { .. } | Range::Float { .. } | Range::Any => {
                result.may_compare(compare, constant)
            }
        };
    }
    let (first, last) = match base {
        Base::Float => (key(f64::NEG_INFINITY), key(f64::INFINITY)),
        Base::Int | Base::Date | Base::DateTime => (i64::MIN, i64::MAX),
        Base::Bool | Base::Str => return Needed::Anything,
    };
    let may = |low: i64, high: i64| {
        let within = match base {
            Base::Float => Bounds::float(float_at(low), float_at(high), false),
            Base::Bool | Base::Int | Base::Str | Base::Date | Base::DateTime => Bounds::int(low, high),
        };
        results(within).may_compare(compare, constant)
    };
    let datum = |at: i64| match base {
        Base::Float => Datum::Float(float_at(at)),
        Base::Date => Datum::Date(at),
        Base::DateTime => Datum::DateTime(at),
        Base::Bool | Base::Int | Base::Str => Datum::Int(at),
    };
    let Some(low) = outermost(first, last, true, &may, &mut MOST_LOOKS.clone()) else {
        // Then the least that may do is NaN.
        return if nan { Needed::Within { low: Some(datum(last)), high: None } } else { Needed::Nothing };
    };
    let high =
        if nan { last } else { outermost(low, last, false, &may, &mut MOST_LOOKS.clone()).unwrap_or(low) };
    if low == first && high == last {
        return Needed::Anything;
    }
    Needed::Within { low: (low != first).then(|| datum(low)), high: (high != last).then(|| datum(high)) }
}

/// The least (or greatest) place that may do, or one beyond it.
fn outermost(
    low: i64,
    high: i64,
    least: bool,
    may: &dyn Fn(i64, i64) -> bool,
    looks: &mut usize,
) -> Option<i64> {
    let outer = if least { low } else { high };
    if *looks == 0 {
        return Some(outer);
    }
    *looks -= 1;
    if !may(low, high) {
        return None;
    }
    if low == high {
        return Some(outer);
    }
    let middle = ((i128::from(low) + i128::from(high)).div_euclid(2)) as i64;
    let halves = [(low, middle), (middle + 1, high)];
    let (near, far) = if least { (halves[0], halves[1]) } else { (halves[1], halves[0]) };
    outermost(near.0, near.1, least, may, looks).or_else(|| outermost(far.0, far.1, least, may, looks))
}

/// Where a float stands among all floats; both zeros at 0.
fn key(x: f64) -> i64 {
    let bits = x.to_bits() as i64;
    if bits < 0 { i64::MIN.wrapping_sub(bits) } else { bits }
}

/// The float at a place.
fn float_at(key: i64) -> f64 {
    let bits = if key < 0 { i64::MIN.wrapping_sub(key) } else { key };
    f64::from_bits(bits as u64)
}
