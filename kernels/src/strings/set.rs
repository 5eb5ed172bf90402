//! `x IN ('a', 'b', ...)`: a set of strings that is built once per compiled pipeline and asked once per
//! row.
//!
//! Open addressing over a power-of-two table at most half full. The hash mixes the header with the
//! last four bytes, so that strings of one length and prefix still spread; equality is decided on the
//! bytes.

use super::StrRef;
use super::compare::equal;
use crate::bitmap::write_bits;
use crate::isa::plain;

/// A set of strings that owns its bytes.
pub struct StrSet {
    /// Slots; an unused one has `taken[i] == false`.
    slots: Box<[StrRef]>,
    taken: Box<[bool]>,
    shift: u32,
    /// What the slots point into: never changed after construction.
    _bytes: Box<[u8]>,
}

impl StrSet {
    /// A set of `strings`; duplicates are fine.
    pub fn new(strings: &[&[u8]]) -> StrSet {
        let bytes: Box<[u8]> = strings.concat().into_boxed_slice();
        let capacity = (strings.len() * 2).next_power_of_two().max(4);
        let shift = 64 - capacity.trailing_zeros();
        let mut slots = vec![StrRef::EMPTY; capacity].into_boxed_slice();
        let mut taken = vec![false; capacity].into_boxed_slice();
        let mut start = 0;
        for string in strings {
            let entry = StrRef::new(&bytes[start..start + string.len()]);
            start += string.len();
            let mut at = slot(&entry, shift);
            // SAFETY: entries refer to `bytes`, which is alive.
            while taken[at] && !unsafe { equal(&slots[at], &entry) } {
                at = (at + 1) % capacity;
            }
            slots[at] = entry;
            taken[at] = true;
        }
        StrSet { slots, taken, shift, _bytes: bytes }
    }

    /// Whether the set has `string`.
    ///
    /// # Safety
    /// `string` refers to living bytes.
    #[inline]
    pub unsafe fn contains(&self, string: &StrRef) -> bool {
        let mut at = slot(string, self.shift);
        while self.taken[at] {
            // SAFETY: the set owns its strings, and the caller answers for the other.
            if unsafe { equal(&self.slots[at], string) } {
                return true;
            }
            at = (at + 1) & (self.slots.len() - 1);
        }
        false
    }
}

#[inline(always)]
fn slot(string: &StrRef, shift: u32) -> usize {
    let mut word = string.header();
    if string.len > 4 {
        // SAFETY: the last four bytes of a string of more than four.
        let tail = unsafe { string.ptr.add(string.len as usize - 4).cast::<[u8; 4]>().read() };
        word ^= u64::from(u32::from_le_bytes(tail)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }
    word ^= word >> 29;
    (word.wrapping_mul(0xBF58_476D_1CE4_E5B9) >> shift) as usize
}

plain! {
    /// `out = a IN set`; `set` is a [`StrSet`].
    pub fn rt_str_in_set = in_set(
        n: usize, a: *const StrRef, set: *const StrSet, out: *mut u8,
    );
}

unsafe fn in_set(n: usize, a: *const StrRef, set: *const StrSet, out: *mut u8) {
    // SAFETY: a has n rows of living strings, set is alive, out has room for n staged bits.
    unsafe {
        let set = &*set;
        write_bits(n, out, |i| set.contains(&*a.add(i)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples::{bit_buffer, refs, staged, strings};
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]

        #[test]
        fn membership(members in strings(), rows in strings()) {
            let bytes: Vec<&[u8]> = members.iter().map(|s| s.as_bytes()).collect();
            let set = StrSet::new(&bytes);
            let rows: Vec<String> = rows.into_iter().chain(members.iter().cloned()).collect();
            let mut out = bit_buffer(rows.len());
            unsafe { rt_str_in_set(rows.len(), refs(&rows).as_ptr(), &set, out.as_mut_ptr()) };
            let want: Vec<bool> = rows.iter().map(|r| members.contains(r)).collect();
            prop_assert_eq!(out, staged(&want));
        }
    }
}
