"""Plots as SVG that read well in light and dark and on paper.

matplotlib draws; colours of text, lines and ground are replaced by CSS variables with a value for each scheme,
and the series have colours with enough contrast on white and on black (Okabe and Ito's, which the colour-blind
can tell apart) and different marks. Text stays text.
"""

import io
import re

INK, SOFT = "#010203", "#040506"
STYLE = """<style>
svg{--ink:#1f2328;--soft:#c4c9d0}
@media (prefers-color-scheme:dark){svg{--ink:#e6edf3;--soft:#444c56}}
@media print{svg{--ink:#000;--soft:#bbb}}
</style>"""
COLOURS = [
    "#0072b2",
    "#d55e00",
    "#009e73",
    "#cc79a7",
    "#b8860b",
    "#56b4e9",
    "#8c6bb1",
    "#888888",
    "#a6761d",
]
MARKS = "osD^vPX*h"
# What is ours has the same colour everywhere.
OURS = "#d62839"


def _pyplot():
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    plt.rcParams.update(
        {
            "svg.fonttype": "none",
            "font.family": "sans-serif",
            "font.sans-serif": ["DejaVu Sans"],
            "font.size": 9,
            "text.color": INK,
            "axes.labelcolor": INK,
            "axes.edgecolor": SOFT,
            "xtick.color": INK,
            "ytick.color": INK,
            "grid.color": SOFT,
            "grid.linewidth": 0.5,
            "axes.grid": True,
            "axes.axisbelow": True,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "legend.frameon": False,
            "figure.facecolor": "none",
            "axes.facecolor": "none",
            "savefig.facecolor": "none",
        }
    )
    return plt


def _svg(figure, name):
    import matplotlib

    # The same ids at every run, and other ones than those of other plots on the page.
    matplotlib.rcParams["svg.hashsalt"] = name
    out = io.StringIO()
    figure.savefig(out, format="svg", bbox_inches="tight", metadata={"Date": None, "Creator": None})
    _pyplot().close(figure)
    text = out.getvalue()
    text = text[text.index("<svg") :]
    text = text.replace(INK, "var(--ink,#1f2328)").replace(SOFT, "var(--soft,#c4c9d0)")
    # Axes' parts are numbered alike in all plots.
    text = re.sub(r'(<g id=")([a-z0-9]+_\d+)"', rf"\g<1>{name}-\g<2>" + '"', text)
    head, rest = text.split(">", 1)
    return re.sub(r"[ \t]+\n", "\n", f"{head}>\n{STYLE}{rest}")


def colour(series, names):
    """Red for fuseline, a colour of their own for others."""
    if series in ("fuseline", "fused"):
        return OURS
    others = [n for n in names if n not in ("fuseline", "fused")]
    return COLOURS[others.index(series) % len(COLOURS)]


def lines(name, panels, xlabel, ylabel, log=(False, True), ticks=None):
    """Lines: panels are {title: {series: [(x, y)]}}."""
    plt = _pyplot()
    figure, axes = plt.subplots(
        1, len(panels), figsize=(4.4 * len(panels) + 0.6, 3.6), squeeze=False
    )
    names = list(dict.fromkeys(s for panel in panels.values() for s in panel))
    for axis, (title, panel) in zip(axes[0], panels.items()):
        for series, points in panel.items():
            points = sorted(points)
            own = colour(series, names)
            axis.plot(
                *zip(*points),
                marker=MARKS[names.index(series) % len(MARKS)],
                markersize=4,
                linewidth=2.2 if own == OURS else 1.3,
                color=own,
                label=series,
            )
        axis.set_title(title, fontsize=9)
        axis.set_xlabel(xlabel)
        if log[0]:
            axis.set_xscale("log")
        if log[1]:
            axis.set_yscale("log")
            axis.yaxis.set_major_formatter("{x:g}")
        if ticks:
            axis.set_xticks(ticks, [f"{t:,g}" for t in ticks])
            axis.minorticks_off()
    axes[0][0].set_ylabel(ylabel)
    handles = {}
    for axis in axes[0]:
        for handle, label in zip(*axis.get_legend_handles_labels()):
            handles.setdefault(label, handle)
    figure.legend(
        handles.values(), handles.keys(), loc="center left", bbox_to_anchor=(0.92, 0.5), fontsize=8
    )
    return _svg(figure, name)


def bars(name, groups, xlabel, log=True):
    """Grouped horizontal bars: groups are {label: {series: value}}."""
    plt = _pyplot()
    names = list(dict.fromkeys(s for group in groups.values() for s in group))
    count = max(1, len(names))
    figure, axis = plt.subplots(figsize=(7.5, max(1.6, 0.16 * (count + 1) * len(groups) + 0.6)))
    for at, group in enumerate(groups.values()):
        for series, value in group.items():
            if value is not None:
                place = at * (count + 1) + names.index(series)
                axis.barh(place, value, 0.9, color=colour(series, names))
                axis.annotate(f" {value:.3g}", (value, place), va="center", fontsize=6.5)
    axis.set_yticks([at * (count + 1) + (count - 1) / 2 for at in range(len(groups))], list(groups))
    axis.invert_yaxis()
    axis.set_xlabel(xlabel)
    axis.grid(axis="y", visible=False)
    if log:
        axis.set_xscale("log")
        axis.xaxis.set_major_formatter("{x:g}")
    for series in names:
        axis.barh(0, 0, color=colour(series, names), label=series)
    if count > 1:
        axis.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), fontsize=8)
    return _svg(figure, name)


def stacked(name, rows, xlabel):
    """Stacked horizontal bars: rows are {label: {part: value}}."""
    plt = _pyplot()
    parts = list(dict.fromkeys(p for row in rows.values() for p in row))
    figure, axis = plt.subplots(figsize=(7.5, 0.36 * len(rows) + 0.8))
    for at, row in enumerate(rows.values()):
        left = 0.0
        for part, value in row.items():
            own = COLOURS[parts.index(part) % len(COLOURS)]
            axis.barh(at, value, 0.7, left=left, color=own)
            left += value
        axis.annotate(f" {left:.3g}", (left, at), va="center", fontsize=7)
    for at, part in enumerate(parts):
        axis.barh(0, 0, color=COLOURS[at % len(COLOURS)], label=part)
    axis.set_yticks(range(len(rows)), list(rows))
    axis.invert_yaxis()
    axis.set_xlabel(xlabel)
    axis.grid(axis="y", visible=False)
    axis.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), fontsize=8)
    return _svg(figure, name)


def ratios(name, suites):
    """A dot for each comparison on a logarithmic axis: suites are {suite: [ratio]}; below 1 is won."""
    plt = _pyplot()
    figure, axis = plt.subplots(figsize=(7.5, 0.5 * len(suites) + 0.9))
    for at, values in enumerate(suites.values()):
        won = [v for v in values if v < 1]
        lost = [v for v in values if v >= 1]
        axis.plot(won, [at] * len(won), "o", color="#009e73", alpha=0.7, markersize=5)
        axis.plot(lost, [at] * len(lost), "X", color="#d55e00", alpha=0.8, markersize=6)
    axis.axvline(1, color=INK, linewidth=1)
    axis.set_xscale("log")
    axis.xaxis.set_major_formatter("{x:g}")
    axis.set_yticks(range(len(suites)), list(suites))
    axis.set_ylim(len(suites) - 0.5, -0.5)
    axis.set_xlabel("fuseline's time / best peer's time (left of 1: fuseline is faster)")
    return _svg(figure, name)
