"""Two crops of the same images, moved against each other by whole cells."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

CELL = 4
"""Side of a cell of the features, in pixels."""


@dataclass(frozen=True, eq=False)
class View:
    """A crop, and where it was taken: the row and column of its first cell in the whole images.

    Shapes:
        images: (B, 3, S, S), float in [0, 1].
    """

    images: Tensor
    corner: tuple[int, int]

    def shared(self, features: Tensor, other: View) -> Tensor:
        """The cells of this view's features, (B, C, h, w), that the other view shows too."""
        for axis, mine, its in zip((2, 3), self.corner, other.corner, strict=True):
            cells = features.shape[axis]
            features = features.narrow(axis, max(its - mine, 0), cells - abs(its - mine))
        return features


def two_views(images: Tensor, crop: int, generator: torch.Generator) -> tuple[View, View]:
    """Crops of side ``crop`` at two places, which are the same for all images of the batch."""
    free = (images.shape[-1] - crop) // CELL
    rows_and_columns = torch.randint(free + 1, (2, 2), generator=generator).tolist()
    first, second = (
        View(images[..., CELL * i : CELL * i + crop, CELL * j : CELL * j + crop], (i, j))
        for i, j in rows_and_columns
    )
    return first, second


def recoloured(images: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    """Every channel of every image with another contrast, 1 - strength to 1 + strength, around its own mean."""
    draws = torch.rand(len(images), 3, 1, 1, generator=generator).to(images)
    mean = images.mean((2, 3), keepdim=True)
    return ((images - mean) * (1 + strength * (2 * draws - 1)) + mean).clamp(0, 1)
