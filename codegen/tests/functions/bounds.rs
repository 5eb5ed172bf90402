//! Bounds of results: no random function leaves them, and chosen ones need the operands that they should.

use super::differential::{for_all, seeds};
use super::generate::{Wanted as Wish, function};
use super::rows;
use crate::support::random::Random;
use arrow::datatypes::DataType;
use fuseline_codegen::function::bounds::{
    Bounds, Exceptions, Needed, Range, Span, Wanted, needed_operands, possible,
};
use fuseline_codegen::function::interp::{Datum, Interpreter, Outcome};
use fuseline_codegen::function::{Base, Compare, Function, Op, Type, parse};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A value and a range around it.
fn operand(r: &mut Random, ty: Type) -> Option<(Datum, Bounds)> {
    let data_type = match ty.base {
        Base::Bool => DataType::Boolean,
        Base::Int => DataType::Int64,
        Base::Float => DataType::Float64,
        Base::Date => DataType::Date32,
        Base::DateTime => DataType::Timestamp(arrow::datatypes::TimeUnit::Microsecond, None),
        Base::Str => DataType::Utf8,
    };
    let value = rows::datum(&rows::column(r, &data_type, ty.optional, 1), 0)?;
    let near = |r: &mut Random| {
        if r.percent(50) {
            0
        } else {
            {
                let most = 1 << r.below(40);
                r.between(0, most)
            }
        }
    };
    let range = match &value {
        Datum::None => return Some((value, Bounds { range: Range::Nothing, none: true })),
        Datum::Bool(b) => Range::Bool { no: !b || r.percent(30), yes: *b || r.percent(30) },
        Datum::Int(i) | Datum::Date(i) | Datum::DateTime(i) => {
            Range::Int { low: i.saturating_sub(near(r)), high: i.saturating_add(near(r)) }
        }
        Datum::Float(x) if x.is_nan() => Range::Float { low: 1.0, high: 0.0, nan: true },
        Datum::Float(x) => {
            let (down, up) = (near(r) as f64 / 64.0, near(r) as f64 / 64.0);
            Range::Float { low: x - down, high: x + up, nan: r.percent(10) }
        }
        Datum::Str(_) => Range::Any,
    };
    Some((value, Bounds { range, none: ty.optional && r.percent(20) }))
}

#[test]
fn no_result_is_out_of_bounds() {
    let (tight, all) = (AtomicUsize::new(0), AtomicUsize::new(0));
    for_all(seeds(20_000), |seed| {
        let r = &mut Random::new(seed as u64 ^ 0xB0B);
        let bases: &[Base] = match r.below(3) {
            0 => &[Base::Bool, Base::Float],
            1 => &[Base::Bool, Base::Int, Base::Float],
            _ => &[Base::Bool, Base::Int, Base::Float, Base::Date, Base::DateTime],
        };
        let wanted = |op: &Op| !matches!(op, Op::IeeeMath1 { .. } | Op::Gcd | Op::MakeDate);
        let function = function(r, Wish { bases, loops: false, op: wanted });
        let operands: Option<Vec<_>> = function.params.iter().map(|p| operand(r, p.ty)).collect();
        let Some(operands) = operands else { return Ok(()) };
        let (args, within): (Vec<Datum>, Vec<Bounds>) = operands.into_iter().unzip();
        let bounds = possible(&function, &within);
        all.fetch_add(1, Ordering::Relaxed);
        tight.fetch_add(usize::from(bounds.range != Range::Any), Ordering::Relaxed);
        match Interpreter::new(Arc::new(function.clone())).call(&args) {
            Outcome::Return(result) if !bounds.contains(&result) => {
                Err(format!("{args:?} in {within:?} gives {result:?}, not in {bounds:?}\n{function}"))
            }
            Outcome::Return(_) | Outcome::Bail => Ok(()),
        }
    });
    let (tight, all) = (tight.into_inner(), all.into_inner());
    assert!(all < 1000 || tight * 2 > all, "something is known of only {tight} of {all}");
}

fn of(params: &str, returns: &str, body: &str) -> Function {
    parse(&format!("function \"f\"({params}) -> {returns} {{ {body} }}")).unwrap()
}

fn float(x: f64) -> Option<Datum> {
    Some(Datum::Float(x))
}

/// What is needed of the only parameter.
fn needed(function: &Function, compare: Compare, constant: Datum, exceptions: Exceptions) -> Needed {
    let args: Vec<Bounds> = function.params.iter().map(|p| Bounds::of_type(p.ty)).collect();
    needed_operands(function, &args, 0, Wanted { compare, constant: &constant, exceptions })
}

