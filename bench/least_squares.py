"""Non-negative least squares for very many right-hand sides at once."""

from __future__ import annotations

import torch
from torch import Tensor

_ITERATIONS = 100


def nonnegative_least_squares(gram: Tensor, products: Tensor, iterations: int = _ITERATIONS) -> Tensor:
    """argmin over a >= 0 of |h - W^T a|^2 for many h at once, from the Gram matrix of the parts W alone.

    The alternating direction method of multipliers: an iteration is one product with a fixed matrix and one
    clamping, for all right-hand sides together. With the penalty at the mean squared length of the parts, 100
    iterations leave a relative error near 1e-4 for 256 parts of hypercolumns.

    Shapes:
        gram: (D, D), W W^T.  products: (D, N), W h.  returns: (D, N).

    Reference:
        Boyd et al., Distributed optimization and statistical learning via ADMM, 2011, section 6.4.
    """
    penalty = gram.diagonal().mean()
    shifted = gram + penalty * torch.eye(len(gram), device=gram.device, dtype=gram.dtype)
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(shifted))
    amounts, dual = torch.zeros_like(products), torch.zeros_like(products)
    for _ in range(iterations):
        free = inverse @ (products + penalty * (amounts - dual)) + dual
        amounts = free.clamp_min(0)
        dual = free - amounts
    return amounts
