//! Texts that leave a compiled function: one row after the other into the buffers of an Arrow array.

/// A column of texts under construction, with 32-bit offsets.
#[derive(Debug)]
pub struct TextOutput {
    pub bytes: Vec<u8>,
    /// The end of each row so far, behind a first 0.
    pub offsets: Vec<i32>,
}

impl TextOutput {
    pub fn with_capacity(rows: usize) -> TextOutput {
        let mut offsets = Vec::with_capacity(rows + 1);
        offsets.push(0);
        TextOutput { bytes: Vec::with_capacity(rows * 8), offsets }
    }

    /// Appends a row; `None` if the array would be too long for its offsets.
    pub fn push(&mut self, text: &str) -> Option<()> {
        let end = i32::try_from(self.bytes.len() + text.len()).ok()?;
        self.bytes.extend_from_slice(text.as_bytes());
        self.offsets.push(end);
        Some(())
    }
}
