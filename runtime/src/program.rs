//! A stage with its code: takes a batch through all segments.
//!
//! Each segment's loop exists in up to three variants that differ in which inputs may hold nulls:
//! none (the fast one), those that the schema declares nullable, and those together with the ones
//! that a batch shows to hold nulls although its schema denies it (values of a dictionary). Each is
//! compiled when a batch first asks for it, because most queries need one, and a query over a table
//! in memory is often shorter than a compilation. A loop that has but one variant, and with the
//! setting `fuseline.verify` every loop, is compiled with the plan, so that a loop that the back end
//! does not take is left to DataFusion; where one is found out later, a more general variant stands
//! in, and at last the interpreter, which compute the same.

use crate::calls::run_call;
use crate::code_cache::CodeCache;
use crate::config::FuselineOptions;
use crate::cores;
use crate::errors::from_eval;
use crate::inlined::{AskPython, Inlined};
use crate::join::Tables;
use crate::metrics::StageMetrics;
use crate::udf::Gate;
use crate::udf::entries::gate_of;
use crate::udf::metrics::scope;
use arrow::array::{
    Array, ArrayRef, BooleanArray, BooleanBufferBuilder, RecordBatch, RecordBatchOptions, UInt32Array,
};
use arrow::compute::take;
use arrow::datatypes::{Schema, SchemaRef};
use datafusion::common::{DataFusionError, Result, internal_err};
use fuseline_codegen::groups::Groups;
use fuseline_codegen::ir::interp::InterpLoop;
use fuseline_codegen::ir::{AggState, Emit, Loop, Sink, Step, TableFacts};
use fuseline_codegen::run::{EvalError, Morsel, RunLoop};
use fuseline_planner::ASK_PYTHON;
use fuseline_planner::stage::{Segment, Stage, StageSink, Work};
use std::ops::Range;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// Rows that a morsel of a stage may become where its joins have several per key, and the fewest rows that are
/// taken at once nevertheless.
const MOST_PAIRS: usize = 1 << 20;
const LEAST_MORSEL: usize = 64;

/// What a morsel became.
pub enum MorselOutput {
    Batch(RecordBatch),
    /// One state per aggregate of the sink.
    Aggregate(Vec<AggState>),
    /// Its rows are in the table.
    Grouped,
    /// Its rows met build sides, and that is all.
    Silent,
}

/// The executable form of a [`Stage`]; shared by its partitions.
pub struct Program {
    stage: Arc<Stage>,
    segments: Vec<SegmentCode>,
    options: FuselineOptions,
    /// Of a stage that joins, once they are there.
    tables: Option<Arc<Tables>>,
    /// Over the rows of build sides that are left, once all rows of this one's source are through.
    later: Vec<Arc<Program>>,
    /// The stage with its functions as parts of the loops. A morsel in which a row has to be asked of Python is run
    /// again, by this program.
    inlined: Option<Inlined>,
    /// What compiling took when the plan was made.
    pub planned_compile_time: Duration,
    /// Values in all loops.
    pub ir_ops: usize,
    /// Bytes of the machine code that was made with the plan.
    pub planned_code_bytes: usize,
}

struct SegmentCode {
    /// `None` where the loop only reorders columns.
    variants: Option<Variants>,
    /// What the k-th call has to enter.
    gates: Vec<Option<&'static dyn Gate>>,
    /// The code of the k-th call, if that is a loop.
    matches: Vec<Option<Variants>>,
    /// The batch that the k-th call sees has the first `loop columns + k` columns.
    call_schemas: Vec<SchemaRef>,
    output: SchemaRef,
}

/// The variants of a loop that all batches share, each made at its first use.
#[derive(Default)]
struct Variants {
    declared: OnceLock<Arc<dyn RunLoop>>,
    no_nulls: OnceLock<Arc<dyn RunLoop>>,
}

impl Program {
    /// Makes a stage executable.
    ///
    /// # Errors
    /// The back end's words about the first loop it does not take, of those compiled now.
    pub fn compile(stage: Arc<Stage>, options: &FuselineOptions) -> Result<Program, String> {
        Program::compile_over(stage, options, None)
    }

