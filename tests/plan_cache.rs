//! The plan cache is never seen in results: whatever changes between two runs of the same SQL text, the
//! second answer is that of a session that has never seen the query.

use std::fs;
use std::sync::Arc;

use fuseline::Session;
use fuseline::datafusion::arrow::datatypes::DataType;
use fuseline::datafusion::common::ScalarValue;
use fuseline::datafusion::logical_expr::{ColumnarValue, Volatility, create_udf};

use crate::session::{ints, rows, run};

fn session() -> Session {
    Session::builder().threads(2).build().unwrap()
}

#[tokio::test]
async fn repeated_queries_give_the_same_answer() {
    let session = session();
    run(&session, "CREATE TABLE t AS SELECT value AS a, value % 5 AS k FROM range(0, 10000)").await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("t.parquet");
    run(&session, &format!("COPY t TO '{}'", file.display())).await;
    let file = file.display();
    let queries = [
        "SELECT sum(a) FROM t WHERE a % 3 = 0".to_string(),
        "SELECT k, count(*), sum(a) FROM t GROUP BY k ORDER BY k".into(),
        "SELECT a FROM t ORDER BY a DESC LIMIT 3".into(),
        "SELECT min(a), max(a) FROM t WHERE k = 4".into(),
        "SELECT count(*) FROM t x JOIN t y ON x.a = y.a WHERE y.k = 2".into(),
        "SELECT sum(value) FROM range(0, 1000) WHERE value > 10".into(),
        "SELECT a FROM (SELECT a FROM t WHERE k = 1 ORDER BY a LIMIT 5) ORDER BY a".into(),
        "SELECT (SELECT max(a) FROM t) - a FROM t WHERE a = 7".into(),
        "SELECT count(*) FROM t WHERE EXISTS (SELECT 1 FROM t u WHERE u.a = t.a + 1)".into(),
        format!("SELECT sum(a), count(*) FROM '{file}' WHERE k = 3"),
        format!("SELECT a FROM '{file}' ORDER BY a DESC LIMIT 3"),
        format!("SELECT max(a) FROM '{file}' WHERE k = 3"),
        format!("SELECT count(*) FROM t JOIN '{file}' f ON t.a = f.a WHERE f.k = 0"),
        format!("SELECT a, k FROM '{file}' WHERE a < 3 UNION ALL SELECT 1, 2 ORDER BY a, k"),
    ];
    for sql in &queries {
        let first = rows(&session, sql).await;
        for _ in 0..3 {
            assert_eq!(rows(&session, sql).await, first, "{sql}");
        }
    }
    let (entries, hits) = session.plan_cache_counts();
    assert_eq!(entries, queries.len());
    assert_eq!(hits, 3 * queries.len() as u64);
}

#[tokio::test]
async fn the_same_query_runs_many_times_at_once() {
    let session = session();
    run(&session, "CREATE TABLE t AS SELECT value AS a, value % 7 AS k FROM range(0, 50000)").await;
    let sql = "SELECT k, sum(a) FROM t WHERE a % 2 = 0 GROUP BY k ORDER BY k";
    let wanted = rows(&session, sql).await;
    let mut tasks = Vec::new();
    for _ in 0..20 {
        let session = session.clone();
        tasks.push(tokio::spawn(async move { rows(&session, sql).await }));
    }
    for task in tasks {
        assert_eq!(task.await.unwrap(), wanted);
    }
}

#[tokio::test]
async fn changed_tables_are_seen() {
    let session = session();
    let sql = "SELECT sum(a) FROM t";
    let (schema, batch) = ints("a", vec![1, 2, 3]);
    session.register_batches("t", Arc::clone(&schema), vec![batch]).unwrap();
    assert_eq!(rows(&session, sql).await, ["6"]);
    assert_eq!(rows(&session, sql).await, ["6"]);
    let (_, batch) = ints("a", vec![10]);
    session.register_batches("t", Arc::clone(&schema), vec![batch]).unwrap();
    assert_eq!(rows(&session, sql).await, ["10"]);
    run(&session, "INSERT INTO t VALUES (5)").await;
    assert_eq!(rows(&session, sql).await, ["15"]);
    // Behind the session's back.
    session.context().sql("INSERT INTO t VALUES (6)").await.unwrap().collect().await.unwrap();
    assert_eq!(rows(&session, sql).await, ["21"]);
    session.context().deregister_table("t").unwrap();
    let (_, batch) = ints("a", vec![100]);
    session.context().register_batch("t", batch).unwrap();
    assert_eq!(rows(&session, sql).await, ["100"]);
    run(&session, "CREATE OR REPLACE TABLE t AS SELECT 'x' AS a, 7 AS b").await;
    assert_eq!(rows(&session, "SELECT * FROM t").await, ["x,7"]);
    run(&session, "DROP TABLE t").await;
    assert!(session.sql(sql).await.is_err());
    run(&session, "CREATE VIEW t AS SELECT 4 AS a").await;
    assert_eq!(rows(&session, sql).await, ["4"]);
    run(&session, "CREATE OR REPLACE VIEW t AS SELECT 40 AS a").await;
    assert_eq!(rows(&session, sql).await, ["40"]);
}

