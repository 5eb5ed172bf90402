//! The first rows of a result as an HTML table, for notebooks.

use std::fmt::Write;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions};

/// The rows as a table; `more` says that the result has others.
pub fn table(schema: &SchemaRef, batches: &[RecordBatch], more: bool) -> Result<String, ArrowError> {
    let options = FormatOptions::default().with_null("NULL");
    let mut html = String::from("<table>\n<thead><tr>");
    for field in schema.fields() {
        // Writing to a String cannot fail, here and below.
        let _ = write!(html, "<th title=\"{}\">", escape(&field.data_type().to_string()));
        let _ = write!(html, "{}</th>", escape(field.name()));
    }
    html += "</tr></thead>\n<tbody>\n";
    let mut shown = 0;
    for batch in batches {
        let columns = batch
            .columns()
            .iter()
            .map(|column| ArrayFormatter::try_new(column.as_ref(), &options))
            .collect::<Result<Vec<_>, _>>()?;
        for row in 0..batch.num_rows() {
            html += "<tr>";
            for (column, values) in columns.iter().enumerate() {
                let align = if schema.field(column).data_type().is_numeric() {
                    " style=\"text-align:right\""
                } else {
                    ""
                };
                let text = values.value(row).try_to_string()?;
                let _ = write!(html, "<td{align}>{}</td>", escape(&text));
            }
            html += "</tr>\n";
        }
        shown += batch.num_rows();
    }
    html += "</tbody>\n</table>\n";
    let rows = if shown == 1 { "row" } else { "rows" };
    let _ = if more {
        write!(html, "<p>the first {shown} {rows}; there are more</p>")
    } else {
        write!(html, "<p>{shown} {rows}</p>")
    };
    Ok(html)
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '"' => out += "&quot;",
            other => out.push(other),
        }
    }
    out
}
