"""A posed person as the pieces that the shared renderer draws."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from datasets.procedural.arrays import BoolArray, FloatArray
from datasets.procedural.category import Paint, Piece
from datasets.synthetic_faces import hair as hairdresser
from datasets.synthetic_faces import materials
from datasets.synthetic_faces.annotation import NECK_FROM
from datasets.synthetic_faces.head import head_mesh
from datasets.synthetic_faces.identity import Identity
from datasets.synthetic_faces.materials import Painted
from datasets.synthetic_faces.model import Model, posed
from datasets.synthetic_faces.parts import Material, Part
from datasets.synthetic_faces.scene import Capture
from datasets.synthetic_faces.skin import FaceState, paint_skin

SURFACE = slice(0, 3)  # of a piece's place coordinates: ``Part.surface``; ``Part.place`` follows


def pieces(model: Model, identity: Identity, capture: Capture) -> list[Piece]:
    """One a part, in the same order."""
    return [_piece(part, model, identity, capture) for part in model.parts]


def _piece(part: Part, model: Model, identity: Identity, capture: Capture) -> Piece:
    vertices, normals = posed(part, capture)
    return Piece(
        vertices=vertices,
        normals=normals,
        triangles=part.triangles,
        surface=_template(part),
        place=np.concatenate([part.surface, part.place], axis=1),
        paint=_paint(part.material, model.face, identity, capture),
        cavity=part.cavity,
        present=_present(part, identity, capture),
        translucent=float(part.material in (Material.SKIN, Material.EAR)),
        casts_shadow=_casts_shadow(part),
    )


def _template(part: Part) -> FloatArray:
    """(V, 3) positions on the template head; NaN on the neck and on everything but skin."""
    places = np.full((len(part.vertices), 3), np.nan, dtype=np.float32)
    if part.material is Material.SKIN:
        mesh = head_mesh()
        head = mesh.height <= NECK_FROM
        places[head] = mesh.vertices[head]
    return places


def _paint(material: Material, face: FaceState, identity: Identity, capture: Capture) -> Paint:
    def skin(place: FloatArray) -> Painted:
        return paint_skin(place[:, SURFACE], place[:, SURFACE.stop :], identity, face)

    on_surface: dict[Material, Callable[[FloatArray], Painted]] = {
        Material.EAR: partial(materials.paint_ear, person=identity),
        Material.HAIR: partial(materials.paint_hair, person=identity),
        Material.HAT: partial(materials.paint_hat, cloth=capture.cloth),
        Material.FRAME: partial(materials.paint_frame, person=identity),
        Material.CLOTH: partial(materials.paint_cloth, cloth=capture.cloth, pattern=capture.cloth_pattern),
    }
    if material is Material.SKIN:
        return skin
    return lambda place: on_surface[material](place[:, SURFACE])


def _present(part: Part, identity: Identity, capture: Capture) -> Callable[[FloatArray], BoolArray] | None:
    """Hair and hats end where their shell leaves the hairline."""
    if part.material not in (Material.HAIR, Material.HAT):
        return None
    return lambda place: ~hairdresser.bare(part, place[:, SURFACE], capture.hair_mess, identity.texture)


def _casts_shadow(part: Part) -> BoolArray:
    """Vertices that matter for shadows: hair that is there, and clothes no lower than the breast."""
    if part.material in (Material.HAIR, Material.HAT):
        return np.asarray(part.surface[:, 0] > 0.03)
    return np.full(len(part.vertices), part.material is not Material.FRAME) & (part.vertices[:, 1] < 2.5)
