//! Functions whose bodies are known, as parts of the loops: the answers of the calls, whatever bails.

use crate::support::{fused, run, session, sorted_text, text, unfused};
use arrow::array::{ArrayRef, AsArray, Float64Array, Int64Array};
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use datafusion::logical_expr::ScalarUDF;
use datafusion::prelude::SessionContext;
use fuseline_codegen::cpu::CompileOptions;
use fuseline_codegen::cpu::function::compile;
use fuseline_codegen::function::parse;
use fuseline_runtime::udf::planning::planning_async;
use fuseline_runtime::udf::{
    Batch, BatchFunction, BoundaryUdf, CallError, CollectedErrors, CompiledUdf, FunctionOptions,
    NullHandling, Param,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What stands for Python, and how many rows it was asked.
struct Asked<F> {
    function: F,
    rows: Arc<AtomicUsize>,
}

impl<F: Fn(&[ArrayRef], usize) -> ArrayRef + Send + Sync> BatchFunction for Asked<F> {
    fn call(&self, batch: &Batch<'_>) -> Result<ArrayRef, CallError> {
        self.rows.fetch_add(batch.rows(), Ordering::Relaxed);
        Ok((self.function)(batch.args(), batch.rows()))
    }
}

/// Registers a function with this body; gives the count of rows that "Python" was asked.
pub fn register(
    context: &SessionContext,
    text: &str,
    params: &[(&str, DataType)],
    returns: DataType,
    function: impl Fn(&[ArrayRef], usize) -> ArrayRef + Send + Sync + 'static,
) -> Arc<AtomicUsize> {
    register_with(context, text, params, returns, NullHandling::Propagate, function)
}

fn register_with(
    context: &SessionContext,
    text: &str,
    params: &[(&str, DataType)],
    returns: DataType,
    null_handling: NullHandling,
    function: impl Fn(&[ArrayRef], usize) -> ArrayRef + Send + Sync + 'static,
) -> Arc<AtomicUsize> {
    let body = parse(text).unwrap();
    let name = body.name.clone();
    let types: Vec<DataType> = params.iter().map(|p| p.1.clone()).collect();
    let code = compile(body, &types, &returns, &CompileOptions::default()).unwrap();
    let rows = Arc::new(AtomicUsize::new(0));
    let python = Arc::new(Asked { function, rows: Arc::clone(&rows) });
    let compiled = CompiledUdf::fixed(python, code);
    let params = params
        .iter()
        .map(|(name, data_type)| Param {
            name: (*name).to_owned(),
            data_type: data_type.clone(),
            default: None,
        })
        .collect();
    let spec = FunctionOptions { null_handling: Some(null_handling), ..FunctionOptions::default() };
    let spec = spec.build(name, params, returns).unwrap();
    let udf = BoundaryUdf::try_new(Arc::new(spec), Arc::new(compiled), Arc::new(CollectedErrors::default()));
    context.register_udf(ScalarUDF::from(udf.unwrap()));
    rows
}

const SCALE: &str = "function \"scale\"(\"x\": float) -> float {
    v0 = get l0 v1 = float 100.0 v2 = cmp.gt v0, v1
    if v2 { v3 = float 2.0 v4 = mul v0, v3 return v4 }
    v5 = float 3.0 v6 = sub v0, v5 return v6 }";

fn scale(args: &[ArrayRef], _rows: usize) -> ArrayRef {
    let x = args[0].as_primitive::<Float64Type>();
    let scaled = |x: f64| if x > 100.0 { x * 2.0 } else { x - 3.0 };
    Arc::new(x.iter().map(|x| x.map(scaled)).collect::<Float64Array>())
}

/// 1000 // x; Python's answer to a zero is 7.
const PART: &str = "function \"part\"(\"x\": int) -> int {
    v0 = get l0 v1 = int 1000 v2 = floor_div v1, v0 return v2 }";

