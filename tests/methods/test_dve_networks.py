"""SmallNet and Hourglass: the released networks, key by key and number by number."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from methods.networks.hourglass import Hourglass, HourglassBlock
from methods.networks.smallnet import SmallNet
from tests.goldens import SHARED, Array, fill_parameters, golden, seeded_normal


def _network(name: str, channels: int) -> nn.Module:
    return SmallNet(channels) if name == "smallnet" else Hourglass(channels)


def _parameters(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize(
    ("name", "channels", "count"),
    [
        ("smallnet", 3, 334_875),
        ("smallnet", 16, 338_216),
        ("smallnet", 32, 342_328),
        ("smallnet", 64, 350_552),
        ("hourglass", 64, 12_609_472),
    ],
)
def test_parameters_are_as_many_as_published(name: str, channels: int, count: int) -> None:
    assert _parameters(_network(name, channels)) == count


@pytest.mark.parametrize("name", ["smallnet", "hourglass"])
def test_keys_shapes_and_their_order_are_the_official_ones(name: str) -> None:
    path = SHARED / "spec" / "keys" / f"{name}_keys.json"
    if not path.is_file():
        pytest.skip(f"needs {path.name}, which is not beside the checkout")
    state = _network(name, 64).state_dict()
    listed = [[key, list(t.shape), str(t.dtype).removeprefix("torch.")] for key, t in state.items()]
    assert listed == json.loads(path.read_text())["keys"]


def test_the_pooled_path_starts_from_the_skip_unit() -> None:
    """All units double a constant map, so that the sum tells how many of them every path has passed."""

    class Twice(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return 2 * x

    block = HourglassBlock()
    for name, _ in list(block.named_children()):
        if name.startswith("layer"):
            setattr(block, name, Twice())
    x = torch.ones(1, 256, 16, 16)
    # By hand, skip + up(inside(down(skip))): the bottom unit doubles, then four levels wrap it, fine to coarse.
    factor = 2.0
    for _ in range(4):
        skip = 2.0
        factor = skip + 2 * factor * 2 * skip
    assert torch.equal(block(x), factor * x)


@pytest.mark.parametrize(("side", "published"), [(96, 491.85), (128, 874.41)])
def test_activations_add_up_to_the_published_memory(side: int, published: float) -> None:
    """ContrastLandmarks, table 2: torchsummary's count, which sees a module once per parent and call."""
    network = Hourglass(64).eval()
    elements = 0

    def count(module: nn.Module, inputs: Any, output: Tensor) -> None:
        nonlocal elements
        elements += output.numel()

    def hook(module: nn.Module) -> None:
        if module is not network and not isinstance(module, nn.Sequential):
            module.register_forward_hook(count)

    network.apply(hook)
    with torch.no_grad():
        network(torch.zeros(1, 3, side, side))
    assert elements * 2 * 4 / 2**20 == pytest.approx(published, abs=0.005)


@pytest.mark.parametrize(
    ("network", "gain", "pinned"),
    [
        (SmallNet(3), 1.0, [[-0.56045, -1.79838], [1.4759, 1.13599], [0.25297, -0.24248]]),
        (Hourglass(3), 0.7, [[-14.17566, -8.3181], [89.21969, 28.92117], [113.5679, 68.42006]]),
    ],
)
def test_pinned_outputs(network: nn.Module, gain: float, pinned: list[list[float]]) -> None:
    """Of networks that reproduce the released code's numbers below; here for those who do not have these."""
    network.eval()
    fill_parameters(network, gain)
    with torch.no_grad():
        output = network(torch.from_numpy(seeded_normal("image", (1, 3, 64, 32))).float())
    assert output.shape == (1, 3, 32, 16)
    _close(output[0, :, (3, 20), (5, 15)], np.array(pinned))


# --- the released code's numbers --------------------------------------------------------------------------


def _statistics(tensor: Tensor) -> Array:
    wide = tensor.double()
    return np.array([wide.mean(), wide.std(unbiased=False), wide.norm(), wide.abs().max()])


def _close(got: Tensor | Array, wanted: Array) -> None:
    got = got.numpy() if isinstance(got, Tensor) else got
    assert np.abs(got - wanted).max() <= 1e-4 + 1e-5 * np.abs(wanted).max()


@pytest.mark.parametrize(
    ("name", "channels", "file"),
    [("smallnet", 3, "smallnet3"), ("smallnet", 64, "smallnet64"), ("hourglass", 64, "hourglass64")],
)
def test_golden_outputs(name: str, channels: int, file: str) -> None:
    stored = golden(f"dve/a_{file}.npz")
    network = _network(name, channels).eval()
    fill_parameters(network, float(stored["gain"]))
    state = network.state_dict()
    first = [float(state[key].flatten()[0]) for key in stored["param_keys"]]
    assert np.abs(np.array(first) - stored["param_first"]).max() < 1e-6

    found: dict[str, Array] = {}
    hooks = [str(name) for name in stored.get("x64__hook_names", ())]
    for hooked in hooks:

        def keep(_: nn.Module, __: Any, output: Tensor, hooked: str = hooked) -> None:
            found[hooked] = _statistics(output)

        own_name = {"mp": "pool"}.get(hooked, hooked)
        network.get_submodule(own_name).register_forward_hook(keep)
    for tag in (key.removesuffix("__input") for key in stored if key.endswith("__input") and key[0] == "x"):
        with torch.no_grad():
            output = network(torch.from_numpy(stored[f"{tag}__input"]))
        assert list(output.shape) == stored[f"{tag}__out_shape"].tolist()
        for hooked, wanted in zip(hooks, stored.get(f"{tag}__hook_stats", ()), strict=True):
            np.testing.assert_allclose(found[hooked], wanted, rtol=1e-5, atol=1e-4, err_msg=hooked)
        _close(output[:, torch.from_numpy(stored[f"{tag}__out_ch"])], stored[f"{tag}__out"])
        rows, columns = stored[f"{tag}__pix_ij"].T
        _close(output[:, :, rows, columns].permute(0, 2, 1), stored[f"{tag}__pix"])
        np.testing.assert_allclose(_statistics(output), stored[f"{tag}__out_stats"], rtol=1e-5)


def test_golden_training_mode_uses_the_statistics_of_the_batch() -> None:
    stored = golden("dve/a_smallnet64.npz")
    network = SmallNet(64).train()
    fill_parameters(network, float(stored["gain"]))
    with torch.no_grad():
        output = network(torch.from_numpy(stored[f"{stored['train__input_name']}__input"]))
    _close(output[:, ::16], stored["train__out"])
    state = network.state_dict()
    for key in ("conv1.1.running_mean", "conv5.1.running_var"):
        _close(state[key], stored[f"train__{key}"])


def test_golden_without_max_pool() -> None:
    stored = golden("dve/a_smallnet64.npz")
    network = SmallNet(64, max_pool=False).eval()
    fill_parameters(network, float(stored["gain"]))
    with torch.no_grad():
        output = network(torch.from_numpy(stored["nomaxpool__input"]))
    _close(output[:, ::16], stored["nomaxpool__out"])
