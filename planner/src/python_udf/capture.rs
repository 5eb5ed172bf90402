//! What a function refers to, by value: the runtime reads it from Python when a function is registered, and again when a
//! query starts.

use std::rc::Rc;

/// A value that a name or an attribute stands for.
#[derive(Clone, Debug, PartialEq)]
pub enum Captured {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Str(Rc<str>),
    /// A date, in days since 1970; a datetime without zone, a timedelta, in microseconds.
    Date(i64),
    DateTime(i64),
    TimeDelta(i64),
    /// The second says whether it is a tuple (else a list).
    Sequence(Rc<[Captured]>, bool),
    Set(Rc<[Captured]>),
    Dict(Rc<[(Captured, Captured)]>),
    /// A module, and those of its attributes that the function may mean.
    Module(Rc<str>, Rc<[(Rc<str>, Captured)]>),
    /// A function or type of Python's own that is what its name says, such as `len`, `str`, `math.sqrt`, `datetime.date`.
    Known(Rc<str>),
    /// Another function in Python.
    Function(Rc<Source>),
    /// Anything else, in a few words: "an object of class Config".
    Other(Rc<str>),
}

/// A function as its source.
#[derive(Clone, Debug, PartialEq)]
pub struct Source {
    pub name: Rc<str>,
    /// The whole file or text that it stands in.
    pub text: Rc<str>,
    /// Where its code begins: the line of `def` or of the first decorator, counted from 1.
    pub line: usize,
    /// For a lambda: the bytes of its line at which its body's code begins and ends, with their lines.
    pub lambda: Option<Span>,
    /// Globals, variables of enclosing functions and builtins, by the names that the code uses.
    pub names: Rc<[(Rc<str>, Captured)]>,
    /// The defaults of parameters.
    pub defaults: Rc<[(Rc<str>, Captured)]>,
}

/// Lines from 1 and bytes in them from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub line: usize,
    pub column: usize,
    pub end_line: usize,
    pub end_column: usize,
}

impl Source {
    pub fn named(&self, name: &str) -> Option<&Captured> {
        self.names.iter().find(|(n, _)| &**n == name).map(|(_, c)| c)
    }

    pub fn default_of(&self, name: &str) -> Option<&Captured> {
        self.defaults.iter().find(|(n, _)| &**n == name).map(|(_, c)| c)
    }
}
