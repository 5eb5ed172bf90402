//! Golden files: loops in the text form with a batch, and what comes out.
//!
//! Each `golden/*.txt` holds cases, separated by lines of `====`. A case is a loop, `rows N` (or
//! `rows N from BASE`), one `column I = [..]` per input, a line `----`, and the output: columns as
//! `[..]`, `passenger`, `selection [..]`, aggregates as `count / value`, or `error: ..`. Every case
//! is run by the interpreter and by compiled code, on the columns as they are and on slices of
//! longer ones. Set `FUSELINE_BLESS=1` to write what comes out into the files.

use crate::support::compare::Outcome;
use crate::support::data::{array_of, shown};
use crate::support::engines::{Verdict, interpret, judge};
use arrow::array::{Array, ArrayRef};
use arrow::datatypes::DataType;
use fuseline_codegen::ir::{AggValue, Input, Lit, Loop, Ty, verify};
use std::fmt::Write;
use std::path::{Path, PathBuf};

#[test]
fn golden_files() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|f| f.extension().is_some_and(|e| e == "txt"));
    files.sort();
    assert!(!files.is_empty(), "there are no golden files in {}", folder.display());
    let bless = std::env::var_os("FUSELINE_BLESS").is_some();
    let mut failures = String::new();
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let mut blessed = Vec::new();
        for case in text.split("\n====\n") {
            let (question, expected) = case.split_once("\n----\n").unwrap_or((case, ""));
            let question = question.trim_end();
            let name = format!("{}: {}", file.display(), question.lines().next().unwrap_or_default());
            match answer(question) {
                Ok(found) => {
                    if found.trim() != expected.trim() && !bless {
                        let _ = writeln!(
                            failures,
                            "{name}\n{question}\nexpected:\n{}\nfound:\n{found}",
                            expected.trim()
                        );
                    }
                    blessed.push(format!("{question}\n----\n{}", found.trim_end()));
                }
                Err(message) => {
                    let _ = writeln!(failures, "{name}\n{question}\n{message}");
                    blessed.push(case.to_owned());
                }
            }
        }
        if bless {
            std::fs::write(&file, blessed.join("\n====\n") + "\n").unwrap();
        }
    }
    assert!(
        failures.is_empty(),
        "{failures}\nIf the found outputs are right, set FUSELINE_BLESS=1 and run again to accept them."
    );
}

/// What a case gives, the same from all ways to run it.
fn answer(question: &str) -> Result<String, String> {
    let end = question.find("\n}").ok_or("a case starts with a loop")? + 3;
    let (loop_text, data) = question.split_at(end.min(question.len()));
    let source: Loop = loop_text.parse().map_err(|e| format!("{e}"))?;
    verify(&source).map_err(|e| e.to_string())?;
    let printed: Loop = source.to_string().parse().map_err(|e| format!("the printed loop: {e}"))?;
    if printed != source {
        return Err(format!("the loop does not parse to itself:\n{source}"));
    }
    let batch = Batch::parse(&source, data)?;
    let text = shown_outcome(&interpret(&source, &batch.inputs, batch.rows, batch.row_base));
    let sliced: Vec<ArrayRef> = batch.inputs.iter().map(|a| shifted(a)).collect();
    for inputs in [&batch.inputs, &sliced] {
        let again = shown_outcome(&interpret(&source, inputs, batch.rows, batch.row_base));
        if again != text {
            return Err(format!("the interpreter gives\n{text}\nand on slices\n{again}"));
        }
        match judge(&source, inputs, batch.rows, batch.row_base) {
            Verdict::Same { .. } | Verdict::Unsupported(_) => {}
            Verdict::Wrong(difference) => return Err(format!("compiled code differs: {difference}")),
        }
    }
    Ok(text)
}

/// The same rows as a slice of a longer array.
fn shifted(array: &ArrayRef) -> ArrayRef {
    let front = 3.min(array.len());
    let long = arrow::compute::concat(&[&array.slice(array.len() - front, front), array, array]).unwrap();
    long.slice(front, array.len())
}

struct Batch {
    inputs: Vec<ArrayRef>,
    rows: usize,
    row_base: i64,
}

