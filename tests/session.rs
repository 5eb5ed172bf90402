//! `Session` as an embedder and the command line meet it: statements, settings, errors, cancellation.

use std::sync::Arc;

use fuseline::arrow::array::{AsArray, Int64Array, RecordBatch};
use fuseline::arrow::datatypes::{DataType, Field, Int64Type, Schema};
use fuseline::arrow::util::pretty::pretty_format_batches;
use fuseline::{Error, Session, StatementKind};
use futures::StreamExt;

/// The result of one statement as a table of text, without the frame.
pub(crate) async fn rows(session: &Session, sql: &str) -> Vec<String> {
    let batches = run(session, sql).await;
    let text = pretty_format_batches(&batches).unwrap().to_string();
    text.lines()
        .filter(|line| line.starts_with('|'))
        .skip(1)
        .map(|line| {
            let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
            cells.join(",")
        })
        .collect()
}

pub(crate) async fn run(session: &Session, sql: &str) -> Vec<RecordBatch> {
    match try_run(session, sql).await {
        Ok(batches) => batches,
        Err(error) => panic!("{sql}\n{error}"),
    }
}

pub(crate) async fn try_run(session: &Session, sql: &str) -> fuseline::Result<Vec<RecordBatch>> {
    session.sql(sql).await?.collect().await
}

/// The message of a statement that must fail.
pub(crate) async fn fails(session: &Session, sql: &str) -> Error {
    match try_run(session, sql).await {
        Ok(batches) => {
            let first: Vec<_> = batches.iter().take(1).map(|b| b.slice(0, b.num_rows().min(5))).collect();
            panic!("{sql} should fail, gave\n{}", pretty_format_batches(&first).unwrap())
        }
        Err(error) => {
            let text = error.to_string();
            for tower in
                ["Error during", "External(", "External error", "Arrow error", "backtrace", "DataFusion"]
            {
                assert!(!text.contains(tower), "{text}");
            }
            error
        }
    }
}

pub(crate) fn ints(name: &str, values: Vec<i64>) -> (Arc<Schema>, RecordBatch) {
    let schema = Arc::new(Schema::new(vec![Field::new(name, DataType::Int64, false)]));
    let batch = RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(Int64Array::from(values))]).unwrap();
    (schema, batch)
}

fn session() -> Session {
    Session::builder().threads(2).build().unwrap()
}

#[tokio::test]
async fn statements_have_kinds_and_schemas() {
    let session = session();
    let kind = async |sql: &str| session.sql(sql).await.unwrap().kind();
    assert_eq!(kind("SELECT 1 AS a").await, StatementKind::Query);
    assert_eq!(kind("VALUES (1)").await, StatementKind::Query);
    assert_eq!(kind("SHOW TABLES").await, StatementKind::Query);
    assert_eq!(kind("CREATE TABLE t AS SELECT 1 AS a").await, StatementKind::Command);
    assert_eq!(kind("SET datafusion.execution.batch_size = 1024").await, StatementKind::Command);
    assert_eq!(kind("EXPLAIN SELECT 1").await, StatementKind::Explain);
    assert_eq!(kind("EXPLAIN ANALYZE SELECT 1").await, StatementKind::Explain);

    let query = session.sql("SELECT 1 AS a, 'x' AS b").await.unwrap();
    assert_eq!(query.schema().field(1).name(), "b");
    // Planning alone runs nothing: the table above does not exist yet.
    assert!(matches!(session.sql("SELECT * FROM t").await, Err(Error::Plan { .. })));
}

#[tokio::test]
async fn a_query_can_run_again() {
    let session = session();
    run(&session, "CREATE TABLE t AS SELECT value FROM range(0, 10)").await;
    let query = session.sql("SELECT sum(value) FROM t").await.unwrap();
    for _ in 0..3 {
        let batches = query.collect().await.unwrap();
        assert_eq!(batches[0].column(0).as_primitive::<Int64Type>().value(0), 45);
    }
    let command = session.sql("CREATE OR REPLACE TABLE u AS SELECT 1 AS a").await.unwrap();
    command.collect().await.unwrap();
    command.collect().await.unwrap();
    assert_eq!(rows(&session, "SELECT * FROM u").await, ["1"]);
}

#[tokio::test]
async fn range_is_named_value() {
    let session = session();
    let query = session.sql("SELECT * FROM range(0, 1000000000) LIMIT 1").await.unwrap();
    assert_eq!(query.schema().field(0).name(), "value");
    assert_eq!(
        rows(&session, "SELECT sum(value), count(*) FROM range(0, 100000)").await,
        ["4999950000,100000"]
    );
    assert_eq!(rows(&session, "SELECT min(value), max(value) FROM generate_series(1, 10)").await, ["1,10"]);
}

