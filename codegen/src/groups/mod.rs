//! The table that a grouping loop fills, in terms of the IR: which words of a record are which key and
//! which aggregate.
//!
//! A [`Groups`] belongs to one worker and outlives its morsels. Compiled code and interpreter may take
//! turns with it, and leave the same bits: both send row `j` of a chunk (its position after the last
//! filter) to copy `j % 4` of its group's cells, while there are copies (see
//! [`fuseline_kernels::group::hash_table`]). So a float sum depends on the rows, their order and where
//! morsels were cut, and on nothing else. A sum that is not a number is read as the one NaN.

mod columns;
mod layout;
mod update;

pub(crate) use layout::place;
pub use layout::{GroupLayout, KeyPlace};
pub(crate) use update::{KeyWord, update_cell};

use crate::ir::Loop;
use fuseline_kernels::abi::GroupRef;
use fuseline_kernels::group::GroupTable;
use std::ops::Range;
use std::sync::Arc;

/// Groups and their states.
#[derive(Debug)]
pub struct Groups {
    layout: Arc<GroupLayout>,
    table: GroupTable,
}

impl Groups {
    /// No groups yet. Keys that are one integer are looked up by value while they lie in a range of
    /// `dense_limit` values: worth about the number of rows to come. `None`: the loop does not group.
    pub fn new(source: &Loop, dense_limit: usize) -> Option<Groups> {
        Some(Groups::with_layout(Arc::new(GroupLayout::of(source)?), dense_limit))
    }

    pub fn with_layout(layout: Arc<GroupLayout>, dense_limit: usize) -> Groups {
        let table = GroupTable::new(layout.shape.clone(), dense_limit);
        Groups { layout, table }
    }

    pub fn layout(&self) -> &Arc<GroupLayout> {
        &self.layout
    }

    pub fn len(&self) -> usize {
        self.table.len()
    }

    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// Bytes held.
    pub fn memory(&self) -> usize {
        self.table.memory()
    }

    /// Bytes that `rows` more rows may add, texts aside.
    pub fn growth(&self, rows: usize) -> usize {
        self.table.growth(rows)
    }

    /// Settles the states: to be called before they are read.
    pub fn settle(&mut self) {
        self.table.fold();
    }

    /// Which of `parts` each group belongs to, by its key's hash: the same in every table of the layout.
    /// `parts` is a power of two.
    pub fn parts(&self, parts: usize) -> Vec<Vec<u32>> {
        debug_assert!(parts.is_power_of_two());
        let shift = 64 - parts.trailing_zeros();
        let mut out: Vec<Vec<u32>> =
            (0..parts).map(|_| Vec::with_capacity(self.len() / parts + 16)).collect();
        for group in 0..self.len() {
            let part = self.table.hash_of(group).checked_shr(shift).unwrap_or(0);
            out[part as usize].push(group as u32);
        }
        out
    }

    /// Makes room for so many groups whose keys lie far apart.
    pub fn reserve(&mut self, groups: usize) {
        self.table.reserve(groups);
    }

    /// Merges groups of another, settled table of the same layout, all or some; theirs are the later rows.
    pub fn merge(&mut self, later: &Groups, which: Option<&[u32]>) {
        self.table.merge(&later.table, which);
    }

    pub(crate) fn table(&mut self) -> &mut GroupTable {
        &mut self.table
    }

    pub(crate) fn view(&mut self) -> *mut GroupRef {
        self.table.view()
    }

    fn words(&self, rows: Range<usize>, word: usize) -> impl Iterator<Item = u64> + '_ {
        rows.map(move |group| self.table.record(group)[word])
    }
}
