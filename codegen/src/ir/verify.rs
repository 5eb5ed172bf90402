//! Checks that a loop is well formed. Everything that reads a loop relies on this and may answer a
//! violation with an internal error, but never with a panic or a wrong result.
//!
//! # Invariants
//! 1. SSA: every value of [`Loop::values`] is computed by exactly one [`Step::Let`], and used only by
//!    later steps or the sink.
//! 2. Every instruction's type and nullability are what [`Op::infer`] says of its arguments, or for
//!    an input what its column says; its `under`, if any, is a Bool and its op can fail.
//! 3. An input's representation is that of its array type.
//! 4. Filters, and the filters of aggregates, are Bools.
//! 5. An output's array type holds the value's type; strings leave as Utf8, LargeUtf8 or Utf8View;
//!    an output that is not nullable comes from a value that is not.
//! 6. Aggregates: only `count` may lack an argument, and has type I64; sum is of I64, U64, I128 or
//!    F64; min and max are of numeric types or text; other aggregates have their argument's type.
//! 7. The key of a group leaves under the conditions of 5, and there is at least one. Aggregates of groups
//!    are those of 6, but not of text.
//! 8. No part of a constant interval is its type's minimum, which has no negative.
//! 9. Decimal operations have precisions from 1 to 38 and powers of ten that fit 128 bits.
//! 10. Pairs of rows are made by steps of their own, and what is visited is a build row.

use super::agg::{Agg, AggFunc};
use super::op::Op;
use super::pipeline::{Emit, GroupKey, Input, Inst, Loop, Sink, Step, ValueId};
use super::types::Ty;
use arrow::datatypes::DataType;

/// What is wrong with a loop.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    #[error("v{0} is used before it is computed")]
    Undefined(u32),
    #[error("v{0} is computed twice")]
    Redefined(u32),
    #[error("v{0} is never computed")]
    NeverDefined(u32),
    #[error("v{value} reads input {input}, of {inputs}")]
    NoSuchInput { value: u32, input: u32, inputs: usize },
    #[error("v{value}: {message}")]
    Signature { value: u32, message: String },
    #[error("v{value} is declared {declared}, but is {actual}")]
    Declaration { value: u32, declared: String, actual: String },
    #[error("v{0} has a condition, but cannot fail")]
    NeedlessUnder(u32),
    #[error("v{value} is used as a condition, but is {ty}")]
    NotBool { value: u32, ty: Ty },
    #[error("input {input} of type {data_type} is not represented as {ty}")]
    Representation { input: usize, data_type: DataType, ty: Ty },
    #[error("output {output}: v{value} of type {ty} cannot leave as {data_type}")]
    Output { output: usize, value: u32, ty: Ty, data_type: DataType },
    #[error("output {output} is declared without nulls, but v{value} may be null")]
    OutputNulls { output: usize, value: u32 },
    #[error("there is no key to group by")]
    NoKey,
    #[error("aggregate {aggregate}: {message}")]
    Aggregate { aggregate: usize, message: String },
    #[error("v{value}: {message}")]
    Parameter { value: u32, message: String },
    #[error("v{0} makes pairs of rows, which only a step of its own can do")]
    Expansion(u32),
}

