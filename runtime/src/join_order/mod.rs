//! In which order inner joins are made, and which side of a join is built.
//!
//! DataFusion joins in the order in which a query writes its tables. A stage that probes is cheap per row, and
//! a table that is built is not, so what matters is how many rows reach each join: those that drop rows come
//! first, and what they leave of a large table is probed, not built. The rule takes trees of inner joins
//! ([`tree`]) apart ([`graph`]), estimates ([`estimate`]), joins greedily what leaves the fewest rows, and keeps
//! DataFusion's order unless that is clearly better. Semi joins that keep few rows of one table go down to it.
//! Of other joins it exchanges the sides where the smaller one is not built, and groups that such a join
//! could not use are left out ([`sideways`]).
//!
//! It runs after DataFusion has chosen join operators and before it makes exchanges, so that those are made
//! for the new plan. A plan's columns stay what they were, order and names included.

mod conditions;
mod estimate;
mod graph;
mod sideways;
mod tree;

use crate::config::{FuselineOptions, FusionMode};
use datafusion::common::config::ConfigOptions;
use datafusion::common::{JoinType, Result};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::execution_plan::replace_children_if_necessary;
use datafusion::physical_plan::joins::{HashJoinExec, PartitionMode};
use estimate::estimate;
use graph::Graph;
use sideways::with_fewer_groups;
use std::sync::Arc;
use tree::put_back;

type Plan = Arc<dyn ExecutionPlan>;

/// Sides are exchanged where the built one has so many times the rows of the other.
const CLEARLY: f64 = 1.5;

/// Orders joins, where stages are made at all.
#[derive(Debug)]
pub(crate) struct JoinOrderRule;

impl PhysicalOptimizerRule for JoinOrderRule {
    fn optimize(&self, plan: Plan, config: &ConfigOptions) -> Result<Plan> {
        let options = FuselineOptions::of(config);
        if options.fusion == FusionMode::Off || !options.reorder_joins {
            return Ok(plan);
        }
        let least = if options.fusion == FusionMode::On { options.min_rows as f64 } else { 0.0 };
        rewrite(&plan, least)
    }

    fn name(&self) -> &str {
        "fuseline_join_order"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// `least`: plans whose tables have fewer rows stay as they are.
fn rewrite(plan: &Plan, least: f64) -> Result<Plan> {
    if let Some(mut graph) = Graph::of(plan) {
        for table in graph.tables_mut() {
            *table = rewrite(table, least)?;
        }
        graph.estimate();
        let (tables, semis) = graph.plans();
        if graph.rows() >= least
            && let Some(ordered) = graph.ordered()?
            && ordered.schema() == plan.schema()
        {
            return Ok(ordered);
        }
        return put_back(plan, &mut tables.into_iter(), &mut semis.into_iter());
    }
    let children: Vec<Plan> =
        plan.children().into_iter().map(|c| rewrite(c, least)).collect::<Result<_>>()?;
    let plan = replace_children_if_necessary(Arc::clone(plan), children)?;
    let plan = match with_fewer_groups(&plan)? {
        Some(fewer) if fewer.schema() == plan.schema() => fewer,
        Some(_) | None => plan,
    };
    match smaller_side_built(&plan, least)? {
        Some(exchanged) if exchanged.schema() == plan.schema() => Ok(exchanged),
        Some(_) | None => Ok(plan),
    }
}

/// The join with its sides exchanged, if it builds the larger one.
fn smaller_side_built(plan: &Plan, least: f64) -> Result<Option<Plan>> {
    let Some(join) = plan.downcast_ref::<HashJoinExec>() else { return Ok(None) };
    // Those of inner joins were thought about.
    if *join.join_type() == JoinType::Inner || join.null_aware || join.fetch().is_some() {
        return Ok(None);
    }
    let (build, probe) = (estimate(join.left()).rows, estimate(join.right()).rows);
    if build + probe < least || build < probe * CLEARLY {
        return Ok(None);
    }
    join.swap_inputs(PartitionMode::CollectLeft).map(Some)
}
