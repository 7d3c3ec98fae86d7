"""Renders a share of a split into the arrays of a cache folder.

Run as ``python -m datasets.procedural.worker JOB_CLASS JOB FOLDER FIRST STEP DEVICE``: a process of its own, so that
rendering works from a script, a notebook, a thread or a data loader's worker alike. One byte goes to standard output
for each finished picture.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import cast

import numpy as np

from datasets.procedural.backend import HOST, Backend, backend
from datasets.procedural.job import ARRAYS, RenderJob, load_class


def render_share(
    job: RenderJob, folder: Path, first: int, step: int, done: Callable[[], None], on: Backend = HOST
) -> None:
    """Render pictures first, first + step, ... into the existing files."""
    arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r+") for name in ARRAYS}
    share = range(first, job.count, step)
    for start in range(0, len(share), on.pictures_at_once):
        indices = share[start : start + on.pictures_at_once]
        for index, picture in zip(indices, job.render_batch(indices, on), strict=True):
            arrays["images"][index] = picture.image
            arrays["points"][index] = picture.points
            arrays["visible"][index] = picture.visible
            arrays["masks"][index] = np.packbits(picture.mask.reshape(-1))
            arrays["boxes"][index] = picture.box
            arrays["identities"][index] = picture.individual
            done()
    for array in arrays.values():
        array.flush()


def main(arguments: list[str]) -> None:
    kind, job, folder, first, step, device = arguments

    def done() -> None:
        sys.stdout.write(".")
        sys.stdout.flush()

    job_class = cast(type[RenderJob], load_class(kind))
    chosen = job_class.model_validate_json(job)
    render_share(chosen, Path(folder), int(first), int(step), done, backend(device))


if __name__ == "__main__":
    main(sys.argv[1:])
