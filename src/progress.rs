//! How far a running query is, from the metrics of its scans.

use std::sync::Arc;

use datafusion::common::stats::Precision;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::metrics::MetricValue;
use datafusion::physical_plan::statistics::{StatisticsArgs, StatisticsContext};
use fuseline_planner::stage::Source;

/// A look at a running query.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Progress {
    /// Rows that the scans have produced so far.
    pub rows: u64,
    /// Bytes that the scans have read from files so far.
    pub bytes: u64,
    /// The share of the work that is done, from 0 to 1, if the number of rows to scan is known. It is
    /// an estimate: a scan may skip rows that statistics count.
    pub fraction: Option<f64>,
}

/// The metrics at one moment.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Snapshot {
    rows: u64,
    bytes: u64,
    /// Rows that all scans together will produce, if all know it.
    total: Option<u64>,
}

impl Snapshot {
    /// Adds up the leaves of `plan`.
    pub(crate) fn of(plan: &Arc<dyn ExecutionPlan>) -> Self {
        let mut sum = Self { total: Some(0), ..Self::default() };
        sum.add(plan);
        sum
    }

    /// What was done since `before`: a plan that has run before starts with that run's numbers.
    pub(crate) fn since(self, before: Self) -> Progress {
        let rows = self.rows.saturating_sub(before.rows);
        let fraction = match self.total {
            Some(total) if total > 0 => Some((rows as f64 / total as f64).min(1.0)),
            Some(_) | None => None,
        };
        Progress { rows, bytes: self.bytes.saturating_sub(before.bytes), fraction }
    }

    fn add(&mut self, plan: &Arc<dyn ExecutionPlan>) {
        let children = plan.children();
        if !children.is_empty() {
            for child in children {
                self.add(child);
            }
            return;
        }
        if let Some(metrics) = plan.metrics() {
            // A fused stage that generates its rows counts what goes in; what comes out may be one sum.
            let rows = match metrics.sum_by_name("input_rows") {
                Some(rows) => rows.as_usize(),
                None => metrics.output_rows().unwrap_or(0),
            };
            self.rows += rows as u64;
            self.bytes +=
                metrics.sum_by_name("bytes_scanned").map_or(0, |value: MetricValue| value.as_usize()) as u64;
        }
        let generated = fuseline_runtime::as_fused(plan).and_then(|fused| match fused.stage().source {
            Source::Range { rows, .. } => Some(rows),
            Source::Child(_) | Source::Kept { .. } => None,
        });
        let known = generated.or_else(|| known_rows(plan));
        self.total = match (self.total, known) {
            (Some(total), Some(known)) => Some(total + known),
            (_, _) => None,
        };
    }
}

/// The rows that a scan will produce, as far as statistics say.
fn known_rows(plan: &Arc<dyn ExecutionPlan>) -> Option<u64> {
    let statistics = StatisticsContext::new().compute(plan.as_ref(), &StatisticsArgs::new()).ok()?;
    match statistics.num_rows {
        Precision::Exact(rows) | Precision::Inexact(rows) => Some(rows as u64),
        Precision::Absent => None,
    }
}
