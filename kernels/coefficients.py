#!/usr/bin/env python3
"""Prints the constants of src/vecmath: near-minimax polynomials and split constants.

Each polynomial interpolates its function at Chebyshev nodes of the reduced interval in 80-digit
arithmetic (mpmath), which is within a factor of two or so of the minimax error, and is rounded to
doubles. The error printed is the largest one left, relative to the final result of the function.
"""
import struct

from mpmath import atan, atanh, cos, exp, floor, frexp, ldexp, log, lu_solve, matrix, mp, mpf, pi, sin, sqrt

mp.dps = 80


def fit(f, lo, hi, degree):
    """Coefficients of the polynomial in z of `degree` that interpolates f on [lo, hi]."""
    n = degree + 1
    nodes = [(lo + hi) / 2 + (hi - lo) / 2 * cos(pi * (2 * i + 1) / (2 * n)) for i in range(n)]
    a = matrix(n, n)
    b = matrix(n, 1)
    for i, z in enumerate(nodes):
        for k in range(n):
            a[i, k] = z**k
        b[i] = f(z)
    solved = lu_solve(a, b)
    return [float(solved[k]) for k in range(n)]


def show(name, coefficients, f, lo, hi, weight):
    worst = mpf(0)
    for i in range(400):
        z = lo + (hi - lo) * (mpf(i) + mpf("0.5")) / 400
        p = sum(mpf(c) * z**k for k, c in enumerate(coefficients))
        worst = max(worst, abs(p - f(z)) * weight(z))
    bits = -log(worst, 2)
    print(f"// {name}: {len(coefficients)} coefficients, error 2^-{float(bits):.1f}")
    for c in coefficients:
        print(f"    f64::from_bits({struct.unpack('<Q', struct.pack('<d', c))[0]:#018x}), // {c!r}")


def split(name, value, *bits):
    """value = sum of doubles; all but the last have as many significant bits as given."""
    rest = value
    for i, b in enumerate(list(bits) + [53]):
        if b < 53:
            m, e = frexp(rest)
            part = float(ldexp(floor(m * 2**b), e - b))
        else:
            part = float(rest)
        rest -= mpf(part)
        print(f"// {name} part {i}: f64::from_bits({struct.unpack('<Q', struct.pack('<d', part))[0]:#018x}) = {part!r}, {b} bits")


zmax = (pi / 4) ** 2 * mpf("1.001")
tiny = mpf("1e-30")
s = lambda z: (sin(sqrt(z)) / sqrt(z) - 1) / z
show("SIN, z = r^2: sin(r) = r + r*z*S(z)", fit(s, tiny, zmax, 6), s, tiny, zmax, lambda z: z)
c = lambda z: (cos(sqrt(z)) - 1 + z / 2) / z**2
show("COS: cos(r) = 1 - z/2 + z^2*C(z)", fit(c, tiny, zmax, 5), c, tiny, zmax, lambda z: z**2)
rmax = log(2) / 2 * mpf("1.001")
e = lambda r: (exp(r) - 1 - r) / r**2
# The interval is a hair off centre, so that no node is 0, where e is 0/0.
show("EXP: exp(r) = 1 + r + r^2*E(r)", fit(e, -rmax, rmax + tiny, 10), e, -rmax, rmax, lambda r: r**2)
smax = ((sqrt(mpf(2)) - 1) / (sqrt(mpf(2)) + 1)) ** 2 * mpf("1.001")
l = lambda z: (2 * atanh(sqrt(z)) / sqrt(z) - 2) / z
show("LOG, z = s^2: log(1+f) = 2s + s*z*L(z)", fit(l, tiny, smax, 6), l, tiny, smax, lambda z: z / 2)
l5 = lambda z: ((2 * atanh(sqrt(z)) / sqrt(z) - 2) / z - mpf(2) / 3) / z
show("LOG5: log(1+f) = 2s + 2/3 s*z + s*z^2*L(z)", fit(l5, tiny, smax, 7), l5, tiny, smax, lambda z: z * z / 2)
a = lambda z: (atan(sqrt(z)) / sqrt(z) - 1) / z
amax = mpf("0.4143") ** 2
show("ATAN, z = t^2, |t| <= tan(pi/8): atan(t) = t + t*z*A(z)", fit(a, tiny, amax, 11), a, tiny, amax, lambda z: z)

split("pi/2", pi / 2, 33, 33, 33)
split("2/pi", 2 / pi)
split("ln2", log(2), 42)
split("ln2 (dd)", log(2))
split("1/ln2", 1 / log(2))
split("1/ln2", 1 / log(2), 21)
split("1/ln10", 1 / log(10), 21)
split("log10(2)", log(2) / log(10), 42)
split("2/3", mpf(2) / 3, 53)
