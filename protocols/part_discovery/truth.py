"""What found parts are compared with, and how well they agree.

Agreement is measured over the pixels of all test images together: a part must be the same thing in every image.

Convention: points are (x, y) in pixels, corner origin; pixel (column j, row i) has its centre at (j + 0.5, i + 0.5).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bench.landmarks import UNLABELLED
from bench.loading import LoadedSplit

Counts = npt.NDArray[np.int64]

NOT_ASKED = -1
"""In a map of truths: this pixel does not count."""


@dataclass(frozen=True, eq=False)
class Truth:
    """Which true part some places of every image belong to.

    Shapes:
        places: per image (P_i,), flat pixel indices (row * S + column).
        parts: per image (P_i,), numbers below ``count``.

    Attributes:
        name: ``landmarks``, ``cells``, ``classes`` or ``figure``.
        count: Of true parts.
    """

    name: str
    count: int
    places: list[Tensor]
    parts: list[Tensor]

    @property
    def tells_apart(self) -> bool:
        """Whether at least two true parts occur."""
        return len(torch.cat(self.parts).unique()) > 1


def truths_of(split: LoadedSplit) -> tuple[Truth, ...]:
    """Everything that a split's annotation can be asked.

    landmarks: a visible landmark inside its image, at its pixel, against its index.
    cells: the pixels of the foreground, against the nearest visible landmark of their image.
    classes: the pixels of the foreground, against their class, where there are several.
    figure: all pixels, foreground against background.
    """
    found = []
    if bool(split.visible.any()):
        found.append(_landmarks(split))
    if split.masks is not None:
        if bool(split.visible.any()):
            maps = landmark_cells(split.points, split.visible, _foreground(split.masks))
            found.append(_from_maps("cells", split.points.shape[1], maps))
        if len(split.classes) > 2:
            inside = _foreground(split.masks)
            maps = torch.where(inside, split.masks.long() - 1, NOT_ASKED)
            found.append(_from_maps("classes", len(split.classes) - 1, maps))
        known = split.masks != UNLABELLED
        figure = torch.where(known, (split.masks > 0).long(), NOT_ASKED)
        found.append(_from_maps("figure", 2, figure))
    return tuple(truth for truth in found if truth.tells_apart)


def pixels_of(points: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """The pixels that points lie in, as flat indices, and whether they lie in the image (its border included).

    Shapes:
        points: (..., 2).  returns: (...,), int64 and bool; the index is 0 for points outside.
    """
    inside = ((points >= 0) & (points <= size)).all(-1)
    column, row = torch.where(inside.unsqueeze(-1), points, 0.0).floor().long().clamp(max=size - 1).unbind(-1)
    return row * size + column, inside


def landmark_cells(points: Tensor, visible: Tensor, inside: Tensor) -> Tensor:
    """The index of the visible landmark nearest to each pixel's centre; of equally near ones the first.

    Shapes:
        points: (N, K, 2).  visible: (N, K).  inside: (N, S, S), bool, the pixels that are asked.
        returns: (N, S, S), int64, NOT_ASKED elsewhere and in images without a visible landmark.
    """
    size = inside.shape[-1]
    centres = torch.arange(size, dtype=torch.float64) + 0.5
    cells = torch.full(inside.shape, NOT_ASKED)
    for image in visible.any(1).nonzero()[:, 0].tolist():
        shown = visible[image].nonzero()[:, 0]
        x, y = points[image, shown].double().unbind(1)
        squared = (centres[None, None, :] - x[:, None, None]).square() + (
            centres[None, :, None] - y[:, None, None]
        ).square()
        cells[image] = torch.where(inside[image], shown[squared.argmin(0)], NOT_ASKED)
    return cells


def contingency(found: Tensor, truth: Truth, parts: int) -> Counts:
    """How many places of each true part fall into each found one, per image.

    Shapes:
        found: (N, S, S), uint8, numbers below ``parts``.  returns: (N, truth.count, parts).
    """
    tables = []
    for image, places, true in zip(found.flatten(1), truth.places, truth.parts, strict=True):
        pairs = true * parts + image[places].long()
        tables.append(torch.bincount(pairs, minlength=truth.count * parts).reshape(truth.count, parts))
    return torch.stack(tables).numpy()


def agreement(table: Counts) -> tuple[float, float]:
    """(normalised mutual information, adjusted Rand index) of a contingency table (true, found).

    Reference:
        scikit-learn: arithmetic mean of the two entropies; pairs of places, adjusted for chance.
    """
    # Imported here: it takes long to load, and whoever lists protocols scores nothing.
    from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score  # noqa: PLC0415

    true, found = (np.repeat(index.ravel(), table.ravel()) for index in np.indices(table.shape))
    return float(normalized_mutual_info_score(true, found)), float(adjusted_rand_score(true, found))


def _landmarks(split: LoadedSplit) -> Truth:
    pixels, inside = pixels_of(split.points, split.images.shape[-1])
    asked = split.visible & inside
    return Truth(
        "landmarks",
        split.points.shape[1],
        [pixels[image][asked[image]] for image in range(len(split))],
        [asked[image].nonzero()[:, 0] for image in range(len(split))],
    )


def _from_maps(name: str, count: int, maps: Tensor) -> Truth:
    places, parts = [], []
    for numbers in maps.flatten(1):
        asked = (numbers != NOT_ASKED).nonzero()[:, 0]
        places.append(asked)
        parts.append(numbers[asked])
    return Truth(name, count, places, parts)


def _foreground(masks: Tensor) -> Tensor:
    return (masks > 0) & (masks != UNLABELLED)
