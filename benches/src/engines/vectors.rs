//! An operator at a time: every operation of the IR is a loop over a vector of values.
//!
//! A vector has about a thousand rows, so that what flows between operators stays in the first-level cache, or
//! as many as the table, so that it goes through memory, as the first engines of this kind did. Loops are plain
//! Rust over slices, compiled for the instruction sets that this machine may have, so the compiler vectorizes
//! them; buffers are made once. A filter makes a list of the rows that pass; what later operators read is packed
//! by it, and columns that were not read yet are read through it, so all loops are dense. A filter that drops
//! nothing packs nothing. Validity is a byte a row, and only where there can be nulls.

use arrow::array::{Array, ArrayRef};
use arrow::buffer::NullBuffer;
use fuseline_codegen::ir::{CmpOp, Lit, Op, Step, Ty, ValueId};

use super::chain::Plan;
use super::iterator::{doubles, summed};
use super::{Answer, Engine};
use crate::Failure;

/// Rows of a vector.
pub const VECTOR: usize = 1024;

/// Defines loops that are compiled for several instruction sets; the best of this machine runs.
macro_rules! loops {
    ($($(#[$doc:meta])* fn $name:ident($($arg:ident: $ty:ty),*) $(-> $out:ty)? $body:block)*) => { $(
        $(#[$doc])*
        fn $name($($arg: $ty),*) $(-> $out)? {
            #[inline(always)]
            fn body($($arg: $ty),*) $(-> $out)? $body
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt,avx512f,avx512bw,avx512cd,avx512dq,avx512vl")]
                fn widest($($arg: $ty),*) $(-> $out)? { body($($arg),*) }
                #[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
                fn wide($($arg: $ty),*) $(-> $out)? { body($($arg),*) }
                if is_x86_feature_detected!("avx512bw") && is_x86_feature_detected!("avx512vl")
                    && is_x86_feature_detected!("avx512dq") && is_x86_feature_detected!("avx512cd")
                {
                    // SAFETY: the machine has these features; all with AVX-512 have the others.
                    return unsafe { widest($($arg),*) };
                }
                if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("bmi2") {
                    // SAFETY: the machine has AVX2, and all with it and BMI2 have the others.
                    return unsafe { wide($($arg),*) };
                }
            }
            body($($arg),*)
        }
    )* };
}

/// One side of an operation.
#[derive(Clone, Copy)]
enum Side<'a> {
    Each(&'a [f64]),
    One(f64),
}

/// Applies an operation to rows, with a loop for each form of its sides.
#[inline(always)]
fn each<T>(left: Side<'_>, right: Side<'_>, out: &mut [T], f: impl Fn(f64, f64) -> T) {
    match (left, right) {
        (Side::Each(a), Side::Each(b)) => {
            for ((o, a), b) in out.iter_mut().zip(a).zip(b) {
                *o = f(*a, *b);
            }
        }
        (Side::Each(a), Side::One(b)) => {
            for (o, a) in out.iter_mut().zip(a) {
                *o = f(*a, b);
            }
        }
        (Side::One(a), Side::Each(b)) => {
            for (o, b) in out.iter_mut().zip(b) {
                *o = f(a, *b);
            }
        }
        (Side::One(a), Side::One(b)) => out.fill_with(|| f(a, b)),
    }
}

loops! {
    fn add(left: Side<'_>, right: Side<'_>, out: &mut [f64]) { each(left, right, out, |a, b| a + b) }
    fn sub(left: Side<'_>, right: Side<'_>, out: &mut [f64]) { each(left, right, out, |a, b| a - b) }
    fn mul(left: Side<'_>, right: Side<'_>, out: &mut [f64]) { each(left, right, out, |a, b| a * b) }
    // The chains compare no NaN and no -0.0, of which SQL's order says more than IEEE's.
    fn less(left: Side<'_>, right: Side<'_>, out: &mut [u8]) { each(left, right, out, |a, b| u8::from(a < b)) }
    fn at_least(left: Side<'_>, right: Side<'_>, out: &mut [u8]) {
        each(left, right, out, |a, b| u8::from(a >= b))
    }

    fn both(left: &[u8], right: &[u8], out: &mut [u8]) {
        for ((o, a), b) in out.iter_mut().zip(left).zip(right) {
            *o = a & b;
        }
    }

    /// The rows whose byte is 1; without a branch, so `out` has room for all of them.
    fn passing(keep: &[u8], out: &mut [u32]) -> usize {
        let mut found = 0;
        for (row, keep) in keep.iter().enumerate() {
            out[found] = row as u32;
            found += usize::from(*keep);
        }
        found
    }

    fn gather(from: &[f64], rows: &[u32], out: &mut [f64]) {
        for (o, row) in out.iter_mut().zip(rows) {
            *o = from[*row as usize];
        }
    }

    /// `values[i] = values[rows[i]]`; `rows` ascend, so nothing is overwritten that is read later.
    fn pack(values: &mut [f64], rows: &[u32]) {
        for (i, row) in rows.iter().enumerate() {
            values[i] = values[*row as usize];
        }
    }

    fn pack_bytes(values: &mut [u8], rows: &[u32]) {
        for (i, row) in rows.iter().enumerate() {
            values[i] = values[*row as usize];
        }
    }

    fn pack_rows(values: &mut [u32], rows: &[u32]) {
        for (i, row) in rows.iter().enumerate() {
            values[i] = values[*row as usize];
        }
    }

    fn total(values: &[f64]) -> f64 {
        let mut sums = [0.0; 16];
        let (groups, rest) = values.as_chunks::<16>();
        for group in groups {
            for (sum, value) in sums.iter_mut().zip(group) {
                *sum += value;
            }
        }
        sums.iter().sum::<f64>() + rest.iter().sum::<f64>()
    }

    fn total_valid(values: &[f64], valid: &[u8]) -> f64 {
        let mut sums = [0.0; 16];
        let (groups, rest) = values.as_chunks::<16>();
        let (flags, _) = valid.as_chunks::<16>();
        for (group, flags) in groups.iter().zip(flags) {
            for ((sum, value), flag) in sums.iter_mut().zip(group).zip(flags) {
                *sum += if *flag != 0 { *value } else { 0.0 };
            }
        }
        let at = groups.len() * 16;
        let left = rest.iter().zip(&valid[at..]).map(|(v, flag)| if *flag != 0 { *v } else { 0.0 });
        sums.iter().sum::<f64>() + left.sum::<f64>()
    }

    /// Bits `from ..` of a bitmap as bytes.
    fn bytes_of(bits: &[u8], from: usize, out: &mut [u8]) {
        for (i, o) in out.iter_mut().enumerate() {
            let at = from + i;
            *o = bits[at / 8] >> (at % 8) & 1;
        }
    }
}

/// What is known of a value, over the rows that live.
#[derive(Default)]
struct Slot {
    doubles: Vec<f64>,
    /// Of a bool 0 or 1.
    bools: Vec<u8>,
    /// Empty where there can be no nulls.
    valid: Vec<u8>,
    /// Whether it is of this vector; buffers keep what they held, so that nothing is cleared for nothing.
    is_there: bool,
    constant: Option<f64>,
    /// The column whose rows it is as they lie, from this row on.
    column: Option<(usize, usize)>,
}

/// A plan to be run a vector at a time.
pub struct Vectorized {
    steps: Vec<Step>,
    ops: Vec<(Op, Vec<ValueId>, bool)>,
    /// By value the last step that reads it; the sink counts as one more.
    last_use: Vec<usize>,
    slots: Vec<Slot>,
    sum_of: usize,
    inputs: usize,
    vector: usize,
    /// The rows of the vector that live, and those of them that a filter lets pass.
    live: Vec<u32>,
    pass: Vec<u32>,
    keep: Vec<u8>,
}

impl Vectorized {
    pub fn new(plan: &Plan, vector: usize) -> Result<Vectorized, Failure> {
        let source = &plan.source;
        let mut slots: Vec<Slot> = source.values.iter().map(|_| Slot::default()).collect();
        let mut last_use = vec![0; source.values.len()];
        for (at, step) in source.steps.iter().enumerate() {
            match step {
                Step::Let(v) => {
                    let inst = source.value(*v);
                    let doubles = inst.args.iter().all(|a| source.value(*a).ty == Ty::F64);
                    match &inst.op {
                        Op::Const(Lit::F64(value)) => slots[v.index()].constant = Some(*value),
                        Op::Input(_) if inst.ty == Ty::F64 => {}
                        Op::Add(_) | Op::Sub(_) | Op::Mul(_) | Op::Cmp(CmpOp::Lt | CmpOp::Ge) if doubles => {}
                        other => return Err(format!("{other:?} is not known here").into()),
                    }
                    inst.args.iter().for_each(|a| last_use[a.index()] = at);
                }
                Step::Filter(v) => last_use[v.index()] = at,
                Step::Expand(_) | Step::Visit { .. } => return Err("joins are not known here".into()),
            }
        }
        let sum_of = summed(source)?.index();
        last_use[sum_of] = source.steps.len();
        Ok(Vectorized {
            steps: source.steps.clone(),
            ops: source.values.iter().map(|i| (i.op.clone(), i.args.clone(), i.nullable)).collect(),
            last_use,
            slots,
            sum_of,
            inputs: source.inputs.len(),
            vector,
            live: vec![],
            pass: vec![],
            keep: vec![],
        })
    }

    /// Reads a column, or only notes where it lies if all rows live.
    fn read(&mut self, v: usize, column: usize, table: &Table<'_>, at: At) {
        let slot = &mut self.slots[v];
        slot.is_there = true;
        if let Some(nulls) = table.nulls[column] {
            slot.valid.resize(at.rows, 0);
            bytes_of(nulls.validity(), nulls.offset() + at.start, &mut slot.valid);
            if at.live < at.rows {
                pack_bytes(&mut slot.valid, &self.live[..at.live]);
                slot.valid.truncate(at.live);
            }
        } else {
            slot.valid.clear();
        }
        slot.column = None;
        if at.live == at.rows {
            slot.column = Some((column, at.start));
        } else {
            slot.doubles.resize(at.live, 0.0);
            gather(&table.values[column][at.start..], &self.live[..at.live], &mut slot.doubles);
        }
    }

    fn compute(&mut self, v: usize, table: &Table<'_>, at: At) -> Result<(), Failure> {
        let (op, args, nullable) = &self.ops[v];
        let [left, right] = args[..] else { return Err(format!("{op:?} is not known here").into()) };
        let mut out = std::mem::take(&mut self.slots[v]);
        let side = |v: ValueId| {
            let slot = &self.slots[v.index()];
            match (slot.constant, slot.column) {
                (Some(value), _) => Side::One(value),
                (None, Some((column, start))) => Side::Each(&table.values[column][start..start + at.live]),
                (None, None) => Side::Each(&slot.doubles),
            }
        };
        let (a, b) = (side(left), side(right));
        if let Op::Cmp(cmp) = op {
            out.bools.resize(at.live, 0);
            match cmp {
                CmpOp::Lt => less(a, b, &mut out.bools),
                CmpOp::Ge => at_least(a, b, &mut out.bools),
                CmpOp::Eq | CmpOp::Ne | CmpOp::Le | CmpOp::Gt => return Err("not known here".into()),
            }
        } else {
            out.doubles.resize(at.live, 0.0);
            match op {
                Op::Add(_) => add(a, b, &mut out.doubles),
                Op::Sub(_) => sub(a, b, &mut out.doubles),
                Op::Mul(_) => mul(a, b, &mut out.doubles),
                other => return Err(format!("{other:?} is not known here").into()),
            }
        }
        out.is_there = true;
        if !*nullable {
            out.valid.clear();
        } else {
            match (&self.slots[left.index()].valid[..], &self.slots[right.index()].valid[..]) {
                ([], []) => out.valid.clear(),
                ([], valid) | (valid, []) => {
                    out.valid.clear();
                    out.valid.extend_from_slice(valid);
                }
                (left, right) => {
                    out.valid.resize(at.live, 0);
                    both(left, right, &mut out.valid);
                }
            }
        }
        self.slots[v] = out;
        Ok(())
    }

    /// Drops the rows on which a bool does not hold, behind step `step`; gives the number that is left.
    fn filter(&mut self, v: usize, step: usize, table: &Table<'_>, at: At) -> usize {
        let slot = &self.slots[v];
        let keep: &[u8] = if slot.valid.is_empty() {
            &slot.bools
        } else {
            self.keep.resize(at.live, 0);
            both(&slot.bools, &slot.valid, &mut self.keep);
            &self.keep[..at.live]
        };
        self.pass.resize(self.pass.len().max(at.live), 0);
        let left = passing(keep, &mut self.pass);
        if left == at.live {
            return left;
        }
        let pass = &self.pass[..left];
        if at.live == at.rows {
            self.live.clear();
            self.live.extend_from_slice(pass);
        } else {
            pack_rows(&mut self.live, pass);
            self.live.truncate(left);
        }
        for (slot, last) in self.slots.iter_mut().zip(&self.last_use) {
            if *last <= step || slot.constant.is_some() || !slot.is_there {
                continue;
            }
            if let Some((column, start)) = slot.column.take() {
                slot.doubles.resize(left, 0.0);
                gather(&table.values[column][start..], pass, &mut slot.doubles);
            } else if slot.doubles.len() == at.live {
                pack(&mut slot.doubles, pass);
                slot.doubles.truncate(left);
            }
            if slot.valid.len() == at.live {
                pack_bytes(&mut slot.valid, pass);
                slot.valid.truncate(left);
            }
        }
        left
    }
}

/// The table under the plan.
struct Table<'a> {
    values: Vec<&'a [f64]>,
    nulls: Vec<Option<&'a NullBuffer>>,
}

