//! A stage with its functions as parts of its loops, tried before the one that calls them.
//!
//! A morsel in which a row has to be asked of Python is run again, by the program that calls functions. So nothing may be
//! left of it. A stage that emits or aggregates is simply tried: its loop fails with
//! [`ASK_PYTHON`], and what it made is dropped. What a grouping stage put into its table would stay, so a
//! *check* runs first: the same loop with its filters, but instead of the groups it counts the rows that would have to
//! be asked. It computes guards only, mostly a comparison per row; where functions have no guards there is none.
//!
//! Morsels which all fail cost little: the pause after a failure is twice as long as the one before.

use crate::join::Tables;
use crate::metrics::StageMetrics;
use crate::program::{MorselOutput, Program};
use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use datafusion::common::{DataFusionError, Result};
use fuseline_codegen::groups::GroupLayout;
use fuseline_codegen::ir::{Agg, AggFunc, Loop, LoopBuilder, Op, Sink, Step, Ty, ValueId};
use fuseline_planner::ASK_PYTHON;
use fuseline_planner::stage::{PlannedStage, Segment, Stage, StageSink};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A morsel's error that is none: see [`ASK_PYTHON`].
#[derive(Debug, thiserror::Error)]
#[error("{ASK_PYTHON}")]
pub struct AskPython;

/// A program that is tried first, as long as few morsels fail in it.
pub struct Inlined {
    program: Box<Program>,
    /// Whether a morsel has rows that have to be asked; `None` if it never has, or may be tried.
    check: Option<Box<Program>>,
    /// Morsels that it is not tried on now.
    pause: AtomicUsize,
    /// How many that will be after the next failure.
    next_pause: AtomicUsize,
}

/// Morsels of the longest pause.
const LONGEST_PAUSE: usize = 1 << 10;

impl Inlined {
    /// `inlined` is the stage that stands for `planned`; `None` if it cannot: they were planned over other plans, or
    /// something would be left of a morsel that is run again.
    pub fn new(
        planned: &PlannedStage,
        mut inlined: PlannedStage,
        compile: impl Fn(Stage) -> Option<Program>,
    ) -> Option<Inlined> {
        if !same_inputs(planned, &inlined) || leaves_traces(&planned.stage) || leaves_traces(&inlined.stage) {
            return None;
        }
        if !same_states(&planned.stage, &inlined.stage) {
            return None;
        }
        let mut check = None;
        if matches!(planned.stage.sink, StageSink::Group { .. }) {
            same_table(&planned.stage, &mut inlined.stage)?;
            if let Some(stage) = check_of(&inlined.stage)? {
                check = Some(compile(stage)?);
            }
        }
        Some(Inlined {
            program: Box::new(compile(inlined.stage)?),
            check: check.map(Box::new),
            pause: AtomicUsize::new(0),
            next_pause: AtomicUsize::new(0),
        })
    }

    pub fn program(&self) -> &Program {
        &self.program
    }

    /// The same over the tables of the stage's joins.
    ///
    /// # Errors
    /// As [`Program::with_tables`].
    pub fn with_tables(&self, tables: &Arc<Tables>) -> Result<Inlined> {
        let over = |program: &Program| program.with_tables(Arc::clone(tables)).map(Box::new);
        Ok(Inlined {
            program: over(&self.program)?,
            check: self.check.as_deref().map(over).transpose()?,
            pause: AtomicUsize::new(0),
            next_pause: AtomicUsize::new(0),
        })
    }

    /// Runs a morsel; `None` if it is one for the program that calls functions.
    pub fn run(
        &self,
        batch: &RecordBatch,
        row_base: i64,
        metrics: &StageMetrics,
    ) -> Option<Result<MorselOutput>> {
        if self.pauses() {
            return None;
        }
        match self.program.run_segments(batch.clone(), row_base, metrics, None) {
            Err(DataFusionError::External(error)) if error.is::<AskPython>() => {
                self.failed();
                None
            }
            out => {
                self.succeeded(batch, metrics);
                Some(out)
            }
        }
    }

