//! Scans that read less: predicates inside the Parquet reader.
//!
//! DataFusion's Parquet source has the conjuncts of the filters above it, but with `pushdown_filters` off, as is
//! its default, it only prunes with them: files, row groups, pages, by statistics and bloom filters. What is left
//! is decoded whole. With the setting on it decodes the columns of the predicate first and of the others only the
//! rows that pass, which is worth a lot where few do, and costs up to twice the time where many do: reading by a
//! row filter materializes the predicate's columns twice, and below an average of 32 rows per run the reader
//! decodes everything anyway and throws rows away afterwards.
//!
//! [`adaptive`] puts an [`AdaptiveSource`](source::AdaptiveSource) in place of the source. When a partition begins
//! to read, it reads a few thousand rows of the predicate's columns ([`sample`]), and has a row filter if
//! those say that it pays. The filter above stays in its loop; so whatever the source decides, answers are the same.
//! It also deals the row groups of a file that several partitions read evenly among them.
//! In the row filter stand [`predicate::CompiledPredicate`]s, which show pruning the original expression.
//!
//! Which conjuncts may be there at all is [`candidates`]' choice: those that can neither fail nor call anything,
//! because they are evaluated on rows that an earlier conjunct of the query excludes, and what is known of keys by
//! the joins above and of the least rows by a TopK (dynamic filters).

mod member;
mod predicate;
mod sample;
mod source;

use crate::config::{FuselineOptions, ScanFilters};
use arrow::datatypes::SchemaRef;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::datasource::physical_plan::{FileScanConfigBuilder, FileSource, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::physical_expr::expressions::DynamicFilterPhysicalExpr;
use datafusion::physical_expr::split_conjunction;
use datafusion::physical_plan::{ExecutionPlan, PhysicalExpr};
pub use member::KeyMember;
use predicate::is_harmless;
use source::AdaptiveSource;
use std::sync::Arc;

/// A conjunct of a scan's predicate.
#[derive(Clone, Debug)]
struct Conjunct {
    expr: Arc<dyn PhysicalExpr>,
    /// It may be evaluated on any row; otherwise it only prunes.
    anywhere: bool,
}

/// The scan as one that may filter rows while it reads, if it is one of Parquet files with a predicate.
pub fn adaptive(plan: &Arc<dyn ExecutionPlan>, options: &FuselineOptions) -> Option<Arc<dyn ExecutionPlan>> {
    let scan = plan.downcast_ref::<DataSourceExec>()?;
    let (config, parquet) = scan.downcast_to_file_source::<ParquetSource>()?;
    let global = &parquet.table_parquet_options().global;
    let ranges = config.file_groups.iter().flat_map(|g| g.iter()).any(|f| f.range.is_some());
    // The user's own choice; and a limit counts rows before the filter above.
    let filters =
        !global.pushdown_filters && config.limit.is_none() && options.scan_filters != ScanFilters::Off;
    let conjuncts = if filters { candidates(parquet, options) } else { None };
    if conjuncts.is_none() && !ranges {
        return None;
    }
    let conjuncts = conjuncts.unwrap_or_default();
    let source = AdaptiveSource::new(parquet.clone(), conjuncts, options);
    let config = FileScanConfigBuilder::from(config.clone()).with_source(Arc::new(source)).build();
    Some(Arc::new(scan.clone().with_data_source(Arc::new(config))))
}

/// The conjuncts of the predicate, if any of them may be evaluated by the reader.
fn candidates(parquet: &ParquetSource, options: &FuselineOptions) -> Option<Arc<[Conjunct]>> {
    let predicate = parquet.filter()?;
    // Columns that the reader makes up cannot be filtered by.
    if !parquet.table_schema().virtual_columns().is_empty() {
        return None;
    }
    let schema: &SchemaRef = parquet.table_schema().table_schema();
    let conjuncts: Arc<[Conjunct]> = split_conjunction(&predicate)
        .into_iter()
        .map(|expr| Conjunct {
            expr: Arc::clone(expr),
            anywhere: is_dynamic(expr) || is_harmless(expr, schema, options),
        })
        .collect();
    conjuncts.iter().any(|c| c.anywhere).then_some(conjuncts)
}

/// Whether what the expression says may change while the query runs.
fn is_dynamic(expr: &Arc<dyn PhysicalExpr>) -> bool {
    expr.exists(|e| Ok(e.is::<DynamicFilterPhysicalExpr>())).unwrap_or(false)
}

/// Whether an expression reads a column.
fn reads_columns(expr: &Arc<dyn PhysicalExpr>) -> bool {
    let mut found = false;
    let walked = expr.apply(|e| {
        found |= e.is::<datafusion::physical_expr::expressions::Column>();
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    });
    walked.is_ok() && found
}
