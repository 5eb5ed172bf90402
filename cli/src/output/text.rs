//! Results as CSV, TSV, JSON, JSON lines and Markdown: written as the batches come, so memory stays
//! bounded however long the result is.
//!
//! In CSV and TSV a NULL is an empty field and an empty string is `""`, so that they can be told
//! apart; a field is quoted only where it must be. In JSON a NULL is written as `null`.

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::Schema;
use arrow::error::ArrowError;
use arrow::json::writer::{JsonArray, LineDelimited};
use arrow::json::{Writer, WriterBuilder};
use arrow::record_batch::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};

use crate::error::CliError;
use crate::output::{Destination, Sink};

fn formatters<'a>(
    columns: &'a [ArrayRef],
    options: &FormatOptions<'a>,
) -> Result<Vec<ArrayFormatter<'a>>, CliError> {
    columns
        .iter()
        .map(|column| ArrayFormatter::try_new(column.as_ref(), options))
        .collect::<Result<_, ArrowError>>()
        .map_err(|e| CliError::Query(e.to_string()))
}

/// CSV or TSV with a header line.
pub struct DelimitedSink {
    destination: Destination,
    delimiter: u8,
    line: Vec<u8>,
    field: String,
}

impl DelimitedSink {
    /// Writes the header of `schema`.
    pub fn new(schema: &Schema, delimiter: u8, destination: Destination) -> Result<DelimitedSink, CliError> {
        let mut sink = DelimitedSink { destination, delimiter, line: Vec::new(), field: String::new() };
        for (i, field) in schema.fields().iter().enumerate() {
            if i > 0 {
                sink.line.push(delimiter);
            }
            push_field(&mut sink.line, field.name(), delimiter);
        }
        sink.end_line()?;
        Ok(sink)
    }

    fn end_line(&mut self) -> Result<(), CliError> {
        self.line.push(b'\n');
        self.destination.bytes(&self.line)?;
        self.line.clear();
        Ok(())
    }
}

/// Appends one non-NULL field, quoted where it would otherwise be read differently.
fn push_field(line: &mut Vec<u8>, text: &str, delimiter: u8) {
    let special = |b: u8| b == delimiter || b == b'"' || b == b'\n' || b == b'\r';
    if !text.is_empty() && !text.bytes().any(special) {
        line.extend_from_slice(text.as_bytes());
        return;
    }
    line.push(b'"');
    for b in text.bytes() {
        if b == b'"' {
            line.push(b'"');
        }
        line.push(b);
    }
    line.push(b'"');
}

impl Sink for DelimitedSink {
    fn write(&mut self, batch: &RecordBatch) -> Result<(), CliError> {
        let options = FormatOptions::default();
        let columns = formatters(batch.columns(), &options)?;
        // Logical: also where a dictionary holds the NULL, or the column has the type Null.
        let nulls: Vec<_> = batch.columns().iter().map(|array| array.logical_nulls()).collect();
        for row in 0..batch.num_rows() {
            for (i, (formatter, nulls)) in columns.iter().zip(&nulls).enumerate() {
                if i > 0 {
                    self.line.push(self.delimiter);
                }
                if nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
                    continue;
                }
                self.field.clear();
                formatter.value(row).write(&mut self.field).map_err(|e| CliError::Query(e.to_string()))?;
                push_field(&mut self.line, &self.field, self.delimiter);
            }
            self.end_line()?;
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Destination, CliError> {
        Ok(self.destination)
    }
}

/// One JSON array of objects, with a line end after it.
pub struct JsonSink {
    writer: Writer<Destination, JsonArray>,
    name: String,
}

impl JsonSink {
    /// A sink that has written nothing yet.
    pub fn new(destination: Destination) -> JsonSink {
        let name = destination.name().to_string();
        JsonSink { writer: json_options().build(destination), name }
    }
}

fn json_options() -> WriterBuilder {
    WriterBuilder::new().with_explicit_nulls(true)
}

impl Sink for JsonSink {
    fn write(&mut self, batch: &RecordBatch) -> Result<(), CliError> {
        self.writer.write(batch).map_err(|e| CliError::writing(&self.name, &e))
    }

    fn finish(self: Box<Self>) -> Result<Destination, CliError> {
        let JsonSink { mut writer, name } = *self;
        writer.finish().map_err(|e| CliError::writing(&name, &e))?;
        let mut destination = writer.into_inner();
        destination.text("\n")?;
        Ok(destination)
    }
}

/// One JSON object per line.
pub struct JsonLinesSink {
    writer: Writer<Destination, LineDelimited>,
    name: String,
}

impl JsonLinesSink {
    /// A sink that has written nothing yet.
    pub fn new(destination: Destination) -> JsonLinesSink {
        let name = destination.name().to_string();
        JsonLinesSink { writer: json_options().build(destination), name }
    }
}

impl Sink for JsonLinesSink {
    fn write(&mut self, batch: &RecordBatch) -> Result<(), CliError> {
        self.writer.write(batch).map_err(|e| CliError::writing(&self.name, &e))
    }

    fn finish(self: Box<Self>) -> Result<Destination, CliError> {
        let JsonLinesSink { mut writer, name } = *self;
        writer.finish().map_err(|e| CliError::writing(&name, &e))?;
        Ok(writer.into_inner())
    }
}

/// A Markdown table; numbers are aligned to the right.
pub struct MarkdownSink {
    destination: Destination,
}

impl MarkdownSink {
    /// Writes the header of `schema`.
    pub fn new(schema: &Schema, mut destination: Destination) -> Result<MarkdownSink, CliError> {
        let mut text = String::from("|");
        for field in schema.fields() {
            text.push(' ');
            push_markdown(&mut text, field.name());
            text.push_str(" |");
        }
        text.push_str("\n|");
        for field in schema.fields() {
            text.push_str(if field.data_type().is_numeric() { "---:|" } else { "---|" });
        }
        text.push('\n');
        destination.text(&text)?;
        Ok(MarkdownSink { destination })
    }
}

fn push_markdown(line: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '|' => line.push_str("\\|"),
            '\n' => line.push_str("<br>"),
            '\r' => {}
            c => line.push(c),
        }
    }
}

impl Sink for MarkdownSink {
    fn write(&mut self, batch: &RecordBatch) -> Result<(), CliError> {
        let options = FormatOptions::default().with_null("NULL");
        let columns = formatters(batch.columns(), &options)?;
        let mut line = String::new();
        let mut field = String::new();
        for row in 0..batch.num_rows() {
            line.clear();
            line.push('|');
            for formatter in &columns {
                field.clear();
                formatter.value(row).write(&mut field).map_err(|e| CliError::Query(e.to_string()))?;
                line.push(' ');
                push_markdown(&mut line, &field);
                line.push_str(" |");
            }
            line.push('\n');
            self.destination.text(&line)?;
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Destination, CliError> {
        Ok(self.destination)
    }
}