    /// Whether no row of a morsel has to be asked.
    pub fn will_do(&self, batch: &RecordBatch, row_base: i64, metrics: &StageMetrics) -> bool {
        if self.pauses() {
            return false;
        }
        let will = self.check.as_ref().is_none_or(|check| {
            // An error is for the other program to find again.
            match check.run_segments(batch.clone(), row_base, metrics, None) {
                Ok(MorselOutput::Aggregate(states)) => states.iter().all(|s| s.count == 0),
                Ok(MorselOutput::Batch(_) | MorselOutput::Grouped | MorselOutput::Silent) | Err(_) => false,
            }
        });
        if will {
            self.succeeded(batch, metrics);
        } else {
            self.failed();
        }
        will
    }

    fn pauses(&self) -> bool {
        let one_less = |left: usize| left.checked_sub(1);
        self.pause.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less).is_ok()
    }

    fn failed(&self) {
        let pause = self.next_pause.load(Ordering::Relaxed);
        self.next_pause.store((2 * pause + 1).min(LONGEST_PAUSE), Ordering::Relaxed);
        self.pause.store(pause, Ordering::Relaxed);
    }

    fn succeeded(&self, batch: &RecordBatch, metrics: &StageMetrics) {
        self.next_pause.store(0, Ordering::Relaxed);
        metrics.udfs.iter().for_each(|udf| udf.record_inlined(batch.num_rows()));
    }
}

/// Whether both read the same plans in the same way.
fn same_inputs(a: &PlannedStage, b: &PlannedStage) -> bool {
    let same_child = match (&a.child, &b.child) {
        (Some(a), Some(b)) => Arc::ptr_eq(a, b),
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    };
    let same_builds =
        a.builds.len() == b.builds.len() && a.builds.iter().zip(&b.builds).all(|(a, b)| Arc::ptr_eq(a, b));
    let joins = (&a.stage.joins, &b.stage.joins);
    let same_joins = joins.0.len() == joins.1.len()
        && joins.0.iter().zip(joins.1).all(|(a, b)| {
            a.keys == b.keys
                && a.tys == b.tys
                && a.null_equal == b.null_equal
                && a.columns == b.columns
                && a.by_partition == b.by_partition
        });
    same_child && same_builds && same_joins && a.stage.schema() == b.stage.schema()
}

/// Whether something is left of a morsel beside what it became.
fn leaves_traces(stage: &Stage) -> bool {
    stage.silent.is_some()
        || !stage.later.is_empty()
        || stage.joins.iter().any(|j| j.kept.is_some())
        || stage.segments.iter().any(|s| s.loop_.steps.iter().any(|s| matches!(s, Step::Visit { .. })))
}

/// Whether aggregates have the same states, which those of both are merged with.
fn same_states(a: &Stage, b: &Stage) -> bool {
    let states = |stage: &Stage| -> Vec<(AggFunc, Ty, bool, bool)> {
        match stage.segments.last().map(|s| &s.loop_.sink) {
            Some(Sink::Aggregate(aggs) | Sink::Group { aggs, .. }) => {
                aggs.iter().map(|a| (a.func, a.ty, a.arg.is_some(), a.filter.is_some())).collect()
            }
            Some(Sink::Emit(_)) | None => vec![],
        }
    };
    states(a) == states(b)
}

/// Gives the inlined stage the table of the other one; `None` if it would be another one.
fn same_table(planned: &Stage, inlined: &mut Stage) -> Option<()> {
    let of = &planned.segments.last()?.loop_;
    let segment = inlined.segments.last_mut()?;
    let mut own = Loop::clone(&segment.loop_);
    if let (Sink::Group { keys, .. }, Sink::Group { keys: as_planned, .. }) = (&mut own.sink, &of.sink) {
        // What a call gives may be NULL; what a loop computes often is known not to be.
        for (key, other) in keys.iter_mut().zip(as_planned) {
            key.nullable |= other.nullable;
        }
    }
    if GroupLayout::of(&own)? != GroupLayout::of(of)? {
        return None;
    }
    segment.loop_ = Arc::new(own);
    Some(())
}

