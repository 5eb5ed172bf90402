//! The programs of a run: that of the source's rows, and one for each join that keeps rows of its build side.
//!
//! All of them take the steps above where their rows come from, up to the end or to the first join above which
//! nothing goes on. Those that get to the end must come to the same states of aggregates, because they feed the
//! same ones; that they do follows from columns being alike (see [`StageBuilder::all_nullable`]), and is
//! checked.

use super::grouped::GroupEnd;
use super::join::{Above, PlannedJoin, settle_columns};
use super::kept::KeptSource;
use super::{Plan, Run, Step, filter, project};
use crate::expr::{Col, Scope, StageBuilder};
use crate::options::PlanOptions;
use crate::segments::{Ending, cut};
use crate::stage::{GroupScope, JoinPlan, Limit, Segment, Source, Stage, StageSink, Work};
use crate::support::Reason;
use arrow::datatypes::{DataType, Field, Schema};
use fuseline_codegen::ir::{Agg, Sink, verify};
use std::sync::Arc;

pub(super) struct Passes<'a> {
    root: &'a Plan,
    run: &'a Run,
    options: &'a PlanOptions,
    /// From the source up.
    steps: Vec<&'a Step>,
    /// By number, once a program has got to them, with the columns of their probe sides there.
    joins: Vec<Option<(JoinPlan, Vec<Col>)>>,
    notes: Vec<Reason>,
}

/// A program.
struct Pass {
    segments: Vec<Segment>,
    end: End,
}

enum End {
    Sink(StageSink),
    /// At a join above which nothing goes on.
    Silent(usize),
}

impl Pass {
    fn sink(&self) -> Option<&StageSink> {
        match &self.end {
            End::Sink(sink) => Some(sink),
            End::Silent(_) => None,
        }
    }
}

