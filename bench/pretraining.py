"""One pre-training job: from names to a weights file, resumable and refused where it would mix two jobs."""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout

from bench import __version__
from bench.allocator import retain_heap
from bench.errors import BenchError
from bench.files import require_writable, write_atomically
from bench.loading import Preprocessing, load_split
from bench.method import PretrainJob
from bench.opening import (
    DatasetRequest,
    choose_device,
    load_method,
    open_dataset,
    preset_of,
    resolve_options,
)
from bench.progress import Progress
from bench.record import content_hash

_JOB_FILE = "job.json"


@dataclass(frozen=True)
class PretrainRequest:
    """What ``bench pretrain`` was asked for.

    Attributes:
        splits: Splits whose images are used; None: the data set's own choice (never its test split).
        output: Folder of weights, checkpoints and log; None: named after the job, under ``checkpoints``.
    """

    method: str
    dataset: DatasetRequest = field(default_factory=DatasetRequest)
    preset: str = "small"
    method_options: Sequence[str] = ()
    recipe_options: Sequence[str] = ()
    splits: Sequence[str] | None = None
    output: Path | None = None
    seed: int = 0
    device: str = "auto"
    precision: str = "auto"
    snapshot_every: int = 0
    tensorboard: bool = False
    workers: int = 0


def pretrain(request: PretrainRequest, progress: Progress) -> Path:
    """Train, or continue, or find the finished weights of the same job.

    Returns:
        The weights file.

    Raises:
        BenchError: for any name, option, image or folder that cannot work, before the training starts.
    """
    retain_heap()
    method = load_method(request.method)
    if not method.presets:
        raise BenchError(f"method {method.name!r} is not trained: it has nothing to pre-train")
    preset = preset_of(method.presets, request.preset, f"method {method.name!r}")
    options = resolve_options(
        method.Options, request.method_options, f"method {method.name!r}", base=preset.options
    )
    recipe = resolve_options(
        method.Recipe, request.recipe_options, f"recipe of method {method.name!r}", base=preset.recipe
    )
    device = choose_device(request.device)
    precision = _precision(request, device)
    if request.tensorboard and importlib.util.find_spec("tensorboard") is None:
        raise BenchError(
            "--tensorboard needs the package 'tensorboard'", hint="Install landmark-bench[logging]."
        )
    dataset = open_dataset(request.dataset)
    splits = tuple(request.splits or dataset.provider.pretraining_splits(dataset.location, dataset.options))
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
    where = re.sub(r"\W+", "-", name)
    output = request.output or Path(
        "checkpoints", f"{method.name}-{request.preset}-{where}-{content_hash(identity)[:8]}"
    )
    require_writable(output)
    with _only_process(output):
        _claim(output, identity)
        weights = output / "weights.safetensors"
        if weights.is_file():
            progress.say(f"finished weights of this very job are there: {weights}")
            return weights
        loaded = [
            load_split(
                part, Preprocessing(image_size=recipe.image_size), workers=request.workers, progress=progress
            )
            for part in opened
        ]
        images = torch.cat([part.images for part in loaded])
        provenance: dict[str, Any] = {
            "dataset": name,
            "dataset_options": dataset.options.model_dump(mode="json"),
            "tier": opened[0].info.tier,
            "splits": list(splits),
            "fingerprints": identity["data"],
            "images": len(images),
            "preset": request.preset,
            "recipe": identity["recipe"],
            "seed": request.seed,
            "precision": precision,
            "bench": __version__,
        }
        if images.shape[0] < 2:
            raise BenchError(f"pre-training needs at least 2 images, got {images.shape[0]}")
        progress.say(
            f"pre-training [bold]{method.name}[/bold] ({request.preset}) on {len(images)} images of "
            f"{name}, output in {output}"
        )
        job = PretrainJob(
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
        )
        return method.pretrain(job)


def _precision(request: PretrainRequest, device: torch.device) -> str:
    known = ("auto", "float32", "bfloat16")
    if request.precision not in known:
        raise BenchError(
            f"no precision is called {request.precision!r}", hint=f"Use one of {', '.join(known)}."
        )
    if request.precision == "auto":
        # The paper's preset trains as the paper did, in single precision.
        return "bfloat16" if request.preset != "paper" and _computes_in_bfloat16(device) else "float32"
    return request.precision


def _computes_in_bfloat16(device: torch.device) -> bool:
    """Whether half precision is faster there: in hardware, not emulated."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type != "cpu":
        return False
    # What torch itself asks before it takes its bfloat16 kernels; older versions lack the question.
    probe = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return bool(probe and probe())


def _claim(output: Path, identity: dict[str, Any]) -> None:
    """Make sure that a folder holds one job only."""
    path = output / _JOB_FILE
    text = json.dumps(identity, indent=2, sort_keys=True)
    if not path.exists():
        write_atomically(path, text)
        return
    try:
        found = json.loads(path.read_text())
    except ValueError:
        found = None
    if found != json.loads(text):
        changed = [k for k in identity if not isinstance(found, dict) or found.get(k) != json.loads(text)[k]]
        raise BenchError(
            f"{output} holds another pre-training job (it differs in {', '.join(changed)})",
            hint="Give another --output, or remove that folder.",
        )


@contextmanager
def _only_process(output: Path) -> Iterator[None]:
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
