"""Cluttered, textured backgrounds."""

from __future__ import annotations

import math

import numpy as np
from scipy import ndimage

from datasets.procedural.arrays import FloatArray
from datasets.procedural.colour import linear
from datasets.procedural.light import Light
from datasets.procedural.noise import SIDE, tile


def _colour(rng: np.random.Generator) -> FloatArray:
    """(3, 1, 1), linear; more often greyish than not."""
    if rng.random() < 0.65:
        base = np.full(3, rng.uniform(15, 225)) + rng.normal(0, 14, 3)
    else:
        base = rng.uniform(20, 200) + rng.normal(0, 45, 3)
    return linear(np.clip(base, 3, 250).astype(np.float32))[:, None, None]


def _texture(rng: np.random.Generator, size: int) -> FloatArray:
    kinds = ("cloud", "grain", "strand", "curl")
    noise = tile(kinds[int(rng.integers(4))])
    zoom = float(rng.uniform(0.6, 2.0))
    index = (np.arange(size) * (128 / size) * zoom).astype(np.int64)
    rows, columns = (index + int(rng.integers(SIDE)) for _ in range(2))
    patch = noise[rows[:, None] % SIDE, columns[None] % SIDE]
    return patch.T if rng.random() < 0.5 else patch


def _shape(rng: np.random.Generator, x: FloatArray, y: FloatArray) -> FloatArray:
    """Coverage of a random rectangle, ellipse, stripe pattern or half plane, antialiased."""
    angle = rng.normal(0, 0.25) if rng.random() < 0.7 else rng.uniform(0, np.pi)
    along, across = np.cos(angle, dtype=np.float32), np.sin(angle, dtype=np.float32)
    cx, cy = rng.uniform(-0.1, 1.1), rng.uniform(-0.1, 1.1)
    u = (x - cx) * along + (y - cy) * across
    v = (y - cy) * along - (x - cx) * across
    a, b = math.exp(rng.uniform(-3.5, -0.7)), math.exp(rng.uniform(-3.5, -0.7))
    kind = int(rng.integers(5))
    if kind <= 1:
        inside = np.minimum(a - np.abs(u), b - np.abs(v))
    elif kind == 2:
        inside = (1.0 - np.hypot(u / a, v / b)) * min(a, b)
    elif kind == 3:
        period = rng.uniform(0.05, 0.25)
        inside = np.minimum(
            np.abs((u % period) - period / 2) - period * rng.uniform(0.1, 0.4), 0.5 - np.abs(v) * 0.5
        )
    else:
        inside = u
    return np.asarray(np.clip(inside * len(x) + 0.5, 0, 1), dtype=np.float32)


def paint_background(seed: int, size: int) -> FloatArray:
    """(S, S, 3) linear colour."""
    rng = np.random.Generator(np.random.PCG64(seed))
    y, x = np.meshgrid(*(2 * [(np.arange(size, dtype=np.float32) + 0.5) / size]), indexing="ij")
    t = np.clip(0.5 + (x - 0.5) * rng.normal(0, 0.8) + (y - 0.5) * rng.normal(0, 1), 0, 1)
    image: FloatArray = _colour(rng) * t + _colour(rng) * (1 - t)
    image = image * (1 + rng.uniform(0, 0.3) * _texture(rng, size))
    blur_at = int(rng.integers(2, 14))
    for layer in range(int(rng.integers(3, 16))):
        cover = _shape(rng, x, y) * np.float32(rng.uniform(0.4, 1.0))
        image += (_colour(rng) * (1 + rng.uniform(0, 0.3) * _texture(rng, size)) - image) * cover
        if layer == blur_at:
            image = _blurred(image, 2.0)
    if rng.random() < 0.25:
        for _ in range(int(rng.integers(4, 16))):
            cx, cy, r = rng.random(), rng.random(), rng.uniform(0.02, 0.08)
            disc = np.clip((r - np.hypot(x - cx, y - cy)) * size + 0.5, 0, 1)
            image += disc * _colour(rng) * np.float32(rng.uniform(0.3, 1.2))
    sigma = float(rng.choice((0.0, 0.8, 2.2)))
    if sigma:
        image = _blurred(image, sigma)
    image = np.clip(image, 0.0, 1.6) * np.float32(rng.uniform(0.5, 1.1))
    return np.ascontiguousarray(image.transpose(1, 2, 0), dtype=np.float32)


def _blurred(image: FloatArray, sigma: float) -> FloatArray:
    """Blur (3, S, S) by ``sigma`` pixels of a 128-pixel picture."""
    width = sigma * image.shape[-1] / 128
    return np.asarray(ndimage.gaussian_filter(image, (0, width, width), truncate=3.0))


def dimmed(background: FloatArray, light: Light) -> FloatArray:
    """A background under the lamps of the scene."""
    return background * (0.45 + 0.55 * (light.key + light.sky + light.ground) / 1.6)
