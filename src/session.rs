//! [`Session`]: SQL over files and tables, with fusion switched on.
//!
//! A session is a DataFusion `SessionContext` put together so that a person's expectations hold: paths
//! in FROM, errors in one sentence, COPY that is whole or not at all, plans cached. Everything else is
//! the `SessionContext`, which [`Session::context`] hands out.
//!
//! Panics in planning are caught here and become [`Error::Internal`]; DataFusion has such faults
//! (`PREPARE v1 AS select distinct on (?) 42`). Its locks do not poison, so the session stays usable.

use std::num::NonZeroUsize;
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};

use datafusion::arrow::array::{ArrayRef, RecordBatch, StringArray};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::catalog::{DynamicFileCatalog, TableProvider, UrlTableFactory};
use datafusion::common::TableReference;
use datafusion::datasource::MemTable;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::{FairSpillPool, TrackConsumersPool};
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::execution::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::{LogicalPlan, Statement as PlanStatement};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::{SessionConfig, SessionContext};
use datafusion::sql::parser::{ExplainStatement, Statement};
use fuseline_runtime::udf::planning::{planning, planning_async};
use fuseline_runtime::workers::{Interpreter, Pool};
use fuseline_runtime::{FuselineOptions, FusionMode};
use futures::FutureExt;
use parking_lot::Mutex;

use crate::copy::{self, CopyTarget};
use crate::error::{Error, NO_TABLE, Result, panic_text, translate};
use crate::files::FileCatalog;
use crate::files::pattern::expand_home;
use crate::functions::{Functions, parse_create_function};
use crate::inputs::Inputs;
use crate::insert;
use crate::local_store::{LocalStore, WriteLog};
use crate::plan_cache::{Origin, PlanCache};
use crate::query::{Query, StatementKind, Work};
use crate::statement;
use crate::suggest::nearest;

/// Batches registered as a table are cut to at most so many rows (without a copy), so that the scan
/// can be divided among threads.
const ROWS_PER_BATCH: usize = 128 * 1024;

/// A session: tables, settings and cached plans. Clones are the same session.
#[derive(Clone)]
pub struct Session {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    context: SessionContext,
    pub(crate) files: Arc<FileCatalog>,
    pub(crate) plans: PlanCache,
    pub(crate) writes: WriteLog,
    pub(crate) functions: Functions,
    workers: OnceLock<Arc<Pool>>,
    /// Held by the INSERT into files that is running.
    pub(crate) insert_turns: Arc<tokio::sync::Mutex<()>>,
}

/// Settings of a new [`Session`].
#[derive(Debug, Default, Clone)]
pub struct SessionBuilder {
    threads: Option<usize>,
    memory_limit: Option<usize>,
    temp_dir: Option<PathBuf>,
    settings: Vec<(String, String)>,
    allow_create_function: bool,
}

