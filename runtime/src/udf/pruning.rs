//! Scans learn what a filter over a compiled function says of the function's operands.
//!
//! `WHERE f(x) > 100` tells a scan of Parquet files nothing: statistics know `x`, not `f(x)`. Where the body of `f` is known,
//! this rule adds to the scan's predicate what `x` must be for it (`fuseline_codegen::function::bounds`), such as
//! `x >= 49.5`, and the scan leaves out row groups and pages by it as by any other comparison. The filter itself stays.
//!
//! Invariants:
//! * what is added follows from the filter on every row on which Python returns something;
//! * operands for which Python may raise are never excluded, so an exception is not lost with its row group.
//!
//! A column's statistics leave NaN out, so NaN is what it is for `x > 49.5`: DataFusion does not expect it there.

use crate::udf::entries::body_of;
use arrow::datatypes::{DataType, SchemaRef, TimeUnit};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{Result, ScalarValue};
use datafusion::datasource::physical_plan::{FileScanConfig, FileScanConfigBuilder};
use datafusion::datasource::source::DataSourceExec;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::expressions::{BinaryExpr, CastExpr, Column, Literal, NotExpr};
use datafusion::physical_expr::{ScalarFunctionExpr, conjunction, split_conjunction};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::{ExecutionPlan, PhysicalExpr};
use fuseline_codegen::function::bounds::{Bounds, Exceptions, Needed, Range, Span, Wanted, needed_operands};
use fuseline_codegen::function::interp::Datum;
use fuseline_codegen::function::{Base, Compare};
use std::sync::Arc;

type Expr = Arc<dyn PhysicalExpr>;

/// Adds bounds of operands to the predicates of scans.
#[derive(Debug, Default)]
pub struct PruningRule;

impl PruningRule {
    pub const NAME: &'static str = "fuseline_pruning";
}

impl PhysicalOptimizerRule for PruningRule {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        config: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        plan.transform_up(|node| {
            Ok(match with_bounds(&node, config)? {
                Some(scan) => Transformed::yes(scan),
                None => Transformed::no(node),
            })
        })
        .data()
    }

    fn name(&self) -> &str {
        PruningRule::NAME
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// The scan with bounds, if there are any.
fn with_bounds(
    node: &Arc<dyn ExecutionPlan>,
    config: &ConfigOptions,
) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let Some(scan) = node.downcast_ref::<DataSourceExec>() else { return Ok(None) };
    let Some(files) = scan.data_source().downcast_ref::<FileScanConfig>() else { return Ok(None) };
    // Over the columns of the table.
    let Some(filter) = files.file_source().filter() else { return Ok(None) };
    let schema = Arc::clone(files.file_source().table_schema().table_schema());
    let conjuncts = split_conjunction(&filter);
    let mut added: Vec<Expr> = vec![];
    for conjunct in &conjuncts {
        for bound in implied(conjunct, &schema) {
            if !conjuncts.contains(&&bound) && !added.contains(&bound) {
                added.push(bound);
            }
        }
    }
    if added.is_empty() {
        return Ok(None);
    }
    let Some(source) = files.file_source().try_pushdown_filters(added, config)?.updated_node else {
        return Ok(None);
    };
    let files = FileScanConfigBuilder::from(files.clone()).with_source(source).build();
    Ok(Some(Arc::new(scan.clone().with_data_source(Arc::new(files)))))
}

