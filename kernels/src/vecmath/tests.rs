//! Fast against exact: distance in units in the last place over many magnitudes, exact results, edge
//! cases to the bit, and equality of all instruction sets.

use super::*;
use crate::isa::Level;

/// xorshift64*: fast, and the same sequence everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// Uniform in [0, 1).
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 * 2f64.powi(-53)
    }

    fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// A magnitude of 2^low to 2^high, uniform in the exponent, of either sign.
    fn magnitude(&mut self, low: i32, high: i32) -> f64 {
        let exponent = self.between(f64::from(low), f64::from(high)).floor();
        let value = (1.0 + self.unit()) * exponent.exp2();
        if self.next() & 1 == 0 { value } else { -value }
    }
}

/// Distance in representable numbers; 0 for equal bits, huge for NaN against a number.
fn ulps(a: f64, b: f64) -> u64 {
    let rank = |x: f64| {
        let bits = x.to_bits() as i64;
        if bits < 0 { i64::MIN - bits } else { bits }
    };
    match (a.is_nan(), b.is_nan()) {
        (true, true) => 0,
        (false, false) => rank(a).abs_diff(rank(b)),
        (true, false) | (false, true) => u64::MAX,
    }
}

fn ulps32(a: f32, b: f32) -> u64 {
    let rank = |x: f32| {
        let bits = x.to_bits() as i32;
        i64::from(if bits < 0 { i32::MIN - bits } else { bits })
    };
    match (a.is_nan(), b.is_nan()) {
        (true, true) => 0,
        (false, false) => rank(a).abs_diff(rank(b)),
        (true, false) | (false, true) => u64::MAX,
    }
}

const CHUNK: usize = 1024;
type Unary = unsafe extern "C" fn(usize, *const f64, *mut f64);
type Unary32 = unsafe extern "C" fn(usize, *const f32, *mut f32);
type Binary = unsafe extern "C" fn(usize, *const f64, *const f64, *mut f64);
type At<K> = fn(Level) -> K;

/// A unary function under test.
struct Function {
    name: &'static str,
    at: At<Unary>,
    at32: At<Unary32>,
    exact: fn(f64) -> f64,
    exact32: fn(f32) -> f32,
    /// Arguments that matter for it.
    sample: fn(&mut Random) -> f64,
}

fn angle(random: &mut Random) -> f64 {
    match random.next() % 6 {
        0 => random.magnitude(-30, 0),
        1 => random.between(-10.0, 10.0),
        2 => random.between(-1000.0, 1000.0),
        3 => random.magnitude(0, 20),
        4 => {
            // Next to a multiple of pi/4, where cancellation is worst.
            let near = random.between(0.0, 1_300_000.0).floor() * std::f64::consts::FRAC_PI_4;
            f64::from_bits(near.to_bits().wrapping_add(random.next() % 5).wrapping_sub(2))
        }
        _ => random.magnitude(-1070, 40),
    }
}

fn positive(random: &mut Random) -> f64 {
    match random.next() % 5 {
        0 => random.between(0.0, 3.0),
        1 => 1.0 + random.magnitude(-52, -1),
        2 => random.magnitude(-1074, 1024).abs(),
        3 => random.magnitude(-20, 40).abs(),
        _ => f64::from_bits(random.next() % 0x7ff0_0000_0000_0000),
    }
}

fn exponent(random: &mut Random) -> f64 {
    match random.next() % 4 {
        0 => random.between(-2.0, 2.0),
        1 => random.between(-750.0, 712.0),
        2 => random.magnitude(-60, 3),
        _ => random.between(-40.0, 40.0),
    }
}

fn above_minus_one(random: &mut Random) -> f64 {
    match random.next() % 5 {
        0 => random.between(-1.0, 3.0),
        1 => random.magnitude(-60, -1),
        2 => random.magnitude(-1074, 1024).abs(),
        3 => -1.0 + random.magnitude(-50, -2).abs(),
        _ => random.between(-0.5, 0.5),
    }
}

macro_rules! function {
    ($name:ident, $wide:ident, $narrow:ident, $sample:ident) => {
        Function {
            name: stringify!($name),
            at: $wide::at,
            at32: $narrow::at,
            exact: f64::$name,
            exact32: f32::$name,
            sample: $sample,
        }
    };
}

