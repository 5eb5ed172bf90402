//! Random loops over random batches: compiled code against the interpreter, bit for bit, and the
//! interpreter against itself on the simplified loop.
//!
//! `cargo test` runs some tens of thousands of cases; with `FUSELINE_NIGHTLY` set it is a million, and
//! with `FUSELINE_CASES=N` it is N from the first seed that `cargo test` does not reach.
//! A failure names the case's seed and shows it shrunk, as a golden file would have it;
//! `FUSELINE_SEED=N` runs that case alone, and `FUSELINE_FAILURES=N` goes on until N cases failed.

use crate::support::batches::{self, Range};
use crate::support::compare::difference;
use crate::support::engines::{Verdict, interpret_joined, judge_case};
use crate::support::joined::RandomJoin;
use crate::support::loops::random_loop;
use crate::support::random::Random;
use crate::support::shrink::{Case, shrink};
use arrow::array::{Array, ArrayRef};
use fuseline_codegen::ir::{AggFunc, Loop, Sink, Step, Ty, verify};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The seeds of a test: all of them, or the one asked for.
fn seeds(usual: usize, nightly: usize) -> std::ops::Range<usize> {
    if let Some(seed) = std::env::var("FUSELINE_SEED").ok().and_then(|s| s.parse().ok()) {
        return seed..seed + 1;
    }
    if let Some(cases) = std::env::var("FUSELINE_CASES").ok().and_then(|s| s.parse::<usize>().ok()) {
        return usual..usual + cases;
    }
    0..if std::env::var_os("FUSELINE_NIGHTLY").is_some() { nightly } else { usual }
}

fn random_case(seed: usize) -> Case {
    case_of(&mut Random::new(seed as u64), 0)
}

/// As [`random_case`], with one to three joins.
fn random_joined_case(seed: usize) -> Case {
    let r = &mut Random::new(seed as u64 ^ 0x10_1035);
    let joins = r.pick(&[1, 1, 2, 3]);
    case_of(r, joins)
}

fn case_of(r: &mut Random, joins: usize) -> Case {
    let can_fail = r.percent(40);
    let (mut source, joins) = random_loop(r, can_fail, joins);
    if !joins.is_empty() && r.percent(60) {
        // As it is once the tables are there.
        source = source.for_tables(&joins.iter().map(RandomJoin::facts).collect::<Vec<_>>());
    }
    let rows = batches::row_count(r);
    let range = if r.percent(if can_fail { 40 } else { 60 }) { Range::Wild } else { Range::Tame };
    let inputs: Vec<ArrayRef> =
        source.inputs.iter().map(|i| batches::column(r, &i.data_type, i.nullable, rows, range)).collect();
    let row_base = if r.percent(70) { 0 } else { r.between(-5, 1 << 40) };
    let source = match r.below(3) {
        0 => {
            // The variant for the nulls there are.
            let nullable: Vec<bool> = Vec::from_iter(nulls_of(&source, &inputs));
            source.prepared(&nullable)
        }
        1 => source.simplified(),
        _ => source,
    };
    Case { source, inputs, rows, row_base, joins }
}

fn nulls_of(source: &Loop, inputs: &[ArrayRef]) -> Vec<bool> {
    source.inputs.iter().zip(inputs).map(|(i, a)| i.nullable && a.logical_null_count() > 0).collect()
}

