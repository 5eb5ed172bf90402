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

use crate::cancel::is_cancelled;
use crate::udf::error::{CallError, Failure};
use crate::udf::function::{Batch, BatchFunction, Gate};
use crate::udf::spec::FunctionSpec;
use arrow::array::{Array, ArrayRef, UInt32Array};
use arrow::compute::{concat, interleave, take};
use fuseline_codegen::cpu::function::{BatchResult, CompiledFunction};
use fuseline_codegen::function::Function;
use parking_lot::RwLock;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Rows between two looks at whether the query was given up, for functions that can loop.
const BETWEEN_LOOKS: usize = 256;

/// The machine code of a function by the number of its arguments, or why there is none.
pub type Code = Result<Vec<(usize, Arc<CompiledFunction>)>, String>;

/// Makes the machine code of a function.
pub trait Compiling: Send + Sync {
    /// The code; `None` if the function is what it was at the last call.
    fn compile(&self) -> Option<Code>;
}

/// Code that never changes.
struct Fixed(Arc<CompiledFunction>);

impl Compiling for Fixed {
    fn compile(&self) -> Option<Code> {
        Some(Ok(vec![(self.0.source().params.len(), Arc::clone(&self.0))]))
    }
}

/// A function that is compiled where it can be.
pub struct CompiledUdf {
    inner: Arc<dyn BatchFunction>,
    compiling: Box<dyn Compiling>,
    code: RwLock<Arc<Code>>,
    demotion: Demotion,
}

impl CompiledUdf {
    /// `inner` is the function in its language.
    pub fn new(inner: Arc<dyn BatchFunction>, compiling: Box<dyn Compiling>) -> CompiledUdf {
        let code = compiling.compile().unwrap_or_else(|| Err("it was not compiled".to_owned()));
        CompiledUdf { inner, compiling, code: RwLock::new(Arc::new(code)), demotion: Demotion::default() }
    }

    /// A function whose code never changes.
    pub fn fixed(inner: Arc<dyn BatchFunction>, code: CompiledFunction) -> CompiledUdf {
        CompiledUdf::new(inner, Box::new(Fixed(Arc::new(code))))
    }

    /// Why it is not compiled.
    pub fn reason(&self) -> Option<String> {
        self.code.read().as_ref().as_ref().err().cloned()
    }

    /// Runs the code.
    fn run(code: &CompiledFunction, args: &[ArrayRef], rows: usize) -> Result<BatchResult, CallError> {
        let run = |args: &[ArrayRef], rows: usize| {
            code.run(args, rows).map_err(|e| CallError::Fault(Failure::new(e.to_string())))
        };
        if !code.has_loops() || rows <= BETWEEN_LOOKS {
            return run(args, rows);
        }
        let (mut values, mut bailed) = (Vec::new(), Vec::new());
        for from in (0..rows).step_by(BETWEEN_LOOKS) {
            if is_cancelled() {
                return Err(CallError::Interrupted(Failure::new("the query was given up")));
            }
            let rows = BETWEEN_LOOKS.min(rows - from);
            let part: Vec<ArrayRef> = args.iter().map(|a| a.slice(from, rows)).collect();
            let out = run(&part, rows)?;
            bailed.extend(out.bailed.iter().map(|row| row + from as u32));
            values.push(out.values);
        }
        let values: Vec<&dyn Array> = values.iter().map(AsRef::as_ref).collect();
        Ok(BatchResult { values: concat(&values).map_err(internal)?, bailed })
    }

    /// The language's results for the rows that bailed.
    fn bailed(&self, batch: &Batch<'_>, rows: &[u32]) -> Result<ArrayRef, CallError> {
        let at = UInt32Array::from(rows.to_vec());
        let args = batch
            .args()
            .iter()
            .map(|a| take(a, &at, None))
            .collect::<Result<Vec<_>, _>>()
            .map_err(internal)?;
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

fn internal(error: arrow::error::ArrowError) -> CallError {
    CallError::Fault(Failure::new(error.to_string()))
}

impl BatchFunction for CompiledUdf {
    fn call(&self, batch: &Batch<'_>) -> Result<ArrayRef, CallError> {
        let code = Arc::clone(&self.code.read());
        let function = match code.as_ref() {
            Ok(code) => code.iter().find(|(arity, _)| *arity == batch.args().len()).map(|(_, f)| f),
            Err(_) => None,
        };
        let Some(function) = function else { return self.inner.call(batch) };
        if self.demotion.holds() {
            batch.ran_compiled(0, batch.rows());
            batch.count_demoted();
            return self.inner.call(batch);
        }
        let result = Self::run(function, batch.args(), batch.rows())?;
        let bailed = &result.bailed;
        batch.ran_compiled(batch.rows() - bailed.len(), bailed.len());
        if bailed.is_empty() {
            return Ok(result.values);
        }
        self.demotion.saw(batch.rows(), bailed.len());
        let asked = self.bailed(batch, bailed)?;
        if bailed.len() == batch.rows() {
            return Ok(asked);
        }
        let mut from: Vec<(usize, usize)> = (0..batch.rows()).map(|row| (0, row)).collect();
        for (at, row) in bailed.iter().enumerate() {
            from[*row as usize] = (1, at);
        }
        let both: [&dyn Array; 2] = [result.values.as_ref(), asked.as_ref()];
        interleave(&both, &from).map_err(internal)
    }

    fn gate(&self) -> Option<&'static dyn Gate> {
        match self.code.read().as_ref() {
            Ok(_) => None,
            Err(_) => self.inner.gate(),
        }
    }

    fn body(&self) -> Option<Arc<Function>> {
        // Calls that leave arguments out are not part of loops.
        let code = self.code.read();
        let full = code.as_ref().as_ref().ok()?.iter().max_by_key(|(arity, _)| *arity)?;
        Some(Arc::clone(full.1.source()))
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
        self.demotion.forget();
        true
    }
}

/// Whether batches go to Python as they are.
#[derive(Debug, Default)]
struct Demotion {
    /// Rows since the last judgement, and those of them that bailed.
    seen: AtomicUsize,
    bailed: AtomicUsize,
    /// Batches that Python still gets.
    left: AtomicUsize,
}

/// Rows before a judgement.
const ENOUGH: usize = 1024;
/// Batches that go to Python after one.
const BATCHES: usize = 32;

impl Demotion {
    /// Whether this batch goes to Python.
    fn holds(&self) -> bool {
        let one_less = |left: usize| left.checked_sub(1);
        self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less).is_ok()
    }

