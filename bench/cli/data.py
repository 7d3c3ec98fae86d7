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

_SHOWN_PROBLEMS = 20


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
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table("data set", "what it is")
    for name, summary in summaries.items():
        table.add_row(name, escape(summary))
    Console().print(table)


@app.command("show")
def show(
    dataset: Spec, dataset_options: DatasetOptions = None, split: Split = None, json_output: Json = False
) -> None:
    """Show the splits, landmarks, licence and fingerprints of a data set.

    Examples:

      bench data show synthetic-faces

      bench data show coco:my/faces -D landmarks=5 --split val
    """
    opened = _open(dataset, dataset_options)
    roles = _roles(opened)
    parts = [opened.open(name) for name in _chosen(opened, split)]
    first = next((part for part in parts if part.schema.names), parts[0])
    schema, info = first.schema, first.info
    content = {
        "name": first.name,
        "title": info.title,
        "tier": info.tier,
        "category": info.category,
        "licence": info.licence,
        "citation": info.citation,
        "options": opened.options.model_dump(mode="json"),
        "landmarks": list(schema.names),
        "normaliser": None if schema.normaliser is None else [list(end) for end in schema.normaliser],
        "normaliser_name": schema.normaliser_name,
        "splits": [
            {
                "name": part.split,
                "roles": roles.get(part.split, []),
                "images": len(part),
                "fingerprint": part.fingerprint,
            }
            for part in parts
        ],
    }
    if json_output:
        print(json.dumps(content, indent=2))
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console()
    facts = Table(show_header=False, title=escape(first.name))
    facts.add_column(style="bold")
    facts.add_column(overflow="fold")
    distance = f"distance of {schema.normaliser_name}" if schema.normaliser else "none known"
    for label, text in (
        ("title", info.title),
        ("tier", info.tier),
        ("category", info.category),
        ("licence", info.licence),
        ("citation", info.citation or "not stated"),
        ("landmarks", f"{len(schema.names)}: {', '.join(schema.names)}"),
        ("normaliser", distance),
    ):
        facts.add_row(label, escape(text))
    console.print(facts)
    table = Table("split", "used for", "images", "fingerprint")
    for part in parts:
        used = ", ".join(roles.get(part.split, []))
        table.add_row(part.split, used, str(len(part)), part.fingerprint[:16])
    console.print(table)


@app.command("verify")
def verify(
    dataset: Spec,
    dataset_options: DatasetOptions = None,
    split: Split = None,
    json_output: Json = False,
    quiet: Quiet = False,
) -> None:
    """Decode every image, check every landmark, and look for leaks between the splits.

    Exit code 1 where something is wrong. Shared individuals or images are warnings.

    Examples:

      bench data verify coco:my/faces

      bench data verify coco:my/faces -D outside=drop --split train --json
    """
    from bench.data_checks import leaks
    from bench.progress import Progress

    opened = _open(dataset, dataset_options)
    roles = _roles(opened)
    progress = Progress(quiet=quiet)
    checks = [_verified(opened, name, progress) for name in _chosen(opened, split)]
    warnings = [
        f"{c.split}: {len(c.copies)} images are copies of another, e.g. {c.copies[0]}"
        for c in checks
        if c.copies
    ]
    for test in (check for check in checks if "test" in roles.get(check.split, [])):
        seen = [c for c in checks if c is not test and roles.get(c.split)]
        warnings += leaks(test, seen)
    if json_output:
        content = {
            "splits": [
                {
                    "name": c.split,
                    "images": c.count,
                    "annotated": c.annotated,
                    "visible_landmarks": c.visible,
                    "individuals": len(c.identities),
                    "problems": c.problems,
                }
                for c in checks
            ],
            "warnings": warnings,
        }
        print(json.dumps(content, indent=2))
    else:
        _print_checks(checks, warnings)
    if any(check.problems for check in checks):
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
        pretraining = opened.provider.pretraining_splits(opened.location, opened.options)
    except BenchError:
        return roles
    roles.setdefault(train, []).append("training")
    roles.setdefault(test, []).append("test")
    for name in pretraining:
        roles.setdefault(name, []).append("pre-training")
    return roles


def _verified(opened: OpenedDataset, split: str, progress: Progress) -> SplitCheck:
    from bench.data_checks import SplitCheck, verify_split
    from bench.errors import BenchError

    try:
        return verify_split(opened.open(split), progress)
    except BenchError as error:
        return SplitCheck(split, problems=[str(error)])


def _print_checks(checks: list[SplitCheck], warnings: list[str]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console()
    table = Table("split", "images", "annotated", "visible landmarks", "individuals", "verdict")
    for check in checks:
        verdict = f"[red]{len(check.problems)} problems[/red]" if check.problems else "[green]sound[/green]"
        numbers = (check.count, check.annotated, check.visible, len(check.identities))
        table.add_row(check.split, *(str(number) for number in numbers), verdict)
    console.print(table)
    for check in checks:
        for problem in check.problems[:_SHOWN_PROBLEMS]:
            console.print(
                f"[red]{escape(check.split)}[/red]: {escape(problem)}", highlight=False, soft_wrap=True
            )
        if len(check.problems) > _SHOWN_PROBLEMS:
            console.print(f"... and {len(check.problems) - _SHOWN_PROBLEMS} more (--json lists all)")
    for warning in warnings:
        console.print(f"[yellow]warning[/yellow]: {escape(warning)}", highlight=False, soft_wrap=True)
