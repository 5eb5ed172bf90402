//! User-defined functions move out of the operators that evaluate expressions in their own way.
//!
//! DataFusion sorts by a key that it evaluates once per run and again while it merges; a grouped
//! aggregate evaluates its arguments before its FILTER; a window's key is evaluated to partition, to
//! sort and to cut. A function there would see rows more than once, or rows that are excluded. So
//! this rule computes such an expression in a projection below, where it is evaluated once per row,
//! lazily, and can be fused. It runs before DataFusion optimizes, because the search for common
//! subexpressions does not know that a FILTER comes before the arguments; and once more after all
//! other rules, for the aggregates that they make of DISTINCT ON and subqueries.
//!
//! ```text
//! Sort: f(x)                          Projection: x
//!   TableScan: x              ->        Sort: __function_1
//!                                         Projection: x, f(x) AS __function_1
//!                                           TableScan: x
//!
//! Aggregate: sum(f(x))                Aggregate: sum(__function_1) FILTER (p) AS "sum(f(x)) FILTER (p)"
//!            FILTER (p)       ->        Projection: x, p, CASE WHEN p IS TRUE THEN f(x) END AS __function_1
//!   TableScan: x, p                       TableScan: x, p
//! ```
//!
//! Invariants:
//! * the plan's schema stays as it was, names included;
//! * a second run changes nothing: what was moved is a column.

use crate::udf::boundary::BoundaryUdf;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{Column, Result};
use datafusion::logical_expr::expr::{AggregateFunction, GroupingSet, Sort as SortExpr, WindowFunction};
use datafusion::logical_expr::{Aggregate, Expr, LogicalPlan, Projection, Sort, Window, when};
use datafusion::optimizer::{AnalyzerRule, ApplyOrder, OptimizerConfig, OptimizerRule};
use std::sync::Arc;

/// Moves user-defined functions out of sorts, aggregates and windows.
#[derive(Debug, Default)]
pub struct HoistRule;

impl HoistRule {
    pub const NAME: &'static str = "fuseline_functions";
}

impl OptimizerRule for HoistRule {
    fn name(&self) -> &str {
        HoistRule::NAME
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::BottomUp)
    }

    fn rewrite(&self, plan: LogicalPlan, _config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        hoisted(plan)
    }
}

impl AnalyzerRule for HoistRule {
    fn name(&self) -> &str {
        HoistRule::NAME
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        plan.transform_up_with_subqueries(hoisted).data()
    }
}

/// The operator with its functions in a projection below.
fn hoisted(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    match plan {
        LogicalPlan::Sort(sort) if sort.expr.iter().any(|key| calls(&key.expr)) => sorted(sort),
        LogicalPlan::Aggregate(aggregate)
            if aggregate.group_expr.iter().chain(&aggregate.aggr_expr).any(calls) =>
        {
            aggregated(aggregate)
        }
        LogicalPlan::Window(window) if window.window_expr.iter().any(calls) => windowed(window),
        // Filters and projections evaluate row by row, and joins see pairs that exist nowhere below.
        other => Ok(Transformed::no(other)),
    }
}

/// Whether an expression calls a user-defined function.
fn calls(expr: &Expr) -> bool {
    // The visitor itself never errs.
    expr.exists(|e| {
        Ok(matches!(e, Expr::ScalarFunction(f) if f.func.inner().downcast_ref::<BoundaryUdf>().is_some()))
    })
    .unwrap_or(false)
}

fn sorted(sort: Sort) -> Result<Transformed<LogicalPlan>> {
    let columns = columns_of(&sort.input);
    let mut below = Below::new(sort.input);
    let expr = sort.expr.into_iter().map(|key| below.key(key, None)).collect::<Result<_>>()?;
    let sort = Sort { expr, input: below.build()?, fetch: sort.fetch };
    let plan = Projection::try_new(columns, Arc::new(LogicalPlan::Sort(sort)))?;
    Ok(Transformed::yes(LogicalPlan::Projection(plan)))
}

