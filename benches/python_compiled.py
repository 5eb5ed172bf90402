"""What a compiled Python function costs beside the same expression written in SQL.

Hypothesis: an ordinary Python function that is compiled into the loop is the SQL expression: it costs no more than a tenth
beyond it, no more than a bare NumPy call on batches of 10,000 rows where that is bound by memory, and a
small fraction of it where it is not.

Axes: four functions (`x`, `x + 1`, `sin(x) * cos(x)`, `sqrt(abs(sin(x) * cos(x) + log1p(abs(x))))`), each with `math` (kind
scalar) and with NumPy (kind numpy); against SQL, bare NumPy in this thread, and a worker behind a socket. Machine:
any with two cores; all figures are ratios within one run.

How it is measured:
* 10 M doubles in memory, two threads; batches of results are dropped as they come. The worker, which is slower by so much,
  gets 1 M of them, and its time counts tenfold.
* The function and SQL take turns, and the other one goes first in the next round; each pair gives a
  ratio, and the median of the ratios counts. Each query has a text of its own, so none is found in the plan cache.
* Functions are registered with compile = "require", and after the measurement the profile must say that every row was
  computed by compiled code and none bailed.
* Results must be what plain NumPy gives, to a few units in the last place.

    python benches/python_compiled.py
    python benches/python_compiled.py --rounds 5 --only math
"""

import argparse
import gc
import json
import math
import os
import statistics
import sys
import time

import numpy as np
import pyarrow as pa

import fuseline

ROWS = 10_000_000
SOCKET_ROWS = 1_000_000
BATCH = 10_000

MATH = {
    "x": lambda x: x,
    "x + 1": lambda x: x + 1,
    "sin * cos": lambda x: math.sin(x) * math.cos(x),
    "sqrt(abs(...))": lambda x: math.sqrt(abs(math.sin(x) * math.cos(x) + math.log1p(abs(x)))),
}
NUMPY = {
    "x": lambda x: x,
    "x + 1": lambda x: x + 1,
    "sin * cos": lambda x: np.sin(x) * np.cos(x),
    "sqrt(abs(...))": lambda x: np.sqrt(np.abs(np.sin(x) * np.cos(x) + np.log1p(np.abs(x)))),
}
SQL = {
    "x": "x",
    "x + 1": "x + 1",
    "sin * cos": "sin(x) * cos(x)",
    "sqrt(abs(...))": "sqrt(abs(sin(x) * cos(x) + ln(1 + abs(x))))",
}
# At most so much of SQL; of bare NumPy at most, and at least so many times faster; faster than the socket.
MOST_OF_SQL = 1.10
MOST_OF_BARE = {"x + 1": 1.0, "sin * cos": 1 / 7, "sqrt(abs(...))": 1 / 7}
LEAST_BEFORE_SOCKET = {"x + 1": 80, "sin * cos": 20, "sqrt(abs(...))": 20}


def streamed(con, expression, table="t"):
    """A query whose batches are dropped as they come; `number` makes its text another one."""

    def run(number):
        for batch in con.sql(f"SELECT {expression} AS y{number} FROM {table}"):
            del batch

    return run


def bare(function, values):
    """The function called by hand on batch after batch."""

    def run(_):
        for start in range(0, len(values), BATCH):
            function(values[start : start + BATCH])

    return run


def seconds(run, number):
    """What one run takes."""
    gc.collect()
    begin = time.perf_counter()
    run(number)
    return time.perf_counter() - begin


def pairs(first, second, rounds):
    """Medians of both and of their ratio, in turns."""
    first("a"), second("b")
    times = []
    for number in range(rounds):
        if number % 2:
            b, a = seconds(second, number), seconds(first, number)
        else:
            a, b = seconds(first, number), seconds(second, number)
        times.append((a, b))
    ratio = statistics.median(a / b for a, b in times)
    return statistics.median(a for a, _ in times), statistics.median(b for _, b in times), ratio


