"""The paired bootstrap against SciPy, its p-value and Holm's correction against counting by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from bench.errors import BenchError
from bench.paired import FEWEST_SAMPLES, PairedDifference, holm, paired_differences
from bench.samples import Ratio
from bench.seeds import numpy_generator
from bench.statistics import bootstrap_interval

Floats = NDArray[np.float64]


def pair_of(count: int, seed: int = 4, shift: float = 0.4) -> tuple[Ratio, Ratio]:
    """Two methods on the same images, whose difficulty they share."""
    stream = np.random.default_rng(seed)
    counts = stream.integers(1, 6, count).astype(np.float64)
    difficulty = stream.gamma(2.0, 3.0, count)
    first, second = (difficulty + stream.normal(mean, 1, count) for mean in (0, shift))
    return Ratio(first * counts, counts), Ratio(second * counts, counts)


def one(first: Ratio, second: Ratio, seed: int = 0, resamples: int = 10_000) -> PairedDifference:
    (found,) = paired_differences([(first, second)], seed=seed, resamples=resamples)
    return found


def covered(results: list[PairedDifference], truth: float) -> int:
    ends = [(result.low, result.high) for result in results]
    return sum(low is not None and high is not None and low <= truth <= high for low, high in ends)


def difference(a: Floats, b: Floats, counts: Floats, axis: int = -1) -> Floats:
    found: Floats = b.sum(axis) / counts.sum(axis) - a.sum(axis) / counts.sum(axis)
    return found


def scipys(first: Ratio, second: Ratio, seed: int, resamples: int) -> Any:
    """SciPy's paired percentile bootstrap, drawing from the same generator."""
    return stats.bootstrap(
        (first.sums, second.sums, first.counts),
        difference,
        n_resamples=resamples,
        batch=resamples,
        confidence_level=0.95,
        method="percentile",
        paired=True,
        vectorized=True,
        rng=numpy_generator(seed, "bootstrap"),
    )


@pytest.mark.parametrize("seed", [0, 7])
def test_equals_scipy_on_the_same_draws(seed: int) -> None:
    first, second = pair_of(120)
    found = one(first, second, seed, resamples=3000)
    theirs = scipys(first, second, seed, 3000)
    assert (found.low, found.high) == pytest.approx(tuple(theirs.confidence_interval), rel=1e-9)
    drawn = theirs.bootstrap_distribution
    tail = min((drawn <= 0).sum(), (drawn >= 0).sum())
    assert found.p_value == min(1, 2 * (1 + tail) / 3001)
    assert found.difference == pytest.approx(float(difference(first.sums, second.sums, first.counts)))
    assert found.samples == 120


def test_covers_the_true_difference_as_often_as_it_says() -> None:
    """4,000 studies of 400 images with several landmarks each: 94 to 96 % of the intervals hold the truth."""
    images, studies, groups = 400, 250, 16
    stream = np.random.default_rng(11)
    hits = 0
    for group in range(groups):  # each group has its own draws
        pairs = []
        for _ in range(studies):
            counts = stream.integers(1, 6, images).astype(np.float64)
            difficulty = stream.gamma(2.0, 3.0, images)
            first, second = (difficulty + stream.exponential(mean, images) for mean in (1.0, 1.5))
            pairs.append((Ratio(first * counts, counts), Ratio(second * counts, counts)))
        found = paired_differences(pairs, seed=group, resamples=1500)
        hits += covered(found, 0.5)
    assert 0.94 <= hits / (studies * groups) <= 0.96


def test_the_interval_of_one_number_covers_it_as_often_as_it_says() -> None:
    """With nothing as the first number, the difference is the second number itself."""
    stream = np.random.default_rng(12)
    nothing = Ratio(np.zeros(400), np.ones(400))
    values = [stream.normal(7, 2, 400) for _ in range(3000)]
    hits = 0
    for group in range(12):
        chosen = values[group::12]
        found = paired_differences(
            [(nothing, Ratio(value, np.ones(400))) for value in chosen], seed=group, resamples=1000
        )
        single = bootstrap_interval(chosen[0], seed=group, resamples=1000)
        assert (found[0].low, found[0].high) == pytest.approx(single, rel=1e-12)
        hits += covered(found, 7)
    assert 0.94 <= hits / 3000 <= 0.96


