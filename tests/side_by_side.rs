//! DataFusion's and DuckDB's own SQL suites, each statement run on stock DataFusion and on fuseline with
//! fusion forced, and the two compared: both accept or both reject, and the rows are the same.
//!
//! Stock is a plain `SessionContext` without a line of fuseline in it. A statement that both reject
//! (functions and tables that only DataFusion's own test binary registers) agrees, and is counted apart.
//! A difference that stock shows against itself on a second run (random(), LIMIT without ORDER BY over
//! several partitions) is counted as unstable. fuseline may accept what stock rejects only for errors on
//! rows that lazy evaluation excludes.
//!
//! `make test` runs every `EVERY`th file; `FUSELINE_NIGHTLY=1` runs them all.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use datafusion::prelude::{SessionConfig, SessionContext};
use futures::FutureExt;
use sqllogictest::{DefaultColumnType, Record};

use crate::answers::{Answer, Verdict, compare};
use crate::suites::{self, Operators, panic_text};

/// A statement that takes longer than this hangs.
const STATEMENT_LIMIT: Duration = Duration::from_secs(60);

/// Files whose number modulo this is 0 run in `make test`.
const EVERY: usize = 8;

/// Differences known and justified: file name, part of the SQL, why.
const JUSTIFIED: &[(&str, &str, &str)] = &[];

/// What a file came to.
#[derive(Default)]
struct Tally {
    statements: usize,
    queries: usize,
    fused: usize,
    both_reject: usize,
    unstable: usize,
    reordered: usize,
    lenient: Vec<String>,
    differences: Vec<String>,
}

impl Tally {
    fn add(&mut self, other: Tally) {
        self.statements += other.statements;
        self.queries += other.queries;
        self.fused += other.fused;
        self.both_reject += other.both_reject;
        self.unstable += other.unstable;
        self.reordered += other.reordered;
        self.lenient.extend(other.lenient);
        self.differences.extend(other.differences);
    }
}

fn stock() -> SessionContext {
    let config = SessionConfig::new().with_information_schema(true).with_target_partitions(2);
    SessionContext::new_with_config(config)
}

async fn run_stock(context: &SessionContext, sql: &str) -> Result<Answer, String> {
    let work = async {
        let frame = context.sql(sql).await.map_err(|e| e.to_string())?;
        let batches = frame.collect().await.map_err(|e| e.to_string())?;
        Answer::of(&batches)
    };
    match tokio::time::timeout(STATEMENT_LIMIT, std::panic::AssertUnwindSafe(work).catch_unwind()).await {
        Ok(Ok(result)) => result,
        Ok(Err(payload)) => Err(format!("PANIC: {}", panic_text(payload.as_ref()))),
        Err(_) => Err("HANG".into()),
    }
}

async fn run_fused(session: &fuseline::Session, sql: &str) -> Result<(Answer, bool), String> {
    match tokio::time::timeout(STATEMENT_LIMIT, suites::run(session, sql)).await {
        Ok(outcome) => {
            let outcome = outcome?;
            let fused = Operators::of(outcome.plan.as_ref()).fused > 0;
            Ok((Answer::of(&outcome.batches)?, fused))
        }
        Err(_) => Err("HANG".into()),
    }
}

/// SQL with the paths of DataFusion's own source tree replaced by those of the suites, and its scratch
/// folder by one of our own (each side writes its own files).
fn rewritten(sql: &str, suites_root: &Path, scratch: &Path) -> String {
    let slt = suites_root.join("datafusion-slt");
    let pairs = [
        ("test_files/scratch", scratch.display().to_string()),
        ("../core/tests/", slt.join("refdata/core/tests/").display().to_string()),
        ("../datasource-arrow/tests/", slt.join("refdata/datasource-arrow/tests/").display().to_string()),
        ("../../parquet-testing/", suites_root.join("parquet-testing/").display().to_string()),
        ("../../testing/", suites_root.join("arrow-testing/").display().to_string()),
        ("'data/", format!("'{}", slt.join("data/").display())),
    ];
    let mut sql = sql.to_string();
    for (from, to) in pairs {
        // `join` with a final slash keeps it; the scratch path has none, as its pattern has none.
        sql = sql.replace(from, &to);
    }
    sql
}

