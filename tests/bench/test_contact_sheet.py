"""The contact sheet of a split."""

from __future__ import annotations

import numpy as np
import pytest

from bench.contact_sheet import contact_sheet
from bench.errors import BenchError
from tests.datasets.faces_on_stage import opened

pytestmark = pytest.mark.usefixtures("own_cache")


def test_contact_sheet_marks_landmarks() -> None:
    dataset = opened(landmarks=5)
    bare, marked = contact_sheet(dataset, 2, 4, landmarks=False), contact_sheet(dataset, 2, 4)
    assert bare.size == marked.size == (4 * 160, 2 * 160)
    difference = (np.asarray(bare).astype(int) != np.asarray(marked).astype(int)).any(-1)
    scale = 160 / 64
    for cell in range(6):
        row, column = divmod(cell, 4)
        sample = dataset[cell]
        for (x, y), seen in zip(sample.points.tolist(), sample.visible.tolist(), strict=True):
            if seen:
                assert difference[row * 160 + int(y * scale), column * 160 + int(x * scale)]
    assert not np.asarray(marked)[160:, 320:].any()
    with pytest.raises(BenchError, match="at least one"):
        contact_sheet(dataset, 0, 4)
