//! Comparisons, `is` and `in`.

use crate::python_udf::sym::{R, Seq, Sym};
use crate::python_udf::translate::{Translator, Truth};
use fuseline_codegen::function::{Base, Compare, Op, StrTest, Table, Type};
use ruff_python_ast::CmpOp;
use std::cmp::Ordering;
use std::rc::Rc;

/// Members up to this many are compared one by one.
const FEW: usize = 4;

impl Translator {
    pub fn compare(&mut self, a: &Sym, op: CmpOp, b: &Sym) -> R<Truth> {
        let array = |s: &Sym| matches!(s, Sym::Array(_));
        if (array(a) || array(b)) && !matches!(op, CmpOp::Is | CmpOp::IsNot) {
            return self.no_truth();
        }
        match op {
            CmpOp::Eq => self.equal(a, b),
            CmpOp::NotEq => {
                let equal = self.equal(a, b)?;
                self.not(equal)
            }
            CmpOp::Lt => self.ordered(a, Compare::Lt, b),
            CmpOp::LtE => self.ordered(a, Compare::Le, b),
            CmpOp::Gt => self.ordered(a, Compare::Gt, b),
            CmpOp::GtE => self.ordered(a, Compare::Ge, b),
            CmpOp::Is => self.identical(a, b),
            CmpOp::IsNot => {
                let same = self.identical(a, b)?;
                self.not(same)
            }
            CmpOp::In => self.contains(b, a),
            CmpOp::NotIn => {
                let inside = self.contains(b, a)?;
                self.not(inside)
            }
        }
    }

    /// `a == b`.
    pub fn equal(&mut self, a: &Sym, b: &Sym) -> R<Truth> {
        for sym in [a, b] {
            if let Sym::Bad(no) = sym {
                return Err((**no).clone());
            }
            if let Sym::Other(what) = sym {
                return self.no(format!("{what} is compared, which may do anything"));
            }
        }
        match (a, b) {
            (Sym::None, Sym::None) => return Ok(Truth::Known(true)),
            (Sym::None, other) | (other, Sym::None) => return self.is_none(other),
            (_, _) => {}
        }
        match (a.optional(), b.optional()) {
            (false, false) => {}
            (true, false) => return self.equal_unless_none(a, b),
            (false, true) => return self.equal_unless_none(b, a),
            (true, true) => {
                let (none_a, none_b) = (self.is_none(a)?, self.is_none(b)?);
                let equal = self.choose(none_a, &mut |t| t.truth_sym(none_b), &mut |t| {
                    let some = t.some(a)?;
                    let equal = t.equal(&some, b)?;
                    t.truth_sym(equal)
                })?;
                return self.truth(&equal);
            }
        }
        match (a, b) {
            (Sym::Delta(a), Sym::Delta(b)) => return self.equal(a, b),
            (Sym::Seq(x), Sym::Seq(y)) => return self.equal_seqs(x, y),
            (Sym::Known(x), Sym::Known(y)) => return Ok(Truth::Known(x == y)),
            (_, _) => {}
        }
        let (Some(x), Some(y)) = (a.base(), b.base()) else {
            if a.base().is_some() != b.base().is_some() {
                return Ok(Truth::Known(false));
            }
            return self.no(format!("comparing {} with {} is not compiled", a.describe(), b.describe()));
        };
        if let Some(order) = fold(a, b) {
            return Ok(Truth::Known(order == Some(Ordering::Equal)));
        }
        let number = |b: Base| matches!(b, Base::Bool | Base::Int | Base::Float);
        if x != y && !(number(x) && number(y)) {
            return Ok(Truth::Known(false));
        }
        self.compared(a, Compare::Eq, b)
    }

    fn equal_unless_none(&mut self, optional: &Sym, other: &Sym) -> R<Truth> {
        let none = self.is_none(optional)?;
        let equal = self.choose(none, &mut |_| Ok(Sym::Bool(false)), &mut |t| {
            let some = t.some(optional)?;
            let equal = t.equal(&some, other)?;
            t.truth_sym(equal)
        })?;
        self.truth(&equal)
    }

