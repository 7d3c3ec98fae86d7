"""Momentum contrast against a naive loop, pinned numbers and the official ContrastLandmarks code."""

from __future__ import annotations

import copy
import math
from collections import deque

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from methods.objectives.byol import update_ema
from methods.objectives.moco import MoCoQueue, moco_logits, moco_loss
from methods.schedule import epoch_cosine
from tests.goldens import Array, golden


def _unit_rows(*shape: int, seed: int) -> Tensor:
    rows = torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return nn.functional.normalize(rows, dim=-1)


def _naive_loss(query: Tensor, key: Tensor, memory: Tensor, temperature: float) -> float:
    total = 0.0
    for q, k in zip(query, key, strict=True):
        scores = [sum(float(a) * float(b) for a, b in zip(q, row, strict=True)) for row in (k, *memory)]
        mass = sum(math.exp(score / temperature) for score in scores)
        total -= math.log(math.exp(scores[0] / temperature) / mass)
    return total / len(query)


def test_loss_against_a_naive_loop() -> None:
    query, key, memory = _unit_rows(5, 6, seed=0), _unit_rows(5, 6, seed=1), _unit_rows(9, 6, seed=2)
    assert moco_loss(query, key, memory, 0.07).item() == pytest.approx(
        _naive_loss(query, key, memory, 0.07), rel=1e-10
    )


def test_gradient_flows_into_the_queries_alone() -> None:
    query, key, memory = (_unit_rows(n, 5, seed=n).requires_grad_() for n in (3, 3, 7))
    moco_loss(query, key, memory, 0.5).backward()
    assert key.grad is None
    assert memory.grad is None
    assert torch.autograd.gradcheck(lambda q: moco_loss(q, key, memory, 0.5), query)


def test_order_of_batch_and_memory_does_not_matter() -> None:
    query, key, memory = _unit_rows(6, 8, seed=0), _unit_rows(6, 8, seed=1), _unit_rows(11, 8, seed=2)
    batch, rows = torch.tensor([3, 0, 5, 1, 4, 2]), torch.arange(11).flip(0)
    torch.testing.assert_close(
        moco_loss(query, key, memory, 0.2), moco_loss(query[batch], key[batch], memory[rows], 0.2)
    )


def test_an_empty_contrast_costs_the_logarithm_of_its_size() -> None:
    """Where everything is equally similar, each of 1 + K candidates has the same probability."""
    same = torch.tensor([[1.0, 0.0]])
    assert moco_loss(same.repeat(4, 1), same.repeat(4, 1), same.repeat(15, 1), 0.07).item() == pytest.approx(
        math.log(16)
    )


def test_half_precision_inputs_are_widened() -> None:
    query, key, memory = (_unit_rows(n, 16, seed=n).to(torch.bfloat16) for n in (4, 4, 32))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = moco_loss(query, key, memory, 0.07)
    assert loss.dtype == torch.float32
    wanted = moco_loss(query.double(), key.double(), memory.double(), 0.07)
    assert loss.item() == pytest.approx(wanted.item(), rel=1e-5)


def test_pinned_numbers() -> None:
    query, key = torch.tensor([[0.6, 0.8], [1.0, 0.0]]), torch.tensor([[0.8, 0.6], [0.6, -0.8]])
    memory = torch.tensor([[0.0, 1.0], [-1.0, 0.0], [0.28, 0.96]])
    wanted = [[1.92, 1.6, -1.2, 1.872], [1.2, 0.0, -2.0, 0.56]]
    torch.testing.assert_close(moco_logits(query, key, memory, 0.5), torch.tensor(wanted))
    # log(e^1.92 + e^1.6 + e^-1.2 + e^1.872) - 1.92 = 0.9979, and 0.6273 for the second; their mean.
    by_hand = sum(math.log(sum(math.exp(v) for v in row)) - row[0] for row in wanted) / 2
    assert moco_loss(query, key, memory, 0.5).item() == pytest.approx(by_hand, rel=1e-6)
    assert by_hand == pytest.approx(0.812, abs=2e-2)


@pytest.mark.parametrize(("length", "batch"), [(7, 3), (8, 4), (5, 5), (4, 11)])
def test_the_queue_holds_the_latest_keys(length: int, batch: int) -> None:
    queue = MoCoQueue(length, 2)
    latest: deque[list[float]] = deque(queue.memory.tolist(), maxlen=length)
    for step in range(6):
        keys = torch.arange(batch * 2.0).reshape(batch, 2) + 100 * step
        queue.enqueue(keys)
        latest.extend(keys.tolist())
        start = int(queue.pointer)
        assert start == (step + 1) * batch % length
        assert queue.memory.roll(-start, dims=0).tolist() == list(latest)


def test_the_queue_is_state_and_its_pointer_too() -> None:
    queue = MoCoQueue(6, 3)
    queue.enqueue(torch.ones(4, 3))
    other = MoCoQueue(6, 3)
    other.load_state_dict(queue.state_dict())
    for each in (queue, other):
        each.enqueue(torch.full((4, 3), 2.0))
    assert torch.equal(queue.memory, other.memory)
    assert int(other.pointer) == 2
    assert list(queue.parameters()) == []


