//! Arrow IPC: which of the two forms a file has, and its columns.
//!
//! DataFusion tries the file form first and the stream form after it. On a damaged file that means
//! reading the magic `ARROW1` as a length and making room for a gigabyte; so here the first bytes
//! decide, and a length that the file cannot hold is refused before it is believed.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::ipc::reader::{FileReader, StreamReader};

/// What a file starts with in the file form.
pub(crate) const MAGIC: &[u8] = b"ARROW1";

/// A file in either form.
pub(crate) enum IpcReader {
    File(FileReader<BufReader<File>>),
    Stream(StreamReader<BufReader<File>>),
}

impl IpcReader {
    /// Opens a file and reads its schema.
    ///
    /// # Errors
    /// What the reader says about the first bytes, or that they promise more than the file has.
    pub(crate) fn open(path: &Path) -> Result<Self, ArrowError> {
        let mut head = Vec::with_capacity(8);
        let len = {
            let file = File::open(path)?;
            let len = file.metadata()?.len();
            file.take(8).read_to_end(&mut head)?;
            len
        };
        let file = BufReader::new(File::open(path)?);
        if head.starts_with(MAGIC) {
            return Ok(Self::File(FileReader::try_new(file, None)?));
        }
        if first_length(&head).is_none_or(|first| first > len) {
            return Err(ArrowError::IpcError("neither an Arrow file nor an Arrow stream".into()));
        }
        Ok(Self::Stream(StreamReader::try_new(file, None)?))
    }

    pub(crate) fn schema(&self) -> SchemaRef {
        match self {
            Self::File(reader) => reader.schema(),
            Self::Stream(reader) => reader.schema(),
        }
    }
}

impl Iterator for IpcReader {
    type Item = Result<RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::File(reader) => reader.next(),
            Self::Stream(reader) => reader.next(),
        }
    }
}

/// The length in bytes of a stream's first message, after a continuation mark if there is one.
fn first_length(head: &[u8]) -> Option<u64> {
    let word = |at: usize| Some(i32::from_le_bytes(head.get(at..at + 4)?.try_into().ok()?));
    let length = match word(0)? {
        -1 => word(4)?,
        old => old,
    };
    u64::try_from(length).ok()
}

#[cfg(test)]
mod tests {
    use super::first_length;

    #[test]
    fn lengths_with_and_without_a_mark() {
        assert_eq!(first_length(&[0xff, 0xff, 0xff, 0xff, 8, 1, 0, 0]), Some(264));
        assert_eq!(first_length(&[8, 1, 0, 0, 9, 9, 9, 9]), Some(264));
        assert_eq!(first_length(b"this is text"), Some(0x7369_6874));
        assert_eq!(first_length(&[0xfe, 0xff, 0xff, 0xff]), None);
        assert_eq!(first_length(b"ab"), None);
    }
}
