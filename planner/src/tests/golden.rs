//! The programs of a few queries, in the IR's text form, in `golden.txt` beside this file.
//!
//! `FUSELINE_BLESS=1 cargo test --release -p fuseline-planner golden` rewrites the file.

use super::{block_on, first_stage, options, physical, session};
use crate::{PlanOptions, Source, Stage, StageSink};
use std::fmt::Write;

const QUERIES: &[&str] = &[
    "SELECT i64 + k FROM t WHERE i32 > 0",
    "SELECT CASE WHEN i32 <> 0 THEN 100 / i32 ELSE -1 END FROM t",
    "SELECT s, i32 IN (1, 5, NULL) FROM t WHERE b AND s LIKE 'a%'",
    "SELECT d * dk, d + d2, d / dk FROM t",
    "SELECT sum(p * f64) FROM t WHERE k < 5 AND date >= DATE '1994-01-01' AND p BETWEEN 0.05 AND 0.07",
    "SELECT avg(d), sum(d), count(i32), count(*) FILTER (WHERE b) FROM t",
    "SELECT sum(value) FROM range(10, 1000000, 3) WHERE value % 2 = 1",
    "SELECT length(upper(s)) + 1 FROM t WHERE i32 > 0",
    "SELECT CASE WHEN k > 3 THEN upper(s) ELSE s END, list FROM t WHERE reverse(s) > 'a' AND i32 > 0",
    "SELECT sin(f64) * cos(f64), round(sin(p), 2) FROM t",
    "SELECT extract(year from date), date_trunc('day', ts), CAST(ts_us AS DATE) FROM t",
    "SELECT substr(s, 2, 3), length(s) FROM t LIMIT 4",
];

fn print(sql: &str, stage: &Stage) -> String {
    let mut out = format!("-- {sql}\n");
    if let Source::Range { rows, .. } = &stage.source {
        writeln!(out, "range of {rows} rows").expect("text");
    }
    for (i, segment) in stage.segments.iter().enumerate() {
        writeln!(out, "segment {i} over columns {:?}", segment.inputs).expect("text");
        writeln!(out, "{}", segment.loop_).expect("text");
        for call in &segment.calls {
            let under = call.under.map(|u| format!(" under column {u}")).unwrap_or_default();
            let expr = call.expr().expect("an expression");
            writeln!(out, "call {expr}{under}: {}", call.field.data_type()).expect("text");
        }
    }
    if let StageSink::Aggregate { finals, .. } = &stage.sink {
        for f in finals {
            writeln!(out, "column {:?} of aggregate {}: {}", f.how, f.agg, f.data_type).expect("text");
        }
    }
    if !stage.limit.is_none() {
        writeln!(out, "limit {:?} skip {}", stage.limit.fetch, stage.limit.skip).expect("text");
    }
    out
}

#[test]
fn golden() {
    let printed: String = block_on(async {
        let context = session(1);
        let options = PlanOptions { output_is_final: true, ..options() };
        let mut printed = String::new();
        for sql in QUERIES {
            let plan = physical(&context, sql).await;
            // The last stage on the way down: the one that reads the table.
            let mut stage = first_stage(&plan, &options).expect("a stage");
            while let Some(below) = stage.child.as_ref().and_then(|c| first_stage(c, &options)) {
                stage = below;
            }
            printed.push_str(&print(sql, &stage.stage));
            printed.push('\n');
        }
        printed
    });
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/tests/golden.txt");
    if std::env::var_os("FUSELINE_BLESS").is_some() {
        std::fs::write(path, &printed).expect("the golden file is written");
    }
    let golden = std::fs::read_to_string(path).expect("the golden file is read");
    assert!(golden == printed, "programs differ from {path} (FUSELINE_BLESS=1 rewrites it); now:\n{printed}");
}
