//! The figures of a run as dicts and lists.

use std::collections::BTreeMap;

use fuseline::{Metric, OperatorProfile, Profile};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

/// The profile as Python data; `Result.profile` says what is in it.
pub fn profile<'py>(py: Python<'py>, profile: &Profile) -> PyResult<Bound<'py, PyDict>> {
    let stages = PyList::empty(py);
    let mut functions = BTreeMap::new();
    collect(py, &profile.plan, &stages, &mut functions)?;
    let compile = sum(&profile.plan, "compile_time");
    let dict = PyDict::new(py);
    dict.set_item("rows", profile.rows)?;
    dict.set_item("planning_seconds", profile.planning.as_secs_f64())?;
    dict.set_item("compile_seconds", compile)?;
    dict.set_item("run_seconds", profile.running.as_secs_f64())?;
    dict.set_item("stages", stages)?;
    dict.set_item("functions", of_functions(py, &functions)?)?;
    dict.set_item("plan", operator(py, &profile.plan)?)?;
    Ok(dict)
}

/// All fused stages in the order of their numbers, and the figures of all functions.
fn collect(
    py: Python<'_>,
    node: &OperatorProfile,
    stages: &Bound<'_, PyList>,
    functions: &mut BTreeMap<String, BTreeMap<String, Metric>>,
) -> PyResult<()> {
    if let Some(id) = node.stage {
        let stage = PyDict::new(py);
        stage.set_item("id", id)?;
        stage.set_item("operators", &node.fused)?;
        stage.set_item("rows_in", count(node, "input_rows"))?;
        stage.set_item("rows_out", count(node, "output_rows"))?;
        stage.set_item("morsels", count(node, "morsels"))?;
        stage.set_item("seconds", seconds(node, "elapsed_compute"))?;
        stage.set_item("compile_seconds", seconds(node, "compile_time"))?;
        stage.set_item("call_seconds", seconds(node, "call_time"))?;
        stage.set_item("functions", of_functions(py, &node.functions)?)?;
        let at = stages.iter().position(|other| {
            other.get_item("id").and_then(|other| other.extract::<usize>()).is_ok_and(|other| other > id)
        });
        stages.insert(at.unwrap_or(stages.len()), stage)?;
    }
    for (function, figures) in &node.functions {
        let sums = functions.entry(function.clone()).or_default();
        for (name, value) in figures {
            let sum = match (sums.get(name), value) {
                (Some(Metric::Count(a)), Metric::Count(b)) => Metric::Count(a + b),
                (Some(Metric::Seconds(a)), Metric::Seconds(b)) => Metric::Seconds(a + b),
                (_, value) => *value,
            };
            sums.insert(name.clone(), sum);
        }
    }
    for input in &node.inputs {
        collect(py, input, stages, functions)?;
    }
    Ok(())
}

fn of_functions<'py>(
    py: Python<'py>,
    functions: &BTreeMap<String, BTreeMap<String, Metric>>,
) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    for (function, figures) in functions {
        dict.set_item(function, metrics(py, figures)?)?;
    }
    Ok(dict)
}

fn operator<'py>(py: Python<'py>, node: &OperatorProfile) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("operator", &node.name)?;
    dict.set_item("text", &node.text)?;
    dict.set_item("stage", node.stage)?;
    dict.set_item("metrics", metrics(py, &node.metrics)?)?;
    let inputs = node.inputs.iter().map(|input| operator(py, input)).collect::<PyResult<Vec<_>>>()?;
    dict.set_item("inputs", inputs)?;
    Ok(dict)
}

fn metrics<'py>(py: Python<'py>, figures: &BTreeMap<String, Metric>) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    for (name, value) in figures {
        match value {
            Metric::Count(count) => dict.set_item(name, count)?,
            Metric::Seconds(seconds) => dict.set_item(name, seconds)?,
        }
    }
    Ok(dict)
}

fn count(node: &OperatorProfile, name: &str) -> u64 {
    match node.metrics.get(name) {
        Some(Metric::Count(count)) => *count,
        Some(Metric::Seconds(_)) | None => 0,
    }
}

fn seconds(node: &OperatorProfile, name: &str) -> f64 {
    match node.metrics.get(name) {
        Some(Metric::Seconds(seconds)) => *seconds,
        Some(Metric::Count(_)) | None => 0.0,
    }
}

fn sum(node: &OperatorProfile, name: &str) -> f64 {
    seconds(node, name) + node.inputs.iter().map(|input| sum(input, name)).sum::<f64>()
}
