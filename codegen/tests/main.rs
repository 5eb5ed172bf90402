//! Tests of the IR and of both ways to run it: golden files in the text form, and random loops over
//! random batches, on the interpreter and as compiled code.

mod differential;
mod golden;
mod malformed;
mod support;
