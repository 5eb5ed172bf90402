//! Runs the binary as a person does and looks at exit code, standard output, standard error and
//! files. What needs no process (sizes, the end of a typed statement) is tested on the source files
//! themselves, so that this test links no DataFusion of its own.

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

#[allow(dead_code, reason = "the test uses only the sizes")]
#[path = "../src/args.rs"]
mod args;
#[path = "../src/complete.rs"]
mod complete;

fn fuseline(args: &[&str]) -> Output {
    command(args).stdin(Stdio::null()).output().expect("the binary runs")
}

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fuseline"));
    command.args(args).env_remove("RUST_BACKTRACE");
    command
}

fn with_input(args: &[&str], input: &str) -> Output {
    let mut child = command(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    child.stdin.take().expect("a pipe").write_all(input.as_bytes()).expect("input is read");
    child.wait_with_output().expect("the binary ends")
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("UTF-8 on standard output")
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("UTF-8 on standard error")
}

/// Standard output of a command that succeeds and says nothing on standard error.
#[track_caller]
fn ok(args: &[&str]) -> String {
    let output = fuseline(args);
    assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(0), ""), "{args:?}");
    stdout(&output)
}

/// Standard error of a command that fails with `code` and writes no result.
#[track_caller]
fn fails(args: &[&str], code: i32) -> String {
    let output = fuseline(args);
    assert_eq!(output.status.code(), Some(code), "{args:?}: {}", stderr(&output));
    assert_eq!(stdout(&output), "", "{args:?}");
    let message = stderr(&output);
    assert!(message.starts_with("error: "), "{args:?}: {message}");
    assert!(!message.contains("panicked"), "{args:?}: {message}");
    message
}

fn files(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .expect("the folder can be read")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

fn scratch() -> (TempDir, impl Fn(&str) -> PathBuf) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().to_path_buf();
    (folder, move |name: &str| path.join(name))
}

const MIXED: &str = "SELECT * FROM (VALUES (1, 'a,b', 1.5), (NULL, 'say \"hi\"', -2.0), (3, '', NULL)) \
                     AS t(n, s, x)";

#[test]
fn table_aligns_numbers_shows_null_and_counts_rows() {
    assert_eq!(
        ok(&[MIXED]),
        "\
\x20n    │ s        │ x
──────┼──────────┼──────
    1 │ a,b      │  1.5
 NULL │ say \"hi\" │ -2.0
    3 │          │ NULL
(3 rows)
"
    );
    assert_eq!(ok(&["select 1 as one"]), " one\n─────\n   1\n(1 row)\n");
}

#[test]
fn table_escapes_control_characters() {
    let table = ok(&["select chr(27) || '[2J' || chr(10) || 'x' as s"]);
    assert!(table.contains("\\u{1b}[2J\\nx"), "{table}");
}

#[test]
fn table_counts_rows_beyond_the_limit() {
    let table = ok(&["--max-rows", "2", "select value from range(0, 5) order by value"]);
    assert_eq!(table, " value\n───────\n     0\n     1\n… 3 more rows\n(5 rows, 2 shown)\n");
    // Without a terminal and without the option every row is there.
    let table = ok(&["select value from range(0, 10000)"]);
    assert_eq!(table.lines().count(), 10_003);
    assert!(table.ends_with("(10000 rows)\n"));
}

#[test]
fn csv_and_tsv_quote_only_what_must_be() {
    assert_eq!(ok(&["--format", "csv", MIXED]), "n,s,x\n1,\"a,b\",1.5\n,\"say \"\"hi\"\"\",-2.0\n3,\"\",\n");
    assert_eq!(
        ok(&["--format", "tsv", MIXED]),
        "n\ts\tx\n1\ta,b\t1.5\n\t\"say \"\"hi\"\"\"\t-2.0\n3\t\"\"\t\n"
    );
}

