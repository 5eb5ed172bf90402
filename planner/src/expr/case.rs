//! CASE, IN, `greatest` and `least`.
//!
//! An arm's condition counts on the rows that no earlier arm took, its value on the rows it takes;
//! so a CASE raises only what the taken arms raise.
//!
//! Unlike `=`, CASE with a base expression and IN compare floats by their bits, where -0.0 is not
//! 0.0 (arrow's `eq`, DataFusion's set lookup). The two agree unless a zero is compared, so these
//! forms are native for constants other than zero only.
//!
//! DataFusion can simplify an arm to another type than the CASE was planned with: `round` of a decimal
//! changes its scale. What such a CASE evaluates to, type included, then depends on which rows are in
//! the batch, so it cannot even be called: the operator that holds it is left to DataFusion
//! ([`mistyped_case`]).

use super::{Ctx, Expr, Native, Scope, StageBuilder, data_type, literal};
use arrow::datatypes::Schema;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::physical_expr::ScalarFunctionExpr;
use datafusion::physical_expr::expressions::{CaseExpr, InListExpr, Literal};
use fuseline_codegen::ir::{CmpOp, Input, Lit, Op, Overflow, Ty, ValueId};
use std::collections::HashSet;

impl StageBuilder {
    pub(super) fn case(&mut self, expr: &Expr, e: &CaseExpr, scope: &Scope, cx: Ctx) -> Native<ValueId> {
        let result = data_type(expr, &scope.schema)?;
        let ty = Input::physical(&result)
            .ok_or_else(|| format!("its type {result} has no representation in a loop"))?;
        let base = match e.expr() {
            Some(base) => Some(self.value(base, scope, cx)?),
            None => None,
        };
        let mut arms = vec![];
        let mut rest = cx;
        for (when, then) in e.when_then_expr() {
            let condition = match base {
                None => self.value_as(when, Ty::Bool, scope, rest)?,
                Some(base) => {
                    let ty = self.ir.ty(base);
                    if ty.is_float() && !nonzero(when) {
                        return Err("a base expression of a float type is compared by its bits".to_owned());
                    }
                    let when = self.value_as(when, ty, scope, rest)?;
                    self.total(Op::Cmp(CmpOp::Eq), &[base, when])?
                }
            };
            let taken = self.total(Op::IsTrue, &[condition])?;
            let within = self.narrow(rest, taken)?;
            let value = self.value_as(then, ty, scope, within)?;
            arms.push((condition, value));
            let not_taken = self.total(Op::Not, &[taken])?;
            rest = self.narrow(rest, not_taken)?;
        }
        let mut result = match e.else_expr() {
            Some(otherwise) => self.value_as(otherwise, ty, scope, rest)?,
            None => self.ir.lit(Lit::Null(ty)),
        };
        for (condition, value) in arms.into_iter().rev() {
            result = self.total(Op::Select, &[condition, value, result])?;
        }
        Ok(result)
    }

    pub(super) fn in_list(&mut self, e: &InListExpr, scope: &Scope, cx: Ctx) -> Native<ValueId> {
        if e.list().is_empty() {
            return Err("the list is empty".to_owned());
        }
        let found = if e.list().iter().all(|item| item.is::<Literal>()) {
            self.in_constants(e, scope, cx)?
        } else {
            self.in_values(e, scope, cx)?
        };
        if e.negated() { self.total(Op::Not, &[found]) } else { Ok(found) }
    }

    /// NULL in the list turns "not found" into NULL.
    fn in_constants(&mut self, e: &InListExpr, scope: &Scope, cx: Ctx) -> Native<ValueId> {
        let value = self.value(e.expr(), scope, cx)?;
        let ty = self.ir.ty(value);
        let mut set = vec![];
        let mut seen = HashSet::new();
        let mut has_null = false;
        for item in e.list() {
            let Some(item) = item.downcast_ref::<Literal>() else { continue };
            if item.value().is_null() {
                has_null = true;
                continue;
            }
            let lit = literal::lit(item.value())?;
            if lit.ty() != ty {
                return Err(format!("the list holds a {}, not a {ty}", lit.ty()));
            }
            if matches!(&lit, Lit::F64(0.0) | Lit::F32(0.0)) {
                return Err("a list of floats is searched by their bits, and it holds a zero".to_owned());
            }
            if seen.insert(lit.clone()) {
                set.push(lit);
            }
        }
        let found = self.total(Op::InSet(set), &[value])?;
        if !has_null {
            return Ok(found);
        }
        let absent = self.total(Op::Not, &[found])?;
        self.total(Op::NullIf, &[found, absent])
    }