#[tokio::test]
async fn changed_files_are_seen() {
    let session = session();
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let here = folder.path().display();
    for name in ["a.csv", "b.csv"] {
        fs::write(path(name), "x\n1\n").unwrap();
    }
    let one = format!("SELECT sum(x) FROM '{here}/a.csv'");
    let all = format!("SELECT sum(x) FROM '{here}/*.csv'");
    let whole = format!("SELECT sum(x) FROM '{here}'");
    run(&session, &format!("CREATE VIEW v AS SELECT * FROM '{here}/*.csv'")).await;
    run(&session, &format!("CREATE EXTERNAL TABLE e STORED AS CSV LOCATION '{here}/'")).await;
    let answers = async || {
        let mut answers = Vec::new();
        for sql in [&one, &all, &whole, "SELECT sum(x) FROM v", "SELECT sum(x) FROM e"] {
            answers.push(rows(&session, sql).await.remove(0));
            assert_eq!(rows(&session, sql).await[0], *answers.last().unwrap(), "{sql}");
        }
        answers
    };
    assert_eq!(answers().await, ["1", "2", "2", "2", "2"]);
    fs::write(path("a.csv"), "x\n10\n").unwrap();
    assert_eq!(answers().await, ["10", "11", "11", "11", "11"]);
    // Same size.
    std::thread::sleep(std::time::Duration::from_millis(20));
    fs::write(path("a.csv"), "x\n20\n").unwrap();
    assert_eq!(answers().await, ["20", "21", "21", "21", "21"]);
    fs::write(path("c.csv"), "x\n100\n").unwrap();
    assert_eq!(answers().await, ["20", "121", "121", "121", "121"]);
    fs::remove_file(path("b.csv")).unwrap();
    assert_eq!(answers().await, ["20", "120", "120", "120", "120"]);
    // Other columns.
    fs::write(path("a.csv"), "y,x\nhello,3\n").unwrap();
    assert_eq!(rows(&session, &one).await, ["3"]);
    assert_eq!(rows(&session, &format!("SELECT * FROM '{here}/a.csv'")).await, ["hello,3"]);
}

#[tokio::test]
async fn a_replaced_parquet_file_is_seen() {
    let session = session();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("p.parquet").display().to_string();
    let sql = format!("SELECT count(*), sum(a) FROM '{file}' WHERE a > 0");
    for n in [3, 4, 4, 1000] {
        run(&session, &format!("COPY (SELECT value AS a FROM range(0, {n})) TO '{file}'")).await;
        let wanted = format!("{},{}", n - 1, (n - 1) * n / 2);
        assert_eq!(rows(&session, &sql).await, std::slice::from_ref(&wanted));
        assert_eq!(rows(&session, &sql).await, [wanted]);
    }
}

#[tokio::test]
async fn settings_are_part_of_the_key() {
    let session = session();
    let sql = "SELECT value FROM range(0, 3) ORDER BY value";
    rows(&session, sql).await;
    run(&session, "SET datafusion.sql_parser.enable_ident_normalization = false").await;
    assert!(session.sql("SELECT VALUE FROM range(0, 3)").await.is_err());
    run(&session, "SET datafusion.sql_parser.enable_ident_normalization = true").await;
    assert_eq!(rows(&session, "SELECT VALUE FROM range(0, 2)").await, ["0", "1"]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("h.csv");
    fs::write(&file, "1\n2\n").unwrap();
    let count = format!("SELECT count(*) FROM '{}'", file.display());
    assert_eq!(rows(&session, &count).await, ["1"]);
    run(&session, "SET datafusion.catalog.has_header = false").await;
    assert_eq!(rows(&session, &count).await, ["2"]);
    run(&session, "RESET datafusion.catalog.has_header").await;
    assert_eq!(rows(&session, &count).await, ["1"]);
}

#[tokio::test]
async fn functions_of_time_and_chance_are_not_kept() {
    let session = session();
    let now = rows(&session, "SELECT now()").await;
    std::thread::sleep(std::time::Duration::from_millis(5));
    assert_ne!(rows(&session, "SELECT now()").await, now);
    let chance = rows(&session, "SELECT random()").await;
    assert_ne!(rows(&session, "SELECT random()").await, chance);
    assert_eq!(session.plan_cache_counts().0, 0);
}

#[tokio::test]
async fn a_replaced_function_is_seen() {
    let session = session();
    let constant = |value: i64| {
        create_udf(
            "answer",
            vec![],
            DataType::Int64,
            Volatility::Immutable,
            Arc::new(move |_: &[ColumnarValue]| Ok(ColumnarValue::Scalar(ScalarValue::Int64(Some(value))))),
        )
    };
    for value in [41, 42, 43] {
        session.context().register_udf(constant(value));
        for _ in 0..2 {
            assert_eq!(rows(&session, "SELECT answer()").await, [value.to_string()]);
        }
    }
}

#[tokio::test]
async fn the_cache_is_bounded() {
    let session = session();
    for n in 0..600 {
        assert_eq!(rows(&session, &format!("SELECT {n}")).await, [n.to_string()]);
    }
    assert_eq!(session.plan_cache_counts().0, 256);
}
