//! From CLIF to executable memory and back to the system.
//!
//! Generated functions call kernels by baked absolute addresses and keep their constants in their own
//! text, so compiled code has no relocations: it is copied to fresh pages and is ready. [`CodeMemory`]
//! owns those pages and frees them when it is dropped; whoever can still run the code holds it.

use super::{CompileError, prefetch};
use cranelift::codegen::Context;
use cranelift::codegen::control::ControlPlane;
use cranelift::codegen::isa::{OwnedTargetIsa, TargetIsa};
use cranelift::codegen::settings::{self, Configurable};
use cranelift::frontend::FunctionBuilderContext;
use cranelift_jit::{BranchProtection, JITMemoryKind, JITMemoryProvider, SystemMemoryProvider};
use fuseline_kernels::abi::LoopFn;
use std::cell::RefCell;
use std::sync::LazyLock;

static ISA: LazyLock<Result<OwnedTargetIsa, String>> = LazyLock::new(|| {
    let mut flags = settings::builder();
    let wanted = [
        ("opt_level", "speed"),
        // Loops are checked where a test or `fuseline.verify` asks for it, by hand.
        ("enable_verifier", "false"),
        ("enable_probestack", "false"),
        ("unwind_info", "false"),
        ("is_pic", "false"),
    ];
    for (name, value) in wanted {
        flags.set(name, value).map_err(|e| e.to_string())?;
    }
    let isa = cranelift_native::builder().map_err(str::to_owned)?;
    isa.finish(settings::Flags::new(flags)).map_err(|e| e.to_string())
});

/// The target: this machine, with all its features. Built once.
pub(super) fn isa() -> Result<&'static dyn TargetIsa, CompileError> {
    match &*ISA {
        Ok(isa) => Ok(&**isa),
        Err(message) => Err(CompileError::Backend(message.clone())),
    }
}

/// Cranelift's working memory, kept per thread because growing it costs more than a small loop.
pub(super) struct Workspace {
    pub context: Context,
    pub builder: FunctionBuilderContext,
}

thread_local! {
    static WORKSPACE: RefCell<Workspace> =
        RefCell::new(Workspace { context: Context::new(), builder: FunctionBuilderContext::new() });
}

/// Lends this thread's workspace, cleared.
pub(super) fn with_workspace<R>(f: impl FnOnce(&mut Workspace) -> R) -> R {
    WORKSPACE.with(|cell| match cell.try_borrow_mut() {
        Ok(mut workspace) => {
            workspace.context.clear();
            f(&mut workspace)
        }
        // Somebody compiles while compiling; a fresh workspace is right, only slower.
        Err(_) => f(&mut Workspace { context: Context::new(), builder: FunctionBuilderContext::new() }),
    })
}

/// Optimizes and lowers the function in `context`, which has so many marked prefetches; returns its
/// machine code.
pub(super) fn machine_code(
    context: &mut Context,
    verify: bool,
    prefetches: usize,
) -> Result<Vec<u8>, CompileError> {
    let isa = isa()?;
    if verify {
        context.verify(isa).map_err(|e| CompileError::Backend(e.to_string()))?;
    }
    let mut control = ControlPlane::default();
    let code =
        context.compile(isa, &mut control).map_err(|e| CompileError::Backend(format!("{:?}", e.inner)))?;
    if !code.buffer.relocs().is_empty() {
        return Err(CompileError::Backend("generated code has relocations".to_owned()));
    }
    let mut bytes = code.buffer.data().to_vec();
    prefetch::patch(&mut bytes, code.buffer.get_srclocs_sorted(), prefetches)?;
    Ok(bytes)
}

/// Executable pages that hold one function, behind the wide loops that it calls.
pub(super) struct CodeMemory {
    provider: SystemMemoryProvider,
    start: *const u8,
    /// Where the function begins.
    entry: usize,
    len: usize,
}

// SAFETY: the pages are read-only once built, and only `drop`, which has exclusive access, touches
// the provider.
unsafe impl Send for CodeMemory {}
// SAFETY: as above.
unsafe impl Sync for CodeMemory {}

impl CodeMemory {
    /// Takes wide loops, a multiple of 64 bytes, and the function.
    pub(super) fn new(wide: &[u8], code: &[u8]) -> Result<CodeMemory, CompileError> {
        debug_assert!(wide.len().is_multiple_of(64));
        let failed = |e: String| CompileError::Backend(format!("no memory for code: {e}"));
        let mut provider = SystemMemoryProvider::new();
        let len = wide.len() + code.len();
        let start =
            provider.allocate(len, 64, JITMemoryKind::Executable).map_err(|e| failed(e.to_string()))?;
        // SAFETY: `allocate` gave `len` writable bytes, which is what both take.
        unsafe {
            std::ptr::copy_nonoverlapping(wide.as_ptr(), start, wide.len());
            std::ptr::copy_nonoverlapping(code.as_ptr(), start.add(wide.len()), code.len());
        }
        // From here on dropping `memory` frees the pages.
        let mut memory = CodeMemory { provider, start, entry: wide.len(), len };
        memory.provider.finalize(BranchProtection::None).map_err(|e| failed(e.to_string()))?;
        Ok(memory)
    }

    /// The function. Valid as long as `self` lives.
    pub(super) fn entry(&self) -> LoopFn {
        // SAFETY: `entry` is the start of a function that the emitter gave this signature, within the
        // allocation.
        unsafe { std::mem::transmute::<*const u8, LoopFn>(self.start.add(self.entry)) }
    }

    /// What the call's context needs to know.
    pub(super) fn start(&self) -> *const u8 {
        self.start
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }
}

impl Drop for CodeMemory {
    fn drop(&mut self) {
        // SAFETY: the function can only be called through a `&CodeMemory`, and there is none left.
        unsafe { self.provider.free_memory() };
    }
}
