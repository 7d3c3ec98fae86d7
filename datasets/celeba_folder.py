"""What a copy of CelebA consists of: options that say where its parts lie, and every file with its digests."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from bench.landmarks import Requirement
from datasets.celeba_lists import (
    CELEBA_SITE,
    IMAGE_FOLDERS,
    IMAGES,
    LANDMARK_LISTS,
    MAFL_SITE,
    MAFL_SIZES,
    Kind,
)

LICENCE = "non-commercial research only; the images belong to their owners (CelebA agreement)"

# Published by torchvision (MD5) and tensorflow_datasets (SHA-256, bytes); MAFL: computed from its lists.
_MD5 = {
    "list_landmarks_align_celeba.txt": "cc24ecafdb5b50baae59b03474781f8c",
    "list_landmarks_celeba.txt": "063ee6ddb681f96bc9ca28c6febb9d1a",
    "list_eval_partition.txt": "d32c9cbf5e040fd4025c592c306e6668",
    "identity_CelebA.txt": "32bd1bd63d3c78cd57e08160ec5ed1e2",
    "list_bbox_celeba.txt": "00566efa6fedff7a56946cd1c10f1c16",
}
_SHA256 = {
    "list_landmarks_align_celeba.txt": "6c02a87569907f6db2ba99019085697596730e8129f67a3d61659f198c48d43b",
    "list_eval_partition.txt": "fc955bcb3ef8fbdf7d5640d9a8693a8431b5f2ee291a5c1449a1549e7e073fe7",
    "training.txt": "435e0488efcb97dee718118b74b4110d42d9524289238f51692b1d60883ccba6",
    "testing.txt": "0a93fa3202133333045ce4cef5043a2cb1f4b8858b8e96f3ae7f54becfa07f9e",
}
_BYTES = {"list_landmarks_align_celeba.txt": 12_156_055, "list_eval_partition.txt": 2_836_386}
_HEADED = ("list_landmarks_align_celeba.txt", "list_landmarks_celeba.txt", "list_bbox_celeba.txt")


class FolderOptions(BaseModel):
    """Where the parts of a copy of CelebA lie, and whether it is whole."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    images: str | None = Field(
        None, description="folder of the images, relative to the location; null: the usual ones"
    )
    mafl: Path | None = Field(
        None, description="folder of MAFL's training.txt and testing.txt; null: MAFL in the location"
    )
    check_counts: bool = Field(True, description="insist on the published numbers of images")


def requirements(kind: Kind, options: FolderOptions, *, boxes: bool = False) -> tuple[Requirement, ...]:
    """What a copy consists of, with published sizes and digests."""
    whole = options.check_counts
    lists = [
        _list("Eval", "list_eval_partition.txt", "official partition", options, optional=False),
        _list("Anno", LANDMARK_LISTS[kind], "five points of every image", options, optional=False),
        _list("Anno", "identity_CelebA.txt", "who is on which image", options, optional=True),
    ]
    if boxes:
        lists.append(_list("Anno", "list_bbox_celeba.txt", "face boxes", options, optional=False))
    folders = (options.images,) if options.images is not None else IMAGE_FOLDERS[kind]
    images = Requirement(
        path=folders[0],
        alternatives=folders[1:],
        what=f"{'aligned images' if kind == 'aligned' else 'images in the wild'}, 000001.jpg to 202599.jpg",
        source=CELEBA_SITE,
        kind="folder",
        count=IMAGES if whole else None,
    )
    mafl = options.mafl.expanduser().absolute() if options.mafl is not None else Path("MAFL")
    return (*lists, images, *(_mafl_list(mafl, file, whole) for file in MAFL_SIZES), *_archives(kind))


def _list(folder: str, name: str, what: str, options: FolderOptions, *, optional: bool) -> Requirement:
    whole = options.check_counts
    return Requirement(
        path=f"{folder}/{name}",
        alternatives=(name,),
        what=what,
        source=CELEBA_SITE,
        count=IMAGES + 2 * (name in _HEADED) if whole else None,
        sha256=(_SHA256[name],) if whole and name in _SHA256 else (),
        md5=(_MD5[name],) if whole and name not in _SHA256 else (),
        bytes=_BYTES.get(name) if whole else None,
        optional=optional,
    )


def _mafl_list(folder: Path, file: str, whole: bool) -> Requirement:
    return Requirement(
        path=(folder / file).as_posix(),
        what=f"MAFL's {'training' if file == 'training.txt' else 'test'} images",
        source=MAFL_SITE,
        count=MAFL_SIZES[file] if whole else None,
        sha256=(_SHA256[file],) if whole else (),
    )


def _archives(kind: Kind) -> tuple[Requirement, ...]:
    """The archive that the images come in; it may lie there still."""
    if kind == "wild":
        return ()
    return (
        Requirement(
            path="Img/img_align_celeba.zip",
            alternatives=("img_align_celeba.zip",),
            what="archive of the aligned images, to be unpacked; not needed afterwards",
            source=CELEBA_SITE,
            md5=("00d2c5bc6d35e252742224ab0c1e8fcb",),
            bytes=1_443_490_838,
            optional=True,
        ),
    )
