"""``bench cache``: what is kept is shown, checked and cleared."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bench.cli import app
from bench.errors import BenchError
from bench.feature_cache import FeatureCache
from tests.bench.two_levels import (
    TwoLevels,
    cache_below,
    entries,
    flip,
    open_features,
    pictures,
)


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FeatureCache:
    """A cache with two entries, where the commands look for it."""
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path))
    monkeypatch.setenv("BENCH_FEATURE_CACHE_LIMIT", "1GB")
    cache = cache_below(tmp_path, TwoLevels())
    open_features(cache, pictures(4))
    open_features(cache, pictures(8))
    return cache


def test_the_commands_show_verify_and_clear(kept: FeatureCache) -> None:
    invoke = CliRunner().invoke
    shown = invoke(app, ["cache", "info"])
    assert shown.exit_code == 0
    assert "features: 2 entries" in shown.output
    assert "decoded images: 0 entries" in shown.output
    content = json.loads(invoke(app, ["cache", "info", "features", "--json"]).output)["features"]
    assert [entry["what"] for entry in content["entries"]] == ["test images, tiny"] * 2
    assert content["bytes"] == sum(entry["bytes"] for entry in content["entries"])
    assert content["limit"] == 10**9

    assert invoke(app, ["cache", "verify"]).exit_code == 0
    damaged, whole = entries(kept)
    flip(damaged / "level-0.npy", -1)
    verified = invoke(app, ["cache", "verify", "--json"])
    assert verified.exit_code == 1
    assert [entry["folder"] for entry in json.loads(verified.output)["features"]["damaged"]] == [str(damaged)]
    assert entries(kept) == [whole]

    cleared = json.loads(invoke(app, ["cache", "clear", "--json"]).output)
    assert cleared["features"]["removed"] == 1
    assert cleared["images"]["removed"] == 0
    assert entries(kept) == []


def test_a_cache_of_something_else_is_refused(kept: FeatureCache) -> None:
    result = CliRunner().invoke(app, ["cache", "clear", "feature"])
    assert isinstance(result.exception, BenchError)
    assert "Did you mean 'features'" in str(result.exception)
    assert len(entries(kept)) == 2
