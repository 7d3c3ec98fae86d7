"""One pre-training job: from names to a weights file, resumable and refused where it would mix two jobs."""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout

from bench import __version__
from bench.accelerate_settings import require_no_other_settings
from bench.allocator import retain_heap
from bench.distributed import Team, team_of
from bench.errors import BenchError, did_you_mean
from bench.files import require_writable, write_atomically
from bench.image_cache import ImageCache
from bench.loading import LoadedSplit, Preprocessing, load_split
from bench.method import Annotations, Method, PretrainJob
from bench.opening import (
    DatasetRequest,
    OpenedDataset,
    load_method,
    open_dataset,
    preset_of,
    resolve_options,
)
from bench.precision import choose_precision, forbid_tf32
from bench.progress import Progress
from bench.record import content_hash
from bench.seeds import torch_generator
from bench.training_cost import CostMeter, repeating_command
from bench.weights import Weights, read_weights

_JOB_FILE = "job.json"


@dataclass(frozen=True)
class PretrainRequest:
    """What ``bench pretrain`` was asked for.

    Attributes:
        variant: One of the method's variants, on top of the preset.
        initial: Weights to start from: fine-tuning. Their architecture is the job's.
        splits: Splits whose images are used; None: the data set's own choice (never its test split).
        share: Part of their images that is used, drawn by the seed; a smaller share is part of a larger one.
        accumulate: Parts that a batch is computed in, one after another; batch norm, and what the loss contrasts, see a
            part.
        output: Folder of weights, checkpoints and log; None: named after the job, under ``checkpoints``.
    """

    method: str
    dataset: DatasetRequest = field(default_factory=DatasetRequest)
    preset: str = "small"
    variant: str | None = None
    initial: Path | None = None
    method_options: Sequence[str] = ()
    recipe_options: Sequence[str] = ()
    splits: Sequence[str] | None = None
    share: float = 1.0
    output: Path | None = None
    seed: int = 0
    device: str = "auto"
    precision: str = "auto"
    accumulate: int = 1
    snapshot_every: int = 0
    tensorboard: bool = False
    workers: int = 0


def pretrain(request: PretrainRequest, progress: Progress) -> Path:
    """Train, or continue, or find the finished weights of the same job.

    Processes that a launcher has started (``bench.distributed``) train together; the first of them speaks and writes.

    Returns:
        The weights file.

    Raises:
        BenchError: for any name, option, image or folder that cannot work, before the training starts.
    """
    with team_of(request.device) as team:
        return _pretrain(request, progress if team.is_main else Progress.silent(), team)


def _pretrain(request: PretrainRequest, progress: Progress, team: Team) -> Path:
    retain_heap()
    forbid_tf32()
    method = load_method(request.method)
    if not method.presets:
        raise BenchError(f"method {method.name!r} is not trained: it has nothing to pre-train")
    if not 0 < request.share <= 1:
        raise BenchError(
            f"a share of {request.share:g} of the images was asked for, expected more than 0 and at most 1",
            hint="5 %, for example, is --share 0.05.",
        )
    initial = read_weights(request.initial, method=method.name) if request.initial else None
    options, recipe = resolve_job(method, request, initial)
    device = team.device
    # The paper's preset trains as the paper did, in single precision.
    precision = choose_precision(request.precision, device, faithful=request.preset == "paper")
    require_no_other_settings(precision)
    if request.accumulate < 1:
        raise BenchError(f"a batch cannot be computed in {request.accumulate} parts, expected 1 or more")
    if request.tensorboard and importlib.util.find_spec("tensorboard") is None:
        raise BenchError(
            "--tensorboard needs the package 'tensorboard'", hint="Install landmark-bench[logging]."
        )
    dataset = open_dataset(request.dataset)
    splits = tuple(request.splits or _default_splits(method, dataset))
    opened = [dataset.open(split) for split in splits]
    name = opened[0].name
    identity = {
        "method": method.name,
        "options": options.model_dump(mode="json"),
        "recipe": recipe.model_dump(mode="json"),
        "data": {part.split: part.fingerprint for part in opened},
        "seed": request.seed,
        "precision": precision,
    }
    if initial is not None:
        identity["initial"] = initial.sha256
    if request.share != 1:
        identity["share"] = request.share
    if request.accumulate != 1:
        identity["accumulate"] = request.accumulate
    team.require_same("pre-training job", identity)
    where = re.sub(r"\W+", "-", name)
    called = "-".join(part for part in (method.name, request.preset, request.variant) if part)
    output = request.output or Path("checkpoints", f"{called}-{where}-{content_hash(identity)[:8]}")
    weights = output / "weights.safetensors"
    with _only_training(output) if team.is_main else nullcontext():
        if team.from_main(lambda: _is_finished(output, identity)):
            progress.say(f"finished weights of this very job are there: {weights}")
            return weights
        # Where images are kept, one process decodes them while the others wait for the cache's lock.
        preprocessing, cache = Preprocessing(image_size=recipe.image_size), ImageCache.from_environment()
        loaded = [
            load_split(part, preprocessing, workers=request.workers, progress=progress, cache=cache)
            for part in opened
        ]
        # A single split stays mapped from the cache instead of filling the memory.
        images = loaded[0].images if len(loaded) == 1 else torch.cat([part.images for part in loaded])
        annotations = _annotations(loaded) if method.learns_from_annotations else None
        if request.share != 1:
            chosen = shared_images(len(images), request.share, request.seed)
            images = images[chosen]
            if annotations is not None:
                annotations = Annotations(annotations.points[chosen], annotations.visible[chosen])
        provenance: dict[str, Any] = {
            "dataset": name,
            "dataset_options": dataset.options.model_dump(mode="json"),
            "tier": opened[0].info.tier,
            "splits": list(splits),
            "fingerprints": identity["data"],
            "images": len(images),
            "preset": request.preset,
            "variant": request.variant,
            "initial": {"sha256": initial.sha256, "label": initial.label, **initial.origin}
            if initial
            else None,
            "recipe": identity["recipe"],
            "seed": request.seed,
            "precision": precision,
            "bench": __version__,
            **({"share": request.share} if request.share != 1 else {}),
            **({"accumulate": request.accumulate} if request.accumulate != 1 else {}),
        }
        if images.shape[0] < 2:
            raise BenchError(f"pre-training needs at least 2 images, got {images.shape[0]}")
        progress.say(
            f"pre-training [bold]{method.name}[/bold] ({called.removeprefix(method.name + '-')}) on "
            f"{len(images)} images of {name}, output in {output}"
        )
        command = repeating_command(request, precision)
        with CostMeter(output, command, device, team.place) as meter:
            return method.pretrain(
                PretrainJob(
                    images=images,
                    options=options,
                    recipe=recipe,
                    output=output,
                    seed=request.seed,
                    device=device,
                    progress=progress,
                    provenance=provenance,
                    precision=precision,
                    snapshot_every=request.snapshot_every,
                    tensorboard=request.tensorboard,
                    accumulate=request.accumulate,
                    initial=initial,
                    annotations=annotations,
                    on_checkpoint=meter.write,
                )
            )


