//! `COPY ... TO`: a target appears whole or not at all.
//!
//! DataFusion writes to the target's name as it goes. Here the statement is rewritten, before it is
//! planned, to write into a hidden folder beside the target (the same file system, so that a rename
//! is all it takes); when the write has ended well, the files are flushed to disk and renamed to where
//! they belong. A query that fails or is cancelled drops the [`CopyTarget`], and with it the folder.
//!
//! A target with an extension is one file and replaces a file of that name. A target without one (or
//! with PARTITIONED BY, or the option `single_file_output false`) is a folder; files are added to a
//! folder that exists already, each of them whole.
//!
//! The extension also says the format, and `.gz`, `.bz2`, `.xz` or `.zst` behind a text format the
//! compression, unless the statement itself does.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use datafusion::common::parsers::CompressionTypeVariant;
use datafusion::sql::parser::CopyToStatement;
use datafusion::sql::sqlparser::ast::Value;
use url::Url;

use crate::error::{Error, Result, io_message};
use crate::files::format::{FileKind, Format, split_compression};
use crate::files::pattern::Pattern;
use crate::local_store::WriteLog;

/// Where a COPY writes now, and where its files belong in the end.
#[derive(Debug)]
pub(crate) struct CopyTarget {
    /// As the user wrote it.
    shown: PathBuf,
    target: PathBuf,
    single: bool,
    staging: Staging,
}

/// The hidden folder; removed with all it holds when this is dropped.
#[derive(Debug)]
struct Staging {
    folder: PathBuf,
    /// Folders above it that were made for it, the innermost first; those still empty at the end go.
    parents: Vec<PathBuf>,
    created: bool,
    /// All writers have ended, so nothing can reappear in the folder.
    ended: bool,
}

/// Names inside the staging folder.
const WRITTEN_FILE: &str = "file.part";
const WRITTEN_FOLDER: &str = "folder";

/// Makes the names of staging folders of one process differ.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// Fills in format and compression from the target's name.
///
/// # Errors
/// [`Error::Unsupported`] if the target names a format that cannot be written,
/// [`Error::Plan`] if nothing says the format.
pub(crate) fn complete(statement: &mut CopyToStatement) -> Result<()> {
    let name = statement.target.rsplit('/').next().unwrap_or("").to_string();
    let (inner, compression) = split_compression(&name);
    let extension = inner.rsplit_once('.').map(|(_, e)| e.to_ascii_lowercase());
    let kind = FileKind::from_name(&name);
    if statement.stored_as.is_none() {
        let Some(kind) = kind else {
            return Err(match extension {
                Some(extension) if compression != CompressionTypeVariant::UNCOMPRESSED => {
                    Error::Unsupported {
                        message: format!(
                            "writing '{}': .{extension} files cannot be compressed as a whole",
                            statement.target
                        ),
                    }
                }
                Some(_) | None => Error::plan(format!(
                    "COPY cannot tell the format of '{}' from its name; end it in .parquet, .csv, \
                     .tsv, .json or .arrow, or add STORED AS PARQUET, CSV, JSON or ARROW",
                    statement.target
                )),
            });
        };
        if extension.as_deref() == Some("arrows") {
            return Err(Error::Unsupported {
                message: "COPY writes Arrow IPC files (.arrow), not streams (.arrows)".into(),
            });
        }
        statement.stored_as = Some(kind.format.datafusion_name().to_uppercase());
        if kind.format == Format::Tsv {
            add_option(statement, "format.delimiter", "\t");
        }
    }
    let text = statement
        .stored_as
        .as_deref()
        .is_some_and(|f| f.eq_ignore_ascii_case("csv") || f.eq_ignore_ascii_case("json"));
    if text && compression != CompressionTypeVariant::UNCOMPRESSED {
        let kind = FileKind { format: Format::Csv, compression };
        add_option(statement, "format.compression", kind.compression_name());
    }
    Ok(())
}

/// Adds an option unless the statement has it, with or without the prefix `format.`.
fn add_option(statement: &mut CopyToStatement, key: &str, value: &str) {
    let short = key.trim_start_matches("format.");
    let has = statement
        .options
        .iter()
        .any(|(have, _)| have.eq_ignore_ascii_case(key) || have.eq_ignore_ascii_case(short));
    if !has {
        statement.options.push((key.to_string(), Value::SingleQuotedString(value.to_string())));
    }
}

