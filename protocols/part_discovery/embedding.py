"""Descriptors in the plane: t-SNE, and the clusters that show there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from sklearn.cluster import KMeans
from sklearn.manifold import TSNE

from bench.context import Arrays
from bench.seeds import derive_seed
from protocols.part_discovery.models import Matrix, all_the_same
from protocols.part_discovery.picture_sheet import palette, rendered

_PERPLEXITY = 30.0
_STARTS = 4
_MOST_NAMED = 24


@dataclass(frozen=True)
class Embedding:
    """Points of the plane and the clusters among them.

    Shapes:
        positions: (P, 2), float32.  clusters: (P,), int64.
    """

    positions: npt.NDArray[np.float32]
    clusters: npt.NDArray[np.int64]


def embed(descriptors: Matrix, parts: int, seed: int) -> Embedding:
    """t-SNE of descriptors (P, C), and k-means of its result. Equal descriptors are one cluster."""
    if all_the_same(descriptors) or len(descriptors) <= parts:
        return Embedding(np.zeros((len(descriptors), 2), np.float32), np.zeros(len(descriptors), np.int64))
    perplexity = min(_PERPLEXITY, (len(descriptors) - 1) / 3)
    plane = TSNE(perplexity=perplexity, init="pca", random_state=derive_seed(seed, "t-sne") % 2**32)
    positions = plane.fit_transform(descriptors).astype(np.float32)
    clusters = KMeans(parts, n_init=_STARTS, random_state=derive_seed(seed, "plane") % 2**32)
    return Embedding(positions, clusters.fit_predict(positions).astype(np.int64))


def draw_embedding(arrays: Arrays, names: tuple[str, ...], what: str) -> np.ndarray[Any, Any]:
    """Two scatter plots of the same points, coloured by what they are and by cluster; (H, W, 3), uint8.

    Args:
        arrays: ``positions`` (P, 2), ``true`` and ``clusters`` (P,).
        names: Of the true parts; of very many, none is printed.
        what: The kind of true part.
    """
    figure = Figure(figsize=(11, 5), dpi=100, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    x, y = arrays["positions"].T
    found = tuple(f"cluster {number + 1}" for number in range(int(arrays["clusters"].max()) + 1))
    panels = (("true", names, f"coloured by {what}"), ("clusters", found, "coloured by cluster"))
    for axes, (key, labels, title) in zip(figure.subplots(1, 2), panels, strict=True):
        colours = palette(len(labels))
        for number, label in enumerate(labels):
            chosen = arrays[key] == number
            axes.scatter(x[chosen], y[chosen], s=8, color=colours[number], label=label, linewidths=0)
        axes.set_title(title, fontsize=10)
        axes.set(xticks=[], yticks=[])
        if len(labels) <= _MOST_NAMED:
            axes.legend(fontsize=7, markerscale=2, loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    return rendered(canvas)
