//! Where paths meet: variables.
//!
//! A name is bound to what was assigned to it last. After an `if`, a name that its branches bound differently is kept in
//! a local of the IR (a *slot*), which each branch sets at its end. A loop keeps the names that its body assigns
//! in slots from the start; what types they have is found by reading the body until nothing changes. Bindings that
//! do not meet in one type make the name bad: whoever uses it then does not compile.

use crate::python_udf::build::Hole;
use crate::python_udf::numpy::array::Arr;
use crate::python_udf::numpy::dtype::DType;
use crate::python_udf::sym::{Env, R, Seq, Sym};
use crate::python_udf::translate::{Returning, Translator};
use fuseline_codegen::function::{Base, Local, Op, Stmt, Type};
use std::collections::BTreeSet;
use std::rc::Rc;

/// What a variable can hold.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    NoneOnly,
    Scalar(Type),
    /// See [`Sym::Num`].
    Num,
    Delta,
    /// The type of its elements, and whether it is a scalar.
    Array(DType, bool),
    Items(Vec<Kind>, bool),
    Split(Box<Kind>, Box<Kind>, Box<Kind>),
    Words(Box<Kind>),
    /// Nothing; why not.
    Bad(String),
}

/// Where a variable is kept.
#[derive(Clone, Debug)]
pub enum Slot {
    None,
    Scalar(Local, Type),
    Num(Local),
    Delta(Local),
    Array(Local, DType, bool),
    Items(Vec<Slot>, bool),
    Split(Box<(Slot, Slot, Slot)>),
    Words(Box<Slot>),
    Bad(String),
}

impl Kind {
    pub fn of(sym: &Sym) -> Kind {
        match sym {
            Sym::None => Kind::NoneOnly,
            Sym::Num(_) => Kind::Num,
            Sym::Delta(_) => Kind::Delta,
            Sym::Array(a) => Kind::Array(a.dtype, a.scalar),
            Sym::Val(_, ty) => Kind::Scalar(*ty),
            Sym::Bool(_) | Sym::Int(_) | Sym::Float(_) | Sym::Str(_) | Sym::Date(_) | Sym::DateTime(_) => {
                sym.base().map_or(Kind::NoneOnly, |base| Kind::Scalar(Type::of(base)))
            }
            Sym::Seq(seq) => match &**seq {
                Seq::Items(items, tuple) => Kind::Items(items.iter().map(Kind::of).collect(), *tuple),
                Seq::Split { text, sep, most } => {
                    Kind::Split(Box::new(Kind::of(text)), Box::new(Kind::of(sep)), Box::new(Kind::of(most)))
                }
                Seq::Words(text) => Kind::Words(Box::new(Kind::of(text))),
                Seq::Chars(_)
                | Seq::Parts { .. }
                | Seq::Range { .. }
                | Seq::Spaced { .. }
                | Seq::Mapped { .. }
                | Seq::Applied { .. }
                | Seq::Enumerate(..)
                | Seq::Zip(_)
                | Seq::Reversed(_)
                | Seq::Slice { .. } => Kind::Bad(format!("is {} that depends on the path", sym.describe())),
            },
            Sym::Bad(no) => Kind::Bad(no.text.clone()),
            Sym::Set(_)
            | Sym::Letters(_)
            | Sym::Dict(_)
            | Sym::Module(..)
            | Sym::Known(_)
            | Sym::Function(_)
            | Sym::Local(_)
            | Sym::Method(..)
            | Sym::Other(_) => Kind::Bad(format!("is {} that depends on the path", sym.describe())),
        }
    }