impl CopyTarget {
    /// Points `statement` at a staging folder. Nothing is created yet.
    ///
    /// `None` if the target is a URL: object stores show an object only when it is complete.
    ///
    /// # Errors
    /// [`Error::File`] if the folder of the target does not exist or the target is of the wrong sort.
    pub(crate) fn redirect(statement: &mut CopyToStatement) -> Result<Option<Self>> {
        let text = match statement.target.strip_prefix("file://") {
            Some(path) => path.to_string(),
            None if statement.target.contains("://") => return Ok(None),
            None => statement.target.clone(),
        };
        let folder_named = text.ends_with('/');
        let pattern = Pattern::of(&text)?;
        let shown = PathBuf::from(&text);
        let target = pattern.path().to_path_buf();
        let single = match take_single_file_option(statement)? {
            Some(single) => single,
            None => !folder_named && statement.partitioned_by.is_empty() && target.extension().is_some(),
        };
        let (Some(parent), Some(name)) = (target.parent(), target.file_name()) else {
            return Err(Error::file(shown, "cannot be written: not a file name"));
        };
        match fs::metadata(parent) {
            Ok(meta) if meta.is_dir() => {}
            Ok(_) => {
                return Err(Error::file(
                    shown,
                    format!("cannot be written: '{}' is not a folder", pattern.show(parent).display()),
                ));
            }
            // Made by `begin`, as DataFusion would.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(unwritable(&shown, &error)),
        }
        match fs::metadata(&target) {
            Ok(meta) if single && meta.is_dir() => {
                return Err(Error::file(shown, "cannot be written: it is a folder"));
            }
            Ok(meta) if !single && !meta.is_dir() => {
                return Err(Error::file(
                    shown,
                    "cannot be written as a folder: there is a file of that name",
                ));
            }
            Ok(_) | Err(_) => {}
        }
        let staging = parent.join(format!(
            ".{}.fuseline-{}-{}",
            name.to_string_lossy(),
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        ));
        // DataFusion takes a name with an extension for a file, and one with a slash for a folder.
        let url = if single {
            Url::from_file_path(staging.join(WRITTEN_FILE))
        } else {
            Url::from_directory_path(staging.join(WRITTEN_FOLDER))
        };
        let url = url.map_err(|()| Error::file(&shown, "the path cannot be written as a URL"))?;
        statement.target = url.to_string();
        Ok(Some(Self {
            shown,
            target,
            single,
            staging: Staging { folder: staging, parents: Vec::new(), created: false, ended: false },
        }))
    }

    /// Creates the staging folder, and the folders above it that are missing.
    ///
    /// # Errors
    /// [`Error::File`] if the target's folder does not allow it.
    pub(crate) fn begin(&mut self) -> Result<()> {
        let missing = self.staging.folder.ancestors().skip(1).take_while(|folder| !folder.exists());
        self.staging.parents = missing.map(Path::to_path_buf).collect();
        self.staging.created = true;
        fs::create_dir_all(&self.staging.folder).map_err(|e| unwritable(&self.shown, &e))?;
        Ok(())
    }

    /// Moves what was written to where it belongs.
    ///
    /// # Errors
    /// [`Error::File`] naming the target; then it is as it was before.
    pub(crate) fn commit(mut self) -> Result<()> {
        self.staging.ended = true;
        let name = if self.single { WRITTEN_FILE } else { WRITTEN_FOLDER };
        let written = self.staging.folder.join(name);
        self.publish(&written).map_err(|e| unwritable(&self.shown, &e))
    }

    fn publish(&self, written: &Path) -> io::Result<()> {
        if self.single {
            File::open(written)?.sync_all()?;
            fs::rename(written, &self.target)?;
        } else {
            // No rows, no files: the folder is still what was asked for.
            fs::create_dir_all(written)?;
            let mut files = Vec::new();
            collect_files(written, &mut files)?;
            for file in &files {
                File::open(file)?.sync_all()?;
            }
            if self.target.exists() {
                for file in &files {
                    let inside = file.strip_prefix(written).map_err(io::Error::other)?;
                    let to = self.target.join(inside);
                    if let Some(parent) = to.parent() {
                        fs::create_dir_all(parent)?;
                    }
                    fs::rename(file, to)?;
                }
            } else {
                fs::rename(written, &self.target)?;
            }
        }
        // The rename itself must be on disk too. Some file systems cannot flush a folder.
        if let Some(parent) = self.target.parent()
            && let Ok(parent) = File::open(parent)
        {
            let _ = parent.sync_all();
        }
        Ok(())
    }

