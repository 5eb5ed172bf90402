//! Scalar expressions: what a stage computes against what DataFusion computes, to the bit.
//!
//! `NATIVE` expressions must be computed by loops alone; that they are is part of the test, since
//! an expression that silently became a call would always agree.

use super::run::{difference, run};
use super::{block_on, first_stage, options, session, show, try_physical};
use crate::support::Reason;
use datafusion::physical_plan::collect;
use datafusion::prelude::SessionContext;

/// Plans and runs `SELECT expr FROM t` both ways. Returns how many calls the stage has.
async fn compare(context: &SessionContext, expr: &str) -> Result<(usize, Vec<Reason>), String> {
    let plan = try_physical(context, &format!("SELECT {expr} AS r FROM t")).await?;
    let expected = collect(plan.clone(), context.task_ctx()).await;
    let Some(planned) = first_stage(&plan, &options()) else {
        return Err(format!("not fused:\n{}", show(&plan)));
    };
    let child = planned.child.clone().ok_or("no child")?;
    let batches = collect(child, context.task_ctx()).await.map_err(|e| e.to_string())?;
    let got = run(&planned.stage, &batches);
    let calls = planned.stage.segments.iter().map(|s| s.calls.len()).sum();
    match (expected, got) {
        (Ok(expected), Ok(got)) => {
            let expected =
                arrow::compute::concat_batches(&plan.schema(), &expected).map_err(|e| e.to_string())?;
            match difference(&got, &expected) {
                None => Ok((calls, planned.stage.notes)),
                Some(d) => Err(format!("stage against DataFusion: {d}\n{:?}", planned.stage.notes)),
            }
        }
        (Err(_), Err(_)) => Ok((calls, planned.stage.notes)),
        (Ok(_), Err(e)) => Err(format!("only the stage errs: {e}")),
        (Err(e), Ok(_)) => Err(format!("only DataFusion errs: {e}")),
    }
}

fn check(list: &[&str], native: bool) {
    let failures: Vec<String> = block_on(async {
        let context = session(1);
        let mut failures = vec![];
        for expr in list {
            match compare(&context, expr).await {
                Ok((0, _)) => {}
                Ok((n, notes)) if native => failures.push(format!("{expr}\n    became {n} calls: {notes:?}")),
                Ok(_) => {}
                Err(e) => failures.push(format!("{expr}\n    {e}")),
            }
        }
        failures
    });
    assert!(failures.is_empty(), "{} of {} failed:\n{}", failures.len(), list.len(), failures.join("\n"));
}

#[test]
fn arithmetic() {
    check(
        &[
            "i8 + i8",
            "i8 * i8",
            "i16 - i16",
            "i32 + i64",
            "i64 * i64",
            "i32_edge + i32_edge",
            "i64_edge * i64_edge",
            "i64_edge - 1",
            "-i32_edge",
            "-i64",
            "-f64",
            "-d",
            "u8 + u8",
            "u32 * u32",
            "u64 + u64",
            "u64 * 3",
            "i64 / k",
            "i64 % k",
            "i32 / 7",
            "i32 % 7",
            "i64 / i64",
            "i64 % i64",
            "i32_edge % -1",
            "i32_edge / -1",
            "f64 + p",
            "f64 - f64_edge",
            "f64 * f64_edge",
            "f64 / f64_edge",
            "f64 % p",
            "f64_edge % p",
            "f32 + f32",
            "f32 * 2",
            "f32 / f64",
            "f32 % 2",
            "i64 + f64",
            "i8 + f32",
        ],
        true,
    );
}

