//! Corrupt and fuzzed Parquet, Arrow, CSV and JSON files: no panic, abort or hang; accepted or rejected
//! as stock DataFusion does, with the same rows; and the error names the file.
//!
//! A file may kill or hang the process that reads it, so the reading is done by child processes: this
//! test binary started again for its ignored test `reader`, one child per side (stock, fuseline). A
//! child prints a line before and after each file; the parent puts a limit on the time between them and
//! starts a new child behind the file that killed one.
//!
//! Files without an extension that tells their format are read through links that have one.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use datafusion::common::config::TableOptions;
use datafusion::execution::SessionStateBuilder;
use datafusion::prelude::{SessionConfig, SessionContext};
use futures::FutureExt;

use crate::answers::Answer;
use crate::suites::{self, panic_text};

/// Reading one file may take this long before it counts as a hang: some files make the Arrow reader
/// allocate a gigabyte or two, which takes seconds where other tests run beside it.
const FILE_LIMIT: Duration = Duration::from_secs(30);

/// Environment variables by which the parent tells a child what to read.
const LIST: &str = "FUSELINE_BADFILES_LIST";
const SIDE: &str = "FUSELINE_BADFILES_SIDE";
const FROM: &str = "FUSELINE_BADFILES_FROM";

/// What reading one file came to.
#[derive(Clone, Debug, PartialEq)]
enum Fate {
    /// A digest of the rows, whatever their order.
    Rows(String),
    Error(String),
    Panic(String),
    Abort,
    Hang,
}

/// The folders, which of their files to take, and the extension under which they are read.
const SOURCES: &[(&str, &[&str], &str)] = &[
    ("parquet-testing/bad_data", &["parquet"], "parquet"),
    ("arrow-testing/data/parquet/fuzzing", &["", "fuzz"], "parquet"),
    ("arrow-testing/data/parquet/encoding-fuzzing", &[""], "parquet"),
    ("arrow-testing/data/arrow-ipc-stream", &["", "fuzz", "stream", "arrow_file"], "arrow"),
    ("arrow-testing/data/arrow-ipc-file", &["", "fuzz"], "arrow"),
    ("arrow-testing/data/arrow-ipc-tensor-stream", &["", "fuzz"], "arrow"),
    ("arrow-testing/data/csv/fuzzing", &["", "fuzz"], "csv"),
    ("duckdb-badfiles", &["parquet"], "parquet"),
    ("duckdb-badfiles", &["json", "ndjson"], "json"),
    ("duckdb-csv", &["csv", "tsv"], "csv"),
];

fn collect_files(dir: &Path, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<_> = std::fs::read_dir(dir)
        .expect("a folder of the suite")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            collect_files(&path, found);
        } else {
            found.push(path);
        }
    }
}

/// Links to every file of the sources, named `<number>-<stem>.<extension>`.
fn link_files(root: &Path, links: &Path) -> Vec<PathBuf> {
    let mut linked = Vec::new();
    for (folder, extensions, read_as) in SOURCES {
        let mut files = Vec::new();
        collect_files(&root.join(folder), &mut files);
        for file in files {
            let extension = file.extension().unwrap_or_default().to_string_lossy();
            if !extensions.contains(&extension.as_ref()) {
                continue;
            }
            let stem = file.file_stem().expect("a file name").to_string_lossy().into_owned();
            let link = links.join(format!("{:04}-{stem}.{read_as}", linked.len()));
            std::os::unix::fs::symlink(&file, &link).expect("a link");
            linked.push(link);
        }
    }
    linked
}

