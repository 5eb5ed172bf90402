//! The one list of kernels: name, address, machine signature. Code generators declare their imports
//! from it, so a kernel's signature is written once, as its Rust type.

use std::collections::HashMap;
use std::sync::LazyLock;

use crate::{bitmap, compact, datetime, decimal, group, join, strings, vecmath};

/// How a parameter or result travels in a machine register.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MachineType {
    /// A pointer to a buffer or an object.
    Ptr,
    /// 64-bit integer (also `usize`).
    I64,
    /// 32-bit integer.
    I32,
    /// 64-bit float.
    F64,
}

/// One kernel that generated code may call.
#[derive(Clone, Copy, Debug)]
pub struct Symbol {
    /// Name, with the prefix `rt_`.
    pub name: &'static str,
    /// Parameters in order.
    pub params: &'static [MachineType],
    /// Result, if any.
    pub ret: Option<MachineType>,
    address: usize,
}

impl Symbol {
    /// Address of the version that fits this machine.
    pub fn address(&self) -> *const u8 {
        self.address as *const u8
    }
}

/// Every kernel, sorted by name.
pub fn all() -> &'static [Symbol] {
    &TABLE.0
}

/// The kernel called `name`.
pub fn lookup(name: &str) -> Option<&'static Symbol> {
    TABLE.1.get(name).map(|&at| &TABLE.0[at])
}

/// A type that can be a kernel's parameter.
trait Argument {
    const TYPE: MachineType;
}

impl<T> Argument for *const T {
    const TYPE: MachineType = MachineType::Ptr;
}
impl<T> Argument for *mut T {
    const TYPE: MachineType = MachineType::Ptr;
}

macro_rules! arguments {
    ($($ty:ty => $machine:ident),*) => { $(
        impl Argument for $ty {
            const TYPE: MachineType = MachineType::$machine;
        }
        impl Outcome for $ty {
            const TYPE: Option<MachineType> = Some(MachineType::$machine);
        }
    )* };
}
arguments!(usize => I64, i64 => I64, u64 => I64, u32 => I32, i32 => I32, f64 => F64);

/// A type that can be a kernel's result.
trait Outcome {
    const TYPE: Option<MachineType>;
}

impl Outcome for () {
    const TYPE: Option<MachineType> = None;
}

/// A kernel's function pointer type, from which the machine signature follows.
trait Signature {
    const PARAMS: &'static [MachineType];
    const RET: Option<MachineType>;
    fn address(self) -> usize;
}

macro_rules! signatures {
    ($(($($arg:ident),*)),*) => { $(
        impl<$($arg: Argument,)* Ret: Outcome> Signature
            for unsafe extern "C" fn($($arg),*) -> Ret
        {
            const PARAMS: &'static [MachineType] = &[$($arg::TYPE),*];
            const RET: Option<MachineType> = Ret::TYPE;
            fn address(self) -> usize {
                self as *const () as usize
            }
        }
    )* };
}
signatures!(
    (A, B),
    (A, B, C),
    (A, B, C, D),
    (A, B, C, D, E),
    (A, B, C, D, E, F),
    (A, B, C, D, E, F, G),
    (A, B, C, D, E, F, G, H)
);

fn symbol<S: Signature>(name: &'static str, kernel: S) -> Symbol {
    Symbol { name, params: S::PARAMS, ret: S::RET, address: kernel.address() }
}

macro_rules! table {
    ($($module:path { $($name:ident),* $(,)? })*) => {
        vec![$($({ use $module as module; symbol(stringify!($name), module::$name::best()) }),*),*]
    };
}

static TABLE: LazyLock<(Vec<Symbol>, HashMap<&'static str, usize>)> = LazyLock::new(|| {
    let mut list = kernels();
    list.sort_by_key(|s| s.name);
    let index = list.iter().enumerate().map(|(at, s)| (s.name, at)).collect();
    (list, index)
});

