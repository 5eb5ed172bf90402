//! LIKE and the string functions that loops know. The rest are calls.

use super::{Ctx, Expr, Native, Scope, StageBuilder, data_type, is_string};
use arrow::datatypes::DataType;
use datafusion::physical_expr::ScalarFunctionExpr;
use datafusion::physical_expr::expressions::Literal;
use fuseline_codegen::ir::{Bound, Lit, OnFail, Op, StrTest, Ty, ValueId};

impl StageBuilder {
    pub(super) fn like(
        &mut self,
        text: &Expr,
        pattern: &Expr,
        negated: bool,
        case_insensitive: bool,
        scope: &Scope,
        cx: Ctx,
    ) -> Native<ValueId> {
        let pattern = constant_text(pattern).ok_or("the pattern is not constant")?;
        let found =
            self.text_test(text, pattern, scope, cx, |pattern| StrTest::Like { pattern, case_insensitive })?;
        if negated { self.total(Op::Not, &[found]) } else { Ok(found) }
    }

    /// `starts_with`, `ends_with`, `contains` of a constant.
    pub(super) fn text_function(
        &mut self,
        e: &ScalarFunctionExpr,
        scope: &Scope,
        cx: Ctx,
        test: fn(String) -> StrTest,
    ) -> Native<ValueId> {
        let [text, pattern] = e.args() else { return Err("it takes two arguments".to_owned()) };
        let pattern = constant_text(pattern).ok_or("what it searches for is not constant")?;
        self.text_test(text, pattern, scope, cx, test)
    }

    /// A NULL pattern gives NULL on every row.
    fn text_test(
        &mut self,
        text: &Expr,
        pattern: Option<String>,
        scope: &Scope,
        cx: Ctx,
        test: impl FnOnce(String) -> StrTest,
    ) -> Native<ValueId> {
        let Some(pattern) = pattern else { return Ok(self.ir.lit(Lit::Null(Ty::Bool))) };
        let text = self.value_as(text, Ty::Str, scope, cx)?;
        self.total(Op::StrTest(test(pattern)), &[text])
    }

    /// `character_length`, `octet_length`: Int32, or Int64 for large strings.
    pub(super) fn text_length(
        &mut self,
        e: &ScalarFunctionExpr,
        bound: Bound,
        scope: &Scope,
        cx: Ctx,
    ) -> Native<ValueId> {
        let [text] = e.args() else { return Err("it takes one argument".to_owned()) };
        if !is_string(&data_type(text, &scope.schema)?) {
            return Err("loops know the length of text only".to_owned());
        }
        let text = self.value_as(text, Ty::Str, scope, cx)?;
        let length = self.total(Op::StrLen(bound), &[text])?;
        match e.return_type() {
            DataType::Int32 => Ok(length),
            DataType::Int64 => self.widen(length),
            other => Err(format!("a length of type {other} is not known to loops")),
        }
    }

    pub(super) fn substr(&mut self, e: &ScalarFunctionExpr, scope: &Scope, cx: Ctx) -> Native<ValueId> {
        let (text, positions) = e.args().split_first().ok_or("it takes arguments")?;
        if positions.is_empty() || positions.len() > 2 {
            return Err("it takes two or three arguments".to_owned());
        }
        let mut args = vec![self.value_as(text, Ty::Str, scope, cx)?];
        for position in positions {
            let v = self.value(position, scope, cx)?;
            if !self.ir.ty(v).is_int() || self.ir.ty(v) == Ty::I128 {
                return Err("its positions are not integers".to_owned());
            }
            args.push(if self.ir.ty(v) == Ty::I64 {
                v
            } else {
                self.op(Op::Cast(Ty::I64, OnFail::Err), &[v], cx)?
            });
        }
        self.op(Op::Substr, &args, cx)
    }
}

/// The constant text: `Some(None)` is NULL, `None` is "not constant".
fn constant_text(expr: &Expr) -> Option<Option<String>> {
    let value = expr.downcast_ref::<Literal>()?.value();
    if value.is_null() {
        return Some(None);
    }
    value.try_as_str().flatten().map(|s| Some(s.to_owned()))
}
