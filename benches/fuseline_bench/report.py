"""The report of what lies in a folder: Markdown with SVG plots, and one self-contained HTML page.

Both are made from the same blocks. Every table and plot has the command below it that measures its numbers
again. Losses stand before wins.
"""

import html
import json
import statistics

from . import plots, verdicts
from .verdicts import median

SUITES = ["fusion", "udf-models", "plus-one", "primitives", "frames", "tpch"]
ABOUT = {
    "fusion": "The same pipelines, from the same IR, row at a time, operator at a time (vectors of 1,024 rows or "
    "whole columns), as one compiled loop per operator (cut), as one compiled loop (fused), and by hand. "
    "One thread; ns per row of the source.",
    "udf-models": "One Python function over doubles, by how it is executed; milliseconds for all rows. "
    "A column of results in memory is the end, except for Spark, which writes to nowhere.",
    "plus-one": "`count + 1` over a Parquet file that is larger than the memory limit; rows are streamed.",
    "primitives": "Single operators; ns per row.",
    "frames": "Results to data frames and back; seconds, and the peak of memory as a multiple of the data.",
    "tpch": "TPC-H's 22 queries; milliseconds. DuckDB's memory form is its own tables, the others' Arrow data.",
}


def number(value):
    """Three digits."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


class Page:
    """Blocks, and their two forms."""

    def __init__(self):
        self.blocks = []
        self.plots = {}

    def add(self, kind, *content):
        self.blocks.append((kind, *content))

    def plot(self, name, svg, alt):
        self.plots[name] = svg
        self.add("plot", name, alt)

    def markdown(self, folder):
        lines = []
        for kind, *content in self.blocks:
            if kind in ("h1", "h2", "h3"):
                lines += ["#" * int(kind[1]) + f" {content[0]}", ""]
            elif kind == "p":
                lines += [content[0], ""]
            elif kind == "list":
                lines += [f"* {item}" for item in content[0]] + [""]
            elif kind == "command":
                lines += ["```", content[0], "```", ""]
            elif kind == "plot":
                lines += [f"![{content[1]}]({folder}/{content[0]}.svg)", ""]
            elif kind == "table":
                head, rows = content
                lines.append("| " + " | ".join(head) + " |")
                lines.append("|" + "---|" * len(head))
                lines += ["| " + " | ".join(map(str, row)) + " |" for row in rows] + [""]
        return "\n".join(lines).rstrip() + "\n"

    def html(self):
        out = [HEAD]
        for kind, *content in self.blocks:
            if kind in ("h1", "h2", "h3"):
                out.append(f"<{kind}>{inline(content[0])}</{kind}>")
            elif kind == "p":
                out.append(f"<p>{inline(content[0])}</p>")
            elif kind == "list":
                out.append("<ul>" + "".join(f"<li>{inline(i)}</li>" for i in content[0]) + "</ul>")
            elif kind == "command":
                out.append(f"<pre>{html.escape(content[0])}</pre>")
            elif kind == "plot":
                label = html.escape(content[1])
                out.append(f"<figure aria-label='{label}'>{self.plots[content[0]]}</figure>")
            elif kind == "table":
                head, rows = content
                cells = "".join(f"<th>{inline(h)}</th>" for h in head)
                out.append(f"<div class=wide><table><tr>{cells}</tr>")
                for row in rows:
                    cells = "".join(f"<td>{inline(str(c))}</td>" for c in row)
                    out.append(f"<tr>{cells}</tr>")
                out.append("</table></div>")
        return "\n".join(out) + "\n</main></html>\n"


HEAD = """<!doctype html><html lang=en><meta charset=utf-8><title>fuseline: benchmarks</title>
<meta name=viewport content="width=device-width">
<style>
:root{color-scheme:light dark}
body{font:15px/1.5 system-ui,sans-serif;margin:0}
main{max-width:62rem;margin:2rem auto;padding:0 1rem}
table{border-collapse:collapse;font-size:13px;font-variant-numeric:tabular-nums}
th,td{padding:.15rem .6rem;border-bottom:1px solid #8884;text-align:right}
th:first-child,td:first-child{text-align:left}
pre{background:#8882;padding:.5rem;overflow-x:auto}
.wide{overflow-x:auto}figure{margin:1rem 0;overflow-x:auto}svg{max-width:100%;height:auto}
@media print{main{max-width:none}figure,table{break-inside:avoid}}
</style><main>"""


def inline(text):
    """Text with `code` and **bold**, as HTML."""
    import re

    text = html.escape(text, quote=False)
    text = re.sub(r"`([^`]+)`", r"<code>\1</code>", text)
    return re.sub(r"\*\*([^*]+)\*\*", r"<b>\1</b>", text)


def load(out):
    """The results that are there, by suite."""
    found = {}
    for suite in SUITES:
        file = out / f"{suite}.json"
        if file.exists():
            found[suite] = json.loads(file.read_text())
    return found


def command(suite):
    """The command that measures a suite again."""
    arguments = f' ARGS="{suite["options"]}"' if suite["options"] else ""
    return f"make bench SUITE={suite['suite']}{arguments}"


def table(page, suite, scale, unit, per_row=False, keep=lambda cell: True, rows_of="case"):
    """A table of medians: a row a case, a column an engine, with the quartiles' half distance."""
    cells = [c for c in suite["cells"] if c.get("seconds") and keep(c)]
    if not cells:
        return {}
    engines = list(dict.fromkeys(c["engine"] for c in cells))
    found = {}
    for c in cells:
        value = median(c["seconds"]) * scale / (c["rows"] if per_row else 1)
        found.setdefault(c["case"], {})[c["engine"]] = (value, verdicts.spread(c["seconds"]))
    body = []
    for case, row in found.items():
        best = min(v for v, _ in row.values())
        texts = [case]
        for engine in engines:
            if engine not in row:
                texts.append("-")
                continue
            value, spread = row[engine]
            text = f"**{number(value)}**" if value == best else number(value)
            texts.append(f"{text} ±{spread * 100:.0f} %")
        body.append(texts)
    page.add("table", [unit, *engines], body)
    page.add("command", command(suite))
    return {case: {e: v for e, (v, _) in row.items()} for case, row in found.items()}


def fusion(page, suite):
    cells = [c for c in suite["cells"] if c.get("seconds")]

    def points(axis, place, nulls, x):
        found = {}
        for c in cells:
            a = c["axes"]
            if (a["axis"], a["place"], a["nulls"]) == (axis, place, nulls):
                ns = median(c["seconds"]) * 1e9 / c["rows"]
                found.setdefault(c["engine"], []).append((a[x] * (100 if x == "share" else 1), ns))
        return found

    panels = {
        "in the cache": points("operators", "cache", False, "operators"),
        "in the cache, nulls": points("operators", "cache", True, "operators"),
        "from memory": points("operators", "memory", False, "operators"),
    }
    panels = {k: v for k, v in panels.items() if v}
    if panels:
        svg = plots.lines("fusion-operators", panels, "operators in the chain", "ns per row")
        page.plot("fusion-operators", svg, "ns per row by operators in the chain, by engine")
    panels = {
        "in the cache": points("share", "cache", False, "share"),
        "in the cache, nulls": points("share", "cache", True, "share"),
        "from memory": points("share", "memory", False, "share"),
    }
    panels = {k: v for k, v in panels.items() if v}
    if panels:
        page.add("p", "A filter, then `x = a * b + a`, summed, by the share of rows that pass:")
        svg = plots.lines("fusion-share", panels, "% of the rows pass", "ns per row")
        page.plot("fusion-share", svg, "ns per row by share of rows that pass, by engine")
    page.add("h3", "What each idea is worth")
    page.add(
        "p",
        "Times of the engine without an idea, divided by the time of the fused loop with all of them: "
        "no vectors wider than 128 bits, no unrolling, what flows between operators written to memory (cut).",
    )
    names = {
        "fused 128": "128-bit vectors",
        "fused rolled": "no unrolling",
        "cut": "written between",
    }
    rows = []
    for case in dict.fromkeys(c["case"] for c in cells if c["axes"]["operators"] in (1, 4, 12)):
        by = {c["engine"]: median(c["seconds"]) for c in cells if c["case"] == case}
        if "fused" in by and "90 %" in case:
            rows.append([case, *(f"{by[n] / by['fused']:.2f}" if n in by else "-" for n in names)])
    page.add("table", ["times as long as fused", *names.values()], rows)
    page.add("command", command(suite))
    counts = [c for c in suite["cells"] if c["axes"]["axis"] == "counts"]
    if counts:
        page.add("h3", "Instructions and cache misses")
        counter = counts[0]["counter"]
        how = f"Per row, by `{counter}`."
        if "valgrind" in counter:
            how += (
                " This machine gives no hardware counters; valgrind's processor has no AVX-512, so our loops "
                "have 128-bit vectors here and the loop by hand is made for AVX2. Its first-level cache is "
                "this machine's."
            )
        page.add("p", how)
        page.add(
            "table",
            ["engine", "operators", "instructions", "L1 misses", "last-level misses"],
            [
                [
                    c["engine"],
                    c["axes"]["operators"],
                    f"{c['instructions_per_row']:.1f}",
                    f"{c['l1_misses_per_row']:.2f}",
                    f"{max(0.0, c['last_level_misses_per_row']):.3f}",
                ]
                for c in counts
            ],
        )
        page.add("command", command(suite))
    page.add("h3", "All cells")
    table(page, suite, 1e9, "ns per row", per_row=True)


def udf_models(page, suite):
    cells = [c for c in suite["cells"] if c.get("seconds")]
    shapes = {}
    for c in cells:
        if (c["axes"]["rows"], c["axes"]["function"]) == (1_000_000, "x + 1"):
            ms = median(c["seconds"]) * 1e3
            shapes.setdefault(c["engine"], []).append((c["axes"]["batch"], ms))
    if shapes:
        chosen = {n: p for n, p in shapes.items() if not n.startswith("Spark,")}
        ours = {
            n: p
            for n, p in chosen.items()
            if n.startswith(("worker", "in process", "compiled", "the same"))
        }
        theirs = {n: p for n, p in chosen.items() if n not in ours}
        sizes = sorted({b for points in shapes.values() for b, _ in points})
        page.add("p", "Time by the size of batches (1 M rows, `x + 1`):")
        svg = plots.lines(
            "udf-batches",
            {"fuseline": ours, "peers": theirs},
            "rows of a batch",
            "ms",
            (True, True),
            sizes,
        )
        page.plot("udf-batches", svg, "time by batch size, by model")
    parted = [c for c in cells if c.get("parts")]
    for name in ("x + 1", "sqrt(abs(...))"):
        rows = {}
        batch = min(
            (c["axes"]["batch"] for c in parted if c["axes"]["rows"] == 1_000_000), default=0
        )
        for c in parted:
            axes = (c["axes"]["function"], c["axes"]["rows"], c["axes"]["batch"])
            if axes == (name, 1_000_000, batch) and c["calls"]:
                parts = {p: s * 1e6 / c["calls"] for p, s in c["parts"].items() if s > 0}
                rows[c["engine"]] = parts
        if rows:
            page.add(
                "p", f"Where the time goes: microseconds of a batch of {batch:,} rows, `{name}`:"
            )
            key = "udf-where-" + ("plus" if "+ 1" in name else "sqrt")
            page.plot(
                key, plots.stacked(key, rows, "us per batch"), "where the time of a batch goes"
            )
            stations = list(dict.fromkeys(p for row in rows.values() for p in row))
            page.add(
                "table",
                ["us per batch", *stations],
                [[n, *(number(row.get(s)) for s in stations)] for n, row in rows.items()],
            )
            page.add("command", command(suite))
    page.add(
        "p",
        "`move` is all of sending, receiving and converting of fuseline's workers, which count no finer.",
    )
    # One table a function, models below one another: there are too many for columns.
    for function in dict.fromkeys(c["axes"]["function"] for c in cells):
        some = [c for c in cells if c["axes"]["function"] == function]
        cases = list(dict.fromkeys((c["axes"]["rows"], c["axes"]["batch"]) for c in some))
        found = {}
        for c in some:
            found.setdefault(c["engine"], {})[(c["axes"]["rows"], c["axes"]["batch"])] = c[
                "seconds"
            ]
        head = [f"ms, `{function}`", *(f"{short(rows)} in {short(batch)}" for rows, batch in cases)]
        body = [
            [
                engine,
                *(
                    f"{number(median(row[case]) * 1e3)} ±{verdicts.spread(row[case]) * 100:.0f} %"
                    if case in row
                    else "-"
                    for case in cases
                ),
            ]
            for engine, row in found.items()
        ]
        page.add("table", head, body)
        page.add("command", command(suite))


def short(rows):
    return f"{rows / 1e6:g} M" if rows >= 1_000_000 else f"{rows / 1e3:g} k"


def plus_one(page, suite):
    cells = [c for c in suite["cells"] if c.get("seconds")]
    if not cells:
        return
    rows = {c["engine"]: {"ms": median(c["seconds"]) * 1e3} for c in cells}
    page.plot("plus-one", plots.bars("plus-one", rows, "ms"), "time by how count + 1 is said")
    page.add("p", cells[0]["case"] + ".")
    mib = lambda n: "-" if n is None else f"{n / 2**20:.0f}"
    page.add(
        "table",
        ["model", "ms", "spread", "peak above start, MiB"],
        [
            [
                c["engine"],
                number(median(c["seconds"]) * 1e3),
                f"±{verdicts.spread(c['seconds']) * 100:.0f} %",
                mib(c.get("peak_bytes")),
            ]
            for c in cells
        ],
    )
    page.add("command", command(suite))


def primitives(page, suite):
    threads = sorted({c["axes"]["threads"] for c in suite["cells"]})
    for count in threads:
        label = "One thread" if count == 1 else f"{count} threads"
        page.add("h3", label)
        of = lambda c, count=count: c["axes"]["threads"] == count
        found = table(page, suite, 1e9, "ns per row", True, of)
        if count == threads[-1] and found:
            short_names = {case.rsplit(", ", 1)[0]: row for case, row in found.items()}
            page.plot(
                "primitives",
                plots.bars("primitives", short_names, "ns per row"),
                "ns per row by operator",
            )


def frames(page, suite):
    cells = [c for c in suite["cells"] if c.get("seconds")]
    table(page, suite, 1.0, "seconds")
    engines = list(dict.fromkeys(c["engine"] for c in cells))
    found = {}
    for c in cells:
        found.setdefault(c["case"], {})[c["engine"]] = c["peak_bytes"] / c["bytes"]
    page.add(
        "table",
        ["peak memory / data", *engines],
        [
            [case, *(f"{row[e]:.2f}" if e in row else "-" for e in engines)]
            for case, row in found.items()
        ],
    )
    page.add("command", command(suite))
    times = {}
    for c in cells:
        times.setdefault(c["case"], {})[c["engine"]] = median(c["seconds"])
    if times:
        page.plot("frames", plots.bars("frames", times, "seconds"), "seconds by way and engine")


def tpch(page, suite):
    for form in dict.fromkeys(c["axes"]["form"] for c in suite["cells"]):
        page.add("h3", f"From {form}")
        of = lambda c, form=form: c["axes"]["form"] == form
        found = table(page, suite, 1e3, "ms", keep=of)
        means = []
        engines = list(dict.fromkeys(e for row in found.values() for e in row))
        shared = [row for row in found.values() if "fuseline" in row]
        for engine in engines:
            there = [row for row in shared if engine in row]
            mean = statistics.geometric_mean([row[engine] for row in there])
            ours = statistics.geometric_mean([row["fuseline"] for row in there])
            means.append([engine, len(there), number(mean), number(ours), f"{ours / mean:.2f}"])
        page.add("p", "Geometric means over the queries that both ran:")
        page.add("table", ["engine", "queries", "its ms", "fuseline's ms", "fuseline / it"], means)
        page.add("command", command(suite))
        ratios = {
            case.split(",")[0]: {e: row["fuseline"] / row[e] for e in row if e != "fuseline"}
            for case, row in found.items()
            if "fuseline" in row
        }
        key = f"tpch-{form.lower()}"
        page.plot(
            key, plots.bars(key, ratios, "fuseline's time / theirs"), f"TPC-H from {form}: ratios"
        )


PARTS = {
    "fusion": fusion,
    "udf-models": udf_models,
    "plus-one": plus_one,
    "primitives": primitives,
    "frames": frames,
    "tpch": tpch,
}


def front(page, suites):
    """Machine, versions, how to do it again, and the verdicts."""
    page.add("h1", "Benchmarks")
    first = next(iter(suites.values()))
    options = {s["options"] for s in suites.values()}
    again = "make bench" + (
        f' ARGS="{options.copy().pop()}"' if len(options) == 1 and options != {""} else ""
    )
    page.add(
        "p",
        "fuseline beside its peers and beside other ways to execute the same thing. All of it again:",
    )
    page.add("command", again)
    machine = first["machine"]
    parts = [
        machine.get("processor", "unknown processor"),
        f"{machine.get('cores', '?')} cores",
        f"{machine.get('memory_gib', '?')} GiB of memory",
        f"{machine.get('l2', '?')} second-level cache",
        machine.get("system", "unknown system"),
        f"kernel {machine.get('kernel', '?')}",
    ]
    about = [", ".join(parts)]
    versions = {}
    for suite in suites.values():
        versions |= suite["versions"]
    about.append(", ".join(f"{name} {version}" for name, version in versions.items()))
    page.add("list", about)
    page.add(
        "p",
        "Sides take turns within one run; figures are medians, ± is half the distance of the quartiles. Answers "
        "were compared before anything was timed. Ratios hold for this machine only.",
    )
    lacking = [n for n in SUITES if n not in suites]
    broken = [n for n, s in suites.items() if not s["complete"]]
    if lacking or broken:
        page.add(
            "p",
            f"**Not measured: {', '.join(lacking) or '-'}; interrupted: {', '.join(broken) or '-'}.**",
        )


def wrong_answers(page, suites):
    """What must not be: it stands before all figures."""
    found = [
        f"`{name}`, {note['case']}: {note['what']}"
        for name, suite in suites.items()
        for note in suite.get("differs", [])
    ]
    if found:
        page.add("h2", f"Wrong answers ({len(found)})")
        page.add("p", "Sides of these cases disagree; they have no times.")
        page.add("list", found)


def summary(page, suites):
    """Where fuseline loses, is even, wins."""
    all_of = {name: verdicts.of(suite) for name, suite in suites.items()}
    shown = {name: v for name, v in all_of.items() if v}
    page.add("h2", "Won and lost")
    page.add(
        "p",
        "Each case against the best peer of its kind (in `fusion`: against the loop by hand). A comparison is "
        "even where the 95 % interval of the ratio holds 1.",
    )
    counts = []
    for name, found in shown.items():
        words = [v.word for v in found]
        mean = statistics.geometric_mean([v.ratio for v in found])
        counts.append([name, *(words.count(w) for w in ("lost", "even", "won")), f"{mean:.2f}"])
    page.add("table", ["suite", "lost", "even", "won", "mean ratio"], counts)
    if shown:
        svg = plots.ratios("verdicts", {n: [v.ratio for v in found] for n, found in shown.items()})
        page.plot("verdicts", svg, "ratios to the best peer by suite")
    every = sorted((v for found in shown.values() for v in found), key=lambda v: -v.ratio)
    head = ["suite", "case", "ours", "best peer", "fuseline / peer", "95 %"]

    def row(v):
        ours = "" if v.ours == "fuseline" else v.ours
        return [v.suite, v.case, ours, v.peer, f"{v.ratio:.2f}", f"{v.low:.2f} to {v.high:.2f}"]

    for word, title in (
        ("lost", "Where fuseline loses"),
        ("even", "Even"),
        ("won", "Where fuseline wins"),
    ):
        some = [v for v in every if v.word == word]
        page.add("h3", f"{title} ({len(some)})")
        if some:
            page.add("table", head, [row(v) for v in some])
            again = sorted({v.suite for v in some}, key=SUITES.index)
            page.add("command", "\n".join(command(suites[name]) for name in again))


def write(out):
    """Writes report.md, report.html and plots/ into the folder of the results."""
    suites = load(out)
    if not suites:
        raise SystemExit(f"{out}: no results; run a suite first")
    page = Page()
    front(page, suites)
    wrong_answers(page, suites)
    summary(page, suites)
    for name, suite in suites.items():
        page.add("h2", name)
        page.add("p", ABOUT[name])
        PARTS[name](page, suite)
        if suite["missing"]:
            page.add("p", "Missing here:")
            page.add("list", sorted({f"{m['what']}: {m['why']}" for m in suite["missing"]}))
    folder = out / "plots"
    folder.mkdir(exist_ok=True)
    for name, svg in page.plots.items():
        (folder / f"{name}.svg").write_text(svg)
    (out / "report.md").write_text(page.markdown("plots"))
    (out / "report.html").write_text(page.html())
