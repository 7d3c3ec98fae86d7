"""Weights that are not what their manifest says, and trainings that do not ship."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from bench import shipping
from bench.errors import BenchError
from bench.network import NetworkRequest, open_network
from bench.shipped import MANIFEST, read_shipped, shipped_entry
from bench.shipping import feature_difference, halved, pack, ship
from bench.training_cost import COST_FILE
from tests.bench.conforming import TRAINING, HonestNetwork, HonestOptions
from tests.bench.shipping.world import CPU, QUIET, Shipping, edit, train

# --- what is not what the manifest says ------------------------------------------------------------------


@pytest.mark.parametrize("position", [0, 9, 200, -1])
def test_a_flipped_byte(weights_folder: Path, position: int) -> None:
    path = weights_folder / "honest-shipped-blobs.safetensors"
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)
    with pytest.raises(BenchError, match=r"damaged, or not the file that manifest\.json describes") as caught:
        open_network(NetworkRequest(Shipping()), CPU, QUIET)
    hint = str(caught.value.hint)
    assert "Reinstall" in hint
    assert "bench pretrain --method honest --preset shipped-blobs" in hint


def test_a_missing_file(weights_folder: Path) -> None:
    (weights_folder / "honest-shipped-blobs.safetensors").unlink()
    with pytest.raises(
        BenchError, match=r"shipped-blobs\.safetensors is missing, and manifest\.json lists it"
    ):
        read_shipped(Shipping())


def test_a_missing_manifest(weights_folder: Path) -> None:
    (weights_folder / MANIFEST).unlink()
    with pytest.raises(BenchError, match=r"manifest\.json is missing") as caught:
        read_shipped(Shipping())
    assert "Reinstall" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("options", {"width": 4}),
        ("recipe", {**TRAINING, "steps": 5}),
        ("fingerprints", {"train": "0" * 16}),
        ("seed", 1),
        ("images", 17),
        ("dataset", "faces"),
    ],
)
def test_a_manifest_that_tells_another_training(weights_folder: Path, key: str, value: object) -> None:
    edit(weights_folder, lambda content: content["weights"][0].update({key: value}))
    with pytest.raises(BenchError, match=f"does not match .*: they differ in {key}"):
        read_shipped(Shipping())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: content.update(schema_version=2), r"has schema version 2, and this bench reads version 1"),
        (lambda content: content.pop("schema_version"), "has schema version None"),
        (lambda content: content["weights"][0].pop("sha256"), r"weights\.0\.sha256: Field required"),
        (lambda content: content["weights"][0].update(file="../x.safetensors"), r"weights\.0\.file"),
        (lambda content: content["weights"].append(content["weights"][0]), "honest, shipped-blobs, twice"),
        (lambda content: content["weights"][0].update(extra=1), "Extra inputs"),
    ],
)  # fmt: skip
def test_a_manifest_that_cannot_be_understood(
    weights_folder: Path, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    edit(weights_folder, change)
    with pytest.raises(BenchError, match=message):
        shipped_entry(Shipping())


def test_a_manifest_that_is_no_json(weights_folder: Path) -> None:
    (weights_folder / MANIFEST).write_text("{")
    with pytest.raises(BenchError, match="cannot be read"):
        shipped_entry(Shipping())


# --- what is not shipped ---------------------------------------------------------------------------------


def test_what_the_preset_would_not_train_again(faces: Path, trained: Path, tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="of preset 'paper', which method 'honest' does not ship"):
        pack(train(faces, tmp_path / "paper", preset="paper"))
    with pytest.raises(BenchError, match=r"other options than preset .*: they differ in width"):
        pack(train(faces, tmp_path / "options", method_options=("width=4",)))
    with pytest.raises(BenchError, match=r"other recipe than preset .*: they differ in steps"):
        pack(train(faces, tmp_path / "recipe", recipe_options=("steps=3",)))
    with pytest.raises(BenchError, match=r"trained with share 0\.5"):
        pack(train(faces, tmp_path / "share", share=0.5))
    with pytest.raises(BenchError, match="trained with initial"):
        pack(train(faces, tmp_path / "tuned", initial=trained / "weights.safetensors"))
    with pytest.raises(BenchError, match="trained with variant 'wide'"):
        pack(train(faces, tmp_path / "variant", variant="wide"))


def test_folders_without_what_is_needed(trained: Path, tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="no weights at"):
        ship([tmp_path / "nothing"])
    (trained / COST_FILE).write_text("{}")
    with pytest.raises(BenchError, match="is damaged: it does not tell what the training took"):
        ship([trained])
    (trained / COST_FILE).unlink()
    with pytest.raises(BenchError, match="which tells how the weights beside it were trained"):
        ship([trained])


def test_nothing_is_written_where_one_folder_is_refused(trained: Path, package: Path, tmp_path: Path) -> None:
    with pytest.raises(BenchError):
        ship([trained, tmp_path / "nothing"])
    with pytest.raises(BenchError, match="two of the folders give honest-shipped-blobs"):
        ship([trained, trained])
    assert not (package / "weights").exists()


def test_what_is_too_large(trained: Path, package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(shipping, "LARGEST_FILE", 1000)
        with pytest.raises(BenchError, match="in half precision, and a shipped file at most"):
            ship([trained])
    monkeypatch.setattr(shipping, "LARGEST_FOLDER", 1000)
    with pytest.raises(BenchError, match=r"would take 0\.0 MB, and may take 0 MB"):
        ship([trained])
    assert not (package / "weights").exists()


def test_weights_that_half_precision_cannot_hold() -> None:
    path = Path("weights.safetensors")
    vector = torch.tensor([1e6, 1e-12])
    assert torch.equal(halved({"variance": vector}, path)["variance"], vector)
    with pytest.raises(BenchError, match="1 tensors are not finite in half precision, kernel among them"):
        halved({"kernel": torch.full((2, 2), 1e5), "other": torch.ones(2, 2)}, path)


def test_the_difference_sees_kernels_that_are_lost() -> None:
    """Kernels of the size of the smallest half, which a norm blows up again."""
    network, lost = (HonestNetwork(HonestOptions(width=6)) for _ in range(2))
    network.norm.eps = lost.norm.eps = 1e-20
    state = network.state_dict()  # shares the network's memory
    state["first.weight"].mul_(1e-6)
    state["first.bias"].zero_()
    state["norm.running_var"].fill_(1e-12)
    lost.load_state_dict(halved(state, Path("weights.safetensors")))
    assert feature_difference(network, lost) > shipping.LARGEST_DIFFERENCE


def test_a_difference_that_is_too_large_is_refused(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shipping, "LARGEST_DIFFERENCE", 1e-9)
    with pytest.raises(BenchError, match="half precision changes features by"):
        pack(trained)
