//! `round(x, n)`, correctly rounded as CPython rounds: the float's exact decimal expansion, halves to even.

/// Powers of ten that floats hold exactly.
const TENS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18,
    1e19, 1e20, 1e21, 1e22,
];

/// `round(x, n)` of a float.
pub fn round_digits(x: f64, n: i64) -> Option<f64> {
    // A float has at most 323 decimals that count, and none counts beyond 308 places before the point.
    if !x.is_finite() || n > 323 {
        return Some(x);
    }
    if n < -308 {
        return Some(0.0 * x);
    }
    if (0..=22).contains(&n) {
        // Below 2^52 halves are floats, so the rounded product lies on the same side of a half as the exact one,
        // unless it is that half.
        let power = TENS[n as usize];
        let scaled = x * power;
        if scaled.abs() < (1_u64 << 52) as f64 {
            let mut whole = scaled.round_ties_even();
            if (scaled - scaled.trunc()).abs() == 0.5 {
                let error = x.mul_add(power, -scaled);
                if error > 0.0 {
                    whole = scaled.ceil();
                } else if error < 0.0 {
                    whole = scaled.floor();
                }
            }
            // Both are exact, so the quotient is what reading the decimal would give.
            return Some((whole / power).copysign(x));
        }
    }
    let rounded: f64 = if n >= 0 {
        format!("{:.*}", n as usize, x).parse().ok()?
    } else {
        at_tens(x, n.unsigned_abs() as usize)?
    };
    rounded.is_finite().then_some(rounded)
}

/// Rounds to a multiple of 10 ** `places`, at least 10.
fn at_tens(x: f64, places: usize) -> Option<f64> {
    let size = x.abs();
    let whole = size.trunc();
    let digits = format!("{whole:.0}");
    // Behind `kept` digits comes what is dropped.
    let Some(kept) = digits.len().checked_sub(places) else { return Some(f64::copysign(0.0, x)) };
    let (head, dropped) = digits.split_at(kept);
    let (first, others) = dropped.as_bytes().split_first()?;
    let more = others.iter().any(|d| *d != b'0') || size > whole;
    let odd = head.bytes().next_back().is_some_and(|d| d & 1 == 1);
    let up = *first > b'5' || (*first == b'5' && (more || odd));
    let mut text: Vec<u8> = std::iter::once(b'0').chain(head.bytes()).collect();
    if up {
        for digit in text.iter_mut().rev() {
            if *digit == b'9' {
                *digit = b'0';
            } else {
                *digit += 1;
                break;
            }
        }
    }
    let text = format!("{}e{places}", String::from_utf8(text).ok()?);
    text.parse::<f64>().ok().map(|v| v.copysign(x))
}

/// `round(i, n)` of an int.
pub fn round_int(i: i64, n: i64) -> Option<i64> {
    if n >= 0 {
        return Some(i);
    }
    // Half of 10 ** 20 is more than any int here.
    if n <= -20 {
        return Some(0);
    }
    let unit = 10_i128.pow(n.unsigned_abs() as u32);
    let i = i128::from(i);
    let below = i.div_euclid(unit) * unit;
    let rest = i - below;
    let odd = i.div_euclid(unit) & 1 == 1;
    let up = rest * 2 > unit || (rest * 2 == unit && odd);
    i64::try_from(if up { below + unit } else { below }).ok()
}
