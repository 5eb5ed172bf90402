//! Whether it pays to filter rows while a file is read: asked of a few thousand of its rows.
//!
//! What reading by a row filter saves is decoding the other columns on rows that do not pass; but only where those come
//! in long runs, for below [`LEAST_RUN`] rows on average the reader decodes whole pages and drops rows from the
//! result. What it costs is another pass over the columns of the predicate, and bookkeeping per row. No statistics
//! say how long the runs are, so [`Sampler`] reads the predicate's columns at the start of up to [`GROUPS`] row groups
//! that pruning leaves, and compares estimates (see [`Costs`]).
//!
//! Anything unexpected means that the file is read as it would be without all this: DataFusion words the errors.

use super::predicate::CompiledPredicate;
use super::{Conjunct, reads_columns};
use crate::config::{FuselineOptions, ScanFilters};
use arrow::array::{Array, AsArray, BooleanArray, RecordBatch};
use arrow::compute::{and, prep_null_mask_filter};
use arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::{DataFusionError, Result, ScalarValue};
use datafusion::datasource::listing::{FileRange, PartitionedFile};
use datafusion::datasource::physical_plan::parquet::{
    DefaultParquetFileReaderFactory, ParquetAccessPlan, ParquetFileReaderFactory, RowGroupAccessPlanFilter,
    apply_file_schema_type_coercions,
};
use datafusion::datasource::physical_plan::{FileScanConfig, FileSource, ParquetFileMetrics, ParquetSource};
use datafusion::datasource::table_schema::TableSchema;
use datafusion::parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use datafusion::parquet::arrow::async_reader::AsyncFileReader;
use datafusion::parquet::arrow::{ParquetRecordBatchStreamBuilder, ProjectionMask};
use datafusion::parquet::file::metadata::{PageIndexPolicy, RowGroupMetaData};
use datafusion::physical_expr::conjunction;
use datafusion::physical_expr::simplifier::PhysicalExprSimplifier;
use datafusion::physical_expr::utils::{collect_columns, reassign_expr_columns};
use datafusion::physical_expr_adapter::{
    DefaultPhysicalExprAdapterFactory, PhysicalExprAdapterFactory, replace_columns_with_literals,
};
use datafusion::physical_expr_common::physical_expr::snapshot_generation;
use datafusion::physical_optimizer::pruning::PruningPredicateBuilder;
use datafusion::physical_plan::PhysicalExpr;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use futures::StreamExt;
use object_store::ObjectStore;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// Rows read of a row group, and how many row groups are looked at.
const ROWS: usize = 4096;
const GROUPS: usize = 3;
/// Smaller files are read before anything is known of them.
const LEAST_ROWS: i64 = 20_000;
/// Below this average run the reader decodes everything (the reader's own threshold).
const LEAST_RUN: f64 = 32.0;
/// A conjunct that more rows pass filters nothing.
const MOST_PASSING: f64 = 0.8;
/// How much cheaper reading by a filter must look.
const WORTH_IT: f64 = 0.85;

/// How the files are to be read.
pub enum Choice {
    /// Nothing of this file will be.
    Unknown,
    /// Without a row filter.
    Whole,
    /// By the conjuncts marked.
    Filter(Vec<bool>),
}

/// Looks into files of one partition of a scan.
pub struct Sampler {
    conjuncts: Arc<[Conjunct]>,
    options: Arc<FuselineOptions>,
    table: TableSchema,
    /// Names of the columns that the scan gives.
    given: BTreeSet<String>,
    readers: Arc<dyn ParquetFileReaderFactory>,
    adapters: Arc<dyn PhysicalExprAdapterFactory>,
    partition: usize,
}

/// A file, and the conjuncts as predicates of its columns.
struct Opened {
    metadata: ArrowReaderMetadata,
    schema: SchemaRef,
    conjuncts: Vec<Arc<dyn PhysicalExpr>>,
    /// Row groups of which some rows may pass and some may not.
    groups: Vec<usize>,
}

