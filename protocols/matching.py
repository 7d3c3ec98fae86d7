"""Landmark matching: take a landmark's descriptor in one image and find it in another.

The source is a warped photo. The *same* target is that photo under a weaker warp; the *different* target is a
warped photo of another individual. The most similar cell of the whole target is the prediction, and its
distance to the annotated landmark is the error. Where a data set is rendered, spots of the subject's surface
can take the place of landmarks: their places are exact, and they cover all that two images show.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from bench.context import Arrays, EvaluationData, RunContext
from bench.errors import BenchError
from bench.features import FeatureExtractor, FeatureMap
from bench.loading import LoadedSplit
from bench.protocol import Measurement, MetricSpec, MetricValue, Protocol, ProtocolOptions
from bench.record import RunRecord
from bench.seeds import numpy_generator, torch_generator
from protocols.pairs.correspondence import Cells, describe, find
from protocols.pairs.points import PairPoints, landmark_points, surface_points
from protocols.pairs.warped_pairs import (
    Pairing,
    Pairs,
    PairWarps,
    Views,
    consecutive_pairs,
    draw_pair_warps,
    identity_pairs,
    warped_views,
)
from protocols.pictures.matches import SHOWN, draw_features, draw_pairs
from protocols.scores.matching import METRICS, PointKind, left_out, score
from protocols.scores.metrics import point_errors
from protocols.stored import required_array, schema_arrays, stored_schema


class MatchingOptions(ProtocolOptions):
    """Defaults are those of the ``paper`` preset."""

    pairs: int = Field(
        default=500, ge=1, description="How many sources; fewer where the split has too few images."
    )
    pairing: Pairing = Field(
        default="identity",
        description="identity: sources in seeded order, each with an image drawn from other individuals; "
        "consecutive: images 2k and 2k + 1, as in the released code.",
    )
    points: PointKind = Field(
        default="landmarks",
        description="landmarks: as annotated; surface: spots of the subject's surface, for rendered data sets.",
    )
    surface_points: int = Field(
        default=1000, ge=1, description="How many spots are drawn in each source, with points=surface."
    )
    map_size: Literal["image", "native"] | Annotated[int, Field(ge=1, le=1024)] = Field(
        default="image",
        description="Size of the compared maps: the image's, that of the method's finest level, or a side.",
    )
    normalisation: Literal["method", "joint", "per_level", "none"] = Field(
        default="method", description="Of descriptors before the dot product; method: as the method says."
    )
    cells: Cells = Field(
        default="centred",
        description="Place of cell j of n in an image of side s: centred, (j + 0.5) s / n; strided, as in "
        "the released DVE code, the centre of pixel j s / n.",
    )


class Matching(Protocol):
    """Warps, views and errors as in the released code of DVE and ContrastLandmarks.

    Warps act on the working frame, which is then cropped. A landmark counts where it is visible in both
    images. It also counts where a warp has moved it out of the crop, as in the released code: the query is
    then the nearest cell, and the error includes the way to the crop.

    Spots of the surface have no published numbers to agree with: they move exactly, between pixels, and count where
    both crops show them. Their errors are metrics of their own.
    """

    name: ClassVar[str] = "matching"
    version: ClassVar[int] = 1
    summary: ClassVar[str] = "find the landmarks of one image in another by the nearest descriptor"
    reference: ClassVar[str] = "Thewlis et al., ICCV 2019; Cheng et al., ICCV 2021, supplement, Table 4"
    Options: ClassVar[type[ProtocolOptions]] = MatchingOptions
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {},
        "quick": {"pairs": 100, "surface_points": 200},
        "contrast": {"pairing": "consecutive"},
        "dve": {
            "pairing": "consecutive",
            "map_size": "native",
            "normalisation": "none",
            "cells": "strided",
        },
    }
    metrics: ClassVar[tuple[MetricSpec, ...]] = METRICS
    uses_training_split: ClassVar[bool] = False

    def check(self, options: MatchingOptions, data: EvaluationData) -> None:
        split = data.test
        if len(split) < 2:
            raise BenchError(f"matching needs at least two images, and {split.name} has {len(split)}")
        if options.points == "surface" and split.surfaces is None:
            raise BenchError(
                f"matching at points=surface needs surface coordinates, and {split.name} has none",
                hint="Rendered data sets have them, such as -d synthetic-faces.",
            )
        if options.points == "landmarks" and not bool(split.visible.any()):
            raise BenchError(f"matching needs visible landmarks, and {split.name} has none")
        individuals = set(split.identities)
        if options.pairing == "identity" and len(individuals) == 1 and None not in individuals:
            raise BenchError(
                f"matching needs images of different individuals, and all images of {split.name} show "
                f"{individuals.pop()!r}",
                hint="Add -P pairing=consecutive to match neighbouring images, whoever they show.",
            )

    def measure(
        self, extractor: FeatureExtractor, data: EvaluationData, options: MatchingOptions, run: RunContext
    ) -> Measurement:
        pairs = _choose_pairs(data.test, options, run.seed)
        side = data.test.images.shape[-1] - 2 * data.test.margin
        arrays = {
            **_match_pairs(extractor, data.test, pairs, options, run),
            **schema_arrays(data.test.schema),
            "image_size": np.array((side, side)),
        }
        values = score(arrays, data.test.schema, side, run.seed, options.points)
        notes = (
            *_notes(data.test, pairs, options),
            *left_out(values, arrays, data.test.schema, options.points),
        )
        return Measurement(
            values, arrays, notes, _pictures(extractor, data.test, pairs, arrays, options, run)
        )

    def score(self, arrays: Arrays, record: RunRecord) -> tuple[MetricValue, ...]:
        side = int(required_array(arrays, "image_size")[1])
        return score(arrays, stored_schema(arrays), side, record.seed, self.options_of(record).points)

    def sample_ids(self, arrays: Arrays) -> tuple[str, ...]:
        """Pairs: of which the source and the image of another individual are named."""
        sources, others = required_array(arrays, "source_ids"), required_array(arrays, "different_ids")
        return tuple(f"{source} and {other}" for source, other in zip(sources, others, strict=True))


def _choose_pairs(split: LoadedSplit, options: MatchingOptions, seed: int) -> Pairs:
    if options.pairing == "consecutive":
        return consecutive_pairs(len(split), options.pairs)
    order = numpy_generator(seed, "matching", "sources")
    partners = numpy_generator(seed, "matching", "partners")
    return identity_pairs(split.identities, options.pairs, order, partners)


def _match_pairs(
    extractor: FeatureExtractor, split: LoadedSplit, pairs: Pairs, options: MatchingOptions, run: RunContext
) -> Arrays:
    """Named arrays of P pairs; axis 1, of length 2, is same and different."""
    warps = draw_pair_warps(len(pairs), torch_generator(run.seed, "matching", "warps"))
    asked: list[PairPoints] = []
    predicted: list[Tensor] = []
    starts = range(0, len(pairs), run.batch_size)
    for start in run.progress.track(starts, "matching pairs", len(starts)):
        part = slice(start, start + run.batch_size)
        with run.phase("warps"):
            views = warped_views(split, pairs[part], warps.part(part))
        with run.phase("points"):
            points = _points(split, pairs[part], warps.part(part), views, options, run.seed, start)
        with run.phase("features"):
            source, *others = (_features(extractor, view.images, options, run.device) for view in views)
        with run.phase("matching"):
            descriptors = describe(source, points.queries, cells=options.cells)
            found = [find(descriptors, other, cells=options.cells) for other in others]
        asked.append(points)
        predicted.append(torch.stack([matches.points for matches in found], 1))
    queries, targets, target_visible, counted = (torch.cat(parts) for parts in zip(*asked, strict=True))
    predicted_at = torch.cat(predicted)
    errors = point_errors(predicted_at.flatten(0, 1), targets.flatten(0, 1)).reshape(counted.shape)
    return {
        "queries": queries.numpy(),
        "predicted": predicted_at.numpy(),
        "targets": targets.numpy(),
        "errors": torch.where(counted, errors, 0).numpy(),
        "counted": counted.numpy(),
        "target_visible": target_visible.numpy(),
        "source_ids": np.array([split.ids[i] for i in pairs.first]),
        "different_ids": np.array([split.ids[i] for i in pairs.second]),
    }


def _pictures(
    extractor: FeatureExtractor,
    split: LoadedSplit,
    pairs: Pairs,
    arrays: Arrays,
    options: MatchingOptions,
    run: RunContext,
) -> Arrays:
    """Some pairs with their points, and the features of some of their images."""
    part = slice(SHOWN)
    warps = draw_pair_warps(len(pairs), torch_generator(run.seed, "matching", "warps"))
    views = warped_views(split, pairs[part], warps.part(part))
    images = torch.cat([views.source.images, views.different.images])[::2]
    features = _features(extractor, images, options, run.device)
    return {"pairs": draw_pairs(views, arrays), "features": draw_features(images, features)}


def _points(
    split: LoadedSplit,
    pairs: Pairs,
    warps: PairWarps,
    views: Views,
    options: MatchingOptions,
    seed: int,
    first_pair: int,
) -> PairPoints:
    if options.points == "surface":
        return surface_points(split, pairs, warps, options.surface_points, seed, first_pair)
    return landmark_points(split, pairs, views)


def _notes(split: LoadedSplit, pairs: Pairs, options: MatchingOptions) -> tuple[str, ...]:
    notes = []
    if len(pairs) < options.pairs:
        notes.append(f"{len(pairs)} pairs instead of {options.pairs}: {split.name} has {len(split)} images")
    if options.pairing == "identity" and None in split.identities:
        unknown = sum(identity is None for identity in split.identities)
        notes.append(f"{unknown} of {len(split)} images name no individual; each is taken for one of its own")
    if options.pairing == "consecutive":
        shared = sum(
            split.identities[a] is not None and split.identities[a] == split.identities[b]
            for a, b in zip(pairs.first, pairs.second, strict=True)
        )
        if shared:
            notes.append(f"{shared} of {len(pairs)} different pairs show the same individual")
    if options.points == "landmarks" and split.schema.normaliser is None:
        notes.append("the landmarks have no normaliser, so matching_error_iod is not reported")
    return tuple(notes)


def _features(
    extractor: FeatureExtractor, images: Tensor, options: MatchingOptions, device: torch.device
) -> FeatureMap:
    features = extractor.extract(images.to(device))
    if options.map_size == "image":
        size = features.image_size
    elif options.map_size == "native":
        size = max(((h, w) for _, h, w in features.layout), key=lambda cells: cells[0] * cells[1])
    else:
        size = (options.map_size, options.map_size)
    features = features.defined_at(size)
    return (
        features if options.normalisation == "method" else features.with_normalisation(options.normalisation)
    )