fn functions() -> Vec<Function> {
    vec![
        function!(sin, rt_sin_f64_fast, rt_sin_f32_fast, angle),
        function!(cos, rt_cos_f64_fast, rt_cos_f32_fast, angle),
        function!(tan, rt_tan_f64_fast, rt_tan_f32_fast, angle),
        function!(exp, rt_exp_f64_fast, rt_exp_f32_fast, exponent),
        function!(ln, rt_ln_f64_fast, rt_ln_f32_fast, positive),
        function!(log2, rt_log2_f64_fast, rt_log2_f32_fast, positive),
        function!(log10, rt_log10_f64_fast, rt_log10_f32_fast, positive),
        function!(ln_1p, rt_ln_1p_f64_fast, rt_ln_1p_f32_fast, above_minus_one),
    ]
}

fn run(kernel: Unary, x: &[f64]) -> Vec<f64> {
    let mut padded = x.to_vec();
    padded.resize(x.len().next_multiple_of(8), 0.0);
    let mut out = vec![0.0; padded.len()];
    unsafe { kernel(x.len(), padded.as_ptr(), out.as_mut_ptr()) };
    out.truncate(x.len());
    out
}

fn run2(kernel: Binary, x: &[f64], y: &[f64]) -> Vec<f64> {
    let (mut px, mut py) = (x.to_vec(), y.to_vec());
    px.resize(x.len().next_multiple_of(8), 1.0);
    py.resize(x.len().next_multiple_of(8), 1.0);
    let mut out = vec![0.0; px.len()];
    unsafe { kernel(x.len(), px.as_ptr(), py.as_ptr(), out.as_mut_ptr()) };
    out.truncate(x.len());
    out
}

fn bits_of(values: &[f64]) -> Vec<u64> {
    values.iter().map(|v| v.to_bits()).collect()
}

/// Chunks of random arguments per function: 400,000 rows by default;
/// `FUSELINE_VECMATH_CHUNKS` asks for more.
fn chunks() -> usize {
    std::env::var("FUSELINE_VECMATH_CHUNKS").ok().and_then(|s| s.parse().ok()).unwrap_or(400)
}

#[test]
fn within_one_ulp_of_libm_and_equal_on_all_levels() {
    for function in functions() {
        let mut random = Random(0x9E37_79B9_7F4A_7C15);
        let (mut worst, mut at, mut off) = (0, 0.0, 0usize);
        for _ in 0..chunks() {
            let x: Vec<f64> = (0..CHUNK).map(|_| (function.sample)(&mut random)).collect();
            let base = run((function.at)(Level::Base), &x);
            for level in Level::ALL.into_iter().filter(|l| l.is_available()) {
                let got = run((function.at)(level), &x);
                assert_eq!(bits_of(&got), bits_of(&base), "{} on {level:?}", function.name);
            }
            for (&x, &got) in x.iter().zip(&base) {
                let distance = ulps(got, (function.exact)(x));
                off += usize::from(distance > 0);
                if distance > worst {
                    (worst, at) = (distance, x);
                }
            }
        }
        let rows = chunks() * CHUNK;
        println!("{}: {worst} ulp at {at:e}, {off} of {rows} rows differ", function.name);
        assert!(
            worst <= 1,
            "{}({at:e}) is {worst} ulp away: {:e} for {:e}",
            function.name,
            run((function.at)(Level::Base), &[at])[0],
            (function.exact)(at),
        );
    }
}

#[test]
fn f32_within_one_ulp_of_libm() {
    for function in functions() {
        let mut random = Random(0x1234_5678_9ABC_DEF1);
        let (mut worst, mut at) = (0, 0.0);
        for _ in 0..chunks() / 2 {
            let x: Vec<f32> = (0..CHUNK).map(|_| (function.sample)(&mut random) as f32).collect();
            let mut base = vec![0f32; CHUNK];
            unsafe { (function.at32)(Level::Base)(CHUNK, x.as_ptr(), base.as_mut_ptr()) };
            for level in Level::ALL.into_iter().filter(|l| l.is_available()) {
                let mut got = vec![0f32; CHUNK];
                unsafe { (function.at32)(level)(CHUNK, x.as_ptr(), got.as_mut_ptr()) };
                assert!(got.iter().zip(&base).all(|(a, b)| a.to_bits() == b.to_bits()));
            }
            for (&x, &got) in x.iter().zip(&base) {
                let distance = ulps32(got, (function.exact32)(x));
                if distance > worst {
                    (worst, at) = (distance, x);
                }
            }
        }
        println!("{} f32: {worst} ulp at {at:e}", function.name);
        assert!(worst <= 1, "{} f32 of {at:e} is {worst} ulp away", function.name);
    }
}

