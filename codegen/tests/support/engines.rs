//! The ways to run a loop: the interpreter, and machine code with vectors of every width there is.

use super::compare::{Outcome, difference};
use super::joined::RandomJoin;
use super::shrink::Case;
use arrow::array::ArrayRef;
use arrow::buffer::BooleanBuffer;
use fuseline_codegen::cpu::{CompileError, CompileOptions, Vectors, compile, has_wide_vectors};
use fuseline_codegen::ir::{Loop, interp};
use fuseline_codegen::joins::JoinSide;
use fuseline_codegen::run::{Morsel, RunLoop};
use std::sync::Arc;

/// What becomes of a loop that is compiled and compared with the interpreter.
#[derive(Debug)]
pub enum Verdict {
    /// Both agree; whether they agree on an error, and whether they noted a row of a build side.
    Same { failed: bool, met: bool },
    /// Not compiled, for this reason.
    Unsupported(String),
    /// The compiler failed, or the results differ.
    Wrong(String),
}

pub fn interpret(source: &Loop, inputs: &[ArrayRef], rows: usize, row_base: i64) -> Outcome {
    interp::run(source, &Morsel { inputs, rows, row_base, joins: &[] })
}

/// As [`interpret`], with build sides; also which of their rows were met, noted as rows and as entries.
pub fn interpret_joined(case: &Case, source: &Loop) -> (Outcome, Vec<BooleanBuffer>) {
    run_joined(case, |morsel| interp::run(source, morsel))
}

fn run_joined(case: &Case, run: impl FnOnce(&Morsel<'_>) -> Outcome) -> (Outcome, Vec<BooleanBuffer>) {
    let joins: Vec<Arc<JoinSide>> = case.joins.iter().map(RandomJoin::build).collect();
    let morsel = Morsel { inputs: &case.inputs, rows: case.rows, row_base: case.row_base, joins: &joins };
    let outcome = run(&morsel);
    let visited = joins.iter().flat_map(|j| [j.visited(false), j.visited(true)]).collect();
    (outcome, visited)
}

/// The code generators of this machine.
pub fn all_vectors() -> &'static [Vectors] {
    if has_wide_vectors() { &[Vectors::Auto, Vectors::Rolled, Vectors::Narrow] } else { &[Vectors::Narrow] }
}

/// Compiles a loop every way there is and compares what it does to a batch with what the interpreter says.
pub fn judge(source: &Loop, inputs: &[ArrayRef], rows: usize, row_base: i64) -> Verdict {
    let (source, inputs) = (source.clone(), inputs.to_vec());
    judge_case(&Case { source, inputs, rows, row_base, joins: vec![] })
}

/// The same for a case, whose loop may have joins.
pub fn judge_case(case: &Case) -> Verdict {
    let source = &case.source;
    let (right, right_visits) = interpret_joined(case, source);
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
        let (found, visits) = run_joined(case, |morsel| compiled.run(morsel));
        if let Some(difference) = difference(source, &right, &found) {
            return Verdict::Wrong(format!("{vectors:?}: {difference}"));
        }
        // Where it fails, who was met before depends on the order of evaluation.
        if right.is_ok() && visits != right_visits {
            return Verdict::Wrong(format!("{vectors:?}: rows {visits:?} were met, not {right_visits:?}"));
        }
    }
    let met = right_visits.iter().any(|v| v.count_set_bits() > 0);
    Verdict::Same { failed: right.is_err(), met }
}
