//! The two ways to run a loop.

use super::compare::{Outcome, difference};
use arrow::array::ArrayRef;
use fuseline_codegen::cpu::{CompileError, CompileOptions, compile};
use fuseline_codegen::ir::{Loop, interp};
use fuseline_codegen::run::{Morsel, RunLoop};

/// What becomes of a loop that is compiled and compared with the interpreter.
#[derive(Debug)]
pub enum Verdict {
    /// Both agree; whether they agree on an error.
    Same { failed: bool },
    /// Not compiled, for this reason.
    Unsupported(String),
    /// The compiler failed, or the results differ.
    Wrong(String),
}

pub fn interpret(source: &Loop, inputs: &[ArrayRef], rows: usize, row_base: i64) -> Outcome {
    interp::run(source, &Morsel { inputs, rows, row_base })
}

/// Compiles a loop and compares what it does to a batch with what the interpreter says.
pub fn judge(source: &Loop, inputs: &[ArrayRef], rows: usize, row_base: i64) -> Verdict {
    let compiled = match compile(source, &CompileOptions { verify: true }) {
        Ok(compiled) => compiled,
        Err(CompileError::Unsupported(reason)) => return Verdict::Unsupported(reason),
        Err(error) => return Verdict::Wrong(error.to_string()),
    };
    let right = interpret(source, inputs, rows, row_base);
    let found = compiled.run(&Morsel { inputs, rows, row_base });
    match difference(source, &right, &found) {
        Some(difference) => Verdict::Wrong(difference),
        None => Verdict::Same { failed: right.is_err() },
    }
}