impl SessionBuilder {
    /// How many partitions a plan is divided into, and so how many threads it can use. Default: the
    /// number of processors. The tokio runtime that polls the streams should have as many workers.
    #[must_use]
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = Some(threads);
        self
    }

    /// The most memory, in bytes, that queries of this session may reserve for hash tables, sorts and
    /// the like. What does not fit is written to temporary files where the operator can do that.
    /// Default: no limit.
    #[must_use]
    pub fn memory_limit(mut self, bytes: usize) -> Self {
        self.memory_limit = Some(bytes);
        self
    }

    /// The folder for temporary files. Default: the system's.
    #[must_use]
    pub fn temp_dir(mut self, path: impl Into<PathBuf>) -> Self {
        self.temp_dir = Some(path.into());
        self
    }

    /// Whether CREATE FUNCTION, which runs the code it is given, is allowed. Default: no.
    #[must_use]
    pub fn allow_create_function(mut self, allow: bool) -> Self {
        self.allow_create_function = allow;
        self
    }

    /// A setting by its SQL name, for example `fuseline.fusion` or `datafusion.execution.batch_size`.
    #[must_use]
    pub fn set(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.settings.push((key.into(), value.into()));
        self
    }

    /// Makes the session.
    ///
    /// # Errors
    /// [`Error::Setting`] for an unknown setting or value, and for zero threads;
    /// [`Error::File`] if the folder for temporary files cannot be used.
    pub fn build(self) -> Result<Session> {
        let mut config = SessionConfig::new().with_information_schema(true);
        match self.threads {
            Some(0) => {
                return Err(Error::Setting { message: "threads must be at least 1".into() });
            }
            Some(threads) => config = config.with_target_partitions(threads),
            None => {}
        }
        let options = config.options_mut();
        options.sql_parser.collect_spans = true;
        options.explain.physical_plan_only = true;
        // From about a megabyte on a second thread pays (10 MB is DataFusion's default); CSV files are split too.
        options.optimizer.repartition_file_min_size = 1 << 20;

        let mut runtime = RuntimeEnvBuilder::new()
            // Listings are cheap on a local disk, and a cached one hides new files.
            .with_object_list_cache_limit(0);
        if let Some(bytes) = self.memory_limit {
            let named = NonZeroUsize::new(3).unwrap_or(NonZeroUsize::MIN);
            let pool = TrackConsumersPool::new(FairSpillPool::new(bytes), named);
            runtime = runtime.with_memory_pool(Arc::new(pool));
        }
        if let Some(path) = self.temp_dir {
            if !path.is_dir() {
                return Err(Error::file(path, "cannot hold temporary files: not a folder"));
            }
            runtime = runtime.with_disk_manager_builder(
                DiskManagerBuilder::default().with_mode(DiskManagerMode::Directories(vec![path])),
            );
        }

        let runtime = runtime.build_arc()?;
        let writes = WriteLog::default();
        let store = LocalStore::new(writes.clone());
        runtime.register_object_store(ObjectStoreUrl::local_filesystem().as_ref(), Arc::new(store));

        let mut builder = crate::fuse(
            SessionStateBuilder::new().with_default_features().with_config(config).with_runtime_env(runtime),
        );
        if let Some(config) = builder.config() {
            for (key, value) in &self.settings {
                set(config, key, value)?;
            }
        }
        let mut state = builder.build();
        let files = Arc::new(FileCatalog::default());
        let catalogs = DynamicFileCatalog::new(
            Arc::clone(state.catalog_list()),
            Arc::clone(&files) as Arc<dyn UrlTableFactory>,
        );
        state.register_catalog_list(Arc::new(catalogs));
        let context = SessionContext::new_with_state(state);
        files.attach(context.state_weak_ref());
        let functions = Functions { allow_create: self.allow_create_function, ..Functions::default() };
        let session = Session {
            inner: Arc::new(Inner {
                functions,
                workers: OnceLock::new(),
                context,
                files,
                plans: PlanCache::default(),
                writes,
                insert_turns: Arc::default(),
            }),
        };
        session.register_errors_table();
        Ok(session)
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("id", &self.inner.context.session_id()).finish_non_exhaustive()
    }
}

impl Session {
    /// A builder with the defaults.
    pub fn builder() -> SessionBuilder {
        SessionBuilder::default()
    }

    /// A session with the defaults.
    ///
    /// # Errors
    /// As [`SessionBuilder::build`].
    pub fn new() -> Result<Self> {
        Self::builder().build()
    }

    /// Parses and plans exactly one statement; nothing of it runs before the [`Query`] does.
    ///
    /// # Errors
    /// [`Error::Syntax`] and [`Error::Plan`] with the place in the SQL, [`Error::File`] for a path in
    /// FROM that cannot be read.
    pub async fn sql(&self, sql: &str) -> Result<Query> {
        self.sql_with(sql, &Inputs::default()).await
    }

