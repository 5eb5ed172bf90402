//! User-defined functions written in Rust: what reaches them, what may come back, and what becomes of
//! rows that fail. Everything is run fused and unfused.

use fuseline::arrow::array::{Array, ArrayRef, AsArray, Float64Array, Int64Array, RecordBatch, StringArray};
use fuseline::arrow::compute::cast;
use fuseline::arrow::datatypes::{DataType, Field, Float64Type, Int64Type, Schema};
use fuseline::udf::{
    ArgDefault, Batch, BatchFunction, CallError, Failure, FunctionOptions, FunctionSpec, Param, UdfErrorKind,
};
use fuseline::{Error, Session};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

type Body = Box<dyn Fn(&Batch<'_>) -> Result<ArrayRef, CallError> + Send + Sync>;

/// A function that remembers the values of its first argument.
pub(crate) struct Probe {
    seen: Mutex<Vec<Option<i64>>>,
    batches: AtomicUsize,
    body: Body,
}

impl BatchFunction for Probe {
    fn call(&self, batch: &Batch<'_>) -> Result<ArrayRef, CallError> {
        self.batches.fetch_add(1, Ordering::SeqCst);
        if let Some(first) = batch.args().first() {
            self.seen.lock().unwrap().extend(first.as_primitive::<Int64Type>().iter());
        }
        (self.body)(batch)
    }
}

impl Probe {
    pub(crate) fn new(
        body: impl Fn(&Batch<'_>) -> Result<ArrayRef, CallError> + Send + Sync + 'static,
    ) -> Arc<Probe> {
        Arc::new(Probe { seen: Mutex::default(), batches: AtomicUsize::new(0), body: Box::new(body) })
    }

    /// What was seen since the last time, in ascending order.
    pub(crate) fn seen(&self) -> Vec<Option<i64>> {
        let mut seen = std::mem::take(&mut *self.seen.lock().unwrap());
        seen.sort();
        seen
    }
}

/// x * 10, and an error for 3.
fn times_ten(batch: &Batch<'_>) -> Result<ArrayRef, CallError> {
    let x = batch.args()[0].as_primitive::<Int64Type>();
    if let Some(row) = x.iter().position(|v| v == Some(3)) {
        if batch.rows() == 1 || !batch.keeps_failures() {
            return Err(CallError::Failed { row: None, failure: Failure::new("no threes") });
        }
        batch.fail_row(row, Failure::new("no threes"));
    }
    Ok(Arc::new(x.iter().map(|v| v.map(|v| v * 10)).collect::<Int64Array>()))
}

pub(crate) fn spec(name: &str, options: &[(&str, &str)]) -> FunctionSpec {
    let mut all = FunctionOptions::default();
    for (option, value) in options {
        all.set(option, value).unwrap();
    }
    all.build(name, vec![Param::new("x", DataType::Int64)], DataType::Int64).unwrap()
}

pub(crate) fn session(fusion: &str) -> Session {
    let session = Session::builder().threads(2).set("fuseline.fusion", fusion).build().unwrap();
    let schema = Arc::new(Schema::new(vec![
        Field::new("x", DataType::Int64, true),
        Field::new("k", DataType::Int64, false),
    ]));
    let x: Int64Array = (0..2000).map(|i| (i % 10 != 9).then_some(i)).collect();
    let k: Int64Array = (0..2000).map(|i| Some(i % 4)).collect();
    let batch = RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(x), Arc::new(k)]).unwrap();
    session.register_batches("t", schema, vec![batch]).unwrap();
    session
}

pub(crate) async fn column(session: &Session, sql: &str) -> Vec<Option<i64>> {
    let batches = session.sql(sql).await.unwrap().collect().await.unwrap();
    batches.iter().flat_map(|b| b.column(0).as_primitive::<Int64Type>().iter().collect::<Vec<_>>()).collect()
}

pub(crate) async fn text(session: &Session, sql: &str) -> String {
    let batches = session.sql(sql).await.unwrap().collect().await.unwrap();
    fuseline::arrow::util::pretty::pretty_format_batches(&batches).unwrap().to_string()
}

