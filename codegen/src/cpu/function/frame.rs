//! The loop over the rows of a batch, and what a row begins and ends with.
//!
//! ```text
//! entry -> row <------------------------------+
//!           |  (parameters, body)             |
//!           +--> store result ----> next -----+
//!           +--> bail: note row -----^   |
//!                                        +--> done
//! ```

use super::Kept;
use super::bind::{Call, Column};
use super::ops::Val;
use crate::cpu::CompileError;
use crate::cpu::emitter::FLAGS;
use crate::function::kernel::Tables;
use crate::function::{Base, Block as Statements, Function, Stmt, Type, Types, Value as Id};
use arrow::datatypes::{DataType, TimeUnit};
use cranelift::codegen::ir::{ArgumentPurpose, SigRef, StackSlot};
use cranelift::codegen::isa::{CallConv, TargetIsa};
use cranelift::prelude::*;
use fuseline_kernels::python::arena::Arena;
use fuseline_kernels::python::call::{self, Kernel, MOST_WORDS};
use fuseline_kernels::python::date;
use std::collections::HashMap;
use std::mem::offset_of;
use std::rc::Rc;

/// What is compiled: a verified function, with the types of its columns, which fit.
#[derive(Clone, Copy)]
pub(super) struct Job<'f> {
    pub function: &'f Function,
    pub types: &'f Types,
    pub tables: &'f Tables,
    pub params: &'f [DataType],
    pub result: &'f DataType,
    /// All texts of the rows are ASCII.
    pub ascii: bool,
}

/// The variables of a local.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub data: Variable,
    pub len: Option<Variable>,
    pub valid: Option<Variable>,
}

/// A function being compiled.
pub(super) struct Emitter<'f, 'b> {
    pub b: FunctionBuilder<'b>,
    pub job: Job<'f>,
    pub kept: &'f mut Kept,
    pub values: Vec<Option<Val>>,
    pub locals: Vec<Place>,
    /// Constants.
    pub known_ints: HashMap<Id, i64>,
    pub known_texts: HashMap<Id, Rc<[u8]>>,
    /// Where a row goes that bails.
    pub bail: Block,
    /// Rounds per loop, by the address of its statement.
    pub rounds: HashMap<*const Stmt, Variable>,
    pub arena: Value,
    /// Words for kernels.
    slot: StackSlot,
    kernel_signature: SigRef,
    float_signature: SigRef,
    call_conv: CallConv,
    row: Value,
    next: Block,
    out: Out,
}

/// Where results go.
#[derive(Clone, Copy)]
struct Out {
    values: Value,
    valid: Value,
    text: Value,
    bailed: Value,
}

