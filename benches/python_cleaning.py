"""Cleaning a million real-estate listings with ten ordinary Python functions: compiled into the query,
called row by row, and in pandas.

Hypothesis: what keeps such a query slow is not the work on the texts but that each row is a call of
Python. Compiled into the loop, the same functions take at most a thirtieth of the time that calling
them takes, and a twentieth of the best that pandas can do. (The task is that of Tuplex's zillow
benchmarks; data, functions and query are our own.)

Axes: compiled (compile = "require"), scalar in this process (compile = "never"), pandas with the `.str`
methods and regular expressions, pandas with the functions themselves in list comprehensions; the
better of the two counts. Machine: any with two cores; all figures are ratios within one run.

How it is measured:
* The listings are made from a fixed seed: titles, "3 bds , 2.5 ba , 1,560 sqft", "$395,000", "$1,200/mo",
  "$1.2M", addresses with lower case cities and zip codes that lost their zero; two in a hundred are
  dirty (missing parts, "--", letters that are not ASCII).
* All sides start from the same texts in memory (an Arrow table; a DataFrame with the texts in pandas'
  own best type) and end with all rows of the result in memory. Filters stand between the functions,
  and pandas applies them at the same places.
* A row on which a function raises is NULL there (on_error = "null"), in pandas missing. Before
  anything is timed, all sides must give the same rows.
* The sides take turns, and another one goes first in each round; medians are compared. Rows that the
  compiled code handed to CPython are counted.

    python benches/python_cleaning.py
    python benches/python_cleaning.py --rows 200000 --rounds 3
"""

import argparse
import gc
import random
import statistics
import sys
import time

import numpy as np
import pandas as pd
import pyarrow as pa

import fuseline

ROWS = 1_000_000
COLUMNS = ["bd", "ba", "sqft", "kind", "offer", "price", "zip", "city", "state", "street"]

# The functions


def bedrooms(facts: str) -> int | None:
    """Of "3 bds , 2.5 ba , 1,560 sqft"."""
    end = facts.find(" bd")
    if end < 0:
        return None
    head = facts[:end]
    comma = head.rfind(",")
    return int(head[comma + 1 :])


def bathrooms(facts: str) -> float | None:
    """The number before " ba"."""
    end = facts.find(" ba")
    if end < 0:
        return None
    head = facts[:end]
    comma = head.rfind(",")
    return float(head[comma + 1 :])


def square_feet(facts: str) -> int | None:
    """The number before " sqft", which may have a comma in it."""
    end = facts.find(" sqft")
    if end < 0:
        return None
    head = facts[:end]
    return int(head[head.rfind(" ") + 1 :].replace(",", ""))


def home_type(title: str) -> str:
    """House, condo or something else."""
    t = title.lower()
    if "condo" in t or "apartment" in t:
        return "condo"
    if "house" in t or "home" in t:
        return "house"
    return "unknown"


def offer_type(title: str) -> str:
    """What one can do with it."""
    t = title.lower()
    if "foreclosure" in t:
        return "foreclosed"
    if "rent" in t:
        return "rent"
    if "sold" in t:
        return "sold"
    if "sale" in t:
        return "sale"
    return "unknown"


def price_of(text: str, offer: str) -> int | None:
    """In dollars: "$395,000", "$1.2M", or by the month."""
    if not text.startswith("$"):
        return None
    amount = text[1:].replace(",", "")
    if offer == "rent":
        slash = amount.find("/")
        if slash >= 0:
            amount = amount[:slash]
    if amount.endswith("M"):
        return int(float(amount[:-1]) * 1000000)
    return int(amount)


def zip_code(address: str) -> str | None:
    """The last word, with the zeros that a spreadsheet took away."""
    last = address[address.rfind(" ") + 1 :]
    if not last.isdigit():
        return None
    return last.zfill(5)


def city_of(address: str) -> str:
    """The second part, with a capital letter."""
    city = address.split(",")[1].strip()
    return city[:1].upper() + city[1:].lower()


def state_of(address: str) -> str:
    """The word before the zip code."""
    tail = address[address.rfind(",") + 1 :].strip()
    return tail[:2].upper()


def street_of(address: str) -> str:
    """The first part without the house number, its last word written out."""
    street = address[: address.find(",")].strip()
    street = street[street.find(" ") + 1 :]
    if street.endswith(" St"):
        return street[:-3] + " Street"
    if street.endswith(" Ave"):
        return street[:-4] + " Avenue"
    return street


FUNCTIONS = [
    *(bedrooms, bathrooms, square_feet, home_type, offer_type, price_of),
    *(zip_code, city_of, state_of, street_of),
]

