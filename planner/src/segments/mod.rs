//! Cuts a stage's program into loops, at the batch calls.
//!
//! The program is one SSA sequence whose inputs are source columns and results of calls. A call
//! runs at the end of the first segment in which its arguments exist and the filters before it have
//! been applied; several independent calls share a cut. Every other value is computed as late as
//! its uses allow, on the rows that are left by then. What a later segment needs crosses a cut as a
//! column: untouched columns as passengers, computed ones in their natural Arrow type.
//!
//! Moving a computation behind a filter is allowed (it raises less), in front of one never happens:
//! nothing is placed before the segment of the filters that precede it in the program.

mod carried;

use crate::expr::{Col, InputKey, PendingCall, StageBuilder};
use crate::precision;
use crate::stage::{Call, Segment};
use arrow::datatypes::{Field, FieldRef, Schema, SchemaRef};
use carried::{Carried, any_type, compacts, computed, natural, operands, position, rename};
use fuseline_codegen::ir::{Agg, Emit, GroupKey, Inst, Loop, LoopBuilder, Op, Sink, Step, ValueId};
use std::collections::BTreeSet;
use std::sync::Arc;

/// What the program ends in.
pub(crate) enum Ending {
    Emit { cols: Vec<Col>, schema: SchemaRef },
    Aggregate(Vec<Agg>),
    Group { keys: Vec<GroupKey>, aggs: Vec<Agg> },
}

impl Ending {
    /// The values that aggregates read, by group or not; of groups first the keys.
    fn operands(&self) -> Vec<ValueId> {
        match self {
            Ending::Emit { .. } => vec![],
            Ending::Aggregate(aggs) => operands(aggs).collect(),
            Ending::Group { keys, aggs } => keys.iter().map(|k| k.value).chain(operands(aggs)).collect(),
        }
    }
}

struct Cutter {
    program: Loop,
    /// What each input of `program` is.
    keys: Vec<InputKey>,
    calls: Vec<PendingCall>,
    /// The segment at whose end each call runs; `None` for a call that nothing needs.
    call_at: Vec<Option<usize>>,
    value_at: Vec<usize>,
    filter_at: Vec<usize>,
    last: usize,
    source: SchemaRef,
    ending: Ending,
}

/// The stage's segments. Errs only on an internal inconsistency.
pub(crate) fn cut(builder: StageBuilder, ending: Ending) -> Result<Vec<Segment>, String> {
    let exact = builder.options.exact_libm;
    let final_output = builder.options.output_is_final;
    let live = live_calls(&builder, &ending);
    let StageBuilder { ir, source, inputs, mut calls, .. } = builder;

    // One pretended sink that reads all there is to keep: outputs first, then what calls need.
    let mut wanted: Vec<ValueId> = match &ending {
        Ending::Emit { cols, .. } => computed(cols).collect(),
        Ending::Aggregate(_) | Ending::Group { .. } => ending.operands(),
    };
    let of_outputs = wanted.len();
    for (call, _) in calls.iter().zip(&live).filter(|(_, live)| **live) {
        wanted.extend(computed(&call.args));
        wanted.extend(call.under);
    }
    let pretended = wanted
        .iter()
        .map(|v| Emit::Value { value: *v, data_type: natural(ir.ty(*v)), nullable: true })
        .collect();
    let (mut program, origin) = ir.finish(Sink::Emit(pretended));
    let keys: Vec<InputKey> = origin.iter().map(|i| inputs[*i]).collect();

    // Renumber everything that names a value.
    let mut renumbered = program.sink.uses().into_iter();
    let mut next = || renumbered.next().ok_or("a value of the program was lost");
    let ending = match ending {
        Ending::Emit { mut cols, schema } => {
            for col in &mut cols {
                if let Col::Value { id, .. } = col {
                    *id = next()?;
                }
            }
            Ending::Emit { cols, schema }
        }
        Ending::Aggregate(mut aggs) => {
            rename(&mut aggs, &mut next)?;
            Ending::Aggregate(aggs)
        }
        Ending::Group { mut keys, mut aggs } => {
            for key in &mut keys {
                key.value = next()?;
            }
            rename(&mut aggs, &mut next)?;
            Ending::Group { keys, aggs }
        }
    };
    for (_, call) in calls.iter_mut().enumerate().filter(|(k, _)| live[*k]) {
        for arg in &mut call.args {
            if let Col::Value { id, .. } = arg {
                *id = next()?;
            }
        }
        if let Some(under) = &mut call.under {
            *under = next()?;
        }
    }

    // The precision of math functions follows from the real uses.
    match &ending {
        Ending::Emit { .. } => {
            precision::settle(&mut program, exact, |i| i >= of_outputs || !final_output);
        }
        Ending::Aggregate(_) | Ending::Group { .. } => {
            let sink = match &ending {
                Ending::Group { keys, aggs } => Sink::Group { keys: keys.clone(), aggs: aggs.clone() },
                Ending::Aggregate(aggs) => Sink::Aggregate(aggs.clone()),
                Ending::Emit { .. } => Sink::Emit(vec![]),
            };
            let pretended = std::mem::replace(&mut program.sink, sink);
            precision::settle(&mut program, exact, |_| true);
            if calls.iter().enumerate().any(|(k, _)| live[k]) {
                program.sink = pretended;
                precision::settle(&mut program, exact, |i| i >= of_outputs);
            }
        }
    }

    let mut cutter = Cutter {
        value_at: vec![0; program.values.len()],
        filter_at: vec![],
        call_at: vec![None; calls.len()],
        last: 0,
        program,
        keys,
        calls,
        source,
        ending,
    };
    cutter.place(&live);
    cutter.segments()
}

