//! The Cranelift back end: compiles a [`Loop`] to one function of machine code.
//!
//! The way of a loop: [`schedule`] cuts it into segments and phases; [`emitter`] writes the frame (chunk
//! loop, outputs; filters in [`filters`]) and the phases' bodies come from [`lanes`], [`scalar`] and
//! [`calls`], or are functions in AVX-512 that [`wide`] writes without Cranelift; [`jit`] turns the function
//! into memory that can be run; [`bind`] feeds it arrow arrays. Compiled code only detects failures;
//! [`CompiledLoop::run`] then asks the interpreter, whose word counts.

mod bind;
mod bools;
mod calls;
mod classify;
mod constants;
mod emitter;
mod filters;
pub mod function;
mod group;
mod helpers;
mod jit;
mod join;
mod lane_cast;
mod lane_compare;
mod lane_forms;
mod lane_ops;
mod lane_range;
mod lanes;
mod listing;
mod outputs;
mod prefetch;
mod scalar;
mod scalar_decimal;
mod scalar_ops;
mod schedule;
mod sink;
mod targets;
mod wide;

pub use listing::{Listing, listing};

use crate::groups::{GroupLayout, Groups};
use crate::ir::{Loop, interp};
use crate::run::{EvalError, LoopOutput, Morsel, RunLoop, into_columns};
use bind::Ran;
use constants::Constants;
use cranelift::codegen::ir::{Function, UserFuncName};
use cranelift::frontend::FunctionBuilderContext;
use cranelift::prelude::FunctionBuilder;
use emitter::{Emitted, Job};
use jit::{CodeMemory, Workspace};
use outputs::Outputs;
use schedule::Schedule;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// Which vectors lane loops use. The results are the same bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Vectors {
    /// The widest that the machine has and the code generator knows.
    #[default]
    Auto,
    /// Cranelift's, of 128 bits.
    Narrow,
    /// As [`Vectors::Auto`], but short loops do one group of 8 rows at a time and not two: for measuring what
    /// two are worth.
    Rolled,
}

/// Whether [`Vectors::Auto`] means more than [`Vectors::Narrow`] on this machine.
pub fn has_wide_vectors() -> bool {
    wide::is_available()
}

/// How to compile.
#[derive(Clone, Copy, Debug, Default)]
pub struct CompileOptions {
    /// Run Cranelift's verifier over the generated function.
    pub verify: bool,
    pub vectors: Vectors,
}

/// Why a loop could not be compiled. The interpreter can still run it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompileError {
    #[error("not compiled: {0}")]
    Unsupported(String),
    /// A fault in the code generator.
    #[error("code generation failed: {0}")]
    Backend(String),
}

/// What compiling a loop took and gave.
#[derive(Clone, Copy, Debug)]
pub struct CompileStats {
    pub compile_time: Duration,
    /// Values in the loop.
    pub ir_ops: usize,
    /// Bytes of machine code, constants included.
    pub code_bytes: usize,
    /// Lane loops of wide vectors, and of 128 bits.
    pub wide_loops: usize,
    pub narrow_loops: usize,
}

/// A function in memory, and what it needs.
struct Code {
    memory: CodeMemory,
    scratch_size: usize,
    wide_loops: usize,
    narrow_loops: usize,
    /// Whether it may only be called with multiples of 8 rows.
    whole_groups_only: bool,
    /// The function refers to these by address.
    _constants: Constants,
}

/// A loop as machine code, which it owns: dropping it frees the code.
pub struct CompiledLoop {
    source: Loop,
    schedule: Schedule,
    outputs: Outputs,
    /// The layout of the table of a loop that groups.
    groups: Option<Arc<GroupLayout>>,
    code: Code,
    /// The function for the last rows of a morsel, if `code` cannot run them. It is made when a
    /// morsel first has such rows.
    tail: OnceLock<Option<Code>>,
    stats: CompileStats,
    /// The share of rows that passed the filters in the last morsel; only a hint for where to put outputs.
    pass_percent: AtomicUsize,
}

impl CompiledLoop {
    pub fn stats(&self) -> CompileStats {
        self.stats
    }

    /// The function for row counts that are no multiple of 8; `None` if it could not be compiled.
    fn tail_code(&self) -> Option<&Code> {
        if !self.code.whole_groups_only {
            return Some(&self.code);
        }
        let tail = self.tail.get_or_init(|| {
            let job = Job {
                lp: &self.source,
                schedule: &self.schedule,
                outputs: &self.outputs,
                whole_groups: false,
            };
            generate(job, false).ok()
        });
        tail.as_ref()
    }
}

impl std::fmt::Debug for CompiledLoop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CompiledLoop").field("stats", &self.stats).finish_non_exhaustive()
    }
}

impl RunLoop for CompiledLoop {
    fn source(&self) -> &Loop {
        &self.source
    }

    fn run(&self, morsel: &Morsel<'_>) -> Result<LoopOutput, EvalError> {
        if let Some(layout) = &self.groups {
            let mut groups = Groups::with_layout(Arc::clone(layout), morsel.rows);
            let out = self.run_into(morsel, &mut groups)?;
            return into_columns(&mut groups, out);
        }
        match bind::run(self, morsel, None)? {
            Ran::Done(output) => Ok(output),
            Ran::Bailed { .. } => {
                interp::run(&self.source, morsel).map(|out| LoopOutput { bailed: true, ..out })
            }
        }
    }

