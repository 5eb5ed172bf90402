//! What the side-by-side suites were asked for and what they found: one JSON file a suite.
//!
//! The file is written anew after every cell, so a run that is interrupted keeps what it had; `complete` says
//! whether it came to its end. Times are all there as measured: medians, spreads and verdicts are the
//! report's. The Python driver (`fuseline_bench/results.py`) writes the same form.

use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use crate::Failure;
use crate::report::machine;

/// Options of all side-by-side suites.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// Smaller data and fewer rounds: a few minutes for all suites.
    #[arg(long)]
    pub quick: bool,
    /// Rows of the suite's tables, instead of its own number.
    #[arg(long)]
    pub rows: Option<usize>,
    /// Threads, instead of as many as there are cores.
    #[arg(long)]
    pub threads: Option<usize>,
    /// Rounds at most, instead of the suite's own number; slow cells have fewer.
    #[arg(long)]
    pub repeat: Option<usize>,
    /// Only these peers, with commas between them; `none` for none.
    #[arg(long)]
    pub peers: Option<String>,
    /// Only cases whose name contains this.
    #[arg(long)]
    pub only: Option<String>,
    /// Folder of results and report.
    #[arg(long, default_value = "target/bench", overrides_with = "out")]
    pub out: PathBuf,
    /// The Python that has fuseline and the peers.
    #[arg(long, default_value = "python3", overrides_with = "python")]
    pub python: PathBuf,
}

impl Options {
    /// The options as they are written on a command line, without those that name places.
    pub fn text(&self) -> String {
        let mut words = Vec::new();
        if self.quick {
            words.push("--quick".to_owned());
        }
        for (name, value) in [("rows", self.rows), ("threads", self.threads), ("repeat", self.repeat)] {
            words.extend(value.map(|v| format!("--{name} {v}")));
        }
        for (name, value) in [("peers", &self.peers), ("only", &self.only)] {
            words.extend(value.as_ref().map(|v| format!("--{name} '{v}'")));
        }
        words.join(" ")
    }
}

/// The results of a suite, on disk.
pub struct Results {
    path: PathBuf,
    all: Value,
}

impl Results {
    pub fn begin(suite: &str, options: &Options) -> Result<Results, Failure> {
        std::fs::create_dir_all(&options.out)?;
        let all = json!({
            "suite": suite,
            "complete": false,
            "options": options.text(),
            "machine": machine(),
            "versions": {"fuseline": env!("CARGO_PKG_VERSION")},
            "missing": [],
            "cells": [],
        });
        let results = Results { path: options.out.join(format!("{suite}.json")), all };
        results.write()?;
        Ok(results)
    }

    /// Adds one figure: a case, an engine, and its times or counts.
    pub fn add(&mut self, cell: Value) -> Result<(), Failure> {
        self.list("cells").push(cell);
        self.write()
    }

    /// Notes what could not be measured, and why.
    pub fn missing(&mut self, what: &str, why: &str) -> Result<(), Failure> {
        self.list("missing").push(json!({"what": what, "why": why}));
        self.write()
    }

    /// Says that all of it is there.
    pub fn finish(mut self) -> Result<(), Failure> {
        self.all["complete"] = true.into();
        self.write()
    }

    fn list(&mut self, name: &str) -> &mut Vec<Value> {
        self.all[name].as_array_mut().expect("`begin` has made it a list")
    }

    /// Writes a new file and puts it into the old one's place.
    fn write(&self) -> Result<(), Failure> {
        let new = self.path.with_extension("json.new");
        std::fs::write(&new, serde_json::to_string_pretty(&self.all)? + "\n")?;
        std::fs::rename(&new, &self.path)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_measured_is_there_before_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let options = Options {
            quick: true,
            rows: Some(7),
            threads: None,
            repeat: None,
            peers: Some("duckdb".into()),
            only: None,
            out: folder.path().into(),
            python: "python3".into(),
        };
        let mut results = Results::begin("some", &options).unwrap();
        results.add(json!({"case": "one", "seconds": [0.5]})).unwrap();
        results.missing("spark", "no Java").unwrap();
        let read = || -> Value {
            serde_json::from_slice(&std::fs::read(folder.path().join("some.json")).unwrap()).unwrap()
        };
        let found = read();
        assert_eq!(found["complete"], false);
        assert_eq!(found["options"], "--quick --rows 7 --peers 'duckdb'");
        assert_eq!(found["cells"][0]["seconds"][0], 0.5);
        assert_eq!(found["missing"][0]["what"], "spark");
        results.finish().unwrap();
        assert_eq!(read()["complete"], true);
    }
}