/// Writes the whole function.
pub(super) fn emit(
    mut b: FunctionBuilder<'_>,
    isa: &dyn TargetIsa,
    job: Job<'_>,
    kept: &mut Kept,
) -> Result<(), CompileError> {
    let entry = b.create_block();
    b.append_block_params_for_function_params(entry);
    b.switch_to_block(entry);
    b.seal_block(entry);
    let context = b.block_params(entry)[0];
    let field = |b: &mut FunctionBuilder<'_>, at: usize| b.ins().load(types::I64, FLAGS, context, at as i32);
    let rows = field(&mut b, offset_of!(Call, rows));
    let arena = field(&mut b, offset_of!(Call, arena));
    let columns = field(&mut b, offset_of!(Call, columns));
    let out = Out {
        values: field(&mut b, offset_of!(Call, values)),
        valid: field(&mut b, offset_of!(Call, valid)),
        text: field(&mut b, offset_of!(Call, text)),
        bailed: field(&mut b, offset_of!(Call, bailed)),
    };
    let call_conv = isa.default_call_conv();
    let mut signature = Signature::new(call_conv);
    signature.params.extend([AbiParam::new(types::I64), AbiParam::new(types::I64)]);
    signature.returns.push(AbiParam::new(types::I32));
    let kernel_signature = b.import_signature(signature);
    let mut signature = Signature::new(call_conv);
    signature.params.push(AbiParam::special(types::F64, ArgumentPurpose::Normal));
    signature.returns.push(AbiParam::new(types::F64));
    let float_signature = b.import_signature(signature);
    let slot = b.create_sized_stack_slot(StackSlotData::new(
        StackSlotKind::ExplicitSlot,
        (MOST_WORDS * 8) as u32,
        3,
    ));
    let bails = b.declare_var(types::I64);
    let zero = b.ins().iconst(types::I64, 0);
    b.def_var(bails, zero);
    let [start, bail, next, done] = std::array::from_fn(|_| b.create_block());
    b.append_block_param(start, types::I64);
    b.ins().brif(rows, start, &[zero.into()], done, &[]);
    b.switch_to_block(start);
    let row = b.block_params(start)[0];
    let mut e = Emitter {
        b,
        job,
        kept,
        values: vec![None; job.types.len()],
        locals: Vec::new(),
        known_ints: HashMap::new(),
        known_texts: HashMap::new(),
        bail,
        rounds: HashMap::new(),
        arena,
        slot,
        kernel_signature,
        float_signature,
        call_conv,
        row,
        next,
        out,
    };
    e.declare();
    for at in 0..job.params.len() {
        e.load_parameter(at, columns)?;
    }
    e.block(&job.function.body)?;

    e.b.switch_to_block(bail);
    e.b.seal_block(bail);
    e.b.set_cold_block(bail);
    e.end_with_bail(bails);

    e.b.switch_to_block(next);
    e.b.seal_block(next);
    e.reset_arena();
    let following = e.b.ins().iadd_imm_s(row, 1);
    let more = e.b.ins().icmp(IntCC::UnsignedLessThan, following, rows);
    e.b.ins().brif(more, start, &[following.into()], done, &[]);
    e.b.seal_block(start);

    e.b.switch_to_block(done);
    e.b.seal_block(done);
    let count = e.b.use_var(bails);
    e.b.ins().return_(&[count]);
    e.b.finalize(isa.frontend_config());
    Ok(())
}

/// The type in a register of a base's value (a text's address).
pub(super) fn register(base: Base) -> types::Type {
    match base {
        Base::Bool => types::I8,
        Base::Int | Base::Str | Base::Date | Base::DateTime => types::I64,
        Base::Float => types::F64,
    }
}

fn loops<'f>(block: &'f Statements, found: &mut Vec<&'f Stmt>) {
    for stmt in &block.0 {
        match stmt {
            Stmt::While { head, body, step, .. } => {
                found.push(stmt);
                [head, body, step].into_iter().for_each(|b| loops(b, found));
            }
            Stmt::If { then, otherwise, .. } => {
                loops(then, found);
                loops(otherwise, found);
            }
            Stmt::Let(..) | Stmt::Set(..) | Stmt::Break | Stmt::Continue | Stmt::Return(_) | Stmt::Bail => {}
        }
    }
}

impl Emitter<'_, '_> {
    fn declare(&mut self) {
        for ty in &self.job.function.locals {
            let data = self.b.declare_var(register(ty.base));
            let len = (ty.base == Base::Str).then(|| self.b.declare_var(types::I64));
            let valid = ty.optional.then(|| self.b.declare_var(types::I8));
            self.locals.push(Place { data, len, valid });
        }
        let mut found = Vec::new();
        loops(&self.job.function.body, &mut found);
        let zero = self.b.ins().iconst(types::I32, 0);
        for stmt in found {
            let rounds = self.b.declare_var(types::I32);
            self.b.def_var(rounds, zero);
            self.rounds.insert(stmt, rounds);
        }
    }

    /// Leaves the row for Python if `condition` (0 or 1) holds.
    pub(super) fn bail_if(&mut self, condition: Value) {
        let on = self.b.create_block();
        self.b.ins().brif(condition, self.bail, &[], on, &[]);
        self.b.switch_to_block(on);
        self.b.seal_block(on);
    }

    /// Leaves the row for Python unless `condition` holds.
    pub(super) fn bail_unless(&mut self, condition: Value) {
        let on = self.b.create_block();
        self.b.ins().brif(condition, on, &[], self.bail, &[]);
        self.b.switch_to_block(on);
        self.b.seal_block(on);
    }

    pub(super) fn address(&mut self, address: u64) -> Value {
        self.b.ins().iconst(types::I64, address as i64)
    }

