"""The head: that of the procedural faces, set on a neck."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np

from bench.seeds import numpy_generator
from datasets.procedural.arrays import BoolArray, FloatArray
from datasets.procedural.category import Paint, Piece
from datasets.synthetic_bodies.skeleton import Build
from datasets.synthetic_faces import materials
from datasets.synthetic_faces.hair import bare
from datasets.synthetic_faces.head import head_mesh
from datasets.synthetic_faces.identity import Identity
from datasets.synthetic_faces.model import build_model, posed
from datasets.synthetic_faces.parts import Material, Part, ears
from datasets.synthetic_faces.scene import Capture, Pose, draw_capture
from datasets.synthetic_faces.skin import FaceState, paint_skin

UNIT = 0.9  # decimetres between the outer eye corners: the unit of the faces
EYES = np.array([0.0, -2.2, 0.15])  # the origin of the head's frame in the body's
CENTRE = np.array([0.0, 0.25, 0.1])  # the joint "head" in the head's frame
TOLERANCE = 1.2  # half a head with hair, decimetres

_SLIT = (0.783, 0.803)  # heights of the template between which the mouth opens
_FIGURE = (Material.SKIN, Material.EAR, Material.HAIR, Material.HAT, Material.FRAME)


@cache
def _still_capture() -> Capture:
    """A capture whose pose, expression and look are replaced for every picture."""
    return draw_capture(numpy_generator(0, "synthetic-bodies", "capture"), wild=False)


@cache
def _rest_ears() -> tuple[FloatArray, FloatArray]:
    """Vertices of the template's ears in the frame of the head."""
    rest = head_mesh().landmarks(head_mesh().vertices)
    tips = [rest[i] * np.array([1.0, 0, 0]) + np.array([0, 0.2, -0.22]) for i in (1, 15)]
    right, left = ears((tips[0], tips[1]), 1.0)
    return right.vertices, left.vertices


def _painted_skin(person: Identity, face: FaceState) -> Paint:
    """Skin painted in template coordinates (x, height, longitude) alone."""
    # Irises and teeth do not stretch with lids and lips: their places are found from the template's.
    lips = replace(face, eyes=np.array([[-0.361, 0.007], [0.361, 0.007]], dtype=np.float32))

    def paint(spot: FloatArray) -> tuple[FloatArray, FloatArray]:
        place = spot[:, :2].copy()
        mouth = np.abs(place[:, 1] - 0.793) < 0.02
        place[mouth, 1] = np.interp(place[mouth, 1], _SLIT, (face.upper_lip, face.lower_lip))
        return paint_skin(spot, place, person, lips)

    return paint


def _paint(part: Part, person: Identity, face: FaceState, cloth: FloatArray) -> Paint:
    painters: dict[Material, Paint] = {
        Material.SKIN: _painted_skin(person, face),
        Material.EAR: lambda spot: materials.paint_ear(spot, person),
        Material.HAIR: lambda spot: materials.paint_hair(spot, person),
        Material.HAT: lambda spot: materials.paint_hat(spot, cloth),
        Material.FRAME: lambda spot: materials.paint_frame(spot, person),
    }
    return painters[part.material]


def _present(part: Part, mess: float, person: Identity) -> Callable[[FloatArray], BoolArray] | None:
    """The hairline; other parts have no ragged border."""
    if part.material not in (Material.HAIR, Material.HAT):
        return None
    return lambda spot: ~bare(part, spot, mess, person.texture)


def head_pieces(
    person: Identity,
    build: Build,
    turn: FloatArray,
    expression: dict[str, float],
    gaze: tuple[float, float],
    *,
    glasses: bool,
    mess: float,
) -> tuple[list[Piece], FloatArray]:
    """Head and neck in the frame of the body, and the joint (3,) in the middle of the head.

    Args:
        turn: (3,), yaw, pitch and roll relative to the trunk, degrees.
        mess: How ragged the hair is.
    """
    pose = Pose(yaw=float(turn[0]), pitch=float(turn[1]), roll=float(turn[2]), turn=0.0)
    capture = replace(
        _still_capture(),
        pose=pose,
        expression=expression,
        gaze=gaze,
        hat=False,
        hair_mess=mess,
        glasses=glasses,
    )
    model = build_model(person, capture)
    size = UNIT * build.head
    origin = EYES - (0, build.neck, 0)

    def placed(points: FloatArray, scale: float, where: FloatArray) -> FloatArray:
        return (points * scale + where).astype(np.float32)

    rest_ears = iter(_rest_ears())
    pieces = []
    for part in model.parts:
        if part.material not in _FIGURE:
            continue
        vertices, normals = posed(part, capture)
        surface = np.full_like(vertices, np.nan)
        if part.material is Material.SKIN:
            surface = placed(head_mesh().vertices, UNIT, EYES)
        elif part.material is Material.EAR:
            surface = placed(next(rest_ears), UNIT, EYES)
        flesh = part.material in (Material.SKIN, Material.EAR)
        pieces.append(
            Piece(
                placed(vertices, size, origin),
                normals,
                part.triangles,
                surface,
                part.surface,
                _paint(part, person, model.face, capture.cloth),
                cavity=part.cavity,
                present=_present(part, mess, person),
                translucent=float(flesh),
                casts_shadow=part.material is not Material.FRAME,
            )
        )
    return pieces, placed(pose.matrix() @ CENTRE, size, origin)
