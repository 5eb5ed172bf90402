//! Random typed queries over random tables, unfused, fused and interpreted: the same answers.
//!
//! Unfused is a plain DataFusion `SessionContext`. Fused is fuseline with `fuseline.fusion = 'force'`,
//! once compiled and once on the interpreter (`fuseline.backend = 'interp'`), which must agree bit for
//! bit; against unfused the allowances of `comparison.rs` hold. An error of the unfused query alone is
//! allowed where some expression is evaluated on some rows only (a filter, a CASE, a LIMIT); an error of
//! the fused query alone never is. A case in which nothing fused, or both sides err, proves nothing: it
//! is counted apart, and the share of cases that prove something has a floor.
//!
//! Cases are named by a seed. A failure prints the seed, and the smallest query and table that still
//! fail, with the stage's IR and code. `FUSELINE_SEED=<n>` runs one case alone, `FUSELINE_CASES=<n>` that
//! many; by default 3,000 run, with `FUSELINE_NIGHTLY=1` 200,000.

mod comparison;
mod expressions;
mod queries;
pub mod random;
mod tables;
mod values;

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arrow::datatypes::{DataType, Field};
use datafusion::datasource::MemTable;
use datafusion::prelude::{SessionConfig, SessionContext};
use fuseline::Session;
use futures::FutureExt;

use crate::suites::{self, Operators, panic_text};
use comparison::{Rows, difference, exact_difference};
use queries::{Query, Shape};
use random::Random;
use tables::Table;

/// Queries per table: making and registering a table costs as much as a few queries.
const QUERIES_PER_TABLE: u64 = 16;

/// Least share (percent) of cases that compare rows of a fused plan.
const PROVING_FLOOR_PERCENT: u64 = 65;

/// A query that takes longer hangs.
const LIMIT: Duration = Duration::from_secs(30);

/// Attempts at making a failing case smaller.
const SHRINK_ATTEMPTS: usize = 400;

/// Failures after which a run stops.
const MAX_FAILURES: usize = 10;

/// What one case showed.
#[derive(Debug, PartialEq)]
enum Verdict {
    /// Compared, equal, and a stage was fused.
    Proved,
    /// Equal, but nothing fused.
    Unfused,
    /// Both sides rejected it.
    BothErr,
    /// Only unfused rejected it, and it may.
    UnfusedErrs,
    Failed(String),
}

/// Three engines over one table.
struct Engines {
    unfused: SessionContext,
    /// The same with as many partitions as the fused ones have.
    parallel: SessionContext,
    compiled: Session,
    interpreted: Session,
    /// Unfused, a cast of a dictionary also casts the values that no row has, and errs on them.
    dictionaries: bool,
}

impl Engines {
    fn new(table: &Table, threads: usize) -> Self {
        let plain = |partitions: usize| {
            let config = SessionConfig::new().with_target_partitions(partitions);
            let context = SessionContext::new_with_config(config);
            let memory = MemTable::try_new(table.schema(), vec![table.batches()]).expect("a table");
            context.register_table("t", Arc::new(memory)).expect("it registers");
            context
        };
        let fused = |backend: &str| {
            let session = Session::builder()
                .threads(threads)
                .set("fuseline.fusion", "force")
                .set("fuseline.backend", backend)
                .set("fuseline.verify", "true")
                .build()
                .expect("a session");
            session.register_batches("t", table.schema(), table.batches()).expect("it registers");
            session
        };
        let dictionary = |f: &Arc<Field>| matches!(f.data_type(), DataType::Dictionary(..));
        Self {
            unfused: plain(1),
            parallel: plain(threads),
            compiled: fused(&suites::backend()),
            interpreted: fused("interp"),
            dictionaries: table.schema().fields().iter().any(dictionary),
        }
    }

    /// Whether DataFusion alone cannot plan the query for several partitions: it takes an order by some
    /// expressions for unsatisfied that it made itself, and checks its plan before it is fused.
    async fn is_unplannable(&self, query: &Query) -> bool {
        let Shape::Sorted(_) = query.shape else { return false };
        match self.parallel.sql(&query.sql()).await {
            Ok(frame) => frame.create_physical_plan().await.is_err(),
            Err(_) => false,
        }
    }

    async fn unfused(&self, sql: &str) -> Result<Rows, String> {
        let work = async {
            let frame = self.unfused.sql(sql).await.map_err(|e| e.to_string())?;
            Rows::of(&frame.collect().await.map_err(|e| e.to_string())?)
        };
        match std::panic::AssertUnwindSafe(work).catch_unwind().await {
            Ok(result) => result,
            Err(payload) => Err(format!("PANIC: {}", panic_text(payload.as_ref()))),
        }
    }

