//! One loop of machine code for all operators; and, for comparison, one per operator.
//!
//! [`Fused`] is what the runtime does with a stage. [`Cut`] has the same code generator make a loop of each
//! operator: the same instructions, the same vectors, but what one operator leaves to the next goes through
//! arrays in memory, a morsel at a time. The difference between the two is fusion and nothing else.

use std::collections::{BTreeSet, HashMap};

use arrow::array::ArrayRef;
use fuseline_codegen::cpu::{CompileOptions, CompiledLoop, Vectors, compile};
use fuseline_codegen::ir::{AggState, AggValue, Emit, Loop, LoopBuilder, Op, Sink, Step, ValueId};
use fuseline_codegen::run::{LoopOutput, Morsel, RunLoop};

use super::chain::Plan;
use super::{Answer, Engine};
use crate::Failure;

/// As `fuseline.morsel_rows`.
const MORSEL: usize = 65_536;

/// Calls `run` with the rows of each morsel and the columns cut to it.
fn for_morsels(
    columns: &[ArrayRef],
    mut run: impl FnMut(usize, Vec<ArrayRef>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let rows = columns[0].len();
    for start in (0..rows).step_by(MORSEL) {
        let len = MORSEL.min(rows - start);
        run(len, columns.iter().map(|c| c.slice(start, len)).collect())?;
    }
    Ok(())
}

/// Adds a morsel's states to the answer.
fn add(answer: &mut Answer, states: &[AggState]) -> Result<(), Failure> {
    match states {
        [AggState { value: AggValue::Float(sum), .. }, AggState { count, .. }] => {
            answer.sum += sum;
            answer.rows += count;
            Ok(())
        }
        other => Err(format!("{other:?} is no sum and count").into()),
    }
}

fn run(code: &CompiledLoop, rows: usize, inputs: &[ArrayRef]) -> Result<LoopOutput, Failure> {
    let out = code.run(&Morsel { inputs, rows, row_base: 0, joins: &[] })?;
    if out.bailed { Err("compiled code gave up".into()) } else { Ok(out) }
}

/// All operators in one loop.
pub struct Fused {
    code: CompiledLoop,
}

impl Fused {
    pub fn new(plan: &Plan, vectors: Vectors) -> Result<Fused, Failure> {
        Ok(Fused { code: compiled(&plan.source, vectors)? })
    }

    #[cfg(test)]
    pub fn stats(&self) -> fuseline_codegen::cpu::CompileStats {
        self.code.stats()
    }
}

fn compiled(source: &Loop, vectors: Vectors) -> Result<CompiledLoop, Failure> {
    let nullable: Vec<bool> = source.inputs.iter().map(|i| i.nullable).collect();
    let options = CompileOptions { vectors, ..CompileOptions::default() };
    Ok(compile(&source.prepared(&nullable), &options)?)
}

impl Engine for Fused {
    fn run(&mut self, columns: &[ArrayRef]) -> Result<Answer, Failure> {
        let mut answer = Answer { rows: 0, sum: 0.0 };
        for_morsels(columns, |rows, inputs| add(&mut answer, &run(&self.code, rows, &inputs)?.aggs))?;
        Ok(answer)
    }
}

/// A column between two operators: one of the table or a computed one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
enum Column {
    Input(usize),
    Value(ValueId),
}

/// The loop of one operator.
struct Part {
    code: CompiledLoop,
    reads: Vec<Column>,
    writes: Vec<Column>,
}

/// A loop per operator.
pub struct Cut {
    parts: Vec<Part>,
}

impl Cut {
    pub fn new(plan: &Plan) -> Result<Cut, Failure> {
        let parts = (0..plan.operators.len()).map(|at| part(plan, at)).collect::<Result<_, _>>()?;
        Ok(Cut { parts })
    }
}

/// The column that a value is read from, unless it is made by one of these steps or is a constant.
fn column_of(source: &Loop, v: ValueId, made: &BTreeSet<ValueId>) -> Option<Column> {
    match &source.value(v).op {
        Op::Const(_) => None,
        Op::Input(i) => Some(Column::Input(*i as usize)),
        _computed if made.contains(&v) => None,
        _computed => Some(Column::Value(v)),
    }
}

/// What these steps and the sink read of what was there before them.
fn reads(source: &Loop, steps: &[Step], with_sink: bool) -> BTreeSet<Column> {
    let mut made = BTreeSet::new();
    let mut found = BTreeSet::new();
    for step in steps {
        let uses: Vec<ValueId> = match step {
            Step::Let(v) => source.value(*v).args.iter().copied().chain([*v]).collect(),
            Step::Filter(v) | Step::Expand(v) | Step::Visit { row: v, .. } => vec![*v],
        };
        if let Step::Let(v) = step {
            made.insert(*v);
        }
        found.extend(uses.iter().filter_map(|v| column_of(source, *v, &made)));
    }
    if with_sink {
        found.extend(source.sink.uses().iter().filter_map(|v| column_of(source, *v, &made)));
    }
    found
}

/// The loop of operator `at`: it takes the columns that it reads or, behind a filter, that anyone reads later.
fn part(plan: &Plan, at: usize) -> Result<Part, Failure> {
    let source = &plan.source;
    let steps = &source.steps[plan.operators[at].clone()];
    let is_last = at + 1 == plan.operators.len();
    let later = reads(source, &source.steps[plan.operators[at].end..], true);
    let mut b = LoopBuilder::new();
    let mut asked: Vec<Column> = Vec::new();
    let mut known: HashMap<ValueId, ValueId> = HashMap::new();
    let mut columns: HashMap<Column, ValueId> = HashMap::new();
    let mut take = |b: &mut LoopBuilder, column: Column| -> Result<ValueId, Failure> {
        if let Some(v) = columns.get(&column) {
            return Ok(*v);
        }
        let (data_type, nullable) = match column {
            Column::Input(i) => (source.inputs[i].data_type.clone(), source.inputs[i].nullable),
            Column::Value(v) => (source.value(v).ty.natural(), source.value(v).nullable),
        };
        let v = b.input(&format!("{column:?}"), &data_type, nullable)?;
        asked.push(column);
        columns.insert(column, v);
        Ok(v)
    };
    let mut made = BTreeSet::new();
    let mut filters = false;
    for step in steps {
        match step {
            Step::Let(v) => {
                let inst = source.value(*v);
                let new = match &inst.op {
                    Op::Input(i) => take(&mut b, Column::Input(*i as usize))?,
                    Op::Const(lit) => b.lit(lit.clone()),
                    op => {
                        let mut args = Vec::new();
                        for arg in &inst.args {
                            args.push(match (known.get(arg), &source.value(*arg).op) {
                                (Some(new), _) => *new,
                                (None, Op::Const(lit)) => b.lit(lit.clone()),
                                (None, Op::Input(i)) => take(&mut b, Column::Input(*i as usize))?,
                                (None, _) => take(&mut b, Column::Value(*arg))?,
                            });
                        }
                        made.insert(*v);
                        b.inst(op.clone(), &args, None)?
                    }
                };
                known.insert(*v, new);
            }
            Step::Filter(v) => {
                b.filter(known[v])?;
                filters = true;
            }
            Step::Expand(_) | Step::Visit { .. } => return Err("joins are not known here".into()),
        }
    }
    let mut writes = Vec::new();
    let sink = if is_last {
        let mut missing = Vec::new();
        for v in source.sink.uses() {
            if !known.contains_key(&v) {
                missing.push((v, column_of(source, v, &made).ok_or("a constant is summed")?));
            }
        }
        for (v, column) in missing {
            known.insert(v, take(&mut b, column)?);
        }
        source.sink.clone().map_values(|v| known[&v])
    } else {
        let mut emits = Vec::new();
        for column in later {
            let value = match column {
                Column::Value(v) if made.contains(&v) => known[&v],
                // Without a filter the others stay as they are.
                Column::Value(_) | Column::Input(_) if !filters => continue,
                Column::Value(_) | Column::Input(_) => take(&mut b, column)?,
            };
            let (data_type, nullable) = (b.ty(value).natural(), b.nullable(value));
            emits.push(Emit::Value { value, data_type, nullable });
            writes.push(column);
        }
        Sink::Emit(emits)
    };
    let (source, origin) = b.finish(sink);
    let reads = origin.into_iter().map(|i| asked[i]).collect();
    Ok(Part { code: compiled(&source, Vectors::Auto)?, reads, writes })
}

impl Engine for Cut {
    fn run(&mut self, columns: &[ArrayRef]) -> Result<Answer, Failure> {
        let mut answer = Answer { rows: 0, sum: 0.0 };
        for_morsels(columns, |mut rows, inputs| {
            let mut there: HashMap<Column, ArrayRef> =
                inputs.into_iter().enumerate().map(|(i, c)| (Column::Input(i), c)).collect();
            for part in &self.parts {
                let inputs: Vec<ArrayRef> = part.reads.iter().map(|c| ArrayRef::clone(&there[c])).collect();
                let out = run(&part.code, rows, &inputs)?;
                if part.writes.is_empty() {
                    return add(&mut answer, &out.aggs);
                }
                rows = out.rows;
                for (column, array) in part.writes.iter().zip(out.columns) {
                    there.insert(*column, array.ok_or("an output is missing")?);
                }
                if rows == 0 {
                    return Ok(());
                }
            }
            Err("the last part has no sink".into())
        })?;
        Ok(answer)
    }
}
