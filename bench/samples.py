"""A number as it depends on which samples it is computed from: what a bootstrap resamples."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False, kw_only=True)
class Samples(ABC):
    """A number that is computed from N samples (images, or pairs of them), each taken so many times.

    Attributes:
        parts: The same number of a part of what is measured, by the part's name: of each landmark, of each class.
    """

    parts: Mapping[str, Samples] = field(default_factory=dict)

    @property
    @abstractmethod
    def counted(self) -> NDArray[np.bool_]:
        """(N,): which samples can change the number."""

    @property
    @abstractmethod
    def width(self) -> int:
        """How many numbers one resample takes in memory."""

    @abstractmethod
    def numbers(self, times: Floats) -> Floats:
        """(R, N), how often each sample is taken -> (R,); NaN where what is taken has no such number."""

    @abstractmethod
    def take(self, indices: NDArray[np.intp]) -> Samples:
        """Some of the samples, in that order, without ``parts``."""

    def number(self) -> float:
        """Of all samples, once each."""
        return float(self.numbers(np.ones((1, len(self.counted))))[0])

    def in_order(self, indices: NDArray[np.intp]) -> Samples:
        """:meth:`take`, of the parts too."""
        parts = {name: part.in_order(indices) for name, part in self.parts.items()}
        return replace(self.take(indices), parts=parts)


@dataclass(frozen=True, eq=False)
class Ratio(Samples):
    """Sum of sums over sum of counts; with D columns (such as draws), the mean of D such ratios.

    Shapes:
        sums, counts: (N,) or (N, D), float64, counts of at least 0.
    """

    sums: Floats
    counts: Floats

    @property
    def counted(self) -> NDArray[np.bool_]:
        return np.asarray(self._columns(self.counts).any(1), dtype=np.bool_)

    @property
    def width(self) -> int:
        return 2 * int(self._columns(self.counts).shape[1])

    def numbers(self, times: Floats) -> Floats:
        sums, counts = times @ self._columns(self.sums), times @ self._columns(self.counts)
        ratios = np.divide(sums, counts, out=np.full_like(sums, np.nan), where=counts > 0)
        means: Floats = ratios.mean(1)
        return means

    def take(self, indices: NDArray[np.intp]) -> Ratio:
        return Ratio(self.sums[indices], self.counts[indices])

    @staticmethod
    def _columns(array: Floats) -> Floats:
        return array.reshape(len(array), -1)


@dataclass(frozen=True, eq=False)
class Median(Samples):
    """The median of all values that count, of all samples.

    Shapes:
        values: (N, K), float64.  present: (N, K), bool, which of them count.
    """

    values: Floats
    present: NDArray[np.bool_]

    @property
    def counted(self) -> NDArray[np.bool_]:
        return np.asarray(self.present.any(1), dtype=np.bool_)

    @property
    def width(self) -> int:
        return self.values.size

    def numbers(self, times: Floats) -> Floats:
        sample, column = np.nonzero(self.present)
        values = self.values[sample, column]
        order = np.argsort(values, kind="stable")
        # The values of a resample in their order, each as often as its sample was taken.
        values, reached = values[order], times[:, sample[order]].cumsum(1)
        if not len(values):
            return np.full(len(times), np.nan)
        total = reached[:, -1]
        middle = [
            values[np.minimum((reached <= place[:, None]).sum(1), len(values) - 1)]
            for place in ((total - 1) // 2, total // 2)
        ]
        return np.where(total > 0, np.mean(middle, axis=0), np.nan)

    def take(self, indices: NDArray[np.intp]) -> Median:
        return Median(self.values[indices], self.present[indices])


@dataclass(frozen=True, eq=False)
class SummedTables(Samples):
    """A number of the sum of one table per sample.

    Shapes:
        tables: (N, ...).

    Attributes:
        statistic: The number of each of R sums: (R, ...) -> (R,).
    """

    tables: NDArray[np.float64] | NDArray[np.int64]
    statistic: Callable[[Floats], Floats]

    @property
    def counted(self) -> NDArray[np.bool_]:
        return np.asarray(self._flat.any(1), dtype=np.bool_)

    @property
    def width(self) -> int:
        return math.prod(self.tables.shape[1:])

    def numbers(self, times: Floats) -> Floats:
        sums = times @ self._flat.astype(np.float64)
        return self.statistic(sums.reshape(len(times), *self.tables.shape[1:]))

    def take(self, indices: NDArray[np.intp]) -> SummedTables:
        return SummedTables(self.tables[indices], self.statistic)

    @property
    def _flat(self) -> NDArray[np.float64] | NDArray[np.int64]:
        return self.tables.reshape(len(self.tables), self.width)
