//! Tests of the IR and of both ways to run it: golden files in the text form, and random loops over
//! random batches, on the interpreter and as compiled code; and chosen loops for the code generator's
//! paths.

mod chosen;
mod compiled;
mod differential;
mod functions;
mod golden;
mod malformed;
mod support;
mod wide;
