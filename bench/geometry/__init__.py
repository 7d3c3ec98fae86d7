"""Warps of images and of the points on them.

Convention: points are (x, y) in pixels, corner origin: pixel (column j, row i) has its centre at
(j + 0.5, i + 0.5). :class:`AffineWarp` and :class:`ElasticWarp` follow ``align_corners=False``. :class:`TPSWarp`
follows the released code of DVE and ContrastLandmarks (``align_corners=True`` on pixel centres), and converts at its
border.
"""

from bench.geometry.affine import AffineWarp
from bench.geometry.elastic import ElasticWarp
from bench.geometry.spline import node_coordinates
from bench.geometry.tps import (
    MATCHING,
    SINGLE,
    TRAINING,
    TPSStrength,
    TPSWarp,
    WarpedPair,
    warp_pair,
)

__all__ = [
    "MATCHING",
    "SINGLE",
    "TRAINING",
    "AffineWarp",
    "ElasticWarp",
    "TPSStrength",
    "TPSWarp",
    "WarpedPair",
    "node_coordinates",
    "warp_pair",
]
