"""The landmark regressor that DVE, ContrastLandmarks and LEAD share: virtual keypoints, linearly combined.

Reference:
    Thewlis et al., "Unsupervised learning of landmarks by descriptor vector exchange", ICCV 2019, and code;
    Cheng et al., "On equivariant and invariant learning of object landmark representations", ICCV 2021;
    Karmali et al., "LEAD", WACV 2022, section 4: "50 filters per keypoint, soft-argmax, linear".
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from bench.errors import BenchError
from bench.features import FeatureMap
from protocols.heads.landmark_loss import regression_loss
from protocols.heads.one_pass import OnePass
from protocols.heads.soft_argmax import spatial_soft_argmax

VIRTUAL_KEYPOINTS = 50
MULTIPLIER = 100.0

# Native logits held at once, in elements: all maps of 5 landmarks of a 3840-d hypercolumn and 32 images fit.
_ELEMENTS_AT_ONCE = 2**24


class VirtualKeypointRegressor(nn.Module):
    """Frozen dense features -> K landmarks.

    Each landmark has its own ``virtual`` score maps (a 1x1 convolution without bias). Their soft-argmaxes are
    its virtual keypoints, and a linear map without bias takes these to the landmark. The convolution runs at
    the features' native resolution.

    Args:
        channels: C of the features.
        landmarks: K.
        generator: Draws the initial weights in the order of the official code: N(0, 1) for the score maps,
            the default of ``nn.Linear`` for the linear maps.
        virtual: Virtual keypoints of each landmark.
        multiplier: Factor on the scores before the soft-max.

    Shapes:
        score_weight: (K * virtual, C), the maps of one landmark side by side.
        linear_weight: (K, 2, 2 * virtual), acting on (x_1, y_1, x_2, y_2, ...).

    Convention:
        Normalised coordinates (x, y) of the input image: -1 is the centre of the first pixel of an axis and
        +1 that of the last (:func:`to_normalised`). The cells of the map are spread over the same range,
        first on -1 and last on +1, as in the official code; the linear map absorbs the difference.
    """

    def __init__(
        self,
        channels: int,
        landmarks: int,
        generator: torch.Generator,
        virtual: int = VIRTUAL_KEYPOINTS,
        multiplier: float = MULTIPLIER,
    ) -> None:
        super().__init__()
        if min(channels, landmarks, virtual) < 1:
            raise BenchError(
                f"a regressor needs at least one channel, landmark and virtual keypoint, "
                f"got {channels}, {landmarks} and {virtual}"
            )
        self.channels, self.landmarks, self.virtual = channels, landmarks, virtual
        self.multiplier = multiplier
        scores = torch.randn(channels, landmarks, virtual, generator=generator)
        self.score_weight = nn.Parameter(scores.permute(1, 2, 0).reshape(-1, channels).contiguous())
        self.linear_weight = nn.Parameter(torch.empty(landmarks, 2, 2 * virtual))
        for matrix in self.linear_weight.data:
            nn.init.kaiming_uniform_(matrix, a=math.sqrt(5), generator=generator)

    def forward(self, features: FeatureMap) -> Tensor:
        """Shapes: returns: (B, K, 2), normalised coordinates."""
        parts = []
        for group in self._groups(features):
            points = self._soft_argmax(features, group).reshape(len(features), -1, 2 * self.virtual)
            parts.append(torch.einsum("kav,bkv->bka", self.linear_weight[group], points))
        return torch.cat(parts, dim=1)

    def virtual_keypoints(self, features: FeatureMap) -> Tensor:
        """Shapes: returns: (B, K, virtual, 2), normalised coordinates."""
        parts = [self._soft_argmax(features, group) for group in self._groups(features)]
        return torch.cat(parts, dim=1).reshape(-1, self.landmarks, self.virtual, 2)

    def loss_and_gradients(self, features: FeatureMap, targets: Tensor, visible: Tensor) -> Tensor:
        """:func:`regression_loss` of a batch; its gradients replace ``grad`` of the two weights.

        Equal to ``backward()`` of the loss, see :mod:`protocols.heads.one_pass`. Levels of the features that
        require gradients (leaves, such as detached outputs of a network) have theirs in ``grad`` afterwards.

        Shapes:
            targets: (B, K, 2), normalised coordinates.  visible: (B, K), bool.  returns: (), detached.
        """
        step = OnePass(features, targets, visible, self.multiplier)
        for parameter in self.parameters():
            if parameter.grad is None:
                parameter.grad = torch.empty_like(parameter)
        assert self.score_weight.grad is not None
        assert self.linear_weight.grad is not None
        with torch.no_grad():
            for group in self._groups(features):
                rows = self._rows(group)
                step.take(
                    group,
                    self.score_weight[rows],
                    self.linear_weight[group],
                    self.score_weight.grad[rows],
                    self.linear_weight.grad[group],
                )
        step.give_feature_gradients(features)
        return regression_loss(step.predicted, targets, visible)

    def _soft_argmax(self, features: FeatureMap, group: slice) -> Tensor:
        native = features.project_native(self.score_weight[self._rows(group)])
        return spatial_soft_argmax(native, features.size, self.multiplier)

    def _groups(self, features: FeatureMap) -> Iterator[slice]:
        """Landmarks share nothing: they are taken in groups whose score maps fit in memory together."""
        cells = sum(height * width for _, height, width in features.layout)
        length = max(1, _ELEMENTS_AT_ONCE // (len(features) * self.virtual * cells))
        for start in range(0, self.landmarks, length):
            yield slice(start, min(start + length, self.landmarks))

    def _rows(self, group: slice) -> slice:
        return slice(group.start * self.virtual, group.stop * self.virtual)


def to_normalised(points: Tensor, image_size: tuple[int, int]) -> Tensor:
    """Pixels (corner origin) -> normalised coordinates, -1 and +1 on the centres of the outermost pixels.

    Shapes:
        points: (..., 2), (x, y) of an image of (height, width) ``image_size``.  returns: the same.
    """
    return (points - 0.5) * 2 / _extent(points, image_size) - 1


def to_pixels(points: Tensor, image_size: tuple[int, int]) -> Tensor:
    """The inverse of :func:`to_normalised`."""
    return (points + 1) / 2 * _extent(points, image_size) + 0.5


def _extent(points: Tensor, image_size: tuple[int, int]) -> Tensor:
    height, width = image_size
    return points.new_tensor([width - 1, height - 1])
