"""Pictures that were stored when a run was made: images are not read again."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench.record import RunRecord
from bench.report import Runs
from reports.figures.drawing import Drawing, FigureKind
from reports.figures.series import Question, questions, slug, unique
from reports.frame import Selection, one_line


@dataclass(frozen=True)
class _Stored:
    """One stored picture: its name, its title, and what its caption says."""

    name: str
    title: str
    says: str


_CASES = (
    _Stored(
        "cases",
        "best, median and worst images",
        "Test images with the smallest, the median and the largest mean error. Rings: annotated places; dots: "
        "predictions, joined to the places that they miss; below: the mean error over the landmarks of the image.",
    ),
)
_PAIRS = (
    _Stored(
        "pairs",
        "matched points",
        "Left: the image whose points are asked for; right: an image of another individual. Dots: the point and where "
        "it is found; rings: where it is. Images are warped as the protocol warps them.",
    ),
    _Stored(
        "features",
        "features as colours",
        "The first three principal axes of the features, fitted to all shown images together, as red, green and blue: "
        "equal colours are equal features.",
    ),
)
_PARTS = (
    _Stored(
        "parts",
        "parts found in the features",
        "Clusters, non-negative factors and principal axes of the features, found without annotation.",
    ),
    _Stored(
        "t-sne",
        "features in the plane",
        "t-SNE of the features at annotated places, coloured by the annotation and by cluster.",
    ),
)


def _each(
    kind: str, protocols: tuple[str, ...], stored: tuple[_Stored, ...], runs: Runs, selection: Selection
) -> Iterator[Drawing]:
    files = _files(runs)
    found = [
        (question, record, label, each, files[record.id][each.name])
        for question in questions(runs, selection, protocols)
        for record, label in ((series.record, series.label) for series in question.series)
        for each in stored
        if each.name in files.get(record.id, {})
    ]
    names = unique([_names(kind, *item[:4]) for item in found])
    for (question, record, label, each, file), name in zip(found, names, strict=True):
        title = f"{label}: {each.title}, {one_line(record.protocol.name)}"
        draw = (
            " Learned from the first draw of the largest number of annotated images."
            if _drawn(record)
            else ""
        )
        caption = f"{each.says} {label} on {question.data()}, {question.asked()}.{draw}"
        yield Drawing(name, kind, title, caption, (record.id,), None, file)


def _kind(name: str, summary: str, protocols: tuple[str, ...], stored: tuple[_Stored, ...]) -> FigureKind:
    needs = (
        "It is drawn while a run is made; records from before that have none: run them again with --force."
    )
    return FigureKind(name, summary, protocols, partial(_each, name, protocols, stored), needs)


CASES = _kind(
    "cases",
    "predictions and annotation on the best, median and worst test images",
    ("regression", "finetune", "fewshot", "discovered"),
    _CASES,
)
PAIRS = _kind("pairs", "matched points of pairs of images", ("matching",), _PAIRS)
PARTS = _kind("parts", "parts that features fall into, drawn over images", ("parts",), _PARTS)


def _drawn(record: RunRecord) -> bool:
    return record.protocol.name == "fewshot"


def _names(kind: str, question: Question, record: RunRecord, label: str, each: _Stored) -> tuple[str, ...]:
    what = "" if each.name == kind else each.name
    base = slug(kind, what, question.slug.removeprefix(f"{kind}-"), label)
    return base, slug(base, record.id[:6]), slug(base, record.id)


def _files(runs: Runs) -> Mapping[str, Mapping[str, Path]]:
    """Record -> name -> file. The folder is listed once: asking for each of many records would list it as often."""
    found: dict[str, dict[str, Path]] = defaultdict(dict)
    if runs.store is not None and runs.store.folder.is_dir():
        for file in sorted(runs.store.folder.glob("*.png")):
            record, _, name = file.name.removesuffix(".png").partition(".")
            if file.is_file():
                found[record][name] = file
    return found
