//! Tables of joins: from the key of a probing row to the rows of the build side that have it.
//!
//! ```text
//! build rows 0..5 with keys  7 3 7 9 3       unique: no        entries: 3 -> 0, 7 -> 2, 9 -> 4
//!                                            rows:   1 4 | 0 2 | 3      counts: 2 . 2 . 1
//! ```
//!
//! An *entry* is where the rows of a key begin in the list of rows. While no key occurs twice the list would
//! be the identity and there is none: an entry is a row number. What is looked up is an array by value where
//! keys are one integer of a small range, slots that hold the key itself where they are one integer of any
//! other, and slots with a tag of the hash in front of packed keys otherwise.
//!
//! [`table`] has the table and how it is built, [`kernels`] and `packed` what generated code calls once per
//! chunk,
//! `visited` which build rows were met, `bits` what is asked before slots are searched.

mod bits;
mod build_packed;
pub mod kernels;
mod packed;
pub mod table;
mod visited;

pub use table::{IntKey, JoinTable, KeyPack, PackKind, PackSpec};
