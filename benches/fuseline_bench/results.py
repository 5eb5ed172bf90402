"""What a suite was asked for and what it found: one JSON file a suite, as `benches/src/results.rs` has it.

The file is written anew after every cell, so a run that is interrupted keeps what it had; `complete` says
whether it came to its end. Times are all there as measured: medians, spreads and verdicts are the report's.
"""

import importlib.metadata
import json
import platform
import shutil
import subprocess
import sys

PACKAGES = [
    "fuseline",
    "duckdb",
    "polars",
    "datafusion",
    "pyspark",
    "pandas",
    "numpy",
    "pyarrow",
    "numba",
    "cloudpickle",
]


def versions():
    """What is installed of ours and of the peers'."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    if java := shutil.which("java"):
        done = subprocess.run([java, "-version"], check=False, capture_output=True, text=True)
        if done.stderr:
            found["java"] = done.stderr.splitlines()[0].split('"')[1]
    return found


class Results:
    """The results of a suite, on disk."""

    def __init__(self, suite, options, more=False):
        """Begins a file; with `more` goes on with the one that is there."""
        options.out.mkdir(parents=True, exist_ok=True)
        self._path = options.out / f"{suite}.json"
        if more and self._path.exists():
            self._all = json.loads(self._path.read_text())
        else:
            self._all = {
                "suite": suite,
                "complete": False,
                "options": options.text,
                "machine": json.loads(options.machine) if options.machine else {},
                "versions": versions(),
                "missing": [],
                "differs": [],
                "cells": [],
            }
        self._write()

    def reload(self):
        """Takes over what other processes have added."""
        self._all = json.loads(self._path.read_text())

    def add(self, case, axes, engine, seconds, **more):
        """Adds one figure."""
        cell = {"case": case, "axes": axes, "engine": engine, "seconds": seconds, **more}
        self._all["cells"].append(cell)
        self._write()

    def missing(self, what, why):
        """Notes what could not be measured, and why; says so once."""
        note = {"what": what, "why": " ".join(str(why).split())[:300]}
        if note not in self._all["missing"]:
            self._all["missing"].append(note)
            print(f"missing: {note['what']}: {note['why']}", file=sys.stderr)
            self._write()

    def differs(self, case, what):
        """Notes that a side has given another answer: the case has no times, and the run fails."""
        note = {"case": case, "what": " ".join(str(what).split())[:500]}
        self._all["differs"].append(note)
        print(f"WRONG ANSWER: {case}: {note['what']}", file=sys.stderr)
        self._write()

    @property
    def wrong(self):
        """The cases with other answers."""
        return [note["case"] for note in self._all["differs"]]

    def note(self, **values):
        """Notes something about the suite as a whole."""
        self._all.update(values)
        self._write()

    def finish(self):
        """Says that all of it is there."""
        self._all["complete"] = True
        self._write()

    def _write(self):
        new = self._path.with_suffix(".json.new")
        new.write_text(json.dumps(self._all, indent=1, default=str) + "\n")
        new.replace(self._path)
