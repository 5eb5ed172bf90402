//! What a fused stage counts while it runs; EXPLAIN ANALYZE prints it.

use crate::udf::entries;
use crate::udf::metrics::UdfMetrics;
use datafusion::physical_plan::metrics::{
    BaselineMetrics, Count, ExecutionPlanMetricsSet, MetricBuilder, Time,
};
use fuseline_planner::stage::Stage;
use std::sync::Arc;

/// The metrics of one partition of a stage.
#[derive(Clone, Debug)]
pub struct StageMetrics {
    /// Rows and batches that left, and the time spent inside the stage.
    pub baseline: BaselineMetrics,
    /// Pieces of the input that went through the loops.
    pub morsels: Count,
    /// Rows that entered.
    pub input_rows: Count,
    /// Morsels that compiled code gave up and the interpreter ran.
    pub bails: Count,
    /// IR instructions of the stage's loops; on partition 0 only.
    pub ir_ops: Count,
    /// Machine code of the variants that this run needed first, and of those made with the plan.
    pub code_bytes: Count,
    /// Generating it.
    pub compile_time: Time,
    /// Inside functions that are not generated code.
    pub call_time: Time,
    /// Of each user-defined function.
    pub udfs: Arc<[UdfMetrics]>,
}

impl StageMetrics {
    pub fn new(set: &ExecutionPlanMetricsSet, partition: usize, stage: &Stage) -> StageMetrics {
        StageMetrics {
            baseline: BaselineMetrics::new(set, partition),
            morsels: MetricBuilder::new(set).counter("morsels", partition),
            input_rows: MetricBuilder::new(set).counter("input_rows", partition),
            bails: MetricBuilder::new(set).counter("bails", partition),
            ir_ops: MetricBuilder::new(set).counter("ir_ops", partition),
            code_bytes: MetricBuilder::new(set).counter("code_bytes", partition),
            compile_time: MetricBuilder::new(set).subset_time("compile_time", partition),
            call_time: MetricBuilder::new(set).subset_time("call_time", partition),
            udfs: entries::functions(stage)
                .into_iter()
                .map(|(id, name)| UdfMetrics::new(set, partition, id, &name))
                .collect(),
        }
    }
}