QUERY = """
SELECT bd, ba, sqft, kind, offer, price, {p}zip_code(address) AS zip, {p}city_of(address) AS city,
       state, {p}street_of(address) AS street
FROM (
  SELECT *, {p}price_of(price_text, offer) AS price, {p}state_of(address) AS state FROM (
    SELECT *, {p}bathrooms(facts) AS ba, {p}square_feet(facts) AS sqft, {p}offer_type(title) AS offer
    FROM (
      SELECT *, {p}home_type(title) AS kind
      FROM (SELECT *, {p}bedrooms(facts) AS bd FROM listings)
      WHERE bd < 10
    ) WHERE kind <> 'unknown'
  ) WHERE sqft > 400 AND offer <> 'foreclosed'
) WHERE price BETWEEN 500 AND 2000000 AND state <> 'TX'
"""

# The listings


def listings(rows):
    """The texts, by column."""
    rng = random.Random(1)
    titles = [
        "House For Sale",
        "Condo for rent",
        "Foreclosure",
        "Sold: house",
        "New apartment for sale",
    ]
    titles += [
        "Home for sale",
        "House for Rent",
        "CONDO FOR SALE",
        "Lot / Land For Sale",
        "Townhouse SOLD",
    ]
    streets = ["Main St", "Ocean Ave", "Elm St", "Broadway", "Old Mill Rd", "Park Ave"]
    places = [("boston", "MA", 2100), ("Woburn", "MA", 1801), ("austin", "TX", 78700)]
    places += [("NEW YORK", "NY", 10001), ("portland", "me", 4100), ("Salem", "MA", 1970)]
    columns = {"title": [], "facts": [], "price_text": [], "address": []}
    for _ in range(rows):
        r = rng.random
        title = titles[int(r() * 10)]
        bd = str(int(r() * 6) + 1 + (r() < 0.02) * 12)
        ba = str(int(r() * 6 + 1) / 2) if r() < 0.5 else str(int(r() * 4) + 1)
        feet = int(r() * 4000) + 300
        facts = f"{bd} bd{'s' if bd != '1' else ''} , {ba} ba , {feet:,} sqft"
        if "rent" in title.lower():
            price = f"${int(r() * 4000) + 400:,}/mo"
        elif r() < 0.1:
            price = f"${int(r() * 40 + 1) / 10}M"
        else:
            price = f"${int(r() * 900 + 20) * 1000:,}"
        city, state, first = places[int(r() * 6)]
        street = streets[int(r() * 6)]
        address = f"{int(r() * 200) + 1} {street}, {city}, {state} {first + int(r() * 60)}"
        if r() < 0.02:
            facts, price, title, address = dirty(rng, facts, price, title, address)
        for column, text in zip(columns.values(), (title, facts, price, address)):
            column.append(text)
    return columns


def dirty(rng, facts, price, title, address):
    """A listing with a fault."""
    fault = rng.randrange(7)
    if fault == 0:
        facts = "-- bds , " + facts.partition(" , ")[2]
    elif fault == 1:
        facts = "Studio"
    elif fault == 2:
        price = "--"
    elif fault == 3:
        facts = facts.replace(" ba ", " ")
    elif fault == 4:
        price += "/mo"
    elif fault == 5:
        title += " – schöne Lage"
    else:
        address += " USA"
    return facts, price, title, address


# The sides


def connect(columns, option):
    """A connection with the listings and the functions, compiled and (never_...) not."""
    con = fuseline.connect(threads=2)
    con.register("listings", pa.table(columns))
    for function in FUNCTIONS:
        con.udf(name=function.__name__, compile=option, on_error="null")(function)
        con.udf(name=f"never_{function.__name__}", compile="never", on_error="null")(function)
    return con


