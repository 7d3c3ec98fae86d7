"""The bootstrap, against SciPy and a plain loop."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from bench.errors import BenchError
from bench.seeds import numpy_generator
from bench.statistics import bootstrap_interval, bootstrap_intervals


def ratio(sums: NDArray[np.float64], counts: NDArray[np.float64], axis: int = -1) -> NDArray[np.float64]:
    quotient: NDArray[np.float64] = sums.sum(axis) / counts.sum(axis)
    return quotient


def sample(size: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    stream = np.random.default_rng(4)
    counts = stream.integers(1, 6, size).astype(np.float64)
    return stream.gamma(2.0, 3.0, size) * counts, counts


def test_agrees_with_scipy() -> None:
    sums, counts = sample(150)
    for level in (0.95, 0.8):
        ours = bootstrap_interval(sums, counts, seed=1, resamples=20_000, level=level)
        theirs = stats.bootstrap(
            (sums, counts),
            ratio,
            n_resamples=20_000,
            confidence_level=level,
            method="percentile",
            paired=True,
            vectorized=True,
            rng=np.random.default_rng(0),
        ).confidence_interval
        width = theirs.high - theirs.low
        assert ours == pytest.approx((theirs.low, theirs.high), abs=0.03 * width)


def test_means_are_ratios_with_counts_of_one() -> None:
    values, _ = sample(60)
    assert bootstrap_interval(values, seed=3) == bootstrap_interval(values, np.ones(60), seed=3)


def test_equals_a_plain_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    sums, counts = sample(12)
    monkeypatch.setattr("bench.statistics._CHUNK_ELEMENTS", 100)
    stream = numpy_generator(9, "bootstrap")
    ratios = []
    for _ in range(500):
        drawn = stream.integers(12, size=12).tolist()
        ratios.append(sum(sums[i] for i in drawn) / sum(counts[i] for i in drawn))
    expected = (np.percentile(ratios, 5), np.percentile(ratios, 95))
    assert bootstrap_interval(sums, counts, seed=9, resamples=500, level=0.9) == pytest.approx(expected)


def test_covers_the_mean_as_often_as_it_says() -> None:
    stream = np.random.default_rng(5)
    hits = 0
    for trial in range(200):
        low, high = bootstrap_interval(stream.normal(7, 2, 80), seed=trial, resamples=400)
        hits += low <= 7 <= high
    assert 176 <= hits <= 199


def test_depends_on_the_seed_only(monkeypatch: pytest.MonkeyPatch) -> None:
    sums, counts = sample(40)
    first = bootstrap_interval(sums, counts, seed=0)
    assert bootstrap_interval(sums, counts, seed=0) == first
    assert bootstrap_interval(sums, counts, seed=1) != first
    monkeypatch.setattr("bench.statistics._CHUNK_ELEMENTS", 333)
    assert bootstrap_interval(sums, counts, seed=0) == first


def test_images_that_count_nothing_change_nothing() -> None:
    sums, counts = sample(20)
    padded = np.concatenate([sums, np.zeros(5)]), np.concatenate([counts, np.zeros(5)])
    assert bootstrap_interval(*padded, seed=2) == bootstrap_interval(sums, counts, seed=2)


def test_one_image_has_no_spread() -> None:
    assert bootstrap_interval([6.0], [3.0], seed=0) == (2.0, 2.0)


@pytest.mark.parametrize(
    ("sums", "counts", "message"),
    [
        ([], None, "at least one image"),
        ([1.0, 2.0], [0.0, 0.0], "at least one image"),
        ([1.0, 2.0], [1.0], r"\(2,\) and \(1,\)"),
        ([[1.0]], None, r"\(1, 1\)"),
        ([float("nan")], None, "finite"),
        ([1.0], [-1.0], "at least 0"),
    ],
)
def test_mistakes_are_explained(sums: list[float], counts: list[float] | None, message: str) -> None:
    with pytest.raises(BenchError, match=message):
        bootstrap_interval(sums, counts, seed=0)
    with pytest.raises(BenchError, match="0 < level < 1"):
        bootstrap_interval([1.0], seed=0, level=1.0)


# --- of a function of summed tables


def shares(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of tables (R, 2, 2): two numbers that are no means over images."""
    diagonal = np.trace(sums, axis1=1, axis2=2) / sums.sum((1, 2))
    return np.stack([diagonal, sums[:, 0, 1] / sums[:, 1, 0]], 1)


def tables(count: int) -> NDArray[np.int64]:
    return np.random.default_rng(3).integers(1, 9, (count, 2, 2))


def test_summed_tables_equal_a_plain_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    per_image = tables(12)
    monkeypatch.setattr("bench.statistics._CHUNK_ELEMENTS", 100)
    stream = numpy_generator(9, "bootstrap")
    found = [shares(per_image[stream.integers(12, size=12)].sum(0)[None])[0] for _ in range(500)]
    low, high = bootstrap_intervals(per_image, shares, seed=9, resamples=500, level=0.9)
    np.testing.assert_allclose(low, np.percentile(found, 5, axis=0))
    np.testing.assert_allclose(high, np.percentile(found, 95, axis=0))


def test_a_ratio_of_sums_is_the_same_either_way() -> None:
    sums, counts = sample(40)
    expected = bootstrap_interval(sums, counts, seed=7)
    low, high = bootstrap_intervals(
        np.stack([sums, counts], 1), lambda both: both[:, :1] / both[:, 1:], seed=7
    )
    assert (*low, *high) == pytest.approx(expected)


def test_chunks_and_empty_tables_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    per_image = tables(20)
    expected = bootstrap_intervals(per_image, shares, seed=1)
    padded = np.concatenate([np.zeros((3, 2, 2)), per_image, np.zeros((2, 2, 2))])
    np.testing.assert_array_equal(bootstrap_intervals(padded, shares, seed=1), expected)
    monkeypatch.setattr("bench.statistics._CHUNK_ELEMENTS", 77)
    np.testing.assert_array_equal(bootstrap_intervals(per_image, shares, seed=1), expected)


@pytest.mark.parametrize(
    ("per_image", "message"),
    [
        (np.zeros((0, 2, 2)), "at least one image"),
        (np.zeros((4, 2, 2)), "at least one image"),
        (np.full((2, 2, 2), np.nan), "finite"),
        (np.float64(3), "finite tables"),
    ],
)
def test_tables_that_cannot_be_drawn_from(per_image: NDArray[np.float64], message: str) -> None:
    with pytest.raises(BenchError, match=message):
        bootstrap_intervals(per_image, shares, seed=0)
    with pytest.raises(BenchError, match="resamples >= 1"):
        bootstrap_intervals(tables(3), shares, seed=0, resamples=0)
