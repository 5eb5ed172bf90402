//! Suite `fusion`: the same pipelines by four ways of executing them.
//!
//! Hypothesis: what a pipeline costs is calls and memory traffic between operators, not arithmetic. Row at a
//! time it grows with every operator by a call that predicts badly; operator at a time by a pass over a vector;
//! fused by the arithmetic alone, close to the loop written by hand.
//!
//! Axes: operators in a chain (1 to 12, see `engines/chain.rs`), share of rows that a filter lets pass (0 to
//! 100 %), nulls, place of the data (32,768 rows again and again, which stay in the caches; or a table in
//! memory), engine (`engines/mod.rs`). What each idea is worth shows in the engines `fused 128` (no vectors
//! wider than 128 bits), `fused rolled` (no unrolling) and `cut` (a compiled loop per operator, with what is
//! between them written to memory). One thread: models are compared, not schedulers.
//!
//! What is timed: an engine's run over all rows, made beforehand (compiling a chain takes a fraction of a
//! millisecond and is in the suite `compile`). Before that all engines must give the same answer. Engines take
//! turns, and another one begins in each round.
//!
//! Instructions and cache misses come from `perf stat` where the machine gives them, else from valgrind's
//! cachegrind on a small run: two runs of different length, so that starting up cancels out. Valgrind knows
//! no AVX-512, so everything is compiled for AVX2 there, and our loops have vectors of 128 bits.
//!
//! Machine: any x86-64 or ARM; the results name it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use arrow::array::{Array, ArrayRef, Float64Array};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use crate::Failure;
use crate::engines::chain::{Chain, Plan};
use crate::engines::{Answer, ENGINES, Engine, engine};
use crate::hand::{Addresses, HandLoops};
use crate::report::median;
use crate::results::{Options, Results};

/// Rows that stay in the caches.
const CACHED: usize = 32_768;
const OPERATORS: [usize; 8] = [1, 2, 3, 4, 6, 8, 10, 12];
const SHARES: [f64; 9] = [0.0, 0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 1.0];
/// What a filter lets pass where operators are varied.
const USUAL_SHARE: f64 = 0.9;
/// Seconds that a cell's rounds may take together, usually and in a quick run.
const CELL_SECONDS: [f64; 2] = [1.0, 0.3];

/// One cell: a chain over data in one place.
struct Cell {
    axis: &'static str,
    chain: Chain,
    place: &'static str,
    rows: usize,
    passes: usize,
}

fn cells(options: &Options) -> Vec<Cell> {
    let total = options.rows.unwrap_or(if options.quick { 1_000_000 } else { 4_000_000 });
    let quick_operators = [1, 4, 12];
    let quick_shares = [0.0, 0.5, 1.0];
    let operators = if options.quick { &quick_operators[..] } else { &OPERATORS[..] };
    let shares = if options.quick { &quick_shares[..] } else { &SHARES[..] };
    let places = [("cache", CACHED.min(total), (total / CACHED).max(1)), ("memory", total, 1)];
    let mut found = Vec::new();
    for (place, rows, passes) in places {
        for nulls in [false, true] {
            let chain = |operators, bound| Chain { operators, bound, nulls };
            // Nulls cost arithmetic, which hides behind memory.
            if place == "memory" && nulls {
                continue;
            }
            found.extend(operators.iter().map(|n| Cell {
                axis: "operators",
                chain: chain(*n, USUAL_SHARE),
                place,
                rows,
                passes,
            }));
            found.extend(shares.iter().map(|s| Cell {
                axis: "share",
                chain: chain(2, *s),
                place,
                rows,
                passes,
            }));
        }
    }
    found
}

/// The loop by hand as one more engine; the number of rows is not its business.
struct ByHand<'h> {
    hand: &'h HandLoops,
    name: String,
    bound: Float64Array,
}

