"""Sets and orders of characters, tables for `translate`, ranges by steps, keys that are tuples, and dates as
texts: compiled, they do what CPython does."""

import datetime
import datetime as dt
import locale
import operator
import string
from functools import reduce

import pytest
from udf_exact import INTS, exact, stays
from udf_oracle import table_of

import fuseline

WORDS = [
    "",
    "a",
    "banana",
    "ab ba",
    "zyx",
    "aA",
    "äöä",
    "日本日",
    "😀b😀",
    "a\x00b\x00",
    "x" * 300,
    None,
]
GRID = ((1, 2, 3), (4, 5, 6), (7, 8, 9))
MIXED = ((1, 2.5), (3, 4.0))
MOVES = {("idle", 1): "run", ("run", 0): "idle", ("run", 2): "stop"}


def test_sets_of_characters():
    def count(s: str) -> int:
        return len(set(s))

    def has(s: str) -> bool:
        letters = set(s)
        return "a" in letters or "an" in letters or "" in letters or not letters

    def combined(a: str, b: str) -> int:
        x, y = set(a), set(b)
        return len(x & y) * 10000 + len(x | y) * 100 + len(x - y)

    def vowels(s: str) -> int:
        return len(set(s) & {"a", "b", "ä"}) * 10 + len({"x", "y"} - set(s))

    def in_order(s: str) -> str:
        return "".join(sorted(set(s)))

    def no_text(s: str) -> bool:
        return set(s) == s or set(s) is None

    exact(count, has, vowels, in_order, no_text, rows=WORDS)
    exact(combined, rows=[(a, b) for a in WORDS for b in WORDS])


def test_the_order_of_a_set_is_not_compiled():
    def through(s: str) -> int:
        return sum(1 for c in set(s) if c == "a")

    def listed(s: str) -> str:
        return "".join(set(s))

    stays(through, listed, rows=["a", "b"])


def test_sorted_characters():
    def key(s: str) -> str:
        return "".join(sorted(s))

    def least(s: str) -> str:
        return sorted(s)[0] + sorted(s)[-1]

    def long(s: str) -> str:
        return "".join(sorted(s * 9))

    def listed(s: str) -> bool:
        return sorted(s) == s

    exact(key, least, long, listed, rows=WORDS)


def test_translate():
    def deleted(s: str) -> str:
        return s.translate(str.maketrans("", "", string.punctuation))

    def mapped(s: str) -> str:
        return s.translate(str.maketrans("abä", "bä😀", "x"))

    def overridden(s: str) -> str:
        return s.translate(str.maketrans("aab", "xyz", "b"))

    def by_dict(s: str) -> str:
        return s.translate({97: "<a>", 98: None, 99: 100, -1: "no"})

    exact(deleted, mapped, overridden, by_dict, rows=[*WORDS, "a.b,c!", "abcabc", "-"])

    def of_an_instance(s: str) -> str:
        return s.translate("ab".maketrans("cd", "ef"))

    def unlike(s: str) -> str:
        return s.translate(str.maketrans("ab", "c"))

    stays(of_an_instance, unlike, rows=["abcd"])


def test_ranges_by_steps():
    def total(a: int, b: int, step: int) -> int:
        n = 0
        for i in range(a, b, step):
            n = n * 3 + i
        return n

    def length(a: int, b: int, step: int) -> int:
        return len(range(a, b, step))

    def inside(a: int, b: int, step: int) -> bool:
        return 4 in range(a, b, step)

    small = [-9, -3, -2, -1, 0, 1, 2, 3, 7, 10]
    rows = [(a, b, step) for a in small for b in small for step in small]
    exact(total, inside, rows=rows)
    exact(length, rows=rows + [(a, b, c) for a in INTS[::3] for b in INTS[::4] for c in INTS[::5]])


def test_reduce():
    def product(n: int) -> int:
        return reduce(operator.mul, range(1, n), 1)

    def chained(n: int) -> int:
        return reduce(lambda a, b: a * 2 - b, range(n), 3)

    exact(product, chained, rows=[-1, 0, 1, 2, 5, 20, 21, 22, 60, None])


def test_keys_that_are_tuples_and_tables_of_tables():
    def cell(r: int, c: int) -> int:
        return GRID[r][c]

    def number(r: int, c: int) -> float:
        return MIXED[r][c] / 2

    def moved(state: str, n: int) -> str:
        return MOVES.get((state, n), "error")

    def must(state: str, n: int) -> str:
        return MOVES[state, n]

    exact(cell, number, rows=[(r, c) for r in range(-5, 5) for c in range(-5, 5)])
    states = ["idle", "run", "stop", "", None]
    exact(moved, must, rows=[(s, n) for s in states for n in (0, 1, 2, -1, None)])


def test_dates_as_texts():
    def month(s: str) -> int:
        return datetime.date.fromisoformat(s).month

    def day(s: str) -> int | None:
        try:
            return datetime.date.fromisoformat(s).day
        except ValueError:
            return None

    texts = ["2024-01-31", "2023-02-29", "0000-01-01", "0001-01-01", "9999-12-31", "20240131"]
    texts += ["2024-W05-3", "2024-1-311", "2024-01-3", "", "٢٠٢٤-01-31", "2024/01/31", "+024-01-01"]
    exact(month, day, rows=[*texts, " 2024-01-1", "2024-01-31T00:00", None])


DAYS = [dt.date(2024, m, 28 - m) for m in range(1, 13)] + [
    dt.date(1, 1, 1),
    dt.date(9999, 12, 31),
    None,
]


def test_names_of_months_and_weekdays():
    def names(d: dt.date) -> str:
        return d.strftime("%d %B %Y, %b %A %a")

    exact(names, rows=DAYS)


def test_names_follow_the_language_that_is_set():
    """The language is read again when a query starts."""

    def name(d: dt.date) -> str:
        return d.strftime("%B")

    before = locale.setlocale(locale.LC_TIME)
    for other in ("de_DE.UTF-8", "fr_FR.UTF-8", "es_ES.UTF-8"):
        try:
            locale.setlocale(locale.LC_TIME, other)
            break
        except locale.Error:
            continue
    else:
        pytest.skip("no other language is installed")
    locale.setlocale(locale.LC_TIME, before)
    with fuseline.connect(threads=1) as con:
        con.register("t", table_of(["DATE"], [(dt.date(2024, 3, 1),)]))
        con.udf(name="f")(name)
        query = "SELECT f(c0) AS y FROM t"
        try:
            assert con.sql(query).fetchall() == [(name(dt.date(2024, 3, 1)),)]
            locale.setlocale(locale.LC_TIME, other)
            assert con.sql(query).fetchall() == [(name(dt.date(2024, 3, 1)),)]
        finally:
            locale.setlocale(locale.LC_TIME, before)
