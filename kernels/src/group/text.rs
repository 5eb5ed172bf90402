//! Strings as words of a packed key.
//!
//! A string is two words that are compared and a pointer that is not: the header (length and first four
//! bytes), then the other bytes of one that has at most 12, or a 64-bit digest of a longer one. So short
//! strings are equal when their words are, and long ones are told apart by their words but for a
//! collision of the digest, which is why their bytes are compared too. NULL has a header that no string
//! has.

use crate::strings::{StrRef, bytes_equal, select::hash_bytes};

/// Strings of at most this many bytes are whole in their words.
pub const SHORT: u32 = 12;

/// The header of NULL; a string of this length would not fit an address space beside its table.
pub const NULL_HEADER: u64 = u64::MAX;

/// The two compared words.
///
/// # Safety
/// The string is alive.
#[inline(always)]
pub unsafe fn text_words(text: &StrRef) -> [u64; 2] {
    let second = if text.len > SHORT {
        // SAFETY: the caller's promise.
        hash_bytes(unsafe { text.bytes() })
    } else if text.len > 4 {
        let rest = text.len as usize - 4;
        // SAFETY: the bytes from 4 to `len` exist; reads lie in them.
        unsafe {
            let at = text.ptr.add(4);
            match rest {
                8 => at.cast::<u64>().read_unaligned(),
                4.. => {
                    let low = u64::from(at.cast::<u32>().read_unaligned());
                    let high = u64::from(at.add(rest - 4).cast::<u32>().read_unaligned());
                    low | high << (8 * (rest - 4))
                }
                _short => {
                    let (a, b, c) = (*at, *at.add(rest / 2), *at.add(rest - 1));
                    u64::from(a) | u64::from(b) << (8 * (rest / 2)) | u64::from(c) << (8 * (rest - 1))
                }
            }
        }
    } else {
        0
    };
    [text.header(), second]
}

/// Whether a header is that of a string whose bytes must be looked at.
#[inline(always)]
pub fn is_long(header: u64) -> bool {
    header as u32 > SHORT && header != NULL_HEADER
}

/// Whether two long strings with the same header and digest are the same.
///
/// # Safety
/// Both point at living strings of the header's length.
#[inline(always)]
pub unsafe fn long_equal(header: u64, a: u64, b: u64) -> bool {
    // SAFETY: the caller's promise.
    unsafe { bytes_equal(a as *const u8, b as *const u8, header as u32 as usize) }
}

/// Keeps copies of long strings. Their addresses stay valid until it is dropped.
#[derive(Debug, Default)]
pub struct TextArena {
    blocks: Vec<Vec<u8>>,
    bytes: usize,
}

/// Bytes of the first block; each one is twice the last, up to the most.
const FIRST_BLOCK: usize = 4 << 10;
const MOST_BLOCK: usize = 4 << 20;

impl TextArena {
    /// Copies bytes; gives their address.
    pub fn keep(&mut self, bytes: &[u8]) -> *const u8 {
        let room = self.blocks.last().map_or(0, |b| b.capacity() - b.len());
        if room < bytes.len() {
            let next = self.blocks.last().map_or(FIRST_BLOCK, |b| (b.capacity() * 2).min(MOST_BLOCK));
            let size = next.max(bytes.len());
            self.blocks.push(Vec::with_capacity(size));
            self.bytes += size;
        }
        match self.blocks.last_mut() {
            Some(block) => {
                let at = block.len();
                // Never beyond the capacity, so the block does not move.
                block.extend_from_slice(bytes);
                block[at..].as_ptr()
            }
            None => StrRef::EMPTY.ptr,
        }
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    #[test]
    fn words_of_short_strings_tell_them_apart() {
        let mut seen: HashMap<[u64; 2], String> = HashMap::new();
        let mut texts = vec![String::new()];
        for len in 1..=16usize {
            for at in 0..len {
                for byte in ["a", "\u{0}", "z"] {
                    let mut text = "b".repeat(len);
                    text.replace_range(at..=at, byte);
                    texts.push(text);
                }
            }
        }
        for text in texts {
            let words = unsafe { text_words(&StrRef::new(text.as_bytes())) };
            let known = seen.entry(words).or_insert_with(|| text.clone());
            assert_eq!(*known, text);
            assert_eq!(is_long(words[0]), text.len() > 12);
        }
    }

    #[test]
    fn kept_strings_stay_where_they_are() {
        let mut arena = TextArena::default();
        let texts: Vec<String> = (0..5000).map(|i| format!("text number {i}").repeat(1 + i % 7)).collect();
        let kept: Vec<*const u8> = texts.iter().map(|t| arena.keep(t.as_bytes())).collect();
        for (text, at) in texts.iter().zip(kept) {
            assert_eq!(unsafe { std::slice::from_raw_parts(at, text.len()) }, text.as_bytes());
        }
        assert!(arena.bytes() >= texts.iter().map(String::len).sum());
    }
}