/// First keyword of a statement, in capitals.
fn keyword(sql: &str) -> String {
    sql.trim_start_matches(|c: char| c == '(' || c.is_whitespace())
        .chars()
        .take_while(|c| c.is_alphabetic())
        .collect::<String>()
        .to_uppercase()
}

async fn run_file(path: &Path, name: &str, suites_root: &Path) -> Tally {
    let mut tally = Tally::default();
    let Ok(records) = sqllogictest::parse_file::<DefaultColumnType>(path) else {
        tally.differences.push(format!("{name}: not a valid .slt file"));
        return tally;
    };
    let scratch = tempfile::tempdir().expect("a scratch folder");
    let sides = [scratch.path().join("stock"), scratch.path().join("fused")];
    for side in &sides {
        // Files of the suite expect scratch/<file name>/ to be there.
        let stem = path.file_stem().expect("a file name");
        std::fs::create_dir_all(side.join(stem)).expect("a scratch folder");
    }
    let context = stock();
    let session = suites::session("force", 2, 8192);
    for record in records {
        let (sql, is_query, loc) = match record {
            Record::Statement { sql, loc, .. } => (sql, false, loc),
            Record::Query { sql, loc, .. } => (sql, true, loc),
            Record::Halt { .. } => break,
            _ => continue,
        };
        // Plan texts and listings of settings and functions are not answers.
        if matches!(keyword(&sql).as_str(), "EXPLAIN" | "SHOW" | "DESCRIBE")
            || sql.contains("information_schema")
        {
            continue;
        }
        tally.statements += 1;
        tally.queries += usize::from(is_query);
        let stock_sql = rewritten(&sql, suites_root, &sides[0]);
        let fused_sql = rewritten(&sql, suites_root, &sides[1]);
        let expected = run_stock(&context, &stock_sql).await;
        let actual = run_fused(&session, &fused_sql).await;
        let at = || format!("{name}:{}: {}", loc.line(), sql.replace('\n', " "));
        match (expected, actual) {
            (Err(stock), Err(fused)) => {
                if fused.contains("PANIC") && !stock.contains("PANIC") || fused == "HANG" {
                    tally.differences.push(format!("{}\n    {fused}", at()));
                }
                tally.both_reject += 1;
            }
            (Err(stock), Ok((_, fused))) => {
                tally.fused += usize::from(fused && is_query);
                tally.lenient.push(format!("{}\n    stock: {}", at(), one_line(&stock)));
            }
            (Ok(_), Err(fused)) => {
                tally.differences.push(format!("{}\n    fuseline rejects: {}", at(), one_line(&fused)))
            }
            (Ok(expected), Ok((actual, fused))) => {
                tally.fused += usize::from(fused && is_query);
                if !is_query {
                    continue;
                }
                let ordered = sql.to_uppercase().contains("ORDER BY");
                match compare(expected, actual, ordered) {
                    Verdict::Same => {}
                    Verdict::Reordered => tally.reordered += 1,
                    Verdict::Different(what) => {
                        if is_unstable(&context, &session, &stock_sql, &fused_sql).await {
                            tally.unstable += 1;
                        } else if !justified(name, &sql) {
                            tally
                                .differences
                                .push(format!("{}\n    stock and fuseline (fused: {fused}): {what}", at()));
                        }
                    }
                }
            }
        }
    }
    tally
}

fn justified(name: &str, sql: &str) -> bool {
    JUSTIFIED.iter().any(|(file, part, _)| name.ends_with(file) && sql.contains(part))
}

/// Whether stock disagrees with itself on the query, or agrees with fuseline when both run again.
async fn is_unstable(
    context: &SessionContext,
    session: &fuseline::Session,
    stock_sql: &str,
    fused_sql: &str,
) -> bool {
    for _ in 0..3 {
        let (Ok(first), Ok(second)) =
            (run_stock(context, stock_sql).await, run_stock(context, stock_sql).await)
        else {
            return true;
        };
        if compare(first, second, false) != Verdict::Same {
            return true;
        }
        let (Ok(stock), Ok((fused, _))) =
            (run_stock(context, stock_sql).await, run_fused(session, fused_sql).await)
        else {
            return false;
        };
        if compare(stock, fused, false) == Verdict::Same {
            return true;
        }
    }
    false
}

