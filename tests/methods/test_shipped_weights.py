"""The weights that ship with the methods: whole, small enough, in the wheel, and what their presets train."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.errors import BenchError
from bench.network import NetworkRequest, open_network
from bench.opening import load_method
from bench.pretraining import PretrainRequest, resolve_job
from bench.progress import Progress
from bench.shipped import MANIFEST, read_manifest, shipped_entry, verified
from bench.shipping import LARGEST_DIFFERENCE, LARGEST_FILE, LARGEST_FOLDER

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "methods" / "weights"
LEARNERS = ("contrast", "dve", "lead", "rahaman", "supervised", "thewlis")


def test_the_folder_holds_what_the_manifest_lists_and_nothing_else() -> None:
    manifest = read_manifest(FOLDER)
    listed = {entry.file for entry in manifest.weights}
    assert {path.name for path in FOLDER.iterdir()} == {MANIFEST, *listed}
    assert {entry.method for entry in manifest.weights} <= set(LEARNERS)
    for entry in manifest.weights:
        assert verified(FOLDER, entry).method == entry.method
        assert entry.bytes <= LARGEST_FILE
        assert entry.feature_difference <= LARGEST_DIFFERENCE
    assert sum(entry.bytes for entry in manifest.weights) <= LARGEST_FOLDER


@pytest.mark.parametrize("name", LEARNERS)
def test_the_presets_are_those_that_the_weights_were_trained_by(name: str) -> None:
    method = load_method(name)
    assert method.weights_folder() == FOLDER
    for preset in method.shipped_presets:
        entry = read_manifest(FOLDER).find(name, preset)
        options, recipe = resolve_job(method, PretrainRequest(name, preset=preset))
        size = sum(
            tensor.numel() * (2 if tensor.dim() > 1 else tensor.element_size())
            for tensor in method.build(options).state_dict().values()
        )
        assert 0 < size < LARGEST_FILE
        if entry is not None:
            assert entry.options == options.model_dump(mode="json")
            assert entry.recipe == recipe.model_dump(mode="json")
            assert size < entry.bytes < 1.1 * size + 10_000  # what is left is the file's description


def test_all_presets_that_ship_fit_together() -> None:
    total = 0
    for name in LEARNERS:
        method = load_method(name)
        for preset in method.shipped_presets:
            options, _ = resolve_job(method, PretrainRequest(name, preset=preset))
            total += sum(2 * tensor.numel() for tensor in method.build(options).state_dict().values())
    assert 5_000_000 < total < LARGEST_FOLDER


def test_weights_of_another_preset_are_taken_where_they_are_named() -> None:
    method = load_method("rahaman")
    for preset in method.shipped_presets:
        entry = read_manifest(FOLDER).find("rahaman", preset)
        if entry is None:
            pytest.skip(f"preset {preset!r} is not shipped")
        network = open_network(NetworkRequest(method, shipped=preset), torch.device("cpu"), Progress.silent())
        assert network.sha256 == verified(FOLDER, entry).sha256
        assert preset in network.label


def test_weights_that_are_not_shipped_are_named_in_an_error() -> None:
    method = load_method("rahaman")
    with pytest.raises(BenchError, match=r"ships no weights of preset 'shiped-faces'.*\n.*shipped-faces"):
        shipped_entry(method, "shiped-faces")
    wanted = NetworkRequest(method, like=Path("any"), shipped="shipped-faces")
    with pytest.raises(BenchError, match=r"--like and --weights exclude each other"):
        open_network(wanted, torch.device("cpu"), Progress.silent())


def test_a_preset_that_is_not_installed_is_to_be_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    method = load_method("rahaman")
    monkeypatch.setattr(type(method), "weights_folder", lambda self: tmp_path / "none")
    assert shipped_entry(method) is None
    with pytest.raises(BenchError, match="bench pretrain --method rahaman --preset shipped-faces"):
        shipped_entry(method, "shipped-faces")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize("name", LEARNERS)
def test_features_on_a_gpu_are_those_on_the_cpu(name: str) -> None:
    method = load_method(name)
    if shipped_entry(method) is None:
        pytest.skip("nothing is shipped")
    images = torch.rand(4, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    on_cpu, on_gpu = (
        open_network(NetworkRequest(method), torch.device(kind), Progress.silent()).extractor.extract(images.to(kind))
        for kind in ("cpu", "cuda")
    )  # fmt: skip
    for one, other in zip(on_cpu.levels, on_gpu.levels, strict=True):
        assert float((other.cpu() - one).norm() / one.norm()) < 1e-3


# --- packaging -----------------------------------------------------------------------------------------------------


def _hatch() -> dict[str, Any]:
    build: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]
    return build


def test_the_packaging_names_the_weights() -> None:
    for target in ("wheel", "sdist"):
        settings = _hatch()["targets"][target]
        named = {path for pattern in settings["artifacts"] for path in ROOT.glob(pattern)}
        assert named == set(FOLDER.iterdir())
        assert not {"exclude", "only-include", "only-packages"} & settings.keys()
    assert "methods" in _hatch()["targets"]["wheel"]["packages"]


@pytest.mark.parametrize("target", ["wheel", "sdist"])
def test_the_build_backend_takes_them(target: str, tmp_path: Path) -> None:
    """In a copy, whose ignore file leaves weights out, and with a file of weights beside the manifest."""
    builders = pytest.importorskip(f"hatchling.builders.{target}")
    builder = builders.WheelBuilder if target == "wheel" else builders.SdistBuilder
    weights = tmp_path / "methods" / "weights"
    weights.mkdir(parents=True)
    (tmp_path / ".git").mkdir()  # the ignore file counts in a repository alone
    (tmp_path / ".gitignore").write_text("*.safetensors\n*.pth\n")
    for file in ("pyproject.toml", "README.md", "LICENSE"):
        (tmp_path / file).write_bytes((ROOT / file).read_bytes())
    for package in _hatch()["targets"]["wheel"]["packages"]:
        (tmp_path / package).mkdir(exist_ok=True)
        (tmp_path / package / "__init__.py").touch()
    for name in (MANIFEST, "lead-shipped-faces.safetensors", "stray.pth"):
        (weights / name).touch()
    taken = {file.distribution_path for file in builder(str(tmp_path)).recurse_included_files()}
    assert {"methods/__init__.py", "methods/weights/manifest.json"} <= taken
    assert "methods/weights/lead-shipped-faces.safetensors" in taken
    assert "methods/weights/stray.pth" not in taken
