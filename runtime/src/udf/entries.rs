//! Which user-defined functions an expression enters: for EXPLAIN, metrics and gates.

use crate::udf::boundary::BoundaryUdf;
use crate::udf::function::Gate;
use crate::udf::spec::NullHandling;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::physical_expr::ScalarFunctionExpr;
use datafusion::physical_expr_common::physical_expr::fmt_sql;
use datafusion::physical_plan::PhysicalExpr;
use fuseline_codegen::function::Function;
use fuseline_planner::stage::{Call, Stage};
use std::sync::Arc;

/// The user-defined function that an expression calls itself.
pub fn boundary_of(expr: &Arc<dyn PhysicalExpr>) -> Option<&BoundaryUdf> {
    expr.downcast_ref::<ScalarFunctionExpr>()?.fun().inner().downcast_ref::<BoundaryUdf>()
}

/// The body of the function that a call is of, if it is known and a loop does with NULLs what the boundary does.
pub fn body_of(call: &ScalarFunctionExpr) -> Option<Arc<Function>> {
    let udf = call.fun().inner().downcast_ref::<BoundaryUdf>()?;
    let body = udf.function().body()?;
    // In a loop a parameter that takes None gets it for NULL, and any other makes the result NULL.
    let takes_none = |all: bool| body.params.iter().all(|p| p.ty.optional == all);
    let same = match udf.spec().null_handling {
        NullHandling::Propagate => takes_none(false),
        NullHandling::Call => takes_none(true),
    };
    same.then_some(body)
}

/// Visits each call of a user-defined function in an expression.
pub fn for_each_boundary(
    expr: &Arc<dyn PhysicalExpr>,
    mut visit: impl FnMut(&Arc<dyn PhysicalExpr>, &BoundaryUdf),
) {
    // The visitor itself never errs.
    let _ = expr.apply(|e| {
        if let Some(udf) = boundary_of(e) {
            visit(e, udf);
        }
        Ok(TreeNodeRecursion::Continue)
    });
}

/// Whether an expression calls a user-defined function.
pub fn calls_udf(expr: &Arc<dyn PhysicalExpr>) -> bool {
    let mut found = false;
    for_each_boundary(expr, |_, _| found = true);
    found
}

/// Whether a stage calls a user-defined function.
pub fn stage_calls_udf(stage: &Stage) -> bool {
    expressions(stage).any(calls_udf)
}

/// Of all calls of a stage and of those that are run after it.
fn expressions(stage: &Stage) -> impl Iterator<Item = &Arc<dyn PhysicalExpr>> {
    stage.passes().flat_map(|s| &s.segments).flat_map(|s| &s.calls).filter_map(Call::expr)
}

/// What has to be entered for an expression.
pub fn gate_of(expr: &Arc<dyn PhysicalExpr>) -> Option<&'static dyn Gate> {
    let mut gate = None;
    for_each_boundary(expr, |_, udf| gate = gate.or(udf.function().gate()));
    gate
}

/// The functions of a stage, each once: id and name.
pub fn functions(stage: &Stage) -> Vec<(usize, String)> {
    let mut found: Vec<(usize, String)> = Vec::new();
    for expr in expressions(stage) {
        for_each_boundary(expr, |_, udf| {
            if found.iter().all(|(id, _)| *id != udf.id()) {
                found.push((udf.id(), udf.spec().name.clone()));
            }
        });
    }
    found
}

/// A line for each entry of a stage: "f: scalar, in_process, columns [x, y]".
pub fn describe(stage: &Stage) -> Vec<String> {
    let mut lines = Vec::new();
    for expr in expressions(stage) {
        for_each_boundary(expr, |e, udf| {
            let spec = udf.spec();
            let columns: Vec<String> =
                e.children().into_iter().map(|c| fmt_sql(c.as_ref()).to_string()).collect();
            let how = udf.function().how().map_or_else(String::new, |how| format!(", {how}"));
            let line = format!(
                "{}: {}, {}, columns [{}]{how}",
                spec.name,
                spec.kind,
                spec.isolation,
                columns.join(", ")
            );
            // Kept rows of a build side take the same steps once more.
            if stage.later.is_empty() || !lines.contains(&line) {
                lines.push(line);
            }
        });
    }
    lines
}
