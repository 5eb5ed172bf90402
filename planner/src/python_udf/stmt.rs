//! Statements.

use crate::python_udf::build::{Hole, Item};
use crate::python_udf::names::{jumps, returns};
use crate::python_udf::source::Parsed;
use crate::python_udf::sym::{Env, Nested, R, Seq, Sym};
use crate::python_udf::translate::{Flow, Returning, Translator, Truth};
use fuseline_codegen::function::{Op, Stmt as Out, Type};
use ruff_python_ast::{ElifElseClause, ExceptHandler, Expr, Operator, Pattern, Singleton, Stmt, StmtTry};
use ruff_text_size::Ranged;
use std::rc::Rc;

/// How deeply `if`s may be nested, with what follows an `if` that returns counted as nested in its `else`.
const DEEPEST: usize = 200;

impl Translator {
    /// Reads statements up to their end or to one that leaves.
    pub fn block(&mut self, stmts: &[Stmt]) -> R<Flow> {
        for (i, stmt) in stmts.iter().enumerate() {
            self.frame_mut().here = stmt.range().start();
            match stmt {
                // What follows may go into one of its branches.
                Stmt::If(s) => {
                    self.depth += 1;
                    if self.depth > DEEPEST {
                        return self.no("its `if`s are nested too deeply");
                    }
                    let flow = self.if_chain(&s.test, &s.body, &s.elif_else_clauses, &stmts[i + 1..]);
                    self.depth -= 1;
                    return flow;
                }
                Stmt::Match(s) => {
                    let subject = self.expr(&s.subject)?;
                    return self.cases(&subject, &s.cases, &stmts[i + 1..]);
                }
                other => {
                    if self.stmt(other)? == Flow::Ends {
                        return Ok(Flow::Ends);
                    }
                }
            }
        }
        Ok(Flow::Falls)
    }

