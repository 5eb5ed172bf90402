//! A conjunct of a scan's predicate as the Parquet reader evaluates it: by a compiled loop.
//!
//! Its only child is the original expression. So whatever DataFusion does to a predicate before it opens a file
//! (columns to literals, other positions, casts to the table's types) is done to the original, and `snapshot` shows
//! it to pruning, which knows comparisons and literals by their types. The loop is made when the first batch comes,
//! for the columns as the file has them.
//!
//! A conjunct that should only prune is a [`PruneOnly`]: beside the original its children have a call
//! of `input_file_name()`, which keeps DataFusion from making it part of a row filter.
//!
//! Invariant: a predicate that cannot be compiled for a file's columns is evaluated by DataFusion.

use super::is_dynamic;
use crate::config::{FuselineOptions, FusionMode};
use crate::metrics::StageMetrics;
use crate::program::{MorselOutput, Program};
use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, FieldRef, Schema, SchemaRef};
use datafusion::common::{Result, ScalarValue, internal_err};
use datafusion::config::ConfigOptions;
use datafusion::functions::core::input_file_name;
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr::ScalarFunctionExpr;
use datafusion::physical_expr::expressions::Literal;
use datafusion::physical_expr_common::physical_expr::snapshot_physical_expr;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use datafusion::physical_plan::projection::{ProjectionExec, ProjectionExpr};
use datafusion::physical_plan::{ExecutionPlan, PhysicalExpr};
use fuseline_planner::stage::Stage;
use fuseline_planner::support::Support;
use fuseline_planner::{PlanOptions, plan_stage};
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, OnceLock};

/// A predicate that a loop evaluates.
#[derive(Clone)]
pub struct CompiledPredicate {
    original: Arc<dyn PhysicalExpr>,
    options: Arc<FuselineOptions>,
    /// For the columns of the first batch; `None` where DataFusion evaluates it.
    code: OnceLock<Option<Arc<Code>>>,
}

/// The loop over a batch.
struct Code {
    schema: SchemaRef,
    program: Program,
    metrics: StageMetrics,
}

impl CompiledPredicate {
    pub fn new(original: Arc<dyn PhysicalExpr>, options: Arc<FuselineOptions>) -> CompiledPredicate {
        CompiledPredicate { original, options, code: OnceLock::new() }
    }

    /// What is compiled: a dynamic filter as it is now, if it will stay so.
    fn settled(&self) -> Result<Option<Arc<dyn PhysicalExpr>>> {
        use datafusion::physical_expr::expressions::DynamicFilterTracking;
        match DynamicFilterTracking::classify(&self.original) {
            DynamicFilterTracking::Static => Ok(Some(Arc::clone(&self.original))),
            DynamicFilterTracking::AllComplete => {
                snapshot_physical_expr(Arc::clone(&self.original)).map(Some)
            }
            // A loop for each bound would cost more than it saves.
            DynamicFilterTracking::Watching(_) => Ok(None),
        }
    }

    fn compile(&self, schema: &SchemaRef) -> Option<Arc<Code>> {
        let settled = self.settled().ok()??;
        let stage = stage_of(&settled, schema, &self.options)?;
        if !is_plain(&stage) {
            return None;
        }
        let metrics = StageMetrics::new(&ExecutionPlanMetricsSet::new(), 0, &stage);
        let program = Program::compile(Arc::new(stage), &self.options).ok()?;
        Some(Arc::new(Code { schema: Arc::clone(schema), program, metrics }))
    }

    fn passing(&self, batch: &RecordBatch) -> Result<ArrayRef> {
        let code = self.code.get_or_init(|| self.compile(batch.schema_ref()));
        if let Some(code) = code
            && (Arc::ptr_eq(&code.schema, batch.schema_ref()) || code.schema == *batch.schema_ref())
        {
            return match code.program.run(batch.clone(), 0, &code.metrics)? {
                MorselOutput::Batch(out) if out.num_columns() == 1 => Ok(Arc::clone(out.column(0))),
                MorselOutput::Batch(_)
                | MorselOutput::Aggregate(_)
                | MorselOutput::Grouped
                | MorselOutput::Silent => internal_err!("a predicate gave no column of booleans"),
            };
        }
        self.original.evaluate(batch)?.into_array(batch.num_rows())
    }
}

/// Whether the expression can be evaluated on any row of any batch without consequence: a loop computes it, calls
/// nothing and cannot fail.
pub fn is_harmless(expr: &Arc<dyn PhysicalExpr>, schema: &SchemaRef, options: &FuselineOptions) -> bool {
    if is_dynamic(expr) {
        return false;
    }
    let Some(stage) = stage_of(expr, schema, options) else { return false };
    is_plain(&stage)
        && stage.segments.iter().all(|s| {
            s.loop_.values.iter().all(|v| {
                let types: Vec<_> = v.args.iter().map(|a| s.loop_.value(*a).ty).collect();
                !v.op.can_fail(&types)
            })
        })
}