#[tokio::test]
async fn tables_views_and_inserts() {
    let session = session();
    run(&session, "CREATE TABLE t (a BIGINT, b VARCHAR)").await;
    assert_eq!(rows(&session, "INSERT INTO t VALUES (1, 'x'), (2, 'y')").await, ["2"]);
    run(&session, "CREATE VIEW v AS SELECT a * 10 AS c FROM t").await;
    assert_eq!(rows(&session, "SELECT * FROM v ORDER BY c").await, ["10", "20"]);
    run(&session, "INSERT INTO t VALUES (3, 'z')").await;
    assert_eq!(rows(&session, "SELECT * FROM v ORDER BY c").await, ["10", "20", "30"]);
    assert_eq!(
        fails(&session, "CREATE TABLE t AS SELECT 1 AS a").await.to_string(),
        "table 't' exists already; CREATE OR REPLACE TABLE replaces it"
    );
    run(&session, "CREATE TABLE IF NOT EXISTS t AS SELECT 1 AS a").await;
    assert_eq!(rows(&session, "SELECT count(*) FROM t").await, ["3"]);
    // A query that fails does not take the old table with it.
    let failed = fails(&session, "CREATE OR REPLACE TABLE t AS SELECT 1 / (a - a) AS q FROM t").await;
    assert_eq!(failed.to_string(), "division by zero");
    assert_eq!(rows(&session, "SELECT count(*) FROM t").await, ["3"]);
    run(&session, "CREATE OR REPLACE TABLE t AS SELECT a FROM t WHERE a > 2").await;
    assert_eq!(rows(&session, "SELECT * FROM t").await, ["3"]);
    run(&session, "DROP VIEW v").await;
    run(&session, "DROP TABLE t").await;
    assert!(matches!(session.sql("SELECT * FROM t").await, Err(Error::Plan { .. })));
}

#[tokio::test]
async fn one_huge_batch_is_registered_without_a_copy() {
    let session = session();
    let (schema, batch) = ints("a", (0..1_000_000).collect());
    let address = batch.column(0).as_primitive::<Int64Type>().values().as_ptr();
    session.register_batches("big", schema, vec![batch]).unwrap();
    assert_eq!(rows(&session, "SELECT sum(a), count(*) FROM big").await, ["499999500000,1000000"]);
    let batches = run(&session, "SELECT a FROM big LIMIT 1").await;
    let got = batches[0].column(0).as_primitive::<Int64Type>().values().as_ptr();
    assert_eq!(got, address);
}

#[tokio::test]
async fn registering_checks_the_columns() {
    let session = session();
    let (_, batch) = ints("a", vec![1]);
    let other = Arc::new(Schema::new(vec![Field::new("a", DataType::Utf8, true)]));
    let error = session.register_batches("t", other, vec![batch]).unwrap_err();
    assert!(error.to_string().starts_with("table 't': "), "{error}");
}

#[tokio::test]
async fn settings() {
    let session =
        Session::builder().threads(3).set("datafusion.execution.batch_size", "1000").build().unwrap();
    let value = async |key: &str| {
        rows(&session, &format!("SHOW {key}")).await[0].split(',').nth(1).unwrap().to_string()
    };
    assert_eq!(value("datafusion.execution.batch_size").await, "1000");
    assert_eq!(value("datafusion.execution.target_partitions").await, "3");
    run(&session, "SET datafusion.execution.batch_size = 2000").await;
    assert_eq!(value("datafusion.execution.batch_size").await, "2000");

    assert_eq!(
        fails(&session, "SET datafusion.execution.batchsize = 1").await.to_string(),
        "there is no setting 'datafusion.execution.batchsize'; did you mean \
         'datafusion.execution.batch_size'?"
    );
    let error = fails(&session, "SET datafusion.execution.batch_size = 'many'").await.to_string();
    assert!(error.starts_with("setting 'datafusion.execution.batch_size' cannot be 'many': "), "{error}");
    assert!(matches!(Session::builder().set("no.such", "1").build(), Err(Error::Setting { .. })));
    assert_eq!(Session::builder().threads(0).build().unwrap_err().to_string(), "threads must be at least 1");
}

