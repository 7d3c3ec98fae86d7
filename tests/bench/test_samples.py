"""Numbers of samples that are taken several times, against repeating the samples and computing plainly."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from bench.samples import Floats, Median, Ratio, Samples, SummedTables

TIMES = np.array([[1, 1, 1, 1, 1], [2, 0, 0, 3, 0], [0, 0, 5, 0, 0], [0, 1, 4, 0, 0]], dtype=np.float64)


def repeated(row: NDArray[np.float64]) -> NDArray[np.intp]:
    return np.repeat(np.arange(len(row)), row.astype(int))


def stream() -> np.random.Generator:
    return np.random.default_rng(8)


def shares(sums: Floats) -> Floats:
    ratio: Floats = np.trace(sums, axis1=1, axis2=2) / sums.sum((1, 2))
    return ratio


def of_each_kind() -> list[Samples]:
    random = stream()
    present = random.random((5, 3)) < 0.7
    return [
        Ratio(random.normal(5, 1, 5), random.integers(1, 4, 5).astype(float)),
        Ratio(random.normal(5, 1, (5, 2)), random.integers(1, 4, (5, 2)).astype(float)),
        Median(random.normal(5, 1, (5, 3)), present | np.eye(5, 3, dtype=bool) | (np.arange(5)[:, None] > 2)),
        SummedTables(random.integers(1, 9, (5, 2, 2)), shares),
    ]


def test_a_ratio_is_that_of_the_repeated_samples() -> None:
    ratio = of_each_kind()[0]
    assert isinstance(ratio, Ratio)
    expected = [ratio.sums[repeated(row)].sum() / ratio.counts[repeated(row)].sum() for row in TIMES]
    np.testing.assert_allclose(ratio.numbers(TIMES), expected)


def test_columns_are_averaged_after_their_ratios() -> None:
    both = of_each_kind()[1]
    assert isinstance(both, Ratio)
    apart = [Ratio(both.sums[:, draw], both.counts[:, draw]).numbers(TIMES) for draw in range(2)]
    np.testing.assert_allclose(both.numbers(TIMES), np.mean(apart, axis=0))


@pytest.mark.parametrize("images", [1, 4, 5])
def test_a_median_is_numpys_of_the_repeated_samples(images: int) -> None:
    random = stream()
    values = random.integers(0, 6, (images, 3)).astype(float)
    present = random.random((images, 3)) < 0.6
    present[0, 0] = True
    times = random.integers(0, 4, (50, images)).astype(float)
    times[:, 0] += 1
    expected = [np.median(values[repeated(row)][present[repeated(row)]]) for row in times]
    np.testing.assert_allclose(Median(values, present).numbers(times), expected)


def test_a_median_of_nothing_does_not_exist() -> None:
    values, present = np.array([[1.0], [2.0]]), np.array([[True], [False]])
    found = Median(values, present).numbers(np.array([[0.0, 3.0], [1.0, 0.0]]))
    assert np.isnan(found[0])
    assert found[1] == 1.0
    assert np.isnan(Median(values, np.zeros_like(present)).number())


def test_summed_tables_are_those_of_the_repeated_samples() -> None:
    tables = of_each_kind()[3]
    assert isinstance(tables, SummedTables)
    expected = [shares(tables.tables[repeated(row)].sum(0)[None])[0] for row in TIMES]
    np.testing.assert_allclose(tables.numbers(TIMES), expected)


def test_a_ratio_over_nothing_does_not_exist() -> None:
    ratio = Ratio(np.array([1.0, 0.0]), np.array([2.0, 0.0]))
    assert np.isnan(ratio.numbers(np.array([[0.0, 2.0]]))[0])
    assert ratio.counted.tolist() == [True, False]


@pytest.mark.parametrize("samples", of_each_kind(), ids=lambda samples: type(samples).__name__)
def test_some_of_the_samples(samples: Samples) -> None:
    kept = np.array([3, 0])
    times = np.zeros((1, 5))
    times[0, kept] = 1
    assert samples.take(kept).number() == pytest.approx(samples.numbers(times)[0])
    assert samples.take(kept).counted.shape == (2,)


def test_parts_keep_their_samples_order() -> None:
    sums, counts = np.arange(3.0), np.ones(3)
    whole = Ratio(sums, counts, parts={"nose": Ratio(2 * sums, counts)})
    turned = whole.in_order(np.array([2, 1, 0]))
    part = turned.parts["nose"]
    assert isinstance(part, Ratio)
    assert part.sums.tolist() == [4.0, 2.0, 0.0]
    assert not whole.take(np.array([0])).parts