impl Sampler {
    pub fn new(
        parquet: &ParquetSource,
        conjuncts: &Arc<[Conjunct]>,
        options: &Arc<FuselineOptions>,
        store: &Arc<dyn ObjectStore>,
        config: &FileScanConfig,
        partition: usize,
    ) -> Sampler {
        let readers = parquet
            .parquet_file_reader_factory()
            .cloned()
            .unwrap_or_else(|| Arc::new(DefaultParquetFileReaderFactory::new(Arc::clone(store))));
        let adapters = config.expr_adapter_factory.clone();
        let given = parquet.projection().into_iter().flat_map(|p| p.iter());
        let given = given.flat_map(|e| collect_columns(&e.expr)).map(|c| c.name().to_owned()).collect();
        Sampler {
            conjuncts: Arc::clone(conjuncts),
            options: Arc::clone(options),
            table: parquet.table_schema().clone(),
            given,
            readers,
            adapters: adapters.unwrap_or_else(|| Arc::new(DefaultPhysicalExprAdapterFactory)),
            partition,
        }
    }

    /// Differs when dynamic filters have changed.
    pub fn generation(&self) -> u64 {
        self.conjuncts.iter().map(|c| snapshot_generation(&c.expr)).fold(0, u64::wrapping_add)
    }

    /// The file with its range moved so that each range of it has its share of the row groups.
    ///
    /// DataFusion gives a row group to the range in which it begins; of two equal row groups both begin in the
    /// first half of their file. By their middles they are dealt evenly, and still each to one range.
    pub async fn dealt(&self, file: PartitionedFile) -> PartitionedFile {
        let Some(range) = file.range.clone() else { return file };
        match self.metadata(&file).await {
            Ok(metadata) => {
                let groups = metadata.metadata().row_groups();
                let begins: Vec<i64> = groups.iter().map(begin).collect();
                let sizes: Vec<i64> = groups.iter().map(RowGroupMetaData::compressed_size).collect();
                let size = i64::try_from(file.object_meta.size).unwrap_or(i64::MAX);
                match share(&begins, &sizes, size, (range.start, range.end)) {
                    Some((start, end)) => PartitionedFile { range: Some(FileRange { start, end }), ..file },
                    None => file,
                }
            }
            // Reading it will say what is wrong.
            Err(_) => file,
        }
    }

