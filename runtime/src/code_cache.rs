//! Compiled loops, shared by all queries of the process.
//!
//! The key is what decides the machine code: the loop's IR (nullability included, so that the
//! variants of one loop are separate entries), the back end, and whether to verify. A loop is
//! compiled once even if several threads ask for it at the same moment; the others wait.
//!
//! The cache is bounded and drops the entry that was unused for longest. A dropped entry's code is
//! freed when the last plan that runs it is dropped, not before.

use crate::config::{Backend, FuselineOptions};
use fuseline_codegen::ir::Loop;
use fuseline_codegen::ir::interp::InterpLoop;
use fuseline_codegen::run::RunLoop;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::{Arc, LazyLock, OnceLock};
use std::time::{Duration, Instant};

/// Loops kept. Each takes a few pages of code and its IR, some 20 kB.
const CAPACITY: usize = 256;

/// A loop in executable form, and what making it took.
#[derive(Clone)]
pub struct Code {
    pub run: Arc<dyn RunLoop>,
    /// Zero when it was found in the cache.
    pub compile_time: Duration,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    loop_: Arc<Loop>,
    backend: Backend,
    verify: bool,
}

type Made = Result<Arc<dyn RunLoop>, String>;

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

    /// The code of a loop, compiled if need be.
    ///
    /// # Errors
    /// Why the back end does not take the loop; this too is remembered.
    pub fn get(&self, loop_: &Arc<Loop>, options: &FuselineOptions) -> Result<Code, String> {
        let key = Key { loop_: Arc::clone(loop_), backend: options.backend, verify: options.verify };
        let made = self.entry(key);
        let mut compile_time = Duration::ZERO;
        let code = made.get_or_init(|| {
            let start = Instant::now();
            let code = make(loop_, options);
            compile_time = start.elapsed();
            code
        });
        code.clone().map(|run| Code { run, compile_time })
    }

    /// Loops held now.
    pub fn len(&self) -> usize {
        self.inner.lock().entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn entry(&self, key: Key) -> Arc<OnceLock<Made>> {
        let mut inner = self.inner.lock();
        inner.clock += 1;
        let now = inner.clock;
        if let Some(entry) = inner.entries.get_mut(&key) {
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
        inner.entries.insert(key, Entry { made: Arc::clone(&made), last_use: now });
        made
    }
}

fn make(loop_: &Arc<Loop>, options: &FuselineOptions) -> Made {
    match options.backend {
        Backend::Cpu => Err("there is no code generator yet".to_owned()),
        Backend::Interp => Ok(Arc::new(InterpLoop::new(Loop::clone(loop_)))),
    }
}
