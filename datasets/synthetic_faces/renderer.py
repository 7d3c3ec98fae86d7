"""From a person and a capture to a picture with exact annotation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bench.seeds import numpy_generator
from datasets.synthetic_faces import hair as hairdresser
from datasets.synthetic_faces import materials
from datasets.synthetic_faces.background import paint_background
from datasets.synthetic_faces.camera import develop
from datasets.synthetic_faces.deformation import displace, movements, traits
from datasets.synthetic_faces.head import IntArray, grid_normals, head_mesh, ramp
from datasets.synthetic_faces.identity import Identity, draw_identity
from datasets.synthetic_faces.layout import EYES, FloatArray
from datasets.synthetic_faces.materials import FaceState
from datasets.synthetic_faces.occluders import draw_occluder
from datasets.synthetic_faces.parts import Material, Part, ears, glasses, shoulders
from datasets.synthetic_faces.rasteriser import BoolArray, Fragments, rasterise
from datasets.synthetic_faces.scene import Capture, draw_capture
from datasets.synthetic_faces.shading import shade, shadow

RENDERER_VERSION = 1
SUPERSAMPLING = 2

_SAME_SPOT = 0.09  # two surface points closer than this (units of the template) are one landmark's surroundings
_HEAD_PARTS = (Material.SKIN, Material.EAR, Material.HAIR, Material.HAT, Material.FRAME)
_NECK_FROM = 1.36  # height below which skin is neck, not head


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


@dataclass(frozen=True, eq=False)
class _Model:
    """The parts in the frame of the head, and what the painters need to know."""

    parts: list[Part]
    lenses: list[FloatArray]
    dark_lenses: bool
    landmarks: FloatArray
    face: FaceState


def render_sample(seed: int, split: str, index: int, pool: str, person: int, size: int, wild: bool) -> Rendering:
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
    model = _build(identity, capture)
    side = size * SUPERSAMPLING
    turned = [_posed(part, capture) for part in model.parts]
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
    colour = _colours(values, part, model, identity, capture, mesh, vertices)

    material = np.array([p.material for p in model.parts])[part]
    is_head = np.isin(material, _HEAD_PARTS) & ~((material == Material.SKIN) & (values[:, 7] > _NECK_FROM))
    canvas = np.zeros((side * side, 4), dtype=np.float32)
    canvas[fragments.sample, :3], canvas[fragments.sample, 3] = colour, 1.0
    opaque = _put_lenses(canvas, model, capture, unit, offset, side)
    canvas = canvas.reshape(size, SUPERSAMPLING, size, SUPERSAMPLING, 4).mean((1, 3))
    head = _per_pixel(fragments.sample, is_head, side)

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
    skin = material == Material.SKIN
    seen = _visible(points, fragments.sample[skin], values[skin, 6:9], side, opaque)
    inside = np.clip(points.astype(np.int64), 0, size - 1)
    visible = seen & mask[inside[:, 1], inside[:, 0]]
    visible &= ((points >= 0) & (points < size)).all(-1)
    return Rendering(
        image=develop(scene.astype(np.float32), capture.camera, grain),
        points=points,
        visible=visible,
        mask=mask,
        box=_box(head >= 0.5, points, size),
        surface=_surface(fragments.sample[skin], values[skin], side, cover),
    )


def _build(identity: Identity, capture: Capture) -> _Model:
    mesh = head_mesh()
    still = displace(mesh.vertices, traits(), identity.shape)
    moved = displace(still, movements(), capture.expression)
    normals = grid_normals(moved, mesh.rows, mesh.columns)
    surface = np.stack([mesh.vertices[:, 0], mesh.height, mesh.longitude], -1)
    parts = [Part(Material.SKIN, moved, normals, mesh.triangles, surface, moved[:, :2], mesh.cavity)]
    rest, landmarks = mesh.landmarks(still), mesh.landmarks(moved)
    tips = tuple(rest[i] * np.float32((1.0, 0.0, 0.0)) + np.float32((0.0, 0.2, -0.22)) for i in (1, 15))
    parts += ears((tips[0], tips[1]), identity.ear_size)
    still_normals = grid_normals(still, mesh.rows, mesh.columns)
    shell = hairdresser.hair(identity, still, still_normals)
    rng = np.random.Generator(np.random.PCG64(capture.parts_seed))
    if shell is not None:
        parts.append(shell)
    if capture.hat:
        tilt, depth = float(rng.normal(0, 0.08)), float(rng.uniform(-0.6, -0.4))
        parts.append(hairdresser.hat(still, still_normals, tilt, depth))
    eyes = np.stack([rest[eye].mean(0) for eye in EYES])
    lenses: list[FloatArray] = []
    dark = False
    if identity.glasses is not None and capture.glasses:
        design = np.random.Generator(np.random.PCG64(identity.glasses))
        temples = np.stack([tip + np.float32((0, -0.25, 0)) for tip in tips])
        frame, lenses, dark = glasses(eyes, temples, design)
        parts += frame
    neck = 0.52 * (1 + 0.1 * identity.shape["neck_width"])
    parts.append(shoulders(neck, capture.breadth, capture.collar))
    reach = np.float32((0.045, 0.03))
    face = FaceState(
        eyes=eyes[:, :2],
        pupils=np.repeat(np.asarray(capture.gaze, dtype=np.float32)[None] * reach, 2, 0),
        upper_lip=float(landmarks[62, 1]),
        lower_lip=float(landmarks[66, 1]),
    )
    return _Model(parts, lenses, dark, landmarks, face)


def _posed(part: Part, capture: Capture) -> tuple[FloatArray, FloatArray]:
    """Vertices and normals in the view; the neck bends between the head's rotation and the shoulders'."""
    head = capture.pose.matrix()
    if part.material not in (Material.SKIN, Material.HAIR, Material.CLOTH):
        return part.vertices @ head.T, part.normals @ head.T
    body = capture.pose.matrix(capture.pose.turn)
    pivot = np.array([0.0, 1.3, -0.3], dtype=np.float32)
    below = ramp(part.vertices[:, 1], 1.3, 1.95)[:, None]
    if part.material is Material.CLOTH:
        below = np.ones_like(below)
    elif part.material is Material.HAIR:
        below = 0.6 * below
    shift = pivot @ head.T - pivot @ body.T
    vertices = (part.vertices @ head.T) * (1 - below) + (part.vertices @ body.T + shift) * below
    normals = (part.normals @ head.T) * (1 - below) + (part.normals @ body.T) * below
    return vertices.astype(np.float32), normals.astype(np.float32)


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
    starts = np.cumsum([0, *(len(p.vertices) for p in parts)])
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
    model: _Model,
    identity: Identity,
    capture: Capture,
    mesh: _Joined,
    vertices: FloatArray,
) -> FloatArray:
    """(F, 3) linear colour of the fragments; values are normal, position, surface, place, cavity."""
    normals = values[:, :3] / (np.linalg.norm(values[:, :3], axis=1, keepdims=True) + 1e-9)
    albedo, gloss = np.empty((len(part), 3), dtype=np.float32), np.empty(len(part), dtype=np.float32)
    flesh = np.zeros(len(part), dtype=np.float32)
    casters = []
    start = 0
    for i, piece in enumerate(model.parts):
        own = vertices[start : start + len(piece.vertices)]
        start += len(piece.vertices)
        shell = piece.material in (Material.HAIR, Material.HAT)
        if piece.material is not Material.FRAME:
            casters.append(own[piece.surface[:, 0] > 0.03] if shell else own)
        mine = np.flatnonzero(part == i)
        surface, place = values[mine, 6:9], values[mine, 9:11]
        if piece.material is Material.SKIN:
            painted = materials.paint_skin(surface, place, identity, model.face)
            flesh[mine] = 1.0
        elif piece.material is Material.EAR:
            painted = materials.paint_ear(surface, identity)
            flesh[mine] = 1.0
        elif piece.material is Material.HAIR:
            painted = materials.paint_hair(surface, identity)
        elif piece.material is Material.HAT:
            painted = materials.paint_hat(surface, capture.cloth)
        elif piece.material is Material.FRAME:
            design = np.random.Generator(np.random.PCG64(identity.glasses))
            tone = np.clip(design.uniform(0.0, 0.12, 3) + (0.3 if design.random() < 0.3 else 0.0), 0.005, 1)
            painted = np.repeat(tone[None].astype(np.float32), len(mine), 0), np.full(len(mine), 0.8, np.float32)
        else:
            painted = materials.paint_cloth(surface, capture.cloth, capture.cloth_pattern)
        albedo[mine], gloss[mine] = painted
    lit = shadow(np.concatenate(casters), values[:, 3:6], capture.light)
    return shade(albedo, gloss, normals, values[:, 11], lit, flesh, capture.light)


def _put_lenses(
    canvas: FloatArray, model: _Model, capture: Capture, unit: float, offset: FloatArray, side: int
) -> BoolArray:
    """Tint what lies behind the lenses, in place; returns the (side, side) samples behind opaque ones."""
    opaque = np.zeros(side * side, dtype=np.bool_)
    for rim in model.lenses:
        outline = np.concatenate([rim.mean(0, keepdims=True), rim]) @ capture.pose.matrix().T
        screen = (outline * np.float32(unit * SUPERSAMPLING)).astype(np.float32)
        screen[:, :2] += offset * SUPERSAMPLING
        index = np.arange(1, len(outline) - 1)
        fan = np.stack([np.zeros_like(index), index, index + 1], -1)
        lens = rasterise(screen, fan, side)
        across = lens.interpolate(outline[:, :2].astype(np.float32), fan)
        glare = 0.1 + 0.25 * np.exp(-(((across.sum(1) - float(outline[0, :2].sum()) + 0.1) / 0.1) ** 2))
        veil = (capture.light.key + capture.light.sky) * np.float32(0.35)
        keep = 0.1 if model.dark_lenses else 0.9
        behind = canvas[lens.sample]
        tinted = behind[:, :3] * keep + (glare * (0.35 if model.dark_lenses else 0.3))[:, None] * veil
        canvas[lens.sample, :3] = np.where(behind[:, 3:] > 0, tinted, behind[:, :3])
        if model.dark_lenses:
            opaque[lens.sample] = True
    return opaque.reshape(side, side)


def _per_pixel(sample: IntArray, chosen: BoolArray, side: int) -> FloatArray:
    """(S, S) share of a pixel's samples that are chosen."""
    flat = np.zeros(side * side, dtype=np.float32)
    flat[sample[chosen]] = 1.0
    size = side // SUPERSAMPLING
    return np.asarray(flat.reshape(size, SUPERSAMPLING, size, SUPERSAMPLING).mean((1, 3)))