/// One loop without calls.
fn is_plain(stage: &Stage) -> bool {
    stage.segments.len() == 1 && stage.segments.iter().all(|s| s.calls.is_empty()) && stage.joins.is_empty()
}

/// The stage that computes the expression over such columns.
fn stage_of(expr: &Arc<dyn PhysicalExpr>, schema: &SchemaRef, options: &FuselineOptions) -> Option<Stage> {
    let rows: Arc<dyn ExecutionPlan> = Arc::new(EmptyExec::new(Arc::clone(schema)));
    let passes = ProjectionExpr { expr: Arc::clone(expr), alias: "passes".to_owned() };
    let projection: Arc<dyn ExecutionPlan> = Arc::new(ProjectionExec::try_new(vec![passes], rows).ok()?);
    let options = PlanOptions {
        mode: FusionMode::Force,
        exact_libm: options.exact_libm,
        output_is_final: false,
        is_boundary: None,
        partitions_are_free: false,
        body_of: None,
        bodies_are_nullable: false,
    };
    match plan_stage(&projection, &options) {
        Some(Support::Supported(planned)) => Some(planned.stage),
        Some(Support::Unsupported(_)) | None => None,
    }
}

impl fmt::Debug for CompiledPredicate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CompiledPredicate").field("original", &self.original).finish_non_exhaustive()
    }
}

impl fmt::Display for CompiledPredicate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.original.fmt(f)
    }
}

impl PartialEq for CompiledPredicate {
    fn eq(&self, other: &CompiledPredicate) -> bool {
        self.original.eq(&other.original)
    }
}

impl Eq for CompiledPredicate {}

impl Hash for CompiledPredicate {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.original.hash(state);
    }
}

impl PhysicalExpr for CompiledPredicate {
    fn data_type(&self, schema: &Schema) -> Result<DataType> {
        self.original.data_type(schema)
    }

    fn nullable(&self, schema: &Schema) -> Result<bool> {
        self.original.nullable(schema)
    }

    fn return_field(&self, schema: &Schema) -> Result<FieldRef> {
        self.original.return_field(schema)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        Ok(ColumnarValue::Array(self.passing(batch)?))
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.original]
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn PhysicalExpr>>,
    ) -> Result<Arc<dyn PhysicalExpr>> {
        match <[_; 1]>::try_from(children) {
            // What a file's constants have decided needs no loop.
            Ok([original]) if original.is::<Literal>() => Ok(original),
            Ok([original]) => Ok(Arc::new(CompiledPredicate::new(original, Arc::clone(&self.options)))),
            Err(_) => internal_err!("a compiled predicate has one child"),
        }
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.original.fmt_sql(f)
    }

    fn snapshot(&self) -> Result<Option<Arc<dyn PhysicalExpr>>> {
        Ok(Some(Arc::clone(&self.original)))
    }
}

/// A predicate that rows are not filtered by.
#[derive(Debug)]
pub struct PruneOnly {
    original: Arc<dyn PhysicalExpr>,
    /// A call that no row filter may make.
    fence: Arc<dyn PhysicalExpr>,
}

impl PruneOnly {
    pub fn new(original: Arc<dyn PhysicalExpr>) -> Result<PruneOnly> {
        let fence = ScalarFunctionExpr::try_new(
            input_file_name(),
            vec![],
            &Schema::empty(),
            ConfigOptions::new().into(),
        )?;
        Ok(PruneOnly { original, fence: Arc::new(fence) })
    }
}

impl PartialEq for PruneOnly {
    fn eq(&self, other: &PruneOnly) -> bool {
        self.original.eq(&other.original)
    }
}

impl Eq for PruneOnly {}

impl Hash for PruneOnly {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.original.hash(state);
    }
}

impl fmt::Display for PruneOnly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.original.fmt(f)
    }
}

impl PhysicalExpr for PruneOnly {
    fn data_type(&self, schema: &Schema) -> Result<DataType> {
        self.original.data_type(schema)
    }

    fn nullable(&self, schema: &Schema) -> Result<bool> {
        self.original.nullable(schema)
    }

    fn return_field(&self, schema: &Schema) -> Result<FieldRef> {
        self.original.return_field(schema)
    }

    fn evaluate(&self, _batch: &RecordBatch) -> Result<ColumnarValue> {
        // Every row may matter to what filters above.
        Ok(ColumnarValue::Scalar(ScalarValue::Boolean(Some(true))))
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.original, &self.fence]
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn PhysicalExpr>>,
    ) -> Result<Arc<dyn PhysicalExpr>> {
        match <[_; 2]>::try_from(children) {
            Ok([original, fence]) => Ok(Arc::new(PruneOnly { original, fence })),
            Err(_) => internal_err!("a predicate that only prunes has two children"),
        }
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.original.fmt_sql(f)
    }

    fn snapshot(&self) -> Result<Option<Arc<dyn PhysicalExpr>>> {
        Ok(Some(Arc::clone(&self.original)))
    }
}
