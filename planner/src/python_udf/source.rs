//! Finding a function in its text.

use crate::python_udf::capture::{Source, Span};
use ruff_python_ast::visitor::{Visitor, walk_expr, walk_stmt};
use ruff_python_ast::{Expr, ExprLambda, Parameters, Stmt, StmtFunctionDef};
use ruff_text_size::{Ranged, TextSize};
use std::rc::Rc;

/// A parsed function.
#[derive(Debug)]
pub enum Parsed {
    Def(Box<StmtFunctionDef>),
    Lambda(Box<ExprLambda>),
}

impl Parsed {
    pub fn parameters(&self) -> Option<&Parameters> {
        match self {
            Parsed::Def(def) => Some(&def.parameters),
            Parsed::Lambda(lambda) => lambda.parameters.as_deref(),
        }
    }
}

/// The offsets at which lines begin.
#[derive(Debug)]
pub struct Lines(Vec<usize>);

impl Lines {
    pub fn of(text: &str) -> Lines {
        Lines(std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect())
    }

    /// The line of an offset, from 1.
    pub fn line(&self, offset: TextSize) -> usize {
        self.0.partition_point(|start| *start <= offset.to_usize())
    }

    fn offset(&self, line: usize, column: usize) -> usize {
        self.0.get(line.saturating_sub(1)).map_or(usize::MAX, |start| start + column)
    }
}

/// The function of a source, and the lines of its text.
///
/// # Errors
/// Why it is not there.
pub fn parse(source: &Source) -> Result<(Rc<Parsed>, Rc<Lines>), String> {
    let module = ruff_python_parser::parse_module(&source.text)
        .map_err(|e| format!("its source does not parse: {e}"))?;
    let lines = Lines::of(&source.text);
    let mut finder = Finder { source, lines: &lines, def: None, lambda: None };
    for stmt in module.suite() {
        finder.visit_stmt(stmt);
    }
    let found = match source.lambda {
        None => finder.def.map(|d| Parsed::Def(Box::new(d.clone()))),
        Some(_) => finder.lambda.map(|l| Parsed::Lambda(Box::new(l.clone()))),
    };
    let found = found.ok_or_else(|| "its source was not found".to_owned())?;
    Ok((Rc::new(found), Rc::new(lines)))
}

struct Finder<'a> {
    source: &'a Source,
    lines: &'a Lines,
    def: Option<&'a StmtFunctionDef>,
    lambda: Option<&'a ExprLambda>,
}

impl<'a> Visitor<'a> for Finder<'a> {
    fn visit_stmt(&mut self, stmt: &'a Stmt) {
        if let Stmt::FunctionDef(def) = stmt {
            let start = def.decorator_list.first().map_or(def.range.start(), Ranged::start);
            if self.lines.line(start) == self.source.line && def.name.as_str() == &*self.source.name {
                self.def = Some(def);
            }
        }
        walk_stmt(self, stmt);
    }

    fn visit_expr(&mut self, expr: &'a Expr) {
        if let (Expr::Lambda(lambda), Some(span)) = (expr, self.source.lambda) {
            let Span { line, column, end_line, end_column } = span;
            let (start, end) = (self.lines.offset(line, column), self.lines.offset(end_line, end_column));
            let body = lambda.body.range();
            let holds = body.start().to_usize() <= start && end <= body.end().to_usize();
            // The innermost one that holds all of its code.
            if holds && self.lambda.is_none_or(|l| l.body.range().contains_range(body)) {
                self.lambda = Some(lambda);
            }
        }
        walk_expr(self, expr);
    }
}