    fn stmt(&mut self, stmt: &Stmt) -> R<Flow> {
        match stmt {
            Stmt::Expr(s) => match &*s.value {
                // A docstring.
                Expr::StringLiteral(_) | Expr::EllipsisLiteral(_) => {}
                value => {
                    self.expr(value)?;
                }
            },
            Stmt::Pass(_) => {}
            Stmt::Assign(s) => {
                let value = self.expr(&s.value)?;
                for target in &s.targets {
                    self.assign(target, &value)?;
                }
            }
            Stmt::AnnAssign(s) => {
                if let Some(value) = &s.value {
                    let value = self.expr(value)?;
                    self.assign(&s.target, &value)?;
                }
            }
            Stmt::AugAssign(s) => {
                let Expr::Name(name) = &*s.target else {
                    return self.no("assigning to parts of an object is an effect, so it stays Python");
                };
                let old = self.name(name.id.as_str())?;
                let new = self.expr(&s.value)?;
                let sum = match (&old, s.op, &new) {
                    // A list that `+=` changes is seen through its other names too.
                    (Sym::Seq(seq), Operator::Add, _) if matches!(&**seq, Seq::Items(_, false)) => {
                        return self.no("lists that change are not compiled");
                    }
                    _ => self.binary(&old, s.op, &new)?,
                };
                self.env.insert(name.id.as_str().into(), sum);
            }
            Stmt::Return(s) => {
                let value = match &s.value {
                    Some(value) => self.expr(value)?,
                    None => Sym::None,
                };
                return self.returned(&value);
            }
            Stmt::Raise(_) => return Ok(self.bail()),
            Stmt::Assert(s) => {
                let holds = self.cond(&s.test)?;
                match holds {
                    Truth::Known(true) => {}
                    Truth::Known(false) => return Ok(self.bail()),
                    Truth::Asked(value) => self.demand(value)?,
                }
                self.narrow(&s.test, true)?;
            }
            Stmt::While(s) => return self.while_loop(s),
            Stmt::For(s) => return self.for_loop(s),
            Stmt::Break(_) => return self.leave_loop(),
            Stmt::Continue(_) => return self.next_round(),
            Stmt::Try(s) => return self.try_body(s),
            Stmt::FunctionDef(def) => {
                if !def.decorator_list.is_empty() || def.is_async {
                    return self.no("a decorated function within is not compiled");
                }
                let nested = self.nested(Rc::new(Parsed::Def(Box::new(def.clone()))))?;
                self.env.insert(def.name.as_str().into(), nested);
            }
            Stmt::Import(s) => {
                for alias in &s.names {
                    let name = alias.name.as_str();
                    let known = self.frame().source.named(&format!("import {name}")).cloned();
                    let Some(module) = known else {
                        return self.no(format!("`import {name}` runs code, so it stays Python"));
                    };
                    let bound = alias.asname.as_ref().map_or(name, |n| n.as_str());
                    let module = self.captured(&module);
                    self.env.insert(bound.into(), module);
                }
            }
            Stmt::ImportFrom(s) => {
                let module = s.module.as_ref().map_or("", |m| m.as_str());
                for alias in &s.names {
                    let known = self.frame().source.named(&format!("import {module}")).cloned();
                    let Some(module) = known.filter(|_| s.level == 0) else {
                        return self.no(format!("`from {module} import` runs code, so it stays Python"));
                    };
                    let module = self.captured(&module);
                    let value = self.attribute(&module, alias.name.as_str())?;
                    let bound = alias.asname.as_ref().unwrap_or(&alias.name).as_str();
                    self.env.insert(bound.into(), value);
                }
            }
            Stmt::Delete(_) => return self.no("`del` is not compiled"),
            Stmt::ClassDef(_) => return self.no("a class within is not compiled"),
            Stmt::TypeAlias(_) => return self.no("a type alias within is not compiled"),
            Stmt::With(s) => return self.error_state(s),
            Stmt::Global(_) => return self.no("`global` writes outside the function, so it stays Python"),
            Stmt::Nonlocal(_) => {
                return self.no("`nonlocal` writes outside the function, so it stays Python");
            }
            Stmt::If(_) | Stmt::Match(_) => return self.block(std::slice::from_ref(stmt)),
            Stmt::IpyEscapeCommand(_) => return self.no("it is not Python"),
        }
        Ok(Flow::Falls)
    }

    /// An exception is always Python's, and so is what catches it: whatever may raise bails, so that only the body is
    /// read, and rows that raise are counted as bails like all others.
    fn try_body(&mut self, s: &StmtTry) -> R<Flow> {
        if s.is_star {
            return self.no("`except*` is not compiled");
        }
        for handler in &s.handlers {
            let ExceptHandler::ExceptHandler(handler) = handler;
            if let Some(name) = &handler.name {
                self.env.remove(name.as_str());
            }
        }
        let leaves = |b: &[Stmt]| {
            let own = jumps(b);
            (returns(b), own.breaks || own.continues)
        };
        let ((body, out), (orelse, out_of_else)) = (leaves(&s.body), leaves(&s.orelse));
        if !s.finalbody.is_empty() && (body || orelse || out || out_of_else) {
            // What is left behind by `return` may be set on the way out, as nobody sees it then.
            let constant = |stmt: &Stmt| match stmt {
                Stmt::Pass(_) => true,
                Stmt::Assign(s) => {
                    s.value.is_literal_expr() && s.targets.iter().all(|t| matches!(t, Expr::Name(_)))
                }
                _ => false,
            };
            let seen = out || out_of_else || self.frames.len() > 1;
            if seen || !s.finalbody.iter().all(constant) {
                return self.no("`finally` after a return or out of a loop is not compiled");
            }
        }
        let flow = self.block(&s.body)?;
        let flow = if flow == Flow::Falls { self.block(&s.orelse)? } else { flow };
        if flow == Flow::Falls { self.block(&s.finalbody) } else { Ok(flow) }
    }

