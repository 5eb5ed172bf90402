//! The aggregate states of a group: cells of one to three words, how they start and how two are merged.
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
    /// How many there were, their mean, and the sum of the squares of their distances from it: [`Spread`].
    Spread,
    /// The least or greatest text: its length and 1, or 0 for none, and where a copy of it lies.
    TextMin,
    TextMax,
}

impl CellKind {
    pub fn words(self) -> usize {
        match self {
            CellKind::Sum64 | CellKind::SumF64 | CellKind::Min64 | CellKind::Max64 => 1,
            CellKind::Sum128
            | CellKind::Min128
            | CellKind::Max128
            | CellKind::TextMin
            | CellKind::TextMax => 2,
            CellKind::Spread => 3,
        }
    }

    /// Whether a text comes before the one that is kept; bytes order as code points do.
    #[inline(always)]
    pub fn prefers(self, text: &[u8], kept: &[u8]) -> bool {
        if self == CellKind::TextMin { text < kept } else { text > kept }
    }

    /// Whether it points at text.
    pub fn is_text(self) -> bool {
        match self {
            CellKind::TextMin | CellKind::TextMax => true,
            CellKind::Sum64
            | CellKind::Sum128
            | CellKind::SumF64
            | CellKind::Min64
            | CellKind::Max64
            | CellKind::Min128
            | CellKind::Max128
            | CellKind::Spread => false,
        }
    }

    /// What a cell holds before its first row.
    pub fn start(self) -> [u64; 3] {
        let wide = |v: i128| [v as u64, (v >> 64) as u64, 0];
        match self {
            CellKind::Sum64
            | CellKind::Sum128
            | CellKind::SumF64
            | CellKind::Spread
            | CellKind::TextMin
            | CellKind::TextMax => [0; 3],
            CellKind::Min64 => [i64::MAX as u64, 0, 0],
            CellKind::Max64 => [i64::MIN as u64, 0, 0],
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
    /// Adds what the same cell of another record holds; of text that is the other one's pointer.
    ///
    /// # Safety
    /// Both point at records that have this cell and overlap in nothing, and whose texts are alive.
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
                        | CellKind::Spread
                        | CellKind::TextMin
                        | CellKind::TextMax
                        | CellKind::Sum64
                        | CellKind::SumF64
                        | CellKind::Min64
                        | CellKind::Max64 => x.wrapping_add(y),
                    };
                    *a = merged as u64;
                    *a.add(1) = (merged >> 64) as u64;
                }
                CellKind::TextMin | CellKind::TextMax => {
                    if let Some(text) = read_text(b)
                        && read_text(a).is_none_or(|kept| self.kind.prefers(text, kept))
                    {
                        (*a, *a.add(1)) = (*b, *b.add(1));
                    }
                }
                CellKind::Spread => Spread::read(a).merged(Spread::read(b)).write(a),
            }
        }
    }
}

/// What variances and standard deviations are made of, as DataFusion keeps it: values are added by Welford's
/// rule, and states merged by Chan's, so that nothing is lost when the mean is large and the spread is small.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Spread {
    pub count: u64,
    pub mean: f64,
    /// The sum of the squared distances from the mean.
    pub squares: f64,
}

impl Spread {
    /// With one more value. Generated code does the same steps in the same order.
    #[inline(always)]
    #[must_use]
    pub fn with(self, value: f64) -> Spread {
        let count = self.count + 1;
        let before = value - self.mean;
        let mean = before / count as f64 + self.mean;
        let after = value - mean;
        Spread { count, mean, squares: self.squares + before * after }
    }

    /// With the values of another state.
    #[inline(always)]
    #[must_use]
    pub fn merged(self, other: Spread) -> Spread {
        if other.count == 0 {
            return self;
        }
        if self.count == 0 {
            return other;
        }
        let count = self.count + other.count;
        let (n, m, all) = (self.count as f64, other.count as f64, count as f64);
        let distance = self.mean - other.mean;
        Spread {
            count,
            mean: self.mean * n / all + other.mean * m / all,
            squares: self.squares + other.squares + distance * distance * n * m / all,
        }
    }

    /// Which of several NaNs came out depends on the order of operands in machine code.
    #[must_use]
    pub fn with_one_nan(self) -> Spread {
        let one = |v: f64| if v.is_nan() { f64::NAN } else { v };
        Spread { count: self.count, mean: one(self.mean), squares: one(self.squares) }
    }

    /// # Safety
    /// Three words can be read at `at`.
    #[inline(always)]
    pub unsafe fn read(at: *const u64) -> Spread {
        // SAFETY: the caller's promise.
        unsafe {
            Spread { count: *at, mean: f64::from_bits(*at.add(1)), squares: f64::from_bits(*at.add(2)) }
        }
    }

    /// # Safety
    /// Three words can be written at `at`.
    #[inline(always)]
    pub unsafe fn write(self, at: *mut u64) {
        // SAFETY: the caller's promise.
        unsafe {
            *at = self.count;
            *at.add(1) = self.mean.to_bits();
            *at.add(2) = self.squares.to_bits();
        }
    }
}

/// The text that a cell points at, if there is one.
///
/// # Safety
/// Two words can be read at `at`, and the text lives as long as is claimed.
#[inline(always)]
pub unsafe fn read_text<'t>(at: *const u64) -> Option<&'t [u8]> {
    // SAFETY: the caller's promise.
    unsafe {
        let len = (*at as usize).checked_sub(1)?;
        Some(std::slice::from_raw_parts(*at.add(1) as *const u8, len))
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
