"""Our numbers against the papers': one mark a cell, and what is to be said of it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from bench.report import Runs
from bench.verdict import Kind
from reports.figures.curves import metric_name
from reports.figures.drawing import Drawing, FigureKind
from reports.figures.series import chosen, slug, unique
from reports.figures.style import (
    COLUMN,
    GREY,
    PAGE,
    SMALL,
    Look,
    looks,
    new_figure,
    paper_style,
    plain_logarithms,
)
from reports.frame import Selection, one_line
from reports.published_values import PublishedMatch, published_matches

_VERDICTS: tuple[Kind, ...] = ("reproduced", "off", "not comparable")
_LARGEST = 1e9
_MOST_RANGE = 30.0
"""Numbers that differ by more have logarithmic axes."""


def _each(runs: Runs, selection: Selection) -> Iterator[Drawing]:
    wanted = {record.id for record in chosen(runs, selection)}
    matches = [
        match
        for match in published_matches(runs)
        if match.record in wanted and (not selection.metrics or match.metric in selection.metrics)
    ]
    yield from drawings(matches)


PUBLISHED = FigureKind(
    "published",
    "our numbers against the papers', with verdicts",
    ("regression", "fewshot", "matching", "flops", "memory"),
    _each,
    needs="It needs runs whose numbers a paper prints: bench reproduce makes them.",
)


def drawings(matches: Sequence[PublishedMatch]) -> Iterator[Drawing]:
    """One figure for each metric and unit."""
    groups: dict[tuple[str, str], list[PublishedMatch]] = defaultdict(list)
    for match in matches:
        if match.verdict.kind in _VERDICTS and _drawable(match):
            groups[one_line(match.metric), one_line(match.unit)].append(match)
    keys = sorted(groups)
    names = unique([(slug("published", metric), slug("published", metric, unit)) for metric, unit in keys])
    for key, name in zip(keys, names, strict=True):
        yield _draw(groups[key], *key, name)


def _draw(matches: Sequence[PublishedMatch], metric: str, unit: str, name: str) -> Drawing:
    by_method = looks(match.method for match in matches)
    counts = Counter(match.verdict.kind for match in matches)
    kinds = [kind for kind in _VERDICTS if counts[kind]]
    ends = [number for match in matches for number in (float(match.printed), match.ours.value)]
    logarithmic = min(ends) > 0 and max(ends) > _MOST_RANGE * min(ends)
    low, high = _range(ends, logarithmic)
    with paper_style():
        methods = sorted({match.method for match in matches})
        panel = 1.75
        width = min(PAGE, len(kinds) * panel + 1.3) if len(kinds) > 1 else COLUMN
        figure = new_figure(width, panel + 0.55)
        grid = figure.subplots(1, len(kinds), sharex=True, sharey=True, squeeze=False)
        for axes, kind in zip(grid.flat, kinds, strict=True):
            axes.set(xlim=(low, high), ylim=(low, high), aspect="equal", title=f"{kind}: {counts[kind]}")
            if logarithmic:
                axes.set(xscale="log", yscale="log")
                plain_logarithms(axes.xaxis)
                plain_logarithms(axes.yaxis)
            axes.plot([low, high], [low, high], color=GREY, linewidth=0.7, linestyle=(0, (4, 2)), zorder=1)
            for match in matches:
                if match.verdict.kind == kind:
                    _mark(axes, match, by_method[match.method])
            axes.set_xlabel("published")
        grid.flat[0].set_ylabel(
            f"ours\n{metric_name(metric)}" + (f"\n({unit})" if unit not in ("", "1") else "")
        )
        handles = [
            Line2D([], [], label=one_line(method), **by_method[method].of_mark()) for method in methods
        ]
        figure.legend(handles=handles, loc="outside right upper", fontsize=SMALL, borderaxespad=0)
    told = ", ".join(f"{counts[kind]} {kind}" for kind in kinds)
    tables = ", ".join(sorted({one_line(match.table) for match in matches}))
    caption = (
        f"Our {metric_name(metric)} against the printed number of {tables}; dashed: equal. Bars: our deviation over "
        f"draws or our 95 % interval, and the printed deviation. {told}."
    )
    if counts["not comparable"]:
        caption += (
            " What is not comparable stands apart: data, protocol or recipe differ, and the distance to the line says "
            "nothing of the method."
        )
    records = tuple(sorted({match.record for match in matches}))
    return Drawing(name, "published", f"Published and ours, {metric_name(metric)}", caption, records, figure)


def _mark(axes: Axes, match: PublishedMatch, look: Look) -> None:
    printed, ours = float(match.printed), match.ours
    bar: dict[str, Any] = {"color": look.colour, "linewidth": 0.7, "alpha": 0.7}
    low = ours.low if ours.std is None else ours.value - ours.std
    high = ours.high if ours.std is None else ours.value + ours.std
    if low is not None and high is not None:
        axes.plot([printed, printed], [low, high], **bar)
    if match.printed_std:
        std = float(match.printed_std)
        axes.plot([printed - std, printed + std], [ours.value] * 2, **bar)
    axes.plot([printed], [ours.value], **look.of_mark())


def _range(ends: Sequence[float], logarithmic: bool) -> tuple[float, float]:
    low, high = min(ends), max(ends)
    if logarithmic:
        return low / 1.4, high * 1.4
    margin = 0.08 * (high - low) or 0.1 * abs(high) or 1.0
    return low - margin, high + margin


def _drawable(match: PublishedMatch) -> bool:
    return abs(float(match.printed)) < _LARGEST and abs(match.ours.value) < _LARGEST
