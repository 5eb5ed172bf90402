//! Functions of users whose bodies are known (`fuseline_codegen::function`) as part of the loop.
//!
//! Where such a function cannot say what Python would, the row bails. The loop then fails with [`ASK_PYTHON`], like for
//! any other error only on rows that are alive and that `under` does not exclude; and the runtime gives the
//! whole morsel to a stage that calls the function.

use super::{Ctx, Native, Scope, StageBuilder, data_type};
use arrow::datatypes::{DataType, TimeUnit};
use datafusion::physical_expr::ScalarFunctionExpr;
use fuseline_codegen::cpu::function::supports_parameter;
use fuseline_codegen::function::inline::inline;
use fuseline_codegen::function::{Base, Function};
use fuseline_codegen::ir::{Input, Lit, Op, ValueId};

/// The message of a loop's error that is none: Python is to be asked.
pub const ASK_PYTHON: &str = "a row has to be asked of Python";

impl StageBuilder {
    pub(super) fn inlined(
        &mut self,
        body: &Function,
        e: &ScalarFunctionExpr,
        scope: &Scope,
        cx: Ctx,
    ) -> Native<ValueId> {
        if e.args().len() != body.params.len() {
            return Err("it is called with defaults".to_owned());
        }
        let mut args = Vec::with_capacity(e.args().len());
        for (arg, param) in e.args().iter().zip(&body.params) {
            let from = data_type(arg, &scope.schema)?;
            // The loop knows no units, so only the function's own does.
            let fits = match &from {
                DataType::Timestamp(unit, None) => {
                    *unit == TimeUnit::Microsecond && param.ty.base == Base::DateTime
                }
                other => supports_parameter(param.ty, other),
            };
            if !fits {
                return Err(format!("parameter {} is no {from} in a loop", param.name));
            }
            args.push(self.value(arg, scope, cx)?);
        }
        let returns = e.return_type();
        let plain = !matches!(returns, DataType::Timestamp(unit, _) if *unit != TimeUnit::Microsecond);
        let ty = Input::physical(returns).filter(|_| plain);
        let ty = ty.ok_or_else(|| format!("no loop computes a function that returns {returns}"))?;
        // As for functions of SQL, `crate::precision` turns those into libm's whose last bit could show.
        let made = inline(&mut self.ir, &body.with_fast_math(), &args, ty).map_err(|e| e.to_string())?;
        let Some(bail) = made.bail else { return self.as_a_call(made.value) };
        let fine = self.total(Op::Not, &[bail])?;
        let guard = Op::Guard(ASK_PYTHON.to_owned());
        if !self.ir.nullable(made.value) {
            let guarded = self.op(guard, &[made.value, fine], cx)?;
            return self.as_a_call(guarded);
        }
        // A guard looks only at rows where its operand is there, but a row that bails may be NULL so far.
        let always = self.ir.lit(Lit::Bool(true));
        let asked = self.op(guard, &[always, fine], cx)?;
        let never = self.total(Op::Not, &[asked])?;
        self.total(Op::NullIf, &[made.value, never])
    }

    /// The value, nullable if that is asked for; the loop that runs has it as it was.
    fn as_a_call(&mut self, value: ValueId) -> Native<ValueId> {
        if !self.options.bodies_are_nullable || self.ir.nullable(value) {
            return Ok(value);
        }
        let never = self.ir.lit(Lit::Bool(false));
        self.total(Op::NullIf, &[value, never])
    }
}
