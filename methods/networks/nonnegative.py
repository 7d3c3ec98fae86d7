"""Non-negative matrix factorisation as a feature reduction: parts that add up to the hypercolumn, and how much of each.

The baseline BYOL + NMF of LEAD (table 1). The paper gives neither solver nor sample; here the parts are fitted by
scikit-learn's coordinate descent, and the amounts of a pixel are its non-negative least squares onto the parts.

Reference: Lee & Seung, Learning the parts of objects by non-negative matrix factorization, Nature 1999.
"""

from __future__ import annotations

import warnings

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.errors import BenchError
from bench.features import FeatureMap
from bench.least_squares import nonnegative_least_squares


class NonNegativeProjection(nn.Module):
    """Every cell of a non-negative map -> its non-negative amounts of ``dim`` parts of unit length.

    Shapes:
        components: (dim, channels), the state.
        forward: a FeatureMap of ``channels`` channels, defined at (h, w) -> (B, dim, h, w).
    """

    def __init__(self, channels: int, dim: int) -> None:
        super().__init__()
        self.register_buffer("components", F.normalize(torch.rand(dim, channels), dim=1))

    def forward(self, features: FeatureMap) -> Tensor:
        components = self.get_buffer("components")
        # All that the solution needs of a pixel are its products with the parts: a projection, never dense.
        products = features.project(components)
        amounts = nonnegative_least_squares(components @ components.T, products.transpose(0, 1).flatten(1))
        shape = (len(components), len(features), *features.size)
        return amounts.reshape(shape).transpose(0, 1).contiguous()


def nonnegative_components(sample: Tensor, dim: int, iterations: int, seed: int) -> Tensor:
    """The parts of a sample of pixels, as rows of unit length.

    Shapes:
        sample: (N, C), non-negative.  returns: (dim, C), float32, on the CPU.

    Raises:
        BenchError: where there are fewer pixels or channels than parts.
    """
    if dim > min(sample.shape):
        raise BenchError(
            f"{sample.shape[0]} pixels of {sample.shape[1]} channels cannot be factorised into {dim} parts",
            hint="Ask for fewer with -M dim=..., or take a wider backbone.",
        )
    # Heavy, and needed by this baseline only.
    from sklearn.decomposition import NMF  # noqa: PLC0415
    from sklearn.exceptions import ConvergenceWarning  # noqa: PLC0415

    factorisation = NMF(dim, init="nndsvda", max_iter=iterations, random_state=seed % 2**32)
    with warnings.catch_warnings():
        # A fixed number of iterations is the recipe, not an accident.
        warnings.simplefilter("ignore", ConvergenceWarning)
        factorisation.fit(sample.cpu().numpy())
    return F.normalize(torch.from_numpy(factorisation.components_).float(), dim=1)
