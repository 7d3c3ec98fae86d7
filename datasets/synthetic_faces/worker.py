"""Renders a share of a split into the arrays of a cache folder.

Run as ``python -m datasets.synthetic_faces.worker JOB FOLDER FIRST STEP``: a process of its own, so that rendering
works from a script, a notebook, a thread or a data loader's worker alike. One byte goes to standard output for each
finished picture.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from datasets.synthetic_faces.job import ARRAYS, Job
from datasets.synthetic_faces.renderer import render_sample


def render_share(job: Job, folder: Path, first: int, step: int, done: Callable[[], None]) -> None:
    """Render pictures first, first + step, ... into the existing files."""
    arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r+") for name in ARRAYS}
    for index in range(first, job.count, step):
        person = job.person(index)
        result = render_sample(job.seed, job.split, index, job.pool, person, job.size, job.wild)
        arrays["images"][index] = result.image
        arrays["points"][index] = result.points
        arrays["visible"][index] = result.visible
        arrays["masks"][index] = np.packbits(result.mask.reshape(-1))
        arrays["boxes"][index] = result.box
        arrays["identities"][index] = person
        done()
    for array in arrays.values():
        array.flush()


def main(arguments: list[str]) -> None:
    job, folder, first, step = arguments

    def done() -> None:
        sys.stdout.write(".")
        sys.stdout.flush()

    render_share(Job.model_validate_json(job), Path(folder), int(first), int(step), done)


if __name__ == "__main__":
    main(sys.argv[1:])
