//! Machine code for functions of a row: one Cranelift function that goes over a batch, row after row.
//!
//! [`frame`] writes the loop over the rows, what a row begins with (its parameters, out of Arrow's buffers) and the two
//! ways it ends (a result, or a bail); [`body`] writes statements, [`ops`] operations. What is too big to write is
//! called: kernels of `fuseline_kernels::python`, all through one signature. [`bind`] turns arrow arrays into
//! the structs of the call and results into arrays.
//!
//! Of a function with texts there are two versions: one for any texts, and one for batches that are all ASCII, where a
//! code point is a byte and most positions are a few instructions ([`texts`]).
//!
//! A row that bails leaves its number and a NULL. Nothing unwinds through the code, and Python is not known here: the
//! caller asks it for the rows that bailed.

mod bind;
mod body;
mod compare;
mod frame;
mod ops;
mod texts;

pub use bind::{RunError, supports_parameter, supports_result};

use super::constants::Constants;
use super::jit::{self, CodeMemory};
use super::{CompileError, CompileOptions, emitter};
use crate::function::kernel::{Extra, Tables};
use crate::function::{Block, Const, Function, Op, Stmt, Table, Types, verify};
use arrow::array::ArrayRef;
use arrow::datatypes::DataType;
use cranelift::codegen::ir::{Function as Clif, UserFuncName};
use cranelift::frontend::FunctionBuilderContext;
use cranelift::prelude::FunctionBuilder;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// What a batch gave.
#[derive(Clone, Debug)]
pub struct BatchResult {
    /// A row for each of the batch; NULL where the function returned None, and where the row bailed.
    pub values: ArrayRef,
    /// The rows that Python must be asked for, ascending.
    pub bailed: Vec<u32>,
}

/// A function as machine code, which it owns: dropping it frees the code.
pub struct CompiledFunction {
    /// Tables point to its texts.
    function: Arc<Function>,
    params: Vec<DataType>,
    result: DataType,
    types: Types,
    tables: Tables,
    options: CompileOptions,
    code: Code,
    /// The code for batches whose texts are all ASCII, made when there is one.
    ascii: OnceLock<Option<Code>>,
    compile_time: Duration,
}

/// A function in memory.
struct Code {
    memory: CodeMemory,
    /// The code refers to these by address.
    _kept: Kept,
}

/// What code refers to by address, besides the tables.
#[derive(Default)]
struct Kept {
    constants: Constants,
    extras: Vec<Extra>,
}

impl CompiledFunction {
    /// The function.
    pub fn source(&self) -> &Arc<Function> {
        &self.function
    }

    /// Whether a row may take long, so that who waits should run few rows at a time.
    pub fn has_loops(&self) -> bool {
        fn block(b: &Block) -> bool {
            b.0.iter().any(|stmt| match stmt {
                Stmt::While { .. } => true,
                Stmt::If { then, otherwise, .. } => block(then) || block(otherwise),
                Stmt::Let(..)
                | Stmt::Set(..)
                | Stmt::Break
                | Stmt::Continue
                | Stmt::Return(_)
                | Stmt::Bail => false,
            })
        }
        block(&self.function.body)
    }

    /// Bytes of machine code.
    pub fn code_bytes(&self) -> usize {
        self.code.memory.len()
    }

    /// The code for texts that are ASCII; the general one where there is no better.
    fn ascii_code(&self) -> &Code {
        let made = self.ascii.get_or_init(|| {
            if !keeps_ascii(&self.function) {
                return None;
            }
            let job = frame::Job {
                function: &self.function,
                types: &self.types,
                tables: &self.tables,
                params: &self.params,
                result: &self.result,
                ascii: true,
            };
            generate(job, self.options, |_| ()).ok()
        });
        made.as_ref().unwrap_or(&self.code)
    }

    pub fn compile_time(&self) -> Duration {
        self.compile_time
    }

    /// Runs the function over a batch: an array for each parameter, of the type that it was compiled for. Arrays of
    /// parameters that are not optional have no nulls.
    ///
    /// # Errors
    /// If the arrays are others.
    pub fn run(&self, args: &[ArrayRef], rows: usize) -> Result<BatchResult, RunError> {
        bind::run(self, args, rows)
    }
}

