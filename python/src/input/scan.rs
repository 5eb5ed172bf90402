//! The scan of a [`ColumnTable`](super::table::ColumnTable): each partition is a contiguous range of rows, read
//! and converted one piece at a time as its stream is polled.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Result, Statistics, internal_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::EquivalenceProperties;
use datafusion::physical_plan::coop::cooperative;
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType, SchedulingType};
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PhysicalExpr, PlanProperties, StatisticsArgs,
};
use futures::stream;

use super::table::Data;

/// Reads columns of a table from Python.
pub struct ScanExec {
    data: Arc<Data>,
    schema: SchemaRef,
    columns: Vec<usize>,
    /// The pieces of each partition.
    pieces: Arc<Vec<Vec<Range<usize>>>>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl ScanExec {
    /// A scan in at most `partitions` partitions.
    pub fn new(data: Arc<Data>, schema: SchemaRef, columns: Vec<usize>, partitions: usize) -> ScanExec {
        let pieces = data.pieces(&columns);
        let share = pieces.len().div_ceil(partitions.max(1)).max(1);
        let mut dealt: Vec<_> = pieces.chunks(share).map(<[_]>::to_vec).collect();
        dealt.resize(dealt.len().max(1), Vec::new());
        let properties = PlanProperties::new(
            EquivalenceProperties::new(Arc::clone(&schema)),
            Partitioning::UnknownPartitioning(dealt.len()),
            EmissionType::Incremental,
            Boundedness::Bounded,
        )
        .with_scheduling_type(SchedulingType::Cooperative);
        ScanExec {
            data,
            schema,
            columns,
            pieces: Arc::new(dealt),
            properties: Arc::new(properties),
            metrics: ExecutionPlanMetricsSet::new(),
        }
    }
}

impl fmt::Debug for ScanExec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScanExec").field("columns", &self.columns).finish_non_exhaustive()
    }
}

impl DisplayAs for ScanExec {
    fn fmt_as(&self, t: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.schema.fields().iter().map(|field| field.name().as_str()).collect();
        match t {
            DisplayFormatType::Default | DisplayFormatType::Verbose => {
                let partitions = self.pieces.len();
                write!(f, "PythonTableExec: partitions={partitions}, columns=[{}]", names.join(", "))
            }
            DisplayFormatType::TreeRender => writeln!(f, "columns=[{}]", names.join(", ")),
        }
    }
}

impl ExecutionPlan for ScanExec {
    fn name(&self) -> &'static str {
        "PythonTableExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        _f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        if children.is_empty() { Ok(self) } else { internal_err!("a scan has no children") }
    }

    fn execute(&self, partition: usize, _context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let Some(pieces) = self.pieces.get(partition).cloned() else {
            return internal_err!("there is no partition {partition} of a table from Python");
        };
        let (data, schema, columns) =
            (Arc::clone(&self.data), Arc::clone(&self.schema), self.columns.clone());
        let baseline = BaselineMetrics::new(&self.metrics, partition);
        let batches = stream::iter(pieces.into_iter().map(move |rows| {
            let elapsed = baseline.elapsed_compute().clone();
            let _timer = elapsed.timer();
            let batch = data.read(&schema, &columns, &rows)?;
            baseline.record_output(batch.num_rows());
            Ok(batch)
        }));
        let batches = RecordBatchStreamAdapter::new(Arc::clone(&self.schema), batches);
        Ok(Box::pin(cooperative(batches)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn statistics_from_inputs(
        &self,
        _input_stats: &[Arc<Statistics>],
        args: &StatisticsArgs,
    ) -> Result<Arc<Statistics>> {
        let rows = |pieces: &Vec<Range<usize>>| pieces.iter().map(|piece| piece.len()).sum::<usize>();
        let rows = match args.partition() {
            Some(partition) => self.pieces.get(partition).map_or(0, rows),
            None => self.pieces.iter().map(rows).sum(),
        };
        let mut statistics = Statistics::new_unknown(&self.schema);
        statistics.num_rows = Precision::Exact(rows);
        Ok(Arc::new(statistics))
    }
}
