//! Results as aligned columns for people.
//!
//! ```text
//!  carrier | flights | delay
//! ---------+---------+------
//!  UA      |   58665 |  12.1
//! ```
//! (drawn with box characters). On a terminal the table fits the width, long values are cut with
//! "…", and after a number of rows only the count goes on. Elsewhere every row is written: the first
//! rows fix the column widths, a longer value further down sticks out, and memory stays bounded.

use arrow::datatypes::Schema;
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use crate::error::CliError;
use crate::output::{Destination, Sink};

/// Rows that fix the column widths when all rows are written.
const WIDTH_ROWS: usize = 4096;
/// No column is cut to fewer terminal cells than this; when even that is too wide, columns go.
const MIN_CUT_WIDTH: usize = 16;
/// The separator between columns takes this many cells.
const SEPARATOR_WIDTH: usize = 3;

/// How much of a table is shown.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Rows shown; the rest is counted.
    pub rows: Option<usize>,
    /// Terminal cells in a line.
    pub width: Option<usize>,
}

/// Writes a table and a footer with the number of rows.
pub struct TableSink {
    destination: Destination,
    limits: Limits,
    names: Vec<String>,
    numeric: Vec<bool>,
    /// Rows collected and not yet written.
    rows: Vec<Vec<String>>,
    /// Set when the header has been written.
    layout: Option<Layout>,
    /// Rows of the result so far.
    total: u64,
    /// Rows written or collected.
    shown: u64,
}

/// Which columns are shown, and how wide.
struct Layout {
    widths: Vec<usize>,
    shown: Vec<Shown>,
}

#[derive(Clone, Copy)]
enum Shown {
    Column(usize),
    /// Stands for the columns left out.
    Ellipsis,
}

impl TableSink {
    /// A sink for a result of `schema`.
    pub fn new(schema: &Schema, limits: Limits, destination: Destination) -> TableSink {
        TableSink {
            destination,
            limits,
            names: schema.fields().iter().map(|f| printable(f.name())).collect(),
            numeric: schema.fields().iter().map(|f| f.data_type().is_numeric()).collect(),
            rows: Vec::new(),
            layout: None,
            total: 0,
            shown: 0,
        }
    }

    /// Writes the collected rows, the header before the first of them.
    fn drain(&mut self) -> Result<(), CliError> {
        if self.names.is_empty() {
            return Ok(());
        }
        let layout = match self.layout.take() {
            Some(layout) => layout,
            None => {
                let layout = Layout::new(&self.names, &self.numeric, &self.rows, self.limits.width);
                let header = layout.line(&self.names, &vec![false; self.names.len()], "│");
                self.destination.text(&header)?;
                self.destination.text(&layout.rule())?;
                layout
            }
        };
        for row in std::mem::take(&mut self.rows) {
            self.destination.text(&layout.line(&row, &self.numeric, "│"))?;
        }
        self.layout = Some(layout);
        Ok(())
    }
}

