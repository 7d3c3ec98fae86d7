"""How cats differ and what their faces do: named linear displacements of the template's vertices."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import numpy as np

from datasets.procedural.arrays import FloatArray
from datasets.procedural.mesh import bump, paired, ramp
from datasets.synthetic_cats import layout
from datasets.synthetic_cats.template import Template, template

_SQUEEZED = (0.3, 0.3)  # how far the closing of an eye reaches
_JAW_FROM = 1.25  # height where the jaw ends below, seen from the front


def displace(
    vertices: FloatArray, fields: Mapping[str, FloatArray], amounts: Mapping[str, float]
) -> FloatArray:
    """The vertices (V, 3) moved along the named fields."""
    moved = vertices.copy()
    for name, amount in amounts.items():
        if amount:
            moved += np.float32(amount) * fields[name]
    return moved


def eye_squeeze(x: FloatArray, y: FloatArray) -> FloatArray:
    """Shift down of a spot of the template where an eye closes; its lids meet at an amount of about 1."""
    _, height = layout.eye_frame(x, y)
    return np.asarray(-height * paired(x, y, layout.EYE, _SQUEEZED), dtype=np.float32)


def _field(dx: FloatArray, dy: FloatArray, dz: FloatArray) -> FloatArray:
    return np.stack([dx, dy, dz], -1).astype(np.float32)


@cache
def traits() -> dict[str, FloatArray]:
    """What distinguishes individuals; amounts of -1 to 1 are usual, 2 is the limit."""
    cat = template()
    x, y, z = cat.vertices.T
    head = (cat.side == 0).astype(np.float32)
    none = np.zeros_like(x)
    front = head * ramp(z, -0.1, 0.4)
    ruff = head * ramp(np.abs(x), 0.55, 1.1) * bump(none, y, (0, 0.55), (1, 0.35))
    reach_x, reach_y = np.abs(x) - layout.EYE[0], y - layout.EYE[1]
    around_eye = front * paired(x, y, layout.EYE, (0.28, 0.24))
    muzzle = front * bump(x, y, (0, 0.75), (0.34, 0.3))
    nose = front * bump(x, y, (0, 0.5), (0.2, 0.28))
    chin = front * bump(x, y, (0, 1.05), (0.25, 0.12))
    return {
        "width": _field(0.05 * x, none, none),
        "height": _field(none, 0.05 * y * ramp(y, 0.1, 0.5) * head, none),
        "ruff": _field(0.13 * np.sign(x) * ruff, 0.05 * ruff, none),
        "muzzle_length": _field(none, none, 0.1 * muzzle),
        "muzzle_width": _field(0.14 * x * muzzle, none, none),
        "flat_nose": _field(none, -0.07 * nose, -0.13 * nose - 0.08 * muzzle),
        "nose_width": _field(0.15 * x * nose, none, none),
        "chin": _field(none, 0.05 * chin, 0.05 * chin),
        "forehead": _field(none, none, 0.06 * head * bump(x, y, (0, -0.6), (0.6, 0.3))),
        "eye_size": _field(0.14 * around_eye * np.sign(x) * reach_x, 0.14 * around_eye * reach_y, none),
        "eye_spread": _field(0.045 * np.sign(x) * around_eye, none, none),
        "eye_slant": _field(none, -0.25 * around_eye * reach_x, none),
        "eye_height": _field(none, 0.045 * around_eye, none),
    } | _ear_traits(cat)


def _ear_traits(cat: Template) -> dict[str, FloatArray]:
    outer, tip, inner = (np.asarray(p) for p in (layout.EAR_OUTER, layout.EAR_TIP, layout.EAR_INNER))
    axis, half = tip - (outer + inner) / 2, (inner - outer) / 2
    up = np.clip(cat.up_ear, 0, None)
    across = np.clip(1.0 - cat.up_ear, 0, None) * cat.across_ear

    def along(amount: FloatArray, direction: FloatArray) -> FloatArray:
        """Shift of both ears; the direction is that of the left one."""
        ear = np.abs(cat.side) * amount
        return _field(-cat.side * amount * direction[0], ear * direction[1], ear * direction[2])

    return {
        "ear_length": along(0.16 * up, axis),
        "ear_width": along(0.12 * across, half),
        "ear_spread": along(0.17 * up, np.array([-1.0, 0.12, 0.0])),
        "ear_place": along(np.full_like(up, 0.06), np.array([-1.0, 0.5, -0.2])),
    }


@cache
def movements() -> dict[str, FloatArray]:
    """What a face does, from 0 to 1: each eye closes, the jaw opens, each ear turns outwards or back."""
    cat = template()
    x, y, z = cat.vertices.T
    none = np.zeros_like(x)
    front = (cat.side == 0) * ramp(z, 0.0, 0.35)
    shut = front * eye_squeeze(x, y)
    below = y - layout.slit_height(x)
    jaw = front * ramp(below, -layout.SLIT_HALF_HEIGHT, layout.SLIT_HALF_HEIGHT)
    jaw *= ramp(np.abs(x), 0.42, 0.03) * ramp(y, _JAW_FROM + 0.25, _JAW_FROM)
    up = np.clip(cat.up_ear, 0, None)
    fields = {"jaw_open": _field(none, 0.42 * jaw, -0.18 * jaw)}
    for name, sign in (("left", -1.0), ("right", 1.0)):
        fields[f"shut_{name}"] = _field(none, (np.sign(x) == sign) * shut, none)
        ear = (cat.side == sign) * up
        fields[f"ear_{name}_out"] = _field(0.45 * sign * ear, 0.4 * ear, -0.1 * ear)
        fields[f"ear_{name}_back"] = _field(none, 0.25 * ear, -0.5 * ear)
    return fields
