"""How heads differ and move: linear displacement fields over the template, one per named trait or movement.

A coefficient of 1 is about one standard deviation of a trait, or a full movement (a closed eye, an open jaw).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import numpy as np

from bench.errors import BenchError, did_you_mean
from datasets.procedural.arrays import FloatArray
from datasets.procedural.mesh import bump, paired, ramp
from datasets.synthetic_faces.head import AXIS_Z, eye_parameter, head_mesh
from datasets.synthetic_faces.layout import LID_DROP, LID_RISE, lid_height

_SEAM = 0.793  # height of the line between the lips
_HINGE = (0.25, 0.0)  # height and depth of the jaw's axis

Fields = dict[str, FloatArray]


def _field(
    x: FloatArray | float = 0.0, y: FloatArray | float = 0.0, z: FloatArray | float = 0.0
) -> FloatArray:
    return np.stack(np.broadcast_arrays(x, y, z, np.zeros(len(head_mesh().vertices)))[:3], -1).astype(
        np.float32
    )


@cache
def traits() -> Fields:
    """(V, 3) fields of what distinguishes one head from another."""
    mesh = head_mesh()
    x, y, z = mesh.vertices.T
    side = np.sign(x) * np.clip(np.abs(x) / 0.05, 0, 1)
    front = ramp(z, -0.2, 0.3)
    eye = paired(x, y, (0.36, 0.0), (0.13, 0.1)) * front
    nose = np.exp(-((np.abs(x) / 0.2) ** 4)).astype(np.float32) * front
    face = ramp(y, 1.75, 1.4)
    return {
        "face_width": _field(x=0.045 * x * face),
        "face_length": _field(y=0.055 * np.clip(y, 0, None) * (1 - 0.5 * ramp(y, 1.4, 2.0))),
        "skull_height": _field(y=-0.07 * ramp(y, -0.3, -1.3)),
        "head_depth": _field(z=0.04 * (z - AXIS_Z) * face),
        "jaw_width": _field(x=0.075 * x * ramp(y, 0.25, 0.9) * face),
        "chin_length": _field(y=0.05 * ramp(y, 0.95, 1.3) * face * front),
        "chin_forward": _field(z=0.05 * bump(x, y, (0, 1.2), (0.3, 0.15)) * front),
        "cheekbones": _field(
            x=0.02 * side * paired(x, y, (0.62, 0.28), (0.2, 0.13)),
            z=0.035 * paired(x, y, (0.52, 0.28), (0.16, 0.1)) * front,
        ),
        "cheek_fat": _field(
            x=0.05 * side * paired(x, y, (0.65, 0.75), (0.2, 0.25)),
            z=0.05 * paired(x, y, (0.5, 0.7), (0.15, 0.2)) * front,
        ),
        "forehead_slope": _field(z=-0.07 * ramp(y, -0.2, -0.9) * front),
        "brow_ridge": _field(z=0.03 * paired(x, y, (0.35, -0.2), (0.2, 0.07)) * front),
        "brow_height": _field(y=-0.025 * paired(x, y, (0.43, -0.23), (0.25, 0.06)) * front),
        "brow_tilt": _field(y=-0.1 * (np.abs(x) - 0.43) * paired(x, y, (0.43, -0.23), (0.2, 0.06)) * front),
        "eye_spacing": _field(x=0.022 * side * paired(x, y, (0.36, 0.0), (0.17, 0.13)) * front),
        "eye_size": _field(x=0.07 * side * (np.abs(x) - 0.36) * eye, y=0.14 * y * eye),
        "eye_slant": _field(y=-0.1 * (np.abs(x) - 0.36) * eye),
        "eye_depth": _field(z=-0.02 * paired(x, y, (0.34, 0.0), (0.16, 0.12)) * front),
        "nose_length": _field(y=0.035 * ramp(y, 0.0, 0.45) * ramp(y, 0.75, 0.54) * nose),
        "nose_width": _field(x=0.16 * x * bump(x, y, (0, 0.47), (0.16, 0.08)) * front),
        "nose_bridge": _field(z=0.03 * bump(x, y, (0, 0.12), (0.07, 0.14)) * front),
        "nose_tip": _field(z=0.045 * bump(x, y, (0, 0.43), (0.11, 0.1)) * front),
        "nose_upturn": _field(y=-0.025 * bump(x, y, (0, 0.44), (0.1, 0.06)) * front),
        "nose_hump": _field(z=0.025 * bump(x, y, (0, 0.2), (0.06, 0.07)) * front),
        "mouth_width": _field(x=0.1 * x * bump(x, y, (0, 0.8), (0.35, 0.09)) * front),
        "mouth_height": _field(y=0.025 * bump(x, y, (0, 0.79), (0.4, 0.14)) * front),
        "upper_lip": _field(
            y=-0.018 * bump(x, y, (0, 0.705), (0.17, 0.03)) * front,
            z=0.012 * bump(x, y, (0, 0.74), (0.17, 0.03)) * front,
        ),
        "lower_lip": _field(
            y=0.022 * bump(x, y, (0, 0.915), (0.17, 0.04)) * front,
            z=0.015 * bump(x, y, (0, 0.86), (0.17, 0.04)) * front,
        ),
        "neck_width": _field(x=0.1 * x * ramp(y, 1.1, 1.6)),
    }


@cache
def movements() -> Fields:
    """(V, 3) fields of what one face does."""
    mesh = head_mesh()
    x, y, z = mesh.vertices.T
    front = ramp(z, -0.2, 0.3)
    corner = {s: bump(x, y, (s * 0.3, 0.78), (0.13, 0.12)) * front for s in (-1, 1)}
    lift = {s: bump(x, y, (s * 0.42, 0.45), (0.15, 0.12)) * front for s in (-1, 1)}
    arch = np.sqrt(np.clip(1.0 - (x / 0.275) ** 2, 0.0, 1.0)).astype(np.float32)
    wide = ramp(y, _SEAM - 0.4, _SEAM + 0.25)
    below = wide + (ramp(y, _SEAM - 0.009, _SEAM + 0.009) - wide) * arch * front
    jaw = below * ramp(y, 1.8, 1.38) * ramp(z, -0.25, 0.2)
    lips = bump(x, y, (0, _SEAM), (0.3, 0.1)) * front
    t = eye_parameter(x)
    top, bottom = lid_height(t, LID_RISE), lid_height(t, -LID_DROP)
    opening = np.clip(bottom - top, 0.0, None) * ((t > 0) & (t < 1))
    lid = (
        np.where(y < top, ramp(y, -0.17, -0.05), np.clip((bottom - y) / np.maximum(opening, 1e-3), 0, 1))
        * front
    )
    under = (
        np.where(y > bottom, ramp(y, 0.15, 0.05), np.clip((y - top) / np.maximum(opening, 1e-3), 0, 1))
        * front
    )
    brows = paired(x, y, (0.43, -0.24), (0.22, 0.09)) * front
    frown = paired(x, y, (0.24, -0.22), (0.1, 0.08)) * front
    forward = np.clip(z - _HINGE[1], 0, None)

    def smile(s: int) -> FloatArray:
        return _field(
            x=s * 0.085 * corner[s],
            y=-0.07 * corner[s] - 0.03 * lift[s],
            z=-0.06 * corner[s] + 0.05 * lift[s],
        )

    return {
        "jaw_open": _field(y=0.38 * jaw * forward, z=-0.2 * jaw * np.clip(y - _HINGE[0], 0, 1.2)),
        "jaw_side": _field(x=0.05 * jaw * front),
        "lips_part": _field(
            y=0.05 * ((below - 0.5) * bump(x, y, (0, _SEAM), (0.2, 0.12))) * 2 * front,
            z=0.02 * lips,
        ),
        "pucker": _field(x=-0.3 * x * lips, z=0.09 * lips),
        "smile_right": smile(-1),
        "smile_left": smile(1),
        "corners_down": _field(y=0.06 * (corner[-1] + corner[1])),
        "brows_up": _field(y=-0.075 * brows),
        "brows_frown": _field(x=-0.2 * x * frown, y=0.05 * frown, z=0.01 * frown),
        "blink": _field(y=0.985 * opening * lid),
        "squint": _field(y=-0.4 * opening * under),
    }


def displace(vertices: FloatArray, fields: Fields, coefficients: Mapping[str, float]) -> FloatArray:
    """The vertices moved by a weighted sum of fields.

    Raises:
        BenchError: for a name that is no field.
    """
    moved = vertices.copy()
    for name, weight in coefficients.items():
        if name not in fields:
            raise BenchError(f"no displacement is called {name!r}", hint=did_you_mean(name, fields))
        if weight:
            moved += np.float32(weight) * fields[name]
    return moved
