//! Compiled loops, shared by all queries of the process.
//!
//! The key is what decides the machine code: the loop's IR, which of its inputs may hold nulls, the
//! back end, its vectors, and whether to verify. A loop is compiled once even if several threads ask for it at
//! the same moment; the others wait.
//!
//! The cache is bounded and drops the entry that was unused for longest. A dropped entry's code is
//! freed when the last plan that runs it is dropped, not before.

use crate::config::{Backend, FuselineOptions};
use fuseline_codegen::cpu::{self, CompileOptions, Vectors};
use fuseline_codegen::ir::interp::InterpLoop;
use fuseline_codegen::ir::{Loop, verify};
use fuseline_codegen::run::RunLoop;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::{Arc, LazyLock, OnceLock};
use std::time::{Duration, Instant};

/// Loops kept. Each takes a few pages of code and its IR, some 20 kB.
const CAPACITY: usize = 128;

/// A loop in executable form, and what making it took.
#[derive(Clone)]
pub struct Code {
    pub run: Arc<dyn RunLoop>,
    /// Zero when it was found in the cache.
    pub compile_time: Duration,
    /// Bytes of machine code; 0 for the interpreter.
    pub code_bytes: usize,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    loop_: Arc<Loop>,
    nullable: Vec<bool>,
    backend: Backend,
    vectors: Vectors,
    verify: bool,
}

type Made = Result<Code, String>;

struct Entry {
    made: Arc<OnceLock<Made>>,
    last_use: u64,
}

/// A bounded map from loops to code.
pub struct CodeCache {
    capacity: usize,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    entries: HashMap<Key, Entry>,
    clock: u64,
}

static GLOBAL: LazyLock<CodeCache> = LazyLock::new(|| CodeCache::new(CAPACITY));

impl CodeCache {
    pub fn new(capacity: usize) -> CodeCache {
        CodeCache { capacity: capacity.max(1), inner: Mutex::default() }
    }

    /// The cache of the process.
    pub fn global() -> &'static CodeCache {
        &GLOBAL
    }

    /// The code of a loop whose inputs may hold nulls where `nullable` says so, compiled if need be.
    ///
    /// # Errors
    /// Why the back end does not take the loop; this too is remembered.
    pub fn get(&self, loop_: &Arc<Loop>, nullable: Vec<bool>, options: &FuselineOptions) -> Made {
        let key = Key {
            loop_: Arc::clone(loop_),
            nullable,
            backend: options.backend,
            vectors: options.vectors,
            verify: options.verify,
        };
        let made = self.entry(&key);
        let mut compile_time = Duration::ZERO;
        let code = made.get_or_init(|| {
            let start = Instant::now();
            let code = make(&key, options);
            compile_time = start.elapsed();
            code
        });
        code.clone().map(|code| Code { compile_time, ..code })
    }

    /// Loops held now.
    pub fn len(&self) -> usize {
        self.inner.lock().entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn entry(&self, key: &Key) -> Arc<OnceLock<Made>> {
        let mut inner = self.inner.lock();
        inner.clock += 1;
        let now = inner.clock;
        if let Some(entry) = inner.entries.get_mut(key) {
            entry.last_use = now;
            return Arc::clone(&entry.made);
        }
        if inner.entries.len() >= self.capacity {
            // A scan over at most CAPACITY entries, paid only where a compile is paid too.
            let oldest = inner.entries.iter().min_by_key(|e| e.1.last_use).map(|e| e.0.clone());
            if let Some(oldest) = oldest {
                inner.entries.remove(&oldest);
            }
        }
        let made = Arc::new(OnceLock::new());
        inner.entries.insert(key.clone(), Entry { made: Arc::clone(&made), last_use: now });
        made
    }
}

/// What compiling is asked to do under these settings.
pub fn compile_options(options: &FuselineOptions) -> CompileOptions {
    CompileOptions { verify: options.verify, vectors: options.vectors }
}

fn make(key: &Key, options: &FuselineOptions) -> Made {
    let prepared = key.loop_.prepared(&key.nullable);
    if options.verify {
        verify(&prepared).map_err(|e| format!("the loop is not well formed: {e}"))?;
    }
    let (run, code_bytes): (Arc<dyn RunLoop>, usize) = match key.backend {
        Backend::Cpu => {
            let code = cpu::compile(&prepared, &compile_options(options)).map_err(|e| e.to_string())?;
            let bytes = code.stats().code_bytes;
            (Arc::new(code), bytes)
        }
        Backend::Interp => (Arc::new(InterpLoop::new(prepared)), 0),
    };
    Ok(Code { run, compile_time: Duration::ZERO, code_bytes })
}

#[cfg(test)]
mod tests {
    use super::*;
    use fuseline_codegen::run::Morsel;

    fn add(n: i64) -> Arc<Loop> {
        let text = format!(
            "loop {{\n  input 0: i64? as Int64\n  v0 = input 0\n  v1: i64 = const {n}\n  \
             v2 = add v0, v1\n  emit v2 as Int64?\n}}"
        );
        Arc::new(text.parse().unwrap_or_else(|e| panic!("{text}: {e}")))
    }

    #[test]
    fn a_loop_is_compiled_once_and_variants_apart() {
        let cache = CodeCache::new(8);
        let options = FuselineOptions { verify: true, ..FuselineOptions::default() };
        let first = cache.get(&add(1), vec![true], &options).unwrap();
        let again = cache.get(&add(1), vec![true], &options).unwrap();
        assert!(first.compile_time > Duration::ZERO && again.compile_time.is_zero());
        assert!(Arc::ptr_eq(&first.run, &again.run));
        let no_nulls = cache.get(&add(1), vec![false], &options).unwrap();
        assert!(!Arc::ptr_eq(&first.run, &no_nulls.run));
        let narrow = FuselineOptions { vectors: Vectors::Narrow, ..options.clone() };
        let narrow = cache.get(&add(1), vec![true], &narrow).unwrap();
        assert!(!Arc::ptr_eq(&first.run, &narrow.run));
        let interp = FuselineOptions { backend: Backend::Interp, ..options };
        assert_eq!(cache.get(&add(1), vec![true], &interp).unwrap().code_bytes, 0);
        assert_eq!(cache.len(), 4);
    }

    #[test]
    fn the_cache_is_bounded_and_dropped_code_lives_while_it_is_used() {
        let cache = CodeCache::new(4);
        let options = FuselineOptions::default();
        let kept = cache.get(&add(0), vec![true], &options).unwrap();
        for n in 1..50 {
            cache.get(&add(n), vec![true], &options).unwrap();
        }
        assert_eq!(cache.len(), 4);
        assert_eq!(Arc::strong_count(&kept.run), 1, "the cache still holds what it dropped");
        let column: arrow::array::ArrayRef = Arc::new(arrow::array::Int64Array::from(vec![5, 6]));
        let out = kept
            .run
            .run(&Morsel { inputs: std::slice::from_ref(&column), rows: 2, row_base: 0, joins: &[] })
            .unwrap();
        assert_eq!(out.columns[0].as_ref(), Some(&column));
    }
}
