"""Flights, trips, web logs, service requests: the columns of public data sets, cleaned row by row.

Kinds drawn from Tuplex's flights, logs and 311 benchmarks (codes of cancellations, filling of delays
that depend on other columns, airports and carriers out of descriptions, splitting of log lines) and
taxi and bike trip notebooks. The bodies are our own.
"""

import os
import re

from udf_corpus import case, lambda_case

CANCEL_CODES = {"A": "carrier", "B": "weather", "C": "national air system", "D": "security"}
HUBS = ["ATL", "ORD", "DFW", "DEN", "JFK"]
LEVELS = {"DEBUG": 10, "INFO": 20, "WARN": 30, "WARNING": 30, "ERROR": 40, "FATAL": 50}
LINE = '127.0.0.1 - - [10/Oct/2024:13:55:36 -0700] "GET /index.html HTTP/1.1" 200 2326'
LINES = [LINE, '10.0.0.7 - bob [01/Jan/2024:00:00:00 +0000] "POST /api/v1?x=1 HTTP/2" 404 -']


@case(rows=["A", "B", "X", ""])
def cancel_reason(code: str) -> str | None:
    if code in CANCEL_CODES:
        return CANCEL_CODES[code]
    if code == "":
        return None
    return "other"


@case(rows=["Boston, MA: Logan International", "Denver, CO: Denver International", "x"])
def airport_city(text: str) -> str:
    return text[: text.rfind(",")].strip()


@case(rows=["Boston, MA: Logan International", "Denver, CO: Denver International", "none"])
def airport_state(text: str) -> str | None:
    comma = text.rfind(",")
    colon = text.rfind(":")
    if comma < 0 or colon < comma:
        return None
    return text[comma + 1 : colon].strip()


@case(rows=["Delta Air Lines Inc. (1983 - )", "Pan Am (1927 - 1991)", "Nobody"])
def defunct_year(description: str) -> int | None:
    start = description.rfind("(")
    if start < 0:
        return None
    text = description[start + 1 : description.rfind(")")].strip()
    if text.endswith("-"):
        return None
    dash = text.find("-")
    return int(text[dash + 1 :].strip())


@case(rows=["Delta Air Lines Inc.: DL", "United: UA"])
def carrier_code(text: str) -> str:
    return text.split(":")[-1].strip()


@case(rows=[(10, 0, None), (25, None, 5), (None, None, None), (-3, 1, 1)])
def weather_share(arrival: int | None, weather: int | None, carrier: int | None) -> float | None:
    if arrival is None or arrival <= 0:
        return None
    known = (weather or 0) + (carrier or 0)
    if known == 0:
        return 0.0
    return (weather or 0) / known


@case(rows=[(5, 20), (None, 20), (70, None)])
def total_delay(departure: int | None, arrival: int | None) -> int:
    d = departure if departure is not None else 0
    a = arrival if arrival is not None else d
    return max(d, a, 0)


@case(rows=[(0.0, 120.0, 1), (30.0, None, 0), (None, None, 1)])
def elapsed(actual: float | None, diverted: float | None, flag: int) -> float | None:
    if flag == 1:
        return diverted if diverted else actual
    return actual


@case(rows=["ATL", "BOS", "jfk"])
def is_hub(code: str) -> bool:
    return code.upper() in HUBS


@case(rows=[-5, 0, 16, 61, 500])
def delay_class(minutes: int) -> str:
    if minutes <= 0:
        return "on time"
    elif minutes <= 15:
        return "minor"
    elif minutes < 60:
        return "late"
    return "very late"


@case(rows=[(2475, 330), (100, 90)])
def mph(miles: int, minutes: int) -> float:
    return miles * 60 / minutes


@case(rows=["N12345", "N1", "X9"])
def tail_number_ok(tail: str) -> bool:
    return tail.startswith("N") and 2 <= len(tail) <= 6 and tail[1].isdigit() and tail[1] != "0"


@case(rows=LINES)
def log_ip(line: str) -> str:
    return line[: line.find(" ")]


@case(rows=LINES)
def log_status(line: str) -> int | None:
    quote = line.rfind('"')
    rest = line[quote + 1 :].split()
    if len(rest) < 2 or not rest[0].isdigit():
        return None
    return int(rest[0])


@case(rows=LINES)
def log_method(line: str) -> str:
    start = line.index('"') + 1
    return line[start : line.index(" ", start)]


@case(rows=LINES)
def log_path(line: str) -> str | None:
    parts = line.split('"')
    if len(parts) < 3:
        return None
    words = parts[1].split(" ")
    if len(words) != 3:
        return None
    path = words[1]
    q = path.find("?")
    return path if q < 0 else path[:q]


@case(rows=LINES)
def log_bytes(line: str) -> int:
    last = line.split(" ")[-1]
    return 0 if last == "-" else int(last)


@case(rows=LINES)
def log_hour(line: str) -> int:
    colon = line.index(":", line.index("["))
    return int(line[colon + 1 : colon + 3])


@case(rows=LINES, stays="re")
def log_by_regex(line: str) -> str | None:
    m = re.match(r'^(\S+) \S+ (\S+) \[([^\]]+)\] "(\w+)', line)
    return m.group(2) if m else None


@case(rows=[200, 301, 404, 503, 99])
def status_class(code: int) -> str:
    match code // 100:
        case 2:
            return "ok"
        case 3:
            return "redirect"
        case 4 | 5:
            return "error"
        case _:
            return "odd"


@case(rows=["ERROR", "warn", "x"])
def level_number(level: str) -> int:
    return LEVELS.get(level.upper(), 0)


@case(rows=["Mozilla/5.0 (iPhone) Mobile Safari", "curl/8.0", "Googlebot/2.1", "Chrome"])
def agent_kind(agent: str) -> str:
    a = agent.lower()
    if "bot" in a or "spider" in a or a.startswith("curl"):
        return "bot"
    if "mobile" in a or "iphone" in a or "android" in a:
        return "mobile"
    return "desktop"


@case(rows=[(2.5, 12.0, 1), (0.0, 300.0, 5)])
def valid_trip(miles: float, fare: float, passengers: int) -> bool:
    return 0.1 < miles < 100 and 2.5 <= fare <= 500 and passengers in range(1, 7)


@case(rows=[(10.0, 2.0), (0.0, 1.0)])
def tip_percent(fare: float, tip: float) -> float | None:
    return None if fare <= 0 else round(100 * tip / fare, 1)


@case(rows=["Noise - Residential", "HEAT/HOT WATER", "Illegal Parking", "noise"])
def complaint_group(text: str) -> str:
    head = text.split(" - ")[0].split("/")[0]
    head = head.strip().lower()
    if head in ("noise", "heat", "illegal parking"):
        return head
    return "other"


@case(rows=["/tmp/nothing", ""], stays="os")
def file_there(path: str) -> bool:
    return os.path.exists("/nonexistent/" + path.replace("\x00", ""))


lambda_case("is_error", lambda s: s >= 500, [int], bool, [200, 503])
lambda_case("airport", lambda s: s[:3].upper(), [str], str, ["bos-lax", "x"])
