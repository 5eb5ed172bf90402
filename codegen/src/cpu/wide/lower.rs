//! A lane phase as the body of a wide loop: values, memory, failures and aggregates. Instructions are
//! lowered in `ops.rs`, `compare.rs` and `cast.rs`.
//!
//! The rules are those of [`super::super::lanes`]: rows behind the last are computed too and masked out
//! wherever they would be seen, constants are baked in, a value without validity is never null. What
//! differs is that booleans are masks, which every instruction takes: a sum adds only where its mask
//! holds. For float sums that is the same as adding 0.0 elsewhere, since a sum that began with 0.0 is
//! never -0.0.

use super::code::{BinOp, Body, Bool, Carried, Id, Op, Place, Pred, Test};
use super::{Request, Unsupported};
use crate::cpu::classify::constant;
use crate::cpu::lanes::literal_bits;
use crate::cpu::schedule::Need;
use crate::cpu::sink::is_text_extreme;
use crate::ir::{AggFunc, Lit, Loop, Sink, Ty, ValueId};

/// The data part of a value.
#[derive(Clone, Copy, Debug)]
pub(super) enum Data {
    Lanes(Id),
    Bool(Bool),
    /// Only its validity is known here.
    Absent,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct LaneValue {
    pub data: Data,
    /// Absent where no row is null.
    pub valid: Option<Bool>,
}

/// Bytes per lane; `None` for types that have no lanes.
pub(super) fn lane_width(ty: Ty) -> Option<usize> {
    ty.width().filter(|w| *w <= 8)
}

pub(super) struct Lower<'r, 'l> {
    pub request: &'r Request<'l>,
    pub lp: &'l Loop,
    pub body: Body,
    /// The group that is being lowered, and whether all its rows exist.
    group: u8,
    is_complete: bool,
    values: Vec<Option<LaneValue>>,
    /// Whether the code is wrong for groups of fewer than 8 rows.
    pub relies_on_whole_groups: bool,
    /// Bits of rows that failed, if any can.
    pub failed: Option<Id>,
}

/// Lowers a phase, two groups at a time if `unroll`.
pub(super) fn lower<'r, 'l>(request: &'r Request<'l>, unroll: bool) -> Result<Lower<'r, 'l>, Unsupported> {
    let mut l = Lower {
        request,
        lp: request.lp,
        body: Body::default(),
        group: 0,
        is_complete: false,
        values: vec![None; request.lp.values.len()],
        relies_on_whole_groups: false,
        failed: None,
    };
    if unroll {
        l.is_complete = true;
        for group in 0..2 {
            l.lower_group(group)?;
        }
        l.is_complete = false;
    }
    l.lower_group(0)?;
    Ok(l)
}

impl Lower<'_, '_> {
    fn lower_group(&mut self, group: u8) -> Result<(), Unsupported> {
        self.group = group;
        self.body.begin_group(group, !self.is_complete);
        self.values.fill(None);
        let phase = self.request.phase;
        for v in &phase.insts {
            let value = self.emit_inst(*v)?;
            self.values[v.index()] = Some(value);
        }
        self.feed_aggs()?;
        for (v, need) in &phase.stores {
            self.store(*v, *need)?;
        }
        if let Some(f) = phase.mask {
            let holds = self.holds(f)?;
            self.store_bits(Place::Mask, holds);
        }
        Ok(())
    }

    // ---- values -------------------------------------------------------------------------------

    /// A value computed in this loop, or loaded, or a constant.
    pub(super) fn value(&mut self, id: ValueId) -> Result<LaneValue, Unsupported> {
        if let Some(value) = self.values[id.index()] {
            return Ok(value);
        }
        let value = match constant(self.lp, id) {
            Some(lit) => self.constant_value(lit),
            None => self.load(id)?,
        };
        self.values[id.index()] = Some(value);
        Ok(value)
    }

    /// Whether the value was computed or loaded in this loop already.
    pub(super) fn is_known(&self, id: ValueId) -> bool {
        self.values[id.index()].is_some()
    }

