//! `INSERT INTO` a table of files: the new files are all there or none is.
//!
//! DataFusion writes the rows of an INSERT to new files in the table's folder, and finishes those it
//! has begun even when the query fails. The session's `file://` store notes the files that were
//! completed; an INSERT that does not reach its end takes away what it has added.
//!
//! The notes do not say which statement wrote a file, so a session runs one such INSERT at a time.
//! (COPY writes below its own staging folder and is not concerned.)

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use datafusion::datasource::listing::ListingTable;
use datafusion::datasource::source_as_provider;
use datafusion::logical_expr::{DmlStatement, LogicalPlan, WriteOp};
use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::error::Error;
use crate::local_store::WriteLog;

/// How long a cancelled writer may take to notice.
const SETTLE: Duration = Duration::from_millis(200);

/// The folder that `plan` inserts files into, if it does that on the local file system.
pub(crate) fn target_folder(plan: &LogicalPlan) -> Option<PathBuf> {
    let LogicalPlan::Dml(DmlStatement { target, op: WriteOp::Insert(_), .. }) = plan else {
        return None;
    };
    let provider = source_as_provider(target).ok()?;
    let url = provider.downcast_ref::<ListingTable>()?.table_paths().first()?;
    (url.scheme() == "file").then(|| PathBuf::from(format!("/{}", url.prefix())))
}

/// A running INSERT; dropping it before [`Insertion::keep`] removes the files it has added.
#[derive(Debug)]
pub(crate) struct Insertion {
    folder: PathBuf,
    log: WriteLog,
    /// The first note of this INSERT.
    since: u64,
    ended: bool,
    /// Held for its `Drop` alone.
    turn: Option<OwnedMutexGuard<()>>,
}

impl Insertion {
    /// Waits for its turn.
    pub(crate) async fn begin(folder: PathBuf, log: WriteLog, turns: Arc<Mutex<()>>) -> Self {
        let turn = turns.lock_owned().await;
        let since = log.start();
        Self { folder, log, since, ended: false, turn: Some(turn) }
    }

    /// The query has ended well.
    pub(crate) fn keep(mut self) {
        self.ended = true;
    }

    /// Names the folder if a write to it has failed.
    pub(crate) fn failed_write(&self) -> Option<Error> {
        let reason = self.log.failure_below(&self.folder, self.since)?;
        Some(Error::file(&self.folder, format!("cannot be written: {reason}")))
    }
}

impl Drop for Insertion {
    fn drop(&mut self) {
        if self.ended {
            self.log.stop();
            return;
        }
        self.remove();
        // A cancelled writer may be completing a file on a blocking thread. Look again when it has
        // surely ended; until then no other INSERT starts.
        let late = Self {
            folder: std::mem::take(&mut self.folder),
            log: self.log.clone(),
            since: self.since,
            ended: true,
            turn: self.turn.take(),
        };
        let spawned = std::thread::Builder::new().name("fuseline-insert-cleanup".into()).spawn(move || {
            std::thread::sleep(SETTLE);
            late.remove();
        });
        drop(spawned);
    }
}

impl Insertion {
    fn remove(&self) {
        let mut added = self.log.completed(self.since);
        added.retain(|file| file.starts_with(&self.folder));
        remove(&added, &self.folder);
    }
}

/// Removes files, and folders of partitions that are empty then.
fn remove(files: &[PathBuf], top: &Path) {
    for file in files {
        // A writer that was cancelled may have cleaned up itself.
        let _ = fs::remove_file(file);
        let mut folder = file.parent();
        while let Some(inside) = folder.filter(|f| *f != top && f.starts_with(top)) {
            if fs::remove_dir(inside).is_err() {
                break;
            }
            folder = inside.parent();
        }
    }
}
