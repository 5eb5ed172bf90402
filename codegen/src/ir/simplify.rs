//! Rewrites a loop into a smaller one with the same results, row for row and error for error.
//!
//! The planner's SQL is already simplified by the optimizer; what is left comes from lowering (the
//! conditions of CASE arms, masks) and from variants (validity of values that cannot be null).
//! Values are visited in order; each becomes a constant, another value, or itself with simpler
//! arguments, and equal ones are shared. Then unused values are dropped. Inputs stay where they
//! are, read or not, so that morsels need not change.
//!
//! Floats are left alone unless all arguments are constants: `x + 0.0` is not `x` for -0.0.

use super::divisible::divisibility;
use super::interp;
use super::op::{CmpOp, Op, Overflow};
use super::pipeline::{Inst, Loop, Sink, Step, ValueId};
use super::types::{Lit, Ty};
use std::collections::HashMap;

impl Loop {
    /// The loop, simplified. Nullability may get narrower; outputs keep their declared types.
    #[must_use]
    pub fn simplified(&self) -> Loop {
        let mut s = Simplifier::new(self);
        for step in &self.steps {
            match step {
                Step::Let(v) => {
                    let inst = s.renamed(self.value(*v));
                    let id = s.simplify(inst);
                    s.new_id[v.index()] = Some(id);
                }
                Step::Filter(v) => {
                    let v = s.map(*v);
                    if s.constant(v) != Some(&Lit::Bool(true)) {
                        s.out.steps.push(Step::Filter(v));
                    }
                }
                Step::Expand(v) => {
                    // Not shared: each makes its own rows.
                    let inst = s.renamed(self.value(*v));
                    let id = ValueId(s.out.values.len() as u32);
                    s.safe.push(true);
                    s.out.values.push(inst);
                    s.out.steps.push(Step::Expand(id));
                    s.new_id[v.index()] = Some(id);
                }
                Step::Visit { join, row } => {
                    let row = s.map(*row);
                    s.out.steps.push(Step::Visit { join: *join, row });
                }
            }
        }
        let sink = self.sink.clone().map_values(|v| s.map(v));
        s.out.sink = without_true_filters(sink, &s);
        without_unused(s.out)
    }
}

/// A filter of an aggregate that is always true is none.
fn without_true_filters(mut sink: Sink, s: &Simplifier) -> Sink {
    match &mut sink {
        Sink::Emit(_) => {}
        Sink::Aggregate(aggs) | Sink::Group { aggs, .. } => {
            for agg in aggs {
                agg.filter = agg.filter.filter(|f| s.constant(*f) != Some(&Lit::Bool(true)));
            }
        }
    }
    sink
}

struct Simplifier {
    out: Loop,
    /// Of each value of `out` whether neither it nor anything it is made from can fail.
    safe: Vec<bool>,
    new_id: Vec<Option<ValueId>>,
    known: HashMap<Inst, ValueId>,
}

impl Simplifier {
    fn new(source: &Loop) -> Simplifier {
        let out =
            Loop { inputs: source.inputs.clone(), values: vec![], steps: vec![], sink: Sink::Emit(vec![]) };
        Simplifier { out, safe: vec![], new_id: vec![None; source.values.len()], known: HashMap::new() }
    }

    /// The new name of an old value. Verified loops name only what was computed before; anything
    /// else keeps its name, for the verifier to find.
    fn map(&self, v: ValueId) -> ValueId {
        self.new_id.get(v.index()).copied().flatten().unwrap_or(v)
    }

    /// The instruction over new names, with its nullability inferred anew.
    fn renamed(&self, inst: &Inst) -> Inst {
        let args: Vec<ValueId> = inst.args.iter().map(|a| self.map(*a)).collect();
        let under = inst.under.map(|u| self.map(u)).filter(|u| self.constant(*u) != Some(&Lit::Bool(true)));
        let mut inst = Inst { args, under, ..inst.clone() };
        self.infer(&mut inst);
        inst
    }

    fn infer(&self, inst: &mut Inst) {
        let sig: Vec<(Ty, bool)> =
            inst.args.iter().map(|a| self.out.value(*a)).map(|a| (a.ty, a.nullable)).collect();
        if let Ok((ty, nullable)) = inst.op.infer(&sig) {
            (inst.ty, inst.nullable) = (ty, nullable);
        }
    }

