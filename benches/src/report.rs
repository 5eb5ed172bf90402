//! Figures: medians, the machine they were taken on, and their JSON form.

use std::path::Path;

use serde_json::{Map, Value, json};

use crate::Failure;

/// The figures of one run of the program.
#[derive(Default)]
pub struct Report {
    figures: Vec<Value>,
}

impl Report {
    /// Adds one figure: an object of names and values.
    pub fn add(&mut self, figure: Value) {
        self.figures.push(figure);
    }

    /// Writes everything, with the machine, to a JSON file.
    pub fn write(&self, path: &Path) -> Result<(), Failure> {
        let all = json!({ "machine": machine(), "figures": self.figures });
        std::fs::write(path, serde_json::to_string_pretty(&all)? + "\n")
            .map_err(|e| format!("{}: {e}", path.display()).into())
    }
}

/// The middle value; of an even number the upper middle. Panics on none.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

/// Processor, its count, and its second-level cache, as Linux tells them; what is unknown is absent.
pub fn machine() -> Value {
    let mut about = Map::new();
    about.insert("arch".into(), std::env::consts::ARCH.into());
    if let Ok(text) = std::fs::read_to_string("/proc/cpuinfo")
        && let Some(line) = text.lines().find(|l| l.starts_with("model name"))
        && let Some((_, name)) = line.split_once(':')
    {
        about.insert("processor".into(), name.trim().into());
    }
    if let Ok(cores) = std::thread::available_parallelism() {
        about.insert("cores".into(), cores.get().into());
    }
    if let Ok(size) = std::fs::read_to_string("/sys/devices/system/cpu/cpu0/cache/index2/size") {
        about.insert("l2".into(), size.trim().into());
    }
    if let Ok(text) = std::fs::read_to_string("/proc/meminfo")
        && let Some(size) = text.lines().find_map(|l| l.strip_prefix("MemTotal:"))
        && let Some(kilobytes) = size.split_whitespace().next().and_then(|n| n.parse::<u64>().ok())
    {
        about.insert("memory_gib".into(), (kilobytes >> 20).into());
    }
    if let Ok(text) = std::fs::read_to_string("/etc/os-release")
        && let Some(name) = text.lines().find_map(|l| l.strip_prefix("PRETTY_NAME="))
    {
        about.insert("system".into(), name.trim_matches('"').into());
    }
    if let Ok(text) = std::fs::read_to_string("/proc/sys/kernel/osrelease") {
        about.insert("kernel".into(), text.trim().into());
    }
    Value::Object(about)
}

/// Resident memory of this process in bytes.
pub fn resident_bytes() -> Result<usize, Failure> {
    let text = std::fs::read_to_string("/proc/self/status")?;
    let line = text.lines().find(|line| line.starts_with("VmRSS:")).ok_or("no VmRSS in /proc/self/status")?;
    let kilobytes: usize = line.split_whitespace().nth(1).ok_or("no figure")?.parse()?;
    Ok(kilobytes * 1024)
}
