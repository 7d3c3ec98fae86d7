"""A cat in a posture as pieces in the view."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np

from datasets.procedural.arrays import FloatArray
from datasets.procedural.category import Paint, Piece, Subject
from datasets.procedural.mesh import bump, grid_normals, grid_triangles
from datasets.procedural.noise import look_up
from datasets.procedural.rotation import rotation
from datasets.synthetic_cats import body
from datasets.synthetic_cats.cat import Cat
from datasets.synthetic_cats.coat import Painted, body_coat, ear_coat
from datasets.synthetic_cats.deformation import displace, movements, traits
from datasets.synthetic_cats.face import Face, paint_head
from datasets.synthetic_cats.template import Sheet, Template, template

# How deep under its own surface a landmark may seem to lie: eyes and mouth in fur, ears at thin edges.
_TOLERANCES = (0.08, 0.08, 0.12, 0.14, 0.18, 0.2, 0.2, 0.18, 0.14)
_FLUFF = 0.075  # height of the tufts of a long-haired cat


@dataclass(frozen=True)
class Posture:
    """What a cat does in one picture.

    Attributes:
        yaw, pitch, roll: Of the head, in degrees; see ``rotation``.
        body_yaw, body_roll: Of the body.
        moves: Amounts of ``deformation.movements``.
        seed: Of what differs in detail from picture to picture: whiskers.
    """

    yaw: float
    pitch: float
    roll: float
    body_yaw: float
    body_roll: float
    stance: Literal["sitting", "lying"]
    moves: dict[str, float]
    face: Face
    seed: int

    @property
    def head(self) -> FloatArray:
        """(3, 3), maps points of the head (as columns) to the view."""
        return rotation(self.yaw, self.pitch, self.roll)


def build_subject(cat: Cat, posture: Posture) -> Subject:
    """The cat with its landmarks, in the view; the origin lies between the eyes before the head turns."""
    shape = template()
    still = displace(shape.vertices, traits(), cat.shape)
    still = _fluffed(still, shape, cat)
    moved = displace(still, movements(), posture.moves)
    turn = posture.head.T
    landmarks = shape.landmarks(moved) @ turn
    pieces = [
        _sheet_piece(shape, shape.head, moved, turn, partial(paint_head, cat=cat, face=posture.face)),
        *(
            _sheet_piece(shape, sheet, moved, turn, partial(ear_coat, cat=cat, inside=not sheet.flip))
            for sheet in shape.ears
        ),
        *_body_pieces(cat, posture),
        _whisker_piece(moved, posture, turn),
    ]
    return Subject(pieces, landmarks.astype(np.float32), np.asarray(_TOLERANCES, dtype=np.float32))


def _fluffed(vertices: FloatArray, shape: Template, cat: Cat) -> FloatArray:
    """Tufts that break the outline of the cheeks and the crown."""
    rest = shape.vertices[shape.head.part]
    normals = grid_normals(rest, shape.head.rows, shape.head.columns)
    x, y, z = rest.T
    tufts = look_up("grain", x * 0.9 + cat.texture[0], y * 0.9 + cat.texture[1]) * np.clip(0.9 - z, 0.0, 1.0)
    # Short fur on the crown between the ears.
    tufts *= 1.0 - 0.6 * bump(x, y, (0, -1.0), (0.7, 0.3))
    lifted = vertices.copy()
    lifted[shape.head.part] += normals * np.float32(0.015 + _FLUFF * cat.fluff) * tufts[:, None] * 0.5
    return lifted


def _sheet_piece(
    shape: Template, sheet: Sheet, vertices: FloatArray, turn: FloatArray, paint: Paint
) -> Piece:
    own = vertices[sheet.part]
    normals = grid_normals(own, sheet.rows, sheet.columns)
    return Piece(
        vertices=own @ turn,
        normals=(-normals if sheet.flip else normals) @ turn,
        triangles=sheet.triangles,
        surface=shape.vertices[sheet.part],
        place=shape.vertices[sheet.part],
        paint=paint,
        translucent=0.5,
    )


def _loose(grid: FloatArray, turn: FloatArray, place: FloatArray, paint: Paint, shadow: bool = True) -> Piece:
    """A grid (R, C, 3) that is no part of the head, and has no counterpart on the template."""
    rows, columns = grid.shape[:2]
    vertices = grid.reshape(-1, 3)
    return Piece(
        vertices=vertices @ turn,
        normals=grid_normals(vertices, rows, columns) @ turn,
        triangles=grid_triangles(rows, columns),
        surface=np.full_like(vertices, np.nan),
        place=place.reshape(-1, 3),
        paint=paint,
        figure=False,
        translucent=0.5,
        casts_shadow=shadow,
    )


def _body_pieces(cat: Cat, posture: Posture) -> list[Piece]:
    turn = rotation(posture.body_yaw, 0.0, posture.body_roll).T
    head = posture.head.T
    # The neck's end stays in the head whichever way that is turned.
    neck = np.array([0.0, 0.25, -0.45], dtype=np.float32)
    shift = tuple((neck @ head - neck @ turn).tolist())
    limbs = body.sitting() if posture.stance == "sitting" else body.lying()
    pieces = []
    for part in limbs:
        piece = _loose(part, turn, part, partial(body_coat, cat=cat))
        pieces.append(piece.moved(1.0, shift))
    if cat.collar is not None:
        band = body.collar()
        pieces.append(
            _loose(band, turn, band, partial(_paint_plain, colour=cat.collar, gloss=0.3)).moved(1.0, shift)
        )
    return pieces


def _whisker_piece(vertices: FloatArray, posture: Posture, turn: FloatArray) -> Piece:
    shape = template()
    rng = np.random.Generator(np.random.PCG64(posture.seed))
    count = int(rng.integers(4, 7))
    sides = np.repeat((-1.0, 1.0), count)
    wanted = np.stack([sides * rng.uniform(0.2, 0.34, 2 * count), rng.uniform(0.7, 0.84, 2 * count)], -1)
    rest = shape.vertices[shape.head.part]
    front = np.flatnonzero(rest[:, 2] > 0.3)
    nearest = np.argmin(((rest[front, None, :2] - wanted) ** 2).sum(-1), axis=0)
    paths = body.whiskers(vertices[front[nearest]], sides, rng) @ turn
    strips = [body.ribbon(path, 0.015) for path in paths.astype(np.float32)]
    still = np.eye(3, dtype=np.float32)
    parts = [_loose(strip, still, strip, _paint_whisker, shadow=False) for strip in strips]
    starts = np.cumsum([0, *(len(part.vertices) for part in parts)], dtype=np.int32)
    whole = np.concatenate([part.vertices for part in parts])
    return Piece(
        vertices=whole,
        normals=np.concatenate([part.normals for part in parts]),
        triangles=np.concatenate([p.triangles + s for p, s in zip(parts, starts, strict=False)]),
        surface=np.full_like(whole, np.nan),
        place=whole,
        paint=_paint_whisker,
        figure=False,
        casts_shadow=False,
    )


def _paint_plain(place: FloatArray, colour: FloatArray, gloss: float) -> Painted:
    return np.repeat(colour[None], len(place), 0), np.full(len(place), gloss, dtype=np.float32)


def _paint_whisker(place: FloatArray) -> Painted:
    return _paint_plain(place, np.full(3, 0.85, dtype=np.float32), 0.2)