    fn run_into(&self, morsel: &Morsel<'_>, groups: &mut Groups) -> Result<LoopOutput, EvalError> {
        match &self.groups {
            Some(layout) if Arc::ptr_eq(layout, groups.layout()) || **layout == **groups.layout() => {}
            Some(_) | None => {
                return Err(EvalError::Binding("the table is not one of this loop".to_owned()));
            }
        }
        match bind::run(self, morsel, Some(groups))? {
            Ran::Done(output) => Ok(output),
            // Chunks before this row are in the table, later ones have left no trace.
            Ran::Bailed { done, parts } => {
                interp::run_from(&self.source, morsel, (done, parts), Some(groups))
                    .map(|out| LoopOutput { bailed: true, ..out })
            }
        }
    }
}

/// Compiles a verified loop.
///
/// # Errors
/// [`CompileError::Unsupported`] for what cannot be lowered, [`CompileError::Backend`] for faults.
pub fn compile(source: &Loop, options: &CompileOptions) -> Result<CompiledLoop, CompileError> {
    let start = Instant::now();
    let outputs = Outputs::of(source);
    let (schedule, code) = with_widest(source, options.vectors, |schedule| {
        let job = Job { lp: source, schedule, outputs: &outputs, whole_groups: true };
        generate(job, options.verify)
    })?;
    let stats = CompileStats {
        compile_time: start.elapsed(),
        ir_ops: source.values.len(),
        code_bytes: code.memory.len(),
        wide_loops: code.wide_loops,
        narrow_loops: code.narrow_loops,
    };
    Ok(CompiledLoop {
        source: source.clone(),
        schedule,
        outputs,
        groups: GroupLayout::of(source).map(Arc::new),
        code,
        tail: OnceLock::new(),
        stats,
        pass_percent: AtomicUsize::new(0),
    })
}

/// Schedules a loop for the widest vectors that there are and makes something of it; for 128-bit lanes if
/// the wide ones do not support it.
fn with_widest<T>(
    source: &Loop,
    vectors: Vectors,
    mut make: impl FnMut(&Schedule) -> Result<T, CompileError>,
) -> Result<(Schedule, T), CompileError> {
    let (wants_wide, unrolled) = match vectors {
        Vectors::Auto => (true, true),
        Vectors::Rolled => (true, false),
        Vectors::Narrow => (false, true),
    };
    if wants_wide && wide::is_available() {
        let schedule = Schedule { unrolled, ..schedule::schedule(source, true)? };
        match make(&schedule) {
            Ok(made) => return Ok((schedule, made)),
            Err(CompileError::Unsupported(_)) => {}
            Err(error @ CompileError::Backend(_)) => return Err(error),
        }
    }
    let schedule = schedule::schedule(source, false)?;
    let made = make(&schedule)?;
    Ok((schedule, made))
}

/// Writes the function into the workspace.
fn emit(workspace: &mut Workspace, job: Job<'_>, constants: &mut Constants) -> Result<Emitted, CompileError> {
    let isa = jit::isa()?;
    let func = &mut workspace.context.func;
    *func = Function::with_name_signature(UserFuncName::default(), emitter::signature(isa));
    let builder = FunctionBuilder::new(func, &mut workspace.builder);
    let emitted = emitter::emit(builder, isa, job, constants);
    if emitted.is_err() {
        // It holds what was begun.
        workspace.builder = FunctionBuilderContext::new();
    }
    emitted
}

fn generate(job: Job<'_>, verify: bool) -> Result<Code, CompileError> {
    let mut constants = Constants::default();
    let (code, emitted) = jit::with_workspace(|workspace| {
        let emitted = emit(workspace, job, &mut constants)?;
        let code = jit::machine_code(&mut workspace.context, verify, emitted.prefetches)?;
        Ok::<_, CompileError>((code, emitted))
    })?;
    Ok(Code {
        memory: CodeMemory::new(&emitted.wide.code, &code)?,
        scratch_size: emitted.scratch_size,
        wide_loops: emitted.wide.all().count(),
        narrow_loops: emitted.narrow_loops,
        whole_groups_only: emitted.whole_groups_only,
        _constants: constants,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_wide_lanes_do_not_support_is_compiled_narrow() {
        let text = "loop {
  input 0: f64 as Float64
  v0 = input 0
  v1 = try_cast.i32 v0
  emit v1 as Int32?
}";
        let source: Loop = text.parse().unwrap();
        let mut tried = Vec::new();
        let mut refuse_wide = |schedule: &Schedule| {
            tried.push((schedule.wide, schedule.segments[0].phases[0].kind));
            if schedule.wide { Err(CompileError::Unsupported("a test".to_owned())) } else { Ok(()) }
        };
        let (schedule, ()) = with_widest(&source, Vectors::Auto, &mut refuse_wide).unwrap();
        assert!(!schedule.wide);
        let (schedule, ()) = with_widest(&source, Vectors::Narrow, &mut refuse_wide).unwrap();
        assert!(!schedule.wide);
        // Conversions to ints are lanes only where vectors are wide.
        let mut expected = vec![(false, classify::Kind::Scalar); 2];
        if has_wide_vectors() {
            expected.insert(0, (true, classify::Kind::Lanes));
        }
        assert_eq!(tried, expected);
    }
}