#[tokio::test]
async fn syntax_errors_point_at_the_place() {
    let session = session();
    assert_eq!(
        fails(&session, "SELECT a,\n  FROM t WHERE").await.to_string(),
        "syntax error at line 2, column 15: expected an expression, but the text ends here\n  \
         2 |   FROM t WHERE\n    |               ^"
    );
    assert_eq!(
        fails(&session, "SELECT (1 + 2 FROM t").await.to_string(),
        "syntax error at line 1, column 15: expected ), found FROM\n  \
         1 | SELECT (1 + 2 FROM t\n    |               ^"
    );
    assert_eq!(
        fails(&session, "SELECT 'abc").await.to_string(),
        "syntax error at line 1, column 8: unterminated string literal\n  \
         1 | SELECT 'abc\n    |        ^"
    );
    assert!(matches!(session.sql("").await, Err(Error::Syntax { .. })));
    let two = session.sql("SELECT 1; SELECT 2").await.unwrap_err().to_string();
    assert!(two.contains("expected one statement, found 2"), "{two}");
    assert_eq!(rows(&session, "SELECT 1;").await, ["1"]);
    assert_eq!(session.split("SELECT 1; -- x;\nSELECT 2;").unwrap(), ["SELECT 1", "SELECT 2"]);
}

#[tokio::test]
async fn plan_errors_point_at_the_place() {
    let session = session();
    run(&session, "CREATE TABLE people (name VARCHAR, age BIGINT)").await;
    assert_eq!(
        fails(&session, "SELECT name,\n  aeg FROM people").await.to_string(),
        "column 'aeg' does not exist; did you mean 'age'? (line 2, column 3)\n  \
         2 |   aeg FROM people\n    |   ^^^"
    );
    assert_eq!(
        fails(&session, "SELECT * FROM poeple").await.to_string(),
        "there is no table 'poeple'; did you mean 'people'? (line 1, column 15)\n  \
         1 | SELECT * FROM poeple\n    |               ^^^^^^"
    );
    let function = fails(&session, "SELECT lenght(name) FROM people").await.to_string();
    assert!(function.starts_with("there is no function 'lenght'; did you mean '"), "{function}");
    let types = fails(&session, "SELECT name + interval '1 day' FROM people").await;
    assert!(matches!(types, Error::Plan { .. }), "{types}");
    let mixed = fails(&session, "SELECT age, count(*) FROM people").await.to_string();
    assert!(mixed.contains("GROUP BY"), "{mixed}");
}

#[tokio::test]
async fn values_that_cannot_be_computed_with() {
    let session = session();
    run(&session, "CREATE TABLE t AS SELECT value AS a, 'x' || value AS s FROM range(0, 3)").await;
    let division = fails(&session, "SELECT 10 / a FROM t").await;
    assert_eq!(division.to_string(), "division by zero");
    assert!(matches!(division, Error::Execution { .. }));
    let cast = fails(&session, "SELECT CAST(s AS INT) FROM t").await.to_string();
    assert!(cast.contains("Cannot cast string 'x0' to value of Int32 type"), "{cast}");
    assert_eq!(cast.lines().count(), 1);
    assert_eq!(rows(&session, "SELECT TRY_CAST(s AS INT) FROM t LIMIT 1").await, [""]);
}

#[tokio::test]
async fn a_panic_is_an_error_and_the_session_goes_on() {
    let session = session();
    let error = session.sql("PREPARE v1 AS select distinct on (?) 42;").await;
    let error = match error {
        Err(error) => error,
        Ok(query) => query.collect().await.unwrap_err(),
    };
    assert!(matches!(error, Error::Internal { .. }), "{error:?}");
    assert_eq!(rows(&session, "SELECT 1").await, ["1"]);
}

#[tokio::test]
async fn prepared_statements() {
    let session = session();
    run(&session, "PREPARE twice(BIGINT) AS SELECT $1 * 2 AS d").await;
    let query = session.sql("EXECUTE twice(21)").await.unwrap();
    assert_eq!(query.kind(), StatementKind::Query);
    assert_eq!(rows(&session, "EXECUTE twice(21)").await, ["42"]);
    assert_eq!(rows(&session, "EXECUTE twice(4)").await, ["8"]);
}

#[tokio::test]
async fn memory_limits_are_named() {
    let session = Session::builder().threads(2).memory_limit(1_000_000).build().unwrap();
    // A hash join has to hold one side.
    let sql = "SELECT count(*) FROM range(0, 1000000) a JOIN range(0, 1000000) b ON a.value = b.value";
    let error = fails(&session, sql).await;
    assert!(matches!(error, Error::Resources { .. }), "{error:?}");
    assert!(error.to_string().contains("raise the memory limit"), "{error}");
    // An aggregate goes on from disk, unless there is no room either.
    let sql =
        "SELECT count(*) FROM (SELECT value % 1000000 AS k, sum(value) FROM range(0, 2000000) GROUP BY 1)";
    assert_eq!(rows(&session, sql).await, ["1000000"]);
    run(&session, "SET datafusion.runtime.max_temp_directory_size = '1K'").await;
    let error = fails(&session, sql).await;
    assert!(matches!(error, Error::Resources { .. }), "{error:?}");
    assert!(error.to_string().contains("max_temp_directory_size"), "{error}");
    assert_eq!(rows(&session, "SELECT 1").await, ["1"]);
}

