//! Random functions over random batches: machine code against the interpreter, values and bails, bit for bit.
//!
//! `FUSELINE_CASES=N` runs N others than `cargo test` does, `FUSELINE_SEED=N` one.

use super::generate::{BASES, Wanted, function};
use super::rows;
use crate::support::random::Random;
use arrow::array::{Array, ArrayRef};
use arrow::datatypes::DataType;
use fuseline_codegen::cpu::CompileOptions;
use fuseline_codegen::cpu::function::compile;
use fuseline_codegen::function::interp::{Datum, Interpreter, Outcome};
use fuseline_codegen::function::{Base, Function, parse, verify};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

pub fn seeds(usual: usize) -> std::ops::Range<usize> {
    let number = |name: &str| std::env::var(name).ok().and_then(|s| s.parse::<usize>().ok());
    match (number("FUSELINE_SEED"), number("FUSELINE_CASES")) {
        (Some(seed), _) => seed..seed + 1,
        (None, Some(cases)) => usual..usual + cases,
        (None, None) => 0..usual,
    }
}

/// Runs a check on every seed with all cores.
pub fn for_all(seeds: std::ops::Range<usize>, check: impl Fn(usize) -> Result<(), String> + Sync) {
    let next = AtomicUsize::new(seeds.start);
    let worker = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return None;
            }
            if let Err(message) = check(seed) {
                next.store(seeds.end, Ordering::Relaxed);
                return Some(format!("FUSELINE_SEED={seed}: {message}"));
            }
        }
    };
    let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
    let failures: Vec<String> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..cores).map(|_| scope.spawn(worker)).collect();
        threads.into_iter().filter_map(|t| t.join().expect("a check panicked")).collect()
    });
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// What the interpreter says of a row.
pub fn expected(interpreter: &Interpreter, columns: &[ArrayRef], row: usize, result: &DataType) -> Outcome {
    let Some(args) = columns.iter().map(|c| rows::datum(c, row)).collect::<Option<Vec<Datum>>>() else {
        return Outcome::Bail;
    };
    match interpreter.call(&args) {
        Outcome::Bail => Outcome::Bail,
        Outcome::Return(datum) => rows::narrowed(datum, result).map_or(Outcome::Bail, Outcome::Return),
    }
}

/// Compares both over a batch; gives the rows that returned.
pub fn compare(
    function: &Function,
    columns: &[ArrayRef],
    rows_count: usize,
    result: &DataType,
) -> Result<usize, String> {
    let types: Vec<DataType> = columns.iter().map(|c| c.data_type().clone()).collect();
    let options = CompileOptions { verify: true, ..CompileOptions::default() };
    let compiled = compile(function.clone(), &types, result, &options).map_err(|e| e.to_string())?;
    let found = compiled.run(columns, rows_count).map_err(|e| e.to_string())?;
    if found.values.data_type() != result || found.values.len() != rows_count {
        return Err(format!("{} rows of {}", found.values.len(), found.values.data_type()));
    }
    found.values.to_data().validate_full().map_err(|e| e.to_string())?;
    let interpreter = Interpreter::new(Arc::new(function.clone()));
    let mut bails = found.bailed.iter().copied().peekable();
    let mut returned = 0;
    for row in 0..rows_count {
        let expected = expected(&interpreter, columns, row, result);
        let bailed = bails.next_if_eq(&(row as u32)).is_some();
        let found = match bailed {
            true if found.values.is_valid(row) => return Err(format!("row {row} bailed and has a value")),
            true => Outcome::Bail,
            false => Outcome::Return(rows::datum(&found.values, row).ok_or("a value out of range")?),
        };
        if found != expected {
            let args: Vec<_> = columns.iter().map(|c| rows::datum(c, row)).collect();
            return Err(format!("row {row} {args:?}: compiled {found:?}, interpreted {expected:?}"));
        }
        returned += usize::from(!bailed);
    }
    match bails.next() {
        Some(row) => Err(format!("row {row} bailed out of order")),
        None => Ok(returned),
    }
}

pub fn columns(r: &mut Random, function: &Function, rows_count: usize) -> Vec<ArrayRef> {
    let column = |p: &fuseline_codegen::function::Param| {
        let data_type = rows::parameter_type(r, p.ty);
        rows::column(r, &data_type, p.ty.optional, rows_count)
    };
    function.params.iter().map(column).collect()
}

#[test]
fn compiled_functions_do_what_interpreted_ones_do() {
    let (returned, all) = (AtomicUsize::new(0), AtomicUsize::new(0));
    for_all(seeds(6000), |seed| {
        let r = &mut Random::new(seed as u64);
        let bases: &[Base] = match r.below(3) {
            0 => &[Base::Bool, Base::Int, Base::Float],
            1 => &[Base::Bool, Base::Int, Base::Str],
            _ => &BASES,
        };
        let function = function(r, Wanted { bases, loops: true, op: |_| true });
        let rows_count = r.pick(&[0, 1, 2, 7, 40]);
        let columns = columns(r, &function, rows_count);
        let result = rows::result_type(r, function.returns);
        let text = function.to_string();
        let fail = |message: String| format!("{message}\n{text}");
        verify(&function).map_err(|e| fail(e.to_string()))?;
        if parse(&text).as_ref() != Ok(&function) {
            return Err(fail(format!("reads as {:?}", parse(&text))));
        }
        let rows_returned = compare(&function, &columns, rows_count, &result).map_err(fail)?;
        returned.fetch_add(rows_returned, Ordering::Relaxed);
        all.fetch_add(rows_count, Ordering::Relaxed);
        Ok(())
    });
    let (returned, all) = (returned.into_inner(), all.into_inner());
    assert!(all < 1000 || returned * 5 > all, "only {returned} of {all} rows returned");
}
