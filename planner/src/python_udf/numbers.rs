//! Calls that choose among numbers and round them: `min`, `max`, `next`, `round`, `int`, `range`, `reduce`.

use crate::python_udf::sym::{R, Seq, Sym};
use crate::python_udf::translate::{Translator, Truth};
use fuseline_codegen::function::{Base, Op, Type};
use ruff_python_ast::{CmpOp, Operator};
use std::rc::Rc;

impl Translator {
    /// The smaller or greater of two, as `min` and `max` choose: the first one unless the other is better.
    pub fn extreme(&mut self, a: &Sym, b: &Sym, least: bool) -> R<Sym> {
        let better = self.compare(b, if least { CmpOp::Lt } else { CmpOp::Gt }, a)?;
        let (x, y) = (b.clone(), a.clone());
        self.choose(better, &mut |t| t.some(&x), &mut |t| t.some(&y))
    }

    /// A range whose step is found at run time: how many ints it has is computed first.
    pub fn spaced(&mut self, start: &Sym, stop: &Sym, step: &Sym) -> R<Sym> {
        let some = self.compare(step, CmpOp::NotEq, &Sym::Int(0))?;
        if let Truth::Asked(some) = some {
            // ValueError.
            self.demand(some)?;
        }
        let up = self.compare(step, CmpOp::Gt, &Sym::Int(0))?;
        let count = |t: &mut Translator, low: &Sym, high: &Sym, by: &Sym| {
            let ahead = t.compare(low, CmpOp::Lt, high)?;
            t.choose(
                ahead,
                &mut |t| {
                    let way = t.binary(high, Operator::Sub, low)?;
                    let way = t.binary(&way, Operator::Sub, &Sym::Int(1))?;
                    let whole = t.binary(&way, Operator::FloorDiv, by)?;
                    t.binary(&whole, Operator::Add, &Sym::Int(1))
                },
                &mut |_| Ok(Sym::Int(0)),
            )
        };
        let count = self.choose(up, &mut |t| count(t, start, stop, step), &mut |t| {
            let down = t.unary(ruff_python_ast::UnaryOp::USub, step)?;
            count(t, stop, start, &down)
        })?;
        let (start, step) = (start.clone(), step.clone());
        Ok(Sym::Seq(Rc::new(Seq::Spaced { start, step, count })))
    }

    /// `functools.reduce(function, items, start)`.
    pub fn reduce(&mut self, function: &Sym, items: &Sym, start: &Sym) -> R<Sym> {
        let seq = self.sequence(items)?;
        let function = function.clone();
        self.fold(&seq, start.clone(), &mut |t, all, item| {
            t.apply(&function, vec![all.clone(), item.clone()], vec![])
        })
    }

    pub fn first_of(&mut self, seq: &Rc<Seq>, default: Sym) -> R<Sym> {
        self.search(seq, default, &mut |_, item| Ok((Truth::Known(true), item.clone())))
    }

    pub fn min_max(&mut self, least: bool, args: &[Sym], default: Option<Sym>) -> R<Sym> {
        let items = match args {
            [one] => {
                let seq = self.sequence(one)?;
                match self.static_len(&seq) {
                    Some(0) => {
                        return match default {
                            Some(default) => Ok(default),
                            None => self.never(Base::Int),
                        };
                    }
                    Some(n) if n <= 24 => {
                        (0..n).map(|i| self.seq_item(&seq, &Sym::Int(i as i64))).collect::<R<Vec<_>>>()?
                    }
                    _ => {
                        let best = self.fold(&seq, Sym::None, &mut |t, best, item| {
                            if item.optional() || matches!(item, Sym::None) {
                                return t.no("`min` or `max` of what may be None is not compiled");
                            }
                            let none = t.is_none(best)?;
                            let (old, new) = (best.clone(), item.clone());
                            t.choose(none, &mut |_| Ok(new.clone()), &mut |t| {
                                let some = t.some(&old)?;
                                t.extreme(&some, &new, least)
                            })
                        })?;
                        if let Some(default) = default {
                            let none = self.is_none(&best)?;
                            return self.choose(none, &mut |_| Ok(default.clone()), &mut |t| t.some(&best));
                        }
                        return self.some(&best);
                    }
                }
            }
            many => many.to_vec(),
        };
        let mut items = items.iter();
        let Some(first) = items.next() else { return self.never(Base::Int) };
        let mut best = self.some(first)?;
        for item in items {
            let item = self.some(item)?;
            best = self.extreme(&best, &item, least)?;
        }
        Ok(best)
    }

    pub fn round(&mut self, x: &Sym, digits: Option<&Sym>) -> R<Sym> {
        let x = self.some(x)?;
        let digits = digits.filter(|d| !matches!(d, Sym::None));
        match (&x, digits) {
            (Sym::Num(value), None) => self.make(Op::RoundEven, vec![*value]),
            (Sym::Num(value), Some(n)) => {
                let Sym::Int(n @ 0..) = n else { return self.no("rounding this number is not compiled") };
                let rounded = self.call(Op::RoundDigits, &[&Sym::Val(*value, Type::FLOAT), &Sym::Int(*n)])?;
                Ok(Sym::Num(self.plain(&rounded)?))
            }
            (x, digits) if x.base() == Some(Base::Float) => match digits {
                None => self.call(Op::RoundEven, &[x]),
                Some(n) => {
                    let n = self.int(n)?;
                    self.call(Op::RoundDigits, &[x, &n])
                }
            },
            (x, digits) if matches!(x.base(), Some(Base::Int | Base::Bool)) => {
                let int = self.int(x)?;
                match digits {
                    None | Some(Sym::Int(0..)) => Ok(int),
                    Some(n) => {
                        let n = self.int(n)?;
                        self.call(Op::RoundInt, &[&int, &n])
                    }
                }
            }
            (_, _) => self.never(Base::Int),
        }
    }

    pub fn int_of(&mut self, x: &Sym) -> R<Sym> {
        let x = self.some(x)?;
        match x.base() {
            Some(Base::Int | Base::Bool) => self.int(&x),
            Some(Base::Float) => self.call(Op::Trunc, &[&x]),
            Some(Base::Str) => self.call(Op::ParseInt, &[&x]),
            Some(Base::Date | Base::DateTime) => self.never(Base::Int),
            None => match &x {
                Sym::None => self.never(Base::Int),
                other => self.no(format!("`int` of {} is not compiled", other.describe())),
            },
        }
    }
}