/// The stage that counts the rows that have to be asked: `Some(None)` if there never are any, `None` if no such
/// stage can be made.
fn check_of(stage: &Stage) -> Option<Option<Stage>> {
    let [segment] = stage.segments.as_slice() else { return None };
    let asks = |op: &Op| matches!(op, Op::Guard(message) if message == ASK_PYTHON);
    if !segment.loop_.values.iter().any(|inst| asks(&inst.op)) {
        return Some(None);
    }
    let (loop_, inputs) = check_loop(&segment.loop_, asks).ok()?;
    let nothing = Arc::new(Schema::empty());
    let segment = Segment {
        loop_: Arc::new(loop_),
        inputs: inputs.iter().map(|i| segment.inputs.get(*i).copied()).collect::<Option<_>>()?,
        calls: vec![],
        output: Arc::clone(&nothing),
    };
    let sink = StageSink::Aggregate { finals: vec![], schema: nothing };
    Some(Some(Stage { segments: vec![segment], sink, ..stage.clone() }))
}

/// The loop with the same filters that counts failing guards, and which inputs it has left. A guard on which a filter
/// depends is still one, and fails; of the others only those of rows that get to the end matter.
fn check_loop(loop_: &Loop, asks: impl Fn(&Op) -> bool) -> std::result::Result<(Loop, Vec<usize>), String> {
    let mut builder = LoopBuilder::new();
    let mut inputs = Vec::with_capacity(loop_.inputs.len());
    for input in &loop_.inputs {
        inputs.push(builder.input(&input.name, &input.data_type, input.nullable)?);
    }
    let mut ids: Vec<Option<ValueId>> = vec![None; loop_.values.len()];
    let of = |ids: &[Option<ValueId>], v: ValueId| ids[v.index()].ok_or("a value is used before it is there");
    let mut bad: Option<ValueId> = None;
    for step in &loop_.steps {
        match step {
            Step::Let(v) => {
                let inst = loop_.value(*v);
                if let Op::Input(at) = &inst.op {
                    ids[v.index()] = Some(inputs[*at as usize]);
                    continue;
                }
                let args =
                    inst.args.iter().map(|a| of(&ids, *a)).collect::<std::result::Result<Vec<_>, _>>()?;
                let under = inst.under.map(|u| of(&ids, u)).transpose()?;
                if asks(&inst.op) {
                    let mut fails = builder.inst(Op::Not, &[args[1]], None)?;
                    if let Some(under) = under {
                        let holds = builder.inst(Op::IsTrue, &[under], None)?;
                        fails = builder.inst(Op::And, &[fails, holds], None)?;
                    }
                    bad = Some(match bad {
                        Some(before) => builder.inst(Op::Or, &[before, fails], None)?,
                        None => fails,
                    });
                }
                ids[v.index()] = Some(builder.inst(inst.op.clone(), &args, under)?);
            }
            Step::Filter(v) => builder.filter(of(&ids, *v)?)?,
            Step::Expand(v) => {
                let inst = loop_.value(*v);
                let Op::Expand { join, outer } = &inst.op else { return Err("no expansion".to_owned()) };
                let entry = inst.args.first().ok_or("an expansion of nothing")?;
                ids[v.index()] = Some(builder.expand(*join, of(&ids, *entry)?, *outer)?);
            }
            Step::Visit { .. } => return Err("it notes what it met".to_owned()),
        }
    }
    let count = Agg { func: AggFunc::Count, arg: None, filter: bad, ty: Ty::I64 };
    Ok(builder.finish(Sink::Aggregate(vec![count])))
}
