//! User-defined functions at the boundary of the fused loops.
//!
//! [`spec`] says what a function is: its parameters and the options that SQL and Python share.
//! [`function`] is the trait behind which its code stands, in Rust or Python, and [`compiled`] what it is of a Python
//! function that became machine code. [`boundary`] is the
//! scalar function that DataFusion sees: it hands over live rows in batches and checks what comes
//! back. [`entries`] finds calls in plans, [`hoist`] moves them to where they are evaluated once per
//! row, [`share`] makes repeated ones once and [`lazy`] keeps AND and OR lazy where nothing is fused,
//! [`compiled`] runs machine code and asks Python for the rows that bail,
//! [`metrics`] counts, [`collected`] keeps the rows that failed, and [`planning`] keeps functions from
//! being called while a plan is made.

pub mod boundary;
pub mod collected;
pub mod compiled;
pub mod entries;
pub mod error;
pub mod function;
pub mod hoist;
pub mod lazy;
pub mod metrics;
pub mod planning;
pub mod share;
pub mod spec;

pub use boundary::BoundaryUdf;
pub use collected::{CollectedErrors, ErrorsFunction};
pub use compiled::{CompiledUdf, Compiling};
pub use error::{CallError, Failure, UdfError, UdfErrorKind};
pub use function::{Batch, BatchFunction, Gate};
pub use spec::{
    ArgDefault, Compile, FunctionOptions, FunctionSpec, Isolation, Kind, NullHandling, OnError, Param,
    SpecError,
};
