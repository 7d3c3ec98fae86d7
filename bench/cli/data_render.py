"""``bench data render``: pictures of a procedural data set, in a folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Protocol, runtime_checkable

import typer

from bench.cli.common import DatasetOptions, Json, Quiet

if TYPE_CHECKING:
    from bench.landmarks import DatasetProvider


def render(
    dataset: Annotated[str, typer.Argument(metavar="NAME", help="A procedural data set.")],
    *,
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder to write to.")],
    split: Annotated[list[str] | None, typer.Option("--split", help="Which; may be repeated.")] = None,
    count: Annotated[int, typer.Option(min=1, help="Pictures in each split.")] = 100,
    size: Annotated[int | None, typer.Option(help="Side of the pictures in pixels.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Another seed shows other individuals.")] = 0,
    wild: Annotated[bool, typer.Option("--wild", help="Small and anywhere, instead of crops.")] = False,
    surface: Annotated[bool, typer.Option("--surface", help="Write surface coordinates too.")] = False,
    device: Annotated[str, typer.Option(help="Where to compute them: cpu, cuda, cuda:N or auto.")] = "cpu",
    dataset_options: DatasetOptions = None,
    json_output: Json = False,
    quiet: Quiet = False,
) -> None:
    """Render pictures with landmarks, visibility, masks, boxes and identities (the training split, unless told
    otherwise) into a folder that ``coco:FOLDER`` reads.

    Examples:

      bench data render synthetic-faces --count 200 --size 128 --seed 1 --output faces

      bench data render synthetic-cats --split train --split test --wild --surface --output cats
    """
    from bench.export import export_split
    from bench.opening import DatasetRequest, open_dataset
    from bench.progress import Progress

    items = [f"seed={seed}", *(dataset_options or ())]
    if size is not None:
        items.append(f"size={size}")
    if wild:
        items.append("wild=true")
    provider = _procedural(dataset)
    splits = tuple(dict.fromkeys(split or (provider.train_split,)))
    counted = [f"{name}={count}" for name in splits if name in provider.Options.model_fields]
    opened = open_dataset(DatasetRequest(dataset, (*items, *counted)))
    parts = [opened.open(name) for name in splits]
    for part in parts:
        if isinstance(part, _Rendered):
            part.render_on(device)
    progress = Progress(quiet=quiet)
    written = [str(export_split(part, output, progress, surfaces=surface)) for part in parts]
    if json_output:
        print(json.dumps({"folders": written, "images": count * len(written)}))
    else:
        for folder in written:
            print(f"{folder}: {count} images of {dataset}")


@runtime_checkable
class _Rendered(Protocol):
    """A data set whose pictures can be computed on several devices."""

    def render_on(self, device: str) -> None: ...


def _procedural(dataset: str) -> DatasetProvider:
    """The provider, if it is one that renders.

    Raises:
        BenchError: for a data set that is not procedural.
    """
    from bench import registry
    from bench.errors import BenchError
    from bench.options import parse_dataset

    name, _ = parse_dataset(dataset)
    provider: DatasetProvider = registry.load("datasets", name)()
    if not {"size", "seed", "wild", provider.train_split} <= provider.Options.model_fields.keys():
        raise BenchError(
            f"{name} is not rendered", hint="The procedural data sets are among those of: bench data list."
        )
    return provider
