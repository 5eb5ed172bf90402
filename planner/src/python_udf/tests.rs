//! Translated functions, run by the interpreter of the function IR. What Python itself says of the same functions
//! is tested in python/tests.

use crate::python_udf::capture::{Captured, Source};
use crate::python_udf::{ParamType, translate, translate_arrays};
use arrow::datatypes::DataType;
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
        "set",
        "sorted",
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
fn ranges_by_any_step_and_tables() {
    ints(
        "def f(a, b, step):\n    n = 0\n    for i in range(a, b, step):\n        n = n * 10 + i\n    return n\n",
        &[
            (&[1, 8, 3], Some(147)),
            (&[8, 1, -3], Some(852)),
            (&[1, 8, -1], Some(0)),
            (&[1, 8, 0], None),
            (&[i64::MIN, i64::MAX, 1], None),
        ],
    );
    ints(
        "def f(r, c):\n    return ((1, 2), (3, 4))[r][c]\n",
        &[(&[0, 1], Some(2)), (&[-1, -2], Some(3)), (&[2, 0], None), (&[0, -3], None)],
    );
}

#[test]
fn letters() {
    texts(
        "def f(s):\n    return ''.join(sorted(s))\n",
        &[("banana", Some("aaabnn")), ("", Some("")), ("zäb😀", Some("bzä😀"))],
    );
    texts("def f(s):\n    return str(len(set(s)))\n", &[("banana", Some("3")), ("", Some("0"))]);
    texts(
        "def f(s):\n    return ''.join(sorted(set(s) & set('nba') | set('x') - set(s)))\n",
        &[("banana", Some("abnx")), ("xy", Some(""))],
    );
    texts(
        "def f(s):\n    return s.translate({98: None, 97: 'xy', 110: 109})\n",
        &[("banana", Some("xymxymxy")), ("q", Some("q"))],
    );
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
        "line 4: `y` is not bound on every path"
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

/// A function over arrays: `np` is NumPy with these names.
fn arrays(text: &str, params: &[DataType], returns: &DataType) -> Result<Function, String> {
    let known =
        ["sqrt", "log", "where", "clip", "maximum", "sign", "isnan", "mean", "int8", "float32", "errstate"];
    let attributes: Vec<(Rc<str>, Captured)> =
        known.iter().map(|n| (Rc::from(*n), Captured::Known(format!("numpy.{n}").into()))).collect();
    let errors =
        ["divide", "invalid", "over"].map(|n| (Captured::Str(n.into()), Captured::Str("warn".into())));
    let mut source = (*source(text)).clone();
    source.names = [
        ("np".into(), Captured::Module("numpy".into(), attributes.into())),
        ("numpy.geterr".into(), Captured::Dict(errors.into())),
    ]
    .into();
    translate_arrays(&Rc::new(source), params, returns).map_err(|no| no.to_string())
}

#[test]
fn arrays_follow_numpys_rules() {
    use DataType::{Boolean, Float32, Float64, Int8, Int64};
    let run = |text: &str, params: &[DataType], returns: &DataType, args: &[Datum]| {
        let function = arrays(text, params, returns).unwrap_or_else(|no| panic!("{no}\n{text}"));
        call(&function, args)
    };
    let float = |v: f64| Outcome::Return(Datum::Float(v));
    let one = |text: &str, x: f64| run(text, &[Float64], &Float64, &[Datum::Float(x)]);
    assert_eq!(one("def f(x):\n    return np.where(x > 0, x, 0) + 1\n", -3.0), float(1.0));
    assert_eq!(one("def f(x):\n    return np.clip(x, -1, 2.5)\n", 7.0), float(2.5));
    assert!(matches!(
        one("def f(x):\n    return np.maximum(x, 0)\n", f64::NAN),
        Outcome::Return(Datum::Float(v)) if v.is_nan()
    ));
    // Which zero it is, and what it warns about, NumPy says.
    assert_eq!(one("def f(x):\n    return np.maximum(x, 0)\n", -0.0), Outcome::Bail);
    assert_eq!(one("def f(x):\n    return np.log(x)\n", 0.0), Outcome::Bail);
    let silent = "def f(x):\n    with np.errstate(divide='ignore', invalid='ignore'):\n        r = 1 / x\n    return r\n";
    assert_eq!(one(silent, 0.0), float(f64::INFINITY));
    assert_eq!(one("def f(x):\n    return 1 / x\n", 0.0), Outcome::Bail);
    // Single precision is rounded at every step.
    let single = |text: &str, x: f32| run(text, &[Float32], &Float32, &[Datum::Float(f64::from(x))]);
    assert_eq!(single("def f(x):\n    return x * 3\n", 0.1), float(f64::from(0.1f32 * 3.0)));
    // Small ints: NumPy wraps.
    let small = |x: i64| run("def f(x):\n    return x + 100\n", &[Int8], &Int8, &[Datum::Int(x)]);
    assert_eq!(small(27), Outcome::Return(Datum::Int(127)));
    assert_eq!(small(28), Outcome::Bail);
    let cast = |x: i64| run("def f(x):\n    return x.astype(np.int8)\n", &[Int64], &Int8, &[Datum::Int(x)]);
    assert_eq!(cast(200), Outcome::Return(Datum::Int(-56)));
    let both = run(
        "def f(a, b):\n    return (a > 0) & ~b\n",
        &[Int64, Boolean],
        &Boolean,
        &[Datum::Int(1), Datum::Bool(false)],
    );
    assert_eq!(both, Outcome::Return(Datum::Bool(true)));
}

#[test]
fn arrays_that_look_around_are_refused() {
    use DataType::{Float64, Int8, Int64};
    let no = |text: &str| arrays(text, &[Float64], &Float64).unwrap_err();
    assert_eq!(
        no("def f(x):\n    return x - np.mean(x)\n"),
        "line 2: 'numpy.mean' looks at more than one row, so it stays Python"
    );
    assert!(no("def f(x):\n    return x.sum()\n").starts_with("line 2: '.sum'"));
    assert!(no("def f(x):\n    return x[::-1]\n").starts_with("line 2: an item of an array"));
    assert!(
        no("def f(x):\n    if x > 0:\n        return x\n    return -x\n")
            .starts_with("line 2: an array has no")
    );
    assert!(no("def f(x):\n    return 1.0\n").starts_with("line 2: it returns a float"));
    assert!(
        no("def f(x):\n    return x > 0\n").contains("an array of bool, but is declared to return float64")
    );
    let wide = arrays("def f(x):\n    return x + 300\n", &[Int8], &Int64).unwrap_err();
    assert!(wide.contains("300 is no int8"), "{wide}");
}
