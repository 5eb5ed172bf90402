//! Tests of functions of a row: random ones, interpreted and compiled; each operation against a table that CPython
//! wrote; and what the verifier and the parser refuse.

mod bounds;
mod differential;
mod generate;
mod inline;
mod limits;
mod malformed;
mod operations;
mod rows;
