//! Random functions: all operations on all types that they take, branches, loops, jumps, early returns.

use super::rows;
use crate::support::random::Random;
use fuseline_codegen::function::*;
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// An operation with every list of types that it takes.
type Signatures = (&'static Op, Vec<Vec<Type>>);

/// Every operation without constant.
static SIGNATURES: LazyLock<Vec<Signatures>> = LazyLock::new(|| {
    let bases: Vec<Type> =
        [Base::Bool, Base::Int, Base::Float, Base::Str, Base::Date, Base::DateTime].map(Type::of).to_vec();
    let all: Vec<Type> = bases.iter().flat_map(|t| [*t, Type::or_none(t.base)]).collect();
    let mut lists: Vec<Vec<Type>> = vec![];
    let mut longer: Vec<Vec<Type>> = vec![vec![]];
    for arity in 1..=4 {
        let from = if arity <= 3 { &all } else { &bases };
        longer =
            longer.iter().flat_map(|l| from.iter().map(move |t| [l.as_slice(), &[*t]].concat())).collect();
        lists.extend(longer.iter().cloned());
    }
    let fitting = |op: &Op| lists.iter().filter(|l| op.infer(l, &[], &[]).is_ok()).cloned().collect();
    Op::plain().iter().map(|op| (op, fitting(op))).collect()
});

pub struct Generator<'r> {
    r: &'r mut Random,
    locals: Vec<Type>,
    /// Locals that loops count with; nothing else sets them.
    counters: Vec<Local>,
    /// Those of the loops around, which are set.
    active: Vec<Local>,
    tables: Vec<Table>,
    returns: Type,
    /// Values that can be used, by type.
    visible: BTreeMap<String, Vec<Value>>,
    next: u32,
    /// Statements that may still be written.
    budget: usize,
}

pub const BASES: [Base; 6] = [Base::Bool, Base::Int, Base::Float, Base::Str, Base::Date, Base::DateTime];

/// Which functions are wanted.
#[derive(Clone, Copy)]
pub struct Wanted<'a> {
    pub bases: &'a [Base],
    pub loops: bool,
    pub op: fn(&Op) -> bool,
}

/// A random function.
pub fn function(r: &mut Random, wanted: Wanted<'_>) -> Function {
    let ty = |r: &mut Random| Type { base: r.pick(wanted.bases), optional: r.percent(25) };
    let params: Vec<Param> =
        (0..1 + r.below(4)).map(|i| Param { name: format!("p{i}"), ty: ty(r) }).collect();
    let returns = ty(r);
    let mut locals: Vec<Type> = params.iter().map(|p| p.ty).collect();
    locals.extend((0..r.below(4)).map(|_| ty(r)));
    let tables: Vec<Table> = if wanted.bases.contains(&Base::Str) {
        (0..r.below(3)).map(|_| table(r)).collect()
    } else {
        Vec::new()
    };
    let budget = 4 + r.below(26);
    let own = params.len()..locals.len();
    let mut g = Generator {
        r,
        locals,
        counters: Vec::new(),
        active: Vec::new(),
        tables,
        returns,
        visible: BTreeMap::new(),
        next: 0,
        budget,
    };
    let mut body = Vec::new();
    for local in own {
        let value = g.constant(g.locals[local], &mut body);
        body.push(Stmt::Set(Local(local as u32), value));
    }
    let ended = g.statements(&mut body, wanted, 0, false);
    if !ended {
        let value = g.value(returns, &mut body);
        body.push(Stmt::Return(value));
    }
    let Generator { locals, tables, .. } = g;
    Function { name: "random".to_owned(), params, returns, locals, tables, body: Block(body) }
}

fn constant_of(r: &mut Random, base: Base) -> Const {
    match base {
        Base::Bool => Const::Bool(r.percent(50)),
        Base::Int | Base::Date | Base::DateTime => Const::Int(rows::int(r)),
        Base::Float => Const::Float(rows::float(r).to_bits()),
        Base::Str => Const::Str(rows::text(r)),
    }
}

