"""Weights that are installed with a method: files in half precision, and a manifest that says how each was made.

A method names the presets that it ships (``Method.shipped_presets``) and where (``Method.weights_folder``); the folder
holds the files and ``manifest.json``. A file is used only if it is the one that the manifest describes.
"""

from __future__ import annotations

import datetime
import hashlib
import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bench.errors import BenchError, did_you_mean
from bench.method import Method
from bench.weights import Weights, read_weights

MANIFEST = "manifest.json"
SCHEMA_VERSION = 1


class ShippedWeights(BaseModel):
    """One file, and what it takes to make it again."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    method: str
    preset: str
    file: str = Field(pattern=r"^[\w.-]+\.safetensors$", description="Name, in the manifest's own folder.")
    bytes: int = Field(ge=1)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    command: str = Field(description="Trains the weights again.")
    options: dict[str, Any] = Field(description="Of the method, resolved.")
    recipe: dict[str, Any] = Field(description="Of the training, resolved.")
    dataset: str
    dataset_options: dict[str, Any]
    fingerprints: dict[str, str] = Field(description="Split -> fingerprint of its content.")
    images: int
    seed: int
    precision: str = Field(description="Of the training's arithmetic.")
    git_commit: str | None = Field(description="Of bench's sources; None: not committed, or not known.")
    seconds: float = Field(ge=0, description="Wall time of the training, over all its sittings.")
    device: str
    bench: str = Field(description="Version.")
    date: datetime.date
    feature_difference: float = Field(
        ge=0,
        description="By how much half precision changes features: |half - single| / |single|, the largest over "
        "the feature map's levels, on smooth noise.",
    )

    def summary(self) -> str:
        """One line: what was trained on what, and what that cost."""
        minutes = f"{self.seconds / 60:.0f} min" if self.seconds >= 90 else f"{self.seconds:.0f} s"
        return (
            f"{self.preset}: trained on {self.images} images of {self.dataset} in {minutes} on {self.device} "
            f"({self.bytes / 1e6:.1f} MB)"
        )


class Manifest(BaseModel):
    """``manifest.json``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: int = SCHEMA_VERSION
    weights: tuple[ShippedWeights, ...] = ()

    def find(self, method: str, preset: str) -> ShippedWeights | None:
        found = (entry for entry in self.weights if (entry.method, entry.preset) == (method, preset))
        return next(found, None)


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a folder; an empty one where there is no such folder.

    Raises:
        BenchError: where the folder lacks its manifest, or that cannot be understood.
    """
    path = folder / MANIFEST
    if not folder.exists():
        return Manifest()
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise BenchError(
            f"{path} is missing, which says what the weights beside it are", hint=_MEND
        ) from error
    except (OSError, ValueError) as error:
        raise BenchError(f"{path} cannot be read: {error}", hint=_MEND) from error
    version = content.get("schema_version") if isinstance(content, dict) else None
    if version != SCHEMA_VERSION:
        raise BenchError(
            f"{path} has schema version {version!r}, and this bench reads version {SCHEMA_VERSION}",
            hint="It was written by another bench: install the version that it came with. " + _MEND,
        )
    try:
        manifest = Manifest.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise BenchError(f"{path} does not describe weights: {where}: {first['msg']}", hint=_MEND) from error
    known = [(entry.method, entry.preset) for entry in manifest.weights]
    twice = next((one for one in known if known.count(one) > 1), None)
    if twice is not None:
        raise BenchError(f"{path} describes the weights of {twice[0]}, {twice[1]}, twice", hint=_MEND)
    return manifest


def shipped_entry(method: Method, preset: str | None = None) -> ShippedWeights | None:
    """What the manifest says of the shipped weights of a preset; None: none are shipped.

    Args:
        preset: None: the first that is shipped, whose weights are taken where none are given.

    Raises:
        BenchError: as :func:`read_manifest`; for a preset that is asked for and not shipped.
    """
    entries = shipped_entries(method)
    if preset is None:
        return next(iter(entries), None)
    if preset not in method.shipped_presets:
        raise BenchError(
            f"method {method.name!r} ships no weights of preset {preset!r}",
            hint=did_you_mean(preset, method.shipped_presets),
        )
    entry = next((entry for entry in entries if entry.preset == preset), None)
    if entry is None:
        raise BenchError(
            f"the weights of {method.name!r}, preset {preset!r}, are not installed",
            hint=f"Train them: bench pretrain --method {method.name} --preset {preset}",
        )
    return entry


def shipped_entries(method: Method) -> tuple[ShippedWeights, ...]:
    """What the manifest says of all weights that ship with a method, in the order of its presets.

    Raises:
        BenchError: as :func:`read_manifest`.
    """
    if not method.shipped_presets:
        return ()
    manifest = read_manifest(method.weights_folder())
    found = (manifest.find(method.name, preset) for preset in method.shipped_presets)
    return tuple(entry for entry in found if entry is not None)


def read_shipped(method: Method, preset: str | None = None) -> Weights | None:
    """The shipped weights of a preset, verified; None: none are shipped.

    Args:
        preset: As of :func:`shipped_entry`.

    Raises:
        BenchError: where the file is missing, damaged, or not what the manifest says; as :func:`shipped_entry`.
    """
    entry = shipped_entry(method, preset)
    return None if entry is None else verified(method.weights_folder(), entry)


def verified(folder: Path, entry: ShippedWeights) -> Weights:
    """The weights of one entry of the folder's manifest, read after they have been found to be those.

    Raises:
        BenchError: where the file is missing, damaged, or not what the entry says.
    """
    path = folder / entry.file
    if not path.is_file():
        raise BenchError(f"{path} is missing, and {MANIFEST} lists it", hint=_mend(entry))
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    if (len(content), digest) != (entry.bytes, entry.sha256):
        raise BenchError(
            f"{path} is damaged, or not the file that {MANIFEST} describes: it has {len(content)} bytes with sha256 "
            f"{digest[:12]}…, expected {entry.bytes} with {entry.sha256[:12]}…",
            hint=_mend(entry),
        )
    weights = read_weights(path, method=entry.method)
    told = entry.model_dump(mode="json", include={"options", *_TOLD_BY_THE_FILE})
    found = {"options": weights.options, **{key: weights.provenance.get(key) for key in _TOLD_BY_THE_FILE}}
    differing = [key for key in found if found[key] != told[key]]
    if differing:
        raise BenchError(
            f"{folder / MANIFEST} does not match {entry.file}: they differ in {', '.join(differing)}",
            hint=_mend(entry),
        )
    return weights


# What a weights file says of itself, and the manifest repeats for those who read it without tools.
_TOLD_BY_THE_FILE = (
    "preset", "recipe", "dataset", "dataset_options", "fingerprints", "images", "seed", "precision", "bench",
)  # fmt: skip

_MEND = (
    "Reinstall the package that brings it (in a checkout: git checkout -- FOLDER), or write it anew with "
    "`bench weights ship`. With --checkpoint, bench run takes other weights."
)


def _mend(entry: ShippedWeights) -> str:
    return f"{_MEND} They were trained by: {entry.command}"
