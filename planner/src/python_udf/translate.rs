//! The translator: what it knows while it reads a function, and the smallest steps it takes.

use crate::python_udf::build::{Builder, Hole, harmless};
use crate::python_udf::capture::{Captured, Source};
use crate::python_udf::flow::{Looping, Slot};
use crate::python_udf::numpy::Errors;
use crate::python_udf::numpy::dtype::DType;
use crate::python_udf::source::{Lines, Parsed};
use crate::python_udf::sym::{Env, No, R, Seq, Sym};
use fuseline_codegen::function::{Base, Compare, Local, Op, Stmt, Type, Value};
use ruff_text_size::TextSize;
use std::collections::BTreeSet;
use std::rc::Rc;

/// Whether statements are left by their end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    Falls,
    Ends,
}

/// What `return` does.
#[derive(Debug)]
pub enum Returning {
    /// Ends the row.
    Row,
    /// Ends a function whose body is read in place of its call.
    Inlined {
        returned: Vec<(Sym, Hole)>,
        /// The body is in a loop that goes round once, which `return` leaves.
        jumps: bool,
        /// Set by a `return` inside loops of the body.
        left: Option<Local>,
    },
}

/// A function whose body is being read: the one that is compiled, or one that it calls.
#[derive(Debug)]
pub struct Frame {
    pub source: Rc<Source>,
    pub lines: Rc<Lines>,
    pub locals: Rc<BTreeSet<Rc<str>>>,
    /// The names of enclosing functions of one that is defined within.
    pub outer: Env,
    pub loops: Vec<Looping>,
    pub returning: Returning,
    pub here: TextSize,
}

/// The type of the column that the function's values go into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    pub base: Base,
    /// The elements of the array that a function of kind numpy returns.
    pub dtype: Option<DType>,
}

pub struct Translator {
    pub build: Builder,
    pub env: Env,
    pub frames: Vec<Frame>,
    pub target: Target,
    /// Whether the result may be None; found out while reading.
    pub optional: bool,
    pub returns_none: bool,
    /// A value that was returned on some path fits the column.
    pub returns_fit: bool,
    /// Why the last value that was returned does not.
    pub misfit: Option<No>,
    pub depth: usize,
    /// What NumPy does on errors, where the source is being read.
    pub errors: Errors,
    fresh: usize,
}

/// A condition: known now, or when the function runs.
#[derive(Clone, Copy, Debug)]
pub enum Truth {
    Known(bool),
    Asked(Value),
}

impl Translator {
    pub fn new(target: Target, optional: bool) -> Translator {
        Translator {
            build: Builder::new(),
            env: Env::new(),
            frames: vec![],
            target,
            optional,
            returns_none: false,
            returns_fit: false,
            misfit: None,
            depth: 0,
            errors: Errors { divide: false, invalid: false, over: false },
            fresh: 0,
        }
    }

    pub fn frame(&self) -> &Frame {
        // There is one from the start of reading to its end.
        &self.frames[self.frames.len() - 1]
    }

    pub fn frame_mut(&mut self) -> &mut Frame {
        let last = self.frames.len() - 1;
        &mut self.frames[last]
    }

    pub fn looping(&mut self) -> &mut Looping {
        let frame = self.frame_mut();
        let last = frame.loops.len() - 1;
        &mut frame.loops[last]
    }

    /// A name that no source can write.
    pub fn fresh(&mut self, what: &str) -> Rc<str> {
        self.fresh += 1;
        format!("%{what}{}", self.fresh).into()
    }

    pub fn no_here(&self, text: String) -> No {
        let line = |frame: &Frame| frame.lines.line(frame.here);
        let frame = self.frame();
        let outer = &self.frames[0];
        // Functions within the function are in its own lines.
        if Rc::ptr_eq(&frame.source, &outer.source) {
            return No { line: line(frame), within: None, text };
        }
        No { line: line(outer), within: Some((frame.source.name.to_string(), line(frame))), text }
    }

    pub fn no<T>(&self, text: impl Into<String>) -> R<T> {
        Err(self.no_here(text.into()))
    }

    pub fn op(&mut self, op: Op, args: Vec<Value>) -> R<Value> {
        self.build.emit(op, args).map_err(|why| self.no_here(why))
    }

    /// An operation, as a value.
    pub fn make(&mut self, op: Op, args: Vec<Value>) -> R<Sym> {
        let value = self.op(op, args)?;
        Ok(Sym::Val(value, self.build.type_of(value)))
    }

