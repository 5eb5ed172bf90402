//! Functions dissolved into loops: random ones against their interpreter, and the loops on all back ends.

use super::differential::{expected, for_all, seeds};
use super::generate::{Wanted, function};
use super::rows;
use crate::support::engines::{Verdict, interpret, judge};
use crate::support::random::Random;
use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::DataType;
use fuseline_codegen::function::inline::inline;
use fuseline_codegen::function::interp::{Datum, Interpreter, Outcome};
use fuseline_codegen::function::{Base, Function, Math1, Math2, Op, parse};
use fuseline_codegen::ir::{Emit, Input, Loop, LoopBuilder, Sink, ValueId, verify};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A loop that calls the function on its columns: the result, and the rows that bail.
fn looped(
    function: &Function,
    columns: &[DataType],
    nullable: bool,
    result: &DataType,
) -> Result<Loop, String> {
    let mut builder = LoopBuilder::new();
    let args: Vec<ValueId> = columns
        .iter()
        .zip(&function.params)
        .map(|(data_type, param)| {
            builder.input(&param.name, data_type, nullable || param.ty.optional).unwrap()
        })
        .collect();
    let ty = Input::physical(result).unwrap();
    let made = inline(&mut builder, function, &args, ty).map_err(|e| e.to_string())?;
    let bail = made.bail.unwrap_or_else(|| builder.lit(fuseline_codegen::ir::Lit::Bool(false)));
    let emit = |value: ValueId, data_type: &DataType| Emit::Value {
        value,
        data_type: data_type.clone(),
        nullable: builder.nullable(value),
    };
    let sink = Sink::Emit(vec![emit(made.value, result), emit(bail, &DataType::Boolean)]);
    assert!(!builder.nullable(bail), "a bail is never null");
    let (source, origin) = builder.finish(sink);
    assert!(origin.iter().copied().eq(0..origin.len()) || origin.len() < columns.len());
    verify(&source).map_err(|e| format!("malformed: {e}\n{source}"))?;
    Ok(source)
}

/// The inputs that are left in a loop, by name.
fn inputs(source: &Loop, function: &Function, columns: &[ArrayRef]) -> Vec<ArrayRef> {
    let of = |input: &Input| function.params.iter().position(|p| p.name == input.name).unwrap();
    source.inputs.iter().map(|input| columns[of(input)].clone()).collect()
}

fn same(a: &Datum, b: &Datum) -> bool {
    match (a, b) {
        (Datum::Float(a), Datum::Float(b)) if a.is_nan() && b.is_nan() => true,
        (a, b) => a == b,
    }
}

#[derive(Default)]
struct Counts {
    functions: AtomicUsize,
    inlined: AtomicUsize,
    returned: AtomicUsize,
    too_many: AtomicUsize,
}

fn check(
    source: &Loop,
    function: &Function,
    columns: &[ArrayRef],
    result: &DataType,
    counts: &Counts,
) -> Result<(), String> {
    let rows_count = columns[0].len();
    let inputs = inputs(source, function, columns);
    match judge(source, &inputs, rows_count, 0) {
        Verdict::Same { failed: false, .. } => {}
        other => return Err(format!("{other:?}")),
    }
    let found = interpret(source, &inputs, rows_count, 0).map_err(|e| e.to_string())?;
    let [value, bails] = [0, 1].map(|c| found.columns[c].clone().unwrap());
    let bails = bails.as_boolean();
    let interpreter = Interpreter::new(Arc::new(function.clone()));
    for row in 0..rows_count {
        let dead = columns.iter().zip(&function.params).any(|(c, p)| !p.ty.optional && c.is_null(row));
        let found = match bails.value(row) {
            true => Outcome::Bail,
            false => Outcome::Return(rows::datum(&value, row).ok_or("a value out of range")?),
        };
        let right =
            if dead { Outcome::Return(Datum::None) } else { expected(&interpreter, columns, row, result) };
        let fine = match (&right, &found) {
            (Outcome::Return(a), Outcome::Return(b)) => same(a, b),
            (Outcome::Bail, Outcome::Bail) => true,
            (Outcome::Return(_), Outcome::Bail) if !dead => {
                counts.too_many.fetch_add(1, Ordering::Relaxed);
                true
            }
            (Outcome::Return(_) | Outcome::Bail, _) => false,
        };
        counts.returned.fetch_add(usize::from(right != Outcome::Bail), Ordering::Relaxed);
        if !fine {
            let args: Vec<_> = columns.iter().map(|c| rows::datum(c, row)).collect();
            return Err(format!("row {row} {args:?}: in a loop {found:?}, interpreted {right:?}"));
        }
    }
    Ok(())
}

