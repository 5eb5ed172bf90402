//! The runtime inside DataFusion: fused and unfused runs of the same queries, and what only a
//! running stage shows (limits, cancellation, all cores, memory, metrics, pruning).

mod answers;
mod behaviour;
mod explain;
mod groups;
mod inlined;
mod parquet;
mod scan;
mod split;
mod support;