/// Which calls reach an output, a filter or another such call.
fn live_calls(b: &StageBuilder, ending: &Ending) -> Vec<bool> {
    let mut live = vec![false; b.calls.len()];
    let mut seen = vec![false; b.ir.len()];
    let mut values: Vec<ValueId> = b.filters.clone();
    let mut cols: Vec<Col> = vec![];
    match ending {
        Ending::Emit { cols: out, .. } => cols.extend(out.iter().cloned()),
        Ending::Aggregate(_) | Ending::Group { .. } => values.extend(ending.operands()),
    }
    loop {
        if let Some(col) = cols.pop() {
            match col {
                Col::Source(_) => {}
                Col::Value { id, .. } => values.push(id),
                Col::Call(k) => {
                    if !std::mem::replace(&mut live[k], true) {
                        cols.extend(b.calls[k].args.iter().cloned());
                        values.extend(b.calls[k].under);
                    }
                }
            }
        } else if let Some(v) = values.pop() {
            if std::mem::replace(&mut seen[v.index()], true) {
                continue;
            }
            let inst = b.ir.value(v);
            values.extend(inst.args.iter().copied().chain(inst.under));
            if let Op::Input(i) = inst.op
                && let InputKey::Call(k) = b.inputs[i as usize]
            {
                cols.push(Col::Call(k));
            }
        } else {
            return live;
        }
    }
}

