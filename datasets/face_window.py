"""The face window of DVE's 300-W loader: the box scaled to 52 px, in 100 x 100 px, zeros beyond the photograph."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from PIL import Image
from torch import Tensor

SIDE = 100
BOX_WIDTH = 52
RISE = 2  # the window's centre lies this much above the box's

_FILTERS = {"nearest": Image.Resampling.NEAREST, "bicubic": Image.Resampling.BICUBIC}


@dataclass(frozen=True)
class FaceWindow:
    """Where the window lies in the photograph once that is scaled.

    Attributes:
        factor: What the box's width is multiplied by to be 52.
        size: (width, height) of the photograph, and the whole pixels it is ``scaled`` to.
        left, top: Of the window, in whole pixels of the scaled photograph; may be negative.

    Reference: the 300-W loader of DVE's released code. Its arithmetic is MATLAB's and is kept: widths count both
        border pixels, the box's centre is half a pixel further than the mean of its edges.
    """

    factor: float
    size: tuple[int, int]
    scaled: tuple[int, int]
    left: int
    top: int

    @classmethod
    def around(cls, box: tuple[float, float, float, float], width: int, height: int) -> FaceWindow:
        """The window for a box (xmin, ymin, xmax, ymax), 1-based.

        Raises:
            ValueError: where the photograph vanishes at this scale.
        """
        x0, y0, x1, y1 = box
        box_width, box_height = x1 - x0 + 1, y1 - y0 + 1
        factor = BOX_WIDTH / box_width
        scaled = (int(factor * width), int(factor * height))
        if min(scaled) < 1:
            raise ValueError(f"the face is wider than {BOX_WIDTH} times a photograph of {width} x {height}")
        centre_x, centre_y = x0 + (box_width + 1) / 2, y0 + (box_height + 1) / 2
        return cls(
            factor=factor,
            size=(width, height),
            scaled=scaled,
            left=math.floor(factor * centre_x) - SIDE // 2,
            top=math.floor(factor * centre_y) - SIDE // 2 - RISE,
        )

    def image(self, photograph: Tensor, resize: Literal["nearest", "bicubic"]) -> Tensor:
        """(3, H, W) uint8 to (3, 100, 100) uint8."""
        # Pillow, not torch: the published numbers rest on its way to pick the nearest pixel.
        whole = Image.fromarray(photograph.permute(1, 2, 0).numpy()).resize(self.scaled, _FILTERS[resize])
        window = whole.crop((self.left, self.top, self.left + SIDE, self.top + SIDE))
        return (
            torch.frombuffer(bytearray(window.tobytes()), dtype=torch.uint8)
            .view(SIDE, SIDE, 3)
            .permute(2, 0, 1)
            .contiguous()
        )

    def exact(self, points: Tensor) -> Tensor:
        """Points of the photograph, corner origin, to the same spots of the window, corner origin."""
        ratio = torch.tensor(
            [self.scaled[0] / self.size[0], self.scaled[1] / self.size[1]], dtype=points.dtype
        )
        return points * ratio - self._origin(points)

    def official(self, points: Tensor) -> Tensor:
        """As the released code moves them: 1-based points scaled about 0, then made 0-based.

        Convention: corner origin in and out: the code's own 0-based result is this minus 0.5. It differs from
        ``exact`` by (1 - factor) / 2 and by what rounding the scaled size down does.
        """
        return self.factor * (points + 0.5) - self._origin(points) - 0.5

    def _origin(self, points: Tensor) -> Tensor:
        return torch.tensor([self.left, self.top], dtype=points.dtype)