    /// The operation on these operands, none of which may be None then.
    pub fn call(&mut self, op: Op, args: &[&Sym]) -> R<Sym> {
        let values = args.iter().map(|s| self.plain(s)).collect::<R<Vec<_>>>()?;
        self.make(op, values)
    }

    /// The value of a constant or value.
    pub fn value(&mut self, sym: &Sym) -> R<(Value, Type)> {
        let op = match sym {
            Sym::Val(value, ty) => return Ok((*value, *ty)),
            Sym::Num(value) => return Ok((*value, Type::FLOAT)),
            Sym::Bool(v) => Op::Bool(*v),
            Sym::Int(v) => Op::Int(*v),
            Sym::Float(v) => Op::Float(v.to_bits()),
            Sym::Str(v) => Op::Str(v.to_string()),
            Sym::Date(v) => Op::Date(*v),
            Sym::DateTime(v) => Op::DateTime(*v),
            Sym::Bad(no) => return Err((**no).clone()),
            Sym::None
            | Sym::Delta(_)
            | Sym::Seq(_)
            | Sym::Set(_)
            | Sym::Letters(_)
            | Sym::Dict(_)
            | Sym::Module(..)
            | Sym::Known(_)
            | Sym::Function(_)
            | Sym::Local(_)
            | Sym::Method(..)
            | Sym::Array(_)
            | Sym::Other(_) => return self.no(format!("{} is not used as a value here", sym.describe())),
        };
        let value = self.op(op, vec![])?;
        Ok((value, self.build.type_of(value)))
    }

    /// The value, which bails where it is None.
    pub fn plain(&mut self, sym: &Sym) -> R<Value> {
        let (value, ty) = self.value(sym)?;
        if ty.optional { self.op(Op::Unwrap, vec![value]) } else { Ok(value) }
    }

    /// The same with a symbol, which bails where it is None.
    pub fn some(&mut self, sym: &Sym) -> R<Sym> {
        match sym {
            Sym::Val(value, ty) if ty.optional => self.make(Op::Unwrap, vec![*value]),
            Sym::Bad(no) => Err((**no).clone()),
            other => Ok(other.clone()),
        }
    }

    /// Where Python raises for certain: a value that always bails.
    pub fn never(&mut self, base: Base) -> R<Sym> {
        let none = self.op(Op::None(base), vec![])?;
        self.make(Op::Unwrap, vec![none])
    }

    /// An int, or a bool as one.
    pub fn int(&mut self, sym: &Sym) -> R<Sym> {
        match sym {
            Sym::Bool(b) => Ok(Sym::Int(i64::from(*b))),
            Sym::Int(_) => Ok(sym.clone()),
            sym if sym.base() == Some(Base::Int) => self.some(sym),
            sym if sym.base() == Some(Base::Bool) => self.call(Op::BoolToInt, &[sym]),
            Sym::None => self.never(Base::Int),
            Sym::Bad(no) => Err((**no).clone()),
            sym => self.no(format!("an int is wanted here, not {}", sym.describe())),
        }
    }

    pub fn text(&mut self, sym: &Sym) -> R<Sym> {
        match sym {
            Sym::Str(_) => Ok(sym.clone()),
            sym if sym.base() == Some(Base::Str) => self.some(sym),
            Sym::None => self.never(Base::Str),
            Sym::Bad(no) => Err((**no).clone()),
            sym => self.no(format!("a str is wanted here, not {}", sym.describe())),
        }
    }

    /// A number as a float. Ints are rounded to the nearest, as Python does when it computes with both.
    pub fn float(&mut self, sym: &Sym) -> R<Sym> {
        match sym {
            Sym::Float(_) => Ok(sym.clone()),
            Sym::Bool(_) | Sym::Int(_) => {
                let int = self.int(sym)?;
                match int {
                    Sym::Int(v) => Ok(Sym::Float(v as f64)),
                    other => self.call(Op::IntToFloat, &[&other]),
                }
            }
            Sym::Num(value) => Ok(Sym::Val(*value, Type::FLOAT)),
            sym if sym.base() == Some(Base::Float) => self.some(sym),
            sym if matches!(sym.base(), Some(Base::Int | Base::Bool)) => {
                let int = self.int(sym)?;
                self.call(Op::IntToFloat, &[&int])
            }
            Sym::None => self.never(Base::Float),
            Sym::Bad(no) => Err((**no).clone()),
            sym => self.no(format!("a number is wanted here, not {}", sym.describe())),
        }
    }