    fn equal_seqs(&mut self, a: &Rc<Seq>, b: &Rc<Seq>) -> R<Truth> {
        let tuple = |seq: &Seq| matches!(seq, Seq::Items(_, true) | Seq::Parts { .. });
        if tuple(a) != tuple(b) {
            return Ok(Truth::Known(false));
        }
        let (Some(n), Some(m)) = (self.static_len(a), self.static_len(b)) else {
            let (long, short) = if self.static_len(a).is_some() { (b, a) } else { (a, b) };
            let Some(n) = self.static_len(short) else {
                return self.no("comparing two lists of unknown length is not compiled");
            };
            let length = self.seq_len(long)?;
            let alike = self.equal(&length, &Sym::Int(n as i64))?;
            let (long, short) = (long.clone(), short.clone());
            let all = self.choose(
                alike,
                &mut |t| {
                    let mut all = Truth::Known(true);
                    for i in 0..n as i64 {
                        let (x, y) = (t.seq_item(&long, &Sym::Int(i))?, t.seq_item(&short, &Sym::Int(i))?);
                        let equal = t.equal(&x, &y)?;
                        all = t.both(all, equal)?;
                    }
                    t.truth_sym(all)
                },
                &mut |_| Ok(Sym::Bool(false)),
            )?;
            return self.truth(&all);
        };
        if n != m {
            return Ok(Truth::Known(false));
        }
        let mut all = Truth::Known(true);
        for i in 0..n as i64 {
            let (x, y) = (self.seq_item(a, &Sym::Int(i))?, self.seq_item(b, &Sym::Int(i))?);
            let equal = self.equal(&x, &y)?;
            all = self.both(all, equal)?;
        }
        Ok(all)
    }

    pub fn is_none(&mut self, sym: &Sym) -> R<Truth> {
        Ok(match sym {
            Sym::None => Truth::Known(true),
            Sym::Val(value, ty) if ty.optional => Truth::Asked(self.op(Op::IsNone, vec![*value])?),
            Sym::Bad(no) => return Err((**no).clone()),
            _ => Truth::Known(false),
        })
    }

    /// `a is b`, for None, True and False.
    pub fn identical(&mut self, a: &Sym, b: &Sym) -> R<Truth> {
        match (a, b) {
            (x, Sym::None) | (Sym::None, x) => self.is_none(x),
            // A bool of NumPy's may be the very one or another.
            (Sym::Array(_), _) | (_, Sym::Array(_)) => self.no_truth(),
            (x, Sym::Bool(v)) | (Sym::Bool(v), x) => {
                if x.base() == Some(Base::Bool) {
                    self.equal(x, &Sym::Bool(*v))
                } else {
                    Ok(Truth::Known(false))
                }
            }
            (Sym::Known(x), Sym::Known(y)) => Ok(Truth::Known(x == y)),
            (_, _) => self.no("`is` is compiled with None, True and False only"),
        }
    }

    fn ordered(&mut self, a: &Sym, op: Compare, b: &Sym) -> R<Truth> {
        let (a, b) = (self.some(a)?, self.some(b)?);
        if let (Sym::Delta(a), Sym::Delta(b)) = (&a, &b) {
            return self.ordered(a, op, b);
        }
        if let (Sym::Seq(x), Sym::Seq(y)) = (&a, &b) {
            return self.ordered_seqs(x, op, y, 0);
        }
        let (Some(x), Some(y)) = (a.base(), b.base()) else {
            if matches!(a, Sym::None) || matches!(b, Sym::None) || a.base().is_some() != b.base().is_some() {
                let never = self.never(Base::Bool)?;
                return self.truth(&never);
            }
            return self.no(format!("comparing {} with {} is not compiled", a.describe(), b.describe()));
        };
        if let Some(order) = fold(&a, &b) {
            return Ok(Truth::Known(match (order, op) {
                (Some(Ordering::Less), Compare::Lt | Compare::Le)
                | (Some(Ordering::Greater), Compare::Gt | Compare::Ge)
                | (Some(Ordering::Equal), Compare::Le | Compare::Ge) => true,
                (_, _) => false,
            }));
        }
        let number = |b: Base| matches!(b, Base::Bool | Base::Int | Base::Float);
        if x != y && !(number(x) && number(y)) {
            let never = self.never(Base::Bool)?;
            return self.truth(&never);
        }
        self.compared(&a, op, &b)
    }

