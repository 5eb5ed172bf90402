//! Splits computed expressions out of operators that are not fused.
//!
//! A grouped aggregate or a sort stays DataFusion's, but what it computes on each row need not: its keys,
//! arguments and filters move into a projection below it, which becomes a fused stage (together with the
//! filters and projections below that), and the operator reads plain columns.
//!
//! ```text
//! Aggregate gby=[a % 10], aggr=[sum(b * c)]      Aggregate gby=[k], aggr=[sum(x)]
//!   Filter a > 3                            =>     *(1) Projection a % 10 as k, b * c as x
//!                                                    *(1) Filter a > 3
//!
//!                                                Projection a, b
//! Sort a + b                                =>     Sort k
//!   Scan                                             *(1) Projection a, b, a + b as k
//! ```
//!
//! Invariants:
//! * the operators put back have the schema of what they replace, and an aggregate goes through its input
//!   in the same order mode; where that cannot be had, nothing is split;
//! * the replacement of a sort promises no order by an expression, so a sort is split only where no operator
//!   above reads the promise;
//! * constants stay where they are: many aggregate functions insist on a constant argument.

use datafusion::common::Result;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::physical_expr::aggregate::{AggregateExprBuilder, AggregateFunctionExpr};
use datafusion::physical_expr::expressions::{CaseExpr, CastExpr, Column, Literal, NegativeExpr};
use datafusion::physical_expr::{LexOrdering, PhysicalSortExpr};
use datafusion::physical_expr_common::physical_expr::{fmt_sql, is_volatile};
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateInputMode, PhysicalGroupBy};
use datafusion::physical_plan::projection::{ProjectionExec, ProjectionExpr};
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;
use datafusion::physical_plan::{ExecutionPlan, Partitioning, PhysicalExpr};
use std::sync::Arc;

type Plan = Arc<dyn ExecutionPlan>;
type Expr = Arc<dyn PhysicalExpr>;

/// An operator and its expressions apart.
pub struct Split {
    /// What computes the expressions, over the operator's input.
    pub projection: Plan,
    operator: Operator,
}

/// What is put back above the projection.
enum Operator {
    Aggregate { original: Plan, group_by: PhysicalGroupBy, filters: Vec<Option<Expr>>, args: Vec<Vec<Expr>> },
    Sort { sort: Plan, merge: Option<Plan>, keys: Vec<Expr>, columns: Vec<Expr> },
}

impl Split {
    /// The operator's computed expressions apart, if it has any and is one that can be split.
    /// `order_is_read`: an operator above relies on the order of its rows. `thorough`: also where what
    /// stays behind could do something useful with the expression itself.
    pub fn of(plan: &Plan, order_is_read: bool, thorough: bool) -> Result<Option<Split>> {
        if let Some(aggregate) = plan.downcast_ref::<AggregateExec>() {
            return split_aggregate(plan, aggregate);
        }
        if order_is_read {
            return Ok(None);
        }
        if let Some(merge) = plan.downcast_ref::<SortPreservingMergeExec>() {
            let below = merge.input();
            return match below.downcast_ref::<SortExec>() {
                Some(sort) if sort.expr() == merge.expr() => split_sort(below, sort, Some(plan), thorough),
                Some(_) | None => Ok(None),
            };
        }
        match plan.downcast_ref::<SortExec>() {
            Some(sort) => split_sort(plan, sort, None, thorough),
            None => Ok(None),
        }
    }

