"""Small heads that exist during pre-training only."""

from __future__ import annotations

from torch import nn


def mlp_head(channels_in: int, hidden: int, channels_out: int) -> nn.Sequential:
    """Linear, batch norm, ReLU, linear: the projector and the predictor of BYOL (Grill et al., 2020, section 3.2)."""
    return nn.Sequential(
        nn.Linear(channels_in, hidden),
        nn.BatchNorm1d(hidden),
        nn.ReLU(inplace=True),
        nn.Linear(hidden, channels_out),
    )


def dense_head(channels_in: int, hidden: int, channels_out: int) -> nn.Sequential:
    """The same on every cell of a map: LEAD's projection head g_D (two 1x1 layers with batch norm and ReLU)."""
    return nn.Sequential(
        nn.Conv2d(channels_in, hidden, kernel_size=1, bias=False),
        nn.BatchNorm2d(hidden),
        nn.ReLU(inplace=True),
        nn.Conv2d(hidden, channels_out, kernel_size=1),
    )
