//! Which format a file has, from its name or, failing that, its first bytes.
//!
//! | name | first bytes | format |
//! |---|---|---|
//! | `.parquet .pq .parq` | `PAR1` | Parquet |
//! | `.csv`, `.tsv .tab` | | delimited text with a header line |
//! | `.json .jsonl .ndjson` | | one JSON value a line, or one array |
//! | `.arrow .ipc .feather .arrows` | `ARROW1`, `0xFFFFFFFF` | Arrow IPC file or stream |
//!
//! Text formats may be compressed as a whole: `.gz .gzip .bz2 .xz .zst .zstd` after the name. Parquet
//! and Arrow compress inside, so a name like `x.parquet.gz` has no format.

use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;
use std::sync::Arc;

use datafusion::common::parsers::CompressionTypeVariant;
use datafusion::datasource::file_format::FileFormat;
use datafusion::datasource::file_format::file_compression_type::FileCompressionType;
use datafusion::execution::SessionState;

use crate::error::{Error, Result};

use super::csv_records::Records;

/// CSV and JSON columns get their type from this many rows.
const ROWS_TO_INFER: &str = "10000";

/// So many bytes of a text are searched for line breaks in quotes.
const SAMPLE: u64 = 1 << 20;

/// A file format that can stand in FROM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Format {
    Parquet,
    Csv,
    Tsv,
    Json,
    Arrow,
}

/// A format with the compression around the whole file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct FileKind {
    pub(crate) format: Format,
    pub(crate) compression: CompressionTypeVariant,
}

impl Format {
    /// The format that an extension (without the dot) names.
    fn from_extension(extension: &str) -> Option<Self> {
        Some(match extension.to_ascii_lowercase().as_str() {
            "parquet" | "pq" | "parq" => Self::Parquet,
            "csv" => Self::Csv,
            "tsv" | "tab" => Self::Tsv,
            "json" | "jsonl" | "ndjson" => Self::Json,
            "arrow" | "ipc" | "feather" | "arrows" => Self::Arrow,
            _ => return None,
        })
    }

    /// The name DataFusion has registered the format under.
    pub(crate) fn datafusion_name(self) -> &'static str {
        match self {
            Self::Parquet => "parquet",
            Self::Csv | Self::Tsv => "csv",
            Self::Json => "json",
            Self::Arrow => "arrow",
        }
    }

    /// Whether files of the format may be compressed as a whole.
    fn is_text(self) -> bool {
        match self {
            Self::Csv | Self::Tsv | Self::Json => true,
            Self::Parquet | Self::Arrow => false,
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Parquet => "Parquet",
            Self::Csv => "CSV",
            Self::Tsv => "TSV",
            Self::Json => "JSON",
            Self::Arrow => "Arrow",
        })
    }
}

