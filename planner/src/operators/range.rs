//! `range(...)` and `generate_series(...)`: rows made inside the loop.
//!
//! DataFusion plans them as a `LazyMemoryExec` whose generator is public. Row `i` is
//! `start + i * step`; series of instants qualify when their step is a fixed number of nanoseconds
//! (whole months, and days in a zone with summer time, are not).

use super::{Plan, one_line};
use crate::expr::{Col, Scope, StageBuilder, is_utc};
use crate::stage::Source;
use arrow::datatypes::{DataType, SchemaRef, TimeUnit};
use datafusion::functions_table::generate_series::{GenericSeriesState, TimestampValue};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::memory::LazyMemoryExec;
use fuseline_codegen::ir::{Lit, Op, Overflow};

/// An arithmetic series of I64.
pub(super) struct Range {
    start: i64,
    step: i64,
    rows: u64,
    text: String,
    /// The series' column, or none of it.
    schema: SchemaRef,
}

impl Range {
    pub fn match_at(plan: &Plan) -> Option<Range> {
        let exec = plan.downcast_ref::<LazyMemoryExec>()?;
        let schema = exec.schema();
        if schema.fields().len() > 1 {
            return None;
        }
        let [generator] = exec.generators().as_slice() else { return None };
        let generator = generator.read();
        let (start, end, step, inclusive) =
            if let Some(s) = generator.as_any().downcast_ref::<GenericSeriesState<i64>>() {
                (*s.start(), *s.end(), *s.step(), s.include_end())
            } else if let Some(s) = generator.as_any().downcast_ref::<GenericSeriesState<TimestampValue>>() {
                let step = s.step();
                let zone = s.start().tz_str().cloned();
                let days = i64::from(step.days);
                if step.months != 0 || (days != 0 && !is_utc(&zone)) {
                    return None;
                }
                // Mixed signs end at a bound that only the generator knows.
                if days.signum() * step.nanoseconds.signum() < 0 {
                    return None;
                }
                let ns = days.checked_mul(86_400_000_000_000)?.checked_add(step.nanoseconds)?;
                (s.start().value(), s.end().value(), ns, s.include_end())
            } else {
                return None;
            };
        let rows = count(start, end, step, inclusive)?;
        let known =
            |t: &DataType| matches!(t, DataType::Int64 | DataType::Timestamp(TimeUnit::Nanosecond, _));
        if schema.fields().first().is_some_and(|f| !known(f.data_type())) {
            return None;
        }
        drop(generator);
        Some(Range { start, step, rows, text: one_line(plan), schema })
    }

    pub fn source(&self) -> Source {
        Source::Range { rows: self.rows, text: self.text.clone() }
    }

    /// The series' column as a value of the program.
    pub fn scope(&self, b: &mut StageBuilder) -> Result<Scope, String> {
        let mut cols = vec![];
        if let Some(field) = self.schema.fields().first() {
            let mut id = b.total(Op::RowIndex, &[])?;
            if self.step != 1 {
                let step = b.ir.lit(Lit::I64(self.step));
                id = b.total(Op::Mul(Overflow::Wrap), &[id, step])?;
            }
            if self.start != 0 {
                let start = b.ir.lit(Lit::I64(self.start));
                id = b.total(Op::Add(Overflow::Wrap), &[id, start])?;
            }
            cols.push(Col::Value { id, data_type: field.data_type().clone() });
        }
        Ok(Scope { schema: self.schema.clone(), cols })
    }
}

/// Rows of a node that is a series; `None` if it is anything else, or one that no loop can make.
pub fn series_rows(plan: &Plan) -> Option<u64> {
    Range::match_at(plan).map(|range| range.rows)
}

/// Rows of the series; `None` for a step of zero.
fn count(start: i64, end: i64, step: i64, inclusive: bool) -> Option<u64> {
    if step == 0 {
        return None;
    }
    let (start, end, step) = (i128::from(start), i128::from(end), i128::from(step));
    let distance = if step > 0 { end - start } else { start - end };
    let last = if inclusive { distance } else { distance - 1 };
    if last < 0 { Some(0) } else { u64::try_from(last / step.abs() + 1).ok() }
}

#[cfg(test)]
mod tests {
    use super::count;

    #[test]
    fn counts_as_the_generator_does() {
        assert_eq!(count(0, 10, 1, false), Some(10));
        assert_eq!(count(0, 10, 1, true), Some(11));
        assert_eq!(count(0, 10, 3, false), Some(4));
        assert_eq!(count(0, 9, 3, false), Some(3));
        assert_eq!(count(0, 9, 3, true), Some(4));
        assert_eq!(count(10, 0, -5, true), Some(3));
        assert_eq!(count(10, 0, -5, false), Some(2));
        assert_eq!(count(5, 5, 1, false), Some(0));
        assert_eq!(count(5, 5, 1, true), Some(1));
        assert_eq!(count(6, 5, 1, true), Some(0));
        assert_eq!(count(i64::MIN, i64::MAX, 1, false), Some(u64::MAX));
        assert_eq!(count(i64::MIN, i64::MAX, 1, true), None);
        assert_eq!(count(1, 2, 0, true), None);
    }
}
