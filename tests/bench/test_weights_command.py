"""Checkpoints of other code become weights: `bench weights`, and `bench run` on them directly."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from pydantic import Field
from torch import Tensor, nn
from typer.testing import CliRunner

from bench.cli import app
from bench.conversion import convert, open_weights
from bench.errors import BenchError
from bench.features import FeatureExtractor, FeatureMap
from bench.loading import Preprocessing
from bench.method import CheckpointFormat, Method, MethodOptions, Preset, Translation
from bench.opening import DatasetRequest
from bench.progress import Progress
from bench.runner import RunRequest, run
from bench.weights import load_into, read_weights
from tests.bench.test_registry import distribute
from tests.bench.world import write_faces


class MadeUpOptions(MethodOptions):
    """Made up for tests."""

    width: int = Field(default=4, description="Channels.")
    head: bool = False


class MadeUpNetwork(FeatureExtractor):
    """A convolution with batch norm, and perhaps a head of its own file."""

    stride = 2

    def __init__(self, options: MadeUpOptions) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, options.width, 3, stride=2, padding=1), nn.BatchNorm2d(options.width)
        )
        self.head = nn.Conv2d(options.width, 2, 1) if options.head else None
        self.unread = () if options.head else ("head.",)

    def forward(self, images: Tensor) -> FeatureMap:
        maps = self.body(images)
        height, width = images.shape[-2:]
        return FeatureMap(
            (maps if self.head is None else self.head(maps),), (height // 2, width // 2), (height, width)
        )


def _translate_body(content: Mapping[str, Any]) -> Translation:
    state = {name.removeprefix("module."): value for name, value in content["model"].items()}
    unused = {"optimizer": "only training needs it"} if "optimizer" in content else {}
    tensors = {
        f"body.{name}": value.float() if value.dtype == torch.float16 else value
        for name, value in state.items()
        if name[0] in "01"
    }
    return Translation(tensors, {"width": len(state["0.weight"])}, unused)


def _translate_head(content: Mapping[str, Any]) -> Translation:
    state = content["head"]
    options = {"head": True, "width": state["weight"].shape[1]}
    return Translation({f"head.{name}": value for name, value in state.items()}, options)


class MadeUp(Method):
    """A method with two official layouts."""

    name = "made-up"
    summary = "Made up for tests."
    reference = "none"
    Options = MadeUpOptions
    presets: ClassVar[dict[str, Preset]] = {"paper": Preset("The published one.")}
    checkpoint_formats = (
        CheckpointFormat(
            "body", "a body, e.g. body.pth", lambda content: "model" in content, _translate_body
        ),
        CheckpointFormat("head", "a head, e.g. head.pth", lambda content: "head" in content, _translate_head),
    )

    def build(self, options: MadeUpOptions) -> MadeUpNetwork:
        return MadeUpNetwork(options)


@pytest.fixture(autouse=True)
def registered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The method as another distribution would bring it."""
    site = tmp_path / "site"
    site.mkdir()
    distribute(site, "made-up-methods", {"methods": {"made-up": f"{__name__}:MadeUp"}})
    monkeypatch.syspath_prepend(str(site))


@pytest.fixture
def network() -> MadeUpNetwork:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        network = MadeUpNetwork(MadeUpOptions(width=6, head=True))
        network.train()(torch.rand(4, 3, 8, 8))  # moves the running statistics
        return network.eval()


def _body(network: MadeUpNetwork, path: Path, **changes: Any) -> Path:
    state = {f"module.{name}": value for name, value in network.body.state_dict().items()}
    optimiser = torch.optim.SGD(network.parameters(), lr=0.1).state_dict()
    content = {
        "opt": argparse.Namespace(lr=0.1),
        "model": state,
        "optimizer": {**optimiser, "moments": torch.ones(2)},
        "epoch": 3,
    }
    torch.save({**content, **changes}, path)
    return path


def _head(network: MadeUpNetwork, path: Path) -> Path:
    assert network.head is not None
    torch.save({"head": network.head.state_dict()}, path)
    return path


def _changed(path: Path, **tensors: Tensor | None) -> Path:
    """The same file with tensors of its model replaced, added or (None) removed."""
    content = torch.load(path, weights_only=False)
    model = {**content["model"], **{f"module.{key}": value for key, value in tensors.items()}}
    content["model"] = {name: value for name, value in model.items() if value is not None}
    torch.save(content, path)
    return path


