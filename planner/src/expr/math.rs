//! Numeric functions.
//!
//! Transcendental functions are created in the fast form; [`crate::precision`] turns those whose
//! last bit could show into libm's.

use super::{Ctx, Expr, Native, Scope, StageBuilder, case, cast, data_type, literal};
use arrow::datatypes::DataType;
use datafusion::physical_expr::ScalarFunctionExpr;
use datafusion::physical_expr::expressions::Literal;
use fuseline_codegen::ir::{CmpOp, MathBin, MathFn, Op, Overflow, Precision, Ty, ValueId};

impl StageBuilder {
    /// A function of one float that is an op of the IR.
    pub(super) fn math(
        &mut self,
        f: MathFn,
        e: &ScalarFunctionExpr,
        scope: &Scope,
        cx: Ctx,
    ) -> Native<ValueId> {
        let x = self.float_arg(e, 0, scope, cx)?;
        let precision = if f.is_transcendental() { Precision::Fast } else { Precision::Libm };
        self.total(Op::Math(f, precision), &[x])
    }

    pub(super) fn sqrt(&mut self, e: &ScalarFunctionExpr, scope: &Scope, cx: Ctx) -> Native<ValueId> {
        let x = self.float_arg(e, 0, scope, cx)?;
        let root = self.total(Op::Math(MathFn::Sqrt, Precision::Libm), &[x])?;
        if matches!(self.ir.value(x).op, Op::Abs(_)) {
            return Ok(root);
        }
        // Not below zero in IEEE's sense: at least zero (NaN is above all), or a negative NaN.
        let at_least_zero = self.cmp_const(CmpOp::Ge, x, 0.0)?;
        let negative_nan = self.cmp_const(CmpOp::Lt, x, f64::NEG_INFINITY)?;
        let ok = self.total(Op::Or, &[at_least_zero, negative_nan])?;
        let message = "Execution error: cannot take square root of a negative number";
        self.op(Op::Guard(message.to_owned()), &[root, ok], cx)
    }

    pub(super) fn power(&mut self, e: &ScalarFunctionExpr, scope: &Scope, cx: Ctx) -> Native<ValueId> {
        let base = self.float_arg(e, 0, scope, cx)?;
        let exponent = self.float_arg(e, 1, scope, cx)?;
        if self.ir.ty(base) != self.ir.ty(exponent) {
            return Err("it mixes float types".to_owned());
        }
        let power = self.total(Op::MathBin(MathBin::Pow, Precision::Fast), &[base, exponent])?;
        if constant_float(&e.args()[1]).is_some_and(|v| v >= 0.0) {
            return Ok(power);
        }
        let zero = self.cmp_const(CmpOp::Eq, base, 0.0)?;
        let below = self.cmp_const(CmpOp::Lt, exponent, 0.0)?;
        let number = self.cmp_const(CmpOp::Ge, exponent, f64::NEG_INFINITY)?;
        let below = self.total(Op::And, &[below, number])?;
        let undefined = self.total(Op::And, &[zero, below])?;
        let ok = self.total(Op::Not, &[undefined])?;
        let message = "zero raised to a negative power is undefined";
        self.op(Op::Guard(message.to_owned()), &[power, ok], cx)
    }

    pub(super) fn atan2(&mut self, e: &ScalarFunctionExpr, scope: &Scope, cx: Ctx) -> Native<ValueId> {
        let y = self.float_arg(e, 0, scope, cx)?;
        let x = self.float_arg(e, 1, scope, cx)?;
        if self.ir.ty(x) != self.ir.ty(y) {
            return Err("it mixes float types".to_owned());
        }
        self.total(Op::MathBin(MathBin::Atan2, Precision::Fast), &[y, x])
    }

    /// `log(x)`, `log(base, x)`: the quotient of two natural logarithms, as `f64::log`. Always
    /// libm's: the error of a fast logarithm would grow in the quotient.
    pub(super) fn log(&mut self, e: &ScalarFunctionExpr, scope: &Scope, cx: Ctx) -> Native<ValueId> {
        let last = e.args().len().checked_sub(1).ok_or("it takes arguments")?;
        let x = self.float_arg(e, last, scope, cx)?;
        let ty = self.ir.ty(x);
        let ln = Op::Math(MathFn::Ln, Precision::Libm);
        let base = match last {
            0 => self.float_const(ty, 10.0)?,
            1 => self.float_arg(e, 0, scope, cx)?,
            _ => return Err("it takes one or two arguments".to_owned()),
        };
        if self.ir.ty(base) != ty {
            return Err("it mixes float types".to_owned());
        }
        let (a, b) = (self.total(ln.clone(), &[x])?, self.total(ln, &[base])?);
        self.total(Op::Div, &[a, b])
    }

