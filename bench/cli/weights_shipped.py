"""``bench weights ship`` and ``bench weights shipped``: the weights that are installed with the methods."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.common import Json

if TYPE_CHECKING:
    from bench.shipped import ShippedWeights


def ship(
    folders: Annotated[list[Path], typer.Argument(help="Folders that bench pretrain wrote.")],
) -> None:
    """Write finished weights into the packages of their methods, in half precision, and describe them there.

    They take the place of those of the same preset. What the preset as it is now would not train again is refused.

    Examples:

      bench weights ship checkpoints/*-shipped-faces-*
    """
    from bench.shipping import ship as ship_all

    for parcel in ship_all(folders):
        entry = parcel.entry
        print(f"{parcel.path}: {entry.summary()}; features differ by {entry.feature_difference:.1e}")
        if entry.git_commit is None:
            print(f"  {entry.method} was trained by sources that are no commit: the manifest names none")


def shipped(json_output: Json = False) -> None:
    """List the weights that are installed with the methods, and check every file against its manifest.

    Examples:

      bench weights shipped

      bench weights shipped --json
    """
    from bench import registry
    from bench.errors import BenchError
    from bench.opening import load_method
    from bench.shipped import read_manifest, verified

    entries: list[tuple[ShippedWeights, Path]] = []
    for name in registry.names("methods"):
        try:
            method = load_method(name)
        except BenchError:  # another distribution's method that cannot be loaded
            continue
        if not method.shipped_presets:
            continue
        folder = method.weights_folder()
        for entry in read_manifest(folder).weights:
            if entry.method == method.name:
                entries.append((entry, verified(folder, entry).path))
    if json_output:
        content = [{**entry.model_dump(mode="json"), "path": str(path)} for entry, path in entries]
        print(json.dumps(content, indent=2))
        return
    if not entries:
        print("no weights are shipped; bench run trains the default preset of a method, once")
    for entry, path in entries:
        print(f"{entry.method}, {entry.summary()}\n  {path}\n  {entry.command}")