    /// As [`Session::sql`], with values for the statement's parameters (`$1`, `?`, `$name`) and tables
    /// that only this statement sees.
    ///
    /// # Errors
    /// As [`Session::sql`]; [`Error::Plan`] when values and parameters do not fit each other.
    pub async fn sql_with(&self, sql: &str, inputs: &Inputs) -> Result<Query> {
        // Boxed, so that DataFusion's futures are no part of this one's type: every crate that awaits it
        // would generate code for all of them again, a minute of compilation for a program of ten lines.
        let planned = AssertUnwindSafe(self.plan_statement(sql, inputs)).catch_unwind().boxed();
        match planned.await {
            Ok(planned) => {
                let mut query = planned.map_err(|error| self.suggest(error))?;
                query.inputs = inputs.clone();
                Ok(query)
            }
            Err(panic) => Err(Error::Internal { message: panic_text(panic.as_ref()) }),
        }
    }

    /// The statements of a script, in order; comments, strings and `$$` bodies may hold semicolons.
    ///
    /// # Errors
    /// [`Error::Syntax`] if a string, comment or `$$` body does not end.
    pub fn split(&self, script: &str) -> Result<Vec<String>> {
        let dialect = self.inner.context.state_ref().read().config_options().sql_parser.dialect;
        statement::split(script, dialect)
    }

    /// Registers batches in memory as a table, replacing a table of that name. Nothing is copied.
    ///
    /// # Errors
    /// [`Error::Plan`] if a batch does not have the columns of `schema`.
    pub fn register_batches(&self, name: &str, schema: SchemaRef, batches: Vec<RecordBatch>) -> Result<()> {
        self.register_table(name, Self::memory_table(name, schema, batches)?)
    }

    /// A table of batches in memory. Nothing is copied.
    ///
    /// # Errors
    /// [`Error::Plan`], which mentions `name`, if a batch does not have the columns of `schema`.
    pub fn memory_table(
        name: &str,
        schema: SchemaRef,
        batches: Vec<RecordBatch>,
    ) -> Result<Arc<dyn TableProvider>> {
        let mut pieces = Vec::with_capacity(batches.len());
        for batch in batches {
            for offset in (0..batch.num_rows()).step_by(ROWS_PER_BATCH) {
                let rows = ROWS_PER_BATCH.min(batch.num_rows() - offset);
                pieces.push(batch.slice(offset, rows));
            }
        }
        let table = MemTable::try_new(schema, vec![pieces])
            .map_err(|error| Error::plan(format!("table '{name}': {}", translate(&error, None))))?;
        Ok(Arc::new(table))
    }

    /// Registers a table, replacing a table of that name. As in SQL, a name that is not in double
    /// quotes is folded to lower case, and dots separate catalog, schema and table.
    ///
    /// # Errors
    /// [`Error::Plan`] if the name's catalog or schema does not exist.
    pub fn register_table(&self, name: &str, provider: Arc<dyn TableProvider>) -> Result<()> {
        self.inner.plans.clear();
        let context = &self.inner.context;
        let reference = TableReference::from(name);
        context.deregister_table(reference.clone())?;
        context.register_table(reference, provider)?;
        Ok(())
    }

    /// The worker processes of this session: at most one per thread, started when a function needs
    /// them. `interpreter` says at the first call what they run.
    pub fn workers(&self, interpreter: impl FnOnce() -> Interpreter) -> Arc<Pool> {
        let make = || {
            let threads = self.inner.context.state_ref().read().config().target_partitions();
            Arc::new(Pool::new(interpreter(), threads))
        };
        Arc::clone(self.inner.workers.get_or_init(make))
    }

    /// The DataFusion context below. Tables, functions and settings changed through it are seen by the
    /// plan cache; its own `sql` works, without the error handling and COPY of this crate.
    pub fn context(&self) -> &SessionContext {
        &self.inner.context
    }

    /// How many plans the cache holds, and how often one of them was used: for tests and monitoring.
    pub fn plan_cache_counts(&self) -> (usize, u64) {
        self.inner.plans.counts()
    }

