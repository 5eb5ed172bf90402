//! `FileTable`: the table that a path in FROM stands for.
//!
//! The schema is read when the name is first resolved. The files are looked up again at every scan, so
//! a view over `'logs/*.csv'` sees files that came later. Reading itself is DataFusion's
//! [`ListingTable`], built over the files one by one: its own globs and folder walks follow other rules
//! than `pattern.rs` promises.
//!
//! Errors name the file: DataFusion's name none when it cannot make sense of the bytes, so a failed
//! look at a schema or at statistics is repeated file by file.

use std::io;
use std::panic::AssertUnwindSafe;
use std::path::{Component, Path};
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::catalog::{ScanArgs, ScanResult, Session as CatalogSession, TableProvider};
use datafusion::common::{DataFusionError, Result as DataFusionResult};
use datafusion::datasource::TableType;
use datafusion::datasource::file_format::FileFormat;
use datafusion::datasource::listing::{ListingOptions, ListingTable, ListingTableConfig, ListingTableUrl};
use datafusion::execution::SessionState;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_plan::ExecutionPlan;
use futures::FutureExt;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};
use url::Url;

use crate::error::{Error, Result, is_about_data, panic_text, translate};

use super::arrow_ipc::{IpcReader, MAGIC};
use super::diagnose::Suspect;
use super::format::{Format, starts_with};
use super::pattern::{Listing, Pattern, Stamp};

/// A file, a glob or a folder as a table.
#[derive(Debug)]
pub(crate) struct FileTable {
    pattern: Pattern,
    /// The files as they were when the schema was read.
    listing: Listing,
    options: ListingOptions,
    /// Columns in the files, without those from folder names.
    file_schema: SchemaRef,
    /// Over `listing`.
    inner: ListingTable,
}

impl FileTable {
    /// Reads the schema of the files.
    ///
    /// # Errors
    /// [`Error::File`] naming the file whose schema cannot be read, or two that do not fit together.
    pub(crate) async fn open(pattern: Pattern, listing: Listing, state: &SessionState) -> Result<Self> {
        let first = listing.files.iter().find(|file| file.len > 0);
        let Some(first) = first else {
            return Err(Error::file(pattern.shown(), "the file is empty"));
        };
        check_arrow_kinds(&pattern, &listing)?;
        let format = listing.kind.reader(state, &first.path)?;
        let file_schema = infer_schema(&pattern, &listing, format.as_ref(), state).await?;
        let mut options = ListingOptions::new(format).with_file_extension("");
        if listing.partitioned_at.is_some() {
            options.file_extension = common_suffix(&pattern, &listing)?;
            let url = folder_url(&pattern, &listing)?;
            let config = ListingTableConfig::new(url)
                .with_listing_options(options)
                .infer_partitions_from_path(state)
                .await?;
            options = config
                .options
                .ok_or_else(|| Error::Internal { message: "listing options were lost".into() })?;
        }
        let inner = listing_table(&pattern, &listing, &options, &file_schema, state)?;
        Ok(Self { pattern, listing, options, file_schema, inner })
    }

    /// The files as they were when the schema was read.
    pub(crate) fn listing(&self) -> &Listing {
        &self.listing
    }

    /// What the table was made from.
    pub(crate) fn pattern(&self) -> &Pattern {
        &self.pattern
    }

    /// Names the file that a failed scan could not read.
    fn blame(&self, error: DataFusionError, state: &SessionState) -> DataFusionError {
        if !is_about_data(&error) {
            return error;
        }
        let found = self.listing.files.iter().find_map(|file| {
            suspect(&self.pattern, &self.listing, file, Arc::clone(&self.file_schema), state)
                .fault_of_header()
        });
        match found {
            Some(found) => found.into(),
            None if self.listing.files.len() == 1 => match translate(&error, None) {
                Error::Execution { message } => Error::file(self.pattern.shown(), message).into(),
                other => other.into(),
            },
            None => error,
        }
    }
}

