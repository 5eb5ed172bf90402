//! A Python function as machine code, with Python behind it.
//!
//! A batch goes through the compiled code. The rows that it gives up on ("bails": an overflow, a text that is no number,
//! a None where none was expected) are handed to the ordinary Python function, in their order, and its results and
//! exceptions are theirs; so the answers are Python's own. Python is not entered for a batch without such rows.
//!
//! Where most rows bail, compiled code only costs time: after enough of them whole batches go to Python for a
//! while ([`Demotion`]), and then the code is tried again.

use crate::cancel::is_cancelled;
use crate::udf::error::{CallError, Failure};
use crate::udf::function::{Batch, BatchFunction, Gate};
use arrow::array::{Array, ArrayRef, UInt32Array};
use arrow::compute::{cast, concat, interleave, take};
use arrow::datatypes::DataType;
use fuseline_codegen::cpu::function::{BatchResult, CompiledFunction};
use fuseline_codegen::function::Function;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Rows between two looks at whether the query was given up, for functions that can loop.
const BETWEEN_LOOKS: usize = 256;

/// A compiled function and the Python function that it was made from.
pub struct CompiledUdf {
    code: CompiledFunction,
    /// What the code takes; arguments of other types are converted.
    columns: Vec<DataType>,
    returns: DataType,
    python: Arc<dyn BatchFunction>,
    demotion: Demotion,
}

impl CompiledUdf {
    /// `columns` are the types that the code was compiled for, `returns` the type that SQL wants. Where a call leaves
    /// arguments out, and where a parameter that the code has no None for is NULL, Python takes the batch.
    pub fn new(
        code: CompiledFunction,
        columns: Vec<DataType>,
        returns: DataType,
        python: Arc<dyn BatchFunction>,
    ) -> CompiledUdf {
        CompiledUdf { code, columns, returns, python, demotion: Demotion::default() }
    }

    pub fn code(&self) -> &CompiledFunction {
        &self.code
    }

    /// The arguments as the code takes them; `None` if it does not take them.
    fn arguments(&self, batch: &Batch<'_>) -> Option<Vec<ArrayRef>> {
        let params = &self.code.source().params;
        if batch.args().len() != params.len() {
            return None;
        }
        let converted =
            batch.args().iter().zip(&self.columns).zip(params).map(|((array, data_type), param)| {
                let array = if array.data_type() == data_type {
                    Arc::clone(array)
                } else {
                    cast(array, data_type).ok()?
                };
                (param.ty.optional || array.null_count() == 0).then_some(array)
            });
        converted.collect()
    }

