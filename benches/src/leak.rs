//! Suite `leak`: resident memory over many distinct compiled queries in one process.
//!
//! Hypothesis: compiled code, plans and their caches have owners and bounds, so that 10,000 distinct
//! queries leave less than 20 MB behind. Cranelift leaks a module's code when it is merely dropped, and
//! at 4 KB per query that alone would be 40 MB.
//!
//! Axes: the number of queries. Constants are baked into the code, and every query has its own; five
//! shapes of expression take turns. The count begins after the first query of each shape: until then the
//! system maps the pages of the program itself as it is run for the first time (some 30 MB of its text),
//! which is printed apart and no more with 10,000 queries than with five.
//!
//! Machine: Linux (resident memory is read from /proc).

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use arrow::record_batch::RecordBatch;
use fuseline::Session;
use serde_json::json;

use crate::Failure;
use crate::data::Kind;
use crate::loops::is_fused;
use crate::report::{Report, resident_bytes};

/// Rows of the table: enough for several chunks, few enough that compiling is most of the work.
const ROWS: usize = 5_000;

/// Most that 10,000 queries may leave behind.
const LIMIT_BYTES: isize = 20_000_000;

/// Shapes of queries.
const SHAPES: usize = 5;

/// Query `i`: no two are equal, and no two give the same code.
fn query(i: usize) -> String {
    match i % SHAPES {
        0 => format!("select sum(a * {i}.5 + b) from t where k > {}", i % 97),
        1 => format!("select count(*) from t where k * {i} % 7 = 1 and a < 0.5"),
        2 => format!("select max(case when k < {} then a else b + {i} end) from t", i % 89),
        3 => format!("select a + {i}, b * a - {i}.25 from t where a > 0.99"),
        _ => format!("select min(a / (b + {i})), count(k) from t where k in (1, {i}, 50, 60)"),
    }
}

pub fn run(queries: usize, report: &mut Report) -> Result<(), Failure> {
    let session = Session::builder().threads(1).set("fuseline.fusion", "force").build()?;
    let schema = Arc::new(Schema::new(vec![
        Field::new("a", DataType::Float64, false),
        Field::new("b", DataType::Float64, false),
        Field::new("k", DataType::Int32, false),
    ]));
    let batch = RecordBatch::try_new(
        Arc::clone(&schema),
        vec![Kind::Unit.column(ROWS, 1), Kind::Unit.column(ROWS, 2), Kind::Percent.column(ROWS, 3)],
    )?;
    session.register_batches("t", schema, vec![batch])?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;

    let start = resident_bytes()?;
    let mut begin = start;
    let mut fused = 0;
    for i in 0..queries {
        if i == SHAPES {
            begin = resident_bytes()?;
        }
        runtime.block_on(async {
            let query = session.sql(&query(i)).await?;
            fused += usize::from(is_fused(&query.plan()?));
            query.collect().await?;
            Ok::<_, Failure>(())
        })?;
    }
    let end = resident_bytes()?;
    let growth = end as isize - begin as isize;
    println!(
        "{queries} distinct queries, {fused} with a compiled stage: resident memory {:.1} MB -> {:.1} \
         MB, grown by {:.1} MB ({:.1} MB before any query)",
        begin as f64 / 1e6,
        end as f64 / 1e6,
        growth as f64 / 1e6,
        start as f64 / 1e6,
    );
    report.add(json!({
        "suite": "leak",
        "queries": queries,
        "fused": fused,
        "growth_bytes": growth,
        "start_bytes": start,
        "begin_bytes": begin,
    }));
    if fused != queries {
        return Err(format!("only {fused} of {queries} queries had a compiled stage").into());
    }
    if growth > LIMIT_BYTES {
        return Err(format!("resident memory grew by {growth} bytes, more than {LIMIT_BYTES}").into());
    }
    Ok(())
}
