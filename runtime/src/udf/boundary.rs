//! The boundary between a query and a user-defined function.
//!
//! To DataFusion and the planner it is a scalar function like any other. It hands a
//! [`BatchFunction`] only what it must see: with `null_handling = 'propagate'` rows without NULL, at
//! most `batch_rows` of them, and checks what comes back. Rows that SQL's laziness excludes never get
//! here: see [`crate::calls`] for fused stages and [`crate::udf::lazy`] for other operators.
//!
//! Invariants:
//! * a volatile function sees each row exactly once, also when a row fails;
//! * nothing is called for zero rows, nor while a plan is made.

use crate::calls::scatter;
use crate::udf::collected::{CollectedErrors, CollectedRow};
use crate::udf::error::{CallError, Failure, UdfError, UdfErrorKind};
use crate::udf::function::{Batch, BatchFunction};
use crate::udf::metrics;
use crate::udf::planning::is_planning;
use crate::udf::spec::{ArgDefault, FunctionSpec, NullHandling, OnError};
use arrow::array::{Array, ArrayRef, BooleanArray, new_empty_array, new_null_array};
use arrow::buffer::NullBuffer;
use arrow::compute::{can_cast_types, concat, filter, nullif};
use arrow::datatypes::DataType;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::common::{Result, ScalarValue, internal_err, plan_err};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};
use std::fmt;
use std::hash::{Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

/// Characters of an argument that an error shows.
const SHOWN: usize = 100;

/// A user-defined function as DataFusion sees it.
pub struct BoundaryUdf {
    spec: Arc<FunctionSpec>,
    function: Arc<dyn BatchFunction>,
    collected: Arc<CollectedErrors>,
    signature: Signature,
    /// The name as SQL writes it without quotes, if it differs.
    aliases: Vec<String>,
}

/// A batch that failed, with what is known about why.
struct Failed {
    error: CallError,
    /// The row among those of the boundary's whole input, before NULLs were taken out.
    row: Option<usize>,
    arguments: Option<String>,
}

impl BoundaryUdf {
    /// # Errors
    /// DataFusion's, for parameter names that it does not take.
    pub fn try_new(
        spec: Arc<FunctionSpec>,
        function: Arc<dyn BatchFunction>,
        collected: Arc<CollectedErrors>,
    ) -> Result<BoundaryUdf> {
        let signature = if spec.params.is_empty() {
            Signature::nullary(spec.volatility)
        } else {
            let names: Vec<String> = spec.params.iter().map(|p| p.name.clone()).collect();
            Signature::user_defined(spec.volatility).with_parameter_names(names)?
        };
        let folded = spec.name.to_ascii_lowercase();
        let aliases = if folded == spec.name { vec![] } else { vec![folded] };
        Ok(BoundaryUdf { spec, function, collected, signature, aliases })
    }

    pub fn spec(&self) -> &Arc<FunctionSpec> {
        &self.spec
    }

    pub fn function(&self) -> &Arc<dyn BatchFunction> {
        &self.function
    }

    /// Tells this function from all others that are alive.
    pub fn id(&self) -> usize {
        Arc::as_ptr(&self.spec) as usize
    }

    /// The arguments that are handed over: those given, and defaults that are values.
    fn complete(&self, mut args: Vec<ArrayRef>, rows: usize) -> Result<Vec<ArrayRef>> {
        for param in self.spec.params.iter().skip(args.len()) {
            match &param.default {
                Some(ArgDefault::Value(value)) => args.push(value.to_array_of_size(rows)?),
                Some(ArgDefault::Omitted) => break,
                None => {
                    return internal_err!("UDF '{}' was planned without '{}'", self.spec.name, param.name);
                }
            }
        }
        Ok(args)
    }

    /// The result for constants, if it is known without a call.
    fn folded(&self, args: &ScalarFunctionArgs) -> Result<Option<ColumnarValue>> {
        let constants = args.args.iter().all(|a| matches!(a, ColumnarValue::Scalar(v) if !v.is_null()));
        if self.spec.volatility != Volatility::Immutable || !constants {
            return Ok(None);
        }
        let given = args.args.iter().map(|a| a.clone().into_array(1)).collect::<Result<Vec<_>>>()?;
        let given = self.complete(given, 1)?;
        if given.iter().any(|a| a.null_count() > 0) {
            return Ok(None);
        }
        match self.function.folded(&given) {
            Some(result) => Ok(Some(ColumnarValue::Scalar(ScalarValue::try_from_array(&result, 0)?))),
            None => Ok(None),
        }
    }

    /// The results for `rows` rows.
    fn run(&self, args: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
        let returns = &self.spec.returns;
        if rows == 0 {
            return Ok(new_empty_array(returns));
        }
        let nulls = match self.spec.null_handling {
            NullHandling::Call => None,
            NullHandling::Propagate => args
                .iter()
                .fold(None, |all, a| NullBuffer::union(all.as_ref(), a.logical_nulls().as_ref()))
                .filter(|nulls| nulls.null_count() > 0),
        };
        let Some(nulls) = nulls else {
            return self.pieces(args, rows, &|row| row);
        };
        if nulls.null_count() == rows {
            return Ok(new_null_array(returns, rows));
        }
        let there = BooleanArray::new(nulls.inner().clone(), None);
        let some = args.iter().map(|a| Ok(filter(a, &there)?)).collect::<Result<Vec<_>>>()?;
        let nth = |k: usize| nulls.inner().set_indices().nth(k).unwrap_or(k);
        let results = self.pieces(&some, rows - nulls.null_count(), &nth)?;
        scatter(&results, &there)
    }

    /// Cuts the rows to `batch_rows`. `row_of` says where a row stood in the boundary's input.
    fn pieces(&self, args: &[ArrayRef], rows: usize, row_of: &dyn Fn(usize) -> usize) -> Result<ArrayRef> {
        let most = self.spec.batch_rows.max(1);
        if rows <= most {
            return self.piece(args, rows, 0, row_of);
        }
        let mut results = Vec::with_capacity(rows.div_ceil(most));
        for from in (0..rows).step_by(most) {
            let rows = most.min(rows - from);
            let part: Vec<ArrayRef> = args.iter().map(|a| a.slice(from, rows)).collect();
            results.push(self.piece(&part, rows, from, row_of)?);
        }
        let results: Vec<&dyn Array> = results.iter().map(AsRef::as_ref).collect();
        Ok(concat(&results)?)
    }

    /// One batch, and what `on_error` says if it fails. `from` is its first row.
    fn piece(
        &self,
        args: &[ArrayRef],
        rows: usize,
        from: usize,
        row_of: &dyn Fn(usize) -> usize,
    ) -> Result<ArrayRef> {
        let error = match self.call(args, rows, from, row_of) {
            Ok(array) => return Ok(array),
            Err(error) => error,
        };
        let may_repeat = self.spec.volatility != Volatility::Volatile && rows > 1;
        match (&error, self.spec.on_error) {
            (CallError::Failed { row: None, .. }, OnError::Raise) if may_repeat => {
                let (error, row) = self.blame(args, rows, error);
                Err(self.failed(error, row, args, from, row_of).into())
            }
            (CallError::Failed { .. }, OnError::Null | OnError::Collect) if may_repeat => {
                // The good rows of the batch are found by halving it.
                let half = rows / 2;
                let cut =
                    |at: usize, n: usize| -> Vec<ArrayRef> { args.iter().map(|a| a.slice(at, n)).collect() };
                let first = self.piece(&cut(0, half), half, from, row_of)?;
                let second = self.piece(&cut(half, rows - half), rows - half, from + half, row_of)?;
                Ok(concat(&[first.as_ref(), second.as_ref()])?)
            }
            (CallError::Failed { failure, .. }, OnError::Null | OnError::Collect) => {
                for row in 0..rows {
                    self.keep(failure, args, row, row_of(from + row));
                }
                Ok(new_null_array(&self.spec.returns, rows))
            }
            (CallError::Failed { row, .. }, OnError::Raise) => {
                let row = row.or((rows == 1).then_some(0));
                Err(self.failed(error, row, args, from, row_of).into())
            }
            (
                CallError::WrongType { .. }
                | CallError::WrongLength { .. }
                | CallError::WrongResult(_)
                | CallError::Interrupted(_)
                | CallError::Fault(_),
                _,
            ) => Err(self.failed(error, None, args, from, row_of).into()),
        }
    }

    /// Calls the function and checks its results.
    fn call(
        &self,
        args: &[ArrayRef],
        rows: usize,
        from: usize,
        row_of: &dyn Fn(usize) -> usize,
    ) -> std::result::Result<ArrayRef, CallError> {
        let keeps = self.spec.on_error != OnError::Raise;
        let batch = Batch::new(args, rows, keeps);
        let started = Instant::now();
        let outcome = catch_unwind(AssertUnwindSafe(|| self.function.call(&batch)));
        let metrics = metrics::current(self.id());
        if let Some(metrics) = &metrics {
            metrics.record(rows, started.elapsed(), batch.times());
            metrics.record_compiled(&batch);
        }
        let array = match outcome {
            Ok(result) => result?,
            Err(panic) => {
                let said = panic
                    .downcast_ref::<&str>()
                    .map(|s| (*s).to_owned())
                    .or_else(|| panic.downcast_ref::<String>().cloned())
                    .unwrap_or_else(|| "no message".to_owned());
                let failure = Failure { source: Some(Arc::new(Panicked)), ..Failure::new(said) };
                return Err(CallError::Fault(failure));
            }
        };
        if array.len() != rows {
            return Err(CallError::WrongLength { expected: rows, got: array.len() });
        }
        if array.data_type() != &self.spec.returns {
            return Err(CallError::WrongType {
                expected: self.spec.returns.to_string(),
                got: array.data_type().to_string(),
            });
        }
        let failures = batch.take_failures();
        if failures.is_empty() {
            return Ok(array);
        }
        if let Some(metrics) = &metrics {
            metrics.failed_rows.add(failures.len());
        }
        let mut failed = vec![false; rows];
        for (row, failure) in &failures {
            if let Some(failed) = failed.get_mut(*row) {
                *failed = true;
                self.keep(failure, args, *row, row_of(from + row));
            }
        }
        null_where(&array, failed)
    }

    /// Which row makes the batch fail, and what the function says about it: the first half that
    /// fails alone holds it. If no part fails alone, only the batch is known.
    fn blame(&self, args: &[ArrayRef], rows: usize, error: CallError) -> (CallError, Option<usize>) {
        let (mut at, mut left, mut error) = (0, rows, error);
        while left > 1 {
            let half = left / 2;
            let attempt = |from: usize, rows: usize| {
                let part: Vec<ArrayRef> = args.iter().map(|a| a.slice(from, rows)).collect();
                let batch = Batch::new(&part, rows, false);
                match catch_unwind(AssertUnwindSafe(|| self.function.call(&batch))) {
                    Ok(Err(error @ CallError::Failed { .. })) => Some(error),
                    Ok(_) | Err(_) => None,
                }
            };
            if let Some(found) = attempt(at, half) {
                (left, error) = (half, found);
            } else if let Some(found) = attempt(at + half, left - half) {
                (at, left, error) = (at + half, left - half, found);
            } else {
                return (error, None);
            }
        }
        (error, Some(at))
    }

    /// Keeps a failed row for the table of errors, if it is to be.
    fn keep(&self, failure: &Failure, args: &[ArrayRef], row: usize, original: usize) {
        match self.spec.on_error {
            OnError::Raise | OnError::Null => {}
            OnError::Collect => self.collected.push(CollectedRow {
                udf: self.spec.name.clone(),
                row: original,
                arguments: self.arguments(args, row),
                exception: failure.message.clone(),
            }),
        }
    }

    fn failed(
        &self,
        error: CallError,
        row: Option<usize>,
        args: &[ArrayRef],
        from: usize,
        row_of: &dyn Fn(usize) -> usize,
    ) -> UdfError {
        let arguments = row.map(|row| self.arguments(args, row));
        self.error(Failed { error, row: row.map(|row| row_of(from + row)), arguments })
    }

    fn error(&self, failed: Failed) -> UdfError {
        let (kind, failure) = match failed.error {
            CallError::Failed { failure, .. } => (UdfErrorKind::Raised, failure),
            CallError::WrongType { expected, got } => (
                UdfErrorKind::WrongType,
                Failure::new(format!("returned values of type {got}, but was declared to return {expected}")),
            ),
            CallError::WrongLength { expected, got } => (
                UdfErrorKind::WrongLength,
                Failure::new(format!(
                    "returned {got} values for {expected} rows: it must return one value for each row"
                )),
            ),
            CallError::WrongResult(message) => (UdfErrorKind::WrongResult, Failure::new(message)),
            CallError::Interrupted(failure) => (UdfErrorKind::Interrupted, failure),
            CallError::Fault(failure) if failure.source.as_ref().is_some_and(|s| s.is::<Panicked>()) => {
                (UdfErrorKind::Panicked, failure)
            }
            CallError::Fault(failure) => (UdfErrorKind::Fault, failure),
        };
        UdfError {
            udf: self.spec.name.clone(),
            kind,
            message: failure.message,
            row: failed.row,
            arguments: failed.arguments,
            trace: failure.trace,
            source: failure.source,
        }
    }

    /// "x = 1.5, y = NULL".
    fn arguments(&self, args: &[ArrayRef], row: usize) -> String {
        let options = FormatOptions::new().with_null("NULL");
        let shown: Vec<String> = args
            .iter()
            .zip(&self.spec.params)
            .map(|(array, param)| {
                let value = match ArrayFormatter::try_new(array.as_ref(), &options) {
                    Ok(formatter) if row < array.len() => formatter
                        .value(row)
                        .try_to_string()
                        .unwrap_or_else(|_| format!("a {}", array.data_type())),
                    Ok(_) | Err(_) => format!("a {}", array.data_type()),
                };
                let text =
                    matches!(array.data_type(), DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
                        && array.is_valid(row);
                let mut value = if text { format!("'{value}'") } else { value };
                if let Some((cut, _)) = value.char_indices().nth(SHOWN) {
                    value.truncate(cut);
                    value.push_str("...");
                }
                format!("{} = {value}", param.name)
            })
            .collect();
        shown.join(", ")
    }
}

/// Marks the failure of a native function that panicked.
#[derive(Debug, thiserror::Error)]
#[error("a panic")]
struct Panicked;

/// The array with nulls where `failed`.
fn null_where(array: &ArrayRef, failed: Vec<bool>) -> std::result::Result<ArrayRef, CallError> {
    nullif(array, &BooleanArray::from(failed)).map_err(|e| CallError::failed(e.to_string()))
}

/// Whether SQL may turn a value of one type into the parameter's type unasked: nothing is lost, or
/// the value only changes its encoding.
fn coerces(from: &DataType, to: &DataType) -> bool {
    use DataType as D;
    let text = |t: &D| matches!(t, D::Utf8 | D::LargeUtf8 | D::Utf8View);
    let bytes = |t: &D| matches!(t, D::Binary | D::LargeBinary | D::BinaryView | D::FixedSizeBinary(_));
    let decimal =
        |t: &D| matches!(t, D::Decimal32(..) | D::Decimal64(..) | D::Decimal128(..) | D::Decimal256(..));
    match (from, to) {
        (a, b) if a == b => true,
        (D::Null, _) => true,
        (D::Dictionary(_, values), _) => coerces(values, to),
        (D::RunEndEncoded(_, values), _) => coerces(values.data_type(), to),
        (a, b) if text(a) && text(b) => true,
        (a, b) if bytes(a) && bytes(b) => true,
        // Literals are 64 bits wide, so integers may narrow: one that does not fit fails its cast.
        (a, b) if a.is_integer() && b.is_integer() => true,
        (a, D::Float64) => a.is_numeric(),
        (D::Int8 | D::Int16 | D::UInt8 | D::UInt16 | D::Float16, D::Float32) => true,
        (a, b) if (a.is_numeric() || decimal(a)) && decimal(b) => true,
        (D::Date32 | D::Date64, D::Timestamp(_, None) | D::Date32 | D::Date64) => true,
        (D::Timestamp(_, a), D::Timestamp(_, b)) => a.is_some() == b.is_some(),
        (D::Duration(_), D::Duration(_)) => true,
        (D::Time32(_) | D::Time64(_), D::Time32(_) | D::Time64(_)) => true,
        (
            D::List(a) | D::LargeList(a) | D::FixedSizeList(a, _),
            D::List(b) | D::LargeList(b) | D::FixedSizeList(b, _),
        ) => coerces(a.data_type(), b.data_type()) && can_cast_types(from, to),
        (D::Struct(_), D::Struct(_)) => can_cast_types(from, to),
        _ => false,
    }
}

impl ScalarUDFImpl for BoundaryUdf {
    fn name(&self) -> &str {
        &self.spec.name
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(self.spec.returns.clone())
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        let params = &self.spec.params;
        let required = self.spec.required();
        let given = arg_types.len();
        if given < required || given > params.len() {
            let expected = if required == params.len() {
                required.to_string()
            } else {
                format!("{required} to {}", params.len())
            };
            return plan_err!("UDF {} takes {expected} arguments, not {given}", self.spec.signature());
        }
        for (given, param) in arg_types.iter().zip(params) {
            if !coerces(given, &param.data_type) {
                return plan_err!(
                    "UDF {}: argument '{}' cannot be a {given}; CAST it to {}",
                    self.spec.signature(),
                    param.name,
                    param.data_type
                );
            }
        }
        Ok(params.iter().take(given).map(|p| p.data_type.clone()).collect())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        if is_planning() {
            if let Some(result) = self.folded(&args)? {
                return Ok(result);
            }
            return internal_err!("UDF '{}' is not called while a plan is made", self.spec.name);
        }
        let constant = args.number_rows > 0
            && self.spec.volatility != Volatility::Volatile
            && args.args.iter().all(|a| matches!(a, ColumnarValue::Scalar(_)));
        let rows = if constant { 1 } else { args.number_rows };
        let given = args.args.into_iter().map(|a| a.into_array(rows)).collect::<Result<Vec<_>>>()?;
        let result = self.run(&self.complete(given, rows)?, rows)?;
        if constant {
            Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&result, 0)?))
        } else {
            Ok(ColumnarValue::Array(result))
        }
    }
}

impl fmt::Debug for BoundaryUdf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BoundaryUdf").field("spec", &self.spec).finish_non_exhaustive()
    }
}

impl PartialEq for BoundaryUdf {
    fn eq(&self, other: &BoundaryUdf) -> bool {
        Arc::ptr_eq(&self.spec, &other.spec) && Arc::ptr_eq(&self.function, &other.function)
    }
}

impl Eq for BoundaryUdf {}

impl Hash for BoundaryUdf {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.id().hash(state);
    }
}
