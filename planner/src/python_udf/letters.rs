//! Sets of the characters of a text, characters in order, and tables for `translate`.
//!
//! Such a set is kept as the text of its members, each once ([`Sym::Letters`]). Its order is nobody's business: it is
//! counted, asked for members, combined and sorted, but not gone through, as Python's own order is not defined.

use crate::python_udf::sym::{R, Seq, Sym};
use crate::python_udf::translate::{Translator, Truth};
use fuseline_codegen::function::{Base, Op, StrTest};
use ruff_python_ast::{CmpOp, Operator};
use std::rc::Rc;

/// Longer texts are sorted by Python: here it takes a step per pair of characters.
const SORTED: i64 = 256;

impl Translator {
    /// `set(text)`.
    pub fn letters(&mut self, text: &Sym) -> R<Sym> {
        let nothing = Sym::Str("".into());
        let kept = self.letters_where(text, nothing, &mut |_, _| Ok(Truth::Known(true)))?;
        Ok(Sym::Letters(Box::new(kept)))
    }

    /// The members of `start`, then the characters of a text that are not among them and for which `test` holds.
    fn letters_where(
        &mut self,
        text: &Sym,
        start: Sym,
        test: &mut dyn FnMut(&mut Translator, &Sym) -> R<Truth>,
    ) -> R<Sym> {
        let text = self.text(text)?;
        let all = Rc::new(Seq::Chars(text));
        self.fold(&all, start, &mut |t, kept, c| {
            let seen = t.contains(kept, c)?;
            let new = t.not(seen)?;
            let wanted = test(t, c)?;
            let taken = t.both(new, wanted)?;
            let (kept, c) = (kept.clone(), c.clone());
            t.choose(taken, &mut |t| t.binary(&kept, Operator::Add, &c), &mut |_| Ok(kept.clone()))
        })
    }

    /// `a & b`, `a | b`, `a - b`, `a ^ b` of two such sets.
    pub fn letters_combined(&mut self, a: &Sym, op: Operator, b: &Sym) -> R<Sym> {
        let nothing = || Sym::Str("".into());
        let (Some(a), Some(b)) = (members(a), members(b)) else {
            return self.no("a set of characters and one of something else are not compiled");
        };
        let (a, b) = (&a, &b);
        let kept = match op {
            Operator::BitOr => self.letters_where(b, a.clone(), &mut |_, _| Ok(Truth::Known(true)))?,
            Operator::BitAnd => self.letters_where(a, nothing(), &mut |t, c| t.contains(b, c))?,
            Operator::Sub => self.letters_where(a, nothing(), &mut |t, c| {
                let other = t.contains(b, c)?;
                t.not(other)
            })?,
            _ => return self.no(format!("`{}` of two sets is not compiled", op.as_str())),
        };
        Ok(Sym::Letters(Box::new(kept)))
    }

    /// `item in set(text)`.
    pub fn among_letters(&mut self, letters: &Sym, item: &Sym) -> R<Truth> {
        if item.base() != Some(Base::Str) || item.optional() {
            return self.no("a set of characters that holds something else is not compiled");
        }
        let length = self.call(Op::Len, &[item])?;
        let single = self.equal(&length, &Sym::Int(1))?;
        let part = self.call(Op::Test(StrTest::Contains), &[letters, item])?;
        let part = self.truth(&part)?;
        self.both(single, part)
    }

    /// The characters of a text in order, as a text: each goes behind those that are not greater.
    pub fn in_order(&mut self, text: &Sym) -> R<Sym> {
        let length = self.call(Op::Len, &[text])?;
        if let Truth::Asked(few) = self.compare(&length, CmpOp::LtE, &Sym::Int(SORTED))? {
            self.demand(few)?;
        }
        let all = Rc::new(Seq::Chars(text.clone()));
        self.fold(&all, Sym::Str("".into()), &mut |t, sorted, c| {
            let (sorted, c) = (sorted.clone(), c.clone());
            let before = Rc::new(Seq::Chars(sorted.clone()));
            let place = t.fold(&before, Sym::Int(0), &mut |t, n, x| {
                let not_greater = t.compare(x, CmpOp::LtE, &c)?;
                let not_greater = t.truth_sym(not_greater)?;
                let one = t.int(&not_greater)?;
                t.binary(n, Operator::Add, &one)
            })?;
            let front = t.call(Op::Slice, &[&sorted, &Sym::Int(0), &place])?;
            let back = t.call(Op::Slice, &[&sorted, &place, &Sym::Int(i64::MAX)])?;
            let front = t.binary(&front, Operator::Add, &c)?;
            t.binary(&front, Operator::Add, &back)
        })
    }

    /// `str.maketrans(from, to, deleted)` of constants: the dict that it returns.
    pub fn make_trans(&mut self, from: &str, to: &str, deleted: &str) -> R<Sym> {
        if from.chars().count() != to.chars().count() {
            // ValueError.
            return self.never(Base::Int);
        }
        let point = |c: char| Sym::Int(i64::from(u32::from(c)));
        let pairs = from.chars().zip(to.chars()).map(|(a, b)| (point(a), point(b)));
        let gone = deleted.chars().map(|c| (point(c), Sym::None));
        let mut items: Vec<(Sym, Sym)> = vec![];
        for (key, value) in pairs.chain(gone) {
            match items.iter_mut().find(|(k, _)| k.same(&key)) {
                Some(item) => item.1 = value,
                None => items.push((key, value)),
            }
        }
        Ok(Sym::Dict(items.into()))
    }

    /// `text.translate(table)` of a constant table.
    pub fn translated(&mut self, text: &Sym, table: &[(Sym, Sym)]) -> R<Sym> {
        let mut items = vec![];
        for (key, value) in table {
            let Sym::Int(point) = key else {
                return self.no("'.translate' by a table with other keys than ints is not compiled");
            };
            let character = |point: i64| u32::try_from(point).ok().and_then(char::from_u32);
            let new: Option<Rc<str>> = match value {
                Sym::None => Some("".into()),
                Sym::Str(text) => Some(text.clone()),
                Sym::Int(point) => character(*point).map(|c| c.to_string().into()),
                _ => None,
            };
            let Some(new) = new else {
                return self.no("'.translate' by a table with such values is not compiled");
            };
            // No other key is any character's.
            if let Some(c) = character(*point) {
                items.push((Sym::Str(c.to_string().into()), Sym::Str(new)));
            }
        }
        let table = Sym::Dict(items.clone().into());
        let all = Rc::new(Seq::Chars(text.clone()));
        self.fold(&all, Sym::Str("".into()), &mut |t, done, c| {
            let known = t.contains(&table, c)?;
            let (c, done) = (c.clone(), done.clone());
            let new = t.choose(known, &mut |t| t.looked_up(&items, &c), &mut |_| Ok(c.clone()))?;
            t.binary(&done, Operator::Add, &new)
        })
    }
}

/// The text of a set's members, if all are characters.
fn members(set: &Sym) -> Option<Sym> {
    match set {
        Sym::Letters(text) => Some((**text).clone()),
        Sym::Set(items) => {
            let mut text = String::new();
            for item in items.iter() {
                match item {
                    Sym::Str(s) if s.chars().count() == 1 && !text.contains(&**s) => text.push_str(s),
                    Sym::Str(s) if s.chars().count() == 1 => {}
                    _ => return None,
                }
            }
            Some(Sym::Str(text.into()))
        }
        _ => None,
    }
}
