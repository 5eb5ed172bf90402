//! The settings `fuseline.*`: what they are called, what values they take, how a wrong value is
//! refused.
//!
//! They are an extension of DataFusion's `ConfigOptions`, so `SET fuseline.fusion = 'off'` works in
//! SQL, they show up in `information_schema.df_settings`, and every session has its own. A session
//! without the extension behaves as with [`FuselineOptions::default`].

use datafusion::common::config::{ConfigEntry, ConfigExtension, ConfigOptions, ExtensionOptions};
use datafusion::common::{DataFusionError, Result};
pub use fuseline_codegen::cpu::Vectors;
pub use fuseline_planner::FusionMode;
use std::any::Any;
use std::fmt;

const FUSION_NAMES: [(&str, FusionMode); 4] = [
    ("on", FusionMode::On),
    ("off", FusionMode::Off),
    ("force", FusionMode::Force),
    ("require", FusionMode::Require),
];

/// What runs a loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Backend {
    /// Machine code.
    #[default]
    Cpu,
    /// The reference interpreter, slow: the oracle of the tests.
    Interp,
}

impl Backend {
    const NAMES: [(&'static str, Backend); 2] = [("cpu", Backend::Cpu), ("interp", Backend::Interp)];
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(name_of(&Backend::NAMES, *self))
    }
}

/// Whether the Parquet reader filters rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum ScanFilters {
    /// Where a sample of the rows says that it pays.
    #[default]
    Auto,
    /// By every conjunct that may be evaluated there: for tests.
    Always,
    /// Never; it only prunes.
    Off,
}

const SCAN_FILTER_NAMES: [(&str, ScanFilters); 3] =
    [("auto", ScanFilters::Auto), ("always", ScanFilters::Always), ("off", ScanFilters::Off)];

const VECTOR_NAMES: [(&str, Vectors); 3] =
    [("auto", Vectors::Auto), ("128", Vectors::Narrow), ("rolled", Vectors::Rolled)];

/// The settings of one session; each field is `fuseline.<field>` in SQL.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FuselineOptions {
    pub fusion: FusionMode,
    pub backend: Backend,
    /// Which vectors machine code uses; the results are the same.
    pub vectors: Vectors,
    /// Call libm for transcendental functions instead of the vector kernels (within 1 ulp of it).
    pub exact_libm: bool,
    /// Verify the IR of every loop, and Cranelift's IR after lowering, before running it.
    pub verify: bool,
    /// Rows given to a loop at once, where the source's batches are larger than that. At least
    /// 1,024.
    pub morsel_rows: usize,
    /// With `fusion = 'on'`, inputs whose exact row count is known to lie below this stay unfused.
    pub min_rows: usize,
    /// Whether joins may be made in another order than the query's, where it is estimated to be better.
    pub reorder_joins: bool,
    /// Whether the Parquet reader decodes only the rows that pass, where few do.
    pub scan_filters: ScanFilters,
}

impl Default for FuselineOptions {
    fn default() -> Self {
        FuselineOptions {
            fusion: FusionMode::On,
            backend: Backend::Cpu,
            vectors: Vectors::Auto,
            exact_libm: false,
            verify: false,
            morsel_rows: 65_536,
            min_rows: 1_000,
            reorder_joins: true,
            scan_filters: ScanFilters::Auto,
        }
    }
}

/// The least `morsel_rows`: a chunk of the generated code.
const MIN_MORSEL_ROWS: usize = 1024;
/// The most: row positions inside a morsel are 32 bits wide.
const MAX_MORSEL_ROWS: usize = 1 << 30;

impl FuselineOptions {
    /// The settings of a session, the defaults if it has none.
    pub fn of(config: &ConfigOptions) -> FuselineOptions {
        config.extensions.get::<FuselineOptions>().cloned().unwrap_or_default()
    }

    /// Sets one option from text, as `SET fuseline.<key> = <value>` does.
    ///
    /// # Errors
    /// `DataFusionError::Configuration` for an unknown key, or a value that the key does not take;
    /// the message lists what would do.
    pub fn set(&mut self, key: &str, value: &str) -> Result<()> {
        match key {
            "fusion" => self.fusion = one_of(key, value, &FUSION_NAMES)?,
            "backend" => self.backend = one_of(key, value, &Backend::NAMES)?,
            "vectors" => self.vectors = one_of(key, value, &VECTOR_NAMES)?,
            "exact_libm" => self.exact_libm = boolean(key, value)?,
            "verify" => self.verify = boolean(key, value)?,
            "morsel_rows" => {
                self.morsel_rows = number(key, value, MIN_MORSEL_ROWS, MAX_MORSEL_ROWS)?;
            }
            "min_rows" => self.min_rows = number(key, value, 0, usize::MAX)?,
            "reorder_joins" => self.reorder_joins = boolean(key, value)?,
            "scan_filters" => self.scan_filters = one_of(key, value, &SCAN_FILTER_NAMES)?,
            _ => {
                let known: Vec<String> = self.entries().into_iter().map(|e| e.key).collect();
                return Err(DataFusionError::Configuration(format!(
                    "there is no setting fuseline.{key}; there are {}",
                    known.join(", ")
                )));
            }
        }
        Ok(())
    }
}

impl ConfigExtension for FuselineOptions {
    const PREFIX: &'static str = "fuseline";
}

