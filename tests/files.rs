//! Files straight in FROM, and COPY that writes them back: formats, compression, globs, folders, and
//! what is said when a file is missing, damaged or ragged.

use std::fs;
use std::path::{Path, PathBuf};

use fuseline::{Error, Session};

use crate::session::{fails, rows, run};

struct Folder {
    folder: tempfile::TempDir,
    session: Session,
}

impl Folder {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), session: Session::builder().threads(2).build().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    /// Runs `sql` with `@` standing for the folder.
    async fn rows(&self, sql: &str) -> Vec<String> {
        rows(&self.session, &self.at(sql)).await
    }

    async fn run(&self, sql: &str) {
        run(&self.session, &self.at(sql)).await;
    }

    /// The message of a failure, with the folder replaced by `@`.
    async fn fails(&self, sql: &str) -> String {
        let error = fails(&self.session, &self.at(sql)).await;
        error.to_string().replace(&self.at("@"), "@")
    }

    fn at(&self, sql: &str) -> String {
        sql.replace('@', self.folder.path().to_str().unwrap())
    }

    /// All names in the folder, hidden ones too.
    fn names(&self) -> Vec<String> {
        names(self.folder.path())
    }
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[tokio::test]
async fn every_format_and_compression_goes_out_and_in() {
    let f = Folder::new();
    f.run("CREATE TABLE t AS SELECT value AS a, value / 2.0 AS b, 'x,\"' || value AS c FROM range(0, 3000)")
        .await;
    let wanted = f.rows("SELECT count(*), sum(a), sum(b), min(c), max(c) FROM t").await;
    let names = [
        "x.parquet",
        "x.csv",
        "x.csv.gz",
        "x.csv.zst",
        "x.csv.bz2",
        "x.csv.xz",
        "x.tsv",
        "x.tsv.gz",
        "x.json",
        "x.jsonl",
        "x.ndjson.gz",
        "x.json.zst",
        "x.arrow",
        "x.feather",
        "x.ipc",
        "x.pq",
    ];
    for name in names {
        assert_eq!(f.rows(&format!("COPY t TO '@/{name}'")).await, ["3000"], "{name}");
        let got = f.rows(&format!("SELECT count(*), sum(a), sum(b), min(c), max(c) FROM '@/{name}'")).await;
        assert_eq!(got, wanted, "{name}");
    }
    assert!(fs::read(f.path("x.csv.gz")).unwrap().starts_with(&[0x1f, 0x8b]));
    assert!(fs::read(f.path("x.csv.zst")).unwrap().starts_with(&[0x28, 0xb5, 0x2f, 0xfd]));
    assert!(fs::read_to_string(f.path("x.tsv")).unwrap().starts_with("a\tb\tc\n0\t"));
    // Only what was asked for is in the folder.
    let mut all = names.map(String::from).to_vec();
    all.sort();
    assert_eq!(f.names(), all);
}

#[tokio::test]
async fn arrow_streams() {
    use fuseline::arrow::ipc::writer::StreamWriter;
    let f = Folder::new();
    let (schema, batch) = crate::session::ints("a", vec![1, 2, 3]);
    for name in ["s.arrows", "s.arrow", "s.ipc"] {
        let file = fs::File::create(f.path(name)).unwrap();
        let mut writer = StreamWriter::try_new(file, &schema).unwrap();
        writer.write(&batch).unwrap();
        writer.finish().unwrap();
        assert_eq!(f.rows(&format!("SELECT sum(a) FROM '@/{name}'")).await, ["6"], "{name}");
    }
    assert_eq!(f.rows("SELECT sum(a) FROM '@/*.arrow*'").await, ["12"]);
    f.run("COPY (SELECT 1 AS a) TO '@/t.arrow'").await;
    assert_eq!(
        f.fails("SELECT * FROM '@/?.arrow'").await,
        "@/t.arrow: Arrow IPC files and IPC streams cannot be read as one table; write a glob that names one kind"
    );
    assert!(f.fails("COPY (SELECT 1 AS a) TO '@/x.arrows'").await.contains("not streams"));
}

