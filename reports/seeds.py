"""Several seeds of the same measurement: their mean, only where nothing is missing."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd


def over_seeds(rows: pd.DataFrame, cell: Sequence[str]) -> tuple[pd.DataFrame, str]:
    """Mean and standard deviation (ddof 1) over seeds, where all cells of a table have the same seeds.

    Where one seed of one cell is missing, nothing is averaged: a mean over fewer seeds is another number. A cell's
    own deviation over draws gives way to the deviation over seeds; of intervals, which are over the same images with
    every seed, the ends are averaged too. That interval is not too short: the mean over seeds varies no more with the
    images than the value of one seed.

    Args:
        rows: Measured values of one table.
        cell: Columns that tell its cells apart, with ``seed`` among them or not.

    Returns:
        The rows, and what has to be said of them; empty where there is one seed only.
    """
    seeds = sorted(set(rows["seed"]))
    if len(seeds) < 2:
        return rows, ""
    listed = ", ".join(map(str, seeds))
    without = [name for name in cell if name != "seed"]
    groups = rows.groupby(without, sort=False, dropna=False)
    # as many seeds in every cell as there are in all, and none of them twice
    if not ((groups["seed"].nunique() == len(seeds)) & (groups.size() == len(seeds))).all():
        return rows, f"seeds {listed}: not every cell has all of them, so nothing is averaged"
    mean, spread = groups["value"].transform("mean"), groups["value"].transform("std", ddof=1)
    ends = {
        name: groups[name].transform("mean").where(groups[name].transform("count") == len(seeds))
        for name in ("low", "high")
    }
    averaged = rows.assign(value=mean, std=spread, record="", **ends)
    averaged["seed"] = pd.Series(pd.NA, index=rows.index, dtype="Int64")
    return averaged.drop_duplicates(without), f"mean ± standard deviation over {len(seeds)} seeds: {listed}"
