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
Floats = npt.NDArray[np.float64]

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


def agreement(tables: npt.ArrayLike) -> tuple[Floats, Floats]:
    """Normalised mutual information and adjusted Rand index of contingency tables, in double precision.

    Mutual information is divided by the arithmetic mean of the two entropies; the Rand index counts pairs of places.
    Both are 1 where neither labelling tells any two places apart, as in scikit-learn, which takes labels instead.

    Shapes:
        tables: (..., true parts, found parts), whole numbers.  returns: (...,) twice.
    """
    counts = np.asarray(tables, dtype=np.float64)
    true, found = counts.sum(-1), counts.sum(-2)
    total = true.sum(-1)
    by_chance = true[..., :, None] * found[..., None, :] / np.maximum(total, 1)[..., None, None]
    information = _times_log(counts, by_chance).sum((-2, -1))
    whole = total[..., None]
    entropies = -(_times_log(true, whole).sum(-1) + _times_log(found, whole).sum(-1)) / 2
    nmi = np.divide(information.clip(0), entropies, out=np.ones_like(total), where=entropies > 0)

    together = _pairs(counts).sum((-2, -1))
    in_true, in_found = _pairs(true).sum(-1), _pairs(found).sum(-1)
    expected = in_true * in_found / np.maximum(_pairs(total), 1)
    most = (in_true + in_found) / 2
    ari = np.divide(together - expected, most - expected, out=np.ones_like(total), where=most > expected)
    return nmi, ari


def _times_log(counts: Floats, reference: Floats) -> Floats:
    """counts * log(counts / reference), 0 where nothing is counted."""
    ratio = np.divide(counts, reference, out=np.ones_like(counts), where=counts > 0)
    product: Floats = counts * np.log(ratio)
    return product


def _pairs(counts: Floats) -> Floats:
    pairs: Floats = counts * (counts - 1) / 2
    return pairs


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
