"""Fuzzy rules: similarity of strings, phonetic codes, matching with tolerance, rules on many columns.

Kinds drawn from record linkage UDFs (Levenshtein, Jaccard, Soundex, initials) in PySpark and DuckDB
articles, and rule based matching in pandas notebooks. The bodies are our own.
"""

import difflib

from udf_corpus import case, lambda_case

PAIRS = [("kitten", "sitting"), ("abc", "abc"), ("", "abc"), ("Main St", "Main Street")]
SOUNDEX = {
    **dict.fromkeys("BFPV", "1"),
    **dict.fromkeys("CGJKQSXZ", "2"),
    **dict.fromkeys("DT", "3"),
    "L": "4",
    **dict.fromkeys("MN", "5"),
    "R": "6",
}
SYNONYMS = {"corp": "corporation", "inc": "incorporated", "co": "company", "ltd": "limited"}


@case(rows=PAIRS)
def levenshtein(a: str, b: str) -> int:
    if len(a) < len(b):
        a, b = b, a
    row = list(range(len(b) + 1))
    for i, ca in enumerate(a):
        new = [i + 1]
        for j, cb in enumerate(b):
            new.append(min(row[j + 1] + 1, new[j] + 1, row[j] + (ca != cb)))
        row = new
    return row[-1]


@case(rows=PAIRS)
def hamming(a: str, b: str) -> int:
    if len(a) != len(b):
        return -1
    n = 0
    for i in range(len(a)):
        if a[i] != b[i]:
            n += 1
    return n


@case(rows=PAIRS)
def hamming_zip(a: str, b: str) -> int:
    return sum(x != y for x, y in zip(a, b)) + abs(len(a) - len(b))


@case(rows=PAIRS)
def jaccard_letters(a: str, b: str) -> float:
    x, y = set(a.lower()), set(b.lower())
    if not x and not y:
        return 1.0
    return len(x & y) / len(x | y)


@case(rows=PAIRS)
def common_prefix(a: str, b: str) -> int:
    n = 0
    limit = min(len(a), len(b))
    while n < limit and a[n] == b[n]:
        n += 1
    return n


@case(rows=PAIRS)
def common_suffix(a: str, b: str) -> str:
    n = 0
    while n < len(a) and n < len(b) and a[-1 - n] == b[-1 - n]:
        n += 1
    return a[len(a) - n :]


@case(rows=PAIRS)
def is_subsequence(a: str, b: str) -> bool:
    i = 0
    for ch in b:
        if i < len(a) and a[i] == ch:
            i += 1
    return i == len(a)


@case(rows=PAIRS, stays="difflib")
def ratio(a: str, b: str) -> float:
    return difflib.SequenceMatcher(None, a, b).ratio()


@case(rows=["Robert", "Rupert", "Tymczak", "Ashcraft", "lee"])
def soundex(name: str) -> str:
    name = name.upper()
    if not name or not ("A" <= name[0] <= "Z"):
        return ""
    out = name[0]
    last = SOUNDEX.get(name[0], "")
    for ch in name[1:]:
        code = SOUNDEX.get(ch, "")
        if code and code != last:
            out += code
            if len(out) == 4:
                break
        if ch not in "HW":
            last = code
    return out.ljust(4, "0")


@case(rows=["John Ronald Tolkien", "x", " a  b "])
def initials(name: str) -> str:
    out = ""
    for word in name.split():
        out += word[0].upper() + "."
    return out


@case(rows=["ACME Corp.", "Foo Inc", "Bar Co", "Baz"])
def company_key(name: str) -> str:
    name = name.lower().replace(".", "").replace(",", "").strip()
    cut = name.rfind(" ")
    if cut > 0:
        tail = name[cut + 1 :]
        name = name[: cut + 1] + SYNONYMS.get(tail, tail)
    return name.replace(" ", "-")


@case(rows=["The Beatles", "A Tale", "an hour", "Theory"])
def sort_title(title: str) -> str:
    for article in ("the ", "a ", "an "):
        if title.lower().startswith(article):
            n = len(article)
            return title[n:] + ", " + title[: n - 1]
    return title


@case(rows=[(1.0, 1.0000001), (5.0, 6.0), (0.0, 0.0)])
def about_equal(a: float, b: float) -> bool:
    return abs(a - b) <= 1e-6 * max(abs(a), abs(b), 1.0)


@case(rows=[(100.0, 103.0), (100.0, 90.0), (0.0, 0.0)])
def within_five_percent(expected: float, actual: float) -> bool:
    if expected == 0:
        return actual == 0
    return 0.95 <= actual / expected <= 1.05


@case(rows=[("Jane Doe", "jane@x.org", "J. Doe", "jane@x.org"), ("A", None, "B", None)])
def match_score(n1: str | None, e1: str | None, n2: str | None, e2: str | None) -> int:
    score = 0
    if e1 is not None and e2 is not None and e1.lower() == e2.lower():
        score += 50
    if n1 and n2:
        if n1.lower() == n2.lower():
            score += 40
        elif n1[0] == n2[0] and n1.split()[-1] == n2.split()[-1]:
            score += 25
    return score


@case(rows=["night", "ab", "a", "mississippi"])
def bigrams(s: str) -> int:
    seen = set()
    for i in range(len(s) - 1):
        seen.add(s[i : i + 2])
    return len(seen)


@case(rows=["listen", "Silent", "ab ba"])
def anagram_key(s: str) -> str:
    return "".join(sorted(s.lower().replace(" ", "")))


@case(rows=[(20.0, 0.1), (35.0, 0.9), (27.0, 0.5)])
def fuzzy_comfort(t: float, humidity: float) -> float:
    cold = 1.0 if t <= 15 else 0.0 if t >= 22 else (22 - t) / 7
    hot = 0.0 if t <= 24 else 1.0 if t >= 32 else (t - 24) / 8
    damp = min(max((humidity - 0.4) / 0.4, 0.0), 1.0)
    return 1.0 - max(cold, hot * 0.7 + min(hot, damp) * 0.3)


@case(rows=[5.0, 15.0, 25.0, 50.0])
def triangle_membership(x: float) -> float:
    a, b, c = 10.0, 20.0, 30.0
    if x <= a or x >= c:
        return 0.0
    if x <= b:
        return (x - a) / (b - a)
    return (c - x) / (c - b)


@case(rows=[("abcdef", "abc"), ("x", "xyz"), ("", "")])
def contains_either(a: str, b: str) -> bool:
    return a in b or b in a


@case(rows=[("color", "colour"), ("center", "centre"), ("a", "b")])
def same_spelling(a: str, b: str) -> bool:
    def normal(s):
        return s.lower().replace("ou", "o").replace("tre", "ter")

    return normal(a) == normal(b)


@case(rows=["Straße", "Müller", "Ångström", "abc"])
def fold_german(s: str) -> str:
    for a, b in (("ä", "ae"), ("ö", "oe"), ("ü", "ue"), ("ß", "ss")):
        s = s.replace(a, b)
    return s


@case(rows=["Straße", "Müller"], stays="unicodedata")
def strip_accents(s: str) -> str:
    import unicodedata

    return "".join(c for c in unicodedata.normalize("NFD", s) if not unicodedata.combining(c))


lambda_case("same_start", lambda a, b: a[:3] == b[:3], [str, str], bool, PAIRS)
lambda_case(
    "shorter",
    lambda a, b: a if len(a) <= len(b) else b,
    [str, str],
    str,
    PAIRS,
)