fn part(args: &[ArrayRef], _rows: usize) -> ArrayRef {
    let x = args[0].as_primitive::<Int64Type>();
    let floor = |x: i64| if x == 0 { 7 } else { (1000.0 / x as f64).floor() as i64 };
    Arc::new(x.iter().map(|x| x.map(floor)).collect::<Int64Array>())
}

fn contexts() -> Vec<(SessionContext, Arc<AtomicUsize>, Arc<AtomicUsize>)> {
    [unfused(), fused(), session(&[("fuseline.fusion", "force"), ("fuseline.backend", "interp")])]
        .into_iter()
        .map(|context| {
            let float = [("x", DataType::Float64)];
            let scaled = register(&context, SCALE, &float, DataType::Float64, scale);
            let int = [("x", DataType::Int64)];
            let parts = register(&context, PART, &int, DataType::Int64, part);
            (context, scaled, parts)
        })
        .collect()
}

#[tokio::test]
async fn functions_in_loops_give_what_calls_give() {
    let contexts = contexts();
    for query in [
        "SELECT id, scale(x) FROM big WHERE k < 3",
        "SELECT sum(scale(f)), count(scale(f)), min(scale(f)) FROM t",
        "SELECT n, scale(f) FROM t WHERE scale(f) > 10 AND b",
        "SELECT CASE WHEN k = 0 THEN -1 ELSE part(k) END AS p FROM big",
        "SELECT part(i) FROM t WHERE i <> 0",
        "SELECT sum(part(i)) FROM t WHERE i > 0",
        "SELECT n, sum(scale(f)) FROM t GROUP BY n",
    ] {
        let mut answers = Vec::new();
        for (context, scaled, parts) in &contexts {
            answers.push(sorted_text(&run(context, query).await.unwrap().0));
            let asked = scaled.swap(0, Ordering::Relaxed) + parts.swap(0, Ordering::Relaxed);
            assert_eq!(asked, 0, "nothing bails in {query}");
        }
        assert!(answers.iter().all(|a| *a == answers[0]), "{query}");
        assert!(!answers[0].is_empty());
    }
}

#[tokio::test]
async fn a_morsel_in_which_a_row_bails_is_run_with_calls() {
    let contexts = contexts();
    for query in [
        "SELECT part(k) FROM big",
        "SELECT sum(part(k)), count(*) FROM big WHERE id < 250000",
        "SELECT part(i % 7) FROM t",
    ] {
        let mut answers = Vec::new();
        for (context, _, parts) in &contexts {
            answers.push(sorted_text(&run(context, query).await.unwrap().0));
            assert!(parts.swap(0, Ordering::Relaxed) > 0, "zeros are asked in {query}");
        }
        assert!(answers.iter().all(|a| *a == answers[0]), "{query}");
    }
}

#[tokio::test]
async fn loops_count_the_rows_of_their_functions() {
    let (context, _, _) = contexts().swap_remove(1);
    let shown = text(&context, "EXPLAIN ANALYZE SELECT scale(x) FROM big").await;
    assert!(shown.contains("udf_scale_compiled_rows=300"), "{shown}");
    assert!(shown.contains("udf_scale_calls=0"), "it is in the loop, so nothing is called: {shown}");
    assert!(shown.contains("], compiled"), "{shown}");
    let shown = text(&context, "EXPLAIN ANALYZE SELECT part(k) FROM big").await;
    assert!(shown.contains("udf_part_bailed_rows="), "{shown}");
}

/// What a parameter that takes None makes of it.
const OR_SEVEN: &str = "function \"or_seven\"(\"x\": int?) -> int {
    v0 = get l0 v1 = is_none v0
    if v1 { v2 = int 7 return v2 }
    v3 = unwrap v0 return v3 }";

