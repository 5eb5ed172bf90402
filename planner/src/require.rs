//! What a plan filters, projects or computes outside fused stages: what `require` refuses.
//!
//! Walks the plan after fusion. Operators that a stage absorbed are not in it any more, so every
//! filter that is found ran unfused, and so did every expression that is more than a column or a
//! constant. Leaves are exempt: a scan's predicate only prunes what it reads.

use crate::operators::{Plan, one_line};
use crate::support::Reason;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::physical_expr::expressions::{Column, Literal, UnKnownColumn};
use datafusion::physical_plan::filter::FilterExec;

/// One reason per operator that does such work itself; `is_stage` tells fused operators.
pub fn unfused_operators(plan: &Plan, is_stage: &dyn Fn(&Plan) -> bool) -> Vec<Reason> {
    let mut reasons = vec![];
    visit(plan, is_stage, &mut reasons);
    reasons
}

fn visit(plan: &Plan, is_stage: &dyn Fn(&Plan) -> bool, reasons: &mut Vec<Reason>) {
    let children = plan.children();
    if !is_stage(plan) && !children.is_empty() {
        if plan.is::<FilterExec>() {
            reasons.push(Reason::new(one_line(plan), "this filter ran outside a fused stage"));
        } else if let Some(expr) = computed(plan) {
            let why = format!("`{expr}` was computed outside a fused stage");
            reasons.push(Reason::new(one_line(plan), why));
        }
    }
    for child in children {
        visit(child, is_stage, reasons);
    }
}

/// An expression of the operator that is more than a column or a constant.
fn computed(plan: &Plan) -> Option<String> {
    let mut found = None;
    let visited = plan.apply_expressions(&mut |e| {
        if e.is::<Column>() || e.is::<Literal>() || e.is::<UnKnownColumn>() {
            return Ok(TreeNodeRecursion::Continue);
        }
        found.get_or_insert_with(|| e.to_string());
        Ok(TreeNodeRecursion::Stop)
    });
    match visited {
        Ok(_) => found,
        // An operator that cannot list its expressions is not known to compute any.
        Err(_) => None,
    }
}