def test_p_values_of_equal_methods_are_uniform() -> None:
    stream = np.random.default_rng(13)
    pairs = []
    for _ in range(400):
        values = stream.normal(7, 2, (2, 100))
        pairs.append((Ratio(values[0], np.ones(100)), Ratio(values[1], np.ones(100))))
    p_values = [result.p_value for result in paired_differences(pairs, seed=1, resamples=1000)]
    assert stats.kstest([p for p in p_values if p is not None], "uniform").pvalue > 0.01


def test_a_clear_difference_has_the_smallest_p_value() -> None:
    first, second = pair_of(60, shift=5.0)
    for found in (one(first, second, resamples=1000), one(second, first, resamples=1000)):
        assert found.p_value == 2 / 1001
    assert one(first, second).difference == -one(second, first).difference


def test_equal_runs_do_not_differ() -> None:
    """Sums in another order are the same number: what differs by rounding is a tie."""
    first, _ = pair_of(50)
    again = Ratio(first.sums * (1 + 1e-15), first.counts)
    for other in (first, again):
        found = one(first, other)
        assert found.p_value == 1
        assert (found.low, found.high) == (0, 0)


def test_samples_that_count_nowhere_change_nothing() -> None:
    first, second = pair_of(30)
    padded = [
        Ratio(np.append(ratio.sums, [0.0, 0.0]), np.append(ratio.counts, [0.0, 0.0]))
        for ratio in (first, second)
    ]
    assert one(padded[0], padded[1]) == one(first, second)


def test_many_pairs_are_as_each_alone() -> None:
    pairs = [pair_of(40, seed) for seed in range(3)]
    sparse = pairs[1][0].counts * (np.arange(40) % 2)
    pairs.insert(1, (Ratio(pairs[0][0].sums, sparse), Ratio(pairs[0][1].sums, sparse)))
    together = paired_differences(pairs, seed=5, resamples=1000)
    assert together == [one(*pair, 5, resamples=1000) for pair in pairs]
    assert [result.samples for result in together] == [40, 20, 40, 40]


def test_too_few_samples_are_not_tested() -> None:
    few = one(*pair_of(FEWEST_SAMPLES - 1))
    assert few.difference != 0
    assert (few.low, few.high, few.p_value) == (None, None, None)
    assert few.untested == "9 samples: fewer than 10"
    assert one(*pair_of(FEWEST_SAMPLES)).p_value is not None


def test_what_resamples_leave_undefined_is_not_tested() -> None:
    first, second = pair_of(12)
    rare = Ratio(second.sums, second.counts * (np.arange(12) == 3))
    assert "not defined for all resamples" in str(one(first, rare).untested)


def test_other_numbers_of_samples_are_refused() -> None:
    with pytest.raises(BenchError, match="the same samples on both sides, got 12 and 13"):
        one(pair_of(12)[0], pair_of(13)[1])


def test_holm_by_hand() -> None:
    """Sorted: 0.005 * 4, 0.01 * 3, 0.03 * 2, then 0.04 * 1 raised to what precedes it."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.6]) == [1.0, 1.0]
    assert holm([0.02]) == [0.02]
    assert holm([]) == []


def test_holm_lies_between_nothing_and_bonferroni() -> None:
    p_values = np.random.default_rng(2).random(30) ** 3
    adjusted = np.array(holm([float(p) for p in p_values]))
    assert (adjusted >= p_values).all()
    assert (adjusted <= np.minimum(30 * p_values, 1) + 1e-12).all()
    assert (np.diff(adjusted[np.argsort(p_values)]) >= 0).all()
