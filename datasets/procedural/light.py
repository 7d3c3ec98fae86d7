"""The lamps of a scene."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from datasets.procedural.arrays import FloatArray
from datasets.procedural.draws import between


@dataclass(frozen=True, eq=False)
class Light:
    """Illumination, linear RGB.

    Shapes:
        direction, rim_direction: (3,), unit, towards the light. key, sky, ground, rim: (3,).
    """

    direction: FloatArray
    key: FloatArray
    sky: FloatArray
    ground: FloatArray
    rim_direction: FloatArray
    rim: FloatArray
    softness: float


def direction(azimuth: float, elevation: float) -> FloatArray:
    """(3,) unit vector in the view, from degrees: azimuth to the image's right, elevation up; (0, 0) is the viewer."""
    a, e = np.radians((azimuth, elevation))
    return np.array([np.sin(a) * np.cos(e), -np.sin(e), np.cos(a) * np.cos(e)], dtype=np.float32)


def draw_light(rng: np.random.Generator) -> Light:
    """From flat studio light to a single hard lamp at the side."""
    warmth = rng.normal(0, 1)
    warm = np.array([1 + 0.08 * warmth, 1.0, 1 - 0.1 * warmth], dtype=np.float32)
    hard = between(rng, 0.0, 1.0)
    if rng.random() < 0.06:
        warm = warm * np.asarray(rng.uniform(0.35, 1.2, 3), dtype=np.float32)
    strength = between(rng, 0.55, 1.15) * (0.6 + 0.7 * hard)
    ambient = (0.62 - 0.45 * hard) * between(rng, 0.6, 1.2)
    cool = 2.0 - warm
    rim = between(rng, 0.3, 1.1) if rng.random() < 0.3 else 0.0
    return Light(
        direction=direction(float(np.clip(rng.normal(0, 38), -85, 85)), between(rng, -12, 62)),
        key=warm * np.float32(strength),
        sky=cool * np.float32(ambient),
        ground=warm * np.float32(ambient * between(rng, 0.25, 0.9)),
        rim_direction=direction(float(rng.choice([-1, 1])) * between(rng, 100, 140), between(rng, 0, 40)),
        rim=np.asarray(rng.uniform(0.6, 1.0, 3), dtype=np.float32) * np.float32(rim),
        softness=between(rng, 0.04, 0.2),
    )
