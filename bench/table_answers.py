"""Which cells of published tables a stored record answers, and how well: from the record alone.

The rule is that of ``bench reproduce``: the run that a cell asks for (``bench.table_plan.run_request``) is laid beside
what the record says of its own run. A record of another method, network, protocol or data set answers nothing; what
else differs is a reason why the two numbers cannot be compared.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from bench import registry
from bench.errors import BenchError
from bench.landmarks import DatasetProvider
from bench.method import Method
from bench.network import default_architecture
from bench.opening import DatasetRequest, resolve_options
from bench.options import parse_dataset, parse_options
from bench.pretraining import PretrainRequest, resolve_job
from bench.protocol import Protocol
from bench.record import DatasetPart, RunRecord, content_hash
from bench.reproduction import Outcome, outcome_of
from bench.runner import RunRequest
from bench.table_plan import PAPER, ReproductionRequest, run_request, weights_barriers
from bench.tables import Cell, CellRun, Table, Training, all_tables
from bench.weights import Weights

_UNTOLD = "the record does not say how its weights were trained"


def answers(records: Sequence[RunRecord]) -> Iterator[tuple[RunRecord, Table, Outcome]]:
    """Every printed number that a record has one of its own for, judged; by record, then in the papers' order.

    A table that a paper has twice, under two names, is there once.
    """
    questions = _questions()
    for record in records:
        seen: set[tuple[str, ...]] = set()
        for question in questions.get((record.method.name, record.protocol.name), ()):
            paper = question.table.name.partition(":")[0]
            cell = question.cell
            place = (paper, cell.row, cell.column, cell.value, cell.std)
            if place in seen or not question.is_answered_by(record):
                continue
            outcome = outcome_of(cell, record, (*cell.barriers, *question.barriers(record)))
            if outcome.ours is not None:
                seen.add(place)
                yield record, question.table, outcome


class _Components:
    """What cells name, each looked up once: a look-up reads all that is installed."""

    def __init__(self, tables: Sequence[Table]) -> None:
        self._found: dict[tuple[registry.Group, str], Any] = {}
        self._jobs: dict[Training, tuple[dict[str, Any], str]] = {}
        runs = (cell.run for table in tables for cell in table.cells)
        self.trainings = {training for run in runs if run and run.weights for training in run.weights.chain}

    def method(self, name: str) -> Method:
        return self._one("methods", name)  # type: ignore[no-any-return]

    def protocol(self, name: str) -> Protocol:
        return self._one("protocols", name)  # type: ignore[no-any-return]

    def dataset(self, name: str) -> DatasetProvider:
        return self._one("datasets", name)  # type: ignore[no-any-return]

    def job(self, training: Training) -> tuple[dict[str, Any], str]:
        """Options of the network that the paper's training gives, and the hash of its recipe."""
        if training not in self._jobs:
            options, recipe = self._resolved(training)
            self._jobs[training] = (
                options.model_dump(mode="json"),
                content_hash(recipe.model_dump(mode="json")),
            )
        return self._jobs[training]

    def _resolved(self, training: Training) -> tuple[Any, Any]:
        method = self.method(training.method)
        request = PretrainRequest(
            method=training.method,
            dataset=DatasetRequest(training.dataset),
            preset=PAPER,
            variant=training.variant,
            method_options=training.method_options,
            recipe_options=training.recipe_options,
        )
        initial = None
        if training.initial is not None:
            before, _ = self.job(training.initial)
            initial = Weights(
                Path(), "", training.method, before, {}, {}
            )  # its options are all that counts here
        return resolve_job(method, request, initial)

    def _one(self, group: registry.Group, name: str) -> Any:
        if (group, name) not in self._found:
            self._found[group, name] = registry.load(group, name)()
        return self._found[group, name]


