//! A row at a time: the iterator model, as row stores have it.
//!
//! Every operator has a virtual `next()`, which asks the operator below for a row that passes. The row is a set
//! of slots, one per value of the IR, which all operators of the plan share and refer to by number, so nothing
//! is copied from operator to operator. An expression is a list of nodes, each behind a virtual call and made
//! for its types and operation beforehand: no node looks at types while rows flow. Columns are read where an
//! operator first needs them. What is left is what the model costs: calls that no compiler can see through.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::Float64Type;
use fuseline_codegen::ir::{AggFunc, CmpOp, Lit, Loop, Op, Sink, Step, Ty, ValueId};

use super::chain::Plan;
use super::{Answer, Engine};
use crate::Failure;

/// The slots of the current row.
struct Row {
    at: usize,
    rows: usize,
    slots: Vec<Slot>,
}

#[derive(Clone, Copy)]
struct Slot {
    /// A double by its bits, a bool as 0 or 1.
    bits: u64,
    valid: bool,
}

impl Row {
    fn set(&mut self, v: usize, bits: u64, valid: bool) {
        self.slots[v] = Slot { bits, valid };
    }
}

/// The table under the plan.
struct Columns<'a> {
    values: Vec<&'a [f64]>,
    nulls: Vec<Option<&'a NullBuffer>>,
}

