//! The pipeline IR of fuseline, its reference interpreter, and the Cranelift back end.
//!
//! A [`ir::Loop`] is what every back end reads: typed input columns, straight-line SSA, filters
//! and one sink. [`ir::interp`] is the oracle; [`cpu`] must agree with it bit for bit. A [`function::Function`] is
//! the body of a user's function over one row, with control flow; [`function::interp`] is its oracle.

pub mod cpu;
pub mod function;
pub mod groups;
pub mod ir;
pub mod joins;
pub mod run;
