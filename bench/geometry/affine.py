"""Affine warps of batches of images and of the points on them, with exact inverses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from bench.errors import BenchError

Size = tuple[int, int]
Padding = Literal["zeros", "border", "reflection"]


@dataclass(frozen=True, eq=False)
class AffineWarp:
    """A batch of affine maps from the frame of an input image to the frame of an output image.

    Shapes:
        matrix: (B, 3, 3), float64; takes (x, y, 1) of a point in the input image to the output image.

    Convention:
        Points are pixels, corner origin; sizes are (height, width). Angles turn the x axis towards the
        y axis: clockwise to the eye, since y points down. Images are sampled bilinearly,
        ``align_corners=False``, without antialiasing.
    """

    matrix: Tensor
    input_size: Size
    output_size: Size

    def __post_init__(self) -> None:
        if self.matrix.ndim != 3 or self.matrix.shape[1:] != (3, 3):
            raise BenchError(f"affine matrices must be (B, 3, 3), got {tuple(self.matrix.shape)}")

    def __len__(self) -> int:
        return self.matrix.shape[0]

    # --- constructors ---------------------------------------------------------------------------------------

    @classmethod
    def identity(cls, count: int, size: Size) -> AffineWarp:
        return cls(torch.eye(3, dtype=torch.float64).repeat(count, 1, 1), size, size)

    @classmethod
    def about_centre(
        cls,
        size: Size,
        *,
        rotation: Tensor | None = None,
        scale: Tensor | None = None,
        shear: Tensor | None = None,
        translation: Tensor | None = None,
    ) -> AffineWarp:
        """Shear, then scale, then rotate about the centre of the image, then translate.

        Shapes:
            rotation: (B,), degrees.  scale: (B,), above 1 enlarges.
            shear: (B,), degrees; x grows by y tan(shear).
            translation: (B, 2), in units of half the image: (1, 0) moves the centre to the right border.

        Raises:
            BenchError: where nothing is given, batch sizes differ, or a scale is not positive.
        """
        given = [part for part in (rotation, scale, shear, translation) if part is not None]
        if len({len(part) for part in given}) != 1:
            raise BenchError(
                f"an affine warp needs parts of one batch size, got {[len(part) for part in given]}"
            )
        count, device = len(given[0]), given[0].device
        zeros = torch.zeros(count, dtype=torch.float64, device=device)
        angle = zeros if rotation is None else torch.deg2rad(rotation.double())
        slant = zeros if shear is None else torch.deg2rad(shear.double())
        factor = zeros + 1 if scale is None else scale.double()
        shift = zeros.new_zeros(count, 2) if translation is None else translation.double()
        if bool((factor <= 0).any()):
            raise BenchError(f"scales must be positive, got {float(factor.min())}")
        half = zeros.new_tensor([size[1] / 2, size[0] / 2])
        sheared = _rows([[zeros + 1, slant.tan()], [zeros, zeros + 1]])
        turned = _rows([[angle.cos(), -angle.sin()], [angle.sin(), angle.cos()]])
        linear = factor[:, None, None] * turned @ sheared
        offset = half + shift * half - linear @ half
        return cls(_homogeneous(linear, offset), size, size)

    @classmethod
    def horizontal_flip(cls, flipped: Tensor, size: Size) -> AffineWarp:
        """Mirror left and right where ``flipped`` (B,), bool, is true."""
        sign = torch.where(flipped, -1.0, 1.0).double()
        offset = torch.where(flipped, float(size[1]), 0.0).double()
        linear = torch.diag_embed(torch.stack([sign, torch.ones_like(sign)], -1))
        return cls(_homogeneous(linear, torch.stack([offset, torch.zeros_like(offset)], -1)), size, size)

    @classmethod
    def crop_resize(cls, boxes: Tensor, input_size: Size, output_size: Size) -> AffineWarp:
        """Cut out boxes and bring them to one size.

        Shapes:
            boxes: (B, 4), (x0, y0, x1, y1) in pixels of the input image; may reach outside it.

        Raises:
            BenchError: where a box has no area.
        """
        boxes = boxes.double()
        extent = boxes[:, 2:] - boxes[:, :2]
        if bool((extent <= 0).any()):
            raise BenchError("a crop box needs x1 > x0 and y1 > y0")
        factor = extent.new_tensor([output_size[1], output_size[0]]) / extent
        return cls(_homogeneous(torch.diag_embed(factor), -boxes[:, :2] * factor), input_size, output_size)

    def then(self, later: AffineWarp) -> AffineWarp:
        """This warp followed by ``later``, as one warp (one interpolation)."""
        if self.output_size != later.input_size:
            raise BenchError(
                f"a warp to {self.output_size} cannot be followed by one from {later.input_size}"
            )
        return AffineWarp(later.matrix @ self.matrix, self.input_size, later.output_size)

    def inverse(self) -> AffineWarp:
        return AffineWarp(torch.linalg.inv(self.matrix), self.output_size, self.input_size)

    def to(self, device: torch.device | str) -> AffineWarp:
        return AffineWarp(self.matrix.to(device), self.input_size, self.output_size)

    # --- points and images ----------------------------------------------------------------------------------

    def move_points(self, points: Tensor) -> Tensor:
        """(B, N, 2) points of the input images -> the same points in the output images."""
        moved = points.double() @ self.matrix[:, :2, :2].mT + self.matrix[:, None, :2, 2]
        return moved.to(points.dtype)

    def source_of(self, points: Tensor) -> Tensor:
        """(B, N, 2) points of the output images -> where they come from in the input images."""
        return self.inverse().move_points(points)

    def warp_images(
        self, images: Tensor, padding: Literal["zeros", "border", "reflection"] = "zeros"
    ) -> Tensor:
        """(B, C, H, W) float images -> (B, C, H', W') of the output size.

        Raises:
            BenchError: where the images are not of the input size or not as many as the warps.
        """
        if images.shape[0] != len(self) or tuple(images.shape[-2:]) != self.input_size:
            raise BenchError(
                f"expected {len(self)} images of {self.input_size}, got {images.shape[0]} of "
                f"{tuple(images.shape[-2:])}"
            )
        to_unit, from_unit = (
            _unit_frame(self.input_size, self.matrix),
            _unit_frame(self.output_size, self.matrix),
        )
        theta = to_unit @ torch.linalg.inv(from_unit @ self.matrix)
        shape = [len(self), images.shape[1], *self.output_size]
        grid = F.affine_grid(theta[:, :2], shape, align_corners=False).to(images)
        return F.grid_sample(images, grid, mode="bilinear", padding_mode=padding, align_corners=False)


def _rows(entries: list[list[Tensor]]) -> Tensor:
    return torch.stack([torch.stack(row, -1) for row in entries], -2)


def _homogeneous(linear: Tensor, offset: Tensor) -> Tensor:
    matrix = torch.eye(3, dtype=linear.dtype, device=linear.device).repeat(len(linear), 1, 1)
    matrix[:, :2, :2], matrix[:, :2, 2] = linear, offset
    return matrix


def _unit_frame(size: Size, like: Tensor) -> Tensor:
    """The 3x3 matrix from pixels to [-1, 1] between the outer borders of the image."""
    return like.new_tensor([[2 / size[1], 0, -1], [0, 2 / size[0], -1], [0, 0, 1]])