#[async_trait]
impl TableProvider for FileTable {
    fn schema(&self) -> SchemaRef {
        self.inner.schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> DataFusionResult<Vec<TableProviderFilterPushDown>> {
        self.inner.supports_filters_pushdown(filters)
    }

    async fn scan(
        &self,
        state: &dyn CatalogSession,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        let args = ScanArgs::default()
            .with_projection(projection.map(Vec::as_slice))
            .with_filters(Some(filters))
            .with_limit(limit);
        Ok(Arc::clone(self.scan_with_args(state, args).await?.plan()))
    }

    async fn scan_with_args<'a>(
        &self,
        state: &dyn CatalogSession,
        args: ScanArgs<'a>,
    ) -> DataFusionResult<ScanResult> {
        let session = state.as_any().downcast_ref::<SessionState>().ok_or_else(|| Error::Internal {
            message: "a file table needs a DataFusion SessionState".into(),
        })?;
        let now = self.pattern.list()?;
        let scanned = if now.files == self.listing.files {
            caught(self.inner.scan_with_args(state, args)).await
        } else {
            if now.kind != self.listing.kind {
                return Err(Error::file(
                    self.pattern.shown(),
                    format!("was {} and is now {}", self.listing.kind, now.kind),
                )
                .into());
            }
            let table = listing_table(&self.pattern, &now, &self.options, &self.file_schema, session)?;
            caught(table.scan_with_args(state, args)).await
        };
        scanned.map_err(|error| self.blame(error, session))
    }
}

/// The schema of all files together.
async fn infer_schema(
    pattern: &Pattern,
    listing: &Listing,
    format: &dyn FileFormat,
    state: &SessionState,
) -> Result<SchemaRef> {
    let store = state.runtime_env().object_store(file_url(&listing.files[0].path, pattern)?)?;
    let mut metas: Vec<(ObjectMeta, &Stamp)> = Vec::with_capacity(listing.files.len());
    for file in listing.files.iter().filter(|file| file.len > 0) {
        let url = file_url(&file.path, pattern)?;
        let meta = store
            .head(url.prefix())
            .await
            .map_err(|e| translate(&DataFusionError::ObjectStore(Box::new(e)), None))?;
        metas.push((meta, file));
    }
    match schema_of(listing.kind.format, format, state, &store, &metas).await {
        Ok(schema) if schema.fields().is_empty() => {
            Err(Error::file(pattern.shown(), "no columns found; the file seems to be empty"))
        }
        Ok(schema) => Ok(schema),
        Err(error) => Err(blame_schema(pattern, listing, format, state, &store, &metas, error).await),
    }
}

async fn schema_of(
    kind: Format,
    format: &dyn FileFormat,
    state: &SessionState,
    store: &Arc<dyn ObjectStore>,
    metas: &[(ObjectMeta, &Stamp)],
) -> DataFusionResult<SchemaRef> {
    match kind {
        Format::Arrow => caught(async { arrow_schema(metas) }).await,
        Format::Parquet | Format::Csv | Format::Tsv | Format::Json => {
            let objects: Vec<ObjectMeta> = metas.iter().map(|(meta, _)| meta.clone()).collect();
            caught(format.infer_schema(state, store, &objects)).await
        }
    }
}

/// The columns of Arrow files, see `arrow_ipc` for why not by DataFusion.
fn arrow_schema(metas: &[(ObjectMeta, &Stamp)]) -> DataFusionResult<SchemaRef> {
    let mut schemas = Vec::with_capacity(metas.len());
    for (_, file) in metas {
        schemas.push(IpcReader::open(&file.path)?.schema().as_ref().clone());
    }
    Ok(Arc::new(Schema::try_merge(schemas)?))
}

/// The result of a reader, whose panic on damaged bytes counts as an error about them.
async fn caught<T>(reading: impl Future<Output = DataFusionResult<T>>) -> DataFusionResult<T> {
    match AssertUnwindSafe(reading).catch_unwind().await {
        Ok(result) => result,
        Err(panic) => Err(DataFusionError::IoError(io::Error::other(panic_text(panic.as_ref())))),
    }
}

/// Finds the file because of which `infer_schema` failed.
async fn blame_schema(
    pattern: &Pattern,
    listing: &Listing,
    format: &dyn FileFormat,
    state: &SessionState,
    store: &Arc<dyn ObjectStore>,
    metas: &[(ObjectMeta, &Stamp)],
    error: DataFusionError,
) -> Error {
    let mut merged: Option<Schema> = None;
    for one in metas {
        let file = one.1;
        let shown = pattern.show(&file.path);
        let alone = std::slice::from_ref(one);
        match schema_of(listing.kind.format, format, state, store, alone).await {
            Ok(schema) => {
                let schema = schema.as_ref().clone();
                match merged.take() {
                    None => merged = Some(schema),
                    Some(before) => match Schema::try_merge([before, schema]) {
                        Ok(both) => merged = Some(both),
                        Err(e) => {
                            return Error::file(
                                shown,
                                format!(
                                    "its columns do not fit those of the files before it: {}",
                                    Error::from(DataFusionError::from(e))
                                ),
                            );
                        }
                    },
                }
            }
            Err(alone) => {
                let suspect = suspect(pattern, listing, file, Arc::new(Schema::empty()), state);
                return suspect.fault_of_header().unwrap_or_else(|| {
                    Error::file(
                        shown,
                        format!("cannot be read as {}: {}", listing.kind, translate(&alone, None)),
                    )
                });
            }
        }
    }
    match translate(&error, None) {
        Error::Execution { message } => Error::file(pattern.shown(), message),
        other => other,
    }
}

