//! Rows of build sides that leave when all rows that could meet them are through.
//!
//! A stage whose joins keep some has later stages over them ([`Stage::later`](fuseline_planner::stage::Stage)),
//! which are run one by one once every partition is through with what comes before. Where partitions share a
//! table, the last of them runs them all ([`Passes`]): nobody waits for anybody, so nothing hangs if partitions
//! are read one after the other. An aggregate, which has all partitions in its hands, deals the rows out among its workers.
//!
//! Invariant: the bits of visited rows are read only behind the countdown, which orders them after all writes.

use crate::join::Tables;
use crate::program::{Program, with_rows};
use crate::source::MorselRows;
use arrow::array::{ArrayRef, BooleanArray, RecordBatch, new_null_array};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::cast::as_boolean_array;
use datafusion::common::{Result, internal_err};
use fuseline_codegen::ir::CHUNK;
use fuseline_planner::stage::{Kept, KeptColumn, Source};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// What a join has of its build side for later, beside the table.
#[derive(Debug)]
pub struct KeptSide {
    plan: Kept,
    /// By their number in the build side's plan.
    columns: Vec<(usize, ArrayRef)>,
    /// NULLs of a single key.
    null_keys: Option<NullBuffer>,
    /// Partitions of the stage that are not through yet.
    waiting: AtomicUsize,
    /// Of a NOT IN: whether the probe side had a row, and one whose key is NULL.
    any_row: AtomicBool,
    any_null: AtomicBool,
}

impl KeptSide {
    pub fn new(
        plan: &Kept,
        columns: Vec<(usize, ArrayRef)>,
        key: Option<&ArrayRef>,
        partitions: usize,
    ) -> KeptSide {
        KeptSide {
            plan: plan.clone(),
            columns,
            null_keys: key.and_then(|k| k.logical_nulls()),
            waiting: AtomicUsize::new(partitions),
            any_row: AtomicBool::new(false),
            any_null: AtomicBool::new(false),
        }
    }

    /// What a silent stage emitted: of a NOT IN whether each row's key is NULL.
    ///
    /// # Errors
    /// `Internal` when that is no boolean.
    pub fn note(&self, batch: &RecordBatch) -> Result<()> {
        if !self.plan.null_aware || batch.num_rows() == 0 {
            return Ok(());
        }
        let Some(null_key) = batch.columns().first() else { return internal_err!("a NOT IN lost its NULLs") };
        self.any_row.store(true, Ordering::Relaxed);
        if as_boolean_array(null_key)?.true_count() > 0 {
            self.any_null.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Which rows count as met.
    fn met(&self, visited: BooleanBuffer) -> BooleanBuffer {
        if !self.plan.null_aware {
            return visited;
        }
        if self.any_null.load(Ordering::Relaxed) {
            return BooleanBuffer::new_set(visited.len());
        }
        match &self.null_keys {
            Some(keys) if self.any_row.load(Ordering::Relaxed) => &visited | &!keys.inner(),
            Some(_) | None => visited,
        }
    }
}

/// A column of a kept build side.
enum KeptArray {
    Whole(ArrayRef),
    Nulls(DataType),
}

/// The rows of a later stage.
pub struct KeptRows {
    schema: SchemaRef,
    columns: Vec<KeptArray>,
    rows: usize,
}

impl KeptRows {
    /// # Errors
    /// `Internal` when the stage and the tables do not fit each other.
    pub fn of(program: &Program) -> Result<KeptRows> {
        let Source::Kept { join, schema } = &program.stage().source else {
            return internal_err!("a later stage has other rows than those of a build side");
        };
        let tables: &Tables = program.tables()?;
        let (Some(side), Some(Some(kept))) = (tables.sides.get(*join), tables.kept.get(*join)) else {
            return internal_err!("join {join} keeps no rows");
        };
        let met = kept.met(side.visited(kept.plan.by_entry));
        let mut columns = vec![];
        for column in &kept.plan.columns {
            columns.push(match column {
                KeptColumn::Build(number) => match kept.columns.iter().find(|(n, _)| n == number) {
                    Some((_, array)) => KeptArray::Whole(Arc::clone(array)),
                    None => return internal_err!("column {number} of a build side was not kept"),
                },
                KeptColumn::Visited => KeptArray::Whole(Arc::new(BooleanArray::new(met.clone(), None))),
                KeptColumn::Null(data_type) => KeptArray::Nulls(data_type.clone()),
            });
        }
        Ok(KeptRows { schema: Arc::clone(schema), columns, rows: side.table().build_rows() })
    }

    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The rows of one of `n` shares.
    pub fn share(&self, share: usize, n: usize) -> std::ops::Range<usize> {
        let size = self.rows.div_ceil(n.max(1)).next_multiple_of(CHUNK);
        (size * share).min(self.rows)..(size * (share + 1)).min(self.rows)
    }

    /// # Errors
    /// `Internal` when the columns are not those of the schema.
    pub fn read(&self, rows: std::ops::Range<usize>) -> Result<MorselRows> {
        let columns = self.columns.iter().map(|c| match c {
            KeptArray::Whole(array) => array.slice(rows.start, rows.len()),
            KeptArray::Nulls(data_type) => new_null_array(data_type, rows.len()),
        });
        let batch = with_rows(&self.schema, columns.collect(), rows.len())?;
        Ok(MorselRows { batch, row_base: 0 })
    }
}

/// The later stages that one of several partitions may have to run.
#[derive(Default)]
pub struct Passes {
    rest: VecDeque<Arc<Program>>,
    /// Of the partitions that share the tables; `None` once this one is through.
    countdown: Option<Countdown>,
}

enum Countdown {
    Tables(Arc<KeptSide>),
    Workers(Arc<AtomicUsize>),
}

impl Passes {
    /// Those of a stage over its tables.
    pub fn of(program: &Program) -> Passes {
        let first = program.tables().ok().and_then(|t| t.kept.iter().flatten().next());
        Passes {
            rest: program.later().iter().cloned().collect(),
            countdown: first.cloned().map(Countdown::Tables),
        }
    }

    /// Those that are left for the last of some workers to come to their ends.
    pub fn among(rest: &[Arc<Program>], waiting: &Arc<AtomicUsize>) -> Passes {
        Passes {
            rest: rest.iter().cloned().collect(),
            countdown: Some(Countdown::Workers(Arc::clone(waiting))),
        }
    }

    /// What to run after what was run so far, if anything.
    ///
    /// # Errors
    /// Those of [`KeptRows::of`].
    pub fn next(&mut self) -> Result<Option<(Arc<Program>, Arc<KeptRows>)>> {
        let waiting = match self.countdown.take() {
            None => 1,
            Some(Countdown::Tables(side)) => side.waiting.fetch_sub(1, Ordering::AcqRel),
            Some(Countdown::Workers(waiting)) => waiting.fetch_sub(1, Ordering::AcqRel),
        };
        if waiting != 1 {
            self.rest.clear();
        }
        match self.rest.pop_front() {
            Some(program) => {
                let rows = KeptRows::of(&program)?;
                Ok(Some((program, Arc::new(rows))))
            }
            None => Ok(None),
        }
    }
}
