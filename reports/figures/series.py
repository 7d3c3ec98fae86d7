"""What a figure shows together: the runs that answer one question, each with its name and look."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bench.errors import BenchError, did_you_mean
from bench.record import MetricPart, RunRecord, content_hash
from bench.report import Runs
from reports.figures.style import BASELINES, Look, looks
from reports.frame import Selection, one_line, question_of

MOST_LEARNED = 10
"""Methods in one figure that have learned something; more cannot be told apart. The best are shown."""
MOST_BASELINES = 4

TIERS = {
    "procedural": "procedural data, not photographs",
    "own": "own data",
    "published": "published data set",
}

_LARGEST = 1e9  # no metric comes near; beyond, axes fail
_LONGEST_NAME = 32


@dataclass(frozen=True, eq=False)
class Series:
    """One run in a figure."""

    record: RunRecord
    label: str
    look: Look

    @property
    def method(self) -> str:
        return one_line(self.record.method.name)


@dataclass(frozen=True, eq=False)
class Question:
    """One protocol, exactly, on one set of data, exactly, and all chosen runs that answer it.

    Attributes:
        slug: Names it among the questions of a figure kind.
        left_out: How many runs are not shown, because there are better ones.
        repeated: Whether there are more seeds than are shown.
    """

    slug: str
    series: tuple[Series, ...]
    left_out: int = 0
    repeated: bool = False

    @property
    def record(self) -> RunRecord:
        return self.series[0].record

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(each.record.id for each in self.series)

    def data(self) -> str:
        """Which data, for a caption; what it is not is said too."""
        part = self.record.dataset
        if part is None:
            return "no data"
        images = f", {part.counts['test']} test images" if "test" in part.counts else ""
        return f"{one_line(part.name)} ({TIERS[part.tier]}; {part.landmarks} landmarks{images})"

    def asked(self) -> str:
        """Which protocol, for a caption."""
        part = self.record.protocol
        return f"protocol {one_line(part.name)} ({one_line(part.preset)}, version {part.version})"

    def place(self) -> str:
        """The data set, for a title, and what else is needed where another question has the same data and protocol."""
        more = self.slug.removeprefix(_base(self.record)).lstrip("-")
        return dataset_name(self.record) + (f" ({more})" if more else "")

    def remark(self) -> str:
        """What a caption says of runs that are not shown."""
        seeds = (
            " Of runs that differ in the seed alone, that of the lowest is shown." if self.repeated else ""
        )
        if not self.left_out:
            return seeds
        return f"{seeds} The best {len(self.series)} of {len(self.series) + self.left_out} runs are shown."

    def metrics(self, selection: Selection, fits: Callable[[MetricPart], bool]) -> list[str]:
        """The metrics to be drawn: the first one that has such values, or those that are asked for."""
        found = dict.fromkeys(
            part.metric for each in self.series for part in each.record.metrics if fits(part)
        )
        wanted = [name for name in found if one_line(name) in selection.metrics]
        return wanted if selection.metrics else list(found)[:1]

    def ranked(self, score: Callable[[RunRecord], float | None], direction: str) -> Question:
        """The runs that have a score, the best first, baselines last; too many are left out."""
        scored = [(score(each.record), each) for each in self.series]
        sign = 1 if direction == "lower" else -1
        there = sorted(
            ((sign * value, each.label, each) for value, each in scored if value is not None),
            key=lambda item: item[:2],
        )
        learned = [each for *_, each in there if not each.look.baseline]
        baselines = [each for *_, each in there if each.look.baseline]
        # Each baseline once before any of them twice.
        firsts = {each.method: each for each in reversed(baselines)}
        chosen = sorted(baselines, key=lambda each: firsts[each.method] is not each)[:MOST_BASELINES]
        shown = (*learned[:MOST_LEARNED], *(each for each in baselines if each in chosen))
        return replace(self, series=shown, left_out=self.left_out + len(there) - len(shown))


def questions(runs: Runs, selection: Selection, protocols: Sequence[str]) -> list[Question]:
    """The chosen runs of the given protocols by what was asked; failed ones are no part of a figure.

    Raises:
        BenchError: where a name in the selection matches no record.
    """
    groups: dict[tuple[Any, ...], list[RunRecord]] = defaultdict(list)
    for record in chosen(runs, selection):
        if record.protocol.name in protocols:
            groups[question_of(record)].append(record)
    by_method = looks(one_line(record.method.name) for record in runs.records)
    found = []
    for key, slug in zip(sorted(groups), _slugs([groups[key][0] for key in sorted(groups)]), strict=True):
        shown = _first_seeds(groups[key])
        found.append(Question(slug, _series(shown, by_method), repeated=len(shown) < len(groups[key])))
    return sorted(found, key=lambda question: question.slug)


def _first_seeds(records: Sequence[RunRecord]) -> list[RunRecord]:
    """Of records that differ in nothing but the seed, that of the lowest: a best one would be picked by its luck."""
    kept: dict[str, RunRecord] = {}
    for record in sorted(records, key=lambda record: record.seed):
        kept.setdefault(content_hash({**record.identity(), "seed": None}), record)
    return list(kept.values())


def chosen(runs: Runs, selection: Selection) -> list[RunRecord]:
    """The ok records of the selection, by id.

    Raises:
        BenchError: where a name in the selection matches no record.
    """
    wanted: tuple[tuple[str, tuple[str, ...], Callable[[RunRecord], Iterable[str]]], ...] = (
        ("method", selection.methods, lambda record: [one_line(record.method.name)]),
        ("dataset", selection.datasets, lambda record: [dataset_name(record)]),
        ("protocol", selection.protocols, lambda record: [one_line(record.protocol.name)]),
        ("metric", selection.metrics, lambda record: {one_line(part.metric) for part in record.metrics}),
    )
    kept = sorted((record for record in runs.records if record.status == "ok"), key=lambda record: record.id)
    for what, names, read in wanted:
        if not names:
            continue
        known = {name for record in runs.records for name in read(record)}
        for name in names:
            if name not in known:
                raise BenchError(f"no run has the {what} {name!r}", hint=did_you_mean(name, known))
        kept = [record for record in kept if not set(names).isdisjoint(read(record))]
    return kept


def dataset_name(record: RunRecord) -> str:
    return "none" if record.dataset is None else one_line(record.dataset.name)


def drawable(part: MetricPart) -> bool:
    """Whether a value has a place on an axis."""
    return all(
        abs(number) < _LARGEST for number in (part.value, part.low, part.high, part.std) if number is not None
    )


def value_of(record: RunRecord, metric: str, **condition: Any) -> float | None:
    """The value of a metric under a condition, where there is one that can be drawn."""
    for part in record.metrics:
        if part.metric == metric and part.condition == condition and drawable(part):
            return part.value
    return None


def slug(*parts: str) -> str:
    """Letters, digits and ``-``, for names of files and anchors."""
    return "-".join(re.sub(r"[^0-9a-z]+", "-", part.lower()).strip("-") for part in parts if part)


def unique(names: Sequence[Sequence[str]]) -> list[str]:
    """For each thing, the first of its ever longer names that no other thing has; the last one where there is none."""
    depth = [0] * len(names)
    while True:
        found = [each[place] for each, place in zip(names, depth, strict=True)]
        counts = Counter(found)
        deeper = [i for i, name in enumerate(found) if counts[name] > 1 and depth[i] < len(names[i]) - 1]
        if not deeper:
            return found
        for i in deeper:
            depth[i] += 1


def _slugs(records: Sequence[RunRecord]) -> list[str]:
    candidates = []
    for record in records:
        base = _base(record)
        preset = slug(base, record.protocol.preset)
        candidates.append((base, preset, slug(preset, content_hash([*question_of(record)])[:6])))
    return unique(candidates)


def _base(record: RunRecord) -> str:
    return slug(record.protocol.name, dataset_name(record))


def _series(records: Sequence[RunRecord], by_method: Mapping[str, Look]) -> tuple[Series, ...]:
    """By name, those without learning last, each with a label of its own."""
    ordered = sorted(
        records, key=lambda record: (record.method.name in BASELINES, record.method.name, record.id)
    )
    found: list[Series] = []
    numbers: Counter[str] = Counter()
    for record, label in zip(ordered, labels(ordered), strict=True):
        name = one_line(record.method.name)
        found.append(Series(record, label, by_method[name].variant(numbers[name])))
        numbers[name] += 1
    return tuple(found)


def labels(records: Sequence[RunRecord]) -> list[str]:
    """A short name each: the method's, with as much of what tells it from its namesakes as is needed."""
    tellers: tuple[Callable[[RunRecord], str], ...] = (
        lambda record: _short(one_line(record.method.name)),
        _network,
        lambda record: f"{record.method.feature_dim}-d",
        lambda record: record.method.feature_dtype,
        lambda record: f"weights {one_line(record.method.weights_sha256)[:6]}",
        lambda record: f"seed {record.seed}",
        lambda record: f"run {record.id[:6]}",
    )
    texts = [[tellers[0](record)] for record in records]
    for tell in tellers[1:]:
        for group in _namesakes(texts):
            told = [tell(records[i]) for i in group]
            if len(set(told)) > 1:
                for i, text in zip(group, told, strict=True):
                    texts[i] += [text] if text else []
    return [name if not rest else f"{name} ({', '.join(rest)})" for name, *rest in texts]


def _namesakes(texts: Sequence[Sequence[str]]) -> list[list[int]]:
    groups: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for i, text in enumerate(texts):
        groups[tuple(text)].append(i)
    return [group for group in groups.values() if len(group) > 1]


def _network(record: RunRecord) -> str:
    """Of an untrained network: whose it is."""
    network = record.method.options.get("network")
    return _short(one_line(network)) if record.method.name == "random" and isinstance(network, str) else ""


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST_NAME else text[: _LONGEST_NAME - 1] + "…"


def architecture(record: RunRecord) -> str:
    """Equal where the network is: of an untrained one, that of the method that it belongs to."""
    name, options = record.method.name, record.method.options
    if (
        name == "random"
        and isinstance(options.get("network"), str)
        and isinstance(options.get("options"), dict)
    ):
        name, options = options["network"], options["options"]
    return json.dumps([name, options, record.method.feature_dtype], sort_keys=True)