impl Sink for TableSink {
    fn write(&mut self, batch: &RecordBatch) -> Result<(), CliError> {
        self.total += batch.num_rows() as u64;
        let room = match self.limits.rows {
            Some(rows) => (rows as u64).saturating_sub(self.shown).min(batch.num_rows() as u64),
            None => batch.num_rows() as u64,
        };
        self.shown += room;
        let options = FormatOptions::default().with_null("NULL").with_display_error(true);
        let columns = batch
            .columns()
            .iter()
            .map(|column| ArrayFormatter::try_new(column.as_ref(), &options))
            .collect::<Result<Vec<_>, ArrowError>>()
            .map_err(|e| CliError::Query(e.to_string()))?;
        for row in 0..room as usize {
            self.rows.push(columns.iter().map(|c| printable(&c.value(row).to_string())).collect());
            if self.limits.rows.is_none() && self.rows.len() >= WIDTH_ROWS {
                self.drain()?;
            }
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<Destination, CliError> {
        self.drain()?;
        let rows = |n: u64| format!("{n} {}", if n == 1 { "row" } else { "rows" });
        let mut facts = vec![rows(self.total)];
        if self.total > self.shown {
            let more = self.total - self.shown;
            self.destination.text(&format!("… {more} more {}\n", if more == 1 { "row" } else { "rows" }))?;
            facts.push(format!("{} shown", self.shown));
        }
        if let Some(layout) = &self.layout {
            let columns = layout.columns();
            if columns < self.names.len() {
                facts.push(format!("{columns} of {} columns shown", self.names.len()));
            }
        }
        self.destination.text(&format!("({})\n", facts.join(", ")))?;
        Ok(self.destination)
    }
}

impl Layout {
    fn new(names: &[String], numeric: &[bool], rows: &[Vec<String>], limit: Option<usize>) -> Layout {
        let mut widths: Vec<usize> = names.iter().map(|name| name.width()).collect();
        for row in rows {
            for (width, value) in widths.iter_mut().zip(row) {
                *width = (*width).max(value.width());
            }
        }
        let mut shown: Vec<Shown> = (0..names.len()).map(Shown::Column).collect();
        if let Some(limit) = limit {
            cut_wide_columns(&mut widths, numeric, limit);
            while shown.len() > 2 && line_width(&widths, &shown) > limit {
                leave_one_out(&mut shown);
            }
        }
        Layout { widths, shown }
    }

    fn columns(&self) -> usize {
        self.shown
            .iter()
            .filter(|shown| match shown {
                Shown::Column(_) => true,
                Shown::Ellipsis => false,
            })
            .count()
    }

    fn line(&self, values: &[String], right: &[bool], separator: &str) -> String {
        let mut line = String::new();
        for (position, shown) in self.shown.iter().enumerate() {
            if position > 0 {
                line.push(' ');
                line.push_str(separator);
            }
            line.push(' ');
            let (value, width, right) = match *shown {
                Shown::Column(i) => (values[i].as_str(), self.widths[i], right[i]),
                Shown::Ellipsis => ("…", 1, false),
            };
            push_cell(&mut line, value, width, right);
        }
        line.truncate(line.trim_end().len());
        line.push('\n');
        line
    }

    fn rule(&self) -> String {
        let bars: Vec<String> = self
            .shown
            .iter()
            .map(|shown| match *shown {
                Shown::Column(i) => "─".repeat(self.widths[i] + 2),
                Shown::Ellipsis => "─".repeat(3),
            })
            .collect();
        let mut line = bars.join("┼");
        line.push('\n');
        line
    }
}

/// Cells a line takes, its leading space included.
fn line_width(widths: &[usize], shown: &[Shown]) -> usize {
    let cells: usize = shown
        .iter()
        .map(|shown| match *shown {
            Shown::Column(i) => widths[i],
            Shown::Ellipsis => 1,
        })
        .sum();
    cells + 1 + SEPARATOR_WIDTH * shown.len().saturating_sub(1)
}

/// Makes the widest text columns narrower until the line fits. Numbers are never cut: a number
/// without its last digits is a wrong number.
fn cut_wide_columns(widths: &mut [usize], numeric: &[bool], limit: usize) {
    let fixed = 1 + SEPARATOR_WIDTH * widths.len().saturating_sub(1);
    loop {
        let excess = (widths.iter().sum::<usize>() + fixed).saturating_sub(limit);
        let widest = (0..widths.len())
            .filter(|&i| !numeric[i] && widths[i] > MIN_CUT_WIDTH)
            .max_by_key(|&i| widths[i]);
        match widest {
            Some(i) if excess > 0 => {
                // Down to the next wider column at most, so that equals are cut equally.
                let next = (0..widths.len())
                    .filter(|&j| !numeric[j] && widths[j] < widths[i])
                    .map(|j| widths[j])
                    .max()
                    .unwrap_or(MIN_CUT_WIDTH)
                    .max(MIN_CUT_WIDTH);
                widths[i] -= excess.min((widths[i] - next).max(1));
            }
            Some(_) | None => return,
        }
    }
}

/// Leaves out the column before the middle; one "…" stands for all that are left out.
fn leave_one_out(shown: &mut Vec<Shown>) {
    let ellipsis = shown.iter().position(|s| match s {
        Shown::Ellipsis => true,
        Shown::Column(_) => false,
    });
    match ellipsis {
        None => {
            let middle = shown.len() / 2;
            shown[middle] = Shown::Ellipsis;
        }
        Some(at) => {
            // The longer side gives one away, so that the first and the last columns stay.
            let remove = if at > shown.len() - 1 - at { at - 1 } else { at + 1 };
            shown.remove(remove);
        }
    }
}

/// Appends `value` in `width` cells, cut with "…" when it is longer.
fn push_cell(line: &mut String, value: &str, width: usize, right: bool) {
    let cells = value.width();
    if cells <= width {
        let padding = width - cells;
        if right {
            line.extend(std::iter::repeat_n(' ', padding));
            line.push_str(value);
        } else {
            line.push_str(value);
            line.extend(std::iter::repeat_n(' ', padding));
        }
        return;
    }
    let mut used = 0;
    for c in value.chars() {
        let w = c.width().unwrap_or(0);
        if used + w > width.saturating_sub(1) {
            break;
        }
        line.push(c);
        used += w;
    }
    line.push('…');
    line.extend(std::iter::repeat_n(' ', width.saturating_sub(used + 1)));
}

/// One line without control characters, which would move the cursor or clear the screen.
fn printable(text: &str) -> String {
    if !text.chars().any(char::is_control) {
        return text.to_string();
    }
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if c.is_control() {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

/// Writes the plans of an EXPLAIN as they are: a plan has many lines and no columns.
pub struct PlanSink {
    destination: Destination,
}

impl PlanSink {
    /// A sink that has written nothing yet.
    pub fn new(destination: Destination) -> PlanSink {
        PlanSink { destination }
    }
}

impl Sink for PlanSink {
    fn write(&mut self, batch: &RecordBatch) -> Result<(), CliError> {
        let options = FormatOptions::default().with_display_error(true);
        let columns = batch
            .columns()
            .iter()
            .map(|column| ArrayFormatter::try_new(column.as_ref(), &options))
            .collect::<Result<Vec<_>, ArrowError>>()
            .map_err(|e| CliError::Query(e.to_string()))?;
        for row in 0..batch.num_rows() {
            // The last column is the plan, the ones before say which plan it is.
            for (i, column) in columns.iter().enumerate() {
                let text = column.value(row).to_string();
                let text = text.trim_end();
                if i + 1 == columns.len() {
                    self.destination.text(&format!("{text}\n"))?;
                } else {
                    self.destination.text(&format!("-- {text}\n"))?;
                }
            }
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Destination, CliError> {
        Ok(self.destination)
    }
}