#[tokio::test]
async fn a_dropped_stream_stops_the_query() {
    let session = session();
    let query =
        session.sql("SELECT count(*) FROM range(0, 100000000000) a WHERE sin(a.value) > 2").await.unwrap();
    let mut stream = query.stream().await.unwrap();
    let waited = tokio::time::timeout(std::time::Duration::from_millis(100), stream.next()).await;
    assert!(waited.is_err(), "a hundred thousand million rows took less than 100 ms");
    let before = std::time::Instant::now();
    drop(stream);
    assert_eq!(rows(&session, "SELECT 1").await, ["1"]);
    assert!(before.elapsed() < std::time::Duration::from_secs(5));
}

#[tokio::test]
async fn progress_counts_scanned_rows() {
    for fusion in ["off", "force"] {
        let session = Session::builder().threads(2).set("fuseline.fusion", fusion).build().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("p.parquet").display().to_string();
        run(&session, &format!("COPY (SELECT value AS a FROM range(0, 500000)) TO '{file}'")).await;
        let query = session.sql(&format!("SELECT count(*) FROM '{file}' WHERE a % 7 = 3")).await.unwrap();
        assert_eq!(query.progress(), fuseline::Progress::default());
        for _ in 0..2 {
            query.collect().await.unwrap();
            let done = query.progress();
            assert_eq!(done.rows, 500_000, "{fusion}");
            assert_eq!(done.fraction, Some(1.0), "{fusion}");
            assert!(done.bytes > 0, "{fusion}");
        }
    }
    let session = Session::builder().threads(2).set("fuseline.fusion", "force").build().unwrap();
    let query = session.sql("SELECT sum(value) FROM range(0, 3000000)").await.unwrap();
    query.collect().await.unwrap();
    assert_eq!((query.progress().rows, query.progress().fraction), (3_000_000, Some(1.0)));
}

#[tokio::test]
async fn codegen_is_explained() {
    let session = Session::builder().threads(2).set("fuseline.fusion", "force").build().unwrap();
    let sql =
        "-- what is made of this?\nEXPLAIN CODEGEN SELECT sum(value) FROM range(0, 1000) WHERE value % 3 = 0";
    let query = session.sql(sql).await.unwrap();
    assert_eq!(query.kind(), StatementKind::Explain);
    let batches = query.collect().await.unwrap();
    assert_eq!(batches[0].column(0).as_string::<i32>().value(0), "codegen");
    let text = batches[0].column(1).as_string::<i32>().value(0);
    for part in ["Stage *(1)", "IR", "CLIF", "machine code"] {
        assert!(text.contains(part), "no {part} in\n{text}");
    }
    assert_eq!(
        fails(&session, "EXPLAIN CODEGEN\n SELECT nix FROM range(0, 3)").await.to_string(),
        "column 'nix' does not exist; there are: value (line 2, column 9)\n  \
         2 |  SELECT nix FROM range(0, 3)\n    |         ^^^"
    );
    assert!(matches!(
        session.sql("EXPLAIN CODEGEN CREATE TABLE t AS SELECT 1").await,
        Err(Error::Plan { .. })
    ));
}

#[tokio::test]
async fn fusion_is_a_setting() {
    let session = session();
    run(&session, "SET fuseline.fusion = 'force'").await;
    let plan = async || {
        rows(&session, "EXPLAIN SELECT sum(value) FROM range(0, 1000) WHERE value % 3 = 0").await.join("\n")
    };
    assert!(plan().await.contains("*(1)"), "{}", plan().await);
    run(&session, "SET fuseline.fusion = 'off'").await;
    assert!(!plan().await.contains("*(1)"), "{}", plan().await);
    let error = fails(&session, "SET fuseline.fusion = 'sideways'").await.to_string();
    assert!(error.starts_with("fuseline.fusion cannot be 'sideways'"), "{error}");
    assert_eq!(
        fails(&session, "SET fuseline.fusoin = 'on'").await.to_string(),
        "there is no setting 'fuseline.fusoin'; did you mean 'fuseline.fusion'?"
    );
    run(&session, "RESET fuseline.fusion").await;
    assert!(rows(&session, "SHOW fuseline.fusion").await[0].ends_with(",on"));
}
