"""Ellipsoids as the tests of the shared renderer need them: splits, shots, and rays through them."""

from __future__ import annotations

from typing import ClassVar, cast

import numpy as np

from bench.progress import Progress
from datasets.procedural.category import Category, Shot
from datasets.procedural.dataset import CategoryDataset
from datasets.procedural.provider import ProceduralOptions, ProceduralProvider
from datasets.procedural.renderer import Rendering, render
from tests.datasets.procedural_balls import Balls

SIZE = 64


class BallsProvider(ProceduralProvider):
    name: ClassVar[str] = Balls.name
    summary: ClassVar[str] = Balls.summary
    category: ClassVar[type[Category]] = Balls


def opened(split: str = "train", **options: object) -> CategoryDataset:
    chosen = ProceduralOptions.model_validate({"size": SIZE, "pretrain": 6, "train": 6, "test": 6, **options})
    dataset = cast(CategoryDataset, BallsProvider().open(split, None, chosen))
    dataset._progress = Progress.silent()
    return dataset


def staged(index: int, *, wild: bool = False) -> Shot:
    return Balls().shot(Balls().take(0, "train", index, wild))


def rendered(shot: Shot, size: int = SIZE) -> Rendering:
    return render(shot, size, np.random.default_rng(0))


def hits(shot: Shot, points: np.ndarray) -> list[list[tuple[int, float, np.ndarray]]]:
    """Every (piece, depth, surface coordinates) on the ray through each point (x, y in the view), in float64."""
    found: list[list[tuple[int, float, np.ndarray]]] = []
    for x, y in points.astype(np.float64):
        mine = []
        for number, piece in enumerate([*shot.subject.pieces, *shot.others]):
            corners = piece.vertices[piece.triangles].astype(np.float64)
            for triangle, names in zip(corners, piece.surface[piece.triangles], strict=True):
                if (
                    not (triangle[:, :2].min(0) <= (x, y)).all()
                    or not (triangle[:, :2].max(0) >= (x, y)).all()
                ):
                    continue
                system = np.vstack([triangle[:, :2].T, np.ones(3)])
                if abs(np.linalg.det(system)) > 1e-12:
                    weights = np.linalg.solve(system, [x, y, 1.0])
                    if weights.min() >= 0:
                        mine.append((number, float(weights @ triangle[:, 2]), weights @ names))
        found.append(mine)
    return found
