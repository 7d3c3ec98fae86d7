"""From a published table to runs: what every cell needs, what was given, and what is missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bench import registry
from bench.errors import BenchError, did_you_mean
from bench.loading import Preprocessing, named_preprocessing
from bench.opening import DatasetRequest
from bench.options import parse_dataset
from bench.progress import Progress
from bench.protocol import Protocol
from bench.run_request import RunRequest
from bench.shard import Shard
from bench.table_needs import Need, TableData, missing_weights, same_images
from bench.tables import Cell, CellRun, Table, Training, find_table
from bench.weights import describes_itself, read_weights

PAPER = "paper"

_OTHER_SHARD = Need(
    "run",
    "of another shard",
    ("When all shards are done, the same command without --shard shows the whole table.",),
)


@dataclass(frozen=True)
class ReproductionRequest:
    """What ``bench reproduce`` was asked for.

    Attributes:
        datasets: Where the table's data sets lie; one that is none of the table's stands in for all the others.
        checkpoints: Name of weights that the table needs -> file.
        preset: ``paper``, the table's own settings; any other is that preset of every protocol.
        pretraining: Preset with which weights that are not given are trained; None: on procedural data by the
            method's default preset, else not at all.
        only: Methods, as the table or bench calls them; none: all.
    """

    table: str
    datasets: Sequence[DatasetRequest] = ()
    checkpoints: Mapping[str, Path] = field(default_factory=dict)
    preset: str = PAPER
    pretraining: str | None = None
    only: Sequence[str] = ()
    runs: Path = Path("runs")
    seed: int = 0
    device: str = "auto"
    batch_size: int = 64
    workers: int = 0


@dataclass(frozen=True)
class PlannedTraining:
    """Weights that are trained first, and on what."""

    training: Training
    images: DatasetRequest


@dataclass(frozen=True)
class PlannedCell:
    """A cell, what it will run, and what stands in the way.

    Attributes:
        request: None where there is nothing to run, or something is missing.
        trainings: What is trained first, in this order; the last one gives the request's checkpoint.
        barriers: Why the outcome cannot be compared with the printed number, as far as it is known by now.
    """

    cell: Cell
    request: RunRequest | None = None
    trainings: tuple[PlannedTraining, ...] = ()
    missing: tuple[Need, ...] = ()
    barriers: tuple[str, ...] = ()

    @property
    def key(self) -> object:
        """Equal for cells that are numbers of one run."""
        return repr((self.request, self.trainings))


@dataclass(frozen=True)
class Plan:
    """A table, cell by cell, before anything is run."""

    table: Table
    cells: tuple[PlannedCell, ...]

    @property
    def missing(self) -> dict[Need, int]:
        """What is missing -> how many cells wait for it."""
        counts: dict[Need, int] = {}
        for planned in self.cells:
            for need in planned.missing:
                counts[need] = counts.get(need, 0) + 1
        return counts

    @property
    def runs(self) -> int:
        """How many different runs the cells need."""
        return len({planned.key for planned in self.cells if planned.request is not None})

    @property
    def trainings(self) -> tuple[Training, ...]:
        """Networks that are trained first, in an order in which they can be."""
        trained = [one.training for planned in self.cells if planned.request for one in planned.trainings]
        return tuple({training.name: training for training in trained}.values())

    def part(self, shard: Shard) -> Plan:
        """The same table, of whose runs only those of a shard are left."""
        keys = dict.fromkeys(planned.key for planned in self.cells if planned.request is not None)
        left = {key for number, key in enumerate(keys) if shard.holds(number)}
        return replace(
            self,
            cells=tuple(
                planned
                if planned.request is None or planned.key in left
                else replace(planned, request=None, trainings=(), missing=(_OTHER_SHARD,))
                for planned in self.cells
            ),
        )


def plan(request: ReproductionRequest, progress: Progress) -> Plan:
    """Which cells can be run with what was given, and what the others lack.

    Raises:
        BenchError: for a table, method, data set, checkpoint or preset that is not known.
    """
    table = find_table(request.table)
    cells = _chosen(table, request.only)
    runs = [cell.run for cell in cells if cell.run is not None]
    origins = _origins(request.checkpoints, runs)
    data = TableData.given(request.datasets, runs, progress)
    return Plan(table, tuple(_planned(cell, request, data, origins) for cell in cells))


def _chosen(table: Table, only: Sequence[str]) -> list[Cell]:
    if not only:
        return list(table.cells)

    def names(cell: Cell) -> set[str]:
        return {cell.method.lower(), *([cell.run.method] if cell.run else [])}

    known = {name for cell in table.cells for name in names(cell)}
    unknown = [name for name in only if name.lower() not in known]
    if unknown:
        raise BenchError(
            f"{table.name} has no method called {unknown[0]!r}", hint=did_you_mean(unknown[0].lower(), known)
        )
    return [cell for cell in table.cells if names(cell) & {name.lower() for name in only}]


def _origins(given: Mapping[str, Path], runs: Sequence[CellRun]) -> dict[str, dict[str, Any]]:
    """What weights that are given tell of their training, by name; official files tell nothing."""
    known = {training.name for run in runs if run.weights for training in run.weights.chain}
    origins: dict[str, dict[str, Any]] = {}
    for name, path in given.items():
        if name not in known:
            raise BenchError(f"the table needs no weights called {name!r}", hint=did_you_mean(name, known))
        if not path.is_file():
            raise BenchError(f"no weights at {path}, which are to be {name!r}")
        if describes_itself(path):
            origins[name] = read_weights(path).provenance
    return origins


def _planned(
    cell: Cell, request: ReproductionRequest, data: TableData, origins: Mapping[str, dict[str, Any]]
) -> PlannedCell:
    run = cell.run
    if run is None:
        return PlannedCell(cell, barriers=cell.barriers)
    if run.protocol not in registry.names("protocols"):
        return PlannedCell(cell, missing=(Need("protocol", run.protocol),), barriers=cell.barriers)
    protocol: Protocol = registry.load("protocols", run.protocol)()
    if request.preset not in {PAPER, *protocol.presets}:
        raise BenchError(
            f"protocol {protocol.name!r} has no preset {request.preset!r}",
            hint=did_you_mean(request.preset, protocol.presets),
        )
    found = data.find(run.dataset) if run.dataset and protocol.uses_data else DatasetRequest()
    weights = run.weights if protocol.uses_weights else None
    checkpoint = request.checkpoints.get(weights.name) if weights else None
    trained = _trained_first(weights, request, data) if weights else ()
    missing = tuple(one for one in (found, *trained) if isinstance(one, Need))
    barriers = (
        *cell.barriers,
        *_data_barriers(run, request, data, protocol),
        *(weights_barriers(weights, origins[weights.name]) if weights and weights.name in origins else ()),
    )
    if isinstance(found, Need) or missing:
        return PlannedCell(cell, missing=tuple(dict.fromkeys(missing)), barriers=barriers)
    trainings = tuple(one for one in trained if isinstance(one, PlannedTraining))
    return PlannedCell(
        cell,
        request=run_request(run, request, found, checkpoint),
        trainings=trainings,
        barriers=(*barriers, *_training_barriers(trainings, request)),
    )


def _trained_first(
    weights: Training, request: ReproductionRequest, data: TableData
) -> tuple[PlannedTraining | Need, ...]:
    """What leads from the weights that are given to those that are wanted."""
    if weights.name in request.checkpoints:
        return ()
    if request.pretraining is None and not data.is_procedural:
        return (missing_weights(weights),)
    images = data.find(*same_images(weights.dataset))
    before = _trained_first(weights.initial, request, data) if weights.initial else ()
    return (*before, images if isinstance(images, Need) else PlannedTraining(weights, images))


def _data_barriers(
    run: CellRun, request: ReproductionRequest, data: TableData, protocol: Protocol
) -> tuple[str, ...]:
    if run.dataset is None or not protocol.uses_data:
        return ()
    barriers = []
    if run.dataset not in data.own and data.substitute is not None:
        kind = "procedural data" if data.is_procedural else "other data"
        barriers.append(f"{kind}: {data.substitute.request.spec} instead of {run.dataset}")
    if request.preset != PAPER:
        barriers.append(f"{request.preset!r} preset instead of the paper's settings")
    return tuple(barriers)


def _training_barriers(trainings: Sequence[PlannedTraining], request: ReproductionRequest) -> tuple[str, ...]:
    """Why weights that are trained first are not those that the table is about."""
    others = dict.fromkeys(
        one.images.spec
        for one in trainings
        if parse_dataset(one.images.spec)[0] not in same_images(one.training.dataset)
    )
    short = trainings and request.pretraining != PAPER
    return (
        *(("weights of a short training",) if short else ()),
        *(f"weights trained on {name}" for name in others),
    )


def weights_barriers(weights: Training, found: Mapping[str, Any]) -> tuple[str, ...]:
    """Why weights that are given are not those that the table is about, as far as they tell."""
    if "format" in found:  # converted from official ones
        return ()
    barriers = []
    if found.get("preset") != PAPER:
        barriers.append(f"weights of preset {found.get('preset')!r}")
    if found.get("dataset") not in same_images(weights.dataset):
        barriers.append(f"weights trained on {found.get('dataset')} instead of {weights.dataset}")
    if found.get("share", 1.0) != weights.share:
        barriers.append(
            f"weights of {found.get('share', 1.0):.0%} of the images instead of {weights.share:.0%}"
        )
    return tuple(barriers)


def run_request(
    run: CellRun, request: ReproductionRequest, dataset: DatasetRequest, checkpoint: Path | None
) -> RunRequest:
    """What is run for a cell: by the paper's settings, or those of the preset that was asked for."""
    paper = request.preset == PAPER
    is_own = run.dataset is not None and parse_dataset(dataset.spec)[0] == run.dataset
    return RunRequest(
        method=run.method,
        protocol=run.protocol,
        dataset=DatasetRequest(dataset.spec, (*run.dataset_options, *dataset.options)) if is_own else dataset,
        preset=run.paper_preset if paper else request.preset,
        checkpoint=checkpoint,
        method_options=run.method_options,
        protocol_options=(*run.protocol_options, *(run.paper_options if paper else ())),
        train_split=run.train_split if is_own else None,
        test_split=run.test_split if is_own else None,
        preprocessing=_preprocessing(run),
        runs=request.runs,
        seed=request.seed,
        device=request.device,
        batch_size=request.batch_size,
        workers=request.workers,
    )


def _preprocessing(run: CellRun) -> Preprocessing:
    changes = {"image_size": run.image_size, "margin": run.margin}
    return named_preprocessing(run.preprocessing).model_copy(
        update={key: value for key, value in changes.items() if value is not None}
    )