#[test]
fn decimals() {
    check(
        &[
            "d + d2",
            "d - d2",
            "d * d2",
            "d / dk",
            "d % dk",
            "d / d",
            "d + 1",
            "d * 2.5",
            "d * i32",
            "d / 3",
            "1.5 - d",
            "d * f64",
            "d < d2",
            "d = d2",
            "d >= 1.5",
            "round(d)",
            "round(d, 1)",
            "round(d, 5)",
            "abs(d)",
            "dk * (1 - d2)",
            "d * d * d",
            "CAST(d AS DECIMAL(5,1))",
            "CAST(d AS DECIMAL(20,6))",
            "TRY_CAST(d AS DECIMAL(3,0))",
            "CAST(i32 AS DECIMAL(20,3))",
            "TRY_CAST(i64 AS DECIMAL(8,2))",
            "CAST(p AS DECIMAL(10,2))",
            "TRY_CAST(f64_edge AS DECIMAL(10,2))",
            "CAST(d AS INT)",
            "CAST(d AS BIGINT)",
            "CAST(d AS DOUBLE)",
            "CAST(d AS FLOAT)",
            "TRY_CAST(d AS TINYINT)",
            "CAST(d AS SMALLINT)",
            "CAST(u64 AS DECIMAL(38,0))",
            "d IN (1.00, 2.50)",
            "-d2",
        ],
        true,
    );
}

#[test]
fn comparison_and_logic() {
    check(
        &[
            "i32 = i64",
            "i32 <> 5",
            "i32 < i64",
            "i8 <= u8",
            "i64 > k",
            "f64 >= p",
            "f64 = 0.0",
            "f64_edge = f64",
            "f64_edge < f64",
            "f64_edge > 0.0",
            "f32 = f64",
            "f32 < 1.0",
            "s = 'abc'",
            "s < 'hello'",
            "sv = s",
            "ls >= sv",
            "sd = 'red'",
            "sd <> s",
            "sd < 'green'",
            "s = sv AND b",
            "b = c",
            "b < c",
            "b",
            "NOT b",
            "b AND c",
            "b OR c",
            "b AND NOT c",
            "b AND NULL",
            "b OR NULL",
            "NULL AND c",
            "b IS NULL",
            "b IS NOT NULL",
            "b IS TRUE",
            "b IS NOT TRUE",
            "b IS FALSE",
            "b IS NOT FALSE",
            "b IS UNKNOWN",
            "b IS NOT UNKNOWN",
            "i32 IS DISTINCT FROM i64",
            "i32 IS NOT DISTINCT FROM 1",
            "s IS DISTINCT FROM sv",
            "f64 IS DISTINCT FROM 0.0",
            "i32 BETWEEN 0 AND 5",
            "f64 NOT BETWEEN -1 AND 1",
            "s BETWEEN 'a' AND 'h'",
            "date < DATE '2000-01-01'",
            "date64 = date",
            "ts > ts_us",
            "ts_s = ts_ms",
            "ts_utc < TIMESTAMP '2020-01-01T00:00:00Z'",
            "time > arrow_cast('12:00:00', 'Time64(Microsecond)')",
            "i32 & 7",
            "i32 | k",
            "i32 << 2",
            "i64 >> 3",
            "i32 << 40",
            "u8 & u8",
            "i64_edge >> 70",
            "(i32 > 0 OR i64 > 0) AND (b OR c)",
            "s IS NULL",
            "s IS NOT NULL",
        ],
        true,
    );
}