    /// `return value`, and reaching the end.
    pub fn returned(&mut self, value: &Sym) -> R<Flow> {
        if let Returning::Row = self.frame().returning {
            return self.return_row(value);
        }
        if let Sym::Bad(no) = value {
            return Err((**no).clone());
        }
        let hole = self.build.hole();
        let inside = !self.frame().loops.is_empty();
        let mut flag = None;
        if let Returning::Inlined { returned, jumps, left } = &mut self.frame_mut().returning {
            returned.push((value.clone(), hole));
            flag = jumps.then_some(*left);
        }
        if let Some(left) = flag {
            if inside && let Some(left) = left {
                let yes = self.op(Op::Bool(true), vec![])?;
                self.build.plain(Out::Set(left, yes));
            }
            self.build.plain(Out::Break);
        }
        Ok(Flow::Ends)
    }

    /// `if` and the clauses that follow, then `rest`: what comes after it in the block. If one branch leaves, `rest`
    /// goes into the other one, which knows more then.
    fn if_chain(&mut self, test: &Expr, body: &[Stmt], clauses: &[ElifElseClause], rest: &[Stmt]) -> R<Flow> {
        let cond = match self.cond(test)? {
            Truth::Known(true) => {
                self.narrow(test, true)?;
                return match self.block(body)? {
                    Flow::Ends => Ok(Flow::Ends),
                    Flow::Falls => self.block(rest),
                };
            }
            Truth::Known(false) => {
                self.narrow(test, false)?;
                return self.else_chain(clauses, rest);
            }
            Truth::Asked(cond) => cond,
        };
        let before = self.env.clone();
        self.branch(
            cond,
            &before,
            &mut |t| {
                t.narrow(test, true)?;
                t.block(body)
            },
            &mut |t, rest| {
                t.narrow(test, false)?;
                t.else_chain(clauses, rest)
            },
            rest,
        )
    }

    /// Two branches and what follows them.
    fn branch(
        &mut self,
        cond: fuseline_codegen::function::Value,
        before: &Env,
        then: &mut dyn FnMut(&mut Translator) -> R<Flow>,
        otherwise: &mut dyn FnMut(&mut Translator, &[Stmt]) -> R<Flow>,
        rest: &[Stmt],
    ) -> R<Flow> {
        self.build.open();
        let flow = then(self);
        let (flow, first) = self.closed(flow)?;
        let env_then = std::mem::replace(&mut self.env, before.clone());
        self.build.open();
        let goes_on = if flow == Flow::Ends { rest } else { &[] };
        let other = otherwise(self, goes_on);
        let (other, second) = self.closed(other)?;
        match (flow, other) {
            (Flow::Ends, Flow::Ends) => {
                self.build.push(Item::If { cond, then: first, otherwise: second });
                Ok(Flow::Ends)
            }
            (Flow::Ends, Flow::Falls) => {
                let env = self.env.clone();
                let (second, hole) = self.with_hole(second);
                self.build.push(Item::If { cond, then: first, otherwise: second });
                self.merge(before, vec![(env, hole)])?;
                Ok(Flow::Falls)
            }
            (Flow::Falls, Flow::Ends) => {
                self.env = env_then;
                self.build.open();
                self.build.splice(first);
                let flow = self.block(rest);
                let (flow, first) = self.closed(flow)?;
                if flow == Flow::Ends {
                    self.build.push(Item::If { cond, then: first, otherwise: second });
                    return Ok(Flow::Ends);
                }
                let env = self.env.clone();
                let (first, hole) = self.with_hole(first);
                self.build.push(Item::If { cond, then: first, otherwise: second });
                self.merge(before, vec![(env, hole)])?;
                Ok(Flow::Falls)
            }
            (Flow::Falls, Flow::Falls) => {
                let env = self.env.clone();
                let (first, a) = self.with_hole(first);
                let (second, b) = self.with_hole(second);
                self.build.push(Item::If { cond, then: first, otherwise: second });
                self.merge(before, vec![(env_then, a), (env, b)])?;
                self.block(rest)
            }
        }
    }