impl Cutter {
    /// Decides the segment of every call, filter and value.
    fn place(&mut self, live: &[bool]) {
        // Whatever changes the rows counts as a filter here.
        let filters = self.program.step_uses().len();
        let mut earliest = vec![0usize; self.program.values.len()];
        let mut after_filter = 0;
        // A call is placed when the first thing that reads its result comes up, or at the end; all
        // it depends on precedes that.
        for step in self.program.steps.clone() {
            match step {
                Step::Filter(v) | Step::Visit { row: v, .. } => {
                    after_filter = after_filter.max(earliest[v.index()]);
                    self.filter_at.push(after_filter);
                }
                Step::Expand(v) => {
                    let entry = self.program.value(v).args.iter().map(|a| earliest[a.index()]).max();
                    after_filter = after_filter.max(entry.unwrap_or(0));
                    earliest[v.index()] = after_filter;
                    self.filter_at.push(after_filter);
                }
                Step::Let(v) => {
                    let inst = self.program.value(v).clone();
                    earliest[v.index()] = match inst.op {
                        Op::Input(i) => match self.keys[i as usize] {
                            InputKey::Source(_) => 0,
                            InputKey::Call(k) => self.place_call(k, &earliest) + 1,
                        },
                        Op::RowIndex | Op::Const(_) => 0,
                        _ => inst
                            .args
                            .iter()
                            .chain(inst.under.iter())
                            .map(|a| earliest[a.index()])
                            .fold(after_filter, usize::max),
                    };
                }
            }
        }
        debug_assert_eq!(self.filter_at.len(), filters);
        for k in (0..self.calls.len()).filter(|k| live[*k]) {
            self.place_call(k, &earliest);
        }
        self.last = after_filter;
        let needed: Vec<Col> = match &self.ending {
            Ending::Emit { cols, .. } => cols.clone(),
            Ending::Aggregate(_) | Ending::Group { .. } => {
                self.ending.operands().into_iter().map(any_type).collect()
            }
        };
        for col in &needed {
            self.last = self.last.max(self.ready(col, &earliest));
        }
        // As late as the uses allow.
        let mut latest = vec![usize::MAX; self.program.values.len()];
        let mut use_at = |v: ValueId, at: usize| latest[v.index()] = latest[v.index()].min(at);
        computed(&needed).for_each(|v| use_at(v, self.last));
        for (call, at) in self.calls.iter().zip(&self.call_at) {
            let Some(at) = at else { continue };
            computed(&call.args).chain(call.under).for_each(|v| use_at(v, *at));
        }
        let mut filter = self.filter_at.len();
        for step in self.program.steps.iter().rev() {
            match step {
                Step::Filter(v) | Step::Visit { row: v, .. } => {
                    filter -= 1;
                    latest[v.index()] = latest[v.index()].min(self.filter_at[filter]);
                }
                Step::Expand(v) => {
                    filter -= 1;
                    let at = self.filter_at[filter];
                    self.value_at[v.index()] = at;
                    for a in &self.program.value(*v).args {
                        latest[a.index()] = latest[a.index()].min(at);
                    }
                }
                Step::Let(v) => {
                    let inst = self.program.value(*v);
                    let pinned = matches!(inst.op, Op::RowIndex);
                    let at = if pinned { 0 } else { latest[v.index()].min(self.last) };
                    self.value_at[v.index()] = at;
                    for a in inst.args.iter().chain(inst.under.iter()) {
                        latest[a.index()] = latest[a.index()].min(at);
                    }
                }
            }
        }
    }

    fn place_call(&mut self, k: usize, earliest: &[usize]) -> usize {
        if let Some(at) = self.call_at[k] {
            return at;
        }
        let call = self.calls[k].clone();
        let mut at = call.under.map_or(0, |u| earliest[u.index()]);
        for arg in &call.args {
            at = at.max(match arg {
                Col::Source(_) => 0,
                Col::Call(j) => self.place_call(*j, earliest) + 1,
                Col::Value { id, .. } => earliest[id.index()],
            });
        }
        if let Some(f) = call.filters_before.checked_sub(1) {
            // All filters before it precede its first use in the program.
            at = at.max(self.filter_at.get(f).copied().unwrap_or(0));
        }
        self.call_at[k] = Some(at);
        at
    }

    /// The first segment in which the column exists.
    fn ready(&self, col: &Col, earliest: &[usize]) -> usize {
        match col {
            Col::Source(_) => 0,
            Col::Call(k) => self.call_at[*k].map_or(0, |at| at + 1),
            Col::Value { id, .. } => earliest[id.index()],
        }
    }

    fn segments(self) -> Result<Vec<Segment>, String> {
        let mut segments = vec![];
        // The columns of the batch that enters the segment.
        let mut entering: Vec<Carried> = (0..self.source.fields().len())
            .map(|i| Carried { col: Col::Source(i), field: self.source.fields()[i].clone() })
            .collect();
        for s in 0..=self.last {
            let (segment, leaving) = self.segment(s, &entering)?;
            segments.push(segment);
            entering = leaving;
        }
        Ok(segments)
    }

