//! What finding and updating groups costs, on one core.
//!
//! Hypothesis: with few groups the loop runs at the speed of memory; with millions it is held up by one
//! line of the index and one of the records per row, which prefetching overlaps.
//!
//! Axes: how many groups there are, and whether they are found by value or by hash; then the kind of key.
//! 10 M rows in morsels of 65,536 as the runtime cuts them, one thread; the least processor time of some
//! repeats.
//!
//!     cargo run --release -p fuseline-codegen --example groups [rows]

use arrow::array::{ArrayRef, Float64Array, Int64Array, StringArray, StringViewArray};
use fuseline_codegen::cpu::{CompileOptions, compile};
use fuseline_codegen::groups::Groups;
use fuseline_codegen::ir::Loop;
use fuseline_codegen::run::{Morsel, RunLoop};
use std::sync::Arc;
use std::time::Instant;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const MORSEL: usize = 65_536;

fn random(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

fn numbers(rows: usize, groups: u64, spread: u64) -> ArrayRef {
    let mut state = 88_172_645_463_325_252;
    Arc::new(
        (0..rows).map(|_| (random(&mut state) % groups).wrapping_mul(spread) as i64).collect::<Int64Array>(),
    )
}

/// Nanoseconds that this thread has had a processor, where the system says; else those that have passed.
fn now(start: Instant) -> u64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let on_processor = stat.split(' ').next().and_then(|ns| ns.parse().ok());
    on_processor.unwrap_or_else(|| start.elapsed().as_nanos() as u64)
}

/// Nanoseconds a row, and how many groups there were.
fn measure(text: &str, columns: &[ArrayRef], dense_limit: usize) -> (f64, usize) {
    let source: Loop = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
    let code = compile(&source, &CompileOptions::default()).unwrap_or_else(|e| panic!("{text}: {e}"));
    let rows = columns[0].len();
    let morsels: Vec<Vec<ArrayRef>> = (0..rows)
        .step_by(MORSEL)
        .map(|at| columns.iter().map(|c| c.slice(at, MORSEL.min(rows - at))).collect())
        .collect();
    let (mut best, mut found) = (f64::MAX, 0);
    for _ in 0..3 {
        let clock = Instant::now();
        let start = now(clock);
        let mut groups = Groups::new(&source, dense_limit).expect("it groups");
        for inputs in &morsels {
            let morsel = Morsel { inputs, rows: inputs[0].len(), row_base: 0, joins: &[] };
            code.run_into(&morsel, &mut groups).expect("it runs");
        }
        groups.settle();
        best = best.min((now(clock) - start) as f64 / rows as f64);
        found = groups.len();
    }
    (best, found)
}

fn main() {
    let rows: usize = std::env::args().nth(1).and_then(|a| a.parse().ok()).unwrap_or(10_000_000);
    let mut state = 12345;
    let x: ArrayRef =
        Arc::new((0..rows).map(|_| (random(&mut state) % 1000) as f64).collect::<Float64Array>());
    let sum = "loop {
  input 0: i64 as Int64
  input 1: f64 as Float64
  v0 = input 0
  v1 = input 1
  group v0 as Int64
  aggregate sum(v1): f64
}";
    let sums = sum.replace("sum(v1): f64", "sum(v1): f64, count(*): i64");
    let pair = sum.replace(
        "group v0 as Int64",
        "v2: i64 = const 3\n  v3 = bit_and v0, v2\n  group v0 as Int64, v3 as Int64",
    );
    println!("{rows} rows, one thread, ns per row");
    for groups in [1u64, 4, 1_000, 100_000, 5_000_000] {
        let near = numbers(rows, groups, 1);
        let far = numbers(rows, groups, 0x9E37_79B9_7F4A_7C15);
        let cases = [
            ("by value, sum", sum, &near, rows),
            ("by value, sum and count", &sums, &near, rows),
            ("by hash, sum", sum, &far, 0),
            ("two keys, sum", &pair, &near, 0),
        ];
        for (name, text, keys, limit) in cases {
            let (ns, found) = measure(text, &[Arc::clone(keys), Arc::clone(&x)], limit);
            println!("{found:>8} groups, {name:24} {ns:6.2}");
        }
    }
    for (name, view) in [("short utf8", false), ("short views", true), ("long views", true)] {
        for groups in [4u64, 1_000, 1_000_000] {
            let mut state = 777;
            let long = if name.starts_with("long") { "some prefix of twenty " } else { "k" };
            let texts = (0..rows / 2).map(|_| format!("{long}{}", random(&mut state) % groups));
            let keys: ArrayRef = if view {
                Arc::new(StringViewArray::from_iter_values(texts))
            } else {
                Arc::new(StringArray::from_iter_values(texts))
            };
            let kind = if view { "Utf8View" } else { "Utf8" };
            let text = sum
                .replace("i64 as Int64", &format!("str as {kind}"))
                .replace("v0 as Int64", &format!("v0 as {kind}"));
            let (ns, found) = measure(&text, &[keys, x.slice(0, rows / 2)], 0);
            println!("{found:>8} groups, {name:24} {ns:6.2}");
        }
    }
}
