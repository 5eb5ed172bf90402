//! What a user-defined function is, apart from its code.
//!
//! The options have the same words in SQL (`CREATE FUNCTION ... WITH (on_error = collect)`) and in
//! Python (`con.udf(on_error="collect")`); [`FunctionOptions`] is the one place that reads them.
//!
//! Invariants of a [`FunctionSpec`] that [`FunctionOptions::build`] made:
//! * parameter names differ from each other, and parameters with a default come last;
//! * `timeout` and `memory_limit` are set only where a worker can enforce them;
//! * `batch_rows` is at least 1.

use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::Volatility;
use std::collections::HashSet;
use std::fmt;
use std::time::Duration;

/// Rows that a function in this process sees at once, at most.
pub const BATCH_ROWS: usize = 65_536;
/// Rows in a batch of the socket transport, which is what other engines send.
pub const SOCKET_BATCH_ROWS: usize = 10_000;

/// A parameter of a function.
#[derive(Clone, Debug, PartialEq)]
pub struct Param {
    pub name: String,
    pub data_type: DataType,
    /// What a call that leaves the argument out gives instead.
    pub default: Option<ArgDefault>,
}

impl Param {
    /// A parameter that every call must give.
    pub fn new(name: impl Into<String>, data_type: DataType) -> Param {
        Param { name: name.into(), data_type, default: None }
    }
}

/// What stands for an argument that a call leaves out.
#[derive(Clone, Debug, PartialEq)]
pub enum ArgDefault {
    /// This value is handed over.
    Value(ScalarValue),
    /// The argument is not handed over: the function knows its default (Python does).
    Omitted,
}

/// One of the options with a fixed set of words.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident, $option:literal { $($(#[$variant_doc:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$variant_doc])* $variant),+ }

        impl $name {
            /// The word for it in options and in EXPLAIN.
            pub fn word(self) -> &'static str {
                match self { $($name::$variant => $word),+ }
            }

            fn parse(value: &str) -> Result<$name, SpecError> {
                $(if value.eq_ignore_ascii_case($word) { return Ok($name::$variant); })+
                Err(SpecError::BadValue {
                    option: $option,
                    value: value.to_owned(),
                    expected: [$($word),+].join(", "),
                })
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.word())
            }
        }
    };
}

words! {
    /// How the function wants its rows.
    Kind, "kind" {
        /// A Python call a row.
        Scalar = "scalar",
        /// NumPy arrays, a call a batch.
        Numpy = "numpy",
        /// pyarrow arrays, a call a batch.
        Arrow = "arrow",
        /// pandas Series, a call a batch.
        Pandas = "pandas",
        /// Arrow arrays in Rust, a call a batch.
        Native = "native",
    }
}

words! {
    /// What a NULL argument means.
    NullHandling, "null_handling" {
        /// The result is NULL and the function is not called for that row.
        Propagate = "propagate",
        /// The function sees it.
        Call = "call",
    }
}

words! {
    /// What becomes of a row on which the function fails.
    OnError, "on_error" {
        /// The query fails.
        Raise = "raise",
        /// Its result is NULL.
        Null = "null",
        /// Its result is NULL, and the row is kept for the table `fuseline_errors()`.
        Collect = "collect",
    }
}

words! {
    /// Where the function runs.
    Isolation, "isolation" {
        /// In this process.
        InProcess = "in_process",
        /// In worker processes that share memory with this one.
        Process = "process",
        /// In worker processes behind a Unix socket.
        Socket = "socket",
    }
}

words! {
    /// Whether the function's source is translated into the loops.
    Compile, "compile" {
        /// If that is exact.
        Auto = "auto",
        Never = "never",
        /// Registration fails if it cannot be.
        Require = "require",
    }
}

/// A function without its code.
#[derive(Clone, Debug, PartialEq)]
pub struct FunctionSpec {
    pub name: String,
    pub params: Vec<Param>,
    pub returns: DataType,
    pub kind: Kind,
    pub null_handling: NullHandling,
    pub on_error: OnError,
    pub volatility: Volatility,
    pub isolation: Isolation,
    /// How long one batch may take in a worker.
    pub timeout: Option<Duration>,
    /// Bytes that a worker may have.
    pub memory_limit: Option<usize>,
    /// Rows handed over at once, at most.
    pub batch_rows: usize,
    pub compile: Compile,
}

impl FunctionSpec {
    /// How many arguments a call must give at least.
    pub fn required(&self) -> usize {
        self.params.iter().take_while(|p| p.default.is_none()).count()
    }

    /// The function with its types, as messages and EXPLAIN name it.
    pub fn signature(&self) -> String {
        let params: Vec<String> = self.params.iter().map(|p| format!("{} {}", p.name, p.data_type)).collect();
        format!("{}({}) -> {}", self.name, params.join(", "), self.returns)
    }
}

