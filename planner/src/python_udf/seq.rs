//! Sequences that exist only while the source is read: their lengths, items, and what consumes them whole.

use crate::python_udf::build::may_bail;
use crate::python_udf::compare::constant;
use crate::python_udf::sym::{R, Seq, Sym};
use crate::python_udf::translate::{Flow, Translator, Truth};
use fuseline_codegen::function::{Base, Op, Table, Type};
use ruff_python_ast::{CmpOp, Operator};
use std::collections::BTreeSet;
use std::rc::Rc;

/// Entries up to this many are told apart one by one.
const PICKED: usize = 32;

/// Whether an element is what is looked for, and what its finding gives.
pub type Test<'t> = &'t mut dyn FnMut(&mut Translator, &Sym) -> R<(Truth, Sym)>;

impl Translator {
    /// What a value is when it is iterated or taken apart.
    pub fn sequence(&mut self, sym: &Sym) -> R<Rc<Seq>> {
        match sym {
            Sym::Seq(seq) => Ok(seq.clone()),
            Sym::Bad(no) => Err((**no).clone()),
            Sym::Str(_) | Sym::Val(..) if sym.base() == Some(Base::Str) => {
                Ok(Rc::new(Seq::Chars(sym.clone())))
            }
            Sym::Dict(items) => Ok(Rc::new(Seq::Items(items.iter().map(|(k, _)| k.clone()).collect(), true))),
            Sym::Set(_) | Sym::Letters(_) => {
                self.no("the order of a set is not defined, so going through one is not compiled")
            }
            other => self.no(format!("going through {} is not compiled", other.describe())),
        }
    }

    /// The length, if it is known now.
    pub fn static_len(&self, seq: &Seq) -> Option<usize> {
        match seq {
            Seq::Items(items, _) => Some(items.len()),
            Seq::Parts { .. } => Some(3),
            Seq::Chars(Sym::Str(text)) => Some(text.chars().count()),
            Seq::Chars(_) | Seq::Split { .. } | Seq::Words(_) => None,
            Seq::Range { start: Sym::Int(a), stop: Sym::Int(b), step } => {
                let (a, b, step) = (i128::from(*a), i128::from(*b), i128::from(*step));
                let n = if step > 0 {
                    (b - a + step - 1).div_euclid(step)
                } else {
                    (a - b - step - 1).div_euclid(-step)
                };
                usize::try_from(n.max(0)).ok()
            }
            Seq::Range { .. } | Seq::Spaced { .. } => None,
            Seq::Mapped { over, how, .. } if how.clause.ifs.is_empty() => self.static_len(over),
            Seq::Mapped { .. } => None,
            Seq::Applied { over, .. } | Seq::Enumerate(over, _) | Seq::Reversed(over) => {
                self.static_len(over)
            }
            Seq::Zip(all) => all
                .iter()
                .map(|s| self.static_len(s))
                .min_by_key(|n| n.unwrap_or(usize::MAX))
                .flatten()
                .filter(|_| all.iter().all(|s| self.static_len(s).is_some())),
            Seq::Slice { of, skip, cut } => {
                Some(self.static_len(of)?.saturating_sub(*skip as usize).saturating_sub(*cut as usize))
            }
        }
    }

