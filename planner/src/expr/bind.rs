//! Batch calls: what is left to DataFusion's own implementation.
//!
//! A call is an expression over argument columns. Its arguments are computed in the loop before it
//! where they can be, constants stay constants (many functions insist on that), and an operand
//! whose type no loop knows is evaluated by the call itself. A volatile call is never shared: each
//! occurrence is evaluated on each surviving row once.

use super::{Col, Ctx, Expr, Native, PendingCall, Scope, StageBuilder, can_emit, data_type, sql};
use crate::stage::Work;
use arrow::datatypes::{DataType, Field};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::expressions::{
    BinaryExpr, CaseExpr, Column, LambdaExpr, LambdaVariable, LikeExpr, Literal, UnKnownColumn,
};
use datafusion::physical_expr::{HigherOrderFunctionExpr, ScalarFunctionExpr};
use datafusion::physical_expr_common::physical_expr::is_volatile;
use fuseline_codegen::ir::{Lit, Loop, Op, ValueId};
use std::collections::HashSet;
use std::sync::Arc;

impl StageBuilder {
    /// Makes a call of the expression. Errs only for what no call can carry.
    pub(super) fn call(&mut self, expr: &Expr, scope: &Scope, cx: Ctx, why: String) -> Native<Col> {
        if contains(expr, |e| {
            e.is::<LambdaExpr>()
                || e.is::<LambdaVariable>()
                || e.is::<HigherOrderFunctionExpr>()
                || e.is::<UnKnownColumn>()
        }) {
            return Err("it holds a lambda function, whose variables cannot be moved".to_owned());
        }
        let data_type = data_type(expr, &scope.schema)?;
        let mut args = vec![];
        let bound = if evaluates_lazily(expr) || self.is_deep() {
            rebind(expr, scope, &mut args)?
        } else {
            let children = expr
                .children()
                .into_iter()
                .map(|c| self.bind(c, scope, cx, &mut args))
                .collect::<Native<Vec<_>>>()?;
            with_children(expr, children)?
        };
        let volatile = is_volatile(expr);
        let name = sql(expr);
        let call = PendingCall {
            name: name.clone(),
            work: Work::Expr(bound),
            args,
            under: cx.under,
            field: Arc::new(Field::new(name, data_type, true)),
            filters_before: self.filters.len(),
            volatile,
            why,
        };
        let same = |c: &PendingCall| {
            !c.volatile
                && !volatile
                // Its result is there on all rows that this one would see.
                && (c.under.is_none() || c.under == call.under)
                && c.args == call.args
                && c.filters_before <= call.filters_before
                && match (&c.work, &call.work) {
                    (Work::Expr(a), Work::Expr(b)) => a.eq(b),
                    (Work::Matches { .. }, _) | (_, Work::Matches { .. }) => false,
                }
        };
        if let Some(k) = self.calls.iter().position(same) {
            return Ok(Col::Call(k));
        }
        self.calls.push(call);
        Ok(Col::Call(self.calls.len() - 1))
    }

    /// Makes a call of a loop of its own over these columns, which asks whether rows have partners.
    pub fn matches(&mut self, name: String, loop_: Loop, columns: Vec<usize>, args: Vec<Col>) -> Col {
        self.calls.push(PendingCall {
            field: Arc::new(Field::new(&name, DataType::Boolean, false)),
            name,
            work: Work::Matches { loop_: Arc::new(loop_), columns },
            args,
            under: None,
            filters_before: self.filters.len(),
            volatile: false,
            why: "a row may have several partners, any of which may meet the condition".to_owned(),
        });
        Col::Call(self.calls.len() - 1)
    }

    /// An operand of a call, over the call's argument columns.
    fn bind(&mut self, expr: &Expr, scope: &Scope, cx: Ctx, args: &mut Vec<Col>) -> Native<Expr> {
        if expr.is::<Column>() || expr.is::<Literal>() || evaluates_lazily(expr) {
            return rebind(expr, scope, args);
        }
        let varies = contains(expr, |e| e.is::<Column>());
        let data_type = data_type(expr, &scope.schema)?;
        if varies
            && can_emit(&data_type)
            && let Ok(id) = self.native(expr, scope, cx)
        {
            let id = self.masked(id, cx)?;
            let name = sql(expr);
            return Ok(argument(Col::Value { id, data_type }, &name, args));
        }
        // A user's function among the operands is a call of its own, so that an equal one elsewhere is shared with it.
        if varies && self.enters(expr) && !is_volatile(expr) && !self.is_deep() {
            self.depth += 1;
            let made = self.call(expr, scope, cx, "it is an operand of a call".to_owned());
            self.depth -= 1;
            return Ok(argument(made?, &sql(expr), args));
        }
        let children =
            expr.children().into_iter().map(|c| self.bind(c, scope, cx, args)).collect::<Native<Vec<_>>>()?;
        with_children(expr, children)
    }

