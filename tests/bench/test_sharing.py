"""Losses, gradients and batch statistics of several processes are those of one, to the last digits."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

from bench.sharing import share, share_groups, share_mean
from tests.bench.sharing_cases import CASES, World, difference, outcome
from tests.launching import finish, start


@pytest.fixture(scope="module")
def differences() -> list[dict[str, float]]:
    """Of each of three processes."""
    results = finish(start(3, "tests.bench.sharing_cases", []))
    for status, _, errors in results:
        assert status == 0, errors
    return [json.loads(output) for _, output, _ in results]


@pytest.mark.parametrize("case", [case.__name__ for case in CASES])
def test_three_processes_compute_what_one_does(case: str, differences: list[dict[str, float]]) -> None:
    assert max(process[case] for process in differences) < 1e-10


def test_the_cases_tell_a_mistake() -> None:
    """Statistics of parts of the batch, or a loss of parts, would be seen."""

    def in_parts(world: World) -> torch.Tensor:
        parts = [world.embed(part) for part in world.images.tensor_split(3)]
        return torch.cat(parts).square().sum() + torch.cat(parts).sum()

    def whole(world: World) -> torch.Tensor:
        return world.embed(world.images).square().sum() + world.embed(world.images).sum()

    assert difference(outcome(whole), outcome(in_parts)) > 1e-3


def test_alone_everything_is_a_plain_call() -> None:
    rows = torch.rand(4, 3)
    seen: list[torch.Tensor] = []

    def network(batch: torch.Tensor) -> torch.Tensor:
        seen.append(batch)
        return batch

    assert share(network, rows) is rows
    assert share_mean(network, rows) is rows
    assert share_groups(network, [rows], nn.Identity())[0] is rows
    assert all(batch is rows for batch in seen)