def _run(*words: str | Path) -> Any:
    return CliRunner().invoke(app, ["weights", *map(str, words)], env={"COLUMNS": "120"})


def test_one_file_fills_the_network(network: MadeUpNetwork, tmp_path: Path) -> None:
    path = _body(network, tmp_path / "body.pth")
    conversion = convert([path], MadeUp())
    images = torch.rand(2, 3, 8, 8)
    assert torch.equal(conversion.network.extract(images).levels[0], network.body(images))
    assert conversion.options == MadeUpOptions(width=6)
    assert conversion.weights.label == "released checkpoint body.pth (body)"
    (digest,) = conversion.provenance["files"].values()
    assert digest == conversion.weights.sha256 == conversion.parts[0].file.sha256


def test_two_files_make_one_network_in_either_order(network: MadeUpNetwork, tmp_path: Path) -> None:
    files = [_body(network, tmp_path / "body.pth"), _head(network, tmp_path / "head.pth")]
    images = torch.rand(2, 3, 8, 8)
    for paths in (files, files[::-1]):
        conversion = convert(paths, MadeUp())
        assert torch.equal(conversion.network.extract(images).levels[0], network(images).levels[0])
    with pytest.raises(BenchError, match=r"bench weights convert FILE FILE --method made-up"):
        open_weights(files[1], MadeUp())


def test_the_users_options_lie_on_top(network: MadeUpNetwork, tmp_path: Path) -> None:
    files = [_body(network, tmp_path / "body.pth"), _head(network, tmp_path / "head.pth")]
    conversion = convert(files, MadeUp(), ["head=false"])
    assert conversion.options == MadeUpOptions(width=6)
    assert conversion.unread == ("head.bias", "head.weight")
    with pytest.raises(BenchError) as caught:
        convert(files[:1], MadeUp(), ["width=8"])
    assert "body.0.weight: (6, 3, 3, 3) in the file, (8, 3, 3, 3) in the network" in str(caught.value)


def test_files_that_contradict_each_other(network: MadeUpNetwork, tmp_path: Path) -> None:
    one = _body(network, tmp_path / "one.pth")
    two = _body(network, tmp_path / "two.pth")
    assert convert([one, two], MadeUp()).options.width == 6  # the same twice is no contradiction
    _changed(two, **{"0.bias": torch.zeros(6)})
    with pytest.raises(BenchError, match=r"one\.pth and .*two\.pth contradict each other on the tensor"):
        convert([one, two], MadeUp())
    narrow = _head(MadeUpNetwork(MadeUpOptions(width=3, head=True)), tmp_path / "narrow.pth")
    with pytest.raises(BenchError, match=r"contradict each other on the option 'width' \(6 and 3\)"):
        convert([one, narrow], MadeUp())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"0.bias": None}, r"1 tensor missing:\s+body\.0\.bias"),
        ({"1.weight": None, "1.wieght": torch.ones(6)}, r"body\.1\.weight  \(near: body\.1\.wieght\)"),
        ({"1.extra": torch.ones(1)}, r"1 tensor without a place:\s+body\.1\.extra"),
        ({"0.bias": torch.ones(7)}, r"1 tensor of another shape:\s+body\.0\.bias: \(7,\) in the file"),
        ({"0.bias": torch.full((6,), torch.nan)}, r"not finite in 1 tensor:\s+body\.0\.bias"),
        (
            {"decoder.weight": torch.zeros(9)},
            r"does not know 1 tensor of it:\s+model\.module\.decoder\.weight",
        ),
    ],
)
def test_every_tensor_that_does_not_fit_is_named(
    change: dict[str, Tensor | None], message: str, network: MadeUpNetwork, tmp_path: Path
) -> None:
    path = _changed(_body(network, tmp_path / "body.pth"), **change)
    with pytest.raises(BenchError, match=message):
        convert([path], MadeUp())


def test_batch_counters_may_lack_and_halves_are_widened(network: MadeUpNetwork, tmp_path: Path) -> None:
    halved = network.state_dict()["body.0.weight"].half()
    path = _body(network, tmp_path / "body.pth")
    _changed(path, **{"1.num_batches_tracked": None, "0.weight": halved})
    conversion = convert([path], MadeUp())
    assert conversion.counters == ("body.1.num_batches_tracked",)
    assert torch.equal(conversion.network.state_dict()["body.0.weight"], halved.float())


