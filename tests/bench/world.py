"""A little world for tests of the runner and the command line: images on disk, and a network small enough for them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

SIDE = 64
POINTS = ("left_eye", "right_eye", "nose", "left_mouth", "right_mouth")

TINY_NETWORK = ["backbone=resnet18", "width=8", "dim=8", "fpn_width=8", "fpn_merged=8"]
UNTRAINED_TINY_NETWORK = ["options=" + json.dumps(dict(option.split("=") for option in TINY_NETWORK))]
"""The same for method random, whose network is lead's where nothing else is asked for."""

TINY_RECIPE = [
    "image_size=32",
    "view_size=32",
    "stage2_view_size=32",
    "batch_size=8",
    "stage2_batch_size=8",
    "stage1_epochs=1",
    "stage2_epochs=1",
    "warmup_epochs=0",
    "head_hidden=16",
    "head_dim=8",
    "projection_dim=8",
    "stage1_objective=byol",
]


def write_faces(folder: Path, *, train: int = 16, val: int = 8, seed: int = 0) -> Path:
    """A COCO folder of smooth blobs with five bright spots, the landmarks, two images an identity."""
    rng = np.random.default_rng(seed)
    for split, count in (("train", train), ("val", val)):
        images, annotations = [], []
        (folder / split / "images").mkdir(parents=True)
        for number in range(count):
            pixels, points = _face(rng)
            name = f"{number:03d}.png"
            Image.fromarray(pixels).save(folder / split / "images" / name)
            identity = f"{split}-{number // 2}"
            images.append(
                {"id": number, "file_name": name, "width": SIDE, "height": SIDE, "identity": identity}
            )
            keypoints = [value for x, y in points for value in (float(x), float(y), 2)]
            annotations.append({"id": number, "image_id": number, "category_id": 1, "keypoints": keypoints})
        category = {
            "id": 1,
            "name": "face",
            "keypoints": list(POINTS),
            "normaliser": ["left_eye", "right_eye"],
        }
        content: dict[str, Any] = {"images": images, "annotations": annotations, "categories": [category]}
        (folder / split / "annotations.json").write_text(json.dumps(content))
    return folder


def _face(rng: np.random.Generator) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    base = np.array([[20, 24], [44, 24], [32, 36], [24, 48], [40, 48]], dtype=float)
    points = np.round(base + rng.uniform(-6, 6, 2) + rng.normal(0, 1.5, base.shape))
    yy, xx = np.mgrid[:SIDE, :SIDE]
    pixels = np.zeros((SIDE, SIDE, 3))
    for (x, y), colour in zip(points, rng.uniform(80, 255, (5, 3)), strict=True):
        pixels += np.exp(-((xx - x) ** 2 + (yy - y) ** 2) / 18)[..., None] * colour
    pixels += rng.uniform(0, 30, pixels.shape)
    return pixels.clip(0, 255).astype(np.uint8), points