    /// The verdict on one query, and its kind of failure.
    async fn judge(&self, query: &Query) -> Verdict {
        let sql = query.sql();
        let fused = match tokio::time::timeout(LIMIT, suites::run(&self.compiled, &sql)).await {
            Ok(outcome) => outcome,
            Err(_) => return Verdict::Failed("fused hangs".into()),
        };
        if let Err(error) = &fused
            && error.contains("PANIC")
        {
            return Verdict::Failed(error.clone());
        }
        let unfused = self.unfused(&query.unlimited()).await;
        let outcome = match (unfused, fused) {
            (Err(_), Err(_)) => return Verdict::BothErr,
            (Ok(_), Err(_)) if self.is_unplannable(query).await => return Verdict::BothErr,
            (Ok(_), Err(error)) => return Verdict::Failed(format!("only fused errs: {error}")),
            (Err(_), Ok(_)) if query.is_lazy() || self.dictionaries => return Verdict::UnfusedErrs,
            (Err(error), Ok(_)) => {
                return Verdict::Failed(format!("only unfused errs, and must: {error}"));
            }
            (Ok(expected), Ok(outcome)) => {
                let actual = match Rows::of(&outcome.batches) {
                    Ok(rows) => rows,
                    Err(error) => return Verdict::Failed(format!("fused rows: {error}")),
                };
                if let Some(text) = difference(query, expected, actual.clone()) {
                    return Verdict::Failed(text);
                }
                (outcome, actual)
            }
        };
        let (outcome, compiled) = outcome;
        if Operators::of(outcome.plan.as_ref()).fused == 0 {
            return Verdict::Unfused;
        }
        if query.limit.is_none() {
            let interpreted = match suites::run(&self.interpreted, &sql).await {
                Ok(outcome) => Rows::of(&outcome.batches),
                Err(error) => Err(error),
            };
            match interpreted {
                Ok(rows) => {
                    if let Some(text) = exact_difference(query, rows, compiled) {
                        return Verdict::Failed(text);
                    }
                }
                Err(error) => {
                    return Verdict::Failed(format!("only the interpreter errs: {error}"));
                }
            }
        }
        Verdict::Proved
    }

    /// The fused plan as EXPLAIN shows it.
    async fn plan(&self, sql: &str) -> String {
        printed(suites::run(&self.compiled, &format!("EXPLAIN {sql}")).await)
    }

    /// The plan's stages as IR and code, for a report.
    async fn explain(&self, sql: &str) -> String {
        printed(suites::run(&self.compiled, &format!("EXPLAIN CODEGEN {sql}")).await)
    }
}

/// Rows, or the error, as text.
fn printed(outcome: Result<suites::Outcome, String>) -> String {
    match outcome {
        Ok(outcome) => arrow::util::pretty::pretty_format_batches(&outcome.batches)
            .map_or_else(|e| e.to_string(), |t| t.to_string()),
        Err(error) => error,
    }
}

/// The first words of a failure: two failures of one kind have the same.
fn kind(text: &str) -> &str {
    text.split(|c: char| c == ':' || c.is_ascii_digit()).next().unwrap_or(text)
}

/// Makes a failing case smaller while it fails in the same way.
async fn shrink(
    mut table: Table,
    mut query: Query,
    threads: usize,
    mut failure: String,
) -> (Table, Query, String) {
    let mut attempts = 0;
    let mut engines = Engines::new(&table, threads);
    let mut progress = true;
    while progress && attempts < SHRINK_ATTEMPTS {
        progress = false;
        for simpler in query.simpler() {
            attempts += 1;
            if attempts > SHRINK_ATTEMPTS {
                break;
            }
            if let Verdict::Failed(text) = engines.judge(&simpler).await
                && kind(&text) == kind(&failure)
            {
                (query, failure, progress) = (simpler, text, true);
                break;
            }
        }
        let rows = table.rows;
        let halves = [(0, rows / 2), (rows / 2, rows), (0, rows.saturating_sub(1)), (1.min(rows), rows)];
        for (from, to) in halves {
            if to - from == rows || attempts > SHRINK_ATTEMPTS {
                continue;
            }
            attempts += 1;
            let smaller = table.with_rows(from, to);
            let their_engines = Engines::new(&smaller, threads);
            if let Verdict::Failed(text) = their_engines.judge(&query).await
                && kind(&text) == kind(&failure)
            {
                (table, engines, failure, progress) = (smaller, their_engines, text, true);
                break;
            }
        }
    }
    (table, query, failure)
}