    async fn plan_statement(&self, sql: &str, inputs: &Inputs) -> Result<Query> {
        self.refresh_functions();
        let mut state = self.inner.context.state();
        let keep = inputs.is_empty();
        if keep {
            if let Some(query) = self.plan_cached(sql, &state).await? {
                return Ok(query);
            }
        } else {
            inputs.attach(&mut state);
        }
        let dialect = state.config_options().sql_parser.dialect;
        // From here on the text is the one that errors point into.
        let numbered =
            if inputs.values.is_positional() { statement::number_parameters(sql, dialect)? } else { None };
        let text = numbered.as_deref().unwrap_or(sql);
        let mut query = if let Some(query) = statement::explain_codegen(text, dialect)? {
            Box::pin(self.plan_codegen(text, &query, state, inputs)).await?
        } else if let Some(create) = parse_create_function(text, dialect)? {
            let work = Work::Function(Box::new(create));
            self.query(text, StatementKind::Command, Arc::new(Schema::empty()), work, None)
        } else {
            self.plan_parsed(text, &state, keep, inputs).await?
        };
        // A second run starts from the text as it was given.
        query.sql = Arc::from(sql);
        Ok(query)
    }

    /// Plans what DataFusion's parser reads; `keep` says whether the plan may go to the cache.
    async fn plan_parsed(
        &self,
        sql: &str,
        state: &SessionState,
        keep: bool,
        inputs: &Inputs,
    ) -> Result<Query> {
        let mut parsed = statement::parse(sql, state)?;
        inputs.values.bind_statement(&mut parsed, sql)?;
        let target = rewrite_paths(&mut parsed)?;
        let references = state.resolve_table_references(&parsed).map_err(|e| translate(&e, Some(sql)))?;
        let logical =
            Box::pin(state.statement_to_plan(parsed)).await.map_err(|e| translate(&e, Some(sql)))?;
        // EXECUTE stands for the query that was prepared.
        let logical = match logical {
            LogicalPlan::Statement(PlanStatement::Execute(execute)) => {
                let execute = LogicalPlan::Statement(PlanStatement::Execute(execute));
                let frame = Box::pin(self.inner.context.execute_logical_plan(execute))
                    .await
                    .map_err(|e| translate(&e, Some(sql)))?;
                frame.into_parts().1
            }
            other => inputs.values.bind_plan(other, sql)?,
        };
        let schema = Arc::clone(logical.schema().inner());
        let kind = kind_of(&logical);
        if matches!(logical, LogicalPlan::Ddl(_) | LogicalPlan::Statement(_)) {
            let work = Work::Statement(Box::new(logical));
            return Ok(self.query(sql, kind, schema, work, None));
        }
        if keep
            && kind == StatementKind::Query
            && let Some(origin) = Origin::of(&logical, &references, state).await
        {
            let optimized = Arc::new(optimize(&logical, state, sql)?);
            let physical = plan_physical(&optimized, state, sql).await?;
            // The cache may keep this one and give a copy to run.
            let copy = self.inner.plans.put(sql, origin, optimized, &physical);
            let physical = copy.unwrap_or(physical);
            return Ok(self.planned(sql, kind, schema, physical, target));
        }
        let optimized = optimize(&logical, state, sql)?;
        let physical = plan_physical(&optimized, state, sql).await?;
        if let Some(folder) = insert::target_folder(&logical) {
            let work = Work::Insert(Arc::clone(&physical), folder);
            return Ok(self.query(sql, kind, schema, work, Some(physical)));
        }
        Ok(self.planned(sql, kind, schema, physical, target))
    }