    pub fn with_hole(&mut self, items: Vec<Item>) -> (Vec<Item>, Hole) {
        self.build.open();
        self.build.splice(items);
        let hole = self.build.hole();
        (self.build.close(), hole)
    }

    fn else_chain(&mut self, clauses: &[ElifElseClause], rest: &[Stmt]) -> R<Flow> {
        match clauses {
            [] => self.block(rest),
            [first, others @ ..] => match &first.test {
                Some(test) => {
                    self.frame_mut().here = test.range().start();
                    self.depth += 1;
                    if self.depth > DEEPEST {
                        return self.no("its `if`s are nested too deeply");
                    }
                    let flow = self.if_chain(test, &first.body, others, rest);
                    self.depth -= 1;
                    flow
                }
                None => match self.block(&first.body)? {
                    Flow::Ends => Ok(Flow::Ends),
                    Flow::Falls => self.block(rest),
                },
            },
        }
    }

    /// The cases of `match`, one after the other.
    fn cases(&mut self, subject: &Sym, cases: &[ruff_python_ast::MatchCase], rest: &[Stmt]) -> R<Flow> {
        let [case, others @ ..] = cases else { return self.block(rest) };
        self.frame_mut().here = case.range.start();
        let before = self.env.clone();
        let matches = self.pattern(&case.pattern, subject)?;
        let cond = match (&case.guard, matches) {
            (_, Truth::Known(false)) => {
                self.env = before;
                return self.cases(subject, others, rest);
            }
            (None, matches) => matches,
            (Some(guard), matches) => {
                let both = self.choose(
                    matches,
                    &mut |t| {
                        let holds = t.cond(guard)?;
                        t.truth_sym(holds)
                    },
                    &mut |_| Ok(Sym::Bool(false)),
                )?;
                self.truth(&both)?
            }
        };
        match cond {
            Truth::Known(true) => match self.block(&case.body)? {
                Flow::Ends => Ok(Flow::Ends),
                Flow::Falls => self.block(rest),
            },
            Truth::Known(false) => self.cases(subject, others, rest),
            Truth::Asked(cond) => {
                let bound = self.env.clone();
                self.branch(
                    cond,
                    &bound,
                    &mut |t| t.block(&case.body),
                    &mut |t, rest| {
                        t.env = before.clone();
                        t.cases(subject, others, rest)
                    },
                    rest,
                )
            }
        }
    }

    /// Whether the subject matches; names are bound.
    fn pattern(&mut self, pattern: &Pattern, subject: &Sym) -> R<Truth> {
        match pattern {
            Pattern::MatchValue(p) => {
                let value = self.expr(&p.value)?;
                self.equal(subject, &value)
            }
            Pattern::MatchSingleton(p) => {
                let value = match p.value {
                    Singleton::None => Sym::None,
                    Singleton::True => Sym::Bool(true),
                    Singleton::False => Sym::Bool(false),
                };
                self.identical(subject, &value)
            }
            Pattern::MatchOr(p) => {
                let mut any = Truth::Known(false);
                for pattern in &p.patterns {
                    if !matches!(pattern, Pattern::MatchValue(_) | Pattern::MatchSingleton(_)) {
                        return self.no("this `case` is not compiled");
                    }
                    let one = self.pattern(pattern, subject)?;
                    any = self.either(any, one)?;
                }
                Ok(any)
            }
            Pattern::MatchAs(p) => {
                let holds = match &p.pattern {
                    Some(inner) => self.pattern(inner, subject)?,
                    None => Truth::Known(true),
                };
                if let Some(name) = &p.name {
                    self.env.insert(name.as_str().into(), subject.clone());
                }
                Ok(holds)
            }
            Pattern::MatchSequence(p) => {
                let Sym::Seq(seq) = subject else { return self.no("this `case` is not compiled") };
                let Seq::Items(items, _) = &**seq else { return self.no("this `case` is not compiled") };
                if items.len() != p.patterns.len() {
                    return Ok(Truth::Known(false));
                }
                let mut all = Truth::Known(true);
                for (pattern, item) in p.patterns.iter().zip(items) {
                    let one = self.pattern(pattern, item)?;
                    all = self.both(all, one)?;
                }
                Ok(all)
            }
            Pattern::MatchMapping(_) | Pattern::MatchClass(_) | Pattern::MatchStar(_) => {
                self.no("this `case` is not compiled")
            }
        }
    }

