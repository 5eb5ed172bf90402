//! Cuts a loop into segments (between filters) and each segment into phases.
//!
//! A phase is one pass over the rows of a chunk: a lane loop over groups of 8 rows in vectors, a
//! scalar loop over single rows, or one kernel call. Values inside a phase stay in registers; a value
//! that a later phase, the next segment or an output reads goes through a chunk buffer. Calls and
//! scalar loops run as early as they can and lane loops as late as they can, which leaves a numeric
//! pipeline with exactly one lane loop.
//!
//! Example: `filter l < 5; emit a*b` gives segment 0 with one lane loop (compare, store mask), which
//! carries `a` and `b`, and segment 1 with one lane loop (multiply, store to the output).

use super::CompileError;
use super::classify::{Kind, classify};
use super::sink::{is_text_extreme, only_counts};
use crate::ir::{Agg, AggFunc, Emit, Loop, Op, Sink, Step, Ty, ValueId};

/// Which parts of a value somebody reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Need {
    pub data: bool,
    pub valid: bool,
}

impl Need {
    pub(super) const BOTH: Need = Need { data: true, valid: true };
    pub(super) const VALID: Need = Need { data: false, valid: true };

    pub(super) fn merge(&mut self, other: Need) {
        self.data |= other.data;
        self.valid |= other.valid;
    }

    pub(super) fn any(self) -> bool {
        self.data || self.valid
    }
}

/// One pass over a chunk.
#[derive(Debug)]
pub(super) struct Phase {
    pub kind: Kind,
    pub insts: Vec<ValueId>,
    /// Indexes of the aggregates that are fed here.
    pub aggs: Vec<usize>,
    /// What of each value goes to a chunk buffer (or the output) because somebody outside reads it.
    pub stores: Vec<(ValueId, Need)>,
    /// What is read from chunk buffers and columns.
    pub loads: Vec<(ValueId, Need)>,
    /// The filter operand that this phase turns into the segment's mask.
    pub mask: Option<ValueId>,
}

/// What ends a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Filter(ValueId),
    /// Rows become pairs; the value is the build row.
    Expand(ValueId),
    /// Build rows of a join are noted; the rows stay what they are.
    Visit(u32, ValueId),
    Sink,
}

/// The rows between two filters.
#[derive(Debug)]
pub(super) struct Segment {
    pub phases: Vec<Phase>,
    pub end: End,
    /// What later segments and the sink read of the values known so far.
    pub carry: Vec<(ValueId, Need)>,
}

#[derive(Debug)]
pub(super) struct Schedule {
    pub segments: Vec<Segment>,
    /// Whether lane phases are to be wide loops. Then there are some that 128-bit lanes cannot do.
    pub wide: bool,
    /// Whether short wide loops may do two groups at a time.
    pub unrolled: bool,
}

/// Reads of an instruction: arguments and `under`.
pub(super) fn reads(lp: &Loop, id: ValueId) -> impl Iterator<Item = (ValueId, Need)> + '_ {
    let inst = lp.value(id);
    let need = if inst.op == Op::IsValid { Need::VALID } else { Need::BOTH };
    inst.args.iter().map(move |v| (*v, need)).chain(inst.under.map(|u| (u, Need::BOTH)))
}

/// Reads of aggregate `index`.
pub(super) fn agg_reads(lp: &Loop, index: usize) -> Vec<(ValueId, Need)> {
    let Sink::Aggregate(aggs) = &lp.sink else { return Vec::new() };
    let agg = &aggs[index];
    let need = if only_counts(agg) { Need::VALID } else { Need::BOTH };
    agg.arg.map(|v| (v, need)).into_iter().chain(agg.filter.map(|v| (v, Need::BOTH))).collect()
}

/// What the kernels that find minima and maxima of text read, at the end of a chunk.
pub(super) fn text_agg_reads(lp: &Loop) -> Vec<ValueId> {
    let (Sink::Aggregate(aggs) | Sink::Group { aggs, .. }) = &lp.sink else { return Vec::new() };
    aggs.iter().filter(|a| is_text_extreme(a)).flat_map(|a| a.arg.into_iter().chain(a.filter)).collect()
}

/// Whether the value needs no instruction where it is used: constants are baked in and columns lie
/// in memory.
pub(super) fn is_free(lp: &Loop, id: ValueId) -> bool {
    matches!(lp.value(id).op, Op::Const(_) | Op::Input(_))
}

fn is_const(lp: &Loop, id: ValueId) -> bool {
    matches!(lp.value(id).op, Op::Const(_))
}

