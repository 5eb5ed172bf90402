//! Follows a function's statements with bounds in place of values. Both branches of an `if` are followed unless its condition
//! is known; loops are not followed at all.

use super::floats::Interval;
use super::{Bounds, Range};
use crate::function::{
    Block, Compare, Const, DateField, Function, Local, Math1, Op, Rounding, Stmt, Value, verify,
};
use fuseline_kernels::python::{date, round};

/// What a verified function may return for operands within these bounds. Anything, if it has loops.
pub fn possible(function: &Function, args: &[Bounds]) -> Bounds {
    Walks::of(function).map_or(Bounds::ANYTHING, |walks| walks.possible(args, Exceptions::Nothing))
}

/// What an exception of Python's counts as.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Exceptions {
    /// No result.
    Nothing,
    /// Any result, so that a row on which there may be one is never left out. A result that is an int beyond these ends
    /// raises when it becomes a column's value.
    Anything { low: i64, high: i64 },
}

/// A verified function, to be followed for one operand after the other.
pub(super) struct Walks<'f> {
    function: &'f Function,
    values: usize,
}

impl<'f> Walks<'f> {
    pub(super) fn of(function: &'f Function) -> Option<Walks<'f>> {
        let values = verify(function).ok()?.len();
        Some(Walks { function, values })
    }

    pub(super) fn possible(&self, args: &[Bounds], exceptions: Exceptions) -> Bounds {
        if args.len() != self.function.params.len() {
            return Bounds::ANYTHING;
        }
        let mut walk = Walk {
            function: self.function,
            values: vec![Bounds::ANYTHING; self.values],
            locals: args.to_vec(),
            returned: Bounds { range: Range::Nothing, none: false },
            may_raise: false,
        };
        walk.locals.resize(self.function.locals.len(), Bounds { range: Range::Nothing, none: false });
        let Some(open) = walk.block(&self.function.body) else { return Bounds::ANYTHING };
        let Exceptions::Anything { low, high } = exceptions else { return walk.returned };
        let fits = match walk.returned.range {
            Range::Int { low: least, high: most } => low <= least && most <= high,
            Range::Nothing | Range::Bool { .. } | Range::Float { .. } => true,
            Range::Any => false,
        };
        if walk.may_raise || open || !fits { Bounds::ANYTHING } else { walk.returned }
    }
}

struct Walk<'f> {
    function: &'f Function,
    values: Vec<Bounds>,
    locals: Vec<Bounds>,
    returned: Bounds,
    /// Something may have raised on the way, or bailed for another reason.
    may_raise: bool,
}

impl Walk<'_> {
    /// Follows a block; says whether its end may be reached. `None` if there is something that is not followed.
    fn block(&mut self, block: &Block) -> Option<bool> {
        for stmt in &block.0 {
            match stmt {
                Stmt::Let(value, op, args) => {
                    let result = self.operation(op, args);
                    let args: Vec<Bounds> = args.iter().map(|a| self.values[a.0 as usize]).collect();
                    self.may_raise |= !never_raises(op, &args, result);
                    self.values[value.0 as usize] = result;
                }
                Stmt::Set(Local(local), value) => {
                    self.locals[*local as usize] = self.values[value.0 as usize];
                }
                Stmt::If { cond, then, otherwise } => {
                    let (no, yes) = truth(self.values[cond.0 as usize]);
                    let before = self.locals.clone();
                    let on = if yes { self.block(then)? } else { false };
                    let after_then = std::mem::replace(&mut self.locals, before);
                    let off = if no { self.block(otherwise)? } else { false };
                    match (on, off) {
                        (true, true) => {
                            for (local, other) in self.locals.iter_mut().zip(after_then) {
                                *local = local.join(other);
                            }
                        }
                        (true, false) => self.locals = after_then,
                        (false, true) => {}
                        (false, false) => return Some(false),
                    }
                }
                Stmt::Return(value) => {
                    self.returned = self.returned.join(self.values[value.0 as usize]);
                    return Some(false);
                }
                // What Python returns there nobody knows.
                Stmt::Bail => {
                    self.returned = Bounds::ANYTHING;
                    return Some(false);
                }
                Stmt::While { .. } | Stmt::Break | Stmt::Continue => return None,
            }
        }
        Some(true)
    }

    fn operation(&self, op: &Op, args: &[Value]) -> Bounds {
        let args: Vec<Bounds> = args.iter().map(|a| self.values[a.0 as usize]).collect();
        match (op, args.as_slice()) {
            (Op::Bool(b), _) => Bounds::bool(!b, *b),
            (Op::Int(i) | Op::Date(i) | Op::DateTime(i), _) => Bounds::int(*i, *i),
            (Op::Float(bits), _) => Interval::point(f64::from_bits(*bits)).bounds(),
            (Op::None(_), _) => Bounds::NONE,
            (Op::Get(local), _) => self.locals[local.0 as usize],
            (Op::Some, [a]) => *a,
            (Op::IsNone, [a]) => Bounds::bool(a.range != Range::Nothing, a.none),
            // Where it is None Python goes on with that, to raise or not.
            (Op::Unwrap, [a]) if a.none => Bounds::ANYTHING,
            (Op::Unwrap, [a]) => *a,
            (Op::Select, [c, a, b]) => match truth(*c) {
                (true, false) => *b,
                (false, true) => *a,
                (true, true) | (false, false) => a.join(*b),
            },
            (Op::Has(table) | Op::Lookup(table), _) => {
                let table = &self.function.tables[table.0 as usize];
                if matches!(op, Op::Has(_)) {
                    return Bounds::bool(true, !table.entries.is_empty());
                }
                let nothing = Bounds { range: Range::Nothing, none: false };
                table.entries.iter().fold(nothing, |all, (_, value)| all.join(constant(value.as_ref())))
            }
            // Of no other operation is an operand None.
            (op, args) => computed(op, args),
        }
    }
}

