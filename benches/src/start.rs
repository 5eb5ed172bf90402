//! Suite `start`: the time of a whole process, `fuseline "select 1"`.
//!
//! Hypothesis: loading the binary, making a session, planning and printing take at most 60 ms, so that
//! the command line serves as a tool among others.
//!
//! Axes: none; the median of `--runs` runs, each a process of its own, after one that warms the page
//! cache. Machine: any; the JSON form names the processor.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use serde_json::json;

use crate::Failure;
use crate::report::{Report, median};

pub fn run(binary: Option<&Path>, runs: usize, report: &mut Report) -> Result<(), Failure> {
    let binary: PathBuf = match binary {
        Some(path) => path.into(),
        None => std::env::current_exe()?.with_file_name("fuseline"),
    };
    let once = || -> Result<f64, Failure> {
        let begin = Instant::now();
        let output = Command::new(&binary)
            .arg("select 1")
            .stdin(Stdio::null())
            .output()
            .map_err(|e| format!("{}: {e}", binary.display()))?;
        let time = begin.elapsed().as_secs_f64();
        if !output.status.success() || !output.stdout.contains(&b'1') {
            return Err(format!("it failed: {}", String::from_utf8_lossy(&output.stderr)).into());
        }
        Ok(time)
    };
    let cold = once()?;
    let times = (0..runs.max(1)).map(|_| once()).collect::<Result<Vec<_>, _>>()?;
    let least = times.iter().copied().fold(f64::INFINITY, f64::min);
    println!(
        "fuseline \"select 1\": median {:.1} ms of {} processes (least {:.1}, first {:.1})",
        median(&times) * 1e3,
        times.len(),
        least * 1e3,
        cold * 1e3
    );
    report.add(json!({
        "suite": "start",
        "runs": times.len(),
        "median_ms": median(&times) * 1e3,
        "least_ms": least * 1e3,
        "first_ms": cold * 1e3,
    }));
    Ok(())
}
