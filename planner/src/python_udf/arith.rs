//! Arithmetic.

use crate::python_udf::sym::{R, Seq, Sym};
use crate::python_udf::translate::Translator;
use fuseline_codegen::function::{Base, Compare, Math2, Op, Type};
use ruff_python_ast::{Operator, UnaryOp};
use std::rc::Rc;

pub const DAY: i64 = 86_400_000_000;

impl Translator {
    pub fn unary(&mut self, op: UnaryOp, sym: &Sym) -> R<Sym> {
        let sym = self.some(sym)?;
        match (op, &sym) {
            (_, Sym::Array(a)) => self.array_unary(op, *a),
            (UnaryOp::Not, _) => {
                let truth = self.truth(&sym)?;
                let truth = self.not(truth)?;
                self.truth_sym(truth)
            }
            (_, Sym::None) => self.never(Base::Int),
            (UnaryOp::USub, Sym::Float(v)) => Ok(Sym::Float(-v)),
            (UnaryOp::USub, Sym::Delta(micros)) => {
                let micros = self.unary(op, micros)?;
                Ok(Sym::Delta(Box::new(micros)))
            }
            (UnaryOp::USub, Sym::Num(value)) => {
                // -0 is 0 for an int and -0.0 for a float.
                let zero = self.op(Op::Float(0), vec![])?;
                let other = self.op(Op::Cmp(Compare::Ne), vec![*value, zero])?;
                self.demand(other)?;
                Ok(Sym::Num(self.op(Op::Neg, vec![*value])?))
            }
            (UnaryOp::UAdd, Sym::Num(_) | Sym::Delta(_)) => Ok(sym),
            (_, sym) => match sym.base() {
                Some(Base::Float) if op == UnaryOp::USub => self.call(Op::Neg, &[sym]),
                Some(Base::Float) if op == UnaryOp::UAdd => Ok(sym.clone()),
                Some(Base::Int | Base::Bool) => {
                    let int = self.int(sym)?;
                    match (op, &int) {
                        (UnaryOp::UAdd, _) => Ok(int),
                        (UnaryOp::USub, Sym::Int(v)) if *v != i64::MIN => Ok(Sym::Int(-v)),
                        (UnaryOp::Invert, Sym::Int(v)) => Ok(Sym::Int(!v)),
                        (UnaryOp::Invert, _) => self.call(Op::Invert, &[&int]),
                        (_, _) => self.call(Op::Neg, &[&int]),
                    }
                }
                Some(Base::Float | Base::Str | Base::Date | Base::DateTime) => self.never(Base::Int),
                None => self.no(format!("`{}` of {} is not compiled", op.as_str(), sym.describe())),
            },
        }
    }