/// Whether an output column is made outside the loop: constants are repeated, and unfiltered columns
/// are shared.
pub(super) fn emitted_outside(lp: &Loop, emit: &Emit) -> bool {
    match emit {
        Emit::Passenger { .. } => true,
        Emit::Value { value, data_type, .. } => match &lp.value(*value).op {
            Op::Const(_) => true,
            Op::Input(i) => {
                let input = &lp.inputs[*i as usize];
                !lp.has_filter() && (input.ty != Ty::Str || input.data_type == *data_type)
            }
            _other => false,
        },
    }
}

/// Values that the loop itself writes to outputs.
pub(super) fn emitted(lp: &Loop) -> Vec<ValueId> {
    match &lp.sink {
        Sink::Emit(columns) => columns
            .iter()
            .filter(|c| !emitted_outside(lp, c))
            .filter_map(|c| match c {
                Emit::Value { value, .. } => Some(*value),
                Emit::Passenger { .. } => None,
            })
            .collect(),
        Sink::Aggregate(_) | Sink::Group { .. } => Vec::new(),
    }
}

/// What the end of a chunk reads to find its rows' groups and to update them.
pub(super) fn group_reads(lp: &Loop) -> Vec<(ValueId, Need)> {
    let Sink::Group { keys, aggs } = &lp.sink else { return Vec::new() };
    let keys = keys.iter().map(|k| (k.value, Need::BOTH));
    keys.chain(aggs.iter().flat_map(operands)).collect()
}

/// What an aggregate by group reads.
pub(super) fn operands(agg: &Agg) -> impl Iterator<Item = (ValueId, Need)> {
    let need = if agg.func == AggFunc::Count { Need::VALID } else { Need::BOTH };
    agg.arg.map(|v| (v, need)).into_iter().chain(agg.filter.map(|v| (v, Need::BOTH)))
}

/// Cuts a loop.
pub(super) fn schedule(lp: &Loop, wide: bool) -> Result<Schedule, CompileError> {
    let count = lp.values.len();
    // Values that reach a filter or the sink; the builder drops the others, a hand-written loop may not.
    let mut used = vec![false; count];
    let mut todo: Vec<ValueId> = lp.sink.uses();
    todo.extend(lp.step_uses());
    while let Some(v) = todo.pop() {
        if !std::mem::replace(&mut used[v.index()], true) {
            todo.extend(reads(lp, v).map(|r| r.0));
        }
    }
    let mut lists: Vec<(Vec<ValueId>, End)> = vec![(Vec::new(), End::Sink)];
    for step in &lp.steps {
        let at = lists.len() - 1;
        match step {
            // Row numbers are those before any filter.
            Step::Let(v) if used[v.index()] && lp.value(*v).op == Op::RowIndex => lists[0].0.push(*v),
            Step::Let(v) if used[v.index()] && !is_free(lp, *v) => lists[at].0.push(*v),
            Step::Let(_) => {}
            Step::Filter(v) => {
                lists[at].1 = End::Filter(*v);
                lists.push((Vec::new(), End::Sink));
            }
            Step::Expand(v) => {
                lists[at].1 = End::Expand(*v);
                lists.push((Vec::new(), End::Sink));
            }
            Step::Visit { join, row } => {
                lists[at].1 = End::Visit(*join, *row);
                lists.push((Vec::new(), End::Sink));
            }
        }
    }
    let last = lists.len() - 1;
    let mut known = vec![false; count];
    for (id, known) in known.iter_mut().enumerate() {
        *known = is_free(lp, ValueId(id as u32));
    }
    let mut segments = Vec::new();
    for (at, (insts, end)) in lists.into_iter().enumerate() {
        let phases = phases(lp, insts, &mut known, at == last, wide)?;
        if let End::Expand(v) = end {
            known[v.index()] = true;
        }
        segments.push(Segment { phases, end, carry: Vec::new() });
    }
    place_buffers(lp, &mut segments);
    Ok(Schedule { segments, wide, unrolled: true })
}

