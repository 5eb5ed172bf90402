//! Writing a result: `Sink`s turn record batches into bytes of a format, `Destination` is where the
//! bytes go.
//!
//! A sink owns its destination while it writes and hands it back at the end, because the writers of
//! Parquet and Arrow own theirs. When something fails the sink is dropped with the destination in
//! it, and a half-written file goes with that.

mod binary;
mod destination;
mod table;
mod text;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;

use crate::args::Format;
use crate::error::CliError;

pub use destination::Destination;
pub use table::Limits;

/// Writes one result.
pub trait Sink {
    /// Writes the next rows.
    fn write(&mut self, batch: &RecordBatch) -> Result<(), CliError>;

    /// Writes what closes the result and gives the destination back, not yet flushed.
    fn finish(self: Box<Self>) -> Result<Destination, CliError>;
}

/// The sink of `format` for a result of `schema`. `plan` asks for the plain text of an EXPLAIN in the
/// table format; `limits` is how much of a table is shown.
pub fn sink(
    format: Format,
    schema: SchemaRef,
    plan: bool,
    limits: Limits,
    destination: Destination,
) -> Result<Box<dyn Sink>, CliError> {
    Ok(match format {
        Format::Table if plan => Box::new(table::PlanSink::new(destination)),
        Format::Table => Box::new(table::TableSink::new(&schema, limits, destination)),
        Format::Csv => Box::new(text::DelimitedSink::new(&schema, b',', destination)?),
        Format::Tsv => Box::new(text::DelimitedSink::new(&schema, b'\t', destination)?),
        Format::Json => Box::new(text::JsonSink::new(destination)),
        Format::Jsonl => Box::new(text::JsonLinesSink::new(destination)),
        Format::Markdown => Box::new(text::MarkdownSink::new(&schema, destination)?),
        Format::Parquet => Box::new(binary::ParquetSink::new(schema, destination)?),
        Format::Arrow => binary::arrow_sink(&schema, destination)?,
    })
}
