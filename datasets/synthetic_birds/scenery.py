"""Backgrounds out of focus: foliage, sky, reeds."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from bench.seeds import numpy_generator
from datasets.procedural.arrays import FloatArray
from datasets.procedural.background import paint_background
from datasets.procedural.colour import linear
from datasets.procedural.noise import SIDE, tile

_GREENS = (
    (84, 110, 58),
    (124, 142, 76),
    (52, 74, 44),
    (150, 148, 92),
    (110, 96, 74),
    (74, 92, 84),
    (158, 132, 96),
)
_SKIES = ((150, 184, 220), (196, 210, 222), (112, 156, 208), (222, 224, 226), (232, 206, 182))


def _grid(size: int) -> tuple[FloatArray, FloatArray]:
    at = (np.arange(size, dtype=np.float32) + 0.5) / size
    return np.broadcast_to(at[:, None], (size, size)), np.broadcast_to(at[None], (size, size))


def _clouds(rng: np.random.Generator, size: int, zoom: float) -> FloatArray:
    index = (np.arange(size) * (128 / size) * zoom).astype(np.int64)
    rows, columns = (index + int(rng.integers(SIDE)) for _ in range(2))
    return tile("cloud")[rows[:, None] % SIDE, columns[None] % SIDE]


def _pick(rng: np.random.Generator, palette: tuple[tuple[int, int, int], ...]) -> FloatArray:
    colour = linear(palette[int(rng.integers(len(palette)))])
    return np.asarray(colour * rng.uniform(0.55, 1.35) * rng.normal(1, 0.07, 3), dtype=np.float32)


def _blurred(image: FloatArray, sigma: float) -> FloatArray:
    width = sigma * len(image) / 128
    return np.asarray(ndimage.gaussian_filter(image, (width, width, 0), truncate=2.5))


def _enlarged(image: FloatArray, size: int) -> FloatArray:
    """(S, S, 3) by linear interpolation between pixel centres."""
    at = (np.arange(size) + 0.5) * (len(image) / size) - 0.5
    weights = np.clip(1.0 - np.abs(np.clip(at, 0, len(image) - 1)[:, None] - np.arange(len(image))), 0, 1)
    wide = np.tensordot(weights.astype(np.float32), image, axes=(1, 0))
    return np.ascontiguousarray((weights.astype(np.float32) @ wide), dtype=np.float32)


def foliage(size: int, seed: int) -> FloatArray:
    """(S, S, 3) linear colour: leaves and light between them, far out of focus."""
    rng = numpy_generator(seed, "synthetic-birds", "foliage")
    # Blurred anyway: half the resolution is enough.
    picture, size = size, (size + 1) // 2
    y, x = _grid(size)
    base, other = _pick(rng, _GREENS), _pick(rng, _GREENS)
    image = base + (other - base) * np.clip(0.5 + 0.45 * _clouds(rng, size, 1.0) + (y - 0.5), 0, 1)[..., None]
    for _ in range(int(rng.integers(8, 40))):
        cx, cy, radius = (np.float32(v) for v in rng.uniform((-0.1, -0.1, 0.02), (1.1, 1.1, 0.16)))
        disc = np.clip((radius - np.hypot(x - cx, (y - cy) * np.float32(rng.uniform(0.6, 1.6)))) * size, 0, 1)
        glow = _pick(rng, _GREENS) * np.float32(rng.choice((0.4, 1.0, 1.8)))
        image += (disc * np.float32(rng.uniform(0.3, 0.9)))[..., None] * (glow - image)
    for _ in range(int(rng.integers(0, 6))):
        angle, offset, half = rng.normal(1.2, 0.5), rng.uniform(-0.3, 1.0), rng.uniform(0.004, 0.04)
        line = np.abs(x * np.sin(angle) - y * np.cos(angle) - offset)
        stick = np.clip((half - line) * size, 0, 1) * np.float32(rng.uniform(0.4, 0.9))
        image += stick[..., None] * (_pick(rng, ((70, 58, 48), (120, 108, 92))) - image)
    image = _blurred(np.clip(image, 0.003, 1.5), float(rng.choice((0.6, 2.5, 5.0))))
    return _enlarged(image, picture)


def sky(size: int, seed: int) -> FloatArray:
    """(S, S, 3) linear colour: sky with or without clouds, sometimes trees at its foot."""
    rng = numpy_generator(seed, "synthetic-birds", "sky")
    y, _ = _grid(size)
    top, bottom = _pick(rng, _SKIES), _pick(rng, _SKIES)
    image = top + (bottom - top) * y[..., None]
    white = np.float32(rng.uniform(0, 0.7)) * np.clip(_clouds(rng, size, 0.8) - rng.uniform(-0.5, 1), 0, 1)
    image = image + white[..., None] * (linear((240, 240, 242)) - image)
    if rng.random() < 0.4:
        line = rng.uniform(0.6, 0.95) + 0.02 * _clouds(rng, size, 1.5)[0]
        trees = np.clip((y - line[None]) * size * 0.5, 0, 1)[..., None]
        image = image + trees * (
            _pick(rng, _GREENS) * (0.6 + 0.15 * _clouds(rng, size, 2.0))[..., None] - image
        )
    return np.clip(_blurred(image, float(rng.uniform(0.8, 3.0))), 0.003, 1.5).astype(np.float32)


def clutter(size: int, seed: int) -> FloatArray:
    """(S, S, 3) linear colour: gardens, feeders and houses, as far as one can tell."""
    return paint_background(seed, size)
