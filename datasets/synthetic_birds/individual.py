"""Who is shown: a bird's kind, proportions and plumage, the same in all of its pictures."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np

from datasets.procedural.arrays import FloatArray
from datasets.procedural.category import Piece, Subject
from datasets.procedural.mesh import ramp
from datasets.synthetic_birds.bird import Body, Part, places, template, tolerances
from datasets.synthetic_birds.plumage import Coat, painter
from datasets.synthetic_birds.species import SPECIES, Shape, Species

_ADDED = ("neck", "beak_curve", "tail_fork", "crest")  # zero on the template, varied by adding
_KEPT = ("tail_cock",)


@dataclass(frozen=True, eq=False)
class Individual:
    """A bird."""

    species: Species
    shape: Shape
    coat: Coat


def draw_individual(rng: np.random.Generator, species: Species | None = None) -> Individual:
    """A bird of a species, by default any."""
    kind = species or SPECIES[int(rng.integers(len(SPECIES)))]
    changed = {}
    for trait in (field.name for field in fields(Shape)):
        mean, drawn = float(getattr(kind.shape, trait)), float(np.clip(rng.normal(), -2, 2))
        if trait in _ADDED:
            changed[trait] = mean + 0.03 * drawn * (mean != 0)
        elif trait not in _KEPT:
            changed[trait] = mean * (1.0 + kind.variation * drawn)
    dress = kind.dresses[int(rng.integers(len(kind.dresses)))]
    dull = float(rng.uniform(0.3, 0.75)) if rng.random() < 0.25 else float(rng.uniform(0.0, 0.2))
    tint = rng.normal(1.0, 0.07, 3) * rng.uniform(0.8, 1.2)
    offset = (float(rng.random()), float(rng.random()))
    return Individual(
        kind, replace(kind.shape, **changed), Coat(dress, tint.astype(np.float32), dull, offset)
    )


def pieces(bird: Individual, body: Body, frame: FloatArray, offset: FloatArray) -> list[Piece]:
    """A posed bird in the view.

    Shapes:
        frame: (3, 3), from the bird's frame to the view (columns). offset: (3,), added afterwards.
    """
    made = []
    for name, part in body.parts.items():
        made.append(
            Piece(
                vertices=(part.vertices @ frame.T + offset).astype(np.float32),
                normals=(part.normals @ frame.T).astype(np.float32),
                triangles=part.triangles,
                surface=template().parts[name].vertices,
                place=places()[name],
                paint=painter(name, bird.coat),
                cavity=_cavity(part),
            )
        )
    return made


def subject(bird: Individual, body: Body, frame: FloatArray, offset: FloatArray) -> Subject:
    """The annotated bird; arguments as of ``pieces``."""
    landmarks = (body.landmarks @ frame.T + offset).astype(np.float32)
    return Subject(pieces(bird, body, frame, offset), landmarks, tolerances())


def _cavity(part: Part) -> FloatArray | None:
    """Dark between the legs and under the tail."""
    if part.name != "trunk":
        return None
    along, around = places()["trunk"][:, 0], np.abs(places()["trunk"][:, 1])
    return np.asarray(1.0 - 0.3 * ramp(along, 0.66, 0.8) * ramp(around, 2.2, 2.8), dtype=np.float32)
