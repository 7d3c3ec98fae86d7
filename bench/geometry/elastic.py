"""Elastic deformations with a rotation: random warps that fold nowhere, so that every point has one image.

Reference: displacements by uniform cubic B-splines: Rueckert et al., IEEE TMI 1999. That they fold nowhere: Choi and
Lee, Injectivity conditions of 2D and 3D uniform cubic B-spline functions, Graphical Models 2000.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from bench.errors import BenchError
from bench.geometry.affine import AffineWarp

Size = tuple[int, int]

STEEPEST = 2.046392675
"""Choi and Lee's K: where no control point moves farther than a (in units of the controls' spacing), no two points'
displacements differ by more than K a times the points' distance (both in the larger of |x| and |y|)."""

_BEYOND = 3
"""A spline over n cells has n + 3 controls per axis."""
_TOLERANCE_PX = 1e-10
_MOST_STEPS = 2000


@dataclass(frozen=True, eq=False)
class ElasticWarp:
    """A batch of warps: the image is turned about its centre, then deformed.

    The backward map is closed: a point p of the warped image shows the place R^-1(p + u(p)) of the source, where u is
    a cubic B-spline over n x n cells of the frame, constant along the normal outside it. As u is a contraction, the
    map is a bijection of the plane, and the forward map is the limit of p <- R(q) - u(p).

    Shapes:
        rotation: (B,), float64, degrees, from the x axis towards the y axis: clockwise to the eye.
        displacement: (B, 2, n + 3, n + 3), float64: x and y of u's control points, [row, column], in units of their
            spacing, a nth of the image's side.

    Convention:
        Points are pixels, corner origin; sizes are (height, width). Images are sampled bilinearly,
        ``align_corners=False``, with zeros outside.

    Raises:
        BenchError: where the shapes are others, or a displacement is so large that the image could fold.
    """

    rotation: Tensor
    displacement: Tensor

    def __post_init__(self) -> None:
        shape = self.displacement.shape
        square = len(shape) == 4 and shape[1] == 2 and shape[2] == shape[3] > _BEYOND
        if not square or self.rotation.shape != shape[:1]:
            raise BenchError(
                f"elastic warps need rotations (B,) and displacements (B, 2, n + 3, n + 3), got "
                f"{tuple(self.rotation.shape)} and {tuple(shape)}"
            )
        largest = float(self.displacement.abs().amax()) if self.displacement.numel() else 0.0
        if not largest * STEEPEST < 1:
            raise BenchError(
                f"control points that move by {largest:g} of their spacing can fold the image",
                hint=f"Keep displacements below {1 / STEEPEST:.3f}.",
            )

    def __len__(self) -> int:
        return self.rotation.shape[0]

    def __getitem__(self, part: slice | list[int]) -> ElasticWarp:
        return ElasticWarp(self.rotation[part], self.displacement[part])

    @property
    def cells(self) -> int:
        """n, the spline's cells per axis."""
        return self.displacement.shape[-1] - _BEYOND

    # --- constructors ---------------------------------------------------------------------------------------

    @classmethod
    def identity(cls, count: int, cells: int = 1) -> ElasticWarp:
        controls = cells + _BEYOND
        return cls(
            torch.zeros(count, dtype=torch.float64),
            torch.zeros(count, 2, controls, controls, dtype=torch.float64),
        )

    @classmethod
    def draw(
        cls, count: int, generator: torch.Generator, *, rotation: float, elastic: float, cells: int
    ) -> ElasticWarp:
        """Random warps, one after another: the first of many are those of few.

        Args:
            count: How many.
            generator: A CPU generator.
            rotation: Largest angle in degrees; uniform either way.
            elastic: Largest displacement of a control point along either axis, in units of their spacing; uniform.
            cells: Of the spline, per axis: the fewer, the smoother.

        Raises:
            BenchError: where ``elastic`` is so large that an image could fold.
        """
        controls = cells + _BEYOND
        uniform = 2 * torch.rand(count, 1 + 2 * controls**2, generator=generator, dtype=torch.float64) - 1
        return cls(uniform[:, 0] * rotation, uniform[:, 1:].reshape(-1, 2, controls, controls) * elastic)

    # --- points and images ----------------------------------------------------------------------------------

    def source_of(self, points: Tensor, size: Size) -> Tensor:
        """(B, N, 2) points of the warped images -> where they come from in the source images."""
        places = points.double()
        return self._turn(size).source_of(places + self._displacements(places, size)).to(points.dtype)

    def move_points(self, points: Tensor, size: Size) -> Tensor:
        """(B, N, 2) points of the source images -> where the warped images show them, to 1e-7 pixels."""
        target = self._turn(size).move_points(points.double())
        places = target
        moving = torch.ones_like(places[..., :1], dtype=torch.bool)
        for _ in range(_MOST_STEPS):
            # A point stops on its own, so that it does not matter which others are moved with it.
            before = places
            places = torch.where(moving, target - self._displacements(places, size), before)
            moving = ((places - before).abs() > _TOLERANCE_PX).any(-1, keepdim=True)
            if not bool(moving.any()):
                break
        return places.to(points.dtype)

    def warp_images(self, images: Tensor) -> Tensor:
        """(B, C, H, W) float images -> the same shape.

        Raises:
            BenchError: where there are not as many images as warps, or they are not float.
        """
        if images.shape[0] != len(self) or not images.is_floating_point():
            raise BenchError(f"expected {len(self)} float images, got {images.shape[0]} of {images.dtype}")
        height, width = images.shape[-2:]
        extent = self.rotation.new_tensor([width, height])
        sources = self._source_map((height, width)).reshape(-1, height, width, 2)
        grid = (2 * sources / extent - 1).to(images)
        return F.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)

    def _source_map(self, size: Size) -> Tensor:
        """``source_of`` at every pixel's centre, (B, H W, 2); the spline is evaluated axis by axis."""
        y, x = (torch.arange(n, dtype=torch.float64, device=self.rotation.device) + 0.5 for n in size)
        on_rows, on_columns = self._taps(y, size[0]), self._taps(x, size[1])
        spacing = self.rotation.new_tensor([size[1], size[0]]) / self.cells
        displaced = (on_rows @ self.displacement @ on_columns.T).permute(0, 2, 3, 1) * spacing
        centres = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1)
        return self._turn(size).source_of((centres + displaced).flatten(1, 2))

    def _displacements(self, places: Tensor, size: Size) -> Tensor:
        """u, in pixels, at places (B, N, 2) in pixels."""
        across, down = self._taps(places[..., 0], size[1]), self._taps(places[..., 1], size[0])
        spacing = places.new_tensor([size[1], size[0]]) / self.cells
        return torch.einsum("bnr,bars,bns->bna", down, self.displacement, across) * spacing

    def _taps(self, positions: Tensor, extent: int) -> Tensor:
        """Weights (..., n + 3) of the controls along one axis; four neighbours each, summing to 1."""
        position = (positions * (self.cells / extent)).clamp(0, self.cells)
        first = position.floor().clamp(max=self.cells - 1)
        t = position - first
        weights = (
            torch.stack(
                [(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, 1 + 3 * t + 3 * t**2 - 3 * t**3, t**3],
                dim=-1,
            )
            / 6
        )
        index = first.long().unsqueeze(-1) + torch.arange(4, device=positions.device)
        return weights.new_zeros(*positions.shape, self.cells + _BEYOND).scatter(-1, index, weights)

    def _turn(self, size: Size) -> AffineWarp:
        return AffineWarp.about_centre(size, rotation=self.rotation)
