"""Adapters that each break a promise, and the checks that have to catch them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import ConfigDict, Field
from torch import Tensor, nn
from torch.nn import functional as F

from bench.features import FeatureExtractor, FeatureMap
from bench.method import Method, Preset, PretrainJob
from bench.progress import Progress
from bench.training import Batch, Stage, export_weights, initial_network
from tests.bench.conforming import Honest, HonestNetwork, HonestOptions

# --- broken networks -----------------------------------------------------------------------------------------------


class SwapsTheImageSize(HonestNetwork):
    def forward(self, images: Tensor) -> FeatureMap:
        features = super().forward(images)
        return replace(features, image_size=features.image_size[::-1])


class ColumnsBeforeRows(HonestNetwork):
    """Transposed maps: every number is right, in the wrong place."""

    receptive_radius = None
    shift_period = None

    def levels(self, images: Tensor) -> Tensor:
        return super().levels(images).transpose(2, 3)

    def landmarks(self, images: Tensor) -> Tensor:
        return 0 * super().landmarks(images) + 5


class GivesHalves(HonestNetwork):
    receptive_radius = None
    shift_period = None

    def forward(self, images: Tensor) -> FeatureMap:
        return super().forward(images).to(dtype=torch.float16)

    def landmarks(self, images: Tensor) -> Tensor:
        return torch.full((len(images), 4, 2), 5.0)


class DividesByTheContrast(HonestNetwork):
    receptive_radius = None
    shift_period = None

    def levels(self, images: Tensor) -> Tensor:
        mean, deviation = images.mean((1, 2, 3), keepdim=True), images.std((1, 2, 3), keepdim=True)
        return super().levels((images - mean) / deviation)


class ForgetsToScaleBytes(HonestNetwork):
    def extract(self, images: Tensor) -> FeatureMap:
        if images.dtype == torch.uint8 and images.shape[-3:] == (3, 64, 64) and images.ndim == 4:
            self.eval()
            with torch.no_grad():
                return self(images.float())  # type: ignore[no-any-return]
        return super().extract(images)


class ChecksNothing(HonestNetwork):
    def extract(self, images: Tensor) -> FeatureMap:
        self.eval()
        with torch.no_grad():
            return self(images.float() / 255 if images.dtype == torch.uint8 else images)  # type: ignore[no-any-return]


class CountsItsCalls(HonestNetwork):
    calls = 0

    def levels(self, images: Tensor) -> Tensor:
        self.calls += 1
        return super().levels(images) * (1 + 1e-3 * self.calls)

    def landmarks(self, images: Tensor) -> Tensor:
        return torch.full((len(images), 4, 2), 5.0)


class DropsOutAlways(HonestNetwork):
    receptive_radius = None
    shift_period = None

    def levels(self, images: Tensor) -> Tensor:
        return F.dropout(super().levels(images), training=True)

    def landmarks(self, images: Tensor) -> Tensor:
        return torch.full((len(images), 4, 2), 5.0)


class DrawsWeightsFromNumPy(HonestNetwork):
    def __init__(self, options: HonestOptions) -> None:
        super().__init__(options)
        generator = np.random.default_rng()
        with torch.no_grad():
            self.last.bias.copy_(torch.from_numpy(generator.normal(size=options.width)))  # type: ignore[union-attr]


class KeepsGradients(HonestNetwork):
    def extract(self, images: Tensor) -> FeatureMap:
        super().extract(images)
        return self(images.float() / 255 if images.dtype == torch.uint8 else images)  # type: ignore[no-any-return]


class StaysInTrainingMode(HonestNetwork):
    """Batch norm with the statistics of the batch, whatever is asked."""

    receptive_radius = None
    shift_period = None

    def train(self, mode: bool = True) -> StaysInTrainingMode:
        super().train(True)
        return self


class NormalisesOverTheBatch(HonestNetwork):
    receptive_radius = None
    shift_period = None

    def levels(self, images: Tensor) -> Tensor:
        level = super().levels(images)
        return level / level.square().mean().sqrt()


class TiesTwoWeights(HonestNetwork):
    def __init__(self, options: HonestOptions) -> None:
        super().__init__(options)
        self.extra = nn.Conv2d(options.width, options.width, 3)
        self.extra.weight = self.last.weight


class StoresANumber(HonestNetwork):
    def get_extra_state(self) -> int:
        return 3

    def set_extra_state(self, state: Any) -> None:
        del state


class CachesWhatDerivesFromWeights(HonestNetwork):
    def __init__(self, options: HonestOptions) -> None:
        super().__init__(options)
        self.register_buffer(
            "shift", self.last.weight.detach().sum((1, 2, 3))[:, None, None], persistent=False
        )

    def levels(self, images: Tensor) -> Tensor:
        return super().levels(images) + self.get_buffer("shift")


class PromisesEveryShift(HonestNetwork):
    shift_period = 1


class PromisesShiftsNowhere(HonestNetwork):
    receptive_radius = None


class PoolsTheImage(HonestNetwork):
    def levels(self, images: Tensor) -> Tensor:
        level = super().levels(images)
        return level + 1e-4 * level.mean((2, 3), keepdim=True)


class UnderstatesItsRadius(HonestNetwork):
    receptive_radius = 2


class NormalisedLandmarks(HonestNetwork):
    def landmarks(self, images: Tensor) -> Tensor:
        return super().landmarks(images) / images.shape[-1]


class LandmarksRowFirst(HonestNetwork):
    def landmarks(self, images: Tensor) -> Tensor:
        return super().landmarks(images).flip(2)


class LandmarksOfTheBatch(HonestNetwork):
    def landmarks(self, images: Tensor) -> Tensor:
        points = super().landmarks(images)
        return points.mean(0, keepdim=True).expand_as(points)


class OneLandmarkForAll(HonestNetwork):
    def landmarks(self, images: Tensor) -> Tensor:
        return super().landmarks(images).mean(1)


class HidesItsLandmarks(HonestNetwork):
    capabilities = frozenset({"dense"})


BROKEN_NETWORKS: dict[type[HonestNetwork], set[str]] = {
    SwapsTheImageSize: {"feature-maps", "landmarks"},
    ColumnsBeforeRows: {"feature-maps"},
    GivesHalves: {"feature-maps", "batch-invariance"},
    DividesByTheContrast: {"finite-features"},
    ForgetsToScaleBytes: {"image-types"},
    ChecksNothing: {"mistakes-are-told"},
    CountsItsCalls: {"image-types", "determinism", "no-side-effects", "batch-invariance", "receptive-radius"},
    DropsOutAlways: {
        "image-types",
        "determinism",
        "no-side-effects",
        "batch-invariance",
        "weights-round-trip",
    },
    DrawsWeightsFromNumPy: {"determinism"},
    KeepsGradients: {"no-side-effects"},
    StaysInTrainingMode: {"determinism", "no-side-effects", "batch-invariance", "landmarks"},
    NormalisesOverTheBatch: {"batch-invariance", "landmarks"},
    TiesTwoWeights: {"weights-are-tensors", "weights-round-trip"},
    StoresANumber: {"determinism", "no-side-effects", "weights-are-tensors", "weights-round-trip"},
    CachesWhatDerivesFromWeights: {"weights-round-trip"},
    PromisesEveryShift: {"shift-equivariance"},
    PromisesShiftsNowhere: {"shift-equivariance"},
    PoolsTheImage: {"shift-equivariance", "receptive-radius"},
    UnderstatesItsRadius: {"shift-equivariance", "receptive-radius"},
    NormalisedLandmarks: {"landmarks"},
    LandmarksRowFirst: {"landmarks"},
    LandmarksOfTheBatch: {"landmarks"},
    OneLandmarkForAll: {"landmarks"},
    HidesItsLandmarks: {"landmarks"},
}


# --- broken descriptions -------------------------------------------------------------------------------------------


class NoReference(Honest):
    reference = ""


class NoPaperPreset(Honest):
    presets: ClassVar[dict[str, Preset]] = {"small": Preset("Minutes.")}
    default_preset = "small"


class ShipsWhatItCannotTrain(Honest):
    shipped_presets = ("large",)


class UndocumentedOption(Honest):
    class Options(HonestOptions):
        """With one more."""

        depth: int = 1


class ImpossibleDefault(Honest):
    class Options(HonestOptions):
        """With one more."""

        depth: int = Field(default=0, ge=1, description="Layers.")


class AcceptsAnything(Honest):
    class Options(HonestOptions):
        """Whatever is given."""

        model_config = ConfigDict(extra="ignore", frozen=True)


class MisspeltPreset(Honest):
    presets: ClassVar[dict[str, Preset]] = {"paper": Preset("Seconds.", options={"widht": 8})}


class ImpossibleVariant(Honest):
    variants: ClassVar[dict[str, Preset]] = {"thin": Preset("No channel.", options={"width": 0})}


class VariantThatDoesNotBuild(Honest):
    def build(self, options: HonestOptions) -> FeatureExtractor:
        if options.width == 8:
            raise ValueError("eight is not implemented")
        return super().build(options)


BROKEN_DESCRIPTIONS: dict[type[Method], set[str]] = {
    NoReference: {"description"},
    NoPaperPreset: {"description"},
    ShipsWhatItCannotTrain: {"description"},
    UndocumentedOption: {"options-documented"},
    ImpossibleDefault: {"options-valid", "weights-round-trip"},
    AcceptsAnything: {"options-valid"},
    MisspeltPreset: {"presets-build", "variants-build"},
    ImpossibleVariant: {"variants-build"},
    VariantThatDoesNotBuild: {"variants-build"},
}


# --- broken trainings ----------------------------------------------------------------------------------------------


class LosesProvenance(Honest):
    def pretrain(self, job: PretrainJob) -> Path:
        return super().pretrain(replace(job, provenance={}))


class HidesTheWeights(Honest):
    def pretrain(self, job: PretrainJob) -> Path:
        return super().pretrain(job).rename(job.output / "model.safetensors")


class KeepsNoLog(Honest):
    def pretrain(self, job: PretrainJob) -> Path:
        path = super().pretrain(job)
        (job.output / "log.csv").unlink()
        return path


class ReportsNothing(Honest):
    def pretrain(self, job: PretrainJob) -> Path:
        return super().pretrain(replace(job, progress=Progress.silent()))


class SavesTheInitialNetwork(Honest):
    def pretrain(self, job: PretrainJob) -> Path:
        path = super().pretrain(job)
        export_weights(job, self.name, initial_network(job, self.build), "only")(path, -1)
        return path


class DrawsGlobally(Honest):
    def stage(self, job: PretrainJob, network: HonestNetwork) -> Stage:
        honest = super().stage(job, network)

        def losses(batch: Batch, generator: torch.Generator) -> Any:
            return honest.losses(replace(batch, images=torch.rand_like(batch.images)), generator)

        return replace(honest, losses=losses)


class IgnoresTheSeed(Honest):
    def pretrain(self, job: PretrainJob) -> Path:
        return super().pretrain(replace(job, seed=0))


class ForgetsTheHead(Honest):
    def stage(self, job: PretrainJob, network: HonestNetwork) -> Stage:
        return replace(super().stage(job, network), modules={"network": network})


class StartsAnew(Honest):
    def pretrain(self, job: PretrainJob) -> Path:
        for state in job.output.glob("*.state.safetensors"):
            state.unlink()
        return super().pretrain(job)


class IgnoresGivenWeights(Honest):
    def pretrain(self, job: PretrainJob) -> Path:
        return super().pretrain(replace(job, initial=None))


class TrainsOnOneImage(Honest):
    def pretrain(self, job: PretrainJob) -> Path:
        return super().pretrain(
            replace(job, images=job.images.expand(24, -1, -1, -1)) if len(job.images) == 1 else job
        )


class TrainsWithoutPresets(Honest):
    presets: ClassVar[dict[str, Preset]] = {}
    default_preset = None


BROKEN_TRAININGS: dict[type[Method], set[str]] = {
    LosesProvenance: {"training-writes-weights"},
    HidesTheWeights: {"training-writes-weights"},
    KeepsNoLog: {"training-keeps-a-log"},
    ReportsNothing: {"training-keeps-a-log", "training-resumes"},
    SavesTheInitialNetwork: {"training-changes-the-network"},
    DrawsGlobally: {"training-is-deterministic", "training-resumes"},
    IgnoresTheSeed: {"training-is-deterministic"},
    ForgetsTheHead: {"training-resumes"},
    StartsAnew: {"training-resumes"},
    IgnoresGivenWeights: {"training-starts-from-given-weights"},
    TrainsOnOneImage: {"training-needs-images"},
    TrainsWithoutPresets: {"training-is-refused"},
}