/// What a condition that compares a call with a constant says of the call's operands.
fn implied(condition: &Expr, schema: &SchemaRef) -> Vec<Expr> {
    let Some((call, compare, constant)) = compared(condition) else { return vec![] };
    let Some(body) = body_of(call) else { return vec![] };
    if call.args().len() != body.params.len() {
        return vec![];
    }
    let (low, high) = ends(call.return_type()).unwrap_or((i64::MIN, i64::MAX));
    let wanted = Wanted { compare, constant: &constant, exceptions: Exceptions::Anything { low, high } };
    let args: Vec<Bounds> = call
        .args()
        .iter()
        .zip(&body.params)
        .map(|(arg, param)| match arg.downcast_ref::<Literal>().and_then(|l| datum(l.value())) {
            Some(constant) => of_constant(&constant, param.ty.base),
            None => Bounds::of_type(param.ty),
        })
        .collect();
    let mut found = vec![];
    for (at, arg) in call.args().iter().enumerate() {
        let Ok(data_type) = arg.data_type(schema) else { continue };
        if !is_column(arg) || !body.params.get(at).is_some_and(|p| speaks(&data_type, p.ty.base)) {
            continue;
        }
        match needed_operands(&body, &args, at, wanted) {
            Needed::Anything => {}
            Needed::Nothing => found.push(literal(ScalarValue::Boolean(Some(false)))),
            Needed::Within(spans) => found.extend(within(arg, &data_type, &spans)),
        }
    }
    found
}

/// The call, the comparison and the constant of `f(..) > 1`, `1 < f(..)`, `f(..)` and `NOT f(..)`.
fn compared(condition: &Expr) -> Option<(&ScalarFunctionExpr, Compare, Datum)> {
    if let Some(call) = condition.downcast_ref::<ScalarFunctionExpr>() {
        return Some((call, Compare::Eq, Datum::Bool(true)));
    }
    if let Some(not) = condition.downcast_ref::<NotExpr>() {
        return Some((not.arg().downcast_ref()?, Compare::Eq, Datum::Bool(false)));
    }
    let binary = condition.downcast_ref::<BinaryExpr>()?;
    let (left, right) = (binary.left(), binary.right());
    let (call, constant, flipped) = match (left.downcast_ref(), right.downcast_ref::<Literal>()) {
        (Some(call), Some(constant)) => (call, constant, false),
        (Some(_) | None, _) => (right.downcast_ref()?, left.downcast_ref::<Literal>()?, true),
    };
    let compare = match (binary.op(), flipped) {
        (Operator::Eq, _) => Compare::Eq,
        (Operator::NotEq, _) => Compare::Ne,
        (Operator::Lt, false) | (Operator::Gt, true) => Compare::Lt,
        (Operator::LtEq, false) | (Operator::GtEq, true) => Compare::Le,
        (Operator::Gt, false) | (Operator::Lt, true) => Compare::Gt,
        (Operator::GtEq, false) | (Operator::LtEq, true) => Compare::Ge,
        (_other, _) => return None,
    };
    Some((call, compare, datum(constant.value())?))
}

fn is_column(arg: &Expr) -> bool {
    arg.is::<Column>() || arg.downcast_ref::<CastExpr>().is_some_and(|cast| cast.expr().is::<Column>())
}

/// Whether bounds of a parameter can be said of a column's type.
fn speaks(data_type: &DataType, base: Base) -> bool {
    match base {
        Base::Int => data_type.is_integer(),
        // A bound that is rounded to 32 bits would be another one.
        Base::Float => *data_type == DataType::Float64,
        Base::Date => *data_type == DataType::Date32,
        Base::DateTime => *data_type == DataType::Timestamp(TimeUnit::Microsecond, None),
        Base::Bool | Base::Str => false,
    }
}

/// The least and greatest value of an integer type, as far as 64 bits go.
fn ends(data_type: &DataType) -> Option<(i64, i64)> {
    Some(match data_type {
        DataType::Int8 => (i8::MIN.into(), i8::MAX.into()),
        DataType::Int16 => (i16::MIN.into(), i16::MAX.into()),
        DataType::Int32 => (i32::MIN.into(), i32::MAX.into()),
        DataType::Int64 => (i64::MIN, i64::MAX),
        DataType::UInt8 => (0, u8::MAX.into()),
        DataType::UInt16 => (0, u16::MAX.into()),
        DataType::UInt32 => (0, u32::MAX.into()),
        DataType::UInt64 => (0, i64::MAX),
        _other => return None,
    })
}

