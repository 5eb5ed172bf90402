//! What `EXPLAIN CODEGEN` shows of compiled code: CLIF, with the IR value that each stretch computes, and
//! the disassembly.

use super::constants::Constants;
use super::outputs::Outputs;
use super::{CompileError, CompileOptions, emit, emitter, jit, with_widest};
use crate::ir::Loop;
use cranelift::codegen::ir::Function;
use cranelift::codegen::write::{FuncWriter, PlainWriter};
use iced_x86::{Decoder, DecoderOptions, Formatter, IntelFormatter};
use std::collections::HashMap;
use std::fmt;

/// A compiled loop in readable form.
#[derive(Clone, Debug)]
pub struct Listing {
    /// The function before optimization, with comments that name IR values.
    pub clif: String,
    /// Machine code in Intel syntax; empty on machines that are not x86-64.
    pub disasm: String,
}

/// Writes a function, and in front of noted instructions the IR value they begin to compute.
struct Commented<'a> {
    notes: HashMap<cranelift::codegen::ir::Inst, Vec<String>>,
    _source: &'a Loop,
}

impl FuncWriter for Commented<'_> {
    fn write_block_header(
        &mut self,
        w: &mut dyn fmt::Write,
        func: &Function,
        block: cranelift::prelude::Block,
        indent: usize,
    ) -> fmt::Result {
        PlainWriter.write_block_header(w, func, block, indent)
    }

    fn write_instruction(
        &mut self,
        w: &mut dyn fmt::Write,
        func: &Function,
        aliases: &cranelift::codegen::entity::SecondaryMap<
            cranelift::prelude::Value,
            Vec<cranelift::prelude::Value>,
        >,
        inst: cranelift::codegen::ir::Inst,
        indent: usize,
    ) -> fmt::Result {
        PlainWriter.write_instruction(w, func, aliases, inst, indent)?;
        for note in self.notes.get(&inst).into_iter().flatten() {
            writeln!(w, "{:indent$}; {note}", "")?;
        }
        Ok(())
    }
}

/// Compiles a loop as [`super::compile`] does, and shows what came out.
///
/// # Errors
/// As [`super::compile`].
pub fn listing(source: &Loop, options: &CompileOptions) -> Result<Listing, CompileError> {
    let outputs = Outputs::of(source);
    let (_, listing) = with_widest(source, options.vectors, |schedule| {
        let job = emitter::Job { lp: source, schedule, outputs: &outputs, whole_groups: true };
        list(job, options.verify)
    })?;
    Ok(listing)
}

fn list(job: emitter::Job<'_>, verify: bool) -> Result<Listing, CompileError> {
    let mut constants = Constants::default();
    jit::with_workspace(|workspace| {
        let source = job.lp;
        let emitted = emit(workspace, job, &mut constants)?;
        let context = &mut workspace.context;
        let mut notes: HashMap<_, Vec<String>> = HashMap::new();
        for (inst, value) in emitted.notes {
            let ir = source.value(value);
            let args: Vec<String> = ir.args.iter().map(|a| format!("%{}", a.0)).collect();
            let text = format!("%{}: {} = {:?} {}", value.0, ir.ty, ir.op, args.join(" "));
            notes.entry(inst).or_default().push(text.trim_end().to_owned());
        }
        let mut clif = String::new();
        let mut writer = Commented { notes, _source: source };
        cranelift::codegen::write::decorate_function(&mut writer, &mut clif, &context.func)
            .map_err(|e| CompileError::Backend(e.to_string()))?;
        let code = jit::machine_code(context, verify, emitted.prefetches)?;
        let mut disasm = String::new();
        if cfg!(target_arch = "x86_64") {
            for placed in emitted.wide.all() {
                disasm.push_str("; a wide loop\n");
                let end = placed.offset + placed.length;
                disassemble(&emitted.wide.code[placed.offset..end], placed.offset, &mut disasm);
            }
            disasm.push_str("; the frame\n");
            disassemble(&code, emitted.wide.code.len(), &mut disasm);
        }
        Ok(Listing { clif, disasm })
    })
}

/// The instructions, up to the constants behind the last return.
fn disassemble(code: &[u8], start: usize, out: &mut String) {
    let mut decoder = Decoder::with_ip(64, code, start as u64, DecoderOptions::NONE);
    let mut formatter = IntelFormatter::new();
    while decoder.can_decode() {
        let instruction = decoder.decode();
        if instruction.is_invalid() {
            break;
        }
        let mut text = String::new();
        formatter.format(&instruction, &mut text);
        out.push_str(&format!("{:6x}  {text}\n", instruction.ip()));
    }
}
