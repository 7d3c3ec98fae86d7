"""From people and captures to pictures with exact annotation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bench.seeds import numpy_generator
from bench.surfaces import SurfaceMap
from datasets.procedural.backend import HOST, Backend
from datasets.procedural.drawing import View, draw
from datasets.procedural.renderer import Rendering
from datasets.procedural.samples import SUPERSAMPLING, share_per_pixel
from datasets.procedural.surface import frame_surface
from datasets.synthetic_faces.annotation import NECK_FROM, head_box, visible_landmarks
from datasets.synthetic_faces.identity import Identity, draw_identity
from datasets.synthetic_faces.parts import Material
from datasets.synthetic_faces.pieces import SURFACE
from datasets.synthetic_faces.scene import Capture, draw_capture
from datasets.synthetic_faces.staging import Staged, stage

RENDERER_VERSION = 1

_HEAD_PARTS = (Material.SKIN, Material.EAR, Material.HAIR, Material.HAT, Material.FRAME)


def render_sample(
    seed: int, split: str, index: int, pool: str, person: int, size: int, wild: bool
) -> Rendering:
    """Picture ``index`` of a split; depends on the arguments and nothing else."""
    return render_samples(seed, split, [index], pool, [person], size, wild)[0]


def render_samples(
    seed: int,
    split: str,
    indices: Sequence[int],
    pool: str,
    people: Sequence[int],
    size: int,
    wild: bool,
    on: Backend = HOST,
) -> list[Rendering]:
    """Several pictures of a split, each of the person of the pool beside its index."""
    who = zip(indices, people, strict=True)
    drawn = [_drawn(seed, split, index, pool, person, wild) for index, person in who]
    grains = [numpy_generator(seed, "synthetic-faces", "sensor", split, index) for index in indices]
    return render_batch(drawn, size, grains, on)


def sample_surface(
    seed: int, split: str, index: int, pool: str, person: int, size: int, wild: bool
) -> SurfaceMap:
    """Where the skin of the head that shows in picture ``index`` lies on the template head."""
    return head_surface(*_drawn(seed, split, index, pool, person, wild), size)


def _drawn(seed: int, split: str, index: int, pool: str, person: int, wild: bool) -> tuple[Identity, Capture]:
    capture = draw_capture(numpy_generator(seed, "synthetic-faces", "capture", split, index), wild)
    return draw_identity(seed, pool, person), capture


def render(identity: Identity, capture: Capture, size: int, grain: np.random.Generator) -> Rendering:
    """Render a person in a capture; see ``render_batch``."""
    return render_batch([(identity, capture)], size, [grain])[0]


def render_batch(
    people: Sequence[tuple[Identity, Capture]],
    size: int,
    grains: Sequence[np.random.Generator],
    on: Backend = HOST,
) -> list[Rendering]:
    """Render people in captures.

    The masks are of the visible heads (face, ears, hair, glasses), without neck, clothes and occluders; the boxes those
    of the head as if nothing were in front of it, and hold every landmark.

    Args:
        grains: One a capture; draws the sensor's noise.
        on: See ``datasets.procedural.renderer.render_batch``.
    """
    staged = [stage(identity, capture, size) for identity, capture in people]
    views = draw([one.frame for one in staged], grains, on)
    return [_annotated(one, view) for one, view in zip(staged, views, strict=True)]


def _annotated(staged: Staged, view: View) -> Rendering:
    frame, points = staged.frame, staged.points
    size, side = frame.size, frame.size * SUPERSAMPLING
    surface = view.place[:, SURFACE]
    skin = staged.part_is(Material.SKIN)[view.piece]
    is_head = staged.part_is(*_HEAD_PARTS)[view.piece]
    is_head &= ~(skin & (surface[:, 1] > NECK_FROM))
    head = share_per_pixel(view.sample, is_head, side) >= 0.5
    mask = head & ~frame.covered
    seen = visible_landmarks(points, view.sample[skin], surface[skin], side, view.behind)
    column, row = np.clip(points.astype(np.int64), 0, size - 1).T
    inside = ((points >= 0) & (points < size)).all(-1)
    return Rendering(
        image=view.image,
        points=points,
        visible=seen & mask[row, column] & inside,
        mask=mask,
        box=head_box(head, points, size),
    )


def head_surface(identity: Identity, capture: Capture, size: int) -> SurfaceMap:
    """Positions (3) on the template head of the skin at each pixel's centre; without neck and ears."""
    return frame_surface(stage(identity, capture, size).frame)