    pub fn seq_len(&mut self, seq: &Rc<Seq>) -> R<Sym> {
        if let Some(length) = self.static_len(seq) {
            return Ok(Sym::Int(length as i64));
        }
        match &**seq {
            Seq::Chars(text) => self.call(Op::Len, &[text]),
            Seq::Split { text, sep, most } => self.call(Op::SplitCount, &[text, sep, most]),
            Seq::Words(text) => self.call(Op::WordCount, &[text]),
            Seq::Spaced { count, .. } => Ok(count.clone()),
            Seq::Range { start, stop, step: 1 } => {
                let n = self.binary(stop, Operator::Sub, start)?;
                self.extreme(&n, &Sym::Int(0), false)
            }
            Seq::Mapped { over, how, .. } if how.clause.ifs.is_empty() => self.seq_len(over),
            Seq::Mapped { .. } => {
                self.fold(seq, Sym::Int(0), &mut |t, n, _| t.binary(n, Operator::Add, &Sym::Int(1)))
            }
            Seq::Applied { over, .. } | Seq::Enumerate(over, _) | Seq::Reversed(over) => self.seq_len(over),
            Seq::Zip(all) => {
                let mut least: Option<Sym> = None;
                for seq in all {
                    let n = self.seq_len(seq)?;
                    least = Some(match least {
                        Some(least) => self.extreme(&least, &n, true)?,
                        None => n,
                    });
                }
                Ok(least.unwrap_or(Sym::Int(0)))
            }
            Seq::Slice { of, skip, cut } => {
                let n = self.seq_len(of)?;
                let n = self.binary(&n, Operator::Sub, &Sym::Int(skip + cut))?;
                self.extreme(&n, &Sym::Int(0), false)
            }
            Seq::Items(..) | Seq::Parts { .. } | Seq::Range { .. } => {
                self.no("the length of this sequence is not compiled")
            }
        }
    }

    /// `seq[index]`, which bails where that raises.
    pub fn seq_item(&mut self, seq: &Rc<Seq>, index: &Sym) -> R<Sym> {
        if let (Some(length), Sym::Int(i)) = (self.static_len(seq), index) {
            let at = if *i < 0 { i + length as i64 } else { *i };
            if at < 0 || at >= length as i64 {
                // IndexError.
                return self.never(Base::Int);
            }
            return self.seq_at(seq, &Sym::Int(at));
        }
        match &**seq {
            Seq::Chars(_) | Seq::Split { .. } | Seq::Words(_) => self.seq_at(seq, index),
            _ => {
                let length = self.seq_len(seq)?;
                let at = match index {
                    Sym::Int(i) if *i >= 0 => index.clone(),
                    _ => {
                        let negative = self.compare(index, CmpOp::Lt, &Sym::Int(0))?;
                        let (i, n) = (index.clone(), length.clone());
                        self.choose(negative, &mut |t| t.binary(&i, Operator::Add, &n), &mut |_| {
                            Ok(index.clone())
                        })?
                    }
                };
                let low = self.compare(&at, CmpOp::GtE, &Sym::Int(0))?;
                let high = self.compare(&at, CmpOp::Lt, &length)?;
                if let Truth::Asked(inside) = self.both(low, high)? {
                    self.demand(inside)?;
                }
                self.seq_at(seq, &at)
            }
        }
    }

