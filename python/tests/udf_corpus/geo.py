"""Geography: distances, boxes, bearings, grids, coordinates as text.

Kinds drawn from the haversine examples in pandas optimization talks and PySpark UDF tutorials, taxi
and bike trip notebooks, and Numba's examples. The bodies are our own.
"""

import math
from math import asin, atan2, cos, degrees, radians, sin, sqrt

from udf_corpus import case, lambda_case

EARTH_KM = 6371.0088
CENTER = (40.7580, -73.9855)
BASE32 = "0123456789bcdefghjkmnpqrstuvwxyz"


@case(rows=[(52.52, 13.405, 48.8566, 2.3522), (0.0, 0.0, 0.0, 180.0), (1.0, 1.0, 1.0, 1.0)])
def haversine(lat1: float, lon1: float, lat2: float, lon2: float) -> float:
    lat1, lon1, lat2, lon2 = radians(lat1), radians(lon1), radians(lat2), radians(lon2)
    dlat = lat2 - lat1
    dlon = lon2 - lon1
    a = sin(dlat / 2) ** 2 + cos(lat1) * cos(lat2) * sin(dlon / 2) ** 2
    return 2 * EARTH_KM * asin(sqrt(a))


@case(rows=[(52.52, 13.405, 48.8566, 2.3522), (10.0, 20.0, 11.0, 21.0)])
def flat_distance(lat1: float, lon1: float, lat2: float, lon2: float) -> float:
    x = math.radians(lon2 - lon1) * math.cos(math.radians((lat1 + lat2) / 2))
    y = math.radians(lat2 - lat1)
    return math.hypot(x, y) * 6371


@case(rows=[(52.52, 13.405, 48.8566, 2.3522), (10.0, 20.0, 11.0, 21.0)])
def bearing(lat1: float, lon1: float, lat2: float, lon2: float) -> float:
    p1 = radians(lat1)
    p2 = radians(lat2)
    dl = radians(lon2 - lon1)
    y = sin(dl) * cos(p2)
    x = cos(p1) * sin(p2) - sin(p1) * cos(p2) * cos(dl)
    return (degrees(atan2(y, x)) + 360) % 360


