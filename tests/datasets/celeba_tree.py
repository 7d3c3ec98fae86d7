"""Writes small copies of CelebA with MAFL's lists, in their true layout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from bench.landmarks import LandmarkDataset
from bench.options import parse_options
from datasets.celeba_family import CelebaFamilyProvider

HEADER = "lefteye_x lefteye_y righteye_x righteye_y nose_x nose_y leftmouth_x leftmouth_y rightmouth_x rightmouth_y"
ALIGNED = [69, 109, 106, 113, 77, 142, 73, 152, 108, 154]  # 000001.jpg, as published
WILD = [165, 184, 244, 176, 196, 249, 194, 271, 266, 260]
BOX = [95, 71, 226, 313]


def name(number: int) -> str:
    return f"{number:06d}.jpg"


def headed(rows: Mapping[int, Sequence[float]], columns: str) -> str:
    """As published: blanks in runs, a trailing blank behind the names of the columns."""
    body = "".join(f"{name(i)}  {'  '.join(f'{v:3}' for v in row)}\n" for i, row in rows.items())
    return f"{len(rows)}\n{columns} \n{body}"


def picture(seed: int, width: int, height: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def write_tree(
    root: Path,
    partition: Sequence[int],
    *,
    training: Sequence[int] = (),
    testing: Sequence[int] = (),
    aligned: Mapping[int, Sequence[float]] | None = None,
    images: bool = False,
) -> Path:
    """Images 1 to N: image i is in ``partition[i - 1]`` and of person i // 2; its points are those of the first
    published image, moved right by i % 3."""
    numbers = range(1, len(partition) + 1)
    folders = {
        part: root / part for part in ("Anno", "Eval", "MAFL", "Img/img_align_celeba", "Img/img_celeba")
    }
    for folder in folders.values():
        folder.mkdir(parents=True)
    given = aligned or {}
    faces = {i: given.get(i, [v + (i % 3) * (k % 2 == 0) for k, v in enumerate(ALIGNED)]) for i in numbers}
    (folders["Anno"] / "list_landmarks_align_celeba.txt").write_text(headed(faces, HEADER))
    (folders["Anno"] / "list_landmarks_celeba.txt").write_text(headed(dict.fromkeys(numbers, WILD), HEADER))
    boxes = headed(dict.fromkeys(numbers, BOX), "image_id x_1 y_1 width height")
    (folders["Anno"] / "list_bbox_celeba.txt").write_text(boxes)
    people = "".join(f"{name(i)} {i // 2}\n" for i in numbers)
    (folders["Anno"] / "identity_CelebA.txt").write_text(people)
    parts = "".join(f"{name(i)} {part}\n" for i, part in zip(numbers, partition, strict=True))
    (folders["Eval"] / "list_eval_partition.txt").write_text(parts)
    for file, members in (("training.txt", training), ("testing.txt", testing)):
        (folders["MAFL"] / file).write_text("\n".join(name(i) for i in members))
    if images:
        for i in numbers:
            picture(i, 178, 218).save(folders["Img/img_align_celeba"] / name(i), "PNG")
            picture(i, 409, 687).save(folders["Img/img_celeba"] / name(i), "PNG")
    return root


def open_split(
    provider: CelebaFamilyProvider, root: Path, split: str, *items: str, counts: bool = False
) -> LandmarkDataset:
    options = [*items, *([] if counts else ["check_counts=false"])]
    return provider.open(split, str(root), parse_options(provider.Options, options, provider.name))