    /// `greatest` and `least`, which leave NULLs out. Floats are in total order, where -0.0 lies below 0.0.
    pub(super) fn extreme(
        &mut self,
        e: &ScalarFunctionExpr,
        greatest: bool,
        scope: &Scope,
        cx: Ctx,
    ) -> Native<ValueId> {
        let (first, rest) = e.args().split_first().ok_or("it takes arguments")?;
        let of = data_type(first, &scope.schema)?;
        let mut best = self.value(first, scope, cx)?;
        let ty = self.ir.ty(best);
        for arg in rest {
            let arg_type = data_type(arg, &scope.schema)?;
            if arg_type != of && !arg_type.is_null() {
                return Err(format!("it compares {of} with {arg_type}"));
            }
            let other = self.value_as(arg, ty, scope, cx)?;
            let cmp = if greatest { CmpOp::Ge } else { CmpOp::Le };
            let keep = self.total(Op::Cmp(cmp), &[best, other])?;
            let mut chosen = self.total(Op::Select, &[keep, best, other])?;
            if ty.is_float() {
                chosen = self.zero_by_sign(best, other, chosen, greatest)?;
            }
            // A comparison with NULL took the other one, which may be that NULL.
            best = self.total(Op::Coalesce, &[chosen, best])?;
        }
        Ok(best)
    }

    /// `chosen`, but of two zeros the greater or lesser by sign.
    fn zero_by_sign(&mut self, a: ValueId, b: ValueId, chosen: ValueId, greatest: bool) -> Native<ValueId> {
        let ty = self.ir.ty(a);
        let zero = literal::float_lit(ty, 0.0).ok_or_else(|| format!("{ty} is no float type"))?;
        let zero = self.ir.lit(zero);
        let zeros = [a, b].map(|v| self.total(Op::Cmp(CmpOp::Eq), &[v, zero]));
        let [of_a, of_b] = zeros;
        let both = self.total(Op::And, &[of_a?, of_b?])?;
        // The sum of two zeros is -0.0 only if both are; the other way round with signs exchanged.
        let sum = if greatest {
            self.total(Op::Add(Overflow::Wrap), &[a, b])?
        } else {
            let minus = self.total(Op::Neg(Overflow::Wrap), &[a])?;
            let sum = self.total(Op::Sub(Overflow::Wrap), &[minus, b])?;
            self.total(Op::Neg(Overflow::Wrap), &[sum])?
        };
        self.total(Op::Select, &[both, sum, chosen])
    }

    /// A list with expressions in it: equal to the first or the second or …
    fn in_values(&mut self, e: &InListExpr, scope: &Scope, cx: Ctx) -> Native<ValueId> {
        let value = self.value(e.expr(), scope, cx)?;
        let ty = self.ir.ty(value);
        let of = data_type(e.expr(), &scope.schema)?;
        let mut found: Option<ValueId> = None;
        for item in e.list() {
            let item_type = data_type(item, &scope.schema)?;
            if item_type != of && !item_type.is_null() {
                return Err(format!("the list holds a {item_type}, not a {of}"));
            }
            if ty.is_float() && !nonzero(item) {
                return Err("floats in a list are compared by their bits".to_owned());
            }
            let item = self.value_as(item, ty, scope, cx)?;
            let equal = self.total(Op::Cmp(CmpOp::Eq), &[value, item])?;
            found = Some(match found {
                None => equal,
                Some(found) => self.total(Op::Or, &[found, equal])?,
            });
        }
        found.ok_or_else(|| "the list is empty".to_owned())
    }
}

/// What is wrong with the first CASE within the expression that has an arm of another type than its own.
pub(crate) fn mistyped_case(expr: &Expr, schema: &Schema) -> Option<String> {
    let mut found = None;
    // The visitor itself never errs.
    let _ = expr.apply(|e| {
        if let Some(case) = e.downcast_ref::<CaseExpr>()
            && let Ok(result) = data_type(e, schema)
        {
            let arms = case.when_then_expr().iter().map(|(_, then)| then).chain(case.else_expr());
            let mut types = arms.filter_map(|arm| data_type(arm, schema).ok());
            if let Some(arm) = types.find(|arm| *arm != result && !arm.is_null()) {
                let why = format!("it holds a CASE of type {result} with an arm of type {arm}");
                found = Some(why);
                return Ok(TreeNodeRecursion::Stop);
            }
        }
        Ok(TreeNodeRecursion::Continue)
    });
    found
}

/// Whether the expression is a constant float other than zero (NULL counts).
pub(super) fn nonzero(expr: &Expr) -> bool {
    expr.downcast_ref::<Literal>().is_some_and(|l| match literal::lit(l.value()) {
        Ok(lit) => !matches!(lit, Lit::F64(0.0) | Lit::F32(0.0)),
        Err(_) => l.value().is_null(),
    })
}
