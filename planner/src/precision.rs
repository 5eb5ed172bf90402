//! Where a transcendental function may come from the fast kernels (within 1 ulp of libm), and where
//! its last bit would show.
//!
//! A value may be approximate if everything made of it is float arithmetic that ends in a float
//! output or a float sum. Whatever else reads it (a comparison, a conversion, rounding, `%`, a
//! call, a minimum) could turn one ulp into a different answer, so libm computes it. An output
//! counts as the end only if nobody above the stage compares, groups or prints it.

use fuseline_codegen::ir::{Emit, Loop, MathFn, Op, Precision, Sink, Step, Ty, ValueId};

/// Rewrites the precision of the loop's transcendental functions. `outputs_exact`: the emitted
/// values are read by somebody to whom the last bit matters. `exact`: all of them are libm's.
pub(crate) fn settle(loop_: &mut Loop, exact: bool, outputs_exact: impl Fn(usize) -> bool) {
    let mut needs = vec![exact; loop_.values.len()];
    let mut need = |v: ValueId| needs[v.index()] = true;
    match &loop_.sink {
        Sink::Emit(columns) => {
            for (i, column) in columns.iter().enumerate() {
                if let Emit::Value { value, .. } = column
                    && outputs_exact(i)
                {
                    need(*value);
                }
            }
        }
        Sink::Aggregate(aggs) | Sink::Group { aggs, .. } => {
            use fuseline_codegen::ir::AggFunc;
            if let Sink::Group { keys, .. } = &loop_.sink {
                keys.iter().map(|k| k.value).for_each(&mut need);
            }
            for agg in aggs {
                match agg.func {
                    AggFunc::Sum | AggFunc::Count | AggFunc::Spread => {}
                    AggFunc::Min | AggFunc::Max => agg.arg.into_iter().for_each(&mut need),
                }
                agg.filter.into_iter().for_each(&mut need);
            }
        }
    }
    for step in loop_.steps.iter().rev() {
        let v = match step {
            Step::Filter(v) => {
                needs[v.index()] = true;
                continue;
            }
            Step::Visit { .. } => continue,
            Step::Let(v) | Step::Expand(v) => *v,
        };
        let inst = &mut loop_.values[v.index()];
        if needs[v.index()] {
            match &mut inst.op {
                Op::Math(_, p) | Op::MathBin(_, p) => *p = Precision::Libm,
                _ => {}
            }
        }
        for (i, arg) in inst.args.iter().enumerate() {
            if needs[v.index()] || !passes_on(&inst.op, i, inst.ty) {
                needs[arg.index()] = true;
            }
        }
        if let Some(under) = inst.under {
            needs[under.index()] = true;
        }
    }
}

/// Whether an error of an ulp in operand `i` is an error of about an ulp in the result.
fn passes_on(op: &Op, i: usize, ty: Ty) -> bool {
    if !ty.is_float() {
        return false;
    }
    match op {
        Op::Add(_) | Op::Sub(_) | Op::Mul(_) | Op::Div | Op::Neg(_) | Op::Abs(_) => true,
        Op::Cast(..) => true,
        Op::Select => i > 0,
        Op::Coalesce => true,
        Op::NullIf | Op::Guard(_) => i == 0,
        Op::Math(f, _) => {
            !matches!(f, MathFn::Floor | MathFn::Ceil | MathFn::Trunc | MathFn::Round | MathFn::Signum)
        }
        Op::MathBin(..) => true,
        Op::Input(_)
        | Op::Const(_)
        | Op::RowIndex
        | Op::Rem
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
        | Op::InSet(_)
        | Op::DecRescale { .. }
        | Op::DecFromInt { .. }
        | Op::DecToInt { .. }
        | Op::DecFromFloat { .. }
        | Op::DecToFloat { .. }
        | Op::DecDiv { .. }
        | Op::DatePart { .. }
        | Op::DateTrunc { .. }
        | Op::AddInterval { .. }
        | Op::StrTest(_)
        | Op::StrLen(_)
        | Op::Substr
        | Op::Probe { .. }
        | Op::Expand { .. }
        | Op::Fetch { .. } => false,
    }
}
