//! Bounds of results: no random function leaves them, and chosen ones need the operands that they should.

use super::differential::{for_all, seeds};
use super::generate::{Wanted, function};
use super::rows;
use crate::support::random::Random;
use arrow::datatypes::DataType;
use fuseline_codegen::function::bounds::{Bounds, Needed, Range, needed_operands, possible};
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
        let function = function(r, Wanted { bases, loops: false, op: wanted });
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

#[test]
fn a_predicate_over_a_function_bounds_its_operand() {
    // x * 2 + 1
    let line = of(
        "\"x\": float",
        "float",
        "v0 = get l0 v1 = float 2.0 v2 = mul v0, v1 v3 = float 1.0 v4 = add v2, v3 return v4",
    );
    let needed = |compare, c: f64| needed_operands(&line, 0, compare, &Datum::Float(c));
    let Needed::Within { low: Some(Datum::Float(low)), high: None } = needed(Compare::Gt, 100.0) else {
        panic!("{:?}", needed(Compare::Gt, 100.0))
    };
    assert!((49.5..49.500001).contains(&low), "{low}");
    let Needed::Within { low: None, high: Some(Datum::Float(high)) } = needed(Compare::Le, 100.0) else {
        panic!("{:?}", needed(Compare::Le, 100.0))
    };
    assert!((49.5..49.500001).contains(&high), "{high}");
    let Needed::Within { low: Some(low), high: Some(high) } = needed(Compare::Eq, 7.0) else { panic!() };
    assert_eq!((Some(low), Some(high)), (float(3.0), float(3.0)));

    // 3 if n < 1000 else n // 10
    let steps = of(
        "\"n\": int",
        "int",
        "v0 = get l0 v1 = int 1000 v2 = cmp.lt v0, v1 if v2 { v3 = int 3 return v3 }
         v4 = int 10 v5 = floor_div v0, v4 return v5",
    );
    let needed = |compare, c: i64| needed_operands(&steps, 0, compare, &Datum::Int(c));
    let low = |i| Needed::Within { low: Some(Datum::Int(i)), high: None };
    assert_eq!(needed(Compare::Gt, 250), low(2510));
    assert_eq!(needed(Compare::Ge, 50), low(1000));
    assert_eq!(needed(Compare::Gt, 2), Needed::Anything);
    assert_eq!(needed(Compare::Lt, 3), Needed::Nothing);
    assert_eq!(needed(Compare::Lt, 100), Needed::Within { low: None, high: Some(Datum::Int(999)) });

    // math.sin(x) * 10
    let bounded =
        of("\"x\": float", "float", "v0 = get l0 v1 = sin.fast v0 v2 = float 10.0 v3 = mul v1, v2 return v3");
    assert_eq!(needed_operands(&bounded, 0, Compare::Lt, &Datum::Float(-10.5)), Needed::Nothing);
    assert_eq!(needed_operands(&bounded, 0, Compare::Lt, &Datum::Float(10.5)), Needed::Anything);

    // A None that may qualify keeps all rows.
    let zero_if_none = of(
        "\"n\": int?",
        "int",
        "v0 = get l0 v1 = is_none v0 if v1 { v2 = int 0 return v2 } v3 = unwrap v0 return v3",
    );
    let needed = |c: i64| needed_operands(&zero_if_none, 0, Compare::Lt, &Datum::Int(c));
    assert_eq!(needed(5), Needed::Anything);
    assert_eq!(needed(-5), Needed::Within { low: None, high: Some(Datum::Int(-6)) });
}