    pub fn join(self, other: Kind) -> Kind {
        if self == other {
            return self;
        }
        let words = |kind: &Kind| match kind {
            Kind::NoneOnly => "None".to_owned(),
            Kind::Scalar(ty) => match ty.base {
                Base::Int => "an int".to_owned(),
                Base::Bool | Base::Float | Base::Str | Base::Date | Base::DateTime => {
                    format!("a {}", Type::of(ty.base))
                }
            },
            Kind::Num => "a number".to_owned(),
            Kind::Delta => "a timedelta".to_owned(),
            Kind::Array(dtype, _) => format!("an array of {}", dtype.name()),
            Kind::Items(..) => "a tuple or list".to_owned(),
            Kind::Split(..) | Kind::Words(_) => "a list".to_owned(),
            Kind::Bad(_) => "unknown".to_owned(),
        };
        let conflict = |a: &Kind, b: &Kind| Kind::Bad(format!("is {} here and {} there", words(a), words(b)));
        match (&self, &other) {
            (Kind::Bad(_), _) => self,
            (_, Kind::Bad(_)) => other,
            (Kind::NoneOnly, Kind::Scalar(ty)) | (Kind::Scalar(ty), Kind::NoneOnly) => {
                Kind::Scalar(Type::or_none(ty.base))
            }
            (Kind::Scalar(a), Kind::Scalar(b)) => {
                if a.base == b.base {
                    return Kind::Scalar(Type::or_none(a.base));
                }
                let number = |t: &Type| matches!(t.base, Base::Int | Base::Float) && !t.optional;
                if number(a) && number(b) { Kind::Num } else { conflict(&self, &other) }
            }
            (Kind::Num, Kind::Scalar(t)) | (Kind::Scalar(t), Kind::Num)
                if matches!(t.base, Base::Int | Base::Float) && !t.optional =>
            {
                Kind::Num
            }
            (Kind::Items(a, s), Kind::Items(b, t)) if a.len() == b.len() && s == t => {
                Kind::Items(a.iter().zip(b).map(|(a, b)| a.clone().join(b.clone())).collect(), *s)
            }
            (Kind::Split(a, b, c), Kind::Split(d, e, f)) => {
                let join = |x: &Kind, y: &Kind| Box::new(x.clone().join(y.clone()));
                Kind::Split(join(a, d), join(b, e), join(c, f))
            }
            (Kind::Words(a), Kind::Words(b)) => Kind::Words(Box::new((**a).clone().join((**b).clone()))),
            (_, _) => conflict(&self, &other),
        }
    }
}

/// A loop that is being read.
#[derive(Debug)]
pub struct Looping {
    pub slots: Vec<(Rc<str>, Slot)>,
    pub seen: Vec<Kind>,
    /// Set when the source breaks.
    pub broke: Option<Local>,
    /// An iteration is a loop of its own that goes round once: `continue` leaves it.
    pub once: bool,
    /// What breaks bound: for names that have no value before the loop.
    pub breaks: Vec<(Env, Hole)>,
}

impl Translator {
    pub fn slot(&mut self, kind: &Kind) -> Slot {
        match kind {
            Kind::NoneOnly => Slot::None,
            Kind::Scalar(ty) => Slot::Scalar(self.build.local(*ty), *ty),
            Kind::Num => Slot::Num(self.build.local(Type::FLOAT)),
            Kind::Delta => Slot::Delta(self.build.local(Type::INT)),
            Kind::Array(dtype, scalar) => {
                Slot::Array(self.build.local(Type::of(dtype.base())), *dtype, *scalar)
            }
            Kind::Items(items, tuple) => Slot::Items(items.iter().map(|k| self.slot(k)).collect(), *tuple),
            Kind::Split(a, b, c) => Slot::Split(Box::new((self.slot(a), self.slot(b), self.slot(c)))),
            Kind::Words(a) => Slot::Words(Box::new(self.slot(a))),
            Kind::Bad(why) => Slot::Bad(why.clone()),
        }
    }

