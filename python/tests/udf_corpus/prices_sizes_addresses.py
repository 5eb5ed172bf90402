"""Prices, sizes and addresses out of free text, as on listing pages and in service requests.

Kinds drawn from Tuplex's zillow benchmarks (benchmarks/dirty_zillow, benchmarks/distributed/zillow:
find, rfind, slices, int of what is left) and its 311 pipeline, and address and price cleaning in
pandas tutorials. The bodies are our own.
"""

import re

from udf_corpus import case, lambda_case

STREET_TYPES = {"st": "Street", "ave": "Avenue", "rd": "Road", "blvd": "Boulevard", "dr": "Drive"}
STATES = {"massachusetts": "MA", "new york": "NY", "texas": "TX", "california": "CA"}
CURRENCIES = {"$": "USD", "€": "EUR", "£": "GBP", "¥": "JPY"}

FACTS = [
    "3 bds , 2.5 ba , 1,560 sqft",
    "2 bds , 1 ba , 900 sqft",
    "Studio , 1 ba , -- sqft",
    "4 bds , 3 ba , 12,000 sqft",
    "1 bd",
]


@case(rows=FACTS)
def bedrooms(facts: str) -> int | None:
    at = facts.find(" bd")
    if at < 0:
        return 0 if "Studio" in facts else None
    start = facts.rfind(",", 0, at)
    return int(facts[start + 1 : at].strip())


@case(rows=FACTS[:4])
def bathrooms(facts: str) -> float:
    at = facts.find(" ba")
    if at < 0:
        return 0.0
    head = facts[:at]
    comma = head.rfind(",")
    if comma >= 0:
        head = head[comma + 1 :]
    return float(head)


@case(rows=FACTS)
def square_feet(facts: str) -> int | None:
    end = facts.find(" sqft")
    if end == -1:
        return None
    text = facts[:end].split(" , ")[-1].replace(",", "").strip()
    if not text.isdigit():
        return None
    return int(text)


@case(rows=["House For Sale", "Condo for rent", "Foreclosure auction", "Sold: house", "Lot"])
def offer_type(title: str) -> str:
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


@case(rows=["House For Sale", "Condo for rent", "apartment", "New construction", "Townhouse"])
def home_type(title: str) -> str:
    t = title.lower()
    kind = "unknown"
    if "condo" in t or "apartment" in t:
        kind = "condo"
    if "townhouse" in t:
        kind = "townhouse"
    elif "house" in t or "home" in t:
        kind = "house"
    return kind


@case(rows=["$395,000", "$1,200/mo", "$2.5M", "$850K", "--"])
def price(s: str) -> int | None:
    s = s.strip()
    if not s.startswith("$"):
        return None
    s = s[1:].replace(",", "")
    slash = s.find("/")
    if slash >= 0:
        s = s[:slash]
    factor = 1
    if s[-1:] in ("M", "m"):
        factor = 1_000_000
        s = s[:-1]
    elif s[-1:] in ("K", "k"):
        factor = 1000
        s = s[:-1]
    return int(float(s) * factor)


@case(rows=[("$1,200", "rent"), ("$395,000", "sale"), ("$0", "sold")])
def monthly_cost(text: str, offer: str) -> float:
    amount = float(text.lstrip("$").replace(",", ""))
    if offer == "rent":
        return amount
    rate = 0.05 / 12
    return round(amount * rate / (1 - (1 + rate) ** -360), 2)


@case(rows=[(395000, 1560), (1200, 0), (10, 3)])
def price_per_sqft(price: int, sqft: int) -> float | None:
    if sqft <= 0:
        return None
    return round(price / sqft, 2)


@case(rows=["$12.50", "€7,99", "£3", "100"])
def currency_of(s: str) -> str:
    for sign, code in CURRENCIES.items():
        if sign in s:
            return code
    return "???"


@case(rows=["1.234,56 €", "12,00", "7 €", "1.000.000,5"])
def parse_euro(s: str) -> float:
    s = s.replace("€", "").strip()
    s = s.replace(".", "").replace(",", ".")
    return float(s)


@case(rows=["12 Main St", "99 Ocean ave.", "1 Broadway", "5 Elm Rd"])
def expand_street(address: str) -> str:
    head, space, last = address.rpartition(" ")
    if not space:
        return address
    full = STREET_TYPES.get(last.lower().rstrip("."), last)
    return head + " " + full


