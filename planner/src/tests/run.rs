//! Runs a stage, one morsel per batch, each loop on the interpreter and compiled, and compares
//! results.

use crate::stage::{Segment, Source, Stage, StageSink};
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, RecordBatchOptions};
use arrow::compute::{concat_batches, take};
use arrow::datatypes::{DataType, Float32Type, Float64Type, Schema};
use datafusion::common::ScalarValue;
use fuseline_codegen::cpu::{self, CompileOptions, CompiledLoop};
use fuseline_codegen::groups::Groups;
use fuseline_codegen::ir::{AggState, AggValue, Emit, Loop, Sink, interp};
use fuseline_codegen::run::{LoopOutput, Morsel, RunLoop};
use std::cell::RefCell;
use std::collections::HashMap;
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
        Source::Kept { .. } => return Err("stages of joins are run by the runtime's tests".to_owned()),
    }
    let (last, earlier) = stage.segments.split_last().expect("a segment");
    let mut out = vec![];
    let mut merged: Option<Vec<AggState>> = None;
    let mut groups = Groups::new(&last.loop_, 1 << 20);
    for (mut rows, base) in morsels {
        for segment in earlier {
            rows = pass(segment, &rows, base)?.0;
        }
        if let Some(groups) = &mut groups {
            group(last, &rows, base, groups)?;
        }
        let (rows, states) = pass(last, &rows, base)?;
        match &stage.sink {
            StageSink::Group { .. } => {}
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
        StageSink::Group { columns, schema, .. } => {
            let mut groups = groups.ok_or("the loop does not group")?;
            groups.settle();
            let rows = groups.len();
            let columns = columns.iter().zip(schema.fields());
            let columns = columns
                .map(|(c, f)| c.array(&groups, 0..rows, f.data_type()).map_err(|e| e.to_string()))
                .collect::<Result<_, _>>()?;
            batch(schema, Rows { columns, rows })
        }
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

/// Takes rows into a table, by the interpreter.
fn group(segment: &Segment, rows: &Rows, base: i64, groups: &mut Groups) -> Result<(), String> {
    let inputs: Vec<ArrayRef> = segment.inputs.iter().map(|i| rows.columns[*i].clone()).collect();
    let morsel = Morsel { inputs: &inputs, rows: rows.rows, row_base: base, joins: &[] };
    let nullable: Vec<bool> = inputs.iter().map(|a| a.null_count() > 0).collect();
    let prepared = segment.loop_.prepared(&nullable);
    interp::run_from(&prepared, &morsel, (0, 0), Some(groups)).map(|_| ()).map_err(|e| e.to_string())
}

fn pass(segment: &Segment, rows: &Rows, base: i64) -> Result<(Rows, Vec<AggState>), String> {
    let inputs: Vec<ArrayRef> = segment.inputs.iter().map(|i| rows.columns[*i].clone()).collect();
    let morsel = Morsel { inputs: &inputs, rows: rows.rows, row_base: base, joins: &[] };
    let out = run_loop(&segment.loop_, &morsel)?;
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
            let expr = call.expr().ok_or("a join's condition")?;
            let result = match call.under {
                None => expr.evaluate(&input),
                Some(u) => {
                    let mask = columns[u].as_boolean();
                    let mask = BooleanArray::from_iter(mask.iter().map(|m| Some(m == Some(true))));
                    expr.evaluate_selection(&input, &mask)
                }
            };
            let result = result.map_err(|e| e.to_string())?;
            columns.push(result.into_array(out.rows).map_err(|e| e.to_string())?);
        }
        assert_eq!(columns.len(), segment.output.fields().len());
    }
    Ok((Rows { columns, rows: out.rows }, out.aggs))
}

thread_local! {
    /// Batches of one query mostly run the same variant.
    static CODE: RefCell<HashMap<Loop, CompiledLoop>> = RefCell::default();
}

/// Runs a loop on the interpreter and as compiled code, which must agree bit for bit.
fn run_loop(source: &Loop, morsel: &Morsel<'_>) -> Result<LoopOutput, String> {
    let nullable: Vec<bool> = morsel.inputs.iter().map(|a| a.null_count() > 0).collect();
    let prepared = source.prepared(&nullable);
    let interpreted = interp::run(&prepared, morsel);
    let compiled = CODE.with_borrow_mut(|code| -> Result<_, String> {
        if !code.contains_key(&prepared) {
            let compiled = cpu::compile(&prepared, &CompileOptions::default());
            code.insert(prepared.clone(), compiled.map_err(|e| format!("{e}\n{prepared}"))?);
        }
        Ok(code[&prepared].run(morsel))
    })?;
    match (&interpreted, &compiled) {
        (Ok(a), Ok(b)) => {
            let arrays = |o: &LoopOutput| -> Vec<Option<ArrayRef>> { o.columns.clone() };
            for (i, (x, y)) in arrays(a).iter().zip(&arrays(b)).enumerate() {
                match (x, y) {
                    (Some(x), Some(y)) if x.len() == y.len() && (0..x.len()).all(|r| same(x, y, r)) => {}
                    (None, None) => {}
                    _ => return Err(format!("column {i}: interpreted {x:?}, compiled {y:?}\n{prepared}")),
                }
            }
            if a.rows != b.rows || a.selection != b.selection || !same_states(&a.aggs, &b.aggs) {
                return Err(format!("interpreted {a:?}, compiled {b:?}\n{prepared}"));
            }
        }
        (Err(a), Err(b)) if a == b => {}
        _ => return Err(format!("interpreted {interpreted:?}, compiled {compiled:?}\n{prepared}")),
    }
    interpreted.map_err(|e| e.to_string())
}

fn same_states(a: &[AggState], b: &[AggState]) -> bool {
    a.len() == b.len()
        && a.iter().zip(b).all(|(x, y)| {
            x.count == y.count
                && match (&x.value, &y.value) {
                    (AggValue::Float(x), AggValue::Float(y)) => {
                        x.to_bits() == y.to_bits() || (x.is_nan() && y.is_nan())
                    }
                    (x, y) => x == y,
                }
        })
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
