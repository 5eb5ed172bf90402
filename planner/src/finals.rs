//! From the merged states of an ungrouped aggregate to the one row it returns.

use arrow::datatypes::{DataType, TimeUnit, i256};
use datafusion::common::{Result, ScalarValue, exec_err, internal_err};
use fuseline_codegen::ir::{AggState, AggValue, Spread};

/// How one output column comes from a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// The number of rows counted; 0 if none.
    Count,
    /// The state's value; null if no row counted. For sum, min and max.
    Value,
    /// Sum over count as Float64; null if no row counted.
    AvgFloat,
    /// Sum over count of decimals: the sum has `sum_scale`, the result the output type's scale.
    /// `wide` says that the sum has more digits of headroom than 38, so that only the result can
    /// overflow.
    AvgDecimal { sum_scale: i8, wide: bool },
    /// A variance, or a standard deviation, of Float64.
    Spread(SpreadResult),
}

/// What is wanted of the spread of values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpreadResult {
    /// Of a sample: divided by one value less; null for a single one.
    pub sample: bool,
    /// The standard deviation rather than the variance.
    pub root: bool,
}

impl SpreadResult {
    /// `None` where there are too few values.
    pub fn of(self, spread: Spread) -> Option<f64> {
        let divisor = if self.sample { spread.count.saturating_sub(1) } else { spread.count };
        let variance = spread.squares / divisor as f64;
        (divisor > 0).then_some(if self.root { variance.sqrt() } else { variance })
    }
}

/// One column of the row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FinalColumn {
    /// Index of the loop's aggregate.
    pub agg: usize,
    pub how: Finish,
    pub data_type: DataType,
}

impl FinalColumn {
    /// The column's value. Errs when an average does not fit its decimal type.
    pub fn finish(&self, states: &[AggState]) -> Result<ScalarValue> {
        let Some(state) = states.get(self.agg) else {
            return internal_err!("aggregate {} has no state", self.agg);
        };
        match self.how {
            Finish::Count => Ok(ScalarValue::Int64(Some(state.count as i64))),
            _ if state.count == 0 => ScalarValue::try_from(&self.data_type),
            Finish::Value => scalar(&self.data_type, &state.value),
            Finish::AvgFloat => match &state.value {
                AggValue::Float(sum) => Ok(ScalarValue::Float64(Some(sum / state.count as f64))),
                AggValue::Int(_) | AggValue::Text(_) | AggValue::Spread(_) => {
                    internal_err!("a float average over another sum")
                }
            },
            Finish::Spread(wanted) => match &state.value {
                // Of one value DataFusion says 0 without a look, also where that is no number.
                AggValue::Spread(s) if s.count == 1 && !wanted.sample => Ok(ScalarValue::Float64(Some(0.0))),
                AggValue::Spread(s) => Ok(ScalarValue::Float64(wanted.of(*s))),
                AggValue::Int(_) | AggValue::Float(_) | AggValue::Text(_) => {
                    internal_err!("a variance of a state that has none")
                }
            },
            Finish::AvgDecimal { sum_scale, wide } => match (&state.value, &self.data_type) {
                (AggValue::Int(sum), DataType::Decimal128(p, s)) => {
                    let avg = decimal_avg(*sum, state.count, sum_scale, *p, *s, wide)?;
                    Ok(ScalarValue::Decimal128(Some(avg), *p, *s))
                }
                _ => internal_err!("a decimal average of type {}", self.data_type),
            },
        }
    }
}

