//! The body of a wide lane loop: straight-line SSA over one group of 8 rows.
//!
//! A vector value has one lane per row, so its length follows from the width of its lanes: 64-bit lanes
//! fill a 512-bit register, bytes half of a 128-bit one. A boolean is a mask register whose low 8 bits are
//! the rows. Invariant: nobody looks at the other bits of a mask, which byte compares leave undefined, nor
//! at bytes behind the eighth lane.
//!
//! Values without effects are made once: asking for the same operation on the same operands gives the same
//! value. Booleans known for all rows never become code.
//!
//! Short bodies are unrolled: then the first part is two groups, and the last part the single group that
//! may be left. Values of one group are not known in another, but for constants and carried values.

use crate::ir::ValueId;
use std::collections::HashMap;

/// A value, by the instruction that makes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Id(pub u32);

impl Id {
    pub(super) fn index(self) -> usize {
        self.0 as usize
    }
}

/// What lies at an address that the frame passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Place {
    /// Where a value's data are read.
    Data(ValueId),
    /// Where its validity bits are read.
    Valid(ValueId),
    /// Where a value goes.
    StoreData(ValueId),
    StoreValid(ValueId),
    /// The buffer of the segment's mask.
    Mask,
}

/// An address, by its position in the list that the frame passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Ptr(pub u16);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum BinOp {
    Add,
    Sub,
    Mul,
    And,
    Or,
    Xor,
    /// Of signed integers.
    Min,
    Max,
    /// Of unsigned integers.
    MinUnsigned,
    /// The first by as many bits as the second says.
    ShiftLeft,
    ShiftRight,
    ShiftArithmetic,
    /// The lanes of `b` whose numbers are the low three bits of those of `a`.
    Permute,
    FAdd,
    FSub,
    FMul,
    FDiv,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum UnOp {
    /// Of signed integers.
    Abs,
    Sqrt,
    /// To an integer, by the rounding mode of the instruction's immediate.
    Round(u8),
}

pub(super) const FLOOR: u8 = 9;
pub(super) const CEIL: u8 = 10;
pub(super) const TRUNC: u8 = 11;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum ShiftOp {
    Left,
    Right,
    /// With the sign.
    Arithmetic,
}

/// Conversions between lanes of different meaning; the width is the result's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Convert {
    I32ToF64,
    U32ToF64,
    I64ToF64,
    U64ToF64,
    I32ToF32,
    U32ToF32,
    I64ToF32,
    U64ToF32,
    F32ToF64,
    F64ToF32,
    // Toward zero; what does not fit becomes anything.
    F64ToI64,
    F64ToU64,
    F64ToI32,
    F64ToU32,
    F32ToI64,
    F32ToU64,
    F32ToI32,
    F32ToU32,
}

impl Convert {
    /// Bytes per lane of the operand.
    pub(super) fn operand_width(self) -> u8 {
        match self {
            Convert::I64ToF64
            | Convert::U64ToF64
            | Convert::I64ToF32
            | Convert::U64ToF32
            | Convert::F64ToF32
            | Convert::F64ToI64
            | Convert::F64ToU64
            | Convert::F64ToI32
            | Convert::F64ToU32 => 8,
            Convert::I32ToF64
            | Convert::U32ToF64
            | Convert::I32ToF32
            | Convert::U32ToF32
            | Convert::F32ToF64
            | Convert::F32ToI64
            | Convert::F32ToU64
            | Convert::F32ToI32
            | Convert::F32ToU32 => 4,
        }
    }
}

/// Integer comparisons, as the instructions number them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub(super) enum Pred {
    Eq = 0,
    Lt = 1,
    Le = 2,
    Ne = 4,
    Ge = 5,
    Gt = 6,
}

impl Pred {
    pub(super) fn negated(self) -> Pred {
        match self {
            Pred::Eq => Pred::Ne,
            Pred::Ne => Pred::Eq,
            Pred::Lt => Pred::Ge,
            Pred::Ge => Pred::Lt,
            Pred::Le => Pred::Gt,
            Pred::Gt => Pred::Le,
        }
    }

    /// The same with exchanged operands.
    pub(super) fn swapped(self) -> Pred {
        match self {
            Pred::Eq => Pred::Eq,
            Pred::Ne => Pred::Ne,
            Pred::Lt => Pred::Gt,
            Pred::Gt => Pred::Lt,
            Pred::Le => Pred::Ge,
            Pred::Ge => Pred::Le,
        }
    }
}

/// Tests of lanes that give a mask.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Test {
    Int {
        pred: Pred,
        signed: bool,
    },
    /// Whether the operands have set bits in common.
    Bits,
    NoBits,
    /// IEEE 754, no NaN is equal to anything.
    FloatEq,
    FloatNe,
    Unordered,
    Ordered,
}

