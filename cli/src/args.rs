//! The command line: options, sizes, and the SQL sources in the order in which they were given.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser, ValueEnum};

/// Runs SQL over Parquet, CSV, JSON and Arrow files, each pipeline compiled into one loop.
#[derive(Debug, Parser)]
#[command(
    name = "fuseline",
    version,
    about = "Runs SQL over Parquet, CSV, JSON and Arrow files, each pipeline compiled into one loop",
    after_help = "Without SQL, statements are read from standard input; on a terminal, a shell opens.\n\n\
                  Examples:\n  \
                  fuseline \"SELECT count(*) FROM 'flights.parquet'\"\n  \
                  fuseline --format csv -o out.csv \"SELECT * FROM 'logs/*.csv.gz' WHERE status = 500\"\n\n\
                  Exit code: 0, or 1 for a query error, 2 for wrong usage."
)]
pub struct Options {
    /// SQL to run: one statement, or several with ';' between them
    #[arg(value_name = "SQL")]
    pub sql: Option<String>,

    /// Run this SQL (may be given several times)
    #[arg(short = 'c', long = "command", value_name = "SQL")]
    pub commands: Vec<String>,

    /// Run the SQL in this file, '-' for standard input (may be given several times)
    #[arg(short = 'f', long = "file", value_name = "FILE")]
    pub files: Vec<PathBuf>,

    /// How results are written
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub format: Format,

    /// Write results to this file instead of standard output: it appears whole or not at all
    #[arg(short = 'o', long = "output", value_name = "FILE")]
    pub output: Option<PathBuf>,

    /// Set an option of the session, e.g. fuseline.fusion=force (may be given several times)
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = parse_setting)]
    pub settings: Vec<(String, String)>,

    /// Number of threads [default: one per core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub threads: Option<u16>,

    /// Memory that queries may use, e.g. 512MB or 2GiB [default: unlimited]
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub memory_limit: Option<usize>,

    /// Rows that the table format shows, 0 for all [default: 40 on a terminal, otherwise all]
    #[arg(long, value_name = "N")]
    pub max_rows: Option<usize>,

    /// Make the functions of this Python file (those with @fuseline.udf) usable in SQL (may be given
    /// several times)
    #[arg(long = "udf", value_name = "FILE.py")]
    pub udfs: Vec<PathBuf>,

    /// Print the time that each statement took, on standard error
    #[arg(long)]
    pub timing: bool,
}

/// How a result is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Aligned columns for people
    Table,
    /// Comma-separated values with a header
    Csv,
    /// Tab-separated values with a header
    Tsv,
    /// One JSON array of objects
    Json,
    /// One JSON object per line
    Jsonl,
    /// A Markdown table
    Markdown,
    /// A Parquet file
    Parquet,
    /// Arrow IPC: a file with -o, the streaming format to a pipe
    Arrow,
}

impl Format {
    /// Whether the format is binary, and so holds one result only and is not for terminals.
    pub fn is_binary(self) -> bool {
        match self {
            Format::Parquet | Format::Arrow => true,
            Format::Table | Format::Csv | Format::Tsv | Format::Json | Format::Jsonl | Format::Markdown => {
                false
            }
        }
    }
}

/// Where SQL comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Text of the command line.
    Text(String),
    /// A file.
    File(PathBuf),
    /// Standard input.
    Stdin,
}

/// Parses the command line, the program's name first. The sources come in the order given.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<(Options, Vec<Source>), clap::Error> {
    let matches = Options::command().try_get_matches_from(args)?;
    let options = Options::from_arg_matches(&matches)?;
    let sources = ordered_sources(&matches, &options);
    Ok((options, sources))
}

fn ordered_sources(matches: &ArgMatches, options: &Options) -> Vec<Source> {
    let positions = |id: &str| matches.indices_of(id).into_iter().flatten();
    let mut sources: Vec<(usize, Source)> = Vec::new();
    sources.extend(positions("sql").zip(options.sql.iter().cloned().map(Source::Text)));
    sources.extend(positions("commands").zip(options.commands.iter().cloned().map(Source::Text)));
    sources.extend(
        positions("files").zip(
            options
                .files
                .iter()
                .map(|path| if path.as_os_str() == "-" { Source::Stdin } else { Source::File(path.clone()) }),
        ),
    );
    sources.sort_by_key(|(position, _)| *position);
    sources.into_iter().map(|(_, source)| source).collect()
}

fn parse_setting(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => {
            Ok((key.trim().to_string(), value.trim().to_string()))
        }
        Some(_) | None => Err("expected KEY=VALUE".to_string()),
    }
}

/// Parses a size in bytes: a number with an optional unit. KB, MB, GB and TB are powers of 1000;
/// KiB, MiB, GiB and TiB, and the bare letters K, M, G and T, are powers of 1024.
pub fn parse_size(text: &str) -> Result<usize, String> {
    let text = text.trim();
    let split = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let number: f64 = number.parse().map_err(|_| "expected a size such as 512MB or 2GiB".to_string())?;
    let factor: f64 = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1.0,
        "kb" => 1e3,
        "mb" => 1e6,
        "gb" => 1e9,
        "tb" => 1e12,
        "k" | "kib" => 1024.0,
        "m" | "mib" => 1024.0 * 1024.0,
        "g" | "gib" => 1024.0 * 1024.0 * 1024.0,
        "t" | "tib" => 1024.0 * 1024.0 * 1024.0 * 1024.0,
        other => {
            return Err(format!("unknown unit '{other}': use B, KB, MB, GB, TB or KiB, MiB, GiB, TiB"));
        }
    };
    let bytes = number * factor;
    if bytes < 1.0 || bytes >= usize::MAX as f64 {
        return Err("the size must be at least one byte, and fit in memory".to_string());
    }
    Ok(bytes as usize)
}