/// The sum is scaled up first, then divided truncating; both must fit, as in DataFusion.
pub(crate) fn decimal_avg(
    sum: i128,
    count: u64,
    sum_scale: i8,
    precision: u8,
    scale: i8,
    wide: bool,
) -> Result<i128> {
    let fits = |v: &i128| v.unsigned_abs() < 10u128.pow(u32::from(precision));
    let avg = u32::try_from(i16::from(scale) - i16::from(sum_scale)).ok().and_then(|up| {
        let factor = 10i128.checked_pow(up)?;
        if wide {
            let scaled = i256::from_i128(sum).checked_mul(i256::from_i128(factor))?;
            scaled.checked_div(i256::from_i128(i128::from(count)))?.to_i128()
        } else {
            Some(sum.checked_mul(factor)? / i128::from(count))
        }
    });
    match avg.filter(fits) {
        Some(v) => Ok(v),
        None => exec_err!("Arithmetic Overflow in AvgAccumulator"),
    }
}

/// A physical value as a scalar of an Arrow type.
pub fn scalar(data_type: &DataType, value: &AggValue) -> Result<ScalarValue> {
    use ScalarValue as S;
    let mismatch = || internal_err!("a value {value:?} of type {data_type}");
    let int = match value {
        AggValue::Float(v) => {
            return match data_type {
                DataType::Float64 => Ok(S::Float64(Some(*v))),
                DataType::Float32 => Ok(S::Float32(Some(*v as f32))),
                _ => mismatch(),
            };
        }
        AggValue::Text(v) => {
            return match data_type {
                DataType::Utf8 => Ok(S::Utf8(Some(v.clone()))),
                DataType::LargeUtf8 => Ok(S::LargeUtf8(Some(v.clone()))),
                DataType::Utf8View => Ok(S::Utf8View(Some(v.clone()))),
                DataType::Dictionary(key, of) => Ok(S::Dictionary(key.clone(), Box::new(scalar(of, value)?))),
                _ => mismatch(),
            };
        }
        AggValue::Spread(_) => return mismatch(),
        AggValue::Int(v) => *v,
    };
    let v64 = int as i64;
    Ok(match data_type {
        DataType::Boolean => S::Boolean(Some(int != 0)),
        DataType::Int8 => S::Int8(Some(int as i8)),
        DataType::Int16 => S::Int16(Some(int as i16)),
        DataType::Int32 => S::Int32(Some(int as i32)),
        DataType::Int64 => S::Int64(Some(v64)),
        DataType::UInt8 => S::UInt8(Some(int as u8)),
        DataType::UInt16 => S::UInt16(Some(int as u16)),
        DataType::UInt32 => S::UInt32(Some(int as u32)),
        DataType::UInt64 => S::UInt64(Some(int as u64)),
        DataType::Decimal128(p, s) => S::Decimal128(Some(int), *p, *s),
        DataType::Date32 => S::Date32(Some(int as i32)),
        DataType::Date64 => S::Date64(Some(v64)),
        DataType::Time32(TimeUnit::Second) => S::Time32Second(Some(int as i32)),
        DataType::Time32(TimeUnit::Millisecond) => S::Time32Millisecond(Some(int as i32)),
        DataType::Time64(TimeUnit::Microsecond) => S::Time64Microsecond(Some(v64)),
        DataType::Time64(TimeUnit::Nanosecond) => S::Time64Nanosecond(Some(v64)),
        DataType::Timestamp(TimeUnit::Second, tz) => S::TimestampSecond(Some(v64), tz.clone()),
        DataType::Timestamp(TimeUnit::Millisecond, tz) => S::TimestampMillisecond(Some(v64), tz.clone()),
        DataType::Timestamp(TimeUnit::Microsecond, tz) => S::TimestampMicrosecond(Some(v64), tz.clone()),
        DataType::Timestamp(TimeUnit::Nanosecond, tz) => S::TimestampNanosecond(Some(v64), tz.clone()),
        DataType::Duration(TimeUnit::Second) => S::DurationSecond(Some(v64)),
        DataType::Duration(TimeUnit::Millisecond) => S::DurationMillisecond(Some(v64)),
        DataType::Duration(TimeUnit::Microsecond) => S::DurationMicrosecond(Some(v64)),
        DataType::Duration(TimeUnit::Nanosecond) => S::DurationNanosecond(Some(v64)),
        _ => return mismatch(),
    })
}
