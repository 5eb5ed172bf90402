"""Text: words, tokens, slugs, keys and values, formatting, templates.

Kinds drawn from word count and text cleaning UDFs in PySpark and pandas tutorials, Tuplex's string
tests and weblogs benchmark (benchmarks/logs), and the string method tests of Numba. The bodies are
our own.
"""

import base64
import hashlib
import re
import string
import urllib.parse

from udf_corpus import SMALL, case, lambda_case

STOP_WORDS = frozenset(["the", "a", "an", "of", "and", "to", "in"])
LEET = {"a": "4", "e": "3", "i": "1", "o": "0", "s": "5"}
PUNCTUATION = ".,;:!?"
SENTENCES = ["the quick brown fox", "", "one", "A tale of two cities, and more!"]


@case(rows=SENTENCES)
def word_count(s: str) -> int:
    return len(s.split())


@case(rows=SENTENCES)
def word_count_loop(s: str) -> int:
    n = 0
    inside = False
    for ch in s:
        if ch == " ":
            inside = False
        elif not inside:
            inside = True
            n += 1
    return n


@case(rows=SENTENCES)
def longest_word(s: str) -> str:
    best = ""
    for word in s.split(" "):
        if len(word) > len(best):
            best = word
    return best


@case(rows=SENTENCES)
def longest_word_max(s: str) -> int:
    return max((len(w) for w in s.split()), default=0)


@case(rows=SENTENCES)
def without_stop_words(s: str) -> str:
    return " ".join(w for w in s.lower().split() if w not in STOP_WORDS)


@case(rows=["Hello, World!", "  A -- b ", "Ünïcode"])
def slug(s: str) -> str:
    out = ""
    for ch in s.lower():
        if ch.isalnum():
            out += ch
        elif out and not out.endswith("-"):
            out += "-"
    return out.strip("-")