#[test]
fn conditionals_and_lists() {
    check(
        &[
            "CASE WHEN i32 > 0 THEN i64 ELSE -1 END",
            "CASE WHEN i32 > 0 THEN i64 END",
            "CASE WHEN b THEN f64 WHEN c THEN p ELSE 0.5 END",
            "CASE i32 WHEN 1 THEN 'one' WHEN 2 THEN 'two' END",
            "CASE s WHEN 'a' THEN 1 WHEN 'abc' THEN 2 ELSE 3 END",
            "CASE WHEN i32 <> 0 THEN 100 / i32 ELSE 0 END",
            "CASE WHEN i32 = 0 THEN NULL ELSE 100 / i32 END",
            "CASE WHEN s = 'a' THEN s ELSE 'other' END",
            "CASE WHEN b THEN NULL ELSE i32 END",
            "CASE WHEN i32 > 0 THEN b ELSE c END",
            "CASE f64 WHEN 1.0 THEN 'one' WHEN 2.5 THEN 'x' ELSE 'y' END",
            "COALESCE(i32, 7)",
            "COALESCE(i32, i64, 0)",
            "COALESCE(s, 'none')",
            "NULLIF(i32, 1)",
            "NULLIF(s, 'a')",
            "NULLIF(i32, i64)",
            "NVL(f64, 0.5)",
            "NVL2(i32, 1, 2)",
            "IFNULL(s, sv)",
            "i32 IN (1, 2, 5)",
            "i32 IN (1, NULL)",
            "i32 NOT IN (1, 2, 5)",
            "i32 NOT IN (1, 2, NULL)",
            "s IN ('a', 'abc', 'x', 'zzz')",
            "sv NOT IN ('a', '日本語')",
            "sd IN ('red', 'blue')",
            "f64 IN (1.0, 2.5, -1.5, 99.0)",
            "i32 IN (i64, 5, 1)",
            "date IN (DATE '1970-01-01', DATE '2000-02-29')",
            "i8 IN (1,2,3,4,5,6,7,100)",
            "i64 IN (k, 3)",
            "NULLIF(f64, 1.0)",
            "CASE WHEN i64 > 5 THEN 1 WHEN i64 > 0 THEN 2 WHEN i64 > -1 THEN 3 ELSE 4 END",
            "CASE WHEN d > 0 THEN d ELSE 0 END",
            "CASE WHEN i32 > 0 THEN date ELSE DATE '2020-01-01' END",
        ],
        true,
    );
}

#[test]
fn casts() {
    check(
        &[
            "CAST(i8 AS BIGINT)",
            "CAST(i64 AS DOUBLE)",
            "CAST(i64_edge AS FLOAT)",
            "TRY_CAST(i64_edge AS INT)",
            "CAST(i64_edge AS INT)",
            "TRY_CAST(i32 AS TINYINT)",
            "TRY_CAST(i32 AS INT UNSIGNED)",
            "TRY_CAST(u64 AS BIGINT)",
            "TRY_CAST(f64_edge AS BIGINT)",
            "TRY_CAST(f64_edge AS INT)",
            "CAST(p AS INT)",
            "CAST(f64 AS BIGINT)",
            "TRY_CAST(f32 AS SMALLINT)",
            "CAST(f64_edge AS FLOAT)",
            "CAST(f32 AS DOUBLE)",
            "CAST(b AS INT)",
            "TRY_CAST(NULL AS DECIMAL(38,4)) + CAST(i64 AS DECIMAL(38,0))",
            "CASE WHEN b THEN CAST(d AS DECIMAL(38,4)) END + CAST(99999999999999999999999999999999999998 AS DECIMAL(38,0))",
            "CAST(b AS DOUBLE)",
            "CAST(i32 AS BOOLEAN)",
            "CAST(f64 AS BOOLEAN)",
            "CAST(s AS TEXT)",
            "arrow_cast(s, 'Utf8View')",
            "arrow_cast(sv, 'LargeUtf8')",
            "arrow_cast(sd, 'Utf8')",
            "CAST(date AS TIMESTAMP)",
            "arrow_cast(date, 'Timestamp(Second, None)')",
            "arrow_cast(date, 'Timestamp(Millisecond, None)')",
            "arrow_cast(date, 'Date64')",
            "CAST(date64 AS DATE)",
            "arrow_cast(date64, 'Timestamp(Nanosecond, None)')",
            "arrow_cast(date64, 'Timestamp(Second, None)')",
            "CAST(ts AS DATE)",
            "CAST(ts_s AS DATE)",
            "CAST(ts_ms AS DATE)",
            "CAST(ts_us AS DATE)",
            "arrow_cast(ts_us, 'Date64')",
            "arrow_cast(ts_s, 'Timestamp(Nanosecond, None)')",
            "arrow_cast(ts, 'Timestamp(Second, None)')",
            "arrow_cast(ts_us, 'Timestamp(Millisecond, None)')",
            "arrow_cast(ts_utc, 'Timestamp(Nanosecond, None)')",
            "arrow_cast(ts_us, 'Timestamp(Microsecond, Some(\"UTC\"))')",
            "arrow_cast(ts_ny, 'Timestamp(Second, Some(\"UTC\"))')",
            "CAST(ts AS BIGINT)",
            "arrow_cast(i64, 'Timestamp(Millisecond, None)')",
            "CAST(date AS INT)",
            "CAST(i32 AS DATE)",
            "arrow_cast(time, 'Int64')",
            "date - DATE '2000-01-01'",
            "ts - ts",
            "ts_us - TIMESTAMP '2000-01-01T00:00:00'",
            "CAST(ts_s AS DOUBLE)",
        ],
        true,
    );
}

