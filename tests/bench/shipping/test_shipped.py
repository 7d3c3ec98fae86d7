"""Weights that ship: from a finished training into a package and out of it again."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from typer.testing import CliRunner

from bench import network
from bench.cli import app
from bench.errors import BenchError
from bench.network import NetworkRequest, open_network
from bench.opening import DatasetRequest
from bench.runner import RunRequest, run
from bench.shipped import MANIFEST, read_manifest, read_shipped
from bench.shipping import feature_difference, ship
from bench.training_cost import read_cost
from bench.weights import read_weights
from tests.bench.conforming import TRAINING, Honest, HonestNetwork, HonestOptions
from tests.bench.shipping.world import CPU, QUIET, SHIPPED, Shipping, train

# --- what is shipped, and how it is read -----------------------------------------------------------------


def test_the_manifest_tells_how_to_make_the_file_again(trained: Path, weights_folder: Path) -> None:
    (entry,) = read_manifest(weights_folder).weights
    source = read_weights(trained / "weights.safetensors")
    assert sorted(path.name for path in weights_folder.iterdir()) == [
        "honest-shipped-blobs.safetensors",
        MANIFEST,
    ]
    assert (entry.method, entry.preset, entry.file) == ("honest", SHIPPED, "honest-shipped-blobs.safetensors")
    assert entry.bytes == (weights_folder / entry.file).stat().st_size
    assert entry.options == {"width": 6}
    assert entry.recipe == TRAINING
    assert entry.fingerprints == source.provenance["fingerprints"]
    assert entry.command.startswith("bench pretrain --method honest --preset shipped-blobs --dataset coco:")
    assert entry.command.endswith("--seed 0 --precision float32")
    assert (entry.images, entry.seed, entry.precision) == (16, 0, "float32")
    cost = read_cost(trained)
    assert (entry.seconds, entry.device, entry.date) == (
        cost.seconds, cost.device, cost.sittings[0].started.date()
    )  # fmt: skip


def test_matrices_are_halves_on_disk_and_single_in_memory(trained: Path, weights_folder: Path) -> None:
    source = read_weights(trained / "weights.safetensors").tensors
    stored = safetensors.torch.load((weights_folder / "honest-shipped-blobs.safetensors").read_bytes())
    found = read_shipped(Shipping())
    assert found is not None
    assert stored.keys() == source.keys() == found.tensors.keys()
    for name, tensor in source.items():
        expected = torch.float16 if tensor.dim() > 1 else tensor.dtype
        assert stored[name].dtype == expected, name
        assert found.tensors[name].dtype == tensor.dtype
        assert torch.equal(found.tensors[name], stored[name].to(tensor.dtype))
        # Half of the last of 11 bits, and of the smallest number there is.
        if tensor.is_floating_point():
            assert bool(((found.tensors[name] - tensor).abs() <= tensor.abs() * 2**-11 + 2**-25).all())


def test_shipping_the_same_training_again_gives_the_same_bytes(trained: Path, weights_folder: Path) -> None:
    before = {path.name: path.read_bytes() for path in weights_folder.iterdir()}
    ship([trained])
    assert {path.name: path.read_bytes() for path in weights_folder.iterdir()} == before


def test_a_new_training_takes_the_place_of_the_old_one(
    faces: Path, weights_folder: Path, tmp_path: Path
) -> None:
    (old,) = read_manifest(weights_folder).weights
    ship([train(faces, tmp_path / "again", seed=1)])
    (new,) = read_manifest(weights_folder).weights
    assert (new.seed, new.file) == (1, old.file)
    assert new.sha256 != old.sha256
    assert read_shipped(Shipping()) is not None


def test_half_precision_changes_features_little(trained: Path, weights_folder: Path) -> None:
    """Every weight is off by 2^-11 of itself at most, at random: three layers add up to less than 2^-10."""
    (entry,) = read_manifest(weights_folder).weights
    assert 0 < entry.feature_difference < 2**-10
    source, found = read_weights(trained / "weights.safetensors"), read_shipped(Shipping())
    assert found is not None
    one, other = (HonestNetwork(HonestOptions(width=6)) for _ in range(2))
    one.load_state_dict(source.tensors)
    other.load_state_dict(found.tensors)
    assert feature_difference(one, other) == pytest.approx(entry.feature_difference, rel=1e-2)
    assert feature_difference(one, one) == 0
    with torch.no_grad():
        other.last.weight.mul_(1.01)
        other.last.bias.mul_(1.01)  # type: ignore[union-attr]
    assert feature_difference(one, other) == pytest.approx(1e-2, rel=0.1)


# --- which weights a run takes ---------------------------------------------------------------------------


def _request(faces: Path, runs: Path, **changes: Any) -> RunRequest:
    request = RunRequest(
        "honest", "matching", DatasetRequest(f"coco:{faces}"), protocol_options=("pairs=4",), runs=runs, device="cpu"
    )  # fmt: skip
    return replace(request, **changes)


def test_a_run_without_weights_takes_those_that_ship(
    faces: Path, weights_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    (entry,) = read_manifest(weights_folder).weights
    record = run(_request(faces, tmp_path / "runs"), QUIET).record
    assert record.method.weights_sha256 == entry.sha256
    assert record.method.options == {"width": 6}
    assert record.method.weights_label.startswith(
        "shipped weights in half precision (shipped-blobs preset), trained on 16 images of coco:"
    )
    assert not list((tmp_path / "cache").rglob("weights.safetensors"))


def test_given_weights_come_first(faces: Path, trained: Path, weights_folder: Path, tmp_path: Path) -> None:
    path = trained / "weights.safetensors"
    record = run(_request(faces, tmp_path / "runs", checkpoint=path), QUIET).record
    assert record.method.weights_sha256 == read_weights(path).sha256
    assert record.method.weights_sha256 != read_manifest(weights_folder).weights[0].sha256


def test_where_nothing_ships_the_default_preset_is_trained(
    faces: Path, package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (package / "weights").mkdir()
    (package / "weights" / MANIFEST).write_text('{"schema_version": 1, "weights": []}')
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(network, "DEFAULT_DATASET", f"coco:{faces}")
    record = run(_request(faces, tmp_path / "runs"), QUIET).record
    assert record.method.weights_label.startswith("paper preset, trained on 16 images")
    assert list((tmp_path / "cache").rglob("weights.safetensors"))


def test_the_architecture_alone_is_that_of_the_shipped_weights(weights_folder: Path) -> None:
    found = open_network(NetworkRequest(Shipping(), weights_matter=False), CPU, QUIET)
    assert found.options == {"width": 6}
    assert NetworkRequest(Shipping()).is_at_hand
    assert read_manifest(weights_folder).weights


def test_the_line_on_the_weights_is_printed(faces: Path, weights_folder: Path, tmp_path: Path) -> None:
    words = [
        "run",
        "-m",
        "honest",
        "-p",
        "matching",
        "-d",
        f"coco:{faces}",
        "-P",
        "pairs=4",
        "--device",
        "cpu",
        "-q",
    ]
    done = CliRunner().invoke(app, [*words, "--runs", str(tmp_path / "runs")], env={"COLUMNS": "200"})
    assert done.exit_code == 0, done.output
    line = next(line for line in done.stdout.splitlines() if "shipped weights" in line)
    assert "(shipped-blobs preset), trained on 16 images of coco:" in line
    assert read_manifest(weights_folder).weights


# --- the commands ----------------------------------------------------------------------------------------


def test_the_commands_ship_and_list(trained: Path, package: Path) -> None:
    shipped = CliRunner().invoke(app, ["weights", "ship", str(trained)], env={"COLUMNS": "200"})
    assert shipped.exit_code == 0, shipped.output
    assert str(package / "weights" / "honest-shipped-blobs.safetensors") in shipped.stdout
    listed = json.loads(CliRunner().invoke(app, ["weights", "shipped", "--json"]).stdout)
    (entry,) = [one for one in listed if one["method"] == "honest"]
    assert entry["sha256"] == read_manifest(package / "weights").weights[0].sha256
    printed = CliRunner().invoke(app, ["weights", "shipped"]).stdout
    assert "shipped-blobs: trained on 16 images of coco:" in " ".join(printed.split())
    shown = json.loads(CliRunner().invoke(app, ["show", "honest", "--json"]).stdout)
    assert shown["shipped"].startswith("shipped-blobs: trained on 16 images")
    (package / "weights" / "honest-shipped-blobs.safetensors").write_bytes(b"")
    broken = CliRunner().invoke(app, ["weights", "shipped"])
    assert isinstance(broken.exception, BenchError)


def test_weights_ship_beside_the_module_of_the_method() -> None:
    assert Honest().weights_folder() == Path(__file__).parents[1] / "weights"
