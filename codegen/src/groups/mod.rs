//! The table that a grouping loop fills, in terms of the IR: which words of a record are which key and
//! which aggregate.
//!
//! A [`Groups`] belongs to one worker and outlives its morsels. Compiled code and interpreter may take
//! turns with it, and leave the same bits: both send row `j` of a chunk (its position after the last
//! filter) to copy `j % 4` of its group's cells, while there are copies, and chunks of integers of a small range
//! to cells by value (see [`fuseline_kernels::group::hash_table`]). So a float sum depends on the rows, their order and where
//! morsels were cut, and on nothing else, also where [`dealing`] gives up a table that has grown large. A sum that
//! is not a number is read as the one NaN.

mod columns;
mod dealing;
mod find;
mod layout;
mod update;

use dealing::Dealing;
pub use dealing::{DealtGroups, MayDeal, PartMerger};
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
    /// What was dealt out of a table that had grown large, and how that is going.
    dealing: Option<Dealing>,
    may_deal: MayDeal,
    keep_memory: bool,
}

impl Groups {
    /// No groups yet. Keys that are one integer are looked up by value while they lie in a range of
    /// `dense_limit` values: worth about the number of rows to come. `None`: the loop does not group.
    pub fn new(source: &Loop, dense_limit: usize) -> Option<Groups> {
        Some(Groups::with_layout(Arc::new(GroupLayout::of(source)?), dense_limit))
    }

    pub fn with_layout(layout: Arc<GroupLayout>, dense_limit: usize) -> Groups {
        let table = GroupTable::new(layout.shape.clone(), dense_limit);
        Groups::undealt(layout, table)
    }

    /// Groups that are not dealt out.
    fn undealt(layout: Arc<GroupLayout>, table: GroupTable) -> Groups {
        Groups { layout, table, dealing: None, may_deal: MayDeal::Never, keep_memory: false }
    }

    pub fn layout(&self) -> &Arc<GroupLayout> {
        &self.layout
    }

    /// Groups in the table.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether there are none, dealt ones included.
    pub fn is_empty(&self) -> bool {
        self.table.is_empty() && self.dealing.is_none()
    }

    /// Settles the states: to be called before they are read.
    pub fn settle(&mut self) {
        self.table.fold();
    }

    /// Merges the groups of another, settled table of the same layout; theirs are the later rows.
    pub fn merge(&mut self, later: &Groups) {
        self.table.merge(&later.table);
    }

    pub(crate) fn view(&mut self) -> *mut GroupRef {
        self.table.view()
    }

    fn words(&self, rows: Range<usize>, word: usize) -> impl Iterator<Item = u64> + '_ {
        rows.map(move |group| self.table.record(group)[word])
    }
}
