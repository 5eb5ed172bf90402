//! Dissolves a function into instructions of a pipeline's loop, where lanes compute it: [`inline`].
//!
//! The loop has no control flow, so branches become predication. All instructions are computed for all rows; a
//! *path* says on which rows a statement would have run, locals that two branches set differently are selected, and
//! returns are selected by their paths. Every guard becomes a condition under its path, and all of them one bool:
//! the rows that Python must be asked for. A row that bails has some value, which nobody may use.
//!
//! What keeps this exact:
//! * no instruction made here can fail, whatever its operands: divisors and what is cast are made harmless first, so
//!   nothing needs `under`, and nothing that traps is hoisted out of its branch;
//! * a value that is not optional is never null (parameters of such a type are taken where they are valid, and the result
//!   is null elsewhere); an optional one is a nullable value, whose null is None;
//! * comparisons of floats are Python's, not SQL's total order;
//! * a guard may ask for more rows than the operation does where the exact test costs more than it is worth (an int
//!   product just below 2**63), never for fewer.
//!
//! Functions with loops or texts, and operations that lanes have no form for, are refused: they run row by row in
//! `cpu/function`.

mod dates;
mod floats;
mod ints;
mod ops;
mod paths;

use super::{Base, Block, Function, Local, Stmt, Type, Types, Value, verify};
use crate::ir::op::OnFail;
use crate::ir::{CmpOp, Lit, LoopBuilder, Op, Ty, ValueId};
use paths::Path;
use std::collections::{HashMap, HashSet};

/// A function in a loop.
#[derive(Clone, Copy, Debug)]
pub struct Inlined {
    /// The result, of the type asked for; null where it is None and where an operand of a parameter that is not
    /// optional is null.
    pub value: ValueId,
    /// A bool that is never null: the rows that Python must be asked for. `None` if there are none.
    pub bail: Option<ValueId>,
}

/// Why a function does not become part of a loop.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotInlined(pub String);

type Made<T> = Result<T, NotInlined>;

impl From<String> for NotInlined {
    fn from(message: String) -> NotInlined {
        NotInlined(message)
    }
}

fn refused<T>(message: impl Into<String>) -> Made<T> {
    Err(NotInlined(message.into()))
}

/// Most instructions that one call may become.
const MOST_INSTRUCTIONS: usize = 800;

/// Writes a call of the function into a loop: `args` are its operands there, `result` the type that the result shall
/// have. Ints may be of any int type and floats of both; dates are days, datetimes microseconds.
///
/// # Errors
/// If the function has what a loop has not. Instructions may have been added then; nothing uses them, so
/// [`LoopBuilder::finish`] drops them.
pub fn inline(
    builder: &mut LoopBuilder,
    function: &Function,
    args: &[ValueId],
    result: Ty,
) -> Result<Inlined, NotInlined> {
    let types = verify(function).map_err(|e| NotInlined(e.to_string()))?;
    if args.len() != function.params.len() {
        return refused("it takes another number of operands");
    }
    let before = builder.len();
    let mut inliner = Inliner {
        b: builder,
        before,
        function,
        values: vec![None; types.len()],
        types,
        locals: vec![None; function.locals.len()],
        ranges: HashMap::new(),
        numbers: HashSet::new(),
        floors: HashMap::new(),
        negated: HashMap::new(),
        bail: None,
        returns: Vec::new(),
    };
    let (path, live) = inliner.parameters(args)?;
    if let Path::Nowhere = inliner.block(&function.body, path.clone())? {
        let value = inliner.result(result, path, live)?;
        let bail = inliner.bail;
        return Ok(Inlined { value, bail });
    }
    refused("the end of its body is reached")
}

struct Inliner<'b, 'f> {
    b: &'b mut LoopBuilder,
    /// Instructions that were there before.
    before: usize,
    function: &'f Function,
    types: Types,
    values: Vec<Option<ValueId>>,
    locals: Vec<Option<ValueId>>,
    /// Least and greatest of ints that are known better than by their type.
    ranges: HashMap<ValueId, (i64, i64)>,
    /// Floats that are not NaN.
    numbers: HashSet<ValueId>,
    /// What floats are not below, unless they are NaN.
    floors: HashMap<ValueId, f64>,
    /// Bools and their opposites.
    negated: HashMap<ValueId, ValueId>,
    bail: Option<ValueId>,
    returns: Vec<(Path, ValueId)>,
}

/// How a base is represented in a loop.
fn ty_of(base: Base) -> Made<Ty> {
    Ok(match base {
        Base::Bool => Ty::Bool,
        Base::Int | Base::DateTime => Ty::I64,
        Base::Float => Ty::F64,
        Base::Date => Ty::I32,
        Base::Str => return refused("texts are not computed in lanes"),
    })
}

/// A value of the type, for where there is none.
fn anything(ty: Ty) -> Lit {
    match ty {
        Ty::Bool => Lit::Bool(false),
        Ty::F32 => Lit::F32(0.0),
        Ty::F64 => Lit::F64(0.0),
        Ty::Str => Lit::Str(String::new()),
        Ty::I8 | Ty::I16 | Ty::I32 | Ty::I64 | Ty::I128 | Ty::U8 | Ty::U16 | Ty::U32 | Ty::U64 => {
            Lit::integer(ty, 0).unwrap_or(Lit::Null(ty))
        }
    }
}