    /// A number as what a [`Sym::Num`] holds: an int that a float does not hold exactly bails.
    pub fn as_num(&mut self, sym: &Sym) -> R<Option<Value>> {
        Ok(match sym {
            Sym::Num(value) => Some(*value),
            Sym::Int(v) if v.unsigned_abs() > 1 << 53 => {
                let never = self.never(Base::Float)?;
                Some(self.plain(&never)?)
            }
            Sym::Int(_) | Sym::Float(_) => {
                let float = self.float(sym)?;
                Some(self.plain(&float)?)
            }
            Sym::Val(value, ty) if !ty.optional && ty.base == Base::Float => Some(*value),
            Sym::Val(value, ty) if !ty.optional && ty.base == Base::Int => {
                let float = self.op(Op::IntToFloat, vec![*value])?;
                let exact = self.op(Op::CmpIntFloat(Compare::Eq), vec![*value, float])?;
                self.demand(exact)?;
                Some(float)
            }
            _ => None,
        })
    }

    /// Bails where the condition is false.
    pub fn demand(&mut self, holds: Value) -> R<()> {
        self.build.open();
        let then = self.build.close();
        self.build.open();
        self.build.plain(Stmt::Bail);
        let otherwise = self.build.close();
        self.build.push(crate::python_udf::build::Item::If { cond: holds, then, otherwise });
        Ok(())
    }

    /// Bails, and reads nothing that follows on this path.
    pub fn bail(&mut self) -> Flow {
        self.build.plain(Stmt::Bail);
        Flow::Ends
    }

    /// A value of two: `then` where the condition holds. Both are read with the names that are bound now; what they
    /// bind is merged.
    pub fn choose(
        &mut self,
        cond: Truth,
        then: &mut dyn FnMut(&mut Translator) -> R<Sym>,
        otherwise: &mut dyn FnMut(&mut Translator) -> R<Sym>,
    ) -> R<Sym> {
        let cond = match cond {
            Truth::Known(true) => return then(self),
            Truth::Known(false) => return otherwise(self),
            Truth::Asked(cond) => cond,
        };
        let before = self.env.clone();
        self.build.open();
        let a = then(self);
        let (a, first) = self.closed(a)?;
        let env_a = std::mem::replace(&mut self.env, before.clone());
        self.build.open();
        let b = otherwise(self);
        let (b, second) = self.closed(b)?;
        let env_b = std::mem::replace(&mut self.env, before.clone());
        let unbound = |env: &Env| {
            env.len() == before.len() && env.iter().all(|(n, s)| before.get(n).is_some_and(|b| b.same(s)))
        };
        let (quiet_a, quiet_b) = (unbound(&env_a), unbound(&env_b));
        if quiet_a && quiet_b && a.same(&b) && a.is_constant() && harmless(&first) && harmless(&second) {
            return Ok(a);
        }
        let alike = a.base().is_some()
            && a.base() == b.base()
            && a.optional() == b.optional()
            && matches!(a, Sym::Num(_)) == matches!(b, Sym::Num(_))
            && a.base() != Some(Base::Str);
        if alike && quiet_a && quiet_b && harmless(&first) && harmless(&second) {
            self.build.splice(first);
            self.build.splice(second);
            let (x, ty) = self.value(&a)?;
            let (y, _) = self.value(&b)?;
            if let (Sym::Bool(true), Some(Base::Bool)) = (&a, b.base()) {
                return self.make(Op::Or, vec![cond, y]);
            }
            if let (Some(Base::Bool), Sym::Bool(false)) = (a.base(), &b) {
                return self.make(Op::And, vec![cond, x]);
            }
            let value = self.op(Op::Select, vec![cond, x, y])?;
            return Ok(if matches!(a, Sym::Num(_)) { Sym::Num(value) } else { Sym::Val(value, ty) });
        }
        self.build.open();
        self.build.splice(first);
        let hole_a = self.build.hole();
        let then = self.build.close();
        self.build.open();
        self.build.splice(second);
        let hole_b = self.build.hole();
        let otherwise = self.build.close();
        self.build.push(crate::python_udf::build::Item::If { cond, then, otherwise });
        self.merge(&before, vec![(env_a, hole_a), (env_b, hole_b)])?;
        let paths = [(a, hole_a), (b, hole_b)];
        self.meet("the value", &paths)
    }

    /// Closes the block that was opened for a reading, also where that failed.
    pub fn closed<T>(&mut self, result: R<T>) -> R<(T, Vec<crate::python_udf::build::Item>)> {
        let items = self.build.close();
        Ok((result?, items))
    }