    fn segment(&self, s: usize, entering: &[Carried]) -> Result<(Segment, Vec<Carried>), String> {
        let mut ir = LoopBuilder::new();
        // Which entering column each input of the new loop reads.
        let mut inputs: Vec<usize> = vec![];
        let mut new_id: Vec<Option<ValueId>> = vec![None; self.program.values.len()];
        let mut filter = 0;
        let mut has_filter = false;
        let uses = self.uses_in(s);
        for step in &self.program.steps {
            match step {
                Step::Filter(v) => {
                    if self.filter_at[filter] == s {
                        let v = self.mapped(*v, &new_id)?;
                        ir.filter(v)?;
                        has_filter = true;
                    }
                    filter += 1;
                }
                Step::Visit { join, row } => {
                    if self.filter_at[filter] == s {
                        let row = self.mapped(*row, &new_id)?;
                        ir.visit(*join, row);
                    }
                    filter += 1;
                }
                Step::Expand(v) => {
                    let inst = self.program.value(*v);
                    if self.filter_at[filter] == s
                        && let Op::Expand { join, outer } = inst.op
                    {
                        let entry = self.mapped(inst.args[0], &new_id)?;
                        new_id[v.index()] = Some(ir.expand(join, entry, outer)?);
                        has_filter = true;
                    } else if uses.contains(v) {
                        let at = position(entering, &any_type(*v))?;
                        inputs.push(at);
                        let field = &entering[at].field;
                        let input = ir.input(field.name(), field.data_type(), field.is_nullable())?;
                        new_id[v.index()] = Some(input);
                    }
                    filter += 1;
                }
                Step::Let(v) => {
                    if !uses.contains(v) {
                        continue;
                    }
                    let inst = self.program.value(*v);
                    let column = match &inst.op {
                        Op::Const(lit) => {
                            new_id[v.index()] = Some(ir.lit(lit.clone()));
                            continue;
                        }
                        Op::Input(i) => match self.keys[*i as usize] {
                            InputKey::Source(i) => Some(Col::Source(i)),
                            InputKey::Call(k) => Some(Col::Call(k)),
                        },
                        _ if self.value_at[v.index()] < s => Some(any_type(*v)),
                        _ => None,
                    };
                    new_id[v.index()] = Some(match column {
                        Some(col) => {
                            let at = position(entering, &col)?;
                            inputs.push(at);
                            let field = &entering[at].field;
                            ir.input(field.name(), field.data_type(), field.is_nullable())?
                        }
                        None => self.copy(inst, &new_id, &mut ir)?,
                    });
                }
            }
        }
        if s == self.last {
            return self.last_segment(ir, inputs, entering, new_id, has_filter);
        }

        let (leaving, of_loop) = self.crossing(s, entering);
        let mut emits = vec![];
        for carried in &leaving[..of_loop] {
            emits.push(self.emit(carried, (has_filter, false), entering, &new_id, &mut ir, &mut inputs)?);
        }
        let calls = self.calls_at(s, &leaving[..of_loop])?;
        let (loop_, origin) = ir.finish(Sink::Emit(emits));
        let inputs = origin.iter().map(|i| inputs[*i]).collect();
        let output: Vec<FieldRef> = leaving.iter().map(|c| c.field.clone()).collect();
        let output = Arc::new(Schema::new(output));
        Ok((Segment { loop_: Arc::new(loop_), inputs, calls, output }, leaving))
    }

    /// The values that segment `s` has in hand: those it computes, and what these read.
    fn uses_in(&self, s: usize) -> BTreeSet<ValueId> {
        let mut uses = BTreeSet::new();
        let mut filter = self.filter_at.len();
        for step in self.program.steps.iter().rev() {
            match step {
                Step::Filter(v) | Step::Visit { row: v, .. } => {
                    filter -= 1;
                    if self.filter_at[filter] == s {
                        uses.insert(*v);
                    }
                }
                Step::Expand(v) => {
                    filter -= 1;
                    if self.filter_at[filter] == s {
                        uses.extend(self.program.value(*v).args.iter().copied());
                    }
                }
                Step::Let(v) => {
                    let inst = self.program.value(*v);
                    if self.value_at[v.index()] == s && !matches!(inst.op, Op::Input(_) | Op::Const(_)) {
                        uses.insert(*v);
                        uses.extend(inst.args.iter().copied().chain(inst.under));
                    }
                }
            }
        }
        if s == self.last {
            match &self.ending {
                Ending::Emit { cols, .. } => uses.extend(computed(cols)),
                Ending::Aggregate(_) | Ending::Group { .. } => uses.extend(self.ending.operands()),
            }
        }
        for (call, at) in self.calls.iter().zip(&self.call_at) {
            if *at == Some(s) {
                uses.extend(computed(&call.args).chain(call.under));
            }
        }
        uses
    }