async fn failure(session: &Session, sql: &str) -> Error {
    session.sql(sql).await.unwrap().collect().await.unwrap_err()
}

#[tokio::test(flavor = "multi_thread")]
async fn nulls_do_not_reach_a_function_that_propagates() {
    for fusion in ["on", "off"] {
        let session = session(fusion);
        let f = Probe::new(|b| Ok(Arc::clone(&b.args()[0])));
        session.register_function(spec("f", &[]), f.clone()).unwrap();
        let got = column(&session, "SELECT f(x) FROM t ORDER BY k, x NULLS LAST").await;
        assert_eq!(got.iter().filter(|v| v.is_none()).count(), 200, "{fusion}");
        let seen = f.seen();
        assert!(seen.iter().all(Option::is_some));
        assert_eq!(seen.len(), 1800);
        let g = Probe::new(|b| Ok(Arc::clone(&b.args()[0])));
        session.register_function(spec("g", &[("null_handling", "call")]), g.clone()).unwrap();
        column(&session, "SELECT g(x) FROM t").await;
        assert_eq!(g.seen().iter().filter(|v| v.is_none()).count(), 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn excluded_rows_never_reach_a_function() {
    for fusion in ["on", "off", "force"] {
        let session = session(fusion);
        let f = Probe::new(|b| Ok(Arc::clone(&b.args()[0])));
        session.register_function(spec("f", &[]), f.clone()).unwrap();
        for (sql, expected) in [
            ("SELECT count(*) FROM t WHERE x < 5 AND f(x) >= 0", vec![0, 1, 2, 3, 4]),
            ("SELECT count(*) FROM t WHERE x >= 5 OR f(x) >= 0", vec![0, 1, 2, 3, 4]),
            ("SELECT sum(CASE WHEN x < 5 THEN f(x) ELSE 0 END) FROM t", vec![0, 1, 2, 3, 4]),
            ("SELECT sum(CASE WHEN x >= 3 THEN 0 WHEN x < 2 THEN f(x) END) FROM t", vec![0, 1]),
            ("SELECT count(*) FROM t WHERE CASE WHEN x < 3 THEN f(x) >= 0 ELSE false END", vec![0, 1, 2]),
            ("SELECT f(x) FROM t WHERE x < 3", vec![0, 1, 2]),
            ("SELECT coalesce(x, f(k)) FROM t WHERE x < 3", vec![]),
            ("SELECT y FROM (SELECT f(x) AS y, x FROM t) WHERE x < 3", vec![0, 1, 2]),
        ] {
            column(&session, sql).await;
            let expected: Vec<Option<i64>> = expected.into_iter().map(Some).collect();
            // NULL does not decide AND and OR, but it does not reach a function that propagates either.
            assert_eq!(f.seen(), expected, "{sql} with fusion = {fusion}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_immutable_call_runs_once_and_a_volatile_one_once_per_row_and_place() {
    let session = session("on");
    let f = Probe::new(|b| Ok(Arc::clone(&b.args()[0])));
    session.register_function(spec("f", &[]), f.clone()).unwrap();
    for sql in [
        "SELECT f(x), f(x) + 1, f(x) * 2 FROM t",
        "SELECT f(x) FROM t WHERE f(x) >= 0 OR f(x) < 0",
        "SELECT y, y + 1 FROM (SELECT f(x) AS y FROM t) WHERE y > 100",
        "SELECT f(x) FROM t WHERE f(x) > 100 ORDER BY f(x)",
        "SELECT f(x), CASE WHEN x > 5 THEN f(x) END FROM t",
    ] {
        column(&session, sql).await;
        assert_eq!(f.seen().len(), 1800, "{sql}");
    }
    for fusion in ["on", "off"] {
        let session = self::session(fusion);
        let v = Probe::new(|b| Ok(Arc::clone(&b.args()[0])));
        session.register_function(spec("v", &[("volatility", "volatile")]), v.clone()).unwrap();
        for (sql, calls) in [
            ("SELECT v(x) FROM t", 1800),
            ("SELECT v(x) AS a, v(x) AS b FROM t", 3600),
            ("SELECT v(x) FROM t WHERE k = 1", 400),
            ("SELECT y, y + 1, y * 2 FROM (SELECT v(x) AS y FROM t)", 1800),
            ("SELECT y FROM (SELECT v(x) AS y FROM t) WHERE y > 100", 1800),
            ("SELECT count(*) FROM t WHERE k = 1 AND v(x) >= 0", 400),
        ] {
            column(&session, sql).await;
            assert_eq!(v.seen().len(), calls, "{sql} with fusion = {fusion}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_results_are_typed_errors() {
    for fusion in ["on", "off"] {
        let session = session(fusion);
        let short = Probe::new(|_| Ok(Arc::new(Int64Array::from(vec![1, 2]))));
        session.register_function(spec("short", &[]), short).unwrap();
        let float = Probe::new(|b| {
            cast(&b.args()[0], &DataType::Float64).map_err(|e| CallError::failed(e.to_string()))
        });
        session.register_function(spec("float", &[]), float).unwrap();
        let panics = Probe::new(|_| panic!("out of cheese"));
        session.register_function(spec("panics", &[("on_error", "null")]), panics).unwrap();
        for (sql, kind, words) in [
            ("SELECT short(x) FROM t", UdfErrorKind::WrongLength, "UDF 'short' returned 2 values for"),
            (
                "SELECT float(x) FROM t",
                UdfErrorKind::WrongType,
                "UDF 'float' returned values of type Float64, but was declared to return Int64",
            ),
            ("SELECT panics(x) FROM t", UdfErrorKind::Panicked, "UDF 'panics' panicked: out of cheese"),
        ] {
            match failure(&session, sql).await {
                Error::Function(error) => {
                    assert_eq!(error.kind, kind, "{sql}");
                    assert!(error.to_string().contains(words), "{error}");
                }
                other => panic!("{sql}: {other:?}"),
            }
        }
        assert_eq!(column(&session, "SELECT count(*) FROM t").await, [Some(2000)]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_row_is_named_nulled_or_collected() {
    for fusion in ["on", "off"] {
        let session = session(fusion);
        session.register_function(spec("f", &[]), Probe::new(times_ten)).unwrap();
        match failure(&session, "SELECT f(x) FROM t").await {
            Error::Function(error) => {
                assert_eq!(error.to_string(), "UDF 'f' failed on row 3 (x = 3): no threes");
            }
            other => panic!("{other:?}"),
        }
        session.register_function(spec("f", &[("on_error", "null")]), Probe::new(times_ten)).unwrap();
        let sql = "SELECT f(x) FROM t WHERE x < 6 ORDER BY x";
        let expected = [Some(0), Some(10), Some(20), None, Some(40), Some(50)];
        assert_eq!(column(&session, sql).await, expected);
        let options = [("on_error", "collect"), ("batch_rows", "1")];
        session.register_function(spec("f", &options), Probe::new(times_ten)).unwrap();
        assert_eq!(column(&session, sql).await, expected);
        let rows = text(&session, "SELECT udf, arguments, exception FROM fuseline_errors()").await;
        assert!(rows.contains("| f   | x = 3     | no threes |"), "{rows}");
        assert_eq!(
            column(&session, "SELECT CAST(count(*) AS BIGINT) FROM fuseline_errors()").await,
            [Some(1)]
        );
        session.collected_errors().clear();
        assert_eq!(
            column(&session, "SELECT CAST(count(*) AS BIGINT) FROM fuseline_errors()").await,
            [Some(0)]
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_have_at_most_batch_rows() {
    let session = session("on");
    let f = Probe::new(|b| {
        assert!(b.rows() <= 64);
        Ok(Arc::clone(&b.args()[0]))
    });
    session.register_function(spec("f", &[("batch_rows", "64")]), f.clone()).unwrap();
    let got = column(&session, "SELECT f(x) FROM t WHERE x IS NOT NULL ORDER BY x").await;
    assert_eq!(got.len(), 1800);
    assert!(got.windows(2).all(|w| w[0] < w[1]));
    assert!(f.batches.load(Ordering::SeqCst) >= 29);
}

#[tokio::test(flavor = "multi_thread")]
async fn arguments_have_defaults_names_and_types() {
    let session = session("on");
    let mut n = Param::new("n", DataType::Float64);
    n.default = Some(ArgDefault::Value(2.0.into()));
    let params = vec![Param::new("x", DataType::Float64), n];
    let power = FunctionOptions::default().build("Power2", params, DataType::Float64).unwrap();
    struct Power;
    impl BatchFunction for Power {
        fn call(&self, batch: &Batch<'_>) -> Result<ArrayRef, CallError> {
            let [x, n] = batch.args() else { return Err(CallError::failed("two arguments")) };
            let (x, n) = (x.as_primitive::<Float64Type>(), n.as_primitive::<Float64Type>());
            Ok(Arc::new(x.iter().zip(n).map(|(x, n)| Some(x?.powf(n?))).collect::<Float64Array>()))
        }
    }
    session.register_function(power, Arc::new(Power)).unwrap();
    let sql = "SELECT Power2(3), \"Power2\"(2, 3), power2(n => 1.0, x => 7)";
    let row = session.sql(sql).await.unwrap().collect().await.unwrap();
    let row: Vec<f64> = row[0].columns().iter().map(|c| c.as_primitive::<Float64Type>().value(0)).collect();
    assert_eq!(row, [9.0, 8.0, 7.0]);
    let wrong = session.sql("SELECT power2('a')").await.unwrap_err().to_string();
    assert!(wrong.contains("UDF Power2(x Float64, n Float64) -> Float64"), "{wrong}");
    let wrong = session.sql("SELECT power2(1, 2, 3)").await.unwrap_err().to_string();
    assert!(wrong.contains("takes 1 to 2 arguments, not 3"), "{wrong}");
    assert!(session.drop_function("power2").unwrap());
    assert!(session.sql("SELECT power2(1)").await.is_err());
    assert!(session.drop_function("abs").is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn planning_calls_nothing_and_explain_names_the_entry() {
    let session = session("on");
    let f = Probe::new(|b| Ok(Arc::clone(&b.args()[0])));
    session.register_function(spec("f", &[]), f.clone()).unwrap();
    let plan = text(&session, "EXPLAIN SELECT f(7), f(x + 1) FROM t WHERE f(8) = 8").await;
    assert!(f.seen().is_empty(), "{plan}");
    assert!(
        plan.contains("f: scalar, in_process, columns [x@0 + 1]") || plan.contains("columns [x + 1]"),
        "{plan}"
    );
    let sql = "SELECT CASE WHEN k < 0 THEN f(7) ELSE 1 END FROM t";
    assert_eq!(column(&session, sql).await.len(), 2000);
    assert!(f.seen().is_empty());
    // Over constants one row is enough.
    assert_eq!(column(&session, "SELECT f(7) FROM t").await, vec![Some(7); 2000]);
    assert!(f.seen().len() <= 2);
    let analyzed = text(&session, "EXPLAIN ANALYZE SELECT f(x) FROM t").await;
    for metric in
        ["udf_f_calls=", "udf_f_rows=", "udf_f_function_time=", "udf_f_conversion_time=", "udf_f_wait_time="]
    {
        assert!(analyzed.contains(metric), "{metric} in {analyzed}");
    }
    assert!(analyzed.contains("udf_f_rows=1.80 K") || analyzed.contains("udf_f_rows=1800"), "{analyzed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn create_function_is_refused_unless_allowed() {
    let create = "CREATE FUNCTION f(x BIGINT) RETURNS BIGINT LANGUAGE python AS $$ x $$";
    let refused = failure(&session("on"), create).await.to_string();
    assert!(refused.contains("allow_create_function=True"), "{refused}");
    let open = Session::builder().allow_create_function(true).build().unwrap();
    let no_python = failure(&open, create).await.to_string();
    assert!(no_python.contains("'python'"), "{no_python}");
    assert_eq!(open.sql_type("double precision").unwrap(), DataType::Float64);
    assert_eq!(open.sql_type("VARCHAR").unwrap(), DataType::Utf8);
    assert!(open.sql_type("NOSUCH").is_err());
    let strings = StringArray::from(vec!["a"]);
    assert_eq!(strings.data_type(), &open.sql_type("TEXT").unwrap());
}
