//! Batch calls: functions that generated code does not know, run on Arrow arrays between segments.
//!
//! A call sees only live rows, because the segment before it has compacted them. Where SQL's
//! laziness excludes more (a CASE arm, the right side of AND), `under` names the Bool column that
//! says on which rows the call counts: the batch is filtered by it, the expression is evaluated on
//! what is left, and the results are put back with nulls between them.
//!
//! ```text
//! under  x        sees x   returns   result
//! true   4        4        2         2
//! false  -1       9        3         null
//! true   9                           3
//! ```

use arrow::array::{
    Array, ArrayRef, BooleanArray, RecordBatch, UInt32Builder, new_empty_array, new_null_array,
};
use arrow::compute::{filter_record_batch, take};
use datafusion::common::cast::as_boolean_array;
use datafusion::common::{Result, internal_err};
use datafusion::physical_plan::PhysicalExpr;
use fuseline_planner::stage::Call;
use std::sync::Arc;

/// The result column of a call over the segment's columns so far.
///
/// # Errors
/// What the function said, with the call's name around it.
pub fn run_call(call: &Call, expr: &Arc<dyn PhysicalExpr>, batch: &RecordBatch) -> Result<ArrayRef> {
    evaluate(call, expr, batch).map_err(|e| e.context(format!("in {}", call.name)))
}

fn evaluate(call: &Call, expr: &Arc<dyn PhysicalExpr>, batch: &RecordBatch) -> Result<ArrayRef> {
    let rows = batch.num_rows();
    if rows == 0 {
        return Ok(new_empty_array(call.field.data_type()));
    }
    let Some(column) = call.under else {
        return on_all_rows(call, expr, batch);
    };
    let Some(under) = batch.columns().get(column) else {
        return internal_err!("the condition of {} is column {column} of {}", call.name, batch.num_columns());
    };
    let under = as_boolean_array(under)?;
    let counted = under.true_count();
    if counted == rows {
        on_all_rows(call, expr, batch)
    } else if counted == 0 {
        Ok(new_null_array(call.field.data_type(), rows))
    } else {
        let some = filter_record_batch(batch, under)?;
        let results = on_all_rows(call, expr, &some)?;
        scatter(&results, under)
    }
}

fn on_all_rows(call: &Call, expr: &Arc<dyn PhysicalExpr>, batch: &RecordBatch) -> Result<ArrayRef> {
    let result = expr.evaluate(batch)?.into_array(batch.num_rows())?;
    if result.len() != batch.num_rows() {
        return internal_err!("{} gave {} results for {} rows", call.name, result.len(), batch.num_rows());
    }
    if result.data_type() != call.field.data_type() {
        return internal_err!(
            "{} gave {} where {} was planned",
            call.name,
            result.data_type(),
            call.field.data_type()
        );
    }
    Ok(result)
}

/// Puts the k-th result on the k-th row where `under` is true and valid, null elsewhere.
pub fn scatter(results: &ArrayRef, under: &BooleanArray) -> Result<ArrayRef> {
    let mut rows = UInt32Builder::with_capacity(under.len());
    let mut next = 0;
    for i in 0..under.len() {
        if under.is_valid(i) && under.value(i) {
            rows.append_value(next);
            next += 1;
        } else {
            rows.append_null();
        }
    }
    Ok(take(results, &rows.finish(), None)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{AsArray, Float64Array, Int64Array};
    use arrow::datatypes::{DataType, Field, Float64Type, Int64Type, Schema};
    use datafusion::common::ScalarValue;
    use datafusion::config::ConfigOptions;
    use datafusion::functions::math::sqrt;
    use datafusion::physical_expr::ScalarFunctionExpr;
    use datafusion::physical_plan::expressions::{Column, Literal};
    use fuseline_planner::stage::Work;

    fn batch(x: Vec<f64>, under: Vec<Option<bool>>) -> RecordBatch {
        let schema = Schema::new(vec![
            Field::new("x", DataType::Float64, false),
            Field::new("under", DataType::Boolean, true),
        ]);
        let columns: Vec<ArrayRef> =
            vec![Arc::new(Float64Array::from(x)), Arc::new(BooleanArray::from(under))];
        RecordBatch::try_new(Arc::new(schema), columns).unwrap()
    }

    fn call(expr: Arc<dyn PhysicalExpr>, data_type: DataType, under: Option<usize>) -> Call {
        Call {
            name: "f(x)".into(),
            work: Work::Expr(expr),
            under,
            field: Arc::new(Field::new("r", data_type, true)),
        }
    }

    fn run(call: &Call, batch: &RecordBatch) -> Result<ArrayRef> {
        run_call(call, call.expr().unwrap(), batch)
    }

    fn sqrt_of_x(schema: &Schema) -> Arc<dyn PhysicalExpr> {
        let args: Vec<Arc<dyn PhysicalExpr>> = vec![Arc::new(Column::new("x", 0))];
        let config = Arc::new(ConfigOptions::default());
        Arc::new(ScalarFunctionExpr::try_new(sqrt(), args, schema, config).unwrap())
    }

    #[test]
    fn rows_that_do_not_count_are_null_and_not_seen() {
        let b = batch(vec![4.0, -1.0, 9.0, 16.0], vec![Some(true), Some(false), None, Some(true)]);
        let r = run(&call(sqrt_of_x(&b.schema()), DataType::Float64, Some(1)), &b).unwrap();
        let r: Vec<Option<f64>> = r.as_primitive::<Float64Type>().iter().collect();
        assert_eq!(r, [Some(2.0), None, None, Some(4.0)]);
    }

    #[test]
    fn all_none_and_no_rows() {
        let none = batch(vec![4.0, 9.0], vec![Some(false), None]);
        let c = call(sqrt_of_x(&none.schema()), DataType::Float64, Some(1));
        assert_eq!(run(&c, &none).unwrap().null_count(), 2);
        let all = batch(vec![4.0, 9.0], vec![Some(true), Some(true)]);
        let r = run(&c, &all).unwrap();
        assert_eq!(r.as_primitive::<Float64Type>().values(), &[2.0, 3.0]);
        assert_eq!(run(&c, &all.slice(0, 0)).unwrap().len(), 0);
    }

    #[test]
    fn a_scalar_result_is_expanded() {
        let b = batch(vec![1.0, 2.0, 3.0], vec![None, None, None]);
        let seven: Arc<dyn PhysicalExpr> = Arc::new(Literal::new(ScalarValue::Int64(Some(7))));
        let r = run(&call(seven, DataType::Int64, None), &b).unwrap();
        assert_eq!(r.as_primitive::<Int64Type>(), &Int64Array::from(vec![7, 7, 7]));
    }

    #[test]
    fn errors_name_the_call_and_a_wrong_type_is_no_panic() {
        let b = batch(vec![1.0], vec![Some(true)]);
        let seven: Arc<dyn PhysicalExpr> = Arc::new(Literal::new(ScalarValue::Int64(Some(7))));
        let error = run(&call(seven, DataType::Utf8, None), &b).unwrap_err().to_string();
        assert!(error.contains("in f(x)") && error.contains("Utf8"), "{error}");
    }
}
