"""``bench runs``: look at stored records, compare two, and remove what is no longer needed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bench.cli.common import Json
from bench.cli.common import Runs as RunsFolder

if TYPE_CHECKING:
    from bench.pruning import Kind
    from bench.record import RunRecord

app = typer.Typer(
    name="runs",
    help="List, show, compare and prune stored records.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)

RecordId = Annotated[str, typer.Argument(metavar="ID", help="A record's id, or its first digits.")]
Names = list[str] | None


@app.command("list")
def list_(
    runs: RunsFolder = Path("runs"),
    method: Annotated[Names, typer.Option("--method", help="Only this method (repeatable).")] = None,
    dataset: Annotated[Names, typer.Option("--dataset", help="Only this data set (repeatable).")] = None,
    protocol: Annotated[Names, typer.Option("--protocol", help="Only this protocol (repeatable).")] = None,
    preset: Annotated[Names, typer.Option("--preset", help="Only this preset (repeatable).")] = None,
    seed: Annotated[list[int] | None, typer.Option("--seed", help="Only this seed (repeatable).")] = None,
    status: Annotated[str | None, typer.Option(metavar="ok|failed", help="Only these.")] = None,
    json_output: Json = False,
) -> None:
    """List the records, the newest first, each with the first value that it reports.

    Examples:

      bench runs list

      bench runs list --protocol fewshot --status failed

      bench runs list --json | jq -r '.runs[] | select(.method.name == "lead") | .id'
    """
    from bench.cli.printing import warn_of
    from bench.cli.reports import print_json
    from bench.cli.runs_tables import listed, print_list
    from bench.errors import BenchError
    from bench.store import RunStore

    if status not in (None, "ok", "failed"):
        raise BenchError(f"no record has the status {status!r}", hint="A record is ok or failed.")
    store = RunStore(runs)
    records, problems = store.load_all()
    warn_of(problems)
    _check_names(records, {"method": method, "data set": dataset, "protocol": protocol, "preset": preset})
    chosen = [
        record
        for record in records
        if (not method or record.method.name in method)
        and (not dataset or (record.dataset is not None and record.dataset.name in dataset))
        and (not protocol or record.protocol.name in protocol)
        and (not preset or record.protocol.preset in preset)
        and (not seed or record.seed in seed)
        and (status is None or record.status == status)
    ]
    rows = sorted(
        (listed(record, store) for record in chosen), key=lambda row: (-row.measured, row.record.id)
    )
    if json_output:
        broken = [{"file": str(problem.file), "reason": problem.reason} for problem in problems]
        print_json({"runs": [row.content() for row in rows], "problems": broken})
    else:
        print_list(rows, of=len(records), folder=runs)


@app.command("show")
def show(record_id: RecordId, runs: RunsFolder = Path("runs"), json_output: Json = False) -> None:
    """Show everything that a record says: values, options, data, provenance and files.

    Examples:

      bench runs show 42d5

      bench runs show 42d50b1a6bde1443 --json
    """
    from bench.cli.reports import print_json
    from bench.cli.runs_tables import print_record
    from bench.store import RunStore

    store = RunStore(runs)
    record = store.load(store.identify(record_id))
    if json_output:
        files = [str(file) for file in store.files(record.id)]
        print_json({"id": record.id, **record.model_dump(mode="json"), "files": files})
    else:
        print_record(record, store)


@app.command("diff")
def diff(
    one: RecordId,
    other: RecordId,
    runs: RunsFolder = Path("runs"),
    other_runs: Annotated[
        Path | None, typer.Option("--other-runs", help="Folder of the second record, if it is another one.")
    ] = None,
    json_output: Json = False,
) -> None:
    """Show what differs between two records, and their values side by side.

    First what can change a number: options, weights, data, protocol version,
    seed. Then what cannot: labels and counts. Then versions, device, command.

    Examples:

      bench runs diff 42d5 6161

      bench runs diff 42d5 42d5 --other-runs from-the-cluster/runs
    """
    from bench.cli.reports import print_json
    from bench.cli.runs_tables import difference_content, print_difference
    from bench.differences import difference
    from bench.store import RunStore

    stores = RunStore(runs), RunStore(runs if other_runs is None else other_runs)
    first, second = (
        store.load(store.identify(wanted)) for store, wanted in zip(stores, (one, other), strict=True)
    )
    found = difference(first, second)
    if json_output:
        print_json({"one": first.id, "other": second.id, **difference_content(found)})
    else:
        print_difference(first, second, found)


@app.command("prune")
def prune(
    runs: RunsFolder = Path("runs"),
    only: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KIND",
            help="failed, superseded, orphan, partial, temporary or unfinished (repeatable); all but the last "
            "unless told otherwise.",
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Remove it. Without this, nothing is removed.")] = False,
    json_output: Json = False,
) -> None:
    """Show what is no longer needed; with --yes, remove it.

    That is: failed records; records that a newer version of their protocol has
    measured again (superseded); values and drawings without a record (orphan);
    parts and locks of runs that are over (partial); temporary files of writers
    that were killed. Parts of interrupted runs (unfinished) go only where --only
    names them. What a process is using stays, and so do broken records, which
    a person should look at.

    Examples:

      bench runs prune

      bench runs prune --yes

      bench runs prune --only failed --only unfinished --yes
    """
    from bench.cli.reports import print_json
    from bench.cli.runs_tables import leftover_content, print_leftovers
    from bench.errors import BenchError
    from bench.pruning import USUAL, leftovers
    from bench.pruning import prune as remove
    from bench.store import RunStore

    kinds = [_kind(name) for name in only] if only else USUAL
    store = RunStore(runs)
    try:
        found = remove(store, kinds) if yes else leftovers(store, kinds)
    except OSError as error:
        raise BenchError(
            f"cannot remove {error.filename}: {error.strerror}",
            hint="Check permissions; what is left can be pruned.",
        ) from error
    if json_output:
        print_json({"removed": yes, "leftovers": [leftover_content(leftover) for leftover in found]})
    else:
        print_leftovers(found, removed=yes)


def _kind(name: str) -> Kind:
    from bench.errors import BenchError, did_you_mean
    from bench.pruning import KINDS

    for kind in KINDS:
        if kind == name:
            return kind
    raise BenchError(f"there is nothing {name!r} to prune", hint=did_you_mean(name, KINDS))


def _check_names(records: list[RunRecord], wanted: dict[str, Names]) -> None:
    """A name that no record has is more likely a typing error than a question."""
    from bench.errors import BenchError, did_you_mean

    if not records:
        return
    known: dict[str, set[Any]] = {
        "method": {record.method.name for record in records},
        "data set": {record.dataset.name for record in records if record.dataset is not None},
        "protocol": {record.protocol.name for record in records},
        "preset": {record.protocol.preset for record in records},
    }
    for what, names in wanted.items():
        for name in names or ():
            if name not in known[what]:
                raise BenchError(f"no record has the {what} {name!r}", hint=did_you_mean(name, known[what]))
