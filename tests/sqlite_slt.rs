//! SQLite's sqllogictest (9,034 queries written by nobody in this project) with fusion forced.
//!
//! Expected results are SQLite's. Stock DataFusion passes 7,071, rejects the rest (mostly correlated
//! subqueries) and gets none wrong; `core-rejects-datafusion55.tsv` lists what it rejects. fuseline must
//! pass at least as many, get none wrong, and reject nothing that stock accepts. Because the tables hold
//! 3 to 1,000 rows, the batch size is tiny, so that stages see several batches and partial chunks.
//!
//! Two workers share every file: both run all statements, and they take turns at the queries.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use async_trait::async_trait;
use fuseline::Session;
use sqllogictest::{AsyncDB, DBOutput, DefaultColumnType, QueryExpect, Record, Runner, TestErrorKind};

use crate::suites::{self, Operators};

const WORKERS: usize = 2;

/// Rows per batch: small enough that every table spans several batches.
const BATCH_ROWS: usize = 7;

/// Stock DataFusion 55's passes over core.
const STOCK_PASSES: usize = 7_071;

/// Least share of result queries (percent) whose plan holds a fused stage.
const FUSED_FLOOR_PERCENT: usize = 95;

/// An error text in the shape the runner wants.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Rejected(String);

/// One connection of the runner: a session, and what the driver and the loop below tell each other.
struct Connection {
    session: Arc<Session>,
    wire: Arc<Mutex<Wire>>,
}

#[derive(Default)]
struct Wire {
    /// Type letters of the query about to run, by which its values are formatted.
    letters: Vec<char>,
    /// Operators in the plan of the query that ran last.
    operators: Operators,
}

#[async_trait]
impl AsyncDB for Connection {
    type Error = Rejected;
    type ColumnType = DefaultColumnType;

    async fn run(&mut self, sql: &str) -> Result<DBOutput<DefaultColumnType>, Rejected> {
        let outcome = suites::run(&self.session, sql).await.map_err(Rejected)?;
        let mut wire = self.wire.lock().expect("no panic holds the lock");
        wire.operators = Operators::of(outcome.plan.as_ref());
        let mut rows = Vec::new();
        for batch in &outcome.batches {
            let columns: Vec<Vec<String>> = batch
                .columns()
                .iter()
                .enumerate()
                .map(|(i, column)| cells(column, wire.letters.get(i).copied().unwrap_or('T')))
                .collect();
            rows.extend(
                (0..batch.num_rows())
                    .map(|row| columns.iter().map(|column| column[row].clone()).collect::<Vec<_>>()),
            );
        }
        let types = vec![DefaultColumnType::Any; wire.letters.len()];
        Ok(DBOutput::Rows { types, rows })
    }

    async fn shutdown(&mut self) {}
}

/// A column's values as SQLite's own runner prints them under a type letter: `I` as an integer, `R` with
/// three decimals, `T` as text where an empty string reads `(empty)`; NULL everywhere as `NULL`.
fn cells(column: &ArrayRef, letter: char) -> Vec<String> {
    match letter {
        'I' => {
            let numbers = match column.data_type() {
                // SQLite truncates towards zero, as a cast does; text counts as 0 unless it is a number.
                DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8 => {
                    cast(&cast(column, &DataType::Float64).expect("text to float"), &DataType::Int64)
                        .expect("float to int")
                }
                _ => cast(column, &DataType::Int64).expect("a number under type I"),
            };
            let numbers = numbers.as_primitive::<Int64Type>();
            (0..column.len())
                .map(|row| {
                    if column.is_null(row) {
                        "NULL".into()
                    } else if numbers.is_null(row) {
                        "0".into()
                    } else {
                        numbers.value(row).to_string()
                    }
                })
                .collect()
        }
        'R' => {
            let numbers = cast(column, &DataType::Float64).expect("a number under type R");
            let numbers = numbers.as_primitive::<Float64Type>();
            (0..column.len())
                .map(
                    |row| {
                        if numbers.is_null(row) {
                            "NULL".into()
                        } else {
                            format!("{:.3}", numbers.value(row))
                        }
                    },
                )
                .collect()
        }
        _ => {
            let options = FormatOptions::default();
            let format = ArrayFormatter::try_new(column, &options).expect("a printable column");
            (0..column.len())
                .map(|row| {
                    if column.is_null(row) {
                        return "NULL".into();
                    }
                    let text = match column.as_boolean_opt() {
                        Some(booleans) => i32::from(booleans.value(row)).to_string(),
                        None => format.value(row).to_string(),
                    };
                    if text.is_empty() { "(empty)".into() } else { text }
                })
                .collect()
        }
    }
}

/// What running some queries came to.
#[derive(Default)]
struct Tally {
    passed: usize,
    fused: usize,
    /// File, line, message.
    wrong: Vec<String>,
    /// File stem and the first characters of the SQL, as the list of stock's rejects has them.
    rejected: Vec<(String, String)>,
}

impl Tally {
    fn add(&mut self, other: Tally) {
        self.passed += other.passed;
        self.fused += other.fused;
        self.wrong.extend(other.wrong);
        self.rejected.extend(other.rejected);
    }
}

/// SQL as the reject list has it: one line, its first 119 characters.
fn list_key(sql: &str) -> String {
    let start: String = sql.replace(['\n', '\t'], " ").chars().take(119).collect();
    start.trim_end().to_owned()
}

