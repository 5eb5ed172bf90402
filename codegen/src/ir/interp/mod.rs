//! The reference interpreter: what a loop means, said as plainly as possible.
//!
//! It is the oracle that compiled code is tested against, the source of precise errors when
//! compiled code has detected that some row failed, and the fallback for loops that the code
//! generator cannot lower. It goes chunk by chunk ([`CHUNK`] rows, as compiled code does, because
//! float sums depend on it) and column by column inside a chunk.
//!
//! Errors: the one of the lowest row of the morsel is reported, and of that row the one of the
//! earliest instruction. So an instruction that fails notes its first failing row and goes on with
//! nulls there; rows behind it no longer matter, rows before it are unaffected. After a chunk the
//! lowest note wins.

mod arith;
mod arrays;
mod calendar;
mod column;
mod compare;
mod convert;
mod join;
mod math;
mod rows;
mod sink;
mod strings;

use super::CHUNK;
use super::op::Op;
use super::pipeline::{Inst, Loop, Step, ValueId};
use super::types::Lit;
use crate::groups::Groups;
use crate::run::{EvalError, LoopOutput, Morsel, RunLoop, into_columns};
use arrow::datatypes::IntervalMonthDayNano;
use column::{Column, Data};
use rows::{Fault, Rows};

/// Runs a verified loop over a morsel.
///
/// # Errors
/// The first failing row's error, or [`EvalError::Binding`] if the morsel's arrays are not the ones
/// that the loop describes.
pub fn run(source: &Loop, morsel: &Morsel<'_>) -> Result<LoopOutput, EvalError> {
    match Groups::new(source, morsel.rows) {
        None => run_from(source, morsel, (0, 0), None),
        Some(mut groups) => {
            let out = run_from(source, morsel, (0, 0), Some(&mut groups))?;
            into_columns(&mut groups, out)
        }
    }
}

/// Runs a verified loop over the rows of a morsel from `start` on, which begins a chunk; the sink has seen so
/// many pieces of that chunk already. A grouping loop needs its table.
///
/// # Errors
/// As [`run`].
pub fn run_from(
    source: &Loop,
    morsel: &Morsel<'_>,
    (start, seen): (usize, usize),
    groups: Option<&mut Groups>,
) -> Result<LoopOutput, EvalError> {
    arrays::check(source, morsel)?;
    let last_use = last_uses(source);
    let mut end = End { sink: sink::SinkState::new(source, groups), last_use: &last_use, seen };
    let mut start = start;
    while start < morsel.rows {
        let len = CHUNK.min(morsel.rows - start);
        Chunk::new(source, morsel, start, len).run(0, &mut end)?;
        start += len;
    }
    end.sink.finish()
}

/// A loop that is interpreted rather than compiled.
#[derive(Clone, Debug)]
pub struct InterpLoop {
    source: Loop,
}

impl InterpLoop {
    pub fn new(source: Loop) -> InterpLoop {
        InterpLoop { source }
    }
}

impl RunLoop for InterpLoop {
    fn source(&self) -> &Loop {
        &self.source
    }

    fn run(&self, morsel: &Morsel<'_>) -> Result<LoopOutput, EvalError> {
        run(&self.source, morsel)
    }

    fn run_into(&self, morsel: &Morsel<'_>, groups: &mut Groups) -> Result<LoopOutput, EvalError> {
        run_from(&self.source, morsel, (0, 0), Some(groups))
    }
}

/// What a constant instruction without inputs gives: used for folding. `None` if it fails, or if
/// its arguments are not literals of the types it takes.
pub fn fold(op: &Op, args: &[Lit]) -> Option<Lit> {
    let sig: Vec<_> = args.iter().map(|a| (a.ty(), a.is_null())).collect();
    op.infer(&sig).ok()?;
    let columns: Vec<Column<'_>> = args.iter().map(|a| Column::constant(a, 1)).collect();
    let columns: Vec<&Column<'_>> = columns.iter().collect();
    let mut rows = Rows::new(1, None);
    let result = evaluate(op, &columns, &mut rows).ok()?;
    if rows.into_fault().is_some() {
        return None;
    }
    if !result.valid[0] {
        return Some(Lit::Null(result.ty()));
    }
    Some(match result.data {
        Data::Bool(v) => Lit::Bool(v[0]),
        Data::I8(v) => Lit::I8(v[0]),
        Data::I16(v) => Lit::I16(v[0]),
        Data::I32(v) => Lit::I32(v[0]),
        Data::I64(v) => Lit::I64(v[0]),
        Data::I128(v) => Lit::I128(v[0]),
        Data::U8(v) => Lit::U8(v[0]),
        Data::U16(v) => Lit::U16(v[0]),
        Data::U32(v) => Lit::U32(v[0]),
        Data::U64(v) => Lit::U64(v[0]),
        Data::F32(v) => Lit::F32(v[0]),
        Data::F64(v) => Lit::F64(v[0]),
        Data::Str(v) => Lit::Str(v[0].to_owned()),
    })
}