fn table(r: &mut Random) -> Table {
    let keys = r.pick(&[Base::Int, Base::Str]);
    let values =
        Type { base: r.pick(&[Base::Bool, Base::Int, Base::Float, Base::Str]), optional: r.percent(30) };
    let mut entries: Vec<(Const, Option<Const>)> = Vec::new();
    for _ in 0..r.below(20) {
        let key = constant_of(r, keys);
        if entries.iter().all(|(k, _)| *k != key) {
            let value =
                if values.optional && r.percent(30) { None } else { Some(constant_of(r, values.base)) };
            entries.push((key, value));
        }
    }
    Table { keys, values, entries }
}

impl Generator<'_> {
    fn define(&mut self, op: Op, args: Vec<Value>, ty: Type, out: &mut Vec<Stmt>) -> Value {
        let value = Value(self.next);
        self.next += 1;
        out.push(Stmt::Let(value, op, args));
        self.visible.entry(ty.to_string()).or_default().push(value);
        value
    }

    fn constant(&mut self, ty: Type, out: &mut Vec<Stmt>) -> Value {
        if ty.optional {
            if self.r.percent(30) {
                return self.define(Op::None(ty.base), vec![], ty, out);
            }
            let inner = self.constant(Type::of(ty.base), out);
            return self.define(Op::Some, vec![inner], ty, out);
        }
        let op = match (ty.base, constant_of(self.r, ty.base)) {
            (Base::Date, Const::Int(i)) => Op::Date(i.rem_euclid(60_000) - 20_000),
            (Base::DateTime, Const::Int(i)) => Op::DateTime(i.rem_euclid(4_000_000_000_000_000)),
            (_, Const::Bool(b)) => Op::Bool(b),
            (_, Const::Int(i)) => Op::Int(i),
            (_, Const::Float(x)) => Op::Float(x),
            (_, Const::Str(s)) => Op::Str(s),
        };
        self.define(op, vec![], ty, out)
    }

    /// A value of a type, made if there is none.
    fn value(&mut self, ty: Type, out: &mut Vec<Stmt>) -> Value {
        let known = self.visible.get(&ty.to_string()).filter(|l| !l.is_empty()).cloned();
        if let Some(known) = known
            && self.r.percent(65)
        {
            return self.r.pick(&known);
        }
        let hidden = |l: usize| {
            let local = Local(l as u32);
            self.counters.contains(&local) && !self.active.contains(&local)
        };
        let locals: Vec<usize> =
            (0..self.locals.len()).filter(|l| self.locals[*l] == ty && !hidden(*l)).collect();
        if !locals.is_empty() && self.r.percent(75) {
            let local = Local(self.r.pick(&locals) as u32);
            return self.define(Op::Get(local), vec![], ty, out);
        }
        let other = Type { base: ty.base, optional: !ty.optional };
        let others: Vec<usize> =
            (0..self.locals.len()).filter(|l| self.locals[*l] == other && !hidden(*l)).collect();
        if !others.is_empty() && self.r.percent(60) {
            let local = Local(self.r.pick(&others) as u32);
            let value = self.define(Op::Get(local), vec![], other, out);
            let op = if ty.optional { Op::Some } else { Op::Unwrap };
            return self.define(op, vec![value], ty, out);
        }
        self.constant(ty, out)
    }

    fn operation(&mut self, wanted: Wanted<'_>, out: &mut Vec<Stmt>) {
        if !self.tables.is_empty() && self.r.percent(6) {
            let at = self.r.below(self.tables.len());
            let id = TableId(at as u32);
            let op = if self.r.percent(50) { Op::Has(id) } else { Op::Lookup(id) };
            return self.apply(op, &[Type::of(self.tables[at].keys)], out);
        }
        if wanted.bases.contains(&Base::Str) && self.r.percent(5) {
            let ty = self.r.pick(&[Type::INT, Type::FLOAT, Type::STR]);
            let specs =
                ["", "5", ">8", "^9", "*<6", ".3", "06.2f", ",", "+.1e", "x", "%", "_", ".2f", "08,d", "g"];
            let fitting: Vec<&str> = specs.into_iter().filter(|s| knows_format(s, ty)).collect();
            let spec = self.r.pick(&fitting).to_owned();
            return self.apply(Op::Format(spec), &[ty], out);
        }
        for _try in 0..20 {
            let (op, lists) = &SIGNATURES[self.r.below(SIGNATURES.len())];
            let lists: Vec<&Vec<Type>> =
                lists.iter().filter(|l| l.iter().all(|t| wanted.bases.contains(&t.base))).collect();
            if lists.is_empty() || !(wanted.op)(op) {
                continue;
            }
            let list = self.r.pick(&lists).clone();
            return self.apply((*op).clone(), &list, out);
        }
    }

    fn apply(&mut self, op: Op, types: &[Type], out: &mut Vec<Stmt>) {
        let args: Vec<Value> = types.iter().map(|t| self.value(*t, out)).collect();
        let ty = op.infer(types, &self.locals, &self.tables).unwrap();
        self.define(op, args, ty, out);
    }

    /// Statements; says whether they end by a jump.
    fn statements(&mut self, out: &mut Vec<Stmt>, wanted: Wanted<'_>, depth: usize, in_loop: bool) -> bool {
        let count = 1 + self.r.below(if depth == 0 { 14 } else { 5 });
        for _ in 0..count {
            if self.budget == 0 {
                return false;
            }
            self.budget -= 1;
            match self.r.below(100) {
                0..=59 => self.operation(wanted, out),
                60..=74 => {
                    let own: Vec<usize> = (0..self.locals.len())
                        .filter(|l| !self.counters.contains(&Local(*l as u32)))
                        .collect();
                    let local = self.r.pick(&own);
                    let value = self.value(self.locals[local], out);
                    out.push(Stmt::Set(Local(local as u32), value));
                }
                75..=89 if depth < 4 => {
                    let cond = self.value(Type::BOOL, out);
                    let then = self.inner(wanted, depth, in_loop);
                    let otherwise = if self.r.percent(60) {
                        self.inner(wanted, depth, in_loop)
                    } else {
                        (Block::default(), false)
                    };
                    out.push(Stmt::If { cond, then: then.0, otherwise: otherwise.0 });
                    if then.1 && otherwise.1 {
                        return true;
                    }
                }
                90..=95 if depth < 3 && wanted.loops => self.repeat(out, wanted, depth),
                96..=97 if depth > 0 => {
                    let value = self.value(self.returns, out);
                    out.push(Stmt::Return(value));
                    return true;
                }
                98 if depth > 0 && self.r.percent(30) => {
                    out.push(Stmt::Bail);
                    return true;
                }
                99 | 98 if in_loop => {
                    out.push(if self.r.percent(50) { Stmt::Break } else { Stmt::Continue });
                    return true;
                }
                _else => self.operation(wanted, out),
            }
        }
        false
    }

    fn inner(&mut self, wanted: Wanted<'_>, depth: usize, in_loop: bool) -> (Block, bool) {
        let before = self.visible.clone();
        let mut block = Vec::new();
        let ended = self.statements(&mut block, wanted, depth + 1, in_loop);
        self.visible = before;
        (Block(block), ended)
    }

    /// A loop that counts to a small number.
    fn repeat(&mut self, out: &mut Vec<Stmt>, wanted: Wanted<'_>, depth: usize) {
        let counter = Local(self.locals.len() as u32);
        self.locals.push(Type::INT);
        self.counters.push(counter);
        let zero = self.define(Op::Int(0), vec![], Type::INT, out);
        out.push(Stmt::Set(counter, zero));
        let before = self.visible.clone();
        let mut head = Vec::new();
        let count = self.define(Op::Get(counter), vec![], Type::INT, &mut head);
        let most = Op::Int(1 + self.r.below(6) as i64);
        let most = self.define(most, vec![], Type::INT, &mut head);
        let cond = self.define(Op::Cmp(Compare::Lt), vec![count, most], Type::BOOL, &mut head);
        self.active.push(counter);
        let (body, _) = self.inner(wanted, depth, true);
        self.active.pop();
        let mut step = Vec::new();
        let count = self.define(Op::Get(counter), vec![], Type::INT, &mut step);
        let one = self.define(Op::Int(1), vec![], Type::INT, &mut step);
        let next = self.define(Op::Add, vec![count, one], Type::INT, &mut step);
        step.push(Stmt::Set(counter, next));
        self.visible = before;
        out.push(Stmt::While { head: Block(head), cond, body, step: Block(step) });
    }
}
