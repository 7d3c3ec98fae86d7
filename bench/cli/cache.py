"""``bench cache``: what is kept on disk because it took long to compute."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bench.cli.common import Json

if TYPE_CHECKING:
    from bench.cache_folder import CacheFolder, Stored

app = typer.Typer(
    name="cache",
    help="Show, check and clear the decoded images and the features that are kept on disk.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Which = Annotated[str | None, typer.Argument(metavar="[images|features]", help="Only these.")]


@app.command("info")
def info(which: Which = None, json_output: Json = False) -> None:
    """Show what is kept: of which split and network, how large, and when it was last used.

    Examples:

      bench cache info

      bench cache info features --json
    """
    caches = _caches(which)
    if json_output:
        print(json.dumps({cache.kind.name: _content(cache, cache.entries()) for cache in caches}, indent=2))
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from bench.cache_folder import human

    console = Console()
    for cache in caches:
        entries = cache.entries()
        table = Table(cache.kind.content, "size", "last used")
        table.columns[1].justify = "right"
        for entry in reversed(entries):
            table.add_row(escape(entry.what or entry.folder.name), human(entry.size), _day(entry))
        if entries:
            console.print(table)
        total = human(sum(entry.size for entry in entries))
        console.print(
            f"{cache.kind.content}: {len(entries)} entries, {total} of {human(cache.limit)} "
            f"({cache.kind.variable}), in {escape(str(cache.folder))}",
            highlight=False,
            soft_wrap=True,
        )


@app.command("clear")
def clear(which: Which = None, json_output: Json = False) -> None:
    """Remove what is kept; it is computed again when it is needed. What a process is making stays.

    Examples:

      bench cache clear

      bench cache clear features
    """
    removed: dict[str, Any] = {}
    for cache in _caches(which):
        entries = cache.entries()
        gone = [entry for entry in entries if cache.remove(entry)]
        removed[cache.kind.name] = {
            "removed": len(gone),
            "bytes": sum(entry.size for entry in gone),
            "in_use": len(entries) - len(gone),
        }
    if json_output:
        print(json.dumps(removed, indent=2))
        return
    from bench.cache_folder import human

    for name, counts in removed.items():
        in_use = f"; {counts['in_use']} in use stay" if counts["in_use"] else ""
        print(f"{name}: {counts['removed']} entries removed, {human(counts['bytes'])}{in_use}")


@app.command("verify")
def verify(which: Which = None, json_output: Json = False) -> None:
    """Read every byte that is kept and compare checksums. What is damaged is removed; exit code 1 then.

    Examples:

      bench cache verify

      bench cache verify images --json
    """
    found: dict[str, Any] = {}
    for cache in _caches(which):
        entries = cache.entries()
        damaged = [entry for entry in entries if not cache.is_whole(entry)]
        for entry in damaged:
            cache.remove(entry)
        found[cache.kind.name] = {
            "entries": len(entries),
            "damaged": [{"what": entry.what, "folder": str(entry.folder)} for entry in damaged],
        }
    if json_output:
        print(json.dumps(found, indent=2))
    else:
        for name, result in found.items():
            print(f"{name}: {result['entries']} entries, {len(result['damaged'])} damaged")
            for entry in result["damaged"]:
                print(f"  removed: {entry['what'] or 'unknown'} ({entry['folder']})")
    if any(result["damaged"] for result in found.values()):
        raise typer.Exit(1)


def _caches(which: str | None) -> list[CacheFolder]:
    from bench.cache_folder import KINDS, CacheFolder
    from bench.errors import BenchError, did_you_mean

    known = {kind.name: kind for kind in KINDS}
    if which is not None and which not in known:
        raise BenchError(f"there is no cache of {which!r}", hint=did_you_mean(which, known))
    return [CacheFolder.of(kind) for name, kind in known.items() if which in (None, name)]


def _content(cache: CacheFolder, entries: list[Stored]) -> dict[str, Any]:
    return {
        "folder": str(cache.folder),
        "limit": cache.limit,
        "limit_variable": cache.kind.variable,
        "bytes": sum(entry.size for entry in entries),
        "entries": [
            {
                "what": entry.what,
                "folder": entry.folder.name,
                "bytes": entry.size,
                "last_used": _moment(entry).isoformat(timespec="seconds"),
            }
            for entry in entries
        ],
    }


def _moment(entry: Stored) -> datetime:
    return datetime.fromtimestamp(entry.last_use, UTC)


def _day(entry: Stored) -> str:
    return _moment(entry).astimezone().strftime("%Y-%m-%d %H:%M")