/// For every value the step after which nothing reads it; the sink counts as one more step.
fn last_uses(source: &Loop) -> Vec<usize> {
    let mut last = vec![0; source.values.len()];
    for (at, step) in source.steps.iter().enumerate() {
        match step {
            Step::Filter(v) | Step::Visit { row: v, .. } => last[v.index()] = at,
            Step::Let(v) | Step::Expand(v) => {
                let inst = source.value(*v);
                for a in inst.args.iter().chain(&inst.under) {
                    last[a.index()] = at;
                }
            }
        }
    }
    for v in source.sink.uses() {
        last[v.index()] = source.steps.len();
    }
    last
}

/// Where the pieces of all chunks end.
struct End<'a, 'g, 'l> {
    sink: sink::SinkState<'a, 'g>,
    /// By value.
    last_use: &'l [usize],
    /// Pieces to come that the sink has seen.
    seen: usize,
}

/// One chunk on its way through the loop, or a piece of the pairs that it became.
struct Chunk<'a> {
    source: &'a Loop,
    morsel: &'a Morsel<'a>,
    /// The chunk's first row in the morsel.
    start: usize,
    /// Positions in the chunk of the rows that passed all filters so far.
    live: Vec<usize>,
    /// The values computed so far, over the live rows; `None` before and after their use.
    values: Vec<Option<Column<'a>>>,
    /// The lowest failing row (a position in the chunk) and why it failed.
    failed: Option<(usize, Fault)>,
}

