//! Aggregates: running parts in registers over a lane or row loop, in working memory between loops, and
//! in the caller's slots before and after the call.
//!
//! They don't stay in registers from chunk to chunk: no vector register survives a call, and a value
//! that lives across one is reloaded and spilled in every round of the loop behind it. They don't go to
//! the caller's slots before the end either: a call that bails must leave those as they were.
//!
//! Layout of a slot: eight float sums as they are; integer sums as two 64-bit lanes; minima and maxima
//! as the lanes of one vector, in an order-preserving signed form ("key"); 128-bit values as they are.
//! Of text a slot holds only the address of the running value, which a kernel updates at the end of each
//! chunk; a call that bails has spoiled it, and its caller throws it away.

use super::CompileError;
use super::bools::{BoolId, Bools, Form};
use super::emitter::{Emitter, FLAGS};
use super::lanes::{Lanes, Vecs, int_lanes, lane_type};
use super::scalar::Scalars;
use super::schedule::Need;
use super::wide::Home;
use crate::ir::{Agg, AggFunc, Sink, Ty, ValueId};
use cranelift::prelude::*;
use fuseline_kernels::abi::{AggSlot, LoopContext};
use std::mem::offset_of;

/// What decides whether a row counts: a filter, and an argument that can be null.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct CountKey {
    filter: Option<ValueId>,
    arg: Option<ValueId>,
}

/// A counter, shared by all aggregates that count the same rows. It is kept in whatever form the mask
/// has, so there are three parts; those never fed cost nothing.
struct Count {
    key: CountKey,
    scalar: Part,
    lanes32: Part,
    lanes64: Part,
    fed: bool,
}

/// A running part: in `var` inside a loop that feeds it, at `home` in working memory otherwise.
#[derive(Clone, Copy)]
struct Part {
    var: Variable,
    ty: Type,
    home: usize,
}

/// The running parts of one aggregate.
pub(super) struct AggVars {
    parts: Vec<Part>,
    count: usize,
}

#[derive(Default)]
pub(super) struct Counts(Vec<Count>);

/// A minimum or maximum of text, which a kernel finds.
pub(super) fn is_text_extreme(agg: &Agg) -> bool {
    match agg.func {
        AggFunc::Min | AggFunc::Max => agg.ty == Ty::Str,
        AggFunc::Count | AggFunc::Sum | AggFunc::Spread => false,
    }
}

/// Whether loops do no more for an aggregate than to count its rows.
pub(super) fn only_counts(agg: &Agg) -> bool {
    agg.func == AggFunc::Count || is_text_extreme(agg)
}