fn constant(value: Option<&Const>) -> Bounds {
    match value {
        None => Bounds::NONE,
        Some(Const::Bool(b)) => Bounds::bool(!b, *b),
        Some(Const::Int(i)) => Bounds::int(*i, *i),
        Some(Const::Float(bits)) => Interval::point(f64::from_bits(*bits)).bounds(),
        Some(Const::Str(_)) => Bounds::of(Range::Any),
    }
}

/// Whether a condition may be false, and true.
fn truth(bounds: Bounds) -> (bool, bool) {
    match bounds.range {
        Range::Bool { no, yes } => (no, yes),
        Range::Nothing | Range::Int { .. } | Range::Float { .. } | Range::Any => (true, true),
    }
}

/// Whether an operation certainly gives a result for operands within these bounds, which is within `result`.
fn never_raises(op: &Op, args: &[Bounds], result: Bounds) -> bool {
    let floats = |at: usize| match args.get(at).map(|a| a.range) {
        Some(Range::Float { low, high, nan: _ }) => Some((low, high)),
        Some(Range::Nothing | Range::Bool { .. } | Range::Int { .. } | Range::Any) | None => None,
    };
    let finite = |at: usize| {
        floats(at).is_some_and(|(low, high)| low > high || (low > f64::NEG_INFINITY && high < f64::INFINITY))
    };
    let nonzero = |at: usize| match args.get(at).map(|a| a.range) {
        Some(Range::Float { low, high, .. }) => !(low..=high).contains(&0.0),
        Some(Range::Int { low, high }) => !(low..=high).contains(&0),
        Some(Range::Nothing | Range::Bool { .. } | Range::Any) | None => false,
    };
    match op {
        Op::Bool(_)
        | Op::Int(_)
        | Op::Float(_)
        | Op::Date(_)
        | Op::DateTime(_)
        | Op::None(_)
        | Op::Get(_)
        | Op::Some
        | Op::IsNone
        | Op::Select
        | Op::Not
        | Op::And
        | Op::Or
        | Op::Xor
        | Op::BoolToInt
        | Op::Whole(_)
        | Op::FloatTest(_)
        | Op::IeeeDiv
        | Op::IeeeMath1 { .. }
        | Op::Has(_) => true,
        // Of ints too, unless they leave 64 bits: then Python's go on, and nobody knows where.
        Op::Add | Op::Sub | Op::Mul | Op::Neg | Op::Abs | Op::Invert | Op::Cmp(_) | Op::CmpIntFloat(_) => {
            args.iter().all(|a| a.range != Range::Any) && result.range != Range::Any
        }
        // Of ints that a float holds, which all the others come near to at best.
        Op::IntToFloat => result.range != Range::Any,
        Op::TrueDiv => {
            let small = args.iter().all(|a| match a.range {
                Range::Int { low, high } => low > -(1 << 53) && high < 1 << 53,
                Range::Float { .. } => true,
                Range::Nothing | Range::Bool { .. } | Range::Any => false,
            });
            nonzero(1) && small
        }
        Op::FloorDiv | Op::Mod => nonzero(1) && result.range != Range::Any,
        Op::Trunc | Op::Floor | Op::Ceil | Op::RoundEven => {
            finite(0)
                && matches!(args[0].range, Range::Float { nan: false, .. })
                && result.range != Range::Any
        }
        Op::Math1 { function, .. } => {
            let Some((low, high)) = floats(0) else { return false };
            match function {
                Math1::Sqrt => low >= 0.0,
                Math1::Log | Math1::Log2 | Math1::Log10 => low > 0.0,
                Math1::Log1p => low > -1.0,
                Math1::Sin | Math1::Cos | Math1::Tan => finite(0),
                Math1::Asin | Math1::Acos => low >= -1.0 && high <= 1.0,
                Math1::Exp | Math1::Expm1 => high < 700.0,
                Math1::Exp2 => high < 1000.0,
                Math1::Sinh | Math1::Cosh => low > -700.0 && high < 700.0,
                Math1::Atanh => low > -1.0 && high < 1.0,
                Math1::Acosh => low >= 1.0,
                Math1::Atan
                | Math1::Tanh
                | Math1::Asinh
                | Math1::Cbrt
                | Math1::Erf
                | Math1::Erfc
                | Math1::Degrees
                | Math1::Radians => true,
            }
        }
        _other => false,
    }
}

