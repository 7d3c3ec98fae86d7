"""The projector and its objective against naive loops, pinned numbers and the official ContrastLandmarks code."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from torch import Tensor

from bench.features import FeatureMap
from methods.networks.projector import Projector, ProjectorMode, released_multiplier
from methods.objectives.equivariant_similarity import equivariant_similarity_loss
from methods.schedule import epoch_cosine
from tests.goldens import Array, fill_parameters, golden, seeded_normal


def _random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _naive_loss(
    features: Tensor, stride: float, temperature: float, power: float, blocks: list[int] | None
) -> float:
    """The definition, one cell after another. ``blocks`` None: no normalisation."""
    _, _, height, width = features.shape
    total, count = 0.0, 0
    for image in features:
        vectors = {}
        for row in range(height):
            for column in range(width):
                vector = image[:, row, column].tolist()
                if blocks is not None:
                    scaled, start = [], 0
                    for size in blocks:
                        block = vector[start : start + size]
                        length = math.sqrt(sum(v * v for v in block))
                        scaled += [v / length for v in block]
                        start += size
                    vector = scaled
                vectors[row, column] = vector
        for here, f in vectors.items():
            weights = {
                there: math.exp(sum(a * b for a, b in zip(f, g, strict=True)) / temperature)
                for there, g in vectors.items()
            }
            mass = sum(weights.values())
            for there, weight in weights.items():
                distance = stride * math.hypot(here[0] - there[0], here[1] - there[1])
                total += weight / mass * distance**power
            count += 1
    return total / count


@pytest.mark.parametrize("power", [0.5, 1.0])
@pytest.mark.parametrize("blocks", [None, [5], [2, 3]])
def test_loss_against_a_naive_loop(power: float, blocks: list[int] | None) -> None:
    features = _random(3, 5, 3, 4)
    loss = equivariant_similarity_loss(
        features, 4.0, 1 / 3, power, normalise=blocks is not None, blocks=blocks
    )
    assert loss.item() == pytest.approx(_naive_loss(features, 4.0, 1 / 3, power, blocks), rel=1e-11)


@pytest.mark.parametrize("normalise", [True, False])
def test_gradient(normalise: bool) -> None:
    features = _random(2, 3, 3, 2).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda f: equivariant_similarity_loss(f, 2.0, 0.5, normalise=normalise), features
    )


def test_images_are_independent_of_their_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    features = _random(5, 4, 4, 3).requires_grad_()
    whole = equivariant_similarity_loss(features, 4.0, 0.2)
    (gradient,) = torch.autograd.grad(whole, features)
    alone = torch.stack([equivariant_similarity_loss(f[None], 4.0, 0.2) for f in features]).mean()
    torch.testing.assert_close(whole, alone)
    order = torch.tensor([3, 1, 4, 0, 2])
    torch.testing.assert_close(whole, equivariant_similarity_loss(features[order], 4.0, 0.2))
    monkeypatch.setattr("methods.objectives.equivariant_similarity._ELEMENTS_AT_ONCE", 2 * (4 * 3) ** 2)
    chunked = equivariant_similarity_loss(features, 4.0, 0.2)
    torch.testing.assert_close(chunked, whole)
    torch.testing.assert_close(torch.autograd.grad(chunked, features)[0], gradient)


def test_known_values() -> None:
    """Equal descriptors match everywhere alike; very distinct ones match themselves, at distance zero."""
    equal = torch.ones(1, 3, 2, 2)
    mean_root_distance = (0 + 2 + 2 + math.sqrt(4 * math.sqrt(2))) / 4
    assert equivariant_similarity_loss(equal, 4.0, 0.1).item() == pytest.approx(mean_root_distance)
    distinct = torch.eye(6).reshape(1, 6, 2, 3)
    assert equivariant_similarity_loss(distinct, 4.0, 0.01).item() == pytest.approx(0, abs=1e-30)
    # Rotating all descriptors together changes no similarity.
    rotation = torch.linalg.qr(_random(3, 3)).Q
    features = _random(2, 3, 4, 4, seed=1)
    torch.testing.assert_close(
        equivariant_similarity_loss(torch.einsum("dc,bchw->bdhw", rotation, features), 4.0, 1 / 7),
        equivariant_similarity_loss(features, 4.0, 1 / 7),
    )


def test_half_precision_inputs_are_widened() -> None:
    features = _random(1, 8, 6, 6).to(torch.bfloat16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = equivariant_similarity_loss(features, 4.0, 1 / 7)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(
        equivariant_similarity_loss(features.double(), 4.0, 1 / 7).item(), rel=1e-5
    )


def test_pinned_numbers() -> None:
    """Two cells four pixels apart with cosine 0.6: P(other) = 1 / (1 + e^(7 (1 - 0.6)))."""
    features = torch.tensor([[[[2.0, 3.0]], [[0.0, 4.0]]]])
    wanted = 2 / (1 + math.exp(7 * 0.4))
    assert wanted == pytest.approx(0.1146484, abs=1e-7)
    assert equivariant_similarity_loss(features, 4.0, 1 / 7).item() == pytest.approx(wanted, rel=1e-6)


@pytest.mark.parametrize("mode", ["softmax", "linear", "softplus"])
def test_projection_is_the_convolution_of_the_dense_map(mode: ProjectorMode) -> None:
    levels = tuple(_random(2, c, s, s, seed=c).float() for c, s in ((4, 2), (3, 4), (2, 8)))
    features = FeatureMap(levels, (8, 8), (32, 32), "per_level")
    projector = Projector(9, 5, mode, multiplier=6.5)
    scores = projector.reg_conv(features.dense())
    if mode == "softmax":
        wanted = torch.softmax(6.5 * scores.flatten(2), dim=2).reshape(scores.shape)
    else:
        wanted = torch.log1p(scores.exp()) if mode == "softplus" else scores
    torch.testing.assert_close(projector(features), wanted)


def test_released_multipliers() -> None:
    assert [released_multiplier(d) for d in (64, 128, 256, 512)] == [6.5, 7.0, 7.0, 7.0]


def _hypercolumn(stored: dict[str, Array]) -> FeatureMap:
    """The golden hypercolumn, which is made by rule."""
    batch, height, width = stored["full__BHW_in"].tolist()
    levels = []
    for number, channels in zip((4, 3, 2, 1), (2048, 1024, 512, 256), strict=True):
        side = 2 ** (number + 1)
        made = seeded_normal(f"b.layer{number}", (batch, channels, height // side, width // side))
        levels.append(torch.from_numpy(made.clip(min=0)).float())
    return FeatureMap(tuple(levels), (height // 4, width // 4), (height, width), "per_level")


def test_official_hypercolumn() -> None:
    stored = golden("contrast/b_projector.npz")
    dense = _hypercolumn(stored).dense()
    height, width = dense.shape[2:]
    _close(dense[0, ::64, 0, 0], stored["full__hc_first_pixel_s64"], 1e-5)
    _close(dense[-1, ::64, height // 2, width // 3], stored["full__hc_centre_s64"], 1e-5)


@pytest.mark.parametrize(
    ("dim", "mode"),
    [(64, "softplus"), *itertools.product((64, 128, 256), ("softmax", "linear"))],
)
def test_official_projector(dim: int, mode: ProjectorMode) -> None:
    stored = golden("contrast/b_projector.npz")
    tag = f"full__D{dim}_{mode}"
    multiplier, inverse_temperature = stored[f"{tag}__mul_temp"].tolist()
    assert multiplier == released_multiplier(dim)
    projector = Projector(3840, dim, mode, multiplier)
    fill_parameters(projector, float(stored["full__gain"]), prefix="module.")
    maps = projector(_hypercolumn(stored))
    maps.retain_grad()
    loss = equivariant_similarity_loss(maps, 4.0, 1 / inverse_temperature)
    loss.backward()
    wanted = stored[f"{tag}__out"]
    _close(maps[:, stored[f"{tag}__ch"].tolist()], wanted, 1e-5, 1e-5)
    _close(maps.double().sum(dim=(2, 3)), stored[f"{tag}__out_chsum"], 1e-3)
    assert loss.item() == pytest.approx(float(stored[f"{tag}__loss_f64"]), abs=2e-5)
    weight, bias = projector.reg_conv.weight.grad, projector.reg_conv.bias
    assert weight is not None
    assert bias is not None
    assert bias.grad is not None
    assert maps.grad is not None
    for name, gradient in (("weight", weight), ("feat", maps.grad)):
        assert float(gradient.norm()) == pytest.approx(float(stored[f"{tag}__gradnorm_{name}"]), rel=2e-4)
    if mode == "softmax":  # The bias cancels.
        assert float(bias.grad.norm()) < 1e-5
    else:
        assert float(bias.grad.norm()) == pytest.approx(float(stored[f"{tag}__gradnorm_bias"]), rel=2e-4)
    _close(weight.flatten()[::997], stored[f"{tag}__grad_weight_s997"], relative=5e-4)


@pytest.mark.parametrize("power", ["0.5", "1.0"])
@pytest.mark.parametrize("normalise", [1, 0])
@pytest.mark.parametrize("case", ["s4", "s2multi"])
def test_official_loss(case: str, normalise: int, power: str) -> None:
    stored = golden("contrast/b_projector.npz")
    stride, inverse_temperature = stored[f"{case}__stride_temp"].tolist()
    blocks = stored[f"{case}__spec"].tolist()
    tag = f"{case}__norm{normalise}_pow{power}"
    features = torch.from_numpy(stored[f"{case}__feats"]).requires_grad_()
    loss = equivariant_similarity_loss(
        features, stride, 1 / inverse_temperature, float(power), bool(normalise), blocks
    )
    loss.backward()
    assert loss.item() == pytest.approx(float(stored[f"{tag}__loss_f64"]), abs=2e-5, rel=1e-5)
    assert features.grad is not None
    assert float(features.grad.norm()) == pytest.approx(float(stored[f"{tag}__gradnorm"]), rel=5e-4)
    if f"{tag}__grad" in stored:
        _close(features.grad, stored[f"{tag}__grad"], relative=5e-4)


def test_official_training_of_a_projector() -> None:
    stored = golden("contrast/b_projector.npz")
    features = torch.from_numpy(stored["adam__feats"])
    features_map = FeatureMap((features,), (12, 12), (48, 48))
    projector = Projector(features.shape[1], 5, "softmax", multiplier=7.0)
    fill_parameters(projector, gain=0.7)
    optimiser = torch.optim.Adam(projector.parameters(), lr=1e-3, betas=(0.5, 0.999), weight_decay=5e-4)
    for epoch, wanted in enumerate(stored["adam__losses"], start=1):
        rate = epoch_cosine(epoch - 1, 1, 6, peak=1e-3, floor=0.0008e-3)
        assert rate == pytest.approx(float(stored["adam__lrs"][epoch - 1]), abs=1e-9)
        optimiser.param_groups[0]["lr"] = rate
        loss = equivariant_similarity_loss(projector(features_map), 4.0, 1 / 7)
        assert loss.item() == pytest.approx(float(wanted), abs=2e-4)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    _close(projector.reg_conv.weight, stored["adam__weight"], 1e-4)
    assert projector.reg_conv.bias is not None
    _close(projector.reg_conv.bias, stored["adam__bias"], 1e-4)


def test_official_initial_projector() -> None:
    stored = golden("contrast/b_projector.npz")
    with torch.random.fork_rng():
        torch.manual_seed(int(stored["init_seed"]))
        projector = Projector(20, 6, "linear", multiplier=7.0)
    _close(projector.reg_conv.weight, stored["init_weight"], 1e-6)
    assert projector.reg_conv.bias is not None
    _close(projector.reg_conv.bias, stored["init_bias"], 1e-6)


def _close(got: Tensor, wanted: Array, absolute: float = 0.0, relative: float = 0.0) -> None:
    """``relative`` is to the largest absolute value, as the golden files state it."""
    allowed = absolute + relative * float(np.abs(wanted).max())
    np.testing.assert_allclose(got.detach().numpy(), wanted, atol=allowed, rtol=0)
