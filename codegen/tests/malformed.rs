//! What the parser and the verifier refuse, and in which words.

use fuseline_codegen::ir::{Loop, Op, Step, ValueId, VerifyError, verify};

/// A loop with these lines after two inputs: v0 is i64?, v1 is bool.
fn text(lines: &str) -> String {
    format!(
        "loop {{
  input 0: i64? as Int64 \"a\"
  input 1: bool as Boolean \"b\"
  v0 = input 0
  v1 = input 1
{lines}
}}"
    )
}

fn parse_error(lines: &str) -> String {
    text(lines).parse::<Loop>().expect_err("this should not parse").to_string()
}

fn verify_error(lines: &str) -> String {
    let source: Loop = text(lines).parse().unwrap_or_else(|e| panic!("{lines}: {e}"));
    verify(&source).expect_err("this should not verify").to_string()
}

#[test]
fn the_parser_names_line_and_fault() {
    let cases = [
        ("  v2 = frobnicate v0\n  emit v0 as Int64?", "line 6: frobnicate is not an operation"),
        ("  v2 = add.sometimes v0, v0\n  emit v0 as Int64?", "line 6: add.sometimes is not an operation"),
        ("  v2 = try_add v0, v0\n  emit v0 as Int64?", "line 6: try_add is not an operation"),
        ("  v2 = add v0 v0\n  emit v0 as Int64?", "line 6: Add(Wrap) does not take arguments"),
        ("  v2 = not v7\n  emit v0 as Int64?", "line 6: v7 is not known yet"),
        ("  v2: i64 = const 1.5\n  emit v0 as Int64?", "line 6: 1.5 is not a i64"),
        ("  v2: i8 = const 128\n  emit v0 as Int64?", "line 6: 128 is not a i8"),
        ("  v2 = const 1\n  emit v0 as Int64?", "line 6: a constant needs a type"),
        ("  v2: str = const \"open\n  emit v0 as Int64?", "line 6: a string does not end"),
        ("  v2 = input 9\n  emit v0 as Int64?", "line 6: there is no input 9"),
        ("  v0 = row_index\n  emit v0 as Int64?", "line 6: v0 is computed twice"),
        ("  v3 = row_index\n  emit v0 as Int64?", "line 8: v2 is never computed"),
        ("  emit v0 as Int65", "line 6: Int65 is not an arrow type"),
        ("  emit v0 as Int64?\n  filter v1", "line 7: a loop ends after its sink"),
        ("  aggregate product(v0): i64", "line 6: product is not an aggregate"),
        ("  filter v1", "line 7: the loop has no sink"),
    ];
    for (lines, expected) in cases {
        let found = parse_error(lines);
        assert!(found.starts_with(expected), "{lines}\n{found}\n{expected}");
    }
    assert_eq!("loop {\n  emit passenger 0\n".parse::<Loop>().unwrap_err().line, 2);
}

#[test]
fn the_verifier_names_value_and_fault() {
    let cases = [
        ("  v2: i64 = add v0, v0\n  emit v0 as Int64?", "v2 is declared i64, but is i64?"),
        ("  v2: i64? = add v0, v1\n  emit v0 as Int64?", "v2: Add(Wrap) does not take arguments"),
        ("  v2: bool = and v0, v0\n  emit v0 as Int64?", "v2: And does not take arguments"),
        ("  filter v0\n  emit v0 as Int64?", "v0 is used as a condition, but is i64"),
        ("  v2 = div v0, v0 under v0\n  emit v2 as Int64?", "v0 is used as a condition, but is i64"),
        ("  v2 = add v0, v0 under v1\n  emit v2 as Int64?", "v2 has a condition, but cannot fail"),
        ("  emit v0 as Int32?", "output 0: v0 of type i64 cannot leave as Int32"),
        ("  emit v0 as Int64", "output 0 is declared without nulls, but v0 may be null"),
        ("  emit v9 as Int64?", "v9 is used before it is computed"),
        ("  aggregate sum(v1): i64", "aggregate 0: Sum(bool) cannot have the type i64"),
        ("  aggregate sum(*): i64", "aggregate 0: an argument is missing"),
        ("  aggregate count(v0): u64", "aggregate 0: Count(i64) cannot have the type u64"),
        ("  aggregate count(*) filter v0: i64", "v0 is used as a condition, but is i64"),
        ("  v2: i128? = dec_from_int(2, 39) v0\n  emit v0 as Int64?", "v2: precision 39 of a decimal"),
        ("  v2: i128? = dec_from_int(39, 38) v0\n  emit v0 as Int64?", "v2: 10^39 does not fit 128 bits"),
    ];
    for (lines, expected) in cases {
        let found = verify_error(lines);
        assert!(found.starts_with(expected), "{lines}\n{found}\n{expected}");
    }
}

/// Faults that the text form cannot express, or that need a hand on the structure.
#[test]
fn the_verifier_checks_the_structure() {
    let source: Loop = text("  v2 = is_valid v0\n  emit v2 as Boolean").parse().unwrap();
    verify(&source).unwrap();
    let broken = |change: &dyn Fn(&mut Loop)| {
        let mut broken = source.clone();
        change(&mut broken);
        verify(&broken).unwrap_err()
    };
    assert_eq!(broken(&|l| l.steps.swap(0, 2)), VerifyError::Undefined(0));
    assert_eq!(broken(&|l| l.steps.push(Step::Let(ValueId(0)))), VerifyError::Redefined(0));
    assert_eq!(broken(&|l| l.values.push(l.values[0].clone())), VerifyError::NeverDefined(3));
    assert_eq!(broken(&|l| l.steps.push(Step::Filter(ValueId(8)))), VerifyError::Undefined(8));
    let wrong_input = broken(&|l| l.values[0].op = Op::Input(5));
    assert_eq!(wrong_input, VerifyError::NoSuchInput { value: 0, input: 5, inputs: 2 });
    let represented = broken(&|l| l.inputs[0].ty = fuseline_codegen::ir::Ty::I32);
    assert!(matches!(represented, VerifyError::Representation { input: 0, .. }));
}