    /// Whether the value may be dropped where its error would be missed.
    fn safe(&self, v: ValueId) -> bool {
        self.safe.get(v.index()).copied().unwrap_or(false)
    }

    fn constant(&self, v: ValueId) -> Option<&Lit> {
        match self.out.values.get(v.index()).map(|i| &i.op) {
            Some(Op::Const(lit)) => Some(lit),
            Some(_) | None => None,
        }
    }

    fn lit(&mut self, lit: Lit) -> ValueId {
        let (ty, nullable) = (lit.ty(), lit.is_null());
        self.intern(Inst { op: Op::Const(lit), args: vec![], under: None, ty, nullable })
    }

    fn intern(&mut self, inst: Inst) -> ValueId {
        if let Some(v) = self.known.get(&inst) {
            return *v;
        }
        let v = ValueId(self.out.values.len() as u32);
        let tys: Vec<Ty> = inst.args.iter().map(|a| self.out.value(*a).ty).collect();
        let safe = !inst.op.can_fail(&tys) && inst.args.iter().chain(&inst.under).all(|a| self.safe(*a));
        self.safe.push(safe);
        self.known.insert(inst.clone(), v);
        self.out.values.push(inst);
        self.out.steps.push(Step::Let(v));
        v
    }

    /// A new instruction that cannot fail, simplified in turn.
    fn make(&mut self, op: Op, args: Vec<ValueId>, ty: Ty) -> ValueId {
        let mut inst = Inst { op, args, under: None, ty, nullable: true };
        self.infer(&mut inst);
        self.simplify(inst)
    }

    fn simplify(&mut self, inst: Inst) -> ValueId {
        if let Some(v) = self.folded(&inst).or_else(|| self.rewritten(&inst)) {
            return v;
        }
        self.intern(inst)
    }

    /// The constant that an op of constants is, unless it fails.
    fn folded(&mut self, inst: &Inst) -> Option<ValueId> {
        let reads_tables = matches!(inst.op, Op::Probe { .. } | Op::Expand { .. } | Op::Fetch { .. });
        if inst.args.is_empty() || reads_tables {
            return None;
        }
        let args: Vec<Lit> = inst.args.iter().map(|a| self.constant(*a).cloned()).collect::<Option<_>>()?;
        let lit = interp::fold(&inst.op, &args)?;
        Some(self.lit(lit))
    }