impl Test {
    pub(super) fn negated(self) -> Test {
        match self {
            Test::Int { pred, signed } => Test::Int { pred: pred.negated(), signed },
            Test::Bits => Test::NoBits,
            Test::NoBits => Test::Bits,
            Test::FloatEq => Test::FloatNe,
            Test::FloatNe => Test::FloatEq,
            Test::Unordered => Test::Ordered,
            Test::Ordered => Test::Unordered,
        }
    }

    pub(super) fn swapped(self) -> Test {
        match self {
            Test::Int { pred, signed } => Test::Int { pred: pred.swapped(), signed },
            Test::Bits | Test::NoBits | Test::FloatEq | Test::FloatNe | Test::Unordered | Test::Ordered => {
                self
            }
        }
    }
}

/// A value that goes from group to group, and what becomes of it before and behind the loop. `home` is
/// where the running parts lie in working memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Carried {
    /// Eight running sums, as they are.
    Floats { home: usize },
    /// 64-bit lanes, added to the two at home. Groups of an unrolled loop have parts of their own, so
    /// that none waits for another.
    Ints { home: usize, group: u8 },
    /// Keys, the least or greatest of which goes to the lanes at home; likewise.
    Extreme { home: usize, width: u8, least: bool, group: u8 },
    /// A mask of failures: what the function returns.
    Failed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Op {
    // Vectors.
    /// Eight bytes, repeated.
    Const(u64),
    /// Eight words, by their place in [`Body::tables`].
    Table(u16),
    /// The number of the group's first row in the source, in all 64-bit lanes.
    FirstRow,
    /// How many rows there are from the group's first on, likewise.
    RowsLeft,
    Load(Ptr),
    Bin(BinOp),
    /// Of `b`.
    Un(UnOp),
    /// Of `b`, by so many bits.
    Shift(ShiftOp, u8),
    /// `b` where the mask holds, else `a`.
    Blend,
    /// `b` where the mask holds, else 0.
    Keep,
    /// `b`, whose lanes have this many bytes.
    Widen {
        from: u8,
        signed: bool,
    },
    /// The low bytes of `b`, whose lanes have this many.
    Narrow {
        from: u8,
    },
    Convert(Convert),
    // Masks.
    /// Of `a` and `b`; false where there is a mask that does not hold.
    Test(Test),
    LoadBits(Ptr),
    /// The same for all rows.
    MaskConst(bool),
    MaskAnd,
    /// Not the first, and the second.
    MaskAndn,
    MaskOr,
    MaskNot,
    Carried(Carried),
    // Effects.
    /// Stores `b`.
    Store(Ptr),
    StoreBits(Ptr),
    Prefetch(Ptr),
    /// `a`, which is carried, becomes `a op b` where the mask holds.
    Accumulate(BinOp),
    /// The mask `a`, which is carried, gets the bits of `b`.
    Collect,
}

impl Op {
    pub(super) fn has_effect(self) -> bool {
        match self {
            Op::Store(_) | Op::StoreBits(_) | Op::Prefetch(_) | Op::Accumulate(_) | Op::Collect => true,
            Op::Const(_)
            | Op::Table(_)
            | Op::FirstRow
            | Op::RowsLeft
            | Op::Load(_)
            | Op::Bin(_)
            | Op::Un(_)
            | Op::Shift(..)
            | Op::Blend
            | Op::Keep
            | Op::Widen { .. }
            | Op::Narrow { .. }
            | Op::Convert(_)
            | Op::Test(_)
            | Op::LoadBits(_)
            | Op::MaskConst(_)
            | Op::MaskAnd
            | Op::MaskAndn
            | Op::MaskOr
            | Op::MaskNot
            | Op::Carried(_) => false,
        }
    }

    /// Whether the result is a mask.
    pub(super) fn makes_mask(self) -> bool {
        match self {
            Op::Test(_)
            | Op::LoadBits(_)
            | Op::MaskConst(_)
            | Op::MaskAnd
            | Op::MaskAndn
            | Op::MaskOr
            | Op::MaskNot
            | Op::Carried(Carried::Failed) => true,
            Op::Const(_)
            | Op::Table(_)
            | Op::FirstRow
            | Op::RowsLeft
            | Op::Load(_)
            | Op::Bin(_)
            | Op::Un(_)
            | Op::Shift(..)
            | Op::Blend
            | Op::Keep
            | Op::Widen { .. }
            | Op::Narrow { .. }
            | Op::Convert(_)
            | Op::Carried(Carried::Floats { .. } | Carried::Ints { .. } | Carried::Extreme { .. })
            | Op::Store(_)
            | Op::StoreBits(_)
            | Op::Prefetch(_)
            | Op::Accumulate(_)
            | Op::Collect => false,
        }
    }
}

