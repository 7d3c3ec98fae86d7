"""Parts that features fall into by themselves, and whether they are the same parts in every image."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pydantic import Field

from bench.context import Arrays, EvaluationData, RunContext
from bench.errors import BenchError
from bench.features import FeatureExtractor
from bench.loading import LoadedSplit
from bench.protocol import Measurement, MetricSpec, MetricValue, Protocol, ProtocolOptions, Scalar
from bench.record import RunRecord
from bench.samples import SummedTables
from bench.statistics import bootstrap_intervals
from protocols.part_discovery.truth import Counts, Floats, Truth, agreement, truths_of
from protocols.stored import required_array

if TYPE_CHECKING:
    from protocols.part_discovery.models import PartModels

_SHOWN = 8  # test images on the picture

_FINDERS = ("k-means", "nmf")

_AVERAGING = "one table of all asked places of all test images; mean over draws"


class PartsOptions(ProtocolOptions):
    """How many parts are looked for, in how much data."""

    n_parts: int = Field(
        9, ge=2, le=64, description="Clusters and factors; the background takes some of them."
    )
    fit_images: int = Field(500, ge=1, description="Training images that the models are fitted on, at most.")
    pixels_per_image: int = Field(40, ge=1, description="Pixels sampled of each, anywhere in the image.")
    test_images: int = Field(1000, ge=1, description="Test images that are scored, at most, evenly spread.")
    tsne_points: int = Field(2000, ge=10, description="Places of the test images in the t-SNE, at most.")
    draws: int = Field(3, ge=1, description="Repetitions with other samples and other initial values.")


class Parts(Protocol):
    """Clusters, additive factors and principal axes of descriptors, found without annotation, then compared with it.

    Models are fitted on pixels of training images, wherever they lie, and then read the test images:

    - k-means clusters of the descriptors, on their first 64 principal axes;
    - non-negative factors (deep feature factorisation): a pixel's part is its strongest factor;
    - clusters of a t-SNE of descriptors of the test images themselves, which knows no other images.

    Descriptors are scaled as the method compares them. Agreement with annotation is that of two labellings of the
    same places (``part_discovery.truth``): of landmarks by their index, of foreground pixels by the nearest landmark,
    by class, and of all pixels by foreground and background. Numbers of parts, samples and solver are not published;
    LEAD's figure of a t-SNE counts 9 parts.

    Reference:
        LEAD, Figures 5, 6 and 14 to 16. Collins, Achanta and Süsstrunk: Deep feature factorization for concept
        discovery, ECCV 2018. Agreement at landmarks, as mutual information and Rand index: Choudhury et al.,
        Unsupervised part discovery from contrastive reconstruction, NeurIPS 2021. Principal axes: ContrastLandmarks,
        supplement, Figure 1.
    """

    name: ClassVar[str] = "parts"
    version: ClassVar[int] = 1
    summary: ClassVar[str] = (
        "parts found by clustering features: drawn, and compared with landmarks and masks"
    )
    reference: ClassVar[str] = "Karmali et al., WACV 2022, Figures 5, 6, 14 to 16"
    Options: ClassVar[type[ProtocolOptions]] = PartsOptions
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {},
        "quick": {
            "fit_images": 200,
            "pixels_per_image": 25,
            "test_images": 200,
            "tsne_points": 600,
            "draws": 1,
        },
    }
    metrics: ClassVar[tuple[MetricSpec, ...]] = (
        MetricSpec(
            name="nmi",
            definition="Mutual information of found and annotated parts over the mean of their entropies.",
            unit="share, 0 to 1",
            direction="higher",
            averaging=_AVERAGING,
        ),
        MetricSpec(
            name="ari",
            definition="Rand index of found and annotated parts, adjusted for chance: 0 by chance, 1 where they agree.",
            unit="at most 1",
            direction="higher",
            averaging=_AVERAGING,
        ),
    )

    def check(self, options: PartsOptions, data: EvaluationData) -> None:
        train, test = data.training(), data.test.cropped()
        pixels = min(len(train), options.fit_images) * options.pixels_per_image
        if pixels <= options.n_parts:
            raise BenchError(
                f"{options.n_parts} parts need more than {pixels} pixels to be fitted on",
                hint="Raise -P fit_images or -P pixels_per_image.",
            )
        if not truths_of(scored_images(test, options.test_images)):
            raise BenchError(
                f"{test.name} has neither two landmarks nor masks: there is nothing to compare parts with",
                hint="Choose an annotated split with --test-split.",
            )

    def measure(
        self, extractor: FeatureExtractor, data: EvaluationData, options: PartsOptions, run: RunContext
    ) -> Measurement:
        # Imported here: scikit-learn takes long to load, and whoever lists protocols fits nothing.
        from protocols.part_discovery.finding import Amounts, PartFinder  # noqa: PLC0415

        train, test = data.training().cropped(), scored_images(data.test.cropped(), options.test_images)
        truths, shown = truths_of(test), evenly_spread(len(test), _SHOWN)
        amounts = Amounts(
            options.n_parts, options.fit_images, options.pixels_per_image, options.tsne_points, options.draws
        )
        finder = PartFinder(extractor, train, test, truths, shown, amounts, run)
        models = [finder.fitted(draw) for draw in range(options.draws)]
        read = finder.read(models)
        planes = [finder.embedded(draw, read["descriptors"][draw]) for draw in range(options.draws)]
        tables = {name: array for name, array in read.items() if name.startswith("table_")}
        embedded = {f"t-sne_{name}": np.stack([plane[name] for plane in planes]) for name in planes[0]}
        per_sample = {"ids": np.array(test.ids), **tables, **embedded}
        pictures = _pictures(test.take(shown), read, planes[0], truths[0], _names(truths[0], test))
        return Measurement(_scores(per_sample, run.seed), per_sample, _notes(models, test), pictures)

    def score(self, arrays: Arrays, record: RunRecord) -> tuple[MetricValue, ...]:
        return _scores(arrays, record.seed)


def scored_images(test: LoadedSplit, most: int) -> LoadedSplit:
    """At most so many test images, evenly spread."""
    return test if len(test) <= most else test.take(evenly_spread(len(test), most))


def evenly_spread(count: int, most: int) -> list[int]:
    number = min(most, count)
    return [i * count // number for i in range(number)]


def _scores(arrays: Arrays, seed: int) -> tuple[MetricValue, ...]:
    first = f"table_{_FINDERS[0]}_"
    truths = [name.removeprefix(first) for name in arrays if name.startswith(first)]
    if not truths:
        raise BenchError(
            "the run stores no tables of found and true parts", hint="Measure it again, with --force."
        )
    values = []
    for truth in truths:
        for finder in _FINDERS:
            values += _values(finder, truth, required_array(arrays, f"table_{finder}_{truth}"), seed)
    _, images, true, found = arrays[first + truths[0]].shape
    planes = (required_array(arrays, f"t-sne_{name}") for name in ("image", "true", "clusters"))
    by_draw = [
        _tables(image, part, cluster, (images, true, found))
        for image, part, cluster in zip(*planes, strict=True)
    ]
    values += _values("t-sne", truths[0], np.stack(by_draw), seed)
    return tuple(values)


def _values(finder: str, truth: str, tables: Counts, seed: int) -> list[MetricValue]:
    """Of tables (draws, N, true, found): summed over images, agreements averaged over draws.

    For the interval, images are drawn, the same ones in every draw.
    """
    condition: dict[str, Scalar] = {"truth": truth, "finder": finder}
    by_image = tables.swapaxes(0, 1)
    low, high = bootstrap_intervals(by_image, _mean_agreements, seed=seed)
    return [
        MetricValue(
            name,
            float(draws.mean()),
            condition,
            low=float(low[metric]),
            high=float(high[metric]),
            std=float(draws.std(ddof=1)) if len(draws) > 1 else None,
            count=tables.shape[1],
            samples=SummedTables(by_image, partial(_mean_agreement, metric)),
        )
        for metric, (name, draws) in enumerate(zip(("nmi", "ari"), agreement(tables.sum(1)), strict=True))
    ]


def _mean_agreements(sums: Floats) -> Floats:
    """(resamples, draws, true, found) -> (resamples, 2): both agreements, averaged over draws."""
    nmi, ari = agreement(sums)
    return np.stack([nmi.mean(1), ari.mean(1)], 1)


def _mean_agreement(metric: int, sums: Floats) -> Floats:
    agreements: Floats = _mean_agreements(sums)[:, metric]
    return agreements


def _tables(image: Counts, true: Counts, clusters: Counts, shape: tuple[int, int, int]) -> Counts:
    """What k-means and factors are judged by, (N, true, found), of the embedded places of one draw."""
    tables = np.zeros(shape, dtype=np.int64)
    np.add.at(tables, (image, true, clusters), 1)
    return tables


def _notes(models: list[PartModels], test: LoadedSplit) -> tuple[str, ...]:
    notes = []
    if any(model.uniform for model in models):
        notes.append("all sampled descriptors are the same, so everything is one part")
    if test.masks is None:
        notes.append(f"{test.name} has no masks: parts are compared at landmarks alone")
    return tuple(notes)


def _names(truth: Truth, test: LoadedSplit) -> tuple[str, ...]:
    return {"classes": test.classes[1:], "figure": test.classes}.get(truth.name, test.schema.names)


def _pictures(
    shown: LoadedSplit, read: Arrays, plane: Arrays, truth: Truth, names: tuple[str, ...]
) -> dict[str, np.ndarray[Any, Any]]:
    """Maps of the first draw, and its t-SNE."""
    # As above.
    from protocols.part_discovery.embedding import draw_embedding  # noqa: PLC0415
    from protocols.part_discovery.pictures import draw_parts  # noqa: PLC0415

    return {
        "parts": draw_parts(shown, read["shown_k-means"], read["shown_nmf"], read["shown_axes"]),
        "t-sne": draw_embedding(plane, names, truth.name),
    }