impl<'a> Chunk<'a> {
    fn new(source: &'a Loop, morsel: &'a Morsel<'a>, start: usize, len: usize) -> Chunk<'a> {
        let values = vec![None; source.values.len()];
        Chunk { source, morsel, start, live: (0..len).collect(), values, failed: None }
    }

    /// Goes on with the step `from`.
    fn run(&mut self, from: usize, end: &mut End<'a, '_, '_>) -> Result<(), EvalError> {
        for (at, step) in self.source.steps.iter().enumerate().skip(from) {
            match step {
                Step::Let(v) => self.values[v.index()] = Some(self.compute(self.source.value(*v))?),
                Step::Filter(v) => self.filter(v.index())?,
                Step::Expand(v) => return self.expand(*v, at, end),
                Step::Visit { join, row } => join::visit(self.morsel, *join, self.column(row.index())?)?,
            }
            for (value, last) in self.values.iter_mut().zip(end.last_use) {
                if *last <= at && *last != 0 {
                    *value = None;
                }
            }
        }
        if let Some((row, fault)) = self.failed.take() {
            return Err(fault.at(self.start + row));
        }
        if self.live.is_empty() {
            return Ok(());
        }
        match end.seen.checked_sub(1) {
            Some(left) => {
                end.seen = left;
                Ok(())
            }
            None => end.sink.consume(&self.values, &self.live, self.start),
        }
    }

    /// Goes on with the pairs that the rows become, a chunk of them at a time.
    fn expand(&mut self, v: ValueId, at: usize, end: &mut End<'a, '_, '_>) -> Result<(), EvalError> {
        let inst = self.source.value(v);
        let entries = inst.args.first().ok_or_else(|| EvalError::Binding("no entry".to_owned()))?;
        let pairs = join::pairs(self.morsel, &inst.op, self.column(entries.index())?)?;
        for piece in pairs.chunks(CHUNK) {
            let keep: Vec<usize> = piece.iter().map(|p| p.0).collect();
            let mut inner = Chunk {
                source: self.source,
                morsel: self.morsel,
                start: self.start,
                live: keep.iter().map(|i| self.live[*i]).collect(),
                values: self.values.iter().map(|v| v.as_ref().map(|c| c.take(&keep))).collect(),
                failed: self.failed.clone(),
            };
            inner.values[v.index()] = Some(Column::from_options(piece.iter().map(|p| p.1)));
            inner.run(at + 1, end)?;
        }
        match self.failed.take() {
            Some((row, fault)) => Err(fault.at(self.start + row)),
            None => Ok(()),
        }
    }

    fn compute(&mut self, inst: &'a Inst) -> Result<Column<'a>, EvalError> {
        let n = self.live.len();
        if let Op::Input(i) = &inst.op {
            // Inputs are read where they are used, perhaps after a filter.
            let input = &self.source.inputs[*i as usize];
            let len = CHUNK.min(self.morsel.rows - self.start);
            let whole = arrays::load(&self.morsel.inputs[*i as usize], input.ty, self.start, len)?;
            return Ok(if n == len && !self.source.has_expansion() { whole } else { whole.take(&self.live) });
        }
        if let Op::Const(lit) = &inst.op {
            return Ok(Column::constant(lit, n));
        }
        if inst.op == Op::RowIndex {
            let base = self.morsel.row_base.wrapping_add(self.start as i64);
            return Ok(Column::from_options(self.live.iter().map(|&i| Some(base.wrapping_add(i as i64)))));
        }
        let args: Vec<&Column<'a>> =
            inst.args.iter().map(|a| self.column(a.index())).collect::<Result<_, _>>()?;
        match &inst.op {
            Op::Probe { join, .. } => return join::probe(self.morsel, *join, &args),
            Op::Fetch { join, column, ty, .. } => {
                return join::fetch(self.morsel, (*join, *column, *ty), &args);
            }
            _other => {}
        }
        let under = inst.under.map(|u| self.column(u.index())).transpose()?;
        let mut rows = Rows::new(n, under);
        let result = evaluate(&inst.op, &args, &mut rows)?;
        if let Some((i, fault)) = rows.into_fault() {
            let row = self.live[i];
            if self.failed.as_ref().is_none_or(|(lowest, _)| row < *lowest) {
                self.failed = Some((row, fault));
            }
        }
        Ok(result)
    }

    fn filter(&mut self, predicate: usize) -> Result<(), EvalError> {
        let column = self.column(predicate)?;
        let keep: Vec<usize> = (0..self.live.len()).filter(|&i| column.is_true(i)).collect();
        if keep.len() < self.live.len() {
            for value in self.values.iter_mut().flatten() {
                *value = value.take(&keep);
            }
            self.live = keep.iter().map(|&i| self.live[i]).collect();
        }
        Ok(())
    }

    fn column(&self, v: usize) -> Result<&Column<'a>, EvalError> {
        self.values[v].as_ref().ok_or_else(|| EvalError::Binding(format!("v{v} is used but not computed")))
    }
}

/// Evaluates an op over columns of equal length.
fn evaluate<'a>(op: &'a Op, args: &[&Column<'a>], rows: &mut Rows<'_, 'a>) -> Result<Column<'a>, EvalError> {
    match op {
        Op::Input(_)
        | Op::Const(_)
        | Op::RowIndex
        | Op::Probe { .. }
        | Op::Expand { .. }
        | Op::Fetch { .. } => Err(EvalError::Binding(format!("{op:?} is not computed from columns"))),
        Op::Add(overflow) => arith::add(*overflow, args, rows),
        Op::Sub(overflow) => arith::sub(*overflow, args, rows),
        Op::Mul(overflow) => arith::mul(*overflow, args, rows),
        Op::Div => arith::div(args, rows),
        Op::Rem => arith::rem(args, rows),
        Op::Neg(overflow) => arith::neg(*overflow, args, rows),
        Op::Abs(overflow) => arith::abs(*overflow, args, rows),
        Op::BitAnd => arith::bit_and(args, rows),
        Op::BitOr => arith::bit_or(args, rows),
        Op::BitXor => arith::bit_xor(args, rows),
        Op::Shl => arith::shl(args, rows),
        Op::Shr => arith::shr(args, rows),
        Op::Cmp(cmp) => compare::cmp(*cmp, args, rows),
        Op::Distinct => compare::distinct(args, rows),
        Op::InSet(set) => compare::in_set(set, args, rows),
        Op::And => compare::and(args, rows),
        Op::Or => compare::or(args, rows),
        Op::Not => rows.strict1(args, |a: bool| Ok(Some(!a))),
        Op::IsValid => compare::is_valid(args),
        Op::IsTrue => compare::is_true(args),
        Op::Select => compare::select(args, rows),
        Op::Coalesce => compare::coalesce(args, rows),
        Op::NullIf => compare::null_if(args, rows),
        Op::Guard(message) => compare::guard(message, args, rows),
        Op::Cast(to, fail) => convert::cast(*to, *fail, args, rows),
        Op::DecRescale { delta, precision, scale, fail } => {
            convert::dec_rescale(*delta, (*precision, *scale), *fail, args, rows)
        }
        Op::DecFromInt { scale, precision, fail } => {
            convert::dec_from_int(*scale, *precision, *fail, args, rows)
        }
        Op::DecToInt { scale, to, fail } => convert::dec_to_int(*scale, *to, *fail, args, rows),
        Op::DecFromFloat { scale, precision, fail } => {
            convert::dec_from_float(*scale, *precision, *fail, args, rows)
        }
        Op::DecToFloat { scale, to } => convert::dec_to_float(*scale, *to, args, rows),
        Op::DecDiv { left_pow, right_pow } => convert::dec_div(*left_pow, *right_pow, args, rows),
        Op::Math(function, precision) => math::unary(*function, *precision, args, rows),
        Op::MathBin(function, precision) => math::binary(*function, *precision, args, rows),
        Op::DatePart { part, unit } => calendar::date_part(*part, *unit, args, rows),
        Op::DateTrunc { to, unit } => calendar::date_trunc(*to, *unit, args, rows),
        Op::AddInterval { unit, months, days, nanos, subtract } => {
            let interval = IntervalMonthDayNano::new(*months, *days, *nanos);
            calendar::add_interval(*unit, interval, *subtract, args, rows)
        }
        Op::StrTest(test) => strings::test(test, args, rows),
        Op::StrLen(bound) => strings::length(*bound, args, rows),
        Op::Substr => strings::substr(args, rows),
    }
}