def connect(values, kinds):
    """A connection with the data and the functions of these kinds."""
    con = fuseline.connect(threads=2)
    con.register("t", pa.table({"x": values}))
    con.register("small", pa.table({"x": values[:SOCKET_ROWS]}))
    options = {"params": ["DOUBLE"], "returns": "DOUBLE"}
    for kind in kinds:
        functions, of = (MATH, "scalar") if kind == "math" else (NUMPY, "numpy")
        for number, function in enumerate(functions.values()):
            con.udf(name=f"{kind}_{number}", kind=of, compile="require", **options)(function)
    for number, function in enumerate(NUMPY.values()):
        name = f"socket_{number}"
        con.udf(name=name, kind="numpy", compile="never", isolation="socket", **options)(function)
    return con


def must_be_compiled(con, kind, number, rows):
    """Ends the run unless compiled code computed every row of a query."""
    name = f"{kind}_{number}"
    figures = con.sql(f"SELECT {name}(x) AS checked FROM t").profile()["functions"][name]
    if figures.get("compiled_rows") != rows or figures.get("bailed_rows"):
        sys.exit(f"{name} is not compiled: {figures}")


def check(con, kind, number, name, values):
    """Ends the run if the results are not NumPy's."""
    got = con.sql(f"SELECT {kind}_{number}(x) AS y FROM small").to_numpy()
    got = got["y"] if isinstance(got, dict) else np.asarray(got).reshape(-1)
    if not np.allclose(got, NUMPY[name](values[:SOCKET_ROWS]), rtol=1e-14, atol=1e-14):
        sys.exit(f"{kind} {name}: {got[:3]}")


def main():
    """Prints the ratios and their limits."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=31)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--only", choices=["math", "numpy"])
    parser.add_argument("--json", help="also write the figures to this file")
    options = parser.parse_args()
    kinds = [options.only] if options.only else ["math", "numpy"]
    values = np.random.default_rng(20240229).uniform(-1000, 1000, options.rows)
    con = connect(values, kinds)
    figures = []

    def report(name, value, limit, beside="", at_least=False):
        kept = value >= limit if at_least else value <= limit
        sign = ">=" if at_least else "<="
        print(
            f"{name:44} {value:8.3f} {sign} {limit:6.3f}  {'ok    ' if kept else 'MISSED'}  {beside}",
            flush=True,
        )
        figures.append({"name": name, "value": value, "limit": limit, "kept": kept})

    print(
        f"{options.rows} doubles, 2 threads, load {os.getloadavg()[0]:.1f}; beside: medians in ms"
    )
    scale = options.rows / min(SOCKET_ROWS, options.rows)
    for number, name in enumerate(MATH):
        by_hand = bare(NUMPY[name], values)
        socket = streamed(con, f"socket_{number}(x)", "small")
        socket("a")
        waited = statistics.median(seconds(socket, n) for n in range(3)) * scale
        for kind in kinds:
            check(con, kind, number, name, values)
            call = streamed(con, f"{kind}_{number}(x)")
            ours, sql, ratio = pairs(call, streamed(con, SQL[name]), options.rounds)
            beside = f"function {ours * 1e3:.2f}  SQL {sql * 1e3:.2f}"
            report(f"{kind} {name} / SQL", ratio, MOST_OF_SQL, beside)
            must_be_compiled(con, kind, number, options.rows)
            if name in MOST_OF_BARE:
                _, theirs, ratio = pairs(call, by_hand, max(3, options.rounds // 4))
                beside = f"bare {theirs * 1e3:.2f}"
                report(f"{kind} {name} / bare NumPy", ratio, MOST_OF_BARE[name], beside)
                least = LEAST_BEFORE_SOCKET[name]
                beside = f"socket {waited * 1e3:.0f}"
                report(f"socket / {kind} {name}", waited / ours, least, beside, at_least=True)
    if options.json:
        with open(options.json, "w") as file:
            json.dump(figures, file, indent=1)


if __name__ == "__main__":
    main()
