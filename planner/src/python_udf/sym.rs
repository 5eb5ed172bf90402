//! What an expression stands for while the source is read.
//!
//! Most values of Python become values of the IR. Others exist only here and are taken apart by what uses
//! them: constants, tuples, the list that `split` returns, a range, a generator, a method not yet called. As everything
//! that compiles is free of effects, such a thing can be computed when it is used, where it is used.

use crate::python_udf::capture::{Captured, Source};
use crate::python_udf::numpy::array::Arr;
use fuseline_codegen::function::{Base, Type, Value};
use ruff_python_ast::{Comprehension, Expr};
use std::collections::BTreeMap;
use std::rc::Rc;

/// Why something does not compile, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct No {
    pub line: usize,
    /// The function that is called there and the line in it, if that is where.
    pub within: Option<(String, usize)>,
    pub text: String,
}

pub type R<T> = Result<T, No>;

/// The names that are bound at a point.
pub type Env = BTreeMap<Rc<str>, Sym>;

#[derive(Clone, Debug)]
pub enum Sym {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Str(Rc<str>),
    Date(i64),
    DateTime(i64),
    Val(Value, Type),
    /// An int on some paths and a float on others, as a float. Ints among them are exact, which is checked.
    Num(Value),
    /// A timedelta, in microseconds.
    Delta(Box<Sym>),
    Seq(Rc<Seq>),
    /// A set whose members are constants.
    Set(Rc<[Sym]>),
    /// A set of the characters of a text, as the text of its members.
    Letters(Box<Sym>),
    /// A dict whose keys are constants.
    Dict(Rc<[(Sym, Sym)]>),
    Module(Rc<str>, Rc<[(Rc<str>, Captured)]>),
    Known(Rc<str>),
    Function(Rc<Source>),
    /// A function defined within the function.
    Local(Rc<Nested>),
    Method(Box<Sym>, Rc<str>),
    /// An array of NumPy's, by its value at the row at hand.
    Array(Arr),
    Other(Rc<str>),
    /// A name that has no value that compiled code could have; the reason, for whoever uses it.
    Bad(Rc<No>),
}

/// A lambda or def inside, with what it saw when it was defined.
#[derive(Clone, Debug)]
pub struct Nested {
    pub function: Rc<crate::python_udf::source::Parsed>,
    /// How many calls deep it was defined: it sees the names of that function as they are when it is called.
    pub depth: usize,
    pub defaults: Vec<(Rc<str>, Sym)>,
}

#[derive(Clone, Debug)]
pub enum Seq {
    /// A tuple, or a list that nobody changes.
    Items(Vec<Sym>, bool),
    /// The characters of a text.
    Chars(Sym),
    /// `text.split(sep, most)`.
    Split {
        text: Sym,
        sep: Sym,
        most: Sym,
    },
    /// `text.split()`.
    Words(Sym),
    /// `text.partition(sep)`; from the right if so.
    Parts {
        text: Sym,
        sep: Sym,
        right: bool,
    },
    Range {
        start: Sym,
        stop: Sym,
        step: i64,
    },
    /// A range of so many ints.
    Spaced {
        start: Sym,
        step: Sym,
        count: Sym,
    },
    /// A comprehension with one `for`.
    Mapped {
        over: Rc<Seq>,
        how: Rc<How>,
        env: Env,
        generator: bool,
    },
    /// `map(function, over)`.
    Applied {
        over: Rc<Seq>,
        function: Sym,
    },
    Enumerate(Rc<Seq>, Sym),
    Zip(Vec<Rc<Seq>>),
    Reversed(Rc<Seq>),
    /// From an item on, up to one counted from the end (both at least 0).
    Slice {
        of: Rc<Seq>,
        skip: i64,
        cut: i64,
    },
}

/// The parts of a comprehension.
#[derive(Clone, Debug)]
pub struct How {
    pub element: Expr,
    pub clause: Comprehension,
}

impl Sym {
    pub fn is_constant(&self) -> bool {
        matches!(
            self,
            Sym::None
                | Sym::Bool(_)
                | Sym::Int(_)
                | Sym::Float(_)
                | Sym::Str(_)
                | Sym::Date(_)
                | Sym::DateTime(_)
        )
    }

    /// The type of a value, none for None and for what is no value.
    pub fn base(&self) -> Option<Base> {
        Some(match self {
            Sym::Bool(_) => Base::Bool,
            Sym::Int(_) => Base::Int,
            Sym::Float(_) | Sym::Num(_) => Base::Float,
            Sym::Str(_) => Base::Str,
            Sym::Date(_) => Base::Date,
            Sym::DateTime(_) => Base::DateTime,
            Sym::Val(_, ty) => ty.base,
            Sym::None
            | Sym::Delta(_)
            | Sym::Seq(_)
            | Sym::Set(_)
            | Sym::Letters(_)
            | Sym::Dict(_)
            | Sym::Module(..)
            | Sym::Known(_)
            | Sym::Function(_)
            | Sym::Local(_)
            | Sym::Method(..)
            | Sym::Array(_)
            | Sym::Other(_)
            | Sym::Bad(_) => return None,
        })
    }