impl ByHand<'_> {
    fn new<'h>(hand: &'h HandLoops, chain: &Chain, form: &str) -> ByHand<'h> {
        let nulls = if chain.nulls { "_nulls" } else { "" };
        let name = format!("chain_{}{nulls}_{form}", chain.operators);
        ByHand { hand, name, bound: Float64Array::from(vec![chain.bound]) }
    }

    fn run(&self, columns: &[ArrayRef]) -> Result<f64, Failure> {
        let mut addresses = Vec::new();
        for column in columns {
            let data = column.to_data();
            addresses.push(data.buffers()[0].as_ptr());
            if let Some(nulls) = data.nulls() {
                addresses.push(nulls.validity().as_ptr());
            }
        }
        addresses.push(self.bound.values().inner().as_ptr());
        self.hand.run(&self.name, &Addresses(addresses), columns[0].len(), 1, 1)
    }
}

/// Something that is timed.
type Side<'s> = (String, Box<dyn FnMut() -> Result<Answer, Failure> + 's>);

pub fn run(options: &Options) -> Result<(), Failure> {
    let hand = HandLoops::compile()?;
    let mut results = Results::begin("fusion", options)?;
    let cells = cells(options);
    let bar = ProgressBar::new(cells.len() as u64);
    bar.set_style(ProgressStyle::with_template("{prefix:12} {bar:30} {pos}/{len} {elapsed} {msg}")?);
    bar.set_prefix("fusion");
    for cell in &cells {
        let chain = &cell.chain;
        bar.set_message(format!("{} operators, {:.0} %", chain.operators, chain.bound * 100.0));
        let seconds = measure(cell, &hand, options)?;
        let axes = json!({
            "axis": cell.axis, "operators": chain.operators, "share": chain.bound, "nulls": chain.nulls,
            "place": cell.place,
        });
        let nulls = if chain.nulls { ", nulls" } else { "" };
        let case = format!(
            "{} operators, {:.0} % pass, {}{nulls}",
            chain.operators,
            chain.bound * 100.0,
            cell.place
        );
        for (engine, times) in seconds {
            results.add(json!({
                "case": case, "axes": axes, "engine": engine, "rows": cell.rows * cell.passes, "seconds": times,
            }))?;
        }
        bar.inc(1);
    }
    bar.finish_with_message("counting instructions");
    count(options, &mut results)?;
    results.finish()
}

/// Seconds of each engine in each round.
fn measure(cell: &Cell, hand: &HandLoops, options: &Options) -> Result<Vec<(String, Vec<f64>)>, Failure> {
    let columns = cell.chain.columns(cell.rows);
    let plan = Plan::new(&cell.chain)?;
    let mut sides: Vec<Side<'_>> = Vec::new();
    for name in ENGINES {
        let mut engine: Box<dyn Engine> = engine(name, &plan)?;
        let columns = &columns;
        let passes = cell.passes;
        let run = move || {
            let mut answer = Answer { rows: 0, sum: 0.0 };
            for _ in 0..passes {
                answer = engine.run(columns)?;
            }
            Ok(answer)
        };
        sides.push((name.to_owned(), Box::new(run)));
    }
    for form in ["a", "b"] {
        let by_hand = ByHand::new(hand, &cell.chain, form);
        let columns = &columns;
        let passes = cell.passes;
        let run = move || {
            let mut sum = 0.0;
            for _ in 0..passes {
                sum = by_hand.run(columns)?;
            }
            Ok(Answer { rows: 0, sum })
        };
        sides.push((format!("hand {form}"), Box::new(run)));
    }
    // The first run of each warms up, and all must agree.
    let mut right: Option<Answer> = None;
    let mut warm = 0.0;
    for (name, side) in &mut sides {
        let begin = Instant::now();
        let answer = side()?;
        warm += begin.elapsed().as_secs_f64();
        let is_hand = name.starts_with("hand");
        let right = *right.get_or_insert(answer);
        let answer = if is_hand { Answer { rows: right.rows, ..answer } } else { answer };
        if !answer.agrees(&right) {
            return Err(format!("{name} gives {answer:?}, not {right:?}, for {:?}", cell.chain).into());
        }
    }
    let most = options.repeat.unwrap_or(if options.quick { 3 } else { 7 });
    let rounds = ((CELL_SECONDS[usize::from(options.quick)] / warm) as usize).clamp(3, most.max(3));
    let mut times = vec![Vec::new(); sides.len()];
    for round in 0..rounds {
        for turn in 0..sides.len() {
            let at = (round + turn) % sides.len();
            let begin = Instant::now();
            sides[at].1()?;
            times[at].push(begin.elapsed().as_secs_f64());
        }
    }
    // By hand the better form counts.
    let mut named: Vec<(String, Vec<f64>)> = sides.into_iter().map(|side| side.0).zip(times).collect();
    if let (Some((_, b)), Some((_, a))) = (named.pop(), named.pop()) {
        named.push(("by hand".to_owned(), if median(&a) <= median(&b) { a } else { b }));
    }
    Ok(named)
}

