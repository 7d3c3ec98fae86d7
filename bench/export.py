"""A data set as a folder of pictures with COCO-keypoints JSON, which ``coco:FOLDER`` and other tools read."""

from __future__ import annotations

import json
import secrets
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from bench.errors import BenchError
from bench.files import write_atomically
from bench.landmarks import LandmarkDataset, Sample
from bench.progress import Progress
from bench.surfaces import HasSurface


def export_split(
    dataset: LandmarkDataset, folder: Path, progress: Progress, *, surfaces: bool = False
) -> Path:
    """Write a split to ``folder``/SPLIT; it appears when it is complete.

    Layout: ``images/ID.png``, ``masks/ID.png`` (white: the object) and ``surface/ID.npy`` ((H, W, D) float32, NaN
    where the object's surface does not show) where the data set has them, and ``annotations.json``.

    Convention: keypoints in the file are 0-based pixels with an integer at a pixel's centre, as in COCO: the corner
    origin of a ``Sample`` minus 0.5; boxes, as (x, y, width, height), are in the same frame. Visibility is 2 for
    visible, 1 for occluded points. ``identity``, ``flip_indices`` and ``normaliser`` are additions to COCO.

    Raises:
        BenchError: where the folder of the split exists or cannot be written, or there are no surfaces.
    """
    target = folder / dataset.split
    if target.exists():
        raise BenchError(
            f"{target} exists and would be overwritten",
            hint="Delete it, or name another folder with --output.",
        )
    if surfaces and not isinstance(dataset, HasSurface):
        raise BenchError(f"{dataset.name} has no surface coordinates", hint="Rendered data sets have them.")
    building = folder / f".{dataset.split}.{secrets.token_hex(8)}.tmp"
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    try:
        for number, sample in enumerate(
            progress.track(dataset, f"writing {dataset.name} {dataset.split}", len(dataset)), start=1
        ):
            images.append(_image_entry(sample, number))
            annotations.append(_annotation_entry(sample, number))
            _write_pictures(sample, building)
            if surfaces and isinstance(dataset, HasSurface):
                values = dataset.surface(number - 1).image().astype(np.float32)
                np.save(_place(building, "surface", f"{sample.id}.npy"), values, allow_pickle=False)
        document = _header(dataset) | {"images": images, "annotations": annotations}
        write_atomically(building / "annotations.json", json.dumps(document))
        building.rename(target)
    except OSError as error:
        raise BenchError(
            f"cannot write below {folder}: {error.strerror or error}",
            hint="Check permissions and free space.",
        ) from error
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return target


def _header(dataset: LandmarkDataset) -> dict[str, Any]:
    schema, info = dataset.schema, dataset.info
    category: dict[str, Any] = {"id": 1, "name": info.category, "keypoints": list(schema.names)}
    if schema.flip_indices is not None:
        category["flip_indices"] = list(schema.flip_indices)
    if schema.normaliser is not None:
        category["normaliser"] = [list(group) for group in schema.normaliser]
    return {
        "info": {
            "description": info.title,
            "citation": info.citation,
            "source": f"{dataset.name} {dataset.split}, fingerprint {dataset.fingerprint}",
        },
        "licenses": [{"id": 1, "name": info.licence}],
        "categories": [category],
    }


def _image_entry(sample: Sample, number: int) -> dict[str, Any]:
    height, width = sample.image.shape[-2:]
    entry: dict[str, Any] = {"id": number, "file_name": f"{sample.id}.png", "width": width, "height": height}
    if sample.identity is not None:
        entry["identity"] = sample.identity
    return entry


def _annotation_entry(sample: Sample, number: int) -> dict[str, Any]:
    keypoints: list[float | int] = []
    for (x, y), visible in zip((sample.points.double() - 0.5).tolist(), sample.visible.tolist(), strict=True):
        keypoints += [x, y, 2 if visible else 1]
    entry: dict[str, Any] = {
        "id": number,
        "image_id": number,
        "category_id": 1,
        "iscrowd": 0,
        "keypoints": keypoints,
        "num_keypoints": len(sample.points),
    }
    if sample.box is not None:
        x0, y0, x1, y1 = sample.box.tolist()
        entry |= {"bbox": [x0 - 0.5, y0 - 0.5, x1 - x0, y1 - y0], "area": (x1 - x0) * (y1 - y0)}
    return entry


def _write_pictures(sample: Sample, folder: Path) -> None:
    picture = np.ascontiguousarray(sample.image.permute(1, 2, 0).numpy())
    Image.fromarray(picture).save(_place(folder, "images", f"{sample.id}.png"))
    if sample.mask is not None:
        mask = sample.mask.numpy().astype(np.uint8) * np.uint8(255)
        Image.fromarray(mask).save(_place(folder, "masks", f"{sample.id}.png"))


def _place(folder: Path, kind: str, name: str) -> Path:
    path = folder / kind / name
    path.parent.mkdir(parents=True, exist_ok=True)
    return path
