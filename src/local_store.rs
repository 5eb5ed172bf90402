//! The local file system as an object store that remembers what was written and why a write failed.
//!
//! DataFusion's writers lose the cause of a failed write: of a full disk remains "Error encountered
//! while finalizing writes! Partial results may have been written". And they finish files of a query
//! that has failed. So the session's `file://` store notes each failed write by its path, for COPY and
//! INSERT to name the cause, and while an INSERT runs the files that were completed, for it to remove.

use std::collections::VecDeque;
use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result, UploadPart,
};
use parking_lot::Mutex;

use crate::error::{io_message, root_io_error};

/// So many failed writes are remembered; older ones are forgotten first.
const REMEMBERED: usize = 64;

/// What was written through a [`LocalStore`]. Clones are the same log.
#[derive(Debug, Clone, Default)]
pub(crate) struct WriteLog(Arc<Mutex<Log>>);

#[derive(Debug, Default)]
struct Log {
    /// The number of the next note.
    next: u64,
    /// Path and reason in words.
    failed: VecDeque<(u64, Path, String)>,
    /// Filled only while somebody listens.
    completed: Vec<(u64, Path)>,
    listeners: usize,
}

impl WriteLog {
    /// From now on completed files are noted. Gives the number of the first note to come.
    pub(crate) fn start(&self) -> u64 {
        let mut log = self.0.lock();
        log.listeners += 1;
        log.next
    }

    /// Ends what one `start` began.
    pub(crate) fn stop(&self) {
        let mut log = self.0.lock();
        log.listeners = log.listeners.saturating_sub(1);
        if log.listeners == 0 {
            log.completed.clear();
        }
    }

    /// The files completed since note `since`.
    pub(crate) fn completed(&self, since: u64) -> Vec<PathBuf> {
        let log = self.0.lock();
        let since = log.completed.iter().filter(|(number, _)| *number >= since);
        since.map(|(_, path)| PathBuf::from(format!("/{path}"))).collect()
    }

    /// The reason of the first failed write below `folder` since note `since`.
    pub(crate) fn failure_below(&self, folder: &std::path::Path, since: u64) -> Option<String> {
        let folder = Path::from_absolute_path(folder).ok()?;
        let log = self.0.lock();
        let found = log.failed.iter().find(|(n, path, _)| *n >= since && path.prefix_matches(&folder));
        found.map(|(_, _, reason)| reason.clone())
    }

    /// Notes an attempt that may have failed.
    fn attempted<T>(&self, path: &Path, result: Result<T>) -> Result<T> {
        if let Err(error) = &result {
            let reason = root_io_error(error).map_or_else(|| error.to_string(), io_message);
            let mut log = self.0.lock();
            let number = log.number();
            if log.failed.len() >= REMEMBERED {
                log.failed.pop_front();
            }
            log.failed.push_back((number, path.clone(), reason));
        }
        result
    }

    /// Notes an attempt that, if it has not failed, completed the file.
    fn finished<T>(&self, path: &Path, result: Result<T>) -> Result<T> {
        if result.is_ok() {
            let mut log = self.0.lock();
            let number = log.number();
            if log.listeners > 0 {
                log.completed.push((number, path.clone()));
            }
        }
        self.attempted(path, result)
    }
}

impl Log {
    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next - 1
    }
}

/// [`LocalFileSystem`] with a [`WriteLog`].
#[derive(Debug)]
pub(crate) struct LocalStore {
    inner: LocalFileSystem,
    log: WriteLog,
}

impl LocalStore {
    pub(crate) fn new(log: WriteLog) -> Self {
        Self { inner: LocalFileSystem::new(), log }
    }
}

impl fmt::Display for LocalStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

#[async_trait]
impl ObjectStore for LocalStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let result = self.inner.put_opts(location, payload, options).await;
        self.log.finished(location, result)
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let result = self.inner.put_multipart_opts(location, options).await;
        Ok(Box::new(Upload {
            inner: self.log.attempted(location, result)?,
            location: location.clone(),
            log: self.log.clone(),
        }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.inner.rename_opts(from, to, options).await
    }
}

#[derive(Debug)]
struct Upload {
    inner: Box<dyn MultipartUpload>,
    location: Path,
    log: WriteLog,
}

#[async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let part = self.inner.put_part(data);
        let (location, log) = (self.location.clone(), self.log.clone());
        Box::pin(async move { log.attempted(&location, part.await) })
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let result = self.inner.complete().await;
        self.log.finished(&self.location, result)
    }

    async fn abort(&mut self) -> Result<()> {
        self.inner.abort().await
    }
}
