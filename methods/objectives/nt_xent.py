"""NT-Xent: tell the other view of an image from the views of all other images of the batch.

Reference: Chen et al., A Simple Framework for Contrastive Learning, ICML 2020, equation 1.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from methods.objectives.precision import full_precision


def nt_xent_loss(first: Tensor, second: Tensor, temperature: float) -> Tensor:
    """Mean over the 2B views of the cross-entropy of the positive among the 2B - 1 other views, with cosines.

    Shapes:
        first, second: (B, D), the embeddings of two views of the same images in the same order.  returns: ().
    """
    count = first.shape[0]
    (first, second), in_full = full_precision(first, second)
    with in_full:
        unit = F.normalize(torch.cat([first, second]), dim=1)
        logits = unit @ unit.T / temperature
        logits.fill_diagonal_(-torch.inf)
        positives = torch.arange(2 * count, device=unit.device).roll(count)
        return F.cross_entropy(logits, positives)