    fn compile_over(
        stage: Arc<Stage>,
        options: &FuselineOptions,
        tables: Option<Arc<Tables>>,
    ) -> Result<Program, String> {
        let mut planned_compile_time = Duration::ZERO;
        let (mut ir_ops, mut planned_code_bytes) = (0, 0);
        let mut begin = |loop_: &Arc<Loop>| -> Result<Variants, String> {
            ir_ops += loop_.values.len();
            let variants = Variants::default();
            // A loop that reads joins' tables is compiled once more when they are there.
            let several = loop_.joins() > 0 || loop_.inputs.iter().any(|i| i.nullable);
            if options.verify || !several {
                let code = CodeCache::global().get(loop_, declared_nulls(loop_), options)?;
                planned_compile_time += code.compile_time;
                planned_code_bytes += code.code_bytes;
                variants.declared.get_or_init(|| code.run);
            }
            Ok(variants)
        };
        let mut segments = Vec::with_capacity(stage.segments.len());
        for (i, segment) in stage.segments.iter().enumerate() {
            let loop_ = &segment.loop_;
            let variants = if only_reorders(loop_) { None } else { Some(begin(loop_)?) };
            let is_last = i + 1 == stage.segments.len() && stage.silent.is_none();
            let output = match &stage.sink {
                StageSink::Emit(schema) if is_last => schema,
                StageSink::Emit(_) | StageSink::Aggregate { .. } | StageSink::Group { .. } => &segment.output,
            };
            let matches = segment.calls.iter().map(|c| match &c.work {
                Work::Expr(_) => Ok(None),
                Work::Matches { loop_, .. } => begin(loop_).map(Some),
            });
            segments.push(SegmentCode {
                variants,
                gates: segment.calls.iter().map(|c| c.expr().and_then(gate_of)).collect(),
                matches: matches.collect::<Result<_, String>>()?,
                call_schemas: call_schemas(segment),
                output: Arc::clone(output),
            });
        }
        let mut later = vec![];
        for pass in &stage.later {
            let program = Program::compile_over(Arc::new(pass.clone()), options, tables.clone())?;
            planned_compile_time += program.planned_compile_time;
            ir_ops += program.ir_ops;
            planned_code_bytes += program.planned_code_bytes;
            later.push(Arc::new(program));
        }
        Ok(Program {
            stage,
            segments,
            options: options.clone(),
            tables,
            later,
            inlined: None,
            planned_compile_time,
            ir_ops,
            planned_code_bytes,
        })
    }

    /// Tries another program of the same stage first.
    pub fn with_inlined(self, inlined: Option<Inlined>) -> Program {
        Program { inlined, ..self }
    }

    /// Whether functions are part of a loop.
    pub fn has_inlined(&self) -> bool {
        self.inlined.is_some()
    }

    /// The program over these tables, and for what is known of them.
    ///
    /// # Errors
    /// `Internal` when the loops do not compile for them.
    pub fn with_tables(&self, tables: Arc<Tables>) -> Result<Program> {
        let facts: Vec<TableFacts> = tables.sides.iter().map(|s| s.facts()).collect();
        let mut stage = Stage::clone(&self.stage);
        for loop_ in stage.loops_mut() {
            *loop_ = Arc::new(loop_.for_tables(&facts));
        }
        let mut options = self.options.clone();
        let asks = stage.passes().flat_map(|s| &s.segments).flat_map(|s| &s.calls);
        let asks = asks.filter(|c| c.expr().is_none()).count() > 0;
        if asks || matches!(stage.sink, StageSink::Emit(_)) {
            // What one morsel can become at worst is held in memory.
            let most = tables.sides.iter().map(|s| s.table().most_rows() as usize);
            let most = most.fold(1usize, usize::saturating_mul);
            options.morsel_rows = options.morsel_rows.min((MOST_PAIRS / most).max(LEAST_MORSEL));
        }
        match Program::compile_over(Arc::new(stage), &options, Some(Arc::clone(&tables))) {
            Ok(program) => {
                let inlined =
                    self.inlined.as_ref().map(|inlined| inlined.with_tables(&tables)).transpose()?;
                Ok(program.with_inlined(inlined))
            }
            Err(why) => internal_err!("a stage does not compile over its tables: {why}"),
        }
    }

