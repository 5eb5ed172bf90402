//! Builds loops: infers types, shares equal instructions, drops what nothing uses.
//!
//! Sharing is sound across filters because a value stays usable after one (it is compacted), and
//! across different `under` conditions because that operand is part of the key.

use super::op::Op;
use super::pipeline::{Input, Inst, Loop, Sink, Step, ValueId};
use super::types::{Lit, Ty};
use arrow::datatypes::DataType;
use std::collections::HashMap;

/// A loop under construction.
#[derive(Default, Debug)]
pub struct LoopBuilder {
    inputs: Vec<Input>,
    values: Vec<Inst>,
    steps: Vec<Step>,
    known: HashMap<(Op, Vec<ValueId>, Option<ValueId>), ValueId>,
}

impl LoopBuilder {
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a column to read; errs for types the loop cannot hold.
    pub fn input(&mut self, name: &str, data_type: &DataType, nullable: bool) -> Result<ValueId, String> {
        let ty = Input::physical(data_type)
            .ok_or_else(|| format!("column {name}: type {data_type} has no representation in a loop"))?;
        let index = self.inputs.len() as u32;
        self.inputs.push(Input { name: name.to_owned(), data_type: data_type.clone(), ty, nullable });
        let inst = Inst { op: Op::Input(index), args: vec![], under: None, ty, nullable };
        Ok(self.push(inst))
    }

    pub fn lit(&mut self, lit: Lit) -> ValueId {
        let (ty, nullable) = (lit.ty(), lit.is_null());
        self.intern(Inst { op: Op::Const(lit), args: vec![], under: None, ty, nullable })
    }

    /// Adds an instruction. `under` is dropped when the op cannot fail.
    pub fn inst(&mut self, op: Op, args: &[ValueId], under: Option<ValueId>) -> Result<ValueId, String> {
        let sig: Vec<(Ty, bool)> = args.iter().map(|a| (self.ty(*a), self.nullable(*a))).collect();
        let (ty, nullable) = op.infer(&sig)?;
        let tys: Vec<Ty> = sig.iter().map(|s| s.0).collect();
        let under = under.filter(|_| op.can_fail(&tys));
        if let Some(u) = under
            && self.ty(u) != Ty::Bool
        {
            return Err(format!("`under` of {op:?} is {}, not bool", self.ty(u)));
        }
        Ok(self.intern(Inst { op, args: args.to_vec(), under, ty, nullable }))
    }

    /// Keeps only the rows on which `predicate` is true and valid.
    pub fn filter(&mut self, predicate: ValueId) -> Result<(), String> {
        if self.ty(predicate) != Ty::Bool {
            return Err(format!("a filter needs a bool, not {}", self.ty(predicate)));
        }
        self.steps.push(Step::Filter(predicate));
        Ok(())
    }

    /// Goes on with a row for every build row of an entry; gives that row's number.
    pub fn expand(&mut self, join: u32, entry: ValueId, outer: bool) -> Result<ValueId, String> {
        let op = Op::Expand { join, outer };
        let (ty, nullable) = op.infer(&[(self.ty(entry), self.nullable(entry))])?;
        let v = ValueId(self.values.len() as u32);
        self.values.push(Inst { op, args: vec![entry], under: None, ty, nullable });
        self.steps.push(Step::Expand(v));
        Ok(v)
    }

    /// Notes that these build rows matched.
    pub fn visit(&mut self, join: u32, row: ValueId) {
        self.steps.push(Step::Visit { join, row });
    }

    pub fn ty(&self, v: ValueId) -> Ty {
        self.values[v.index()].ty
    }

    pub fn nullable(&self, v: ValueId) -> bool {
        self.values[v.index()].nullable
    }

    pub fn value(&self, v: ValueId) -> &Inst {
        &self.values[v.index()]
    }

    /// Instructions so far; a measure of size.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Finishes the loop. Values that reach neither a filter nor the sink are removed (with the
    /// errors they could have raised: a row's unused value raises nothing), and so are unread
    /// inputs; the result says which of the builder's inputs each remaining one was.
    pub fn finish(self, sink: Sink) -> (Loop, Vec<usize>) {
        let mut live = vec![false; self.values.len()];
        let mut todo: Vec<ValueId> = sink.uses();
        todo.extend(self.steps.iter().filter_map(|s| match s {
            Step::Filter(v) | Step::Expand(v) | Step::Visit { row: v, .. } => Some(*v),
            Step::Let(_) => None,
        }));
        while let Some(v) = todo.pop() {
            if !std::mem::replace(&mut live[v.index()], true) {
                let inst = &self.values[v.index()];
                todo.extend(inst.args.iter().copied().chain(inst.under));
            }
        }
        let mut inputs = Vec::new();
        let mut origin = Vec::new();
        let mut new_id = vec![ValueId(u32::MAX); self.values.len()];
        let mut values = Vec::new();
        let mut steps = Vec::new();
        for step in &self.steps {
            match step {
                Step::Filter(v) => steps.push(Step::Filter(new_id[v.index()])),
                Step::Visit { join, row } => {
                    steps.push(Step::Visit { join: *join, row: new_id[row.index()] });
                }
                Step::Let(v) | Step::Expand(v) if live[v.index()] => {
                    let mut inst = self.values[v.index()].clone();
                    if let Op::Input(i) = &mut inst.op {
                        origin.push(*i as usize);
                        inputs.push(self.inputs[*i as usize].clone());
                        *i = inputs.len() as u32 - 1;
                    }
                    for a in inst.args.iter_mut().chain(inst.under.as_mut()) {
                        *a = new_id[a.index()];
                    }
                    let id = ValueId(values.len() as u32);
                    new_id[v.index()] = id;
                    values.push(inst);
                    let expands = matches!(step, Step::Expand(_));
                    steps.push(if expands { Step::Expand(id) } else { Step::Let(id) });
                }
                Step::Let(_) | Step::Expand(_) => {}
            }
        }
        let sink = sink.map_values(|v| new_id[v.index()]);
        (Loop { inputs, values, steps, sink }, origin)
    }

    fn intern(&mut self, inst: Inst) -> ValueId {
        let key = (inst.op.clone(), inst.args.clone(), inst.under);
        if let Some(v) = self.known.get(&key) {
            return *v;
        }
        let v = self.push(inst);
        self.known.insert(key, v);
        v
    }

    fn push(&mut self, inst: Inst) -> ValueId {
        let v = ValueId(self.values.len() as u32);
        self.values.push(inst);
        self.steps.push(Step::Let(v));
        v
    }
}
