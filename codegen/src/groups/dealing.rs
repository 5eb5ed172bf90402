//! When a table has grown large: its records are dealt to parts of the hash space.
//!
//! A table that outgrows the caches is given up where that pays, which is where it keeps growing: where most
//! of the last morsel's rows were new groups. From then on there is a small table, which hands its records over
//! whenever it is full ([`fuseline_kernels::group::Dealt`]). While hardly any two rows of it share a group,
//! rows are not even looked up. In the end the parts of all workers are merged, one after the other, into
//! tables that fit a near cache.
//!
//! All of it follows from the rows, their order and where morsels were cut, so float sums do.

use super::{GroupLayout, Groups};
use fuseline_kernels::group::{Dealt, GroupTable};
use std::sync::Arc;

/// Groups from which on a table is given up while it grows by nearly every row.
const LARGE: usize = 1 << 18;
/// Groups from which on it is given up if it grows at all.
const VERY_LARGE: usize = 1 << 20;
/// Groups of the small table: it stays in a second-level cache.
const SMALL: usize = 1 << 14;
/// Parts, of the first ones dealt as of all that may follow.
const PARTS: usize = 256;
/// After so many full tables without lookup, one with it tells whether rows have come to share groups.
const BLIND: usize = 16;

/// Whether a table may be given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MayDeal {
    /// Its groups leave as they are.
    Never,
    /// Unless it finds integers by value: that is dearer than dealing only where tables have to be merged.
    Hashed,
    Always,
}

#[derive(Debug)]
pub(super) struct Dealing {
    dealt: Dealt,
    /// Rows since the table was last empty.
    rows: usize,
    /// Tables that are still to be filled without looking keys up.
    blind: usize,
}

impl Groups {
    /// To be called after a morsel, of which so many rows came to the table: deals its records if it has
    /// become too large.
    pub fn relieve(&mut self, rows: usize, before: usize) {
        let len = self.table.len();
        let Some(dealing) = &mut self.dealing else {
            let may = match self.may_deal {
                MayDeal::Never => false,
                MayDeal::Hashed => !self.table.is_dense(),
                MayDeal::Always => true,
            };
            let new = len.saturating_sub(before);
            let most = if len >= VERY_LARGE { 3 } else { 9 };
            let grows = may && len >= LARGE && new * 10 > rows * most;
            if grows {
                self.deal(PARTS);
            }
            return;
        };
        dealing.rows += rows;
        if len < SMALL {
            return;
        }
        let shared = len * 5 < dealing.rows * 4;
        dealing.blind = match dealing.blind {
            0 if shared => 0,
            0 => BLIND,
            more => more - 1,
        };
        dealing.rows = 0;
        dealing.dealt.take(&mut self.table);
        self.table.append(dealing.blind > 0);
    }

    /// Says what may become of the table; at first nothing may. `keep_memory`: what was dealt may stay with the
    /// process for the next table, which only pays off, and is only right, where nobody counts it.
    pub fn allow_dealing(&mut self, may: MayDeal, keep_memory: bool) {
        (self.may_deal, self.keep_memory) = (may, keep_memory);
    }

    /// Whether rows are better read in small morsels.
    pub fn is_dealing(&self) -> bool {
        self.dealing.is_some()
    }

    fn deal(&mut self, parts: usize) {
        let mut dealt = Dealt::new(&self.layout.shape, parts, self.keep_memory);
        dealt.take(&mut self.table);
        self.table = GroupTable::new(self.layout.shape.clone(), 0);
        self.table.reserve(2 * SMALL);
        self.dealing = Some(Dealing { dealt, rows: 0, blind: 0 });
    }

    /// All groups, dealt: to so many parts unless they have been to others.
    pub fn into_dealt(mut self, parts: usize) -> DealtGroups {
        let dealing = self.dealing.take();
        let mut dealt =
            dealing.map_or_else(|| Dealt::new(&self.layout.shape, parts, self.keep_memory), |d| d.dealt);
        dealt.take(&mut self.table);
        DealtGroups { layout: self.layout, dealt }
    }

    /// Groups and records that were dealt.
    pub fn records(&self) -> usize {
        self.table.len() + self.dealing.as_ref().map_or(0, |d| d.dealt.records())
    }

