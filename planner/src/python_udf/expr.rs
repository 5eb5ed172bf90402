//! Expressions.

use crate::python_udf::sym::{How, R, Seq, Sym};
use crate::python_udf::translate::{Translator, Truth};
use fuseline_codegen::function::{Base, Compare, Op};
use ruff_python_ast::{BoolOp, Expr, Number, UnaryOp};
use ruff_text_size::Ranged;
use std::rc::Rc;

impl Translator {
    pub fn expr(&mut self, expr: &Expr) -> R<Sym> {
        let outer = std::mem::replace(&mut self.frame_mut().here, expr.range().start());
        let sym = self.expr_here(expr);
        if sym.is_ok() {
            self.frame_mut().here = outer;
        }
        sym
    }

    fn expr_here(&mut self, expr: &Expr) -> R<Sym> {
        match expr {
            Expr::NoneLiteral(_) => Ok(Sym::None),
            Expr::BooleanLiteral(e) => Ok(Sym::Bool(e.value)),
            Expr::NumberLiteral(e) => match &e.value {
                Number::Int(int) => match int.as_i64() {
                    Some(v) => Ok(Sym::Int(v)),
                    None => self.no("an int beyond 64 bits is not compiled"),
                },
                Number::Float(v) => Ok(Sym::Float(*v)),
                Number::Complex { .. } => self.no("complex numbers are not compiled"),
            },
            Expr::StringLiteral(e) => self.literal(e.value.to_str()),
            Expr::Name(e) => self.name(e.id.as_str()),
            Expr::Named(e) => {
                let value = self.expr(&e.value)?;
                self.assign(&e.target, &value)?;
                Ok(value)
            }
            Expr::BoolOp(e) => self.bool_op(e.op, &e.values, None),
            Expr::UnaryOp(e) => {
                if e.op == UnaryOp::Not {
                    let truth = self.cond(expr)?;
                    return self.truth_sym(truth);
                }
                let operand = self.expr(&e.operand)?;
                self.unary(e.op, &operand)
            }
            Expr::BinOp(e) => {
                let left = self.expr(&e.left)?;
                let right = self.expr(&e.right)?;
                self.binary(&left, e.op, &right)
            }
            Expr::If(e) => {
                let cond = self.cond(&e.test)?;
                self.choose(cond, &mut |t| t.narrowed(&e.test, true, &mut |t| t.expr(&e.body)), &mut |t| {
                    t.narrowed(&e.test, false, &mut |t| t.expr(&e.orelse))
                })
            }
            Expr::Compare(e) => {
                // Only functions over arrays have comparisons that are no truth.
                if self.target.dtype.is_some()
                    && let ([op], [right]) = (&*e.ops, &*e.comparators)
                {
                    let (left, right) = (self.expr(&e.left)?, self.expr(right)?);
                    if matches!(left, Sym::Array(_)) || matches!(right, Sym::Array(_)) {
                        return self.array_compare(&left, *op, &right);
                    }
                    let truth = self.compare(&left, *op, &right)?;
                    return self.truth_sym(truth);
                }
                let truth = self.cond(expr)?;
                self.truth_sym(truth)
            }
            Expr::Call(e) => self.call_expr(e),
            Expr::Attribute(e) => {
                let object = self.expr(&e.value)?;
                self.attribute(&object, e.attr.as_str())
            }
            Expr::Subscript(e) => {
                let object = self.expr(&e.value)?;
                self.subscript(&object, &e.slice)
            }
            Expr::Tuple(e) => self.items(&e.elts, true),
            Expr::List(e) => self.items(&e.elts, false),
            Expr::Set(e) => {
                let items = e.elts.iter().map(|e| self.expr(e)).collect::<R<Vec<_>>>()?;
                if items.iter().all(Sym::is_constant) {
                    Ok(Sym::Set(items.into()))
                } else {
                    Ok(Sym::Seq(Rc::new(Seq::Items(items, true))))
                }
            }
            Expr::Dict(e) => {
                let mut items: Vec<(Sym, Sym)> = Vec::with_capacity(e.items.len());
                for item in &e.items {
                    let Some(key) = &item.key else { return self.no("`**` in a dict is not compiled") };
                    let (key, value) = (self.expr(key)?, self.expr(&item.value)?);
                    if !key.is_constant() {
                        return self.no("a dict whose keys are not constants is not compiled");
                    }
                    items.retain(|(k, _)| !k.same(&key));
                    items.push((key, value));
                }
                Ok(Sym::Dict(items.into()))
            }
            Expr::ListComp(e) => self.comprehension(&e.elt, &e.generators, false),
            Expr::Generator(e) => self.comprehension(&e.elt, &e.generators, true),
            Expr::SetComp(_) | Expr::DictComp(_) => self.no("a set or dict that is built is not compiled"),
            Expr::FString(e) => self.f_string(&e.value),
            Expr::Lambda(e) => self.lambda(e),
            Expr::BytesLiteral(_) => self.no("bytes are not compiled"),
            Expr::TString(_) => self.no("t-strings are not compiled"),
            Expr::EllipsisLiteral(_) => self.no("`...` is not compiled"),
            Expr::Starred(_) => self.no("`*` is not compiled here"),
            Expr::Slice(_) => self.no("a slice is not compiled here"),
            Expr::Await(_) | Expr::Yield(_) | Expr::YieldFrom(_) => {
                self.no("a coroutine or generator is not compiled")
            }
            Expr::IpyEscapeCommand(_) => self.no("it is not Python"),
        }
    }