fn datum(value: &ScalarValue) -> Option<Datum> {
    Some(match value {
        ScalarValue::Boolean(Some(b)) => Datum::Bool(*b),
        ScalarValue::Float64(Some(x)) => Datum::Float(*x),
        ScalarValue::Int8(Some(i)) => Datum::Int((*i).into()),
        ScalarValue::Int16(Some(i)) => Datum::Int((*i).into()),
        ScalarValue::Int32(Some(i)) => Datum::Int((*i).into()),
        ScalarValue::Int64(Some(i)) => Datum::Int(*i),
        ScalarValue::UInt8(Some(i)) => Datum::Int((*i).into()),
        ScalarValue::UInt16(Some(i)) => Datum::Int((*i).into()),
        ScalarValue::UInt32(Some(i)) => Datum::Int((*i).into()),
        ScalarValue::UInt64(Some(i)) => Datum::Int(i64::try_from(*i).ok()?),
        ScalarValue::Date32(Some(days)) => Datum::Date((*days).into()),
        ScalarValue::TimestampMicrosecond(Some(micros), None) => Datum::DateTime(*micros),
        _other => return None,
    })
}

/// The bounds of an operand that is a constant.
fn of_constant(constant: &Datum, base: Base) -> Bounds {
    match (constant, base) {
        (Datum::Bool(b), Base::Bool) => Bounds::of(Range::Bool { no: !b, yes: *b }),
        (Datum::Int(i), Base::Int) | (Datum::Date(i), Base::Date) | (Datum::DateTime(i), Base::DateTime) => {
            Bounds::int(*i, *i)
        }
        (Datum::Float(x), Base::Float) if !x.is_nan() => Bounds::float(*x, *x, false),
        (_, Base::Bool | Base::Int | Base::Float | Base::Str | Base::Date | Base::DateTime) => {
            Bounds::ANYTHING
        }
    }
}

fn literal(value: ScalarValue) -> Expr {
    Arc::new(Literal::new(value))
}

/// `arg >= low AND arg <= high OR ...`; nothing if some span has neither end for this type.
fn within(arg: &Expr, data_type: &DataType, spans: &[Span]) -> Option<Expr> {
    let binary = |left: Expr, op: Operator, right: Expr| Arc::new(BinaryExpr::new(left, op, right)) as Expr;
    let mut any: Option<Expr> = None;
    for span in spans {
        let mut both: Vec<Expr> = vec![];
        let mut empty = false;
        for (end, op) in [(&span.low, Operator::GtEq), (&span.high, Operator::LtEq)] {
            let Some(end) = end else { continue };
            let at = match end {
                Datum::Float(x) => ScalarValue::Float64(Some(*x)),
                Datum::Date(days) => ScalarValue::Date32(Some(i32::try_from(*days).ok()?)),
                Datum::DateTime(micros) => ScalarValue::TimestampMicrosecond(Some(*micros), None),
                Datum::Int(i) => {
                    let (least, most) = ends(data_type)?;
                    let (all, none) = match op {
                        Operator::GtEq => (*i <= least, *i > most),
                        _at_most => (*i >= most && *data_type != DataType::UInt64, *i < least),
                    };
                    empty |= none;
                    if all || none {
                        continue;
                    }
                    ScalarValue::Int64(Some(*i)).cast_to(data_type).ok()?
                }
                Datum::None | Datum::Bool(_) | Datum::Str(_) => return None,
            };
            both.push(binary(Arc::clone(arg), op, literal(at)));
        }
        if empty {
            continue;
        }
        if both.is_empty() {
            return None;
        }
        let both = conjunction(both);
        any = Some(match any {
            Some(before) => binary(before, Operator::Or, both),
            None => both,
        });
    }
    Some(any.unwrap_or_else(|| literal(ScalarValue::Boolean(Some(false)))))
}
