from __future__ import annotations

import hashlib

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from bench.seeds import derive_seed, numpy_generator, torch_generator

PURPOSES = st.lists(st.one_of(st.text(alphabet="abc/0123", max_size=4), st.integers(0, 99)), max_size=3)


def test_seeds_are_the_documented_hash() -> None:
    text = "7\x1fstr:fewshot\x1fint:3"
    first_eight_bytes = hashlib.blake2b(text.encode(), digest_size=8).digest()
    assert derive_seed(7, "fewshot", 3) == int.from_bytes(first_eight_bytes, "big") // 2


def test_seeds_never_change() -> None:
    # a change here changes every number that bench ever drew
    assert derive_seed(0) == 4_761_921_975_702_974_394
    assert derive_seed(0, "fewshot", "support", 3) == 5_538_906_288_599_418_560
    assert numpy_generator(0, "a").integers(10**9) == 192_542_119


@given(root=st.integers(-(2**40), 2**40), purpose=PURPOSES)
def test_seeds_fit_every_generator(root: int, purpose: list[str | int]) -> None:
    assert 0 <= derive_seed(root, *purpose) < 2**63


@given(one=PURPOSES, other=PURPOSES)
def test_two_purposes_never_share_a_seed(one: list[str | int], other: list[str | int]) -> None:
    same = [(type(part), part) for part in one] == [(type(part), part) for part in other]
    assert (derive_seed(0, *one) == derive_seed(0, *other)) == same


def test_roots_and_purposes_give_independent_streams() -> None:
    draws = [numpy_generator(root, name).normal(size=2000) for root in (0, 1) for name in ("a", "b")]
    correlations = np.asarray(np.corrcoef(draws))[np.triu_indices(4, k=1)]
    assert np.abs(correlations).max() < 4 / np.sqrt(2000)


def test_a_generator_depends_on_nothing_that_was_drawn_before() -> None:
    expected = torch.rand(3, generator=torch_generator(5, "warp"))
    torch.manual_seed(1)
    torch.rand(7)
    torch.rand(7, generator=torch_generator(5, "another"))
    assert torch.equal(torch.rand(3, generator=torch_generator(5, "warp")), expected)


def test_generators_leave_the_global_ones_alone() -> None:
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    torch.rand(9, generator=torch_generator(0, "x"))
    assert torch.equal(torch.rand(2), expected)