impl ExtensionOptions for FuselineOptions {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }

    fn cloned(&self) -> Box<dyn ExtensionOptions> {
        Box::new(self.clone())
    }

    fn set(&mut self, key: &str, value: &str) -> Result<()> {
        FuselineOptions::set(self, key, value)
    }

    fn entries(&self) -> Vec<ConfigEntry> {
        let entry = |key: &str, value: String, description: &'static str| ConfigEntry {
            key: format!("{}.{key}", FuselineOptions::PREFIX),
            value: Some(value),
            description,
        };
        vec![
            entry(
                "fusion",
                name_of(&FUSION_NAMES, self.fusion).to_owned(),
                "When to fuse: on, off, force or require",
            ),
            entry(
                "backend",
                self.backend.to_string(),
                "What runs fused loops: cpu, or interp (slow, for tests)",
            ),
            entry(
                "vectors",
                name_of(&VECTOR_NAMES, self.vectors).to_owned(),
                "Vectors of machine code: auto, the widest there are; 128; or rolled, one group of rows at a time",
            ),
            entry("exact_libm", self.exact_libm.to_string(), "Call libm for transcendental functions"),
            entry("verify", self.verify.to_string(), "Verify the IR of every loop before running it"),
            entry("morsel_rows", self.morsel_rows.to_string(), "Rows given to a loop at once"),
            entry(
                "min_rows",
                self.min_rows.to_string(),
                "With fusion = on, inputs known to have fewer rows stay unfused",
            ),
            entry(
                "reorder_joins",
                self.reorder_joins.to_string(),
                "Join in another order than the query's where that is estimated to be better",
            ),
            entry(
                "scan_filters",
                name_of(&SCAN_FILTER_NAMES, self.scan_filters).to_owned(),
                "Filter rows while Parquet is read: auto, where it pays, always or off",
            ),
        ]
    }
}

fn name_of<T: PartialEq + Copy>(names: &[(&'static str, T)], value: T) -> &'static str {
    names.iter().find(|n| n.1 == value).map_or("?", |n| n.0)
}

fn wrong(key: &str, value: &str, wanted: &str) -> DataFusionError {
    DataFusionError::Configuration(format!("fuseline.{key} cannot be '{value}': it takes {wanted}"))
}

fn one_of<T: Copy>(key: &str, value: &str, names: &[(&'static str, T)]) -> Result<T> {
    let given = value.trim();
    names.iter().find(|n| n.0.eq_ignore_ascii_case(given)).map(|n| n.1).ok_or_else(|| {
        let all: Vec<&str> = names.iter().map(|n| n.0).collect();
        wrong(key, value, &all.join(", "))
    })
}

fn boolean(key: &str, value: &str) -> Result<bool> {
    one_of(
        key,
        value,
        &[("true", true), ("false", false), ("on", true), ("off", false), ("1", true), ("0", false)],
    )
    .map_err(|_| wrong(key, value, "true or false"))
}

fn number(key: &str, value: &str, least: usize, most: usize) -> Result<usize> {
    let given: Option<usize> = value.trim().replace('_', "").parse().ok();
    given.filter(|n| (least..=most).contains(n)).ok_or_else(|| {
        let wanted = if most == usize::MAX {
            format!("a whole number from {least}")
        } else {
            format!("a whole number from {least} to {most}")
        };
        wrong(key, value, &wanted)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> ConfigOptions {
        let mut config = ConfigOptions::default();
        config.extensions.insert(FuselineOptions::default());
        config
    }

    #[test]
    fn settings_are_set_and_read_by_name() {
        let mut config = config();
        config.set("fuseline.fusion", "REQUIRE").unwrap();
        config.set("fuseline.backend", "interp").unwrap();
        config.set("fuseline.vectors", "128").unwrap();
        config.set("fuseline.exact_libm", "true").unwrap();
        config.set("fuseline.morsel_rows", "8192").unwrap();
        let options = FuselineOptions::of(&config);
        assert_eq!(options.fusion, FusionMode::Require);
        assert_eq!(options.backend, Backend::Interp);
        assert_eq!(options.vectors, Vectors::Narrow);
        assert!(options.exact_libm);
        assert_eq!(options.morsel_rows, 8192);
        assert_eq!(options.min_rows, FuselineOptions::default().min_rows);
    }

    #[test]
    fn every_entry_can_be_set_to_its_own_value() {
        let mut config = config();
        for e in FuselineOptions::default().entries() {
            config.set(&e.key, &e.value.unwrap()).unwrap();
        }
        assert_eq!(FuselineOptions::of(&config), FuselineOptions::default());
    }

    #[test]
    fn a_wrong_value_is_refused_with_the_right_ones() {
        let mut config = config();
        let error = config.set("fuseline.fusion", "maybe").unwrap_err().to_string();
        assert!(error.contains("fuseline.fusion cannot be 'maybe'"), "{error}");
        assert!(error.contains("on, off, force, require"), "{error}");
        let error = config.set("fuseline.morsel_rows", "7").unwrap_err().to_string();
        assert!(error.contains("a whole number from 1024"), "{error}");
        let error = config.set("fuseline.verify", "si").unwrap_err().to_string();
        assert!(error.contains("true or false"), "{error}");
        let error = config.set("fuseline.nothing", "1").unwrap_err().to_string();
        assert!(error.contains("there is no setting fuseline.nothing"), "{error}");
        assert_eq!(FuselineOptions::of(&config), FuselineOptions::default());
    }
}
