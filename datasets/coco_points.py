"""Which landmarks of a COCO category a data set shows: all, a named choice, or means of groups."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bench.errors import BenchError, did_you_mean
from bench.landmarks import LandmarkSchema
from datasets.coco_annotations import CocoCategory, PointGroup

Group = tuple[int, ...]
GroupPair = tuple[PointGroup, PointGroup]


@dataclass(frozen=True)
class PointSelection:
    """P landmarks, each the mean of a group of the K keypoints of the file."""

    groups: tuple[Group, ...]
    schema: LandmarkSchema

    def apply(
        self, keypoints: NDArray[np.float64], visible: NDArray[np.bool_]
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """The landmarks; a mean is visible only where all its members are.

        Shapes:
            keypoints: (N, K, 2).  visible: (N, K).  Returns (N, P, 2), (N, P); 0 where not visible.
        """
        shape = (len(keypoints), len(self.groups))
        points, seen = np.zeros((*shape, 2)), np.zeros(shape, dtype=np.bool_)
        for p, group in enumerate(self.groups):
            seen[:, p] = visible[:, group].all(axis=1)
            points[:, p] = keypoints[:, group].mean(axis=1)
        return np.where(seen[:, :, None], points, 0.0), seen


def select_points(
    category: CocoCategory,
    landmarks: int | Literal["all"] = "all",
    points: Sequence[PointGroup] | None = None,
    normaliser: GroupPair | None = None,
) -> PointSelection:
    """Resolve the options of a data set against what its category offers.

    Convention: indices are 0-based and count the file's keypoints, whatever is selected.

    Args:
        landmarks: ``all``, or a number of points for which the category names groups (``five_point_groups``).
        points: Explicit groups (indices or names), instead of ``landmarks``.
        normaliser: Two groups whose distance normalises errors. None: the first of the category's
            ``normaliser``, ``outer_eye_corners`` and ``eye_centre_groups`` that the selection can express.

    Raises:
        BenchError: for an index or a name that is not there, and for a normaliser that needs other points
            than the selected ones.
    """
    names = category.keypoints
    if not names:  # images alone
        return PointSelection((), LandmarkSchema(names=()))
    if points is not None:
        groups = tuple(_resolve(group, names) for group in points)
    elif landmarks in ("all", len(names)):
        groups = tuple((i,) for i in range(len(names)))
    elif landmarks == 5 and category.five_point_groups is not None:
        groups = tuple(_resolve(group, names) for group in category.five_point_groups)
    else:
        offered = ", ".join(["all", *(["5"] if category.five_point_groups is not None else [])])
        raise BenchError(
            f"category {category.name!r} names no choice of {landmarks} among its {len(names)} landmarks",
            hint=f"It offers: {offered}. Or name them: -D 'points=[0, [5, 6]]' (a group means its mean).",
        )
    if len(set(groups)) < len(groups):
        raise BenchError("the selected points name the same landmark twice")
    pair, pair_name = _normaliser(category, groups, normaliser)
    schema = LandmarkSchema(
        names=_group_names(groups, names),
        normaliser=pair,
        normaliser_name=pair_name,
        flip_indices=_flips(category.flip_indices, groups),
    )
    return PointSelection(groups, schema)


def _resolve(group: PointGroup, names: Sequence[str]) -> Group:
    members = (group,) if isinstance(group, int | str) else group
    if not members:
        raise BenchError("a group of points is empty")
    indices = []
    for member in members:
        if isinstance(member, str):
            if member not in names:
                raise BenchError(f"no keypoint is called {member!r}", hint=did_you_mean(member, names))
            indices.append(names.index(member))
        elif 0 <= member < len(names):
            indices.append(member)
        else:
            raise BenchError(f"keypoint {member} does not exist: there are {len(names)}, counted from 0")
    return tuple(indices)


def _normaliser(
    category: CocoCategory, groups: tuple[Group, ...], asked: GroupPair | None
) -> tuple[tuple[Group, Group] | None, str]:
    names = category.keypoints
    if asked is not None:
        pair = _express(asked, groups, names)
        if pair is None:
            raise BenchError(
                f"the normaliser {list(asked)} needs keypoints that are not among the selected points",
                hint="Select them too (-D points=...), or choose a normaliser among the selected points.",
            )
        return pair, _pair_name(asked, names)
    offers = (
        (category.normaliser, None),
        (category.outer_eye_corners, "outer eye corners"),
        (category.eye_centre_groups, "eye centres"),
    )
    for offer, name in offers:
        pair = _express(offer, groups, names) if offer is not None else None
        if offer is not None and pair is not None:
            return pair, name or _pair_name(offer, names)
    return None, ""


def _express(pair: GroupPair, groups: tuple[Group, ...], names: Sequence[str]) -> tuple[Group, Group] | None:
    """Two groups of the file's keypoints as two groups of selected points, where the selection holds them."""
    first, second = (_resolve(group, names) for group in pair)
    if set(first) & set(second):
        raise BenchError(f"the two ends of the normaliser {list(pair)} share a keypoint")
    index_of = {frozenset(group): i for i, group in enumerate(groups)}
    expressed: list[Group] = []
    for end in (first, second):
        if frozenset(end) in index_of:
            expressed.append((index_of[frozenset(end)],))
        elif all(frozenset({member}) in index_of for member in end):
            expressed.append(tuple(index_of[frozenset({member})] for member in end))
        else:
            return None
    return expressed[0], expressed[1]


def _pair_name(pair: GroupPair, names: Sequence[str]) -> str:
    return " to ".join(_group_name(_resolve(group, names), names) for group in pair)


def _group_name(group: Group, names: Sequence[str]) -> str:
    """A single point's own name; for several what their names begin with, or all of them."""
    if len(group) == 1:
        return names[group[0]]
    members = [names[i] for i in group]
    shared = os.path.commonprefix(members)  # noqa: RUF071 (letter by letter is meant)
    shared = shared.rstrip("_- .0123456789")
    return shared if len(shared) > 1 else "mean of " + ", ".join(members)


def _group_names(groups: tuple[Group, ...], names: Sequence[str]) -> tuple[str, ...]:
    short = [_group_name(group, names) for group in groups]
    unique = len(set(short)) == len(short)
    return tuple(short) if unique else tuple("+".join(names[i] for i in group) for group in groups)


def _flips(flips: Sequence[int] | None, groups: tuple[Group, ...]) -> tuple[int, ...] | None:
    """The mirror image of each selected point, where the selection is closed under mirroring."""
    if flips is None:
        return None
    index_of = {frozenset(group): i for i, group in enumerate(groups)}
    mirrored = [index_of.get(frozenset(flips[i] for i in group)) for group in groups]
    return None if None in mirrored else tuple(i for i in mirrored if i is not None)