    /// A text of the source. The parser puts U+FFFD for half a surrogate pair, which no column holds either.
    pub fn literal(&mut self, text: &str) -> R<Sym> {
        if text.contains('\u{fffd}') {
            return self.no("this text is not compiled");
        }
        Ok(Sym::Str(text.into()))
    }

    fn items(&mut self, elements: &[Expr], tuple: bool) -> R<Sym> {
        let mut items = Vec::with_capacity(elements.len());
        for element in elements {
            if let Expr::Starred(starred) = element {
                let value = self.expr(&starred.value)?;
                let seq = self.sequence(&value)?;
                let Some(length) = self.static_len(&seq) else {
                    return self.no("`*` of a sequence of unknown length is not compiled");
                };
                for i in 0..length {
                    items.push(self.seq_item(&seq, &Sym::Int(i as i64))?);
                }
            } else {
                items.push(self.expr(element)?);
            }
        }
        Ok(Sym::Seq(Rc::new(Seq::Items(items, tuple))))
    }

    fn comprehension(
        &mut self,
        element: &Expr,
        clauses: &[ruff_python_ast::Comprehension],
        generator: bool,
    ) -> R<Sym> {
        let [clause] = clauses else { return self.no("a comprehension with two `for` is not compiled") };
        if clause.is_async {
            return self.no("`async for` is not compiled");
        }
        let mut bound = std::collections::BTreeSet::new();
        for part in clause.ifs.iter().chain([element]) {
            crate::python_udf::names::assigned_in(part, &mut bound);
        }
        if !bound.is_empty() {
            return self.no("`:=` in a comprehension is not compiled");
        }
        let over = self.expr(&clause.iter)?;
        let over = self.some(&over)?;
        let over = self.sequence(&over)?;
        let how = Rc::new(How { element: element.clone(), clause: clause.clone() });
        let seq = Rc::new(Seq::Mapped { over, how, env: self.env.clone(), generator });
        if generator {
            return Ok(Sym::Seq(seq));
        }
        // A list is made at once. If it is short, so is this one; otherwise it is computed by what uses it, which is
        // the same only if making it cannot raise.
        if let Some(length) = self.static_len(&seq)
            && length <= 24
        {
            let items =
                (0..length).map(|i| self.seq_item(&seq, &Sym::Int(i as i64))).collect::<R<Vec<_>>>()?;
            return Ok(Sym::Seq(Rc::new(Seq::Items(items, false))));
        }
        self.made_at_once(&seq)?;
        Ok(Sym::Seq(seq))
    }

    /// A list is made whole, whatever is used of it: where an item may raise, all are computed here.
    pub fn made_at_once(&mut self, seq: &Rc<Seq>) -> R<()> {
        self.build.open();
        let count = self
            .fold(seq, Sym::Int(0), &mut |t, n, _| t.binary(n, ruff_python_ast::Operator::Add, &Sym::Int(1)));
        let (_, items) = self.closed(count)?;
        let plain = match &**seq {
            Seq::Mapped { over, how, .. } => {
                how.clause.ifs.is_empty()
                    && matches!(&**over, Seq::Chars(_) | Seq::Words(_) | Seq::Split { .. })
                    && matches!(how.element, Expr::Name(_))
            }
            _ => false,
        };
        if !plain {
            self.build.splice(items);
        }
        Ok(())
    }

