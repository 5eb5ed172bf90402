//! Rows that `on_error = 'collect'` kept, as the table function `fuseline_errors()`.

use arrow::array::{ArrayRef, RecordBatch, StringArray, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableFunctionArgs, TableFunctionImpl, TableProvider};
use datafusion::common::{Result, plan_err};
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::{Arc, LazyLock};

/// Rows kept at most; the oldest go first.
const CAPACITY: usize = 100_000;

/// A row on which a function failed.
#[derive(Clone, Debug)]
pub struct CollectedRow {
    pub udf: String,
    /// Among the rows of its batch, from 0.
    pub row: usize,
    pub arguments: String,
    pub exception: String,
}

/// The failed rows of a session.
#[derive(Debug, Default)]
pub struct CollectedErrors {
    rows: Mutex<VecDeque<CollectedRow>>,
}

static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    Arc::new(Schema::new(vec![
        Field::new("udf", DataType::Utf8, false),
        Field::new("row", DataType::UInt64, false),
        Field::new("arguments", DataType::Utf8, false),
        Field::new("exception", DataType::Utf8, false),
    ]))
});

impl CollectedErrors {
    /// The name of the table function.
    pub const TABLE: &'static str = "fuseline_errors";

    pub fn push(&self, row: CollectedRow) {
        let mut rows = self.rows.lock();
        if rows.len() >= CAPACITY {
            rows.pop_front();
        }
        rows.push_back(row);
    }

    /// Forgets all rows.
    pub fn clear(&self) {
        self.rows.lock().clear();
    }

    /// The rows, oldest first.
    ///
    /// # Errors
    /// Arrow's, should the columns not fit together.
    pub fn batch(&self) -> Result<RecordBatch> {
        let rows = self.rows.lock();
        let text = |of: fn(&CollectedRow) -> &str| -> ArrayRef {
            Arc::new(rows.iter().map(|r| Some(of(r))).collect::<StringArray>())
        };
        let columns = vec![
            text(|r| &r.udf),
            Arc::new(rows.iter().map(|r| Some(r.row as u64)).collect::<UInt64Array>()),
            text(|r| &r.arguments),
            text(|r| &r.exception),
        ];
        Ok(RecordBatch::try_new(Arc::clone(&SCHEMA), columns)?)
    }
}

/// `fuseline_errors()`.
#[derive(Debug)]
pub struct ErrorsFunction(pub Arc<CollectedErrors>);

impl TableFunctionImpl for ErrorsFunction {
    fn call_with_args(&self, args: TableFunctionArgs) -> Result<Arc<dyn TableProvider>> {
        if !args.exprs().is_empty() {
            return plan_err!("{}() takes no arguments", CollectedErrors::TABLE);
        }
        Ok(Arc::new(ErrorsTable(Arc::clone(&self.0))))
    }
}

/// The rows that are there when the table is scanned.
#[derive(Debug)]
struct ErrorsTable(Arc<CollectedErrors>);

#[async_trait]
impl TableProvider for ErrorsTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&SCHEMA)
    }

    fn table_type(&self) -> TableType {
        TableType::Temporary
    }

    async fn scan(
        &self,
        _state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let rows = vec![vec![self.0.batch()?]];
        let plan = MemorySourceConfig::try_new_exec(&rows, Arc::clone(&SCHEMA), projection.cloned())?;
        Ok(plan)
    }
}