    /// The item at an index that is inside (texts and splits take negative ones and check too).
    pub fn seq_at(&mut self, seq: &Rc<Seq>, at: &Sym) -> R<Sym> {
        match &**seq {
            Seq::Items(items, _) => match at {
                Sym::Int(i) => match items.get(*i as usize) {
                    Some(item) => Ok(item.clone()),
                    None => self.never(Base::Int),
                },
                _ => {
                    let keyed: Vec<(Sym, Sym)> =
                        items.iter().enumerate().map(|(i, s)| (Sym::Int(i as i64), s.clone())).collect();
                    self.looked_up(&keyed, at)
                }
            },
            Seq::Chars(Sym::Str(text)) if matches!(at, Sym::Int(i) if *i >= 0) => {
                let Sym::Int(i) = at else { return self.never(Base::Str) };
                match text.chars().nth(*i as usize) {
                    Some(c) => Ok(Sym::Str(c.to_string().into())),
                    None => self.never(Base::Str),
                }
            }
            Seq::Chars(text) => self.call(Op::CharAt, &[text, at]),
            Seq::Split { text, sep, most } => self.call(Op::SplitAt, &[text, sep, most, at]),
            Seq::Words(text) => self.call(Op::WordAt, &[text, at]),
            Seq::Parts { text, sep, right } => {
                self.call(if *right { Op::RPartitionAt } else { Op::PartitionAt }, &[text, sep, at])
            }
            Seq::Range { start, step, .. } => {
                let by = self.binary(at, Operator::Mult, &Sym::Int(*step))?;
                self.binary(start, Operator::Add, &by)
            }
            Seq::Spaced { start, step, .. } => {
                let by = self.binary(at, Operator::Mult, step)?;
                self.binary(start, Operator::Add, &by)
            }
            Seq::Mapped { over, how, env, .. } => {
                if !how.clause.ifs.is_empty() {
                    return self.no("an item of a filtered list is not compiled");
                }
                let item = self.seq_at(over, at)?;
                let outer = std::mem::replace(&mut self.env, env.clone());
                let value = self.assign(&how.clause.target, &item).and_then(|()| self.expr(&how.element));
                self.env = outer;
                value
            }
            Seq::Applied { over, function } => {
                let item = self.seq_at(over, at)?;
                self.apply(function, vec![item], vec![])
            }
            Seq::Enumerate(over, start) => {
                let item = self.seq_at(over, at)?;
                let number = self.binary(start, Operator::Add, at)?;
                Ok(Sym::Seq(Rc::new(Seq::Items(vec![number, item], true))))
            }
            Seq::Zip(all) => {
                let items = all.iter().map(|s| self.seq_at(s, at)).collect::<R<Vec<_>>>()?;
                Ok(Sym::Seq(Rc::new(Seq::Items(items, true))))
            }
            Seq::Reversed(of) => {
                let length = self.seq_len(of)?;
                let last = self.binary(&length, Operator::Sub, &Sym::Int(1))?;
                let at = self.binary(&last, Operator::Sub, at)?;
                self.seq_at(of, &at)
            }
            Seq::Slice { of, skip, .. } => {
                let at = self.binary(at, Operator::Add, &Sym::Int(*skip))?;
                self.seq_at(of, &at)
            }
        }
    }

    /// The sequence with its texts as values of the block that we are in, for a loop to use.
    pub fn hoisted(&mut self, seq: &Rc<Seq>) -> R<Rc<Seq>> {
        let value = |t: &mut Translator, s: &Sym| {
            let (value, ty) = t.value(s)?;
            Ok(Sym::Val(value, ty))
        };
        Ok(Rc::new(match &**seq {
            Seq::Chars(text) => Seq::Chars(value(self, text)?),
            Seq::Split { text, sep, most } => {
                Seq::Split { text: value(self, text)?, sep: value(self, sep)?, most: value(self, most)? }
            }
            Seq::Words(text) => Seq::Words(value(self, text)?),
            _ => return Ok(seq.clone()),
        }))
    }