    pub fn optional(&self) -> bool {
        matches!(self, Sym::Val(_, ty) if ty.optional)
    }

    /// In a user's words.
    pub fn describe(&self) -> String {
        match self {
            Sym::None => "None".to_owned(),
            Sym::Num(_) => "a number that is an int or a float".to_owned(),
            Sym::Delta(_) => "a timedelta".to_owned(),
            Sym::Seq(seq) => match &**seq {
                Seq::Items(_, true) | Seq::Parts { .. } => "a tuple".to_owned(),
                Seq::Items(_, false) | Seq::Split { .. } | Seq::Words(_) => "a list".to_owned(),
                Seq::Mapped { generator: false, .. } => "a list".to_owned(),
                Seq::Chars(_)
                | Seq::Range { .. }
                | Seq::Spaced { .. }
                | Seq::Mapped { .. }
                | Seq::Applied { .. }
                | Seq::Enumerate(..)
                | Seq::Zip(_)
                | Seq::Reversed(_)
                | Seq::Slice { .. } => "a sequence".to_owned(),
            },
            Sym::Set(_) | Sym::Letters(_) => "a set".to_owned(),
            Sym::Dict(_) => "a dict".to_owned(),
            Sym::Module(name, _) => format!("the module '{name}'"),
            Sym::Known(name) => format!("'{name}'"),
            Sym::Function(source) => format!("the function '{}'", source.name),
            Sym::Local(_) => "a function".to_owned(),
            Sym::Method(_, name) => format!("the method '{name}'"),
            Sym::Array(a) if a.scalar => format!("a NumPy {}", a.dtype.name()),
            Sym::Array(a) => format!("an array of {}", a.dtype.name()),
            Sym::Other(what) => what.to_string(),
            Sym::Bad(_) => "something unknown".to_owned(),
            Sym::Bool(_)
            | Sym::Int(_)
            | Sym::Float(_)
            | Sym::Str(_)
            | Sym::Date(_)
            | Sym::DateTime(_)
            | Sym::Val(..) => match self.base() {
                Some(Base::Bool) => "a bool".to_owned(),
                Some(Base::Int) => "an int".to_owned(),
                Some(Base::Float) => "a float".to_owned(),
                Some(Base::Str) => "a str".to_owned(),
                Some(Base::Date) => "a date".to_owned(),
                Some(Base::DateTime) => "a datetime".to_owned(),
                None => "a value".to_owned(),
            },
        }
    }

    /// Whether two stand for the same thing for certain.
    pub fn same(&self, other: &Sym) -> bool {
        match (self, other) {
            (Sym::None, Sym::None) => true,
            (Sym::Bool(a), Sym::Bool(b)) => a == b,
            (Sym::Int(a), Sym::Int(b))
            | (Sym::Date(a), Sym::Date(b))
            | (Sym::DateTime(a), Sym::DateTime(b)) => a == b,
            (Sym::Float(a), Sym::Float(b)) => a.to_bits() == b.to_bits(),
            (Sym::Str(a), Sym::Str(b)) => a == b,
            (Sym::Val(a, _), Sym::Val(b, _)) | (Sym::Num(a), Sym::Num(b)) => a == b,
            (Sym::Delta(a), Sym::Delta(b)) | (Sym::Letters(a), Sym::Letters(b)) => a.same(b),
            (Sym::Array(a), Sym::Array(b)) => a == b,
            (Sym::Seq(a), Sym::Seq(b)) => Rc::ptr_eq(a, b) || a.same(b),
            (Sym::Set(a), Sym::Set(b)) => Rc::ptr_eq(a, b),
            (Sym::Dict(a), Sym::Dict(b)) => Rc::ptr_eq(a, b),
            (Sym::Module(a, _), Sym::Module(b, _)) | (Sym::Known(a), Sym::Known(b)) => a == b,
            (Sym::Function(a), Sym::Function(b)) => Rc::ptr_eq(a, b),
            (Sym::Local(a), Sym::Local(b)) => Rc::ptr_eq(a, b),
            (Sym::Bad(a), Sym::Bad(b)) => Rc::ptr_eq(a, b),
            (_, _) => false,
        }
    }
}

impl Seq {
    fn same(&self, other: &Seq) -> bool {
        match (self, other) {
            (Seq::Items(a, s), Seq::Items(b, t)) => {
                s == t && a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.same(b))
            }
            (Seq::Chars(a), Seq::Chars(b)) | (Seq::Words(a), Seq::Words(b)) => a.same(b),
            (Seq::Split { text: a, sep: b, most: c }, Seq::Split { text: d, sep: e, most: f }) => {
                a.same(d) && b.same(e) && c.same(f)
            }
            (_, _) => false,
        }
    }
}
