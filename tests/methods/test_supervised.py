"""Supervised networks: their shapes, their loss, where landmarks go under warps, and that they learn."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest
import torch
from torch import Tensor, nn

from bench.errors import BenchError
from bench.geometry import TPSStrength, TPSWarp
from bench.method import Annotations, PretrainJob
from bench.progress import Progress
from bench.training import Batch
from bench.weights import load_into, read_weights
from methods.supervised import (
    Supervised,
    SupervisedNetwork,
    SupervisedOptions,
    SupervisedRecipe,
    annotated_part,
    coordinate_loss,
    warped,
)

OPTIONS = SupervisedOptions(network="pooled", landmarks=2, maps=8, input_size=32)
RECIPE = SupervisedRecipe(image_size=32, margin=0, batch_size=8, steps=6, learning_rate=1e-3)
STRONG = TPSStrength(0.001, 0.01, 0.1, 0.05, 20.0)


def _squares(count: int, side: int = 32) -> tuple[Tensor, Annotations]:
    """A red and a blue square per image; landmarks are their centres."""
    generator = torch.Generator().manual_seed(0)
    corners = torch.randint(2, side - 8, (count, 2, 2), generator=generator)
    images = torch.full((count, 3, side, side), 60, dtype=torch.uint8)
    for image, places in zip(images, corners, strict=True):
        for channel, (x, y) in zip((0, 2), places.tolist(), strict=True):
            image[:, y : y + 6, x : x + 6] = 0
            image[channel, y : y + 6, x : x + 6] = 255
    return images, Annotations(corners.float() + 3, torch.ones(count, 2, dtype=torch.bool))


def _job(output: Path, recipe: SupervisedRecipe = RECIPE, count: int = 12) -> PretrainJob:
    images, annotations = _squares(count)
    return PretrainJob(
        images=images,
        options=OPTIONS,
        recipe=recipe,
        output=output,
        seed=1,
        device=torch.device("cpu"),
        progress=Progress.silent(),
        provenance={"dataset": "squares"},
        annotations=annotations,
    )


@pytest.mark.parametrize(
    ("options", "dense", "parameters"),
    [
        # Convolutions of the detector with 50 maps, batch norms, and 20 x 20 x 50 -> 10.
        (SupervisedOptions(), (50, 40, 40), 346_018 + 1036 + 20_000 * 10 + 10),
        (SupervisedOptions(network="pooled", input_size=64), (50, 8, 8), 346_018 + 1036 + 3_200 * 10 + 10),
        (SupervisedOptions(network="resnet18", input_size=96), (512, 3, 3), 11_176_512 + 512 * 10 + 10),
    ],
)
def test_networks_of_the_papers(options: SupervisedOptions, dense: tuple[int, ...], parameters: int) -> None:
    network = Supervised().build(options)
    images = torch.rand(2, 3, 96, 72)
    features = network.extract(images)
    assert features.layout == (dense,)
    assert features.image_size == (96, 72)
    assert network.landmarks(images).shape == (2, 5, 2)
    assert sum(p.numel() for p in network.parameters()) == parameters


def test_convolutions_add_up() -> None:
    """The number used above: kernels 5, 5, 5, 3, 3, 1 with biases."""
    widths, kernels = (3, 20, 48, 64, 80, 256, 50), (5, 5, 5, 3, 3, 1)
    count = sum(k * k * a * b + b for k, a, b in zip(kernels, widths[:-1], widths[1:], strict=True))
    assert count == 346_018
    assert 2 * sum(widths[1:]) == 1036


def test_landmarks_are_pixels_of_the_given_image() -> None:
    network = SupervisedNetwork(OPTIONS).eval()
    nn.init.zeros_(network.regressor.weight)
    network.regressor.bias.data = torch.tensor([-1.0, -1.0, 0.5, 0.0])
    points = network.landmarks(torch.rand(1, 3, 40, 80))
    torch.testing.assert_close(points, torch.tensor([[[0.0, 0.0], [60.0, 20.0]]]))


@pytest.mark.parametrize("kind", ["l2", "smooth_l1"])
def test_loss_equals_the_naive_sum(kind: Literal["l2", "smooth_l1"]) -> None:
    generator = torch.Generator().manual_seed(3)
    prediction, target = (torch.randn(4, 3, 2, generator=generator, dtype=torch.float64) for _ in range(2))
    prediction[0] = target[0] + 0.01
    visible = torch.rand(4, 3, generator=generator) > 0.3
    total, count = 0.0, 0
    for i in range(4):
        for k in range(3):
            for axis in range(2):
                if visible[i, k]:
                    error = float(prediction[i, k, axis] - target[i, k, axis])
                    tenfold = abs(10 * error)
                    smooth = 0.5 * tenfold**2 if tenfold < 1 else tenfold - 0.5
                    total += error**2 if kind == "l2" else smooth
                    count += 1
    assert 0 < count < 24
    assert coordinate_loss(prediction, target, visible, kind).item() == pytest.approx(
        total / count, rel=1e-12
    )


def test_loss_ignores_what_is_not_visible() -> None:
    prediction = torch.zeros(2, 2, 2, requires_grad=True)
    target = torch.full((2, 2, 2), 0.5)
    target[0, 0] = torch.nan
    target[1, 1] = torch.inf
    visible = torch.tensor([[False, True], [False, False]])
    loss = coordinate_loss(prediction, target, visible, "l2")
    loss.backward()
    assert loss.item() == pytest.approx(0.25)
    assert prediction.grad is not None
    torch.testing.assert_close(prediction.grad[0, 1], torch.tensor([-0.5, -0.5]))
    assert prediction.grad.count_nonzero() == 2
    assert coordinate_loss(prediction, target, torch.zeros(2, 2, dtype=torch.bool), "l2").item() == 0


def test_landmarks_follow_the_warp() -> None:
    """A bright spot on the landmark is found where the landmark went."""
    side, margin = 60, 6
    points = torch.tensor([[30.0, 25.0], [22.0, 40.0]]).expand(8, 2, 2).contiguous()
    ys, xs = torch.meshgrid(torch.arange(side) + 0.5, torch.arange(side) + 0.5, indexing="ij")
    spots = [(-((xs - x) ** 2 + (ys - y) ** 2) / 4).exp() for x, y in points[0].tolist()]
    images = torch.stack([*spots, torch.zeros(side, side)]).expand(8, 3, side, side)
    batch = Batch(images, Annotations(points, torch.ones(8, 2, dtype=torch.bool)))
    views, annotations = warped(batch, STRONG, margin, torch.Generator().manual_seed(0))
    assert views.shape == (8, 3, 48, 48)
    assert annotations.visible.all()
    moved = (annotations.points - (points - margin)).norm(dim=2)
    assert moved.min() > 0.1
    axis = torch.arange(48) + 0.5
    for view, places in zip(views, annotations.points, strict=True):
        for spot, place in zip(view[:2], places, strict=True):
            mass = spot.sum()
            centre = torch.stack([(spot.sum(0) * axis).sum(), (spot.sum(1) * axis).sum()]) / mass
            torch.testing.assert_close(centre, place, atol=0.2, rtol=0)


def test_landmarks_that_leave_the_crop_are_not_visible() -> None:
    points = torch.tensor([[[3.0, 10.0], [10.0, 10.0], [5.0, 16.0]]])
    visible = torch.tensor([[True, True, True]])
    batch = Batch(torch.rand(1, 3, 20, 20), Annotations(points, visible))
    views, annotations = warped(batch, None, 4, torch.Generator())
    torch.testing.assert_close(views, batch.images[..., 4:16, 4:16])
    torch.testing.assert_close(annotations.points, points - 4)
    assert annotations.visible.tolist() == [[False, True, True]]


def test_warps_are_those_of_thewlis() -> None:
    batch = Batch(torch.rand(2, 3, 24, 24), _squares(2, 24)[1])
    views, _ = warped(batch, STRONG, 0, torch.Generator().manual_seed(5))
    warp = TPSWarp.draw(2, STRONG, torch.Generator().manual_seed(5), subset="add")
    torch.testing.assert_close(views, warp.warp_images(batch.images), atol=1e-4, rtol=0)


def test_warps_are_as_exact_where_the_network_runs_in_half_precision() -> None:
    batch = Batch(torch.rand(4, 3, 24, 24), _squares(4, 24)[1])
    wanted, places = warped(batch, STRONG, 0, torch.Generator().manual_seed(5))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        views, annotations = warped(batch, STRONG, 0, torch.Generator().manual_seed(5))
    assert torch.equal(views, wanted)
    assert torch.equal(annotations.points, places.points)


def test_fewer_annotations_are_nested_and_repeated(tmp_path: Path) -> None:
    job = _job(tmp_path)
    assert job.annotations is not None
    job.annotations.visible[4] = False
    chosen = {}
    for count in (3, 5, 11):
        part = annotated_part(replace(job, recipe=RECIPE.model_copy(update={"annotations": count})))
        assert part.annotations is not None
        assert len(part.images) >= RECIPE.batch_size
        assert len(part.images) % count == 0
        assert part.provenance["annotated_images"] == count
        chosen[count] = {tuple(points.flatten().tolist()) for points in part.annotations.points}
        assert len(chosen[count]) == count
    assert chosen[3] < chosen[5] < chosen[11]
    assert tuple(job.annotations.points[4].flatten().tolist()) not in chosen[11]
    with pytest.raises(BenchError, match="12 annotated images are asked for, and there are 11"):
        annotated_part(replace(job, recipe=RECIPE.model_copy(update={"annotations": 12})))


def test_the_number_of_landmarks_must_be_the_data_s(tmp_path: Path) -> None:
    wrong = replace(_job(tmp_path), options=OPTIONS.model_copy(update={"landmarks": 5}))
    with pytest.raises(
        BenchError, match=r"(?s)2 annotated landmarks, and the network predicts 5.*-M landmarks=2"
    ):
        Supervised().pretrain(wrong)
    with pytest.raises(BenchError, match="learns from annotated images"):
        Supervised().pretrain(replace(_job(tmp_path), annotations=None))
    with pytest.raises(BenchError, match="at least 2 images, got 1"):
        Supervised().pretrain(_job(tmp_path, count=1))


def test_it_learns_where_the_squares_are(tmp_path: Path) -> None:
    recipe = RECIPE.model_copy(
        update={"steps": 150, "batch_size": 16, "learning_rate": 3e-3, "warp": "fewshot"}
    )
    weights = read_weights(Supervised().pretrain(_job(tmp_path, recipe, count=300)), method="supervised")
    network = Supervised().build(SupervisedOptions(**weights.options))
    load_into(network, weights)
    images, annotations = _squares(400)
    unseen, truth = images[300:].float() / 255, annotations.points[300:]
    with torch.no_grad():
        error = (network.eval().landmarks(unseen) - truth).norm(dim=2).mean()
    constant = (truth.mean(0) - truth).norm(dim=2).mean()
    assert error < 0.35 * constant


def test_resumed_equals_undisturbed(tmp_path: Path) -> None:
    job = replace(_job(tmp_path / "one"), snapshot_every=3)
    undisturbed = read_weights(Supervised().pretrain(job))
    half = RECIPE.model_copy(update={"steps": 3, "drop_after": 1.5})
    Supervised().pretrain(replace(_job(tmp_path / "two"), recipe=half))
    resumed = read_weights(Supervised().pretrain(_job(tmp_path / "two")))
    assert all(torch.equal(resumed.tensors[name], value) for name, value in undisturbed.tensors.items())
    rates = [float(row["learning_rate"]) for row in csv.DictReader((tmp_path / "one" / "log.csv").open())]
    assert rates == pytest.approx([1e-3] * 5 + [1e-4])


@pytest.mark.parametrize("variant", Supervised.variants)
def test_every_variant_of_every_preset_is_valid(variant: str) -> None:
    for preset in Supervised.presets.values():
        chosen = Supervised.variants[variant]
        SupervisedOptions(**{**preset.options, **chosen.options})
        SupervisedRecipe(**{**preset.recipe, **chosen.recipe})
