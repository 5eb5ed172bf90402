//! After a failed read: which file, and which line of it, is to blame?
//!
//! DataFusion's readers report "incorrect number of fields for line 3" without the file, and the line
//! is counted from wherever a parallel scan started. So when a scan has failed on data, the files it
//! read are read once more here, one after the other, until one fails. That costs time only on the way
//! to an error, and ends at a deadline.
//!
//! Nothing here changes the outcome: the query has failed already; at best its message gets better.

use std::fs::File;
use std::io::{BufRead, BufReader, Cursor, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use datafusion::arrow::csv::ReaderBuilder as CsvReaderBuilder;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::json::ReaderBuilder as JsonReaderBuilder;
use datafusion::arrow::json::reader::infer_json_schema;
use datafusion::common::DataFusionError;
use datafusion::common::parsers::CompressionTypeVariant;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::datasource::file_format::file_compression_type::FileCompressionType;
use datafusion::datasource::physical_plan::{CsvSource, FileScanConfig};
use datafusion::datasource::source::DataSourceExec;
use datafusion::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use datafusion::physical_plan::ExecutionPlan;

use crate::error::{Error, io_message, panic_text, translate};

use super::arrow_ipc::IpcReader;
use super::csv_records::Records;
use super::format::{FileKind, Format};

/// So long may the search take.
const DEADLINE: Duration = Duration::from_secs(10);

/// A file that may be to blame, with what is needed to read it.
#[derive(Debug, Clone)]
pub(crate) struct Suspect {
    pub(crate) path: PathBuf,
    /// The path for the message.
    pub(crate) shown: PathBuf,
    pub(crate) kind: FileKind,
    /// Columns in the file; empty if they are not known.
    pub(crate) schema: SchemaRef,
    /// Columns the query reads; `None` means all.
    pub(crate) projection: Option<Vec<usize>>,
    /// For delimited text: the first record names the columns.
    pub(crate) has_header: bool,
    /// For delimited text; `None` means the format's own.
    pub(crate) delimiter: Option<u8>,
}

/// The local files that `plan` scans. Paths below the current folder are shown relative to it, unless
/// `sql` itself names that folder.
pub(crate) fn suspects(plan: &Arc<dyn ExecutionPlan>, sql: &str) -> Vec<Suspect> {
    let here = std::env::current_dir().unwrap_or_default();
    let absolute = sql.contains(&*here.to_string_lossy());
    let mut found = Vec::new();
    // The closure never fails, so neither does the walk.
    let _ = plan.apply(|node| {
        if let Some(scan) = node.downcast_ref::<DataSourceExec>()
            && let Some(config) = scan.data_source().downcast_ref::<FileScanConfig>()
            && config.object_store_url.as_str().starts_with("file:")
        {
            for file in config.file_groups.iter().flat_map(|group| group.files()) {
                let path = PathBuf::from(format!("/{}", file.object_meta.location));
                let shown = match path.strip_prefix(&here) {
                    Ok(below) if !absolute => below.to_path_buf(),
                    Ok(_) | Err(_) => path.clone(),
                };
                if let Some(suspect) = suspect_of(config, path, shown) {
                    found.push(suspect);
                }
            }
        }
        Ok(TreeNodeRecursion::Continue)
    });
    // Big files appear once for each part that is read in parallel.
    found.sort_by(|a: &Suspect, b| a.path.cmp(&b.path));
    found.dedup_by(|a, b| a.path == b.path);
    found
}

fn suspect_of(config: &FileScanConfig, path: PathBuf, shown: PathBuf) -> Option<Suspect> {
    let source = config.file_source();
    let csv = source.downcast_ref::<CsvSource>();
    let format = match source.file_type() {
        "parquet" => Format::Parquet,
        "csv" => Format::Csv,
        "json" => Format::Json,
        "arrow" | "arrow_stream" => Format::Arrow,
        _ => return None,
    };
    Some(Suspect {
        path,
        shown,
        kind: FileKind { format, compression: *config.file_compression_type.get_variant() },
        schema: Arc::clone(config.file_schema()),
        projection: source.projection().map(|projection| projection.column_indices()),
        has_header: csv.is_some_and(CsvSource::has_header),
        delimiter: csv.map(CsvSource::delimiter),
    })
}

/// The first fault in `suspects`, reading all of each file.
///
/// `None` if none is found before the deadline. `ragged` says that the reader complained about the
/// number of values in a record.
pub(crate) fn first_fault(suspects: &[Suspect], ragged: bool) -> Option<Error> {
    let deadline = Instant::now() + DEADLINE;
    suspects
        .iter()
        .find_map(|suspect| suspect.fault_of_header())
        .or_else(|| {
            suspects
                .iter()
                .take_while(|_| Instant::now() < deadline)
                .find_map(|suspect| suspect.fault(deadline))
        })
        .or_else(|| {
            suspects
                .iter()
                .take_while(|_| ragged && Instant::now() < deadline)
                .find_map(|suspect| suspect.cut_in_quotes(deadline))
        })
}

impl Suspect {
    /// What keeps the columns of the file from being known: a broken footer or header for binary
    /// formats; text is read in full, because its columns come from its rows.
    pub(crate) fn fault_of_header(&self) -> Option<Error> {
        match self.kind.format {
            Format::Parquet => self.guarded(|| self.parquet_fault(false, Instant::now())),
            Format::Arrow => self.guarded(|| self.arrow_fault(false, Instant::now())),
            Format::Csv | Format::Tsv | Format::Json => self.fault(Instant::now() + DEADLINE),
        }
    }

    fn fault(&self, deadline: Instant) -> Option<Error> {
        self.guarded(|| match self.kind.format {
            Format::Parquet => self.parquet_fault(true, deadline),
            Format::Arrow => self.arrow_fault(true, deadline),
            Format::Csv | Format::Tsv => {
                let ragged = self.ragged_line(deadline);
                ragged.or_else(|| self.csv_value_fault(deadline))
            }
            Format::Json => self.json_fault(deadline),
        })
    }

    /// A reader that panics on broken bytes has found a fault too.
    fn guarded(&self, look: impl FnOnce() -> Option<Error>) -> Option<Error> {
        match catch_unwind(AssertUnwindSafe(look)) {
            Ok(found) => found,
            Err(panic) => Some(self.damaged(&panic_text(panic.as_ref()))),
        }
    }

    fn damaged(&self, reason: &str) -> Error {
        Error::file(&self.shown, format!("not a valid {} file, or damaged: {reason}", self.kind.format))
    }

    fn at_line(&self, line: u64, message: impl Into<String>) -> Error {
        Error::File { path: self.shown.clone(), line: Some(line), message: message.into() }
    }

    fn parquet_fault(&self, whole: bool, deadline: Instant) -> Option<Error> {
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(e) => return Some(super::unreadable(&self.shown, &e)),
        };
        let reader = match ParquetRecordBatchReaderBuilder::try_new(file) {
            Ok(builder) => builder.build(),
            Err(e) => return Some(self.damaged(&plain(e.into()))),
        };
        if !whole {
            return None;
        }
        match reader {
            Ok(reader) => self.first_bad(reader, deadline),
            Err(e) => Some(self.damaged(&plain(e.into()))),
        }
    }

    fn arrow_fault(&self, whole: bool, deadline: Instant) -> Option<Error> {
        match IpcReader::open(&self.path) {
            Ok(reader) if whole => self.first_bad(reader, deadline),
            Ok(_) => None,
            Err(ArrowError::IoError(_, e)) if e.kind() != std::io::ErrorKind::UnexpectedEof => {
                Some(super::unreadable(&self.shown, &e))
            }
            Err(e) => Some(self.damaged(&plain(e.into()))),
        }
    }

    fn first_bad<T>(
        &self,
        reader: impl Iterator<Item = Result<T, ArrowError>>,
        deadline: Instant,
    ) -> Option<Error> {
        for batch in reader {
            if let Err(e) = batch {
                return Some(self.damaged(&plain(e.into())));
            }
            if Instant::now() > deadline {
                return None;
            }
        }
        None
    }

    /// The text of the file, decompressed.
    fn text(&self) -> Result<BufReader<Box<dyn Read + Send>>, Error> {
        let file = File::open(&self.path).map_err(|e| super::unreadable(&self.shown, &e))?;
        FileCompressionType::from(self.kind.compression)
            .convert_read(file)
            .map(|text| BufReader::with_capacity(1 << 16, text))
            .map_err(|e| self.damaged(&plain(e)))
    }

    /// What an I/O error while reading text means.
    fn broken_text(&self, error: &std::io::Error) -> Error {
        if self.kind.compression == CompressionTypeVariant::UNCOMPRESSED {
            return super::unreadable(&self.shown, error);
        }
        Error::file(
            &self.shown,
            format!("not a valid {} file, or damaged: {}", self.kind.compression_name(), io_message(error)),
        )
    }

    fn delimiter(&self) -> u8 {
        self.delimiter.unwrap_or(self.kind.delimiter())
    }

    /// Line breaks in quotes, in a text that was cut at line breaks to be read in parallel.
    fn cut_in_quotes(&self, deadline: Instant) -> Option<Error> {
        match self.kind.format {
            Format::Csv | Format::Tsv => {}
            Format::Json | Format::Parquet | Format::Arrow => return None,
        }
        let mut records = Records::new(self.text().ok()?, self.delimiter());
        while let Ok(Some(record)) = records.next_record() {
            if record.broken {
                return Some(self.at_line(
                    record.line,
                    "a value in quotes goes over several lines; SET \
                     datafusion.catalog.newlines_in_values = true to read such files",
                ));
            }
            if Instant::now() > deadline {
                return None;
            }
        }
        None
    }

    /// A record with more or fewer values than the first.
    fn ragged_line(&self, deadline: Instant) -> Option<Error> {
        let text = match self.text() {
            Ok(text) => text,
            Err(error) => return Some(error),
        };
        let mut records = Records::new(text, self.delimiter());
        let mut expected = None;
        let mut seen = 0u64;
        loop {
            let record = match records.next_record() {
                Ok(Some(record)) => record,
                Ok(None) => return None,
                Err(e) => return Some(self.broken_text(&e)),
            };
            let expected = *expected.get_or_insert(record.fields);
            if record.fields != expected {
                if let Some(line) = record.open_quote {
                    return Some(self.at_line(line, "the quote that opens here is never closed"));
                }
                let first = if self.has_header { "the header" } else { "the first line" };
                let values = if record.fields == 1 { "value" } else { "values" };
                return Some(self.at_line(
                    record.line,
                    format!("{} {values} where {first} has {expected}", record.fields),
                ));
            }
            seen += 1;
            if seen.is_multiple_of(1 << 16) && Instant::now() > deadline {
                return None;
            }
        }
    }

    /// A value that is not of its column's type, or bytes that are not UTF-8.
    fn csv_value_fault(&self, deadline: Instant) -> Option<Error> {
        if self.schema.fields().is_empty() {
            return None;
        }
        let text = self.text().ok()?;
        let mut builder = CsvReaderBuilder::new(Arc::clone(&self.schema))
            .with_header(self.has_header)
            .with_delimiter(self.delimiter());
        if let Some(projection) = &self.projection {
            let known = self.schema.fields().len();
            let projection = projection.iter().copied().filter(|&c| c < known).collect();
            builder = builder.with_projection(projection);
        }
        for batch in builder.build_buffered(text).ok()? {
            match batch {
                Ok(_) if Instant::now() > deadline => return None,
                Ok(_) => {}
                Err(error) => return Some(self.csv_message(&plain(error.into()))),
            }
        }
        None
    }

    /// Arrow's words for a bad value, with the physical line in place of the record's number.
    fn csv_message(&self, message: &str) -> Error {
        if let Some(bad) = BadValue::parse(message)
            && let Some(line) = self.line_of_record(bad.record)
        {
            let column = self.schema.fields().get(bad.column).map_or("?", |field| field.name());
            return self.at_line(
                line,
                format!(
                    "'{}' in column '{column}' is not a valid {} (the type comes from the first \
                     rows; CREATE EXTERNAL TABLE with column types chooses another)",
                    bad.value, bad.data_type
                ),
            );
        }
        // "Encountered invalid UTF-8 data for line 3 and field 1": counted from 1.
        if let Some(rest) = message.split("for line ").nth(1)
            && let Some(record) = leading_number(rest)
            && let Some(line) = self.line_of_record(record.saturating_sub(1))
            && message.contains("UTF-8")
        {
            return self.at_line(line, "not valid UTF-8");
        }
        Error::file(&self.shown, message)
    }

    /// The line on which record `wanted` starts, counted from 0 and with the header.
    fn line_of_record(&self, wanted: u64) -> Option<u64> {
        let mut records = Records::new(self.text().ok()?, self.delimiter());
        for _ in 0..wanted {
            records.next_record().ok()??;
        }
        records.next_record().ok()?.map(|record| record.line)
    }

    fn json_fault(&self, deadline: Instant) -> Option<Error> {
        let mut text = match self.text() {
            Ok(text) => text,
            Err(error) => return Some(error),
        };
        // A value may go over several lines; it is judged where it ends and reported where it starts.
        let mut value = Vec::new();
        let mut start = 1u64;
        let mut line = 0u64;
        loop {
            if value.iter().all(u8::is_ascii_whitespace) {
                value.clear();
                start = line + 1;
            }
            match text.read_until(b'\n', &mut value) {
                Ok(0) if value.is_empty() => return None,
                Ok(0) => {
                    return Some(self.at_line(start, "the file ends within a JSON value"));
                }
                Ok(_) => line += 1,
                Err(e) => return Some(self.broken_text(&e)),
            }
            if start == 1 && value.trim_ascii_start().first() == Some(&b'[') {
                // One big array has no lines to tell apart.
                return None;
            }
            match self.json_value_fault(&value) {
                JsonValue::Whole => value.clear(),
                JsonValue::Unfinished if value.len() < 1 << 20 => {}
                JsonValue::Unfinished => {
                    return Some(self.at_line(start, "a JSON value that does not end"));
                }
                JsonValue::Bad(message) => return Some(self.at_line(start, message)),
            }
            if line.is_multiple_of(1 << 12) && Instant::now() > deadline {
                return None;
            }
        }
    }

    fn json_value_fault(&self, value: &[u8]) -> JsonValue {
        if value.iter().all(u8::is_ascii_whitespace) {
            return JsonValue::Whole;
        }
        if self.schema.fields().is_empty() {
            return match infer_json_schema(Cursor::new(value), None) {
                Ok(_) => JsonValue::Whole,
                Err(e) => JsonValue::Bad(json_message(&plain(e.into()))),
            };
        }
        let decoder =
            JsonReaderBuilder::new(Arc::clone(&self.schema)).with_batch_size(1 << 16).build_decoder();
        let Ok(mut decoder) = decoder else {
            return JsonValue::Whole;
        };
        if let Err(e) = decoder.decode(value) {
            return JsonValue::Bad(json_message(&plain(e.into())));
        }
        if decoder.has_partial_record() {
            return JsonValue::Unfinished;
        }
        match decoder.flush() {
            Ok(_) => JsonValue::Whole,
            Err(e) => JsonValue::Bad(json_message(&plain(e.into()))),
        }
    }
}

