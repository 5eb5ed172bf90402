//! What is absorbed, what is left, and the reasons.

use super::{block_on, first_stage, options, physical, session, show};
use crate::{FusionMode, GroupScope, PlanOptions, Source, StageSink, Support, plan_stage};
use fuseline_codegen::ir::{MathFn, Op, Precision};

#[test]
fn an_aggregate_over_partitions_is_one_stage() {
    block_on(async {
        let context = session(4);
        let plan = physical(&context, "SELECT sum(i64), count(*) FROM t WHERE i32 > 0").await;
        let planned = first_stage(plan.children()[0], &options()).expect("a stage");
        assert!(matches!(planned.stage.sink, StageSink::Aggregate { .. }), "{}", show(&plan));
        assert_eq!(planned.partitions, 1);
        assert_eq!(planned.stage.segments.len(), 1);
        let child = planned.child.expect("a child");
        assert!(child.children().is_empty(), "{}", show(&child));
    });
}

#[test]
fn a_range_needs_no_child() {
    block_on(async {
        let context = session(4);
        let plan = physical(&context, "SELECT value + 1 FROM range(0, 1000000) WHERE value % 2 = 0").await;
        let planned = first_stage(&plan, &options()).expect("a stage");
        assert!(planned.child.is_none(), "{}", show(&plan));
        assert!(matches!(planned.stage.source, Source::Range { rows: 1_000_000, .. }));
    });
}

#[test]
fn groups_over_partitions_are_one_stage() {
    block_on(async {
        let context = session(4);
        let sql = "SELECT k % 10, avg(i64), count(*) FROM t WHERE i32 > 0 GROUP BY k % 10";
        // The projection on top only renames.
        let plan = physical(&context, sql).await.children()[0].clone();
        let planned = first_stage(&plan, &options()).expect("a stage");
        let StageSink::Group { scope, columns, states, .. } = &planned.stage.sink else {
            panic!("{}", show(&plan));
        };
        assert_eq!(*scope, GroupScope::All, "{}", show(&plan));
        assert_eq!((columns.len(), states.len()), (3, 4));
        assert_eq!(planned.partitions, 4);
        assert_eq!(planned.stage.segments.len(), 1);
        let child = planned.child.expect("a child");
        assert!(child.children().is_empty(), "{}", show(&child));
        let single = physical(&session(1), sql).await.children()[0].clone();
        let planned = first_stage(&single, &options()).expect("a stage");
        assert!(
            matches!(planned.stage.sink, StageSink::Group { scope: GroupScope::Partition, .. }),
            "{}",
            show(&single)
        );
    });
}

#[test]
fn aggregates_of_other_kinds_give_reasons() {
    block_on(async {
        let context = session(1);
        for (sql, word) in [
            ("SELECT count(DISTINCT i32), sum(DISTINCT i64) FROM t", "distinct"),
            ("SELECT min(list) FROM t WHERE k > 1", "type"),
            ("SELECT median(f64) FROM t", "no stage computes"),
            ("SELECT k, p, sum(i32) FROM t GROUP BY ROLLUP (k, p)", "grouping sets"),
        ] {
            let plan = physical(&context, sql).await;
            let mut reasons = vec![];
            collect_reasons(&plan, &mut reasons);
            assert!(reasons.iter().any(|r| r.contains(word)), "{sql}: {reasons:?}\n{}", show(&plan));
        }
    });
}

fn collect_reasons(plan: &super::Plan, out: &mut Vec<String>) {
    if let Some(Support::Unsupported(reason)) = plan_stage(plan, &options()) {
        out.push(reason.to_string());
    }
    plan.children().into_iter().for_each(|c| collect_reasons(c, out));
}

#[test]
fn mode_on_leaves_mere_reordering_alone() {
    block_on(async {
        let context = session(1);
        let on = PlanOptions::default();
        assert_eq!(on.mode, FusionMode::On);
        let plan = physical(&context, "SELECT upper(s) AS u FROM t").await;
        assert!(first_stage(&plan, &on).is_none(), "a call alone gains nothing");
        assert!(first_stage(&plan, &options()).is_some());
        let plan = physical(&context, "SELECT k + 1 FROM t").await;
        assert!(first_stage(&plan, &on).is_some());
    });
}

#[test]
fn transcendental_functions_are_fast_only_where_it_cannot_show() {
    let precisions = |sql: &str, output_is_final: bool| -> Vec<(MathFn, Precision)> {
        block_on(async {
            let context = session(1);
            let plan = physical(&context, sql).await;
            let options = PlanOptions { output_is_final, ..options() };
            let stage = first_stage(&plan, &options).expect("a stage").stage;
            let all = stage.segments.iter().flat_map(|s| s.loop_.values.clone());
            let mut found: Vec<_> = all
                .filter_map(|v| match v.op {
                    Op::Math(f, p) if f.is_transcendental() => Some((f, p)),
                    _ => None,
                })
                .collect();
            found.sort_by_key(|(f, _)| format!("{f:?}"));
            found
        })
    };
    use MathFn::{Cos, Exp, Sin};
    use Precision::{Fast, Libm};
    assert_eq!(precisions("SELECT sin(f64) * cos(f64) FROM t", true), [(Cos, Fast), (Sin, Fast)]);
    assert_eq!(precisions("SELECT sin(f64) * cos(f64) FROM t", false), [(Cos, Libm), (Sin, Libm)]);
    assert_eq!(precisions("SELECT sum(sin(f64)), max(cos(f64)) FROM t", true), [(Cos, Libm), (Sin, Fast)]);
    assert_eq!(precisions("SELECT round(sin(f64), 2), exp(f64) FROM t", true), [(Exp, Fast), (Sin, Libm)]);
    assert_eq!(precisions("SELECT sin(f64) FROM t WHERE exp(f64) > 1", true), [(Exp, Libm), (Sin, Fast)]);
    assert_eq!(precisions("SELECT exp(sin(f64)) % 2 FROM t", true), [(Exp, Libm), (Sin, Libm)]);
    assert_eq!(precisions("SELECT CAST(sin(f64) AS VARCHAR) FROM t", true), [(Sin, Libm)]);
}
