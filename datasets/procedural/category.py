"""What a category gives the shared renderer: individuals posed in a scene, as meshes with landmarks.

View frame: x to the image's right, y down, z towards the viewer; the projection is orthographic. The unit is the
category's own (say, the distance between the eyes); ``Shot.scale`` says how large it is in the picture.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from bench.seeds import Purpose, numpy_generator
from datasets.procedural.arrays import BoolArray, FloatArray, IntArray
from datasets.procedural.camera import Camera
from datasets.procedural.light import Light

Paint = Callable[[FloatArray], tuple[FloatArray, FloatArray]]
"""Place coordinates of fragments (F, 3) -> linear albedo (F, 3) and gloss (F,)."""

Backdrop = Callable[[int], FloatArray]
"""Size of the picture -> (S, S, 3) linear colour under even light; see ``background.paint_background``."""

Cover = Callable[[int], tuple[FloatArray, FloatArray]]
"""Size of the picture -> linear colour (S, S, 3) and opacity (S, S) of what is in front of everything."""


@dataclass(frozen=True, eq=False)
class Piece:
    """A posed mesh in the view.

    Shapes:
        vertices, normals: (V, 3), normals of unit length, outward.
        triangles: (T, 3); front faces run clockwise on the screen (y down). Back faces are not drawn.
        surface: (V, 3), rest-pose position on the category's template: equal numbers name the same spot on every
            individual, different spots of the template differ. NaN rows where there is none (clothes, props).
        place: (V, 3), handed to ``paint`` and ``present``, interpolated; often equal to ``surface``.
        cavity: (V,), 1 on open surface, less where it is hollow (ambient occlusion); None: 1.

    Attributes:
        paint: Colour from place coordinates.
        present: Which fragments exist, from place coordinates: ragged borders, gaps between feathers.
        figure: Part of the object's mask and box.
        translucent: 1 where light bleeds through and softens the shadow's border (skin), 0 where it does not.
        casts_shadow: Whether it keeps the key light from other pieces; or which of its vertices do, (V,).
    """

    vertices: FloatArray
    normals: FloatArray
    triangles: IntArray
    surface: FloatArray
    place: FloatArray
    paint: Paint
    cavity: FloatArray | None = None
    present: Callable[[FloatArray], BoolArray] | None = None
    figure: bool = True
    translucent: float = 0.0
    casts_shadow: bool | BoolArray = True

    def moved(self, scale: float, offset: Sequence[float]) -> Piece:
        """The piece scaled about the origin, then shifted by (x, y, z)."""
        vertices = self.vertices * np.float32(scale) + np.asarray(offset, dtype=np.float32)
        return replace(self, vertices=vertices.astype(np.float32))


@dataclass(frozen=True, eq=False)
class Subject:
    """An individual, posed.

    Shapes:
        landmarks: (K, 3), in the view; on the surface, or within it (joints).
        tolerances: (K,), in units of the view. A landmark is hidden where something is nearer to the viewer: a
            figure piece of the subject itself by more than its tolerance, anything else by any amount. On a curved
            surface a few percent of its radius; for a joint the limb's radius and a little more.
    """

    pieces: Sequence[Piece]
    landmarks: FloatArray
    tolerances: FloatArray


@dataclass(frozen=True, eq=False)
class Shot:
    """A subject in a scene, ready to be rendered.

    Attributes:
        scale: Length of the view's unit as a share of the picture's side.
        centre: Where the view's origin goes, (x, y) as shares of the picture's side. ``framing.framed`` gives a
            scale and a centre that keep all landmarks in the picture.
        others: Pieces of everything else in the same view: further animals, branches, furniture. They hide, cast
            shadows, and are neither annotated nor in the mask, whatever their ``figure`` says.
        background: Painted behind all, dimmed by the light.
        foreground: Things in front of all; what they cover to at least one half is hidden.
        girth: Width of the subject in the view's unit (a face is 1 to 2 outer eye distances wide: 1): shadows keep a
            tenth of it away from what casts them, so that a coarse mesh does not shadow itself.
    """

    subject: Subject
    light: Light
    camera: Camera
    scale: float
    centre: tuple[float, float]
    background: Backdrop
    others: Sequence[Piece] = ()
    foreground: Cover | None = None
    girth: float = 1.0


@dataclass(frozen=True)
class Take:
    """Which picture is asked for; a shot depends on these and nothing else.

    Attributes:
        pool: Individuals of different pools are different; see ``Category.pools``.
        individual: Number of the individual within its pool.
        index: Number of the picture within the split.
    """

    seed: int
    split: str
    index: int
    pool: str
    individual: int
    wild: bool

    def individual_generator(self, *purpose: Purpose) -> np.random.Generator:
        """Draws what belongs to the individual; the same in all of its pictures.

        Args:
            purpose: The category's name first, then what is drawn.
        """
        return numpy_generator(self.seed, *purpose, "individual", self.pool, self.individual)

    def picture_generator(self, *purpose: Purpose) -> np.random.Generator:
        """Draws what belongs to this picture alone; ``purpose`` as above."""
        return numpy_generator(self.seed, *purpose, "picture", self.split, self.index)


class Category(ABC):
    """A description of a kind of object. Stateless: built without arguments, wherever pictures are rendered.

    A category must not import torch: the processes that render load it. It describes with NumPy, whatever draws.

    Attributes:
        name: Name of the data set, e.g. "synthetic-cats".
        title, kind, summary: Metadata, e.g. "Procedural cats", "cat face", "procedural 3D cats with exact landmarks".
        version: Raised with every change that moves a pixel or a number, in the category or its painters.
        landmark_names, flip_indices, normaliser, normaliser_name: See ``bench.landmarks.LandmarkSchema``.
        pools: Split -> pool of individuals. Splits of one pool show the same individuals in other pictures.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    kind: ClassVar[str]
    summary: ClassVar[str]
    version: ClassVar[int]
    landmark_names: ClassVar[tuple[str, ...]]
    flip_indices: ClassVar[tuple[int, ...]]
    normaliser: ClassVar[tuple[tuple[int, ...], tuple[int, ...]] | None]
    normaliser_name: ClassVar[str]
    pools: ClassVar[dict[str, str]] = {"pretrain": "learn", "train": "learn", "test": "test"}

    @abstractmethod
    def shot(self, take: Take) -> Shot:
        """Stage one picture."""

    def individual(self, split: str, index: int) -> int:
        """Whom picture ``index`` of a split shows: by default each hundred pictures show ten individuals in turn."""
        del split
        return index // 100 * 10 + index % 10

    def take(self, seed: int, split: str, index: int, wild: bool) -> Take:
        """The picture ``index`` of a split."""
        return Take(seed, split, index, self.pools[split], self.individual(split, index), wild)
