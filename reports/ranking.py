"""Who is better than whom, as far as the error bars allow one to say."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from reports.frame import CELL

RANK_COLUMNS = ("rank", "rank_low", "rank_high")

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


def interval(frame: pd.DataFrame) -> tuple[Floats, Floats]:
    """Lower and upper end of the error bar of every row, which contains the row's value.

    It is the row's 95 % interval where it has one, else value ± std where it has draws, else the value.
    """
    value = frame["value"].to_numpy(float)
    low, high = frame["low"].to_numpy(float), frame["high"].to_numpy(float)
    spread = np.nan_to_num(frame["std"].to_numpy(float))
    low = np.where(np.isnan(low), value - spread, low)
    high = np.where(np.isnan(high), value + spread, high)
    return np.minimum(low, value), np.maximum(high, value)


def with_ranks(frame: pd.DataFrame, cell: Sequence[str] = CELL) -> pd.DataFrame:
    """Add the rank within each cell, that is among the rows that answer the same question.

    ``rank`` is by value alone; equal values share a rank and the next one is skipped (1, 2, 2, 4).
    ``rank_low`` to ``rank_high`` are the ranks that the error bars leave open: a row surely is better than
    another only where their error bars do not touch. A failed row has no rank.

    Args:
        cell: Columns in which rows that are ranked together agree.
    """
    measured = frame[frame["value"].notna()]
    groups = measured.groupby(list(dict.fromkeys(cell)), dropna=False).ngroup().to_numpy().astype(np.int64)
    sign = np.where(measured["direction"].to_numpy() == "lower", 1.0, -1.0)
    value = sign * measured["value"].to_numpy(float)
    ends = np.stack(interval(measured)) * sign
    best, worst = ends.min(axis=0), ends.max(axis=0)
    sizes = np.bincount(groups, minlength=1)[groups].astype(np.int64)
    found = {
        "rank": 1 + _count_below(value, value, groups),
        "rank_low": 1 + _count_below(worst, best, groups),
        "rank_high": sizes - _count_below(-best, -worst, groups),
    }
    ranks = pd.DataFrame(found, index=measured.index).astype("Int64")
    return frame.join(ranks)


def _count_below(numbers: Floats, bounds: Floats, groups: Integers) -> Integers:
    """For every bound, how many numbers of its own group are strictly below it.

    Shapes:
        numbers, bounds, groups: (N,), of N rows in groups 0, 1, ...
    """
    # One sort for all groups: a number becomes its place among all, and the group goes before it.
    places = np.unique(np.concatenate([numbers, bounds]), return_inverse=True)[1]
    span = len(places) + 1
    keys = np.sort(groups * span + places[: len(numbers)])
    starts = np.searchsorted(keys, groups * span)
    below = np.searchsorted(keys, groups * span + places[len(numbers) :])
    return (below - starts).astype(np.int64)