/// Runs one file: every statement, and this worker's share of the queries.
async fn run_file(path: &Path, worker: usize) -> Tally {
    let stem = path.file_stem().expect("a file name").to_string_lossy().into_owned();
    let records = sqllogictest::parse_file::<DefaultColumnType>(path).expect("a valid .slt file");
    let wire = Arc::new(Mutex::new(Wire::default()));
    let session = Arc::new(suites::session("force", 2, BATCH_ROWS));
    let mut runner = Runner::new({
        let wire = Arc::clone(&wire);
        move || {
            let connection = Connection { session: Arc::clone(&session), wire: Arc::clone(&wire) };
            async move { Ok(connection) }
        }
    });
    // SQLite's own runner hashes longer results than this unless a file says otherwise.
    runner.with_hash_threshold(8);
    let mut tally = Tally::default();
    let mut number = 0;
    for record in records {
        let Record::Query { sql, expected, loc, .. } = &record else {
            let outcome = runner.run_async(record.clone()).await;
            if let Err(error) = outcome {
                tally.wrong.push(format!("{stem}: a statement failed: {error}"));
            }
            continue;
        };
        number += 1;
        if number % WORKERS != worker {
            continue;
        }
        let QueryExpect::Results { types, .. } = expected else {
            panic!("{stem}: core holds only queries with results");
        };
        let letters = types.iter().map(sqllogictest::ColumnType::to_char).collect();
        *wire.lock().expect("no panic holds the lock") = Wire { letters, operators: Operators::default() };
        let (sql, line) = (sql.clone(), loc.line());
        match runner.run_async(record).await {
            Ok(_) => tally.passed += 1,
            Err(error) => match error.kind() {
                TestErrorKind::Fail { err, .. } if !err.to_string().contains("PANIC") => {
                    tally.rejected.push((stem.clone(), list_key(&sql)));
                    if std::env::var_os("FUSELINE_SHOW_REJECTS").is_some() {
                        println!("{stem}:{line} {err} {sql}");
                    }
                }
                other => tally.wrong.push(format!("{stem}:{line}: {other}")),
            },
        }
        tally.fused += usize::from(wire.lock().expect("no panic holds the lock").operators.fused > 0);
    }
    tally
}

/// How often stock DataFusion rejects each (file stem, start of SQL).
fn stock_rejects(list: &Path) -> HashMap<(String, String), usize> {
    let mut rejects = HashMap::new();
    for line in std::fs::read_to_string(list).expect("the reject list").lines() {
        let mut fields = line.splitn(4, '\t');
        let file = Path::new(fields.next().expect("a file"));
        let sql = fields.nth(2).expect("a query");
        let stem = file.file_stem().expect("a file name").to_string_lossy().into_owned();
        *rejects.entry((stem, list_key(sql))).or_default() += 1;
    }
    rejects
}

#[test]
fn core_passes_at_least_what_stock_datafusion_passes() {
    let Some(dir) = suites::folder("sqlite-slt") else {
        return;
    };
    let mut files: Vec<PathBuf> = std::fs::read_dir(dir.join("core"))
        .expect("core/")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.sort();

    let mut total = Tally::default();
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS)
            .map(|worker| {
                let files = &files;
                scope.spawn(move || {
                    let runtime = suites::runtime();
                    let mut tally = Tally::default();
                    for file in files {
                        // On a worker of the runtime: its stack is deep enough for 64-way joins.
                        let (file, begin) = (file.clone(), Instant::now());
                        let name = file.display().to_string();
                        let one = runtime.spawn(async move { run_file(&file, worker).await });
                        tally.add(runtime.block_on(one).expect("the file's task ended"));
                        println!("  {name}, half {worker}: {:.0} s", begin.elapsed().as_secs_f64());
                    }
                    tally
                })
            })
            .collect();
        for worker in workers {
            total.add(worker.join().expect("a worker ended"));
        }
    });

    let ran = total.passed + total.wrong.len();
    println!(
        "sqlite-slt/core: {} passed, {} wrong, {} rejected; {} of {ran} ran with a fused stage ({} %)",
        total.passed,
        total.wrong.len(),
        total.rejected.len(),
        total.fused,
        total.fused * 100 / ran.max(1),
    );
    assert!(total.wrong.is_empty(), "{} wrong:\n{}", total.wrong.len(), first(&total.wrong));

    let mut allowed = stock_rejects(&dir.join("core-rejects-datafusion55.tsv"));
    let mut extra = Vec::new();
    for (stem, sql) in total.rejected {
        let left = allowed.entry((stem.clone(), sql.clone())).or_default();
        match left.checked_sub(1) {
            Some(rest) => *left = rest,
            None => extra.push(format!("{stem}: {sql}")),
        }
    }
    assert!(extra.is_empty(), "rejected, but stock accepts:\n{}", first(&extra));
    assert!(total.passed >= STOCK_PASSES, "{} passed, stock {STOCK_PASSES}", total.passed);
    assert!(
        total.fused * 100 >= FUSED_FLOOR_PERCENT * ran,
        "only {} of {ran} queries ran with a fused stage",
        total.fused
    );
}

/// The first few of many lines.
fn first(lines: &[String]) -> String {
    lines.iter().take(5).cloned().collect::<Vec<_>>().join("\n---\n")
}
