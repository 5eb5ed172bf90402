"""Finance: interest, amortization, returns, option prices, indicators, rounding of money.

Kinds drawn from Numba's Black-Scholes examples and benchmarks, loan and compound interest exercises
in PySpark and pandas UDF tutorials, and DuckDB articles on Python functions. The bodies are our own.
"""

import math

from udf_corpus import SMALL, case, lambda_case

RATES = {"USD": 1.0, "EUR": 1.08, "GBP": 1.27, "JPY": 0.0067}
NOTES = [100, 50, 20, 10, 5, 2, 1]
MONTHS = {"F": 1, "G": 2, "H": 3, "J": 4, "K": 5, "M": 6, "N": 7, "Q": 8, "U": 9, "V": 10, "X": 11}


@case(rows=[(1000.0, 0.05, 10), (1.0, 0.0, 5)], odd={"years": SMALL})
def compound(principal: float, rate: float, years: int) -> float:
    for _ in range(years):
        principal *= 1 + rate
    return principal


@case(rows=[(1000.0, 0.05, 10), (1.0, 0.0, 5)], odd={"years": SMALL})
def compound_power(principal: float, rate: float, years: int) -> float:
    return principal * (1 + rate) ** years


@case(rows=[(200000.0, 0.06, 360), (1000.0, 0.0, 12)], odd={"n": SMALL})
def payment(loan: float, annual: float, n: int) -> float:
    rate = annual / 12
    if rate == 0:
        return loan / n
    return loan * rate / (1 - (1 + rate) ** -n)


@case(rows=[(10000.0, 0.01, 500.0), (100.0, 0.5, 10.0)])
def months_to_pay(debt: float, rate: float, pay: float) -> int:
    months = 0
    while debt > 0 and months < 600:
        debt = debt * (1 + rate) - pay
        months += 1
    return months


@case(rows=[(100.0, 110.0), (50.0, 25.0), (0.0, 1.0)])
def simple_return(a: float, b: float) -> float | None:
    if not a:
        return None
    return (b - a) / a


@case(rows=[(100.0, 110.0), (50.0, 25.0)])
def log_return(a: float, b: float) -> float:
    return math.log(b / a)


@case(rows=[(100.0, 200.0, 5.0), (100.0, 90.0, 2.0)])
def cagr(begin: float, end: float, years: float) -> float:
    return (end / begin) ** (1 / years) - 1


@case(rows=[(0.12, 0.02, 0.2), (0.05, 0.05, 0.1)])
def sharpe(mean: float, free: float, sigma: float) -> float:
    if sigma <= 0:
        return 0.0
    return (mean - free) / sigma * math.sqrt(252)


def normal_cdf(x: float) -> float:
    """Of the standard normal distribution."""
    return 0.5 * (1.0 + math.erf(x / math.sqrt(2.0)))


@case(rows=[(100.0, 95.0, 0.5, 0.2), (100.0, 120.0, 1.0, 0.3)])
def black_scholes_call(spot: float, strike: float, t: float, sigma: float) -> float:
    r = 0.02
    d1 = (math.log(spot / strike) + (r + sigma * sigma / 2) * t) / (sigma * math.sqrt(t))
    d2 = d1 - sigma * math.sqrt(t)
    return spot * normal_cdf(d1) - strike * math.exp(-r * t) * normal_cdf(d2)


@case(rows=[0.0, 1.0, -2.5])
def cdf_by_series(x: float) -> float:
    k = 1.0 / (1.0 + 0.2316419 * abs(x))
    poly = 1.330274429
    for c in (-1.821255978, 1.781477937, -0.356563782, 0.31938153):
        poly = c + k * poly
    poly *= k
    tail = math.exp(-x * x / 2) / 2.5066282746310002 * poly
    return 1 - tail if x > 0 else tail


@case(rows=[(100.0, "EUR", "USD"), (5.0, "JPY", "GBP")])
def exchange(amount: float, source: str, target: str) -> float:
    return round(amount * RATES[source] / RATES[target], 2)


