//! The index of keys that are one integer out of a small range: an array by value.
//!
//! The range is found while the rows come: it grows to hold what it meets, at least to double its size so
//! that this happens rarely, until it would exceed the limit; then the table hashes instead.

/// A range of this many values is always small.
const ALWAYS: usize = 1 << 16;

#[derive(Debug)]
pub(super) struct Dense {
    /// Group number + 1 by value minus `base`, 0 for none; then a 0 that stands for values outside of
    /// the range, then the group of NULL.
    map: Vec<u32>,
    base: i64,
    limit: usize,
}

impl Dense {
    pub fn new(limit: usize) -> Dense {
        Dense { map: vec![0; 2], base: 0, limit: limit.max(ALWAYS) }
    }

    pub fn bytes(&self) -> usize {
        self.map.len() * size_of::<u32>()
    }

    /// The array, its first value, and how many there are.
    pub fn view(&self) -> (*const u32, u64, u64) {
        (self.map.as_ptr(), self.base as u64, self.len() as u64)
    }

    fn len(&self) -> usize {
        self.map.len() - 2
    }

    /// The entry of a value inside the range, or of NULL.
    fn place(&self, value: u64, null: bool) -> usize {
        let at = (value as i64).wrapping_sub(self.base) as u64;
        if null { self.len() + 1 } else { at.min(self.len() as u64) as usize }
    }

    pub fn get(&self, value: u64, null: bool) -> Option<usize> {
        (self.map[self.place(value, null)] as usize).checked_sub(1)
    }

    pub fn set(&mut self, value: u64, null: bool, group: usize) {
        let at = self.place(value, null);
        debug_assert!(at != self.len());
        self.map[at] = group as u32 + 1;
    }

    /// Makes the range hold all values from `least` to `most`, or says that it would be too large.
    pub fn reach(&mut self, least: u64, most: u64, groups: usize) -> bool {
        let (least, most) = (i128::from(least as i64), i128::from(most as i64));
        let len = self.len() as i128;
        let (from, to) = (i128::from(self.base), i128::from(self.base) + len);
        if len > 0 && least >= from && most < to {
            return true;
        }
        let (mut low, mut high) =
            if len == 0 { (least, most + 1) } else { (from.min(least), to.max(most + 1)) };
        if high - low > self.limit as i128 {
            return false;
        }
        // Room to spare on the side where it grew.
        let spare = (self.limit as i128 - (high - low)).min((high - low).max(64));
        if len > 0 && least < from && most < to {
            low = (low - spare).max(i128::from(i64::MIN));
        } else {
            high = (high + spare).min(i128::from(i64::MAX) + 1);
        }
        let mut map = vec![0; (high - low) as usize + 2];
        if groups > 0 {
            let (old, end) = (self.len(), map.len());
            if old > 0 {
                let at = (from - low) as usize;
                map[at..at + old].copy_from_slice(&self.map[..old]);
            }
            map[end - 1] = self.map[old + 1];
        }
        self.map = map;
        self.base = low as i64;
        true
    }
}
