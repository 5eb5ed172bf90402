"""Data cleaning: names, phone numbers, flags, codes, missing values.

Kinds drawn from the tutorials of pandas' `apply` and PySpark's `udf` (cleaning of phone numbers,
names, yes/no columns), DataPrep's `clean_*` functions, and the cleaning stages of Tuplex's 311 and
flights pipelines (benchmarks/311, benchmarks/flights). The bodies are our own.
"""

import re

from udf_corpus import case, lambda_case

MISSING = {"", "n/a", "na", "none", "null", "-", "?", "unknown"}
TRUE_WORDS = ("y", "yes", "true", "t", "1", "on")
FALSE_WORDS = ("n", "no", "false", "f", "0", "off")
TITLES = {"mr": "Mr", "mrs": "Mrs", "ms": "Ms", "dr": "Dr", "prof": "Prof"}
COUNTRIES = {
    "usa": "US",
    "u.s.": "US",
    "united states": "US",
    "germany": "DE",
    "deutschland": "DE",
    "uk": "GB",
    "great britain": "GB",
    "france": "FR",
}


@case(rows=["  Hello ", "N/A", "null", "x", "None ", "unknown", "-"])
def blank_to_none(s: str) -> str | None:
    value = s.strip()
    if value.lower() in MISSING:
        return None
    return value


@case(rows=["yes", "No", " TRUE ", "0", "off", "maybe", "Y"])
def parse_flag(s: str) -> bool | None:
    word = s.strip().lower()
    if word in TRUE_WORDS:
        return True
    if word in FALSE_WORDS:
        return False
    return None


@case(rows=["555-123-4567", "(555) 123 4567", "+1 555 123 4567", "123", "555.123.4567"])
def normalize_phone(phone: str) -> str:
    digits = ""
    for ch in phone:
        if "0" <= ch <= "9":
            digits += ch
    if len(digits) == 11 and digits[0] == "1":
        digits = digits[1:]
    if len(digits) != 10:
        return "invalid"
    return "(" + digits[:3] + ") " + digits[3:6] + "-" + digits[6:]


@case(rows=["(555) 123-4567", "1-800-555-0199", "none"])
def only_digits(s: str) -> str:
    return "".join(c for c in s if c.isdigit())


@case(rows=["02139", "2139", "02139-1234", "2139.0", " 10001 ", "abc"])
def fix_zip(s: str) -> str | None:
    s = s.strip()
    if s.endswith(".0"):
        s = s[:-2]
    dash = s.find("-")
    if dash >= 0:
        s = s[:dash]
    if not s.isdigit() or len(s) > 5:
        return None
    return s.zfill(5)


@case(rows=["DOE, JANE", "Smith, John", "Cher", "van Gogh, Vincent"])
def first_name(full: str) -> str:
    comma = full.find(",")
    if comma < 0:
        return full.strip()
    return full[comma + 1 :].strip().capitalize()


@case(rows=["jane doe", "JOHN SMITH", "o'neill", "mary  ann"])
def title_case_name(name: str) -> str:
    return name.strip().title()


@case(rows=["Mr. John Smith", "dr jane doe", "Jane", "Prof. X"])
def salutation(name: str) -> str:
    parts = name.split()
    if len(parts) < 2:
        return ""
    key = parts[0].lower().rstrip(".")
    return TITLES.get(key, "")


@case(rows=["USA", "Germany", " uk ", "Narnia", "U.S."])
def country_code(country: str) -> str:
    return COUNTRIES.get(country.strip().lower(), "XX")


@case(rows=["a  b   c", " x ", "one two"])
def squeeze_spaces(s: str) -> str:
    return " ".join(s.split())


@case(rows=["a  b   c", " x ", "one    two", "    "])
def squeeze_spaces_by_hand(s: str) -> str:
    s = s.strip()
    while "  " in s:
        s = s.replace("  ", " ")
    return s


@case(rows=["Jane.Doe@Example.COM ", "no at", "a@b", "two@@x.org"])
def clean_email(email: str) -> str | None:
    email = email.strip().lower()
    if email.count("@") != 1:
        return None
    user, _, domain = email.partition("@")
    if not user or "." not in domain:
        return None
    return user + "@" + domain