@case(rows=[188, 0, 7, 99])
def count_notes(amount: int) -> int:
    n = 0
    for note in NOTES:
        n += amount // note
        amount %= note
    return n


@case(rows=[(12, 5), (100, 0)], odd={"a": SMALL, "b": SMALL})
def gcd(a: int, b: int) -> int:
    while b:
        a, b = b, a % b
    return abs(a)


@case(rows=["1/2", "3 1/4", "7"])
def parse_fraction(s: str) -> float:
    s = s.strip()
    whole = 0
    if " " in s:
        head, s = s.split(" ", 1)
        whole = int(head)
    if "/" in s:
        top, bottom = s.split("/")
        return whole + int(top) / int(bottom)
    return whole + float(s)


@case(rows=["ESH4", "CLZ23", "X"])
def future_month(symbol: str) -> int | None:
    code = symbol.rstrip("0123456789")[-1:]
    return MONTHS.get(code)


@case(rows=[(10.5, 10.0, 11.0), (9.0, 10.0, 11.0)])
def band_signal(price: float, low: float, high: float) -> str:
    if price < low:
        return "buy"
    elif price > high:
        return "sell"
    return "hold"


@case(rows=[(1.0, 2.0, 3.0, 4.0), (0.0, 0.0, 0.0, 0.0)])
def npv4(a: float, b: float, c: float, d: float) -> float:
    total = 0.0
    factor = 1.0
    for flow in (a, b, c, d):
        total += flow / factor
        factor *= 1.08
    return total


@case(rows=[(-100.0, 60.0, 60.0), (-100.0, 10.0, 10.0)])
def irr(a: float, b: float, c: float) -> float:
    low, high = -0.9, 1.0
    for _ in range(60):
        mid = (low + high) / 2
        if a + b / (1 + mid) + c / (1 + mid) ** 2 > 0:
            low = mid
        else:
            high = mid
    return round(low, 6)


@case(rows=[2.0, 10.0, 0.0])
def newton_sqrt(x: float) -> float:
    if x <= 0:
        return 0.0
    guess = x
    for _ in range(50):
        better = 0.5 * (guess + x / guess)
        if abs(better - guess) < 1e-12:
            return better
        guess = better
    return guess


@case(rows=[1234567.891, -5.5, 0.0])
def money(x: float) -> str:
    return f"${x:,.2f}" if x >= 0 else f"-${-x:,.2f}"


@case(rows=[1234567, 950, -2_500_000])
def short_amount(n: int) -> str:
    for limit, letter in ((10**9, "B"), (10**6, "M"), (10**3, "K")):
        if abs(n) >= limit:
            return "{:.1f}{}".format(n / limit, letter)
    return str(n)


@case(rows=[0.125, -0.5, 1.0])
def percent_text(x: float) -> str:
    return "%.1f%%" % (x * 100)


@case(rows=[(100, 3, 7), (5, 0, 1)], odd={"base": SMALL, "exponent": SMALL})
def power_mod(base: int, exponent: int, modulus: int) -> int:
    result = 1
    base %= modulus
    while exponent > 0:
        if exponent & 1:
            result = result * base % modulus
        base = base * base % modulus
        exponent >>= 1
    return result


class Ledger:
    """What `post` writes to."""

    total = 0.0


@case(rows=[1.0, 2.0], stays="attribute")
def post(x: float) -> float:
    Ledger.total = x
    return Ledger.total * 2


def _cash_flows(x):
    """Flows of three years."""
    yield x
    yield x * 1.1
    yield x * 1.2


@case(rows=[1.0, 2.0], stays="generator")
def flow_sum(x: float) -> float:
    return sum(_cash_flows(x))


lambda_case("basis_points", lambda a, b: (b - a) * 1e4, [float, float], float, [(0.01, 0.02)])
lambda_case("sign", lambda x: math.copysign(1, x), [float], float, [2.0, -0.0])