@dataclass(frozen=True, eq=False)
class _Question:
    """A cell with a printed number, and what a run for it would say of itself."""

    table: Table
    cell: Cell
    run: CellRun
    components: _Components

    @property
    def protocol(self) -> Protocol:
        return self.components.protocol(self.run.protocol)

    @cached_property
    def request(self) -> RunRequest:
        """As ``bench reproduce`` makes it where the paper's own data is given."""
        wanted = ReproductionRequest(table=self.table.name)
        dataset = DatasetRequest(self.run.dataset) if self.run.dataset else DatasetRequest()
        return run_request(self.run, wanted, dataset, None)

    @cached_property
    def method_options(self) -> dict[str, Any]:
        method = self.components.method(self.run.method)
        weights = self.run.weights if self.protocol.uses_weights else None
        base = default_architecture(method) if weights is None else self.components.job(weights)[0]
        options = resolve_options(method.Options, self.request.method_options, method.name, base=base)
        described = method.describe(options)
        if not self.protocol.uses_weights:
            # The rest is that of the weights which happen to be shipped, and changes no cost.
            named = {item.partition("=")[0].strip() for item in self.request.method_options}
            return {name: value for name, value in described.items() if name in named}
        return described

    @cached_property
    def protocol_options(self) -> dict[str, Any]:
        base = self.protocol.presets[self.request.preset]
        options = resolve_options(
            self.protocol.Options, self.request.protocol_options, self.protocol.name, base=base
        )
        found: dict[str, Any] = options.model_dump(mode="json")
        return found

    @cached_property
    def splits(self) -> dict[str, str]:
        """Those that the table asks for; the data set's own where they can be told without its files."""
        assert self.run.dataset is not None
        named = {"train": self.run.train_split, "test": self.run.test_split}
        provider = self.components.dataset(self.run.dataset)
        options = parse_options(provider.Options, self.run.dataset_options, self.run.dataset)
        try:
            own = dict(zip(("train", "test"), provider.evaluation_splits(None, options), strict=True))
        except BenchError:
            own = {}
        return own | {role: name for role, name in named.items() if name}

    def is_answered_by(self, record: RunRecord) -> bool:
        """Whether the record is of the cell's network, protocol and data set."""
        if record.status != "ok" or not self._is_on_the_data(record.dataset):
            return False
        found = record.method.options
        if not self.protocol.uses_weights:
            return self.method_options.items() <= found.items()
        return found == self.method_options

    def barriers(self, record: RunRecord) -> tuple[str, ...]:
        """Why the record's number cannot be compared with the printed one; the cell's own reasons are not repeated."""
        found = [*self._protocol_barriers(record)]
        if record.dataset is not None:
            found += self._data_barriers(record.dataset)
        if record.method.feature_dtype != "float32":
            found.append(f"features in {record.method.feature_dtype}")
        if self.run.weights is not None and self.protocol.uses_weights:
            found += _origin_barriers(self.run.weights, record.provenance.get("weights"), self.components)
        return tuple(found)

    def _is_on_the_data(self, part: DatasetPart | None) -> bool:
        if self.run.dataset is None:
            return part is None
        return (
            part is not None and part.tier == "published" and parse_dataset(part.name)[0] == self.run.dataset
        )

    def _protocol_barriers(self, record: RunRecord) -> list[str]:
        barriers = []
        if record.protocol.version != self.protocol.version:
            barriers.append(f"protocol version {record.protocol.version}, now {self.protocol.version}")
        wanted = {k: v for k, v in self.protocol_options.items() if k not in self.run.free_options}
        found = {k: v for k, v in record.protocol.options.items() if k not in self.run.free_options}
        return barriers + _differing("protocol option", found, wanted)

    def _data_barriers(self, part: DatasetPart) -> list[str]:
        named = {item.partition("=")[0].strip() for item in self.run.dataset_options}
        assert self.run.dataset is not None
        model = self.components.dataset(self.run.dataset).Options
        wanted = parse_options(model, self.run.dataset_options, self.run.dataset).model_dump(mode="json")
        splits = {role: name for role, name in self.splits.items() if role in part.splits}
        return [
            *_differing("data option", part.options, {name: wanted[name] for name in named}, extra=True),
            *_differing("split", part.splits, splits, extra=True),
            *_differing(
                "preprocessing",
                part.preprocessing,
                self.request.preprocessing.model_dump(mode="json"),
            ),
        ]


def _questions() -> dict[tuple[str, str], list[_Question]]:
    """By method and protocol; those of which everything is installed."""
    tables = tuple(all_tables())
    components = _Components(tables)
    known = {group: registry.names(group) for group in ("methods", "protocols", "datasets")}
    questions: dict[tuple[str, str], list[_Question]] = {}
    for table in tables:
        for cell in table.cells:
            run = cell.run
            if run is None or not cell.value:
                continue
            installed = run.method in known["methods"] and run.protocol in known["protocols"]
            if installed and (run.dataset is None or run.dataset in known["datasets"]):
                questions.setdefault((run.method, run.protocol), []).append(
                    _Question(table, cell, run, components)
                )
    return questions


def _origin_barriers(training: Training, origin: object, components: _Components) -> list[str]:
    """Why weights are not, or not surely, those of the table."""
    if not isinstance(origin, Mapping):
        return [_UNTOLD]
    if "format" in origin:
        return _release_barriers(training, origin.get("files"), components)
    barriers = list(weights_barriers(training, origin))
    _, recipe = components.job(training)
    if origin.get("recipe") != recipe:
        barriers.append("weights of another recipe than the table's")
    if training.initial is not None:
        before = _origin_barriers(training.initial, origin.get("initial"), components)
        barriers += [f"first stage: {reason}" for reason in before]
    elif origin.get("initial") is not None:
        barriers.append("weights whose training started from others")
    return barriers


def _release_barriers(training: Training, files: object, components: _Components) -> list[str]:
    """Released files are known by their names; several papers' files share one."""
    names = sorted(files) if isinstance(files, Mapping) else []
    if not any(name in training.official.split(" (")[0] for name in names):
        return [
            f"released weights {' + '.join(names) or 'of no name'}, which are not known to be the table's"
        ]
    options, _ = components.job(training)
    namesakes = sorted(
        other.name
        for other in components.trainings
        if other.method == training.method
        and any(name in other.official for name in names)
        and components.job(other)[0] == options
    )
    if len(namesakes) > 1:
        return [f"several released weights are called so: {', '.join(namesakes)}"]
    return []


def _differing(
    what: str, found: Mapping[str, Any], wanted: Mapping[str, Any], *, extra: bool = False
) -> list[str]:
    """What is not as wanted, one line each.

    Args:
        extra: Further entries of ``found`` do not matter.
    """
    names = wanted.keys() if extra else wanted.keys() | found.keys()
    return [
        f"{what} {name} {_text(found, name)} instead of {_text(wanted, name)}"
        for name in sorted(names)
        if found.get(name) != wanted.get(name)
    ]


def _text(values: Mapping[str, Any], name: str) -> str:
    return json.dumps(values[name]) if name in values else "nothing"
