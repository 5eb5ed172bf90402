//! What cannot be fused is a value with a reason, never a panic and never a silent skip.

use std::fmt;

/// Why something did not become generated code, in words for the person who wrote the query.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Reason {
    /// The operator or expression, as EXPLAIN shows it.
    pub what: String,
    /// The sentence that follows it, without a full stop.
    pub why: String,
}

impl Reason {
    pub fn new(what: impl Into<String>, why: impl Into<String>) -> Reason {
        Reason { what: what.into(), why: why.into() }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.why)
    }
}

/// The outcome of a translation.
#[derive(Clone, Debug)]
pub enum Support<T> {
    Supported(T),
    Unsupported(Reason),
}

impl<T> Support<T> {
    pub fn supported(self) -> Option<T> {
        match self {
            Support::Supported(v) => Some(v),
            Support::Unsupported(_) => None,
        }
    }
}
