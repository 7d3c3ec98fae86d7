"""Weights files and checkpoints: round trips, and what a damaged or foreign file is answered with."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import nn

from bench.checkpoint import load_state, save_state
from bench.errors import BenchError
from bench.weights import load_into, read_weights, save_weights, state_sha256


def _network(width: int = 4) -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, width, 3), nn.BatchNorm2d(width))


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "weights.safetensors"
    provenance = {"preset": "tiny", "dataset": "synthetic-faces", "images": 7, "stage": "stage 2", "step": -1}
    save_weights(path, _network(), method="lead", options={"width": 4}, provenance=provenance)
    return path


def test_round_trip(saved: Path) -> None:
    weights = read_weights(saved, method="lead")
    network = _network()
    load_into(network, weights)
    assert all(torch.equal(tensor, weights.tensors[name]) for name, tensor in network.state_dict().items())
    assert (weights.method, weights.options) == ("lead", {"width": 4})
    assert weights.label == "tiny preset, trained on 7 images of synthetic-faces, stage 2"


def test_a_flipped_byte_changes_the_hash_or_is_refused(saved: Path) -> None:
    before = read_weights(saved).sha256
    content = bytearray(saved.read_bytes())
    content[-1] ^= 1
    saved.write_bytes(content)
    assert read_weights(saved).sha256 != before


@pytest.mark.parametrize("kept", [0, 5, 100, -1])
def test_a_truncated_file(saved: Path, kept: int) -> None:
    saved.write_bytes(saved.read_bytes()[:kept])
    with pytest.raises(BenchError, match="not a readable safetensors file"):
        read_weights(saved)


def test_a_pickle_is_not_loaded(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save({"state_dict": {}}, path)
    with pytest.raises(BenchError, match="not a readable safetensors file"):
        read_weights(path)
    path.write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(BenchError, match="not a readable safetensors file"):
        read_weights(path)


def test_a_foreign_safetensors_file(tmp_path: Path) -> None:
    path = tmp_path / "foreign.safetensors"
    safetensors.torch.save_file({"a": torch.zeros(2)}, path)
    with pytest.raises(BenchError, match="not one that bench wrote"):
        read_weights(path)


def test_another_architecture_is_listed(saved: Path) -> None:
    with pytest.raises(BenchError) as caught:
        load_into(nn.Sequential(nn.Conv2d(3, 8, 3)), read_weights(saved))
    message = str(caught.value)
    assert "5 not known to the network" in message
    assert "0.weight (4, 3, 3, 3) instead of (8, 3, 3, 3)" in message


def test_state_hash_sees_every_value() -> None:
    network = _network()
    before = state_sha256(network)
    assert state_sha256(network) == before
    with torch.no_grad():
        network[0].bias[2] += 1e-6  # type: ignore[index]
    assert state_sha256(network) != before


@pytest.mark.parametrize("optimiser", [torch.optim.SGD, torch.optim.Adam])
def test_a_checkpoint_restores_modules_moments_and_numbers(
    tmp_path: Path, optimiser: type[torch.optim.Optimizer]
) -> None:
    def train(network: nn.Module, descent: torch.optim.Optimizer, steps: int) -> None:
        for step in range(steps):
            images = torch.randn(2, 3, 5, 5, generator=torch.Generator().manual_seed(step))
            descent.zero_grad()
            network(images).square().mean().backward()
            descent.step()

    settings = {"lr": 0.1, **({"momentum": 0.9} if optimiser is torch.optim.SGD else {})}
    network = _network()
    descent = optimiser(network.parameters(), **settings)  # type: ignore[arg-type]
    train(network, descent, 3)
    save_state(tmp_path / "state", {"network": network}, descent, {"step": 3})
    other = _network()
    continued = optimiser(other.parameters(), **settings)  # type: ignore[arg-type]
    assert load_state(tmp_path / "state", {"network": other}, continued) == {"step": 3}
    train(network, descent, 2)
    train(other, continued, 2)
    assert state_sha256(other) == state_sha256(network)


def test_no_checkpoint_and_a_damaged_one(tmp_path: Path) -> None:
    assert load_state(tmp_path / "nothing", {}, None) is None
    (tmp_path / "damaged").write_bytes(b"\x10\x00\x00\x00\x00\x00\x00\x00{")
    assert load_state(tmp_path / "damaged", {}, None) is None
