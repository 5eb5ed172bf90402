//! User-defined functions at the boundary of the fused loops.
//!
//! [`spec`] says what a function is: its parameters and the options that SQL and Python share.

pub mod spec;

pub use spec::{
    ArgDefault, Compile, FunctionOptions, FunctionSpec, Isolation, Kind, NullHandling, OnError, Param,
    SpecError,
};
