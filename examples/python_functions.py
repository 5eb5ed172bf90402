"""Ordinary Python functions as part of a query's machine code.

    pip install fuseline && python examples/python_functions.py

EXPLAIN says of each function whether it is compiled, or the line that keeps it Python and why. Whoever computes a
row, its value is Python's, and so is its exception with the traceback.
"""

import math

import fuseline

RATES = {"EUR": 1.0, "USD": 0.92, "GBP": 1.17}


@fuseline.udf
def euros(price: str, currency: str) -> float | None:
    """A price such as "1,250.00" in euros."""
    text = price.strip().lstrip("$€£").replace(",", "")
    if not text or currency not in RATES:
        return None
    return round(float(text) * RATES[currency], 2)


@fuseline.udf
def distance(lat: float, lon: float) -> float:
    """Kilometres to Berlin."""
    p, q = math.radians(lat), math.radians(52.52)
    a = (
        math.sin((p - q) / 2) ** 2
        + math.cos(p) * math.cos(q) * math.sin(math.radians(lon - 13.4) / 2) ** 2
    )
    return 2 * 6371 * math.asin(math.sqrt(a))


@fuseline.udf
def digits(text: str) -> str:
    """Stays Python: it calls what only Python can run."""
    import re

    return re.sub(r"\D", "", text)


with fuseline.connect() as con:
    for function in (euros, distance, digits):
        con.register_udf(function)
    con.register(
        "offers",
        {
            "id": [1, 2, 3, 4],
            "price": ["1,250.00", "$ 99.5", "12 or so", " 7 "],
            "currency": ["EUR", "USD", "EUR", "CHF"],
            "lat": [52.5, 48.1, 53.6, 47.4],
            "lon": [13.4, 11.6, 10.0, 8.5],
        },
    )
    sql = "SELECT id, euros(price, currency) AS euros, distance(lat, lon) AS km FROM offers"
    print(con.sql(f"{sql} WHERE digits(price) <> ''").explain())
    try:
        con.sql(sql).show()
    except fuseline.UdfError as error:
        # The row, its values, and Python's own exception.
        print(error)
        print("because of", repr(error.__cause__))
    con.sql(f"{sql} WHERE id <> 3").show()
