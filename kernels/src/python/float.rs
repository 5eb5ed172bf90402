//! Floats, by the algorithms of CPython's `floatobject.c`, described here in our own words.

/// `x % y` and `x // y` for `y != 0`: the remainder takes the divisor's sign, and the quotient is the nearest whole
/// number to `(x - remainder) / y`, because that division may round.
pub fn divmod(x: f64, y: f64) -> Option<(f64, f64)> {
    if y == 0.0 {
        return None;
    }
    let mut remainder = x % y;
    let mut quotient = (x - remainder) / y;
    if remainder != 0.0 {
        if (y < 0.0) != (remainder < 0.0) {
            remainder += y;
            quotient -= 1.0;
        }
    } else {
        remainder = f64::copysign(0.0, y);
    }
    let whole = if quotient != 0.0 {
        let floor = quotient.floor();
        if quotient - floor > 0.5 { floor + 1.0 } else { floor }
    } else {
        f64::copysign(0.0, x / y)
    };
    Some((whole, remainder))
}

/// `x // y`.
pub fn floor_div(x: f64, y: f64) -> Option<f64> {
    divmod(x, y).map(|(quotient, _)| quotient)
}

/// `x % y`.
pub fn modulo(x: f64, y: f64) -> Option<f64> {
    if y == 0.0 {
        return None;
    }
    let remainder = x % y;
    if remainder == 0.0 {
        return Some(f64::copysign(0.0, y));
    }
    Some(if (y < 0.0) != (remainder < 0.0) { remainder + y } else { remainder })
}

fn is_odd(y: f64) -> bool {
    y.abs() % 2.0 == 1.0
}

/// `x ** y`.
pub fn pow(x: f64, y: f64) -> Option<f64> {
    if y == 0.0 || x == 1.0 {
        return Some(1.0);
    }
    if x.is_nan() {
        return Some(x);
    }
    if y.is_nan() {
        return Some(y);
    }
    if y.is_infinite() {
        return Some(match x.abs() {
            1.0 => 1.0,
            size if (y > 0.0) == (size > 1.0) => y.abs(),
            _ => 0.0,
        });
    }
    if x.is_infinite() {
        return Some(match (y > 0.0, is_odd(y)) {
            (true, true) => x,
            (true, false) => x.abs(),
            (false, true) => f64::copysign(0.0, x),
            (false, false) => 0.0,
        });
    }
    if x == 0.0 {
        return (y > 0.0).then(|| if is_odd(y) { x } else { 0.0 });
    }
    let negative = x < 0.0 && is_odd(y);
    if x < 0.0 && y != y.floor() {
        // A complex number.
        return None;
    }
    let size = super::math::pow_libm(x.abs(), y);
    if size.is_infinite() {
        return None;
    }
    Some(if negative { -size } else { size })
}

/// A whole float as an int.
pub fn to_int(whole: f64) -> Option<i64> {
    const BEYOND: f64 = 9_223_372_036_854_775_808.0;
    (-BEYOND..BEYOND).contains(&whole).then_some(whole as i64)
}
