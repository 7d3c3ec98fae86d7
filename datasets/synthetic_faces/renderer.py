"""From a person and a capture to a picture with exact annotation."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bench.seeds import numpy_generator
from bench.surfaces import SurfaceMap
from datasets.procedural.arrays import BoolArray, FloatArray, IntArray
from datasets.procedural.background import dimmed, paint_background
from datasets.procedural.camera import develop
from datasets.procedural.mesh import unit_length
from datasets.procedural.occluders import Layer, draw_occluder
from datasets.procedural.rasteriser import rasterise
from datasets.procedural.samples import SUPERSAMPLING, pooled, share_per_pixel
from datasets.procedural.shading import shade, shadow
from datasets.procedural.surface import surface_map
from datasets.synthetic_faces import materials
from datasets.synthetic_faces.annotation import NECK_FROM, head_box, skin_coordinates, visible_landmarks
from datasets.synthetic_faces.head import head_mesh
from datasets.synthetic_faces.identity import Identity, draw_identity
from datasets.synthetic_faces.parts import Material, Part
from datasets.synthetic_faces.scene import Capture, draw_capture
from datasets.synthetic_faces.skin import paint_skin
from datasets.synthetic_faces.staging import Staged, stage

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
    identity, capture = _drawn(seed, split, index, pool, person, wild)
    return render(identity, capture, size, numpy_generator(seed, "synthetic-faces", "sensor", split, index))


def sample_surface(
    seed: int, split: str, index: int, pool: str, person: int, size: int, wild: bool
) -> SurfaceMap:
    """Where the skin of the head that shows in picture ``index`` lies on the template head."""
    return head_surface(*_drawn(seed, split, index, pool, person, wild), size)


def _drawn(seed: int, split: str, index: int, pool: str, person: int, wild: bool) -> tuple[Identity, Capture]:
    capture = draw_capture(numpy_generator(seed, "synthetic-faces", "capture", split, index), wild)
    return draw_identity(seed, pool, person), capture


def render(identity: Identity, capture: Capture, size: int, grain: np.random.Generator) -> Rendering:
    """Render a person in a capture.

    Args:
        grain: Draws the sensor's noise.
    """
    staged = stage(identity, capture, size)
    side, points = size * SUPERSAMPLING, staged.points
    fragments, _ = staged.rasterised(SUPERSAMPLING)
    part = staged.mesh.part_of_triangle[fragments.triangle]
    attributes = np.concatenate([staged.normals, staged.vertices, staged.mesh.attributes], axis=1)
    values = fragments.interpolate(attributes, staged.mesh.triangles)
    colour = _colours(values, part, staged)

    skin = staged.part_is(Material.SKIN)[part]
    is_head = staged.part_is(*_HEAD_PARTS)[part]
    is_head &= ~(skin & (values[:, 7] > NECK_FROM))
    canvas = np.zeros((side * side, 4), dtype=np.float32)
    canvas[fragments.sample, :3], canvas[fragments.sample, 3] = colour, 1.0
    depth = np.full(side * side, -np.inf, dtype=np.float32)
    depth[fragments.sample] = values[:, 5]
    opaque = _put_lenses(canvas, depth, staged, SUPERSAMPLING)
    canvas = pooled(canvas.reshape(side, side, 4))
    head = share_per_pixel(fragments.sample, is_head, side)

    scene = dimmed(paint_background(capture.background_seed, size), capture.light)
    scene = scene * (1 - canvas[..., 3:]) + canvas[..., :3]
    cover = np.zeros((size, size), dtype=np.float32)
    if capture.occluder is not None:
        paint, cover = _in_front(staged)
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
        surface=skin_coordinates(fragments.sample[skin], values[skin], side, cover),
    )


def head_surface(identity: Identity, capture: Capture, size: int) -> SurfaceMap:
    """Positions (3) on the template head of the skin at each pixel's centre; without neck and ears."""
    staged = stage(identity, capture, size)
    fragments, screen = staged.rasterised(1)
    depth = np.full(size * size, -np.inf, dtype=np.float32)
    depth[fragments.sample] = fragments.interpolate(staged.vertices[:, 2:], staged.mesh.triangles)[:, 0]
    hidden = _put_lenses(np.zeros((size * size, 4), dtype=np.float32), depth, staged, 1)
    if capture.occluder is not None:
        hidden |= _in_front(staged)[1] >= 0.5
    template = np.full((len(staged.vertices), 3), np.nan, dtype=np.float32)
    mesh = head_mesh()
    head = mesh.height <= NECK_FROM
    template[: len(head)][head] = mesh.vertices[head]  # the skin is the first part
    kept = ~hidden.reshape(-1)[fragments.sample]
    return surface_map(fragments.take(kept), screen, staged.mesh.triangles, template, size)


def _in_front(staged: Staged) -> Layer:
    """Colour and opacity of the occluder; only for captures that have one."""
    capture, light = staged.capture, staged.capture.light
    if capture.occluder is None:
        raise ValueError("this capture has no occluder")
    middle = staged.points.mean(0)
    return draw_occluder(
        capture.occluder,
        capture.occluder_seed,
        staged.size,
        (float(middle[0]), float(middle[1])),
        staged.unit,
        light.direction,
        0.6 * light.key + 0.5 * (light.sky + light.ground),
        staged.identity.skin,
    )


def _colours(values: FloatArray, part: IntArray, staged: Staged) -> FloatArray:
    """(F, 3) linear colour of the fragments; values are normal, position, surface, place, cavity."""
    identity, capture, model, vertices = staged.identity, staged.capture, staged.model, staged.vertices
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


def _put_lenses(canvas: FloatArray, depth: FloatArray, staged: Staged, fineness: int) -> BoolArray:
    """Tint what lies behind the lenses, in place; returns the (side, side) samples behind opaque ones.

    Shapes:
        canvas: (side * side, 4). depth: (side * side,), of what is drawn so far.
    """
    side = math.isqrt(len(depth))
    model, capture = staged.model, staged.capture
    opaque = np.zeros(side * side, dtype=np.bool_)
    for rim in model.lenses:
        outline = np.concatenate([rim.mean(0, keepdims=True), rim]) @ capture.pose.matrix().T
        screen = staged.on_screen(outline, fineness)
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
