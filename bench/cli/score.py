"""``bench score``: the values of runs once more, from what they have stored."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bench.cli.common import Json
from bench.cli.common import Runs as RunsFolder
from bench.errors import BenchError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from bench.run_reference import StoredRun
    from bench.scoring import Rescored, ScoredValue


def score(
    runs_named: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[RUN]...", help="Ids, beginnings of ids, or files of records; none: all of the folder."
        ),
    ] = None,
    runs: RunsFolder = Path("runs"),
    write: Annotated[
        bool, typer.Option("--write", help="Add the values that a record lacks; those it has stay.")
    ] = False,
    json_output: Json = False,
) -> None:
    """Compute every value of runs again from their stored predictions.

    Needs no model, no images and no GPU. Values that a record lacks, such as
    those of a metric that was added since, are marked; --write adds them.

    Exit code 0: all that is stored comes out again; 1: a value differs, or a
    run cannot be scored; runs of protocols that store no predictions, such as
    costs, are passed over where no run is named.

    Examples:

      bench score 3f2a

      bench score --json | jq '.runs[] | select(.differs)'

      bench score --write
    """
    from bench.cli.reports import print_json
    from bench.protocol import NothingStoredError

    found, unread = _chosen(runs_named or [], runs)
    scored: list[tuple[StoredRun, Rescored]] = []
    refused = list(unread)
    nothing: list[StoredRun] = []
    for run in found:
        try:
            scored.append((run, _rescored(run, write)))
        except NothingStoredError as error:
            if runs_named:
                refused.append((str(run.file), str(error)))
            nothing.append(run)
        except BenchError as error:
            refused.append((str(run.file), str(error)))
    if json_output:
        print_json(
            {
                "runs": [_as_json(run, rescored) for run, rescored in scored],
                "not_scored": [{"file": file, "reason": reason} for file, reason in refused],
                "nothing_stored": [str(run.file) for run in nothing],
                "written": write,
            }
        )
    else:
        _print(scored, nothing if not runs_named else [], write)
        for _, reason in refused:
            typer.echo(f"not scored: {reason}", err=True)
    if refused or not scored or any(rescored.differs for _, rescored in scored):
        raise typer.Exit(1)


def _chosen(references: list[str], folder: Path) -> tuple[list[StoredRun], list[tuple[str, str]]]:
    """The runs that are meant, and the files of those that cannot be read, with the reason."""
    from bench.run_reference import StoredRun, find_run
    from bench.store import RunStore

    if references:
        return [find_run(reference, folder) for reference in references], []
    store = RunStore(folder)
    records, problems = store.load_all()
    ok = [StoredRun(record, store) for record in records if record.status == "ok"]
    if not ok:
        raise BenchError(f"there is no run with values in {folder}", hint="Say which folder with --runs.")
    return ok, [(str(problem.file), f"not a usable record: {problem}") for problem in problems]


def _rescored(run: StoredRun, write: bool) -> Rescored:
    from bench.scoring import rescore

    arrays = run.arrays()
    rescored = rescore(run.record, arrays)
    if write and rescored.where("added", "completed"):
        run.store.save(rescored.with_added(), arrays)
    return rescored


def _as_json(run: StoredRun, rescored: Rescored) -> dict[str, Any]:
    record = run.record
    return {
        "run": record.id,
        "file": str(run.file),
        "method": record.method.name,
        "protocol": record.protocol.name,
        "dataset": record.dataset.name if record.dataset else None,
        "differs": rescored.differs,
        "values": [
            {
                "metric": value.part.metric,
                "condition": value.part.condition,
                "agreement": value.agreement,
                "stored": _numbers(value.stored),
                "now": _numbers(value.now),
                "difference": value.difference,
            }
            for value in rescored.values
        ],
    }


def _numbers(part: Any) -> dict[str, float | None] | None:
    if part is None:
        return None
    numbers: dict[str, float | None] = part.model_dump(include={"value", "low", "high", "std", "count"})
    return numbers


def _print(scored: list[tuple[StoredRun, Rescored]], nothing: list[StoredRun], write: bool) -> None:
    from rich.console import Console, Group
    from rich.text import Text

    shown: list[RenderableType] = []
    if len(scored) > 1:
        shown.append(_overview([rescored for _, rescored in scored]))
    for run, rescored in scored:
        only = list(rescored.values)
        if len(scored) > 1:
            only = rescored.where("differs", "completed", "added", "not computed")
        if only:
            record = run.record
            data = f" on {record.dataset.name}" if record.dataset else ""
            title = f"{record.id}  {record.method.name}, {record.protocol.name}{data}"
            shown += [Text(title, style="bold"), _table(only)]
    added = sum(len(rescored.where("added", "completed")) for _, rescored in scored)
    if added:
        done = "written to the records" if write else "not in the records yet: --write adds them"
        shown.append(Text(f"added since: {added} values, {done}"))
    if nothing:
        names = ", ".join(sorted({run.record.protocol.name for run in nothing}))
        shown.append(Text(f"runs that store no predictions: {len(nothing)} ({names})", style="dim"))
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 10_000
    console.print(Group(*shown))


def _overview(scored: list[Rescored]) -> RenderableType:
    from typing import get_args

    from rich.table import Table
    from rich.text import Text

    from bench.scoring import Agreement

    table = Table("run", "method", "protocol")
    kinds = [kind for kind in get_args(Agreement) if any(rescored.where(kind) for rescored in scored)]
    for heading in ("values", *kinds):
        table.add_column(heading, justify="right")
    for rescored in scored:
        record = rescored.record
        counts = [len(rescored.where(kind)) for kind in kinds]
        table.add_row(
            record.id,
            Text(record.method.name),
            Text(record.protocol.name),
            str(len(rescored.values)),
            *(str(count) if count else "" for count in counts),
            style="bold red" if rescored.differs else None,
        )
    return table


def _table(values: list[ScoredValue]) -> RenderableType:
    from rich.table import Table
    from rich.text import Text

    styles = {"differs": "bold red", "added": "green", "completed": "green", "not computed": "yellow"}
    table = Table("metric", "condition")
    for heading in ("stored", "now", "difference"):
        table.add_column(heading, justify="right")
    table.add_column("")
    for value in values:
        part = value.part
        condition = ", ".join(f"{name}={setting}" for name, setting in part.condition.items())
        numbers = ["" if side is None else f"{side.value:.6g}" for side in (value.stored, value.now)]
        difference = "" if value.difference is None else f"{value.difference:.2g}"
        words = {"added": "added since", "completed": "interval added"}.get(value.agreement, value.agreement)
        if value.differing:
            words += f": {', '.join(value.differing)}"
        style = styles.get(value.agreement)
        table.add_row(Text(part.metric), Text(condition), *numbers, difference, words, style=style)
    return table
