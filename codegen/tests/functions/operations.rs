//! Each operation on the operands of `python/operations.txt`, against what CPython answered there: by the interpreter and
//! by machine code. An operation that bails where CPython has an answer fails too, unless the line allows it.

use super::differential::compare;
use arrow::array::*;
use arrow::datatypes::{DataType, TimeUnit};
use fuseline_codegen::function::interp::{Datum, Interpreter, Outcome};
use fuseline_codegen::function::*;
use std::collections::BTreeMap;
use std::sync::Arc;

const TABLE: &str = include_str!("python/operations.txt");

/// What CPython said.
#[derive(Clone, Debug)]
enum Answer {
    Bails,
    Value { datum: Datum, may_bail: bool, near: bool },
}

struct Case {
    line: &'static str,
    args: Vec<Datum>,
    answer: Answer,
}

/// A constant's value and type.
fn constant(op: &Op) -> (Datum, Type) {
    match op {
        Op::Bool(b) => (Datum::Bool(*b), Type::BOOL),
        Op::Int(i) => (Datum::Int(*i), Type::INT),
        Op::Float(bits) => (Datum::Float(f64::from_bits(*bits)), Type::FLOAT),
        Op::Str(s) => (Datum::Str(s.clone()), Type::STR),
        Op::Date(days) => (Datum::Date(*days), Type::of(Base::Date)),
        Op::DateTime(micros) => (Datum::DateTime(*micros), Type::of(Base::DateTime)),
        other => panic!("{other:?} is no constant"),
    }
}

/// The constants of a list, whose texts may hold commas.
fn constants(list: &str) -> Vec<Op> {
    let mut pieces = vec![String::new()];
    let (mut quoted, mut escaped) = (false, false);
    for c in list.chars() {
        if c == ',' && !quoted {
            pieces.push(String::new());
            continue;
        }
        quoted ^= c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        pieces.last_mut().unwrap().push(c);
    }
    pieces.iter().map(|piece| op(piece)).collect()
}

/// Reads an operation in the text form.
fn op(text: &str) -> Op {
    let function = parse(&format!("function \"f\"() -> int {{ v0 = {text} bail }}"));
    let function = function.unwrap_or_else(|e| panic!("{text}: {e}"));
    let Some(Stmt::Let(_, op, _)) = function.body.0.into_iter().next() else { panic!("{text}") };
    op
}

/// Cases by operation and operand types.
type Groups = BTreeMap<(&'static str, String), (Vec<Type>, Vec<Case>)>;

fn cases() -> Groups {
    let mut groups = Groups::new();
    let table: &'static str = match std::env::var("FUSELINE_OPERATIONS") {
        Ok(file) => std::fs::read_to_string(&file).unwrap_or_else(|e| panic!("{file}: {e}")).leak(),
        Err(_) => TABLE,
    };
    for line in table.lines() {
        let (name, rest) = line.split_once('(').unwrap();
        let (args, answer) = if let Some(args) = rest.strip_suffix(") bails") {
            (args, Answer::Bails)
        } else {
            // The last of them: texts may hold the same.
            let at =
                [") = ", ") ~ ", ") =near ", ") ~near "].iter().filter_map(|s| rest.rfind(s)).max().unwrap();
            let (sign, value) = rest[at + 2..].split_once(' ').unwrap();
            let (datum, _) = constant(&op(value));
            let (may_bail, near) = (sign.starts_with('~'), sign.ends_with("near"));
            (&rest[..at], Answer::Value { datum, may_bail, near })
        };
        let (args, types): (Vec<Datum>, Vec<Type>) = constants(args).iter().map(constant).unzip();
        let key = (name, format!("{types:?}"));
        groups.entry(key).or_insert((types, vec![])).1.push(Case { line, args, answer });
    }
    groups
}

/// A column of values.
fn column(ty: Type, rows: &[Datum]) -> ArrayRef {
    macro_rules! of {
        ($array:ty, $($variant:ident)|+) => {
            Arc::new(rows.iter().map(|d| match d {
                $(Datum::$variant(v) => Some(v.to_owned().try_into().unwrap()),)+
                other => panic!("{other:?}"),
            }).collect::<$array>()) as ArrayRef
        };
    }
    match ty.base {
        Base::Bool => of!(BooleanArray, Bool),
        Base::Int => of!(Int64Array, Int),
        Base::Float => of!(Float64Array, Float),
        Base::Date => of!(Date32Array, Date),
        Base::DateTime => of!(TimestampMicrosecondArray, DateTime),
        Base::Str => {
            let texts = rows.iter().map(|d| match d {
                Datum::Str(s) => Some(s.as_str()),
                other => panic!("{other:?}"),
            });
            Arc::new(texts.collect::<StringArray>())
        }
    }
}

