"""A distribution of another author is found, trained and measured by its name through the command line."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import textwrap
import tomllib
from pathlib import Path
from typing import Any

import pytest

from bench.testing import method_checks
from bench.weights import read_weights
from tests.bench.conforming import Honest
from tests.bench.world import write_faces

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "tests" / "third_party"
GUIDE = ROOT / "docs" / "writing_a_method.md"
NAME = "patch-contrast"

# Several commands in one process, which imports torch once.
DRIVER = """
import json, sys
from bench.cli import app
for words in json.loads(sys.argv[1]):
    app(words, standalone_mode=False)
    print("\\0", end="")
"""


def install(site: Path) -> None:
    """What an installation leaves for Python to find, made from the package's own pyproject.toml."""
    project = _project()
    info = site / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    lines = []
    for group, entries in project["entry-points"].items():
        lines += [f"[{group}]", *(f"{name} = {value}" for name, value in entries.items())]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    install(folder / "site")
    write_faces(folder / "faces")
    return folder


@pytest.fixture(scope="module")
def outputs(world: Path) -> dict[str, str]:
    """Command -> what it printed."""
    faces = f"coco:{world / 'faces'}"
    weights = world / "trained"
    common = ["-m", NAME, "-d", faces, "-q"]
    commands = {
        "list": ["list", "methods", "--json"],
        "show": ["show", NAME, "--json"],
        "pretrain": [
            "pretrain", *common, "--preset", "tiny", "--variant", "grey", "-R", "steps=5", "-R", "batch_size=4",
            "--precision", "float32", "-o", str(weights),
        ],
        "run": [
            "run", *common, "-p", "matching", "-P", "pairs=4", "--image-size", "64",
            "-c", str(weights / "weights.safetensors"), "--runs", str(world / "runs"), "--json",
        ],
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, json.dumps(list(commands.values()))],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(world / "site"), str(PACKAGE / "src")])},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return dict(zip(commands, done.stdout.split("\0"), strict=False))


def test_list_names_it(outputs: dict[str, str]) -> None:
    listed = json.loads(outputs["list"])["methods"]
    assert listed[NAME].startswith("Contrast between the patches")
    assert "lead" in listed


def test_show_describes_it(outputs: dict[str, str]) -> None:
    shown = json.loads(outputs["show"])
    assert {option["name"] for option in shown["options"]} == {"width", "dim"}
    assert set(shown["presets"]) == {"paper", "tiny"}


def test_pretrain_writes_its_weights(outputs: dict[str, str]) -> None:
    weights = read_weights(Path(outputs["pretrain"].strip()), method=NAME)
    assert weights.options == {"width": 32, "dim": 32}
    assert weights.provenance["recipe"]["steps"] == 5
    assert weights.provenance["recipe"]["recolour"] == 0.0  # of the variant
    assert weights.provenance["images"] == 16


def test_run_measures_them(outputs: dict[str, str]) -> None:
    record = json.loads(outputs["run"])
    assert (record["status"], record["method"]["name"], record["method"]["feature_dim"]) == ("ok", NAME, 32)
    assert record["metrics"]


# --- the guide ---------------------------------------------------------------------------------------------------


def test_every_python_sample_of_the_guide_is_code_of_the_package() -> None:
    samples = _samples("python")
    sources = [_unindented(path.read_text()) for path in sorted(PACKAGE.rglob("*.py"))]
    assert len(samples) >= 4
    for sample in samples:
        assert any(_unindented(sample) in source for source in sources), sample


def test_the_entry_point_of_the_guide_is_that_of_the_package() -> None:
    (sample,) = _samples("toml")
    assert tomllib.loads(sample)["project"]["entry-points"] == _project()["entry-points"]


def test_the_guide_lists_every_check_with_its_demand() -> None:
    rows = dict(re.findall(r"^\| `([a-z-]+)` \| (.+) \|$", GUIDE.read_text(), re.MULTILINE))
    assert rows == {check.name: check.demand.replace("``", "`") for check in method_checks(Honest)}


def _project() -> dict[str, Any]:
    project: dict[str, Any] = tomllib.loads((PACKAGE / "pyproject.toml").read_text())["project"]
    return project


def _samples(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.+?)^```", GUIDE.read_text(), re.MULTILINE | re.DOTALL)


def _unindented(text: str) -> str:
    """Lines without their indentation, so that a method can be quoted without its class."""
    return "\n".join(line.strip() for line in textwrap.dedent(text).strip().splitlines())