def _visible(points: FloatArray, sample: IntArray, surface: FloatArray, side: int, opaque: BoolArray) -> BoolArray:
    """Whether the skin that shows where a landmark is projected is the landmark's own.

    Compared in surface coordinates: what shows there may be another part of the head (self-occlusion), hair or
    glasses; then no neighbouring sample lies close to the landmark on the surface.
    """
    mesh = head_mesh()
    own = mesh.landmarks(np.stack([mesh.vertices[:, 0], mesh.height, mesh.longitude], -1))
    shown = np.full((side + 2, side + 2, 3), np.inf, dtype=np.float32)
    rows, columns = sample // side, sample % side
    shown[rows + 1, columns + 1] = surface
    shown[1:-1, 1:-1][opaque] = np.inf
    at = np.clip(np.floor(points * SUPERSAMPLING).astype(np.int64), 0, side - 1)
    offsets = np.stack(np.meshgrid(range(3), range(3), indexing="ij"), -1).reshape(-1, 2)
    around = shown[at[:, None, 1] + offsets[:, 0], at[:, None, 0] + offsets[:, 1]]
    away = np.abs(around - own[:, None])
    near = (away[..., 1] < _SAME_SPOT) & (away[..., 2] < 1.2 * _SAME_SPOT)
    return np.asarray(near.sum(1) >= 2)


