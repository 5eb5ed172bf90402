//! Checks what all readers of a function rely on (the list is in [`super`]) and gives the types of its values.

use super::{Base, Block, Const, Function, Local, Stmt, Table, Type, Value};
use std::collections::HashSet;

/// What is wrong with a function: a fault of whoever made it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("function {function}: {message}")]
pub struct Malformed {
    pub function: String,
    pub message: String,
}

/// The types of a function's values.
#[derive(Clone, Debug)]
pub struct Types(Vec<Option<Type>>);

impl Types {
    /// The type of a value of the function that was verified.
    ///
    /// # Panics
    /// For a value that the function does not define.
    pub fn of(&self, value: Value) -> Type {
        self.0[value.0 as usize].expect("values of a verified function are defined")
    }

    /// Places for values, one past the last number.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Most values and locals; a body that needs more is no function of a row.
const MOST: usize = 1 << 16;

/// Checks a function.
///
/// # Errors
/// With the first invariant that does not hold.
pub fn verify(function: &Function) -> Result<Types, Malformed> {
    check(function).map_err(|message| Malformed { function: function.name.clone(), message })
}

fn check(f: &Function) -> Result<Types, String> {
    if f.locals.len() > MOST {
        return Err("has too many locals".to_owned());
    }
    for (i, param) in f.params.iter().enumerate() {
        if f.locals.get(i) != Some(&param.ty) {
            return Err(format!("parameter {} has no local of its type", param.name));
        }
    }
    for (i, table) in f.tables.iter().enumerate() {
        check_table(table).map_err(|m| format!("table {i}: {m}"))?;
    }
    let mut walk =
        Walk { f, types: Vec::new(), visible: HashSet::new(), loops: Vec::new(), jumps_allowed: true };
    let mut set = vec![false; f.locals.len()];
    set[..f.params.len()].fill(true);
    if walk.block(&f.body, set)?.is_some() {
        return Err("the end of the body can be reached".to_owned());
    }
    Ok(Types(walk.types))
}

fn check_table(table: &Table) -> Result<(), String> {
    if !matches!(table.keys, Base::Int | Base::Str) {
        return Err("keys are ints or texts".to_owned());
    }
    if matches!(table.values.base, Base::Date | Base::DateTime) {
        return Err(format!("values cannot be {}", table.values));
    }
    let mut seen = HashSet::new();
    for (key, value) in &table.entries {
        if key.base() != table.keys || !seen.insert(key) {
            return Err("keys are of one type and different".to_owned());
        }
        let fits = match value {
            Some(value) => value.base() == table.values.base,
            None => table.values.optional,
        };
        if !fits {
            return Err(format!("values are {}", table.values));
        }
    }
    Ok(())
}

/// Which locals are set, by number.
type Set = Vec<bool>;

fn meet(into: &mut Option<Set>, other: &[bool]) {
    match into {
        None => *into = Some(other.to_vec()),
        Some(set) => set.iter_mut().zip(other).for_each(|(a, b)| *a &= *b),
    }
}

/// What the jumps of a loop have in common.
#[derive(Default)]
struct Jumps {
    breaks: Option<Set>,
    continues: Option<Set>,
}

struct Walk<'f> {
    f: &'f Function,
    types: Vec<Option<Type>>,
    visible: HashSet<Value>,
    loops: Vec<Jumps>,
    /// Not in the head and the step of a loop.
    jumps_allowed: bool,
}