/// One instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Inst {
    pub op: Op,
    /// Bytes per lane: of the result, or of what is tested or stored.
    pub width: u8,
    pub a: Option<Id>,
    /// The operand that may lie in memory.
    pub b: Option<Id>,
    pub mask: Option<Id>,
    /// Of which group in its part of the body; 0 for what has no place in memory.
    pub group: u8,
}

impl Inst {
    pub(super) fn operands(&self) -> impl Iterator<Item = Id> {
        [self.a, self.b, self.mask].into_iter().flatten()
    }
}

/// A boolean of the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bool {
    All(bool),
    Mask(Id),
}

impl Bool {
    pub(super) fn known(self) -> Option<bool> {
        match self {
            Bool::All(value) => Some(value),
            Bool::Mask(_) => None,
        }
    }
}

/// The body under construction.
#[derive(Default)]
pub(super) struct Body {
    pub insts: Vec<Inst>,
    made: HashMap<Inst, Id>,
    pub places: Vec<Place>,
    pub tables: Vec<[u64; 8]>,
    /// The group that instructions belong to.
    group: u8,
    /// Where the last part begins.
    pub last_part: usize,
}

impl Body {
    pub(super) fn push(&mut self, inst: Inst) -> Id {
        if !inst.op.has_effect()
            && let Some(id) = self.made.get(&inst)
        {
            return *id;
        }
        let id = Id(self.insts.len() as u32);
        self.insts.push(inst);
        self.made.insert(inst, id);
        id
    }

    /// What follows is of this group, which is the last part's if `last`.
    pub(super) fn begin_group(&mut self, group: u8, last: bool) {
        self.group = group;
        if last {
            self.last_part = self.insts.len();
        }
        self.made.retain(|inst, _| matches!(inst.op, Op::Const(_) | Op::Table(_) | Op::Carried(_)));
    }

    pub(super) fn inst(&self, id: Id) -> &Inst {
        &self.insts[id.index()]
    }

    pub(super) fn ptr(&mut self, place: Place) -> Ptr {
        let known = self.places.iter().position(|p| *p == place);
        Ptr(known.unwrap_or_else(|| {
            self.places.push(place);
            self.places.len() - 1
        }) as u16)
    }

    // ---- vectors ------------------------------------------------------------------------------

    fn with(&mut self, op: Op, width: usize, a: Option<Id>, b: Option<Id>, mask: Option<Id>) -> Id {
        let group = match op {
            Op::FirstRow
            | Op::Load(_)
            | Op::LoadBits(_)
            | Op::Store(_)
            | Op::StoreBits(_)
            | Op::Prefetch(_) => self.group,
            // Only groups of the last part can be incomplete.
            Op::RowsLeft
            | Op::Const(_)
            | Op::Table(_)
            | Op::Bin(_)
            | Op::Un(_)
            | Op::Shift(..)
            | Op::Blend
            | Op::Keep
            | Op::Widen { .. }
            | Op::Narrow { .. }
            | Op::Convert(_)
            | Op::Test(_)
            | Op::MaskConst(_)
            | Op::MaskAnd
            | Op::MaskAndn
            | Op::MaskOr
            | Op::MaskNot
            | Op::Carried(_)
            | Op::Accumulate(_)
            | Op::Collect => 0,
        };
        self.push(Inst { op, width: width as u8, a, b, mask, group })
    }

    /// The low bits of `bits` in every lane. The width of its lanes is nobody's concern afterwards.
    pub(super) fn splat(&mut self, width: usize, bits: u64) -> Id {
        let mut bytes = [0; 8];
        for lane in bytes.chunks_exact_mut(width) {
            lane.copy_from_slice(&bits.to_le_bytes()[..width]);
        }
        self.with(Op::Const(u64::from_le_bytes(bytes)), 8, None, None, None)
    }

    /// The numbers from 0 to 7 in 64-bit lanes.
    pub(super) fn iota(&mut self) -> Id {
        self.table([0, 1, 2, 3, 4, 5, 6, 7])
    }

    pub(super) fn table(&mut self, words: [u64; 8]) -> Id {
        let known = self.tables.iter().position(|t| *t == words);
        let place = known.unwrap_or_else(|| {
            self.tables.push(words);
            self.tables.len() - 1
        });
        self.with(Op::Table(place as u16), 8, None, None, None)
    }

    pub(super) fn leaf(&mut self, op: Op, width: usize) -> Id {
        self.with(op, width, None, None, None)
    }

