"""Functions in sorts, groups, windows and joins, and over many blocks of rows: fused, unfused and a
plain loop in Python agree on the answer and on which rows a function sees, and how often."""

import itertools

import pytest

import fuseline

pa = pytest.importorskip("pyarrow")

ROWS = [(i if i % 10 != 9 else None, i % 4) for i in range(2000)]
# What the function gives for the rows that may reach it: those below 5.
SMALL = [x for x, _ in ROWS if x is not None and x < 5]


def triple(x):
    return x * 3


def small(x, function):
    """x < 5 AND function(x) > 3, as SQL has it."""
    if x is None:
        return None
    return x < 5 and function(x) > 3


def plain_groups(function):
    groups = {}
    for x, k in ROWS:
        if x is not None and x < 5:
            groups[k] = groups.get(k, 0) + function(x)
        groups.setdefault(k, 0)
    return sorted(groups.items())


def plain_order(function):
    keyed = [(small(x, function), x) for x, _ in ROWS if x is not None]
    return [(x,) for _, x in sorted(keyed)]


def plain_window(function):
    sums = {}
    for x, k in ROWS:
        key = small(x, function)
        sums[key] = sums.get(key, 0) + k
    return sorted((x, sums[small(x, triple)]) for x, _ in ROWS if x is not None)


def plain_join(function):
    return sorted((x,) for x, _ in ROWS if x is not None and (x >= 5 or function(x) > 3))


QUERIES = {
    "order": (
        "SELECT x FROM t WHERE x IS NOT NULL ORDER BY x < 5 AND f(x) > 3, x",
        plain_order,
        False,
    ),
    "group": (
        "SELECT k, coalesce(sum(f(x)) FILTER (WHERE x < 5), 0) FROM t GROUP BY k ORDER BY k",
        plain_groups,
        False,
    ),
    "window": (
        "SELECT x, s FROM (SELECT x, sum(k) OVER (PARTITION BY x < 5 AND f(x) > 3) AS s FROM t)"
        + " WHERE x IS NOT NULL",
        plain_window,
        True,
    ),
    "join": (
        "SELECT t.x FROM t JOIN (SELECT x AS y FROM t) AS u ON t.x = y AND (t.x + y > 9 OR f(t.x) > 3)",
        plain_join,
        True,
    ),
}


@pytest.mark.parametrize("fusion", ["on", "off", "force"])
@pytest.mark.parametrize("query", QUERIES)
def test_operators_agree_with_plain_python(query, fusion):
    sql, plain, any_order = QUERIES[query]
    seen = []

    def f(x: int) -> int:
        seen.append(x)
        return triple(x)

    with fuseline.connect(threads=2, fusion=fusion) as con:
        con.register("t", pa.table({"x": [x for x, _ in ROWS], "k": [k for _, k in ROWS]}))
        con.udf(f)
        got = con.sql(sql).fetchall()
    assert (sorted(got) if any_order else got) == plain(triple)
    assert sorted(seen) == SMALL


@pytest.mark.parametrize("fusion", ["on", "off"])
def test_a_call_in_filter_and_projection_is_made_once(fusion):
    seen = []

    def f(x: int) -> int:
        seen.append(x)
        return triple(x)

    with fuseline.connect(threads=2, fusion=fusion) as con:
        con.register("t", pa.table({"x": range(1000), "k": [i % 4 for i in range(1000)]}))
        con.udf(f)
        got = con.sql("SELECT x, f(x) + 1 FROM t WHERE k = 1 AND f(x) % 2 = 1").fetchall()
    rows = [x for x in range(1000) if x % 4 == 1]
    assert sorted(got) == [(x, x * 3 + 1) for x in rows if x * 3 % 2 == 1]
    assert sorted(seen) == rows


