"""From a person and a capture to a picture with exact annotation."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bench.seeds import numpy_generator
from datasets.synthetic_faces import hair as hairdresser
from datasets.synthetic_faces import materials
from datasets.synthetic_faces.annotation import (
    NECK_FROM,
    SUPERSAMPLING,
    head_box,
    pooled,
    share_per_pixel,
    surface_map,
    visible_landmarks,
)
from datasets.synthetic_faces.arrays import BoolArray, FloatArray, IntArray
from datasets.synthetic_faces.background import paint_background
from datasets.synthetic_faces.camera import develop
from datasets.synthetic_faces.head import unit_length
from datasets.synthetic_faces.identity import Identity, draw_identity
from datasets.synthetic_faces.model import Model, build_model, posed
from datasets.synthetic_faces.occluders import draw_occluder
from datasets.synthetic_faces.parts import Material, Part
from datasets.synthetic_faces.rasteriser import Fragments, rasterise
from datasets.synthetic_faces.scene import Capture, draw_capture
from datasets.synthetic_faces.shading import shade, shadow
from datasets.synthetic_faces.skin import paint_skin

RENDERER_VERSION = 1

_HEAD_PARTS = (Material.SKIN, Material.EAR, Material.HAIR, Material.HAT, Material.FRAME)


@dataclass(frozen=True, eq=False)
class Rendering:
    """A picture and everything that is known about it.

    Shapes:
        image: (S, S, 3), uint8. points: (68, 2), float32, pixels, corner origin. visible: (68,), bool.
        mask: (S, S), bool: the visible head (face, ears, hair, glasses), without neck, clothes and occluders.
        box: (4,), x0, y0, x1, y1 of the head as if nothing were in front of it, within the picture; it holds
            every landmark.
        surface: (S, S, 2), float32: (longitude in radians, height) of the head's skin that shows in a pixel, the
            same numbers on every head; NaN elsewhere.
    """

    image: npt.NDArray[np.uint8]
    points: FloatArray
    visible: BoolArray
    mask: BoolArray
    box: FloatArray
    surface: FloatArray


def render_sample(
    seed: int, split: str, index: int, pool: str, person: int, size: int, wild: bool
) -> Rendering:
    """Picture ``index`` of a split; depends on the arguments and nothing else."""
    identity = draw_identity(seed, pool, person)
    capture = draw_capture(numpy_generator(seed, "synthetic-faces", "capture", split, index), wild)
    grain = numpy_generator(seed, "synthetic-faces", "sensor", split, index)
    return render(identity, capture, size, grain)


def render(identity: Identity, capture: Capture, size: int, grain: np.random.Generator) -> Rendering:
    """Render a person in a capture.

    Args:
        grain: Draws the sensor's noise.
    """
    model = build_model(identity, capture)
    side = size * SUPERSAMPLING
    turned = [posed(part, capture) for part in model.parts]
    landmarks = model.landmarks @ capture.pose.matrix().T
    points, offset = _frame(landmarks, capture, size)
    unit = capture.scale * size
    vertices = np.concatenate([v for v, _ in turned])
    screen = vertices * np.float32(unit * SUPERSAMPLING)
    screen[:, :2] += offset * SUPERSAMPLING
    mesh = _join(model.parts)
    triangle_part = mesh.part_of_triangle

    def accept(fragments: Fragments) -> BoolArray:
        return _inside_hairline(fragments, mesh, model.parts, identity, capture)

    fragments = rasterise(screen.astype(np.float32), mesh.triangles, side, accept)
    part = triangle_part[fragments.triangle]
    normals = np.concatenate([n for _, n in turned])
    attributes = np.concatenate([normals, vertices, mesh.attributes], axis=1)
    values = fragments.interpolate(attributes, mesh.triangles)
    colour = _colours(values, part, vertices, model, identity, capture)

    skin = np.array([p.material is Material.SKIN for p in model.parts])[part]
    is_head = np.array([p.material in _HEAD_PARTS for p in model.parts])[part]
    is_head &= ~(skin & (values[:, 7] > NECK_FROM))
    canvas = np.zeros((side * side, 4), dtype=np.float32)
    canvas[fragments.sample, :3], canvas[fragments.sample, 3] = colour, 1.0
    depth = np.full(side * side, -np.inf, dtype=np.float32)
    depth[fragments.sample] = values[:, 5]
    opaque = _put_lenses(canvas, depth, model, capture, offset)
    canvas = pooled(canvas.reshape(side, side, 4))
    head = share_per_pixel(fragments.sample, is_head, side)

    light = capture.light
    scene = paint_background(capture.background_seed, size)
    scene = scene * (0.45 + 0.55 * (light.key + light.sky + light.ground) / 1.6)
    scene = scene * (1 - canvas[..., 3:]) + canvas[..., :3]
    cover = np.zeros((size, size), dtype=np.float32)
    if capture.occluder is not None:
        middle = points.mean(0)
        level = 0.6 * light.key + 0.5 * (light.sky + light.ground)
        paint, cover = draw_occluder(
            capture.occluder,
            capture.occluder_seed,
            size,
            (float(middle[0]), float(middle[1])),
            unit,
            light.direction,
            level,
            identity.skin,
        )
        scene = scene + (paint - scene) * cover[..., None]
    mask = (head >= 0.5) & (cover < 0.5)
    seen = visible_landmarks(points, fragments.sample[skin], values[skin, 6:9], side, opaque)
    inside = np.clip(points.astype(np.int64), 0, size - 1)
    visible = seen & mask[inside[:, 1], inside[:, 0]]
    visible &= ((points >= 0) & (points < size)).all(-1)
    return Rendering(
        image=develop(scene.astype(np.float32), capture.camera, grain),
        points=points,
        visible=visible,
        mask=mask,
        box=head_box(head >= 0.5, points, size),
        surface=surface_map(fragments.sample[skin], values[skin], side, cover),
    )


def _frame(landmarks: FloatArray, capture: Capture, size: int) -> tuple[FloatArray, FloatArray]:
    """Landmarks in pixels, and where the origin of the head's frame goes; all landmarks end up in the picture."""
    points = landmarks[:, :2] * np.float32(capture.scale * size)
    low, high = points.min(0), points.max(0)
    offset = np.asarray(capture.centre) * size - (low + high) / 2
    margin = 0.02 * size
    offset = np.clip(offset, margin - low, np.maximum(size - margin - high, margin - low)).astype(np.float32)
    return (points + offset).astype(np.float32), offset


