"""DVE's objective against naive sums, its gradient, what must not change it, and the released code's numbers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from bench.errors import BenchError
from bench.geometry.spline import from_unit, to_unit
from methods.objectives.descriptor_exchange import _ELEMENTS_AT_ONCE, descriptor_exchange_loss
from tests.goldens import golden, seeded_normal

VARIANTS = [(exchange, normalise) for exchange in (False, True) for normalise in (False, True)]


def _random(*shape: int, seed: int = 0, scale: float = 1.0) -> Tensor:
    return scale * torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _case(
    pairs: int, channels: int, height: int, width: int, stride: int = 2, scale: float = 0.7
) -> tuple[Tensor, Tensor, Tensor]:
    first = _random(pairs, channels, height, width, seed=1, scale=scale)
    second = _random(pairs, channels, height, width, seed=2, scale=scale)
    sides = torch.tensor([width, height]) * stride
    places = torch.rand(
        pairs, height, width, 2, generator=torch.Generator().manual_seed(3), dtype=torch.float64
    )
    return first, second, (1.4 * places - 0.2) * sides  # some lie outside the image


def _softmax(scores: list[float]) -> list[float]:
    top = max(scores)
    masses = [math.exp(score - top) for score in scores]
    return [mass / sum(masses) for mass in masses]


def _naive(
    first: Tensor,
    second: Tensor,
    places: Tensor,
    stride: int,
    *,
    normalise: bool,
    exchange: bool,
    power: float = 0.5,
) -> float:
    """One cell after the other, as the equations read."""
    pairs, channels, height, width = first.shape
    cells = [(i, j) for i in range(height) for j in range(width)]

    def descriptors(maps: Tensor) -> list[list[float]]:
        found = [[float(maps[c, i, j]) for c in range(channels)] for i, j in cells]
        if normalise:
            found = [[20 * x / math.sqrt(sum(y * y for y in f)) for x in f] for f in found]
        return found

    def dot(one: list[float], other: list[float]) -> float:
        return sum(x * y for x, y in zip(one, other, strict=True))

    total = 0.0
    for b in range(pairs):
        s, t, a = descriptors(first[b]), descriptors(second[b]), descriptors(first[(b + 1) % pairs])
        for u, (i, j) in enumerate(cells):
            e = s[u]
            if exchange:
                weights = _softmax([dot(s[u], other) for other in a])
                e = [sum(p * other[c] for p, other in zip(weights, a, strict=True)) for c in range(channels)]
            found = _softmax([dot(e, other) for other in t])
            x, y = places[b, i, j].tolist()
            for p, (vi, vj) in zip(found, cells, strict=True):
                total += p * math.hypot(x - (vj * stride + 0.5), y - (vi * stride + 0.5)) ** power
    return total / (pairs * len(cells))


def _official_shaped(
    first: Tensor, second: Tensor, places: Tensor, stride: int, *, normalise: bool, exchange: bool
) -> Tensor:
    """Every matrix at once, and autograd: the twin for larger maps and for gradients."""
    height, width = first.shape[2:]
    s, t = first.flatten(2).mT, second.flatten(2).mT
    if normalise:
        s, t = (20 * f / f.norm(dim=2, keepdim=True) for f in (s, t))
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    cells = torch.stack([columns, rows], -1).reshape(1, -1, 2) * stride + 0.5
    apart = torch.cdist(places.flatten(1, 2), cells.to(places)).sqrt()
    a = s.roll(-1, 0)
    e = torch.softmax(s @ a.mT, 2) @ a if exchange else s
    return (torch.softmax(e @ t.mT, 2) * apart).sum(2).mean()


@pytest.mark.parametrize(("exchange", "normalise"), VARIANTS)
@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
def test_loss_equals_the_naive_sum(exchange: bool, normalise: bool, power: float) -> None:
    case = _case(3, 4, 3, 4)
    got = descriptor_exchange_loss(*case, 2, normalise=normalise, exchange=exchange, power=power).item()
    wanted = _naive(*case, 2, normalise=normalise, exchange=exchange, power=power)
    assert got == pytest.approx(wanted, rel=1e-12)


@pytest.mark.parametrize(
    ("exchange", "normalise", "pinned"),
    [
        (True, True, 1.9705948312868116),
        (True, False, 2.000305195783793),
        (False, True, 1.9422216703056787),
        (False, False, 2.0402627547660264),
    ],
)
def test_pinned_losses(exchange: bool, normalise: bool, pinned: float) -> None:
    maps = torch.from_numpy(seeded_normal("descriptors", (4, 3, 4, 5)))
    places = torch.from_numpy(seeded_normal("places", (2, 4, 5, 2))) * 2 + 4
    loss = descriptor_exchange_loss(maps[0::2], maps[1::2], places, 2, normalise=normalise, exchange=exchange)
    assert loss.item() == pytest.approx(pinned, rel=1e-12)


@pytest.mark.parametrize(("exchange", "normalise"), VARIANTS)
def test_gradient(exchange: bool, normalise: bool) -> None:
    # Soft-maxes over 400 cosines are steep, and finite differences of them rough.
    first, second, places = _case(3, 3, 2, 3)
    pair = first.requires_grad_(), second.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda s, t: descriptor_exchange_loss(s, t, places, 2, normalise=normalise, exchange=exchange),
        pair,
        atol=1e-4 if normalise else 1e-6,
    )


@pytest.mark.parametrize(("exchange", "normalise"), VARIANTS)
@pytest.mark.parametrize("elements", [1, 5 * 42, 42**2, 2 * 42**2, 10**9])
def test_blocks_of_any_size_give_the_same(
    exchange: bool, normalise: bool, elements: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Single rows, parts of a pair, one pair, two of three pairs, everything."""
    monkeypatch.setitem(_ELEMENTS_AT_ONCE, "cpu", elements)
    first, second, places = _case(3, 5, 6, 7)
    mine, theirs = ((first.clone().requires_grad_(), second.clone().requires_grad_()) for _ in range(2))
    got = descriptor_exchange_loss(*mine, places, 2, normalise=normalise, exchange=exchange)
    wanted = _official_shaped(*theirs, places, 2, normalise=normalise, exchange=exchange)
    (3 * got).backward()
    (3 * wanted).backward()
    torch.testing.assert_close(got, wanted, rtol=1e-12, atol=0)
    for one, other in zip(mine, theirs, strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-10, atol=1e-13)


