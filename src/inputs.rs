//! [`Inputs`]: what a caller gives with one statement besides its text: values for its parameters, and
//! tables that only this statement sees.
//!
//! Tables are laid under the catalog of a copy of the session's state, so two threads can use the same
//! name for different tables at the same time. Values are bound by `parameters.rs`.
//!
//! Plans made with inputs are not cached: the text alone does not say what they are.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::catalog::{CatalogProvider, CatalogProviderList, SchemaProvider, TableProvider};
use datafusion::common::{Result as DataFusionResult, ScalarValue, TableReference};
use datafusion::execution::SessionState;

use crate::error::{Result, translate};
use crate::parameters::Values;
use crate::session::Session;
use crate::statement;

/// Parameter values and tables for one statement.
#[derive(Debug, Default, Clone)]
pub struct Inputs {
    pub(crate) values: Values,
    tables: HashMap<String, Arc<dyn TableProvider>>,
}

impl Inputs {
    /// No values and no tables.
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives the values of `$1`, `$2`, ... or of the `?`s in their order.
    #[must_use]
    pub fn positional(mut self, values: Vec<ScalarValue>) -> Self {
        self.values = if values.is_empty() { Values::None } else { Values::Positional(values) };
        self
    }

    /// Gives the values of `$name`s.
    #[must_use]
    pub fn named(mut self, values: HashMap<String, ScalarValue>) -> Self {
        self.values = if values.is_empty() { Values::None } else { Values::Named(values) };
        self
    }

    /// Makes `table` known by `name` where no table of the session has that name.
    #[must_use]
    pub fn table(mut self, name: impl Into<String>, table: Arc<dyn TableProvider>) -> Self {
        self.tables.insert(name.into(), table);
        self
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.tables.is_empty() && matches!(self.values, Values::None)
    }

    /// Lets `state` see the tables.
    pub(crate) fn attach(&self, state: &mut SessionState) {
        if self.tables.is_empty() {
            return;
        }
        let options = &state.config_options().catalog;
        let place = Arc::new(Place {
            catalog: options.default_catalog.clone(),
            schema: options.default_schema.clone(),
            tables: self.tables.clone(),
        });
        let inner = Arc::clone(state.catalog_list());
        state.register_catalog_list(Arc::new(Catalogs { inner, place }));
    }
}

impl Session {
    /// The names in FROM that stand for no table, file or common table expression, as the statement
    /// means them (folded to lower case unless quoted). Names with a schema are left out.
    ///
    /// # Errors
    /// [`Error::Syntax`] if the text is not one statement.
    pub async fn missing_tables(&self, sql: &str) -> Result<Vec<String>> {
        let state = self.context().state();
        let dialect = state.config_options().sql_parser.dialect;
        let parsed = match statement::explain_codegen(sql, dialect)? {
            Some(query) => statement::parse(&query, &state)?,
            None => statement::parse(sql, &state)?,
        };
        let references = state.resolve_table_references(&parsed).map_err(|e| translate(&e, Some(sql)))?;
        let mut missing = Vec::new();
        for reference in references {
            let TableReference::Bare { table } = &reference else {
                continue;
            };
            let schema = state.schema_for_ref(reference.clone()).map_err(|e| translate(&e, Some(sql)))?;
            if matches!(schema.table(table).await, Ok(None)) {
                missing.push(table.to_string());
            }
        }
        Ok(missing)
    }
}

/// Where the tables of a statement are to be found.
#[derive(Debug)]
struct Place {
    catalog: String,
    schema: String,
    tables: HashMap<String, Arc<dyn TableProvider>>,
}

#[derive(Debug)]
struct Catalogs {
    inner: Arc<dyn CatalogProviderList>,
    place: Arc<Place>,
}

impl CatalogProviderList for Catalogs {
    fn register_catalog(
        &self,
        name: String,
        catalog: Arc<dyn CatalogProvider>,
    ) -> Option<Arc<dyn CatalogProvider>> {
        self.inner.register_catalog(name, catalog)
    }

    fn catalog_names(&self) -> Vec<String> {
        self.inner.catalog_names()
    }

    fn catalog(&self, name: &str) -> Option<Arc<dyn CatalogProvider>> {
        let inner = self.inner.catalog(name)?;
        if name != self.place.catalog {
            return Some(inner);
        }
        Some(Arc::new(Catalog { inner, place: Arc::clone(&self.place) }))
    }
}

#[derive(Debug)]
struct Catalog {
    inner: Arc<dyn CatalogProvider>,
    place: Arc<Place>,
}

impl CatalogProvider for Catalog {
    fn schema_names(&self) -> Vec<String> {
        self.inner.schema_names()
    }

    fn schema(&self, name: &str) -> Option<Arc<dyn SchemaProvider>> {
        let inner = self.inner.schema(name)?;
        if name != self.place.schema {
            return Some(inner);
        }
        Some(Arc::new(SchemaOf { inner, place: Arc::clone(&self.place) }))
    }

    fn register_schema(
        &self,
        name: &str,
        schema: Arc<dyn SchemaProvider>,
    ) -> DataFusionResult<Option<Arc<dyn SchemaProvider>>> {
        self.inner.register_schema(name, schema)
    }
}

#[derive(Debug)]
struct SchemaOf {
    inner: Arc<dyn SchemaProvider>,
    place: Arc<Place>,
}

#[async_trait::async_trait]
impl SchemaProvider for SchemaOf {
    fn table_names(&self) -> Vec<String> {
        self.inner.table_names()
    }

    async fn table(&self, name: &str) -> DataFusionResult<Option<Arc<dyn TableProvider>>> {
        match self.inner.table(name).await? {
            Some(table) => Ok(Some(table)),
            None => Ok(self.place.tables.get(name).cloned()),
        }
    }

    fn register_table(
        &self,
        name: String,
        table: Arc<dyn TableProvider>,
    ) -> DataFusionResult<Option<Arc<dyn TableProvider>>> {
        self.inner.register_table(name, table)
    }

    fn deregister_table(&self, name: &str) -> DataFusionResult<Option<Arc<dyn TableProvider>>> {
        self.inner.deregister_table(name)
    }

    fn table_exist(&self, name: &str) -> bool {
        self.inner.table_exist(name) || self.place.tables.contains_key(name)
    }
}
