//! Ungrouped aggregates, over one partition and over several.

use super::run::run;
use super::{Plan, block_on, first_stage, options, physical, session, show};
use crate::StageSink;
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Float64Type};
use datafusion::common::ScalarValue;
use datafusion::physical_plan::collect;
use datafusion::physical_plan::projection::ProjectionExec;

/// Equal, with room for the order of float additions.
fn close(a: &RecordBatch, b: &RecordBatch) -> Option<String> {
    for (i, (x, y)) in a.columns().iter().zip(b.columns()).enumerate() {
        if x.data_type() != y.data_type() || x.len() != 1 || y.len() != 1 {
            return Some(format!("column {i}: {:?} against {:?}", x.data_type(), y.data_type()));
        }
        if *x.data_type() == DataType::Float64 && x.is_valid(0) && y.is_valid(0) {
            let (x, y) = (x.as_primitive::<Float64Type>().value(0), y.as_primitive::<Float64Type>().value(0));
            let same = x.to_bits() == y.to_bits() || (x.is_nan() && y.is_nan());
            if same || (x - y).abs() <= 1e-12 * y.abs().max(1e3) {
                continue;
            }
            return Some(format!("column {i}: {x} against {y}"));
        }
        let (x, y) = (ScalarValue::try_from_array(x, 0), ScalarValue::try_from_array(y, 0));
        match (x, y) {
            (Ok(x), Ok(y)) if x == y => {}
            (x, y) => return Some(format!("column {i}: {x:?} against {y:?}")),
        }
    }
    None
}

/// Projections above an aggregate are a stage of their own.
fn below_projection(plan: Plan) -> Plan {
    match plan.downcast_ref::<ProjectionExec>() {
        Some(p) => below_projection(p.input().clone()),
        None => plan,
    }
}

fn check(queries: &[&str]) {
    let mut failures = vec![];
    for partitions in [1, 3] {
        block_on(async {
            let context = session(partitions);
            for sql in queries {
                let plan = below_projection(physical(&context, sql).await);
                let expected = collect(plan.clone(), context.task_ctx()).await;
                let expected = expected.and_then(|b| Ok(concat_batches(&plan.schema(), &b)?));
                let Some(planned) = first_stage(&plan, &options()) else {
                    failures.push(format!("{sql}\n    not fused:\n{}", show(&plan)));
                    continue;
                };
                if !matches!(planned.stage.sink, StageSink::Aggregate { .. }) {
                    failures.push(format!("{sql}\n    the aggregate is not fused:\n{}", show(&plan)));
                    continue;
                }
                let batches = match &planned.child {
                    Some(child) => collect(child.clone(), context.task_ctx()).await.expect("rows"),
                    None => vec![],
                };
                match (expected, run(&planned.stage, &batches)) {
                    (Ok(expected), Ok(got)) => {
                        if let Some(d) = close(&got, &expected) {
                            failures.push(format!("{sql}\n    {d}\n{}", show(&plan)));
                        }
                    }
                    (Err(_), Err(_)) => {}
                    (Ok(_), Err(e)) => failures.push(format!("{sql}\n    only the stage errs: {e}")),
                    (Err(e), Ok(_)) => failures.push(format!("{sql}\n    only DataFusion errs: {e}")),
                }
            }
        });
    }
    assert!(failures.is_empty(), "{} failed:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn over_columns() {
    check(&[
        "SELECT count(*), count(i32), count(s), count(list), count(1) FROM t WHERE k > 0",
        "SELECT sum(i32), sum(i64_edge), sum(u64), sum(f64), sum(d), sum(f32) FROM t",
        "SELECT min(i32), max(i32), min(f64), max(f64), min(f64_edge), max(f64_edge) FROM t WHERE k > 0",
        "SELECT min(d), max(d2), min(date), max(ts), min(ts_utc), max(time), min(u8) FROM t WHERE k > 0",
        "SELECT avg(i32), avg(f64), avg(d), avg(dk), avg(u8) FROM t",
        "SELECT sum(f64 * p), sum(d * d2), avg(i32 + 1) FROM t WHERE f64 > 0 AND p < 10",
        "SELECT sum(i32) FILTER (WHERE b), count(*) FILTER (WHERE i32 > 0), avg(p) FILTER (WHERE c) FROM t",
        "SELECT sum(100 / i32) FILTER (WHERE i32 <> 0), max(k) FROM t",
        "SELECT sum(i32), count(*), min(k) FROM t WHERE i32 > 1000000",
        "SELECT sum(x) FROM (SELECT i32 * 2 AS x FROM t WHERE i32 > 0) WHERE x < 50",
        "SELECT count(*) FROM t WHERE upper(s) LIKE 'A%' AND k % 2 = 1",
        "SELECT sum(length(upper(s))), min(length(s)) FROM t WHERE i32 > 0",
        "SELECT sum(sin(f64) * cos(f64)) FROM t WHERE p > 0.3",
        "SELECT sum(CASE WHEN s LIKE 'a%' THEN dk * (1 - d2) ELSE 0 END) / sum(dk) FROM t",
        "SELECT sum(ts - ts) FROM t WHERE k > 1",
        "SELECT avg(d * dk) FROM t",
        "SELECT min(s), max(s), min(sv), max(sv), min(ls), max(ls), min(sd), max(sd) FROM t",
        "SELECT min(s) FILTER (WHERE b), max(sv) FILTER (WHERE k > 3), min(substr(ls, 2)) FROM t WHERE k > 1",
        "SELECT max(upper(s)), min(CASE WHEN b THEN s ELSE 'm' END), max('x') FROM t WHERE i32 > 0",
        "SELECT min(s), max(sd), min(b), count(*) FROM t WHERE i32 > 1000000",
        "SELECT min(b), max(b), min(c), max(c), bool_and(b), bool_or(b), bool_and(c) FROM t",
        "SELECT bool_and(i32 > 0), bool_or(i32 > 0) FILTER (WHERE k > 5), max(i32 > k) FROM t",
        "SELECT min(date + INTERVAL '1 month'), max(ts - INTERVAL '1 day') FROM t",
    ]);
}

#[test]
fn over_ranges() {
    check(&[
        "SELECT sum(value) FROM range(0, 10000)",
        "SELECT count(*), min(value), max(value) FROM generate_series(5, 2000, 3)",
        "SELECT sum(value * 2 + 1), count(*) FROM range(0, 5000) WHERE value % 3 = 1",
        "SELECT count(*) FROM range(10, 0, -1)",
        "SELECT sum(value) FROM range(10, 10)",
        "SELECT min(value), max(value), count(*) FROM generate_series(TIMESTAMP '2020-01-01T00:00:00', TIMESTAMP '2020-03-01T00:00:00', INTERVAL '1 day')",
    ]);
}