    /// Calls a kernel with these words, and bails if it does. The results are read with [`Emitter::word`].
    pub(super) fn call(&mut self, kernel: Kernel, words: &[Value]) {
        let at = self.b.ins().stack_addr(types::I64, self.slot, 0);
        for (i, word) in words.iter().enumerate() {
            let word = match self.b.func.dfg.value_type(*word) {
                types::I8 => self.b.ins().uextend(types::I64, *word),
                _whole => *word,
            };
            self.b.ins().store(FLAGS, word, at, (i * 8) as i32);
        }
        let callee = self.address(kernel as *const () as u64);
        let call = self.b.ins().call_indirect(self.kernel_signature, callee, &[self.arena, at]);
        let done = self.b.inst_results(call)[0];
        self.bail_unless(done);
    }

    /// A word of the last kernel's result.
    pub(super) fn word(&mut self, at: usize, ty: types::Type) -> Value {
        let slot = self.b.ins().stack_addr(types::I64, self.slot, 0);
        self.b.ins().load(ty, FLAGS, slot, (at * 8) as i32)
    }

    /// Calls a function of one float.
    pub(super) fn call_float(&mut self, function: extern "C" fn(f64) -> f64, x: Value) -> Value {
        let callee = self.address(function as *const () as u64);
        let call = self.b.ins().call_indirect(self.float_signature, callee, &[x]);
        self.b.inst_results(call)[0]
    }

    /// Calls a function of 64-bit words in registers, which gives one.
    pub(super) fn call_plain(&mut self, address: u64, args: &[Value]) -> Value {
        let mut signature = Signature::new(self.call_conv);
        signature.params.extend(args.iter().map(|_| AbiParam::new(types::I64)));
        signature.returns.push(AbiParam::new(types::I64));
        let signature = self.b.import_signature(signature);
        let callee = self.address(address);
        let call = self.b.ins().call_indirect(signature, callee, args);
        self.b.inst_results(call)[0]
    }

    // ---- parameters ------------------------------------------------------------------------------

    fn bit(&mut self, bits: Value, first: Value) -> Value {
        let at = self.b.ins().iadd(first, self.row);
        let byte_at = self.b.ins().ushr_imm_u(at, 3);
        let place = self.b.ins().iadd(bits, byte_at);
        let byte = self.b.ins().uload8(types::I64, FLAGS, place, 0);
        let shift = self.b.ins().band_imm_u(at, 7);
        let bit = self.b.ins().ushr(byte, shift);
        let bit = self.b.ins().band_imm_u(bit, 1);
        self.b.ins().ireduce(types::I8, bit)
    }

