//! Files straight in FROM: `SELECT ... FROM 'data/*.csv.gz'`.
//!
//! * `pattern` turns the text into files on disk,
//! * `format` says what is in them,
//! * `table` is the table DataFusion scans,
//! * `diagnose` finds the file and line to blame when reading fails.
//!
//! [`FileCatalog`] is what DataFusion's `DynamicFileCatalog` asks for a name that no schema knows. It
//! keeps the tables it made and hands the same one out again while the files on disk are unchanged:
//! that saves reading schemas, and the plan cache recognizes an unchanged table by its address.

mod arrow_ipc;
mod csv_records;
pub(crate) mod diagnose;
pub(crate) mod format;
pub(crate) mod pattern;
pub(crate) mod table;

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Weak};

use async_trait::async_trait;
use datafusion::catalog::{TableProvider, UrlTableFactory};
use datafusion::common::Result as DataFusionResult;
use datafusion::datasource::listing::ListingTableConfigExt;
use datafusion::datasource::listing::{ListingTable, ListingTableConfig, ListingTableUrl};
use datafusion::execution::SessionState;
use parking_lot::{Mutex, RwLock};

use crate::error::{Error, Result};

use pattern::Pattern;
use table::FileTable;

/// So many tables are remembered; beyond it, all are forgotten and read again when asked for.
const REMEMBERED: usize = 256;

/// Makes tables from paths.
#[derive(Default)]
pub(crate) struct FileCatalog {
    /// The session's state; it owns this catalog, hence weak.
    state: Mutex<Weak<RwLock<SessionState>>>,
    tables: Mutex<HashMap<Pattern, Arc<FileTable>>>,
}

impl std::fmt::Debug for FileCatalog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FileCatalog").finish_non_exhaustive()
    }
}

impl FileCatalog {
    /// Must be called once the session's state exists; before, no path is a table.
    pub(crate) fn attach(&self, state: Weak<RwLock<SessionState>>) {
        *self.state.lock() = state;
    }

    /// Forgets all tables, so that settings about reading (say, `has_header`) take effect.
    pub(crate) fn clear(&self) {
        self.tables.lock().clear();
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        let Some(state) = self.state.lock().upgrade() else {
            return Ok(None);
        };
        let Some(pattern) = Pattern::parse(name)? else {
            if name.contains("://") {
                let state = state.read().clone();
                return remote_table(name, &state).await;
            }
            return Ok(None);
        };
        let listing = pattern.list()?;
        if let Some(table) = self.tables.lock().get(&pattern)
            && *table.listing() == listing
        {
            return Ok(Some(Arc::clone(table) as Arc<dyn TableProvider>));
        }
        let state = state.read().clone();
        let table = Arc::new(FileTable::open(pattern.clone(), listing, &state).await?);
        let mut tables = self.tables.lock();
        if tables.len() >= REMEMBERED {
            tables.clear();
        }
        tables.insert(pattern, Arc::clone(&table));
        Ok(Some(table))
    }
}

#[async_trait]
impl UrlTableFactory for FileCatalog {
    async fn try_new(&self, name: &str) -> DataFusionResult<Option<Arc<dyn TableProvider>>> {
        Ok(self.table(name).await?)
    }
}

/// A table over an object store that the embedder has registered, read as DataFusion does.
async fn remote_table(name: &str, state: &SessionState) -> Result<Option<Arc<dyn TableProvider>>> {
    let Ok(url) = ListingTableUrl::parse(name) else {
        return Ok(None);
    };
    if state.runtime_env().object_store(&url).is_err() {
        return Err(Error::Unsupported {
            message: format!(
                "reading '{name}': no object store is registered for {}; register one with \
                 SessionContext::register_object_store, or copy the file here",
                url.object_store()
            ),
        });
    }
    let config = ListingTableConfig::new(url)
        .infer_options(state)
        .await?
        .infer_partitions_from_path(state)
        .await?
        .infer_schema(state)
        .await?;
    Ok(Some(Arc::new(ListingTable::try_new(config)?)))
}

/// "Cannot be read", with the system's reason.
pub(crate) fn unreadable(shown: &Path, error: &io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::NotFound => Error::file(shown, "no such file or folder"),
        _ => Error::file(shown, format!("cannot be read: {}", crate::error::io_message(error))),
    }
}