/// Counts of verdicts, and the failures' reports.
#[derive(Default)]
struct Tally {
    proved: u64,
    unfused: u64,
    both_err: u64,
    unfused_errs: u64,
    failures: Vec<String>,
}

/// The table of the case with this seed, and the random source its query comes from.
fn case(seed: u64) -> (Table, Random) {
    let table = Table::random(&mut Random::new(seed / QUERIES_PER_TABLE));
    (table, Random::new(seed ^ 0x5eed_0000_0000_0000))
}

/// Runs the cases `first..last` on two workers.
fn run_cases(first: u64, last: u64) -> Tally {
    let next = AtomicU64::new(first / QUERIES_PER_TABLE);
    let tally = Mutex::new(Tally::default());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let runtime = suites::runtime();
                loop {
                    let group = next.fetch_add(1, Ordering::Relaxed);
                    let from = (group * QUERIES_PER_TABLE).max(first);
                    let to = ((group + 1) * QUERIES_PER_TABLE).min(last);
                    if from >= to || tally.lock().expect("no panic holds it").failures.len() >= MAX_FAILURES {
                        break;
                    }
                    let (table, _) = case(from);
                    let threads = 1 + (group % 2) as usize;
                    let engines = runtime.block_on(async { Engines::new(&table, threads) });
                    for seed in from..to {
                        let query = Query::random(&mut case(seed).1, &table);
                        let verdict = runtime.block_on(engines.judge(&query));
                        if last - first == 1 {
                            let sql = query.sql();
                            let plan = runtime.block_on(engines.plan(&sql));
                            println!("{}\n{sql}\n{plan}\n{verdict:?}", table.describe());
                        }
                        let report = match &verdict {
                            Verdict::Failed(text) => Some(runtime.block_on(report(
                                seed,
                                table.clone(),
                                query,
                                threads,
                                text.clone(),
                            ))),
                            _ => None,
                        };
                        let mut tally = tally.lock().expect("no panic holds it");
                        match verdict {
                            Verdict::Proved => tally.proved += 1,
                            Verdict::Unfused => tally.unfused += 1,
                            Verdict::BothErr => tally.both_err += 1,
                            Verdict::UnfusedErrs => tally.unfused_errs += 1,
                            Verdict::Failed(_) => tally.failures.extend(report),
                        }
                    }
                }
            });
        }
    });
    tally.into_inner().expect("no panic holds it")
}

async fn report(seed: u64, table: Table, query: Query, threads: usize, text: String) -> String {
    let original = query.sql();
    let (table, query, smallest) = shrink(table, query, threads, text.clone()).await;
    let ir = Engines::new(&table, threads).explain(&query.sql()).await;
    format!(
        "FUSELINE_SEED={seed} ({threads} threads): {text}\n  {original}\nsmallest: {smallest}\n  \
         {}\n{}\n{ir}",
        query.sql(),
        table.describe()
    )
}

#[test]
fn random_queries_agree_unfused_fused_and_interpreted() {
    let number = |name: &str| std::env::var(name).ok().and_then(|v| v.parse::<u64>().ok());
    let (first, last) = match (number("FUSELINE_SEED"), number("FUSELINE_CASES")) {
        (Some(seed), None) => (seed, seed + 1),
        (Some(seed), Some(cases)) => (seed, seed + cases),
        (None, Some(cases)) => (0, cases),
        (None, None) if suites::nightly() => (0, 200_000),
        (None, None) => (0, 3_000),
    };
    let begin = Instant::now();
    let tally = run_cases(first, last);
    let cases =
        tally.proved + tally.unfused + tally.both_err + tally.unfused_errs + tally.failures.len() as u64;
    println!(
        "differential: {cases} cases in {:.0} s: {} proved, {} without a fused stage, {} rejected by \
         both, {} by unfused alone, {} failed",
        begin.elapsed().as_secs_f64(),
        tally.proved,
        tally.unfused,
        tally.both_err,
        tally.unfused_errs,
        tally.failures.len()
    );
    assert!(tally.failures.is_empty(), "{}", tally.failures.join("\n\n"));
    if last - first >= 1000 {
        assert!(
            tally.proved * 100 >= PROVING_FLOOR_PERCENT * cases,
            "only {} of {cases} cases proved something",
            tally.proved
        );
    }
}
