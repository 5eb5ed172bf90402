//! What happens to the rows that reach the end of the loop.

use super::super::agg::{Agg, AggFunc, AggState, AggValue, combine_f64, wrap_to};
use super::super::pipeline::{Emit, Loop, Sink};
use super::super::{CHUNK, GROUP};
use super::arith::Float;
use super::arrays;
use super::column::{Column, Data};
use crate::groups::{Groups, KeyWord, update_cell};
use crate::run::{EvalError, LoopOutput};
use arrow::array::UInt32Array;
use fuseline_kernels::group::Cell;
use std::sync::Arc;

/// What the chunks so far have left behind.
pub(super) struct SinkState<'a, 'g> {
    source: &'a Loop,
    rows: usize,
    /// Of an emitting sink: one column per computed output, `None` for passengers.
    columns: Vec<Option<Column<'a>>>,
    selection: Vec<u32>,
    accumulators: Vec<Accumulator>,
    /// Of a grouping sink.
    groups: Option<&'g mut Groups>,
}

impl<'a, 'g> SinkState<'a, 'g> {
    pub fn new(source: &'a Loop, groups: Option<&'g mut Groups>) -> SinkState<'a, 'g> {
        let (columns, accumulators) = match &source.sink {
            Sink::Emit(emits) => {
                let columns = emits.iter().map(|e| match e {
                    Emit::Value { value, .. } => Some(Column::empty(source.value(*value).ty)),
                    Emit::Passenger { .. } => None,
                });
                (columns.collect(), vec![])
            }
            Sink::Aggregate(aggs) => (vec![], aggs.iter().map(Accumulator::new).collect()),
            Sink::Group { .. } => (vec![], vec![]),
        };
        let mut groups = groups;
        if let Some(groups) = groups.as_deref_mut() {
            groups.view();
        }
        SinkState { source, rows: 0, columns, selection: vec![], accumulators, groups }
    }

    /// Takes over a chunk: its values and the positions of its live rows; `start` is the chunk's
    /// first row in the morsel.
    pub fn consume(
        &mut self,
        values: &[Option<Column<'a>>],
        live: &[usize],
        start: usize,
    ) -> Result<(), EvalError> {
        let value = |v: usize| {
            values[v].as_ref().ok_or_else(|| EvalError::Binding(format!("v{v} is emitted but not computed")))
        };
        self.rows += live.len();
        match &self.source.sink {
            Sink::Emit(emits) => {
                for (emit, column) in emits.iter().zip(&mut self.columns) {
                    if let (Emit::Value { value: v, .. }, Some(column)) = (emit, column) {
                        column.append(value(v.index())?);
                    }
                }
                if self.source.needs_selection() {
                    self.selection.extend(live.iter().map(|i| (start + i) as u32));
                }
            }
            Sink::Aggregate(aggs) => {
                for (agg, accumulator) in aggs.iter().zip(&mut self.accumulators) {
                    let arg = agg.arg.map(|v| value(v.index())).transpose()?;
                    let filter = agg.filter.map(|v| value(v.index())).transpose()?;
                    for j in 0..live.len() {
                        if filter.is_none_or(|f| f.is_true(j)) && arg.is_none_or(|a| a.valid[j]) {
                            accumulator.add(agg, j, arg);
                        }
                    }
                }
            }
            Sink::Group { keys, aggs } => {
                let Some(groups) = self.groups.as_deref_mut() else {
                    return Err(EvalError::Binding("a grouping loop was run without a table".to_owned()));
                };
                let keys: Vec<_> = keys.iter().map(|k| value(k.value.index())).collect::<Result<_, _>>()?;
                let layout = Arc::clone(groups.layout());
                let key_words = layout.shape.key_words();
                let mut packed = vec![0u64; key_words * live.len()];
                for (j, row) in packed.chunks_exact_mut(key_words).enumerate() {
                    for (key, place) in keys.iter().zip(&layout.keys) {
                        key_word(key, j).pack(place, row);
                    }
                }
                // SAFETY: they were packed as the layout says, and the texts are in the morsel.
                let Some(targets) = (unsafe { groups.find(&packed, live.len()) }) else {
                    return Err(EvalError::Binding("there are too many groups".to_owned()));
                };
                for (j, target) in targets.into_iter().enumerate() {
                    // A group is there also where no aggregate counts the row.
                    groups.cells(target, j);
                    for (agg, cell) in aggs.iter().zip(&layout.shape.cells) {
                        let arg = agg.arg.map(|v| value(v.index())).transpose()?;
                        let filter = agg.filter.map(|v| value(v.index())).transpose()?;
                        if filter.is_none_or(|f| f.is_true(j)) && arg.is_none_or(|a| a.valid[j]) {
                            let one = arg.map_or(AggValue::Int(1), |arg| self::value(arg, j));
                            if let (AggValue::Text(text), true) = (&one, cell.kind.is_text()) {
                                groups.offer_text(target, *cell, text);
                                continue;
                            }
                            let (record, skipped) = groups.cells(target, j);
                            let cell = Cell { kind: cell.kind, word: cell.word - skipped };
                            update_cell(record, cell, agg.func, agg.ty, &one);
                        }
                    }
                }
            }
        }
        Ok(())
    }

    pub fn finish(self) -> Result<LoopOutput, EvalError> {
        let mut columns = Vec::new();
        if let Sink::Emit(emits) = &self.source.sink {
            for (emit, column) in emits.iter().zip(self.columns) {
                columns.push(match (emit, column) {
                    (Emit::Value { data_type, nullable, .. }, Some(column)) => {
                        if !*nullable && column.valid.contains(&false) {
                            return Err(EvalError::Binding("an output without nulls got one".to_owned()));
                        }
                        Some(arrays::store(column, data_type)?)
                    }
                    (Emit::Value { .. } | Emit::Passenger { .. }, _) => None,
                });
            }
        }
        let selection = self.source.needs_selection().then(|| UInt32Array::from(self.selection));
        let aggs = self.accumulators.iter().map(Accumulator::state).collect();
        Ok(LoopOutput { rows: self.rows, columns, selection, aggs, bailed: false })
    }
}

/// An aggregate over the rows of the morsel so far.
struct Accumulator {
    state: AggState,
    /// The running sums of a float sum.
    sums: Option<[f64; GROUP]>,
}

impl Accumulator {
    fn new(agg: &Agg) -> Accumulator {
        let sums = (agg.func == AggFunc::Sum && agg.ty.is_float()).then_some([0.0; GROUP]);
        Accumulator { state: AggState::empty(agg), sums }
    }

