//! The integration tests of the facade, in one binary: each links all of DataFusion.

mod answers;
mod badfiles;
mod differential;
mod files;
mod groups;
mod inputs;
mod join_order;
mod joins;
mod plan_cache;
mod session;
mod share;
mod side_by_side;
mod sqlite_slt;
mod suites;
mod tpch;
mod udf;
mod udf_operators;

/// As in the command and the Python package. It matters for damaged files too: where a length in one says
/// gigabytes, the C library's zeroed memory is touched page by page before anything is read into it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