impl FileKind {
    /// The kind that the file name claims, if it claims one.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        let (rest, compression) = split_compression(name);
        let (_, extension) = rest.rsplit_once('.')?;
        let format = Format::from_extension(extension)?;
        let fits = format.is_text() || compression == CompressionTypeVariant::UNCOMPRESSED;
        fits.then_some(Self { format, compression })
    }

    /// The kind of an existing file: by its name, or by its first bytes.
    ///
    /// # Errors
    /// [`Error::File`] if the file cannot be read, or if neither says what it is.
    pub(crate) fn of_file(path: &Path, shown: &Path) -> Result<Self> {
        let name = path.file_name().map(|n| n.to_string_lossy());
        let name = name.as_deref().unwrap_or("");
        if let Some(kind) = Self::from_name(name) {
            return Ok(kind);
        }
        let (inner, compression) = split_compression(name);
        if compression != CompressionTypeVariant::UNCOMPRESSED
            && let Some((_, extension)) = inner.rsplit_once('.')
            && let Some(format) = Format::from_extension(extension)
        {
            return Err(Error::file(
                shown,
                format!("{format} files are compressed inside, not as a whole; unpack it first"),
            ));
        }
        let format = if starts_with(path, b"PAR1").map_err(|e| super::unreadable(shown, &e))? {
            Format::Parquet
        } else if starts_with(path, b"ARROW1").map_err(|e| super::unreadable(shown, &e))? {
            Format::Arrow
        } else {
            return Err(Error::file(
                shown,
                "the format cannot be told from the name; known are .parquet, .csv, .tsv, .json, \
                 .jsonl, .ndjson, .arrow, .ipc, .feather, .arrows, and .gz, .bz2, .xz or .zst after \
                 a text format (or use CREATE EXTERNAL TABLE ... STORED AS)",
            ));
        };
        Ok(Self { format, compression: CompressionTypeVariant::UNCOMPRESSED })
    }

    /// DataFusion's reader for files of this kind, with the session's format options.
    ///
    /// `first` is one of the files: a `.json` file that starts with `[` is one array.
    pub(crate) fn reader(self, state: &SessionState, first: &Path) -> Result<Arc<dyn FileFormat>> {
        let mut options = HashMap::new();
        match self.format {
            Format::Parquet | Format::Arrow => {}
            Format::Csv | Format::Tsv => {
                options.insert("format.schema_infer_max_rec", ROWS_TO_INFER.to_string());
                options.insert("format.compression", self.compression_name().to_string());
                if self.format == Format::Tsv {
                    options.insert("format.delimiter", "\t".to_string());
                }
                if self.breaks_lines_in_quotes(first) {
                    options.insert("format.newlines_in_values", "true".to_string());
                }
            }
            Format::Json => {
                options.insert("format.schema_infer_max_rec", ROWS_TO_INFER.to_string());
                options.insert("format.compression", self.compression_name().to_string());
                if self.is_json_array(first) {
                    options.insert("format.newline_delimited", "false".to_string());
                }
            }
        }
        let options: HashMap<String, String> =
            options.into_iter().map(|(key, value)| (key.to_string(), value)).collect();
        let factory = state.get_file_format_factory(self.format.datafusion_name()).ok_or_else(|| {
            Error::Unsupported { message: format!("this session has no reader for {} files", self.format) }
        })?;
        Ok(factory.create(state, &options)?)
    }

    /// The delimiter of the format; a comma for formats that have none.
    pub(crate) fn delimiter(self) -> u8 {
        match self.format {
            Format::Tsv => b'\t',
            Format::Csv | Format::Json | Format::Parquet | Format::Arrow => b',',
        }
    }

    /// Whether the start of a delimited text has a line break inside quotes. Such a file must not be
    /// cut at line breaks to read its parts in parallel.
    fn breaks_lines_in_quotes(self, path: &Path) -> bool {
        if self.compression != CompressionTypeVariant::UNCOMPRESSED {
            // Never cut.
            return false;
        }
        let Ok(file) = File::open(path) else {
            return false;
        };
        let start = BufReader::new(file.take(SAMPLE));
        let mut records = Records::new(start, self.delimiter());
        while let Ok(Some(record)) = records.next_record() {
            // The record at the end of the sample may be cut.
            if record.broken && record.open_quote.is_none() {
                return true;
            }
        }
        false
    }

    /// The compression as DataFusion's option `format.compression` spells it.
    pub(crate) fn compression_name(self) -> &'static str {
        match self.compression {
            CompressionTypeVariant::GZIP => "gzip",
            CompressionTypeVariant::BZIP2 => "bzip2",
            CompressionTypeVariant::XZ => "xz",
            CompressionTypeVariant::ZSTD => "zstd",
            CompressionTypeVariant::UNCOMPRESSED => "uncompressed",
        }
    }

    /// Whether the first character of the text that is not white space opens an array.
    ///
    /// A file that cannot be read counts as no array; reading it reports why.
    fn is_json_array(self, path: &Path) -> bool {
        let Ok(file) = File::open(path) else {
            return false;
        };
        let Ok(text) = FileCompressionType::from(self.compression).convert_read(file) else {
            return false;
        };
        BufReader::new(text).bytes().map_while(std::io::Result::ok).find(|byte| !byte.is_ascii_whitespace())
            == Some(b'[')
    }
}

impl fmt::Display for FileKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.format)?;
        if self.compression != CompressionTypeVariant::UNCOMPRESSED {
            write!(f, " ({})", self.compression_name())?;
        }
        Ok(())
    }
}

/// Takes a compression extension off the end of a name.
pub(crate) fn split_compression(name: &str) -> (&str, CompressionTypeVariant) {
    let uncompressed = (name, CompressionTypeVariant::UNCOMPRESSED);
    let Some((rest, extension)) = name.rsplit_once('.') else {
        return uncompressed;
    };
    let compression = match extension.to_ascii_lowercase().as_str() {
        "gz" | "gzip" => CompressionTypeVariant::GZIP,
        "bz2" => CompressionTypeVariant::BZIP2,
        "xz" => CompressionTypeVariant::XZ,
        "zst" | "zstd" => CompressionTypeVariant::ZSTD,
        _ => return uncompressed,
    };
    (rest, compression)
}

/// Whether the file's first bytes are `magic`.
pub(crate) fn starts_with(path: &Path, magic: &[u8]) -> std::io::Result<bool> {
    let mut head = Vec::with_capacity(magic.len());
    File::open(path)?.take(magic.len() as u64).read_to_end(&mut head)?;
    Ok(head == magic)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_format_and_compression() {
        let kind = |name: &str| FileKind::from_name(name).map(|k| k.to_string());
        assert_eq!(kind("a.parquet").as_deref(), Some("Parquet"));
        assert_eq!(kind("a.b.CSV.gz").as_deref(), Some("CSV (gzip)"));
        assert_eq!(kind("a.tsv.zst").as_deref(), Some("TSV (zstd)"));
        assert_eq!(kind("a.ndjson.xz").as_deref(), Some("JSON (xz)"));
        assert_eq!(kind("a.jsonl.bz2").as_deref(), Some("JSON (bzip2)"));
        assert_eq!(kind("a.arrows").as_deref(), Some("Arrow"));
        assert_eq!(kind("a.parquet.gz"), None);
        assert_eq!(kind("a.xlsx"), None);
        assert_eq!(kind("parquet"), None);
    }
}
