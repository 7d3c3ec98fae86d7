"""What is behind and in front of a signer on television: sets, programmes, captions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from datasets.procedural.arrays import FloatArray
from datasets.procedural.background import paint_background
from datasets.procedural.camera import Camera, draw_camera
from datasets.procedural.category import Backdrop, Cover
from datasets.procedural.colour import linear
from datasets.procedural.draws import between
from datasets.procedural.light import Light, direction, draw_light

_PAN = 1.2  # a panned programme is painted this much larger than the picture


def draw_studio_light(rng: np.random.Generator) -> Light:
    """Mostly a soft lamp from the front above; sometimes any light."""
    light = draw_light(rng)
    if rng.random() < 0.25:
        return light
    key = np.asarray(rng.normal(1.0, 0.03, 3), dtype=np.float32) * np.float32(between(rng, 0.6, 0.95))
    fill = np.float32(between(rng, 0.3, 0.5))
    return replace(
        light,
        direction=direction(between(rng, -40, 40), between(rng, 15, 50)),
        key=key,
        sky=key * fill,
        ground=key * fill * np.float32(0.6),
        softness=between(rng, 0.12, 0.25),
    )


def draw_broadcast_camera(rng: np.random.Generator) -> Camera:
    """A television camera: exposed well, never black and white."""
    camera = draw_camera(rng)
    return replace(
        camera,
        exposure=float(np.clip(camera.exposure, 0.85, 1.15)),
        saturation=between(rng, 0.8, 1.2),
        blur=min(camera.blur, 0.9),
        motion=(0.0, 0.0),
    )


def _grid(size: int) -> tuple[FloatArray, FloatArray]:
    at = (np.arange(size, dtype=np.float32) + 0.5) / size
    x, y = np.meshgrid(at, at)
    return x, y


def _edge(distance: FloatArray, size: int) -> FloatArray:
    """Coverage of what is inside, from a signed distance in shares of the picture."""
    return np.asarray(np.clip(distance * size + 0.5, 0, 1), dtype=np.float32)[..., None]


def _studio(seed: int, size: int) -> FloatArray:
    """A lit wall with panels of light, a desk-high rail and a floor."""
    rng = np.random.Generator(np.random.PCG64(seed))
    x, y = _grid(size)
    tint = np.clip(rng.uniform(15, 110) + rng.normal(0, 30, 3), 5, 190)
    base = linear(tint.astype(np.float32))
    glow = np.exp(-(((x - rng.uniform(0.1, 0.9)) / 0.5) ** 2) - (((y - rng.uniform(0.0, 0.7)) / 0.6) ** 2))
    image = base * (0.5 + 1.1 * glow[..., None])
    accent = linear(np.clip(rng.uniform(40, 235, 3), 5, 250).astype(np.float32))
    slant = rng.normal(0, 0.12)
    for _ in range(int(rng.integers(1, 6))):
        middle, half = rng.uniform(0, 1), rng.uniform(0.01, 0.09)
        bar = _edge(half - np.abs(x + slant * y - middle), size)
        image = image + (accent * between(rng, 0.2, 1.0) - image) * bar * np.float32(rng.uniform(0.2, 0.8))
    if rng.random() < 0.5:
        low = rng.uniform(0.6, 0.9)
        image = image + (base * np.float32(rng.uniform(0.2, 1.8)) - image) * _edge(y - low, size)
    if rng.random() < 0.4:
        across, down = rng.uniform(0.1, 0.9), rng.uniform(0.1, 0.5)
        wide, high = rng.uniform(0.1, 0.25), rng.uniform(0.08, 0.18)
        frame = _edge(np.minimum(wide - np.abs(x - across), high - np.abs(y - down)), size)
        screen = paint_background(int(rng.integers(1 << 31)), max(size // 2, 16))
        shown = np.kron(screen, np.ones((2, 2, 1), dtype=np.float32))
        shown = np.pad(shown, ((0, max(size - len(shown), 0)),) * 2 + ((0, 0),), mode="edge")[:size, :size]
        image = image + (shown - image) * frame
    return np.asarray(np.clip(image, 0, 1.4), dtype=np.float32)


def _programme(seed: int, size: int, pan: tuple[float, float]) -> FloatArray:
    """A window of a larger picture, at (0 to 1, 0 to 1) of the room there is."""
    wide = paint_background(seed, round(size * _PAN))
    left, top = (round(share * (len(wide) - size)) for share in pan)
    return np.ascontiguousarray(wide[top : top + size, left : left + size])


def draw_backdrop(rng: np.random.Generator, progress: float) -> Backdrop:
    """A studio, or the programme that is being signed; it moves as ``progress`` goes from 0 to 1."""
    seed, kind = int(rng.integers(1 << 31)), rng.random()
    start, stop = rng.random(2), rng.random(2)
    if kind < 0.5:
        return lambda size: _studio(seed, size)
    if kind < 0.7:
        return lambda size: paint_background(seed, size)
    x, y = start + (stop - start) * progress
    return lambda size: _programme(seed, size, (float(x), float(y)))


def draw_caption(rng: np.random.Generator) -> Cover:
    """A banner with lines of writing at the picture's lower edge, and a station's logo in a corner."""
    top, high = between(rng, 0.8, 0.88), between(rng, 0.08, 0.12)
    left, right = between(rng, 0.0, 0.15), between(rng, 0.75, 1.0)
    panel = linear(np.clip(rng.uniform(5, 250, 3), 3, 250).astype(np.float32))
    ink = np.float32(0.03 if panel.mean() > 0.25 else 0.85)
    words = np.cumsum(rng.uniform(0.03, 0.09, 30))
    corner = float(rng.choice((0.1, 0.9)))
    solid = between(rng, 0.75, 1.0)

    def cover(size: int) -> tuple[FloatArray, FloatArray]:
        x, y = _grid(size)
        banner = _edge(np.minimum(np.minimum(x - left, right - x), np.minimum(y - top, top + high - y)), size)
        row = (y - top) / high * 2 % 1
        word = np.searchsorted(words, x - left + 0.37 * np.floor((y - top) / high * 2)) % 4
        letters = ((np.sin(x * 260) > -0.5) & (row > 0.3) & (row < 0.75) & (word > 0))[..., None]
        inked = letters * _edge(np.minimum(x - left - 0.03, right - 0.06 - x), size)
        logo = _edge(0.045 - np.maximum(np.abs(x - corner), 1.6 * np.abs(y - 0.07)), size)
        colour = panel * (1 - inked) + ink * inked
        colour = colour * (1 - logo) + np.float32(0.8) * logo
        return colour.astype(np.float32), np.maximum(solid * banner, 0.6 * logo)[..., 0].astype(np.float32)

    return cover
