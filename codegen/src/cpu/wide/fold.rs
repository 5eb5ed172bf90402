//! Makes a wide loop's body shorter once it is known whole: what nobody reads is dropped, comparisons take
//! the masks that they are joined with, loads become operands of their only readers, and constants that
//! find no register are read where they are used.

use super::code::{BinOp, Body, Id, Inst, Op, Test};

/// What is left of a body, in order.
pub(super) struct Folded {
    pub insts: Vec<Inst>,
    /// Without constants that lie in registers throughout, loads that are operands, and carried values.
    pub order: Vec<Id>,
    /// Where the last part begins in it.
    pub last_part: usize,
    /// Constants in registers, by how much they are used.
    pub constants: Vec<Id>,
    pub carried: Vec<Id>,
    /// Loads and constants that are memory operands of whoever reads them.
    pub in_memory: Vec<bool>,
    pub tables: Vec<[u64; 8]>,
}

/// Constants that are kept in registers. The others are broadcast from memory.
const MOST_CONSTANTS: usize = 12;

pub(super) fn fold(body: &Body) -> Folded {
    let mut insts = body.insts.clone();
    let mut uses = count_uses(&insts);
    join_masks(&mut insts, &mut uses);
    prefer_memory_last(&mut insts, &uses);
    let mut in_memory = vec![false; insts.len()];
    for at in 0..insts.len() {
        if let Some(b) = insts[at].b.filter(|_| uses[at] > 0)
            && matches!(insts[b.index()].op, Op::Load(_))
            && uses[b.index()] == 1
            && takes_load(&insts[at], &insts[b.index()])
        {
            in_memory[b.index()] = true;
        }
    }
    let (mut constants, mut carried) = (Vec::new(), Vec::new());
    for (at, inst) in insts.iter().enumerate().filter(|(at, _)| uses[*at] > 0) {
        match inst.op {
            Op::Const(_) | Op::Table(_) => constants.push(Id(at as u32)),
            Op::Carried(_) => carried.push(Id(at as u32)),
            _other => {}
        }
    }
    constants.sort_by_key(|id| std::cmp::Reverse(uses[id.index()]));
    let elsewhere = constants.split_off(constants.len().min(MOST_CONSTANTS));
    for id in &elsewhere {
        in_memory[id.index()] = true;
    }
    let mut order = Vec::with_capacity(insts.len());
    let mut last_part = 0;
    for at in 0..insts.len() {
        if at == body.last_part {
            last_part = order.len();
        }
        let inst = insts[at];
        let placed = matches!(inst.op, Op::Const(_) | Op::Table(_) | Op::Carried(_));
        if uses[at] == 0 || placed || in_memory[at] {
            continue;
        }
        // A constant that has no register and cannot be an operand is read for its reader alone.
        let mut read = |operand: Option<Id>, is_last: bool, insts: &mut Vec<Inst>| {
            let id = operand.filter(|id| elsewhere.contains(id))?;
            let constant = insts[id.index()];
            if is_last && takes_constant(&inst, &constant) {
                return None;
            }
            insts.push(constant);
            in_memory.push(false);
            let copy = Id(insts.len() as u32 - 1);
            order.push(copy);
            Some(copy)
        };
        let (a, b) = (read(inst.a, false, &mut insts), read(inst.b, true, &mut insts));
        insts[at].a = a.or(inst.a);
        insts[at].b = b.or(inst.b);
        order.push(Id(at as u32));
    }
    Folded { insts, order, last_part, constants, carried, in_memory, tables: body.tables.clone() }
}

/// Readers of each value that is needed for an effect; 1 for effects themselves.
fn count_uses(insts: &[Inst]) -> Vec<u32> {
    let mut uses = vec![0; insts.len()];
    for at in (0..insts.len()).rev() {
        if insts[at].op.has_effect() {
            uses[at] = 1;
        }
        if uses[at] > 0 {
            for id in insts[at].operands() {
                uses[id.index()] += 1;
            }
        }
    }
    uses
}

/// `p AND (a < b)` is one comparison under the mask `p`, if nobody else wants to know `a < b`.
fn join_masks(insts: &mut [Inst], uses: &mut [u32]) {
    for at in 0..insts.len() {
        let Inst { op: Op::MaskAnd, a: Some(a), b: Some(b), .. } = insts[at] else { continue };
        if uses[at] == 0 {
            continue;
        }
        for (mask, test) in [(a, b), (b, a)] {
            let inner = insts[test.index()];
            if matches!(inner.op, Op::Test(_)) && inner.mask.is_none() && uses[test.index()] == 1 {
                insts[at] = Inst { mask: Some(mask), ..inner };
                uses[test.index()] = 0;
                break;
            }
        }
    }
}