/// The options of a function as they were given; what was not given has its default.
#[derive(Clone, Debug, Default)]
pub struct FunctionOptions {
    pub kind: Option<Kind>,
    pub null_handling: Option<NullHandling>,
    pub on_error: Option<OnError>,
    pub volatility: Option<Volatility>,
    pub isolation: Option<Isolation>,
    pub timeout: Option<Duration>,
    pub memory_limit: Option<usize>,
    pub batch_rows: Option<usize>,
    pub compile: Option<Compile>,
}

impl FunctionOptions {
    /// The names of all options.
    pub const NAMES: [&'static str; 9] = [
        "kind",
        "null_handling",
        "on_error",
        "volatility",
        "isolation",
        "timeout",
        "memory_limit",
        "batch_rows",
        "compile",
    ];

    /// Reads one option.
    ///
    /// # Errors
    /// [`SpecError`] for an option that does not exist or a value it does not take.
    pub fn set(&mut self, option: &str, value: &str) -> Result<(), SpecError> {
        let bad = |option: &'static str, expected: &str| SpecError::BadValue {
            option,
            value: value.to_owned(),
            expected: expected.to_owned(),
        };
        match option.to_ascii_lowercase().as_str() {
            "kind" => {
                let kind = Kind::parse(value)?;
                if kind == Kind::Native {
                    return Err(bad("kind", "scalar, numpy, arrow, pandas"));
                }
                self.kind = Some(kind);
            }
            "null_handling" => self.null_handling = Some(NullHandling::parse(value)?),
            "on_error" => self.on_error = Some(OnError::parse(value)?),
            "volatility" => self.volatility = Some(parse_volatility(value)?),
            "isolation" => self.isolation = Some(Isolation::parse(value)?),
            "timeout" => {
                let seconds: f64 =
                    value.trim().parse().map_err(|_| bad("timeout", "a number of seconds above 0"))?;
                let timeout = Duration::try_from_secs_f64(seconds).ok().filter(|t| !t.is_zero());
                self.timeout = Some(timeout.ok_or_else(|| bad("timeout", "a number of seconds above 0"))?);
            }
            "memory_limit" => {
                let bytes = parse_bytes(value).filter(|bytes| *bytes > 0);
                self.memory_limit =
                    Some(bytes.ok_or_else(|| bad("memory_limit", "bytes, or a size such as 512MiB"))?);
            }
            "batch_rows" => {
                let rows = value.trim().parse().ok().filter(|rows| *rows > 0);
                self.batch_rows = Some(rows.ok_or_else(|| bad("batch_rows", "a number of rows above 0"))?);
            }
            "compile" => self.compile = Some(Compile::parse(value)?),
            _ => return Err(SpecError::UnknownOption { option: option.to_owned() }),
        }
        Ok(())
    }

    /// The spec of a function with these options.
    ///
    /// # Errors
    /// [`SpecError`] where options or parameters contradict each other.
    pub fn build(
        self,
        name: impl Into<String>,
        params: Vec<Param>,
        returns: DataType,
    ) -> Result<FunctionSpec, SpecError> {
        let name = name.into();
        if name.is_empty() {
            return Err(SpecError::NoName);
        }
        let mut seen = HashSet::new();
        let mut defaults = false;
        for param in &params {
            if !seen.insert(param.name.as_str()) {
                return Err(SpecError::SameParam { udf: name, param: param.name.clone() });
            }
            if defaults && param.default.is_none() {
                return Err(SpecError::DefaultFirst { udf: name, param: param.name.clone() });
            }
            defaults |= param.default.is_some();
        }
        let isolation = self.isolation.unwrap_or(Isolation::InProcess);
        match isolation {
            Isolation::InProcess => {
                if self.timeout.is_some() {
                    return Err(SpecError::NeedsProcess { udf: name, option: "timeout" });
                }
                if self.memory_limit.is_some() {
                    return Err(SpecError::NeedsProcess { udf: name, option: "memory_limit" });
                }
            }
            Isolation::Process | Isolation::Socket => {}
        }
        let compile = self.compile.unwrap_or(Compile::Auto);
        let batch_rows = match isolation {
            Isolation::InProcess | Isolation::Process => BATCH_ROWS,
            Isolation::Socket => SOCKET_BATCH_ROWS,
        };
        Ok(FunctionSpec {
            name,
            params,
            returns,
            kind: self.kind.unwrap_or(Kind::Scalar),
            null_handling: self.null_handling.unwrap_or(NullHandling::Propagate),
            on_error: self.on_error.unwrap_or(OnError::Raise),
            volatility: self.volatility.unwrap_or(Volatility::Immutable),
            isolation,
            timeout: self.timeout,
            memory_limit: self.memory_limit,
            batch_rows: self.batch_rows.unwrap_or(batch_rows).max(1),
            compile,
        })
    }
}