def _box(head: BoolArray, points: FloatArray, size: int) -> FloatArray:
    """Bounds of the head and its landmarks."""
    rows, columns = np.flatnonzero(head.any(1)), np.flatnonzero(head.any(0))
    low, high = points.min(0), points.max(0)
    if len(rows):
        low = np.minimum(low, (columns[0], rows[0]))
        high = np.maximum(high, (columns[-1] + 1, rows[-1] + 1))
    return np.clip(np.concatenate([low, high]), 0, size).astype(np.float32)


def _surface(sample: IntArray, values: FloatArray, side: int, cover: FloatArray) -> FloatArray:
    """(S, S, 2) mean surface coordinates of the head's skin in each pixel."""
    size = side // SUPERSAMPLING
    pixel = (sample // side // SUPERSAMPLING) * size + sample % side // SUPERSAMPLING
    head = values[:, 7] < _NECK_FROM
    pixel = pixel[head]
    count = np.bincount(pixel, minlength=size * size)
    sums = [np.bincount(pixel, values[head, column], size * size) for column in (8, 7)]
    mean = np.stack(sums, -1) / np.maximum(count, 1)[:, None]
    mean[(count == 0) | (cover.reshape(-1) >= 0.5)] = np.nan
    return mean.reshape(size, size, 2).astype(np.float32)