    async fn metadata(&self, file: &PartitionedFile) -> Result<ArrowReaderMetadata> {
        let uncounted = ExecutionPlanMetricsSet::new();
        let hint = file.metadata_size_hint;
        let mut reader: Box<dyn AsyncFileReader> =
            self.readers.create_reader(self.partition, file.clone(), hint, &uncounted)?;
        let options = ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Skip);
        Ok(ArrowReaderMetadata::load_async(&mut reader, options).await?)
    }

    /// How this file, and those after it, should be read.
    pub async fn choose(&self, file: &PartitionedFile) -> Choice {
        if self.conjuncts.is_empty() || self.options.scan_filters == ScanFilters::Off {
            return Choice::Whole;
        }
        if self.options.scan_filters == ScanFilters::Always {
            return Choice::Filter(self.conjuncts.iter().map(|c| c.anywhere).collect());
        }
        match self.try_choose(file).await {
            Ok(choice) => choice,
            Err(error) => {
                log::debug!("{} is read whole: {error}", file.object_meta.location);
                Choice::Whole
            }
        }
    }

    async fn try_choose(&self, file: &PartitionedFile) -> Result<Choice> {
        let opened = match self.open(file).await? {
            Some(opened) => opened,
            None => return Ok(Choice::Unknown),
        };
        let all = opened.metadata.metadata().row_groups();
        let rows: i64 =
            opened.groups.iter().filter_map(|g| all.get(*g)).map(RowGroupMetaData::num_rows).sum();
        if rows < LEAST_ROWS {
            return Ok(Choice::Whole);
        }
        let asked: Vec<usize> =
            (0..opened.conjuncts.len()).filter(|c| self.asks(*c, &opened.conjuncts[*c])).collect();
        let columns: Vec<BTreeSet<usize>> =
            opened.conjuncts.iter().map(|c| places(c, &opened.schema)).collect::<Result<_>>()?;
        let read: BTreeSet<usize> = asked.iter().flat_map(|c| columns[*c].iter().copied()).collect();
        if read.is_empty() {
            return Ok(Choice::Whole);
        }
        let mut passing: Vec<Vec<BooleanArray>> = vec![vec![]; opened.conjuncts.len()];
        let step = opened.groups.len().div_ceil(GROUPS).max(1);
        for group in opened.groups.iter().step_by(step) {
            let Some(batch) = self.rows_of(file, &opened, *group, &read).await? else { continue };
            for c in &asked {
                let expr = Arc::new(CompiledPredicate::new(
                    Arc::clone(&opened.conjuncts[*c]),
                    Arc::clone(&self.options),
                ));
                let expr = reassign_expr_columns(expr, batch.schema_ref())?;
                let passes = expr.evaluate(&batch)?.into_array(batch.num_rows())?;
                let Some(passes) = passes.as_boolean_opt() else { return Ok(Choice::Whole) };
                passing[*c].push(if passes.null_count() > 0 {
                    prep_null_mask_filter(passes)
                } else {
                    passes.clone()
                });
            }
        }
        let group = &all[opened.groups[0]];
        let given = self.given.iter().filter_map(|name| opened.schema.index_of(name).ok()).collect();
        let costs = Costs::of(&opened, group, given);
        costs.best(&asked, &columns, &passing)
    }

    /// Whether the conjunct may be evaluated, and is about columns of the file.
    fn asks(&self, conjunct: usize, expr: &Arc<dyn PhysicalExpr>) -> bool {
        self.conjuncts[conjunct].anywhere && reads_columns(expr)
    }

    /// The file, if pruning leaves anything of it.
    async fn open(&self, file: &PartitionedFile) -> Result<Option<Opened>> {
        let uncounted = ExecutionPlanMetricsSet::new();
        let hint = file.metadata_size_hint;
        let mut reader: Box<dyn AsyncFileReader> =
            self.readers.create_reader(self.partition, file.clone(), hint, &uncounted)?;
        let mut options = ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Skip);
        if let Some(schema) = &file.arrow_schema {
            options = options.with_schema(Arc::clone(schema));
        }
        let mut metadata = ArrowReaderMetadata::load_async(&mut reader, options.clone()).await?;
        let logical = self.table.file_schema();
        let mut schema = Arc::clone(metadata.schema());
        if let Some(merged) = apply_file_schema_type_coercions(logical, &schema) {
            schema = Arc::new(merged);
            let options = options.with_schema(Arc::clone(&schema));
            metadata = ArrowReaderMetadata::try_new(Arc::clone(metadata.metadata()), options)?;
        }
        let constants: HashMap<String, ScalarValue> = self
            .table
            .table_partition_cols()
            .iter()
            .zip(&file.partition_values)
            .map(|(field, value)| (field.name().clone(), value.clone()))
            .collect();
        let adapter = self.adapters.create(Arc::clone(logical), Arc::clone(&schema))?;
        let simplifier = PhysicalExprSimplifier::new(&schema);
        let conjuncts = self
            .conjuncts
            .iter()
            .map(|c| {
                let expr = replace_columns_with_literals(Arc::clone(&c.expr), &constants)?;
                simplifier.simplify(adapter.rewrite(expr)?)
            })
            .collect::<Result<Vec<_>>>()?;
        let all = metadata.metadata().row_groups();
        let mut left = RowGroupAccessPlanFilter::new(ParquetAccessPlan::new_all(all.len()));
        if let Some(range) = &file.range {
            left.prune_by_range(all, range);
        }
        let predicate = conjunction(conjuncts.iter().cloned());
        let pruning = PruningPredicateBuilder::new().with_file_schema(Arc::clone(&schema)).build(predicate);
        if let Some(pruning) = pruning {
            let name = file.object_meta.location.as_ref();
            let uncounted = ParquetFileMetrics::new(self.partition, name, &uncounted);
            left.prune_by_statistics(&schema, metadata.parquet_schema(), all, &pruning, &uncounted);
        }
        let left_groups: Vec<usize> = left.row_group_indexes().collect();
        if left_groups.is_empty() {
            return Ok(None);
        }
        let whole = left.is_fully_matched();
        let groups = left_groups.into_iter().filter(|g| !whole.get(*g).copied().unwrap_or(false)).collect();
        Ok(Some(Opened { metadata, schema, conjuncts, groups }))
    }

    /// The first rows of a row group.
    async fn rows_of(
        &self,
        file: &PartitionedFile,
        opened: &Opened,
        group: usize,
        columns: &BTreeSet<usize>,
    ) -> Result<Option<RecordBatch>> {
        let uncounted = ExecutionPlanMetricsSet::new();
        let hint = file.metadata_size_hint;
        let reader: Box<dyn AsyncFileReader> =
            self.readers.create_reader(self.partition, file.clone(), hint, &uncounted)?;
        let mask = ProjectionMask::roots(opened.metadata.parquet_schema(), columns.iter().copied());
        let mut rows = ParquetRecordBatchStreamBuilder::new_with_metadata(reader, opened.metadata.clone())
            .with_projection(mask)
            .with_row_groups(vec![group])
            .with_batch_size(ROWS)
            .with_limit(ROWS)
            .build()?;
        rows.next().await.transpose().map_err(DataFusionError::from)
    }
}

