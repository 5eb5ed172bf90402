//! One set of groups out of the workers' tables.
//!
//! Few groups are merged one table after the other. Many are first dealt to parts by the hash of their keys,
//! unless the workers have done so already, so that each part's table stays in a near cache while it is filled
//! and the parts can be made on all cores. A part takes its groups from the workers in their order, whoever
//! makes it, so the result is the same at every run.

use datafusion::common::runtime::JoinSet;
use datafusion::common::{DataFusionError, Result};
use fuseline_codegen::groups::{DealtGroups, Groups, PartMerger};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// So many groups are merged without parts.
const FEW: usize = 1 << 15;
/// Groups that a part should have at most: with slots and records some 64 bytes each.
const PART: usize = 1 << 14;
const MOST_PARTS: usize = 1 << 10;

/// Merges settled tables, on at most `tasks` cores. The parts come in the order of the hash, each settled.
pub(super) async fn merge(mut tables: Vec<Groups>, tasks: usize) -> Result<Vec<Groups>> {
    tables.retain(|t| !t.is_empty());
    let total: usize = tables.iter().map(Groups::records).sum();
    // Those who dealt did so to as many parts as each other.
    let dealt = tables.iter().find_map(Groups::dealt_parts);
    let Some((first, others)) = tables.split_first_mut() else { return Ok(vec![]) };
    if dealt.is_none() && (others.is_empty() || total <= FEW) {
        for other in others {
            first.merge(other);
        }
        first.settle();
        tables.truncate(1);
        return Ok(tables);
    }
    let tasks = tasks.max(1);
    let few_parts = || (total / PART).next_power_of_two().clamp(tasks.next_power_of_two(), MOST_PARTS);
    let parts = dealt.unwrap_or_else(few_parts);
    let layout = Arc::clone(tables[0].layout());

    let mut dealing = JoinSet::new();
    for (at, table) in tables.into_iter().enumerate() {
        dealing.spawn(async move { (at, table.into_dealt(parts)) });
    }
    let workers: Arc<[DealtGroups]> = in_order(dealing).await?.into();

    let mut merging = JoinSet::new();
    let next = Arc::new(AtomicUsize::new(0));
    for _ in 0..tasks.min(parts) {
        let (workers, next) = (Arc::clone(&workers), Arc::clone(&next));
        let mut merger = PartMerger::new(Arc::clone(&layout));
        merging.spawn(async move {
            let mut merged = vec![];
            loop {
                let part = next.fetch_add(1, Ordering::Relaxed);
                if part >= parts {
                    return (0, merged);
                }
                merged.push((part, merger.merge(&workers, part)));
                tokio::task::yield_now().await;
            }
        });
    }
    let mut merged: Vec<(usize, Groups)> = in_order(merging).await?.into_iter().flatten().collect();
    merged.sort_by_key(|(part, _)| *part);
    Ok(merged.into_iter().map(|(_, groups)| groups).collect())
}

/// What tasks give, in the order of the numbers that come with it.
async fn in_order<T: Send + 'static>(mut tasks: JoinSet<(usize, T)>) -> Result<Vec<T>> {
    let mut all = vec![];
    while let Some(done) = tasks.join_next().await {
        all.push(done.map_err(|e| DataFusionError::ExecutionJoin(Box::new(e)))?);
    }
    all.sort_by_key(|(at, _)| *at);
    Ok(all.into_iter().map(|(_, t)| t).collect())
}