    /// Sets a slot, if the value is of its kind.
    pub fn store(&mut self, slot: &Slot, sym: &Sym) -> R<()> {
        match (slot, sym) {
            (Slot::None | Slot::Bad(_), _) => {}
            (Slot::Scalar(local, ty), sym) => {
                let value = match sym {
                    Sym::None if ty.optional => Some(self.op(Op::None(ty.base), vec![])?),
                    sym if sym.base() == Some(ty.base) && !matches!(sym, Sym::Num(_)) => {
                        let (value, of) = self.value(sym)?;
                        match (of.optional, ty.optional) {
                            (false, true) => Some(self.op(Op::Some, vec![value])?),
                            (true, false) => None,
                            (false, false) | (true, true) => Some(value),
                        }
                    }
                    _ => None,
                };
                if let Some(value) = value {
                    self.build.plain(Stmt::Set(*local, value));
                }
            }
            (Slot::Num(local), sym) => {
                if let Some(value) = self.as_num(sym)? {
                    self.build.plain(Stmt::Set(*local, value));
                }
            }
            (Slot::Delta(local), Sym::Delta(micros)) => {
                let (value, _) = self.value(micros)?;
                self.build.plain(Stmt::Set(*local, value));
            }
            (Slot::Array(local, dtype, scalar), Sym::Array(a))
                if a.dtype == *dtype && a.scalar == *scalar =>
            {
                self.build.plain(Stmt::Set(*local, a.value));
            }
            (Slot::Items(slots, _), Sym::Seq(seq)) => {
                if let Seq::Items(items, _) = &**seq {
                    for (slot, item) in slots.iter().zip(items) {
                        self.store(slot, item)?;
                    }
                }
            }
            (Slot::Split(slots), Sym::Seq(seq)) => {
                if let Seq::Split { text, sep, most } = &**seq {
                    self.store(&slots.0, text)?;
                    self.store(&slots.1, sep)?;
                    self.store(&slots.2, most)?;
                }
            }
            (Slot::Words(slot), Sym::Seq(seq)) => {
                if let Seq::Words(text) = &**seq {
                    self.store(slot, text)?;
                }
            }
            (Slot::Delta(_) | Slot::Array(..) | Slot::Items(..) | Slot::Split(_) | Slot::Words(_), _) => {}
        }
        Ok(())
    }

    pub fn load(&mut self, slot: &Slot, name: &str) -> R<Sym> {
        Ok(match slot {
            Slot::None => Sym::None,
            Slot::Scalar(local, ty) => Sym::Val(self.op(Op::Get(*local), vec![])?, *ty),
            Slot::Num(local) => Sym::Num(self.op(Op::Get(*local), vec![])?),
            Slot::Delta(local) => {
                let value = self.op(Op::Get(*local), vec![])?;
                Sym::Delta(Box::new(Sym::Val(value, Type::INT)))
            }
            Slot::Array(local, dtype, scalar) => {
                let value = self.op(Op::Get(*local), vec![])?;
                Sym::Array(Arr { value, dtype: *dtype, scalar: *scalar })
            }
            Slot::Items(slots, tuple) => {
                let items = slots.iter().map(|s| self.load(s, name)).collect::<R<Vec<_>>>()?;
                Sym::Seq(Rc::new(Seq::Items(items, *tuple)))
            }
            Slot::Split(slots) => {
                let (text, sep) = (self.load(&slots.0, name)?, self.load(&slots.1, name)?);
                let most = self.load(&slots.2, name)?;
                Sym::Seq(Rc::new(Seq::Split { text, sep, most }))
            }
            Slot::Words(slot) => Sym::Seq(Rc::new(Seq::Words(self.load(slot, name)?))),
            Slot::Bad(why) => self.bad(name, why),
        })
    }

    pub fn bad(&self, name: &str, why: &str) -> Sym {
        let text = if why.starts_with('`') { why.to_owned() } else { format!("`{name}` {why}") };
        Sym::Bad(Rc::new(self.no_here(text)))
    }

    /// What several paths bound, after they met. Each left a hole at its end.
    pub fn meet(&mut self, name: &str, paths: &[(Sym, Hole)]) -> R<Sym> {
        let Some(kind) = paths.iter().map(|(s, _)| Kind::of(s)).reduce(Kind::join) else {
            return Ok(self.bad(name, "has no value"));
        };
        let slot = self.slot(&kind);
        for (sym, hole) in paths {
            self.build.open();
            self.store(&slot, sym)?;
            let moves = self.build.close();
            self.build.fill(*hole, moves);
        }
        self.load(&slot, name)
    }

