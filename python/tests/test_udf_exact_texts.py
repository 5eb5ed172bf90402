"""Traps of texts: a compiled function counts code points, and knows letters as Python does."""

import itertools

import pytest
from udf_exact import MAX, MIN, TEXTS, exact

pytest.importorskip("numpy")


# str: length, index, slice, find; case, strip, isdigit


def test_texts_are_code_points():
    def length(s: str) -> int:
        return len(s)

    def first(s: str) -> str:
        return s[0]

    def last_but_one(s: str) -> str:
        return s[-2]

    def at(s: str, i: int) -> str:
        return s[i]

    def part(s: str) -> str:
        return s[1:4]

    def back(s: str) -> str:
        return s[-3:-1]

    def stepped(s: str) -> str:
        return s[::2] + s[::-1]

    def bounds(s: str, i: int, j: int) -> str:
        return s[i:j]

    places = [-300, -3, -1, 0, 1, 2, 5, 300, MAX, MIN]
    exact(length, first, last_but_one, part, back, stepped)
    exact(at, rows=list(itertools.product(TEXTS, places)))
    exact(bounds, rows=[(s, i, j) for s in TEXTS[::2] for i in places for j in places[::2]])


def test_finding():
    def found(s: str, t: str) -> int:
        return s.find(t)

    def last(s: str, t: str) -> int:
        return s.rfind(t)

    def index(s: str, t: str) -> int:
        return s.index(t)

    def after(s: str) -> int:
        return s.find("b", 2)

    def inside(s: str, t: str) -> bool:
        return t in s

    def starts(s: str, t: str) -> bool:
        return s.startswith(t) or s.endswith(t)

    def counted(s: str, t: str) -> int:
        return s.count(t)

    needles = ["", "a", "b", "😀", "é", "本", "b😀", "xx", " "]
    rows = list(itertools.product(TEXTS, needles))
    exact(found, last, index, inside, starts, counted, rows=rows)
    exact(after)


def test_case_and_kinds():
    def lower(s: str) -> str:
        return s.lower()

    def upper(s: str) -> str:
        return s.upper()

    def kinds(s: str) -> int:
        return s.isdigit() + 2 * s.isalpha() + 4 * s.isalnum() + 8 * s.isspace()

    def cases(s: str) -> int:
        return s.isupper() + 2 * s.islower()

    exact(lower, upper, kinds, cases)


def test_stripping():
    def both(s: str) -> str:
        return s.strip()

    def sides(s: str) -> str:
        return "<" + s.lstrip() + "|" + s.rstrip() + ">"

    def letters(s: str) -> str:
        return s.strip("a x😀")

    def filled(s: str) -> str:
        return s.zfill(5)

    exact(both, sides, letters, filled)


def test_pieces():
    def second(s: str) -> str:
        return s.split(",")[1]

    def words(s: str) -> int:
        return len(s.split())

    def around(s: str) -> str:
        head, mid, tail = s.partition(",")
        return tail + mid + head

    def replaced(s: str) -> str:
        return s.replace("a", "éé").replace(",", "")

    def joined(s: str) -> str:
        return "-".join([s, "x", s])

    def unpacked(s: str) -> str:
        a, b = s.split(",")
        return b + a

    exact(second, words, around, replaced, joined)
    exact(unpacked, rows=[*TEXTS, "a,b", ",", "a,b,c"])


def test_order_and_equality_of_texts():
    def less(a: str, b: str) -> bool:
        return a < b

    def equal(a: str, b: str) -> bool:
        return a == b

    exact(less, equal)


def test_characters():
    def code(s: str) -> int:
        return ord(s)

    def from_code(n: int) -> str:
        return chr(n)

    def loop(s: str) -> int:
        total = 0
        for ch in s:
            total = total * 31 % 1000003 + ord(ch)
        return total

    exact(code, loop)
    exact(from_code, rows=[0, 65, 127, 128, 255, 0x20AC, 0x1F600, 0x10FFFF, 0x110000, -1, 0xD800])