/// Operations that may have a form in lanes.
fn possible(op: &Op) -> bool {
    !matches!(
        op,
        Op::Gcd
            | Op::RoundInt
            | Op::RoundDigits
            | Op::Shl
            | Op::Shr
            | Op::MakeDate
            | Op::Math1 {
                function: Math1::Exp2
                    | Math1::Asinh
                    | Math1::Acosh
                    | Math1::Atanh
                    | Math1::Cbrt
                    | Math1::Erf
                    | Math1::Erfc,
                ..
            }
            | Op::IeeeMath1 {
                function: Math1::Exp2
                    | Math1::Asinh
                    | Math1::Acosh
                    | Math1::Atanh
                    | Math1::Cbrt
                    | Math1::Erf
                    | Math1::Erfc,
                ..
            }
            | Op::Math1 { fast: true, .. }
            | Op::IeeeMath1 { fast: true, .. }
            | Op::Math2 { function: Math2::Hypot | Math2::Copysign, .. }
            | Op::Math2 { fast: true, .. }
            | Op::Field(fuseline_codegen::function::DateField::IsoYear)
    )
}

#[test]
fn functions_in_loops_do_what_interpreted_ones_do() {
    let counts = Counts::default();
    for_all(seeds(4000), |seed| {
        let r = &mut Random::new(seed as u64 ^ 0xF00D);
        let bases: &[Base] = match r.below(3) {
            0 => &[Base::Bool, Base::Float],
            1 => &[Base::Bool, Base::Int, Base::Float],
            _ => &[Base::Bool, Base::Int, Base::Float, Base::Date, Base::DateTime],
        };
        let function = function(r, Wanted { bases, loops: false, op: possible });
        let rows_count = r.pick(&[1, 7, 8, 40]);
        let micros = |t: &DataType| matches!(t, DataType::Timestamp(unit, _) if *unit != arrow::datatypes::TimeUnit::Microsecond);
        let types: Vec<DataType> = function
            .params
            .iter()
            .map(|p| {
                loop {
                    let t = rows::parameter_type(r, p.ty);
                    if !micros(&t) {
                        break t;
                    }
                }
            })
            .collect();
        let nullable = r.percent(40);
        let columns: Vec<ArrayRef> = types
            .iter()
            .zip(&function.params)
            .map(|(t, p)| rows::column(r, t, nullable || p.ty.optional, rows_count))
            .collect();
        let result = rows::result_type(r, function.returns);
        counts.functions.fetch_add(1, Ordering::Relaxed);
        let source = match looped(&function, &types, nullable, &result) {
            Ok(source) => source,
            Err(message) if message.starts_with("malformed") => return Err(format!("{message}\n{function}")),
            Err(_) => return Ok(()),
        };
        counts.inlined.fetch_add(1, Ordering::Relaxed);
        check(&source, &function, &columns, &result, &counts)
            .map_err(|m| format!("{m}\n{function}\n{source}"))
    });
    let Counts { functions, inlined, returned, too_many } = counts;
    let [functions, inlined, returned, too_many] =
        [functions, inlined, returned, too_many].map(|c| c.into_inner());
    println!("{inlined} of {functions} functions, {returned} rows, {too_many} bailed for nothing");
    assert!(
        functions < 100 || inlined * 2 > functions,
        "only {inlined} of {functions} functions went into loops"
    );
    // Many operands are extreme: ints beyond 2**53 beside floats, products near 2**63.
    assert!(returned < 1000 || too_many * 30 < returned, "{too_many} of {returned} rows bail for nothing");
}

