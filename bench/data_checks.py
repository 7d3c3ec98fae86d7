"""Does a data set keep what it promises? Every image decoded, every landmark checked, splits kept apart."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from bench.errors import BenchError
from bench.landmarks import LandmarkDataset, Sample
from bench.progress import Progress

_TOLERANCE_PX = 1.0


@dataclass
class SplitCheck:
    """What was found in one split.

    Attributes:
        problems: What makes the split unusable, one line each.
        read: Whether the images were read; where not, nothing below ``problems`` is known.
        annotated: Images with at least one visible landmark.
        visible: Visible landmarks over all images.
        identities: Names of the individuals.
        digests: Digest of an image's pixels -> id of the first sample that has them.
        copies: (id, id of the first sample with the same pixels).
    """

    split: str
    count: int = 0
    problems: list[str] = field(default_factory=list)
    read: bool = True
    annotated: int = 0
    visible: int = 0
    identities: set[str] = field(default_factory=set)
    digests: dict[str, str] = field(default_factory=dict)
    copies: list[tuple[str, str]] = field(default_factory=list)


def verify_annotation(dataset: LandmarkDataset) -> SplitCheck:
    """What can be said of a split without reading an image; opening it has checked its annotation."""
    check = SplitCheck(dataset.split, len(dataset), read=False)
    if len(dataset) == 0:
        check.problems.append("the split is empty")
    ids = dataset.ids
    if len(ids) != len(dataset) or len(set(ids)) != len(ids):
        check.problems.append(f"{len(dataset)} samples have {len(set(ids))} different ids")
    return check


def verify_split(dataset: LandmarkDataset, progress: Progress) -> SplitCheck:
    """Read every sample of a split; what is wrong is collected, not raised."""
    check = verify_annotation(dataset)
    check.read = True
    ids = dataset.ids
    track = progress.track(range(len(dataset)), f"verifying {dataset.name} {dataset.split}", len(dataset))
    for index in track:
        try:
            sample = dataset[index]
        except BenchError as error:
            check.problems.append(error.message)
            continue
        check.problems += [f"{sample.id}: {problem}" for problem in _problems(sample, dataset, ids[index])]
        check.annotated += bool(sample.visible.any())
        check.visible += int(sample.visible.sum())
        if sample.identity is not None:
            check.identities.add(sample.identity)
        digest = hashlib.sha256(sample.image.contiguous().numpy().tobytes()).hexdigest()
        first = check.digests.setdefault(digest, sample.id)
        if first != sample.id:
            check.copies.append((sample.id, first))
    return check


def leaks(test: SplitCheck, others: Sequence[SplitCheck]) -> list[str]:
    """What the test split shares with the splits that a method or a regressor may see."""
    lines = []
    for other in others:
        individuals = test.identities & other.identities
        if individuals:
            lines.append(
                f"{len(individuals)} of {len(test.identities)} individuals of {test.split!r} are also in "
                f"{other.split!r}, e.g. {min(individuals)!r}"
            )
        images = test.digests.keys() & other.digests.keys()
        if images:
            example = min(test.digests[digest] for digest in images)
            lines.append(
                f"{len(images)} images of {test.split!r} are also in {other.split!r}, e.g. {example!r}"
            )
    return lines


def _problems(sample: Sample, dataset: LandmarkDataset, expected_id: str) -> list[str]:
    problems = []
    if sample.id != expected_id:
        problems.append(f"its place in ids says {expected_id!r}")
    image = sample.image
    if image.dtype != torch.uint8 or image.ndim != 3 or image.shape[0] != 3:
        return [*problems, f"image is {image.dtype} {tuple(image.shape)}, expected torch.uint8 (3, H, W)"]
    count = len(dataset.schema.names)
    if sample.points.shape != (count, 2) or sample.visible.shape != (count,):
        shapes = f"points {tuple(sample.points.shape)}, visible {tuple(sample.visible.shape)}"
        return [*problems, f"{shapes}, expected ({count}, 2) and ({count},)"]
    seen = sample.points[sample.visible]
    limit = torch.tensor([image.shape[2], image.shape[1]]) + _TOLERANCE_PX
    # Written so that NaN counts as outside.
    outside = ~((seen >= -_TOLERANCE_PX) & (seen <= limit)).all(dim=1)
    if outside.any():
        problems.append(f"{int(outside.sum())} visible landmarks are outside the image or not finite")
    return problems
