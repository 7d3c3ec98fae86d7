"""The work behind the protocol on parts: fit models, read the test images with them, embed some of their places."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bench.context import Arrays, RunContext
from bench.features import FeatureExtractor, FeatureMap
from bench.loading import LoadedSplit
from bench.seeds import derive_seed, numpy_generator, torch_generator
from protocols.part_discovery.embedding import embed
from protocols.part_discovery.models import Matrix, PartModels, descriptors_at, fit_parts
from protocols.part_discovery.truth import Counts, Truth, contingency


@dataclass(frozen=True)
class Amounts:
    """How much is looked at; see ``PartsOptions``."""

    parts: int
    fit_images: int
    pixels_per_image: int
    tsne_points: int
    draws: int


@dataclass
class PartFinder:
    """Every finished part of the work is remembered by the run.

    Attributes:
        train, test: Cropped.
        truths: Of ``test``; places of the first one are embedded.
        shown: Indices of the test images whose maps are kept for drawing.
    """

    extractor: FeatureExtractor
    train: LoadedSplit
    test: LoadedSplit
    truths: tuple[Truth, ...]
    shown: list[int]
    amounts: Amounts
    run: RunContext

    def fitted(self, draw: int) -> PartModels:
        def compute() -> Arrays:
            sample = self._sample(draw)
            with self.run.phase("fit"):
                self.run.progress.say(f"fitting {self.amounts.parts} parts to {len(sample)} pixels")
                return fit_parts(sample, self.amounts.parts, self._seed(draw)).arrays()

        return PartModels.from_arrays(self.run.step(f"parts/draw={draw}/models", compute))

    def read(self, models: list[PartModels]) -> Arrays:
        """What the models of every draw say of the test images, each of which is read once.

        Returns:
            ``table_FINDER_TRUTH`` (draws, N, true parts, found parts); ``descriptors`` (draws, P, C) of the places to
            embed; of the first draw and the shown images ``shown_k-means`` (M, S, S), ``shown_nmf`` (M, parts, S, S),
            amounts, and ``shown_axes`` (M, 3, S, S).
        """
        return self.run.step("parts/read", lambda: self._read(models))

    def embedded(self, draw: int, descriptors: Matrix) -> Arrays:
        """``positions`` (P, 2), ``clusters``, ``true`` and ``image`` (P,) of the places in the plane."""

        def compute() -> Arrays:
            with self.run.phase("t-sne"):
                self.run.progress.say(f"t-SNE of {len(descriptors)} places")
                found = embed(descriptors, self.amounts.parts, self._seed(draw))
            image, number = self._places(draw)
            true = [int(self.truths[0].parts[i][k]) for i, k in zip(image, number, strict=True)]
            return {
                "positions": found.positions,
                "clusters": found.clusters,
                "true": np.array(true),
                "image": image,
            }

        return self.run.step(f"parts/draw={draw}/t-sne", compute)

    def _seed(self, draw: int) -> int:
        return derive_seed(self.run.seed, "parts", draw)

    def _sample(self, draw: int) -> Matrix:
        """Descriptors of random pixels of random training images, (N, C)."""
        count = min(self.amounts.fit_images, len(self.train))
        seed, side = self._seed(draw), self.train.images.shape[-1]
        chosen = torch.randperm(len(self.train), generator=torch_generator(seed, "images"))[:count]
        shape = (count, self.amounts.pixels_per_image, 2)
        points = torch.randint(side, shape, generator=torch_generator(seed, "pixels")) + 0.5
        parts = []
        for place in self._batches(count, "features of training images"):
            features = self._features(self.train.images[chosen[place]])
            parts.append(descriptors_at(features, points[place].to(self.run.device)).flatten(0, 1).cpu())
        return torch.cat(parts).numpy()

    def _read(self, models: list[PartModels]) -> Arrays:
        places = [self._places(draw) for draw in range(len(models))]
        clusters: list[list[Tensor]] = [[] for _ in models]
        factors: list[list[Tensor]] = [[] for _ in models]
        descriptors: list[list[Tensor]] = [[] for _ in models]
        amounts_shown, axes_shown = [], []
        for place in self._batches(len(self.test), "parts of test images"):
            features = self._features(self.test.images[place])
            rows = [image - place.start for image in self.shown if place.start <= image < place.stop]
            with self.run.phase("parts"):
                for draw, model in enumerate(models):
                    nearest, amounts, axes = model.read(features)
                    clusters[draw].append(nearest.cpu())
                    factors[draw].append(amounts.argmax(1).to(torch.uint8).cpu())
                    descriptors[draw] += self._described(features, place, *places[draw])
                    if draw == 0:
                        amounts_shown.append(amounts[rows].cpu())
                        axes_shown.append(axes[rows].cpu())
        maps = {
            name: [torch.cat(m) for m in draws] for name, draws in (("k-means", clusters), ("nmf", factors))
        }
        return {
            **{
                f"table_{name}_{truth.name}": self._tables(m, truth)
                for name, m in maps.items()
                for truth in self.truths
            },
            "descriptors": torch.stack([torch.cat(found) for found in descriptors]).numpy(),
            "shown_k-means": maps["k-means"][0][self.shown].numpy(),
            "shown_nmf": torch.cat(amounts_shown).numpy(),
            "shown_axes": torch.cat(axes_shown).numpy(),
        }

    def _tables(self, maps: list[Tensor], truth: Truth) -> npt.NDArray[np.int32]:
        return np.stack([contingency(found, truth, self.amounts.parts) for found in maps]).astype(np.int32)

    def _places(self, draw: int) -> tuple[Counts, Counts]:
        """(image, which of its places of the first truth) of what is embedded, in the order of the images."""
        counts = np.array([len(parts) for parts in self.truths[0].parts])
        total = int(counts.sum())
        generator = numpy_generator(self._seed(draw), "places")
        chosen = np.sort(generator.choice(total, min(total, self.amounts.tsne_points), replace=False))
        ends = counts.cumsum()
        image = np.searchsorted(ends, chosen, side="right")
        return image.astype(np.int64), chosen - (ends - counts)[image]

    def _described(self, features: FeatureMap, place: slice, image: Counts, number: Counts) -> list[Tensor]:
        """Descriptors (P, C) of the places in each image of a batch."""
        side = self.test.images.shape[-1]
        found = []
        for row in range(len(features)):
            numbers = torch.from_numpy(number[image == place.start + row])
            if len(numbers):
                pixels = self.truths[0].places[place.start + row][numbers]
                points = torch.stack([pixels % side, pixels // side], 1) + 0.5
                found.append(
                    descriptors_at(features[row : row + 1], points[None].to(self.run.device))[0].cpu()
                )
        return found

    def _features(self, images: Tensor) -> FeatureMap:
        """Defined at every pixel."""
        with self.run.phase("features"):
            features = self.extractor.extract(images.to(self.run.device))
        return features.defined_at(features.image_size)

    def _batches(self, count: int, what: str) -> Iterator[slice]:
        starts = range(0, count, self.run.batch_size)
        for start in self.run.progress.track(starts, what, len(starts)):
            yield slice(start, min(start + self.run.batch_size, count))
