"""Variables of MATLAB annotation files, with what is wrong with a file told by its name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import scipy.io

from bench.errors import BenchError
from bench.file_kinds import misfit

# What SciPy's parser raises when it meets bytes that no MATLAB wrote.
_DAMAGE = (scipy.io.matlab.MatReadError, ValueError, TypeError, KeyError, IndexError, OSError, MemoryError)

Array = np.ndarray[Any, Any]


def read_mat(path: Path, variable: str, *, source: str) -> Array:
    """One variable of a file of version 5 to 7, as SciPy gives it: at least two-dimensional, cells as objects.

    Args:
        source: Where the file is had; part of the messages.

    Raises:
        BenchError: where the file is missing, a web page, damaged, of version 7.3, or lacks the variable.
    """
    if not path.is_file():
        raise BenchError(f"{path} is missing", hint=f"It is had from {source}.")
    wrong = misfit(path)
    if wrong is not None:
        raise BenchError(f"{path} is {wrong}", hint=f"Get it again from {source}.")
    try:
        content = scipy.io.loadmat(path)
    except NotImplementedError as error:
        raise BenchError(f"{path} is a MATLAB 7.3 file", hint="Save it as version 7 (save -v7).") from error
    except _DAMAGE as error:
        raise BenchError(f"{path} is damaged: {error}", hint=f"Get it again from {source}.") from error
    if variable not in content:
        there = ", ".join(sorted(key for key in content if not key.startswith("__"))) or "nothing"
        raise BenchError(f"{path} has no variable {variable!r}", hint=f"It holds: {there}.")
    return np.asarray(content[variable])