    /// Tuples: the first items that differ decide.
    fn ordered_seqs(&mut self, a: &Rc<Seq>, op: Compare, b: &Rc<Seq>, from: usize) -> R<Truth> {
        let (Some(n), Some(m)) = (self.static_len(a), self.static_len(b)) else {
            return self.no("comparing lists of unknown length is not compiled");
        };
        if from >= n || from >= m {
            let order = n.cmp(&m);
            return Ok(Truth::Known(match op {
                Compare::Lt => order.is_lt(),
                Compare::Le => order.is_le(),
                Compare::Gt => order.is_gt(),
                Compare::Ge => order.is_ge(),
                Compare::Eq => order.is_eq(),
                Compare::Ne => order.is_ne(),
            }));
        }
        let at = Sym::Int(from as i64);
        let (x, y) = (self.seq_item(a, &at)?, self.seq_item(b, &at)?);
        let equal = self.equal(&x, &y)?;
        let (a, b) = (a.clone(), b.clone());
        let result = self.choose(
            equal,
            &mut |t| {
                let truth = t.ordered_seqs(&a, op, &b, from + 1)?;
                t.truth_sym(truth)
            },
            &mut |t| {
                let truth = t.ordered(&x, op, &y)?;
                t.truth_sym(truth)
            },
        )?;
        self.truth(&result)
    }

    /// Two values that can be compared, neither of them optional.
    fn compared(&mut self, a: &Sym, op: Compare, b: &Sym) -> R<Truth> {
        let (Some(x), Some(y)) = (a.base(), b.base()) else {
            return self.no("this comparison is not compiled");
        };
        let value = match (x, y) {
            (Base::Bool, Base::Int) | (Base::Int, Base::Bool) => {
                let (a, b) = (self.int(a)?, self.int(b)?);
                return self.compared(&a, op, &b);
            }
            (Base::Bool, Base::Float) => {
                let a = self.int(a)?;
                return self.compared(&a, op, b);
            }
            (Base::Float, Base::Bool) => {
                let b = self.int(b)?;
                return self.compared(a, op, &b);
            }
            (Base::Int, Base::Float) => match a {
                // A float holds such an int exactly.
                Sym::Int(v) if v.unsigned_abs() <= 1 << 53 => {
                    self.call(Op::Cmp(op), &[&Sym::Float(*v as f64), b])?
                }
                _ => self.call(Op::CmpIntFloat(op), &[a, b])?,
            },
            (Base::Float, Base::Int) => match b {
                Sym::Int(v) if v.unsigned_abs() <= 1 << 53 => {
                    self.call(Op::Cmp(op), &[a, &Sym::Float(*v as f64)])?
                }
                _ => self.call(Op::CmpIntFloat(flipped(op)), &[b, a])?,
            },
            (
                Base::Bool | Base::Int | Base::Float | Base::Str | Base::Date | Base::DateTime,
                Base::Bool | Base::Int | Base::Float | Base::Str | Base::Date | Base::DateTime,
            ) => self.call(Op::Cmp(op), &[a, b])?,
        };
        self.truth(&value)
    }

    /// `item in container`.
    pub fn contains(&mut self, container: &Sym, item: &Sym) -> R<Truth> {
        let container = self.some(container)?;
        match &container {
            Sym::Str(_) | Sym::Val(..) if container.base() == Some(Base::Str) => {
                if let (Sym::Str(text), Sym::Str(part)) = (&container, item) {
                    return Ok(Truth::Known(text.contains(&**part)));
                }
                if item.base() != Some(Base::Str) {
                    let never = self.never(Base::Bool)?;
                    return self.truth(&never);
                }
                let part = self.text(item)?;
                // One character of a few constants.
                let found = self.call(Op::Test(StrTest::Contains), &[&container, &part])?;
                self.truth(&found)
            }
            Sym::Set(items) => self.among(item, items),
            Sym::Letters(letters) => self.among_letters(letters, item),
            Sym::Dict(items) => {
                let keys: Vec<Sym> = items.iter().map(|(k, _)| k.clone()).collect();
                self.among(item, &keys)
            }
            Sym::Seq(seq) => match &**seq {
                Seq::Items(items, _) => self.among(item, items),
                Seq::Range { start, stop, step } => {
                    let int = match item.base() {
                        Some(Base::Int | Base::Bool) if !item.optional() => self.int(item)?,
                        _ => return self.no("a range that holds other things than ints is not compiled"),
                    };
                    let (low, high) = if *step > 0 {
                        (self.ordered(&int, Compare::Ge, start)?, self.ordered(&int, Compare::Lt, stop)?)
                    } else {
                        (self.ordered(&int, Compare::Le, start)?, self.ordered(&int, Compare::Gt, stop)?)
                    };
                    let inside = self.both(low, high)?;
                    if step.abs() == 1 {
                        return Ok(inside);
                    }
                    self.no("a range with steps that holds a value is not compiled")
                }
                _ => self.any_equal(seq, item),
            },
            Sym::None => {
                let never = self.never(Base::Bool)?;
                self.truth(&never)
            }
            other => self.no(format!("`in` {} is not compiled", other.describe())),
        }
    }

