"""From linear light to an 8-bit picture: lens, sensor, colour, compression."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import fft, ndimage

from datasets.procedural.arrays import FloatArray
from datasets.procedural.draws import between

_BLOCK = 8
_FREQUENCY = np.add.outer(np.arange(_BLOCK), np.arange(_BLOCK)).astype(np.float32)


@dataclass(frozen=True, eq=False)
class Camera:
    """What happens between the scene and the file."""

    exposure: float
    contrast: float
    saturation: float
    tint: FloatArray
    blur: float
    motion: tuple[float, float]
    noise: float
    quality: float
    shrink: float


def draw_camera(rng: np.random.Generator) -> Camera:
    """From a sharp, colourful picture to a small, shaken, compressed one."""
    moving = rng.random() < 0.12
    return Camera(
        exposure=float(np.exp(rng.normal(0.05, 0.2))),
        contrast=between(rng, 0.85, 1.25),
        saturation=0.0 if rng.random() < 0.05 else between(rng, 0.6, 1.25),
        tint=np.asarray(rng.normal(1.0, 0.05, 3), dtype=np.float32),
        blur=between(rng, 0.25, 0.7) if rng.random() < 0.8 else between(rng, 0.7, 1.5),
        motion=(float(rng.normal(0, 1.6)), float(rng.normal(0, 1.0))) if moving else (0.0, 0.0),
        noise=float(rng.exponential(0.008)),
        quality=between(rng, 0.0, 1.0),
        shrink=between(rng, 0.4, 0.8) if rng.random() < 0.15 else 1.0,
    )


def develop(scene: FloatArray, camera: Camera, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """(S, S, 3) linear colour to (S, S, 3) uint8 sRGB."""
    size = len(scene)
    image = _optics(scene, camera, size / 128)
    image = image * camera.tint * np.float32(camera.exposure)
    # A shoulder keeps highlights from clipping at once.
    image = np.where(image > 0.6, 0.6 + 0.4 * np.tanh((image - 0.6) / 0.5), image)
    image = np.clip(image, 0.0, 1.0) ** np.float32(1 / 2.2)
    grey = image @ np.array([0.299, 0.587, 0.114], dtype=np.float32)
    image = grey[..., None] + (image - grey[..., None]) * np.float32(camera.saturation)
    image = 0.45 + (image - 0.45) * np.float32(camera.contrast)
    image = image + rng.standard_normal(image.shape, dtype=np.float32) * np.float32(camera.noise)
    image = _compressed(np.clip(image, 0, 1), camera.quality)
    return np.asarray(np.clip(image * 255.0 + 0.5, 0, 255), dtype=np.uint8)


def _optics(scene: FloatArray, camera: Camera, per: float) -> FloatArray:
    image, size = scene, len(scene)
    if camera.shrink < 1.0:
        image = ndimage.gaussian_filter(image, (0.35 / camera.shrink, 0.35 / camera.shrink, 0))
        small = round(size * camera.shrink)
        down = _sampling(size, (np.arange(small) + 0.5) * (size / small))
        up = _sampling(small, (np.arange(size) + 0.5) * (small / size))
        image = _resampled(image, up @ down, up @ down)
    sigma = camera.blur * per
    image = ndimage.gaussian_filter(image, (sigma, sigma, 0), truncate=3.0)
    dx, dy = camera.motion
    if dx or dy:
        steps = np.linspace(-0.5, 0.5, 5)
        centres = np.arange(size) + 0.5
        paths = [
            (_sampling(size, centres + dy * per * s), _sampling(size, centres + dx * per * s)) for s in steps
        ]
        image = np.mean([_resampled(image, rows, columns) for rows, columns in paths], axis=0)
    return np.asarray(image, dtype=np.float32)


def _sampling(length: int, positions: FloatArray) -> FloatArray:
    """(P, length) matrix of linear interpolation at positions, corner origin, edges repeated."""
    at = np.clip(positions - 0.5, 0, length - 1)
    return np.asarray(np.clip(1.0 - np.abs(at[:, None] - np.arange(length)), 0, 1), dtype=np.float32)


def _resampled(image: FloatArray, rows: FloatArray, columns: FloatArray) -> FloatArray:
    """Apply a matrix along the height and another along the width of (H, W, 3)."""
    tall = np.tensordot(rows, image, axes=(1, 0))
    return np.asarray(np.tensordot(columns, tall, axes=(1, 1)).transpose(1, 0, 2))


def _compressed(image: FloatArray, quality: float) -> FloatArray:
    """Quantise the 8 x 8 cosine coefficients of luma and chroma, coarser for high frequencies."""
    size = len(image)
    pad = -size % _BLOCK
    padded = np.pad(image, ((0, pad), (0, pad), (0, 0)), mode="edge")
    luma = padded @ np.array([0.299, 0.587, 0.114], dtype=np.float32)
    planes = np.stack([luma, padded[..., 0] - luma, padded[..., 2] - luma])
    n = len(luma) // _BLOCK
    blocks = planes.reshape(3, n, _BLOCK, n, _BLOCK).transpose(0, 1, 3, 2, 4)
    coefficients = fft.dctn(blocks, axes=(-2, -1), norm="ortho")
    step = (0.012 + 0.012 * _FREQUENCY) * np.float32(2.2 - 2.0 * quality)
    steps = np.stack([step, 2 * step, 2 * step])[:, None, None]
    blocks = fft.idctn(np.round(coefficients / steps) * steps, axes=(-2, -1), norm="ortho")
    luma, red, blue = blocks.transpose(0, 1, 3, 2, 4).reshape(3, n * _BLOCK, n * _BLOCK)
    green = luma - (0.299 * red + 0.114 * blue) / 0.587
    return np.stack([luma + red, green, luma + blue], -1)[:size, :size].astype(np.float32)
