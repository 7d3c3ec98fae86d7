"""How much there is to compute for the tables of all papers: floating-point operations and bytes, counted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch

from bench import registry
from bench.opening import DatasetRequest, load_method, resolve_options
from bench.pretraining import PretrainRequest, resolve_job
from bench.run_request import RunRequest
from bench.table_plan import ReproductionRequest, run_request
from bench.tables import CellRun, Training, all_tables
from protocols.costs.operators import count_operators

IMAGES: dict[str, tuple[int, int, int]] = {
    "mafl": (19_000, 1_000, 5),
    "mafl-wild": (19_000, 1_000, 5),
    "mafl-unaligned": (19_000, 1_000, 5),
    "aflw-m": (10_122, 2_995, 5),
    "aflw-r": (10_122, 2_991, 5),
    "300w": (3_148, 689, 68),
    "cub": (1_241, 383, 15),
    "bbcpose": (1_000, 1_000, 7),
    "cat-head": (7_747, 1_257, 7),
    "helen": (2_000, 100, 11),
}
"""Training images, test images, landmarks (of HELEN: classes) of the splits that the tables read."""

PRETRAINING_IMAGES = {
    "celeba": 162_770,
    "celeba-wild": 162_770,
    "inat-aves": 100_000,
    "aflw-m": 10_122,
    "aflw-r": 10_122,
    "300w": 3_148,
    "bbcpose": 10_000,
    "cat-head": 7_747,
    "cub": 1_241,
}
"""About: BBC Pose's frames are as many as one takes."""

MAPS = 50
_FLOPS_OF_EXCHANGE = 6.1e9
"""Of DVE's exchange, for a pair at 48 x 48 cells; docs/performance.md has its rate."""


@dataclass(frozen=True)
class Reading:
    """One image through one network.

    Attributes:
        flops: Forward.
        numbers: In the features, at native resolution.
        cells: Of the dense map.
    """

    flops: float
    numbers: int
    cells: int
    dim: int


@dataclass(frozen=True)
class Work:
    """What a job takes.

    Attributes:
        network: FLOP of networks in float32; of trainings of networks in ``training``, in bfloat16.
        head: FLOP of regressors and classifiers on features.
        soft_argmax: Cells of score maps that are brought to a point.
        steps: Of an optimiser.
        bytes_read: Of features that are kept.
    """

    network: float = 0.0
    training: float = 0.0
    head: float = 0.0
    soft_argmax: float = 0.0
    steps: float = 0.0
    bytes_read: float = 0.0


@dataclass(frozen=True)
class Run:
    """One run of the tables: several printed numbers may be of it."""

    request: RunRequest
    dataset: str | None
    weights: Training | None
    papers: frozenset[str]


def runs() -> list[Run]:
    """Every run of every table, once."""
    asked = ReproductionRequest(table="")
    found: dict[str, Run] = {}
    for table in all_tables():
        paper = table.name.partition(":")[0]
        for cell in table.cells:
            if cell.run is None:
                continue
            one = _run(cell.run, asked, paper)
            key = repr(one.request)
            before = found.get(key)
            found[key] = (
                one if before is None else Run(one.request, one.dataset, one.weights, before.papers | {paper})
            )
    return list(found.values())


def _run(cell: CellRun, asked: ReproductionRequest, paper: str) -> Run:
    protocol = registry.load("protocols", cell.protocol)
    weights = cell.weights if protocol.uses_weights else None
    dataset = cell.dataset if protocol.uses_data else None
    spec = DatasetRequest(f"{dataset}:FOLDER") if dataset else DatasetRequest()
    checkpoint = Path(weights.name) if weights else None
    return Run(run_request(cell, asked, spec, checkpoint), dataset, weights, frozenset({paper}))


@cache
def reading(method: str, options: str, side: int) -> Reading:
    """Counted on a network without numbers.

    Args:
        options: JSON of the method's options.
    """
    opened = load_method(method)
    with torch.device("meta"):
        network = opened.build(opened.Options.model_validate_json(options)).eval()
    images = torch.zeros(1, 3, side, side, dtype=torch.uint8, device="meta")
    found = network.extract(images)
    numbers = sum(channels * height * width for channels, height, width in found.layout)
    flops = float(count_operators(network, images).total)
    return Reading(flops, numbers, found.size[0] * found.size[1], found.channels)


def training_job(training: Training) -> tuple[str, Any]:
    """JSON of the options of the network, and the recipe."""
    asked = PretrainRequest(
        method=training.method,
        preset="paper",
        variant=training.variant,
        method_options=training.method_options,
        recipe_options=training.recipe_options,
    )
    options, recipe = resolve_job(load_method(training.method), asked, None)
    return options.model_dump_json(), recipe