    /// This one and those that are run afterwards.
    pub fn passes(&self) -> impl Iterator<Item = &Program> {
        std::iter::once(self).chain(self.later.iter().map(AsRef::as_ref))
    }

    /// What is run afterwards, one by one.
    pub fn later(&self) -> &[Arc<Program>] {
        &self.later
    }

    /// The tables of the stage's joins.
    ///
    /// # Errors
    /// `Internal` when they are not there yet.
    pub fn tables(&self) -> Result<&Arc<Tables>> {
        match &self.tables {
            Some(tables) => Ok(tables),
            None => internal_err!("a stage runs before its tables are there"),
        }
    }

    /// Whether rows of its source only meet build sides.
    pub fn is_silent(&self) -> bool {
        self.stage.silent.is_some()
    }

    pub fn stage(&self) -> &Arc<Stage> {
        &self.stage
    }

    /// Whether a segment has code; without, it only reorders columns.
    pub fn has_code(&self, segment: usize) -> bool {
        self.segments.get(segment).is_some_and(|s| s.variants.is_some())
    }

    /// What its calls have to enter, if anything.
    pub fn gate(&self) -> Option<&'static dyn Gate> {
        let own = self.segments.iter().flat_map(|s| &s.gates).find_map(|gate| *gate);
        own.or_else(|| self.later.iter().find_map(|p| p.gate()))
    }

    pub fn options(&self) -> &FuselineOptions {
        &self.options
    }

    /// Runs a batch of the source through the stage. `row_base` is the first row's position in a
    /// generated range.
    ///
    /// # Errors
    /// The error of the first row that could not be evaluated, or of a call.
    pub fn run(&self, batch: RecordBatch, row_base: i64, metrics: &StageMetrics) -> Result<MorselOutput> {
        let _at_work = self.at_work(metrics);
        if let Some(inlined) = &self.inlined
            && let Some(out) = inlined.run(&batch, row_base, metrics)
        {
            return out;
        }
        self.run_segments(batch, row_base, metrics, None)
    }

    /// Runs a batch of the source through a stage that groups, into a table of [`Program::new_groups`].
    ///
    /// # Errors
    /// As [`Program::run`]; the table then has some of the batch's rows.
    pub fn run_into(
        &self,
        batch: RecordBatch,
        row_base: i64,
        metrics: &StageMetrics,
        groups: &mut Groups,
    ) -> Result<()> {
        let _at_work = self.at_work(metrics);
        let inlined = self.inlined.as_ref().filter(|inlined| inlined.will_do(&batch, row_base, metrics));
        let program = inlined.map_or(self, Inlined::program);
        match program.run_segments(batch, row_base, metrics, Some(groups))? {
            MorselOutput::Grouped | MorselOutput::Silent => Ok(()),
            MorselOutput::Batch(_) | MorselOutput::Aggregate(_) => {
                internal_err!("a grouping stage emitted rows")
            }
        }
    }

    /// An empty table for the groups of about `rows` rows.
    ///
    /// # Errors
    /// `Internal` when the stage does not group.
    pub fn new_groups(&self, rows: usize) -> Result<Groups> {
        match self.stage.ending().segments.last().and_then(|s| Groups::new(&s.loop_, rows)) {
            Some(groups) => Ok(groups),
            None => internal_err!("the last loop of a grouping stage does not group"),
        }
    }

    /// A stage that calls functions waits for others, for the interpreter or for workers, which need cores too.
    fn at_work(&self, metrics: &StageMetrics) -> Option<cores::AtWork> {
        (metrics.udfs.is_empty() || self.inlined.is_some()).then(cores::work)
    }

    pub(crate) fn run_segments(
        &self,
        batch: RecordBatch,
        row_base: i64,
        metrics: &StageMetrics,
        mut groups: Option<&mut Groups>,
    ) -> Result<MorselOutput> {
        let mut batch = batch;
        for (i, (segment, code)) in self.stage.segments.iter().zip(&self.segments).enumerate() {
            match self.run_segment(segment, code, &batch, row_base, metrics, groups.as_deref_mut())? {
                MorselOutput::Batch(out) => batch = out,
                ended @ (MorselOutput::Aggregate(_) | MorselOutput::Grouped)
                    if i + 1 == self.segments.len() =>
                {
                    return Ok(ended);
                }
                MorselOutput::Aggregate(_) | MorselOutput::Grouped | MorselOutput::Silent => {
                    return internal_err!("segment {i} of a fused stage aggregates but is not its last");
                }
            }
        }
        let Some(join) = self.stage.silent else { return Ok(MorselOutput::Batch(batch)) };
        match self.tables()?.kept.get(join) {
            Some(Some(kept)) => kept.note(&batch)?,
            Some(None) | None => return internal_err!("join {join} keeps no rows"),
        }
        Ok(MorselOutput::Silent)
    }

    fn run_segment(
        &self,
        segment: &Segment,
        code: &SegmentCode,
        batch: &RecordBatch,
        row_base: i64,
        metrics: &StageMetrics,
        groups: Option<&mut Groups>,
    ) -> Result<MorselOutput> {
        let rows = batch.num_rows();
        let (mut columns, rows) = match &code.variants {
            None => (reorder(&segment.loop_, batch)?, rows),
            Some(variants) => {
                let inputs: Vec<ArrayRef> = segment
                    .inputs
                    .iter()
                    .map(|c| batch.columns().get(*c).cloned())
                    .collect::<Option<_>>()
                    .ok_or_else(|| {
                        bug(format!("a segment reads columns {:?} of {batch:?}", segment.inputs))
                    })?;
                let run = self.variant(&segment.loop_, variants, &inputs, metrics);
                let joins = self.tables.as_ref().map_or(&[][..], |t| &t.sides);
                let morsel = Morsel { inputs: &inputs, rows, row_base, joins };
                let out = match (&segment.loop_.sink, groups) {
                    (Sink::Group { .. }, Some(groups)) => {
                        let before = groups.len();
                        run.run_into(&morsel, groups).inspect(|out| groups.relieve(out.rows, before))
                    }
                    (Sink::Group { .. }, None) => {
                        return internal_err!("a grouping stage was run without a table");
                    }
                    (Sink::Emit(_) | Sink::Aggregate(_), _) => run.run(&morsel),
                };
                let out = out.map_err(|error| match error {
                    EvalError::Function { message, .. } if message == ASK_PYTHON => {
                        DataFusionError::External(Box::new(AskPython))
                    }
                    error => from_eval(error),
                })?;
                metrics.bails.add(usize::from(out.bailed));
                let emits = match &segment.loop_.sink {
                    Sink::Aggregate(_) => return Ok(MorselOutput::Aggregate(out.aggs)),
                    Sink::Group { .. } => return Ok(MorselOutput::Grouped),
                    Sink::Emit(emits) => emits,
                };
                if out.columns.len() != emits.len() {
                    return internal_err!("a loop gave {} of {} columns", out.columns.len(), emits.len());
                }
                let mut columns = Vec::with_capacity(emits.len());
                for (emit, computed) in emits.iter().zip(out.columns) {
                    columns.push(match (emit, computed) {
                        (Emit::Value { .. }, Some(array)) => array,
                        (Emit::Passenger { column }, _) => {
                            let repeats = segment.loop_.has_expansion();
                            passenger(batch, *column, out.rows, (out.selection.as_ref(), repeats))?
                        }
                        (Emit::Value { value, .. }, None) => {
                            return internal_err!("a loop left out its value v{}", value.0);
                        }
                    });
                }
                (columns, out.rows)
            }
        };
        if !segment.calls.is_empty() {
            let _timer = metrics.call_time.timer();
            if metrics.udfs.is_empty() {
                self.run_calls(segment, code, (0..segment.calls.len(), metrics), &mut columns, rows)?;
            } else {
                scope(&metrics.udfs, || self.gated_calls(segment, code, &mut columns, rows, metrics))?;
            }
        }
        Ok(MorselOutput::Batch(with_rows(&code.output, columns, rows)?))
    }

    /// The least general variant that fits these columns.
    fn variant(
        &self,
        loop_: &Arc<Loop>,
        variants: &Variants,
        inputs: &[ArrayRef],
        metrics: &StageMetrics,
    ) -> Arc<dyn RunLoop> {
        let mut any_declared = false;
        let mut any_nulls = false;
        let mut denied: Vec<usize> = Vec::new();
        for (i, (input, array)) in loop_.inputs.iter().zip(inputs).enumerate() {
            any_declared |= input.nullable;
            // Not `null_count`: the values of a dictionary may be null too.
            if array.is_nullable() {
                if input.nullable {
                    any_nulls = true;
                } else if array.logical_null_count() > 0 {
                    denied.push(i);
                }
            }
        }
        let with = |nullable: Vec<bool>| {
            let made = CodeCache::global().get(loop_, nullable, &self.options);
            if let Ok(code) = &made {
                metrics.compile_time.add_duration(code.compile_time);
                metrics.code_bytes.add(code.code_bytes);
            }
            made.map(|code| code.run)
        };
        let declared = || {
            let nullable = declared_nulls(loop_);
            let make = || with(nullable.clone()).unwrap_or_else(|_| interpreted(loop_, &nullable));
            Arc::clone(variants.declared.get_or_init(make))
        };
        if !denied.is_empty() {
            let mut nullable = declared_nulls(loop_);
            denied.into_iter().for_each(|i| nullable[i] = true);
            with(nullable.clone()).unwrap_or_else(|_| interpreted(loop_, &nullable))
        } else if any_nulls || !any_declared {
            declared()
        } else {
            let make = || with(vec![false; loop_.inputs.len()]).unwrap_or_else(|_| declared());
            Arc::clone(variants.no_nulls.get_or_init(make))
        }
    }

    /// Runs some calls of a segment, each appending its column.
    fn run_calls(
        &self,
        segment: &Segment,
        code: &SegmentCode,
        (which, metrics): (Range<usize>, &StageMetrics),
        columns: &mut Vec<ArrayRef>,
        rows: usize,
    ) -> Result<()> {
        for k in which {
            let (Some(call), Some(schema)) = (segment.calls.get(k), code.call_schemas.get(k)) else {
                return internal_err!("a segment has no call {k}");
            };
            columns.push(match (&call.work, code.matches.get(k)) {
                (Work::Matches { loop_, columns: args }, Some(Some(variants))) => {
                    let inputs: Option<Vec<ArrayRef>> =
                        args.iter().map(|a| columns.get(*a).cloned()).collect();
                    match inputs {
                        Some(inputs) => self.matches((loop_, variants), &inputs, rows, metrics)?,
                        None => return internal_err!("the condition of a join lost a column"),
                    }
                }
                (Work::Matches { .. }, _) => return internal_err!("the condition of a join has no code"),
                (Work::Expr(expr), _) => run_call(call, expr, &with_rows(schema, columns.clone(), rows)?)?,
            });
        }
        Ok(())
    }

    /// Whether each row is in a pair that a loop leaves.
    fn matches(
        &self,
        (loop_, variants): (&Arc<Loop>, &Variants),
        inputs: &[ArrayRef],
        rows: usize,
        metrics: &StageMetrics,
    ) -> Result<ArrayRef> {
        let mut found = BooleanBufferBuilder::new(rows);
        found.append_n(rows, false);
        if rows > 0 {
            let run = self.variant(loop_, variants, inputs, metrics);
            let morsel = Morsel { inputs, rows, row_base: 0, joins: &self.tables()?.sides };
            let out = run.run(&morsel).map_err(from_eval)?;
            metrics.bails.add(usize::from(out.bailed));
            let Some(pairs) = &out.selection else {
                return internal_err!("the pairs of a join did not say of which rows they are");
            };
            for row in pairs.values() {
                found.set_bit(*row as usize, true);
            }
        }
        Ok(Arc::new(BooleanArray::new(found.finish(), None)))
    }

    /// Runs all calls of a segment; neighbours with the same gate inside one entry.
    fn gated_calls(
        &self,
        segment: &Segment,
        code: &SegmentCode,
        columns: &mut Vec<ArrayRef>,
        rows: usize,
        metrics: &StageMetrics,
    ) -> Result<()> {
        let same = |a: &Option<&'static dyn Gate>, b: &Option<&'static dyn Gate>| match (a, b) {
            (Some(a), Some(b)) => std::ptr::addr_eq(*a, *b),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        let mut next = 0;
        for group in code.gates.chunk_by(same) {
            let which = next..next + group.len();
            next = which.end;
            let Some(Some(gate)) = group.first().filter(|_| rows > 0) else {
                self.run_calls(segment, code, (which, metrics), columns, rows)?;
                continue;
            };
            let mut outcome = Ok(());
            let waited = gate.enter(&mut || {
                outcome = self.run_calls(segment, code, (which.clone(), metrics), columns, rows);
            });
            if let Some(first) = metrics.udfs.first() {
                first.wait_time.add_duration(waited);
            }
            outcome?;
        }
        Ok(())
    }
}