/// One engine over cached data, `passes` times: what `perf` and valgrind count.
#[derive(Args)]
pub struct CountArguments {
    #[arg(long)]
    engine: String,
    #[arg(long)]
    operators: usize,
    #[arg(long)]
    share: f64,
    #[arg(long)]
    passes: usize,
    /// The library with the loops by hand.
    #[arg(long)]
    hand: PathBuf,
}

pub fn counted(arguments: &CountArguments) -> Result<(), Failure> {
    let chain = Chain { operators: arguments.operators, bound: arguments.share, nulls: false };
    let columns = chain.columns(CACHED);
    let mut sum = 0.0;
    if let Some(form) = arguments.engine.strip_prefix("by hand ") {
        let hand = HandLoops::load(&arguments.hand)?;
        let by_hand = ByHand::new(&hand, &chain, form);
        for _ in 0..arguments.passes {
            sum += by_hand.run(&columns)?;
        }
    } else {
        let mut engine = engine(&arguments.engine, &Plan::new(&chain)?)?;
        for _ in 0..arguments.passes {
            sum += engine.run(&columns)?.sum;
        }
    }
    println!("{sum}");
    Ok(())
}

/// What counts, and for which processor the loops by hand are made.
enum Counter {
    Perf,
    Valgrind,
}

impl Counter {
    fn name(&self) -> &'static str {
        match self {
            Counter::Perf => "perf stat",
            Counter::Valgrind => "valgrind --tool=cachegrind",
        }
    }

    /// The first that works here.
    fn find() -> Option<Counter> {
        let works = |program: &str, arguments: &[&str]| {
            Command::new(program).args(arguments).output().ok().filter(|o| o.status.success())
        };
        if let Some(out) = works("perf", &["stat", "-x,", "-e", "instructions:u", "true"])
            && !String::from_utf8_lossy(&out.stderr).contains("not supported")
        {
            return Some(Counter::Perf);
        }
        works("valgrind", &["--version"]).map(|_| Counter::Valgrind)
    }

    /// Instructions, and misses of the first and the last cache, of one run.
    fn count(&self, arguments: &[String]) -> Result<[f64; 3], Failure> {
        let program = std::env::current_exe()?;
        let mut command = match self {
            Counter::Perf => {
                let mut command = Command::new("perf");
                let events = "instructions:u,L1-dcache-load-misses:u,cache-misses:u";
                command.args(["stat", "-x,", "-e", events]);
                command
            }
            Counter::Valgrind => {
                let mut command = Command::new("valgrind");
                command.args(["--tool=cachegrind", "--cache-sim=yes", "--cachegrind-out-file=/dev/null"]);
                command
            }
        };
        let out = command.arg(program).args(arguments).output()?;
        let text = String::from_utf8_lossy(&out.stderr);
        if !out.status.success() {
            return Err(format!("{}: {text}", self.name()).into());
        }
        let found = |name: &str| -> Result<f64, Failure> {
            let line =
                text.lines().find(|l| l.contains(name)).ok_or_else(|| format!("no {name} in {text}"))?;
            let number = match self {
                Counter::Perf => line.split(',').next().unwrap_or_default().to_owned(),
                Counter::Valgrind => {
                    let after = line.split_once(name).map_or("", |l| l.1);
                    let first =
                        after.split_whitespace().find(|w| w.starts_with(|c: char| c.is_ascii_digit()));
                    first.unwrap_or_default().replace(',', "")
                }
            };
            number.parse().map_err(|_| format!("{line}: no number").into())
        };
        Ok(match self {
            Counter::Perf => [found("instructions")?, found("L1-dcache")?, found("cache-misses")?],
            Counter::Valgrind => [found("I   refs:")?, found("D1  misses:")?, found("LLd misses:")?],
        })
    }
}