impl<'l> Emitter<'_, 'l> {
    fn agg(&self, index: usize) -> &'l Agg {
        match &self.lp.sink {
            Sink::Aggregate(aggs) => &aggs[index],
            Sink::Emit(_) | Sink::Group { .. } => unreachable!("only aggregating loops feed aggregates"),
        }
    }

    fn count_key(&self, agg: &Agg) -> CountKey {
        CountKey { filter: agg.filter, arg: agg.arg.filter(|a| self.lp.value(*a).nullable) }
    }

    fn slots(&mut self) -> Value {
        self.b.ins().load(types::I64, FLAGS, self.context, offset_of!(LoopContext, aggs) as i32)
    }

    fn new_part(&mut self, ty: Type) -> Part {
        let home = self.reserve(16);
        self.part_at(ty, home)
    }

    fn part_at(&mut self, ty: Type, home: usize) -> Part {
        Part { var: self.b.declare_var(ty), ty, home }
    }

    fn load_part(&mut self, part: Part) -> Value {
        self.b.ins().load(part.ty, FLAGS, self.scratch, part.home as i32)
    }

    fn store_part(&mut self, part: Part, value: Value) {
        self.b.ins().store(FLAGS, value, self.scratch, part.home as i32);
    }

    /// Takes the running parts over from the caller; at the function's entry.
    pub(super) fn declare_aggs(&mut self) -> Result<(), CompileError> {
        let Sink::Aggregate(aggs) = &self.lp.sink else { return Ok(()) };
        let slots = self.slots();
        for (at, agg) in aggs.iter().enumerate() {
            let mut list = Vec::new();
            match (agg.func, agg.ty) {
                (AggFunc::Count, _) | (AggFunc::Min | AggFunc::Max, Ty::Str) => {}
                (AggFunc::Spread, _) => list.extend([types::I64, types::F64, types::F64]),
                (_, Ty::I128) => list.push(types::I128),
                (AggFunc::Sum, Ty::F64) => list.extend([types::F64X2; 4]),
                (AggFunc::Sum, Ty::I64 | Ty::U64) => list.push(types::I64X2),
                (AggFunc::Min | AggFunc::Max, ty) if ty.is_numeric() => {
                    list.extend(lane_type(ty).map(int_lanes));
                }
                (func, ty) => {
                    return Err(CompileError::Unsupported(format!("{func:?} over {ty}")));
                }
            }
            let base = at * size_of::<AggSlot>() + offset_of!(AggSlot, lanes);
            let mut parts = Vec::new();
            // One behind the other: wide loops take all at once.
            let homes = self.reserve(16 * list.len());
            for (k, ty) in list.into_iter().enumerate() {
                let part = self.part_at(ty, homes + 16 * k);
                let start = self.b.ins().load(ty, FLAGS, slots, (base + 16 * k) as i32);
                self.store_part(part, start);
                parts.push(part);
            }
            let key = self.count_key(agg);
            let known = self.counts.0.iter().position(|c| c.key == key);
            let count = match known {
                Some(count) => count,
                None => {
                    let count = self.new_count(key);
                    self.counts.0.push(count);
                    self.counts.0.len() - 1
                }
            };
            self.aggs.push(AggVars { parts, count });
        }
        Ok(())
    }

    fn new_count(&mut self, key: CountKey) -> Count {
        let (scalar, lanes32, lanes64) =
            (self.new_part(types::I64), self.new_part(types::I32X4), self.new_part(types::I64X2));
        let zero = self.b.ins().iconst(types::I64, 0);
        self.store_part(scalar, zero);
        let zeros = self.b.ins().splat(types::I64X2, zero);
        self.store_part(lanes64, zeros);
        // The same bits.
        self.store_part(lanes32, zeros);
        Count { key, scalar, lanes32, lanes64, fed: false }
    }

    /// The parts that a loop which feeds these aggregates may change.
    fn parts_of(&self, aggs: &[usize]) -> Vec<Part> {
        let mut parts: Vec<Part> = Vec::new();
        let mut counts: Vec<usize> = Vec::new();
        for a in aggs {
            let agg = &self.aggs[*a];
            parts.extend(&agg.parts);
            if !counts.contains(&agg.count) {
                counts.push(agg.count);
            }
        }
        for count in counts {
            let count = &self.counts.0[count];
            parts.extend([count.scalar, count.lanes32, count.lanes64]);
        }
        parts
    }

    /// Loads the parts that the loop to come feeds. Gives what was loaded, for [`Self::close_aggs`].
    pub(super) fn open_aggs(&mut self, aggs: &[usize]) -> Vec<Value> {
        let parts = self.parts_of(aggs);
        let mut loaded = Vec::with_capacity(parts.len());
        for part in parts {
            let value = self.load_part(part);
            self.b.def_var(part.var, value);
            loaded.push(value);
        }
        loaded
    }

    /// Stores the parts that changed since `loaded`; behind the loop.
    pub(super) fn close_aggs(&mut self, aggs: &[usize], loaded: &[Value]) {
        for (part, before) in self.parts_of(aggs).into_iter().zip(loaded) {
            let value = self.b.use_var(part.var);
            if value != *before {
                self.store_part(part, value);
            }
        }
    }

    /// Whether all that loops do for these aggregates is to count the chunk's rows.
    pub(super) fn only_count_rows(&self, aggs: &[usize]) -> bool {
        aggs.iter().all(|a| only_counts(self.agg(*a)) && self.counts_all_rows(*a))
    }

    /// Feeds the chunk's rows to minima and maxima of text; at the chunk's end.
    pub(super) fn feed_text_aggs(&mut self) -> Result<(), CompileError> {
        let lp = self.lp;
        let Sink::Aggregate(aggs) = &lp.sink else { return Ok(()) };
        for (at, agg) in aggs.iter().enumerate() {
            let Some(arg) = agg.arg.filter(|_| is_text_extreme(agg)) else { continue };
            let null = self.b.ins().iconst(types::I64, 0);
            let filter = match agg.filter {
                None => null,
                Some(filter) => {
                    self.ensure(filter, Need::BOTH)?;
                    self.bits_hold(filter)?
                }
            };
            self.ensure(arg, Need::BOTH)?;
            let texts = self.buffer_of(arg)?;
            let valid = self.mem[arg.index()].valid.unwrap_or(null);
            let slots = self.slots();
            let offset = at * size_of::<AggSlot>() + offset_of!(AggSlot, lanes);
            let state = self.b.ins().load(types::I64, FLAGS, slots, offset as i32);
            let name = if agg.func == AggFunc::Min { "rt_str_min" } else { "rt_str_max" };
            self.call(name, &[self.n, texts, valid, filter, state])?;
        }
        Ok(())
    }

    fn counts_all_rows(&self, agg: usize) -> bool {
        let key = self.counts.0[self.aggs[agg].count].key;
        key.filter.is_none() && key.arg.is_none()
    }

    /// Where wide loops find the running parts, before any phase is emitted; `counted` says of each
    /// counter whether the phases so far feed it.
    pub(super) fn homes(&self, counted: &[bool]) -> Vec<Home> {
        let home = |agg: &AggVars| {
            let count = &self.counts.0[agg.count];
            let all_rows = count.key.filter.is_none() && count.key.arg.is_none();
            Home {
                value: agg.parts.first().map_or(0, |p| p.home),
                count: count.lanes64.home,
                is_counted: counted[agg.count] || all_rows,
            }
        };
        self.aggs.iter().map(home).collect()
    }

    /// Counters of the loop.
    pub(super) fn counters(&self) -> usize {
        self.counts.0.len()
    }

    /// The counter of each of these aggregates.
    pub(super) fn counters_of(&self, aggs: &[usize]) -> impl Iterator<Item = usize> {
        aggs.iter().map(|a| self.aggs[*a].count)
    }

    /// Remembers that a loop which feeds these aggregates has counted their rows.
    pub(super) fn rows_counted(&mut self, aggs: &[usize]) {
        for a in aggs {
            let count = self.aggs[*a].count;
            self.counts.0[count].fed = true;
        }
    }

    /// Counts the chunk's rows for aggregates that count all of them.
    pub(super) fn count_rows(&mut self, aggs: &[usize]) {
        for a in aggs {
            if !self.counts_all_rows(*a) {
                continue;
            }
            let count = &mut self.counts.0[self.aggs[*a].count];
            if !std::mem::replace(&mut count.fed, true) {
                let var = count.scalar.var;
                let before = self.b.use_var(var);
                let after = self.b.ins().iadd(before, self.n);
                self.b.def_var(var, after);
            }
        }
    }

    /// Gives the running parts back to the caller; at the function's end.
    pub(super) fn store_aggs(&mut self) {
        if self.aggs.is_empty() {
            return;
        }
        let slots = self.slots();
        for at in 0..self.aggs.len() {
            let base = at * size_of::<AggSlot>();
            for (k, part) in self.aggs[at].parts.clone().into_iter().enumerate() {
                let part = self.load_part(part);
                let offset = base + offset_of!(AggSlot, lanes) + 16 * k;
                self.b.ins().store(FLAGS, part, slots, offset as i32);
            }
            let count = &self.counts.0[self.aggs[at].count];
            let (scalar, lanes32, lanes64) = (count.scalar, count.lanes32, count.lanes64);
            let offset = (base + offset_of!(AggSlot, count)) as i32;
            let mut sum = self.b.ins().load(types::I64, FLAGS, slots, offset);
            let more = self.load_part(scalar);
            sum = self.b.ins().iadd(sum, more);
            let wide = self.load_part(lanes64);
            for lane in 0..2 {
                let part = self.b.ins().extractlane(wide, lane);
                sum = self.b.ins().iadd(sum, part);
            }
            let narrow = self.load_part(lanes32);
            for lane in 0..4 {
                let part = self.b.ins().extractlane(narrow, lane);
                let part = self.b.ins().uextend(types::I64, part);
                sum = self.b.ins().iadd(sum, part);
            }
            self.b.ins().store(FLAGS, sum, slots, offset);
        }
    }
}

