//! How much of a plan runs in stages: its filters, projections, aggregates and joins, inside and outside.
//!
//! Other operators (scans, sorts, windows, exchanges, limits) are DataFusion's by design and not counted.

use std::fmt;
use std::sync::Arc;

use datafusion::physical_plan::{ExecutionPlan, displayable};

/// The kinds that are counted, by what their line in EXPLAIN begins with.
const KINDS: [(&str, &[&str]); 4] = [
    ("filters", &["FilterExec"]),
    ("projections", &["ProjectionExec"]),
    ("aggregates", &["AggregateExec"]),
    (
        "joins",
        &[
            "HashJoinExec",
            "NestedLoopJoinExec",
            "SortMergeJoinExec",
            "CrossJoinExec",
            "PiecewiseMergeJoinExec",
            "SymmetricHashJoinExec",
        ],
    ),
];

/// Operators of one or several plans, by the order of [`KINDS`].
#[derive(Clone, Copy, Default, Debug)]
pub struct Share {
    inside: [usize; 4],
    outside: [usize; 4],
}

impl Share {
    pub fn of(plan: Option<&Arc<dyn ExecutionPlan>>) -> Share {
        let mut share = Share::default();
        if let Some(plan) = plan {
            share.visit(plan);
        }
        share
    }

    fn visit(&mut self, plan: &Arc<dyn ExecutionPlan>) {
        let line = displayable(plan.as_ref()).one_line().to_string();
        for (at, (_, names)) in KINDS.iter().enumerate() {
            for name in *names {
                if plan.name() == "FusedExec" {
                    self.inside[at] += line.matches(&format!(") {name}")).count();
                } else {
                    // What is not fused keeps its line, whatever says so.
                    self.outside[at] += usize::from(line.starts_with(name));
                }
            }
        }
        plan.children().into_iter().for_each(|c| self.visit(c));
    }

    pub fn add(&mut self, other: Share) {
        for at in 0..KINDS.len() {
            self.inside[at] += other.inside[at];
            self.outside[at] += other.outside[at];
        }
    }

    /// Of a kind: inside, and outside.
    pub fn kind(&self, name: &str) -> (usize, usize) {
        let at = KINDS.iter().position(|(kind, _)| *kind == name).expect("a kind that is counted");
        (self.inside[at], self.outside[at])
    }

    /// Percent of all counted operators that run in stages; of none, all.
    pub fn percent(&self) -> f64 {
        let inside: usize = self.inside.iter().sum();
        let all = inside + self.outside.iter().sum::<usize>();
        if all == 0 { 100.0 } else { inside as f64 * 100.0 / all as f64 }
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:5.1} % in stages", self.percent())?;
        for (at, (kind, _)) in KINDS.iter().enumerate() {
            let all = self.inside[at] + self.outside[at];
            if all > 0 {
                write!(f, "  {kind} {}/{all}", self.inside[at])?;
            }
        }
        Ok(())
    }
}
