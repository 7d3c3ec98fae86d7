"""MoCo: tell the other view of an image from earlier images, kept in a queue.

The keys come from a moving average of the network (``methods.objectives.byol.update_ema``).

Reference: He et al., Momentum Contrast, CVPR 2020, equation 1 and algorithm 1; Cheng et al., ContrastLandmarks, ICCV
2021, section 3.1, with its released code for the order of the operations.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from methods.objectives.precision import full_precision


class MoCoQueue(nn.Module):
    """The keys of the last ``length`` images, first in, first out. Initially random, of about unit length.

    Every element is drawn uniformly from +-1/sqrt(dim / 3) (released code); global generator, as for layers.

    Attributes:
        memory: (length, dim), float32; a buffer, so that a resumed training has the same negatives.
        pointer: (), int64: the row that the next key replaces.
    """

    memory: Tensor
    pointer: Tensor

    def __init__(self, length: int, dim: int) -> None:
        super().__init__()
        bound = (dim / 3) ** -0.5
        self.register_buffer("memory", torch.rand(length, dim).mul_(2 * bound).sub_(bound))
        self.register_buffer("pointer", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def enqueue(self, keys: Tensor) -> None:
        """Replace the oldest rows, wrapping round.

        Shapes:
            keys: (B, dim). Of more keys than the queue is long, the last remain.
        """
        length, count = self.memory.shape[0], keys.shape[0]
        rows = (self.pointer + torch.arange(count, device=keys.device)) % length
        # Only the last of the keys that share a row: the order of duplicate writes is not defined.
        self.memory[rows[-length:]] = keys[-length:].to(self.memory.dtype)
        self.pointer.add_(count).remainder_(length)


def moco_logits(query: Tensor, key: Tensor, memory: Tensor, temperature: float) -> Tensor:
    """Similarity of every query with its own key (column 0) and with all rows of the memory, over the temperature.

    Shapes:
        query, key: (B, D), unit length.  memory: (K, D).  returns: (B, 1 + K), at least float32.

    No gradient flows into the keys and the memory.
    """
    # A copy of the memory, because the keys of this batch may enter it before the backward pass.
    (query, key, memory), in_full = full_precision(query, key.detach(), memory.detach().clone())
    with in_full:
        own = (query * key).sum(dim=1, keepdim=True)
        return torch.cat([own, query @ memory.T], dim=1) / temperature


def moco_loss(query: Tensor, key: Tensor, memory: Tensor, temperature: float) -> Tensor:
    """Mean cross-entropy of the own key among own key and memory: mean of -log softmax(logits)[0].

    The memory is as it was before the keys of this batch enter it.

    Shapes:
        query, key: (B, D), unit length.  memory: (K, D).  returns: ().
    """
    logits = moco_logits(query, key, memory, temperature)
    return F.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.long, device=logits.device))