    /// Whether the expression itself, not an operand of it, is a call that enters something.
    fn enters(&self, expr: &Expr) -> bool {
        let all = |is: crate::options::IsBoundary| {
            expr.is::<ScalarFunctionExpr>() && is(expr) && !expr.children().into_iter().any(is)
        };
        self.options.is_boundary.is_some_and(all)
    }

    /// A value for a call that counts under the same condition. Where the condition does not hold,
    /// an instruction that carries it has no defined result; no such value leaves a loop.
    fn masked(&mut self, id: ValueId, cx: Ctx) -> Native<ValueId> {
        let Some(under) = cx.under else { return Ok(id) };
        let mut seen = HashSet::new();
        let mut todo = vec![id];
        while let Some(v) = todo.pop() {
            if !seen.insert(v) {
                continue;
            }
            let inst = self.ir.value(v);
            if inst.under.is_some() {
                let null = self.ir.lit(Lit::Null(self.ir.ty(id)));
                return self.total(Op::Select, &[under, id, null]);
            }
            todo.extend(inst.args.iter().copied());
        }
        Ok(id)
    }
}

/// Whether evaluating the expression leaves out operands on some rows, so that nothing may be
/// computed ahead of it.
fn evaluates_lazily(expr: &Expr) -> bool {
    if let Some(b) = expr.downcast_ref::<BinaryExpr>() {
        return matches!(b.op(), Operator::And | Operator::Or);
    }
    expr.is::<CaseExpr>()
        || expr.downcast_ref::<ScalarFunctionExpr>().is_some_and(|f| f.fun().short_circuits())
}

/// The expression unchanged, but over the call's argument columns.
fn rebind(expr: &Expr, scope: &Scope, args: &mut Vec<Col>) -> Native<Expr> {
    let mut missing = false;
    let bound = Arc::clone(expr)
        .transform_down(|e| {
            let Some(column) = e.downcast_ref::<Column>() else {
                return Ok(Transformed::no(e));
            };
            let Some(col) = scope.cols.get(column.index()) else {
                missing = true;
                return Ok(Transformed::no(e));
            };
            Ok(Transformed::yes(argument(col.clone(), column.name(), args)))
        })
        .map_err(|e| e.to_string())?;
    if missing { Err("it refers to a column that its input lacks".to_owned()) } else { Ok(bound.data) }
}

/// What a call does, its argument `i` being column `columns[i]`.
pub(crate) fn work_over(work: &Work, columns: &[usize]) -> Native<Work> {
    Ok(match work {
        Work::Expr(expr) => Work::Expr(over_columns(expr, columns)?),
        Work::Matches { loop_, columns: args } => {
            Work::Matches { loop_: Arc::clone(loop_), columns: args.iter().map(|a| columns[*a]).collect() }
        }
    })
}

fn over_columns(expr: &Expr, columns: &[usize]) -> Native<Expr> {
    Arc::clone(expr)
        .transform_down(|e| {
            let Some(column) = e.downcast_ref::<Column>() else {
                return Ok(Transformed::no(e));
            };
            let Some(index) = columns.get(column.index()) else {
                return Ok(Transformed::no(e));
            };
            Ok(Transformed::yes(Arc::new(Column::new(column.name(), *index)) as Expr))
        })
        .map(|t| t.data)
        .map_err(|e| e.to_string())
}

fn argument(col: Col, name: &str, args: &mut Vec<Col>) -> Expr {
    let index = args.iter().position(|a| *a == col).unwrap_or_else(|| {
        args.push(col);
        args.len() - 1
    });
    Arc::new(Column::new(name, index))
}

fn with_children(expr: &Expr, children: Vec<Expr>) -> Native<Expr> {
    if children.is_empty() {
        return Ok(Arc::clone(expr));
    }
    Arc::clone(expr).with_new_children(children).map_err(|e| e.to_string())
}

fn contains(expr: &Expr, test: impl Fn(&Expr) -> bool) -> bool {
    let mut found = false;
    // The visitor itself never errs.
    let _ = expr.apply(|e| {
        found |= test(e);
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    });
    found
}

/// Whether it pays to drop rows before the expression is evaluated: it will probably need a batch
/// call, or a kernel that costs more per row than moving the surviving rows together. A guess from
/// what it names; being wrong costs time, never correctness.
pub(crate) fn is_expensive(expr: &Expr) -> bool {
    contains(expr, |e| {
        if let Some(f) = e.downcast_ref::<ScalarFunctionExpr>() {
            return super::function::is_expensive(f);
        }
        if let Some(b) = e.downcast_ref::<BinaryExpr>() {
            return matches!(
                b.op(),
                Operator::RegexMatch
                    | Operator::RegexIMatch
                    | Operator::RegexNotMatch
                    | Operator::RegexNotIMatch
                    | Operator::LikeMatch
                    | Operator::ILikeMatch
                    | Operator::NotLikeMatch
                    | Operator::NotILikeMatch
                    | Operator::StringConcat
            );
        }
        e.is::<LikeExpr>()
    })
}