/// Where DataFusion sees a row group begin.
fn begin(group: &RowGroupMetaData) -> i64 {
    group.columns().first().map_or(0, |c| c.dictionary_page_offset().unwrap_or_else(|| c.data_page_offset()))
}

/// The range in which those row groups begin whose middles, as shares of all row groups' bytes, lie in a range of the
/// file; `None` where row groups do not follow each other.
fn share(begins: &[i64], sizes: &[i64], file: i64, range: (i64, i64)) -> Option<(i64, i64)> {
    let all: i128 = sizes.iter().map(|s| i128::from(*s)).sum();
    if all <= 0 || !begins.is_sorted_by(|a, b| a < b) {
        return None;
    }
    let mut before = 0i128;
    let mut mine: Option<(i64, i64)> = None;
    for (begin, size) in begins.iter().zip(sizes) {
        let middle = (before + i128::from(*size) / 2) * i128::from(file) / all;
        before += i128::from(*size);
        if middle >= i128::from(range.0) && middle < i128::from(range.1) {
            mine = Some((mine.map_or(*begin, |m| m.0), begin + 1));
        }
    }
    Some(mine.unwrap_or((0, 0)))
}

/// The file's columns that an expression reads.
fn places(expr: &Arc<dyn PhysicalExpr>, schema: &SchemaRef) -> Result<BTreeSet<usize>> {
    collect_columns(expr).into_iter().map(|c| Ok(schema.index_of(c.name())?)).collect()
}

/// What columns cost per row, in units of decoding an integer.
///
/// Sizes in the file alone say little: a decimal with few values takes six bits there and sixteen bytes here.
struct Costs {
    columns: Vec<f64>,
    given: BTreeSet<usize>,
}

/// Of a value: looking at the row filter's bitmap while filtering, and handing it on a second time.
const BOOKKEEPING: f64 = 0.4;
/// The share of a column's cost that skipping its rows does not save: decompressing its pages.
const UNSAVED: f64 = 0.25;

impl Costs {
    fn of(opened: &Opened, group: &RowGroupMetaData, given: BTreeSet<usize>) -> Costs {
        let parquet = opened.metadata.parquet_schema();
        let mut bytes = vec![0.0; opened.schema.fields().len()];
        for (leaf, column) in group.columns().iter().enumerate() {
            bytes[parquet.get_column_root_idx(leaf)] += column.uncompressed_size() as f64;
        }
        let rows = (group.num_rows() as f64).max(1.0);
        let decoded = opened.schema.fields().iter().zip(bytes).map(|(field, bytes)| {
            let width = field.data_type().primitive_width();
            let made = match (field.data_type(), width) {
                (_, Some(width)) => (width as f64 / 8.0).max(0.5),
                (DataType::Boolean, None) => 0.5,
                (_, None) => 2.5,
            };
            made + bytes / rows / 16.0
        });
        Costs { columns: decoded.collect(), given }
    }