const LOST: Exceptions = Exceptions::Nothing;
const KEPT: Exceptions = Exceptions::Anything { low: i64::MIN, high: i64::MAX };

fn spans(needed: Needed) -> Vec<(Option<Datum>, Option<Datum>)> {
    match needed {
        Needed::Within(spans) => spans.into_iter().map(|Span { low, high }| (low, high)).collect(),
        Needed::Nothing => vec![],
        Needed::Anything => vec![(None, None)],
    }
}

#[test]
fn a_predicate_over_a_function_bounds_its_operand() {
    // x * 2 + 1
    let line = of(
        "\"x\": float",
        "float",
        "v0 = get l0 v1 = float 2.0 v2 = mul v0, v1 v3 = float 1.0 v4 = add v2, v3 return v4",
    );
    for exceptions in [LOST, KEPT] {
        let needed = |compare, c: f64| spans(needed(&line, compare, Datum::Float(c), exceptions));
        let above = needed(Compare::Gt, 100.0);
        let [(Some(Datum::Float(low)), None)] = above.as_slice() else { panic!("{above:?}") };
        assert!((49.5..49.500001).contains(low), "{low}");
        let below = needed(Compare::Le, 100.0);
        let [(None, Some(Datum::Float(high)))] = below.as_slice() else { panic!("{below:?}") };
        assert!((49.5..49.500001).contains(high), "{high}");
        assert_eq!(needed(Compare::Eq, 7.0), [(float(3.0), float(3.0))]);
    }

    // 3 if n < 1000 else n // 10
    let steps = of(
        "\"n\": int",
        "int",
        "v0 = get l0 v1 = int 1000 v2 = cmp.lt v0, v1 if v2 { v3 = int 3 return v3 }
         v4 = int 10 v5 = floor_div v0, v4 return v5",
    );
    for exceptions in [LOST, KEPT] {
        let needed = |compare, c: i64| needed(&steps, compare, Datum::Int(c), exceptions);
        let low = |i| vec![(Some(Datum::Int(i)), None)];
        assert_eq!(spans(needed(Compare::Gt, 250)), low(2510));
        assert_eq!(spans(needed(Compare::Ge, 50)), low(1000));
        assert_eq!(needed(Compare::Gt, 2), Needed::Anything);
        assert_eq!(needed(Compare::Lt, 3), Needed::Nothing);
        assert_eq!(spans(needed(Compare::Lt, 100)), [(None, Some(Datum::Int(999)))]);
    }

    // math.sin(x) * 10, which raises for infinities
    let bounded =
        of("\"x\": float", "float", "v0 = get l0 v1 = sin.fast v0 v2 = float 10.0 v3 = mul v1, v2 return v3");
    assert_eq!(needed(&bounded, Compare::Lt, Datum::Float(-10.5), LOST), Needed::Nothing);
    assert_eq!(needed(&bounded, Compare::Lt, Datum::Float(10.5), LOST), Needed::Anything);
    let infinite = spans(needed(&bounded, Compare::Lt, Datum::Float(-10.5), KEPT));
    assert_eq!(infinite, [(None, float(f64::NEG_INFINITY)), (float(f64::INFINITY), None)]);

    // A None that may qualify keeps all rows.
    let zero_if_none = of(
        "\"n\": int?",
        "int",
        "v0 = get l0 v1 = is_none v0 if v1 { v2 = int 0 return v2 } v3 = unwrap v0 return v3",
    );
    let needed = |c: i64| needed(&zero_if_none, Compare::Lt, Datum::Int(c), LOST);
    assert_eq!(needed(5), Needed::Anything);
    assert_eq!(spans(needed(-5)), [(None, Some(Datum::Int(-6)))]);
}

#[test]
fn what_is_needed_may_have_gaps_and_raise() {
    // n * n
    let square = of("\"n\": int", "int", "v0 = get l0 v1 = mul v0, v0 return v1");
    let above = spans(needed(&square, Compare::Gt, Datum::Int(99), LOST));
    assert!(above.iter().all(|(low, high)| low.is_none() || high.is_none()), "{above:?}");
    // math.sqrt(x): below zero Python raises, which is not to be lost.
    let root = of("\"x\": float", "float", "v0 = get l0 v1 = sqrt.libm v0 return v1");
    let lost = spans(needed(&root, Compare::Gt, Datum::Float(3.0), LOST));
    let [(Some(Datum::Float(low)), None)] = lost.as_slice() else { panic!("{lost:?}") };
    assert!((8.99..=9.01).contains(low), "{low}");
    let kept = spans(needed(&root, Compare::Gt, Datum::Float(3.0), KEPT));
    let [(None, Some(Datum::Float(high))), (Some(Datum::Float(low)), None)] = kept.as_slice() else {
        panic!("{kept:?}")
    };
    assert!(*high < 0.0 && (8.99..=9.01).contains(low), "{kept:?}");
    // A result beyond the column's type raises when it is stored: n * 2 as 32 bits.
    let twice = of("\"n\": int", "int", "v0 = get l0 v1 = int 2 v2 = mul v0, v1 return v2");
    let narrow = Exceptions::Anything { low: i32::MIN.into(), high: i32::MAX.into() };
    let kept = spans(needed(&twice, Compare::Gt, Datum::Int(100), narrow));
    let low = i64::from(i32::MIN) / 2 - 1;
    assert_eq!(kept, [(None, Some(Datum::Int(low))), (Some(Datum::Int(51)), None)]);
}

