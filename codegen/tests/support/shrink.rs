//! Makes a failing case small: fewer outputs, instructions and rows, as long as it still fails.

use super::data::{lits_of, shown};
use super::joined::RandomJoin;
use arrow::array::{Array, ArrayRef};
use fuseline_codegen::ir::{Lit, Loop, LoopBuilder, Op, Sink, Step, ValueId};

/// A loop with the batch it is run on.
#[derive(Clone, Debug)]
pub struct Case {
    pub source: Loop,
    pub inputs: Vec<ArrayRef>,
    pub rows: usize,
    pub row_base: i64,
    /// The build sides that it probes.
    pub joins: Vec<RandomJoin>,
}

impl Case {
    /// The case as a golden file would have it.
    pub fn text(&self) -> String {
        let mut text = format!("{}rows {}", self.source, self.rows);
        if self.row_base != 0 {
            text += &format!(" from {}", self.row_base);
        }
        for (i, column) in self.inputs.iter().enumerate() {
            let offset = column.to_data().offset();
            text += &format!("\ncolumn {i} = {}", shown(column));
            if offset > 0 {
                text += &format!("   # sliced at {offset}");
            }
        }
        for (i, join) in self.joins.iter().enumerate() {
            text += &format!("\njoin {i}, NULLs equal: {}", join.null_equal);
            for (what, columns) in [("key", &join.keys), ("column", &join.columns)] {
                for column in columns {
                    text += &format!("\n  {what} {}: {}", column.data_type(), shown(column));
                }
            }
        }
        text
    }
}

/// The smallest case found by these steps that still fails.
pub fn shrink(case: Case, fails: impl Fn(&Case) -> bool) -> Case {
    let mut best = case;
    // Every round tries all steps; a round without success ends it, as does a plain limit.
    for _ in 0..50 {
        let Some(smaller) = steps(&best).into_iter().find(|c| fails(c)) else { break };
        best = smaller;
    }
    best
}

fn steps(case: &Case) -> Vec<Case> {
    let mut out = fewer_rows(case);
    out.extend(fewer_build_rows(case));
    let source = &case.source;
    match &source.sink {
        Sink::Emit(columns) if columns.len() > 1 => {
            for column in columns {
                out.extend(rebuilt(case, Sink::Emit(vec![column.clone()]), None, |_| None));
            }
        }
        Sink::Aggregate(aggs) if aggs.len() > 1 => {
            for agg in aggs {
                out.extend(rebuilt(case, Sink::Aggregate(vec![agg.clone()]), None, |_| None));
            }
        }
        Sink::Group { keys, aggs } => {
            for agg in aggs.iter().filter(|_| aggs.len() > 1) {
                let sink = Sink::Group { keys: keys.clone(), aggs: vec![agg.clone()] };
                out.extend(rebuilt(case, sink, None, |_| None));
            }
            for key in keys.iter().filter(|_| keys.len() > 1) {
                let sink = Sink::Group { keys: vec![key.clone()], aggs: aggs.clone() };
                out.extend(rebuilt(case, sink, None, |_| None));
            }
        }
        Sink::Emit(_) | Sink::Aggregate(_) => {}
    }
    if let Sink::Aggregate(aggs) = &source.sink {
        for i in (0..aggs.len()).filter(|&i| aggs[i].filter.is_some()) {
            let mut fewer = aggs.clone();
            fewer[i].filter = None;
            out.extend(rebuilt(case, Sink::Aggregate(fewer), None, |_| None));
        }
    }
    for (at, step) in source.steps.iter().enumerate() {
        if matches!(step, Step::Filter(_) | Step::Visit { .. }) {
            out.extend(rebuilt(case, source.sink.clone(), Some(at), |_| None));
        }
    }
    // A value is replaced by one of its arguments, or by a constant that it has on some row.
    for (v, inst) in source.values.iter().enumerate().rev() {
        if matches!(inst.op, Op::Const(_)) {
            continue;
        }
        // What is computed under a condition may leave it only through a select.
        let kept =
            if inst.op == Op::Select && source.values.iter().any(|i| i.under.is_some()) { 2 } else { 0 };
        for arg in inst.args.iter().skip(kept) {
            if source.value(*arg).ty == inst.ty {
                let replace = |at: usize| (at == v).then_some(Replacement::Value(*arg));
                out.extend(rebuilt(case, source.sink.clone(), None, replace));
            }
        }
        let constant = match &inst.op {
            Op::Input(i) => lits_of(&case.inputs[*i as usize]).into_iter().next(),
            _ => Some(Lit::Null(inst.ty)),
        };
        if let Some(lit) = constant {
            let replace = |at: usize| (at == v).then(|| Replacement::Constant(lit.clone()));
            out.extend(rebuilt(case, source.sink.clone(), None, replace));
        }
    }
    out
}