    /// What leaves segment `s`: first the loop's columns (their count is returned), then the
    /// results of its calls.
    fn crossing(&self, s: usize, entering: &[Carried]) -> (Vec<Carried>, usize) {
        let mut leaving: Vec<Carried> = vec![];
        let mut add = |col: &Col| {
            if leaving.iter().any(|c| c.serves(col)) {
                return;
            }
            let field = match col {
                Col::Value { id, data_type } => {
                    let inst = self.program.value(*id);
                    let name = format!("v{}", id.0);
                    match entering.iter().find(|c| c.serves(col)) {
                        Some(c) => c.field.clone(),
                        None => Arc::new(Field::new(
                            name,
                            if data_type.is_null() { natural(inst.ty) } else { data_type.clone() },
                            true,
                        )),
                    }
                }
                Col::Source(i) => self.source.fields()[*i].clone(),
                Col::Call(k) => self.calls[*k].field.clone(),
            };
            leaving.push(Carried { col: col.clone(), field });
        };
        for (call, at) in self.calls.iter().zip(&self.call_at) {
            if *at == Some(s) {
                call.args.iter().for_each(&mut add);
                call.under.into_iter().for_each(|id| add(&any_type(id)));
            }
        }
        for t in s + 1..=self.last {
            for v in self.uses_in(t) {
                let inst = self.program.value(v);
                match inst.op {
                    Op::Const(_) => {}
                    Op::Input(i) => match self.keys[i as usize] {
                        InputKey::Source(i) => add(&Col::Source(i)),
                        InputKey::Call(k) if self.call_at[k] < Some(s) => add(&Col::Call(k)),
                        InputKey::Call(_) => {}
                    },
                    _ if self.value_at[v.index()] <= s => add(&any_type(v)),
                    _ => {}
                }
            }
            for (call, at) in self.calls.iter().zip(&self.call_at) {
                if *at == Some(t) {
                    for arg in &call.args {
                        match arg {
                            Col::Source(_) => add(arg),
                            Col::Call(k) if self.call_at[*k] < Some(s) => add(arg),
                            Col::Call(_) | Col::Value { .. } => {}
                        }
                    }
                }
            }
        }
        if let Ending::Emit { cols, .. } = &self.ending {
            for col in cols {
                match col {
                    Col::Source(_) => add(col),
                    Col::Call(k) if self.call_at[*k] < Some(s) => add(col),
                    Col::Call(_) | Col::Value { .. } => {}
                }
            }
        }
        let of_loop = leaving.len();
        for (k, at) in self.call_at.iter().enumerate() {
            if *at == Some(s) {
                leaving.push(Carried { col: Col::Call(k), field: self.calls[k].field.clone() });
            }
        }
        (leaving, of_loop)
    }

    /// The calls at the end of segment `s`, over the loop's columns and each other.
    fn calls_at(&self, s: usize, of_loop: &[Carried]) -> Result<Vec<Call>, String> {
        let mut calls = vec![];
        for (call, at) in self.calls.iter().zip(&self.call_at) {
            if *at != Some(s) {
                continue;
            }
            let columns =
                call.args.iter().map(|a| position(of_loop, a)).collect::<Result<Vec<usize>, String>>()?;
            let work = crate::expr::work_over(&call.work, &columns)?;
            let under = match call.under {
                Some(id) => Some(position(of_loop, &any_type(id))?),
                None => None,
            };
            calls.push(Call { name: call.name.clone(), work, under, field: call.field.clone() });
        }
        Ok(calls)
    }