impl Inliner<'_, '_> {
    fn inst(&mut self, op: Op, args: &[ValueId]) -> Made<ValueId> {
        if self.b.len() - self.before > MOST_INSTRUCTIONS {
            return refused("it is too long");
        }
        Ok(self.b.inst(op, args, None)?)
    }

    fn lit(&mut self, lit: Lit) -> ValueId {
        self.b.lit(lit)
    }

    fn int(&mut self, value: i64) -> ValueId {
        let id = self.b.lit(Lit::I64(value));
        self.ranges.insert(id, (value, value));
        id
    }

    fn float(&mut self, value: f64) -> ValueId {
        let id = self.b.lit(Lit::F64(value));
        if !value.is_nan() {
            self.numbers.insert(id);
            self.floors.insert(id, value);
        }
        id
    }

    /// A value that is never null: `value`, or anything where it is.
    fn or_anything(&mut self, value: ValueId) -> Made<ValueId> {
        if !self.b.nullable(value) {
            return Ok(value);
        }
        let other = self.lit(anything(self.b.ty(value)));
        let made = self.inst(Op::Coalesce, &[value, other])?;
        if let Some(range) = self.ranges.get(&value) {
            let (low, high) = (range.0.min(0), range.1.max(0));
            self.ranges.insert(made, (low, high));
        }
        Ok(made)
    }

    /// A bool that is never null: false where `value` is.
    fn sure(&mut self, value: ValueId) -> Made<ValueId> {
        if self.b.nullable(value) { self.inst(Op::IsTrue, &[value]) } else { Ok(value) }
    }

    /// `condition ? a : b`, with what is known of both.
    fn select(&mut self, condition: ValueId, a: ValueId, b: ValueId) -> Made<ValueId> {
        if a == b {
            return Ok(a);
        }
        let made = self.inst(Op::Select, &[condition, a, b])?;
        if let (Some(x), Some(y)) = (self.ranges.get(&a), self.ranges.get(&b)) {
            let range = (x.0.min(y.0), x.1.max(y.1));
            self.ranges.insert(made, range);
        }
        if self.numbers.contains(&a) && self.numbers.contains(&b) {
            self.numbers.insert(made);
        }
        if let (Some(x), Some(y)) = (self.floors.get(&a), self.floors.get(&b)) {
            let floor = x.min(*y);
            self.floors.insert(made, floor);
        }
        Ok(made)
    }

    fn value(&self, value: Value) -> Made<ValueId> {
        match self.values[value.0 as usize] {
            Some(id) => Ok(id),
            None => refused("a value is used before it is defined"),
        }
    }

    /// Brings operands into the locals. Gives the path on which the function is called at all, and the condition of
    /// it.
    fn parameters(&mut self, args: &[ValueId]) -> Made<(Path, Option<ValueId>)> {
        let mut path = Path::All;
        let mut live = None;
        for (arg, param) in args.iter().zip(&self.function.params) {
            if !param.ty.optional && self.b.nullable(*arg) {
                let valid = self.inst(Op::IsValid, &[*arg])?;
                path = self.narrowed(&path, valid)?;
                live = Some(match live {
                    Some(before) => self.inst(Op::And, &[before, valid])?,
                    None => valid,
                });
            }
        }
        for (at, arg) in args.iter().enumerate() {
            let ty = self.function.params[at].ty;
            let arg = if ty.optional { *arg } else { self.or_anything(*arg)? };
            self.locals[at] = Some(self.parameter(arg, ty, &path)?);
        }
        Ok((path, live))
    }

    /// An operand as the function has it.
    fn parameter(&mut self, arg: ValueId, ty: Type, path: &Path) -> Made<ValueId> {
        let (from, to) = (self.b.ty(arg), ty_of(ty.base)?);
        let fits = match ty.base {
            Base::Int => from.is_int() && from != Ty::I128,
            Base::Float => from.is_float(),
            Base::Bool | Base::Str | Base::Date | Base::DateTime => from == to,
        };
        if !fits {
            return refused(format!("a column of {from} is no {ty}"));
        }
        match (ty.base, from) {
            (Base::Int, Ty::U64) => {
                let beyond = self.lit(Lit::U64(i64::MAX as u64));
                let bad = self.inst(Op::Cmp(CmpOp::Gt), &[arg, beyond])?;
                let bad = self.sure(bad)?;
                self.bail_if(bad, path)?;
                let zero = self.lit(Lit::U64(0));
                let harmless = self.inst(Op::Select, &[bad, zero, arg])?;
                let made = self.inst(Op::Cast(Ty::I64, OnFail::Err), &[harmless])?;
                self.ranges.insert(made, (0, i64::MAX));
                Ok(made)
            }
            (Base::Int, _) => {
                let made = if from == to { arg } else { self.inst(Op::Cast(to, OnFail::Err), &[arg])? };
                if let Some((low, high)) = crate::ir::op::int_range(from) {
                    self.ranges.insert(made, (low as i64, high as i64));
                }
                Ok(made)
            }
            (Base::Float, Ty::F32) => self.inst(Op::Cast(Ty::F64, OnFail::Err), &[arg]),
            (Base::Date | Base::DateTime, _) => {
                self.check_date(arg, ty.base, path)?;
                Ok(arg)
            }
            (Base::Bool | Base::Float | Base::Str, _) => Ok(arg),
        }
    }

