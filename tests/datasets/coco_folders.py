"""Folders of toy faces in the layout of ``coco:FOLDER``."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bench.errors import BenchError
from bench.options import parse_options
from datasets.coco import CocoDataset, CocoOptions, CocoProvider

WIDTH, HEIGHT = 40, 30


# left eye (two corners), right eye (two corners), nose; x, y, v in the file's own convention.
FACE = [8, 10, 2, 12, 10, 2, 26, 11, 2, 30, 11, 1, 19, 20.5, 2]


CATEGORY = {
    "id": 1,
    "name": "toy face",
    "keypoints": ["left_eye_outer", "left_eye_inner", "right_eye_inner", "right_eye_outer", "nose"],
    "flip_indices": [3, 2, 1, 0, 4],
    "outer_eye_corners": [0, 3],
    "eye_centre_groups": [[0, 1], [2, 3]],
}


Document = dict[str, Any]


def document(count: int = 3) -> Document:
    return {
        "info": {"description": "toy faces", "version": "2", "url": "https://example.org"},
        "licenses": [{"id": 1, "name": "CC0"}],
        "images": [
            {
                "id": i,
                "file_name": f"{i}.png",
                "width": WIDTH,
                "height": HEIGHT,
                "identity": f"person {i // 2}",
            }
            for i in range(count)
        ],
        "annotations": [
            {"id": 10 + i, "image_id": i, "category_id": 1, "keypoints": list(FACE), "bbox": [8, 10, 22, 11]}
            for i in range(count)
        ],
        "categories": [copy.deepcopy(CATEGORY)],
    }


def noise(seed: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8))


def write_split(root: Path, split: str, content: Document | str | bytes, images: int = 3) -> Path:
    folder = root / split
    (folder / "images").mkdir(parents=True)
    for i in range(images):
        noise(i).save(folder / "images" / f"{i}.png")
    path = folder / "annotations.json"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        path.write_text(content if isinstance(content, str) else json.dumps(content))
    return folder


def open_split(root: Path, split: str = "train", *items: str) -> CocoDataset:
    return CocoProvider().open(split, str(root), parse_options(CocoOptions, items, "data set 'coco'"))


def refused(root: Path, *items: str) -> str:
    with pytest.raises(BenchError) as caught:
        open_split(root, "train", *items)
    return str(caught.value)


def change(*path: Any, to: Any = None, drop: bool = False) -> Callable[[Document], None]:
    """A change deep inside a document."""

    def apply(content: Document) -> None:
        place: Any = content
        for part in path[:-1]:
            place = place[part]
        if drop:
            del place[path[-1]]
        else:
            place[path[-1]] = to

    return apply
