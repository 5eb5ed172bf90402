//! `EXPLAIN CODEGEN`: what was generated for each fused stage of a plan.

use crate::code_cache::compile_options;
use crate::fused_exec::FusedExec;
use crate::program::declared_nulls;
use datafusion::common::Result;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::physical_plan::ExecutionPlan;
use fuseline_codegen::cpu;
use fuseline_planner::stage::{Source, StageSink, Work};
use std::fmt::Write;
use std::sync::Arc;

/// The fused stages of a plan, in the order of their numbers.
pub fn fused_stages(plan: &Arc<dyn ExecutionPlan>) -> Vec<Arc<dyn ExecutionPlan>> {
    let mut found: Vec<Arc<dyn ExecutionPlan>> = Vec::new();
    let walked = plan.apply(|node| {
        if as_fused(node).is_some() {
            found.push(Arc::clone(node));
        }
        Ok(TreeNodeRecursion::Continue)
    });
    debug_assert!(walked.is_ok(), "the visitor never errs");
    found.sort_by_key(|node| as_fused(node).map(FusedExec::id));
    found
}

/// The plan node as a fused stage, if it is one.
pub fn as_fused(plan: &Arc<dyn ExecutionPlan>) -> Option<&FusedExec> {
    (plan.as_ref() as &dyn std::any::Any).downcast_ref()
}

/// For each fused stage its operators, IR, Cranelift IR and disassembly.
///
/// # Errors
/// When a loop that was compiled with the plan no longer compiles.
pub fn explain_codegen(plan: &Arc<dyn ExecutionPlan>) -> Result<String> {
    let stages = fused_stages(plan);
    if stages.is_empty() {
        return Ok("No stage of this query is fused; EXPLAIN says why.\n".to_owned());
    }
    let mut text = String::new();
    for node in &stages {
        if let Some(fused) = as_fused(node) {
            describe(fused, &mut text);
        }
    }
    Ok(text)
}

fn describe(fused: &FusedExec, text: &mut String) {
    let stage = fused.stage();
    let options = compile_options(fused.program().options());
    let mut line = |s: String| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{s}");
    };
    line(format!("== Stage *({}) ==", fused.id()));
    for op in &stage.operators {
        line(format!("*({}) {}", fused.id(), op.text));
    }
    match &stage.source {
        Source::Child(schema) => {
            let columns: Vec<&str> = schema.fields().iter().map(|f| f.name().as_str()).collect();
            line(format!("source: batches of [{}]", columns.join(", ")));
        }
        Source::Kept { .. } => {}
        Source::Range { rows, text } => line(format!("source: {rows} generated rows, {text}")),
    }
    for (program, part) in fused.program().passes().zip(stage.passes()) {
        if let Source::Kept { join, .. } = &part.source {
            let text = stage.joins.get(*join).map_or("", |j| &j.text);
            line(format!("\n== Then over the build side of {text} =="));
        }
        let last = part.segments.len();
        for (i, segment) in part.segments.iter().enumerate() {
            for (loop_, what) in segment.calls.iter().filter_map(|c| match &c.work {
                Work::Expr(_) => None,
                Work::Matches { loop_, .. } => Some((loop_, &c.name)),
            }) {
                let prepared = loop_.prepared(&declared_nulls(loop_));
                line(format!("\n-- Whether a row has a partner with {what}: IR --\n{prepared}"));
            }
            let prepared = segment.loop_.prepared(&declared_nulls(&segment.loop_));
            line(format!("\n-- Segment {} of {last}: IR --\n{prepared}", i + 1));
            if !program.has_code(i) {
                line("-- It only reorders columns; no code --".to_owned());
            } else {
                match cpu::listing(&prepared, &options) {
                    Ok(listing) => {
                        line(format!("-- Segment {} of {last}: CLIF --\n{}", i + 1, listing.clif));
                        line(format!("-- Segment {} of {last}: machine code --\n{}", i + 1, listing.disasm));
                    }
                    Err(e) => line(format!("-- No listing: {e} --")),
                }
            }
            for call in &segment.calls {
                let under =
                    call.under.map(|c| format!(" on the rows where column {c} is true")).unwrap_or_default();
                line(format!("-- Then once per batch{under}: {} --", call.name));
            }
        }
    }
    match &stage.sink {
        StageSink::Emit(_) => {}
        StageSink::Group { columns, schema, .. } => {
            for (column, field) in columns.iter().zip(schema.fields()) {
                line(format!("-- By group {} = {column:?} --", field.name()));
            }
        }
        StageSink::Aggregate { finals, schema } => {
            for (f, field) in finals.iter().zip(schema.fields()) {
                line(format!("-- Finally {} = {:?} of aggregate {} --", field.name(), f.how, f.agg));
            }
        }
    }
    for note in &stage.notes {
        line(format!("note: {note}"));
    }
    line(String::new());
}
