"""The linear layer against torch's own convolution, and its training after it was killed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from bench.context import RunContext
from bench.errors import BenchError
from bench.features import FeatureMap
from bench.landmarks import UNLABELLED
from bench.seeds import torch_generator
from protocols.heads.segmentation import (
    HeadSettings,
    SegmentationHead,
    class_shares,
    cross_entropy,
    train_head,
)

SETTINGS = HeadSettings(
    steps=12, batch_size=2, learning_rate=0.1, weight_decay=0.01, network_learning_rate=0.01
)


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch_generator(seed, "random"))


def features(count: int = 5) -> FeatureMap:
    return FeatureMap((random(count, 3, 6, 6), random(count, 2, 3, 3, seed=1)), (6, 6), (12, 12))


def masks(count: int = 5) -> torch.Tensor:
    return (random(count, 12, 12, seed=2) * 3).to(torch.uint8)


def test_shares_by_hand() -> None:
    mask = torch.tensor(
        [[[0, 0, 1, 1], [0, 2, 1, UNLABELLED], [1, 1, UNLABELLED, UNLABELLED], [1, 1, 255, 255]]]
    )
    shares = class_shares(mask.to(torch.uint8), 3, (2, 2))
    expected = torch.tensor([[[0.75, 0.0], [0.0, 0.0]], [[0.0, 0.75], [1.0, 0.0]], [[0.25, 0.0], [0.0, 0.0]]])
    torch.testing.assert_close(shares[0], expected)


def test_cells_that_divide_no_pixels_evenly_are_covered() -> None:
    shares = class_shares(masks(), 3, (5, 7))
    assert shares.shape == (5, 3, 5, 7)
    torch.testing.assert_close(shares.sum(1), torch.ones(5, 5, 7))


def test_cross_entropy_is_torch_s_where_cells_have_one_class() -> None:
    scores, classes = (
        random(2, 3, 4, 4) * 5,
        torch.randint(0, 3, (2, 4, 4), generator=torch_generator(3, "c")),
    )
    classes[0, 0, 0] = UNLABELLED
    shares = class_shares(classes.to(torch.uint8), 3, (4, 4))
    expected = F.cross_entropy(scores, classes, ignore_index=UNLABELLED)
    torch.testing.assert_close(cross_entropy(scores, shares), expected)
    assert cross_entropy(scores, torch.zeros_like(scores)) == 0


def test_training_is_that_of_a_convolution_on_the_dense_map() -> None:
    maps, shares = features(), class_shares(masks(), 3, (6, 6))
    head = SegmentationHead(5, 3, scale=0.5)
    losses = train_head(
        head,
        lambda places: maps[places],
        shares,
        SETTINGS,
        network=None,
        seed=4,
        run=RunContext(),
        key="head",
    )
    reference = nn.Conv2d(5, 3, 1)
    for parameter in reference.parameters():
        nn.init.zeros_(parameter)
    adam = torch.optim.Adam(reference.parameters(), lr=0.1, weight_decay=0.01)
    for step in range(12):
        epoch, batch = divmod(step, 2)  # two batches of two; the fifth image is left over
        order = torch.randperm(5, generator=torch_generator(4, "shuffle", epoch))[2 * batch : 2 * batch + 2]
        adam.param_groups[0]["lr"] = 0.1 * (1 + np.cos(np.pi * step / 12)) / 2
        loss = F.cross_entropy(reference(0.5 * maps[order].dense()), shares[order])
        adam.zero_grad()
        loss.backward()
        adam.step()
        assert losses[step] == pytest.approx(loss.item(), rel=1e-5)
    torch.testing.assert_close(head.weight, reference.weight[:, :, 0, 0], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(head.bias, reference.bias, atol=1e-5, rtol=1e-4)


class _Killed(Exception):  # noqa: N818
    pass


@pytest.mark.parametrize("finetune", [False, True])
def test_a_killed_training_continues_to_the_same_end(finetune: bool, tmp_path: Path) -> None:
    images, shares = random(5, 3, 6, 6), class_shares(masks(), 3, (6, 6))

    def train(run: RunContext, stop_at: int | None = None) -> tuple[SegmentationHead, nn.Module, np.ndarray]:
        network, head, steps = nn.Conv2d(3, 4, 3, padding=1), SegmentationHead(4, 3, 1.0), 0
        with torch.no_grad():
            for number, parameter in enumerate(network.parameters()):
                parameter.copy_(random(*parameter.shape, seed=number) - 0.5)

        def read(places: torch.Tensor) -> FeatureMap:
            nonlocal steps
            steps += 1
            if steps == stop_at:
                raise _Killed
            found = network(images[places])
            return FeatureMap((found if finetune else found.detach(),), (6, 6), (12, 12))

        trained = network if finetune else None
        losses = train_head(
            head, read, shares, SETTINGS, network=trained, seed=1, run=run, key="a/b", save_seconds=0
        )
        return head, network, losses

    expected = train(RunContext())
    run = RunContext(partial=tmp_path)
    with pytest.raises(_Killed):
        train(run, stop_at=8)
    assert list(tmp_path.iterdir())
    head, network, losses = train(run)
    np.testing.assert_array_equal(losses, expected[2])
    for ours, theirs in ((head, expected[0]), (network, expected[1])):
        for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
            assert torch.equal(one, other)
    assert not list(tmp_path.iterdir())


def test_a_network_that_passes_no_gradient_is_named() -> None:
    network = nn.Conv2d(3, 5, 1)
    maps = features()
    with pytest.raises(BenchError, match="Conv2d passes no gradient"):
        train_head(
            SegmentationHead(5, 3, 1.0),
            lambda places: maps[places],
            class_shares(masks(), 3, (6, 6)),
            SETTINGS,
            network=network,
            seed=0,
            run=RunContext(),
            key="head",
        )


def test_a_loss_that_is_not_finite_stops_the_training() -> None:
    maps = FeatureMap((torch.full((5, 5, 6, 6), torch.nan),), (6, 6), (12, 12))
    with pytest.raises(BenchError, match="the loss is nan after 1 of 12 steps"):
        train_head(
            SegmentationHead(5, 3, 1.0),
            lambda places: maps[places],
            class_shares(masks(), 3, (6, 6)),
            SETTINGS,
            network=None,
            seed=0,
            run=RunContext(),
            key="head",
        )
