//! Finding the groups of a chunk's rows, as compiled code does: what the interpreter does before it updates.
//!
//! All of the chunk's groups are there before the first cell changes: new ones may end the time of the copies,
//! or change the range of the cells by value. The same rows go the same way in both, so that sums of floats have
//! the same bits: by value if the whole chunk can, or all through their records.

use super::Groups;
use fuseline_kernels::group::Cell;
use fuseline_kernels::group::kernels::rt_group_resolve;

/// What a row updates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// Cells by value, without a key before them.
    Place(usize),
    /// The record of a group.
    Group(usize),
}

impl Groups {
    /// The targets of `rows` rows, whose packed keys lie one after the other. `None`: there are too many groups.
    ///
    /// # Safety
    /// The keys were packed as the layout says, and their texts are alive.
    pub(crate) unsafe fn find(&mut self, packed: &[u64], rows: usize) -> Option<Vec<Target>> {
        let (key_words, words) = (self.layout.shape.key_words(), self.layout.shape.words);
        let integer = |row: usize| {
            let key = &packed[row * key_words..][..words];
            (key[0], key.get(1).is_some_and(|null| *null != 0))
        };
        if self.layout.shape.integer {
            let places: Option<Vec<Target>> = (0..rows)
                .map(|row| {
                    let (value, null) = integer(row);
                    self.table.direct_place(value, null).map(Target::Place)
                })
                .collect();
            if places.is_some() {
                return places;
            }
        }
        let mut numbers = vec![0u32; rows];
        let mut missed = Vec::with_capacity(rows);
        for (row, number) in numbers.iter_mut().enumerate() {
            let known = if self.table.is_dense() {
                let (value, null) = integer(row);
                self.table.known_value(value, null)
            } else {
                None
            };
            match known {
                Some(group) => *number = group as u32,
                None => missed.push(row as u16),
            }
        }
        if !missed.is_empty() {
            let numbers = numbers.as_mut_ptr();
            // SAFETY: the caller's promise; all lists have an entry per row that they speak of.
            let status = unsafe {
                rt_group_resolve(&mut self.table, missed.len(), missed.as_ptr(), packed.as_ptr(), numbers)
            };
            if status != 0 {
                return None;
            }
        }
        Some(numbers.into_iter().map(|number| Target::Group(number as usize)).collect())
    }

    /// Offers a text to a minimum or maximum of a row's group. Chunks of tables that keep texts do not go by value.
    pub(crate) fn offer_text(&mut self, target: Target, cell: Cell, text: &str) {
        match target {
            Target::Group(group) => self.table.offer_text(group, cell.kind, cell.word, text.as_bytes()),
            Target::Place(_) => debug_assert!(false, "a table by value keeps texts"),
        }
    }

    /// The cells that a row of this position in its chunk updates, and how many words of a record are not there
    /// before them.
    pub(crate) fn cells(&mut self, target: Target, row: usize) -> (&mut [u64], usize) {
        match target {
            Target::Group(group) => (self.table.cells_for(group, row), 0),
            Target::Place(place) => {
                let cells = self.table.direct_cells(place, row).unwrap_or_default();
                (cells, self.layout.shape.key_words())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::cpu::{CompileOptions, compile};
    use crate::groups::Groups;
    use crate::ir::Loop;
    use crate::ir::interp::InterpLoop;
    use crate::run::{Morsel, RunLoop};
    use arrow::array::{ArrayRef, Float64Array, Int8Array, Int16Array, Int32Array, Int64Array, UInt32Array};
    use std::sync::Arc;

    /// The words of all records after some morsels; text cells, which hold addresses, are in none of them.
    fn records(code: &dyn RunLoop, columns: &[ArrayRef], morsel: usize) -> Vec<Vec<u64>> {
        let mut groups = Groups::new(code.source(), 1 << 20).unwrap();
        let rows = columns[0].len();
        for at in (0..rows).step_by(morsel) {
            let inputs: Vec<ArrayRef> = columns.iter().map(|c| c.slice(at, morsel.min(rows - at))).collect();
            let morsel = Morsel { inputs: &inputs, rows: inputs[0].len(), row_base: 0, joins: &[] };
            code.run_into(&morsel, &mut groups).unwrap();
        }
        groups.settle();
        (0..groups.len()).map(|group| groups.table.record(group).to_vec()).collect()
    }

    fn check(ty: &str, data_type: &str, keys: ArrayRef) {
        let values: Float64Array =
            (0..keys.len()).map(|i| (i % 7 != 0).then_some(1.0 / (i + 1) as f64)).collect();
        let columns: [ArrayRef; 2] = [keys, Arc::new(values)];
        let text = format!(
            "loop {{
  input 0: {ty}? as {data_type}
  input 1: f64? as Float64
  v0 = input 0
  v1 = input 1
  group v0 as {data_type}?
  aggregate sum(v1): f64, count(v1): i64, min(v1): f64, spread(v1): f64, count(*): i64
}}"
        );
        let source: Loop = text.parse().unwrap();
        let code = compile(&source, &CompileOptions::default()).unwrap();
        let oracle = InterpLoop::new(source);
        for morsel in [1, 777, 5000, 65_536] {
            let rows = if morsel == 1 { 3000 } else { columns[0].len() };
            let columns: Vec<ArrayRef> = columns.iter().map(|c| c.slice(0, rows)).collect();
            let (compiled, interpreted) =
                (records(&code, &columns, morsel), records(&oracle, &columns, morsel));
            assert_eq!(compiled.len(), interpreted.len(), "{data_type} in morsels of {morsel}");
            for (a, b) in compiled.iter().zip(&interpreted) {
                assert_eq!(a, b, "{data_type} in morsels of {morsel}");
            }
        }
    }

    /// Ranges that are tiny, stay, move, grow beyond what goes by value and beyond any index, with NULLs or without.
    fn ranges() -> Vec<fn(usize) -> Option<i64>> {
        vec![
            |i| Some((i * 7 % 5) as i64),
            |i| (i % 11 != 0).then_some((i * 7919 % 1000) as i64 - 500),
            |i| Some((i * 7919 % 1000) as i64 + (i / 4096) as i64 * 300),
            |i| (i % 101 != 0).then_some(if i % 5000 == 4999 { -(i as i64) * 40 } else { (i % 900) as i64 }),
            |i| Some(if i < 20_000 { (i % 300) as i64 } else { i as i64 * 7_919_000_009 }),
            |i| (i > 6000).then_some(i64::MIN + (i % 50) as i64),
            |_| None,
            |_| Some(i64::MAX),
        ]
    }

    #[test]
    fn cells_by_value_are_the_interpreters() {
        for range in ranges() {
            let keys: Int64Array = (0..30_000).map(range).collect();
            check("i64", "Int64", Arc::new(keys));
            let keys: Int32Array = (0..30_000).map(|i| range(i).map(|v| v as i32)).collect();
            check("i32", "Int32", Arc::new(keys));
        }
    }

    #[test]
    fn narrow_keys_by_value_are_the_interpreters() {
        for range in ranges() {
            let keys: Int16Array = (0..9000).map(|i| range(i).map(|v| v as i16)).collect();
            check("i16", "Int16", Arc::new(keys));
            let keys: Int8Array = (0..9000).map(|i| range(i).map(|v| v as i8)).collect();
            check("i8", "Int8", Arc::new(keys));
            let keys: UInt32Array = (0..9000).map(|i| range(i).map(|v| v as u32)).collect();
            check("u32", "UInt32", Arc::new(keys));
        }
    }
}
