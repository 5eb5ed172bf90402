//! From the text in FROM to the files it means: one file, a glob, or a folder.
//!
//! `~` is the home folder, relative paths start at the current folder of the process. In a glob, `*`
//! and `?` stay within one folder and `**` crosses folders; names that start with a dot are left out
//! unless the pattern writes the dot. A folder means the data files directly in it, which must be of
//! one kind; if it has none but has folders like `year=2024`, it means the files below them, and
//! `year` becomes a column.
//!
//! A `Listing` carries what tells an old file from a changed one (size, time of change, inode), so that
//! two equal listings mean equal data: caches of plans and schemas rest on that.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::error::{Error, Result};
use crate::suggest::nearest;

use super::format::FileKind;
use super::unreadable;

/// What stands in FROM, resolved as far as it can be without looking at the disk.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Pattern {
    /// As the user wrote it, for messages.
    shown: PathBuf,
    /// Absolute, with `~` expanded.
    path: PathBuf,
}

/// The files of a pattern at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listing {
    pub(crate) kind: FileKind,
    /// Sorted by path; never empty.
    pub(crate) files: Vec<Stamp>,
    /// For a folder of `key=value` folders: the folder that the keys start at.
    pub(crate) partitioned_at: Option<PathBuf>,
}

/// One file, and what changes when its content does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// Absolute.
    pub(crate) path: PathBuf,
    /// Bytes.
    pub(crate) len: u64,
    modified: Option<SystemTime>,
    inode: u64,
}

impl Pattern {
    /// The pattern that a name in FROM means, or `None` if the name does not look like a file: a table
    /// name has no slash, no wildcard, no leading `~` and no ending that names a format.
    ///
    /// # Errors
    /// [`Error::File`] if the name needs the home or current folder and there is none.
    pub(crate) fn parse(name: &str) -> Result<Option<Self>> {
        let name = match name.strip_prefix("file://") {
            Some(path) if path.starts_with('/') => path,
            Some(_) | None => name,
        };
        if name.contains("://") || name.is_empty() {
            return Ok(None);
        }
        let looks = name.contains('/')
            || name.contains(['*', '?'])
            || name.starts_with('~')
            || FileKind::from_name(name).is_some()
            || (name.contains('.') && Path::new(name).exists());
        if !looks {
            return Ok(None);
        }
        Self::of(name).map(Some)
    }

    /// The pattern of a text that is known to be a path.
    pub(crate) fn of(name: &str) -> Result<Self> {
        let shown = PathBuf::from(name);
        let expanded = expand_home(name)?;
        let path = if expanded.is_absolute() {
            expanded
        } else {
            std::env::current_dir().map_err(|e| unreadable(&shown, &e))?.join(expanded)
        };
        Ok(Self { shown, path: normalized(&path) })
    }

    /// As the user wrote it.
    pub(crate) fn shown(&self) -> &Path {
        &self.shown
    }

    /// Absolute, with `~` expanded; a glob keeps its wildcards.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// A path below or equal to this pattern's, as the user would write it.
    pub(crate) fn show(&self, path: &Path) -> PathBuf {
        if self.shown.is_absolute() {
            return path.to_path_buf();
        }
        let base = std::env::current_dir().unwrap_or_default();
        path.strip_prefix(&base).unwrap_or(path).to_path_buf()
    }

