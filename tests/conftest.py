"""What holds for every test."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session", autouse=True)
def _nothing_is_kept() -> Iterator[None]:
    """Tests leave the user's caches of decoded images and of features alone; those about them bring their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENCH_CACHE_LIMIT", "0")
        patch.setenv("BENCH_FEATURE_CACHE_LIMIT", "0")
        for name in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY"):  # where they are set, the summary is not ours
            patch.delenv(name, raising=False)
        yield


@pytest.fixture(scope="session", autouse=True)
def _ctrl_c_is_heard() -> None:
    """Also where the tests are started in the background of a shell, whose children inherit that they ignore it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder that only this test uses."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("BENCH_CACHE", str(folder))
    return folder