/// Where in the table a vector is.
#[derive(Clone, Copy)]
struct At {
    start: usize,
    rows: usize,
    live: usize,
}

impl Engine for Vectorized {
    fn run(&mut self, columns: &[ArrayRef]) -> Result<Answer, Failure> {
        let table = Table {
            values: doubles(columns, self.inputs)?,
            nulls: columns.iter().map(|c| c.nulls()).collect(),
        };
        let total_rows = columns[0].len();
        let mut answer = Answer { rows: 0, sum: 0.0 };
        let mut start = 0;
        while start < total_rows {
            let rows = self.vector.min(total_rows - start);
            let mut at = At { start, rows, live: rows };
            start += rows;
            // What the vector before has left must not be packed with this one.
            for slot in &mut self.slots {
                slot.is_there = false;
                slot.column = None;
            }
            for step in 0..self.steps.len() {
                match self.steps[step] {
                    Step::Let(v) if self.slots[v.index()].constant.is_some() => {}
                    Step::Let(v) => match &self.ops[v.index()].0 {
                        Op::Input(column) => {
                            let column = *column as usize;
                            self.read(v.index(), column, &table, at);
                        }
                        _computed => self.compute(v.index(), &table, at)?,
                    },
                    Step::Filter(v) => at.live = self.filter(v.index(), step, &table, at),
                    Step::Expand(_) | Step::Visit { .. } => {}
                }
                if at.live == 0 {
                    break;
                }
            }
            if at.live == 0 {
                continue;
            }
            answer.rows += at.live as u64;
            let slot = &self.slots[self.sum_of];
            let values = match slot.column {
                Some((column, from)) => &table.values[column][from..from + at.live],
                None => &slot.doubles[..at.live],
            };
            answer.sum +=
                if slot.valid.is_empty() { total(values) } else { total_valid(values, &slot.valid) };
        }
        Ok(answer)
    }
}