/// An operator: whether there is another row, which is then in the slots.
trait Operator {
    fn next(&mut self, row: &mut Row, table: &Columns<'_>) -> bool;
}

/// A node of an expression: puts its value into its slot.
trait Node {
    fn evaluate(&self, row: &mut Row, table: &Columns<'_>);
}

struct Scan;

impl Operator for Scan {
    fn next(&mut self, row: &mut Row, _: &Columns<'_>) -> bool {
        row.at = row.at.wrapping_add(1);
        row.at < row.rows
    }
}

struct Project {
    below: Box<dyn Operator>,
    nodes: Vec<Box<dyn Node>>,
}

impl Operator for Project {
    fn next(&mut self, row: &mut Row, table: &Columns<'_>) -> bool {
        if !self.below.next(row, table) {
            return false;
        }
        for node in &self.nodes {
            node.evaluate(row, table);
        }
        true
    }
}

struct Filter {
    below: Box<dyn Operator>,
    nodes: Vec<Box<dyn Node>>,
    keep: usize,
}

impl Operator for Filter {
    fn next(&mut self, row: &mut Row, table: &Columns<'_>) -> bool {
        while self.below.next(row, table) {
            for node in &self.nodes {
                node.evaluate(row, table);
            }
            let keep = row.slots[self.keep];
            if keep.valid && keep.bits != 0 {
                return true;
            }
        }
        false
    }
}

struct Read {
    column: usize,
    to: usize,
    nullable: bool,
}

impl Node for Read {
    fn evaluate(&self, row: &mut Row, table: &Columns<'_>) {
        let valid = !self.nullable || table.nulls[self.column].is_none_or(|nulls| nulls.is_valid(row.at));
        row.set(self.to, table.values[self.column][row.at].to_bits(), valid);
    }
}

/// An operation on two doubles, compiled for each.
struct Binary<F> {
    operation: F,
    left: usize,
    right: usize,
    to: usize,
}

impl<F: Fn(f64, f64) -> u64> Node for Binary<F> {
    fn evaluate(&self, row: &mut Row, _: &Columns<'_>) {
        let (left, right) = (row.slots[self.left], row.slots[self.right]);
        let bits = (self.operation)(f64::from_bits(left.bits), f64::from_bits(right.bits));
        row.set(self.to, bits, left.valid & right.valid);
    }
}

fn binary(op: &Op, [left, right]: [usize; 2], to: usize) -> Option<Box<dyn Node>> {
    fn node<F: Fn(f64, f64) -> u64 + 'static>(
        operation: F,
        left: usize,
        right: usize,
        to: usize,
    ) -> Option<Box<dyn Node>> {
        Some(Box::new(Binary { operation, left, right, to }))
    }
    match op {
        Op::Add(_) => node(|a, b| (a + b).to_bits(), left, right, to),
        Op::Sub(_) => node(|a, b| (a - b).to_bits(), left, right, to),
        Op::Mul(_) => node(|a, b| (a * b).to_bits(), left, right, to),
        // The chains compare no NaN and no -0.0, of which SQL's order says more than IEEE's.
        Op::Cmp(CmpOp::Lt) => node(|a, b| u64::from(a < b), left, right, to),
        Op::Cmp(CmpOp::Ge) => node(|a, b| u64::from(a >= b), left, right, to),
        _other => None,
    }
}

/// A plan as a tree of iterators.
pub struct Iterators {
    root: Box<dyn Operator>,
    row: Row,
    sum_of: usize,
    inputs: usize,
}

impl Iterators {
    pub fn new(plan: &Plan) -> Result<Iterators, Failure> {
        let source = &plan.source;
        let slots = source.values.len();
        let mut row = Row { at: 0, rows: 0, slots: vec![Slot { bits: 0, valid: true }; slots] };
        let mut root: Box<dyn Operator> = Box::new(Scan);
        for operator in &plan.operators {
            let mut nodes: Vec<Box<dyn Node>> = Vec::new();
            let mut keep = None;
            for step in &source.steps[operator.clone()] {
                match step {
                    Step::Let(v) => nodes.extend(node(source, *v, &mut row)?),
                    Step::Filter(v) => keep = Some(v.index()),
                    Step::Expand(_) | Step::Visit { .. } => return Err("joins are not known here".into()),
                }
            }
            root = match keep {
                Some(keep) => Box::new(Filter { below: root, nodes, keep }),
                None => Box::new(Project { below: root, nodes }),
            };
        }
        Ok(Iterators { root, row, sum_of: summed(source)?.index(), inputs: source.inputs.len() })
    }
}

/// The node of a value; a constant is in its slot for good.
fn node(source: &Loop, v: ValueId, row: &mut Row) -> Result<Option<Box<dyn Node>>, Failure> {
    let inst = source.value(v);
    let to = v.index();
    let unknown = || format!("{:?} is not known here", inst.op);
    match (&inst.op, &inst.args[..]) {
        (Op::Const(Lit::F64(value)), _) => {
            row.set(to, value.to_bits(), true);
            Ok(None)
        }
        (Op::Input(column), _) if inst.ty == Ty::F64 => {
            Ok(Some(Box::new(Read { column: *column as usize, to, nullable: inst.nullable })))
        }
        (op, [a, b]) if source.value(*a).ty == Ty::F64 => {
            Ok(Some(binary(op, [a.index(), b.index()], to).ok_or_else(unknown)?))
        }
        (_, _) => Err(unknown().into()),
    }
}

/// What a chain sums: its sink is one sum of doubles and a count of rows.
pub fn summed(source: &Loop) -> Result<ValueId, Failure> {
    if let Sink::Aggregate(aggs) = &source.sink
        && let [sum, count] = &aggs[..]
        && sum.func == AggFunc::Sum
        && sum.ty == Ty::F64
        && let Some(of) = sum.arg
        && (count.func, count.arg) == (AggFunc::Count, None)
    {
        return Ok(of);
    }
    Err("the sink is not a sum of doubles and a count".into())
}

/// The values of columns of doubles.
pub fn doubles(columns: &[ArrayRef], inputs: usize) -> Result<Vec<&[f64]>, Failure> {
    if columns.len() != inputs {
        return Err(format!("{} columns, not {inputs}", columns.len()).into());
    }
    columns
        .iter()
        .map(|c| Ok(&c.as_primitive_opt::<Float64Type>().ok_or("a column is no doubles")?.values()[..]))
        .collect()
}

impl Engine for Iterators {
    fn run(&mut self, columns: &[ArrayRef]) -> Result<Answer, Failure> {
        let table = Columns {
            values: doubles(columns, self.inputs)?,
            nulls: columns.iter().map(|c| c.nulls()).collect(),
        };
        // The first step takes it to row 0.
        (self.row.at, self.row.rows) = (usize::MAX, columns[0].len());
        let mut answer = Answer { rows: 0, sum: 0.0 };
        while self.root.next(&mut self.row, &table) {
            answer.rows += 1;
            let summed = self.row.slots[self.sum_of];
            if summed.valid {
                answer.sum += f64::from_bits(summed.bits);
            }
        }
        Ok(answer)
    }
}
