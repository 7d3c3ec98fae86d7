"""A bird: who it is, how it holds itself, and its parts in a common frame.

The template is a bird of mean shape with spread wings; surface coordinates are positions on it, so that wings and
flanks, which touch on a bird at rest, stay apart.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache

import numpy as np
from scipy.spatial.transform import Rotation

from datasets.procedural.arrays import FloatArray, IntArray
from datasets.synthetic_birds import body, limbs
from datasets.synthetic_birds.rings import angles, tube_normals, tube_triangles
from datasets.synthetic_birds.species import Shape

LANDMARKS: tuple[str, ...] = (
    *("back", "beak", "belly", "breast", "crown", "forehead", "left_eye", "left_leg", "left_wing"),
    *("nape", "right_eye", "right_leg", "right_wing", "tail", "throat"),
)
FLIP: tuple[int, ...] = (0, 1, 2, 3, 4, 5, 10, 11, 12, 9, 6, 7, 8, 13, 14)

_UP, _DOWN = body.DORSAL, body.VENTRAL
# Part, ring, points of the ring whose mean is the landmark, and how deep below the visible surface it may lie. In CUB
# throat, breast or back are regions: on the midline they count as visible until some 15 degrees behind the outline.
_WHOLE_RING = slice(0, -1)
_SPOTS: dict[str, tuple[str, tuple[int, ...], slice | tuple[int, ...], float]] = {
    "back": ("trunk", (29,), (_UP,), 0.14),
    "beak": ("upper_beak", (4,), _WHOLE_RING, 0.07),
    "belly": ("trunk", (30,), (_DOWN,), 0.14),
    "breast": ("trunk", (25,), (_DOWN,), 0.14),
    "crown": ("trunk", (14,), (_UP,), 0.1),
    "forehead": ("trunk", (8,), (_UP,), 0.1),
    "nape": ("trunk", (21,), (_UP,), 0.1),
    "throat": ("trunk", (13,), (_DOWN,), 0.1),
    "left_eye": ("left_eye", (0,), _WHOLE_RING, 0.03),
    "right_eye": ("right_eye", (0,), _WHOLE_RING, 0.03),
    "left_leg": ("legs", (1, 8), _WHOLE_RING, 0.06),
    "right_leg": ("legs", (0, 8), _WHOLE_RING, 0.06),
    "left_wing": ("left_wing", (11,), (4, 12), 0.06),
    "right_wing": ("right_wing", (11,), (4, 12), 0.06),
    "tail": ("tail", (9,), (4, 12), 0.2),
}


@dataclass(frozen=True)
class Posture:
    """How a bird holds itself; angles in radians.

    Attributes:
        pitch: Slope of the trunk against the template, positive with the head up.
        look: Turn of the head against the template: to the bird's right, up, tilt.
        gape: Opening of the beak. crest: 1 raised.
        flying: Wings open, legs drawn up. stroke, bend, droop: see ``limbs``.
        cock, fan: Of the tail. stride: how far the right foot is before the left. grip: 1 toes around a twig, 0 flat.
        clinging: Feet ahead of the trunk, not below.
    """

    pitch: float = 0.0
    look: tuple[float, float, float] = (0.0, 0.0, 0.0)
    gape: float = 0.0
    crest: float = 1.0
    flying: bool = False
    stroke: float = 0.0
    bend: float = 0.0
    droop: float = 0.0
    cock: float = 0.0
    fan: float = 0.0
    stride: float = 0.0
    grip: float = 0.0
    clinging: bool = False


@dataclass(frozen=True, eq=False)
class Part:
    """A posed tube (R, C, 3), or several, (N, R, C, 3); ``mirrored`` ones run the other way around."""

    name: str
    grid: FloatArray
    mirrored: bool = False

    @property
    def vertices(self) -> FloatArray:
        """(V, 3)"""
        return self.grid.reshape(-1, 3)

    @property
    def normals(self) -> FloatArray:
        """(V, 3), outward."""
        normals = tube_normals(self.grid)
        return -normals if self.mirrored else normals

    @property
    def triangles(self) -> IntArray:
        """(T, 3)"""
        triangles = tube_triangles(self.grid.shape[:-1])
        return triangles[:, ::-1] if self.mirrored else triangles


@dataclass(frozen=True, eq=False)
class Body:
    """A posed bird, feet included.

    Shapes:
        landmarks: (15, 3). feet: (2, 3), right and left sole.
    """

    parts: dict[str, Part] = field(repr=False)
    landmarks: FloatArray
    feet: FloatArray


def tolerances() -> FloatArray:
    """(15,) depth of the landmarks below the surface that still counts as visible."""
    return np.array([_SPOTS[name][3] for name in LANDMARKS], dtype=np.float32)


def build(shape: Shape, posture: Posture) -> Body:
    """The parts of a bird in its own frame: x forward, y down, z to its right."""
    line = body.spine(shape)
    yaw, up, tilt = posture.look
    # The head keeps its level when the trunk is raised.
    look = Rotation.from_euler("yzx", (-yaw, 0.85 * posture.pitch - up, tilt))

    def with_head(grid: FloatArray) -> FloatArray:
        return body.with_head(grid, look, shape.neck)

    trunk = body.trunk(line, shape.crest * posture.crest)
    grids = {
        "trunk": body.bent(trunk, look, shape.neck),
        "upper_beak": with_head(limbs.mandible(line, shape, True, posture.gape)),
        "lower_beak": with_head(limbs.mandible(line, shape, False, posture.gape)),
    }
    right_eye = _right_eye(trunk, shape)
    grids["right_eye"] = with_head(right_eye)
    grids["left_eye"] = with_head(right_eye * (1, 1, -1))
    if posture.flying:
        wing = limbs.open_wing(line, shape, posture.stroke, posture.bend)
    else:
        wing = limbs.folded_wing(line, shape, posture.droop)
    grids["right_wing"], grids["left_wing"] = wing, wing * (1, 1, -1)
    cock = posture.cock + np.radians(shape.tail_cock) * (0.4 if posture.flying else 1.0)
    grids["tail"] = limbs.tail(line, shape, cock, posture.fan)
    upright = Rotation.from_euler("z", -posture.pitch).as_matrix().T
    grids = {name: grid @ upright for name, grid in grids.items()}
    hips, feet = _stance(grids["trunk"], shape, posture)
    grids["legs"] = limbs.legs(hips, feet, 0.6 + 0.4 * shape.leg)
    grids["toes"] = limbs.toes(feet, posture.flying, 0.8 + 0.2 * shape.leg, posture.grip)
    mirrored = {"left_eye", "left_wing"}
    parts = {name: Part(name, grid.astype(np.float32), name in mirrored) for name, grid in grids.items()}
    return Body(parts, _landmarks(parts), feet)


def _right_eye(trunk: FloatArray, shape: Shape) -> FloatArray:
    socket, around = trunk[10, _UP + 6], trunk[10, _UP + 5] - trunk[10, _UP + 7]
    outward = np.cross(trunk[11, _UP + 6] - trunk[9, _UP + 6], around)
    outward *= np.sign(outward[2]) / np.linalg.norm(outward)
    return limbs.eye(socket, outward, shape.eye * shape.head)


def _stance(trunk: FloatArray, shape: Shape, posture: Posture) -> tuple[FloatArray, FloatArray]:
    """(2, 3) hips and (2, 3) feet, right and left, below the posed trunk."""
    side = np.array([1.0, -1.0])
    # Off the ventral midline, a little inside the trunk.
    hips = np.repeat((0.9 * trunk[33, _DOWN] + 0.1 * trunk[33, _UP])[None], 2, 0)
    hips[:, 2] += 0.11 * shape.width * side
    length = 0.34 * shape.leg
    reach = np.zeros((2, 3))
    if posture.flying:
        reach[:, :2] = -0.8 * length, 0.12
    elif posture.clinging:
        reach[:, 0], reach[:, 1] = 0.1 + length, 0.03 + side * posture.stride
    else:
        reach[:, 0], reach[:, 1] = 0.09 + side * posture.stride, length
    return hips, hips + reach


def _landmarks(parts: dict[str, Part]) -> FloatArray:
    points = []
    for name in LANDMARKS:
        part, ring, columns, _ = _SPOTS[name]
        points.append(
            parts[part].grid[ring][columns if isinstance(columns, slice) else list(columns)].mean(0)
        )
    return np.asarray(points, dtype=np.float32)


@cache
def template() -> Body:
    """The bird whose positions are everybody's surface coordinates."""
    return build(Shape(), Posture(flying=True))


@cache
def places() -> dict[str, FloatArray]:
    """What the painters get, (V, 3) for each part: see ``plumage``."""
    known = {"right_wing": limbs.wing_place(), "left_wing": limbs.wing_place(), "tail": limbs.tail_place()}
    for name, part in template().parts.items():
        if name not in known:
            along, around = np.meshgrid(
                np.linspace(0, 1, part.grid.shape[-3]), angles(part.grid.shape[-2]), indexing="ij"
            )
            feathered = np.full_like(along, float(name == "legs"))
            place = np.broadcast_to(np.stack([along, around, feathered], -1), part.grid.shape)
            known[name] = place.reshape(-1, 3).astype(np.float32)
    return known