/// Functions that go through random operands: what is not needed gives no wanted result, and does not bail.
#[test]
fn no_operand_that_is_left_out_is_wanted() {
    let (left_out, all) = (AtomicUsize::new(0), AtomicUsize::new(0));
    for_all(seeds(3_000), |seed| {
        let r = &mut Random::new(seed as u64 ^ 0xFACE);
        let float = r.percent(50);
        let bases: &[Base] = if float { &[Base::Bool, Base::Float] } else { &[Base::Bool, Base::Int] };
        let simple = |op: &Op| !matches!(op, Op::IeeeMath1 { .. } | Op::Gcd | Op::MakeDate);
        let function = function(r, Wish { bases, loops: false, op: simple });
        if function.params.len() != 1 || !matches!(function.returns.base, Base::Int | Base::Float) {
            return Ok(());
        }
        let compares = [Compare::Gt, Compare::Lt, Compare::Ge, Compare::Le, Compare::Eq];
        let compare = compares[r.below(5)];
        let constant = r.between(-50, 50);
        let constant = match function.returns.base {
            Base::Float => Datum::Float(constant as f64),
            Base::Bool | Base::Int | Base::Str | Base::Date | Base::DateTime => Datum::Int(constant),
        };
        let found = spans(needed(&function, compare, constant.clone(), KEPT));
        let interpreter = Interpreter::new(Arc::new(function.clone()));
        for _try in 0..40 {
            let Some((value, _)) = operand(r, function.params[0].ty) else { continue };
            let within = |(low, high): &(Option<Datum>, Option<Datum>)| match &value {
                Datum::Int(i) => {
                    let end = |d: &Datum| if let Datum::Int(i) = d { *i } else { 0 };
                    low.as_ref().is_none_or(|l| end(l) <= *i) && high.as_ref().is_none_or(|h| *i <= end(h))
                }
                Datum::Float(x) => {
                    let end = |d: &Datum| if let Datum::Float(x) = d { *x } else { 0.0 };
                    x.is_nan()
                        || low.as_ref().is_none_or(|l| end(l) <= *x)
                            && high.as_ref().is_none_or(|h| *x <= end(h))
                }
                Datum::None | Datum::Bool(_) | Datum::Str(_) | Datum::Date(_) | Datum::DateTime(_) => true,
            };
            all.fetch_add(1, Ordering::Relaxed);
            if found.iter().any(within) {
                continue;
            }
            left_out.fetch_add(1, Ordering::Relaxed);
            let wrong = match interpreter.call(std::slice::from_ref(&value)) {
                Outcome::Bail => true,
                Outcome::Return(Datum::Int(i)) => {
                    let Datum::Int(c) = constant else { return Err("an int".to_owned()) };
                    holds(compare, i.cmp(&c))
                }
                Outcome::Return(Datum::Float(x)) => {
                    let Datum::Float(c) = constant else { return Err("a float".to_owned()) };
                    x.partial_cmp(&c).is_some_and(|order| holds(compare, order))
                }
                Outcome::Return(_) => false,
            };
            if wrong {
                return Err(format!(
                    "{value:?} is left out of {found:?} for {compare:?} {constant:?}\n{function}"
                ));
            }
        }
        Ok(())
    });
    let (left_out, all) = (left_out.into_inner(), all.into_inner());
    assert!(all < 1000 || left_out * 50 > all, "only {left_out} of {all} were left out");
}

fn holds(compare: Compare, order: std::cmp::Ordering) -> bool {
    match compare {
        Compare::Eq => order.is_eq(),
        Compare::Ne => order.is_ne(),
        Compare::Lt => order.is_lt(),
        Compare::Le => order.is_le(),
        Compare::Gt => order.is_gt(),
        Compare::Ge => order.is_ge(),
    }
}
