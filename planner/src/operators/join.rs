//! Hash joins: the probe side goes on in the stage, the build side is a plan of its own.
//!
//! In DataFusion's `HashJoinExec` the left side is built and the right one probes. Which build row a row
//! meets is one value, the *entry* of its key, null without partner; what a join of any type is follows from
//! it: an inner join goes on with a row for every build row of the entry, a right outer one also without, semi
//! and anti joins are filters on whether there is one. Columns of the build side are fetched where they are
//! used, so those that nothing reads cost nothing.
//!
//! Both sides of a partitioned join lie behind exchanges by the key. Where nobody above relies on partitions
//! they are taken in: one table is built of all rows, and rows of the probe side stay where they are.

use super::{Plan, one_line, predicate, push_filter};
use crate::expr::{Col, Ctx, Scope, StageBuilder, can_emit, mistyped_case, sql};
use crate::stage::{JoinPlan, Segment};
use arrow::datatypes::DataType;
use datafusion::common::{JoinSide, JoinType, NullEquality};
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::joins::{HashJoinExec, PartitionMode};
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties, Partitioning};
use fuseline_codegen::ir::{Input, MOST_JOIN_KEYS, Op, ValueId};
use std::sync::Arc;

/// A join of a run.
pub(super) struct Joined {
    exec: Plan,
    pub build: Plan,
    pub probe: Plan,
    /// Exchanges of the probe side that were taken in.
    pub exchanges: Vec<Plan>,
    /// The partitions that these exchanges had made.
    pub merged: Option<usize>,
    by_partition: bool,
}

/// Whether build rows leave that no row has met, or only build rows do.
fn keeps_build_rows(join_type: JoinType) -> bool {
    match join_type {
        JoinType::Left | JoinType::Full | JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark => {
            true
        }
        JoinType::Inner
        | JoinType::Right
        | JoinType::RightSemi
        | JoinType::RightAnti
        | JoinType::RightMark => false,
    }
}

impl Joined {
    /// `free`: nobody above relies on partitions. `Err`: why no stage probes it.
    pub fn match_at(plan: &Plan, free: bool, no_limit: bool) -> Result<Joined, String> {
        let join = plan.downcast_ref::<HashJoinExec>().ok_or("no hash join")?;
        if join.null_aware {
            return Err("it is a NOT IN, whose NULLs stages do not compare".to_owned());
        }
        if keeps_build_rows(*join.join_type()) {
            return Err(format!("no stage keeps the build side's rows of a {} join", join.join_type()));
        }
        if join.filter().is_some() && *join.join_type() != JoinType::Inner {
            return Err(format!("no stage computes the condition of a {} join", join.join_type()));
        }
        if plan.fetch().is_some() || !no_limit {
            return Err("a limit ends it early".to_owned());
        }
        if join.on().len() > MOST_JOIN_KEYS {
            return Err(format!("it has more than {MOST_JOIN_KEYS} keys"));
        }
        let (left, right) = (join.left().schema(), join.right().schema());
        for (l, r) in join.on() {
            let of = |e: &Arc<dyn datafusion::physical_plan::PhysicalExpr>, s: &arrow::datatypes::Schema| {
                e.data_type(s).map_err(|e| e.to_string())
            };
            let (a, b) = (of(l, &left)?, of(r, &right)?);
            let same = Input::physical(&a).is_some() && Input::physical(&a) == Input::physical(&b);
            let text = Input::physical(&a) == Some(fuseline_codegen::ir::Ty::Str);
            if !same || (a != b && !text) {
                return Err(format!("no stage joins {a} with {b}"));
            }
            if let Some(why) = mistyped_case(r, &right) {
                return Err(why);
            }
        }
        if let Some(filter) = join.filter()
            && let Some(why) = mistyped_case(filter.expression(), filter.schema())
        {
            return Err(why);
        }
        if matches!(join.join_type(), JoinType::Inner | JoinType::Right) {
            let width = left.fields().len();
            let outputs: Vec<usize> = match &join.projection {
                Some(columns) => columns.iter().copied().collect(),
                None => (0..width).collect(),
            };
            let held = |i: &usize| *i >= width || can_emit(left.field(*i).data_type());
            if let Some(i) = outputs.iter().find(|i| !held(i)) {
                return Err(format!("no stage fetches a column of type {}", left.field(*i).data_type()));
            }
            let needed = join.filter().map(|f| f.column_indices().to_vec()).unwrap_or_default();
            if needed.iter().any(|c| c.side == JoinSide::Left && !held(&c.index)) {
                return Err("its condition reads a column that no stage fetches".to_owned());
            }
        }
        let (mut build, mut probe) = (Arc::clone(join.left()), Arc::clone(join.right()));
        let (mut exchanges, mut merged, mut by_partition) = (vec![], None, false);
        match join.partition_mode() {
            PartitionMode::CollectLeft => {
                if let Some(all) = build.downcast_ref::<CoalescePartitionsExec>()
                    && all.fetch().is_none()
                {
                    build = Arc::clone(all.input());
                }
            }
            PartitionMode::Partitioned if free => {
                merged = Some(plan.output_partitioning().partition_count());
                if let Some(inner) = exchanged_by_hash(&build) {
                    build = inner;
                }
                if let Some(inner) = exchanged_by_hash(&probe) {
                    exchanges.push(Arc::clone(&probe));
                    probe = inner;
                }
            }
            PartitionMode::Partitioned => by_partition = true,
            PartitionMode::Auto => return Err("its partitions are not decided".to_owned()),
        }
        Ok(Joined { exec: Arc::clone(plan), build, probe, exchanges, merged, by_partition })
    }

    fn exec(&self) -> Result<&HashJoinExec, String> {
        self.exec.downcast_ref::<HashJoinExec>().ok_or_else(|| "no hash join".to_owned())
    }