/// Ints between these; anything where they leave 64 bits, because Python's do not wrap.
fn ints(low: i128, high: i128) -> Bounds {
    match (i64::try_from(low), i64::try_from(high)) {
        (Ok(low), Ok(high)) => Bounds::int(low, high),
        (Ok(_) | Err(_), _) => Bounds::ANYTHING,
    }
}

fn hull(corners: &[i128]) -> Bounds {
    match (corners.iter().min(), corners.iter().max()) {
        (Some(low), Some(high)) => ints(*low, *high),
        (Some(_) | None, _) => Bounds::ANYTHING,
    }
}

fn computed(op: &Op, args: &[Bounds]) -> Bounds {
    if args.iter().any(|a| a.range == Range::Any) {
        return whatever(op);
    }
    let wide: Vec<(i128, i128)> = args
        .iter()
        .filter_map(|a| match a.range {
            Range::Int { low, high } => Some((low.into(), high.into())),
            Range::Nothing | Range::Bool { .. } | Range::Float { .. } | Range::Any => None,
        })
        .collect();
    let all_ints = wide.len() == args.len();
    let interval = |at: usize| Interval::of(args[at]);
    let bools: Vec<(bool, bool)> = args.iter().map(|a| truth(*a)).collect();
    match (op, wide.as_slice()) {
        (Op::Not, _) => Bounds::bool(bools[0].1, bools[0].0),
        (Op::And, _) => Bounds::bool(bools[0].0 || bools[1].0, bools[0].1 && bools[1].1),
        (Op::Or, _) => Bounds::bool(bools[0].0 && bools[1].0, bools[0].1 || bools[1].1),
        (Op::BoolToInt, _) => Bounds::int(i64::from(!bools[0].0), i64::from(bools[0].1)),
        (Op::Add | Op::DateAdd, [a, b]) => ints(a.0 + b.0, a.1 + b.1),
        (Op::Sub | Op::DateDiff, [a, b]) => ints(a.0 - b.1, a.1 - b.0),
        (Op::Mul, [a, b]) => hull(&[a.0 * b.0, a.0 * b.1, a.1 * b.0, a.1 * b.1]),
        (Op::Neg, [a]) => ints(-a.1, -a.0),
        (Op::Invert, [a]) => ints(-a.1 - 1, -a.0 - 1),
        (Op::Abs, [a]) if a.0 <= 0 && a.1 >= 0 => ints(0, a.1.max(-a.0)),
        (Op::Abs, [a]) => hull(&[a.0.abs(), a.1.abs()]),
        (Op::FloorDiv, [a, b]) if b.0 > 0 => {
            let div = |x: i128, y: i128| x.div_euclid(y);
            hull(&[div(a.0, b.0), div(a.0, b.1), div(a.1, b.0), div(a.1, b.1)])
        }
        (Op::Mod, [_, b]) if b.0 > 0 => ints(0, b.1 - 1),
        (Op::TrueDiv, [a, b]) => {
            let float = |x: &(i128, i128)| Interval { low: x.0 as f64, high: x.1 as f64, nan: false };
            // Python rounds the exact quotient, not that of rounded ints.
            float(a).div(float(b)).widened().bounds()
        }
        (Op::IntToFloat, [a]) => Bounds::float(a.0 as f64, a.1 as f64, false),
        (Op::RoundInt, [a, _]) => {
            // Half a power of ten away at most, or zero.
            let size = a.0.abs().max(a.1.abs()) * 2;
            ints(if a.0 < 0 { -size } else { 0 }, if a.1 > 0 { size } else { 0 })
        }
        (Op::Cmp(compare), [a, b]) if all_ints => {
            compared(*compare, a.0 < b.1, a.0 <= b.1 && b.0 <= a.1, a.1 > b.0, a.0 == a.1 && *a == *b, false)
        }
        (Op::DateOf, [a]) => {
            let day = i128::from(date::DAY);
            ints(a.0.div_euclid(day), a.1.div_euclid(day))
        }
        (Op::DateTimeOf, [a]) => ints(a.0 * i128::from(date::DAY), a.1 * i128::from(date::DAY)),
        (Op::CmpIntFloat(compare), [a]) => {
            let a = Interval { low: a.0 as f64, high: a.1 as f64, nan: false };
            // Conversions may round ints onto the bound.
            compare_floats(*compare, a.add(Interval { low: -2048.0, high: 2048.0, nan: false }), interval(1))
        }
        (Op::Add, _) => interval(0).add(interval(1)).bounds(),
        (Op::Sub, _) => interval(0).add(interval(1).neg()).bounds(),
        (Op::Mul, _) => interval(0).mul(interval(1)).bounds(),
        (Op::TrueDiv | Op::IeeeDiv, _) => interval(0).div(interval(1)).bounds(),
        (Op::Neg, _) => interval(0).neg().bounds(),
        (Op::Abs, _) => interval(0).abs().bounds(),
        (Op::Trunc | Op::Floor | Op::Ceil | Op::RoundEven, _) => {
            let rounded = |x: f64| match op {
                Op::Trunc => x.trunc(),
                Op::Floor => x.floor(),
                Op::Ceil => x.ceil(),
                _even => x.round_ties_even(),
            };
            let Interval { low, high, .. } = interval(0).rising(rounded);
            // Python's ints go on beyond; a NaN raises.
            const BEYOND: f64 = 9_223_372_036_854_775_808.0;
            if low >= -BEYOND && high < BEYOND && low <= high {
                Bounds::int(low as i64, high as i64)
            } else {
                Bounds::ANYTHING
            }
        }
        (Op::Whole(rounding), _) => interval(0)
            .rising(|x| match rounding {
                Rounding::Floor => x.floor(),
                Rounding::Ceil => x.ceil(),
                Rounding::Trunc => x.trunc(),
                Rounding::Even => x.round_ties_even(),
            })
            .bounds(),
        (Op::RoundDigits, [n]) if n.0 == n.1 => {
            let n = n.0 as i64;
            interval(0).rising(|x| round::round_digits(x, n).unwrap_or(x.signum() * f64::INFINITY)).bounds()
        }
        (Op::Cmp(compare), _) if matches!(args[0].range, Range::Float { .. }) => {
            compare_floats(*compare, interval(0), interval(1))
        }
        (Op::Math1 { function, .. }, _) => interval(0).math(*function).bounds(),
        (other, _) => whatever(other),
    }
}