    fn rewritten(&mut self, inst: &Inst) -> Option<ValueId> {
        let arg = |i: usize| inst.args.get(i).copied();
        let (a, b) = (arg(0), arg(1));
        let is = |v: Option<ValueId>, lit: Lit| v.and_then(|v| self.constant(v)) == Some(&lit);
        let is_null = |v: ValueId| self.constant(v).is_some_and(Lit::is_null);
        let nullable = |v: ValueId| self.out.value(v).nullable;
        match &inst.op {
            Op::And | Op::Or => {
                let (unit, zero) = (inst.op == Op::And, inst.op == Op::Or);
                if a == b || is(b, Lit::Bool(unit)) {
                    return a;
                }
                if is(a, Lit::Bool(unit)) {
                    return b;
                }
                if is(a, Lit::Bool(zero)) || is(b, Lit::Bool(zero)) {
                    return Some(self.lit(Lit::Bool(zero)));
                }
                None
            }
            Op::Not => {
                let inner = self.out.value(a?).clone();
                if let Op::Cmp(cmp) = inner.op {
                    return Some(self.make(Op::Cmp(negated(cmp)), inner.args, Ty::Bool));
                }
                if inner.op == Op::Not { inner.args.first().copied() } else { None }
            }
            Op::IsTrue if !nullable(a?) => a,
            Op::IsValid if !nullable(a?) && self.safe(a?) => Some(self.lit(Lit::Bool(true))),
            Op::Distinct if !nullable(a?) && !nullable(b?) => {
                Some(self.make(Op::Cmp(CmpOp::Ne), inst.args.clone(), Ty::Bool))
            }
            Op::Distinct if is_null(b?) => Some(self.make(Op::IsValid, vec![a?], Ty::Bool)),
            Op::Distinct if is_null(a?) => Some(self.make(Op::IsValid, vec![b?], Ty::Bool)),
            Op::Select => {
                let (then, otherwise) = (b?, arg(2)?);
                match self.constant(a?) {
                    Some(Lit::Bool(true)) => Some(then),
                    Some(_) => Some(otherwise),
                    None if then == otherwise && self.safe(a?) => Some(then),
                    None => None,
                }
            }
            Op::Coalesce if !nullable(a?) || a == b => a,
            Op::Coalesce if is_null(a?) => b,
            Op::Coalesce if is_null(b?) => a,
            Op::NullIf => match self.constant(b?) {
                Some(Lit::Bool(true)) if self.safe(a?) => Some(self.lit(Lit::Null(inst.ty))),
                Some(Lit::Bool(true)) => None,
                Some(_) => a,
                None => None,
            },
            Op::Cmp(cmp @ (CmpOp::Eq | CmpOp::Ne)) => {
                self.remainder_test(*cmp, a?, b?).or_else(|| self.remainder_test(*cmp, b?, a?))
            }
            Op::Cast(to, _) if self.out.value(a?).ty == *to => a,
            Op::Add(_) | Op::Sub(_) if inst.ty.is_int() && self.integer(b?) == Some(0) => a,
            Op::Add(_) if inst.ty.is_int() && self.integer(a?) == Some(0) => b,
            Op::Mul(_) if inst.ty.is_int() && self.integer(b?) == Some(1) => a,
            Op::Mul(_) if inst.ty.is_int() && self.integer(a?) == Some(1) => b,
            Op::Input(_)
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
            | Op::Cmp(CmpOp::Lt | CmpOp::Le | CmpOp::Gt | CmpOp::Ge)
            | Op::Distinct
            | Op::IsValid
            | Op::IsTrue
            | Op::Coalesce
            | Op::Guard(_)
            | Op::InSet(_)
            | Op::Cast(..)
            | Op::DecRescale { .. }
            | Op::DecFromInt { .. }
            | Op::DecToInt { .. }
            | Op::DecFromFloat { .. }
            | Op::DecToFloat { .. }
            | Op::DecDiv { .. }
            | Op::Math(..)
            | Op::MathBin(..)
            | Op::DatePart { .. }
            | Op::DateTrunc { .. }
            | Op::AddInterval { .. }
            | Op::StrTest(_)
            | Op::StrLen(_)
            | Op::Substr
            | Op::Probe { .. }
            | Op::Expand { .. }
            | Op::Fetch { .. } => None,
        }
    }

    /// `x % c = k` by multiplication, where lanes have one.
    fn remainder_test(&mut self, cmp: CmpOp, rem: ValueId, k: ValueId) -> Option<ValueId> {
        let k = self.integer(k)?;
        let inst = self.out.value(rem);
        let (ty, args) = (inst.ty, inst.args.clone());
        if inst.op != Op::Rem || !matches!(ty, Ty::I32 | Ty::U32 | Ty::I64 | Ty::U64) {
            return None;
        }
        let test = divisibility(ty, self.integer(args[1])?, k)?;
        let number = |s: &mut Self, v: i128| Some(s.lit(Lit::integer(ty, v)?));
        let (x, k) = (args[0], number(self, k)?);
        let (from, what) = if test.negated { (k, x) } else { (x, k) };
        let y = self.make(Op::Sub(Overflow::Wrap), vec![from, what], ty);
        let inverse = number(self, test.inverse)?;
        let quotient = self.make(Op::Mul(Overflow::Wrap), vec![y, inverse], ty);
        let bias = number(self, test.bias)?;
        let shifted = self.make(Op::Add(Overflow::Wrap), vec![quotient, bias], ty);
        let limit = number(self, test.limit)?;
        let mut holds = self.make(Op::Cmp(CmpOp::Le), vec![shifted, limit], Ty::Bool);
        if test.low != 0 {
            let (low, zero) = (number(self, test.low)?, number(self, 0)?);
            let rest = self.make(Op::BitAnd, vec![y, low], ty);
            let even = self.make(Op::Cmp(CmpOp::Eq), vec![rest, zero], Ty::Bool);
            holds = self.make(Op::And, vec![holds, even], Ty::Bool);
        }
        Some(if cmp == CmpOp::Eq { holds } else { self.make(Op::Not, vec![holds], Ty::Bool) })
    }

    fn integer(&self, v: ValueId) -> Option<i128> {
        self.constant(v).and_then(Lit::as_i128)
    }
}

