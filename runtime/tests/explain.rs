//! What EXPLAIN, EXPLAIN ANALYZE and the code listing say.

use crate::support::{fused, plan, session, text};
use datafusion::execution::SessionStateBuilder;
use fuseline_runtime::{explain_codegen, fuse};

#[tokio::test]
async fn fused_operators_are_marked_with_their_stage() {
    let context = fused();
    let shown = text(&context, "EXPLAIN SELECT i + 1 AS j FROM t WHERE i > 3").await;
    assert!(shown.contains("FusedExec: *(1) "), "{shown}");
    assert!(shown.contains("*(1) FilterExec: i@0 > 3"), "{shown}");
    assert!(shown.contains("DataSourceExec"), "the scan stays visible: {shown}");
    let two =
        text(&context, "EXPLAIN SELECT i + 1 FROM t WHERE n < 3 UNION ALL SELECT i FROM t WHERE n > 97")
            .await;
    assert!(two.contains("*(1) ") && two.contains("*(2) "), "{two}");
}

#[tokio::test]
async fn what_is_not_fused_says_why() {
    let context = session(&[]);
    let shown = text(&context, "EXPLAIN SELECT i + 1 FROM one WHERE n > 3").await;
    assert!(shown.contains("not fused") && shown.contains("fuseline.min_rows"), "{shown}");
    let shown = text(&fused(), "EXPLAIN SELECT n, median(i) FROM t GROUP BY n").await;
    assert!(shown.contains("no stage computes") && !shown.contains("*(2)"), "{shown}");
    // The distinct values are groups, and a stage of their own.
    let shown = text(&fused(), "EXPLAIN SELECT count(DISTINCT n) FROM t").await;
    assert!(shown.contains("*(2) AggregateExec"), "{shown}");
}

#[tokio::test]
async fn calls_are_named() {
    let shown = text(&fused(), "EXPLAIN SELECT md5(s) FROM t WHERE i > 3").await;
    assert!(shown.contains("called per batch") && shown.contains("md5"), "{shown}");
}

#[tokio::test]
async fn analyze_shows_rows_and_compile_time() {
    let shown = text(&fused(), "EXPLAIN ANALYZE SELECT i * 31 + 4 FROM t WHERE i > 3").await;
    for name in ["output_rows=", "elapsed_compute=", "compile_time=", "morsels=", "bails=0", "input_rows="] {
        assert!(shown.contains(name), "{name} in {shown}");
    }
}

#[tokio::test]
async fn the_listing_has_ir_and_code_of_every_stage() {
    let context = fused();
    let plan = plan(&context, "SELECT sum(i * 3) FROM t WHERE n > 5").await;
    let shown = explain_codegen(&plan).unwrap();
    for part in ["Stage *(1)", "IR", "CLIF", "machine code", "function", "ret"] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
    let none = explain_codegen(&crate::support::plan(&context, "SELECT i FROM t").await).unwrap();
    assert!(none.contains("No stage"), "{none}");
}

#[tokio::test]
async fn fusing_a_session_twice_is_fusing_it_once() {
    let builder = fuse(fuse(SessionStateBuilder::new().with_default_features()));
    let state = builder.build();
    let count = |rules: &[std::sync::Arc<
        dyn datafusion::physical_optimizer::PhysicalOptimizerRule + Send + Sync,
    >]| { rules.iter().filter(|r| r.name() == "fuseline").count() };
    assert_eq!(count(state.physical_optimizers()), 1);
    let again = fuse(SessionStateBuilder::new_from_existing(state)).build();
    assert_eq!(count(again.physical_optimizers()), 1);
}