#[tokio::test]
async fn globs_and_folders() {
    let f = Folder::new();
    f.write("d/a1.csv", "x\n1\n");
    f.write("d/a2.csv", "x\n2\n");
    f.write("d/b.csv", "x\n10\n");
    f.write("d/sub/c.csv", "x\n100\n");
    f.write("d/.hidden.csv", "x\n1000\n");
    f.write("d/_SUCCESS", "");
    f.write("d/README", "not data");
    assert_eq!(f.rows("SELECT sum(x) FROM '@/d/a*.csv'").await, ["3"]);
    assert_eq!(f.rows("SELECT sum(x) FROM '@/d/a?.csv'").await, ["3"]);
    assert_eq!(f.rows("SELECT sum(x) FROM '@/d/[b-z].csv'").await, ["10"]);
    assert_eq!(f.rows("SELECT sum(x) FROM '@/d/*.csv'").await, ["13"]);
    assert_eq!(f.rows("SELECT sum(x) FROM '@/d/**/*.csv'").await, ["113"]);
    assert_eq!(f.rows("SELECT sum(x) FROM '@/d/*/*.csv'").await, ["100"]);
    assert_eq!(f.rows("SELECT sum(x) FROM '@/d'").await, ["13"]);
    assert_eq!(f.rows("SELECT sum(x) FROM '@/d/'").await, ["13"]);
    assert_eq!(f.rows("SELECT sum(x) FROM '@/d/sub/../b.csv'").await, ["10"]);
    assert_eq!(f.fails("SELECT * FROM '@/d/z*.csv'").await, "@/d/z*.csv: no file matches");
    f.write("d/t.json", "{\"x\":1}\n");
    assert_eq!(
        f.fails("SELECT * FROM '@/d'").await,
        "@/d: the files are of several kinds (3 CSV, 1 JSON); write a glob that names one kind"
    );
    fs::create_dir(f.path("empty")).unwrap();
    assert_eq!(f.fails("SELECT * FROM '@/empty'").await, "@/empty: the folder has no data files");
    // A wildcard in a name that exists is that name.
    f.write("odd [1].csv", "x\n7\n");
    assert_eq!(f.rows("SELECT x FROM '@/odd [1].csv'").await, ["7"]);
    f.write("50% #2?.csv", "x\n8\n");
    assert_eq!(f.rows("SELECT x FROM '@/50% #2?.csv'").await, ["8"]);
}

#[tokio::test]
async fn partitioned_folders() {
    let f = Folder::new();
    f.run("CREATE TABLE t AS SELECT value AS a, 2020 + value % 3 AS year FROM range(0, 30)").await;
    f.run("COPY t TO '@/p' STORED AS PARQUET PARTITIONED BY (year)").await;
    assert_eq!(names(&f.path("p")), ["year=2020", "year=2021", "year=2022"]);
    assert_eq!(
        f.rows("SELECT year, sum(a) FROM '@/p' GROUP BY year ORDER BY year").await,
        ["2020,135", "2021,145", "2022,155"]
    );
    assert_eq!(f.rows("SELECT count(*) FROM '@/p' WHERE year = '2021'").await, ["10"]);
}

#[tokio::test]
async fn paths_relative_and_home() {
    let f = Folder::new();
    // The target folder of the build is below the current folder of the tests.
    let here = std::env::current_dir().unwrap();
    let below = tempfile::Builder::new().prefix("tests-files-").tempdir_in(&here).unwrap();
    fs::write(below.path().join("r.csv"), "x\n5\n").unwrap();
    let name = below.path().file_name().unwrap().to_str().unwrap();
    assert_eq!(f.rows(&format!("SELECT x FROM '{name}/r.csv'")).await, ["5"]);
    assert_eq!(f.rows(&format!("SELECT x FROM './{name}/r.csv'")).await, ["5"]);
    assert_eq!(f.rows(&format!("SELECT x FROM \"{name}/r.csv\" AS t WHERE t.x > 1")).await, ["5"]);
    fs::write(below.path().join("bad.csv"), "x,y\n1,2\n3\n").unwrap();
    let error = fails(&f.session, &format!("SELECT * FROM '{name}/bad.csv'")).await;
    assert_eq!(error.to_string(), format!("{name}/bad.csv, line 3: 1 value where the header has 2"));
    let home = fails(&f.session, "SELECT * FROM '~/no such folder at all/x.csv'").await;
    assert!(matches!(home, Error::File { .. }), "{home}");
    assert!(home.to_string().starts_with("~/no such folder at all/x.csv: no such file"), "{home}");
}

