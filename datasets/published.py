"""What the providers of published sets share: their folder, their options, their published counts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
from pydantic import BaseModel

from bench.errors import BenchError, did_you_mean
from datasets.listed import Entry

Options = TypeVar("Options", bound=BaseModel)


def data_folder(location: str | None, name: str, layout: str) -> Path:
    """The folder behind ``NAME:LOCATION``.

    Args:
        layout: What it should hold, as the message says it.
    """
    if location is None:
        raise BenchError(f"data set {name!r} needs a folder", hint=f"{name}:FOLDER expects {layout}.")
    folder = Path(location).expanduser()
    if not folder.is_dir():
        what = "is not a folder" if folder.exists() else "does not exist"
        raise BenchError(f"{folder} {what}", hint=f"{name}:FOLDER expects {layout}.")
    return folder


def part_of(folder: Path, part: str, name: str, source: str) -> Path:
    """A folder of the layout. Raises BenchError that tells a missing one from a location one level too deep."""
    inner = folder / part
    if inner.is_dir():
        return inner
    if folder.resolve().name == part:
        raise BenchError(
            f"{folder} is {part} itself", hint=f"Give the folder above: {name}:{folder.resolve().parent}."
        )
    raise BenchError(f"{inner} is missing", hint=f"Unpack it there; it is had from {source}.")


def options_of(options: BaseModel, model: type[Options], name: str) -> Options:
    if not isinstance(options, model):
        raise BenchError(f"data set {name!r} takes {model.__name__}, got {type(options).__name__}")
    return options


def require_split(split: str, known: Sequence[str], name: str) -> None:
    if split not in known:
        raise BenchError(f"data set {name!r} has no split {split!r}", hint=did_you_mean(split, known))


def require_count(found: int, published: int, what: str, hint: str) -> None:
    """Raises BenchError where a count differs from the published one."""
    if found != published:
        raise BenchError(f"{what}: found {found:,}, published {published:,}", hint=hint)


def unlabelled(id_: str, file: Path, identity: str | None = None) -> Entry:
    """An image without landmarks."""
    return Entry(id_, file, np.zeros((0, 2)), np.zeros(0, dtype=np.bool_), identity)
