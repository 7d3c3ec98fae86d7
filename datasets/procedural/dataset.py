"""Rendered splits as data sets."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from typing import Any

import numpy as np
import torch

from bench.landmarks import LandmarkDataset, Sample
from bench.progress import Progress
from bench.surfaces import SurfaceMap
from datasets.procedural.arrays import BoolArray, FloatArray
from datasets.procedural.backend import backend
from datasets.procedural.cache import Arrays, open_split
from datasets.procedural.job import CategoryJob, RenderJob
from datasets.procedural.surface import shot_surface


class RenderedDataset(LandmarkDataset):
    """One split; rendered when the first sample is read, unless the cache holds it.

    Rendering is deterministic; between processors, rounding may move a pixel by a grey level. Sets ``name`` and
    ``split``; who derives sets ``info`` and ``schema``.
    """

    def __init__(self, job: RenderJob, progress: Progress | None = None) -> None:
        self.job, self.name, self.split = job, job.name, job.split
        self._device = "cpu"
        self._progress = progress or Progress()
        self._arrays: Arrays | None = None

    @abstractmethod
    def surface(self, index: int) -> SurfaceMap:
        """Surface coordinates of sample ``index``; rendered when asked for, not kept."""

    def annotation(self, points: FloatArray, visible: BoolArray) -> tuple[FloatArray, BoolArray]:
        """From the landmarks that are rendered to those of the data set."""
        return points, visible

    def __len__(self) -> int:
        return self.job.count

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(self._id(i) for i in range(len(self)))

    @property
    def fingerprint(self) -> str:
        kind = backend(self._device).kind
        recipe = self._recipe() if kind == "cpu" else f"{self._recipe()}\n{kind}"
        return hashlib.sha256(recipe.encode()).hexdigest()

    def render_on(self, device: str) -> None:
        """Compute the pictures on another device: "cuda", say; they are kept apart from the processor's own.

        Raises:
            BenchError: where the device is unknown or not there.
        """
        backend(device)
        self._device, self._arrays = device, None

    def prepare(self, workers: int | None = None) -> Arrays:
        """Render the split now, where the cache does not hold it.

        Returns:
            The memory-mapped arrays, see ``RenderJob.shapes``.
        """
        if self._arrays is None:
            self._arrays = open_split(self.job, self._progress, workers, self._device)
        return self._arrays

    def __getitem__(self, index: int) -> Sample:
        index = self._checked(index)
        arrays, size = self.prepare(), self.job.size
        points, visible = self.annotation(
            np.array(arrays["points"][index]), np.array(arrays["visible"][index])
        )
        mask = np.unpackbits(arrays["masks"][index], count=size * size).reshape(size, size)
        return Sample(
            id=self._id(index),
            image=torch.from_numpy(np.ascontiguousarray(arrays["images"][index].transpose(2, 0, 1))),
            points=torch.from_numpy(points),
            visible=torch.from_numpy(visible),
            identity=f"{self.job.pool}-{int(arrays['identities'][index]):05d}",
            mask=torch.from_numpy(mask.astype(np.bool_)),
            box=torch.from_numpy(np.array(arrays["boxes"][index])),
        )

    def __getstate__(self) -> dict[str, Any]:
        # A worker process maps the files itself; pickled, the maps would become copies.
        return self.__dict__ | {"_arrays": None}

    def _recipe(self) -> str:
        """Everything that can change a sample."""
        return f"{self.name}\n{self.job.model_dump_json()}"

    def _checked(self, index: int) -> int:
        if not -len(self) <= index < len(self):
            raise IndexError(f"sample {index} of a split of {len(self)}")
        return index % len(self)

    def _id(self, index: int) -> str:
        return f"{self.split}-{index:06d}"


class CategoryDataset(RenderedDataset):
    """One split of a category."""

    job: CategoryJob

    def surface(self, index: int) -> SurfaceMap:
        """Positions (3) on the category's template in the pixels that show the subject's surface."""
        return shot_surface(self.job.shot(self._checked(index)), self.job.size)