/// The comparison that holds where this one does not; floats are totally ordered.
fn negated(cmp: CmpOp) -> CmpOp {
    match cmp {
        CmpOp::Eq => CmpOp::Ne,
        CmpOp::Ne => CmpOp::Eq,
        CmpOp::Lt => CmpOp::Ge,
        CmpOp::Ge => CmpOp::Lt,
        CmpOp::Gt => CmpOp::Le,
        CmpOp::Le => CmpOp::Gt,
    }
}

/// Drops the values that reach neither a filter nor the sink. A value that could fail is dropped
/// only if the original loop did not use it either, or where a constant decides that the use has no
/// effect, as lazy evaluation would (`x AND false`, an arm that is never taken).
fn without_unused(source: Loop) -> Loop {
    let mut live = vec![false; source.values.len()];
    let mut todo = source.sink.uses();
    todo.extend(source.step_uses());
    while let Some(v) = todo.pop() {
        if !std::mem::replace(&mut live[v.index()], true) {
            let inst = source.value(v);
            todo.extend(inst.args.iter().copied().chain(inst.under));
        }
    }
    let mut new_id = vec![ValueId(0); source.values.len()];
    let (mut values, mut steps) = (vec![], vec![]);
    for step in &source.steps {
        match step {
            Step::Filter(v) => steps.push(Step::Filter(new_id[v.index()])),
            Step::Visit { join, row } => {
                steps.push(Step::Visit { join: *join, row: new_id[row.index()] });
            }
            Step::Let(v) | Step::Expand(v) if live[v.index()] => {
                let mut inst = source.value(*v).clone();
                for a in inst.args.iter_mut().chain(&mut inst.under) {
                    *a = new_id[a.index()];
                }
                let id = ValueId(values.len() as u32);
                new_id[v.index()] = id;
                steps.push(if matches!(step, Step::Expand(_)) { Step::Expand(id) } else { Step::Let(id) });
                values.push(inst);
            }
            Step::Expand(_) => {}
            Step::Let(_) => {}
        }
    }
    let sink = source.sink.map_values(|v| new_id[v.index()]);
    Loop { inputs: source.inputs, values, steps, sink }
}

#[cfg(test)]
mod tests {
    use super::super::verify;
    use super::*;

