"""What holds for every test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session", autouse=True)
def _decoded_images_are_not_kept() -> Iterator[None]:
    """Tests leave the user's cache of decoded images alone; those about it bring their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENCH_CACHE_LIMIT", "0")
        yield
