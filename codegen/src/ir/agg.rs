//! Aggregates: what a sink accumulates over a morsel, and how morsels are merged.
//!
//! avg is sum and count, divided by whoever finishes the query; sum's argument already has the
//! type of the sum (the planner casts). A row counts if it is live, the filter (if any) is
//! true-and-valid, and the argument (if any) is valid.
//!
//! Float sums are defined to the last bit: within a chunk of [`super::CHUNK`] source rows, the row
//! at position `j` after the loop's last filter belongs to running sum `j % 8`; the eight sums run
//! on over the chunks of a morsel, start at 0.0, add 0.0 for a row that does not count, and are
//! combined by [`combine_f64`]. Morsels are merged in their order. So the result depends on the
//! data and where morsels are cut, never on threads. A sum that is not a number is the one NaN,
//! whatever NaNs went in.
//!
//! A spread runs over a morsel's rows in their order, one after the other, and is merged like sums; it has the one
//! NaN too.
//!
//! By group the same functions accumulate into cells of a table, see [`crate::groups`], where a float sum
//! has its own order, and there is no count but by [`AggFunc::Count`].

use super::pipeline::ValueId;
use super::types::Ty;
use fuseline_kernels::group::Spread;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AggFunc {
    /// Rows that count; no argument means `count(*)`.
    Count,
    /// I64, U64 and I128 wrap; F64 as above.
    Sum,
    /// By the order of `Cmp`, except that floats keep the bits of the value found: among equal
    /// zeros -0.0 is the lesser. Numeric types and text.
    Min,
    Max,
    /// Count, mean and squared distances of F64, which variances are made of; see [`Spread`].
    Spread,
}

/// One aggregate of a sink.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Agg {
    pub func: AggFunc,
    /// `None` only for `Count`.
    pub arg: Option<ValueId>,
    /// A Bool; rows on which it is not true-and-valid do not count.
    pub filter: Option<ValueId>,
    /// Type of the state's value: the argument's, or `I64` for `Count`.
    pub ty: Ty,
}

/// The value part of a state, after its running parts were combined.
#[derive(Clone, Debug, PartialEq)]
pub enum AggValue {
    Int(i128),
    Float(f64),
    /// Owned: the batch that the text was in is long gone when states are merged.
    Text(String),
    Spread(Spread),
}

/// The state of one aggregate over some rows: `count` rows counted; `value` is the sum, minimum or
/// maximum so far (for `Count` the count again) and means nothing while `count` is 0, except that a
/// sum is then 0.
#[derive(Clone, Debug, PartialEq)]
pub struct AggState {
    pub count: u64,
    pub value: AggValue,
}

impl AggState {
    pub fn empty(agg: &Agg) -> AggState {
        let value = match agg.ty {
            _ if agg.func == AggFunc::Spread => AggValue::Spread(Spread::default()),
            Ty::F32 | Ty::F64 => AggValue::Float(0.0),
            Ty::Str => AggValue::Text(String::new()),
            Ty::Bool
            | Ty::I8
            | Ty::I16
            | Ty::I32
            | Ty::I64
            | Ty::I128
            | Ty::U8
            | Ty::U16
            | Ty::U32
            | Ty::U64 => AggValue::Int(0),
        };
        AggState { count: 0, value }
    }

    /// Merges the state of later rows into this one.
    pub fn merge(&mut self, later: &AggState, agg: &Agg) {
        if later.count == 0 {
            return;
        }
        if self.count == 0 {
            self.clone_from(later);
            return;
        }
        self.count += later.count;
        let empty = AggValue::Int(0);
        self.value = match (agg.func, std::mem::replace(&mut self.value, empty), &later.value) {
            (AggFunc::Count, AggValue::Int(a), AggValue::Int(b)) => AggValue::Int(a.wrapping_add(*b)),
            (AggFunc::Sum, AggValue::Int(a), AggValue::Int(b)) => {
                AggValue::Int(wrap_to(agg.ty, a.wrapping_add(*b)))
            }
            (AggFunc::Min, AggValue::Int(a), AggValue::Int(b)) => AggValue::Int(a.min(*b)),
            (AggFunc::Max, AggValue::Int(a), AggValue::Int(b)) => AggValue::Int(a.max(*b)),
            (AggFunc::Sum, AggValue::Float(a), AggValue::Float(b)) => AggValue::Float(one_nan(a + b)),
            (AggFunc::Min, AggValue::Float(a), AggValue::Float(b)) => {
                AggValue::Float(if b.total_cmp(&a).is_lt() { *b } else { a })
            }
            (AggFunc::Max, AggValue::Float(a), AggValue::Float(b)) => {
                AggValue::Float(if b.total_cmp(&a).is_gt() { *b } else { a })
            }
            (AggFunc::Spread, AggValue::Spread(a), AggValue::Spread(b)) => {
                AggValue::Spread(a.merged(*b).with_one_nan())
            }
            (AggFunc::Min, AggValue::Text(a), AggValue::Text(b)) => {
                AggValue::Text(if *b < a { b.clone() } else { a })
            }
            (AggFunc::Max, AggValue::Text(a), AggValue::Text(b)) => {
                AggValue::Text(if *b > a { b.clone() } else { a })
            }
            (_, a, _) => {
                debug_assert!(false, "states of different aggregates were merged");
                a
            }
        };
    }
}

/// Reduces an integer to the type's width, two's complement.
pub fn wrap_to(ty: Ty, v: i128) -> i128 {
    match ty {
        Ty::I8 => i128::from(v as i8),
        Ty::I16 => i128::from(v as i16),
        Ty::I32 => i128::from(v as i32),
        Ty::I64 => i128::from(v as i64),
        Ty::U8 => i128::from(v as u8),
        Ty::U16 => i128::from(v as u16),
        Ty::U32 => i128::from(v as u32),
        Ty::U64 => i128::from(v as u64),
        Ty::I128 | Ty::Bool | Ty::F32 | Ty::F64 | Ty::Str => v,
    }
}

/// Combines the eight running sums of a float sum, in the order that halving a vector gives.
pub fn combine_f64(s: &[f64; 8]) -> f64 {
    one_nan(((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7])))
}

/// Which of two NaNs an addition keeps depends on the order of its operands in the machine code.
fn one_nan(sum: f64) -> f64 {
    if sum.is_nan() { f64::NAN } else { sum }
}