/// One of the files, to be searched for a fault.
fn suspect(
    pattern: &Pattern,
    listing: &Listing,
    file: &Stamp,
    schema: SchemaRef,
    state: &SessionState,
) -> Suspect {
    Suspect {
        path: file.path.clone(),
        shown: pattern.show(&file.path),
        kind: listing.kind,
        schema,
        projection: None,
        has_header: state.config_options().catalog.has_header,
        delimiter: None,
    }
}

/// A `ListingTable` over exactly the files of `listing`.
fn listing_table(
    pattern: &Pattern,
    listing: &Listing,
    options: &ListingOptions,
    file_schema: &SchemaRef,
    state: &SessionState,
) -> Result<ListingTable> {
    let urls = if listing.partitioned_at.is_some() {
        vec![folder_url(pattern, listing)?]
    } else {
        listing.files.iter().map(|file| file_url(&file.path, pattern)).collect::<Result<_>>()?
    };
    let config = ListingTableConfig::new_with_multi_paths(urls)
        .with_listing_options(options.clone())
        .with_schema(Arc::clone(file_schema));
    let cache = state.runtime_env().cache_manager.get_file_statistic_cache();
    Ok(ListingTable::try_new(config)?.with_cache(cache))
}

/// The URL of one file; `ListingTableUrl::parse` would read `[` in a name as a glob.
fn file_url(path: &Path, pattern: &Pattern) -> Result<ListingTableUrl> {
    let resolved;
    let path = if path.components().any(|c| c == Component::ParentDir) {
        resolved = std::fs::canonicalize(path).map_err(|e| super::unreadable(&pattern.show(path), &e))?;
        &resolved
    } else {
        path
    };
    let url = Url::from_file_path(path)
        .map_err(|()| Error::file(pattern.show(path), "the path cannot be written as a URL"))?;
    Ok(ListingTableUrl::try_new(url, None)?)
}

fn folder_url(pattern: &Pattern, listing: &Listing) -> Result<ListingTableUrl> {
    let folder = listing.partitioned_at.as_deref().unwrap_or(pattern.path());
    let url = Url::from_directory_path(folder)
        .map_err(|()| Error::file(pattern.show(folder), "the path cannot be written as a URL"))?;
    Ok(ListingTableUrl::try_new(url, None)?)
}

/// In a partitioned folder files are picked by their ending, so all must end alike.
fn common_suffix(pattern: &Pattern, listing: &Listing) -> Result<String> {
    let suffix = |stamp: &Stamp| {
        let name = stamp.path.file_name().unwrap_or_default().to_string_lossy();
        let (rest, _) = super::format::split_compression(&name);
        let start = rest.rfind('.').unwrap_or(0);
        name[start..].to_string()
    };
    let mut files = listing.files.iter();
    let first = files.next().map(suffix).unwrap_or_default();
    match files.find(|file| suffix(file) != first) {
        None => Ok(first),
        Some(other) => Err(Error::file(
            pattern.shown(),
            format!("the partitions end in '{first}' and in '{}'; all must end alike", suffix(other)),
        )),
    }
}

/// DataFusion decides between IPC file and stream by the first file and reads all the same way.
fn check_arrow_kinds(pattern: &Pattern, listing: &Listing) -> Result<()> {
    if listing.kind.format != Format::Arrow || listing.files.len() == 1 {
        return Ok(());
    }
    let mut first = None;
    for file in listing.files.iter().filter(|file| file.len > 0) {
        let shown = pattern.show(&file.path);
        let is_file = starts_with(&file.path, MAGIC).map_err(|e| super::unreadable(&shown, &e))?;
        if *first.get_or_insert(is_file) != is_file {
            return Err(Error::file(
                shown,
                "Arrow IPC files and IPC streams cannot be read as one table; write a glob that \
                 names one kind",
            ));
        }
    }
    Ok(())
}
