"""Accuracy against what it costs: arithmetic, memory, parameters, seconds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from bench.record import MetricPart, RunRecord
from bench.report import Runs
from reports.figures.curves import axis_name, told_in_unit
from reports.figures.drawing import Drawing, FigureKind
from reports.figures.landmark_scores import headline
from reports.figures.series import Question, Series, architecture, drawable, questions, slug
from reports.figures.style import PAGE, SMALL, light_grid, new_figure, paper_style, plain_logarithms
from reports.frame import Selection, one_line

PROTOCOLS = ("regression", "fewshot", "finetune", "discovered", "matching", "segmentation")

_DECADE_AND_HALF = 30.0
"""Costs that differ by more have a logarithmic axis."""

Costs = Mapping[str, Sequence[RunRecord]]
"""Architecture -> records of what it costs."""


@dataclass(frozen=True)
class _Cost:
    name: str
    of: Callable[[RunRecord, Costs], float | None]


def _each(runs: Runs, selection: Selection) -> Iterator[Drawing]:
    costs = _costs(runs)
    for question in questions(runs, selection, PROTOCOLS):
        metric = question.metrics(selection, drawable)[:1]
        drawing = _draw(question, metric[0], costs) if metric else None
        if drawing is not None:
            yield drawing


COST = FigureKind(
    "cost",
    "accuracy against multiply-accumulates, memory, parameters and seconds",
    PROTOCOLS,
    _each,
    needs="It compares networks: at least two, with runs of flops or memory beside those of accuracy.",
)


def _draw(question: Question, metric: str, costs: Costs) -> Drawing | None:
    values = {each.record.id: part for each in question.series if (part := _score(each.record, metric))}
    if not values:
        return None
    first = next(iter(values.values()))
    question = question.ranked(
        lambda record: values[record.id].value if record.id in values else None, first.direction
    )
    # What has no network, as a mean shape, has no cost.
    question = replace(
        question,
        series=tuple(
            each
            for each in question.series
            if any(cost.of(each.record, costs) is not None for cost in _COUNTED)
        ),
    )
    panels = []
    machine = _machine(question.series)
    for cost in _ALL if machine else _COUNTED:
        points = [(cost.of(each.record, costs), each) for each in question.series]
        there = [(x, each) for x, each in points if x is not None and 0 < x < 1e9]
        if len({x for x, _ in there}) > 1:
            panels.append((cost, there))
    # Seconds alone say more of a machine than of methods.
    if not any(cost is not _SECONDS for cost, _ in panels):
        return None
    shown = [
        each for each in question.series if any(each is other for _, there in panels for _, other in there)
    ]
    with paper_style():
        figure = new_figure(PAGE, max(2.0, 0.13 * len(shown) + 0.6))
        grid = figure.subplots(1, len(panels), sharey=True, squeeze=False)
        for axes, (cost, there) in zip(grid.flat, panels, strict=True):
            _panel(axes, cost, there, values)
        grid.flat[0].set_ylabel(axis_name(first))
        handles = [Line2D([], [], label=each.label, **each.look.of_mark()) for each in shown]
        figure.legend(handles=handles, loc="outside right upper", fontsize=SMALL, borderaxespad=0)
    seconds = f" Seconds are those of the whole run on {machine}." if panels[-1][0] is _SECONDS else ""
    caption = (
        f"{told_in_unit(first)}{_condition(first)} on {question.data()}, {question.asked()}, against what the features "
        f"of one image cost.{seconds} Bars: 95 % bootstrap interval over images.{question.remark()}"
    )
    title = f"Accuracy and cost, {question.record.protocol.name} on {question.place()}"
    return Drawing(
        slug("cost", question.slug), "cost", title, caption, tuple(each.record.id for each in shown), figure
    )


def _panel(
    axes: Axes, cost: _Cost, there: Sequence[tuple[float, Series]], values: Mapping[str, MetricPart]
) -> None:
    light_grid(axes)
    for x, each in reversed(there):
        part = values[each.record.id]
        if part.low is not None and part.high is not None:
            axes.plot([x, x], [part.low, part.high], color=each.look.colour, linewidth=0.7, alpha=0.7)
        axes.plot([x], [part.value], **each.look.of_mark())
    costs = [x for x, _ in there]
    if max(costs) > _DECADE_AND_HALF * min(costs):
        axes.set_xscale("log")
        plain_logarithms(axes.xaxis)
        axes.set_xlim(min(costs) / 1.6, max(costs) * 1.6)
    else:
        axes.set_xlim(0, 1.12 * max(costs))
        axes.locator_params(axis="x", nbins=4)
    axes.set_xlabel(cost.name)


# --- what is looked up ---------------------------------------------------------------------------------------


def _score(record: RunRecord, metric: str) -> MetricPart | None:
    """The value that stands for a run: of the whole, or of the hardest condition."""
    parts = [part for part in record.metrics if part.metric == metric and drawable(part)]
    best = headline(record)
    if best is not None and best.metric == metric:
        return best
    return next(
        (part for part in parts if part.condition.get("pairs") == "different"), parts[0] if parts else None
    )


def _costs(runs: Runs) -> Costs:
    found: dict[str, list[RunRecord]] = defaultdict(list)
    for record in sorted(runs.records, key=lambda record: record.id):
        if record.status == "ok" and record.protocol.name in ("flops", "memory"):
            found[architecture(record)].append(record)
    return found


def _counted(metric: str, per_image: bool) -> Callable[[RunRecord, Costs], float | None]:
    """Of the record's network, for images of the record's size."""

    def look_up(record: RunRecord, costs: Costs) -> float | None:
        side = record.dataset.preprocessing.get("image_size") if record.dataset else None
        condition = {"image_size": side} if per_image else {}
        for counted in costs.get(architecture(record), ()):
            for part in counted.metrics:
                if part.metric == metric and part.condition == condition:
                    return part.value
        return None

    return look_up


def _seconds(record: RunRecord, costs: Costs) -> float | None:
    del costs
    seconds = record.provenance.get("seconds")
    total = seconds.get("total") if isinstance(seconds, dict) else None
    return float(total) if isinstance(total, int | float) and not isinstance(total, bool) else None


_COUNTED = (
    _Cost("features of an image\n(GMACs) ↓", _counted("backbone_gmacs", per_image=True)),
    _Cost("activation proxy\n(MB) ↓", _counted("activation_proxy_mb", per_image=True)),
    _Cost("parameters\n(millions) ↓", _counted("params_m", per_image=False)),
)
_SECONDS = _Cost("run\n(seconds) ↓", _seconds)
_ALL = (*_COUNTED, _SECONDS)


def _machine(series: Sequence[Series]) -> str:
    """The device of all runs, in words; empty where it is not one and the same, so that seconds do not compare."""
    found = set()
    for each in series:
        device, threads = each.record.provenance.get("device"), each.record.provenance.get("threads")
        name = device.get("name") if isinstance(device, dict) else None
        if not isinstance(name, str):
            return ""
        on_cpu = isinstance(device, dict) and device.get("type") == "cpu" and isinstance(threads, int)
        found.add(
            f"{one_line(name)}, {threads} thread{'s' if threads != 1 else ''}" if on_cpu else one_line(name)
        )
    return found.pop() if len(found) == 1 else ""


def _condition(part: MetricPart) -> str:
    if not part.condition:
        return ""
    told = ", ".join(
        f"{one_line(name)} {one_line(str(value))}" for name, value in sorted(part.condition.items())
    )
    return f" ({told})"