#[test]
fn numeric_functions() {
    check(
        &[
            "abs(i32)",
            "abs(f64)",
            "abs(i64_edge)",
            "abs(u8)",
            "signum(f64)",
            "signum(i32)",
            "round(f64)",
            "round(f64, 1)",
            "round(f64_edge, 2)",
            "round(f32, 1)",
            "round(i32)",
            "round(i64, 2)",
            "floor(f64)",
            "ceil(f64)",
            "floor(f32)",
            "ceil(f64_edge)",
            "trunc(f64)",
            "trunc(f64, 1)",
            "trunc(f64_edge)",
            "sqrt(p)",
            "sqrt(abs(f64))",
            "sqrt(f64)",
            "cbrt(f64)",
            "exp(f64)",
            "ln(p)",
            "ln(f64)",
            "log2(p)",
            "log10(p)",
            "log(p)",
            "log(2, p)",
            "log(p, p)",
            "power(p, 2)",
            "power(p, f64)",
            "pow(f64, 3)",
            "power(f64, -1.0)",
            "sin(f64)",
            "cos(f64_edge)",
            "tan(p)",
            "asin(p)",
            "acos(f64)",
            "atan(f64)",
            "atan2(f64, p)",
            "sinh(p)",
            "cosh(p)",
            "tanh(f64)",
            "asinh(f64)",
            "acosh(p)",
            "atanh(f64)",
            "degrees(f64)",
            "radians(f64)",
            "degrees(f32)",
            "radians(f32)",
            "sin(f32)",
            "exp(f32)",
            "sqrt(f32 * f32)",
            "isnan(f64_edge)",
            "isnan(f32)",
            "iszero(f64)",
            "nanvl(f64_edge, 7.0)",
            "pi()",
            "sin(f64) * cos(f64)",
            "sin(i32)",
            "sqrt(k)",
            "floor(i32)",
            "round(sin(f64), 3)",
            "sin(f64) > 0.5",
        ],
        true,
    );
}

#[test]
fn intervals() {
    check(
        &[
            "date + INTERVAL '1 day'",
            "date - INTERVAL '1 month'",
            "INTERVAL '1 year 2 months 3 days' + date",
            "date + INTERVAL '49 hours'",
            "date - INTERVAL '49 hours'",
            "ts + INTERVAL '90 minutes'",
            "ts - INTERVAL '13 months 1 day 0.000000001 seconds'",
            "ts_utc + INTERVAL '1 month'",
            "ts + CAST(NULL AS INTERVAL)",
            "date < date + INTERVAL '1 month'",
        ],
        true,
    );
    // A DATE64 and an interval from a column are left to arrow.
    check(&["date64 + INTERVAL '1 day'", "ts - CAST(k || ' days' AS INTERVAL)"], false);
}

#[test]
fn greatest_and_least() {
    check(
        &[
            "greatest(i32, k)",
            "least(i32, k, 3)",
            "greatest(f64, p)",
            "least(f64, p)",
            "greatest(f64_edge, f64)",
            "least(f64_edge, f64)",
            "greatest(f64_edge, f64, CAST('-0' AS DOUBLE))",
            "least(f64, 0.0, CAST('-0' AS DOUBLE), f64_edge)",
            "greatest(f32, CAST(f64 AS REAL))",
            "greatest(d, d2)",
            "least(s, 'm')",
            "greatest(s, sv)",
            "least(date, DATE '2000-01-01')",
            "greatest(b, c)",
            "least(i32, NULL)",
            "greatest(i32)",
        ],
        true,
    );
}