def training_work(method: str, options: str, recipe: Any, images: float) -> Work:
    """A forward pass counts once, a backward pass twice; the network's own objective is left out but for DVE's."""

    def passes(count: float, side: int, epochs: float, share: float = images) -> float:
        return count * reading(method, options, side).flops * share * epochs if epochs else 0.0

    views = {"byol": 8, "nt_xent": 6, "moco": 4}
    if method == "lead":
        second = 4 if recipe.stage2_objective == "lead" else 6
        flops = passes(views[recipe.stage1_objective], recipe.view_size, recipe.stage1_epochs)
        flops += passes(second, recipe.stage2_view_size, recipe.stage2_epochs)
        steps = images * (
            recipe.stage1_epochs / recipe.batch_size + recipe.stage2_epochs / recipe.stage2_batch_size
        )
    elif method == "contrast":
        side = recipe.image_size - 2 * recipe.margin
        first_side = recipe.stage1_image_size or side
        flops = passes(views[recipe.stage1_objective], first_side, recipe.stage1_epochs)
        flops += passes(2, side, recipe.stage2_epochs)  # the network is frozen
        steps = images * (
            recipe.stage1_epochs / recipe.batch_size + recipe.stage2_epochs / recipe.stage2_batch_size
        )
    elif method == "dve":
        side = recipe.cropped_size()
        cells = reading(method, options, side).cells
        epochs = recipe.dense_epochs + recipe.epochs
        flops = passes(6, side, epochs)
        flops += images * recipe.epochs * _FLOPS_OF_EXCHANGE * (cells / 48**2) ** 2
        steps = images * epochs / (recipe.pairs or 16)
    elif method == "thewlis":
        epochs = recipe.epochs + recipe.final_epochs
        flops = passes(6, recipe.image_size - 2 * recipe.margin, epochs)
        steps = images * epochs / recipe.batch_size
    elif method == "rahaman":
        flops = passes(6, recipe.image_size, 0 if recipe.end_to_end else recipe.step1_epochs)
        flops += passes(6 if recipe.end_to_end else 2, recipe.image_size, recipe.step2_epochs)
        steps = images * (recipe.step1_epochs + recipe.step2_epochs) / recipe.step1_batch_size
    else:  # supervised
        flops = passes(3, recipe.image_size - 2 * recipe.margin, recipe.steps, recipe.batch_size)
        steps = recipe.steps
    return Work(training=flops, steps=steps)


def network_of(run: Run) -> Reading:
    """Of a run's features."""
    request = run.request
    method = load_method(request.method)
    base: Mapping[str, Any] = {}
    if run.weights is not None:
        trained = load_method(run.weights.method)
        asked = trained.Options.model_validate_json(training_job(run.weights)[0])
        base = asked.model_dump() if trained.name == method.name else {}
    what = f"method {method.name!r}"
    options = resolve_options(method.Options, request.method_options, what, base=dict(base))
    return reading(method.name, options.model_dump_json(), request.preprocessing.image_size)


def _discovered(options: Any, train: int, test: int) -> tuple[float, float]:
    views = 1 if options.backward else options.views
    return train * views + test, options.steps if options.solver == "adam" else 0


_UNSHARED: dict[str, Callable[[Any, int, int], tuple[float, float]]] = {
    "matching": lambda options, train, test: (3 * options.pairs, 0),
    "equivariance": lambda options, train, test: (2 * (options.images or test), 0),
    "discovered": _discovered,
    "finetune": lambda options, train, test: (3 * options.epochs * train + test, options.epochs * train / 32),
}
"""Forward passes, and steps of an optimiser, of protocols that keep no features of whole splits."""


def run_work(run: Run) -> tuple[Work, float]:
    """What a run takes once its features are kept; and FLOP of the features of whole splits, which runs share."""
    protocol: Any = registry.load("protocols", run.request.protocol)
    options = resolve_options(
        protocol.Options,
        run.request.protocol_options,
        run.request.protocol,
        base=dict(protocol.presets[run.request.preset]),
    )
    if run.dataset is None:
        return Work(steps=1), 0.0
    read, (train, test, landmarks) = network_of(run), IMAGES[run.dataset]
    if protocol.name in _UNSHARED:
        passes, steps = _UNSHARED[protocol.name](options, train, test)
        return Work(network=passes * read.flops, steps=steps), 0.0
    if protocol.name == "segmentation":
        images = options.steps * options.batch_size * len(options.counts) * options.draws
        head = 4.0 * images * read.cells * read.dim * landmarks
        network = 3 * images * read.flops if options.finetune else 0.0
        steps = options.steps * len(options.counts) * options.draws
        return Work(network=network, head=head, steps=steps), test * read.flops
    # Regressors of 50 score maps a landmark: products of forward and gradient, 2 FLOP each.
    fresh = 0.0
    if protocol.name == "fewshot":
        per_count = [_copies(count, options) for count in options.counts]
        images = options.epochs * options.draws * sum(per_count)
        fresh = options.draws * sum(per_count) * read.flops
    else:
        images = options.epochs * train
        if protocol.name == "scale":
            fresh = (train + test) * read.flops
    maps = float(MAPS * landmarks * images)
    work = Work(
        network=fresh,
        head=4.0 * maps * read.numbers,
        soft_argmax=maps * read.cells,
        steps=images / options.batch_size,
        bytes_read=4.0 * read.numbers * (train + test),
    )
    return work, 0.0 if protocol.name == "scale" else (train + test) * read.flops


def _copies(count: int, options: Any) -> int:
    return max(1, options.copies // count) * count if options.augment else count
