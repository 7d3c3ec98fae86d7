"""Found parts, drawn over the images."""

from __future__ import annotations

from typing import Any

import numpy as np

from bench.loading import LoadedSplit
from protocols.part_discovery.picture_sheet import Picture, Row, class_colours, draw_sheet, painted, palette

_CUT = (2, 98)  # percentiles of principal coordinates that become black and full colour


def draw_parts(shown: LoadedSplit, clusters: Picture, amounts: Picture, axes: Picture) -> Picture:
    """Images, their annotation if they have masks, clusters, factors and principal axes; one column per image.

    A factor's colour is as strong as its amount, relative to the largest amount in the picture.

    Shapes:
        clusters: (N, S, S).  amounts: (N, P, S, S).  axes: (N, 3, S, S).  returns: (H, W, 3), uint8.
    """
    images = shown.images.permute(0, 2, 3, 1).numpy()
    parts = palette(amounts.shape[1])
    rows = [Row("image", list(images))]
    if shown.masks is not None:
        colours = class_colours(len(shown.classes))
        rows.append(_tinted("annotation", images, shown.masks.numpy(), colours))
    rows.append(_tinted("k-means", images, clusters, parts))
    strength = amounts.max(1) / max(float(amounts.max()), np.finfo(np.float32).tiny)
    rows.append(_tinted("non-negative\nfactors", images, amounts.argmax(1), parts, 0.9 * strength))
    rows.append(Row("principal axes\n1, 2, 3 as\nred, green, blue", list(as_colours(axes))))
    legend = [(f"part {number + 1}", colour) for number, colour in enumerate(parts)]
    return draw_sheet(
        rows, legend, title="parts found without annotation; one colour is one part in every image"
    )


def as_colours(axes: Picture) -> Picture:
    """(N, 3, S, S) coordinates -> (N, S, S, 3) in [0, 1], scaled alike in all images."""
    low, high = np.percentile(axes, _CUT, axis=(0, 2, 3), keepdims=True)
    scaled = (axes - low) / np.maximum(high - low, np.finfo(np.float32).tiny)
    return np.asarray(scaled).clip(0, 1).transpose(0, 2, 3, 1)


def _tinted(
    name: str, images: Picture, numbers: Picture, colours: Any, strength: Picture | None = None
) -> Row:
    strengths = np.full(len(images), 0.7) if strength is None else strength
    pictures = [painted(i, n, colours, s) for i, n, s in zip(images, numbers, strengths, strict=True)]
    return Row(name, pictures)