fn one_line(text: &str) -> String {
    text.replace('\n', " ").chars().take(300).collect()
}

/// Every .slt file under `dir`, sorted, by path relative to it.
fn slt_files(dir: &Path, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<_> = std::fs::read_dir(dir)
        .expect("a folder of the suite")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            slt_files(&path, found);
        } else if path.extension().is_some_and(|e| e == "slt") {
            found.push(path);
        }
    }
}

/// Runs `files` on two workers and prints the report; returns the differences.
fn run_all(suite: &str, root: &Path, files: &[PathBuf]) -> (Tally, BTreeMap<String, usize>) {
    let suites_root = root.ancestors().find(|p| p.join("datafusion-slt").is_dir());
    let suites_root = suites_root.expect("the suites' root");
    let next = AtomicUsize::new(0);
    let total = Mutex::new((Tally::default(), BTreeMap::new()));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let runtime = suites::runtime();
                while let Some(path) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let name = path.strip_prefix(root).expect("below the root").display().to_string();
                    let (path, root) = (path.clone(), suites_root.to_path_buf());
                    let task_name = name.clone();
                    let task = runtime.spawn(async move { run_file(&path, &task_name, &root).await });
                    let tally = runtime.block_on(task).expect("the file's task ended");
                    let mut total = total.lock().expect("no panic holds the lock");
                    if !tally.differences.is_empty() {
                        total.1.insert(name, tally.differences.len());
                    }
                    total.0.add(tally);
                }
            });
        }
    });
    let (total, by_file) = total.into_inner().expect("no panic holds the lock");
    println!(
        "{suite}: {} files, {} statements, {} queries of which {} ran with a fused stage; \
         both reject {}, only stock rejects {}, unstable {}, reordered {}, different {}",
        files.len(),
        total.statements,
        total.queries,
        total.fused,
        total.both_reject,
        total.lenient.len(),
        total.unstable,
        total.reordered,
        total.differences.len(),
    );
    for line in &total.lenient {
        println!("  only stock rejects {line}");
    }
    for (file, count) in &by_file {
        println!("  {file}: {count} differ");
    }
    for line in &total.differences {
        println!("  differs {line}");
    }
    (total, by_file)
}

/// Keeps the files of the short form, or all of them.
fn select(files: &mut Vec<PathBuf>) {
    if !suites::nightly() {
        let mut number = 0;
        files.retain(|_| {
            number += 1;
            number % EVERY == 0
        });
    }
}

#[test]
fn duckdb_statements_agree_with_stock_datafusion() {
    let Some(dir) = suites::folder("duckdb-portable") else {
        return;
    };
    let mut files = Vec::new();
    slt_files(&dir, &mut files);
    select(&mut files);
    let (total, by_file) = run_all("duckdb-portable", &dir, &files);
    assert!(total.queries >= 100, "only {} queries ran", total.queries);
    assert!(total.fused * 100 >= total.queries, "hardly anything fused");
    assert!(by_file.is_empty(), "{} statements differ, see above", total.differences.len());
}

#[test]
fn datafusion_statements_agree_with_stock_datafusion() {
    let Some(dir) = suites::folder("datafusion-slt") else {
        return;
    };
    let dir = dir.join("test_files");
    let mut files = Vec::new();
    slt_files(&dir, &mut files);
    // spark/ needs functions that neither side registers, tpch/ has its own test.
    files.retain(|path| {
        let name = path.strip_prefix(&dir).expect("below the root");
        !name.starts_with("spark") && !name.starts_with("tpch")
    });
    select(&mut files);
    let (total, by_file) = run_all("datafusion-slt", &dir, &files);
    assert!(total.fused * 100 >= total.queries, "hardly anything fused");
    assert!(by_file.is_empty(), "{} statements differ, see above", total.differences.len());
}
