"""Taxes, fees, payroll and shipping: brackets, caps, thresholds, rounding rules.

Kinds drawn from the tax bracket examples of pandas user guides, Numba and DuckDB UDF articles, and
payroll and shipping exercises in PySpark courses. The bodies are our own; the rates are invented.
"""

import math
import random

from udf_corpus import SMALL, case, lambda_case

BRACKETS = ((11_000, 0.10), (44_725, 0.12), (95_375, 0.22), (182_100, 0.24), (231_250, 0.32))
TOP_RATE = 0.37
VAT = {"DE": 0.19, "FR": 0.2, "GB": 0.2, "US": 0.0, "HU": 0.27}
REDUCED = {"book", "food", "medicine"}
ZONES = {"A": 4.0, "B": 6.5, "C": 9.0}


@case(rows=[0.0, 11000.0, 50000.0, 1e6])
def income_tax(income: float) -> float:
    if income <= 0:
        return 0.0
    tax = 0.0
    lower = 0.0
    for upper, rate in BRACKETS:
        if income > upper:
            tax += (upper - lower) * rate
            lower = upper
        else:
            return round(tax + (income - lower) * rate, 2)
    return round(tax + (income - lower) * TOP_RATE, 2)


@case(rows=[0, 10000, 25000, 80000])
def simple_brackets(income: int) -> float:
    if income <= 10_000:
        return income * 0.1
    elif income <= 40_000:
        return 1_000 + (income - 10_000) * 0.2
    else:
        return 7_000 + (income - 40_000) * 0.3


@case(rows=[0.0, 11000.0, 50000.0, 300000.0])
def marginal_rate(income: float) -> float:
    for upper, rate in BRACKETS:
        if income <= upper:
            return rate
    return TOP_RATE


@case(rows=[(100.0, "DE", "book"), (10.0, "US", "toy"), (1.0, "HU", "toy")])
def gross(net: float, country: str, kind: str) -> float:
    rate = VAT.get(country, 0.2)
    if kind in REDUCED and rate > 0.07:
        rate = 0.07
    return round(net * (1 + rate), 2)


@case(rows=[(100.0, "DE"), (10.0, "US")])
def vat_or_raise(net: float, country: str) -> float:
    return net * VAT[country]


@case(rows=[119.0, 0.0, 50.0])
def net_of_gross(gross: float) -> float:
    return gross / 1.19


@case(rows=[(10000, 19), (999, 7), (1, 0)])
def vat_cents(net: int, percent: int) -> int:
    return (net * percent + 50) // 100


@case(rows=[(40.0, 20.0), (50.0, 20.0), (0.0, 1.0)])
def wage(hours: float, rate: float) -> float:
    overtime = max(0.0, hours - 40)
    return (hours - overtime) * rate + overtime * rate * 1.5


@case(rows=[(5000.0, True, 0), (3000.0, False, 3)])
def withholding(salary: float, married: bool, children: int) -> float:
    allowance = 1200.0 if not married else 2000.0
    allowance += 250.0 * children
    base = salary - allowance
    if base < 0:
        base = 0.0
    return round(base * (0.22 if married else 0.25), 2)


@case(rows=[50_000.0, 200_000.0, 168_600.0])
def social_security(wages: float) -> float:
    return min(wages, 168_600.0) * 0.062


@case(rows=[(1.2, "A", False), (12.0, "C", True)])
def shipping(weight: float, zone: str, express: bool) -> float | None:
    base = ZONES.get(zone)
    if base is None:
        return None
    cost = base + math.ceil(weight) * 1.25
    if express:
        cost *= 2
    return round(cost, 2)


@case(rows=[(49.99, 1.0), (50.0, 10.0), (10.0, 31.0)])
def delivery_fee(total: float, kilos: float) -> float:
    if total >= 50 and kilos <= 20:
        return 0.0
    if kilos > 30:
        return 29.9
    return 4.9


@case(rows=[(5, 9.99), (10, 9.99), (100, 0.5)])
def bulk_price(n: int, unit: float) -> float:
    discount = 0.0
    if n >= 100:
        discount = 0.2
    elif n >= 10:
        discount = 0.1
    return n * unit * (1 - discount)


@case(rows=[1.225, 2.5, -1.5, 10.0])
def round_half_up(x: float) -> float:
    return math.floor(x * 100 + 0.5) / 100


@case(rows=[3.33, 3.35, -1.02])
def round_to_nickel(x: float) -> float:
    return round(x * 20) / 20


@case(rows=[(1000.0, 12), (50.0, 3)], odd={"months": SMALL})
def late_fee(amount: float, months: int) -> float:
    owed = amount
    for _ in range(months):
        owed += owed * 0.015
        if owed > amount * 2:
            owed = amount * 2
            break
    return owed - amount


@case(rows=[(10, 3), (7, 7), (0, 5)])
def split_bill(total: int, people: int) -> int:
    share, rest = divmod(total, people)
    return share + (1 if rest else 0)


@case(rows=[(100.0, "good"), (80.0, "bad"), (20.0, "")])
def tip(total: float, service: str) -> float:
    rate = {"good": 0.2, "ok": 0.15, "bad": 0.05}.get(service, 0.1)
    return math.ceil(total * rate)


@case(rows=["1099", "W2", "w-2 ", "K1"])
def form_kind(form: str) -> str:
    f = form.upper().replace("-", "").strip()
    if f == "W2":
        return "wage"
    if f.startswith("1099"):
        return "contract"
    return "other"


@case(rows=["12-3456789", "123456789", "98-7654321"])
def format_ein(s: str) -> str:
    d = s.replace("-", "")
    if len(d) != 9 or not d.isdigit():
        raise ValueError("no EIN: " + s)
    return d[:2] + "-" + d[2:]


@case(rows=[5, 17], odd={"seed": SMALL}, stays="random")
def audited(seed: int) -> bool:
    random.seed(seed)
    return random.random() < 0.1


_memo = {}


@case(rows=[5, 30, 60], odd={"n": [None, 0, 1, 2, 10, 50, 80, 90]}, stays="dict")
def cached_depreciation(n: int) -> float:
    if n not in _memo:
        _memo[n] = 1000.0 * 0.9**n
    return _memo[n]


@case(rows=[(250.0, 4), (1000.0, 1)])
def depreciation(cost: float, year: int) -> float:
    if year < 1 or year > 5:
        return 0.0
    return cost * (6 - year) / 15


lambda_case("flat_tax", lambda x: x * 0.15 if x > 0 else 0.0, [float], float, [100.0, -5.0])
lambda_case("capped", lambda x: min(x, 1000), [int], int, [5, 5000])