impl std::fmt::Debug for CompiledFunction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CompiledFunction")
            .field("name", &self.function.name)
            .field("code_bytes", &self.code_bytes())
            .finish_non_exhaustive()
    }
}

/// Compiles a function for columns of these types: see [`supports_parameter`] and [`supports_result`].
///
/// # Errors
/// [`CompileError::Unsupported`] for types that fit no parameter or result, [`CompileError::Backend`] for faults, a
/// malformed function among them.
pub fn compile(
    function: Function,
    params: &[DataType],
    result: &DataType,
    options: &CompileOptions,
) -> Result<CompiledFunction, CompileError> {
    let start = Instant::now();
    let (function, types, tables) = prepare(function, params, result)?;
    let job =
        frame::Job { function: &function, types: &types, tables: &tables, params, result, ascii: false };
    let code = generate(job, *options, |_| ())?;
    Ok(CompiledFunction {
        params: params.to_vec(),
        result: result.clone(),
        types,
        tables,
        options: *options,
        code,
        ascii: OnceLock::new(),
        compile_time: start.elapsed(),
        function,
    })
}

/// The CLIF of a function before optimization, for `EXPLAIN CODEGEN`.
///
/// # Errors
/// As [`compile`].
pub fn clif(function: Function, params: &[DataType], result: &DataType) -> Result<String, CompileError> {
    let (function, types, tables) = prepare(function, params, result)?;
    let ascii = keeps_ascii(&function);
    let job = frame::Job { function: &function, types: &types, tables: &tables, params, result, ascii };
    let mut clif = String::new();
    generate(job, CompileOptions::default(), |func| clif = func.display().to_string())?;
    Ok(clif)
}

/// Whether a function makes only ASCII of ASCII: then code points are bytes.
fn keeps_ascii(function: &Function) -> bool {
    fn block(b: &Block) -> bool {
        b.0.iter().all(|stmt| match stmt {
            Stmt::Let(_, op, _) => match op {
                Op::Str(s) | Op::Format(s) => s.is_ascii(),
                Op::Chr => false,
                _others => true,
            },
            Stmt::If { then, otherwise, .. } => block(then) && block(otherwise),
            Stmt::While { head, body, step, .. } => block(head) && block(body) && block(step),
            Stmt::Set(..) | Stmt::Break | Stmt::Continue | Stmt::Return(_) | Stmt::Bail => true,
        })
    }
    let texts = |table: &Table| {
        table
            .entries
            .iter()
            .all(|(_, value)| value.as_ref().and_then(Const::as_text).is_none_or(str::is_ascii))
    };
    function.tables.iter().all(texts) && block(&function.body)
}

/// Checks what is to be compiled, and builds its tables.
fn prepare(
    function: Function,
    params: &[DataType],
    result: &DataType,
) -> Result<(Arc<Function>, Types, Tables), CompileError> {
    let types = verify(&function).map_err(|e| CompileError::Backend(e.to_string()))?;
    if params.len() != function.params.len() {
        return Err(CompileError::Backend(format!("{} takes other columns", function.name)));
    }
    for (param, data_type) in function.params.iter().zip(params) {
        if !supports_parameter(param.ty, data_type) {
            return Err(CompileError::Unsupported(format!("{data_type} as parameter {}", param.name)));
        }
    }
    if !supports_result(function.returns, result) {
        return Err(CompileError::Unsupported(format!("a result that is {result}")));
    }
    let function = Arc::new(function);
    let tables = Tables::of(&function);
    Ok((function, types, tables))
}

fn generate(
    job: frame::Job<'_>,
    options: CompileOptions,
    look: impl FnOnce(&Clif),
) -> Result<Code, CompileError> {
    let mut kept = Kept::default();
    let code = jit::with_workspace(|workspace| {
        let isa = jit::isa()?;
        let func = &mut workspace.context.func;
        *func = Clif::with_name_signature(UserFuncName::default(), emitter::signature(isa));
        let builder = FunctionBuilder::new(func, &mut workspace.builder);
        let emitted = frame::emit(builder, isa, job, &mut kept);
        if emitted.is_err() {
            // It holds what was begun.
            workspace.builder = FunctionBuilderContext::new();
        }
        emitted?;
        look(&workspace.context.func);
        jit::machine_code(&mut workspace.context, options.verify, 0)
    })?;
    Ok(Code { memory: CodeMemory::new(&[], &code)?, _kept: kept })
}
