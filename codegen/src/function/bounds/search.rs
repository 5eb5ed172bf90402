//! Which operands a wanted result needs: all but those of the gaps in which [`possible`](super::possible) excludes it.
//!
//! The numbers are cut into pieces: of ints by powers of two, of floats by their bits, in the order of the numbers. What is
//! excluded piece by piece is a gap, whose ends are then moved outward by halving the pieces beside it. For a
//! monotone function that takes some 64 steps from each side.

use super::walk::{Exceptions, Walks};
use super::{Bounds, Range};
use crate::function::interp::Datum;
use crate::function::{Base, Compare, Function};

/// The operands that may give a wanted result.
#[derive(Clone, Debug, PartialEq)]
pub enum Needed {
    /// None of them, so no row at all.
    Nothing,
    /// Only those of some span, ascending; no None.
    Within(Vec<Span>),
    /// Nothing is excluded.
    Anything,
}

/// From `low` to `high`, both included, where there are such ends. Without `high` NaN too, as in SQL's `x >= low`.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    pub low: Option<Datum>,
    pub high: Option<Datum>,
}

/// Which results are wanted: those that compare so with a constant in SQL.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'w> {
    pub compare: Compare,
    pub constant: &'w Datum,
    /// Whether operands for which Python raises are needed.
    pub exceptions: Exceptions,
}

/// Looks at a half at most so often for one end of a gap; the outermost operand found so far is right, if not the best.
const MOST_LOOKS: usize = 300;
/// More gaps are not worth their comparisons.
const MOST_GAPS: usize = 4;

/// Which values of parameter `at` may give a wanted result, while the other operands are within bounds (that of `at` is
/// not looked at). A NaN in a column counts as one without sign, which SQL has above all numbers.
pub fn needed_operands(function: &Function, args: &[Bounds], at: usize, wanted: Wanted<'_>) -> Needed {
    let (Some(param), Some(walks)) = (function.params.get(at), Walks::of(function)) else {
        return Needed::Anything;
    };
    let results = |bounds: Bounds| {
        let mut args = args.to_vec();
        args[at] = bounds;
        walks.possible(&args, wanted.exceptions)
    };
    let may_be = |bounds: Bounds| results(bounds).may_compare(wanted.compare, wanted.constant);
    let base = param.ty.base;
    if args.len() != function.params.len() || param.ty.optional && may_be(Bounds::NONE) {
        return Needed::Anything;
    }
    let mut nan = false;
    if base == Base::Float {
        let only_nan = Bounds::of(Range::Float { low: f64::INFINITY, high: f64::NEG_INFINITY, nan: true });
        let result = results(only_nan);
        nan = match result.range {
            // It goes through, and is above all numbers again.
            Range::Float { low, high, nan: true } if low > high => match wanted.compare {
                Compare::Gt | Compare::Ge | Compare::Ne => true,
                Compare::Lt | Compare::Le | Compare::Eq => false,
            },
            Range::Nothing | Range::Bool { .. } | Range::Int { .. } | Range::Float { .. } | Range::Any => {
                result.may_compare(wanted.compare, wanted.constant)
            }
        };
    }
    let (first, last) = match base {
        Base::Float => (key(f64::NEG_INFINITY), key(f64::INFINITY)),
        Base::Int | Base::Date | Base::DateTime => (i64::MIN, i64::MAX),
        Base::Bool | Base::Str => return Needed::Anything,
    };
    let may = |low: i64, high: i64| {
        may_be(match base {
            Base::Float => Bounds::float(float_at(low), float_at(high), false),
            Base::Bool | Base::Int | Base::Str | Base::Date | Base::DateTime => Bounds::int(low, high),
        })
    };
    let datum = |at: i64| match base {
        Base::Float => Datum::Float(float_at(at)),
        Base::Date => Datum::Date(at),
        Base::DateTime => Datum::DateTime(at),
        Base::Bool | Base::Int | Base::Str => Datum::Int(at),
    };
    let gaps = gaps(&pieces(base, first, last), &may);
    let mut spans = vec![];
    let mut from = Some(first);
    for (low, high) in gaps {
        if let Some(from) = from.filter(|from| *from < low) {
            spans.push((from, low - 1));
        }
        from = high.checked_add(1).filter(|from| *from <= last);
    }
    spans.extend(from.map(|from| (from, last)));
    if nan {
        match spans.last_mut() {
            Some(span) if span.1 == last => {}
            // Infinity stands for what is above it.
            Some(_) | None => spans.push((last, last)),
        }
    }
    match spans.as_slice() {
        [] => Needed::Nothing,
        [(low, high)] if *low == first && *high == last => Needed::Anything,
        spans => Needed::Within(
            spans
                .iter()
                .map(|(low, high)| Span {
                    low: (*low != first).then(|| datum(*low)),
                    high: (*high != last).then(|| datum(*high)),
                })
                .collect(),
        ),
    }
}

/// The places from first to last in pieces, ascending.
fn pieces(base: Base, first: i64, last: i64) -> Vec<(i64, i64)> {
    let mut ends: Vec<i64> = vec![];
    match base {
        Base::Float => {
            // Each power of two where most numbers are, and each sixteenth elsewhere.
            let powers = (-1072..=1008).step_by(16).chain(-4..=64);
            ends.extend(powers.map(|power| key(2_f64.powi(power))));
            ends.push(key(f64::INFINITY));
        }
        Base::Bool | Base::Int | Base::Str | Base::Date | Base::DateTime => {
            ends.extend((0..63).map(|power| 1_i64 << power));
        }
    }
    let below: Vec<i64> = ends.iter().map(|end| 1 - end).collect();
    ends.extend(below);
    ends.extend([0, 1]);
    ends.retain(|end| *end > first && *end <= last);
    ends.sort_unstable();
    ends.dedup();
    let starts = std::iter::once(first).chain(ends.iter().copied());
    let stops = ends.iter().map(|end| end - 1).chain([last]);
    starts.zip(stops).collect()
}

/// The widest gaps, ascending.
fn gaps(pieces: &[(i64, i64)], may: &dyn Fn(i64, i64) -> bool) -> Vec<(i64, i64)> {
    let needed: Vec<bool> = pieces.iter().map(|(low, high)| may(*low, *high)).collect();
    let mut gaps = vec![];
    let mut at = 0;
    while at < pieces.len() {
        let run = needed[at..].iter().take_while(|needed| !**needed).count();
        if run == 0 {
            at += 1;
            continue;
        }
        let (mut low, mut high) = (pieces[at].0, pieces[at + run - 1].1);
        if let Some((start, stop)) = at.checked_sub(1).map(|before| pieces[before]) {
            low = match outermost(start, stop, false, may, &mut MOST_LOOKS.clone()) {
                Some(needed) => needed + 1,
                None => start,
            };
        }
        if let Some((start, stop)) = pieces.get(at + run) {
            high = match outermost(*start, *stop, true, may, &mut MOST_LOOKS.clone()) {
                Some(needed) => needed - 1,
                None => *stop,
            };
        }
        gaps.push((low, high));
        at += run;
    }
    while gaps.len() > MOST_GAPS {
        let width = |gap: &(i64, i64)| i128::from(gap.1) - i128::from(gap.0);
        let Some(least) = (0..gaps.len()).min_by_key(|at| width(&gaps[*at])) else { break };
        gaps.remove(least);
    }
    gaps
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