/// Why a function cannot be registered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    #[error("a function has no option '{option}'; there are: {}", FunctionOptions::NAMES.join(", "))]
    UnknownOption { option: String },
    #[error("{option} = '{value}' is not possible; expected: {expected}")]
    BadValue { option: &'static str, value: String, expected: String },
    #[error("UDF '{udf}': {option} needs worker processes, which can be stopped; add isolation = 'process'")]
    NeedsProcess { udf: String, option: &'static str },
    #[error("UDF '{udf}' cannot be compiled, which compile = 'require' asks for: {reason}")]
    CannotCompile { udf: String, reason: String },
    #[error("UDF '{udf}' has two parameters named '{param}'")]
    SameParam { udf: String, param: String },
    #[error("UDF '{udf}': parameter '{param}' has no default but follows one that has")]
    DefaultFirst { udf: String, param: String },
    #[error("a function needs a name")]
    NoName,
}

fn parse_volatility(value: &str) -> Result<Volatility, SpecError> {
    match value.to_ascii_lowercase().as_str() {
        "immutable" => Ok(Volatility::Immutable),
        "stable" => Ok(Volatility::Stable),
        "volatile" => Ok(Volatility::Volatile),
        _ => Err(SpecError::BadValue {
            option: "volatility",
            value: value.to_owned(),
            expected: "immutable, stable, volatile".to_owned(),
        }),
    }
}

/// "1048576", "512MiB", "2 GB": units of 1000, or of 1024 with an i.
fn parse_bytes(text: &str) -> Option<usize> {
    let text = text.trim();
    let split = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let factor = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1.0,
        "k" | "kb" => 1e3,
        "m" | "mb" => 1e6,
        "g" | "gb" => 1e9,
        "t" | "tb" => 1e12,
        "kib" => 1024.0,
        "mib" => 1024.0 * 1024.0,
        "gib" => 1024.0 * 1024.0 * 1024.0,
        "tib" => 1024.0 * 1024.0 * 1024.0 * 1024.0,
        _ => return None,
    };
    let bytes = number.trim().parse::<f64>().ok()? * factor;
    (0.0..9e18).contains(&bytes).then_some(bytes as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(options: &[(&str, &str)]) -> Result<FunctionSpec, SpecError> {
        let mut all = FunctionOptions::default();
        for (option, value) in options {
            all.set(option, value)?;
        }
        all.build("f", vec![Param::new("x", DataType::Int64)], DataType::Int64)
    }

    #[test]
    fn every_word_is_read_and_has_its_default() {
        let spec = with(&[]).unwrap();
        assert_eq!(spec.kind, Kind::Scalar);
        assert_eq!(spec.null_handling, NullHandling::Propagate);
        assert_eq!((spec.on_error, spec.volatility), (OnError::Raise, Volatility::Immutable));
        assert_eq!((spec.isolation, spec.batch_rows), (Isolation::InProcess, 65_536));
        let spec = with(&[
            ("KIND", "NumPy"),
            ("null_handling", "call"),
            ("on_error", "collect"),
            ("volatility", "volatile"),
            ("isolation", "process"),
            ("timeout", "1.5"),
            ("memory_limit", "512MiB"),
            ("batch_rows", "7"),
            ("compile", "never"),
        ])
        .unwrap();
        assert_eq!(spec.kind, Kind::Numpy);
        assert_eq!(spec.timeout, Some(Duration::from_millis(1500)));
        assert_eq!((spec.memory_limit, spec.batch_rows), (Some(512 << 20), 7));
        assert_eq!(with(&[("isolation", "socket")]).unwrap().batch_rows, 10_000);
    }

    #[test]
    fn wrong_options_say_what_is_possible() {
        let message = |options: &[(&str, &str)]| with(options).unwrap_err().to_string();
        assert!(message(&[("on_err", "null")]).contains("there are: kind, null_handling"));
        assert!(message(&[("on_error", "ignore")]).contains("raise, null, collect"));
        assert!(message(&[("kind", "native")]).contains("scalar, numpy"));
        assert!(message(&[("timeout", "2")]).contains("add isolation = 'process'"));
        assert!(message(&[("timeout", "-2"), ("isolation", "process")]).contains("above 0"));
        assert!(message(&[("memory_limit", "1GB")]).contains("memory_limit needs worker processes"));
        assert!(message(&[("batch_rows", "0")]).contains("above 0"));
    }

    #[test]
    fn parameters_are_checked() {
        let twice = vec![Param::new("x", DataType::Int64), Param::new("x", DataType::Int64)];
        let error = FunctionOptions::default().build("f", twice, DataType::Int64).unwrap_err();
        assert_eq!(error.to_string(), "UDF 'f' has two parameters named 'x'");
        let mut first = Param::new("x", DataType::Int64);
        first.default = Some(ArgDefault::Omitted);
        let params = vec![first, Param::new("y", DataType::Int64)];
        let error = FunctionOptions::default().build("f", params, DataType::Int64).unwrap_err();
        assert!(error.to_string().contains("'y' has no default"));
    }
}