@case(rows=["Hello, World!", "a.b.c"], stays="re")
def slug_by_regex(s: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", s.lower()).strip("-")


@case(rows=SENTENCES)
def strip_punctuation(s: str) -> str:
    for p in PUNCTUATION:
        s = s.replace(p, "")
    return s


@case(rows=SENTENCES)
def strip_by_table(s: str) -> str:
    return s.translate(str.maketrans("", "", string.punctuation))


@case(rows=[("a long text to cut", 10), ("short", 10), ("", 3)], odd={"n": SMALL})
def truncate(s: str, n: int) -> str:
    if len(s) <= n:
        return s
    return s[: n - 3] + "..."


@case(rows=["leet speak", "xyz"])
def leet(s: str) -> str:
    return "".join([LEET.get(c, c) for c in s])


@case(rows=["abc", "", "äöü"])
def reverse(s: str) -> str:
    return s[::-1]


@case(rows=["hello world foo", "a"])
def reverse_words(s: str) -> str:
    return " ".join(reversed(s.split()))


@case(rows=["hello world", "a", ""])
def capitalize_words(s: str) -> str:
    words = s.split(" ")
    return " ".join([w[:1].upper() + w[1:] for w in words])


@case(rows=["key=value", "novalue", "a=b=c"])
def value_part(s: str) -> str | None:
    if "=" not in s:
        return None
    return s.split("=", 1)[1]


@case(rows=[("a|b|c", 1), ("a|b|c", 7), ("", 0)], odd={"i": SMALL})
def field(s: str, i: int) -> str | None:
    parts = s.split("|")
    if i < 0 or i >= len(parts):
        return None
    return parts[i]


@case(rows=[("a,b,c", 1), ("a,b,c", 2), ("a", 0)], odd={"i": SMALL})
def field_or_raise(s: str, i: int) -> str:
    return s.split(",")[i]


@case(rows=["http://example.com/a/b?x=1", "https://www.foo.org", "x"])
def host(url: str) -> str:
    start = url.find("://")
    start = 0 if start < 0 else start + 3
    end = url.find("/", start)
    if end < 0:
        end = len(url)
    name = url[start:end]
    if name.startswith("www."):
        name = name[4:]
    return name.lower()


@case(rows=["http://example.com/a/b?x=1&id=7", "x?id=8", "none"])
def query_id(url: str) -> int | None:
    at = url.find("id=")
    if at < 0:
        return None
    end = url.find("&", at)
    value = url[at + 3 :] if end < 0 else url[at + 3 : end]
    return int(value) if value.isdigit() else None


@case(rows=["a%20b", "x"], stays="urllib")
def unquote(s: str) -> str:
    return urllib.parse.unquote(s)


@case(rows=["secret", ""], stays="hashlib")
def digest(s: str) -> str:
    return hashlib.sha256(s.encode()).hexdigest()


@case(rows=["secret", ""], stays="base64")
def to_base64(s: str) -> str:
    return base64.b64encode(s.encode("utf-8")).decode("ascii")


@case(rows=["report.final.PDF", "noext", ".hidden"])
def extension(name: str) -> str:
    dot = name.rfind(".")
    if dot <= 0:
        return ""
    return name[dot + 1 :].lower()


@case(rows=["/usr/local/bin/python", "name", "/"])
def base_name(path: str) -> str:
    return path.rstrip("/").rpartition("/")[2]


@case(rows=[("Jane", 3), ("Bob", 1), ("X", 0)])
def greeting(name: str, n: int) -> str:
    return f"Hi {name}, you have {n} new message{'' if n == 1 else 's'}."


@case(rows=[("Widget", 3, 9.99), ("X", 100, 0.5)])
def receipt_line(item: str, n: int, price: float) -> str:
    return "%-12s %3d x %8.2f" % (item, n, price)


@case(rows=[("Widget", 3), ("X", 100)])
def label(item: str, n: int) -> str:
    return "{}-{:05d}".format(item.upper(), n)


@case(rows=[7, 0, -12])
def padded(n: int) -> str:
    return str(n).zfill(6)


@case(rows=[("x", 3), ("ab", 0)], odd={"n": SMALL})
def repeat(s: str, n: int) -> str:
    return s * n


@case(rows=[("banana", "a"), ("", "x"), ("abc", "")])
def count_of(s: str, what: str) -> int:
    return s.count(what)


@case(rows=["banana", "abc"])
def first_repeated(s: str) -> str | None:
    for i, ch in enumerate(s):
        if s.find(ch) < i:
            return ch
    return None


@case(rows=["banana", "abc", ""])
def distinct_letters(s: str) -> int:
    return len(set(s))


@case(rows=["banana", "abc", "zz"], stays="dict")
def most_common(s: str) -> str:
    counts = {}
    for ch in s:
        counts[ch] = counts.get(ch, 0) + 1
    return max(sorted(counts), key=counts.get) if counts else ""


@case(rows=["Mixed CASE text", "abc", "ABC"])
def upper_share(s: str) -> float:
    upper = sum(1 for c in s if c.isupper())
    return upper / len(s) if s else 0.0


@case(rows=["Mixed CASE", "abc"])
def swap_case(s: str) -> str:
    return s.swapcase()


@case(rows=["(a) note", "text (x) y", "none"])
def in_parentheses(s: str) -> str:
    start = s.index("(") if "(" in s else -1
    end = s.find(")", start)
    return s[start + 1 : end] if 0 <= start < end else ""


@case(rows=["yes", "no", "y"], raises=False)
def all_letters(s: str) -> bool:
    return all(c in string.ascii_letters for c in s)


@case(rows=["a1", "abc", ""])
def any_digit(s: str) -> bool:
    return any(c.isdigit() for c in s)


lambda_case("length", lambda s: len(s), [str], int, ["abc", "äöü", ""])
lambda_case("shout", lambda s: s.upper() + "!", [str], str, ["hi", ""])
lambda_case("second_last", lambda s: s[-2], [str], str, ["abc", "xy"])
lambda_case("tail", lambda s: s[1:], [str], str, ["abc", ""])
lambda_case("odd_letters", lambda s: s[::2], [str], str, ["abcdef", "äöü"])
lambda_case("hello", lambda s: f"Hello {s}", [str], str, ["world"])
lambda_case("comma_parts", lambda s: len(s.split(",")), [str], int, ["a,b", ""])
