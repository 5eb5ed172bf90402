//! Hash joins: the probe side goes on in the stage, the build side is a plan of its own.
//!
//! In DataFusion's `HashJoinExec` the left side is built and the right one probes. Which build row a row
//! meets is one value, the *entry* of its key, null without partner; what a join of any type is follows from
//! it: an inner or left join goes on with a row for every build row of the entry, a right or full one also
//! without, semi and anti joins of the probe side are filters on whether there is one. Columns of the build
//! side are fetched where they are used, so those that nothing reads cost nothing. Where a condition decides
//! as well, whether a row of the probe side has a partner is asked by a call ([`super::matches`]).
//!
//! A left or full join, and semi, anti and mark joins of the left side, have loops note which build rows
//! were met; what becomes of them is a stage of its own, run afterwards ([`super::kept`]).
//!
//! Both sides of a partitioned join lie behind exchanges by the key. Where nobody above relies on partitions
//! they are taken in: one table is built of all rows, and rows of the probe side stay where they are.

use super::matches::matches;
use super::{Plan, one_line, predicate, push_filter};
use crate::expr::{Col, Ctx, Scope, StageBuilder, can_emit, mistyped_case, sql};
use crate::stage::{JoinPlan, Kept, Stage};
use arrow::datatypes::DataType;
use datafusion::common::{JoinSide, JoinType, NullEquality};
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::joins::{HashJoinExec, PartitionMode};
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties, Partitioning};
use fuseline_codegen::ir::{Input, Lit, MOST_JOIN_KEYS, Op, ValueId};
use std::sync::Arc;

/// A join of a run.
pub(super) struct Joined {
    pub exec: Plan,
    pub build: Plan,
    pub probe: Plan,
    /// Exchanges of the probe side that were taken in.
    pub exchanges: Vec<Plan>,
    /// The partitions that these exchanges had made.
    pub merged: Option<usize>,
    pub by_partition: bool,
}

/// What is left of the rows of the probe side above a join.
pub(super) enum Above {
    Rows(Scope),
    /// Nothing: they only meet build rows. For a NOT IN, whether each row's key is NULL.
    Nothing(Option<ValueId>),
}

/// A join in the program of a stage.
pub(super) struct PlannedJoin {
    pub plan: JoinPlan,
    pub above: Above,
    /// The columns of the probe side below it.
    pub probe: Vec<Col>,
}

