//! fuseline: SQL over files and tables, each pipeline of a query compiled into one loop of machine code.
//!
//! This crate is what an embedder imports. It has two doors:
//!
//! * [`Session`] is a whole SQL session: paths straight in FROM, one clear [`Error`] for what goes
//!   wrong, COPY that writes whole files or none, cached plans.
//! * [`fuse`] adds fusion, and nothing else, to a DataFusion session of your own.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> fuseline::Result<()> {
//! let session = fuseline::Session::new()?;
//! let query = session.sql("SELECT sum(value) AS total FROM range(0, 1000)").await?;
//! let batches = query.collect().await?;
//! # use fuseline::arrow::array::AsArray;
//! # use fuseline::arrow::datatypes::Int64Type;
//! assert_eq!(batches[0].column(0).as_primitive::<Int64Type>().value(0), 499_500);
//! # Ok(())
//! # }
//! ```

mod commands;
mod copy;
mod error;
mod files;
mod functions;
mod in_order;
mod inputs;
mod insert;
mod local_store;
mod parameters;
mod partitions;
mod plan_cache;
mod profile;
mod progress;
#[cfg(feature = "python")]
pub mod python;
mod query;
mod session;
mod statement;
mod suggest;

pub use datafusion;
pub use datafusion::arrow;

/// Adds fusion to a DataFusion session: call it on the builder, then build as always. Adds the
/// settings `fuseline.*` too; calling it twice is calling it once.
pub use fuseline_runtime::fuse;

/// User-defined functions: what they are ([`udf::FunctionSpec`]) and how native ones are written
/// ([`udf::BatchFunction`]).
pub use fuseline_runtime::udf;
/// Worker processes for Python functions.
pub use fuseline_runtime::workers;

/// Tells functions that block that nobody waits for their result any more: dropping a query's stream
/// does so by itself; a task that is aborted needs it where the stream is being polled in it.
pub use fuseline_runtime::cancel::Cancellation;

pub use error::{Error, Position, Result};
pub use functions::{FunctionDefinition, FunctionLanguage};
pub use inputs::Inputs;
pub use partitions::Partition;
pub use profile::{Metric, OperatorProfile, Profile};
pub use progress::Progress;
pub use query::{Query, StatementKind};
pub use session::{Session, SessionBuilder};