@pytest.mark.parametrize("kept", [False, True])
@pytest.mark.parametrize("of", [float, int])
def test_blocks_of_rows_do_not_see_each_other(of, kept):
    """The lists that carry arguments are filled again for the next block of rows."""
    values = [None if i % 7 == 3 else of(i * 31 % 5003) for i in range(5000)]
    arguments = []

    def f(x, y):
        if kept:
            arguments.append((x, y))
        return None if x is None or y is None else x * 2 - y

    with fuseline.connect(threads=1) as con:
        con.register("t", pa.table({"x": values, "y": values[::-1]}))
        sql_type = {float: "DOUBLE", int: "BIGINT"}[of]
        con.udf(name="f", params=[sql_type] * 2, returns=sql_type, null_handling="call")(f)
        got = [y for (y,) in con.sql("SELECT f(x, y) FROM t").fetchall()]
    pairs = list(zip(values, values[::-1], strict=True))
    assert got == [None if None in pair else pair[0] * 2 - pair[1] for pair in pairs]
    if kept:
        assert arguments == pairs


def test_errors_and_misfits_name_rows_of_late_blocks():
    with fuseline.connect(threads=1) as con:
        con.register("t", pa.table({"i": range(3000)}))

        @con.udf
        def raises(i: int) -> int:
            return i // (i - 2222)

        @con.udf
        def misfits(i: int) -> int:
            return "x" if i == 2345 else i

        @con.udf(on_error="null")
        def gaps(i: int) -> int:
            return "x" if i % 500 == 499 else i // (i % 500 - 7)

        with pytest.raises(fuseline.UdfError, match=r"row 2222 \(i = 2222\)"):
            con.sql("SELECT raises(i) FROM t").fetchall()
        with pytest.raises(fuseline.UdfError, match=r"row 2345 \(i = 2345\).*does not fit"):
            con.sql("SELECT misfits(i) FROM t").fetchall()
        got = [y for (y,) in con.sql("SELECT gaps(i) FROM t").fetchall()]
        assert got == [None if i % 500 in (7, 499) else i // (i % 500 - 7) for i in range(3000)]


def test_numpy_results_that_look_alike_are_told_apart():
    np = pytest.importorskip("numpy")
    kept = []

    def view(x):
        kept.append(x * 2)
        return kept[-1]

    functions = {
        "fresh": lambda x: x * 2,
        "itself": lambda x: x,
        "reversed": lambda x: (x * 2)[::-1],
        "strided": lambda x: np.repeat(x, 2)[::2],
        "subclass": lambda x: (x * 2).view(type("Mine", (np.ndarray,), {})),
        "swapped": lambda x: (x * 2).astype(">f8"),
        "kept": view,
        "column": lambda x: (x * 2).reshape(-1, 1),
    }
    x = np.arange(100_000.0)
    with fuseline.connect(threads=2) as con:
        con.register("t", pa.table({"x": x}))
        for name, function in functions.items():
            options = {"params": ["DOUBLE"], "returns": "DOUBLE", "kind": "numpy"}
            con.udf(name=f"f_{name}", batch_rows=10_000, **options)(function)
            query = con.sql(f"SELECT f_{name}(x) AS y FROM t")
            if name in ("swapped", "column"):
                with pytest.raises(fuseline.UdfError, match=f"f_{name}"):
                    query.to_arrow()
                continue
            pieces = [query.to_arrow()["y"].to_numpy() for _ in range(3)]
            for array in itertools.chain(kept):
                array[:] = -1
            if name == "reversed":
                # How rows are cut into batches is not defined; each batch is turned round.
                assert all(np.array_equal(np.sort(y), x * 2) for y in pieces)
            else:
                expected = x if name in ("itself", "strided") else x * 2
                assert all(np.array_equal(y, expected) for y in pieces), name


def test_batches_that_are_kept_stay_as_they_are_while_others_are_dropped():
    np = pytest.importorskip("numpy")
    x = np.arange(1_000_000.0)
    with fuseline.connect(threads=2) as con:
        con.register("t", pa.table({"x": x}))
        con.udf(name="f", params=["DOUBLE"], returns="DOUBLE", kind="numpy")(lambda x: x + 1)
        held, numbers = [], itertools.count()
        for _ in range(5):
            for batch in con.sql("SELECT x, f(x) AS y FROM t"):
                if next(numbers) % 3 == 0:
                    held.append(batch)
        for batch in held:
            assert np.array_equal(batch["y"].to_numpy(), batch["x"].to_numpy() + 1)