    /// Makes the bindings of several paths one. `before`: those where the paths parted, which are all still visible.
    pub fn merge(&mut self, before: &Env, paths: Vec<(Env, Hole)>) -> R<()> {
        let names: BTreeSet<Rc<str>> = paths.iter().flat_map(|(env, _)| env.keys().cloned()).collect();
        let mut merged = Env::new();
        for name in names {
            let bound: Vec<(Sym, Hole)> =
                paths.iter().filter_map(|(env, hole)| Some((env.get(&name)?.clone(), *hole))).collect();
            let Some((first, _)) = bound.first() else { continue };
            let all_same = bound.iter().all(|(s, _)| s.same(first));
            let sym = if bound.len() < paths.len() {
                self.bad(&name, "is not bound on every path")
            } else if all_same && (first.is_constant() || before.get(&name).is_some_and(|b| b.same(first))) {
                first.clone()
            } else {
                self.meet(&name, &bound)?
            };
            merged.insert(name, sym);
        }
        self.env = merged;
        Ok(())
    }

    /// Reads a loop until the kinds of the variables that it assigns are known. `read` writes the loop.
    pub fn looped(
        &mut self,
        assigned: &BTreeSet<Rc<str>>,
        read: &mut dyn FnMut(&mut Translator) -> R<()>,
    ) -> R<Looping> {
        let before = self.env.clone();
        let carried: Vec<Rc<str>> = assigned.iter().filter(|n| before.contains_key(*n)).cloned().collect();
        let mut kinds: Vec<Kind> = carried.iter().map(|n| Kind::of(&before[n])).collect();
        for _ in 0..8 {
            self.env = before.clone();
            for name in assigned {
                if !before.contains_key(name) {
                    self.env.remove(name);
                }
            }
            self.build.open();
            let slots: Vec<(Rc<str>, Slot)> =
                carried.iter().zip(&kinds).map(|(n, k)| (n.clone(), self.slot(k))).collect();
            for (name, slot) in &slots {
                self.store(slot, &before[name])?;
            }
            let looping = Looping { slots, seen: kinds.clone(), broke: None, once: false, breaks: vec![] };
            let returned = self.returned_so_far();
            self.frame_mut().loops.push(looping);
            let result = read(self);
            let looping = self.frame_mut().loops.pop();
            let (Some(looping), Ok(())) = (looping, &result) else {
                self.build.close();
                return Err(result.err().unwrap_or_else(|| self.no_here("a loop is out of place".into())));
            };
            let items = self.build.close();
            if looping.seen == kinds {
                self.build.splice(items);
                self.env = before;
                for name in assigned {
                    if !carried.contains(name) {
                        self.env.remove(name);
                    }
                }
                return Ok(looping);
            }
            // What this reading returned is not part of the function.
            if let Returning::Inlined { returned: all, .. } = &mut self.frame_mut().returning {
                all.truncate(returned);
            }
            kinds = looping.seen;
        }
        Err(self.no_here("the types of its variables do not settle".into()))
    }

    fn returned_so_far(&self) -> usize {
        match &self.frame().returning {
            Returning::Row => 0,
            Returning::Inlined { returned, .. } => returned.len(),
        }
    }

    /// Binds the names of the innermost loop to what their slots hold now.
    pub fn load_loop(&mut self) -> R<()> {
        let slots = self.looping().slots.clone();
        self.load_slots(&slots)
    }

    pub fn load_slots(&mut self, slots: &[(Rc<str>, Slot)]) -> R<()> {
        for (name, slot) in slots {
            let sym = self.load(slot, name)?;
            self.env.insert(name.clone(), sym);
        }
        Ok(())
    }

    /// Keeps what the names of the innermost loop are bound to now.
    pub fn store_loop(&mut self) -> R<()> {
        let slots = self.looping().slots.clone();
        for (i, (name, slot)) in slots.iter().enumerate() {
            let Some(sym) = self.env.get(name).cloned() else { continue };
            let kind = self.looping().seen[i].clone().join(Kind::of(&sym));
            self.looping().seen[i] = kind;
            self.store(slot, &sym)?;
        }
        Ok(())
    }
}