    /// The value of a constant dict at a key that is in it; bails at others.
    pub fn looked_up(&mut self, items: &[(Sym, Sym)], key: &Sym) -> R<Sym> {
        if key.is_constant() {
            for (k, v) in items {
                if let Truth::Known(true) = self.equal(key, k)? {
                    return Ok(v.clone());
                }
            }
            return self.never(Base::Int);
        }
        let keys = match key.base() {
            Some(base @ (Base::Int | Base::Str)) => base,
            _ => {
                // A tuple without floats, of which NaN is found by identity.
                if let Sym::Seq(seq) = key
                    && let Seq::Items(parts, true) = &**seq
                    && parts.iter().all(|p| p.base().is_some_and(|b| b != Base::Float))
                    && items.len() <= PICKED
                {
                    return self.picked(items, key);
                }
                return self.no("looking up a key that is neither an int nor a str is not compiled");
            }
        };
        let key = self.some(key)?;
        // Keys of other types are never found, but for numbers that are equal.
        if items.iter().any(|(k, _)| keys == Base::Int && matches!(k.base(), Some(Base::Float | Base::Bool)))
        {
            return self.no("a dict with keys of several number types is not compiled");
        }
        let items: Vec<&(Sym, Sym)> = items.iter().filter(|(k, _)| k.base() == Some(keys)).collect();
        let Some((_, first)) = items.first() else { return self.never(Base::Int) };
        // Tuples: a table per place.
        if let Sym::Seq(seq) = first
            && let Seq::Items(parts, tuple) = &**seq
        {
            let mut columns = Vec::with_capacity(parts.len());
            for place in 0..parts.len() {
                let mut column = vec![];
                for (k, v) in &items {
                    let Sym::Seq(seq) = v else { return self.no("a dict of unlike values is not compiled") };
                    match &**seq {
                        Seq::Items(other, _) if other.len() == parts.len() => {
                            column.push((k.clone(), other[place].clone()));
                        }
                        _ => return self.no("a dict of unlike values is not compiled"),
                    }
                }
                columns.push(self.looked_up(&column, &key)?);
            }
            return Ok(Sym::Seq(Rc::new(Seq::Items(columns, *tuple))));
        }
        // Values that are computed are told apart one by one.
        if items.len() <= PICKED && items.iter().any(|(_, v)| matches!(v, Sym::Val(..) | Sym::Num(_))) {
            let items: Vec<(Sym, Sym)> = items.into_iter().cloned().collect();
            return self.picked(&items, &key);
        }
        let has = |base: Base| items.iter().any(|(_, v)| v.base() == Some(base));
        let all = [Base::Bool, Base::Int, Base::Float, Base::Str, Base::Date, Base::DateTime];
        let bases: Vec<Base> = all.into_iter().filter(|b| has(*b)).collect();
        let optional = items.iter().any(|(_, v)| matches!(v, Sym::None));
        let mixed = bases == [Base::Int, Base::Float];
        let base = match bases.as_slice() {
            [base] => *base,
            _ if mixed && !optional => Base::Float,
            _ => return self.no("a dict of unlike values is not compiled"),
        };
        let mut entries = vec![];
        for (k, v) in &items {
            let value = match v {
                Sym::None => None,
                Sym::Int(v) if mixed && v.unsigned_abs() <= 1 << 53 => constant(&Sym::Float(*v as f64)),
                Sym::Int(_) if mixed => return self.no("a dict of unlike values is not compiled"),
                v => match constant(v) {
                    Some(c) => Some(c),
                    None => return self.no(format!("a dict of {} is not compiled", v.describe())),
                },
            };
            if let Some(key) = constant(k) {
                entries.push((key, value));
            }
        }
        let values = if optional { Type::or_none(base) } else { Type::of(base) };
        let table = self.build.table(Table { keys, values, entries });
        let found = self.call(Op::Lookup(table), &[&key])?;
        Ok(match found {
            Sym::Val(value, _) if mixed => Sym::Num(value),
            other => other,
        })
    }

    /// The value of the first key that is equal; bails if there is none.
    fn picked(&mut self, items: &[(Sym, Sym)], key: &Sym) -> R<Sym> {
        let [(first, value), rest @ ..] = items else { return self.never(Base::Int) };
        let equal = self.equal(key, first)?;
        if rest.is_empty() {
            return match equal {
                Truth::Known(true) => Ok(value.clone()),
                Truth::Known(false) => self.never(value.base().unwrap_or(Base::Int)),
                Truth::Asked(equal) => {
                    self.demand(equal)?;
                    Ok(value.clone())
                }
            };
        }
        self.choose(equal, &mut |_| Ok(value.clone()), &mut |t| t.picked(rest, key))
    }

    pub fn any_equal(&mut self, seq: &Rc<Seq>, item: &Sym) -> R<Truth> {
        let item = item.clone();
        let found = self.search(seq, Sym::Bool(false), &mut |t, x| {
            let equal = t.equal(x, &item)?;
            Ok((equal, Sym::Bool(true)))
        })?;
        self.truth(&found)
    }