fn data_type(ty: Type) -> DataType {
    match ty.base {
        Base::Bool => DataType::Boolean,
        Base::Int => DataType::Int64,
        Base::Float => DataType::Float64,
        Base::Str => DataType::Utf8,
        Base::Date => DataType::Date32,
        Base::DateTime => DataType::Timestamp(TimeUnit::Microsecond, None),
    }
}

fn is_right(found: &Outcome, answer: &Answer) -> bool {
    match (answer, found) {
        (Answer::Bails, found) => *found == Outcome::Bail,
        (Answer::Value { may_bail, .. }, Outcome::Bail) => *may_bail,
        (Answer::Value { datum: Datum::Float(x), near, .. }, Outcome::Return(Datum::Float(y))) => {
            // The payload and sign of a NaN are nobody's.
            let apart = (x.to_bits() as i64).wrapping_sub(y.to_bits() as i64).unsigned_abs();
            (x.is_nan() && y.is_nan()) || apart <= u64::from(*near)
        }
        (Answer::Value { datum, .. }, Outcome::Return(found)) => datum == found,
    }
}

#[test]
fn operations_answer_as_cpython_does() {
    let mut failures = Vec::new();
    let groups = cases();
    for ((name, _), (types, cases)) in &groups {
        let op = op(name);
        let params: Vec<Param> =
            types.iter().enumerate().map(|(i, ty)| Param { name: format!("p{i}"), ty: *ty }).collect();
        let returns = op.infer(types, &[], &[]).unwrap_or_else(|e| panic!("{name}: {e}"));
        let args: Vec<Value> = (0..types.len() as u32).map(Value).collect();
        let mut body: Vec<Stmt> = args.iter().map(|v| Stmt::Let(*v, Op::Get(Local(v.0)), vec![])).collect();
        let result = Value(args.len() as u32);
        body.push(Stmt::Let(result, op.clone(), args));
        body.push(Stmt::Return(result));
        let function = Function {
            name: (*name).to_owned(),
            params,
            returns,
            locals: types.clone(),
            tables: vec![],
            body: Block(body),
        };
        verify(&function).unwrap();
        let interpreter = Interpreter::new(Arc::new(function.clone()));
        for case in cases {
            let found = interpreter.call(&case.args);
            if !is_right(&found, &case.answer) {
                failures.push(format!("{}\n    found {found:?}", case.line));
            }
        }
        // Batches whose texts are all ASCII have code of their own.
        let ascii = |c: &&Case| c.args.iter().all(|a| !matches!(a, Datum::Str(s) if !s.is_ascii()));
        let plain: Vec<&Case> = cases.iter().filter(ascii).collect();
        for batch in [cases.iter().collect(), plain] {
            let batch: Vec<&Case> = batch;
            let of = |i: usize| batch.iter().map(|c| c.args[i].clone()).collect::<Vec<_>>();
            let columns: Vec<ArrayRef> =
                types.iter().enumerate().map(|(i, ty)| column(*ty, &of(i))).collect();
            if let Err(message) = compare(&function, &columns, batch.len(), &data_type(returns)) {
                failures.push(format!("{name}: {message}"));
            }
        }
    }
    assert!(failures.is_empty(), "{} failures\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn every_operation_is_in_the_table() {
    let groups = cases();
    let has = |name: &str| groups.keys().any(|(n, _)| *n == name);
    // Those that mean nothing in Python by themselves, or the same as one that is there; numpy's are not CPython's.
    let structure =
        ["some", "is_none", "unwrap", "select", "not", "and", "or", "xor", "bool_to_int", "bool_to_str"];
    let missing: Vec<_> = Op::plain()
        .iter()
        .map(|op| op.name())
        .filter(|name| {
            !name.starts_with("ieee_")
                && !name.starts_with("whole.")
                && !has(name)
                && !structure.contains(&&**name)
                && !name.ends_with(".fast")
        })
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}