/// Reads every file of `list` on one side, in children that may die.
fn read_all(list: &Path, count: usize, side: &str) -> Vec<Fate> {
    let mut fates: Vec<Fate> = Vec::new();
    while fates.len() < count {
        let mut child = Command::new(std::env::current_exe().expect("the test binary"))
            .args(["--exact", "badfiles::reader", "--ignored", "--nocapture", "--test-threads=1"])
            .env(LIST, list)
            .env(SIDE, side)
            .env(FROM, fates.len().to_string())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("a child starts");
        let stdout = child.stdout.take().expect("its output is piped");
        let (send, receive) = mpsc::channel();
        let pump = std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if send.send(line).is_err() {
                    break;
                }
            }
        });
        let mut reading = false;
        loop {
            match receive.recv_timeout(FILE_LIMIT) {
                Ok(line) => {
                    // The test harness may print its own words before ours on the same line.
                    if line.contains("@start") {
                        reading = true;
                    } else if let Some((_, rest)) = line.split_once("@rows ") {
                        fates.push(Fate::Rows(rest.into()));
                        reading = false;
                    } else if let Some((_, rest)) = line.split_once("@error ") {
                        fates.push(Fate::Error(rest.into()));
                        reading = false;
                    } else if let Some((_, rest)) = line.split_once("@panic ") {
                        fates.push(Fate::Panic(rest.into()));
                        reading = false;
                    }
                }
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    fates.push(Fate::Hang);
                    break;
                }
                Err(mpsc::RecvTimeoutError::Disconnected) => {
                    if reading {
                        fates.push(Fate::Abort);
                    }
                    break;
                }
            }
        }
        // It has ended, or it hangs: either way it goes.
        let _ = child.kill();
        child.wait().expect("the child is gone");
        pump.join().expect("the pipe is drained");
    }
    fates
}

/// DataFusion as it comes, but for the rows from which it infers types: as many as fuseline takes.
fn stock() -> SessionContext {
    let mut options = TableOptions::new();
    options.csv.schema_infer_max_rec = Some(10_000);
    options.json.schema_infer_max_rec = Some(10_000);
    let state = SessionStateBuilder::new()
        .with_default_features()
        .with_config(SessionConfig::new().with_target_partitions(2))
        .with_table_options(options)
        .build();
    SessionContext::new_with_state(state).enable_url_table()
}

/// The SQL side of a child: stock DataFusion or fuseline.
enum Side {
    Stock(SessionContext),
    Fused(fuseline::Session),
}

impl Side {
    async fn answer(&self, sql: &str) -> Result<Answer, String> {
        match self {
            Side::Stock(context) => {
                let frame = context.sql(sql).await.map_err(|e| e.to_string())?;
                Answer::of(&frame.collect().await.map_err(|e| e.to_string())?)
            }
            Side::Fused(session) => {
                let query = session.sql(sql).await.map_err(|e| e.to_string())?;
                Answer::of(&query.collect().await.map_err(|e| e.to_string())?)
            }
        }
    }

    /// All columns as they are; then a filter and counts over the first ones, which is what fuses.
    async fn digest(&self, path: &Path) -> Result<String, String> {
        let all = self.answer(&format!("select * from '{}'", path.display())).await?;
        let columns: Vec<String> =
            all.names.iter().take(4).map(|name| format!("\"{}\"", name.replace('"', "\"\""))).collect();
        let counted = match columns.first() {
            None => 0,
            Some(first) => {
                let counts: Vec<String> = columns.iter().map(|c| format!("count({c})")).collect();
                let sql = format!(
                    "select count(*), {} from '{}' where {first} is not null",
                    counts.join(", "),
                    path.display()
                );
                digest(&self.answer(&sql).await?)
            }
        };
        Ok(format!("{} {:016x} {counted:016x}", all.rows.len(), digest(&all)))
    }
}

/// A sum of row hashes (FNV-1a): the same whatever the order of rows.
fn digest(answer: &Answer) -> u64 {
    answer.rows.iter().fold(0u64, |sum, row| {
        let mut hash = 0xcbf2_9ce4_8422_2325u64;
        for byte in row.iter().flat_map(|cell| cell.text.bytes().chain([0xff])) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        }
        sum.wrapping_add(hash)
    })
}