    /// The parts that groups were dealt to.
    pub fn dealt_parts(&self) -> Option<usize> {
        self.dealing.as_ref().map(|d| d.dealt.parts())
    }

    /// Bytes held.
    pub fn memory(&self) -> usize {
        self.table.memory() + self.dealing.as_ref().map_or(0, |d| d.dealt.memory())
    }

    /// Bytes that `rows` more rows may add, texts aside.
    pub fn growth(&self, rows: usize) -> usize {
        let after = self.table.len() + rows;
        let dealt = match &self.dealing {
            Some(dealing) => dealing.dealt.growth(after),
            None if after >= LARGE && self.may_deal != MayDeal::Never => {
                Dealt::new(&self.layout.shape, PARTS, self.keep_memory).growth(after)
            }
            None => 0,
        };
        self.table.growth(rows) + dealt
    }
}

/// Groups of one worker in parts; a group may be in its part several times.
#[derive(Debug)]
pub struct DealtGroups {
    layout: Arc<GroupLayout>,
    dealt: Dealt,
}

impl DealtGroups {
    pub fn parts(&self) -> usize {
        self.dealt.parts()
    }

    pub fn memory(&self) -> usize {
        self.dealt.memory()
    }

    /// The records of a part, for their keys and states to be read while `self` lives.
    pub fn part(&self, part: usize) -> Groups {
        let table = GroupTable::of_part(self.layout.shape.clone(), &self.dealt, part);
        Groups::undealt(Arc::clone(&self.layout), table)
    }
}

/// Merges parts one after the other, in a table whose memory stays in the cache.
#[derive(Debug)]
pub struct PartMerger {
    layout: Arc<GroupLayout>,
    table: GroupTable,
}

impl PartMerger {
    pub fn new(layout: Arc<GroupLayout>) -> PartMerger {
        let mut table = GroupTable::new(layout.shape.clone(), 0);
        // Integers of a part lie far apart.
        table.reserve(1);
        PartMerger { layout, table }
    }

    /// The groups of a part, whose rows are those of the workers in this order.
    pub fn merge(&mut self, workers: &[DealtGroups], part: usize) -> Groups {
        for worker in workers {
            self.table.merge_part(&worker.dealt, part);
        }
        Groups::undealt(Arc::clone(&self.layout), self.table.take_part())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::{CompileOptions, compile};
    use crate::ir::Loop;
    use crate::ir::interp::InterpLoop;
    use crate::run::{Morsel, RunLoop};
    use arrow::array::{ArrayRef, Float64Array, Int64Array, StringArray};
    use std::collections::BTreeMap;

    const TEXT: &str = "loop {
  input 0: i64? as Int64
  input 1: f64 as Float64
  v0 = input 0
  v1 = input 1
  group v0 as Int64?
  aggregate sum(v1): f64, count(*): i64
}";

    /// Fills a table as a worker does.
    fn fill(code: &dyn RunLoop, columns: &[ArrayRef], dense_limit: usize) -> Groups {
        let mut groups = Groups::new(code.source(), dense_limit).unwrap();
        groups.allow_dealing(MayDeal::Always, true);
        let (rows, mut at) = (columns[0].len(), 0);
        while at < rows {
            let most = if groups.is_dealing() { 1 << 14 } else { 1 << 16 };
            let inputs: Vec<ArrayRef> = columns.iter().map(|c| c.slice(at, most.min(rows - at))).collect();
            let before = groups.len();
            let morsel = Morsel { inputs: &inputs, rows: inputs[0].len(), row_base: 0, joins: &[] };
            let out = code.run_into(&morsel, &mut groups).unwrap();
            groups.relieve(out.rows, before);
            at += inputs[0].len();
        }
        groups
    }

    /// Key, bits of the sum and count of each group, by key.
    fn contents(parts: &[Groups]) -> BTreeMap<String, (u64, u64)> {
        let mut all = BTreeMap::new();
        for groups in parts {
            let keys = groups.key_array(0, 0..groups.len()).unwrap();
            let format = arrow::util::display::FormatOptions::new().with_null("none");
            let shown = arrow::util::display::ArrayFormatter::try_new(&keys, &format).unwrap();
            let cells = groups.counts(0, 0..groups.len()).zip(groups.counts(1, 0..groups.len()));
            for (row, cells) in cells.enumerate() {
                assert!(all.insert(shown.value(row).to_string(), cells).is_none(), "a group is there twice");
            }
        }
        all
    }

