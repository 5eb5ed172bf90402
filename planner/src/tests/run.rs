//! Runs a stage on the interpreter, one morsel per batch, and compares results.

use crate::stage::{Segment, Source, Stage, StageSink};
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, RecordBatchOptions};
use arrow::compute::{concat_batches, take};
use arrow::datatypes::{DataType, Float32Type, Float64Type, Schema};
use datafusion::common::ScalarValue;
use fuseline_codegen::ir::{AggState, Emit, Sink, interp};
use fuseline_codegen::run::Morsel;
use std::sync::Arc;

/// A batch without a schema; `rows` counts even without columns.
struct Rows {
    columns: Vec<ArrayRef>,
    rows: usize,
}

/// The stage's result over the child's batches.
pub(super) fn run(stage: &Stage, child: &[RecordBatch]) -> Result<RecordBatch, String> {
    let mut morsels: Vec<(Rows, i64)> = vec![];
    match &stage.source {
        Source::Child(_) => {
            for b in child {
                morsels.push((Rows { columns: b.columns().to_vec(), rows: b.num_rows() }, 0));
            }
        }
        Source::Range { rows, .. } => {
            let mut at = 0u64;
            while at < *rows {
                let n = (*rows - at).min(700);
                morsels.push((Rows { columns: vec![], rows: n as usize }, at as i64));
                at += n;
            }
        }
    }
    let (last, earlier) = stage.segments.split_last().expect("a segment");
    let mut out = vec![];
    let mut merged: Option<Vec<AggState>> = None;
    for (mut rows, base) in morsels {
        for segment in earlier {
            rows = pass(segment, &rows, base)?.0;
        }
        let (rows, states) = pass(last, &rows, base)?;
        match &stage.sink {
            StageSink::Emit(schema) => out.push(batch(schema, rows)?),
            StageSink::Aggregate { .. } => {
                let Sink::Aggregate(aggs) = &last.loop_.sink else { panic!("no aggregate sink") };
                match &mut merged {
                    None => merged = Some(states),
                    Some(merged) => {
                        for ((m, s), agg) in merged.iter_mut().zip(&states).zip(aggs) {
                            m.merge(s, agg);
                        }
                    }
                }
            }
        }
    }
    match &stage.sink {
        StageSink::Emit(schema) => {
            let all = concat_batches(schema, &out).map_err(|e| e.to_string())?;
            let from = stage.limit.skip.min(all.num_rows());
            let left = all.num_rows() - from;
            Ok(all.slice(from, stage.limit.fetch.unwrap_or(left).min(left)))
        }
        StageSink::Aggregate { finals, schema } => {
            let Sink::Aggregate(aggs) = &last.loop_.sink else { panic!("no aggregate sink") };
            let states = merged.unwrap_or_else(|| aggs.iter().map(AggState::empty).collect());
            let mut columns = vec![];
            for f in finals {
                let scalar: ScalarValue = f.finish(&states).map_err(|e| e.to_string())?;
                columns.push(scalar.to_array().map_err(|e| e.to_string())?);
            }
            batch(schema, Rows { columns, rows: 1 })
        }
    }
}

fn pass(segment: &Segment, rows: &Rows, base: i64) -> Result<(Rows, Vec<AggState>), String> {
    let inputs: Vec<ArrayRef> = segment.inputs.iter().map(|i| rows.columns[*i].clone()).collect();
    let morsel = Morsel { inputs: &inputs, rows: rows.rows, row_base: base };
    let out = interp::run(&segment.loop_, &morsel).map_err(|e| e.to_string())?;
    let mut columns = vec![];
    if let Sink::Emit(emits) = &segment.loop_.sink {
        for (emit, computed) in emits.iter().zip(out.columns) {
            columns.push(match (emit, computed) {
                (Emit::Value { .. }, Some(array)) => array,
                (Emit::Passenger { column }, _) => match &out.selection {
                    Some(selection) => take(&rows.columns[*column], selection, None).expect("rows"),
                    None => rows.columns[*column].clone(),
                },
                (Emit::Value { .. }, None) => panic!("an emitted value is missing"),
            });
        }
        for call in &segment.calls {
            let fields = segment.output.fields()[..columns.len()].to_vec();
            let input =
                batch(&Arc::new(Schema::new(fields)), Rows { columns: columns.clone(), rows: out.rows })?;
            let result = match call.under {
                None => call.expr.evaluate(&input),
                Some(u) => {
                    let mask = columns[u].as_boolean();
                    let mask = BooleanArray::from_iter(mask.iter().map(|m| Some(m == Some(true))));
                    call.expr.evaluate_selection(&input, &mask)
                }
            };
            let result = result.map_err(|e| e.to_string())?;
            columns.push(result.into_array(out.rows).map_err(|e| e.to_string())?);
        }
        assert_eq!(columns.len(), segment.output.fields().len());
    }
    Ok((Rows { columns, rows: out.rows }, out.aggs))
}

fn batch(schema: &Arc<Schema>, rows: Rows) -> Result<RecordBatch, String> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows.rows));
    RecordBatch::try_new_with_options(schema.clone(), rows.columns, &options).map_err(|e| e.to_string())
}

/// The first difference between two results; floats by their bits, but any NaN equals any other.
pub(super) fn difference(a: &RecordBatch, b: &RecordBatch) -> Option<String> {
    if a.num_rows() != b.num_rows() || a.num_columns() != b.num_columns() {
        return Some(format!(
            "{}x{} against {}x{}",
            a.num_rows(),
            a.num_columns(),
            b.num_rows(),
            b.num_columns()
        ));
    }
    for (field, (x, y)) in a.schema().fields().iter().zip(a.columns().iter().zip(b.columns())) {
        if x.data_type() != y.data_type() {
            return Some(format!("{}: type {} against {}", field.name(), x.data_type(), y.data_type()));
        }
        for row in 0..a.num_rows() {
            if !same(x, y, row) {
                let show = |v: &ArrayRef| match ScalarValue::try_from_array(v, row) {
                    Ok(s) => format!("{s:?}"),
                    Err(e) => e.to_string(),
                };
                return Some(format!("{} in row {row}: {} against {}", field.name(), show(x), show(y)));
            }
        }
    }
    None
}

fn same(x: &ArrayRef, y: &ArrayRef, row: usize) -> bool {
    if x.is_null(row) || y.is_null(row) {
        return x.is_null(row) == y.is_null(row);
    }
    match x.data_type() {
        DataType::Float64 => {
            let (x, y) =
                (x.as_primitive::<Float64Type>().value(row), y.as_primitive::<Float64Type>().value(row));
            x.to_bits() == y.to_bits() || (x.is_nan() && y.is_nan())
        }
        DataType::Float32 => {
            let (x, y) =
                (x.as_primitive::<Float32Type>().value(row), y.as_primitive::<Float32Type>().value(row));
            x.to_bits() == y.to_bits() || (x.is_nan() && y.is_nan())
        }
        _ => x.slice(row, 1).to_data() == y.slice(row, 1).to_data(),
    }
}