    /// The instructions left of `body`, which computes v9 from the inputs v0 (i64), v1 (i64?), v2
    /// (bool?), v3 (bool).
    fn left_of(body: &str, output: &str) -> String {
        let text = format!(
            "loop {{
  input 0: i64 as Int64
  input 1: i64? as Int64
  input 2: bool? as Boolean
  input 3: bool as Boolean
  v0 = input 0
  v1 = input 1
  v2 = input 2
  v3 = input 3
{body}
  emit v9 as {output}?
}}"
        );
        let dense = renumbered(&text);
        let source: Loop = dense.parse().unwrap();
        verify(&source).unwrap_or_else(|e| panic!("{e}: {source}"));
        let simple = source.simplified();
        verify(&simple).unwrap_or_else(|e| panic!("{e}: {simple}"));
        assert_eq!(simple.simplified(), simple, "simplifying twice");
        let insts = simple.values.iter().map(|i| i.op.to_string());
        insts.collect::<Vec<_>>().join("; ")
    }

    /// v9 stands for the last value, whatever its number.
    fn renumbered(text: &str) -> String {
        let count = text.lines().filter(|l| l.trim_start().starts_with('v')).count();
        text.replace("v9", &format!("v{}", count - 1))
    }

    #[test]
    fn constants_fold_unless_they_fail() {
        assert_eq!(
            left_of("  v4: i64 = const 2\n  v5 = mul.err v4, v4\n  v9 = add v5, v4", "Int64"),
            "const 6"
        );
        let failing = "  v4: i64 = const 0\n  v9 = div v4, v4";
        assert_eq!(left_of(failing, "Int64"), "const 0; div");
        assert_eq!(left_of("  v4: i64? = const null\n  v9 = is_valid v4", "Boolean"), "const false");
    }

    #[test]
    fn logic_shrinks() {
        let t = "  v4: bool = const true\n";
        let f = "  v4: bool = const false\n";
        assert_eq!(left_of(&format!("{t}  v9 = and v4, v2"), "Boolean"), "input 2");
        assert_eq!(left_of(&format!("{t}  v9 = or v2, v4"), "Boolean"), "const true");
        assert_eq!(left_of(&format!("{f}  v9 = and v2, v4"), "Boolean"), "const false");
        assert_eq!(left_of("  v4 = not v2\n  v9 = not v4", "Boolean"), "input 2");
        assert_eq!(left_of("  v4 = cmp.lt v0, v1\n  v9 = not v4", "Boolean"), "input 0; input 1; cmp.ge");
        assert_eq!(left_of("  v9 = is_true v3", "Boolean"), "input 3");
        assert_eq!(left_of("  v9 = is_true v2", "Boolean"), "input 2; is_true");
        assert_eq!(left_of("  v9 = is_valid v0", "Boolean"), "const true");
    }

    #[test]
    fn choices_shrink() {
        assert_eq!(left_of("  v9 = coalesce v0, v1", "Int64"), "input 0");
        assert_eq!(left_of("  v9 = coalesce v1, v0", "Int64"), "input 0; input 1; coalesce");
        assert_eq!(left_of("  v9 = select v2, v1, v1", "Int64"), "input 1");
        assert_eq!(left_of("  v4: bool? = const null\n  v9 = select v4, v0, v1", "Int64"), "input 1");
        assert_eq!(left_of("  v4: bool = const false\n  v9 = null_if v0, v4", "Int64"), "input 0");
        assert_eq!(left_of("  v4 = distinct v0, v0\n  v9 = is_true v4", "Boolean"), "input 0; cmp.ne");
        assert_eq!(
            left_of("  v4: i64? = const null\n  v9 = distinct v4, v1", "Boolean"),
            "input 1; is_valid"
        );
        assert_eq!(left_of("  v4: i64 = const 0\n  v9 = add.err v4, v1", "Int64"), "input 1");
        assert_eq!(left_of("  v9 = cast.i64 v1", "Int64"), "input 1");
    }

    #[test]
    fn what_can_fail_is_evaluated_though_its_value_is_known() {
        let div = "  v4: i64 = const 3\n  v5 = div v4, v0\n";
        assert_eq!(
            left_of(&format!("{div}  v9 = is_valid v5"), "Boolean"),
            "input 0; const 3; div; is_valid"
        );
        let test = format!("{div}  v6 = cmp.lt v5, v4\n");
        assert!(left_of(&format!("{test}  v9 = select v6, v1, v1"), "Int64").ends_with("select"));
        let always = "  v6: bool = const true\n";
        assert!(left_of(&format!("{div}{always}  v9 = null_if v5, v6"), "Int64").ends_with("null_if"));
        let always = "  v4: bool = const true\n";
        assert_eq!(left_of(&format!("{always}  v9 = null_if v0, v4"), "Int64"), "const null");
    }

    #[test]
    fn a_remainder_that_is_only_compared_becomes_a_product() {
        let three = "  v4: i64 = const 3\n  v5: i64 = const 0\n  v6 = rem v0, v4\n";
        assert_eq!(
            left_of(&format!("{three}  v9 = cmp.eq v6, v5"), "Boolean"),
            "input 0; const -6148914691236517205; mul.wrap; const -6148914691236517206; add.wrap; \
             const -3074457345618258604; cmp.le"
        );
        let six = "  v4: i64 = const 6\n  v5: i64 = const -1\n  v6 = rem v1, v4\n";
        let left = left_of(&format!("{six}  v9 = cmp.ne v5, v6"), "Boolean");
        assert!(left.ends_with("cmp.le; const 1; const 0; bit_and; cmp.eq; and; not"), "{left}");
        // A power of two has a shorter test of its own.
        let four = "  v4: i64 = const 4\n  v5: i64 = const 1\n  v6 = rem v0, v4\n";
        let left = left_of(&format!("{four}  v9 = cmp.eq v6, v5"), "Boolean");
        assert!(left.ends_with("rem; const 1; cmp.eq") || left.ends_with("rem; cmp.eq"), "{left}");
    }

    #[test]
    fn filters_and_conditions_that_always_hold_go() {
        let text = "loop {
  input 0: i64 as Int64
  v0 = input 0
  v1: bool = const true
  filter v1
  v2 = div v0, v0 under v1
  aggregate sum(v2) filter v1: i64
}";
        let simple = text.parse::<Loop>().unwrap().simplified();
        verify(&simple).unwrap();
        let expected = "loop {
  input 0: i64 as Int64 \"c0\"
  v0: i64 = input 0
  v1: i64 = div v0, v0
  aggregate sum(v1): i64
}
";
        assert_eq!(simple.to_string(), expected);
    }
}