/// Runs `check` on every seed with all cores; panics with the first failing case, shrunk.
fn for_all(
    seeds: std::ops::Range<usize>,
    make: impl Fn(usize) -> Case + Sync,
    check: impl Fn(&Case) -> Result<(), String> + Sync,
) {
    let next = AtomicUsize::new(seeds.start);
    let wanted = std::env::var("FUSELINE_FAILURES").ok().and_then(|n| n.parse().ok()).unwrap_or(1);
    let failures: Mutex<Vec<String>> = Mutex::default();
    // A panic in compiling or running is a failure like others.
    let guarded = |case: &Case| match catch_unwind(AssertUnwindSafe(|| check(case))) {
        Ok(result) => result,
        Err(_) => Err("it panicked".to_owned()),
    };
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end || failures.lock().unwrap().len() >= wanted {
                return;
            }
            if std::env::var_os("FUSELINE_TRACE").is_some() {
                eprintln!("seed {seed}");
            }
            let case = make(seed);
            if let Err(message) = guarded(&case) {
                let small = shrink(case, |c| guarded(c).is_err());
                let small_message = guarded(&small).err().unwrap_or_default();
                failures.lock().unwrap().push(format!(
                    "seed {seed} (run it alone with FUSELINE_SEED={seed}): {message}\n\
                     shrunk: {small_message}\n{}\n",
                    small.text()
                ));
            }
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    let failures = failures.into_inner().unwrap();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn compiled_code_is_the_interpreter() {
    compare_all(seeds(20_000, 1_000_000), random_case);
}

#[test]
fn compiled_joins_are_the_interpreters() {
    let seeds = seeds(10_000, 300_000);
    let total = seeds.len();
    let met = compare_all(seeds, random_joined_case);
    println!("{met} loops noted rows that were met");
    assert!(total == 1 || met * 100 >= total * 10, "{met} of {total} loops met anything: this tests little");
}

/// Gives how many loops noted a row of a build side.
fn compare_all(seeds: std::ops::Range<usize>, make: impl Fn(usize) -> Case + Sync) -> usize {
    let (same, failed, noted) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
    let unsupported: Mutex<BTreeMap<String, usize>> = Mutex::default();
    let total = seeds.len();
    for_all(seeds, make, |case| match judge_case(case) {
        Verdict::Same { failed: error, met } => {
            noted.fetch_add(usize::from(met), Ordering::Relaxed);
            same.fetch_add(1, Ordering::Relaxed);
            failed.fetch_add(usize::from(error), Ordering::Relaxed);
            Ok(())
        }
        Verdict::Unsupported(reason) => {
            *unsupported.lock().unwrap().entry(reason).or_default() += 1;
            Ok(())
        }
        Verdict::Wrong(difference) => Err(difference),
    });
    let (same, failed) = (same.into_inner(), failed.into_inner());
    println!("{same} of {total} loops compiled and agreed, {failed} of them on an error");
    for (reason, count) in unsupported.into_inner().unwrap() {
        println!("{count} not compiled: {reason}");
    }
    if total > 1 {
        assert!(
            same * 100 >= total * 90,
            "only {same} of {total} loops were compiled: this test tests little"
        );
        assert!(failed * 100 >= total * 2, "only {failed} of {total} loops failed: errors are hardly tested");
    }
    noted.into_inner()
}

/// With joins now and then.
fn any_case(seed: usize) -> Case {
    if seed % 3 == 2 { random_joined_case(seed) } else { random_case(seed) }
}

#[test]
fn text_form_and_verifier_accept_every_loop() {
    for_all(seeds(5_000, 100_000), any_case, |case| {
        verify(&case.source).map_err(|e| e.to_string())?;
        let text = case.source.to_string();
        let parsed: Loop = text.parse().map_err(|e| format!("{e}\n{text}"))?;
        if parsed == case.source { Ok(()) } else { Err(format!("parsed as\n{parsed}")) }
    });
}

/// Whether masks change which rows a float sum's running sums get.
fn sums_floats(source: &Loop) -> bool {
    match &source.sink {
        // Filters in front of groups stay filters.
        Sink::Emit(_) | Sink::Group { .. } => false,
        Sink::Aggregate(aggs) => {
            aggs.iter().any(|a| matches!(a.func, AggFunc::Sum | AggFunc::Spread) && a.ty == Ty::F64)
        }
    }
}

#[test]
fn preparing_a_loop_changes_no_result() {
    for_all(seeds(5_000, 100_000), any_case, |case| {
        let source = &case.source;
        let (right, met) = interpret_joined(case, source);
        let prepared = source.prepared(&nulls_of(source, &case.inputs));
        verify(&prepared).map_err(|e| format!("{e}\n{prepared}"))?;
        let (mut found, found_met) = interpret_joined(case, &prepared);
        // The last filters may have become masks.
        let filters = |l: &Loop| l.steps.iter().filter(|s| matches!(s, Step::Filter(_))).count();
        if filters(&prepared) < filters(source) {
            if sums_floats(source) {
                return Ok(());
            }
            // With masks all rows reach the sink.
            if let (Ok(right), Ok(found), Sink::Aggregate(_)) = (&right, &mut found, &source.sink) {
                found.rows = right.rows;
            }
        }
        // Without a filter every row survives, and nobody asks which.
        if let (Ok(right), Ok(found)) = (&right, &mut found)
            && source.needs_selection()
            && !prepared.needs_selection()
        {
            found.selection = right.selection.clone().filter(|s| s.len() == case.rows);
        }
        if right.is_ok() && met != found_met {
            return Err(format!("rows {found_met:?} were met, not {met:?}; prepared as\n{prepared}"));
        }
        // Simplifying may drop what a lazy evaluation would not have evaluated, and its errors.
        if let Err(error) = &right {
            return match &found {
                Ok(_) => Ok(()),
                Err(later) if later.row() >= error.row() => Ok(()),
                Err(earlier) => Err(format!("{earlier:?} comes before {error:?}")),
            };
        }
        match difference(&prepared, &right, &found) {
            Some(difference) => Err(format!("{difference}; prepared as\n{prepared}")),
            None => Ok(()),
        }
    });
}