impl Lanes<'_, '_, '_> {
    /// Feeds a group to aggregates.
    pub(super) fn feed_aggs(&mut self, aggs: &[usize]) -> Result<(), CompileError> {
        for a in aggs {
            let agg = self.e.agg(*a);
            let mut mask = self.live_rows();
            if let Some(filter) = agg.filter {
                let holds = self.holds(filter)?;
                mask = self.bools.and(mask, holds);
            }
            if let Some(arg) = agg.arg
                && let Some(valid) = self.value(arg)?.valid
            {
                mask = self.bools.and(mask, valid);
            }
            let mask = self.shared(mask, *a);
            let (func, ty) = (agg.func, agg.ty);
            match (func, agg.arg) {
                (AggFunc::Count, _) | (_, None) => {}
                (AggFunc::Min | AggFunc::Max, Some(_)) if ty == Ty::Str => {}
                (AggFunc::Spread, Some(_)) => {
                    return Err(CompileError::Backend("the spread of values is no sum of lanes".to_owned()));
                }
                (AggFunc::Sum, Some(arg)) => self.feed_sum(*a, ty, arg, mask)?,
                (AggFunc::Min | AggFunc::Max, Some(arg)) => {
                    self.feed_extreme(*a, func == AggFunc::Min, ty, arg, mask)?;
                }
            }
            // Last: parts are computed in the order in which they are fed, and the first use of the mask
            // should not make all its vectors, which then take registers until the last.
            self.feed_count(*a, mask);
        }
        Ok(())
    }

    /// One mask for all aggregates that count the same rows, so that its forms are made once.
    fn shared(&mut self, mask: BoolId, agg: usize) -> BoolId {
        let count = self.e.aggs[agg].count;
        *self.count_masks.entry(count).or_insert(mask)
    }

    fn feed_count(&mut self, agg: usize, mask: BoolId) {
        let at = self.e.aggs[agg].count;
        let count = &mut self.e.counts.0[at];
        if std::mem::replace(&mut count.fed, true) {
            return;
        }
        let (scalar, lanes32, lanes64) = (count.scalar.var, count.lanes32.var, count.lanes64.var);
        match self.bools.natural(mask) {
            Some(Form::W64) => {
                let m = Bools::make(self, mask, Form::W64);
                self.subtract_all(lanes64, m);
            }
            Some(Form::W32 | Form::W16 | Form::W8) => {
                let m = Bools::make(self, mask, Form::W32);
                self.subtract_all(lanes32, m);
            }
            Some(Form::Bits) | None => {
                let bits = Bools::make(self, mask, Form::Bits).v[0];
                let b = &mut self.e.b;
                let ones = b.ins().popcnt(bits);
                let before = b.use_var(scalar);
                let after = b.ins().iadd(before, ones);
                b.def_var(scalar, after);
            }
        }
    }

    fn subtract_all(&mut self, var: Variable, masks: Vecs) {
        let sum = self.tree(masks, |b, x, y| b.ins().iadd(x, y));
        let before = self.e.b.use_var(var);
        let after = self.e.b.ins().isub(before, sum);
        self.e.b.def_var(var, after);
    }

    /// Combines the vectors of a group into one.
    fn tree(&mut self, a: Vecs, mut f: impl FnMut(&mut FunctionBuilder<'_>, Value, Value) -> Value) -> Value {
        let b = &mut self.e.b;
        match a.n {
            1 => a.v[0],
            2 => f(b, a.v[0], a.v[1]),
            _four => {
                let (x, y) = (f(b, a.v[0], a.v[1]), f(b, a.v[2], a.v[3]));
                f(b, x, y)
            }
        }
    }

    fn feed_sum(&mut self, agg: usize, ty: Ty, arg: ValueId, mask: BoolId) -> Result<(), CompileError> {
        let values = self.vecs(arg)?;
        let kept = self.keep(mask, values);
        if ty == Ty::F64 {
            for k in 0..4 {
                let var = self.e.aggs[agg].parts[k].var;
                let before = self.e.b.use_var(var);
                let after = self.e.b.ins().fadd(before, kept.v[k]);
                self.e.b.def_var(var, after);
            }
            return Ok(());
        }
        let sum = self.tree(kept, |b, x, y| b.ins().iadd(x, y));
        let var = self.e.aggs[agg].parts[0].var;
        let before = self.e.b.use_var(var);
        let after = self.e.b.ins().iadd(before, sum);
        self.e.b.def_var(var, after);
        Ok(())
    }

    fn feed_extreme(
        &mut self,
        agg: usize,
        least: bool,
        ty: Ty,
        arg: ValueId,
        mask: BoolId,
    ) -> Result<(), CompileError> {
        let values = self.int_vecs(arg)?;
        let keys = self.order_keys(values, ty, false);
        // What loses against every row.
        let bits = values.ty.lane_bits();
        let highest = (1u64 << (bits - 1)) - 1;
        let neutral = self.splat(values.ty, if least { highest } else { !highest });
        let kept = self.blend(mask, keys, neutral);
        let wide = values.ty == types::I64X2;
        let mut pick = |b: &mut FunctionBuilder<'_>, x: Value, y: Value| match (wide, least) {
            (true, _) => {
                let less = b.ins().icmp(IntCC::SignedLessThan, x, y);
                if least { b.ins().bitselect(less, x, y) } else { b.ins().bitselect(less, y, x) }
            }
            (false, true) => b.ins().smin(x, y),
            (false, false) => b.ins().smax(x, y),
        };
        let best = self.tree(kept, &mut pick);
        let var = self.e.aggs[agg].parts[0].var;
        let before = self.e.b.use_var(var);
        let after = pick(&mut self.e.b, before, best);
        self.e.b.def_var(var, after);
        Ok(())
    }
}