/// Functions with constants where the operations that lanes know need them.
#[test]
fn chosen_functions_in_loops() {
    let one = |params: &str, returns: &str, body: &str| {
        let text = format!("function \"chosen\"({params}) -> {returns} {{ {body} }}");
        parse(&text).unwrap_or_else(|e| panic!("{text}: {e}"))
    };
    let mut chosen = Vec::new();
    for n in [0, 1, 2, 3, 5, 12] {
        let body = format!("v0 = get l0 v1 = int {n} v2 = round_digits v0, v1 return v2");
        chosen.push(one("\"x\": float", "float", &body));
    }
    for op in ["add", "sub", "mul", "floor_div", "mod", "pow", "shl", "shr", "true_div"] {
        for c in [0, 1, 2, 3, 7, 8, 60, -1, -3, -8, 1 << 40, i64::MAX, i64::MIN] {
            let returns = if op == "true_div" { "float" } else { "int" };
            for order in ["v0, v1", "v1, v0"] {
                let body = format!("v0 = get l0 v1 = int {c} v2 = {op} {order} return v2");
                chosen.push(one("\"x\": int", returns, &body));
            }
        }
    }
    for op in ["floor_div", "mod", "pow", "true_div"] {
        for c in ["0.0", "-0.0", "1.0", "-2.5", "0.1", "inf", "2.0", "3.0", "-1.0", "0.5"] {
            let body = format!("v0 = get l0 v1 = float {c} v2 = {op} v0, v1 return v2");
            chosen.push(one("\"x\": float", "float", &body));
        }
    }
    let table = "table int -> float? { 1: 0.5, -7: none, 3: -0.0 }";
    chosen.push(one("\"x\": int", "float?", &format!("{table} v0 = get l0 v1 = lookup 0 v0 return v1")));
    chosen.push(one("\"x\": int", "bool", &format!("{table} v0 = get l0 v1 = has 0 v0 return v1")));
    let counts = Counts::default();
    let mut inlined = 0;
    for (at, function) in chosen.iter().enumerate() {
        let r = &mut Random::new(at as u64);
        let ty = function.params[0].ty;
        let data_type = if ty.base == Base::Int { DataType::Int64 } else { DataType::Float64 };
        let result = match function.returns.base {
            Base::Bool => DataType::Boolean,
            Base::Int => DataType::Int64,
            Base::Float | Base::Str | Base::Date | Base::DateTime => DataType::Float64,
        };
        let columns = [rows::column(r, &data_type, false, 400)];
        match looped(function, &[data_type], false, &result) {
            Ok(source) => {
                inlined += 1;
                check(&source, function, &columns, &result, &counts)
                    .unwrap_or_else(|m| panic!("{m}\n{function}\n{source}"));
            }
            Err(message) => assert!(!message.starts_with("malformed"), "{message}"),
        }
    }
    let (returned, too_many) = (counts.returned.into_inner(), counts.too_many.into_inner());
    assert!(inlined * 5 > chosen.len() * 4, "only {inlined} of {}", chosen.len());
    assert!(too_many * 100 < returned, "{too_many} of {returned} rows bail for nothing");
}

/// A guard that a branch has excluded leaves nothing behind.
#[test]
fn guards_that_a_branch_excludes_vanish() {
    let text = "function \"ratio\"(\"x\": float, \"y\": float?) -> float? {
        v0 = get l1 v1 = is_none v0
        if v1 { v2 = none float return v2 }
        v3 = unwrap v0 v4 = float 0.0 v5 = cmp.eq v3, v4
        if v5 { v6 = none float return v6 }
        v7 = get l0 v8 = true_div v7, v3 v9 = some v8 return v9 }";
    let function = parse(text).unwrap();
    let mut builder = LoopBuilder::new();
    let args = ["x", "y"].map(|name| builder.input(name, &DataType::Float64, name == "y").unwrap());
    let made = inline(&mut builder, &function, &args, fuseline_codegen::ir::Ty::F64).unwrap();
    assert_eq!(made.bail, None);
}