    /// Binds a target to a value, taking sequences apart.
    pub fn assign(&mut self, target: &Expr, value: &Sym) -> R<()> {
        let targets = match target {
            Expr::Name(name) => {
                // A generator is used up by its first use, so it has no name.
                if let Sym::Seq(seq) = value
                    && matches!(
                        &**seq,
                        Seq::Mapped { generator: true, .. }
                            | Seq::Applied { .. }
                            | Seq::Zip(_)
                            | Seq::Enumerate(..)
                    )
                {
                    return self.no("an iterator that has a name is not compiled");
                }
                self.env.insert(name.id.as_str().into(), value.clone());
                return Ok(());
            }
            Expr::Tuple(t) => &t.elts,
            Expr::List(t) => &t.elts,
            Expr::Starred(_) => return self.no("starred targets are not compiled"),
            Expr::Attribute(_) => {
                return self.no("setting an attribute is an effect, so it stays Python");
            }
            Expr::Subscript(_) => {
                return self.no("setting an item of an object is an effect, so it stays Python");
            }
            _ => return self.no("this target is not compiled"),
        };
        let value = self.some(value)?;
        let seq = self.sequence(&value)?;
        let starred = targets.iter().position(|t| matches!(t, Expr::Starred(_)));
        if let Some(at) = starred {
            return self.assign_starred(targets, at, &seq);
        }
        if let Some(length) = self.static_len(&seq) {
            if length != targets.len() {
                // ValueError.
                let never = self.never(fuseline_codegen::function::Base::Bool)?;
                let value = self.plain(&never)?;
                self.demand(value)?;
                for target in targets {
                    let filler = self.never(fuseline_codegen::function::Base::Int)?;
                    self.assign(target, &filler)?;
                }
                return Ok(());
            }
        } else {
            let length = self.seq_len(&seq)?;
            let right = self.equal(&length, &Sym::Int(targets.len() as i64))?;
            match right {
                Truth::Known(_) => {}
                Truth::Asked(right) => self.demand(right)?,
            }
        }
        let items =
            (0..targets.len()).map(|i| self.seq_item(&seq, &Sym::Int(i as i64))).collect::<R<Vec<_>>>()?;
        for (target, item) in targets.iter().zip(&items) {
            self.assign(target, item)?;
        }
        Ok(())
    }

    fn assign_starred(&mut self, targets: &[Expr], at: usize, seq: &Rc<Seq>) -> R<()> {
        let tail = targets.len() - at - 1;
        let least = (targets.len() - 1) as i64;
        let length = self.seq_len(seq)?;
        let enough = self.compare(&length, ruff_python_ast::CmpOp::GtE, &Sym::Int(least))?;
        match enough {
            Truth::Known(true) => {}
            Truth::Known(false) => return self.no("there are too few values to unpack"),
            Truth::Asked(enough) => self.demand(enough)?,
        }
        for (i, target) in targets.iter().enumerate() {
            let item = match (i.cmp(&at), target) {
                (std::cmp::Ordering::Equal, Expr::Starred(starred)) => {
                    let of = Rc::new(Seq::Slice { of: seq.clone(), skip: at as i64, cut: tail as i64 });
                    let rest = match self.static_len(&of) {
                        Some(n) => {
                            let items = (0..n).map(|i| self.seq_item(&of, &Sym::Int(i as i64)));
                            Rc::new(Seq::Items(items.collect::<R<Vec<_>>>()?, false))
                        }
                        None => of,
                    };
                    self.assign(&starred.value, &Sym::Seq(rest))?;
                    continue;
                }
                (std::cmp::Ordering::Less, _) => self.seq_item(seq, &Sym::Int(i as i64))?,
                (_, _) => self.seq_item(seq, &Sym::Int(i as i64 - targets.len() as i64))?,
            };
            self.assign(target, &item)?;
        }
        Ok(())
    }