def test_single_precision_is_as_exact_as_the_twin() -> None:
    case = _case(2, 64, 24, 24)

    def run(function: Any, *tensors: Tensor) -> tuple[Tensor, Tensor]:
        first = tensors[0].clone().requires_grad_()
        loss = function(first, *tensors[1:], 2, normalise=True, exchange=True)
        (gradient,) = torch.autograd.grad(loss, first)
        return loss.double(), gradient.double()

    exact = run(_official_shaped, *case)
    single = [t.float() for t in case]
    mine, twin = run(descriptor_exchange_loss, *single), run(_official_shaped, *single)
    for got, other, wanted in zip(mine, twin, exact, strict=True):
        assert (got - wanted).norm() <= 3 * (other - wanted).norm() + 1e-6 * wanted.norm()


def test_autocast_does_not_narrow_the_loss() -> None:
    first, second, places = (t.float() for t in _case(2, 8, 4, 4))
    plain = descriptor_exchange_loss(first, second, places, 2, normalise=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        narrow = descriptor_exchange_loss(first, second, places, 2, normalise=True)
    assert torch.equal(plain, narrow)


@pytest.mark.parametrize("exchange", [False, True])
def test_distinct_descriptors_under_no_warp_cost_nothing(exchange: bool) -> None:
    """Every cell finds itself, also through another image that holds the same descriptors."""
    rows, columns = torch.meshgrid(torch.arange(3), torch.arange(4), indexing="ij")
    places = torch.stack([columns, rows], -1)[None].expand(2, -1, -1, -1) * 2.0 + 0.5
    maps = 40 * torch.eye(12).reshape(1, 12, 3, 4).expand(2, -1, -1, -1)
    assert descriptor_exchange_loss(maps, maps, places, 2, normalise=False, exchange=exchange) == 0
    # With uniform descriptors the answer is uniform: the mean root distance to all cells.
    flat = torch.ones(2, 5, 3, 4)
    cells = places[0].reshape(-1, 2)
    wanted = torch.cdist(cells, cells).sqrt().mean()
    got = descriptor_exchange_loss(flat, flat, places, 2, normalise=True, exchange=exchange)
    torch.testing.assert_close(got, wanted)


def test_descriptors_of_one_individual_do_not_survive_the_exchange() -> None:
    """Pair 0 marks its cells along axes that pair 1 does not know: fine without exchange, chance with it."""
    one, other = torch.zeros(8, 2, 2), torch.zeros(8, 2, 2)
    one[:4], other[4:] = 40 * torch.eye(4).reshape(4, 2, 2), 40 * torch.eye(4).reshape(4, 2, 2)
    maps = torch.stack([one, other])
    rows, columns = torch.meshgrid(torch.arange(2), torch.arange(2), indexing="ij")
    places = torch.stack([columns, rows], -1)[None].expand(2, -1, -1, -1) + 0.5
    chance = (0 + 1 + 1 + 2**0.25) / 4
    assert descriptor_exchange_loss(maps, maps, places, 1, normalise=False, exchange=False) == 0
    got = descriptor_exchange_loss(maps, maps, places, 1, normalise=False, exchange=True)
    assert got.item() == pytest.approx(chance, rel=1e-6)


def _turned(maps: Tensor, turn: Tensor) -> Tensor:
    return torch.einsum("dc,bchw->bdhw", turn, maps)


def test_what_does_not_matter() -> None:
    first, second, places = _case(4, 5, 3, 4)
    for exchange in (False, True):
        value = descriptor_exchange_loss(first, second, places, 2, normalise=True, exchange=exchange)
        # Lengths, where they are normalised; a common rotation; a shift of the cycle of pairs.
        scaled = descriptor_exchange_loss(
            3 * first, 0.1 * second, places, 2, normalise=True, exchange=exchange
        )
        torch.testing.assert_close(scaled, value)
        turn = torch.linalg.qr(_random(5, 5, seed=9)).Q
        rotated = descriptor_exchange_loss(
            _turned(first, turn), _turned(second, turn), places, 2, normalise=True, exchange=exchange
        )
        torch.testing.assert_close(rotated, value)
        shifted = first.roll(1, 0), second.roll(1, 0), places.roll(1, 0)
        again = descriptor_exchange_loss(*shifted, 2, normalise=True, exchange=exchange)
        torch.testing.assert_close(again, value)
    # Without exchange pairs know nothing of each other, so that any order will do.
    order = [2, 0, 3, 1]
    dense = descriptor_exchange_loss(first, second, places, 2, normalise=False, exchange=False)
    moved = first[order], second[order], places[order]
    again = descriptor_exchange_loss(*moved, 2, normalise=False, exchange=False)
    torch.testing.assert_close(again, dense)


def test_one_pair_is_exchanged_with_itself() -> None:
    case = _case(1, 4, 3, 3)
    got = descriptor_exchange_loss(*case, 2, normalise=False, exchange=True).item()
    assert got == pytest.approx(_naive(*case, 2, normalise=False, exchange=True), rel=1e-12)


def test_shapes_are_checked() -> None:
    first, second, places = _case(2, 4, 3, 4)
    with pytest.raises(BenchError, match="expected descriptors"):
        descriptor_exchange_loss(first, second[:1], places, 2, normalise=True)
    with pytest.raises(BenchError, match="expected descriptors"):
        descriptor_exchange_loss(first, second, places.mT, 2, normalise=True)


# --- the released code's numbers --------------------------------------------------------------------------


def _golden_case(stored: dict[str, Any], tag: str) -> tuple[Tensor, Tensor, Tensor, int]:
    features = torch.from_numpy(stored[f"{tag}__feats"])
    grid, stride = torch.from_numpy(stored[f"{tag}__grid"]), int(stored[f"{tag}__stride"])
    places = from_unit(grid, (grid.shape[1], grid.shape[2]))[:, ::stride, ::stride]
    return features[0::2].clone(), features[1::2].clone(), places, stride


@pytest.mark.parametrize("tag", ["s2b3", "s1b2"])
@pytest.mark.parametrize("power", [0.5, 1.0])
@pytest.mark.parametrize(("exchange", "normalise"), VARIANTS)
def test_golden_losses_and_gradients(tag: str, power: float, exchange: bool, normalise: bool) -> None:
    stored = golden("dve/c_losses.npz")
    first, second, places, stride = _golden_case(stored, tag)
    pair = first.requires_grad_(), second.requires_grad_()
    loss = descriptor_exchange_loss(
        *pair, places, stride, normalise=normalise, exchange=exchange, power=power
    )
    loss.backward()
    gradient = torch.stack([first.grad, second.grad], 1).flatten(0, 1).numpy()  # type: ignore[list-item]
    name = f"{tag}__{'dve' if exchange else 'dense'}_norm{int(normalise)}_pow{power}"
    assert loss.item() == pytest.approx(float(stored[f"{name}__loss"]), abs=2e-5)
    assert np.linalg.norm(gradient) == pytest.approx(float(stored[f"{name}__gradnorm"]), rel=2e-4)
    if power == 0.5:
        wanted = stored[f"{name}__grad"]
        assert np.abs(gradient - wanted).max() <= 5e-4 * np.abs(wanted).max()
    in_double = descriptor_exchange_loss(
        first.double(),
        second.double(),
        _golden_case({**stored, f"{tag}__grid": stored[f"{tag}__grid"].astype(np.float64)}, tag)[2],
        stride,
        normalise=normalise,
        exchange=exchange,
        power=power,
    )
    # The official function adds up in single precision, whatever its input.
    assert in_double.item() == pytest.approx(float(stored[f"{name}__loss_f64"]), rel=1e-6)


@pytest.mark.parametrize("tag", ["s2b3", "s1b2"])
@pytest.mark.parametrize(("exchange", "normalise"), [(True, True), (False, False)])
def test_golden_hand_written_gradients(tag: str, exchange: bool, normalise: bool) -> None:
    """The released "folded" functions, which also save memory, give the same."""
    stored = golden("dve/c_losses.npz")
    first, second, places, stride = _golden_case(stored, tag)
    pair = first.requires_grad_(), second.requires_grad_()
    loss = descriptor_exchange_loss(*pair, places, stride, normalise=normalise, exchange=exchange)
    gradients = torch.autograd.grad(loss, pair)
    name = f"{tag}__folded_{'dve' if exchange else 'dense'}_norm{int(normalise)}"
    assert loss.item() == pytest.approx(float(stored[f"{name}__loss"]), abs=2e-5)
    norm = math.hypot(*(float(g.norm()) for g in gradients))
    assert norm == pytest.approx(float(stored[f"{name}__gradnorm"]), rel=2e-4)


def test_golden_normalised_coordinates() -> None:
    """The helpers that turn the released code's grids into pixels and back, which count from pixel centres."""
    stored = golden("dve/c_losses.npz")
    grid = torch.from_numpy(stored["grid_helper_in"])
    assert np.abs((from_unit(grid, (5, 6)) - 0.5).numpy() - stored["grid_unnormalize"]).max() < 1e-5
    pixels = torch.from_numpy(stored["grid_unnormalize"]) + 0.5
    assert np.abs(to_unit(pixels, (5, 6)).numpy() - stored["grid_normalize"]).max() < 1e-5