#[test]
fn texts_and_times() {
    check(
        &[
            "length(s)",
            "character_length(sv)",
            "length(ls)",
            "length(CAST(sd AS VARCHAR))",
            "octet_length(s)",
            "octet_length(ls)",
            "substr(s, 2)",
            "substr(s, 2, 3)",
            "substr(sv, 1, 1)",
            "substr(ls, 0, 3)",
            "substr(s, CAST(i8 AS BIGINT))",
            "substr(s, -1, 4)",
            "substr(s, 1, CAST(i32 AS BIGINT))",
            "substring(s from 2 for 2)",
            "starts_with(s, 'he')",
            "ends_with(s, 'o')",
            "contains(s, 'l')",
            "contains(sv, '本')",
            "s LIKE 'a%'",
            "s LIKE '%l%'",
            "s LIKE '_b%'",
            "s NOT LIKE '%o'",
            "sv LIKE 'hello'",
            "s LIKE '100\\%'",
            "s ILIKE 'A%'",
            "ls ILIKE '%GRÜSSE%'",
            "sd LIKE '%e%'",
            "s LIKE NULL",
            "s LIKE ''",
            "s LIKE '%special%requests%'",
            "extract(year from date)",
            "extract(month from date)",
            "extract(day from ts)",
            "extract(hour from ts_us)",
            "extract(minute from ts_ms)",
            "extract(second from ts_s)",
            "extract(quarter from date)",
            "extract(week from ts)",
            "extract(dow from date)",
            "extract(doy from ts_s)",
            "date_part('millisecond', ts)",
            "date_part('microsecond', ts_us)",
            "extract(epoch from ts_ms)",
            "extract(epoch from date)",
            "extract(year from ts_utc)",
            "extract(year from date64)",
            "date_trunc('year', ts)",
            "date_trunc('quarter', ts_us)",
            "date_trunc('month', ts_s)",
            "date_trunc('week', ts_ms)",
            "date_trunc('day', ts)",
            "date_trunc('hour', ts_us)",
            "date_trunc('minute', ts_s)",
            "date_trunc('second', ts)",
            "date_trunc('millisecond', ts_us)",
            "date_trunc('millisecond', ts_s)",
            "date_trunc('day', ts_utc)",
        ],
        true,
    );
}

