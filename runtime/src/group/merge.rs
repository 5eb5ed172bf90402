//! One set of groups out of the workers' tables.
//!
//! Few groups are merged one table after the other. Many are first cut into parts by the hash of their
//! keys, so that each part's table stays in a near cache while it is filled and the parts can be made on
//! all cores; a part takes its groups from the tables in the order of the workers either way.

use datafusion::common::runtime::JoinSet;
use datafusion::common::{DataFusionError, Result};
use fuseline_codegen::groups::Groups;
use std::sync::Arc;

/// So many groups are merged without parts.
const FEW: usize = 1 << 15;
/// Groups that a part should have at most: with slots and records some 64 bytes each.
const PART: usize = 1 << 14;
const MOST_PARTS: usize = 1 << 10;

/// Merges settled tables, on at most `tasks` cores. The parts come in the order of the hash, each settled.
pub(super) async fn merge(mut tables: Vec<Groups>, tasks: usize) -> Result<Vec<Groups>> {
    tables.retain(|t| !t.is_empty());
    let total: usize = tables.iter().map(Groups::len).sum();
    let Some((first, others)) = tables.split_first_mut() else { return Ok(vec![]) };
    if others.is_empty() || total <= FEW {
        for other in others {
            first.merge(other, None);
        }
        first.settle();
        tables.truncate(1);
        return Ok(tables);
    }
    let parts = (total / PART).next_power_of_two().clamp(tasks.next_power_of_two(), MOST_PARTS);
    let tables: Arc<[Groups]> = tables.into();
    // Which groups belong to which part, table by table.
    let mut listing = JoinSet::new();
    for (at, _) in tables.iter().enumerate() {
        let tables = Arc::clone(&tables);
        listing.spawn(async move { (at, tables[at].parts(parts)) });
    }
    let mut lists: Vec<Vec<Vec<u32>>> = vec![vec![]; tables.len()];
    while let Some(done) = listing.join_next().await {
        let (at, list) = done.map_err(|e| DataFusionError::ExecutionJoin(Box::new(e)))?;
        lists[at] = list;
    }
    let lists = Arc::new(lists);
    let mut merging = JoinSet::new();
    let share = parts.div_ceil(tasks.max(1));
    for first in (0..parts).step_by(share) {
        let (tables, lists) = (Arc::clone(&tables), Arc::clone(&lists));
        merging.spawn(async move {
            let mut merged = Vec::with_capacity(share);
            for part in first..(first + share).min(parts) {
                let mut groups = Groups::with_layout(Arc::clone(tables[0].layout()), 0);
                // As many as the largest share has, and some that only others have.
                let most = lists.iter().map(|l| l[part].len()).max().unwrap_or(0);
                groups.reserve(most + most / 4);
                for (table, list) in tables.iter().zip(lists.iter()) {
                    groups.merge(table, Some(&list[part]));
                }
                groups.settle();
                merged.push(groups);
                tokio::task::yield_now().await;
            }
            (first, merged)
        });
    }
    let mut all: Vec<(usize, Vec<Groups>)> = vec![];
    while let Some(done) = merging.join_next().await {
        all.push(done.map_err(|e| DataFusionError::ExecutionJoin(Box::new(e)))?);
    }
    all.sort_by_key(|(first, _)| *first);
    Ok(all.into_iter().flat_map(|(_, merged)| merged).collect())
}