    pub(super) fn bin(&mut self, op: BinOp, width: usize, a: Id, b: Id) -> Id {
        self.with(Op::Bin(op), width, Some(a), Some(b), None)
    }

    pub(super) fn unary(&mut self, op: Op, width: usize, b: Id) -> Id {
        self.with(op, width, None, Some(b), None)
    }

    /// `mask ? a : b`.
    pub(super) fn blend(&mut self, mask: Bool, width: usize, a: Id, b: Id) -> Id {
        match mask {
            Bool::All(true) => a,
            Bool::All(false) => b,
            Bool::Mask(_) if a == b => a,
            Bool::Mask(m) => self.with(Op::Blend, width, Some(b), Some(a), Some(m)),
        }
    }

    /// `mask ? a : 0`.
    pub(super) fn keep(&mut self, mask: Bool, width: usize, a: Id) -> Id {
        match mask {
            Bool::All(true) => a,
            Bool::All(false) => self.splat(8, 0),
            Bool::Mask(m) => self.with(Op::Keep, width, None, Some(a), Some(m)),
        }
    }

    pub(super) fn test(&mut self, test: Test, width: usize, a: Id, b: Id) -> Bool {
        Bool::Mask(self.with(Op::Test(test), width, Some(a), Some(b), None))
    }

    /// An effect on `b`.
    pub(super) fn effect(&mut self, op: Op, width: usize, a: Option<Id>, b: Option<Id>, mask: Bool) {
        match mask {
            Bool::All(true) => self.with(op, width, a, b, None),
            Bool::All(false) => return,
            Bool::Mask(m) => self.with(op, width, a, b, Some(m)),
        };
    }

    // ---- booleans -----------------------------------------------------------------------------

    /// The boolean as a mask.
    pub(super) fn mask(&mut self, a: Bool) -> Id {
        match a {
            Bool::All(value) => self.leaf(Op::MaskConst(value), 1),
            Bool::Mask(id) => id,
        }
    }

    pub(super) fn bits(&mut self, ptr: Ptr) -> Bool {
        Bool::Mask(self.leaf(Op::LoadBits(ptr), 1))
    }

    pub(super) fn not(&mut self, a: Bool) -> Bool {
        let id = match a {
            Bool::All(value) => return Bool::All(!value),
            Bool::Mask(id) => id,
        };
        let inst = *self.inst(id);
        match inst.op {
            Op::MaskNot => inst.b.map_or(a, Bool::Mask),
            Op::Test(test) => Bool::Mask(self.push(Inst { op: Op::Test(test.negated()), ..inst })),
            _other => Bool::Mask(self.unary(Op::MaskNot, 1, id)),
        }
    }

    /// What a `MaskNot` complements.
    fn complemented(&self, id: Id) -> Option<Id> {
        let inst = self.inst(id);
        inst.b.filter(|_| inst.op == Op::MaskNot)
    }

    pub(super) fn and(&mut self, a: Bool, b: Bool) -> Bool {
        let (a, b) = match (a, b) {
            (Bool::All(true), other) | (other, Bool::All(true)) => return other,
            (Bool::All(false), _) | (_, Bool::All(false)) => return Bool::All(false),
            (Bool::Mask(a), Bool::Mask(b)) if a == b => return Bool::Mask(a),
            (Bool::Mask(a), Bool::Mask(b)) => (a, b),
        };
        let (op, a, b) = match (self.complemented(a), self.complemented(b)) {
            (_, Some(not_b)) => (Op::MaskAndn, not_b, a),
            (Some(not_a), None) => (Op::MaskAndn, not_a, b),
            (None, None) => (Op::MaskAnd, a, b),
        };
        Bool::Mask(self.with(op, 1, Some(a), Some(b), None))
    }

    pub(super) fn or(&mut self, a: Bool, b: Bool) -> Bool {
        match (a, b) {
            (Bool::All(false), other) | (other, Bool::All(false)) => other,
            (Bool::All(true), _) | (_, Bool::All(true)) => Bool::All(true),
            (Bool::Mask(a), Bool::Mask(b)) if a == b => Bool::Mask(a),
            (Bool::Mask(a), Bool::Mask(b)) => Bool::Mask(self.with(Op::MaskOr, 1, Some(a), Some(b), None)),
        }
    }

    /// `a` where it may be absent, which means true.
    pub(super) fn and_opt(&mut self, a: Option<Bool>, b: Option<Bool>) -> Option<Bool> {
        match (a, b) {
            (Some(a), Some(b)) => Some(self.and(a, b)),
            (a, b) => a.or(b),
        }
    }
}
