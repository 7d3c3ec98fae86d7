"""The rule of arrows: a wing imports the hall and itself, the hall imports no wing."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
HALL = "bench"
WINGS = ("datasets", "methods", "protocols", "reports")
IMPORTERS = ("import_module", "__import__", "find_spec")


def imported(source: str, package: str) -> Iterator[str]:
    """Top-level names that a module of ``package`` (dotted, without the module's own name) imports."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")
            base = parents[: len(parents) - node.level + 1] if node.level else []
            if node.level and not base:  # beyond the top: names a sibling of the package
                yield from ([node.module.partition(".")[0]] if node.module else [a.name for a in node.names])
            else:
                yield base[0] if base else str(node.module).partition(".")[0]
        elif isinstance(node, ast.Call):
            yield from _imported_by_string(node)


def _imported_by_string(call: ast.Call) -> Iterator[str]:
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    if name not in IMPORTERS:
        return
    for argument in (*call.args, *(keyword.value for keyword in call.keywords)):
        first = argument.values[0] if isinstance(argument, ast.JoinedStr) and argument.values else argument
        if isinstance(first, ast.Constant) and isinstance(first.value, str):
            yield first.value.partition(".")[0]


def violations(root: Path) -> list[str]:
    found = []
    for package in (HALL, *WINGS):
        forbidden = {wing for wing in WINGS if wing != package}
        for path in sorted((root / package).rglob("*.py")):
            dotted = ".".join(path.relative_to(root).parts[:-1])
            for name in imported(path.read_text(encoding="utf-8"), dotted):
                if name in forbidden:
                    found.append(f"{path.relative_to(root).as_posix()} imports {name}")
    return found


def test_no_arrow_points_the_wrong_way() -> None:
    assert violations(ROOT) == []


def test_every_package_is_looked_at() -> None:
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests"}
    assert packages == {HALL, *WINGS}


@pytest.mark.parametrize(
    "line",
    [
        "import datasets",
        "import datasets.coco as x",
        "from datasets import coco",
        "from datasets.coco import CocoProvider",
        "from ..datasets import coco",
        "def f():\n    import datasets",
        "if TYPE_CHECKING:\n    from datasets.coco import CocoProvider",
        "importlib.import_module('datasets.coco')",
        "import_module(f'datasets.{name}')",
        "importlib.import_module(name='datasets')",
        "__import__('datasets')",
    ],
)
@pytest.mark.parametrize("package", [HALL, "protocols"])
def test_the_search_finds_every_way_to_import(tmp_path: Path, package: str, line: str) -> None:
    (tmp_path / package).mkdir()
    (tmp_path / package / "module.py").write_text(line)
    assert violations(tmp_path) == [f"{package}/module.py imports datasets"]


@pytest.mark.parametrize(
    "line",
    [
        "import bench.geometry",
        "from protocols.errors import nme",
        "from . import errors",
        "from .errors import nme",
        "importlib.import_module(f'bench.{name}')",
        "import torch.utils.data",
        "load('datasets', 'coco')",
        "from sklearn import datasets",
    ],
)
def test_the_search_finds_nothing_else(tmp_path: Path, line: str) -> None:
    (tmp_path / "protocols").mkdir()
    (tmp_path / "protocols" / "module.py").write_text(line)
    assert violations(tmp_path) == []
