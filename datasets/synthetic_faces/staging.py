"""A person in a capture, posed and framed: one mesh in the view and on the screen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from datasets.procedural.arrays import BoolArray, FloatArray, IntArray
from datasets.procedural.rasteriser import Fragments, rasterise
from datasets.synthetic_faces import hair as hairdresser
from datasets.synthetic_faces.identity import Identity
from datasets.synthetic_faces.model import Model, build_model, posed
from datasets.synthetic_faces.parts import Material, Part
from datasets.synthetic_faces.scene import Capture


@dataclass(frozen=True, eq=False)
class Joined:
    """All parts as one mesh; attributes are surface (3), place (2), cavity (1)."""

    triangles: IntArray
    part_of_triangle: IntArray
    attributes: FloatArray


def _join(parts: list[Part]) -> Joined:
    starts = np.cumsum([0, *(len(p.vertices) for p in parts)], dtype=np.int32)
    return Joined(
        np.concatenate([p.triangles + start for p, start in zip(parts, starts, strict=False)]),
        np.concatenate([np.full(len(p.triangles), i) for i, p in enumerate(parts)]),
        np.concatenate(
            [np.concatenate([p.surface, p.place, p.cavity[:, None]], axis=1) for p in parts]
        ).astype(np.float32),
    )


@dataclass(frozen=True, eq=False)
class Staged:
    """Ready to be rasterised.

    Shapes:
        points: (68, 2), pixels. offset: (2,), where the origin of the head's frame goes, pixels.
        vertices, normals: (V, 3), in the view.

    Attributes:
        unit: Distance between the outer eye corners in pixels.
    """

    identity: Identity
    capture: Capture
    size: int
    model: Model
    mesh: Joined
    points: FloatArray
    offset: FloatArray
    unit: float
    vertices: FloatArray
    normals: FloatArray

    def part_is(self, *materials: Material) -> BoolArray:
        """Which parts are made of one of the materials."""
        return np.array([part.material in materials for part in self.model.parts])

    def on_screen(self, vertices: FloatArray, fineness: int) -> FloatArray:
        """(N, 3) points of the view to samples, ``fineness`` a pixel along each axis."""
        screen = vertices * np.float32(self.unit * fineness)
        screen[:, :2] += self.offset * fineness
        return np.asarray(screen, dtype=np.float32)

    def rasterised(self, fineness: int) -> tuple[Fragments, FloatArray]:
        """The visible fragments, and the vertices (V, 3) on the screen."""
        screen = self.on_screen(self.vertices, fineness)
        return rasterise(screen, self.mesh.triangles, self.size * fineness, self._inside_hairline), screen

    def _inside_hairline(self, fragments: Fragments) -> BoolArray:
        mesh = self.mesh
        part = mesh.part_of_triangle[fragments.triangle]
        keep = np.ones(len(part), dtype=np.bool_)
        for i, candidate in enumerate(self.model.parts):
            if candidate.material in (Material.HAIR, Material.HAT):
                mine = np.flatnonzero(part == i)
                surface = fragments.take(mine).interpolate(mesh.attributes[:, :3], mesh.triangles)
                keep[mine] = ~hairdresser.bare(
                    candidate, surface, self.capture.hair_mess, self.identity.texture
                )
        return keep


def stage(identity: Identity, capture: Capture, size: int) -> Staged:
    model = build_model(identity, capture)
    turned = [posed(part, capture) for part in model.parts]
    points, offset = _frame(model.landmarks @ capture.pose.matrix().T, capture, size)
    return Staged(
        identity=identity,
        capture=capture,
        size=size,
        model=model,
        mesh=_join(model.parts),
        points=points,
        offset=offset,
        unit=capture.scale * size,
        vertices=np.concatenate([vertices for vertices, _ in turned]),
        normals=np.concatenate([normals for _, normals in turned]),
    )


def _frame(landmarks: FloatArray, capture: Capture, size: int) -> tuple[FloatArray, FloatArray]:
    """Landmarks in pixels, and where the origin of the head's frame goes; all landmarks end up in the picture."""
    points = landmarks[:, :2] * np.float32(capture.scale * size)
    low, high = points.min(0), points.max(0)
    offset = np.asarray(capture.centre) * size - (low + high) / 2
    margin = 0.02 * size
    offset = np.clip(offset, margin - low, np.maximum(size - margin - high, margin - low)).astype(np.float32)
    return (points + offset).astype(np.float32), offset