#[test]
fn json_is_one_array_and_jsonl_one_object_a_line() {
    assert_eq!(
        ok(&["--format", "json", MIXED]),
        "[{\"n\":1,\"s\":\"a,b\",\"x\":1.5},{\"n\":null,\"s\":\"say \\\"hi\\\"\",\"x\":-2.0},\
         {\"n\":3,\"s\":\"\",\"x\":null}]\n"
    );
    assert_eq!(
        ok(&["--format", "jsonl", MIXED]).lines().collect::<Vec<_>>(),
        [
            "{\"n\":1,\"s\":\"a,b\",\"x\":1.5}",
            "{\"n\":null,\"s\":\"say \\\"hi\\\"\",\"x\":-2.0}",
            "{\"n\":3,\"s\":\"\",\"x\":null}"
        ]
    );
    assert_eq!(ok(&["--format", "json", "select 1 as a where false"]), "[]\n");
}

#[test]
fn markdown_aligns_numbers_and_escapes_bars() {
    assert_eq!(
        ok(&["--format", "markdown", "select 1 as n, 'a|b' as s"]),
        "| n | s |\n|---:|---|\n| 1 | a\\|b |\n"
    );
}

#[test]
fn parquet_and_arrow_files_can_be_queried() {
    let (folder, path) = scratch();
    for format in ["parquet", "arrow"] {
        let file = path(&format!("out.{format}"));
        let file = file.to_str().expect("UTF-8");
        let sql = "select value as v, value * 2 as w from range(0, 1000)";
        assert_eq!(ok(&["--format", format, "-o", file, sql]), "");
        let sum = format!("select count(*) as n, sum(v) as v, sum(w) as w from '{file}'");
        assert_eq!(ok(&["--format", "csv", &sum]), "n,v,w\n1000,499500,999000\n");
    }
    assert_eq!(files(folder.path()), ["out.arrow", "out.parquet"]);
}

#[test]
fn arrow_to_a_pipe_is_the_streaming_format() {
    let (_folder, path) = scratch();
    let output = fuseline(&["--format", "arrow", "select value as v from range(0, 10)"]);
    assert_eq!(output.status.code(), Some(0));
    let file = path("piped.arrow");
    fs::write(&file, &output.stdout).expect("written");
    let sql = format!("select sum(v) as v from '{}'", file.display());
    assert_eq!(ok(&["--format", "csv", &sql]), "v\n45\n");
}

#[test]
fn a_binary_file_holds_one_result() {
    let (folder, path) = scratch();
    let file = path("two.parquet");
    let file = file.to_str().expect("UTF-8");
    let message = fails(&["--format", "parquet", "-o", file, "select 1; select 2"], 2);
    assert!(message.contains("one result"), "{message}");
    assert_eq!(files(folder.path()), Vec::<String>::new());
}

#[test]
fn sources_run_in_the_order_given() {
    let (_folder, path) = scratch();
    let script = path("script.sql");
    fs::write(&script, "-- a comment\nselect 2 as b;\nselect 3 as c;\n").expect("written");
    let script = script.to_str().expect("UTF-8");
    let text = ok(&["--format", "csv", "-c", "select 1 as a", "-f", script, "-c", "select 4 as d"]);
    assert_eq!(text, "a\n1\nb\n2\nc\n3\nd\n4\n");
}

#[test]
fn statements_share_a_session_and_commands_print_nothing() {
    let sql = "create table t as select value as v from range(0, 4); set datafusion.execution.batch_size = 100; \
               insert into t values (10); select sum(v) as s from t";
    assert_eq!(ok(&["--format", "csv", sql]), "s\n16\n");
    // Without --format too: no empty table for a command.
    assert_eq!(ok(&["create table t as select 1 as v"]), "");
    // A command that has rows shows them.
    assert!(ok(&["--format", "csv", "show datafusion.execution.batch_size"]).contains("batch_size"));
    assert!(ok(&["--format", "csv", "create table t as select 1 as v; describe t"]).contains("v,Int64"));
}