    fn load_parameter(&mut self, at: usize, columns: Value) -> Result<(), CompileError> {
        let ty = self.job.function.params[at].ty;
        let data_type = &self.job.params[at];
        let base = at * size_of::<Column>();
        let field =
            |e: &mut Self, field: usize| e.b.ins().load(types::I64, FLAGS, columns, (base + field) as i32);
        let data = field(self, offset_of!(Column, data));
        let valid = ty.optional.then(|| {
            let (bits, first) =
                (field(self, offset_of!(Column, valid)), field(self, offset_of!(Column, valid_bit)));
            self.bit(bits, first)
        });
        let load = |e: &mut Self, ty: types::Type| {
            let bytes = i64::from(ty.bytes());
            let offset = e.b.ins().imul_imm_s(e.row, bytes);
            let place = e.b.ins().iadd(data, offset);
            e.b.ins().load(ty, FLAGS, place, 0)
        };
        let mut len = None;
        // What a column can hold and Python has no value for; of rows that are None nothing is asked.
        let mut bad = None;
        let signed = |e: &mut Self, x: Value| e.b.ins().sextend(types::I64, x);
        let unsigned = |e: &mut Self, x: Value| e.b.ins().uextend(types::I64, x);
        let loaded = match data_type {
            DataType::Boolean => {
                let first = field(self, offset_of!(Column, data_bit));
                self.bit(data, first)
            }
            DataType::Int8 => {
                let x = load(self, types::I8);
                signed(self, x)
            }
            DataType::Int16 => {
                let x = load(self, types::I16);
                signed(self, x)
            }
            DataType::Int32 => {
                let x = load(self, types::I32);
                signed(self, x)
            }
            DataType::Int64 => load(self, types::I64),
            DataType::UInt8 => {
                let x = load(self, types::I8);
                unsigned(self, x)
            }
            DataType::UInt16 => {
                let x = load(self, types::I16);
                unsigned(self, x)
            }
            DataType::UInt32 => {
                let x = load(self, types::I32);
                unsigned(self, x)
            }
            DataType::UInt64 => {
                let x = load(self, types::I64);
                bad = Some(self.b.ins().icmp_imm_s(IntCC::SignedLessThan, x, 0));
                x
            }
            DataType::Float32 => {
                let x = load(self, types::F32);
                self.b.ins().fpromote(types::F64, x)
            }
            DataType::Float64 => load(self, types::F64),
            DataType::Date32 => {
                let x = load(self, types::I32);
                let x = signed(self, x);
                bad = Some(self.outside(x, date::FIRST_DAY, date::LAST_DAY));
                x
            }
            DataType::Timestamp(unit, _) => {
                let x = load(self, types::I64);
                let factor = match unit {
                    TimeUnit::Second => 1_000_000,
                    TimeUnit::Millisecond => 1000,
                    TimeUnit::Microsecond | TimeUnit::Nanosecond => 1,
                };
                let (first, last) = (date::FIRST_DAY * date::DAY, (date::LAST_DAY + 1) * date::DAY - 1);
                // Those within the years do not overflow.
                bad = Some(self.outside(x, first / factor, last / factor));
                self.b.ins().imul_imm_s(x, factor)
            }
            DataType::Utf8 => {
                let aux = field(self, offset_of!(Column, aux));
                let offset = self.b.ins().ishl_imm_u(self.row, 2);
                let place = self.b.ins().iadd(data, offset);
                let from = self.b.ins().sload32(FLAGS, place, 0);
                let to = self.b.ins().sload32(FLAGS, place, 4);
                len = Some(self.b.ins().isub(to, from));
                self.b.ins().iadd(aux, from)
            }
            DataType::LargeUtf8 | DataType::Utf8View => {
                // Pairs that were made for the call.
                let offset = self.b.ins().ishl_imm_u(self.row, 4);
                let place = self.b.ins().iadd(data, offset);
                len = Some(self.b.ins().load(types::I64, FLAGS, place, 8));
                self.b.ins().load(types::I64, FLAGS, place, 0)
            }
            other => return Err(CompileError::Unsupported(format!("a parameter that is {other}"))),
        };
        if let Some(mut bad) = bad {
            if let Some(valid) = valid {
                bad = self.b.ins().band(bad, valid);
            }
            self.bail_if(bad);
        }
        self.set_local(at, Val { data: loaded, len, valid });
        Ok(())
    }

    /// Whether an int is outside a range of constants.
    fn outside(&mut self, x: Value, first: i64, last: i64) -> Value {
        let from = self.b.ins().iadd_imm_s(x, first.wrapping_neg());
        self.b.ins().icmp_imm_u(IntCC::UnsignedGreaterThan, from, last.wrapping_sub(first))
    }

    pub(super) fn set_local(&mut self, at: usize, value: Val) {
        let place = self.locals[at];
        self.b.def_var(place.data, value.data);
        if let (Some(var), Some(len)) = (place.len, value.len) {
            self.b.def_var(var, len);
        }
        if let (Some(var), Some(valid)) = (place.valid, value.valid) {
            self.b.def_var(var, valid);
        }
    }

    // ---- the end of a row ------------------------------------------------------------------------

    /// Stores a result and goes to the next row.
    pub(super) fn end_with(&mut self, value: Val) -> Result<(), CompileError> {
        if self.job.function.returns.base == Base::Str {
            self.end_with_text(value);
        } else {
            let narrowed = self.narrowed(value)?;
            let width = i64::from(self.b.func.dfg.value_type(narrowed).bytes());
            let offset = self.b.ins().imul_imm_s(self.row, width);
            let place = self.b.ins().iadd(self.out.values, offset);
            self.b.ins().store(FLAGS, narrowed, place, 0);
        }
        if let Some(valid) = value.valid {
            let place = self.b.ins().iadd(self.out.valid, self.row);
            self.b.ins().store(FLAGS, valid, place, 0);
        }
        self.b.ins().jump(self.next, &[]);
        Ok(())
    }

    fn end_with_text(&mut self, value: Val) {
        let mut len = value.len.unwrap_or(self.out.text);
        if let Some(valid) = value.valid {
            let zero = self.b.ins().iconst(types::I64, 0);
            len = self.b.ins().select(valid, len, zero);
        }
        self.call(call::rt_py_emit, &[value.data, len, self.out.text]);
    }