    /// Statements; gives the path on which their end is reached.
    fn block(&mut self, block: &Block, mut path: Path) -> Made<Path> {
        for stmt in &block.0 {
            match stmt {
                Stmt::Let(value, op, args) => {
                    let made = self.operation(*value, op, args, &path)?;
                    self.values[value.0 as usize] = Some(made);
                }
                Stmt::Set(Local(local), value) => {
                    self.locals[*local as usize] = Some(self.value(*value)?);
                }
                Stmt::If { cond, then, otherwise } => {
                    let cond = self.value(*cond)?;
                    path = self.branch(cond, then, otherwise, path)?;
                }
                Stmt::Return(value) => {
                    let value = self.value(*value)?;
                    self.returns.push((path, value));
                    return Ok(Path::Nowhere);
                }
                Stmt::Bail => {
                    self.bail_on(&path)?;
                    return Ok(Path::Nowhere);
                }
                Stmt::While { .. } | Stmt::Break | Stmt::Continue => return refused("it has a loop"),
            }
        }
        Ok(path)
    }

    fn branch(&mut self, cond: ValueId, then: &Block, otherwise: &Block, path: Path) -> Made<Path> {
        let not = self.not(cond)?;
        let (on, off) = (self.narrowed(&path, cond)?, self.narrowed(&path, not)?);
        let before = self.locals.clone();
        let on_end = self.block(then, on.clone())?;
        let on_locals = std::mem::replace(&mut self.locals, before);
        let off_end = self.block(otherwise, off.clone())?;
        match (&on_end, &off_end) {
            (Path::Nowhere, _) => return Ok(off_end),
            (_, Path::Nowhere) => {
                self.locals = on_locals;
                return Ok(on_end);
            }
            (Path::All | Path::Where(_), Path::All | Path::Where(_)) => {}
        }
        for (at, of_on) in on_locals.into_iter().enumerate() {
            // One that only one branch set is not read behind both.
            self.locals[at] = match (of_on, self.locals[at]) {
                (Some(a), Some(b)) => Some(self.select(cond, a, b)?),
                (Some(_), None) | (None, _) => None,
            };
        }
        if on_end == on && off_end == off { Ok(path) } else { self.either(&on_end, &off_end) }
    }

    /// The result, as the column has it.
    fn result(&mut self, result: Ty, path: Path, live: Option<ValueId>) -> Made<ValueId> {
        let returns = self.function.returns;
        let ty = ty_of(returns.base)?;
        let mut value = None;
        for (path, returned) in std::mem::take(&mut self.returns) {
            // Paths exclude each other, so the last one is what is left.
            value = Some(match (value, path) {
                (_, Path::All) | (None, Path::Where(_)) => returned,
                (Some(before), Path::Where(path)) => self.select(path.condition, returned, before)?,
                (before, Path::Nowhere) => {
                    let Some(before) = before else { continue };
                    before
                }
            });
        }
        let value = match value {
            Some(value) => value,
            None => self.lit(anything(ty)),
        };
        let value = self.fit(value, ty, result, &path)?;
        match live {
            Some(live) => {
                let dead = self.not(live)?;
                self.inst(Op::NullIf, &[value, dead])
            }
            None => Ok(value),
        }
    }

    /// Narrows the result; rows that do not fit bail.
    fn fit(&mut self, value: ValueId, from: Ty, to: Ty, live: &Path) -> Made<ValueId> {
        if from == to {
            return Ok(value);
        }
        if from.is_float() && to.is_float() {
            return self.inst(Op::Cast(to, OnFail::Err), &[value]);
        }
        if self.function.returns.base != Base::Int || !to.is_int() || to == Ty::I128 {
            return refused(format!("a result of {from} is no {to}"));
        }
        let (low, high) = crate::ir::op::int_range(to).unwrap_or((0, 0));
        let (low, high) = (low as i64, high.min(i128::from(i64::MAX)) as i64);
        let mut harmless = value;
        for (op, bound) in [(CmpOp::Lt, low), (CmpOp::Gt, high)] {
            if !matches!(bound, i64::MIN | i64::MAX) {
                // Whatever its range says: a row that bails has any value.
                let bound = self.int(bound);
                let bad = self.inst(Op::Cmp(op), &[value, bound])?;
                let bad = self.sure(bad)?;
                self.bail_if(bad, live)?;
                let zero = self.int(0);
                harmless = self.inst(Op::Select, &[bad, zero, harmless])?;
            }
        }
        self.inst(Op::Cast(to, OnFail::Err), &[harmless])
    }
}