    /// A value for a slot that no path reads before it is set, for the verifier's peace.
    pub fn prime(&mut self, slot: &Slot) -> R<()> {
        match slot {
            Slot::Scalar(local, ty) => {
                let zero = if ty.optional {
                    self.op(Op::None(ty.base), vec![])?
                } else {
                    let sym = match ty.base {
                        Base::Bool => Sym::Bool(false),
                        Base::Int => Sym::Int(0),
                        Base::Float => Sym::Float(0.0),
                        Base::Str => Sym::Str("".into()),
                        Base::Date => Sym::Date(0),
                        Base::DateTime => Sym::DateTime(0),
                    };
                    self.value(&sym)?.0
                };
                self.build.plain(Stmt::Set(*local, zero));
            }
            Slot::Num(_) | Slot::Delta(_) => {
                let zero = if matches!(slot, Slot::Num(_)) { Sym::Float(0.0) } else { Sym::Int(0) };
                let zero = if matches!(slot, Slot::Delta(_)) { Sym::Delta(Box::new(zero)) } else { zero };
                self.store(slot, &zero)?;
            }
            Slot::Items(slots, _) => {
                for slot in slots {
                    self.prime(slot)?;
                }
            }
            Slot::Split(slots) => {
                self.prime(&slots.0)?;
                self.prime(&slots.1)?;
                self.prime(&slots.2)?;
            }
            Slot::Words(slot) => self.prime(slot)?,
            Slot::Array(local, dtype, _) => self.prime(&Slot::Scalar(*local, Type::of(dtype.base())))?,
            Slot::None | Slot::Bad(_) => {}
        }
        Ok(())
    }

    /// As [`Translator::meet`], for paths that leave a loop; `before` is a hole ahead of it.
    pub fn meet_behind(&mut self, name: &str, paths: &[(Sym, Hole)], before: Hole) -> R<Sym> {
        if let [(first, _), rest @ ..] = paths
            && first.is_constant()
            && rest.iter().all(|(s, _)| s.same(first))
        {
            return Ok(first.clone());
        }
        let Some(kind) =
            paths.iter().map(|(s, _)| crate::python_udf::flow::Kind::of(s)).reduce(|a, b| a.join(b))
        else {
            return Ok(self.bad(name, "has no value"));
        };
        let slot = self.slot(&kind);
        self.build.open();
        self.prime(&slot)?;
        let prime = self.build.close();
        self.build.fill(before, prime);
        for (sym, hole) in paths {
            self.build.open();
            self.store(&slot, sym)?;
            let moves = self.build.close();
            self.build.fill(*hole, moves);
        }
        self.load(&slot, name)
    }

    /// What a captured value is.
    pub fn captured(&self, captured: &Captured) -> Sym {
        match captured {
            Captured::None => Sym::None,
            Captured::Bool(v) => Sym::Bool(*v),
            Captured::Int(v) => Sym::Int(*v),
            Captured::Float(v) => Sym::Float(*v),
            Captured::Str(v) => Sym::Str(v.clone()),
            Captured::Date(v) => Sym::Date(*v),
            Captured::DateTime(v) => Sym::DateTime(*v),
            Captured::TimeDelta(v) => Sym::Delta(Box::new(Sym::Int(*v))),
            Captured::Sequence(items, tuple) => {
                let items = items.iter().map(|c| self.captured(c)).collect();
                Sym::Seq(Rc::new(Seq::Items(items, *tuple)))
            }
            Captured::Set(items) => Sym::Set(items.iter().map(|c| self.captured(c)).collect()),
            Captured::Dict(items) => {
                Sym::Dict(items.iter().map(|(k, v)| (self.captured(k), self.captured(v))).collect())
            }
            Captured::Module(name, attributes) => Sym::Module(name.clone(), attributes.clone()),
            Captured::Known(name) => Sym::Known(name.clone()),
            Captured::Function(source) => Sym::Function(source.clone()),
            Captured::Other(what) => Sym::Other(what.clone()),
        }
    }

    /// The names that a function binds itself.
    pub fn locals_of(parsed: &Parsed) -> BTreeSet<Rc<str>> {
        let mut names = BTreeSet::new();
        if let Some(parameters) = parsed.parameters() {
            names.extend(parameters.iter().map(|p| Rc::from(p.name().as_str())));
        }
        match parsed {
            Parsed::Def(def) => crate::python_udf::names::assigned(&def.body, &mut names),
            Parsed::Lambda(lambda) => crate::python_udf::names::assigned_in(&lambda.body, &mut names),
        }
        names
    }
}
