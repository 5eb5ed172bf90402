//! The suites that have peers, and the report: the package `fuseline_bench`, run with the Python that has them.
//!
//! The peers are Python packages, and so is our side of these suites: what is compared is what their users
//! call. This process only hands on what it was asked for.

use std::path::Path;
use std::process::Command;

use crate::Failure;
use crate::report::machine;
use crate::results::Options;

/// The suites with peers.
pub const SUITES: [&str; 5] = ["udf-models", "plus-one", "primitives", "frames", "tpch"];

/// Runs one of them, or `report`.
pub fn run(what: &str, options: &Options) -> Result<(), Failure> {
    let mut command = Command::new(&options.python);
    // `-P`: the package is found by PYTHONPATH and nothing by the working folder.
    command.args(["-P", "-m", "fuseline_bench", what]).env("PYTHONPATH", env!("CARGO_MANIFEST_DIR"));
    command.arg("--out").arg(&options.out).arg("--machine").arg(machine().to_string());
    if options.quick {
        command.arg("--quick");
    }
    for (name, value) in
        [("--rows", options.rows), ("--threads", options.threads), ("--repeat", options.repeat)]
    {
        command.args(value.map(|v| [name.to_owned(), v.to_string()]).into_iter().flatten());
    }
    for (name, value) in [("--peers", &options.peers), ("--only", &options.only)] {
        command.args(value.iter().flat_map(|v| [name, v]));
    }
    let status = command.status().map_err(|e| format!("{}: {e}", options.python.display()))?;
    if status.success() { Ok(()) } else { Err(format!("{what}: {status}").into()) }
}

/// All suites, one after the other, then the report; a suite that fails does not keep the others from running.
pub fn all(options: &Options, fusion: impl Fn(&Options) -> Result<(), Failure>) -> Result<(), Failure> {
    let mut failed = Vec::new();
    for suite in ["fusion"].into_iter().chain(SUITES) {
        // What an earlier run has left is not this run's.
        forget(&options.out, suite);
        let outcome = if suite == "fusion" { fusion(options) } else { run(suite, options) };
        if let Err(error) = outcome {
            eprintln!("fuseline-bench: {error}");
            failed.push(suite);
        }
    }
    run("report", options)?;
    println!("the report: {}", options.out.join("report.html").display());
    if failed.is_empty() { Ok(()) } else { Err(format!("failed: {}", failed.join(", ")).into()) }
}

fn forget(out: &Path, suite: &str) {
    // Nothing to forget is as good.
    let _ = std::fs::remove_file(out.join(format!("{suite}.json")));
}
