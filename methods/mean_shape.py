"""The mean shape: what is known of landmarks without looking at an image.

A predictor whose error is no smaller than this one's has learned nothing of the images.
"""

from __future__ import annotations

import torch
from torch import Tensor

from bench.errors import BenchError
from bench.features import FeatureExtractor, FeatureMap
from bench.method import Method, MethodOptions


class MeanShapeNetwork(FeatureExtractor):
    """Each annotated landmark is where it is in the training images, on average; features are 1 everywhere."""

    capabilities = frozenset({"dense", "annotated"})
    shift_period = 1
    receptive_radius = 0

    def forward(self, images: Tensor) -> FeatureMap:
        size = (images.shape[-2], images.shape[-1])
        return FeatureMap((images.new_ones(len(images), 1, *size),), size, size)

    def annotated_landmarks(self, images: Tensor, points: Tensor, visible: Tensor) -> Tensor:
        """The mean of each landmark over the images that show it.

        One that none shows is put at the mean of all points that are shown.

        Raises:
            BenchError: where no landmark is visible.
        """
        if not visible.any():
            raise BenchError(
                "a mean shape needs a visible landmark, and the training images show none",
                hint="Choose another training split, or add annotations.",
            )
        shown = visible.unsqueeze(-1)
        total = torch.where(shown, points, 0.0).double().sum(0)
        count = shown.double().sum(0)
        middle = total.sum(0) / count.sum(0)
        shape = torch.where(count > 0, total / count.clamp_min(1), middle)
        return shape.to(points.dtype).expand(len(images), -1, -1)


class MeanShape(Method):
    """The constant predictor: 24.40 % on AFLW."""

    name = "mean-shape"
    summary = (
        "Predicts the mean training landmarks for every image: what a method that learned nothing scores."
    )
    reference = "Thewlis et al., ICCV 2017, section 4.3: predicting the average locations on AFLW, 24.40"

    def build(self, options: MethodOptions) -> MeanShapeNetwork:
        del options
        return MeanShapeNetwork()

    def untrained_label(self, options: MethodOptions) -> str:
        del options
        return "no weights: the mean of the training annotations"
