"""What lies beside a record, as bytes: its per-sample values in one ``.npz``, its drawings as PNG files."""

from __future__ import annotations

import io
import re
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from bench.errors import BenchError

Array = np.ndarray[Any, Any]

NAME = re.compile(r"[\w=.-]+")
"""Of arrays and drawings."""

BROKEN = (OSError, ValueError, KeyError, EOFError, MemoryError, zipfile.BadZipFile, zlib.error)
"""What reading a damaged ``.npz`` raises."""

MAX_UNPACKED_BYTES = 4 * 2**30
"""A small file may claim to unpack to more than there is memory."""

_RESERVED = {"file", "allow_pickle"}  # parameters of numpy.savez itself


def png(name: str, drawing: Array) -> bytes:
    """The content of a PNG file of a drawing, (H, W, 3), uint8, RGB.

    Raises:
        BenchError: for a drawing of another kind, or a name that could not be part of a file's.
    """
    if NAME.fullmatch(name) is None:
        raise BenchError(f"{name!r} cannot name a picture: letters, digits and _ = . - can")
    if drawing.dtype != np.uint8 or drawing.ndim != 3 or drawing.shape[2] != 3:
        raise BenchError(f"picture {name!r} is {drawing.dtype} {drawing.shape}, expected uint8 (H, W, 3)")
    buffer = io.BytesIO()
    Image.fromarray(drawing).save(buffer, "PNG")
    return buffer.getvalue()


def pack(arrays: Mapping[str, Array]) -> bytes:
    """The content of an ``.npz``.

    Raises:
        BenchError: for what could not be read back: Python objects, NaN, names that numpy would not take.
    """
    for name, array in arrays.items():
        if NAME.fullmatch(name) is None or name in _RESERVED:
            raise BenchError(f"{name!r} cannot name per-sample values: letters, digits and _ = . - can")
        if array.dtype.hasobject:
            raise BenchError(f"per-sample values {name!r} are Python objects: expected numbers or strings")
        if array.dtype.kind in "fc" and not np.isfinite(array).all():
            raise BenchError(
                f"per-sample values {name!r} are not all finite",
                hint="Where a point has no value, store a finite filler and a boolean mask beside it.",
            )
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def unpack(file: Path) -> dict[str, Array]:
    """The arrays of an ``.npz``; no object of Python is ever made from one.

    Raises:
        FileNotFoundError: where there is none.
        Any of BROKEN: where it is damaged, or holds what :func:`pack` would not have written.
    """
    with zipfile.ZipFile(file) as packed:
        unpacked = sum(member.file_size for member in packed.infolist())
    if unpacked > MAX_UNPACKED_BYTES:
        raise ValueError(f"they would unpack to {unpacked / 2**30:.0f} GiB")
    with np.load(file, allow_pickle=False) as stored:
        return {name: stored[name] for name in stored.files}
