//! Turns the filters in front of an aggregate into masks.
//!
//! A filter compacts: its survivors are gathered before the loop goes on. When only a few cheap
//! instructions and an aggregate follow, it is quicker to compute them on all rows and to let the
//! aggregate ignore the rows that did not pass. Example:
//!
//! ```text
//! filter v2                         v4 = is_true v2
//! v3 = mul v0, v1           =>      v3 = mul v0, v1
//! aggregate sum(v3): f64            aggregate sum(v3) filter v4: f64
//! ```
//!
//! Two things change by definition. Float sums assign rows to running sums by their position in the
//! chunk *after the last filter*, so without filters other rows meet; each form is exact about its
//! own. And [`crate::run::LoopOutput::rows`] counts the rows that reached the aggregate, which
//! are now all.

use super::op::Op;
use super::pipeline::{Inst, Loop, Sink, Step, ValueId};
use super::types::Ty;

impl Loop {
    /// The loop with masks for the filters behind which everything is cheap, if it aggregates; otherwise the
    /// loop as it is.
    #[must_use]
    pub fn filters_to_masks(&self) -> Loop {
        // A row that was dropped must not make a group, so filters before groups stay.
        let Sink::Aggregate(_) = &self.sink else { return self.clone() };
        // Everything behind the first of them must be cheap.
        let is_dear = |step: &Step| match step {
            Step::Filter(_) => false,
            Step::Let(v) => !is_cheap(self, self.value(*v)),
            Step::Expand(_) | Step::Visit { .. } => true,
        };
        let from = self.steps.iter().rposition(is_dear).map_or(0, |at| at + 1);
        match self.steps[from..].iter().position(|s| matches!(s, Step::Filter(_))) {
            Some(first) => masked(self, from + first),
            None => self.clone(),
        }
    }
}

/// Whether an instruction costs little enough to be computed on rows that need it not.
fn is_cheap(source: &Loop, inst: &Inst) -> bool {
    let touches_text = inst.ty == Ty::Str || inst.args.iter().any(|a| source.value(*a).ty == Ty::Str);
    let wide = inst.ty == Ty::I128;
    match &inst.op {
        // Reading text is as dear as working on it; other inputs are read in place.
        Op::Input(_) | Op::Const(_) => !touches_text,
        Op::Math(function, _) => !function.is_transcendental(),
        Op::MathBin(..) | Op::StrTest(_) | Op::StrLen(_) | Op::Substr => false,
        Op::DatePart { .. } | Op::DateTrunc { .. } | Op::AddInterval { .. } => false,
        Op::Probe { .. } | Op::Expand { .. } | Op::Fetch { .. } => false,
        // Division is tens of cycles per row, and of 128 bits more.
        Op::Div | Op::Rem => inst.ty.is_float(),
        Op::DecDiv { .. } | Op::DecToInt { .. } | Op::DecFromFloat { .. } => false,
        Op::DecRescale { delta, .. } => *delta >= 0,
        Op::DecFromInt { scale, .. } => *scale >= 0,
        Op::DecToFloat { .. } => true,
        Op::Add(_) | Op::Sub(_) | Op::Mul(_) | Op::Neg(_) | Op::Abs(_) => true,
        Op::InSet(set) => !touches_text && set.len() <= 8,
        Op::Shl | Op::Shr => !wide,
        Op::RowIndex
        | Op::BitAnd
        | Op::BitOr
        | Op::BitXor
        | Op::And
        | Op::Or
        | Op::Not
        | Op::IsTrue
        | Op::Cast(..) => true,
        Op::Cmp(_) | Op::Distinct | Op::Select | Op::Coalesce | Op::NullIf | Op::Guard(_) | Op::IsValid => {
            !touches_text
        }
    }
}

