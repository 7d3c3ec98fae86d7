"""Named seeds: one root seed, and an independent generator for every purpose.

A purpose is a path of names and numbers, such as ``("fewshot", "support", 3)``. Two purposes never share a
stream, and adding a purpose never shifts the numbers of another, so that results stay the same when a
protocol learns to draw something new.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch

Purpose = str | int


def derive_seed(root: int, *purpose: Purpose) -> int:
    """A 63-bit seed for ``purpose``, derived from ``root`` by BLAKE2b (stable across platforms and versions)."""
    text = "\x1f".join([str(int(root)), *(f"{type(p).__name__}:{p}" for p in purpose)])
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def torch_generator(root: int, *purpose: Purpose) -> torch.Generator:
    """A CPU generator for ``purpose``; drawing on the CPU keeps results independent of the device."""
    import torch  # noqa: PLC0415 - seconds to load, and processes that only draw NumPy numbers need none

    return torch.Generator().manual_seed(derive_seed(root, *purpose))


def numpy_generator(root: int, *purpose: Purpose) -> np.random.Generator:
    """A NumPy generator (PCG64) for ``purpose``."""
    return np.random.Generator(np.random.PCG64(derive_seed(root, *purpose)))


@contextmanager
def seeded_initialisation(root: int, *purpose: Purpose) -> Iterator[None]:
    """Networks built inside have initial weights seeded by ``purpose``; torch's global generator is put back after.

    For the initialisers of torch's own layers, which take no generator.
    """
    import torch  # noqa: PLC0415 - as above

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(root, *purpose))
        yield