    /// Names the target if a write to it has failed; otherwise the query is to blame.
    pub(crate) fn failed_write(&self, log: &WriteLog) -> Option<Error> {
        let reason = log.failure_below(&self.staging.folder, 0)?;
        Some(Error::file(&self.shown, format!("cannot be written: {reason}")))
    }
}

/// Takes the option `single_file_output` out of the statement. (DataFusion looks for it under this
/// name, but by then its own planner has renamed it to `format.single_file_output`.)
fn take_single_file_option(statement: &mut CopyToStatement) -> Result<Option<bool>> {
    const NAME: &str = "single_file_output";
    let at = statement
        .options
        .iter()
        .position(|(key, _)| key.trim_start_matches("format.").eq_ignore_ascii_case(NAME));
    let Some(at) = at else {
        return Ok(None);
    };
    let (_, value) = statement.options.remove(at);
    let text = match value {
        Value::SingleQuotedString(text) => text,
        other => other.to_string(),
    };
    match text.trim().to_ascii_lowercase().parse() {
        Ok(single) => Ok(Some(single)),
        Err(_) => {
            Err(Error::Setting { message: format!("option '{NAME}' must be true or false, not '{text}'") })
        }
    }
}

fn collect_files(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect_files(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}

fn unwritable(shown: &Path, error: &io::Error) -> Error {
    Error::file(shown, format!("cannot be written: {}", io_message(error)))
}

impl Drop for Staging {
    fn drop(&mut self) {
        if !self.created {
            return;
        }
        let _ = fs::remove_dir_all(&self.folder);
        for parent in &self.parents {
            // Fails where the target is inside, which is then to stay.
            let _ = fs::remove_dir(parent);
        }
        if self.ended {
            return;
        }
        // A cancelled writer may be in the middle of a write on a blocking thread, and recreates the
        // folder it wants to write to. Look again when it has surely ended.
        let folder = std::mem::take(&mut self.folder);
        let again = std::thread::Builder::new().name("fuseline-copy-cleanup".into()).spawn(move || {
            for wait in [20, 200, 1000] {
                std::thread::sleep(Duration::from_millis(wait));
                let _ = fs::remove_dir_all(&folder);
            }
        });
        drop(again);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use datafusion::sql::parser::{DFParser, Statement};

    use super::*;

    fn copy(sql: &str) -> CopyToStatement {
        let mut statements: VecDeque<Statement> = DFParser::parse_sql(sql).unwrap();
        match statements.pop_front() {
            Some(Statement::CopyTo(copy)) => copy,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_name_says_format_and_compression() {
        let completed = |sql: &str| {
            let mut copy = copy(sql);
            complete(&mut copy).map(|()| (copy.stored_as.unwrap(), copy.options.len()))
        };
        assert_eq!(completed("COPY t TO 'a/b.parquet'").unwrap(), ("PARQUET".into(), 0));
        assert_eq!(completed("COPY t TO 'b.csv.gz'").unwrap(), ("CSV".into(), 1));
        assert_eq!(completed("COPY t TO 'b.tsv'").unwrap(), ("CSV".into(), 1));
        assert_eq!(completed("COPY t TO 'b.jsonl.zst'").unwrap(), ("JSON".into(), 1));
        assert_eq!(completed("COPY t TO 'b' STORED AS CSV").unwrap(), ("CSV".into(), 0));
        assert!(matches!(completed("COPY t TO 'b.arrows'"), Err(Error::Unsupported { .. })));
        assert!(matches!(completed("COPY t TO 'b.xlsx'"), Err(Error::Plan { .. })));
        assert!(matches!(completed("COPY t TO 'b'"), Err(Error::Plan { .. })));
    }

    #[test]
    fn a_failed_copy_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("out.csv");
        let mut statement = copy(&format!("COPY t TO '{}'", target.display()));
        let mut copy = CopyTarget::redirect(&mut statement).unwrap().unwrap();
        assert!(statement.target.starts_with("file:///"));
        copy.begin().unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        drop(copy);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
