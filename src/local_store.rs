//! The local file system as an object store that remembers why a write failed.
//!
//! DataFusion's writers lose the cause of a failed write: of a full disk remains "Error encountered
//! while finalizing writes! Partial results may have been written". So the session's `file://` store
//! notes each failed write by its path, and COPY asks for the first note below its staging folder.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result, UploadPart,
};
use parking_lot::Mutex;

use crate::error::{io_message, root_io_error};

/// So many failed writes are remembered; older ones are forgotten first.
const REMEMBERED: usize = 64;

/// Failed writes: the path within the store, and the reason in words.
#[derive(Debug, Clone, Default)]
pub(crate) struct WriteFailures(Arc<Mutex<Vec<(Path, String)>>>);

impl WriteFailures {
    /// The reason of the first failed write to a path that starts with `folder`.
    pub(crate) fn below(&self, folder: &std::path::Path) -> Option<String> {
        let folder = Path::from_absolute_path(folder).ok()?;
        let failures = self.0.lock();
        let (_, reason) = failures.iter().find(|(path, _)| path.prefix_matches(&folder))?;
        Some(reason.clone())
    }

    fn note<T>(&self, path: &Path, result: Result<T>) -> Result<T> {
        if let Err(error) = &result {
            self.add(path, error);
        }
        result
    }

    fn add(&self, path: &Path, error: &Error) {
        let reason = match root_io_error(error) {
            Some(io) => io_message(io),
            None => error.to_string(),
        };
        let mut failures = self.0.lock();
        if failures.len() >= REMEMBERED {
            failures.remove(0);
        }
        failures.push((path.clone(), reason));
    }
}

/// [`LocalFileSystem`] with [`WriteFailures`].
#[derive(Debug)]
pub(crate) struct LocalStore {
    inner: LocalFileSystem,
    failures: WriteFailures,
}

impl LocalStore {
    pub(crate) fn new(failures: WriteFailures) -> Self {
        Self { inner: LocalFileSystem::new(), failures }
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
        self.failures.note(location, result)
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let result = self.inner.put_multipart_opts(location, options).await;
        Ok(Box::new(Upload {
            inner: self.failures.note(location, result)?,
            location: location.clone(),
            failures: self.failures.clone(),
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
    failures: WriteFailures,
}

#[async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let part = self.inner.put_part(data);
        let (location, failures) = (self.location.clone(), self.failures.clone());
        Box::pin(async move { failures.note(&location, part.await) })
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let result = self.inner.complete().await;
        self.failures.note(&self.location, result)
    }

    async fn abort(&mut self) -> Result<()> {
        self.inner.abort().await
    }
}
