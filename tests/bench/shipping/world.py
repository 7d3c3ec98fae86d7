"""A method that ships weights from a folder that a test chooses."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import torch

from bench.method import Preset
from bench.opening import DatasetRequest
from bench.pretraining import PretrainRequest, pretrain
from bench.progress import Progress
from bench.shipped import MANIFEST
from tests.bench.conforming import TRAINING, Honest

QUIET, CPU = Progress.silent(), torch.device("cpu")
SHIPPED = "shipped-blobs"


class Shipping(Honest):
    """The honest method, which ships weights from a folder that a test chooses."""

    presets: ClassVar[dict[str, Preset]] = {
        "paper": Preset("Seconds.", recipe=TRAINING),
        SHIPPED: Preset("What ships.", options={"width": 6}, recipe=TRAINING),
    }
    shipped_presets = (SHIPPED,)
    package: ClassVar[Path]

    def weights_folder(self) -> Path:
        return self.package / "weights"


def train(faces: Path, output: Path, **changes: Any) -> Path:
    request = PretrainRequest(
        "honest", DatasetRequest(f"coco:{faces}"), SHIPPED, output=output, precision="float32", device="cpu"
    )
    pretrain(replace(request, **changes), QUIET)
    return output


def edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads((folder / MANIFEST).read_text())
    change(content)
    (folder / MANIFEST).write_text(json.dumps(content))
