//! Booleans inside a lane loop.
//!
//! The 8 booleans of a group exist as masks in lanes of some width (what compares give and selects
//! take) or as 8 bits (what bitmaps hold). Which one is cheapest depends on who asks, so logic is kept
//! as a small expression graph, and a form is made when somebody needs it, once.

use super::lanes::{Lanes, Vecs};
use cranelift::prelude::*;

/// A boolean in [`Bools`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct BoolId(u32);

/// How the booleans of a group are represented.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Form {
    /// An `i64` whose low 8 bits are the rows; the others are zero.
    Bits,
    W8,
    W16,
    W32,
    W64,
}

impl Form {
    pub(super) fn of_width(bytes: usize) -> Form {
        match bytes {
            1 => Form::W8,
            2 => Form::W16,
            4 => Form::W32,
            _eight => Form::W64,
        }
    }

    pub(super) fn lane_type(self) -> Type {
        match self {
            Form::Bits => types::I64,
            Form::W8 => types::I8X16,
            Form::W16 => types::I16X8,
            Form::W32 => types::I32X4,
            Form::W64 => types::I64X2,
        }
    }

    /// Vectors per group.
    pub(super) fn vectors(self) -> usize {
        match self {
            Form::Bits | Form::W8 | Form::W16 => 1,
            Form::W32 => 2,
            Form::W64 => 4,
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Node {
    Const(bool),
    /// The rows of the group that exist.
    Live,
    Masks(Form, Vecs),
    Bits(Value),
    /// Where 64-bit lanes equal a number; both have nothing but the sign and the low 15 bits.
    Equal(Vecs, u64),
    Not(BoolId),
    And(BoolId, BoolId),
    Or(BoolId, BoolId),
}

/// The booleans of one lane loop.
#[derive(Default)]
pub(super) struct Bools {
    nodes: Vec<Node>,
    /// Of each node the form in which it costs least, `None` where all cost the same. Found when the
    /// node is made: nodes are shared, and walking them anew is exponential in nested conditions.
    natural: Vec<Option<Form>>,
    made: Vec<[Option<Vecs>; 5]>,
}

impl Bools {
    fn push(&mut self, node: Node) -> BoolId {
        let natural = match node {
            Node::Const(_) | Node::Live => None,
            Node::Masks(form, _) => Some(form),
            Node::Bits(_) => Some(Form::Bits),
            // Packed to half the width before the comparison.
            Node::Equal(..) => Some(Form::W32),
            Node::Not(a) => self.natural(a),
            // Bits sort below all masks and wider masks above narrower ones.
            Node::And(a, b) | Node::Or(a, b) => self.natural(a).max(self.natural(b)),
        };
        self.natural.push(natural);
        self.nodes.push(node);
        self.made.push([None; 5]);
        BoolId(self.nodes.len() as u32 - 1)
    }

    pub(super) fn constant(&mut self, value: bool) -> BoolId {
        self.push(Node::Const(value))
    }

    pub(super) fn live(&mut self) -> BoolId {
        self.push(Node::Live)
    }

    pub(super) fn masks(&mut self, vecs: Vecs) -> BoolId {
        let form = Form::of_width(vecs.ty.lane_bits() as usize / 8);
        self.push(Node::Masks(form, vecs))
    }

    pub(super) fn bits(&mut self, bits: Value) -> BoolId {
        self.push(Node::Bits(bits))
    }

    /// Where `lanes` (64 bits wide, with no bits set but the sign and the low 15) equal `wanted`.
    pub(super) fn equal(&mut self, lanes: Vecs, wanted: u64) -> BoolId {
        debug_assert_eq!(wanted & !(1 << 63 | 0x7FFF), 0);
        self.push(Node::Equal(lanes, wanted))
    }

    pub(super) fn known(&self, id: BoolId) -> Option<bool> {
        match self.nodes[id.0 as usize] {
            Node::Const(value) => Some(value),
            Node::Live
            | Node::Masks(..)
            | Node::Bits(_)
            | Node::Equal(..)
            | Node::Not(_)
            | Node::And(..)
            | Node::Or(..) => None,
        }
    }

    pub(super) fn not(&mut self, a: BoolId) -> BoolId {
        match self.nodes[a.0 as usize] {
            Node::Const(value) => self.constant(!value),
            Node::Not(inner) => inner,
            Node::Live | Node::Masks(..) | Node::Bits(_) | Node::Equal(..) | Node::And(..) | Node::Or(..) => {
                self.push(Node::Not(a))
            }
        }
    }

    pub(super) fn and(&mut self, a: BoolId, b: BoolId) -> BoolId {
        match (self.known(a), self.known(b)) {
            (Some(true), _) => b,
            (_, Some(true)) => a,
            (Some(false), _) => a,
            (_, Some(false)) => b,
            (None, None) if a == b => a,
            (None, None) => self.push(Node::And(a, b)),
        }
    }

    pub(super) fn or(&mut self, a: BoolId, b: BoolId) -> BoolId {
        match (self.known(a), self.known(b)) {
            (Some(false), _) => b,
            (_, Some(false)) => a,
            (Some(true), _) => a,
            (_, Some(true)) => b,
            (None, None) if a == b => a,
            (None, None) => self.push(Node::Or(a, b)),
        }
    }

    /// `a` where it may be absent, which means true.
    pub(super) fn and_opt(&mut self, a: Option<BoolId>, b: Option<BoolId>) -> Option<BoolId> {
        match (a, b) {
            (Some(a), Some(b)) => Some(self.and(a, b)),
            (a, b) => a.or(b),
        }
    }

    /// The form in which the value costs least; `None` where all cost the same.
    pub(super) fn natural(&self, id: BoolId) -> Option<Form> {
        self.natural[id.0 as usize]
    }

    /// Emits (once) the value in the given form.
    pub(super) fn make(lanes: &mut Lanes<'_, '_, '_>, id: BoolId, form: Form) -> Vecs {
        let at = id.0 as usize;
        if let Some(made) = lanes.bools.made[at][form as usize] {
            return made;
        }
        let made = match lanes.bools.nodes[at] {
            Node::Const(value) => lanes.all(form, value),
            Node::Live => lanes.live(form),
            Node::Masks(own, vecs) => lanes.convert(vecs, own, form),
            Node::Bits(bits) => lanes.convert(Vecs::one(bits, types::I64), Form::Bits, form),
            Node::Equal(vecs, wanted) => lanes.equal_lanes(vecs, wanted, form),
            Node::Not(a) => {
                let own = Bools::meet(lanes, a, a, form);
                let a = Bools::make(lanes, a, own);
                let made = lanes.complement(a, own);
                lanes.convert(made, own, form)
            }
            Node::And(a, b) => {
                let own = Bools::meet(lanes, a, b, form);
                let made = if let Node::Not(inner) = lanes.bools.nodes[b.0 as usize] {
                    let a = Bools::make(lanes, a, own);
                    let inner = Bools::make(lanes, inner, own);
                    lanes.map2(a, inner, |b, x, y| b.ins().band_not(x, y))
                } else {
                    let a = Bools::make(lanes, a, own);
                    let b = Bools::make(lanes, b, own);
                    lanes.map2(a, b, |b, x, y| b.ins().band(x, y))
                };
                lanes.convert(made, own, form)
            }
            Node::Or(a, b) => {
                let own = Bools::meet(lanes, a, b, form);
                let a = Bools::make(lanes, a, own);
                let b = Bools::make(lanes, b, own);
                let made = lanes.map2(a, b, |b, x, y| b.ins().bor(x, y));
                lanes.convert(made, own, form)
            }
        };
        lanes.bools.made[at][form as usize] = Some(made);
        made
    }

    /// The form to combine two values in when `form` is wanted: their own if they agree, so that one
    /// conversion follows instead of two before.
    fn meet(lanes: &Lanes<'_, '_, '_>, a: BoolId, b: BoolId, form: Form) -> Form {
        match (lanes.bools.natural(a), lanes.bools.natural(b)) {
            (Some(a), Some(b)) if a == b => a,
            (Some(one), None) | (None, Some(one)) => one,
            // Towards bits, masks are combined in the narrower width.
            (Some(a), Some(b)) if form == Form::Bits && a != Form::Bits && b != Form::Bits => a.min(b),
            (Some(_), Some(_)) | (None, None) => form,
        }
    }
}