    /// The operator over what computes its expressions; `None` where it would not be the same operator.
    pub fn put_back(&self, computed: Plan) -> Result<Option<Plan>> {
        match &self.operator {
            Operator::Aggregate { original, group_by, filters, args } => {
                let Some(aggregate) = original.downcast_ref::<AggregateExec>() else { return Ok(None) };
                let functions = aggregate
                    .aggr_expr()
                    .iter()
                    .zip(args)
                    .map(|(f, args)| with_args(f, args.clone(), &computed).map(Arc::new))
                    .collect::<Result<Vec<_>>>()?;
                let schema = computed.schema();
                let (mode, groups) = (*aggregate.mode(), group_by.clone());
                let new = AggregateExec::try_new(mode, groups, functions, filters.clone(), computed, schema)?
                    .with_limit_options(aggregate.limit_options());
                let (promised, promises) = (original.properties(), new.properties());
                let same = new.schema() == aggregate.schema()
                    && new.input_order_mode() == aggregate.input_order_mode()
                    && promises.output_ordering() == promised.output_ordering()
                    && same_partitioning(&promises.partitioning, &promised.partitioning);
                Ok(same.then(|| Arc::new(new) as Plan))
            }
            Operator::Sort { sort, merge, keys, columns } => {
                let Some(exec) = sort.downcast_ref::<SortExec>() else { return Ok(None) };
                let keys = exec
                    .expr()
                    .iter()
                    .zip(keys)
                    .map(|(sorted, key)| PhysicalSortExpr { expr: Arc::clone(key), options: sorted.options });
                let Some(keys) = LexOrdering::new(keys) else { return Ok(None) };
                let mut new: Plan = Arc::new(
                    SortExec::new(keys.clone(), computed)
                        .with_preserve_partitioning(exec.preserve_partitioning())
                        .with_fetch(exec.fetch()),
                );
                if let Some(merge) = merge {
                    let fetch = merge.fetch();
                    new = Arc::new(SortPreservingMergeExec::new(keys, new).with_fetch(fetch));
                }
                let schema = sort.schema();
                let only = columns.iter().zip(schema.fields().iter()).map(|(column, field)| ProjectionExpr {
                    expr: Arc::clone(column),
                    alias: field.name().clone(),
                });
                let new = ProjectionExec::try_new(only.collect::<Vec<_>>(), new)?;
                let same = new.schema() == schema;
                Ok(same.then(|| Arc::new(new) as Plan))
            }
        }
    }
}

/// Equality of partitionings holds no unknown one for equal to another.
fn same_partitioning(a: &Partitioning, b: &Partitioning) -> bool {
    match (a, b) {
        (Partitioning::UnknownPartitioning(a), Partitioning::UnknownPartitioning(b)) => a == b,
        (a, b) => a == b,
    }
}

/// A projection under construction.
#[derive(Default)]
struct Computed {
    exprs: Vec<ProjectionExpr>,
}

impl Computed {
    /// The expression as a column of the projection; constants as they are.
    fn column(&mut self, expr: &Expr) -> Expr {
        if !expr.is::<Column>() && !is_computed(expr) {
            return Arc::clone(expr);
        }
        let known = self.exprs.iter().position(|e| e.expr.eq(expr) && !is_volatile(expr));
        let index = known.unwrap_or_else(|| {
            let alias = match expr.downcast_ref::<Column>() {
                Some(column) => column.name().to_owned(),
                None => fmt_sql(expr.as_ref()).to_string(),
            };
            self.exprs.push(ProjectionExpr { expr: Arc::clone(expr), alias });
            self.exprs.len() - 1
        });
        Arc::new(Column::new(&self.exprs[index].alias, index))
    }

    fn over(self, input: &Plan) -> Result<Plan> {
        Ok(Arc::new(ProjectionExec::try_new(self.exprs, Arc::clone(input))?))
    }
}