/// Checks all invariants; the first violation is the error.
pub fn verify(source: &Loop) -> Result<(), VerifyError> {
    for (i, input) in source.inputs.iter().enumerate() {
        if Input::physical(&input.data_type) != Some(input.ty) {
            let (data_type, ty) = (input.data_type.clone(), input.ty);
            return Err(VerifyError::Representation { input: i, data_type, ty });
        }
    }
    let mut defined = vec![false; source.values.len()];
    for step in &source.steps {
        match step {
            Step::Let(v) | Step::Expand(v) => {
                let Some(inst) = source.values.get(v.index()) else {
                    return Err(VerifyError::Undefined(v.0));
                };
                if matches!(step, Step::Expand(_)) != matches!(inst.op, Op::Expand { .. }) {
                    return Err(VerifyError::Expansion(v.0));
                }
                for used in inst.args.iter().chain(&inst.under) {
                    require(&defined, *used)?;
                }
                instruction(source, *v, inst)?;
                if std::mem::replace(&mut defined[v.index()], true) {
                    return Err(VerifyError::Redefined(v.0));
                }
            }
            Step::Filter(v) => {
                require(&defined, *v)?;
                boolean(source, *v)?;
            }
            Step::Visit { row, .. } => {
                require(&defined, *row)?;
                let inst = source.value(*row);
                if inst.ty != Ty::U32 {
                    let message = "a build row is u32".to_owned();
                    return Err(VerifyError::Parameter { value: row.0, message });
                }
            }
        }
    }
    if let Some(missing) = defined.iter().position(|d| !d) {
        return Err(VerifyError::NeverDefined(missing as u32));
    }
    for used in source.sink.uses() {
        require(&defined, used)?;
    }
    sink(source)
}

fn require(defined: &[bool], v: ValueId) -> Result<(), VerifyError> {
    if defined.get(v.index()) == Some(&true) { Ok(()) } else { Err(VerifyError::Undefined(v.0)) }
}

fn boolean(source: &Loop, v: ValueId) -> Result<(), VerifyError> {
    let ty = source.value(v).ty;
    if ty == Ty::Bool { Ok(()) } else { Err(VerifyError::NotBool { value: v.0, ty }) }
}

fn shown(ty: Ty, nullable: bool) -> String {
    format!("{ty}{}", if nullable { "?" } else { "" })
}

fn instruction(source: &Loop, v: ValueId, inst: &Inst) -> Result<(), VerifyError> {
    let value = v.0;
    let sig: Vec<(Ty, bool)> =
        inst.args.iter().map(|a| source.value(*a)).map(|a| (a.ty, a.nullable)).collect();
    let (ty, nullable) = if let Op::Input(input) = inst.op {
        let inputs = source.inputs.len();
        let column =
            source.inputs.get(input as usize).ok_or(VerifyError::NoSuchInput { value, input, inputs })?;
        (column.ty, column.nullable)
    } else {
        inst.op.infer(&sig).map_err(|message| VerifyError::Signature { value, message })?
    };
    if (ty, nullable) != (inst.ty, inst.nullable) {
        let (declared, actual) = (shown(inst.ty, inst.nullable), shown(ty, nullable));
        return Err(VerifyError::Declaration { value, declared, actual });
    }
    parameters(&inst.op).map_err(|message| VerifyError::Parameter { value, message })?;
    if let Some(under) = inst.under {
        boolean(source, under)?;
        let tys: Vec<Ty> = sig.iter().map(|s| s.0).collect();
        if !inst.op.can_fail(&tys) {
            return Err(VerifyError::NeedlessUnder(value));
        }
    }
    Ok(())
}

fn parameters(op: &Op) -> Result<(), String> {
    let digits = |precision: u8| {
        if (1..=38).contains(&precision) {
            Ok(())
        } else {
            Err(format!("precision {precision} of a decimal"))
        }
    };
    let power = |n: u8| if n <= 38 { Ok(()) } else { Err(format!("10^{n} does not fit 128 bits")) };
    match op {
        Op::DecRescale { precision, .. } => digits(*precision),
        Op::DecFromInt { scale, precision, .. } => {
            digits(*precision).and_then(|()| power(scale.unsigned_abs()))
        }
        Op::DecFromFloat { precision, .. } => digits(*precision),
        Op::DecToInt { scale, .. } => power(scale.unsigned_abs()),
        Op::DecDiv { left_pow, right_pow } => power(*left_pow).and_then(|()| power(*right_pow)),
        Op::AddInterval { months: i32::MIN, .. }
        | Op::AddInterval { days: i32::MIN, .. }
        | Op::AddInterval { nanos: i64::MIN, .. } => Err("an interval that has no negative".to_owned()),
        Op::AddInterval { .. }
        | Op::DecToFloat { .. }
        | Op::Input(_)
        | Op::Const(_)
        | Op::RowIndex
        | Op::Add(_)
        | Op::Sub(_)
        | Op::Mul(_)
        | Op::Div
        | Op::Rem
        | Op::Neg(_)
        | Op::Abs(_)
        | Op::BitAnd
        | Op::BitOr
        | Op::BitXor
        | Op::Shl
        | Op::Shr
        | Op::Cmp(_)
        | Op::Distinct
        | Op::And
        | Op::Or
        | Op::Not
        | Op::IsValid
        | Op::IsTrue
        | Op::Select
        | Op::Coalesce
        | Op::NullIf
        | Op::Guard(_)
        | Op::InSet(_)
        | Op::Cast(..)
        | Op::Math(..)
        | Op::MathBin(..)
        | Op::DatePart { .. }
        | Op::DateTrunc { .. }
        | Op::StrTest(_)
        | Op::StrLen(_)
        | Op::Substr
        | Op::Probe { .. }
        | Op::Expand { .. }
        | Op::Fetch { .. } => Ok(()),
    }
}

