"""torchsummary's counting rules, on networks small enough to count by hand."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from protocols.costs.activation_proxy import activations
from protocols.costs.counted_pass import blank_images


class Block(nn.Module):
    """A composite module that calls its ReLU twice, and a function that nobody sees."""

    def __init__(self, channels: int, relu: nn.Module) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, kernel_size=1)
        self.norm = nn.BatchNorm2d(channels)
        self.relu = relu

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.norm(self.conv(x)))
        return self.relu(nn.functional.softplus(x + y))  # type: ignore[no-any-return]


class Stages(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.pool = nn.AvgPool2d(2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x, self.pool(x)


def counted(network: nn.Module, size: int = 4) -> list[tuple[str, int]]:
    return [(found.module, found.values) for found in activations(network, blank_images(size, "cpu"))]


def test_leaves_count_and_sequentials_do_not() -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 5, kernel_size=3, padding=1),
        nn.Sequential(nn.ReLU(inplace=True), nn.MaxPool2d(2)),
        nn.Flatten(),
        nn.Linear(20, 7),
    )
    assert counted(network) == [("0", 80), ("1.0", 80), ("1.1", 20), ("2", 20), ("3", 7)]


def test_composites_count_on_top_of_their_parts_and_every_call_of_a_relu() -> None:
    network = nn.Sequential(nn.Conv2d(3, 2, kernel_size=1), Block(2, nn.ReLU()))
    assert counted(network) == [
        ("0", 32),
        ("1.conv", 32),
        ("1.norm", 32),
        ("1.relu", 32),
        ("1.relu", 32),
        ("1", 32),
    ]


def test_the_network_itself_does_not_count() -> None:
    assert [name for name, _ in counted(Block(3, nn.ReLU()))] == ["conv", "norm", "relu", "relu"]


def test_a_module_with_two_parents_counts_twice_a_call() -> None:
    shared = nn.ReLU()
    network = nn.Sequential(nn.Conv2d(3, 2, kernel_size=1), shared, nn.Sequential(shared))
    assert counted(network) == [("0", 32), *[("1", 32)] * 4]


def test_modules_in_a_list_count_and_the_list_does_not() -> None:
    class Listed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.steps = nn.ModuleList([nn.Conv2d(3, 1, kernel_size=1), nn.ReLU()])

        def forward(self, x: Tensor) -> Tensor:
            for step in self.steps:
                x = step(x)
            return x

    assert counted(Listed()) == [("steps.0", 16), ("steps.1", 16)]


def test_what_prepares_the_input_or_hands_on_several_tensors_does_not_count() -> None:
    class Colours(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return images - 0.5

    assert counted(nn.Sequential(Colours(), Stages())) == [("1.pool", 12)]
    # Called on anything but the images, it is a layer like any other.
    assert counted(nn.Sequential(nn.Conv2d(3, 3, kernel_size=1), Colours())) == [("0", 48), ("1", 48)]


def test_the_network_is_left_without_hooks() -> None:
    network = nn.Sequential(nn.Conv2d(3, 2, kernel_size=1), nn.ReLU())
    assert counted(network) == counted(network)
    assert not any(module._forward_hooks for module in network.modules())


def test_batch_norm_keeps_its_statistics() -> None:
    network = nn.Sequential(nn.BatchNorm2d(3)).train()
    norm = network[0]
    before = {name: value.clone() for name, value in norm.state_dict().items()}
    counted(network)
    assert all(torch.equal(before[name], value) for name, value in norm.state_dict().items())
