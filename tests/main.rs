//! The integration tests of the facade, in one binary: each links all of DataFusion.

mod files;
mod plan_cache;
mod session;