    fn nested(&mut self, function: Rc<Parsed>) -> R<Sym> {
        let mut defaults = vec![];
        if let Some(parameters) = function.parameters() {
            for parameter in parameters.iter_non_variadic_params() {
                if let Some(default) = &parameter.default {
                    let value = self.expr(default)?;
                    defaults.push((Rc::from(parameter.parameter.name.as_str()), value));
                }
            }
        }
        Ok(Sym::Local(Rc::new(Nested { function, depth: self.frames.len(), defaults })))
    }

    pub fn lambda(&mut self, lambda: &ruff_python_ast::ExprLambda) -> R<Sym> {
        self.nested(Rc::new(Parsed::Lambda(Box::new(lambda.clone()))))
    }

    /// What a branch knows because its condition holds or does not: names that are not None.
    pub fn narrow(&mut self, test: &Expr, holds: bool) -> R<()> {
        use ruff_python_ast::{BoolOp, CmpOp, UnaryOp};
        match test {
            Expr::UnaryOp(e) if e.op == UnaryOp::Not => self.narrow(&e.operand, !holds),
            Expr::BoolOp(e) if (e.op == BoolOp::And) == holds => {
                e.values.iter().try_for_each(|v| self.narrow(v, holds))
            }
            Expr::Name(name) if holds => self.narrow_name(name.id.as_str(), true),
            Expr::Named(named) => match &*named.target {
                Expr::Name(name) if holds => self.narrow_name(name.id.as_str(), true),
                _ => Ok(()),
            },
            Expr::Call(call) if holds => {
                // isinstance(x, T): no T that we know holds None.
                match (&*call.func, &*call.arguments.args) {
                    (Expr::Name(f), [Expr::Name(x), _]) if f.id.as_str() == "isinstance" => {
                        self.narrow_name(x.id.as_str(), true)
                    }
                    _ => Ok(()),
                }
            }
            Expr::Compare(e) => match (&*e.left, &*e.ops, &*e.comparators) {
                (
                    left,
                    [op @ (CmpOp::Is | CmpOp::IsNot | CmpOp::Eq | CmpOp::NotEq)],
                    [Expr::NoneLiteral(_)],
                ) => {
                    let some = matches!(op, CmpOp::IsNot | CmpOp::NotEq) == holds;
                    match left {
                        Expr::Name(name) => self.narrow_name(name.id.as_str(), some),
                        Expr::Named(named) => match &*named.target {
                            Expr::Name(name) => self.narrow_name(name.id.as_str(), some),
                            _ => Ok(()),
                        },
                        _ => Ok(()),
                    }
                }
                _ => Ok(()),
            },
            _ => Ok(()),
        }
    }

    fn narrow_name(&mut self, name: &str, some: bool) -> R<()> {
        let Some(Sym::Val(value, ty)) = self.env.get(name).cloned() else { return Ok(()) };
        if !ty.optional {
            return Ok(());
        }
        let known =
            if some { Sym::Val(self.op(Op::Unwrap, vec![value])?, Type::of(ty.base)) } else { Sym::None };
        self.env.insert(name.into(), known);
        Ok(())
    }
}