    fn constant_value(&mut self, lit: &Lit) -> LaneValue {
        let valid = lit.is_null().then_some(Bool::All(false));
        let data = match (lane_width(lit.ty()), lit.ty()) {
            (Some(width), _) => Data::Lanes(self.body.splat(width, literal_bits(lit))),
            (None, Ty::Bool) => Data::Bool(Bool::All(*lit == Lit::Bool(true))),
            (None, _) => Data::Absent,
        };
        LaneValue { data, valid }
    }

    fn load(&mut self, id: ValueId) -> Result<LaneValue, Unsupported> {
        let need = self.request.phase.loads.iter().find(|l| l.0 == id).map_or(Need::default(), |l| l.1);
        let inst = self.lp.value(id);
        let mut data = Data::Absent;
        if need.data {
            let at = self.body.ptr(Place::Data(id));
            match (lane_width(inst.ty), inst.ty) {
                (Some(width), _) => {
                    // As for narrow lanes, columns of narrower values need no help.
                    if self.request.reads_columns && matches!(inst.op, crate::ir::Op::Input(_)) && width == 8
                    {
                        self.body.effect(Op::Prefetch(at), width, None, None, Bool::All(true));
                    }
                    data = Data::Lanes(self.body.leaf(Op::Load(at), width));
                }
                (None, Ty::Bool) => data = Data::Bool(self.body.bits(at)),
                (None, ty) => return Err(Unsupported(format!("lanes of {ty}"))),
            }
        }
        let valid = if need.valid && inst.nullable {
            let at = self.body.ptr(Place::Valid(id));
            Some(self.body.bits(at))
        } else {
            None
        };
        Ok(LaneValue { data, valid })
    }

    fn store(&mut self, id: ValueId, need: Need) -> Result<(), Unsupported> {
        let value = self.value(id)?;
        let inst = self.lp.value(id);
        if need.data {
            match value.data {
                Data::Lanes(lanes) => {
                    let Some(width) = lane_width(inst.ty) else {
                        return Err(Unsupported(format!("lanes of {}", inst.ty)));
                    };
                    let at = self.body.ptr(Place::StoreData(id));
                    self.body.effect(Op::Store(at), width, None, Some(lanes), Bool::All(true));
                }
                Data::Bool(b) => self.store_bits(Place::StoreData(id), b),
                Data::Absent => return Err(Unsupported(format!("a value of {} to store", inst.ty))),
            }
        }
        if need.valid && inst.nullable {
            self.store_bits(Place::StoreValid(id), value.valid.unwrap_or(Bool::All(true)));
        }
        Ok(())
    }

    fn store_bits(&mut self, place: Place, value: Bool) {
        let at = self.body.ptr(place);
        let mask = self.body.mask(value);
        self.body.effect(Op::StoreBits(at), 1, None, Some(mask), Bool::All(true));
    }

    /// The lanes of a value that has some, and their width.
    pub(super) fn lanes(&mut self, id: ValueId) -> Result<(Id, usize), Unsupported> {
        let ty = self.lp.value(id).ty;
        match (self.value(id)?.data, lane_width(ty)) {
            (Data::Lanes(lanes), Some(width)) => Ok((lanes, width)),
            (Data::Lanes(_) | Data::Bool(_) | Data::Absent, _) => {
                Err(Unsupported(format!("a value of {ty} as lanes")))
            }
        }
    }

    pub(super) fn boolean(&mut self, id: ValueId) -> Result<Bool, Unsupported> {
        match self.value(id)?.data {
            Data::Bool(b) => Ok(b),
            Data::Lanes(_) | Data::Absent => Err(Unsupported("a number as a boolean".to_owned())),
        }
    }

    /// Where a boolean value is true and valid.
    pub(super) fn holds(&mut self, id: ValueId) -> Result<Bool, Unsupported> {
        let value = self.boolean(id)?;
        Ok(match self.value(id)?.valid {
            Some(valid) => self.body.and(value, valid),
            None => value,
        })
    }

    /// Where all arguments are valid; `None` when none of them can be null.
    pub(super) fn all_valid(&mut self, args: &[ValueId]) -> Result<Option<Bool>, Unsupported> {
        let mut all = None;
        for a in args {
            let valid = self.value(*a)?.valid;
            all = self.body.and_opt(all, valid);
        }
        Ok(all)
    }

