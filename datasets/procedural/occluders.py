"""Things between the camera and the subject, drawn as shaded flat shapes."""

from __future__ import annotations

from typing import Literal

import numpy as np
from scipy import ndimage

from datasets.procedural.arrays import FloatArray
from datasets.procedural.colour import linear
from datasets.procedural.noise import SIDE, tile

OccluderKind = Literal["hand", "microphone", "bar", "card", "blob"]

Layer = tuple[FloatArray, FloatArray]  # (S, S, 3) linear colour, (S, S) opacity


def _capsule(
    x: FloatArray, y: FloatArray, start: FloatArray, end: FloatArray, r0: float, r1: float
) -> FloatArray:
    """Height of a tapering rounded rod over the plane: positive inside, 1 on its spine."""
    along = end - start
    t = np.clip(
        ((x - start[0]) * along[0] + (y - start[1]) * along[1]) / max(float(along @ along), 1e-6), 0, 1
    )
    distance = np.hypot(x - start[0] - t * along[0], y - start[1] - t * along[1])
    return np.asarray(1.0 - distance / (r0 + (r1 - r0) * t), dtype=np.float32)


def _lit(inside: FloatArray, colour: FloatArray, light: FloatArray, brightness: FloatArray) -> FloatArray:
    """Shade a bulging shape: its height field gives the normals."""
    bulge = np.sqrt(np.clip(1.0 - (1.0 - np.clip(inside, 0, 1)) ** 2, 0, 1))
    slope_y, slope_x = np.gradient(ndimage.gaussian_filter(bulge, 0.8))
    normal = np.stack([-slope_x, -slope_y, np.full_like(slope_x, 0.22)], -1)
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
    diffuse = np.clip(normal @ light, 0, 1)
    return np.asarray(colour * (0.35 + 0.9 * diffuse)[..., None] * brightness, dtype=np.float32)


def draw_occluder(
    kind: OccluderKind,
    seed: int,
    size: int,
    face: tuple[float, float],
    unit: float,
    light: FloatArray,
    brightness: FloatArray,
    skin: FloatArray,
) -> Layer:
    """An occluder near the lower face.

    Args:
        face: Centre of the landmarks in pixels. unit: distance between the outer eye corners in pixels.
        light: (3,) direction towards the key light. brightness: (3,) overall level of light.
    """
    rng = np.random.Generator(np.random.PCG64(seed))
    y, x = np.meshgrid(*(2 * [np.arange(size, dtype=np.float32) + 0.5]), indexing="ij")
    x, y = (x - face[0]) / unit, (y - face[1]) / unit
    side = float(rng.choice((-1.0, 1.0)))
    tone = (
        linear(rng.uniform(10, 210, 3).astype(np.float32))
        if rng.random() < 0.6
        else np.full(3, 0.02, np.float32)
    )
    if kind == "hand":
        return _hand(rng, x, y, side, skin, light, brightness, unit)
    if kind == "microphone":
        head = np.array([rng.uniform(-0.35, 0.35), rng.uniform(0.3, 0.75)])
        foot = head + np.array([side * rng.uniform(0.2, 1.0), rng.uniform(0.9, 1.4)])
        stick, ball = _capsule(x, y, head, foot, 0.1, 0.08), _capsule(x, y, head, head, 0.2, 0.2)
        inside = np.maximum(stick, ball)
        mesh = 1.0 + 0.35 * np.sin(x * 70) * np.sin(y * 70) * (ball > 0)
        colour = np.where((ball > 0)[..., None], np.float32(0.12), np.float32(0.03)) * mesh[..., None]
    elif kind == "bar":
        angle = rng.normal(0, 0.35) + (np.pi / 2 if rng.random() < 0.4 else 0.0)
        offset, half = rng.uniform(-0.7, 0.7), rng.uniform(0.05, 0.16)
        inside = 1.0 - np.abs((x - offset) * np.cos(angle) + (y - offset) * np.sin(angle)) / half
        colour = np.broadcast_to(tone, (*x.shape, 3))
    elif kind == "card":
        angle = rng.normal(0, 0.4)
        cx, cy = side * rng.uniform(0.2, 0.9), rng.uniform(-0.2, 0.9)
        u = (x - cx) * np.cos(angle) + (y - cy) * np.sin(angle)
        v = (y - cy) * np.cos(angle) - (x - cx) * np.sin(angle)
        inside = 4 * np.minimum(rng.uniform(0.25, 0.5) - np.abs(u), rng.uniform(0.25, 0.55) - np.abs(v))
        stripes = 1.0 - 0.5 * (np.sin(v * 40) > 0.2) * (np.sin(u * 17 + 9 * np.floor(v * 6.4)) > -0.4)
        colour = tone * stripes[..., None]
    else:
        cx, cy = side * rng.uniform(0.5, 1.1), rng.uniform(-0.6, 1.1)
        bend = 0.12 * np.sin(3 * np.arctan2(y - cy, x - cx) + rng.uniform(0, 6))
        inside = 1.0 - np.hypot((x - cx) / rng.uniform(0.3, 0.7), (y - cy) / rng.uniform(0.3, 0.7)) + bend
        where = (np.arange(x.shape[0]) * 2) % SIDE
        colour = tone * (1 + 0.3 * tile("cloud")[where[:, None], where[None]])[..., None]
    opacity = np.clip(inside * unit * 0.2 + 0.5, 0, 1)
    if kind == "blob":
        opacity = np.clip(inside * unit * 0.06 + 0.5, 0, 1)
    colour = np.asarray(np.clip(colour, 0.003, 1.0), dtype=np.float32)
    return _lit(inside.astype(np.float32), colour, light, brightness), np.asarray(opacity, dtype=np.float32)