    /// What a name is bound to.
    pub fn name(&mut self, name: &str) -> R<Sym> {
        if let Some(sym) = self.env.get(name) {
            return match sym {
                Sym::Bad(no) => self.no(no.text.clone()),
                sym => Ok(sym.clone()),
            };
        }
        let frame = self.frame();
        if frame.locals.contains(name) {
            return self.no(format!("`{name}` may have no value here"));
        }
        if let Some(sym) = frame.outer.get(name) {
            return match sym {
                Sym::Bad(no) => self.no(no.text.clone()),
                sym => Ok(sym.clone()),
            };
        }
        match frame.source.named(name).cloned() {
            Some(captured) => Ok(self.captured(&captured)),
            None => self.no(format!("`{name}` is not defined when the function is registered")),
        }
    }

    /// `and`, `or`: the operand that decides.
    fn bool_op(&mut self, op: BoolOp, values: &[Expr], known: Option<Sym>) -> R<Sym> {
        let [first, rest @ ..] = values else { return self.no("an operand is missing") };
        // What `and` returns that is false is passed over by `or`, so it need not be of the other operands' type.
        if let (BoolOp::Or, Expr::BoolOp(e), [last], None) = (op, first, rest, &known)
            && e.op == BoolOp::And
            && e.values.len() <= 3
        {
            return self.and_or(&e.values, last);
        }
        let value = match known {
            Some(value) => value,
            None => self.expr(first)?,
        };
        if rest.is_empty() {
            return Ok(value);
        }
        let truth = self.truth(&value)?;
        let test = first;
        match op {
            BoolOp::And => self.choose(
                truth,
                &mut |t| t.narrowed(test, true, &mut |t| t.bool_op(op, rest, None)),
                &mut |_| Ok(value.clone()),
            ),
            BoolOp::Or => self.choose(
                truth,
                // What is true is not None.
                &mut |t| t.some(&value),
                &mut |t| t.narrowed(test, false, &mut |t| t.bool_op(op, rest, None)),
            ),
        }
    }

    /// `a and b or last`.
    fn and_or(&mut self, values: &[Expr], last: &Expr) -> R<Sym> {
        let [first, rest @ ..] = values else { return self.no("an operand is missing") };
        if rest.is_empty() {
            let value = self.expr(first)?;
            return self.bool_op(BoolOp::Or, &[first.clone(), last.clone()], Some(value));
        }
        let truth = self.cond(first)?;
        self.choose(truth, &mut |t| t.narrowed(first, true, &mut |t| t.and_or(rest, last)), &mut |t| {
            t.narrowed(first, false, &mut |t| t.expr(last))
        })
    }

    /// Reads something where a condition is known; afterwards names are bound as before, unless they were bound anew.
    pub fn narrowed(
        &mut self,
        test: &Expr,
        holds: bool,
        read: &mut dyn FnMut(&mut Translator) -> R<Sym>,
    ) -> R<Sym> {
        let before = self.env.clone();
        self.narrow(test, holds)?;
        let narrow = self.env.clone();
        let result = read(self)?;
        for (name, sym) in &before {
            let unchanged = match (self.env.get(name), narrow.get(name)) {
                (Some(now), Some(then)) => now.same(then),
                (_, _) => false,
            };
            if unchanged {
                self.env.insert(name.clone(), sym.clone());
            }
        }
        Ok(result)
    }

    /// An expression as a condition.
    pub fn cond(&mut self, expr: &Expr) -> R<Truth> {
        self.frame_mut().here = expr.range().start();
        match expr {
            Expr::UnaryOp(e) if e.op == UnaryOp::Not => {
                let truth = self.cond(&e.operand)?;
                self.not(truth)
            }
            Expr::BoolOp(e) => self.cond_op(e.op, &e.values),
            Expr::Compare(e) => {
                let left = self.expr(&e.left)?;
                self.chain(&left, &e.ops, &e.comparators)
            }
            other => {
                let value = self.expr(other)?;
                self.truth(&value)
            }
        }
    }

    fn cond_op(&mut self, op: BoolOp, values: &[Expr]) -> R<Truth> {
        let [first, rest @ ..] = values else { return self.no("an operand is missing") };
        let truth = self.cond(first)?;
        if rest.is_empty() {
            return Ok(truth);
        }
        let and = op == BoolOp::And;
        let mut goes_on = |t: &mut Translator| {
            t.narrowed(first, and, &mut |t| {
                let truth = t.cond_op(op, rest)?;
                t.truth_sym(truth)
            })
        };
        let result = if and {
            self.choose(truth, &mut goes_on, &mut |_| Ok(Sym::Bool(false)))?
        } else {
            self.choose(truth, &mut |_| Ok(Sym::Bool(true)), &mut goes_on)?
        };
        self.truth(&result)
    }

