//! Columns of random numbers for the pipelines, the same at every run.

use std::sync::Arc;

use arrow::array::{ArrayRef, Date32Array, Decimal128Array, Float64Array, Int32Array, Int64Array};
use arrow::buffer::{BooleanBuffer, NullBuffer};

/// A stream of random 64-bit words (splitmix64).
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in 0..bound.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.word()) * u128::from(bound)) >> 64) as u64
    }

    /// Uniform in 0..1.
    pub fn unit(&mut self) -> f64 {
        (self.word() >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// What a column holds.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// Doubles, uniform in 0..1.
    Unit,
    /// Doubles 0.00, 0.01 ... 0.10.
    Discount,
    /// Doubles 1 ... 50.
    Quantity,
    /// Doubles 900 ... 105,000.
    Price,
    /// Days of 1992 ... 1998.
    Date,
    /// 32-bit integers 0 ... 99.
    Percent,
    /// 64-bit integers of both signs.
    Long,
    /// decimal(15, 2) 900.00 ... 105,000.00.
    DecimalPrice,
    /// decimal(15, 2) 0.00 ... 0.10.
    DecimalPart,
    /// Doubles in 0..1 of which one in ten is NULL.
    Nullable,
}

impl Kind {
    /// `rows` values; `seed` tells columns of one kind apart.
    pub fn column(self, rows: usize, seed: u64) -> ArrayRef {
        let mut random = Random::new(seed.wrapping_mul(0x1234_5678_9abc_def1));
        let mut doubles = |f: &dyn Fn(&mut Random) -> f64| -> ArrayRef {
            Arc::new(Float64Array::from_iter_values((0..rows).map(|_| f(&mut random))))
        };
        match self {
            Self::Unit => doubles(&Random::unit),
            Self::Discount => doubles(&|r| r.below(11) as f64 / 100.0),
            Self::Quantity => doubles(&|r| (1 + r.below(50)) as f64),
            Self::Price => doubles(&|r| 900.0 + r.below(10_410_000) as f64 / 100.0),
            Self::Date => {
                Arc::new(Date32Array::from_iter_values((0..rows).map(|_| 8035 + random.below(2557) as i32)))
            }
            Self::Percent => {
                Arc::new(Int32Array::from_iter_values((0..rows).map(|_| random.below(100) as i32)))
            }
            Self::Long => {
                Arc::new(Int64Array::from_iter_values((0..rows).map(|_| random.word() as i64 >> 8)))
            }
            Self::DecimalPrice => decimals(rows, || 90_000 + random.below(10_410_000)),
            Self::DecimalPart => decimals(rows, || random.below(11)),
            Self::Nullable => {
                let values = Float64Array::from_iter_values((0..rows).map(|_| random.unit()));
                let valid = BooleanBuffer::collect_bool(rows, |_| random.below(10) != 0);
                let (_, values, _) = values.into_parts();
                Arc::new(Float64Array::new(values, Some(NullBuffer::new(valid))))
            }
        }
    }
}

fn decimals(rows: usize, mut next: impl FnMut() -> u64) -> ArrayRef {
    let values = Decimal128Array::from_iter_values((0..rows).map(|_| i128::from(next())));
    Arc::new(values.with_precision_and_scale(15, 2).expect("15 digits, 2 of them a fraction"))
}