    fn sum<'a>(&self, columns: impl IntoIterator<Item = &'a usize>) -> f64 {
        columns.into_iter().map(|c| self.columns.get(*c).copied().unwrap_or(0.0)).sum()
    }

    /// The conjuncts that are worth filtering by, the most selective first.
    fn best(
        &self,
        asked: &[usize],
        columns: &[BTreeSet<usize>],
        passing: &[Vec<BooleanArray>],
    ) -> Result<Choice> {
        let rate = |c: usize| {
            let rows: usize = passing[c].iter().map(|p| p.len()).sum();
            let passed: usize = passing[c].iter().map(BooleanArray::true_count).sum();
            passed as f64 / rows.max(1) as f64
        };
        let mut order: Vec<(usize, f64)> = asked.iter().map(|c| (*c, rate(*c))).collect();
        order.retain(|(_, rate)| *rate <= MOST_PASSING);
        order.sort_by(|a, b| a.1.total_cmp(&b.1));
        let whole = self.sum(&self.given);
        let mut chosen = vec![false; columns.len()];
        let mut best = (whole * WORTH_IT, None);
        let mut left: Option<Vec<BooleanArray>> = None;
        let (mut filtering, mut read, mut share) = (0.0, BTreeSet::new(), 1.0);
        for (c, _) in order {
            chosen[c] = true;
            filtering += self.sum(&columns[c]) * share + BOOKKEEPING;
            read.extend(columns[c].iter().copied());
            let now = match left.take() {
                None => passing[c].clone(),
                Some(before) => {
                    before.iter().zip(&passing[c]).map(|(a, b)| and(a, b)).collect::<Result<_, _>>()?
                }
            };
            let (passed, run) = runs(&now);
            share = if run >= LEAST_RUN { UNSAVED + (1.0 - UNSAVED) * passed } else { 1.0 };
            left = Some(now);
            // Columns that the filter has decoded are handed on from memory.
            let rest = self.sum(self.given.difference(&read)) * share;
            let again = self.given.intersection(&read).count() as f64 * BOOKKEEPING;
            let cost = filtering + again + rest;
            if cost < best.0 {
                best = (cost, Some(chosen.clone()));
            }
        }
        Ok(match best.1 {
            Some(chosen) => Choice::Filter(chosen),
            None => Choice::Whole,
        })
    }
}

/// The share of rows that pass, and how long the runs of passing and failing rows are on average.
fn runs(passing: &[BooleanArray]) -> (f64, f64) {
    let rows: usize = passing.iter().map(|p| p.len()).sum();
    let passed: usize = passing.iter().map(BooleanArray::true_count).sum();
    let mut runs = passing.len();
    for piece in passing {
        let bits = piece.values();
        runs += (1..bits.len()).filter(|i| bits.value(*i) != bits.value(i - 1)).count();
    }
    (passed as f64 / rows.max(1) as f64, rows as f64 / runs.max(1) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_row_group_is_in_one_range_and_equal_ones_are_dealt_evenly() {
        for (groups, ranges) in [(1, 2), (2, 2), (3, 2), (16, 2), (53, 7), (2, 5)] {
            let sizes: Vec<i64> = vec![1_000; groups];
            let begins: Vec<i64> = (0..groups as i64).map(|g| 4 + g * 1_000).collect();
            let file = groups as i64 * 1_000 + 300;
            let step = (file + ranges - 1) / ranges;
            let mut dealt = vec![];
            for r in 0..ranges {
                let (start, end) =
                    share(&begins, &sizes, file, (r * step, ((r + 1) * step).min(file))).unwrap();
                dealt.push(begins.iter().filter(|b| **b >= start && **b < end).count());
            }
            assert_eq!(dealt.iter().sum::<usize>(), groups, "{groups} in {ranges}: {dealt:?}");
            let most = groups.div_ceil(ranges as usize);
            assert!(dealt.iter().all(|d| *d <= most), "{groups} in {ranges}: {dealt:?}");
        }
    }
}