    /// Counts row `j` of a chunk (its position after the last filter).
    fn add(&mut self, agg: &Agg, j: usize, arg: Option<&Column<'_>>) {
        debug_assert!(j < CHUNK);
        self.state.count += 1;
        let value = match (agg.func, arg) {
            (AggFunc::Count, _) => AggValue::Int(1),
            (AggFunc::Sum | AggFunc::Min | AggFunc::Max | AggFunc::Spread, Some(arg)) => value(arg, j),
            (AggFunc::Sum | AggFunc::Min | AggFunc::Max | AggFunc::Spread, None) => AggValue::Int(0),
        };
        let first = self.state.count == 1;
        let so_far = std::mem::replace(&mut self.state.value, AggValue::Int(0));
        self.state.value = match (agg.func, so_far, value) {
            (AggFunc::Sum, so_far, AggValue::Float(v)) => {
                if let Some(sums) = &mut self.sums {
                    sums[j % GROUP] = Float::add(sums[j % GROUP], v);
                }
                so_far
            }
            (AggFunc::Count | AggFunc::Sum, AggValue::Int(a), AggValue::Int(b)) => {
                AggValue::Int(wrap_to(agg.ty, a.wrapping_add(b)))
            }
            (AggFunc::Min | AggFunc::Max, _, v) if first => v,
            (AggFunc::Min, AggValue::Int(a), AggValue::Int(b)) => AggValue::Int(a.min(b)),
            (AggFunc::Max, AggValue::Int(a), AggValue::Int(b)) => AggValue::Int(a.max(b)),
            (AggFunc::Min, AggValue::Float(a), AggValue::Float(b)) => {
                AggValue::Float(if b.total_cmp(&a).is_lt() { b } else { a })
            }
            (AggFunc::Max, AggValue::Float(a), AggValue::Float(b)) => {
                AggValue::Float(if b.total_cmp(&a).is_gt() { b } else { a })
            }
            (AggFunc::Spread, AggValue::Spread(so_far), AggValue::Float(v)) => {
                AggValue::Spread(so_far.with(v))
            }
            (AggFunc::Min, AggValue::Text(a), AggValue::Text(b)) => AggValue::Text(a.min(b)),
            (AggFunc::Max, AggValue::Text(a), AggValue::Text(b)) => AggValue::Text(a.max(b)),
            (_, so_far, _) => so_far,
        };
    }

    fn state(&self) -> AggState {
        match &self.sums {
            Some(sums) => AggState { count: self.state.count, value: AggValue::Float(combine_f64(sums)) },
            None => match self.state.value {
                AggValue::Spread(spread) => {
                    AggState { count: self.state.count, value: AggValue::Spread(spread.with_one_nan()) }
                }
                AggValue::Int(_) | AggValue::Float(_) | AggValue::Text(_) => self.state.clone(),
            },
        }
    }
}

/// Row `j` of a key.
pub(super) fn key_word<'a>(column: &Column<'a>, j: usize) -> KeyWord<'a> {
    if !column.valid[j] {
        return KeyWord::Null;
    }
    KeyWord::Number(match &column.data {
        Data::I8(v) => i128::from(v[j]),
        Data::I16(v) => i128::from(v[j]),
        Data::I32(v) => i128::from(v[j]),
        Data::I64(v) => i128::from(v[j]),
        Data::I128(v) => v[j],
        Data::U8(v) => i128::from(v[j]),
        Data::U16(v) => i128::from(v[j]),
        Data::U32(v) => i128::from(v[j]),
        Data::U64(v) => i128::from(v[j]),
        Data::F32(v) => i128::from(v[j].to_bits()),
        Data::F64(v) => i128::from(v[j].to_bits()),
        Data::Bool(v) => i128::from(v[j]),
        Data::Str(v) => return KeyWord::Text(v[j]),
    })
}

/// Row `j` of a column.
fn value(column: &Column<'_>, j: usize) -> AggValue {
    match &column.data {
        Data::I8(v) => AggValue::Int(i128::from(v[j])),
        Data::I16(v) => AggValue::Int(i128::from(v[j])),
        Data::I32(v) => AggValue::Int(i128::from(v[j])),
        Data::I64(v) => AggValue::Int(i128::from(v[j])),
        Data::I128(v) => AggValue::Int(v[j]),
        Data::U8(v) => AggValue::Int(i128::from(v[j])),
        Data::U16(v) => AggValue::Int(i128::from(v[j])),
        Data::U32(v) => AggValue::Int(i128::from(v[j])),
        Data::U64(v) => AggValue::Int(i128::from(v[j])),
        Data::F32(v) => AggValue::Float(f64::from(v[j])),
        Data::F64(v) => AggValue::Float(v[j]),
        Data::Bool(v) => AggValue::Int(i128::from(v[j])),
        Data::Str(v) => AggValue::Text(v[j].to_string()),
    }
}