/// A comparison, of whose operands the first may be less, equal, greater; `always_equal`: both are the same constant.
fn compared(
    compare: Compare,
    less: bool,
    equal: bool,
    greater: bool,
    always_equal: bool,
    nan: bool,
) -> Bounds {
    let unequal = (less || greater) && !always_equal;
    let (no, yes) = match compare {
        Compare::Eq => (unequal, equal),
        Compare::Ne => (equal, unequal),
        Compare::Lt => (equal || greater, less),
        Compare::Le => (greater, less || equal),
        Compare::Gt => (equal || less, greater),
        Compare::Ge => (less, greater || equal),
    };
    if nan {
        Bounds::bool(no || compare != Compare::Ne, yes || compare == Compare::Ne)
    } else {
        Bounds::bool(no, yes)
    }
}

fn compare_floats(compare: Compare, a: Interval, b: Interval) -> Bounds {
    let some = a.low <= a.high && b.low <= b.high;
    let equal = some && a.low <= b.high && b.low <= a.high;
    let same = some && a.low == a.high && b.low == b.high && a.low == b.low;
    compared(compare, some && a.low < b.high, equal, some && a.high > b.low, same, a.nan || b.nan)
}

/// What is known of an operation's result by its kind alone.
fn whatever(op: &Op) -> Bounds {
    let within = |field: DateField| match field {
        DateField::Year | DateField::IsoYear => (0, 10_000),
        DateField::Month => (1, 12),
        DateField::Day => (1, 31),
        DateField::Weekday => (0, 6),
        DateField::IsoWeekday => (1, 7),
        DateField::IsoWeek => (1, 53),
        DateField::DayOfYear => (1, 366),
        DateField::ToOrdinal => (1, 4_000_000),
        DateField::Hour => (0, 23),
        DateField::Minute | DateField::Second => (0, 59),
        DateField::Microsecond => (0, 999_999),
    };
    match op {
        Op::Field(field) => {
            let (low, high) = within(*field);
            Bounds::int(low, high)
        }
        Op::Len | Op::Count | Op::WordCount | Op::SplitCount => Bounds::int(0, i64::MAX),
        Op::Find | Op::RFind => Bounds::int(-1, i64::MAX),
        // Comparisons and tests are bools whatever they compare.
        Op::Cmp(_) | Op::CmpIntFloat(_) | Op::FloatTest(_) | Op::Test(_) | Op::Is(_) | Op::Has(_) => {
            Bounds::bool(true, true)
        }
        _other => Bounds::ANYTHING,
    }
}