fn aggregated(aggregate: Aggregate) -> Result<Transformed<LogicalPlan>> {
    let mut below = Below::new(aggregate.input);
    let filters = below.filters(aggregate.aggr_expr.iter().filter_map(|e| match inner(e) {
        Expr::AggregateFunction(f) => f.params.filter.as_deref(),
        _ => None,
    }))?;
    let group_expr = aggregate
        .group_expr
        .into_iter()
        .map(|e| match e {
            Expr::GroupingSet(set) => Ok(Expr::GroupingSet(match set {
                GroupingSet::Rollup(keys) => GroupingSet::Rollup(below.group_keys(keys)?),
                GroupingSet::Cube(keys) => GroupingSet::Cube(below.group_keys(keys)?),
                GroupingSet::GroupingSets(sets) => GroupingSet::GroupingSets(
                    sets.into_iter().map(|keys| below.group_keys(keys)).collect::<Result<_>>()?,
                ),
            })),
            key => below.group_key(key),
        })
        .collect::<Result<_>>()?;
    let aggr_expr = aggregate
        .aggr_expr
        .into_iter()
        .map(|e| {
            renamed(e, |e| match e {
                Expr::AggregateFunction(AggregateFunction { func, mut params }) => {
                    let condition = filters.of(&mut params.filter);
                    params.args = below.values(params.args, condition.as_ref())?;
                    params.order_by = below.keys(params.order_by, condition.as_ref())?;
                    Ok(Expr::AggregateFunction(AggregateFunction { func, params }))
                }
                other => Ok(other),
            })
        })
        .collect::<Result<_>>()?;
    let plan = Aggregate::try_new(below.build()?, group_expr, aggr_expr)?;
    Ok(Transformed::yes(LogicalPlan::Aggregate(plan)))
}

fn windowed(window: Window) -> Result<Transformed<LogicalPlan>> {
    let columns = window.schema.columns().into_iter().map(Expr::Column).collect();
    let mut below = Below::new(window.input);
    let filters = below.filters(window.window_expr.iter().filter_map(|e| match inner(e) {
        Expr::WindowFunction(f) => f.params.filter.as_deref(),
        _ => None,
    }))?;
    let window_expr = window
        .window_expr
        .into_iter()
        .map(|e| {
            renamed(e, |e| match e {
                Expr::WindowFunction(function) => {
                    let WindowFunction { fun, mut params } = *function;
                    let condition = filters.of(&mut params.filter);
                    params.args = below.values(params.args, condition.as_ref())?;
                    // Rows that a FILTER excludes still have their place in the window.
                    params.partition_by = below.values(params.partition_by, None)?;
                    params.order_by = below.keys(params.order_by, None)?;
                    Ok(Expr::WindowFunction(Box::new(WindowFunction { fun, params })))
                }
                other => Ok(other),
            })
        })
        .collect::<Result<_>>()?;
    let window = Window::try_new(window_expr, below.build()?)?;
    let plan = Projection::try_new(columns, Arc::new(LogicalPlan::Window(window)))?;
    Ok(Transformed::yes(LogicalPlan::Projection(plan)))
}

fn columns_of(plan: &LogicalPlan) -> Vec<Expr> {
    plan.schema().columns().into_iter().map(Expr::Column).collect()
}

fn inner(expr: &Expr) -> &Expr {
    match expr {
        Expr::Alias(alias) => inner(&alias.expr),
        other => other,
    }
}

/// Changes an expression below its aliases, and gives it back the name that it had.
fn renamed(expr: Expr, change: impl FnOnce(Expr) -> Result<Expr>) -> Result<Expr> {
    match expr {
        Expr::Alias(mut alias) => {
            *alias.expr = renamed(*alias.expr, change)?;
            Ok(Expr::Alias(alias))
        }
        other => {
            let name = other.schema_name().to_string();
            change(other)?.alias_if_changed(name)
        }
    }
}

/// The filters of aggregates that had to be computed below, and the columns that they became.
struct Filters(Vec<(Expr, Expr)>);