    /// Several threads may judge at once; a judgement too many does no harm.
    fn saw(&self, rows: usize, bailed: usize) {
        let seen = self.seen.fetch_add(rows, Ordering::Relaxed) + rows;
        let bailed = self.bailed.fetch_add(bailed, Ordering::Relaxed) + bailed;
        if seen >= ENOUGH {
            self.seen.store(0, Ordering::Relaxed);
            self.bailed.store(0, Ordering::Relaxed);
            if bailed * 2 > seen {
                self.left.store(BATCHES, Ordering::Relaxed);
            }
        }
    }

    /// Begins anew, because the function is another one.
    fn forget(&self) {
        self.left.store(0, Ordering::Relaxed);
        self.seen.store(0, Ordering::Relaxed);
        self.bailed.store(0, Ordering::Relaxed);
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

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{AsArray, Int64Array};
    use arrow::datatypes::{DataType, Int64Type};
    use fuseline_codegen::cpu::CompileOptions;
    use fuseline_codegen::cpu::function::compile;
    use fuseline_codegen::function::parse;
    use parking_lot::Mutex;

    /// Stands for Python: 1000 for every row, and fails on 13. Notes what it was asked.
    #[derive(Default)]
    struct Slow(Mutex<Vec<Vec<i64>>>);

    impl BatchFunction for Slow {
        fn call(&self, batch: &Batch<'_>) -> Result<ArrayRef, CallError> {
            let asked =
                batch.args().first().map_or(vec![], |a| a.as_primitive::<Int64Type>().values().to_vec());
            for (row, value) in asked.iter().enumerate() {
                if *value == 13 {
                    let failure = Failure::new("thirteen");
                    if !batch.keeps_failures() {
                        return Err(CallError::Failed { row: Some(row), failure });
                    }
                    batch.fail_row(row, failure);
                }
            }
            let out = Int64Array::from(vec![1000; asked.len()]);
            self.0.lock().push(asked);
            Ok(Arc::new(out))
        }
    }

    /// 10 // x, which bails on 0, and on 13.
    fn function() -> (CompiledUdf, Arc<Slow>) {
        let text = "function \"f\"(\"x\": int) -> int {
            v0 = get l0 v1 = int 13 v2 = cmp.eq v0, v1 if v2 { bail }
            v3 = int 10 v4 = floor_div v3, v0 return v4 }";
        let types = [DataType::Int64];
        let code =
            compile(parse(text).unwrap(), &types, &DataType::Int64, &CompileOptions::default()).unwrap();
        let slow = Arc::new(Slow::default());
        (CompiledUdf::fixed(slow.clone(), code), slow)
    }

    fn column(values: &[i64]) -> [ArrayRef; 1] {
        [Arc::new(Int64Array::from(values.to_vec()))]
    }

    #[test]
    fn rows_that_bail_are_asked_in_order() {
        let (udf, slow) = function();
        let args = column(&[5, 0, 3, 0, 2]);
        let batch = Batch::new(&args, 5, false);
        let out = udf.call(&batch).unwrap();
        assert_eq!(out.as_primitive::<Int64Type>().values(), &[2, 1000, 3, 1000, 5]);
        assert_eq!(*slow.0.lock(), [[0, 0]]);
        assert_eq!(batch.compiled(), (3, 2));
        let args = column(&[1, 2]);
        udf.call(&Batch::new(&args, 2, false)).unwrap();
        assert_eq!(slow.0.lock().len(), 1, "without bails nobody is asked");
    }

    #[test]
    fn failures_are_of_the_rows_that_they_came_from() {
        let (udf, _) = function();
        let args = column(&[1, 0, 13, 2]);
        match udf.call(&Batch::new(&args, 4, false)) {
            Err(CallError::Failed { row: Some(2), failure }) => assert_eq!(failure.message, "thirteen"),
            other => panic!("{other:?}"),
        }
        let batch = Batch::new(&args, 4, true);
        udf.call(&batch).unwrap();
        let failures = batch.take_failures();
        assert_eq!(failures.iter().map(|(row, _)| *row).collect::<Vec<_>>(), [2]);
    }

    #[test]
    fn where_most_rows_bail_batches_go_to_python_for_a_while() {
        let (udf, slow) = function();
        let args = column(&vec![0; ENOUGH]);
        let mut demoted = 0;
        for _batch in 0..BATCHES + 2 {
            let batch = Batch::new(&args, ENOUGH, false);
            udf.call(&batch).unwrap();
            demoted += usize::from(batch.is_demoted());
        }
        assert_eq!(demoted, BATCHES);
        assert_eq!(slow.0.lock().len(), BATCHES + 2);
    }

    #[test]
    fn missing_arguments_are_the_languages() {
        let (udf, slow) = function();
        udf.call(&Batch::new(&[], 0, false)).unwrap_or_else(|e| panic!("{e:?}"));
        assert_eq!(slow.0.lock().len(), 1);
    }
}
