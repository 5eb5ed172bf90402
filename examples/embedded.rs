//! A SQL session inside a Rust program: `cargo run --release --example embedded`.
//!
//! Registers a table from memory, queries it beside a file, writes the result to Parquet, and shows
//! what became of the plan.

use std::sync::Arc;

use fuseline::arrow::array::{Float64Array, Int64Array, RecordBatch};
use fuseline::arrow::datatypes::{DataType, Field, Schema};
use fuseline::arrow::util::pretty::pretty_format_batches;
use fuseline::{Error, Session};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let session = Session::builder().set("fuseline.fusion", "force").build()?;

    let schema = Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("price", DataType::Float64, true),
    ]));
    let batch = RecordBatch::try_new(
        Arc::clone(&schema),
        vec![
            Arc::new(Int64Array::from(vec![1, 2, 3, 4])),
            Arc::new(Float64Array::from(vec![Some(9.5), None, Some(20.0), Some(0.5)])),
        ],
    )?;
    session.register_batches("items", schema, vec![batch])?;

    // A file is a table too: its path stands in FROM.
    let folder = tempfile::tempdir()?;
    let names = folder.path().join("names.csv");
    std::fs::write(&names, "id,name\n1,apple\n3,lamp\n4,nail\n")?;
    let sql = format!(
        "SELECT name, price * 1.19 AS gross FROM items JOIN '{}' USING (id) WHERE price > 1 ORDER BY id",
        names.display()
    );
    let batches = session.sql(&sql).await?.collect().await?;
    println!("{}", pretty_format_batches(&batches)?);

    // The file appears whole or not at all.
    let out = folder.path().join("out.parquet");
    let copy = format!("COPY (SELECT * FROM items WHERE price > 1) TO '{}'", out.display());
    session.sql(&copy).await?.collect().await?;

    let explain = format!("EXPLAIN SELECT sum(price) FROM '{}' WHERE id % 2 = 1", out.display());
    let plan = session.sql(&explain).await?.collect().await?;
    println!("{}", pretty_format_batches(&plan)?);

    // Mistakes are values with one message, and know where they are.
    match session.sql("SELECT prise FROM items").await {
        Err(error @ Error::Plan { .. }) => println!("{error}"),
        other => return Err(format!("expected a plan error, got {other:?}").into()),
    }
    Ok(())
}