fn sink(source: &Loop) -> Result<(), VerifyError> {
    match &source.sink {
        Sink::Emit(columns) => {
            for (output, column) in columns.iter().enumerate() {
                let Emit::Value { value: v, data_type, nullable } = column else { continue };
                leaves(source, output, *v, data_type, *nullable)?;
            }
            Ok(())
        }
        Sink::Aggregate(aggs) => aggregates(source, aggs),
        Sink::Group { keys, aggs } => {
            if keys.is_empty() {
                return Err(VerifyError::NoKey);
            }
            for (output, GroupKey { value, data_type, nullable }) in keys.iter().enumerate() {
                leaves(source, output, *value, data_type, *nullable)?;
            }
            aggregates(source, aggs)
        }
    }
}

/// Whether a value can leave in an array of this type.
fn leaves(
    source: &Loop,
    output: usize,
    v: ValueId,
    data_type: &DataType,
    nullable: bool,
) -> Result<(), VerifyError> {
    let (inst, value) = (source.value(v), v.0);
    let plain = !matches!(data_type, DataType::Dictionary(..));
    if !plain || Input::physical(data_type) != Some(inst.ty) {
        let (ty, data_type) = (inst.ty, data_type.clone());
        return Err(VerifyError::Output { output, value, ty, data_type });
    }
    if inst.nullable && !nullable { Err(VerifyError::OutputNulls { output, value }) } else { Ok(()) }
}

fn aggregates(source: &Loop, aggs: &[Agg]) -> Result<(), VerifyError> {
    for (aggregate, agg) in aggs.iter().enumerate() {
        if let Some(f) = agg.filter {
            boolean(source, f)?;
        }
        agg_types(source, agg).map_err(|message| VerifyError::Aggregate { aggregate, message })?;
    }
    Ok(())
}

fn agg_types(source: &Loop, agg: &Agg) -> Result<(), String> {
    let arg = agg.arg.map(|a| source.value(a).ty);
    let ok = match (agg.func, arg) {
        (AggFunc::Count, _) => agg.ty == Ty::I64,
        (AggFunc::Sum | AggFunc::Min | AggFunc::Max | AggFunc::Spread, None) => {
            return Err("an argument is missing".to_owned());
        }
        (AggFunc::Sum, Some(ty)) => agg.ty == ty && matches!(ty, Ty::I64 | Ty::U64 | Ty::I128 | Ty::F64),
        (AggFunc::Spread, Some(ty)) => agg.ty == ty && ty == Ty::F64,
        (AggFunc::Min | AggFunc::Max, Some(ty)) => agg.ty == ty && (ty.is_numeric() || ty == Ty::Str),
    };
    let shown_arg = arg.map_or("*", Ty::name);
    if ok { Ok(()) } else { Err(format!("{:?}({shown_arg}) cannot have the type {}", agg.func, agg.ty)) }
}