def resolve_job(method: Method, request: PretrainRequest, initial: Weights | None = None) -> tuple[Any, Any]:
    """Options and recipe: the preset, the variant on top of it, and what the user typed on top of both."""
    what = f"method {method.name!r}"
    preset = preset_of(method.presets, request.preset, what)
    options, recipe = dict(preset.options), dict(preset.recipe)
    if request.variant is not None:
        if request.variant not in method.variants:
            raise BenchError(
                f"{what} has no variant {request.variant!r}",
                hint=did_you_mean(request.variant, method.variants),
            )
        variant = method.variants[request.variant]
        options |= variant.options
        recipe |= variant.recipe
    if initial is not None:
        options = dict(initial.options)  # the network is the one that the weights are of
    return (
        resolve_options(method.Options, request.method_options, what, base=options),
        resolve_options(method.Recipe, request.recipe_options, f"recipe of {what}", base=recipe),
    )


def _default_splits(method: Method, dataset: OpenedDataset) -> tuple[str, ...]:
    if method.learns_from_annotations:
        return (dataset.provider.evaluation_splits(dataset.location, dataset.options)[0],)
    return tuple(dataset.provider.pretraining_splits(dataset.location, dataset.options))


def _annotations(parts: Sequence[LoadedSplit]) -> Annotations:
    schemas = {part.schema.names for part in parts}
    if len(schemas) > 1:
        counts = ", ".join(f"{part.name} has {len(part.schema.names)} landmarks" for part in parts)
        raise BenchError(
            f"the splits do not annotate the same landmarks: {counts}", hint="Choose one with --split."
        )
    return Annotations(
        points=torch.cat([part.points for part in parts]), visible=torch.cat([part.visible for part in parts])
    )


def shared_images(count: int, share: float, seed: int) -> torch.Tensor:
    """Which of ``count`` images a share holds: the first ones of a seeded permutation, in their own order.

    Shapes:
        returns: (round(share * count),), long, increasing.
    """
    order = torch.randperm(count, generator=torch_generator(seed, "pretrain", "share"))
    return order[: round(share * count)].sort().values


def _is_finished(output: Path, identity: dict[str, Any]) -> bool:
    """Whether the weights of this very job are there; the folder becomes that of this job, and of no other."""
    path = output / _JOB_FILE
    text = json.dumps(identity, indent=2, sort_keys=True)
    if not path.exists():
        write_atomically(path, text)
    try:
        found = json.loads(path.read_text())
    except ValueError:
        found = None
    if found != json.loads(text):
        known, wanted = found if isinstance(found, dict) else {}, json.loads(text)
        changed = [k for k in {**wanted, **known} if known.get(k) != wanted.get(k)]
        raise BenchError(
            f"{output} holds another pre-training job (it differs in {', '.join(changed)})",
            hint="Give another --output, or remove that folder.",
        )
    return (output / "weights.safetensors").is_file()


@contextmanager
def _only_training(output: Path) -> Iterator[None]:
    require_writable(output)
    lock = FileLock(output / ".lock", timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise BenchError(
            f"another process is training in {output}", hint="Wait for it, or give another --output."
        ) from error
    try:
        yield
    finally:
        lock.release()
