//! Which values of a range are keys, a bit each: what is asked before slots are searched.
//!
//! Where a build side has few keys in a range too wide for an array by value, most rows that probe it have no
//! partner. A bit tells so for good, and the bits of such a range lie in a cache near by: 204 keys among
//! 200,000 values are 25 KB.

use super::table::IntKey;

/// The most bits that are kept however few the keys are, and for so many keys each.
const ALWAYS: u64 = 1 << 24;
const PER_KEY: u64 = 256;

#[derive(Debug)]
pub(super) struct KeyBits {
    words: Vec<u64>,
    base: u64,
    /// Values of the range; behind them is one clear bit.
    len: u64,
}

impl KeyBits {
    /// Of keys between `base` and `base + range`; `None` where the bits would be too many.
    pub(super) fn of<T: IntKey>(
        keys: &[T],
        counts: impl Fn(usize) -> bool,
        (base, range): (u64, u64),
    ) -> Option<KeyBits> {
        if range >= ALWAYS.max(keys.len() as u64 * PER_KEY) {
            return None;
        }
        let len = range + 1;
        let mut words = vec![0u64; len as usize / 64 + 1];
        for (i, key) in keys.iter().enumerate() {
            if counts(i) {
                let at = key.word().wrapping_sub(base);
                words[at as usize / 64] |= 1 << (at % 64);
            }
        }
        Some(KeyBits { words, base, len })
    }

    /// Of keys that nobody knows the range of.
    pub(super) fn in_range<T: IntKey>(keys: &[T], counts: impl Fn(usize) -> bool) -> Option<KeyBits> {
        let (mut least, mut most) = (u64::MAX, 0);
        for (i, key) in keys.iter().enumerate() {
            if counts(i) {
                (least, most) = (least.min(key.word()), most.max(key.word()));
            }
        }
        if least > most { None } else { KeyBits::of(keys, counts, (least, most - least)) }
    }

    /// Whether most values of the range are no keys.
    pub(super) fn is_selective(&self) -> bool {
        let keys: u64 = self.words.iter().map(|w| u64::from(w.count_ones())).sum();
        keys * 2 < self.len
    }

    pub(super) fn bytes(&self) -> usize {
        self.words.len() * 8
    }

    /// The bits of up to 64 keys.
    ///
    /// # Safety
    /// There are `n` keys.
    #[inline(always)]
    pub(super) unsafe fn test<T: IntKey>(&self, keys: *const T, n: usize) -> u64 {
        let mut bits = 0;
        for i in 0..n {
            // SAFETY: `n` keys; the index is that of a bit.
            unsafe {
                let at = (*keys.add(i)).word().wrapping_sub(self.base).min(self.len);
                let word = *self.words.get_unchecked(at as usize / 64);
                bits |= (word >> (at % 64) & 1) << i;
            }
        }
        bits
    }

    /// As [`KeyBits::test`], eight at a time, of keys of 4 or 8 bytes. Reads up to the next multiple of 8.
    ///
    /// # Safety
    /// There are `n` keys, and memory up to the next multiple of 8; the machine has AVX-512 F, VL, BW and DQ.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
    pub(super) unsafe fn test_wide<T: IntKey>(&self, keys: *const T, n: usize) -> u64 {
        use std::arch::x86_64::*;
        let (base, len) = (_mm512_set1_epi64(self.base as i64), _mm512_set1_epi64(self.len as i64));
        let (low, one) = (_mm512_set1_epi64(63), _mm512_set1_epi64(1));
        let mut bits = 0u64;
        for group in 0..n.div_ceil(8) {
            // SAFETY: the caller's promise; lanes that are looked up lie among the words.
            unsafe {
                let at = keys.add(group * 8);
                let words = if size_of::<T>() == 8 {
                    _mm512_loadu_si512(at.cast())
                } else if T::SIGNED {
                    _mm512_cvtepi32_epi64(_mm256_loadu_si256(at.cast()))
                } else {
                    _mm512_cvtepu32_epi64(_mm256_loadu_si256(at.cast()))
                };
                let index = _mm512_sub_epi64(words, base);
                let lanes = _mm512_cmplt_epu64_mask(index, len);
                let found = _mm512_mask_i64gather_epi64::<8>(
                    _mm512_setzero_si512(),
                    lanes,
                    _mm512_srli_epi64::<6>(index),
                    self.words.as_ptr().cast(),
                );
                let found = _mm512_srlv_epi64(found, _mm512_and_si512(index, low));
                bits |= u64::from(_mm512_test_epi64_mask(found, one)) << (group * 8);
            }
        }
        if n < 64 { bits & ((1 << n) - 1) } else { bits }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<T: IntKey>(keys: &[T], asked: &[T]) {
        let words = |k: &[T]| k.iter().map(|k| k.word() as i64).collect::<Vec<_>>();
        let (least, most) = (*words(keys).iter().min().unwrap(), *words(keys).iter().max().unwrap());
        let bits = KeyBits::of(keys, |_| true, (least as u64, most.wrapping_sub(least) as u64)).unwrap();
        for n in [0, 1, 7, 8, 9, asked.len()] {
            let right = asked[..n]
                .iter()
                .enumerate()
                .fold(0u64, |all, (i, key)| all | u64::from(words(keys).contains(&(key.word() as i64))) << i);
            // SAFETY: `n` of them, with more behind.
            unsafe {
                assert_eq!(bits.test(asked.as_ptr(), n), right);
                #[cfg(target_arch = "x86_64")]
                if is_x86_feature_detected!("avx512dq") && is_x86_feature_detected!("avx512vl") {
                    assert_eq!(bits.test_wide(asked.as_ptr(), n), right);
                }
            }
        }
    }

    #[test]
    fn a_bit_tells_whether_a_value_is_a_key() {
        let spread = |i: i64| i * 100_003 % 1_000_000 - 500_000;
        let keys: Vec<i64> = (0..40).map(spread).chain([-500_000, 499_999]).collect();
        let mut asked: Vec<i64> = (20..80).map(spread).collect();
        asked.extend([i64::MIN, i64::MAX, 499_999, -500_001]);
        check(&keys, &asked);
        let narrow = |v: &[i64]| v.iter().map(|k| *k as i32).collect::<Vec<i32>>();
        check(&narrow(&keys), &narrow(&asked));
        let unsigned = |v: &[i64]| v.iter().map(|k| (*k + 500_000) as u32).collect::<Vec<u32>>();
        check(&unsigned(&keys), &unsigned(&asked));
    }

    #[test]
    fn too_wide_a_range_has_no_bits() {
        assert!(KeyBits::of(&[0i64, 1 << 40], |_| true, (0, 1 << 40)).is_none());
        assert!(KeyBits::of(&[0i64, u64::MAX as i64], |_| true, (0, u64::MAX)).is_none());
    }
}