#[tokio::test]
async fn none_is_seen_where_null_handling_says_so() {
    for null_handling in [NullHandling::Propagate, NullHandling::Call] {
        let contexts =
            [unfused(), fused(), session(&[("fuseline.fusion", "force"), ("fuseline.backend", "interp")])];
        let params = [("x", DataType::Int64)];
        let python = |args: &[ArrayRef], _rows: usize| -> ArrayRef {
            let x = args[0].as_primitive::<Int64Type>();
            Arc::new(x.iter().map(|x| x.or(Some(7))).collect::<Int64Array>())
        };
        let right = match null_handling {
            NullHandling::Propagate => "SELECT i FROM t",
            NullHandling::Call => "SELECT coalesce(i, 7) AS i FROM t",
        };
        for context in &contexts {
            register_with(context, OR_SEVEN, &params, DataType::Int64, null_handling, python);
            let found = sorted_text(&run(context, "SELECT or_seven(i) AS i FROM t").await.unwrap().0);
            let wanted = sorted_text(&run(context, right).await.unwrap().0);
            assert_eq!(found, wanted, "{null_handling}");
        }
        let shown = text(&contexts[1], "EXPLAIN ANALYZE SELECT or_seven(i) FROM t").await;
        let in_the_loop = shown.contains("udf_or_seven_calls=0");
        assert_eq!(in_the_loop, null_handling == NullHandling::Call, "{shown}");
    }
}

#[tokio::test]
async fn stages_that_group_and_join_have_functions_in_their_loops() {
    let contexts = contexts();
    for (query, name, bails) in [
        ("SELECT k, max(scale(x)), count(*) FROM big GROUP BY k", "scale", false),
        ("SELECT k, count(*), min(k) FROM big WHERE scale(x) > 10 GROUP BY k", "scale", false),
        ("SELECT part(k) AS p, count(*) FROM big WHERE k > 0 GROUP BY part(k)", "part", false),
        ("SELECT part(k) AS p, count(*) FROM big GROUP BY part(k)", "part", true),
        ("SELECT id % 3 AS g, sum(part(k)) FROM big WHERE part(k) > 2 GROUP BY id % 3", "part", true),
        ("SELECT count(*), max(scale(big.x)) FROM big JOIN t ON big.k = t.n", "scale", false),
        ("SELECT t.n, sum(part(big.k)) FROM big JOIN t ON big.k = t.n GROUP BY t.n", "part", true),
        ("SELECT big.id, part(t.n + 1) FROM big JOIN t ON big.id = t.n WHERE t.n >= 0", "part", false),
    ] {
        let mut answers = Vec::new();
        for (context, scaled, parts) in &contexts {
            answers.push(sorted_text(&run(context, query).await.unwrap().0));
            let asked = scaled.swap(0, Ordering::Relaxed) + parts.swap(0, Ordering::Relaxed);
            assert_eq!(asked > 0, bails, "{query} asked {asked}");
        }
        assert!(answers.iter().all(|a| *a == answers[0]), "{query}");
        assert!(!answers[0].is_empty());
        if !bails {
            let shown = text(&contexts[1].0, &format!("EXPLAIN ANALYZE {query}")).await;
            assert!(shown.contains(&format!("udf_{name}_calls=0")), "{query}: {shown}");
        }
    }
}

#[tokio::test]
async fn calls_over_constants_are_folded_where_nothing_has_to_be_asked() {
    for (context, _, parts) in &contexts()[..2] {
        let shown = planning_async(text(context, "EXPLAIN SELECT part(3) + k FROM big")).await;
        assert!(shown.contains("333"), "{shown}");
        // Python is asked when the query runs, not for a plan.
        let shown = planning_async(text(context, "EXPLAIN SELECT part(0) + k FROM big")).await;
        assert!(shown.contains("part("), "{shown}");
        assert_eq!(parts.swap(0, Ordering::Relaxed), 0);
        let rows =
            sorted_text(&run(context, "SELECT part(0) + k - k AS p FROM big LIMIT 1").await.unwrap().0);
        assert!(rows.concat().contains('7'), "{rows:?}");
    }
}