    /// The result as the column has it; bails where it does not fit, unless it is None.
    fn narrowed(&mut self, value: Val) -> Result<Value, CompileError> {
        let x = value.data;
        let int = |bits: u16| types::Type::int(bits).unwrap_or(types::I64);
        let mut fits = None;
        let narrowed = match self.job.result {
            DataType::Boolean | DataType::Float64 | DataType::Int64 | DataType::Timestamp(..) => x,
            DataType::Float32 => self.b.ins().fdemote(types::F32, x),
            DataType::Date32 => self.b.ins().ireduce(types::I32, x),
            DataType::Int8 | DataType::Int16 | DataType::Int32 => {
                let bits = self.job.result.primitive_width().unwrap_or(8) as u16 * 8;
                let narrow = self.b.ins().ireduce(int(bits), x);
                let back = self.b.ins().sextend(types::I64, narrow);
                fits = Some(self.b.ins().icmp(IntCC::Equal, back, x));
                narrow
            }
            DataType::UInt8 | DataType::UInt16 | DataType::UInt32 => {
                let bits = self.job.result.primitive_width().unwrap_or(8) as u16 * 8;
                let narrow = self.b.ins().ireduce(int(bits), x);
                let back = self.b.ins().uextend(types::I64, narrow);
                fits = Some(self.b.ins().icmp(IntCC::Equal, back, x));
                narrow
            }
            DataType::UInt64 => {
                fits = Some(self.b.ins().icmp_imm_s(IntCC::SignedGreaterThanOrEqual, x, 0));
                x
            }
            other => return Err(CompileError::Unsupported(format!("a result that is {other}"))),
        };
        if let Some(mut fits) = fits {
            if let Some(valid) = value.valid {
                let none = self.b.ins().bxor_imm_u(valid, 1);
                fits = self.b.ins().bor(fits, none);
            }
            self.bail_unless(fits);
        }
        Ok(narrowed)
    }

    /// Notes the row; its result is NULL, whose value was zero before.
    fn end_with_bail(&mut self, bails: Variable) {
        let count = self.b.use_var(bails);
        let offset = self.b.ins().ishl_imm_u(count, 2);
        let place = self.b.ins().iadd(self.out.bailed, offset);
        self.b.ins().istore32(FLAGS, self.row, place, 0);
        let count = self.b.ins().iadd_imm_s(count, 1);
        self.b.def_var(bails, count);
        if self.job.function.returns.optional {
            let zero = self.b.ins().iconst(types::I8, 0);
            let place = self.b.ins().iadd(self.out.valid, self.row);
            self.b.ins().store(FLAGS, zero, place, 0);
        }
        if self.job.function.returns.base == Base::Str {
            // An empty text fits always.
            let callee = self.address(call::rt_py_emit_nothing as *const () as u64);
            let slot = self.b.ins().stack_addr(types::I64, self.slot, 0);
            self.b.ins().store(FLAGS, self.out.text, slot, 0);
            self.b.ins().call_indirect(self.kernel_signature, callee, &[self.arena, slot]);
        }
        self.b.ins().jump(self.next, &[]);
    }

    /// Gives back what the row took, if it took anything.
    fn reset_arena(&mut self) {
        let texts = |ty: &Type| ty.base == Base::Str;
        let function = self.job.function;
        let any = texts(&function.returns)
            || function.locals.iter().any(texts)
            || self.values.iter().flatten().any(|v| v.len.is_some());
        if !any {
            return;
        }
        let used = self.b.ins().load(types::I64, FLAGS, self.arena, Arena::USED as i32);
        let (reset, on) = (self.b.create_block(), self.b.create_block());
        self.b.ins().brif(used, reset, &[], on, &[]);
        self.b.switch_to_block(reset);
        self.b.seal_block(reset);
        let slot = self.b.ins().stack_addr(types::I64, self.slot, 0);
        let callee = self.address(call::rt_py_reset as *const () as u64);
        self.b.ins().call_indirect(self.kernel_signature, callee, &[self.arena, slot]);
        self.b.ins().jump(on, &[]);
        self.b.switch_to_block(on);
        self.b.seal_block(on);
    }
}