/// Instructions and cache misses per row.
fn count(options: &Options, results: &mut Results) -> Result<(), Failure> {
    let Some(counter) = Counter::find() else {
        return results.missing("instruction counts", "neither perf's counters nor valgrind work here");
    };
    let hand = HandLoops::compile_for(match counter {
        Counter::Perf => "native",
        Counter::Valgrind => "x86-64-v3",
    })?;
    let path = hand.path().ok_or("a compiled library has a file")?;
    let chains: &[usize] = if options.quick { &[4] } else { &[4, 12] };
    // Without AVX-512 two of the engines are a third.
    let is_new =
        |name: &&str| matches!(counter, Counter::Perf) || !matches!(*name, "fused 128" | "fused rolled");
    for operators in chains {
        let engines = ENGINES.iter().copied().filter(is_new).chain(["by hand a"]);
        for engine in engines {
            match per_row(&counter, engine, *operators, &path) {
                Ok([instructions, near, far]) => results.add(json!({
                    "case": format!("{operators} operators, 90 % pass, cache"),
                    "axes": {"axis": "counts", "operators": operators},
                    "engine": engine.trim_end_matches(" a"),
                    "counter": counter.name(),
                    "instructions_per_row": instructions,
                    "l1_misses_per_row": near,
                    "last_level_misses_per_row": far,
                }))?,
                Err(error) => {
                    results.missing(&format!("instruction counts of {engine}"), &error.to_string())?
                }
            }
        }
    }
    Ok(())
}

fn per_row(counter: &Counter, engine: &str, operators: usize, hand: &Path) -> Result<[f64; 3], Failure> {
    let passes = [2, 6];
    let mut counts = [[0.0; 3]; 2];
    for (count, passes) in counts.iter_mut().zip(passes) {
        let arguments = [
            "fusion-count".to_owned(),
            format!("--engine={engine}"),
            format!("--operators={operators}"),
            format!("--share={USUAL_SHARE}"),
            format!("--passes={passes}"),
            format!("--hand={}", hand.display()),
        ];
        *count = counter.count(&arguments)?;
    }
    let rows = (CACHED * (passes[1] - passes[0])) as f64;
    Ok(std::array::from_fn(|i| (counts[1][i] - counts[0][i]) / rows))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loops_by_hand_give_what_the_engines_give() {
        let hand = HandLoops::compile().unwrap();
        for operators in OPERATORS {
            for nulls in [false, true] {
                for bound in [0.0, 0.4, 1.0] {
                    let chain = Chain { operators, bound, nulls };
                    let columns = chain.columns(10_007);
                    let plan = Plan::new(&chain).unwrap();
                    let right = engine("fused", &plan).unwrap().run(&columns).unwrap();
                    for form in ["a", "b"] {
                        let sum = ByHand::new(&hand, &chain, form).run(&columns).unwrap();
                        assert!(
                            right.agrees(&Answer { sum, ..right }),
                            "{form} {chain:?}: {sum}, not {right:?}"
                        );
                    }
                }
            }
        }
    }
}
