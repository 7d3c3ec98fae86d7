"""Percentage of correct keypoints: how many landmarks are predicted near enough, by three rules.

Convention: points are (x, y) in pixels of the image that the method sees, corner origin.
"""

from __future__ import annotations

import torch
from torch import Tensor

from protocols.scores.metrics import PerPoint, accuracy_within, point_errors, px128

_BOX = 48
_BATCH = 32
_SHARE = 0.05


def pck_5pct_longer_side(
    predicted: Tensor, target: Tensor, visible: Tensor, image_size: tuple[int, int]
) -> PerPoint:
    """100 where a visible landmark is within 5 % of the image's longer side, else 0.

    Shapes:
        predicted, target: (N, K, 2).  visible: (N, K).

    Args:
        image_size: (height, width) of the image that the method sees, in pixels.

    Reference:
        The rule as ContrastLandmarks and LEAD (Table 9) state it; their code has another (:func:`pck_cl`).
    """
    return accuracy_within(point_errors(predicted, target), _SHARE * max(image_size), visible)


def pck_cl(predicted: Tensor, target: Tensor, visible: Tensor, image_size: tuple[int, int]) -> PerPoint:
    """The PCK of ContrastLandmarks' released code, which is looser than the 5 % that its paper states.

    Points are mapped to a box of 48 pixels, its first pixel's centre being 0. A landmark counts where it is
    visible and its annotation has x > 0 and y > 0 there. Its distance is truncated to a whole number, and
    correct where that is below 5 % of 48 = 2.4: in truth, where it is below 3, or 6.25 % of the side. Of each
    32 images in a row, the share of correct points is taken for each landmark, then the mean over the
    landmarks that occur, or 0 where none does; the value is the mean of these, weighted by their images.

    The groups of 32 are part of the rule, and independent of the batch size of a run.

    Shapes:
        predicted, target: (N, K, 2); anything where not visible.  visible: (N, K).
        returns: 100 or 0 for every point, and weights of which the mean is that of the rule.

    Args:
        image_size: (height, width) of the image that the method sees, in pixels.

    Reference:
        Cheng et al., ICCV 2021, supplement, Table 8; ``models/metric.py`` of the code.
    """
    at = _in_box(target, image_size)
    counted = visible & (at > 0).all(2)
    values = accuracy_within(point_errors(_in_box(predicted, image_size), at).trunc(), _SHARE * _BOX, counted)
    groups = [_in_group(part) for part in counted.split(_BATCH)]
    if not groups:
        return values
    weights, weighted = (torch.cat(parts) for parts in zip(*groups, strict=True))
    return PerPoint(values.values, weighted, weights=weights)


def accuracy_6px(predicted: Tensor, target: Tensor, visible: Tensor, image_size: tuple[int, int]) -> PerPoint:
    """100 where a visible landmark is within 6 pixels of a 128-pixel image, else 0; all landmarks weigh the same.

    Shapes:
        predicted, target: (N, K, 2).  visible: (N, K).

    Reference:
        Rahaman et al. 2021, Tables 1, 2 and 6, whose average is the mean over the landmarks.
    """
    return accuracy_px128(predicted, target, visible, image_size, 6).balanced()


def accuracy_px128(
    predicted: Tensor, target: Tensor, visible: Tensor, image_size: tuple[int, int], distance: float
) -> PerPoint:
    """100 where a visible landmark is within ``distance`` pixels of a 128-pixel image, else 0.

    Reference:
        Rahaman et al. 2021, equation 6.
    """
    return accuracy_within(px128(point_errors(predicted, target), max(image_size)), distance, visible)


def _in_box(points: Tensor, image_size: tuple[int, int]) -> Tensor:
    height, width = image_size
    return (points - 0.5) * ((_BOX - 1) / points.new_tensor([width - 1, height - 1]))


def _in_group(counted: Tensor) -> tuple[Tensor, Tensor]:
    """Weights (n, K) of the points of one group, and which of them count in the mean."""
    images, landmarks = counted.shape
    seen = counted.sum(0).double()
    occurring = int((seen > 0).sum())
    if occurring == 0:
        # Nothing is right here: the group counts as 0.
        return torch.ones(images, landmarks, dtype=torch.float64), torch.ones_like(counted)
    weights = landmarks * images / (occurring * seen.clamp_min(1))
    return weights.expand(images, landmarks), counted
