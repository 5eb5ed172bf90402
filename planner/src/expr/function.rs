//! Which scalar functions are native.
//!
//! A function is recognized by its name *and* by being DataFusion's own: a user's function of the
//! same name is a call.

use super::{Ctx, Native, Scope, StageBuilder};
use datafusion::functions::all_default_functions;
use datafusion::logical_expr::ScalarUDF;
use datafusion::physical_expr::ScalarFunctionExpr;
use fuseline_codegen::ir::{Bound, MathFn, StrTest, ValueId};
use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

/// A function that loops compute.
#[derive(Clone, Copy)]
enum Known {
    Math(MathFn),
    Sqrt,
    Power,
    Atan2,
    Log,
    Abs,
    Round,
    Trunc,
    Degrees,
    Radians,
    IsNan,
    IsZero,
    Nanvl,
    NullIf,
    Greatest,
    Least,
    DatePart,
    DateTrunc,
    Length(Bound),
    Substr,
    StartsWith,
    EndsWith,
    Contains,
}

fn by_name(name: &str) -> Option<Known> {
    Some(match name {
        "floor" => Known::Math(MathFn::Floor),
        "ceil" => Known::Math(MathFn::Ceil),
        "signum" => Known::Math(MathFn::Signum),
        "exp" => Known::Math(MathFn::Exp),
        "ln" => Known::Math(MathFn::Ln),
        "log2" => Known::Math(MathFn::Log2),
        "log10" => Known::Math(MathFn::Log10),
        "sin" => Known::Math(MathFn::Sin),
        "cos" => Known::Math(MathFn::Cos),
        "tan" => Known::Math(MathFn::Tan),
        "asin" => Known::Math(MathFn::Asin),
        "acos" => Known::Math(MathFn::Acos),
        "atan" => Known::Math(MathFn::Atan),
        "sinh" => Known::Math(MathFn::Sinh),
        "cosh" => Known::Math(MathFn::Cosh),
        "tanh" => Known::Math(MathFn::Tanh),
        "asinh" => Known::Math(MathFn::Asinh),
        "acosh" => Known::Math(MathFn::Acosh),
        "atanh" => Known::Math(MathFn::Atanh),
        "cbrt" => Known::Math(MathFn::Cbrt),
        "sqrt" => Known::Sqrt,
        "power" => Known::Power,
        "atan2" => Known::Atan2,
        "log" => Known::Log,
        "abs" => Known::Abs,
        "round" => Known::Round,
        "trunc" => Known::Trunc,
        "degrees" => Known::Degrees,
        "radians" => Known::Radians,
        "isnan" => Known::IsNan,
        "iszero" => Known::IsZero,
        "nanvl" => Known::Nanvl,
        "nullif" => Known::NullIf,
        "greatest" => Known::Greatest,
        "least" => Known::Least,
        "date_part" => Known::DatePart,
        "date_trunc" => Known::DateTrunc,
        "character_length" => Known::Length(Bound::Chars),
        "octet_length" => Known::Length(Bound::Bytes),
        "substr" => Known::Substr,
        "starts_with" => Known::StartsWith,
        "ends_with" => Known::EndsWith,
        "contains" => Known::Contains,
        _ => return None,
    })
}

static BUILT_IN: LazyLock<HashMap<String, Arc<ScalarUDF>>> =
    LazyLock::new(|| all_default_functions().into_iter().map(|f| (f.name().to_owned(), f)).collect());

fn known(e: &ScalarFunctionExpr) -> Option<Known> {
    let name = e.fun().name();
    let known = by_name(name)?;
    BUILT_IN.get(name).is_some_and(|f| f.as_ref() == e.fun()).then_some(known)
}

/// Whether evaluating the function on a row costs more than moving a row: calls, and the kernels
/// that search or rebuild text or approximate functions.
pub(super) fn is_expensive(e: &ScalarFunctionExpr) -> bool {
    let Some(known) = known(e) else { return true };
    match known {
        Known::Math(f) => f.is_transcendental(),
        Known::Power
        | Known::Atan2
        | Known::Log
        | Known::DatePart
        | Known::DateTrunc
        | Known::Length(Bound::Chars)
        | Known::Substr
        | Known::Contains => true,
        Known::Sqrt
        | Known::Abs
        | Known::Round
        | Known::Trunc
        | Known::Degrees
        | Known::Radians
        | Known::IsNan
        | Known::IsZero
        | Known::Nanvl
        | Known::NullIf
        | Known::Greatest
        | Known::Least
        | Known::Length(Bound::Bytes)
        | Known::StartsWith
        | Known::EndsWith => false,
    }
}

impl StageBuilder {
    pub(super) fn function(&mut self, e: &ScalarFunctionExpr, scope: &Scope, cx: Ctx) -> Native<ValueId> {
        if let Some(body) = self.options.body_of.and_then(|body_of| body_of(e)) {
            return self.inlined(&body, e, scope, cx);
        }
        let known = known(e).ok_or("no loop computes this function")?;
        match known {
            Known::Math(f) => self.math(f, e, scope, cx),
            Known::Sqrt => self.sqrt(e, scope, cx),
            Known::Power => self.power(e, scope, cx),
            Known::Atan2 => self.atan2(e, scope, cx),
            Known::Log => self.log(e, scope, cx),
            Known::Abs => self.abs(e, scope, cx),
            Known::Round => self.round(e, scope, cx),
            Known::Trunc => self.trunc(e, scope, cx),
            Known::Degrees => self.convert_angle(e, true, scope, cx),
            Known::Radians => self.convert_angle(e, false, scope, cx),
            Known::IsNan => self.isnan(e, scope, cx),
            Known::IsZero => self.iszero(e, scope, cx),
            Known::Nanvl => self.nanvl(e, scope, cx),
            Known::NullIf => self.nullif(e, scope, cx),
            Known::Greatest => self.extreme(e, true, scope, cx),
            Known::Least => self.extreme(e, false, scope, cx),
            Known::DatePart => self.date_part(e, scope, cx),
            Known::DateTrunc => self.date_trunc(e, scope, cx),
            Known::Length(bound) => self.text_length(e, bound, scope, cx),
            Known::Substr => self.substr(e, scope, cx),
            Known::StartsWith => self.text_function(e, scope, cx, StrTest::StartsWith),
            Known::EndsWith => self.text_function(e, scope, cx, StrTest::EndsWith),
            Known::Contains => self.text_function(e, scope, cx, StrTest::Contains),
        }
    }
}