    /// Goes through what a comprehension yields.
    fn visit(
        &mut self,
        seq: &Rc<Seq>,
        names: &BTreeSet<Rc<str>>,
        breaks: bool,
        each: &mut dyn FnMut(&mut Translator, &Sym) -> R<Flow>,
    ) -> R<Flow> {
        let Seq::Mapped { over, how, env, .. } = &**seq else {
            return self.over(seq, names, breaks, false, &[], each);
        };
        self.over(over, names, breaks, false, &[], &mut |t, item| {
            // The comprehension's scope: the names it saw, and its own.
            let outer = std::mem::replace(&mut t.env, env.clone());
            t.assign(&how.clause.target, item)?;
            let mut holds = Sym::Bool(true);
            for test in &how.clause.ifs {
                let truth = t.truth(&holds)?;
                holds = t.choose(
                    truth,
                    &mut |t| {
                        let truth = t.cond(test)?;
                        t.truth_sym(truth)
                    },
                    &mut |_| Ok(Sym::Bool(false)),
                )?;
            }
            let inner = std::mem::replace(&mut t.env, outer);
            let truth = t.truth(&holds)?;
            let cond = match truth {
                Truth::Known(false) => return Ok(Flow::Falls),
                Truth::Known(true) => None,
                Truth::Asked(cond) => Some(cond),
            };
            let before = t.env.clone();
            t.build.open();
            let read = (|| {
                let outer = std::mem::replace(&mut t.env, inner.clone());
                if let Some(first) = how.clause.ifs.first() {
                    t.narrow(first, true)?;
                }
                let element = t.expr(&how.element);
                t.env = outer;
                each(t, &element?)
            })();
            let (flow, items) = t.closed(read)?;
            let Some(cond) = cond else {
                t.build.splice(items);
                return Ok(flow);
            };
            let env = t.env.clone();
            if flow == Flow::Ends {
                t.build.push(crate::python_udf::build::Item::If { cond, then: items, otherwise: vec![] });
                t.env = before;
                return Ok(Flow::Falls);
            }
            let (then, a) = t.with_hole(items);
            let (otherwise, b) = t.with_hole(vec![]);
            t.build.push(crate::python_udf::build::Item::If { cond, then, otherwise });
            t.merge(&before, vec![(env, a), (before.clone(), b)])?;
            Ok(Flow::Falls)
        })
    }

    /// One value out of all items.
    pub fn fold(
        &mut self,
        seq: &Rc<Seq>,
        start: Sym,
        step: &mut dyn FnMut(&mut Translator, &Sym, &Sym) -> R<Sym>,
    ) -> R<Sym> {
        let name = self.fresh("sum");
        self.env.insert(name.clone(), start);
        let names = BTreeSet::from([name.clone()]);
        self.visit(seq, &names, false, &mut |t, item| {
            let old = t.name(&name)?;
            let new = step(t, &old, item)?;
            t.env.insert(name.clone(), new);
            Ok(Flow::Falls)
        })?;
        let result = self.name(&name)?;
        self.env.remove(&name);
        Ok(result)
    }

    /// The first thing found, or what stands for none.
    pub fn search(&mut self, seq: &Rc<Seq>, none: Sym, test: Test<'_>) -> R<Sym> {
        // A list was made whole before it is searched.
        if let Seq::Mapped { generator: false, .. } = &**seq {
            self.demand_quiet(seq)?;
        }
        let name = self.fresh("found");
        self.env.insert(name.clone(), none);
        let names = BTreeSet::from([name.clone()]);
        self.visit(seq, &names, true, &mut |t, item| {
            let (truth, value) = test(t, item)?;
            let cond = match truth {
                Truth::Known(false) => return Ok(Flow::Falls),
                Truth::Known(true) => {
                    t.env.insert(name.clone(), value);
                    return t.leave_loop();
                }
                Truth::Asked(cond) => cond,
            };
            let before = t.env.clone();
            t.build.open();
            t.env.insert(name.clone(), value);
            let left = t.leave_loop();
            let (_, then) = t.closed(left)?;
            t.env = before;
            t.build.push(crate::python_udf::build::Item::If { cond, then, otherwise: vec![] });
            Ok(Flow::Falls)
        })?;
        let result = self.name(&name)?;
        self.env.remove(&name);
        Ok(result)
    }

    /// A list of which not every item may be computed: that must not raise.
    pub fn demand_quiet(&mut self, seq: &Rc<Seq>) -> R<()> {
        self.build.open();
        let read = self.seq_at(seq, &Sym::Int(0));
        let (_, items) = self.closed(read)?;
        if may_bail(&items) {
            return self.no("a list whose items may raise is compiled only where all of it is used");
        }
        Ok(())
    }
}
