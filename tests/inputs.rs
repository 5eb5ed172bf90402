//! What comes with one statement (parameter values, tables of its own), and the ways to run a query.

use std::collections::HashMap;

use fuseline::arrow::array::{AsArray, RecordBatch};
use fuseline::arrow::datatypes::{DataType, Int64Type, TimeUnit};
use fuseline::datafusion::common::ScalarValue;
use fuseline::{Error, Inputs, Metric, Session};
use futures::{StreamExt, TryStreamExt};

use crate::session::{ints, rows};

fn session() -> Session {
    Session::builder().threads(3).build().unwrap()
}

fn column(batches: &[RecordBatch]) -> Vec<i64> {
    batches.iter().flat_map(|b| b.column(0).as_primitive::<Int64Type>().values().to_vec()).collect()
}

async fn first(session: &Session, sql: &str, inputs: Inputs) -> fuseline::Result<Vec<i64>> {
    Ok(column(&session.sql_with(sql, &inputs).await?.collect().await?))
}

#[tokio::test(flavor = "multi_thread")]
async fn values_are_typed_while_the_query_is_planned() {
    let session = session();
    let values = vec![
        ScalarValue::TimestampMillisecond(Some(0), Some("UTC".into())),
        ScalarValue::UInt8(Some(3)),
        ScalarValue::Decimal128(Some(125), 5, 2),
        ScalarValue::Utf8(Some("it's".into())),
        ScalarValue::Float64(Some(f64::NAN)),
    ];
    let query = session.sql_with("SELECT ?, ?, ?, ?, ?", &Inputs::new().positional(values)).await.unwrap();
    let types: Vec<DataType> = query.schema().fields().iter().map(|f| f.data_type().clone()).collect();
    assert_eq!(
        types,
        [
            DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into())),
            DataType::UInt8,
            DataType::Decimal128(5, 2),
            DataType::Utf8,
            DataType::Float64,
        ]
    );
    let batches = query.collect().await.unwrap();
    assert_eq!(batches[0].column(3).as_string::<i32>().value(0), "it's");
}

#[tokio::test(flavor = "multi_thread")]
async fn values_stand_wherever_a_literal_may() {
    let session = session();
    let int = |v| ScalarValue::Int64(Some(v));
    let named = |pairs: &[(&str, i64)]| {
        Inputs::new().named(pairs.iter().map(|(k, v)| ((*k).to_string(), int(*v))).collect::<HashMap<_, _>>())
    };
    let sql = "SELECT value FROM range(0, $n) WHERE value % $k = 0 ORDER BY value LIMIT $most OFFSET 1";
    let inputs = named(&[("n", 100), ("k", 7), ("most", 2)]);
    assert_eq!(first(&session, sql, inputs.clone()).await.unwrap(), [7, 14]);
    let other = named(&[("n", 100), ("k", 10), ("most", 2)]);
    assert_eq!(first(&session, sql, other).await.unwrap(), [10, 20], "no plan of other values is used");
    let explain = session.sql_with(&format!("EXPLAIN CODEGEN {sql}"), &inputs).await;
    assert!(explain.is_ok(), "{explain:?}");
    for (inputs, message) in [
        (Inputs::new(), "parameter $k has no value: no values were given"),
        (named(&[("n", 1), ("k", 1)]), "parameter $most has no value: values were given for $k, $n"),
    ] {
        match session.sql_with(sql, &inputs).await {
            Err(Error::Plan { message: said, .. }) => assert_eq!(said, message),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_of_one_statement_are_seen_by_it_alone() {
    let session = session();
    let table = |values| {
        let (schema, batch) = ints("v", values);
        Session::memory_table("mine", schema, vec![batch]).unwrap()
    };
    let sql = "SELECT v FROM mine ORDER BY v";
    let query = session.sql_with(sql, &Inputs::new().table("mine", table(vec![2, 1]))).await.unwrap();
    assert_eq!(column(&query.collect().await.unwrap()), [1, 2]);
    assert_eq!(column(&query.collect().await.unwrap()), [1, 2], "also when it runs again");
    let other = Inputs::new().table("mine", table(vec![9]));
    assert_eq!(first(&session, sql, other.clone()).await.unwrap(), [9]);
    assert!(session.sql(sql).await.is_err());
    assert_eq!(session.missing_tables(sql).await.unwrap(), ["mine"]);
    // A table of the session comes first.
    let (schema, batch) = ints("v", vec![5]);
    session.register_batches("mine", schema, vec![batch]).unwrap();
    assert_eq!(first(&session, sql, other).await.unwrap(), [5]);
    let with = "WITH x AS (SELECT 1) SELECT * FROM x, mine, nosuch, s.t, 'nosuch.csv'";
    assert_eq!(session.missing_tables(with).await.unwrap(), ["nosuch"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_come_in_order_and_wait_for_their_reader() {
    let session = session();
    let n: i64 = 2_000_000;
    let (schema, batch) = ints("v", (0..n).collect());
    session.register_batches("t", schema, vec![batch]).unwrap();
    for sql in ["SELECT v + 1 FROM t WHERE v % 2 = 0", "SELECT v + 1 FROM t", "SELECT v FROM t"] {
        let sorted = |values: Vec<i64>, rows: i64| {
            assert_eq!(values.len() as i64, rows, "{sql}");
            assert!(values.is_sorted(), "{sql}");
        };
        let expected = if sql.contains("WHERE") { n / 2 } else { n };
        // Little room, and a reader that is slower than the query.
        let query = session.sql(sql).await.unwrap();
        let mut stream = query.stream_in_order(64 * 1024).await.unwrap();
        let mut values = Vec::new();
        while let Some(batch) = stream.next().await {
            values.extend(column(&[batch.unwrap()]));
            tokio::task::yield_now().await;
        }
        sorted(values, expected);
        let mut values = Vec::new();
        for partition in query.partitions().await.unwrap() {
            let batches: Vec<RecordBatch> = partition.batches.try_collect().await.unwrap();
            let part = column(&batches);
            if let Some(rows) = partition.rows {
                assert_eq!(rows, part.len(), "{sql}");
            }
            assert_eq!(partition.rows.is_some(), !sql.contains("WHERE"), "{sql}");
            values.extend(part);
        }
        sorted(values, expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_ends_an_ordered_stream() {
    let session = session();
    let sql = "SELECT 10 / (999999 - value) FROM range(0, 1000000)";
    let mut stream = session.sql(sql).await.unwrap().stream_in_order(1 << 20).await.unwrap();
    let mut failures = 0;
    while let Some(batch) = stream.next().await {
        failures += usize::from(batch.is_err());
    }
    assert_eq!(failures, 1);
    assert_eq!(rows(&session, "SELECT 1").await, ["1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_profile_is_of_one_run() {
    let session = Session::builder().threads(2).set("fuseline.fusion", "force").build().unwrap();
    let sql = "SELECT value + 1 AS v FROM range(0, 100000) WHERE value % 2 = 0";
    let query = session.sql(sql).await.unwrap();
    for _ in 0..2 {
        let profile = query.profile().await.unwrap();
        assert_eq!(profile.rows, 50_000);
        assert_eq!(profile.plan.stage, Some(1));
        assert_eq!(profile.plan.metrics["output_rows"], Metric::Count(50_000));
        assert_eq!(profile.plan.metrics["input_rows"], Metric::Count(100_000));
        assert!(profile.plan.functions.is_empty());
    }
    let command = session.sql("CREATE TABLE t (a INT)").await.unwrap();
    assert!(command.profile().await.is_err());
}