impl Filters {
    /// Puts the column in the filter's place. What comes back says on which rows an argument counts.
    fn of(&self, filter: &mut Option<Box<Expr>>) -> Option<Expr> {
        let filter = filter.as_mut()?;
        if let Some((_, column)) = self.0.iter().find(|(moved, _)| moved == filter.as_ref()) {
            **filter = column.clone();
        }
        Some(filter.as_ref().clone())
    }
}

/// The projection below an operator: all columns of its input, and what was moved there.
struct Below {
    input: Arc<LogicalPlan>,
    /// Each with the column that it becomes.
    moved: Vec<(Expr, Column)>,
    /// The number of the last column.
    last: usize,
}

impl Below {
    fn new(input: Arc<LogicalPlan>) -> Below {
        Below { input, moved: Vec::new(), last: 0 }
    }

    /// Computes filters in a projection of their own, so that arguments can refer to them: those that
    /// call functions, and those that would decide otherwise if they were evaluated twice.
    fn filters<'a>(&mut self, filters: impl Iterator<Item = &'a Expr>) -> Result<Filters> {
        let mut found: Vec<(Expr, Expr)> = Vec::new();
        for filter in filters.filter(|f| calls(f) || f.is_volatile()) {
            // Equal ones that are volatile share a column: all that is promised is one evaluation.
            if found.iter().all(|(other, _)| other != filter) {
                found.push((filter.clone(), Expr::Column(self.add(filter.clone()))));
            }
        }
        if !found.is_empty() {
            self.input = self.build()?;
        }
        Ok(Filters(found))
    }

    /// The projection, or the input itself if nothing was moved.
    fn build(&mut self) -> Result<Arc<LogicalPlan>> {
        if self.moved.is_empty() {
            return Ok(Arc::clone(&self.input));
        }
        let mut columns = columns_of(&self.input);
        columns.extend(self.moved.drain(..).map(|(expr, column)| expr.alias(column.name)));
        Ok(Arc::new(LogicalPlan::Projection(Projection::try_new(columns, Arc::clone(&self.input))?)))
    }

    fn add(&mut self, expr: Expr) -> Column {
        let name = loop {
            self.last += 1;
            let name = format!("__function_{}", self.last);
            if self.input.schema().columns_with_unqualified_name(&name).is_empty() {
                break name;
            }
        };
        let column = Column::new_unqualified(name);
        self.moved.push((expr, column.clone()));
        column
    }

    /// An expression as a column if it calls a function; where `condition` is not true it is NULL.
    fn value(&mut self, expr: Expr, condition: Option<&Expr>) -> Result<Expr> {
        if !calls(&expr) {
            return Ok(expr);
        }
        let expr = match condition {
            Some(condition) => when(condition.clone().is_true(), expr).end()?,
            None => expr,
        };
        let shared = self.moved.iter().find(|(other, _)| *other == expr && !expr.is_volatile());
        Ok(Expr::Column(match shared {
            Some((_, column)) => column.clone(),
            None => self.add(expr),
        }))
    }

    fn values(&mut self, exprs: Vec<Expr>, condition: Option<&Expr>) -> Result<Vec<Expr>> {
        exprs.into_iter().map(|e| self.value(e, condition)).collect()
    }

    fn key(&mut self, key: SortExpr, condition: Option<&Expr>) -> Result<SortExpr> {
        Ok(SortExpr { expr: self.value(key.expr, condition)?, ..key })
    }

    fn keys(&mut self, keys: Vec<SortExpr>, condition: Option<&Expr>) -> Result<Vec<SortExpr>> {
        keys.into_iter().map(|key| self.key(key, condition)).collect()
    }

    /// A key of GROUP BY under the name that it had. The same key in several grouping sets is one
    /// column, also if it is volatile.
    fn group_key(&mut self, key: Expr) -> Result<Expr> {
        if !calls(&key) {
            return Ok(key);
        }
        renamed(key, |key| match self.moved.iter().find(|(other, _)| *other == key) {
            Some((_, column)) => Ok(Expr::Column(column.clone())),
            None => Ok(Expr::Column(self.add(key))),
        })
    }

    fn group_keys(&mut self, keys: Vec<Expr>) -> Result<Vec<Expr>> {
        keys.into_iter().map(|key| self.group_key(key)).collect()
    }
}
