//! Tables of groups: packed keys, their index, and the cells of the aggregates.
//!
//! ```text
//! GROUP BY city (text), year (i32?)     sum(x), count(*)
//!
//! record 0: | header  digest  year+null | -> text | sum  count |      index: hash -> number
//! record 1: | header  digest  year+null | -> text | sum  count |          or value - base -> number
//! ```
//!
//! Generated code packs the keys of a chunk into rows of words ([`TableShape`]), looks each up at its
//! first place in the index, compares the words and updates cells in place; rows that it did not find
//! there go to [`kernels`] together, which search on, insert, and grow. A group's number never changes.
//!
//! [`hash_table`] has the table, [`dense`] the index of integers in a small range, [`direct`] cells that need
//! none, [`cells`] the states,
//! [`text`] how strings become words, [`dealt`] the records of tables that grew too large.

pub mod cells;
mod dealt;
mod dense;
mod direct;
pub mod hash_table;
pub mod kernels;
pub(crate) mod memory;
mod merge;
pub mod text;

pub use cells::{Cell, CellKind, Spread, read_text, read_wide};
pub use dealt::Dealt;
pub use hash_table::{GroupTable, hash_words};

/// What a table's records look like.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TableShape {
    /// Words of the packed key that are compared.
    pub words: usize,
    /// The first of the two words of each string in the key. The pointer of the `k`-th string, which is
    /// not compared, is word `words + k`.
    pub texts: Vec<usize>,
    /// The key is one integer: word 0 is its value, sign- or zero-extended, and word 1, if there is one,
    /// is 1 for NULL (and word 0 is then 0).
    pub integer: bool,
    /// Behind the key.
    pub cells: Vec<Cell>,
}

impl TableShape {
    /// Words of a packed key, pointers included.
    pub fn key_words(&self) -> usize {
        self.words + self.texts.len()
    }

    /// Words of a record.
    pub fn record_words(&self) -> usize {
        self.key_words() + self.cells.iter().map(|c| c.kind.words()).sum::<usize>()
    }
}
