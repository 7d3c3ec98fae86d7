"""What tests of protocols share."""

from __future__ import annotations

import numpy as np
import pytest


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes longer than everything else on so few images."""
    monkeypatch.setattr("protocols.equivariance.drawing", lambda values, unit: np.zeros((1, 1, 3), np.uint8))