/// Where the order of operands does not matter, loads and constants come last. Of floats it matters: of
/// two NaNs the first counts.
fn prefer_memory_last(insts: &mut [Inst], uses: &[u32]) {
    for at in 0..insts.len() {
        let (Some(a), Some(b)) = (insts[at].a, insts[at].b) else { continue };
        let in_memory = |id: Id| match insts[id.index()].op {
            Op::Const(_) => 2,
            Op::Load(_) if uses[id.index()] == 1 => 1,
            _other => 0,
        };
        if in_memory(a) <= in_memory(b) {
            continue;
        }
        let op = match insts[at].op {
            Op::Bin(
                BinOp::Add
                | BinOp::Mul
                | BinOp::And
                | BinOp::Or
                | BinOp::Xor
                | BinOp::Min
                | BinOp::Max
                | BinOp::MinUnsigned,
            ) => insts[at].op,
            Op::Test(test) => Op::Test(test.swapped()),
            _other => continue,
        };
        insts[at] = Inst { op, a: Some(b), b: Some(a), ..insts[at] };
    }
}

/// Whether the last operand may be a load of that width in place of a register.
fn takes_load(reader: &Inst, load: &Inst) -> bool {
    let width = match reader.op {
        Op::Bin(_) | Op::Un(_) | Op::Shift(..) | Op::Blend | Op::Keep | Op::Test(_) | Op::Accumulate(_) => {
            // Eight bytes are loaded, and sixteen would be read.
            if reader.width == 1 {
                return false;
            }
            reader.width
        }
        Op::Widen { from, .. } => from,
        Op::Convert(convert) => convert.operand_width(),
        Op::Narrow { .. } | Op::Store(_) => return false,
        Op::Const(_)
        | Op::Table(_)
        | Op::FirstRow
        | Op::RowsLeft
        | Op::Load(_)
        | Op::LoadBits(_)
        | Op::MaskConst(_)
        | Op::MaskAnd
        | Op::MaskAndn
        | Op::MaskOr
        | Op::MaskNot
        | Op::Carried(_)
        | Op::StoreBits(_)
        | Op::Prefetch(_)
        | Op::Collect => return false,
    };
    load.width == width
}

/// Whether the last operand may be a constant in memory: instructions on 32 and 64 bits repeat one.
pub(super) fn takes_constant(reader: &Inst, constant: &Inst) -> bool {
    let repeats = match reader.op {
        Op::Bin(op) | Op::Accumulate(op) => match op {
            // Bits have no lanes unless there is a mask.
            BinOp::And | BinOp::Or | BinOp::Xor => true,
            // A table of equal words is none.
            BinOp::Permute => false,
            BinOp::Add
            | BinOp::Sub
            | BinOp::Mul
            | BinOp::Min
            | BinOp::Max
            | BinOp::MinUnsigned
            | BinOp::ShiftLeft
            | BinOp::ShiftRight
            | BinOp::ShiftArithmetic
            | BinOp::FAdd
            | BinOp::FSub
            | BinOp::FMul
            | BinOp::FDiv => reader.width >= 4,
        },
        Op::Blend => reader.width >= 4,
        Op::Test(test) => match test {
            Test::Int { .. }
            | Test::Bits
            | Test::NoBits
            | Test::FloatEq
            | Test::FloatNe
            | Test::Unordered
            | Test::Ordered => reader.width >= 4,
        },
        // A moving instruction does not repeat; others are not worth a case.
        Op::Un(_) | Op::Shift(..) | Op::Keep | Op::Widen { .. } | Op::Narrow { .. } | Op::Convert(_) => false,
        Op::Const(_)
        | Op::Table(_)
        | Op::FirstRow
        | Op::RowsLeft
        | Op::Load(_)
        | Op::LoadBits(_)
        | Op::MaskConst(_)
        | Op::MaskAnd
        | Op::MaskAndn
        | Op::MaskOr
        | Op::MaskNot
        | Op::Carried(_)
        | Op::Store(_)
        | Op::StoreBits(_)
        | Op::Prefetch(_)
        | Op::Collect => false,
    };
    repeats && matches!(constant.op, Op::Const(_))
}
