"""Who is better than whom, as far as the error bars allow one to say."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from reports.frame import CELL

RANK_COLUMNS = ("rank", "rank_low", "rank_high")

Floats = npt.NDArray[np.float64]


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


def with_ranks(frame: pd.DataFrame) -> pd.DataFrame:
    """Add the rank within each cell, that is among the rows that answer the same question (``frame.CELL``).

    ``rank`` is by value alone; equal values share a rank and the next one is skipped (1, 2, 2, 4).
    ``rank_low`` to ``rank_high`` are the ranks that the error bars leave open: a row surely is better than
    another only where their error bars do not touch. A failed row has no rank.
    """
    ranks = pd.DataFrame(index=frame.index, columns=list(RANK_COLUMNS), dtype="Int64")
    measured = frame[frame["value"].notna()]
    for _, rows in measured.groupby(list(CELL), dropna=False):
        sign = 1.0 if rows["direction"].iloc[0] == "lower" else -1.0
        value = sign * rows["value"].to_numpy(float)
        ends = np.stack(interval(rows)) * sign
        best, worst = ends.min(axis=0), ends.max(axis=0)
        ranks.loc[rows.index, "rank"] = 1 + _count_below(value, value)
        ranks.loc[rows.index, "rank_low"] = 1 + _count_below(worst, best)
        ranks.loc[rows.index, "rank_high"] = len(rows) - _count_below(-best, -worst)
    return frame.join(ranks)


def _count_below(numbers: Floats, bounds: Floats) -> npt.NDArray[np.int64]:
    """For every bound, how many numbers are strictly below it."""
    return np.searchsorted(np.sort(numbers), bounds, side="left").astype(np.int64)