#[test]
#[ignore = "the child process of bad_files_meet_the_fate_they_meet_in_stock_datafusion"]
fn reader() {
    let Some(list) = std::env::var_os(LIST) else {
        return;
    };
    let from: usize = std::env::var(FROM).expect("where to start").parse().expect("a number");
    let side = match std::env::var(SIDE).expect("a side").as_str() {
        "stock" => Side::Stock(stock()),
        "fused" => Side::Fused(suites::session("force", 2, 8192)),
        other => panic!("no side {other}"),
    };
    let runtime = suites::runtime();
    for path in std::fs::read_to_string(list).expect("the list").lines().skip(from) {
        println!("\n@start {path}");
        let work = std::panic::AssertUnwindSafe(side.digest(Path::new(path))).catch_unwind();
        match runtime.block_on(work) {
            Ok(Ok(rows)) => println!("\n@rows {rows}"),
            Ok(Err(error)) if error.contains("panicked") || error.contains("panic in") => {
                println!("\n@panic {}", error.replace(['\n', '\r'], " "))
            }
            Ok(Err(error)) => println!("\n@error {}", error.replace(['\n', '\r'], " ")),
            Err(payload) => println!("\n@panic {}", panic_text(payload.as_ref())),
        }
    }
}

#[test]
fn bad_files_meet_the_fate_they_meet_in_stock_datafusion() {
    let Some(probe) = suites::folder("arrow-testing") else {
        return;
    };
    let root = probe.parent().expect("the suites' root").to_path_buf();
    let folder = tempfile::tempdir().expect("a folder for links");
    let files = link_files(&root, folder.path());
    let list = folder.path().join("list.txt");
    let lines: Vec<String> = files.iter().map(|f| f.display().to_string()).collect();
    std::fs::write(&list, lines.join("\n")).expect("the list");

    let (stock, fused) = std::thread::scope(|scope| {
        let stock = scope.spawn(|| read_all(&list, files.len(), "stock"));
        let fused = read_all(&list, files.len(), "fused");
        (stock.join().expect("stock's side ended"), fused)
    });

    let mut problems = Vec::new();
    let (mut rejected, mut stock_faults) = (0, 0);
    for ((file, stock), fused) in files.iter().zip(&stock).zip(&fused) {
        let name = file.file_name().expect("a file name").to_string_lossy();
        if matches!(stock, Fate::Panic(_) | Fate::Abort | Fate::Hang) {
            stock_faults += 1;
            println!("  stock itself: {name}: {stock:?}");
        }
        match fused {
            Fate::Panic(_) | Fate::Abort | Fate::Hang => {
                problems.push(format!("{name}: {fused:?} (stock: {stock:?})"));
            }
            Fate::Error(text) => {
                rejected += 1;
                if !text.contains(name.as_ref()) {
                    problems.push(format!("{name}: the error does not name the file: {text}"));
                }
                // To DataFusion an empty file is a table without columns, to fuseline a mistake.
                let is_empty = std::fs::metadata(file).is_ok_and(|m| m.len() == 0);
                if matches!(stock, Fate::Rows(_)) && !is_empty {
                    problems.push(format!("{name}: stock accepts it: {text}"));
                }
            }
            Fate::Rows(rows) => match stock {
                Fate::Rows(expected) if rows != expected => {
                    problems.push(format!("{name}: rows {rows}, stock {expected}"));
                }
                Fate::Rows(_) => {}
                Fate::Error(text) => problems.push(format!("{name}: stock rejects it: {text}")),
                // Where stock dies there is nothing to agree with.
                Fate::Panic(_) | Fate::Abort | Fate::Hang => {}
            },
        }
    }
    println!(
        "bad files: {} read, {rejected} rejected, {} problems; stock itself fails on {stock_faults}",
        files.len(),
        problems.len()
    );
    for problem in &problems {
        println!("  {problem}");
    }
    assert!(files.len() > 600, "only {} files found", files.len());
    assert!(rejected > 50, "only {rejected} files rejected: are they read at all?");
    assert!(problems.is_empty(), "{} problems, see above", problems.len());
}
