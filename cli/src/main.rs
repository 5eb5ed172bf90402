//! The binary `fuseline`: the allocator and the exit code; everything else is in the library, which
//! the Python package's console script runs too.

/// Result buffers are large and short-lived. The C library gives such memory back to the kernel at
/// once and pays for it with page faults at the next batch; mimalloc keeps it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let code = fuseline_cli::main(std::env::args_os());
    std::process::exit(code);
}
