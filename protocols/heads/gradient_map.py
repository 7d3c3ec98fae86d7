"""Linear maps without intercept from points to points, by stochastic gradients on warped views.

Reference: Thewlis et al., ICCV 2017, section 4.3 (y = W x, trained like the detector).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from bench.checkpoint import load_state, save_state
from bench.context import Arrays, RunContext
from bench.features import FeatureExtractor
from bench.loading import LoadedSplit
from bench.seeds import derive_seed
from protocols.annotations import annotated_images
from protocols.heads.restartable import Batches, run_to_end
from protocols.heads.ridge import Booleans, Floats, PointMap
from protocols.heads.warped_views import WarpedViews, warped_views

_SLOWER_FROM = 0.75
"""Of the steps; the paper lowers the rate once nothing improves any more."""


class AdamSettings(BaseModel):
    """Adam with coupled weight decay, its rate divided by ten for the last quarter of the steps."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    steps: int = Field(ge=1)
    batch_size: int = Field(ge=1)
    learning_rate: float = Field(gt=0)
    weight_decay: float = Field(ge=0)

    def rate(self, step: int) -> float:
        return self.learning_rate * (1.0 if step < _SLOWER_FROM * self.steps else 0.1)


def fit_points_by_adam(
    sources: Floats,
    targets: Floats,
    visible: Booleans,
    side: int,
    settings: AdamSettings,
    *,
    seed: int,
    run: RunContext,
    key: str,
    save_seconds: float = 30.0,
) -> PointMap:
    """Minimise the mean squared distance, along either axis, of visible targets; from weights that are zero.

    Coordinates are those in which the warps are drawn: 0 at the image's centre, -1 and 1 at its borders. A map without
    intercept keeps the centre where it is; translated examples teach it that the centre is no special place.

    The arithmetic is in double precision on the CPU. Where ``run.partial`` is set, an interrupted fit continues.

    Shapes:
        sources: (N, S, 2), all of them given.  targets: (N, T, 2), anything where not ``visible`` (N, T).

    Args:
        side: Of the images in pixels, the unit of the points.
        seed: Of the order of the examples.
        key: Names this fit within the run.
    """
    fit = _Fit(
        _to_unit(sources, side),
        torch.where(torch.from_numpy(visible)[..., None], _to_unit(targets, side), 0.0),
        torch.from_numpy(visible),
        settings,
        seed,
    )
    run_to_end(fit, settings, seed=seed, run=run, key=key, save_seconds=save_seconds)
    weights = fit.map.weight.detach().numpy().reshape(targets.shape[1], 2, -1)
    return PointMap(weights, determined=True, origin=side / 2)


@dataclass(frozen=True)
class FitsOnViews:
    """Maps to the annotated landmarks of some images from what is discovered on warped views of them.

    Attributes:
        views: Of the annotated images alone.
        places: Index of a training image -> its place among them.
        side: Of the views in pixels.
    """

    views: WarpedViews
    places: Mapping[int, int]
    side: int
    settings: AdamSettings
    run: RunContext

    @classmethod
    def read(
        cls,
        extractor: FeatureExtractor,
        train: LoadedSplit,
        views: int,
        settings: AdamSettings,
        run: RunContext,
    ) -> FitsOnViews:
        """Looks at so many views of each annotated image of ``train``, which has its margin."""
        annotated = annotated_images(train)
        return cls(
            warped_views(extractor, train.take(annotated), views, run),
            {image: place for place, image in enumerate(annotated)},
            train.images.shape[-1] - 2 * train.margin,
            settings,
            run,
        )

    def fit(self, images: list[int], key: str) -> PointMap:
        """From the training images with these indices; the run remembers what is found by its ``key``."""

        def compute() -> Arrays:
            examples = self.views.of([self.places[image] for image in images])
            seed = derive_seed(self.run.seed, key)
            found = fit_points_by_adam(*examples, self.side, self.settings, seed=seed, run=self.run, key=key)
            return {"weights": found.weights}

        weights = self.run.step(f"{key}/map", compute)["weights"]
        return PointMap(weights, determined=True, origin=self.side / 2)


def _to_unit(points: Floats, side: int) -> Tensor:
    return torch.from_numpy(np.asarray(points, dtype=np.float64)) * (2 / side) - 1


class _Fit:
    """The state of a fit between two steps; see :class:`protocols.heads.restartable.Training`."""

    def __init__(
        self, sources: Tensor, targets: Tensor, visible: Tensor, settings: AdamSettings, seed: int
    ) -> None:
        self.sources, self.targets, self.visible = sources.flatten(1), targets, visible
        self.settings, self.total = settings, settings.steps
        self.batches = Batches(len(sources), settings.batch_size, seed)
        self.map = nn.Linear(
            self.sources.shape[1], targets.shape[1] * targets.shape[2], bias=False, dtype=torch.float64
        )
        nn.init.zeros_(self.map.weight)
        self.optimiser = torch.optim.Adam(self.map.parameters(), weight_decay=settings.weight_decay)
        self.losses: list[float] = []

    def advance(self) -> float:
        step = len(self.losses)
        for group in self.optimiser.param_groups:
            group["lr"] = self.settings.rate(step)
        picked = self.batches.at(step)
        seen = self.visible[picked].unsqueeze(-1)
        off = self.map(self.sources[picked]).view(len(picked), -1, 2) - self.targets[picked]
        loss = (off * seen).square().sum() / (2 * seen.sum()).clamp_min(1)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.optimiser.step()
        self.losses.append(float(loss.detach()))
        return self.losses[-1]

    def save(self, path: Path) -> None:
        save_state(path, {"map": self.map}, self.optimiser, {"losses": self.losses})

    def restore(self, path: Path) -> None:
        numbers = load_state(path, {"map": self.map}, self.optimiser)
        if numbers is not None:
            self.losses = numbers["losses"]