/// With masks for the filters from step `first` on.
fn masked(source: &Loop, first: usize) -> Loop {
    let mut out = Loop { steps: source.steps[..first].to_vec(), ..source.clone() };
    let mut mask: Option<ValueId> = None;
    for step in &source.steps[first..] {
        match step {
            Step::Let(v) => {
                let args: Vec<Ty> = source.value(*v).args.iter().map(|a| source.value(*a).ty).collect();
                if let Some(mask) = mask
                    && source.value(*v).op.can_fail(&args)
                {
                    // On rows that the filters dropped, nothing fails.
                    let under = match source.value(*v).under {
                        Some(under) => both(&mut out, mask, under),
                        None => mask,
                    };
                    out.values[v.index()].under = Some(under);
                }
                out.steps.push(Step::Let(*v));
            }
            Step::Expand(_) | Step::Visit { .. } => out.steps.push(*step),
            Step::Filter(predicate) => {
                let passes = push(&mut out, Op::IsTrue, vec![*predicate], false);
                mask = Some(match mask {
                    Some(mask) => both(&mut out, mask, passes),
                    None => passes,
                });
            }
        }
    }
    let Some(mask) = mask else { return out };
    let mut sink = out.sink.clone();
    if let Sink::Aggregate(aggs) = &mut sink {
        for agg in aggs {
            agg.filter = Some(match agg.filter {
                Some(filter) => both(&mut out, mask, filter),
                None => mask,
            });
        }
    }
    out.sink = sink;
    out
}

/// `a AND b`, computed once for each pair.
fn both(out: &mut Loop, a: ValueId, b: ValueId) -> ValueId {
    let known = out.values.iter().position(|i| i.op == Op::And && i.args == [a, b]);
    if let Some(known) = known
        && out.steps.contains(&Step::Let(ValueId(known as u32)))
    {
        return ValueId(known as u32);
    }
    let nullable = out.value(a).nullable || out.value(b).nullable;
    push(out, Op::And, vec![a, b], nullable)
}

fn push(out: &mut Loop, op: Op, args: Vec<ValueId>, nullable: bool) -> ValueId {
    let v = ValueId(out.values.len() as u32);
    out.values.push(Inst { op, args, under: None, ty: Ty::Bool, nullable });
    out.steps.push(Step::Let(v));
    v
}

#[cfg(test)]
mod tests {
    use super::super::verify;
    use super::*;

    #[test]
    fn filters_become_masks() {
        let text = "loop {
  input 0: i64? as Int64
  input 1: i64 as Int64
  v0 = input 0
  v1: i64 = const 24
  v2 = cmp.lt v0, v1
  filter v2
  v3 = input 1
  v4 = cmp.gt v3, v1
  v5 = add.err v3, v0
  filter v4
  v6 = mul.err v3, v5 under v2
  aggregate sum(v6): i64, count(*) filter v4: i64, count(*): i64
}";
        let source: Loop = text.parse().unwrap();
        verify(&source).unwrap();
        let masked = source.filters_to_masks();
        verify(&masked).unwrap();
        assert_eq!(
            masked.to_string(),
            "loop {
  input 0: i64? as Int64 \"c0\"
  input 1: i64 as Int64 \"c1\"
  v0: i64? = input 0
  v1: i64 = const 24
  v2: bool? = cmp.lt v0, v1
  v7: bool = is_true v2
  v3: i64 = input 1
  v4: bool = cmp.gt v3, v1
  v5: i64? = add.err v3, v0 under v7
  v8: bool = is_true v4
  v9: bool = and v7, v8
  v10: bool? = and v9, v2
  v6: i64? = mul.err v3, v5 under v10
  v11: bool = and v9, v4
  aggregate sum(v6) filter v9: i64, count(*) filter v11: i64, count(*) filter v9: i64
}
"
        );
    }

    #[test]
    fn dear_work_behind_a_filter_keeps_it() {
        for dear in ["math.sin.fast v0", "div v1, v1", "str_len.chars v2"] {
            let text = format!(
                "loop {{
  input 0: f64 as Float64
  input 1: i64 as Int64
  input 2: str as Utf8
  v0 = input 0
  v1 = input 1
  v2 = input 2
  v3 = cmp.gt v0, v0
  filter v3
  v4 = {dear}
  aggregate count(v4): i64
}}"
            );
            let source: Loop = text.parse().unwrap();
            verify(&source).unwrap();
            assert_eq!(source.filters_to_masks(), source);
        }
    }
}
