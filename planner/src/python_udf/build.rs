//! Writing a function of the IR while the source is read.
//!
//! Blocks are written from the inside out: a block is pushed, filled and popped. What has to be stored where paths meet
//! is known only when all of them have been read, so a path leaves a *hole* at its end, which is filled with the
//! moves later. A block may also be dropped: loops are read again when the types of their variables turn out wider.

use fuseline_codegen::function::{Block, Function, Local, Op, Param, Stmt, Table, TableId, Type, Value};

/// A statement in the making.
#[derive(Debug)]
pub enum Item {
    /// Any statement without blocks.
    Plain(Stmt),
    If {
        cond: Value,
        then: Vec<Item>,
        otherwise: Vec<Item>,
    },
    While {
        head: Vec<Item>,
        cond: Value,
        body: Vec<Item>,
        step: Vec<Item>,
    },
    Hole(Hole),
}

/// A place that moves are written into later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hole(usize);

#[derive(Debug)]
pub struct Builder {
    types: Vec<Type>,
    locals: Vec<Type>,
    tables: Vec<Table>,
    blocks: Vec<Vec<Item>>,
    holes: Vec<Vec<Item>>,
}

impl Builder {
    pub fn new() -> Builder {
        Builder { types: vec![], locals: vec![], tables: vec![], blocks: vec![vec![]], holes: vec![] }
    }

    pub fn local(&mut self, ty: Type) -> Local {
        self.locals.push(ty);
        Local(self.locals.len() as u32 - 1)
    }

    pub fn table(&mut self, table: Table) -> TableId {
        let at = self.tables.iter().position(|t| *t == table).unwrap_or_else(|| {
            self.tables.push(table);
            self.tables.len() - 1
        });
        TableId(at as u32)
    }

    /// Defines a value.
    ///
    /// # Errors
    /// What is wrong with the operands: a fault of the translation, not of the function.
    pub fn emit(&mut self, op: Op, args: Vec<Value>) -> Result<Value, String> {
        let of: Vec<Type> = args.iter().map(|v| self.type_of(*v)).collect();
        let ty = op.infer(&of, &self.locals, &self.tables).map_err(|e| format!("{op:?} {e}"))?;
        let value = Value(self.types.len() as u32);
        self.types.push(ty);
        self.push(Item::Plain(Stmt::Let(value, op, args)));
        Ok(value)
    }

    pub fn type_of(&self, value: Value) -> Type {
        self.types[value.0 as usize]
    }

    pub fn plain(&mut self, stmt: Stmt) {
        self.push(Item::Plain(stmt));
    }

    pub fn push(&mut self, item: Item) {
        if let Some(block) = self.blocks.last_mut() {
            block.push(item);
        }
    }

    pub fn open(&mut self) {
        self.blocks.push(vec![]);
    }

    pub fn close(&mut self) -> Vec<Item> {
        self.blocks.pop().unwrap_or_default()
    }

    /// Leaves a hole at the end of the current block.
    pub fn hole(&mut self) -> Hole {
        let hole = Hole(self.holes.len());
        self.holes.push(vec![]);
        self.push(Item::Hole(hole));
        hole
    }

    pub fn fill(&mut self, hole: Hole, items: Vec<Item>) {
        self.holes[hole.0].extend(items);
    }

    /// Puts the items of a block into the current one.
    pub fn splice(&mut self, items: Vec<Item>) {
        for item in items {
            self.push(item);
        }
    }

    pub fn finish(mut self, name: String, params: Vec<Param>, returns: Type) -> Function {
        let items = self.close();
        let body = self.resolve(items);
        Function { name, params, returns, locals: self.locals, tables: self.tables, body }
    }

    fn resolve(&mut self, items: Vec<Item>) -> Block {
        let mut stmts = Vec::with_capacity(items.len());
        self.resolve_into(items, &mut stmts);
        Block(stmts)
    }

    fn resolve_into(&mut self, items: Vec<Item>, stmts: &mut Vec<Stmt>) {
        for item in items {
            match item {
                Item::Plain(stmt) => stmts.push(stmt),
                Item::If { cond, then, otherwise } => {
                    let then = self.resolve(then);
                    let otherwise = self.resolve(otherwise);
                    stmts.push(Stmt::If { cond, then, otherwise });
                }
                Item::While { head, cond, body, step } => {
                    let (head, body, step) = (self.resolve(head), self.resolve(body), self.resolve(step));
                    stmts.push(Stmt::While { head, cond, body, step });
                }
                Item::Hole(hole) => {
                    let moves = std::mem::take(&mut self.holes[hole.0]);
                    self.resolve_into(moves, stmts);
                }
            }
        }
    }
}

/// Whether these items may be run although the source would not have come by: they cannot bail and cost little.
pub fn harmless(items: &[Item]) -> bool {
    items.len() <= 12
        && items.iter().all(|item| match item {
            Item::Plain(Stmt::Let(_, op, _)) => cheap(op),
            Item::Plain(_) | Item::If { .. } | Item::While { .. } | Item::Hole(_) => false,
        })
}

/// Operations that never bail and cost a few instructions. Not listed: whatever may bail for some operands.
fn cheap(op: &Op) -> bool {
    matches!(
        op,
        Op::Bool(_)
            | Op::Int(_)
            | Op::Float(_)
            | Op::Str(_)
            | Op::Date(_)
            | Op::DateTime(_)
            | Op::None(_)
            | Op::Get(_)
            | Op::Some
            | Op::IsNone
            | Op::Select
            | Op::Not
            | Op::And
            | Op::Or
            | Op::Xor
            | Op::BitAnd
            | Op::BitOr
            | Op::BitXor
            | Op::Invert
            | Op::BoolToInt
            | Op::IntToFloat
            | Op::Cmp(_)
            | Op::CmpIntFloat(_)
            | Op::FloatTest(_)
            | Op::Len
            | Op::Has(_)
    )
}

/// Whether any statement in here may bail: then the source must be certain to come by.
pub fn may_bail(items: &[Item]) -> bool {
    items.iter().any(|item| match item {
        Item::Plain(Stmt::Let(_, op, _)) => {
            !cheap(op)
                && !matches!(
                    op,
                    Op::Concat
                        | Op::Slice
                        | Op::Reverse
                        | Op::Find
                        | Op::RFind
                        | Op::Test(_)
                        | Op::Count
                        | Op::IntToStr
                        | Op::FloatToStr
                        | Op::BoolToStr
                        | Op::StripChars(_)
                        | Op::RemovePrefix
                        | Op::RemoveSuffix
                        // These bail on other texts than ASCII only because the answer is not worth
                        // compiling: Python does not raise there.
                        | Op::StripSpace(_)
                        | Op::Lower
                        | Op::Upper
                        | Op::Title
                        | Op::Capitalize
                        | Op::SwapCase
                        | Op::Is(_)
                        | Op::Replace
                        | Op::WordCount
                )
        }
        Item::Plain(Stmt::Set(..) | Stmt::Break | Stmt::Continue) | Item::Hole(_) => false,
        Item::Plain(Stmt::Return(_) | Stmt::Bail | Stmt::If { .. } | Stmt::While { .. }) => true,
        Item::If { then, otherwise, .. } => may_bail(then) || may_bail(otherwise),
        Item::While { .. } => true,
    })
}