impl Batch {
    fn parse(source: &Loop, text: &str) -> Result<Batch, String> {
        let mut batch = Batch { inputs: vec![], rows: 0, row_base: 0 };
        let mut rows = None;
        for line in text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#')) {
            if let Some(count) = line.strip_prefix("rows ") {
                let (count, base) = count.split_once(" from ").unwrap_or((count, "0"));
                rows = Some(count.trim().parse::<usize>().map_err(|e| format!("{line}: {e}"))?);
                batch.row_base = base.trim().parse().map_err(|e| format!("{line}: {e}"))?;
            } else if line.starts_with("column ") {
                let input = source.inputs.get(batch.inputs.len()).ok_or("there are too many columns")?;
                let values = line.split_once('=').ok_or_else(|| format!("{line}: `=` is missing"))?.1;
                batch.inputs.push(column(&input.data_type, values.trim())?);
            } else {
                return Err(format!("{line}: neither rows nor a column"));
            }
        }
        batch.rows = rows.or(batch.inputs.first().map(|a| a.len())).ok_or("`rows` is missing")?;
        Ok(batch)
    }
}

/// Parses `[1, null, 3]` by letting the loop parser read each value as a constant.
fn column(data_type: &DataType, text: &str) -> Result<ArrayRef, String> {
    let ty = Input::physical(data_type).ok_or_else(|| format!("{data_type} is not representable"))?;
    let inner = text.strip_prefix('[').and_then(|t| t.strip_suffix(']'));
    let inner = inner.ok_or_else(|| format!("{text}: a column stands in [ ]"))?;
    let (mut values, mut valid) = (vec![], vec![]);
    for word in split_values(inner) {
        // The representation is all that matters; its arrow type is left to the array.
        let null = if word == "null" { "?" } else { "" };
        let parsed: Loop = format!("loop {{\nv0: {ty}{null} = const {word}\nemit passenger 0\n}}")
            .parse()
            .map_err(|e| format!("{word}: {e}"))?;
        let fuseline_codegen::ir::Op::Const(lit) = &parsed.values[0].op else {
            return Err(format!("{word} is no constant"));
        };
        valid.push(!lit.is_null());
        values.push(if lit.is_null() { under_null(ty) } else { lit.clone() });
    }
    Ok(array_of(data_type, &values, &valid))
}

/// What lies hidden under a null: nothing that a computation would take for harmless.
fn under_null(ty: Ty) -> Lit {
    match ty {
        Ty::Bool => Lit::Bool(true),
        Ty::I8 => Lit::I8(-128),
        Ty::I16 => Lit::I16(i16::MIN),
        Ty::I32 => Lit::I32(i32::MIN),
        Ty::I64 => Lit::I64(i64::MIN),
        Ty::I128 => Lit::I128(i128::MIN),
        Ty::U8 => Lit::U8(0),
        Ty::U16 => Lit::U16(0),
        Ty::U32 => Lit::U32(0),
        Ty::U64 => Lit::U64(0),
        Ty::F32 => Lit::F32(f32::NAN),
        Ty::F64 => Lit::F64(f64::NAN),
        Ty::Str => Lit::Str("hidden under a null".to_owned()),
    }
}

/// The values between commas that are not inside strings.
fn split_values(text: &str) -> Vec<&str> {
    let (mut out, mut start, mut quoted, mut escaped) = (vec![], 0, false, false);
    for (i, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            ',' if !quoted => {
                out.push(text[start..i].trim());
                start = i + 1;
            }
            _ => {}
        }
    }
    let last = text[start..].trim();
    if !last.is_empty() {
        out.push(last);
    }
    out
}

fn shown_outcome(outcome: &Outcome) -> String {
    let output = match outcome {
        Ok(output) => output,
        Err(error) => {
            let row = error.row().map_or(String::new(), |row| format!("row {row}: "));
            return format!("error: {row}{error}");
        }
    };
    let mut text = String::new();
    for column in &output.columns {
        match column {
            Some(array) => text += &format!("{} {}\n", array.data_type(), shown(array)),
            None => text += "passenger\n",
        }
    }
    if let Some(selection) = &output.selection {
        text += &format!("selection {}\n", shown(selection));
    }
    for state in &output.aggs {
        text += &match &state.value {
            AggValue::Int(v) => format!("{} / {v}\n", state.count),
            AggValue::Float(v) => format!("{} / {}\n", state.count, Lit::F64(*v)),
            AggValue::Spread(v) => {
                format!("{} / {} {}\n", state.count, Lit::F64(v.mean), Lit::F64(v.squares))
            }
            AggValue::Text(v) => format!("{} / {v:?}\n", state.count),
        };
    }
    if output.columns.is_empty() {
        text += &format!("{} rows\n", output.rows);
    }
    text
}
