"""`bench show` of a method: what it says, and that it fits a terminal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn
from typer.testing import CliRunner

from bench.cli import app
from bench.features import FeatureExtractor, FeatureMap
from bench.footprint import footprint
from bench.method import CheckpointFormat, Method, MethodOptions, Preset, Translation
from methods.lead import LEAD
from tests.bench.test_registry import distribute


class ShownOptions(MethodOptions):
    """Made up for tests."""

    width: int = 4
    awkward: bool = False


class ShownNetwork(FeatureExtractor):
    """One convolution; an awkward one reads the values of its weights while it is built."""

    capabilities = frozenset({"dense", "landmarks"})
    stride = 2

    def __init__(self, options: ShownOptions) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, options.width, 3, stride=2, padding=1)
        self.largest = float(self.conv.weight.detach().abs().max()) if options.awkward else 0.0

    def forward(self, images: Tensor) -> FeatureMap:
        height, width = images.shape[-2:]
        return FeatureMap((self.conv(images),), (height // 2, width // 2), (height, width))


class Shown(Method):
    """A method with something of everything."""

    name = "shown"
    summary = "Shown in tests."
    reference = "none"
    Options = ShownOptions
    default_preset = "tiny"
    stages = ("first: this", "second: that")
    learns_from_annotations = True
    presets: ClassVar[dict[str, Preset]] = {
        "paper": Preset("The published one."),
        "tiny": Preset("A small one.", {"width": 2}, {"image_size": 32}),
    }
    variants: ClassVar[dict[str, Preset]] = {"awkward": Preset("Table 7, row 2.", {"awkward": True})}
    checkpoint_formats = (
        CheckpointFormat("official", "the official ones", lambda _: False, lambda _: Translation({})),
    )

    def build(self, options: ShownOptions) -> ShownNetwork:
        return ShownNetwork(options)


@pytest.fixture(autouse=True)
def registered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = tmp_path / "site"
    site.mkdir()
    distribute(site, "shown-methods", {"methods": {"shown": f"{__name__}:Shown"}})
    monkeypatch.syspath_prepend(str(site))


def _show(*words: str, columns: int = 100) -> str:
    done = CliRunner().invoke(app, ["show", *words], env={"COLUMNS": str(columns)})
    assert done.exit_code == 0, done.output
    return done.stdout


def test_everything_is_in_the_json() -> None:
    shown = json.loads(_show("shown", "--json"))
    # 27 weights and a bias for each of the 4 channels
    expected = {"parameters": 112, "channels": 4, "stride": 2, "capabilities": ["dense", "landmarks"]}
    assert shown["network"] == expected
    assert shown["presets"]["tiny"]["network"] == {**expected, "parameters": 56, "channels": 2}
    assert shown["variants"]["awkward"]["network"] == expected
    assert shown["stages"] == ["first: this", "second: that"]
    assert shown["checkpoint_formats"] == {"official": "the official ones"}
    assert (shown["default_preset"], shown["learns_from_annotations"]) == ("tiny", True)
    assert [option["name"] for option in shown["options"]] == ["width", "awkward"]
    assert [option["name"] for option in shown["recipe"]] == ["image_size"]


def test_everything_is_on_the_screen() -> None:
    text = " ".join(_show("shown").split())
    for expected in (
        "112 parameters", "4-d features", "multiples of 2", "dense features and discovered landmarks", "first: this",
        "second: that", "annotated images", "official: the official ones", "-M key=value", "recipe",
        "trained by default", "Table 7, row 2.", "awkward=true", "width=2, image_size=32",
    ):  # fmt: skip
        assert expected in text


@pytest.mark.parametrize("name", ["shown", "lead", "random", "fewshot", "coco", "leaderboard"])
def test_it_fits_the_terminal(name: str) -> None:
    assert max(len(line) for line in _show(name, columns=80).splitlines()) <= 80


def test_the_numbers_are_those_of_the_real_network() -> None:
    overrides: dict[str, Any] = {"backbone": "resnet18", "width": 8, "dim": 5, "fpn_width": 8}
    network = LEAD().build(LEAD.Options(**overrides))
    found = footprint(LEAD(), overrides)
    assert found is not None
    assert found.parameters == sum(parameter.numel() for parameter in network.parameters())
    assert found.channels == network.extract(torch.zeros(1, 3, 96, 96)).channels == 5


def test_nothing_is_allocated() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        before = torch.get_rng_state()
        footprint(LEAD(), {"width": 512})  # of 1.5 thousand million parameters
        assert torch.equal(torch.get_rng_state(), before)