    /// `EXPLAIN CODEGEN`, which DataFusion's parser does not know: plans `query` and shows what was
    /// generated for it, in the two columns that EXPLAIN has. Who asks for the code wants to see it also
    /// where `fuseline.fusion = 'on'` would leave a tiny input alone.
    async fn plan_codegen(
        &self,
        sql: &str,
        query: &str,
        mut state: SessionState,
        inputs: &Inputs,
    ) -> Result<Query> {
        if FuselineOptions::of(state.config_options()).fusion == FusionMode::On {
            let options = state.config_mut().options_mut();
            options.set("fuseline.fusion", "force").map_err(|e| translate(&e, Some(sql)))?;
        }
        let query = self.plan_parsed(query, &state, false, inputs).await?;
        if query.kind != StatementKind::Query {
            return Err(Error::plan("EXPLAIN CODEGEN explains queries only"));
        }
        let text = fuseline_runtime::explain_codegen(&query.plan()?).map_err(|e| translate(&e, Some(sql)))?;
        let schema = Arc::new(Schema::new(vec![
            Field::new("plan_type", DataType::Utf8, false),
            Field::new("plan", DataType::Utf8, false),
        ]));
        let columns: Vec<ArrayRef> =
            vec![Arc::new(StringArray::from(vec!["codegen"])), Arc::new(StringArray::from(vec![text]))];
        let rows =
            RecordBatch::try_new(Arc::clone(&schema), columns).map_err(|e| translate(&e.into(), None))?;
        Ok(self.query(sql, StatementKind::Explain, schema, Work::Rows(rows), None))
    }

    async fn plan_cached(&self, sql: &str, state: &SessionState) -> Result<Option<Query>> {
        let Some(cached) = self.inner.plans.get(sql, state).await else {
            return Ok(None);
        };
        let schema = Arc::clone(cached.logical.schema().inner());
        let physical = match cached.physical {
            Some(physical) => physical,
            None => plan_physical(&cached.logical, state, sql).await?,
        };
        Ok(Some(self.planned(sql, StatementKind::Query, schema, physical, None)))
    }

    fn planned(
        &self,
        sql: &str,
        kind: StatementKind,
        schema: SchemaRef,
        physical: Arc<dyn ExecutionPlan>,
        target: Option<CopyTarget>,
    ) -> Query {
        let work = match target {
            Some(target) => Work::Copy(Arc::clone(&physical), target),
            None => Work::Plan(Arc::clone(&physical)),
        };
        self.query(sql, kind, schema, work, Some(physical))
    }

    pub(crate) fn query(
        &self,
        sql: &str,
        kind: StatementKind,
        schema: SchemaRef,
        work: Work,
        physical: Option<Arc<dyn ExecutionPlan>>,
    ) -> Query {
        Query {
            session: self.clone(),
            sql: Arc::from(sql),
            inputs: Inputs::default(),
            kind,
            schema,
            work: Mutex::new(Some(work)),
            physical,
            running: Arc::default(),
            started: AtomicBool::new(false),
        }
    }

    /// Adds to an unknown table's message what was probably meant.
    fn suggest(&self, error: Error) -> Error {
        let Error::Plan { mut message, position } = error else {
            return error;
        };
        if let Some(name) = message.strip_prefix(NO_TABLE).map(|name| name.trim_matches('\'').to_string()) {
            let names = self.table_names();
            if let Some(near) = nearest(&name, names.iter().map(String::as_str)) {
                message += &format!("; did you mean '{near}'?");
            } else if std::path::Path::new(&name).exists() {
                message += &format!("; there is a file or folder of that name: write './{name}'");
            }
        }
        Error::Plan { message, position }
    }

    /// Tables of the default schema.
    fn table_names(&self) -> Vec<String> {
        let state = self.inner.context.state_ref();
        let state = state.read();
        let options = &state.config_options().catalog;
        state
            .catalog_list()
            .catalog(&options.default_catalog)
            .and_then(|catalog| catalog.schema(&options.default_schema))
            .map(|schema| schema.table_names())
            .unwrap_or_default()
    }
}

