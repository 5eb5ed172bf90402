//! A Parquet source that decides, when it begins to read, whether it filters rows.
//!
//! Each partition of each execution has its own [`AdaptiveMorselizer`], so a plan that is run again, over other
//! files or with other bounds, decides again. It decides at the first file of which anything is left after
//! pruning, and anew for a later file when a dynamic filter has been tightened since. Everything else, pruning
//! included, is DataFusion's: the two sources that it chooses from differ in the row filter alone.

use super::Conjunct;
use super::predicate::{CompiledPredicate, PruneOnly};
use super::sample::{Choice, Sampler};
use crate::config::FuselineOptions;
use datafusion::common::Result;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileOpener, FileScanConfig, FileSource, ParquetSource};
use datafusion::datasource::table_schema::TableSchema;
use datafusion::physical_expr::conjunction;
use datafusion::physical_expr::projection::ProjectionExprs;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use datafusion::physical_plan::{DisplayFormatType, PhysicalExpr};
use datafusion_datasource::morsel::{MorselPlan, MorselPlanner, Morselizer};
use object_store::ObjectStore;
use parking_lot::Mutex;
use std::fmt;
use std::sync::Arc;

/// A [`ParquetSource`] and the conjuncts of its predicate.
#[derive(Clone)]
pub struct AdaptiveSource {
    plain: ParquetSource,
    conjuncts: Arc<[Conjunct]>,
    options: Arc<FuselineOptions>,
}

impl AdaptiveSource {
    pub fn new(
        plain: ParquetSource,
        conjuncts: Arc<[Conjunct]>,
        options: &FuselineOptions,
    ) -> AdaptiveSource {
        AdaptiveSource { plain, conjuncts, options: Arc::new(options.clone()) }
    }

    fn over(&self, plain: &dyn FileSource) -> Option<AdaptiveSource> {
        Some(AdaptiveSource { plain: plain.downcast_ref::<ParquetSource>()?.clone(), ..self.clone() })
    }

    /// The source whose reader filters rows by the conjuncts that are chosen.
    fn filtering(&self, chosen: &[bool]) -> Result<ParquetSource> {
        let wrapped = self.conjuncts.iter().zip(chosen).map(|(conjunct, chosen)| {
            let expr = Arc::clone(&conjunct.expr);
            Ok(if *chosen {
                Arc::new(CompiledPredicate::new(expr, Arc::clone(&self.options))) as Arc<dyn PhysicalExpr>
            } else {
                Arc::new(PruneOnly::new(expr)?) as _
            })
        });
        let predicate = conjunction(wrapped.collect::<Result<Vec<_>>>()?);
        Ok(self.plain.with_predicate(predicate).with_pushdown_filters(true))
    }
}

impl FileSource for AdaptiveSource {
    fn create_file_opener(
        &self,
        store: Arc<dyn ObjectStore>,
        config: &FileScanConfig,
        partition: usize,
    ) -> Result<Arc<dyn FileOpener>> {
        self.plain.create_file_opener(store, config, partition)
    }

    fn create_morselizer(
        &self,
        store: Arc<dyn ObjectStore>,
        config: &FileScanConfig,
        partition: usize,
    ) -> Result<Box<dyn Morselizer>> {
        let plain = self.plain.create_morselizer(Arc::clone(&store), config, partition)?;
        let sampler = Sampler::new(&self.plain, &self.conjuncts, &self.options, &store, config, partition);
        let deciding = Deciding {
            source: self.clone(),
            plain,
            sampler,
            store,
            config: config.clone(),
            partition,
            decided: Mutex::new(None),
        };
        Ok(Box::new(AdaptiveMorselizer(Arc::new(deciding))))
    }

    fn table_schema(&self) -> &TableSchema {
        self.plain.table_schema()
    }

    fn with_batch_size(&self, batch_size: usize) -> Arc<dyn FileSource> {
        let sized = self.plain.with_batch_size(batch_size);
        match self.over(sized.as_ref()) {
            Some(adaptive) => Arc::new(adaptive),
            None => sized,
        }
    }

    fn filter(&self) -> Option<Arc<dyn PhysicalExpr>> {
        self.plain.filter()
    }

    fn projection(&self) -> Option<&ProjectionExprs> {
        self.plain.projection()
    }