def test_layouts_that_are_not_known(network: MadeUpNetwork, tmp_path: Path) -> None:
    path = tmp_path / "other.pth"
    torch.save({"weights": torch.ones(1)}, path)
    with pytest.raises(BenchError) as caught:
        convert([path], MadeUp())
    assert "at its top it holds 'weights'" in str(caught.value)
    assert "body: a body, e.g. body.pth" in str(caught.value)
    torch.save({"model": {"layer": torch.ones(1)}}, path)
    with pytest.raises(BenchError, match="has the layout 'body', but not all that belongs to it"):
        convert([path], MadeUp())


def test_the_command_writes_weights_that_bench_reads(network: MadeUpNetwork, tmp_path: Path) -> None:
    files = [_body(network, tmp_path / "body.pth"), _head(network, tmp_path / "head.pth")]
    output = tmp_path / "converted.safetensors"
    done = _run("convert", *files, "--method", "made-up", "--output", output)
    assert done.exit_code == 0, done.output
    assert "optimizer: only training needs it" in done.output
    assert "194 parameters" in done.output  # 6 x 27 + 6, twice 6, 2 x 6 + 2
    weights = read_weights(output, method="made-up")
    rebuilt = MadeUp().build(MadeUpOptions(**weights.options))
    load_into(rebuilt, weights)
    images = torch.rand(2, 3, 8, 8)
    assert torch.equal(rebuilt.extract(images).levels[0], network(images).levels[0])
    assert weights.label == "released checkpoint body.pth + head.pth (body + head)"

    again = _run("convert", files[0], "-m", "made-up", "-o", output)
    assert isinstance(again.exception, BenchError)
    assert "is there already" in str(again.exception)
    forced = _run("convert", files[0], "-m", "made-up", "-o", output, "--force", "--json")
    described = json.loads(forced.stdout)
    assert described["options"] == {"width": 6, "head": False}
    assert described["sha256"] == read_weights(output).sha256
    assert described["files"][0]["named, not loaded"] == ["argparse.Namespace"]

    own = _run("convert", output, "-m", "made-up", "-o", tmp_path / "twice.safetensors")
    assert "nothing to convert" in str(own.exception)
    wrong = _run("convert", files[0], "-m", "made-up", "-o", tmp_path / "out.pth")
    assert "safetensors files" in str(wrong.exception)


def test_show_tells_what_a_file_is(network: MadeUpNetwork, tmp_path: Path) -> None:
    path = _body(network, tmp_path / "body.pth")
    foreign = json.loads(_run("show", path, "--json").stdout)
    assert foreign["is"] == "checkpoint of other code"
    assert (foreign["tensors"], foreign["values"]) == (8, 6 * 27 + 5 * 6 + 1 + 2)
    (match,) = foreign["can be taken over by"]
    assert (match["method"], match["options"]) == ("made-up", {"width": 6})
    assert match["not used"] == {"optimizer": "only training needs it"}
    printed = _run("show", path).output
    assert "made-up can take it over" in printed
    assert "<argparse.Namespace, not loaded>" in printed

    output = tmp_path / "converted.safetensors"
    convert([path], MadeUp()).save(output)
    own = json.loads(_run("show", output, "--json").stdout)
    assert (own["is"], own["method"], own["tensors"]) == ("weights of bench", "made-up", 7)
    assert own["origin"] in " ".join(_run("show", output).output.split())
    missing = _run("show", tmp_path / "nothing.safetensors")
    assert "no weights at" in str(missing.exception)


def test_an_official_checkpoint_is_measured_directly(network: MadeUpNetwork, tmp_path: Path) -> None:
    path = _body(network, tmp_path / "body.pth")
    output = tmp_path / "converted.safetensors"
    convert([path], MadeUp()).save(output)
    records = [
        run(
            RunRequest(
                method="made-up",
                protocol="matching",
                dataset=DatasetRequest(f"coco:{write_faces(tmp_path / name)}"),
                checkpoint=checkpoint,
                protocol_options=("pairs=4",),
                preprocessing=Preprocessing(image_size=32),
                runs=tmp_path / "runs",
                device="cpu",
            ),
            Progress.silent(),
        ).record
        for name, checkpoint in (("a", path), ("b", output))
    ]
    assert [record.method.options for record in records] == [{"width": 6, "head": False}] * 2
    assert [record.method.weights_label for record in records] == ["released checkpoint body.pth (body)"] * 2
    assert records[0].metrics == records[1].metrics
    assert records[0].method.weights_sha256 != records[1].method.weights_sha256