    fn merged(workers: Vec<Groups>) -> Vec<Groups> {
        let layout = Arc::clone(workers[0].layout());
        let parts = workers.iter().find_map(Groups::dealt_parts).expect("nothing was dealt");
        let workers: Vec<DealtGroups> = workers.into_iter().map(|w| w.into_dealt(parts)).collect();
        let mut merger = PartMerger::new(layout);
        (0..parts).map(|part| merger.merge(&workers, part)).collect()
    }

    /// Rows that are mostly new groups, then ones that share few, with NULLs in between.
    fn columns(rows: usize) -> (Int64Array, ArrayRef) {
        let key = |i: usize| {
            let spread = if i < rows / 2 { i } else { i % 1000 };
            (!i.is_multiple_of(1001)).then_some(spread as i64 * 7_919_000_009)
        };
        let values: Float64Array = (0..rows).map(|i| Some(1.0 / (i + 1) as f64)).collect();
        ((0..rows).map(key).collect(), Arc::new(values))
    }

    fn check(text: &str, keys: ArrayRef, values: ArrayRef, dense_limit: usize) {
        let source: Loop = text.parse().unwrap();
        let code = compile(&source, &CompileOptions::default()).unwrap();
        let oracle = InterpLoop::new(source);
        let columns = [keys, values];
        let half = columns[0].len() / 2;
        // The second worker has a table of few groups, the first deals.
        let run = |code: &dyn RunLoop| {
            let cut = |at, len| columns.iter().map(|c| c.slice(at, len)).collect::<Vec<_>>();
            let first = fill(code, &cut(0, half + half / 2), dense_limit);
            let second = fill(code, &cut(half + half / 2, half / 2), dense_limit);
            assert!(first.is_dealing() && !second.is_dealing());
            contents(&merged(vec![first, second]))
        };
        let (compiled, interpreted) = (run(&code), run(&oracle));
        assert_eq!(compiled, interpreted);
        // Against groups that nobody dealt.
        let mut plain = Groups::new(code.source(), dense_limit).unwrap();
        let inputs = columns.to_vec();
        let morsel = Morsel { inputs: &inputs, rows: inputs[0].len(), row_base: 0, joins: &[] };
        code.run_into(&morsel, &mut plain).unwrap();
        plain.settle();
        let plain = contents(&[plain]);
        assert_eq!(plain.len(), compiled.len());
        for (key, (sum, count)) in &plain {
            let (other, seen) = compiled[key];
            let (sum, other) = (f64::from_bits(*sum), f64::from_bits(other));
            assert!(*count == seen && (sum - other).abs() <= 1e-12 * sum, "{key}");
        }
    }

    #[test]
    fn dealt_numbers_are_what_one_table_has() {
        let (keys, values) = columns(900_000);
        check(TEXT, Arc::new(keys), values, 0);
        let near: Int64Array = (0..900_000).map(|i| (i % 1001 != 0).then_some(i)).collect();
        let (_, values) = columns(900_000);
        let source: Loop = TEXT.parse().unwrap();
        let code = compile(&source, &CompileOptions::default()).unwrap();
        let groups = fill(&code, &[Arc::new(near), values], 1 << 20);
        let held = groups.records();
        assert_eq!(groups.dealt_parts(), Some(PARTS));
        let parts = merged(vec![groups]);
        assert_eq!(contents(&parts).len(), 900_000 - 900_000usize.div_ceil(1001) + 1);
        assert!(held >= 899_000);
    }

    #[test]
    fn dealt_strings_are_what_one_table_has() {
        let (keys, values) = columns(900_000);
        let words: StringArray = keys
            .iter()
            .map(|k| k.map(|k| if k % 2 == 0 { format!("{k}") } else { format!("a longer word, {k}") }))
            .collect();
        let text = TEXT.replace("i64? as Int64", "str? as Utf8").replace("v0 as Int64?", "v0 as Utf8?");
        check(&text, Arc::new(words), values, 0);
    }
}
