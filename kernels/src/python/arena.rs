//! Where the texts that a row makes live until the row is done.
//!
//! A bump allocator: the first piece stays for all rows and so stays in the cache; what a row needs beyond it is
//! given back with the row. A row that asks for too much gets nothing and goes to Python.

use std::cell::{Cell, RefCell};

/// Bytes of the piece that stays.
const FIRST: usize = 32 << 10;
/// Most bytes that the texts of one row may take.
pub const ROW_LIMIT: usize = 16 << 20;

/// Memory for texts of one row.
#[derive(Debug)]
pub struct Arena {
    first: RefCell<Box<[u8]>>,
    /// Bytes taken of the first piece; not 0 if any memory was taken at all.
    used: Cell<usize>,
    /// Bytes taken elsewhere.
    beyond: Cell<usize>,
    more: RefCell<Vec<Box<[u8]>>>,
}

impl Default for Arena {
    fn default() -> Self {
        Arena {
            first: RefCell::new(vec![0; FIRST].into_boxed_slice()),
            used: Cell::new(0),
            beyond: Cell::new(0),
            more: RefCell::new(Vec::new()),
        }
    }
}

impl Arena {
    /// Where machine code finds the `usize` that is 0 while the arena is as [`Arena::reset`] leaves it.
    pub const USED: usize = std::mem::offset_of!(Arena, used);

    pub fn new() -> Arena {
        Arena::default()
    }

    /// So many bytes, of any content; `None` beyond the limit of a row.
    // A shared borrow gives exclusive memory because every call gives other bytes.
    #[allow(clippy::mut_from_ref)]
    pub fn bytes(&self, len: usize) -> Option<&mut [u8]> {
        let used = self.used.get();
        if len <= FIRST - used {
            self.used.set(used + len);
            // SAFETY: these bytes of the piece are given to nobody else before `reset`, which needs `&mut self`; the
            // piece's memory does not move.
            return Some(unsafe {
                std::slice::from_raw_parts_mut(self.first.borrow_mut().as_mut_ptr().add(used), len)
            });
        }
        self.beyond(len)
    }

    #[cold]
    #[allow(clippy::mut_from_ref, reason = "as in `bytes`")]
    fn beyond(&self, len: usize) -> Option<&mut [u8]> {
        let total = self.beyond.get().checked_add(len)?;
        if total > ROW_LIMIT {
            return None;
        }
        self.beyond.set(total);
        self.used.set(self.used.get().max(1));
        let mut piece = vec![0; len].into_boxed_slice();
        let start = piece.as_mut_ptr();
        self.more.borrow_mut().push(piece);
        // SAFETY: the piece has `len` bytes, moves only as a box, and is freed by `reset`, which needs `&mut self`.
        Some(unsafe { std::slice::from_raw_parts_mut(start, len) })
    }

    /// A copy of a text.
    pub fn text(&self, text: &str) -> Option<&str> {
        self.join(&[text])
    }

    /// Texts one after the other.
    pub fn join(&self, parts: &[&str]) -> Option<&str> {
        let len = parts.iter().try_fold(0_usize, |n, part| n.checked_add(part.len()))?;
        let bytes = self.bytes(len)?;
        let mut at = 0;
        for part in parts {
            bytes[at..at + part.len()].copy_from_slice(part.as_bytes());
            at += part.len();
        }
        // SAFETY: whole texts after one another are a text.
        Some(unsafe { std::str::from_utf8_unchecked(bytes) })
    }

    /// A text of as many ASCII bytes as `text` has, each made of the one at its place; `None` if one of them is not
    /// ASCII.
    #[inline]
    pub fn map_ascii(&self, text: &str, mut map: impl FnMut(u8) -> u8) -> Option<&str> {
        let bytes = self.bytes(text.len())?;
        let mut all = 0;
        for (to, from) in bytes.iter_mut().zip(text.bytes()) {
            all |= from;
            *to = map(from) & 0x7F;
        }
        // SAFETY: only ASCII was written.
        all.is_ascii().then(|| unsafe { std::str::from_utf8_unchecked(bytes) })
    }

    /// Takes all memory back: the row is done.
    pub fn reset(&mut self) {
        self.used.set(0);
        if self.beyond.replace(0) > 0 {
            self.more.get_mut().clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_keep_their_bytes_and_rows_have_a_limit() {
        let mut arena = Arena::new();
        for _row in 0..3 {
            let texts: Vec<&str> = (0..5000).map(|i| arena.text(&format!("text {i}")).unwrap()).collect();
            let long = arena.text(&"x".repeat(100_000)).unwrap();
            assert!(texts.iter().enumerate().all(|(i, t)| *t == format!("text {i}")));
            assert_eq!(long.len(), 100_000);
            assert!(arena.bytes(ROW_LIMIT).is_none());
            assert_eq!(arena.bytes(0).map(|b| b.len()), Some(0));
            arena.reset();
        }
        assert_eq!(arena.map_ascii("aé", |b| b), None);
    }
}
