"""Scoring rules and categories: grades, risk, churn, discounts, priorities.

Kinds drawn from the grading, BMI, age group and credit score examples in pandas `apply` and PySpark
UDF tutorials, the if/elif tests of Spark's transpiler (SPARK-55206), and rule sets in feature
engineering notebooks. The bodies are our own.
"""

import json

from udf_corpus import case, lambda_case

WEIGHTS = {"gold": 1.5, "silver": 1.2, "bronze": 1.0}
VIP_STATES = frozenset({"NY", "CA", "WA"})
BASE_SCORE = 300
GRADES = ((90, "A"), (80, "B"), (70, "C"), (60, "D"))


@case(rows=[95, 80, 79, 12, 60])
def letter_grade(score: int) -> str:
    if score >= 90:
        return "A"
    elif score >= 80:
        return "B"
    elif score >= 70:
        return "C"
    elif score >= 60:
        return "D"
    else:
        return "F"


@case(rows=[95.0, 80.0, 79.9, 12.0, 60.0])
def letter_grade_table(score: float) -> str:
    for limit, grade in GRADES:
        if score >= limit:
            return grade
    return "F"


@case(rows=[(22.0, 30), (31.5, 61), (17.0, 20)])
def bmi_risk(bmi: float, age: int) -> str:
    if bmi < 18.5:
        risk = "under"
    elif bmi < 25:
        risk = "normal"
    elif bmi < 30:
        risk = "over"
    else:
        risk = "obese"
    if age > 60 and risk != "normal":
        risk = risk + "+"
    return risk


@case(rows=[5, 15, 30, 64, 65, 99])
def age_group(age: int) -> str:
    if age < 0:
        return "invalid"
    if age < 13:
        return "child"
    if age < 20:
        return "teen"
    return "adult" if age < 65 else "senior"


@case(rows=[(700, 0.2, 5), (550, 0.9, 0), (620, 0.4, 12)])
def credit_score(base: int, utilization: float, years: int) -> int:
    score = base
    if utilization < 0.3:
        score += 40
    elif utilization > 0.8:
        score -= 60
    score += min(years, 10) * 5
    return max(300, min(850, score))


@case(rows=[(12, 3, 100.0), (1, 0, 5.5), (200, 10, 9.99)])
def rfm_score(recency: int, frequency: int, monetary: float) -> int:
    r = 5 if recency < 30 else 3 if recency < 90 else 1
    f = 5 if frequency > 10 else 3 if frequency > 3 else 1
    m = 5 if monetary > 1000 else 3 if monetary > 100 else 1
    return r * 100 + f * 10 + m


@case(rows=[("gold", 100.0), ("bronze", 10.0), ("tin", 7.0)])
def loyalty_points(tier: str, amount: float) -> float:
    return amount * WEIGHTS.get(tier, 0.5)


@case(rows=[(True, 20, "NY"), (False, 70, "TX"), (False, 30, "CA")])
def eligible(member: bool, age: int, state: str) -> bool:
    return (member or age >= 65) and state in VIP_STATES


@case(rows=[(True, 3), (False, 0), (False, 10)])
def churn_points(contract: bool, calls: int) -> int:
    points = 0
    if not contract:
        points += 2
    if calls > 3:
        points += 3
    elif calls:
        points += 1
    return points


@case(rows=[0.1, 0.5, 0.99, 0.0])
def risk_bucket(p: float) -> int:
    return int(p * 10)


@case(rows=[1, 3, 5, 15, 30, 7])
def fizzbuzz(n: int) -> str:
    if n % 15 == 0:
        return "FizzBuzz"
    if n % 5 == 0:
        return "Buzz"
    if n % 3 == 0:
        return "Fizz"
    return str(n)


@case(rows=[(10, 5), (3, 9), (4, 4)])
def compare(a: int, b: int) -> int:
    return (a > b) - (a < b)