@case(rows=["12 Main St", "12B Main St", "Main St", "1-3 Elm"])
def house_number(address: str) -> int | None:
    number = 0
    seen = 0
    for ch in address.strip():
        if not ("0" <= ch <= "9"):
            break
        number = number * 10 + (ord(ch) - 48)
        seen += 1
        if seen > 9:
            return None
    return number if seen else None


@case(rows=["Boston, MA 02139", "New York, NY", "Austin, TX 78701-1234", "x"])
def zip_of(address: str) -> str | None:
    last = address.strip().split(" ")[-1]
    if len(last) >= 5 and last[:5].isdigit():
        return last[:5]
    return None


@case(rows=["Boston, MA 02139", "New York, NY 10001"])
def city_of(address: str) -> str:
    return address.split(",")[0].strip()


@case(rows=["Boston, MA 02139", "New York, NY 10001"], raises=False)
def state_of(address: str) -> str:
    return address.split(",")[1].split()[0]


@case(rows=["Massachusetts", " new york ", "MA", "Ohio"])
def state_code(state: str) -> str | None:
    s = state.strip()
    if len(s) == 2 and s.isalpha():
        return s.upper()
    key = s.lower()
    if key in STATES:
        return STATES[key]
    return None


@case(rows=["12 Main St Apt 4B", "9 Elm St #12", "1 Pine", "Unit 7, 3 Oak Rd"], stays="re")
def unit_number(address: str) -> str | None:
    found = re.search(r"(?:apt|unit|#)\s*(\w+)", address, re.IGNORECASE)
    return found.group(1) if found else None


@case(rows=["10x20", "3.5 x 4", "7", "axb"], raises=True)
def area_of(s: str) -> float:
    width, height = s.lower().split("x")
    return float(width) * float(height)


@case(rows=["S", "XL", "xxl", "M", "42", "3XL"])
def shirt_order(size: str) -> int:
    size = size.upper()
    if size == "S":
        return 1
    if size == "M":
        return 2
    if size.endswith("L"):
        extra = size[:-1]
        if extra == "":
            return 3
        if extra.isdigit():
            return 0
        return 3 + len(extra)
    return 0


@case(rows=["EU 42", "US 9.5", "UK 8", "42"])
def shoe_to_eu(s: str) -> float | None:
    system, _, number = s.partition(" ")
    if number == "":
        return None
    size = float(number)
    if system == "EU":
        return size
    elif system == "US":
        return size + 33
    elif system == "UK":
        return size + 33.5
    return None


@case(rows=["500 g", "1kg", "0.25 kg", "12 oz"])
def grams(s: str) -> float | None:
    s = s.strip().lower()
    if s.endswith("kg"):
        return float(s[:-2]) * 1000
    if s.endswith("g"):
        return float(s[:-1])
    if s.endswith("oz"):
        return float(s[:-2]) * 28.35
    return None


@case(rows=["6 x 0.33 l", "1 x 1.5 l", "24 x 0.5 l"])
def pack_volume(s: str) -> float:
    count, _, rest = s.partition(" x ")
    return int(count) * float(rest.split(" ")[0])


@case(rows=[("12", "Main St", None, "Boston"), ("1", "Elm", "4B", "Austin")])
def format_address(number: str, street: str, unit: str | None, city: str) -> str:
    line = f"{number} {street}"
    if unit:
        line += f" #{unit}"
    return f"{line}, {city}"


@case(rows=["$5-$10", "$7", "$100-$250"])
def mid_price(s: str) -> float:
    s = s.replace("$", "")
    if "-" in s:
        low, high = s.split("-", 1)
        return (float(low) + float(high)) / 2
    return float(s)


@case(rows=[(19.99, 20), (5.0, 0), (3.333, 15)])
def discounted(price: float, percent: int) -> str:
    return f"${price * (100 - percent) / 100:.2f}"


@case(rows=[4.2, 4.99, 10.0, 0.01])
def charm_price(x: float) -> float:
    whole = int(x)
    return whole + 0.99 if x > whole else float(whole)


lambda_case("no_commas", lambda s: int(s.replace(",", "")), [str], int, ["1,560", "12,000", "7"])
lambda_case("is_rental", lambda s: s.endswith("/mo"), [str], bool, ["$1,200/mo", "$395,000"])
