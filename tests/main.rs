//! The integration tests of the facade, in one binary: each links all of DataFusion.

mod answers;
mod badfiles;
mod differential;
mod files;
mod plan_cache;
mod session;
mod side_by_side;
mod sqlite_slt;
mod suites;
mod tpch;
mod udf;
