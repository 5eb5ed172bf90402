//! Python's operations on single values, to the last bit: what compiled functions of users call, and what the
//! interpreter of the function IR calls too.
//!
//! Every operation is a safe Rust function that gives `None` where the row must go to Python, be it that Python
//! raises there or that the exact answer is not worth knowing here. [`call`] wraps them for machine code. Texts that an
//! operation makes lie in an [`arena::Arena`] until the row is done; parts of a text are views of it.
//!
//! The answers are CPython's: tests compare each operation with a table that CPython wrote
//! (`codegen/tests/python/`).

pub mod arena;
pub mod call;
pub mod case;
pub mod date;
pub mod float;
pub mod format;
pub mod int;
pub mod math;
pub mod output;
pub mod parse;
pub mod repr;
pub mod round;
pub mod split;
pub mod table;
pub mod text;
