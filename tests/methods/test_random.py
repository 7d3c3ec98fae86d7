"""Untrained networks: exactly those that a pre-training starts from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from bench.errors import BenchError
from bench.method import PretrainJob
from bench.network import NetworkRequest, open_network
from bench.options import build_options
from bench.progress import Progress
from bench.training import initial_network
from bench.weights import save_weights, state_sha256
from methods.lead import LEAD, LEADOptions
from methods.random import Random, RandomOptions

NARROW: dict[str, Any] = {
    "backbone": "resnet18",
    "width": 8,
    "dim": 5,
    "fpn_width": 8,
    "fpn_merged": 8,
}
CPU = torch.device("cpu")


def _step_zero(options: LEADOptions, seed: int, output: Path) -> torch.nn.Module:
    job = PretrainJob(
        images=torch.zeros(2, 3, 32, 32, dtype=torch.uint8),
        options=options,
        recipe=LEAD.Recipe(),
        output=output,
        seed=seed,
        device=CPU,
        progress=Progress.silent(),
        provenance={},
    )
    network: torch.nn.Module = initial_network(job, LEAD().build)
    return network


@pytest.mark.parametrize("seed", [0, 7])
def test_it_is_step_zero_of_the_training_with_the_same_seed(seed: int, tmp_path: Path) -> None:
    untrained = Random().build(RandomOptions(options=NARROW, init_seed=seed))
    trained_from = _step_zero(LEADOptions(**NARROW), seed, tmp_path)
    assert state_sha256(untrained) == state_sha256(trained_from)
    other = Random().build(RandomOptions(options=NARROW, init_seed=seed + 1))
    assert state_sha256(other) != state_sha256(untrained)


def test_building_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    Random().build(RandomOptions(options=NARROW))
    assert torch.equal(torch.rand(1), expected)


def test_the_options_lie_on_top_of_the_preset() -> None:
    described = Random().describe(RandomOptions(preset="small", options={"dim": 5}))
    expected = LEADOptions(**{**LEAD.presets["small"].options, "dim": 5})
    assert described == {"network": "lead", "options": expected.model_dump(mode="json"), "init_seed": 0}


def test_one_network_has_one_description() -> None:
    """By whichever preset it is reached, so that it has one record; and the description builds it again."""
    first = RandomOptions(preset="paper", options=NARROW)
    second = RandomOptions(preset="paper", options=LEADOptions(**NARROW).model_dump())
    assert Random().describe(first) == Random().describe(second)
    again = build_options(RandomOptions, Random().describe(first), "method 'random'")
    assert state_sha256(Random().build(again)) == state_sha256(Random().build(first))


def test_the_features_are_those_of_the_method() -> None:
    network = Random().build(RandomOptions(options={**NARROW, "features": "hypercolumn"}))
    assert network.extract(torch.zeros(1, 3, 32, 32)).channels == (1 + 2 + 4 + 8) * 8
    assert Random().build(RandomOptions(options=NARROW)).extract(torch.zeros(1, 3, 32, 32)).channels == 5


def test_like_a_weights_file(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    options = LEADOptions(**NARROW)
    save_weights(path, LEAD().build(options), method="lead", options=options.model_dump(), provenance={})
    untrained = open_network(NetworkRequest(Random(), like=path), CPU, Progress.silent())
    assert untrained.options["options"] == options.model_dump()
    assert untrained.label == "initial weights of lead, not trained"
    assert state_sha256(untrained.extractor) == state_sha256(_step_zero(options, 0, tmp_path))
    changed = open_network(
        NetworkRequest(Random(), like=path, options=['options={"dim": 9}', "init_seed=2"]),
        CPU,
        Progress.silent(),
    )
    assert changed.options["options"] == {**options.model_dump(), "dim": 9}
    assert changed.options["init_seed"] == 2

    same = open_network(NetworkRequest(LEAD(), like=path), CPU, Progress.silent())
    assert same.sha256 == untrained.sha256
    assert same.options == options.model_dump()
    assert same.label == "initial weights, not trained"


def test_like_of_another_method_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_weights(path, torch.nn.Linear(1, 1), method="dve", options={}, provenance={})
    with pytest.raises(BenchError, match="describes a network of method 'dve', not of 'lead'"):
        open_network(NetworkRequest(LEAD(), like=path), CPU, Progress.silent())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"network": "leed"}, "Did you mean 'lead'"),
        ({"network": "random"}, "no network of its own"),
        ({"preset": "smal"}, "Did you mean 'small'"),
        ({"options": {"dims": 3}}, "method 'lead' has no option 'dims'"),
        ({"options": {"dim": 0}}, "greater than or equal to 1"),
    ],
)
def test_mistakes(options: dict[str, Any], message: str) -> None:
    with pytest.raises(BenchError, match=message):
        Random().build(RandomOptions(**options))