    fn metrics(&self) -> &ExecutionPlanMetricsSet {
        self.plain.metrics()
    }

    fn file_type(&self) -> &str {
        self.plain.file_type()
    }

    fn fmt_extra(&self, t: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.plain.fmt_extra(t, f)?;
        match t {
            DisplayFormatType::Default | DisplayFormatType::Verbose => {
                let rows = self.conjuncts.iter().filter(|c| c.anywhere);
                let rows: Vec<String> = rows.map(|c| c.expr.to_string()).collect();
                if rows.is_empty() {
                    return Ok(());
                }
                write!(f, ", row_filter_if_selective=[{}]", rows.join(", "))
            }
            DisplayFormatType::TreeRender => Ok(()),
        }
    }

    fn supports_repartitioning(&self) -> bool {
        self.plain.supports_repartitioning()
    }

    fn reorder_files(&self, files: Vec<PartitionedFile>) -> Vec<PartitionedFile> {
        self.plain.reorder_files(files)
    }

    fn try_pushdown_projection(&self, projection: &ProjectionExprs) -> Result<Option<Arc<dyn FileSource>>> {
        let Some(projected) = self.plain.try_pushdown_projection(projection)? else { return Ok(None) };
        Ok(self.over(projected.as_ref()).map(|s| Arc::new(s) as Arc<dyn FileSource>))
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        self.plain.apply_expressions(f)
    }
}

/// What the files of one partition have in common.
struct Deciding {
    source: AdaptiveSource,
    plain: Box<dyn Morselizer>,
    sampler: Sampler,
    store: Arc<dyn ObjectStore>,
    config: FileScanConfig,
    partition: usize,
    decided: Mutex<Option<Decided>>,
}

#[derive(Clone)]
struct Decided {
    /// What the dynamic filters said.
    generation: u64,
    /// Reads by a row filter, if that pays.
    filtering: Option<Arc<dyn Morselizer>>,
}

impl Deciding {
    /// How a file is read.
    async fn planner(&self, file: PartitionedFile) -> Result<Box<dyn MorselPlanner>> {
        let file = self.sampler.dealt(file).await;
        let generation = self.sampler.generation();
        let known = self.decided.lock().clone().filter(|d| d.generation == generation);
        let filtering = match known {
            Some(decided) => decided.filtering,
            None => match self.sampler.choose(&file).await {
                // Nothing of it will be read; or reading it will say what is wrong with it.
                Choice::Unknown => None,
                choice => {
                    let filtering = self.morselizer(choice)?;
                    *self.decided.lock() = Some(Decided { generation, filtering: filtering.clone() });
                    filtering
                }
            },
        };
        match filtering {
            Some(filtering) => filtering.plan_file(file),
            None => self.plain.plan_file(file),
        }
    }

    fn morselizer(&self, choice: Choice) -> Result<Option<Arc<dyn Morselizer>>> {
        match choice {
            Choice::Unknown | Choice::Whole => Ok(None),
            Choice::Filter(chosen) => {
                let source = self.source.filtering(&chosen)?;
                let store = Arc::clone(&self.store);
                source.create_morselizer(store, &self.config, self.partition).map(|m| Some(m.into()))
            }
        }
    }
}

/// Plans files for one partition.
struct AdaptiveMorselizer(Arc<Deciding>);

impl fmt::Debug for AdaptiveMorselizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdaptiveMorselizer").field("plain", &self.0.plain).finish_non_exhaustive()
    }
}

impl Morselizer for AdaptiveMorselizer {
    fn plan_file(&self, file: PartitionedFile) -> Result<Box<dyn MorselPlanner>> {
        Ok(Box::new(AdaptivePlanner { deciding: Arc::clone(&self.0), file }))
    }
}

/// A file that is about to be read.
struct AdaptivePlanner {
    deciding: Arc<Deciding>,
    file: PartitionedFile,
}

impl fmt::Debug for AdaptivePlanner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdaptivePlanner")
            .field("file", &self.file.object_meta.location)
            .finish_non_exhaustive()
    }
}

impl MorselPlanner for AdaptivePlanner {
    fn plan(self: Box<Self>) -> Result<Option<MorselPlan>> {
        let AdaptivePlanner { deciding, file } = *self;
        Ok(Some(MorselPlan::new().with_pending_planner(async move { deciding.planner(file).await })))
    }
}