/// Groups instructions into phases, greedily; with the sink's aggregates where `sink` is set.
fn phases(
    lp: &Loop,
    insts: Vec<ValueId>,
    known: &mut [bool],
    sink: bool,
    wide: bool,
) -> Result<Vec<Phase>, CompileError> {
    let mut left: Vec<(ValueId, Kind)> = Vec::with_capacity(insts.len());
    for id in insts {
        left.push((id, classify(lp, id, wide)?));
    }
    let mut aggs: Vec<(usize, Kind)> = Vec::new();
    if sink && let Sink::Aggregate(list) = &lp.sink {
        for (at, agg) in list.iter().enumerate() {
            // A spread takes its values one after the other.
            let scalar = agg.func == AggFunc::Spread || agg.func != AggFunc::Count && agg.ty == Ty::I128;
            aggs.push((at, if scalar { Kind::Scalar } else { Kind::Lanes }));
        }
    }
    let mut out: Vec<Phase> = Vec::new();
    while !left.is_empty() || !aggs.is_empty() {
        let mut taken: Vec<ValueId> = Vec::new();
        let mut kind = Kind::Call;
        for candidate in [Kind::Call, Kind::Scalar, Kind::Lanes] {
            kind = candidate;
            left.retain(|(id, k)| {
                let ready = *k == candidate && reads(lp, *id).all(|(v, _)| known[v.index()]);
                if ready {
                    // A call sees nothing of the other calls of its own phase.
                    known[id.index()] = true;
                    taken.push(*id);
                }
                !ready
            });
            if !taken.is_empty() {
                break;
            }
        }
        let mut fed = Vec::new();
        if taken.is_empty() {
            // Only aggregates are left (anything else would be a use before its definition).
            let Some((_, first)) = aggs.first().copied() else {
                return Err(CompileError::Backend("a value is used before it is defined".to_owned()));
            };
            kind = first;
        }
        if kind != Kind::Call {
            aggs.retain(|(at, k)| {
                let ready = *k == kind
                    && agg_reads(lp, *at).iter().all(|(v, _)| known[v.index()])
                    // Wait for a later loop of the same kind rather than go through a buffer early.
                    && (taken.is_empty() || !left.iter().any(|(_, k)| *k == kind));
                if ready {
                    fed.push(*at);
                }
                !ready
            });
        }
        out.push(Phase { kind, insts: taken, aggs: fed, stores: vec![], loads: vec![], mask: None });
    }
    Ok(out)
}

/// Finds what each phase loads and stores, what each filter carries over, and who makes the masks.
fn place_buffers(lp: &Loop, segments: &mut [Segment]) {
    let count = lp.values.len();
    // Walk backwards; `wanted` is what is read behind the current point.
    let mut wanted = vec![Need::default(); count];
    for v in emitted(lp).into_iter().chain(text_agg_reads(lp)) {
        wanted[v.index()].merge(Need::BOTH);
    }
    for (v, need) in group_reads(lp) {
        wanted[v.index()].merge(need);
    }
    for segment in segments.iter_mut().rev() {
        if let End::Expand(v) = segment.end {
            // Made by the end itself.
            wanted[v.index()] = Need::default();
        }
        segment.carry = collect(lp, &wanted);
        match segment.end {
            End::Filter(f) if !is_const(lp, f) => {
                let lanes = segment.phases.iter_mut().find(|p| p.insts.contains(&f) && p.kind == Kind::Lanes);
                match lanes {
                    Some(phase) => phase.mask = Some(f),
                    None => wanted[f.index()].merge(Need::BOTH),
                }
            }
            End::Expand(v) => wanted[lp.value(v).args[0].index()].merge(Need::BOTH),
            End::Visit(_, row) => wanted[row.index()].merge(Need::BOTH),
            End::Filter(_) | End::Sink => {}
        }
        for phase in segment.phases.iter_mut().rev() {
            for v in &phase.insts {
                let need = std::mem::take(&mut wanted[v.index()]);
                if phase.kind == Kind::Call {
                    // Kernels write whole buffers, and hand them to each other within the phase.
                    phase.stores.push((*v, Need::BOTH));
                } else if need.any() {
                    phase.stores.push((*v, need));
                }
            }
            let mut loads = vec![Need::default(); count];
            let inside = phase.insts.iter().flat_map(|v| reads(lp, *v));
            let fed: Vec<_> = phase.aggs.iter().flat_map(|a| agg_reads(lp, *a)).collect();
            for (v, need) in inside.chain(fed) {
                if !phase.insts.contains(&v) {
                    loads[v.index()].merge(need);
                }
            }
            for (at, need) in loads.iter().enumerate() {
                wanted[at].merge(*need);
            }
            phase.loads = collect(lp, &loads);
        }
    }
}

fn collect(lp: &Loop, needs: &[Need]) -> Vec<(ValueId, Need)> {
    let mut out = Vec::new();
    for (at, need) in needs.iter().enumerate() {
        let id = ValueId(at as u32);
        let need = Need { data: need.data, valid: need.valid && lp.value(id).nullable };
        if need.any() && !is_const(lp, id) {
            out.push((id, need));
        }
    }
    out
}
