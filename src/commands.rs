//! Statements that change the session instead of giving a result: DDL, SET, PREPARE.
//!
//! Most go to DataFusion's own `execute_logical_plan`. CREATE TABLE is run here: DataFusion drops the
//! old table of `CREATE OR REPLACE TABLE t AS ...` before it has the new one, so that a query that
//! fails takes `t` with it; here the old one stays until the new one is whole.

use std::collections::HashSet;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use datafusion::datasource::MemTable;
use datafusion::execution::SessionState;
use datafusion::logical_expr::{CreateMemoryTable, DdlStatement, LogicalPlan, Statement};
use datafusion::physical_plan::collect_partitioned;
use futures::FutureExt;
use parking_lot::Mutex;

use crate::error::{Error, Result, panic_text, translate};
use crate::files::diagnose;
use crate::query::{RunningPlan, explain};
use crate::session::{Session, optimize, plan_physical, setting_error};

impl Session {
    /// Runs a statement to its end.
    pub(crate) async fn run_statement(
        &self,
        plan: LogicalPlan,
        sql: &str,
        running: &Mutex<Option<RunningPlan>>,
    ) -> Result<()> {
        let run = AssertUnwindSafe(self.dispatch(plan, sql, running)).catch_unwind();
        let result = match run.await {
            Ok(result) => result,
            Err(panic) => Err(Error::Internal { message: panic_text(panic.as_ref()) }),
        };
        // Plans keep the tables they read alive, also one that has just been dropped.
        self.inner.plans.clear();
        result
    }

    async fn dispatch(
        &self,
        plan: LogicalPlan,
        sql: &str,
        running: &Mutex<Option<RunningPlan>>,
    ) -> Result<()> {
        match plan {
            LogicalPlan::Ddl(DdlStatement::CreateMemoryTable(create)) => {
                self.create_table(create, sql, running).await
            }
            LogicalPlan::Ddl(DdlStatement::CreateExternalTable(create)) => {
                let location = create.locations.first().cloned().unwrap_or_default();
                let plan = LogicalPlan::Ddl(DdlStatement::CreateExternalTable(create));
                self.hand_down(plan, sql)
                    .await
                    .map_err(|error| diagnose::location_fault(&location, &error).unwrap_or(error))
            }
            LogicalPlan::Statement(Statement::SetVariable(set)) => {
                let (key, value) = (set.variable.clone(), set.value.clone());
                let plan = LogicalPlan::Statement(Statement::SetVariable(set));
                let result = self.hand_down(plan, sql).await;
                // Some settings are about reading files.
                self.inner.files.clear();
                result.map_err(|error| self.refused(&key, Some(&value), &error))
            }
            LogicalPlan::Statement(Statement::ResetVariable(reset)) => {
                let key = reset.variable.clone();
                self.inner.files.clear();
                if key.starts_with("datafusion.") {
                    let plan = LogicalPlan::Statement(Statement::ResetVariable(reset));
                    let result = self.hand_down(plan, sql).await;
                    return result.map_err(|error| self.refused(&key, None, &error));
                }
                self.reset_extension(&key)
            }
            other => self.hand_down(other, sql).await,
        }
    }

    /// DataFusion's own execution.
    async fn hand_down(&self, plan: LogicalPlan, sql: &str) -> Result<()> {
        let context = self.context();
        let frame =
            Box::pin(context.execute_logical_plan(plan)).await.map_err(|e| translate(&e, Some(sql)))?;
        // What DataFusion did not handle comes back as a plan, which says why when it is run.
        if !matches!(frame.logical_plan(), LogicalPlan::EmptyRelation(_)) {
            Box::pin(frame.collect()).await.map_err(|e| translate(&e, Some(sql)))?;
        }
        Ok(())
    }

    fn refused(&self, key: &str, value: Option<&str>, error: &Error) -> Error {
        if key.starts_with("datafusion.runtime.") {
            return match error {
                Error::Plan { message, .. } => Error::Setting { message: message.clone() },
                other => other.clone(),
            };
        }
        let config = self.context().copied_config();
        setting_error(&config, key, value, &error.to_string())
    }

    /// RESET of a setting that is not DataFusion's: DataFusion cannot, so take the default from a new
    /// session.
    fn reset_extension(&self, key: &str) -> Result<()> {
        let fresh = Session::new()?;
        let default =
            fresh.context().copied_config().options().entries().into_iter().find(|entry| entry.key == key);
        let config = self.context().copied_config();
        let Some(default) = default else {
            return Err(setting_error(&config, key, None, ""));
        };
        let state = self.context().state_ref();
        let mut state = state.write();
        let value = default.value.unwrap_or_default();
        state
            .config_mut()
            .options_mut()
            .set(key, &value)
            .map_err(|e| setting_error(&config, key, Some(&value), &translate(&e, None).to_string()))
    }

    async fn create_table(
        &self,
        create: CreateMemoryTable,
        sql: &str,
        running: &Mutex<Option<RunningPlan>>,
    ) -> Result<()> {
        let context = self.context();
        let name = &create.name;
        if create.temporary {
            return Err(Error::Unsupported {
                message: "temporary tables; CREATE TABLE makes one in memory for this session".into(),
            });
        }
        let exists = context.table_exist(name.clone())?;
        match (exists, create.if_not_exists, create.or_replace) {
            (_, true, true) => {
                return Err(Error::plan("OR REPLACE and IF NOT EXISTS exclude each other"));
            }
            (true, true, false) => return Ok(()),
            (true, false, false) => {
                return Err(Error::plan(format!(
                    "table '{name}' exists already; CREATE OR REPLACE TABLE replaces it"
                )));
            }
            (true, false, true) | (false, _, _) => {}
        }
        let state = context.state();
        let table = self.run_create(create.clone(), &state, sql, running).await?;
        if exists {
            context.deregister_table(name.clone())?;
        }
        context.register_table(name.clone(), Arc::new(table))?;
        Ok(())
    }

    /// Runs the query of CREATE TABLE AS.
    async fn run_create(
        &self,
        create: CreateMemoryTable,
        state: &SessionState,
        sql: &str,
        running: &Mutex<Option<RunningPlan>>,
    ) -> Result<MemTable> {
        let input = optimize(&create.input, state, sql)?;
        let mut names = HashSet::new();
        for field in input.schema().fields() {
            if !names.insert(field.name()) {
                return Err(Error::plan(format!(
                    "column '{}' appears twice; give one of them another name with AS",
                    field.name()
                )));
            }
        }
        let schema = Arc::clone(input.schema().inner());
        let physical = plan_physical(&input, state, sql).await?;
        *running.lock() = Some(RunningPlan::new(&physical));
        let batches = match collect_partitioned(Arc::clone(&physical), state.task_ctx()).await {
            Ok(batches) => batches,
            Err(error) => return Err(explain(&error, &physical, sql).await),
        };
        let table = MemTable::try_new(schema, batches)?
            .with_constraints(create.constraints)
            .with_column_defaults(create.column_defaults.into_iter().collect());
        Ok(table)
    }
}
