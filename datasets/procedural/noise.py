"""Tileable noise pictures that every texture is looked up in; drawn once, from a fixed seed."""

from __future__ import annotations

from functools import cache
from typing import Literal

import numpy as np

from bench.seeds import numpy_generator
from datasets.procedural.arrays import FloatArray

Kind = Literal["cloud", "grain", "strand", "curl"]
SIDE = 256


@cache
def tile(kind: Kind) -> FloatArray:
    """(SIDE, SIDE) noise with mean 0 and standard deviation 1 that repeats without seams.

    ``cloud`` is soft, ``grain`` fine, ``strand`` runs along the rows' direction (down), ``curl`` is band-limited.
    """
    rng = numpy_generator(0, "synthetic-faces", "noise", kind)
    spectrum = np.fft.rfft2(rng.standard_normal((SIDE, SIDE)))
    fy, fx = np.fft.fftfreq(SIDE)[:, None] * SIDE, np.fft.rfftfreq(SIDE)[None] * SIDE
    f = np.hypot(fy, fx) + 1e-6
    weight = {
        "cloud": f**-1.6,
        "grain": f**-0.5,
        "strand": np.exp(-((fy / 5.0) ** 2)) * f**-0.35,
        "curl": np.exp(-(((f - 14.0) / 7.0) ** 2)),
    }[kind]
    weight[0, 0] = 0.0
    field = np.fft.irfft2(spectrum * weight, s=(SIDE, SIDE))
    return np.asarray(field / field.std(), dtype=np.float32)


def look_up(kind: Kind, u: FloatArray, v: FloatArray) -> FloatArray:
    """Noise at (u, v), where one unit is one repetition; nearest value."""
    columns = np.floor(u * SIDE).astype(np.int64) & (SIDE - 1)
    rows = np.floor(v * SIDE).astype(np.int64) & (SIDE - 1)
    return np.asarray(tile(kind)[rows, columns])
