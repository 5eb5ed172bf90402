//! The text form: what tests are written in and what `EXPLAIN CODEGEN` shows. Printing and parsing
//! are inverse to each other for verified loops.
//!
//! ```text
//! loop {
//!   input 0: f64? as Float64 "l_discount"
//!   v0: f64? = input 0
//!   v1: f64 = const 0.05
//!   v2: bool? = cmp.ge v0, v1
//!   filter v2
//!   v3: f64? = div v1, v0
//!   emit v0 as Float64?, passenger 3
//! }
//! ```
//!
//! A `?` marks what can be null. An instruction that counts only under a condition ends in
//! `under v7`. An aggregating loop ends in, for instance, `aggregate sum(v3) filter v2: f64,
//! count(*): i64`, a grouping one in `group v0 as Int64?` and then perhaps such a line. Constants are written as the value's type wants them: `true`, `-7`, `0.1`, `inf`,
//! `bits 0x7ff8000000000000` (any NaN), `"text"`, `null`. When parsing, the type of a value may be
//! left out (`v2 = cmp.ge v0, v1`), and so may the representation of an input; `#` starts a comment.

mod lex;
mod names;
mod parse;
mod print;

pub use parse::ParseError;
