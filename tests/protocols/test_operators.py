"""Operators counted on networks small enough to count by hand."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from protocols.costs.counted_pass import blank_images
from protocols.costs.operators import count_operators


def test_a_small_network_by_hand() -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 4, kernel_size=3, stride=2, padding=1),  # 8x8 -> 4x4
        nn.BatchNorm2d(4),
        nn.ReLU(inplace=True),
        nn.Conv2d(4, 6, kernel_size=1, groups=2, bias=False),
        nn.ReLU(inplace=True),
        nn.Flatten(),
        nn.Linear(96, 10),
    )
    counts = count_operators(network, blank_images(8, "cpu"))
    convolutions = 16 * 4 * (3 * 9) + 16 * 6 * (4 // 2)
    assert counts.flops == {"convolution": 2 * convolutions, "addmm": 2 * 96 * 10}
    assert counts.total == 2 * (convolutions + 960)
    assert counts.uncounted == {"_native_batch_norm_legit_no_training": 1, "relu_": 2}


def test_views_and_new_tensors_are_not_listed() -> None:
    class Shuffling(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            ramp = torch.arange(4.0) + torch.zeros(4)
            return images.transpose(2, 3)[:, :1].reshape(-1, 4) * ramp

    assert count_operators(Shuffling(), blank_images(4, "cpu")).uncounted == {"add": 1, "mul": 1}


def test_matrix_products_are_counted_whatever_they_are_called() -> None:
    class Products(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            flat = images.flatten(2)
            return torch.einsum("bcn,bdn->bcd", flat, flat) + flat @ flat.transpose(1, 2)

    counts = count_operators(Products(), blank_images(4, "cpu"))
    assert counts.total == 2 * (2 * 3 * 3 * 16)
    assert counts.uncounted == {"add": 1}


def test_images_count_one_by_one() -> None:
    network = nn.Conv2d(3, 2, kernel_size=3)
    one, three = (count_operators(network, blank_images(8, "cpu", count)).total for count in (1, 3))
    assert three == 3 * one == 3 * 2 * 36 * 2 * 27