/// What runs a loop that the back end turned out not to take.
fn interpreted(loop_: &Loop, nullable: &[bool]) -> Arc<dyn RunLoop> {
    Arc::new(InterpLoop::new(loop_.prepared(nullable)))
}

/// Which inputs may hold nulls, as the schema has it.
pub fn declared_nulls(loop_: &Loop) -> Vec<bool> {
    loop_.inputs.iter().map(|i| i.nullable).collect()
}

/// Whether a loop is a mere choice of columns, for which no code is needed.
fn only_reorders(loop_: &Loop) -> bool {
    let passengers = match &loop_.sink {
        Sink::Emit(emits) => emits.iter().all(|e| matches!(e, Emit::Passenger { .. })),
        Sink::Aggregate(_) | Sink::Group { .. } => false,
    };
    passengers && loop_.steps.iter().all(|s| matches!(s, Step::Let(_)))
}

fn reorder(loop_: &Loop, batch: &RecordBatch) -> Result<Vec<ArrayRef>> {
    match &loop_.sink {
        Sink::Emit(emits) => emits
            .iter()
            .map(|e| match e {
                Emit::Passenger { column } => passenger(batch, *column, batch.num_rows(), (None, false)),
                Emit::Value { .. } => internal_err!("a loop that computes was taken for one that reorders"),
            })
            .collect(),
        Sink::Aggregate(_) | Sink::Group { .. } => {
            internal_err!("an aggregate was taken for a loop that reorders")
        }
    }
}