#[tokio::test]
async fn missing_files_are_named_with_what_is_near() {
    let f = Folder::new();
    f.write("flights.parquet", "");
    assert_eq!(
        f.fails("SELECT * FROM '@/flihgts.parquet'").await,
        "@/flihgts.parquet: no such file or folder; did you mean '@/flights.parquet'?"
    );
    assert_eq!(
        f.fails("SELECT * FROM '@/nowhere/x.parquet'").await,
        "@/nowhere/x.parquet: no such file or folder (there is no folder '@/nowhere')"
    );
    assert_eq!(f.fails("SELECT * FROM '@/flights.parquet'").await, "@/flights.parquet: the file is empty");
    f.write("x.xlsx", "PK");
    let unknown = f.fails("SELECT * FROM '@/x.xlsx'").await;
    assert!(unknown.starts_with("@/x.xlsx: the format cannot be told from the name; known are .parquet"));
    f.write("x.parquet.gz", "x");
    assert_eq!(
        f.fails("SELECT * FROM '@/x.parquet.gz'").await,
        "@/x.parquet.gz: Parquet files are compressed inside, not as a whole; unpack it first"
    );
    let remote = fails(&f.session, "SELECT * FROM 's3://bucket/x.parquet'").await.to_string();
    assert!(remote.contains("no object store is registered for s3://bucket"), "{remote}");
    // A file without an extension is known by its first bytes.
    f.run("COPY (SELECT 7 AS a) TO '@/y.parquet'").await;
    fs::rename(f.path("y.parquet"), f.path("noext")).unwrap();
    assert_eq!(f.rows("SELECT a FROM '@/noext'").await, ["7"]);
}

#[tokio::test]
async fn ragged_csv_names_file_and_line() {
    let f = Folder::new();
    f.write("bad.csv", "a,b\n1,2\n3\n4,5\n");
    let message = "@/bad.csv, line 3: 1 value where the header has 2";
    assert_eq!(f.fails("SELECT * FROM '@/bad.csv'").await, message);
    // Beyond the rows that the columns are taken from, in one of several files, behind line breaks.
    let mut late = String::from("a,b\n\"x\ny\",1\n\n");
    for row in 0..30_000 {
        late += &format!("s,{row}\n");
    }
    f.write("d/1.csv", "a,b\nq,1\n");
    f.write("d/2.csv", format!("{late}t,1,2\n"));
    assert_eq!(
        f.fails("SELECT count(b) FROM '@/d/*.csv'").await,
        "@/d/2.csv, line 30005: 3 values where the header has 2"
    );
    f.write("e.csv", format!("{late}t,oops\n"));
    assert_eq!(
        f.fails("SELECT sum(b) FROM '@/e.csv'").await,
        "@/e.csv, line 30005: 'oops' in column 'b' is not a valid Int64 (the type comes from the \
         first rows; CREATE EXTERNAL TABLE with column types chooses another)"
    );
    // Quoted line breaks beyond the start of the file, where it is cut to be read in parallel.
    let mut text = String::from("a,b\n");
    for row in 0..120_000 {
        text += &format!("{row},\"some text\"\n");
    }
    let lines = "a\n".repeat(200);
    for row in 0..50_000 {
        text += &format!("{row},\"{lines}\"\n");
    }
    f.write("cut.csv", text);
    let cut = f.fails("SELECT count(*) FROM (SELECT DISTINCT a, b FROM '@/cut.csv')").await;
    assert!(
        cut.starts_with("@/cut.csv, line 120002: a value in quotes goes over several lines; SET"),
        "{cut}"
    );
    f.run("SET datafusion.catalog.newlines_in_values = true").await;
    assert_eq!(f.rows("SELECT count(*), max(length(b)) FROM '@/cut.csv'").await, ["170000,400"]);
}