    /// Runs the code.
    fn run(&self, args: &[ArrayRef], rows: usize) -> Result<BatchResult, CallError> {
        let run = |args: &[ArrayRef], rows: usize| {
            self.code.run(args, rows).map_err(|e| CallError::Fault(Failure::new(e.to_string())))
        };
        if !self.code.has_loops() || rows <= BETWEEN_LOOKS {
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

    /// Python's results for some rows of a batch.
    fn ask_python(&self, batch: &Batch<'_>, rows: &[u32]) -> Result<ArrayRef, CallError> {
        let which = UInt32Array::from(rows.to_vec());
        let args: Vec<ArrayRef> =
            batch.args().iter().map(|a| take(a, &which, None)).collect::<Result<_, _>>().map_err(internal)?;
        let asked = Batch::new(&args, rows.len(), batch.keeps_failures());
        let original = |row: usize| rows.get(row).map_or(row, |row| *row as usize);
        let result = self.python.call(&asked);
        let (converting, waiting) = asked.times();
        batch.spent_converting(converting);
        batch.spent_waiting(waiting);
        for (row, failure) in asked.take_failures() {
            batch.fail_row(original(row), failure);
        }
        let result = result.map_err(|error| match error {
            // A single row is to blame itself.
            CallError::Failed { row, failure } => {
                let row = row.or((rows.len() == 1).then_some(0)).map(original);
                CallError::Failed { row, failure }
            }
            CallError::WrongType { .. }
            | CallError::WrongLength { .. }
            | CallError::WrongResult(_)
            | CallError::Interrupted(_)
            | CallError::Fault(_) => error,
        })?;
        if result.len() != rows.len() {
            return Err(CallError::WrongLength { expected: rows.len(), got: result.len() });
        }
        if result.data_type() != &self.returns {
            let (expected, got) = (self.returns.to_string(), result.data_type().to_string());
            return Err(CallError::WrongType { expected, got });
        }
        Ok(result)
    }
}

fn internal(error: arrow::error::ArrowError) -> CallError {
    CallError::Fault(Failure::new(error.to_string()))
}

impl BatchFunction for CompiledUdf {
    fn call(&self, batch: &Batch<'_>) -> Result<ArrayRef, CallError> {
        let rows = batch.rows();
        let args = if self.demotion.holds() { None } else { self.arguments(batch) };
        let Some(args) = args else {
            batch.count_demoted();
            return self.python.call(batch);
        };
        let BatchResult { values, bailed } = self.run(&args, rows)?;
        self.demotion.saw(rows, bailed.len());
        batch.count_compiled(rows - bailed.len(), bailed.len());
        let values = if values.data_type() == &self.returns {
            values
        } else {
            cast(&values, &self.returns).map_err(internal)?
        };
        if bailed.is_empty() {
            return Ok(values);
        }
        let asked = self.ask_python(batch, &bailed)?;
        let mut next = bailed.iter().enumerate().peekable();
        let places: Vec<(usize, usize)> = (0..rows)
            .map(|row| match next.next_if(|(_, bailed)| **bailed as usize == row) {
                Some((at, _)) => (1, at),
                None => (0, row),
            })
            .collect();
        interleave(&[values.as_ref(), asked.as_ref()], &places).map_err(internal)
    }

    /// None: most batches have no need of Python, and for the others the function itself enters.
    fn gate(&self) -> Option<&'static dyn Gate> {
        None
    }

    fn body(&self) -> Option<Arc<Function>> {
        Some(Arc::clone(self.code.source()))
    }

    fn how(&self) -> Option<&str> {
        Some("compiled")
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
}

/// A function that stays Python, and why.
pub struct Uncompiled {
    function: Arc<dyn BatchFunction>,
    how: String,
}

impl Uncompiled {
    /// `reason` in words that a user understands, with the line.
    pub fn new(function: Arc<dyn BatchFunction>, reason: &str) -> Uncompiled {
        Uncompiled { function, how: format!("Python: {reason}") }
    }
}

impl BatchFunction for Uncompiled {
    fn call(&self, batch: &Batch<'_>) -> Result<ArrayRef, CallError> {
        self.function.call(batch)
    }

    fn gate(&self) -> Option<&'static dyn Gate> {
        self.function.gate()
    }

    fn how(&self) -> Option<&str> {
        Some(&self.how)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{AsArray, Int64Array};
    use arrow::datatypes::Int64Type;
    use fuseline_codegen::cpu::CompileOptions;
    use fuseline_codegen::cpu::function::compile;
    use fuseline_codegen::function::parse;
    use parking_lot::Mutex;

    /// Stands for Python: 1000 for every row, and fails on 13. Notes what it was asked.
    #[derive(Default)]
    struct Slow(Mutex<Vec<Vec<i64>>>);

    impl BatchFunction for Slow {
        fn call(&self, batch: &Batch<'_>) -> Result<ArrayRef, CallError> {
            let asked = batch.args()[0].as_primitive::<Int64Type>().values().to_vec();
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
        (CompiledUdf::new(code, types.to_vec(), DataType::Int64, slow.clone()), slow)
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
        assert_eq!(batch.counts(), Some((3, 2)));
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
            demoted += usize::from(batch.counts().is_none());
        }
        assert_eq!(demoted, BATCHES);
        assert_eq!(slow.0.lock().len(), BATCHES + 2);
    }

    #[test]
    fn nulls_without_none_and_missing_arguments_are_pythons() {
        let (udf, slow) = function();
        let args: [ArrayRef; 1] = [Arc::new(Int64Array::from(vec![Some(1), None]))];
        let batch = Batch::new(&args, 2, false);
        udf.call(&batch).unwrap();
        assert_eq!(batch.counts(), None);
        assert_eq!(slow.0.lock().len(), 1);
    }
}