impl Scalars<'_, '_, '_> {
    /// Feeds one row to the spread of an aggregate's values, if it counts.
    fn feed_spread(&mut self, agg: usize, arg: ValueId, counts: Option<Value>) -> Result<(), CompileError> {
        let x = self.data(arg)?;
        let vars = [0, 1, 2].map(|part| self.e.aggs[agg].parts[part].var);
        let before = vars.map(|var| self.e.b.use_var(var));
        let after = self.spread_with(before, x);
        for (var, (before, after)) in vars.into_iter().zip(before.into_iter().zip(after)) {
            let after = match counts {
                Some(counts) => self.choose(counts, after, before),
                None => after,
            };
            self.e.b.def_var(var, after);
        }
        Ok(())
    }

    /// Count, mean and squared distances with one more value: `Spread::with`, step by step.
    pub(super) fn spread_with(&mut self, [count, mean, squares]: [Value; 3], x: Value) -> [Value; 3] {
        let b = &mut self.e.b;
        let count = b.ins().iadd_imm_u(count, 1);
        let before = b.ins().fsub(x, mean);
        let n = b.ins().fcvt_from_sint(types::F64, count);
        let step = b.ins().fdiv(before, n);
        let mean = b.ins().fadd(step, mean);
        let after = b.ins().fsub(x, mean);
        let product = b.ins().fmul(before, after);
        let squares = b.ins().fadd(squares, product);
        [count, mean, squares]
    }

    /// Feeds one row to aggregates of 128-bit values and to spreads.
    pub(super) fn feed_aggs(&mut self, aggs: &[usize]) -> Result<(), CompileError> {
        for a in aggs {
            let agg = self.e.agg(*a);
            let Some(arg) = agg.arg else { continue };
            let mut counts: Option<Value> = None;
            if let Some(filter) = agg.filter {
                counts = Some(self.holds(filter)?);
            }
            let value = self.value(arg)?;
            counts = self.and_opt(counts, value.valid);
            let at = self.e.aggs[*a].count;
            let count = &mut self.e.counts.0[at];
            // Counts of all rows are fed by now; without a condition this one is a value that is
            // declared nullable but never null.
            if !std::mem::replace(&mut count.fed, true) {
                let var = count.scalar.var;
                let one = match counts {
                    Some(one) => self.e.b.ins().uextend(types::I64, one),
                    None => self.e.b.ins().iconst(types::I64, 1),
                };
                let before = self.e.b.use_var(var);
                let after = self.e.b.ins().iadd(before, one);
                self.e.b.def_var(var, after);
            }
            if agg.func == AggFunc::Spread {
                self.feed_spread(*a, arg, counts)?;
                continue;
            }
            let var = self.e.aggs[*a].parts[0].var;
            let before = self.e.b.use_var(var);
            let (least, func) = (agg.func == AggFunc::Min, agg.func);
            let x = self.data(arg)?;
            let candidate = match func {
                AggFunc::Sum | AggFunc::Count | AggFunc::Spread => self.e.b.ins().iadd(before, x),
                AggFunc::Min | AggFunc::Max => {
                    let less = self.e.b.ins().icmp(IntCC::SignedLessThan, x, before);
                    let (yes, no) = if least { (x, before) } else { (before, x) };
                    self.choose(less, yes, no)
                }
            };
            let after = match counts {
                Some(counts) => self.choose(counts, candidate, before),
                None => candidate,
            };
            self.e.b.def_var(var, after);
        }
        Ok(())
    }
}