    pub fn binary(&mut self, a: &Sym, op: Operator, b: &Sym) -> R<Sym> {
        let (a, b) = (self.some(a)?, self.some(b)?);
        if let (Operator::Mod, Some(Base::Str)) = (op, a.base()) {
            return self.percent(&a, &b);
        }
        for sym in [&a, &b] {
            if let Sym::Other(what) = sym {
                return self.no(format!("`{}` of {what} may do anything, so it stays Python", op.as_str()));
            }
        }
        match (&a, &b) {
            (Sym::Array(_), _) | (_, Sym::Array(_)) => return self.array_binary(&a, op, &b),
            // TypeError, whatever the other one is.
            (Sym::None, other) | (other, Sym::None) => {
                return self.never(other.base().unwrap_or(Base::Int));
            }
            (Sym::Seq(x), Sym::Seq(y)) if op == Operator::Add => return self.joined(x, y),
            (Sym::Seq(seq), Sym::Int(n)) | (Sym::Int(n), Sym::Seq(seq)) if op == Operator::Mult => {
                let (Some(length), true) = (self.static_len(seq), (0..=64).contains(n)) else {
                    return self.no("repeating this list is not compiled");
                };
                let mut items = vec![];
                for i in 0..length * *n as usize {
                    items.push(self.seq_item(seq, &Sym::Int((i % length) as i64))?);
                }
                return Ok(Sym::Seq(Rc::new(Seq::Items(items, matches!(&**seq, Seq::Items(_, true))))));
            }
            (Sym::Letters(_), Sym::Letters(_) | Sym::Set(_)) | (Sym::Set(_), Sym::Letters(_)) => {
                return self.letters_combined(&a, op, &b);
            }
            (Sym::Delta(_), _) | (_, Sym::Delta(_)) => return self.with_delta(&a, op, &b),
            (_, _) => {}
        }
        let (Some(x), Some(y)) = (a.base(), b.base()) else {
            return self.no(format!(
                "`{}` of {} and {} is not compiled",
                op.as_str(),
                a.describe(),
                b.describe()
            ));
        };
        match (x, y) {
            (Base::Str, Base::Str) if op == Operator::Add => match (&a, &b) {
                (Sym::Str(x), Sym::Str(y)) => Ok(Sym::Str(format!("{x}{y}").into())),
                (_, _) => self.call(Op::Concat, &[&a, &b]),
            },
            (Base::Str, Base::Int | Base::Bool) if op == Operator::Mult => {
                let n = self.int(&b)?;
                self.repeated(&a, &n)
            }
            (Base::Int | Base::Bool, Base::Str) if op == Operator::Mult => {
                let n = self.int(&a)?;
                self.repeated(&b, &n)
            }
            (Base::Date, Base::Date) | (Base::DateTime, Base::DateTime) if op == Operator::Sub => {
                let between = self.call(Op::DateDiff, &[&a, &b])?;
                let micros = if x == Base::Date {
                    self.binary(&between, Operator::Mult, &Sym::Int(DAY))?
                } else {
                    between
                };
                Ok(Sym::Delta(Box::new(micros)))
            }
            (Base::Bool, Base::Bool)
                if matches!(op, Operator::BitAnd | Operator::BitOr | Operator::BitXor) =>
            {
                let op = match op {
                    Operator::BitAnd => Op::And,
                    Operator::BitOr => Op::Or,
                    _ => Op::Xor,
                };
                self.call(op, &[&a, &b])
            }
            (Base::Bool | Base::Int | Base::Float, Base::Bool | Base::Int | Base::Float) => {
                self.numbers(&a, op, &b)
            }
            (
                Base::Bool | Base::Int | Base::Float | Base::Str | Base::Date | Base::DateTime,
                Base::Bool | Base::Int | Base::Float | Base::Str | Base::Date | Base::DateTime,
            ) => self.never(x),
        }
    }

    fn repeated(&mut self, text: &Sym, n: &Sym) -> R<Sym> {
        match (text, n) {
            (Sym::Str(text), Sym::Int(n)) if *n <= 1000 => {
                Ok(Sym::Str(text.repeat((*n).max(0) as usize).into()))
            }
            (_, _) => self.call(Op::Repeat, &[text, n]),
        }
    }

    fn joined(&mut self, a: &Rc<Seq>, b: &Rc<Seq>) -> R<Sym> {
        let tuple = |seq: &Seq| matches!(seq, Seq::Items(_, true) | Seq::Parts { .. });
        if tuple(a) != tuple(b) {
            return self.never(Base::Int);
        }
        let (Some(n), Some(m)) = (self.static_len(a), self.static_len(b)) else {
            return self.no("joining lists of unknown length is not compiled");
        };
        let mut items = vec![];
        for i in 0..n {
            items.push(self.seq_item(a, &Sym::Int(i as i64))?);
        }
        for i in 0..m {
            items.push(self.seq_item(b, &Sym::Int(i as i64))?);
        }
        Ok(Sym::Seq(Rc::new(Seq::Items(items, tuple(a)))))
    }

