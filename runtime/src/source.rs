//! Where a stage's morsels come from.
//!
//! Four kinds: a generated range, whose rows exist only as numbers; a table in memory, whose
//! batches are read where they lie (DataFusion would slice them into 8,192 rows each and deal them
//! out through channels); any other child plan, whose stream is pulled; and what was kept of a build side.
//!
//! Invariants:
//! * a partition's rows come in the source's order, and with fewer source partitions than output
//!   partitions each output partition is one contiguous range of the rows, so an order that the
//!   plan claims per partition holds;
//! * where rows are cut depends on the data and the settings, never on timing.

use crate::kept::KeptRows;
use crate::program::with_rows;
use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{Schema, SchemaRef};
use datafusion::common::{Result, internal_err};
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::datasource::source::{DataSource, DataSourceExec};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::projection::{ProjectionExec, ProjectionExpr};
use futures::StreamExt;
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// Shares are cut at multiples of this, so that chunks stay whole.
const ALIGN: usize = fuseline_codegen::ir::CHUNK;

/// Some rows, and the position of the first in a generated range (0 for other sources).
pub struct MorselRows {
    pub batch: RecordBatch,
    pub row_base: i64,
}

impl MorselRows {
    /// The first `rows` rows, and the others if there are any.
    pub fn split(self, rows: usize) -> (MorselRows, Option<MorselRows>) {
        let all = self.batch.num_rows();
        if rows >= all {
            return (self, None);
        }
        let rest = self.batch.slice(rows, all - rows);
        let first = MorselRows { batch: self.batch.slice(0, rows), row_base: self.row_base };
        (first, Some(MorselRows { batch: rest, row_base: self.row_base + rows as i64 }))
    }
}

/// Consecutive rows of one batch of a table in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    partition: usize,
    batch: usize,
    offset: usize,
    rows: usize,
}

impl Piece {
    pub fn rows(&self) -> usize {
        self.rows
    }
}

/// A table in memory, read in place.
#[derive(Debug)]
pub struct MemoryTable {
    /// A [`MemorySourceConfig`]; shared, because copying one copies its list of batches.
    source: Arc<dyn DataSource>,
    /// After the source's own projection, and `columns`.
    schema: SchemaRef,
    /// Those of the scan that a projection above it gives, perhaps by other names; `None`: all.
    columns: Option<Vec<usize>>,
}

impl MemoryTable {
    /// The table that a plan scans, if it scans one whole, and does no more than choose columns and name them.
    pub fn of(plan: &Arc<dyn ExecutionPlan>) -> Option<MemoryTable> {
        if let Some(projection) = plan.downcast_ref::<ProjectionExec>() {
            let table = MemoryTable::of(projection.input())?;
            let place = |e: &ProjectionExpr| {
                let index = e.expr.downcast_ref::<Column>()?.index();
                Some(table.columns.as_ref().map_or(index, |c| c[index]))
            };
            let columns = projection.expr().iter().map(place).collect::<Option<Vec<usize>>>()?;
            return Some(MemoryTable { schema: plan.schema(), columns: Some(columns), ..table });
        }
        let scan = plan.downcast_ref::<DataSourceExec>()?;
        if scan.fetch().is_some() || !scan.data_source().is::<MemorySourceConfig>() {
            return None;
        }
        Some(MemoryTable { source: Arc::clone(scan.data_source()), schema: plan.schema(), columns: None })
    }

    fn config(&self) -> Option<&MemorySourceConfig> {
        self.source.downcast_ref()
    }

    fn partitions(&self) -> &[Vec<RecordBatch>] {
        self.config().map_or(&[], MemorySourceConfig::partitions)
    }

    pub fn rows(&self) -> usize {
        self.partitions().iter().flatten().map(RecordBatch::num_rows).sum()
    }

    /// The rows of each of `n` partitions: the table's own if it has that many, else equal
    /// contiguous shares.
    pub fn deal(&self, n: usize) -> Vec<Vec<Piece>> {
        let own: Vec<Vec<Piece>> = self
            .partitions()
            .iter()
            .enumerate()
            .map(|(p, batches)| {
                batches
                    .iter()
                    .enumerate()
                    .filter(|(_, b)| b.num_rows() > 0)
                    .map(|(i, b)| Piece { partition: p, batch: i, offset: 0, rows: b.num_rows() })
                    .collect()
            })
            .collect();
        if own.len() == n { own } else { shares(own.into_iter().flatten(), n) }
    }

    /// All rows in order, in pieces of at most `morsel_rows`.
    pub fn morsels(&self, morsel_rows: usize) -> Vec<Piece> {
        let mut all = Vec::new();
        for piece in self.deal(self.partitions().len()).into_iter().flatten() {
            let mut rest = piece;
            while rest.rows > 0 {
                all.push(take_front(&mut rest, morsel_rows));
            }
        }
        all
    }

