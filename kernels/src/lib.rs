//! What generated code relies on: functions over chunks of rows that are too big, too branchy or too
//! wide to be emitted inline. The interpreter calls the same functions, so both agree bit for bit.
//!
//! # Contract of every kernel (`rt_*`)
//! - `unsafe extern "C"`, called with raw pointers to buffers of the calling chunk loop. `n` is the
//!   number of rows: at most 1024 in generated code, but any `n` works (at most 65,536 where rows are
//!   numbered by `u16` selection vectors).
//! - **Values**: a buffer of `n` rows may be read and written up to the next multiple of 8 rows.
//!   Buffers that belong to Arrow arrays (offsets, views, keys, string bytes) are read exactly.
//! - **Bits** are LSB first. Staged bits start at bit 0 of an 8-byte word and their buffer is a
//!   multiple of 8 bytes long; kernels write whole words and zero the bits behind row `n`. Kernels
//!   ignore what lies behind row `n` in their inputs.
//! - **Selection vectors** are `u16` row numbers inside the chunk, ascending.
//! - Inputs and outputs do not overlap, except where a kernel's own line says that it may run in
//!   place.
//! - Nothing unwinds. Where rows may lack a result, a kernel either writes `ok`, staged bits of the rows
//!   that have one (the caller makes nulls or a failure of the rest), or takes `active`, staged bits of
//!   the rows that may fail (null pointer: all), and returns an `i64` status: 0, or 1 + the first failing
//!   row. Something defined is written to every row.
//! - The same input gives the same bits on every instruction set (see [`isa`]).
//!
//! [`symbols`] lists all of them with address and machine signature. The kernels of [`python`] are others: they work on
//! one row, share one signature, and their contract stands in [`python::call`].

// Tests hand over buffers that they just made to measure; a promise per call would only repeat that.
#![cfg_attr(test, allow(clippy::undocumented_unsafe_blocks))]

pub mod abi;
pub mod bitmap;
pub mod compact;
pub mod datetime;
pub mod decimal;
pub mod group;
pub mod isa;
pub mod join;
pub mod python;
#[cfg(test)]
mod speed;
pub mod strings;
pub mod symbols;
pub mod vecmath;