enum Replacement {
    Value(ValueId),
    Constant(Lit),
}

/// The case with another sink, without the filter at a step, and with values replaced.
fn rebuilt(
    case: &Case,
    sink: Sink,
    without_step: Option<usize>,
    replace: impl Fn(usize) -> Option<Replacement>,
) -> Option<Case> {
    let source = &case.source;
    let mut b = LoopBuilder::new();
    let mut new_id = vec![ValueId(0); source.values.len()];
    let mut input_of = Vec::new();
    for (at, step) in source.steps.iter().enumerate() {
        match step {
            Step::Filter(_) if without_step == Some(at) => {}
            Step::Visit { .. } if without_step == Some(at) => {}
            Step::Visit { join, row } => b.visit(*join, new_id[row.index()]),
            Step::Expand(v) => {
                let Op::Expand { join, outer } = source.value(*v).op else { return None };
                if replace(v.index()).is_some() {
                    return None;
                }
                new_id[v.index()] = b.expand(join, new_id[source.value(*v).args[0].index()], outer).ok()?;
            }
            Step::Filter(v) => b.filter(new_id[v.index()]).ok()?,
            Step::Let(v) => {
                let inst = source.value(*v);
                new_id[v.index()] = match (replace(v.index()), &inst.op) {
                    (Some(Replacement::Value(other)), _) => new_id[other.index()],
                    (Some(Replacement::Constant(lit)), _) => b.lit(lit),
                    (None, Op::Input(i)) => {
                        let input = &source.inputs[*i as usize];
                        input_of.push(*i as usize);
                        b.input(&input.name, &input.data_type, input.nullable).ok()?
                    }
                    (None, Op::Const(lit)) => b.lit(lit.clone()),
                    (None, op) => {
                        let args: Vec<ValueId> = inst.args.iter().map(|a| new_id[a.index()]).collect();
                        b.inst(op.clone(), &args, inst.under.map(|u| new_id[u.index()])).ok()?
                    }
                };
            }
        }
    }
    let sink = sink.map_values(|v| new_id[v.index()]);
    let uses_null = |v: ValueId| b.nullable(v);
    if let Sink::Emit(columns) = &sink {
        for c in columns {
            if let fuseline_codegen::ir::Emit::Value { value, nullable: false, .. } = c
                && uses_null(*value)
            {
                return None;
            }
        }
    }
    let (smaller, origin) = b.finish(sink);
    if smaller == *source {
        return None;
    }
    let inputs = origin.iter().map(|i| case.inputs[input_of[*i]].clone()).collect();
    Some(Case { source: smaller, inputs, ..case.clone() })
}

fn fewer_build_rows(case: &Case) -> Vec<Case> {
    let mut out = vec![];
    for (number, join) in case.joins.iter().enumerate() {
        let n = join.keys.first().map_or(0, |k| k.len());
        for rows in [n / 8, n / 2, n.saturating_sub(1)] {
            for from in [0, n - rows] {
                if rows < n {
                    let part = |a: &ArrayRef| a.slice(from, rows);
                    let mut smaller = case.clone();
                    smaller.joins[number].keys = join.keys.iter().map(part).collect();
                    smaller.joins[number].columns = join.columns.iter().map(part).collect();
                    out.push(smaller);
                }
            }
        }
    }
    out
}

fn fewer_rows(case: &Case) -> Vec<Case> {
    let part = |from: usize, rows: usize| {
        let inputs = case.inputs.iter().map(|a| a.slice(from, rows)).collect();
        let row_base = case.row_base + from as i64;
        Case { source: case.source.clone(), inputs, rows, row_base, joins: case.joins.clone() }
    };
    let n = case.rows;
    let mut out = vec![];
    for rows in [n / 8, n / 2, n - n / 8, n.saturating_sub(1)] {
        if rows < n {
            out.push(part(0, rows));
            out.push(part(n - rows, rows));
        }
    }
    out
}