    pub(super) fn abs(&mut self, e: &ScalarFunctionExpr, scope: &Scope, cx: Ctx) -> Native<ValueId> {
        let [arg] = e.args() else { return Err("it takes one argument".to_owned()) };
        let from = data_type(arg, &scope.schema)?;
        let overflow = match &from {
            t if t.is_unsigned_integer() => return self.value(arg, scope, cx),
            t if t.is_signed_integer() => Overflow::Err,
            DataType::Float32 | DataType::Float64 | DataType::Decimal128(..) => Overflow::Wrap,
            other => return Err(format!("loops know no abs of a {other}")),
        };
        let v = self.value(arg, scope, cx)?;
        self.op(Op::Abs(overflow), &[v], cx)
    }

    /// Half away from zero, to a constant number of places.
    pub(super) fn round(&mut self, e: &ScalarFunctionExpr, scope: &Scope, cx: Ctx) -> Native<ValueId> {
        let places = self.places(e)?;
        let arg = &e.args()[0];
        match data_type(arg, &scope.schema)? {
            DataType::Float32 | DataType::Float64 => {
                let x = self.float_arg(e, 0, scope, cx)?;
                self.scaled(x, places, MathFn::Round)
            }
            t if t.is_integer() && places >= 0 => self.value(arg, scope, cx),
            DataType::Decimal128(_, scale) if places >= 0 && scale >= 0 => {
                let v = self.value(arg, scope, cx)?;
                if places >= i32::from(scale) {
                    return Ok(v);
                }
                let delta = places as i8 - scale;
                let fail = fuseline_codegen::ir::OnFail::Err;
                self.op(Op::DecRescale { delta, precision: 38, scale: places as i8, fail }, &[v], cx)
            }
            other => Err(format!("loops do not round a {other} to {places} places")),
        }
    }

    pub(super) fn trunc(&mut self, e: &ScalarFunctionExpr, scope: &Scope, cx: Ctx) -> Native<ValueId> {
        let places = self.places(e)?;
        let x = self.float_arg(e, 0, scope, cx)?;
        if e.args().len() == 2 {
            return self.scaled(x, places, MathFn::Trunc);
        }
        // The form with one argument gives 0.0 for a zero of either sign.
        let zero = self.float_const(self.ir.ty(x), 0.0)?;
        let is_zero = self.total(Op::Cmp(CmpOp::Eq), &[x, zero])?;
        let whole = self.total(Op::Math(MathFn::Trunc, Precision::Libm), &[x])?;
        self.total(Op::Select, &[is_zero, zero, whole])
    }

    /// `f(x * 10^places) / 10^places`.
    fn scaled(&mut self, x: ValueId, places: i32, f: MathFn) -> Native<ValueId> {
        let f = Op::Math(f, Precision::Libm);
        if places == 0 {
            return self.total(f, &[x]);
        }
        // round takes the power in f64, trunc in the argument's type: equal for these exponents
        // in f64; in f32 only positive powers up to 10^10 are exact.
        let limit = if self.ir.ty(x) == Ty::F32 { 0..=10 } else { 0..=22 };
        if !limit.contains(&places) {
            return Err(format!("loops do not know {places} places"));
        }
        let factor = self.float_const(self.ir.ty(x), 10f64.powi(places))?;
        let scaled = self.total(Op::Mul(Overflow::Wrap), &[x, factor])?;
        let cut = self.total(f, &[scaled])?;
        self.total(Op::Div, &[cut, factor])
    }

    fn places(&self, e: &ScalarFunctionExpr) -> Native<i32> {
        match e.args() {
            [_] => Ok(0),
            [_, places] => cast::constant_int(places)
                .and_then(|p| i32::try_from(p).ok())
                .ok_or_else(|| "the number of places is not constant".to_owned()),
            _ => Err("it takes one or two arguments".to_owned()),
        }
    }