/// The surviving rows of a column that the loop did not touch: the column itself if all rows did.
fn passenger(
    batch: &RecordBatch,
    column: usize,
    survivors: usize,
    (selection, repeats): (Option<&UInt32Array>, bool),
) -> Result<ArrayRef> {
    let Some(array) = batch.columns().get(column) else {
        return internal_err!("a fused stage carries column {column} of {}", batch.num_columns());
    };
    if survivors == batch.num_rows() && !repeats {
        return Ok(Arc::clone(array));
    }
    match selection {
        Some(rows) if rows.len() == survivors => match as_range(rows).filter(|_| !repeats) {
            Some((start, len)) => Ok(array.slice(start, len)),
            None => Ok(take(array, rows, None)?),
        },
        Some(_) | None => internal_err!("a filtering loop did not say which rows survived"),
    }
}

/// Ascending positions without a gap, as a start and a length.
fn as_range(rows: &UInt32Array) -> Option<(usize, usize)> {
    let values = rows.values();
    let (first, last) = match (values.first(), values.last()) {
        (Some(first), Some(last)) => (*first as usize, *last as usize),
        _ => return Some((0, 0)),
    };
    (last >= first && last - first + 1 == values.len()).then_some((first, values.len()))
}

fn call_schemas(segment: &Segment) -> Vec<SchemaRef> {
    let fields = segment.output.fields();
    let loop_columns = fields.len().saturating_sub(segment.calls.len());
    (0..segment.calls.len())
        .map(|k| Arc::new(Schema::new(fields.iter().take(loop_columns + k).cloned().collect::<Vec<_>>())))
        .collect()
}

/// A batch that knows its row count even without columns.
pub fn with_rows(schema: &SchemaRef, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?)
}

fn bug(message: String) -> DataFusionError {
    DataFusionError::Internal(message)
}
