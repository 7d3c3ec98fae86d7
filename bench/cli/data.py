"""``bench data``: which data sets there are, what is in one, is it sound, what does it look like."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.common import DatasetOptions, Json, Quiet

if TYPE_CHECKING:
    from bench.data_checks import SplitCheck
    from bench.opening import OpenedDataset
    from bench.progress import Progress

app = typer.Typer(
    name="data",
    help="List, inspect, verify and preview data sets.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Spec = Annotated[
    str, typer.Argument(metavar="NAME", help="NAME or NAME:LOCATION, e.g. synthetic-faces, coco:my/folder.")
]
Split = Annotated[str | None, typer.Option("--split", help="Only this split.")]


@app.command("list")
def list_(json_output: Json = False) -> None:
    """List the data sets.

    Examples:

      bench data list
    """
    from bench import registry

    summaries = registry.summaries("datasets")
    if json_output:
        print(json.dumps(summaries, indent=2))
        return
    from bench.cli.data_tables import print_list

    print_list(summaries)


@app.command("show")
def show(
    dataset: Spec, dataset_options: DatasetOptions = None, split: Split = None, json_output: Json = False
) -> None:
    """Show the splits, landmarks, licence and fingerprints of a data set.

    Without its location, a published set shows its licence, and what it consists of.

    Examples:

      bench data show synthetic-faces

      bench data show celeba

      bench data show coco:my/faces -D landmarks=5 --split val
    """
    from bench.cli.data_content import announced, described, unlocated
    from bench.cli.data_tables import print_description

    published = unlocated(dataset, dataset_options)
    if published is not None:
        content = announced(published)
    else:
        opened = _open(dataset, dataset_options)
        content = described(opened, _chosen(opened, split), _roles(opened))
    if json_output:
        print(json.dumps(content, indent=2))
    else:
        print_description(content)


@app.command("verify")
def verify(
    dataset: Spec,
    *,
    dataset_options: DatasetOptions = None,
    split: Split = None,
    quick: Annotated[bool, typer.Option("--quick", help="Files and annotation only; read no image.")] = False,
    json_output: Json = False,
    quiet: Quiet = False,
) -> None:
    """Check a data set's files, decode every image, check every landmark, look for leaks between the splits.

    For a published set: says what is missing, where it is had and where to put it, and compares counts, sizes
    and digests with the published ones; without a location it lists everything that is needed. Exit code 1
    where something is wrong. Shared individuals or images are warnings.

    Examples:

      bench data verify celeba

      bench data verify celeba:data/celeba --quick

      bench data verify coco:my/faces -D outside=drop --split train --json
    """
    from bench.cli.data_content import file_content, split_content, unlocated
    from bench.cli.data_tables import print_checks, print_requirements
    from bench.data_checks import leaks
    from bench.data_requirements import check_requirements, is_complete
    from bench.progress import Progress

    progress = Progress(quiet=quiet)
    published = unlocated(dataset, dataset_options)
    opened = None
    if published is not None:
        files = check_requirements(None, published.provider.requirements(published.options))
    else:
        opened = _open(dataset, dataset_options)
        folder = Path(opened.location).expanduser() if opened.location is not None else None
        files = check_requirements(folder, opened.provider.requirements(opened.options), progress)
    checks: list[SplitCheck] = []
    warnings = [note for file in files for note in file.notes]
    if opened is not None and is_complete(files):
        roles = _roles(opened)
        checks = [_verified(opened, name, progress, quick=quick) for name in _chosen(opened, split)]
        warnings += [
            f"{c.split}: {len(c.copies)} images are copies of another, e.g. {c.copies[0]}"
            for c in checks
            if c.copies
        ]
        for test in (check for check in checks if "test" in roles.get(check.split, [])):
            seen = [c for c in checks if c is not test and roles.get(c.split)]
            warnings += leaks(test, seen)
    if json_output:
        content = {
            "files": [file_content(file) for file in files],
            "splits": [split_content(check) for check in checks],
            "warnings": warnings,
        }
        print(json.dumps(content, indent=2))
    else:
        print_requirements(files)
        print_checks(checks, warnings)
    if any(file.problems for file in files) or any(check.problems for check in checks):
        raise typer.Exit(1)


@app.command("preview")
def preview(
    dataset: Spec,
    *,
    output: Annotated[Path, typer.Option("--output", "-o", help="The picture to write.")] = Path("sheet.png"),
    dataset_options: DatasetOptions = None,
    split: Split = None,
    rows: Annotated[int, typer.Option(min=1, max=50)] = 4,
    columns: Annotated[int, typer.Option(min=1, max=50)] = 8,
    landmarks: Annotated[bool, typer.Option(help="Draw the visible landmarks.")] = True,
    json_output: Json = False,
) -> None:
    """Write a contact sheet of a split (the training split, unless told otherwise).

    Examples:

      bench data preview synthetic-faces

      bench data preview coco:my/faces --split val --output val.png
    """
    import io

    from bench.contact_sheet import contact_sheet
    from bench.errors import BenchError
    from bench.files import write_atomically

    formats = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
    if output.suffix.lower() not in formats:
        raise BenchError(
            f"cannot write a picture called {output.name!r}", hint=f"Known: {', '.join(formats)}."
        )
    opened = _open(dataset, dataset_options)
    if split is None:
        split = opened.provider.evaluation_splits(opened.location, opened.options)[0]
    part = opened.open(split)
    picture = io.BytesIO()
    contact_sheet(part, rows, columns, landmarks=landmarks).save(picture, formats[output.suffix.lower()])
    write_atomically(output, picture.getvalue())
    shown = min(rows * columns, len(part))
    if json_output:
        print(json.dumps({"output": str(output), "split": part.split, "images": shown}))
    else:
        print(f"{output}: {shown} of {len(part)} images of {part.name} {part.split}")


def _open(dataset: str, items: list[str] | None) -> OpenedDataset:
    from bench.opening import DatasetRequest, open_dataset

    return open_dataset(DatasetRequest(dataset, tuple(items or ())))


def _chosen(opened: OpenedDataset, split: str | None) -> tuple[str, ...]:
    from bench.errors import BenchError

    if split is not None:
        return (split,)
    found = opened.provider.splits(opened.location, opened.options)
    if not found:
        raise BenchError(f"data set {opened.request.spec!r} has no splits")
    return found


def _roles(opened: OpenedDataset) -> dict[str, list[str]]:
    """What each split is used for; nothing where the data set has no test split yet."""
    from bench.errors import BenchError

    roles: dict[str, list[str]] = {}
    try:
        train, test = opened.provider.evaluation_splits(opened.location, opened.options)
        validation = opened.provider.validation_split(opened.location, opened.options)
        pretraining = opened.provider.pretraining_splits(opened.location, opened.options)
    except BenchError:
        return roles
    roles.setdefault(train, []).append("training")
    roles.setdefault(test, []).append("test")
    if validation is not None:
        roles.setdefault(validation, []).append("validation")
    for name in pretraining:
        roles.setdefault(name, []).append("pre-training")
    return roles


def _verified(opened: OpenedDataset, split: str, progress: Progress, *, quick: bool) -> SplitCheck:
    from bench.data_checks import SplitCheck, verify_annotation, verify_split
    from bench.errors import BenchError

    try:
        part = opened.open(split)
        return verify_annotation(part) if quick else verify_split(part, progress)
    except BenchError as error:
        return SplitCheck(split, problems=[str(error)], read=False)