@case(rows=[(0.2, 0.4, 0.6), (1.0, 1.0, 1.0)])
def weighted(a: float, b: float, c: float) -> float:
    weights = (0.5, 0.3, 0.2)
    return a * weights[0] + b * weights[1] + c * weights[2]


@case(rows=[(0.2, -1.0), (3.0, 2.0)])
def logistic(x: float, y: float) -> float:
    import math

    z = 0.7 * x - 1.3 * y + 0.25
    return 1.0 / (1.0 + math.exp(-z))


@case(rows=[(1, 2, 3), (5, 5, 5), (9, 1, 4)])
def median_of_three(a: int, b: int, c: int) -> int:
    if a > b:
        a, b = b, a
    if b > c:
        b, c = c, b
    if a > b:
        a, b = b, a
    return b


@case(rows=[(80.0, 90.0, None), (50.0, None, None), (None, None, None)])
def mean_of_given(a: float | None, b: float | None, c: float | None) -> float | None:
    total = 0.0
    n = 0
    for x in (a, b, c):
        if x is not None:
            total += x
            n += 1
    return total / n if n else None


@case(rows=["positive", "great product", "bad, awful", "meh"])
def sentiment(text: str) -> int:
    score = 0
    for word in text.lower().split():
        word = word.strip(".,!?")
        if word in ("good", "great", "excellent", "love"):
            score += 1
        elif word in ("bad", "awful", "terrible", "hate"):
            score -= 1
    return score


@case(rows=["Passw0rd!", "abc", "LONGENOUGH1", "p@ss w"])
def password_strength(p: str) -> int:
    upper = lower = digit = other = False
    for ch in p:
        if ch.isupper():
            upper = True
        elif ch.islower():
            lower = True
        elif ch.isdigit():
            digit = True
        else:
            other = True
    return upper + lower + digit + other + (len(p) >= 8)


@case(rows=[(1, "critical"), (5, "low"), (30, "high")])
def ticket_priority(days_open: int, severity: str) -> int:
    match severity:
        case "critical":
            base = 100
        case "high":
            base = 50
        case "low" | "minor":
            base = 5
        case _:
            base = 10
    return base + min(days_open, 30)


@case(rows=['{"score": 3}', '{"score": 9, "x": 1}', "{}"], stays="json")
def score_from_json(s: str) -> int:
    return int(json.loads(s).get("score", 0))


@case(rows=[(10, 20), (3, 0), (0, 0)])
def percentage(part: int, whole: int) -> float | None:
    if whole == 0:
        return None
    return 100.0 * part / whole


@case(rows=[(60000.0, 720, 0.2), (20000.0, 500, 0.5)])
def loan_decision(income: float, score: int, ratio: float) -> str:
    if score < 580 or ratio > 0.43:
        return "reject"
    if income > 50_000 and score >= 700 and ratio < 0.36:
        return "approve"
    return "review"


def clamp(x, low, high):
    """Shared by the two below."""
    return max(low, min(high, x))


@case(rows=[150.0, -3.0, 55.5])
def percent_score(x: float) -> float:
    return clamp(x, 0.0, 100.0)


@case(rows=[(4, 5), (1, 1), (0, 9)])
def star_rating(good: int, total: int) -> str:
    stars = clamp(round(5 * good / total), 0, 5)
    return "★" * stars + "☆" * (5 - stars)


@case(rows=[3, 0, 11, 100])
def ordinal(n: int) -> str:
    if 10 <= n % 100 <= 20:
        suffix = "th"
    else:
        suffix = {1: "st", 2: "nd", 3: "rd"}.get(n % 10, "th")
    return str(n) + suffix


lambda_case("is_adult", lambda age: age >= 18, [int], bool, [17, 18])
lambda_case("pass_fail", lambda m: "pass" if m >= 40 else "fail", [float], str, [39.5, 40.0])
lambda_case("bonus", lambda s, y: s * 0.1 if y > 5 else s * 0.05, [float, int], float, [(10.0, 6)])
lambda_case("above_base", lambda x: x - BASE_SCORE, [int], int, [320, 300])
