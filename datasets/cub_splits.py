"""Which images of CUB-200-2011 are in which split."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bench.errors import BenchError
from datasets.cub_index import AGAIN, SITE, CubIndex
from datasets.published import require_count
from datasets.text_lists import no_twice, numbers, read_lines, split_rows

PASSEROIDEA_SIZES = {"train": 1_241, "val": 382, "test": 383}
PASSEROIDEA_SPECIES = 35
PASSEROIDEA_PER_SPECIES = 60
OFFICIAL_SIZES = {"train": 5_994, "test": 5_794}
LISTS_SITE = (
    "their authors; ask at the ContrastLandmarks repository, https://github.com/cvl-umass/contrast-landmark"
)


def official_split(root: Path, index: CubIndex, *, check_counts: bool) -> dict[str, list[int]]:
    """Numbers of the images of CUB's own splits."""
    path = root / "train_test_split.txt"
    table = numbers(path, split_rows(path, read_lines(path, source=SITE), 2)).astype(int)
    if sorted(table[:, 0].tolist()) != sorted(index.rows) or not np.isin(table[:, 1], (0, 1)).all():
        raise BenchError(
            f"{path} does not give each image of images.txt a 1 (train) or a 0 (test)", hint=AGAIN
        )
    chosen = {split: table[table[:, 1] == flag, 0].tolist() for split, flag in (("train", 1), ("test", 0))}
    if check_counts:
        for split, published in OFFICIAL_SIZES.items():
            require_count(len(chosen[split]), published, f"{split} images in {path}", AGAIN)
    return chosen


def passeroidea_split(folder: Path, index: CubIndex, *, check_counts: bool) -> dict[str, list[int]]:
    """Numbers of the images of the 35 species, by the authors' lists."""
    if not folder.is_dir():
        raise BenchError(
            f"{folder} is missing: the lists of the 35 Passeroidea species",
            hint="The images were drawn by the benchmark's authors, so their lists train.txt, val.txt and "
            f"test.txt are needed; they are had from {LISTS_SITE}. "
            "Name another folder with -D lists=FOLDER, or use CUB's own split with -D division=official.",
        )
    by_path = dict(zip(index.paths, index.rows, strict=True))
    chosen: dict[str, list[int]] = {}
    owner: dict[int, str] = {}
    for split in PASSEROIDEA_SIZES:
        path = folder / f"{split}.txt"
        lines = read_lines(path, source=LISTS_SITE)
        chosen[split] = [_number(line, by_path, index, path) for line in lines]
        no_twice(path, [str(number) for number in chosen[split]])
        for number in chosen[split]:
            if number in owner:
                shared = index.paths[index.rows[number]]
                raise BenchError(
                    f"{path} shares {shared} with {owner[number]}.txt", hint="Splits must be apart."
                )
            owner[number] = split
    if check_counts:
        for split, published in PASSEROIDEA_SIZES.items():
            hint = f"The published numbers are {PASSEROIDEA_SIZES}; the lists are had from {LISTS_SITE}."
            require_count(len(chosen[split]), published, f"images in {folder / split}.txt", hint)
        _check_species(folder, [index.paths[index.rows[number]] for number in owner])
    return chosen


def _number(line: str, by_path: dict[str, int], index: CubIndex, path: Path) -> int:
    if line.isdecimal() and int(line) in index.rows:
        return int(line)
    tail = line.removeprefix("CUB_200_2011/").removeprefix("images/")
    if tail not in by_path:
        raise BenchError(
            f"{path} names {line[:80]!r}, which images.txt does not list",
            hint=f"One image a line, as a number or as {index.paths[0]!r}.",
        )
    return by_path[tail]


def _check_species(folder: Path, paths: Sequence[str]) -> None:
    species = Counter(path.partition("/")[0] for path in paths)
    require_count(
        len(species),
        PASSEROIDEA_SPECIES,
        f"species in the lists of {folder}",
        f"They are had from {LISTS_SITE}.",
    )
    name, most = species.most_common(1)[0]
    if most > PASSEROIDEA_PER_SPECIES:
        raise BenchError(
            f"the lists of {folder} hold {most} images of {name}, published is at most {PASSEROIDEA_PER_SPECIES}"
        )
