//! Translated functions, run by the interpreter of the function IR. What Python itself says of the same functions
//! is tested in python/tests.

use crate::python_udf::capture::{Captured, Source};
use crate::python_udf::{ParamType, translate};
use fuseline_codegen::function::interp::{Datum, Outcome, call};
use fuseline_codegen::function::{Base, Function};
use std::rc::Rc;

fn source(text: &str) -> Rc<Source> {
    let known = [
        "abs",
        "min",
        "max",
        "round",
        "int",
        "float",
        "str",
        "len",
        "sum",
        "any",
        "all",
        "range",
        "enumerate",
        "isinstance",
        "ord",
        "next",
    ];
    let mut names: Vec<(Rc<str>, Captured)> =
        known.iter().map(|n| (Rc::from(*n), Captured::Known(Rc::from(*n)))).collect();
    names.push((
        "RATES".into(),
        Captured::Dict(
            [(Captured::Str("a".into()), Captured::Int(1)), (Captured::Str("b".into()), Captured::Int(2))]
                .into(),
        ),
    ));
    Rc::new(Source {
        name: "f".into(),
        text: text.into(),
        line: 1,
        lambda: None,
        names: names.into(),
        defaults: [].into(),
    })
}

fn compiled(text: &str, params: &[(Base, bool)], returns: Base) -> Function {
    let params: Vec<ParamType> =
        params.iter().map(|(base, optional)| ParamType { base: *base, optional: *optional }).collect();
    translate(&source(text), &params, returns).unwrap_or_else(|no| panic!("{no}\n{text}"))
}

fn ints(text: &str, cases: &[(&[i64], Option<i64>)]) {
    let params = vec![(Base::Int, false); cases[0].0.len()];
    let function = compiled(text, &params, Base::Int);
    for (args, expected) in cases {
        let args: Vec<Datum> = args.iter().map(|v| Datum::Int(*v)).collect();
        let expected = match expected {
            Some(v) => Outcome::Return(Datum::Int(*v)),
            None => Outcome::Bail,
        };
        assert_eq!(call(&function, &args), expected, "{args:?}\n{text}");
    }
}

fn texts(text: &str, cases: &[(&str, Option<&str>)]) {
    let function = compiled(text, &[(Base::Str, false)], Base::Str);
    for (arg, expected) in cases {
        let expected = match expected {
            Some(v) => Outcome::Return(Datum::Str((*v).into())),
            None => Outcome::Bail,
        };
        assert_eq!(call(&function, &[Datum::Str((*arg).into())]), expected, "{arg:?}\n{text}");
    }
}

#[test]
fn arithmetic_and_branches() {
    ints("def f(x, y):\n    return x // y if y else 0\n", &[(&[7, -2], Some(-4)), (&[1, 0], Some(0))]);
    ints("def f(x, y):\n    return x // y\n", &[(&[1, 0], None)]);
    ints(
        "def f(x):\n    if x > 3:\n        y = 1\n    elif x > 1:\n        y = 2\n    else:\n        return -1\n    return y + x\n",
        &[(&[4], Some(5)), (&[2], Some(4)), (&[0], Some(-1))],
    );
    ints("def f(x):\n    return 0 < x < 10 and x or 5\n", &[(&[4], Some(4)), (&[20], Some(5))]);
}

#[test]
fn loops() {
    ints(
        "def f(n):\n    s = 0\n    for i in range(n):\n        if i == 2:\n            continue\n        if i == 5:\n            break\n        s += i\n    else:\n        s = -s\n    return s\n",
        &[(&[4], Some(-4)), (&[9], Some(8))],
    );
    ints(
        "def f(n):\n    k = 0\n    while n != 1:\n        n = n // 2 if n % 2 == 0 else 3 * n + 1\n        k += 1\n    return k\n",
        &[(&[6], Some(8)), (&[1], Some(0))],
    );
    ints(
        "def f(x):\n    for limit, rate in ((10, 1), (20, 2)):\n        if x < limit:\n            return rate\n    return 3\n",
        &[(&[5], Some(1)), (&[15], Some(2)), (&[50], Some(3))],
    );
    ints(
        "def f(x):\n    best = None\n    for k in range(x):\n        if best is None or k % 5 > best:\n            best = k % 5\n    return best\n",
        &[(&[3], Some(2)), (&[9], Some(4))],
    );
    ints(
        "def f(x):\n    for k in (3, 5, 7):\n        if k > x:\n            found = k\n            break\n    else:\n        return -1\n    return found\n",
        &[(&[4], Some(5)), (&[9], Some(-1))],
    );
}

#[test]
fn text_functions() {
    texts(
        "def f(s):\n    return ''.join(c for c in s if c.isdigit())\n",
        &[("a1b22", Some("122")), ("", Some(""))],
    );
    texts(
        "def f(s):\n    parts = s.split(',')\n    if len(parts) < 2:\n        return 'none'\n    a, b = parts[0].strip(), parts[-1]\n    return f'{a}-{b:>3}'\n",
        &[("x ,y,z", Some("x-  z")), ("x", Some("none"))],
    );
    texts(
        "def f(s):\n    try:\n        return str(int(s) + 1)\n    except ValueError:\n        return 'bad'\n",
        &[("41", Some("42")), ("q", None)],
    );
    texts(
        "def f(s):\n    return str(RATES.get(s, 0)) + ('!' if any(w in s for w in ('x', 'y')) else '?')\n",
        &[("b", Some("2?")), ("xx", Some("0!"))],
    );
    texts(
        "def f(s):\n    key, sep, value = s.partition('=')\n    return value if sep else key\n",
        &[("a=b", Some("b")), ("a", Some("a"))],
    );
}

#[test]
fn none_is_seen_and_returned() {
    let f = compiled(
        "def f(x):\n    if x is None:\n        return None\n    return x * 0.5 if x > 2 else 0\n",
        &[(Base::Int, true)],
        Base::Float,
    );
    assert!(f.returns.optional);
    assert_eq!(call(&f, &[Datum::Int(3)]), Outcome::Return(Datum::Float(1.5)));
    assert_eq!(call(&f, &[Datum::None]), Outcome::Return(Datum::None));
}

#[test]
fn reasons_have_lines() {
    let no = |text: &str| {
        translate(&source(text), &[ParamType { base: Base::Int, optional: false }], Base::Int)
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        no("def f(x):\n    global y\n    return x\n"),
        "line 2: `global` writes outside the function, so it stays Python"
    );
    assert_eq!(
        no("def f(x):\n    if x:\n        y = 1\n    return y\n"),
        "line 4: `y` may have no value here"
    );
    assert_eq!(
        no("def f(x):\n    if x:\n        y = 1\n    else:\n        y = 'a'\n    return y\n"),
        "line 6: `y` is an int here and a str there"
    );
    assert_eq!(
        no("def f(x):\n    return 'a'\n"),
        "line 2: returns a str, which does not fit a column of type int"
    );
}