/// Whether evaluating the expression is work on each row.
pub fn is_computed(expr: &Expr) -> bool {
    if expr.is::<Column>() || expr.is::<Literal>() {
        return false;
    }
    let mut varies = is_volatile(expr);
    // The visitor itself never errs.
    let _ = expr.apply(|e| {
        varies |= e.is::<Column>();
        Ok(if varies { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    });
    varies
}

fn split_aggregate(plan: &Plan, aggregate: &AggregateExec) -> Result<Option<Split>> {
    let raw = match aggregate.mode().input_mode() {
        AggregateInputMode::Raw => true,
        AggregateInputMode::Partial => false,
    };
    // An order among an aggregate's own rows is matched with the input's, in terms of its expressions.
    let ordered = aggregate.aggr_expr().iter().any(|f| !f.order_bys().is_empty());
    let groups = aggregate.group_expr();
    let all = groups.expr().iter().map(|(e, _)| Arc::clone(e));
    let all = all.chain(aggregate.aggr_expr().iter().flat_map(|f| f.expressions()));
    let mut all = all.chain(aggregate.filter_expr().iter().flatten().cloned());
    if !raw || ordered || !all.any(|e| is_computed(&e)) {
        return Ok(None);
    }
    let mut computed = Computed::default();
    let keys = groups.expr().iter().map(|(e, name)| (computed.column(e), name.clone())).collect();
    let group_by = PhysicalGroupBy::new(
        keys,
        groups.null_expr().to_vec(),
        groups.groups().to_vec(),
        groups.has_grouping_set(),
    );
    let mut args = Vec::new();
    let mut filters = Vec::new();
    for (function, filter) in aggregate.aggr_expr().iter().zip(aggregate.filter_expr()) {
        let of = |arg: &Expr| match filter {
            // Without groups, arguments are evaluated on the rows that pass the filter; only those may err.
            Some(filter) if groups.is_true_no_grouping() && is_computed(arg) => {
                let arms = vec![(Arc::clone(filter), Arc::clone(arg))];
                CaseExpr::try_new(None, arms, None).map(|case| Arc::new(case) as Expr)
            }
            Some(_) | None => Ok(Arc::clone(arg)),
        };
        let own = function.expressions().iter().map(of).collect::<Result<Vec<_>>>()?;
        args.push(own.iter().map(|arg| computed.column(arg)).collect());
        filters.push(filter.as_ref().map(|filter| computed.column(filter)));
    }
    let projection = computed.over(aggregate.input())?;
    let operator = Operator::Aggregate { original: Arc::clone(plan), group_by, filters, args };
    Ok(Some(Split { projection, operator }))
}

/// The function of other arguments. Built anew, because it keeps the schema that its arguments refer to.
fn with_args(f: &AggregateFunctionExpr, args: Vec<Expr>, input: &Plan) -> Result<AggregateFunctionExpr> {
    let mut builder = AggregateExprBuilder::new(Arc::new(f.fun().clone()), args)
        .schema(input.schema())
        .alias(f.name())
        .with_ignore_nulls(f.ignore_nulls())
        .with_distinct(f.is_distinct())
        .with_reversed(f.is_reversed());
    if let Some(display) = f.human_display() {
        builder = builder.human_display(display);
    }
    builder.build()
}

fn split_sort(plan: &Plan, sort: &SortExec, merge: Option<&Plan>, thorough: bool) -> Result<Option<Split>> {
    // A TopK narrows the scan below by what it has seen, through casts too; a column that the stage computes
    // would hide the scan's own.
    let prunes = sort.fetch().is_some() && sort.expr().iter().all(|e| is_cast(&e.expr));
    if !sort.expr().iter().any(|e| is_computed(&e.expr)) || (prunes && !thorough) {
        return Ok(None);
    }
    let mut computed = Computed::default();
    for (i, field) in sort.input().schema().fields().iter().enumerate() {
        let expr: Expr = Arc::new(Column::new(field.name(), i));
        computed.exprs.push(ProjectionExpr { expr, alias: field.name().clone() });
    }
    let columns =
        computed.exprs.iter().enumerate().map(|(i, e)| Arc::new(Column::new(&e.alias, i)) as Expr).collect();
    let keys = sort.expr().iter().map(|e| computed.column(&e.expr)).collect();
    let projection = computed.over(sort.input())?;
    let operator = Operator::Sort { sort: Arc::clone(plan), merge: merge.cloned(), keys, columns };
    Ok(Some(Split { projection, operator }))
}

/// A column, or casts and signs of one.
fn is_cast(expr: &Expr) -> bool {
    if let Some(cast) = expr.downcast_ref::<CastExpr>() {
        return is_cast(cast.expr());
    }
    if let Some(negative) = expr.downcast_ref::<NegativeExpr>() {
        return is_cast(negative.arg());
    }
    expr.is::<Column>() || expr.is::<Literal>()
}