def pandas_vectorized(frame):
    """With `.str`, each method on as few rows as possible."""
    bd = pd.to_numeric(frame["facts"].str.extract(r"^(\d+) bd", expand=False)).astype("Int64")
    frame = frame[(bd < 10).fillna(False)].assign(bd=bd)
    t = frame["title"].str.lower()
    condo = t.str.contains("condo", regex=False) | t.str.contains("apartment", regex=False)
    house = t.str.contains("house", regex=False) | t.str.contains("home", regex=False)
    frame = frame.assign(kind=np.select([condo, house], ["condo", "house"], "unknown"))
    frame, t = frame[condo | house], t[condo | house]
    words = ["foreclosure", "rent", "sold", "sale"]
    kinds = ["foreclosed", "rent", "sold", "sale"]
    found = [t.str.contains(word, regex=False) for word in words]
    frame = frame.assign(offer=np.select(found, kinds, "unknown"))
    feet = (
        frame["facts"].str.extract(r"([\d,]+) sqft", expand=False).str.replace(",", "", regex=False)
    )
    feet = pd.to_numeric(feet).astype("Int64")
    frame = frame.assign(sqft=feet)[(feet > 400).fillna(False) & (frame["offer"] != "foreclosed")]
    parts = (
        frame["price_text"].str.replace(",", "", regex=False).str.extract(r"^\$([\d.]+)(M?)(/mo)?$")
    )
    value = pd.to_numeric(parts[0])
    price = value.where(parts[1] != "M", (value * 1000000) // 1)
    # A price by the month that is no rent is none.
    price = price.where(parts[2].isna() | (frame["offer"] == "rent")).astype("Int64")
    frame = frame.assign(price=price)[price.between(500, 2000000).fillna(False)]
    tail = frame["address"].str.rsplit(",", n=1).str[1].str.strip()
    state = tail.str[:2].str.upper()
    frame = frame.assign(state=state)[state != "TX"]
    ba = frame["facts"].str.extract(r"([\d.]+) ba", expand=False)
    last = frame["address"].str.extract(r" (\d+)$", expand=False)
    city = frame["address"].str.split(",", n=2).str[1].str.strip()
    street = frame["address"].str.extract(r"^\S+ ([^,]*),", expand=False)
    street = street.str.replace(r" St$", " Street", regex=True)
    return frame.assign(
        ba=pd.to_numeric(ba),
        zip=last.str.zfill(5),
        city=city.str.capitalize(),
        street=street.str.replace(r" Ave$", " Avenue", regex=True),
    )[COLUMNS]


def applied(function, *columns):
    """The function on each row; missing where it raises."""
    results = []
    for values in zip(*columns):
        try:
            results.append(function(*values))
        except Exception:
            results.append(None)
    return results


def pandas_applied(frame):
    """With the functions themselves."""
    bd = pd.array(applied(bedrooms, frame["facts"].tolist()), "Int64")
    frame = frame.assign(bd=bd)[(bd < 10).fillna(False)]
    frame = frame.assign(kind=applied(home_type, frame["title"].tolist()))
    frame = frame[frame["kind"] != "unknown"]
    facts = frame["facts"].tolist()
    frame = frame.assign(
        ba=pd.array(applied(bathrooms, facts), "Float64"),
        sqft=pd.array(applied(square_feet, facts), "Int64"),
        offer=applied(offer_type, frame["title"].tolist()),
    )
    frame = frame[(frame["sqft"] > 400).fillna(False) & (frame["offer"] != "foreclosed")]
    price = applied(price_of, frame["price_text"].tolist(), frame["offer"].tolist())
    frame = frame.assign(
        price=pd.array(price, "Int64"), state=applied(state_of, frame["address"].tolist())
    )
    frame = frame[frame["price"].between(500, 2000000).fillna(False) & (frame["state"] != "TX")]
    address = frame["address"].tolist()
    return frame.assign(
        zip=applied(zip_code, address),
        city=applied(city_of, address),
        street=applied(street_of, address),
    )[COLUMNS]


def rows_of(result):
    """The rows of a result as plain Python values."""
    if isinstance(result, pa.Table):
        return list(zip(*(result[c].to_pylist() for c in COLUMNS)))
    columns = [result[c].astype(object) for c in COLUMNS]
    return list(zip(*(c.where(c.notna(), None).tolist() for c in columns)))


def check(sides):
    """Ends the run if the sides do not give the same rows."""
    first, expected = None, None
    for name, run in sides.items():
        got = rows_of(run())
        if expected is None:
            first, expected = name, got
        elif got != expected:
            pairs = [(a, b) for a, b in zip(got, expected) if a != b]
            sys.exit(
                f"{name} has {len(got)} rows, {first} {len(expected)}; first difference {pairs[:1]}"
            )
    return len(expected)


def in_turns(sides, rounds):
    """Median seconds of each side."""
    times = {name: [] for name in sides}
    names = list(sides)
    for number in range(rounds):
        start = number % len(names)
        for name in names[start:] + names[:start]:
            gc.collect()
            begin = time.perf_counter()
            result = sides[name]()
            times[name].append(time.perf_counter() - begin)
            del result
    return {name: statistics.median(values) for name, values in times.items()}


def main():
    """Prints rows, bails, times and ratios."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--compile", default="require", help="of the compiled side: require or auto"
    )
    args = parser.parse_args()
    columns = listings(args.rows)
    con = connect(columns, args.compile)
    frame = pd.DataFrame(columns)
    sides = {
        "compiled": lambda: con.sql(QUERY.format(p="")).to_arrow(),
        "scalar": lambda: con.sql(QUERY.format(p="never_")).to_arrow(),
        "pandas .str": lambda: pandas_vectorized(frame),
        "pandas apply": lambda: pandas_applied(frame),
    }
    out = check(sides)
    print(f"{args.rows} listings, {out} rows out, the same from all sides")
    figures = con.sql(QUERY.format(p="")).profile()["functions"]
    for name, of in figures.items():
        bails = {k: v for k, v in of.items() if "bail" in k or k in ("rows", "failed_rows")}
        print(f"  {name}: {bails}")
    t = in_turns(sides, args.rounds)
    print("  ".join(f"{name} {seconds * 1e3:.0f} ms" for name, seconds in t.items()))
    pandas = min(t["pandas .str"], t["pandas apply"])
    for name, ratio, least in (
        ("scalar in-process / compiled", t["scalar"] / t["compiled"], 30),
        ("best pandas / compiled", pandas / t["compiled"], 20),
    ):
        print(f"{name}: {ratio:.1f} (at least {least}: {'ok' if ratio >= least else 'MISSED'})")


if __name__ == "__main__":
    main()