enum JsonValue {
    Whole,
    Unfinished,
    Bad(String),
}

/// arrow-csv: "Error while parsing value 'x' as type 'Int64' for column 0 at line 4. Row data: ...".
struct BadValue {
    value: String,
    data_type: String,
    column: usize,
    /// Counted from 0 and with the header, whatever arrow calls it.
    record: u64,
}

impl BadValue {
    fn parse(message: &str) -> Option<Self> {
        let rest = message.split_once("while parsing value '")?.1;
        let (value, rest) = rest.split_once("' as type '")?;
        let (data_type, rest) = rest.split_once("' for column ")?;
        let (column, rest) = rest.split_once(" at line ")?;
        Some(Self {
            value: value.to_string(),
            data_type: data_type.to_string(),
            column: column.trim().parse().ok()?,
            record: leading_number(rest)?,
        })
    }
}

fn leading_number(text: &str) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text[..end].parse().ok()
}

fn json_message(message: &str) -> String {
    format!("not valid JSON for this table: {message}")
}

/// The message of an error without the layers.
fn plain(error: DataFusionError) -> String {
    translate(&error, None).to_string()
}

/// A file scan that failed at planning, before there was a plan to take the files from.
pub(crate) fn location_fault(location: &str, error: &Error) -> Option<Error> {
    let path = Path::new(location);
    match error {
        Error::Execution { message } if path.exists() => Some(Error::file(path, message.clone())),
        _ => None,
    }
}
