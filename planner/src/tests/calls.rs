//! How programs are cut at calls, and what is called where.

use super::{block_on, first_stage, options, physical, session};
use crate::Stage;
use fuseline_codegen::ir::{Emit, Sink};

fn stage(sql: &str) -> Stage {
    block_on(async {
        let context = session(1);
        let plan = physical(&context, sql).await;
        first_stage(&plan, &options()).expect("a stage").stage
    })
}

#[test]
fn a_call_runs_on_surviving_rows() {
    let s = stage("SELECT upper(s) FROM t WHERE i32 > 0");
    assert_eq!(s.segments.len(), 2);
    assert!(s.segments[0].loop_.has_filter());
    assert_eq!(s.segments[0].calls.len(), 1);
    // Its argument is the only thing that crosses, untouched.
    assert!(matches!(&s.segments[0].loop_.sink, Sink::Emit(e) if matches!(e[..], [Emit::Passenger { .. }])));
    assert_eq!(s.notes.len(), 1);
}

#[test]
fn independent_calls_share_a_cut() {
    let s = stage("SELECT upper(s), lower(sv), reverse(ls) FROM t WHERE i32 > 0");
    assert_eq!(s.segments.len(), 2);
    assert_eq!(s.segments[0].calls.len(), 3);
}

#[test]
fn filters_come_before_calls() {
    let s = stage("SELECT k FROM t WHERE i32 > 0 AND upper(s) = 'A' AND k > 3");
    assert_eq!(s.segments.len(), 2);
    assert!(s.segments[0].loop_.has_filter(), "the call would see rows that the first conjunct drops");
    assert!(s.segments[1].loop_.has_filter());
}

#[test]
fn calls_in_case_arms_are_conditional() {
    let s = stage("SELECT CASE WHEN i32 > 0 THEN upper(s) ELSE sv END FROM t");
    let calls: Vec<_> = s.segments.iter().flat_map(|s| &s.calls).collect();
    assert_eq!(calls.len(), 1);
    assert!(calls[0].under.is_some());
}

#[test]
fn volatile_calls_are_not_shared() {
    let s = stage("SELECT random() AS a, random() AS b, upper(s) AS c, upper(s) AS d FROM t WHERE k > 3");
    let calls: Vec<_> = s.segments.iter().flat_map(|s| &s.calls).map(|c| c.name.clone()).collect();
    assert_eq!(calls.iter().filter(|c| c.contains("random")).count(), 2, "{calls:?}");
    assert!(calls.iter().filter(|c| c.contains("upper")).count() <= 1, "{calls:?}");
}

#[test]
fn a_shared_volatile_column_is_called_once() {
    let s = stage("SELECT r, r + 1 FROM (SELECT random() AS r, k FROM t) WHERE k > 3");
    let calls = s.segments.iter().map(|s| s.calls.len()).sum::<usize>();
    assert_eq!(calls, 1);
}