    /// Whether an item is one of these: by identity or equality, which differ for NaN only.
    fn among(&mut self, item: &Sym, members: &[Sym]) -> R<Truth> {
        // The very same value.
        if members.iter().any(|m| !m.is_constant() && m.same(item)) {
            return Ok(Truth::Known(true));
        }
        if item.base() == Some(Base::Float)
            && members.iter().any(|m| !m.is_constant() && m.base() == Some(Base::Float))
        {
            return self.no("`in` with floats that may be the same NaN is not compiled");
        }
        if matches!(item, Sym::Float(v) if v.is_nan()) {
            return self.no("`in` with a constant NaN is not compiled");
        }
        if item.optional() {
            let none = self.is_none(item)?;
            let has_none = members.iter().any(|m| matches!(m, Sym::None));
            let has_optional = members.iter().any(Sym::optional);
            if !has_optional {
                let found = self.choose(none, &mut |_| Ok(Sym::Bool(has_none)), &mut |t| {
                    let some = t.some(item)?;
                    let found = t.among(&some, members)?;
                    t.truth_sym(found)
                })?;
                return self.truth(&found);
            }
        }
        let base = item.base();
        if members.len() > FEW && matches!(base, Some(Base::Int | Base::Str)) && !item.is_constant() {
            // Members of other types are never equal, but for numbers.
            let other_numbers = base == Some(Base::Int)
                && members.iter().any(|m| matches!(m.base(), Some(Base::Bool | Base::Float)));
            if members.iter().all(Sym::is_constant) && !other_numbers {
                let mut entries = vec![];
                for member in members.iter().filter(|m| m.base() == base) {
                    if let Some(key) = constant(member)
                        && entries.iter().all(|(k, _)| *k != key)
                    {
                        entries.push((key, Some(fuseline_codegen::function::Const::Bool(true))));
                    }
                }
                if let Some(keys) = base
                    && !entries.is_empty()
                {
                    let table = self.build.table(Table { keys, values: Type::BOOL, entries });
                    let found = self.call(Op::Has(table), &[item])?;
                    return self.truth(&found);
                }
            }
        }
        let mut any = Truth::Known(false);
        for member in members {
            let equal = self.equal(item, member)?;
            any = self.either(any, equal)?;
        }
        Ok(any)
    }
}

/// A constant of the IR.
pub fn constant(sym: &Sym) -> Option<fuseline_codegen::function::Const> {
    use fuseline_codegen::function::Const;
    Some(match sym {
        Sym::Bool(v) => Const::Bool(*v),
        Sym::Int(v) => Const::Int(*v),
        Sym::Float(v) => Const::Float(v.to_bits()),
        Sym::Str(v) => Const::Str(v.to_string()),
        _ => return None,
    })
}

fn flipped(op: Compare) -> Compare {
    match op {
        Compare::Eq => Compare::Eq,
        Compare::Ne => Compare::Ne,
        Compare::Lt => Compare::Gt,
        Compare::Le => Compare::Ge,
        Compare::Gt => Compare::Lt,
        Compare::Ge => Compare::Le,
    }
}

/// How two constants of one kind compare; none inside for NaN.
fn fold(a: &Sym, b: &Sym) -> Option<Option<Ordering>> {
    Some(match (a, b) {
        (Sym::Int(a), Sym::Int(b)) | (Sym::Date(a), Sym::Date(b)) | (Sym::DateTime(a), Sym::DateTime(b)) => {
            Some(a.cmp(b))
        }
        (Sym::Float(a), Sym::Float(b)) => a.partial_cmp(b),
        (Sym::Str(a), Sym::Str(b)) => Some(a.cmp(b)),
        (Sym::Bool(a), Sym::Bool(b)) => Some(a.cmp(b)),
        (Sym::Bool(a), Sym::Int(b)) => Some(i64::from(*a).cmp(b)),
        (Sym::Int(a), Sym::Bool(b)) => Some(a.cmp(&i64::from(*b))),
        (_, _) => return None,
    })
}