fn kernels() -> Vec<Symbol> {
    table! {
        bitmap {
            rt_stage_bits, rt_append_bits, rt_fill_ones, rt_count_bits, rt_and_bits, rt_or_bits,
            rt_andnot_bits, rt_not_bits, rt_gather_bits, rt_compress_bits, rt_bytes_to_bits,
            rt_bits_to_bytes,
        }
        compact {
            rt_mask_to_sel, rt_gather_1, rt_gather_2, rt_gather_4, rt_gather_8, rt_gather_16,
            rt_compress_1, rt_compress_2, rt_compress_4, rt_compress_8, rt_compress_16,
            rt_rowid_sel, rt_compose_sel,
        }
        datetime { rt_date_part, rt_date_part_day, rt_date_trunc, rt_date_trunc_day }
        datetime::interval { rt_add_interval, rt_add_interval_day }
        decimal {
            rt_dec_add, rt_dec_sub, rt_dec_mul, rt_dec_div, rt_dec_rem, rt_dec_rescale,
            rt_dec_fits, rt_dec_from_i64, rt_dec_from_u64, rt_dec_to_i64, rt_dec_to_u64,
            rt_dec_from_f64, rt_dec_to_f64,
        }
        group::kernels {
            rt_group_resolve, rt_group_append, rt_group_pack_text, rt_group_pack_utf8, rt_group_pack_large_utf8,
            rt_group_check_texts, rt_group_outside_i64, rt_group_outside_i32, rt_group_outside_i16, rt_group_offer_text,
        }
        join::kernels {
            rt_join_probe_i8, rt_join_probe_i16, rt_join_probe_i32, rt_join_probe_i64, rt_join_probe_u8,
            rt_join_probe_u16, rt_join_probe_u32, rt_join_probe_u64, rt_join_probe_packed, rt_join_fetch_1,
            rt_join_fetch_2, rt_join_fetch_4, rt_join_fetch_8, rt_join_fetch_16, rt_join_fetch_bits,
            rt_join_expand, rt_join_visit,
        }
        strings::load {
            rt_load_utf8_i32, rt_load_utf8_i64, rt_load_view, rt_load_dict_i8, rt_load_dict_i16,
            rt_load_dict_i32, rt_load_dict_i64, rt_load_dict_u8, rt_load_dict_u16,
            rt_load_dict_u32, rt_load_dict_u64,
        }
        strings::compare {
            rt_str_eq, rt_str_ne, rt_str_lt, rt_str_le, rt_str_gt, rt_str_ge, rt_str_eq_const,
            rt_str_ne_const, rt_str_lt_const, rt_str_le_const, rt_str_gt_const, rt_str_ge_const,
            rt_utf8_eq_const_i32, rt_utf8_eq_const_i64,
        }
        strings::set { rt_str_in_set }
        strings::search { rt_str_starts_with, rt_str_ends_with, rt_str_contains }
        strings::like { rt_str_like }
        strings::extreme { rt_str_min, rt_str_max }
        strings::length {
            rt_str_char_length_i32, rt_str_char_length_i64, rt_str_octet_length_i32,
            rt_str_octet_length_i64, rt_str_bit_length_i32, rt_str_bit_length_i64,
        }
        strings::slice { rt_str_substr, rt_str_left, rt_str_right }
        strings::select { rt_str_select, rt_str_fill, rt_str_hash }
        strings::builder {
            rt_utf8_append, rt_large_utf8_append, rt_view_append,
        }
        vecmath {
            rt_sin_f64_exact, rt_sin_f64_fast, rt_sin_f32_exact, rt_sin_f32_fast,
            rt_cos_f64_exact, rt_cos_f64_fast, rt_cos_f32_exact, rt_cos_f32_fast,
            rt_tan_f64_exact, rt_tan_f64_fast, rt_tan_f32_exact, rt_tan_f32_fast,
            rt_asin_f64_exact, rt_asin_f64_fast, rt_asin_f32_exact, rt_asin_f32_fast,
            rt_acos_f64_exact, rt_acos_f64_fast, rt_acos_f32_exact, rt_acos_f32_fast,
            rt_atan_f64_exact, rt_atan_f64_fast, rt_atan_f32_exact, rt_atan_f32_fast,
            rt_sinh_f64_exact, rt_sinh_f64_fast, rt_sinh_f32_exact, rt_sinh_f32_fast,
            rt_cosh_f64_exact, rt_cosh_f64_fast, rt_cosh_f32_exact, rt_cosh_f32_fast,
            rt_tanh_f64_exact, rt_tanh_f64_fast, rt_tanh_f32_exact, rt_tanh_f32_fast,
            rt_asinh_f64_exact, rt_asinh_f64_fast, rt_asinh_f32_exact, rt_asinh_f32_fast,
            rt_acosh_f64_exact, rt_acosh_f64_fast, rt_acosh_f32_exact, rt_acosh_f32_fast,
            rt_atanh_f64_exact, rt_atanh_f64_fast, rt_atanh_f32_exact, rt_atanh_f32_fast,
            rt_exp_f64_exact, rt_exp_f64_fast, rt_exp_f32_exact, rt_exp_f32_fast,
            rt_exp_m1_f64_exact, rt_exp_m1_f64_fast, rt_exp_m1_f32_exact,
            rt_exp_m1_f32_fast, rt_ln_f64_exact, rt_ln_f64_fast, rt_ln_f32_exact,
            rt_ln_f32_fast, rt_ln_1p_f64_exact, rt_ln_1p_f64_fast, rt_ln_1p_f32_exact,
            rt_ln_1p_f32_fast, rt_log2_f64_exact, rt_log2_f64_fast, rt_log2_f32_exact,
            rt_log2_f32_fast, rt_log10_f64_exact, rt_log10_f64_fast, rt_log10_f32_exact,
            rt_log10_f32_fast, rt_cbrt_f64_exact, rt_cbrt_f64_fast, rt_cbrt_f32_exact,
            rt_cbrt_f32_fast, rt_pow_f64_exact, rt_pow_f64_fast, rt_pow_f32_exact,
            rt_pow_f32_fast, rt_atan2_f64_exact, rt_atan2_f64_fast, rt_atan2_f32_exact,
            rt_atan2_f32_fast,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_prefixed_and_found() {
        for pair in all().windows(2) {
            assert!(pair[0].name < pair[1].name, "{} is listed twice", pair[0].name);
        }
        for symbol in all() {
            assert!(symbol.name.starts_with("rt_"));
            assert!(!symbol.address().is_null());
            assert_eq!(lookup(symbol.name).unwrap().address, symbol.address);
        }
        assert!(lookup("rt_nothing").is_none());
    }

    #[test]
    fn signatures_follow_from_the_rust_types() {
        use MachineType::{I64, Ptr};
        let count = lookup("rt_count_bits").unwrap();
        assert_eq!((count.params, count.ret), (&[Ptr, I64][..], Some(I64)));
        let stage = lookup("rt_stage_bits").unwrap();
        assert_eq!((stage.params, stage.ret), (&[Ptr, I64, I64, Ptr][..], None));
    }
}