    /// About `n` pieces of at most `rows` rows from all over the table; all of a small one.
    pub fn sample(&self, n: usize, rows: usize) -> impl Iterator<Item = Result<RecordBatch>> + '_ {
        let all = self.morsels(self.rows().div_ceil(n.max(1)).max(rows));
        let step = (all.len() / n.max(1)).max(1);
        all.into_iter().step_by(step).map(move |mut piece| self.read(take_front(&mut piece, rows)))
    }

    /// The columns of a piece, without copying.
    pub fn read(&self, piece: Piece) -> Result<RecordBatch> {
        let batch = self.partitions().get(piece.partition).and_then(|b| b.get(piece.batch));
        let Some(batch) = batch else {
            return internal_err!("a table in memory lost batch {piece:?}");
        };
        let slice = |c: &ArrayRef| -> ArrayRef {
            if piece.rows == batch.num_rows() { Arc::clone(c) } else { c.slice(piece.offset, piece.rows) }
        };
        let columns: Vec<ArrayRef> = match self.config().and_then(|c| c.projection().as_ref()) {
            None => batch.columns().iter().map(slice).collect(),
            Some(columns) => columns.iter().map(|c| slice(batch.column(*c))).collect(),
        };
        let columns = match &self.columns {
            None => columns,
            Some(chosen) => chosen.iter().map(|c| Arc::clone(&columns[*c])).collect(),
        };
        with_rows(&self.schema, columns, piece.rows)
    }
}

/// Splits off the first rows of a piece.
fn take_front(piece: &mut Piece, rows: usize) -> Piece {
    let front = Piece { rows: rows.min(piece.rows), ..*piece };
    piece.offset += front.rows;
    piece.rows -= front.rows;
    front
}

fn shares(pieces: impl Iterator<Item = Piece>, n: usize) -> Vec<Vec<Piece>> {
    let pieces: Vec<Piece> = pieces.collect();
    let total: usize = pieces.iter().map(|p| p.rows).sum();
    let share = total.div_ceil(n.max(1)).next_multiple_of(ALIGN).max(ALIGN);
    let mut dealt = vec![Vec::new(); n];
    let mut to = 0;
    let mut room = share;
    for mut piece in pieces {
        while piece.rows > 0 {
            if room == 0 && to + 1 < n {
                to += 1;
                room = share;
            }
            let front = take_front(&mut piece, if to + 1 < n { room } else { usize::MAX });
            room = room.saturating_sub(front.rows);
            dealt[to].push(front);
        }
    }
    dealt
}

/// The part of a generated range that belongs to one of `n` partitions.
pub fn range_share(rows: u64, partition: usize, n: usize) -> std::ops::Range<u64> {
    let share = rows.div_ceil(n.max(1) as u64).checked_next_multiple_of(ALIGN as u64).unwrap_or(u64::MAX);
    let start = share.saturating_mul(partition as u64).min(rows);
    start..start.saturating_add(share).min(rows)
}

/// Rows of a generated range: a batch without columns.
pub fn range_morsel(start: u64, rows: usize) -> Result<MorselRows> {
    let batch = with_rows(&Arc::new(Schema::empty()), vec![], rows)?;
    Ok(MorselRows { batch, row_base: start as i64 })
}

/// The rows of one partition, cut to size as they are asked for.
pub enum MorselStream {
    Range {
        next: u64,
        end: u64,
    },
    Memory {
        table: Arc<MemoryTable>,
        pieces: VecDeque<Piece>,
    },
    Child {
        stream: SendableRecordBatchStream,
        rest: Option<RecordBatch>,
    },
    /// Of a build side.
    Kept {
        rows: Arc<KeptRows>,
        left: Range<usize>,
    },
}

impl MorselStream {
    /// All rows that are left of a build side.
    pub fn of_kept(rows: Arc<KeptRows>) -> MorselStream {
        let left = 0..rows.rows();
        MorselStream::Kept { rows, left }
    }

    /// How many rows are left, where that is known.
    pub fn known_rows(&self) -> Option<usize> {
        match self {
            MorselStream::Range { next, end } => usize::try_from(*end - *next).ok(),
            MorselStream::Memory { pieces, .. } => Some(pieces.iter().map(Piece::rows).sum()),
            MorselStream::Child { .. } => None,
            MorselStream::Kept { left, .. } => Some(left.len()),
        }
    }

