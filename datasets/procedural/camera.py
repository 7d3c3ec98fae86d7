"""From linear light to an 8-bit picture: lens, sensor, colour, compression."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from datasets.procedural.arrays import Array, FloatArray
from datasets.procedural.backend import HOST, Backend
from datasets.procedural.draws import between

_BLOCK = 8
_FREQUENCY = np.add.outer(np.arange(_BLOCK), np.arange(_BLOCK)).astype(np.float32)
_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)


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


def develop(
    scenes: Array, cameras: Sequence[Camera], grains: Sequence[np.random.Generator], on: Backend = HOST
) -> Array:
    """(B, S, S, 3) linear colour to (B, S, S, 3) uint8 sRGB.

    Args:
        cameras: One a picture.
        grains: One a picture; draws the sensor's noise.
    """
    xp, shape = on.xp, tuple(scenes.shape[1:])

    def each(values: Sequence[float | FloatArray]) -> Array:
        return on.array(np.asarray(values, dtype=np.float32).reshape(len(cameras), 1, 1, -1))

    image = _optics(scenes, cameras, on)
    image = image * each([c.tint for c in cameras]) * each([c.exposure for c in cameras])
    # A shoulder keeps highlights from clipping at once.
    image = xp.where(image > 0.6, 0.6 + 0.4 * xp.tanh((image - 0.6) / 0.5), image)
    image = xp.clip(image, 0.0, 1.0) ** (1 / 2.2)
    grey = (image @ on.array(_LUMA))[..., None]
    image = grey + (image - grey) * each([c.saturation for c in cameras])
    image = 0.45 + (image - 0.45) * each([c.contrast for c in cameras])
    noise = np.stack([grain.standard_normal(shape, dtype=np.float32) for grain in grains])
    image = image + on.array(noise) * each([c.noise for c in cameras])
    image = _compressed(xp.clip(image, 0, 1), [c.quality for c in cameras], on)
    return on.cast(xp.clip(image * 255.0 + 0.5, 0, 255), "uint8")


def _optics(scenes: Array, cameras: Sequence[Camera], on: Backend) -> Array:
    """What a small sensor, a lens and a moving hand make of the scenes."""
    size = scenes.shape[1]
    per = size / 128
    images = list(scenes)
    small = [b for b, camera in enumerate(cameras) if camera.shrink < 1.0]
    if small:
        chosen = on.xp.stack([images[b] for b in small])
        smooth = on.blurred(chosen, [0.35 / cameras[b].shrink for b in small], truncate=4.0)
        matrices = np.stack([_shrinking(size, cameras[b].shrink) for b in small])
        _put(images, small, on.resampled(smooth, matrices, matrices))
    images = list(on.blurred(on.xp.stack(images), [camera.blur * per for camera in cameras], truncate=3.0))
    moving = [b for b, camera in enumerate(cameras) if any(camera.motion)]
    if moving:
        chosen = on.xp.stack([images[b] for b in moving])
        shifts = np.array([cameras[b].motion for b in moving]) * per
        _put(images, moving, _while_moving(chosen, shifts, on))
    return on.xp.stack(images)


def _put(images: list[Array], places: Sequence[int], results: Array) -> None:
    for place, result in zip(places, results, strict=True):
        images[place] = result


def _while_moving(images: Array, shifts: FloatArray, on: Backend) -> Array:
    """The mean over the exposure, in which the images (B, S, S, 3) move by (B, 2) pixels (x, y)."""
    size = images.shape[1]
    centres = np.arange(size) + 0.5
    passing = []
    for step in np.linspace(-0.5, 0.5, 5):
        across, down = (
            np.stack([_sampling(size, centres + shift * step) for shift in shifts[:, axis]])
            for axis in (0, 1)
        )
        passing.append(on.resampled(images, down, across))
    return on.xp.stack(passing).mean(0)


def _shrinking(size: int, share: float) -> FloatArray:
    """(size, size) matrix that samples at a share of the size and back."""
    small = round(size * share)
    down = _sampling(size, (np.arange(small) + 0.5) * (size / small))
    up = _sampling(small, (np.arange(size) + 0.5) * (small / size))
    return up @ down


def _sampling(length: int, positions: FloatArray) -> FloatArray:
    """(P, length) matrix of linear interpolation at positions, corner origin, edges repeated."""
    at = np.clip(positions - 0.5, 0, length - 1)
    return np.asarray(np.clip(1.0 - np.abs(at[:, None] - np.arange(length)), 0, 1), dtype=np.float32)


def _compressed(images: Array, qualities: Sequence[float], on: Backend) -> Array:
    """Quantise the 8 x 8 cosine coefficients of luma and chroma, coarser for high frequencies."""
    xp, (count, size) = on.xp, images.shape[:2]
    n = -(-size // _BLOCK)
    if n * _BLOCK > size:
        edge = on.array(np.minimum(np.arange(n * _BLOCK), size - 1))
        images = images[:, edge][:, :, edge]
    luma = images @ on.array(_LUMA)
    planes = xp.stack([luma, images[..., 0] - luma, images[..., 2] - luma])
    blocks = xp.swapaxes(planes.reshape(3, count, n, _BLOCK, n, _BLOCK), 3, 4)
    strength = np.array([2.2 - 2.0 * quality for quality in qualities], dtype=np.float32)
    step = (0.012 + 0.012 * _FREQUENCY) * strength[:, None, None]
    steps = on.array(np.stack([step, 2 * step, 2 * step])[:, :, None, None])
    blocks = on.from_cosines(xp.round(on.cosines(blocks) / steps) * steps)
    luma, red, blue = xp.swapaxes(blocks, 3, 4).reshape(3, count, n * _BLOCK, n * _BLOCK)
    green = luma - (0.299 * red + 0.114 * blue) / 0.587
    return xp.stack([luma + red, green, luma + blue], -1)[:, :size, :size]