    /// `a < b < c`: the middle is computed once, and the rest only where it matters.
    fn chain(&mut self, left: &Sym, ops: &[ruff_python_ast::CmpOp], rest: &[Expr]) -> R<Truth> {
        let ([op, ops @ ..], [right, rest @ ..]) = (ops, rest) else {
            return self.no("an operand is missing");
        };
        let right = self.expr(right)?;
        let first = self.compare(left, *op, &right)?;
        if ops.is_empty() {
            return Ok(first);
        }
        let all = self.choose(
            first,
            &mut |t| {
                let truth = t.chain(&right, ops, rest)?;
                t.truth_sym(truth)
            },
            &mut |_| Ok(Sym::Bool(false)),
        )?;
        self.truth(&all)
    }

    /// Whether Python takes a value for true.
    pub fn truth(&mut self, sym: &Sym) -> R<Truth> {
        Ok(match sym {
            Sym::None => Truth::Known(false),
            Sym::Bool(v) => Truth::Known(*v),
            Sym::Int(v) => Truth::Known(*v != 0),
            Sym::Float(v) => Truth::Known(*v != 0.0),
            Sym::Str(v) => Truth::Known(!v.is_empty()),
            Sym::Val(value, ty) if ty.optional => {
                let none = self.op(Op::IsNone, vec![*value])?;
                let result = self.choose(Truth::Asked(none), &mut |_| Ok(Sym::Bool(false)), &mut |t| {
                    let some = t.some(sym)?;
                    let truth = t.truth(&some)?;
                    t.truth_sym(truth)
                })?;
                return self.truth(&result);
            }
            Sym::Val(value, ty) => match ty.base {
                Base::Bool => Truth::Asked(*value),
                Base::Int => return self.compare(sym, ruff_python_ast::CmpOp::NotEq, &Sym::Int(0)),
                Base::Float => return self.compare(sym, ruff_python_ast::CmpOp::NotEq, &Sym::Float(0.0)),
                Base::Str => {
                    let empty = self.op(Op::Str(String::new()), vec![])?;
                    Truth::Asked(self.op(Op::Cmp(Compare::Ne), vec![*value, empty])?)
                }
                Base::Date | Base::DateTime => Truth::Known(true),
            },
            Sym::Num(_) => return self.compare(sym, ruff_python_ast::CmpOp::NotEq, &Sym::Float(0.0)),
            Sym::Delta(micros) => return self.truth(micros),
            Sym::Seq(seq) => {
                if matches!(&**seq, Seq::Mapped { generator: true, .. } | Seq::Zip(_) | Seq::Enumerate(..)) {
                    return Ok(Truth::Known(true));
                }
                let length = self.seq_len(seq)?;
                return self.truth(&length);
            }
            Sym::Set(items) => Truth::Known(!items.is_empty()),
            Sym::Letters(letters) => return self.truth(letters),
            Sym::Dict(items) => Truth::Known(!items.is_empty()),
            Sym::Date(_)
            | Sym::DateTime(_)
            | Sym::Module(..)
            | Sym::Known(_)
            | Sym::Function(_)
            | Sym::Local(_)
            | Sym::Method(..) => Truth::Known(true),
            Sym::Array(_) => return self.no_truth(),
            Sym::Other(what) => return self.no(format!("whether {what} is true is not known")),
            Sym::Bad(no) => return Err((**no).clone()),
        })
    }

    pub fn truth_sym(&mut self, truth: Truth) -> R<Sym> {
        Ok(match truth {
            Truth::Known(v) => Sym::Bool(v),
            Truth::Asked(value) => Sym::Val(value, fuseline_codegen::function::Type::BOOL),
        })
    }

    pub fn not(&mut self, truth: Truth) -> R<Truth> {
        Ok(match truth {
            Truth::Known(v) => Truth::Known(!v),
            Truth::Asked(value) => Truth::Asked(self.op(Op::Not, vec![value])?),
        })
    }

    pub fn both(&mut self, a: Truth, b: Truth) -> R<Truth> {
        Ok(match (a, b) {
            (Truth::Known(false), _) | (_, Truth::Known(false)) => Truth::Known(false),
            (Truth::Known(true), x) | (x, Truth::Known(true)) => x,
            (Truth::Asked(a), Truth::Asked(b)) => Truth::Asked(self.op(Op::And, vec![a, b])?),
        })
    }

    pub fn either(&mut self, a: Truth, b: Truth) -> R<Truth> {
        Ok(match (a, b) {
            (Truth::Known(true), _) | (_, Truth::Known(true)) => Truth::Known(true),
            (Truth::Known(false), x) | (x, Truth::Known(false)) => x,
            (Truth::Asked(a), Truth::Asked(b)) => Truth::Asked(self.op(Op::Or, vec![a, b])?),
        })
    }
}