    /// Looks at the disk.
    ///
    /// # Errors
    /// [`Error::File`] naming the path if there is no such file (with the nearest name beside it), if
    /// nothing matches, if a folder cannot be read or holds files of several kinds.
    pub(crate) fn list(&self) -> Result<Listing> {
        match fs::metadata(&self.path) {
            Ok(meta) if meta.is_dir() => self.list_folder(),
            Ok(meta) => Ok(Listing {
                kind: FileKind::of_file(&self.path, &self.shown)?,
                files: vec![Stamp::new(self.path.clone(), &meta)],
                partitioned_at: None,
            }),
            Err(_) if is_glob(&self.path) => self.list_glob(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(self.not_found()),
            Err(error) => Err(unreadable(&self.shown, &error)),
        }
    }

    fn list_glob(&self) -> Result<Listing> {
        let text =
            self.path.to_str().ok_or_else(|| Error::file(&self.shown, "the path is not valid UTF-8"))?;
        let options = glob::MatchOptions {
            case_sensitive: true,
            require_literal_separator: true,
            require_literal_leading_dot: true,
        };
        let found = glob::glob_with(text, options)
            .map_err(|e| Error::file(&self.shown, format!("not a valid glob: {}", e.msg)))?;
        let mut files = Vec::new();
        for entry in found {
            let path = entry.map_err(|e| unreadable(&self.show(e.path()), e.error()))?;
            let meta = fs::metadata(&path).map_err(|e| unreadable(&self.show(&path), &e))?;
            if meta.is_file() {
                files.push(Stamp::new(path, &meta));
            }
        }
        if files.is_empty() {
            return Err(Error::file(&self.shown, "no file matches"));
        }
        files.sort_by(|a, b| a.path.cmp(&b.path));
        let kinds = self.by_kind(files, true)?;
        self.single_kind(kinds, None)
    }

    fn list_folder(&self) -> Result<Listing> {
        let (files, folders) = self.read_folder(&self.path)?;
        let kinds = self.by_kind(files, false)?;
        if !kinds.is_empty() {
            return self.single_kind(kinds, None);
        }
        // No data files at the top: look for Hive partitions.
        let mut partitions: Vec<PathBuf> =
            folders.iter().filter(|path| file_name(path).contains('=')).cloned().collect();
        if partitions.is_empty() {
            let hint = match folders.first() {
                Some(folder) => format!(
                    "; it has folders: for all files below it write '{}/**/*.csv' or the like (there \
                     is '{}')",
                    self.shown.display(),
                    file_name(folder)
                ),
                None => String::new(),
            };
            return Err(Error::file(&self.shown, format!("the folder has no data files{hint}")));
        }
        let mut files = Vec::new();
        while let Some(folder) = partitions.pop() {
            let (more, folders) = self.read_folder(&folder)?;
            files.extend(more);
            partitions.extend(folders.into_iter().filter(|p| file_name(p).contains('=')));
        }
        files.sort_by(|a, b| a.path.cmp(&b.path));
        let kinds = self.by_kind(files, false)?;
        if kinds.is_empty() {
            return Err(Error::file(&self.shown, "the folder has no data files"));
        }
        self.single_kind(kinds, Some(self.path.clone()))
    }

    /// Files and folders in `folder`, without hidden ones and markers like `_SUCCESS`.
    fn read_folder(&self, folder: &Path) -> Result<(Vec<Stamp>, Vec<PathBuf>)> {
        let shown = self.show(folder);
        let mut files = Vec::new();
        let mut folders = Vec::new();
        for entry in fs::read_dir(folder).map_err(|e| unreadable(&shown, &e))? {
            let path = entry.map_err(|e| unreadable(&shown, &e))?.path();
            if file_name(&path).starts_with(['.', '_']) {
                continue;
            }
            // A dangling link or a file that has just gone is not an error of the query.
            let Ok(meta) = fs::metadata(&path) else {
                continue;
            };
            if meta.is_dir() {
                folders.push(path);
            } else {
                files.push(Stamp::new(path, &meta));
            }
        }
        files.sort_by(|a, b| a.path.cmp(&b.path));
        folders.sort();
        Ok((files, folders))
    }

    /// Groups files by kind. Files that a glob names must have a format; in a folder others (a README)
    /// are left out.
    fn by_kind(&self, files: Vec<Stamp>, named: bool) -> Result<Vec<(FileKind, Vec<Stamp>)>> {
        let mut kinds: Vec<(FileKind, Vec<Stamp>)> = Vec::new();
        for file in files {
            let kind = if named {
                FileKind::of_file(&file.path, &self.show(&file.path))?
            } else {
                match FileKind::from_name(&file_name(&file.path)) {
                    Some(kind) => kind,
                    None => continue,
                }
            };
            match kinds.iter_mut().find(|(have, _)| *have == kind) {
                Some((_, files)) => files.push(file),
                None => kinds.push((kind, vec![file])),
            }
        }
        Ok(kinds)
    }

    fn single_kind(
        &self,
        mut kinds: Vec<(FileKind, Vec<Stamp>)>,
        partitioned_at: Option<PathBuf>,
    ) -> Result<Listing> {
        if kinds.len() == 1
            && let Some((kind, files)) = kinds.pop()
        {
            return Ok(Listing { kind, files, partitioned_at });
        }
        let mut counts = BTreeMap::new();
        for (kind, files) in &kinds {
            counts.insert(kind.to_string(), files.len());
        }
        let counts: Vec<String> = counts.into_iter().map(|(kind, count)| format!("{count} {kind}")).collect();
        Err(Error::file(
            &self.shown,
            format!(
                "the files are of several kinds ({}); write a glob that names one kind",
                counts.join(", ")
            ),
        ))
    }

    /// "No such file", with what lies beside it.
    fn not_found(&self) -> Error {
        let mut message = String::from("no such file or folder");
        // The deepest folder that exists says where the path went wrong.
        let mut missing = self.path.as_path();
        while let Some(parent) = missing.parent() {
            if parent.is_dir() {
                break;
            }
            missing = parent;
        }
        if let Some(parent) = missing.parent() {
            let names: Vec<String> = fs::read_dir(parent)
                .map(|entries| {
                    entries.filter_map(|entry| Some(file_name(&entry.ok()?.path()).into_owned())).collect()
                })
                .unwrap_or_default();
            if let Some(near) = nearest(&file_name(missing), names.iter().map(String::as_str)) {
                let near = self.show(&parent.join(near));
                message += &format!("; did you mean '{}'?", near.display());
            } else if missing != self.path {
                let folder = self.show(missing);
                message += &format!(" (there is no folder '{}')", folder.display());
            }
        }
        Error::file(&self.shown, message)
    }
}

impl Stamp {
    fn new(path: PathBuf, meta: &fs::Metadata) -> Self {
        Self { path, len: meta.len(), modified: meta.modified().ok(), inode: inode(meta) }
    }
}

#[cfg(unix)]
fn inode(meta: &fs::Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::ino(meta)
}

#[cfg(not(unix))]
fn inode(_meta: &fs::Metadata) -> u64 {
    0
}

/// `~` and `~/x` with the home folder; anything else unchanged.
pub(crate) fn expand_home(name: &str) -> Result<PathBuf> {
    let rest = match name.strip_prefix('~') {
        Some("") => "",
        Some(rest) if rest.starts_with('/') => rest.trim_start_matches('/'),
        Some(_) | None => return Ok(PathBuf::from(name)),
    };
    let home = std::env::var_os("HOME")
        .filter(|home| !home.is_empty())
        .ok_or_else(|| Error::file(name, "HOME is not set, so '~' has no meaning"))?;
    Ok(Path::new(&home).join(rest))
}

/// The path without `.` and, where that is safe to do on text, `a/..`.
fn normalized(path: &Path) -> PathBuf {
    use std::path::Component;
    let mut out = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            // `link/..` is not where `link` lies, so links are left for the system to follow.
            Component::ParentDir if !out.is_symlink() && out.parent().is_some() => {
                out.pop();
            }
            Component::ParentDir | Component::Prefix(_) | Component::RootDir | Component::Normal(_) => {
                out.push(component)
            }
        }
    }
    out
}

fn is_glob(path: &Path) -> bool {
    path.to_string_lossy().contains(['*', '?', '['])
}

fn file_name(path: &Path) -> std::borrow::Cow<'_, str> {
    path.file_name().unwrap_or_default().to_string_lossy()
}