    fn last_segment(
        &self,
        mut ir: LoopBuilder,
        mut inputs: Vec<usize>,
        entering: &[Carried],
        new_id: Vec<Option<ValueId>>,
        has_filter: bool,
    ) -> Result<(Segment, Vec<Carried>), String> {
        let (sink, output) = match &self.ending {
            Ending::Emit { cols, schema } => {
                let mut emits = vec![];
                for (col, field) in cols.iter().zip(schema.fields()) {
                    let carried = Carried { col: col.clone(), field: field.clone() };
                    emits.push(self.emit(
                        &carried,
                        (has_filter, true),
                        entering,
                        &new_id,
                        &mut ir,
                        &mut inputs,
                    )?);
                }
                (Sink::Emit(emits), schema.clone())
            }
            Ending::Aggregate(aggs) => {
                (Sink::Aggregate(self.mapped_aggs(aggs, &new_id)?), Arc::new(Schema::empty()))
            }
            Ending::Group { keys, aggs } => {
                let mut mapped = keys.clone();
                for key in &mut mapped {
                    key.value = self.mapped(key.value, &new_id)?;
                    // What was carried across a call is a column that may hold nulls.
                    key.nullable |= ir.nullable(key.value);
                }
                let aggs = self.mapped_aggs(aggs, &new_id)?;
                (Sink::Group { keys: mapped, aggs }, Arc::new(Schema::empty()))
            }
        };
        let (loop_, origin) = ir.finish(sink);
        let inputs = origin.iter().map(|i| inputs[*i]).collect();
        Ok((Segment { loop_: Arc::new(loop_), inputs, calls: vec![], output }, vec![]))
    }

    /// One column of a loop's sink.
    fn emit(
        &self,
        carried: &Carried,
        (has_filter, is_last): (bool, bool),
        entering: &[Carried],
        new_id: &[Option<ValueId>],
        ir: &mut LoopBuilder,
        inputs: &mut Vec<usize>,
    ) -> Result<Emit, String> {
        if let Col::Value { id, .. } = &carried.col
            && let Some(value) = new_id[id.index()]
        {
            let data_type = carried.field.data_type().clone();
            let nullable = ir.nullable(value) || !is_last;
            return Ok(Emit::Value { value, data_type, nullable });
        }
        let column = position(entering, &carried.col)?;
        let field = &entering[column].field;
        // Compacting a number in the loop is cheaper than taking rows from an array; text stays
        // where it is, so that views are moved and not bytes.
        if has_filter && compacts(field.data_type()) {
            let known = self.value_of(&carried.col).and_then(|v| new_id[v.index()]);
            let value = match known {
                Some(v) => v,
                None => {
                    inputs.push(column);
                    ir.input(field.name(), field.data_type(), field.is_nullable())?
                }
            };
            let data_type = field.data_type().clone();
            return Ok(Emit::Value { value, data_type, nullable: ir.nullable(value) });
        }
        Ok(Emit::Passenger { column })
    }

    /// The program's value that reads the column, if it has one.
    fn value_of(&self, col: &Col) -> Option<ValueId> {
        let key = match col {
            Col::Source(i) => InputKey::Source(*i),
            Col::Call(k) => InputKey::Call(*k),
            Col::Value { id, .. } => return Some(*id),
        };
        let input = self.keys.iter().position(|k| *k == key)?;
        (0..self.program.values.len() as u32)
            .map(ValueId)
            .find(|v| self.program.value(*v).op == Op::Input(input as u32))
    }

    fn mapped_aggs(&self, aggs: &[Agg], new_id: &[Option<ValueId>]) -> Result<Vec<Agg>, String> {
        let mut mapped = vec![];
        for agg in aggs {
            let arg = agg.arg.map(|v| self.mapped(v, new_id)).transpose()?;
            let filter = agg.filter.map(|v| self.mapped(v, new_id)).transpose()?;
            mapped.push(Agg { arg, filter, ..agg.clone() });
        }
        Ok(mapped)
    }

    fn mapped(&self, v: ValueId, new_id: &[Option<ValueId>]) -> Result<ValueId, String> {
        new_id[v.index()].ok_or_else(|| format!("value {} is not there in its segment", v.0))
    }

    fn copy(&self, inst: &Inst, new_id: &[Option<ValueId>], ir: &mut LoopBuilder) -> Result<ValueId, String> {
        let args =
            inst.args.iter().map(|a| self.mapped(*a, new_id)).collect::<Result<Vec<ValueId>, String>>()?;
        let under = inst.under.map(|u| self.mapped(u, new_id)).transpose()?;
        ir.inst(inst.op.clone(), &args, under)
    }
}