    /// The next rows, at most `max_rows` of them and never none.
    pub fn poll_next(&mut self, cx: &mut Context<'_>, max_rows: usize) -> Poll<Option<Result<MorselRows>>> {
        match self {
            MorselStream::Range { next, end } => {
                let rows = (*end - *next).min(max_rows as u64);
                if rows == 0 {
                    return Poll::Ready(None);
                }
                let start = *next;
                *next += rows;
                Poll::Ready(Some(range_morsel(start, rows as usize)))
            }
            MorselStream::Memory { table, pieces } => {
                let Some(first) = pieces.front_mut() else {
                    return Poll::Ready(None);
                };
                let front = take_front(first, max_rows);
                if first.rows == 0 {
                    pieces.pop_front();
                }
                let batch = table.read(front);
                Poll::Ready(Some(batch.map(|batch| MorselRows { batch, row_base: 0 })))
            }
            MorselStream::Kept { rows, left } => {
                let take = left.start..left.end.min(left.start.saturating_add(max_rows));
                if take.is_empty() {
                    return Poll::Ready(None);
                }
                left.start = take.end;
                Poll::Ready(Some(rows.read(take)))
            }
            MorselStream::Child { stream, rest } => loop {
                if let Some(batch) = rest.take() {
                    let rows = batch.num_rows();
                    let batch = if rows > max_rows {
                        *rest = Some(batch.slice(max_rows, rows - max_rows));
                        batch.slice(0, max_rows)
                    } else {
                        batch
                    };
                    if batch.num_rows() > 0 {
                        return Poll::Ready(Some(Ok(MorselRows { batch, row_base: 0 })));
                    }
                }
                match ready!(stream.poll_next_unpin(cx)) {
                    Some(Ok(batch)) => *rest = Some(batch),
                    Some(Err(e)) => return Poll::Ready(Some(Err(e))),
                    None => return Poll::Ready(None),
                }
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{AsArray, Int64Array};
    use arrow::datatypes::{DataType, Field, Int64Type};

    fn table(partitions: &[&[usize]]) -> MemoryTable {
        let schema = Arc::new(Schema::new(vec![Field::new("x", DataType::Int64, false)]));
        let mut next = 0i64;
        let mut batch = |rows: usize| {
            let values: Vec<i64> = (next..next + rows as i64).collect();
            next += rows as i64;
            let columns: Vec<ArrayRef> = vec![Arc::new(Int64Array::from(values))];
            RecordBatch::try_new(Arc::clone(&schema), columns).unwrap()
        };
        let partitions: Vec<Vec<RecordBatch>> =
            partitions.iter().map(|p| p.iter().map(|r| batch(*r)).collect()).collect();
        let config = MemorySourceConfig::try_new(&partitions, Arc::clone(&schema), None).unwrap();
        MemoryTable { source: Arc::new(config), schema, columns: None }
    }

    fn rows_of(table: &MemoryTable, pieces: &[Piece]) -> Vec<i64> {
        let read = |p: &Piece| table.read(*p).unwrap();
        pieces.iter().flat_map(|p| read(p).column(0).as_primitive::<Int64Type>().values().to_vec()).collect()
    }

    #[test]
    fn one_huge_batch_is_shared_in_contiguous_ranges() {
        let table = table(&[&[10_000]]);
        let dealt = table.deal(3);
        assert_eq!(dealt.len(), 3);
        let all: Vec<i64> = dealt.iter().flat_map(|p| rows_of(&table, p)).collect();
        assert_eq!(all, (0..10_000).collect::<Vec<i64>>());
        let sizes: Vec<usize> = dealt.iter().map(|p| p.iter().map(|x| x.rows).sum()).collect();
        assert_eq!(sizes, [4096, 4096, 1808]);
    }

    #[test]
    fn own_partitions_stay_and_empty_batches_vanish() {
        let table = table(&[&[10, 0, 5], &[7]]);
        let dealt = table.deal(2);
        assert_eq!(rows_of(&table, &dealt[0]), (0..15).collect::<Vec<i64>>());
        assert_eq!(rows_of(&table, &dealt[1]), (15..22).collect::<Vec<i64>>());
        assert_eq!(dealt[0].len(), 2);
    }

    #[test]
    fn more_partitions_than_rows_leave_some_empty() {
        let table = table(&[&[3, 4]]);
        let dealt = table.deal(4);
        assert_eq!(dealt.iter().map(Vec::len).collect::<Vec<_>>(), [2, 0, 0, 0]);
        assert_eq!(rows_of(&table, &dealt[0]).len(), 7);
    }

    #[test]
    fn morsels_cover_every_row_once() {
        let table = table(&[&[2500, 10], &[1024]]);
        let morsels = table.morsels(1024);
        let sizes: Vec<usize> = morsels.iter().map(|m| m.rows).collect();
        assert_eq!(sizes, [1024, 1024, 452, 10, 1024]);
        assert_eq!(rows_of(&table, &morsels), (0..3534).collect::<Vec<i64>>());
    }

    #[test]
    fn a_range_is_cut_without_gap_or_overlap() {
        for (rows, n) in [(0, 2), (1, 3), (1_000_000_007, 2), (5000, 7), (u64::MAX, 4), (u64::MAX, 1)] {
            let mut next = 0;
            for p in 0..n {
                let share = range_share(rows, p, n);
                assert_eq!(share.start, next);
                next = share.end.max(next);
            }
            assert_eq!(next, rows);
        }
    }
}