@pytest.mark.parametrize("tag", ["m6x20", "m4x64"])
def test_official_queue(tag: str) -> None:
    stored = golden("contrast/c_moco.npz")
    _, dim, length = stored[f"{tag}__BDK"].tolist()
    temperature = float(stored[f"{tag}__temp"])
    queue = MoCoQueue(length, dim)
    queue.memory.copy_(torch.from_numpy(stored[f"{tag}__memory0"]))
    steps = sum(key.startswith(f"{tag}__step") and key.endswith("__q") for key in stored)
    assert steps >= 2
    for step in range(steps):
        saved = {name: stored[f"{tag}__step{step}__{name}"] for name in ("q", "k", "logits", "grad_q")}
        query = torch.from_numpy(saved["q"]).requires_grad_()
        key = torch.from_numpy(saved["k"])
        logits = moco_logits(query, key, queue.memory, temperature)
        loss = moco_loss(query, key, queue.memory, temperature)
        loss.backward()
        queue.enqueue(key)
        _close(logits, saved["logits"], relative=1e-5)
        assert loss.item() == pytest.approx(float(stored[f"{tag}__step{step}__loss"]), abs=1e-5)
        assert logits[:, 0].mean().item() == pytest.approx(
            float(stored[f"{tag}__step{step}__prob"]), abs=1e-5
        )
        assert query.grad is not None
        _close(query.grad, saved["grad_q"], absolute=1e-6, relative=1e-4)
        assert np.array_equal(queue.memory.numpy(), stored[f"{tag}__step{step}__memory_after"])
        assert int(queue.pointer) == int(stored[f"{tag}__step{step}__index_after"])


def test_official_initial_queue() -> None:
    stored = golden("contrast/c_moco.npz")
    with torch.random.fork_rng():
        torch.manual_seed(int(stored["init_seed"]))
        queue = MoCoQueue(16, 128)
    _close(queue.memory, stored["init_memory"], absolute=1e-6)


class _Tiny(nn.Module):
    """The network of the golden training loop."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, stride=2, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(4)
        self.fc = nn.Linear(4, 8)

    def forward(self, images: Tensor) -> Tensor:
        pooled = torch.relu(self.bn(self.conv(images))).mean(dim=(2, 3))
        embedding: Tensor = self.fc(pooled)
        return nn.functional.normalize(embedding, dim=1)


def _tiny(stored: dict[str, Array], prefix: str) -> _Tiny:
    network = _Tiny()
    network.load_state_dict({name: torch.tensor(stored[prefix + name]) for name in network.state_dict()})
    return network


@pytest.mark.parametrize(("tag", "momentum"), [("a999", 0.999), ("a9", 0.9), ("a0", 0.0)])
def test_official_moving_average(tag: str, momentum: float) -> None:
    stored = golden("contrast/c_moco.npz")
    average = _tiny(stored, f"ema_{tag}__ema_before__")
    update_ema(average, _tiny(stored, f"ema_{tag}__model__"), momentum)
    for name, entry in average.state_dict().items():
        _close(entry, stored[f"ema_{tag}__ema_after__{name}"], absolute=1e-6)


def test_official_training_loop() -> None:
    stored = golden("contrast/c_moco.npz")
    network, average = _tiny(stored, "loop__model0__"), _tiny(stored, "loop__ema0__")
    queue = MoCoQueue(*stored["loop__memory0"].shape)
    queue.memory.copy_(torch.from_numpy(stored["loop__memory0"]))
    optimiser = torch.optim.SGD(
        network.parameters(), lr=float(stored["loop__lr"]), momentum=0.9, weight_decay=1e-4
    )
    losses, positives = [], []
    for step, views in enumerate(torch.from_numpy(stored["loop__inputs"])):
        query = network(views[:, :3])
        with torch.no_grad():
            key = average(views[:, 3:])
        loss = moco_loss(query, key, queue.memory, 0.07)
        logits = moco_logits(query, key, queue.memory, 0.07)
        _close(logits, stored["loop__logits"][step], absolute=1e-5, relative=1e-5)
        queue.enqueue(key)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        update_ema(average, network, 0.999)
        losses.append(loss.item())
        positives.append(logits[:, 0].mean().item())
    _close(torch.tensor(losses), stored["loop__losses"], absolute=1e-5)
    assert np.mean(losses) == pytest.approx(float(stored["loop__avg_loss"]), abs=1e-5)
    assert np.mean(positives) == pytest.approx(float(stored["loop__avg_prob"]), abs=1e-4)
    for which, module in (("model", network), ("ema", average)):
        for name, entry in module.state_dict().items():
            _close(entry, stored[f"loop__{which}__{name}"], absolute=1e-5)
    _close(queue.memory, stored["loop__memory_after"], absolute=1e-5)
    assert int(queue.pointer) == int(stored["loop__index_after"])


def test_official_learning_rates() -> None:
    stored = golden("contrast/c_moco.npz")
    for epoch, rate in zip(stored["lr_epochs_of_800"], stored["lr_values"], strict=True):
        for step in (7 * (int(epoch) - 1), 7 * int(epoch) - 1):  # 7 steps an epoch
            assert epoch_cosine(step, 7, 800, 0.03) == pytest.approx(float(rate), abs=1e-9)


def test_copies_of_a_queue_are_independent() -> None:
    queue = MoCoQueue(4, 2)
    twin = copy.deepcopy(queue)
    queue.enqueue(torch.ones(1, 2))
    assert int(twin.pointer) == 0
    assert not torch.equal(queue.memory, twin.memory)


def _close(got: Tensor, wanted: Array, absolute: float = 0.0, relative: float = 0.0) -> None:
    """``relative`` is to the largest absolute value, as the golden files state it."""
    allowed = absolute + relative * float(np.abs(wanted).max())
    np.testing.assert_allclose(got.detach().numpy(), wanted, atol=allowed, rtol=0)