    /// The rows of the group that exist.
    fn live_rows(&mut self) -> Bool {
        if self.is_complete {
            return Bool::All(true);
        }
        if self.request.whole_groups {
            self.relies_on_whole_groups = true;
            return Bool::All(true);
        }
        let (row, left) = (self.body.iota(), self.body.leaf(Op::RowsLeft, 8));
        self.body.test(Test::Int { pred: Pred::Lt, signed: true }, 8, row, left)
    }

    /// Records that the instruction fails where `fails` holds, as far as rows count.
    pub(super) fn fail(
        &mut self,
        inst: ValueId,
        fails: Bool,
        valid: Option<Bool>,
    ) -> Result<(), Unsupported> {
        let mut fails = fails;
        if let Some(valid) = valid {
            fails = self.body.and(fails, valid);
        }
        if let Some(under) = self.lp.value(inst).under {
            let under = self.holds(under)?;
            fails = self.body.and(fails, under);
        }
        let live = self.live_rows();
        fails = self.body.and(fails, live);
        if fails.known() == Some(false) {
            return Ok(());
        }
        let bits = self.body.mask(fails);
        let failed = match self.failed {
            Some(failed) => failed,
            None => self.body.leaf(Op::Carried(Carried::Failed), 1),
        };
        self.failed = Some(failed);
        self.body.effect(Op::Collect, 1, Some(failed), Some(bits), Bool::All(true));
        Ok(())
    }

    // ---- aggregates ---------------------------------------------------------------------------

    fn feed_aggs(&mut self) -> Result<(), Unsupported> {
        let Sink::Aggregate(aggs) = &self.lp.sink else { return Ok(()) };
        let mut counted: Vec<usize> = Vec::new();
        for at in &self.request.phase.aggs {
            let (agg, home) = (&aggs[*at], &self.request.homes[*at]);
            let mut mask = self.live_rows();
            if let Some(filter) = agg.filter {
                let holds = self.holds(filter)?;
                mask = self.body.and(mask, holds);
            }
            if let Some(arg) = agg.arg
                && let Some(valid) = self.value(arg)?.valid
            {
                mask = self.body.and(mask, valid);
            }
            match (agg.func, agg.arg) {
                (AggFunc::Count, _) | (_, None) => {}
                // A kernel's, at the end of the chunk; here its rows are counted.
                (AggFunc::Min | AggFunc::Max, Some(_)) if is_text_extreme(agg) => {}
                (AggFunc::Spread, Some(_)) => {
                    return Err(Unsupported("the spread of values is no sum of lanes".to_owned()));
                }
                (AggFunc::Sum, Some(arg)) => {
                    let (lanes, width) = self.lanes(arg)?;
                    if width != 8 {
                        return Err(Unsupported(format!("a sum over {}", agg.ty)));
                    }
                    let (carried, op) = if agg.ty.is_float() {
                        (Carried::Floats { home: home.value }, BinOp::FAdd)
                    } else {
                        (Carried::Ints { home: home.value, group: self.group }, BinOp::Add)
                    };
                    let sum = self.body.leaf(Op::Carried(carried), 8);
                    self.body.effect(Op::Accumulate(op), 8, Some(sum), Some(lanes), mask);
                }
                (AggFunc::Min | AggFunc::Max, Some(arg)) => {
                    let (lanes, width) = self.lanes(arg)?;
                    let least = agg.func == AggFunc::Min;
                    let key = self.extreme_key(lanes, agg.ty, width);
                    let group = self.group;
                    let carried = Carried::Extreme { home: home.value, width: width as u8, least, group };
                    let best = self.body.leaf(Op::Carried(carried), width);
                    let op = if least { BinOp::Min } else { BinOp::Max };
                    self.body.effect(Op::Accumulate(op), width, Some(best), Some(key), mask);
                }
            }
            if home.is_counted || counted.contains(&home.count) {
                continue;
            }
            counted.push(home.count);
            let one = self.body.splat(8, 1);
            let carried = Carried::Ints { home: home.count, group: self.group };
            let count = self.body.leaf(Op::Carried(carried), 8);
            self.body.effect(Op::Accumulate(BinOp::Add), 8, Some(count), Some(one), mask);
        }
        Ok(())
    }
}
