//! Where results go: standard output, or a file that appears whole or not at all.
//!
//! A file is written under a temporary name in its own folder and renamed at `commit`. Before the
//! rename its bytes are synced: a disk that turns out to be full, or a machine that stops, leaves
//! either the old file or the whole new one. Devices and pipes (`-o /dev/null`) cannot be renamed
//! onto; they are written directly.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, IsTerminal, Stdout, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::error::CliError;

/// Bytes collected before they are handed to the operating system.
const BUFFER: usize = 64 * 1024;

enum Target {
    Stdout(Stdout),
    Memory(Vec<u8>),
    Device(File),
    Replace { temporary: NamedTempFile, path: PathBuf },
}

impl Write for Target {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Target::Stdout(out) => out.write(bytes),
            Target::Memory(memory) => memory.write(bytes),
            Target::Device(file) => file.write(bytes),
            Target::Replace { temporary, .. } => temporary.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Target::Stdout(out) => out.flush(),
            Target::Memory(_) => Ok(()),
            Target::Device(file) => file.flush(),
            Target::Replace { temporary, .. } => temporary.flush(),
        }
    }
}

/// A buffered writer to standard output or to a file.
pub struct Destination {
    writer: BufWriter<Target>,
    name: String,
    terminal: bool,
}

impl Destination {
    /// Standard output.
    pub fn stdout() -> Destination {
        let out = io::stdout();
        let terminal = out.is_terminal();
        let writer = BufWriter::with_capacity(BUFFER, Target::Stdout(out));
        Destination { writer, name: "standard output".to_string(), terminal }
    }

    /// The file at `path`, which keeps its old content until `commit`. Fails when the folder is
    /// missing or not writable.
    pub fn file(path: &Path) -> Result<Destination, CliError> {
        let name = path.display().to_string();
        let fail = |e: io::Error| CliError::Query(format!("cannot write {name}: {e}"));
        // A link is followed: the file behind it is replaced, not the link.
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
        let target = match fs::metadata(&path) {
            Ok(meta) if meta.is_dir() => {
                return Err(CliError::Query(format!("cannot write {name}: it is a folder")));
            }
            Ok(meta) if !meta.is_file() => {
                Target::Device(OpenOptions::new().write(true).open(&path).map_err(fail)?)
            }
            Ok(_) | Err(_) => {
                let folder = match path.parent() {
                    Some(parent) if !parent.as_os_str().is_empty() => parent,
                    Some(_) | None => Path::new("."),
                };
                let mut builder = tempfile::Builder::new();
                builder.prefix(".fuseline-").suffix(".tmp");
                #[cfg(unix)]
                {
                    use std::os::unix::fs::PermissionsExt;
                    // As any new file: the process's umask takes its bits away.
                    builder.permissions(fs::Permissions::from_mode(0o666));
                }
                let temporary = builder.tempfile_in(folder).map_err(fail)?;
                Target::Replace { temporary, path }
            }
        };
        let terminal = match &target {
            Target::Device(file) => file.is_terminal(),
            Target::Stdout(_) | Target::Memory(_) | Target::Replace { .. } => false,
        };
        let writer = BufWriter::with_capacity(BUFFER, target);
        Ok(Destination { writer, name, terminal })
    }

    /// Memory, whose content `into_text` gives.
    pub fn memory() -> Destination {
        let writer = BufWriter::new(Target::Memory(Vec::new()));
        Destination { writer, name: "memory".to_string(), terminal: false }
    }

    /// What was written, for a destination in memory; empty for others.
    pub fn into_text(mut self) -> Result<String, CliError> {
        self.flush_all()?;
        let (target, _) = self.writer.into_parts();
        match target {
            Target::Memory(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
            Target::Stdout(_) | Target::Device(_) | Target::Replace { .. } => Ok(String::new()),
        }
    }

    /// Whether a person reads this on a terminal.
    pub fn is_terminal(&self) -> bool {
        self.terminal
    }

    /// Whether this is a file, which a reader can seek in, and not a pipe or a terminal.
    pub fn is_file(&self) -> bool {
        match self.writer.get_ref() {
            Target::Replace { .. } => true,
            Target::Stdout(_) | Target::Memory(_) | Target::Device(_) => false,
        }
    }

    /// The name for messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Writes text.
    pub fn text(&mut self, text: &str) -> Result<(), CliError> {
        self.bytes(text.as_bytes())
    }

    /// Writes bytes.
    pub fn bytes(&mut self, bytes: &[u8]) -> Result<(), CliError> {
        self.writer.write_all(bytes).map_err(|e| CliError::writing(&self.name, &e))
    }

    /// Hands what is buffered to the operating system.
    pub fn flush_all(&mut self) -> Result<(), CliError> {
        self.writer.flush().map_err(|e| CliError::writing(&self.name, &e))
    }

    /// Makes what was written visible: flushes, and gives a file its name.
    pub fn commit(mut self) -> Result<(), CliError> {
        self.flush_all()?;
        let Destination { writer, name, .. } = self;
        let (target, _) = writer.into_parts();
        match target {
            Target::Stdout(_) | Target::Memory(_) | Target::Device(_) => Ok(()),
            Target::Replace { temporary, path } => {
                temporary.as_file().sync_all().map_err(|e| CliError::writing(&name, &e))?;
                temporary.persist(path).map_err(|e| CliError::writing(&name, &e.error))?;
                Ok(())
            }
        }
    }
}

impl Write for Destination {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writer.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}
