//! Whether a row of the probe side has a partner that meets a join's condition.
//!
//! A row may have several partners, and once a loop has gone on to pairs there is no way back to rows. So the
//! question is put to a loop of its own, a call of the stage: it goes through the pairs, drops those that fail
//! the condition, and the rows that any pair is left of are those with a partner.

use super::join::Joined;
use crate::expr::{Col, Ctx, Scope, StageBuilder, sql};
use crate::precision;
use arrow::datatypes::{Field, Schema};
use datafusion::common::{JoinSide, NullEquality};
use datafusion::physical_expr::utils::collect_columns;
use fuseline_codegen::ir::{Emit, Op, Sink, ValueId, verify};
use std::collections::BTreeSet;
use std::sync::Arc;

/// The answer for the rows of `scope`, the probe side of join number `join`.
pub(super) fn matches(
    b: &mut StageBuilder,
    joined: &Joined,
    join: u32,
    scope: &Scope,
) -> Result<ValueId, String> {
    let exec = joined.exec()?;
    let filter = exec.filter().ok_or("a join without condition")?;
    // What of the probe side the loop reads; its own columns are these, in their order.
    let mut wanted: BTreeSet<usize> = BTreeSet::new();
    for (_, right) in exec.on() {
        wanted.extend(collect_columns(right).iter().map(|c| c.index()));
    }
    let of_filter = filter.column_indices().iter().filter(|c| c.side == JoinSide::Right);
    wanted.extend(of_filter.map(|c| c.index));
    let wanted: Vec<usize> = wanted.into_iter().collect();
    let args: Vec<Col> = wanted.iter().map(|i| scope.cols[*i].clone()).collect();
    let fields: Vec<Field> = args
        .iter()
        .zip(&wanted)
        .map(|(col, i)| {
            let data_type = match col {
                Col::Source(i) => b.source.field(*i).data_type().clone(),
                Col::Call(k) => b.calls[*k].field.data_type().clone(),
                Col::Value { data_type, .. } => data_type.clone(),
            };
            Field::new(scope.schema.field(*i).name(), data_type, true)
        })
        .collect();
    if args.is_empty() {
        return Err("its keys and its condition read no column of the probe side".to_owned());
    }
    let mut inner = StageBuilder::new(Arc::new(Schema::new(fields)), b.options);
    // Nothing refers to the others.
    let place = |i: usize| Col::Source(wanted.iter().position(|w| *w == i).unwrap_or(0));
    let cols = (0..scope.cols.len()).map(place).collect();
    let inner_scope = Scope { schema: Arc::clone(&scope.schema), cols };
    let mut keys = vec![];
    for (_, right) in exec.on() {
        let key = inner.value(right, &inner_scope, Ctx::default());
        keys.push(key.map_err(|why| format!("`{}`: {why}", sql(right)))?);
    }
    let null_equal = exec.null_equality() == NullEquality::NullEqualsNull;
    let entry = inner.total(Op::Probe { join, null_equal }, &keys)?;
    joined.pairs(&mut inner, join, (entry, false), &inner_scope)?;
    if let Some(call) = inner.calls.first() {
        return Err(format!("its condition calls {} per batch", call.name));
    }
    let name = filter.expression().to_string();
    let inputs = inner.inputs.clone();
    let (mut loop_, origin) = inner.ir.finish(Sink::Emit(vec![Emit::Passenger { column: 0 }]));
    precision::settle(&mut loop_, true, |_| true);
    verify(&loop_).map_err(|e| format!("internal error: {e}"))?;
    let mut columns = vec![];
    for i in origin {
        match inputs[i] {
            crate::expr::InputKey::Source(column) => columns.push(column),
            crate::expr::InputKey::Call(_) => return Err("its condition reads a call".to_owned()),
        }
    }
    let answer = b.matches(name, loop_, columns, args);
    b.col_value(&answer)
}
