"""The data set ``synthetic-faces``: options, splits, samples."""

from __future__ import annotations

from typing import ClassVar, Literal, cast

from pydantic import BaseModel

from bench.landmarks import DatasetInfo, LandmarkSchema
from bench.progress import Progress
from bench.surfaces import SurfaceMap
from datasets.procedural.arrays import BoolArray, FloatArray
from datasets.procedural.dataset import RenderedDataset
from datasets.procedural.provider import ProceduralOptions, RenderedProvider
from datasets.synthetic_faces import layout
from datasets.synthetic_faces.job import Job, Split
from datasets.synthetic_faces.renderer import RENDERER_VERSION, sample_surface

_SCHEMAS = {
    5: LandmarkSchema(layout.NAMES_5, ((0,), (1,)), "eye centres", layout.FLIP_5),
    68: LandmarkSchema(layout.NAMES_68, ((36,), (45,)), "outer eye corners", layout.FLIP_68),
}


class SyntheticFacesOptions(ProceduralOptions):
    """What can be chosen.

    Attributes:
        landmarks: The 68 points of the iBUG order, or 5: eye centres, nose tip, mouth corners.
        seed: Another seed shows other people.
        wild: Small heads anywhere in a scene instead of crops that a face fills.
    """

    landmarks: Literal[5, 68] = 5


class SyntheticFaces(RenderedDataset):
    """One split; the arrays on disk always hold 68 points."""

    name = "synthetic-faces"
    job: Job

    def __init__(self, job: Job, landmarks: Literal[5, 68], progress: Progress | None = None) -> None:
        super().__init__(job, progress)
        self.schema = _SCHEMAS[landmarks]
        self.info = DatasetInfo(
            title="Procedural faces in the wild" if job.wild else "Procedural faces",
            tier="procedural",
            licence="MIT",
            citation=f"bench synthetic-faces, renderer version {RENDERER_VERSION}, seed {job.seed}.",
            category="face",
        )
        self._landmarks = landmarks

    def annotation(self, points: FloatArray, visible: BoolArray) -> tuple[FloatArray, BoolArray]:
        """All 68 points, or the five derived from them."""
        if self._landmarks == 5:
            return layout.five_points(points), layout.five_visible(visible)
        return points, visible

    def surface(self, index: int) -> SurfaceMap:
        """Positions (3) on the template head in the pixels that show the head's skin."""
        job, index = self.job, self._checked(index)
        return sample_surface(job.seed, job.split, index, job.pool, job.person(index), job.size, job.wild)

    def _recipe(self) -> str:
        return f"{self.name}\n{self._landmarks}\n{self.job.model_dump_json()}"


class SyntheticFacesProvider(RenderedProvider):
    """Opens the splits of ``synthetic-faces``; nothing has to be downloaded."""

    name: ClassVar[str] = "synthetic-faces"
    summary: ClassVar[str] = "procedural 3D faces with exact landmarks, visibility, masks and identities"
    Options: ClassVar[type[BaseModel]] = SyntheticFacesOptions

    def open(self, split: str, location: str | None, options: BaseModel) -> SyntheticFaces:
        """Open a split; cheap, nothing is rendered yet.

        Raises:
            BenchError: for a split that does not exist, or a location.
        """
        _, count = self.render_options(split, location, options)
        chosen = cast(SyntheticFacesOptions, options)
        job = Job(split=cast(Split, split), count=count, size=chosen.size, seed=chosen.seed, wild=chosen.wild)
        return SyntheticFaces(job, chosen.landmarks)
