//! What becomes of build rows when all rows that could meet them are through.
//!
//! Of a left or full join those that met none go on with NULLs in place of a partner, of semi, anti and mark
//! joins of the left side they are all that goes on. Either way they take the same steps as pairs do, so they
//! are the source of a stage of their own that ends in the same sink: its batch has the columns of the build
//! side, whether a row was met, and columns of NULLs for those of the probe side.
//!
//! A run may hold several such joins; their stages are run from the lowest join up, since rows of a lower one
//! meet those above. All below the topmost semi, anti or mark join is silent: it only meets build rows.

use super::join::Joined;
use super::push_filter;
use crate::expr::{Col, Scope, StageBuilder};
use crate::options::PlanOptions;
use crate::stage::{KeptColumn, Segment};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use datafusion::common::JoinType;
use fuseline_codegen::ir::{Emit, Op, Sink};
use std::sync::Arc;

/// The source of the stage that a join's kept rows take.
pub(super) struct KeptSource {
    pub schema: SchemaRef,
    pub columns: Vec<KeptColumn>,
}

impl KeptSource {
    pub fn of(joined: &Joined) -> Result<KeptSource, String> {
        let (build, probe) = (joined.build.schema(), joined.probe.schema());
        let mut fields: Vec<FieldRef> = vec![];
        let mut columns = vec![];
        for (i, field) in build.fields().iter().enumerate() {
            fields.push(nullable(field));
            columns.push(KeptColumn::Build(i));
        }
        fields.push(Arc::new(Field::new("met", DataType::Boolean, false)));
        columns.push(KeptColumn::Visited);
        if joined.pads() {
            for field in probe.fields() {
                fields.push(nullable(field));
                columns.push(KeptColumn::Null(field.data_type().clone()));
            }
        }
        Ok(KeptSource { schema: Arc::new(Schema::new(fields)), columns })
    }

    /// The program over it, and what the join's parent sees. `probe` are the columns of the probe side in the
    /// program of the rows that meet the join: equal ones are one here too, so that all above finds the
    /// same things equal.
    pub fn begin(
        &self,
        joined: &Joined,
        probe: &[Col],
        options: PlanOptions,
    ) -> Result<(StageBuilder, Scope), String> {
        let exec = joined.exec()?;
        let mut b = StageBuilder::new(Arc::clone(&self.schema), options);
        b.all_nullable = true;
        let width = joined.build.schema().fields().len();
        let met = b.col_value(&Col::Source(width))?;
        let mut cols: Vec<Col> = (0..width).map(Col::Source).collect();
        match exec.join_type() {
            JoinType::Left | JoinType::Full => {
                let alone = b.total(Op::Not, &[met])?;
                push_filter(&mut b, alone)?;
                for (i, col) in probe.iter().enumerate() {
                    let first = probe.iter().position(|c| c == col).unwrap_or(i);
                    cols.push(Col::Source(width + 1 + first));
                }
            }
            JoinType::LeftSemi => push_filter(&mut b, met)?,
            JoinType::LeftAnti => {
                let alone = b.total(Op::Not, &[met])?;
                push_filter(&mut b, alone)?;
            }
            JoinType::LeftMark => cols.push(Col::Value { id: met, data_type: DataType::Boolean }),
            JoinType::Inner
            | JoinType::Right
            | JoinType::RightSemi
            | JoinType::RightAnti
            | JoinType::RightMark => return Err("it keeps no rows of its build side".to_owned()),
        }
        let cols = match &exec.projection {
            Some(columns) => columns.iter().map(|i| cols[*i].clone()).collect(),
            None => cols,
        };
        Ok((b, Scope { schema: joined.exec.schema(), cols }))
    }

    /// Keeps only the columns that the first of these segments reads.
    pub fn settle(&mut self, segments: &mut [Segment]) {
        let Some(first) = segments.first_mut() else { return };
        let mut used: Vec<usize> = first.inputs.clone();
        if let Sink::Emit(emits) = &first.loop_.sink {
            used.extend(emits.iter().filter_map(|e| match e {
                Emit::Passenger { column } => Some(*column),
                Emit::Value { .. } => None,
            }));
        }
        used.sort_unstable();
        used.dedup();
        let place = |column: usize| used.iter().position(|u| *u == column).unwrap_or(0);
        first.inputs.iter_mut().for_each(|i| *i = place(*i));
        if let Sink::Emit(emits) = &mut Arc::make_mut(&mut first.loop_).sink {
            for emit in emits {
                if let Emit::Passenger { column } = emit {
                    *column = place(*column);
                }
            }
        }
        self.columns = used.iter().map(|i| self.columns[*i].clone()).collect();
        let fields: Vec<FieldRef> = used.iter().map(|i| Arc::clone(&self.schema.fields()[*i])).collect();
        self.schema = Arc::new(Schema::new(fields));
    }
}

fn nullable(field: &FieldRef) -> FieldRef {
    if field.is_nullable() { Arc::clone(field) } else { Arc::new(field.as_ref().clone().with_nullable(true)) }
}
