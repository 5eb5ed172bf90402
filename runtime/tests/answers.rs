//! The same answers, fused and unfused.

use crate::support::{fused, run, session, sorted_text, text, unfused};

/// Each of these must run in at least one fused stage.
fn queries() -> Vec<String> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/queries.sql");
    let text = std::fs::read_to_string(path).unwrap();
    let queries: Vec<String> = text
        .lines()
        .map(|l| l.trim().trim_end_matches(';').to_owned())
        .filter(|l| !l.is_empty() && !l.starts_with("--"))
        .collect();
    assert!(queries.len() > 40, "{path} has only {} queries", queries.len());
    queries
}

async fn check(settings: &[(&str, &str)]) {
    let plain = unfused();
    let mut with: Vec<(&str, &str)> = vec![("fuseline.fusion", "force"), ("fuseline.verify", "true")];
    with.extend(settings);
    let ours = session(&with);
    let mut wrong = Vec::new();
    let queries = queries();
    for sql in &queries {
        let (expected, _) = match run(&plain, sql).await {
            Ok(answer) => answer,
            Err(e) => {
                wrong.push(format!("{sql}\n    fails unfused: {e}"));
                continue;
            }
        };
        match run(&ours, sql).await {
            Err(e) => wrong.push(format!("{sql}\n    fails: {e}")),
            Ok((_, 0)) => wrong
                .push(format!("{sql}\n    did not fuse:\n{}", text(&ours, &format!("EXPLAIN {sql}")).await)),
            Ok((given, _)) if sorted_text(&given) != sorted_text(&expected) => {
                let (a, b) = (sorted_text(&expected), sorted_text(&given));
                let first = a.iter().zip(&b).find(|(x, y)| x != y);
                wrong.push(format!(
                    "{sql}\n    {} and {} lines, first difference {first:?}",
                    a.len(),
                    b.len()
                ));
            }
            Ok(_) => {}
        }
    }
    assert!(wrong.is_empty(), "{} of {} queries:\n{}", wrong.len(), queries.len(), wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn compiled_answers_equal_unfused() {
    check(&[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn interpreted_answers_equal_unfused() {
    check(&[("fuseline.backend", "interp")]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_do_not_depend_on_morsels_and_partitions() {
    check(&[("fuseline.morsel_rows", "1024"), ("datafusion.execution.target_partitions", "5")]).await;
}

/// Errors have the words they have unfused.
#[tokio::test]
async fn errors_read_the_same() {
    let (plain, ours) = (unfused(), fused());
    for sql in [
        "SELECT 100 / n FROM t",
        "SELECT i % (n - n) FROM t",
        "SELECT cast(i AS tinyint) FROM t",
        "SELECT cast(f * 1e300 AS bigint) FROM t WHERE f > 0",
        "SELECT sum(10 / n) FROM t",
        "SELECT n % 3, sum(10 / n) FROM t GROUP BY n % 3",
        "SELECT arrow_cast(n, 'Date32') + INTERVAL '300000 years' FROM t",
        "SELECT ts - INTERVAL '999999 years' FROM t",
        "SELECT arrow_cast(v, 'Int64') + 1 FROM t WHERE i > 0",
    ] {
        let expected = run(&plain, sql).await.expect_err(sql);
        let given = match run(&ours, sql).await {
            Ok((_, stages)) => panic!("{sql} gave an answer in {stages} stages"),
            Err(e) => e,
        };
        assert_eq!(given.find_root().to_string(), expected.find_root().to_string(), "{sql}");
    }
}

/// What lazy evaluation excludes raises nothing.
#[tokio::test]
async fn rows_that_do_not_count_raise_nothing() {
    let ours = fused();
    for sql in [
        "SELECT 100 / n FROM t WHERE n > 0",
        "SELECT CASE WHEN n > 0 THEN 100 / n ELSE 0 END FROM t",
        "SELECT i FROM t WHERE n > 0 AND 100 / n > 20",
        "SELECT sum(100 / n) FILTER (WHERE n > 0) FROM t",
    ] {
        let (_, stages) = run(&ours, sql).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
        assert!(stages > 0, "{sql}");
    }
}
