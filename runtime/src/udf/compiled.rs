//! Functions as machine code, with the language itself for the rows that bail.
//!
//! A [`CompiledUdf`] stands between the boundary and the function that it was made of. A batch goes through the machine
//! code, which enters nothing; the rows that bailed are called in the language, in their order, and what
//! that gives, exceptions included, is the row's result. Where most rows bail, whole batches go to the language for a
//! while. A function that could not be compiled is here too: it says why.
//!
//! Invariants:
//! * a row's result is what the language gives for it, whoever computed it;
//! * the language is not entered for a batch of which no row bails.

use crate::udf::error::CallError;
use crate::udf::function::{Batch, BatchFunction, Gate};
use crate::udf::spec::FunctionSpec;
use arrow::array::{Array, ArrayRef, UInt32Array};
use arrow::compute::{interleave, take};
use fuseline_codegen::cpu::function::CompiledFunction;
use parking_lot::RwLock;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Batches from this size on may demote a function.
const JUDGED: usize = 1024;
/// Batches that a demoted function sends to the language before it is tried again.
const DEMOTED: usize = 15;

/// The machine code of a function by the number of its arguments, or why there is none.
pub type Code = Result<Vec<(usize, Arc<CompiledFunction>)>, String>;

/// Makes the machine code of a function.
pub trait Compiling: Send + Sync {
    /// The code; `None` if the function is what it was at the last call.
    fn compile(&self) -> Option<Code>;
}

/// A function that is compiled where it can be.
pub struct CompiledUdf {
    inner: Arc<dyn BatchFunction>,
    compiling: Box<dyn Compiling>,
    code: RwLock<Arc<Code>>,
    /// Batches that are still to go to the language.
    demoted: AtomicUsize,
}

impl CompiledUdf {
    /// `inner` is the function in its language.
    pub fn new(inner: Arc<dyn BatchFunction>, compiling: Box<dyn Compiling>) -> CompiledUdf {
        let code = compiling.compile().unwrap_or_else(|| Err("it was not compiled".to_owned()));
        CompiledUdf { inner, compiling, code: RwLock::new(Arc::new(code)), demoted: AtomicUsize::new(0) }
    }

    /// Why it is not compiled.
    pub fn reason(&self) -> Option<String> {
        self.code.read().as_ref().as_ref().err().cloned()
    }

    /// Counts a batch that a demoted function sends to the language.
    fn is_demoted(&self) -> bool {
        self.demoted.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1)).is_ok()
    }

    /// The language's results for the rows that bailed.
    fn bailed(&self, batch: &Batch<'_>, rows: &[u32]) -> Result<ArrayRef, CallError> {
        let at = UInt32Array::from(rows.to_vec());
        let args = batch
            .args()
            .iter()
            .map(|a| take(a, &at, None))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|e| CallError::failed(e.to_string()))?;
        let part = Batch::new(&args, rows.len(), batch.keeps_failures());
        let result = self.inner.call(&part);
        let (converting, waiting) = part.times();
        batch.spent_converting(converting);
        batch.spent_waiting(waiting);
        for (row, failure) in part.take_failures() {
            batch.fail_row(rows.get(row).map_or(row, |r| *r as usize), failure);
        }
        match result {
            Ok(array) if array.len() == rows.len() => Ok(array),
            Ok(array) => Err(CallError::WrongLength { expected: rows.len(), got: array.len() }),
            Err(CallError::Failed { row, failure }) => {
                let row = row.map(|row| rows.get(row).map_or(row, |r| *r as usize));
                Err(CallError::Failed { row, failure })
            }
            Err(other) => Err(other),
        }
    }
}

impl BatchFunction for CompiledUdf {
    fn call(&self, batch: &Batch<'_>) -> Result<ArrayRef, CallError> {
        let code = Arc::clone(&self.code.read());
        let function = match code.as_ref() {
            Ok(code) => code.iter().find(|(arity, _)| *arity == batch.args().len()).map(|(_, f)| f),
            Err(_) => None,
        };
        let Some(function) = function else { return self.inner.call(batch) };
        if self.is_demoted() {
            batch.ran_compiled(0, batch.rows());
            return self.inner.call(batch);
        }
        let result = function
            .run(batch.args(), batch.rows())
            .map_err(|e| CallError::failed(format!("its compiled code: {e}")))?;
        let bailed = &result.bailed;
        batch.ran_compiled(batch.rows() - bailed.len(), bailed.len());
        if bailed.is_empty() {
            return Ok(result.values);
        }
        if batch.rows() >= JUDGED && bailed.len() * 2 > batch.rows() {
            self.demoted.store(DEMOTED, Ordering::Relaxed);
        }
        let asked = self.bailed(batch, bailed)?;
        if bailed.len() == batch.rows() {
            return Ok(asked);
        }
        let mut from: Vec<(usize, usize)> = (0..batch.rows()).map(|row| (0, row)).collect();
        for (at, row) in bailed.iter().enumerate() {
            from[*row as usize] = (1, at);
        }
        let both: [&dyn Array; 2] = [result.values.as_ref(), asked.as_ref()];
        interleave(&both, &from).map_err(|e| CallError::failed(e.to_string()))
    }

    fn gate(&self) -> Option<&'static dyn Gate> {
        match self.code.read().as_ref() {
            Ok(_) => None,
            Err(_) => self.inner.gate(),
        }
    }

    fn how(&self) -> Option<String> {
        Some(match self.code.read().as_ref() {
            Ok(_) => "compiled".to_owned(),
            Err(reason) => format!("Python: {reason}"),
        })
    }

    fn refresh(&self) -> bool {
        let Some(code) = self.compiling.compile() else { return false };
        let mut now = self.code.write();
        // What stays Python for the same reason has not changed.
        if let (Err(old), Err(new)) = (now.as_ref(), &code)
            && old == new
        {
            return false;
        }
        *now = Arc::new(code);
        self.demoted.store(0, Ordering::Relaxed);
        true
    }
}

/// Whether options leave a function to be compiled; else why not.
pub fn may_compile(spec: &FunctionSpec) -> Result<(), String> {
    use crate::udf::spec::{Compile, Kind};
    use datafusion::logical_expr::Volatility;
    match (spec.compile, spec.kind, spec.volatility) {
        (Compile::Never, _, _) => Err("compile = never".to_owned()),
        (_, _, Volatility::Volatile) => Err("it is volatile".to_owned()),
        (_, Kind::Scalar, _) => Ok(()),
        (_, kind, _) => Err(format!("kind {kind} is not compiled")),
    }
}