impl<'a> Passes<'a> {
    pub fn new(root: &'a Plan, run: &'a Run, options: &'a PlanOptions) -> Passes<'a> {
        let steps: Vec<&Step> = run.steps.iter().rev().collect();
        let joins = run.joins_down().map(|_| None).collect();
        Passes { root, run, options, steps, joins, notes: vec![] }
    }

    /// The stage over this source, whose program begins with `scope`.
    pub fn stage(mut self, source: Source, b: StageBuilder, scope: Scope) -> Result<Stage, String> {
        let first = self.pass(b, scope, 0)?;
        let mut later = vec![];
        let mut join = 0;
        for (at, step) in self.steps.clone().into_iter().enumerate() {
            let Step::Join(joined) = step else { continue };
            let number = join;
            join += 1;
            if !joined.keeps() {
                continue;
            }
            let probe = self.joins[number].as_ref().map(|(_, probe)| probe.clone());
            let probe = probe.ok_or("internal error: no program gets to a join")?;
            let mut kept = KeptSource::of(joined)?;
            let (mut b, scope) = kept.begin(joined, &probe, *self.options)?;
            b.all_nullable = true;
            let mut pass = self.pass(b, scope, at + 1)?;
            kept.settle(&mut pass.segments);
            let KeptSource { schema, columns } = kept;
            if let Some((plan, _)) = &mut self.joins[number]
                && let Some(kept) = &mut plan.kept
            {
                kept.columns = columns;
            }
            later.push((Source::Kept { join: number, schema }, pass));
        }
        let passes = || std::iter::once(&first).chain(later.iter().map(|(_, p)| p));
        let mut ends = passes().filter_map(|p| p.sink().map(|s| (p, s)));
        let (end, sink) = ends.next_back().ok_or("internal error: no program gets to the end")?;
        if ends.any(|(other, other_sink)| !alike((other, other_sink), (end, sink))) {
            return Err("rows with and without partner would come to different states".to_owned());
        }
        let sink = sink.clone();
        let stage = |source: Source, pass: Pass| Stage {
            source,
            segments: pass.segments,
            sink: sink.clone(),
            limit: Limit::default(),
            operators: vec![],
            notes: vec![],
            joins: vec![],
            silent: match pass.end {
                End::Sink(_) => None,
                End::Silent(join) => Some(join),
            },
            later: vec![],
        };
        let joins: Option<Vec<JoinPlan>> = self.joins.into_iter().map(|j| j.map(|(plan, _)| plan)).collect();
        let mut whole = Stage {
            limit: self.run.limit,
            operators: self.run.operators.clone(),
            notes: self.notes,
            joins: joins.ok_or("internal error: no program gets to a join")?,
            later: later.into_iter().map(|(source, pass)| stage(source, pass)).collect(),
            ..stage(source, first)
        };
        settle_columns(&mut whole);
        Ok(whole)
    }

    /// The program from step `from` on.
    fn pass(&mut self, mut b: StageBuilder, scope: Scope, from: usize) -> Result<Pass, String> {
        let mut scope = scope;
        let mut join = self.steps[..from].iter().filter(|s| matches!(s, Step::Join(_))).count();
        for step in &self.steps[from..] {
            scope = match step {
                Step::Filter(plan) => filter(&mut b, plan, scope)?,
                Step::Project(plan) => project(&mut b, plan, scope)?,
                Step::Join(joined) => {
                    let PlannedJoin { plan, above, probe } = joined.plan(&mut b, join as u32, scope)?;
                    self.joins[join].get_or_insert((plan, probe));
                    join += 1;
                    match above {
                        Above::Rows(scope) => scope,
                        Above::Nothing(null_key) => {
                            let (mut cols, mut fields) = (vec![], vec![]);
                            if let Some(id) = null_key {
                                cols.push(Col::Value { id, data_type: DataType::Boolean });
                                fields.push(Field::new("null_key", DataType::Boolean, false));
                            }
                            let schema = Arc::new(Schema::new(fields));
                            let segments = self.segments(b, Ending::Emit { cols, schema })?;
                            return Ok(Pass { segments, end: End::Silent(join - 1) });
                        }
                    }
                }
            };
        }
        let (ending, sink) = self.end(&mut b, scope)?;
        Ok(Pass { segments: self.segments(b, ending)?, end: End::Sink(sink) })
    }

    fn end(&self, b: &mut StageBuilder, scope: Scope) -> Result<(Ending, StageSink), String> {
        let schema = self.root.schema();
        Ok(match (&self.run.aggregates, &self.run.grouped) {
            (Some(aggregates), _) => {
                let (aggs, finals) = aggregates.plan(b, &scope)?;
                (Ending::Aggregate(aggs), StageSink::Aggregate { finals, schema })
            }
            (None, Some(grouped)) => {
                let GroupEnd { keys, aggs, columns, states } = grouped.plan(b, &scope)?;
                let columns = if grouped.scope == GroupScope::States { states.clone() } else { columns };
                let sink = StageSink::Group { columns, states, scope: grouped.scope, schema };
                (Ending::Group { keys, aggs }, sink)
            }
            (None, None) => {
                (Ending::Emit { cols: scope.cols, schema: Arc::clone(&schema) }, StageSink::Emit(schema))
            }
        })
    }

    fn segments(&mut self, b: StageBuilder, ending: Ending) -> Result<Vec<Segment>, String> {
        for note in b.notes() {
            if !self.notes.contains(&note) {
                self.notes.push(note);
            }
        }
        let segments = cut(b, ending)?;
        for segment in &segments {
            // Cheap, and a mistake of the planner's must not reach a compiler.
            let loops = segment.calls.iter().filter_map(|c| match &c.work {
                Work::Expr(_) => None,
                Work::Matches { loop_, .. } => Some(loop_),
            });
            for loop_ in loops.chain([&segment.loop_]) {
                verify(loop_).map_err(|e| format!("internal error: {e}"))?;
            }
        }
        Ok(segments)
    }
}

/// Whether two programs feed the same states.
fn alike((a, a_sink): (&Pass, &StageSink), (b, b_sink): (&Pass, &StageSink)) -> bool {
    let sink = |p: &Pass| p.segments.last().map(|s| s.loop_.sink.clone());
    let same_aggs = |a: &[Agg], b: &[Agg]| {
        let form = |x: &Agg| (x.func, x.ty, x.arg.is_some(), x.filter.is_some());
        a.len() == b.len() && a.iter().zip(b).all(|(x, y)| form(x) == form(y))
    };
    let loops = match (sink(a), sink(b)) {
        (Some(Sink::Emit(_)), Some(Sink::Emit(_))) => true,
        (Some(Sink::Aggregate(a)), Some(Sink::Aggregate(b))) => same_aggs(&a, &b),
        (Some(Sink::Group { keys: k, aggs: a }), Some(Sink::Group { keys: l, aggs: b })) => {
            let same_keys = k.len() == l.len()
                && k.iter().zip(&l).all(|(x, y)| x.data_type == y.data_type && x.nullable == y.nullable);
            same_keys && same_aggs(&a, &b)
        }
        (_, _) => false,
    };
    let sinks = match (a_sink, b_sink) {
        (StageSink::Emit(_), StageSink::Emit(_)) => true,
        (StageSink::Aggregate { finals: a, .. }, StageSink::Aggregate { finals: b, .. }) => a == b,
        (StageSink::Group { columns: a, states: s, .. }, StageSink::Group { columns: b, states: t, .. }) => {
            a == b && s == t
        }
        (_, _) => false,
    };
    loops && sinks
}