/// Rows that an AND, an OR or a CASE leaves out raise nothing in a stage, whatever DataFusion does.
#[test]
fn errors_are_lazy() {
    let lazy = [
        "i32 <> 0 AND 10 / i32 > 1",
        "i32 = 0 OR 10 / i32 > 1",
        "i32 IS NOT NULL AND i32 <> 0 AND 10 % i32 > 1",
        "CASE WHEN i32 = 0 THEN 0 WHEN 10 / i32 > 1 THEN 1 ELSE 100 / i32 END",
        "CASE i32 WHEN 0 THEN 0 ELSE 10 / i32 END",
        "f64 >= 0 AND sqrt(f64) > 1",
        "CASE WHEN i32 > 0 THEN TRY_CAST(substr(s, 1, CAST(i32 AS BIGINT)) AS INT) ELSE 0 END",
    ];
    let eager = ["10 / i32", "i32 > 0 AND 10 / (i32 - 1) > 0", "i32 = 5 OR 10 / i32 > 1", "sqrt(f64)"];
    let failures: Vec<String> = block_on(async {
        let context = session(1);
        let mut failures = vec![];
        for (expr, errs) in lazy.iter().map(|e| (e, false)).chain(eager.iter().map(|e| (e, true))) {
            let plan = try_physical(&context, &format!("SELECT {expr} AS r FROM t")).await.expect("a plan");
            let planned = first_stage(&plan, &options()).expect("a stage");
            let child = planned.child.clone().expect("a child");
            let batches = collect(child, context.task_ctx()).await.expect("rows");
            let got = run(&planned.stage, &batches);
            if got.is_err() != errs {
                failures.push(format!("{expr}: {:?}", got.err()));
            }
        }
        failures
    });
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// What loops do not know must agree too, with calls where it takes some.
#[test]
fn through_calls() {
    check(
        &[
            "upper(s)",
            "concat(s, '-', sv)",
            "s || i32",
            "upper(substr(s, 1, 2))",
            "length(upper(s)) + 1",
            "reverse(s) LIKE '%a'",
            "regexp_like(s, 'h.*o')",
            "s ~ 'a'",
            "s SIMILAR TO 'a%'",
            "trim(s)",
            "lpad(s, 5, '*')",
            "to_char(date, '%Y')",
            "CAST(i32 AS VARCHAR)",
            "CAST(f64 AS VARCHAR)",
            "TRY_CAST(s AS INT)",
            "CAST('5' AS INT) + i32",
            "CAST(i32 AS VARCHAR) = '5'",
            "list",
            "bin",
            "list[1] + 1",
            "array_length(list)",
            "list IS NULL",
            "bin IS NOT NULL",
            "cardinality(make_array(i32, i64))",
            "date + INTERVAL '1 month'",
            "ts - INTERVAL '3 days'",
            "date_bin(INTERVAL '1 hour', ts)",
            "extract(hour from ts_ny)",
            "date_trunc('day', ts_ny)",
            "extract(hour from time)",
            "CASE WHEN i32 > 0 THEN upper(s) ELSE s END",
            "CASE WHEN length(s) > 2 THEN upper(s) ELSE lower(sv) END",
            "i32 > 0 AND upper(s) = 'ABC'",
            "NULLIF(f64, 0.0)",
            "CASE f64 WHEN 0.0 THEN 1 ELSE 2 END",
            "f64 IN (0.0, 1.0, 7.0, 9.0)",
            "f64_edge IN (-0.0, 5.0, 2.0, 3.0, 4.0, 8.0)",
            "greatest(i32, i64)",
            "least(s, sv)",
            "md5(s)",
            "struct(i32, s)",
            "named_struct('a', i32)['a'] + 1",
            "round(i32, -1)",
            "round(d, -1)",
            "floor(d)",
            "gcd(i32, k)",
            "factorial(k)",
            "cot(p)",
            "CASE WHEN b THEN list END",
            "COALESCE(bin, bin)",
            "upper(CASE WHEN b THEN s ELSE sv END)",
            "concat(upper(s), lower(s), CAST(i32 * 2 AS VARCHAR))",
            "length(concat(s, sv)) * 2 + length(upper(s))",
            "INTERVAL '1 day'",
            "arrow_typeof(i32)",
            "CASE WHEN s = 'x' THEN INTERVAL '1 day' ELSE INTERVAL '2 days' END",
            "s LIKE sv",
            "starts_with(s, sv)",
            "arrow_cast(i32, 'Dictionary(Int32, Utf8)')",
            "CASE WHEN b THEN sd ELSE sd END",
            "date_part('nanosecond', ts)",
            "extract(isodow from date)",
            "make_date(2020, 1, CAST(k AS INT))",
            "to_timestamp(i64)",
            "array_has(make_array(1, 2, 3), i32)",
            "date + 5",
            "ts + (ts_us - ts_us)",
            "f64_edge = ANY(make_array(1.0, 0.5))",
            "CAST(d AS VARCHAR)",
            "CAST(ts AS VARCHAR)",
            "CAST(b AS VARCHAR)",
            "CAST(CAST(s AS BYTEA) AS TEXT)",
            "length(sd)",
            "log(d)",
            "nanvl(f32, f64)",
        ],
        false,
    );
}

/// Long and deep expressions neither exhaust the stack nor change their meaning.
#[test]
fn long_expressions() {
    let sum = vec!["k"; 150].join(" + ");
    let ors: Vec<String> = (0..150).map(|i| format!("i64 = {}", i * 7)).collect();
    let ands: Vec<String> = (0..150).map(|i| format!("(i64 <> {} OR b)", i * 7)).collect();
    let list: Vec<String> = (0..1000).map(|i| i.to_string()).collect();
    let nested = (0..20).fold("k".to_owned(), |e, i| format!("CASE WHEN i64 > {i} THEN {e} ELSE {i} END"));
    let long = [
        sum,
        ors.join(" OR "),
        ands.join(" AND "),
        format!("i64 IN ({})", list.join(", ")),
        format!("i64 NOT IN ({}, NULL)", list.join(", ")),
        nested,
    ];
    check(&long.each_ref().map(String::as_str), false);
}
