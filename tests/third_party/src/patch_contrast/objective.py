"""Contrast between the patches of an image."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def patch_contrast_loss(first: Tensor, second: Tensor, temperature: float) -> Tensor:
    """Every cell of one view finds its own among all cells of the other view of the same image, and back.

    With unit features f_i of the first and g_j of the second view, the mean over images, cells and both directions
    of -log(exp(f_i . g_i / T) / sum_j exp(f_i . g_j / T)).

    Shapes:
        first, second: (B, C, h, w), cells that show the same.  returns: ().
    """
    f, g = (F.normalize(view.flatten(2), dim=1) for view in (first, second))
    similarity = torch.einsum("bci,bcj->bij", f, g).float() / temperature
    own = torch.arange(similarity.shape[1], device=similarity.device).expand(len(similarity), -1)
    forth = F.cross_entropy(similarity.transpose(1, 2), own)
    back = F.cross_entropy(similarity, own)
    return (forth + back) / 2