@dataclass(frozen=True, eq=False)
class _Joined:
    """All parts as one mesh; attributes are surface (3), place (2), cavity (1)."""

    triangles: IntArray
    part_of_triangle: IntArray
    attributes: FloatArray


def _join(parts: list[Part]) -> _Joined:
    starts = np.cumsum([0, *(len(p.vertices) for p in parts)], dtype=np.int32)
    return _Joined(
        np.concatenate([p.triangles + start for p, start in zip(parts, starts, strict=False)]),
        np.concatenate([np.full(len(p.triangles), i) for i, p in enumerate(parts)]),
        np.concatenate(
            [np.concatenate([p.surface, p.place, p.cavity[:, None]], axis=1) for p in parts]
        ).astype(np.float32),
    )


def _inside_hairline(
    fragments: Fragments, mesh: _Joined, parts: list[Part], identity: Identity, capture: Capture
) -> BoolArray:
    part = mesh.part_of_triangle[fragments.triangle]
    keep = np.ones(len(part), dtype=np.bool_)
    for i, candidate in enumerate(parts):
        if candidate.material in (Material.HAIR, Material.HAT):
            mine = np.flatnonzero(part == i)
            picked = Fragments(fragments.sample[mine], fragments.triangle[mine], fragments.weights[mine])
            surface = picked.interpolate(mesh.attributes[:, :3], mesh.triangles)
            keep[mine] = ~hairdresser.bare(candidate, surface, capture.hair_mess, identity.texture)
    return keep


