//! What a run of a query cost: the figures of EXPLAIN ANALYZE as data.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use datafusion::physical_plan::metrics::{MetricValue, MetricsSet};
use datafusion::physical_plan::{ExecutionPlan, displayable};
use fuseline_runtime::as_fused;

/// The figures of one run.
#[derive(Debug, Clone)]
pub struct Profile {
    /// Parsing, resolving, optimizing, and compiling what was not in the cache.
    pub planning: Duration,
    /// From the start of the plan to its last row.
    pub running: Duration,
    /// Rows of the result.
    pub rows: u64,
    /// The plan, from its root.
    pub plan: OperatorProfile,
}

/// The figures of one operator, summed over its partitions.
#[derive(Debug, Clone)]
pub struct OperatorProfile {
    /// The operator's name, such as `FusedExec`.
    pub name: String,
    /// Its line in EXPLAIN.
    pub text: String,
    /// The number of the fused stage, if it is one: the n of `*(n)`.
    pub stage: Option<usize>,
    /// The operators that a fused stage does the work of, top first.
    pub fused: Vec<String>,
    /// What it counted, by name.
    pub metrics: BTreeMap<String, Metric>,
    /// What it counted per user-defined function: by the function's name, then by the metric's.
    pub functions: BTreeMap<String, BTreeMap<String, Metric>>,
    /// The operators below.
    pub inputs: Vec<OperatorProfile>,
}

/// One figure.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Metric {
    /// Rows, bytes, calls.
    Count(u64),
    /// Seconds, summed over all threads.
    Seconds(f64),
}

impl Metric {
    fn add(&mut self, other: Metric) {
        *self = match (*self, other) {
            (Self::Count(a), Self::Count(b)) => Self::Count(a + b),
            (Self::Seconds(a), Self::Seconds(b)) => Self::Seconds(a + b),
            (Self::Count(_), Self::Seconds(_)) | (Self::Seconds(_), Self::Count(_)) => other,
        };
    }
}

/// What a stage counts for each user-defined function, as `udf_NAME_WHAT`.
const OF_FUNCTIONS: [&str; 9] = [
    "demoted_calls",
    "calls",
    "failed_rows",
    "compiled_rows",
    "bailed_rows",
    "rows",
    "function_time",
    "conversion_time",
    "wait_time",
];

/// The function and the figure's name, if a metric is about a function.
fn of_function(metric: &str) -> Option<(&str, &'static str)> {
    let rest = metric.strip_prefix("udf_")?;
    OF_FUNCTIONS.iter().find_map(|what| Some((rest.strip_suffix(what)?.strip_suffix('_')?, *what)))
}

impl OperatorProfile {
    /// The figures of `plan` and what is below it. They are those of a run only if the plan has run
    /// once.
    pub(crate) fn of(plan: &Arc<dyn ExecutionPlan>) -> Self {
        let fused = as_fused(plan);
        let mut metrics = BTreeMap::new();
        let mut functions: BTreeMap<String, BTreeMap<String, Metric>> = BTreeMap::new();
        for (function, name, value) in plan.metrics().iter().flat_map(figures) {
            let figures = match function {
                Some(function) => functions.entry(function).or_default(),
                None => &mut metrics,
            };
            figures.entry(name).and_modify(|sum: &mut Metric| sum.add(value)).or_insert(value);
        }
        Self {
            name: plan.name().to_string(),
            text: displayable(plan.as_ref()).one_line().to_string().trim_end().to_string(),
            stage: fused.map(|fused| fused.id()),
            fused: fused.map_or_else(Vec::new, |fused| {
                fused.stage().operators.iter().map(|operator| operator.text.clone()).collect()
            }),
            metrics,
            functions,
            inputs: plan.children().into_iter().map(Self::of).collect(),
        }
    }
}

/// Function, name and value of each metric.
fn figures(set: &MetricsSet) -> Vec<(Option<String>, String, Metric)> {
    set.iter()
        .filter_map(|metric| {
            let value = match metric.value() {
                MetricValue::ElapsedCompute(time) | MetricValue::Time { time, .. } => {
                    Metric::Seconds(time.value() as f64 / 1e9)
                }
                // Moments, not amounts.
                MetricValue::StartTimestamp(_) | MetricValue::EndTimestamp(_) => return None,
                other => Metric::Count(other.as_usize() as u64),
            };
            let name = metric.value().name();
            Some(match of_function(name) {
                Some((function, what)) => (Some(function.to_string()), what.to_string(), value),
                None => (None, name.to_string(), value),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_of_functions_are_told_by_their_names() {
        assert_eq!(of_function("udf_my_rows_failed_rows"), Some(("my_rows", "failed_rows")));
        assert_eq!(of_function("udf_f_rows"), Some(("f", "rows")));
        assert_eq!(of_function("output_rows"), None);
        assert_eq!(of_function("udf_rows"), None);
    }
}