#[tokio::test]
async fn damaged_files_are_named() {
    let f = Folder::new();
    f.write("a.parquet", "this is not a parquet file at all");
    let parquet = f.fails("SELECT * FROM '@/a.parquet'").await;
    assert!(parquet.starts_with("@/a.parquet: not a valid Parquet file, or damaged: "), "{parquet}");
    f.write("a.arrow", "this is not an arrow file either");
    let arrow = f.fails("SELECT * FROM '@/a.arrow'").await;
    assert!(arrow.starts_with("@/a.arrow: not a valid Arrow file, or damaged: "), "{arrow}");
    f.write("a.csv.gz", "a,b\n1,2\n");
    let gzip = f.fails("SELECT * FROM '@/a.csv.gz'").await;
    assert!(gzip.starts_with("@/a.csv.gz: not a valid gzip file, or damaged: "), "{gzip}");
    f.write("a.json", "{\"x\": 1}\n{\"x\": 2\n{\"x\": 3}\n");
    let json = f.fails("SELECT * FROM '@/a.json'").await;
    assert!(json.starts_with("@/a.json, line 2: "), "{json}");
    f.write("b.json", "{\"x\": 1}\n".repeat(20_000) + "{\"x\": \"no\"}\n");
    let json = f.fails("SELECT sum(x) FROM '@/b.json'").await;
    assert!(json.starts_with("@/b.json, line 20001: "), "{json}");

    // Footer whole, data damaged: found when the rows are read.
    f.run("COPY (SELECT value AS a, 'text ' || (value * 7919 % 1000) AS b FROM range(0, 50000)) TO '@/c.parquet'").await;
    f.run("COPY (SELECT value AS a, 'text' AS b FROM range(0, 10)) TO '@/b.parquet'").await;
    let mut bytes = fs::read(f.path("c.parquet")).unwrap();
    let middle = bytes.len() / 2;
    bytes[100..middle].fill(0xAB);
    fs::write(f.path("c.parquet"), bytes).unwrap();
    let data = f.fails("SELECT sum(a), max(b) FROM '@/?.parquet'").await;
    assert!(data.starts_with("@/a.parquet: "), "{data}");
    fs::remove_file(f.path("a.parquet")).unwrap();
    let data = f.fails("SELECT sum(a), max(b) FROM '@/?.parquet'").await;
    assert!(data.starts_with("@/c.parquet: not a valid Parquet file, or damaged: "), "{data}");
    // The same through CREATE EXTERNAL TABLE.
    f.run("CREATE EXTERNAL TABLE ext STORED AS PARQUET LOCATION '@/c.parquet'").await;
    let data = f.fails("SELECT sum(a), max(b) FROM ext").await;
    assert!(data.contains("c.parquet: not a valid Parquet file, or damaged: "), "{data}");
    f.write("z.parquet", "nonsense and more nonsense");
    let create = f.fails("CREATE EXTERNAL TABLE z STORED AS PARQUET LOCATION '@/z.parquet'").await;
    assert!(create.starts_with("@/z.parquet: "), "{create}");
    assert!(f.rows("SELECT count(*) FROM '@/b.parquet'").await == ["10"]);
}

#[tokio::test]
async fn files_that_do_not_fit_together() {
    let f = Folder::new();
    f.write("d/1.json", "{\"a\": 1}\n");
    f.write("d/2.json", "{\"b\": \"x\"}\n");
    assert_eq!(f.rows("SELECT a, b FROM '@/d/*.json' ORDER BY a").await, ["1,", ",x"]);
    f.run("COPY (SELECT 1 AS a) TO '@/1.parquet'").await;
    f.run("COPY (SELECT 'x' AS a) TO '@/2.parquet'").await;
    let error = f.fails("SELECT * FROM '@/*.parquet'").await;
    assert!(
        error.starts_with("@/2.parquet: its columns do not fit those of the files before it: "),
        "{error}"
    );
    // One JSON array instead of lines.
    f.write("arr.json", "  [{\"a\": 1},\n {\"a\": 5}]\n");
    assert_eq!(f.rows("SELECT sum(a) FROM '@/arr.json'").await, ["6"]);
}

