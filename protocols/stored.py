"""What a run has stored of its test images, read back so that its predictions can be scored again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bench.context import Arrays
from bench.errors import BenchError
from bench.landmarks import LandmarkSchema


@dataclass(frozen=True, eq=False)
class StoredAnnotation:
    """The annotation of the test images, as ``annotation_arrays`` stores it.

    Shapes:
        points: (N, K, 2).  visible: (N, K).

    Attributes:
        image_size: (height, width) of the images that the method sees.
    """

    points: Tensor
    visible: Tensor
    schema: LandmarkSchema
    image_size: tuple[int, int]
    name: str = "the run's test split"

    @classmethod
    def of(cls, arrays: Arrays) -> StoredAnnotation:
        """Raises BenchError where an array is missing."""
        height, width = (int(side) for side in required_array(arrays, "image_size"))
        return cls(
            points=required_tensor(arrays, "targets"),
            visible=required_tensor(arrays, "visible"),
            schema=stored_schema(arrays),
            image_size=(height, width),
        )


def required_array(arrays: Arrays, name: str) -> np.ndarray[Any, Any]:
    """One of the stored arrays.

    Raises:
        BenchError: where a run from before it was stored lacks it.
    """
    if name not in arrays:
        raise BenchError(
            f"no {name!r} is stored, from which its scores are computed: an older version of bench measured it",
            hint="Measure it again, with --force.",
        )
    return arrays[name]


def required_tensor(arrays: Arrays, name: str) -> Tensor:
    """:func:`required_array`, laid out in memory as a stored one is: sums of either are equal to the last digit."""
    return torch.from_numpy(np.ascontiguousarray(required_array(arrays, name)))


def schema_arrays(schema: LandmarkSchema) -> Arrays:
    """A schema as arrays: ``landmark_names`` and, where known, both groups of the normaliser and the mirror images."""
    arrays: Arrays = {"landmark_names": np.array(schema.names, dtype=np.str_)}
    if schema.normaliser is not None:
        first, second = schema.normaliser
        arrays |= {
            "normaliser_first": np.array(first, dtype=np.int64),
            "normaliser_second": np.array(second, dtype=np.int64),
        }
    if schema.flip_indices is not None:
        arrays["flip_indices"] = np.array(schema.flip_indices, dtype=np.int64)
    return arrays


def stored_schema(arrays: Arrays) -> LandmarkSchema:
    """What :func:`schema_arrays` stored.

    Raises:
        BenchError: where it is missing.
    """
    names = tuple(str(name) for name in required_array(arrays, "landmark_names"))
    normaliser = None
    if not {"normaliser_first", "normaliser_second"}.isdisjoint(arrays):
        first, second = _indices(arrays, "normaliser_first"), _indices(arrays, "normaliser_second")
        normaliser = (first, second)
    flips = _indices(arrays, "flip_indices") if "flip_indices" in arrays else None
    return LandmarkSchema(names, normaliser, flip_indices=flips)


def _indices(arrays: Arrays, name: str) -> tuple[int, ...]:
    return tuple(int(index) for index in required_array(arrays, name))
