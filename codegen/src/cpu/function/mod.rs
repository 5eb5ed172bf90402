//! Machine code for functions of a row: one Cranelift function that goes over a batch, row after row.
//!
//! [`frame`] writes the loop over the rows, what a row begins with (its parameters, out of Arrow's buffers) and the two
//! ways it ends (a result, or a bail); [`body`] writes statements, [`ops`] operations. What is too big to write is
//! called: kernels of `fuseline_kernels::python`, all through one signature. [`bind`] turns arrow arrays into
//! the structs of the call and results into arrays.
//!
//! A row that bails leaves its number and a NULL. Nothing unwinds through the code, and Python is not known here: the
//! caller asks it for the rows that bailed.

mod bind;
mod body;
mod compare;
mod frame;
mod ops;

pub use bind::{RunError, supports_parameter, supports_result};

use super::constants::Constants;
use super::jit::{self, CodeMemory};
use super::{CompileError, CompileOptions, emitter};
use crate::function::kernel::{Extra, Tables};
use crate::function::{Function, verify};
use arrow::array::ArrayRef;
use arrow::datatypes::DataType;
use cranelift::codegen::ir::{Function as Clif, UserFuncName};
use cranelift::frontend::FunctionBuilderContext;
use cranelift::prelude::FunctionBuilder;
use std::sync::Arc;
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
    memory: CodeMemory,
    compile_time: Duration,
    /// The code refers to these by address.
    _constants: Constants,
    _tables: Tables,
    _extras: Vec<Extra>,
}

/// What compiling leaves behind besides code.
#[derive(Default)]
struct Kept {
    constants: Constants,
    extras: Vec<Extra>,
}

impl CompiledFunction {
    /// The function.
    pub fn source(&self) -> &Function {
        &self.function
    }

    /// Bytes of machine code.
    pub fn code_bytes(&self) -> usize {
        self.memory.len()
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
    let mut kept = Kept::default();
    let (function, tables, code) = generate(function, params, result, options, &mut kept, |_| ())?;
    Ok(CompiledFunction {
        function,
        params: params.to_vec(),
        result: result.clone(),
        memory: CodeMemory::new(&[], &code)?,
        compile_time: start.elapsed(),
        _constants: kept.constants,
        _tables: tables,
        _extras: kept.extras,
    })
}

/// The CLIF of a function before optimization, for `EXPLAIN CODEGEN`.
///
/// # Errors
/// As [`compile`].
pub fn clif(function: Function, params: &[DataType], result: &DataType) -> Result<String, CompileError> {
    let mut clif = String::new();
    let mut kept = Kept::default();
    let options = CompileOptions::default();
    generate(function, params, result, &options, &mut kept, |func| clif = func.display().to_string())?;
    Ok(clif)
}

fn generate(
    function: Function,
    params: &[DataType],
    result: &DataType,
    options: &CompileOptions,
    kept: &mut Kept,
    look: impl FnOnce(&Clif),
) -> Result<(Arc<Function>, Tables, Vec<u8>), CompileError> {
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
    let code = jit::with_workspace(|workspace| {
        let isa = jit::isa()?;
        let func = &mut workspace.context.func;
        *func = Clif::with_name_signature(UserFuncName::default(), emitter::signature(isa));
        let builder = FunctionBuilder::new(func, &mut workspace.builder);
        let job = frame::Job { function: &function, types: &types, tables: &tables, params, result };
        let emitted = frame::emit(builder, isa, job, kept);
        if emitted.is_err() {
            // It holds what was begun.
            workspace.builder = FunctionBuilderContext::new();
        }
        emitted?;
        look(&workspace.context.func);
        jit::machine_code(&mut workspace.context, options.verify, 0)
    })?;
    Ok((function, tables, code))
}
