//! Suite `groups`: aggregation by group over a table in memory, from 4 groups to nearly as many as rows.
//!
//! Hypothesis: few groups cost what reading the columns costs; from the point where a table of all groups no
//! longer fits the caches, a row costs a bounded number of nanoseconds however many groups there are, since
//! rows are dealt to parts that do fit.
//!
//! Axes: key (numbers of a range, numbers far apart, strings), groups, skew, threads. Timed is the call of
//! `Session::sql` to the end of the result stream, with planning and compiling cached; medians of `--repeat`
//! runs. the suite `primitives` compares the same queries with other engines.
//!
//! Machine: any; the JSON form names the processor.

use std::sync::Arc;
use std::time::Instant;

use arrow::array::{ArrayRef, Float64Array, Int64Array, StringArray};
use arrow::record_batch::RecordBatch;
use fuseline::Session;
use futures::StreamExt;
use serde_json::json;

use crate::data::Random;
use crate::loops::is_fused;
use crate::report::{Report, median};
use crate::{Failure, GroupsArguments};

/// A name and what makes the key of row `i` out of a random number.
type Keys = (&'static str, fn(u64, &mut Random) -> i64);

const NUMBERS: &[Keys] = &[
    ("4", |_, r| r.below(4) as i64),
    ("1 k", |_, r| r.below(1000) as i64),
    ("100 k", |_, r| r.below(100_000) as i64),
    ("1 M", |_, r| r.below(1_000_000) as i64),
    ("5 M", |_, r| r.below(5_000_000) as i64),
    ("spread 100 k", |_, r| r.below(100_000) as i64 * 7_919_000_009),
    ("spread 1 M", |_, r| r.below(1_000_000) as i64 * 7_919_000_009),
    ("spread 5 M", |_, r| r.below(5_000_000) as i64 * 7_919_000_009),
    // Half of the rows belong to a hundred groups.
    ("skewed 5 M", |_, r| {
        let most = if r.below(2) == 0 { 100 } else { 5_000_000 };
        r.below(most) as i64 * 7_919_000_009
    }),
    ("every row", |i, _| i as i64 * 7_919_000_009),
];

const TEXTS: &[(&str, &str, u64)] =
    &[("100 words", "word ", 100), ("100 k words", "a longer word, number ", 100_000)];

pub fn run(arguments: &GroupsArguments, report: &mut Report) -> Result<(), Failure> {
    println!("{:<16} {:>7} {:>10} {:>9}", "groups", "threads", "rows out", "ns/row");
    let wanted = |name: &str| arguments.only.as_ref().is_none_or(|part| name.contains(part.as_str()));
    let rows = arguments.rows as u64;
    for (name, key) in NUMBERS.iter().filter(|(name, _)| wanted(name)) {
        let mut random = Random::new(17);
        let keys: Int64Array = (0..rows).map(|i| key(i, &mut random)).collect::<Vec<i64>>().into();
        measure(name, Arc::new(keys), arguments, report)?;
    }
    for (name, prefix, count) in TEXTS.iter().filter(|(name, ..)| wanted(name)) {
        let mut random = Random::new(17);
        let words: Vec<String> = (0..*count).map(|i| format!("{prefix}{i}")).collect();
        let keys =
            StringArray::from_iter_values((0..rows).map(|_| words[random.below(*count) as usize].as_str()));
        measure(name, Arc::new(keys), arguments, report)?;
    }
    Ok(())
}

fn measure(
    name: &str,
    keys: ArrayRef,
    arguments: &GroupsArguments,
    report: &mut Report,
) -> Result<(), Failure> {
    let rows = keys.len();
    let mut random = Random::new(23);
    let values: Float64Array = (0..rows).map(|_| random.unit()).collect::<Vec<f64>>().into();
    let whole = RecordBatch::try_from_iter([("k", keys), ("a", Arc::new(values) as ArrayRef)])?;
    let batches: Vec<RecordBatch> =
        (0..rows).step_by(1 << 20).map(|at| whole.slice(at, (1 << 20).min(rows - at))).collect();
    for &threads in &arguments.threads {
        let session = Session::builder().threads(threads).build()?;
        session.register_batches("t", whole.schema(), batches.clone())?;
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build()?;
        let mut times = vec![];
        let (mut found, mut fused) = (0, false);
        for _ in 0..=arguments.repeat {
            let begin = Instant::now();
            (found, fused) = runtime.block_on(drain(&session, &arguments.sql))?;
            times.push(begin.elapsed().as_secs_f64() * 1e9 / rows as f64);
        }
        // The first one compiles.
        let time = median(&times[1..]);
        let note = if fused { "" } else { "  NOT FUSED" };
        println!("{name:<16} {threads:>7} {found:>10} {time:>9.3}{note}");
        report.add(json!({
            "suite": "groups",
            "groups": name,
            "threads": threads,
            "rows": rows,
            "found": found,
            "ns_per_row": time,
            "fused": fused,
        }));
    }
    Ok(())
}

/// Keeps the result until it is whole, as a reader of a table would.
async fn drain(session: &Session, sql: &str) -> Result<(usize, bool), Failure> {
    let query = session.sql(sql).await?;
    let fused = is_fused(&query.plan()?);
    let mut stream = query.stream().await?;
    let mut batches = vec![];
    while let Some(batch) = stream.next().await {
        batches.push(batch?);
    }
    Ok((batches.iter().map(RecordBatch::num_rows).sum(), fused))
}