fn power_arguments(random: &mut Random) -> (f64, f64) {
    match random.next() % 8 {
        0 => (random.between(0.0, 100.0), random.between(-10.0, 10.0)),
        1 => (positive(random), random.magnitude(-12, 12)),
        2 => (1.0 + random.magnitude(-40, -1), random.magnitude(0, 50)),
        3 => (random.magnitude(-30, 30), random.between(-30.0, 30.0).round()),
        4 => (random.between(0.0, 1e6).round(), random.between(0.0, 8.0).round()),
        5 => (random.magnitude(-300, 300), random.magnitude(-3, 4)),
        6 => {
            // Results near both ends of the range, where the error of the logarithm is largest.
            let x = positive(random);
            (x, random.between(-745.0, 710.0) / x.ln())
        }
        _ => (random.between(0.0, 1000.0), 0.5),
    }
}

#[test]
fn pow_within_one_ulp_of_libm() {
    let mut random = Random(0xDEAD_BEEF_CAFE_F00D);
    let (mut worst, mut at, mut off) = (0, (0.0, 0.0), 0usize);
    for _ in 0..chunks() {
        let (x, y): (Vec<f64>, Vec<f64>) = (0..CHUNK).map(|_| power_arguments(&mut random)).unzip();
        let base = run2(rt_pow_f64_fast::at(Level::Base), &x, &y);
        for level in Level::ALL.into_iter().filter(|l| l.is_available()) {
            let got = run2(rt_pow_f64_fast::at(level), &x, &y);
            assert_eq!(bits_of(&got), bits_of(&base), "pow on {level:?}");
        }
        for i in 0..CHUNK {
            let distance = ulps(base[i], x[i].powf(y[i]));
            off += usize::from(distance > 0);
            if distance > worst {
                (worst, at) = (distance, (x[i], y[i]));
            }
        }
        let narrow: (Vec<f32>, Vec<f32>) = x.iter().zip(&y).map(|(&x, &y)| (x as f32, y as f32)).unzip();
        let mut out = vec![0f32; CHUNK];
        unsafe { rt_pow_f32_fast(CHUNK, narrow.0.as_ptr(), narrow.1.as_ptr(), out.as_mut_ptr()) };
        for ((x, y), got) in narrow.0.iter().zip(narrow.1).zip(out) {
            assert!(ulps32(got, x.powf(y)) <= 1, "{x:e} ^ {y:e} is {got:e}");
        }
    }
    println!("pow: {worst} ulp at {at:?}, {off} of {} rows differ", chunks() * CHUNK);
    assert!(worst <= 1, "{} ^ {} is {worst} ulp away", at.0, at.1);
}

fn edges() -> Vec<f64> {
    let mut list = vec![
        0.0,
        0.5,
        1.0,
        1.5,
        2.0,
        3.0,
        4.0,
        10.0,
        0.1,
        1e-5,
        1e-300,
        5e-324,
        2.2e-308,
        1e300,
        709.0,
        709.782712893384,
        709.7827128933841,
        710.0,
        745.0,
        745.1332191019411,
        745.2,
        746.0,
        750.0,
        1e5,
        1048576.0,
        1048577.0,
        1e22,
        2f64.powi(51),
        2f64.powi(52),
        2f64.powi(53) + 2.0,
        2f64.powi(63),
        f64::MAX,
        f64::MIN_POSITIVE,
        f64::INFINITY,
        f64::NAN,
        std::f64::consts::PI,
        std::f64::consts::FRAC_PI_2,
        std::f64::consts::FRAC_PI_4,
        f64::EPSILON,
        1.0 - f64::EPSILON,
        f64::from_bits(0x7ff8_0000_0000_1234),
    ];
    list.extend(list.clone().iter().map(|x| -x));
    list
}

/// Not finite or zero: then libm's bits, NaN payload and sign included.
fn same_edge(got: f64, want: f64) -> bool {
    if want.is_finite() && want != 0.0 { ulps(got, want) <= 1 } else { got.to_bits() == want.to_bits() }
}

#[test]
fn edge_cases_are_libms() {
    for function in functions() {
        for level in Level::ALL.into_iter().filter(|l| l.is_available()) {
            let x = edges();
            for (&x, got) in x.iter().zip(run((function.at)(level), &x)) {
                let want = (function.exact)(x);
                assert!(
                    same_edge(got, want),
                    "{}({x:e} = {:#x}) on {level:?}: {got:e} {:#x}, libm has {want:e} {:#x}",
                    function.name,
                    x.to_bits(),
                    got.to_bits(),
                    want.to_bits(),
                );
            }
        }
    }
    for y in edges() {
        let x = edges();
        let got = run2(rt_pow_f64_fast, &x, &vec![y; x.len()]);
        for (&x, got) in x.iter().zip(got) {
            let want = x.powf(y);
            assert!(
                same_edge(got, want),
                "{x:e} ^ {y:e}: {got:e} {:#x}, libm has {want:e} {:#x}",
                got.to_bits(),
                want.to_bits(),
            );
        }
    }
}

