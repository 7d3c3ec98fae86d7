"""What ``bench data`` prints for a person."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from bench.data_checks import SplitCheck
from bench.data_requirements import RequirementCheck, State

_SHOWN_PROBLEMS = 20
_COLOURS: dict[State, str] = {"sound": "green", "absent": "dim", "missing": "red", "damaged": "red"}


def print_list(summaries: Mapping[str, str]) -> None:
    table = Table("data set", "what it is")
    for name, summary in summaries.items():
        table.add_row(name, escape(summary))
    Console().print(table)


def print_description(content: Mapping[str, Any]) -> None:
    """What ``bench data show`` found, as its JSON has it."""
    console = Console()
    facts = Table(show_header=False, title=escape(content["name"]))
    facts.add_column(style="bold")
    facts.add_column(overflow="fold")
    for label in ("title", "tier", "category", "licence"):
        if label in content:
            facts.add_row(label, escape(content[label]))
    if "citation" in content:
        facts.add_row("citation", escape(content["citation"] or "not stated"))
    if "landmarks" in content:
        names = content["landmarks"]
        distance = f"distance of {content['normaliser_name']}" if content["normaliser"] else "none known"
        facts.add_row("landmarks", escape(f"{len(names)}: {', '.join(names)}"))
        facts.add_row("normaliser", escape(distance))
    console.print(facts)
    if "splits" in content:
        table = Table("split", "used for", "images", "fingerprint")
        for part in content["splits"]:
            used = ", ".join(part["roles"])
            table.add_row(escape(part["name"]), used, str(part["images"]), part["fingerprint"][:16])
        console.print(table)
    elif content["files"]:
        table = Table("file or folder", "what", "number", "where it is had", title="what it consists of")
        for item in content["files"]:
            what = f"{item['what']} (optional)" if item["optional"] else item["what"]
            unit = "files" if item["kind"] == "folder" or "*" in item["path"] else "lines"
            count = "" if item["count"] is None else f"{item['count']:,} {unit}"
            table.add_row(escape(item["path"]), escape(what), count, escape(item["source"]))
        console.print(table)
        console.print(f"Put them into one folder and name it: {content['name']}:FOLDER", highlight=False)


def print_requirements(checks: Sequence[RequirementCheck]) -> None:
    if not checks:
        return
    console = Console()
    table = Table("file or folder", "what", "verdict")
    for check in checks:
        colour = _COLOURS[check.state]
        table.add_row(
            escape(check.requirement.path),
            escape(check.requirement.what),
            f"[{colour}]{check.state}[/{colour}]",
        )
    console.print(table)
    for check in checks:
        for problem in check.problems:
            console.print(f"[red]{check.state}[/red]: {escape(problem)}", highlight=False, soft_wrap=True)


def print_checks(checks: Sequence[SplitCheck], warnings: Sequence[str]) -> None:
    console = Console()
    table = Table("split", "images", "annotated", "visible landmarks", "individuals", "verdict")
    for check in checks:
        sound = "sound" if check.read else "annotation is sound"
        verdict = (
            f"[red]{len(check.problems)} problems[/red]" if check.problems else f"[green]{sound}[/green]"
        )
        found = (str(check.annotated), str(check.visible), str(len(check.identities)))
        table.add_row(check.split, str(check.count), *(found if check.read else ("", "", "")), verdict)
    if checks:
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