/// Whether build rows leave that no row has met, or only build rows do.
pub(super) fn keeps_build_rows(join_type: JoinType) -> bool {
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

/// Whether rows of both sides leave together.
fn pairs_rows(join_type: JoinType) -> bool {
    match join_type {
        JoinType::Inner | JoinType::Left | JoinType::Right | JoinType::Full => true,
        JoinType::LeftSemi
        | JoinType::LeftAnti
        | JoinType::LeftMark
        | JoinType::RightSemi
        | JoinType::RightAnti
        | JoinType::RightMark => false,
    }
}

impl Joined {
    /// `free`: nobody above relies on partitions. `Err`: why no stage probes it.
    pub fn match_at(plan: &Plan, free: bool, no_limit: bool) -> Result<Joined, String> {
        let join = plan.downcast_ref::<HashJoinExec>().ok_or("no hash join")?;
        if join.null_aware && join.filter().is_some() {
            return Err("it is a NOT IN with a condition".to_owned());
        }
        if !no_limit && keeps_build_rows(*join.join_type()) {
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
        let width = left.fields().len();
        let held = |i: &usize| *i >= width || can_emit(left.field(*i).data_type());
        if pairs_rows(*join.join_type()) {
            let outputs: Vec<usize> = match &join.projection {
                Some(columns) => columns.iter().copied().collect(),
                None => (0..width).collect(),
            };
            if let Some(i) = outputs.iter().find(|i| !held(i)) {
                return Err(format!("no stage fetches a column of type {}", left.field(*i).data_type()));
            }
        }
        if join.filter().is_some() {
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

    pub fn exec(&self) -> Result<&HashJoinExec, String> {
        self.exec.downcast_ref::<HashJoinExec>().ok_or_else(|| "no hash join".to_owned())
    }

    /// Whether rows of the build side leave when all others are through.
    pub fn keeps(&self) -> bool {
        self.exec().is_ok_and(|e| keeps_build_rows(*e.join_type()))
    }

    /// Whether rows of the build side leave with NULLs in place of a partner.
    pub fn pads(&self) -> bool {
        self.exec().is_ok_and(|e| matches!(e.join_type(), JoinType::Left | JoinType::Full))
    }

    /// The join as number `join` of the stage, and what its parent sees of the rows that meet it.
    pub fn plan(&self, b: &mut StageBuilder, join: u32, scope: Scope) -> Result<PlannedJoin, String> {
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
        let probe = scope.cols.clone();
        let mut entry = b.total(Op::Probe { join, null_equal }, &values)?;
        let join_type = *exec.join_type();
        let kept = keeps_build_rows(join_type);
        let by_entry = kept && exec.filter().is_none();
        if by_entry {
            b.ir.visit(join, entry);
            b.filters.push(entry);
        }
        let above = match join_type {
            JoinType::Inner | JoinType::Right | JoinType::Left | JoinType::Full => {
                let outer = matches!(join_type, JoinType::Right | JoinType::Full);
                if outer && exec.filter().is_some() {
                    // Rows whose partners all fail the condition have none.
                    let there = matches(b, self, join, &scope)?;
                    let lost = b.total(Op::Not, &[there])?;
                    entry = b.total(Op::NullIf, &[entry, lost])?;
                }
                let row = self.pairs(b, join, (entry, outer), &scope)?;
                if kept && !by_entry {
                    b.ir.visit(join, row);
                    b.filters.push(row);
                }
                Above::Rows(self.paired(b, join, row, scope)?)
            }
            JoinType::RightSemi | JoinType::RightAnti => {
                let mut keep = self.has_partner(b, join, entry, &scope)?;
                if join_type == JoinType::RightAnti {
                    keep = b.total(Op::Not, &[keep])?;
                }
                push_filter(b, keep)?;
                Above::Rows(self.projected(exec, scope))
            }
            JoinType::RightMark => {
                let id = self.has_partner(b, join, entry, &scope)?;
                let mut scope = scope;
                scope.cols.push(Col::Value { id, data_type: DataType::Boolean });
                Above::Rows(self.projected(exec, scope))
            }
            JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark => {
                if !by_entry {
                    let row = self.pairs(b, join, (entry, false), &scope)?;
                    b.ir.visit(join, row);
                    b.filters.push(row);
                }
                Above::Nothing(match (exec.null_aware, values.as_slice()) {
                    (true, [key]) => {
                        let valid = b.total(Op::IsValid, &[*key])?;
                        Some(b.total(Op::Not, &[valid])?)
                    }
                    (true, _) => return Err("a NOT IN of several columns".to_owned()),
                    (false, _) => None,
                })
            }
        };
        let plan = JoinPlan {
            keys,
            tys,
            null_equal,
            columns: (0..self.build.schema().fields().len()).collect(),
            by_partition: self.by_partition,
            dynamic_filter: exec.dynamic_expressions_produced().into_iter().next(),
            probe_keys: exec.on().iter().map(|(_, right)| Arc::clone(right)).collect(),
            text: one_line(&self.exec),
            kept: kept.then(|| Kept { columns: vec![], by_entry, null_aware: exec.null_aware }),
        };
        Ok(PlannedJoin { plan, above, probe })
    }

    /// Whether a row of the probe side has a partner.
    fn has_partner(
        &self,
        b: &mut StageBuilder,
        join: u32,
        entry: ValueId,
        scope: &Scope,
    ) -> Result<ValueId, String> {
        match self.exec()?.filter() {
            Some(_) => matches(b, self, join, scope),
            None => b.total(Op::IsValid, &[entry]),
        }
    }

    /// Goes on with pairs that meet the condition, in an outer join also with rows without partner; gives the
    /// build row.
    pub(super) fn pairs(
        &self,
        b: &mut StageBuilder,
        join: u32,
        (entry, outer): (ValueId, bool),
        scope: &Scope,
    ) -> Result<ValueId, String> {
        let row = b.ir.expand(join, entry, outer)?;
        b.filters.push(row);
        let Some(filter) = self.exec()?.filter() else { return Ok(row) };
        let left_schema = self.build.schema();
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
        if !outer {
            let holds = predicate(b, filter.expression(), &pair, Ctx::default())?;
            push_filter(b, holds)?;
            return Ok(row);
        }
        let paired = b.total(Op::IsValid, &[row])?;
        let holds = predicate(b, filter.expression(), &pair, Ctx { under: Some(paired) })?;
        let alone = b.ir.lit(Lit::Bool(true));
        let keep = b.total(Op::Select, &[paired, holds, alone])?;
        push_filter(b, keep)?;
        Ok(row)
    }

    /// What the parent of a join sees of its pairs.
    fn paired(&self, b: &mut StageBuilder, join: u32, row: ValueId, scope: Scope) -> Result<Scope, String> {
        let exec = self.exec()?;
        let left_schema = self.build.schema();
        let width = left_schema.fields().len();
        let all: Vec<usize> = match &exec.projection {
            Some(columns) => columns.iter().copied().collect(),
            None => (0..width + scope.cols.len()).collect(),
        };
        let mut cols = vec![];
        for i in all {
            cols.push(match i.checked_sub(width) {
                Some(right) if self.pads() => maybe_null(b, &scope.cols[right])?,
                Some(right) => scope.cols[right].clone(),
                None => fetched(b, join, row, &left_schema, i)?,
            });
        }
        Ok(Scope { schema: self.exec.schema(), cols })
    }

    fn projected(&self, exec: &HashJoinExec, scope: Scope) -> Scope {
        let cols = match &exec.projection {
            Some(columns) => columns.iter().map(|i| scope.cols[*i].clone()).collect(),
            None => scope.cols,
        };
        Scope { schema: self.exec.schema(), cols }
    }
}

/// The column as one that may be NULL, so that all above it is planned alike for rows where it is.
fn maybe_null(b: &mut StageBuilder, col: &Col) -> Result<Col, String> {
    let Col::Value { id, data_type } = col else { return Ok(col.clone()) };
    if b.ir.nullable(*id) {
        return Ok(col.clone());
    }
    let never = b.ir.lit(Lit::Bool(false));
    let id = b.total(Op::NullIf, &[*id, never])?;
    Ok(Col::Value { id, data_type: data_type.clone() })
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
    let nullable = field.is_nullable() || b.all_nullable;
    let op = Op::Fetch { join, column: index as u32, ty, nullable };
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
pub(super) fn settle_columns(stage: &mut Stage) {
    let mut used: Vec<Vec<usize>> = vec![vec![]; stage.joins.len()];
    for loop_ in stage.loops_mut() {
        for inst in &loop_.values {
            if let Op::Fetch { join, column, .. } = inst.op {
                used[join as usize].push(column as usize);
            }
        }
    }
    for (list, join) in used.iter_mut().zip(stage.joins.iter_mut()) {
        list.sort_unstable();
        list.dedup();
        join.columns.clone_from(list);
    }
    for loop_ in stage.loops_mut() {
        if loop_.joins() == 0 {
            continue;
        }
        for inst in &mut Arc::make_mut(loop_).values {
            if let Op::Fetch { join, column, .. } = &mut inst.op
                && let Some(at) = used[*join as usize].iter().position(|c| *c == *column as usize)
            {
                *column = at as u32;
            }
        }
    }
}
