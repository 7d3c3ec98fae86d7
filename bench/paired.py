"""Does one run differ from another on the same samples? The paired bootstrap, and Holm's correction."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.errors import BenchError
from bench.samples import Samples
from bench.statistics import percentiles, resampled_times

FEWEST_SAMPLES = 10
"""With fewer, percentiles of resamples are far too narrow: neither interval nor p-value is given."""

_TIE = 1e-12
"""Relative; two sums of the same numbers in another order differ by less."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class PairedDifference:
    """The second number minus the first, of the same samples.

    Attributes:
        samples: How many can change either number.
        low, high: Percentile interval of the difference.
        p_value: Two-sided, see :func:`paired_differences`.
        untested: Why there is neither interval nor p-value, where there is none.
    """

    difference: float
    samples: int
    low: float | None = None
    high: float | None = None
    p_value: float | None = None
    untested: str | None = None


def paired_differences(
    pairs: Sequence[tuple[Samples, Samples]],
    *,
    seed: int,
    resamples: int = 10_000,
    level: float = 0.95,
) -> list[PairedDifference]:
    """Paired percentile bootstrap of the difference of two numbers, for each of several pairs of numbers.

    Samples are drawn with replacement, the same ones for both numbers, so that what is hard for both does not blur
    their difference. Samples that count in neither are left out beforehand. Equal seeds draw equal samples for all
    pairs whose counted samples are the same.

    The p-value is that of the test which rejects a difference of 0 where the interval excludes it: with d* the
    differences of R resamples, p = min(1, 2 (1 + min(#{d* <= 0}, #{d* >= 0})) / (1 + R)). The 1 counts the data
    themselves as a resample; no p-value is below 2 / (1 + R).

    Args:
        pairs: First and second number, of samples in the same order.

    Raises:
        BenchError: where two numbers are of different numbers of samples.

    Reference:
        Efron and Tibshirani, An Introduction to the Bootstrap, 1993, section 15.4 (tests by inverting an interval).
        Phipson and Smyth, 2010 (why 1 is added).
    """
    groups: dict[bytes, list[int]] = defaultdict(list)
    for place, (first, second) in enumerate(pairs):
        if first.counted.shape != second.counted.shape:
            sizes = f"{len(first.counted)} and {len(second.counted)}"
            raise BenchError(f"a paired comparison needs the same samples on both sides, got {sizes}")
        groups[(first.counted | second.counted).tobytes()].append(place)
    found: dict[int, PairedDifference] = {}
    for counted, places in groups.items():
        kept = np.flatnonzero(np.frombuffer(counted, dtype=np.bool_))
        members = [(pairs[place][0].take(kept), pairs[place][1].take(kept)) for place in places]
        found |= dict(zip(places, _of_same_samples(members, len(kept), seed, resamples, level), strict=True))
    return [found[place] for place in range(len(pairs))]


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values adjusted by Holm's step-down rule: rejecting those below a level errs anywhere with that probability.

    It holds whatever the tests' dependence, and is never weaker than Bonferroni's.

    Reference:
        Holm, A simple sequentially rejective multiple test procedure, 1979.
    """
    values = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(values, kind="stable")
    steps = np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1))
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(steps, 1.0)
    return [float(value) for value in adjusted]


def _of_same_samples(
    pairs: Sequence[tuple[Samples, Samples]], size: int, seed: int, resamples: int, level: float
) -> list[PairedDifference]:
    """Of pairs whose samples all count."""
    differences = [second.number() - first.number() for first, second in pairs]
    if size < FEWEST_SAMPLES:
        why = f"{size} samples: fewer than {FEWEST_SAMPLES}"
        return [PairedDifference(difference, size, untested=why) for difference in differences]
    widest = max(samples.width for pair in pairs for samples in pair)
    drawn: list[list[Floats]] = [[] for _ in pairs]
    for times in resampled_times(size, resamples, seed, elements=max(size, widest)):
        for own, (first, second) in zip(drawn, pairs, strict=True):
            own.append(_differences(first.numbers(times), second.numbers(times)))
    return [
        _tested(difference, np.concatenate(own), size, level)
        for difference, own in zip(differences, drawn, strict=True)
    ]


def _differences(first: Floats, second: Floats) -> Floats:
    tied = np.isclose(first, second, rtol=_TIE, atol=0)
    return np.where(tied, 0.0, second - first)


def _tested(difference: float, drawn: Floats, size: int, level: float) -> PairedDifference:
    if not np.isfinite(drawn).all():
        return PairedDifference(difference, size, untested="not defined for all resamples: too little counts")
    low, high = (float(end) for end in percentiles(drawn, level))
    extreme = min(int((drawn <= 0).sum()), int((drawn >= 0).sum()))
    p_value = min(1.0, 2 * (1 + extreme) / (1 + len(drawn)))
    return PairedDifference(difference, size, low, high, p_value)