    /// `degrees` and `radians`: one multiplication by Rust's constants.
    pub(super) fn convert_angle(
        &mut self,
        e: &ScalarFunctionExpr,
        to_degrees: bool,
        scope: &Scope,
        cx: Ctx,
    ) -> Native<ValueId> {
        let x = self.float_arg(e, 0, scope, cx)?;
        let factor = match (self.ir.ty(x), to_degrees) {
            (Ty::F32, true) => f64::from(1f32.to_degrees()),
            (Ty::F32, false) => f64::from(1f32.to_radians()),
            (_, true) => 1f64.to_degrees(),
            (_, false) => 1f64.to_radians(),
        };
        let factor = self.float_const(self.ir.ty(x), factor)?;
        self.total(Op::Mul(Overflow::Wrap), &[x, factor])
    }

    pub(super) fn isnan(&mut self, e: &ScalarFunctionExpr, scope: &Scope, cx: Ctx) -> Native<ValueId> {
        let x = self.float_arg(e, 0, scope, cx)?;
        self.is_nan(x)
    }

    pub(super) fn iszero(&mut self, e: &ScalarFunctionExpr, scope: &Scope, cx: Ctx) -> Native<ValueId> {
        let x = self.float_arg(e, 0, scope, cx)?;
        self.cmp_const(CmpOp::Eq, x, 0.0)
    }

    pub(super) fn nanvl(&mut self, e: &ScalarFunctionExpr, scope: &Scope, cx: Ctx) -> Native<ValueId> {
        let x = self.float_arg(e, 0, scope, cx)?;
        let y = self.float_arg(e, 1, scope, cx)?;
        let nan = self.is_nan(x)?;
        self.total(Op::Select, &[nan, y, x])
    }

    /// NULLIF compares floats by their bits, so only a constant other than zero is native.
    pub(super) fn nullif(&mut self, e: &ScalarFunctionExpr, scope: &Scope, cx: Ctx) -> Native<ValueId> {
        let [a, b] = e.args() else { return Err("it takes two arguments".to_owned()) };
        let (at, bt) = (data_type(a, &scope.schema)?, data_type(b, &scope.schema)?);
        if at != bt && !bt.is_null() {
            return Err(format!("it compares {at} with {bt}"));
        }
        let x = self.value(a, scope, cx)?;
        if self.ir.ty(x).is_float() && !case::nonzero(b) {
            return Err("it compares floats by their bits".to_owned());
        }
        let y = self.value_as(b, self.ir.ty(x), scope, cx)?;
        let equal = self.total(Op::Cmp(CmpOp::Eq), &[x, y])?;
        self.total(Op::NullIf, &[x, equal])
    }

    /// In the total order a NaN lies beyond one of the infinities.
    fn is_nan(&mut self, x: ValueId) -> Native<ValueId> {
        let above = self.cmp_const(CmpOp::Gt, x, f64::INFINITY)?;
        let below = self.cmp_const(CmpOp::Lt, x, f64::NEG_INFINITY)?;
        self.total(Op::Or, &[above, below])
    }

    fn cmp_const(&mut self, op: CmpOp, x: ValueId, v: f64) -> Native<ValueId> {
        let v = self.float_const(self.ir.ty(x), v)?;
        self.total(Op::Cmp(op), &[x, v])
    }

    fn float_const(&mut self, ty: Ty, v: f64) -> Native<ValueId> {
        let lit = literal::float_lit(ty, v).ok_or_else(|| format!("{ty} is no float type"))?;
        Ok(self.ir.lit(lit))
    }

    fn float_arg(&mut self, e: &ScalarFunctionExpr, i: usize, scope: &Scope, cx: Ctx) -> Native<ValueId> {
        let arg = e.args().get(i).ok_or("an argument is missing")?;
        let t = data_type(arg, &scope.schema)?;
        if !matches!(t, DataType::Float32 | DataType::Float64) {
            return Err(format!("loops know it for floats, not for a {t}"));
        }
        self.value(arg, scope, cx)
    }
}

fn constant_float(expr: &Expr) -> Option<f64> {
    match literal::lit(expr.downcast_ref::<Literal>()?.value()).ok()? {
        fuseline_codegen::ir::Lit::F64(v) => Some(v),
        fuseline_codegen::ir::Lit::F32(v) => Some(f64::from(v)),
        _ => None,
    }
}
