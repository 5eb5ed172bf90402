//! Which names statements bind, and which of them leave by jumps.

use ruff_python_ast::visitor::{Visitor, walk_expr, walk_pattern, walk_stmt};
use ruff_python_ast::{Expr, ExprContext, Pattern, Stmt};
use std::collections::BTreeSet;
use std::rc::Rc;

/// Adds the names that the statements bind.
pub fn assigned(stmts: &[Stmt], names: &mut BTreeSet<Rc<str>>) {
    let mut finder = Names(names);
    for stmt in stmts {
        finder.visit_stmt(stmt);
    }
}

/// Adds the names that an expression binds, by `:=`.
pub fn assigned_in(expr: &Expr, names: &mut BTreeSet<Rc<str>>) {
    Names(names).visit_expr(expr);
}

struct Names<'n>(&'n mut BTreeSet<Rc<str>>);

impl<'a> Visitor<'a> for Names<'_> {
    fn visit_stmt(&mut self, stmt: &'a Stmt) {
        match stmt {
            Stmt::FunctionDef(def) => {
                self.0.insert(def.name.as_str().into());
            }
            Stmt::ClassDef(class) => {
                self.0.insert(class.name.as_str().into());
            }
            Stmt::Import(import) => {
                for alias in &import.names {
                    let name = alias.asname.as_ref().unwrap_or(&alias.name).as_str();
                    self.0.insert(name.split('.').next().unwrap_or(name).into());
                }
            }
            Stmt::ImportFrom(import) => {
                for alias in &import.names {
                    self.0.insert(alias.asname.as_ref().unwrap_or(&alias.name).as_str().into());
                }
            }
            Stmt::Try(tried) => {
                for handler in &tried.handlers {
                    let ruff_python_ast::ExceptHandler::ExceptHandler(handler) = handler;
                    if let Some(name) = &handler.name {
                        self.0.insert(name.as_str().into());
                    }
                }
                walk_stmt(self, stmt);
            }
            other => walk_stmt(self, other),
        }
    }

    fn visit_expr(&mut self, expr: &'a Expr) {
        match expr {
            Expr::Name(name) if matches!(name.ctx, ExprContext::Store | ExprContext::Del) => {
                self.0.insert(name.id.as_str().into());
            }
            // Scopes of their own; what `:=` binds inside is rare, and then read as unbound.
            Expr::Lambda(_)
            | Expr::ListComp(_)
            | Expr::SetComp(_)
            | Expr::DictComp(_)
            | Expr::Generator(_) => {}
            other => walk_expr(self, other),
        }
    }

    fn visit_pattern(&mut self, pattern: &'a Pattern) {
        match pattern {
            Pattern::MatchAs(as_) => {
                if let Some(name) = &as_.name {
                    self.0.insert(name.as_str().into());
                }
            }
            Pattern::MatchStar(star) => {
                if let Some(name) = &star.name {
                    self.0.insert(name.as_str().into());
                }
            }
            Pattern::MatchValue(_)
            | Pattern::MatchSingleton(_)
            | Pattern::MatchSequence(_)
            | Pattern::MatchMapping(_)
            | Pattern::MatchClass(_)
            | Pattern::MatchOr(_) => {}
        }
        walk_pattern(self, pattern);
    }
}

/// What leaves a loop's body other than by its end.
#[derive(Clone, Copy, Debug, Default)]
pub struct Jumps {
    pub breaks: bool,
    pub continues: bool,
}

/// The jumps of a loop's body that are its own.
pub fn jumps(body: &[Stmt]) -> Jumps {
    let mut found = Jumps::default();
    for stmt in body {
        match stmt {
            Stmt::Break(_) => found.breaks = true,
            Stmt::Continue(_) => found.continues = true,
            other => {
                // An inner loop keeps its body's jumps; those in its `else` are ours.
                let own = !matches!(other, Stmt::For(_) | Stmt::While(_));
                for (block, last) in blocks(other) {
                    if own || last {
                        let inner = jumps(block);
                        found.breaks |= inner.breaks;
                        found.continues |= inner.continues;
                    }
                }
            }
        }
    }
    found
}

/// The blocks inside a statement; whether it is the `else` of a loop.
fn blocks(stmt: &Stmt) -> Vec<(&[Stmt], bool)> {
    match stmt {
        Stmt::If(s) => std::iter::once((&s.body[..], false))
            .chain(s.elif_else_clauses.iter().map(|c| (&c.body[..], false)))
            .collect(),
        Stmt::For(s) => vec![(&s.body[..], false), (&s.orelse[..], true)],
        Stmt::While(s) => vec![(&s.body[..], false), (&s.orelse[..], true)],
        Stmt::Try(s) => vec![(&s.body[..], false), (&s.orelse[..], false), (&s.finalbody[..], false)],
        Stmt::Match(s) => s.cases.iter().map(|c| (&c.body[..], false)).collect(),
        Stmt::With(s) => vec![(&s.body[..], false)],
        _ => vec![],
    }
}

/// Whether a `return` is anywhere among the statements.
pub fn returns(stmts: &[Stmt]) -> bool {
    stmts.iter().any(|s| matches!(s, Stmt::Return(_)) || blocks(s).iter().any(|(b, _)| returns(b)))
}

/// Whether the statements never reach their end, as far as their form shows.
fn ends(stmts: &[Stmt]) -> bool {
    stmts.iter().any(|s| match s {
        Stmt::Return(_) | Stmt::Raise(_) => true,
        Stmt::If(s) => {
            s.elif_else_clauses.last().is_some_and(|c| c.test.is_none())
                && ends(&s.body)
                && s.elif_else_clauses.iter().all(|c| ends(&c.body))
        }
        _ => false,
    })
}

/// Whether some `return` has statements to skip, so that reading the body in place of a call needs a jump.
pub fn needs_jump(stmts: &[Stmt]) -> bool {
    let Some(at) = stmts.iter().position(|s| blocks(s).iter().any(|(b, _)| returns(b))) else { return false };
    let rest = &stmts[at + 1..];
    match &stmts[at] {
        Stmt::If(s) => {
            let has_else = s.elif_else_clauses.last().is_some_and(|c| c.test.is_none());
            let arms = || std::iter::once(&s.body).chain(s.elif_else_clauses.iter().map(|c| &c.body));
            if arms().any(|b| needs_jump(b)) {
                return true;
            }
            // What follows goes into the one arm that falls through; an arm that returns on some paths
            // only would have to skip it.
            let falling = arms().filter(|b| !ends(b)).count() + usize::from(!has_else);
            let partly = arms().any(|b| returns(b) && !ends(b));
            if rest.is_empty() {
                return false;
            }
            // An elif chain of which one arm falls takes the rest in; several meet before it.
            (falling > 1 && arms().any(|b| returns(b))) || (partly && falling > 0) || needs_jump(rest)
        }
        Stmt::For(_) | Stmt::While(_) | Stmt::Match(_) | Stmt::With(_) => true,
        _ => true,
    }
}