@case(rows=["jane@example.com", "bad", "x@sub.example.org"])
def email_domain(email: str) -> str | None:
    at = email.rfind("@")
    return None if at == -1 else email[at + 1 :]


@case(rows=[("Jane", "Q", "Doe"), ("John", None, "Smith"), ("Cher", None, None)])
def full_name(first: str | None, middle: str | None, last: str | None) -> str:
    result = ""
    for part in (first, middle, last):
        if part is not None and part != "":
            if result:
                result += " "
            result += part
    return result


@case(rows=[(3, 5), (None, 5), (None, None), (0, 9)])
def coalesce_int(a: int | None, b: int | None) -> int:
    if a is not None:
        return a
    return b if b is not None else -1


@case(rows=[(None, "x"), ("", "x"), ("a", "x")])
def first_truthy(a: str | None, b: str) -> str:
    return a or b


@case(rows=["$1,234.50", "12", "(45.10)", "-3.2"])
def to_number(s: str) -> float:
    s = s.strip().replace("$", "").replace(",", "")
    if s.startswith("(") and s.endswith(")"):
        return -float(s[1:-1])
    return float(s)


@case(rows=["12", "x", "3.5", ""])
def to_float_or_none(s: str) -> float | None:
    try:
        return float(s)
    except ValueError:
        return None


@case(rows=["12", "12abc", "-7", "+9", ""])
def safe_int(s: str) -> int:
    try:
        return int(s)
    except (ValueError, TypeError):
        return -1


@case(rows=["abc-123", "Order #77 (x2)", "none"], stays="re")
def digits_by_regex(s: str) -> str:
    return re.sub(r"\D+", "", s)


@case(rows=["12", "-12", "+5", "1.5", ""])
def looks_like_int(s: str) -> bool:
    if s[:1] in ("+", "-"):
        s = s[1:]
    return s != "" and s.isdigit()


@case(rows=["12.5", "-1", "1.2.3", ".", "abc"])
def looks_like_number(s: str) -> bool:
    dots = 0
    digits = 0
    for i, ch in enumerate(s):
        if ch == ".":
            dots += 1
        elif ch.isdigit():
            digits += 1
        elif not (ch in "+-" and i == 0):
            return False
    return digits > 0 and dots <= 1


@case(rows=[-999, 0, 17, -1, 9999])
def sentinel_to_none(x: int) -> int | None:
    return None if x in (-999, -1, 9999) else x


@case(rows=[1.0, -9999.0, 0.0, 55.5])
def clean_reading(x: float) -> float | None:
    if x != x or x <= -9000.0:
        return None
    return round(x, 2)


@case(rows=["M", "female", "F", "male ", "other", ""])
def gender_code(s: str) -> int:
    s = s.strip().upper()
    if s == "M" or s == "MALE":
        return 1
    elif s == "F" or s == "FEMALE":
        return 2
    elif s == "":
        return 0
    else:
        return 9


@case(rows=["ABC-00123", "X-1", "none", "LONG-99-7"])
def product_number(code: str) -> int:
    dash = code.rfind("-")
    tail = code[dash + 1 :].lstrip("0")
    if not tail.isdigit():
        return 0
    return int(tail)


@case(rows=["4111 1111 1111 1111", "5500-0000", "1"])
def mask_card(number: str) -> str:
    plain = number.replace(" ", "").replace("-", "")
    if len(plain) <= 4:
        return "*" * len(plain)
    return "*" * (len(plain) - 4) + plain[-4:]


lambda_case("strip_lower", lambda s: s.strip().lower(), [str], str, ["  Abc ", "X", "ÄÖ"])
lambda_case("none_to_zero", lambda x: 0 if x is None else x, [int | None], int, [1, None, 7])
lambda_case(
    "fill_unknown",
    lambda s: s if s is not None and s.strip() else "unknown",
    [str | None],
    str,
    ["x", None, "  "],
)
