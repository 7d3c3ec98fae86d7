"""Image files to RGB tensors, with every failure told by the file's name."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from bench.errors import BenchError

# What Pillow's decoders raise for damaged files, besides OSError.
_DAMAGE = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error, Image.DecompressionBombError)

_EXIF_ORIENTATION = 0x0112


def stored_size(path: Path) -> tuple[int, int]:
    """(width, height) of the stored pixels, from the file's header.

    Raises:
        BenchError: where the file is missing or is no image.
    """
    try:
        with Image.open(path) as image:
            return image.size
    except _DAMAGE as error:
        raise _unreadable(path, error) from error


def is_turned_by_exif(path: Path) -> bool:
    """Whether viewers show this image with its sides swapped (EXIF orientations 5 to 8)."""
    try:
        with Image.open(path) as image:
            return int(image.getexif().get(_EXIF_ORIENTATION, 1)) >= 5
    except _DAMAGE as error:
        raise _unreadable(path, error) from error


def read_rgb(path: Path) -> Tensor:
    """Decode an image completely.

    Grey, palette, CMYK and 16-bit images become 8-bit RGB; 16 bits are scaled by 255 / 65535. Transparency is
    dropped: the stored colour counts. The EXIF orientation is not applied: landmarks refer to stored pixels.

    Shapes:
        Returns (3, H, W), uint8.

    Raises:
        BenchError: names the file where it is missing, truncated, damaged or no image of 8 or 16 bits.
    """
    try:
        with Image.open(path) as image:
            image.load()
            pixels = _rgb(image)
    except _DAMAGE as error:
        raise _unreadable(path, error) from error
    if pixels is None:
        raise BenchError(
            f"image {path} has pixels of mode {image.mode!r}, which have no 8-bit equivalent",
            hint="Convert it to 8-bit RGB or grey.",
        )
    return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()


def _rgb(image: Image.Image) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]] | None:
    if image.mode.startswith("I"):  # 16-bit grey; Pillow's own conversion clips at 255 instead of scaling
        wide = np.asarray(image).astype(np.int64)
        if wide.min() < 0 or wide.max() > 65535:
            return None
        grey = np.rint(wide / 257).astype(np.uint8)
        return np.repeat(grey[:, :, None], 3, axis=2)
    if image.mode == "F":
        return None
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")  # Pillow warns about the direct way
    return np.array(image.convert("RGB"))


def _unreadable(path: Path, error: BaseException) -> BenchError:
    if isinstance(error, FileNotFoundError):
        return BenchError(f"image {path} is missing")
    if isinstance(error, UnidentifiedImageError):
        return BenchError(
            f"{path} is not an image that can be read", hint="Replace it, e.g. by a PNG or JPEG."
        )
    return BenchError(
        f"image {path} is damaged: {error}", hint="Copy it again from its source, or remove its annotation."
    )
