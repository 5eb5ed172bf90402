//! What the tests share: literals and arrays, random batches and loops, comparison, shrinking.

pub mod batches;
pub mod compare;
pub mod data;
pub mod engines;
pub mod joined;
pub mod loops;
pub mod random;
pub mod shrink;
