"""Equivariance of landmarks: those of a warped image lie where the warp takes those of the image.

Convention: bench's warps are backward maps. Where x' is the warp of x by g, g takes a location v of x' to the location
of x that is seen there. So u (of x) is compared with g(v), v of x', exactly as equation 6 is written.

Reference: Thewlis et al., Unsupervised learning of object landmarks by factorized spatial embeddings, ICCV 2017,
section 3.3, equations 5 and 6.
"""

from __future__ import annotations

from torch import Tensor

from methods.objectives.precision import full_precision


def alignment_loss(probabilities: Tensor, warped: Tensor, places: Tensor, mapped: Tensor) -> Tensor:
    """Equation 6: mean over images and landmarks r of sum_uv |u - g(v)|^2 p(u | x, r) p(v | x', r).

    It is the spread of both maps plus the squared distance of their means, all in the frame of x: zero only for
    maps that are concentrated in corresponding places. Linear in the number of cells: only the first two
    moments of every map are needed.

    Shapes:
        probabilities: (B, K, h, w), maps of x, each sums to 1.
        warped: (B, K, h', w'), maps of x'.
        places: (h, w, 2), location of every cell u of x.
        mapped: (B, h', w', 2), g(v): for every cell v of x' its location in x; may lie outside.
        returns: ().

    Units:
        Those of ``places`` and ``mapped``, squared.
    """
    (p, q), in_full = full_precision(probabilities, warped)
    with in_full:
        # The loss does not change with the origin, but single precision keeps more digits near it.
        origin = places.mean(dim=(0, 1))
        mean, square = _moments(p, (places - origin).unsqueeze(0))
        mean_warped, square_warped = _moments(q, mapped - origin)
        return (square + square_warped - 2 * (mean * mean_warped).sum(-1)).mean()


def point_alignment_loss(points: Tensor, mapped: Tensor) -> Tensor:
    """Equation 5: mean over images and landmarks of the squared distance of soft-argmax locations.

    Shapes:
        points: (B, K, 2), landmarks of x.
        mapped: (B, K, 2), those of x', taken into the frame of x by g.
        returns: ().
    """
    (points, mapped), in_full = full_precision(points, mapped)
    with in_full:
        return (points - mapped).square().sum(-1).mean()


def _moments(probabilities: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
    """Maps (B, K, h, w), locations (B or 1, h, w, 2) -> mean location (B, K, 2) and mean squared length (B, K)."""
    flat = places.flatten(1, 2).to(probabilities)
    mean = probabilities.flatten(2) @ flat
    square = probabilities.flatten(2) @ flat.square().sum(-1, keepdim=True)
    return mean, square.squeeze(-1)
