//! Functions that generated code calls for one row: rare cases and wide arithmetic. They are the
//! decimal kernels' own row functions behind a C signature that needs no 128-bit parameters.
//!
//! Results that need 128 bits go to `out`; the return value says whether there is one (1) or the row
//! fails (0).

use fuseline_kernels::decimal;
use fuseline_kernels::symbols::MachineType::{self, F64, I32, I64, Ptr};

/// A helper's address and machine signature.
#[derive(Clone, Copy)]
pub(super) struct Helper {
    pub address: usize,
    pub params: &'static [MachineType],
    pub ret: Option<MachineType>,
}

fn wide(low: u64, high: u64) -> i128 {
    (u128::from(low) | u128::from(high) << 64) as i128
}

/// Writes a result, if there is one.
///
/// # Safety
/// `out` is valid for writing an `i128`, at any alignment.
unsafe fn give(result: Option<i128>, out: *mut i128) -> i64 {
    // SAFETY: the caller's promise.
    unsafe { out.write_unaligned(result.unwrap_or(0)) };
    i64::from(result.is_some())
}

unsafe extern "C" fn mul(a: u64, ah: u64, b: u64, bh: u64, out: *mut i128) -> i64 {
    // SAFETY: generated code passes a scratch slot.
    unsafe { give(wide(a, ah).checked_mul(wide(b, bh)), out) }
}

unsafe extern "C" fn div(a: u64, ah: u64, b: u64, bh: u64, out: *mut i128) -> i64 {
    // SAFETY: as above.
    unsafe { give(wide(a, ah).checked_div(wide(b, bh)), out) }
}

unsafe extern "C" fn rem(a: u64, ah: u64, b: u64, bh: u64, out: *mut i128) -> i64 {
    let b = wide(b, bh);
    let result = (b != 0).then(|| wide(a, ah).wrapping_rem(b));
    // SAFETY: as above.
    unsafe { give(result, out) }
}

unsafe extern "C" fn dec_div(a: u64, ah: u64, b: u64, bh: u64, powers: u64, out: *mut i128) -> i64 {
    let result = decimal::div(wide(a, ah), wide(b, bh), powers as u8, (powers >> 8) as u8);
    // SAFETY: as above.
    unsafe { give(result, out) }
}

unsafe extern "C" fn rescale(a: u64, ah: u64, how: u64, out: *mut i128) -> i64 {
    let (value, delta, precision) = (wide(a, ah), how as i8, (how >> 8) as u8);
    // A factor beyond all decimals overflows, except on zero.
    let result = if value == 0 { Some(0) } else { decimal::rescale(value, delta, precision) };
    // SAFETY: as above.
    unsafe { give(result, out) }
}

unsafe extern "C" fn from_int(a: u64, ah: u64, how: u64, out: *mut i128) -> i64 {
    // SAFETY: as above.
    unsafe { give(decimal::from_int(wide(a, ah), how as i8, (how >> 8) as u8), out) }
}

unsafe extern "C" fn to_int(a: u64, ah: u64, scale: u64, out: *mut i128) -> i64 {
    // SAFETY: as above.
    unsafe { give(decimal::to_int(wide(a, ah), scale as i8), out) }
}

unsafe extern "C" fn from_float(value: f64, how: u64, out: *mut i128) -> i64 {
    // SAFETY: as above.
    unsafe { give(decimal::from_f64(value, how as i8, (how >> 8) as u8), out) }
}

extern "C" fn to_float(a: u64, ah: u64, scale: i32) -> f64 {
    decimal::to_f64(wide(a, ah), scale as i8)
}

extern "C" fn fmod(a: f64, b: f64) -> f64 {
    a % b
}

/// A sorted list of bit patterns.
pub(super) struct BitSet {
    pub sorted: Vec<u64>,
}

unsafe extern "C" fn in_set(bits: u64, set: *const BitSet) -> i64 {
    // SAFETY: generated code passes a set that the compiled loop keeps.
    let set = unsafe { &*set };
    i64::from(set.sorted.binary_search(&bits).is_ok())
}

pub(super) fn helper_mul() -> Helper {
    Helper { address: mul as *const () as usize, params: &[I64, I64, I64, I64, Ptr], ret: Some(I64) }
}
pub(super) fn helper_div() -> Helper {
    Helper { address: div as *const () as usize, params: &[I64, I64, I64, I64, Ptr], ret: Some(I64) }
}
pub(super) fn helper_rem() -> Helper {
    Helper { address: rem as *const () as usize, params: &[I64, I64, I64, I64, Ptr], ret: Some(I64) }
}
pub(super) fn helper_dec_div() -> Helper {
    Helper { address: dec_div as *const () as usize, params: &[I64, I64, I64, I64, I64, Ptr], ret: Some(I64) }
}
pub(super) fn helper_rescale() -> Helper {
    Helper { address: rescale as *const () as usize, params: &[I64, I64, I64, Ptr], ret: Some(I64) }
}
pub(super) fn helper_from_int() -> Helper {
    Helper { address: from_int as *const () as usize, params: &[I64, I64, I64, Ptr], ret: Some(I64) }
}
pub(super) fn helper_to_int() -> Helper {
    Helper { address: to_int as *const () as usize, params: &[I64, I64, I64, Ptr], ret: Some(I64) }
}
pub(super) fn helper_from_float() -> Helper {
    Helper { address: from_float as *const () as usize, params: &[F64, I64, Ptr], ret: Some(I64) }
}
pub(super) fn helper_to_float() -> Helper {
    Helper { address: to_float as *const () as usize, params: &[I64, I64, I32], ret: Some(F64) }
}
pub(super) fn helper_fmod() -> Helper {
    Helper { address: fmod as *const () as usize, params: &[F64, F64], ret: Some(F64) }
}
pub(super) fn helper_in_set() -> Helper {
    Helper { address: in_set as *const () as usize, params: &[I64, Ptr], ret: Some(I64) }
}

unsafe extern "C" fn fill(rows: usize, bits: u64, width: usize, out: *mut u8) {
    let bytes = bits.to_le_bytes();
    let sign = if (bits as i64) < 0 { 0xFF } else { 0 };
    for row in 0..rows {
        for k in 0..width {
            // SAFETY: the buffer has room for `rows` values of `width` bytes.
            unsafe { *out.add(row * width + k) = bytes.get(k).copied().unwrap_or(sign) };
        }
    }
}

/// `rows` times the low `width` bytes of a value, at the same place.
pub(super) fn helper_fill() -> Helper {
    Helper { address: fill as *const () as usize, params: &[I64, I64, I64, Ptr], ret: None }
}
