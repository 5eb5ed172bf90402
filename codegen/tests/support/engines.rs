//! The ways to run a loop: the interpreter, and machine code with vectors of every width there is.

use super::compare::{Outcome, difference};
use arrow::array::ArrayRef;
use fuseline_codegen::cpu::{CompileError, CompileOptions, Vectors, compile, has_wide_vectors};
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
    interp::run(source, &Morsel { inputs, rows, row_base, joins: &[] })
}

/// The code generators of this machine.
pub fn all_vectors() -> &'static [Vectors] {
    if has_wide_vectors() { &[Vectors::Auto, Vectors::Narrow] } else { &[Vectors::Narrow] }
}

/// Compiles a loop every way there is and compares what it does to a batch with what the interpreter says.
pub fn judge(source: &Loop, inputs: &[ArrayRef], rows: usize, row_base: i64) -> Verdict {
    let right = interpret(source, inputs, rows, row_base);
    for vectors in all_vectors() {
        let compiled = match compile(source, &CompileOptions { verify: true, vectors: *vectors }) {
            Ok(compiled) => compiled,
            Err(CompileError::Unsupported(reason)) => return Verdict::Unsupported(reason),
            Err(error) => return Verdict::Wrong(format!("{vectors:?}: {error}")),
        };
        // Wide vectors do all that narrow ones do; a loop that falls back is tested by nobody.
        if *vectors == Vectors::Auto && compiled.stats().narrow_loops > 0 {
            return Verdict::Wrong("a lane loop has no wide form".to_owned());
        }
        let found = compiled.run(&Morsel { inputs, rows, row_base, joins: &[] });
        if let Some(difference) = difference(source, &right, &found) {
            return Verdict::Wrong(format!("{vectors:?}: {difference}"));
        }
    }
    Verdict::Same { failed: right.is_err() }
}
