//! `fuseline-bench`: what fusion costs and what it saves, measured.
//!
//! Side by side with peers and other ways of execution (`all` runs them and writes the report):
//! - `fusion`: the same pipelines row at a time, operator at a time, fused, and by hand.
//! - `udf-models`, `plus-one`, `primitives`, `frames`, `tpch`: in Python, see `fuseline_bench/` and `front.rs`.
//! - `report`: HTML, Markdown and plots of what lies under `--out`.
//!
//! Our own figures alone (each file's header states its hypothesis, axes and machine):
//! - `loops`: pipelines against hand-written Rust loops, on the same buffers, in one process.
//! - `compile`: time to compile each stage of TPC-H's 22 queries.
//! - `groups`: aggregation by group, few and many groups.
//! - `leak`: resident memory over 10,000 distinct compiled queries.
//! - `start`: time of the process `fuseline "select 1"`.
//!
//! Figures of these go to standard output as a table, and with `--json FILE` as JSON as well.

mod compile;
mod data;
mod engines;
mod front;
mod fusion;
mod groups;
mod hand;
mod leak;
mod loops;
mod pipelines;
mod report;
mod results;
mod start;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use report::Report;
use results::Options;

/// The program that embeds fuseline chooses the allocator; output batches want one that reuses pages.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Any failure of a benchmark, with its text.
type Failure = Box<dyn std::error::Error + Send + Sync>;

#[derive(Parser)]
#[command(name = "fuseline-bench", version, about)]
struct Arguments {
    /// Also write the figures of our own as JSON to this file.
    #[arg(long, global = true)]
    json: Option<PathBuf>,
    #[command(subcommand)]
    suite: Suite,
}

#[derive(Subcommand)]
enum Suite {
    /// The six side-by-side suites and the report.
    All(Options),
    /// The same pipelines row at a time, operator at a time, fused, and by hand.
    Fusion(Options),
    /// Python functions by how they are executed.
    UdfModels(Options),
    /// Adding one to a column of a file that is larger than the memory limit.
    PlusOne(Options),
    /// Filter, sum, grouped sum, join, sort, Parquet decode.
    Primitives(Options),
    /// To pandas, Polars and NumPy and back.
    Frames(Options),
    /// TPC-H's 22 queries.
    Tpch(Options),
    /// The report of what was measured.
    Report(Options),
    /// For `fusion`: what is run under perf or valgrind.
    #[command(hide = true)]
    FusionCount(fusion::CountArguments),
    /// Pipelines against hand-written Rust loops.
    Loops(LoopsArguments),
    /// Aggregation by group.
    Groups(GroupsArguments),
    /// Compile time of each stage of TPC-H's 22 queries.
    Compile {
        /// Folder of the query files q01.sql ... q22.sql.
        #[arg(long)]
        queries: Option<PathBuf>,
        /// TPC-H scale factor of the data behind the plans.
        #[arg(long, default_value_t = 0.01)]
        scale: f64,
    },
    /// Resident memory over many distinct compiled queries.
    Leak {
        /// How many queries.
        #[arg(long, default_value_t = 10_000)]
        queries: usize,
    },
    /// Time of the process `fuseline "select 1"`.
    Start {
        /// The binary; by default the one beside this program.
        #[arg(long)]
        binary: Option<PathBuf>,
        /// How many runs; the median counts.
        #[arg(long, default_value_t = 31)]
        runs: usize,
    },
}

#[derive(Args)]
struct LoopsArguments {
    /// Rows per pipeline.
    #[arg(long, default_value_t = 20_000_000)]
    rows: usize,
    /// Rows of the arrays that stay in the second-level cache.
    #[arg(long, default_value_t = 32_768)]
    cached_rows: usize,
    /// Rows per record batch of the tables in main memory.
    #[arg(long, default_value_t = 1 << 20)]
    batch_rows: usize,
    /// Interleaved repetitions; medians count.
    #[arg(long, default_value_t = 7)]
    repeat: usize,
    /// Thread counts, both of fuseline and of the hand-written loops.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 2])]
    threads: Vec<usize>,
    /// Only pipelines whose name contains this.
    #[arg(long)]
    only: Option<String>,
    /// Only one place: `memory` or `cache`.
    #[arg(long)]
    place: Option<loops::Place>,
    /// Settings of the session, key=value.
    #[arg(long = "set")]
    settings: Vec<String>,
}

#[derive(Args)]
struct GroupsArguments {
    /// Rows of the table.
    #[arg(long, default_value_t = 20_000_000)]
    rows: usize,
    /// Repetitions; medians count.
    #[arg(long, default_value_t = 5)]
    repeat: usize,
    #[arg(long, value_delimiter = ',', default_values_t = [1, 2])]
    threads: Vec<usize>,
    /// Only keys whose name contains this.
    #[arg(long)]
    only: Option<String>,
    /// The query, over a table `t` of a key `k` and a double `a`.
    #[arg(long, default_value = "select k, sum(a) as s from t group by k")]
    sql: String,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let mut report = Report::default();
    let outcome = match &arguments.suite {
        Suite::All(options) => front::all(options, fusion::run),
        Suite::Fusion(options) => fusion::run(options),
        Suite::UdfModels(options) => front::run("udf-models", options),
        Suite::PlusOne(options) => front::run("plus-one", options),
        Suite::Primitives(options) => front::run("primitives", options),
        Suite::Frames(options) => front::run("frames", options),
        Suite::Tpch(options) => front::run("tpch", options),
        Suite::Report(options) => front::run("report", options),
        Suite::FusionCount(arguments) => fusion::counted(arguments),
        Suite::Loops(loops) => loops::run(loops, &mut report),
        Suite::Groups(groups) => groups::run(groups, &mut report),
        Suite::Compile { queries, scale } => compile::run(queries.as_deref(), *scale, &mut report),
        Suite::Leak { queries } => leak::run(*queries, &mut report),
        Suite::Start { binary, runs } => start::run(binary.as_deref(), *runs, &mut report),
    };
    let outcome = outcome.and_then(|()| match &arguments.json {
        Some(path) => report.write(path),
        None => Ok(()),
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fuseline-bench: {error}");
            ExitCode::FAILURE
        }
    }
}
