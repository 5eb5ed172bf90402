//! Gives the values of a wide loop registers: linear scan over straight-line code.
//!
//! Carried values and hoisted constants live throughout, others from their instruction to their last
//! reader, who may get the same register for its own result. If the registers don't suffice, some are set
//! aside for loading and storing, and the values that live longest lie on the stack.

use super::code::Id;
use super::fold::Folded;

/// Where a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Loc {
    Nowhere,
    Reg(u8),
    /// By number; vectors and masks are counted apart.
    Slot(u16),
}

pub(super) struct Allocation {
    pub at: Vec<Loc>,
    pub vector_slots: usize,
    pub mask_slots: usize,
}

/// Always free between instructions: what ends of loops compute in.
pub(super) const VECTOR_TEMP: u8 = 31;
/// For values on the stack: the first operand, then the second. Results go to the first.
pub(super) const VECTOR_SPILL: [u8; 2] = [29, 30];
pub(super) const MASK_SPILL: [u8; 2] = [1, 2];

/// Registers of one kind.
struct Class {
    free: Vec<u8>,
    /// Values in registers with the last position that reads them.
    active: Vec<(usize, Id, u8)>,
    free_slots: Vec<u16>,
    in_slots: Vec<(usize, u16)>,
    slots: usize,
}

impl Class {
    fn new(registers: std::ops::Range<u8>) -> Class {
        // The lowest first: they make the shortest code, and the same every time.
        Class {
            free: registers.rev().collect(),
            active: Vec::new(),
            free_slots: Vec::new(),
            in_slots: Vec::new(),
            slots: 0,
        }
    }

    fn expire(&mut self, now: usize) {
        let free = &mut self.free;
        self.active.retain(|(end, _, register)| {
            let keep = *end > now;
            if !keep {
                free.push(*register);
            }
            keep
        });
        let free_slots = &mut self.free_slots;
        self.in_slots.retain(|(end, slot)| {
            let keep = *end > now;
            if !keep {
                free_slots.push(*slot);
            }
            keep
        });
    }

    fn slot(&mut self, end: usize) -> Loc {
        let slot = self.free_slots.pop().unwrap_or_else(|| {
            self.slots += 1;
            self.slots as u16 - 1
        });
        self.in_slots.push((end, slot));
        Loc::Slot(slot)
    }

    /// A place for a value read until `end`; `None` if there is no register and must be one.
    fn place(&mut self, id: Id, end: usize, at: &mut [Loc], may_spill: bool) -> Option<Loc> {
        if let Some(register) = self.free.pop() {
            self.active.push((end, id, register));
            return Some(Loc::Reg(register));
        }
        if !may_spill {
            return None;
        }
        // Whoever lives longest goes to the stack from the beginning, so its slot must have been free
        // since then: a new one.
        let longest = self.active.iter().enumerate().max_by_key(|(_, a)| a.0).map(|(i, a)| (i, a.0));
        match longest {
            Some((i, last)) if last > end => {
                let (last, other, register) = self.active.swap_remove(i);
                self.slots += 1;
                let slot = self.slots as u16 - 1;
                self.in_slots.push((last, slot));
                at[other.index()] = Loc::Slot(slot);
                self.active.push((end, id, register));
                Some(Loc::Reg(register))
            }
            Some(_) | None => Some(self.slot(end)),
        }
    }
}

/// Tries with all registers, then with those that are left beside the ones for spilling.
pub(super) fn allocate(folded: &Folded) -> Allocation {
    if let Some(allocation) = scan(folded, 0..VECTOR_TEMP, 1..8, false) {
        return allocation;
    }
    let spilling = scan(folded, 0..VECTOR_SPILL[0], 3..8, true);
    spilling.unwrap_or(Allocation { at: Vec::new(), vector_slots: 0, mask_slots: 0 })
}

fn scan(
    folded: &Folded,
    vectors: std::ops::Range<u8>,
    masks: std::ops::Range<u8>,
    may_spill: bool,
) -> Option<Allocation> {
    let mut ends = vec![0; folded.insts.len()];
    for (position, id) in folded.order.iter().enumerate() {
        for operand in folded.insts[id.index()].operands() {
            ends[operand.index()] = position;
        }
    }
    let mut at = vec![Loc::Nowhere; folded.insts.len()];
    let (mut vectors, mut masks) = (Class::new(vectors), Class::new(masks));
    let throughout = folded.carried.iter().chain(&folded.constants);
    for id in throughout {
        let class = if folded.insts[id.index()].op.makes_mask() { &mut masks } else { &mut vectors };
        at[id.index()] = class.place(*id, usize::MAX, &mut at, may_spill)?;
    }
    for (position, id) in folded.order.iter().enumerate() {
        vectors.expire(position);
        masks.expire(position);
        let op = folded.insts[id.index()].op;
        if !op.has_effect() {
            let class = if op.makes_mask() { &mut masks } else { &mut vectors };
            at[id.index()] = class.place(*id, ends[id.index()], &mut at, may_spill)?;
        }
    }
    Some(Allocation { at, vector_slots: vectors.slots, mask_slots: masks.slots })
}