#[test]
fn exact_where_representable() {
    let one = |kernel: Unary, x: f64| run(kernel, &[x])[0];
    assert_eq!(one(rt_exp_f64_fast, 0.0), 1.0);
    assert_eq!(one(rt_ln_f64_fast, 1.0).to_bits(), 0);
    assert_eq!(one(rt_ln_1p_f64_fast, -0.0).to_bits(), (-0.0f64).to_bits());
    assert_eq!(one(rt_cos_f64_fast, 0.0), 1.0);
    for zero in [0.0f64, -0.0] {
        assert_eq!(one(rt_sin_f64_fast, zero).to_bits(), zero.to_bits());
        assert_eq!(one(rt_tan_f64_fast, zero).to_bits(), zero.to_bits());
    }
    for k in 0..=22 {
        assert_eq!(one(rt_log10_f64_fast, 10f64.powi(k)), f64::from(k), "log10(1e{k})");
    }
    for k in -1074..1024 {
        let power = if k < -1022 { f64::from_bits(1 << (k + 1074)) } else { 2f64.powi(k) };
        assert_eq!(one(rt_log2_f64_fast, power), f64::from(k), "log2(2^{k})");
        assert_eq!(run2(rt_pow_f64_fast, &[2.0], &[f64::from(k)])[0], power, "2^{k}");
    }
    let mut random = Random(7);
    for _ in 0..20_000 {
        let x = random.magnitude(-1000, 1000);
        assert_eq!(run2(rt_pow_f64_fast, &[x], &[1.0])[0], x);
        assert_eq!(run2(rt_pow_f64_fast, &[x], &[0.0])[0], 1.0);
        // Small integers: the power fits 53 bits.
        let (base, power) = (random.between(-300.0, 300.0).round(), (random.next() % 7) as i32);
        assert_eq!(run2(rt_pow_f64_fast, &[base], &[f64::from(power)])[0], base.powi(power));
    }
}

#[test]
fn any_row_count() {
    for n in [0, 1, 3, 7, 8, 9, 31, 1000, 1023, 1024, 5000] {
        let x: Vec<f64> = (0..n).map(|i| 0.01 * i as f64 - 3.0).collect();
        for (got, x) in run(rt_sin_f64_fast, &x).into_iter().zip(x) {
            assert!(ulps(got, x.sin()) <= 1);
        }
    }
}

/// `cargo test --release -p fuseline-kernels -- --ignored --nocapture vecmath_speed`: ns per row, best of
/// many runs over one chunk in L1.
#[test]
#[ignore = "a measurement, not a check"]
fn vecmath_speed() {
    let mut random = Random(42);
    let time = |run: &dyn Fn()| {
        let mut best = f64::MAX;
        for _ in 0..300 {
            let start = std::time::Instant::now();
            run();
            best = best.min(start.elapsed().as_nanos() as f64 / CHUNK as f64);
        }
        best
    };
    for function in functions() {
        let x: Vec<f64> = (0..CHUNK)
            .map(|_| match function.name {
                "sin" | "cos" | "tan" => random.between(-1000.0, 1000.0),
                "exp" => random.between(-10.0, 10.0),
                _ => random.between(0.0, 1000.0),
            })
            .collect();
        let mut out = vec![0.0; CHUNK];
        let at = out.as_mut_ptr();
        let mut line = format!("{:>6}:", function.name);
        for level in Level::ALL.into_iter().filter(|l| l.is_available()) {
            let kernel = (function.at)(level);
            let ns = time(&|| unsafe { kernel(CHUNK, x.as_ptr(), at) });
            line += &format!(" {level:?} {ns:.2}");
        }
        let ns = time(&|| {
            for (i, x) in x.iter().enumerate() {
                unsafe { *at.add(i) = (function.exact)(*x) };
            }
        });
        println!("{line} libm {ns:.2} ns/row");
    }
    let x: Vec<f64> = (0..CHUNK).map(|_| random.between(0.0, 100.0)).collect();
    let y: Vec<f64> = (0..CHUNK).map(|_| random.between(-5.0, 5.0)).collect();
    let mut out = vec![0.0; CHUNK];
    let at = out.as_mut_ptr();
    for level in Level::ALL.into_iter().filter(|l| l.is_available()) {
        let kernel = rt_pow_f64_fast::at(level);
        let ns = time(&|| unsafe { kernel(CHUNK, x.as_ptr(), y.as_ptr(), at) });
        println!("   pow: {level:?} {ns:.2} ns/row");
    }
    let ns = time(&|| unsafe { rt_pow_f64_exact(CHUNK, x.as_ptr(), y.as_ptr(), at) });
    println!("   pow: libm {ns:.2} ns/row");
}