@case(rows=[0.0, 44.0, 359.0, 180.0, -20.0])
def compass(angle: float) -> str:
    names = ("N", "NE", "E", "SE", "S", "SW", "W", "NW")
    return names[int((angle % 360 + 22.5) // 45) % 8]


@case(rows=[(40.7, -74.0), (0.0, 0.0), (41.0, -73.5)])
def in_box(lat: float, lon: float) -> bool:
    return 40.5 <= lat <= 41.0 and -74.3 < lon < -73.7


@case(rows=[(40.7, -74.0), (91.0, 0.0), (0.0, 181.0)])
def valid_point(lat: float, lon: float) -> bool:
    if math.isnan(lat) or math.isnan(lon):
        return False
    return abs(lat) <= 90 and abs(lon) <= 180


@case(rows=[(40.7, -74.0), (40.758, -73.9855)])
def blocks_from_center(lat: float, lon: float) -> int:
    north = abs(lat - CENTER[0]) * 111_000
    east = abs(lon - CENTER[1]) * 84_000
    return round((north + east) / 80)


@case(rows=["40°26'46\"N", "79°58'56\"W", "0°0'0\"S"])
def dms_to_degrees(s: str) -> float:
    deg, _, rest = s.partition("°")
    minutes, _, rest = rest.partition("'")
    seconds, _, side = rest.partition('"')
    value = int(deg) + int(minutes) / 60 + float(seconds) / 3600
    return -value if side in ("S", "W") else value


@case(rows=[40.446, -79.982, 0.0])
def degrees_to_dms(x: float) -> str:
    sign = "-" if x < 0 else ""
    x = abs(x)
    d = int(x)
    m = int((x - d) * 60)
    s = (x - d - m / 60) * 3600
    return f"{sign}{d}°{m:02d}'{s:04.1f}\""


@case(rows=["POINT (1.5 2.5)", "POINT (-73.9 40.7)"])
def wkt_x(s: str) -> float:
    return float(s[s.index("(") + 1 : s.index(" ", 7)])


@case(rows=["40.7,-74.0", "1, 2", "x"])
def lat_of_pair(s: str) -> float | None:
    comma = s.find(",")
    if comma < 0:
        return None
    return float(s[:comma])


@case(rows=[(40.7, -74.0), (-33.9, 151.2)])
def geohash3(lat: float, lon: float) -> str:
    lat_low, lat_high = -90.0, 90.0
    lon_low, lon_high = -180.0, 180.0
    out = ""
    bits = 0
    value = 0
    even = True
    while len(out) < 3:
        if even:
            mid = (lon_low + lon_high) / 2
            if lon > mid:
                value = value * 2 + 1
                lon_low = mid
            else:
                value = value * 2
                lon_high = mid
        else:
            mid = (lat_low + lat_high) / 2
            if lat > mid:
                value = value * 2 + 1
                lat_low = mid
            else:
                value = value * 2
                lat_high = mid
        even = not even
        bits += 1
        if bits == 5:
            out += BASE32[value]
            bits = 0
            value = 0
    return out


@case(rows=[(40.7, -74.0), (-33.9, 151.2)])
def utm_zone(lat: float, lon: float) -> int:
    if 56 <= lat < 64 and 3 <= lon < 12:
        return 32
    return int((lon + 180) / 6) % 60 + 1


@case(rows=[(40.7, 12), (0.0, 0), (-85.0, 5)], odd={"zoom": [None, 0, 1, 5, 12, 18, -1, 22]})
def tile_y(lat: float, zoom: int) -> int:
    n = 2**zoom
    r = math.radians(lat)
    return int((1.0 - math.log(math.tan(r) + 1 / math.cos(r)) / math.pi) / 2.0 * n)


@case(rows=[(0.0, 0.0, 10.0), (3.0, 4.0, 5.0), (3.0, 4.01, 5.0)])
def in_circle(x: float, y: float, r: float) -> bool:
    return x * x + y * y <= r * r


@case(rows=[(0.5, 0.5), (2.0, 0.1), (0.1, 0.9)])
def in_triangle(x: float, y: float) -> bool:
    inside = False
    corners = ((0.0, 0.0), (1.0, 0.0), (0.0, 1.0))
    for i in range(3):
        x1, y1 = corners[i]
        x2, y2 = corners[(i + 1) % 3]
        if (y1 > y) != (y2 > y) and x < (x2 - x1) * (y - y1) / (y2 - y1) + x1:
            inside = not inside
    return inside


@case(rows=[(0, 0, 3, 4), (1, -1, -1, 1)])
def manhattan(x1: int, y1: int, x2: int, y2: int) -> int:
    return abs(x1 - x2) + abs(y1 - y2)


@case(rows=[(0, 0, 3, 4), (1, -1, -1, 1)])
def chebyshev(x1: int, y1: int, x2: int, y2: int) -> int:
    return max(abs(x1 - x2), abs(y1 - y2))


@case(rows=[(-73.99, 40.75), (0.0, 0.0)])
def borough(lon: float, lat: float) -> str | None:
    if lon == 0 and lat == 0:
        return None
    if lon < -74.05:
        return "Staten Island"
    if lat > 40.8:
        return "Bronx"
    if lon < -73.93:
        return "Manhattan" if lat > 40.7 else "Brooklyn"
    return "Queens"


@case(rows=[(12.0, 30.0), (0.0, 10.0), (5.0, 0.0)])
def speed_kmh(km: float, minutes: float) -> float | None:
    if minutes <= 0:
        return None
    speed = km / (minutes / 60)
    return None if speed > 150 else speed


@case(rows=[370.0, -190.0, 180.0, 45.0])
def wrap_longitude(lon: float) -> float:
    return (lon + 180.0) % 360.0 - 180.0


@case(rows=[(45.0, 23.4), (0.0, 0.0), (80.0, 23.4)])
def day_length(lat: float, declination: float) -> float:
    c = -math.tan(math.radians(lat)) * math.tan(math.radians(declination))
    if c <= -1:
        return 24.0
    if c >= 1:
        return 0.0
    return 24 / math.pi * math.acos(c)


lambda_case("to_radians", lambda d: d * math.pi / 180, [float], float, [180.0, 45.0])
lambda_case("north", lambda lat: lat > 0, [float], bool, [1.0, -1.0])
