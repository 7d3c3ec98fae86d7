"""From frames to pictures, several at once: z-buffer, paint, light, glass, foreground, camera."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from datasets.procedural.arrays import Array, BoolArray, FloatArray, IntArray
from datasets.procedural.backend import HOST, Backend, of_picture
from datasets.procedural.batch import Batch, joined, numbered
from datasets.procedural.camera import develop
from datasets.procedural.frame import Frame
from datasets.procedural.samples import SUPERSAMPLING, pooled
from datasets.procedural.scene import CAVITY, NORMAL, PLACE, POSITION
from datasets.procedural.shading import shade, shadow, unit_length


@dataclass(frozen=True, eq=False)
class View:
    """A finished picture, and what shows where in it.

    Shapes:
        image: (S, S, 3), uint8. sample: (F,), flat index of the covered samples, ascending. piece: (F,), number of
            the piece that shows there. place: (F, P), its place coordinates.
        behind: (side, side), samples that lie behind opaque glass.
    """

    image: npt.NDArray[np.uint8]
    sample: IntArray
    piece: IntArray
    place: FloatArray
    behind: BoolArray


def draw(frames: Sequence[Frame], grains: Sequence[np.random.Generator], on: Backend = HOST) -> list[View]:
    """Draw frames of one size.

    What a picture shows is described on the host (meshes, paint, backgrounds); what is done for every sample and every
    pixel is done on the backend, for all pictures at once.

    Args:
        grains: One a frame; draws the sensor's noise.
    """
    batch = Batch(frames, SUPERSAMPLING, on)
    count, side = len(frames), batch.side
    fragments = batch.rasterised()
    values = fragments.interpolate(batch.attributes, batch.triangles)
    picture = fragments.sample // (side * side)
    shown = _Shown(
        edges=np.searchsorted(on.host(picture), np.arange(count + 1)),
        sample=on.host(fragments.sample),
        piece=on.host(batch.piece_of_triangle[fragments.triangle]),
        place=on.host(values[:, PLACE]),
    )
    canvas = on.full((count * side * side, 4), 0.0)
    canvas[fragments.sample, :3] = _colours(batch, shown, values, picture)
    canvas[fragments.sample, 3] = 1.0
    behind = [np.zeros((side, side), dtype=np.bool_)] * count
    if any(frame.panes for frame in frames):
        depth = on.full((count * side * side,), -np.inf)
        depth[fragments.sample] = values[:, POSITION][:, 2]
        behind = [
            glazed(frame, part, far, on)
            for frame, part, far in zip(
                frames, canvas.reshape(count, -1, 4), depth.reshape(count, -1), strict=True
            )
        ]
    canvas = pooled(canvas.reshape(count, side, side, 4))
    scenes = on.array(np.stack([frame.background for frame in frames]))
    scenes = scenes * (1 - canvas[..., 3:]) + canvas[..., :3]
    scenes = _with_foregrounds(scenes, frames, on)
    images = on.host(develop(on.cast(scenes, "float32"), [frame.camera for frame in frames], grains, on))
    return [
        View(image, sample - number * side * side, piece - batch.first_piece[number], place, hidden)
        for number, (image, (sample, piece, place), hidden) in enumerate(
            zip(images, shown.by_picture(), behind, strict=True)
        )
    ]


@dataclass(frozen=True, eq=False)
class _Shown:
    """The fragments on the host, as ``View`` has them, of all pictures; a picture's lie between two edges."""

    edges: IntArray
    sample: IntArray
    piece: IntArray
    place: FloatArray

    def by_picture(self) -> Iterator[tuple[IntArray, IntArray, FloatArray]]:
        for start, stop in pairwise(self.edges.tolist()):
            yield self.sample[start:stop], self.piece[start:stop], self.place[start:stop]


def _colours(batch: Batch, shown: _Shown, values: Array, picture: Array) -> Array:
    """(F, 3) linear colour of the fragments."""
    on, frames = batch.on, batch.frames
    albedo, gloss, translucent = _painted(batch, shown)
    casters = [frame.scene.casters() * np.float32(1.0 / frame.girth) for frame in frames]
    per_girth = on.array(np.array([[1.0 / frame.girth] for frame in frames], dtype=np.float32))
    lights = [frame.light for frame in frames]
    lit = shadow(
        on.array(joined(casters)),
        on.array(numbered([len(points) for points in casters])),
        values[:, POSITION] * of_picture(per_girth, picture),
        picture,
        lights,
        [frame.casters_continue for frame in frames],
        on,
    )
    return shade(
        on.array(albedo),
        unit_length(values[:, NORMAL], on),
        gloss=on.array(gloss),
        cavity=values[:, CAVITY],
        lit=lit,
        translucent=on.array(translucent),
        picture=picture,
        lights=lights,
        on=on,
    )


def _painted(batch: Batch, shown: _Shown) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Albedo (F, 3), gloss (F,) and translucency (F,): each piece paints what shows of it."""
    count = len(shown.piece)
    albedo, gloss = np.empty((count, 3), dtype=np.float32), np.empty(count, dtype=np.float32)
    translucent = np.zeros(count, dtype=np.float32)
    for number, (start, stop) in enumerate(pairwise(shown.edges.tolist())):
        first, last = batch.first_piece[number : number + 2].tolist()
        for i in range(first, last):
            mine = start + np.flatnonzero(shown.piece[start:stop] == i)
            if len(mine):
                piece = batch.pieces[i]
                albedo[mine], gloss[mine] = piece.paint(np.take(shown.place, mine, axis=0))
                translucent[mine] = piece.translucent
    return albedo, gloss, translucent


def glazed(frame: Frame, canvas: Array, depth: Array, on: Backend = HOST) -> BoolArray:
    """Draw a frame's panes over what is there, in place; returns the (side, side) samples behind opaque ones.

    Shapes:
        canvas: (side * side, 4). depth: (side * side,), in the view, of what is drawn so far.
    """
    side = math.isqrt(len(depth))
    opaque = np.zeros(side * side, dtype=np.bool_)
    for pane in frame.panes:
        screen = frame.on_screen(pane.outline, side // frame.size)
        sample, across = pane.seen(screen, side, depth, on)
        canvas[sample, :3] = pane.tinted(canvas[sample], across, on)
        if pane.opaque:
            opaque[on.host(sample)] = True
    return opaque.reshape(side, side)


def _with_foregrounds(scenes: Array, frames: Sequence[Frame], on: Backend) -> Array:
    """The scenes (B, S, S, 3) behind what is in front of all."""
    layers = [frame.foreground for frame in frames]
    if all(layer is None for layer in layers):
        return scenes
    nothing = (np.zeros_like(frames[0].background), np.zeros_like(frames[0].background[..., 0]))
    paints, covers = (
        on.array(np.stack(parts)) for parts in zip(*(layer or nothing for layer in layers), strict=True)
    )
    return scenes + (paints - scenes) * covers[..., None]
