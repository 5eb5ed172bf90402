//! The function IR: the body of a user's function over one row, typed, with control flow.
//!
//! The pipeline IR ([`crate::ir`]) has no control flow: it says what happens to columns. A user's function has
//! branches and loops, works on one row, and ends in a value or in a *bail*: "here compiled code does not
//! know, ask the language itself". So it has an IR of its own, made by the planner from the function's source and
//! read by an interpreter (`interp.rs`), by Cranelift (`cpu/function/`, a row after the other over a batch), and, if it has
//! neither loops nor texts, by `inline.rs`, which dissolves it into instructions of a pipeline's loop, where lanes
//! compute it.
//!
//! Invariants, checked by `verify.rs`:
//! * a value is defined once, before its uses, in the block of the use or in one around it;
//! * the types of operands are what [`Op::infer`] takes; there are no implicit conversions;
//! * a local is set on every path before it is read (parameters are set at the start);
//! * `Break` and `Continue` stand inside a loop; no statement follows `Return`, `Bail`, `Break` or `Continue` in a block;
//! * the end of the body is not reached: every path returns or bails;
//! * a returned value has the function's type.

pub mod bounds;
pub mod inline;
pub mod interp;
pub(crate) mod kernel;
mod names;
mod op;
mod parse_text;
mod text;
mod verify;

pub use crate::ir::CmpOp as Compare;
pub use kernel::knows_format;
pub use op::{CharClass, DateField, FloatTest, Math1, Math2, Op, Rounding, StrTest, Strip};
pub use parse_text::parse;
pub use verify::{Malformed, Types, verify};

use std::fmt;

/// What a value is. Ints are those that fit 64 bits; whatever would leave them bails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Base {
    Bool,
    Int,
    Float,
    Str,
    /// A date without time: days since 1970-01-01, within the years 1 to 9999.
    Date,
    /// A date and time without zone: microseconds since 1970-01-01T00:00, within the same years.
    DateTime,
}

/// The type of a value: a base that may also be None.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Type {
    pub base: Base,
    pub optional: bool,
}

impl Type {
    pub const BOOL: Type = Type::of(Base::Bool);
    pub const INT: Type = Type::of(Base::Int);
    pub const FLOAT: Type = Type::of(Base::Float);
    pub const STR: Type = Type::of(Base::Str);

    pub const fn of(base: Base) -> Type {
        Type { base, optional: false }
    }

    pub const fn or_none(base: Base) -> Type {
        Type { base, optional: true }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let base = match self.base {
            Base::Bool => "bool",
            Base::Int => "int",
            Base::Float => "float",
            Base::Str => "str",
            Base::Date => "date",
            Base::DateTime => "datetime",
        };
        write!(f, "{base}{}", if self.optional { "?" } else { "" })
    }
}

/// A value that a statement defined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Value(pub u32);

/// A variable. The first ones are the parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Local(pub u32);

/// A constant table that the function captured, by its place in [`Function::tables`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TableId(pub u32);

/// A constant of the table's key or value type; floats by their bits, so that equal means identical.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Const {
    Bool(bool),
    Int(i64),
    Float(u64),
    Str(String),
}

impl Const {
    pub fn base(&self) -> Base {
        match self {
            Const::Bool(_) => Base::Bool,
            Const::Int(_) => Base::Int,
            Const::Float(_) => Base::Float,
            Const::Str(_) => Base::Str,
        }
    }
}

/// A captured dict, or a set (then every value is `Bool(true)`). Keys are ints or texts, all of one type and all
/// different; values are of one type, or None where `None`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Table {
    pub keys: Base,
    pub values: Type,
    pub entries: Vec<(Const, Option<Const>)>,
}

/// A parameter: its name for messages, its type. An optional one sees NULL as None.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Param {
    pub name: String,
    pub ty: Type,
}

/// A function of one row.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Function {
    pub name: String,
    pub params: Vec<Param>,
    pub returns: Type,
    /// The types of all locals, those of the parameters first.
    pub locals: Vec<Type>,
    pub tables: Vec<Table>,
    pub body: Block,
}

impl Function {
    /// The same function, whose functions of `math` may all come from vector kernels: for a loop in which somebody sees to
    /// it where the last bit would show.
    #[must_use]
    pub fn with_fast_math(&self) -> Function {
        fn quicker(block: &mut Block) {
            for stmt in &mut block.0 {
                match stmt {
                    Stmt::Let(_, Op::Math1 { fast, .. } | Op::Math2 { fast, .. }, _)
                    | Stmt::Let(_, Op::IeeeMath1 { fast, .. }, _) => *fast = true,
                    Stmt::If { then, otherwise, .. } => [then, otherwise].into_iter().for_each(quicker),
                    Stmt::While { head, body, step, .. } => {
                        [head, body, step].into_iter().for_each(quicker);
                    }
                    Stmt::Let(..)
                    | Stmt::Set(..)
                    | Stmt::Break
                    | Stmt::Continue
                    | Stmt::Return(_)
                    | Stmt::Bail => {}
                }
            }
        }
        let mut function = self.clone();
        quicker(&mut function.body);
        function
    }
}

/// Statements, one after the other.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Block(pub Vec<Stmt>);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Stmt {
    /// Defines a value.
    Let(Value, Op, Vec<Value>),
    /// Sets a local, whose type is the value's.
    Set(Local, Value),
    /// `cond` is a Bool.
    If {
        cond: Value,
        then: Block,
        otherwise: Block,
    },
    /// Runs `head`, which defines `cond` (a Bool); while it is true runs `body` and starts again. `Continue` goes to
    /// `head`; `step`, which has neither loops nor jumps, runs before that, also after `Continue`. Values of `head` are
    /// seen in `body` and `step`. A loop that has gone round [`MOST_ROUNDS`] times in one row bails.
    While {
        head: Block,
        cond: Value,
        body: Block,
        step: Block,
    },
    Break,
    Continue,
    /// Ends the row with a value of [`Function::returns`].
    Return(Value),
    /// Ends the row: Python is asked.
    Bail,
}

/// Rounds that one loop may take in one row, so that a query with an endless loop in it can be interrupted: the row
/// goes to Python, which can be.
pub const MOST_ROUNDS: u32 = 1 << 24;
