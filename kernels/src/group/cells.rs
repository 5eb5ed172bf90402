//! The aggregate states of a group: cells of one or two words, how they start and how two are merged.
//!
//! Generated code updates cells in place, so a cell holds what a few instructions can update: a wrapping
//! sum, a float sum, or a minimum or maximum in a signed form that orders as the values do. What an SQL
//! aggregate needs beyond that (how many rows counted, a division) is other cells and the last step.

/// What a cell accumulates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CellKind {
    /// A wrapping sum of 64-bit integers; counts too.
    Sum64,
    Sum128,
    SumF64,
    /// The least of signed 64-bit forms; the greatest of all while there is none.
    Min64,
    Max64,
    Min128,
    Max128,
}

impl CellKind {
    pub fn words(self) -> usize {
        match self {
            CellKind::Sum64 | CellKind::SumF64 | CellKind::Min64 | CellKind::Max64 => 1,
            CellKind::Sum128 | CellKind::Min128 | CellKind::Max128 => 2,
        }
    }

    /// What a cell holds before its first row.
    pub fn start(self) -> [u64; 2] {
        let wide = |v: i128| [v as u64, (v >> 64) as u64];
        match self {
            CellKind::Sum64 | CellKind::Sum128 | CellKind::SumF64 => [0; 2],
            CellKind::Min64 => [i64::MAX as u64, 0],
            CellKind::Max64 => [i64::MIN as u64, 0],
            CellKind::Min128 => wide(i128::MAX),
            CellKind::Max128 => wide(i128::MIN),
        }
    }
}

/// A cell of every record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cell {
    pub kind: CellKind,
    /// Its first word in the record.
    pub word: usize,
}

impl Cell {
    /// Adds what the same cell of another record holds.
    ///
    /// # Safety
    /// Both point at records that have this cell and overlap in nothing.
    #[inline(always)]
    pub unsafe fn merge(self, into: *mut u64, from: *const u64) {
        // SAFETY: the caller's promise.
        unsafe {
            let (a, b) = (into.add(self.word), from.add(self.word));
            match self.kind {
                CellKind::Sum64 => *a = (*a).wrapping_add(*b),
                CellKind::SumF64 => *a = (f64::from_bits(*a) + f64::from_bits(*b)).to_bits(),
                CellKind::Min64 => *a = (*a as i64).min(*b as i64) as u64,
                CellKind::Max64 => *a = (*a as i64).max(*b as i64) as u64,
                CellKind::Sum128 | CellKind::Min128 | CellKind::Max128 => {
                    let (x, y) = (read_wide(a), read_wide(b));
                    let merged = match self.kind {
                        CellKind::Min128 => x.min(y),
                        CellKind::Max128 => x.max(y),
                        CellKind::Sum128
                        | CellKind::Sum64
                        | CellKind::SumF64
                        | CellKind::Min64
                        | CellKind::Max64 => x.wrapping_add(y),
                    };
                    *a = merged as u64;
                    *a.add(1) = (merged >> 64) as u64;
                }
            }
        }
    }
}

/// Two words as one number.
///
/// # Safety
/// Two words can be read at `at`.
#[inline(always)]
pub unsafe fn read_wide(at: *const u64) -> i128 {
    // SAFETY: the caller's promise.
    unsafe { (u128::from(*at) | u128::from(*at.add(1)) << 64) as i128 }
}
