//! The pipelines of the suite `fusion`: chains of 1 to 12 operators, as IR.
//!
//! Operators 1, 3, 5 ... are filters `f1 < bound`, `f2 < bound` ...; operators 2, 4, 6 ... compute
//! `x = x * b + a`, beginning with `x = a`. At the end of the chain `sum(x)` and `count(*)`. Each filter reads
//! a column of its own, so that each lets the same share of rows pass. Columns are doubles, uniform in 0..1;
//! where there are nulls, one in ten of `a` is null.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::datatypes::DataType;
use fuseline_codegen::ir::{
    Agg, AggFunc, CmpOp, Lit, Loop, LoopBuilder, Op, Overflow, Sink, Step, Ty, ValueId, verify,
};

use crate::Failure;
use crate::data::{Kind, Random};

/// A chain of operators.
#[derive(Clone, Copy, Debug)]
pub struct Chain {
    pub operators: usize,
    /// Every filter lets values below this pass: a share of the rows.
    pub bound: f64,
    pub nulls: bool,
}

impl Chain {
    fn filters(&self) -> usize {
        self.operators.div_ceil(2)
    }

    /// The columns in the order of the plan's inputs: `f1`, `f2` ..., then `a`, then `b` if it is read.
    pub fn columns(&self, rows: usize) -> Vec<ArrayRef> {
        let mut columns: Vec<ArrayRef> =
            (0..self.filters()).map(|f| Kind::Unit.column(rows, 10 + f as u64)).collect();
        columns.push(if self.nulls {
            // The same values as without nulls.
            let values: Vec<f64> = {
                let mut random = Random::new(1);
                (0..rows).map(|_| random.unit()).collect()
            };
            let mut random = Random::new(2);
            let valid = BooleanBuffer::collect_bool(rows, |_| random.below(10) != 0);
            Arc::new(Float64Array::new(values.into(), Some(NullBuffer::new(valid))))
        } else {
            let mut random = Random::new(1);
            Arc::new(Float64Array::from_iter_values((0..rows).map(|_| random.unit())))
        });
        if self.operators >= 2 {
            columns.push(Kind::Unit.column(rows, 3));
        }
        columns
    }
}

/// A loop, and which of its steps make up which operator.
pub struct Plan {
    pub source: Loop,
    pub operators: Vec<Range<usize>>,
}

impl Plan {
    pub fn new(chain: &Chain) -> Result<Plan, Failure> {
        let mut b = LoopBuilder::new();
        let double = DataType::Float64;
        // All inputs first, so that they are numbered as `columns` has them.
        let filters: Vec<ValueId> = (0..chain.filters())
            .map(|f| b.input(&format!("f{}", f + 1), &double, false))
            .collect::<Result<_, _>>()?;
        let a = b.input("a", &double, chain.nulls)?;
        let mut factor = None;
        if chain.operators >= 2 {
            factor = Some(b.input("b", &double, false)?);
        }
        let mut x = a;
        let mut last_values = Vec::new();
        for operator in 0..chain.operators {
            match factor {
                Some(factor) if operator % 2 == 1 => {
                    let product = b.inst(Op::Mul(Overflow::Wrap), &[x, factor], None)?;
                    x = b.inst(Op::Add(Overflow::Wrap), &[product, a], None)?;
                    last_values.push(x);
                }
                Some(_) | None => {
                    let bound = b.lit(Lit::F64(chain.bound));
                    let keep = b.inst(Op::Cmp(CmpOp::Lt), &[filters[operator / 2], bound], None)?;
                    b.filter(keep)?;
                }
            }
        }
        let sum = Agg { func: AggFunc::Sum, arg: Some(x), filter: None, ty: Ty::F64 };
        let count = Agg { func: AggFunc::Count, arg: None, filter: None, ty: Ty::I64 };
        let (source, inputs) = b.finish(Sink::Aggregate(vec![sum, count]));
        if !inputs.iter().copied().eq(0..inputs.len()) {
            return Err("a column of the chain is not read".into());
        }
        let source = inputs_where_used(source);
        verify(&source).map_err(|e| format!("the chain is no loop: {e}"))?;
        let mut operators = Vec::new();
        let mut start = 0;
        for (at, step) in source.steps.iter().enumerate() {
            let ends = match step {
                Step::Filter(_) => true,
                Step::Let(v) => last_values.contains(v),
                Step::Expand(_) | Step::Visit { .. } => false,
            };
            if ends {
                operators.push(start..at + 1);
                start = at + 1;
            }
        }
        // A chain that ends in a filter reads what it sums behind it.
        if start < source.steps.len() {
            operators.push(start..source.steps.len());
        }
        Ok(Plan { source, operators })
    }
}

/// Reads every column right before its first use, as a planner does: rows that a filter dropped are not read.
fn inputs_where_used(mut source: Loop) -> Loop {
    let is_input = |source: &Loop, v: ValueId| matches!(source.value(v).op, Op::Input(_));
    let mut steps: Vec<Step> = Vec::new();
    let mut read = vec![false; source.values.len()];
    let mut need = |v: ValueId, steps: &mut Vec<Step>| {
        if is_input(&source, v) && !std::mem::replace(&mut read[v.index()], true) {
            steps.push(Step::Let(v));
        }
    };
    for step in &source.steps {
        if let Step::Let(v) = *step {
            if is_input(&source, v) {
                continue;
            }
            for arg in &source.value(v).args {
                need(*arg, &mut steps);
            }
        }
        steps.push(*step);
    }
    for v in source.sink.uses() {
        need(v, &mut steps);
    }
    source.steps = steps;
    source
}
