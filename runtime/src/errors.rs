//! From what a loop reports to the error that DataFusion would have raised unfused, so that a
//! message does not tell whether a query was fused.

use arrow::error::ArrowError;
use datafusion::common::DataFusionError;
use fuseline_codegen::run::EvalError;
use std::any::Any;

/// The error of a row that could not be evaluated.
pub fn from_eval(error: EvalError) -> DataFusionError {
    let arrow = |e: ArrowError| DataFusionError::ArrowError(Box::new(e), None);
    match error {
        EvalError::DivideByZero { .. } => arrow(ArrowError::DivideByZero),
        EvalError::Overflow { message, .. } => arrow(ArrowError::ArithmeticOverflow(message)),
        EvalError::Cast { message, .. } => arrow(ArrowError::CastError(message)),
        EvalError::Function { message, .. } => {
            if let Some(rest) = message.strip_prefix("Invalid argument error: ") {
                arrow(ArrowError::InvalidArgumentError(rest.to_owned()))
            } else if let Some(rest) = message.strip_prefix("Compute error: ") {
                arrow(ArrowError::ComputeError(rest.to_owned()))
            } else {
                DataFusionError::Execution(message)
            }
        }
        EvalError::Binding(message) => DataFusionError::Internal(format!("fused stage: {message}")),
    }
}

/// The error of a panic that was caught inside a stage.
pub fn from_panic(stage: usize, panic: &(dyn Any + Send)) -> DataFusionError {
    let text = panic
        .downcast_ref::<&str>()
        .map(|s| (*s).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned());
    DataFusionError::Internal(format!("fused stage *({stage}) panicked: {text}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_those_of_arrow() {
        let text = |e| from_eval(e).to_string();
        assert_eq!(text(EvalError::DivideByZero { row: 3 }), "Arrow error: Divide by zero error");
        let overflow = EvalError::Overflow { row: 0, message: "Overflow happened on: 1 + 2".into() };
        assert_eq!(text(overflow), "Arrow error: Arithmetic overflow: Overflow happened on: 1 + 2");
        let far = EvalError::Function { row: 0, message: "Compute error: Timestamp out of range".into() };
        assert_eq!(text(far), "Arrow error: Compute error: Timestamp out of range");
        let cast = EvalError::Cast { row: 0, message: "Can't cast value 300 to type Int8".into() };
        assert_eq!(text(cast), "Arrow error: Cast error: Can't cast value 300 to type Int8");
    }

    #[test]
    fn a_panic_keeps_its_message() {
        let panic = std::panic::catch_unwind(|| panic!("row {}", 7)).unwrap_err();
        assert!(from_panic(2, panic.as_ref()).to_string().contains("*(2) panicked: row 7"));
    }
}