    /// The join as number `join` of the stage, and what its parent sees.
    pub fn plan(&self, b: &mut StageBuilder, join: u32, scope: Scope) -> Result<(JoinPlan, Scope), String> {
        let exec = self.exec()?;
        b.enter();
        let null_equal = exec.null_equality() == NullEquality::NullEqualsNull;
        let (mut keys, mut values, mut tys) = (vec![], vec![], vec![]);
        for (left, right) in exec.on() {
            let value =
                b.value(right, &scope, Ctx::default()).map_err(|why| format!("`{}`: {why}", sql(right)))?;
            keys.push(Arc::clone(left));
            tys.push(b.ir.ty(value));
            values.push(value);
        }
        let entry = b.total(Op::Probe { join, null_equal }, &values)?;
        let left_schema = self.build.schema();
        let scope = match exec.join_type() {
            JoinType::Inner | JoinType::Right => {
                let row = b.ir.expand(join, entry, *exec.join_type() == JoinType::Right)?;
                b.filters.push(row);
                if let Some(filter) = exec.filter() {
                    let mut cols = vec![];
                    for at in filter.column_indices() {
                        cols.push(match at.side {
                            JoinSide::Left => fetched(b, join, row, &left_schema, at.index)?,
                            JoinSide::Right => scope.cols[at.index].clone(),
                            JoinSide::None => return Err("its condition reads no side".to_owned()),
                        });
                    }
                    let pair = Scope { schema: filter.schema().clone(), cols };
                    b.enter();
                    let holds = predicate(b, filter.expression(), &pair, Ctx::default())?;
                    push_filter(b, holds)?;
                }
                let width = left_schema.fields().len();
                let all: Vec<usize> = match &exec.projection {
                    Some(columns) => columns.iter().copied().collect(),
                    None => (0..width + scope.cols.len()).collect(),
                };
                let mut cols = vec![];
                for i in all {
                    cols.push(match i.checked_sub(width) {
                        Some(right) => scope.cols[right].clone(),
                        None => fetched(b, join, row, &left_schema, i)?,
                    });
                }
                Scope { schema: self.exec.schema(), cols }
            }
            JoinType::RightSemi | JoinType::RightAnti => {
                let mut keep = b.total(Op::IsValid, &[entry])?;
                if *exec.join_type() == JoinType::RightAnti {
                    keep = b.total(Op::Not, &[keep])?;
                }
                push_filter(b, keep)?;
                self.projected(exec, scope)
            }
            JoinType::RightMark => {
                let id = b.total(Op::IsValid, &[entry])?;
                let mut scope = scope;
                scope.cols.push(Col::Value { id, data_type: DataType::Boolean });
                self.projected(exec, scope)
            }
            JoinType::Left
            | JoinType::Full
            | JoinType::LeftSemi
            | JoinType::LeftAnti
            | JoinType::LeftMark => return Err("it keeps rows of its build side".to_owned()),
        };
        let plan = JoinPlan {
            keys,
            tys,
            null_equal,
            columns: (0..left_schema.fields().len()).collect(),
            by_partition: self.by_partition,
            dynamic_filter: exec.dynamic_expressions_produced().into_iter().next(),
            probe_keys: exec.on().iter().map(|(_, right)| Arc::clone(right)).collect(),
            text: one_line(&self.exec),
        };
        Ok((plan, scope))
    }

    fn projected(&self, exec: &HashJoinExec, scope: Scope) -> Scope {
        let cols = match &exec.projection {
            Some(columns) => columns.iter().map(|i| scope.cols[*i].clone()).collect(),
            None => scope.cols,
        };
        Scope { schema: self.exec.schema(), cols }
    }
}

/// A column of the build side at a build row.
fn fetched(
    b: &mut StageBuilder,
    join: u32,
    row: ValueId,
    schema: &arrow::datatypes::SchemaRef,
    index: usize,
) -> Result<Col, String> {
    let field = schema.field(index);
    let ty =
        Input::physical(field.data_type()).ok_or_else(|| format!("no loop holds {}", field.data_type()))?;
    let op = Op::Fetch { join, column: index as u32, ty, nullable: field.is_nullable() };
    let id = b.total(op, &[row])?;
    Ok(Col::Value { id, data_type: field.data_type().clone() })
}

/// What an exchange by hash takes in, if its order means nothing.
fn exchanged_by_hash(plan: &Plan) -> Option<Plan> {
    let exchange = plan.downcast_ref::<RepartitionExec>()?;
    match exchange.partitioning() {
        Partitioning::Hash(..) if !exchange.preserve_order() => Some(Arc::clone(exchange.input())),
        Partitioning::Hash(..)
        | Partitioning::RoundRobinBatch(_)
        | Partitioning::Range(..)
        | Partitioning::UnknownPartitioning(_) => None,
    }
}

/// Keeps of each build side only the columns that some loop fetches.
pub(super) fn settle_columns(segments: &mut [Segment], joins: &mut [JoinPlan]) {
    let mut used: Vec<Vec<usize>> = vec![vec![]; joins.len()];
    for inst in segments.iter().flat_map(|s| &s.loop_.values) {
        if let Op::Fetch { join, column, .. } = inst.op {
            used[join as usize].push(column as usize);
        }
    }
    for (list, join) in used.iter_mut().zip(joins.iter_mut()) {
        list.sort_unstable();
        list.dedup();
        join.columns.clone_from(list);
    }
    for segment in segments {
        for inst in &mut Arc::make_mut(&mut segment.loop_).values {
            if let Op::Fetch { join, column, .. } = &mut inst.op
                && let Some(at) = used[*join as usize].iter().position(|c| *c == *column as usize)
            {
                *column = at as u32;
            }
        }
    }
}