    fn numbers(&mut self, a: &Sym, op: Operator, b: &Sym) -> R<Sym> {
        let is_float = |s: &Sym| s.base() == Some(Base::Float) && !matches!(s, Sym::Num(_));
        if matches!(a, Sym::Num(_)) || matches!(b, Sym::Num(_)) {
            if !is_float(a) && !is_float(b) {
                return self.maybe_ints(a, op, b);
            }
            return self.floats(a, op, b);
        }
        if is_float(a) || is_float(b) {
            return self.floats(a, op, b);
        }
        let (a, b) = (self.int(a)?, self.int(b)?);
        if let (Sym::Int(x), Sym::Int(y)) = (&a, &b)
            && let Some(v) = folded(*x, op, *y)
        {
            return Ok(Sym::Int(v));
        }
        let op = match op {
            Operator::Add => Op::Add,
            Operator::Sub => Op::Sub,
            Operator::Mult => Op::Mul,
            Operator::Div => Op::TrueDiv,
            Operator::FloorDiv => Op::FloorDiv,
            Operator::Mod => Op::Mod,
            Operator::Pow => match &b {
                // A negative power of an int is a float.
                Sym::Int(n) if *n < 0 => return self.floats(&a, op, &b),
                _ => Op::Pow,
            },
            Operator::LShift => Op::Shl,
            Operator::RShift => Op::Shr,
            Operator::BitAnd => Op::BitAnd,
            Operator::BitOr => Op::BitOr,
            Operator::BitXor => Op::BitXor,
            Operator::MatMult => return self.never(Base::Int),
        };
        self.call(op, &[&a, &b])
    }

    fn floats(&mut self, a: &Sym, op: Operator, b: &Sym) -> R<Sym> {
        let (a, b) = (self.float(a)?, self.float(b)?);
        if let (Sym::Float(x), Sym::Float(y)) = (&a, &b) {
            match op {
                Operator::Add => return Ok(Sym::Float(x + y)),
                Operator::Sub => return Ok(Sym::Float(x - y)),
                Operator::Mult => return Ok(Sym::Float(x * y)),
                Operator::Div if *y != 0.0 => return Ok(Sym::Float(x / y)),
                _ => {}
            }
        }
        let op = match op {
            Operator::Add => Op::Add,
            Operator::Sub => Op::Sub,
            Operator::Mult => Op::Mul,
            Operator::Div => Op::TrueDiv,
            Operator::FloorDiv => Op::FloorDiv,
            Operator::Mod => Op::Mod,
            Operator::Pow => Op::Pow,
            Operator::LShift
            | Operator::RShift
            | Operator::BitAnd
            | Operator::BitOr
            | Operator::BitXor
            | Operator::MatMult => return self.never(Base::Float),
        };
        self.call(op, &[&a, &b])
    }

    /// Numbers of which it is not known whether they are ints or floats: computed as floats, and the row bails where that
    /// would make a difference.
    fn maybe_ints(&mut self, a: &Sym, op: Operator, b: &Sym) -> R<Sym> {
        let value = |t: &mut Translator, s: &Sym| {
            let s = if s.base() == Some(Base::Bool) { t.int(s)? } else { s.clone() };
            match t.as_num(&s)? {
                Some(value) => Ok(Sym::Val(value, Type::FLOAT)),
                None => t.no("this number is not compiled"),
            }
        };
        let (a, b) = (value(self, a)?, value(self, b)?);
        let ir = match op {
            Operator::Add => Op::Add,
            Operator::Sub => Op::Sub,
            Operator::Mult => Op::Mul,
            Operator::FloorDiv => Op::FloorDiv,
            Operator::Mod => Op::Mod,
            Operator::Div => return self.call(Op::TrueDiv, &[&a, &b]),
            Operator::Pow
            | Operator::LShift
            | Operator::RShift
            | Operator::BitAnd
            | Operator::BitOr
            | Operator::BitXor
            | Operator::MatMult => {
                return self.no(format!(
                    "`{}` of a number that is an int on one path and a float on another is not compiled",
                    op.as_str()
                ));
            }
        };
        let result = self.call(ir, &[&a, &b])?;
        let value = self.plain(&result)?;
        // An int of this size is exact as a float.
        let size = self.op(Op::Abs, vec![value])?;
        let most = self.op(Op::Float(((1u64 << 53) as f64).to_bits()), vec![])?;
        let exact = self.op(Op::Cmp(Compare::Le), vec![size, most])?;
        self.demand(exact)?;
        if matches!(op, Operator::Mult | Operator::FloorDiv | Operator::Mod) {
            // 0 * -5 is 0 for ints and -0.0 for floats.
            let one = self.op(Op::Float(1f64.to_bits()), vec![])?;
            let sign = self.op(Op::Math2 { function: Math2::Copysign, fast: false }, vec![one, value])?;
            let zero = self.op(Op::Float(0), vec![])?;
            let other = self.op(Op::Cmp(Compare::Ne), vec![value, zero])?;
            let plus = self.op(Op::Cmp(Compare::Gt), vec![sign, zero])?;
            let fine = self.op(Op::Or, vec![other, plus])?;
            self.demand(fine)?;
        }
        Ok(Sym::Num(value))
    }