#[test]
fn standard_input_is_a_script() {
    let output = with_input(&["--format", "csv"], "select 1 as a;\n\nselect 2 as b");
    assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(0), "a\n1\nb\n2\n"));
    let output = with_input(&["--format", "csv", "-f", "-"], "select 1 as a");
    assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(0), "a\n1\n"));
    let output = with_input(&[], "");
    assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(0), ""));
}

#[test]
fn an_error_in_a_script_names_file_and_line() {
    let (_folder, path) = scratch();
    let script = path("script.sql");
    fs::write(&script, "select 1 as a;\n\nselect nosuch\nfrom range(0, 3);\n").expect("written");
    let output = fuseline(&["--format", "csv", "-f", script.to_str().expect("UTF-8")]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(stdout(&output), "a\n1\n", "the statement before ran");
    let message = stderr(&output);
    assert!(message.contains("script.sql:3: "), "{message}");
    assert!(message.contains("nosuch"), "{message}");
    // The parser's own position is one in the file too.
    fs::write(&script, "-- a comment\n\n  select 1 +;\n").expect("written");
    let message = fails(&["-f", script.to_str().expect("UTF-8")], 1);
    assert!(message.contains("line 3"), "{message}");
}

#[test]
fn query_errors_exit_with_1_and_one_message() {
    let message = fails(&["select nosuch from range(0, 3)"], 1);
    assert!(message.contains("nosuch"), "{message}");
    let message = fails(&["selec 1"], 1);
    assert!(message.contains("selec"), "{message}");
    let message = fails(&["select 1 / (value - value) from range(0, 3)"], 1);
    assert!(message.to_lowercase().contains("divi"), "{message}");
    let message = fails(&["select * from 'nosuch.parquet'"], 1);
    assert!(message.contains("nosuch.parquet"), "{message}");
    let message = fails(&["-f", "nosuch.sql"], 1);
    assert!(message.contains("nosuch.sql"), "{message}");
}

#[test]
fn wrong_usage_exits_with_2() {
    for args in [
        &["--nosuch"][..],
        &["--format", "xml", "select 1"],
        &["--threads", "0", "select 1"],
        &["--memory-limit", "much", "select 1"],
        &["--memory-limit", "0", "select 1"],
        &["--set", "novalue", "select 1"],
        &["--set", "fuseline.nosuch=1", "select 1"],
        &["--set", "fuseline.fusion=maybe", "select 1"],
    ] {
        let message = fails(args, 2);
        assert!(message.len() > "error: \n".len(), "{args:?}");
    }
}

#[test]
fn help_and_version_go_to_standard_output() {
    let help = ok(&["--help"]);
    for option in ["--format", "--output", "--set", "--threads", "--memory-limit", "--timing"] {
        assert!(help.contains(option), "{option} is missing in {help}");
    }
    assert_eq!(ok(&["--version"]), format!("fuseline {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn settings_and_threads_reach_the_session() {
    let sql = "select value from information_schema.df_settings \
               where name = 'datafusion.execution.target_partitions'";
    assert_eq!(ok(&["--format", "csv", "--threads", "3", sql]), "value\n3\n");
    let sql = "select value from information_schema.df_settings where name = 'fuseline.fusion'";
    assert_eq!(ok(&["--format", "csv", "--set", "fuseline.fusion=off", sql]), "value\noff\n");
}

#[test]
fn a_memory_limit_is_kept() {
    let sql = "select count(distinct value) as n from range(0, 5000000)";
    let message = fails(&["--memory-limit", "1MB", sql], 1);
    assert!(message.to_lowercase().contains("memory"), "{message}");
}

#[test]
fn timing_goes_to_standard_error() {
    let output = fuseline(&["--timing", "--format", "csv", "select 1 as a"]);
    assert_eq!(stdout(&output), "a\n1\n");
    let line = stderr(&output);
    assert!(line.starts_with("Time: ") && line.ends_with(" s\n"), "{line}");
}

#[test]
fn an_output_file_appears_whole_or_not_at_all() {
    let (folder, path) = scratch();
    let file = path("out.csv");
    let name = file.to_str().expect("UTF-8");
    fs::write(&file, "old").expect("written");
    // Fails in the middle: the rows before were already written to the temporary file.
    let sql = "select 10 / (5 - value) as q from range(0, 100000)";
    fails(&["--format", "csv", "-o", name, &format!("select 1; {sql}")], 1);
    assert_eq!(fs::read_to_string(&file).expect("still there"), "old");
    assert_eq!(files(folder.path()), ["out.csv"], "no temporary file is left");
    assert_eq!(ok(&["--format", "csv", "-o", name, "select 1 as a"]), "");
    assert_eq!(fs::read_to_string(&file).expect("there"), "a\n1\n");
    let message = fails(&["-o", "/nosuch/folder/out.csv", "select 1"], 1);
    assert!(message.contains("/nosuch/folder/out.csv"), "{message}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_one_message() {
    let message = fails(&["--format", "csv", "-o", "/dev/full", "select value from range(0, 100000)"], 1);
    assert!(message.contains("/dev/full") && message.contains("space"), "{message}");
}

#[test]
fn a_reader_that_leaves_ends_the_query_silently() {
    let started = Instant::now();
    let mut child = command(&["--format", "csv", "select value from range(0, 10000000000)"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let mut some = [0; 64];
    child.stdout.take().expect("a pipe").read_exact(&mut some).expect("rows are streamed");
    assert!(some.starts_with(b"value\n0\n1\n"), "{some:?}");
    let output = child.wait_with_output().expect("the binary ends");
    assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(0), ""));
    assert!(started.elapsed() < Duration::from_secs(20), "it did not stop");
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_a_query_and_leaves_no_file() {
    let (folder, path) = scratch();
    let file = path("out.csv");
    let child = command(&["--format", "csv", "-o", file.to_str().expect("UTF-8")])
        .arg("select value, sin(value) as s from range(0, 100000000000) where value % 1000 = 7")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    // Wait until it writes, so that the signal meets a running query.
    let started = Instant::now();
    while files(folder.path()).is_empty() {
        assert!(started.elapsed() < Duration::from_secs(20), "nothing is written");
        std::thread::sleep(Duration::from_millis(20));
    }
    std::thread::sleep(Duration::from_millis(200));
    let signalled = Instant::now();
    let status = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(status.expect("kill runs").success());
    let output = child.wait_with_output().expect("the binary ends");
    assert!(signalled.elapsed() < Duration::from_secs(2), "it took {:?}", signalled.elapsed());
    assert_eq!(output.status.code(), Some(130));
    assert_eq!(stderr(&output), "error: interrupted\n");
    assert_eq!(files(folder.path()), Vec::<String>::new());
}

#[test]
fn explain_prints_the_plan_as_it_is() {
    let plan = ok(&["explain select value + 1 from range(0, 10) where value > 3"]);
    assert!(!plan.contains("│") && !plan.contains("rows)"), "{plan}");
    assert!(plan.lines().count() > 1, "{plan}");
}

#[test]
fn sizes() {
    assert_eq!(args::parse_size("512MB"), Ok(512_000_000));
    assert_eq!(args::parse_size("2GiB"), Ok(2 << 30));
    assert_eq!(args::parse_size("1.5 k"), Ok(1536));
    assert_eq!(args::parse_size("77"), Ok(77));
    for wrong in ["", "MB", "-1MB", "1XB", "1e30TB", "0"] {
        assert!(args::parse_size(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn a_statement_is_complete_at_its_semicolon() {
    for whole in [
        "",
        "  \n",
        "select 1;",
        "select 1; -- done",
        "select ';' || 'it''s';",
        "select \"a;\";  /* x */ ",
        "create function f() as $$ a;\n b; $$;",
    ] {
        assert!(complete::is_complete(whole), "{whole}");
    }
    for part in [
        "select 1",
        "select ';",
        "select 1 -- ;",
        "select \"a;",
        "select 1; select 2",
        "/* /* ; */ ;",
        "create function f() as $$ a;",
    ] {
        assert!(!complete::is_complete(part), "{part}");
    }
}
