//! What the verifier refuses, each in one word of its message, and what the parser does.

use fuseline_codegen::function::{parse, verify};

fn refused(body: &str, message: &str) {
    let text = format!("function \"f\"(\"a\": int, \"s\": str?) -> int {{\n  locals int\n{body}\n}}\n");
    let function = parse(&text).unwrap_or_else(|e| panic!("{e}\n{text}"));
    let error = verify(&function).expect_err(&text).to_string();
    assert!(error.contains(message), "{error}\n{text}");
}

#[test]
fn malformed_functions_are_refused() {
    refused("v0 = get l0", "the end of the body");
    refused("v0 = get l2 return v0", "before it is set");
    refused("v0 = get l0 v1 = bool true if v1 { l2 = v0 } v2 = get l2 return v2", "before it is set");
    refused("return v0", "not defined");
    refused("v1 = bool true if v1 { v0 = int 1 } else { bail } return v0", "not defined");
    refused("v0 = int 1 v0 = int 1 return v0", "defined twice");
    refused("v0 = get l1 return v0", "returns str?");
    refused("v0 = get l0 v1 = get l1 v2 = add v0, v1 return v2", "takes (int, int)");
    refused("v0 = get l0 l1 = v0 return v0", "set to int");
    refused("v0 = get l0 return v0 bail", "follows the end");
    refused("break", "outside loops");
    refused(
        "while { v0 = bool true } v0 { bail } step { while { v1 = bool true } v1 { bail } } bail",
        "a loop stands",
    );
    refused("while { v0 = bool true if v0 { bail } else { bail } } v0 { bail } bail", "head of a loop");
    refused("while { v0 = get l0 } v0 { bail } bail", "condition");
    refused("v0 = get l0 v1 = format \"q\" v0 bail", "constant");
    refused("v0 = date 9999999 bail", "constant");
    refused("v0 = get l0 v1 = has 0 v0 bail", "no table");
    refused("v0 = get l7 bail", "no local");
}

#[test]
fn jumps_decide_which_locals_are_set() {
    // Set on every way out of the loop.
    let good =
        "function \"f\"() -> int {\n  locals int\n  while { v0 = bool true v1 = int 1 l0 = v1 } v0 { break }
        v2 = get l0 return v2 }";
    verify(&parse(good).unwrap()).unwrap();
    // Only the body sets it, and the loop may not run.
    let bad = "function \"f\"() -> int {\n  locals int\n  while { v0 = bool true } v0 { v1 = int 1 l0 = v1 }
        v2 = get l0 return v2 }";
    assert!(verify(&parse(bad).unwrap()).unwrap_err().to_string().contains("before it is set"));
}

#[test]
fn what_is_no_function_is_not_read() {
    for (text, message) in [
        ("", "expected `function`"),
        ("function \"f\"() -> int { v0 = nothing bail }", "no operation nothing"),
        ("function \"f\"() -> int { bail } x", "follows the function"),
        ("function \"f\"() -> real { bail }", "expected a type"),
        ("function \"f() -> int { bail }", "without end"),
        ("function \"f\"() -> int { v0 = int a bail }", "expected a number"),
    ] {
        let error = parse(text).expect_err(text);
        assert!(error.contains(message), "{text}: {error}");
    }
}