    fn with_delta(&mut self, a: &Sym, op: Operator, b: &Sym) -> R<Sym> {
        let delta = |micros: Sym| Ok(Sym::Delta(Box::new(micros)));
        match (a, op, b) {
            (Sym::Delta(x), Operator::Add | Operator::Sub, Sym::Delta(y)) => {
                let sum = self.binary(x, op, y)?;
                delta(sum)
            }
            (Sym::Delta(x), Operator::Div | Operator::FloorDiv, Sym::Delta(y)) => self.binary(x, op, y),
            (Sym::Delta(x), Operator::Mod, Sym::Delta(y)) => {
                let rest = self.binary(x, op, y)?;
                delta(rest)
            }
            (Sym::Delta(x), Operator::Mult | Operator::FloorDiv, n)
                if matches!(n.base(), Some(Base::Int | Base::Bool)) =>
            {
                let n = self.int(n)?;
                let product = self.binary(x, op, &n)?;
                delta(product)
            }
            (n, Operator::Mult, Sym::Delta(x)) if matches!(n.base(), Some(Base::Int | Base::Bool)) => {
                let n = self.int(n)?;
                let product = self.binary(x, op, &n)?;
                delta(product)
            }
            (date, Operator::Add | Operator::Sub, Sym::Delta(x))
                if matches!(date.base(), Some(Base::Date | Base::DateTime)) =>
            {
                self.moved(date, x, op == Operator::Sub)
            }
            (Sym::Delta(x), Operator::Add, date)
                if matches!(date.base(), Some(Base::Date | Base::DateTime)) =>
            {
                self.moved(date, x, false)
            }
            (a, op, b) => {
                self.no(format!("`{}` of {} and {} is not compiled", op.as_str(), a.describe(), b.describe()))
            }
        }
    }

    /// A date or datetime plus or minus microseconds.
    fn moved(&mut self, date: &Sym, micros: &Sym, back: bool) -> R<Sym> {
        // A date moves by the `days` of the timedelta, which are rounded down before they are negated.
        let by = if date.base() == Some(Base::Date) {
            self.binary(micros, Operator::FloorDiv, &Sym::Int(DAY))?
        } else {
            micros.clone()
        };
        let by = if back { self.unary(UnaryOp::USub, &by)? } else { by };
        self.call(Op::DateAdd, &[date, &by])
    }
}

fn folded(a: i64, op: Operator, b: i64) -> Option<i64> {
    match op {
        Operator::Add => a.checked_add(b),
        Operator::Sub => a.checked_sub(b),
        Operator::Mult => a.checked_mul(b),
        Operator::Pow => a.checked_pow(u32::try_from(b).ok()?),
        Operator::LShift => (0..63).contains(&b).then(|| a.checked_mul(1 << b)).flatten(),
        _ => None,
    }
}
