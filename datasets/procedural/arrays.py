"""Names for arrays. What there is much of is float32 or int32; the shapes are in the docstrings."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.floating]
IntArray = npt.NDArray[np.signedinteger]
BoolArray = npt.NDArray[np.bool_]

Array: TypeAlias = Any
"""An array of a ``backend.Backend``: of NumPy, or a torch tensor on its device."""
