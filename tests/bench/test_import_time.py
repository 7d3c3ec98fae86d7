from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("torch", "torchvision", "pandas", "numpy", "scipy", "sklearn", "matplotlib")


def loaded_by(statement: str) -> set[str]:
    """The heavy packages that a fresh interpreter has loaded after ``statement``."""
    code = f"import json, sys\n{statement}\nprint(json.dumps([n for n in {HEAVY!r} if n in sys.modules]))"
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    return set(json.loads(ended.stdout.splitlines()[-1]))


def test_the_probe_sees_what_is_loaded() -> None:
    assert loaded_by("import numpy") == {"numpy"}


@pytest.mark.parametrize("module", ["bench", "bench.cli", "bench.record", "bench.report", "bench.registry"])
def test_nothing_heavy_is_imported_before_a_command_runs(module: str) -> None:
    assert loaded_by(f"import {module}") == set()


@pytest.mark.parametrize("arguments", [["--help"], ["check", "--help"], ["leaderboard", "--help"]])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    statements = (
        "from typer.testing import CliRunner",
        "from bench.cli import app",
        f"result = CliRunner().invoke(app, {arguments!r})",
        "assert result.exit_code == 0, result.output",
    )
    assert loaded_by("\n".join(statements)) == set()


@pytest.mark.parametrize("module", ["bench.store", "reports.leaderboard", "reports.check"])
def test_reading_and_reporting_needs_no_torch(module: str) -> None:
    assert not loaded_by(f"import {module}") & {"torch", "torchvision", "scipy", "sklearn", "matplotlib"}
