//! The Cranelift back end: compiles a [`Loop`] to one function of machine code.
//!
//! The way of a loop: [`schedule`] cuts it into segments and phases; [`emitter`] writes the frame (chunk
//! loop, filters, outputs) and the phases' bodies come from [`lanes`], [`scalar`] and [`calls`]; [`jit`]
//! turns the function into memory that can be run; [`bind`] feeds it arrow arrays. Compiled code only
//! detects failures; [`CompiledLoop::run`] then asks the interpreter, whose word counts.

mod bind;
mod bools;
mod calls;
mod classify;
mod constants;
mod emitter;
mod helpers;
mod jit;
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
mod wide;

pub use listing::{Listing, listing};

use crate::ir::{Loop, interp};
use crate::run::{EvalError, LoopOutput, Morsel, RunLoop};
use constants::Constants;
use cranelift::codegen::ir::{Function, UserFuncName};
use cranelift::prelude::FunctionBuilder;
use emitter::Job;
use jit::CodeMemory;
use outputs::Outputs;
use schedule::Schedule;
use std::sync::OnceLock;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};

/// Which vectors lane loops use. The results are the same bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Vectors {
    /// The widest that the machine has and the code generator knows.
    #[default]
    Auto,
    /// Cranelift's, of 128 bits.
    Narrow,
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
    code: Code,
    /// The function for the last rows of a morsel, if `code` cannot run them. It is made when a
    /// morsel first has such rows.
    tail: OnceLock<Option<Code>>,
    vectors: Vectors,
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
                vectors: self.vectors,
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
        match bind::run(self, morsel)? {
            Some(output) => Ok(output),
            None => interp::run(&self.source, morsel).map(|out| LoopOutput { bailed: true, ..out }),
        }
    }
}

/// Compiles a verified loop.
///
/// # Errors
/// [`CompileError::Unsupported`] for what cannot be lowered, [`CompileError::Backend`] for faults.
pub fn compile(source: &Loop, options: &CompileOptions) -> Result<CompiledLoop, CompileError> {
    let start = Instant::now();
    let schedule = schedule::schedule(source)?;
    let outputs = Outputs::of(source);
    let vectors = options.vectors;
    let job = Job { lp: source, schedule: &schedule, outputs: &outputs, whole_groups: true, vectors };
    let code = generate(job, options.verify)?;
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
        code,
        tail: OnceLock::new(),
        vectors,
        stats,
        pass_percent: AtomicUsize::new(0),
    })
}

fn generate(job: Job<'_>, verify: bool) -> Result<Code, CompileError> {
    let isa = jit::isa()?;
    let mut constants = Constants::default();
    let (code, emitted) = jit::with_workspace(|workspace| {
        let context = &mut workspace.context;
        context.func = Function::with_name_signature(UserFuncName::default(), emitter::signature(isa));
        let builder = FunctionBuilder::new(&mut context.func, &mut workspace.builder);
        let emitted = emitter::emit(builder, isa, job, &mut constants)?;
        let code = jit::machine_code(context, verify, emitted.prefetches)?;
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