#[tokio::test]
async fn copy_appears_whole_or_not_at_all() {
    let f = Folder::new();
    for name in ["q.parquet", "q.csv", "q.csv.gz", "q.json", "q.arrow"] {
        // Fails after many rows were written.
        let message = f
            .fails(&format!(
                "COPY (SELECT value, 1 / (value - 3000000) AS q FROM range(0, 4000000)) TO '@/{name}'"
            ))
            .await;
        assert_eq!(message, "division by zero", "{name}");
        assert_eq!(f.names(), [""; 0], "{name}");
    }
    // What was there before stays, and is replaced only by a whole file.
    f.run("COPY (SELECT 1 AS a) TO '@/keep.csv'").await;
    f.fails("COPY (SELECT 1 / (value - 100) AS a FROM range(0, 1000)) TO '@/keep.csv'").await;
    assert_eq!(fs::read_to_string(f.path("keep.csv")).unwrap(), "a\n1\n");
    f.run("COPY (SELECT 2 AS b) TO '@/keep.csv'").await;
    assert_eq!(fs::read_to_string(f.path("keep.csv")).unwrap(), "b\n2\n");
    // No rows is a file without rows.
    f.run("COPY (SELECT 2 AS b WHERE false) TO '@/none.parquet'").await;
    assert_eq!(f.rows("SELECT count(*) FROM '@/none.parquet'").await, ["0"]);
    assert_eq!(f.names(), ["keep.csv", "none.parquet"]);
    // A second run of the same query.
    let query = f.session.sql(&f.at("COPY (SELECT 3 AS c) TO '@/twice.csv'")).await.unwrap();
    assert_eq!(f.names(), ["keep.csv", "none.parquet"]);
    query.collect().await.unwrap();
    query.collect().await.unwrap();
    assert_eq!(fs::read_to_string(f.path("twice.csv")).unwrap(), "c\n3\n");
}

#[tokio::test]
async fn a_failed_insert_adds_no_file() {
    let f = Folder::new();
    for format in ["CSV", "PARQUET", "JSON"] {
        fs::create_dir(f.path(format)).unwrap();
        f.run(&format!(
            "CREATE EXTERNAL TABLE t{format} (a BIGINT, b BIGINT) STORED AS {format} LOCATION '@/{format}/'"
        ))
        .await;
        assert_eq!(f.rows(&format!("INSERT INTO t{format} VALUES (1, 2), (3, 4)")).await, ["2"]);
        let before = names(&f.path(format));
        assert!(!before.is_empty());
        let message = f
            .fails(&format!(
                "INSERT INTO t{format} SELECT value, 1 / (value - 900000) FROM range(0, 1000000)"
            ))
            .await;
        assert_eq!(message, "division by zero", "{format}");
        assert_eq!(names(&f.path(format)), before, "{format}");
        assert_eq!(f.rows(&format!("SELECT sum(a), sum(b) FROM t{format}")).await, ["4,6"]);
        assert_eq!(f.rows(&format!("INSERT INTO t{format} VALUES (5, 6)")).await, ["1"]);
        assert_eq!(f.rows(&format!("SELECT sum(a), sum(b) FROM t{format}")).await, ["9,12"]);
    }
}