/// Fills in what the names in COPY and CREATE EXTERNAL TABLE leave to us, and points a COPY at a
/// staging folder.
fn rewrite_paths(statement: &mut Statement) -> Result<Option<CopyTarget>> {
    match statement {
        Statement::CopyTo(copy) => {
            copy::complete(copy)?;
            CopyTarget::redirect(copy)
        }
        Statement::CreateExternalTable(create) => {
            for location in &mut create.locations {
                if location.starts_with('~') {
                    *location = expand_home(location)?.to_string_lossy().into_owned();
                }
            }
            Ok(None)
        }
        Statement::Explain(ExplainStatement { options, statement }) => {
            if let Statement::CopyTo(copy) = statement.as_mut() {
                copy::complete(copy)?;
                if options.analyze {
                    return Err(Error::Unsupported {
                        message: "EXPLAIN ANALYZE of COPY, which would write the file; EXPLAIN \
                                  ANALYZE its query instead"
                            .into(),
                    });
                }
            }
            Ok(None)
        }
        Statement::Statement(_) | Statement::Reset(_) => Ok(None),
    }
}

fn kind_of(plan: &LogicalPlan) -> StatementKind {
    match plan {
        LogicalPlan::Explain(_) | LogicalPlan::Analyze(_) => StatementKind::Explain,
        LogicalPlan::Ddl(_) | LogicalPlan::Dml(_) | LogicalPlan::Copy(_) | LogicalPlan::Statement(_) => {
            StatementKind::Command
        }
        LogicalPlan::Projection(_)
        | LogicalPlan::Filter(_)
        | LogicalPlan::Window(_)
        | LogicalPlan::Aggregate(_)
        | LogicalPlan::Sort(_)
        | LogicalPlan::Join(_)
        | LogicalPlan::Repartition(_)
        | LogicalPlan::Union(_)
        | LogicalPlan::TableScan(_)
        | LogicalPlan::EmptyRelation(_)
        | LogicalPlan::Subquery(_)
        | LogicalPlan::SubqueryAlias(_)
        | LogicalPlan::Limit(_)
        | LogicalPlan::Values(_)
        | LogicalPlan::Extension(_)
        | LogicalPlan::Distinct(_)
        | LogicalPlan::DescribeTable(_)
        | LogicalPlan::Unnest(_)
        | LogicalPlan::RecursiveQuery(_) => StatementKind::Query,
    }
}

pub(crate) fn optimize(logical: &LogicalPlan, state: &SessionState, sql: &str) -> Result<LogicalPlan> {
    planning(|| state.optimize(logical)).map_err(|e| translate(&e, Some(sql)))
}

/// Plans an optimized logical plan.
pub(crate) async fn plan_physical(
    optimized: &LogicalPlan,
    state: &SessionState,
    sql: &str,
) -> Result<Arc<dyn ExecutionPlan>> {
    let planner = state.query_planner();
    let plan = planning_async(Box::pin(planner.create_physical_plan(optimized, state)));
    plan.await.map_err(|e| translate(&e, Some(sql)))
}

/// Sets one setting by name.
///
/// # Errors
/// [`Error::Setting`] that says whether the name or the value is wrong.
fn set(config: &mut SessionConfig, key: &str, value: &str) -> Result<()> {
    let result = config.options_mut().set(key, value);
    result.map_err(|error| {
        let reason = translate(&error, None).to_string();
        setting_error(config, key, Some(value), &reason)
    })
}

/// What is wrong with a setting that was refused.
pub(crate) fn setting_error(config: &SessionConfig, key: &str, value: Option<&str>, reason: &str) -> Error {
    let entries = config.options().entries();
    let known = entries.iter().any(|entry| entry.key == key)
        || key == "datafusion.optimizer.enable_dynamic_filter_pushdown";
    let message = if known {
        match value {
            // Settings of fuseline say it all themselves.
            Some(_) if reason.starts_with(key) => reason.to_string(),
            Some(value) => format!("setting '{key}' cannot be '{value}': {reason}"),
            None => format!("setting '{key}': {reason}"),
        }
    } else {
        let mut message = format!("there is no setting '{key}'");
        if let Some(near) = nearest(key, entries.iter().map(|entry| entry.key.as_str())) {
            message += &format!("; did you mean '{near}'?");
        }
        message
    };
    Error::Setting { message }
}
