"""Loss and gradients of the virtual-keypoint regressor in one pass over its score maps.

The loss is a mean over images and landmarks, and over how many is known beforehand. So as soon as the soft-argmaxes of
one landmark's maps are known for an image, so are its prediction, its loss and the gradient of its scores: all three
are formed while the masses of the soft-max are still at hand. Nothing is exponentiated or resized twice, no score map
is ever held at full size, and the gradients of the native scores take the place of the scores.
"""

from __future__ import annotations

import torch
from torch import Tensor

from bench.features import FeatureMap
from protocols.heads.landmark_loss import regression_loss_gradient
from protocols.heads.soft_argmax import SoftArgmaxBlock

# One product with tens of thousands of rows is up to 1.6 times slower than the same in parts (measured on one core).
_ROWS_AT_ONCE = 512


class OnePass:
    """One batch of features and targets, against which groups of landmarks are held one after another.

    Args:
        multiplier: Factor on the scores before the soft-max.

    Shapes:
        features: B images.  targets: (B, K, 2), normalised coordinates.  visible: (B, K), bool.

    Attributes:
        predicted: (B, K, 2), of the groups that were taken.
    """

    def __init__(self, features: FeatureMap, targets: Tensor, visible: Tensor, multiplier: float) -> None:
        self.size, self.multiplier = features.size, multiplier
        self.shapes = [(len(features), height, width, -1) for _, height, width in features.layout]
        # One row per position and image; a view where the features are stored with their channels innermost.
        self.positions = [_positions(level.detach()) for level in features.levels]
        self.towards_positions = [
            torch.zeros_like(rows) if level.requires_grad else None
            for rows, level in zip(self.positions, features.levels, strict=True)
        ]
        self.targets, self.visible = targets.transpose(0, 1), visible.T
        self.predicted = torch.zeros_like(targets)

    def take(
        self, group: slice, scores: Tensor, linear: Tensor, scores_gradient: Tensor, linear_gradient: Tensor
    ) -> None:
        """Predict the landmarks of ``group`` and write the gradients of their weights.

        Shapes:
            scores, scores_gradient: (G V, C).  linear, linear_gradient: (G, 2, 2 V).
        """
        channels = [rows.shape[1] for rows in self.positions]
        parts = scores.split(channels, dim=1)
        native = [_tall_product(rows, part.T) for rows, part in zip(self.positions, parts, strict=True)]
        linear_gradient.copy_(self._predict(group, native, linear))
        for rows, part, towards, weight, into in zip(
            self.positions,
            native,
            self.towards_positions,
            parts,
            scores_gradient.split(channels, 1),
            strict=True,
        ):
            into.copy_(part.T @ rows)
            if towards is not None:
                towards.add_(_tall_product(part, weight))

    def _predict(self, group: slice, native: list[Tensor], linear: Tensor) -> Tensor:
        """Replace the native scores by their gradients; returns the gradient of ``linear``."""
        count, _, virtual = linear.shape[0], linear.shape[1], linear.shape[2] // 2
        levels = [part.view(shape) for part, shape in zip(native, self.shapes, strict=True)]
        targets, visible = self.targets[group], self.visible[group]
        numbers = self.predicted.numel()
        keypoints = linear.new_empty(count, len(self.predicted), 2 * virtual)
        towards = torch.empty_like(keypoints[..., :2])
        block = SoftArgmaxBlock(levels, self.size, self.multiplier, unit=virtual)
        for images, maps in block.walk():
            here = slice(maps.start // virtual, maps.stop // virtual)
            at = (here, images)
            part = [level[images, ..., maps] for level in levels]
            points = block.points(part).unflatten(2, (-1, virtual))
            keypoints[at] = points.permute(2, 0, 3, 1).flatten(2)
            predicted = keypoints[at] @ linear[here].mT
            towards[at] = regression_loss_gradient(predicted, targets[at], visible[at], numbers)
            self.predicted[images, group][:, here] = predicted.transpose(0, 1)
            along = (towards[at] @ linear[here]).unflatten(2, (virtual, 2))
            block.write_gradients(along.permute(1, 3, 0, 2).flatten(2), part)
        return towards.mT @ keypoints

    def give_feature_gradients(self, features: FeatureMap) -> None:
        """Set ``grad`` of the levels that require it."""
        for level, towards in zip(features.levels, self.towards_positions, strict=True):
            if towards is not None:
                batch, channels, height, width = level.shape
                level.grad = towards.view(batch, height, width, channels).permute(0, 3, 1, 2)


def _positions(level: Tensor) -> Tensor:
    """(B, C, h, w) -> (B h w, C)."""
    return level.permute(0, 2, 3, 1).reshape(-1, level.shape[1])


def _tall_product(rows: Tensor, matrix: Tensor) -> Tensor:
    product = rows.new_empty(len(rows), matrix.shape[1])
    for some, into in zip(rows.split(_ROWS_AT_ONCE), product.split(_ROWS_AT_ONCE), strict=True):
        torch.mm(some, matrix, out=into)
    return product
