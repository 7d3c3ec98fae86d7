"""A batch in parts: exact for a mean over images; told where it cannot be."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.errors import BenchError
from bench.method import MethodOptions, PretrainJob, Recipe
from bench.progress import Progress
from bench.seeds import seeded_initialisation
from bench.training import Batch, Stage, run_stage


class _Unused(MethodOptions):
    """None."""


def _job(output: Path, **changes: Any) -> PretrainJob:
    images = torch.randint(
        0, 256, (26, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    job = PretrainJob(
        images=images,
        options=_Unused(),
        recipe=Recipe(image_size=8),
        output=output,
        seed=3,
        device=torch.device("cpu"),
        progress=Progress.silent(),
        provenance={},
    )
    return replace(job, **changes)


def _stage(network: nn.Module, batch_size: int = 8) -> Stage:
    """Reconstruction: a mean over the images, whose network sees each image alone; two terms."""

    def losses(batch: Batch, _: torch.Generator) -> dict[str, Tensor]:
        error = F.mse_loss(network(batch.images), batch.images)
        size = network(batch.images).abs().mean()
        return {"loss": error + 0.1 * size, "size": size}

    return Stage(
        name="reconstruction",
        modules={"network": network},
        optimiser=torch.optim.AdamW(network.parameters()),
        steps=9,
        batch_size=batch_size,
        learning_rate=lambda step: 1e-2 / (1 + step),
        losses=losses,
        export=lambda path, step: None,
    )


def _train(output: Path, **changes: Any) -> tuple[list[dict[str, float]], dict[str, Tensor]]:
    with seeded_initialisation(0, "network"):
        network = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 3, 3, padding=1))
    run_stage(_job(output, **changes), _stage(network))
    with (output / "log.csv").open(newline="") as stream:
        rows = [{k: float(v) for k, v in row.items() if k != "stage"} for row in csv.DictReader(stream)]
    return rows, network.state_dict()


@pytest.mark.parametrize("parts", [2, 3, 4])  # of 8 images: 3, 3 and 2 of them are parts of unequal size
def test_parts_of_a_mean_are_the_mean(tmp_path: Path, parts: int) -> None:
    rows, weights = _train(tmp_path / "whole")
    in_parts, weights_of_parts = _train(tmp_path / "parts", accumulate=parts)
    assert len(rows) == 9
    assert rows[8]["loss"] < 0.8 * rows[0]["loss"]
    for one, other in zip(rows, in_parts, strict=True):
        assert other == pytest.approx(one, rel=1e-5)
    for name, tensor in weights.items():
        torch.testing.assert_close(weights_of_parts[name], tensor, rtol=1e-4, atol=1e-5)


def test_a_batch_has_only_so_many_parts(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=r"a batch of 8 images of stage 'reconstruction' cannot .* 5 parts"):
        _train(tmp_path, accumulate=5)


def test_a_whole_batch_may_be_a_single_image(tmp_path: Path) -> None:
    network = nn.Conv2d(3, 3, 1)
    run_stage(_job(tmp_path), _stage(network, batch_size=1))
    assert len((tmp_path / "log.csv").read_text().splitlines()) == 10
