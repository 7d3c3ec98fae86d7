"""A signer in an outfit at a moment, as meshes in the view."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np

from datasets.procedural.arrays import FloatArray
from datasets.procedural.category import Paint, Piece, Subject
from datasets.procedural.rotation import rotation
from datasets.synthetic_bodies import head as heads
from datasets.synthetic_bodies import materials
from datasets.synthetic_bodies.arms import arm_mesh, wrist_frame
from datasets.synthetic_bodies.hands import hand_mesh
from datasets.synthetic_bodies.motion import Moment
from datasets.synthetic_bodies.signer import Outfit, Signer
from datasets.synthetic_bodies.skeleton import SIDES, Arm, Build, bent_arm, rest_arm
from datasets.synthetic_bodies.torso import collar_mesh, legs_mesh, trunk_mesh
from datasets.synthetic_bodies.tubes import Mesh

JOINTS = (
    "head", "right_wrist", "left_wrist", "right_elbow", "left_elbow", "right_shoulder", "left_shoulder",
)  # fmt: skip
# How far in front of a joint the limb's own surface is at most, decimetres (template, bare): wrist, elbow, shoulder.
_WRIST, _ELBOW, _SHOULDER = 0.5, 1.1, 1.35


def _piece(mesh: Mesh, paint: Paint, translucent: float = 0.0) -> Piece:
    return Piece(
        mesh.vertices, mesh.normals, mesh.triangles, mesh.surface, mesh.place, paint, translucent=translucent
    )


@cache
def _rest_wrist(side: float) -> tuple[FloatArray, FloatArray]:
    arm = rest_arm(Build(), side)
    return wrist_frame(arm), arm.wrist


def _turned(piece: Piece, matrix: FloatArray) -> Piece:
    vertices, normals = piece.vertices @ matrix.T, piece.normals @ matrix.T
    return replace(piece, vertices=vertices.astype(np.float32), normals=normals.astype(np.float32))


def _joints(head: FloatArray, arms: list[Arm]) -> FloatArray:
    right, left = arms
    return np.stack([head, right.wrist, left.wrist, right.elbow, left.elbow, right.shoulder, left.shoulder])


def person(signer: Signer, outfit: Outfit, moment: Moment, *, legs: bool, stride: float = 0.0) -> Subject:
    """A person with the ``JOINTS`` as landmarks; the origin is midway between the shoulders.

    Args:
        legs: Whether the lower body is there, too. stride: how far the feet are apart.
    """
    build = signer.build
    trunk = trunk_mesh(build, outfit.loose, outfit.folds)
    pieces = [_piece(trunk, materials.paint_trunk(signer, outfit))]
    if outfit.garment in ("shirt", "jacket"):
        spread = 0.0 if outfit.garment == "jacket" and outfit.tie else 1.0
        collar = _piece(collar_mesh(spread), materials.paint_collar(outfit))
        collar = replace(collar, present=materials.collar_present(spread))
        pieces += [collar, _lining(collar)]
    if legs:
        pieces.append(_piece(legs_mesh(build, outfit.skirt, stride), materials.paint_legs(outfit)))
    arms, limbs = [], []
    for i, side in enumerate(SIDES):
        arm = bent_arm(build, side, moment.wrists[i], float(moment.swivels[i]), float(moment.turns[i]))
        sleeve = arm_mesh(arm, build, outfit.sleeve, outfit.loose, outfit.folds)
        hand = hand_mesh(wrist_frame(arm), arm.wrist, moment.hands[i], build.hand, _rest_wrist(side))
        skin = float(outfit.sleeve < 1.0)
        limbs.append(_piece(sleeve, materials.paint_arm(signer, outfit), skin))
        limbs.append(_piece(hand, materials.paint_hand(signer), 1.0))
        arms.append(arm)
    pieces += limbs
    head, middle = heads.head_pieces(
        signer.face,
        build,
        moment.head,
        moment.expression,
        moment.gaze,
        glasses=outfit.glasses,
        mess=outfit.mess,
    )
    pieces.append(_shadow_points(limbs))
    matrix = rotation(*(float(angle) for angle in moment.trunk))
    wide = build.girth - 1.0 + outfit.loose
    tolerances = np.array([_WRIST, _WRIST, _ELBOW, _ELBOW, _SHOULDER, _SHOULDER]) + wide
    return Subject(
        [_turned(piece, matrix) for piece in [*pieces, *head]],
        (_joints(middle, arms) @ matrix.T).astype(np.float32),
        np.concatenate([[heads.TOLERANCE * build.head], tolerances]).astype(np.float32),
    )


def _lining(piece: Piece) -> Piece:
    """The other side of a thin piece."""
    return replace(piece, normals=-piece.normals, triangles=piece.triangles[:, ::-1])


def _shadow_points(pieces: list[Piece]) -> Piece:
    """The middles of all triangles, without triangles: with the vertices alone, shadows of limbs have holes."""
    middles = np.concatenate([piece.vertices[piece.triangles].mean(1) for piece in pieces])
    nowhere = np.full_like(middles, np.nan)
    return replace(
        pieces[0],
        vertices=middles,
        normals=np.zeros_like(middles),
        triangles=np.empty((0, 3), dtype=np.int32),
        surface=nowhere,
        place=np.zeros_like(middles),
        figure=False,
    )
