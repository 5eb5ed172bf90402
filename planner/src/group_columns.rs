//! From the settled table of a grouping stage to its output columns.

use crate::finals::{SpreadResult, decimal_avg};
use arrow::array::{ArrayRef, BooleanArray, Decimal128Array, Float64Array, Int64Array, UInt64Array};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use datafusion::common::{DataFusionError, Result, internal_err};
use fuseline_codegen::groups::Groups;
use fuseline_codegen::run::EvalError;
use std::ops::Range;
use std::sync::Arc;

/// How one output column comes from a table. Aggregates are named by their index in the loop's sink; those
/// called `count` count the rows that the column's aggregate has seen, and where it saw none it is null.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupColumn {
    Key(usize),
    Count {
        agg: usize,
    },
    /// A count as the state of an average: UInt64, null for none.
    CountState {
        agg: usize,
    },
    /// A sum, a minimum or a maximum. Without `count` every group has seen a row.
    Value {
        agg: usize,
        count: Option<usize>,
    },
    /// A minimum or maximum of booleans that were numbers.
    Truth {
        agg: usize,
        count: Option<usize>,
    },
    AvgFloat {
        agg: usize,
        count: usize,
    },
    /// As [`crate::Finish::AvgDecimal`].
    AvgDecimal {
        agg: usize,
        count: usize,
        sum_scale: i8,
        wide: bool,
    },
    /// A variance or a standard deviation.
    Spread {
        agg: usize,
        wanted: SpreadResult,
    },
    /// The parts of its state, which are never null.
    SpreadCount {
        agg: usize,
    },
    SpreadMean {
        agg: usize,
    },
    SpreadSquares {
        agg: usize,
    },
}

impl GroupColumn {
    /// The column of some groups, as an array of this type.
    ///
    /// # Errors
    /// When an average does not fit its decimal type, or a dictionary its keys.
    pub fn array(&self, groups: &Groups, rows: Range<usize>, data_type: &DataType) -> Result<ArrayRef> {
        let counted = |count: usize| -> NullBuffer {
            let seen: BooleanBuffer = groups.counts(count, rows.clone()).map(|n| n > 0).collect();
            NullBuffer::new(seen)
        };
        Ok(match self {
            GroupColumn::Key(key) => {
                let array = groups.key_array(*key, rows).map_err(internal)?;
                if array.data_type() == data_type { array } else { cast(&array, data_type)? }
            }
            GroupColumn::Count { agg } => {
                Arc::new(groups.counts(*agg, rows).map(|n| n as i64).collect::<Int64Array>())
            }
            GroupColumn::CountState { agg } => {
                let counts: Vec<u64> = groups.counts(*agg, rows.clone()).collect();
                Arc::new(UInt64Array::new(counts.into(), some_nulls(counted(*agg))))
            }
            GroupColumn::Value { agg, count } => {
                let valid = count.map(counted);
                let DataType::Dictionary(_, values) = data_type else {
                    return groups.agg_array(*agg, rows, data_type, valid).map_err(internal);
                };
                cast(&groups.agg_array(*agg, rows, values, valid).map_err(internal)?, data_type)?
            }
            GroupColumn::Truth { agg, count } => {
                let bits: BooleanBuffer = groups.counts(*agg, rows.clone()).map(|v| v == 1).collect();
                Arc::new(BooleanArray::new(bits, count.map(counted).and_then(some_nulls)))
            }
            GroupColumn::AvgFloat { agg, count } => {
                let pairs = groups.floats(*agg, rows.clone()).zip(groups.counts(*count, rows.clone()));
                let averages: Vec<f64> = pairs.map(|(sum, n)| sum / n as f64).collect();
                Arc::new(Float64Array::new(averages.into(), some_nulls(counted(*count))))
            }
            GroupColumn::Spread { agg, wanted } => {
                Arc::new(groups.spreads(*agg, rows).map(|s| wanted.of(s)).collect::<Float64Array>())
            }
            GroupColumn::SpreadCount { agg } => {
                let counts: Vec<u64> = groups.spreads(*agg, rows).map(|s| s.count).collect();
                Arc::new(UInt64Array::from(counts))
            }
            GroupColumn::SpreadMean { agg } => {
                let means: Vec<f64> = groups.spreads(*agg, rows).map(|s| s.mean).collect();
                Arc::new(Float64Array::from(means))
            }
            GroupColumn::SpreadSquares { agg } => {
                let squares: Vec<f64> = groups.spreads(*agg, rows).map(|s| s.squares).collect();
                Arc::new(Float64Array::from(squares))
            }
            GroupColumn::AvgDecimal { agg, count, sum_scale, wide } => {
                let DataType::Decimal128(precision, scale) = data_type else {
                    return internal_err!("a decimal average of type {data_type}");
                };
                let pairs = groups.wides(*agg, rows.clone()).zip(groups.counts(*count, rows));
                let averages = pairs.map(|(sum, n)| match n {
                    0 => Ok(None),
                    n => decimal_avg(sum, n, *sum_scale, *precision, *scale, *wide).map(Some),
                });
                let averages: Decimal128Array = averages.collect::<Result<_>>()?;
                Arc::new(averages.with_data_type(data_type.clone()))
            }
        })
    }
}

fn some_nulls(nulls: NullBuffer) -> Option<NullBuffer> {
    Some(nulls).filter(|n| n.null_count() > 0)
}

fn internal(e: EvalError) -> DataFusionError {
    DataFusionError::Internal(e.to_string())
}
