//! Nanoseconds per row of the kernels that are not transcendental, over one chunk in L1, best of many
//! runs: `cargo test --release -p fuseline-kernels -- --ignored --nocapture kernel_speed`. A measurement, not
//! a check.

use std::time::Instant;

use crate::strings::StrRef;
use crate::strings::builder::{Utf8Builder, ViewBuilder, rt_utf8_append, rt_view_append};
use crate::strings::like::{LikePattern, rt_str_like};
use crate::strings::search::{Needle, rt_str_contains};
use crate::strings::set::{StrSet, rt_str_in_set};
use crate::{bitmap, compact, datetime, decimal, strings};

const N: usize = 1024;

fn time(name: &str, mut run: impl FnMut()) {
    let mut best = f64::MAX;
    for _ in 0..500 {
        let start = Instant::now();
        run();
        best = best.min(start.elapsed().as_nanos() as f64 / N as f64);
    }
    println!("{name:>34} {best:6.2} ns/row");
}

#[test]
#[ignore = "a measurement, not a check"]
fn kernel_speed() {
    for percent in [5, 25, 75] {
        let mask: Vec<u8> = (0..N / 8)
            .map(|i| (0..8).map(|k| u8::from((i * 8 + k) * 7919 % 100 < percent) << k).sum())
            .collect();
        let mut sel = vec![0u16; N];
        let src = vec![1u64; N * 2];
        let mut dst = vec![0u64; N * 2];
        let (from, to) = (src.as_ptr().cast(), dst.as_mut_ptr().cast());
        let count = unsafe { compact::rt_mask_to_sel(mask.as_ptr(), N, sel.as_mut_ptr()) };
        let sel_at = sel.as_mut_ptr();
        time(&format!("mask_to_sel {percent} %"), || unsafe {
            compact::rt_mask_to_sel(mask.as_ptr(), N, sel_at);
        });
        time(&format!("gather_8 {percent} % (per input row)"), || unsafe {
            compact::rt_gather_8(from, sel.as_ptr(), count, to);
        });
        for level in crate::isa::Level::ALL.into_iter().filter(|l| l.is_available()) {
            let kernels = (
                compact::rt_compress_4::at(level),
                compact::rt_compress_8::at(level),
                compact::rt_compress_16::at(level),
            );
            time(&format!("compress_4 {percent} % {level:?}"), || unsafe {
                kernels.0(mask.as_ptr(), N, from, to);
            });
            time(&format!("compress_8 {percent} % {level:?}"), || unsafe {
                kernels.1(mask.as_ptr(), N, from, to);
            });
            time(&format!("compress_16 {percent} % {level:?}"), || unsafe {
                kernels.2(mask.as_ptr(), N, from, to);
            });
        }
    }
    let mut bits = vec![0u8; N / 8];
    let packed = [0x5Au8; N / 8 + 8];
    time("stage_bits", || unsafe { bitmap::rt_stage_bits(packed.as_ptr(), 3, N, bits.as_mut_ptr()) });

    let short: Vec<String> =
        (0..N).map(|i| ["MAIL", "SHIP", "RAIL", "TRUCK", "AIR"][i * 7 % 5].into()).collect();
    let long: Vec<String> =
        (0..N).map(|i| format!("furiously special packages {i} sleep requests")).collect();
    for (kind, rows) in [("short", &short), ("long", &long)] {
        let data = rows.concat().into_bytes();
        let mut offsets = vec![0i32];
        for row in rows {
            offsets.push(offsets.last().unwrap() + row.len() as i32);
        }
        let mut refs = vec![StrRef::EMPTY; N];
        time(&format!("load_utf8 {kind}"), || unsafe {
            strings::load::rt_load_utf8_i32(N, offsets.as_ptr(), data.as_ptr(), refs.as_mut_ptr());
        });
        let constant = StrRef::new(if kind == "short" { b"SHIP" } else { long[9].as_bytes() });
        let out = bits.as_mut_ptr();
        time(&format!("eq_const {kind}"), || unsafe {
            strings::compare::rt_str_eq_const(N, refs.as_ptr(), &constant, out);
        });
        time(&format!("lt_const {kind}"), || unsafe {
            strings::compare::rt_str_lt_const(N, refs.as_ptr(), &constant, out);
        });
        time(&format!("utf8_eq_const (from offsets) {kind}"), || unsafe {
            let len = constant.len as usize;
            strings::compare::rt_utf8_eq_const_i32(
                N,
                offsets.as_ptr(),
                data.as_ptr(),
                constant.ptr,
                len,
                out,
            );
        });
        let set = StrSet::new(&[b"MAIL", b"SHIP", b"AIR REG"]);
        time(&format!("in_set {kind}"), || unsafe { rt_str_in_set(N, refs.as_ptr(), &set, out) });
        let needle = Needle::new(b"special");
        time(&format!("contains {kind}"), || unsafe {
            rt_str_contains(N, refs.as_ptr(), &needle, out);
        });
        let pattern = LikePattern::new("%special%requests%", false).unwrap();
        time(&format!("like %a%b% {kind}"), || unsafe {
            rt_str_like(N, refs.as_ptr(), &pattern, out);
        });
        let mut lengths = vec![0i32; N];
        time(&format!("char_length {kind}"), || unsafe {
            strings::length::rt_str_char_length_i32(N, refs.as_ptr(), lengths.as_mut_ptr());
        });
        let (from, count) = (vec![1i64; N], vec![3i64; N]);
        let mut parts = vec![StrRef::EMPTY; N];
        time(&format!("substr {kind}"), || unsafe {
            strings::slice::rt_str_substr(
                N,
                refs.as_ptr(),
                from.as_ptr(),
                count.as_ptr(),
                std::ptr::null(),
                parts.as_mut_ptr(),
            );
        });
        let mut utf8 = Utf8Builder::with_capacity(N, 1 << 16);
        time(&format!("utf8 append {kind}"), || unsafe {
            rt_utf8_append(&mut utf8, N, refs.as_ptr(), std::ptr::null());
            std::hint::black_box(utf8.take());
        });
        let mut views = ViewBuilder::with_capacity(N);
        time(&format!("view append {kind}"), || unsafe {
            rt_view_append(&mut views, N, refs.as_ptr(), std::ptr::null());
            std::hint::black_box(views.take());
        });
        let mut hashes = vec![0u64; N];
        time(&format!("hash {kind}"), || unsafe {
            strings::select::rt_str_hash(N, refs.as_ptr(), hashes.as_mut_ptr());
            std::hint::black_box(&hashes);
        });
    }

    let days: Vec<i32> = (0..N as i32).map(|i| i * 17 + 3000).collect();
    let ticks: Vec<i64> = days.iter().map(|&d| i64::from(d) * 86_400_000_000 + 12_345_678_901).collect();
    let mut parts = vec![0i32; N];
    let mut truncated = vec![0i64; N];
    let out = bits.as_mut_ptr();
    for part in [datetime::Part::Year, datetime::Part::Month, datetime::Part::Week, datetime::Part::Hour] {
        time(&format!("date_part day {part:?}"), || unsafe {
            datetime::rt_date_part_day(N, days.as_ptr(), part as i32, parts.as_mut_ptr(), out);
        });
        time(&format!("date_part us {part:?}"), || unsafe {
            datetime::rt_date_part(
                N,
                ticks.as_ptr(),
                datetime::Unit::Micro as i32,
                part as i32,
                parts.as_mut_ptr(),
                out,
            );
        });
    }
    for to in [datetime::Trunc::Hour, datetime::Trunc::Month] {
        time(&format!("date_trunc us {to:?}"), || unsafe {
            datetime::rt_date_trunc(
                N,
                ticks.as_ptr(),
                datetime::Unit::Micro as i32,
                to as i32,
                truncated.as_mut_ptr(),
                out,
            );
        });
    }
    let a: Vec<i128> = (0..N as i128).map(|i| i * 123_457).collect();
    let mut c = vec![0i128; N];
    time("dec_mul", || unsafe { decimal::rt_dec_mul(N, a.as_ptr(), a.as_ptr(), c.as_mut_ptr(), out) });
    time("dec_rescale -2", || unsafe {
        decimal::rt_dec_rescale(N, a.as_ptr(), -2, 18, c.as_mut_ptr(), out);
    });
    time("dec_div", || unsafe {
        decimal::rt_dec_div(N, a.as_ptr(), a.as_ptr(), 4, 0, c.as_mut_ptr(), out);
    });
}