def _colours(
    values: FloatArray,
    part: IntArray,
    vertices: FloatArray,
    model: Model,
    identity: Identity,
    capture: Capture,
) -> FloatArray:
    """(F, 3) linear colour of the fragments; values are normal, position, surface, place, cavity."""
    normals = unit_length(values[:, :3])
    albedo, gloss = np.empty((len(part), 3), dtype=np.float32), np.empty(len(part), dtype=np.float32)
    flesh = np.zeros(len(part), dtype=np.float32)
    casters = []
    start = 0
    for i, piece in enumerate(model.parts):
        own = vertices[start : start + len(piece.vertices)]
        start += len(piece.vertices)
        casters.append(own[_casts_shadow(piece)])
        mine = np.flatnonzero(part == i)
        surface, place = values[mine, 6:9], values[mine, 9:11]
        if piece.material is Material.SKIN:
            painted = paint_skin(surface, place, identity, model.face)
            flesh[mine] = 1.0
        elif piece.material is Material.EAR:
            painted = materials.paint_ear(surface, identity)
            flesh[mine] = 1.0
        elif piece.material is Material.HAIR:
            painted = materials.paint_hair(surface, identity)
        elif piece.material is Material.HAT:
            painted = materials.paint_hat(surface, capture.cloth)
        elif piece.material is Material.FRAME:
            painted = materials.paint_frame(surface, identity)
        else:
            painted = materials.paint_cloth(surface, capture.cloth, capture.cloth_pattern)
        albedo[mine], gloss[mine] = painted
    lit = shadow(np.concatenate(casters), values[:, 3:6], capture.light)
    return shade(
        albedo,
        normals,
        gloss=gloss,
        cavity=values[:, 11],
        lit=lit,
        translucent=flesh,
        light=capture.light,
    )


def _casts_shadow(piece: Part) -> BoolArray:
    """Vertices that matter for shadows: hair that is there, and clothes no lower than the breast."""
    if piece.material in (Material.HAIR, Material.HAT):
        return np.asarray(piece.surface[:, 0] > 0.03)
    return np.full(len(piece.vertices), piece.material is not Material.FRAME) & (piece.vertices[:, 1] < 2.5)


def _put_lenses(
    canvas: FloatArray, depth: FloatArray, model: Model, capture: Capture, offset: FloatArray
) -> BoolArray:
    """Tint what lies behind the lenses, in place; returns the (side, side) samples behind opaque ones.

    Shapes:
        canvas: (side * side, 4). depth: (side * side,), of what is drawn so far.
    """
    side = math.isqrt(len(depth))
    per_unit = np.float32(capture.scale * side)
    opaque = np.zeros(side * side, dtype=np.bool_)
    for rim in model.lenses:
        outline = np.concatenate([rim.mean(0, keepdims=True), rim]) @ capture.pose.matrix().T
        screen = (outline * per_unit).astype(np.float32)
        screen[:, :2] += offset * SUPERSAMPLING
        index = np.arange(1, len(outline) - 1)
        fan = np.stack([np.zeros_like(index), index, index + 1], -1)
        lens = rasterise(screen, fan, side)
        across = lens.interpolate(outline.astype(np.float32), fan)
        nearest = np.flatnonzero(across[:, 2] > depth[lens.sample])
        sample, across = lens.sample[nearest], across[nearest, :2]
        glare = 0.1 + 0.25 * np.exp(-(((across.sum(1) - float(outline[0, :2].sum()) + 0.1) / 0.1) ** 2))
        veil = (capture.light.key + capture.light.sky) * np.float32(0.35)
        keep = 0.1 if model.dark_lenses else 0.9
        behind = canvas[sample]
        tinted = behind[:, :3] * keep + (glare * (0.35 if model.dark_lenses else 0.3))[:, None] * veil
        canvas[sample, :3] = np.where(behind[:, 3:] > 0, tinted, behind[:, :3])
        if model.dark_lenses:
            opaque[sample] = True
    return opaque.reshape(side, side)