#[tokio::test]
async fn a_cancelled_copy_leaves_nothing() {
    let f = Folder::new();
    let sql = f.at("COPY (SELECT value, sin(value) AS s FROM range(0, 100000000000)) TO '@/big.csv'");
    let query = f.session.sql(&sql).await.unwrap();
    let stream = query.stream().await.unwrap();
    let waiting = tokio::spawn(async move {
        use futures::StreamExt;
        let mut stream = stream;
        stream.next().await.is_some()
    });
    // Wait until something is being written.
    for _ in 0..500 {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        if !f.names().is_empty() {
            break;
        }
    }
    assert_eq!(f.names().len(), 1, "nothing was started");
    assert!(f.names()[0].starts_with(".big.csv.fuseline-"), "{:?}", f.names());
    waiting.abort();
    assert!(waiting.await.is_err());
    for _ in 0..300 {
        if f.names().is_empty() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("left behind: {:?}", f.names());
}

#[tokio::test]
async fn copy_says_why_it_cannot_write() {
    let f = Folder::new();
    f.write("file", "x");
    fs::create_dir(f.path("dir.csv")).unwrap();
    assert_eq!(
        f.fails("COPY (SELECT 1 AS a) TO '@/file/x.csv'").await,
        "@/file/x.csv: cannot be written: '@/file' is not a folder"
    );
    f.fails("COPY (SELECT 1 / (value - value) AS a FROM range(1, 2)) TO '@/no/new/x.csv'").await;
    assert!(!Path::new(&f.path("no")).exists(), "a failed COPY leaves the folders it made");
    assert_eq!(
        f.fails("COPY (SELECT 1 AS a) TO '@/dir.csv'").await,
        "@/dir.csv: cannot be written: it is a folder"
    );
    assert_eq!(
        f.fails("COPY (SELECT 1 AS a) TO '@/file/x.csv'").await,
        "@/file/x.csv: cannot be written: '@/file' is not a folder"
    );
    assert_eq!(
        f.fails("COPY (SELECT 1 AS a) TO '@/x.xlsx'").await,
        "COPY cannot tell the format of '@/x.xlsx' from its name; end it in .parquet, .csv, .tsv, \
         .json or .arrow, or add STORED AS PARQUET, CSV, JSON or ARROW"
    );
    f.run("COPY (SELECT 1 AS a) TO '@/named' STORED AS CSV OPTIONS ('single_file_output' 'true')").await;
    assert_eq!(fs::read_to_string(f.path("named")).unwrap(), "a\n1\n");
    f.run("COPY (SELECT 1 AS a) TO '@/folder' STORED AS CSV").await;
    f.run("COPY (SELECT 2 AS a) TO '@/folder' STORED AS CSV").await;
    assert_eq!(f.rows("SELECT sum(a) FROM '@/folder'").await, ["3"]);
    f.run("EXPLAIN COPY (SELECT 1 AS a) TO '@/explained.csv.gz'").await;
    assert!(!f.path("explained.csv.gz").exists());
}

/// Runs in a process of its own, see `a_full_disk_is_reported_and_leaves_nothing`.
#[test]
#[ignore = "started by another test, under a limit on the size of files"]
fn full_disk_in_a_child() {
    let Some(folder) = std::env::var_os("FUSELINE_TEST_FULL_DISK") else {
        return;
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let session = Session::builder().threads(2).build().unwrap();
        for name in ["full.csv", "full.parquet", "full.json", "full.arrow"] {
            let path = Path::new(&folder).join(name);
            let sql = format!(
                "COPY (SELECT value, sin(value) AS s FROM range(0, 3000000)) TO '{}'",
                path.display()
            );
            let error = fails(&session, &sql).await;
            assert_eq!(error.to_string(), format!("{}: cannot be written: file too large", path.display()));
        }
    });
    println!("four full disks");
}

/// A limit on the size of files fails writes as a full disk does, half way through.
#[cfg(unix)]
#[test]
fn a_full_disk_is_reported_and_leaves_nothing() {
    use std::os::unix::process::CommandExt;
    let folder = tempfile::tempdir().unwrap();
    let mut child = std::process::Command::new(std::env::current_exe().unwrap());
    child
        .args(["--exact", "files::full_disk_in_a_child", "--ignored", "--nocapture"])
        .env("FUSELINE_TEST_FULL_DISK", folder.path());
    // SAFETY: between fork and exec only two async-signal-safe system calls are made.
    unsafe {
        child.pre_exec(|| {
            let limit = libc::rlimit { rlim_cur: 1 << 20, rlim_max: 1 << 20 };
            libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
            if libc::setrlimit(libc::RLIMIT_FSIZE, &limit) != 0 {
                return Err(std::io::Error::last_os_error());
            }
            Ok(())
        });
    }
    let output = child.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success() && said.contains("four full disks"),
        "{said}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(names(folder.path()), [""; 0]);
}
