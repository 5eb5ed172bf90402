//! The hand-written loops as machine code of this very processor.
//!
//! The workspace is built for any machine of its kind, so that one binary serves all; the yard stick
//! shall be the best the compiler makes here. So `handwritten.rs` is compiled when the suite starts,
//! with `-C target-cpu=native`, into a library of its own, and loaded.

use std::path::{Path, PathBuf};
use std::process::Command;

use libloading::Library;
use tempfile::TempDir;

use crate::Failure;

/// Rows of a scratch buffer; the same number as in `handwritten.rs`.
const MORSEL: usize = 8192;

/// A hand-written loop: column addresses, row range, scratch buffer; see `handwritten.rs`.
type Loop = unsafe extern "C" fn(*const *const u8, usize, usize, *mut u8) -> f64;

/// The loaded library.
pub struct HandLoops {
    library: Library,
    /// Holds the library's file, of a library that was compiled here.
    folder: Option<TempDir>,
}

/// Column addresses that may go to another thread.
#[derive(Clone)]
pub struct Addresses(pub Vec<*const u8>);
// SAFETY: the buffers behind the addresses are immutable and outlive the threads (they are scoped).
unsafe impl Send for Addresses {}
// SAFETY: as above.
unsafe impl Sync for Addresses {}

impl HandLoops {
    /// Compiles and loads `handwritten.rs` for this processor. Errors when there is no `rustc` or it fails.
    pub fn compile() -> Result<Self, Failure> {
        Self::compile_for("native")
    }

    /// The same for a processor by rustc's name for it.
    pub fn compile_for(processor: &str) -> Result<Self, Failure> {
        let folder = tempfile::tempdir()?;
        let source = folder.path().join("handwritten.rs");
        let text = concat!(include_str!("handwritten.rs"), include_str!("handwritten_chain.rs"));
        std::fs::write(&source, text)?;
        let library: PathBuf = folder.path().join("libhandwritten.so");
        let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        let output = Command::new(&rustc)
            .args(["-C", "opt-level=3", "-C", &format!("target-cpu={processor}"), "--edition", "2024"])
            .args(["--crate-type", "cdylib", "--crate-name", "handwritten", "-o"])
            .arg(&library)
            .arg(&source)
            .output()
            .map_err(|e| format!("{}: {e}", rustc.to_string_lossy()))?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
        }
        // SAFETY: the library was made from our own source; loading it runs no code of its own.
        let library = unsafe { Library::new(&library) }?;
        Ok(Self { library, folder: Some(folder) })
    }

    /// Loads a library that another process has compiled.
    pub fn load(path: &Path) -> Result<Self, Failure> {
        // SAFETY: the caller names a library that `compile_for` has made.
        let library = unsafe { Library::new(path) }?;
        Ok(Self { library, folder: None })
    }

    /// The library's file, as long as this lives.
    pub fn path(&self) -> Option<PathBuf> {
        self.folder.as_ref().map(|folder| folder.path().join("libhandwritten.so"))
    }

    /// Runs formulation `name` over `passes` passes of `rows` rows on `threads` threads, which share
    /// the rows when there is one pass and the passes when there are many. Returns the sum of what
    /// the loops returned, per pass.
    pub fn run(
        &self,
        name: &str,
        columns: &Addresses,
        rows: usize,
        passes: usize,
        threads: usize,
    ) -> Result<f64, Failure> {
        // SAFETY: every function of handwritten.rs has this signature.
        let body = unsafe { self.library.get::<Loop>(name.as_bytes()) }
            .map_err(|e| format!("no hand-written loop {name}: {e}"))?;
        let body: Loop = *body;
        let work = |thread: usize| {
            let columns = columns.clone();
            let mut scratch = vec![0u128; MORSEL];
            let scratch = scratch.as_mut_ptr().cast::<u8>();
            let mut sum = 0.0;
            if passes == 1 {
                // Borders at multiples of 64 rows, because validity bitmaps have no finer address.
                let border = |i: usize| {
                    if i == threads { rows } else { rows / threads * i / 64 * 64 }
                };
                // SAFETY: the columns hold `rows` rows, the scratch buffer is this thread's own.
                sum += unsafe { body(columns.0.as_ptr(), border(thread), border(thread + 1), scratch) };
            } else {
                for _ in (thread..passes).step_by(threads) {
                    // SAFETY: as above.
                    sum += unsafe { body(std::hint::black_box(columns.0.as_ptr()), 0, rows, scratch) };
                }
            }
            sum
        };
        let total: f64 = if threads == 1 {
            work(0)
        } else {
            std::thread::scope(|scope| {
                let others: Vec<_> = (1..threads).map(|thread| scope.spawn(move || work(thread))).collect();
                let mine = work(0);
                others.into_iter().map(|t| t.join().expect("a loop ended")).sum::<f64>() + mine
            })
        };
        Ok(total / passes as f64)
    }
}