def _hand(
    rng: np.random.Generator,
    x: FloatArray,
    y: FloatArray,
    side: float,
    skin: FloatArray,
    light: FloatArray,
    brightness: FloatArray,
    unit: float,
) -> Layer:
    """Four fingers and a thumb on a palm that comes from below or from the side."""
    heading = rng.uniform(0.5, 1.35)
    ahead = np.array([-side * np.cos(heading), -np.sin(heading)])
    across = np.array([-ahead[1], ahead[0]])
    palm = np.array([side * rng.uniform(0.45, 0.85), rng.uniform(0.75, 1.15)])
    spread = rng.uniform(0.02, 0.12)
    rods = [(palm - 0.1 * ahead, palm - 1.6 * ahead, 0.3, 0.26)]
    rods.append((palm - 0.05 * ahead - 0.12 * across, palm - 0.05 * ahead + 0.16 * across, 0.27, 0.24))
    for finger, length in zip((-1.5, -0.5, 0.5, 1.5), (0.55, 0.66, 0.62, 0.48), strict=True):
        root = palm + 0.12 * ahead + 0.15 * finger * across
        tip = root + (length * rng.uniform(0.75, 1.05)) * (ahead + spread * finger * across)
        rods.append((root, tip, 0.088, 0.065))
    thumb = palm - 0.1 * ahead - side * 0.3 * across
    rods.append((thumb, thumb + 0.38 * (0.7 * ahead - side * 0.7 * across), 0.1, 0.075))
    colour = np.zeros((*x.shape, 3), dtype=np.float32)
    opacity = np.zeros_like(x)
    tinted = skin * np.array([1.0, 0.9, 0.88], dtype=np.float32)
    for start, end, r0, r1 in rods:
        inside = _capsule(x, y, start, end, r0, r1)
        alpha = np.clip(inside * unit * r1 + 0.5, 0, 1)
        near = np.clip(1.0 - 0.5 * np.clip((inside + 0.35) / 0.35, 0, 1), 0, 1)[..., None]
        # Each rod shadows what lies under it, so that fingers stay apart.
        colour *= near
        colour += (_lit(inside, tinted, light, brightness) - colour) * alpha[..., None]
        opacity = np.maximum(opacity, alpha)
    return colour, np.asarray(opacity, dtype=np.float32)
