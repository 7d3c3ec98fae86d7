"""Weights that ship: from a finished training into a package and out of it again, and everything that is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import safetensors.torch
import torch
from typer.testing import CliRunner

from bench import network, shipping
from bench.cli import app
from bench.errors import BenchError
from bench.method import Preset
from bench.network import NetworkRequest, open_network
from bench.opening import DatasetRequest
from bench.pretraining import PretrainRequest, pretrain
from bench.progress import Progress
from bench.runner import RunRequest, run
from bench.shipped import MANIFEST, read_manifest, read_shipped, shipped_entry
from bench.shipping import feature_difference, halved, pack, ship
from bench.training_cost import COST_FILE, read_cost
from bench.weights import read_weights
from tests.bench.conforming import TRAINING, Honest, HonestNetwork, HonestOptions
from tests.bench.test_registry import distribute
from tests.bench.world import write_faces

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


@pytest.fixture(scope="module", autouse=True)
def registered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The method as another distribution would bring it."""
    site = tmp_path_factory.mktemp("site")
    distribute(site, "shipping-methods", {"methods": {"honest": f"{__name__}:Shipping"}})
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(site))
        yield


@pytest.fixture(autouse=True)
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the method lies, with nothing shipped yet."""
    package = tmp_path / "package"
    package.mkdir()
    monkeypatch.setattr(Shipping, "package", package, raising=False)
    return package


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_faces(tmp_path_factory.mktemp("world") / "faces")


def _train(faces: Path, output: Path, **changes: Any) -> Path:
    request = PretrainRequest(
        "honest", DatasetRequest(f"coco:{faces}"), SHIPPED, output=output, precision="float32", device="cpu"
    )
    pretrain(replace(request, **changes), QUIET)
    return output


@pytest.fixture(scope="module")
def trained_once(faces: Path, registered: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _train(faces, tmp_path_factory.mktemp("trained"))


@pytest.fixture
def trained(trained_once: Path, tmp_path: Path) -> Path:
    """A finished training, to be changed at will."""
    return shutil.copytree(trained_once, tmp_path / "trained")


@pytest.fixture
def weights_folder(trained: Path, package: Path) -> Path:
    ship([trained])
    return package / "weights"


def _edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads((folder / MANIFEST).read_text())
    change(content)
    (folder / MANIFEST).write_text(json.dumps(content))


# --- what is shipped, and how it is read ---------------------------------------------------------------------------


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
    ship([_train(faces, tmp_path / "again", seed=1)])
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


# --- which weights a run takes -------------------------------------------------------------------------------------


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


# --- what is not what the manifest says ----------------------------------------------------------------------------


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
    _edit(weights_folder, lambda content: content["weights"][0].update({key: value}))
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
    _edit(weights_folder, change)
    with pytest.raises(BenchError, match=message):
        shipped_entry(Shipping())


def test_a_manifest_that_is_no_json(weights_folder: Path) -> None:
    (weights_folder / MANIFEST).write_text("{")
    with pytest.raises(BenchError, match="cannot be read"):
        shipped_entry(Shipping())


# --- what is not shipped -------------------------------------------------------------------------------------------


def test_what_the_preset_would_not_train_again(faces: Path, trained: Path, tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="of preset 'paper', which method 'honest' does not ship"):
        pack(_train(faces, tmp_path / "paper", preset="paper"))
    with pytest.raises(BenchError, match=r"other options than preset .*: they differ in width"):
        pack(_train(faces, tmp_path / "options", method_options=("width=4",)))
    with pytest.raises(BenchError, match=r"other recipe than preset .*: they differ in steps"):
        pack(_train(faces, tmp_path / "recipe", recipe_options=("steps=3",)))
    with pytest.raises(BenchError, match=r"trained with share 0\.5"):
        pack(_train(faces, tmp_path / "share", share=0.5))
    with pytest.raises(BenchError, match="trained with initial"):
        pack(_train(faces, tmp_path / "tuned", initial=trained / "weights.safetensors"))
    with pytest.raises(BenchError, match="trained with variant 'wide'"):
        pack(_train(faces, tmp_path / "variant", variant="wide"))


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


# --- the commands --------------------------------------------------------------------------------------------------


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
    assert Honest().weights_folder() == Path(__file__).parent / "weights"