impl Walk<'_> {
    fn used(&self, value: Value) -> Result<Type, String> {
        if !self.visible.contains(&value) {
            return Err(format!("v{} is used where it is not defined", value.0));
        }
        self.types[value.0 as usize].ok_or_else(|| format!("v{} has no type", value.0))
    }

    fn bool(&self, value: Value) -> Result<(), String> {
        match self.used(value)? {
            Type::BOOL => Ok(()),
            other => Err(format!("v{} is a condition, but {other}", value.0)),
        }
    }

    fn define(&mut self, value: Value, ty: Type) -> Result<(), String> {
        let at = value.0 as usize;
        if at >= MOST {
            return Err("has too many values".to_owned());
        }
        if self.types.len() <= at {
            self.types.resize(at + 1, None);
        }
        if self.types[at].replace(ty).is_some() {
            return Err(format!("v{at} is defined twice"));
        }
        self.visible.insert(value);
        Ok(())
    }

    /// Checks statements; gives the locals that are set at their end, `None` if it is not reached. Values stay
    /// visible; [`Walk::block`] hides them again.
    fn statements(&mut self, block: &Block, mut set: Set) -> Result<Option<Set>, String> {
        let mut ended = false;
        for stmt in &block.0 {
            if ended {
                return Err("a statement follows the end of its block".to_owned());
            }
            match stmt {
                Stmt::Let(value, op, args) => {
                    let tys = args.iter().map(|a| self.used(*a)).collect::<Result<Vec<_>, _>>()?;
                    let wrong = |m: String| format!("v{} = {}: {m}", value.0, op.name());
                    let ty = op.infer(&tys, &self.f.locals, &self.f.tables).map_err(wrong)?;
                    op.check_constant(tys.first().copied()).map_err(wrong)?;
                    if let super::Op::Get(local) = op
                        && !set[local.0 as usize]
                    {
                        return Err(format!("local {} may be read before it is set", local.0));
                    }
                    self.define(*value, ty)?;
                }
                Stmt::Set(local, value) => {
                    let ty = self.used(*value)?;
                    self.local(*local, ty)?;
                    set[local.0 as usize] = true;
                }
                Stmt::If { cond, then, otherwise } => {
                    self.bool(*cond)?;
                    let mut after = None;
                    for branch in [then, otherwise] {
                        if let Some(end) = self.block(branch, set.clone())? {
                            meet(&mut after, &end);
                        }
                    }
                    match after {
                        Some(after) => set = after,
                        None => ended = true,
                    }
                }
                Stmt::While { head, cond, body, step } => {
                    set = self.looped((head, *cond, body, step), set)?
                }
                Stmt::Break | Stmt::Continue => {
                    if !self.jumps_allowed {
                        return Err("a jump stands in the head or step of its loop".to_owned());
                    }
                    let jumps = self.loops.last_mut().ok_or("a jump stands outside loops")?;
                    let into = if *stmt == Stmt::Break { &mut jumps.breaks } else { &mut jumps.continues };
                    meet(into, &set);
                    ended = true;
                }
                Stmt::Return(value) => {
                    let ty = self.used(*value)?;
                    if ty != self.f.returns {
                        return Err(format!("returns {ty}, not {}", self.f.returns));
                    }
                    ended = true;
                }
                Stmt::Bail => ended = true,
            }
        }
        Ok((!ended).then_some(set))
    }

    fn local(&self, local: Local, ty: Type) -> Result<(), String> {
        match self.f.locals.get(local.0 as usize) {
            Some(own) if *own == ty => Ok(()),
            Some(own) => Err(format!("local {} is {own} and set to {ty}", local.0)),
            None => Err(format!("there is no local {}", local.0)),
        }
    }

    fn block(&mut self, block: &Block, set: Set) -> Result<Option<Set>, String> {
        let before = self.visible.clone();
        let end = self.statements(block, set);
        self.visible = before;
        end
    }

    /// A loop; gives what is set behind it.
    fn looped(
        &mut self,
        (head, cond, body, step): (&Block, Value, &Block, &Block),
        set: Set,
    ) -> Result<Set, String> {
        let before = self.visible.clone();
        let allowed = std::mem::replace(&mut self.jumps_allowed, false);
        let head_end = self.statements(head, set)?.ok_or("the head of a loop does not end")?;
        self.bool(cond)?;
        self.jumps_allowed = true;
        self.loops.push(Jumps::default());
        let body_end = self.block(body, head_end.clone())?;
        let jumps = self.loops.pop().unwrap_or_default();
        self.jumps_allowed = false;
        let mut at_step = jumps.continues;
        if let Some(end) = body_end {
            meet(&mut at_step, &end);
        }
        if step.0.iter().any(|s| matches!(s, Stmt::While { .. })) {
            return Err("a loop stands in the step of a loop".to_owned());
        }
        // A step that nothing reaches is checked as if the head led there.
        self.block(step, at_step.unwrap_or_else(|| head_end.clone()))?;
        self.jumps_allowed = allowed;
        self.visible = before;
        let mut after = Some(head_end);
        if let Some(breaks) = jumps.breaks {
            meet(&mut after, &breaks);
        }
        after.ok_or_else(|| "a loop has no end".to_owned())
    }
}

impl super::Op {
    /// Whether an operation's constant is one that it may have.
    fn check_constant(&self, first: Option<Type>) -> Result<(), String> {
        use fuseline_kernels::python::date;
        let fits = match self {
            super::Op::Date(days) => date::is_date(*days),
            super::Op::DateTime(micros) => date::is_datetime(*micros),
            super::Op::Format(spec) => first.is_some_and(|ty| super::kernel::spec(spec, ty).is_some()),
            _other => true,
        };
        if fits { Ok(()) } else { Err(format!("the constant of {self:?} is none of its own")) }
    }
}

impl Const {
    /// Whether a text.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Const::Str(text) => Some(text),
            Const::Bool(_) | Const::Int(_) | Const::Float(_) => None,
        }
    }
}
