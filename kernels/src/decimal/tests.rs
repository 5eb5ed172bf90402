//! The scalar functions against arithmetic on digits, worked out by hand or in wide strings; the kernels
//! against the scalar functions.

use super::*;
use proptest::prelude::*;

fn decimal() -> impl Strategy<Value = i128> {
    prop_oneof![
        -1000i128..1000,
        any::<i64>().prop_map(i128::from),
        any::<i128>(),
        (0u32..39, -2i128..=2).prop_map(|(k, d)| power(k).unwrap() + d),
        (0u32..39, -2i128..=2).prop_map(|(k, d)| d - power(k).unwrap()),
        (0u32..38, 1i128..10).prop_map(|(k, d)| power(k).unwrap() / 2 * d),
        prop::sample::select(vec![i128::MIN, i128::MIN + 1, i128::MAX, i64::MIN.into(), -1, 0, 1]),
    ]
}

/// Half away from zero, by sign and magnitude in unsigned arithmetic.
fn rounded(value: i128, by: i128) -> i128 {
    let (magnitude, by) = (value.unsigned_abs(), by.unsigned_abs());
    let quotient = magnitude / by + u128::from(magnitude % by >= by - by / 2);
    if value < 0 { -(quotient as i128) } else { quotient as i128 }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5000))]

    #[test]
    fn arithmetic(a in decimal(), b in decimal(), left in 0u8..12, right in 0u8..12) {
        prop_assert_eq!(mul(a, b), a.checked_mul(b));
        let scaled = a
            .checked_mul(10i128.pow(left.into()))
            .and_then(|a| Some((a, b.checked_mul(10i128.pow(right.into()))?)));
        prop_assert_eq!(div(a, b, left, right), scaled.and_then(|(a, b)| a.checked_div(b)));
        prop_assert_eq!(rem(a, b, left, right), scaled.and_then(|(a, b)| a.checked_rem(b)));
    }

    #[test]
    fn scales(a in decimal(), delta in -45i8..45, precision in 1u8..39) {
        let exact = match u32::try_from(delta) {
            Ok(up) => power(up).and_then(|by| a.checked_mul(by)),
            Err(_) => match power(u32::from(delta.unsigned_abs())) {
                Some(by) => Some(rounded(a, by)),
                None => Some(0),
            },
        };
        let want = exact.filter(|v| v.unsigned_abs().to_string().len() <= precision.into());
        prop_assert_eq!(rescale(a, delta, precision), want);
        let cut = match u32::try_from(delta) {
            Ok(up) => power(up).map(|by| a / by),
            Err(_) => power(u32::from(delta.unsigned_abs())).and_then(|by| a.checked_mul(by)),
        };
        prop_assert_eq!(to_int(a, delta), cut);
        prop_assert_eq!(fits(a, precision), a.unsigned_abs().to_string().len() <= precision.into());
        let small = a as i64 as i128;
        let grown = match u32::try_from(delta) {
            Ok(up) => power(up).and_then(|by| small.checked_mul(by)),
            Err(_) => power(u32::from(delta.unsigned_abs())).map(|by| small / by),
        };
        let want = grown.filter(|v| v.unsigned_abs().to_string().len() <= precision.into());
        prop_assert_eq!(from_int(small, delta, precision), want);
    }

    #[test]
    fn floats(a in decimal(), x in prop_oneof![-1e9f64..1e9, any::<f64>()], scale in -10i8..38) {
        prop_assert_eq!(to_f64(a, scale).to_bits(), (a as f64 / 10f64.powi(scale.into())).to_bits());
        let scaled = (10f64.powi(scale.into()) * x).round();
        let inside = scaled.abs() < 1e38;
        let got = from_f64(x, scale, 38);
        if inside {
            prop_assert_eq!(got, Some(scaled as i128));
        } else if scaled.is_nan() || scaled.abs() > 1.1e38 {
            prop_assert_eq!(got, None);
        }
    }

}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn kernels(rows in prop::collection::vec((decimal(), decimal(), any::<f64>()), 0..150), k in 0i32..9) {
        let n = rows.len();
        let a: Vec<i128> = rows.iter().map(|r| r.0).collect();
        let b: Vec<i128> = rows.iter().map(|r| r.1).collect();
        let x: Vec<f64> = rows.iter().map(|r| r.2).collect();
        let ints: Vec<i64> = a.iter().map(|&a| a as i64).collect();
        let uints: Vec<u64> = a.iter().map(|&a| a as u64).collect();
        let (pa, pb) = (a.as_ptr(), b.as_ptr());
        let mut out = vec![7i128; n];
        let mut ok = vec![0xEEu8; n.div_ceil(64) * 8];
        let check = |out: &[i128], ok: &[u8], want: &dyn Fn(usize) -> Option<i128>| {
            for i in 0..n {
                let set = ok[i / 8] >> (i % 8) & 1 == 1;
                assert_eq!((set, out[i]), (want(i).is_some(), want(i).unwrap_or(0)), "row {i}");
            }
        };
        let (o, v) = (out.as_mut_ptr(), ok.as_mut_ptr());
        unsafe { rt_dec_add(n, pa, pb, o, v) };
        check(&out, &ok, &|i| a[i].checked_add(b[i]));
        let (o, v) = (out.as_mut_ptr(), ok.as_mut_ptr());
        unsafe { rt_dec_sub(n, pa, pb, o, v) };
        check(&out, &ok, &|i| a[i].checked_sub(b[i]));
        let (o, v) = (out.as_mut_ptr(), ok.as_mut_ptr());
        unsafe { rt_dec_mul(n, pa, pb, o, v) };
        check(&out, &ok, &|i| a[i].checked_mul(b[i]));
        let (o, v) = (out.as_mut_ptr(), ok.as_mut_ptr());
        unsafe { rt_dec_div(n, pa, pb, k, 2, o, v) };
        check(&out, &ok, &|i| div(a[i], b[i], k as u8, 2));
        let (o, v) = (out.as_mut_ptr(), ok.as_mut_ptr());
        unsafe { rt_dec_rem(n, pa, pb, k, 0, o, v) };
        check(&out, &ok, &|i| rem(a[i], b[i], k as u8, 0));
        let (o, v) = (out.as_mut_ptr(), ok.as_mut_ptr());
        unsafe { rt_dec_rescale(n, pa, k - 4, 20, o, v) };
        check(&out, &ok, &|i| rescale(a[i], k as i8 - 4, 20));
        let (o, v) = (out.as_mut_ptr(), ok.as_mut_ptr());
        unsafe { rt_dec_from_i64(n, ints.as_ptr(), k, 20, o, v) };
        check(&out, &ok, &|i| from_int(ints[i].into(), k as i8, 20));
        let (o, v) = (out.as_mut_ptr(), ok.as_mut_ptr());
        unsafe { rt_dec_from_u64(n, uints.as_ptr(), k, 20, o, v) };
        check(&out, &ok, &|i| from_int(uints[i].into(), k as i8, 20));
        let (o, v) = (out.as_mut_ptr(), ok.as_mut_ptr());
        unsafe { rt_dec_from_f64(n, x.as_ptr(), k, 20, o, v) };
        check(&out, &ok, &|i| from_f64(x[i], k as i8, 20));
        let mut wide = vec![7i64; n];
        unsafe { rt_dec_to_i64(n, pa, k, -1000, 100_000, wide.as_mut_ptr(), ok.as_mut_ptr()) };
        let as_wide: Vec<i128> = wide.iter().map(|&w| w.into()).collect();
        check(&as_wide, &ok, &|i| to_int(a[i], k as i8).filter(|v| (-1000..=100_000).contains(v)));
        let mut wide = vec![7u64; n];
        unsafe { rt_dec_to_u64(n, pa, k, u64::MAX, wide.as_mut_ptr(), ok.as_mut_ptr()) };
        let as_wide: Vec<i128> = wide.iter().map(|&w| w.into()).collect();
        check(&as_wide, &ok, &|i| to_int(a[i], k as i8).filter(|v| u64::try_from(*v).is_ok()));
        let mut floats = vec![0f64; n];
        unsafe { rt_dec_to_f64(n, pa, k, floats.as_mut_ptr()) };
        for i in 0..n {
            prop_assert_eq!(floats[i].to_bits(), to_f64(a[i], k as i8).to_bits());
        }
        unsafe { rt_dec_fits(n, pa, 18, ok.as_mut_ptr()) };
        for i in 0..n {
            prop_assert_eq!(ok[i / 8] >> (i % 8) & 1 == 1, fits(a[i], 18));
        }
    }
}

#[test]
fn rounding_and_edges() {
    assert_eq!([rescale(15, -1, 38), rescale(14, -1, 38)], [Some(2), Some(1)]);
    assert_eq!([rescale(-15, -1, 38), rescale(-14, -1, 38)], [Some(-2), Some(-1)]);
    assert_eq!([rescale(999, -1, 2), rescale(994, -1, 2)], [None, Some(99)]);
    assert_eq!([rescale(5, 39, 38), rescale(5, -39, 38), rescale(0, 3, 1)], [None, Some(0), Some(0)]);
    assert_eq!([div(7, 0, 4, 0), div(i128::MIN, -1, 0, 0), div(-7, 2, 0, 0)], [None, None, Some(-3)]);
    assert_eq!([rem(i128::MIN, -1, 0, 0), rem(-7, 2, 0, 0)], [None, Some(-1)]);
    assert_eq!(from_f64(0.125, 2, 38), Some(13));
    assert_eq!([from_f64(f64::NAN, 2, 38), from_f64(f64::INFINITY, 0, 38)], [None, None]);
    assert_eq!([from_f64(-1.7014118346046923e38, 0, 38), from_f64(99.5, 0, 2)], [None, None]);
}
