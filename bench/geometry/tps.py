"""Thin-plate-spline warps of images and points, in the arithmetic of the released DVE code.

A warp is a *backward* map g from a pixel of the warped image to a location in the source image: a similarity
plus 100 radial terms with random weights (the weights are drawn; no interpolation problem is solved).

Convention: inside, coordinates are normalised so that -1 and +1 are the *centres* of the first and last pixel
(``align_corners=True``), as the published matching errors need. Every public function takes and returns
points in pixels with a corner origin; only :meth:`TPSWarp.grid` speaks the normalised coordinates.

Reference: Thewlis et al., ICCV 2019 (released code); Cheng et al., ICCV 2021, evaluate with the same warps.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from bench.errors import BenchError
from bench.geometry.spline import (
    CONTROLS,
    ROWS,
    Size,
    basis,
    frame_basis,
    from_unit,
    kernel_gradient,
    nearest_in_frame,
    nearest_index,
    node_coordinates,
    search_basis,
    to_unit,
)

_NEWTON_STEPS = 12


@dataclass(frozen=True)
class TPSStrength:
    """Standard deviations of a random warp, in normalised coordinates.

    Attributes:
        sd_all: Of every radial weight.
        sd_subset: Of the radial weights that are perturbed more strongly (each with probability 0.5).
        sd_translation, sd_scale: Of the translation, and of the scale about 1.
        sd_rotation: In degrees.
    """

    sd_all: float
    sd_subset: float
    sd_translation: float
    sd_scale: float
    sd_rotation: float

    def scaled(self, radial: float, affine: float) -> TPSStrength:
        return TPSStrength(
            self.sd_all * radial,
            self.sd_subset * radial,
            self.sd_translation * affine,
            self.sd_scale * affine,
            self.sd_rotation * affine,
        )


MATCHING = TPSStrength(0.0005, 0.005, 0.05, 0.05, 2.5)
"""Both warps of an evaluation pair."""
SINGLE = TPSStrength(0.0005, 0.0, 0.02, 0.02, 2.0)
"""The augmentation of few-annotation regression."""
TRAINING = TPSStrength(0.001, 0.01, 0.1, 0.1, 5.0)
"""The second warp of a DVE training pair; the first has its radial weights halved (``multiplier=0.5``)."""


@dataclass(frozen=True, eq=False)
class TPSWarp:
    """A batch of warps g(p) = sum_i U(|p - c_i|^2) w_i + t + x a_x + y a_y with U(d) = d log(d + 1e-5).

    Shapes:
        weights: (B, 103, 2), columns x, y; rows: the w_i of the 10x10 control grid on [-1, 1]^2 (x fastest),
            then t, a_x, a_y. Their dtype is that of the arithmetic: float64 keeps results independent of the
            batch size.
    """

    weights: Tensor

    def __post_init__(self) -> None:
        if self.weights.ndim != 3 or self.weights.shape[1:] != (ROWS, 2):
            shape = tuple(self.weights.shape)
            raise BenchError(f"thin-plate-spline weights must be (B, {ROWS}, 2), got {shape}")

    def __len__(self) -> int:
        return self.weights.shape[0]

    def __getitem__(self, index: slice) -> TPSWarp:
        return TPSWarp(self.weights[index])

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> TPSWarp:
        return TPSWarp(self.weights.to(device=device, dtype=dtype))

    # --- constructors ---------------------------------------------------------------------------------------

    @classmethod
    def identity(cls, count: int) -> TPSWarp:
        weights = torch.zeros(count, ROWS, 2, dtype=torch.float64)
        weights[:, -2, 0] = weights[:, -1, 1] = 1
        return cls(weights)

    @classmethod
    def draw(
        cls,
        count: int,
        strength: TPSStrength,
        generator: torch.Generator,
        *,
        multiplier: float = 1.0,
        affine_multiplier: float = 1.0,
        subset: Literal["replace", "add"] = "replace",
    ) -> TPSWarp:
        """Random warps, one after another, with the random numbers of the released code in its order.

        Args:
            count: How many.
            strength: The standard deviations.
            generator: A CPU generator; the same state gives the released code's weights.
            multiplier: Scales the radial standard deviations.
            affine_multiplier: Scales those of translation, scale and rotation.
            subset: Whether the stronger perturbation replaces the weaker (DVE's code) or is added to it
                (Thewlis et al. 2017, supplement, section 2).
        """
        weights = torch.empty(count, ROWS, 2)
        scaled = strength.scaled(multiplier, affine_multiplier)
        for warp in weights:
            _draw_one(warp, scaled, generator, subset)
        return cls(weights.double())

    # --- the backward map -----------------------------------------------------------------------------------

    def grid(self, height: int, width: int) -> Tensor:
        """g at every pixel: (B, H, W, 2), normalised with ``align_corners=True``, for ``grid_sample``."""
        on_frame = frame_basis(height, width, self.weights.dtype, self.weights.device)
        # One product for the whole batch: (HW, 103) @ (103, 2B).
        values = on_frame @ self.weights.transpose(0, 1).reshape(ROWS, -1)
        return values.reshape(height, width, len(self), 2).permute(2, 0, 1, 3)

    def source_map(self, size: Size, margin: int = 0) -> Tensor:
        """For every pixel of the warped image, cropped by ``margin``, its place in the source, cropped alike.

        Shapes:
            returns: (B, H - 2 margin, W - 2 margin, 2), pixels of the cropped source image, corner origin;
            may lie outside it.
        """
        places = from_unit(self.grid(*size), size) - margin
        return places[:, margin : size[0] - margin, margin : size[1] - margin]

    def source_of(self, points: Tensor, size: Size) -> Tensor:
        """The exact backward map: points (B, N, 2) of the warped images -> where they come from."""
        unit = to_unit(points.to(self.weights), size)
        return from_unit(basis(unit) @ self.weights, size).to(points.dtype)

    def warp_images(self, images: Tensor) -> Tensor:
        """(B, C, H, W) float images, sampled bilinearly with zeros outside.

        Raises:
            BenchError: where there are not as many images as warps, or they are not float.
        """
        if images.shape[0] != len(self) or not images.is_floating_point():
            raise BenchError(f"expected {len(self)} float images, got {images.shape[0]} of {images.dtype}")
        grid = self.grid(*images.shape[-2:]).to(images)
        return F.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=True)

    # --- the forward map ------------------------------------------------------------------------------------

    def move_points(self, points: Tensor, size: Size, tolerance: float = 1e-3) -> tuple[Tensor, Tensor]:
        """Where points of the source images lie in the warped images, by Newton's method on g.

        Shapes:
            points: (B, N, 2), pixels of the source images.
            returns: (B, N, 2), and (B, N), bool: g maps the result back to within ``tolerance`` pixels. It is
            false where no such place was found, e.g. far outside the frame; the result is meaningless there.
        """
        target = to_unit(points.to(self.weights), size)
        places = self._nearest_search_node(target)
        for _ in range(_NEWTON_STEPS):
            residual = basis(places) @ self.weights - target
            a, b, c, d = self._jacobian(places).flatten(-2).unbind(-1)
            determinant = a * d - b * c
            safe = torch.where(determinant.abs() < 1e-6, torch.ones_like(determinant), determinant)
            rx, ry = residual.unbind(-1)
            step = torch.stack([d * rx - b * ry, a * ry - c * rx], -1) / safe.unsqueeze(-1)
            # A much longer step would leave the neighbourhood in which Newton's model holds.
            length = step.norm(dim=-1, keepdim=True)
            places = places - step * (0.25 / length.clamp_min(0.25))
        moved = from_unit(places, size)
        error = (self.source_of(moved, size) - points.to(self.weights)).norm(dim=-1)
        return moved.to(points.dtype), error < tolerance

    def move_points_to_nearest_node(self, points: Tensor, size: Size) -> Tensor:
        """Move points as the released code does: to the pixel whose g is nearest, without interpolation.

        Shapes:
            points: (B, N, 2), pixels of the source images.
            returns: (B, N, 2), float64: pixel centres of the warped frame, carrying the float32 rounding of
            the released code (34.999996 for 35), which decides how later half-way roundings fall. Points that
            leave the frame land on its border.
        """
        height, width = size
        nodes = from_unit(self.grid(height, width), size).double()
        columns, rows = node_coordinates(width), node_coordinates(height)
        nearest = nearest_in_frame(points.to(nodes), nodes).cpu()
        return torch.stack([columns[nearest % width], rows[nearest // width]], -1).to(points.device)

    def _nearest_search_node(self, target: Tensor) -> Tensor:
        """The node of a coarse grid, reaching beyond the frame, whose g is nearest to the target."""
        nodes, on_nodes = search_basis(target.dtype, target.device)
        values = torch.einsum("nr,brc->bnc", on_nodes, self.weights)
        return nodes[nearest_index(target, values)]

    def _jacobian(self, places: Tensor) -> Tensor:
        """dg/dp, (B, N, 2, 2), rows x, y of g."""
        radial = torch.einsum("bnkd,bkc->bncd", kernel_gradient(places), self.weights[:, :CONTROLS])
        return radial + self.weights[:, None, -2:].mT


class WarpedPair(NamedTuple):
    """Two views of a batch of images."""

    more_warped: Tensor
    less_warped: Tensor


def warp_pair(images: Tensor, first: TPSWarp, second: TPSWarp) -> WarpedPair:
    """The less warped view is ``first`` of the image; the more warped one is ``second`` of that view.

    The more warped view is interpolated twice, as in the released code. ``second`` maps its pixels to their
    places in the less warped view.
    """
    less_warped = first.warp_images(images)
    return WarpedPair(second.warp_images(less_warped), less_warped)


def _draw_one(
    weights: Tensor, strength: TPSStrength, generator: torch.Generator, subset: Literal["replace", "add"]
) -> None:
    radial = torch.randn(CONTROLS, 2, generator=generator) * strength.sd_all
    chosen = torch.rand(CONTROLS, 2, generator=generator) > 0.5
    strong = torch.randn(int(chosen.sum()), generator=generator) * strength.sd_subset
    radial[chosen] = strong if subset == "replace" else radial[chosen] + strong
    angle, growth, tx, ty = (float(torch.randn(1, generator=generator)) for _ in range(4))
    turn = math.radians(angle * strength.sd_rotation)
    scale = 1 + growth * strength.sd_scale
    weights[:CONTROLS] = radial
    weights[-3] = torch.tensor([tx * strength.sd_translation, ty * strength.sd_translation])
    weights[-2] = torch.tensor([scale * math.cos(turn), -scale * math.sin(turn)])
    weights[-1] = torch.tensor([scale * math.sin(turn), scale * math.cos(turn)])
